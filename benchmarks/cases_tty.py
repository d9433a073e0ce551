"""What is measured of terminals: starting a program on one, against ptyprocess. Each function returns rows."""

from __future__ import annotations

import statistics

from parents import Parent
from rows import Row, at_least, at_most


def programs_on_terminals() -> list[Row]:
    """Pty().spawn + wait against PtyProcess.spawn + wait, from a small and from a large parent, all in turn."""
    parents = {"small": Parent(10), "1 GB": Parent(1024)}
    cases = ("spawn", "pty", "ptyprocess")
    times: dict[tuple[str, str], list[float]] = {(size, case): [] for size in parents for case in cases}
    for _ in range(30):
        for size, parent in parents.items():
            for case in cases:
                times[size, case].append(parent.measure(case, 3 if case == "ptyprocess" else 20))
    for parent in parents.values():
        parent.close()
    median = {key: statistics.median(values) for key, values in times.items()}
    rows = [
        Row("Pty() and its spawn + wait", median["small", "pty"] * 1e6, "us"),
        Row("the same / spawn without a terminal", median["small", "pty"] / median["small", "spawn"], "x"),
    ]
    for size, goal in (("small", 8), ("1 GB", 100)):
        ratio = median[size, "ptyprocess"] / median[size, "pty"]
        rows.append(at_least(f"PtyProcess.spawn / Pty().spawn, {size} parent", ratio, goal))
    rows.append(at_most("Pty().spawn, 1 GB / small", median["1 GB", "pty"] / median["small", "pty"], 1.05))
    return rows
