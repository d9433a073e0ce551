"""Why a step of a child failed. As in _hints, nothing is said that the facts don't prove.

The child is gone by now, so only what holds for its parent as well can be looked up.
"""

from __future__ import annotations

import errno as codes
import os
import resource

from ._hints import ctty_taken, group_elsewhere, terminal
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ._setup import ChildSetup


class ChildFacts:
    """What a hint for a child's failure may need to know."""

    __slots__ = ("arguments", "cwd", "env", "group", "program", "setup")

    def __init__(
        self, setup: ChildSetup, group: int, program: bytes, arguments: bytes, env: Mapping[bytes, bytes]
    ) -> None:
        self.setup, self.group, self.program, self.arguments, self.env = setup, group, program, arguments, env
        self.cwd: bytes | None = None  # where the child was, as we can name it
        if isinstance(setup.cwd, int):
            self.cwd = b"/proc/self/fd/%d" % setup.cwd
        elif setup.cwd is not None:
            self.cwd = os.fsencode(setup.cwd)

    def candidates(self) -> list[bytes]:
        """Where the child has looked for its program."""
        directories = [b""]
        if b"/" not in self.program:
            directories = self.env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
        return [os.path.join(self.cwd or b"", directory, self.program) for directory in directories]


def child_hint(errno: int, call: str, detail: int, *facts: Any) -> str | None:
    """The hint for `call` in a child."""
    hint = _CHILD_HINTS.get(call)
    return hint(errno, ChildFacts(*facts), detail) if hint else None


def _child_setpgid(errno: int, facts: ChildFacts, _: int) -> str | None:
    return group_elsewhere(facts.group, os.getsid(0)) if errno == codes.EPERM else None


def _child_ctty(errno: int, _: ChildFacts, fd: int) -> str | None:
    return ctty_taken(fd) if errno == codes.EPERM else None


def _child_foreground(errno: int, facts: ChildFacts, fd: int) -> str | None:
    return None if facts.group == lib.SID_GROUP_NEW_SESSION else terminal(errno, fd)  # else in the parent's session


def _child_fd(errno: int, _: ChildFacts, fd: int) -> str | None:
    """A dup2 to `fd`, or a fcntl of it, failed."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if errno == codes.EMFILE:
        return f"the child may have {limit} open files (RLIMIT_NOFILE), and all their numbers are taken or asked for"
    if errno == codes.EBADF and fd >= limit:
        return f"the child's file descriptor {fd} is not below the limit of open files, {limit} (RLIMIT_NOFILE)"
    return None


def _child_cwd(errno: int, facts: ChildFacts, _: int) -> str | None:
    if errno != codes.ENOENT or facts.cwd is None or not os.path.islink(facts.cwd):
        return None
    target = os.readlink(facts.cwd)
    if os.path.lexists(os.path.join(os.path.dirname(facts.cwd), target)):
        return None  # it is a link too
    return f"it is a symbolic link to {os.fsdecode(target)!r}, which does not exist"


def _execve(errno: int, facts: ChildFacts, detail: int) -> str | None:
    hint = _EXEC_HINTS.get(errno)
    return hint(facts, facts.candidates()[detail]) if hint else None


def _no_program(facts: ChildFacts, path: bytes) -> str | None:
    if not facts.program:
        return "the program's name is empty"
    if b"/" not in facts.program:
        candidates = facts.candidates()
        found = [path for path in candidates if os.path.isfile(path)]
        if not found:
            where = "PATH" if b"PATH" in facts.env else f"{os.defpath}, since PATH is not set"
            return f"there is none in {where}"
        path = found[0]
    if not os.path.lexists(path):
        # The errno says it all, unless the place is not the one that comes to mind.
        return f"there is no {os.fsdecode(path)}" if facts.cwd and path != facts.program else None
    interpreter = _interpreter(path)
    if interpreter and not os.path.exists(os.path.join(facts.cwd or b"", interpreter)):
        name = os.fsdecode(interpreter)
        shown = name if name.isprintable() else repr(name)
        return f"{os.fsdecode(path)} exists, but its interpreter {shown} does not"
    return None


def _interpreter(path: bytes) -> bytes | None:
    with open(path, "rb") as file:
        line = file.readline(256)
    # As the kernel reads it: a carriage return belongs to the name.
    words = line[2:].rstrip(b"\n").replace(b"\t", b" ").split(b" ")
    return next(filter(None, words), None) if line.startswith(b"#!") else None


def _denied(_: ChildFacts, path: bytes) -> str | None:
    name = os.fsdecode(path)
    if os.path.isdir(path):
        return f"{name} is a directory"
    if os.path.isfile(path) and not os.stat(path).st_mode & 0o111:
        return f"{name} is not executable"
    return None


def _no_format(_: ChildFacts, path: bytes) -> str | None:
    with open(path, "rb") as file:
        start = file.read(4)
    if not start:
        return f"{os.fsdecode(path)} is empty"
    if start[:2] == b"#!" or start == b"\x7fELF":
        return None
    return f"{os.fsdecode(path)} is no binary and has no #! line; name its interpreter, as sh"


def _too_big(facts: ChildFacts, _: bytes) -> str | None:
    argv = facts.arguments.split(b"\0")
    size = len(facts.arguments) + 1
    variables = [len(name) + len(value) + 1 for name, value in facts.env.items()]
    env_size = sum(variables) + len(variables)
    longest = max(*map(len, argv), *variables, 0)
    return f"arguments take {size} bytes, the environment {env_size}, the longest string {longest}"


_EXEC_HINTS: dict[int, Callable[[ChildFacts, bytes], str | None]] = {
    codes.ENOENT: _no_program,
    codes.EACCES: _denied,
    codes.ENOEXEC: _no_format,
    codes.E2BIG: _too_big,
}

_CHILD_HINTS: dict[str, Callable[[int, ChildFacts, int], str | None]] = {
    "setpgid": _child_setpgid,
    "ioctl(TIOCSCTTY)": _child_ctty,
    "tcgetpgrp": _child_foreground,
    "tcsetpgrp": _child_foreground,
    "dup2": _child_fd,
    "fcntl": _child_fd,
    "chdir": _child_cwd,
    "execve": _execve,
}
