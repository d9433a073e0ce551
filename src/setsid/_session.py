"""Sessions: who is in them, and ending them."""

from __future__ import annotations

import errno
import os

from ._calls import as_int
from ._errors import SIGNAL, SystemCallError, error
from ._native import ffi, lib
from ._processes import Rows, boot_time, describe, look, look_at, look_fully, no_list, orphaned_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from ._ending import EndReport, Steps
    from ._processes import ProcessInfo

SIGTERM = 15
_MOST = 2**31 - 1


class Session:
    """A session, by its number: the one that has that number at this moment. If there is none, it has no processes, and
    ending it does nothing; that of a process is Session(getsid(pid)).

    It is remembered when that was, so that a stranger who gets the number later is told from it: by a process with the
    session's number (its leader, or who got that number since) that started later; and, when there is no such process,
    by having no member that was there then. Methods raise SystemCallError with ESRCH then. Each look that finds the
    session counts as such a moment, so a Session that is looked at from time to time outlives its leader and all
    its first members.

    Sessions are equal if their numbers are. 0 is no session, but the number by which show kernel threads, a process 1
    that has made none, and processes whose session is of another pid namespace; they can be looked at.

    Attributes:
        sid: the number, which is the pid of the leader, or was when it lived.
    """

    __slots__ = ("_sid", "_since")

    def __init__(self, sid: int) -> None:
        """`sid`: a session's number; ValueError if it can't be one."""
        sid = as_int(sid, "sid")
        if not 0 <= sid <= _MOST:
            raise ValueError(f"{sid} is no number of a session")
        self._sid = sid
        self._since = lib.sid_now()

    @property
    def sid(self) -> int:
        return self._sid

    # -- looking

    @property
    def leader(self) -> ProcessInfo | None:
        """The session's leader, a zombie too; None once it has been reaped."""
        now = lib.sid_now()
        rows, text = look_at(self.sid)
        return next(iter(describe(self._led(rows, now), text)), None)

    @property
    def ctty(self) -> str | None:
        """The path of the session's controlling terminal, as "/dev/pts/4", or None: without one, and always when the
        leader has ended, since the terminal is free then.
        """
        leader = self.leader
        return leader.tty if leader else None

    @property
    def foreground_pgid(self) -> int | None:
        """The process group in the foreground of the session's terminal; None without a terminal."""
        leader = self.leader
        return leader.foreground_pgid if leader else None

    def processes(self) -> list[ProcessInfo]:
        """The processes in the session, zombies too, by their pids; [] if there are none any more.

        One that starts during the look may be missed. Raises SystemCallError: ESRCH when the number is another
        session's by now, ENOENT without a /proc of this pid namespace. getsid(2), proc(5)
        """
        now = lib.sid_now()
        rows, text = look_fully(_SESSION, self.sid)
        return describe(self._checked(rows, now), text)

    def groups(self) -> dict[int, list[ProcessInfo]]:
        """The same by their process groups."""
        groups: dict[int, list[ProcessInfo]] = {}
        for process in self.processes():
            groups.setdefault(process.pgid, []).append(process)
        return groups

    def orphaned_groups(self) -> set[int]:
        """The session's orphaned process groups: those whose members' parents are all outside the session or in the
        same group, so that nobody could continue one that is stopped. POSIX, Orphaned Process Group
        """
        return orphaned_groups(self.processes())

    # -- signals

    def send_signal(self, signal: int, *, include_self: bool = False) -> None:
        """Send a signal to each process that is in the session now.

        `include_self`: send it to the caller's own session too, the caller last. Raises SystemCallError: ESRCH when no
        process of the session lives, or its number is another's by now; EPERM when none of them may be signalled;
        EINVAL. ValueError for the caller's own session unless `include_self`, for 0 and for one that holds process 1.
        pidfd_send_signal(2)
        """
        signal = as_int(signal, "signal")
        own = self._own_pid(include_self)
        now = lib.sid_now()
        results: dict[tuple[int, int], int] = {}
        # Until nobody is left who was there at the beginning, but whom the first look has missed.
        while True:
            rows = self._members()
            new = {(row.pid, row.start) for row in rows if row.lives and row.start <= now and row.pid != own}
            new -= results.keys()
            if not new:
                break
            for pid, start in sorted(new, key=lambda process: process[0] != self.sid):
                results[pid, start] = lib.sid_signal_member(_SESSION, self.sid, pid, signal, 0)
        if own:
            results[own, 0] = lib.sid_signal_member(_SESSION, self.sid, own, signal, 0)
        if 0 not in results.values():
            worst = min(results.values(), key=lambda result: result == -errno.ESRCH, default=-errno.ESRCH)
            if worst == -errno.ESRCH:
                raise SystemCallError(errno.ESRCH, "kill", hint=f"no process of session {self.sid} lives")
            raise error(worst, SIGNAL, signal)

    def end(self, grace: float = 5.0, *, signal: int = SIGTERM, include_self: bool = False) -> EndReport:
        """End all processes of the session, whatever their groups.

        Sends `signal` and SIGCONT, waits up to `grace` seconds for all to end, then sends SIGKILL until none is left,
        or they have not become fewer for 5 seconds. Returns which processes have `ended`, which have `survived` (those
        that the caller may not signal, or that are stuck in the kernel), and which living descendants have `escaped`,
        as by making a session of their own. The report is empty when the session has ended already. Interrupted by an
        exception of a signal handler, it sends SIGKILL at once, and raises it when that is done.

        `include_self`: the session may be the caller's own; then all others are ended first, and the caller gets
        `signal`, as the last one, and is a survivor if it goes on. Raises ValueError for the caller's own session
        otherwise, for 0 and for one that holds process 1, for an unknown signal; SystemCallError: ESRCH when the number
        is another session's by now, ENOENT without a /proc of this pid namespace.
        """
        from ._ending import EndReport, drive, ending_session

        own, since = 0, -1

        def begin(grace: float, signal: int) -> Steps[EndReport]:
            nonlocal own, since
            if since < 0:
                own = self._own_pid(include_self)
                self._members()
                since = self._since
            return ending_session(self.sid, since, own, grace, signal)

        signal = as_int(signal, "signal")
        report = drive(begin, grace, signal)
        if own:
            os.kill(own, signal)
            report = EndReport(report.ended, tuple(sorted((*report.survived, own))), report.escaped)
        return report

    def _own_pid(self, include_self: bool) -> int:
        """The caller's pid if it is in the session; else 0. ValueError if it must not be."""
        if self.sid != lib.sid_getsid(0):
            return 0
        if not include_self:
            raise ValueError(f"session {self.sid} is the caller's own; say include_self=True if you mean it")
        return os.getpid()

    def _members(self) -> Rows:
        """What may be signalled: ValueError for what never is."""
        if self.sid == 0:
            raise ValueError("0 is no session, but what the kernel and other pid namespaces show by that number")
        now = lib.sid_now()
        rows = self._checked(look(_SESSION, self.sid), now, to_signal=True)
        if any(row.pid == 1 for row in rows):
            raise ValueError(f"session {self.sid} holds process 1, with which the system or the container ends")
        return rows

    def _led(self, rows: Rows, now: int) -> Rows:
        """What was found under the session's number, if it leads the session."""
        if rows and self.sid and rows[0].sid == self.sid:
            return self._checked(rows, now)
        self._checked(look(_SESSION, self.sid), now)  # it has none, or is a stranger's
        return Rows(rows.memory, 0)

    def _checked(self, rows: Rows, now: int, *, to_signal: bool = False) -> Rows:
        """What was found from `now` on; SystemCallError if it is a stranger's.

        Of those that are hidden the start is not known: they are shown, but prove nothing when it comes `to_signal`.
        """
        since = self._since
        leader = next((row for row in rows if row.pid == self.sid), None)
        if self.sid == 0:  # which is nobody's
            return rows
        if leader and leader.start > since:
            self._refuse("has ended, and its number is another session's")
        if rows and not any(row.start <= since and (row.state or not to_signal) for row in rows):
            self._refuse("can't be told from a later one of that number: none of its processes was there before")
        if rows:
            self._since = max(self._since, now)
        return rows

    def _refuse(self, reason: str) -> NoReturn:
        hint = f"session {self.sid} as it was known {reason}; make a new Session if that is meant"
        raise SystemCallError(errno.ESRCH, "getsid", hint=hint)

    # -- identity

    def __eq__(self, other: object) -> bool:
        return self.sid == other.sid if isinstance(other, Session) else NotImplemented

    def __hash__(self) -> int:
        return hash((Session, self.sid))

    def __repr__(self) -> str:
        return f"Session({self.sid})"

    def __reduce__(self) -> tuple[object, ...]:
        return _restored, (type(self), self.sid, self._since, boot_time())


def _restored(kind: type[Session], sid: int, since: int, boot: float) -> Session:
    """A pickled one. After a reboot all of that number are strangers."""
    session = kind(sid)
    session._since = since if abs(boot - boot_time()) < 10 else 0
    return session


Session.__module__ = "setsid"
_SESSION = lib.SID_SCOPE_SESSION


def sessions() -> list[Session]:
    """All sessions of this pid namespace that can be seen, by their numbers; those of zombies too.

    Raises SystemCallError: ENOENT without a /proc of this pid namespace. getsid(2), proc(5)
    """
    room = 1024
    while True:
        sids = ffi.new("int[]", room)
        count = lib.sid_sessions(sids, room)
        if count < 0:
            raise no_list(count)
        if count <= room:
            break
        room = 2 * count
    return [Session(sid) for sid in sorted(set(ffi.unpack(sids, count))) if sid]
