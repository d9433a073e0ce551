"""fork when an exception comes in between: of a signal's handler, or of a warning that is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import fresh
from test_fork_races import PRELUDE

STORM = """
import gc, random
warnings.simplefilter("ignore", ResourceWarning)  # of a Process that fork had made before the exception came
random.seed(int(sys.argv[2]))
left = -1

def interrupt(number, frame):
    global left
    left -= left >= 0
    if left == 0:
        left = -1
        raise Interrupt

def storm(pid):
    while os.getppid() == pid:
        os.kill(pid, signal.SIGUSR1)
        time.sleep(0.0001)
    os._exit(0)

def one():
    # What came of one fork: None or the exception's type; the exception itself would hold the Process.
    global left
    process = None
    try:
        left = random.randrange(1, 6)
        process = setsid.fork()
        left = -1
    except BaseException as error:
        if os.getpid() != HELPER:
            leave()  # two go on with one exception
        left = -1
        return type(error)
    if process is None:
        os._exit(7)
    status = process.wait()
    process.close()
    assert status == 7, status

def settle():
    for _ in range(3 if ON_PYPY else 0):  # what nobody holds any more is not dropped at once
        gc.collect()
    for child in list(setsid._process.dropped):
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    setsid._process.reap_dropped()

signal.signal(signal.SIGUSR1, interrupt)
signal.siginterrupt(signal.SIGUSR1, False)
sender = os.fork()
if sender == 0:
    storm(os.getppid())
idle = threading.Event()
if sys.argv[3] == "threads":  # who takes the signals while the main thread has them blocked
    threading.Thread(target=idle.wait, daemon=True).start()
try:
    with nothing_left():
        results = [one() for _ in range(200)]
        settle()
finally:
    os.kill(sender, signal.SIGKILL)
    os.waitpid(sender, 0)
    idle.set()
assert set(results) == {None, Interrupt}, results
assert returned() == []
"""


@pytest.mark.parametrize("threads", ["alone", "threads"])
def test_handlers_that_raise_in_a_storm_of_signals_leave_one_python_each(threads: str, tmp_path: Path) -> None:
    fresh(PRELUDE + STORM, tmp_path, 3, threads, timeout=100)


WRAPPED = """
real, raised = os.fork, None

def wrapper():
    pid = real()
    if (pid == 0) == IN_CHILD:
        raise raised
    return pid

def check(error, in_child, seen, repetitions=50):
    global IN_CHILD, raised
    IN_CHILD, raised = in_child, error
    os.fork = wrapper
    with nothing_left():
        for _ in range(repetitions):
            seen(fail())
    os.fork = real
    assert returned() == []
"""


@pytest.mark.parametrize("error", ["Interrupt()", "KeyboardInterrupt()", "TimeoutError('late')", "OSError(5, 'late')"])
def test_an_exception_right_after_the_fork_is_raised_and_the_child_does_not_go_on(error: str, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + WRAPPED
        + f"""
def seen(error):
    assert error is raised, repr(error)

check({error}, False, seen)
""",
        tmp_path,
    )


@pytest.mark.parametrize("error", ["Interrupt()", "OSError(5, 'late')"])
def test_an_exception_in_the_child_right_after_the_fork_ends_it_and_the_parent_is_told(
    error: str, tmp_path: Path
) -> None:
    fresh(
        PRELUDE
        + WRAPPED
        + f"""
def seen(error):
    assert (error.call, error.errno) == ("fork", errno.ECHILD), repr(error)
    assert "has ended with status 127 before its set-up was done" in error.hint

check({error}, True, seen)
""",
        tmp_path,
    )


def test_a_warning_of_threads_that_is_an_error_leaves_no_child(tmp_path: Path) -> None:
    """From 3.12 on os.fork gives one where there are threads; the older ones fork in silence."""
    fresh(
        PRELUDE
        + """
warnings.simplefilter("error", DeprecationWarning)
over = threading.Event()
threading.Thread(target=over.wait, daemon=True).start()

def fork_and_end(fork):  # the exception's type, if one is raised
    try:
        child = fork()
    except BaseException as error:
        if os.getpid() != HELPER:
            leave()
        return type(error)
    if not child:
        os._exit(7)
    assert (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if fork is os.fork else child.wait()) == 7

# Some versions of Python only print the exception, as of a hook.
sys.unraisablehook = lambda unraisable: None
expected = fork_and_end(os.fork)
if expected:  # and os.fork has left a child
    os.wait()
with nothing_left():
    assert [fork_and_end(setsid.fork) for _ in range(50)] == [expected] * 50
over.set()
assert returned() == []
""",
        tmp_path,
    )
