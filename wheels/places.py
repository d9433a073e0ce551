"""The interpreters that the wheels are run on: where they are, or why they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import chroot
import freethreaded
import musl

HOST = ("3.10", "3.11", "3.12", "3.13")
SID = {"3.14": "python3.14", "3.15": "python3.15", "3.14-dbg": "python3.14-dbg", "PyPy 3.11": "pypy3"}
FREE_THREADED = {"3.14t": "3.14", "3.15t": "3.15"}
EMULATED = {"3.14 aarch64": "python3.14"}

_ASK = """
import platform, sys, sysconfig
has_no_gil = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
print(platform.machine(), sys.version.split()[0], sys.implementation.name, has_no_gil)
"""


class Place(NamedTuple):
    """An interpreter: `command` runs it; `missing` is why it can't be had, or None."""

    name: str
    command: tuple[str, ...]
    libc: str
    machine: str
    version: str
    implementation: str
    is_free_threaded: bool
    missing: str | None

    @property
    def takes_abi3(self) -> bool:
        """Whether the one wheel of all versions is for it."""
        return self.implementation == "cpython" and not self.is_free_threaded


def _place(name: str, command: tuple[str, ...], libc: str = "glibc") -> Place:
    """The place, if its interpreter runs."""
    try:
        result = subprocess.run(
            [*command, "-c", _ASK], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return _missing(name, libc, str(error))
    if result.returncode:
        return _missing(name, libc, (result.stderr.strip().splitlines() or ["does not run"])[-1])
    machine, version, implementation, has_no_gil = result.stdout.split()
    return Place(name, command, libc, machine, version, implementation, has_no_gil == "True", None)


def _missing(name: str, libc: str, reason: str, machine: str = os.uname().machine) -> Place:
    return Place(name, (), libc, machine, "", "", False, reason)


def _pyenv() -> Path | None:
    root = os.environ.get("PYENV_ROOT")
    if root is None and (pyenv := shutil.which("pyenv")):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
    return Path(root) / "versions" if root else None


def on_host(version: str) -> Place:
    """A version of CPython by pyenv, the newest patch of it, or by PATH. Never a shim: it may choose another one."""
    if f"{sys.version_info[0]}.{sys.version_info[1]}" == version and sys.prefix == sys.base_prefix:
        return _place(version, (sys.executable,))
    versions = _pyenv()
    if versions is not None:
        found = [path for path in versions.glob(f"{version}.*") if path.name[len(version) + 1 :].isdigit()]
        if found:
            newest = max(found, key=lambda path: int(path.name.rpartition(".")[2]))
            return _place(version, (str(newest / "bin" / f"python{version}"),))
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        if not directory.endswith("/shims") and (path := shutil.which(f"python{version}", path=directory)):
            return _place(version, (path,))
    return _missing(version, "glibc", "neither pyenv nor PATH has it")


def in_sid(name: str) -> Place:
    """An interpreter of Debian sid's, or a free-threaded one that is built there."""
    try:
        root = chroot.sid()
        program = SID.get(name) or freethreaded.python(root, FREE_THREADED[name])
    except (LookupError, RuntimeError) as error:
        return _missing(name, "glibc", str(error))
    return _place(name, (*chroot.enter(root), program))


def emulated(name: str) -> Place:
    """An interpreter of Debian sid's for AArch64, run by qemu."""
    try:
        root, emulator = chroot.sid_arm64()
    except (LookupError, RuntimeError) as error:
        return _missing(name, "glibc", str(error), "aarch64")
    return _place(name, (*chroot.enter(root, emulator), EMULATED[name]))


def on_musl(name: str) -> Place:
    """CPython on musl."""
    try:
        return _place(name, (str(musl.python()),), "musl")
    except (LookupError, RuntimeError) as error:
        return _missing(name, "musl", str(error))


PLACES: dict[str, Callable[[str], Place]] = {
    **dict.fromkeys(HOST, on_host),
    **dict.fromkeys([*SID, *FREE_THREADED], in_sid),
    **dict.fromkeys(EMULATED, emulated),
    "musl": on_musl,
}


def find(names: list[str] | None = None) -> list[Place]:
    """All places, or those with these names; what can be made is made."""
    return [PLACES[name](name) for name in names or PLACES]


def make_environment(place: Place, directory: Path) -> list[str]:
    """A virtual environment of a place, in a temporary directory: the command of its Python."""
    subprocess.run([*place.command, "-m", "venv", str(directory / "env")], stdin=subprocess.DEVNULL, check=True)
    return [*place.command[:-1], str(directory / "env" / "bin" / "python")]


if __name__ == "__main__":
    for place in find(sys.argv[1:]):
        print(
            f"{place.name:<12} {place.libc:<6} {place.machine:<8} {place.version or 'MISSING: ' + str(place.missing)}"
        )
