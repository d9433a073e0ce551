"""Every step of a child made to fail: the error names it, and all is as it was before."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import strace
from support import fresh

# The helper leads its session, has a controlling terminal, and its group is in the foreground there.
PRELUDE = """
import resource
from contextlib import contextmanager
from setsid import INHERIT, NEW_SESSION, Stage

manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)
os.set_blocking(manager, False)

def signals():
    facts = status()
    return [facts[name] for name in ("SigBlk", "SigIgn", "SigCgt")]

def provoke(argv=("true",), **changes):
    try:
        process = setsid.spawn(list(argv), **changes)
    except setsid.SystemCallError as error:
        return error
    raise AssertionError(f"nothing failed, and the program ended with {process.wait()}")

def expect(error, stage, call, number, builtin):
    assert (error.stage, error.call, error.errno) == (stage, call, number), repr(error)
    shown = "SystemCallError" if builtin is OSError else builtin.__name__
    assert (error.strerror, type(error).__name__) == (os.strerror(number), shown)
    assert isinstance(error, builtin)
    assert call in str(error) and stage.value in str(error)

def check(*expected, repetitions=1000, **changes):
    before = signals(), setsid.tcgetpgrp(terminal), setsid.tcgetsid(manager)
    assert before[1:] == (os.getpgrp(), os.getsid(0))
    with nothing_left():
        expect(provoke(**changes), *expected)
        with no_hints():
            for _ in range(repetitions - 1):
                expect(provoke(**changes), *expected)
    assert (signals(), setsid.tcgetpgrp(terminal), setsid.tcgetsid(manager)) == before

@contextmanager
def no_hints():  # to look one up may take reading all of /proc
    hint, setsid._errors._hint = setsid._errors._hint, lambda *facts: None
    yield
    setsid._errors._hint = hint

# A child that fails after FOREGROUND has taken the terminal already.
IN_FRONT = {"process_group": 0, "foreground_tty": terminal}
"""
ANOTHER_TERMINAL = """
other_manager, other = os.openpty()
reader, writer = os.pipe()
holder = setsid.spawn(["cat"], setsid.ChildSetup.on_terminal(other, stdin=reader))
"""
END = """
os.close(writer)
assert holder.wait() == 0
holder.close()
"""
BAD_INPUT = {
    "joining a group that does not exist": """
no_group = 2**22 + 1  # above every pid
check(Stage.PROCESS_GROUP, "setpgid", errno.EPERM, PermissionError, process_group=no_group)
""",
    "the terminal of another session": ANOTHER_TERMINAL
    + """
check(Stage.CTTY, "ioctl(TIOCSCTTY)", errno.EPERM, PermissionError, ctty=other)
"""
    + END,
    "the foreground of a terminal that is not ours": ANOTHER_TERMINAL
    + """
check(Stage.FOREGROUND, "tcgetpgrp", errno.ENOTTY, OSError, process_group=INHERIT, foreground_tty=other)
check(Stage.FOREGROUND, "tcgetpgrp", errno.ENOTTY, OSError, process_group=0, foreground_tty=other)
"""
    + END,
    "a target above the limit of open files": """
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
check(Stage.FDS, "dup2", errno.EBADF, OSError, pass_fds={limit: 0}, **IN_FRONT)
""",
    "a limit of no resource": """
check(Stage.RLIMITS, "setrlimit", errno.EINVAL, OSError, rlimits={1000: (0, 0)}, repetitions=200, **IN_FRONT)
""",
    "processors that are not there": """
check(Stage.CPU_AFFINITY, "sched_setaffinity", errno.EINVAL, OSError, cpu_affinity=[65535], repetitions=200, **IN_FRONT)
""",
    "a root that does not exist": """
check(Stage.CHROOT, "chroot", errno.ENOENT, FileNotFoundError, chroot="/nowhere/at/all", repetitions=200, **IN_FRONT)
""",
    "a cgroup that does not exist": """
check(Stage.CGROUP, "open", errno.ENOENT, FileNotFoundError, cgroup="/nowhere/at/all", repetitions=200, **IN_FRONT)
""",
    "a cgroup that is none": """
check(Stage.CGROUP, "fstatfs", errno.EINVAL, OSError, cgroup="/", repetitions=200, **IN_FRONT)
""",
    "a directory that does not exist": """
check(Stage.CWD, "chdir", errno.ENOENT, FileNotFoundError, cwd="/nowhere/at/all", **IN_FRONT)
""",
    "a directory's descriptor that is a file's": """
file = os.open("/dev/null", os.O_RDONLY)
check(Stage.CWD, "fchdir", errno.ENOTDIR, NotADirectoryError, cwd=file, **IN_FRONT)
""",
    "a program that does not exist": """
check(Stage.EXEC, "execve", errno.ENOENT, FileNotFoundError, argv=["/nowhere/at/all"], **IN_FRONT)
""",
}


@pytest.mark.parametrize("scenario", BAD_INPUT)
def test_a_thousand_failures_by_bad_input_leave_nothing_behind(scenario: str, way: str) -> None:
    fresh(PRELUDE + BAD_INPUT[scenario], way=way)


# What can't be provoked by bad input. The caller spends its own call, which strace counts apart from the child's.
INJECTED = """
import ctypes
from strace import *

def injected(failing, stage, call, *, spent=None, when=1, **changes):
    with tracing("-e", f"inject={failing}:error=EPERM:when={when}"):
        if spent:
            spend(when, spent)
        check(stage, call, errno.EPERM, PermissionError, repetitions=1, **changes)
    check_that_it_works(**changes)

def check_that_it_works(**changes):  # so it was the injected error that made it fail
    process = setsid.spawn(["true"], **changes)
    assert process.wait() == 0
    process.close()
    setsid.tcsetpgrp(terminal, os.getpgrp())

look = lambda: os.tcgetpgrp(terminal)
open_root = lambda: os.open("/", os.O_RDONLY)
act = lambda: signal.signal(signal.SIGUSR2, signal.SIG_DFL)
if ON_PYPY:  # whose signal.signal does not say that sigaction(2) has failed
    act = lambda: ctypes.CDLL(None).signal(signal.SIGUSR2, None) == -1 and os.open("/nowhere", 0)
"""
INJECTIONS = {
    "setsid": """
injected("setsid", Stage.PROCESS_GROUP, "setsid")
""",
    "setpgid": """
injected("setpgid", Stage.PROCESS_GROUP, "setpgid", process_group=0)
""",
    "taking a controlling terminal": """
injected("ioctl", Stage.CTTY, "ioctl(TIOCSCTTY)", spent=look, ctty=os.openpty()[1])
""",
    "opening the controlling terminal to release it": """
injected("?open,openat", Stage.CTTY, "open", spent=open_root, process_group=0, release_ctty=True)
""",
    "releasing the controlling terminal": """
injected("ioctl", Stage.CTTY, "ioctl(TIOCNOTTY)", spent=look, process_group=0, release_ctty=True)
""",
    "reading the foreground group": """
injected("ioctl", Stage.FOREGROUND, "tcgetpgrp", spent=look, **IN_FRONT)
""",
    "setting the foreground group": """
injected("ioctl", Stage.FOREGROUND, "tcsetpgrp", spent=look, when=2, **IN_FRONT)
""",
    "opening /dev/null": """
injected("?open,openat", Stage.FDS, "open", spent=open_root, stdin=setsid.DEVNULL, **IN_FRONT)
""",
    "lifting a file": """
import fcntl
spent = lambda: fcntl.fcntl(terminal, fcntl.F_GETFD)
swap = {manager: terminal, terminal: manager}
injected("fcntl", Stage.FDS, "fcntl", spent=spent, pass_fds=swap, **IN_FRONT)
""",
    "placing a file": """
injected("?dup2,dup3", Stage.FDS, "dup2", spent=lambda: os.dup2(0, 60), stdin=terminal, **IN_FRONT)
""",
    "a limit": """
core = resource.getrlimit(resource.RLIMIT_CORE)

def limit():
    try:
        resource.setrlimit(resource.RLIMIT_CORE, core)
    except ValueError as refused:  # how it tells of EPERM
        raise PermissionError from refused

injected("prlimit64", Stage.RLIMITS, "setrlimit", spent=limit, rlimits={resource.RLIMIT_CORE: core}, **IN_FRONT)
""",
    "reading the priority": """
ask = lambda: os.getpriority(os.PRIO_PROCESS, 0)
injected("getpriority", Stage.NICE, "setpriority", spent=ask, nice=1, **IN_FRONT)
""",
    "setting the priority": """
same = lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
injected("setpriority", Stage.NICE, "setpriority", spent=same, nice=1, **IN_FRONT)
""",
    "the processors": """
own = os.sched_getaffinity(0)
same = lambda: os.sched_setaffinity(0, own)
injected("sched_setaffinity", Stage.CPU_AFFINITY, "sched_setaffinity", spent=same, cpu_affinity=own, **IN_FRONT)
""",
    "opening the file of the out-of-memory score": """
injected("?open,openat", Stage.OOM_SCORE_ADJ, "open", spent=open_root, oom_score_adj=1000, **IN_FRONT)
""",
    "opening that file early and then again": """
limits = {resource.RLIMIT_NOFILE: (3, 3)}
with tracing("-e", "inject=?open,openat:error=EPERM:when=1"):
    spend(1, open_root)
    said = {"oom_score_adj": 1000, "rlimits": limits}
    check(Stage.OOM_SCORE_ADJ, "open", errno.EMFILE, OSError, repetitions=1, **said, **IN_FRONT)
check_that_it_works(oom_score_adj=1000, rlimits={resource.RLIMIT_NOFILE: (20, 20)}, **IN_FRONT)
""",
    "writing the out-of-memory score": """
null = os.open("/dev/null", os.O_WRONLY)
say = lambda: os.write(null, b"x")
injected("write", Stage.OOM_SCORE_ADJ, "write", spent=say, oom_score_adj=1000, **IN_FRONT)
""",
    "the root": """
injected("chroot", Stage.CHROOT, "chroot", spent=lambda: os.chroot("/"), chroot="/", **IN_FRONT)
""",
    "going to the root": """
injected("chdir", Stage.CHROOT, "chdir", spent=lambda: os.chdir("."), chroot="/", **IN_FRONT)
""",
    "the supplementary groups": """
groups = os.getgroups()
injected("setgroups", Stage.EXTRA_GROUPS, "setgroups", spent=lambda: os.setgroups(groups), extra_groups=[1], **IN_FRONT)
""",
    "the group": """
own = os.getgid()
injected("setresgid", Stage.GROUP, "setresgid", spent=lambda: os.setresgid(own, own, own), group=own, **IN_FRONT)
""",
    "the user": """
own = os.getuid()
keep = {"user": own, "group": os.getgid(), "extra_groups": os.getgroups()}
injected("setresuid", Stage.USER, "setresuid", spent=lambda: os.setresuid(own, own, own), **keep, **IN_FRONT)
""",
    "no new privileges": """
prctl = lambda: ctypes.CDLL(None, use_errno=True).prctl(4, 1, 0, 0, 0) and os.open("/nowhere", 0)  # PR_SET_DUMPABLE
call = "prctl(PR_SET_NO_NEW_PRIVS)"
injected("prctl", Stage.NO_NEW_PRIVILEGES, call, spent=prctl, no_new_privileges=True, **IN_FRONT)
""",
    "a parent-death signal": """
prctl = lambda: ctypes.CDLL(None, use_errno=True).prctl(4, 1, 0, 0, 0) and os.open("/nowhere", 0)  # PR_SET_DUMPABLE
call = "prctl(PR_SET_PDEATHSIG)"
injected("prctl", Stage.PARENT_DEATH_SIGNAL, call, spent=prctl, parent_death_signal=signal.SIGKILL, **IN_FRONT)
""",
    "the pidfd of the parent": """
with tracing("-e", "inject=pidfd_open:error=EMFILE:when=1"):
    said = {"parent_death_signal": signal.SIGKILL}
    check(Stage.PARENT_DEATH_SIGNAL, "pidfd_open", errno.EMFILE, OSError, repetitions=1, **said, **IN_FRONT)
""",
    "umask": """
injected("umask", Stage.UMASK, "umask", umask=0o77, **IN_FRONT)
""",
    "a signal's disposition": """
injected("rt_sigaction", Stage.SIGNAL_DISPOSITIONS, "sigaction", spent=act, ignore_signals={signal.SIGHUP}, **IN_FRONT)
""",
    "the signal mask": """
spent = lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [])
injected("rt_sigprocmask", Stage.SIGNAL_MASK, "sigprocmask", spent=spent, **IN_FRONT)
""",
}


@pytest.fixture
def traced(need: Callable[..., str]) -> None:
    strace.require(need)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("scenario", INJECTIONS)
def test_an_injected_failure_is_named_and_leaves_nothing_behind(scenario: str, way: str) -> None:
    fresh(PRELUDE + INJECTED + INJECTIONS[scenario], way=way)


@pytest.mark.usefixtures("traced")
def test_files_that_can_be_closed_by_no_means_are_not_let_through(way: str) -> None:
    fresh(
        PRELUDE
        + INJECTED
        + """
for number in range(100, 150):  # the caller itself makes far fewer calls of fcntl
    os.dup2(0, number)
with tracing("-e", "inject=close_range:error=ENOSYS", "-e", "inject=fcntl:error=EPERM:when=30+"):
    check(Stage.CLOSE_FDS, "fcntl", errno.EPERM, PermissionError, repetitions=1, **IN_FRONT)
""",
        way=way,
    )


@pytest.mark.usefixtures("traced")
def test_failing_to_catch_stop_signals_is_named(way: str) -> None:
    fresh(
        PRELUDE
        + INJECTED
        + """
# Elsewhere the child reads every signal's action before, and resets the caught ones.
before = 0 if sys.argv[1] == "clone3" else 64 + len(signal_set("SigCgt"))
injected("rt_sigaction", Stage.SIGNAL_MASK, "sigaction", spent=act, when=before + 1, default_signals=(), **IN_FRONT)
""",
        way,
        way=way,
    )


LISTING = """
from strace import *

def numbers_in_a_child(**changes):
    ours, theirs = os.pipe(), os.pipe()
    process = setsid.spawn(["cat"], stdin=ours[0], stdout=theirs[1], stderr=theirs[1], **changes)
    os.write(ours[1], b"x")
    assert os.read(theirs[0], 1) == b"x"  # the program is loaded, with no file of the loader's left
    found = {int(name) for name in os.listdir(f"/proc/{process.pid}/fd")}
    for fd in (*ours, *theirs):
        os.close(fd)
    assert process.wait() == 0
    process.close()
    return found

for number in (150, 151, 400):
    os.dup2(0, number)
"""
WITHOUT_CLOSE_RANGE = {
    "no close_range": ("close_range:error=ENOSYS",),
    "no close_range and no /proc": ("close_range:error=ENOSYS", "?open,openat:error=ENOENT:when=1"),
    "no close_range and an unreadable /proc": ("close_range:error=ENOSYS", "getdents64:error=EIO:when=1"),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("lacking", WITHOUT_CLOSE_RANGE)
def test_other_means_close_the_files_where_close_range_fails(lacking: str, way: str) -> None:
    fresh(
        LISTING
        + """
import resource
# A bounded loop tries every number below the limit, and each is a line of the trace.
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with tracing(*(option for fault in sys.argv[1:] for option in ("-e", f"inject={fault}"))) as trace:
    if any("open" in fault for fault in sys.argv[1:]):
        spend(1, lambda: os.open("/", os.O_RDONLY))
    if any("getdents64" in fault for fault in sys.argv[1:]):
        spend(1, lambda: os.listdir("/"))
    assert numbers_in_a_child(pass_fds=[151]) == {0, 1, 2, 151}
assert any("close_range(" in line and "INJECTED" in line for lines in trace.lines.values() for line in lines)
""",
        *WITHOUT_CLOSE_RANGE[lacking],
        way=way,
    )


def test_the_terminal_comes_back_though_no_more_file_can_be_opened(way: str) -> None:
    fresh(
        PRELUDE
        + """
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
taken = dict.fromkeys(range(3, 256), 0)
if sys.argv[1] == "fork":
    del taken[200]  # for the pipe that the child reports through
check(Stage.CWD, "chdir", errno.ENOENT, FileNotFoundError, cwd="/nowhere", pass_fds=taken, repetitions=1, **IN_FRONT)

# Two files that change places, and no number to keep one of them at meanwhile.
swapped = {**taken, manager: terminal, terminal: manager}
del swapped[os.dup2(terminal, 255)]
check(Stage.FDS, "fcntl", errno.EMFILE, OSError, pass_fds=swapped, repetitions=1, **IN_FRONT)
""",
        way,
        way=way,
    )


def test_a_terminal_is_free_again_after_a_failed_child_had_it(way: str) -> None:
    fresh(
        """
manager, terminal = os.openpty()
setup = setsid.ChildSetup.on_terminal(terminal, foreground_tty=terminal)
with nothing_left():
    for _ in range(1000):
        try:
            setsid.spawn(["/nowhere/at/all"], setup)
        except FileNotFoundError as error:
            assert error.stage is setsid.Stage.EXEC
    process = setsid.spawn(["true"], setup)
    assert process.wait() == 0
    process.close()
""",
        way=way,
    )
