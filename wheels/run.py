"""Run the smoke test of a wheel by each interpreter of this machine that it is for."""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import audit
from places import Place

SMOKE = Path(__file__).with_name("smoke.py")
# A place may see no file of ours (a chroot): all that it needs comes by its standard input.
_RECEIVE = """
import io, os, runpy, sys, tempfile, zipfile
with tempfile.TemporaryDirectory() as directory:
    zipfile.ZipFile(io.BytesIO(sys.stdin.buffer.read())).extractall(directory)
    sys.path.insert(0, directory)
    os.chdir("/")
    runpy.run_path(os.path.join(directory, "smoke.py"), run_name="__main__")
"""


def fits(place: Place, wheel: Path) -> bool:
    """Whether a wheel is for a place's processor and C library."""
    kind = {"glibc": "manylinux", "musl": "musllinux"}.get(place.libc, place.libc)
    return any(tag.startswith(kind) and tag.endswith(f"_{place.machine}") for tag in audit.tags(wheel)[2])


def _accepts(wheel: Path, place: Place) -> bool:
    """Whether an interpreter takes a wheel's Python and ABI."""
    python, abi, _ = audit.tags(wheel)
    minor = int(place.version.split(".")[1])
    if abi == "abi3":
        return place.takes_abi3 and minor >= int(python[3:])
    if place.implementation == "pypy":
        return python == f"pp3{minor}"
    return abi == f"cp3{minor}{'t' if place.is_free_threaded else ''}"


def _install(wheel: Path, place: Place, directory: str) -> str | None:
    """Install a wheel, with the cffi that it needs, for a Python that need not be this; what has failed, or None."""
    _, abi, platforms = audit.tags(wheel)
    if platforms[0].startswith("manylinux"):  # whatever C library is installed here, it is newer
        platforms += [f"manylinux_2_{minor}_{place.machine}" for minor in range(18, 29)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", directory]
    command += ["--only-binary=:all:", "--python-version", ".".join(place.version.split(".")[:2])]
    command += ["--implementation", "pp" if place.implementation == "pypy" else "cp"]
    if abi != "abi3":
        command += ["--abi", abi]
    command += [argument for name in platforms for argument in ("--platform", name)]
    if place.implementation == "pypy":
        command += ["--no-deps"]  # it brings its own
    result = subprocess.run([*command, str(wheel)], capture_output=True, text=True, check=False)
    return None if result.returncode == 0 else f"pip: {_last_line(result.stderr)}"


def _last_line(text: str) -> str:
    return ([line.strip() for line in text.splitlines() if line.strip()] or ["no message"])[-1]


def _packed(directory: str) -> bytes:
    """The files of a directory and the smoke test, as one archive."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for path in Path(directory).rglob("*"):
            archive.write(path, path.relative_to(directory))
        archive.write(SMOKE, "smoke.py")
    return data.getvalue()


def run(place: Place, wheel: Path) -> tuple[bool, str] | None:
    """Run it in a place that it fits: whether it worked, and what it said. None if that Python takes no such wheel."""
    if not _accepts(wheel, place):
        return None
    with tempfile.TemporaryDirectory() as directory:
        if failure := _install(wheel, place, directory):
            return False, failure
        packed = _packed(directory)
    command = [*place.command, "-I", "-W", "error", "-c", _RECEIVE]
    try:
        result = subprocess.run(command, input=packed, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return False, "it hangs"
    return result.returncode == 0, _last_line((result.stdout or result.stderr).decode(errors="replace"))
