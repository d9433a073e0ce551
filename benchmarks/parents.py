"""A process of a certain size that starts programs when told, so that several can be measured in turn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import programs

PRELUDE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"

# Says how long it took for each line that it reads: so several parents can be measured in turn.
_SOURCE = """
import json, mmap, os, subprocess
from measure import interleaved, pin
import setsid
from setsid import ChildSetup, Popen
from setsid.tty import Pty
from ptyprocess import PtyProcess
pin()
argv, size = [sys.argv[1]], int(sys.argv[2]) << 20
ballast = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
ballast.madvise(mmap.MADV_NOHUGEPAGE)  # small pages, as the heap of a grown program has
for offset in range(0, size, 4096):
    ballast[offset] = 1
nothing, session = ChildSetup(), ChildSetup(process_group=setsid.NEW_SESSION)
def pty():
    with Pty() as terminal:
        terminal.spawn(argv).wait()
def ptyprocess():
    process = PtyProcess.spawn(argv)
    process.wait()
    process.delayafterclose = 0  # its close() sleeps
    process.close()
cases = {
    "pty": pty,
    "ptyprocess": ptyprocess,
    "spawn": lambda: setsid.spawn(argv).wait(),
    "preexec": lambda: subprocess.Popen(argv, preexec_fn=os.setsid).wait(),
    "standard": lambda: subprocess.Popen(argv).wait(),
    "plan": lambda: Popen(argv, setup=nothing).wait(),
    "session": lambda: Popen(argv, setup=session).wait(),
}
print("ready", flush=True)
for line in sys.stdin:
    name, rounds = line.split()
    print(interleaved({name: cases[name]}, int(rounds))[name], flush=True)
"""


class Parent:
    """A process of a certain size that spawns programs when told."""

    def __init__(self, megabytes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PRELUDE + _SOURCE, programs.bare(), str(megabytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._line()

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def measure(self, case: str, rounds: int) -> float:
        """The median time of a case, in seconds."""
        assert self._process.stdin is not None
        print(case, rounds, file=self._process.stdin, flush=True)
        return float(self._line())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
