"""What setsid does, in a few seconds: an interactive shell on a terminal of its own, a picture of who leads what there,
and two errors as a user meets them.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
import textwrap
import time
import traceback
from collections.abc import Iterator
from typing import NamedTuple

import setsid

PROMPT = "demo$ "
SECONDS = 10  # the shell's time to answer
PS = "ps -o pid,pgid,sid,tty,tpgid,comm"


class Row(NamedTuple):
    """A line of what ps says."""

    pid: int
    pgid: int
    sid: int
    tty: str
    tpgid: int
    comm: str


class Terminal:
    """Our side of a terminal pair: types for the program on the other side, and reads what it shows."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def read_until(self, end: str | None) -> str:
        """What is shown until it ends with `end`, or until nobody is there any more."""
        deadline = time.monotonic() + SECONDS
        shown = b""
        while end is None or not _plain(shown).endswith(end):
            if not select.select([self.fd], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no answer from the shell within {SECONDS} seconds, only {shown!r}")
            try:
                shown += os.read(self.fd, 4096)
            except OSError:  # EIO: the last program has closed the terminal
                break
        return _plain(shown)

    def type(self, line: str, *, end: str | None = PROMPT) -> str:
        """Type a line, and return what is shown then, up to the next prompt."""
        os.write(self.fd, f"{line}\n".encode())
        return self.read_until(end)


def _plain(shown: bytes) -> str:
    """Text without what moves the cursor."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode(errors="replace"))
    return text.replace("\r\n", "\n").replace("\r", "")


def heading(text: str) -> None:
    print(f"\n{text}\n")


def show(text: str) -> None:
    """Lines of the shell's terminal, set off from ours."""
    for line in text.splitlines():
        print(f"    {line}"[:80].rstrip(), flush=True)


def picture(rows: list[Row]) -> Iterator[str]:
    """The shell's session, its groups, who leads them, and which has the terminal."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.pgid, []).append(row)
    lines = []
    for pgid, members in groups.items():
        place = "foreground" if pgid == members[0].tpgid else "background"
        for row in members:
            leads = [f"leads session {row.sid}"] if row.pid == row.sid else []
            leads += [f"leads group {row.pgid}"] if row.pid == row.pgid else []
            lines.append((pgid, f"{place:<12}{row.comm} {row.pid}", ", ".join(leads)))
    left = max(len(line[1]) for line in lines)
    boxes = [(pgid, f" {text:<{left}}  {leads} ") for pgid, text, leads in lines]
    width = max(len(text) for _, text in boxes)
    yield f"┌─ {f'session {rows[0].sid}, terminal {rows[0].tty} ':─<{width + 3}}─┐"
    for pgid, members in groups.items():
        yield f"│ ┌{f' group {pgid} ':─<{width}}┐ │" + (
            " ◄─ keys, Ctrl-C, Ctrl-Z" if pgid == members[0].tpgid else ""
        )
        for number, text in boxes:
            if number == pgid:
                yield f"│ │{text:<{width}}│ │"
        yield f"│ └{'─' * width}┘ │"
    yield f"└{'─' * (width + 4)}┘"


def draw(lines: Iterator[str]) -> None:
    ascii_only = str.maketrans("┌┐└┘─│◄", "++++-|<")
    for line in lines:
        try:
            line.encode(sys.stdout.encoding)
        except UnicodeEncodeError:
            line = line.translate(ascii_only)
        print(f"  {line}")


def show_error(code: str, message: str) -> None:
    print(f"    >>> {code}")
    print(textwrap.fill(message, 80, initial_indent="    ", subsequent_indent="      "), flush=True)


def error_of_group_leader() -> str:
    """The last line of what Python prints when a group leader calls setsid."""
    reader, writer = os.pipe()
    program = [sys.executable, "-c", "import setsid; setsid.setsid()"]
    with setsid.spawn(program, process_group=0, stderr=writer) as process, open(reader) as file:
        os.close(writer)
        lines = file.read().splitlines()
        process.wait()
    return lines[-1]


def error_of_taken_terminal(terminal: int) -> str:
    try:
        with setsid.spawn(["true"], setsid.ChildSetup.on_terminal(terminal)):
            return "no error"
    except setsid.SystemCallError as error:
        return traceback.format_exception_only(error)[-1].strip()


def rows_of(shown: str) -> list[Row]:
    found = re.findall(r"^ *(\d+) +(\d+) +(\d+) +(\S+) +(\d+) +(\S+)", shown, re.MULTILINE)
    return [Row(int(pid), int(pgid), int(sid), tty, int(tpgid), comm) for pid, pgid, sid, tty, tpgid, comm in found]


def main() -> None:
    if shutil.which("ps") is None:
        sys.exit("demo: ps is missing; install it (Debian: procps)")
    manager, terminal = os.openpty()
    environment = {**os.environ, "PS1": PROMPT, "TERM": "dumb", "COLUMNS": "76"}
    environment.pop("ENV", None)  # a file of start-up commands could change the prompt
    plan = setsid.ChildSetup.on_terminal(terminal)
    with setsid.spawn(["sh", "-i"], plan, env=environment) as shell:
        screen = Terminal(manager)
        heading(f"An interactive shell, process {shell.pid}, on {os.ttyname(terminal)}, which it controls:")
        show(screen.read_until(PROMPT) + screen.type("sleep 30 &").removesuffix(PROMPT))
        listing = screen.type(PS)
        rows = rows_of(listing)
        if not rows:
            sys.exit(f"demo: this ps can't do what is asked of it; install another (Debian: procps)\n{listing}")
        show(PROMPT + listing.removesuffix(PROMPT))
        for line in "jobs -l", "kill %1; wait":
            show(PROMPT + screen.type(line).removesuffix(PROMPT))

        heading("Who led what while ps ran, as ps tells it:")
        draw(picture(rows))
        sid, pgid = setsid.tcgetsid(manager), setsid.tcgetpgrp(manager)
        print(f"  Now, says our side of the terminal: session {sid}, foreground group {pgid}.")

        heading("Two errors. A process that leads its group asks for a session:")
        show_error("setsid.setsid()", error_of_group_leader())
        heading("A program is to start on a terminal that belongs to another session:")
        show_error(
            'setsid.spawn(["true"], ChildSetup.on_terminal(terminal))',
            error_of_taken_terminal(terminal),
        )
        os.close(terminal)  # else the end of the terminal would never be read
        screen.type("exit", end=None)
    os.close(manager)


if __name__ == "__main__":
    main()
