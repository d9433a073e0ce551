"""What is known of processes: ProcessInfo, and the one place where it is read from C."""

from __future__ import annotations

import os
import sys
import time

from ._errors import error
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NamedTuple

    from ._errors import SystemCallError

    class _Fields(NamedTuple):
        pid: int
        ppid: int
        pgid: int
        sid: int
        tty: str | None
        state: str
        comm: str
        args: tuple[str, ...]
        start_time: float
        foreground_pgid: int | None
        uid: int | None
        is_kernel_thread: bool

else:
    from collections import namedtuple  # `typing` is slow to import

    _Fields = namedtuple(
        "_Fields", "pid ppid pgid sid tty state comm args start_time foreground_pgid uid is_kernel_thread"
    )


class ProcessInfo(_Fields):
    """What was known of a process when it was looked at. proc_pid_stat(5)

    Attributes:
        pid, ppid, pgid, sid: its number, its parent's, its process group's and its session's; 0 for one of another pid
            namespace.
        tty: the path of its controlling terminal, as "/dev/pts/4"; None without one.
        state: a letter: R runs, S sleeps, D sleeps in the kernel and hears no signal, T stopped, t stopped by a
            debugger, Z zombie, I idle kernel thread; "?" where the system hides what others run (the mount option
            hidepid), and then `ppid` is 0 and all that follows is empty, `uid` apart with hidepid=1.
        comm: the name of its program, or what it has made of that, at most 15 bytes (more for a kernel thread).
        args: the program and its arguments, or what it has written over them, of which 256 KiB are read; () for a
            zombie, a kernel thread, where it has erased them, and for a moment when a program begins.
        start_time: when it was made, in seconds since 1970 by the clock of now.
        foreground_pgid: its terminal's foreground process group; None without a terminal.
        uid: its effective user.
        is_kernel_thread: it runs no program.

    Bytes that are no text in the file system's encoding come as surrogates, as `os.fsdecode` has them.
    """

    __slots__ = ()


ProcessInfo.__module__ = "setsid"

_ENCODING = sys.getfilesystemencoding()
_NO_USER = 0xFFFFFFFF
_UNKNOWN = ord("?")


class Rows(list["Any"]):
    """A struct sid_process for each process, and the memory in which they are: hold it as long as you read one."""

    __slots__ = ("memory",)

    def __init__(self, memory: Any, count: int) -> None:
        super().__init__(memory[0:count])
        self.memory = memory


def no_list(result: int) -> SystemCallError:
    """The exception for -errno instead of a list of processes."""
    if sys.platform == "linux":
        return error(result, "opendir", filename="/proc")
    return error(result, "sysctl")


def look(scope: int, number: int = 0, text: Any = ffi.NULL) -> Rows:
    """The processes of an enum sid_scope, by their pids. Raises SystemCallError without a /proc of ours.

    `text` is a struct sid_text for their arguments; what was found is of use only if these had room.
    """
    room = 256 if scope != lib.SID_SCOPE_ALL else 4096
    while True:
        rows = ffi.new("struct sid_process[]", room)
        if text:
            text.used = 0
        count = lib.sid_processes(scope, number, rows, room, text)
        if count < 0:
            raise no_list(count)
        if count <= room:
            return Rows(rows, count)
        room = 2 * count


def look_fully(scope: int, number: int = 0) -> tuple[Rows, bytes]:
    """The same with users and arguments, which are in the bytes."""
    room = 1 << 18
    while True:
        text, memory = _text(room)
        rows = look(scope, number, text)
        if text.used <= room:
            return rows, ffi.unpack(memory, text.used)
        room *= 4


def look_at(pid: int) -> tuple[Rows, bytes]:
    """The same of one process, if it is there."""
    text, memory = _text(1 << 18)  # that much is read of one
    rows = ffi.new("struct sid_process[]", 1)
    count = lib.sid_process(pid, rows, text)
    if count < 0:
        raise no_list(count)
    return Rows(rows, count), ffi.unpack(memory, text.used)


def _text(room: int) -> tuple[Any, Any]:
    """A struct sid_text and its memory, which it does not hold."""
    memory = _allocate("char[]", room)
    return ffi.new("struct sid_text *", {"bytes": memory, "room": room}), memory


_allocate = ffi.new_allocator(should_clear_after_alloc=False)


def describe(rows: Rows, text: bytes) -> list[ProcessInfo]:
    """What `look_fully` has found, for users."""
    terminals: dict[int, str | None] = {0: None}
    boot = boot_time()
    found = []
    for row in rows:
        tty, user, start, tpgid, size = row.tty, row.user, row.start, row.tpgid, row.size
        if tty not in terminals:
            terminals[tty] = terminal_path(tty)
        arguments: tuple[str, ...] = ()
        if size:
            begin = row.arguments
            line = text[begin : begin + size].decode(_ENCODING, "surrogateescape")
            arguments = tuple(line.removesuffix("\0").split("\0"))
        found.append(
            ProcessInfo(
                row.pid,
                row.ppid,
                row.pgid,
                row.sid,
                terminals[tty],
                chr(row.state or _UNKNOWN),
                ffi.string(row.command).decode(_ENCODING, "surrogateescape"),
                arguments,
                boot + start / 1e9 if row.state else 0.0,
                None if tpgid < 0 else tpgid,
                None if user == _NO_USER else user,
                bool(row.is_kernels),
            )
        )
    return found


def all_processes() -> list[ProcessInfo]:
    """All processes that can be seen, kernel threads and zombies too, by their pids. Raises as `look` does."""
    return describe(*look_fully(lib.SID_SCOPE_ALL))


def terminal_path(device: int) -> str | None:
    """The path of a terminal by its device's number; None where the system has no name for it."""
    path = ffi.new("char[]", 256)
    size = lib.sid_terminal_path(device, path, 256)
    return ffi.string(path).decode() if size else None


# When the clock of sid_now began, as last told; so that the same process has the same start at each look.
_boot = 0.0


def boot_time() -> float:
    """When the clock of sid_now began, in seconds since 1970."""
    global _boot
    # The one of three looks at both clocks in which the least has come in between.
    before, wall, after = min(
        ((lib.sid_now(), time.time(), lib.sid_now()) for _ in range(3)), key=lambda times: times[2] - times[0]
    )
    boot = wall - (before + after) / 2e9
    if abs(boot - _boot) > 0.5:  # somebody has set the clock
        _boot = boot
    return _boot


def orphaned_groups(processes: Iterable[ProcessInfo]) -> set[int]:
    """The orphaned process groups among all the processes of a session.

    A group is not orphaned as long as one of its members has a parent in another group of the same session: that can
    continue it. POSIX, 3.264; zombies don't count, nor does the first process of all as a parent.
    """
    groups = {process.pid: process.pgid for process in processes}
    if 1 in groups and _is_first_of_all():
        del groups[1]
    adopted = {
        process.pgid
        for process in processes
        if process.state not in "ZXx" and groups.get(process.ppid, process.pgid) != process.pgid
    }
    return {process.pgid for process in processes} - adopted


def _is_first_of_all() -> bool:
    """Whether process 1 is the system's, and not that of a pid namespace below."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return True


_FIRST_PID_NAMESPACE = 0xEFFFFFFC
