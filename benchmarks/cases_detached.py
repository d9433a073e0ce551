"""What is measured of spawn_detached. Returns rows."""

from __future__ import annotations

import statistics
import time

from rows import Row, at_most

import setsid


def detached_against_spawn() -> list[Row]:
    """Until the program is executed, in turn with spawn; the wait for the program's end is not measured."""
    argv = ["/bin/true"]
    times: dict[str, list[float]] = {"spawn": [], "detached": []}
    for _ in range(2000):
        start = time.perf_counter()
        process = setsid.spawn(argv)
        times["spawn"].append(time.perf_counter() - start)
        process.wait()
        start = time.perf_counter()
        detached = setsid.spawn_detached(argv)
        times["detached"].append(time.perf_counter() - start)
        detached.wait()
        detached.close()
    spawned, made = (statistics.median(values) for values in times.values())
    return [
        Row("spawn, until exec", spawned * 1e6, "us"),
        at_most("spawn_detached / spawn, until exec", made / spawned, 1.5),
    ]
