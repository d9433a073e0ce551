"""setsid.aio."""

from __future__ import annotations

import asyncio
import os
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from typing_extensions import assert_type

import setsid
from setsid import ChildSetup, EndReport, Session, aio


async def wants_a_standard_one(process: asyncio.subprocess.Process) -> int:
    """A function of somebody who knows the standard library alone."""
    return await process.wait()


async def create_subprocess_exec() -> None:
    """The standard arguments, and `setup`."""
    process = await aio.create_subprocess_exec("true", b"x", Path("/"), stdin=DEVNULL, stdout=PIPE, limit=1 << 20)
    assert_type(process, aio.Process)
    await wants_a_standard_one(process)
    assert_type(process.stdin, StreamWriter | None)
    assert_type(process.stdout, StreamReader | None)
    assert_type(process.pid, int)
    assert_type(process.returncode, int | None)
    assert_type(await process.wait(), int)
    assert_type(await process.communicate(b"x"), tuple[bytes, bytes])
    await aio.create_subprocess_exec("true", setup=ChildSetup(nice=5), env={"A": "b"}, cwd=Path("/"), pass_fds=[3])
    await aio.create_subprocess_exec("true", preexec_fn=os.setsid, start_new_session=True, executable="/bin/true")
    await aio.create_subprocess_exec("true", setup=None, text=False, bufsize=0, encoding=None)


async def create_subprocess_shell(more: dict[str, Any]) -> None:
    """The same with a command."""
    assert_type(await aio.create_subprocess_shell("true", stdout=PIPE, setup=ChildSetup()), aio.Process)
    assert_type(await aio.create_subprocess_shell(b"true", DEVNULL, PIPE, None, user="nobody", umask=0), aio.Process)
    assert_type(await aio.create_subprocess_shell("true", **more), aio.Process)


async def ends(process: aio.Process) -> None:
    """What an aio.Process can do besides."""
    assert_type(process.session, Session | None)
    assert_type(process.signal_group(15), None)
    assert_type(await process.end(), EndReport)
    assert_type(await process.end(0.5, signal=9), EndReport)


async def run(flag: bool, encoding: str | None) -> None:
    """Text, bytes, and either, as setsid.run."""
    assert_type(await aio.run("true", shell=True, timeout=3), CompletedProcess[bytes])
    assert_type(await aio.run(["true"], input=b"x", text=False), CompletedProcess[bytes])
    assert_type(await aio.run(["true"], text=True, input="x"), CompletedProcess[str])
    assert_type(await aio.run(["true"], encoding="utf-8", check=True), CompletedProcess[str])
    assert_type(await aio.run(["true"], errors="replace"), CompletedProcess[str])
    assert_type(await aio.run(["true"], universal_newlines=True), CompletedProcess[str])
    assert_type(await aio.run(["true"], text=flag), CompletedProcess[Any])
    assert_type(await aio.run(["true"], encoding=encoding), CompletedProcess[Any])
    assert_type(await aio.run(["true"], universal_newlines=flag, input="x"), CompletedProcess[Any])
    assert_type(await aio.run(["true"], grace=1, end_signal=1, setup=ChildSetup()), CompletedProcess[bytes])
    assert_type((await aio.run(["true"], capture_output=True, start_new_session=False)).stdout, bytes)


async def many() -> None:
    """Through asyncio's own functions."""
    task = asyncio.create_task(aio.run("true", text=True))
    assert_type(await task, CompletedProcess[str])
    assert_type(await asyncio.wait_for(aio.run("true"), 3), CompletedProcess[bytes])
    assert_type(await asyncio.gather(aio.run("true"), setsid.spawn(["true"])), tuple[CompletedProcess[bytes], int])
