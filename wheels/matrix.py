"""Install a wheel in one interpreter after another and run the tests on it; see noxfile.py.

matrix.py run PLACE DIRECTORY FILES...   one interpreter; leaves PLACE.json in the directory
matrix.py leaks PLACE DIRECTORY FILES... the same, all of it built there; leaves PLACE-leaks.json
matrix.py table DIRECTORY                what came of all of them; 1 if one failed
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import places
from cross import build
from targets import TARGETS

ROOT = Path(__file__).resolve().parent.parent
# Of the checkout's sources, not of what is installed: these are the same on every Python, and `make test` runs them.
OF_CHECKOUT = [
    "layout",
    "native",
    "symbols",
    "typing",
    "wheels_archives",
    "wheels_audit",
    "wheels_matrix",
    "wheels_release",
]
BUILDING = ("setuptools>=77", "cffi>=2")
NEEDED = ("pytest>=8.4", "pytest-xdist>=3.6")
AIOHTTP = "aiohttp>=3.11"  # its multidict crashes a debug build at the second object
# Not every version has them yet, and PyPy and musl never will have some; the tests that use one are skipped then.
# And what the tests, or what they run, import of each.
OPTIONAL = {
    "hypothesis>=6.100": "import hypothesis",
    "uvloop>=0.21": "import uvloop",
    "trio>=0.27": "import trio",
    "anyio>=4.6": "from anyio import wait_readable",
    "gunicorn>=23": "import gunicorn.app.wsgiapp",
    "celery>=5.4": "import celery.app",
    "pyte>=0.8.2": "import pyte",
    AIOHTTP: "import aiohttp.web, multidict\nfor _ in 1, 2: multidict.MultiDict(key='value')",
}
TOO_LONG = 60 * 60  # seconds; on two processors PyPy takes less than half of it


class Pip:
    """The pip of a place's virtual environment. musl's Python has no ssl: what it needs is fetched by this one's."""

    def __init__(self, place: places.Place, python: list[str], work: Path) -> None:
        self.place, self.python, self.fetched = place, python, work / "fetched"
        self.environment = dict(os.environ)
        if place.libc == "musl":
            self.fetched.mkdir()
            self.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.fetched)}

    def build(self, source: Path, directory: Path) -> Path:
        """A wheel of the sources."""
        self._fetch(*BUILDING)
        # Without what the interpreter was linked with: pyenv's has a RUNPATH.
        linker = "musl-gcc" if self.place.libc == "musl" else "gcc"
        environment = self.environment | {"LDSHARED": f"{linker} -shared"}
        call([*self.python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(directory), str(source)], environment)
        return next(directory.glob("*.whl"))

    def install(self, *requirements: str) -> None:
        """Install what must be there."""
        self._fetch(*(requirement for requirement in requirements if not requirement.endswith((".whl", "=cffi"))))
        call([*self.python, "-m", "pip", "install", "-q", *requirements], self.environment)

    def has_installed(self, requirement: str, use: str) -> bool:
        """Whether a requirement can be met by a wheel that can be used: it may need what this Python lacks."""
        try:
            self._fetch(requirement)
            call([*self.python, "-m", "pip", "install", "-q", "--only-binary", ":all:", requirement], self.environment)
        except subprocess.CalledProcessError:
            return False
        if subprocess.run([*self.python, "-c", use], stderr=subprocess.DEVNULL, check=False).returncode == 0:
            return True
        # The tests look only whether it is there.
        call([*self.python, "-m", "pip", "uninstall", "-q", "-y", requirement.partition(">")[0]], self.environment)
        return False

    def _fetch(self, *requirements: str) -> None:
        if self.place.libc != "musl":
            return
        options = ["--only-binary", ":all:", "--python-version", self.place.version, "-d", str(self.fetched)]
        for minor in 2, 1:
            options += ["--platform", f"musllinux_1_{minor}_{self.place.machine}"]
        call([sys.executable, "-m", "pip", "download", "-q", *options, *requirements])


def found(directory: Path, pattern: str) -> Path:
    """The archive of that name in the directory of the results."""
    for path in directory.glob(pattern):
        return path
    raise RuntimeError(f"there is no {pattern} in {directory}: `make matrix NOX='-s clear'` makes it")


def wheel_for(machine: str, directory: Path) -> Path:
    """The one abi3 wheel of the directory for a processor; zig makes what another processor than this one needs."""
    if machine == os.uname().machine:
        return found(directory, f"*-abi3-*_{machine}.whl")
    target = next(target for target in TARGETS if target.machine == machine and target.tag.startswith("manylinux"))
    return build(target, found(directory, "*.tar.gz"), directory)


def call(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True)


def copy_tests(to: Path) -> None:
    """The checkout without src/, so that only what is installed can be imported."""
    kept: tuple[str, ...] = ("tests", "csrc", "docs", "examples", "man", "completions", "benchmarks", "wheels")
    kept += ("README.md", "CHANGELOG.md", "pyproject.toml", "Makefile")
    for name in kept:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
        else:
            shutil.copy(ROOT / name, to / name)


def outcome(report: Path, code: int) -> dict[str, Any]:
    """Counts and reasons from pytest's XML. An end that this does not explain (a signal, as it exits) is a failure."""
    cases = list(ET.parse(report).iter("testcase")) if report.exists() else []
    skips = [skip.get("message", "") for case in cases for skip in case.findall("skipped")]
    bad = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    failures = [f"{case.get('classname')}::{case.get('name')}" for case in bad]
    if code != (1 if bad else 0) or not cases:
        failures.append(f"pytest ended with {code}")
    return {
        "passed": len(cases) - len(skips) - len(bad),
        "failed": len(failures),
        "skipped": len(skips),
        "skips": Counter(skips),
        "failures": failures,
    }


def run(name: str, directory: Path, files: list[str], *, from_source: bool = False) -> dict[str, Any]:
    """Install and test in one place; `from_source` builds the package and cffi for just that interpreter."""
    place = places.find([name])[0]
    row: dict[str, Any] = {"name": name, "version": place.version, "libc": place.libc, "missing": place.missing}
    if place.missing:
        return row
    started = time.monotonic()
    # Among the temporary files, which a chroot sees under the same path.
    with tempfile.TemporaryDirectory(prefix="setsid-matrix-") as text:
        work = Path(text)
        work.chmod(0o755)  # tests become other users, who import on
        python = places.make_environment(place, work)
        pip = Pip(place, python, work)
        takes_that = not from_source and place.takes_abi3 and place.libc == "glibc"
        if takes_that:
            wheel = wheel_for(place.machine, directory)
        else:
            source = work / "setsid.tar.gz"
            shutil.copy(found(directory, "*.tar.gz"), source)
            kept = directory / place.libc / f"{name.replace(' ', '-')}{'-source' * from_source}"
            wheel = pip.build(source, kept)
        shutil.copy(wheel, work)
        row["installed"] = wheel.name
        source_only = ["--no-binary=cffi"] if from_source else []
        pip.install(*source_only, str(work / wheel.name), *NEEDED)
        # They take a minute to install, which is too long for a few files.
        wanted = {} if files else OPTIONAL
        row["lacking"] = [requirement for requirement, use in wanted.items() if not pip.has_installed(requirement, use)]
        may_lack_any = place.libc == "musl" or place.implementation == "pypy"
        row["may_lack"] = list(OPTIONAL) if may_lack_any else [AIOHTTP] if "dbg" in name else []
        checkout = work / "checkout"
        checkout.mkdir()
        copy_tests(checkout)
        row |= test(python, checkout, files, is_emulated=place.machine != os.uname().machine)
    row["seconds"] = round(time.monotonic() - started)
    return row


def test(python: list[str], checkout: Path, files: list[str], *, is_emulated: bool) -> dict[str, Any]:
    """Run the tests of a copied checkout."""
    report = checkout / "report.xml"
    options = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    options += [f"--ignore=tests/test_{name}.py" for name in OF_CHECKOUT]
    shell = ["sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(checkout)]
    try:
        # What a version lacks is told by the table, not by a failure.
        environment = {name: value for name, value in os.environ.items() if name != "SETSID_TEST_ALL"}
        environment["SETSID_TEST_EMULATED"] = "1" if is_emulated else "0"
        code = subprocess.run(
            [*python[:-1], *shell, python[-1], "-m", "pytest", *options, *files],
            env=environment,
            stdin=subprocess.DEVNULL,
            timeout=TOO_LONG,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        code = -1
    return outcome(report, code)


def table(directory: Path) -> int:
    """Print what is in the directory; 1 if a place failed, or if one, or a package that has wheels for it, is missing
    where nothing may be.
    """
    rows = [json.loads(path.read_text()) for path in sorted(directory.glob("*.json"))]
    print(
        f"{'PYTHON':<12} {'VERSION':<9} {'LIBC':<6} {'PASSED':>6} {'FAILED':>6} {'SKIPPED':>7} {'TIME':>6}  INSTALLED"
    )
    for row in rows:
        if row["missing"]:
            print(f"{row['name']:<12} MISSING: {row['missing']}")
            continue
        counts = f"{row['passed']:>6} {row['failed']:>6} {row['skipped']:>7} {row['seconds']:>5}s"
        print(f"{row['name']:<12} {row['version']:<9} {row['libc']:<6} {counts}  {row['installed']}")
    for row in rows:
        for reason, count in row.get("skips", {}).items():
            print(f"{row['name']}: {count} skipped: {reason}")
        for failure in row.get("failures", []):
            print(f"{row['name']}: FAILED {failure}")
        if row.get("lacking"):
            print(f"{row['name']}: no usable wheel of {', '.join(row['lacking'])}")
    is_short = any(row["missing"] or set(row.get("lacking", [])) - set(row.get("may_lack", [])) for row in rows)
    must_have_all = os.environ.get("SETSID_TEST_ALL") == "1"
    has_failed = any(row.get("failed") or row.get("passed") == 0 for row in rows)
    return int(not rows or has_failed or (is_short and must_have_all))


def main() -> int:
    """As the module's docstring says."""
    verb, *arguments = sys.argv[1:]
    if verb == "table":
        return table(Path(arguments[0]))
    name, directory, *files = arguments
    try:
        row = run(name, Path(directory), files, from_source=verb == "leaks")
    except Exception as error:  # the table has to tell of it
        row = {"name": name, "version": "", "libc": "", "missing": f"could not be set up: {error}", "failed": 1}
    suffix = "-leaks" if verb == "leaks" else ""
    (Path(directory) / f"{name.replace(' ', '-')}{suffix}.json").write_text(json.dumps(row))
    if row["missing"]:
        print(f"{name}: MISSING: {row['missing']}")
    return int(row.get("failed", 0) > 0)


if __name__ == "__main__":
    sys.exit(main())
