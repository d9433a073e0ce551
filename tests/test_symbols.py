"""What runs between fork and exec calls async-signal-safe functions only: the symbols of its objects say so."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import ffibuild
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHILD = ROOT / "csrc" / "child"

# The table of signal-safety(7), POSIX.1-2001 to 2017.
POSIX = set(
    re.findall(
        r"\w+",
        """
    _Exit _exit abort accept access aio_error aio_return aio_suspend alarm bind cfgetispeed cfgetospeed cfsetispeed
    cfsetospeed chdir chmod chown clock_gettime close connect creat dup dup2 execl execle execv execve faccessat fchdir
    fchmod fchmodat fchown fchownat fcntl fdatasync fexecve ffs fork fstat fstatat fsync ftruncate futimens getegid
    geteuid getgid getgroups getpeername getpgrp getpid getppid getsockname getsockopt getuid htonl htons kill link
    linkat listen longjmp lseek lstat memccpy memchr memcmp memcpy memmove memset mkdir mkdirat mkfifo mkfifoat mknod
    mknodat ntohl ntohs open openat pause pipe poll posix_trace_event pselect pthread_kill pthread_self pthread_sigmask
    raise read readlink readlinkat recv recvfrom recvmsg rename renameat rmdir select sem_post send sendmsg sendto
    setgid setpgid setsid setsockopt setuid shutdown sigaction sigaddset sigdelset sigemptyset sigfillset sigismember
    siglongjmp signal sigpause sigpending sigprocmask sigqueue sigset sigsuspend sleep sockatmark socket socketpair stat
    stpcpy stpncpy strcat strchr strcmp strcpy strcspn strlen strncat strncmp strncpy strnlen strpbrk strrchr strspn
    strstr strtok_r symlink symlinkat tcdrain tcflow tcflush tcgetattr tcgetpgrp tcsendbreak tcsetattr tcsetpgrp time
    timer_getoverrun timer_gettime timer_settime times umask uname unlink unlinkat utime utimensat utimes wait waitpid
    wcpcpy wcpncpy wcscat wcschr wcscmp wcscpy wcscspn wcslen wcsncat wcsncmp wcsncpy wcsnlen wcspbrk wcsrchr wcsspn
    wcsstr wcstok wmemchr wmemcmp wmemcpy wmemmove wmemset write
        """,
    )
)

# Whom the package is built for elsewhere, by zig's names.
TARGETS = {"aarch64-macos.11.0": "darwin", "x86_64-macos.11.0": "darwin", "x86_64-freebsd": "freebsd"}


def sources(system: str = ffibuild.SYSTEM) -> list[Path]:
    """The child's files of a system, as the builder picks them."""
    names = ffibuild.PORTABLE_FILES + ffibuild.PLATFORM_FILES[system]
    return sorted(ROOT / "csrc" / name for name in names if name.startswith("child/"))


SOURCES = sources()

# What distributions and developers build with, besides the package's own flags.
FLAGS = {
    "O0": ["-O0"],
    "O3": ["-O3"],
    "stack protector": ["-O2", "-fstack-protector-all"],
    "fortified": ["-O2", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"],
    "large files": ["-O2", "-D_FILE_OFFSET_BITS=64", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"],
}


LISTS = {"linux": ["allowed.txt"], "darwin": ["allowed.txt", "allowed_bsd.txt"]}
LISTS["freebsd"] = LISTS["darwin"]


def allowed_lines(system: str = ffibuild.SYSTEM) -> list[tuple[str, str]]:
    """(symbol, reason) of each line of a system's lists."""
    lines = [line for name in LISTS[system] for line in (CHILD / name).read_text().splitlines()]
    entries = [line.partition("#") for line in lines if line.strip() and not line.startswith("#")]
    return [(symbol.strip(), reason.strip()) for symbol, _, reason in entries]


def symbols(nm: str, objects: Iterable[Path], kind: str) -> set[str]:
    """The undefined ("-u") or defined ("--defined-only") symbols of object files, under their plain C names."""
    command = [nm, "-P", kind, *map(str, objects)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [re.split(r"[@$]", line)[0].split()[0] for line in lines if re.match(r"\S+ [A-Za-z]", line)]
    return {name.removeprefix("_") if sys.platform == "darwin" else name for name in names}


def mach_o_symbols(objects: Iterable[Path]) -> tuple[set[str], set[str]]:
    """The undefined and the defined symbols of macOS's object files, likewise: other systems' nm can't read them."""
    undefined: set[str] = set()
    defined: set[str] = set()
    for path in objects:
        data = path.read_bytes()
        magic, _, _, kind, command_count = struct.unpack_from("<5I", data)
        assert (magic, kind) == (0xFEEDFACF, 1), f"{path} is no object file of 64 bits"
        at = 32
        for _ in range(command_count):
            command, size, table, count, strings, _ = struct.unpack_from("<6I", data, at)
            at += size
            for row in range(count if command == 2 else 0):  # LC_SYMTAB
                name, which, _, _, value = struct.unpack_from("<IBBHQ", data, table + 16 * row)
                begin = strings + name
                text = data[begin : data.index(b"\0", begin)].decode()
                if which & 0xE0 == 0:  # it is not for debuggers
                    is_undefined = which & 0x0E == 0 and value == 0
                    (undefined if is_undefined else defined).add(text.removeprefix("_").split("$")[0])
    return undefined, defined


def not_allowed(nm: str, objects: list[Path], system: str = ffibuild.SYSTEM) -> set[str]:
    """The symbols that the objects need from elsewhere and that the system's lists don't have."""
    if system == "darwin" != ffibuild.SYSTEM:
        undefined, own = mach_o_symbols(objects)
    else:
        undefined, own = symbols(nm, objects, "-u"), symbols(nm, objects, "--defined-only")
    assert {"execve", "sidch_main"} <= undefined | own, f"nothing was seen in {objects}"
    return undefined - own - {symbol for symbol, _ in allowed_lines(system)}


def compiled(compiler: str, into: Path, sources: Iterable[Path], flags: list[str]) -> list[Path]:
    """Objects of `sources`."""
    objects = []
    for source in sources:
        objects.append(into / f"{source.stem}.o")
        command = [compiler, "-std=c11", "-D_GNU_SOURCE", "-fPIC", f"-I{CHILD}", *flags]
        subprocess.run([*command, "-c", str(source), "-o", str(objects[-1])], check=True)
    return objects


def shipped_objects() -> list[Path]:
    """The child's objects that the newest build of the package left in build/."""
    builds = sorted((ROOT / "build").glob("temp.*/csrc/child"), key=lambda path: path.stat().st_mtime)
    assert builds, f"no objects in {ROOT / 'build'}: build the package with `make test`"
    return sorted(builds[-1].glob("*.o"))


def test_every_source_of_the_child_has_been_shipped() -> None:
    assert [path.stem for path in SOURCES] == [path.stem for path in shipped_objects()]


def test_the_shipped_objects_need_only_allowed_symbols(need: Callable[..., str]) -> None:
    assert not_allowed(need("nm"), shipped_objects()) == set()


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS.keys())
@pytest.mark.parametrize("compiler", ["cc", "musl-gcc"])
def test_other_builds_need_only_allowed_symbols(
    compiler: str, flags: list[str], need: Callable[..., str], tmp_path: Path
) -> None:
    objects = compiled(need(compiler), tmp_path, SOURCES, flags)
    assert not_allowed(need("nm"), objects) == set()


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], None]:
    """Compiles the child's files for a target into a directory, each by itself: of several zig takes the first."""
    pytest.importorskip("ziglang")
    cache = str(tmp_path_factory.mktemp("zig"))
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}

    def compile_for(target: str, into: Path) -> None:
        system = TARGETS[target]
        command = [sys.executable, "-m", "ziglang", "cc", "-target", target, "-std=c11", "-O2", "-fPIC", "-g0"]
        command += [f"-D{name}" for name in ffibuild.MACROS[system]]
        for source in sources(system):
            subprocess.run([*command, "-c", str(source)], cwd=into, env=environment, check=True)

    return compile_for


@pytest.mark.parametrize("target", TARGETS)
def test_the_objects_of_other_systems_need_only_allowed_symbols(
    target: str, zig: Callable[[str, Path], None], need: Callable[..., str], tmp_path: Path
) -> None:
    zig(target, tmp_path)
    objects = sorted(tmp_path.glob("*.o"))
    assert len(objects) == len(sources(TARGETS[target]))
    assert not_allowed(need("nm"), objects, TARGETS[target]) == set()


@pytest.mark.parametrize(
    ("symbol", "header", "call"),
    [
        ("malloc", "stdlib.h", "return malloc(state->cwd_fd) ? 0 : -1"),
        ("printf", "stdio.h", 'return printf("%d", state->cwd_fd)'),
        ("localtime", "time.h", "return localtime(&(time_t){state->cwd_fd})->tm_sec"),
        ("pthread_mutex_lock", "pthread.h", "return pthread_mutex_lock((pthread_mutex_t *)state)"),
        ("sid_setsid", "unistd.h", "return sid_setsid()"),
    ],
)
def test_a_step_that_calls_something_else_is_caught(
    symbol: str, header: str, call: str, need: Callable[..., str], tmp_path: Path
) -> None:
    step = tmp_path / "step.c"
    step.write_text(
        f'#include <{header}>\n#include "child.h"\nint sidch_step(struct sidch_state *state)\n{{\n    {call};\n}}\n'
    )
    objects = compiled(need("cc"), tmp_path, [*SOURCES, step], ["-O2", "-fvisibility=hidden"])
    assert not_allowed(need("nm"), objects) == {symbol}


def test_each_symbol_that_posix_does_not_list_has_a_reason() -> None:
    assert [symbol for symbol, reason in allowed_lines("freebsd") if symbol not in POSIX and not reason] == []


def test_no_symbol_is_allowed_twice() -> None:
    names = [symbol for symbol, _ in allowed_lines("freebsd")]
    assert sorted(set(names)) == sorted(names)
