"""Build the sdist and the wheels of all platforms in dist/, audit them, run them where they can be, and print what has
become of each: `make wheels`, or `make wheels WHEELS="musllinux_1_2_x86_64"`. Exits with 1 if one has failed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import audit
import run
from cross import ROOT, build, python_m_build
from places import Place, find, make_environment
from targets import OWN, TARGETS, Target

DIST = ROOT / "dist"
BUILDING = ("build", "setuptools>=77", "cffi>=2; platform_python_implementation != 'PyPy'", "ziglang==0.17.1")


class Row(NamedTuple):
    """A line of the table."""

    target: str
    built: str
    audited: str = "-"
    run: str = "-"
    has_failed: bool = False


def run_everywhere(wheel: Path, places: list[Place]) -> tuple[str, bool]:
    """What to say of a wheel's smoke test, in all places that it fits, and whether one has failed."""
    good: list[str] = []
    bad: list[str] = []
    for place in places:
        if run.fits(place, wheel) and place.missing is None and (result := run.run(place, wheel)):
            is_good, said = result
            print(f"  {place.name}: {said}", flush=True)
            (good if is_good else bad).append(place.name)
    said = ", ".join(good + [f"FAILED by {name}" for name in bad])
    return said or "not run here", bool(bad)


def build_own(place: Place, target: Target, sdist: Path) -> Path:
    """A target's wheel for the Python of one place alone, built there; RuntimeError."""
    with tempfile.TemporaryDirectory() as directory:
        python = make_environment(place, Path(directory))
        install = [*python, "-m", "pip", "install", "--quiet", *BUILDING]
        if subprocess.run(install, stdin=subprocess.DEVNULL, check=False).returncode != 0:
            raise RuntimeError(f"{place.name} can't install {', '.join(BUILDING)}")
        return build(target, sdist, DIST, python=python, ZIG_GLOBAL_CACHE_DIR=f"{directory}/zig")


def make(name: str, build_it: Callable[[], Path], places: list[Place]) -> Row:
    """All that is done for a wheel."""
    print(f"{name} ...", flush=True)
    try:
        wheel = build_it()
    except RuntimeError as error:
        return Row(name, f"not built: {error}", has_failed=True)
    faults = audit.faults(wheel)
    said, has_failed = run_everywhere(wheel, places)
    built = f"{audit.tags(wheel)[0]}-{audit.tags(wheel)[1]}, {wheel.stat().st_size // 1000} kB"
    return Row(name, built, "; ".join(faults) or "no faults", said, bool(faults) or has_failed)


def print_table(rows: list[Row]) -> None:
    """The rows, in columns."""
    heads = Row("wheel for", "built", "audited", "run")
    widths = [max(len(str(row[column])) for row in [heads, *rows] if len(str(row[column])) < 60) for column in range(3)]
    for row in [heads, *rows]:
        print("  ".join([f"{row[column]:{width}}" for column, width in enumerate(widths)] + [row.run]).rstrip())


def main(names: list[str]) -> int:
    """Make those whose tags are named, or all."""
    if unknown := set(names) - {target.tag for target in TARGETS} - {*OWN.values()}:
        print(f"build: no such platform: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    DIST.mkdir(exist_ok=True)
    for old in [*DIST.glob("setsid-*.whl"), *DIST.glob("setsid-*.tar.gz")]:
        old.unlink()
    sdist = python_m_build(ROOT, DIST, "--sdist")
    places = find()
    builders = {target.tag: partial(build, target, sdist, DIST) for target in TARGETS}
    for place in places:
        if place.name in OWN and place.missing is None:
            builders[OWN[place.name]] = partial(build_own, place, TARGETS[0], sdist)
    rows = [make(name, builder, places) for name, builder in builders.items() if name in (names or builders)]
    print(f"\n{sdist.name}, and on {platform.machine()}:")
    print_table(rows)
    for place in places:
        if place.missing is not None:
            print(f"not run by {place.name}{', nor built for it' * (place.name in OWN)}: {place.missing}")
    is_short = any(place.missing for place in places) and os.environ.get("SETSID_TEST_ALL") == "1"
    return int(is_short or any(row.has_failed for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
