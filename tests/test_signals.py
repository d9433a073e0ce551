"""The child's signals: its mask, what it ignores, no handler of its parent's, and Ctrl-Z at any moment of a spawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest

from support import fresh
from test_process import RAISES

# Signals whose numbers no program may set, 0 to 31 and the realtime ones that libc leaves to programs.
SETTABLE: Final = """
SETTABLE = sorted(set(signal.valid_signals()) - {signal.SIGKILL, signal.SIGSTOP})
PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}

def of_child(**changes):
    # SigBlk, SigIgn and SigCgt of a program that sets none of them.
    reader, writer = os.pipe()
    process = setsid.spawn(["cat"], stdin=reader, **changes)
    os.close(reader)
    sets = tuple(signal_set(field, process.pid) for field in ("SigBlk", "SigIgn", "SigCgt"))
    os.close(writer)
    assert process.wait() == 0
    process.close()
    return sets

def own():
    return tuple(signal_set(field) for field in ("SigBlk", "SigIgn", "SigCgt"))
"""

PARENTS = {
    "python's own": "",
    "all blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, SETTABLE)",
    "some blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD, signal.SIGRTMAX})",
    "some ignored": "for n in (1, 2, 13, 20, 21, 22, signal.SIGRTMIN, signal.SIGRTMAX): signal.signal(n, signal.SIG_IGN)",
    "handlers": "for n in SETTABLE: signal.signal(n, lambda *_: called.append(_))",
    "some handlers": "for n in (15, 17, 10, 18, signal.SIGRTMIN, signal.SIGRTMAX): signal.signal(n, print)",
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
assert all(number == signal.SIGCHLD for number, _ in called)
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

# For a helper: runs `source` in a Python that leads the session of a pty, and gives it three pipe ends: 3 to write to
# us. `during(inner, pipe)` is called meanwhile; the watchdog ends all that has not ended in time.
INNER = """
import select, termios

def on_a_pty(source, during, *args, wrapper=(), seconds=60):
    manager, terminal = os.openpty()
    modes = termios.tcgetattr(terminal)
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSANOW, modes)
    reader, writer = os.pipe()
    prelude = (f"import sys; sys.path[:0] = {sys.path!r}\\nimport errno, os, signal, time, setsid\\n"
               f"from support import *\\nforce({WAY!r})\\n")
    argv = [*wrapper, sys.executable, "-c", prelude + source, *map(str, args)]
    plan = setsid.ChildSetup.on_terminal(terminal, pass_fds={3: writer})
    inner = setsid.spawn(argv, plan)
    os.close(writer)
    os.close(terminal)
    try:
        during(inner, manager, reader)
        inner.wait(seconds)
        output = os.read(manager, 65536) if select.select([manager], [], [], 0)[0] else b""
        assert inner.returncode == 0, output.decode()
    except BaseException:
        for line in (f"/proc/{inner.pid}/stack", f"/proc/{inner.pid}/wchan"):
            try:
                print(open(line).read())
            except OSError:
                pass
        raise
    finally:
        inner.end(0)
        os.close(reader)
        os.close(manager)
"""

STOPPING = {
    # Written to the manager, the character stops the terminal's foreground group as a keyboard's would.
    "ctrl-z": """os.write(manager, b"\\x1a")""",
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
for _ in range(150):
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
    assert os.read(reader, 5) == b"ready"
    deadline = time.monotonic() + 60
    while inner.poll() is None and time.monotonic() < deadline:
        for _ in range(100):
            {stop}
on_a_pty({inner!r}, during, seconds=0)
""",
        way=way,
    )


# Holds the child where the window is widest: at the return of the system call that unblocks its signals, and in the
# handler that notes the stop.
WINDOW = ("-e", "inject=rt_sigprocmask:delay_exit=400000:when=1", "-e", "inject=rt_sigreturn:delay_enter=400000:when=1")
AT_EXEC = ("-e", "inject=execve:delay_enter=400000:when=1")

STRACED = """
def comm(pid):
    with open(f"/proc/{pid}/comm") as file:
        return file.read().strip()

def until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"

def spawner_pid(reader):
    return int(os.read(reader, 16))

def child_before_exec(manager, parent):
    # The child, once it is in the foreground with its signals unblocked; it has not executed its program.
    until(lambda: os.tcgetpgrp(manager) not in (0, os.getpgid(parent)))
    child = os.tcgetpgrp(manager)
    until(lambda: signal.SIGTSTP not in signal_set("SigBlk", child))
    assert comm(child) == comm(parent) != "cat"
    return child

SPAWNER = '''
import select
signal.signal(signal.SIGTSTP, lambda *_: None)
os.write(3, b"%d" % os.getpid())
os.read(4, 1)
process = setsid.spawn(["cat"], stdin=setsid.DEVNULL, process_group=0, foreground_tty=0)
changes = []
while not changes or changes[-1] is not setsid.ProcessState.DONE:
    changes.append(process.wait_change())
    if changes[-1] is setsid.ProcessState.STOPPED:
        with open(f"/proc/{process.pid}/comm") as file:
            assert file.read() == "cat\\\\n"
        process.send_signal(signal.SIGCONT)
assert process.wait() == 0
os.write(3, ",".join(change.name for change in changes).encode())
'''
"""


def straced(need: Callable[..., str], way: str, inject: tuple[str, ...], during: str, expected: str) -> None:
    """A spawner under strace, which holds its child in the window while `during` happens; what wait_change told."""
    wrapper = (need("strace"), "-f", "-qq", "-o", "/dev/null", "-e", "trace=execve,rt_sigprocmask,rt_sigreturn")
    fresh(
        RAISES
        + f"WAY = {way!r}\n"
        + INNER
        + STRACED
        + f"""
import subprocess
def during(inner, manager, reader):
    parent = spawner_pid(reader)
    tracer = subprocess.Popen([*{wrapper!r}, *{inject!r}, "-p", str(parent)], stderr=subprocess.PIPE)
    try:
        until(lambda: status(parent)["TracerPid"] == str(tracer.pid) or tracer.poll() is not None)
        if tracer.poll() is not None:
            print("SKIP", tracer.stderr.read().decode())
            sys.exit(0)
        os.write(go, b"x")
        child = child_before_exec(manager, parent)
        {during}
        assert os.read(reader, 100).decode() == {expected!r}
    finally:
        tracer.terminate()
        tracer.communicate()
hold, go = os.pipe()
on_a_pty(SPAWNER, during)
""",
        way=way,
    )
