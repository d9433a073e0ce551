"""Terminals: making one, starting programs on it, and handing it from one process group to another.

What a terminal does with what is typed (raw and cooked modes) is for the standard modules `tty` and `termios` to say.
"""

from __future__ import annotations

import sys

from ._calls import as_fd, as_int
from ._errors import CALLS, SystemCallError, error, prepare
from ._fields import NEW_SESSION
from ._native import ffi, lib
from ._process import Process
from ._setup import ChildSetup, with_changes
from ._spawn import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Any, NamedTuple

    from typing_extensions import Self, Unpack

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
_STREAMS = ("stdin", "stdout", "stderr")


class Pty:
    """A new pseudo-terminal.

    Both sides are close-on-exec, and neither becomes anybody's controlling terminal by being opened. What is written to
    the manager side is what is typed on the terminal. The reader of the manager side sees the end (EIO on Linux) only
    when nobody has the terminal side open any more: so `spawn` closes this process's copy of it.

    As a context manager, it closes what it still has at the end: the session on it gets SIGHUP then. A Pty that is
    dropped closes it too. A number that it no longer has, since somebody else has closed it, is left alone, whatever
    file has got it since. A child that has been forked has files of its own: nothing that it closes hangs up.

    A Pty can stand where a ChildSetup takes a terminal (`ctty`, `stdin`, ...), for its terminal side. What it does with
    what is typed, and how to change that, is for the standard modules `tty` and `termios`: `tty.setraw(pty.terminal)`.
    """

    __slots__ = ("__weakref__", "_pty")

    _pty: Any  # struct sid_pty

    def __init__(self, rows: int = 24, columns: int = 80) -> None:
        """`rows` and `columns`: 0 to 65535 each; ValueError for others. As large as the caller's terminal: `size =
        os.get_terminal_size()`, which has the columns first, and `Pty(size.lines, size.columns)`.

        Raises SystemCallError: EMFILE, ENFILE; ENOSPC when there are no more pseudo-terminals; ENOENT, ENODEV without
        /dev/ptmx and its file system. ptmx(4), pty(7)
        """
        rows, columns = _checked(rows, columns)
        prepare()
        # Closed when it is dropped, by no Python code: no exception of a signal handler can come in between.
        self._pty = ffi.gc(ffi.new("struct sid_pty *", (-1, -1)), lib.sid_close_pty)
        call = ffi.new("int *")
        result = lib.sid_open_pty(self._pty, rows, columns, call)
        if result < 0:
            raise _not_opened(result, call[0])

    # -- what it is

    @property
    def manager(self) -> int:
        """The file descriptor of the manager side, for who shows the terminal. ValueError once it is closed."""
        fd: int = self._pty.manager
        if fd < 0:
            raise ValueError(f"the manager side of {self.name} is closed")
        return fd

    @property
    def terminal(self) -> int:
        """The file descriptor of the terminal side, for programs. ValueError once it is closed."""
        fd: int = self._pty.terminal
        if fd < 0:
            raise ValueError(f"the terminal side of {self.name} is closed")
        return fd

    def fileno(self) -> int:
        """The terminal side, as `terminal`: that is what a program is given. To poll for output, poll `manager`."""
        return self.terminal

    @property
    def name(self) -> str:
        """The path of the terminal side, as "/dev/pts/4", where the file system of /dev/ptmx is mounted at /dev/pts.

        Nothing here depends on that: the terminal is opened without its path. ptsname(3)
        """
        number = self._pty.number
        return f"/dev/ttys{number:03}" if sys.platform == "darwin" else f"/dev/pts/{number}"

    @property
    def size(self) -> WindowSize:
        """The size. ValueError once the manager side is closed. ioctl_tty(2), TIOCGWINSZ"""
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
        was closed before, it is opened anew for the program. A failure leaves it as it was.

        Arguments and errors are those of `setsid.spawn`. EPERM of stage `ctty` when another session has the terminal;
        ValueError once the manager side is closed.
        """
        plan = with_changes(setup, changes)
        pty = self._pty
        was_open = pty.terminal >= 0
        # Held before it is made: an exception that comes right after loses nobody.
        process = Process(ffi.new("struct sid_child *"), argv)
        try:
            if not was_open:
                self._open_terminal()
            start(process, _on(pty.terminal, plan), executable, env)
            self.close_terminal()
        except BaseException:
            if process._child.kept:
                from ._ending import end_at_once

                end_at_once(process)
            if not was_open:
                self.close_terminal()
            raise
        return process

    # -- closing

    def close_terminal(self) -> None:
        """Close this process's copy of the terminal side. Does nothing the second time."""
        lib.sid_close_terminal(self._pty)

    def detach(self) -> int:
        """Hand the manager side over: its file descriptor, which is the caller's to close from here on.

        The terminal side is closed. ValueError if the manager side is; SystemCallError (EBADF) if its number is another
        file's by now.
        """
        manager = self.manager
        self.close_terminal()
        try:
            result = lib.sid_take_manager(self._pty)
        except BaseException:  # of a signal handler, and nobody has got the number
            self._pty.manager = manager
            raise
        if result < 0:
            hint = f"somebody else has closed file descriptor {manager}, the manager side of {self.name}"
            raise SystemCallError(-result, "fcntl", hint=hint)
        return result

    def close(self) -> None:
        """Close both sides; does nothing the second time.

        When nobody else has the manager side open, the terminal is hung up: the leader and the foreground process group
        of its session get SIGHUP.
        """
        lib.sid_close_pty(self._pty)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Pty can't be pickled or copied: its files are this process's")

    def __repr__(self) -> str:
        ends = (("manager", self._pty.manager), ("terminal", self._pty.terminal))
        shown = [f"{name}={fd}" for name, fd in ends if fd >= 0]
        return f"<Pty {' '.join([self.name, *(shown or ['closed'])])}>"

    def _open_terminal(self) -> None:
        if self._pty.manager < 0:
            raise ValueError(f"the manager side of {self.name} is closed")
        call = ffi.new("int *")
        result = lib.sid_reopen_terminal(self._pty, call)
        if result < 0:
            raise _not_opened(result, call[0])


def _checked(rows: int, columns: int) -> tuple[int, int]:
    rows, columns = as_int(rows, "rows"), as_int(columns, "columns")
    for name, value in (("rows", rows), ("columns", columns)):
        if not 0 <= value <= _MOST:
            raise ValueError(f"{name} must be from 0 to {_MOST}, not {value}")
    return rows, columns


def _not_opened(result: int, call: int) -> SystemCallError:
    name = CALLS[call]
    return error(result, name, filename="/dev/ptmx" if name == "open" else None)


def _on(terminal: int, plan: ChildSetup) -> ChildSetup:
    """The plan of a program on a terminal. What is said holds, be it for the terminal's own fields."""
    passed = {as_fd(number, "pass_fds") for number in plan.pass_fds or ()}
    fields: SetupFields = {}
    if plan.process_group is None:
        fields["process_group"] = NEW_SESSION
    if plan.ctty is None:
        fields["ctty"] = terminal
    for number, stream in enumerate(_STREAMS):
        if getattr(plan, stream) is None and number not in passed:
            fields[stream] = terminal  # type: ignore[literal-required]
    return plan.replace(**fields)


class foreground_group:  # noqa: N801 - it is used as a function
    """Make `pgid` the foreground process group of the terminal `tty`, which must be the caller's controlling terminal,
    for a `with` block.

    At the end the terminal goes back to the group that had it, with the modes that it had (so after a program that has
    left it raw, or was killed in it), however the block ends; to the caller's own group if the other one is gone. The
    caller may be in the background: no SIGTTOU stops it. `tty` may be closed meanwhile, and a child that is forked
    meanwhile gives nothing back.

        tty: a file descriptor, a file or a Pty.
        pgid: a process group of the caller's session.

    Raises SystemCallError when it begins: ENOTTY when `tty` is not the caller's controlling terminal, EIO when that is
    hung up, EPERM and ESRCH when there is no such group in the session, EMFILE; when it ends, if the terminal can't be
    given back, unless there is another exception. RuntimeError for one that has begun already.

    An exception that a signal handler raises just as the block ends may keep it from giving back: it does so as soon as
    that exception is dropped, and with it the traceback that holds the block's frame. To be sure earlier, block the
    signal or have its handler raise nothing. tcsetpgrp(3), tcsetattr(3)
    """

    __slots__ = ("_loan", "_pgid", "_tty")

    def __init__(self, tty: FileLike, pgid: int) -> None:
        self._tty = as_fd(tty, "tty")
        self._pgid = as_int(pgid, "pgid")
        # Taken back at the latest when it is dropped, by no Python code: no exception can come in between.
        self._loan = ffi.gc(ffi.new("struct sid_loan *", (-1, -1)), lib.sid_drop_loan)

    def __enter__(self) -> Self:
        if self._loan.fd >= 0:
            raise RuntimeError("the terminal is lent already: make another foreground_group")
        prepare()
        try:
            result = lib.sid_lend(self._loan, self._tty, self._pgid)
        except BaseException:  # of a signal handler: no block begins, so none will end
            self._drop()
            raise
        if result < 0:
            raise self._error(result, self._tty, self._pgid)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        result = lib.sid_take_back(self._loan)
        if result >= 0:
            return
        reason = self._error(result, self._loan.failed, self._loan.previous)
        self._drop()
        if value is None:
            raise reason

    def _drop(self) -> None:
        lib.sid_drop_loan(self._loan)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a foreground_group can't be pickled or copied: what it lends is given back once")

    def _error(self, result: int, tty: int, pgid: int) -> SystemCallError:
        call = CALLS[self._loan.call]
        return error(result, call, *((tty, pgid) if call == "tcsetpgrp" else (tty,)))
