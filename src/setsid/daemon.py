"""Daemons that tell the one who starts them whether they work.

`daemonize()` makes a daemon of the calling program; `PidFile` tells whether it runs already.
"""

from __future__ import annotations

import logging
import os

from ._errors import SystemCallError, prepare
from ._marshal import APPLY, FORK, marshal
from ._notify import Notifier
from ._pidfile import PidFile
from ._setup import ChildSetup
from ._starting import Line, as_the_program, check_alone, last_line, start_detached, stay, tell_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

    from typing_extensions import Self

    from ._types import StrOrBytesPath

__all__ = ["Daemon", "PidFile", "daemonize"]

_REFUSED = ("process_group", "ctty", "steal_ctty", "release_ctty", "foreground_tty", "parent_death_signal")


class Daemon:
    """The daemon that the calling program has become. Made by `daemonize` alone.

    As a context manager: an exception that leaves the block is reported to the starter, if it still waits, and logged
    (`logging`, logger "setsid.daemon"); the pidfile is removed at the end.

    Attributes:
        pid: its pid.
        pidfile: its PidFile, or None.
        is_detached: whether it has left the program that the user has started.
    """

    __slots__ = ("_is_ready", "_line", "_notifier", "is_detached", "pid", "pidfile")

    def __init__(self, pidfile: PidFile | None, notifier: Notifier, line: Line | None) -> None:
        self.pid = os.getpid()
        self.pidfile = pidfile
        self.is_detached = line is not None
        self._notifier = notifier
        self._line = line
        self._is_ready = False

    def ready(self, message: str | None = None) -> None:
        """It works: the program that the user has started prints `message` to its stdout, and exits 0 if the daemon is
        detached; a service manager (NOTIFY_SOCKET) gets READY=1. Does nothing the second time.

        RuntimeError in a process that the daemon has forked; SystemCallError when the manager can't be told.
        """
        self._check_pid()
        if message is not None:
            _check_message(message)
        if self._is_ready:
            return
        fields: dict[str, object] = {"READY": 1}
        if self.is_detached:
            fields["MAINPID"] = self.pid
        if message is not None:
            fields["STATUS"] = message
        self._notifier.send(fields)
        self._is_ready = True
        if self.is_detached:
            self._hang_up(0, message or "")
        elif message:
            tell_user(message, is_error=False)

    def fail(self, message: str, status: int = 1) -> NoReturn:
        """It doesn't work: raises SystemExit(status), so that the program ends.

        Before `ready()` the program that the user has started prints `message` to its stderr and exits with `status`, 1
        to 255. One that is not detached prints it itself; a service manager gets it as STATUS.
        """
        self._check_pid()
        _check_message(message)
        if not 1 <= status <= 255:
            raise ValueError(f"status must be from 1 to 255, not {status}")
        if not self._hang_up(status, message):
            tell_user(message)
        try:
            self._notifier.send({"STATUS": message})
        except SystemCallError:
            pass
        raise SystemExit(status)

    def notify(self, **fields: str | int) -> bool:
        """Tell the service manager, as sd_notify(3) does: `notify(STATUS="42 clients", WATCHDOG=1)`.

        Returns whether it has been told: False when there is none, or it has gone. ValueError and TypeError for what is
        no field.
        """
        self._check_pid()
        try:
            return self._notifier.send(dict(fields))
        except SystemCallError:
            return False

    def _check_pid(self) -> None:
        if os.getpid() != self.pid:
            raise RuntimeError(f"process {os.getpid()} is not the daemon, which is process {self.pid}")

    def _hang_up(self, status: int, message: str) -> bool:
        """Tell the starter, once; whether it may have heard it."""
        line, self._line = self._line, None
        return line is not None and line.say(status, message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() != self.pid:
            return
        if value is not None:
            self._end_by(value)
        if self.pidfile is not None:
            self.pidfile.release()
        self._notifier.close()

    def _end_by(self, value: BaseException) -> None:
        if isinstance(value, SystemExit):
            if value.code is not None and not isinstance(value.code, int):  # what Python would write to stderr
                self._hang_up(1, str(value.code))
            return
        self._hang_up(1, last_line(value))
        log = logging.getLogger("setsid.daemon")
        if self.is_detached or log.hasHandlers():  # else both logging and Python would show it on stderr
            log.critical("the daemon ends by an exception", exc_info=value)

    def __repr__(self) -> str:
        return f"<Daemon pid={self.pid}{' ready' if self._is_ready else ''}>"


def daemonize(
    setup: ChildSetup | None = None,
    *,
    pidfile: PidFile | StrOrBytesPath | None = None,
    ready_timeout: float | None = 60.0,
    detach: bool | None = None,
) -> Daemon:
    """Make a daemon of the calling program. Returns in the daemon.

        setup: what its process shall be like; no process group, terminal or parent-death signal.
        pidfile: a path or a PidFile. It is acquired before anything else is done.
        ready_timeout: how long it may take to become ready, in seconds; None: for ever.
        detach: whether it leaves the program that the user has started. None: not as process 1, nor under a service
            manager that wants to be notified (NOTIFY_SOCKET is set); else it does.

    Detached, it runs in a new session that it doesn't lead, so that no terminal can become its own, and its parent is
    init or the subreaper. Not said means: "/" as directory, umask 0o022, /dev/null for the standard streams, all other
    files closed but those of socket activation (LISTEN_FDS), no signal blocked, and all with the action that they have
    when Python starts; so install handlers, open files and start threads afterwards. What is said in `setup` holds.
    Not detached, no process is made, and only what is said is changed.

    The program that the user has started stays until the daemon says `ready()`, then exits 0. If the daemon raises an
    exception, exits, is killed, or isn't ready in time, all of its session is ended, and that program prints the reason
    to stderr and exits with the daemon's status, or with 1. If it is killed meanwhile, the session is ended too. It
    exits by os._exit: what is registered with atexit is the daemon's to run. "already running as pid N" and exit status
    1 (SystemExit) if another one has the pidfile.

    Raises, before there is another process: TypeError and ValueError for what can't be carried out; RuntimeError for a
    program with other threads, which it names, or one in whose event loop it is called; SystemCallError for the pidfile
    and NOTIFY_SOCKET. Not detached, SystemCallError with `stage` for a step that fails. daemon(7), sd_notify(3)
    """
    prepare()
    setup = _checked(setup)
    if ready_timeout is not None and not 0 <= ready_timeout < float("inf"):
        raise ValueError(f"ready_timeout must be 0 or more seconds, or None, not {ready_timeout!r}")
    is_init = os.getpid() == 1
    if detach and is_init:
        raise ValueError("process 1 can't detach a daemon: all processes of its namespace end with it")
    if detach is None:
        detach = not is_init and "NOTIFY_SOCKET" not in os.environ
    if detach:
        check_alone()
    file = pidfile if pidfile is None or isinstance(pidfile, PidFile) else PidFile(pidfile)
    marshal(setup, FORK if detach else APPLY)
    notifier = Notifier()
    try:
        if file is not None:
            _lock(file)
        line = None
        if detach:
            line = start_detached(setup, file, notifier, ready_timeout)
        else:
            stay(setup, file, notifier)
            if file is not None:
                file.write()
    except BaseException:  # in the calling program alone
        notifier.close()
        if file is not None:
            file.release()
        raise
    return Daemon(file, notifier, line)


def _check_message(message: str) -> None:
    if not isinstance(message, str):
        raise TypeError(f"message must be str, not {type(message).__name__}")


def _checked(setup: ChildSetup | None) -> ChildSetup:
    if setup is None:
        return ChildSetup()
    if not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    for name in _REFUSED:
        said = getattr(setup, name)
        if said is not None and said is not False and not (name == "parent_death_signal" and said == 0):
            raise ValueError(f"{name} can't be said for a daemon, which has a session of its own and no terminal")
    return setup


def _lock(file: PidFile) -> None:
    """Only the daemon writes its pid, and whoever asks waits for that."""
    try:
        file.lock()
    except BlockingIOError as reason:
        raise SystemExit(as_the_program(getattr(reason, "hint", None) or str(reason))) from None
