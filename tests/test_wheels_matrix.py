"""The matrix's table tells what has failed, and what was not there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("elftools") is None:
    pytest.skip("the group `wheels` is not installed", allow_module_level=True)

import matrix

REPORT = """<testsuites><testsuite>
<testcase classname="tests.test_one" name="good"/>
<testcase classname="tests.test_one" name="left_out"><skipped message="no tmux"/></testcase>
{more}</testsuite></testsuites>"""
BAD = '<testcase classname="tests.test_one" name="bad"><failure message="no"/></testcase>'
ROW: dict[str, Any] = {
    "name": "3.14",
    "version": "3.14.0",
    "libc": "glibc",
    "missing": None,
    "passed": 5,
    "failed": 0,
    "skipped": 0,
    "seconds": 1,
    "installed": "setsid.whl",
    "lacking": [],
    "may_lack": [],
}


@pytest.mark.parametrize(
    ("more", "code", "failures"),
    [
        ("", 0, []),
        (BAD, 1, ["tests.test_one::bad"]),
        ("", -11, ["pytest ended with -11"]),
        ("", 1, ["pytest ended with 1"]),
        (BAD, 3, ["tests.test_one::bad", "pytest ended with 3"]),
    ],
)
def test_how_pytest_ends_counts(tmp_path: Path, more: str, code: int, failures: list[str]) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT.format(more=more))
    outcome = matrix.outcome(report, code)
    assert (outcome["passed"], outcome["skips"]) == (1, {"no tmux": 1})
    assert (outcome["failures"], outcome["failed"]) == (failures, len(failures))


def test_no_report_is_a_failure(tmp_path: Path) -> None:
    assert matrix.outcome(tmp_path / "report.xml", 0)["failures"] == ["pytest ended with 0"]


@pytest.mark.parametrize(
    ("changes", "code", "told"),
    [
        ({}, 0, "3.14         3.14.0    glibc       5      0       0     1s  setsid.whl"),
        ({"failed": 1, "failures": ["one::bad"]}, 1, "3.14: FAILED one::bad"),
        ({"passed": 0}, 1, "3.14"),
        ({"skips": {"no tmux": 2}}, 0, "3.14: 2 skipped: no tmux"),
        ({"missing": "no pyenv"}, 1, "3.14         MISSING: no pyenv"),
        ({"lacking": ["trio"]}, 1, "3.14: no usable wheel of trio"),
        ({"lacking": ["trio"], "may_lack": ["trio"]}, 0, "3.14: no usable wheel of trio"),
        ({"lacking": ["aiohttp", "trio"], "may_lack": ["trio"]}, 1, "3.14: no usable wheel of aiohttp, trio"),
    ],
)
def test_the_table_tells_and_fails(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    code: int,
    told: str,
) -> None:
    (tmp_path / "3.14.json").write_text(json.dumps(ROW | changes))
    monkeypatch.setenv("SETSID_TEST_ALL", "1")
    assert matrix.table(tmp_path) == code
    assert told in capsys.readouterr().out
    monkeypatch.delenv("SETSID_TEST_ALL")
    assert matrix.table(tmp_path) == (0 if "missing" in changes or "lacking" in changes else code)


def test_an_empty_table_fails(tmp_path: Path) -> None:
    assert matrix.table(tmp_path) == 1


def test_a_wheel_that_is_not_there_is_not_made_in_silence(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"there is no \*\.tar\.gz in .*: `make matrix NOX='-s clear'` makes it"):
        matrix.found(tmp_path, "*.tar.gz")
