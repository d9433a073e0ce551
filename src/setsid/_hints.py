"""Why a call failed, in a sentence, from facts looked up after it failed. Imported when something has.

A hint is given only when the facts prove it: every function here returns None rather than a guess.
"""

from __future__ import annotations

import errno as codes
import os
import resource

from . import _procfs
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any


def call_hint(errno: int, call: str, *facts: Any) -> str | None:
    """The hint for a raw call of this process."""
    hint = _CALL_HINTS.get(call)
    return hint(errno, *facts) if hint else None


class ChildFacts:
    """What a hint for a child's failure may need to know."""

    __slots__ = ("arguments", "cwd", "env", "group", "program")

    def __init__(
        self,
        group: int,
        program: bytes,
        arguments: bytes,
        env: Mapping[bytes, bytes],
        cwd: bytes | None,
    ) -> None:
        self.group, self.program = group, program
        self.arguments, self.env, self.cwd = arguments, env, cwd

    def candidates(self) -> list[bytes]:
        """Where the child has looked for its program."""
        directories = [b""]
        if b"/" not in self.program:
            directories = self.env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
        return [os.path.join(self.cwd or b"", directory, self.program) for directory in directories]


def child_hint(errno: int, call: str, detail: int, *facts: Any) -> str | None:
    """The hint for a step of a child, which is gone by now: only what holds for the parent as well is said."""
    hint = _CHILD_HINTS.get(call)
    return hint(errno, ChildFacts(*facts), detail) if hint else None


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
    return lib.sid_getsid(pid) != -codes.ESRCH


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
    return _group_elsewhere(pgid, sid)


def _group_elsewhere(pgid: int, sid: int) -> str | None:
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


def _terminal(errno: int, fd: int, *_: object) -> str | None:
    """What is the matter with a file descriptor that should be the caller's terminal."""
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
        return _group_elsewhere(pgid, os.getsid(0))
    if errno == codes.EINVAL and pgid < 0:
        return f"{pgid} is no number of a process group"
    return _terminal(errno, fd)


def _bad_fd(fd: int) -> str | None:
    return f"file descriptor {fd} is not open" if lib.sid_fd_flags(fd) == -codes.EBADF else None


def _is_manager(fd: int) -> bool:
    """Whether `fd` is the manager side of a pseudo-terminal, which every session may ask of its other side."""
    return os.major(os.fstat(fd).st_rdev) == 5 and os.minor(os.fstat(fd).st_rdev) == 2  # /dev/ptmx


def _tty_name(fd: int) -> str:
    try:
        return os.ttyname(fd)
    except OSError:  # a manager side, or a terminal of another mount namespace
        return f"the terminal of file descriptor {fd}"


def _acquire_ctty(errno: int, fd: int) -> str | None:
    if errno == codes.EPERM:
        pid = os.getpid()
        sid = os.getsid(0)
        if sid != pid:
            return f"process {pid} does not lead its session, {sid}; call setsid() first, or use spawn(ctty=...)"
        if _procfs.Stat(pid).tty:
            return f"session {sid} has a controlling terminal already"
        return _ctty_taken(fd) or _write_only(fd)
    return _not_a_terminal(errno, fd)


def _not_a_terminal(errno: int, fd: int) -> str | None:
    if errno == codes.EBADF:
        return _bad_fd(fd)
    return f"file descriptor {fd} is not a terminal" if errno == codes.ENOTTY and not os.isatty(fd) else None


def _ctty_taken(fd: int) -> str | None:
    device = _procfs.device(fd)
    sessions = {stat.sid for _, stat in _procfs.processes() if stat.tty == device}
    if len(sessions) != 1:  # the terminals of other mounts of devpts bear the same numbers
        return None
    return f"{_tty_name(fd)} is the controlling terminal of session {sessions.pop()}"


def _write_only(fd: int) -> str | None:
    flags = lib.sid_fd_flags(fd)
    return f"file descriptor {fd} is open for writing only" if flags & os.O_ACCMODE == os.O_WRONLY else None


def _no_signal(errno: int, signal: int) -> str | None:
    return f"there is no signal {signal}" if errno == codes.EINVAL else None


_CALL_HINTS: dict[str, Callable[..., str | None]] = {
    "setsid": _setsid,
    "getsid": _no_process,
    "getpgid": _no_process,
    "setpgid": _setpgid,
    "tcgetsid": _terminal,
    "tcgetpgrp": _terminal,
    "tcsetpgrp": _tcsetpgrp,
    "ioctl(TIOCSCTTY)": _acquire_ctty,
    "ioctl(TIOCNOTTY)": _terminal,
    "kill": _no_signal,
    "pidfd_send_signal": _no_signal,
}


# -- the steps of a child


def _child_setpgid(errno: int, facts: ChildFacts, _: int) -> str | None:
    return _group_elsewhere(facts.group, os.getsid(0)) if errno == codes.EPERM else None


def _child_ctty(errno: int, _: ChildFacts, fd: int) -> str | None:
    return _ctty_taken(fd) if errno == codes.EPERM else None


def _child_foreground(errno: int, facts: ChildFacts, fd: int) -> str | None:
    return None if facts.group == lib.SID_GROUP_NEW_SESSION else _terminal(errno, fd)  # else in the parent's session


def _child_fd(errno: int, _: ChildFacts, fd: int) -> str | None:
    """A dup2 to `fd`, or a fcntl of it, failed."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if errno == codes.EMFILE:
        return f"the child may have {limit} open files (RLIMIT_NOFILE), and all their numbers are taken or asked for"
    if errno == codes.EBADF and fd >= limit:
        return f"the child's file descriptor {fd} is not below the limit of open files, {limit} (RLIMIT_NOFILE)"
    return None


def _child_cwd(errno: int, facts: ChildFacts, _: int) -> str | None:
    if errno != codes.ENOENT or facts.cwd is None or not os.path.islink(facts.cwd):
        return None
    target = os.readlink(facts.cwd)
    if os.path.lexists(os.path.join(os.path.dirname(facts.cwd), target)):
        return None  # it is a link too
    return f"it is a symbolic link to {os.fsdecode(target)!r}, which does not exist"


def _execve(errno: int, facts: ChildFacts, detail: int) -> str | None:
    hint = _EXEC_HINTS.get(errno)
    return hint(facts, facts.candidates()[detail]) if hint else None


def _no_program(facts: ChildFacts, path: bytes) -> str | None:
    if not facts.program:
        return "the program's name is empty"
    if b"/" not in facts.program:
        candidates = facts.candidates()
        found = [path for path in candidates if os.path.isfile(path)]
        if not found:
            where = "PATH" if b"PATH" in facts.env else f"{os.defpath}, since PATH is not set"
            return f"there is none in {where}"
        path = found[0]
    if not os.path.lexists(path):
        # The errno says it all, unless the place is not the one that comes to mind.
        return f"there is no {os.fsdecode(path)}" if facts.cwd and path != facts.program else None
    interpreter = _interpreter(path)
    if interpreter and not os.path.exists(os.path.join(facts.cwd or b"", interpreter)):
        name = os.fsdecode(interpreter)
        shown = name if name.isprintable() else repr(name)
        return f"{os.fsdecode(path)} exists, but its interpreter {shown} does not"
    return None


def _interpreter(path: bytes) -> bytes | None:
    with open(path, "rb") as file:
        line = file.readline(256)
    # As the kernel reads it: a carriage return belongs to the name.
    words = line[2:].rstrip(b"\n").replace(b"\t", b" ").split(b" ")
    return next(filter(None, words), None) if line.startswith(b"#!") else None


def _denied(_: ChildFacts, path: bytes) -> str | None:
    name = os.fsdecode(path)
    if os.path.isdir(path):
        return f"{name} is a directory"
    if os.path.isfile(path) and not os.stat(path).st_mode & 0o111:
        return f"{name} is not executable"
    return None


def _no_format(_: ChildFacts, path: bytes) -> str | None:
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        return f"{os.fsdecode(path)} is empty"
    if start[:2] == b"#!" or start == b"\x7fELF":
        return None
    return f"{os.fsdecode(path)} is no binary and has no #! line; name its interpreter, as sh"


def _too_big(facts: ChildFacts, _: bytes) -> str | None:
    argv = facts.arguments.split(b"\0")
    size = len(facts.arguments) + 1
    variables = [len(name) + len(value) + 1 for name, value in facts.env.items()]
    env_size = sum(variables) + len(variables)
    longest = max(*map(len, argv), *variables, 0)
    return f"arguments take {size} bytes, the environment {env_size}, the longest string {longest}"


_EXEC_HINTS: dict[int, Callable[[ChildFacts, bytes], str | None]] = {
    codes.ENOENT: _no_program,
    codes.EACCES: _denied,
    codes.ENOEXEC: _no_format,
    codes.E2BIG: _too_big,
}

_CHILD_HINTS: dict[str, Callable[[int, ChildFacts, int], str | None]] = {
    "setpgid": _child_setpgid,
    "ioctl(TIOCSCTTY)": _child_ctty,
    "tcgetpgrp": _child_foreground,
    "tcsetpgrp": _child_foreground,
    "dup2": _child_fd,
    "fcntl": _child_fd,
    "chdir": _child_cwd,
    "execve": _execve,
}
