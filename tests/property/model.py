"""What becomes of file descriptors: all assignments at once, from the parent's table to the child's."""

from __future__ import annotations

import errno
from dataclasses import asdict, dataclass
from typing import Any

LIMIT = 32  # the helper's RLIMIT_NOFILE: the child's numbers must be below
STREAMS = ("stdin", "stdout", "stderr")


@dataclass(frozen=True)
class Case:
    """A parent's table and a plan. A file is known by a name; what isn't said in the plan is None."""

    files: dict[int, str]  # what the parent has open, by number
    inheritable: frozenset[int]  # the numbers without close-on-exec
    pass_fds: dict[int, int] | list[int] | None = None
    stdin: int | str | None = None
    stdout: int | str | None = None
    stderr: int | str | None = None
    close_fds: bool | None = None
    cwd: int | None = None  # a directory's number

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "inheritable": sorted(self.inheritable)}


@dataclass(frozen=True)
class Outcome:
    """What the child sees, or what refuses it."""

    files: dict[int, str] | None = None
    cwd: str | None = None
    errno: int | None = None


class _NotOpenError(Exception):
    pass


def expected(case: Case) -> Outcome:
    try:
        placed = _placed(case)
    except _NotOpenError:
        return Outcome(errno=errno.EBADF)
    if any(target >= LIMIT for target in placed):
        return Outcome(errno=errno.EBADF)
    closing = case.close_fds is not False  # not said: spawn closes
    kept = {n: name for n, name in case.files.items() if n in case.inheritable and (n < 3 or not closing)}
    return Outcome(files={**kept, **placed}, cwd="cwd" if case.cwd is None else case.files[case.cwd])


def _placed(case: Case) -> dict[int, str]:
    """What the plan puts into the child, by the child's number."""
    passed = case.pass_fds or {}
    sources = passed if isinstance(passed, dict) else {fd: fd for fd in passed}
    placed = {target: case.files[source] for target, source in sources.items()}
    for number, stream in enumerate(STREAMS):
        said = getattr(case, stream)
        if said == "DEVNULL":
            placed[number] = "null"
        elif said == "STDOUT":
            placed[number] = _stdout(case, placed)
        elif said is not None:
            placed[number] = case.files[said]
    return placed


def _stdout(case: Case, placed: dict[int, str]) -> str:
    if 1 not in placed and 1 not in case.files:
        raise _NotOpenError
    return placed.get(1, case.files.get(1, ""))
