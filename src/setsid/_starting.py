"""The start of a detached daemon: who waits for whom, and what each says to the other.

    starter   what the user has started; stays until it knows, and says it by its message and its exit status
    middle    leads the new session; the daemon's parent, so that the daemon's status is not lost; then exits
    daemon    goes on in the caller's program

The ends of processes are told by their pidfds, since the end of a pipe tells nothing when others hold it. But for the
starter's: it has no other thread, so that nobody can have a copy of its end of `life`.
"""

from __future__ import annotations

# All at once: after a change of root or user they may be out of reach.
import os
import select
import signal as signals
import socket
import sys
import threading
import time
import traceback
from contextlib import suppress

from . import _ending  # noqa: F401 - what Process.end imports
from ._calls import as_fd, is_still, out_of_the_way
from ._errors import SystemCallError
from ._fields import DEVNULL, INHERIT, NEW_SESSION, known_signals
from ._fork import fork
from ._marshal import FORK, marshal
from ._pidfile import handed_on
from ._session import Session
from ._setup import ChildSetup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, NoReturn

    from ._notify import Notifier
    from ._pidfile import PidFile
    from ._process import Process

# What is not said.
_DEFAULTS: dict[str, Any] = {
    "cwd": "/",
    "umask": 0o022,
    "stdin": DEVNULL,
    "stdout": DEVNULL,
    "stderr": DEVNULL,
    "close_fds": True,
    "signal_mask": (),
}
_FAULTS = {signals.SIGSEGV, signals.SIGFPE, signals.SIGABRT, signals.SIGBUS, signals.SIGILL}
_GRACE = 5.0  # seconds that a daemon that has failed gets to end by itself
_LONGEST = 3000 if sys.platform == "linux" else 2000  # bytes of a message, which is whole; macOS takes 2048
_LINGERS = 1.0  # seconds: the kernel's half of a thread outlives its join()
_LOOK_EVERY = 0.05  # seconds, where there are no pidfds


# -- before


def check_alone() -> None:
    """RuntimeError when a fork would leave other threads behind, or an event loop in an undefined state."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError("daemonize() is called in a running event loop, which can't be forked; call it before")
    deadline = time.monotonic() + _LINGERS
    while names := _other_threads():
        if threading.active_count() == 1 and time.monotonic() < deadline:
            time.sleep(0.001)
            continue
        raise RuntimeError(f"the program has other threads, which a daemon would be without: {', '.join(names)}")


def _other_threads() -> list[str]:
    ident = threading.get_ident()  # in a forked process native_id is still the parent's
    others = {thread.native_id: thread.name for thread in threading.enumerate() if thread.ident != ident}
    names = [repr(name) for name in others.values()]
    try:
        own = int(os.path.basename(os.readlink("/proc/thread-self")))  # /proc may be another pid namespace's
        tasks = sorted(map(int, os.listdir("/proc/self/task")))
    except OSError:
        return names
    for task in tasks:
        if task != own and task not in others:
            name = _name_of(task)
            if name and name != "setsid-helper":  # which a forked process makes anew
                names.append(f"{name!r} (not Python's)")
    return names


def _name_of(task: int) -> str:
    try:
        with open(f"/proc/self/task/{task}/comm", errors="backslashreplace") as file:
            return file.read().rstrip("\n")
    except OSError:  # it has ended
        return ""


def tell(fd: int, message: str) -> None:
    """Write a line, unless nobody takes it: a starter does not hang because its stderr is full."""
    line = f"{message}\n".encode("utf-8", "backslashreplace")
    waiting = select.poll()
    waiting.register(fd, select.POLLOUT)
    try:
        if waiting.poll(1000):
            os.write(fd, line)
    except OSError:
        pass


def as_the_program(message: str) -> str:
    """As programs tell their users."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    return f"{'daemon' if name in ('', '-c', '-m') else name}: {message}"


def tell_user(message: str, *, is_error: bool = True) -> None:
    """On stderr, or on stdout, if there is one."""
    for stream in (sys.__stderr__, sys.stderr) if is_error else (sys.__stdout__, sys.stdout):
        try:
            fd = stream.fileno()  # type: ignore[union-attr]
        except (AttributeError, OSError, ValueError):  # none; a closed or detached one, or one without a file
            continue
        tell(fd, as_the_program(message) if is_error else message)
        return


# -- the daemon's plan


def _plan_of(setup: ChildSetup, own: list[int], listened: list[int]) -> ChildSetup:
    """What is said, a daemon's defaults for the rest, and all files that it needs."""
    changes = {name: value for name, value in _DEFAULTS.items() if getattr(setup, name) is None}
    if setup.signal_mask is INHERIT:  # the middle's is another
        changes["signal_mask"] = known_signals() & signals.pthread_sigmask(signals.SIG_BLOCK, ())
    if setup.default_signals is None:
        ignored = (setup.ignore_signals or frozenset()) | {signals.SIGPIPE, signals.SIGXFSZ}  # as Python starts
        changes["ignore_signals"] = ignored
        changes["default_signals"] = _usual_signals() - ignored
    changes["pass_fds"] = _kept(setup, own, listened)
    changes["process_group"] = INHERIT
    return setup.replace(**changes)


def _passed(setup: ChildSetup) -> dict[int, Any]:
    files: Any = setup.pass_fds or ()
    if hasattr(files, "keys"):
        return dict(files)
    return {as_fd(file, "pass_fds"): file for file in files}


def _kept(setup: ChildSetup, own: list[int], listened: list[int]) -> dict[int, Any]:
    """All files that the daemon needs, by their numbers there."""
    return {fd: fd for fd in (*own, *listened)} | _passed(setup)


def _usual_signals() -> frozenset[int]:
    """All that have their default action when Python starts, unless faulthandler has been asked to see to them."""
    faulthandler = sys.modules.get("faulthandler")
    kept = {signals.SIGKILL, signals.SIGSTOP, signals.SIGPIPE, signals.SIGXFSZ}
    if faulthandler is not None and faulthandler.is_enabled():
        kept |= _FAULTS
    return known_signals() - kept


def _listened() -> list[int]:
    """The sockets that a service manager has opened for the program. sd_listen_fds(3)"""
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not os.environ.get("LISTEN_FDS", "").isdecimal():
        return []
    return [fd for fd in range(3, 3 + min(int(os.environ["LISTEN_FDS"]), 1 << 16)) if _is_open(fd)]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


# -- what they say to each other


def _packets() -> tuple[int, int]:
    """To read from, and to write to. Each message is read whole; a write to who has gone is an error and no signal."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        one.setblocking(False)
        return one.detach(), other.detach()


class _Wires:
    """The pairs of files between the three, each for one direction. A message is a status, 0 for a daemon that is
    ready, and a text.
    """

    __slots__ = ("from_daemon", "from_middle", "life", "of_starter", "to_middle", "to_starter")

    def __init__(self, taken: set[int]) -> None:
        """Under numbers that are not `taken`."""
        for name in self.__slots__:
            setattr(self, name, -1)
        try:
            self.from_daemon, self.to_middle = _packets()
            self.from_middle, self.to_starter = _packets()
            self.of_starter, self.life = os.pipe()  # of_starter hears of the end of who has `life`
            for name in self.__slots__:
                setattr(self, name, out_of_the_way(getattr(self, name), taken))
        except BaseException:
            self.close()
            raise

    def close(self, *names: str) -> None:
        """Some, or all."""
        for name in names or self.__slots__:
            fd = getattr(self, name)
            setattr(self, name, -1)
            if fd >= 0:
                os.close(fd)


def _write(fd: int, status: int, text: str) -> bool:
    try:
        os.write(fd, bytes([status]) + text.encode("utf-8", "backslashreplace")[:_LONGEST])
    except OSError:
        return False
    return True


def _read(fd: int) -> tuple[int, str] | None:
    """What has been said, or None."""
    try:
        message = os.read(fd, _LONGEST + 1)
    except (BlockingIOError, ConnectionError):  # the BSDs tell that the writer has gone
        return None
    return message[0], message[1:].decode("utf-8", "replace")


class Line:
    """The daemon's line to those who wait for it. An exception that ends the program is reported too."""

    __slots__ = ("_fd", "_opened", "_previous")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._opened = os.fstat(fd)
        self._previous = sys.excepthook
        sys.excepthook = self._report
        _lines.append(self)

    def say(self, status: int, text: str) -> bool:
        """Say the one thing that there is to say; whether somebody may have heard it."""
        is_said = is_still(self._fd, self._opened) and _write(self._fd, status, text)
        self.close()
        return is_said

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if is_still(fd, self._opened):
            os.close(fd)
        if sys.excepthook == self._report:
            sys.excepthook = self._previous
        if self in _lines:
            _lines.remove(self)

    def _report(self, kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        self.say(1, last_line(value))
        self._previous(kind, value, trace)


_lines: list[Line] = []  # at most one


def _forget() -> None:
    """What the daemon forks does not speak for it."""
    for line in list(_lines):
        line.close()


os.register_at_fork(after_in_child=_forget)


def last_line(value: BaseException) -> str:
    told = traceback.TracebackException(type(value), value, None)
    told.__notes__ = None  # type: ignore[attr-defined]  # which would be the last lines
    return list(told.format_exception_only())[-1].strip()


# -- the three


class _Start:
    """What the three have in common."""

    __slots__ = ("listened", "own", "pidfile", "plan", "resets_sigint", "wires")

    def __init__(self, setup: ChildSetup, pidfile: PidFile | None, notifier: Notifier) -> None:
        """Raises what is wrong with the plan's files."""
        self.pidfile = pidfile
        self.listened = _listened()
        self.resets_sigint = setup.default_signals is None and signals.SIGINT not in (setup.ignore_signals or ())
        taken = {*_passed(setup), *self.listened}
        self.own = _lifted(pidfile, notifier, taken)
        self.wires = _Wires(taken)
        self.own.append(self.wires.to_middle)
        try:
            self.plan = _plan_of(setup, self.own, self.listened)
            marshal(self.plan, FORK)
        except BaseException:
            self.wires.close()
            raise


def _lifted(pidfile: PidFile | None, notifier: Notifier, taken: set[int]) -> list[int]:
    """The files that outlast the plan, under numbers that are not `taken`."""
    own = []
    if pidfile is not None:
        pidfile.lift(taken)
        own.append(pidfile.fileno())
    if notifier.fd >= 0:
        notifier.fd = out_of_the_way(notifier.fd, taken)
        own.append(notifier.fd)
    return own


def stay(setup: ChildSetup, pidfile: PidFile | None, notifier: Notifier) -> None:
    """Carry the plan out in this process."""
    listened = _listened()
    own = _lifted(pidfile, notifier, {*_passed(setup), *listened})
    if setup.close_fds:
        setup = setup.replace(pass_fds=_kept(setup, own, listened))
    setup.apply()
    for fd in own:
        os.set_inheritable(fd, False)


def start_detached(setup: ChildSetup, pidfile: PidFile | None, notifier: Notifier, timeout: float | None) -> Line:
    """Returns in the daemon. In the caller only exceptions come back, and there is no daemon then."""
    caller, middle = os.getpid(), None
    everything = known_signals() - {signals.SIGKILL, signals.SIGSTOP}
    deadline = None if timeout is None else time.monotonic() + timeout
    start = _Start(setup, pidfile, notifier)
    try:
        _flush()
        handed_on[:] = [] if pidfile is None else [pidfile]
        # The daemon may be so fast that its signal comes before its starter knows the middle: the handler has to wait,
        # or its exception would leave nobody to wait for the middle.
        before = signals.pthread_sigmask(signals.SIG_BLOCK, ())
        try:
            signals.pthread_sigmask(signals.SIG_BLOCK, everything)
            middle = fork(process_group=NEW_SESSION, signal_mask=everything)
        finally:
            if os.getpid() == caller:
                signals.pthread_sigmask(signals.SIG_SETMASK, before)
        if middle is None:
            return _in_middle(start)
        _await(middle, start, timeout, deadline)
    except BaseException as reason:
        if os.getpid() != caller:
            _leave(reason, start)
        start.wires.close()  # at which the middle ends all, if there is one
        handed_on.clear()
        if middle is not None:
            try:
                middle.end(_GRACE)
            finally:
                middle.close()
        raise


def _flush() -> None:
    """What is in the buffers now would be written twice."""
    for stream in sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__:
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            pass


def _leave(reason: BaseException, start: _Start) -> NoReturn:
    """The caller's program must not go on in the middle, nor in a daemon that could not be set up."""
    text = str(reason) if isinstance(reason, SystemCallError) else last_line(reason)
    for fd in start.wires.to_middle, start.wires.to_starter:
        if fd >= 0:
            _write(fd, 1, text)
    os._exit(1)


def _await(middle: Process, start: _Start, timeout: float | None, deadline: float | None) -> NoReturn:
    """In the starter."""
    reads = start.wires.from_middle
    otherwise = f"process {middle.pid}, which watched over the start, has been killed"
    try:
        middle.wait(None if deadline is None else max(deadline - time.monotonic(), 0), reap=False)
    except TimeoutError:
        otherwise = f"not ready within {timeout:g} seconds"
    except ChildProcessError:  # SIGCHLD is ignored, or a handler has reaped it; what it has said is there
        pass
    status, text = _read(reads) or (1, otherwise)
    if status == 0:
        try:
            with suppress(ChildProcessError):
                middle.wait()
            if text:
                tell_user(text, is_error=False)
        finally:  # there is a daemon: nothing that comes in between leads back to the caller
            os._exit(0)
    left: tuple[int, ...] = ()
    try:
        report = middle.end(_GRACE)
        left = (*report.survived, *report.escaped)
    except OSError as reason:  # as without a /proc
        text += f" (what is left of it could not be looked up: {reason})"
    if left:
        text += f" (still there: {', '.join(map(str, left))})"
    elif start.pidfile is not None:
        start.pidfile.release()
    tell_user(text)
    os._exit(status)


def _in_middle(start: _Start) -> Line:
    """Returns in the daemon."""
    wires = start.wires
    wires.close("life", "from_middle")
    if signals.SIGCHLD in (start.plan.default_signals or ()):  # or the daemon's status is lost
        signals.signal(signals.SIGCHLD, signals.SIG_DFL)
    daemon = fork(start.plan)
    if daemon is None:
        return _in_daemon(start)
    for number in _usual_signals():  # whoever ends the middle runs none of the caller's handlers
        signals.signal(number, signals.SIG_DFL)
    signals.pthread_sigmask(signals.SIG_SETMASK, ())
    wires.close("to_middle")
    status, text = _outcome(daemon, wires)
    _write(wires.to_starter, status, text)
    os._exit(0)


def _in_daemon(start: _Start) -> Line:
    wires = start.wires
    if start.plan.close_fds:  # their numbers may be others' by now, and those of what the interpreter writes to
        wires.from_daemon = wires.to_starter = wires.of_starter = -1
        signals.set_wakeup_fd(-1)
        faulthandler = sys.modules.get("faulthandler")
        if faulthandler is not None and faulthandler.is_enabled():
            faulthandler.enable(2)
    else:
        wires.close("from_daemon", "to_starter", "of_starter")
    for fd in start.own:
        os.set_inheritable(fd, False)
    handed_on.clear()
    if start.resets_sigint:  # as Python sets it when it starts
        signals.signal(signals.SIGINT, signals.default_int_handler)
    if start.listened:
        os.environ["LISTEN_PID"] = str(os.getpid())
    if start.pidfile is not None:
        start.pidfile.write()
    line = Line(wires.to_middle)
    wires.to_middle = -1
    return line


def _outcome(daemon: Process, wires: _Wires) -> tuple[int, str]:
    """In the middle: what the daemon says, or what its end tells."""
    message = _heard(daemon, wires)
    if message is None:
        return _told_by_end(daemon)
    if message[0]:  # it has failed and ends, or has to be ended
        deadline = time.monotonic() + _GRACE
        while daemon.poll() is None and time.monotonic() < deadline:
            _sleep(daemon, wires, deadline - time.monotonic())
    return message


def _heard(daemon: Process, wires: _Wires) -> tuple[int, str] | None:
    while True:
        has_ended = daemon.poll() is not None  # before it is asked what it has said
        message = _read(wires.from_daemon)
        if message is not None or has_ended:
            return message
        _sleep(daemon, wires, None)


def _sleep(daemon: Process, wires: _Wires, seconds: float | None) -> None:
    """Until something happens. Ends all of the session when the starter has gone."""
    waiting = select.poll()
    waiting.register(wires.from_daemon, select.POLLIN)
    waiting.register(wires.of_starter, select.POLLIN)
    try:
        waiting.register(daemon.fileno(), select.POLLIN)
    except NotImplementedError:  # there are no pidfds
        seconds = _LOOK_EVERY if seconds is None else min(seconds, _LOOK_EVERY)
    for fd, _ in waiting.poll(None if seconds is None else seconds * 1000):
        if fd == wires.of_starter:
            Session(os.getpid()).end(_GRACE, include_self=True)
            os._exit(1)


def _told_by_end(daemon: Process) -> tuple[int, str]:
    status = daemon.returncode
    if status is None or status >= 0:
        return (
            status or 1,
            f"ended with status {status} before it was ready{' (it has not called ready())' * (not status)}",
        )
    name = next((each.name for each in signals.Signals if each == -status), f"signal {-status}")
    return 1, f"killed by {name} before it was ready"
