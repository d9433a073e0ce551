"""A Popen that a garbage collector takes, with the cycle that it is in, does no harm."""

from __future__ import annotations

import pytest

from support import fresh


@pytest.mark.parametrize("setup", ["None", "setsid.ChildSetup()"])
def test_a_running_child_dropped_in_a_cycle_is_reaped_by_a_later_popen_of_any_kind(setup: str) -> None:
    fresh(
        f"""
import gc, subprocess, warnings
from setsid.subprocess import Popen
warnings.simplefilter("ignore", ResourceWarning)
before = open_fds()
reader, writer = os.pipe()
pids = []
for _ in range(20):  # whose parts are finalized in any order
    process = Popen(["cat"], stdin=reader, setup={setup})
    process.itself = process
    pids.append(process.pid)
    del process
gc.collect()
assert subprocess.Popen(["true"]).wait() == Popen(["true"]).wait() == 0
assert children() == pids
os.close(writer)
os.close(reader)
for pid in pids:
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
Popen(["true"]).wait()
gc.collect()
assert (children(), open_fds()) == ([], before)
"""
    )
