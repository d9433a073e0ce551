"""spawn's file descriptors against a model of them, on every way to make a child."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from property.model import LIMIT, STREAMS, Case, Outcome, expected
from support import TESTS, WAYS

# Writes "fd device inode" for each of its fds below argv[2], and the same of its directory as -1, to the file argv[1].
# It opens that file last, so that its own work is no part of what it sees.
LISTER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
    static char text[65536];
    int length = 0, top = atoi(argv[argc - 1]);
    struct stat file;
    for (int fd = -1; fd < top; fd++)
        if ((fd < 0 ? stat(".", &file) : fstat(fd, &file)) == 0)
            length += snprintf(text + length, sizeof text - length, "%d %llu %llu\n", fd,
                               (unsigned long long)file.st_dev, (unsigned long long)file.st_ino);
    FILE *out = fopen(argv[1], "w");
    return !out || fwrite(text, 1, length, out) != (size_t)length || fclose(out) != 0;
}
"""

# Answers a line of JSON for each on its stdin. Its own fds are out of the way, at HIGH and up, and close-on-exec, so
# that the numbers below are the case's alone.
HELPER = """
import fcntl, json, resource, socket, tempfile, traceback
from property.model import LIMIT

HIGH, NUMBERS, TOP = 100, 10, 300
lister, scratch, way = sys.argv[1:]
force(way)
keep = {}

def away(fd):
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, HIGH)
    os.close(fd)
    return copy

questions, answers, errors = (open(away(fd), mode) for fd, mode in ((0, "r"), (1, "w"), (2, "w")))
sys.stderr = errors
os.makedirs(scratch + "/cwd")
os.chdir(scratch + "/cwd")
makers = [
    lambda: os.memfd_create("a memfd"),
    lambda: os.open(scratch + "/file%d" % len(keep), os.O_CREAT | os.O_RDWR),
    lambda: socket.socket(socket.AF_UNIX).detach(),
    lambda: os.dup(os.pipe()[0]),
]
for number in range(NUMBERS):
    keep["file%d" % number] = away(makers[number % len(makers)]())
    os.mkdir(scratch + "/dir%d" % number)
    keep["dir%d" % number] = away(os.open(scratch + "/dir%d" % number, os.O_RDONLY))
os.closerange(0, HIGH)  # the pipes' other ends

def identity(file):
    facts = os.stat(file)
    return facts.st_dev, facts.st_ino

names = {identity(fd): name for name, fd in keep.items()}
names |= {identity("/dev/null"): "null", identity("."): "cwd"}
assert len(names) == 2 * NUMBERS + 2
resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def seen():
    with open(scratch + "/seen") as file:
        lines = [list(map(int, line.split())) for line in file]
    os.unlink(scratch + "/seen")
    return {fd: names.get((device, inode), "a stranger") for fd, device, inode in lines}

def plan(case):
    said = {name: case[name] for name in ("stdin", "stdout", "stderr", "close_fds", "cwd", "pass_fds")}
    for name in "stdin", "stdout", "stderr":
        said[name] = {"DEVNULL": setsid.DEVNULL, "STDOUT": setsid.STDOUT}.get(said[name], said[name])
    if isinstance(said["pass_fds"], dict):
        said["pass_fds"] = {int(target): source for target, source in said["pass_fds"].items()}
    return said

def answer(case):
    for number, name in case["files"].items():
        os.dup2(keep[name], int(number), int(number) in case["inheritable"])
    with nothing_left():
        try:
            process = setsid.spawn([lister, scratch + "/seen", str(TOP)], **plan(case))
        except OSError as error:
            return {"errno": error.errno}
        status = process.wait()
        process.close()
    assert status == 0, status
    files = seen()
    return {"cwd": files.pop(-1), "files": files}

for line in questions:
    try:
        result = answer(json.loads(line))
    except BaseException:
        result = {"crash": traceback.format_exc()}
    os.closerange(0, HIGH)
    print(json.dumps(result), file=answers, flush=True)
os._exit(0)  # no standard streams are left for Python to close
"""

Ask = Callable[[Case], Outcome]


@pytest.fixture(scope="module")
def lister(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that tells what it has open."""
    program = tmp_path_factory.mktemp("lister") / "lister"
    compiler = os.environ.get("CC", "cc").split()
    subprocess.run([*compiler, "-O1", "-x", "c", "-", "-o", program], input=LISTER, text=True, check=True)
    return program


@pytest.fixture(scope="module", params=list(WAYS))
def ask(request: pytest.FixtureRequest, lister: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """What a case comes to in a helper process, which serves all of them for one way to make a child."""
    prelude = f"import sys; sys.path.insert(0, {str(TESTS)!r})\nimport os, setsid\nfrom helper import *\n"
    scratch = tmp_path_factory.mktemp("helper")
    helper = subprocess.Popen(
        [sys.executable, "-X", "dev", "-W", "error", "-c", prelude + HELPER, lister, scratch, request.param],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def put(case: Case) -> Outcome:
        assert helper.stdin
        assert helper.stdout
        print(json.dumps(case.as_json()), file=helper.stdin, flush=True)
        answer = json.loads(helper.stdout.readline())
        assert "crash" not in answer, answer["crash"]
        if "files" in answer:
            answer["files"] = {int(fd): name for fd, name in answer["files"].items()}
        return Outcome(**answer)

    with helper:
        yield put
    assert helper.returncode == 0


@st.composite
def cases(draw: st.DrawFn) -> Case:
    # Few numbers, so that sources and targets meet; on the way by a pipe, its ends land among them too.
    files = {
        fd: draw(st.sampled_from(("file", "file", "dir"))) + str(fd)
        for fd in draw(st.sets(st.integers(0, 9), min_size=1))
    }
    open_fds = st.sampled_from(sorted(files))
    pass_fds = draw(st.none() | _mappings(sorted(files)) | st.lists(open_fds))
    streams = {}
    for number, name in enumerate(STREAMS):
        special = ["DEVNULL", "STDOUT"] if name == "stderr" else ["DEVNULL"]
        said = draw(st.none() | open_fds | st.sampled_from(special))
        streams[name] = None if number in (pass_fds or ()) else said  # said twice is refused
    directories = [fd for fd, name in files.items() if name.startswith("dir")]
    return Case(
        files=files,
        inheritable=frozenset(draw(st.sets(open_fds))),
        pass_fds=pass_fds,
        close_fds=draw(st.none() | st.booleans()),
        cwd=draw(st.none() | st.sampled_from(directories)) if directories else None,
        **streams,
    )


def _mappings(open_fds: list[int]) -> st.SearchStrategy[dict[int, int]]:
    """The child's numbers -> the parent's: any, or a permutation of what is open."""
    # Seldom a number at or above the limit, since that ends all.
    targets = st.integers(0, 11) | st.sampled_from((12, LIMIT - 1, LIMIT - 1, LIMIT, LIMIT + 1))
    permutations = st.permutations(open_fds).map(lambda order: dict(zip(open_fds, order, strict=True)))
    any_size = st.integers(0, 6).flatmap(
        lambda size: st.dictionaries(targets, st.sampled_from(open_fds), min_size=size)
    )
    return permutations | any_size | any_size


@settings(max_examples=100, deadline=None, derandomize="CI" in os.environ)
@given(case=cases())
# stderr follows a stdout that the parent has closed, while /dev/null is opened at its number.
@example(case=Case(files={0: "file0"}, inheritable=frozenset(), stdin="DEVNULL", stderr="STDOUT"))
# The free number at which 8 or 9 could be set aside is a target, and is taken before they are put in place.
@example(case=Case(files={5: "file5", 8: "file8", 9: "file9"}, inheritable=frozenset(), pass_fds={3: 5, 8: 9, 9: 8}))
def test_a_child_has_the_files_that_the_model_says(ask: Ask, case: Case) -> None:
    assert ask(case) == expected(case)
