"""What a type checker must refuse: each line says by which rule, and one that is not needed is an error too."""

from __future__ import annotations

import resource
import subprocess as standard
import sys

import setsid
from setsid import ChildSetup, aio, subprocess


def wants_text(process: standard.Popen[str]) -> None:
    """A function of somebody who knows the standard library alone."""


def fields(setup: ChildSetup) -> None:
    """Misspelt, and of wrong types."""
    setsid.spawn(["true"], umaks=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    setsid.spawn(["true"], preexec_fn=print)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    setsid.spawn(["true"], umask="022")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.spawn("true", cwd=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.spawn(["true"], env=["A=b"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.ChildSetup(process_group="new")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.ChildSetup(rlimits={resource.RLIMIT_CORE: 0})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    setsid.ChildSetup(extra_groups=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.ChildSetup(cpu_affinity=["0"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    setsid.ChildSetup(chroot=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.ChildSetup(user=b"nobody")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.fork(["true"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.fork(nice="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setup.apply(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    setup.apply(parent_pid="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setup.apply = None  # type: ignore[assignment, misc]  # pyright: ignore[reportAttributeAccessIssue]


async def results(process: setsid.Process, child: aio.Process) -> None:
    """Used as what they are not."""
    text: str = await process  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    pids: list[int] = process.end().escaped  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    report: setsid.EndReport = child.end()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    process.end(5, 9)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    process.returncode = 0  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    print(text, pids, report, setsid.EndReport((), ()).killed)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def popen() -> None:
    """Text is not bytes, nor the other way round."""
    wants_text(setsid.Popen("true"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.Popen("true", text=True).communicate(b"x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.Popen("true").communicate("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    setsid.Popen("true", no_such_argument=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    setsid.Popen("true", setup={"umask": 0})  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setsid.Popen("true", umask=None)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setsid.Popen("true", nice=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    setsid.Popen(["true", 1])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setsid.Popen("true", stdin="file")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setsid.Popen("true", env=["A=b"])  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setsid.Popen("true", setup=ChildSetup()).end(5, 9)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def functions() -> None:
    """Arguments of one that another does not take."""
    subprocess.run("true", grace=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    subprocess.call("true", input=b"x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    subprocess.call("true", check=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    subprocess.check_output("true", stdout=subprocess.PIPE)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    subprocess.check_output("true", capture_output=True)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    text: str = subprocess.check_output("true")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, subprocess.no_such_name)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def run() -> None:
    """Its first argument alone goes by position, and no Python runs in the child."""
    setsid.run("true", -1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    setsid.run("true", preexec_fn=print)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    setsid.run("true", timeout="1")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    setsid.run("true", nice=5)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    text: str = setsid.run("true").stdout  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    data: bytes = setsid.run("true", encoding="utf-8").stdout  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, data)


async def in_an_event_loop() -> None:
    """There, subprocesses are of bytes."""
    await aio.create_subprocess_exec("true", text=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await aio.create_subprocess_exec(["true"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await aio.create_subprocess_exec("true", shell=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await aio.create_subprocess_exec("true", umaks=0)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await aio.create_subprocess_exec("true", setup={"umask": 0})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await aio.create_subprocess_shell(["true"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await aio.create_subprocess_shell("true", encoding="utf-8")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await aio.run("true", -1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    await aio.run("true", preexec_fn=print)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    text: str = (await aio.run("true")).stdout  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    print(text, aio.run("true", text=True).stdout)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def before_python_3_11() -> None:
    """It has no process_group."""
    if sys.version_info < (3, 11):
        subprocess.Popen("true", process_group=0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        subprocess.run("true", process_group=0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        setsid.run("true", process_group=0)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
