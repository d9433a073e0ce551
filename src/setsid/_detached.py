"""spawn_detached: start a program that is nobody's child here; DetachedProcess: its handle, a pidfd."""

from __future__ import annotations

import errno

from ._calls import as_int
from ._errors import SIGNAL, error
from ._marshal import DETACHED
from ._native import ffi, lib
from ._process import FOREVER, SIGTERM, _until, closed_error, no_handle
from ._setup import with_changes
from ._spawn import start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self, Unpack

    from ._ending import EndReport, Steps
    from ._native import _Child
    from ._setup import ChildSetup
    from ._types import Environment, SetupFields, StrOrBytesPath

EINTR = errno.EINTR

# What a program in a session of which it is no leader, and whose parent ends at once, can't have.
_REFUSED = {
    "process_group": "it is in the group of a new session, and leads neither",
    "ctty": "only a session leader can acquire one",
    "steal_ctty": "only a session leader can acquire one",
    "release_ctty": "a new session has no terminal",
    "foreground_tty": "a new session has no terminal",
    "parent_death_signal": "its parent ends at once",
}


def spawn_detached(
    argv: Sequence[StrOrBytesPath],
    setup: ChildSetup | None = None,
    *,
    executable: StrOrBytesPath | None = None,
    env: Environment | None = None,
    **changes: Unpack[SetupFields],
) -> DetachedProcess:
    """Start a program that is nobody's child here: as a daemon's double fork does, but no Python runs in either child.

    The program is in a new session, without being its leader, so it never acquires a terminal by opening one. Its
    parent is init, or the nearest subreaper: nothing is to be reaped here, and on Linux no SIGCHLD comes. (Of
    a caller that is the subreaper itself, PR_SET_CHILD_SUBREAPER, or process 1, it is a child all the same, by the
    kernel.) The calling thread waits until the program is executed.

    The arguments are those of `spawn`. `process_group`, `ctty`, `steal_ctty`, `release_ctty`, `foreground_tty` and
    `parent_death_signal` can't be carried out, and are a ValueError if they are said. The files that are not said are
    the caller's: give a program that is to outlive a terminal its `stdin`, `stdout` and `stderr`.

    Returns the DetachedProcess. Raises as `spawn` does, with the stage; no process is left then. SystemCallError too:
    ECHILD when a signal has ended the child in between before it had started the program, EINVAL in a thread whose next
    children belong to another pid namespace, ENOSYS where there are neither pidfds (Linux 5.3) nor /proc. Raises the
    auditing event `setsid.spawn` with executable, argv, cwd, env. setsid(2), clone(2), PR_SET_CHILD_SUBREAPER(2const)
    """
    setup = with_changes(setup, changes)
    plan = setup.marshalled
    if plan is None or plan.verb is not DETACHED:
        _check(setup)
    process = DetachedProcess(ffi.new("struct sid_child *"), argv)
    process._since = lib.sid_now()
    try:
        start(process, setup, executable, env, DETACHED, lib.sid_spawn_detached)
        return process
    except BaseException:
        if process._child.kept:  # of a signal handler: nobody will ever hold it
            process._abandon()
        process.close()
        raise


def _check(setup: ChildSetup) -> None:
    for name, why in _REFUSED.items():
        value = getattr(setup, name)
        if value is not None and value is not False:  # 0 is a process group
            raise ValueError(f"{name} is nothing for a detached program: {why}")


class DetachedProcess:
    """A process that `spawn_detached` has started. It is nobody's child here, so how it ends is not to be known.

    Signals and waits go by the pidfd that the kernel gave when it was made, so they never meet a process that got its
    number later. Where the kernel has no pidfds (Linux before 5.3) it is known by its number and the time of its start,
    which is enough to wait; `fileno` and `send_signal` raise NotImplementedError there. Threads may share one, and a
    forked copy of this process may use its own.

    As a context manager it closes the handle and nothing else. Dropping it leaves the process alone too.

    Attributes:
        args: what it was started with.
    """

    __slots__ = ("__weakref__", "_child", "_since", "args")

    args: Sequence[StrOrBytesPath]

    def __init__(self, child: _Child, args: Sequence[StrOrBytesPath]) -> None:
        # `child` is a struct sid_child, for sid_spawn_detached to fill; not for users.
        self._child = child
        self._since = 0
        self.args = args

    @property
    def pid(self) -> int:
        """The process id. Once the process has ended, it may be another's."""
        return self._child.pid

    def fileno(self) -> int:
        """A file descriptor that polls readable once the process has ended: its pidfd, or a kqueue on
        macOS and FreeBSD. It is the handle's own: don't close it, nor read from it. pidfd_open(2), kqueue(2)

        Raises NotImplementedError where the kernel has no such thing, ValueError after close().
        """
        fd = lib.sid_fileno(self._child)
        if fd == -errno.ENOSYS:
            raise no_handle()
        if fd < 0:
            raise self._closed_error()
        return fd

    def is_alive(self) -> bool:
        """Whether it runs; False from the moment that it has ended. Raises ValueError after close(), and if somebody
        else has closed its file descriptor, as daemonize does with those that are not in its `pass_fds`.
        """
        result = lib.sid_is_alive(self._child)
        if result < 0:
            raise self._closed_error()
        return bool(result)

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the process has ended, sleeping in the kernel. Its exit status goes to its parent alone.

        `timeout` is in seconds. Raises TimeoutError when the time is over, ValueError after close(), and whatever a
        signal handler raises. Without pidfds it looks every 20 ms at most. pidfd_open(2), poll(2)
        """
        if timeout is None:
            while (result := lib.sid_wait_detached(self._child, FOREVER)) == -EINTR:
                pass  # Python has run its handlers on the way
        else:
            result = _until(timeout, lambda left: lib.sid_wait_detached(self._child, left))
        if result == -errno.ETIMEDOUT:
            raise TimeoutError(f"process {self.pid} did not end within {timeout} seconds")
        if result == -errno.EBADF:
            raise self._closed_error()
        if result < 0:
            raise error(result, "ppoll")

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process. Does nothing once it has ended.

        Raises SystemCallError: EPERM, EINVAL; NotImplementedError where the kernel has no pidfds, since its number may
        be another's by then; ValueError after close(). pidfd_send_signal(2)
        """
        signal = as_int(signal, "signal")
        if not self.is_alive():
            return
        if self._child.pidfd == lib.SID_PIDFD_NONE:
            raise no_handle(": it might be another process")
        result = lib.sid_signal_child(self._child, signal)
        if result == -errno.EBADF:
            raise self._closed_error()
        if result < 0 and result != -errno.ESRCH:
            raise error(result, SIGNAL, signal)

    def end(self, grace: float = 5.0, *, signal: int = SIGTERM) -> EndReport:
        """End the session that the process was started in, and the process itself if it has left that.

        Sends `signal` and SIGCONT, waits up to `grace` seconds for all to end, then sends SIGKILL until none is left.
        The session is ended too when the process itself is gone. Returns which processes have `ended`, which have
        `survived`, and which living descendants have `escaped`, as by making a session of their own. Interrupted by an
        exception of a signal handler, it sends SIGKILL at once, and raises it when that is done.

        Raises ValueError for an unknown signal and after close(); SystemCallError: ESRCH when it can't be known whether
        those that are left are of the session that it was started in, which is so when the process and its first group
        have ended and Session could not know it either; ENOENT without a /proc of this pid namespace.
        """
        from ._ending import drive, ending_detached

        self.is_alive()
        since = -1

        def begin(grace: float, signal: int) -> Steps[EndReport]:
            nonlocal since
            if since < 0:
                since = self._find_session()
            return ending_detached(self._child, since, grace, signal)

        return drive(begin, grace, as_int(signal, "signal"))

    def _find_session(self) -> int:
        """The last moment when its session is sure to have been the one with that number; ESRCH in doubt."""
        from ._session import Session

        session = Session(self._child.session)
        now = session._since
        if lib.sid_session_is_own(self._child) == 1:
            return now
        session._since = self._since
        leader = session_leader_start(session.sid)
        if leader is None or leader <= self._since:  # else the session is over, and its number another's
            session._members()
        return session._since

    def _abandon(self) -> None:
        """End what nobody will ever hold."""
        from ._ending import end_detached_at_once

        end_detached_at_once(self._child, lib.sid_now())

    # -- the handle

    def close(self) -> None:
        """Let go of the process, which goes on. What needs the handle raises ValueError from here on."""
        lib.sid_close(self._child)
        lib.sid_forget(self._child)

    def __enter__(self) -> Self:
        self.is_alive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        child = getattr(self, "_child", None)  # none in one that was never made whole
        if child:
            lib.sid_close(child)
            lib.sid_forget(child)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a DetachedProcess can't be pickled: it holds a file descriptor")

    def __repr__(self) -> str:
        result = lib.sid_is_alive(self._child)
        state = "closed" if result < 0 else "running" if result else "ended"
        return f"<{type(self).__name__} pid={self.pid} {state} args={self.args!r}>"

    def _closed_error(self) -> ValueError:
        return closed_error(self._child)


def session_leader_start(sid: int) -> int | None:
    """When the process with the number of a session has started, on the clock of sid_now; None if there is none."""
    row = ffi.new("struct sid_process *")
    known = lib.sid_process(sid, row, ffi.NULL) == 1 and row.state
    return int(row.start) if known else None
