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
    FDS = "fds"
    """Standard streams and passed file descriptors: dup2(2)."""
    CLOSE_FDS = "close_fds"
    """Closing all other file descriptors: close_range(2)."""
    UMASK = "umask"
    """The file mode creation mask: umask(2)."""
    CWD = "cwd"
    """The working directory: chdir(2), fchdir(2)."""
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
