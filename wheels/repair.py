"""Give a cross-built wheel the name of the platforms that it runs on."""

from __future__ import annotations

from pathlib import Path

from audit import tags, tool
from targets import Target


def _run(name: str, *arguments: str | Path) -> None:
    result = tool(name, *arguments)
    if result.returncode != 0:
        raise RuntimeError(f"{name}: {result.stdout.strip().splitlines()[-1]}")


def _name_libc(wheel: Path, libc_name: str) -> Path:
    """Have musl's library looked for by the name that it has where it is installed."""
    directory = wheel.parent / "unpacked"
    _run("wheel", "unpack", "--dest", directory, wheel)
    [root] = directory.iterdir()
    [library] = root.rglob("*.so")
    _run("patchelf", "--replace-needed", "libc.so", libc_name, library)
    packed = wheel.parent / "packed"
    packed.mkdir()
    _run("wheel", "pack", "--dest-dir", packed, root)
    return packed / wheel.name


def repair(wheel: Path, target: Target, to: Path) -> Path:
    """The finished wheel, in the directory `to`; RuntimeError with what an instrument says against it."""
    if target.is_macos:
        return wheel.replace(to / wheel.name)
    if target.libc_name:
        wheel = _name_libc(wheel, target.libc_name)
    repaired = wheel.parent / "repaired"
    # "auto": it finds processor and C library in the wheel, and takes no name but those of this machine's.
    _run("auditwheel", "repair", "--plat", "auto", "--wheel-dir", repaired, wheel)
    [finished] = repaired.iterdir()
    if target.tag not in tags(finished)[2]:
        raise RuntimeError(f"auditwheel names it {finished.name}, not {target.tag}")
    return finished.replace(to / finished.name)
