"""A child's pipes: its input is written and its output is read side by side, also while it is being ended."""

from __future__ import annotations

import fcntl
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._popen import Popen

_CHUNK = 65536
_GETPIPE_SZ = 1032  # F_GETPIPE_SZ; other systems have none
_LONGEST = 1 << 30  # milliseconds that poll(2) takes


class Pipes:
    """The pipes of a Popen to its child. What was read so far is in `output`, by the stream's name."""

    def __init__(self, process: Popen) -> None:
        self._process = process
        self._poll = select.poll()
        self._open: dict[int, str] = {}  # the streams that are not at their end
        self._input = memoryview(b"")
        self.output: dict[str, list[bytes]] = {}
        for name in ("stdout", "stderr"):
            if getattr(process, name) is not None:
                self.output[name] = []
                self._register(name, select.POLLIN)

    def feed(self, data: memoryview) -> None:
        """Have the child read `data`, and then the end."""
        stdin = self._process.stdin
        if stdin is None:
            return
        self._input = data
        if self._input:
            self._register("stdin", select.POLLOUT)
        else:
            stdin.close()

    def exchange(self, deadline: float | None, pidfds: set[int] | None = None) -> bool:
        """Read and write until all pipes are at their end, or, with `pidfds`, until all of those are readable; False if
        the time (of time.monotonic()) comes first. With no pidfd in the set it does.
        """
        waiting = set(pidfds or ())
        for fd in waiting:
            self._poll.register(fd, select.POLLIN)
        try:
            while self._open if pidfds is None else waiting or not pidfds:
                left = _LONGEST if deadline is None else min((deadline - time.monotonic()) * 1000, _LONGEST)
                if left <= 0:
                    return False
                for fd, _ in self._poll.poll(left):
                    if fd in waiting:
                        waiting.remove(fd)
                        self._poll.unregister(fd)
                    else:
                        self._move(fd)
        finally:
            for fd in waiting:
                self._poll.unregister(fd)
        return True

    def wait_for_all(self, pidfds: set[int], seconds: float) -> None:
        """Sleep until all of `pidfds` are readable, or the time is over; what they write is read meanwhile."""
        self.exchange(time.monotonic() + seconds, pidfds)

    def drain(self) -> None:
        """Read what is there. Somebody who lives on may hold the other end."""
        for fd, _ in self._poll.poll(0):
            if self._open[fd] in self.output:
                self._move(fd, capacity(fd))

    def data(self, name: str) -> bytes | None:
        """All that was read of a stream; None if it is no pipe."""
        return b"".join(self.output[name]) if name in self.output else None

    def text(self, name: str) -> Any:
        """The same as a string, if the process is in text mode."""
        data = self.data(name)
        if data is None or not self._process.universal_newlines:
            return data
        stream = getattr(self._process, name)
        return as_text(data, stream.encoding, stream.errors)

    def _register(self, name: str, events: int) -> None:
        fd = getattr(self._process, name).fileno()
        self._open[fd] = name
        self._poll.register(fd, events)

    def _move(self, fd: int, size: int = _CHUNK) -> None:
        """Read from, or write to, a pipe that is ready."""
        name = self._open[fd]
        if name in self.output:
            data = os.read(fd, size)
            self.output[name].append(data)
            is_over = not data
        else:
            try:
                self._input = self._input[os.write(fd, self._input[: select.PIPE_BUF]) :]
            except BrokenPipeError:
                self._input = self._input[:0]
            is_over = not self._input
        if is_over:
            self._poll.unregister(fd)
            del self._open[fd]
            getattr(self._process, name).close()


def as_bytes(text: Any, *codec: str) -> memoryview:
    """What a child is to read: bytes, a string if there is a `codec` (encoding, errors), or None."""
    if text is None or (isinstance(text, str) and not text):  # no string is bytes too, as in the standard library
        return memoryview(b"")
    data: Any = text.encode(*codec) if codec else text
    return memoryview(data).cast("B")


def as_text(data: bytes, encoding: str, errors: str) -> str:
    """Text as subprocess reads it, with universal newlines."""
    return data.decode(encoding, errors).replace("\r\n", "\n").replace("\r", "\n")


def capacity(fd: int) -> int:
    """How many bytes a pipe can hold. pipe(7)"""
    try:
        return fcntl.fcntl(fd, _GETPIPE_SZ)
    except OSError:  # another system
        return _CHUNK
