"""Print the matrix of CI's tests, as JSON: each Python that the classifiers in pyproject.toml name, on each runner."""

from __future__ import annotations

import json
import re
from pathlib import Path

RUNNERS = {"POSIX :: Linux": ["ubuntu-24.04", "ubuntu-24.04-arm"], "MacOS": ["macos-15", "macos-15-intel"]}
PYPY = "pypy3.11"
FIRST_FREE_THREADED = 14


def _classifiers(text: str) -> list[str]:
    """The classifiers of a pyproject.toml. Read by hand: 3.10 has no tomllib, and a runner's Python may be that."""
    found = re.search(r"^classifiers = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    return re.findall(r'^ *"(.*?)"', found[1], re.MULTILINE) if found else []


def pythons(text: str) -> list[str]:
    """The Pythons, as the action setup-python calls them: "3.10", "3.14t", "pypy3.11"."""
    classifiers = _classifiers(text)
    minors = [
        int(name.rpartition(".")[2])
        for name in classifiers
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", name)
    ]
    found = [f"3.{minor}" for minor in minors]
    if any("Free Threading" in name for name in classifiers):
        found += [f"3.{minor}t" for minor in minors if minor >= FIRST_FREE_THREADED]
    if "Programming Language :: Python :: Implementation :: PyPy" in classifiers:
        found += [PYPY]
    return found


def runners(text: str) -> list[str]:
    """The runners of the systems that are named."""
    return [
        runner
        for system, names in RUNNERS.items()
        if f"Operating System :: {system}" in _classifiers(text)
        for runner in names
    ]


if __name__ == "__main__":
    text = Path(__file__).parent.parent.joinpath("pyproject.toml").read_text()
    print(json.dumps({"python": pythons(text), "runner": runners(text)}))
