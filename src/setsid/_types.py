"""Types for type checkers. Never imported at run time: `typing` is slow to import."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Protocol, TypeAlias, TypedDict, Union

from ._fields import Inherit, NewSession


class HasFileno(Protocol):
    """A file, socket, Pty, ..."""

    def fileno(self) -> int: ...


FileLike: TypeAlias = Union[int, HasFileno]
StrOrBytesPath: TypeAlias = Union[str, bytes, "PathLike[str]", "PathLike[bytes]"]
Environment: TypeAlias = Union[Mapping[str, StrOrBytesPath], Mapping[bytes, StrOrBytesPath]]
Signals: TypeAlias = Iterable[int]


class SetupFields(TypedDict, total=False):
    """ChildSetup's fields, as keyword arguments of `spawn` and the like."""

    process_group: NewSession | Inherit | int | None
    ctty: FileLike | None
    steal_ctty: bool | None
    release_ctty: bool | None
    foreground_tty: FileLike | None
    stdin: FileLike | None
    stdout: FileLike | None
    stderr: FileLike | None
    pass_fds: Iterable[FileLike] | Mapping[int, FileLike] | None
    close_fds: bool | None
    cwd: StrOrBytesPath | int | None
    chroot: StrOrBytesPath | None
    umask: int | None
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    rlimits: Mapping[int, tuple[int, int]] | None
    nice: int | None
    cpu_affinity: Iterable[int] | None
    oom_score_adj: int | None
    cgroup: StrOrBytesPath | int | None
    signal_mask: Signals | Inherit | None
    default_signals: Signals | None
    ignore_signals: Signals | None
    parent_death_signal: int | None
    no_new_privileges: bool | None
