"""The fields of ChildSetup: what each may hold, checked without looking at the system."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Final

INT_MAX = 2**31 - 1
ID_MAX = 2**32 - 2  # the last number means "unchanged" to the kernel
SIGNAL_MAX = 64
CPU_MAX = 2**16 - 1  # far beyond any kernel's
RLIM_INFINITY = -1
NO_LIMIT = 2**64 - 1  # the same, as C has it


class NewSession:
    """The type of NEW_SESSION."""

    __slots__ = ()
    __module__ = "setsid"  # where pickles find the one instance

    def __repr__(self) -> str:
        return "setsid.NEW_SESSION"

    def __reduce__(self) -> str:
        return "NEW_SESSION"


class Inherit:
    """The type of INHERIT."""

    __slots__ = ()
    __module__ = "setsid"

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


def and_if_path(file: object) -> str:
    """What to do with a path where a file is asked for."""
    return "; open the file first" if isinstance(file, (str, bytes)) or hasattr(file, "__fspath__") else ""


def _fd(name: str, file: Any) -> Any:
    """A descriptor as it is; a file is kept and asked for its number when a child is made."""
    if isinstance(file, bool) or not (isinstance(file, int) or hasattr(file, "fileno")):
        raise TypeError(
            f"{name} must be a file descriptor or have fileno(), not {type(file).__name__}{and_if_path(file)}"
        )
    if isinstance(file, int):
        _range(name, file, 0, INT_MAX)
    return file


def _range(name: str, number: int, low: int, high: int) -> None:
    if not low <= number <= high:
        raise ValueError(f"{name} must be between {low} and {high}, not {number}")


def _check_int(name: str, number: Any) -> None:
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be an int, not {type(number).__name__}")


def _check_iterable(name: str, values: Any, what: str) -> None:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name} must be an iterable of {what}, not {type(values).__name__}")


def _int(name: str, number: Any, low: int, high: int) -> int:
    _check_int(name, number)
    _range(name, number, low, high)
    return int(number)


def _check_text(name: str, text: str | bytes) -> None:
    """Whether it can be an argument of a system call."""
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError(f"{name}: {text!r} can't be encoded: {error.reason}") from None
    if b"\0" in encoded:
        raise ValueError(f"{name}: embedded null byte")


def _path(name: str, path: Any) -> Any:
    path = os.fspath(path)
    _check_text(name, path)
    return path


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
    return int(group)


def _pass_fds(name: str, fds: Any) -> Any:
    """A mapping in sorted order of its keys, or a tuple."""
    _check_iterable(name, fds, "fds or a mapping of numbers to fds")
    if not hasattr(fds, "keys"):
        return tuple(_fd(f"{name}: each", file) for file in fds)
    for target in fds:
        _int(f"{name}: the child's number", target, 0, INT_MAX)
    return FrozenDict({target: _fd(f"{name}[{target}]", fds[target]) for target in sorted(fds)})


def _directory(name: str, path: Any) -> Any:
    """A path, or the descriptor of a directory."""
    if isinstance(path, bool) or not isinstance(path, (int, str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a path or a directory's file descriptor, not {type(path).__name__}")
    if isinstance(path, int):
        _range(name, path, 0, INT_MAX)
        return int(path)
    return _path(name, path)


def _chroot(name: str, path: Any) -> Any:
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(path).__name__}")
    return _path(name, path)


def _umask(name: str, mask: Any) -> int:
    _check_int(name, mask)
    if not 0 <= mask <= 0o777:
        raise ValueError(f"{name} must be between 0 and 0o777, not {mask:#o}")
    return int(mask)


_signal_numbers: frozenset[int] = frozenset()


def known_signals() -> frozenset[int]:
    """All signals that a plan may name; `signal.valid_signals` takes long to tell. FreeBSD's real-time signals, which
    come after 64, are none of them: C has a word of 64 bits for a set.
    """
    global _signal_numbers
    if not _signal_numbers:
        import signal

        _signal_numbers = frozenset(number for number in map(int, signal.valid_signals()) if number <= SIGNAL_MAX)
    return _signal_numbers


def _signals(name: str, signals: Any) -> Any:
    import signal  # slow to import; who names signals has it already

    _check_iterable(name, signals, "signal numbers")
    known = known_signals()
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


def _id(name: str, who: Any) -> Any:
    """A user or group: a name, to be looked up when a child is made, or a number."""
    if isinstance(who, str):
        if not who or "\0" in who:
            raise ValueError(f"{name}: {who!r} is no name")
        _check_text(name, who)
        return who
    if isinstance(who, bool) or not isinstance(who, int):
        raise TypeError(f"{name} must be a name or a number, not {type(who).__name__}")
    _range(name, who, 0, ID_MAX)
    return int(who)


def _ids(name: str, ids: Any) -> Any:
    _check_iterable(name, ids, "names and numbers")
    return tuple(_id(f"{name}: each", who) for who in ids)


def _limit(name: str, value: Any) -> int:
    """RLIM_INFINITY is what the `resource` module has for no limit: -1, or the highest number."""
    _check_int(name, value)
    if not -1 <= value <= NO_LIMIT:
        raise ValueError(f"{name} must be between 0 and 2**64 - 1, or resource.RLIM_INFINITY, not {value}")
    return RLIM_INFINITY if value == NO_LIMIT else int(value)


def _rlimits(name: str, limits: Any) -> Any:
    """Resources in order, each with (soft, hard)."""
    if not hasattr(limits, "keys"):
        raise TypeError(f"{name} must be a mapping of resource.RLIMIT_* to (soft, hard), not {type(limits).__name__}")
    kept = {}
    for resource in limits:
        number = _int(f"{name}: a resource", resource, 0, INT_MAX)
        pair = limits[resource]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{name}[{number}] must be (soft, hard), not {pair!r}")
        soft, hard = _limit(f"{name}[{number}]: soft", pair[0]), _limit(f"{name}[{number}]: hard", pair[1])
        if soft & NO_LIMIT > hard & NO_LIMIT:
            raise ValueError(f"{name}[{number}]: the soft limit, {pair[0]}, is above the hard one, {pair[1]}")
        kept[number] = (soft, hard)
    return FrozenDict(sorted(kept.items()))


def _nice(name: str, increment: Any) -> int:
    return _int(name, increment, -40, 40)


def _cpus(name: str, cpus: Any) -> Any:
    _check_iterable(name, cpus, "CPU numbers")
    kept = frozenset(_int(f"{name}: each", number, 0, CPU_MAX) for number in cpus)
    if not kept:
        raise ValueError(f"{name} is empty: there must be a CPU to run on")
    return kept


def _oom_score_adj(name: str, score: Any) -> int:
    return _int(name, score, -1000, 1000)


def _signal(name: str, number: Any) -> int:
    """0 is none, for who would decide otherwise, as `run` does."""
    if isinstance(number, bool) or not isinstance(number, int):
        raise TypeError(f"{name} must be a signal's number, not {type(number).__name__}")
    if number and number not in known_signals():
        raise ValueError(f"{name}: there is no signal {number}")
    return int(number)


class FrozenDict(dict):  # type: ignore[type-arg]
    """A dict that can be hashed, and so part of a ChildSetup. Nobody else gets to write it."""

    __slots__ = ()

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))

    def __reduce__(self) -> tuple[object, ...]:
        return FrozenDict, (dict(self),)

    def _refuse(self, *args: object, **kwargs: object) -> Any:
        raise TypeError("a ChildSetup can't be changed; use replace()")

    __setitem__ = __delitem__ = pop = popitem = clear = __ior__ = _refuse
    update = setdefault = _refuse  # pyright: ignore[reportAssignmentType]


# Each field with its check, in the order of the documentation. A check takes the field's name and a value that was
# said (not None), and returns what to keep.
CHECKS: dict[str, Callable[[str, Any], Any]] = {
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
    "cwd": _directory,
    "chroot": _chroot,
    "umask": _umask,
    "user": _id,
    "group": _id,
    "extra_groups": _ids,
    "rlimits": _rlimits,
    "nice": _nice,
    "cpu_affinity": _cpus,
    "oom_score_adj": _oom_score_adj,
    "cgroup": _directory,
    "signal_mask": _signal_mask,
    "default_signals": _signals,
    "ignore_signals": _signals,
    "parent_death_signal": _signal,
    "no_new_privileges": _bool,
}
