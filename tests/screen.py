"""A program on a terminal, and the screen that a person in front of it would see."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from types import TracebackType

import pyte

from helper import status
from setsid.tty import Pty

# pyte knows the sequences of this one.
TERM = "linux"


class _Asked(pyte.Screen):
    """What a program asks of its terminal is answered on it."""

    manager: int

    def write_process_input(self, data: str) -> None:
        os.write(self.manager, data.encode())


class Screen:
    """The program's terminal. As a context manager, it hangs up at the end and waits until the program has ended."""

    def __init__(self, argv: list[str], *, rows: int = 24, columns: int = 80, cwd: str, **env: str) -> None:
        self.pty = Pty(rows, columns)
        self._screen = _Asked(columns, rows)
        self._screen.manager = self.pty.manager
        self._stream = pyte.ByteStream(self._screen)
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        # A shell without job control has what it runs by `&` ignore these, and so would all on this terminal.
        defaults = {signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE, signal.SIGXFSZ}
        environment = {**kept, "TERM": TERM, "LC_ALL": "C", **env}
        self.process = self.pty.spawn(argv, cwd=cwd, env=environment, default_signals=defaults)

    def __enter__(self) -> Screen:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.pty.close()
        if value is None:
            self.process.wait(timeout=30)
        self.process.end(grace=0)
        self.process.close()

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without the blanks at the ends of its lines."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The same in one piece, without the empty lines at the end."""
        return "\n".join(self.lines).rstrip("\n")

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.pty.manager, text.encode())

    def resize(self, rows: int, columns: int) -> None:
        """As a terminal emulator does when its window changes."""
        self.until_asleep()
        self._screen.resize(rows, columns)
        self.pty.resize(rows, columns)

    def until_asleep(self, timeout: float = 30) -> None:
        """Wait for the foreground program to sleep, as it does in its read once it has drawn what is expected.

        A signal that comes between the two is kept by less and vi until the next key.
        """
        deadline = time.monotonic() + timeout
        while not status(os.tcgetpgrp(self.pty.manager))["State"].startswith("S"):
            assert time.monotonic() < deadline, f"it does not sleep within {timeout} s:\n{self.text}"
            time.sleep(0.001)

    def expect(self, pattern: str, timeout: float = 30) -> re.Match[str]:
        """Read until the screen shows it (^ and $ are those of a line). Fails when the program ends, and in time."""
        deadline = time.monotonic() + timeout
        while True:
            found = re.search(pattern, self.text, re.MULTILINE)
            if found:
                return found
            ready, _, _ = select.select([self.pty.manager], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {pattern!r} within {timeout} s:\n{self.text}"
            assert self._read(), f"the program ended without {pattern!r}:\n{self.text}"

    def expect_end(self, timeout: float = 30) -> int:
        """Read until nobody has the terminal any more; the program's exit status."""
        deadline = time.monotonic() + timeout
        while select.select([self.pty.manager], [], [], max(0, deadline - time.monotonic()))[0]:
            if not self._read():
                return self.process.wait(timeout=timeout)
        raise AssertionError(f"the terminal is still in use after {timeout} s:\n{self.text}")

    def _read(self) -> bool:
        try:
            self._stream.feed(os.read(self.pty.manager, 65536))
        except OSError:  # EIO: everybody has closed it
            return False
        return True
