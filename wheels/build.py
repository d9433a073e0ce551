"""Build the sdist and the wheels of all platforms in dist/, audit them, run them where they can be, and print what has
become of each: `make wheels`, or `make wheels WHEELS="musllinux_1_2_x86_64"`. Exits with 1 if one has failed.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

import audit
import run
from places import Place, find
from repair import repair
from targets import ELSEWHERE, TARGETS, Target

ROOT = Path(__file__).resolve().parent.parent
DIST = ROOT / "dist"


class Row(NamedTuple):
    """A line of the table."""

    target: str
    built: str
    audited: str = "-"
    run: str = "-"
    has_failed: bool = False


def python_m_build(source: Path, to: Path, *arguments: str, environment: dict[str, str] | None = None) -> Path:
    """The archive that `python -m build` makes; RuntimeError with its last line."""
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(to), *arguments, str(source)]
    result = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line.strip() for line in result.stdout.splitlines() if line.strip()]
    if result.returncode != 0:
        # What the build tool itself says at the end is only that it has failed.
        said = [line for line in lines if not line.startswith(("ERROR ", "TIP "))]
        raise RuntimeError(said[-1] if said else "no message")
    return max(to.iterdir(), key=os.path.getmtime)


def compiler(target: Target) -> dict[str, str]:
    """What makes setuptools build for a target by zig's C compiler."""
    zig = f"{sys.executable} -m ziglang cc -target {target.zig}"
    link = "-Wl,-undefined,dynamic_lookup -Wl,-dead_strip" if target.is_macos else "-Wl,--gc-sections"
    return {
        "CC": zig,
        "LDSHARED": f"{zig} -shared -s {link}",
        "CFLAGS": f"-include {ROOT}/wheels/python_32_bit.h" if target.is_32_bit else "",
        "LDFLAGS": "",
        "_PYTHON_HOST_PLATFORM": target.host_platform,
    }


def build(target: Target, sdist: Path, to: Path = DIST) -> Path:
    """The target's wheel, built in `to` from the sdist alone; RuntimeError if that can't be done."""
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(sdist) as archive:
            archive.extractall(directory)
        [source] = Path(directory).iterdir()
        made = Path(directory, "made")
        made.mkdir()
        return repair(python_m_build(source, made, "--wheel", environment=compiler(target)), target, to)


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


def make(target: Target, sdist: Path, places: list[Place]) -> Row:
    """All that is done for a target."""
    print(f"{target.tag} ...", flush=True)
    try:
        wheel = build(target, sdist)
    except RuntimeError as error:
        return Row(target.tag, f"not built: {error}", has_failed=True)
    faults = audit.faults(wheel)
    said, has_failed = run_everywhere(wheel, places)
    built = f"{audit.tags(wheel)[0]}-{audit.tags(wheel)[1]}, {wheel.stat().st_size // 1000} kB"
    return Row(target.tag, built, "; ".join(faults) or "no faults", said, bool(faults) or has_failed)


def print_table(rows: list[Row]) -> None:
    """The rows, in columns."""
    heads = Row("wheel for", "built", "audited", "run")
    widths = [max(len(str(row[column])) for row in [heads, *rows] if len(str(row[column])) < 60) for column in range(3)]
    for row in [heads, *rows]:
        print("  ".join([f"{row[column]:{width}}" for column, width in enumerate(widths)] + [row.run]).rstrip())


def main(names: list[str]) -> int:
    """Make those whose tags are named, or all."""
    if unknown := set(names) - {target.tag for target in TARGETS}:
        print(f"build: no such platform: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    DIST.mkdir(exist_ok=True)
    for old in [*DIST.glob("setsid-*.whl"), *DIST.glob("setsid-*.tar.gz")]:
        old.unlink()
    sdist = python_m_build(ROOT, DIST, "--sdist")
    places = find()
    rows = [make(target, sdist, places) for target in TARGETS if not names or target.tag in names]
    rows += [Row(name, "not here: by the release workflow") for name in ELSEWHERE if not names]
    print(f"\n{sdist.name}, and on {platform.machine()}:")
    print_table(rows)
    for place in places:
        if place.missing is not None:
            print(f"not run by {place.name}: {place.missing}")
    return int(any(row.has_failed for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
