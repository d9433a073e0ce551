"""Pieces of the helper processes' source about children with a parent-death signal, and who makes and outlives them."""

from __future__ import annotations

import pytest

from support import fresh

# The helper is the grandparent: it adopts the children of a parent that it has killed, and so learns how they end.
FAMILY = """
import ctypes, faulthandler, select, threading, traceback, warnings

faulthandler.dump_traceback_later(30, exit=True)  # what hangs must end
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_CHILD_SUBREAPER, CLONE_NEWPID = 1, 2, 36, 0x20000000
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

def death_signal():
    number = ctypes.c_int(-1)
    assert libc.prctl(PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0) == 0
    return number.value

def in_main(function):
    function()

def in_thread(function):  # which has ended, to the kernel too, when this returns
    ids = []
    thread = threading.Thread(target=lambda: (ids.append(threading.get_native_id()), function()))
    thread.start()
    thread.join()
    deadline = time.monotonic() + 10
    while os.path.exists(f"/proc/self/task/{ids[0]}"):
        assert time.monotonic() < deadline

MAKERS = {"main": in_main, "thread": in_thread}

class Parent:
    "A process that runs body(say), says numbers, and lives until it is killed."
    def __init__(self, body):
        self.said, say = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a test that fails must leave nobody
            try:
                body(lambda number: os.write(say, b"%d\\n" % number))
                while True:
                    signal.pause()
            except BaseException:
                traceback.print_exc()
            os._exit(70)
        os.close(say)

    def hear(self):
        text = b""
        while not text.endswith(b"\\n"):
            read = os.read(self.said, 1)
            assert read, "the parent has ended"
            text += read
        return int(text)

    def die(self):
        os.kill(self.pid, signal.SIGKILL)
        assert os.waitpid(self.pid, 0) == (self.pid, signal.SIGKILL)
        os.close(self.said)

class Child:
    "A child of a Parent."
    def __init__(self, pid):
        self.pid, self.pidfd = pid, os.pidfd_open(pid)

    def has_ended(self, timeout=0):
        return bool(select.select([self.pidfd], [], [], timeout)[0])

    def end(self):
        "How it ends by itself: ('killed', signal) or ('exited', status)."
        assert self.has_ended(10), f"child {self.pid} lives on: {status(self.pid)}"
        result = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
        os.close(self.pidfd)
        return ("exited" if result.si_code == os.CLD_EXITED else "killed"), result.si_status

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        assert self.end() == ("killed", signal.SIGKILL)

class Cat:
    "cat, which shows by an echo that it runs. Its pipes are made before its parent is."
    def __init__(self):
        self.ours, self.theirs = os.pipe(), os.pipe()

    def start(self, **changes):
        self.process = setsid.spawn(["cat"], stdin=self.ours[0], stdout=self.theirs[1], **changes)
        return self.process.pid

    def echoes(self):
        os.write(self.ours[1], b"x")
        return bool(select.select([self.theirs[0]], [], [], 5)[0]) and os.read(self.theirs[0], 1) == b"x"

def family(maker, cat, **changes):
    "A parent whose `maker` has spawned a cat, and that child, which runs."
    def body(say):
        maker(lambda: say(cat.start(**changes)))
        say(0)
    parent = Parent(body)
    child = Child(parent.hear())
    assert parent.hear() == 0
    assert cat.echoes()
    assert not child.has_ended()
    return parent, child
"""

# Run in the parent: its next children are in a new pid namespace, the first as its init.
UNSHARE = """
def unshare():
    if libc.unshare(CLONE_NEWPID) < 0:
        print("SKIP: no pid namespace here:", os.strerror(ctypes.get_errno()), flush=True)
        os._exit(0)
"""

# A child with a umask is held before it is set, which is before its credentials change and long before prctl.
HELD = """
from hold import Hold

directory = sys.argv[1]
hold = Hold()
kept = []  # so that nobody misses their end

def touch(**changes):  # in a parent, which may die: the hold is its own parent's
    hold.close()
    kept.append(setsid.spawn(["touch", f"{directory}/ran"], umask=0o77, **changes))
"""

# For threads that have children made, and the one thread that makes them.
HELPER = """
import ctypes, faulthandler, queue, resource, select, threading, warnings

faulthandler.dump_traceback_later(30, exit=True)  # what hangs must end
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)

def end_with_the_parent():  # a copy of the helper, which may hang with all other signals blocked
    assert ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0) == 0

PDEATH = {"parent_death_signal": signal.SIGKILL}

def helpers():
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/comm") as file:
                if file.read() == "setsid-helper\\n":
                    found.append(int(task))
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            continue
    return found

def children_of(task):
    with open(f"/proc/self/task/{task}/children") as file:
        return [int(pid) for pid in file.read().split()]

def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline

def in_thread(function):
    "What the function returns or raises in a thread that has ended, to the kernel too."
    results = []
    def runs():
        results.append(threading.get_native_id())
        try:
            results.append(function())
        except BaseException as error:
            results.append(error)
    thread = threading.Thread(target=runs)
    thread.start()
    thread.join()
    until(lambda: not os.path.exists(f"/proc/self/task/{results[0]}"))
    if isinstance(results[1], BaseException):
        raise results[1]
    return results[1]

def succeed(**changes):
    with setsid.spawn(["sh", "-c", "exit 7"], **PDEATH, **changes) as process:
        return process.wait() == 7

class Cat:
    def __init__(self):
        self.ours, self.theirs = os.pipe(), os.pipe()
        self.process = setsid.spawn(["cat"], stdin=self.ours[0], stdout=self.theirs[1], **PDEATH)
    def echoes(self):
        os.write(self.ours[1], b"x")
        return bool(select.select([self.theirs[0]], [], [], 5)[0]) and os.read(self.theirs[0], 1) == b"x"
    def end(self):
        for fd in (*self.ours, *self.theirs):
            os.close(fd)
        assert self.process.wait() == 0
        self.process.close()
"""


def run(source: str, *args: object, way: str | None = None, wrapper: tuple[str, ...] = ()) -> None:
    """Run a helper that prints "SKIP: ..." where it is refused what it needs. Fails if the helper does."""
    result = fresh(source, *args, way=way, wrapper=wrapper, check=False)
    if "SKIP" in result.stdout:
        pytest.skip(result.stdout.strip())
    assert (result.returncode, result.stderr) == (0, ""), f"{result.returncode}\n{result.stdout}\n{result.stderr}"
