"""Debian sid in a directory of the cache, for the interpreters that this machine lacks.

What is mounted in it is so in a mount namespace of the command that is run there, and gone with it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

# Of the foreign processor's: qemu can't trace, so strace would be of no use.
FOREIGN_PACKAGES = ("python3.14", "python3.14-venv", "procps", "ca-certificates")
PACKAGES = (
    *("gcc", "libc6-dev", "libffi-dev", "binutils", "procps", "strace", "ca-certificates", "systemd"),
    *("bsdextrautils", "groff", "less", "tmux", "valgrind", "vim-tiny", "zsh"),
    *("python3.14", "python3.14-venv", "python3.14-dev", "python3.14-dbg", "libpython3.14-testsuite"),
    *("python3.15", "python3.15-venv", "python3.15-dev", "libpython3.15-testsuite"),
    *("pypy3", "pypy3-venv", "pypy3-dev", "pypy3-lib-testsuite", "qemu-user"),
)
# The temporary files are the host's.
_ENTER = """
root=$1 shared=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
"""
# Not chroot(2), which keeps a process from making user namespaces. The old root lies over the new one until it is gone.
_CHANGE_ROOT = """
cd "$root"
pivot_root . .
exec chroot . sh -ec 'umount -l .; exec "$@"' sh "$@"
"""
# Which program runs another processor's is the machine's setting, but each user namespace may have its own: so it is
# made here, with all users as they are, and gone with the last process. Only a process outside may write these maps.
# The flags: the emulator is opened now (F), since the chroot lacks it; it is told argv[0] (P); set-user-ID works (OC).
_EMULATE = """
was=$(readlink /proc/self/ns/user)
( (
    until test "$(readlink /proc/$$/ns/user)" != "$was"; do sleep 0.01; done
    for map in gid uid; do echo 0 0 4294967295 >/proc/$$/${map}_map || kill $$; done
) </dev/null >/dev/null 2>&1 & )
exec unshare --user sh -ec '
    until grep -q . /proc/self/uid_map; do sleep 0.01; done
    exec unshare --mount --propagation private sh -ec "$0" sh "$@"
' '
    rule=$1 root=$2; shift 2
    mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    printf %s "$rule" >/proc/sys/fs/binfmt_misc/register
    exec chroot "$root" "$@"
' "$rule" "$root" "$@"
"""
_MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"


def cache() -> Path:
    """The directory for what takes long to make."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "setsid"


def mirror() -> str:
    """The Debian mirror of this machine's apt sources. Raises LookupError if there is none."""
    for path in sorted(Path("/etc/apt").glob("sources.list*/*.sources")):
        if found := re.search(r"^URIs:\s*(\S+/debian)/?\s*$", path.read_text(), re.MULTILINE):
            return found[1]
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt").glob("sources.list.d/*.list"))]:
        if path.exists() and (found := re.search(r"^deb (?:\[.*?\] )?(\S+/debian)/? ", path.read_text(), re.MULTILINE)):
            return found[1]
    raise LookupError("no Debian mirror in this machine's apt sources")


def run(command: list[str], log: Path) -> None:
    """Run a command that writes into a log. Raises RuntimeError with its end."""
    with log.open("a") as file:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, check=False).returncode
    if code:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{command[0]} failed ({''.join(last)}); see {log}")


def enter(root: Path, emulator: Path | None = None) -> list[str]:
    """The command that runs another one in a chroot, which sees the temporary directory under the same path.

    `emulator` runs the programs of that chroot, which are AArch64's.
    """
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    if emulator is None:
        return [*shell, _ENTER + _CHANGE_ROOT, "sh", str(root), tempfile.gettempdir()]
    rule = f":setsid:M:0:{_MAGIC}:{_MASK}:{emulator}:OCPF"
    return [*shell, f"rule=$1; shift{_ENTER}{_EMULATE}", "sh", rule, str(root), tempfile.gettempdir()]


def lacking() -> str | None:
    """Why no chroot can be made here, or None."""
    if os.geteuid() != 0:
        return "a chroot takes root"
    if missing := [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]:
        return f"{', '.join(missing)} not installed"
    return None


def sid() -> Path:
    """The chroot for amd64 with all interpreters, made if it is not there. Raises RuntimeError, LookupError."""
    root, log, made = _begin("amd64", PACKAGES)
    if made:
        return root
    if not (root / "usr" / "bin" / "apt-get").exists():
        _debootstrap(root, log, "--variant=minbase")
    _copy_settings(root)
    # A mirror may stand still for longer than its lists say that they hold.
    apt = "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq -o Acquire::Check-Valid-Until=false; "
    apt += "apt-get install -qq --no-install-recommends "
    run([*enter(root), "sh", "-ec", apt + " ".join(PACKAGES)], log)
    _finish(root, PACKAGES)
    return root


def sid_arm64() -> tuple[Path, Path]:
    """The chroot for arm64, and the emulator that runs it: sid's, since 7.2 of Debian 12 gets tcgetsid wrong.

    Its packages are unpacked, not configured, which emulated takes minutes and wants device nodes: for Python it does.
    """
    emulator = sid() / "usr" / "bin" / "qemu-aarch64"
    root, log, made = _begin("arm64", FOREIGN_PACKAGES)
    if not made:
        options = ("--variant=minbase", "--arch=arm64", "--foreign", f"--include={','.join(FOREIGN_PACKAGES)}")
        _debootstrap(root, log, *options)
        for package in sorted((root / "var" / "cache" / "apt" / "archives").glob("*.deb")):
            run(["dpkg-deb", "--extract", str(package), str(root)], log)
        for name in ("passwd", "group"):
            shutil.copyfile(root / "usr" / "share" / "base-passwd" / f"{name}.master", root / "etc" / name)
        _finish(root, FOREIGN_PACKAGES)
    return root, emulator


def _begin(architecture: str, packages: tuple[str, ...]) -> tuple[Path, Path, bool]:
    """The chroot, the log, and whether it is made already. Raises RuntimeError."""
    root = cache() / f"sid-{architecture}"
    note = root / "etc" / "setsid-made"
    is_made = note.exists() and note.read_text() == " ".join(packages)
    if not is_made and (reason := lacking()):
        raise RuntimeError(reason)
    cache().mkdir(parents=True, exist_ok=True)
    return root, cache() / f"sid-{architecture}.log", is_made


def _debootstrap(root: Path, log: Path, *options: str) -> None:
    shutil.rmtree(root, ignore_errors=True)
    # In a namespace of its own, so that what it mounts there is gone with it.
    private = ["unshare", "--mount", "--propagation", "private"]
    run([*private, "debootstrap", *options, "sid", str(root), mirror()], log)


def _finish(root: Path, packages: tuple[str, ...]) -> None:
    _copy_settings(root)
    (root / "etc" / "setsid-made").write_text(" ".join(packages))


def _copy_settings(root: Path) -> None:
    """How this machine reaches the world: its resolver, certificates and pip's configuration."""
    settings = ["/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"]
    settings.append(str(Path.home() / ".config/pip/pip.conf"))
    for name in settings:
        if Path(name).exists():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
