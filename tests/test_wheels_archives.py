"""The sdist and the wheel that `python -m build` makes: the same bytes from anywhere, with all in them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

if importlib.util.find_spec("pyproject_hooks") is None:  # build's, whose own name a module of ours might have
    pytest.skip("the group `wheels` is not installed", allow_module_level=True)

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv*", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", "node_modules", "*.so"
)
Archives = tuple[Path, Path]


def build(source: Path, to: Path, umask: int) -> Archives:
    """The sdist and the wheel of a copy of the sources."""
    shutil.copytree(ROOT, source, ignore=LEFT_OUT)
    for left in "benchmarks/results.json", "tests/.hypothesis/example", "src/setsid/.file.py.swp":
        source.joinpath(left).parent.mkdir(exist_ok=True)
        source.joinpath(left).touch()
    for path in source.rglob("*"):
        os.utime(path, (umask, umask))
        path.chmod(path.stat().st_mode & ~umask)
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(to), str(source)]
    subprocess.run(command, env=environment, umask=umask, stdout=subprocess.DEVNULL, check=True)
    [sdist], [wheel] = to.glob("*.tar.gz"), to.glob("*.whl")
    return sdist, wheel


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """Those of one build."""
    directory = tmp_path_factory.mktemp("one")
    return build(directory / "source", directory / "dist", 0o022)


def test_archives_are_the_same_whoever_builds_them_and_where(archives: Archives, tmp_path: Path) -> None:
    again = build(tmp_path / "some" / "other" / "place", tmp_path / "dist", 0o077)
    assert [path.name for path in again] == [path.name for path in archives]
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in archives]


def test_the_library_tells_no_directory(archives: Archives) -> None:
    with zipfile.ZipFile(archives[1]) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".so")]
        data = wheel.read(name)
    assert str(archives[1].parent.parent).encode() not in data
    assert sys.base_prefix.encode() not in data  # as a RUNPATH


def test_the_wheel_is_for_all_versions(archives: Archives) -> None:
    assert archives[1].name.split("-")[2:4] == ["cp310", "abi3"]


def test_the_sdist_has_every_tracked_file_and_no_other(archives: Archives) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is the sdist, unpacked: there is nothing to compare it with")
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]  # those that are to be added too
    tracked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    with tarfile.open(archives[0]) as sdist:
        names = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    own = {name for name in names if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    assert names - own == set(tracked.splitlines())


def pip_install(sdist: Path, to: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Install it by pip, from nothing but what is here."""
    command = [sys.executable, "-m", "pip", "install", "--no-build-isolation", "--no-deps", "--no-index"]
    variables = {name: value for name, value in os.environ.items() if name not in ("CC", "LDSHARED")}
    return subprocess.run(
        [*command, "--no-cache-dir", "--target", str(to), str(sdist)],
        env=variables | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="the flags are GNU ld's")
def test_the_directories_of_pythons_own_libraries_are_not_ours(archives: Archives, tmp_path: Path) -> None:
    import library

    flags = "-Wl,-rpath,/one -Wl,--rpath=/two -Wl,-rpath -Wl,/three -Wl,--rpath -Wl,/four -Wl,-R/five"
    result = pip_install(archives[0], tmp_path, LDSHARED=f"cc -shared {flags}")
    assert result.returncode == 0, result.stdout
    [built] = tmp_path.glob("setsid/*.so")
    assert not any("PATH" in fault for fault in library.faults(built.read_bytes()))


def test_without_a_compiler_it_says_so(archives: Archives, tmp_path: Path) -> None:
    result = pip_install(archives[0], tmp_path / "to", PATH=str(tmp_path), CC="cc")
    assert result.returncode != 0
    assert "setsid: no C compiler (cc): install one (Debian: gcc), or use a wheel" in result.stdout


@pytest.mark.parametrize(
    ("left_out", "message"),
    [
        (
            "*include/python*",
            "setsid: Python's headers are missing: install them (Debian: python3-dev), or use a wheel",
        ),
        ("-E", "setsid: the C library's headers are missing: install them (Debian: libc6-dev), or use a wheel"),
    ],
)
def test_without_headers_it_says_so(archives: Archives, tmp_path: Path, left_out: str, message: str) -> None:
    compiler = tmp_path / "cc"  # hides Python's headers, or fails whatever it is asked
    action = "exit 1" if left_out == "-E" else "continue"
    compiler.write_text(
        f'#!/bin/sh\nfor word; do shift; case $word in {left_out}) {action};; esac; set -- "$@" "$word"; done\n'
        'exec cc "$@"\n'
    )
    compiler.chmod(0o755)
    result = pip_install(archives[0], tmp_path / "to", CC=str(compiler))
    assert result.returncode != 0
    assert message in result.stdout
