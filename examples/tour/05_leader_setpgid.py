"""A session leader can't leave its process group, nor be moved; the processes that it starts can."""

from __future__ import annotations

import os

import setsid


def lead_session() -> None:
    sid = setsid.setsid()
    print(f"leader: pid {os.getpid()}, group {setsid.getpgid()}, session {sid}", flush=True)
    try:
        setsid.setpgid()  # even into the group where it is
    except PermissionError as error:
        print(f"setpgid: {error}", flush=True)
    with setsid.spawn(["true"], process_group=0) as process:
        ids = f"pid {process.pid}, group {setsid.getpgid(process.pid)}, session {setsid.getsid(process.pid)}"
        print(f"its child: {ids}", flush=True)
    print(f"leader: pid {os.getpid()}, group {setsid.getpgid()}, session {setsid.getsid()}", flush=True)


child = os.fork()
if child == 0:
    try:
        lead_session()
    finally:
        os._exit(0)
os.waitpid(child, 0)
