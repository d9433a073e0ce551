"""The cffi builder: reads sid.cdef.h and picks the platform's files and flags, nothing else."""

import sys
import sysconfig
from pathlib import Path

from cffi import FFI

HERE = Path(__file__).resolve().parent
_NAME = sysconfig.get_platform().partition("-")[0]  # of what is built for, which a cross build says
SYSTEM = {"macosx": "darwin"}.get(_NAME, _NAME)
BSD_FILES = [
    "os/bsd.c",
    "os/bsd_start.c",
    "os/bsd_kqueue.c",
    "os/bsd_procs.c",
    "os/bsd_pty.c",
    "os/lock.c",
    "os/group.c",
    "child/os_bsd.c",
]
PLATFORM_FILES = {
    "linux": [
        "os/linux.c",
        "os/linux_clone.c",
        "os/linux_procs.c",
        "os/linux_pty.c",
        "os/lock.c",
        "os/group.c",
        "child/os_linux.c",
    ],
    "darwin": [*BSD_FILES, "os/darwin.c", "os/darwin_procs.c", "child/os_darwin.c"],
    "freebsd": [*BSD_FILES, "os/freebsd.c", "os/freebsd_procs.c", "child/os_freebsd.c"],
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
    "os/usage.c",
    "child/run.c",
    "child/middle.c",
    "child/session.c",
    "child/fds.c",
    "child/limits.c",
    "child/credentials.c",
    "child/signals.c",
    "child/exec.c",
]
# What makes all functions of a system visible: on FreeBSD, to ask for no standard.
# On 32 bits the kernel's OFD locks are of 64 bits, whatever struct flock is.
MACROS = {"linux": ["_GNU_SOURCE", "_FILE_OFFSET_BITS=64"], "darwin": ["_DARWIN_C_SOURCE"], "freebsd": []}
# What debuggers read has the builder's directories in it, and no two builds would be the same.
COMPILE = ["-std=c11", "-O2", "-g0", "-fvisibility=hidden", "-pthread"]
COMPILE_ON = {
    # The child's stack is larger than a guard page: no thread that is low on stack may step over it unseen.
    "linux": ["-fstack-clash-protection"],
    "darwin": [],
    "freebsd": [],
}
# Lazy binding would run the dynamic linker, with its locks, in the child, which may share our memory on Linux. For
# macOS zig has no such flag; fork sees to the locks there.
BIND_NOW = ["-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack"]
LINK_ON = {"linux": BIND_NOW, "darwin": [], "freebsd": BIND_NOW}

if SYSTEM not in PLATFORM_FILES:
    sys.exit(f"setsid: there is no C core for {SYSTEM} yet (there is one for {', '.join(PLATFORM_FILES)})")
# PyPy has no limited API; that of free-threaded CPython begins with 3.15, and the wheel for it would be taken by all of
# 3.15. The number is 3.10's: cffi would define Py_LIMITED_API bare, which means 3.2.
ABI3 = sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
LIMITED_API = [("Py_LIMITED_API", "0x030A0000")] if ABI3 else []
_PARTS = [macro.partition("=") for macro in MACROS[SYSTEM]]

ffibuilder = FFI()
ffibuilder.cdef((HERE / "sid.cdef.h").read_text())
ffibuilder.set_source(
    "setsid._native",
    '#include "sid.h"',
    sources=[f"csrc/{name}" for name in PORTABLE_FILES + PLATFORM_FILES[SYSTEM]],
    include_dirs=["csrc"],
    depends=[str(path.relative_to(HERE.parent)) for path in sorted(HERE.rglob("*.h"))],
    define_macros=[*LIMITED_API, *((name, value or None) for name, _, value in _PARTS)],
    extra_compile_args=[*COMPILE, *COMPILE_ON[SYSTEM]],
    extra_link_args=[*LINK_ON[SYSTEM], "-pthread"],
    py_limited_api=ABI3,
)
