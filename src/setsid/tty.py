"""Terminals: making one, starting programs on it, and handing it from one process group to another.

What a terminal does with what is typed (raw and cooked modes) is for the standard modules `tty` and `termios` to say.
"""

from __future__ import annotations

import errno
import os

from ._calls import as_fd, as_int, tcgetpgrp, tcsetpgrp
from ._errors import CALLS, SystemCallError, error
from ._fields import NEW_SESSION
from ._native import ffi, lib
from ._setup import ChildSetup
from ._spawn import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any, NamedTuple

    from typing_extensions import Self, Unpack

    from ._process import Process
    from ._types import Environment, FileLike, SetupFields, StrOrBytesPath

    class WindowSize(NamedTuple):
        """The size of a terminal, in characters."""

        rows: int
        columns: int

else:
    from collections import namedtuple  # `typing` is slow to import

    class WindowSize(namedtuple("WindowSize", "rows columns")):
        """The size of a terminal, in characters."""

        __slots__ = ()


__all__ = ["Pty", "WindowSize", "foreground_group"]

_MOST = 0xFFFF  # an unsigned short

# Whose each file descriptor is: a later Pty may have the number of one that somebody else has closed.
_owners: dict[int, Any] = {}


class Pty:
    """A new pseudo-terminal.

    Both sides are close-on-exec, and neither becomes anybody's controlling terminal by being opened. What is written to
    the manager side is what is typed on the terminal. The reader of the manager side sees the end (EIO on Linux) only
    when nobody has the terminal side open any more: so `spawn` closes this process's copy of it.

    As a context manager, it closes what it still has at the end: the session on it gets SIGHUP then. A Pty that is
    dropped closes it too. A number that it no longer has, since somebody else has closed it, is left alone.

    A Pty can stand where a ChildSetup takes a terminal (`ctty`, `stdin`, ...), for its terminal side.
    """

    __slots__ = ("__weakref__", "_ends", "_name")

    _ends: Any

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        """`rows` and `columns`: 0 to 65535 each; ValueError for others.

        Raises SystemCallError: EMFILE, ENOSPC when there are no more pseudo-terminals, ENOENT without /dev/ptmx.
        posix_openpt(3), pty(7)
        """
        self._ends = ffi.new("int[]", [-1, -1])
        self._name = ""
        rows, columns = _checked(rows, columns)
        call = ffi.new("int *")
        result = lib.sid_open_pty(self._ends, call)
        if result < 0:
            raise error(result, CALLS[call[0]])
        for fd in self._ends:
            _owners[fd] = self._ends
        self._name = _name_of(self._ends[0])
        self.resize(rows, columns)

    # -- what it is

    @property
    def manager(self) -> int:
        """The file descriptor of the manager side, for who shows the terminal. ValueError once it is closed."""
        return self._end(0, "manager")

    @property
    def terminal(self) -> int:
        """The file descriptor of the terminal side, for programs. ValueError once it is closed."""
        return self._end(1, "terminal")

    def fileno(self) -> int:
        """The terminal side, as `terminal`: that is what a program is given. To poll for output, poll `manager`."""
        return self.terminal

    @property
    def name(self) -> str:
        """The path of the terminal side, as "/dev/pts/4". ptsname(3)"""
        return self._name

    @property
    def size(self) -> WindowSize:
        """The size. Raises ValueError once the manager side is closed. ioctl_tty(2), TIOCGWINSZ"""
        rows, columns = ffi.new("int *"), ffi.new("int *")
        result = lib.sid_get_size(self.manager, rows, columns)
        if result < 0:
            raise error(result, "ioctl(TIOCGWINSZ)", self.manager)
        return WindowSize(rows[0], columns[0])

    def resize(self, rows: int, columns: int) -> None:
        """Change the size. The foreground process group gets SIGWINCH if it differs.

        ValueError for numbers below 0 or over 65535, and once the manager side is closed. ioctl_tty(2), TIOCSWINSZ
        """
        result = lib.sid_set_size(self.manager, *_checked(rows, columns))
        if result < 0:
            raise error(result, "ioctl(TIOCSWINSZ)", self.manager)

    # -- programs on it

    def spawn(
        self,
        argv: Sequence[StrOrBytesPath],
        setup: ChildSetup | None = None,
        *,
        executable: StrOrBytesPath | None = None,
        env: Environment | None = None,
        **changes: Unpack[SetupFields],
    ) -> Process:
        """Start a program on the terminal: it leads a new session, whose controlling terminal this is, and has it for
        its three standard streams. `setup` and `changes` say the rest, or otherwise.

        This process's copy of the terminal side is closed then, so that the manager side's reader sees the end. If that
        was closed before, it is opened anew for the program. Arguments and errors are those of `setsid.spawn`.
        """
        was_open = self._ends[1] >= 0
        if not was_open:
            self._open_terminal()
        try:
            process = spawn(argv, self._plan(setup, changes), executable=executable, env=env)
        except BaseException:
            if not was_open:
                self.close_terminal()
            raise
        self.close_terminal()
        return process

    def _plan(self, setup: ChildSetup | None, changes: SetupFields) -> ChildSetup:
        """The plan of a program on this terminal. What is said holds, be it for the terminal's own fields."""
        plan = (setup or ChildSetup()).replace(**changes)
        ours: SetupFields = {"ctty": self, "stdin": self, "stdout": self, "stderr": self, "process_group": NEW_SESSION}
        unsaid = {name: value for name, value in ours.items() if getattr(plan, name) is None}
        return plan.replace(**unsaid)  # type: ignore[arg-type]

    # -- closing

    def close_terminal(self) -> None:
        """Close this process's copy of the terminal side. Does nothing the second time."""
        self._close(1)

    def detach(self) -> int:
        """Hand the manager side over: its file descriptor, which is the caller's to close from here on.

        The terminal side is closed. ValueError if the manager side is.
        """
        manager = self.manager
        self.close_terminal()
        self._ends[0] = -1
        _owners.pop(manager, None)
        return manager

    def close(self) -> None:
        """Close both sides; does nothing the second time.

        When nobody else has the manager side open, the terminal is hung up: the leader and the foreground process group
        of its session get SIGHUP.
        """
        self._close(1)
        self._close(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_ends", None):
            self.close()

    def __repr__(self) -> str:
        manager, terminal = self._ends
        shown = [f"{name}={fd}" for name, fd in (("manager", manager), ("terminal", terminal)) if fd >= 0]
        return f"<Pty {' '.join([self._name, *shown] if shown else [self._name, 'closed'])}>"

    # -- the numbers of its files

    def _end(self, index: int, name: str) -> int:
        fd: int = self._ends[index]
        if fd < 0:
            raise ValueError(f"the {name} side of {self._name} is closed")
        return fd

    def _open_terminal(self) -> None:
        result = lib.sid_open_terminal(self.manager, self._ends + 1)
        if result < 0:
            raise error(result, "open", filename=self._name)
        _owners[self._ends[1]] = self._ends

    def _close(self, index: int) -> None:
        ends: Any = self._ends
        fd = ends[index]
        if fd >= 0 and _owners.get(fd, 0) is ends:
            del _owners[fd]
            if self._is_still(fd):
                lib.sid_close_all(ends + index, 1)
        ends[index] = -1

    def _is_still(self, fd: int) -> bool:
        """Whether the number is still of a side of this terminal, not of a file that somebody has opened since."""
        try:
            return _name_of(fd) == self._name
        except OSError:
            try:
                return os.ttyname(fd) == self._name
            except OSError:
                return False


def _checked(rows: int, columns: int) -> tuple[int, int]:
    rows, columns = as_int(rows, "rows"), as_int(columns, "columns")
    for name, value in (("rows", rows), ("columns", columns)):
        if not 0 <= value <= _MOST:
            raise ValueError(f"{name} must be from 0 to {_MOST}, not {value}")
    return rows, columns


def _name_of(manager: int) -> str:
    name = ffi.new("char[]", 128)
    result = lib.sid_pty_name(manager, name, 128)
    if result < 0:
        raise error(result, "ptsname", manager)
    return os.fsdecode(ffi.string(name))


class foreground_group:  # noqa: N801 - it is used as a function
    """Make `pgid` the foreground process group of the terminal `tty`, which must be the caller's controlling terminal,
    for a `with` block.

    At the end the terminal goes back to the group that had it, with the modes that it had (so after a program that has
    left it raw, or was killed in it), however the block ends; to the caller's own group if the other one is gone. The
    caller may be in the background: no SIGTTOU stops it.

        tty: a file descriptor, a file or a Pty.
        pgid: a process group of the caller's session.

    Raises SystemCallError when it begins: ENOTTY when `tty` is not the caller's controlling terminal, EIO when that is
    hung up, EPERM and ESRCH when there is no such group in the session; when it ends, if the terminal can't be given
    back, unless there is another exception. tcsetpgrp(3), tcsetattr(3)
    """

    __slots__ = ("_fd", "_modes", "_pgid", "_previous")

    def __init__(self, tty: FileLike, pgid: int) -> None:
        self._fd = as_fd(tty, "tty")
        self._pgid = as_int(pgid, "pgid")
        self._previous = 0
        self._modes = ffi.new("char[]", 256)

    def __enter__(self) -> Self:
        self._previous = tcgetpgrp(self._fd)
        result = lib.sid_get_modes(self._fd, self._modes, len(self._modes))
        if result < 0:
            raise error(result, "tcgetattr", self._fd)
        tcsetpgrp(self._fd, self._pgid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._give_back()
        except OSError:
            if value is None:
                raise

    def _give_back(self) -> None:
        """The modes first: whoever has the terminal then may change them."""
        result = lib.sid_set_modes(self._fd, self._modes)
        try:
            tcsetpgrp(self._fd, self._previous)
        except SystemCallError as reason:
            if reason.errno not in (errno.EPERM, errno.ESRCH, errno.EINVAL):
                raise
            tcsetpgrp(self._fd, os.getpgrp())  # the group is gone
        if result < 0:
            raise error(result, "tcsetattr", self._fd)
