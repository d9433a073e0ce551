"""`await process`, `async with spawn(...)` and end_async, in asyncio; fileno() in trio and anyio."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from scenarios import TELLS, hidden
from test_aio import loops, scenario

# For a helper: children that end when told, or are deaf to SIGTERM.
CHILDREN = """
class Cat:
    "A child that ends when told."
    def __init__(self):
        stdin, self.writer = os.pipe()
        self.process = setsid.spawn(["cat"], stdin=stdin)
        os.close(stdin)

    def end(self):
        os.close(self.writer)

def deaf(**changes):
    reader, writer = os.pipe()
    process = setsid.spawn(["sh", "-c", "trap '' TERM; echo; exec sleep 60"], stdout=writer, **changes)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    return process
"""


def awaits(source: str, loop: str = "asyncio", *, hide_pidfd: bool = False) -> None:
    scenario(CHILDREN + source, loop, hide_pidfd=hide_pidfd)


# -- await


@loops
@hidden
def test_several_tasks_await_one_process(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    async def wait():
        return await cat.process
    tasks = [asyncio.create_task(wait()) for _ in range(5)]
    await turns(5)
    assert not any(task.done() for task in tasks)
    cat.end()
    assert await asyncio.gather(*tasks) == [0] * 5
    assert (cat.process.returncode, await cat.process, children()) == (0, 0, [])
    cat.process.close()
    killed = setsid.spawn(["sh", "-c", "kill -KILL $$"])
    assert await killed == -9
    assert killed.rusage is not None
    killed.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_loops_of_two_threads_await_one_process(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
cat = Cat()
asleep = threading.Barrier(3)
results = []
async def main():
    async def wait():
        return await cat.process
    task = asyncio.create_task(wait())
    await turns(3)
    asleep.wait()
    return await task
def run():
    try:
        results.append(drive(main))
    except BaseException as error:
        results.append(error)
threads = [threading.Thread(target=run) for _ in range(2)]
for thread in threads:
    thread.start()
asleep.wait()
cat.end()
for thread in threads:
    thread.join()
assert results == [0, 0], results
assert children() == []
cat.process.close()
assert [name for name in open_fds().values() if "pidfd" in name] == []
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_a_cancelled_awaiter_leaves_the_others_and_no_file(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    async def wait():
        return await cat.process
    first, *others = [asyncio.create_task(wait()) for _ in range(4)]
    await turns(3)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled() and not any(task.done() for task in others)
    others.pop().cancel()
    await turns(3)
    cat.end()
    assert await asyncio.gather(*others) == [0, 0]
    cat.process.close()
    alone = Cat()
    task = asyncio.create_task(asyncio.wait_for(asyncio.ensure_future(alone.process), None))
    before = open_fds()
    await turns(5)
    task.cancel()
    await asyncio.wait([task])
    await turns(5)
    assert open_fds() == before and alone.process.returncode is None
    alone.end()
    assert await alone.process == 0
    alone.process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_an_await_that_times_out_leaves_the_process_alone(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    with raises((TimeoutError, asyncio.TimeoutError)):
        await asyncio.wait_for(cat.process, 0.05)
    assert cat.process.poll() is None
    cat.end()
    assert await asyncio.wait_for(cat.process, 60) == 0
    cat.process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_one_that_has_ended_already_is_awaited_without_sleeping(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    process = setsid.spawn(["sh", "-c", "exit 3"])
    process.wait(reap=False)
    assert await process == 3  # a zombie
    assert await process == 3  # reaped
    process.close()
    assert await process == 3  # let go
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_one_that_is_reaped_elsewhere_is_told_or_is_an_error(loop: str, hide_pidfd: bool, when: str) -> None:
    awaits(
        TELLS
        + f"""
knows = {not hide_pidfd} and kernel_tells()
async def main():
    release, writer = os.pipe()
    process = setsid.spawn(["sh", "-c", "read line; exit 7"], stdin=release)
    os.close(release)
    async def wait():
        return await process
    tasks = []
    if {when!r} == "meanwhile":
        tasks = [asyncio.create_task(wait()) for _ in range(2)]
        await turns(3)
    os.close(writer)
    assert os.waitpid(process.pid, 0) == (process.pid, 7 << 8)
    results = await asyncio.gather(*(tasks or [wait()]), return_exceptions=True)
    for result in results:
        if knows:
            assert result == 7
        else:
            assert isinstance(result, ChildProcessError) and "reaped elsewhere" in str(result), result
    process.reaped(7 << 8)
    assert await process == 7
    process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_a_closed_handle_cannot_be_awaited(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    async def wait():
        return await cat.process
    task = asyncio.create_task(wait())  # which has begun
    await turns(3)
    cat.process.close()
    with raises(ValueError, f"the handle of process {cat.process.pid} is closed"):
        await cat.process
    cat.end()
    with raises(ValueError, f"the handle of process {cat.process.pid} is closed"):
        await task
    await until(lambda: status(cat.process.pid)["State"].startswith("Z"))
    with setsid.spawn(["true"]):  # which reaps it
        pass
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_a_child_that_stops_and_goes_on_has_not_ended(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    async def wait():
        return await cat.process
    task = asyncio.create_task(wait())
    for number, state in (signal.SIGSTOP, "T"), (signal.SIGCONT, "SR"):
        cat.process.send_signal(number)
        await until(lambda: status(cat.process.pid)["State"][0] in state)
        await turns(50)
        await asyncio.sleep(0.05)  # more than the longest time between two looks
        assert not task.done()
    cat.end()
    assert await task == 0
    cat.process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


def test_awaiting_a_child_outside_asyncio_is_a_runtime_error() -> None:
    awaits("""
with nothing_left():
    cat = Cat()
    with raises(RuntimeError, "no running event loop"):
        cat.process.__await__().send(None)
    with raises(RuntimeError, "no running event loop"):
        cat.process.end_async().send(None)
    assert cat.process.poll() is None
    cat.end()
    cat.process.wait()
    cat.process.close()
""")


@loops
def test_a_forked_process_is_told_whose_child_it_is_and_the_parent_waits_on(loop: str) -> None:
    awaits(
        """
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
cat = Cat()
async def wait():
    return await cat.process
async def in_child():
    with raises(ChildProcessError, f"process {cat.process.pid} is a child of process {os.getppid()}, not of this one"):
        await cat.process
    own = setsid.spawn(["sh", "-c", "exit 3"])
    assert await own == 3
    own.close()
pid = os.fork()
if pid == 0:
    try:
        drive(in_child)
        os._exit(0)
    finally:
        os._exit(1)
assert os.waitpid(pid, 0) == (pid, 0)
async def in_parent():
    task = asyncio.create_task(wait())
    await turns(3)
    pid = os.fork()  # with the loop's own files
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0) == (pid, 0)
    cat.end()
    assert await task == 0
drive(in_parent)
cat.process.close()
""",
        loop,
    )


@loops
def test_without_files_for_it_an_await_is_an_error_that_leaves_all_as_it_was(loop: str) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_fds()) + 1, hard))
    taken = take_files()
    with raises(OSError, errno=errno.EMFILE, call="fcntl"):
        await cat.process
    for fd in taken:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    cat.end()
    assert await cat.process == 0
    cat.process.close()
with nothing_left():
    drive(main)
""",
        loop,
    )


# -- async with


@loops
@hidden
def test_leaving_normally_waits_and_closes(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    async with setsid.spawn(["sh", "-c", "exit 3"]) as process:
        assert isinstance(process, setsid.Process)
    assert (process.returncode, children()) == (3, [])
    with raises(ValueError, "closed"):
        process.fileno()
    with raises(ValueError, "closed"):
        async with process:
            raise AssertionError
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_leaving_by_an_exception_ends_the_session(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    reader, writer = os.pipe()
    with raises(KeyError, "mine"):
        async with setsid.spawn(["sh", "-c", "sleep 60 & echo $!; sleep 60"], stdout=writer) as process:
            os.close(writer)
            pid = int(os.read(reader, 100))
            raise KeyError("mine")
    assert (process.returncode, lives(pid), children()) == (-15, False, [])
    assert os.read(reader, 1) == b""
    os.close(reader)
    async def body():
        async with deaf():
            await asyncio.Event().wait()
    task = asyncio.create_task(body())
    await until(children)
    await turns(3)
    task.cancel()  # which asks
    await turns(3)
    task.cancel()  # which kills
    with raises(asyncio.CancelledError):
        await task
    assert children() == []
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


# -- end_async


@loops
@hidden
def test_end_async_ends_as_end_does(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    for number, code in (signal.SIGTERM, -9), (signal.SIGHUP, -1):
        process = deaf()
        report = await process.end_async(0.1, signal=number)
        assert report == setsid.EndReport((process.pid,), ())
        assert (process.returncode, children()) == (code, [])
        assert await process.end_async() == setsid.EndReport((), ())
        assert await process == code
        process.close()
        with raises(ValueError, "closed"):
            await process.end_async()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_end_async_cancelled_kills_at_once(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    process = deaf()
    task = asyncio.create_task(process.end_async(1000))
    await turns(5)
    assert not task.done()
    task.cancel()
    with raises(asyncio.CancelledError):
        await task
    assert (process.returncode, children()) == (-9, [])
    process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_the_ends_of_many_run_side_by_side(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    processes = [deaf() for _ in range(20)]
    start = time.monotonic()
    reports = await asyncio.gather(*(process.end_async(1) for process in processes))
    assert time.monotonic() - start < 10  # one after the other they take 20 s
    assert reports == [setsid.EndReport((process.pid,), ()) for process in processes]
    for process in processes:
        process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
@hidden
def test_two_ends_and_an_await_of_one_process_agree(loop: str, hide_pidfd: bool) -> None:
    awaits(
        """
async def main():
    process = deaf()
    async def wait():
        return await process
    task = asyncio.create_task(wait())
    reports = await asyncio.gather(process.end_async(0.1), process.end_async(0.3))
    assert [process.pid in report.ended for report in reports] == [True, True] and await task == -9
    assert children() == []
    process.close()
with nothing_left():
    drive(main)
""",
        loop,
        hide_pidfd=hide_pidfd,
    )


@loops
def test_end_async_refuses_what_end_refuses(loop: str) -> None:
    awaits(
        """
async def main():
    cat = Cat()
    refused = (dict(grace=-1), dict(grace=float("nan")), dict(grace="1"), dict(signal=65), dict(signal=-1),
               dict(signal="TERM"))
    for bad in refused:
        with raises((ValueError, TypeError)):
            await cat.process.end_async(**bad)
        try:
            cat.process.end(**bad)
        except Exception as error:
            with raises(type(error), str(error)):
                await cat.process.end_async(**bad)
    assert cat.process.poll() is None
    cat.end()
    assert await cat.process == 0
    cat.process.close()
with nothing_left():
    drive(main)
""",
        loop,
    )


# -- elsewhere

ELSEWHERE = {
    "trio": "trio.run(main, trio.lowlevel.wait_readable)",
    "anyio-asyncio": "anyio.run(main, anyio.wait_readable)",
    "anyio-trio": "anyio.run(main, anyio.wait_readable, backend='trio')",
}


@pytest.mark.parametrize("name", ELSEWHERE)
def test_wait_readable_of_other_libraries_waits_for_the_end(name: str) -> None:
    modules = name.split("-")
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    awaits(f"""
warnings.simplefilter("ignore")  # theirs
import {", ".join(modules)}
async def main(wait_readable):
    cat = Cat()
    assert cat.process.poll() is None
    cat.end()
    await wait_readable(cat.process.fileno())
    assert cat.process.wait(0) == 0
    cat.process.close()
with nothing_left():
    {ELSEWHERE[name]}
""")
