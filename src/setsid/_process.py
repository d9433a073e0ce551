"""Process: the handle of a child, a pid and a pidfd. It knows nothing of how the child was made."""

from __future__ import annotations

import errno
import os
import time
from _warnings import warn  # built in: at the interpreter's end, when __del__ may come, nothing can be imported

from ._calls import as_int
from ._errors import HANDLE, SIGNAL, SystemCallError, error
from ._native import ffi, lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from resource import struct_rusage
    from types import TracebackType
    from typing import Any

    from typing_extensions import Self

    from ._ending import EndReport
    from ._enums import ProcessState
    from ._native import _Child
    from ._session import Session
    from ._types import StrOrBytesPath

FOREVER = -1
EINTR = errno.EINTR
SIGKILL = 9
SIGTERM = 15

_wait = lib.sid_wait
_close = lib.sid_close

# Children whose Process was dropped while they ran. The next spawn reaps those that have ended since.
dropped: list[_Child] = []


def no_handle(more: str = "") -> NotImplementedError:
    """The exception for a process of which no file descriptor tells."""
    if HANDLE == "pidfd":
        return NotImplementedError(f"this kernel has no pidfds (Linux has them since 5.3){more}")
    return NotImplementedError(f"there is no kqueue for it (a forked process does not inherit them){more}")


def closed_error(child: _Child) -> ValueError:
    """The exception for a handle that can't be used any more."""
    if child.pidfd == lib.SID_PIDFD_LOST and not child.closed:
        return ValueError(
            f"the file of the handle of process {child.pid} has been closed by somebody else, as daemonize closes what "
            "is not in pass_fds"
        )
    return ValueError(f"the handle of process {child.pid} is closed")


def reap_dropped() -> None:
    """Reap the ended ones among the children that nobody holds any more."""
    for child in list(dropped):
        if lib.sid_reap(child) < 0 or child.reaped:  # else it runs, or an `end` under way has it stay a zombie
            lib.sid_forget(child)
            try:
                dropped.remove(child)
            except ValueError:  # another thread has done the same
                continue


def _let_go(child: _Child) -> bool:
    """Close a child; True if it must still be reaped. On the list first: an exception in between then loses nothing."""
    dropped.append(child)
    must_be_reaped = bool(_close(child))
    if not must_be_reaped:
        try:
            dropped.remove(child)
        except ValueError:  # a spawn of another thread has looked at it meanwhile
            pass
    return must_be_reaped


class WaitedFor:
    """What a `with` block waits for, or ends when an exception leaves it."""

    __slots__ = ()

    if TYPE_CHECKING:

        def wait(self) -> object: ...
        def end(self) -> object: ...
        def close(self) -> None: ...
        def _check_open(self) -> None: ...

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                try:
                    self.wait()
                except BaseException:  # that is leaving by an exception too
                    self.end()
                    raise
            else:
                self.end()
        finally:
            self.close()


class Process(WaitedFor):
    """A child process. Made by `spawn` and `fork`.

    Threads may share one: any number may wait, and all learn the status. Signals go through a pidfd, which is opened
    when the child is made, so they never reach a process that got its number later; where the kernel has no pidfds
    (Linux before 5.3), never once the child is reaped.

    As a context manager, `async with` too: leaving normally waits for the child, leaving by an exception ends it
    (`end()`); both close the handle. One that is dropped unwaited gives a ResourceWarning.

    Attributes:
        args: what it was started with; () if it was forked.
    """

    __slots__ = ("__weakref__", "_child", "args")

    args: Sequence[StrOrBytesPath]

    def __init__(self, child: _Child, args: Sequence[StrOrBytesPath]) -> None:
        # `child` is a struct sid_child, for sid_spawn to fill; not for users.
        self._child = child
        self.args = args

    @property
    def pid(self) -> int:
        """The process id."""
        return self._child.pid

    # -- how it ended

    @property
    def returncode(self) -> int | None:
        """The exit status, or -n when signal n ended it, or None as long as nobody has waited for it."""
        return self._child.returncode if lib.sid_ended(self._child) & 1 else None

    @property
    def core_dumped(self) -> bool:
        """Whether it ended by a signal and left a core dump. False as long as nobody has waited for it."""
        return bool(lib.sid_ended(self._child) & 1 and self._child.dumped)

    @property
    def rusage(self) -> struct_rusage | None:
        """What it and its own waited-for children used, as from os.wait4(); None before it has ended and been waited
        for, or when somebody else has reaped it. getrusage(2)
        """
        if not lib.sid_ended(self._child) & 2:
            return None
        from resource import struct_rusage

        usage = list(self._child.usage)
        return struct_rusage((usage[0] / 1e6, usage[1] / 1e6, *usage[2:]))

    # -- waiting

    def fileno(self) -> int:
        """A file descriptor that polls readable once the process has ended: its pidfd, or a kqueue on
        macOS and FreeBSD. It is the handle's own: don't close it, nor read from it. pidfd_open(2), kqueue(2)

        Raises NotImplementedError where the kernel has no such thing, ValueError after close().
        """
        fd = lib.sid_fileno(self._child)
        if fd == -errno.EBADF:
            raise self._closed_error()
        if fd == -errno.ENOSYS:
            raise no_handle()
        if fd < 0:
            raise error(fd, "eventfd" if HANDLE == "pidfd" else "kqueue")
        return fd

    def poll(self) -> int | None:
        """The returncode if the process has ended (it is reaped then), else None.

        Raises ChildProcessError when somebody else has reaped it and its status is not to be had.
        """
        child = self._child
        if not child.reaped:
            self._check_open()
            result = lib.sid_reap(child)
            if result < 0:
                raise self._wait_error(result)
        return self.returncode

    def wait(self, timeout: float | None = None, *, reap: bool = True) -> int:
        """Wait until the process has ended, sleeping in the kernel, and return its returncode.

        `timeout` is in seconds. With `reap=False` the ended process stays a zombie, and so keeps its pid, its group
        and its session from being given to others, until it is waited for again.
        Raises TimeoutError when the time is over, ChildProcessError when somebody else has reaped the child and its
        status is not to be had, and whatever a signal handler raises. waitid(2)
        """
        child = self._child
        if timeout is None:
            while (result := _wait(child, FOREVER, reap)) == -EINTR:
                pass  # Python has run its handlers on the way
        else:
            result = _until(timeout, lambda left: _wait(child, left, reap))
        if result < 0:
            raise self._wait_error(result, timeout)
        return child.returncode

    def wait_change(self, timeout: float | None = None) -> ProcessState:
        """Wait until the process stops (STOPPED), goes on (RUNNING) or ends (DONE, not reaped), and say which.

        `timeout` is in seconds; with one, a stop is noticed within 10 ms. Raises as `wait` does. waitid(2)
        """
        from ._enums import CHANGES

        self._check_open()
        if timeout is None:
            while (result := lib.sid_wait_change(self._child, FOREVER)) == -EINTR:
                pass
        else:
            result = _until(timeout, lambda left: lib.sid_wait_change(self._child, left))
        if result == -errno.ETIMEDOUT:
            raise TimeoutError(f"process {self.pid} did not change within {timeout} seconds")
        if result < 0:
            raise self._wait_error(result)
        return CHANGES[result]

    def reaped(self, status: int) -> None:
        """Tell the handle that the child was reaped elsewhere, as by os.waitpid(-1), with this wait status.

        Does nothing when the end is known already. ValueError for a status that is no end.
        """
        if not (os.WIFEXITED(status) or os.WIFSIGNALED(status)):
            raise ValueError(f"{status} is not the wait status of a process that has ended")
        lib.sid_reaped_elsewhere(self._child, status)

    def _wait_error(self, result: int, timeout: float | None = None) -> Exception:
        if result == -errno.ETIMEDOUT:
            return TimeoutError(f"process {self.pid} did not end within {timeout} seconds")
        if result == -errno.EBADF:
            return self._closed_error()
        if result != -errno.ECHILD:
            return error(result, "waitid")
        if self._child.owner != os.getpid():
            reason = self._why_not_ours()
        else:
            reason = (
                f"process {self.pid} was reaped elsewhere (by waitpid(-1), or because SIGCHLD is ignored) "
                "and the kernel does not tell how it ended; see Process.reaped()"
            )
        return SystemCallError(errno.ECHILD, "waitid", hint=reason)

    def _why_not_ours(self) -> str | None:
        owner = self._child.owner
        if owner != os.getpid():
            return f"process {self.pid} is a child of process {owner}, not of this one"
        return f"process {self.pid} has been reaped, so its group's number may be another's"

    # -- signals

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process. Does nothing once it has ended. Raises SystemCallError: EPERM, EINVAL.

        pidfd_send_signal(2)
        """
        signal = as_int(signal, "signal")
        result = lib.sid_signal_child(self._child, signal)
        if result == -errno.EBADF and self.returncode is None:
            raise self._closed_error()
        if result < 0 and result not in (-errno.ESRCH, -errno.EBADF):
            call = "kill" if self._child.pidfd == lib.SID_PIDFD_NONE else SIGNAL
            raise error(result, call, signal)

    def terminate(self) -> None:
        """Send SIGTERM, as `send_signal` does."""
        self.send_signal(SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, as `send_signal` does."""
        self.send_signal(SIGKILL)

    def signal_group(self, signal: int) -> None:
        """Send a signal to every process of the child's process group.

        Raises ValueError when that is the caller's own group; SystemCallError: ESRCH once the child has been reaped,
        since the group's number may be another's by then; EPERM, EINVAL. kill(2)
        """
        if not self._signal_if_in(0, as_int(signal, "signal")):
            raise SystemCallError(errno.ESRCH, "kill", hint=self._why_not_ours())

    def _signal_if_in(self, group: int, signal: int) -> bool:
        """Signal the child's group if the child is unreaped, and in `group` (0: any); whether it was."""
        result = lib.sid_signal_group(self._child, signal, group)
        if result == 1:
            raise ValueError(f"process {self.pid} is in the caller's own process group, {os.getpgrp()}")
        if result == -errno.EBADF:
            raise self._closed_error()
        if result < 0 and result != -errno.ESRCH:
            raise error(result, "kill", signal)
        return result == 0

    # -- session and end

    @property
    def session(self) -> Session | None:
        """The session that the child leads, or None if it leads none."""
        if not self._child.leads_session:
            return None
        from ._session import Session

        session = Session(self.pid)
        if not lib.sid_is_ours(self._child):  # it was reaped before now, so who has its number may be a stranger
            session._since = 0
        return session

    def end(self, grace: float = 5.0, *, signal: int = SIGTERM) -> EndReport:
        """End the session that the child leads, else the process group that it leads, else the child alone.

        Sends `signal` and SIGCONT, waits up to `grace` seconds for all to end, then sends SIGKILL until none is left,
        and reaps the child last of all. An interactive shell ignores SIGTERM: SIGHUP is what it heeds. What holds the
        caller is never signalled. Returns which processes have `ended`, which have `survived`, and which living
        descendants have `escaped`, as by making a session of their own. Interrupted by an exception of a signal
        handler, it sends SIGKILL at once, and raises it when that is done. Once the child has been reaped its number
        may be another's, so `end` does nothing: to end what a child leaves behind, `wait(reap=False)` first. Raises
        ValueError for an unknown signal.
        """
        from ._ending import end_process

        self._check_open()
        return end_process(self, grace, as_int(signal, "signal"))

    def _abandon(self) -> None:
        """End what nobody will ever hold."""
        from ._ending import end_at_once

        end_at_once(self)

    # -- asyncio

    def __await__(self) -> Generator[Any, None, int]:
        """`await process` is the returncode once the process has ended, for any number of tasks.

        Raises ChildProcessError as `wait` does, RuntimeError without a running asyncio event loop. Elsewhere than in
        asyncio, wait until `fileno()` is readable, then `wait()`.
        """
        from ._async import wait_ended

        return wait_ended(self).__await__()

    async def end_async(self, grace: float = 5.0, *, signal: int = SIGTERM) -> EndReport:
        """The same as `end`, in an asyncio event loop. Cancelled, it sends SIGKILL at once and holds the loop until all
        have ended: some milliseconds, more for processes of much memory, 5 seconds for one that is stuck in the kernel.
        """
        from ._async import end_in_loop

        self._check_open()
        return await end_in_loop(self, grace, as_int(signal, "signal"))

    # -- the handle

    def close(self) -> None:
        """Let go of the process: it is left alone, and reaped by a later `spawn` once it has ended.

        What is known of its end stays known. What needs the handle (waiting, a signal to one that may still run, end)
        raises ValueError from here on.
        """
        _let_go(self._child)

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        from ._async import end_for

        try:
            if kind is None:
                try:
                    await self
                except BaseException as error:  # that is leaving by an exception too
                    await end_for(self, error)
                    raise
            else:
                await end_for(self, value)
        finally:
            self.close()

    def __del__(self) -> None:
        child = getattr(self, "_child", None)  # none in one that was never made whole
        if child and child.kept and not child.closed and _let_go(child):
            program = f": {self.args[0]!r}" if self.args else ""  # none of one that was forked
            told = f"process {child.pid} was never waited for{program}"
            warn(told, ResourceWarning, source=self, stacklevel=2)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Process can't be pickled: it is a child of this process")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} pid={self.pid} returncode={self.returncode} args={self.args!r}>"

    def _check_open(self) -> None:
        if self._child.closed:
            raise self._closed_error()

    def _closed_error(self) -> ValueError:
        return closed_error(self._child)


class Held(Process):
    """One that its holder, a Popen, warns of."""

    __slots__ = ()

    def awaited(self, timeout: float | None, unknown: int = 0) -> int | None:
        """The returncode; None if the time is over; `unknown` if it was reaped elsewhere and the kernel can't tell. No
        exception stands for any of that: a signal handler may raise the same.
        """
        child = self._child
        if timeout is None:
            while (result := _wait(child, FOREVER, True)) == -EINTR:
                pass
        else:
            result = _until(timeout, lambda left: _wait(child, left, True))
        if result == -errno.ETIMEDOUT:
            return None
        if result < 0:  # -ECHILD
            lib.sid_reaped_elsewhere(child, 0)
            return unknown
        return child.returncode

    def keep(self) -> None:
        """Have the ended child stay a zombie, whoever waits for it, until `keep_no_longer`."""
        lib.sid_stay(self._child, 1)

    def keep_no_longer(self) -> None:
        """Let go of what `keep` has kept, and reap it if it has ended."""
        lib.sid_stay(self._child, -1)
        lib.sid_reap(self._child)

    def __del__(self) -> None:
        # A garbage collector finalizes a cycle in any order, and the Popen in it may have itself reaped later on: the
        # handle must still serve then.
        child = getattr(self, "_child", None)
        if child and child.kept and not child.closed:
            if child.reaped:
                _close(child)
            else:
                dropped.append(child)


def started() -> Held:
    """The Process of a child that is still to be made, and whose holder gives the ResourceWarning."""
    return Held(ffi.new("struct sid_child *"), ())


def adopted(pid: int) -> Held:
    """The same of a child that somebody else has made."""
    process = started()
    lib.sid_adopt(process._child, pid)
    return process


def _until(timeout: float, wait: Callable[[int], int]) -> int:
    """Call `wait` with the nanoseconds left until it is not interrupted any more."""
    nanoseconds = _nanoseconds(timeout)
    deadline = time.monotonic_ns() + nanoseconds
    while (result := wait(nanoseconds)) == -EINTR:
        nanoseconds = max(0, deadline - time.monotonic_ns())
    return result


def _nanoseconds(timeout: float) -> int:
    """Seconds as the nanoseconds that fit a C int64. A time that is over already looks once."""
    if not hasattr(timeout, "__float__"):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if timeout != timeout:
        raise ValueError("timeout is not a number")
    return int(min(timeout, 9e9) * 1e9) if timeout > 0 else 0
