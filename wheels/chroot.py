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

PACKAGES = (
    *("gcc", "libc6-dev", "libffi-dev", "binutils", "procps", "strace", "ca-certificates"),
    *("python3.14", "python3.14-venv", "python3.14-dev", "python3.14-dbg"),
    *("python3.15", "python3.15-venv", "python3.15-dev"),
    *("pypy3", "pypy3-venv", "pypy3-dev", "qemu-user"),
)
# A mount point for its root, which programs want that change how mounts spread; the temporary files are the host's.
_ENTER = """
root=$1 shared=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
exec chroot "$root" "$@"
"""


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


def enter(root: Path) -> list[str]:
    """The command that runs another one in a chroot, which sees the temporary directory under the same path."""
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _ENTER, "sh"]
    return [*shell, str(root), tempfile.gettempdir()]


def lacking() -> str | None:
    """Why no chroot can be made here, or None."""
    if os.geteuid() != 0:
        return "a chroot takes root"
    if missing := [name for name in ("debootstrap", "unshare", "chroot") if shutil.which(name) is None]:
        return f"{', '.join(missing)} not installed"
    return None


def sid() -> Path:
    """The chroot for amd64 with all interpreters, made if it is not there. Raises RuntimeError, LookupError."""
    root = cache() / "sid-amd64"
    made = root / "etc" / "setsid-made"
    if made.exists() and made.read_text() == " ".join(PACKAGES):
        return root
    if reason := lacking():
        raise RuntimeError(reason)
    cache().mkdir(parents=True, exist_ok=True)
    log = cache() / "sid-amd64.log"
    if not (root / "usr" / "bin" / "apt-get").exists():
        shutil.rmtree(root, ignore_errors=True)
        # In a namespace of its own, so that what it mounts there is gone with it.
        private = ["unshare", "--mount", "--propagation", "private"]
        run([*private, "debootstrap", "--variant=minbase", "sid", str(root), mirror()], log)
    _copy_settings(root)
    # A mirror may stand still for longer than its lists say that they hold.
    apt = "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq -o Acquire::Check-Valid-Until=false; "
    apt += "apt-get install -qq --no-install-recommends "
    run([*enter(root), "sh", "-ec", apt + " ".join(PACKAGES)], log)
    _copy_settings(root)
    made.write_text(" ".join(PACKAGES))
    return root


def _copy_settings(root: Path) -> None:
    """How this machine reaches the world: its resolver, certificates and pip's configuration."""
    settings = ["/etc/resolv.conf", "/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf"]
    settings.append(str(Path.home() / ".config/pip/pip.conf"))
    for name in settings:
        if Path(name).exists():
            target = root / name.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, target)
