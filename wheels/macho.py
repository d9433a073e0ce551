"""What the audit asks of a Mach-O library: what it exports, where it looks for others, and the oldest macOS for it."""

from __future__ import annotations

import struct
from typing import NamedTuple

MAGIC = b"\xcf\xfa\xed\xfe"  # 64 bits, little-endian
_HEADER = 32
_LC_SYMTAB, _LC_RPATH, _LC_VERSION_MIN, _LC_BUILD_VERSION = 0x2, 0x8000001C, 0x24, 0x32
_N_STAB, _N_PEXT, _N_TYPE, _N_EXT = 0xE0, 0x10, 0x0E, 0x01


class Library(NamedTuple):
    """The answers."""

    exported: set[str]
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
    has_rpath, minimum, at = False, 0, _HEADER
    for _ in range(struct.unpack_from("<I", data, 16)[0]):
        command, size = struct.unpack_from("<2I", data, at)
        if command == _LC_SYMTAB:
            exported = _exported(data, at)
        elif command == _LC_RPATH:
            has_rpath = True
        elif command == _LC_BUILD_VERSION:
            minimum = struct.unpack_from("<I", data, at + 12)[0]
        elif command == _LC_VERSION_MIN:
            minimum = struct.unpack_from("<I", data, at + 8)[0]
        at += size
    return Library(exported, has_rpath, (minimum >> 16, minimum >> 8 & 0xFF))
