"""Facts about processes and terminals, for hints. Linux; elsewhere every question raises OSError."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Stat:
    """A line of /proc/PID/stat, as far as it is needed. proc_pid_stat(5)"""

    __slots__ = ("pgid", "ppid", "sid", "tty")

    def __init__(self, pid: int) -> None:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
        # The command's name stands in parentheses and may hold anything.
        _, ppid, pgid, sid, tty = line[line.rindex(b")") + 2 :].split()[:5]
        self.ppid, self.pgid, self.sid, self.tty = int(ppid), int(pgid), int(sid), int(tty)


def processes() -> Iterator[tuple[int, Stat]]:
    """Every process that can be seen, by its pid."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                yield int(name), Stat(int(name))
            except OSError:  # it has ended meanwhile
                continue


def device(fd: int) -> int:
    """The terminal `fd`'s device number, as /proc/PID/stat writes it."""
    number = os.fstat(fd).st_rdev
    major, minor = os.major(number), os.minor(number)
    return (minor & 0xFF) | (major << 8) | ((minor & 0xFFF00) << 12)
