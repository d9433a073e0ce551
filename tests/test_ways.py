"""Which way to make a child is chosen, and that the probe which chooses leaves no trace."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support import EMULATED, fresh

SHOW_WAY = """
with nothing_left():
    print(*[name for name, number in WAYS.items() if number == lib.sid_way()])
    with setsid.spawn(["sh", "-c", "exit 7"]) as process:
        assert process.wait() == 7
    try:
        setsid.spawn(["/nonexistent"])
        raise AssertionError("a missing program was started")
    except FileNotFoundError as error:
        assert error.call == "execve"
"""


def strace(program: str, *options: str) -> tuple[str, ...]:
    """A wrapper for `fresh`: traces the helper, not its children."""
    return (program, "-o", "/dev/null", "-e", "trace=clone,clone3,pidfd_open,exit_group", *options)


def fails(call: str, error: str, when: str = "1+") -> list[str]:
    return ["-e", f"inject={call}:error={error}:when={when}"]


def test_the_fastest_way_is_chosen_here() -> None:
    # clone3 is hidden by some container sandboxes; emulators fork instead
    assert fresh(SHOW_WAY).stdout.strip() in (("fork",) if EMULATED else ("clone3", "clone"))


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
def test_without_clone3_clone_is_chosen(error: str, need: Callable[..., str]) -> None:
    wrapper = strace(need("strace"), *fails("clone3", error))
    assert fresh(SHOW_WAY, wrapper=wrapper).stdout == "clone\n"


@pytest.mark.parametrize("error", ["EPERM", "EINVAL"])
def test_without_shared_memory_fork_is_chosen(error: str, need: Callable[..., str]) -> None:
    wrapper = strace(need("strace"), *fails("clone3", "ENOSYS"), *fails("clone", error, when="1"))
    assert fresh(SHOW_WAY, wrapper=wrapper).stdout == "fork\n"


@pytest.mark.parametrize("function", ["spawn", "spawn_detached"])
def test_under_valgrind_a_failure_is_raised_since_fork_is_chosen(function: str, need: Callable[..., str]) -> None:
    """There vfork is fork: an error written into memory would be lost, and the start taken for a success."""
    fresh(
        """
start = getattr(setsid, sys.argv[1])
with nothing_left():
    for error, stage, argv, cwd in [
        (errno.ENOENT, setsid.Stage.EXEC, ["/nonexistent"], None),
        (errno.EACCES, setsid.Stage.EXEC, ["/"], None),
        (errno.ENOENT, setsid.Stage.CWD, ["true"], "/nonexistent"),
    ]:
        try:
            start(argv, cwd=cwd)
            raise AssertionError("a success is told")
        except setsid.SystemCallError as raised:
            assert (raised.errno, raised.stage) == (error, stage), repr(raised)
assert lib.sid_way() == lib.SID_WAY_FORK
""",
        function,
        wrapper=(need("valgrind"), "-q", "--tool=none"),
    )


@pytest.mark.parametrize("name", ["EAGAIN", "ENOMEM"])
def test_a_passing_error_at_the_probe_is_raised_and_not_remembered(name: str, need: Callable[..., str]) -> None:
    fresh(
        """
with nothing_left():
    try:
        setsid.spawn(["true"])
        raise AssertionError("the child was made")
    except setsid.SystemCallError as error:
        assert (errno.errorcode[error.errno], error.call, error.stage) == (sys.argv[1], "clone3", None), repr(error)
    with setsid.spawn(["true"]) as process:
        assert process.wait() == 0
    assert lib.sid_way() == lib.SID_WAY_CLONE3
""",
        name,
        wrapper=strace(need("strace"), *fails("clone3", name, when="1")),
    )


@pytest.mark.parametrize("name", ["ENOSYS", "EPERM"])
def test_clone_takes_over_when_clone3_is_refused_later(name: str, need: Callable[..., str]) -> None:
    """As by a system call filter that the program sets up for itself after its first children."""
    fresh(
        """
def succeed():
    with setsid.spawn(["sh", "-c", "exit 7"]) as process:
        assert process.wait() == 7

with nothing_left():
    succeed()
    assert lib.sid_way() == lib.SID_WAY_CLONE3
    try:
        setsid.spawn(["/nonexistent"])  # the one that is refused: its own error is told
        raise AssertionError("a missing program was started")
    except FileNotFoundError as error:
        assert (error.call, error.stage) == ("execve", setsid.Stage.EXEC)
    assert lib.sid_way() == lib.SID_WAY_CLONE
    succeed()
    succeed()
""",
        wrapper=strace(need("strace"), *fails("clone3", name, when="3+")),  # after the probe's and the first child's
    )


@pytest.mark.parametrize("name", ["ENOSYS", "EPERM"])
def test_the_first_child_that_clone3_is_refused_to_is_made_by_clone(name: str, need: Callable[..., str]) -> None:
    fresh(
        """
with nothing_left():
    for _ in range(3):
        with setsid.spawn(["sh", "-c", "exit 7"]) as process:
            assert process.wait() == 7
    assert lib.sid_way() == lib.SID_WAY_CLONE
""",
        wrapper=strace(need("strace"), *fails("clone3", name, when="2+")),
    )


@pytest.mark.parametrize("thread", ["the main thread", "another thread"])
def test_the_first_child_in_a_new_pid_namespace_is_its_init_and_others_follow(thread: str) -> None:
    """A probe's child would be the init instead, and with its end no more could be made. Each thread has its own."""
    if os.geteuid() != 0:
        pytest.skip("a pid namespace needs root")
    result = fresh(
        """
import ctypes, threading
CLONE_NEWPID = 0x20000000
libc = ctypes.CDLL(None, use_errno=True)
over = []

def act():
    if libc.unshare(CLONE_NEWPID) < 0:
        print("SKIP:", os.strerror(ctypes.get_errno()))
        over.append("skipped")
        return
    with nothing_left():
        init = setsid.spawn(["cat"], stdin=(ends := os.pipe())[0])
        assert status(init.pid)["NSpid"].split()[-1] == "1"
        for number in 2, 3, 4:
            assert spawn_text(["sh", "-c", "echo $$"]) == f"{number}\\n"
        try:
            setsid.spawn(["/nonexistent"])
            raise AssertionError("a missing program was started")
        except FileNotFoundError as error:
            assert error.call == "execve"
        for fd in ends:
            os.close(fd)
        assert init.wait() == 0
        init.close()
    over.append("done")

if sys.argv[1] == "the main thread":
    act()
else:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    assert lib.sid_way() in (lib.SID_WAY_CLONE3, lib.SID_WAY_CLONE)  # what was done without a probe is not remembered
assert over
""",
        thread,
    )
    if result.stdout.startswith("SKIP"):
        pytest.skip(f"no pid namespace here: {result.stdout}")


def test_the_probe_is_made_once(need: Callable[..., str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    source = "assert len({lib.sid_way() for _ in range(5)}) == 1\n"
    fresh(source, wrapper=(need("strace"), "-o", str(trace), "-e", "trace=clone,clone3"))
    made = re.findall(r"^clone3?\(.* = \d+$", trace.read_text(), re.MULTILINE)
    assert len(made) == 1


def test_the_probes_child_raises_no_sigchld_and_is_nobody_elses_to_reap(need: Callable[..., str]) -> None:
    """The other thread waits for any child, from before the probe's child exists until after it has ended."""
    fresh(
        """
import threading
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
go, stop = threading.Event(), threading.Event()
def reap():
    go.set()
    while not stop.is_set():
        try:
            seen.append(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            pass
thread = threading.Thread(target=reap)
thread.start()
go.wait()
with nothing_left():
    assert lib.sid_way() in WAYS.values()
stop.set()
thread.join()
assert seen == []
""",
        wrapper=strace(need("strace"), "-f", "-e", "inject=exit_group:delay_enter=200000:when=1"),
    )


def test_no_signal_reaches_the_probes_child(need: Callable[..., str], tmp_path: Path) -> None:
    """It shares the parent's memory: a handler would run twice; and one that a signal ends looks like a copy."""
    trace = tmp_path / "trace"
    calls = "trace=clone,clone3,rt_sigprocmask"
    fresh("assert lib.sid_way() > 0\n", wrapper=(need("strace"), "-o", str(trace), "-e", calls))
    before, probe, _ = re.split(r"^(clone3?\(.*\n)", trace.read_text(), maxsplit=1, flags=re.MULTILINE)
    assert "CLONE_VM" in probe
    assert re.findall(r"SIG_SETMASK, (~\[\]|~\[KILL STOP\])", "".join(before.splitlines()[-1:])) != []


@pytest.mark.parametrize("missing", ["CLONE_PIDFD", "CLONE_PIDFD and pidfd_open"])
def test_a_kernel_without_pidfds_will_do(missing: str, need: Callable[..., str]) -> None:
    """As an emulator that answers EINVAL to the flag, and one that has no pidfds at all."""
    options = fails("clone3", "EINVAL", when="2") + (fails("pidfd_open", "ENOSYS") if "open" in missing else [])
    fresh(
        """
missing = sys.argv[1]
with nothing_left():
    process = setsid.spawn(["sh", "-c", "kill -STOP $$; exit 7"])
    if "open" in missing:
        try:
            process.fileno()
            raise AssertionError("there is a pidfd")
        except NotImplementedError:
            pass
    else:
        assert process.fileno() >= 0
    assert process.wait_change() is setsid.ProcessState.STOPPED
    process.send_signal(signal.SIGCONT)
    assert process.wait(timeout=60) == 7
    process.close()
""",
        missing,
        wrapper=strace(need("strace"), *options),
    )


@pytest.mark.parametrize("pidfds", ["pidfds", "no pidfds"])
def test_an_emulators_zero_is_no_pidfd(pidfds: str, need: Callable[..., str]) -> None:
    """As qemu-user says when pidfd_open fails, for want of files or of a newer kernel: 0 is the program's stdin."""
    options = ["-e", "inject=clone:poke_exit=@arg3=00000000"]
    fresh(
        """
stdin = os.fstat(0)
with setsid.spawn(["sh", "-c", "exit 7"]) as process:
    assert process._child.pidfd != 0
    assert process.wait() == 7
assert os.path.samestat(os.fstat(0), stdin)
""",
        way="fork",
        wrapper=strace(need("strace"), *options, *(fails("pidfd_open", "ENOSYS") if pidfds == "no pidfds" else [])),
    )


def test_the_private_switch_forces_a_way_and_lets_go_of_it(way: str) -> None:
    fresh(
        """
probed = lib.sid_way()
force(sys.argv[1])
assert lib.sid_way() == WAYS[sys.argv[1]]
force(None)
assert lib.sid_way() == probed
assert lib.sid_force(5, False) == lib.sid_force(-1, False) == -errno.EINVAL
assert lib.sid_way() == probed
""",
        way,
    )


def test_each_way_makes_its_child_by_its_own_call(way: str, need: Callable[..., str], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    wrapper = (need("strace"), "-o", str(trace), "-e", "trace=clone,clone3")
    fresh('assert setsid.spawn(["true"]).wait() == 0\n', way=way, wrapper=wrapper)
    calls = [
        (call, {flag for flag in ("CLONE_VM", "CLONE_VFORK") if re.search(rf"\b{flag}\b", arguments)})
        for call, arguments in re.findall(r"^(clone3?)\((.*) = \d+$", trace.read_text(), re.MULTILINE)
    ]
    expected = {
        "clone3": ("clone3", {"CLONE_VM", "CLONE_VFORK"}),
        "clone": ("clone", {"CLONE_VM", "CLONE_VFORK"}),
        "page": ("clone", set()),
        "fork": ("clone", set()),
    }
    assert calls == [expected[way]]


def test_the_parent_stays_dumpable(way: str, tmp_path: Path) -> None:
    """The kernel marks the memory that such a program is executed in: that must not be the parent's."""
    program = Path(shutil.copy(shutil.which("cat") or "/bin/cat", tmp_path / "program"))
    if os.geteuid() == 0:
        if os.statvfs(tmp_path).f_flag & os.ST_NOSUID:
            pytest.skip(f"{tmp_path} is mounted nosuid")
        os.chown(program, 1, 1)
        program.chmod(0o4711)  # another user's rights
    else:
        program.chmod(0o111)  # no right to read it
    fresh(
        """
import ctypes
PR_GET_DUMPABLE = 3
reader, writer = os.pipe()
process = setsid.spawn([sys.argv[1]], stdin=reader)
assert os.stat(f"/proc/{process.pid}/environ").st_uid == 0  # the child is undumpable: root owns its files
assert ctypes.CDLL(None).prctl(PR_GET_DUMPABLE) == 1
os.close(writer)
assert process.wait() == 0
""",
        program,
        way=way,
    )
