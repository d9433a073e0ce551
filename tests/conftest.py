"""Fixtures, and the rule that a skip is a failure where every instrument is meant to be there."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Generator, Iterator

import pytest

import emulated
import support

# It counts what only a debug build does: `make matrix` has one.
collect_ignore = [] if support.ON_DEBUG_BUILD else ["test_references.py"]

# A shell that starts the tests by `&` has these ignored, and so would be all programs here: none could hear a Ctrl-C.
# Not asked first: PyPy's getsignal does not know what was ignored when it began.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(params=list(support.WAYS))
def way(request: pytest.FixtureRequest) -> str:
    """Each way to make a child. Give it to `support.fresh`."""
    support.skip_unless_forcible(request.param)
    return str(request.param)


@pytest.fixture
def forced_way(way: str) -> Iterator[str]:
    """Each way to make a child, for children of the test process itself."""
    support.force(way)
    yield way
    support.force(None)


@pytest.fixture(scope="session")
def need() -> Callable[..., str]:
    """need("strace"): the program's path, or a skip that names it."""

    def find(program: str) -> str:
        path = shutil.which(program)
        if path is None:
            pytest.skip(f"{program} is not installed")
        return path

    return find


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    """A pseudo-terminal: (manager, terminal) file descriptors."""
    manager, terminal = os.openpty()
    yield manager, terminal
    for fd in manager, terminal:
        try:
            os.close(fd)
        except OSError:  # the test has closed it
            pass


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if support.EMULATED:
        emulated.mark(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("SETSID_TEST_ALL") == "1":
        report.outcome = "failed"
        report.longrepr = f"SETSID_TEST_ALL=1, but skipped: {report.longrepr}"
    return report
