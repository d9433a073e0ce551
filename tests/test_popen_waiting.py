"""Popen's waiting, signals and end, with and without a plan, with and without pidfds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scenarios import ASLEEP, RAISES, TELLS, hidden, recycled
from strace import require
from support import fresh

# For a helper: `start` makes a Popen in the one way or the other, `cat` one that lives until its stdin is closed.
STARTS = {
    "standard": """
import subprocess
from setsid import ChildSetup, Popen
def start(argv, *, session=False, **arguments):
    return Popen(argv, start_new_session=session, **arguments)
""",
    "plan": """
import subprocess
from setsid import ChildSetup, Popen
def start(argv, *, session=False, **arguments):
    setup = ChildSetup(process_group=setsid.NEW_SESSION) if session else ChildSetup()
    return Popen(argv, setup=setup, **arguments)
""",
}
CAT = """
def cat(**arguments):
    return start(["cat"], stdin=subprocess.PIPE, **arguments)

def close(*processes):
    for process in processes:
        for file in process.stdin, process.stdout, process.stderr:
            if file:
                file.close()

def until_ended(pid):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
"""

started = pytest.mark.parametrize("start", list(STARTS))


def check(source: str, start: str, *args: object, hide_pidfd: bool = False, **options: Any) -> None:
    fresh(RAISES + STARTS[start] + CAT + source, *args, hide_pidfd=hide_pidfd, **options)


# -- the end, and a timeout


@started
@hidden
@pytest.mark.parametrize("wait", ["wait(60)", "communicate(timeout=60)", "wait()"])
def test_a_wait_returns_at_the_end_of_the_child(start: str, hide_pidfd: bool, wait: str) -> None:
    check(
        ASLEEP
        + f"""
with nothing_left():
    reader, writer = os.pipe()
    process = start(["sh", "-c", "read line; exit 6"], stdin=reader)
    os.close(reader)
    main = threading.get_native_id()
    thread = threading.Thread(target=lambda: (until_asleep(main), os.close(writer)))
    thread.start()
    result = process.{wait}
    thread.join()
    assert result == ((None, None) if {wait!r}.startswith("comm") else 6)
    assert process.returncode == process.wait() == process.wait(0) == process.poll() == 6
    assert children() == []
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_a_wait_that_is_too_short_is_the_standard_timeout(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    process = start(["sh", "-c", "echo some; exec sleep 60"], stdout=subprocess.PIPE)
    for timeout in 0, 0.0, -1, 0.02:
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            assert (type(error), error.cmd, error.timeout) == (subprocess.TimeoutExpired, process.args, timeout)
            assert error.__suppress_context__ or error.__context__ is None
        else:
            raise AssertionError(timeout)
    assert process.returncode is None and process.poll() is None
    assert process.stdout.readline() == b"some\\n"
    with raises(subprocess.TimeoutExpired, timeout=0.02):
        process.communicate(timeout=0.02)
    process.kill()
    assert process.communicate(timeout=60) == (b"", None)
    assert process.returncode == -9
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@pytest.mark.parametrize("wait", ["wait", "communicate"])
def test_a_timed_wait_sleeps_in_the_kernel(start: str, wait: str, need: Callable[..., str]) -> None:
    """The standard class, in the same place, asks again and again before 3.15."""
    require(need)
    check(
        ASLEEP
        + f"""
from strace import *

CALLS = "wait4,waitid,poll,ppoll,?select,pselect6,?epoll_wait,nanosleep,clock_nanosleep"

def calls(start, timeout):
    # What the main thread does in a wait that is too short, or until the child has ended.
    process = start(["cat"], stdin=(ends := os.pipe())[0])
    main = threading.get_native_id()
    def run():
        until_asleep(main)
        os.close(ends[1])
    thread = threading.Thread(target=run)
    with tracing("-e", f"trace={{CALLS}}") as trace:
        if timeout > 1:
            thread.start()
        try:
            process.{wait}(timeout=timeout)
            assert process.returncode == 0
            thread.join()
        except subprocess.TimeoutExpired:
            assert timeout < 1
            os.close(ends[1])
    process.wait()
    os.close(ends[0])
    names = [line.partition("(")[0] for line in trace.of(main) if not line.startswith("wait4(")]
    names += ["wait4" for line in trace.of(main) if line.startswith(f"wait4({{process.pid}},")]  # not strace's end
    return [name for name in names if name in CALLS.split(",")]

assert calls(start, 0.3) == ["waitid", "ppoll", "waitid"]
# The child may end before it is asked about at all; then the last one reaps it.
whole = ["waitid", "ppoll", "waitid", "waitid"]
assert calls(start, 60) in (whole, whole[2:])
standard = calls(subprocess.Popen, 0.3)
if sys.version_info >= (3, 15):  # where it opens a pidfd for each wait
    assert standard == ["ppoll"], standard
else:
    assert standard.count("wait4") > 5, standard
""",
        start,
    )


@started
@hidden
def test_many_threads_that_wait_with_timeouts_all_learn_the_status(start: str, hide_pidfd: bool) -> None:
    check(
        ASLEEP
        + """
with nothing_left():
    process = start(["sh", "-c", "read line; exit 6"], stdin=(ends := os.pipe())[0])
    results = []
    def look(timeout):
        try:
            results.append(process.wait(timeout))
        except subprocess.TimeoutExpired as error:
            results.append(error.timeout)
    short = [threading.Thread(target=look, args=(0.01 + number / 1000,)) for number in range(8)]
    long = [threading.Thread(target=look, args=(timeout,)) for timeout in (60, None, 61, None, 62, None, 63, 64)]
    for thread in short + long:
        thread.start()
    for thread in short:
        thread.join()
    assert sorted(results) == [0.01 + number / 1000 for number in range(8)]
    for thread in long:
        until_asleep(thread.native_id)
    results.clear()
    os.close(ends[1])
    for thread in long:
        thread.join()
    assert results == [6] * 8 and process.returncode == 6
    os.close(ends[0])
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_a_poll_while_another_thread_waits_does_not_hold_either_up(start: str, hide_pidfd: bool) -> None:
    check(
        ASLEEP
        + """
with nothing_left():
    process = cat()
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(process.wait()))
    thread.start()
    until_asleep(thread.native_id)
    assert process.poll() is None
    with raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.send_signal(signal.SIGTERM)
    thread.join()
    assert statuses == [-15] and process.poll() == -15
    close(process)
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_a_keyboard_interrupt_leaves_the_wait_and_the_child_can_still_be_waited_for(
    start: str, hide_pidfd: bool
) -> None:
    check(
        ASLEEP
        + """
signal.signal(signal.SIGUSR1, signal.default_int_handler)
main = threading.get_native_id()
def poke():
    until_asleep(main)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
with nothing_left():
    process = cat()
    for wait in process.wait, lambda: process.wait(60):
        thread = threading.Thread(target=poke)
        thread.start()
        with raises(KeyboardInterrupt):
            wait()
        thread.join()
    assert process.returncode is None
    process.stdin.close()
    assert process.wait() == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )


# -- reaped by somebody else


@started
@pytest.mark.parametrize("use", ["wait()", "wait(60)", "poll()", "communicate()"])
def test_a_child_reaped_elsewhere_has_its_true_status_where_the_kernel_tells_it(start: str, use: str) -> None:
    check(
        TELLS
        + f"""
tells = kernel_tells()
with nothing_left():
    for command, expected in ("exit 5", 5), ("kill -KILL $$", -9):
        process = start(["sh", "-c", command])
        os.waitpid(process.pid, 0)
        process.{use}
        assert process.returncode == process.wait() == (expected if tells else 0)
""",
        start,
    )


@started
@pytest.mark.parametrize("use", ["wait()", "wait(60)", "poll()", "communicate(timeout=60)", "send_signal(9)"])
def test_a_child_reaped_elsewhere_has_the_standard_0_where_the_kernel_tells_nothing(start: str, use: str) -> None:
    check(
        f"""
with nothing_left():
    for begin in start, subprocess.Popen:
        process = begin(["sh", "-c", "exit 5"])
        os.waitpid(process.pid, 0)
        process.{use}
        assert process.returncode == process.poll() == process.wait() == process.wait(0) == 0
""",
        start,
        hide_pidfd=True,
    )


@started
@pytest.mark.parametrize("use", ["wait()", "poll()"])
def test_a_popen_whose_status_nobody_knows_keeps_no_descriptor(start: str, use: str, need: Callable[..., str]) -> None:
    """As on a kernel that has pidfds but does not tell how a reaped process ended."""
    require(need)
    check(
        f"""
from strace import *
with nothing_left():
    process = start(["sh", "-c", "exit 5"])
    os.waitpid(process.pid, 0)
    with tracing("-e", "trace=ioctl", "-e", "inject=ioctl:error=ENOTTY"):
        process.{use}
    assert process.returncode == 0
    assert [link for link in open_fds().values() if "pidfd" in link] == []
""",
        start,
    )


@started
@hidden
@pytest.mark.parametrize("use", ["wait()", "wait(60)", "communicate()"])
def test_with_sigchld_ignored_the_status_is_true_or_0(start: str, hide_pidfd: bool, use: str) -> None:
    check(
        TELLS
        + f"""
tells = kernel_tells() and not {hide_pidfd}
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with nothing_left():
    process = start(["sh", "-c", "read line; exit 5"], stdin=(ends := os.pipe())[0])
    os.close(ends[1])
    process.{use}
    assert process.returncode == (5 if tells else 0)
    os.close(ends[0])
""",
        start,
        hide_pidfd=hide_pidfd,
    )


# -- signals


@started
@hidden
def test_signals_reach_the_child_and_nobody_after_its_end(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    for send, expected in (
        (lambda p: p.terminate(), -15), (lambda p: p.kill(), -9), (lambda p: p.send_signal(signal.SIGUSR1), -10),
    ):
        process = cat()
        process.send_signal(0)
        send(process)
        assert process.wait() == expected
        for again in process.terminate, process.kill, lambda: process.send_signal(9):
            assert again() is None
        close(process)
    process = cat()
    process.send_signal(signal.SIGTERM)
    until_ended(process.pid)
    process.send_signal(9)  # a zombie: noticed and reaped
    assert (process.returncode, children()) == (-15, [])
    close(process)
    process = cat()
    with raises(OSError, errno=errno.EINVAL):
        process.send_signal(65)
    process.stdin.close()
    assert process.wait() == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_a_stop_is_no_end(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    process = cat()
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert process.poll() is None
    with raises(subprocess.TimeoutExpired):
        process.wait(0.02)
    assert status(process.pid)["State"].startswith("T")
    process.send_signal(signal.SIGCONT)
    os.waitid(os.P_PID, process.pid, os.WCONTINUED)
    process.stdin.close()
    assert process.wait(60) == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
@pytest.mark.parametrize(
    "use", ["kill()", "terminate()", "send_signal(9)", "end(0)", "signal_group(9)", "poll()", "wait(0)"]
)
def test_nothing_reaches_who_got_the_number_of_a_child_reaped_elsewhere(
    need: Callable[..., str], start: str, hide_pidfd: bool, use: str
) -> None:
    recycled(
        need,
        STARTS[start]
        + f"""
process = start(["true"], session=True)
os.waitpid(process.pid, 0)
stranger = Stranger(process.pid, leader=True)
try:
    process.{use}
except ProcessLookupError:
    assert {use!r}.startswith("signal_group")
assert process.poll() == 0
assert stranger.exit_status() == 0
""",
        hide_pidfd=hide_pidfd,
    )


# -- session, group, end


@started
@hidden
def test_the_session_is_the_one_that_the_child_leads(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    leader, other = cat(session=True), cat()
    assert leader.session == setsid.Session(leader.pid) and leader.session.sid == os.getsid(leader.pid)
    assert other.session is None
    for process in leader, other:
        process.stdin.close()
        assert process.wait() == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_a_signal_to_the_group_reaches_its_members_and_never_the_callers_own(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    reader, writer = os.pipe()
    process = start(["sh", "-c", "sleep 60 & echo; wait"], session=True, stdout=writer)
    os.close(writer)
    assert os.read(reader, 1) == b"\\n"
    process.signal_group(signal.SIGTERM)
    assert process.wait() == -15
    assert os.read(reader, 1) == b""  # the grandchild has ended too
    os.close(reader)
    with raises(ProcessLookupError, errno=errno.ESRCH):
        process.signal_group(signal.SIGTERM)
    own = cat()
    with raises(ValueError, "own process group"):
        own.signal_group(signal.SIGKILL)
    own.stdin.close()
    assert own.wait() == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_end_ends_the_session_with_all_that_ignores_the_signal_and_sets_the_returncode(
    start: str, hide_pidfd: bool
) -> None:
    check(
        """
with nothing_left():
    deaf, with_deaf_child = "trap '' TERM; sleep 60 & echo; wait; sleep 60", "(trap '' TERM; echo; sleep 60) & wait"
    for script, expected in (deaf, -9), (with_deaf_child, -15):
        reader, writer = os.pipe()
        process = start(["sh", "-c", script], session=True, stdout=writer)
        os.close(writer)
        assert os.read(reader, 1) == b"\\n"
        report = process.end(0.1)
        assert (report.survived, report.escaped) == ((), ()) and process.pid in report.ended and len(report.ended) >= 2
        assert process.returncode == expected, (process.returncode, expected)
        assert os.read(reader, 1) == b""
        assert process.end() == setsid.EndReport((), ())
        os.close(reader)
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_end_without_a_session_or_group_ends_the_child_alone(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    sibling = cat()
    reader, writer = os.pipe()
    process = start(["sh", "-c", "sleep 60 & echo $!; wait"], stdout=writer)
    os.close(writer)
    grandchild = int(os.read(reader, 20))
    report = process.end(60)
    assert (report.ended, report.survived) == ((process.pid,), ())
    assert process.returncode == -15
    assert sibling.poll() is None and status(grandchild)["State"][0] not in "ZX"
    os.kill(grandchild, signal.SIGKILL)
    assert os.read(reader, 1) == b""
    os.close(reader)
    sibling.stdin.close()
    assert sibling.wait() == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_end_after_the_childs_own_end_still_ends_what_it_leaves_behind(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    reader, writer = os.pipe()
    process = start(["sh", "-c", "sleep 60 & exit 5"], session=True, stdout=writer)
    os.close(writer)
    until_ended(process.pid)
    report = process.end(60)
    assert len(report.ended) >= 1 and report.survived == () and process.returncode == 5
    assert os.read(reader, 1) == b""
    os.close(reader)
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_the_end_of_a_child_reaped_elsewhere_is_nothing(start: str, hide_pidfd: bool) -> None:
    check(
        TELLS
        + f"""
tells = kernel_tells() and not {hide_pidfd}
with nothing_left():
    process = start(["sh", "-c", "exit 5"], session=True)
    os.waitpid(process.pid, 0)
    assert process.end() == setsid.EndReport((), ())
    assert process.returncode == (5 if tells else 0)
""",
        start,
        hide_pidfd=hide_pidfd,
    )


def test_what_was_never_started_has_no_session_and_no_end() -> None:
    fresh(
        RAISES
        + """
class Kept(setsid.Popen):
    def __init__(self, *args, **keywords):
        kept.append(self)
        super().__init__(*args, **keywords)
kept = []
for keywords in {}, {"setup": setsid.ChildSetup()}:
    with nothing_left():
        with raises(FileNotFoundError):
            Kept(["/nonexistent"], **keywords)
        process = kept.pop()
        assert process.poll() is process.returncode  # the standard class has a status for one that could not exec
        with raises((ValueError, ProcessLookupError)):
            process.signal_group(0)
        del process
"""
    )


# -- what is left


@started
@hidden
def test_a_popen_that_is_dropped_unwaited_warns_once_and_is_reaped_by_the_next_one(
    start: str, hide_pidfd: bool
) -> None:
    check(
        """
import gc, warnings
with nothing_left(), warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    process = start(["sh", "-c", "read line"], stdin=(ends := os.pipe())[0])
    pid = process.pid
    del process
    gc.collect()
    assert [(w.category, str(w.message)) for w in told] == [(ResourceWarning, f"subprocess {pid} is still running")]
    for fd in ends:
        os.close(fd)
    until_ended(pid)
    assert children() == [pid]
    with start(["true"]) as other:
        pass
    del other
    gc.collect()
    assert children() == []
    assert len(told) == 1, [str(w.message) for w in told]
    process = start(["true"])
    process.wait()
    del process
    gc.collect()
    assert len(told) == 1
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@pytest.mark.parametrize(
    "end", ["p.wait()", "p.wait(60)", "(until_ended(p.pid), p.poll())", "p.communicate()", "p.end(0)"]
)
def test_a_popen_that_is_kept_after_its_end_holds_no_descriptor(start: str, end: str) -> None:
    check(
        f"""
kept = []
with nothing_left():
    for session in False, True, False:
        p = start(["true"], session=session)
        assert [link for link in open_fds().values() if "pidfd" in link] != []
        {end}
        assert p.returncode in (0, -9, -15)
        kept.append(p)
assert len(kept) == 3
""",
        start,
    )


# -- a forked process


@started
@hidden
def test_a_forked_process_has_the_standard_answer_about_its_parents_child(start: str, hide_pidfd: bool) -> None:
    check(
        """
import gc, traceback, warnings
warnings.simplefilter("ignore", ResourceWarning)
USES = [lambda p: p.poll(), lambda p: p.wait(), lambda p: p.wait(long), lambda p: p.wait(0), lambda p: p.kill(),
        lambda p: p.terminate(), lambda p: p.send_signal(9), lambda p: p.communicate(timeout=long), lambda p: None]
with nothing_left():
    for use in USES:
        answers = []
        for begin in subprocess.Popen, start:
            long = 1 if sys.version_info >= (3, 15) and begin is subprocess.Popen else 60  # it waits all of it
            reader, writer = os.pipe()
            process = begin(["cat"], stdin=reader)
            copy = os.fork()
            if copy == 0:
                try:
                    use(process)
                    answer = 3 if process.returncode is None else process.returncode
                    del process  # nor does its end there touch the child
                    gc.collect()
                    os._exit(answer)
                except BaseException:
                    traceback.print_exc()
                    os._exit(99)
            answers.append(os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]))
            assert process.poll() is None  # the child lives, and is its parent's
            os.close(reader)
            os.close(writer)
            assert process.wait() == 0
        if sys.version_info >= (3, 15) and answers[0] == 99:  # a timed wait is for the child's pidfd, in vain
            answers[0] = 0
        assert answers[0] == answers[1] and answers[1] in (0, 3), answers
""",
        start,
        hide_pidfd=hide_pidfd,
    )


@started
@hidden
def test_a_forked_process_neither_ends_nor_signals_what_its_parents_child_leads(start: str, hide_pidfd: bool) -> None:
    check(
        """
with nothing_left():
    process = cat(session=True)
    copy = os.fork()
    if copy == 0:
        refused = 0
        for use in lambda: process.signal_group(9), lambda: process.end(0):
            try:
                refused += use() == setsid.EndReport((), ())
            except (ProcessLookupError, ChildProcessError):
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1]) == 2
    assert process.poll() is None
    process.stdin.close()
    assert process.wait() == 0
""",
        start,
        hide_pidfd=hide_pidfd,
    )
