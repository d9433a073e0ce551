"""How lssid and killsid write what they know of processes: nothing in a command line can drive the terminal."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .._processes import ProcessInfo

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_users: dict[int, str | None] = {}


def speaks_utf8() -> bool:
    """Whether the locale's encoding is UTF-8.

    Python has made itself a UTF-8 mode where LC_ALL is C; but who says that wants ASCII.
    """
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_CTYPE") or os.environ.get("LANG") or ""
    return sys.getfilesystemencoding() == "utf-8" and "utf8" in locale.lower().replace("-", "")


# -- a process


def command(process: ProcessInfo, *, utf8: bool) -> str:
    """Its command line as one line of text, as ps(1) has it: [name] where there is none."""
    if process.state in "ZXx":
        return escape(f"[{process.comm}] <defunct>", utf8=utf8)
    text = " ".join(process.args).rstrip(" ") or (f"[{process.comm}]" if process.comm else "?")
    return escape(text, utf8=utf8)


def terminal(path: str | None) -> str:
    """A terminal's short name: "pts/4", or "-" for none."""
    return path.removeprefix("/dev/") if path else "-"


def user(uid: int | None) -> str | None:
    """A user's name, if it is known and has one."""
    if uid is None:
        return None
    if uid not in _users:
        import pwd

        try:
            _users[uid] = pwd.getpwuid(uid).pw_name
        except KeyError:
            _users[uid] = None
    return _users[uid]


def user_in_table(uid: int | None) -> str:
    """A user's name, or its number if it has none that is easily written; "?" if nobody knows."""
    name = user(uid)
    if uid is None:
        return "?"
    return name if name and name.isascii() and name.isprintable() and " " not in name else str(uid)


def as_json(process: ProcessInfo) -> dict[str, object]:
    """What is known of it, for JSON, with its user's name; not its session and group."""
    return {
        "pid": process.pid,
        "ppid": process.ppid,
        "uid": process.uid,
        "user": user(process.uid),
        "tty": process.tty,
        "state": process.state,
        "start_time": round(process.start_time, 2),  # a tick of the kernel's clock
        "comm": process.comm,
        "args": process.args,
    }


# -- what a terminal can take


def escape(text: str, *, utf8: bool) -> str:
    r"""`text` with all that does not print escaped, bytes of no character as \x9b."""
    if text.isprintable() and (utf8 or text.isascii()):
        return text
    return "".join(char if char.isprintable() and (utf8 or char.isascii()) else _escaped(char, utf8) for char in text)


def _escaped(char: str, utf8: bool) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if utf8 and char > "\x7f" and not "\udc80" <= char <= "\udcff":
        return f"\\u{ord(char):04x}" if char <= "\uffff" else f"\\U{ord(char):08x}"
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(char))


def cut(text: str, columns: int) -> str:
    """As much of `text`, which is escaped, as takes up to so many columns."""
    if text.isascii():
        return text[:columns]
    taken = 0
    for index, char in enumerate(text):
        taken += columns_of(char)
        if taken > columns:
            return text[:index]
    return text


def columns_of(char: str) -> int:
    """How many columns a character takes, at most: terminals differ in what follows another one, as in emoji."""
    if char.isascii() or char == "\N{VARIATION SELECTOR-16}":  # which makes some characters wide
        return 1
    import unicodedata

    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def terminal_columns() -> int:
    """How wide the terminal is that standard output is; 0 if it is none."""
    if not os.isatty(1):
        return 0
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 0
    if not columns:  # it does not know
        told = os.environ.get("COLUMNS", "")
        columns = int(told) if told.isascii() and told.isdigit() else 0
    return columns or 80


def wants_colour() -> bool:
    """Whether standard output is a terminal for which colours are wanted. https://no-color.org"""
    return os.isatty(1) and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"
