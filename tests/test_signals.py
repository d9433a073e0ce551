"""The child's signals: its mask, what it ignores, no handler of its parent's, and Ctrl-Z at any moment of a spawn."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import strace
from support import fresh

# For a helper: every signal that a program may set, and the sets of a child that sets none itself.
SETTABLE = """
SETTABLE = sorted(set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP})
PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}

def of_child(**changes):
    # SigBlk, SigIgn and SigCgt of a program that sets none of them.
    (child_in, to_child), (from_child, child_out) = os.pipe(), os.pipe()
    process = setsid.spawn(["cat"], stdin=child_in, stdout=child_out, **changes)
    os.write(to_child, b"x")
    assert os.read(from_child, 1) == b"x"  # execve resets handlers after it has woken a vfork's parent
    sets = tuple(signal_set(field, process.pid) for field in ("SigBlk", "SigIgn", "SigCgt"))
    for fd in child_in, to_child, from_child, child_out:
        os.close(fd)
    try:
        assert process.wait() == 0
    except ChildProcessError:  # SIGCHLD is ignored
        process.reaped(0)
    process.close()
    return sets

def own():
    return tuple(signal_set(field) for field in ("SigBlk", "SigIgn", "SigCgt"))
"""

PARENTS = {
    "python's own": "",
    "all blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, SETTABLE)",
    "some blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGRTMAX})",
    "some ignored": "for n in (1, 2, 13, 20, 22, signal.SIGRTMIN, signal.SIGRTMAX): signal.signal(n, signal.SIG_IGN)",
    "handlers": "for n in SETTABLE: signal.signal(n, lambda *_: called.append(_))",
    "some handlers": "for n in (10, 15, 17, 18, signal.SIGRTMIN): signal.signal(n, lambda *_: called.append(_))",
    "sigchld ignored": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "sigpipe default": "signal.signal(signal.SIGPIPE, signal.SIG_DFL)",
}
parents = pytest.mark.parametrize("parent", PARENTS.values(), ids=PARENTS)


@parents
def test_the_programs_signals_are_what_the_plan_says(way: str, parent: str) -> None:
    fresh(
        SETTABLE
        + f"""
called = []
{parent}
before = own()
handlers = [signal.getsignal(number) for number in SETTABLE]
blocked, ignored, _ = before
for changes, expected in [
    ({{}}, (set(), ignored - PYTHON_IGNORES)),
    ({{"signal_mask": setsid.INHERIT}}, (blocked, ignored - PYTHON_IGNORES)),
    ({{"signal_mask": {{signal.SIGUSR2, signal.SIGTSTP, signal.SIGRTMIN + 1}}}},
     ({{signal.SIGUSR2, signal.SIGTSTP, signal.SIGRTMIN + 1}}, ignored - PYTHON_IGNORES)),
    ({{"signal_mask": SETTABLE}}, (set(SETTABLE), ignored - PYTHON_IGNORES)),
    ({{"default_signals": ()}}, (set(), ignored)),
    ({{"default_signals": SETTABLE}}, (set(), set())),
    ({{"default_signals": {{signal.SIGHUP}}}}, (set(), ignored - {{signal.SIGHUP}})),
    ({{"ignore_signals": {{signal.SIGHUP}}}}, (set(), ignored - PYTHON_IGNORES | {{signal.SIGHUP}})),
    ({{"ignore_signals": {{signal.SIGPIPE, signal.SIGTERM, signal.SIGRTMAX}}}},
     (set(), ignored - PYTHON_IGNORES | {{signal.SIGPIPE, signal.SIGTERM, signal.SIGRTMAX}})),
    ({{"ignore_signals": SETTABLE, "signal_mask": SETTABLE}}, (set(SETTABLE), set(SETTABLE))),
]:
    for group in {{}}, {{"process_group": 0}}:
        assert of_child(**changes, **group) == (*expected, set()), changes
assert own() == before
assert [signal.getsignal(number) for number in SETTABLE] == handlers
assert {{number for number, _ in called}} <= {{signal.SIGCHLD}}
""",
        way=way,
    )


def test_a_parent_that_ignores_or_blocks_sigchld_gets_true_answers(way: str) -> None:
    fresh(
        """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
for handler in signal.SIG_DFL, signal.SIG_IGN, lambda *_: None:
    signal.signal(signal.SIGCHLD, handler)
    for command, expected in ("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", -9):
        with setsid.spawn(["sh", "-c", command]) as process:
            try:
                assert process.wait() == expected
            except ChildProcessError:  # a kernel that does not tell; never an invented status
                assert (handler, process.returncode) == (signal.SIG_IGN, None)
                process.reaped(0)
    try:
        setsid.spawn(["/nowhere/at/all"])
    except FileNotFoundError:
        pass
    assert children() == []
""",
        way=way,
    )


@pytest.mark.parametrize("plan", ["", "signal_mask=setsid.INHERIT", "default_signals=()"])
def test_no_handler_of_the_parent_ever_runs_in_the_child(way: str, plan: str) -> None:
    # The child joins a group that is signalled all the time. A handler that ran in the child would be seen: it writes
    # the signal's number to the wakeup pipe, which both share until exec.
    fresh(
        f"""
wakeup, writer = os.pipe()
os.set_blocking(wakeup, False)
os.set_blocking(writer, False)
anchor = setsid.spawn(["sleep", "60"], process_group=0, ignore_signals={{signal.SIGUSR1, signal.SIGRTMAX}})
sender = os.fork()
if sender == 0:
    parent = os.getppid()
    while os.getppid() == parent:
        os.killpg(anchor.pid, signal.SIGUSR1)
        os.killpg(anchor.pid, signal.SIGRTMAX)
    os._exit(0)
called = []
for number in signal.SIGUSR1, signal.SIGRTMAX:
    signal.signal(number, lambda *_: called.append(1))
signal.set_wakeup_fd(writer)
ends = []
for _ in range(100):
    with setsid.spawn(["true"], process_group=anchor.pid, {plan}) as process:
        ends.append(process.wait())
os.kill(sender, 9)
os.waitpid(sender, 0)
anchor.kill()
anchor.wait()
assert set(ends) <= {{0, -signal.SIGUSR1, -signal.SIGRTMAX}}
assert set(ends) != {{0}}, "the signals came too late every time"
assert called == []
try:
    raise AssertionError(os.read(wakeup, 100))
except BlockingIOError:
    pass
""",
        way=way,
    )


# -- Ctrl-Z

# For a helper: runs `source` in a Python that leads the session of a pty and may write to fd 3, a pipe. Meanwhile
# `during(inner, manager, reader)` is called, with that pipe's other end. What has not ended in time then fails.
INNER = """
import select, termios

def hear(reader):
    assert select.select([reader], [], [], 60)[0], "nothing to be heard: the spawner is asleep in the kernel"
    return os.read(reader, 100).decode()

def on_a_pty(source, during, *args, seconds=60):
    manager, terminal = os.openpty()
    modes = termios.tcgetattr(terminal)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, modes)
    reader, writer = os.pipe()
    prelude = (f"import sys; sys.path[:0] = {sys.path!r}\\nimport errno, os, signal, time, setsid\\n"
               f"from helper import *\\nforce({WAY!r})\\n")
    argv = [sys.executable, "-c", prelude + source, *map(str, args)]
    plan = setsid.ChildSetup.on_terminal(terminal, pass_fds={3: writer})
    inner = setsid.spawn(argv, plan)
    os.close(writer)
    try:
        during(inner, manager, reader)
        assert inner.wait(seconds) == 0  # a spawner asleep in the kernel: TimeoutError
    finally:
        inner.end(0)
        if select.select([manager], [], [], 0)[0]:
            print(os.read(manager, 65536).decode())
        for fd in reader, manager, terminal:
            os.close(fd)
"""

STOPPING = {
    # Written to the manager, the character stops the terminal's foreground group as a keyboard's would.
    "ctrl-z": """
            try:
                os.write(manager, b"\\x1a")
            except BlockingIOError:
                pass""",
    "kill": """
            group = os.tcgetpgrp(manager)
            if group > 1:
                try:
                    os.killpg(group, signal.SIGTSTP)
                except ProcessLookupError:
                    pass""",
}


@pytest.mark.parametrize("stop", STOPPING.values(), ids=STOPPING)
@pytest.mark.parametrize("disposition", ["lambda *_: None", "signal.SIG_IGN"], ids=["handled", "ignored"])
def test_ctrl_z_at_any_moment_of_a_spawn_stops_the_child_and_never_the_parent(
    way: str, stop: str, disposition: str
) -> None:
    inner = f"""
signal.signal(signal.SIGTSTP, {disposition})
own = os.getpgrp()
seen = {{change: 0 for change in setsid.ProcessState}}
os.write(3, b"ready")
for rounds in range(5000):  # on a busy machine the other side may sleep through the first ones
    if rounds >= 150 and seen[setsid.ProcessState.STOPPED]:
        break
    process = setsid.spawn(["true"], process_group=0, foreground_tty=0, default_signals={{signal.SIGTSTP}})
    while (change := process.wait_change()) is not setsid.ProcessState.DONE:
        seen[change] += 1
        if change is setsid.ProcessState.STOPPED:
            setsid.tcsetpgrp(0, own)
            process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    process.close()
assert seen[setsid.ProcessState.STOPPED] > 0, "no child was ever stopped"
assert children() == []
"""
    fresh(
        f"WAY = {way!r}\n"
        + INNER
        + f"""
def during(inner, manager, reader):
    assert hear(reader) == "ready"
    os.set_blocking(manager, False)
    deadline = time.monotonic() + 60
    while inner.poll() is None and time.monotonic() < deadline:
        for _ in range(100):
            {stop}
on_a_pty({inner!r}, during, seconds=0)
""",
        way=way,
    )


# Holds the child, for 3 s each, where the window is widest: as it returns from unblocking its signals, and in the
# handler that notes the stop.
_SLOW = "delay_exit=3000000:when=1", "delay_enter=3000000:when=1"
UNBLOCKED = ("-e", f"inject=rt_sigprocmask:{_SLOW[0]}", "-e", f"inject=rt_sigreturn:{_SLOW[1]}")
AT_EXEC = ("-e", f"inject=execve:{_SLOW[1]}")

STRACED = """
import platform

EXECVE = {"x86_64": 59}.get(platform.machine(), 221)

def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"

def program(pid):
    return os.readlink(f"/proc/{pid}/exe")

def in_execve(pid):
    with open(f"/proc/{pid}/syscall") as file:
        return file.read().split()[0] == str(EXECVE)

def unblocked_child(manager, inner):
    # The child: in the foreground, its signals unblocked, its program not yet executed.
    until(lambda: os.tcgetpgrp(manager) not in (0, inner.pid))
    child = os.tcgetpgrp(manager)
    until(lambda: signal.SIGTSTP not in signal_set("SigBlk", child))
    return child

SPAWNER = '''
from strace import *
signal.signal(signal.SIGTSTP, lambda *_: None)
expected, *inject = sys.argv[1:]
until_end, writer = os.pipe()
with tracing("-e", "trace=execve,rt_sigprocmask,rt_sigreturn", *inject):
    process = setsid.spawn(["cat"], stdin=until_end, process_group=0, foreground_tty=0)
    changes = []
    while "DONE" not in changes:
        if [*changes, "DONE"] == expected.split(","):
            os.close(writer)  # not sooner: its end would take the place of a continuation that nobody has seen
        changes.append(process.wait_change(30).name)
        if changes[-1] == "STOPPED":
            assert status(process.pid)["Name"] == "cat"
            process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
os.write(3, ",".join(changes).encode())
'''
"""


def straced(way: str, inject: tuple[str, ...], during: str, changes: str) -> None:
    """Spawn into the foreground under strace, which holds the child in the window; what wait_change tells of it."""
    fresh(
        f"WAY = {way!r}\n"
        + INNER
        + STRACED
        + f"""
def during(inner, manager, reader):
    child = unblocked_child(manager, inner)
    {during}
    assert hear(reader) == {changes!r}
on_a_pty(SPAWNER, during, {changes!r}, *{inject!r})
""",
        way=way,
    )


def test_a_stop_before_exec_is_put_off_until_after_it(way: str, need: Callable[..., str]) -> None:
    strace.require(need)
    during = """
    assert program(child) == program(inner.pid)
    os.killpg(child, signal.SIGTSTP)"""
    straced(way, UNBLOCKED, during, "STOPPED,RUNNING,DONE")


def test_a_continuation_before_exec_undoes_a_stop_before_exec(way: str, need: Callable[..., str]) -> None:
    strace.require(need)
    during = """
    os.killpg(child, signal.SIGTSTP)
    until(lambda: signal.SIGTSTP in signal_set("SigBlk", child))  # in the handler
    assert program(child) == program(inner.pid)
    os.killpg(child, signal.SIGCONT)"""
    straced(way, UNBLOCKED, during, "DONE")


def test_a_stop_that_meets_execve_stops_the_program(way: str, need: Callable[..., str]) -> None:
    strace.require(need)
    during = """
    until(lambda: in_execve(child))
    assert program(child) == program(inner.pid)
    os.killpg(child, signal.SIGTSTP)"""
    straced(way, AT_EXEC, during, "STOPPED,RUNNING,DONE")


def test_a_stop_and_a_continuation_that_meet_execve_leave_the_program_running(
    way: str, need: Callable[..., str]
) -> None:
    strace.require(need)
    during = """
    until(lambda: in_execve(child))
    os.killpg(child, signal.SIGTSTP)
    os.killpg(child, signal.SIGCONT)"""
    straced(way, AT_EXEC, during, "DONE")
