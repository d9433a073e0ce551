"""The nine calls: what they do, seen in /proc, and every errno that they name, made to happen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from support import fresh, status

HELPERS = '''
import contextlib, fcntl, termios, traceback

MISSING = 2**31 - 1  # above any kernel's pid_max

def failed(call, *args, **kwargs):
    """(errno's name, call) of a call that must fail."""
    try:
        call(*args, **kwargs)
    except setsid.SystemCallError as error:
        assert (error.strerror, error.stage) == (os.strerror(error.errno), None)
        return errno.errorcode[error.errno], error.call
    raise AssertionError(f"{call.__name__}{args} succeeded")

def failed_alike(name, *args):
    """As `failed`, for a call that `os` has too: what it raises there must be caught by the same except clause."""
    try:
        getattr(os, name)(*args)
    except OSError as theirs:
        try:
            getattr(setsid, name)(*args)
        except type(theirs) as ours:
            assert (ours.errno, ours.strerror) == (theirs.errno, theirs.strerror)
            return errno.errorcode[ours.errno], ours.call
    raise AssertionError(f"{name}{args} succeeded")

def in_child(function):
    """Run a function in a fork of this process. Fails if it does."""
    pid = os.fork()
    if pid == 0:
        try:
            function()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

@contextlib.contextmanager
def sleeper(prepare=lambda: None):
    """The pid of a child that has carried out `prepare` and now waits."""
    ready, hold = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(hold[1])
        try:
            prepare()
            os.write(ready[1], b".")
            os.read(hold[0], 1)
        finally:
            os._exit(0)
    os.close(ready[1])
    os.close(hold[0])
    assert os.read(ready[0], 1) == b"."
    yield pid
    os.close(ready[0])
    os.close(hold[1])
    os.waitpid(pid, 0)

def own_terminal():
    """(manager, terminal) of a terminal that is this session's."""
    manager, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    return manager, terminal

def drop_privileges():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
'''

needs_admin = pytest.mark.skipif(
    not int(status()["CapEff"], 16) >> 21 & 1, reason="needs CAP_SYS_ADMIN (root outside a container has it)"
)
FD_CALLS = ["tcgetsid", "tcgetpgrp", "acquire_ctty", "release_ctty"]


def run(source: str, *args: object, wrapper: tuple[str, ...] = ()) -> str:
    return fresh(HELPERS + source, *args, wrapper=wrapper).stdout


# -- setsid


def test_setsid_makes_a_leader_of_a_session_and_a_group_without_a_terminal() -> None:
    run("""
own_terminal()
def child():
    pid = os.getpid()
    assert session_of(pid)["tty"] != 0
    assert setsid.setsid() == pid
    facts = session_of(pid)
    assert (facts["sid"], facts["pgid"], facts["tty"]) == (pid, pid, 0)
in_child(child)
""")


def test_setsid_is_refused_to_a_session_leader() -> None:
    run('assert failed_alike("setsid") == ("EPERM", "setsid")')


def test_setsid_is_refused_to_a_group_leader() -> None:
    run("""
def child():
    os.setpgid(0, 0)
    assert failed_alike("setsid") == ("EPERM", "setsid")
in_child(child)
""")


def test_setsid_is_refused_while_a_group_with_the_callers_number_lives() -> None:
    run("""
group = os.getpgrp()
def child():
    os.setpgid(0, 0)
    with sleeper():
        os.setpgid(0, group)
        assert failed_alike("setsid") == ("EPERM", "setsid")
    assert setsid.setsid() == os.getpid()
in_child(child)
""")


# -- getsid, getpgid


@pytest.mark.parametrize(("name", "fact"), [("getsid", "sid"), ("getpgid", "pgid")])
def test_the_ids_are_those_of_proc(name: str, fact: str) -> None:
    run(
        """
name, fact = sys.argv[1:]
call, theirs = getattr(setsid, name), getattr(os, name)
own = session_of(os.getpid())[fact]
assert call() == call(0) == call(os.getpid()) == own
with sleeper(os.setsid) as pid:
    assert call(pid) == session_of(pid)[fact] == theirs(pid) == pid != own
""",
        name,
        fact,
    )


@pytest.mark.parametrize("name", ["getsid", "getpgid"])
def test_ids_of_no_process_are_esrch(name: str) -> None:
    run(
        """
name = sys.argv[1]
assert failed_alike(name, MISSING) == failed_alike(name, -1) == ("ESRCH", name)
""",
        name,
    )


@needs_admin
def test_a_session_of_another_pid_namespace_is_0(need: Callable[..., str]) -> None:
    run("assert setsid.getsid() == setsid.getpgid() == 0", wrapper=(need("unshare"), "--pid", "--fork"))


# -- setpgid


def test_setpgid_makes_the_caller_lead_a_group() -> None:
    run("""
def child():
    sid, pid = os.getsid(0), os.getpid()
    setsid.setpgid()
    facts = session_of(pid)
    assert (facts["pgid"], facts["sid"]) == (pid, sid)
in_child(child)
""")


def test_setpgid_moves_children_into_one_group() -> None:
    run("""
with sleeper() as first, sleeper() as second:
    setsid.setpgid(first)
    setsid.setpgid(second, pgid=first)
    assert [session_of(pid)["pgid"] for pid in (first, second)] == [first, first]
""")


def test_setpgid_is_refused_to_a_session_leader() -> None:
    run("""
group = os.getpgrp()
assert failed_alike("setpgid", 0, 0) == ("EPERM", "setpgid")
with sleeper(os.setsid) as pid:
    assert failed_alike("setpgid", pid, group) == ("EPERM", "setpgid")
""")


def test_setpgid_is_refused_for_a_child_in_another_session() -> None:
    run("""
def child():
    with sleeper() as pid:
        os.setsid()
        assert failed_alike("setpgid", pid, pid) == ("EPERM", "setpgid")
in_child(child)
""")


def test_setpgid_is_refused_for_a_group_that_is_not_in_the_session() -> None:
    run("""
with sleeper() as pid, sleeper(os.setsid) as elsewhere:
    assert failed_alike("setpgid", pid, MISSING) == ("EPERM", "setpgid")
    assert failed_alike("setpgid", pid, elsewhere) == ("EPERM", "setpgid")
""")


def test_setpgid_is_refused_for_a_child_that_has_executed_a_program() -> None:
    run("""
reader, writer = os.pipe()
with setsid.spawn(["cat"], stdin=reader, process_group=setsid.INHERIT) as process:
    assert failed_alike("setpgid", process.pid, process.pid) == ("EACCES", "setpgid")
    os.close(writer)
""")


def test_setpgid_of_a_process_that_is_no_child_is_esrch() -> None:
    run("""
assert failed_alike("setpgid", os.getppid(), 0) == ("ESRCH", "setpgid")
assert failed_alike("setpgid", MISSING, 0) == ("ESRCH", "setpgid")
""")


def test_setpgid_to_a_negative_group_is_einval() -> None:
    run('assert failed_alike("setpgid", 0, -1) == ("EINVAL", "setpgid")')


# -- terminals: who has them


def test_the_callers_terminal_tells_its_session_and_foreground_group() -> None:
    run("""
manager, terminal = own_terminal()
for fd in manager, terminal:
    assert setsid.tcgetsid(fd) == os.getpid()
with sleeper(lambda: os.setpgid(0, 0)) as pid:
    os.tcsetpgrp(terminal, pid)
    for fd in manager, terminal:
        assert setsid.tcgetpgrp(fd) == os.tcgetpgrp(fd) == session_of(os.getpid())["tpgid"] == pid
""")


def test_a_terminal_without_a_foreground_group_says_0() -> None:
    run("""
manager, terminal = os.openpty()
assert setsid.tcgetpgrp(manager) == os.tcgetpgrp(manager) == 0
""")


@needs_admin
def test_a_terminal_of_another_pid_namespaces_session_says_0(need: Callable[..., str]) -> None:
    run(
        """
manager, terminal = own_terminal()
source = f"import setsid; print(setsid.tcgetsid({manager}), setsid.tcgetpgrp({manager}))"
argv = [sys.argv[1], "--pid", "--fork", sys.executable, "-c", source]
assert spawn_text(argv, pass_fds=[manager]) == "0 0\\n"
""",
        need("unshare"),
    )


def test_a_manager_whose_terminal_no_session_has_is_enotty_to_tcgetsid() -> None:
    run("""
manager, terminal = os.openpty()
assert failed(setsid.tcgetsid, manager) == ("ENOTTY", "tcgetsid")
""")


def test_a_terminal_that_is_not_the_callers_is_enotty() -> None:
    run("""
def check(terminal):
    assert failed(setsid.tcgetsid, terminal) == ("ENOTTY", "tcgetsid")
    assert failed_alike("tcgetpgrp", terminal) == ("ENOTTY", "tcgetpgrp")
    assert failed_alike("tcsetpgrp", terminal, os.getpgrp()) == ("ENOTTY", "tcsetpgrp")
    assert failed(setsid.release_ctty, terminal) == ("ENOTTY", "ioctl(TIOCNOTTY)")
manager, terminal = os.openpty()
check(terminal)
own_terminal()
check(terminal)
""")


@pytest.mark.parametrize("name", FD_CALLS)
def test_a_file_that_is_no_terminal_is_enotty_and_one_that_is_closed_ebadf(name: str) -> None:
    run(
        """
call = getattr(setsid, sys.argv[1])
reader, writer = os.pipe()
assert failed(call, reader)[0] == "ENOTTY"
os.close(reader)
assert failed(call, reader)[0] == "EBADF"
assert failed(call, -1)[0] == "EBADF"
""",
        name,
    )


def test_tcsetpgrp_on_no_terminal_is_enotty_and_on_a_closed_file_ebadf() -> None:
    run("""
reader, writer = os.pipe()
assert failed_alike("tcsetpgrp", reader, os.getpgrp()) == ("ENOTTY", "tcsetpgrp")
os.close(reader)
assert failed_alike("tcsetpgrp", reader, os.getpgrp()) == ("EBADF", "tcsetpgrp")
""")


# -- tcsetpgrp


def test_tcsetpgrp_changes_the_foreground_group() -> None:
    run("""
manager, terminal = own_terminal()
with sleeper(lambda: os.setpgid(0, 0)) as pid:
    setsid.tcsetpgrp(terminal, pid)
    assert session_of(os.getpid())["tpgid"] == pid
""")


def test_tcsetpgrp_names_the_errors_of_groups() -> None:
    run("""
manager, terminal = own_terminal()
with sleeper(os.setsid) as elsewhere:
    assert failed_alike("tcsetpgrp", terminal, elsewhere) == ("EPERM", "tcsetpgrp")
assert failed_alike("tcsetpgrp", terminal, MISSING) == ("ESRCH", "tcsetpgrp")
assert failed_alike("tcsetpgrp", terminal, 0) == ("ESRCH", "tcsetpgrp")
assert failed_alike("tcsetpgrp", terminal, -1) == ("EINVAL", "tcsetpgrp")
assert session_of(os.getpid())["tpgid"] == os.getpgrp()
""")


def test_tcsetpgrp_from_the_background_does_not_stop_the_caller() -> None:
    run("""
manager, terminal = own_terminal()
def from_background(call):
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        call(terminal, os.getpid())
        os._exit(0 if session_of(os.getpid())["tpgid"] == os.getpid() else 1)
    return pid, os.waitpid(pid, os.WUNTRACED)[1]
# os.tcsetpgrp is stopped here, so the caller is in the background indeed.
pid, ended = from_background(os.tcsetpgrp)
assert os.WIFSTOPPED(ended) and os.WSTOPSIG(ended) == signal.SIGTTOU
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert from_background(setsid.tcsetpgrp)[1] == 0
""")


@pytest.mark.parametrize("blocked", [False, True])
def test_tcsetpgrp_leaves_the_signal_mask_as_it_was(blocked: bool) -> None:
    run(
        """
manager, terminal = own_terminal()
mask = {signal.SIGUSR1} | ({signal.SIGTTOU} if sys.argv[1] == "True" else set())
def child():
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.setpgid(0, 0)
    setsid.tcsetpgrp(terminal, os.getpid())
    assert (signal_set("SigBlk"), signal_set("ShdPnd"), signal_set("SigPnd")) == (mask, set(), set())
    assert failed(setsid.tcsetpgrp, terminal, MISSING) == ("ESRCH", "tcsetpgrp")
    assert signal_set("SigBlk") == mask
in_child(child)
""",
        blocked,
    )


# -- acquire_ctty


@pytest.mark.parametrize("side", ["manager", "terminal"])
def test_acquire_ctty_gives_the_session_its_terminal(side: str) -> None:
    run(
        """
manager, terminal = os.openpty()
fd = {"manager": manager, "terminal": terminal}[sys.argv[1]]
for _ in range(2):  # and does nothing the second time
    setsid.acquire_ctty(fd)
    facts = session_of(os.getpid())
    assert (facts["tty"], facts["tpgid"]) == (os.fstat(terminal).st_rdev, os.getpgrp())
""",
        side,
    )


def test_acquire_ctty_is_refused_to_a_process_that_leads_no_session() -> None:
    run("""
manager, terminal = os.openpty()
def child():
    assert failed(setsid.acquire_ctty, terminal) == ("EPERM", "ioctl(TIOCSCTTY)")
in_child(child)
assert session_of(os.getpid())["tty"] == 0
""")


def test_acquire_ctty_is_refused_to_a_session_that_has_a_terminal() -> None:
    run("""
_, first = own_terminal()
_, second = os.openpty()
assert failed(setsid.acquire_ctty, second) == ("EPERM", "ioctl(TIOCSCTTY)")
assert session_of(os.getpid())["tty"] == os.fstat(first).st_rdev
""")


def test_acquire_ctty_is_refused_for_another_sessions_terminal() -> None:
    run("""
manager, terminal = own_terminal()
def child():
    os.setsid()
    assert failed(setsid.acquire_ctty, terminal) == ("EPERM", "ioctl(TIOCSCTTY)")
    assert session_of(os.getpid())["tty"] == 0
in_child(child)
""")


def test_acquire_ctty_is_refused_to_the_unprivileged_on_a_write_only_terminal() -> None:
    run("""
manager, terminal = os.openpty()
write_only = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY)
drop_privileges()
assert failed(setsid.acquire_ctty, write_only) == ("EPERM", "ioctl(TIOCSCTTY)")
setsid.acquire_ctty(terminal)
""")


@needs_admin
def test_steal_takes_another_sessions_terminal() -> None:
    run("""
manager, terminal = own_terminal()
def child():
    os.setsid()
    setsid.acquire_ctty(terminal, steal=True)
    assert session_of(os.getpid())["tty"] == os.fstat(terminal).st_rdev
    assert session_of(os.getppid())["tty"] == 0
in_child(child)
""")


def test_steal_is_refused_to_the_unprivileged() -> None:
    run("""
manager, terminal = own_terminal()
def child():
    os.setsid()
    drop_privileges()
    assert failed(setsid.acquire_ctty, terminal, steal=True) == ("EPERM", "ioctl(TIOCSCTTY)")
    assert session_of(os.getppid())["tty"] == os.fstat(terminal).st_rdev
in_child(child)
""")


# -- release_ctty


def test_release_ctty_by_the_leader_takes_it_from_the_session_and_tells_the_foreground() -> None:
    run("""
manager, terminal = own_terminal()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGCONT})
with sleeper() as pid:
    assert session_of(pid)["tty"] != 0
    setsid.release_ctty(terminal)
    assert (session_of(os.getpid())["tty"], session_of(pid)["tty"]) == (0, 0)
    assert signal.sigpending() == {signal.SIGHUP, signal.SIGCONT}
""")


def test_release_ctty_by_another_takes_it_from_that_process_alone() -> None:
    run("""
manager, terminal = own_terminal()
def child():
    setsid.release_ctty(terminal)
    assert session_of(os.getpid())["tty"] == 0
in_child(child)
assert session_of(os.getpid())["tty"] == os.fstat(terminal).st_rdev
""")


# -- arguments


@pytest.mark.parametrize("name", ["tcgetsid", "tcgetpgrp"])
def test_a_file_may_stand_for_its_descriptor(name: str) -> None:
    run(
        """
call = getattr(setsid, sys.argv[1])
manager, terminal = own_terminal()
class Number(int):
    pass
with open(terminal, "rb", buffering=0, closefd=False) as file:
    assert call(file) == call(Number(terminal)) == call(terminal) == os.getpid()
""",
        name,
    )


def test_the_calls_that_change_a_terminal_take_a_file_too() -> None:
    run("""
manager, terminal = os.openpty()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with open(terminal, "rb", buffering=0, closefd=False) as file:
    setsid.acquire_ctty(file)
    with sleeper(lambda: os.setpgid(0, 0)) as pid:
        setsid.tcsetpgrp(file, pid)
        assert session_of(os.getpid())["tpgid"] == pid
    setsid.release_ctty(file)
assert session_of(os.getpid())["tty"] == 0
""")


# Each refused for its arguments alone, so none of them may reach the kernel.
WRONG_ARGUMENTS = """
class Odd:
    def fileno(self):
        return "0"
for call in setsid.getsid, setsid.getpgid, setsid.setpgid, lambda pgid: setsid.setpgid(0, pgid):
    for kind, values in {TypeError: ("1", 1.0, None, b"1", int), OverflowError: (2**31, -(2**31) - 1, 2**80)}.items():
        for value in values:
            try:
                call(value)
            except kind:
                continue
            raise AssertionError(f"{value!r} is taken for a process")
for call in (setsid.tcgetsid, setsid.tcgetpgrp, setsid.acquire_ctty, setsid.release_ctty,
             lambda fd: setsid.tcsetpgrp(fd, 1)):
    for kind, values in {TypeError: ("0", 0.0, None, True, Odd()), OverflowError: (2**31, 2**80)}.items():
        for value in values:
            try:
                call(value)
            except kind:
                continue
            raise AssertionError(f"{value!r} is taken for a file")
for kind, value in (TypeError, "1"), (OverflowError, 2**31):
    try:
        setsid.tcsetpgrp(0, value)
    except kind:
        continue
    raise AssertionError(f"{value!r} is taken for a group")
setsid.getsid(os.getpid())  # the one that strace must see
"""


def test_wrong_arguments_are_refused_by_type_and_by_size() -> None:
    run(WRONG_ARGUMENTS)


def test_wrong_arguments_never_reach_the_kernel(need: Callable[..., str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    run(
        WRONG_ARGUMENTS,
        wrapper=(need("strace"), "-o", str(trace), "-e", "trace=getsid,getpgid,setpgid,setsid,ioctl"),
    )
    terminal_calls = ("TIOCGSID", "TIOCGPGRP", "TIOCSPGRP", "TIOCSCTTY", "TIOCNOTTY")
    calls = [line.split("(")[0] for line in trace.read_text().splitlines() if not line.startswith(("ioctl", "+++"))]
    calls += [name for name in terminal_calls if name in trace.read_text()]
    assert calls == ["getsid"]
