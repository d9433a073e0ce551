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

_LEGACY = {"manylinux1": "manylinux_2_5", "manylinux2010": "manylinux_2_12", "manylinux2014": "manylinux_2_17"}


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


def _suffix(python: str, abi: str) -> str | None:
    """How the library's name goes on for a Python, if we have wheels for it."""
    if (python, abi) == ("cp310", "abi3"):
        return ".abi3."
    if re.fullmatch(r"cp3\d+", python) and abi == f"{python}t":
        return f".cpython-{abi[2:]}-"
    return ".pypy311-" if python == "pp311" and abi.startswith("pypy311_") else None


def tag_faults(wheel: Path) -> list[str]:
    """Whether the name and what is said inside are the same tags, and those of a wheel of ours."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        inside = set(re.findall(r"^Tag: (.*)$", archive.read(name).decode(), re.MULTILINE))
    python, abi, platforms = tags(wheel)
    if inside != {f"{python}-{abi}-{platform}" for platform in platforms}:
        return [f"says inside that it is for {', '.join(sorted(inside))}"]
    return [] if _suffix(python, abi) else [f"is for {python}-{abi}, which none of ours is for"]


def library_faults(wheel: Path) -> list[str]:
    """What is wrong with the native library, which is to be one."""
    python, abi, platforms = tags(wheel)
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith((".so", ".dylib")) or ".so." in name]
        if [name.partition(".")[0] for name in names] != ["setsid/_native"]:
            return [f"has not one native library, setsid/_native, but {names}"]
        if not names[0].startswith(f"setsid/_native{_suffix(python, abi)}"):
            return [f"bears the tag {abi}, but has {names[0]}"]
        init = library.PYPYS_INIT if python.startswith("pp") else library.INIT
        found = library.faults(archive.read(names[0]), init, platforms[0])
        return [f"{names[0]} {fault}" for fault in found]


def _is_promised(found: re.Match[str], platform: str) -> bool:
    """Whether a wheel that runs on what auditwheel has found runs on the platform, too: its C library is no older."""
    legacy, _, machine = platform.partition("_")
    promised = _PLATFORM.search(f'"{_LEGACY[legacy]}_{machine}"' if legacy in _LEGACY else f'"{platform}"')
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
    if result.returncode == 0 and found and all(_is_promised(found, name) for name in platforms):
        return []
    return [f"auditwheel: {' '.join(result.stdout.split())}"]


def abi3_faults(wheel: Path) -> list[str]:
    """Whether abi3audit finds all symbols in the limited API of the version that the name says."""
    if tags(wheel)[1] != "abi3":
        return []
    result = tool("abi3audit", "--strict", "--report", wheel)
    return [] if result.returncode == 0 else [f"abi3audit: {result.stdout.strip()}"]


CHECKS = (tag_faults, library_faults, platform_faults, abi3_faults)


def faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel; [] if nothing is."""
    try:
        return [fault for check in CHECKS for fault in check(wheel)]
    except Exception as error:  # such as what reading a damaged library raises: the others are to be audited too
        return [f"can't be audited: {error!r}"]


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
