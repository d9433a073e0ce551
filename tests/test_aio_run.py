"""setsid.aio.run: as setsid.run, and what cancels it ends the session."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import pytest

from test_aio import loops, scenario

# For a helper: run() and aio.run() side by side, and children that tell on fd `say` what they meet.
RUNS = """
import array, subprocess

def compared(result):
    if isinstance(result, subprocess.CompletedProcess):
        return result.args, result.returncode, result.stdout, result.stderr
    attributes = "stdout", "stderr", "returncode", "errno", "filename"
    return type(result), str(result), [getattr(result, name, None) for name in attributes]

def expect_the_same(*cases):
    for args, keywords in cases:
        try:
            expected = setsid.run(args, **keywords)
        except Exception as error:
            expected = error
        async def main():
            try:
                return await aio.run(args, **keywords)
            except Exception as error:
                return error
        actual = drive(main)
        assert compared(actual) == compared(expected), (args, keywords, actual, expected)

hear, say = os.pipe()

async def heard(text):
    read = b""
    while not read.endswith(text):
        await until(lambda: select.select([hear], [], [], 0)[0])
        read += os.read(hear, 100)
    await turns(20)  # the child may be faster than the loop, which still connects its pipes

TELLING = {"shell": True, "pass_fds": [say], "env": {**os.environ, "SAY": str(say)}}
# Deaf to SIGTERM, of which it tells; with a grandchild, deaf too.
DEAF = "trap 'echo term >/dev/fd/$SAY' TERM; (trap '' TERM; sleep 60) & echo go >/dev/fd/$SAY; while :; do wait; done"
# The grandchild says go, being no copy of the shell any more, which may lose a signal.
POLITE = '''
trap 'echo bye >/dev/fd/$SAY; exit' TERM
sh -c 'echo go >/dev/fd/$SAY; exec sleep 60' &
while :; do wait; done
'''
"""


def runs(source: str, loop: str = "asyncio") -> None:
    scenario(RUNS + source, loop)


# -- the same as run


@loops
def test_results_are_those_of_run(loop: str) -> None:
    runs(
        """
with nothing_left():
    OUT = dict(capture_output=True)
    expect_the_same(
        (["true"], {}),
        (["sh", "-c", "exit 7"], OUT),
        ("kill -KILL $$", dict(shell=True)),
        ("echo out; echo err >&2; exit 3", dict(shell=True, text=True, **OUT)),
        ("echo out; echo err >&2; exit 3", dict(shell=True, check=True, **OUT)),
        ("echo out; echo err >&2", dict(shell=True, stdout=PIPE, stderr=STDOUT)),
        ("echo out >&2", dict(shell=True, stdout=DEVNULL, stderr=PIPE)),
        (["cat"], dict(input=b"x", **OUT)),
        (["cat"], dict(input=b"", **OUT)),
        (["cat"], dict(input=bytearray(b"xy"), **OUT)),
        (["cat"], dict(input=memoryview(b"xyz"), **OUT)),
        (["cat"], dict(input=b"z" * 3_000_000, **OUT)),
        (["true"], dict(input=b"z" * 3_000_000, **OUT)),
        (["cat"], dict(stdin=PIPE, **OUT)),
        (["cat"], dict(input="", text=True, **OUT)),
        (["cat"], dict(input="\\u20ac", encoding="utf-16", **OUT)),
        (["cat"], dict(input="\\u20ac", encoding="ascii", errors="replace", **OUT)),
        (["cat"], dict(input=b"\\xff\\r\\na\\rb", text=True, errors="replace", **OUT)),
        (["cat"], dict(input=b"\\xff", text=True, **OUT)),
        (["cat"], dict(input=b"x", stdout=PIPE, encoding="utf-8")),
        (["pwd"], dict(cwd="/", text=True, **OUT)),
        (["ps", "-o", "ignored=", "-p", "1"], dict(setup=setsid.ChildSetup(ignore_signals=[15]), **OUT)),
    )
""",
        loop,
    )


@loops
def test_every_argument_of_run_is_taken(loop: str) -> None:
    runs(
        """
with nothing_left():
    OUT = dict(capture_output=True)
    expect_the_same(
        (["cat"], dict(input="a\\n", universal_newlines=True, **OUT)),
        (["cat"], dict(input=b"a", bufsize=-1, **OUT)),
        (["cat"], dict(input=b"a", bufsize=0, **OUT)),
        (["cat"], dict(input=b"a", bufsize=4096, **OUT)),
    )
""",
        loop,
    )


@loops
def test_any_buffer_may_be_the_input(loop: str) -> None:
    runs(
        """
numbers = array.array("i", range(100_000))
with nothing_left():
    for data in numbers, memoryview(numbers):
        result = drive(lambda: aio.run(["cat"], input=data, capture_output=True))
        assert result.stdout == numbers.tobytes()
""",
        loop,
    )


@loops
def test_input_for_a_program_that_reads_no_more_is_dropped(loop: str) -> None:
    runs(
        """
async def late(transport):
    await vars(transport)["waiter"]
    await until(transport.get_pipe_transport(0).is_closing)
class Late(aio._Transport):
    connected = property(late, lambda self, waiter: vars(self).update(waiter=waiter))
aio._Transport = Late
with nothing_left():
    result = drive(lambda: aio.run(["echo", "x"], input=b"z" * 3_000_000, stdout=PIPE))
    assert (result.returncode, result.stdout) == (0, b"x\\n")
""",
        loop,
    )


@loops
def test_what_run_refuses_is_refused_in_the_same_words(loop: str) -> None:
    runs(
        """
with nothing_left():
    expect_the_same(
        (["true"], dict(grace=-1)),
        (["true"], dict(grace=float("nan"))),
        (["true"], dict(grace="1")),
        (["true"], dict(end_signal=99)),
        (["true"], dict(timeout=float("nan"))),
        (["true"], dict(timeout="1")),
        (["true"], dict(preexec_fn=print)),
        (["true"], dict(setup={})),
        (["true"], dict(setup=setsid.ChildSetup(process_group=0), start_new_session=False)),
        (["true"], dict(setup=setsid.ChildSetup(umask=0), umask=0)),
        (["true"], dict(capture_output=True, stdout=PIPE)),
        (["true"], dict(input=b"", stdin=DEVNULL)),
        (["true"], dict(nonsense=1)),
        (["/nonexistent/program"], {}),
        (["no-such-program"], dict(capture_output=True)),
        (["true"], dict(cwd="/nonexistent")),
        (["true", 1], {}),
    )
""",
        loop,
    )


@loops
def test_text_for_a_binary_input_is_a_type_error_that_leaves_nothing(loop: str) -> None:
    runs(
        """
async def main():
    with raises(TypeError):
        await aio.run(["sleep", "60"], input="text", capture_output=True)
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_the_program_leads_a_session_that_dies_with_its_parent(loop: str) -> None:
    runs(
        """
SHOW = [sys.executable, "-c", '''
import ctypes, os
number = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
print(os.getsid(0) == os.getpid(), os.getsid(0), number.value)
''']
async def main():
    async def shown(**keywords):
        return (await aio.run(SHOW, stdout=PIPE, text=True, **keywords)).stdout.split()
    leads, sid, number = await shown()
    assert (leads, number) == ("True", "9")
    assert await shown(start_new_session=False) == ["False", str(os.getsid(0)), "9"]
    mild = setsid.ChildSetup(parent_death_signal=0, process_group=setsid.INHERIT)
    assert await shown(setup=mild) == ["False", str(os.getsid(0)), "0"]
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_what_is_left_in_the_background_after_a_normal_end_goes_on(loop: str) -> None:
    runs(
        """
async def main():
    script = "sleep 60 >/dev/null 2>&1 & echo $!"
    setup = setsid.ChildSetup(parent_death_signal=0)
    return int((await aio.run(script, shell=True, stdout=PIPE, setup=setup)).stdout)
with nothing_left():
    pid = drive(main)
assert lives(pid)
os.kill(pid, 9)
""",
        loop,
    )


@loops
def test_100_at_once_leave_nothing(loop: str) -> None:
    runs(
        """
async def main():
    async def one(number):
        return (await aio.run(["cat"], input=str(number), text=True, capture_output=True)).stdout
    assert await asyncio.gather(*map(one, range(100))) == list(map(str, range(100)))
    assert asyncio.all_tasks() == {asyncio.current_task()}
with nothing_left():
    drive(main)
""",
        loop,
    )


# -- timeouts


@loops
def test_a_timeout_tells_the_output_and_what_was_ended(loop: str) -> None:
    runs(
        """
import pickle
async def main():
    script = "trap 'echo term; exit' TERM; sleep 60 & echo $!; echo err >&2; while :; do wait; done"
    try:
        await aio.run(script, shell=True, text=True, capture_output=True, timeout=2)
    except setsid.TimeoutExpired as error:
        return script, error
with nothing_left():
    script, error = drive(main)
    assert isinstance(error, subprocess.TimeoutExpired) and isinstance(error, TimeoutError)
    pid, term = error.stdout.split()
    assert (error.cmd, error.timeout, error.output, error.stderr, term) == (script, 2, error.stdout, b"err\\n", b"term")
    report = error.report
    assert int(pid) in report.ended and (report.survived, report.escaped) == ((), ())
    assert not lives(int(pid))
    assert pickle.loads(pickle.dumps(error)).report == report
""",
        loop,
    )


@loops
def test_an_escaped_grandchild_that_holds_the_pipes_does_not_keep_it(need: Callable[..., str], loop: str) -> None:
    need("setsid")
    runs(
        """
async def main():
    script = "setsid sh -c 'echo escaped $$; exec sleep 60' & sleep 60"
    try:
        await aio.run(script, shell=True, input=b"x" * 3_000_000, capture_output=True, timeout=2)
    except setsid.TimeoutExpired as error:
        word, pid = error.stdout.split()
        assert (word, error.stderr, error.report.escaped) == (b"escaped", b"", (int(pid),))
        assert lives(int(pid))
        os.kill(int(pid), 9)
    else:
        raise AssertionError
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_the_deaf_are_killed_after_the_grace(loop: str) -> None:
    runs(
        """
async def main():
    try:
        await aio.run(DEAF, timeout=1, grace=1, **TELLING)
    except setsid.TimeoutExpired as error:
        assert len(error.report.ended) >= 2 and error.report.survived == ()
    await heard(b"term\\n")
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
@pytest.mark.parametrize("how", ["timeout", "cancelled"])
def test_those_that_survive_do_not_keep_it(loop: str, how: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process that its own user may not signal")
    runs(
        f"""
import logging
import setsid._ending
setsid._ending._PATIENCE = 0.2
logging.getLogger("asyncio").addFilter(lambda record: "Close running child process" not in record.msg)  # in debug mode
async def main():
    script = "echo $$ >/dev/fd/$SAY; echo out; echo go >/dev/fd/$SAY; exec sleep 60"
    timeout = 1 if {how!r} == "timeout" else None
    run = aio.run(script, timeout=timeout, grace=0.1, capture_output=True, **TELLING)
    task = asyncio.create_task(run)
    await heard(b"go\\n")
    os.setresuid(65534, 65534, 0)
    if timeout is None:
        task.cancel()
    await asyncio.wait([task])
    os.setresuid(0, 0, 0)
    (pid,) = children()
    os.kill(pid, 9)
    await until(lambda: children() == [])  # the loop reaps it
    await turns(10)
    if timeout is None:
        assert task.cancelled(), task
    else:
        error = task.exception()
        assert type(error) is setsid.TimeoutExpired, error
        assert (error.report.survived, error.stdout) == ((pid,), b"out\\n")
with nothing_left():
    drive(main)
""",
        loop,
    )


# -- cancellation


@loops
def test_cancelling_asks_the_session_to_end_first(loop: str) -> None:
    runs(
        """
async def main():
    task = asyncio.create_task(aio.run(POLITE, grace=1000, **TELLING))
    await heard(b"go\\n")
    task.cancel()
    with raises(asyncio.CancelledError):
        await task
    assert children() == []
    await heard(b"bye\\n")
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_cancelling_asks_first_though_the_pipes_are_not_yet_connected(loop: str) -> None:
    runs(
        """
async def main():
    task = asyncio.create_task(aio.run(POLITE, grace=1000, capture_output=True, **TELLING))
    await turns(1)
    assert os.read(hear, 3) == b"go\\n"  # the loop stands still meanwhile
    task.cancel()
    with raises(asyncio.CancelledError):
        await task
    assert select.select([hear], [], [], 0)[0] and os.read(hear, 100) == b"bye\\n"
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_cancelling_kills_the_deaf_after_the_grace(loop: str) -> None:
    runs(
        """
async def main():
    task = asyncio.create_task(aio.run(DEAF, grace=1, capture_output=True, **TELLING))
    await heard(b"go\\n")
    task.cancel()
    with raises(asyncio.CancelledError):
        await task
    assert children() == []
    await heard(b"term\\n")
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_a_second_cancellation_kills_at_once(loop: str) -> None:
    runs(
        """
async def main():
    task = asyncio.create_task(aio.run(DEAF, grace=1000, capture_output=True, **TELLING))
    await heard(b"go\\n")
    task.cancel()
    await heard(b"term\\n")
    assert not task.done()
    task.cancel()
    with raises(asyncio.CancelledError):
        await task
    assert children() == []
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_a_cancellation_at_any_step_leaves_nothing(loop: str) -> None:
    runs(
        """
async def main():
    for number in range(12):
        for more in (None, 1, 2, 4):
            run = aio.run("trap '' TERM; sleep 60 & sleep 60", shell=True, input=b"x", capture_output=True, grace=0)
            task = asyncio.create_task(run)
            await turns(number)
            task.cancel()
            if more:
                await turns(more)
                task.cancel()
            with raises(asyncio.CancelledError):
                await task
            assert children() == []
    await turns(10)
with nothing_left():
    drive(main)
""",
        loop,
    )


@loops
def test_a_cancellation_while_the_pipes_are_closed_is_no_error_of_the_loop(need: Callable[..., str], loop: str) -> None:
    need("setsid")
    runs(
        """
drained = aio._Collector.drain
async def main():
    cancelled = 0
    for number in range(6):
        async def drain(self, transport):
            await drained(self, transport)
            def later(left):
                if left:
                    asyncio.get_running_loop().call_soon(later, left - 1)
                else:
                    task.cancel()
            later(number)
        aio._Collector.drain = drain
        # One who holds the pipes has escaped, so they are open until we close them.
        script = "setsid sleep 60 & echo $! >/dev/fd/$SAY; sleep 60"
        task = asyncio.create_task(aio.run(script, timeout=0.5, capture_output=True, input=b"x", **TELLING))
        pid = int(await heard_line())
        await asyncio.wait([task])
        os.kill(pid, 9)
        cancelled += task.cancelled()
        assert task.cancelled() or type(task.exception()) is setsid.TimeoutExpired
        assert children() == []
        await turns(10)
    assert cancelled > 0
async def heard_line():
    await until(lambda: select.select([hear], [], [], 0)[0])
    return os.read(hear, 100).split()[0]
with nothing_left():
    drive(main)
""",
        loop,
    )


BLOCKS = {"wait_for": "await asyncio.wait_for(run, 1)"}
if sys.version_info >= (3, 11):
    BLOCKS["timeout"] = "async with asyncio.timeout(1):\n            await run"


@loops
@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_the_timeouts_of_asyncio_end_the_session(loop: str, block: str) -> None:
    runs(
        f"""
async def main():
    run = aio.run(POLITE, grace=1000, **TELLING)
    try:
        {block}
    except (TimeoutError, asyncio.TimeoutError) as error:
        assert not isinstance(error, setsid.TimeoutExpired)
    else:
        raise AssertionError
    assert children() == []
    await heard(b"bye\\n")
with nothing_left():
    drive(main)
""",
        loop,
    )


if sys.version_info >= (3, 11):

    @loops
    def test_a_task_group_that_fails_ends_the_sessions_of_the_others(loop: str) -> None:
        runs(
            """
async def main():
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(aio.run(POLITE, grace=1000, **TELLING))
                await heard(b"go\\n")
            group.create_task(aio.run(["sh", "-c", "exit 4"], check=True))
    except BaseExceptionGroup as errors:
        assert [(type(error).__name__, error.returncode) for error in errors.exceptions] == [("CalledProcessError", 4)]
    assert children() == []
    await heard(b"bye\\n")
with nothing_left():
    drive(main)
""",
            loop,
        )


@loops
@pytest.mark.parametrize("times", [1, 2] if sys.version_info >= (3, 11) else [1])  # 3.10 cancels twice by itself
def test_ctrl_c_ends_the_session(loop: str, times: int) -> None:
    script = "POLITE" if times == 1 else "DEAF"
    runs(
        f"""
if KIND == "asyncio":
    start = asyncio.run
else:
    from uvloop import run as start
ready = threading.Event()
def interrupt():
    ready.wait()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    if {times} == 2:
        assert os.read(hear, 100) == b"term\\n"
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
def tick(loop):  # a signal that comes just before the loop sleeps would wait until it wakes
    loop.call_later(0.01, tick, loop)
async def tell():
    await heard(b"go\\n")
    loop = asyncio.get_running_loop()
    loop.call_soon(tick, loop)
    loop.call_soon(ready.set)  # before 3.11 the exception strikes where Python runs, which may be no task that keeps it
async def main():
    telling = asyncio.create_task(tell())
    await aio.run({script}, grace=1000, capture_output=True, **TELLING)
if {times} == 2:  # it may strike while the standard library reads source for a traceback
    import warnings
    warnings.simplefilter("ignore", ResourceWarning)
thread = threading.Thread(target=interrupt, daemon=True)
thread.start()
with nothing_left():
    with raises(KeyboardInterrupt):
        start(main())
    assert children() == []
    thread.join()
""",
        loop,
    )
