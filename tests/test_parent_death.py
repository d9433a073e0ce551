"""parent_death_signal: when the process that made a child dies, however and whenever, the child gets its signal."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from family import FAMILY, HELD, UNSHARE, run
from support import fresh

MAKERS = ["main", "thread"]


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("another user or a pid namespace needs root")


@pytest.mark.parametrize("maker", MAKERS)
def test_a_child_gets_the_signal_when_its_parent_is_killed(way: str, maker: str) -> None:
    fresh(
        FAMILY
        + """
for number in signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGRTMAX:
    parent, child = family(MAKERS[sys.argv[1]], Cat(), parent_death_signal=number)
    parent.die()
    assert child.end() == ("killed", number)
""",
        maker,
        way=way,
    )


@pytest.mark.parametrize("maker", MAKERS)
def test_a_child_without_the_signal_outlives_its_parent(way: str, maker: str) -> None:
    fresh(
        FAMILY
        + """
cat = Cat()
parent, child = family(MAKERS[sys.argv[1]], cat)
parent.die()
assert cat.echoes()
child.kill()
""",
        maker,
        way=way,
    )


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("maker", MAKERS)
def test_a_child_of_another_user_gets_the_signal_too(way: str, maker: str) -> None:
    """A change of credentials clears it, so it must be set after."""
    fresh(
        FAMILY
        + """
for number in signal.SIGKILL, signal.SIGTERM:
    parent, child = family(MAKERS[sys.argv[1]], Cat(), parent_death_signal=number, user=65534, group=65534)
    assert (status(child.pid)["Uid"], status(child.pid)["Gid"]) == ("\\t".join(["65534"] * 4),) * 2
    parent.die()
    assert child.end() == ("killed", number)
""",
        maker,
        way=way,
    )


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("way", ["clone3", "clone", "page", "fork", None])
def test_the_init_of_a_new_pid_namespace_gets_the_signal(way: str | None) -> None:
    """Its parent is outside, where getppid() does not see it."""
    run(
        FAMILY
        + UNSHARE
        + """
def body(say):
    unshare()
    say(cat.start(parent_death_signal=signal.SIGKILL))

cat = Cat()
parent = Parent(body)
child = Child(parent.hear())
assert cat.echoes()
assert status(child.pid)["NSpid"].split()[1:] == ["1"]
parent.die()
assert child.end() == ("killed", signal.SIGKILL)
""",
        way=way,
    )


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("maker", MAKERS)
def test_a_child_gets_the_signal_inside_a_pid_namespace(way: str, maker: str, need: Callable[..., str]) -> None:
    result = fresh(
        FAMILY
        + """
assert os.getpid() == 1
for changes in {}, {"user": 65534}:
    parent, child = family(MAKERS[sys.argv[1]], Cat(), parent_death_signal=signal.SIGTERM, **changes)
    parent.die()
    assert child.end() == ("killed", signal.SIGTERM)
""",
        maker,
        way=way,
        wrapper=(need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc"),
        check=False,
    )
    if "unshare failed" in result.stderr:
        pytest.skip(f"no pid namespace here: {result.stderr}")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("maker", MAKERS)
def test_a_child_whose_parent_died_before_the_step_never_executes(way: str, maker: str, tmp_path: Path) -> None:
    run(
        FAMILY
        + HELD
        + """
parent = Parent(lambda say: MAKERS[sys.argv[2]](lambda: touch(parent_death_signal=signal.SIGKILL)))
child = Child(hold.wait())
parent.die()
hold.let_go()
assert child.end() == ("exited", 127)
assert not os.path.exists(f"{directory}/ran")

# And with the parent alive it does.
parent = Parent(lambda say: MAKERS[sys.argv[2]](lambda: touch(parent_death_signal=signal.SIGKILL)))
child = Child(hold.wait())
hold.let_go()
assert child.has_ended(10)
parent.die()
assert os.path.exists(f"{directory}/ran")
""",
        tmp_path,
        maker,
        way=way,
    )


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("inside", ["another user", "a new pid namespace"])
def test_nor_does_one_that_sees_less_of_its_parent(way: str, inside: str, tmp_path: Path) -> None:
    """In a new pid namespace getppid() is 0 before and after."""
    run(
        FAMILY
        + UNSHARE
        + HELD
        + """
def body(say):
    changes = {"user": 65534} if sys.argv[2] == "another user" else {}
    if not changes:
        unshare()
    touch(parent_death_signal=signal.SIGKILL, **changes)

os.chmod(directory, 0o777)
parent = Parent(body)
child = Child(hold.wait())
parent.die()
hold.let_go()
assert child.end() == ("exited", 127)
assert not os.path.exists(f"{directory}/ran")
""",
        tmp_path,
        inside,
        way=way,
    )


def test_without_pidfds_the_parents_number_tells(way: str, tmp_path: Path, need: Callable[..., str]) -> None:
    injection = ("-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=ENOSYS:when=1")
    run(
        FAMILY
        + HELD
        + """
from strace import spend
import subprocess
parent = Parent(lambda say: touch(parent_death_signal=signal.SIGKILL))
if not hasattr(subprocess, "_can_use_pidfd_open"):  # whose import has made that call (3.15)
    spend(1, lambda: os.pidfd_open(os.getpid()))  # our own, which strace counts apart
child = Child(hold.wait())
parent.die()
hold.let_go()
assert child.end() == ("exited", 127)
assert not os.path.exists(f"{directory}/ran")
""",
        tmp_path,
        way=way,
        wrapper=(need("strace"), "-f", "-o", os.devnull, *injection),
    )


def test_a_child_that_ignores_or_blocks_the_signal_lives_on(way: str) -> None:
    """The signal is as any other: what the plan says of its disposition and of the mask holds."""
    fresh(
        FAMILY
        + """
for maker in in_main, in_thread:
    cat = Cat()
    parent, child = family(maker, cat, parent_death_signal=signal.SIGTERM, ignore_signals={signal.SIGTERM})
    assert signal.SIGTERM in signal_set("SigIgn", child.pid)
    parent.die()  # and all of it is gone, with the signal sent
    assert cat.echoes()
    child.kill()

    cat = Cat()
    parent, child = family(maker, cat, parent_death_signal=signal.SIGTERM, signal_mask={signal.SIGTERM})
    assert signal_set("ShdPnd", child.pid) == set()
    parent.die()
    assert cat.echoes()
    assert signal_set("ShdPnd", child.pid) == {signal.SIGTERM}
    child.kill()
""",
        way=way,
    )
