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
    from typing import Any

    from typing_extensions import Unpack

    from ._types import Environment, SetupFields, StrOrBytesPath

_DEFAULT = ChildSetup()
_new = ffi.new
_NULL = ffi.NULL
_CHILD = ffi.typeof("struct sid_child *")
_sid_spawn = lib.sid_spawn
_fsencode = os.fsencode
_audit = sys.audit
_ENCODING, _ERRORS = sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()


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
    elif not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    elif changes:
        setup = setup.replace(**changes)
    try:
        argv[:0]  # neither a set, a mapping nor a generator
        arguments = "\0".join(argv).encode(_ENCODING, _ERRORS)  # type: ignore[arg-type]
        count = len(argv)
    except (TypeError, AttributeError, KeyError):
        arguments, count = _arguments(argv)
    if isinstance(argv, str):
        raise _no_sequence(argv)
    if not count:
        raise ValueError("argv is empty: it must name the program")
    environment = _own_environment() if env is None else _Environment(_encoded(env))
    program = _NULL if executable is None else _program(executable)
    _audit("setsid.spawn", argv[0] if executable is None else executable, argv, setup.cwd, env)
    plan = setup.marshalled
    if plan is None or plan.verb is not SPAWN or plan.files.named:
        plan = marshal(setup, SPAWN)
    if dropped:
        reap_dropped()
    child = _new(_CHILD)
    # Made before the child: whatever a signal handler raises from here on, the child has an owner.
    process = Process(child, argv)
    block = environment.block
    if _sid_spawn(plan.struct, program, arguments, len(arguments), count, block, len(block), environment.count, child):
        raise _failure(child.report, setup, plan, program, arguments, environment)
    return process


def _arguments(argv: Sequence[StrOrBytesPath]) -> tuple[bytes, int]:
    """What `spawn` needs of an argv that is not all str: a block with a NUL between the arguments, and their number."""
    if isinstance(argv, bytes) or not hasattr(argv, "__getitem__") or hasattr(argv, "keys"):
        raise _no_sequence(argv)
    arguments = [_encode(f"argv[{index}]", argument) for index, argument in enumerate(argv)]
    return b"\0".join(arguments), len(arguments)


def _encode(name: str, value: StrOrBytesPath) -> bytes:
    try:
        return _fsencode(value)
    except TypeError:
        raise TypeError(f"{name} must be str, bytes or os.PathLike, not {type(value).__name__}") from None


def _no_sequence(argv: object) -> TypeError:
    return TypeError(
        f"argv must be a sequence of strings, not {type(argv).__name__}; a command line is for sh to split"
    )


def _program(executable: StrOrBytesPath) -> bytes:
    program = _fsencode(executable)
    if b"\0" in program:
        raise ValueError("executable: embedded null byte")
    return program


class _Environment:
    """An environment as C wants it: `block` holds `count` strings."""

    __slots__ = ("block", "count", "variables")

    def __init__(self, variables: dict[bytes, bytes]) -> None:
        self.variables = variables
        self.count = len(self.variables)
        self.block = b"\0".join([name + b"=" + value for name, value in self.variables.items()])


def _encoded(env: Environment) -> dict[bytes, bytes]:
    variables = {_encode("env: a name", name): _encode(f"env[{name!r}]", value) for name, value in env.items()}
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


def _failure(
    report: Any, setup: ChildSetup, plan: Plan, program: Any, arguments: bytes, environment: _Environment
) -> Exception:
    if not report.error:
        return ValueError("embedded null byte in argv or env")
    cwd = setup.cwd if not isinstance(setup.cwd, int) else None
    name = arguments.split(b"\0", 1)[0] if program is _NULL else program
    directory = None if cwd is None else _fsencode(cwd)
    if isinstance(setup.cwd, int):  # where the hints look, as the child did
        directory = b"/proc/self/fd/%d" % setup.cwd
    facts = (plan.struct.process_group, name, arguments, environment.variables, directory)
    filename = {lib.SID_CALL_EXECVE: os.fsdecode(name), lib.SID_CALL_CHDIR: cwd}.get(report.call)
    return child_error(report, facts, filename)
