"""What a fork server's child does, as a plan and as the same steps in Python, and how long a fresh child takes."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import struct
import termios
import time
from typing import TYPE_CHECKING

import setsid

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1
# What Python ignores, and what a server has handlers for.
RESET = (
    *(signal.SIGPIPE, signal.SIGXFSZ),
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD),
)


class Steps:
    """A new session on a terminal, six files put in place, signals reset, a limit, a parent-death signal."""

    def __init__(self) -> None:
        self._manager, self._terminal = os.openpty()
        files = [os.open(os.devnull, os.O_RDWR) for _ in range(6)]
        self._moves = dict(zip((0, 1, 2, 100, 101, 102), files, strict=True))
        self._prctl = ctypes.CDLL(None).prctl
        self.setup = setsid.ChildSetup(
            process_group=setsid.NEW_SESSION,
            ctty=self._terminal,
            pass_fds=self._moves,
            rlimits={resource.RLIMIT_CORE: (0, 0)},
            parent_death_signal=signal.SIGTERM,
            default_signals=RESET,
        )

    def in_python(self) -> None:
        """The same as `setup`."""
        os.setsid()
        fcntl.ioctl(self._terminal, termios.TIOCSCTTY, 0)
        for target, file in self._moves.items():
            os.dup2(file, target)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self._prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        for number in RESET:
            signal.signal(number, signal.SIG_DFL)


_shared = mmap.mmap(-1, mmap.PAGESIZE)


def in_fresh_child(work: Callable[[], object]) -> float:
    """Seconds that `work` takes in a child just forked: once, since most of it can be done once only."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            start = time.perf_counter()
            work()
            _shared[:8] = struct.pack("d", time.perf_counter() - start)
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the child failed")
    seconds: float = struct.unpack("d", _shared[:8])[0]
    return seconds


def fork_and(work: Callable[[], object]) -> None:
    """os.fork, `work` in the child, and its end."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("the child failed")


def fork_by_plan(setup: setsid.ChildSetup) -> None:
    """setsid.fork with the plan, and the child's end."""
    process = setsid.fork(setup)
    if process is None:
        os._exit(0)
    if process.wait():
        raise RuntimeError("the child failed")
