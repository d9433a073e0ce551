"""The sessions that there are, as lssid and killsid see them: found in one pass over all processes."""

from __future__ import annotations

import os

from .._processes import all_processes, orphaned_groups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._processes import ProcessInfo


class Seen:
    """A session as it was seen.

    Attributes:
        sid: its number; 0 for all processes whose session is of another pid namespace, or that are in none.
        processes: who is in it, by their pids: the leader first where pids have not begun anew since.
    """

    __slots__ = ("processes", "sid")

    def __init__(self, sid: int) -> None:
        self.sid = sid
        self.processes: list[ProcessInfo] = []

    @property
    def head(self) -> ProcessInfo:
        """The leader, or who stands for it."""
        return next((process for process in self.processes if process.pid == self.sid), self.processes[0])

    @property
    def tty(self) -> str | None:
        """The path of its controlling terminal."""
        return next((process.tty for process in self.processes if process.tty), None)

    @property
    def foreground_pgid(self) -> int | None:
        """The process group in the foreground of its terminal; None without a terminal."""
        return next((process.foreground_pgid for process in self.processes if process.tty), None)

    def groups(self) -> dict[int, list[ProcessInfo]]:
        """Its processes by their groups, the leader's group first, and each group's leader first."""
        if len(self.processes) == 1:
            return {self.processes[0].pgid: self.processes}
        groups: dict[int, list[ProcessInfo]] = {}
        for process in sorted(self.processes, key=lambda it: (it.pgid != self.sid, it.pgid, it.pid != it.pgid)):
            groups.setdefault(process.pgid, []).append(process)
        return groups

    def orphaned(self) -> set[int]:
        """Its orphaned process groups; none in 0, which is no session."""
        return orphaned_groups(self.processes) if self.sid else set()


class System:
    """All processes, and the sessions of all but kernel threads. Raises OSError without a /proc of ours."""

    def __init__(self) -> None:
        self.processes = all_processes()
        sessions: dict[int, Seen] = {}
        for process in self.processes:
            if process.is_kernel_thread:
                continue
            seen = sessions.get(process.sid)
            if seen is None:
                seen = sessions[process.sid] = Seen(process.sid)
            seen.processes.append(process)
        self.sessions = {sid: sessions[sid] for sid in sorted(sessions)}

    def process(self, pid: int) -> ProcessInfo | None:
        """The process of that number, a kernel thread too."""
        return next((process for process in self.processes if process.pid == pid), None)

    def on_terminal(self, path: str | None) -> Iterator[Seen]:
        """The sessions that have the terminal `path`; None: those that have none."""
        return (seen for sid, seen in self.sessions.items() if sid and seen.tty == path)


def terminal_path(name: str) -> str:
    """The path that is meant by "pts/4", "/dev/pts/4", or a link to that."""
    return os.path.realpath(os.path.join("/dev", name))


def number(text: str) -> int | None:
    """A process's or session's number; None if `text` is none."""
    # Of thousands of digits int() makes nothing.
    return int(text) if text.isascii() and text.isdigit() and len(text) < 1000 else None
