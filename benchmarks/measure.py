"""Measuring side by side: every case in turn, round after round, so that noise meets them all alike."""

from __future__ import annotations

import os
import statistics
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def pin() -> None:
    """Keep this process and its children on one CPU, the last: the first gets most of the interrupts."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def interleaved(cases: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """The median time of each case, in seconds."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for case in cases.values():
        case()  # what is set up on first use is not measured
    for _ in range(rounds):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}
