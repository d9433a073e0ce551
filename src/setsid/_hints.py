"""Why a call failed, in a sentence, from facts looked up after it failed. Imported when something has.

A hint is given only when the facts prove it: every function here returns None rather than a guess.
"""

from __future__ import annotations

import errno as codes
import os

from . import _procfs
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def call_hint(errno: int, call: str, *facts: Any) -> str | None:
    """The hint for a raw call of this process."""
    hint = _CALL_HINTS.get(call)
    return hint(errno, *facts) if hint else None


# -- the calls of this process


def _setsid(errno: int) -> str | None:
    pid = os.getpid()
    if errno != codes.EPERM:
        return None
    if os.getsid(0) == pid:
        return f"process {pid} already leads session {pid}"
    if os.getpgrp() == pid:
        return f"process {pid} already leads process group {pid}; fork first, or use spawn()"
    members = [other for other, stat in _procfs.processes() if stat.pgid == pid]
    if members:
        return f"process group {pid}, which bears the caller's number, still has a member: process {members[0]}"
    return None


def _no_process(errno: int, pid: int) -> str | None:
    return f"there is no process {pid}" if errno == codes.ESRCH and not _exists(pid) else None


def _exists(pid: int) -> bool:
    """Asked of the kernel: /proc may be missing, or hide the processes of others."""
    if lib.sid_getsid(pid) != -codes.ESRCH:
        return True
    try:  # the BSDs' getsid finds no zombie
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _setpgid(errno: int, pid: int, pgid: int) -> str | None:
    own = os.getpid()
    pid = pid or own
    pgid = pgid or pid
    if errno == codes.EINVAL:
        return f"{pgid} is no number of a process group" if pgid < 0 else None
    if errno == codes.ESRCH:
        if not _exists(pid):
            return f"there is no process {pid}"
        parent = _procfs.Stat(pid).ppid
        return None if parent == own else f"process {pid} is no child of process {own}: its parent is {parent}"
    if errno == codes.EACCES:
        return f"process {pid} has already executed a program; set its group from the child before exec, or use spawn()"
    return _group_refused(pid, pgid) if errno == codes.EPERM else None


def _group_refused(pid: int, pgid: int) -> str | None:
    """Why `pid` may not join `pgid`."""
    sid, own_sid = os.getsid(pid), os.getsid(0)
    if sid == pid:
        return f"process {pid} leads session {pid}, and a session leader can't change its process group"
    if sid != own_sid:
        return f"process {pid} is in session {sid}, the caller in session {own_sid}"
    return group_elsewhere(pgid, sid)


def group_elsewhere(pgid: int, sid: int) -> str | None:
    if pgid <= 0:  # 0 is how /proc shows the groups of another pid namespace
        return f"{pgid} is no number of a process group"
    sessions = {stat.sid for _, stat in _procfs.processes() if stat.pgid == pgid}
    if sessions:
        return None if sid in sessions else f"process group {pgid} is in session {sessions.pop()}, not in session {sid}"
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return f"there is no process group {pgid}"
    return None  # /proc is missing, or hides its members


def terminal(errno: int, fd: int, *_: object) -> str | None:
    """What is the matter with a file descriptor that should be the caller's terminal."""
    if errno in (codes.EIO, codes.ENOTTY) and _is_hung_up(fd):
        return f"the terminal of file descriptor {fd} is hung up"
    if errno != codes.ENOTTY or not os.isatty(fd):
        return _not_a_terminal(errno, fd)
    if _is_manager(fd):
        return None if lib.sid_tcgetsid(fd) >= 0 else f"no session has the terminal of file descriptor {fd}"
    name, own = _tty_name(fd), _procfs.Stat(os.getpid()).tty
    if own == 0:
        return f"the caller has no controlling terminal, so {name} is not it"
    return None if own == _procfs.device(fd) else f"{name} is not the caller's controlling terminal"


def _tcsetpgrp(errno: int, fd: int, pgid: int) -> str | None:
    if errno in (codes.EPERM, codes.ESRCH):
        return group_elsewhere(pgid, os.getsid(0))
    if errno == codes.EINVAL and pgid < 0:
        return f"{pgid} is no number of a process group"
    return terminal(errno, fd)


def _bad_fd(fd: int) -> str | None:
    return f"file descriptor {fd} is not open" if lib.sid_fd_flags(fd) == -codes.EBADF else None


def _is_hung_up(fd: int) -> bool:
    """Whether the other side has closed it, or vhangup(2) has: nothing can be asked of it then."""
    return lib.sid_get_size(fd, ffi.new("int *"), ffi.new("int *")) == -codes.EIO


def _is_manager(fd: int) -> bool:
    """Whether `fd` is the manager side of a pseudo-terminal, which every session may ask of its other side."""
    return os.major(os.fstat(fd).st_rdev) == 5 and os.minor(os.fstat(fd).st_rdev) == 2  # /dev/ptmx


def _tty_name(fd: int) -> str:
    try:
        return os.ttyname(fd)
    except OSError:  # a manager side, or a terminal of another mount namespace
        return f"the terminal of file descriptor {fd}"


def _open_pty(errno: int, *_: object) -> str | None:
    """A side of a pseudo-terminal could not be opened."""
    if errno == codes.ENOSPC:
        in_use, most, reserved = (_pty_number(name) for name in ("nr", "max", "reserve"))
        if in_use < most - reserved:  # this mount of devpts has a limit of its own
            return None
        return f"{in_use} pseudo-terminals are in use, of {most} (/proc/sys/kernel/pty/max)"
    if errno == codes.ENODEV or (errno == codes.ENOENT and os.path.islink("/dev/ptmx")):
        return None if os.path.ismount("/dev/pts") else "nothing is mounted at /dev/pts"
    return _too_many_files(errno)


def _pty_number(name: str) -> int:
    with open(f"/proc/sys/kernel/pty/{name}") as file:
        return int(file.read())


def _too_many_files(errno: int, *_: object) -> str | None:
    if errno != codes.EMFILE:
        return None
    import resource

    return f"this process may have {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} open files (RLIMIT_NOFILE)"


def _acquire_ctty(errno: int, fd: int) -> str | None:
    if errno == codes.EPERM:
        pid = os.getpid()
        sid = os.getsid(0)
        if sid != pid:
            return f"process {pid} does not lead its session, {sid}; call setsid() first, or use spawn(ctty=...)"
        if _procfs.Stat(pid).tty:
            return f"session {sid} has a controlling terminal already"
        return ctty_taken(fd) or _write_only(fd)
    return _not_a_terminal(errno, fd)


def _not_a_terminal(errno: int, fd: int) -> str | None:
    if errno == codes.EBADF:
        return _bad_fd(fd)
    return f"file descriptor {fd} is not a terminal" if errno == codes.ENOTTY and not os.isatty(fd) else None


def ctty_taken(fd: int) -> str | None:
    device = _procfs.device(fd)
    sessions = {stat.sid for _, stat in _procfs.processes() if stat.tty == device}
    if len(sessions) != 1:  # the terminals of other mounts of devpts bear the same numbers
        return None
    return f"{_tty_name(fd)} is the controlling terminal of session {sessions.pop()}"


def _write_only(fd: int) -> str | None:
    access = lib.sid_fd_flags(fd) & (os.O_WRONLY | os.O_RDWR)  # O_ACCMODE, which PyPy does not have
    return f"file descriptor {fd} is open for writing only" if access == os.O_WRONLY else None


def _no_signal(errno: int, signal: int) -> str | None:
    return f"there is no signal {signal}" if errno == codes.EINVAL else None


_NO_PROC = "no /proc of this process's own pid namespace is mounted there"

_CALL_HINTS: dict[str, Callable[..., str | None]] = {
    "setsid": _setsid,
    "getsid": _no_process,
    "getpgid": _no_process,
    "setpgid": _setpgid,
    "tcgetsid": terminal,
    "tcgetpgrp": terminal,
    "tcsetpgrp": _tcsetpgrp,
    "ioctl(TIOCSCTTY)": _acquire_ctty,
    "ioctl(TIOCNOTTY)": terminal,
    "ioctl(TIOCGWINSZ)": terminal,
    "ioctl(TIOCSWINSZ)": terminal,
    "tcgetattr": terminal,
    "tcsetattr": terminal,
    "open": _open_pty,
    "ioctl(TIOCGPTPEER)": _open_pty,
    "fcntl": _too_many_files,
    "kill": _no_signal,
    "opendir": lambda errno: _NO_PROC if errno == codes.ENOENT else None,
    "pidfd_send_signal": _no_signal,
}
