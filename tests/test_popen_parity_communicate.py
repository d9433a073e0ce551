"""A Popen's pipes and its `with`: the same for the standard class, ours, and ours with an empty plan."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from subprocess import PIPE
from typing import Any

import pytest

from support import fresh, nothing_left
from test_popen_parity import MAKER, Maker, each_maker, each_name
from test_popen_parity_life import until_ended

# A program that says that it runs, and ends when its stdin does.
READY = ["sh", "-c", "echo ready; exec cat"]


# -- the context manager


@each_maker
def test_leaving_closes_the_pipes_and_waits(make: Maker) -> None:
    with nothing_left():
        with make(READY, stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            pass
        assert all(pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))  # type: ignore[union-attr]
        assert type(process.returncode) is int
        del process


@each_maker
def test_leaving_by_an_exception_waits_too(make: Maker) -> None:
    with pytest.raises(ZeroDivisionError), make(READY, stdin=PIPE, stdout=PIPE) as process:
        raise ZeroDivisionError
    assert process.returncode is not None


@each_maker
def test_leaving_by_a_keyboardinterrupt_does_not_wait_for_long(make: Maker) -> None:
    with pytest.raises(KeyboardInterrupt), make(["cat"], stdin=PIPE, stdout=PIPE) as process:  # noqa: PT012
        held = os.dup(process.stdin.fileno())  # type: ignore[union-attr]
        raise KeyboardInterrupt
    assert process.returncode is None
    os.close(held)
    assert process.wait() == 0


@each_maker
def test_leaving_waits_although_the_pipe_is_broken(make: Maker) -> None:
    with pytest.raises(BrokenPipeError), make(["true"], stdin=PIPE) as process:  # noqa: PT012
        until_ended(process)
        process.stdin.write(b"x")  # type: ignore[union-attr]
    assert process.returncode == 0


# -- communicate


@each_maker
def test_communicate_exchanges_megabytes_by_three_pipes(make: Maker) -> None:
    data = bytes(range(256)) * 8192
    with nothing_left():
        with make(["sh", "-c", "tee /dev/stderr"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
            out, err = process.communicate(data)
        assert (out == data, err == data, process.returncode) == (True, True, 0)
        del process


@each_maker
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_communicate_takes_anything_like_bytes(make: Maker, kind: Callable[[bytes], Any]) -> None:
    with make(["cat"], stdin=PIPE, stdout=PIPE) as process:
        assert process.communicate(kind(b"input")) == (b"input", None)


@each_maker
@pytest.mark.parametrize("stderr", [None, PIPE])
def test_communicate_does_not_mind_a_program_that_does_not_read(make: Maker, stderr: int | None) -> None:
    with make(["true"], stdin=PIPE, stderr=stderr) as process:
        assert process.communicate(b"x" * (1 << 20)) == (None, None if stderr is None else b"")
    assert process.returncode == 0


@each_maker
def test_communicate_without_pipes_waits(make: Maker) -> None:
    process = make(["sh", "-c", "exit 3"])
    assert (process.communicate(), process.returncode) == ((None, None), 3)


def timed_out(process: subprocess.Popen[Any]) -> subprocess.TimeoutExpired:
    """What a `communicate` raises, once the program has said that it runs."""
    while True:
        with pytest.raises(subprocess.TimeoutExpired) as raised:
            process.communicate(timeout=0.2)
        if raised.value.output:
            return raised.value


@each_maker
@pytest.mark.parametrize("text", [False, True])
def test_communicate_goes_on_after_a_timeout(make: Maker, text: bool) -> None:
    with make(READY, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=text, encoding="ascii" if text else None) as process:
        held = os.dup(process.stdin.fileno())  # type: ignore[union-attr]
        for _ in range(2):
            error = timed_out(process)
            facts = type(error), error.cmd, error.timeout, error.output, error.stdout, error.stderr
            assert facts == (subprocess.TimeoutExpired, READY, 0.2, b"ready\n", b"ready\n", None)
            assert str(error) == f"Command '{READY}' timed out after 0.2 seconds"
        os.write(held, b"more")
        os.close(held)
        assert process.communicate() == (("ready\nmore", "") if text else (b"ready\nmore", b""))


@each_maker
def test_communicate_takes_no_input_twice(make: Maker) -> None:
    with make(READY, stdin=PIPE, stdout=PIPE) as process:
        process.communicate(b"input", timeout=60)
        with pytest.raises(ValueError, match=r"^Cannot send input after starting communication$"):
            process.communicate(b"input")


@each_maker
def test_communicate_raises_what_the_encoding_does(make: Maker) -> None:
    with make(["printf", "\\377"], stdout=PIPE, encoding="ascii") as process:
        with pytest.raises(UnicodeDecodeError):
            process.communicate()


# The signal comes when the parent sleeps again: between its read and its append, the handler would lose the output.
INTERRUPTED = """
signal.signal(signal.SIGINT, signal.default_int_handler)
lock, key = os.pipe()
def started():
    return make(
        ["sh", "-c", 'read x; printf one; until grep -q "^State:.S" /proc/$PPID/status; do :; done;'
         'kill -INT $PPID; read y; printf two; exit 5'],
        stdin=lock, stdout=subprocess.PIPE,
    )
"""


@each_name
def test_a_keyboardinterrupt_in_communicate_leaves_the_child_and_the_output(name: str) -> None:
    fresh(
        MAKER
        + INTERRUPTED
        + """
with started() as process:
    try:
        os.write(key, b"go\\n")
        process.communicate(timeout=60)
    except KeyboardInterrupt:
        assert process.returncode is None
    else:
        raise AssertionError("not interrupted")
    os.write(key, b"go\\n")
    assert process.communicate() == (b"onetwo", None)
assert process.returncode == 5
""",
        name,
    )


@each_name
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_keyboardinterrupt_in_wait_leaves_the_child(name: str, timeout: int | None) -> None:
    fresh(
        MAKER
        + INTERRUPTED
        + f"""
with started() as process:
    try:
        os.write(key, b"go\\n")
        process.wait(timeout={timeout})
    except KeyboardInterrupt:
        assert (process.returncode, process.poll()) == (None, None)
    else:
        raise AssertionError("not interrupted")
    os.write(key, b"go\\n")
    assert process.wait(timeout={timeout}) == 5
""",
        name,
    )


@each_name
def test_a_signal_handler_runs_while_wait_goes_on(name: str) -> None:
    fresh(
        MAKER
        + """
caught = []
lock, key = os.pipe()
def handler(*_):
    caught.append(process.returncode)
    os.write(key, b"go\\n")
signal.signal(signal.SIGUSR1, handler)
process = make(["sh", "-c", "read x; kill -USR1 $PPID; read y; exit 5"], stdin=lock)
os.write(key, b"go\\n")
assert (process.wait(), caught) == (5, [None])
""",
        name,
    )
