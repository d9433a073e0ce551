"""Record what a program shows on its terminal as an asciicast v2 file, while you use it.

Run: python record.py [-o FILE] [--keys] [PROGRAM ...]
FILE is overwritten, once the program is started. Play it with `asciinema play FILE`.
"""

from __future__ import annotations

import argparse
import codecs
import errno
import json
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from setsid import ChildSetup, SystemCallError
from setsid.tty import Pty


class Recording:
    """An asciicast v2 file: a line of JSON that tells what it is, then one for each event."""

    def __init__(self, file: TextIO, rows: int, columns: int) -> None:
        self._file, self._began = file, time.monotonic()
        # Each kind's own: a character's bytes may come in two reads.
        self._decoders = {kind: codecs.getincrementaldecoder("utf-8")("replace") for kind in "oi"}
        env = {name: os.environ[name] for name in ("SHELL", "TERM") if name in os.environ}
        header = {"version": 2, "width": columns, "height": rows, "timestamp": int(time.time()), "env": env}
        file.write(json.dumps(header) + "\n")

    def add_bytes(self, kind: str, data: bytes) -> None:
        """An event of output ("o") or input ("i"). No bytes mean the end: what is left of a character is told then."""
        if text := self._decoders[kind].decode(data, final=not data):
            self.add(kind, text)

    def add(self, kind: str, text: str) -> None:
        """An event of any kind, at this moment."""
        event = [round(time.monotonic() - self._began, 6), kind, text]
        self._file.write(json.dumps(event, ensure_ascii=False) + "\n")


def window_size() -> tuple[int, int]:
    """The rows and columns of the user's terminal."""
    for fd in range(3):
        with suppress(OSError):  # no terminal
            columns, rows = os.get_terminal_size(fd)
            if rows and columns:
                return rows, columns
    return 24, 80


@contextmanager
def raw_mode(fd: int) -> Iterator[None]:
    """Have each key come at once and as it is; a terminal's modes are restored however the block ends."""
    if not os.isatty(fd):
        yield
        return
    modes = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)
        yield
    finally:
        with suppress(termios.error):  # it has hung up
            termios.tcsetattr(fd, termios.TCSADRAIN, modes)


def copy(pty: Pty, recording: Recording, wakeup: int, *, record_keys: bool) -> None:
    """Keys to the program, its output to the user, both to the recording. Ends with EIO, as nobody has the terminal."""
    manager, has_keys = pty.manager, os.isatty(0)
    os.set_blocking(manager, False)  # a program that does not read must not keep us from reading what it writes
    typed = b""
    while True:
        sources = [manager, wakeup, *([0] if has_keys and not typed else [])]
        readable, writable, _ = select.select(sources, [manager] if typed else [], [])
        if manager in readable:
            shown = os.read(manager, 65536)
            recording.add_bytes("o", shown)  # first: a signal that ends us may come at any time
            sys.stdout.buffer.write(shown)
            sys.stdout.buffer.flush()
        if wakeup in readable:
            os.read(wakeup, 4096)
            if (size := window_size()) != pty.size:
                recording.add("r", f"{size[1]}x{size[0]}")
                pty.resize(*size)
        if writable:
            typed = typed[os.write(manager, typed) :]
        elif 0 in readable:
            typed = os.read(0, 4096)
            if not typed:  # the user's terminal has hung up
                return
            if record_keys:
                recording.add_bytes("i", typed)


def record(argv: list[str], path: str, *, record_keys: bool) -> int:
    """Run a program; its returncode."""
    wakeup, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    signal.signal(signal.SIGWINCH, lambda *_: None)
    # What comes from a file or a pipe is no typing: the program gets it as it is, and its end too.
    setup = ChildSetup() if os.isatty(0) else ChildSetup(stdin=0)
    pty = Pty(*window_size())
    try:
        program = pty.spawn(argv, setup)
    except SystemCallError as error:  # an older recording is kept; the exit status is that of shells
        print(f"record: {error}", file=sys.stderr)
        sys.exit(127 if error.errno == errno.ENOENT else 126)
    with program as process:
        # On an error the line hangs up first, which ends shells that ignore SIGTERM.
        with pty, open(path, "w", encoding="utf-8", buffering=1) as file, raw_mode(0):
            recording = Recording(file, *pty.size)
            try:
                copy(pty, recording, wakeup, record_keys=record_keys)
            except OSError as error:
                if error.errno != errno.EIO:
                    raise
            recording.add_bytes("o", b"")
        return process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description="Record a program on a terminal as an asciicast v2 file.")
    parser.add_argument(
        "-o", metavar="FILE", dest="file", default="session.cast", help="overwritten; default: %(default)s"
    )
    parser.add_argument("--keys", action="store_true", help="record the keys too; passwords are among them")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="with its arguments; default: $SHELL")
    options = parser.parse_args()
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:  # sent to us; a Ctrl-C that is typed is just a key
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        argv = options.program or [os.environ.get("SHELL") or "/bin/sh"]
        status = record(argv, options.file, record_keys=options.keys)
    except (OSError, termios.error) as error:  # the latter is none of the former
        sys.exit(f"record: {error}")
    print(f"record: {options.file} is written", file=sys.stderr)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
