"""record.py: what it records is what was seen, it passes on what it must, and it leaves the terminal as it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("pyte", reason="pyte, by which the screens are read, is not installed")

from screens import SECONDS, User, await_end, screen_of
from support import TESTS, terminal_modes

RECORD = [sys.executable, "-X", "dev", "-W", "error", str(TESTS.parent / "examples" / "record.py")]
PYTHON = [sys.executable, "-c"]
# Tells its size at the beginning, and whenever that changes.
TELL_SIZE = """
import os, signal
def tell(*_):
    columns, rows = os.get_terminal_size()
    print(f"rows {rows} columns {columns}.", flush=True)
signal.signal(signal.SIGWINCH, tell)
tell()
while True:
    signal.pause()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where to record."""
    return tmp_path / "session.cast"


def record(file: Path, *arguments: str | Path, **size: int) -> User:
    return User([*RECORD, "-o", file, *map(str, arguments)], **size)


def events(file: Path) -> list[tuple[float, str, str]]:
    """The events of a valid asciicast v2 file; fails if it is none."""
    text = file.read_text(encoding="utf-8")
    assert text.endswith("\n")
    header, *lines = [json.loads(line) for line in text[:-1].split("\n")]
    assert {key: type(header[key]) for key in ("version", "width", "height", "timestamp", "env")} == {
        **dict.fromkeys(("version", "width", "height", "timestamp"), int),
        "env": dict,
    }
    assert header["version"] == 2
    for line in lines:
        assert [type(part) for part in line] == [float, str, str]
        assert line[1] in ("o", "i", "r")
    times = [line[0] for line in lines]
    assert times == sorted(times)
    assert min(times, default=0) >= 0
    return [(moment, kind, text) for moment, kind, text in lines]


def told(file: Path, kind: str = "o") -> str:
    return "".join(text for _, kind_of_this, text in events(file) if kind_of_this == kind)


def seen(user: User, file: Path) -> str:
    """What was shown, without record.py's own last words."""
    text = user.shown.decode()
    last = f"record: {file} is written\r\n"
    assert text.endswith(last)
    return text.removesuffix(last)


def test_the_recording_replays_to_the_screen_that_was_seen(file: Path) -> None:
    began = time.monotonic()
    with record(file, "env", "PS1=> ", "ENV=", "sh", rows=10, columns=60) as user:
        user.expect(rb"> ")
        for number in range(12):  # more than fits
            user.press(f"printf '\\033[3{number % 8}mcolour %s\\033[0m\\tßäß €\\n' {number}\n")
            user.expect(rb"> ")
        user.press("tty; exit\n")
        assert user.wait() == 0
        elapsed = time.monotonic() - began
        live = screen_of(seen(user, file), 10, 60)
    header = json.loads(file.read_text().partition("\n")[0])
    assert (header["width"], header["height"]) == (60, 10)
    replayed = screen_of(told(file), 10, 60)
    assert replayed.display == live.display
    assert replayed.buffer == live.buffer  # the colours too
    assert "colour 11" in "".join(replayed.display)
    assert told(file, "i") == ""
    assert events(file)[-1][0] <= elapsed


def test_a_character_in_two_reads_is_recorded_as_one(file: Path) -> None:
    source = (
        "import os, tty; tty.setraw(0)\n"  # no echo in between
        r'os.write(1, b"<\xe2\x82"); os.read(0, 1); os.write(1, b"\xac> <\xff> \xe2")'
    )
    with record(file, *PYTHON, source) as user:
        user.expect(rb"<\xe2\x82")
        user.press("\n")
        assert user.wait() == 0
    assert told(file) == "<€> <\ufffd> \ufffd"


def test_the_program_follows_the_users_size(file: Path) -> None:
    with record(file, *PYTHON, TELL_SIZE, rows=20, columns=70) as user:
        user.expect(rb"rows 20 columns 70\.")
        for rows, columns in (40, 100), (5, 30):
            user.pty.resize(rows, columns)
            user.expect(f"rows {rows} columns {columns}\\.".encode())
        user.press("\x03")
        assert user.wait() == 128 + signal.SIGINT
    shown = [(kind, text.strip()) for _, kind, text in events(file)]
    assert [event for event in shown if event[0] == "r"] == [("r", "100x40"), ("r", "30x5")]
    for size, told_by_program in ("100x40", "rows 40 columns 100."), ("30x5", "rows 5 columns 30."):
        where = next(number for number, (kind, text) in enumerate(shown) if kind == "o" and told_by_program in text)
        assert shown.index(("r", size)) < where


@pytest.mark.parametrize(("script", "status"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)])
def test_its_exit_status_is_the_programs(script: str, status: int, file: Path) -> None:
    with record(file, "sh", "-c", script) as user:
        assert user.wait() == status


@pytest.mark.parametrize(
    ("argv", "status", "reason"),
    [
        (["/nonexistent/thing"], 127, b"[Errno 2] No such file or directory"),
        (["/etc/passwd"], 126, b"[Errno 13] Permission denied"),
    ],
)
def test_a_program_that_can_not_be_started_is_told_in_a_line_and_an_older_recording_kept(
    argv: list[str], status: int, reason: bytes, file: Path
) -> None:
    file.write_text("older")
    with record(file, *argv) as user:
        modes = terminal_modes(user.pty.manager)
        assert user.wait() == status
        assert user.shown.startswith(b"record: " + reason)
        assert user.shown.count(b"\n") == 1
        assert terminal_modes(user.pty.manager) == modes
    assert file.read_text() == "older"


def test_a_file_that_can_not_be_written_is_told_in_a_line_and_the_program_ended(file: Path) -> None:
    with record(file / "nowhere", "sh", "-c", "trap '' TERM; while :; do sleep 60; done") as user:
        modes = terminal_modes(user.pty.manager)
        assert user.wait() == 1
        assert user.shown == f"record: [Errno 2] No such file or directory: '{file}/nowhere'\r\n".encode()
        assert terminal_modes(user.pty.manager) == modes


def test_keys_are_recorded_when_that_is_asked_for(file: Path) -> None:
    source = "import tty, os; tty.setraw(0); print('ready', flush=True); os.read(0, 9)"
    with record(file, "--keys", *PYTHON, source) as user:
        user.expect(rb"ready")
        user.press("é")
        user.wait()
    assert told(file, "i") == "é"


@pytest.mark.parametrize(
    ("number", "who"),
    [
        (signal.SIGINT, "record"),
        (signal.SIGTERM, "record"),
        (signal.SIGHUP, "record"),
        (signal.SIGKILL, "program"),
        (signal.SIGINT, "program"),
    ],
)
def test_the_users_modes_are_restored_however_it_ends(number: signal.Signals, who: str, file: Path) -> None:
    # A program that heeds neither SIGTERM nor SIGINT when it is not meant, as an interactive shell.
    trap = "trap '' TERM; echo pid $$.; while :; do read line; done"
    with User(["sh", "-c", 'read go; exec "$@"', "-", *RECORD, "-o", file, "sh", "-c", trap]) as user:
        modes = terminal_modes(user.pty.manager)
        user.press("\n")
        pidfd = os.pidfd_open(int(user.expect(rb"pid (\d+)\.")[1]))
        local_modes = termios.tcgetattr(user.pty.manager)[3]
        assert local_modes & (termios.ICANON | termios.ECHO | termios.ISIG) == 0
        if who == "program":
            signal.pidfd_send_signal(pidfd, number)
        else:
            user.process.send_signal(number)
        assert user.wait() == 128 + number
        await_end(pidfd)
        assert terminal_modes(user.pty.manager) == modes
    assert "pid " in told(file)


def test_it_works_without_a_terminal(file: Path) -> None:
    script = "read line; tty <&1; echo got $line; exit 5"
    result = subprocess.run(
        [*RECORD, "-o", file, "sh", "-c", script],
        input=b"typed\nnever read\n",
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 5
    assert result.stderr == f"record: {file} is written\n".encode()
    assert result.stdout.decode() == told(file)
    terminal, got = result.stdout.decode().splitlines()
    assert terminal.startswith("/dev/")
    assert got == "got typed"


def test_a_program_that_writes_before_it_reads_is_no_deadlock(file: Path) -> None:
    typed, shown = 200_000, 1_000_000  # more than a terminal keeps, both
    source = (
        "import os, tty; tty.setraw(0); os.write(1, b'ready')\n"
        f"left = b'o' * {shown}\n"
        "while left: left = left[os.write(1, left):]\n"
        f"left = {typed}\n"
        "while left: left -= len(os.read(0, left))\n"
    )
    with record(file, *PYTHON, source) as user:
        user.expect(rb"ready")
        typist = threading.Thread(target=user.press, args=(b"x" * typed,), daemon=True)
        typist.start()
        assert user.wait() == 0
        typist.join()
        assert seen(user, file) == "ready" + "o" * shown
    assert told(file) == "ready" + "o" * shown
