"""Why a step of a child failed. As in _hints, nothing is said that the facts don't prove.

The child is gone by now, so only what holds for its parent as well can be looked up.
"""

from __future__ import annotations

import errno as codes
import os
import resource

from ._fields import NO_LIMIT
from ._hints import call_hint, ctty_taken, group_elsewhere, terminal
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ._setup import ChildSetup


class ChildFacts:
    """What a hint for a child's failure may need to know."""

    __slots__ = ("arguments", "cwd", "env", "group", "ids", "is_own_process", "program", "setup")

    def __init__(
        self,
        setup: ChildSetup,
        is_own_process: bool,
        ids: Any,
        program: bytes,
        arguments: bytes,
        env: Mapping[bytes, bytes],
    ) -> None:
        self.setup, self.is_own_process = setup, is_own_process
        self.ids, self.group = ids, ids.process_group  # struct sid_plan
        self.program, self.arguments, self.env = program, arguments, env
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
    """The hint for `call` in a child, or in this process if that applies the plan to itself."""
    known = ChildFacts(*facts)
    own: dict[str, tuple[int, ...]] = {"setsid": (), "setpgid": (0, known.group), "ioctl(TIOCSCTTY)": (detail,)}
    if known.is_own_process and call in own:
        return call_hint(errno, call, *own[call])
    hint = _CHILD_HINTS.get(call)
    return hint(errno, known, detail) if hint else None


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
    if facts.setup.chroot is not None:
        return _in_the_root(facts)
    if errno == codes.EACCES and facts.cwd is not None:
        return _not_searched(facts, os.path.join(facts.cwd, b"."))
    if errno != codes.ENOENT or facts.cwd is None or not os.path.islink(facts.cwd):
        return None
    target = os.readlink(facts.cwd)
    if os.path.lexists(os.path.join(os.path.dirname(facts.cwd), target)):
        return None  # it is a link too
    return f"it is a symbolic link to {os.fsdecode(target)!r}, which does not exist"


def _execve(errno: int, facts: ChildFacts, detail: int) -> str | None:
    hint = _EXEC_HINTS.get(errno)
    if hint is None:
        return None
    if facts.setup.chroot is not None and errno in _OF_A_PATH:
        return _in_the_root(facts)
    return hint(facts, facts.candidates()[detail])


def _in_the_root(facts: ChildFacts) -> str:
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
    """The first directory on the way to `path` that its owner's, group's and others' bits keep a new user out of."""
    if not facts.ids.sets_user or facts.ids.user == 0:
        return None
    groups = {facts.ids.group} if facts.ids.sets_group else {os.getegid()}
    groups |= set(facts.ids.groups[0 : facts.ids.group_count]) if facts.ids.sets_groups else set(os.getgroups())
    # The file may be a link that leads elsewhere.
    for place in os.path.realpath(os.path.dirname(path)), os.path.dirname(os.path.realpath(path)):
        directory = b"/"
        for part in place.split(b"/"):
            directory = os.path.join(directory, part)
            if "system.posix_acl_access" in os.listxattr(directory):
                return None  # which may say otherwise
            if not _may_search(os.stat(directory), facts.ids.user, groups):
                return f"user {facts.ids.user} may not search {os.fsdecode(directory)}"
    return None


def _may_search(directory: os.stat_result, user: int, groups: set[int]) -> bool:
    shift = 6 if directory.st_uid == user else 3 if directory.st_gid in groups else 0
    return bool(directory.st_mode >> shift & 1)


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


_OF_A_PATH = (codes.ENOENT, codes.EACCES, codes.ENOEXEC)
_EXEC_HINTS: dict[int, Callable[[ChildFacts, bytes], str | None]] = {
    codes.ENOENT: _no_program,
    codes.EACCES: _denied,
    codes.ENOEXEC: _no_format,
    codes.E2BIG: _too_big,
    codes.EAGAIN: _too_many,  # execve(2): after a change of the user, and for no other reason
}


def _lacks(capability: str) -> bool:
    with open("/proc/thread-self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return not effective >> _CAPABILITIES[capability] & 1


def _needs(capability: str) -> Callable[[int, ChildFacts, int], str | None]:
    """The hint of a call that is refused without a capability."""

    def hint(errno: int, _: ChildFacts, __: int) -> str | None:
        return f"the caller lacks {capability}" if errno in (codes.EPERM, codes.EACCES) and _lacks(capability) else None

    return hint


def _child_chroot(errno: int, facts: ChildFacts, detail: int) -> str | None:
    return _needs("CAP_SYS_CHROOT")(errno, facts, detail) if errno == codes.EPERM else None  # EACCES is of the path


def _set_id(kind: str) -> Callable[[int, ChildFacts, int], str | None]:
    """The hint of setresuid ("uid") or setresgid ("gid")."""
    refused = _needs(f"CAP_SET{kind.upper()}")

    def hint(errno: int, facts: ChildFacts, number: int) -> str | None:
        if errno != codes.EINVAL:
            return refused(errno, facts, number)
        with open(f"/proc/self/{kind}_map") as file:
            ranges = [tuple(map(int, line.split())) for line in file]
        number &= 2**32 - 1
        if any(first <= number < first + count for first, _, count in ranges):
            return None
        return f"the caller's user namespace has no {kind} {number}"

    return hint


def _setrlimit(errno: int, facts: ChildFacts, number: int) -> str | None:
    # RLIMIT_OFILE is an old name of RLIMIT_NOFILE, which comes before.
    names = {getattr(resource, name): name for name in reversed(dir(resource)) if name.startswith("RLIMIT_")}
    name = names.get(number, f"resource {number}")
    if errno == codes.EINVAL:
        return None if number in names else f"there is no {name}"
    hard, asked = resource.getrlimit(number)[1], (facts.setup.rlimits or {})[number][1]
    if errno != codes.EPERM or asked & NO_LIMIT <= hard & NO_LIMIT or not _lacks("CAP_SYS_RESOURCE"):
        return None
    return f"the hard limit of {name} is {hard}, and the caller lacks CAP_SYS_RESOURCE to raise it"


def _affinity(errno: int, facts: ChildFacts, _: int) -> str | None:
    with open("/sys/devices/system/cpu/online") as file:
        text = file.read().strip()
    online: set[int] = set()
    for part in text.split(","):
        first, _dash, last = part.partition("-")
        online.update(range(int(first), int(last or first) + 1))
    if errno != codes.EINVAL or online & (facts.setup.cpu_affinity or set()):
        return None
    return f"none of these CPUs is online: {text} are"


def _cgroup(errno: int, facts: ChildFacts, _: int) -> str | None:
    cgroup = facts.setup.cgroup
    if cgroup is None:
        return None
    directory = f"/proc/self/fd/{cgroup}" if isinstance(cgroup, int) else os.fsdecode(cgroup)
    shown = os.path.realpath(directory) if isinstance(cgroup, int) else directory
    if errno == codes.EINVAL:
        return f"{shown} is not in a cgroup v2 file system"
    if errno == codes.EACCES:
        may = os.access(os.path.join(directory, "cgroup.procs"), os.W_OK, effective_ids=True)
        return None if may else f"the caller may not write {shown}/cgroup.procs"
    if errno == codes.EOPNOTSUPP:
        kind = _line(directory, "cgroup.type")
        return f"the type of {shown} is {kind!r}" if kind != "domain" else None
    controllers = _line(directory, "cgroup.subtree_control") if errno == codes.EBUSY else ""
    return f"{shown} hands {controllers} on to its children, so no process may be in it itself" if controllers else None


def _line(directory: str, name: str) -> str:
    with open(os.path.join(directory, name)) as file:
        return file.read().strip()


def _write(errno: int, facts: ChildFacts, detail: int) -> str | None:
    if facts.setup.cgroup is None:  # else it may have been cgroup.procs
        return _needs("CAP_SYS_RESOURCE")(errno, facts, detail)
    return _cgroup(errno, facts, detail)


_CAPABILITIES = {
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_NICE": 23,
    "CAP_SYS_RESOURCE": 24,
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
    "open": _cgroup,
    "fstatfs": _cgroup,
    "write": _write,
    "setrlimit": _setrlimit,
    "setpriority": _needs("CAP_SYS_NICE"),
    "sched_setaffinity": _affinity,
    "chroot": _child_chroot,
    "setgroups": _needs("CAP_SETGID"),
    "setresgid": _set_id("gid"),
    "setresuid": _set_id("uid"),
}
