"""Pieces of the helpers' source about looking at sessions, and what is needed to run them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from scenarios import RAISES
from support import fresh

# For a helper: processes that do as they are told, wherever in the family tree. They end with the helper.
LOOK = (
    RAISES
    + """
import ctypes, select, threading, traceback
from setsid import ProcessInfo, Session, sessions

libc = ctypes.CDLL(None, use_errno=True)
TICK = 10**9 // os.sysconf("SC_CLK_TCK")
lifeline = os.pipe()

class Actor:
    "A process, known by its pipes before there is one, so that it can be anybody's child."
    def __init__(self):
        self.orders, self._order = os.pipe()
        self._said, self.say = os.pipe()

    def fork(self, body=lambda: None, at=None):
        "In the process that is to be the parent."
        if at:
            with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                file.write(str(at - 1))
        pid = os.fork()
        if pid:
            return pid
        try:
            if lifeline[1] >= 0:
                os.close(lifeline[1])
                globals()["lifeline"] = (lifeline[0], -1)
            body()
            os.write(self.say, b"%d\\n" % os.getpid())
            while lifeline[0] not in select.select([lifeline[0], self.orders], [], [])[0]:
                exec(os.read(self.orders, 4096).decode())
        except BaseException:
            traceback.print_exc()
            os._exit(70)
        os._exit(0)

    def up(self):
        "In the helper: once it has done its `body`."
        line = self.hear()
        assert line, "it has ended too soon"
        self.pid = int(line)
        return self

    def hear(self):
        text = b""
        while not text.endswith(b"\\n"):
            assert select.select([self._said], [], [], 60)[0], "it says nothing"
            text += os.read(self._said, 1)
        return text

    def tell(self, source):
        "Have it do what can't be waited for."
        os.write(self._order, source.encode())

    def ask(self, source):
        "Have it do something, and wait for that."
        self.tell(source + f"\\nos.write({self.say}, b'ok\\\\n')")
        assert self.hear() == b"ok\\n"

    def end(self, status=0):
        "Have it exit; returns when it is a zombie, or reaped already."
        pidfd = os.pidfd_open(self.pid)
        self.tell(f"os._exit({status})")
        assert select.select([pidfd], [], [], 60)[0]
        os.close(pidfd)

def actor(body=lambda: None, at=None):
    "A child of the helper."
    made = Actor()
    made.fork(body, at)
    return made.up()

def leader(at=None):
    return actor(os.setsid, at)

def start_threads(count):
    for _ in range(count):
        threading.Thread(target=lambda: select.select([lifeline[0]], [], []), daemon=True).start()

def own_group():
    os.setpgid(0, 0)

def reap(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def info(pid):
    return next(process for process in Session(os.getsid(pid)).processes() if process.pid == pid)

def pids(processes):
    return [process.pid for process in processes]

def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]

def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline

def hide(how):
    "Mounts /proc anew with the option hidepid, or skips the test."
    if libc.mount(b"proc", b"/proc", b"proc", 32, b"hidepid=" + how.encode()) < 0:  # MS_REMOUNT
        print("SKIP: hidepid:", os.strerror(ctypes.get_errno()))
        sys.exit(0)
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 14):  # then it is the namespace's own, and large
        with open("/proc/sys/kernel/pid_max", "w") as file:
            file.write("20000")

def become_nobody():
    os.setgroups([])  # the group 0 sees all by default
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)

def next_tick():
    "Returns in a later tick of the clock by which processes start."
    now = lib.sid_now() // TICK
    while lib.sid_now() // TICK <= now:
        pass
"""
)

# For a helper: the device number of a terminal, as the kernel writes it.
DEVICE = """
from setsid._processes import terminal_path

def device(major, minor):
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)
"""


def scenario(source: str, *args: object, timeout: float = 120) -> None:
    """Run `source` with `LOOK`'s names."""
    fresh(LOOK + source, *args, timeout=timeout)


def in_namespace(need: Callable[..., str], source: str, *args: object, proc: bool = True) -> None:
    """The same as process 1 of a pid namespace of its own with a /proc of that, or, `proc=False`, with the old one's.

    The helper's session is of the old namespace, so it is 0 to it. "SKIP: ..." on its stdout is why it can't do its
    work.
    """
    if os.geteuid() != 0:
        pytest.skip("a pid namespace needs root")
    wrapper = (need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc" if proc else "--mount")
    result = fresh(LOOK + source, *args, wrapper=wrapper, check=False)
    if "unshare failed" in result.stderr or result.stdout.startswith("SKIP"):
        pytest.skip(f"no pid namespace here: {result.stderr or result.stdout}")
    told = result.returncode, result.stdout, result.stderr
    assert told == (0, "", ""), f"exit status {told[0]}\n{told[1]}\n{told[2]}"
