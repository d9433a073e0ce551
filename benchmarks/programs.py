"""The C programs that the benchmarks start, and the floor to measure against. Compiled when first asked for."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
CC = os.environ.get("CC", "cc")


@cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="setsid-bench-")


@cache
def program(name: str, *flags: str) -> str:
    """The path of c/`name`.c, compiled statically: the dynamic linker's time would hide what is measured."""
    path = os.path.join(_directory().name, name)
    source = HERE / "c" / f"{name}.c"
    done = subprocess.run([CC, "-O2", "-static", *flags, "-o", path, str(source)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"setsid: can't compile {source.name} statically (is libc's static library there?)\n{done.stderr}")
    return path


def bare() -> str:
    """A program without libc that only exits."""
    return program("exits_bare", "-nostdlib")


def with_libc() -> str:
    """A program with libc that only exits."""
    return program("exits_libc")


@cache
def floor() -> ctypes.CDLL:
    """floor.c: `floor_run(path)`."""
    path = os.path.join(_directory().name, "floor.so")
    subprocess.run([CC, "-O2", "-shared", "-fPIC", "-o", path, str(HERE / "floor.c")], check=True)
    return ctypes.CDLL(path)
