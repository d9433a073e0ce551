"""What the audit asks of a Mach-O library: its processor, what it exports, which others it needs and where
it looks for them, and the oldest macOS for it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = b"\xcf\xfa\xed\xfe"  # 64 bits, little-endian
_HEADER = 32
_MACHINES = {0x01000007: "x86_64", 0x0100000C: "arm64"}
_LC_LOAD_DYLIB, _LC_LOAD_WEAK_DYLIB, _LC_REEXPORT_DYLIB = 0xC, 0x80000018, 0x8000001F
_LC_SYMTAB, _LC_RPATH, _LC_VERSION_MIN, _LC_BUILD_VERSION = 0x2, 0x8000001C, 0x24, 0x32
_N_STAB, _N_PEXT, _N_TYPE, _N_EXT = 0xE0, 0x10, 0x0E, 0x01


class Library(NamedTuple):
    """The answers."""

    machine: str
    exported: set[str]
    needed: set[str]
    has_rpath: bool
    minimum: tuple[int, int]


def _exported(data: bytes, command: int) -> set[str]:
    """The external symbols that are defined here and not private."""
    symbols, count, strings, _ = struct.unpack_from("<4I", data, command + 8)
    found = set()
    for number in range(count):
        name, kind = struct.unpack_from("<IB", data, symbols + 16 * number)
        if kind & _N_EXT and kind & _N_TYPE and not kind & (_N_STAB | _N_PEXT):
            start = strings + name
            found.add(data[start : data.index(b"\0", start)].decode())
    return found


def read(data: bytes) -> Library:
    """Read a thin 64-bit library; raises struct.error or ValueError for what is none."""
    if not data.startswith(MAGIC):
        raise ValueError("no Mach-O library of 64 bits")
    exported: set[str] = set()
    needed: set[str] = set()
    has_rpath, minimum, at = False, 0, _HEADER
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<2I", data, at)
        if command == _LC_SYMTAB:
            exported = _exported(data, at)
        elif command in (_LC_LOAD_DYLIB, _LC_LOAD_WEAK_DYLIB, _LC_REEXPORT_DYLIB):
            start = at + struct.unpack_from("<I", data, at + 8)[0]
            needed.add(data[start : data.index(b"\0", start)].decode())
        elif command == _LC_RPATH:
            has_rpath = True
        elif command == _LC_BUILD_VERSION:
            minimum = struct.unpack_from("<I", data, at + 12)[0]
        elif command == _LC_VERSION_MIN:
            minimum = struct.unpack_from("<I", data, at + 8)[0]
        at += size
    machine = _MACHINES[struct.unpack_from("<I", data, 4)[0]]
    return Library(machine, exported, needed, has_rpath, (minimum >> 16, minimum >> 8 & 0xFF))
