"""What the workflows build and test, and that they are in order."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import versions

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ["cp310", "cp311", "cp312", "cp313", "cp314", "cp314t", "cp315", "cp315t"]
RELEASED = {
    ("linux", arch): {f"{python}-{libc}linux_{arch}" for python in PYTHONS for libc in ("many", "musl")}
    | {f"pp311-manylinux_{arch}"}
    for arch in ("x86_64", "aarch64")
}
# PyPy's for arm64 is built there only, and not named elsewhere.
RELEASED["macos", "arm64"] = {f"{python}-macosx_arm64" for python in PYTHONS}
RELEASED["macos", "x86_64"] = {f"{python}-macosx_x86_64" for python in PYTHONS} | {"pp311-macosx_x86_64"}


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="names differ by machine")
@pytest.mark.parametrize(("system", "archs"), RELEASED)
def test_cibuildwheel_builds_these(system: str, archs: str) -> None:
    if importlib.util.find_spec("cibuildwheel") is None:
        pytest.skip("cibuildwheel is not installed")
    result = subprocess.run(
        [sys.executable, "-m", "cibuildwheel", "--print-build-identifiers", "--platform", system],
        cwd=ROOT,
        env=os.environ | {"CIBW_ARCHS": archs},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(result.stdout.split()) == RELEASED[system, archs]


def test_each_has_its_runner() -> None:
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    found = re.findall(r"- runner: (\S+)\n +archs: (.*)\n", workflow)
    assert [("macos" if runner.startswith("macos") else "linux", archs) for runner, archs in found] == [*RELEASED]


def test_workflows_are_clean() -> None:
    zizmor = Path(sys.executable).with_name("zizmor")
    if not zizmor.exists():
        pytest.skip("zizmor is not installed")
    command = [str(zizmor), "--offline", "--persona", "pedantic", "--quiet", ".github/workflows"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_actions_are_pinned_by_commit() -> None:
    for workflow in ROOT.glob(".github/workflows/*.yml"):
        for line in re.findall(r"uses: .*", workflow.read_text()):
            assert re.fullmatch(r"uses: [\w./-]+@[0-9a-f]{40} # v[\d.]+", line), line


def test_ci_tests_each_python_that_is_named() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert versions.pythons(text) == [f"3.{minor}" for minor in range(10, 16)] + ["3.14t", "3.15t", "pypy3.11"]
    assert versions.runners(text) == ["ubuntu-24.04", "ubuntu-24.04-arm", "macos-15", "macos-15-intel"]


def test_a_classifier_less_is_a_python_less() -> None:
    text = (
        'classifiers = [\n    "Operating System :: POSIX :: Linux",\n    "Programming Language :: Python :: 3.12",\n]\n'
    )
    assert versions.pythons(text) == ["3.12"]
    assert versions.runners(text) == ["ubuntu-24.04", "ubuntu-24.04-arm"]


def test_classifiers_exist() -> None:
    known = pytest.importorskip("trove_classifiers").classifiers
    assert set(versions._classifiers((ROOT / "pyproject.toml").read_text())) - known == set()
