"""The C core without Python: the child's stack, the parent half under sanitizers and under valgrind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import ffibuild
import pytest

from support import WAYS

CSRC = Path(__file__).resolve().parents[1] / "csrc"
NATIVE = Path(__file__).resolve().parent / "native"
FILES = [CSRC / name for name in ffibuild.PORTABLE_FILES + ffibuild.PLATFORM_FILES[ffibuild.SYSTEM]]
CHILD = sorted(path for path in FILES if path.parent.name == "child")
PARENT = sorted(path for path in FILES if path.parent.name != "child")
FLAGS = ["-std=c11", "-D_GNU_SOURCE", "-g", f"-I{CSRC}"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-O1"]

STACK_SIZE = 16 * 1024  # SIDCH_STACK_SIZE
MOST_FRAMES = 4 * 1024  # of the child's functions together
WAY_NUMBERS = [0, *WAYS.values()]  # 0: as the probe finds
PROBED = [WAYS["clone3"], WAYS["clone"]]


def build(compiler: str, into: Path, name: str, flags: list[str], child_flags: list[str] | None = None) -> Path:
    """tests/native/NAME.c with the core. The child's files are built by themselves, as they are shipped."""
    objects = into / "child"
    objects.mkdir()
    command = [compiler, *FLAGS, *(child_flags or ["-O2", "-fvisibility=hidden"]), "-c", *map(str, CHILD)]
    subprocess.run(command, cwd=objects, check=True)
    sources = [NATIVE / f"{name}.c", *PARENT, *sorted(objects.glob("*.o"))]
    command = [compiler, *FLAGS, *flags, *map(str, sources), "-Wl,-z,now", "-o", str(into / name)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if "cannot find" in result.stderr and flags == SANITIZERS:
        pytest.skip("the compiler's sanitizer libraries are not installed")
    assert result.returncode == 0, result.stderr
    return into / name


def run(*command: str | Path | int) -> str:
    """What a program prints. It has to end well."""
    result = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, f"exit status {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture
def compiler(need: Callable[..., str]) -> str:
    return need("cc")


@pytest.mark.parametrize("optimisation", ["-O0", "-O2"])
def test_the_child_stays_far_from_the_end_of_its_stack(optimisation: str, compiler: str, tmp_path: Path) -> None:
    program = build(compiler, tmp_path, "stack", ["-O2"], [optimisation])
    peaks = {name: int(size) for name, size in (line.split() for line in run(program).splitlines())}
    print(peaks)
    frame = peaks.pop("signal_frame")  # what the kernel puts on the stack for a handler: the processor's registers
    assert set(peaks) == {"vm_close_range", "vm", "vm_stopped", "page", "page_stopped", "fork", "fork_stopped"}
    limits = {name: MOST_FRAMES + (frame if name.endswith("stopped") else 0) for name in peaks}
    assert {name: size for name, size in peaks.items() if size > limits[name]} == {}
    assert peaks["vm_stopped"] > peaks["vm_close_range"], "no handler ran on the stack"
    assert max(peaks.values()) <= (STACK_SIZE // 2 if frame <= MOST_FRAMES else STACK_SIZE - 1024)


@pytest.mark.parametrize("optimisation", ["-O0", "-O2", "-O3"])
def test_no_function_of_the_child_has_a_large_or_a_dynamic_frame(
    optimisation: str, compiler: str, tmp_path: Path
) -> None:
    flags = [*FLAGS, optimisation, "-fstack-usage", "-Wvla", "-Walloca", "-Wframe-larger-than=2048", "-Werror"]
    subprocess.run([compiler, *flags, "-c", *map(str, CHILD)], cwd=tmp_path, check=True)
    frames = [line.split("\t") for path in tmp_path.glob("*.su") for line in path.read_text().splitlines()]
    assert "sidch_main" in {where.split(":")[-1] for where, _, _ in frames}
    assert [frame for frame in frames if frame[2] != "static"] == []


@pytest.mark.parametrize("way", WAY_NUMBERS)
def test_the_parent_half_is_clean_under_sanitizers(way: int, sanitized: Path) -> None:
    assert int(run(sanitized, way)) in ([way] if way else PROBED)


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("cc", tmp_path_factory.mktemp("sanitized"), "spawn", SANITIZERS)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("cc", tmp_path_factory.mktemp("plain"), "spawn", ["-O1"])


@pytest.mark.parametrize("way", WAY_NUMBERS)
def test_programs_start_and_fail_without_python(way: int, plain: Path) -> None:
    assert int(run(plain, way)) in ([way] if way else PROBED)


def test_under_valgrind_errors_arrive_since_the_probe_sees_that_memory_is_not_shared(
    plain: Path, need: Callable[..., str]
) -> None:
    assert int(run(need("valgrind"), "-q", "--error-exitcode=9", plain, 0)) == WAYS["fork"]
