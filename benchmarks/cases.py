"""What is measured of spawn, fork, the calls and the import. Each function returns rows."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

import forks
import programs
from cases_detached import detached_against_spawn
from cases_popen import asyncio_children, popen_with_plan
from cases_sessions import looking_at_sessions
from cases_tty import programs_on_terminals
from measure import interleaved
from parents import PRELUDE, Parent
from rows import Row, at_least, at_most

import setsid

if TYPE_CHECKING:
    from collections.abc import Callable


def _spawn(argv: list[str]) -> None:
    setsid.spawn(argv).wait()


def spawn_against_floor() -> list[Row]:
    """Spawn + wait against vfork + setsid + execve + waitpid in C, in this process with this environment."""
    floor = programs.floor().floor_run
    rows = []
    for name, path, goal in (("no libc", programs.bare(), 1.15), ("static libc", programs.with_libc(), 1.05)):
        argv, encoded = [path], os.fsencode(path)
        times = interleaved(
            {"floor": partial(floor, encoded), "spawn": partial(_spawn, argv)},
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
    command = [sys.executable, "-c", PRELUDE + source, *map(str, args)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def parents_size() -> list[Row]:
    """Whether the parent's resident memory matters. Three parents, measured in turn."""
    parents = {size: Parent(size) for size in (10, 1024, 4096)}
    times: dict[int, list[float]] = {size: [] for size in parents}
    for _ in range(40):
        for size, parent in parents.items():
            times[size].append(parent.measure("spawn", 25))
    small, large, huge = (statistics.median(times[size]) for size in parents)
    ratios = [parents[1024].measure("preexec", 5) / parents[1024].measure("spawn", 25) for _ in range(5)]
    for parent in parents.values():
        parent.close()
    return [
        at_least("Popen(preexec_fn=os.setsid) / spawn, 1 GB parent", statistics.median(ratios), 200),
        at_most("spawn, 1 GB parent / 10 MB parent", large / small, 1.05),
        at_most("spawn, 4 GB parent / 10 MB parent", huge / small, 1.05),
    ]


_FDS = """
import json, os
from cases_popen import popen_with_plan, asyncio_children
from measure import interleaved
from parents import PRELUDE, Parent
from rows import Row, at_least, at_most
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
            process = setsid.spawn(argv, stdout=writer) if name == "setsid" else subprocess.Popen(argv, stdout=writer)
            process.wait(timeout=60)
            now = time.monotonic_ns()
            os.close(writer)
            late.append((now - int.from_bytes(os.read(reader, 8), sys.byteorder)) / 1e6)
            os.close(reader)
    return [
        at_most("wait(timeout=...) after the child's end", statistics.median(delays["setsid"]), 0.3, "ms"),
        Row("the same of subprocess.Popen", statistics.median(delays["subprocess"]), "ms"),
    ]


def _thousand(call: Callable[[int], object], argument: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(1000):
            call(argument)

    return run


def calls() -> list[Row]:
    """The calls against those of `os`, on a terminal that a session has."""
    manager, terminal = os.openpty()
    shell = setsid.spawn(["cat"], setsid.ChildSetup.on_terminal(terminal))
    times = interleaved(
        {
            "os.getsid": _thousand(os.getsid, 0),
            "getsid": _thousand(setsid.getsid, 0),
            "getpgid": _thousand(setsid.getpgid, 0),
            "tcgetsid": _thousand(setsid.tcgetsid, manager),
            "os.tcgetpgrp": _thousand(os.tcgetpgrp, manager),
            "tcgetpgrp": _thousand(setsid.tcgetpgrp, manager),
        },
        100,
    )
    shell.end()
    shell.close()
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


def apply_against_python() -> list[Row]:
    """`apply` in a freshly forked child against the same steps in Python."""
    steps = forks.Steps()
    ready = steps.setup.apply
    cases: dict[str, Callable[[], object]] = {
        "python": steps.in_python,
        "ready": ready,
        "made in the child": lambda: steps.setup.apply(),
    }
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(1000):
        for name, case in cases.items():
            times[name].append(forks.in_fresh_child(case))
    python, prepared, made = (statistics.median(times[name]) for name in cases)
    return [
        Row("the steps in Python", python * 1e6, "us"),
        at_least("the steps in Python / apply", python / prepared, 3),
        Row("the same, apply looked up in the child", python / made, "x"),
    ]


def fork_against_python() -> list[Row]:
    """`fork(setup)` against os.fork and the same steps in Python; each with the child's end."""
    steps = forks.Steps()
    nothing = setsid.ChildSetup(process_group=setsid.INHERIT)
    times = interleaved(
        {
            "python": lambda: forks.fork_and(steps.in_python),
            "plan": lambda: forks.fork_by_plan(steps.setup),
            "python, setsid": lambda: forks.fork_and(os.setsid),
            "plan, setsid": lambda: forks.fork_by_plan(_SESSION),
            "os.fork": lambda: forks.fork_and(_do_nothing),
            "plan, nothing": lambda: forks.fork_by_plan(nothing),
        },
        1000,
    )
    return [
        Row("os.fork and the steps in Python", times["python"] * 1e6, "us"),
        at_most("fork(setup) / os.fork and the steps in Python", times["plan"] / times["python"], 1.10),
        at_most("fork() / os.fork and os.setsid", times["plan, setsid"] / times["python, setsid"], 1.10),
        Row("fork of an empty plan / os.fork", times["plan, nothing"] / times["os.fork"], "x"),
    ]


_SESSION = setsid.ChildSetup()


def _do_nothing() -> None:
    pass


CASES = {
    "floor": spawn_against_floor,
    "popen": spawn_against_popen,
    "detached": detached_against_spawn,
    "plan": popen_with_plan,
    "size": parents_size,
    "fds": open_fds,
    "wait": wait_with_timeout,
    "calls": calls,
    "import": imports,
    "apply": apply_against_python,
    "fork": fork_against_python,
    "asyncio": asyncio_children,
    "sessions": looking_at_sessions,
    "pty": programs_on_terminals,
}
