"""All that a plan can change of a process, to be compared before and after. Helpers import it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from collections.abc import Callable, Mapping

from helper import open_fds, session_of, status

_PR_GET_PDEATHSIG = 2
# As the kernel has them, by one of /proc/PID/status's names for each.
_STATUS = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapEff", "NoNewPrivs", "Cpus_allowed")


def everything() -> dict[str, object]:
    """The facts of this process by name: its ids, files, limits, signals, and what Python has for handlers."""
    facts: dict[str, object] = {name: value for name, value in status().items() if name in _STATUS}
    ids = session_of(os.getpid())
    facts |= {name: ids[name] for name in ("pgid", "sid", "tty")}
    for name in ("limits", "oom_score_adj", "cgroup"):
        with open(f"/proc/self/{name}") as file:
            facts[name] = file.read()
    facts |= {"cwd": os.readlink("/proc/self/cwd"), "root": os.readlink("/proc/self/root")}
    facts["nice"] = os.getpriority(os.PRIO_PROCESS, 0)
    facts["parent_death_signal"] = _parent_death_signal()
    facts["handlers"] = {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()}
    facts["fds"] = {fd: (name, fcntl.fcntl(fd, fcntl.F_GETFD)) for fd, name in open_fds().items()}
    return facts


def _parent_death_signal() -> int:
    number = ctypes.c_int()
    assert ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(number), 0, 0, 0) == 0
    return number.value


def changed(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """What differs, by name."""
    return {name: (before[name], after[name]) for name in before if before[name] != after[name]}


def forked(act: Callable[[], object], path: str, fork: Callable[[], object] = os.fork) -> object:
    """What `act` returns in a child that `fork` makes, told through a file: the child's descriptors are the test's."""
    import ast
    import traceback

    child = fork()
    if not child:
        try:
            told = repr(act())
            with open(path, "w") as file:
                file.write(told)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if isinstance(child, int):
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    else:
        ended = child.wait()  # type: ignore[attr-defined]
        child.close()  # type: ignore[attr-defined]
    assert ended == 0, f"the child has ended with {ended}"
    with open(path) as file:
        return ast.literal_eval(file.read())
