"""spawn: start a program as a plan says."""

from __future__ import annotations

import os
import sys

from ._failure import failure
from ._marshal import SPAWN, marshal
from ._native import ffi, lib
from ._process import Process, dropped, reap_dropped
from ._setup import with_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from typing_extensions import Unpack

    from ._detached import DetachedProcess
    from ._marshal import Plan, Verb
    from ._setup import ChildSetup
    from ._types import Environment, SetupFields, StrOrBytesPath

_new = ffi.new
_from_buffer = ffi.from_buffer
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
    setup = with_changes(setup, changes)
    process = Process(_new(_CHILD), argv)
    try:
        start(process, setup, executable, env)
        return process
    except BaseException:  # of a signal handler, if there is a child: nobody will ever hold it
        if process._child.kept:
            process._abandon()
        raise


def start(
    process: Process | DetachedProcess,
    setup: ChildSetup,
    executable: StrOrBytesPath | None,
    env: Environment | None,
    verb: Verb = SPAWN,
    make: Any = None,
) -> None:
    """Make the child of `process`, which has its arguments. An exception may come when it is made: callers end it then,
    and not this alone, since the exception of a signal handler comes later on PyPy, once a frame or two are left.
    """
    argv = process.args
    arguments = _joined(argv)
    environment = own_environment() if env is None else Environ(_encoded(env))
    program = _NULL if executable is None else _program(executable)
    _audit("setsid.spawn", argv[0] if executable is None else executable, argv, setup.cwd, env)
    plan = setup.marshalled
    if plan is None or plan.verb is not verb or plan.files.named:
        plan = marshal(setup, verb)
    launch(process, setup, plan, program, arguments, len(argv), environment, make)


def check(
    argv: Sequence[StrOrBytesPath], setup: ChildSetup, executable: StrOrBytesPath | None, env: Environment | None
) -> None:
    """Raise now what `spawn` would find wrong with its arguments, before there is a child."""
    if _joined(argv).count(b"\0") >= len(argv):
        raise ValueError("argv: embedded null byte")
    if env is not None:
        Environ(_encoded(env))
    if executable is not None:
        _program(executable)
    marshal(setup, SPAWN)


def _joined(argv: Sequence[StrOrBytesPath]) -> bytes:
    """The arguments with NULs between them."""
    if type(argv) is not list and type(argv) is not tuple:
        _check_sequence(argv)
    try:
        arguments = "\0".join(argv).encode(_ENCODING, _ERRORS)  # type: ignore[arg-type]
    except TypeError:  # not all are str
        arguments = b"\0".join([_encode(f"argv[{index}]", argument) for index, argument in enumerate(argv)])
    if not argv:
        raise ValueError("argv is empty: it must name the program")
    return arguments


def launch(
    process: Process | DetachedProcess,
    setup: ChildSetup,
    plan: Plan,
    program: Any,
    arguments: bytes,
    count: int,
    environment: Environ,
    make: Any = None,
) -> None:
    """Make the child of `process`: NULs between its `count` arguments, the first one executed if `program` is NULL."""
    if dropped:
        reap_dropped()
    child = process._child
    if not (make or _sid_spawn)(plan.struct, program, arguments, len(arguments), count, environment.envp, child):
        return
    if not child.report.error:
        raise ValueError("argv: embedded null byte")
    name = arguments.split(b"\0", 1)[0] if program is _NULL else program
    raise failure(child.report, setup, plan, name, arguments, environment.variables)


def _check_sequence(argv: object) -> None:
    is_text = isinstance(argv, (str, bytes)) or hasattr(argv, "__fspath__")
    if is_text or not hasattr(argv, "__getitem__") or hasattr(argv, "keys"):
        what = type(argv).__name__
        raise TypeError(f"argv must be a sequence of strings, not {what}; a command line is for sh to split")


def _encode(name: str, value: StrOrBytesPath) -> bytes:
    try:
        return _fsencode(value)
    except TypeError:
        raise TypeError(f"{name} must be str, bytes or os.PathLike, not {type(value).__name__}") from None


def _program(executable: StrOrBytesPath) -> bytes:
    program = _fsencode(executable)
    if b"\0" in program:
        raise ValueError("executable: embedded null byte")
    return program


class Environ:
    """An environment, as a dict and as C wants it."""

    __slots__ = ("_block", "envp", "variables")

    def __init__(self, variables: dict[bytes, bytes]) -> None:
        self.variables = variables
        # What `envp` points into. Not the bytes themselves: PyPy moves them, and gives C a copy for one call only.
        self._block = _from_buffer(b"\0".join([name + b"=" + value for name, value in variables.items()]))
        self.envp = _new("char *[]", len(variables) + 1)
        if lib.sid_point(self.envp, self._block, len(self._block), len(variables)) < 0:
            raise ValueError("env: embedded null byte")


def _encoded(env: Environment) -> dict[bytes, bytes]:
    if not hasattr(env, "items"):
        raise TypeError(f"env must be a mapping, not {type(env).__name__}")
    variables = {_encode("env: a name", name): _encode(f"env[{name!r}]", value) for name, value in env.items()}
    for name in variables:
        if not name or b"=" in name:
            raise ValueError(f"env: {name!r} is no name of an environment variable")
    return variables


_last_environment = Environ({})


def own_environment() -> Environ:
    """os.environ as it is now, in one call that copies it, whatever other threads do."""
    global _last_environment
    # os.environ's own dict holds bytes. Comparing it with a copy is ten times faster than making the block anew, since
    # most values are the very same objects.
    variables = getattr(os.environ, "_data", None)
    last = _last_environment
    if variables == last.variables:
        return last
    copy = variables.copy() if type(variables) is dict else None
    if copy is None or not all(type(name) is bytes for name in copy):  # something else has been put in its place
        copy = {_fsencode(name): _fsencode(value) for name, value in os.environ.items()}
    environment = _last_environment = Environ(copy)
    return environment
