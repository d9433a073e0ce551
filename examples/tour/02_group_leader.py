"""A process that leads its group can't make a session. Two ways round it: fork first, or spawn a program."""

from __future__ import annotations

import os

import setsid

if setsid.getpgid() != os.getpid():
    setsid.setpgid()  # lead a group, as every program does that an interactive shell starts
print(f"group leader: pid {os.getpid()}, group {setsid.getpgid()}")

try:
    setsid.setsid()
except PermissionError as error:
    print(f"setsid: {error}", flush=True)

# Way 1: a forked child is in the group, but its pid is no group's number.
child = os.fork()
if child == 0:
    try:
        sid = setsid.setsid()
        print(f"forked: pid {os.getpid()}, session {sid}", flush=True)
    finally:
        os._exit(0)
os.waitpid(child, 0)

# Way 2: spawn does that, and executes a program.
with setsid.spawn(["true"]) as process:
    # Its ids can be read even if it has ended: they are kept until it is waited for.
    print(f"spawned: pid {process.pid}, session {setsid.getsid(process.pid)}")
