"""A signal to a whole process group: all of it ends, programs started by its members too, and nobody else does."""

from __future__ import annotations

import os
import signal

import setsid

reader, writer = os.pipe()
script = "sleep 60 & echo $!; wait"
with (
    setsid.spawn(["sh", "-c", script], process_group=0, stdout=writer) as leader,
    setsid.spawn(["sleep", "60"], process_group=leader.pid) as member,
    setsid.spawn(["sleep", "60"], process_group=0) as outsider,
):
    os.close(writer)
    with open(reader) as output:
        grandchild = int(output.readline())
        for name, pid in {"leader": leader.pid, "grandchild": grandchild, "member": member.pid}.items():
            print(f"{name}: pid {pid}, group {setsid.getpgid(pid)}")
        print(f"outsider: pid {outsider.pid}, group {setsid.getpgid(outsider.pid)}")

        leader.signal_group(signal.SIGTERM)
        print(f"leader ended by {signal.Signals(-leader.wait()).name}")
        print(f"member ended by {signal.Signals(-member.wait()).name}")
        assert output.read() == ""  # the end of the pipe: nobody in the group holds it any more
        print("grandchild has ended")
    print(f"outsider {'still runs' if outsider.poll() is None else 'has ended'}")
    outsider.kill()
