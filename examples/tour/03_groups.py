"""A new process group, and another process that joins it, set from both sides of a fork; then the same with spawn."""

from __future__ import annotations

import os

import setsid

gate, closer = os.pipe()


def fork_into(group: int) -> int:
    """A child in `group`, or leading a new one if that is 0, for parent and child alike from their next line on."""
    child = os.fork()
    if child == 0:
        try:
            setsid.setpgid(0, group)  # the child may run first, and go on to what needs the group (as tcsetpgrp) ...
            os.close(closer)
            os.read(gate, 1)
        finally:
            os._exit(0)
    setsid.setpgid(child, group)  # ... or the parent may. Who comes second changes nothing.
    return child


leader = fork_into(0)
member = fork_into(leader)
print(f"forked leader: pid {leader}, group {setsid.getpgid(leader)}")
print(f"forked member: pid {member}, group {setsid.getpgid(member)}")
os.close(closer)
for child in leader, member:
    os.waitpid(child, 0)

with setsid.spawn(["true"], process_group=0) as first, setsid.spawn(["true"], process_group=first.pid) as second:
    print(f"spawned leader: pid {first.pid}, group {setsid.getpgid(first.pid)}")
    print(f"spawned member: pid {second.pid}, group {setsid.getpgid(second.pid)}")
    print(f"one session: {setsid.getsid() == setsid.getsid(first.pid) == setsid.getsid(second.pid)}")
