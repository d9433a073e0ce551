"""The C core, one abi3 wheel for CPython 3.10 and later, and archives that are the same whoever makes them. All else is
in pyproject.toml.
"""

import gzip
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time

from setuptools import setup
from setuptools.command.build_ext import build_ext
from setuptools.command.sdist import sdist

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "csrc"))
from ffibuild import ABI3


def without_rpath(flags: list[str]) -> list[str]:
    """The linker's flags but -Wl,-rpath,DIR and -Wl,--rpath=DIR; if DIR is a flag by itself, -Wl,DIR, without that."""
    kept: list[str] = []
    is_directory = False
    for flag in flags:
        is_rpath = re.match(r"-Wl,(?:--?rpath(?:[,=]|$)|-R)", flag) is not None
        if not is_rpath and not is_directory:
            kept.append(flag)
        is_directory = is_rpath and re.search(r"rpath$", flag) is not None
    return kept


class BuildExt(build_ext):
    """Says in a line what is missing."""

    def build_extensions(self) -> None:
        """Build all, unless something is missing."""
        compiler = self.compiler.compiler_so[0]
        if shutil.which(compiler) is None:
            sys.exit(f"setsid: no C compiler ({compiler}): install one (Debian: gcc), or use a wheel")
        if not self.has_header("stdlib.h"):
            sys.exit("setsid: the C library's headers are missing: install them (Debian: libc6-dev), or use a wheel")
        if not self.has_header("Python.h"):
            sys.exit("setsid: Python's headers are missing: install them (Debian: python3-dev), or use a wheel")
        # Python's own flags may hold the directory of its library, which is none of ours: we need libc alone.
        self.compiler.linker_so = without_rpath(self.compiler.linker_so)
        super().build_extensions()

    def has_header(self, name: str) -> bool:
        """Whether the compiler finds a header."""
        directories = [f"-I{directory}" for directory in self.compiler.include_dirs]
        command = [*self.compiler.compiler_so, *directories, "-E", "-x", "c", "-"]
        question = f"#if !__has_include(<{name}>)\n#error\n#endif\n".encode()
        return subprocess.run(command, input=question, capture_output=True, check=False).returncode == 0


class Sdist(sdist):
    """An archive in which nothing tells who made it, nor when if SOURCE_DATE_EPOCH is set."""

    def make_archive(self, base_name, format, root_dir=None, base_dir=None, owner=None, group=None):  # type: ignore # noqa: A002
        """Write the .tar.gz; setuptools' own has each file's time, and its owner, and the time of writing."""
        if format != "gztar":
            return super().make_archive(base_name, format, root_dir, base_dir, owner, group)
        moment = int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))

        def same(member: tarfile.TarInfo) -> tarfile.TarInfo:
            member.uid = member.gid = 0
            member.uname = member.gname = ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.mtime = moment
            return member

        name = f"{base_name}.tar.gz"
        with open(name, "wb") as file, gzip.GzipFile("", "wb", 9, file, moment) as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                archive.add(base_dir, filter=same)  # in the order of the names
        return name


os.umask(0o022)  # or the modes in the wheel would be the builder's
setup(
    cffi_modules=["csrc/ffibuild.py:ffibuilder"],
    cmdclass={"build_ext": BuildExt, "sdist": Sdist},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if ABI3 else {},
)
