"""What is measured of looking at sessions, against ps and psutil, on a machine with 2,000 of them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import programs
from measure import interleaved
from rows import Row, at_least

import setsid

if TYPE_CHECKING:
    from collections.abc import Callable

_PS = ["ps", "-eo", "pid,ppid,pgid,sid,tty,tpgid,stat,comm"]
_COUNT = 2000


def _by_ps() -> None:
    subprocess.run(_PS, stdout=subprocess.DEVNULL, check=True)


def _by_psutil() -> Callable[[], object]:
    import psutil

    wanted = ["pid", "ppid", "uids", "terminal", "status", "name", "cmdline", "create_time"]

    def look() -> None:
        for process in psutil.process_iter(wanted):
            try:
                process.info |= {"sid": os.getsid(process.pid), "pgid": os.getpgid(process.pid)}
            except ProcessLookupError:  # it has ended meanwhile
                continue

    return look


def looking_at_sessions() -> list[Row]:
    """sessions(), one Session's processes, and all that lssid shows, against what else can tell it."""
    from setsid._native import lib
    from setsid._processes import describe, look_fully

    crowd = subprocess.Popen(
        [programs.program("crowd"), str(_COUNT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert crowd.stdout is not None
    crowd.stdout.readline()
    session = setsid.Session(os.getsid(0))
    times = interleaved(
        {
            "ps": _by_ps,
            "psutil": _by_psutil(),
            "sessions": setsid.sessions,
            "processes": session.processes,
            "everything": lambda: describe(*look_fully(lib.SID_SCOPE_ALL)),
        },
        15,
    )
    crowd.communicate()
    ps, everything = times["ps"], times["everything"]
    return [
        Row(f"ps with {_COUNT} sessions", ps * 1e3, "ms"),
        at_least("ps / Session(sid).processes()", ps / times["processes"], 20),
        at_least("ps / sessions()", ps / times["sessions"], 10),
        at_least("ps / all that lssid shows", ps / everything, 2.5),
        at_least("psutil and os.getsid / all that lssid shows", times["psutil"] / everything, 2.5),
    ]
