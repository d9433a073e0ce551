"""Compile the C core with every warning an error, by each C library's compiler that is here, and for other systems by
zig's, which links it too. Part of `make lint`.
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
# By zig's names, the system whose files they take. All is linked too, and but for libc's nothing may be missing, which
# is so for macOS without a flag.
TARGETS = {
    "aarch64-macos.11.0": ("darwin", []),
    "x86_64-macos.11.0": ("darwin", []),
    "x86_64-freebsd": ("freebsd", ["-Wl,-z,defs"]),
}

sys.path.insert(0, str(ROOT / "csrc"))
import ffibuild  # noqa: E402


def sources(system: str) -> list[str]:
    """The C files of a platform, as the builder picks them."""
    return [f"csrc/{name}" for name in ffibuild.PORTABLE_FILES + ffibuild.PLATFORM_FILES[system]]


def macros(system: str) -> list[str]:
    """The macros of a platform, likewise."""
    return [f"-D{name}" for name in ffibuild.MACROS[system]]


def largest_frame(name: str) -> int:
    """Bytes of stack that one function of a file may take."""
    if name == "csrc/os/linux_clone.c":
        return 33 * 1024  # the child's stack, on a boundary of its size
    return 2048


def check(compiler: list[str], names: list[str]) -> bool:
    """Whether `compiler` takes every file without a warning."""
    is_clean = True
    with tempfile.TemporaryDirectory() as directory:
        for name in names:
            command = [*compiler, "-std=c11", "-O2", "-Icsrc", *WARNINGS]
            command += [f"-Wframe-larger-than={largest_frame(name)}", "-c", name, "-o", f"{directory}/out.o"]
            is_clean &= subprocess.run(command, cwd=ROOT, check=False).returncode == 0
    return is_clean


def check_target(target: str, directory: str) -> bool:
    """Whether zig's compiler takes every file of a target without a warning, and links them."""
    system, defined = TARGETS[target]
    # Where zig would leave what it keeps for the next time.
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": directory, "ZIG_LOCAL_CACHE_DIR": directory}
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, *macros(system), "-std=c11", "-O2", "-fPIC"]
    command += ["-pthread", "-Icsrc", *WARNINGS, "-Wframe-larger-than=2048", *sources(system), "-shared", *defined]
    command += [*ffibuild.LINK_ON[system], "-o", f"{directory}/{target}.so"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


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
            has_failed |= MUST_HAVE_ALL and compiler != "clang"
        else:
            has_failed |= report(compiler, check([compiler, *macros(ffibuild.SYSTEM)], sources(ffibuild.SYSTEM)))
    return has_failed


def check_foreign() -> bool:
    """Check for the other systems, by zig's C compiler; whether it warned."""
    if importlib.util.find_spec("ziglang") is None:
        print(f"compile_check: ziglang is not installed, {', '.join(TARGETS)} not checked")
        return MUST_HAVE_ALL
    has_failed = False
    with tempfile.TemporaryDirectory() as directory:
        for target in TARGETS:
            has_failed |= report(f"zig cc -target {target}", check_target(target, directory))
    return has_failed


def main() -> int:
    """1 if a compiler warned, or one that has to be there is missing."""
    has_failed = check_native()
    return int(check_foreign() or has_failed)


if __name__ == "__main__":
    sys.exit(main())
