"""spawn: start a program as a plan says."""

from __future__ import annotations

import os
import sys

from ._errors import child_error
from ._marshal import SPAWN, Plan, marshal
from ._native import ffi, lib
from ._process import Process, dropped, reap_dropped
from ._setup import ChildSetup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from ._types import Environment, SetupFields, StrOrBytesPath

_DEFAULT = ChildSetup()
_DEFAULT_PATH = b"/bin:/usr/bin"  # what execvp takes where PATH is not set; os.defpath
_new = ffi.new
_CHILD = ffi.typeof("struct sid_child *")
_sid_spawn = lib.sid_spawn
_fsencode = os.fsencode
_audit = sys.audit
_ENCODING = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())


def spawn(
    argv: Sequence[StrOrBytesPath],
    setup: ChildSetup | None = None,
    *,
    executable: StrOrBytesPath | None = None,
    env: Environment | None = None,
    **changes: Unpack[SetupFields],
) -> Process:
    """Start a program, in a session of its own unless the plan says otherwise.

    The calling thread waits until the program is executed; the others go on. Costs the same whatever the size of the
    process, and is safe in a program with threads: no Python runs in the child.

        argv: the program and its arguments.
        setup: the plan; `ChildSetup()` if None. `changes` are fields of ChildSetup that replace those of `setup`.
        executable: the program, if it is not argv[0].
        env: the environment; `os.environ` as it is now if None.

    A program without a slash is looked for in the PATH of `env`, as execvp does but without its fallback to sh.

    Returns the Process. Raises TypeError and ValueError for what can't be carried out; SystemCallError, with `stage`,
    when a step of the plan fails; the same with the program as `filename` when it can't be executed (FileNotFoundError,
    PermissionError, ...). No child is left then. Raises the auditing event `setsid.spawn` with executable, argv, cwd,
    env. execve(2), vfork(2)
    """
    if setup is None:
        setup = ChildSetup(**changes) if changes else _DEFAULT
    elif changes:
        setup = setup.replace(**changes)
    program, arguments, count = _arguments(argv, executable)
    environment = _own_environment() if env is None else _Environment(_encoded(env))
    _audit("setsid.spawn", program if executable is None else executable, argv, setup.cwd, env)
    if b"/" in program:
        paths, path_count = program, 1
    else:
        candidates = _candidates(program, environment)
        paths, path_count = b"\0".join(candidates), len(candidates)
    plan = marshal(setup, SPAWN)
    if dropped:
        reap_dropped()
    child = _new(_CHILD)
    # Made before the child: whatever a signal handler raises from here on, the child has an owner.
    process = Process(child, argv)
    if (
        _sid_spawn(plan.struct, paths, path_count, arguments, count, environment.block, environment.count, child)
        < 0
    ):
        raise _failure(child.report, plan, program, paths, arguments, environment)
    return process


def _arguments(argv: Sequence[StrOrBytesPath], executable: StrOrBytesPath | None) -> tuple[bytes, bytes, int]:
    """The program, and argv as one block of strings with their number."""
    if type(argv) is not list and type(argv) is not tuple:
        if isinstance(argv, (str, bytes)) or hasattr(argv, "__fspath__"):
            what = type(argv).__name__
            raise TypeError(f"argv must be a sequence of strings, not {what}; a command line is for sh to split")
        argv = list(argv)
    try:
        block = "\0".join(argv).encode(*_ENCODING)  # type: ignore[arg-type]
    except TypeError:  # not all are str
        block = b"\0".join(map(_fsencode, argv))
    count = block.count(b"\0") + 1
    if count != len(argv):
        raise ValueError("argv: embedded null byte" if argv else "argv is empty: it must name the program")
    if executable is None:
        return block.partition(b"\0")[0], block, count
    return _joined("executable", [_fsencode(executable)]), block, count


def _joined(name: str, strings: list[bytes]) -> bytes:
    """The strings with a NUL between them, in one object that no other thread can change while C reads it."""
    joined = b"\0".join(strings)
    if joined.count(b"\0") >= len(strings) > 0:
        raise ValueError(f"{name}: embedded null byte")
    return joined


class _Environment:
    """An environment as C wants it: `block` holds `count` strings."""

    __slots__ = ("block", "count", "variables")

    def __init__(self, variables: dict[bytes, bytes]) -> None:
        self.variables = variables
        self.count = len(variables)
        self.block = _joined("env", [name + b"=" + value for name, value in variables.items()])


def _encoded(env: Environment) -> dict[bytes, bytes]:
    variables = {_fsencode(name): _fsencode(value) for name, value in env.items()}
    for name in variables:
        if not name or b"=" in name:
            raise ValueError(f"env: {name!r} is no name of an environment variable")
    return variables


_last_environment = _Environment({})


def _own_environment() -> _Environment:
    """os.environ as it is now. Its own dict holds bytes already, and comparing that with a copy is ten times faster
    than making the block anew, since most values are the very same objects.
    """
    global _last_environment
    variables = getattr(os.environ, "_data", None)
    last = _last_environment
    if type(variables) is dict and variables == last.variables:
        return last
    copy = variables.copy() if type(variables) is dict else None
    if copy is None or not all(type(name) is bytes for name in copy):
        copy = dict(os.environb)
    last = _last_environment = _Environment(copy)
    return last


def _candidates(program: bytes, environment: _Environment) -> list[bytes]:
    """Where execvp would look, in the child's PATH. An empty entry is the child's working directory."""
    path = environment.variables.get(b"PATH", _DEFAULT_PATH)
    return [directory + b"/" + program if directory else program for directory in path.split(b":")]


def _failure(
    report: object, plan: Plan, program: bytes, paths: bytes, arguments: bytes, environment: _Environment
) -> OSError:
    from ._hints import ChildFacts

    setup = plan.setup
    cwd = None if setup.cwd is None or isinstance(setup.cwd, int) else setup.cwd
    facts = ChildFacts(
        group=plan.struct.process_group,
        moves=plan.moves,
        program=program,
        paths=paths.split(b"\0"),
        argv=arguments.split(b"\0"),
        env=environment.block.split(b"\0"),
        cwd=None if cwd is None else _fsencode(cwd),
    )
    call = report.call  # type: ignore[attr-defined]
    filename = {lib.SID_CALL_EXECVE: os.fsdecode(program), lib.SID_CALL_CHDIR: cwd}.get(call)
    return child_error(report, facts, filename)
