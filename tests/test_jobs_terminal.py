"""Job.foreground: who has the terminal, what is typed there, and what it is set to."""

from __future__ import annotations

import pytest

from scenarios import ASLEEP, AT_ANY_POINT, RAISES
from support import fresh
from test_jobs import PRELUDE as JOBS

# The helper leads a session on a terminal of its own: `manager` is what a user sees and types on.
PRELUDE = (
    JOBS
    + RAISES
    + """
import termios
manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)
own = os.getpgrp()
assert os.tcgetpgrp(terminal) == own

class Screen:
    def __init__(self):
        self.text = ""

    def until(self, text, count=1):
        # Once that was shown so many times since the last one.
        while self.text.count(text) < count:
            assert select.select([manager], [], [], 30)[0], f"no {text!r} in {self.text!r}"
            self.text += os.read(manager, 4096).decode()
        seen, _, self.text = self.text.rpartition(text)
        return seen

    def type(self, text, *, after):
        # In a thread, once that was shown and foreground() waits: the SIGCONT that comes with the terminal undoes a
        # Ctrl-Z that comes in between.
        def run():
            try:
                self.until(after)
                until_waiting()
                os.write(manager, text.encode())
            except BaseException as error:
                os.write(2, repr(error).encode())
                os._exit(1)  # the main thread would wait for ever
        thread = threading.Thread(target=run)
        thread.start()
        return thread

screen = Screen()

def until_waiting():
    deadline = time.monotonic() + 30
    while not waits_for_child(os.getpid()):
        assert time.monotonic() < deadline, "the main thread never waited"

def modes():
    found = terminal_modes(terminal)
    return [*found[:6], [bytes([value]) if isinstance(value, int) else value for value in found[6]]]

before = modes()

def is_back():
    assert os.tcgetpgrp(terminal) == own
    assert modes() == before

# Reads a line from the terminal, so that it has it for sure, tells that it is there, and sleeps.
READER = ["sh", "-c", "read line </dev/tty; echo there >/dev/tty; exec sleep 60"]
# Looks until it has the terminal, tells that it is there, and sleeps.
LOOK = "import os, time\\ntty = os.open('/dev/tty', os.O_RDWR)\\nwhile os.tcgetpgrp(tty) != os.getpgrp(): pass\\n"
LOOKER = [sys.executable, "-S", "-c", LOOK + "os.write(tty, b'there\\\\n')\\ntime.sleep(60)"]
"""
)


def on_terminal(source: str, *args: object, way: str | None = None) -> None:
    fresh(PRELUDE + source, *args, way=way)


@pytest.mark.parametrize(
    ("key", "expected"), [("\x03", "SIGINT"), ("\x1c", "SIGQUIT"), ("\x1a", "")], ids=["Ctrl-C", "Ctrl-\\", "Ctrl-Z"]
)
def test_what_is_typed_meets_the_whole_job_and_nobody_else(key: str, expected: str, way: str) -> None:
    on_terminal(
        """
key, expected = sys.argv[1], sys.argv[2]
got = []
for number in signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP:
    signal.signal(number, lambda *_: got.append(number))
with nothing_left(), Job([SLEEP, SLEEP], tty=terminal) as bystander:
    with Job([LOOKER, SLEEP, SLEEP], tty=terminal, setup=ChildSetup(rlimits={4: (0, 0)})) as job:
        typist = screen.type(key, after="there")
        state = job.foreground()
        typist.join()
        is_back()
        if expected:
            assert (state, job.returncodes) == (DONE, [-signal.Signals[expected]] * 3)
        else:
            assert (state, job.returncodes) == (STOPPED, [None] * 3)
            assert job.state is STOPPED
            job.end()
    assert (got, bystander.state) == ([], RUNNING)
    bystander.end()
""",
        key,
        expected,
        way=way,
    )


def test_the_terminal_is_the_jobs_until_it_ends_and_then_the_callers_again() -> None:
    on_terminal("""
tell = [sys.executable, "-S", "-c", LOOK + "os.write(tty, b'%d %d\\\\n' % (os.getpgrp(), os.tcgetpgrp(tty)))"]
with nothing_left(), Job([tell, tell], tty=terminal) as job:
    assert os.tcgetpgrp(terminal) == own
    assert job.foreground() is DONE
    is_back()
    screen.until(f"{job.pgid} {job.pgid}\\r\\n", count=2)
    assert job.foreground() is DONE
    is_back()
""")


def test_programs_that_have_read_before_it_was_theirs_go_on(way: str) -> None:
    on_terminal(
        """
with nothing_left(), Job([READER, SLEEP], tty=terminal) as job:
    os.waitid(os.P_PID, job.pgid, os.WSTOPPED | os.WNOWAIT)
    os.write(manager, b"a line\\n")
    typist = screen.type("\\x03", after="there")
    assert job.foreground() is DONE
    typist.join()
    is_back()
""",
        way=way,
    )


def test_a_program_that_stops_itself_for_the_terminal_too_late_goes_on() -> None:
    on_terminal("""
late = [sys.executable, "-S", "-c", LOOK + "os.killpg(0, 21)\\nos.write(tty, b'on\\\\n')"]
with Job([late], tty=terminal) as job:
    assert job.foreground() is DONE
    is_back()
    screen.until("on")
insists = [sys.executable, "-S", "-c", LOOK + "while True: os.killpg(0, 22)"]
with Job([insists, insists], tty=terminal) as job:
    assert job.foreground() is STOPPED
    is_back()
    job.end(0)
# Another signal is meant.
once = [sys.executable, "-S", "-c", LOOK + "os.killpg(0, 20)\\nos.write(tty, b'on\\\\n')"]
with Job([once], tty=terminal) as job:
    assert job.foreground() is STOPPED
    assert job.foreground() is DONE
    screen.until("on")
""")


def test_a_stopped_job_goes_on_in_the_foreground_or_in_the_background(way: str) -> None:
    on_terminal(
        """
echoes = ["sh", "-c", "while read line </dev/tty; do echo got $line >/dev/tty; done"]
with nothing_left(), Job([echoes, ["cat"]], tty=terminal) as job:
    for line in "one", "two":
        os.write(manager, f"{line}\\n".encode())
        typist = screen.type("\\x1a", after=f"got {line}")
        assert job.foreground() is STOPPED
        typist.join()
        is_back()
    job.background()
    stopped(job)  # it reads again
    assert os.tcgetpgrp(terminal) == own
    job.processes[0].kill()
    job.background()
    assert job.wait() == -9
""",
        way=way,
    )


@pytest.mark.parametrize("end", ["exit 0", "kill -9 $$", "kill -STOP $$"])
def test_the_modes_come_back_with_the_terminal(end: str) -> None:
    on_terminal(
        """
leaves_raw = ["sh", "-c", f"stty raw -echo min 5 && {sys.argv[1]}"]
with Job([leaves_raw], tty=terminal, stdin=terminal) as job:
    assert job.foreground() is (STOPPED if "STOP" in sys.argv[1] else DONE)
    is_back()
    job.end(0)
""",
        end,
    )


def test_a_stopped_job_finds_the_modes_that_it_had() -> None:
    on_terminal("""
asks = ["sh", "-c", "stty -echo && kill -STOP $$ && stty -a"]
with Job([asks], tty=terminal, stdin=terminal, stdout=terminal) as job:
    assert job.foreground() is STOPPED
    is_back()
    assert job.foreground() is DONE
    is_back()
    assert " -echo " in screen.until("-extproc")
    assert job.returncode == 0
""")


# -- what comes in between


def test_interrupted_by_a_signal_handler_it_gives_the_terminal_back() -> None:
    on_terminal(
        ASLEEP
        + """
class Interrupt(Exception):
    pass

def interrupt(number, frame):
    raise Interrupt

signal.signal(signal.SIGUSR1, interrupt)

def send(tid):
    screen.until("there")
    until_asleep(tid)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

with nothing_left(), Job([SLEEP, LOOKER], tty=terminal) as job:
    sender = threading.Thread(target=send, args=[threading.get_native_id()])
    sender.start()
    with raises(Interrupt):
        job.foreground()
    sender.join()
    is_back()
    assert job.state is RUNNING
    job.end()
"""
    )


def test_interrupted_at_any_point_it_gives_the_terminal_back() -> None:
    on_terminal(
        AT_ANY_POINT
        + """
number = 1
while True:
    with Job([["sh", "-c", "stty -echo; while true; do kill -STOP $$; done"]], tty=terminal, stdin=terminal) as job:
        assert job.foreground() is STOPPED
        interrupted = at(number, job.foreground, setsid.jobs, setsid.tty, signal, then=is_back)
        is_back()
        assert signal_set("SigBlk") == set()
        job.end(0)
    if not interrupted:
        break
    number += 1
assert number > 20, number
"""
    )


def test_modes_that_were_given_back_once_are_not_given_back_again() -> None:
    on_terminal(
        ASLEEP
        + """
asks = ["sh", "-c", "stty -echo; kill -STOP $$; stty echo; echo there >&2; read line <&9; stty -a"]
reader, writer = os.pipe()

class Interrupt(Exception):
    pass

def interrupt(number, frame):
    raise Interrupt

signal.signal(signal.SIGUSR1, interrupt)

def send(tid):
    there.line()
    until_asleep(tid)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

def go_on():
    until_waiting()
    os.write(writer, b"\\n")

there = Pipe()
with Job([asks], tty=terminal, stdin=terminal, stdout=terminal, stderr=there.writer,
         setup=ChildSetup(pass_fds={9: reader})) as job:
    assert job.foreground() is STOPPED
    thread = threading.Thread(target=send, args=[threading.get_native_id()])
    thread.start()
    with raises(Interrupt):
        job.foreground()
    thread.join()
    is_back()
    thread = threading.Thread(target=go_on)
    thread.start()
    assert job.foreground() is DONE
    thread.join()
    assert " echo " in screen.until("-extproc")
"""
    )


def test_two_threads_have_it_in_the_foreground_and_the_terminal_is_back_once_both_have_returned() -> None:
    on_terminal(
        ASLEEP
        + """
leaves_raw = ["sh", "-c", "stty raw -echo; echo there; exec sleep 60"]
for _ in range(10):
    with nothing_left(), Job([leaves_raw], tty=terminal, stdin=terminal, stdout=terminal) as job:
        states, threads = [], []
        for turn in range(2):
            thread = threading.Thread(target=lambda: states.append(job.foreground()))
            thread.start()
            if turn == 0:
                screen.until("there")
            until_asleep(thread.native_id)
            while not waits_for_child(os.getpid(), thread.native_id):  # it has sent its SIGCONT
                time.sleep(0.001)
            threads.append(thread)
        job.stop()
        for thread in threads:
            thread.join()
        assert states == [STOPPED, STOPPED], states
        is_back()
        job.end(0)
"""
    )


def test_a_handler_that_returns_does_not_end_the_wait() -> None:
    on_terminal(
        ASLEEP
        + """
got = threading.Semaphore(0)
signal.signal(signal.SIGUSR1, lambda *_: got.release())

def send(tid):
    screen.until("there")
    for _ in range(3):
        until_asleep(tid)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
        assert got.acquire(timeout=30)
    job.send_signal(signal.SIGKILL)

with Job([SLEEP, LOOKER], tty=terminal) as job:
    sender = threading.Thread(target=send, args=[threading.get_native_id()])
    sender.start()
    assert job.foreground() is DONE
    sender.join()
    is_back()
"""
    )


def test_stopped_and_continued_by_others_it_is_never_left_running_with_the_terminal() -> None:
    on_terminal("""
with nothing_left(), Job([SLEEP] * 3, tty=terminal) as job:
    over = threading.Event()

    def disturb():
        while not over.is_set():
            job.stop()
            job.resume()
        job.stop()

    disturber = threading.Thread(target=disturb)
    disturber.start()
    for _ in range(300):
        assert job.foreground() is STOPPED
        is_back()
    over.set()
    disturber.join()
    job.end(0)
""")


def test_one_thread_may_wait_and_others_look_while_it_is_in_the_foreground() -> None:
    on_terminal("""
for _ in range(10):
    with nothing_left(), Job([LOOKER, SLEEP, SLEEP], tty=terminal) as job:
        results = []
        over = threading.Event()

        def look():
            while not over.is_set():
                job.state, job.returncodes

        threads = [threading.Thread(target=lambda: results.append(job.wait())) for _ in range(2)]
        threads.append(threading.Thread(target=look))
        for thread in threads:
            thread.start()
        threads.append(screen.type("\\x1a", after="there"))
        assert job.foreground() is STOPPED
        assert (job.state, results) == (STOPPED, [])
        is_back()
        threads.append(threading.Thread(target=job.send_signal, args=[signal.SIGKILL]))
        threads[-1].start()
        assert job.foreground() is DONE
        over.set()
        for thread in threads:
            thread.join()
        assert results == [-9, -9]
        is_back()
""")


def test_one_that_has_left_the_group_is_waited_for_in_the_foreground_too() -> None:
    on_terminal("""
leaver = [sys.executable, "-S", "-c", "import os, sys; os.setpgid(0, 0); os.write(2, b'left'); sys.stdin.read()"]
reader, writer = os.pipe()
there = Pipe()
with Job([SLEEP, Command(leaver, setup=ChildSetup(stdin=reader))], tty=terminal, stderr=there.writer) as job:
    os.close(reader)
    os.read(there.reader, 4)
    job.processes[0].kill()
    job.processes[0].wait()
    closer = threading.Thread(target=os.close, args=[writer])
    closer.start()
    assert job.foreground() is DONE
    closer.join()
    is_back()
    assert job.returncodes == [-9, 0]
there.text()
""")


@pytest.mark.parametrize("hide_pidfd", [False, True], ids=["pidfd", "number"])
def test_reaped_by_somebody_else_it_is_done_and_the_terminal_is_back(hide_pidfd: bool) -> None:
    fresh(
        PRELUDE
        + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for commands in [["true"]], [["true"], ["true"]], [LOOKER, SLEEP]:
    job = Job(commands, tty=terminal)
    if commands[0] is LOOKER:
        typist = screen.type("\\x03", after="there")
    assert job.foreground() is DONE
    is_back()
    job.close()
typist.join()
""",
        hide_pidfd=hide_pidfd,
    )


# -- what can't be


def test_without_a_terminal_or_with_a_strangers_it_says_so_before_anything_is_started() -> None:
    on_terminal("""
others, other = os.openpty()
null = open("/dev/null")
started = []
hooks.append(started.append)
for tty, reason in [
    (other, f"{os.ttyname(other)} is not the caller's controlling terminal"),
    (others, ""),
    (null, f"file descriptor {null.fileno()} is not a terminal"),
]:
    with nothing_left(), raises(OSError, reason, errno=errno.ENOTTY):
        Job([SLEEP], tty=tty)
child = setsid.spawn(SLEEP, ctty=other)
for tty in other, others:  # another session's
    with raises(OSError, errno=errno.ENOTTY):
        Job([SLEEP], tty=tty)
child.end(0)
assert started == [SLEEP]
with Job([SLEEP]) as none:
    with raises(ValueError, "the job has no tty"):
        none.foreground()
    assert none.state is RUNNING
    none.send_signal(9)
null.close()
closed = os.fdopen(os.dup(terminal))
with Job([SLEEP], tty=closed) as job:
    closed.close()
    with raises(ValueError):
        job.foreground()
    job.send_signal(9)
""")


def test_a_caller_in_the_background_gives_it_and_it_goes_back_to_who_had_it() -> None:
    on_terminal("""
child = setsid.fork(process_group=0)
if child is None:
    with Job([LOOKER], tty=terminal) as job:
        typist = screen.type("\\x03", after="there")
        assert job.foreground() is DONE
        typist.join()
        assert os.tcgetpgrp(terminal) == own
    os._exit(7)
assert child.wait() == 7
is_back()
""")
