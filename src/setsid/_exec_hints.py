"""Why a child could not execute its program. As in _hints, nothing is said that the facts don't prove."""

from __future__ import annotations

import errno as codes
import os
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ._child_hints import ChildFacts


def execve(errno: int, facts: ChildFacts, detail: int) -> str | None:
    hint = _EXEC_HINTS.get(errno)
    if hint is None:
        return None
    if facts.setup.chroot is not None and errno in OF_A_PATH:
        return in_the_root(facts)
    return hint(facts, facts.candidates()[detail])


def in_the_root(facts: ChildFacts) -> str:
    """What the parent sees under the same name is another file."""
    return f"it is looked for in the root {os.fsdecode(facts.setup.chroot or b'/')}"


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


def _denied(facts: ChildFacts, path: bytes) -> str | None:
    name = os.fsdecode(path)
    if os.path.isdir(path):
        return f"{name} is a directory"
    if os.path.isfile(path) and not os.stat(path).st_mode & 0o111:
        return f"{name} is not executable"
    return _not_searched(facts, path)


def _not_searched(facts: ChildFacts, path: bytes) -> str | None:
    """A directory on the way to `path` that its owner's, group's and others' bits keep a new user out of."""
    if not facts.plan.sets_user or facts.plan.user == 0:
        return None
    if not os.path.isabs(path) or path not in facts.names():
        return None  # nothing above the child's directory is searched
    groups = {facts.plan.group} if facts.plan.sets_group else {os.getegid()}
    groups |= set(facts.plan.groups[0 : facts.plan.group_count]) if facts.plan.sets_groups else set(os.getgroups())
    # The file may be a link that leads elsewhere.
    for place in os.path.realpath(os.path.dirname(path)), os.path.dirname(os.path.realpath(path)):
        directory = b"/"
        for part in place.split(b"/"):
            directory = os.path.join(directory, part)
            found = os.stat(directory)
            if not _may_search(found, facts.plan.user, groups):
                may = _is_searched_by_acl(directory, found.st_mode)
                # Not that this is the reason: a file server, or a capability that is kept, decides otherwise.
                return None if may else f"{os.fsdecode(directory)} is closed to user {facts.plan.user} by its mode"
    return None


def _may_search(directory: os.stat_result, user: int, groups: set[int]) -> bool:
    shift = 6 if directory.st_uid == user else 3 if directory.st_gid in groups else 0
    return bool(directory.st_mode >> shift & 1)


def _is_searched_by_acl(directory: bytes, mode: int) -> bool:
    """Whether a POSIX ACL may let somebody in whom the bits keep out."""
    if sys.platform != "linux":
        return True
    # The group's bits are an ACL's mask: without their x, no entry of it gives any (acl(5)).
    if not mode & stat.S_IXGRP:
        return False
    return not hasattr(os, "listxattr") or "system.posix_acl_access" in os.listxattr(directory)


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


def _too_many(*_: object) -> str:
    return "the user that it runs as has more processes than its RLIMIT_NPROC allows"


OF_A_PATH = (codes.ENOENT, codes.EACCES, codes.ENOEXEC)
_EXEC_HINTS: dict[int, Callable[[ChildFacts, bytes], str | None]] = {
    codes.ENOENT: _no_program,
    codes.EACCES: _denied,
    codes.ENOEXEC: _no_format,
    codes.E2BIG: _too_big,
    codes.EAGAIN: _too_many,  # execve(2): after a change of the user, and for no other reason
}
