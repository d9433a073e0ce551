"""The audit of wheels refuses each fault that it is there for."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if importlib.util.find_spec("elftools") is None or importlib.util.find_spec("abi3audit") is None:
    pytest.skip("the group `wheels` is not installed", allow_module_level=True)

import audit
import library

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="makes ELF libraries by cc")
MACHINE = os.uname().machine
INIT = '__attribute__((visibility("default"))) void *PyInit__native(void) { return 0; }\n'
GOOD = ["-fvisibility=hidden", "-g0", "-Wl,-z,now", "-Wl,-z,relro", "-Wl,-z,noexecstack"]
Make = Callable[..., bytes]


@pytest.fixture
def make(tmp_path: Path, need: Callable[..., str]) -> Make:
    """make(code, flag, ...): a library's bytes."""

    def compile_(code: str, *flags: str) -> bytes:
        source, result = tmp_path / "made.c", tmp_path / "made.so"
        source.write_text(code)
        command = [need("cc"), "-shared", "-fPIC", *GOOD, *flags, str(source), "-o", str(result)]
        subprocess.run(command, check=True)
        return result.read_bytes()

    return compile_


@pytest.fixture(scope="module")
def zig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Zig's C compiler; what it keeps for the next time goes with the tests."""
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is not installed")
    cache = str(tmp_path_factory.mktemp("zig"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZIG_GLOBAL_CACHE_DIR", cache)
        patch.setenv("ZIG_LOCAL_CACHE_DIR", cache)
        yield [sys.executable, "-m", "ziglang", "cc"]


def wheel(
    directory: Path, data: bytes, tags: str = f"cp310-abi3-manylinux_2_17_{MACHINE}", name: str = "_native.abi3.so"
) -> Path:
    """A wheel with nothing but a native library."""
    path = directory / f"setsid-0-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"setsid/{name}", data)
        archive.writestr("setsid-0.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tags}\n")
        archive.writestr("setsid-0.dist-info/METADATA", "Metadata-Version: 2.1\nName: setsid\nVersion: 0\n")
        archive.writestr("setsid-0.dist-info/RECORD", f"setsid/{name},,\n")  # auditwheel reads what is listed
    return path


def test_a_good_library_has_no_fault(make: Make) -> None:
    assert library.faults(make(INIT)) == []


def test_a_library_for_pypy_exports_its_init_alone(make: Make, tmp_path: Path) -> None:
    data = make(INIT.replace("PyInit_", "_cffi_pypyinit_"))
    path = wheel(tmp_path, data, f"pp311-pypy311_pp73-manylinux_2_17_{MACHINE}", "_native.pypy311-pp73.so")
    assert audit.library_faults(path) == []
    assert library.faults(data)[0] == "does not export PyInit__native"


def test_a_library_for_musl_needs_no_newer_one_than_its_wheel_says(make: Make) -> None:
    uses = "int gettid(void); {} int qsort_r(void); int sidh_thread(void) {{ return gettid() + (qsort_r ? 1 : 0); }}\n"
    data = make(uses.format("__attribute__((weak))") + INIT)
    [fault] = library.faults(data, platform=f"musllinux_1_2_{MACHINE}")
    assert fault == "needs a newer musl than 1.2.0, for gettid"
    assert library.faults(data, platform=f"manylinux_2_30_{MACHINE}") == []


@pytest.mark.parametrize(
    ("code", "flags", "fault"),
    [
        (INIT, ["-Wl,-rpath,/somewhere", "-Wl,--enable-new-dtags"], "has a RUNPATH, /somewhere"),
        (INIT, ["-Wl,-rpath,/somewhere", "-Wl,--disable-new-dtags"], "has a RPATH, /somewhere"),
        (INIT + "void sid_leaked(void) {}", ["-fvisibility=default"], "exports sid_leaked"),
        ("int none;", [], "does not export PyInit__native"),
        (INIT, ["-Wl,-z,execstack"], "asks for an executable stack"),
        (INIT, ["-Wl,-z,lazy"], "binds lazily: link it with -z now"),
        (INIT, ["-Wl,-z,norelro"], "has no RELRO: link it with -z relro"),
        (INIT, ["-g"], "has debugging information, with the builder's directories"),
    ],
)
def test_a_fault_is_seen(make: Make, code: str, flags: list[str], fault: str) -> None:
    assert library.faults(make(code, *flags)) == [fault]


@pytest.mark.parametrize(
    ("code", "flags", "faults"),
    [
        (INIT, [], []),
        (INIT, ["-Wl,-rpath,/somewhere"], ["has an LC_RPATH"]),
        (INIT + "void sid_leaked(void) {}", ["-fvisibility=default"], ["exports sid_leaked"]),
        ("int none;", [], ["does not export PyInit__native"]),
        (INIT, ["-target", "aarch64-macos.13.0"], ["is for macOS 13.0 and later"]),
        (INIT, ["-target", "x86_64-macos.11.0"], ["is for x86_64"]),
    ],
)
def test_a_fault_of_a_macos_library_is_seen(
    tmp_path: Path, zig: list[str], code: str, flags: list[str], faults: list[str]
) -> None:
    result = make_macos(zig, tmp_path / "made.dylib", code, *flags)
    assert library.faults(result.read_bytes(), platform="macosx_11_0_arm64") == faults


def make_macos(zig: list[str], path: Path, code: str, *flags: str) -> Path:
    """A library for macOS."""
    source = path.with_suffix(".c")
    source.write_text(code)
    compiler = [*zig, "-target", "aarch64-macos.11.0", "-shared", "-nostdlib", "-fvisibility=hidden", "-g0"]
    subprocess.run([*compiler, str(source), *flags, "-o", str(path)], check=True)
    return path


def test_a_macos_library_that_needs_another_is_refused(tmp_path: Path, zig: list[str]) -> None:
    visible = '__attribute__((visibility("default"))) int other;\n'
    other = make_macos(zig, tmp_path / "other.dylib", visible, "-Wl,-install_name,/there/other.dylib")
    code = "extern int other;\n" + INIT.replace("return 0", "return &other")
    data = make_macos(zig, tmp_path / "made.dylib", code, str(other)).read_bytes()
    assert library.faults(data, platform="macosx_11_0_arm64") == ["needs /there/other.dylib"]


def test_a_large_library_is_refused(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "LARGEST", 100)
    [fault] = library.faults(make(INIT))
    assert fault.endswith("bytes in the wheel, not less than 100")


def test_the_command_fails_for_a_bad_wheel_and_for_none(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = wheel(tmp_path, make(INIT, "-Wl,-z,lazy"))
    assert audit.main([str(bad)]) == 1
    assert "binds lazily" in capsys.readouterr().out
    assert audit.main([]) == 1


def test_a_good_wheel_has_no_fault(make: Make, tmp_path: Path) -> None:
    code = "extern void *PyLong_FromLong(long);\n" + INIT.replace("return 0", "return PyLong_FromLong(1)")
    assert audit.faults(wheel(tmp_path, make(code))) == []


def test_a_newer_function_of_python_is_refused(make: Make, tmp_path: Path) -> None:
    code = "extern int PyDict_GetItemRef(void);\n" + INIT.replace("return 0", "return PyDict_GetItemRef() ? 0 : 0")
    [fault] = audit.abi3_faults(wheel(tmp_path, make(code)))
    assert "PyDict_GetItemRef" in fault


def test_a_newer_function_of_libc_is_refused(make: Make, tmp_path: Path) -> None:
    code = "#include <sys/mman.h>\n" + INIT.replace("return 0", 'return (void *)(long)memfd_create("", 0)')
    [fault] = audit.platform_faults(wheel(tmp_path, make(code, "-D_GNU_SOURCE")))
    assert f'platform tag: "manylinux_2_27_{MACHINE}"' in fault


def test_a_wheel_that_was_not_repaired_is_refused(make: Make, tmp_path: Path) -> None:
    path = wheel(tmp_path, make(INIT), f"cp310-abi3-linux_{MACHINE}")
    assert audit.platform_faults(path) == [f"is for linux_{MACHINE}: not repaired?"]


def test_a_wheel_of_another_libc_is_refused(make: Make, tmp_path: Path) -> None:
    code = "extern void abort(void);\n" + INIT.replace("return 0", "abort(); return 0")
    path = wheel(tmp_path, make(code), f"cp310-abi3-musllinux_1_2_{MACHINE}")
    [fault] = audit.platform_faults(path)
    assert fault.startswith("auditwheel:")


def test_tag_and_library_agree(make: Make, tmp_path: Path) -> None:
    path = wheel(tmp_path, make(INIT), f"cp314-cp314t-manylinux_2_17_{MACHINE}")
    assert audit.library_faults(path) == ["bears the tag cp314t, but has setsid/_native.abi3.so"]


@pytest.mark.parametrize("tags", ["cp310-cp310", "py3-none", "cp310-abi3.abi3t", "cp315-abi3"])
def test_a_wheel_for_another_python_than_those_of_ours_is_refused(make: Make, tmp_path: Path, tags: str) -> None:
    path = wheel(tmp_path, make(INIT), f"{tags}-manylinux_2_17_{MACHINE}")
    assert any("which none of ours is for" in fault or "says inside" in fault for fault in audit.tag_faults(path))


def test_a_wheel_that_says_something_else_inside_is_refused(make: Make, tmp_path: Path) -> None:
    path = wheel(tmp_path, make(INIT))
    path = path.rename(path.with_name(path.name.replace("2_17", "2_28")))
    assert audit.tag_faults(path) == [f"says inside that it is for cp310-abi3-manylinux_2_17_{MACHINE}"]


def test_all_platforms_of_a_name_must_be_true(make: Make, tmp_path: Path) -> None:
    code = "#include <sys/mman.h>\n" + INIT.replace("return 0", 'return (void *)(long)memfd_create("", 0)')
    path = wheel(tmp_path, make(code, "-D_GNU_SOURCE"))
    new, old = f"manylinux_2_27_{MACHINE}", f"manylinux2014_{MACHINE}.manylinux_2_27_{MACHINE}"
    assert audit.platform_faults(path.rename(tmp_path / f"setsid-0-cp310-abi3-{new}.whl")) == []
    assert (
        audit.platform_faults(
            (tmp_path / f"setsid-0-cp310-abi3-{new}.whl").rename(tmp_path / f"setsid-0-cp310-abi3-{old}.whl")
        )
        != []
    )


def test_what_can_not_be_read_is_a_fault_and_the_next_is_audited(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad").mkdir()
    good = "extern void *PyLong_FromLong(long);\n" + INIT.replace("return 0", "return PyLong_FromLong(1)")
    assert audit.main([str(wheel(tmp_path / "bad", b"no library")), str(wheel(tmp_path, make(good)))]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert "can't be audited: ELFError" in first
    assert second.endswith(": no faults")
