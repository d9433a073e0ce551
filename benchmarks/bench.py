"""Measure the package: `make bench`, or `make bench BENCH="floor calls"` for some of the cases only.

Prints a table and writes benchmarks/results.json. Figures are medians and ratios of one run, on one CPU.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from cases import CASES
from measure import pin


def main(names: list[str]) -> int:
    """Run the named cases, or all; 1 if a goal was missed."""
    unknown = set(names) - set(CASES)
    if unknown:
        print(f"there is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}", file=sys.stderr)
        return 2
    pin()
    machine = (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.release()}"
    )
    print(f"{machine}, {platform.machine()}, CPU {os.sched_getaffinity(0)}\n")
    rows = []
    for name in names or CASES:
        for row in CASES[name]():
            verdict = "" if row.is_met is None else "met" if row.is_met else "MISSED"
            print(f"{row.case:<55} {row.figure:>10.3f} {row.unit:<3} {row.goal:>8} {verdict}", flush=True)
            rows.append({"group": name, **row._asdict()})
    results = Path(__file__).with_name("results.json")
    results.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")
    return int(any(row["is_met"] is False for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
