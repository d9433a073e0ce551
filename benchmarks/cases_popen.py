"""What is measured of Popen and asyncio, against the standard library's. Each function returns rows."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import programs
from parents import PRELUDE, Parent
from rows import Row, at_least, at_most


def popen_with_plan() -> list[Row]:
    """Popen(setup=...) + wait against the standard one, from a small and from a large parent, all in turn."""
    parents = {"small": Parent(10), "1 GB": Parent(1024)}
    cases = ("standard", "plan", "session", "preexec")
    times: dict[tuple[str, str], list[float]] = {(size, case): [] for size in parents for case in cases}
    for _ in range(30):
        for size, parent in parents.items():
            for case in cases:
                times[size, case].append(parent.measure(case, 3 if case == "preexec" else 20))
    for parent in parents.values():
        parent.close()
    median = {key: statistics.median(values) for key, values in times.items()}
    rows = [Row("Popen(setup=ChildSetup()) + wait", median["small", "plan"] * 1e6, "us")]
    for size, goal in (("small", 6), ("1 GB", 150)):
        plan, standard = median[size, "plan"], median[size, "standard"]
        rows.append(at_most(f"Popen(setup=ChildSetup()) / subprocess.Popen, {size}", plan / standard, 1.0))
        ratio = median[size, "preexec"] / median[size, "session"]
        rows.append(at_least(f"subprocess's preexec_fn=os.setsid / Popen(setup=...), {size}", ratio, goal))
    rows.append(at_most("Popen(setup=...), 1 GB / small", median["1 GB", "plan"] / median["small", "plan"], 1.05))
    return rows


# Prints a line for each that it reads: the seconds for so many children, and what they have left.
_LOOP = """
import asyncio, gc, json, os, subprocess, time, warnings
from setsid import ChildSetup, aio
warnings.simplefilter("error")
def children():
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()
async def many(start, count, at_once):
    room = asyncio.Semaphore(at_once)
    async def one():
        async with room:
            process = await start()
            assert await process.wait() == 0
    before = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return time.perf_counter() - before, len(asyncio.all_tasks()) - 1
plan = ChildSetup()
starts = {
    "standard": lambda: asyncio.create_subprocess_exec(sys.argv[1]),
    "ours": lambda: aio.create_subprocess_exec(sys.argv[1]),
    "plan": lambda: aio.create_subprocess_exec(sys.argv[1], setup=plan),
}
print(json.dumps(None), flush=True)
for line in sys.stdin:
    name, count, at_once = line.split()
    fds = len(os.listdir("/proc/self/fd"))
    seconds, tasks = asyncio.run(many(starts[name], int(count), int(at_once)))
    gc.collect()
    left = {"fds": len(os.listdir("/proc/self/fd")) - fds, "children": len(children()), "tasks": tasks}
    print(json.dumps([seconds, left]), flush=True)
"""


def asyncio_children() -> list[Row]:
    """10,000 children, 200 at a time, by asyncio's functions and by ours, in turns of 1,000."""
    command = [sys.executable, "-c", PRELUDE + _LOOP, programs.bare()]
    loop = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert loop.stdin is not None
    assert loop.stdout is not None
    loop.stdout.readline()
    times: dict[str, list[float]] = {"standard": [], "ours": [], "plan": []}
    left: dict[str, dict[str, int]] = {name: {} for name in times}
    for _ in range(10):
        for name, values in times.items():
            print(name, 1000, 200, file=loop.stdin, flush=True)
            seconds, remains = json.loads(loop.stdout.readline())
            values.append(seconds)
            left[name] = {kind: left[name].get(kind, 0) + count for kind, count in remains.items()}
    _, said = loop.communicate()
    standard = statistics.median(times["standard"])
    rows = [Row("asyncio's own, children a second", 1000 / standard, "/s")]
    for name, label in (("ours", "aio"), ("plan", "aio with a plan")):
        rows.append(at_least(f"{label} / asyncio's own, throughput", standard / statistics.median(times[name]), 1.0))
    rows.append(at_most("fds, children and tasks left by aio with a plan", sum(left["plan"].values()), 0, ""))
    rows.append(at_most("lines of warnings", len(said.splitlines()), 0, ""))
    return rows
