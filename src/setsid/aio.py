"""asyncio's subprocesses with a plan for the child. They are waited for by pidfd in the event loop: no thread for each
child, no SIGCHLD handler, no child watcher. Any event loop with `add_reader` and `connect_read_pipe` will do (uvloop).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from asyncio import base_subprocess
from asyncio.log import logger
from math import inf

from ._async import Watch, end_for, end_in_loop
from ._ending import end_at_once
from ._errors import SystemCallError
from ._pipes import as_bytes, as_text, capacity
from ._popen import Popen
from ._run import GRACE, TimeoutExpired, add_pipes, check_times, codec_of, plan_of_run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, overload

    from typing_extensions import Buffer, Unpack

    from ._ending import EndReport
    from ._session import Session
    from ._setup import ChildSetup
    from ._types import (
        AsyncioArguments,
        BytesRun,
        Command,
        EitherRun,
        EncodingRun,
        ErrorsRun,
        NewlinesRun,
        Stream,
        StrOrBytesPath,
        TextRun,
    )

__all__ = ["Process", "create_subprocess_exec", "create_subprocess_shell", "run"]


def __dir__() -> list[str]:
    return __all__


SIGTERM = 15
_LIMIT = 2**16  # bytes that a stream holds before it makes the child wait, as in asyncio
_MOMENT = 1.0  # seconds in which an event loop sees that pipes are closed, and more
_UNKNOWN = 255  # what asyncio says of a child that somebody else has reaped
# asyncio's subprocesses are unbuffered bytes.
_REFUSED = {"universal_newlines": False, "text": False, "encoding": None, "errors": None, "bufsize": 0}


class Process(asyncio.subprocess.Process):
    """asyncio's Process, which can end all that it has started."""

    _transport: _Transport

    @property
    def session(self) -> Session | None:
        """The session that the child leads, or None if it leads none."""
        return self._popen.session

    def signal_group(self, signal: int) -> None:
        """Send a signal to every process of the child's process group; as `setsid.Process.signal_group`."""
        self._popen.signal_group(signal)

    async def end(self, grace: float = 5.0, *, signal: int = SIGTERM) -> EndReport:
        """End the session that the child leads, else the process group that it leads, else the child alone; as
        `setsid.Process.end_async`. The event loop reaps the child as it ends; what it leaves behind then can't be ended
        any more (of a child of `spawn` it can).
        """
        try:
            return await end_in_loop(self._popen._handle, grace, signal)
        finally:
            self._transport.look()

    @property
    def _popen(self) -> Popen:
        popen: Popen = self._transport.get_extra_info("subprocess")
        return popen


async def create_subprocess_exec(
    program: StrOrBytesPath,
    *args: StrOrBytesPath,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    limit: int = _LIMIT,
    setup: ChildSetup | None = None,
    **keywords: Unpack[AsyncioArguments],
) -> Process:
    """Start a program; as `asyncio.create_subprocess_exec`, whose documentation tells of all arguments but one.

        setup: a ChildSetup. Not said means there what it does without one, as in `setsid.Popen`.

    Raises as `setsid.Popen` does. Cancelled, it leaves no child, and nothing of the session or group that this leads.
    """
    return await _create((program, *args), False, stdin, stdout, stderr, limit, setup, keywords)


async def create_subprocess_shell(
    cmd: str | bytes,
    stdin: Stream = None,
    stdout: Stream = None,
    stderr: Stream = None,
    limit: int = _LIMIT,
    setup: ChildSetup | None = None,
    **keywords: Unpack[AsyncioArguments],
) -> Process:
    """Start a shell command; as `asyncio.create_subprocess_shell`, with the `setup` of `create_subprocess_exec`."""
    if not isinstance(cmd, (str, bytes)):
        raise ValueError("cmd must be a string")
    return await _create(cmd, True, stdin, stdout, stderr, limit, setup, keywords)


async def _create(
    args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, limit: int, setup: Any, keywords: Any
) -> Process:
    loop = asyncio.get_running_loop()
    protocol = asyncio.subprocess.SubprocessStreamProtocol(limit=limit, loop=loop)
    if keywords.pop("shell", shell) is not shell:
        raise ValueError(f"shell must be {shell}")
    keywords.update(stdin=stdin, stdout=stdout, stderr=stderr, setup=setup, shell=shell)
    transport = _Transport(loop, protocol, args, **_checked(keywords))
    try:
        await transport.connected
    except BaseException:
        try:
            end_at_once(transport.handle)
        finally:
            transport.look()
            transport.close()
        if transport.handle.returncode is not None:
            await transport.closed(_MOMENT)
        raise
    return Process(transport, protocol, loop)


if TYPE_CHECKING:

    @overload
    async def run(
        args: Command, *, input: str | None = None, **rest: Unpack[TextRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, *, input: str | None = None, **rest: Unpack[EncodingRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, *, input: str | None = None, **rest: Unpack[ErrorsRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, *, input: str | None = None, **rest: Unpack[NewlinesRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    async def run(
        args: Command, *, input: Buffer | None = None, **rest: Unpack[BytesRun]
    ) -> subprocess.CompletedProcess[bytes]: ...
    @overload
    async def run(
        args: Command, *, input: str | Buffer | None = None, **rest: Unpack[EitherRun]
    ) -> subprocess.CompletedProcess[Any]: ...


async def run(
    args: Any,
    *,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    grace: float = GRACE,
    end_signal: int = SIGTERM,
    start_new_session: bool = True,
    setup: ChildSetup | None = None,
    shell: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    universal_newlines: bool | None = None,
    **keywords: Any,
) -> subprocess.CompletedProcess[Any]:
    """`setsid.run` in an asyncio event loop, with the same arguments and results. Cancelling it ends the session that
    the program leads, as a timeout does, before CancelledError is raised; cancelled once more, by SIGKILL at once.
    """
    check_times(timeout, grace, end_signal)
    setup = plan_of_run(setup, start_new_session, keywords)
    add_pipes(keywords, input, capture_output)
    keywords.pop("bufsize", None)  # of files, which there are none
    codec = codec_of({"text": text, "encoding": encoding, "errors": errors, "universal_newlines": universal_newlines})
    data = as_bytes(input, *codec)
    loop = asyncio.get_running_loop()
    protocol = _Collector()
    deadline = None if timeout in (None, inf) else loop.time() + timeout
    transport = _Transport(loop, protocol, args, **_checked({**keywords, "setup": setup, "shell": shell}))
    handle = transport.handle
    handle.keep()  # else the loop reaps it at its end, and what it leaves can't be ended any more
    failure = report = None
    is_over = is_closed = False
    try:
        try:
            await transport.connected
            protocol.feed(transport.get_pipe_transport(0), data)
            is_over = await protocol.wait(None if deadline is None else deadline - loop.time())
        except BaseException as error:
            is_closed = isinstance(error, GeneratorExit)
            await end_for(handle, error, grace, end_signal)
            raise
        if not is_over:
            try:
                report = await end_in_loop(handle, grace, end_signal)
            except SystemCallError as error:  # of a /proc that can't be read
                failure = error
            await protocol.drain(transport)
    finally:
        handle.keep_no_longer()
        if not loop.is_closed():
            transport.look()
            transport.close()
        if handle.returncode is not None and not is_closed:
            await protocol.wait(_MOMENT)  # the loop must see its pipes closed
    if not is_over:
        raise TimeoutExpired(args, timeout or 0, protocol.data(1), protocol.data(2), report) from failure
    output = [data if data is None or not codec else as_text(data, *codec) for data in map(protocol.data, (1, 2))]
    result = subprocess.CompletedProcess(args, transport.get_returncode() or 0, *output)
    if check:
        result.check_returncode()
    return result


def _checked(keywords: dict[str, Any]) -> dict[str, Any]:
    """The arguments without those that asyncio's subprocesses don't know."""
    for name, value in _REFUSED.items():
        given = keywords.pop(name, value)
        if given != value if name in ("bufsize", "encoding", "errors") else given:
            raise ValueError(f"{name} must be {value}")
    return keywords


class _Transport(base_subprocess.BaseSubprocessTransport):
    """asyncio's, but for making the child and hearing of its end. `connected` is done when its pipes are."""

    _proc: Any
    _pipes: dict[int, Any]
    _watch: Any = None

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        *,
        shell: bool,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        **keywords: Any,
    ) -> None:
        self.connected = waiter = loop.create_future()
        self._gone = asyncio.Event()
        try:
            super().__init__(loop, protocol, args, shell, stdin, stdout, stderr, bufsize=0, waiter=waiter, **keywords)
        except BaseException:  # it may have come when there was a child already
            if self._proc is not None:
                end_at_once(self._proc._handle)
                for file in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
                    if file is not None:
                        file.close()
                if self._watch is not None:
                    self._watch.stop()
                self._closed = True
            raise

    def _start(
        self, args: Any, shell: bool, stdin: Any, stdout: Any, stderr: Any, bufsize: int, **keywords: Any
    ) -> None:
        self._proc = Popen(args, shell=shell, stdin=stdin, stdout=stdout, stderr=stderr, bufsize=bufsize, **keywords)
        self.handle = self._proc._handle
        try:
            self._watch = Watch(self._loop, self.handle, self._ended)
        except BaseException:
            end_at_once(self.handle)
            raise

    def _ended(self) -> None:
        try:
            code = self.handle.wait(0)
        except ChildProcessError as error:
            logger.warning("%s; its returncode will be %d", error, _UNKNOWN)
            code = _UNKNOWN
        self._process_exited(code)

    def look(self) -> None:
        """Hear of the end now, if there was one."""
        if self._returncode is None and self.handle.returncode is not None:
            self._watch.stop()
            if not self._loop.is_closed():
                self._ended()

    def close(self) -> None:
        """Close the pipes, and kill the child if it may be."""
        try:
            super().close()
        except PermissionError:  # which asyncio lets pass in later versions
            pass
        stdin = self._pipes.get(0)
        if stdin is not None and not stdin.disconnected and stdin.pipe.get_write_buffer_size():
            stdin.pipe.abort()  # nobody may ever read the rest

    async def _connect_pipes(self, waiter: Any) -> None:
        process = self._proc
        await super()._connect_pipes(waiter)
        if self._closed:  # meanwhile, or they can't be connected
            for fd, file in enumerate((process.stdin, process.stdout, process.stderr)):
                if file is not None:
                    (self._pipes[fd].pipe if self._pipes[fd] else file).close()

    def _call_connection_lost(self, exc: Any) -> None:
        try:
            super()._call_connection_lost(exc)
        finally:
            self._gone.set()

    async def closed(self, most: float) -> None:
        """Wait, at most so many seconds, until the loop has seen that all is over."""
        timer = asyncio.get_running_loop().call_later(most, self._gone.set)
        try:
            await self._gone.wait()
        finally:
            timer.cancel()

    def send_signal(self, signal: int) -> None:
        """By pidfd."""
        self._check_proc()
        self._proc.send_signal(signal)


class _Collector(asyncio.SubprocessProtocol):
    """Keeps what a child writes."""

    def __init__(self) -> None:
        self._is_over = False
        self._woken = asyncio.Event()
        self._transport: Any = None
        self._data: dict[int, list[bytes]] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        for fd in (1, 2):
            if self._transport.get_pipe_transport(fd) is not None:
                self._data.setdefault(fd, [])

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._data.setdefault(fd, []).append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        self._woken.set()

    async def wait(self, timeout: float | None) -> bool:
        """Wait until the child has ended and all its pipes are closed; False if the time, in seconds, is over before.
        (asyncio.wait_for loses a cancellation in that moment, before Python 3.12.)
        """
        if not self._is_over:
            self._woken.clear()
            timer = None
            if timeout is not None:
                timer = asyncio.get_running_loop().call_later(max(timeout, 0), self._woken.set)
            try:
                await self._woken.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        return self._is_over

    def data(self, fd: int) -> bytes | None:
        """All that was read of a stream; None if it is no pipe."""
        return b"".join(self._data[fd]) if fd in self._data else None

    def feed(self, stdin: Any, data: Any) -> None:
        """Have the child read `data`, if anything, and then the end."""
        if stdin is not None:
            if data and not stdin.is_closing():  # it may have stopped reading already
                stdin.write(data)
            stdin.close()

    async def drain(self, transport: asyncio.SubprocessTransport) -> None:
        """Read what is there. Somebody who lives on may hold the other end."""
        pipes = [
            (fd, pipe) for fd in self._data if (pipe := transport.get_pipe_transport(fd)) and not pipe.is_closing()
        ]
        for _, pipe in pipes:
            pipe.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(0)  # what was read before is delivered
        for fd, pipe in pipes:
            try:
                number = pipe.get_extra_info("pipe").fileno()
                self._data[fd].append(os.read(number, capacity(number)))
            except BlockingIOError:
                pass
