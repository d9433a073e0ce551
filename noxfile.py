"""The matrix: the tests on every interpreter, with the wheel that is installed there. `make matrix`.

    nox                          all of it
    nox -s core                  what depends on the version, on those of CPython that CI has
    nox -s "matrix(3.14)"        one interpreter
    nox -s leaks                 no reference is lost, by a debug build's count

What can be had is found, or made, by wheels/places.py.
"""

from __future__ import annotations

import glob
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
DIST = ROOT / "build" / "matrix"
HOST = ["3.10", "3.12", "3.13"]
ALL = ["3.10", "3.11", "3.12", "3.13", "3.14", "3.15", "3.14-dbg", "3.14t", "3.15t", "PyPy 3.11", "musl"]
EMULATED = "3.14 aarch64"
# The standard library's own classes and hooks that the package builds on, and the C API through cffi. The rest is C,
# system calls and the order of steps, which no version of Python has a part in: CI runs these on one.
VERSION_SENSITIVE = ["tests/test_popen_*.py", "tests/test_errors.py"]
VERSION_SENSITIVE += ["tests/test_spawn.py", "tests/test_await.py", "tests/test_from_preexec.py"]
# What makes children and tells of their errors: by emulation of a processor, where all of it would take an hour.
CORE = ["spawn", "exec_errors", "stages", "errors", "process", "wait", "fds", "signals", "fork", "detached", "ways"]
CORE_FILES = [f"tests/test_{name}.py" for name in CORE] + ["tests/test_popen_parity*.py"]

# CI has fifteen minutes: the oldest and the newest that it has run that list, and the one in between what is quick.
QUICK = [f"tests/test_{name}.py" for name in ("spawn", "errors", "popen_regressions", "popen_setup", "from_preexec")]
IN_BETWEEN = "3.12"

nox.options.sessions = ["clear", "matrix", "leaks", "table"]
nox.options.default_venv_backend = "none"


@nox.session
def clear(session: nox.Session) -> None:
    """Make the directory of the results anew, with the sdist and the one abi3 wheel in it."""
    shutil.rmtree(DIST, ignore_errors=True)
    DIST.mkdir(parents=True)
    # By way of the sdist: what an earlier build has left in the checkout is not in it.
    session.run(
        "python", "-m", "build", "--no-isolation", "--outdir", str(DIST), str(ROOT), env={"LDSHARED": "gcc -shared"}
    )


@nox.session
@nox.parametrize("place", [nox.param(name, id=name.replace(" ", "-")) for name in [*ALL, EMULATED]])
def matrix(session: nox.Session, place: str) -> None:
    """All tests on one interpreter, the core's where that is emulated; files given after -- are run alone."""
    files = session.posargs or (_found(CORE_FILES) if place == EMULATED else [])
    session.run("python", "wheels/matrix.py", "run", place, str(DIST), *files)


@nox.session
@nox.parametrize("place", [nox.param(name, id=name) for name in HOST])
def core(session: nox.Session, place: str) -> None:
    """What depends on the version of Python."""
    files = QUICK if place == IN_BETWEEN else VERSION_SENSITIVE
    session.run("python", "wheels/matrix.py", "run", place, str(DIST), *_found(files))


def _found(patterns: list[str]) -> list[str]:
    return [name for pattern in patterns for name in sorted(glob.glob(pattern, root_dir=ROOT))]


@nox.session
def leaks(session: nox.Session) -> None:
    """Spawns that succeed and that fail, on a debug build that counts its references."""
    session.run("python", "wheels/matrix.py", "leaks", "3.14-dbg", str(DIST), "tests/test_references.py")


@nox.session
def table(session: nox.Session) -> None:
    """What came of it all."""
    session.run("python", "wheels/matrix.py", "table", str(DIST))
