"""Audit wheels: `python wheels/audit.py dist/*.whl`. Exits with 1 if one has a fault."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import library

_PLATFORM = re.compile(r'"(?P<libc>manylinux_2|musllinux_1)_(?P<minor>\d+)_(?P<machine>\w+)"')


def tool(name: str, *arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of this environment's instruments, which find each other in PATH; what it says, both streams in one."""
    directory = os.path.dirname(sys.executable)
    environment = os.environ | {"PATH": f"{directory}:{os.environ.get('PATH', os.defpath)}"}
    return subprocess.run(
        [os.path.join(directory, name), *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def tags(wheel: Path) -> tuple[str, str, list[str]]:
    """The tags in a wheel's name: of Python, of the ABI, of the platforms."""
    python, abi, platforms = wheel.stem.split("-")[-3:]
    return python, abi, platforms.split(".")


def library_faults(wheel: Path) -> list[str]:
    """What is wrong with the native library, which is to be one."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith((".so", ".dylib")) or ".so." in name]
        if [name.partition(".")[0] for name in names] != ["setsid/_native"]:
            return [f"has not one native library, setsid/_native, but {names}"]
        if (".abi3." in names[0]) != (tags(wheel)[1] == "abi3"):
            return [f"bears the tag {tags(wheel)[1]}, but has {names[0]}"]
        init = library.PYPYS_INIT if tags(wheel)[0].startswith("pp") else library.INIT
        return [f"{names[0]} {fault}" for fault in library.faults(archive.read(names[0]), init)]


def _is_promised(found: re.Match[str], platform: str) -> bool:
    """Whether a wheel that runs on what auditwheel has found runs on the platform, too: its C library is no older."""
    promised = _PLATFORM.search(f'"{platform}"')
    return (
        promised is not None
        and (promised["libc"], promised["machine"]) == (found["libc"], found["machine"])
        and int(promised["minor"]) >= int(found["minor"])
    )


def platform_faults(wheel: Path) -> list[str]:
    """Whether auditwheel finds that it runs on all that its name says. What macOS has is no matter of symbols."""
    platforms = tags(wheel)[2]
    if all(platform.startswith("macosx_11_0_") for platform in platforms):
        return []
    if not all(platform.startswith(("manylinux", "musllinux")) for platform in platforms):
        return [f"is for {', '.join(platforms)}: not repaired?"]
    result = tool("auditwheel", "show", wheel)
    found = _PLATFORM.search(result.stdout)
    if result.returncode == 0 and found and any(_is_promised(found, name) for name in platforms):
        return []
    return [f"auditwheel: {' '.join(result.stdout.split())}"]


def abi3_faults(wheel: Path) -> list[str]:
    """Whether abi3audit finds all symbols in the limited API of the version that the name says."""
    if tags(wheel)[1] != "abi3":
        return []
    result = tool("abi3audit", "--strict", "--report", wheel)
    return [] if result.returncode == 0 else [f"abi3audit: {result.stdout.strip()}"]


def faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel; [] if nothing is."""
    return [fault for check in (library_faults, platform_faults, abi3_faults) for fault in check(wheel)]


def main(names: list[str]) -> int:
    """Audit each, and say what came of it; no wheel at all is a fault too."""
    has_failed = not names
    for name in names:
        found = faults(Path(name))
        has_failed |= bool(found)
        print(f"audit: {os.path.basename(name)}: {'; '.join(found) or 'no faults'}")
    return int(has_failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
