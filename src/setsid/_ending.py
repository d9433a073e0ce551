"""Ending sessions, groups and children, in steps: between them the caller waits in the kernel or in an event loop."""

from __future__ import annotations

import errno
import os
import select
import signal as signals
import time
from contextlib import suppress
from functools import partial

from ._fields import known_signals
from ._native import ffi, lib
from ._processes import look, no_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import Any, TypeAlias, TypeVar

    from ._native import _Child
    from ._process import Process
    from ._processes import Rows

    T = TypeVar("T")
    # Yields (pidfds, seconds): wait until all of them are readable, at most that long.
    Steps: TypeAlias = Generator[tuple[set[int], float], None, T]

SIGKILL = signals.SIGKILL
_SIGCONT = signals.SIGCONT
_STOPPED = ord("T")
# How long SIGKILL is given to work, in seconds: a process in an uninterruptible sleep can't be waited for for ever.
_PATIENCE = 5.0
# How many pidfds are waited on at once, at most this part of all files: the caller may need some too.
_MOST_WATCHED = 128
_SHARE = 4
_NO_FILES = (-errno.EMFILE, -errno.ENFILE)
# Within this time, in seconds, no session's number gets free and comes up again.
_TURN_OF_PIDS = 1.0


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


def drive(
    begin: Callable[[float, int], Steps[EndReport]],
    grace: float,
    signal: int,
    wait: Callable[[set[int], float], object] | None = None,
) -> EndReport:
    """Take the steps that `begin(grace, signal)` gives. `wait` waits between them."""
    check(grace, signal)
    steps = None
    wait = wait or wait_for_all
    try:
        steps = begin(grace, signal)
        while True:
            wait(*next(steps))
    except StopIteration as stop:
        report: EndReport = stop.value
        return report
    except BaseException:
        if steps:
            steps.close()
        with suppress(OSError, ValueError):  # what came in between is worth more; `begin` refuses anew what it refused
            _at_once(begin)
        raise


def _at_once(begin: Callable[[float, int], Steps[EndReport]]) -> None:
    """What an ending that is interrupted comes to: no process is left behind."""
    for fds, seconds in begin(0.0, SIGKILL):
        wait_for_all(fds, seconds)


def end_process(
    process: Process, grace: float, signal: int, wait: Callable[[set[int], float], object] | None = None
) -> EndReport:
    """Process.end. `wait` waits between the steps."""
    return drive(lambda grace, signal: ending(process, grace, signal), grace, signal, wait)


def end_at_once(process: Process) -> None:
    """End a process, and what it leads, by SIGKILL."""
    _at_once(lambda grace, signal: ending(process, grace, signal))


def ending(process: Process, grace: float, signal: int) -> Steps[EndReport]:
    """The steps of Process.end. The child is reaped last, since nobody else gets a zombie's number."""
    child = process._child
    if child.owner != os.getpid():  # it was never made, or by the process of which this one is a forked copy
        return EndReport((), ())
    holder = _holder(child)
    members = _ChildsMembers(child)
    try:
        if not members.are_ours():  # somebody has reaped it, so what bears its number may be another's
            lib.sid_reap(child)
            return EndReport((), ())
        try:
            lib.sid_stay_for(child, holder)  # another thread that waits now must not reap it and so free the number
            survived = yield from members.end(signal, grace)
        finally:
            lib.sid_stay_no_longer(child, holder)
        members.kill_unlisted()
        lib.sid_reap(child)
        if members.failure:
            raise members.failure
        return members.report(survived)
    finally:
        members.close()


def _holder(child: _Child) -> Any:
    """For sid_stay_for and sid_stay_no_longer. An exception may come before the latter: then the end of the holder does
    it, and runs no Python code.
    """
    return ffi.gc(ffi.new("int *"), partial(lib.sid_stay_no_longer, child))


def ending_session(sid: int, since: int, spared: int, grace: float, signal: int) -> Steps[EndReport]:
    """The steps of Session.end: of the session that had the number `sid` at the time `since`, without `spared`."""
    members = _SessionsMembers(sid, since, spared)
    survived = yield from members.end(signal, grace)
    if members.failure:
        raise members.failure
    return members.report(survived)


def ending_detached(child: _Child, since: int, grace: float, signal: int) -> Steps[EndReport]:
    """The steps of DetachedProcess.end: of the session that had child.session as its number at the time `since`, and of
    the process itself, which gets the signal at once if it has left that, and the time that the session has left.
    """
    deadline = time.monotonic() + grace
    alone = _DetachedAlone(child)
    if lib.sid_is_alive(child) == 1 and lib.sid_getsid(child.pid) != child.session:
        alone.signal_first(signal)
    members = _DetachedsMembers(child, since)
    reports = [members.report((yield from members.end(signal, grace)))]
    if lib.sid_is_alive(child) == 1 or alone.is_signalled:
        survived = yield from alone.end(signal, max(deadline - time.monotonic(), 0.0))
        reports.append(alone.report(survived))
    if members.failure:
        raise members.failure
    return _united(reports)


def end_detached_at_once(child: _Child, since: int) -> None:
    """End a detached process and its session by SIGKILL."""
    _at_once(lambda grace, signal: ending_detached(child, since, grace, signal))


def ending_job(
    pgid: int, processes: Sequence[Process], is_taken: Callable[[], bool], grace: float, signal: int
) -> Steps[EndReport]:
    """The steps of Job.end: of group `pgid`, as long as it `is_taken` by the job, and of those of its `processes` that
    have left it, each as Process.end does. These get the signal at once, and the time that the group has left. If the
    caller is in the group, all count as such.
    """
    children = [process._child for process in processes]
    if any(child.owner != os.getpid() for child in children):  # made by the process of which this one is a forked copy
        return EndReport((), ())
    deadline = time.monotonic() + grace
    scope = None if lib.sid_getpgid(0) == pgid else lib.SID_SCOPE_GROUP
    holders = [(child, _holder(child)) for child in children]
    try:
        for held in holders:
            lib.sid_stay_for(*held)
        left = [
            process for process in processes if not _is_in(scope, pgid, process) and lib.sid_reap(process._child) == 0
        ]
        for process in left:
            lib.sid_signal_child(process._child, signal)
            lib.sid_signal_child(process._child, _SIGCONT)
        members = _JobsMembers(scope, pgid, children, is_taken)
        reports = [members.report((yield from members.end(signal, grace)))]
        if members.failure:
            members.signal_all(SIGKILL)
        for process in processes:
            if lib.sid_reap(process._child) == 0:
                reports.append((yield from ending(process, max(deadline - time.monotonic(), 0.0), signal)))
            if process in left and lib.sid_reap(process._child):
                reports.append(EndReport((process.pid,), ()))
    finally:
        for held in holders:
            lib.sid_stay_no_longer(*held)
            lib.sid_reap(held[0])
    if members.failure:
        raise members.failure
    return _united(reports)


def _is_in(scope: int | None, pgid: int, process: Process) -> bool:
    return scope is not None and lib.sid_getpgid(process.pid) == pgid


def _united(reports: Sequence[EndReport]) -> EndReport:
    """What came of endings that followed one another: who has escaped one may have met the next."""
    ended = {pid for report in reports for pid in report.ended}
    survived = {pid for report in reports for pid in report.survived} - ended
    escaped = {pid for report in reports for pid in report.escaped} - ended - survived
    return EndReport(tuple(sorted(ended)), tuple(sorted(survived)), tuple(sorted(escaped)))


def end_job_at_once(pgid: int, processes: Sequence[Process], is_taken: Callable[[], bool]) -> None:
    """End a job by SIGKILL, and reap its processes; also when that is interrupted."""
    drive(lambda grace, signal: ending_job(pgid, processes, is_taken, grace, signal), 0.0, SIGKILL)


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


def _closing(count: int) -> Any:
    """A C array of `count` and so many file descriptors, none yet; they are closed when it goes."""
    # Not int[]: of that ffi.gc forgets the length.
    return ffi.gc(ffi.new(f"int[{1 + count}]", [count, *[-1] * count]), lib.sid_close_counted)


class Members:
    """The living processes of a session or process group. Each is known by its pid and start."""

    def __init__(self, scope: int | None, number: int, spared: int = 0) -> None:
        """`scope` is an enum sid_scope; None: nobody is one. `spared` is a pid that is left alone, member or not."""
        self.scope = scope
        self._number = number
        self._spared = spared
        self.failure: Exception | None = None  # why it is not known who they are
        self._memory = _closing(_MOST_WATCHED)
        self._pidfds = self._memory + 1  # of those whose end is waited for
        self._places: dict[int, int] = {}  # where each one's is, by its pid
        self._room = min(_MOST_WATCHED, max(os.sysconf("SC_OPEN_MAX") // _SHARE, 1))
        self._known: set[int] = set()  # the pids of the last pass
        self._stopped_jobs: set[int] = set()  # those that are stopped, in another group than their parents
        self._seen: set[tuple[int, int]] = set()  # all members that were met
        self._family: set[tuple[int, int]] = set()  # all descendants that were met
        self._next_meeting = 0.0
        self._refused: set[int] = set()  # those that may not be signalled

    def _are_the_same(self, living: Callable[[], set[tuple[int, int]]]) -> bool:
        """Whether the number, of which those that `living` gives are members, is not another session's or group's."""
        raise NotImplementedError

    def end(self, signal: int, grace: float) -> Steps[set[int]]:
        """Send `signal`, wait for `grace` seconds, send SIGKILL to those left; the pids of those left then."""
        try:
            if signal != SIGKILL:
                yield from self._signal_and_wait(signal, grace)
            # Always: those who fork and end faster than they are listed are met by the passes that kill alone.
            return (yield from self._kill_and_wait(_PATIENCE))
        finally:
            self._places.clear()
            self._close(0, _MOST_WATCHED)

    def _signal_and_wait(self, signal: int, seconds: float) -> Steps[None]:
        """Send `signal` to each member once, and wait until all have ended or the time is over.

        One that is born meanwhile is its parent's affair, such as a command that cleans up; but it gets the signal too
        if that parent was none of ours any more, and so can't have seen to it.
        """
        deadline = time.monotonic() + seconds
        signalled: set[int] = set()
        is_first = True
        while living := self._look():
            self._meet_family(living)
            for pid, parent in living.items():
                if pid not in signalled and (is_first or parent not in living):
                    self._signal(pid, signal)
                    signalled.add(pid)
            if is_first and self.failure:
                self._signal_unlisted(signal)
            is_first = False
            self._known = set(living)
            signalled &= self._known  # a number that comes up again later is a new process's
            if time.monotonic() >= deadline:
                return
            yield self._watch(living), min(self._moment(), deadline - time.monotonic())

    def _kill_and_wait(self, seconds: float) -> Steps[set[int]]:
        """Send SIGKILL to all members until none is left, or they have not become fewer for so long; who is left."""
        living = self._look()
        self._known = set(living)
        if living:
            self._next_meeting = 0.0  # the last time that the parents live
            self._meet_family(living)
        deadline = time.monotonic() + seconds
        looks_empty = not living
        fewest = None
        while True:
            self._refused.clear()
            killed = self._kill()
            if not killed and looks_empty:
                return set()
            looks_empty = not killed  # one that is born as its parent ends may be missed, but not twice
            if killed:
                self._known = killed
                if fewest is None or len(killed) < fewest:
                    fewest, deadline = len(killed), time.monotonic() + seconds
                if time.monotonic() >= deadline or self._refused >= killed:
                    return killed
                yield self._watch(killed), min(self._moment(), max(deadline - time.monotonic(), 0))

    def _moment(self) -> float:
        """How long to wait until it is looked who is there now, in seconds: there may be new members."""
        return 0.05 if self._places else 0.002

    # -- who they are

    def _look(self) -> dict[int, int]:
        """The pids of those that live now, with their parents' pids, in the order in which to signal them.

        The leader before others: a shell is not to go on when its command has ended. But stopped jobs before it: their
        groups are orphaned by its end, and the kernel sends such a group SIGHUP and has it go on.
        """
        rows = self._listed()
        living = {pid: parent for pid, parent, _ in rows}
        if not self._are_the_same(lambda: {(pid, start) for pid, _, start in rows}):
            return {}
        self._seen.update((pid, start) for pid, _, start in rows)
        order = [*self._stopped_jobs, self._number, *living]
        return {pid: living[pid] for pid in order if pid in living}

    def _listed(self) -> list[tuple[int, int, int]]:
        """(pid, parent's pid, start) of each that lives now."""
        if self.scope is None:
            return []
        try:
            rows = self._rows(self.scope, self._number)
        except OSError as error:
            self.failure = error.with_traceback(None)  # which would hold this object
            return []
        groups = {row.pid: row.pgid for row in rows}
        self._stopped_jobs = {
            row.pid for row in rows if row.state == _STOPPED and groups.get(row.ppid, row.pgid) != row.pgid
        }
        return [(row.pid, row.ppid, row.start) for row in rows if row.lives and row.pid != self._spared]

    def _rows(self, scope: int, number: int) -> Rows:
        try:
            return look(scope, number)
        except OSError as error:
            if error.errno is None or not self._makes_room(-error.errno):
                raise
            return look(scope, number)

    def _meet_family(self, members: Iterable[int]) -> None:
        """Add all descendants of `members`, and of the descendants that are known, to the family, while their parents
        live. That asks of every process that there is, so it is not done all the time.
        """
        if (begun := time.monotonic()) < self._next_meeting:
            return
        living: set[tuple[int, int]] = set()
        children: dict[int, list[tuple[int, int]]] = {}
        with suppress(OSError):
            for row in self._rows(lib.SID_SCOPE_ALL, 0):
                if row.lives:
                    living.add((row.pid, row.start))
                    children.setdefault(row.ppid, []).append((row.pid, row.start))
        waiting = [*members, *(pid for pid, _ in self._family & living)]
        while waiting:
            born = children.pop(waiting.pop(), [])
            self._family.update(born)
            waiting += [pid for pid, _ in born]
        self._next_meeting = time.monotonic() + 20 * (time.monotonic() - begun)

    def report(self, survived: set[int]) -> EndReport:
        """What has become of all that were met."""
        row = ffi.new("struct sid_process *")
        escaped = {
            pid
            for pid, start in self._family | self._seen
            if start
            and pid not in survived
            and pid != self._spared
            and lib.sid_process(pid, row, ffi.NULL) == 1
            and row.lives
            and row.start == start
        }
        ended = {pid for pid, _ in self._seen} - survived - escaped
        return EndReport(tuple(sorted(ended)), tuple(sorted(survived)), tuple(sorted(escaped)))

    def _still_living(self) -> set[tuple[int, int]]:
        """Those of the last pass that live."""
        row = ffi.new("struct sid_process *")
        return {(pid, row.start) for pid in self._known if lib.sid_process(pid, row, ffi.NULL) == 1 and row.lives}

    # -- signals

    def _signal(self, pid: int, signal: int) -> None:
        """Signal one member, and let it run to see the signal."""
        lib.sid_signal_member(self.scope or 0, self._number, pid, signal, 1)

    def _signal_unlisted(self, signal: int) -> None:
        """Signal whom one can when nobody can tell who the members are."""

    def _kill(self) -> set[int]:
        """Send SIGKILL to each member as it is met, so that one that forks does not get away; the pids of those."""
        if self.scope is None or not self._are_the_same(self._still_living):
            return set()
        room = 256
        while True:
            rows = ffi.new("struct sid_process[]", room)
            count = lib.sid_kill_members(self.scope, self._number, self._spared, rows, room)
            if self._makes_room(count):
                continue
            met = rows[0 : min(max(count, 0), room)]
            self._seen.update((row.pid, row.start) for row in met)
            if count <= room:
                break
            room = 2 * count
        if count < 0:
            self.failure = no_list(count)
        self._refused.update(row.pid for row in met if row.result == -errno.EPERM)
        return {row.pid for row in met}

    # -- the wait for their end

    def _watch(self, pids: Iterable[int]) -> set[int]:
        """Have a pidfd of each of `pids` for which there is one, up to a number, and of nobody else."""
        wanted = dict.fromkeys(pids)
        for pid in self._places.keys() - wanted.keys():
            self._close(self._places.pop(pid))
        free = iter({*range(self._room)} - {*self._places.values()})
        for pid in wanted.keys() - self._places.keys():
            place = next(free, None)
            if place is None:
                break
            result = self._open(pid, self._pidfds + place)
            if result == 0:
                self._places[pid] = place
            elif result in _NO_FILES:
                self._makes_room(result)
                break
        return {self._pidfds[place] for place in self._places.values()}

    def _makes_room(self, result: int) -> bool:
        """Whether `result` tells that there is no file left, but by closing the pidfds there are now."""
        if result not in _NO_FILES or not self._places:
            return False
        self._room = max(len(self._places) // 2, 1)
        self._watch(())
        return True

    def _open(self, pid: int, pidfd: Any) -> int:
        return lib.sid_watch_member(self.scope or 0, self._number, pid, pidfd)

    def _close(self, first: int, count: int = 1) -> None:
        lib.sid_close_all(self._pidfds + first, count)


class _ChildsMembers(Members):
    """Those of the session or group that an unreaped child leads, or the child alone."""

    def __init__(self, child: _Child) -> None:
        self._child = child
        self._own = _closing(1)  # a pidfd, which outlives a child that is reaped elsewhere
        lib.sid_watch_child(child, self._own + 1)
        super().__init__(_scope_of(child), child.pid)

    def close(self) -> None:
        """Close the pidfd, which would stay until the next garbage collection on PyPy."""
        lib.sid_close_all(self._own + 1, 1)

    def are_ours(self) -> bool:
        """Whether the child's number is still its own: it is not reaped, or its group lives on."""
        return bool(lib.sid_is_ours(self._child) or lib.sid_group_lives(self._own[1]))

    def _are_the_same(self, living: Callable[[], set[tuple[int, int]]]) -> bool:
        # Reaped elsewhere all the same, the child frees its number once the last of the members that we know has gone.
        return self.are_ours() or not self._seen.isdisjoint(living())

    def _listed(self) -> list[tuple[int, int, int]]:
        """The child is asked of waitid, which does not reap it while it stays."""
        lives = lib.sid_reap(self._child) == 0
        rows = {row[0]: row for row in super()._listed()}
        own = rows.pop(self._number, (self._number, 0, 0))
        return [own, *rows.values()] if lives else [*rows.values()]

    def _signal(self, pid: int, signal: int) -> None:
        if pid != self._number:
            super()._signal(pid, signal)
            return
        lib.sid_signal_child(self._child, signal)
        lib.sid_signal_child(self._child, _SIGCONT)

    def _signal_unlisted(self, signal: int) -> None:
        if self.scope is not None:
            lib.sid_signal_group(self._child, signal, 0)
            lib.sid_signal_group(self._child, _SIGCONT, 0)

    def kill_unlisted(self) -> None:
        """The leader is a zombie, what is left of its group is not."""
        if self.failure:
            self._signal_unlisted(SIGKILL)

    def _kill(self) -> set[int]:
        result = lib.sid_signal_child(self._child, SIGKILL)
        killed = super()._kill() - {self._number}
        if lib.sid_reap(self._child) == 0:
            killed.add(self._number)
            if result == -errno.EPERM:
                self._refused.add(self._number)
        return killed

    def _open(self, pid: int, pidfd: Any) -> int:
        if pid == self._number:
            return lib.sid_watch_child(self._child, pidfd)
        return super()._open(pid, pidfd)


def _scope_of(child: _Child) -> int | None:
    """What a child leads; None, the child alone, also where the caller itself is in that."""
    session, group = lib.sid_getsid(child.pid), lib.sid_getpgid(child.pid)
    if session == -errno.ESRCH:  # reaped elsewhere
        session, group = child.pid if child.leads_session else 0, child.pid
    if session == child.pid != lib.sid_getsid(0):
        return lib.SID_SCOPE_SESSION
    if group == child.pid != lib.sid_getpgid(0):
        return lib.SID_SCOPE_GROUP
    return None


class _SessionsMembers(Members):
    """Those of any session: it need not be a child's."""

    def __init__(self, sid: int, since: int, spared: int) -> None:
        super().__init__(lib.SID_SCOPE_SESSION, sid, spared)
        self._since = since
        self._looked = time.monotonic()

    def _are_the_same(self, living: Callable[[], set[tuple[int, int]]]) -> bool:
        since_last_look, self._looked = time.monotonic() - self._looked, time.monotonic()
        leader = ffi.new("struct sid_process *")
        # A hidden one has no state, and nothing is known of it.
        if lib.sid_process(self._number, leader, ffi.NULL) == 1 and leader.state:
            return bool(leader.start <= self._since)
        return since_last_look < _TURN_OF_PIDS or not self._seen.isdisjoint(living())


class _DetachedsMembers(_SessionsMembers):
    """Those of the session that a detached process was started in, for as long as that is known to be the one."""

    def __init__(self, child: _Child, since: int) -> None:
        super().__init__(child.session, since, 0)
        self._child = child

    def _are_the_same(self, living: Callable[[], set[tuple[int, int]]]) -> bool:
        return lib.sid_session_is_own(self._child) == 1 or super()._are_the_same(living)


class _DetachedAlone(Members):
    """A detached process that has left its session."""

    def __init__(self, child: _Child) -> None:
        super().__init__(None, child.pid)
        self._child = child
        self.is_signalled = False

    def signal_first(self, signal: int) -> None:
        """Send the first signal now."""
        self._look()
        self._signal(self._number, signal)
        self.is_signalled = True

    def _are_the_same(self, living: Callable[[], set[tuple[int, int]]]) -> bool:
        return True

    def _listed(self) -> list[tuple[int, int, int]]:
        row = ffi.new("struct sid_process *")
        known = lib.sid_process(self._number, row, ffi.NULL) == 1
        # Afterwards, so that it was the process's number when that was asked for.
        if lib.sid_is_alive(self._child) != 1:
            return []
        return [(self._number, row.ppid if known else 0, row.start if known else 0)]

    def _signal(self, pid: int, signal: int) -> None:
        if not self.is_signalled:
            lib.sid_signal_child(self._child, signal)
            lib.sid_signal_child(self._child, _SIGCONT)

    def _kill(self) -> set[int]:
        if lib.sid_is_alive(self._child) != 1:
            return set()
        if lib.sid_signal_child(self._child, SIGKILL) < 0:
            self._refused.add(self._number)
        return {self._number}

    def _open(self, pid: int, pidfd: Any) -> int:
        return lib.sid_watch_child(self._child, pidfd)


class _JobsMembers(Members):
    """Those of the process group of a job, whose number the job's unreaped children keep taken."""

    def __init__(self, scope: int | None, pgid: int, children: Sequence[_Child], is_taken: Callable[[], bool]) -> None:
        super().__init__(scope, pgid)
        self._children = children
        self._is_taken = is_taken

    def _are_the_same(self, living: Callable[[], set[tuple[int, int]]]) -> bool:
        return self._is_taken() or not self._seen.isdisjoint(living())

    def signal_all(self, signal: int) -> None:
        """Signal the whole group: one child in it that is not reaped is enough."""
        for child in self._children:
            if lib.sid_signal_group(child, signal, self._number) == 0:
                return

    def _signal_unlisted(self, signal: int) -> None:
        self.signal_all(signal)
        self.signal_all(_SIGCONT)
