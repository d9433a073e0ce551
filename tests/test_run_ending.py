"""setsid.run that ends early: by its timeout, by an exception, or with the process that calls it."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import subprocess
from collections.abc import Callable

import pytest

import setsid
from scenarios import RAISES, hidden
from support import ON_PYPY, fresh

# For a helper. All descendants of a program inherit the lifeline, so its end tells that none of them lives.
LIFELINE = """
import select, subprocess

class Lifeline:
    def __init__(self):
        self.reader, self.writer = os.pipe()

    def is_cut(self, seconds=0):
        if self.writer is not None:
            os.close(self.writer)
        self.writer = None
        return bool(select.select([self.reader], [], [], seconds)[0])

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        assert kind or self.is_cut(), "somebody lives"
        os.close(self.reader)
        if self.writer is not None:
            os.close(self.writer)

def expired(*args, **keywords):
    "The exception of a run whose time is over and which leaves nobody."
    with nothing_left(), Lifeline() as line:
        try:
            result = setsid.run(*args, pass_fds=[line.writer], **keywords)
        except setsid.TimeoutExpired as error:
            return error
    raise AssertionError(f"it has ended before: {result}")

def sh(script, **keywords):
    return expired(["sh", "-c", script], **{"timeout": 1, "capture_output": True, **keywords})
"""
LOOP = "while :; do sleep 0.01; done"


def scenario(source: str, *, hide_pidfd: bool = False, timeout: float = 50) -> None:
    """Run `source` with all of the above. The timeout is less than what those that don't end would take."""
    fresh(RAISES + LIFELINE + f"LOOP = {LOOP!r}\n" + source, hide_pidfd=hide_pidfd, timeout=timeout)


# -- the time is over


@hidden
def test_a_timeout_ends_the_shells_background_too_which_the_standard_run_leaves(hide_pidfd: bool) -> None:
    scenario(
        """
command = "sleep 60 & sleep 60"
start = time.monotonic()
error = expired(command, shell=True, timeout=1, capture_output=True)
assert time.monotonic() - start < 10
assert (error.cmd, error.timeout, error.stdout, error.stderr) == (command, 1, b"", b"")
assert (len(error.report.ended) >= 2, error.report.survived, error.report.escaped) == (True, (), ())

line = Lifeline()
with raises(subprocess.TimeoutExpired):
    subprocess.run(command, shell=True, timeout=1, capture_output=True, pass_fds=[line.writer])
assert not line.is_cut()
pipe = os.stat(line.reader).st_ino
for pid in os.listdir("/proc"):
    if pid.isdigit() and int(pid) != os.getpid():
        try:
            fds = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if f"pipe:[{pipe}]" in fds:
            os.kill(int(pid), signal.SIGKILL)
assert line.is_cut(10)
""",
        hide_pidfd=hide_pidfd,
    )


@pytest.mark.parametrize("text", [False, True])
def test_the_output_read_so_far_is_told_as_bytes(text: bool) -> None:
    scenario(f"""
error = sh("echo out; echo err >&2; sleep 60", text={text})
assert (error.output, error.stdout, error.stderr) == (b"out\\n", b"out\\n", b"err\\n")
error = sh("echo out; sleep 60", capture_output=False, stdout=subprocess.PIPE)
assert (error.stdout, error.stderr) == (b"out\\n", None)
error = sh("sleep 60", timeout=0.1, capture_output=False)
assert (error.stdout, error.stderr) == (None, None)
""")


@hidden
def test_what_is_written_on_the_signal_is_read_too(hide_pidfd: bool) -> None:
    scenario(
        """
error = sh("trap 'echo bye; exit' TERM; echo hello; " + LOOP, grace=1000)
assert error.stdout == b"hello\\nbye\\n"
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_more_than_a_pipe_holds_is_read_during_the_grace(hide_pidfd: bool) -> None:
    # Unread, it would block the program until the grace is over, long after the helper's time.
    scenario(
        """
error = sh("trap 'printf %300000d 1; printf %200000d 1 >&2; exit' TERM; " + LOOP, grace=1000)
assert len(error.stdout) == 300_000
assert error.stderr.endswith(b" " * 199_999 + b"1")  # the shell may tell there of what was terminated
""",
        hide_pidfd=hide_pidfd,
    )


def test_the_output_of_a_program_that_closes_its_streams_and_runs_on_is_kept() -> None:
    scenario("""
error = sh("echo out; exec >&- 2>&-; sleep 60")
assert (error.stdout, error.stderr) == (b"out\\n", b"")
""")


def test_output_without_end_does_not_keep_it_from_ending() -> None:
    scenario("""
error = expired("echo start; (yes & yes) | head -c 10000000; yes", shell=True, timeout=1, stdout=subprocess.PIPE)
assert error.stdout.startswith(b"start\\ny\\n") and error.report.survived == ()
""")


@pytest.mark.parametrize("capture", [False, True])
def test_input_that_nobody_reads_does_not_keep_it_from_ending(capture: bool) -> None:
    scenario(f"""
error = expired(["sleep", "60"], input=b"x" * (4 << 20), timeout=0.5, capture_output={capture})
assert error.report.survived == ()
""")


def test_input_that_is_read_late_arrives_while_the_program_is_being_ended() -> None:
    scenario("""
error = sh("trap 'exec wc -c' TERM; " + LOOP, input=b"x" * 300_000, grace=1000)
assert error.stdout.strip() == b"300000"
""")


def test_a_time_that_is_over_before_the_start_still_ends_all() -> None:
    scenario("""
for timeout in 0, -1:
    error = expired(["sleep", "60"], timeout=timeout)
    assert (error.timeout, error.report.survived) == (timeout, ())
assert setsid.run(["echo", "a"], timeout=float("inf"), stdout=subprocess.PIPE).stdout == b"a\\n"
""")


def test_the_signal_that_asks_it_to_end_is_of_the_callers_choice() -> None:
    scenario("""
script = "for name in TERM INT USR1; do trap \\"echo $name; exit\\" $name; done; " + LOOP
assert sh(script).stdout == b"TERM\\n"
assert sh(script, end_signal=signal.SIGINT).stdout == b"INT\\n"
assert sh(script, end_signal=10).stdout == b"USR1\\n"
""")


@hidden
@pytest.mark.parametrize("grace", [0, 0.2])
def test_the_deaf_are_killed_after_the_grace(hide_pidfd: bool, grace: float) -> None:
    scenario(
        f"""
error = sh("trap '' TERM; sleep 60 & echo $!; echo $$; sleep 60", grace={grace})
pids = set(map(int, error.stdout.split()))
assert len(pids) == 2 and pids <= set(error.report.ended), error.report
assert error.report.survived == ()
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_stopped_program_is_ended() -> None:
    scenario("""
error = sh("sleep 60 & echo; kill -STOP $! $$; sleep 60", grace=1000)
assert (error.stdout, error.report.survived) == (b"\\n", ())
""")


def test_leftovers_that_hold_a_pipe_are_ended_though_the_program_itself_has_ended() -> None:
    scenario("""
error = sh("sleep 60 & echo $!")
assert error.report.ended == (int(error.stdout),)
""")


# Its children, in a process group or a session of their own, hold all that it holds.
SOURCE = """
SOURCE = '''
import os, sys, time
reader, writer = os.pipe()
pid = os.fork()
if not pid:
    if sys.argv[1] == "orphan" and os.fork():
        os._exit(0)
    os.setpgid(0, 0) if sys.argv[1] == "group" else os.setsid()
    os.write(writer, b"%d" % os.getpid())
    time.sleep(60)
if sys.argv[1] == "orphan":
    os.waitpid(pid, 0)
os.write(1, os.read(reader, 9))
time.sleep(60)
'''

def child(kind):
    return [sys.executable, "-ISc", SOURCE, kind]
"""


def test_a_process_in_another_group_of_the_session_is_ended() -> None:
    scenario(
        SOURCE
        + """
error = expired(child("group"), timeout=3, capture_output=True)
assert (int(error.stdout) in error.report.ended, len(error.report.ended)) == (True, 2)
assert (error.report.survived, error.report.escaped) == ((), ())
"""
    )


@pytest.mark.parametrize("kind", ["session", "orphan"])
def test_a_process_in_a_session_of_its_own_does_not_keep_us_and_is_named_unless_it_is_orphaned(kind: str) -> None:
    scenario(
        SOURCE
        + f"""
with nothing_left():
    try:
        setsid.run(child({kind!r}), timeout=3, capture_output=True)
    except setsid.TimeoutExpired as error:
        pid = int(error.stdout)
        assert status(pid)["State"][0] not in "ZX"
        os.kill(pid, signal.SIGKILL)
        assert error.report.escaped == ((pid,) if {kind!r} == "session" else ())
        assert len(error.report.ended) == 1 and pid not in error.report.ended
    else:
        raise AssertionError
"""
    )


def test_in_our_own_session_the_program_alone_is_ended_and_its_children_are_named() -> None:
    scenario("""
ends = os.pipe()
with nothing_left():
    try:
        setsid.run("sleep 60 & echo $! $$; read line", shell=True, timeout=1, capture_output=True,
                   start_new_session=False, stdin=ends[0])
    except setsid.TimeoutExpired as expired:
        background, program = map(int, expired.stdout.split())
        assert expired.report == setsid.EndReport((program,), (), (background,))
        os.kill(background, signal.SIGKILL)
    else:
        raise AssertionError
""")


def test_processes_that_may_not_be_signalled_do_not_keep_us() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can lose the right to signal its own children")
    # The program's children end with it, and it ends with the helper.
    scenario("""
signal.signal(signal.SIGUSR1, lambda *_: os.setresuid(65534, 65534, 0))
for end in "timeout", "exception":
    if end == "exception":
        signal.signal(signal.SIGUSR1, lambda *_: (os.setresuid(65534, 65534, 0), 1 / 0))
    start = time.monotonic()
    try:
        setsid.run(["sh", "-c", "echo $$; kill -USR1 $PPID; exec sleep 60"], timeout=1, grace=0.2, capture_output=True)
    except setsid.TimeoutExpired as error:
        pid = int(error.stdout)
        assert end == "timeout" and error.report == setsid.EndReport((), (pid,))
    except ZeroDivisionError:
        assert end == "exception"
        (pid,) = children()
    assert time.monotonic() - start < 30
    assert status(pid)["State"][0] not in "ZX"
    os.setresuid(0, 0, 0)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
""")


# -- the exception


def _expired() -> setsid.TimeoutExpired:
    with pytest.raises(setsid.TimeoutExpired) as caught:
        setsid.run(["sh", "-c", "echo out; exec sleep 60"], timeout=0.5, stdout=subprocess.PIPE)
    return caught.value


def test_the_exception_is_the_standard_one_and_a_timeouterror() -> None:
    error = _expired()
    assert isinstance(error, subprocess.TimeoutExpired)
    assert isinstance(error, subprocess.SubprocessError)
    assert isinstance(error, TimeoutError)
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        subprocess.run(["sh", "-c", "echo out; exec sleep 60"], timeout=0.5, stdout=subprocess.PIPE, check=False)
    standard = caught.value
    assert str(error) == str(standard)
    assert repr(error) == repr(standard)
    assert error.args == standard.args
    assert (error.cmd, error.timeout, error.stderr) == (standard.cmd, standard.timeout, standard.stderr)
    assert type(error).__module__ == "setsid"


@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, *(lambda error, n=n: pickle.loads(pickle.dumps(error, n)) for n in range(6))],
    ids=["copy", "deepcopy", *map(str, range(6))],
)
def test_the_exception_can_be_copied_and_pickled(
    copied: Callable[[setsid.TimeoutExpired], setsid.TimeoutExpired],
) -> None:
    error = setsid.TimeoutExpired(["a", "b"], 1.5, b"out", b"err", setsid.EndReport((1, 2), (3,), (4,)))
    twin = copied(error)
    assert type(twin) is setsid.TimeoutExpired
    assert twin is not error
    assert (twin.cmd, twin.timeout, twin.output, twin.stdout, twin.stderr) == (["a", "b"], 1.5, b"out", b"out", b"err")
    assert twin.report == error.report
    assert (str(twin), repr(twin), twin.args) == (str(error), repr(error), error.args)


# -- an exception comes in between

INTERRUPTED = """
class Stop(BaseException):
    pass

def stop(number, frame):
    raise Stop

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGUSR1, stop)
# One that comes between Python's last look and the sleep wakes nobody, here as in time.sleep: the next one does.
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 5, 5)

def interrupted(script, kind=KeyboardInterrupt, **keywords):
    "Run what interrupts us."
    with nothing_left(), Lifeline() as line:
        with raises(kind):
            setsid.run(["sh", "-c", script], pass_fds=[line.writer], **keywords)
"""


@pytest.mark.parametrize(
    "how", ["capture_output=True", "", "timeout=1000", "capture_output=True, input=b'x' * 200_000"]
)
def test_ctrl_c_or_another_handlers_exception_ends_all_and_is_raised(how: str) -> None:
    scenario(
        INTERRUPTED
        + f"""
interrupted("sleep 60 & kill -INT $PPID; sleep 60", {how})
interrupted("sleep 60 & kill -USR1 $PPID; sleep 60", Stop, {how})
"""
    )


def test_a_handler_that_raises_nothing_interrupts_nothing() -> None:
    scenario("""
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
for keywords in {}, {"capture_output": True}, {"timeout": 1000}:
    with nothing_left():
        assert setsid.run(["sh", "-c", "kill -USR1 $PPID; sleep 0.1; exit 3"], **keywords).returncode == 3
assert got == [1, 1, 1]
""")


@hidden
def test_the_program_sees_the_end_signal_and_has_its_grace_after_an_exception_too(hide_pidfd: bool) -> None:
    scenario(
        INTERRUPTED
        + """
reader, writer = os.pipe()
said = {"input": b"now\\n", "stderr": writer, "grace": 1000}  # which it reads once it has been started
for keywords in {}, {"stdout": subprocess.PIPE}:
    script = "exec 3>&2 2> /dev/null; trap 'printf %200000d 1; echo bye >&3; exit' USR2; read line; kill -INT $PPID; "
    interrupted(script + LOOP, end_signal=signal.SIGUSR2, **said, **{"stdout": subprocess.DEVNULL, **keywords})
    assert os.read(reader, 9) == b"bye\\n"
""",
        hide_pidfd=hide_pidfd,
    )


@pytest.mark.parametrize("first", ["read line; kill -INT $PPID; ", ""], ids=["exception", "timeout"])
@pytest.mark.parametrize("capture", [False, True])
def test_an_exception_during_the_grace_kills_at_once(first: str, capture: bool) -> None:
    timeout = 1000 if first else 1
    scenario(
        INTERRUPTED
        + f"""
interrupted("trap 'kill -USR1 $PPID' TERM; sleep 60 & {first}{LOOP}", Stop, grace=1000, capture_output={capture},
            timeout={timeout}, input=b"now\\n")
"""
    )


def test_input_that_can_not_be_encoded_leaves_nothing() -> None:
    scenario("""
for keywords in {"input": "\\xe9", "encoding": "ascii"}, {"input": 3}, {"input": "a"}, {"input": ["a"], "text": True}:
    with nothing_left(), Lifeline() as line:
        with raises((UnicodeEncodeError, TypeError, AttributeError)):
            setsid.run("sleep 60 & sleep 60", shell=True, pass_fds=[line.writer], **keywords)
""")


def test_a_signal_during_the_start_ends_what_is_started() -> None:
    result = fresh(
        RAISES
        + LIFELINE
        + INTERRUPTED
        + """
import threading
from hold import Hold
setup = setsid.ChildSetup(umask=0o22)
for keywords in {"capture_output": True}, {}:
    hold = Hold()
    def interrupt():
        hold.wait()  # the child, before it executes anything
        os.kill(os.getpid(), signal.SIGINT)
        hold.let_go()
    thread = threading.Thread(target=interrupt)
    with nothing_left(), Lifeline() as line:
        thread.start()
        with raises(KeyboardInterrupt):
            setsid.run("sleep 60 & sleep 60", shell=True, pass_fds=[line.writer], setup=setup, **keywords)
        thread.join()
    hold.close()
""",
        timeout=50,
    )
    if result.stdout.startswith("SKIP"):
        pytest.skip(result.stdout)


KNOWS_C_FUNCTIONS = pytest.mark.skipif(ON_PYPY, reason="PyPy's profile functions are not told of C functions")

# An exception at each place where Python may run a signal's handler once the child is made: as a function of ours or of
# the standard library's starts, and as a call of C returns. At the first time that each place is met.
EVERYWHERE = """
import gc, warnings
warnings.simplefilter("ignore")
FILES = (os.path.dirname(setsid.__file__), subprocess.__file__)
done, reached = set(), True

class Now(BaseException):
    pass

def profile(frame, event, what):
    global reached, is_started
    code = frame.f_code
    if event not in ("call", "c_return") or not code.co_filename.startswith(FILES) or code.co_name == "__del__":
        return
    # Before 3.11 an exception from here, as a generator goes on, passes its `finally` by, which a handler's never does.
    if sys.version_info < (3, 11) and event == "call" and frame.f_lasti >= 0:
        return
    is_started = is_started or getattr(what, "__name__", "") == "sid_spawn"
    place = os.path.basename(code.co_filename), frame.f_lineno, event, getattr(what, "__name__", "")
    if is_started and place not in done:
        done.add(place)
        reached = place
        sys.setprofile(None)
        raise Now

def attempt(line):
    global is_started, reached
    is_started, reached = False, None
    sys.setprofile(profile)
    try:
        HOW(line)
    except Exception:
        pass
    except Now:
        pass
    finally:
        sys.setprofile(None)

def each():
    "The places, one by one, each with what is left there."
    for how in range(len(WAYS_TO_RUN)):
        globals()["HOW"] = WAYS_TO_RUN[how]
        done.clear()
        while True:
            before, line = open_fds(), Lifeline()
            attempt(line)
            gc.collect()
            cut = line.is_cut()
            if not cut:
                setsid._process.dropped.clear()
            os.close(line.reader)
            left = set(open_fds().items()) - set(before.items())
            yield how, reached, cut, children(), left
            if reached is None:
                break

def run(line, **keywords):
    setsid.run(["sh", "-c", "echo; sleep 60 & sleep 60"], pass_fds=[line.writer], timeout=0.05, **keywords)

WAYS_TO_RUN = [
    lambda line: run(line, capture_output=True, input=b"a"),
    lambda line: run(line, stdout=-3),
]
for _ in WAYS_TO_RUN:
    for way in WAYS_TO_RUN:
        line = Lifeline()
        try:
            way(line)
        except setsid.TimeoutExpired:
            pass
        assert line.is_cut()
        os.close(line.reader)
"""


@KNOWS_C_FUNCTIONS
def test_at_whatever_moment_an_exception_comes_no_process_is_left() -> None:
    scenario(
        EVERYWHERE
        + """
bad = []
places = 0
for how, place, cut, zombies, left in each():
    places += 1
    if not cut or zombies:
        bad.append((how, place, cut, zombies))
        for pid in zombies:
            os.kill(-pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        subprocess._active.clear()
assert not bad, "\\n".join(map(str, bad))
assert places > 100, places
""",
        timeout=110,
    )


@KNOWS_C_FUNCTIONS
def test_at_whatever_moment_an_exception_comes_no_file_is_left_open() -> None:
    scenario(
        EVERYWHERE
        + """
# The number of a file that a call of C has just returned is lost with it.
lost = "sid_dup_pidfd", "sid_open_member", "pop"
bad = [
    (how, place, left)
    for how, place, cut, zombies, left in each()
    if cut and not zombies and left and place[-1] not in lost
]
assert not bad, "\\n".join(map(str, bad))
""",
        timeout=110,
    )


# -- the caller ends

SCRIPT = """
SCRIPT = '''
import sys, setsid
setsid.run(["sh", "-c", "echo started; exec sleep 60"], pass_fds=[int(sys.argv[1])])
'''

def script(line):
    return [sys.executable, "-c", SCRIPT, str(line.writer)]
"""


def test_a_program_ends_with_the_script_that_timeout_ends(need: Callable[..., str]) -> None:
    scenario(
        SCRIPT
        + f"""
line = Lifeline()
result = subprocess.run([{need("timeout")!r}, "3", *script(line)], pass_fds=[line.writer], stdout=subprocess.PIPE)
assert (result.returncode, result.stdout) == (124, b"started\\n")
assert line.is_cut(10)
"""
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_program_ends_with_the_script_that_is_killed(number: signal.Signals) -> None:
    scenario(
        SCRIPT
        + f"""
line = Lifeline()
with subprocess.Popen(script(line), pass_fds=[line.writer], stdout=subprocess.PIPE) as process:
    assert process.stdout.readline() == b"started\\n"
    process.send_signal({int(number)})
    assert line.is_cut(10)
assert process.returncode == -{int(number)}
"""
    )


def test_a_program_without_a_parent_death_signal_outlives_the_script() -> None:
    scenario("""
line = Lifeline()
SOURCE = '''
import sys, setsid
setup = setsid.ChildSetup(parent_death_signal=0)
setsid.run(["sh", "-c", "echo $$; exec sleep 60"], pass_fds=[int(sys.argv[1])], setup=setup)
'''
argv = [sys.executable, "-c", SOURCE, str(line.writer)]
with subprocess.Popen(argv, pass_fds=[line.writer], stdout=subprocess.PIPE) as process:
    pid = int(process.stdout.readline())
    process.kill()
    process.wait()
assert not line.is_cut()
os.kill(pid, signal.SIGKILL)
assert line.is_cut(10)
""")
