"""A user before a terminal, for the tests: types, reads what is shown, and waits for it by patterns."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Sequence
from types import TracebackType

import pyte
from typing_extensions import Self

from setsid.tty import Pty

SECONDS = 30  # a deadline, which only a failure meets


class User:
    """Runs a program on a terminal."""

    def __init__(self, argv: Sequence[str | os.PathLike[str]], *, rows: int = 24, columns: int = 80) -> None:
        self.pty = Pty(rows, columns)
        self.shown = b""
        self._seen = 0
        self.process = self.pty.spawn(argv)

    def press(self, keys: str | bytes) -> None:
        """Press keys, all of them."""
        left = keys.encode() if isinstance(keys, str) else keys
        while left:
            left = left[os.write(self.pty.manager, left) :]

    def read(self) -> bool:
        """Read what there is, at least something; False at the end."""
        if not select.select([self.pty.manager], [], [], SECONDS)[0]:
            raise TimeoutError(f"nothing more is shown after {self.shown[-500:]!r}")
        try:
            self.shown += os.read(self.pty.manager, 65536)
        except OSError:  # EIO
            return False
        return True

    def expect(self, pattern: bytes) -> re.Match[bytes]:
        """Wait for a pattern in what has been shown since the last one."""
        deadline = time.monotonic() + SECONDS
        while not (found := re.compile(pattern).search(self.shown, self._seen)):
            if time.monotonic() > deadline or not self.read():
                raise AssertionError(f"{pattern!r} is not in {self.shown[self._seen :]!r}")
        self._seen = found.end()
        return found

    def wait(self) -> int:
        """Read to the end, and return the program's returncode."""
        while self.read():
            pass
        return self.process.wait(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.pty.close()
        self.process.end(grace=1)
        self.process.close()


def screen_of(shown: str, rows: int = 24, columns: int = 80) -> pyte.Screen:
    """The screen after all that was shown."""
    screen = pyte.Screen(columns, rows)
    pyte.Stream(screen).feed(shown)
    return screen


def await_end(pidfd: int) -> None:
    """Wait until a process has ended, by its pidfd, which is closed."""
    try:
        assert select.select([pidfd], [], [], SECONDS)[0], "a process is left"
    finally:
        os.close(pidfd)
