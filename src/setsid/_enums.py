"""The package's enums. Apart, and imported on first use: `enum` alone would double the time of `import setsid`."""

from __future__ import annotations

from enum import Enum


class Stage(Enum):
    """A step of a child's set-up, in the order in which the child takes them.

    `SystemCallError.stage` tells which one failed.
    """

    PROCESS_GROUP = "process_group"
    """New session, new group, or joining one: setsid(2), setpgid(2)."""
    CTTY = "ctty"
    """Acquiring or releasing the controlling terminal: ioctl_tty(2)."""
    FOREGROUND = "foreground"
    """Becoming the terminal's foreground process group: tcsetpgrp(3)."""
    CGROUP = "cgroup"
    """The control group: clone3(2) with CLONE_INTO_CGROUP, or writing to cgroup.procs, cgroups(7)."""
    FDS = "fds"
    """Standard streams and passed file descriptors: dup2(2)."""
    CLOSE_FDS = "close_fds"
    """Closing all other file descriptors: close_range(2)."""
    RLIMITS = "rlimits"
    """The limits on resources: setrlimit(2)."""
    NICE = "nice"
    """The priority: setpriority(2)."""
    CPU_AFFINITY = "cpu_affinity"
    """The processors to run on: sched_setaffinity(2)."""
    OOM_SCORE_ADJ = "oom_score_adj"
    """How likely the out-of-memory killer is to choose it: proc_pid_oom_score_adj(5)."""
    UMASK = "umask"
    """The file mode creation mask: umask(2)."""
    CHROOT = "chroot"
    """The root directory: chroot(2), and chdir(2) to it."""
    CWD = "cwd"
    """The working directory: chdir(2), fchdir(2)."""
    EXTRA_GROUPS = "extra_groups"
    """The supplementary groups: setgroups(2)."""
    GROUP = "group"
    """The group, real, effective and saved: setresgid(2)."""
    USER = "user"
    """The user, real, effective and saved: setresuid(2)."""
    NO_NEW_PRIVILEGES = "no_new_privileges"
    """No program gives more rights from here on: PR_SET_NO_NEW_PRIVS(2const)."""
    PARENT_DEATH_SIGNAL = "parent_death_signal"
    """The signal for the parent's death, and whether the parent still lives: PR_SET_PDEATHSIG(2const)."""
    SIGNAL_DISPOSITIONS = "signal_dispositions"
    """Signals set to their default or ignored: sigaction(2)."""
    SIGNAL_MASK = "signal_mask"
    """The set of blocked signals: sigprocmask(2)."""
    EXEC = "exec"
    """Executing the program: execve(2)."""


class ProcessState(Enum):
    """What a process does, as its parent sees it."""

    RUNNING = "running"
    STOPPED = "stopped"
    DONE = "done"


# By enum sid_stage and enum sid_change of csrc/sid.cdef.h.
STAGES: tuple[Stage | None, ...] = (None, *Stage)
CHANGES = (ProcessState.DONE, ProcessState.STOPPED, ProcessState.RUNNING)
