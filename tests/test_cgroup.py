"""The control group: who is put there and how, what the parent keeps of it (nothing), and how it fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import strace
from test_limits import MAKING, everywhere, run

# For a helper whose second argument is a cgroup of its own.
GROUP = (
    MAKING
    + """
import pathlib, threading

group = sys.argv[2]
name = os.path.basename(group)

def where(pid):
    (line,) = [line for line in text(f"/proc/{pid}/cgroup").splitlines() if line.startswith("0::")]
    return line[len("0::"):]

def expect_inside(pid):
    assert os.path.basename(where(pid)) == name
    assert str(pid) in text(group + "/cgroup.procs").split()

def expect_group(cgroup, **changes):
    with nothing_left(), made(cgroup=cgroup, **changes) as pid:
        expect_inside(pid)
        assert facts(os.getpid()) == ours
    assert text(group + "/cgroup.procs") == ""

def expect_bad_group(builtin, number, call, filename, cgroup, **changes):
    expect_failure(builtin, number, Stage.CGROUP, call, filename, cgroup=cgroup, **changes)
    assert text(group + "/cgroup.procs") == ""
"""
)
TRACED = (
    GROUP
    + """
from strace import *

CALLS = ("-e", "trace=clone,clone3,?fork,?vfork,?open,openat,write")

def births(trace):  # of the calls that make a child, those that have the kernel put it into a cgroup
    lines = [line for line in trace.of(os.getpid()) if line.startswith("clone")]
    return ["CLONE_INTO_CGROUP" in line for line in lines]

def joins(trace, pid):  # whether it has written itself into one
    opened = [line for line in trace.of(pid) if '"cgroup.procs"' in line]
    written = [line for line in trace.of(pid) if line.startswith("write(") and ', "0", 1)' in line]
    assert len(opened) == len(written)
    return len(opened)

def traced(*options, **changes):
    with nothing_left():
        with tracing(*CALLS, *options) as trace, made(cgroup=group, **changes) as pid:
            expect_inside(pid)
        return births(trace), joins(trace, pid)
"""
)


@pytest.fixture
def group() -> Iterator[Path]:
    """A cgroup of its own."""
    rows = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in [row[4] for row in rows if row[row.index("-") + 1] == "cgroup2"]:
        path = Path(mount, f"setsid-test-{os.getpid()}")
        try:
            path.mkdir()
        except OSError:
            continue
        yield path
        for directory, _, _ in os.walk(path, topdown=False):
            os.rmdir(directory)
        return
    pytest.skip("needs root and a writable cgroup v2 hierarchy")


EFFECTS = {
    "given as a path": """
for path in group, os.fsencode(group), pathlib.Path(group), group + "/":
    expect_group(path)
""",
    "given as a descriptor, which stays the caller's": """
for flags in os.O_RDONLY, os.O_PATH:
    fd = os.open(group, flags)
    expect_group(fd)
    expect_group(fd, close_fds=True)
    assert os.path.samestat(os.fstat(fd), os.stat(group))
""",
    "given as a path from the parent's directory": """
os.chdir(os.path.dirname(group))
expect_group(name, cwd="/")
expect_group(name.encode(), cwd="/")
expect_bad_group(FileNotFoundError, errno.ENOENT, "open", name + "x", name + "x", cwd=os.path.dirname(group))
""",
    "with no file of it left to the child": """
def held(pid, fd):
    try:
        return name in os.readlink(f"/proc/{pid}/fd/{fd}")
    except FileNotFoundError:  # closed meanwhile
        return False

for close_fds in False, True, None:
    with made(cgroup=group, close_fds=close_fds) as pid:
        expect_inside(pid)
        deadline = time.monotonic() + 10
        while any(held(pid, fd) for fd in os.listdir(f"/proc/{pid}/fd")):
            # Of an exec the parent is told a moment before the kernel has closed what is close-on-exec.
            assert maker in WAYS and time.monotonic() < deadline
""",
    "with other files at all low numbers": """
passed = os.open("/dev/zero", os.O_RDWR)
os.dup2(passed, 150)
own = os.open(group, os.O_RDONLY)  # among the numbers that get another file
targets = range(3, 40)
assert own in targets
for closed in (), (0,), (1, 2):
    for fd in closed:
        os.close(fd)
    for cgroup in group, own:
        with nothing_left(), made(cgroup=cgroup, stdin=setsid.DEVNULL, pass_fds=dict.fromkeys(targets, 150)) as pid:
            expect_inside(pid)
            assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
            assert {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in targets} == {"/dev/zero"}
""",
    "asked for by a thread, with a parent-death signal": """
import warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
result = []

def act():
    with made(cgroup=group, parent_death_signal=signal.SIGKILL) as pid:
        expect_inside(pid)
        result.append(pid)

thread = threading.Thread(target=act)
thread.start()
thread.join()
assert len(result) == 1 and facts(os.getpid()) == ours
""",
}


@everywhere
@pytest.mark.parametrize("scenario", EFFECTS)
def test_the_child_is_in_the_cgroup_and_the_parent_is_not(scenario: str, maker: str, group: Path) -> None:
    run(GROUP + EFFECTS[scenario], maker, group)


@everywhere
def test_a_child_is_born_in_its_cgroup_by_clone3_and_writes_itself_there_elsewhere(
    maker: str, group: Path, need: Callable[..., str]
) -> None:
    strace.require(need)
    run(
        TRACED
        + """
found = traced()
assert found == (([True], 0) if maker == "clone3" else (found[0], 1))
assert any(found[0]) == (maker == "clone3")
""",
        maker,
        group,
    )


UNFORCED = """
from support import lib, WAYS

skip_unless(lib.sid_way() == WAYS["clone3"], "clone3 can't make children here")
"""


def test_a_child_with_another_user_is_born_in_its_cgroup_too(group: Path, need: Callable[..., str]) -> None:
    strace.require(need)
    source = """
with tracing(*CALLS) as trace, made(cgroup=group, user=65534) as pid:
    expect_inside(pid)
    assert status(pid)["Uid"].split() == ["65534"] * 4
assert (births(trace), joins(trace, pid)) == ([True], 0)
assert "CLONE_VM" not in "".join(trace.of(os.getpid()))
"""
    run(TRACED + UNFORCED + source, "spawn()", group)


# The kernel before 5.7 refuses the longer arguments or the flag, and an EINVAL is taken first to mean the pidfd's.
REFUSALS = {"E2BIG:when=1": [True, False], "EINVAL:when=1": [True, True], "EINVAL:when=1..2": [True, True, False]}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_clone3_that_refuses_the_cgroup_is_asked_again_without(
    refusal: str, group: Path, need: Callable[..., str]
) -> None:
    strace.require(need)
    run(
        TRACED
        + """
tried = eval(sys.argv[4])
assert traced("-e", f"inject=clone3:error={sys.argv[3]}") == (tried, 0 if tried[-1] else 1)
""",
        "clone3",
        group,
        refusal,
        REFUSALS[refusal],
    )


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_a_clone3_that_is_filtered_since_the_probe_leaves_the_cgroup_to_clone(
    error: str, group: Path, need: Callable[..., str]
) -> None:
    strace.require(need)
    source = """
tried, joined = traced("-e", f"inject=clone3:error={sys.argv[3]}")
assert (tried, joined) == ([True, False, False], 1)
"""
    run(TRACED + UNFORCED + source, "spawn()", group, error)


FAILURES = {
    "what is no cgroup": """
for path in "/", b"/dev":
    expect_bad_group(OSError, errno.EINVAL, "fstatfs", path, path)
for flags in os.O_RDONLY, os.O_PATH:
    expect_bad_group(OSError, errno.EINVAL, "fstatfs", None, os.open("/", flags))
expect_bad_group(OSError, errno.EINVAL, "fstatfs", None, os.open("/dev/null", os.O_RDWR))
expect_bad_group(OSError, errno.EINVAL, "fstatfs", None, os.pipe()[1])
expect_bad_group(NotADirectoryError, errno.ENOTDIR, "open", "/dev/null", "/dev/null")
for path in group + "/none", os.fsencode(group + "/none"):
    expect_bad_group(FileNotFoundError, errno.ENOENT, "open", path, path)
path = group + "/cgroup.procs"
expect_bad_group(NotADirectoryError, errno.ENOTDIR, "open", path, path)
expect_bad_group(NotADirectoryError, errno.ENOTDIR, "open", None, os.open(path, os.O_RDONLY))
inner = group + "/inner"
os.mkdir(inner)
fd = os.open(inner, os.O_RDONLY)
os.rmdir(inner)
expect_bad_group(FileNotFoundError, errno.ENOENT, "open", None, fd)
expect_failure(OSError, errno.EBADF, None, "fcntl", cgroup=150)
""",
    "a cgroup that takes threads only": """
for inner in "threads", "processes":
    os.mkdir(f"{group}/{inner}")
with open(f"{group}/threads/cgroup.type", "w") as file:
    file.write("threaded")
path = f"{group}/processes"
assert text(path + "/cgroup.type") == "domain invalid\\n"
expect_failure(OSError, errno.EOPNOTSUPP, Stage.CGROUP, "write", path, cgroup=path)
""",
    "a cgroup of root's": """
become_nobody()
expect_bad_group(PermissionError, errno.EACCES, "open", group, group)
expect_bad_group(PermissionError, errno.EACCES, "open", None, os.open(group, os.O_RDONLY))
""",
    "a cgroup that one may write to, but not come to from here": """
for file in "", "/cgroup.procs":
    os.chown(group + file, 65534, 65534)
become_nobody()
expect_bad_group(PermissionError, errno.EACCES, "write", group, group)
""",
    "no number left for the directory": """
limit = 256
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
expect_bad_group(OSError, errno.EMFILE, "open", group, group, pass_fds=dict.fromkeys(range(3, limit), 0))
""",
    "a later step, which leaves the cgroup empty": """
expect_failure(FileNotFoundError, errno.ENOENT, Stage.CWD, "chdir", "/nowhere", cgroup=group, cwd="/nowhere")
assert text(group + "/cgroup.procs") == ""
""",
}


@everywhere
def test_a_file_of_a_cgroups_name_elsewhere_is_not_written_to(maker: str, tmp_path: Path) -> None:
    file = tmp_path / "cgroup.procs"
    file.write_text("precious")
    run(
        """
directory = sys.argv[2]
hint = f"{directory} is not in a cgroup v2 file system"
for cgroup in directory, os.fsencode(directory), *[os.open(directory, flags) for flags in (os.O_RDONLY, os.O_PATH)]:
    filename = None if isinstance(cgroup, int) else cgroup
    expect_failure(OSError, errno.EINVAL, Stage.CGROUP, "fstatfs", filename, cgroup=cgroup)
    try:
        with made(cgroup=cgroup):
            raise AssertionError("nothing failed")
    except setsid.SystemCallError as error:
        assert error.hint == hint
""",
        maker,
        tmp_path,
    )
    assert file.read_text() == "precious"


@everywhere
@pytest.mark.parametrize("scenario", FAILURES)
def test_a_failure_is_named_and_leaves_nothing_behind(scenario: str, maker: str, group: Path) -> None:
    run(GROUP + FAILURES[scenario], maker, group)
