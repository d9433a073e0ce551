"""setsid.aio's processes are asyncio's, waited for by pidfd in any event loop."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

from scenarios import RAISES, TELLS, hidden
from support import fresh

# For a helper: drive() runs a coroutine function in a new loop of the kind that the first argument names. Whatever goes
# wrong unseen there, or is left there, is a failure.
LOOPS = """
import asyncio, faulthandler, gc, resource, select, threading, warnings
from setsid import aio

faulthandler.dump_traceback_later(40, exit=True)  # what hangs must end
KIND = sys.argv[1]
PIPE, DEVNULL, STDOUT = -1, -3, -2
PIPES = dict(stdin=PIPE, stdout=PIPE, stderr=PIPE)
SESSION = setsid.ChildSetup(process_group=setsid.NEW_SESSION)

def new_loop(kind=KIND):
    if kind == "asyncio":
        return asyncio.new_event_loop()
    import uvloop
    return uvloop.new_event_loop()

def drive(main, kind=KIND):
    troubles = []
    loop = new_loop(kind)
    loop.slow_callback_duration = 60  # a busy machine is no fault
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    try:
        result = loop.run_until_complete(main())
        loop.run_until_complete(asyncio.sleep(0))
        assert asyncio.all_tasks(loop) == set(), asyncio.all_tasks(loop)
        gc.collect()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        loop.close()
    assert troubles == [], troubles
    return result

async def turns(number):
    for _ in range(number):
        await asyncio.sleep(0)

async def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)

def lives(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

new_loop().close()  # libuv opens what it shares between loops
"""


def loop_mark(kind: str) -> pytest.MarkDecorator:
    missing = kind != "asyncio" and find_spec(kind) is None
    return pytest.mark.skipif(missing, reason=f"{kind} is not installed")


loops = pytest.mark.parametrize("loop", [pytest.param(kind, marks=loop_mark(kind)) for kind in ("asyncio", "uvloop")])
setups = pytest.mark.parametrize("setup", ["None", "setsid.ChildSetup()", "SESSION"])


def scenario(
    source: str, loop: str = "asyncio", *, hide_pidfd: bool = False, env: dict[str, str] | None = None
) -> None:
    """Run `source` with `drive`. It must be silent: loops and destructors write what they can't raise."""
    result = fresh(RAISES + LOOPS + source, loop, hide_pidfd=hide_pidfd, env=env)
    assert (result.stdout, result.stderr) == ("", "")


# -- the same as asyncio's own

# For a helper: what comes of a call, in words that can be compared.
OUTCOMES = """
async def outcome(create, args, keywords):
    try:
        process = await create(*args, **keywords)
    except Exception as error:
        return error
    return (*await process.communicate(b"" if process.stdin else None), process.returncode)

def expect_the_same(cases, same, **more):
    for name, args, keywords in cases:
        expected = drive(lambda: outcome(getattr(asyncio, name), args, keywords), "asyncio")
        actual = drive(lambda: outcome(getattr(aio, name), args, {**keywords, **more}))
        assert same(expected, actual), (name, args, keywords, expected, actual)

EXEC, SHELL = "create_subprocess_exec", "create_subprocess_shell"
OUT = dict(stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
"""


@loops
@setups
def test_results_are_those_of_asyncio(loop: str, setup: str) -> None:
    scenario(
        OUTCOMES
        + f"""
cases = [
    (EXEC, ("true",), OUT),
    (EXEC, (b"sh", "-c", "exit 7"), OUT),
    (EXEC, ("sh", "-c", "kill -KILL $$"), OUT),
    (EXEC, ("sh", "-c", "echo out; echo err >&2"), OUT),
    (EXEC, ("sh", "-c", "echo out; echo err >&2"), {{**OUT, "stderr": STDOUT}}),
    (EXEC, ("sh", "-c", "read line; echo $?"), PIPES),
    (EXEC, ("pwd",), {{**OUT, "cwd": "/"}}),
    (EXEC, ("env",), {{**OUT, "env": {{"A": "b"}}}}),
    (EXEC, ("zero", "-c", "echo $0"), {{**OUT, "executable": "sh"}}),
    (EXEC, ("sh", "-c", "umask"), {{**OUT, "umask": 0o27}}),
    (SHELL, ("exit 3",), OUT),
    (SHELL, (b"echo $$-; echo ${{#}}",), {{**OUT, "stdout": DEVNULL}}),
    (SHELL, ("echo $0",), {{**OUT, "executable": "/bin/sh"}}),
]
expect_the_same(cases, lambda expected, actual: expected == actual and type(expected) is tuple, setup={setup})
""",
        loop,
    )


@loops
@pytest.mark.parametrize("setup", ["None", "setsid.ChildSetup()"])
def test_what_asyncio_refuses_is_refused_in_the_same_words(loop: str, setup: str) -> None:
    scenario(
        OUTCOMES
        + f"""
cases = [
    (EXEC, ("true",), dict(shell=True)),
    (EXEC, ("true",), dict(universal_newlines=True)),
    (EXEC, ("true",), dict(bufsize=1)),
    (EXEC, ("true",), dict(bufsize=-1)),
    (EXEC, ("true",), dict(bufsize=None)),
    (EXEC, ("true",), dict(text=True)),
    (EXEC, ("true",), dict(encoding="utf-8")),
    (EXEC, ("true",), dict(encoding="")),
    (EXEC, ("true",), dict(errors="strict")),
    (EXEC, ("true",), dict(nonsense=1)),
    (EXEC, ("true", 1), {{}}),
    (EXEC, (1,), {{}}),
    (EXEC, (None,), {{}}),
    (EXEC, (["true"],), {{}}),
    (EXEC, ("a\\0b",), {{}}),
    (SHELL, ("true",), dict(shell=False)),
    (SHELL, ("true",), dict(text=True)),
    (SHELL, ("true",), dict(bufsize=4096)),
    (SHELL, (["true"],), {{}}),
    (SHELL, (None,), {{}}),
    (SHELL, ("\\0",), {{}}),
]
def same(expected, actual):
    assert isinstance(expected, (TypeError, ValueError))
    return (type(expected), str(expected)) == (type(actual), str(actual))
with nothing_left():
    expect_the_same(cases, same, setup={setup})
""",
        loop,
    )


@loops
@setups
def test_a_program_that_cannot_be_started_is_the_same_exception(loop: str, setup: str) -> None:
    scenario(
        OUTCOMES
        + f"""
cases = [
    (EXEC, ("/nonexistent/program",), {{}}),
    (EXEC, ("no-such-program",), PIPES),
    (EXEC, ("/etc/passwd",), PIPES),
    (EXEC, ("/",), {{}}),
    (EXEC, ("true",), dict(cwd="/nonexistent")),
    (EXEC, ("true",), dict(cwd="/etc/passwd")),
    (EXEC, ("true",), dict(executable="/nonexistent/program")),
    (SHELL, ("true",), dict(executable="/nonexistent/sh")),
]
def same(expected, actual):
    kind = type(expected)
    return isinstance(actual, kind) and (expected.errno, expected.filename) == (actual.errno, actual.filename)
with nothing_left():
    expect_the_same(cases, same, setup={setup})
""",
        loop,
    )


def test_a_step_of_the_plan_that_fails_is_named() -> None:
    scenario("""
async def main():
    with raises(FileNotFoundError, stage=setsid.Stage.CWD, call="chdir"):
        await aio.create_subprocess_exec("true", setup=setsid.ChildSetup(cwd="/nonexistent"), **PIPES)
    with raises(ValueError, "the argument umask and the field umask of setup both say it"):
        await aio.create_subprocess_exec("true", umask=0, setup=setsid.ChildSetup(umask=0))
    with raises(TypeError, "setup must be a ChildSetup, not dict"):
        await aio.create_subprocess_shell("true", setup={})
with nothing_left():
    drive(main)
""")


def test_processes_are_not_made_outside_a_loop() -> None:
    scenario("""
with raises(RuntimeError, "no running event loop"):
    aio.create_subprocess_exec("true").send(None)
assert children() == []
""")


# -- streams, waiting and the transport


@loops
@setups
def test_the_streams_are_those_of_asyncios_process(loop: str, setup: str) -> None:
    scenario(
        f"""
async def main():
    process = await aio.create_subprocess_exec("cat", setup={setup}, **PIPES)
    assert isinstance(process, asyncio.subprocess.Process)
    for line in b"one\\n", b"two\\n":
        process.stdin.write(line)
        await process.stdin.drain()
        assert await process.stdout.readline() == line
    big = b"x" * 3_000_000
    async def write():
        process.stdin.write(big)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    writing = asyncio.create_task(write())
    assert await process.stdout.read() == big
    await writing
    assert (await process.stderr.read(), await process.wait(), process.returncode) == (b"", 0, 0)
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_communicate_writes_and_reads_side_by_side(loop: str) -> None:
    scenario(
        """
async def main():
    process = await aio.create_subprocess_shell("cat; echo done >&2; exit 5", setup=SESSION, **PIPES)
    big = b"x" * 3_000_000
    assert await process.communicate(big) == (big, b"done\\n")
    assert process.returncode == 5
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_a_line_longer_than_the_limit_is_refused(loop: str) -> None:
    scenario(
        """
async def main():
    process = await aio.create_subprocess_shell("echo 123456789", stdout=PIPE, limit=4)
    with raises(asyncio.LimitOverrunError):
        await process.stdout.readuntil()
    assert await process.stdout.read() == b"123456789\\n"
    assert await process.wait() == 0
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
@hidden
def test_several_tasks_wait_and_a_cancelled_one_disturbs_none(loop: str, hide_pidfd: bool) -> None:
    scenario(
        """
async def main():
    process = await aio.create_subprocess_exec("cat", stdin=PIPE)
    tasks = [asyncio.create_task(process.wait()) for _ in range(5)]
    await turns(3)
    tasks[2].cancel()
    await turns(3)
    assert [task.done() for task in tasks] == [False, False, True, False, False]
    process.send_signal(signal.SIGTERM)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["-15", "-15", "", "-15", "-15"]
    assert tasks[2].cancelled() and await process.wait() == process.returncode == -15
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@setups
def test_the_transport_tells_of_the_process(loop: str, setup: str) -> None:
    scenario(
        f"""
async def main():
    process = await aio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, setup={setup})
    transport = process._transport
    assert transport.get_pid() == process.pid == children()[0]
    assert (transport.get_returncode(), process.returncode, transport.is_closing()) == (None, None, False)
    assert transport.get_pipe_transport(0) is process.stdin.transport
    assert transport.get_pipe_transport(1) is not None and transport.get_pipe_transport(2) is None
    assert isinstance(transport.get_extra_info("subprocess"), setsid.Popen)
    assert transport.get_extra_info("subprocess").pid == process.pid
    assert f"pid={{process.pid}} running" in repr(transport)
    process.stdin.close()
    assert await process.wait() == 0
    assert transport.get_returncode() == 0
    await until(transport.is_closing)
    assert repr(process) == f"<Process {{process.pid}}>"
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
@setups
def test_closing_the_transport_kills_and_reaps_the_process(loop: str, setup: str) -> None:
    scenario(
        f"""
import logging
logging.getLogger("asyncio").addFilter(lambda record: "Close running child process" not in record.msg)  # in debug mode
async def main():
    process = await aio.create_subprocess_exec("sleep", "60", setup={setup}, **PIPES)
    process._transport.close()
    assert process._transport.is_closing()
    assert await process.wait() == -signal.SIGKILL
    assert children() == []
    process._transport.close()
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
@setups
def test_signals_go_by_pidfd_and_not_by_number(loop: str, setup: str) -> None:
    scenario(
        f"""
def kill(pid, number):
    raise AssertionError("by number")
os.kill = kill
async def main():
    sends = [
        (signal.SIGUSR1, lambda process: process.send_signal(signal.SIGUSR1)),
        (signal.SIGTERM, lambda process: process.terminate()),
        (signal.SIGKILL, lambda process: process.kill()),
        (signal.SIGINT, lambda process: process._transport.send_signal(signal.SIGINT)),
        (signal.SIGTERM, lambda process: process._transport.terminate()),
        (signal.SIGKILL, lambda process: process._transport.kill()),
    ]
    for number, send in sends:
        process = await aio.create_subprocess_exec("sleep", "60", setup={setup})
        send(process)
        assert await process.wait() == -number
        await turns(2)
        with raises(ProcessLookupError):  # as asyncio's
            send(process)
with nothing_left():
    drive(main)
""",
        loop,
    )


# -- what asyncio's has not


@loops
@hidden
def test_end_ends_the_session_and_the_returncode_is_known_then(loop: str, hide_pidfd: bool) -> None:
    scenario(
        """
async def main():
    script = "sleep 60 & echo $!; exec sleep 60"
    for script, code in (script, -15), ("trap '' TERM; " + script, -9):
        process = await aio.create_subprocess_shell(script, stdout=PIPE, setup=SESSION)
        assert process.session == setsid.Session(process.pid)
        grandchild = int(await process.stdout.readline())
        report = await process.end(0.2)
        assert {process.pid, grandchild} <= set(report.ended) and report.survived == ()
        assert (process.returncode, lives(grandchild), children()) == (code, False, [])
        assert (await process.stdout.read(), await process.wait()) == (b"", code)
        assert await process.end() == setsid.EndReport((), ())
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
def test_end_and_signal_group_keep_to_what_the_child_leads(loop: str) -> None:
    scenario(
        """
async def main():
    script = "sleep 60 & echo $!; exec sleep 60"
    process = await aio.create_subprocess_shell(script, stdout=PIPE)
    grandchild = int(await process.stdout.readline())
    assert process.session is None
    with raises(ValueError, "own process group"):
        process.signal_group(signal.SIGTERM)
    for bad in dict(grace=-1), dict(signal=99):
        with raises(ValueError):
            await process.end(**bad)
    report = await process.end(signal=signal.SIGHUP)
    assert (report.ended, process.returncode) == ((process.pid,), -signal.SIGHUP)
    assert grandchild in report.escaped and lives(grandchild)
    for pid in report.escaped:
        os.kill(pid, 9)
    await process.wait()
    group = await aio.create_subprocess_shell(script, stdout=PIPE, setup=setsid.ChildSetup(process_group=0))
    pidfd = os.pidfd_open(int(await group.stdout.readline()))
    assert group.session is None
    group.signal_group(signal.SIGKILL)
    assert await group.wait() == -9
    assert select.select([pidfd], [], [], 30)[0] == [pidfd]
    os.close(pidfd)
with nothing_left():
    drive(main)
""",
        loop,
    )


# -- how it is waited for


@loops
@setups
def test_waiting_uses_no_thread_no_handler_and_no_child_watcher(loop: str, setup: str) -> None:
    scenario(
        f"""
def broken(*args):
    raise AssertionError("a child watcher")
for where in (asyncio, asyncio.events):
    if "get_child_watcher" in vars(where):
        where.get_child_watcher = broken
if hasattr(getattr(asyncio.events, "BaseDefaultEventLoopPolicy", None), "get_child_watcher"):  # until 3.13
    asyncio.DefaultEventLoopPolicy.get_child_watcher = broken
async def main():
    before = os.listdir("/proc/self/task"), signal.getsignal(signal.SIGCHLD), status()["SigCgt"]
    processes = [await aio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, setup={setup}) for _ in range(10)]
    waiting = asyncio.gather(*(process.wait() for process in processes))
    await turns(5)
    assert (os.listdir("/proc/self/task"), signal.getsignal(signal.SIGCHLD), status()["SigCgt"]) == before
    assert threading.enumerate() == [threading.main_thread()]
    for process in processes:
        process.stdin.close()
    assert await waiting == [0] * 10
with nothing_left():
    drive(main)
""",
        loop,
    )


@setups
def test_loops_of_other_threads_wait_for_their_own(setup: str) -> None:
    # Not in uvloop: it closes the number of a pipe twice, and the other thread may have it by then.
    scenario(
        f"""
both = threading.Barrier(2)
async def main():
    assert threading.current_thread() is not threading.main_thread()
    process = await aio.create_subprocess_exec("cat", setup={setup}, **PIPES)
    both.wait()
    text = b"%d" % threading.get_native_id()
    assert await process.communicate(text) == (text, b"")
    killed = await aio.create_subprocess_exec("sleep", "60", setup={setup})
    both.wait()
    killed.kill()
    return process.returncode, await killed.wait()
results = []
def run():
    try:
        results.append(drive(main))
    except BaseException as error:
        both.abort()
        results.append(error)
with nothing_left():
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [(0, -9), (0, -9)], results
"""
    )


@loops
def test_the_debug_mode_has_nothing_to_say(loop: str) -> None:
    scenario(
        """
import logging
logging.basicConfig(level=logging.INFO)  # to stderr, which must stay empty but for what is expected
told = []
logging.getLogger("asyncio").addFilter(lambda record: told.append((record.levelname, record.getMessage())))
async def main():
    assert asyncio.get_running_loop().get_debug()
    process = await aio.create_subprocess_shell("cat; exit 3", setup=SESSION, **PIPES)
    assert await process.communicate(b"x") == (b"x", b"")
    assert await aio.run(["true"]) is not None
    with await_spawn() as process:
        assert await process == 0
def await_spawn():
    return setsid.spawn(["true"])
drive(main)
assert [level for level, _ in told if level != "INFO"] == [], told
""",
        loop,
        env={**os.environ, "PYTHONASYNCIODEBUG": "1"},
    )


# -- what goes wrong


@loops
@setups
def test_a_creation_that_is_cancelled_leaves_nothing(loop: str, setup: str) -> None:
    scenario(
        f"""
async def main():
    cancelled = 0
    for number in range(100):
        create = aio.create_subprocess_exec("sleep", "60", setup={setup}, **PIPES)
        task = asyncio.create_task(create)
        await turns(number)
        if task.done():
            task.result().kill()
            await task.result().communicate(b"")
            return cancelled
        task.cancel()
        with raises(asyncio.CancelledError):
            await task
        assert children() == []
        cancelled += number > 0  # after it began
        await turns(10)
with nothing_left():
    assert drive(main) >= 3
""",
        loop,
    )


@loops
@setups
def test_a_loop_that_is_closed_under_a_child_leaves_no_file_and_no_zombie(loop: str, setup: str) -> None:
    scenario(
        f"""
warnings.simplefilter("ignore", ResourceWarning)  # it deserves those
import logging
logging.getLogger("asyncio").setLevel(logging.ERROR)
async def main():
    return await aio.create_subprocess_exec("sleep", "60", setup={setup})
with nothing_left():
    process = drive(main)
    pidfd = os.pidfd_open(process.pid)
    del process
    gc.collect()
    assert select.select([pidfd], [], [], 30)[0] == [pidfd]  # killed, as by asyncio's own transport
    os.close(pidfd)
    for _ in range(2):
        with setsid.spawn(["true"]):  # which reaps those that were dropped
            pass
        import subprocess
        subprocess._cleanup()
""",
        loop,
    )


@loops
@setups
def test_500_children_leave_nothing(loop: str, setup: str) -> None:
    scenario(
        f"""
async def one(number, slots):
    async with slots:
        process = await aio.create_subprocess_exec("cat", setup={setup}, **PIPES)
        text = b"%d" % number
        assert await process.communicate(text) == (text, b"")
        return process.returncode
async def main():
    slots = asyncio.Semaphore(50)
    assert await asyncio.gather(*(one(number, slots) for number in range(500))) == [0] * 500
    assert asyncio.all_tasks() == {{asyncio.current_task()}}
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
@setups
def test_without_files_for_it_the_error_leaves_nothing(loop: str, setup: str) -> None:
    scenario(
        f"""
# The standard class loses the pipes that it has made before the one that fails, but for 3.11.4 and later ones.
STREAMS = PIPES if sys.version_info >= (3, 11, 4) else dict(stdout=PIPE)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
async def attempt(free):
    "Whether a child could be made with so many free file descriptors."
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    taken = take_files(free)
    try:
        process = await aio.create_subprocess_exec("cat", setup={setup}, **STREAMS)
        await process.communicate(b"" if process.stdin else None)
    except OSError as error:
        assert error.errno == errno.EMFILE
        return False
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return True
async def main():
    process = await aio.create_subprocess_exec("true", stdout=PIPE)  # libuv keeps a file
    await process.communicate()
    made = []
    while not (made and made[-1]):
        before = open_fds()
        made.append(await attempt(len(made)))
        await turns(10)
        gc.collect()
        assert (open_fds(), children()) == (before, [])
    return len(made)
assert drive(main) > 2
""",
        loop,
    )


@loops
@setups
@hidden
def test_a_child_that_is_reaped_elsewhere_is_told_as_well_as_it_can_be(loop: str, setup: str, hide_pidfd: bool) -> None:
    scenario(
        TELLS
        + f"""
import logging
told = []
logging.getLogger("asyncio").addFilter(lambda record: told.append(record.getMessage()))
async def main():
    release, writer = os.pipe()
    process = await aio.create_subprocess_shell("read line; exit 7", stdin=release, setup={setup})
    os.close(release)
    os.close(writer)
    assert os.waitpid(process.pid, 0) == (process.pid, 7 << 8)
    return process.pid, await process.wait()
knows = {not hide_pidfd} and kernel_tells()
with nothing_left():
    pid, returncode = drive(main)
if knows:
    assert (returncode, told) == (7, [])
else:  # as asyncio has it
    assert returncode == 255
    assert len(told) == 1 and f"process {{pid}} was reaped elsewhere" in told[0] and "255" in told[0], told
""",
        loop,
        hide_pidfd=hide_pidfd,
    )
