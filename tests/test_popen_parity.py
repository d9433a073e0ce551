"""Popen's arguments: the same results from the standard class, from ours, and from ours with an empty plan."""

from __future__ import annotations

import functools
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any, TypeAlias

import pytest

import setsid
from support import fresh, nothing_left

Maker: TypeAlias = Callable[..., "subprocess.Popen[Any]"]

MAKERS: dict[str, Maker] = {
    "standard": subprocess.Popen,
    "ours": setsid.Popen,
    "plan": functools.partial(setsid.Popen, setup=setsid.ChildSetup()),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
each_name = pytest.mark.parametrize("name", MAKERS)

# For a helper: the maker that its first argument names.
MAKER = """
import functools, json, subprocess, sys
make = {
    "standard": subprocess.Popen,
    "ours": setsid.Popen,
    "plan": functools.partial(setsid.Popen, setup=setsid.ChildSetup()),
}[sys.argv[1]]
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing ids needs root")
# What a child's 0, 1 and 2 are, and which other files it has, to the file that its first argument names.
FILES = """
import json, os, sys
fds = {}
for name in os.listdir("/proc/self/fd"):
    try:
        fds[name] = os.readlink("/proc/self/fd/" + name)
    except OSError:
        continue
with open(sys.argv[1], "w") as file:
    json.dump(fds, file)
"""


def output(make: Maker, args: Any, **keywords: Any) -> Any:
    """What a program that succeeds writes to its stdout."""
    with nothing_left():
        with make(args, stdout=PIPE, **keywords) as process:
            text, _ = process.communicate()
        del process
    return text


def script(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# -- args, executable, shell


@each_maker
@pytest.mark.parametrize(
    "args",
    [
        lambda: ["printf", "%s", "a b"],
        lambda: ("printf", b"%s", "a b"),
        lambda: (word for word in ("printf", "%s", "a b")),
        lambda: [Path("printf"), "%s", Path("a b")],
        lambda: {"printf": 0, "%s": 1, "a b": 2},
    ],
    ids=["list", "tuple of str and bytes", "generator", "PathLike", "dict"],
)
def test_args_are_any_iterable(make: Maker, args: Callable[[], Any]) -> None:
    assert output(make, args()) == b"a b"


@each_maker
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_args_alone_are_the_program(make: Maker, kind: Callable[[Any], Any], tmp_path: Path) -> None:
    program = script(tmp_path / "a program", '#!/bin/sh\nprintf %s "$0"\n')
    assert output(make, kind(program)) == bytes(program)


@each_maker
@pytest.mark.parametrize("args", [["printf", "%s", "\udcff"], ["printf", "%s", b"\xff"]])
def test_args_are_in_the_file_systems_encoding(make: Maker, args: list[Any]) -> None:
    assert output(make, args) == b"\xff"


@each_maker
@pytest.mark.parametrize("executable", ["/bin/sh", b"/bin/sh", Path("/bin/sh"), "sh", b"sh"])
def test_executable_is_what_runs_and_args_0_what_it_sees(make: Maker, executable: Any) -> None:
    assert output(make, ["zero", "-c", "printf %s $0"], executable=executable) == b"zero"


@each_maker
@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("printf '%s' \"$0\"", b"/bin/sh"),
        (b"printf '%s' \"$0\"", b"/bin/sh"),
        (["printf '%s' \"$0 $1\"", "zero", b"one"], b"zero one"),
        ("", b""),
    ],
)
def test_shell_runs_a_command_line(make: Maker, args: Any, expected: bytes) -> None:
    assert output(make, args, shell=True) == expected


@each_maker
@pytest.mark.parametrize("executable", [sys.executable, os.fsencode(sys.executable)])
def test_shell_with_executable_is_another_shell(make: Maker, executable: Any) -> None:
    # Some Pythons of a virtual environment don't look up argv[0] themselves: what counts is that Python runs.
    assert output(make, "print(6 * 7)", shell=True, executable=executable) == b"42\n"


# -- the streams


@each_maker
@pytest.mark.parametrize(
    ("bufsize", "kind"),
    [(0, io.FileIO), (-1, io.BufferedReader), (None, io.BufferedReader), (512, io.BufferedReader)],
)
def test_bufsize_is_that_of_the_pipes(make: Maker, bufsize: Any, kind: type) -> None:
    with make(["true"], bufsize=bufsize, stdout=PIPE) as process:
        assert type(process.stdout) is kind


@each_maker
@pytest.mark.parametrize(("bufsize", "expected"), [(1, True), (-1, False)])
def test_bufsize_1_of_a_text_is_line_buffering(make: Maker, bufsize: int, expected: bool) -> None:
    with make(["true"], bufsize=bufsize, stdin=PIPE, text=True) as process:
        stdin: Any = process.stdin
        assert (type(stdin), stdin.line_buffering) == (io.TextIOWrapper, expected)


@each_maker
@pytest.mark.parametrize("of", [lambda file: file.fileno(), lambda file: file], ids=["fd", "file"])
def test_the_streams_are_fds_and_files(make: Maker, of: Callable[[Any], Any], tmp_path: Path) -> None:
    (tmp_path / "in").write_text("input")
    names = "in", "out", "err"
    with open(tmp_path / "in") as stdin, open(tmp_path / "out", "w") as out, open(tmp_path / "err", "w") as err:
        process = make(["sh", "-c", "cat; echo error >&2"], stdin=of(stdin), stdout=of(out), stderr=of(err))
        assert (process.wait(), process.stdin, process.stdout, process.stderr) == (0, None, None, None)
    assert [(tmp_path / name).read_text() for name in names] == ["input", "input", "error\n"]


@each_maker
def test_each_stream_can_be_a_pipe(make: Maker) -> None:
    with make(["sh", "-c", "cat; echo error >&2"], stdin=PIPE, stdout=PIPE, stderr=PIPE) as process:
        assert process.communicate(b"input") == (b"input", b"error\n")


@each_maker
def test_each_stream_can_be_devnull(make: Maker, tmp_path: Path) -> None:
    process = make([sys.executable, "-ISc", FILES, tmp_path / "fds"], stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL)
    assert process.wait() == 0
    assert json.loads((tmp_path / "fds").read_text()) == {"0": "/dev/null", "1": "/dev/null", "2": "/dev/null"}


@each_maker
@pytest.mark.parametrize("stdout", [PIPE, "fd"])
def test_stderr_goes_where_stdout_goes(make: Maker, stdout: Any, tmp_path: Path) -> None:
    with open(tmp_path / "out", "wb") as file:
        with make(["sh", "-c", "echo out; echo err >&2"], stdout=file if stdout == "fd" else PIPE, stderr=STDOUT) as it:
            text, _ = it.communicate()
    assert (text or (tmp_path / "out").read_bytes()) == b"out\nerr\n"


@each_name
def test_stderr_goes_to_this_process_stdout(name: str) -> None:
    result = fresh(MAKER + "make(['sh', '-c', 'echo err >&2'], stderr=subprocess.STDOUT).wait()", name)
    assert (result.stdout, result.stderr) == ("err\n", "")


@each_maker
def test_streams_that_are_not_said_are_this_process_own(make: Maker, tmp_path: Path) -> None:
    own = {str(fd): os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)}
    assert make([sys.executable, "-ISc", FILES, tmp_path / "fds"]).wait() == 0
    assert json.loads((tmp_path / "fds").read_text()) == own


@each_maker
@pytest.mark.parametrize("swapped", [{"stdout": 2, "stderr": 1}, {"stdout": 2}, {"stderr": 1}], ids=str)
def test_standard_streams_can_change_places(make: Maker, swapped: dict[str, int], tmp_path: Path) -> None:
    own = {str(fd): os.readlink(f"/proc/self/fd/{fd}") for fd in (0, 1, 2)}
    expected = {**own, **{{"stdout": "1", "stderr": "2"}[name]: own[str(fd)] for name, fd in swapped.items()}}
    assert make([sys.executable, "-ISc", FILES, tmp_path / "fds"], **swapped).wait() == 0
    assert json.loads((tmp_path / "fds").read_text()) == expected


CLOSED = """
closed, path, program = json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
for fd in closed:
    os.close(fd)
process = make([sys.executable, "-ISc", program, path], **json.loads(sys.argv[5]))
text = process.communicate(timeout=60)
assert process.returncode == 0, (process.returncode, text)
"""


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [0, 1, 2]], ids=str)
@pytest.mark.parametrize(
    "streams", [{}, {"stdin": PIPE, "stdout": PIPE, "stderr": PIPE}, {"stdin": DEVNULL}, {"stdout": PIPE}], ids=str
)
def test_streams_are_right_where_this_process_has_closed_its_own(
    closed: list[int], streams: dict[str, int], tmp_path: Path
) -> None:
    seen = {}
    for name in MAKERS:
        fresh(MAKER + CLOSED, name, json.dumps(closed), tmp_path / name, FILES, json.dumps(streams))
        files = json.loads((tmp_path / name).read_text())
        seen[name] = {fd: link.partition(":")[0] for fd, link in files.items()}
    assert (seen["ours"], seen["plan"]) == (seen["standard"], seen["standard"])
