"""Types for type checkers. At run time only `setsid.SetupFields` imports this: `typing` is slow to import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from typing import IO, Any, Literal, Protocol, TypeAlias, TypedDict, Union

from ._fields import Inherit, NewSession
from ._setup import ChildSetup

TYPE_CHECKING = False
if TYPE_CHECKING:  # it need not be installed
    from typing_extensions import Required


class HasFileno(Protocol):
    """A file, socket, Pty, ..."""

    def fileno(self) -> int: ...


FileLike: TypeAlias = Union[int, HasFileno]
StrOrBytesPath: TypeAlias = Union[str, bytes, "PathLike[str]", "PathLike[bytes]"]
Environment: TypeAlias = Union[Mapping[str, StrOrBytesPath], Mapping[bytes, StrOrBytesPath]]
Signals: TypeAlias = Iterable[int]
Command: TypeAlias = Union[StrOrBytesPath, Sequence[StrOrBytesPath]]
Stream: TypeAlias = Union[int, IO[Any], HasFileno, None]


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


if sys.version_info >= (3, 11):

    class _Since311(TypedDict, total=False):
        process_group: int | None

else:

    class _Since311(TypedDict, total=False):
        pass


class _Arguments(_Since311, total=False):
    """Popen's arguments that all take."""

    close_fds: bool
    cwd: StrOrBytesPath | None
    env: Environment | None
    startupinfo: Any
    creationflags: int
    restore_signals: bool
    start_new_session: bool
    pass_fds: Iterable[int]
    user: str | int | None
    group: str | int | None
    extra_groups: Iterable[str | int] | None
    umask: int
    pipesize: int


class PopenArguments(_Arguments, total=False):
    """Popen's arguments that don't decide between text and bytes, but for the first six."""

    setup: ChildSetup | None
    preexec_fn: Callable[[], object] | None
    shell: bool


class AsyncioArguments(_Arguments, total=False):
    """Those of asyncio's functions. The last five may only say what holds anyway."""

    preexec_fn: Callable[[], object] | None
    executable: StrOrBytesPath | None
    bufsize: Literal[0]
    text: Literal[False] | None
    encoding: None
    errors: None
    universal_newlines: Literal[False]


class RunArguments(_Arguments, total=False):
    """Those of `setsid.run`."""

    setup: ChildSetup | None
    bufsize: int
    executable: StrOrBytesPath | None
    stdin: Stream
    stdout: Stream
    stderr: Stream
    shell: bool
    capture_output: bool
    timeout: float | None
    check: bool
    grace: float
    end_signal: int


class _Text(TypedDict, total=False):
    text: Required[Literal[True]]
    encoding: str | None
    errors: str | None
    universal_newlines: Literal[True] | None


class _Encoding(TypedDict, total=False):
    text: bool | None
    encoding: Required[str]
    errors: str | None
    universal_newlines: bool | None


class _Errors(TypedDict, total=False):
    text: bool | None
    encoding: str | None
    errors: Required[str]
    universal_newlines: bool | None


class _Newlines(TypedDict, total=False):
    text: Literal[True] | None
    encoding: str | None
    errors: str | None
    universal_newlines: Required[Literal[True]]


class _Bytes(TypedDict, total=False):
    text: Literal[False] | None
    encoding: None
    errors: None
    universal_newlines: Literal[False] | None


class _Either(TypedDict, total=False):
    text: bool | None
    encoding: str | None
    errors: str | None
    universal_newlines: bool | None


class TextPopen(PopenArguments, _Text):
    """What gives a Popen of text; the next three do so too."""


class EncodingPopen(PopenArguments, _Encoding): ...


class ErrorsPopen(PopenArguments, _Errors): ...


class NewlinesPopen(PopenArguments, _Newlines): ...


class BytesPopen(PopenArguments, _Bytes):
    """What gives a Popen of bytes."""


class EitherPopen(PopenArguments, _Either):
    """What only the call shows."""


class TextRun(RunArguments, _Text):
    """The same for `setsid.run`."""


class EncodingRun(RunArguments, _Encoding): ...


class ErrorsRun(RunArguments, _Errors): ...


class NewlinesRun(RunArguments, _Newlines): ...


class BytesRun(RunArguments, _Bytes): ...


class EitherRun(RunArguments, _Either): ...
