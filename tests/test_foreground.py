"""foreground_group: the terminal goes to a group and comes back, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from scenarios import RAISES
from strace import require
from support import fresh
from test_calls import HELPERS

# The helper leads a session with a terminal, and is the group in the foreground of it.
START = (
    HELPERS
    + RAISES
    + """
import gc, threading, tty as modes_of
from setsid.tty import Pty, foreground_group

pty = Pty()
tty = pty.terminal
setsid.acquire_ctty(tty)
own = os.getpgrp()
signal.signal(signal.SIGHUP, signal.SIG_IGN)

def collect():  # where what nobody holds any more is not gone at once
    for _ in range(3 if ON_PYPY else 0):
        gc.collect()

def modes():
    return terminal_modes(tty)

at_first = modes()

@contextmanager
def in_group():
    # The pid of a child that leads a group. It has no copy of the manager side, which would keep it from hanging up.
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(pty.manager)
        os.write(writer, b".")
        while True:
            signal.pause()
    assert os.read(reader, 1) == b"."
    os.close(writer)
    try:
        yield pid
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

def raw():
    # Stops whoever is not in the foreground, as it does every program.
    modes_of.setraw(tty)

def as_it_was(group=own):
    return setsid.tcgetpgrp(tty) == group and modes() == at_first

def changed(pid):
    # What waitpid tells next of a child: "stopped", or its exit status.
    status = os.waitpid(pid, os.WUNTRACED)[1]
    return "stopped" if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)

def in_background(function, group=0):
    # Run a function in a child that is in a group of its own. What it returned, or "stopped".
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, group)
            function()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    return changed(pid)
"""
)


def run(source: str, *args: object) -> None:
    fresh(START + source, *args)


# -- there and back


def test_the_group_has_the_terminal_for_the_block() -> None:
    run("""
with nothing_left(), in_group() as pid:
    lent = foreground_group(tty, pid)
    assert as_it_was()
    for _ in range(2):  # it may be used again
        with lent as same:
            assert same is lent and as_it_was(pid)
        assert as_it_was()
    for terminal in pty, open(tty, "wb", closefd=False):
        with foreground_group(terminal, pid):
            assert as_it_was(pid)
        assert as_it_was()
""")


def test_one_in_another() -> None:
    run("""
with nothing_left(), in_group() as first, in_group() as second:
    with foreground_group(tty, first):
        with foreground_group(tty, second):
            assert as_it_was(second)
        assert as_it_was(first)
    assert as_it_was()
    lent = foreground_group(tty, first)
    with lent, raises(RuntimeError, "the terminal is lent already"):
        with lent:
            raise AssertionError("entered")
    assert as_it_was()
""")


@pytest.mark.parametrize("end", ["killed", "stopped", "left"])
def test_the_modes_come_back_from_a_program_that_has_left_it_raw(end: str) -> None:
    run(
        """
go = os.pipe()
def program():
    os.read(go[0], 1)
    raw()

member = os.fork()
if member == 0:
    os.setpgid(0, 0)
    program()
    if sys.argv[1] != "left":
        os.kill(0, signal.SIGKILL if sys.argv[1] == "killed" else signal.SIGSTOP)
    os._exit(0)
os.setpgid(member, member)
with foreground_group(tty, member):
    os.write(go[1], b".")
    assert changed(member) == {"killed": -signal.SIGKILL, "stopped": "stopped", "left": 0}[sys.argv[1]]
    assert modes() != at_first
assert as_it_was()
if sys.argv[1] == "stopped":
    os.killpg(member, signal.SIGKILL)
    assert changed(member) == -signal.SIGKILL
""",
        end,
    )


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "ZeroDivisionError"])
def test_it_comes_back_when_an_exception_passes(kind: str) -> None:
    run(
        """
kind = getattr(__builtins__, sys.argv[1])
with in_group() as pid, nothing_left():
    with raises(kind, "passes"):
        with foreground_group(tty, pid):
            in_child(lambda: (os.setpgid(0, pid), raw()))
            assert not as_it_was(pid)
            raise kind("passes")
    assert as_it_was()
""",
        kind,
    )


def test_the_modes_are_set_when_no_other_group_can_change_them(need: Callable[..., str]) -> None:
    # The group that has had the terminal would go on changing them, the one that gets it may begin to.
    require(need)
    run("""
from strace import *
import re
with in_group() as pid, in_group() as previous:
    setsid.tcsetpgrp(tty, previous)
    with tracing("-e", "trace=ioctl") as trace:
        with foreground_group(tty, pid):
            pass
    calls = [re.search(r"TIOCSPGRP, .*?\\]|TCSETS[WF]*", line) for line in trace.of(os.getpid())]
    expected = [f"TIOCSPGRP, [{pid}]", f"TIOCSPGRP, [{own}]", "TCSETS", f"TIOCSPGRP, [{previous}]"]
    assert [call[0] for call in calls if call] == expected, trace.lines
    assert as_it_was(previous)
    setsid.tcsetpgrp(tty, own)
""")


def test_a_program_that_takes_it_itself_is_stopped_and_continued() -> None:
    # As in the README.
    run("""
RUNNING, STOPPED, DONE = setsid.ProcessState.RUNNING, setsid.ProcessState.STOPPED, setsid.ProcessState.DONE
with nothing_left():
    with foreground_group(tty, os.getpgrp()):
        program = setsid.spawn(["sh", "-c", "stty raw; kill -STOP $$; stty -echo; exit 3"], process_group=0,
                               foreground_tty=tty, stdin=tty)
        assert program.wait_change() is STOPPED
        assert setsid.tcgetpgrp(tty) == program.pid and modes() != at_first
    assert as_it_was()
    with foreground_group(tty, program.pid):
        program.signal_group(signal.SIGCONT)
        while program.wait_change() is RUNNING:
            pass
        assert program.wait() == 3 and modes() != at_first
    assert as_it_was()
    program.close()
""")


# -- from the background


@pytest.mark.parametrize("disposition", ["SIG_DFL", "SIG_IGN", "caught"])
def test_a_caller_in_the_background_is_not_stopped(disposition: str) -> None:
    run(
        """
caught = []
def caller():
    handler = getattr(signal, sys.argv[1], lambda *_: caught.append(1))
    signal.signal(signal.SIGTTOU, handler)
    assert setsid.tcgetpgrp(tty) == own != os.getpgrp()
    with nothing_left():
        with foreground_group(tty, pid):
            assert setsid.tcgetpgrp(tty) == pid
            in_child(lambda: (os.setpgid(0, pid), raw()))
        assert as_it_was(own)  # to whom it was before, not to us
        with foreground_group(tty, os.getpgrp()):
            raw()
        assert as_it_was(own)
    assert caught == []

with in_group() as pid:
    assert in_background(caller) == 0
    assert as_it_was()
""",
        disposition,
    )


def test_a_caller_whose_background_group_is_orphaned() -> None:
    run("""
def caller():
    middle = os.getpid()
    if os.fork() == 0:
        try:
            os.setpgid(0, 0)
            os.read(gone[0], 1)  # until the parent has ended: the only one of the session outside the group
            assert os.getppid() != middle
            with foreground_group(tty, pid):
                assert setsid.tcgetpgrp(tty) == pid
                in_child(lambda: (os.setpgid(0, pid), raw()))
            assert as_it_was(own)
            os.write(told[1], b"done")
        except BaseException:
            traceback.print_exc()
        os._exit(0)

gone, told = os.pipe(), os.pipe()
with in_group() as pid:
    assert in_background(caller) == 0
    os.write(gone[1], b".")
    os.close(told[1])
    assert os.read(told[0], 10) == b"done"
    assert as_it_was()
""")


def test_it_comes_to_the_caller_when_the_group_that_had_it_is_gone() -> None:
    run("""
def caller():
    with nothing_left():
        with foreground_group(tty, pid):
            os.write(kill[1], b".")
            os.read(dead[0], 1)
            in_child(lambda: (os.setpgid(0, pid), raw()))
        assert as_it_was(os.getpgrp())

kill, dead = os.pipe(), os.pipe()
with in_group() as pid:
    with in_group() as had_it:
        setsid.tcsetpgrp(tty, had_it)
        caller_pid = os.fork()
        if caller_pid == 0:
            os.setpgid(0, 0)
            try:
                caller()
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.read(kill[0], 1)
    os.write(dead[1], b".")  # and reaped, so that the group is gone
    assert changed(caller_pid) == 0
    # Gone from the start.
    with in_group() as had_it:
        setsid.tcsetpgrp(tty, had_it)
    with nothing_left(), foreground_group(tty, pid):
        assert as_it_was(pid)
    assert as_it_was()
""")


# -- what else may happen meanwhile


@pytest.mark.parametrize("then", ["closed", "another's"])
def test_it_comes_back_when_the_callers_file_is_closed_meanwhile(then: str) -> None:
    run(
        """
with in_group() as pid, nothing_left():
    file = open("/dev/tty", "r+b", buffering=0)
    with foreground_group(file, pid):
        number = file.fileno()
        file.close()
        if sys.argv[1] == "another's":
            null = os.open("/dev/null", os.O_RDONLY)
            assert null == number
    assert as_it_was()
    if sys.argv[1] == "another's":
        os.close(null)
""",
        then,
    )


def test_a_child_that_is_forked_meanwhile_gives_nothing_back() -> None:
    run("""
with in_group() as pid:
    with foreground_group(tty, pid):
        child = os.fork()
        if child == 0:
            with raises(ZeroDivisionError):
                with foreground_group(tty, pid):
                    pass
                1 / 0
    if child == 0:
        os._exit(setsid.tcgetpgrp(tty) != pid)
    assert as_it_was()
os.waitpid(child, 0)

with in_group() as pid:
    with foreground_group(tty, pid) as lent:
        def child():
            lent.__exit__(None, None, None)
            assert setsid.tcgetpgrp(tty) == pid
        in_child(child)
        assert as_it_was(pid)
    assert as_it_was()
""")


def test_an_exception_of_a_signal_handler_at_either_end_of_the_block() -> None:
    run("""
def interrupting(event, name):
    # Raises where a handler would: when a function begins, or a call into C has returned.
    def profile(frame, what, argument):
        if what == event and name == (getattr(argument, "__name__", "") if argument else frame.f_code.co_name):
            sys.setprofile(None)
            raise KeyboardInterrupt
    sys.setprofile(profile)

with in_group() as pid, nothing_left():
    for event, name in ("c_return", "sid_lend"), ("call", "__exit__"), ("c_return", "sid_take_back"):
        if ON_PYPY and event == "c_return":  # its profile functions are not told of those
            continue
        entered = False
        try:
            interrupting(event, name)
            with foreground_group(tty, pid):
                entered = True
                assert setsid.tcgetpgrp(tty) == pid
            raise AssertionError(f"{name} was not interrupted")
        except KeyboardInterrupt:
            sys.setprofile(None)
        assert entered is (name != "sid_lend")
        gc.collect()
        assert as_it_was(), name
""")


def test_one_that_is_dropped_gives_back_and_leaves_no_file() -> None:
    run("""
with in_group() as pid, nothing_left():
    foreground_group(tty, pid).__enter__()
    collect()
    assert as_it_was()
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_name) if event == "call" else None)
    lent = foreground_group(tty, pid).__enter__()
    calls.clear()
    del lent  # by no Python code, where an exception would get lost
    collect()
    sys.setprofile(None)
    assert calls == ["collect"] and as_it_was()
with in_group() as pid:
    before = open_fds()
    lent = foreground_group(tty, pid).__enter__()
    os.close(pty.manager)  # it can't be given back
    del lent
    collect()
    assert open_fds().keys() == before.keys() - {pty.manager}
""")


def test_signals_that_race_with_a_thousand_rounds() -> None:
    # The caller is stopped and continued all the time, and so is the group that it lends the terminal to.
    run("""
children_changed = 0
def count(*_):
    global children_changed
    children_changed += 1

def caller():
    signal.signal(signal.SIGCHLD, count)
    member = os.fork()
    if member == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setpgid(0, 0)
        os.close(rounds[1])
        os.write(ready[1], b"%d" % os.getpid())
        os.close(alive[1])
        os.read(alive[0], 1)
        os._exit(0)
    with open("/dev/tty", "rb", buffering=0) as terminal:
        os.read(go[0], 1)
        turn = stopped = 0
        while turn < 1000 or stopped < 50 or children_changed < 50:
            turn += 1
            os.write(rounds[1], b".")
            try:
                stopped += len(os.read(stops[0], 1000))
            except BlockingIOError:
                pass
            try:
                with foreground_group(terminal, member):
                    assert setsid.tcgetpgrp(terminal) == member
                    if turn % 2:
                        with foreground_group(terminal, os.getpgrp()):
                            raw()
                    if turn % 3 == 0:
                        raise ZeroDivisionError
            except ZeroDivisionError:
                pass
            assert as_it_was(own), turn
    assert signal_set("SigBlk") == set()
    os.kill(member, signal.SIGKILL)
    os.kill(member, signal.SIGCONT)
    os.waitpid(member, 0)

ready, go, alive, stops, rounds = os.pipe(), os.pipe(), os.pipe(), os.pipe(), os.pipe()
os.set_blocking(stops[0], False)
os.set_blocking(stops[1], False)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    try:
        caller()
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
os.close(ready[1])
os.close(rounds[1])
member = int(os.read(ready[0], 20))
os.write(go[1], b".")
for turn in range(10**9):
    os.kill(pid, signal.SIGTSTP)
    for number in signal.SIGTSTP, signal.SIGCONT, signal.SIGTTOU, signal.SIGCONT:
        try:
            os.kill(member, number)
        except ProcessLookupError:
            pass
    result = os.waitpid(pid, os.WUNTRACED)[1]
    if not os.WIFSTOPPED(result):
        break
    try:
        os.write(stops[1], b".")
    except BlockingIOError:  # the caller has had enough of them
        pass
    os.kill(pid, signal.SIGCONT)
    for _ in range(turn % 7):
        os.sched_yield()
    if turn % 2:
        os.read(rounds[0], 1)  # it gets on, however busy the machine is
assert os.waitstatus_to_exitcode(result) == 0
assert as_it_was()
""")


# -- what fails


def test_what_cant_be_lent_is_refused_and_nothing_is_changed() -> None:
    run("""
other, closed = Pty(), Pty()
closed.close()
reader, writer = os.pipe()
cases = [
    (other, own, errno.ENOTTY, "tcgetpgrp", f"{other.name} is not the caller's controlling terminal"),
    (other.manager, own, errno.ENOTTY, "tcsetpgrp", f"no session has the terminal of file descriptor {other.manager}"),
    (reader, own, errno.ENOTTY, "tcgetpgrp", f"file descriptor {reader} is not a terminal"),
    (60, own, errno.EBADF, "tcgetpgrp", "file descriptor 60 is not open"),
    (tty, MISSING, errno.ESRCH, "tcsetpgrp", f"there is no process group {MISSING}"),
    (tty, -5, errno.EINVAL, "tcsetpgrp", "-5 is no number of a process group"),
]
with sleeper(os.setsid) as pid, nothing_left():
    cases.append((tty, pid, errno.EPERM, "tcsetpgrp", f"process group {pid} is in session {pid}, not in session {own}"))
    for terminal, group, number, call, hint in cases:
        with raises(setsid.SystemCallError, errno=number, call=call, hint=hint):
            with foreground_group(terminal, group):
                raise AssertionError("entered")
        assert as_it_was()
    for arguments, kind, text in [
        (("tty", own), TypeError, "tty must be a file descriptor"),
        ((tty, "1"), TypeError, "pgid must be an int, not str"),
        ((tty, 2**40), OverflowError, ""),
    ]:
        with raises(kind, text):
            with foreground_group(*arguments):
                raise AssertionError("entered")
        assert as_it_was()
    with raises(ValueError, f"tty: the terminal side of {closed.name} is closed"):
        foreground_group(closed, own)
""")


def test_a_caller_without_a_terminal() -> None:
    run("""
def caller():
    os.setsid()
    with nothing_left():
        with raises(OSError, f"the caller has no controlling terminal, so {pty.name} is not it", errno=errno.ENOTTY):
            with foreground_group(tty, os.getpgrp()):
                raise AssertionError("entered")
in_child(caller)
assert as_it_was()
""")


def test_no_room_for_another_file() -> None:
    run("""
import resource
with in_group() as pid, nothing_left():
    limit = max(open_fds()) + 1
    extra = []
    while len(os.listdir("/proc/self/fd")) <= limit:
        extra.append(os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
    with raises(OSError, f"this process may have {limit} open files (RLIMIT_NOFILE)", errno=errno.EMFILE, call="fcntl"):
        with foreground_group(tty, pid):
            raise AssertionError("entered")
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    assert as_it_was()
    for fd in extra:
        os.close(fd)
""")


def test_a_terminal_that_is_hung_up() -> None:
    run("""
hung_up = f"the terminal of file descriptor {tty} is hung up"
with in_group() as pid:
    before = open_fds()
    with raises(OSError, "is hung up", errno=errno.ENOTTY, call="tcsetpgrp"):
        with foreground_group(tty, pid):
            os.close(pty.manager)
    gc.collect()
    for _ in range(2):
        with raises(OSError, hung_up, errno=errno.EIO, call="tcgetpgrp"):
            with foreground_group(tty, pid):
                raise AssertionError("entered")
    assert open_fds().keys() == before.keys() - {pty.manager}
""")


def test_an_exception_that_passes_is_not_hidden_by_a_terminal_that_is_hung_up() -> None:
    run("""
with in_group() as pid:
    before = open_fds()
    with raises(ZeroDivisionError):
        with foreground_group(tty, pid):
            os.close(pty.manager)
            1 / 0
    with raises(OSError, "is hung up", errno=errno.EIO):
        setsid.tcgetpgrp(tty)
    gc.collect()
    assert open_fds().keys() == before.keys() - {pty.manager}
""")
