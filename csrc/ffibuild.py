"""The cffi builder: reads sid.cdef.h and picks the platform's files and flags, nothing else."""

import sys
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
PLATFORM_FILES = {
    "linux": [
        "os/linux.c",
        "os/linux_clone.c",
        "os/linux_procs.c",
        "os/linux_pty.c",
        "os/linux_lock.c",
        "child/os_linux.c",
    ],
}
PORTABLE_FILES = [
    "calls.c",
    "spawn.c",
    "fork.c",
    "apply.c",
    "job.c",
    "ways.c",
    "helper.c",
    "report.c",
    "detach.c",
    "vectors.c",
    "handle.c",
    "reap.c",
    "wait.c",
    "signal.c",
    "procs.c",
    "members.c",
    "pty.c",
    "foreground.c",
    "child/run.c",
    "child/middle.c",
    "child/session.c",
    "child/fds.c",
    "child/limits.c",
    "child/credentials.c",
    "child/signals.c",
    "child/exec.c",
]


def target_system() -> str:
    """The system that is built for, as sys.platform names it there: not always this one."""
    name = sysconfig.get_platform().partition("-")[0]  # _PYTHON_HOST_PLATFORM, where a cross build sets it
    return {"macosx": "darwin"}.get(name, name)


SYSTEM = target_system()
if SYSTEM not in PLATFORM_FILES:
    sys.exit(f"setsid: there is no C core for {SYSTEM} yet (there is one for {', '.join(PLATFORM_FILES)})")

# Lazy binding would run the dynamic linker, with its locks, in the child. On macOS all is bound at the start.
LINK_ARGS = [] if SYSTEM == "darwin" else ["-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack"]

ffibuilder = FFI()
ffibuilder.cdef((HERE / "sid.cdef.h").read_text())
ffibuilder.set_source(
    "setsid._native",
    '#include "sid.h"',
    sources=[f"csrc/{name}" for name in PORTABLE_FILES + PLATFORM_FILES[SYSTEM]],
    include_dirs=["csrc"],
    depends=[str(path.relative_to(HERE.parent)) for path in sorted(HERE.rglob("*.h"))],
    define_macros=[("_GNU_SOURCE", None)],
    # The child's stack is larger than a guard page: no thread that is low on stack may step over it unseen.
    # What debuggers read has the builder's directories in it, and no two builds would be the same.
    extra_compile_args=["-std=c11", "-O2", "-g0", "-fvisibility=hidden", "-fstack-clash-protection", "-pthread"],
    extra_link_args=[*LINK_ARGS, "-pthread"],
    py_limited_api=True,
)
