"""What typeshed says of the standard `subprocess` holds for ours: a test checks this with either import."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import IO, Any

from typing_extensions import assert_type

from setsid import subprocess


def popen_of_bytes(file: IO[bytes]) -> None:
    """Nothing said, or said to be so."""
    assert_type(subprocess.Popen("true"), subprocess.Popen[bytes])
    assert_type(subprocess.Popen(["sh", b"-c", Path("/")], shell=False), subprocess.Popen[bytes])
    assert_type(subprocess.Popen(Path("/bin/true"), text=False), subprocess.Popen[bytes])
    assert_type(subprocess.Popen(("true",), universal_newlines=False), subprocess.Popen[bytes])
    assert_type(subprocess.Popen("true", text=None, encoding=None, errors=None), subprocess.Popen[bytes])
    assert_type(subprocess.Popen("true", 0, None, file, subprocess.PIPE, sys.stderr), subprocess.Popen[bytes])
    assert_type(subprocess.Popen("true", stdin=3, stderr=subprocess.STDOUT), subprocess.Popen[bytes])


def popen_of_text() -> None:
    """Each argument that makes it so."""
    assert_type(subprocess.Popen("true", text=True), subprocess.Popen[str])
    assert_type(subprocess.Popen("true", encoding="utf-8"), subprocess.Popen[str])
    assert_type(subprocess.Popen("true", errors="replace"), subprocess.Popen[str])
    assert_type(subprocess.Popen("true", universal_newlines=True), subprocess.Popen[str])
    assert_type(subprocess.Popen("true", text=True, universal_newlines=True, errors="strict"), subprocess.Popen[str])
    assert_type(subprocess.Popen("true", text=False, encoding="utf-8"), subprocess.Popen[str])
    assert_type(subprocess.Popen("true", -1, None, None, subprocess.PIPE, text=True), subprocess.Popen[str])


def popen_of_either(flag: bool, encoding: str | None) -> None:
    """Only the call shows."""
    assert_type(subprocess.Popen("true", text=flag), subprocess.Popen[Any])
    assert_type(subprocess.Popen("true", universal_newlines=flag), subprocess.Popen[Any])
    assert_type(subprocess.Popen("true", encoding=encoding), subprocess.Popen[Any])
    assert_type(subprocess.Popen("true", errors=encoding), subprocess.Popen[Any])
    assert_type(subprocess.Popen("true", text=True, universal_newlines=False), subprocess.Popen[Any])


def arguments(more: dict[str, str]) -> None:
    """The others say nothing of that."""
    process = subprocess.Popen(
        args="true",
        bufsize=-1,
        executable=b"/bin/true",
        preexec_fn=os.setsid,
        close_fds=True,
        shell=True,
        cwd=Path("/"),
        env={**os.environ, **more},
        startupinfo=None,
        creationflags=0,
        restore_signals=False,
        start_new_session=True,
        pass_fds=[3, 4],
        user="nobody",
        group=0,
        extra_groups=["daemon", 3],
        umask=0o22,
        pipesize=4096,
    )
    assert_type(process, subprocess.Popen[bytes])
    assert_type(subprocess.Popen("true", preexec_fn=lambda: 3, env={b"A": b"b"}), subprocess.Popen[bytes])
    assert_type(subprocess.Popen("true", env=os.environ, pass_fds=()), subprocess.Popen[bytes])
    assert_type(subprocess.Popen("true", env={"A": Path("b")}, user=None, text=True), subprocess.Popen[str])
    if sys.version_info >= (3, 11):
        assert_type(subprocess.Popen("true", process_group=0), subprocess.Popen[bytes])
        assert_type(subprocess.run("true", process_group=None).returncode, int)


def members(text: subprocess.Popen[str], data: subprocess.Popen[bytes]) -> None:
    """What a Popen has and does."""
    stdin: IO[str] | None = text.stdin  # the two type checkers' typesheds are not at one about the exact type
    stdout: IO[bytes] | None = data.stdout
    stderr: IO[bytes] | None = data.stderr
    print(stdin, stdout, stderr)
    assert_type(text.communicate("input", 3), tuple[str, str])
    assert_type(data.communicate(timeout=1.5), tuple[bytes, bytes])
    assert_type(data.pid, int)
    assert_type(data.poll(), int | None)
    assert_type(data.wait(3), int)
    assert_type(data.wait(timeout=None), int)
    assert_type(data.send_signal(signal.SIGTERM), None)
    assert_type(data.send_signal(sig=15), None)
    assert_type(data.terminate(), None)
    assert_type(data.kill(), None)
    with subprocess.Popen("true", stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert_type(process, subprocess.Popen[str])
        assert_type(process.universal_newlines, bool)


def run(flag: bool, encoding: str | None) -> None:
    """Text, bytes, and either."""
    assert_type(subprocess.run("true"), subprocess.CompletedProcess[bytes])
    assert_type(subprocess.run(["true"], input=b"x", timeout=3), subprocess.CompletedProcess[bytes])
    assert_type(subprocess.run(["true"], input=bytearray(), check=True), subprocess.CompletedProcess[bytes])
    assert_type(subprocess.run(["true"], 0, None, None, subprocess.PIPE), subprocess.CompletedProcess[bytes])
    assert_type(subprocess.run(["true"], text=False, universal_newlines=None), subprocess.CompletedProcess[bytes])
    assert_type(subprocess.run(["true"], text=True, capture_output=True), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["true"], encoding="utf-8", input="x"), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["true"], errors="replace", timeout=None), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["true"], universal_newlines=True), subprocess.CompletedProcess[str])
    assert_type(subprocess.run(["true"], text=flag), subprocess.CompletedProcess[Any])
    assert_type(subprocess.run(["true"], text=flag, input="x"), subprocess.CompletedProcess[Any])
    assert_type(subprocess.run(["true"], universal_newlines=flag), subprocess.CompletedProcess[Any])
    assert_type(subprocess.run(["true"], encoding=encoding), subprocess.CompletedProcess[Any])
    assert_type(subprocess.run("true", text=True).stdout, str)
    assert_type(subprocess.run("true").stderr, bytes)


def call_and_check_call(flag: bool) -> None:
    """The returncode, whatever the mode."""
    assert_type(subprocess.call("true", shell=True), int)
    assert_type(subprocess.call(["true"], 0, None, None, subprocess.DEVNULL, timeout=3, text=True), int)
    assert_type(subprocess.call(["true"], encoding="utf-8", universal_newlines=flag), int)
    assert_type(subprocess.check_call(["true"], cwd="/", stdout=subprocess.DEVNULL, timeout=3.5), int)
    assert_type(subprocess.check_call(["true"], 0, None, None, subprocess.DEVNULL, text=flag), int)


def check_output(flag: bool) -> None:
    """It takes no stdout, so positions are others."""
    assert_type(subprocess.check_output("true"), bytes)
    assert_type(subprocess.check_output(["true"], input=b"x", timeout=2), bytes)
    assert_type(subprocess.check_output(["true"], 0, None, None, subprocess.STDOUT), bytes)
    assert_type(subprocess.check_output("true", shell=True, text=True, input="x"), str)
    assert_type(subprocess.check_output(["true"], encoding="utf-8", stderr=subprocess.STDOUT), str)
    assert_type(subprocess.check_output(["true"], errors="replace"), str)
    assert_type(subprocess.check_output(["true"], universal_newlines=True), str)
    assert_type(subprocess.check_output(["true"], text=flag), Any)
    assert_type(subprocess.check_output(["true"], universal_newlines=flag), Any)


def other_names() -> None:
    """The rest of the module."""
    assert_type(subprocess.getoutput("true"), str)
    assert_type(subprocess.getstatusoutput("true"), tuple[int, str])
    if sys.version_info >= (3, 11):
        assert_type(subprocess.getoutput("true", encoding="utf-8", errors="replace"), str)
    assert_type(subprocess.list2cmdline(["a", Path("b")]), str)
    assert_type([subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL], list[int])
    assert_type(subprocess.__all__, list[str])
    assert_type(subprocess.CompletedProcess("true", 0, b"").stdout, bytes)
    assert_type(subprocess.CalledProcessError(1, "true", b"").returncode, int)
    assert_type(subprocess.TimeoutExpired("true", 1.0, b"").stdout, bytes | None)
    try:
        subprocess.check_call("true")
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        base: subprocess.SubprocessError = error
        print(base, error.cmd)


def handed_on(more: dict[str, Any], rest: Sequence[Any]) -> None:
    """Through wrappers that know little of the arguments."""
    assert_type(subprocess.Popen("true", text=True, **more).pid, int)
    assert_type(subprocess.run("true", text=True, check=True, **more).returncode, int)
    print(subprocess.check_output("true", text=True, **more).splitlines())
    assert_type(subprocess.call("true", **more), int)
    assert_type(subprocess.call(*rest), int)
    assert_type(functools.partial(subprocess.run, check=True)(["true"]).returncode, int)


async def in_threads(pool: Executor) -> None:
    """The function itself as an argument."""
    assert_type((await asyncio.to_thread(subprocess.run, ["true"])).returncode, int)
    assert_type(pool.submit(subprocess.call, ["true"]).result(), int)
    assert_type(pool.submit(subprocess.check_call, ["true"], timeout=3).result(), int)
