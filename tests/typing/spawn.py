"""spawn, with ChildSetup's fields as keywords, and its Process."""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from pathlib import Path
from resource import struct_rusage

from typing_extensions import Unpack, assert_type

import setsid
from setsid import ChildSetup, EndReport, Process, ProcessState, Session, SetupFields

LIMITS = {resource.RLIMIT_CORE: (0, resource.RLIM_INFINITY)}


def fields(setup: ChildSetup, path: str | bytes) -> None:
    """Each is a keyword, beside spawn's own arguments."""
    assert_type(setsid.spawn(["make"], cwd="/src", nice=5), Process)
    assert_type(setsid.spawn(("true", Path("/"), b"x"), setup, env={"PATH": "/bin"}, umask=0), Process)
    assert_type(setsid.spawn(["true"], setup=setup, executable=path, env={b"A": Path("b")}), Process)
    setsid.spawn(["true"], process_group=setsid.NEW_SESSION, signal_mask=setsid.INHERIT)
    setsid.spawn(["true"], process_group=0, stdin=setsid.DEVNULL, stdout=sys.stdout, stderr=setsid.STDOUT)
    setsid.spawn(["true"], ctty=3, steal_ctty=True, foreground_tty=sys.stdin, pass_fds={3: 4, 5: sys.stderr})
    setsid.spawn(["true"], release_ctty=True, pass_fds=[3, sys.stdin], close_fds=False, cwd=3, chroot=Path("/"))
    setsid.spawn(["true"], user="nobody", group=0, extra_groups=["daemon", 3], rlimits=LIMITS, cgroup="/sys/fs/cgroup")
    setsid.spawn(["true"], cpu_affinity=range(2), oom_score_adj=1000, parent_death_signal=signal.SIGKILL)
    setsid.spawn(["true"], default_signals={signal.SIGPIPE}, ignore_signals=[1], no_new_privileges=True)
    setsid.spawn(["true"], process_group=None, cwd=None, nice=None, user=None, rlimits=None, signal_mask=None)


def hands_them_on(argv: list[str], **changes: Unpack[SetupFields]) -> Process:
    """A function of somebody else, with the same keywords."""
    return setsid.spawn(argv, **changes)


def members(process: Process) -> None:
    """What a Process has and does."""
    hands_them_on(["true"], umask=0o22)
    assert_type(process.pid, int)
    assert_type(process.returncode, int | None)
    assert_type(process.core_dumped, bool)
    assert_type(process.rusage, struct_rusage | None)
    assert_type(process.fileno(), int)
    assert_type(process.poll(), int | None)
    assert_type(process.wait(1.5), int)
    assert_type(process.wait(timeout=None, reap=False), int)
    assert_type(process.wait_change(), ProcessState)
    assert_type(process.session, Session | None)
    assert_type(process.signal_group(signal.SIGHUP), None)
    assert_type(process.end(), EndReport)
    assert_type(process.end(0.5, signal=9), EndReport)
    with setsid.spawn(["true"]) as entered:
        assert_type(entered, Process)


def detached(setup: ChildSetup) -> None:
    """Spawn's arguments, and what a DetachedProcess has and does."""
    with setsid.spawn_detached(["true"], setup, executable="x", env={"A": "b"}, umask=0) as process:
        assert_type(process, setsid.DetachedProcess)
    assert_type(process.pid, int)
    assert_type(process.fileno(), int)
    assert_type(process.is_alive(), bool)
    assert_type(process.wait(timeout=1.5), None)
    assert_type(process.send_signal(signal.SIGHUP), None)
    assert_type(process.end(0.5, signal=9), EndReport)
    assert_type(process.close(), None)


def end_report(report: EndReport) -> None:
    """Three tuples of pids."""
    assert_type(report.ended, tuple[int, ...])
    assert_type(report.survived, tuple[int, ...])
    assert_type(report.escaped, tuple[int, ...])


async def in_an_event_loop(process: Process) -> None:
    """`await process` is its returncode."""
    assert_type(await process, int)
    assert_type(await asyncio.wait_for(process, 3), int)
    assert_type(await process.end_async(), EndReport)
    assert_type(await process.end_async(0.5, signal=9), EndReport)
    async with setsid.spawn(["true"]) as entered:
        assert_type(entered, Process)
