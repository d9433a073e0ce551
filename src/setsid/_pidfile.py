"""PidFile: which process is the running one, told by a lock and not by a number that may be another's by now."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import threading
import time

from ._calls import as_int, is_still, out_of_the_way
from ._errors import SystemCallError, error
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from ._types import StrOrBytesPath

_LOCK, _LOOK = "fcntl(F_OFD_SETLK)", "fcntl(F_OFD_GETLK)"
if sys.platform.startswith("freebsd"):
    _LOCK = _LOOK = "flock"
_ALL = re.compile(rb"\s*\d*\s*")  # what may be there before it is ours
_PID = re.compile(rb"(\d{1,10})\n")
# Byte 0 is locked by the owner as long as it runs, byte 1 as long as the file holds its pid.
_OWNER, _HOLDS_PID = 0, 1
_PATIENCE = 5.0  # seconds that an owner may take to write its pid
_HOW = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY | os.O_NONBLOCK  # no link, terminal or pipe is a pidfile


class PidFile:
    """A file with the pid of a running program in it: one pid and a newline, locked as long as that program runs.

    The lock tells whether it runs, not the number: a file that was left over is taken over. As a context manager it
    acquires and releases the file. What the program executes doesn't keep the lock, nor do its forked children.

    Attributes:
        path: made absolute when the PidFile is made.
    """

    __slots__ = ("_fd", "_opened", "path")

    _opened: os.stat_result

    def __init__(self, path: StrOrBytesPath) -> None:
        """TypeError and ValueError for what is no path. Nothing is opened yet."""
        name = os.fspath(path)
        if not name or (b"\0" if isinstance(name, bytes) else "\0") in name:  # type: ignore[operator]
            raise ValueError(f"path: {name!r} is no path of a file")
        self.path = os.path.abspath(name)
        self._fd = -1

    def fileno(self) -> int:
        """The file descriptor with the lock. ValueError when the file is not acquired, or its number is another's."""
        if self._fd < 0:
            raise ValueError(f"{self.path!r} is not acquired")
        if not self._is_ours(self._fd):
            raise ValueError(f"somebody else has closed file descriptor {self._fd}, the lock of {self.path!r}")
        return self._fd

    def lift(self, taken: set[int]) -> None:
        """Move its file descriptor to a number from 3 up that is not `taken`."""
        self._fd = out_of_the_way(self.fileno(), taken)

    def acquire(self) -> None:
        """Lock the file, which is made if it isn't there, and write the caller's pid into it.

        Raises BlockingIOError (a SystemCallError) with "already running as pid N" as its `hint` when another program
        has it; SystemCallError for what may not be a pidfile: ELOOP for a symbolic link, EPERM for one with another
        name too, or somebody else's in a directory in which others may write; EINVAL for what is no regular file,
        EEXIST for one that holds something else than a pid; EACCES, ENOENT, ENOSPC, ... RuntimeError when this object
        has it already. fcntl(2), F_OFD_SETLK
        """
        self.lock()
        try:
            self.write()
        except BaseException:
            self.release()
            raise

    def lock(self) -> None:
        """The first half of `acquire`, without a pid. Raises as that does."""
        if self._fd >= 0:
            raise RuntimeError(f"{self.path!r} is acquired already")
        deadline = time.monotonic() + _PATIENCE
        while not self._is_taken():
            if time.monotonic() >= deadline:
                raise self._error(errno.EAGAIN, _LOCK, "somebody has locked it who is not its owner")
            time.sleep(0.001)

    def _is_ours(self, fd: int) -> bool:
        return is_still(fd, self._opened)

    def write(self, pid: int | None = None) -> None:
        """Put another pid into the acquired file; the caller's if None.

        OverflowError for what is no pid; ValueError when the file is not acquired; SystemCallError: ENOSPC, EIO.
        """
        fd = self.fileno()
        pid = os.getpid() if pid is None else as_int(pid, "pid")
        if not 0 < pid < 1 << 31:
            raise OverflowError(f"pid must be a positive int of C, not {pid}")
        lib.sid_unlock(fd, _HOLDS_PID)
        try:
            os.ftruncate(fd, 0)
            text = b"%d\n" % pid
            if os.pwrite(fd, text, 0) < len(text):  # the disk is full, or the limit of a file's size reached
                raise OSError(errno.ENOSPC, "")
        except OSError as reason:
            raise self._error(reason.errno or errno.EIO, "pwrite") from None
        result = lib.sid_lock(fd, _HOLDS_PID)
        if result < 0:
            raise error(result, _LOCK, filename=self.path)

    def release(self) -> None:
        """Remove the file, and give up the lock; does nothing when it is not acquired.

        A file that may not be removed (as after a change of user or root) is left empty.
        """
        with _lock:
            fd, self._fd = self._fd, -1
            _held.discard(self)
            if fd >= 0 and self._is_ours(fd):
                self._remove(fd)

    def _remove(self, fd: int) -> None:
        try:
            if self._is_at_its_path(fd):
                os.unlink(self.path)
        except OSError:
            pass
        try:
            if os.fstat(fd).st_nlink:
                os.ftruncate(fd, 0)
        finally:
            os.close(fd)

    def owner(self) -> int | None:
        """The pid of the program that has the file now, or None when nobody has; in the file's pid namespace.

        Raises BlockingIOError (a SystemCallError) when one has it and doesn't write its pid; SystemCallError: EACCES,
        ELOOP, ... fcntl(2), F_OFD_GETLK
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | _HOW)
        except FileNotFoundError:
            return None
        except OSError as reason:
            raise self._refused(reason) from None
        try:
            return self._owner_of(fd)
        finally:
            os.close(fd)

    # -- looking

    def _owner_of(self, fd: int) -> int | None:
        deadline = time.monotonic() + _PATIENCE
        while self._is_locked(fd, _OWNER):
            text = os.pread(fd, 64, 0)
            found = _PID.fullmatch(text)
            if found and self._is_locked(fd, _HOLDS_PID) and os.pread(fd, 64, 0) == text:
                return int(found[1])
            if time.monotonic() >= deadline:
                raise self._error(errno.EAGAIN, _LOCK, "somebody has locked it, and has written no pid")
            time.sleep(0.001)
        return None

    def _is_locked(self, fd: int, byte: int) -> bool:
        result = lib.sid_is_locked(fd, byte)
        if result < 0:
            raise error(result, _LOOK, filename=self.path)
        return bool(result)

    # -- acquiring

    def _is_taken(self) -> bool:
        """Open and lock the file; False if what was opened is not what is there now. Raises if another one has it.

        No other thread forks meanwhile: its child would have a copy that nobody closes.
        """
        with _lock:
            try:
                fd = os.open(self.path, os.O_RDWR | os.O_CREAT | _HOW, 0o644)
            except OSError as reason:
                raise self._refused(reason) from None
            try:
                if self._is_locked_by_us(fd):
                    self._opened = os.fstat(fd)
                    self._fd, fd = fd, -1
                    _held.add(self)
                    return True
            finally:
                if fd >= 0:
                    os.close(fd)
        self._refuse_second()
        return False

    def _is_locked_by_us(self, fd: int) -> bool:
        self._check(fd)
        result = lib.sid_lock(fd, _OWNER)
        if result < 0 and result != -errno.EAGAIN:
            raise error(result, _LOCK, filename=self.path)
        if result < 0 or not self._is_at_its_path(fd):
            return False
        self._check_content(fd)
        return True

    def _refuse_second(self) -> None:
        """Unless the first one has gone in between."""
        owner = self.owner()
        if owner is not None:
            raise self._error(errno.EAGAIN, _LOCK, f"already running as pid {owner}")

    def _check(self, fd: int) -> None:
        """That nobody has laid the file out to have us write into it, or to make us believe that somebody runs."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise self._error(errno.EINVAL, "open", "it is not a regular file")
        if found.st_nlink > 1:
            raise self._error(errno.EPERM, "open", "it has another name too")
        if found.st_uid not in (os.geteuid(), 0):
            directory = os.stat(os.path.dirname(self.path))
            if directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                hint = f"it belongs to user {found.st_uid}, in a directory in which others may write"
                raise self._error(errno.EPERM, "open", hint)

    def _check_content(self, fd: int) -> None:
        if os.fstat(fd).st_size > 64 or not _ALL.fullmatch(os.pread(fd, 64, 0)):
            raise self._error(errno.EEXIST, "open", "it holds something else than a pid, and is left alone")

    def _is_at_its_path(self, fd: int) -> bool:
        """Who had it before may have removed it, after it was opened here."""
        try:
            there = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(fd))

    def _refused(self, reason: OSError) -> SystemCallError:
        number = reason.errno or errno.EIO
        if number == errno.EMLINK:  # FreeBSD's
            number = errno.ELOOP
        return self._error(number, "open", "it is a symbolic link" if number == errno.ELOOP else None)

    def _error(self, number: int, call: str, hint: str | None = None) -> SystemCallError:
        return SystemCallError(number, call, filename=self.path, hint=hint)

    # -- the object

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<PidFile {self.path!r}{' acquired' if self._fd >= 0 else ''}>"


# Those that are acquired in this process: dropped ones too, since the lock lasts as long as the process.
_held: set[PidFile] = set()
# The one that the forks of `daemonize` hand on.
handed_on: list[PidFile] = []


# Held where no other thread's fork may come between.
_lock = threading.RLock()


def _forget() -> None:
    """In a forked child: the file's lock is the parent's alone, and must end with it."""
    global _lock
    _lock = threading.RLock()
    for file in list(_held):
        if file not in handed_on:
            if file._is_ours(file._fd):
                os.close(file._fd)
            file._fd = -1
            _held.discard(file)


os.register_at_fork(
    before=lambda: _lock.acquire(),  # a forked process has another one
    after_in_parent=lambda: _lock.release(),
    after_in_child=_forget,
)
