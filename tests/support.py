"""What the tests share: the start of a helper process, and what those share with the tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from helper import *  # noqa: F403
from helper import LACKING, ON_PYPY

TESTS = Path(__file__).resolve().parent
# Said by wheels/matrix.py. Not asked of the probe, whose answer is what is tested.
EMULATED = os.environ.get("SETSID_TEST_EMULATED") == "1"


def skip_unless_forcible(way: str | None) -> None:
    """Where the child's memory is always a copy, no way holds but the one that reports through a pipe."""
    if EMULATED and way not in (None, "fork"):
        import pytest

        pytest.skip("this emulator shares no memory with a vforked child")


def example(path: Path) -> list[str]:
    """The arguments by which Python runs an example; on PyPy with pidfds, if it uses those."""
    if not (ON_PYPY and "pidfd" in path.read_text()):
        return [str(path)]
    source = LACKING + "import runpy\ndel sys.argv[0]\nrunpy.run_path(sys.argv[0], run_name='__main__')\n"
    return ["-c", source, str(path)]


def fresh(
    source: str,
    *args: object,
    way: str | None = None,
    hide_pidfd: bool = False,
    wrapper: tuple[str, ...] = (),
    timeout: float = 120,
    stdin: int = subprocess.DEVNULL,
    env: dict[str, str] | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run Python source in a process and a session of its own, with this module's names and `sys.argv[1:] == args`.

    `wrapper` is a command to run it under, as strace. Warnings are errors there. Fails if the helper does.
    """
    skip_unless_forcible(way)
    prelude = (
        f"import sys; sys.path.insert(0, {str(TESTS)!r})\n"
        "import errno, os, signal, time, setsid\n"
        "from helper import *\n"
        f"force({way!r}, hide_pidfd={hide_pidfd!r})\n"
    )
    with subprocess.Popen(
        [*wrapper, sys.executable, "-X", "dev", "-W", "error", "-c", prelude + source, *map(str, args)],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="backslashreplace",
        env=env,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            try:
                where = _where_it_hangs(process, is_python=not wrapper)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # strace, and what it traces
            raise AssertionError(f"not done within {timeout} s\n{where}") from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if check:
        assert process.returncode == 0, f"exit status {process.returncode}\n{out}\n{err}"
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def _where_it_hangs(process: subprocess.Popen[str], *, is_python: bool) -> str:
    """What the helper has said, and where its threads are, which -X dev has SIGABRT tell."""
    if is_python:
        process.send_signal(signal.SIGABRT)
    try:
        return "\n".join(process.communicate(timeout=5))
    except subprocess.TimeoutExpired as error:  # others hold its pipes
        return b"\n".join(said for said in (error.stdout, error.stderr) if said).decode(errors="replace")
