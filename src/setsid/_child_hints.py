"""Why a step of a child failed. As in _hints, nothing is said that the facts don't prove.

The child is gone by now, so only what holds for its parent as well can be looked up.
"""

from __future__ import annotations

import errno as codes
import os
import resource
import sys

from ._exec_hints import OF_A_PATH, execve, in_the_root
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

    __slots__ = ("arguments", "cwd", "env", "group", "is_own_process", "plan", "program", "setup")

    def __init__(
        self,
        setup: ChildSetup,
        is_own_process: bool,
        plan: Any,
        program: bytes,
        arguments: bytes,
        env: Mapping[bytes, bytes],
    ) -> None:
        self.setup, self.is_own_process = setup, is_own_process
        self.plan, self.group = plan, plan.process_group  # struct sid_plan
        self.program, self.arguments, self.env = program, arguments, env
        self.cwd: bytes | None = None  # where the child was, as we can name it
        if isinstance(setup.cwd, int):
            self.cwd = b"/proc/self/fd/%d" % setup.cwd if sys.platform == "linux" else None
        elif setup.cwd is not None:
            self.cwd = os.fsencode(setup.cwd)

    def names(self) -> list[bytes]:
        """The paths that the child has executed, or tried to: a relative one is looked for in its directory."""
        directories = [b""]
        if b"/" not in self.program:
            directories = self.env.get(b"PATH", os.fsencode(os.defpath)).split(b":")
        return [os.path.join(directory, self.program) for directory in directories]

    def candidates(self) -> list[bytes]:
        """Where the child has looked for its program."""
        return [os.path.join(self.cwd or b"", name) for name in self.names()]


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
    if facts.cwd is None:  # it was the one of chroot
        return None
    if facts.setup.chroot is not None:
        return in_the_root(facts) if errno in (*OF_A_PATH, codes.ENOTDIR, codes.ELOOP) else None
    if errno == codes.EACCES:
        return _not_entered(facts.cwd)
    if errno != codes.ENOENT or not os.path.islink(facts.cwd):
        return None
    target = os.readlink(facts.cwd)
    if os.path.lexists(os.path.join(os.path.dirname(facts.cwd), target)):
        return None  # it is a link too
    return f"it is a symbolic link to {os.fsdecode(target)!r}, which does not exist"


def _not_entered(path: bytes) -> str | None:
    """The first directory on the way that is closed. The step comes before the user's: it has the caller's rights."""
    if not os.path.isabs(path) and not os.access(os.getcwd(), os.X_OK, effective_ids=True):
        return None  # the way begins below a closed directory: from the root it is not the same one
    directory = b"/"
    for part in os.path.realpath(path).split(b"/"):
        directory = os.path.join(directory, part)
        if not os.access(directory, os.X_OK, effective_ids=True):
            return f"the caller may not search {os.fsdecode(directory)}"
    return None


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


def _helper(errno: int, _: ChildFacts, __: int) -> str | None:
    return _elsewhere(errno, "a child with a parent-death signal is made by another thread")


def _middle(errno: int, facts: ChildFacts, _: int) -> str | None:
    if facts.group != lib.SID_GROUP_INHERIT:
        return None
    return _elsewhere(errno, "a detached program's parent, which ends at once, would be the first there, and end all")


def _middle_ended(errno: int, _: ChildFacts, __: int) -> str | None:
    return "a signal has ended the child that starts the program" if errno == codes.ECHILD else None


def _elsewhere(errno: int, why: str) -> str | None:
    next_child = "/proc/thread-self/ns/pid_for_children"
    # It leads nowhere until the namespace has its first process.
    is_elsewhere = not os.path.exists(next_child) or not os.path.samefile("/proc/thread-self/ns/pid", next_child)
    if errno != codes.EINVAL or not os.path.lexists(next_child) or not is_elsewhere:
        return None
    return f"this thread's next children belong to another pid namespace (unshare), and {why}"


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


def _cgroup_directory(facts: ChildFacts) -> str:
    cgroup = facts.setup.cgroup
    return f"/proc/self/fd/{cgroup}" if isinstance(cgroup, int) else os.fsdecode(cgroup or b"")


def _shown(facts: ChildFacts) -> str:
    """The cgroup as it was said, or what a descriptor leads to."""
    directory = _cgroup_directory(facts)
    return os.path.realpath(directory) if isinstance(facts.setup.cgroup, int) else directory


def _cgroup(errno: int, facts: ChildFacts, _: int) -> str | None:
    if facts.setup.cgroup is None:
        return None
    directory, shown = _cgroup_directory(facts), _shown(facts)
    if errno == codes.EACCES:
        may = os.access(os.path.join(directory, "cgroup.procs"), os.W_OK, effective_ids=True)
        return None if may else f"the caller may not write {shown}/cgroup.procs"
    if errno == codes.EOPNOTSUPP:
        kind = _line(directory, "cgroup.type")
        return f"the type of {shown} is {kind!r}" if kind != "domain" else None
    controllers = _line(directory, "cgroup.subtree_control") if errno == codes.EBUSY else ""
    return f"{shown} hands {controllers} on to its children, so no process may be in it itself" if controllers else None


def _no_cgroup(errno: int, facts: ChildFacts, _: int) -> str | None:
    """Only fstatfs tells: a write to cgroup.procs can be EINVAL too, as for a real-time process."""
    return f"{_shown(facts)} is not in a cgroup v2 file system" if errno == codes.EINVAL else None


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
    "execve": execve,
    "open": _cgroup,
    "pthread_create": _helper,
    "clone": _middle,
    "fork": _middle_ended,
    "fstatfs": _no_cgroup,
    "write": _write,
    "setrlimit": _setrlimit,
    "setpriority": _needs("CAP_SYS_NICE"),
    "sched_setaffinity": _affinity,
    "chroot": _child_chroot,
    "setgroups": _needs("CAP_SETGID"),
    "setresgid": _set_id("gid"),
    "setresuid": _set_id("uid"),
}
