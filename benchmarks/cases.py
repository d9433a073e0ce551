"""What is measured. Each function returns rows: a case, its figure, and the goal if there is one."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import programs
from measure import interleaved

import setsid


class Row(NamedTuple):
    """A line of the table."""

    case: str
    figure: float
    unit: str
    goal: str = ""
    is_met: bool | None = None


def at_most(case: str, figure: float, goal: float, unit: str = "x") -> Row:
    """A figure that is good when small."""
    return Row(case, figure, unit, f"<= {goal:g}", figure <= goal)


def at_least(case: str, figure: float, goal: float, unit: str = "x") -> Row:
    """A figure that is good when large."""
    return Row(case, figure, unit, f">= {goal:g}", figure >= goal)


def spawn_against_floor() -> list[Row]:
    """Spawn + wait against vfork + setsid + execve + waitpid in C, in this process with this environment."""
    floor = programs.floor().floor_run
    rows = []
    for name, path, goal in (("no libc", programs.bare(), 1.15), ("static libc", programs.with_libc(), 1.05)):
        argv, encoded = [path], os.fsencode(path)
        times = interleaved(
            {"floor": lambda path=encoded: floor(path), "spawn": lambda argv=argv: setsid.spawn(argv).wait()},  # type: ignore[misc]
            2000,
        )
        rows.append(Row(f"floor, {name}", times["floor"] * 1e6, "us"))
        rows.append(at_most(f"spawn / floor, {name}", times["spawn"] / times["floor"], goal))
    return rows


def _popen_with_session(argv: list[str]) -> None:
    subprocess.Popen(argv, start_new_session=True).wait()


def _popen_with_preexec(argv: list[str]) -> None:
    subprocess.Popen(argv, preexec_fn=os.setsid).wait()


def spawn_against_popen() -> list[Row]:
    """Against the standard library, from this small process."""
    argv = [programs.bare()]
    times = interleaved(
        {
            "spawn": lambda: setsid.spawn(argv).wait(),
            "session": lambda: _popen_with_session(argv),
            "preexec": lambda: _popen_with_preexec(argv),
        },
        500,
    )
    return [
        at_least("Popen(start_new_session=True) / spawn", times["session"] / times["spawn"], 1.15),
        at_least("Popen(preexec_fn=os.setsid) / spawn", times["preexec"] / times["spawn"], 8),
    ]


def _in_process(source: str, *args: object) -> dict[str, float]:
    """Run a measurement in a process of its own; what it prints as JSON."""
    prelude = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + source, *map(str, args)], stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, float] = json.loads(done.stdout)
    return result


_SIZED = """
import json, os, subprocess, time
from measure import interleaved
import setsid
argv, megabytes, preexec = [sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
ballast = bytearray(megabytes << 20)
ballast[::4096] = b"x" * len(ballast[::4096])
cases = {"spawn": lambda: setsid.spawn(argv).wait()}
times = interleaved(cases, 500)
if preexec:
    times |= interleaved(
        {**cases, "preexec": lambda: subprocess.Popen(argv, preexec_fn=os.setsid).wait()}, preexec)
print(json.dumps(times))
"""


def parents_size() -> list[Row]:
    """Whether the parent's resident memory matters."""
    path = programs.bare()
    runs: dict[int, list[float]] = {10: [], 1024: [], 4096: []}
    preexec = 0.0
    for round_ in range(5):
        for size, times in runs.items():
            result = _in_process(_SIZED, path, size, 15 if size == 1024 and round_ == 0 else 0)
            times.append(result["spawn"])
            preexec = preexec or result.get("preexec", 0.0) / result["spawn"]
    base = statistics.median(runs[10])
    return [
        at_least("Popen(preexec_fn=os.setsid) / spawn, 1 GB parent", preexec, 200),
        at_most("spawn, 1 GB parent / 10 MB parent", statistics.median(runs[1024]) / base, 1.05),
        at_most("spawn, 4 GB parent / 10 MB parent", statistics.median(runs[4096]) / base, 1.05),
    ]


_FDS = """
import json, os
from measure import interleaved
import programs, setsid
path = sys.argv[1]
floor = programs.floor().floor_run
fds = [os.dup(0) for _ in range(int(sys.argv[2]))]
print(json.dumps(interleaved({"floor": lambda: floor(os.fsencode(path)),
                              "spawn": lambda: setsid.spawn([path]).wait()}, 300)))
"""


def open_fds() -> list[Row]:
    """How the cost grows with the parent's open files; the kernel copies their table for vfork too."""
    path = programs.bare()
    rows = []
    for count in (10, 100, 1000, 10000, 19000):
        times = _in_process(_FDS, path, count)
        rows.append(Row(f"floor, {count} open fds", times["floor"] * 1e6, "us"))
        rows.append(Row(f"spawn, {count} open fds", times["spawn"] * 1e6, "us"))
    return rows


def wait_with_timeout() -> list[Row]:
    """From the child's end to the return of wait(timeout=...)."""
    path = programs.program("tells_end")
    delays: dict[str, list[float]] = {"setsid": [], "subprocess": []}
    choice = random.Random(1)
    for _ in range(25):
        for name, late in delays.items():
            argv = [path, str(choice.randrange(20_000, 160_000))]
            reader, writer = os.pipe()
            process = (
                setsid.spawn(argv, stdout=writer) if name == "setsid" else subprocess.Popen(argv, stdout=writer)
            )
            process.wait(timeout=60)
            now = time.monotonic_ns()
            os.close(writer)
            late.append((now - int.from_bytes(os.read(reader, 8), sys.byteorder)) / 1e6)
            os.close(reader)
    return [
        at_most("wait(timeout=...) after the child's end", statistics.median(delays["setsid"]), 0.3, "ms"),
        Row("the same of subprocess.Popen", statistics.median(delays["subprocess"]), "ms"),
    ]


def _thousand(call: object, *args: object) -> object:
    def run() -> None:
        for _ in range(1000):
            call(*args)  # type: ignore[operator]

    return run


def calls() -> list[Row]:
    """The calls against those of `os`."""
    manager, terminal = os.openpty()
    times = interleaved(
        {
            "os.getsid": _thousand(os.getsid, 0),  # type: ignore[dict-item]
            "getsid": _thousand(setsid.getsid, 0),  # type: ignore[dict-item]
            "getpgid": _thousand(setsid.getpgid, 0),  # type: ignore[dict-item]
            "tcgetsid": _thousand(setsid.tcgetsid, manager),  # type: ignore[dict-item]
            "os.tcgetpgrp": _thousand(os.tcgetpgrp, manager),  # type: ignore[dict-item]
            "tcgetpgrp": _thousand(setsid.tcgetpgrp, manager),  # type: ignore[dict-item]
        },
        100,
    )
    os.close(manager)
    os.close(terminal)
    return [
        Row("os.getsid", times["os.getsid"] * 1e6, "ns"),
        at_most("getsid / os.getsid", times["getsid"] / times["os.getsid"], 1.5),
        at_most("getpgid / os.getsid", times["getpgid"] / times["os.getsid"], 1.5),
        at_most("tcgetpgrp / os.tcgetpgrp", times["tcgetpgrp"] / times["os.tcgetpgrp"], 1.5),
        at_most("tcgetsid / os.tcgetpgrp", times["tcgetsid"] / times["os.tcgetpgrp"], 1.5),
    ]


def _import_time(module: str) -> float:
    """Seconds that a cold interpreter takes for `import module`."""
    source = f"import time; start = time.perf_counter(); import {module}; print(time.perf_counter() - start)"
    return float(subprocess.run([sys.executable, "-I", "-c", source], capture_output=True, text=True).stdout)


def imports() -> list[Row]:
    """`import setsid` against `import subprocess`."""
    times: dict[str, list[float]] = {"setsid": [], "subprocess": []}
    for _ in range(21):
        for module, values in times.items():
            values.append(_import_time(module))
    own, standard = statistics.median(times["setsid"]), statistics.median(times["subprocess"])
    return [
        Row("import subprocess", standard * 1e3, "ms"),
        at_most("import setsid / import subprocess", own / standard, 0.6),
    ]


CASES = {
    "floor": spawn_against_floor,
    "popen": spawn_against_popen,
    "size": parents_size,
    "fds": open_fds,
    "wait": wait_with_timeout,
    "calls": calls,
    "import": imports,
}
