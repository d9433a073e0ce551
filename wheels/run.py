"""Run the smoke test of a wheel by each interpreter of this machine that it is for."""

from __future__ import annotations

import io
import json
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
_ASK = """
import json, sys, sysconfig
print(json.dumps([sys.implementation.name, bool(sysconfig.get_config_var("Py_GIL_DISABLED")), sys.version_info[:2]]))
"""


def fits(place: Place, wheel: Path) -> bool:
    """Whether a wheel is for a place's processor and C library."""
    kind = {"glibc": "manylinux", "musl": "musllinux"}.get(place.libc, place.libc)
    return any(tag.startswith(kind) and tag.endswith(f"_{place.machine}") for tag in audit.tags(wheel)[2])


def _accepts(wheel: Path, implementation: str, is_free_threaded: bool, version: list[int]) -> bool:
    """Whether an interpreter takes a wheel's Python and ABI."""
    python, abi, _ = audit.tags(wheel)
    if abi == "abi3":
        return implementation == "cpython" and not is_free_threaded and version >= [3, int(python[3:])]
    own = f"{version[0]}{version[1]}"
    if implementation == "pypy":
        return python == f"pp{own}"
    return abi == f"cp{own}{'t' if is_free_threaded else ''}"


def _install(wheel: Path, implementation: str, version: list[int], machine: str, directory: str) -> str | None:
    """Install a wheel, with the cffi that it needs, for a Python that need not be this; what has failed, or None."""
    _, abi, platforms = audit.tags(wheel)
    if platforms[0].startswith("manylinux"):  # whatever C library is installed here, it is newer
        platforms += [f"manylinux_2_{minor}_{machine}" for minor in range(18, 29)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--target", directory]
    command += ["--only-binary=:all:", "--python-version", ".".join(map(str, version))]
    command += ["--implementation", "pp" if implementation == "pypy" else "cp"]
    if abi != "abi3":
        command += ["--abi", abi]
    command += [argument for name in platforms for argument in ("--platform", name)]
    if implementation == "pypy":
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
    answer = subprocess.run([*place.command, "-c", _ASK], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        return False, _last_line(answer.stderr)
    implementation, is_free_threaded, version = json.loads(answer.stdout)
    if not _accepts(wheel, implementation, is_free_threaded, version):
        return None
    with tempfile.TemporaryDirectory() as directory:
        if failure := _install(wheel, implementation, version, place.machine, directory):
            return False, failure
        packed = _packed(directory)
    command = [*place.command, "-I", "-W", "error", "-c", _RECEIVE]
    try:
        result = subprocess.run(command, input=packed, capture_output=True, timeout=300, check=False)
    except subprocess.TimeoutExpired:
        return False, "it hangs"
    return result.returncode == 0, _last_line((result.stdout or result.stderr).decode(errors="replace"))
