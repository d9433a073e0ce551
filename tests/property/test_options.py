"""The commands' reading of options against getopt(1), which is the C library's."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from setsid.cli._command import UsageError, parse

pytestmark = pytest.mark.skipif(shutil.which("getopt") is None, reason="getopt is not installed")

# Prefixes of each other, with and without an argument, and one without a letter.
OPTIONS = {"wait": "w", "fork": "f", "for": "", "signal=": "s", "grace=": "g", "grant": "G", "steal": ""}
PIECES = [
    "-",
    "--",
    "=",
    "w",
    "f",
    "s",
    "g",
    "x",
    "wait",
    "fork",
    "for",
    "fo",
    "signal",
    "sig",
    "gra",
    "grace",
    "é",
    " ",
]
WORDS = st.lists(st.lists(st.sampled_from(PIECES), max_size=4).map("".join), max_size=5)


def with_getopt(words: list[str], *, mixed: bool) -> tuple[list[tuple[str, str]], list[str]] | str:
    """What getopt(1) makes of them, or its first complaint."""
    letters = "".join(letter + ":" * name.endswith("=") for name, letter in OPTIONS.items() if letter)
    names = [name.rstrip("=") + ":" * name.endswith("=") for name in OPTIONS]
    command = ["getopt", "-n", "NAME", "-o", ("" if mixed else "+") + letters, "-l", ",".join(names), "--", *words]
    result = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
    if result.returncode:
        return os.fsdecode(result.stderr).splitlines()[0].removeprefix("NAME: ")
    waiting = shlex.split(os.fsdecode(result.stdout))[::-1]
    by_word = {f"-{letter}": name for name, letter in OPTIONS.items()} | {f"--{n.rstrip('=')}": n for n in OPTIONS}
    said = []
    while (word := waiting.pop()) != "--":
        name = by_word[word]
        said.append((name.rstrip("="), waiting.pop() if name.endswith("=") else ""))
    return said, waiting[::-1]


def with_parse(words: list[str], *, mixed: bool) -> tuple[list[tuple[str, str]], list[str]] | str:
    try:
        return parse(words, OPTIONS, mixed=mixed)
    except UsageError as error:
        return str(error)


@settings(max_examples=300, deadline=None)
@given(words=WORDS, mixed=st.booleans())
@example(words=["-wfs", "9", "--", "-x"], mixed=False)
@example(words=["a", "-w", "b", "--grace=", "--", "-f"], mixed=True)
@example(words=["--gra=1"], mixed=False)
@example(words=["-s"], mixed=False)
@example(words=["--signal"], mixed=False)
def test_options_are_read_as_by_getopt(words: list[str], mixed: bool) -> None:
    assert with_parse(words, mixed=mixed) == with_getopt(words, mixed=mixed)
