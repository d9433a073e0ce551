"""Make a session: the ids of a process before and after, and its controlling terminal, which it leaves behind."""

from __future__ import annotations

import os

import setsid


def show(when: str) -> None:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        terminal = "yes"
    except OSError:  # ENXIO: the session has none
        terminal = "no"
    ids = f"pid {os.getpid()}, group {setsid.getpgid()}, session {setsid.getsid()}"
    print(f"{when:<6} setsid: {ids}, controlling terminal: {terminal}", flush=True)


child = os.fork()  # this process may lead its group already, as it does when a shell starts it; its child leads none
if child == 0:
    try:
        show("before")
        setsid.setsid()
        show("after")
    finally:
        os._exit(0)
os.waitpid(child, 0)
