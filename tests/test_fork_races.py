"""fork while other threads fork, and where the system gives nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import RAISES, hidden
from support import fresh

# A child that came back where it must not would leave a directory of its number's name in the first argument.
PRELUDE = """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of a fork where there are threads

HELPER = os.getpid()

class Interrupt(BaseException):
    pass

def returned():
    return os.listdir(sys.argv[1])

def leave():  # in the child
    os.mkdir(f"{sys.argv[1]}/{os.getpid()}")
    os._exit(99)

def fail(**changes):
    try:
        process = setsid.fork(**changes)
    except BaseException as error:
        if os.getpid() != HELPER:
            leave()
        return error
    if process is None:
        leave()
    raise AssertionError(f"nothing failed, and the child ended with {process.wait()}")

def stay():  # in a stranger: with copies of all our files until nobody holds `hold` any more
    os.close(hold)
    os.read(release, 1)
    os._exit(0)

release, hold = os.pipe()
"""
STRANGERS = """
strangers, making = [], False

def make_stranger():
    global making
    if making:
        return
    making = True
    pid = os.fork()
    if pid == 0:
        stay()
    strangers.append(pid)
    making = False

os.register_at_fork(before=make_stranger)
"""
END = """
os.close(hold)
for pid in strangers:
    os.waitpid(pid, 0)
"""


@hidden
def test_strangers_that_hold_copies_of_our_files_keep_no_fork_from_going_on(hide_pidfd: bool, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + STRANGERS
        + """
for number in range(100):
    if number % 2:
        error = fail(cwd="/nowhere")
        assert (error.stage.value, error.errno) == ("cwd", errno.ENOENT)
        continue
    process = setsid.fork()
    if process is None:
        os._exit(7)
    assert process.wait() == 7
    process.close()
assert len(strangers) == 100 and children() == sorted(strangers) and returned() == []
"""
        + END,
        tmp_path,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hidden
def test_a_stranger_keeps_nobody_from_learning_that_the_child_has_ended_itself(
    hide_pidfd: bool, tmp_path: Path
) -> None:
    fresh(
        PRELUDE
        + STRANGERS
        + """
os.register_at_fork(after_in_child=lambda: making or os.kill(os.getpid(), signal.SIGKILL))
for _ in range(20):
    error = fail()
    assert error.errno == errno.ECHILD and "by signal 9 " in error.hint
assert children() == sorted(strangers) and returned() == []
"""
        + END,
        tmp_path,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@pytest.mark.parametrize("kind", ["fork", "subprocess"])
def test_another_thread_that_makes_processes_meanwhile_hinders_nobody(kind: str, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
import subprocess
strangers, over = [], False

def make_stranger():
    if sys.argv[2] == "subprocess":
        return subprocess.Popen(["cat"], stdin=release, close_fds=False)
    pid = os.fork()
    if pid == 0:
        stay()
    return pid

def make_strangers():
    while not over and len(strangers) < 60:
        strangers.append(make_stranger())

thread = threading.Thread(target=make_strangers)
thread.start()
for number in range(100):
    if number % 2:
        assert fail(cwd="/nowhere").errno == errno.ENOENT
        continue
    process = setsid.fork()
    if process is None:
        os._exit(7)
    assert process.wait() == 7
    process.close()
over = True
thread.join()
os.close(hold)
for stranger in strangers:
    ended = os.waitpid(stranger, 0)[1] if sys.argv[2] == "fork" else stranger.wait()
    assert ended == 0
assert children() == [] and returned() == []
""",
        tmp_path,
        kind,
        timeout=60,
    )


def test_a_fork_that_fails_is_told_of_with_its_errno(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
import functools
real, os.fork = os.fork, functools.partial(os.close, -1)  # fails in C, as the real one would
with nothing_left():
    error = fail()
    assert isinstance(error, setsid.SystemCallError), repr(error)
    assert (error.stage, error.call, error.errno) == (None, "fork", errno.EBADF)
os.fork = real
""",
        tmp_path,
    )


def test_too_many_processes_are_told_of(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
import resource
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
with nothing_left():
    assert fail(cwd="/nowhere").errno in (errno.ENOENT, errno.EAGAIN)  # root may; all is imported now
    if os.geteuid() == 0:
        os.setresuid(65534, 65534, 65534)
    error = fail()
    assert isinstance(error, setsid.SystemCallError)
    assert (error.stage, error.call, error.errno) == (None, "fork", errno.EAGAIN), repr(error)
""",
        tmp_path,
    )


def test_a_full_table_of_files_is_told_of_and_none_but_the_two_pipes_entries_are_needed(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
before = sorted(open_fds())
taken = [os.dup(0) for _ in range(64 - len(before))]
for _ in range(4):
    error = fail()
    assert (error.stage, error.call, error.errno) == (None, "pipe2", errno.EMFILE), repr(error)
    os.close(taken.pop())
process = setsid.fork()
if process is None:
    os._exit(7)
assert process.wait() == 7
process.close()
for fd in taken:
    os.close(fd)
assert sorted(open_fds()) == before
""",
        tmp_path,
    )


@hidden
def test_fork_works_where_children_are_reaped_by_the_kernel(hide_pidfd: bool, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + RAISES
        + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with nothing_left():
    for _ in range(20):
        error = fail(cwd="/nowhere")
        assert (error.stage.value, error.errno) == ("cwd", errno.ENOENT)
    process = setsid.fork()
    if process is None:
        os._exit(7)
    try:
        assert process.wait() == 7
    except ChildProcessError as error:  # the kernel does not tell of who it has reaped
        assert "reaped elsewhere" in str(error)
    process.close()
    del process
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGKILL))
with nothing_left():
    error = fail()
    assert (error.stage, error.call, error.errno) == (None, "fork", errno.ECHILD)
    assert "with status" not in error.hint  # which is not what happened
assert returned() == []
""",
        tmp_path,
        hide_pidfd=hide_pidfd,
    )
