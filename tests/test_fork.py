"""fork: what a plan does in a child that goes on in Python, read in that child."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import RAISES, hidden
from support import ON_PYPY, fresh

OS_FORK_IS_AUDITED = pytest.mark.skipif(ON_PYPY, reason="PyPy's os.fork raises no auditing event")
# For a helper whose first argument is a directory: what `act` returns in the child of a fork.
CHILD = """
from facts import changed, everything, forked

def in_child(act, setup=None, **changes):
    return forked(act, sys.argv[1] + "/told", lambda: setsid.fork(setup, **changes))
"""


@hidden
def test_the_parent_gets_a_process_and_the_child_none(hide_pidfd: bool) -> None:
    fresh(
        """
with nothing_left():
    reader, writer = os.pipe()
    process = setsid.fork()
    if process is None:
        os.write(writer, b"%d" % os.getpid())
        os._exit(7)
    assert type(process) is setsid.Process and process.args == ()
    assert process.wait() == 7 and int(os.read(reader, 16)) == process.pid
    process.close()
    os.close(reader)
    os.close(writer)
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_plan_that_says_nothing_makes_a_session_and_changes_nothing_else(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
signal.signal(signal.SIGTERM, print)
signal.signal(signal.SIGTSTP, print)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_SETMASK, {signal.SIGUSR1, signal.SIGCHLD})
os.dup2(0, 50, inheritable=False)
os.dup2(0, 51)
with nothing_left():
    before = everything()
    pid, found = in_child(lambda: (os.getpid(), everything()))
    assert changed(before, found) == {"pgid": (os.getpid(), pid), "sid": (os.getpid(), pid)}
    assert changed(before, everything()) == {}
""",
        tmp_path,
    )


@pytest.mark.parametrize("group", ["INHERIT", "0", "other"])
def test_the_child_is_in_the_group_that_was_said_and_nothing_else_changes(group: str, tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
release, hold = os.pipe()
leader = setsid.spawn(["cat"], stdin=release, process_group=0)
said = {"INHERIT": setsid.INHERIT, "0": 0, "other": leader.pid}[sys.argv[2]]
before = everything()
pid, found = in_child(lambda: (os.getpid(), everything()), process_group=said)
expected = {"INHERIT": os.getpgrp(), "0": pid, "other": leader.pid}[sys.argv[2]]
assert found["pgid"] == expected
assert changed(before, found).keys() - {"pgid"} == set()
os.close(hold)
leader.wait()
""",
        tmp_path,
        group,
    )


def test_a_terminal_becomes_the_new_sessions_and_its_streams(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
manager, terminal = os.openpty()
name = os.ttyname(terminal)
setup = setsid.ChildSetup.on_terminal(terminal, foreground_tty=terminal)
look = lambda: (os.getpid(), os.tcgetpgrp(0), setsid.tcgetsid(2), [os.ttyname(fd) for fd in (0, 1, 2)])
pid, *found = in_child(look, setup)
assert found == [pid, pid, [name] * 3]
""",
        tmp_path,
    )


def test_the_umask_is_the_childs_alone(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
os.umask(0o22)
assert in_child(lambda: status()["Umask"], umask=0o137) == "0137"
assert status()["Umask"] == "0022"
""",
        tmp_path,
    )


def test_the_mask_is_the_parents_or_what_was_said_though_hooks_ran_with_all_blocked(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
meanwhile = []
os.register_at_fork(before=lambda: meanwhile.append(signal_set("SigBlk")))
USR1, USR2, TERM = map(int, (signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM))
signal.pthread_sigmask(signal.SIG_SETMASK, {USR1})
blocked = lambda: signal_set("SigBlk")
assert in_child(blocked) == {USR1}
assert in_child(blocked, signal_mask=setsid.INHERIT) == {USR1}
assert in_child(blocked, signal_mask={USR2, TERM}) == {USR2, TERM}
assert in_child(lambda: sorted(signal_set("SigBlk")), signal_mask=()) == []
assert signal_set("SigBlk") == {USR1}
assert all(TERM in mask for mask in meanwhile)
""",
        tmp_path,
    )


def test_dispositions_are_what_was_said_and_python_knows(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
look = lambda: (
    [repr(signal.getsignal(number)) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)],
    sorted(signal_set("SigIgn") & {1, 13, 15}), sorted(signal_set("SigCgt") & {1, 13, 15}),
)
signal.signal(signal.SIGTERM, print)
found = in_child(look, default_signals={signal.SIGTERM, signal.SIGPIPE}, ignore_signals={signal.SIGHUP})
default, ignore = repr(signal.SIG_DFL), repr(signal.SIG_IGN)
assert found == ([default, ignore, default], [1], []), found
assert look() == ([repr(print), default, ignore], [13], [15]), look()
""",
        tmp_path,
    )


@pytest.mark.parametrize("group", ["setsid.NEW_SESSION", "setsid.INHERIT"])
def test_pythons_handlers_stay_and_run_in_the_child(group: str, tmp_path: Path) -> None:
    fresh(
        CHILD
        + f"""
caught = []
numbers = [signal.SIGTERM, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1]
for number in numbers:
    signal.signal(number, lambda number, frame: caught.append(number))

def signal_myself():
    for number in numbers:
        signal.raise_signal(number)
    return [int(number) for number in caught]

assert in_child(signal_myself, process_group={group}, umask=0o77) == numbers
assert caught == []
""",
        tmp_path,
    )


def test_stop_signals_stop_a_child_that_stayed_in_the_session() -> None:
    fresh("""
for number in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU):
    process = setsid.fork(process_group=0)
    if process is None:
        while True:
            signal.pause()
    try:
        process.send_signal(number)
        assert process.wait_change(30).name == "STOPPED"
    finally:
        process.kill()
        process.wait()
""")


def test_hooks_run_once_each_and_in_the_order_of_os_fork(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
order = []
for name in "ab":
    hooks = {when: lambda when=when, name=name: order.append((when, name))
             for when in ("before", "after_in_parent", "after_in_child")}
    os.register_at_fork(**hooks)

def run(fork):
    order.clear()
    return forked(lambda: list(order), sys.argv[1] + "/told", fork), list(order)

assert run(setsid.fork) == run(os.fork)
assert order == [("before", "b"), ("before", "a"), ("after_in_parent", "a"), ("after_in_parent", "b")]
""",
        tmp_path,
    )


def test_the_child_runs_its_hooks_before_the_plan(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
seen = []
os.register_at_fork(after_in_child=lambda: seen.append((os.getsid(0), status()["Umask"])))
before = os.getsid(0), status()["Umask"]
assert in_child(lambda: seen, umask=0o77) == [before]
""",
        tmp_path,
    )


def test_it_raises_two_auditing_events() -> None:
    fresh("""
events = []
sys.addaudithook(lambda name, args: "fork" in name and events.append((name, args)))
process = setsid.fork()
if process is None:
    os._exit(0)
process.wait()
of_python = [] if ON_PYPY else [("os.fork", ())]  # PyPy's os.fork raises none
assert events == [("setsid.fork", ()), *of_python]
""")


@pytest.mark.parametrize("event", ["setsid.fork", pytest.param("os.fork", marks=OS_FORK_IS_AUDITED)])
def test_an_auditing_hook_that_refuses_is_heard_and_nothing_is_left(event: str) -> None:
    fresh(
        RAISES
        + """
refusal = [None]

def refuse(name, args):
    if name == sys.argv[1] and refusal[0]:
        raise refusal[0]

sys.addaudithook(refuse)
with nothing_left():
    for refusal[0] in (RuntimeError("not here"), PermissionError("not here")):
        with raises(type(refusal[0]), "not here"):
            setsid.fork()
    refusal[0] = None
""",
        event,
    )


def test_a_fork_in_the_child_of_a_fork_is_like_any_other(tmp_path: Path) -> None:
    fresh(
        CHILD
        + """
def again():
    with nothing_left():
        inner = forked(lambda: (os.getppid(), os.getsid(0), os.getpid()), sys.argv[1] + "/inner", setsid.fork)
        try:
            setsid.fork(cwd="/nowhere")
        except FileNotFoundError as error:
            return os.getpid(), inner, error.stage.value

pid, (parent, session, inner), stage = in_child(again)
assert (parent, session, stage) == (pid, inner, "cwd")
""",
        tmp_path,
    )


@hidden
def test_the_parents_handles_say_in_the_child_whose_they_are(hide_pidfd: bool, tmp_path: Path) -> None:
    fresh(
        CHILD
        + RAISES
        + """
release, hold = os.pipe()
sibling = setsid.fork()
if sibling is None:
    os.close(hold)
    os.read(release, 1)
    os._exit(7)

def use():
    for call in (sibling.wait, sibling.poll):
        with raises(ChildProcessError, f"process {sibling.pid} is a child of process {os.getppid()}", call="waitid"):
            call()
    sibling.close()
    return sibling.returncode

assert in_child(use) is None
os.close(hold)
assert sibling.wait() == 7
""",
        tmp_path,
        hide_pidfd=hide_pidfd,
    )


def test_five_hundred_workers_in_five_hundred_sessions_leave_nothing() -> None:
    fresh("""
setup = setsid.ChildSetup(umask=0o77, stdin=setsid.DEVNULL)
with nothing_left():
    release, hold = os.pipe()
    workers = []
    for _ in range(500):
        worker = setsid.fork(setup)
        if worker is None:
            os.close(hold)
            os._exit(len(os.read(release, 1)))
        workers.append(worker)
    assert children() == sorted(worker.pid for worker in workers)
    assert [os.getsid(worker.pid) for worker in workers] == [worker.pid for worker in workers]
    os.close(hold)
    os.close(release)
    assert [worker.wait() for worker in workers] == [0] * 500
    sessions = {worker.pid for worker in workers}
    # Not by each process's stat: strangers end while they are looked at.
    assert [session for session in setsid.sessions() if session.sid in sessions] == []
    for worker in workers:
        worker.close()
    del worker, workers
""")


def test_what_is_no_plan_is_refused_before_anything_is_made() -> None:
    fresh(
        RAISES
        + """
with nothing_left():
    with raises(TypeError, "setup must be a ChildSetup, not dict"):
        setsid.fork({})
    with raises(ValueError, "umask"):
        setsid.fork(umask=-1)
    with raises(OSError, "stdin: file descriptor 77 is not open", errno=errno.EBADF):
        setsid.fork(stdin=77)
    with raises(OSError, "is not a terminal", errno=errno.ENOTTY):
        setsid.fork(ctty=0)
"""
    )
