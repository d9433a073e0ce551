"""Free-threaded CPython, which Debian has no package of, built from sid's source package in sid's chroot."""

from __future__ import annotations

from pathlib import Path

from chroot import cache, enter, mirror, run

# ssl and zlib are for pip, ctypes and readline for the tests.
_BUILD = """
export DEBIAN_FRONTEND=noninteractive
echo "deb-src $2 sid main" >/etc/apt/sources.list.d/sources.list
apt-get update -qq -o Acquire::Check-Valid-Until=false
apt-get install -qq --no-install-recommends make xz-utils libffi-dev libreadline-dev libssl-dev zlib1g-dev
mkdir -p "/opt/source$1"
cd "/opt/source$1"
apt-get source -qq --download-only "python$1"
tar -xf python$1_*.orig.tar.* --strip-components=1
./configure --disable-gil --disable-test-modules --prefix="/opt/python$1t"
make -j2
make altinstall
rm -r "/opt/source$1"
touch "/opt/python$1t/made"
"""


def python(root: Path, version: str) -> str:
    """Its path in sid's chroot, made if it is not there. Raises RuntimeError, LookupError."""
    prefix = f"/opt/python{version}t"
    if not (root / prefix[1:] / "made").exists():
        build = ["sh", "-ec", _BUILD, "sh", version, mirror()]
        run([*enter(root), *build], cache() / f"python{version}t.log")
    return f"{prefix}/bin/python{version}t"
