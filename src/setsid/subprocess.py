"""The standard library's `subprocess`, all of it, with our Popen: `from setsid import subprocess`.

`run`, `call`, `check_call` and `check_output` use that Popen and take its `setup`; `getoutput` and `getstatusoutput`
use it. Else all is as the standard library's documentation has it.
"""

from __future__ import annotations

import subprocess as _standard
import sys as _sys
from types import FunctionType as _Function
from types import ModuleType as _ModuleType

from ._popen import Popen as Popen

__all__ = list(_standard.__all__)

_own = {name for name in globals() if name.startswith("__")} | {"Popen"}


def _with_our_globals(function: _Function) -> _Function:
    """The same function, but the Popen that it finds is ours."""
    copy = _Function(function.__code__, globals(), function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    copy.__doc__ = function.__doc__
    copy.__annotations__ = function.__annotations__
    copy.__qualname__ = function.__qualname__
    return copy


# The private names too: the functions need them, and so do some programs.
for _name, _value in vars(_standard).items():
    if _name not in _own:
        _is_its_own = isinstance(_value, _Function) and _value.__module__ == _standard.__name__
        globals()[_name] = _with_our_globals(_value) if _is_its_own else _value
del annotations


class _Module(_ModuleType):
    """The documented switches, as `subprocess._USE_VFORK = False`, are for the standard class, which reads its own."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("_USE_VFORK", "_USE_POSIX_SPAWN"):
            setattr(_standard, name, value)
        super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Module
