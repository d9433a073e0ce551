"""What the arguments of the standard library's Popen say, to a plan.

What differs between versions of Python is how the standard class names and orders its parameters, and those of its
`_execute_child`. They are taken from there, and all goes by name from then on.
"""

from __future__ import annotations

import locale
import os
import subprocess
import sys
import warnings

from ._fields import NEW_SESSION, STDOUT
from ._setup import ChildSetup
from ._spawn import Environ, own_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def _names(function: Callable[..., object]) -> tuple[str, ...]:
    while hasattr(function, "__wrapped__"):  # as tracers do
        function = getattr(function, "__wrapped__")  # noqa: B009 - which no type knows
    code = function.__code__
    return tuple(code.co_varnames[1 : code.co_argcount])


PARAMETERS = _names(subprocess.Popen.__init__)
OF_EXECUTE_CHILD = _names(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
PIPES = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")

_SHELL = "/system/bin/sh" if hasattr(sys, "getandroidapilevel") else "/bin/sh"
# The fields of a plan that say what an argument says; the others bear the same name.
_FIELDS = {"restore_signals": "default_signals", "start_new_session": "process_group"}
_ARGUMENTS = (
    *("stdin", "stdout", "stderr", "close_fds", "cwd", "restore_signals", "start_new_session", "pass_fds"),
    *("user", "group", "extra_groups", "umask", "process_group"),
)


def by_name(names: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    """The first of `names` with these values."""
    return dict(zip(names, values, strict=False))


def combined(setup: ChildSetup, keywords: dict[str, Any]) -> ChildSetup:
    """The plan, for a Popen with these arguments, which must not say what it says."""
    if not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    if keywords.get("preexec_fn") is not None:
        raise ValueError("preexec_fn and setup can't go together: no Python runs in a child with a plan")
    for name in _ARGUMENTS:
        field = _FIELDS.get(name, name)
        if name in keywords and getattr(setup, field) is not None and _says(name, keywords[name]):
            raise ValueError(f"the argument {name} and the field {field} of setup both say it")
    if keywords.get("start_new_session") and keywords.get("process_group") not in (None, -1):
        raise ValueError("start_new_session and process_group can't go together: a session leader leads its own group")
    stderr = keywords.get("stderr")
    if isinstance(stderr, int) and stderr == STDOUT and setup.stdout is not None:  # of which Popen knows nothing
        keywords["stderr"] = None
        setup = setup.replace(stderr=STDOUT)
    return setup


def _says(name: str, value: Any) -> bool:
    """Whether an argument with this value asks for anything."""
    if name in ("close_fds", "restore_signals"):
        return True
    if name in ("umask", "process_group") and value == -1:
        return False
    return bool(value) if name in ("start_new_session", "pass_fds") else value is not None


def command(args: Any, executable: Any, shell: bool) -> tuple[list[Any], Any]:
    """The arguments as a list, and the program."""
    if isinstance(args, (str, bytes)):
        args = [args]
    elif isinstance(args, os.PathLike):
        if shell:
            raise TypeError("path-like args is not allowed when shell is true")
        args = [args]
    else:
        args = list(args)
    if shell:
        args = [_SHELL, "-c", *args]
        if executable:
            args[0] = executable
    return args, args[0] if executable is None else executable


def environ(env: Any) -> Environ:
    """The environment; that of this process if None."""
    if env is None:
        return own_environment()
    variables = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
    if any(b"=" in name for name in variables):
        raise ValueError("illegal environment variable name")
    return Environ(variables)


# The field, the parameter of `_execute_child` with the same meaning, and the value by which that says nothing.
_SAME = (
    ("stdin", "p2cread", -1),
    ("stdout", "c2pwrite", -1),
    ("stderr", "errwrite", -1),
    ("cwd", "cwd", None),
    ("umask", "umask", -1),
    ("process_group", "process_group", -1),
    ("extra_groups", "gids", None),
)


def completed(setup: ChildSetup, given: dict[str, Any]) -> ChildSetup:
    """The plan with what the parameters of `_execute_child` say, but `uid` and `gid`, for which it is a copy."""
    changes: dict[str, Any] = {
        field: given[name] for field, name, nothing in _SAME if given.get(name, nothing) != nothing
    }
    if given["start_new_session"]:
        changes["process_group"] = NEW_SESSION
    if given["umask"] is None:  # which a plan takes for "not said"
        raise TypeError("umask must be an int, not NoneType")
    iter(given["pass_fds"])  # None is none of them
    if given["pass_fds"]:  # a stream that is said is that, and no more the parent's
        streams = ("stdin", "stdout", "stderr")
        said = {fd for fd, name in enumerate(streams) if name in changes or getattr(setup, name) is not None}
        changes["pass_fds"] = [fd for fd in map(int, given["pass_fds"]) if fd not in said]
    if setup.close_fds is None and not given["close_fds"]:
        changes["close_fds"] = False
    if setup.default_signals is None and not given["restore_signals"]:
        changes["default_signals"] = ()
    if changes or given["uid"] is not None or given["gid"] is not None:
        return setup.replace(**changes)
    return setup


def say_encoding(keywords: dict[str, Any]) -> None:
    """Under `-X warn_default_encoding`, warn of an encoding that is not said where our caller is, and say it: the
    standard class takes the first frame outside its own file for the caller's, and that is ours.
    """
    is_text = any(keywords.get(name) for name in ("text", "universal_newlines", "errors"))
    if not is_text or keywords.get("encoding") or not hasattr(subprocess, "_text_encoding"):  # Python 3.10
        return
    ours, level = (os.path.dirname(__file__) + os.sep, subprocess.__file__), 1
    frame = sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame, level = frame.f_back, level + 1
    warnings.warn("'encoding' argument not specified.", EncodingWarning, level)
    keywords["encoding"] = "utf-8" if sys.flags.utf8_mode else locale.getencoding()  # type: ignore[attr-defined]
