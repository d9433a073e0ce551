"""Threads that spawn while others allocate, log, fork and catch signals: nothing hangs, leaks or gets mixed up."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support import fresh

NATIVE = Path(__file__).resolve().parent / "native"
CHILDREN = {"clone3": 2000, "clone": 1000, "page": 800, "fork": 800}

# What a process that is forked while others spawn needs: it holds copies of all fds until it is let go.
HOLDER = """
import faulthandler, threading, warnings
faulthandler.dump_traceback_later(60, exit=True)  # a helper that hangs must end, under strace too
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # the point of these tests

class Holder:
    "A forked process that has copies of all our fds and does nothing until it is let go."
    def __init__(self):
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
    def is_alive(self):
        return os.waitpid(self.pid, os.WNOHANG) == (0, 0)
    def files(self):
        return [os.readlink(f"/proc/{self.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{self.pid}/fd")]
    def let_go(self):
        os.write(self.writer, b"x")  # end of file would not do: later holders have a copy of the writing end
        os.close(self.writer)
        assert os.waitpid(self.pid, 0) == (self.pid, 0)
"""


@pytest.fixture(scope="module")
def tells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that exits with the number it is given, unless it finds an open fd above 2."""
    program = tmp_path_factory.mktemp("tells") / "tells"
    subprocess.run(["cc", "-O2", "-D_GNU_SOURCE", str(NATIVE / "tells.c"), "-o", str(program)], check=True)
    return program


def test_every_status_is_right_and_no_fd_leaks_amid_forks_logging_and_signals(way: str, tells: Path) -> None:
    fresh(
        HOLDER
        + """
import io, logging
program, count = sys.argv[1], int(sys.argv[2])
caught = {signal.SIGALRM: 0, signal.SIGCHLD: 0}
wrong, failures, done = [], [], threading.Event()
log = logging.getLogger("noise")
log.propagate = False
log.addHandler(logging.StreamHandler(io.StringIO()))

def catch(number, frame):
    caught[number] += 1

# From 3.12 on os.fork itself opens /proc/self/stat without close-on-exec, so a child that closes nothing may get that.
forks_leak = sys.version_info >= (3, 12)

def spawns(first):
    for number in range(first, count, 8):
        process = setsid.spawn([program, str(number % 254)], close_fds=forks_leak or bool(number // 8 % 2))
        if process.wait() != number % 254:
            wrong.append((number, process.returncode))
        process.close()

def allocates():
    while not done.is_set():
        blocks = [bytearray(size) for size in range(0, 300000, 5000)]

def logs():
    while not done.is_set():
        log.warning("%s", threading.current_thread())

forked = 0
def forks():
    global forked
    holders = []
    while not done.is_set():
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0) == (pid, 0)
        holders.append(Holder())
        forked += 1
        if len(holders) > 5:
            holders.pop(0).let_go()
        done.wait(0.005)  # not all of the machine's time to forks
    for holder in holders:
        holder.let_go()

def guarded(function, *args):
    try:
        function(*args)
    except BaseException as error:
        failures.append(error)

for number in caught:
    signal.signal(number, catch)
noise = [threading.Thread(target=guarded, args=(function,)) for function in (allocates, logs, forks)]
spawners = [threading.Thread(target=guarded, args=(spawns, first)) for first in range(1, 8)]
with nothing_left():
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    for thread in noise + spawners:
        thread.start()
    guarded(spawns, 0)  # the thread that the signals interrupt
    for thread in spawners:
        thread.join()
    done.set()
    for thread in noise:
        thread.join()
    signal.setitimer(signal.ITIMER_REAL, 0)
assert (wrong, failures) == ([], []), (wrong, failures)
assert forked and all(caught.values()), (forked, caught)
print(forked, caught)
""",
        tells,
        CHILDREN[way],
        way=way,
    )


@pytest.mark.parametrize("program", [shutil.which("sleep"), "/nonexistent"], ids=["sleep", "missing"])
@pytest.mark.parametrize("interrupted", [False, True], ids=["quiet", "interrupted"])
def test_a_process_forked_before_the_childs_exec_holds_nobody_up(
    way: str, program: str, interrupted: bool, need: Callable[..., str]
) -> None:
    """The parent is held in clone, and the child in execve, while another thread forks a process that has copies of
    all fds: with a pipe for the report, both ends of it.
    """
    held = [("clone", "delay_exit"), ("execve", "delay_enter")]
    # Microseconds. Only where there is a pipe must the other thread be in time, on a busy machine too.
    delay = 1_500_000 if way == "fork" else 200_000
    injections = [word for call, where in held for word in ("-e", f"inject={call}:{where}={delay}")]
    wrapper = (need("strace"), "-f", "-o", "/dev/null", "-e", "trace=clone,execve", *injections)
    fresh(
        HOLDER
        + """
from collections import Counter
program, interrupted, way = sys.argv[1], sys.argv[2] == "True", sys.argv[3]
holders = []
def fork_between():
    # A fork during which a signal comes begins anew, for ever if they come faster than strace lets it end.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    while not children():
        pass
    holders.append(Holder())
thread = threading.Thread(target=fork_between)
thread.start()
if interrupted:
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
try:
    process = setsid.spawn([program, "70"])
except FileNotFoundError as error:
    assert (program, error.call) == ("/nonexistent", "execve")
else:
    assert program.endswith("/sleep")
    process.kill()  # it has executed, but not ended by itself
    assert process.wait() == -signal.SIGKILL
    process.close()
signal.setitimer(signal.ITIMER_REAL, 0)
thread.join()
assert holders[0].is_alive()
pipes = Counter(file for file in holders[0].files() if file.startswith("pipe:"))
assert (2 in pipes.values()) == (way == "fork"), pipes
holders[0].let_go()
""",
        program,
        interrupted,
        way,
        way=way,
        wrapper=wrapper,
    )


def test_many_processes_that_hold_all_fds_hold_nobody_up(way: str, tells: Path) -> None:
    fresh(
        HOLDER
        + """
holders, halfway = [], threading.Barrier(5)
right = []
def spawns(first):
    for number in range(first, 40, 4):
        if number // 4 in (2, 5):
            halfway.wait()
        process = setsid.spawn([sys.argv[1], str(number)])
        right.append(process.wait() == number)
        process.close()
threads = [threading.Thread(target=spawns, args=(first,)) for first in range(4)]
for thread in threads:
    thread.start()
for _ in range(2):
    halfway.wait()
    holders += [Holder() for _ in range(5)]
for thread in threads:
    thread.join()
assert right == [True] * 40
assert [holder.is_alive() for holder in holders] == [True] * 10
for holder in holders:
    holder.let_go()
""",
        tells,
        way=way,
    )


def test_a_thread_with_a_small_stack_spawns(way: str) -> None:
    fresh(
        """
import threading
threading.stack_size(100 * 1024 if ON_DEBUG_BUILD else 64 * 1024)  # which takes no less
seen = []
def spawns():
    process = setsid.spawn(["sh", "-c", "exit 7"])
    seen.append(process.wait())
    process.close()
    try:
        setsid.spawn(["/nonexistent"])
    except FileNotFoundError as error:
        seen.append(error.call)
with nothing_left():
    thread = threading.Thread(target=spawns)
    thread.start()
    thread.join()
assert seen == [7, "execve"]
""",
        way=way,
    )
