"""Programs started from a terminal that hangs up: one dies with it, one ignores that, one has a session of its own."""

from __future__ import annotations

import os
import select
import signal
import sys

import setsid

PROGRAMS = {
    "the terminal's session": setsid.ChildSetup(process_group=setsid.INHERIT),
    "the same, SIGHUP ignored": setsid.ChildSetup(process_group=setsid.INHERIT, ignore_signals={signal.SIGHUP}),
    "a session of its own": setsid.ChildSetup(process_group=setsid.NEW_SESSION),
}

if sys.argv[1:]:  # the session leader on the terminal: it starts them, tells their pids and waits, as a shell would
    processes = [setsid.spawn(["sleep", "60"], setup) for setup in PROGRAMS.values()]
    os.write(int(sys.argv[1]), " ".join(str(process.pid) for process in processes).encode())
    os.close(int(sys.argv[1]))
    processes[0].wait()
    sys.exit()

manager, terminal = os.openpty()
reader, writer = os.pipe()
# SIGHUP does what it does by default, even if this program was started by nohup.
setup = setsid.ChildSetup.on_terminal(terminal, pass_fds=[writer], default_signals={signal.SIGHUP})
with setsid.spawn([sys.executable, __file__, str(writer)], setup) as leader:
    os.close(writer)
    os.close(terminal)
    with open(reader) as file:
        pids = [int(pid) for pid in file.read().split()]
    pidfds = [os.pidfd_open(pid) for pid in pids]
    for name, pid in zip(PROGRAMS, pids, strict=True):
        print(f"{name}: pid {pid}, session {setsid.getsid(pid)}")

    os.close(manager)  # the line hangs up
    print(f"session leader: pid {leader.pid}, ended by {signal.Signals(-leader.wait()).name}")
    select.select(pidfds[:1], [], [])  # a pidfd is readable once its process has ended
    for name, pidfd in zip(PROGRAMS, pidfds, strict=True):
        if select.select([pidfd], [], [], 0)[0]:
            print(f"{name}: has ended")
        else:
            print(f"{name}: still runs")
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [])
