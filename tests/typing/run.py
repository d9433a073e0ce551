"""setsid.run, and its TimeoutExpired."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import Any

from typing_extensions import assert_type

import setsid
from setsid import ChildSetup, EndReport


def of_bytes() -> None:
    """Nothing said, or said to be so."""
    assert_type(setsid.run("true", shell=True), CompletedProcess[bytes])
    assert_type(setsid.run(["true", Path("/"), b"x"], input=b"x"), CompletedProcess[bytes])
    assert_type(setsid.run(["true"], input=memoryview(b""), text=False), CompletedProcess[bytes])
    assert_type(setsid.run(["true"], text=None, encoding=None, errors=None), CompletedProcess[bytes])
    assert_type(setsid.run(["true"], universal_newlines=False).stdout, bytes)


def of_text() -> None:
    """Each argument that makes it so."""
    assert_type(setsid.run(["true"], text=True, input="x"), CompletedProcess[str])
    assert_type(setsid.run(["true"], encoding="utf-8", input="x"), CompletedProcess[str])
    assert_type(setsid.run(["true"], errors="replace"), CompletedProcess[str])
    assert_type(setsid.run(["true"], universal_newlines=True), CompletedProcess[str])
    assert_type(setsid.run(["true"], text=True, check=True).stderr, str)


def of_either(flag: bool, encoding: str | None) -> None:
    """Only the call shows."""
    assert_type(setsid.run(["true"], text=flag), CompletedProcess[Any])
    assert_type(setsid.run(["true"], text=flag, input="x"), CompletedProcess[Any])
    assert_type(setsid.run(["true"], universal_newlines=flag), CompletedProcess[Any])
    assert_type(setsid.run(["true"], encoding=encoding), CompletedProcess[Any])
    assert_type(setsid.run(["true"], errors=encoding, input=b"x"), CompletedProcess[Any])


def arguments(more: dict[str, Any]) -> None:
    """The others say nothing of that."""
    result = setsid.run(
        args=["true"],
        timeout=1,
        grace=0.5,
        end_signal=1,
        start_new_session=False,
        setup=ChildSetup(umask=0o22),
        stdin=None,
        stdout=PIPE,
        stderr=sys.stderr,
        check=True,
        cwd="/",
        env={"PATH": "/bin"},
        bufsize=-1,
        executable=Path("/bin/true"),
        close_fds=True,
        pass_fds=(3,),
        user=0,
        group="nogroup",
        extra_groups=(),
        umask=-1,
    )
    assert_type(result, CompletedProcess[bytes])
    assert_type(setsid.run("true", timeout=None, capture_output=True, encoding="utf-8").stdout, str)
    assert_type(setsid.run("true", text=True, **more).returncode, int)
    if sys.version_info >= (3, 11):
        assert_type(setsid.run("true", process_group=0, text=True), CompletedProcess[str])


def a_timeout_is_both(error: setsid.TimeoutExpired) -> None:
    """The standard library's, and the built-in one."""
    for_subprocess: subprocess.TimeoutExpired = error
    for_all_others: TimeoutError = error
    print(for_subprocess, for_all_others)
    assert_type(error.report, EndReport | None)
    assert_type(error.timeout, float)
    assert_type(error.stdout, bytes | None)
    assert_type(error.stderr, bytes | None)
    try:
        setsid.run("true", timeout=1)
    except subprocess.TimeoutExpired as caught:
        if isinstance(caught, setsid.TimeoutExpired):
            assert_type(caught.report, EndReport | None)
