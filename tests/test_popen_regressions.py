"""What once went wrong in Popen, run and asyncio."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable

import pytest

from support import fresh

plans = pytest.mark.parametrize("plan", ["None", "setsid.ChildSetup()"], ids=["standard", "plan"])

# A program whose grandchild holds `lifeline` until it ends; `gone` waits for that.
LIFELINE = """
import asyncio, select
from setsid import aio
lifeline, held = os.pipe()
def gone():
    os.close(held)
    assert select.select([lifeline], [], [], 20)[0] and os.read(lifeline, 100) in (b"", b"ready\\n")
    assert select.select([lifeline], [], [], 20)[0] and os.read(lifeline, 100) == b"", "it lives"
"""


@plans
def test_a_handlers_timeout_error_is_not_taken_for_a_timeout(plan: str) -> None:
    fresh(
        f"""
class Mine(TimeoutError):
    pass
def handler(*_):
    raise Mine
signal.signal(signal.SIGALRM, handler)
process = setsid.Popen(["sleep", "60"], setup={plan})
def run():
    setsid.run(["sleep", "60"])
for call in process.wait, lambda: process.wait(50), lambda: process.communicate(timeout=50), run:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        call()
    except Mine:
        continue
    raise AssertionError
process.kill()
assert process.wait() == -9 and children() == []
"""
    )


@pytest.mark.skipif(
    tuple(map(int, re.findall(r"\d+", platform.release())[:2])) < (6, 9),
    reason="before Linux 6.9 all pidfds have the same inode, and can't be told apart",
)
@plans
def test_closing_all_files_loses_no_child(plan: str) -> None:
    fresh(
        f"""
def start(*argv):
    return setsid.Popen(argv, setup={plan})
first = start("sh", "-c", "exit 5")
os.closerange(3, 100)
second = start("sh", "-c", "exit 7")
assert (first.wait(), second.wait()) == (5, 7)
first = start("sleep", "60")
os.closerange(3, 100)
second = start("sleep", "60")
first.kill()
assert (first.wait(20), second.poll()) == (-9, None)
second.kill()
assert second.wait(20) == -9
del first, second
file = os.dup(0)
process = start("true")
os.closerange(3, 100)
file = os.dup(0)
process.wait()
del process
start("true").wait()
os.fstat(file)  # it was not closed in place of the pidfd
"""
    )


def test_without_proc_a_run_is_still_ended(need: Callable[..., str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("a mount namespace needs root")
    fresh(
        LIFELINE
        + """
import ctypes
assert ctypes.CDLL(None).umount2(b"/proc", 2) == 0
try:
    setsid.run("sleep 60 & echo x; sleep 60", shell=True, timeout=0.3, stdout=-1, pass_fds=[held])
except setsid.TimeoutExpired as error:
    assert (error.output, error.report, error.__cause__.filename) == (b"x\\n", None, "/proc")
else:
    raise AssertionError
os.close(held)
assert select.select([lifeline], [], [], 20)[0] and os.read(lifeline, 1) == b""
""",
        wrapper=(need("unshare"), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
    )


def test_what_a_leader_that_was_reaped_elsewhere_leaves_is_ended() -> None:
    fresh(
        LIFELINE
        + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # so the kernel reaps
try:
    setsid.run("sleep 60 & echo $!", shell=True, capture_output=True, timeout=0.3, pass_fds=[held])
except setsid.TimeoutExpired as error:
    ended = error.report.ended
    assert (int(error.output) in ended) or ended == ()  # before Linux 6.9 nobody can tell
    if not ended:
        os.kill(int(error.output), 9)
os.close(held)
assert select.select([lifeline], [], [], 20)[0] and os.read(lifeline, 1) == b""
"""
    )


@pytest.mark.parametrize("how", ["timeout=0.3", "cancelled"])
def test_a_leader_that_ends_before_its_session_does_not_keep_aio_run_from_ending_that(how: str) -> None:
    fresh(
        LIFELINE
        + f"""
async def main():
    how = {how!r}
    more = dict(timeout=0.3) if how != "cancelled" else {{}}
    coroutine = aio.run("sleep 60 & echo ready >&{{}}".format(held), shell=True, stdout=-1, pass_fds=[held], **more)
    task = asyncio.create_task(coroutine)
    if how == "cancelled":
        await asyncio.get_running_loop().run_in_executor(None, os.read, lifeline, 100)
        await asyncio.sleep(0.2)  # for the leader to end; too soon is no failure
        task.cancel()
    await asyncio.wait([task])
    assert task.cancelled() or type(task.exception()) is setsid.TimeoutExpired
asyncio.run(main())
gone()
assert children() == []
"""
    )


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_leaving_a_with_by_an_exception_as_it_waits_ends_the_session(kind: str) -> None:
    fresh(
        LIFELINE
        + f"""
async def wait():
    async with setsid.spawn(["sh", "-c", "sleep 60 & sleep 60"], pass_fds=[held]):
        pass
async def main():
    task = asyncio.create_task(wait())
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
def stop(*_):
    raise KeyboardInterrupt
if {kind!r} == "async":
    asyncio.run(main())
else:
    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    try:
        with setsid.spawn(["sh", "-c", "sleep 60 & sleep 60"], pass_fds=[held]):
            pass
    except KeyboardInterrupt:
        pass
os.close(held)
assert select.select([lifeline], [], [], 20)[0] and os.read(lifeline, 1) == b""
assert children() == []
"""
    )


def test_a_pidfd_that_an_event_loop_has_made_nonblocking_is_waited_for() -> None:
    fresh(
        """
for wait in setsid.Process.wait, setsid.Process.wait_change:
    with setsid.spawn(["sleep", "0.2"]) as process:
        os.set_blocking(process.fileno(), False)  # as libuv does
        wait(process)
        assert process.wait() == 0
"""
    )


def test_a_cancelled_creation_does_not_wait_for_strangers_who_hold_the_pipes() -> None:
    fresh(
        LIFELINE
        + """
async def main():
    transport = aio._Transport
    class Slow(transport):
        async def _connect_pipes(self, waiter):
            strangers.append(int(await asyncio.get_running_loop().run_in_executor(None, os.read, lifeline, 100)))
            task.cancel()
            await super()._connect_pipes(waiter)
    aio._Transport = Slow
    script = f"setsid sleep 60 & echo $! >&{held}"
    task = asyncio.create_task(aio.create_subprocess_shell(script, stdout=-1, stdin=-1, pass_fds=[held]))
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()
strangers = []
before = len(os.listdir("/proc/self/fd"))
asyncio.run(main())
os.kill(strangers[0], signal.SIGKILL)
assert children() == [] and len(os.listdir("/proc/self/fd")) == before
"""
    )


def test_a_wrapper_around_the_standard_class_hides_no_parameter() -> None:
    fresh(
        """
import functools, subprocess
execute = subprocess.Popen._execute_child
@functools.wraps(execute)
def traced(*args, **keywords):
    return execute(*args, **keywords)
subprocess.Popen._execute_child = traced
for setup in None, setsid.ChildSetup():
    assert setsid.Popen(["sh", "-c", "exit 3"], setup=setup).wait() == 3
"""
    )


def test_children_of_the_standard_library_leave_the_program_half_of_its_files() -> None:
    fresh(
        """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
processes = [setsid.Popen(["sleep", "60"]) for _ in range(80)]
for process in processes:
    process.kill()
assert {process.wait(20) for process in processes} == {-9} and children() == []
"""
    )


def test_a_command_that_a_program_cleans_up_with_is_let_finish() -> None:
    fresh(
        """
script = "trap 'sleep 0.3; echo clean; exit' TERM; echo; while :; do sleep 0.01; done"
try:
    setsid.run(script, shell=True, timeout=0.3, grace=50, stdout=-1)
except setsid.TimeoutExpired as error:
    assert error.output == b"\\nclean\\n" and error.report.survived == ()
else:
    raise AssertionError
"""
    )


@pytest.mark.parametrize(
    "arguments",
    ["input=b'x', text=True", "input='x'", "encoding='nosuch'", "text=True, errors='nosuch'", "timeout=1j", "grace=1j"],
)
def test_what_can_not_be_is_refused_before_anything_starts(arguments: str) -> None:
    fresh(
        f"""
import asyncio
from setsid import aio
started = []
sys.addaudithook(lambda event, args: started.append(args) if event == "subprocess.Popen" else None)
for call in setsid.run, lambda *args, **keywords: asyncio.run(aio.run(*args, **keywords)):
    try:
        call(["true"], capture_output=True, {arguments})
    except (TypeError, AttributeError, LookupError):
        continue
    raise AssertionError
assert started == []
"""
    )


def test_a_child_that_an_exception_has_left_to_the_standard_class_is_reaped_in_time() -> None:
    fresh(
        """
import gc, subprocess, warnings
import setsid._popen
warnings.simplefilter("ignore", ResourceWarning)
reader, writer = os.pipe()  # the standard class reaps one that has ended already when it is dropped
adopted = setsid._popen.adopted
def interrupted(pid):
    setsid._popen.adopted = adopted
    raise KeyboardInterrupt
setsid._popen.adopted = interrupted
reader, writer = os.pipe()
try:
    setsid.Popen(["cat"], stdin=reader)  # which has not ended yet when the Popen goes
except KeyboardInterrupt:
    pass
gc.collect()
(pid,) = children()
os.close(writer)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
subprocess.Popen(["true"]).wait()
assert (children(), subprocess._active) == ([], [])
"""
    )
