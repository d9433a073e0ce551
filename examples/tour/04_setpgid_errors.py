"""What setpgid refuses: ESRCH, EPERM and EACCES, each provoked once for every reason there is."""

from __future__ import annotations

import os

import setsid


def attempt(what: str, pid: int, pgid: int = 0) -> None:
    try:
        setsid.setpgid(pid, pgid)
        print(f"{what}: no error", flush=True)
    except setsid.SystemCallError as error:
        print(f"{what}: {error}", flush=True)


parent = os.getpid()
child = os.fork()
if child == 0:
    try:
        attempt("a process that is no child", parent)
    finally:
        os._exit(0)
os.waitpid(child, 0)
attempt("a process that is gone", child)

with setsid.spawn(["true"], process_group=setsid.INHERIT) as process:
    attempt("a child that has executed a program", process.pid)

gone = setsid.spawn(["true"], process_group=0)
gone.wait()
gone.close()
with setsid.spawn(["true"]) as process:
    attempt("a child in another session", process.pid)
    child = os.fork()
    if child == 0:
        try:
            attempt("a group of another session", 0, process.pid)
            attempt("a group that is gone", 0, gone.pid)
            setsid.setsid()
            attempt("a session leader", 0)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
