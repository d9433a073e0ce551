"""Programs that can't be executed, where they are looked for, children that can't be made, and arguments refused."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import setsid
import strace
from setsid import Stage, SystemCallError
from support import fresh, nothing_left


def failure(argv: list[str | bytes], **options: object) -> SystemCallError:
    with nothing_left(), pytest.raises(SystemCallError) as caught:
        setsid.spawn(argv, **options)  # type: ignore[arg-type]
    return caught.value


def facts(error: SystemCallError) -> tuple[object, ...]:
    return error.errno, error.call, error.stage, error.filename


def output(argv: list[str | bytes], **options: object) -> bytes:
    reader, writer = os.pipe()
    with open(reader, "rb") as file:
        try:
            process = setsid.spawn(argv, stdout=writer, **options)  # type: ignore[arg-type]
        finally:
            os.close(writer)
        written = file.read()
    assert process.wait() == 0
    process.close()
    return written


def write(path: Path, content: str, mode: int = 0o755) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def program(path: Path, says: str) -> str:
    return write(path, f"#!/bin/sh\necho {says}\n")


# -- execve's errors


def test_a_missing_program(forced_way: str, tmp_path: Path) -> None:
    path = str(tmp_path / "missing")
    error = failure([path])
    assert isinstance(error, FileNotFoundError)
    assert facts(error) == (errno.ENOENT, "execve", Stage.EXEC, path)
    assert error.hint is None  # there is nothing to add
    assert str(error) == f"[Errno 2] No such file or directory: {path!r} (execve, stage exec)"


def test_a_dangling_symbolic_link(forced_way: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("nothing")
    assert facts(failure([str(link)])) == (errno.ENOENT, "execve", Stage.EXEC, str(link))


def test_a_script_whose_interpreter_is_missing(forced_way: str, tmp_path: Path) -> None:
    path = write(tmp_path / "script", "#!/nowhere/sh -e\n")
    error = failure([path])
    assert facts(error) == (errno.ENOENT, "execve", Stage.EXEC, path)
    assert error.hint == f"{path} exists, but its interpreter /nowhere/sh does not"


def test_a_file_without_permission_to_execute(forced_way: str, tmp_path: Path) -> None:
    path = write(tmp_path / "plain", "#!/bin/sh\n", 0o644)
    error = failure([path])
    assert isinstance(error, PermissionError)
    assert facts(error) == (errno.EACCES, "execve", Stage.EXEC, path)
    assert error.hint == f"{path} is not executable"


def test_a_directory(forced_way: str, tmp_path: Path) -> None:
    error = failure([str(tmp_path)])
    assert isinstance(error, PermissionError)
    assert facts(error) == (errno.EACCES, "execve", Stage.EXEC, str(tmp_path))
    assert error.hint == f"{tmp_path} is a directory"


def test_text_without_an_interpreter_is_not_given_to_sh(forced_way: str, tmp_path: Path) -> None:
    path = write(tmp_path / "text", "echo hello\n")
    error = failure([path])
    assert facts(error) == (errno.ENOEXEC, "execve", Stage.EXEC, path)
    assert error.hint == f"{path} is no binary and has no #! line; name its interpreter, as sh"


def test_an_empty_file(forced_way: str, tmp_path: Path) -> None:
    path = write(tmp_path / "empty", "")
    error = failure([path])
    assert facts(error) == (errno.ENOEXEC, "execve", Stage.EXEC, path)
    assert error.hint == f"{path} is empty"


def test_a_path_through_a_file(forced_way: str, tmp_path: Path) -> None:
    path = write(tmp_path / "file", "") + "/program"
    error = failure([path])
    assert isinstance(error, NotADirectoryError)
    assert facts(error) == (errno.ENOTDIR, "execve", Stage.EXEC, path)


def test_a_loop_of_symbolic_links(forced_way: str, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    assert facts(failure([str(loop)])) == (errno.ELOOP, "execve", Stage.EXEC, str(loop))


def test_a_program_that_is_being_written(forced_way: str, tmp_path: Path) -> None:
    path = program(tmp_path / "busy", "hello")
    with open(path, "ab"):
        assert facts(failure([path])) == (errno.ETXTBSY, "execve", Stage.EXEC, path)
    assert output([path]) == b"hello\n"


def test_arguments_that_are_too_long(forced_way: str) -> None:
    long = "x" * (1 << 18)
    error = failure(["/bin/true", long], env={"A": "b"})
    assert facts(error) == (errno.E2BIG, "execve", Stage.EXEC, "/bin/true")
    size = len("/bin/true") + len(long) + 2
    assert error.hint == f"arguments take {size} bytes, the environment 4, the longest string {len(long)}"


def test_an_environment_that_is_too_long(forced_way: str) -> None:
    error = failure(["/bin/true"], env={"LONG": "x" * (1 << 18)})
    assert facts(error) == (errno.E2BIG, "execve", Stage.EXEC, "/bin/true")


def test_the_error_names_the_program_as_it_was_given(forced_way: str, tmp_path: Path) -> None:
    assert failure(["no-such-program"]).filename == "no-such-program"
    assert failure([b"/nowhere/\xff"]).filename == os.fsdecode(b"/nowhere/\xff")
    assert failure(["sh"], executable="./none", cwd=tmp_path).filename == "./none"


def test_a_hint_speaks_of_the_childs_directory_and_not_of_the_parents(
    forced_way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours" / "program").mkdir(parents=True)
    write(tmp_path / "theirs" / "program", "", 0o644)
    monkeypatch.chdir(tmp_path / "ours")
    directory = os.open(tmp_path / "theirs", os.O_RDONLY)
    try:
        for cwd in tmp_path / "theirs", directory:
            hint = failure(["./program"], cwd=cwd).hint
            assert hint is not None
            assert hint.endswith("is not executable")
    finally:
        os.close(directory)


PROVOKE = """
import ctypes, resource, tempfile
from setsid import Stage
from strace import *

CALL = {"clone3": "clone3", "clone": "clone", "page": "clone", "fork": "fork"}

def provoke(argv=("true",), *, prepare=lambda: None, restore=lambda: None, **options):
    with nothing_left():
        prepare()
        try:
            process = setsid.spawn(argv, **options)
        except setsid.SystemCallError as error:
            return error
        finally:
            restore()
    raise AssertionError(f"nothing failed, and the program ended with {process.wait()}")

def check_that_it_works():
    process = setsid.spawn(["true"])
    assert process.wait() == 0
    process.close()
"""
UNPRIVILEGED = (
    PROVOKE
    + """
from setsid import _child_hints, _enums  # while they can still be read

def drop_privileges():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: or /proc/self stays root's
"""
)


def test_a_program_in_a_directory_that_may_not_be_searched(way: str) -> None:
    fresh(
        UNPRIVILEGED
        + """
drop_privileges()
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "closed", "program")
    os.mkdir(os.path.dirname(path))
    os.symlink("/bin/true", path)
    os.chmod(os.path.dirname(path), 0)
    error = provoke([path])
    assert isinstance(error, PermissionError)
    assert (error.errno, error.call, error.stage) == (errno.EACCES, "execve", Stage.EXEC)
    assert (error.filename, error.hint) == (path, None)
    os.chmod(os.path.dirname(path), 0o700)
""",
        way=way,
    )


# -- where a program is looked for


@pytest.fixture
def places(tmp_path: Path) -> Path:
    """Directories "denied" (its program may not be executed), "empty", "good" and "other", and a file "file"."""
    write(tmp_path / "denied" / "prog", "#!/bin/sh\n", 0o644)
    (tmp_path / "empty").mkdir()
    program(tmp_path / "good" / "prog", "good")
    program(tmp_path / "other" / "prog", "other")
    write(tmp_path / "text" / "prog", "echo text\n")
    write(tmp_path / "file", "")
    return tmp_path


def path_of(places: Path, *names: str) -> dict[str, str]:
    return {"PATH": ":".join(str(places / name) for name in names)}


def test_the_first_place_that_has_the_program_wins(forced_way: str, places: Path) -> None:
    assert output(["prog"], env=path_of(places, "good", "other")) == b"good\n"
    assert output(["prog"], env=path_of(places, "other", "good")) == b"other\n"


def test_places_without_the_program_are_passed_over(forced_way: str, places: Path) -> None:
    assert output(["prog"], env=path_of(places, "empty", "missing", "file", "good")) == b"good\n"


def test_a_program_that_may_not_be_executed_is_passed_over(forced_way: str, places: Path) -> None:
    assert output(["prog"], env=path_of(places, "denied", "good")) == b"good\n"


def test_permission_denied_is_remembered_when_no_place_has_better(forced_way: str, places: Path) -> None:
    error = failure(["prog"], env=path_of(places, "empty", "denied", "missing", "file"))
    assert isinstance(error, PermissionError)
    assert facts(error) == (errno.EACCES, "execve", Stage.EXEC, "prog")
    assert error.hint == f"{places / 'denied' / 'prog'} is not executable"


def test_the_program_is_nowhere(forced_way: str, places: Path) -> None:
    error = failure(["prog"], env=path_of(places, "empty", "missing"))
    assert isinstance(error, FileNotFoundError)
    assert facts(error) == (errno.ENOENT, "execve", Stage.EXEC, "prog")
    assert error.hint == "there is none in PATH"


def test_any_other_error_ends_the_search(forced_way: str, places: Path) -> None:
    error = failure(["prog"], env=path_of(places, "text", "good"))
    assert facts(error) == (errno.ENOEXEC, "execve", Stage.EXEC, "prog")


@pytest.mark.parametrize("path", ["", ":", "/nowhere:", ":/nowhere", "/nowhere::/nowhere"])
def test_an_empty_place_is_the_childs_directory(forced_way: str, places: Path, path: str) -> None:
    assert output(["prog"], env={"PATH": path}, cwd=places / "good") == b"good\n"


def test_a_relative_place_starts_at_the_childs_directory(forced_way: str, places: Path) -> None:
    assert output(["prog"], env={"PATH": "good"}, cwd=places) == b"good\n"
    assert output(["prog"], env={"PATH": "../good"}, cwd=places / "empty") == b"good\n"


def test_a_program_with_a_slash_is_not_looked_for(forced_way: str, places: Path) -> None:
    assert output(["./prog"], env=path_of(places, "other"), cwd=places / "good") == b"good\n"
    assert facts(failure(["./prog"], env=path_of(places, "good"), cwd=places / "empty"))[0] == errno.ENOENT


def test_without_path_the_places_are_bin_and_usr_bin(
    forced_way: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(places / "good"))
    assert output(["sh", "-c", "echo found"], env={}) == b"found\n"
    error = failure(["prog"], env={})
    assert facts(error)[0] == errno.ENOENT
    assert error.hint == f"there is none in {os.defpath}, since PATH is not set"


def test_the_path_is_the_childs_and_not_the_parents(
    forced_way: str, places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(places / "good"))
    assert output(["prog"], env=path_of(places, "other")) == b"other\n"
    assert output(["prog"]) == b"good\n"


def test_executable_is_another_program_than_argv_0(forced_way: str, places: Path) -> None:
    assert output(["name", "-c", "echo $0"], executable="/bin/sh") == b"name\n"
    assert output(["sh"], executable="prog", env=path_of(places, "good")) == b"good\n"


def test_an_empty_name_is_no_program(forced_way: str) -> None:
    error = failure([""])
    assert isinstance(error, FileNotFoundError)  # as execvp(3) has it, and not the directories of PATH
    assert facts(error) == (errno.ENOENT, "execve", Stage.EXEC, "")


# -- bytes


ODD = b"\xff\xfe \xc3("


def test_arguments_and_environment_arrive_byte_for_byte(forced_way: str) -> None:
    show: list[str | bytes] = ["sh", "-c", 'printf "%s,%s" "$1" "$ODD"', "sh"]
    assert output([*show, ODD], env={b"PATH": os.defpath, b"ODD": ODD}) == ODD + b"," + ODD
    text = os.fsdecode(ODD)
    assert output([*show, text], env={"PATH": os.defpath, "ODD": text}) == ODD + b"," + ODD
    assert output([*show, "", "", ""], env={"PATH": os.defpath, "ODD": ""}) == b","


def test_the_directory_and_the_program_may_have_any_name(forced_way: str, tmp_path: Path) -> None:
    directory = os.path.join(os.fsencode(tmp_path), ODD)
    os.mkdir(directory)
    os.symlink("/bin/sh", os.path.join(directory, ODD))
    for name in ODD, os.fsdecode(ODD):
        path = os.path.join(tmp_path, os.fsdecode(ODD)) if isinstance(name, str) else directory
        assert output(["sh", "-c", "pwd -P"], cwd=path) == os.path.realpath(directory) + b"\n"
        assert output([name, "-c", "echo $0"], env={b"PATH": directory}) == ODD + b"\n"


# -- a child that can't be made


FILL = """
taken = []

def fill(leave):
    while True:
        try:
            taken.append(os.dup(0))
        except OSError as error:
            assert error.errno == errno.EMFILE
            break
    for _ in range(leave):
        os.close(taken.pop())

def empty():
    while taken:
        os.close(taken.pop())

resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
"""


def test_no_file_descriptor_left(way: str) -> None:
    fresh(
        PROVOKE
        + FILL
        + """
way = sys.argv[1]
provoke(["/nowhere"])  # so that all modules are loaded
for left, call in enumerate(["pipe2", "pipe2", "fork"] if way == "fork" else [CALL[way]]):
    error = provoke(prepare=lambda: fill(left), restore=empty)
    assert (error.errno, error.call, error.stage, error.filename) == (errno.EMFILE, call, None, None), (left, error)
    assert type(error).__name__ == "SystemCallError"
fill(left + 1)
check_that_it_works()
""",
        way,
        way=way,
    )


def test_the_first_failure_of_all_is_told_though_no_file_can_be_opened(way: str) -> None:
    fresh(
        PROVOKE
        + FILL
        + """
error = provoke(prepare=lambda: fill(0), restore=empty)
assert (error.errno, error.call) == (errno.EMFILE, "pipe2" if sys.argv[1] == "fork" else CALL[sys.argv[1]])
""",
        way,
        way=way,
    )


def test_too_many_processes_of_the_user(way: str) -> None:
    fresh(
        UNPRIVILEGED
        + """
drop_privileges()
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
error = provoke(
    prepare=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (1, hard)),
    restore=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard)),
)
assert isinstance(error, BlockingIOError)
assert (error.errno, error.call, error.stage) == (errno.EAGAIN, CALL[sys.argv[1]], None)
check_that_it_works()
""",
        way,
        way=way,
    )


@pytest.fixture
def pids_cgroup() -> Iterator[Path]:
    """A cgroup of the pids controller, of its own."""
    for mount in Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"):
        group = mount / f"setsid-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "pids.max").exists():
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("needs root and a writable cgroup hierarchy with the pids controller")


def test_too_many_processes_in_the_cgroup(way: str, pids_cgroup: Path) -> None:
    fresh(
        PROVOKE
        + """
group = sys.argv[2]

def write(path, text):
    with open(path, "w") as file:
        file.write(text)

with open("/proc/self/cgroup") as file:
    rows = [line.rstrip().split(":") for line in file]
outer = os.path.dirname(group) + next((path for _, names, path in rows if "pids" in names.split(",")), rows[-1][2])
write(group + "/cgroup.procs", str(os.getpid()))
try:
    write(group + "/pids.max", "1")
    error = provoke()
    assert isinstance(error, BlockingIOError)
    assert (error.errno, error.call, error.stage) == (errno.EAGAIN, CALL[sys.argv[1]], None)
    write(group + "/pids.max", "2")
    check_that_it_works()
finally:
    write(outer + "/cgroup.procs", str(os.getpid()))
""",
        way,
        pids_cgroup,
        way=way,
    )


@pytest.fixture
def traced(need: Callable[..., str]) -> None:
    strace.require(need)


@pytest.mark.usefixtures("traced")
def test_no_memory_for_a_child(way: str) -> None:
    fresh(
        PROVOKE
        + """
provoke(["/nowhere"])
system_call = "clone3" if sys.argv[1] == "clone3" else "clone"
with tracing("-e", f"inject={system_call}:error=ENOMEM:when=1"):
    error = provoke()
    assert (error.errno, error.call, error.stage) == (errno.ENOMEM, CALL[sys.argv[1]], None)
    check_that_it_works()
""",
        way,
        way=way,
    )


@pytest.mark.usefixtures("traced")
def test_no_memory_for_the_report_of_a_child() -> None:
    fresh(
        PROVOKE
        + """
provoke(["/nowhere"])
# Else musl may map memory for a listing, or what a file is read into, and be the one that has none: every other piece
# of each size is let go of, as musl gives back where no piece is in use.
listings = [os.scandir("/proc/self/fd") for _ in range(16)]
buffers = [bytearray(size) for size in (1 << shift for shift in range(10, 17)) for _ in range(8)]
for listing in listings[::2]:
    listing.close()
kept = listings[1::2]
del buffers[::2]
with tracing("-e", "inject=?mmap,?mmap2:error=ENOMEM:when=1"):
    error = provoke()
for listing in kept:
    listing.close()
assert (error.errno, error.call, error.stage) == (errno.ENOMEM, "mmap", None)
check_that_it_works()  # untraced, as the child's loader maps memory too
""",
        way="page",
    )


@pytest.mark.usefixtures("traced")
def test_no_memory_for_the_first_child_of_all_is_named_and_not_remembered() -> None:
    fresh(
        PROVOKE
        + """
with tracing("-e", "inject=clone3:error=ENOMEM:when=1") as trace:
    error = provoke()
    assert (error.errno, error.call, error.stage) == (errno.ENOMEM, "clone3", None)
    check_that_it_works()
calls = [line for line in trace.of(os.getpid()) if line.startswith("clone")]
assert [call.startswith("clone3(") for call in calls] == [True, True, True]  # failed, probe, child
"""
    )


def test_no_memory_for_the_arguments(way: str) -> None:
    fresh(
        PROVOKE
        + """
many = [""] * (1 << 22)  # a byte each for Python, a pointer each for execve
provoke(["/nowhere"])
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * resource.getpagesize()
limit = size + 5 * len(many)
infinite = resource.getrlimit(resource.RLIMIT_AS)
error = provoke(
    many,
    executable="/bin/true",
    prepare=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, infinite[1])),
    restore=lambda: resource.setrlimit(resource.RLIMIT_AS, infinite),
)
assert (error.errno, error.call, error.stage) == (errno.ENOMEM, "malloc", None)
""",
        way=way,
    )


# -- what is refused before there is a child


@pytest.mark.parametrize("argv", ["ls -l", b"ls", Path("/bin/true"), iter(["true"]), {"true"}, {"true": 1}, None, 5])
def test_argv_that_is_no_sequence_is_refused(argv: object) -> None:
    with nothing_left(), pytest.raises(TypeError, match="argv must be a sequence of strings, not "):
        setsid.spawn(argv)  # type: ignore[arg-type]


def test_an_argument_that_is_no_string_is_refused() -> None:
    with nothing_left(), pytest.raises(TypeError, match="not int"):
        setsid.spawn(["sleep", 1])  # type: ignore[list-item]


@pytest.mark.parametrize("argv", [[], ()])
def test_an_empty_argv_is_refused(argv: list[str]) -> None:
    with nothing_left(), pytest.raises(ValueError, match="argv is empty"):
        setsid.spawn(argv)
    with nothing_left(), pytest.raises(ValueError, match="argv is empty"):
        setsid.spawn(argv, executable="/bin/true")


@pytest.mark.parametrize("argv", [["true", "a\0b"], ["tr\0ue"], ["true", b"\0"], ["true", "\0", ""], ["true\0", "x"]])
def test_a_nul_in_argv_is_refused(argv: list[str]) -> None:
    with nothing_left(), pytest.raises(ValueError, match="embedded null byte"):
        setsid.spawn(argv)


@pytest.mark.parametrize("env", [{"A": "b\0"}, {"A\0": "b"}, {"A": "\0", "B": ""}, {b"A": b"\0b=c"}])
def test_a_nul_in_the_environment_is_refused(env: dict[str, str]) -> None:
    with nothing_left(), pytest.raises(ValueError, match="embedded null byte"):
        setsid.spawn(["true"], env=env)


def test_a_nul_in_executable_is_refused() -> None:
    for executable in "/bin/true\0", b"\0":
        with nothing_left(), pytest.raises(ValueError, match="executable: embedded null byte"):
            setsid.spawn(["true"], executable=executable)


@pytest.mark.parametrize("name", ["", "A=B", "=", b"", b"=A"])
def test_an_environment_variable_without_a_proper_name_is_refused(name: str) -> None:
    with nothing_left(), pytest.raises(ValueError, match="is no name of an environment variable"):
        setsid.spawn(["true"], env={name: "value"})


# -- auditing


def test_an_audit_hook_learns_what_is_to_be_started() -> None:
    fresh(
        """
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event == "setsid.spawn" else None)
setup = setsid.ChildSetup(cwd="/")
setsid.spawn(["true", "x"], setup, env={"PATH": "/bin:/usr/bin"}).wait()
setsid.spawn(["name"], executable="/bin/true").wait()
assert seen == [
    ("true", ["true", "x"], "/", {"PATH": "/bin:/usr/bin"}),
    ("/bin/true", ["name"], None, None),
]
"""
    )


def test_an_audit_hook_that_raises_prevents_the_start(tmp_path: Path) -> None:
    fresh(
        """
def refuse(event, args):
    if event == "setsid.spawn":
        raise RuntimeError("not here")

setsid.spawn(["touch", sys.argv[1] + "1"]).wait()
sys.addaudithook(refuse)
with nothing_left():
    try:
        setsid.spawn(["touch", sys.argv[1] + "2"])
    except RuntimeError as error:
        assert str(error) == "not here"
    else:
        raise AssertionError("started")
""",
        tmp_path / "file",
    )
    assert [path.name for path in tmp_path.iterdir()] == ["file1"]
