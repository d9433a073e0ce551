"""What PyPy's modules lack and the tests use, by the C library; helper.py puts it there. Linux only.

CPython has all of it (pidfds since 3.9), and its own is what is tested there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import signal
from types import ModuleType
from typing import Any, NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)
_PIDFD_SEND_SIGNAL, _PIDFD_OPEN = 424, 434  # the same numbers on every processor
NAMES = dict(P_ALL=0, P_PID=1, P_PGID=2, P_PIDFD=3)  # noqa: C408
NAMES |= dict(WSTOPPED=2, WEXITED=4, WCONTINUED=8, WNOWAIT=0x1000000)  # noqa: C408
NAMES |= dict(O_PATH=0o10000000, ST_NOSUID=2)  # noqa: C408
NAMES |= dict(CLD_EXITED=1, CLD_KILLED=2, CLD_DUMPED=3, CLD_TRAPPED=4, CLD_STOPPED=5, CLD_CONTINUED=6)  # noqa: C408


class _Siginfo(ctypes.Structure):
    """siginfo_t of a SIGCHLD, on a processor of 64 bits."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("si_signo", "si_errno", "si_code", "padding")),
        *((name, ctypes.c_int) for name in ("si_pid", "si_uid", "si_status")),
        ("rest", ctypes.c_int * 25),
    )


class WaitidResult(NamedTuple):
    """As os.waitid_result."""

    si_pid: int
    si_uid: int
    si_signo: int
    si_status: int
    si_code: int


def waitid(idtype: int, id: int, options: int, /) -> WaitidResult | None:  # noqa: A002
    """As os.waitid; a signal's handler runs and it goes on."""
    info = _Siginfo()
    while _libc.waitid(idtype, id, ctypes.byref(info), options):
        if ctypes.get_errno() != errno.EINTR:
            raise _error()
    if info.si_pid == 0:
        return None
    return WaitidResult(info.si_pid, info.si_uid, info.si_signo, info.si_status, info.si_code)


def pidfd_open(pid: int, flags: int = 0) -> int:
    """As os.pidfd_open."""
    fd = int(_libc.syscall(_PIDFD_OPEN, pid, flags))
    if fd == -1:
        raise _error()
    return fd


def posix_spawn(path: str, argv: list[str], env: dict[str, str], /) -> int:
    """As os.posix_spawn."""
    return os.spawnve(os.P_NOWAIT, path, argv, env)


def pidfd_send_signal(pidfd: int, signalnum: int, siginfo: None = None, flags: int = 0, /) -> None:
    """As signal.pidfd_send_signal."""
    if _libc.syscall(_PIDFD_SEND_SIGNAL, pidfd, int(signalnum), siginfo, flags):
        raise _error()


def _error() -> OSError:
    return OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def provide() -> None:
    """Put into the modules what they do not have."""
    of_os = {**NAMES, "waitid": waitid, "pidfd_open": pidfd_open, "posix_spawn": posix_spawn}
    lacking: dict[ModuleType, dict[str, Any]] = {
        os: of_os,
        resource: {"RLIMIT_NICE": 13},
        signal: {"pidfd_send_signal": pidfd_send_signal},
    }
    for module, names in lacking.items():
        for name, value in names.items():
            if not hasattr(module, name):
                setattr(module, name, value)
