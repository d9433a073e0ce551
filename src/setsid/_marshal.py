"""ChildSetup -> struct sid_plan. Owns what must stay alive while C reads it."""

from __future__ import annotations

import errno
import os
import sys

from . import _credentials
from ._calls import ACCESS_MODE, as_fd
from ._errors import SystemCallError, prepare
from ._fields import DEVNULL, INHERIT, NEW_SESSION, NO_LIMIT, STDOUT
from ._native import ffi, lib
from ._setup import ChildSetup, check_session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ._fields import Inherit, NewSession

_WORD_BITS = ffi.sizeof("unsigned long") * 8
_GROUPS: dict[object, int] = {NEW_SESSION: lib.SID_GROUP_NEW_SESSION, INHERIT: lib.SID_GROUP_INHERIT}


class Verb:
    """What "not said" means to one of the functions that make a child. Sets of signals have bit n-1 for signal n."""

    __slots__ = ("close_fds", "default_signals", "executes", "is_own_process", "process_group", "signal_mask")

    def __init__(
        self,
        *,
        process_group: NewSession | Inherit,
        close_fds: bool,
        signal_mask: int | Inherit,
        default_signals: int,
        executes: bool = True,
        is_own_process: bool = False,
    ) -> None:
        self.executes = executes
        self.is_own_process = is_own_process
        self.process_group = process_group
        self.close_fds = close_fds
        self.signal_mask = signal_mask
        self.default_signals = default_signals


SPAWN = Verb(
    process_group=NEW_SESSION,
    close_fds=True,
    signal_mask=0,
    default_signals=lib.sid_python_ignored_signals(),
)
# The middle child makes the session.
DETACHED = Verb(
    process_group=INHERIT,
    close_fds=True,
    signal_mask=0,
    default_signals=lib.sid_python_ignored_signals(),
)
# What the standard library's Popen does.
POPEN = Verb(
    process_group=INHERIT,
    close_fds=True,
    signal_mask=INHERIT,
    default_signals=lib.sid_python_ignored_signals(),
)
# What a process that goes on in Python leaves alone unless it is said.
FORK = Verb(process_group=NEW_SESSION, close_fds=False, signal_mask=INHERIT, default_signals=0, executes=False)
APPLY = Verb(
    process_group=INHERIT,
    close_fds=False,
    signal_mask=INHERIT,
    default_signals=0,
    executes=False,
    is_own_process=True,
)


class Plan:
    """A marshalled ChildSetup: `struct` for C, the rest to keep it alive and to tell what failed.

    `scratch` and `report` are for who has them alone: a forked child, or a process that applies the plan to itself.
    """

    __slots__ = ("_kept", "files", "is_static", "report", "scratch", "struct", "verb")

    def __init__(self, setup: ChildSetup, verb: Verb) -> None:
        self.verb = verb
        self.files = _Files(setup)
        self.is_static = self.files.are_numbers and not _credentials.are_looked_up(setup)
        self._kept: list[Any] = []
        moves = self.files.moves()
        self.struct = self._struct(setup)
        self.struct.move_count = len(moves)
        self.struct.moves = self._keep(ffi.new("struct sid_fd_move[]", moves))
        self._set_limits(setup)
        self._set_credentials(setup)
        self.scratch = ffi.NULL if verb.executes else ffi.new("int[]", len(moves))
        self.report = ffi.NULL if verb.executes else ffi.new("struct sid_report *")

    def _keep(self, memory: Any) -> Any:
        self._kept.append(memory)
        return memory

    def _path(self, path: Any) -> Any:
        """A path as a C string; NULL for none and for a descriptor."""
        if path is None or isinstance(path, int):
            return ffi.NULL
        return ffi.from_buffer(self._keep(os.fsencode(path) + b"\0"))

    def _set_limits(self, setup: ChildSetup) -> None:
        plan = self.struct
        if setup.rlimits:
            rows = [(number, soft & NO_LIMIT, hard & NO_LIMIT) for number, (soft, hard) in setup.rlimits.items()]
            plan.rlimits = self._keep(ffi.new("struct sid_rlimit[]", rows))
            plan.rlimit_count = len(rows)
        if setup.cpu_affinity:
            words = [0] * (max(setup.cpu_affinity) // _WORD_BITS + 1)
            for number in setup.cpu_affinity:
                words[number // _WORD_BITS] |= 1 << number % _WORD_BITS
            plan.cpus = self._keep(ffi.new("unsigned long[]", words))
            plan.cpus_size = len(words) * _WORD_BITS // 8

    def _set_credentials(self, setup: ChildSetup) -> None:
        plan = self.struct
        if setup.user is None and setup.group is None and setup.extra_groups is None:
            return
        user, group, groups = _credentials.look_up(setup)
        plan.sets_user, plan.user = user is not None, user or 0
        plan.sets_group, plan.group = group is not None, group or 0
        if groups is not None:
            plan.sets_groups = True
            plan.groups = self._keep(ffi.new("unsigned[]", groups))
            plan.group_count = len(groups)

    def _struct(self, setup: ChildSetup) -> Any:
        verb = self.verb
        group = verb.process_group if setup.process_group is None else setup.process_group
        check_session(setup, group)
        if setup.release_ctty and not verb.is_own_process and sys.platform.startswith("freebsd"):
            raise NotImplementedError("release_ctty: on FreeBSD only a session's leader can let go of its terminal")
        mask = verb.signal_mask if setup.signal_mask is None else _bits(setup.signal_mask)
        ignored = _bits(setup.ignore_signals or ())
        defaults = verb.default_signals if setup.default_signals is None else _bits(setup.default_signals)
        plan = ffi.new("struct sid_plan *")
        plan.process_group = _GROUPS.get(group, group)
        plan.ctty = self.files.named.get("ctty", -1)
        plan.steal_ctty = bool(setup.steal_ctty)
        plan.release_ctty = bool(setup.release_ctty)
        plan.foreground_tty = self.files.named.get("foreground_tty", -1)
        plan.close_fds = verb.close_fds if setup.close_fds is None else setup.close_fds
        plan.umask = -1 if setup.umask is None else setup.umask
        plan.cwd_fd = setup.cwd if isinstance(setup.cwd, int) else -1
        plan.cwd = self._path(setup.cwd)
        plan.chroot = self._path(setup.chroot)
        plan.cgroup_fd = setup.cgroup if isinstance(setup.cgroup, int) else -1
        plan.cgroup = self._path(setup.cgroup)
        plan.nice = setup.nice or 0
        plan.sets_oom_score_adj = setup.oom_score_adj is not None
        plan.oom_score_adj = setup.oom_score_adj or 0
        plan.parent_death_signal = setup.parent_death_signal or 0
        plan.no_new_privileges = bool(setup.no_new_privileges)
        plan.inherit_mask = mask is INHERIT
        plan.signal_mask = 0 if mask is INHERIT else mask
        plan.ignore_signals = ignored
        plan.default_signals = defaults & ~ignored
        return plan


class _Files:
    """The numbers of a setup's files, by the field that names them."""

    __slots__ = ("are_numbers", "named", "targets")

    def __init__(self, setup: ChildSetup) -> None:
        self.are_numbers = True
        self.named: dict[str, int] = {}
        self.targets: dict[int, int] = {}  # the child's number -> the parent's, or SID_SOURCE_DEVNULL
        self._add("ctty", setup.ctty)
        self._add("foreground_tty", setup.foreground_tty)
        self._add("cwd", setup.cwd if isinstance(setup.cwd, int) else None)
        self._add("cgroup", setup.cgroup if isinstance(setup.cgroup, int) else None)
        self._add_passed(setup.pass_fds or ())
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            if number in self.targets and getattr(setup, name) is not None:  # a file's number is known only now
                raise ValueError(f"pass_fds and {name} both say what the child's {number} is")
        self._add_stream(0, "stdin", setup.stdin)
        self._add_stream(1, "stdout", setup.stdout)
        if isinstance(setup.stderr, int) and setup.stderr == STDOUT:
            self.targets[2] = self.targets[1] if 1 in self.targets else self._add("stderr", 1)
        else:
            self._add_stream(2, "stderr", setup.stderr)

    def _add(self, name: str, file: Any) -> int:
        if file is None:
            return -1
        self.are_numbers &= isinstance(file, int)
        fd = self.named[name] = as_fd(file, name)
        return fd

    def _add_stream(self, target: int, name: str, file: Any) -> None:
        if isinstance(file, int) and file == DEVNULL:
            self.targets[target] = lib.SID_SOURCE_DEVNULL
        elif file is not None:
            self.targets[target] = self._add(name, file)

    def _add_passed(self, fds: Any) -> None:
        is_mapping = hasattr(fds, "keys")
        for item in fds:
            fd = self._add(f"pass_fds[{item!r}]", fds[item] if is_mapping else item)
            self.targets[item if is_mapping else fd] = fd

    def moves(self) -> list[tuple[int, int, bool]]:
        """(source, target, lift), sorted by target. A source is lifted if another file's move overwrites it."""
        targets = self.targets
        return [(fd, target, targets.get(fd, fd) != fd) for target, fd in sorted(targets.items())]


def marshal(setup: ChildSetup, verb: Verb) -> Plan:
    """The plan of `setup` for `verb`. The same one again when nothing in it can have changed.

    Raises SystemCallError (EBADF, ENOTTY) or ValueError for a file that can't serve.
    """
    plan: Plan | None = setup.marshalled
    if plan is None or plan.verb is not verb:
        plan = Plan(setup, verb)
        prepare()
        if plan.is_static:
            object.__setattr__(setup, "marshalled", plan)
    if plan.files.named:
        check_files(plan)
    return plan


def check_files(plan: Plan) -> None:
    """Raise what marshal() does for a file."""
    result = lib.sid_check_files(plan.struct)
    if result == 0:
        return
    for name, fd in plan.files.named.items():
        flags = lib.sid_fd_flags(fd)
        if flags < 0:
            raise SystemCallError(-flags, "fcntl", hint=f"{name}: file descriptor {fd} is not open")
        if name in ("ctty", "foreground_tty") and not lib.sid_is_terminal(fd):
            raise SystemCallError(errno.ENOTTY, "isatty", hint=f"{name}: file descriptor {fd} is not a terminal")
        if name == "ctty" and flags & ACCESS_MODE == os.O_WRONLY:
            raise ValueError(f"ctty: file descriptor {fd} is open for writing only, and must be readable")
    raise SystemCallError(-result, "fcntl")  # another thread has mended it just now


def _bits(signals: Iterable[int] | Inherit) -> Any:
    if signals is INHERIT:
        return INHERIT
    bits = 0
    for number in signals:  # type: ignore[union-attr]
        bits |= 1 << (number - 1)
    return bits
