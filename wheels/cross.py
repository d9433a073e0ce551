"""Build a wheel for another platform, by zig's C compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from repair import repair
from targets import Target

ROOT = Path(__file__).resolve().parent.parent
THIS = (sys.executable,)


def python_m_build(
    source: Path, to: Path, kind: str, *, python: Sequence[str] = THIS, environment: dict[str, str] | None = None
) -> Path:
    """The archive that `python -m build` makes, of kind --sdist or --wheel; RuntimeError with its last line."""
    command = [*python, "-m", "build", "--no-isolation", "--outdir", str(to), kind, str(source)]
    result = subprocess.run(
        command,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
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


def compiler(target: Target, python: str) -> dict[str, str]:
    """What makes setuptools build for a target by the C compiler of a Python's ziglang."""
    zig = f"{python} -m ziglang cc -target {target.zig}"
    link = "-Wl,-undefined,dynamic_lookup -Wl,-dead_strip" if target.is_macos else "-Wl,--gc-sections"
    return {
        "CC": zig,
        "LDSHARED": f"{zig} -shared -s {link}",
        "CFLAGS": f"-include {ROOT}/wheels/python_32_bit.h" if target.is_32_bit else "",
        "LDFLAGS": "",
        "_PYTHON_HOST_PLATFORM": target.host_platform,
    }


def build(target: Target, sdist: Path, to: Path, *, python: Sequence[str] = THIS, **environment: str) -> Path:
    """The target's wheel for `python`, which has build and ziglang, in `to`, from the sdist alone; RuntimeError."""
    with tempfile.TemporaryDirectory() as directory:
        with tarfile.open(sdist) as archive:
            archive.extractall(directory)
        [source] = Path(directory).iterdir()
        made = Path(directory, "made")
        made.mkdir()
        environment |= compiler(target, python[-1])
        return repair(python_m_build(source, made, "--wheel", python=python, environment=environment), target, to)
