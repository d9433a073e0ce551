"""fork when a step fails, or a signal ends or stops the child in the middle of one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import strace
from scenarios import hidden
from support import fresh

# The helper leads its session, has a controlling terminal, and its group is in the foreground there. A child that came
# back to its caller would leave a directory of its number's name in the helper's first argument.
PRELUDE = """
import resource
from setsid import INHERIT, NEW_SESSION, Stage

HELPER = os.getpid()
manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)
os.set_blocking(manager, False)
IN_FRONT = {"process_group": 0, "foreground_tty": terminal}
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1})

def attempt(**changes):
    process = None
    try:
        process = setsid.fork(**changes)
    except setsid.SystemCallError as error:
        return error
    finally:
        if os.getpid() != HELPER:
            os.mkdir(f"{sys.argv[1]}/{os.getpid()}")
            os._exit(99)
    raise AssertionError(f"nothing failed, and the child ended with {process.wait()}")

def check(stage, call, number, repetitions=200, **changes):
    with nothing_left():
        for _ in range(repetitions):
            error = attempt(**changes)
            assert (error.stage, error.call, error.errno) == (stage, call, number), repr(error)
    assert (setsid.tcgetpgrp(terminal), setsid.tcgetsid(manager)) == (os.getpgrp(), os.getsid(0))
    assert os.listdir(sys.argv[1]) == []
"""
FAILURES = {
    "a group that does not exist": """
check(Stage.PROCESS_GROUP, "setpgid", errno.EPERM, process_group=2**22 + 1)
""",
    "the terminal of another session": """
release, hold = os.pipe()
other = os.openpty()[1]
holder = setsid.spawn(["cat"], setsid.ChildSetup.on_terminal(other, stdin=release))
check(Stage.CTTY, "ioctl(TIOCSCTTY)", errno.EPERM, ctty=other)
check(Stage.FOREGROUND, "tcgetpgrp", errno.ENOTTY, process_group=0, foreground_tty=other)
os.close(hold)
holder.wait()
""",
    "a control group that is none": """
check(Stage.CGROUP, "fstatfs", errno.EINVAL, cgroup="/", **IN_FRONT)
""",
    "a target above the limit of open files": """
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
check(Stage.FDS, "dup2", errno.EBADF, pass_fds={limit: 0}, **IN_FRONT)
""",
    "a resource that does not exist": """
check(Stage.RLIMITS, "setrlimit", errno.EINVAL, rlimits={1000: (0, 0)}, **IN_FRONT)
""",
    "a processor that does not exist": """
check(Stage.CPU_AFFINITY, "sched_setaffinity", errno.EINVAL, cpu_affinity={65535}, **IN_FRONT)
""",
    "a root that does not exist": """
check(Stage.CHROOT, "chroot", errno.ENOENT, chroot="/nowhere", **IN_FRONT)
""",
    "a directory that does not exist": """
check(Stage.CWD, "chdir", errno.ENOENT, cwd="/nowhere", **IN_FRONT)
""",
    "a directory that is a file": """
check(Stage.CWD, "fchdir", errno.ENOTDIR, cwd=os.open("/dev/null", os.O_RDONLY), close_fds=True, **IN_FRONT)
""",
    "the terminal's number given to another file": """
swap = {terminal: 0, 0: terminal}
check(Stage.CWD, "chdir", errno.ENOENT, cwd="/nowhere", pass_fds=swap, **IN_FRONT)
""",
}


@pytest.mark.parametrize("scenario", FAILURES)
def test_two_hundred_failures_leave_nothing_and_no_child_comes_back(scenario: str, tmp_path: Path) -> None:
    fresh(PRELUDE + FAILURES[scenario], tmp_path)


@hidden
def test_a_failed_child_is_gone_where_its_handle_would_have_no_pidfd(hide_pidfd: bool, tmp_path: Path) -> None:
    fresh(PRELUDE + FAILURES["a directory that does not exist"], tmp_path, hide_pidfd=hide_pidfd)


# A process that has strace attach to each child of a fork, once its hooks run, and make its first call of a kind end
# or stop it. The parent is not traced, so its own calls are not touched.
FAULT = """
import ctypes, subprocess

def serve(asks, answers, fault, log):
    while number := os.read(asks, 16):
        command = ["strace", "-o", log, "-e", f"inject={fault}", "-p", number.strip().decode()]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
            answer = tracer.stderr.readline()
            os.write(answers, b"y" if "attached" in answer else b"n")
            tracer.stderr.read()
    os._exit(0)

making_stranger = False

def attach():
    if making_stranger:
        return
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # where only ancestors may trace
    os.write(asks[1], b"%16d" % os.getpid())
    assert os.read(answers[0], 1) == b"y"

def inject(fault):
    global asks, answers
    asks, answers = os.pipe(), os.pipe()
    if os.fork() == 0:
        for fd in set(open_fds()) - {0, 1, 2, asks[0], answers[1]}:
            os.close(fd)  # others wait until nobody has them any more
        serve(asks[0], answers[1], fault, sys.argv[1] + "-log")
    os.close(asks[0])
    os.close(answers[1])
    os.register_at_fork(after_in_child=attach)

def log():
    with open(sys.argv[1] + "-log") as file:
        return file.read()
"""
KILLED = """
def check_killed(call, **changes):
    inject(f"{call}:signal=KILL:when=1")
    with nothing_left():
        error = attempt(**changes)
        assert (error.stage, error.call, error.errno) == (None, "fork", errno.ECHILD), repr(error)
        assert isinstance(error, ChildProcessError)
        assert error.hint.startswith("process ") and "by signal 9 " in error.hint, error.hint
    deadline = time.monotonic() + 30  # strace writes it after it has let the parent know
    while "+++ killed by SIGKILL +++" not in log():
        assert time.monotonic() < deadline
    assert os.listdir(sys.argv[1]) == []
    assert setsid.tcgetpgrp(terminal) == os.getpgrp()
"""
SWAP = "pass_fds={manager: terminal, terminal: manager}"
FAULTS = {
    "setsid": "setsid",
    "setpgid": "setpgid, process_group=0",
    "taking a terminal": "ioctl, ctty=os.openpty()[1]",
    "releasing a terminal": "ioctl, process_group=0, release_ctty=True",
    "reading the foreground": "ioctl, **IN_FRONT",
    "lifting a file": f"fcntl, {SWAP}",
    "placing a file": f"?dup2,dup3, {SWAP}",
    "opening /dev/null": "?open,openat, stdin=setsid.DEVNULL",
    "closing files": "close_range, close_fds=True",
    "limits": "?setrlimit,prlimit64, rlimits={resource.RLIMIT_CORE: (0, 0)}",
    "nice": "setpriority, nice=1",
    "processors": "sched_setaffinity, cpu_affinity=os.sched_getaffinity(0)",
    "the out-of-memory score": "write, oom_score_adj=500",
    "umask": "umask, umask=0o77",
    "root": "chroot, chroot='/'",
    "directory": "chdir, cwd='/'",
    "directory by descriptor": "fchdir, cwd=os.open('/', os.O_RDONLY)",
    "supplementary groups": "setgroups, extra_groups=[12345]",
    "group": "setresgid, group=os.getgid()",
    "user": "setresuid, user=os.getuid(), group=os.getgid(), extra_groups=os.getgroups()",
    "no new privileges": "prctl, no_new_privileges=True",
    "parent-death signal": "prctl, parent_death_signal=signal.SIGTERM",
    "dispositions": "rt_sigaction, ignore_signals=[signal.SIGHUP]",
    "the mask": "rt_sigprocmask, signal_mask=()",
    "the report": "write",
    "having taken the foreground": "chdir, cwd='/', **IN_FRONT",
}


def _call(fault: str) -> str:
    """The arguments of check_killed and its like: the calls as a string, then the plan's fields."""
    calls, _, changes = fault.partition(", ")
    return f'"{calls}", {changes}'


@pytest.fixture
def traced(need: Callable[..., str]) -> None:
    strace.require(need)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_child_killed_in_the_middle_of_a_step_is_told_of_and_leaves_nothing(fault: str, tmp_path: Path) -> None:
    if fault == "supplementary groups" and os.geteuid() != 0:
        pytest.skip("to set supplementary groups needs root")
    fresh(PRELUDE + FAULT + KILLED + f"check_killed({_call(FAULTS[fault])})", tmp_path)


@hidden
@pytest.mark.usefixtures("traced")
def test_a_child_killed_under_a_stranger_that_holds_its_files_is_told_of(hide_pidfd: bool, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + FAULT
        + KILLED
        + """
release, hold = os.pipe()

def make_stranger():  # with a copy of all the set-up's files
    global making_stranger, stranger
    if making_stranger:
        return
    making_stranger = True
    stranger = os.fork()
    if stranger == 0:
        os.close(hold)
        os.read(release, 1)
        os._exit(0)
    making_stranger = False

inject("umask:signal=KILL:when=1")
os.register_at_fork(before=make_stranger)
error = attempt(umask=0o77)
assert (error.call, error.errno) == ("fork", errno.ECHILD) and "by signal 9 " in error.hint, repr(error)
os.close(hold)
assert os.waitpid(stranger, 0)[1] == 0
""",
        tmp_path,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hidden
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("fault", ["setsid", "umask, umask=0o77", "write", "setpgid, process_group=0"])
def test_a_child_stopped_in_the_middle_of_a_step_does_it_all_and_is_stopped_then(
    fault: str, hide_pidfd: bool, tmp_path: Path
) -> None:
    fresh(
        PRELUDE
        + FAULT
        + f"""
def fork(call, **changes):
    inject(call + ":signal=STOP:when=1")
    return setsid.fork(**changes)

release, hold = os.pipe()
process = fork({_call(fault)})
"""
        + """
if process is None:
    os.close(hold)
    os.read(release, 1)
    os._exit(7)
try:
    assert process.wait_change(30).name == "STOPPED"
    process.send_signal(signal.SIGCONT)
    os.close(hold)
    assert process.wait(30) == 7
    deadline = time.monotonic() + 30
    while "+++ exited with 7 +++" not in log():  # strace writes a moment later than things happen
        assert time.monotonic() < deadline, log()
    # Put off, and sent anew; but not where the report was out already.
    assert log().count("--- stopped by SIGSTOP ---") == (1 if sys.argv[2] == "write" else 2)
finally:
    process.kill()
""",
        tmp_path,
        fault,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


def test_a_child_that_a_hook_ends_is_told_of(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
os.register_at_fork(after_in_child=lambda: os._exit(5))
with nothing_left():
    error = attempt()
    assert (error.stage, error.call, error.errno) == (None, "fork", errno.ECHILD)
    assert "with status 5 before its set-up was done" in error.hint
assert os.listdir(sys.argv[1]) == []
""",
        tmp_path,
    )


def test_a_child_whose_hook_has_closed_all_files_can_report_nothing_and_does_not_come_back(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
os.register_at_fork(after_in_child=lambda: os.closerange(3, 256))
with nothing_left():
    error = attempt()
    assert (error.stage, error.call, error.errno) == (None, "fork", errno.ECHILD), repr(error)
assert os.listdir(sys.argv[1]) == []
""",
        tmp_path,
    )
