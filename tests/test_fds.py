"""The child's file descriptors at the edges: limits, full tables, old kernels, thousands of them; on every way."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from support import fresh

# A cat that has echoed a byte is past its loading, so what /proc shows of it is what it was given: `seen` is that,
# without the two pipes.
LOOK = """
import fcntl, resource

def look(**changes):
    (stdin, to_cat), (from_cat, stdout) = os.pipe(), os.pipe()
    try:
        process = setsid.spawn(["cat"], stdin=stdin, stdout=stdout, **changes)
    finally:
        os.close(stdin)
        os.close(stdout)
    os.write(to_cat, b"x")
    assert os.read(from_cat, 1) == b"x"
    fds = f"/proc/{process.pid}/fd"
    seen = {int(fd): os.readlink(f"{fds}/{fd}") for fd in os.listdir(fds)}
    os.close(to_cat)
    assert process.wait() == 0
    process.close()
    os.close(from_cat)
    del seen[0], seen[1]
    return seen

def inheritable(name):
    fd = os.memfd_create(name, 0)
    assert os.get_inheritable(fd)
    return fd

def link(fd):
    return os.readlink(f"/proc/self/fd/{fd}")

def failure(**changes):
    try:
        process = setsid.spawn(["true"], **changes)
    except setsid.SystemCallError as error:
        return error
    process.wait()
    raise AssertionError("no error")

def limit_files(soft):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def fill(limit, free):
    # All numbers below the limit but the last `free` are taken.
    limit_files(limit)
    while os.dup(2) < limit - 1 - free:
        pass
"""


def test_nothing_but_the_streams_and_what_is_passed_is_open_in_the_child(way: str) -> None:
    fresh(
        LOOK
        + """
leak, passed = inheritable("leak"), inheritable("passed")
with nothing_left():
    assert look() == {2: link(2)}
    assert look(pass_fds=[passed]) == {2: link(2), passed: link(passed)}
    assert look(pass_fds={50: passed}) == {2: link(2), 50: link(passed)}
""",
        way=way,
    )


def test_without_closing_every_inheritable_fd_is_open_in_the_child_and_no_other(way: str) -> None:
    fresh(
        LOOK
        + """
leak, kept_back = inheritable("leak"), os.memfd_create("close-on-exec")
with nothing_left():
    assert look(close_fds=False) == {2: link(2), leak: link(leak)}
    assert look(close_fds=False, pass_fds=[kept_back]) == {2: link(2), leak: link(leak), kept_back: link(kept_back)}
assert not os.get_inheritable(kept_back)
""",
        way=way,
    )


@pytest.mark.parametrize("proc", [True, False], ids=["by /proc", "one by one"])
def test_all_is_closed_where_close_range_is_missing(
    way: str, proc: bool, need: Callable[[str], str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    # strace counts the calls of each process, and this is the child's first openat, or open, which is musl's.
    no_proc = () if proc else ("-e", "inject=?open,openat:error=ENOENT:when=1")
    strace = (need("strace"), "-f", "-o", str(log), "-e", "trace=close_range,?open,openat")
    fresh(
        LOOK
        + """
limit_files(256)
leaks = [inheritable("leak") for _ in range(60)]
high = fcntl.fcntl(leaks[0], fcntl.F_DUPFD, 255)
kept, target = leaks[30], 200
with nothing_left():
    assert look(pass_fds={kept: kept, target: leaks[0]}) == {2: link(2), kept: link(kept), target: link(leaks[0])}
    assert look() == {2: link(2)}
""",
        way=way,
        wrapper=(*strace, "-e", "inject=close_range:error=ENOSYS", *no_proc),
    )
    calls = log.read_text().replace("|O_LARGEFILE", "")
    own = calls.split(maxsplit=1)[0]  # musl lists a directory with the same flags
    children = [line for line in calls.splitlines() if not line.startswith(f"{own} ")]
    opened = [line for line in children if '"/proc/self/fd", O_RDONLY|O_CLOEXEC|O_DIRECTORY' in line]
    assert calls.count("(Function not implemented) (INJECTED)") == 2
    assert ["ENOENT" in line for line in opened] == [not proc] * 2


def test_5000_open_fds_are_all_closed_or_all_there(way: str) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard < 5100:
        pytest.skip(f"needs a hard limit of 5100 open files, not {hard}")
    fresh(
        LOOK
        + """
limit_files(5100)
first = inheritable("many")
many = [first] + [fcntl.fcntl(first, fcntl.F_DUPFD, first) for _ in range(4999)]
before = len(open_fds())
assert look() == {2: link(2)}
assert look(pass_fds=many) == {2: link(2)} | dict.fromkeys(many, link(first))
assert look(close_fds=False) == {2: link(2)} | dict.fromkeys(many, link(first))
assert len(open_fds()) == before
""",
        way=way,
    )


@pytest.mark.parametrize("target", [64, 65, 2**31 - 1])
def test_a_target_at_or_above_the_limit_is_a_clear_error(way: str, target: int) -> None:
    fresh(
        LOOK
        + """
target = int(sys.argv[1])
passed = inheritable("passed")
limit_files(64)
with nothing_left():
    error = failure(pass_fds={target: passed})
    assert (error.errno, error.call, error.stage) == (errno.EBADF, "dup2", setsid.Stage.FDS)
    assert error.hint == (
        f"the child's file descriptor {target} is not below the limit of open files, 64 (RLIMIT_NOFILE)"
    )
    assert look(pass_fds={63: passed}) == {2: link(2), 63: link(passed)}
""",
        target,
        way=way,
    )


def test_a_file_above_a_limit_that_was_lowered_later_can_still_be_passed(way: str) -> None:
    fresh(
        LOOK
        + """
passed = fcntl.fcntl(inheritable("passed"), fcntl.F_DUPFD, 100)
limit_files(64)
with nothing_left():
    assert look(pass_fds=[passed]) == {2: link(2), passed: link(passed)}
    assert look(pass_fds={40: passed}) == {2: link(2), 40: link(passed)}
""",
        way=way,
    )


def test_a_full_table_is_an_error_before_there_is_a_child(way: str) -> None:
    fresh(
        LOOK
        + """
way = sys.argv[1]
fill(64, free=0)
error = failure()
limit_files(128)  # so that what follows can open /proc
assert (error.errno, error.stage) == (errno.EMFILE, None)
assert error.call == {"clone3": "clone3", "clone": "clone", "page": "clone", "fork": "pipe2"}[way]
assert children() == []
assert sorted(open_fds()) == list(range(64))
""",
        way,
        way=way,
    )


def test_a_table_without_room_for_the_pidfd_is_an_error_that_leaves_no_pipe() -> None:
    fresh(
        LOOK
        + """
fill(64, free=2)
before = set(open_fds()), children()
error = failure()
assert (error.errno, error.call, error.stage) == (errno.EMFILE, "fork", None)
assert (set(open_fds()), children()) == before
""",
        way="fork",
    )


@pytest.mark.parametrize(
    "moves",
    [
        pytest.param("dict(zip(range(3, 23), [22, *range(3, 22)]))", id="too many to set aside"),
        pytest.param("{3: 4, 4: 3, 61: 5, 62: 5, 63: 5}", id="the free numbers are targets"),
    ],
)
def test_a_permutation_without_room_to_set_files_aside_is_a_clear_error(way: str, moves: str) -> None:
    fresh(
        LOOK
        + f"""
fill(64, free=3)  # a pipe and a pidfd fit in
with nothing_left():
    error = failure(pass_fds={moves})
    if error.call == "pipe2":  # where the report comes by a pipe, and no number is left for that
        assert sys.argv[1:] == ["fork"] and (error.errno, error.stage) == (errno.EMFILE, None)
    else:
        assert (error.errno, error.call, error.stage) == (errno.EMFILE, "fcntl", setsid.Stage.FDS)
        assert error.hint == (
            "the child may have 64 open files (RLIMIT_NOFILE), and all their numbers are taken or asked for"
        )
""",
        way,
        way=way,
    )


def test_devnull_can_be_read_and_written_as_each_stream(way: str) -> None:
    fresh(
        """
script = '''
for fd in 0 1 2; do
    test /proc/self/fd/$fd -ef /dev/null || exit 1
done
! read line && echo written && echo written >&2
'''
with nothing_left():
    process = setsid.spawn(["sh", "-c", script], stdin=setsid.DEVNULL, stdout=setsid.DEVNULL, stderr=setsid.DEVNULL)
    assert process.wait() == 0
    process.close()
""",
        way=way,
    )


def test_a_file_is_passed_by_what_its_fileno_says_at_each_spawn(way: str) -> None:
    fresh(
        """
class Changing:
    fd = -1
    def fileno(self):
        return self.fd

file, one, other = Changing(), os.memfd_create("one"), os.memfd_create("other")
setup = setsid.ChildSetup(stderr=file, pass_fds={9: file})
with nothing_left():
    for file.fd in one, other:
        process = setsid.spawn(["sh", "-c", "echo $0 >&2; echo $0 >&9", str(file.fd)], setup)
        assert process.wait() == 0
        process.close()
assert [os.pread(fd, 100, 0).decode() for fd in (one, other)] == [f"{one}\\n" * 2, f"{other}\\n" * 2]
""",
        way=way,
    )


def test_parent_and_child_share_a_file_s_position(way: str) -> None:
    fresh(
        """
with nothing_left(), open(os.memfd_create("text"), "wb+", buffering=0) as file:
    file.write(b"first second")
    file.seek(6)
    process = setsid.spawn(["dd", "bs=1", "count=3"], stdin=file, stdout=setsid.DEVNULL, stderr=setsid.DEVNULL)
    assert process.wait() == 0
    process.close()
    assert file.tell() == 9
""",
        way=way,
    )


@pytest.mark.parametrize("targets", ["[writer]", "[reader, writer]", "range(reader, writer + 5)"])
def test_a_target_at_the_number_of_the_reports_pipe_hides_no_error(need: Callable[..., str], targets: str) -> None:
    """The parent looks at the pipe's number in the child to see whether it has executed: execve is late here."""
    fresh(
        f"""
reader, writer = os.pipe()
os.close(reader)
os.close(writer)
with nothing_left():
    try:
        process = setsid.spawn(["/nonexistent/program"], pass_fds=dict.fromkeys({targets}, 0))
    except FileNotFoundError as error:
        assert (error.call, error.stage) == ("execve", setsid.Stage.EXEC)
    else:
        raise AssertionError(f"a missing program was started, and ended with {{process.wait()}}")
""",
        way="fork",
        wrapper=(
            *(need("strace"), "-f", "-o", "/dev/null", "-e", "trace=execve"),
            *("-e", "inject=execve:delay_enter=100000"),
        ),
    )
