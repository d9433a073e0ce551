"""Compile the C core with every warning an error, by each C library's compiler that is here. Part of `make lint`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WARNINGS = [
    "-Werror",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wswitch-enum",
    "-Wvla",
]


def sources() -> list[str]:
    """The C files of this platform, as the builder picks them."""
    sys.path.insert(0, str(ROOT / "csrc"))
    import ffibuild

    return [f"csrc/{name}" for name in ffibuild.PORTABLE_FILES + ffibuild.PLATFORM_FILES[sys.platform]]


def largest_frame(name: str) -> int:
    """Bytes of stack that one function of a file may take."""
    if name == "csrc/os/linux_clone.c":
        return 33 * 1024  # the child's stack, on a boundary of its size
    return 2048


def check(compiler: str) -> bool:
    """Whether `compiler` takes every file without a warning."""
    is_clean = True
    with tempfile.TemporaryDirectory() as objects:
        for name in sources():
            command = [compiler, "-std=c11", "-D_GNU_SOURCE", "-O2", "-Icsrc", *WARNINGS]
            command += [f"-Wframe-larger-than={largest_frame(name)}", "-c", name, "-o", f"{objects}/out.o"]
            is_clean &= subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    return is_clean


def main() -> int:
    """Check with the default compiler, musl's and clang; 1 if one warned."""
    status = 0
    for compiler in (os.environ.get("CC", "cc"), "musl-gcc", "clang"):
        if shutil.which(compiler) is None:
            print(f"compile_check: {compiler} is not installed, not checked")
            status |= os.environ.get("SETSID_TEST_ALL") == "1" and compiler == "musl-gcc"
            continue
        is_clean = check(compiler)
        print(f"compile_check: {compiler}: {'no warnings' if is_clean else 'FAILED'}")
        status |= not is_clean
    return status


if __name__ == "__main__":
    sys.exit(main())
