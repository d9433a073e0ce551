"""setsid.subprocess against the standard module: the same names, and functions that give the same results."""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import pytest

import setsid
from setsid import subprocess as ours
from support import fresh, nothing_left

Function = Callable[..., Any]
PLAN = setsid.ChildSetup()


def with_plan(name: str) -> Function:
    return functools.partial(getattr(ours, name), setup=PLAN)


SOURCES: dict[str, Callable[[str], Function]] = {
    "standard": functools.partial(getattr, subprocess),
    "ours": functools.partial(getattr, ours),
    "plan": with_plan,
}
each_source = pytest.mark.parametrize("of", SOURCES.values(), ids=SOURCES)
STARTING = ("run", "call", "check_call", "check_output")
FUNCTIONS = (*STARTING, "getoutput", "getstatusoutput")


# -- the names


def test_all_names_the_same() -> None:
    assert list(ours.__all__) == list(subprocess.__all__)
    names: dict[str, object] = {}
    exec("from setsid.subprocess import *", names)
    assert set(subprocess.__all__) <= set(names)
    assert names["Popen"] is setsid.Popen


@pytest.mark.parametrize("name", [name for name in dir(subprocess) if not name.startswith("__")])
def test_each_name_of_the_standard_module_is_there(name: str) -> None:
    standard, value = getattr(subprocess, name), getattr(ours, name)
    if name == "Popen":
        assert value is setsid.Popen
        assert issubclass(value, standard)
    elif isinstance(standard, FunctionType) and standard.__module__ == "subprocess":
        # Another function, since it must find our Popen, but alike in every other way.
        assert value is not standard
        facts = [
            (it.__name__, it.__qualname__, it.__doc__, it.__defaults__, it.__kwdefaults__, inspect.signature(it))
            for it in (standard, value)
        ]
        assert facts[0] == facts[1]
    else:  # constants, exceptions, CompletedProcess: the very same objects, so that `is` and `except` go both ways
        assert value is standard


def test_no_other_name_is_public() -> None:
    assert {name for name in dir(ours) if not name.startswith("_")} - set(dir(subprocess)) <= {"annotations"}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_can_be_pickled(name: str) -> None:
    function = getattr(ours, name)
    assert (pickle.loads(pickle.dumps(function)) is function, function.__module__) == (True, "setsid.subprocess")


def test_it_is_imported_in_each_of_the_usual_ways() -> None:
    fresh(
        """
import setsid.subprocess
import setsid.subprocess as one
from setsid import subprocess as two
from setsid.subprocess import Popen, PIPE, run
assert one is two is setsid.subprocess is sys.modules["setsid.subprocess"]
assert (Popen is setsid.Popen, PIPE, run is one.run) == (True, -1, True)
assert sys.modules["subprocess"] is not one
"""
    )


def test_the_standard_module_stays_as_it_is() -> None:
    assert (subprocess.Popen is setsid.Popen, subprocess.Popen.__module__) == (False, "subprocess")
    assert isinstance(ours, ModuleType)


@pytest.mark.parametrize("switch", ["_USE_VFORK", "_USE_POSIX_SPAWN"])
def test_the_documented_switches_reach_the_class_that_reads_them(switch: str) -> None:
    fresh(f"import subprocess; setsid.subprocess.{switch} = False; assert subprocess.{switch} is False")


# -- they use our Popen


CALLS: dict[str, tuple[Any, ...]] = {
    "run": (["true"],),
    "call": (["true"],),
    "check_call": (["true"],),
    "check_output": (["true"],),
    "getoutput": ("true",),
    "getstatusoutput": ("true",),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_function_uses_the_popen_of_the_module(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Recorder(setsid.Popen[Any]):
        def __init__(self, *args: Any, **keywords: Any) -> None:
            made.append(name)
            super().__init__(*args, **keywords)

    monkeypatch.setattr(ours, "Popen", Recorder)
    getattr(ours, name)(*CALLS[name])
    getattr(subprocess, name)(*CALLS[name])
    assert made == [name]


def test_each_function_that_starts_something_carries_out_a_plan() -> None:
    setup = setsid.ChildSetup(process_group=setsid.NEW_SESSION, umask=0o27)
    program = 'test $(cut -d" " -f6 /proc/$$/stat) = $$ && test $(umask) = 0027'
    results = [getattr(ours, name)(program, shell=True, setup=setup) for name in STARTING]
    assert [results[0].returncode, *results[1:]] == [0, 0, 0, b""]
    assert ours.call(program, shell=True) == 1


@pytest.mark.parametrize("name", STARTING)
def test_a_plan_that_is_none_and_an_argument_said_twice_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=r"^setup must be a ChildSetup, not dict$"):
        getattr(ours, name)(["true"], setup={})
    with pytest.raises(ValueError, match=r"^the argument cwd and the field cwd of setup both say it$"):
        getattr(ours, name)(["true"], cwd="/", setup=setsid.ChildSetup(cwd="/"))
    with pytest.raises(TypeError, match="setup"):
        getattr(subprocess, name)(["true"], setup=PLAN)


# -- results


def result(function: Function, *args: Any, **keywords: Any) -> tuple[Any, ...]:
    """What came of a call: a value, or an exception with all that callers look at. Nothing else is left of it."""
    with nothing_left():
        try:
            value = function(*args, **keywords)
        except Exception as error:
            return _told(error)
    if isinstance(value, subprocess.CompletedProcess):
        return type(value), value.args, value.returncode, value.stdout, value.stderr, repr(value)
    return type(value), value


def _told(error: Exception) -> tuple[Any, ...]:
    if isinstance(error, OSError):
        return OSError, error.errno, error.strerror, error.filename
    facts = {name: value for name, value in vars(error).items() if not name.startswith("_")}
    return type(error), str(error), error.args, facts


BOTH = "echo out; echo err >&2"
RUN: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((["true"],), {}),
    ((["sh", "-c", "exit 7"],), {}),
    ((["sh", "-c", "kill -9 $$"],), {}),
    ((["sh", "-c", "exit 7"],), {"check": True}),
    ((["sh", "-c", "kill -9 $$"],), {"check": True}),
    ((["sh", "-c", BOTH + "; exit 7"],), {"check": True, "capture_output": True}),
    ((BOTH,), {"shell": True, "capture_output": True, "text": True}),
    ((["cat"],), {"input": b"input", "capture_output": True}),
    ((["cat"],), {"input": "input", "stdout": subprocess.PIPE, "text": True}),
    ((["cat"],), {"input": "", "stdout": subprocess.PIPE, "encoding": "utf-8"}),
    ((["cat"],), {"input": b"", "stdin": None, "stdout": subprocess.DEVNULL}),
    ((["cat"],), {"input": 5, "capture_output": True}),
    ((["cat"],), {"input": "text", "capture_output": True}),
    ((["true"],), {"input": b"x", "stdin": subprocess.PIPE}),
    ((["true"],), {"capture_output": True, "stdout": subprocess.PIPE}),
    ((["true"],), {"capture_output": True, "stderr": subprocess.PIPE}),
    ((["true"],), {"timeout": 60, "check": True}),
    ((["sleep", "60"],), {"timeout": 0, "capture_output": True}),
    ((["sleep", "60"],), {"timeout": 0.01, "capture_output": True, "text": True}),
    ((["/no/such"],), {"check": True}),
    ((["true"],), {"cwd": "/no/such"}),
    (([],), {}),
    ((), {}),
    ((["true"],), {"no_such": 1}),
    ((["printf", "x"], -1, None, None, subprocess.PIPE), {"check": True}),
]


@pytest.mark.parametrize("name", ["ours", "plan"])
@pytest.mark.parametrize(("args", "keywords"), RUN, ids=str)
@pytest.mark.parametrize("function", ["run", "check_output"])
def test_run_and_check_output_do_the_same(
    function: str, name: str, args: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    if function == "check_output":
        args, keywords = args[:1], {**keywords, "stderr": subprocess.STDOUT}
        for other in ("check", "capture_output"):
            keywords.pop(other, None)
    expected = result(SOURCES["standard"](function), *args, **keywords)
    assert result(SOURCES[name](function), *args, **keywords) == expected


@each_source
def test_run_gives_output_and_status(of: Callable[[str], Function]) -> None:
    done = of("run")(["sh", "-c", BOTH + "; exit 3"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "err\n")


CALL: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((["true"],), {}),
    ((["sh", "-c", "exit 7"],), {}),
    (("kill -15 $$",), {"shell": True}),
    ((["sleep", "60"],), {"timeout": 0}),
    ((["/no/such"],), {}),
    (([],), {}),
    ((), {}),
]


@pytest.mark.parametrize("name", ["ours", "plan"])
@pytest.mark.parametrize(("args", "keywords"), CALL, ids=str)
@pytest.mark.parametrize("function", ["call", "check_call"])
def test_call_and_check_call_do_the_same(
    function: str, name: str, args: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    expected = result(SOURCES["standard"](function), *args, **keywords)
    assert result(SOURCES[name](function), *args, **keywords) == expected


@pytest.mark.parametrize("keywords", [{"stdout": 1}, {"check": True}], ids=str)
def test_check_output_refuses_what_the_standard_one_refuses(keywords: dict[str, Any]) -> None:
    expected = result(subprocess.check_output, ["true"], **keywords)
    # ValueError, but TypeError for `check` before Python 3.11, in words that name the module.
    assert issubclass(expected[0], (ValueError, TypeError))
    assert result(ours.check_output, ["true"], **keywords)[0] is expected[0]


@each_source
@pytest.mark.parametrize("text", [{}, {"text": True}], ids=str)
def test_a_timeout_tells_what_was_read(of: Callable[[str], Function], text: dict[str, bool]) -> None:
    lock, key = os.pipe()
    args = ["sh", "-c", "echo out; echo err >&2; exec cat"]
    try:
        with pytest.raises(subprocess.TimeoutExpired) as raised:
            of("run")(args, stdin=lock, capture_output=True, timeout=1, **text)
    finally:
        os.close(lock)
        os.close(key)
    error = raised.value
    assert (type(error), error.cmd, error.timeout) == (subprocess.TimeoutExpired, args, 1)
    assert (error.output, error.stdout, error.stderr) == (b"out\n", b"out\n", b"err\n")


@pytest.mark.parametrize("function", ["getoutput", "getstatusoutput"])
@pytest.mark.parametrize(
    "command", [BOTH, "exit 7", "kill -9 $$", "echo two; echo lines", "printf '\\n\\n'", "/no/such", ""]
)
def test_getoutput_and_getstatusoutput_do_the_same(function: str, command: str) -> None:
    expected = result(getattr(subprocess, function), command)
    assert result(getattr(ours, function), command) == expected


if sys.version_info >= (3, 11):

    def test_getoutput_decodes_as_said() -> None:
        expected = subprocess.getstatusoutput("printf '\\303\\244'", encoding="latin-1", errors="strict")
        assert ours.getstatusoutput("printf '\\303\\244'", encoding="latin-1", errors="strict") == expected  # type: ignore[call-arg]


def test_what_ours_raises_is_caught_by_those_who_know_the_standard_module() -> None:
    with pytest.raises(subprocess.CalledProcessError, match="returned non-zero exit status 7"):
        ours.run("exit 7", shell=True, check=True)
    with pytest.raises(subprocess.TimeoutExpired):
        ours.run(["sleep", "60"], timeout=0, setup=PLAN)
    assert type(ours.run(["true"])) is subprocess.CompletedProcess


INTERRUPTED = """
import subprocess
module = {"standard": subprocess, "ours": setsid.subprocess, "plan": setsid.subprocess}[sys.argv[1]]
keywords = {"setup": setsid.ChildSetup()} if sys.argv[1] == "plan" else {}
signal.signal(signal.SIGINT, signal.default_int_handler)
lock, key = os.pipe()
made = []
class Interrupted(module.Popen):
    "Its child interrupts this process once that waits: nothing handles an interrupt before."
    def wait(self, timeout=None):
        self.go()
        return super().wait(timeout)
    def communicate(self, input=None, timeout=None):
        self.go()
        return super().communicate(input, timeout)
    def go(self):
        if not made:
            made.append(self)
            os.write(key, b"go\\n")
module.Popen = Interrupted
try:
    script = "read go; until grep -q 'State:.S' /proc/$PPID/status; do :; done; kill -INT $PPID; exec cat"
    getattr(module, sys.argv[2])(["sh", "-c", script], stdin=lock, **keywords)
except KeyboardInterrupt:
    print(made[0].wait())
"""


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("function", STARTING)
def test_a_keyboardinterrupt_kills_the_child_and_is_raised(name: str, function: str) -> None:
    assert fresh(INTERRUPTED, name, function).stdout == "-9\n"


def test_cleanup_of_both_modules_is_about_the_same_children() -> None:
    assert (ours._active is subprocess._active, ours._cleanup is subprocess._cleanup) == (True, False)  # type: ignore[attr-defined]
    fresh(
        """
import subprocess, warnings
process = setsid.Popen(["true"])
os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
subprocess._active.append(process)
setsid.subprocess._cleanup()
assert (subprocess._active, process.returncode) == ([], 0)
"""
    )
