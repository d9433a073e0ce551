"""lssid: the sessions, their process groups and processes."""

from __future__ import annotations

import gc
import os
import sys

from . import _text
from ._command import UsageError, as_programs_in_c, complain, parse, show, show_version, usage_error
from ._look import System, number, terminal_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from .._processes import ProcessInfo
    from ._look import Seen

    # SID TTY USER | PGID | PID STAT COMMAND, and where there is a | the tree's line.
    Row: TypeAlias = tuple[str, str, str, str, str, str, str, str, str]

COMMAND = "lssid"
OPTIONS = {
    "all": "a",
    "pid=": "p",
    "tty=": "t",
    "user=": "u",
    "json": "J",
    "width=": "w",
    "help": "h",
    "version": "V",
}
HELP = """
Usage:
 lssid [options] [<sid> ...]

Show sessions, their process groups and their processes.

Options:
 -a, --all           all sessions, and as 0 what is in none that can be seen
 -p, --pid <pid>     the session that this process is in
 -t, --tty <name>    the session on this terminal, "-": those without one
 -u, --user <user>   the sessions in which a process of this user is
 -J, --json          write JSON
 -w, --width <n>     lay it out for a terminal of so many columns, 0: for any
 -h, --help          show this text
 -V, --version       show the version

What is asked for is added up. If nothing is, it is all sessions of your user;
lssid -p $$ shows the one of this shell.

STAT is the process's state as in ps(1) (R runs, S and D sleep, T stopped,
Z zombie), then
 s  it leads the session
 +  its group is in the foreground of the terminal
 o  its group is orphaned (other than the session leader's, which always is)

For more see lssid(1).
"""

FAILED = 1
MISUSED = 2
_HEADER = ("SID", "TTY", "USER", "", "PGID", "", "PID", "STAT", "COMMAND")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says: `arguments`, or that of this process. Returns the exit status."""
    as_programs_in_c()
    # The collector would look through thousands of new objects again and again, a tenth of the time of all this.
    collects = gc.isenabled()
    gc.disable()
    try:
        return _main(sys.argv[1:] if arguments is None else arguments)
    finally:
        if collects:
            gc.enable()


def _main(arguments: Sequence[str]) -> int:
    try:
        said, operands = parse(arguments, OPTIONS, mixed=True)
        options = dict(said)
        if "help" in options:
            return show(COMMAND, HELP)
        if "version" in options:
            return show_version(COMMAND)
        asked = [(name, _checked(name, value)) for name, value in said if name in _FINDERS]
        asked += [("sid", _checked("sid", value)) for value in operands]
        width = _number("width", options["width"]) if "width" in options else None
    except UsageError as error:
        return usage_error(COMMAND, error, MISUSED)
    try:
        system = System()
    except OSError as error:
        complain(COMMAND, str(error))
        return FAILED
    selected, failures = _select(system, asked or [("own", "")])
    for failure in failures:
        complain(COMMAND, failure)
    status = FAILED if failures else 0
    if "json" in options:
        return show(COMMAND, _json(selected)) or status
    if failures and not selected:
        return status
    return show(COMMAND, _table(selected, width)) or status


# -- what is asked for


def _number(name: str, text: str) -> int:
    value = number(text)
    if value is None:
        raise UsageError(f"{name}: '{text}' is not a number")
    return value


def _checked(name: str, value: str) -> str:
    if name in ("pid", "sid"):
        _number(name, value)
    return value


class _NotFoundError(Exception):
    """There is no such session. The text says which."""


def _select(system: System, asked: Iterable[tuple[str, str]]) -> tuple[list[Seen], list[str]]:
    """The sessions that are asked for, and what to say of those that there are not."""
    selected: set[int] = set()
    failures = []
    for name, value in asked:
        try:
            selected.update(_FINDERS[name](system, value))
        except _NotFoundError as error:
            failures.append(str(error))
    return [seen for sid, seen in system.sessions.items() if sid in selected], failures


def _all(system: System, _: str) -> Iterable[int]:
    return system.sessions


def _by_sid(system: System, value: str) -> Iterable[int]:
    if int(value) not in system.sessions:
        raise _NotFoundError(f"there is no session {value}")
    return [int(value)]


def _by_pid(system: System, value: str) -> Iterable[int]:
    process = system.process(int(value))
    if process is None:
        raise _NotFoundError(f"there is no process {value}")
    if process.is_kernel_thread:
        raise _NotFoundError(f"process {value} is a kernel thread, which is in no session")
    if process.sid == 0:
        raise _NotFoundError(f"process {value} is in no session of this pid namespace")
    return [process.sid]


def _by_tty(system: System, value: str) -> Iterable[int]:
    path = None if value == "-" else terminal_path(value)
    found = [seen.sid for seen in system.on_terminal(path)]
    if not found:
        name = _text.escape(_text.terminal(path), utf8=_text.speaks_utf8())
        raise _NotFoundError("every session has a terminal" if path is None else f"no session has the terminal {name}")
    return found


def _by_user(system: System, value: str) -> Iterable[int]:
    import pwd

    try:
        uid = pwd.getpwnam(value).pw_uid
    except (KeyError, ValueError):
        told = number(value)
        if told is None:
            raise _NotFoundError(f"there is no user '{_text.escape(value, utf8=_text.speaks_utf8())}'") from None
        uid = told
    found = _of_user(system, uid)
    if not found:
        raise _NotFoundError(f"no session has a process of user {_text.user_in_table(uid)}")
    return found


def _own(system: System, _: str) -> Iterable[int]:
    return _of_user(system, os.geteuid())


def _of_user(system: System, uid: int) -> set[int]:
    return {process.sid for process in system.processes if process.uid == uid and process.sid}


_FINDERS: dict[str, Callable[[System, str], Iterable[int]]] = {
    "all": _all,
    "own": _own,
    "pid": _by_pid,
    "sid": _by_sid,
    "tty": _by_tty,
    "user": _by_user,
}


# -- as text


def _table(sessions: list[Seen], width: int | None) -> str:
    """A tree for people, on a terminal or with a width; else one full line for each process, for programs."""
    utf8 = _text.speaks_utf8()
    columns = _text.terminal_columns() if width is None else width
    is_tree = width is not None or columns > 0
    lines = "┬├└│" if utf8 else "+|`|"
    rows: list[Row] = [_HEADER]
    for seen in sessions:
        rows += _tree(seen, lines, utf8) if is_tree else _list(seen, utf8)
    sid, tty, user, _, pgid, _, pid, stat, _ = widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    gap = 3 if is_tree else 1  # a line of the tree, and a blank on each side
    taken = sum(widths[:8]) - widths[3] - widths[5] + 2 * gap + 4
    room = max(columns - taken, 0) if columns else sys.maxsize
    bold, dim, off = ("\x1b[1m", "\x1b[2m", "\x1b[m") if room and _text.wants_colour() else ("", "", "")
    form = (
        f"{bold}{{:>{sid}}}{off} {{:<{tty}}} {{:<{user}}}{dim}{{:^{gap}}}{off}{{:>{pgid}}}{dim}{{:^{gap}}}{off}"
        f"{{:>{pid}}} {{colour}}{{:<{stat}}}{off} "
    )
    written = [form.format(*row[:8], colour=off and _colour(row[7])) + _text.cut(row[8], room) for row in rows]
    if not room:
        written = [_text.cut(line, columns) for line in written]
    return "\n".join([*written, ""])


def _list(seen: Seen, utf8: bool) -> Iterator[Row]:
    """A session's rows, each complete in itself."""
    sid = str(seen.sid)
    orphaned = _noteworthy(seen)
    for pgid, processes in seen.groups().items():
        for process in processes:
            tty, user = _text.terminal(process.tty), _text.user_in_table(process.uid)
            stat, command = _stat(process, orphaned), _text.command(process, utf8=utf8)
            yield sid, tty, user, "", str(pgid), "", str(process.pid), stat, command


def _tree(seen: Seen, lines: str, utf8: bool) -> Iterator[Row]:
    """A session's rows, with lines where it branches, and without what is as in its first row."""
    groups = seen.groups()
    orphaned = _noteworthy(seen)
    sid, tty, user = str(seen.sid), "", ""
    for place, (pgid, processes) in enumerate(groups.items()):
        branch, group = _branch(place, len(groups), lines), str(pgid)
        for index, process in enumerate(processes):
            own_tty, own_user = _text.terminal(process.tty), _text.user_in_table(process.uid)
            yield (
                sid,
                "" if own_tty == tty else own_tty,
                "" if own_user == user else own_user,
                branch,
                group,
                _branch(index, len(processes), lines),
                str(process.pid),
                _stat(process, orphaned),
                _text.command(process, utf8=utf8),
            )
            if sid:
                sid, tty, user = "", own_tty, own_user
            branch, group = lines[3] if place < len(groups) - 1 else "", ""


def _branch(index: int, count: int, lines: str) -> str:
    if count == 1:
        return ""
    return lines[0] if index == 0 else lines[1] if index < count - 1 else lines[2]


def _noteworthy(seen: Seen) -> set[int]:
    """The orphaned groups other than the leader's, which always is one."""
    if all(process.pgid == seen.sid for process in seen.processes):
        return set()
    return seen.orphaned() - {seen.sid}


def _stat(process: ProcessInfo, orphaned: set[int]) -> str:
    stat = process.state
    if process.pid == process.sid:
        stat += "s"
    if process.pgid == process.foreground_pgid != 0:
        stat += "+"
    if process.pgid in orphaned:
        stat += "o"
    return stat


_COLOURS = {"Z": "\x1b[31m", "X": "\x1b[31m", "D": "\x1b[31m", "T": "\x1b[33m", "t": "\x1b[33m"}


def _colour(stat: str) -> str:
    """Red for what is dead or stuck, yellow for what is stopped, green for the foreground."""
    return _COLOURS.get(stat[0]) or ("\x1b[32m" if "+" in stat else "")


# -- as JSON


def _json(sessions: list[Seen]) -> str:
    """A session a line: all of it readable for json, each line for grep."""
    import json

    written = [json.dumps(_session(seen)) for seen in sessions]
    return '{"sessions": [\n' + ",\n".join(written) + "\n]}\n"


def _session(seen: Seen) -> dict[str, object]:
    orphaned = seen.orphaned()
    foreground = seen.foreground_pgid
    return {
        "sid": seen.sid,
        "has_leader": seen.head.pid == seen.sid,
        "uid": seen.head.uid,
        "user": _text.user(seen.head.uid),
        "tty": seen.tty,
        "foreground_pgid": foreground,
        "groups": [
            {
                "pgid": pgid,
                "is_foreground": pgid == foreground != 0,
                "is_orphaned": pgid in orphaned,
                "processes": [_text.as_json(process) for process in processes],
            }
            for pgid, processes in seen.groups().items()
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
