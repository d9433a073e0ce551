"""spawn: start a program as a plan says."""

from __future__ import annotations

import os
import sys

from ._errors import child_error
from ._marshal import SPAWN, Plan, marshal
from ._native import ffi, lib
from ._process import Process, has_dropped, reap_dropped
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
_REPORT = ffi.typeof("struct sid_report *")
_fsencode = os.fsencode


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
    if isinstance(argv, (str, bytes)) or hasattr(argv, "__fspath__"):
        raise TypeError(f"argv must be a sequence of strings, not {type(argv).__name__}; a command line is sh's to split")
    arguments = [_fsencode(argument) for argument in argv]
    if not arguments:
        raise ValueError("argv is empty: it must name the program")
    program = arguments[0] if executable is None else _fsencode(executable)
    variables = _variables(env)
    sys.audit("setsid.spawn", program if executable is None else executable, argv, setup.cwd, env)
    paths = [program] if b"/" in program else _candidates(program, variables)
    plan = marshal(setup, SPAWN)
    if has_dropped():
        reap_dropped()
    child = _new(_CHILD)
    report = _new(_REPORT)
    result = lib.sid_spawn(
        plan.struct,
        _joined("executable", paths),
        len(paths),
        _joined("argv", arguments),
        len(arguments),
        _joined("env", variables),
        len(variables),
        child,
        report,
    )
    if result < 0:
        raise _failure(report, plan, program, paths, arguments, variables)
    return Process(child, argv, leads_session=plan.struct.process_group == lib.SID_GROUP_NEW_SESSION)


def _joined(name: str, strings: list[bytes]) -> bytes:
    """The strings with a NUL between them, in one object that no other thread can change while C reads it."""
    joined = b"\0".join(strings)
    if joined.count(b"\0") > len(strings) - 1 and strings:
        raise ValueError(f"{name}: embedded null byte")
    return joined


def _variables(env: Environment | None) -> list[bytes]:
    if env is None:
        return [name + b"=" + value for name, value in _own_environment()]
    variables = []
    for name, value in env.items():
        name = _fsencode(name)
        if not name or b"=" in name:
            raise ValueError(f"env: illegal environment variable name {name!r}")
        variables.append(name + b"=" + _fsencode(value))
    return variables


def _own_environment() -> list[tuple[bytes, bytes]]:
    """os.environ, as bytes. Its own dict has them so already, and one call copies that, whatever other threads do."""
    data = getattr(os.environ, "_data", None)
    if type(data) is dict:
        items = list(data.items())
        if all(type(name) is bytes for name, _ in items):
            return items
    return list(os.environb.items())


def _candidates(program: bytes, variables: list[bytes]) -> list[bytes]:
    """Where execvp would look, in the child's PATH. An empty entry is the child's working directory."""
    path = next((variable[5:] for variable in variables if variable.startswith(b"PATH=")), _DEFAULT_PATH)
    return [directory + b"/" + program if directory else program for directory in path.split(b":")]


def _failure(
    report: object, plan: Plan, program: bytes, paths: list[bytes], arguments: list[bytes], variables: list[bytes]
) -> OSError:
    from ._hints import ChildFacts

    setup = plan.setup
    cwd = setup.cwd if not isinstance(setup.cwd, int) else None
    facts = ChildFacts(
        group=plan.struct.process_group,
        moves=plan.moves,
        program=program,
        paths=paths,
        argv=arguments,
        env=variables,
        cwd=None if cwd is None else _fsencode(cwd),
    )
    call = report.call  # type: ignore[attr-defined]
    filename = {lib.SID_CALL_EXECVE: os.fsdecode(program), lib.SID_CALL_CHDIR: cwd}.get(call)
    return child_error(report, facts, filename)
