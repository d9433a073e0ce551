"""A helper process traced by strace, and its system calls made to fail. Helpers import it: `from strace import *`."""

from __future__ import annotations

import ctypes
import fcntl
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from helper import glibc_version

_PR_SET_PTRACER, _ANYBODY = 0x59616D61, -1
# One call under several names: by architecture and by libc.
_ALIASES = (
    (re.compile(r"^openat\(AT_FDCWD, "), "open("),
    (re.compile(r"^dup3\((\d+), (\d+), 0\)"), r"dup2(\1, \2)"),
    (re.compile(r"^getpgid\(0\)"), "getpgrp()"),
    (re.compile(r"\|O_LARGEFILE"), ""),
    (re.compile(r"^(--- SIG\w+) .*"), r"\1"),
    (re.compile(r", 0x[0-9a-f]+ /\* \d+ vars? \*/\)"), ")"),
)


def require(need: Callable[..., str]) -> None:
    """Skip the test where strace is missing or may not trace."""
    result = subprocess.run(
        [need("strace"), "-qq", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if result.returncode:
        import pytest  # not in a helper, which has no use for it

        pytest.skip(f"strace can't trace here: {result.stderr.strip()}")


class Trace:
    """What each task did: its lines, as strace writes them. Filled when the tracing is over."""

    def __init__(self) -> None:
        self.lines: dict[int, list[str]] = {}

    def of(self, pid: int) -> list[str]:
        """The calls of task `pid`, each with its result."""
        lines = self.lines.get(pid, [])
        again = set() if glibc_version() else _said_again(lines)
        return [line for place, line in enumerate(lines) if place not in again]

    def before_exec(self, pid: int) -> list[str]:
        """Everything that child `pid` did or met up to the execve that succeeded, under one name for each call."""
        calls = []
        for line in self.of(pid):
            text, _, result = line.rpartition(" = ") if " = " in line else (line, "", "")
            calls.append(_plain(text, pid))
            if text.startswith("execve(") and result == "0":
                return calls
        raise AssertionError(f"process {pid} has executed nothing: {self.of(pid)}")


def _said_again(lines: list[str]) -> set[int]:
    """Where musl says once more, by a call of its own, that the file which it has just got is to be closed on exec."""
    places = set()
    for place, (made, line) in enumerate(itertools.pairwise(lines), 1):
        got = re.match(r"(?:open|openat|fcntl)\(.*CLOEXEC.* = (\d+)$", made)
        if got and line.startswith(f"fcntl({got[1]}, F_SETFD, FD_CLOEXEC)"):
            places.add(place)
    return places


def _plain(call: str, pid: int) -> str:
    call = re.sub(rf"\b{pid}\b", "PID", call.rstrip())
    for alias, name in _ALIASES:
        call = alias.sub(name, call)
    return call


@contextmanager
def tracing(*options: str) -> Iterator[Trace]:
    """Trace this process from here on and the children that it makes meanwhile.

    strace counts the calls for `when=` in each task alone, from here on. A child starts at 1, and so does the caller:
    `spend` the caller's own before the child is made.
    """
    # Where only ancestors may trace (Yama), a process must name its tracer. Elsewhere this fails and is not needed.
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANYBODY), 0, 0, 0)
    trace = Trace()
    with TemporaryDirectory() as directory:
        prefix = Path(directory, "task")
        with _attached("strace", "-ff", "-o", str(prefix), "-p", str(os.getpid()), *options):
            yield trace
        for path in Path(directory).iterdir():
            trace.lines[int(path.suffix[1:])] = path.read_text(errors="backslashreplace").splitlines()


@contextmanager
def _attached(*command: str) -> Iterator[None]:
    reader, writer = os.pipe()
    # High up, so that the low numbers are the test's own.
    messages = fcntl.fcntl(reader, fcntl.F_DUPFD_CLOEXEC, 200)
    os.close(reader)
    with open(messages) as lines:  # before there is a tracer that counts the calls of open()
        tracer = subprocess.Popen(command, stderr=writer)
        os.close(writer)
        first = lines.readline()  # written when this process is bound to stop before its next step in user space
        if "attached" not in first:
            raise RuntimeError(first + lines.read())
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGTERM)
            tracer.wait()


def spend(number: int, call: Callable[[], object]) -> None:
    """Make `number` calls in the caller, so that `when=number` is behind it. The last one must be seen to fail."""
    for left in reversed(range(number)):
        try:
            call()
        except OSError:
            assert left == 0
            return
    raise AssertionError("the call did not fail: nothing was injected")
