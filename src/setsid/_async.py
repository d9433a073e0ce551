"""Waiting for a child in an asyncio event loop: by its pidfd, with no thread and no SIGCHLD handler."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress

from ._ending import check, end_at_once, ending
from ._errors import error
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._ending import EndReport
    from ._process import Process

# How often a child is looked after that no pidfd tells of, in seconds.
_MOST, _LEAST = 0.02, 0.001


class Watch:
    """Calls `ended` in `loop`, once, when a process has ended or nobody can know any more. Each one has a pidfd of its
    own, since a loop knows one reader for a file descriptor.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, process: Process, ended: Callable[[], object]) -> None:
        self._loop, self._process, self._ended = loop, process, ended
        self._timer: asyncio.Handle | None = None
        self._moment = _LEAST
        self._fd = lib.sid_dup_pidfd(process._child)
        if self._fd >= 0:
            loop.add_reader(self._fd, self._look)
        elif self._fd in (-errno.EMFILE, -errno.ENFILE):
            raise error(self._fd, "fcntl")
        else:
            self._timer = loop.call_soon(self._look)

    def stop(self) -> None:
        """Call nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                self._loop.remove_reader(fd)
            finally:
                os.close(fd)
        self._ended = _nothing  # which may lead back here: no garbage for the collector

    def _look(self) -> None:
        try:
            is_over = self._process.poll() is not None
        except (ChildProcessError, ValueError):  # reaped elsewhere, or closed: who has asked is told when it asks
            is_over = True
        ended = self._ended
        if self._fd >= 0 or is_over:
            self.stop()
        if is_over:
            ended()
        else:  # there is no pidfd, or a debugger holds the zombie
            self._ended = ended
            self._timer = self._loop.call_later(self._moment, self._look)
            self._moment = min(2 * self._moment, _MOST)

    def __del__(self) -> None:
        fd, self._fd = self._fd, -1  # finalizers of the same cycle may still call stop()
        if fd >= 0:  # the loop was closed before
            os.close(fd)


def _nothing() -> None:
    pass


async def wait_ended(process: Process) -> int:
    """`await process`."""
    if process.poll() is None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        watch = Watch(loop, process, over.set)
        try:
            await over.wait()
        finally:
            watch.stop()
    return process.wait(0)


async def end_in_loop(process: Process, grace: float, signal: int) -> EndReport:
    """Process.end_async."""
    check(grace, signal)
    asyncio.get_running_loop()  # elsewhere nothing is signalled
    steps = ending(process, grace, signal)
    try:
        while True:
            await _wait_for_all(*next(steps))
    except StopIteration as stop:
        report: EndReport = stop.value
        return report
    except BaseException:
        steps.close()
        with suppress(OSError):  # a cancellation must arrive as one
            end_at_once(process)
        raise


async def end_for(process: Process, error: BaseException | None, grace: float = 5.0, signal: int = 15) -> None:
    """End what an exception leaves. One that says to end tasks is not to be replaced by another."""
    try:
        if isinstance(error, GeneratorExit):  # of a coroutine that is closed, and so can't wait
            end_at_once(process)
        else:
            await end_in_loop(process, grace, signal)
    except OSError:
        if error is None or isinstance(error, Exception):
            raise


async def _wait_for_all(fds: set[int], seconds: float) -> None:
    """Wait until all of `fds` are readable, or the time is over."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    left = set(fds)

    def forget(fd: int) -> None:
        loop.remove_reader(fd)
        left.discard(fd)
        if not left:
            over.set()

    timer = loop.call_later(max(seconds, 0), over.set)
    try:
        for fd in fds:
            loop.add_reader(fd, forget, fd)
        await over.wait()
    finally:
        timer.cancel()
        for fd in left:
            loop.remove_reader(fd)
