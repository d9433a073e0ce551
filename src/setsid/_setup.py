"""ChildSetup: what a child does between fork and exec, checked in full before there is a child."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Final

    from typing_extensions import Self, Unpack

    from ._types import FileLike, SetupFields, StrOrBytesPath

INT_MAX = 2**31 - 1


class NewSession:
    """The type of NEW_SESSION."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "setsid.NEW_SESSION"

    def __reduce__(self) -> str:
        return "NEW_SESSION"


class Inherit:
    """The type of INHERIT."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "setsid.INHERIT"

    def __reduce__(self) -> str:
        return "INHERIT"


NEW_SESSION: Final = NewSession()
"""`process_group`: the child leads a new session. setsid(2)"""
INHERIT: Final = Inherit()
"""`process_group`, `signal_mask`: as the parent has it."""
PIPE: Final = -1
STDOUT: Final = -2
"""`stderr`: to where stdout goes. The value of subprocess.STDOUT."""
DEVNULL: Final = -3
"""`stdin`, `stdout`, `stderr`: /dev/null. The value of subprocess.DEVNULL."""


def _fd(name: str, file: Any) -> Any:
    """A descriptor as it is; a file is kept and asked for its number when a child is made."""
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise TypeError(f"{name} must be a file descriptor or have fileno(), not {type(file).__name__}")
    if isinstance(file, int):
        _range(name, file, 0, INT_MAX)
    return file


def _range(name: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {number}")


def _stream(name: str, file: Any) -> Any:
    if isinstance(file, int) and not isinstance(file, bool):
        if file == PIPE:
            raise ValueError(
                f"{name}: PIPE has no place in a plan, since nobody would hold its other end; use os.pipe(), or Popen"
            )
        if file == DEVNULL or (file == STDOUT and name == "stderr"):
            return file
        if file == STDOUT:
            raise ValueError(f"{name}: STDOUT is for stderr only")
    return _fd(name, file)


def _bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return value


def _process_group(name: str, group: Any) -> Any:
    if isinstance(group, (NewSession, Inherit)):
        return group
    if isinstance(group, bool) or not isinstance(group, int):
        raise TypeError(f"{name} must be NEW_SESSION, INHERIT or a number, not {type(group).__name__}")
    _range(name, group, 0, INT_MAX)
    return group


def _pass_fds(name: str, fds: Any) -> Any:
    """A mapping in sorted order of its keys, or a tuple."""
    if isinstance(fds, (str, bytes)) or not hasattr(fds, "__iter__"):
        raise TypeError(f"{name} must be an iterable of fds or a mapping of numbers to fds, not {type(fds).__name__}")
    if not hasattr(fds, "keys"):
        return tuple(_fd(f"{name}: each", file) for file in fds)
    for target in fds:
        if isinstance(target, bool) or not isinstance(target, int):
            raise TypeError(f"{name}: the child's number must be an int, not {type(target).__name__}")
        _range(f"{name}: the child's number", target, 0, INT_MAX)
    return _FrozenDict({target: _fd(f"{name}[{target}]", fds[target]) for target in sorted(fds)})


def _cwd(name: str, path: Any) -> Any:
    if isinstance(path, bool) or not isinstance(path, (int, str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a path or a directory's file descriptor, not {type(path).__name__}")
    if isinstance(path, int):
        _range(name, path, 0, INT_MAX)
        return path
    path = os.fspath(path)
    if (b"\0" if isinstance(path, bytes) else "\0") in path:
        raise ValueError(f"{name}: embedded null byte")
    return path


def _umask(name: str, mask: Any) -> int:
    if isinstance(mask, bool) or not isinstance(mask, int):
        raise TypeError(f"{name} must be an int, not {type(mask).__name__}")
    if not 0 <= mask <= 0o777:
        raise ValueError(f"{name} must be between 0 and 0o777, not {mask:#o}")
    return mask


def _signals(name: str, signals: Any) -> Any:
    import signal  # slow to import; who names signals has it already

    if isinstance(signals, (str, bytes)) or not hasattr(signals, "__iter__"):
        raise TypeError(f"{name} must be an iterable of signal numbers, not {type(signals).__name__}")
    known = signal.valid_signals()
    numbers = frozenset(signals)
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(f"{name}: a signal is an int, not {type(number).__name__}")
        if number not in known:
            raise ValueError(f"{name}: there is no signal {number}")
        if number in (signal.SIGKILL, signal.SIGSTOP):
            raise ValueError(f"{name}: {signal.Signals(number).name} can't be blocked, ignored or reset")
    return frozenset(int(number) for number in numbers)


def _signal_mask(name: str, mask: Any) -> Any:
    return mask if isinstance(mask, Inherit) else _signals(name, mask)


class _FrozenDict(dict):  # type: ignore[type-arg]
    """A dict that can be hashed, and so part of a ChildSetup. Nobody else gets to write it."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def _refuse(self, *args: object, **kwargs: object) -> Any:
        raise TypeError("a ChildSetup can't be changed; use replace()")

    __setitem__ = __delitem__ = update = pop = popitem = clear = setdefault = __ior__ = _refuse


# Each field with its check, in the order of the documentation. A check takes the field's name and a value that was
# said (not None), and returns what to keep.
_CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "process_group": _process_group,
    "ctty": _fd,
    "steal_ctty": _bool,
    "release_ctty": _bool,
    "foreground_tty": _fd,
    "stdin": _stream,
    "stdout": _stream,
    "stderr": _stream,
    "pass_fds": _pass_fds,
    "close_fds": _bool,
    "cwd": _cwd,
    "umask": _umask,
    "signal_mask": _signal_mask,
    "default_signals": _signals,
    "ignore_signals": _signals,
}
FIELDS = tuple(_CHECKS)
_FD_FIELDS = ("ctty", "foreground_tty", "stdin", "stdout", "stderr")
_STREAMS = ("stdin", "stdout", "stderr")
_set = object.__setattr__


class ChildSetup:
    """A plan of what a child process does between fork and exec. Immutable; may be used again, from any thread.

    Every field may be left out, and None means the same: "not said", so that the function that makes the child
    decides. What that means for `spawn` is given behind each.

        process_group: NEW_SESSION (the default): lead a new session; 0: lead a new process group; n: join group n;
            INHERIT: stay in the parent's. setsid(2), setpgid(2)
        ctty: a terminal (file descriptor or file) that becomes the new session's controlling terminal; only with
            NEW_SESSION. None by default. ioctl_tty(2), TIOCSCTTY
        steal_ctty: True: take `ctty` from the session that has it (Linux, needs CAP_SYS_ADMIN).
        release_ctty: True: let go of the controlling terminal without a new session. ioctl_tty(2), TIOCNOTTY
        foreground_tty: a terminal (file descriptor or file) whose foreground group the child's group becomes before
            it executes the program. With NEW_SESSION only together with `ctty`. tcsetpgrp(3)
        stdin, stdout, stderr: file descriptor, file or DEVNULL; STDOUT for stderr. The parent's by default.
        pass_fds: further file descriptors (or files) that the child keeps: an iterable, or a mapping of the child's
            numbers to the parent's, which may be any permutation.
        close_fds: close every other file descriptor from 3 up. True by default.
        cwd: the working directory: a path, or the file descriptor of a directory. The parent's by default.
        umask: 0 to 0o777. The parent's by default.
        signal_mask: the signals that the program starts with blocked, or INHERIT. Empty by default.
        default_signals: signals set to their default action. Those that Python ignores (SIGPIPE, SIGXFSZ) by default.
            Signals that the parent catches are reset in any case, as exec itself does.
        ignore_signals: signals to ignore ({SIGHUP} is nohup(1)). None by default; ignored ones stay so.

    The child takes the steps in the order of `Stage`. Raises TypeError and ValueError for what can't be carried out,
    NotImplementedError for a field that this system doesn't have (see `supported`).
    Files and descriptors must stay open until the child is made. A plan pickles unless it holds any.
    """

    __slots__ = (*FIELDS, "marshalled")

    marshalled: Any  # _marshal's, which keeps its work here
    process_group: NewSession | Inherit | int | None
    ctty: FileLike | None
    steal_ctty: bool | None
    release_ctty: bool | None
    foreground_tty: FileLike | None
    stdin: FileLike | None
    stdout: FileLike | None
    stderr: FileLike | None
    pass_fds: tuple[FileLike, ...] | Mapping[int, FileLike] | None
    close_fds: bool | None
    cwd: str | bytes | int | None
    umask: int | None
    signal_mask: frozenset[int] | Inherit | None
    default_signals: frozenset[int] | None
    ignore_signals: frozenset[int] | None

    supported: Final[frozenset[str]] = frozenset(FIELDS) - (set() if sys.platform == "linux" else {"steal_ctty"})
    """The names of the fields that this system can carry out."""

    def __init__(
        self,
        *,
        process_group: NewSession | Inherit | int | None = None,
        ctty: FileLike | None = None,
        steal_ctty: bool | None = None,
        release_ctty: bool | None = None,
        foreground_tty: FileLike | None = None,
        stdin: FileLike | None = None,
        stdout: FileLike | None = None,
        stderr: FileLike | None = None,
        pass_fds: Iterable[FileLike] | Mapping[int, FileLike] | None = None,
        close_fds: bool | None = None,
        cwd: StrOrBytesPath | int | None = None,
        umask: int | None = None,
        signal_mask: Iterable[int] | Inherit | None = None,
        default_signals: Iterable[int] | None = None,
        ignore_signals: Iterable[int] | None = None,
    ) -> None:
        given = locals()
        for name in FIELDS:
            value = given[name]
            if value is not None:
                value = _CHECKS[name](name, value)
                if value is not False and name not in self.supported:
                    raise NotImplementedError(f"{name}: {sys.platform} has no such thing")
            _set(self, name, value)
        _set(self, "marshalled", None)
        _check_conflicts(self)

    @classmethod
    def on_terminal(cls, tty: FileLike, /, **fields: Unpack[SetupFields]) -> Self:
        """A plan for a program on a terminal of its own: a new session with `tty` (a terminal's file descriptor or
        file) as its controlling terminal and its three standard streams. `fields` say the rest, or otherwise.
        """
        return cls(**{"process_group": NEW_SESSION, "ctty": tty, "stdin": tty, "stdout": tty, "stderr": tty, **fields})  # type: ignore[arg-type]

    def replace(self, **changes: Unpack[SetupFields]) -> Self:
        """The same plan with some fields changed; None makes a field "not said" again."""
        return type(self)(**{**_said(self), **changes})

    __replace__ = replace

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"can't set {name}: a ChildSetup can't be changed; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"can't delete {name}: a ChildSetup can't be changed; use replace()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in _said(self).items())})"

    def __eq__(self, other: object) -> bool:
        return _said(self) == _said(other) if isinstance(other, ChildSetup) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(_said(self).items()))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        held = [name for name in _FD_FIELDS if getattr(self, name) not in (None, DEVNULL, STDOUT)]
        held += ["pass_fds"] if self.pass_fds else []
        held += ["cwd"] if isinstance(self.cwd, int) else []
        if held:
            raise TypeError(f"can't pickle a ChildSetup with file descriptors in {', '.join(held)}")
        return _rebuild, (type(self), _said(self))


def _rebuild(cls: type[ChildSetup], fields: dict[str, Any]) -> ChildSetup:
    return cls(**fields)


def _said(setup: ChildSetup) -> dict[str, Any]:
    return {name: value for name in FIELDS if (value := getattr(setup, name)) is not None}


def _check_conflicts(setup: ChildSetup) -> None:
    if setup.process_group is not None:
        check_session(setup, setup.process_group)
    if setup.steal_ctty and setup.ctty is None:
        raise ValueError("steal_ctty without ctty: there is no terminal to take")
    if setup.release_ctty and setup.ctty is not None:
        raise ValueError("ctty and release_ctty can't go together")
    if setup.release_ctty and setup.foreground_tty is not None:
        raise ValueError(
            "release_ctty and foreground_tty can't go together: only a controlling terminal has a foreground"
        )
    both = (setup.default_signals or frozenset()) & (setup.ignore_signals or frozenset())
    if both:
        import signal

        names = ", ".join(signal.Signals(number).name for number in sorted(both))
        raise ValueError(f"default_signals and ignore_signals both name {names}")
    for number, stream in enumerate(_STREAMS):
        if number in (setup.pass_fds or ()) and getattr(setup, stream) is not None:
            raise ValueError(f"pass_fds and {stream} both say what the child's {number} is")


def check_session(setup: ChildSetup, group: NewSession | Inherit | int) -> None:
    """Whether the terminal's fields go with `process_group` as it was said, or as the function decided."""
    if group is NEW_SESSION:
        if setup.foreground_tty is not None and setup.ctty is None:
            raise ValueError(
                "foreground_tty with NEW_SESSION but no ctty: a new session has no terminal; "
                "say ctty, or another process_group"
            )
        if setup.release_ctty:
            raise ValueError("release_ctty with NEW_SESSION: a new session has no terminal; say another process_group")
    elif setup.ctty is not None:
        raise ValueError(f"ctty needs process_group=NEW_SESSION, not {group!r}: only a session leader can acquire one")
