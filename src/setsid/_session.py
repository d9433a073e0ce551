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
    if process._is_reaped():
        return EndReport((), ())
    members = _members_of(process)
    seen: set[int] = set()
    survived = members.signal_and_wait(signal, grace, seen)
    if survived:
        survived = members.signal_and_wait(SIGKILL, _PATIENCE, seen)
    if process.pid not in survived:
        process.wait()
    return EndReport(tuple(sorted(seen.difference(survived))), tuple(sorted(survived)))


def _members_of(process: Process) -> _Members:
    pid = process.pid
    own_sid, own_pgid = lib.sid_getsid(0), lib.sid_getpgid(0)
    if lib.sid_getsid(pid) == pid != own_sid:
        return _Members(process, lib.SID_SCOPE_SESSION)
    if lib.sid_getpgid(pid) == pid != own_pgid:
        return _Members(process, lib.SID_SCOPE_GROUP)
    return _Members(process, None)


class _Members:
    """The living processes of the session or group that a child leads, or the child alone."""

    def __init__(self, process: Process, scope: int | None) -> None:
        self._process = process
        self._scope = scope

    def pids(self) -> list[int]:
        if self._scope is None:
            return [] if self._process._has_ended() else [self._process.pid]
        room = 64
        while True:
            buffer = ffi.new("int[]", room)
            count = lib.sid_members(self._scope, self._process.pid, buffer, room)
            if count < 0:
                raise error(count, "opendir", filename="/proc")
            if count <= room:
                return list(buffer[0:count])
            room = 2 * count

    def signal_and_wait(self, signal: int, seconds: float, seen: set[int]) -> list[int]:
        """Send `signal` to each member once, to those that are forked meanwhile too, and wait until all have ended or
        the time is over. The pids that are left; all that were met are added to `seen`.
        """
        deadline = time.monotonic() + seconds
        pidfds: dict[int, int] = {}
        try:
            while pids := self.pids():
                seen.update(pids)
                for pid in pids:
                    if pid not in pidfds:
                        pidfds[pid] = self._signal(pid, signal)
                if time.monotonic() >= deadline:
                    return pids
                _wait_for_all([fd for fd in pidfds.values() if fd >= 0], deadline)
        finally:
            for fd in pidfds.values():
                if fd >= 0:
                    os.close(fd)
        return []

    def _signal(self, pid: int, signal: int) -> int:
        """Signal one member, and let it run to see the signal. Its pidfd, or -errno when it was none or has ended."""
        if self._scope is None or pid == self._process.pid:
            self._process.send_signal(signal)
            self._process.send_signal(_SIGCONT)
            return self._process._dup_fileno()
        fd = lib.sid_open_member(self._scope, self._process.pid, pid)
        if fd >= 0:
            lib.sid_signal_pidfd(fd, signal)  # EPERM: it will be among the survivors
            lib.sid_signal_pidfd(fd, _SIGCONT)
        elif fd == -errno.ENOSYS:
            os.kill(pid, signal)
            os.kill(pid, _SIGCONT)
        return fd


def _wait_for_all(pidfds: list[int], deadline: float) -> None:
    """Wait until all have ended; but not much longer than a moment, since there may be new members by then."""
    moment = min(deadline, time.monotonic() + 0.05)
    poll = select.poll()
    for fd in pidfds:
        poll.register(fd, select.POLLIN)
    left = len(pidfds)
    while (seconds := moment - time.monotonic()) > 0 and (left or not pidfds):
        for fd, _ in poll.poll(min(seconds, 0.05 if pidfds else 0.002) * 1000):
            poll.unregister(fd)
            left -= 1
        if not pidfds:  # no pidfds in this kernel: the caller looks again
            return
