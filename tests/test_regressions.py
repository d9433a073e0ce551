"""The handle of a child at awkward moments: threads, forks, tracers and exceptions that come between two steps."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

import setsid
from scenarios import ASLEEP, TELLS, hidden
from strace import require
from support import fresh, nothing_left

# -- the file descriptor, while threads reap


def test_a_file_descriptor_asked_for_while_another_thread_still_uses_it_stays_open(need: Callable[..., str]) -> None:
    """A thread's first waitid comes back late: it still uses the pidfd when the main thread has reaped the child."""
    fresh(
        ASLEEP
        + """
import select
with nothing_left():
    reader, writer = os.pipe()
    process = setsid.spawn(["cat"], stdin=reader)
    assert process.poll() is None  # the main thread's first waitid: it won't be late again
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(process.wait()))
    thread.start()
    until_asleep(thread.native_id)
    ended = os.pidfd_open(process.pid)
    os.close(writer)
    select.select([ended], [], [])
    assert process.poll() == 0
    fd = process.fileno()
    thread.join()
    assert statuses == [0]
    assert select.select([fd], [], [], 0)[0] == [fd]
    for other in reader, ended:
        os.close(other)
    process.close()
""",
        wrapper=(
            *(need("strace"), "-f", "-o", "/dev/null", "-e", "trace=waitid"),
            *("-e", "inject=waitid:delay_exit=300000:when=1"),
        ),
    )


def test_no_thread_that_reaps_closes_the_file_descriptor_another_one_asks_for() -> None:
    fresh("""
import select, threading
sys.setswitchinterval(1e-5)
with nothing_left():
    for _ in range(300):
        process = setsid.spawn(["true"])
        threads = [threading.Thread(target=process.wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        while process.returncode is None:
            pass
        fd = process.fileno()
        for thread in threads:
            thread.join()
        assert select.select([fd], [], [], 0)[0] == [fd]
        process.close()
""")


def test_closing_a_forked_copy_gives_back_the_copys_descriptor_though_a_thread_was_waiting() -> None:
    fresh(
        ASLEEP
        + """
import warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)  # that is the point
with nothing_left():
    process = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(process.wait()))
    thread.start()
    until_asleep(thread.native_id)
    copy = os.fork()
    if copy == 0:
        before = open_fds()
        process.close()
        closed = [link for fd, link in before.items() if fd not in open_fds()]
        print(closed, file=sys.stderr, flush=True)  # shown when the test fails
        os._exit(0 if len(closed) == 1 and "pidfd" in closed[0] else 1)
    copy_status = os.waitpid(copy, 0)[1]
    for fd in ends:
        os.close(fd)
    thread.join()
    assert copy_status == 0
    assert statuses == [0]
    process.close()
"""
    )


# -- what is lost or left behind


def test_an_exception_at_any_step_of_close_leaves_no_zombie_and_no_descriptor() -> None:
    fresh("""
import gc, select, warnings
import setsid._process
warnings.simplefilter("ignore", ResourceWarning)  # of a process that was dropped instead

def close_until(step):
    # Whether close() was over before its opcode number `step`.
    steps = 0
    def trace(frame, event, arg):
        nonlocal steps
        if frame.f_code.co_filename != setsid._process.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            steps += 1
            if steps == step:
                raise KeyboardInterrupt
        return trace
    process = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
    pid, ended = process.pid, os.pidfd_open(process.pid)
    sys._getframe().f_trace_opcodes = True  # 3.12 looks for one at settrace
    sys.settrace(trace)
    try:
        process.close()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(None)
    del process
    gc.collect()
    for fd in ends:
        os.close(fd)
    select.select([ended], [], [])
    os.close(ended)
    setsid.spawn(["true"]).__exit__(None, None, None)
    assert pid not in children(), f"a zombie after {step} steps"
    return steps < step

with nothing_left():
    step = 1
    while not close_until(step):
        step += 1
assert step > 10
""")


@pytest.mark.parametrize("field", ['cwd="/"', "stdin=setsid.DEVNULL", "pass_fds={9: 2}", "umask=0o22"])
def test_a_plan_made_for_one_spawn_leaves_no_garbage(field: str) -> None:
    fresh(f"""
import gc
def once():
    process = setsid.spawn(["true"], {field})
    process.wait()
    process.close()
once()  # imports what it needs
gc.disable()
gc.collect()
once()
assert gc.collect() == 0 or ON_PYPY  # which counts no references, and so does not say what was in a cycle
assert [item for item in gc.get_objects() if isinstance(item, setsid.ChildSetup) and item != setsid.ChildSetup()] == []
""")


@hidden
def test_a_wait_status_that_comes_after_the_end_is_known_changes_nothing(hide_pidfd: bool) -> None:
    fresh(
        """
for look in lambda: process.wait(reap=False), lambda: process.wait_change():
    with nothing_left():
        process = setsid.spawn(["sh", "-c", "exit 4"])
        look()
        os.waitpid(process.pid, 0)
        process.reaped(3 << 8)
        process.reaped(9)
        assert (process.returncode, process.core_dumped) == (4, False)
        assert (process.wait(), process.wait(0), process.poll()) == (4, 4, 4)
        process.close()
""",
        hide_pidfd=hide_pidfd,
    )


# -- waiting


def test_a_stop_that_is_over_before_it_is_told_is_told_as_a_continuation(need: Callable[..., str]) -> None:
    """The kernel is asked twice, without and with taking the change: SIGCONT comes between the two."""
    number = {"x86_64": 247, "aarch64": 95}.get(platform.machine())
    if number is None:
        pytest.skip(f"the number of waitid on {platform.machine()} is not known here")
    fresh(
        """
import threading
WAITID, WNOWAIT = sys.argv[1], 0x01000000
main = threading.get_native_id()

def continue_it():
    # Once the main thread is at the second waitid, which is held up.
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open(f"/proc/self/task/{main}/syscall") as file:
            number, *arguments = file.read().split()
        if number == WAITID and not int(arguments[3], 16) & WNOWAIT:
            process.send_signal(signal.SIGCONT)
            return
    raise AssertionError("the main thread never took the change")

process = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
process.send_signal(signal.SIGSTOP)
deadline = time.monotonic() + 30
while not status(process.pid)["State"].startswith("T"):
    assert time.monotonic() < deadline
thread = threading.Thread(target=continue_it)
thread.start()
assert process.wait_change() is setsid.ProcessState.RUNNING
thread.join()
assert status(process.pid)["State"][0] in "RS"
try:
    raise AssertionError(process.wait_change(0))
except TimeoutError:
    pass  # nothing more to tell
process.kill()
assert process.wait() == -9
""",
        number,
        wrapper=(
            *(need("strace"), "-o", "/dev/null", "-e", "trace=waitid"),
            *("-e", "inject=waitid:delay_enter=1000000:when=2"),
        ),
    )


@pytest.mark.parametrize("wait", ["wait", "wait_change"])
def test_waiting_for_a_zombie_that_a_tracer_holds_takes_no_processor_time(wait: str) -> None:
    """The pidfd tells of the end, and waitid does not until the tracer lets go."""
    result = fresh(
        """
import ctypes, select
PTRACE_SEIZE = 0x4206

def trace(pid):
    # A process that traces `pid` until the pipe that is returned is closed, and the errno if it may not.
    (told, tell), (release, hold) = os.pipe(), os.pipe()
    tracer = os.fork()
    if tracer == 0:
        for fd in hold, *ends:
            os.close(fd)
        ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        ptrace.argtypes = [ctypes.c_long] * 4
        ptrace.restype = ctypes.c_long
        error = ctypes.get_errno() if ptrace(PTRACE_SEIZE, pid, 0, 0) else 0
        os.write(tell, b"%d" % error)
        os.read(release, 1)
        os._exit(0)
    os.close(release)
    error = int(os.read(told, 8))
    return tracer, hold, error

process = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
tracer, hold, error = trace(process.pid)
for fd in ends:
    os.close(fd)
if error:
    print("SKIP:", os.strerror(error))
else:
    select.select([process.fileno()], [], [])
    before = time.process_time()
    try:
        raise AssertionError(getattr(process, sys.argv[1])(1))
    except TimeoutError:
        pass
    used = time.process_time() - before
    assert used < 0.2, used
os.close(hold)
os.waitpid(tracer, 0)
assert process.wait() == 0
""",
        wait,
        timeout=60,
    )
    if result.stdout.startswith("SKIP"):
        pytest.skip(f"a process may trace only its descendants here, unless it is root's: {result.stdout}")


@pytest.mark.parametrize("use", ["wait()", "wait(60)", "wait(reap=False)"])
def test_with_sigchld_ignored_a_wait_that_meets_the_end_itself_tells_the_truth(use: str) -> None:
    """The kernel forgets such a child a moment before its pidfd knows the status."""
    fresh(
        TELLS
        + f"""
tells = kernel_tells()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with nothing_left():
    for _ in range(100):
        process = setsid.spawn(["sh", "-c", "exit 5"])
        try:
            assert process.{use} == process.returncode == 5
            assert tells
        except ChildProcessError:
            assert not tells
            process.reaped(0)
        process.close()
"""
    )


def test_a_status_that_the_kernel_is_about_to_tell_is_waited_for(need: Callable[..., str]) -> None:
    """As in that moment: the child can still be signalled, and twice its status is not known yet."""
    require(need)
    result = fresh(
        TELLS
        + """
import select
from strace import *
if not kernel_tells():
    print("SKIP")
    sys.exit(0)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
process = setsid.spawn(["sh", "-c", "exit 5"])
select.select([process.fileno()], [], [])
unknown = "inject=ioctl:retval=0:poke_exit=@arg3=0000000000000000:when=1..2"  # the mask of what is told, all 0
alive = "inject=pidfd_send_signal:retval=0:when=1..2"
with tracing("-e", "trace=ioctl,pidfd_send_signal", "-e", unknown, "-e", alive) as trace:
    assert process.wait() == 5
assert sum("INJECTED" in line for line in trace.of(os.getpid())) == 4, trace.lines
""",
    )
    if result.stdout.startswith("SKIP"):
        pytest.skip("this kernel does not tell how a process ended (Linux 6.15 does)")


# -- what spawn is given


def test_an_environment_that_names_nothing_is_passed_on_as_it_is() -> None:
    """execve(2) takes any strings; one that begins with = has no name, and os.environ shows it all the same."""
    exec_with_it = "import os, sys; os.execve(sys.argv[1], sys.argv[1:], {**os.environb, b'=x': b'1'})"
    fresh(
        """
assert os.environb[b""] == b"x=1"
reader, writer = os.pipe()
with setsid.spawn(["cat", "/proc/self/environ"], stdout=writer) as process:
    os.close(writer)
    with open(reader, "rb") as file:
        environment = file.read().split(b"\\0")
assert process.returncode == 0
assert b"=x=1" in environment
assert sorted(environment) == sorted([b"", *(name + b"=" + value for name, value in os.environb.items())])
""",
        wrapper=(sys.executable, "-c", exec_with_it),
    )


@pytest.mark.parametrize("setup", [{"cwd": "/"}, "setup", 5, setsid.ChildSetup], ids=["dict", "str", "int", "class"])
@pytest.mark.parametrize("changes", [{}, {"umask": 0o22}], ids=["as it is", "changed"])
def test_a_setup_that_is_no_child_setup_is_refused(setup: Any, changes: dict[str, Any]) -> None:
    message = f"setup must be a ChildSetup, not {type(setup).__name__}"
    with nothing_left(), pytest.raises(TypeError, match=f"^{message}$"):
        setsid.spawn(["true"], setup, **changes)


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("value", [1, None, ["x"]], ids=["int", "None", "list"])
def test_an_argument_of_a_wrong_type_is_refused_by_its_position(position: int, value: object) -> None:
    argv: list[object] = ["true", b"x", "y"]
    argv[position] = value
    message = f"argv[{position}] must be str, bytes or os.PathLike, not {type(value).__name__}"
    with nothing_left(), pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        setsid.spawn(argv)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PATH": "/bin", "A": 1}, "env['A'] must be str, bytes or os.PathLike, not int"),
        ({b"A": None}, "env[b'A'] must be str, bytes or os.PathLike, not NoneType"),
        ({1: "A"}, "env: a name must be str, bytes or os.PathLike, not int"),
    ],
)
def test_an_environment_of_wrong_types_is_refused_by_its_names(env: dict[object, object], message: str) -> None:
    with nothing_left(), pytest.raises(TypeError, match=f"^{re.escape(message)}$"):
        setsid.spawn(["true"], env=env)  # type: ignore[arg-type]
