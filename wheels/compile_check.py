"""Compile the C core with every warning an error, by each C library's compiler that is here, and the files that other
systems have by zig's. Part of `make lint`.
"""

from __future__ import annotations

import importlib.util
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
MUST_HAVE_ALL = os.environ.get("SETSID_TEST_ALL") == "1"
# The system by which the files are named, and what makes all its functions visible: on FreeBSD, to ask for no standard.
TARGETS: dict[str, tuple[str, list[str]]] = {
    "aarch64-macos.11.0": ("darwin", ["-D_DARWIN_C_SOURCE"]),
    "x86_64-macos.11.0": ("darwin", ["-D_DARWIN_C_SOURCE"]),
    "x86_64-freebsd": ("freebsd", []),
}


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


def check(compiler: list[str], names: list[str]) -> bool:
    """Whether `compiler` takes every file without a warning."""
    is_clean = True
    with tempfile.TemporaryDirectory() as directory:
        # Where zig would leave what it keeps for the next time.
        environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": directory, "ZIG_LOCAL_CACHE_DIR": directory}
        for name in names:
            command = [*compiler, "-std=c11", "-O2", "-Icsrc", *WARNINGS]
            command += [f"-Wframe-larger-than={largest_frame(name)}", "-c", name, "-o", f"{directory}/out.o"]
            is_clean &= subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0
    return is_clean


def report(compiler: str, is_clean: bool) -> bool:
    """Say what came of it; whether it failed."""
    print(f"compile_check: {compiler}: {'no warnings' if is_clean else 'FAILED'}")
    return not is_clean


def check_native() -> bool:
    """Check with the default compiler, musl's and clang; whether one warned."""
    has_failed = False
    for compiler in (os.environ.get("CC", "cc"), "musl-gcc", "clang"):
        if shutil.which(compiler) is None:
            print(f"compile_check: {compiler} is not installed, not checked")
            has_failed |= MUST_HAVE_ALL and compiler == "musl-gcc"
        else:
            has_failed |= report(compiler, check([compiler, "-D_GNU_SOURCE"], sources()))
    return has_failed


def check_foreign() -> bool:
    """Check the files that other systems have, by zig's C compiler; whether it warned."""
    if importlib.util.find_spec("ziglang") is None:
        print(f"compile_check: ziglang is not installed, {', '.join(TARGETS)} not checked")
        return MUST_HAVE_ALL
    has_failed = False
    for target, (system, macros) in TARGETS.items():
        names = [f"csrc/{name}" for name in ("procs.c", "members.c", f"os/{system}_procs.c")]
        compiler = [sys.executable, "-m", "ziglang", "cc", "-target", target, *macros]
        has_failed |= report(f"zig cc -target {target}", check(compiler, names))
    return has_failed


def main() -> int:
    """1 if a compiler warned, or one that has to be there is missing."""
    has_failed = check_native()
    return int(check_foreign() or has_failed)


if __name__ == "__main__":
    sys.exit(main())
