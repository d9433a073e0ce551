"""parent_death_signal in a process that goes on in Python: one made by fork, and one that applies a plan to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from family import FAMILY, HELD, run
from support import fresh


def test_a_forked_child_gets_the_signal_when_its_parent_is_killed() -> None:
    fresh(
        FAMILY
        + """
def body(say):
    process = setsid.fork(parent_death_signal=number)
    if process is None:
        assert death_signal() == number
        os.write(ready[1], b"x")
        while True:
            signal.pause()
    say(process.pid)

for number in signal.SIGKILL, signal.SIGTERM:
    ready = os.pipe()
    parent = Parent(body)
    child = Child(parent.hear())
    assert os.read(ready[0], 1) == b"x"
    assert not child.has_ended()
    parent.die()
    assert child.end() == ("killed", number)
"""
    )


def test_a_forked_childs_parent_is_the_thread() -> None:
    """As the documentation of fork says: Python can go on in the forking thread's copy only."""
    fresh(
        FAMILY
        + """
def body(say):
    def forks():
        process = setsid.fork(parent_death_signal=signal.SIGKILL)
        if process is None:
            while True:
                signal.pause()
        say(process.pid)
        os.read(go[0], 1)
    in_thread(forks)

go = os.pipe()
parent = Parent(body)
child = Child(parent.hear())
assert not child.has_ended()
os.write(go[1], b"x")
assert child.has_ended(10)
assert os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
parent.die()
assert child.end() == ("killed", signal.SIGKILL)
"""
    )


def test_a_forked_child_whose_parent_died_before_the_step_never_returns_to_python(tmp_path: Path) -> None:
    run(
        FAMILY
        + HELD
        + """
def body(say):
    hold.close()
    setsid.fork(umask=0o77, parent_death_signal=signal.SIGKILL)
    say(1)

parent = Parent(body)
child = Child(hold.wait())
os.kill(parent.pid, signal.SIGKILL)
assert os.waitpid(parent.pid, 0) == (parent.pid, signal.SIGKILL)
hold.let_go()
assert child.end() == ("exited", 127)
assert os.read(parent.said, 16) == b""
""",
        tmp_path,
    )


# A grandchild that applies a plan once its parent is gone, or while it lives. What it writes is its own words.
ORPHAN = """
def orphan(act):
    "A child that calls act(the parent's number) once its parent has died."
    go, words = os.pipe(), os.pipe()
    def body(say):
        me = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                parent = os.pidfd_open(me)
                os.write(words[1], b"!")
                assert select.select([parent], [], [], 10)[0]
                act(me)
                os.write(words[1], b"%d" % death_signal())
                os._exit(7)
            except BaseException:
                traceback.print_exc()
            os._exit(70)
        say(pid)
    parent = Parent(body)
    child = Child(parent.hear())
    assert os.read(words[0], 1) == b"!"
    parent.die()
    ended = child.end()
    os.close(words[1])
    with open(words[0]) as file:
        return ended, file.read()

setup = setsid.ChildSetup(parent_death_signal=signal.SIGTERM)
"""


@pytest.mark.parametrize("ready", [False, True], ids=["taken in the child", "taken in the parent"])
def test_a_process_that_applies_a_plan_gets_the_signal_when_its_parent_is_killed(ready: bool) -> None:
    fresh(
        FAMILY
        + """
def body(say):
    me = os.getpid()
    apply = setup.apply if sys.argv[1] == "True" else None
    pid = os.fork()
    if pid == 0:
        (apply or setup.apply)(parent_pid=me)
        os.write(words[1], b"%d" % death_signal())
        while True:
            signal.pause()
    say(pid)

for number in signal.SIGKILL, signal.SIGTERM, signal.SIGUSR2:
    setup = setsid.ChildSetup(parent_death_signal=number)
    words = os.pipe()
    parent = Parent(body)
    child = Child(parent.hear())
    assert int(os.read(words[0], 16)) == number
    assert not child.has_ended()
    parent.die()
    assert child.end() == ("killed", number)
""",
        ready,
    )


def test_one_whose_parent_has_died_before_gets_the_signal_at_once() -> None:
    fresh(
        FAMILY
        + ORPHAN
        + """
assert orphan(lambda parent: setup.apply(parent_pid=parent)) == (("killed", signal.SIGTERM), "")
kill = setup.replace(parent_death_signal=signal.SIGKILL)
assert orphan(lambda parent: kill.apply(parent_pid=parent)) == (("killed", signal.SIGKILL), "")
"""
    )


def test_its_handler_for_the_signal_runs_and_apply_returns() -> None:
    fresh(
        FAMILY
        + ORPHAN
        + """
def act(parent):
    seen = []
    signal.signal(signal.SIGTERM, lambda *_: seen.append(signal.SIGTERM))
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert setup.apply(parent_pid=parent) is None
    assert seen == [signal.SIGTERM]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == blocked

assert orphan(act) == (("exited", 7), "15")
"""
    )


def test_what_it_ignores_or_blocks_does_not_end_it() -> None:
    fresh(
        FAMILY
        + ORPHAN
        + """
ignoring = setup.replace(ignore_signals={signal.SIGTERM})
assert orphan(lambda parent: ignoring.apply(parent_pid=parent)) == (("exited", 7), "15")

def act(parent):
    setup.replace(signal_mask={signal.SIGTERM}).apply(parent_pid=parent)
    assert signal.sigpending() == {signal.SIGTERM}

assert orphan(act) == (("exited", 7), "15")
"""
    )


def test_a_parent_that_is_not_said_is_not_asked_for() -> None:
    fresh(
        FAMILY
        + ORPHAN
        + """
assert orphan(lambda parent: setup.apply()) == (("exited", 7), "15")
without = setsid.ChildSetup(umask=0o77)
assert orphan(lambda parent: without.apply(parent_pid=parent)) == (("exited", 7), "0")
"""
    )


def test_a_parent_that_is_no_number_is_refused_before_anything_is_done() -> None:
    fresh(
        FAMILY
        + """
setup = setsid.ChildSetup(parent_death_signal=signal.SIGTERM, umask=0o77)
os.umask(0o22)
refused = [(ValueError, 0), (ValueError, -1), (TypeError, True), (TypeError, False), (TypeError, "1"), (TypeError, 1.0)]
refused += [((ValueError, OverflowError), 2**31), ((ValueError, OverflowError), 2**64)]
for kind, number in refused:
    try:
        setup.apply(parent_pid=number)
    except kind as error:
        assert "parent_pid" in str(error), error
    else:
        raise AssertionError(number)
assert (death_signal(), os.umask(0o22)) == (0, 0o22)
try:
    setup.apply(os.getppid())
except TypeError:
    pass
else:
    raise AssertionError("a parent by position")
setup.apply(parent_pid=os.getppid())
assert (death_signal(), os.umask(0o22)) == (signal.SIGTERM, 0o77)
"""
    )


def test_a_thread_that_is_not_the_main_one_may_not_bind_itself_to_the_parent() -> None:
    fresh(
        FAMILY
        + """
setup = setsid.ChildSetup(parent_death_signal=signal.SIGTERM, umask=0o77)
os.umask(0o22)
seen = []

def applies():
    try:
        setup.apply()
    except ValueError as error:
        seen.append("parent_death_signal" in str(error))
    seen.append(death_signal())

in_thread(applies)
assert seen == [True, 0]
assert (death_signal(), os.umask(0o22)) == (0, 0o22)
"""
    )
