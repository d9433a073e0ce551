"""The steps of a child in the documented order, seen from outside on a real child."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

import strace
from support import fresh

# Fixed numbers far up, so that what the child opens and lifts gets the lowest ones.
PRELUDE = """
import json
import os
from strace import *

manager, terminal = os.openpty()
reader, writer = os.pipe()
for fd, number in (terminal, 40), (reader, 41), (writer, 42), (manager, 43):
    os.dup2(fd, number, inheritable=False)
os.closerange(3, 40)

caught = []
signal.signal(signal.SIGWINCH, lambda *args: caught.append(args))

def report(*options, **changes):
    handled = sorted(signal_set("SigCgt"))
    with tracing(*options) as trace:
        process = setsid.spawn(["true"], env={"PATH": "/nowhere:/bin:/usr/bin"}, **changes)
        assert process.wait() == 0
        process.close()
    making, = [line for line in trace.of(os.getpid()) if line.startswith("clone")]
    calls = [call.replace(f"[{os.getpgrp()}]", "[GROUP]") for call in trace.before_exec(process.pid)]
    print(json.dumps([making, handled, calls, len(caught)]))
"""
EVERYTHING = """
# The signal is sent to the child in its setsid(): a line would tell of its delivery, and of a handler's return.
report(
    "-e", "inject=setsid:signal=SIGWINCH",
    process_group=setsid.NEW_SESSION, ctty=40, foreground_tty=40, stdin=setsid.DEVNULL, stdout=40, stderr=40,
    pass_fds={41: 42, 42: 41, 50: 41, 40: 40}, close_fds=True, umask=0o27, cwd="/", signal_mask={signal.SIGUSR2},
    default_signals={signal.SIGPIPE}, ignore_signals={signal.SIGHUP},
)
"""
LIMITS = """
import resource
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
report(
    process_group=setsid.INHERIT, signal_mask=setsid.INHERIT, default_signals=(), close_fds=False,
    rlimits={resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_CPU: (70, 80)}, nice=1, umask=0o77,
    cpu_affinity=os.sched_getaffinity(0), oom_score_adj=1000, no_new_privileges=True,
    parent_death_signal=signal.SIGUSR1,
)
"""
CREDENTIALS = """
os.setgroups([])
report(
    chroot="/", cwd="/", user=1, group=2, extra_groups=[3, 4], parent_death_signal=signal.SIGUSR1, default_signals=()
)
"""
OWN_GROUP = """
setsid.acquire_ctty(40)
report(
    process_group=0, foreground_tty=40, close_fds=False, umask=0o77, signal_mask=setsid.INHERIT, default_signals=()
)
"""
RELEASE = """
setsid.acquire_ctty(40)
report(process_group=setsid.INHERIT, release_ctty=True, close_fds=False, default_signals=())
"""


@pytest.fixture(autouse=True)
def _strace(need: Callable[..., str]) -> None:
    strace.require(need)


class Seen:
    """What a helper has reported: the parent's clone call, and all that the child did before it executed."""

    def __init__(self, scenario: str, way: str) -> None:
        facts: list[Any] = json.loads(fresh(PRELUDE + scenario, way=way).stdout)
        self.making: str = facts[0]
        self.handled: list[int] = facts[1]
        self.calls: list[str] = facts[2]
        self.handler_runs: int = facts[3]

    def steps(self) -> list[str]:
        """The calls but those that only look at a signal's action, which is how caught ones are found, and those by
        which a child with a memory of its own has the kernel tell of its exec.
        """
        calls = [call for call in self.calls if not (call.startswith("rt_sigaction(") and ", NULL, {" in call)]
        return calls[2:] if calls[0].startswith("set_robust_list(") and calls[1] == "gettid()" else calls


@pytest.fixture
def everything(way: str) -> Seen:
    return Seen(EVERYTHING, way)


def reset(name: str) -> str:
    return f"rt_sigaction({name}, {{sa_handler=SIG_DFL, sa_mask=[], sa_flags=0}}, NULL, 8)"


def dispositions(seen: Seen, way: str) -> list[str]:
    """SIGHUP ignored as said, then every signal that the parent catches and SIGPIPE as said, by number."""
    names = {signal.Signals(number).name for number in seen.handled} if way != "clone3" else set()
    in_order = sorted(names | {"SIGPIPE"}, key=lambda name: signal.Signals[name])
    return ["rt_sigaction(SIGHUP, {sa_handler=SIG_IGN, sa_mask=[], sa_flags=0}, NULL, 8)", *map(reset, in_order)]


def arrival(way: str) -> list[str]:
    """The signal that is sent in setsid() waits for the mask to be set, and is ignored then. Resetting its action by a
    call, as the other ways do, makes the kernel forget it.
    """
    return ["--- SIGWINCH"] if way == "clone3" else []


def test_every_step_comes_in_the_documented_order(everything: Seen, way: str) -> None:
    free = 5 if way == "fork" else 3  # two of the lowest numbers are the report's pipe
    assert everything.steps() == [
        "setsid()",
        "ioctl(40, TIOCSCTTY, 0)",
        "ioctl(40, TIOCGPGRP, [PID])",
        "getpgrp()",
        "ioctl(40, TIOCSPGRP, [PID])",
        'open("/dev/null", O_RDWR|O_CLOEXEC)',
        "fcntl(42, F_DUPFD_CLOEXEC, 3)",
        "fcntl(41, F_DUPFD_CLOEXEC, 3)",
        "fcntl(41, F_DUPFD_CLOEXEC, 3)",
        f"dup2({free}, 0)",
        "dup2(40, 1)",
        "dup2(40, 2)",
        "fcntl(40, F_GETFD)",
        "fcntl(40, F_SETFD, 0)",
        f"dup2({free + 1}, 41)",
        f"dup2({free + 2}, 42)",
        f"dup2({free + 3}, 50)",
        "close_range(3, 39, CLOSE_RANGE_CLOEXEC)",
        "close_range(43, 49, CLOSE_RANGE_CLOEXEC)",
        "close_range(51, 4294967295, CLOSE_RANGE_CLOEXEC)",
        "umask(027)",
        'chdir("/")',
        *dispositions(everything, way),
        "rt_sigprocmask(SIG_SETMASK, [USR2], NULL, 8)",
        *arrival(way),
        'execve("/nowhere/true", ["true"])',
        'execve("/bin/true", ["true"])',
    ]


def test_no_handler_of_the_parent_runs(everything: Seen) -> None:
    assert signal.SIGWINCH in everything.handled
    assert [call for call in everything.calls if "sigreturn" in call] == []
    assert everything.handler_runs == 0


def test_the_mask_is_set_once_and_nothing_but_execve_follows(everything: Seen, way: str) -> None:
    masks = [index for index, call in enumerate(everything.calls) if call.startswith("rt_sigprocmask(")]
    assert [call.split("(")[0] for call in everything.calls[masks[0] :]] == [
        "rt_sigprocmask",
        *arrival(way),
        "execve",
        "execve",
    ]


def test_each_way_makes_the_child_with_its_own_flags(everything: Seen, way: str) -> None:
    flags = {
        "clone3": {"CLONE_VM", "CLONE_VFORK", "CLONE_PIDFD", "CLONE_CLEAR_SIGHAND"},
        "clone": {"CLONE_VM", "CLONE_VFORK", "CLONE_PIDFD", "SIGCHLD"},
        "page": {"CLONE_PIDFD", "SIGCHLD"},
        "fork": {"CLONE_PIDFD", "SIGCHLD"},
    }
    assert everything.making.startswith("clone3({" if way == "clone3" else "clone(")
    assert set(everything.making.split("flags=")[1].split(",")[0].split()[0].split("|")) == flags[way]
    assert ("exit_signal=SIGCHLD" in everything.making) == (way == "clone3")


def test_a_group_of_its_own_comes_before_the_foreground_and_the_mask_last(way: str) -> None:
    seen = Seen(OWN_GROUP, way)
    # Until exec the child notes these three, and the SIGCONT that undoes them, instead of stopping.
    stops = ["SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGCONT"]
    steps = [call for call in seen.steps() if "sa_handler=SIG_DFL" not in call]
    assert [call.split(", {sa_handler=0x")[0] for call in steps] == [
        "setpgid(0, 0)",
        "ioctl(40, TIOCGPGRP, [GROUP])",
        "getpgrp()",
        "ioctl(40, TIOCSPGRP, [PID])",
        "umask(077)",
        *(f"rt_sigaction({name}" for name in stops),
        "rt_sigprocmask(SIG_SETMASK, [], NULL, 8)",
        'execve("/nowhere/true", ["true"])',
        'execve("/bin/true", ["true"])',
    ]


def test_the_limits_come_before_the_umask_and_the_parents_death_late(way: str) -> None:
    steps = [call for call in Seen(LIMITS, way).steps() if not call.startswith("rt_sigaction(")]
    cpu = min(os.sched_getaffinity(0))
    # The lowest free number, and the pidfd of the parent.
    free = 6 if way == "fork" else 4
    assert [call.replace(f"(0, 8, [{cpu}])", "(0, 8, [CPU])") for call in steps] == [
        'open("/proc/self/oom_score_adj", O_WRONLY|O_CLOEXEC)',  # before the limits, which might forbid it
        "prlimit64(0, RLIMIT_CPU, {rlim_cur=70, rlim_max=80}, NULL)",
        "prlimit64(0, RLIMIT_CORE, {rlim_cur=0, rlim_max=0}, NULL)",
        "getpriority(PRIO_PROCESS, 0)",
        "setpriority(PRIO_PROCESS, 0, 1)",
        "sched_setaffinity(0, 8, [CPU])",
        f'write({free}, "1000", 4)',
        f"close({free})",
        "umask(077)",
        "prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)",
        "prctl(PR_SET_PDEATHSIG, SIGUSR1)",
        "getppid()",
        "poll([{fd=3, events=POLLIN}], 1, 0)",
        "rt_sigprocmask(SIG_SETMASK, [], NULL, 8)",
        'execve("/nowhere/true", ["true"])',
        'execve("/bin/true", ["true"])',
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot and other users need root")
def test_the_root_comes_before_the_directory_and_the_user_after_the_groups(way: str) -> None:
    steps = [call for call in Seen(CREDENTIALS, way).steps() if not call.startswith("rt_sigaction(")]
    assert steps == [
        "setsid()",
        "close_range(3, 4294967295, CLOSE_RANGE_CLOEXEC)",
        'chroot("/")',
        'chdir("/")',
        'chdir("/")',
        "setgroups(2, [3, 4])",
        "setresgid(2, 2, 2)",
        "setresuid(1, 1, 1)",
        "prctl(PR_SET_PDEATHSIG, SIGUSR1)",  # which a change of the ids clears
        "getppid()",
        "poll([{fd=3, events=POLLIN}], 1, 0)",
        "rt_sigprocmask(SIG_SETMASK, [], NULL, 8)",
        'execve("/nowhere/true", ["true"])',
        'execve("/bin/true", ["true"])',
    ]


def test_releasing_the_terminal_is_the_step_after_the_group(way: str) -> None:
    free = 5 if way == "fork" else 3
    calls = Seen(RELEASE, way).steps()
    assert calls[:3] == ['open("/dev/tty", O_RDWR|O_NOCTTY|O_CLOEXEC)', f"ioctl({free}, TIOCNOTTY)", f"close({free})"]
