"""The session and the process group are kept when a process executes another program: exec changes no id."""

from __future__ import annotations

import os
import sys

import setsid


def show(program: str) -> None:
    print(f"{program}: pid {os.getpid()}, group {setsid.getpgid()}, session {setsid.getsid()}", flush=True)


if sys.argv[1:] == ["executed"]:
    show("second program")
    sys.exit()

child = os.fork()
if child == 0:
    try:
        setsid.setsid()
        show("first program")
        os.execv(sys.executable, [sys.executable, __file__, "executed"])
    finally:
        os._exit(1)  # only if exec has failed
os.waitpid(child, 0)
