"""The standard library's own tests of subprocess and asyncio's subprocesses hold for ours, but for a few named here."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from support import ON_PYPY, fresh

# What each test file runs with, and the classes of it that say something on this system.
SUITES = {
    "test.test_subprocess": (
        "ProcessTestCase POSIXProcessTestCase RunFuncTestCase ContextManagerTests MiscTests",
        170,
    ),
    "test.test_asyncio.test_subprocess": ("SubprocessPidfdWatcherTests", 25),
}

# Why a test is not run: it needs seconds, or fails where the machine is busy.
LEFT_OUT = {
    "ProcessTestCase.test_check_output_timeout": "waits for three seconds, in which a program must have started",
    "RunFuncTestCase.test_check_output_timeout": "the same",
    "RunFuncTestCase.test_run_with_shell_timeout_and_capture_output": "measures time",
    "ProcessTestCase.test_communicate_timeout": "expects a program to do things in tenths of a second",
    "POSIXProcessTestCase.test_communicate_repeated_call_after_stdout_close": "waits for two seconds",
    "SubprocessPidfdWatcherTests.test_kill_issue43884": "waits for a second",
    "SubprocessPidfdWatcherTests.test_subprocess_send_signal_race": "waits for two seconds",
}

# Why a test can't hold, with and without a plan.
CAN_NOT_HOLD = {
    "POSIXProcessTestCase.test_stopped": "puts a mock in the place of os.waitpid, which a Popen of ours does not call",
    "SubprocessPidfdWatcherTests.test_popen_error": "puts a mock in the place of the standard Popen, not of ours",
    "SubprocessPidfdWatcherTests.test_popen_error_with_stdin_pipe": "the same",
}

# Why a test can't hold with a plan.
CAN_NOT_HOLD_WITH_A_PLAN = {
    "POSIXProcessTestCase.test_exception_errpipe_normal": "puts a mock in the place of _fork_exec, which is not called",
    "POSIXProcessTestCase.test_exception_errpipe_bad_data": "the same",
    "ProcessTestCase.test__use_vfork": "the same, to see what it is told",  # Python 3.11 and 3.12
    "POSIXProcessTestCase.test__use_vfork": "the same",  # since Python 3.13
}

# Writes what became of the tests `names` (all but `left_out` of `classes` if there are none), as JSON.
RUN = """
import asyncio, functools, importlib, json, os, subprocess, types, unittest, unittest.mock, warnings
module, kind, classes, left_out, names, directory = sys.argv[1:]
left_out, names = json.loads(left_out), json.loads(names)
os.chdir(directory)
warnings.resetwarnings()  # the tests want to see them
for name in ("support.script_helper", "support.os_helper", "support.import_helper", "support.warnings_helper"):
    importlib.import_module("test." + name)  # with the standard module

def module_of_popen():
    import setsid.subprocess
    if kind == "planned":
        class Popen(setsid.subprocess.Popen):
            def __init__(self, *args, **keywords):
                if keywords.get("preexec_fn") is None:
                    keywords.setdefault("setup", setsid.ChildSetup())
                super().__init__(*args, **keywords)
        setsid.subprocess.Popen = Popen
    return setsid.subprocess

class Instead(types.ModuleType):
    def __init__(self, module, **others):
        super().__init__(module.__name__)
        self.__dict__.update(others, standard=module)
    def __getattr__(self, name):
        return getattr(self.standard, name)

def planned(create):
    @functools.wraps(create)
    async def wrapper(*args, **keywords):
        if kind == "planned":
            keywords.setdefault("setup", setsid.ChildSetup())
        return await create(*args, **keywords)
    return wrapper

def tests():
    if kind == "standard":
        return importlib.import_module(module)
    if module == "test.test_subprocess":
        sys.modules["subprocess"] = module_of_popen()  # while its classes are made, some of which are Popens
        tests = importlib.import_module(module)
        sys.modules["subprocess"] = subprocess
        return tests
    import setsid.aio
    tests = importlib.import_module(module)
    functions = {name: planned(getattr(setsid.aio, name)) for name in setsid.aio.__all__ if name.startswith("create")}
    tests.subprocess = Instead(asyncio.subprocess, **functions)
    tests.asyncio = Instead(asyncio, subprocess=tests.subprocess, **functions)
    return tests

class Result(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed = []
    def addSuccess(self, test):
        self.passed.append(name_of(test))

def name_of(test):
    return ".".join(getattr(test, "test_case", test).id().split(".")[-2:])

def every(suite):
    for test in suite:
        yield from every(test) if isinstance(test, unittest.TestSuite) else [test]

tests = tests()
suite = unittest.defaultTestLoader.loadTestsFromNames(names or classes.split(), tests)
suite = unittest.TestSuite(test for test in every(suite) if name_of(test) not in left_out)
result = Result()
suite.run(result)
failed = {name_of(test): text for test, text in result.failures + result.errors}
with open("result.json", "w") as file:
    json.dump({"passed": sorted(set(result.passed) - set(failed)), "failed": failed}, file)
"""


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it would be in
        return False


def run(module: str, kind: str, directory: Path, names: list[str] | None = None) -> Any:
    """The tests that `passed` and those that `failed`, with their tracebacks."""
    classes, _ = SUITES[module]
    fresh(RUN, module, kind, classes, json.dumps(list(LEFT_OUT)), json.dumps(names or []), directory)
    return json.loads((directory / "result.json").read_text())


@pytest.mark.parametrize("kind", ["plain", "planned"])
@pytest.mark.parametrize("module", SUITES)
def test_the_tests_of_the_standard_library_hold_but_for_those_that_can_not(
    module: str, kind: str, tmp_path: Path
) -> None:
    if ON_PYPY:
        pytest.skip("PyPy's copy of them imports modules of CPython's, which it builds from sources that are not there")
    if not is_installed(module):
        pytest.skip(f"this Python comes without its own tests: there is no {module}")
    result = run(module, kind, tmp_path)
    can_not = CAN_NOT_HOLD | (CAN_NOT_HOLD_WITH_A_PLAN if kind == "planned" else {})
    unexpected = {name: text for name, text in result["failed"].items() if name not in can_not}
    if unexpected:  # does the standard module itself pass, on this machine?
        passed = run(module, "standard", tmp_path, list(unexpected))["passed"]
        unexpected = {name: unexpected[name] for name in passed}
    assert unexpected == {}, "\n".join(unexpected.values())
    _, least = SUITES[module]
    assert len(result["passed"]) >= least
    assert sorted(can_not.keys() & result["passed"]) == []  # what holds after all is no exception
