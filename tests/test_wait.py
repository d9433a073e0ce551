"""Waiting for a process: timeouts, threads, signal handlers, changes of state, and children reaped by somebody else."""

from __future__ import annotations

import pytest

from scenarios import ASLEEP, RAISES, TELLS, hidden
from support import fresh

# -- wait and poll


@hidden
def test_poll_is_none_until_the_end_and_then_reaps(hide_pidfd: bool) -> None:
    fresh(
        """
with nothing_left():
    reader, writer = os.pipe()
    process = setsid.spawn(["cat"], stdin=reader)
    assert process.poll() is None
    os.close(reader)
    os.close(writer)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert process.poll() == 0
    assert children() == []
    assert process.poll() == 0
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_wait_that_is_too_short_raises_timeout_error(hide_pidfd: bool) -> None:
    fresh(
        RAISES
        + """
with setsid.spawn(["sleep", "60"]) as process:
    for timeout in 0, 0.0, -1, -1e300, float("-inf"), 1e-12, 0.02, True - 1:
        for reap in True, False:
            with raises(TimeoutError, f"process {process.pid} did not end within {timeout} seconds"):
                process.wait(timeout, reap=reap)
    assert process.returncode is None
    process.kill()
    assert process.wait(30) == -9
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("timeout", ["float('inf')", "1e300", "10**30", "2**63 / 1e9", "9e9", "60", "None"])
def test_a_wait_ends_with_the_process_however_huge_its_timeout(hide_pidfd: bool, timeout: str) -> None:
    fresh(
        ASLEEP
        + f"""
process = setsid.spawn(["sleep", "60"])
main = threading.get_native_id()
killer = threading.Thread(target=lambda: (until_asleep(main), process.kill()))
killer.start()
assert process.wait({timeout}) == -9
killer.join()
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_timeout_that_is_no_number_is_refused() -> None:
    fresh(
        RAISES
        + """
with setsid.spawn(["sleep", "60"]) as process:
    for wait in process.wait, process.wait_change:
        with raises(ValueError, "timeout is not a number"):
            wait(float("nan"))
        with raises(TypeError, "timeout must be a number of seconds, not str"):
            wait("1")
    process.kill()
"""
    )


@hidden
def test_a_wait_without_reaping_leaves_a_zombie_for_a_later_wait(hide_pidfd: bool) -> None:
    fresh(
        """
for first in lambda: process.wait(reap=False), lambda: process.wait(60, reap=False):
    for last in lambda: process.wait(), lambda: process.wait(0), lambda: process.poll():
        with nothing_left():
            process = setsid.spawn(["sh", "-c", "exit 4"])
            for _ in range(3):
                assert first() == 4
                assert process.returncode == 4
                assert status(process.pid)["State"].startswith("Z")
                assert children() == [process.pid]
            assert last() == 4
            assert children() == []
            assert not os.path.exists(f"/proc/{process.pid}")
            process.close()
""",
        hide_pidfd=hide_pidfd,
    )


# -- threads


@hidden
@pytest.mark.parametrize("count", [2, 10])
@pytest.mark.parametrize("timeout", [None, 60])
def test_threads_that_wait_at_once_all_learn_the_status(hide_pidfd: bool, count: int, timeout: int | None) -> None:
    fresh(
        ASLEEP
        + f"""
with nothing_left():
    process = setsid.spawn(["sh", "-c", "read line; exit 6"], stdin=(ends := os.pipe())[0])
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(process.wait({timeout}))) for _ in range({count})]
    for thread in threads:
        thread.start()
    for thread in threads:
        until_asleep(thread.native_id)
    assert statuses == []
    os.close(ends[1])
    for thread in threads:
        thread.join()
    assert statuses == [6] * {count}
    os.close(ends[0])
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_process_may_be_waited_for_by_a_thread_that_did_not_start_it(hide_pidfd: bool) -> None:
    fresh(
        """
import threading
made, statuses = [], []
def run(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()
with nothing_left():
    run(lambda: made.append(setsid.spawn(["sh", "-c", "exit 2"])))
    assert made[0].wait() == 2
    with setsid.spawn(["sh", "-c", "exit 3"]) as process:
        run(lambda: statuses.append(process.wait()))
    assert statuses == [3]
    made.pop().close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("timeout", [None, 60])
def test_closing_the_handle_while_a_thread_waits_leaves_that_wait_alone(hide_pidfd: bool, timeout: int | None) -> None:
    fresh(
        ASLEEP
        + f"""
with nothing_left():
    process = setsid.spawn(["sh", "-c", "read line; exit 6"], stdin=(ends := os.pipe())[0])
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(process.wait({timeout})))
    thread.start()
    until_asleep(thread.native_id)
    process.close()
    others = [os.open("/dev/null", os.O_RDONLY) for _ in range(5)]  # none may get the number the thread polls
    os.close(ends[1])
    thread.join()
    assert statuses == [6]
    setsid.spawn(["true"]).__exit__(None, None, None)
    for fd in (*others, ends[0]):
        os.close(fd)
""",
        hide_pidfd=hide_pidfd,
    )


# -- signal handlers


@hidden
@pytest.mark.parametrize("wait", ["wait()", "wait(60)", "wait_change()", "wait_change(60)"])
def test_an_exception_of_a_signal_handler_leaves_the_wait_and_the_process_can_still_be_waited_for(
    hide_pidfd: bool, wait: str
) -> None:
    fresh(
        ASLEEP
        + RAISES
        + f"""
def handler(number, frame):
    raise KeyError("handler")
signal.signal(signal.SIGUSR1, handler)
main = threading.get_native_id()
with nothing_left():
    process = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
    def poke():
        until_asleep(main)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    for _ in range(3):
        poker = threading.Thread(target=poke)
        with raises(KeyError, "handler"):
            poker.start()
            process.{wait}
        poker.join()
    assert process.returncode is None
    for fd in ends:
        os.close(fd)
    assert process.wait() == 0
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_wait_goes_on_after_a_signal_handler(hide_pidfd: bool, timeout: int | None) -> None:
    fresh(
        ASLEEP
        + f"""
handled = threading.Semaphore(0)
signal.signal(signal.SIGUSR1, lambda *_: handled.release())
main = threading.get_native_id()
process = setsid.spawn(["sh", "-c", "read line; exit 9"], stdin=(ends := os.pipe())[0])
def poke():
    for _ in range(3):
        until_asleep(main)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        handled.acquire()
    until_asleep(main)
    os.close(ends[1])
poker = threading.Thread(target=poke)
poker.start()
assert process.wait({timeout}) == 9
poker.join()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("wait", ["wait", "wait_change"])
def test_a_signal_handler_does_not_start_the_timeout_anew(hide_pidfd: bool, wait: str) -> None:
    # A wait that began its quarter of a second again at each signal would never end.
    fresh(
        RAISES
        + f"""
handled = []
signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
with setsid.spawn(["sleep", "60"]) as process:
    signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
    with raises(TimeoutError):
        process.{wait}(0.25)
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert handled
    process.kill()
""",
        timeout=30,
        hide_pidfd=hide_pidfd,
    )


# -- changes of state


@hidden
@pytest.mark.parametrize("timeout", ["", "60"])
def test_wait_change_tells_of_each_stop_and_continuation_and_of_the_end(hide_pidfd: bool, timeout: str) -> None:
    fresh(
        f"""
from setsid import ProcessState
with nothing_left():
    process = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
    for _ in range(3):
        process.send_signal(signal.SIGSTOP)
        assert process.wait_change({timeout}) is ProcessState.STOPPED
        assert status(process.pid)["State"].startswith("T")
        process.send_signal(signal.SIGCONT)
        assert process.wait_change({timeout}) is ProcessState.RUNNING
    assert process.returncode is None
    for fd in ends:
        os.close(fd)
    assert process.wait_change({timeout}) is ProcessState.DONE
    assert children() == [process.pid]
    assert process.wait_change({timeout}) is ProcessState.DONE
    assert process.wait() == 0
    assert process.wait_change({timeout}) is ProcessState.DONE
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_wait_change_without_a_change_raises_timeout_error(hide_pidfd: bool) -> None:
    fresh(
        RAISES
        + """
with setsid.spawn(["sleep", "60"]) as process:
    for timeout in 0, -1, 0.03:
        with raises(TimeoutError, f"process {process.pid}"):
            process.wait_change(timeout)
    process.send_signal(signal.SIGSTOP)
    assert process.wait_change(60) is setsid.ProcessState.STOPPED
    with raises(TimeoutError, f"process {process.pid}"):
        process.wait_change(0.03)  # the stop has been told already
    process.kill()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("timeout", ["None", "60"])
def test_wait_does_not_end_for_a_stop(hide_pidfd: bool, timeout: str) -> None:
    fresh(
        ASLEEP
        + f"""
process = setsid.spawn(["sleep", "60"])
process.send_signal(signal.SIGSTOP)
assert process.wait_change() is setsid.ProcessState.STOPPED
process.send_signal(signal.SIGCONT)
process.send_signal(signal.SIGSTOP)
statuses = []
thread = threading.Thread(target=lambda: statuses.append(process.wait({timeout})))
thread.start()
until_asleep(thread.native_id)
state = process.wait_change()
if state is setsid.ProcessState.RUNNING:  # it has gone on, and is about to stop
    state = process.wait_change()
assert state is setsid.ProcessState.STOPPED
assert statuses == []
process.kill()
thread.join()
assert statuses == [-9]
""",
        hide_pidfd=hide_pidfd,
    )


# -- reaped by somebody else

USES = """
USES = [lambda p: p.wait(), lambda p: p.wait(60), lambda p: p.wait(reap=False), lambda p: p.poll()]
"""


@pytest.mark.parametrize("take", ["os.waitpid(-1, 0)", "os.waitid(os.P_PID, process.pid, os.WEXITED)"])
def test_a_child_reaped_elsewhere_has_the_status_that_the_kernel_tells_or_none(way: str, take: str) -> None:
    fresh(
        RAISES
        + TELLS
        + USES
        + f"""
with nothing_left():
    tells = kernel_tells()
    for use in USES:
        for command, expected in ("exit 5", 5), ("kill -KILL $$", -9):
            process = setsid.spawn(["sh", "-c", command])
            {take}
            if tells:
                assert use(process) == process.returncode == expected
                assert process.wait_change() is setsid.ProcessState.DONE
            else:
                with raises(ChildProcessError, "was reaped elsewhere", errno=errno.ECHILD, call="waitid"):
                    use(process)
                assert process.returncode is None
                process.reaped(expected)
            process.close()
""",
        way=way,
    )


def test_a_child_reaped_elsewhere_has_no_invented_status_where_the_kernel_tells_none() -> None:
    fresh(
        RAISES
        + USES
        + """
with nothing_left():
    process = setsid.spawn(["sh", "-c", "exit 5"])
    status = os.waitpid(-1, 0)[1]
    for use in (*USES, lambda p: p.wait_change(), lambda p: p.wait_change(60)):
        with raises(ChildProcessError, "see Process.reaped()", errno=errno.ECHILD, call="waitid"):
            use(process)
        assert process.returncode is None
    process.reaped(status)
    assert [use(process) for use in USES] == [5] * 4
    assert process.wait_change() is setsid.ProcessState.DONE
    process.close()
""",
        hide_pidfd=True,
    )


@pytest.mark.parametrize("use", ["wait()", "wait(60)", "wait(reap=False)", "wait(60, reap=False)", "poll()"])
def test_with_sigchld_ignored_the_answer_is_true_or_an_error(way: str, use: str) -> None:
    fresh(
        RAISES
        + TELLS
        + f"""
import select
with nothing_left():
    tells = kernel_tells()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for command, expected in ("exit 5", 5), ("kill -KILL $$", -9):
        process = setsid.spawn(["sh", "-c", command])
        if {use!r} == "poll()":
            select.select([process.fileno()], [], [])
        if tells:
            assert process.{use} == process.returncode == expected
        else:
            with raises(ChildProcessError, "SIGCHLD is ignored", errno=errno.ECHILD):
                process.{use}
            process.reaped(0)
        process.close()
""",
        way=way,
    )


def test_with_sigchld_ignored_and_no_pidfd_the_status_is_not_invented(way: str) -> None:
    fresh(
        RAISES
        + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for use in lambda: process.wait(), lambda: process.wait(60), lambda: process.wait(reap=False):
    process = setsid.spawn(["sh", "-c", "exit 5"])
    with raises(ChildProcessError, "SIGCHLD is ignored", errno=errno.ECHILD):
        use()
    assert process.returncode is None
    process.reaped(0)
""",
        way=way,
        hide_pidfd=True,
    )


@hidden
def test_a_wait_status_from_elsewhere_is_taken_over(hide_pidfd: bool) -> None:
    fresh(
        RAISES
        + """
for status, expected in (0, (0, False)), (5 << 8, (5, False)), (9, (-9, False)), (0x80 | 3, (-3, True)):
    process = setsid.spawn(["true"])
    os.waitpid(process.pid, 0)
    process.reaped(status)
    assert (process.returncode, process.core_dumped) == expected
    assert (process.poll(), process.wait(), process.wait(0)) == (expected[0],) * 3
    process.reaped(77 << 8)  # too late: the end is known
    assert process.returncode == expected[0]
    process.close()
with setsid.spawn(["true"]) as process:
    for status in 0x137F, 0xFFFF:  # stopped, continued
        with raises(ValueError, "not the wait status of a process that has ended"):
            process.reaped(status)
    assert process.wait() == 0
""",
        hide_pidfd=hide_pidfd,
    )
