"""What helper processes import: little, since each test starts one. Tests have it by support.py."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from setsid._native import lib

WAYS = {"clone3": lib.SID_WAY_CLONE3, "clone": lib.SID_WAY_CLONE, "page": lib.SID_WAY_PAGE, "fork": lib.SID_WAY_FORK}
ON_PYPY = sys.implementation.name == "pypy"
ON_DEBUG_BUILD = hasattr(sys, "gettotalrefcount")
# What a program in Python begins with, to have what PyPy lacks.
LACKING = ""
if ON_PYPY:  # ctypes is imported for it, which would count among what a test measures
    import lacking

    lacking.provide()
    LACKING = f"import sys; sys.path.insert(0, {os.path.dirname(__file__)!r}); import lacking; lacking.provide()\n"


def glibc_version() -> str:
    """As "glibc 2.36"; nothing where libc is another one, or where it can't be told."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (OSError, ValueError):  # musl knows no such name, PyPy neither
        return ""


def force(way: str | None, *, hide_pidfd: bool = False) -> None:
    """Make every child of this process in one way. The tests' private switch."""
    assert lib.sid_force(WAYS[way] if way else lib.SID_WAY_PROBE, hide_pidfd) == 0


def open_fds() -> dict[int, str]:
    """This process's open file descriptors and what they are."""
    fds = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            fds[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the listing's own
            continue
    return fds


def take_files(leave: int = 0) -> list[int]:
    """Open files until this process may have no more, but for `leave`; their numbers."""
    taken: list[int] = []
    try:
        while True:
            taken.append(os.dup(0))
    except OSError as error:
        if error.errno != errno.EMFILE:
            raise
    for _ in range(leave):
        os.close(taken.pop())
    return taken


def children() -> list[int]:
    """This process's children, zombies included; not one that the kernel is just reaping by itself."""
    pids: list[int] = []
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                pids += map(int, file.read().split())
        except (FileNotFoundError, ProcessLookupError):  # the thread has ended meanwhile
            continue
    return sorted(pid for pid in pids if _is_there(pid))


def _is_there(pid: int) -> bool:
    try:
        return not status(pid)["State"].startswith("X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def status(pid: int | str = "self") -> dict[str, str]:
    """/proc/PID/status."""
    with open(f"/proc/{pid}/status", errors="surrogateescape") as file:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in file)}


def signal_set(field: str, pid: int | str = "self") -> set[int]:
    """A field of /proc/PID/status (SigBlk, SigIgn, SigCgt) as signal numbers.

    Without those that libc keeps to itself: GNU make starts its recipes with 32 and 33 ignored.
    """
    bits = int(status(pid)[field], 16)
    return {int(number) for number in signal.valid_signals() if bits >> (number - 1) & 1}


def session_of(pid: int) -> dict[str, int]:
    """ppid, pgid, sid, tty_nr and tpgid of a process, from /proc/PID/stat."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rsplit(b")", 1)[1].split()
    return dict(zip(("ppid", "pgid", "sid", "tty", "tpgid"), map(int, fields[1:6]), strict=True))


def terminal_modes(fd: int) -> list[object]:
    """termios.tcgetattr's. The kernel tells of 19 characters, and musl leaves in the rest what the memory had."""
    import termios

    *words, characters = termios.tcgetattr(fd)
    return [*words, characters[:19]]


def waits_for_child(pid: int, thread: int | None = None) -> bool:
    """Whether a thread of `pid`, the main one if None, sleeps in waitid(2); True where that can't be told."""
    number = {"x86_64": "247", "aarch64": "95"}.get(os.uname().machine)
    with open(f"/proc/{pid}/task/{thread or pid}/syscall") as file:
        call, *arguments = file.read().split()
    return number is None or (call == number and not int(arguments[3], 16) & os.WNOHANG)


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fails if the block leaves a child, a file descriptor or a changed signal mask behind."""
    import gc

    if ON_PYPY:
        gc.collect()  # of what was dropped before, the files are closed later
    before = open_fds(), children(), status()["SigBlk"]
    yield
    for _ in range(3 if ON_PYPY else 1):  # what a destructor lets go of is for the next one
        gc.collect()
    after = open_fds(), children(), status()["SigBlk"]
    assert after == before, f"{before} before, {after} after"


def spawn_text(argv: list[str], **changes: object) -> str:
    """Spawn a program and return what it writes to its stdout."""
    import setsid

    reader, writer = os.pipe()
    try:
        process = setsid.spawn(argv, stdout=writer, **changes)  # type: ignore[arg-type]
    finally:
        os.close(writer)
    with open(reader) as file:
        text = file.read()
    process.wait()
    process.close()
    return text
