"""A Popen's life after its start: the same for the standard class, ours, and ours with an empty plan."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from subprocess import PIPE
from typing import Any

import pytest

import setsid
from support import LACKING, ON_DEBUG_BUILD, children, fresh
from test_popen_parity import MAKER, MAKERS, Maker, each_maker, each_name


def until_ended(process: subprocess.Popen[Any]) -> None:
    """Return once it is a zombie."""
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


# -- attributes


@each_maker
def test_attributes_before_and_after_the_end(make: Maker) -> None:
    args = ["sh", "-c", "read x; exit 7"]
    with make(args, stdin=PIPE) as process:
        assert process.args is args
        assert (type(process.pid), process.pid in children(), process.returncode) == (int, True, None)
        assert (process.stdout, process.stderr, process.poll()) == (None, None, None)
    assert (process.returncode, process.poll(), process.wait(), process.wait(timeout=0)) == (7, 7, 7, 7)


@each_maker
def test_an_iterator_stays_what_args_is(make: Maker) -> None:
    args = iter(["true"])
    process = make(args)
    assert (id(process.args) == id(args), process.wait()) == (True, 0)


ATTRIBUTES = ("encoding", "errors", "pipesize", "text_mode", "universal_newlines")


@each_maker
@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, (None, None, -1, None, None)),
        ({"encoding": "latin-1", "errors": "ignore"}, ("latin-1", "ignore", -1, "latin-1", "latin-1")),
        ({"pipesize": 8192, "text": False}, (None, None, 8192, None, None)),
        ({"errors": "strict", "encoding": "ascii"}, ("ascii", "strict", -1, "ascii", "ascii")),
    ],
    ids=str,
)
def test_attributes_tell_of_the_arguments(make: Maker, keywords: dict[str, Any], expected: tuple[Any, ...]) -> None:
    with make(["true"], **keywords) as process:
        assert tuple(getattr(process, name) for name in ATTRIBUTES) == expected


@each_maker
def test_universal_newlines_can_be_set(make: Maker) -> None:
    with make(["printf", "a\\r\\n"], stdout=PIPE) as process:
        process.universal_newlines = 1  # type: ignore[assignment]
        assert (process.text_mode, process.universal_newlines) == (True, True)  # type: ignore[attr-defined]
        process.universal_newlines = False
        assert process.communicate() == (b"a\r\n", None)


@each_maker
def test_all_attributes_of_the_standard_class_are_there(make: Maker) -> None:
    with subprocess.Popen(["true"]) as standard, make(["true"]) as process:
        assert set(vars(standard)) <= set(vars(process))
        assert set(dir(standard)) <= set(dir(process))


@each_maker
@pytest.mark.parametrize("args", [["true"], "true", ["true", *"x" * 40]], ids=["list", "str", "long"])
def test_repr_is_the_same(make: Maker, args: Any) -> None:
    process = make(args)
    shown = f"<Popen: returncode: None args: {args!r}>"
    assert repr(process) == (shown if len(shown) <= 80 else shown[:76] + "...>")
    process.wait()
    assert repr(process)[:25] == "<Popen: returncode: 0 arg"


def test_ours_is_a_subclass_that_can_be_parametrised() -> None:
    assert issubclass(setsid.Popen, subprocess.Popen)
    alias: Any = setsid.Popen[bytes]
    assert (alias.__origin__, setsid.Popen.__name__) == (setsid.Popen, "Popen")


# -- wait and poll


@each_maker
@pytest.mark.parametrize("timeout", [0, 0.01, -1])
def test_wait_raises_when_the_time_is_over(make: Maker, timeout: float) -> None:
    with make(["cat"], stdin=PIPE) as process:
        with pytest.raises(subprocess.TimeoutExpired) as raised:
            process.wait(timeout=timeout)
        error = raised.value
        assert (type(error), error.cmd, error.timeout) == (subprocess.TimeoutExpired, ["cat"], timeout)
        assert (error.output, error.stderr) == (None, None)
        assert str(error) == f"Command '['cat']' timed out after {timeout} seconds"


@each_maker
@pytest.mark.parametrize("timeout", [None, 60, 1e12, float("inf")])
def test_wait_with_any_timeout_returns_at_the_end(make: Maker, timeout: float | None) -> None:
    assert make(["sh", "-c", "exit 7"]).wait(timeout=timeout) == 7
    assert make(["sh", "-c", "exit 7"]).wait(timeout) == 7


@each_maker
@pytest.mark.parametrize("timeout", ["1", [1]])
def test_a_timeout_is_a_number(make: Maker, timeout: Any) -> None:
    with make(["cat"], stdin=PIPE) as process:
        with pytest.raises(TypeError):
            process.wait(timeout=timeout)
        with pytest.raises(TypeError):
            process.communicate(timeout=timeout)


@each_maker
def test_many_threads_learn_the_same_status(make: Maker) -> None:
    process = make(["sh", "-c", "read x; exit 7"], stdin=PIPE)
    seen: list[int | None] = []

    def poll() -> None:
        while process.poll() is None:
            os.sched_yield()
        seen.append(process.poll())

    ways: list[Callable[[], object]] = [
        lambda: seen.append(process.wait()),
        lambda: seen.append(process.wait(timeout=60)),
        poll,
    ]
    threads = [threading.Thread(target=way) for way in ways for _ in range(4)]
    for thread in threads:
        thread.start()
    process.stdin.close()  # type: ignore[union-attr]
    for thread in threads:
        thread.join()
    assert seen == [7] * 12


@each_maker
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGRTMAX], ids=str)
def test_a_signal_that_ends_it_is_a_negative_returncode(make: Maker, number: int) -> None:
    assert make(["sh", "-c", f"kill -{int(number)} $$"]).wait() == -number


REAPED = """
if sys.argv[2] == "ignored":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
lock, key = os.pipe()
process = make(["sh", "-c", "read x; exit 7"], stdin=lock)
probe = setsid.spawn(["sh", "-c", "exit 7"])
pidfd = os.pidfd_open(process.pid)
os.close(key)
import select
select.select([pidfd], [], [])
if sys.argv[2] == "reaped":
    assert os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]) == 7
    os.waitpid(probe.pid, 0)
try:
    known = probe.wait()
except ChildProcessError:
    known = 0
probe.close()
calls = {"wait": lambda: process.wait(), "timeout": lambda: process.wait(timeout=60), "poll": lambda: process.poll(),
         "communicate": lambda: process.communicate(timeout=60), "with": lambda: process.__exit__(None, None, None),
         "kill": lambda: process.kill()}
calls[sys.argv[3]]()
process.kill()
process.terminate()
assert process.returncode == (0 if sys.argv[1] == "standard" else known), (process.returncode, known)
assert process.wait() == process.poll() == process.returncode
"""


@each_name
@pytest.mark.parametrize("who", ["ignored", "reaped"])
@pytest.mark.parametrize("how", ["wait", "timeout", "poll", "communicate", "with", "kill"])
def test_one_that_was_reaped_elsewhere_has_returncode_0(name: str, who: str, how: str) -> None:
    # Or the right one, with ours, where the kernel still tells it.
    fresh(MAKER + REAPED, name, who, how)


# -- signals


@each_maker
@pytest.mark.parametrize(
    ("send", "expected"),
    [
        (lambda process: process.terminate(), -15),
        (lambda process: process.kill(), -9),
        (lambda process: process.send_signal(signal.SIGUSR1), -signal.SIGUSR1),
        (lambda process: process.send_signal(1), -1),
    ],
    ids=["terminate", "kill", "send_signal", "number"],
)
def test_signals_reach_it(make: Maker, send: Callable[[Any], None], expected: int) -> None:
    with make(["sleep", "60"]) as process:
        process.send_signal(0)
        assert send(process) is None  # type: ignore[func-returns-value]
    assert process.returncode == expected


@each_maker
@pytest.mark.parametrize("waited", [False, True])
def test_signals_after_its_end_do_nothing(make: Maker, waited: bool) -> None:
    process = make(["sh", "-c", "exit 7"])
    until_ended(process)
    if waited:
        process.wait()
    process.send_signal(signal.SIGKILL)
    assert process.returncode == 7
    process.terminate()
    process.kill()
    process.send_signal(9999)
    assert process.wait() == 7


@each_maker
@pytest.mark.parametrize(("number", "expected"), [(9999, OSError), (-1, OSError), ("TERM", TypeError)])
def test_a_signal_that_is_none_is_refused(make: Maker, number: Any, expected: type[Exception]) -> None:
    with make(["cat"], stdin=PIPE) as process:
        with pytest.raises(expected) as raised:
            process.send_signal(number)
        assert getattr(raised.value, "errno", 22) == 22


# -- one that is dropped


DROPPED = """
import gc, warnings
lock, key = os.pipe()
process = make(["cat"], stdin=lock)
pid = process.pid
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    del process
    gc.collect()
assert [(w.category, str(w.message)) for w in caught] == [(ResourceWarning, f"subprocess {pid} is still running")]
assert caught[0].source.pid == pid
assert [dropped.pid for dropped in subprocess._active] == [pid] == children()
caught.clear()
subprocess._cleanup()
assert [dropped.pid for dropped in subprocess._active] == [pid]
os.kill(pid, signal.SIGKILL)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
if sys.argv[2] == "cleanup":
    subprocess._cleanup()
else:  # as each start does
    make(["true"]).wait()
assert (subprocess._active, children()) == ([], [])
gc.collect()
"""


@each_name
@pytest.mark.parametrize("how", ["cleanup", "start"])
def test_one_that_is_dropped_running_is_warned_of_and_reaped_later(name: str, how: str) -> None:
    fresh(MAKER + DROPPED, name, how)


@each_name
def test_one_that_is_dropped_after_its_end_is_reaped(name: str) -> None:
    source = """
import gc, warnings
process = make(["true"])
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    del process
    gc.collect()
assert [w.category for w in caught] == [ResourceWarning]  # the standard class asks nobody before it warns
assert (children(), subprocess._active) == ([], [])
"""
    fresh(MAKER + source, name)


@each_name
def test_one_that_was_never_started_gives_no_warning(name: str) -> None:
    source = """
import gc
kind = make.func if isinstance(make, functools.partial) else make
process = kind.__new__(kind)
del process
try:
    make(["/no/such"])
except FileNotFoundError:
    pass
gc.collect()
"""
    fresh(MAKER + source, name)


AT_EXIT = {
    "running": "process = make(['cat'], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)",
    "in a cycle": "cycle = [make(['cat'], stdin=subprocess.PIPE)]; cycle.append(cycle)",
    "ended": "process = make(['true']); os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)",
    "waited": "process = make(['true']); process.wait()",
    "failed": "try: make(['/no/such'])\nexcept OSError as error: kept = error",
    "in builtins": "import builtins; builtins.kept = make(['cat'], stdin=subprocess.PIPE)",
    "dropped": "make(['cat'], stdin=os.pipe()[0])",
    "in a thread": "import threading; kept = threading.local(); kept.it = make(['cat'], stdin=subprocess.PIPE)",
}


@pytest.mark.parametrize("options", [[], ["-X", "dev"]], ids=["usual", "dev"])
@pytest.mark.parametrize("case", AT_EXIT)
def test_the_interpreters_exit_says_the_same(case: str, options: list[str]) -> None:
    said = {}
    for name in MAKERS:
        source = f"import os, sys, setsid\n{LACKING}{MAKER}{AT_EXIT[case]}"
        argv = [sys.executable, *options, "-c", source, name]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
        said[name] = re.sub(r"subprocess \d+", "subprocess N", result.stdout + result.stderr)
    assert (said["ours"], said["plan"]) == (said["standard"], said["standard"])
    assert options or ON_DEBUG_BUILD or not said["standard"]  # which shows all warnings
