"""What type checkers know of the package, as installed. The modules in tests/typing hold the expectations."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support import TESTS, fresh

VERSIONS = ["3.10", "3.13"]
IMPORT = "from setsid import subprocess\n"

# Names of setsid.subprocess whose stub differs from what stubtest sees, and why.
ON_PURPOSE = {
    "setsid.subprocess.Popen.__init__": "the stub takes a TypedDict, into which stubtest does not look; dropin.py does",
}


def need_module(name: str) -> None:
    """Skip, by its name, what can't be checked without it."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def check(*command: str, cwd: Path) -> None:
    """Run a module of this Python, which must find nothing. None of the project's own settings are seen there."""
    environ = {name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}
    environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"
    result = subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"


@pytest.fixture
def expectations(tmp_path: Path) -> Path:
    """A copy of tests/typing, with what is said of our `subprocess` said of the standard one too."""
    need_module("typing_extensions")
    folder = tmp_path / "expectations"
    shutil.copytree(TESTS / "typing", folder, ignore=shutil.ignore_patterns("__pycache__"))
    source = (folder / "dropin.py").read_text()
    assert source.count(IMPORT) == 1
    (folder / "dropin_standard.py").write_text(source.replace(IMPORT, "import subprocess\n"))
    return folder


@pytest.mark.parametrize("version", VERSIONS)
def test_mypy_sees_what_is_expected(expectations: Path, version: str) -> None:
    need_module("mypy")
    cache = TESTS.parent / ".mypy_cache" / "expectations"
    options = ("--config-file=", "--strict", "--warn-unused-ignores", f"--python-version={version}")
    check("mypy", *options, f"--cache-dir={cache}", ".", cwd=expectations)


@pytest.mark.parametrize("version", VERSIONS)
def test_pyright_sees_what_is_expected(expectations: Path, version: str) -> None:
    need_module("pyright")
    command = [sys.executable, "-m", "pyright", "--version"]
    if subprocess.run(command, capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("pyright is installed, but can't load its program")
    settings = {
        "include": ["."],
        "typeCheckingMode": "standard",
        "pythonVersion": version,
        "pythonPlatform": "Linux",
        "enableTypeIgnoreComments": False,  # mypy's are not for it
        "reportUnnecessaryTypeIgnoreComment": "error",
    }
    (expectations / "pyrightconfig.json").write_text(json.dumps(settings))
    check("pyright", "--warnings", f"--pythonpath={sys.executable}", cwd=expectations)


def test_the_stub_of_the_module_is_true_to_it(tmp_path: Path) -> None:
    need_module("mypy")
    allowlist = tmp_path / "allowlist"
    allowlist.write_text("".join(f"{name}  # {reason}\n" for name, reason in ON_PURPOSE.items()))
    check("mypy.stubtest", "--concise", f"--allowlist={allowlist}", "setsid.subprocess", cwd=tmp_path)


def test_no_name_needs_typing_extensions_at_run_time() -> None:
    fresh(
        "sys.modules['typing_extensions'] = None\n"
        "for name in setsid.__all__: getattr(setsid, name)\n"
        "assert setsid.SetupFields.__annotations__.keys() == setsid.ChildSetup.supported"
    )
