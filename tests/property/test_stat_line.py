"""The line of /proc/PID/stat, in which a process's name may be anything."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setsid import Session

# Takes each 15 bytes of its stdin, the zeros at the end apart, for its name.
NAMED = """
import ctypes, os
prctl = ctypes.CDLL(None).prctl
while name := os.read(0, 15):
    prctl(15, name, 0, 0, 0)
    os.write(1, b"!")
"""

Ask = Callable[[bytes], tuple[str, bytes, str]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Has a process name itself, and tells what is seen of it."""
    with subprocess.Popen(
        [sys.executable, "-ISc", NAMED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def ask(name: bytes) -> tuple[str, bytes, str]:
            stdin.write(name.ljust(15, b"\0"))
            assert stdout.read(1) == b"!"
            (info,) = Session(process.pid).processes()
            with open(f"/proc/{process.pid}/comm", "rb") as file:
                comm = file.read()
            assert (info.pid, info.ppid, info.pgid, info.sid) == (process.pid, os.getpid(), process.pid, process.pid)
            assert (info.tty, info.foreground_pgid, info.uid) == (None, None, os.geteuid())
            return info.comm, comm, info.state

        yield ask
        stdin.close()
        assert process.wait(60) == 0


# Mostly what could be taken for a part of the line.
PIECES = st.sampled_from([b")", b"(", b" ", b"\n", b"\\", b"n", b"R", b"0", b"-1", b") S 1", b"\xff", b"\t", b"%s"])
NAMES = (st.lists(PIECES, max_size=15).map(b"".join) | st.binary(max_size=15)).map(
    lambda name: name.partition(b"\0")[0][:15]
)


@given(NAMES)
@example(b"")
@example(b"\\n")
@example(b"a) R 1 1 1 0 -1")
@settings(max_examples=500, deadline=None)
def test_a_name_is_read_as_it_is_and_spoils_nothing_behind_it(ask: Ask, name: bytes) -> None:
    seen, comm, state = ask(name)
    assert os.fsencode(seen) == name
    assert comm == name + b"\n"
    assert state in "RS"
