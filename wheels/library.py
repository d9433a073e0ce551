"""What must hold for the native library of a wheel: each check gives a sentence for what it finds wrong."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import Symbol, SymbolTableSection

import macho

INIT, PYPYS_INIT = "PyInit__native", "_cffi_pypyinit__native"
MACHO_OWN = {"__dso_handle", "_mh_dylib_header"}  # the linker's, which name no place in our code
LARGEST = 60_000  # bytes, compressed as in the wheel
OLDEST_MACOS = (11, 0)
# That musl 1.2.0 lacks and later ones have: musl's symbols have no versions for auditwheel to see. With another version
# of ziglang, which brings a musl of its own, look what is new in there.
NEW_IN_MUSL = {"_Fork", "gettid", "posix_getdents", "preadv2", "pthread_getname_np", "pwritev2", "qsort_r"}
NEW_IN_MUSL |= {"reallocarray", "renameat2", "statx", "tcgetwinsize", "tcsetwinsize"}
_BIND_NOW, _NOW = 0x8, 0x1  # in DT_FLAGS and DT_FLAGS_1
_EXECUTABLE = 0x1


def faults(data: bytes, init: str = INIT, platform: str = "") -> list[str]:
    """What is wrong with a library, given its bytes, the one name that it is to export, and its wheel's platform; [] if
    nothing is. That an ELF library is for that processor, auditwheel sees.
    """
    exported, found = _of_macho(data, platform) if data.startswith(macho.MAGIC) else _of_elf(data, platform)
    return [*_of_names(exported, init), *found, *_of_size(data)]


def _of_size(data: bytes) -> Iterator[str]:
    size = len(zlib.compress(data))
    if size >= LARGEST:
        yield f"takes {size} bytes in the wheel, not less than {LARGEST}"


def _of_names(exported: set[str], init: str) -> Iterator[str]:
    if init not in exported:
        yield f"does not export {init}"
    if more := sorted(exported - {init}):
        yield f"exports {', '.join(more)}"


def _of_macho(data: bytes, platform: str) -> tuple[set[str], Iterator[str]]:
    library = macho.read(data)
    return {name.removeprefix("_") for name in library.exported} - MACHO_OWN, _of_commands(library, platform)


def _of_commands(library: macho.Library, platform: str) -> Iterator[str]:
    if not platform.endswith(f"_{library.machine}"):
        yield f"is for {library.machine}"
    if others := library.needed - {"/usr/lib/libSystem.B.dylib"}:
        yield f"needs {', '.join(sorted(others))}"
    if library.has_rpath:
        yield "has an LC_RPATH"
    if not (0, 0) < library.minimum <= OLDEST_MACOS:
        yield f"is for macOS {'.'.join(map(str, library.minimum))} and later"


def _of_elf(data: bytes, platform: str) -> tuple[set[str], Iterator[str]]:
    elf = ELFFile(io.BytesIO(data))
    return _exported(elf), _of_sections(elf, platform)


def _of_sections(elf: ELFFile, platform: str) -> Iterator[str]:
    yield from _of_dynamic_section(elf)
    yield from _of_segments(elf)
    if platform.startswith("musllinux") and (newer := _imported(elf) & NEW_IN_MUSL):
        yield f"needs a newer musl than 1.2.0, for {', '.join(sorted(newer))}"
    if any(section.name.startswith(".debug") for section in elf.iter_sections()):
        yield "has debugging information, with the builder's directories"


def _symbols(elf: ELFFile) -> list[Symbol]:
    table = elf.get_section_by_name(".dynsym")
    return list(table.iter_symbols()) if isinstance(table, SymbolTableSection) else []


def _imported(elf: ELFFile) -> set[str]:
    """The symbols that others must define."""
    needed = (symbol for symbol in _symbols(elf) if symbol["st_info"]["bind"] != "STB_WEAK")
    return {symbol.name for symbol in needed if symbol["st_shndx"] == "SHN_UNDEF"}


def _exported(elf: ELFFile) -> set[str]:
    """The symbols that are defined here and seen from outside."""
    return {
        symbol.name
        for symbol in _symbols(elf)
        if symbol["st_shndx"] != "SHN_UNDEF"
        and symbol["st_info"]["bind"] != "STB_LOCAL"
        and symbol["st_other"]["visibility"] in ("STV_DEFAULT", "STV_PROTECTED")
    }


def _of_dynamic_section(elf: ELFFile) -> Iterator[str]:
    section = elf.get_section_by_name(".dynamic")
    tags = {tag.entry.d_tag: tag for tag in section.iter_tags()} if isinstance(section, DynamicSection) else {}
    for name in "DT_RUNPATH", "DT_RPATH":
        if name in tags:
            yield f"has a {name[3:]}, {getattr(tags[name], name[3:].lower())}"
    if "DT_TEXTREL" in tags:
        yield "relocates its code (TEXTREL)"
    flags = {name: tags[name].entry.d_val for name in ("DT_FLAGS", "DT_FLAGS_1") if name in tags}
    if not (flags.get("DT_FLAGS", 0) & _BIND_NOW or flags.get("DT_FLAGS_1", 0) & _NOW or "DT_BIND_NOW" in tags):
        yield "binds lazily: link it with -z now"


def _of_segments(elf: ELFFile) -> Iterator[str]:
    segments = {segment["p_type"]: segment for segment in elf.iter_segments()}
    if "PT_GNU_RELRO" not in segments:
        yield "has no RELRO: link it with -z relro"
    if "PT_GNU_STACK" not in segments or segments["PT_GNU_STACK"]["p_flags"] & _EXECUTABLE:
        yield "asks for an executable stack"
