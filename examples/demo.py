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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import setsid

PROMPT = "demo$ "
SECONDS = 10  # the shell's time to answer
# No start-up file, cursor movement or history file of the user's.
SHELL_ENVIRONMENT = {"PS1": PROMPT, "TERM": "dumb", "COLUMNS": "76", "ENV": "", "PROMPT_COMMAND": "", "HISTFILE": ""}
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
    """The shell's session, its groups, who leads them, and which has the keyboard."""
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.pgid, []).append(row)
    column = max(len(f"{row.comm} {row.pid}") for row in rows)
    width = column + len("   leads session and group ")
    yield f"┌{f'─ session {rows[0].sid}, terminal {rows[0].tty} ':─<{width + 4}}┐"
    for pgid, members in groups.items():
        foreground = pgid == members[0].tpgid
        title = f"─ group {pgid}, {'foreground' if foreground else 'background'} "
        yield f"│ ┌{title:─<{width}}┐ │" + (" ◄─ keyboard, Ctrl-C" if foreground else "")
        for row in members:
            yield f"│ │ {f'{row.comm} {row.pid}':<{column}}  {leads(row):<{width - column - 3}}│ │"
        yield f"│ └{'─' * width}┘ │"
    yield f"└{'─' * (width + 4)}┘"


def leads(row: Row) -> str:
    led = [what for what, number in (("session", row.sid), ("group", row.pgid)) if row.pid == number]
    return f"leads {' and '.join(led)}" if led else ""


def draw(lines: Iterable[str]) -> None:
    ascii_only = str.maketrans("┌┐└┘─│◄", "++++-|<")
    for line in lines:
        try:
            line.encode(sys.stdout.encoding)
        except UnicodeEncodeError:
            line = line.translate(ascii_only)
        print(f"    {line}")


def show_error(code: str, message: str) -> None:
    print(f"    >>> {code}")
    print(textwrap.fill(message, 80, initial_indent="    ", subsequent_indent="      ", break_on_hyphens=False))


def error_of_group_leader() -> str:
    """The last line of what Python prints when a group leader calls setsid."""
    reader, writer = os.pipe()
    program = [sys.executable, "-c", "import setsid; setsid.setsid()"]
    environment = {**os.environ, "PYTHON_COLORS": "0"}
    with setsid.spawn(program, process_group=0, stderr=writer, env=environment), open(reader) as file:
        os.close(writer)
        return file.read().splitlines()[-1]


def error_of_taken_terminal(terminal: int) -> str:
    try:
        with setsid.spawn(["true"], setsid.ChildSetup.on_terminal(terminal)):
            return "no error"
    except setsid.SystemCallError as error:
        return traceback.format_exception_only(error)[-1].strip()


def rows_of(shown: str) -> list[Row]:
    found = re.findall(r"^ *(\d+) +(\d+) +(\d+) +(\S+) +(\d+) +(\S+)", shown, re.MULTILINE)
    return [Row(int(pid), int(pgid), int(sid), tty, int(tpgid), comm) for pid, pgid, sid, tty, tpgid, comm in found]


def job_of(jobs: str) -> int:
    found = re.search(r"^\[1\]\D*(\d+)", jobs, re.MULTILINE)
    if found is None:
        sys.exit(f"demo: sh does not tell of its jobs\n{jobs}")
    return int(found[1])


def await_process(pid: int, is_so: Callable[[str, str], bool]) -> None:
    """Wait until it is so of the process: its name and state, both empty once it has been reaped."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            name, rest = "", " "
        if is_so(name, rest[:2].strip()):
            return
        time.sleep(0.001)


def main() -> None:
    if shutil.which("ps") is None:
        sys.exit("demo: ps is missing; install it (Debian: procps)")
    manager, terminal = os.openpty()
    plan = setsid.ChildSetup.on_terminal(terminal)
    with setsid.spawn(["sh", "-i"], plan, env={**os.environ, **SHELL_ENVIRONMENT}) as shell:
        try:
            use(shell.pid, manager, terminal)
        finally:
            os.close(manager)  # the terminal hangs up, which ends the shell if it still runs


def use(shell: int, manager: int, terminal: int) -> None:
    screen = Terminal(manager)
    heading(f"An interactive sh, process {shell}. Its controlling terminal is {os.ttyname(terminal)}:")
    show(screen.read_until(PROMPT) + screen.type("sleep 30 &").removesuffix(PROMPT))
    jobs = screen.type("jobs -l").removesuffix(PROMPT)
    show(PROMPT + jobs)
    job = job_of(jobs)
    await_process(job, lambda name, _: name == "sleep")  # the prompt may come before the forked shell executes it
    listing = screen.type(PS).removesuffix(PROMPT)
    rows = rows_of(listing)
    if not rows:
        sys.exit(f"demo: this ps can't tell what is asked of it; install another (Debian: procps)\n{listing}")
    show(PROMPT + listing)
    show(PROMPT + screen.type("kill %1").removesuffix(PROMPT))
    # Not `wait`: bash says nothing of a job that has ended before it. Told at a prompt, or else by `jobs`.
    await_process(job, lambda _, state: state in ("Z", "X", ""))
    show(PROMPT + screen.type("jobs").removesuffix(PROMPT))

    heading("Who led what while ps ran, drawn from what it said:")
    draw(picture(rows))
    sid, pgid = setsid.tcgetsid(manager), setsid.tcgetpgrp(manager)
    print(f"\n    Now the terminal itself says: session {sid}, foreground group {pgid}.")

    heading("Two errors. A process that leads its group asks for a session:")
    show_error("setsid.setsid()", error_of_group_leader())
    heading("A program is to start on the shell's terminal, in another session:")
    show_error('setsid.spawn(["true"], ChildSetup.on_terminal(terminal))', error_of_taken_terminal(terminal))

    os.close(terminal)  # or our side would never see that the shell has closed it
    screen.type("exit", end=None)


if __name__ == "__main__":
    main()
