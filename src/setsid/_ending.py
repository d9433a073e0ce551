"""Ending what a child leads, in steps: between them the caller waits in its own way, in the kernel or an event loop."""

from __future__ import annotations

import errno
import os
import select
import signal as signals
import time
from contextlib import suppress

from ._errors import error
from ._fields import known_signals
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, TypeAlias, TypeVar

    from ._native import _Child
    from ._process import Process

    T = TypeVar("T")
    # Yields (pidfds, seconds): wait until all of them are readable, at most that long.
    Steps: TypeAlias = Generator[tuple[set[int], float], None, T]

SIGKILL = signals.SIGKILL
_SIGCONT = signals.SIGCONT
# How long SIGKILL is given to work, in seconds: a process in an uninterruptible sleep can't be waited for for ever.
_PATIENCE = 5.0


class EndReport:
    """What `end` did.

    Attributes:
        ended: the pids of the processes that have ended.
        survived: those of the processes that have not (SIGKILL not allowed, or stuck in the kernel).
        escaped: those of living descendants that are out of reach, as in a session that they have made themselves.
            Found by their ancestry: one whose parent had ended before is not.
    """

    __slots__ = ("ended", "escaped", "survived")

    def __init__(self, ended: tuple[int, ...], survived: tuple[int, ...], escaped: tuple[int, ...] = ()) -> None:
        self.ended = ended
        self.survived = survived
        self.escaped = escaped

    def __repr__(self) -> str:
        return f"EndReport(ended={self.ended}, survived={self.survived}, escaped={self.escaped})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EndReport):
            return NotImplemented
        return (self.ended, self.survived, self.escaped) == (other.ended, other.survived, other.escaped)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.ended, self.survived, self.escaped)


def check_seconds(name: str, value: float) -> None:
    """Raise TypeError for what is no number, ValueError for NaN."""
    if not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}")
    if value != value:
        raise ValueError(f"{name} must be a number of seconds, not nan")


def check(grace: float, signal: int) -> None:
    """Raise ValueError for what `end` can't do."""
    check_seconds("grace", grace)
    if grace < 0:
        raise ValueError(f"grace must be a number of seconds, not {grace}")
    if signal not in known_signals():
        raise ValueError(f"there is no signal {signal}")


def end_process(
    process: Process, grace: float, signal: int, wait: Callable[[set[int], float], object] | None = None
) -> EndReport:
    """Process.end. `wait` waits between the steps."""
    check(grace, signal)
    steps = ending(process, grace, signal)
    wait = wait or wait_for_all
    try:
        while True:
            wait(*next(steps))
    except StopIteration as stop:
        report: EndReport = stop.value
        return report
    except BaseException:
        steps.close()
        with suppress(OSError):  # what came in between is worth more
            end_at_once(process)
        raise


def end_at_once(process: Process) -> None:
    """What an ending that is interrupted comes to: no process is left behind."""
    steps = ending(process, 0.0, SIGKILL)
    for fds, seconds in steps:
        wait_for_all(fds, seconds)


def ending(process: Process, grace: float, signal: int) -> Steps[EndReport]:
    """The steps of Process.end. The child is reaped last, since nobody else gets a zombie's number."""
    child = process._child
    if not child.owner:  # it was never made
        return EndReport((), ())
    members = _Members(child)
    if not members.are_ours():  # somebody has reaped it, so what bears its number may be another's
        lib.sid_reap(child)
        return EndReport((), ())
    survived: set[int] = set()
    try:
        lib.sid_stay(child, 1)  # another thread that waits now must not reap it and so free the number
        survived = yield from members.signal_and_wait(signal, grace)
        if survived:
            survived = yield from members.signal_and_wait(SIGKILL, _PATIENCE)
    finally:
        lib.sid_stay(child, -1)
    if members.failure and members.scope is not None:  # the leader is a zombie, what is left of its group is not
        lib.sid_signal_group(child, SIGKILL)
    lib.sid_reap(child)
    if members.failure:
        raise members.failure
    return members.report(survived)


def wait_for_all(fds: set[int], seconds: float) -> None:
    """Sleep until all of `fds` are readable, or the time is over."""
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    left = len(fds)
    while (seconds := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(seconds * 1000):
            poll.unregister(fd)
            left -= 1
        if fds and not left:
            return


class _Members:
    """The living processes of the session or group that an unreaped child leads, or the child alone. Each is known by
    its pid and start.
    """

    def __init__(self, child: _Child) -> None:
        self._child = child
        self._pid = child.pid
        self._own = lib.sid_dup_pidfd(child)  # which outlives a child that is reaped elsewhere
        self.scope = self._find_scope()
        self._watched: set[int] = set()  # pidfds of those that were signalled
        self.failure: Exception | None = None  # why only the child itself could be ended
        self._known: set[int] = set()  # the pids of the last pass
        self._seen: set[tuple[int, int]] = set()  # all members that were met
        self._family: set[tuple[int, int]] = set()  # all descendants that were met
        self._refused: set[int] = set()

    def _find_scope(self) -> int | None:
        """None, "the child alone", also where the caller itself is in what the child leads."""
        session, group = lib.sid_getsid(self._pid), lib.sid_getpgid(self._pid)
        if session == -errno.ESRCH:  # reaped elsewhere
            session, group = self._pid if self._child.leads_session else 0, self._pid
        if session == self._pid != lib.sid_getsid(0):
            return lib.SID_SCOPE_SESSION
        if group == self._pid != lib.sid_getpgid(0):
            return lib.SID_SCOPE_GROUP
        return None

    def are_ours(self) -> bool:
        """Whether the child's number is still its own: it is not reaped, or its group lives on."""
        return bool(lib.sid_is_ours(self._child) or lib.sid_group_lives(self._own))

    def _look(self) -> dict[int, int]:
        """The pids of those that live now, the leader first, with their parents' pids. The child is asked of waitid,
        which does not reap it while it stays.
        """
        living = {self._pid: 0} if lib.sid_reap(self._child) == 0 else {}
        if self.scope is None:
            self._seen.add((self._pid, 0))
            return living
        for pid, parent, start in self._listed():
            if pid in living or pid != self._pid:  # the child itself may have ended meanwhile
                living[pid] = parent
                self._seen.add((pid, start))
        # Reaped elsewhere all the same, the child frees its number once the last of the members that we know has gone.
        if not self.are_ours() and self._known.isdisjoint(living):
            return {}
        return living

    def _listed(self) -> list[tuple[int, int, int]]:
        while True:
            count, rows = _table(lambda rows, room: lib.sid_members(self.scope or 0, self._pid, rows, room))
            if count in (-errno.EMFILE, -errno.ENFILE) and self._watched:
                self._unwatch()
                continue
            if count < 0:
                self.failure = error(count, "opendir", filename="/proc")
            return rows

    def signal_and_wait(self, signal: int, seconds: float) -> Steps[set[int]]:
        """Send `signal` to each member once, and wait until all have ended or the time is over; the pids of those left.

        One that is born meanwhile is its parent's affair, such as a command that cleans up; but it gets the signal too
        if that parent was none of ours any more, and so can't have seen to it.
        """
        deadline = time.monotonic() + seconds
        signalled: set[int] = set()
        is_first = True
        next_meeting = 0.0
        self._refused.clear()
        try:
            while living := self._look():
                if is_first and self.failure and self.scope is not None:  # nobody can tell who they are
                    lib.sid_signal_group(self._child, signal)
                    lib.sid_signal_group(self._child, _SIGCONT)
                if (begun := time.monotonic()) >= next_meeting:  # it asks of every process that there is
                    self._meet_family(living)  # while those live whose children they are
                    next_meeting = time.monotonic() + 20 * (time.monotonic() - begun)
                # The leader first: a shell is not to go on when its command has ended.
                for pid, parent in living.items():
                    if pid not in signalled and (is_first or signal == SIGKILL or parent not in living):
                        self._signal(pid, signal)
                        signalled.add(pid)
                is_first = False
                self._known = set(living)
                signalled &= self._known  # a number that comes up again later is a new process's
                if time.monotonic() >= deadline or (signal == SIGKILL and self._refused >= self._known):
                    return self._known
                # There may be new members in a moment.
                moment = 0.05 if self._watched else 0.002
                yield self._watched, min(moment, deadline - time.monotonic())
        finally:
            self._unwatch()
        return set()

    def _meet_family(self, members: dict[int, int]) -> None:
        """Add all descendants of `members`, and of the descendants that are known."""
        living: set[tuple[int, int]] = set()
        children: dict[int, list[tuple[int, int]]] = {}
        for pid, parent, start in _table(lib.sid_relations)[1]:
            living.add((pid, start))
            children.setdefault(parent, []).append((pid, start))
        waiting = [*members, *(pid for pid, _ in self._family & living)]
        while waiting:
            born = children.pop(waiting.pop(), [])
            self._family.update(born)
            waiting += [pid for pid, _ in born]

    def report(self, survived: set[int]) -> EndReport:
        """What has become of all that were met."""
        row = ffi.new("struct sid_relation *")
        escaped = {
            pid
            for pid, start in self._family | self._seen
            if start and pid not in survived and lib.sid_relation(pid, row) == 1 and row.start == start
        }
        ended = {pid for pid, _ in self._seen} - survived - escaped
        return EndReport(tuple(sorted(ended)), tuple(sorted(survived)), tuple(sorted(escaped)))

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
        elif pid == self._pid or self.scope is None:
            result = lib.sid_signal_child(self._child, signal)
            lib.sid_signal_child(self._child, _SIGCONT)
        elif fd == -errno.ESRCH:
            return
        else:  # no pidfds, or no file left to have one
            result = lib.sid_signal_member(self.scope, self._pid, pid, signal)
            lib.sid_signal_member(self.scope, self._pid, pid, _SIGCONT)
        if result == -errno.EPERM:
            self._refused.add(pid)

    def _open(self, pid: int) -> int:
        if pid == self._pid or self.scope is None:
            return lib.sid_dup_pidfd(self._child)
        if self._child.pidfd == lib.SID_PIDFD_NONE:
            return -errno.ENOSYS
        return lib.sid_open_member(self.scope, self._pid, pid)

    def _unwatch(self) -> None:
        while self._watched:
            os.close(self._watched.pop())

    def __del__(self) -> None:  # an exception may have come in between
        if hasattr(self, "_watched"):
            self._unwatch()
        if getattr(self, "_own", -1) >= 0:
            os.close(self._own)


def _table(fill: Callable[[Any, int], int]) -> tuple[int, list[tuple[int, int, int]]]:
    """What `fill` returns (how many rows there are, or -errno), and (pid, parent's pid, start) of each."""
    room = 256
    while True:
        rows = ffi.new("struct sid_relation[]", room)
        count = fill(rows, room)
        if count <= room:
            return count, [(row.pid, row.ppid, row.start) for row in rows[0 : max(count, 0)]]
        room = 2 * count
