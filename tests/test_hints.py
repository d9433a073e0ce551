"""Hints: the sentence that says why, with the facts of the moment; and none where no fact proves a reason."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import setsid
from setsid import _child_hints, _hints, _procfs
from support import fresh
from test_calls import HELPERS, needs_admin

HINT = '''
def hint(call, *args, **kwargs):
    """The hint of a call that must fail. The text of the error ends with it."""
    try:
        call(*args, **kwargs)
    except setsid.SystemCallError as error:
        print(error, file=sys.stderr)  # shown when the test fails
        assert error.hint is None or str(error).endswith(f": {error.hint}")
        return error.hint
    raise AssertionError(f"{call.__name__}{args} succeeded")

own = os.getpid()
'''
# A /proc in which no process is to be seen.
NO_PROC = ("--mount", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")


def run(source: str, *args: object, wrapper: tuple[str, ...] = ()) -> None:
    fresh(HELPERS + HINT + source, *args, wrapper=wrapper)


# -- setsid, getsid, getpgid, setpgid


def test_setsid_by_a_session_leader() -> None:
    run('assert hint(setsid.setsid) == f"process {own} already leads session {own}"')


def test_setsid_by_a_group_leader() -> None:
    run("""
def child():
    pid = os.getpid()
    os.setpgid(0, 0)
    assert hint(setsid.setsid) == f"process {pid} already leads process group {pid}; fork first, or use spawn()"
in_child(child)
""")


def test_setsid_while_a_group_with_the_callers_number_lives() -> None:
    run("""
group = os.getpgrp()
def child():
    pid = os.getpid()
    os.setpgid(0, 0)
    with sleeper() as member:
        os.setpgid(0, group)
        assert session_of(member)["pgid"] == pid != session_of(pid)["pgid"]
        assert hint(setsid.setsid) == (
            f"process group {pid}, which bears the caller's number, still has a member: process {member}")
in_child(child)
""")


@pytest.mark.parametrize("name", ["getsid", "getpgid", "setpgid"])
def test_a_process_that_is_not_there(name: str) -> None:
    run('assert hint(getattr(setsid, sys.argv[1]), MISSING) == f"there is no process {MISSING}"', name)


def test_setpgid_of_a_process_that_is_no_child() -> None:
    run("""
pid = os.getppid()
parent = session_of(pid)["ppid"]
assert hint(setsid.setpgid, pid) == f"process {pid} is no child of process {own}: its parent is {parent}"
""")


def test_setpgid_to_a_negative_group() -> None:
    run('assert hint(setsid.setpgid, 0, -7) == "-7 is no number of a process group"')


def test_setpgid_of_a_child_that_has_executed_a_program() -> None:
    run("""
reader, writer = os.pipe()
with setsid.spawn(["cat"], stdin=reader, process_group=setsid.INHERIT) as process:
    assert hint(setsid.setpgid, process.pid) == (
        f"process {process.pid} has already executed a program; "
        "set its group from the child before exec, or use spawn()")
    os.close(writer)
""")


def test_setpgid_of_a_session_leader() -> None:
    run("""
sentence = "process {0} leads session {0}, and a session leader can't change its process group".format
assert hint(setsid.setpgid) == sentence(own)
with sleeper(os.setsid) as pid:
    assert hint(setsid.setpgid, pid) == sentence(pid)
""")


def test_setpgid_of_a_child_in_another_session() -> None:
    run("""
def child():
    with sleeper() as pid:
        os.setsid()
        assert session_of(pid)["sid"] == own
        assert hint(setsid.setpgid, pid) == f"process {pid} is in session {own}, the caller in session {os.getpid()}"
in_child(child)
""")


def test_setpgid_to_a_group_that_is_not_in_the_session() -> None:
    run("""
with sleeper() as pid, sleeper(os.setsid) as elsewhere:
    assert hint(setsid.setpgid, pid, MISSING) == f"there is no process group {MISSING}"
    assert hint(setsid.setpgid, pid, elsewhere) == (
        f"process group {elsewhere} is in session {elsewhere}, not in session {own}")
""")


# -- terminals

TERMINAL_CALLS = ["tcgetsid", "tcgetpgrp", "tcsetpgrp", "acquire_ctty", "release_ctty"]


@pytest.mark.parametrize("name", TERMINAL_CALLS)
def test_a_file_that_is_closed_or_no_terminal(name: str) -> None:
    run(
        """
call = getattr(setsid, sys.argv[1])
group = [os.getpgrp()] if call is setsid.tcsetpgrp else []
reader, writer = os.pipe()
assert hint(call, reader, *group) == f"file descriptor {reader} is not a terminal"
os.close(reader)
assert hint(call, reader, *group) == f"file descriptor {reader} is not open"
""",
        name,
    )


@pytest.mark.parametrize("name", [name for name in TERMINAL_CALLS if name != "acquire_ctty"])
def test_a_terminal_that_is_not_the_callers(name: str) -> None:
    run(
        """
call = getattr(setsid, sys.argv[1])
group = [os.getpgrp()] if call is setsid.tcsetpgrp else []
manager, terminal = os.openpty()
path = os.ttyname(terminal)
assert hint(call, terminal, *group) == f"the caller has no controlling terminal, so {path} is not it"
own_terminal()
assert hint(call, terminal, *group) == f"{path} is not the caller's controlling terminal"
""",
        name,
    )


def test_tcgetsid_of_a_manager_whose_terminal_no_session_has() -> None:
    # That it is not the caller's terminal would be true, and not the reason.
    run("""
manager, terminal = os.openpty()
assert hint(setsid.tcgetsid, manager) == f"no session has the terminal of file descriptor {manager}"
own_terminal()
assert hint(setsid.tcgetsid, manager) == f"no session has the terminal of file descriptor {manager}"
""")


@needs_admin
def test_a_manager_of_another_pid_namespaces_session_is_not_called_free(need: Callable[..., str]) -> None:
    run(
        """
manager, terminal = own_terminal()
source = f"import setsid\\ntry: setsid.tcsetpgrp({manager}, 1)\\nexcept OSError as error: print(error.hint)"
argv = [sys.argv[1], "--pid", "--fork", sys.executable, "-c", source]
assert setsid.tcgetsid(manager) == own
assert spawn_text(argv, pass_fds=[manager]) == "None\\n"
""",
        need("unshare"),
    )


def test_tcsetpgrp_to_what_is_no_group_of_the_session() -> None:
    run("""
manager, terminal = own_terminal()
with sleeper(os.setsid) as elsewhere:
    assert hint(setsid.tcsetpgrp, terminal, elsewhere) == (
        f"process group {elsewhere} is in session {elsewhere}, not in session {own}")
assert hint(setsid.tcsetpgrp, terminal, MISSING) == f"there is no process group {MISSING}"
assert hint(setsid.tcsetpgrp, terminal, -7) == "-7 is no number of a process group"
# /proc shows kernel threads, and groups outside a pid namespace, as group 0 of session 0.
assert hint(setsid.tcsetpgrp, terminal, 0) in (None, "0 is no number of a process group")
""")


def test_acquire_ctty_by_a_process_that_leads_no_session() -> None:
    run("""
manager, terminal = os.openpty()
def child():
    assert hint(setsid.acquire_ctty, terminal) == (
        f"process {os.getpid()} does not lead its session, {own}; call setsid() first, or use spawn(ctty=...)")
in_child(child)
""")


def test_acquire_ctty_by_a_session_that_has_a_terminal() -> None:
    run("""
own_terminal()
manager, terminal = os.openpty()
assert hint(setsid.acquire_ctty, terminal) == f"session {own} has a controlling terminal already"
""")


def test_acquire_ctty_of_another_sessions_terminal() -> None:
    run("""
manager, terminal = own_terminal()
def child():
    os.setsid()
    sentence = f"{os.ttyname(terminal)} is the controlling terminal of session {own}"
    assert hint(setsid.acquire_ctty, terminal) == sentence
    drop_privileges()
    assert hint(setsid.acquire_ctty, terminal, steal=True) == sentence
in_child(child)
""")


def test_acquire_ctty_of_a_terminal_that_is_open_for_writing_only() -> None:
    run("""
manager, terminal = os.openpty()
fd = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY)
import setsid._child_hints  # which the unprivileged may not be able to read
drop_privileges()
assert hint(setsid.acquire_ctty, fd) == f"file descriptor {fd} is open for writing only"
""")


def test_a_terminal_is_said_to_be_a_sessions_only_if_no_other_can_be_meant(
    monkeypatch: pytest.MonkeyPatch, terminal: tuple[int, int]
) -> None:
    """The terminals of two mounts of devpts bear the same numbers in /proc."""
    device = _procfs.device(terminal[1])
    no_facts: tuple[Any, ...] = (setsid.ChildSetup(), False, SimpleNamespace(process_group=0), b"", b"", {})

    def hint(*processes: tuple[int, int]) -> str | None:
        stats = [(pid, SimpleNamespace(sid=sid, tty=device)) for pid, sid in processes]
        stats.append((99, SimpleNamespace(sid=99, tty=0)))
        monkeypatch.setattr(_procfs, "processes", lambda: iter(stats))
        return _child_hints.child_hint(errno.EPERM, "ioctl(TIOCSCTTY)", terminal[1], *no_facts)

    one = f"{os.ttyname(terminal[1])} is the controlling terminal of session 10"
    assert [hint((10, 10), (11, 10)), hint((10, 10), (20, 20)), hint()] == [one, None, None]


# -- steps of a child


def test_a_child_can_not_join_a_group_that_is_not_in_the_session() -> None:
    run("""
assert hint(setsid.spawn, ["true"], process_group=MISSING) == f"there is no process group {MISSING}"
with sleeper(os.setsid) as elsewhere:
    assert hint(setsid.spawn, ["true"], process_group=elsewhere) == (
        f"process group {elsewhere} is in session {elsewhere}, not in session {own}")
""")


def test_a_child_can_not_have_another_sessions_terminal() -> None:
    run("""
manager, terminal = own_terminal()
path = os.ttyname(terminal)
assert hint(setsid.spawn, ["true"], ctty=terminal) == f"{path} is the controlling terminal of session {own}"
""")


def test_files_that_can_not_serve_a_child() -> None:
    run("""
reader, writer = os.pipe()
assert hint(setsid.spawn, ["true"], ctty=reader) == f"ctty: file descriptor {reader} is not a terminal"
os.close(reader)
assert hint(setsid.spawn, ["true"], stdin=reader) == f"stdin: file descriptor {reader} is not open"
os.close(1)
assert hint(setsid.spawn, ["true"], stderr=setsid.STDOUT) == "stderr: file descriptor 1 is not open"
""")


def test_a_childs_file_beyond_the_limit() -> None:
    run("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
assert hint(setsid.spawn, ["true"], pass_fds={100: 0}) == (
    "the child's file descriptor 100 is not below the limit of open files, 100 (RLIMIT_NOFILE)")
""")


def test_a_child_without_room_for_another_file() -> None:
    run("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
while (fd := os.dup(0)) < 19:
    pass
os.close(19)  # one for the child's pidfd in the parent, and for one of the two copies that the child needs
assert hint(setsid.spawn, ["true"], pass_fds={17: 18, 18: 17}) == (
    "the child may have 20 open files (RLIMIT_NOFILE), and all their numbers are taken or asked for")
""")


def test_a_directory_that_is_a_dangling_link(tmp_path: Path) -> None:
    run(
        """
os.chdir(sys.argv[1])
os.symlink("missing", "link")
os.symlink("link", "chain")
assert hint(setsid.spawn, ["true"], cwd="link") == "it is a symbolic link to 'missing', which does not exist"
assert hint(setsid.spawn, ["true"], cwd="missing") is None
assert hint(setsid.spawn, ["true"], cwd="chain") != "it is a symbolic link to 'link', which does not exist"
""",
        tmp_path,
    )


# -- exec


def test_a_program_that_is_in_no_directory_of_path(tmp_path: Path) -> None:
    run(
        """
env = {"PATH": f"{sys.argv[1]}:/nonexistent"}
assert hint(setsid.spawn, ["tool"], env=env) == "there is none in PATH"
assert hint(setsid.spawn, ["/nonexistent/tool"], env=env) is None
""",
        tmp_path,
    )


def test_a_script_without_its_interpreter(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#! /nonexistent/sh -e\n")
    tool.chmod(0o755)
    run(
        """
tool, directory = sys.argv[1:]
sentence = f"{tool} exists, but its interpreter /nonexistent/sh does not"
assert hint(setsid.spawn, [tool]) == sentence
assert hint(setsid.spawn, ["tool"], env={"PATH": f"/nonexistent:{directory}"}) == sentence
assert hint(setsid.spawn, ["./tool"], cwd=directory) == f"{directory}/./tool exists, but" + sentence.split(" but")[1]
""",
        tool,
        tmp_path,
    )


def test_a_script_whose_first_line_ends_in_a_carriage_return(tmp_path: Path) -> None:
    """To the kernel it is a part of the interpreter's name, and nobody sees it."""
    tool = tmp_path / "tool"
    tool.write_bytes(b"#!/bin/sh\r\nexit 0\r\n")
    tool.chmod(0o755)
    sentence = f"{tool} exists, but its interpreter '/bin/sh\\r' does not"
    run("assert hint(setsid.spawn, sys.argv[1:2]) == sys.argv[2]", tool, sentence)


def test_a_program_that_may_not_be_executed(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    run(
        """
os.chdir(sys.argv[1])
directory = os.getcwd()
assert hint(setsid.spawn, ["./tool"]) == "./tool is not executable"
assert hint(setsid.spawn, ["tool"], env={"PATH": f"/nonexistent:{directory}"}) == f"{directory}/tool is not executable"
assert hint(setsid.spawn, [directory]) == f"{directory} is a directory"
os.chmod("tool", 0o755)
os.mkdir("closed", 0o000)
drop_privileges()
assert hint(setsid.spawn, [f"{directory}/closed/tool"]) is None
""",
        tmp_path,
    )


def test_a_program_that_has_no_known_format(tmp_path: Path) -> None:
    run(
        """
os.chdir(sys.argv[1])
for name, content in {"empty": b"", "text": b"echo\\n", "script": b"#!\\n", "broken": b"\\x7fELF"}.items():
    with open(name, "wb") as file:
        file.write(content)
    os.chmod(name, 0o755)
assert hint(setsid.spawn, ["./empty"]) == "./empty is empty"
assert hint(setsid.spawn, ["./text"]) == "./text is no binary and has no #! line; name its interpreter, as sh"
assert hint(setsid.spawn, ["./script"]) is None
assert hint(setsid.spawn, ["./broken"]) is None
""",
        tmp_path,
    )


def test_arguments_that_are_too_long() -> None:
    run("""
long = "x" * (1 << 20)
assert hint(setsid.spawn, ["true", long], env={"PATH": "/bin", "A": "bc"}) == (
    f"arguments take {5 + len(long) + 1} bytes, the environment {10 + 5}, the longest string {len(long)}")
""")


def test_facts_are_looked_up_in_the_childs_directory_not_the_parents(tmp_path: Path) -> None:
    run(
        """
os.chdir(sys.argv[1])
os.makedirs("there")
os.makedirs("tool")  # a directory here, a file there
with open("there/tool", "w") as file:
    file.write("#!bin/sh\\n")
directory = os.open("there", os.O_RDONLY)
assert hint(setsid.spawn, ["./tool"], cwd=directory) != "./tool is a directory"
os.chmod("there/tool", 0o755)
os.makedirs("bin")
os.symlink("/bin/sh", "bin/sh")  # an interpreter here, none there
assert "interpreter bin/sh does not" in hint(setsid.spawn, ["./tool"], cwd="there")
""",
        tmp_path,
    )


# -- a hint is a courtesy


@pytest.mark.parametrize("trouble", [OSError(2, "no /proc"), RuntimeError(), RecursionError(), MemoryError()], ids=repr)
def test_a_lookup_that_raises_leaves_the_error_whole(monkeypatch: pytest.MonkeyPatch, trouble: Exception) -> None:
    def fail(*_: object) -> None:
        raise trouble

    monkeypatch.setitem(_hints._CALL_HINTS, "getsid", fail)
    monkeypatch.setitem(_child_hints._CHILD_HINTS, "execve", fail)
    with pytest.raises(ProcessLookupError, match=r"^\[Errno 3\] No such process \(getsid\)$") as missing:
        setsid.getsid(2**31 - 1)
    with pytest.raises(FileNotFoundError, match=r"'/nonexistent' \(execve, stage exec\)$") as program:
        setsid.spawn(["/nonexistent"])
    for caught in missing, program:
        assert isinstance(caught.value, setsid.SystemCallError)
        assert (caught.value.hint, caught.value.__context__) == (None, None)


def test_without_the_hints_the_errors_are_the_same() -> None:
    run("""
sys.modules["setsid._hints"] = sys.modules["setsid._child_hints"] = None  # can't be imported
assert failed(setsid.setsid) == ("EPERM", "setsid")
assert hint(setsid.setsid) is None
assert hint(setsid.spawn, ["/nonexistent"]) is None
""")


def test_without_a_file_descriptor_left_the_error_is_the_right_one() -> None:
    run("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
while os.dup(0) < 19:
    pass
try:
    setsid.spawn(["true"])
except setsid.SystemCallError as error:
    facts = error.errno, error.call, error.stage
for fd in range(3, 20):
    os.close(fd)
assert facts[0] == errno.EMFILE and facts[1].startswith(("clone", "pipe")) and facts[2] is None
""")


@needs_admin
def test_without_proc_the_errors_are_right_and_nothing_untrue_is_said(need: Callable[..., str]) -> None:
    run(
        """
assert os.listdir("/proc") == []
pid = os.getppid()
with sleeper(os.setsid) as elsewhere:  # which lives, though /proc does not show it
    assert failed(setsid.setpgid, pid) == ("ESRCH", "setpgid")
    assert hint(setsid.setpgid, pid) is None
    with sleeper() as child:
        assert failed(setsid.setpgid, child, elsewhere) == ("EPERM", "setpgid")
        assert hint(setsid.setpgid, child, elsewhere) is None
    assert hint(setsid.spawn, ["true"], process_group=elsewhere) is None
manager, terminal = own_terminal()
def leader():
    os.setsid()
    assert failed(setsid.acquire_ctty, terminal) == ("EPERM", "ioctl(TIOCSCTTY)")
    assert hint(setsid.acquire_ctty, terminal) is None
in_child(leader)
""",
        wrapper=(need("unshare"), *NO_PROC),
    )
