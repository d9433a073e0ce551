"""Sessions, and ending what a child leads."""

from __future__ import annotations

import errno
import os
import select
import signal as _signals
import time

from ._errors import error
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native import _Child
    from ._process import Process

SIGKILL = _signals.SIGKILL
_SIGCONT = _signals.SIGCONT
# How long SIGKILL is given to work, in seconds: a process in an uninterruptible sleep can't be waited for for ever.
_PATIENCE = 5.0


class EndReport:
    """What `end` did: the pids of the processes that `ended`, and of those that `survived` (SIGKILL not allowed, or
    stuck in the kernel).
    """

    __slots__ = ("ended", "survived")

    def __init__(self, ended: tuple[int, ...], survived: tuple[int, ...]) -> None:
        self.ended = ended
        self.survived = survived

    def __repr__(self) -> str:
        return f"EndReport(ended={self.ended}, survived={self.survived})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EndReport):
            return NotImplemented
        return (self.ended, self.survived) == (other.ended, other.survived)

    __hash__ = None  # type: ignore[assignment]


class Session:
    """The session with the id `sid`."""

    __slots__ = ("sid",)

    def __init__(self, sid: int) -> None:
        self.sid = sid.__index__()

    def __repr__(self) -> str:
        return f"Session({self.sid})"

    def __eq__(self, other: object) -> bool:
        return self.sid == other.sid if isinstance(other, Session) else NotImplemented

    def __hash__(self) -> int:
        return hash((Session, self.sid))


def end_process(process: Process, grace: float, signal: int) -> EndReport:
    """Process.end: the child is reaped last, since nobody else gets a zombie's number."""
    if not grace >= 0:  # NaN too
        raise ValueError(f"grace must be a number of seconds, not {grace}")
    if signal not in _signals.valid_signals():
        raise ValueError(f"there is no signal {signal}")
    child = process._child
    if not lib.sid_is_ours(child):  # somebody has reaped it, so what bears its number may be another's
        process.poll()
        return EndReport((), ())
    members = _Members(child)
    seen: set[int] = set()
    try:
        lib.sid_stay(child, 1)  # another thread that waits now must not reap it and so free the number
        survived = members.signal_and_wait(signal, grace, seen)
        if survived:
            survived = members.signal_and_wait(SIGKILL, _PATIENCE, seen)
    finally:
        lib.sid_stay(child, -1)
    if process.pid not in survived and lib.sid_reap(child) != 1:
        process.wait(_PATIENCE)
    if members.failure:
        raise members.failure
    return EndReport(tuple(sorted(seen.difference(survived))), tuple(sorted(survived)))


class _Members:
    """The living processes of the session or group that an unreaped child leads, or the child alone."""

    def __init__(self, child: _Child) -> None:
        self._child = child
        self._pid = child.pid
        self._scope = self._find_scope()
        self._watched: set[int] = set()  # pidfds of those that were signalled
        self.failure: Exception | None = None  # why only the child itself could be ended
        self._known: set[int] = set()
        self._refused: set[int] = set()

    def _find_scope(self) -> int | None:
        """None, "the child alone", also where the caller itself is in what the child leads."""
        if lib.sid_getsid(self._pid) == self._pid != lib.sid_getsid(0):
            return lib.SID_SCOPE_SESSION
        if lib.sid_getpgid(self._pid) == self._pid != lib.sid_getpgid(0):
            return lib.SID_SCOPE_GROUP
        return None

    def pids(self) -> list[int]:
        """Those that live now. The child is asked of waitid, which does not reap it while it stays."""
        child = [self._pid] if lib.sid_reap(self._child) == 0 else []
        if self._scope is None:
            return child
        others = set(self._listed()) - {self._pid}
        # Reaped elsewhere all the same, the child frees its number once the last of the members that we know has gone.
        if not lib.sid_is_ours(self._child) and self._known.isdisjoint(others):
            return []
        return child + sorted(others)

    def _listed(self) -> list[int]:
        room = 64
        while True:
            buffer = ffi.new("int[]", room)
            count = lib.sid_members(self._scope or 0, self._pid, buffer, room)
            if count in (-errno.EMFILE, -errno.ENFILE) and self._watched:
                self._unwatch()
                continue
            if count < 0:
                self.failure = error(count, "opendir", filename="/proc")
                return []
            if count <= room:
                return list(buffer[0:count])
            room = 2 * count

    def signal_and_wait(self, signal: int, seconds: float, seen: set[int]) -> list[int]:
        """Send `signal` to each member once, to those that are forked meanwhile too, and wait until all have ended or
        the time is over. The pids that are left; all that were met are added to `seen`.
        """
        deadline = time.monotonic() + seconds
        signalled: set[int] = set()
        self._refused.clear()
        try:
            while pids := self.pids():
                seen.update(pids)
                for pid in set(pids) - signalled:
                    self._signal(pid, signal)
                self._known = signalled = set(pids)  # a number that comes up again later is a new process's
                if time.monotonic() >= deadline or (signal == SIGKILL and self._refused.issuperset(pids)):
                    return pids
                self._wait(deadline)
        finally:
            self._unwatch()
        return []

    def _signal(self, pid: int, signal: int) -> None:
        """Signal one member, and let it run to see the signal."""
        fd = self._open(pid)
        if fd in (-errno.EMFILE, -errno.ENFILE) and self._watched:
            self._unwatch()
            fd = self._open(pid)
        if fd >= 0:
            self._watched.add(fd)
            result = lib.sid_signal_pidfd(fd, signal)
            lib.sid_signal_pidfd(fd, _SIGCONT)
        elif pid == self._pid or self._scope is None:
            result = lib.sid_signal_child(self._child, signal)
            lib.sid_signal_child(self._child, _SIGCONT)
        elif fd == -errno.ESRCH:
            return
        else:  # no pidfds, or no file left to have one
            result = lib.sid_signal_member(self._scope, self._pid, pid, signal)
            lib.sid_signal_member(self._scope, self._pid, pid, _SIGCONT)
        if result == -errno.EPERM:
            self._refused.add(pid)

    def _open(self, pid: int) -> int:
        if pid == self._pid or self._scope is None:
            return lib.sid_dup_pidfd(self._child)
        if self._child.pidfd == lib.SID_PIDFD_NONE:
            return -errno.ENOSYS
        return lib.sid_open_member(self._scope, self._pid, pid)

    def _unwatch(self) -> None:
        while self._watched:
            os.close(self._watched.pop())

    def _wait(self, deadline: float) -> None:
        """Wait until all that are watched have ended, or for a moment: there may be new members by then."""
        moment = min(deadline, time.monotonic() + (0.05 if self._watched else 0.002))
        poll = select.poll()
        for fd in self._watched:
            poll.register(fd, select.POLLIN)
        left = len(self._watched)
        while (seconds := moment - time.monotonic()) > 0:
            for fd, _ in poll.poll(seconds * 1000):
                poll.unregister(fd)
                left -= 1
            if not left:
                return
