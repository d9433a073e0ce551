"""CPython on musl, built from Debian's source package by musl-gcc, in the cache."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from chroot import cache, mirror, run

# The newest Python that the release has a source package of; zlib, which pip needs, and libffi, for ctypes, are linked
# into it. glibc's directory of headers comes last, for those of the kernel.
_BUILD = """
cd "$1"
mkdir -p lists/partial archives/partial libs
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $2 $3 main" >sources
apt="-qq -o Dir::Etc::SourceList=$1/sources -o Dir::Etc::SourceParts=- -o Dir::State::Lists=$1/lists"
apt="$apt -o Dir::Cache=$1 -o APT::Sandbox::User=root -o Acquire::Check-Valid-Until=false"
apt-get $apt update
for minor in 14 13 12 11; do
    if apt-get $apt source --download-only python3.$minor; then break; fi
done
apt-get $apt source --download-only zlib libffi
# musl-gcc names glibc's triplet where it is asked, and Python's configure wants the right one.
cat >cc <<EOF
#!/bin/sh
case "\\$*" in *-print-multiarch*) exec echo $(uname -m)-linux-musl ;; esac
exec musl-gcc -idirafter /usr/include -idirafter /usr/include/$(cc -print-multiarch) "\\$@"
EOF
chmod +x cc
export CC="$1/cc" CFLAGS="-O2 -fPIC"
for name in zlib libffi python3; do
    rm -rf tree-$name
    mkdir tree-$name
    tar -xf ${name}*.orig.tar.* -C tree-$name --strip-components=1
done
(cd tree-zlib && ./configure --static --prefix="$1/libs" && make install)
(cd tree-libffi && ./configure --disable-shared --with-pic --disable-docs --disable-multi-os-directory \\
    --host="$(uname -m)-linux-musl" --prefix="$1/libs" && make install)
export PKG_CONFIG_LIBDIR="$1/libs/lib/pkgconfig" CPPFLAGS="-I$1/libs/include" LDFLAGS="-L$1/libs/lib"
cd tree-python3
./configure --prefix="$1/python" --disable-test-modules
make -j2
make altinstall
touch "$1/made"
"""


def python() -> Path:
    """The interpreter, made if it is not there. Raises RuntimeError, LookupError."""
    directory = cache() / "musl"
    if (directory / "made").exists():
        return next((directory / "python" / "bin").glob("python3.??"))
    missing = [name for name in ("musl-gcc", "apt-get", "make") if shutil.which(name) is None]
    if missing:
        raise RuntimeError(f"{', '.join(missing)} not installed")
    directory.mkdir(parents=True, exist_ok=True)
    suite = subprocess.run(
        ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"], capture_output=True, text=True, check=True
    ).stdout.strip()
    run(["sh", "-ec", _BUILD, "sh", str(directory), mirror(), suite], cache() / "musl.log")
    return next((directory / "python" / "bin").glob("python3.??"))
