"""The raw calls, each a thin wrapper that raises SystemCallError."""

from __future__ import annotations

import os
import sys

from ._errors import error
from ._fields import and_if_path
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._types import HasFileno

ACCESS_MODE = os.O_WRONLY | os.O_RDWR  # O_ACCMODE, which PyPy does not have
_getsid = lib.sid_getsid
_getpgid = lib.sid_getpgid


def as_fd(file: int | HasFileno, name: str = "fd") -> int:
    """The descriptor of a file: an int as it is, else what its `fileno()` says."""
    if type(file) is int:
        return file
    if isinstance(file, bool):
        raise TypeError(f"{name} must be a file descriptor or have fileno(), not bool")
    if not isinstance(file, int):
        fileno = getattr(file, "fileno", None)
        if fileno is None:
            what = type(file).__name__ + and_if_path(file)
            raise TypeError(f"{name} must be a file descriptor or have fileno(), not {what}")
        try:
            file = fileno()
        except ValueError as reason:  # a closed file, or one without a descriptor
            raise ValueError(f"{name}: {reason}") from None
    if not isinstance(file, int):
        raise TypeError(f"{name}: fileno() returned {type(file).__name__}, not int")
    return int(file)


def as_int(value: int, name: str) -> int:
    """An int or what stands for one, as a member of an IntEnum."""
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    return value.__index__()


def out_of_the_way(fd: int, taken: set[int]) -> int:
    """The file at another number, from 3 up and not `taken`, if it has to be; the old one is closed then."""
    while fd < 3 or fd in taken:
        copy = lib.sid_copy_from(fd, max(3, fd + 1))
        if copy < 0:
            raise error(copy, "fcntl")
        os.close(fd)
        fd = copy
    return fd


def is_still(fd: int, opened: os.stat_result) -> bool:
    """Whether a number is still that of the file that was opened: what somebody else has closed may be any by now."""
    try:
        return fd >= 0 and os.path.samestat(os.fstat(fd), opened)
    except OSError:
        return False


def is_ignored(signal: int) -> bool:
    """Whether this process ignores a signal. PyPy's getsignal does not know what was ignored when Python began."""
    return bool(lib.sid_is_ignored(signal))


def setsid() -> int:
    """Make the calling process the leader of a new session and a new process group, without a controlling terminal.

    Returns the new session's id, which is the caller's pid. Raises SystemCallError: EPERM when a process group with
    the caller's pid as its number exists, as it does for every group leader. setsid(2), POSIX setsid().
    """
    sid = lib.sid_setsid()
    if sid < 0:
        raise error(sid, "setsid")
    return sid


def getsid(pid: int = 0) -> int:
    """The session id of process `pid`, 0 meaning the caller; 0 for one whose session's leader lives in another pid
    namespace.

    Raises SystemCallError: ESRCH when there is no such process. TypeError and OverflowError for what is no pid.
    getsid(2), POSIX getsid().
    """
    if type(pid) is not int:
        pid = as_int(pid, "pid")
    sid = _getsid(pid)
    if sid < 0:
        raise error(sid, "getsid", pid)
    return sid


def setpgid(pid: int = 0, pgid: int = 0) -> None:
    """Move process `pid` (0: the caller) into process group `pgid` (0: one that bears its own pid).

    Raises SystemCallError: EACCES when the child `pid` has executed a program already, EPERM for a session leader and
    for a group that is not in the same session, ESRCH when `pid` is neither the caller nor its child, EINVAL for a
    negative `pgid`. setpgid(2), POSIX setpgid().
    """
    pid, pgid = as_int(pid, "pid"), as_int(pgid, "pgid")
    result = lib.sid_setpgid(pid, pgid)
    if result < 0:
        raise error(result, "setpgid", pid, pgid)


def getpgid(pid: int = 0) -> int:
    """The process group of process `pid`, 0 meaning the caller.

    Raises SystemCallError: ESRCH when there is no such process. getpgid(2), POSIX getpgid().
    """
    if type(pid) is not int:
        pid = as_int(pid, "pid")
    pgid = _getpgid(pid)
    if pgid < 0:
        raise error(pgid, "getpgid", pid)
    return pgid


def tcgetsid(fd: int | HasFileno) -> int:
    """The session whose controlling terminal `fd` (a file descriptor or a file) is; 0 for one of another pid namespace.

    On Linux the manager side of a pseudo-terminal may be asked by anybody, on macOS any terminal. Raises
    SystemCallError: ENOTTY when `fd` is no terminal, else not the caller's controlling one, or no session's; EBADF.
    tcgetsid(3), POSIX tcgetsid().
    """
    if type(fd) is not int:
        fd = as_fd(fd)
    sid = lib.sid_tcgetsid(fd)
    if sid < 0:
        raise error(sid, "tcgetsid", fd)
    return sid


def tcgetpgrp(fd: int | HasFileno) -> int:
    """The foreground process group of the terminal `fd` (a file descriptor or a file), 0 when it has none.

    Raises SystemCallError: ENOTTY when `fd` is no terminal or not the caller's controlling one, EBADF.
    tcgetpgrp(3), POSIX tcgetpgrp().
    """
    if type(fd) is not int:
        fd = as_fd(fd)
    pgid = lib.sid_tcgetpgrp(fd)
    if pgid < 0:
        raise error(pgid, "tcgetpgrp", fd)
    return pgid


def tcsetpgrp(fd: int | HasFileno, pgid: int) -> None:
    """Make `pgid` the foreground process group of the caller's controlling terminal `fd` (a descriptor or a file).

    SIGTTOU is blocked in the calling thread meanwhile, so a caller in the background is not stopped.
    Raises SystemCallError: ENOTTY when `fd` is not the caller's controlling terminal, EPERM when `pgid` is a group of
    another session, ESRCH when there is none and no process of that number, EINVAL when it is negative, EBADF.
    tcsetpgrp(3), POSIX tcsetpgrp().
    """
    fd, pgid = as_fd(fd), as_int(pgid, "pgid")
    result = lib.sid_tcsetpgrp(fd, pgid)
    if result < 0:
        raise error(result, "tcsetpgrp", fd, pgid)


def acquire_ctty(fd: int | HasFileno, *, steal: bool = False) -> None:
    """Make the terminal `fd` (a file descriptor or a file) the controlling terminal of the caller's session.

    The caller must be a session leader without a controlling terminal. With `steal` the terminal is taken from the
    session that has it (Linux, needs CAP_SYS_ADMIN; NotImplementedError elsewhere). Does nothing when it is the
    caller's already.
    Raises SystemCallError: EPERM when the caller is no session leader, has a controlling terminal, the terminal is
    another session's, or `fd` is open for writing only; ENOTTY, EBADF. ioctl_tty(2), TIOCSCTTY.
    """
    if type(fd) is not int:
        fd = as_fd(fd)
    if steal and sys.platform != "linux":
        raise NotImplementedError(f"steal: {sys.platform} takes no terminal from another session")
    result = lib.sid_acquire_ctty(fd, bool(steal))
    if result < 0:
        raise error(result, "ioctl(TIOCSCTTY)", fd)


def release_ctty(fd: int | HasFileno) -> None:
    """Give up the caller's controlling terminal, which `fd` (a file descriptor or a file) must be.

    When the caller leads its session, the whole session loses the terminal, and on Linux its foreground process group
    gets SIGHUP and SIGCONT. Raises SystemCallError: ENOTTY when `fd` is not the controlling terminal, EBADF; EINVAL on
    macOS for a session's leader, EPERM on FreeBSD for anybody else. ioctl_tty(2), TIOCNOTTY.
    """
    if type(fd) is not int:
        fd = as_fd(fd)
    result = lib.sid_release_ctty(fd)
    if result < 0:
        raise error(result, "ioctl(TIOCNOTTY)", fd)
