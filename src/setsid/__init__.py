"""Start programs in the right session, process group and terminal, safely from threaded programs."""

from ._calls import (
    acquire_ctty,
    getpgid,
    getsid,
    release_ctty,
    setpgid,
    setsid,
    tcgetpgrp,
    tcgetsid,
    tcsetpgrp,
)
from ._errors import SystemCallError
from ._fields import DEVNULL, INHERIT, NEW_SESSION, STDOUT
from ._fork import fork
from ._process import Process
from ._setup import ChildSetup
from ._spawn import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio, daemon, jobs, subprocess, tty
    from ._detached import DetachedProcess, spawn_detached
    from ._ending import EndReport
    from ._enums import ProcessState, Stage
    from ._fields import Inherit, NewSession
    from ._processes import ProcessInfo
    from ._run import TimeoutExpired, run
    from ._session import Session, sessions
    from ._types import SetupFields
    from .subprocess import Popen

__all__ = [
    "DEVNULL",
    "INHERIT",
    "NEW_SESSION",
    "STDOUT",
    "ChildSetup",
    "DetachedProcess",
    "EndReport",
    "Inherit",
    "NewSession",
    "Popen",
    "Process",
    "ProcessInfo",
    "ProcessState",
    "Session",
    "SetupFields",
    "Stage",
    "SystemCallError",
    "TimeoutExpired",
    "acquire_ctty",
    "aio",
    "daemon",
    "fork",
    "getpgid",
    "getsid",
    "jobs",
    "release_ctty",
    "run",
    "sessions",
    "setpgid",
    "setsid",
    "spawn",
    "spawn_detached",
    "subprocess",
    "tcgetpgrp",
    "tcgetsid",
    "tcsetpgrp",
    "tty",
]

# These load on first use: what they import takes longer than all the rest.
_LAZY = {
    "DetachedProcess": "_detached",
    "EndReport": "_ending",
    "Inherit": "_fields",
    "NewSession": "_fields",
    "Popen": "_popen",
    "ProcessInfo": "_processes",
    "ProcessState": "_enums",
    "Session": "_session",
    "SetupFields": "_types",
    "Stage": "_enums",
    "TimeoutExpired": "_run",
    "run": "_run",
    "sessions": "_session",
    "spawn_detached": "_detached",
}
_SUBMODULES = {"aio", "daemon", "jobs", "subprocess", "tty"}

# Not for type checkers: to them it would mean that every name is there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        module = name if name in _SUBMODULES else _LAZY.get(name)
        if module is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = import_module(f".{module}", __name__)
        if name not in _SUBMODULES:
            value = getattr(value, name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
