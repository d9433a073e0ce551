"""SystemCallError, and the one place where an errno becomes an exception."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._enums import Stage
    from ._native import _Report

# By enum sid_call of csrc/sid.cdef.h.
_CALLS = (
    "",
    "setsid",
    "setpgid",
    "open",
    "ioctl(TIOCSCTTY)",
    "ioctl(TIOCNOTTY)",
    "tcgetpgrp",
    "tcsetpgrp",
    "fcntl",
    "dup2",
    "umask",
    "chdir",
    "fchdir",
    "sigaction",
    "sigprocmask",
    "execve",
    "clone3",
    "clone",
    "fork",
    "mmap",
    "pipe2",
    "malloc",
    "write",
    "setrlimit",
    "setpriority",
    "sched_setaffinity",
    "chroot",
    "setgroups",
    "setresgid",
    "setresuid",
    "prctl(PR_SET_NO_NEW_PRIVS)",
    "prctl(PR_SET_PDEATHSIG)",
    "getppid",
    "pthread_create",
    "pidfd_open",
    "set_robust_list",
    "fstatfs",
    "ioctl(TIOCSPTLCK)",
    "ioctl(TIOCGPTPEER)",
    "ioctl(TIOCSWINSZ)",
    "tcgetattr",
    "tcsetattr",
    "posix_openpt",
    "grantpt",
    "unlockpt",
)

_OTHERS: dict[str, str] = {}  # as other systems call them
if sys.platform == "darwin":
    _OTHERS = {"pipe2": "pipe", "setresgid": "setregid", "setresuid": "setreuid"}
elif sys.platform.startswith("freebsd"):
    _OTHERS = {
        "prctl(PR_SET_NO_NEW_PRIVS)": "procctl(PROC_NO_NEW_PRIVS_CTL)",
        "prctl(PR_SET_PDEATHSIG)": "procctl(PROC_PDEATHSIG_CTL)",
    }
CALLS = tuple(_OTHERS.get(call, call) for call in _CALLS)
# What tells of a process's end, and what sends it a signal.
HANDLE, SIGNAL = ("pidfd", "pidfd_send_signal") if sys.platform == "linux" else ("kqueue", "kill")

# By (SystemCallError or a subclass, built-in class).
_classes: dict[tuple[type, type], type[SystemCallError]] = {}


class SystemCallError(OSError):
    """A system call failed.

    Each one is also an instance of the built-in class for its errno (PermissionError, ProcessLookupError, ...), so
    `except PermissionError` catches it as it catches what the `os` module raises.

    Attributes, besides `errno`, `strerror` (exactly `os.strerror(errno)`) and `filename` of OSError:
        call: the system call, as "setsid", "ioctl(TIOCSCTTY)" or "execve".
        stage: the `Stage` of the child's set-up that failed, or None when it was not a child's.
        hint: one sentence that says why, from facts looked up when it happened, or None when no fact proves a reason.
    """

    call: str
    stage: Stage | None
    hint: str | None

    def __new__(
        cls,
        errno: int,
        call: str,
        *,
        stage: Stage | None = None,
        hint: str | None = None,
        filename: str | bytes | int | None = None,
    ) -> SystemCallError:
        """`errno` is a number of the `errno` module; the rest are the attributes of the same names."""
        builtin = type(OSError(errno, ""))
        kind = cls if issubclass(cls, builtin) else _class_for(cls, builtin)
        self = OSError.__new__(kind, errno, os.strerror(errno), *(() if filename is None else (filename,)))
        self.call = call
        self.stage = stage
        self.hint = hint
        return self

    def __init__(
        self,
        errno: int,
        call: str,
        *,
        stage: Stage | None = None,
        hint: str | None = None,
        filename: str | bytes | int | None = None,
    ) -> None:
        # All is done in __new__, where OSError does it too.
        filenames = () if filename is None else (filename,)
        super().__init__(errno, os.strerror(errno), *filenames)
        if filename is not None:
            self.filename = filename  # with EAGAIN, PyPy takes a number for what has been written

    def __str__(self) -> str:
        where = self.call if self.stage is None else f"{self.call}, stage {self.stage.value}"
        file = "" if self.filename is None else f": {self.filename!r}"
        reason = f": {self.hint}" if self.hint else ""
        return f"[Errno {self.errno}] {self.strerror}{file} ({where}){reason}"

    def __repr__(self) -> str:
        said = {"filename": self.filename, "call": self.call, "stage": self.stage, "hint": self.hint}
        rest = "".join(f", {name}={value!r}" for name, value in said.items() if value is not None)
        return f"{type(self).__name__}({self.errno}, {self.strerror!r}{rest})"

    def __reduce__(self) -> tuple[object, ...]:
        cls = getattr(type(self), "_base", type(self))
        return _rebuild, (cls, self.errno, self.call, self.stage, self.hint, self.filename), self.__dict__


def _rebuild(
    cls: type[SystemCallError], errno: int, call: str, stage: Stage | None, hint: str | None, filename: Any
) -> SystemCallError:
    self = SystemCallError.__new__(cls, errno, call, stage=stage, hint=hint, filename=filename)
    SystemCallError.__init__(self, errno, call, filename=filename)
    return self


def _class_for(cls: type[SystemCallError], builtin: type) -> type[SystemCallError]:
    """`cls` and `builtin` in one. SystemCallError's own show in a traceback under the name of `builtin`."""
    kind = _classes.get((cls, builtin))
    if kind is None:
        shown = builtin if cls is SystemCallError else cls
        names = {"__module__": shown.__module__, "__qualname__": shown.__qualname__, "__doc__": cls.__doc__}
        made: Any = type(shown.__name__, (cls, builtin), {**names, "_base": cls})
        kind = _classes.setdefault((cls, builtin), made)
    return kind


SystemCallError.__module__ = "setsid"


def error(result: int, call: str, *facts: object, filename: str | bytes | None = None) -> SystemCallError:
    """The exception for `result` (-errno) of `call`; `facts` are what the hint for that call needs."""
    return SystemCallError(-result, call, hint=_hint("call_hint", -result, call, *facts), filename=filename)


def child_error(report: _Report, facts: tuple[object, ...], filename: str | bytes | None) -> SystemCallError:
    """The exception for the report of a child, or of the attempt to make one; `facts` are for _child_hints."""
    call = CALLS[report.call]
    hint = _hint("child_hint", report.error, call, report.detail, *facts)
    return SystemCallError(report.error, call, stage=_stage(report.stage), hint=hint, filename=filename)


def prepare() -> None:
    """Import now what telling of an error needs: it may be that no file can be opened any more."""
    global _is_prepared
    if not _is_prepared:
        _hint("call_hint", 0, "")
        _hint("child_hint", 0, "", 0)
        _is_prepared = _stage(0) is None


_is_prepared = False


def _stage(number: int) -> Stage | None:
    try:
        from ._enums import STAGES

        return STAGES[number]
    except (OSError, ImportError):  # no file can be opened, and this is the first error of all
        return None


def _hint(lookup: str, *facts: object) -> str | None:
    """A hint is a courtesy: whatever goes wrong in looking it up, the error itself must come through."""
    try:
        if lookup == "call_hint":
            from ._hints import call_hint as look
        else:
            from ._child_hints import child_hint as look
        return look(*facts)  # type: ignore[arg-type]
    except Exception:
        return None
