"""What ChildSetup keeps and refuses of roots, users, limits, processors, control groups and privileges."""

from __future__ import annotations

import enum
import os
import pickle
import re
import resource
import signal
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import setsid
from setsid import DEVNULL, ChildSetup
from support import ON_PYPY, fresh

INFINITY = resource.RLIM_INFINITY
ALL_BITS = 2**64 - 1  # as C has it
LIBCS_OWN = 32  # a signal that libc keeps to itself
CORE, CPU, FILES = resource.RLIMIT_CORE, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE
Pair = namedtuple("Pair", "soft hard")


class Number(enum.IntEnum):
    """An int by another name."""

    SEVEN = 7


class Indexable:
    """What some libraries have for an int: it isn't one."""

    def __index__(self) -> int:
        return 7

    def __repr__(self) -> str:
        return "Indexable"


class Limits(dict):  # type: ignore[type-arg]
    """A dict that looks its values up in its own way."""

    def __getitem__(self, key: int) -> tuple[int, int]:
        return (key, key)


SEVEN = Number.SEVEN
KEPT: list[tuple[str, Any, Any]] = [
    ("chroot", b"/\xff", b"/\xff"),
    ("chroot", Path("/srv"), "/srv"),
    ("user", "nobody", "nobody"),
    ("user", "1000", "1000"),  # a name, as in subprocess
    ("user", 0, 0),
    ("user", 2**32 - 2, 2**32 - 2),
    ("group", 2**32 - 2, 2**32 - 2),
    ("extra_groups", [], ()),
    ("extra_groups", ["daemon", 5, 5, 1], ("daemon", 5, 5, 1)),
    ("extra_groups", (n for n in (3, "adm")), (3, "adm")),
    ("rlimits", {}, {}),
    ("rlimits", {CORE: [0, 1]}, {CORE: (0, 1)}),
    ("rlimits", {CORE: Pair(0, 1)}, {CORE: (0, 1)}),
    ("rlimits", {CORE: (0, INFINITY)}, {CORE: (0, -1)}),
    ("rlimits", {CORE: (-1, -1)}, {CORE: (-1, -1)}),
    ("rlimits", {CORE: (ALL_BITS, -1)}, {CORE: (-1, -1)}),
    ("rlimits", {CORE: (-1, ALL_BITS)}, {CORE: (-1, -1)}),
    ("rlimits", {CORE: (ALL_BITS - 1, ALL_BITS - 1)}, {CORE: (ALL_BITS - 1, ALL_BITS - 1)}),
    ("rlimits", {2**31 - 1: (1, 1)}, {2**31 - 1: (1, 1)}),  # the kernel knows which there are
    ("rlimits", MappingProxyType({CORE: (1, 1)}), {CORE: (1, 1)}),
    ("rlimits", UserDict({CORE: (1, 1)}), {CORE: (1, 1)}),
    ("rlimits", Limits({FILES: None}), {FILES: (FILES, FILES)}),
    ("nice", -40, -40),
    ("nice", 40, 40),
    ("cpu_affinity", [3, 1, 3], frozenset({1, 3})),
    ("cpu_affinity", (n for n in (0, 65535)), frozenset({0, 65535})),
    ("oom_score_adj", -1000, -1000),
    ("oom_score_adj", 1000, 1000),
    ("cgroup", Path("/sys/fs/cgroup"), "/sys/fs/cgroup"),
    ("cgroup", 0, 0),
    ("cgroup", 2**31 - 1, 2**31 - 1),
    ("parent_death_signal", signal.SIGKILL, 9),
    ("parent_death_signal", signal.SIGRTMAX, 64),
    ("parent_death_signal", 0, 0),
    ("no_new_privileges", True, True),
    # An int under another name becomes a plain one, so that the plan's repr can be read back.
    *((name, SEVEN, 7) for name in ("user", "group", "nice", "oom_score_adj", "cgroup", "parent_death_signal")),
    ("extra_groups", [SEVEN], (7,)),
    ("rlimits", {SEVEN: (SEVEN, SEVEN)}, {7: (7, 7)}),
    ("cpu_affinity", {SEVEN}, frozenset({7})),
]


def name(value: object) -> str:
    """Of a parameter: the same in every run, though it be an object's that shows its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))[:60]


@pytest.mark.parametrize(("field", "value", "kept"), KEPT, ids=name)
def test_a_valid_value_is_kept_in_one_form(field: str, value: Any, kept: Any) -> None:
    found = getattr(ChildSetup(**{field: value}), field)
    assert found == kept
    in_order: Any = sorted if ON_PYPY else str  # of a set, it shows the members in the order that they came in
    assert in_order(repr(found)) == in_order(repr(kept))


@pytest.mark.parametrize(("field", "value", "kept"), KEPT, ids=name)
def test_what_is_kept_is_equal_hashes_alike_and_evaluates(field: str, value: Any, kept: Any) -> None:
    plan = ChildSetup(**{field: kept})
    # A generator can be read once, and the test before this one has had it.
    said = plan if hasattr(value, "__next__") else ChildSetup(**{field: value})
    assert said == plan
    assert hash(said) == hash(plan)
    assert eval(repr(said), {"setsid": setsid, "ChildSetup": ChildSetup}) == plan
    assert plan.replace(umask=0).replace(umask=None) == plan
    assert plan.replace(**{field: None}) == ChildSetup()


def test_limits_are_kept_in_the_order_of_their_numbers() -> None:
    one = ChildSetup(rlimits=OrderedDict([(FILES, (1, 1)), (CPU, (2, 2)), (CORE, (3, 3))]))
    other = ChildSetup(rlimits={CORE: (3, 3), FILES: (1, 1), CPU: (2, 2)})
    assert list(one.rlimits or ()) == [CPU, CORE, FILES]
    assert (one, hash(one), repr(one)) == (other, hash(other), repr(other))


def test_limits_are_copied() -> None:
    pair = [1, 2]
    limits: dict[int, Any] = {CORE: pair}
    setup = ChildSetup(rlimits=limits)
    pair[0] = 0
    limits[CPU] = (0, 0)
    assert setup == ChildSetup(rlimits={CORE: (1, 2)})


def test_the_order_of_extra_groups_says_something_and_that_of_processors_does_not() -> None:
    assert ChildSetup(extra_groups=[1, 2]) != ChildSetup(extra_groups=[2, 1])
    assert ChildSetup(cpu_affinity=[1, 2]) == ChildSetup(cpu_affinity=[2, 1])


@pytest.mark.parametrize(
    "change",
    [
        lambda limits: limits.__setitem__(CORE, (5, 5)),
        lambda limits: limits.__delitem__(CORE),
        lambda limits: limits.update({CPU: (5, 5)}),
        lambda limits: limits.clear(),
    ],
)
def test_the_limits_of_a_plan_cannot_be_changed(change: Callable[[Any], object]) -> None:
    setup = ChildSetup(rlimits={CORE: (0, 0)})
    with pytest.raises(TypeError):
        change(setup.rlimits)
    assert setup == ChildSetup(rlimits={CORE: (0, 0)})


# -- what is refused


def each(error: type[Exception], message: str, **fields: Any) -> list[tuple[dict[str, Any], type[Exception], str]]:
    """A case for each value of each field, whose name the message begins with."""
    return [({name: value}, error, f"^{name}{message}") for name, values in fields.items() for value in values]


NOT_INTS = (True, 1.0, "7", b"7", Indexable(), (7,))
NOT_IDS = (True, 1.0, b"root", ["root"], Indexable())
PATHS = ("/a\0", b"/\0b", Path("/a\0b"))
NOT_PAIRS = (0, None, (), (0,), (0, 0, 0), "00", {0: 0, 1: 1})
FAR = (-(2**70), 2**70)  # would overflow in C
REFUSED = [
    # Types. A bool is no number.
    *each(TypeError, " must be an int, not ", nice=NOT_INTS, oom_score_adj=NOT_INTS),
    *each(TypeError, " must be a signal's number, not ", parent_death_signal=NOT_INTS),
    *each(TypeError, " must be a name or a number, not ", user=NOT_IDS, group=NOT_IDS),
    *each(TypeError, ": each must be a name or a number, not ", extra_groups=[[value] for value in (*NOT_IDS, None)]),
    *each(TypeError, " must be an iterable of names and numbers, not ", extra_groups=("adm", b"adm", 5)),
    *each(TypeError, ": each must be an int, not ", cpu_affinity=[[0, value] for value in NOT_INTS]),
    *each(TypeError, " must be an iterable of CPU numbers, not ", cpu_affinity=("01", b"01", 0)),
    *each(TypeError, r" must be a mapping of resource.RLIMIT_\* to ", rlimits=([(CORE, (0, 0))], CORE, "4", {CORE})),
    *each(TypeError, ": a resource must be an int, not ", rlimits=[{value: (0, 0)} for value in NOT_INTS]),
    *each(TypeError, r"\[4\] must be \(soft, hard\), not ", rlimits=[{CORE: pair} for pair in NOT_PAIRS]),
    *each(TypeError, r"\[4\]: soft must be an int, not ", rlimits=[{CORE: (value, 9)} for value in NOT_INTS]),
    *each(TypeError, r"\[4\]: hard must be an int, not ", rlimits=[{CORE: (0, value)} for value in NOT_INTS]),
    *each(TypeError, " must be a path, not ", chroot=(3, True, 1.0)),
    *each(TypeError, " must be a path or a directory's file descriptor, not ", cgroup=(True, 1.0)),
    *each(TypeError, " must be a bool, not ", no_new_privileges=(0, 1, "yes")),
    # Ranges.
    *each(ValueError, " must be between -40 and 40, not ", nice=(-41, 41, *FAR)),
    *each(ValueError, " must be between -1000 and 1000, not ", oom_score_adj=(-1001, 1001, *FAR)),
    *each(ValueError, " must be between 0 and 2147483647, not ", cgroup=(-1, 2**31, *FAR)),
    *each(ValueError, " must be between 0 and 4294967294, not ", user=(-1, 2**32 - 1, *FAR), group=(-1, 2**32 - 1)),
    *each(ValueError, ": each must be between 0 and 4294967294, not ", extra_groups=([-1], [2**32 - 1], [2**70])),
    *each(ValueError, ": each must be between 0 and 65535, not ", cpu_affinity=([-1], [0, 65536], [2**70])),
    *each(ValueError, " is empty", cpu_affinity=([], (), range(0))),
    *each(ValueError, ": a resource must be between 0 and ", rlimits=[{n: (0, 0)} for n in (-1, 2**31, *FAR)]),
    *each(ValueError, r"\[4\]: soft must be between 0 and 2\*\*64 - 1", rlimits=[{CORE: (n, 0)} for n in (-2, 2**64)]),
    *each(ValueError, r"\[4\]: hard must be between 0 and 2\*\*64 - 1", rlimits=[{CORE: (0, n)} for n in (-2, 2**64)]),
    *each(
        ValueError,
        r"\[4\]: the soft limit, -?\d+, is above the hard one, 1$",
        rlimits=[{CORE: (soft, 1)} for soft in (2, INFINITY, ALL_BITS)],
    ),
    *each(ValueError, ": there is no signal ", parent_death_signal=(-1, LIBCS_OWN, 65, *FAR)),
    # Names and paths; some can't be written as bytes.
    *each(ValueError, ": .* is no name$", user=("", "ro\0ot"), group=("", "\0")),
    *each(ValueError, ": each: .* is no name$", extra_groups=(["adm", ""], ["\0"])),
    *each(ValueError, ": embedded null byte$", chroot=PATHS, cgroup=PATHS),
    *each(ValueError, ": ", user=("\ud800",), group=("\ud800",), chroot=("\ud800",), cgroup=("\ud800",)),
    # What can't go together.
    ({"chroot": "/", "cwd": 0}, ValueError, "^cwd must be a path with chroot"),
]


@pytest.mark.parametrize(("fields", "error", "message"), REFUSED, ids=name)
def test_what_cannot_be_carried_out_is_refused(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ChildSetup(**fields)
    with pytest.raises(error, match=message):
        ChildSetup().replace(**fields)


def test_a_root_goes_with_a_path_to_work_in() -> None:
    assert ChildSetup(chroot="/", cwd="tmp").cwd == "tmp"
    with pytest.raises(ValueError, match="cwd must be a path with chroot"):
        ChildSetup(cwd=0).replace(chroot="/")


# -- pickles


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plan_with_limits_and_names_pickles(protocol: int) -> None:
    setup = ChildSetup(rlimits={CORE: (0, INFINITY)}, user="nobody", extra_groups=("adm", 3), cpu_affinity=[0])
    found = pickle.loads(pickle.dumps(setup, protocol))
    assert (found, hash(found)) == (setup, hash(setup))
    with pytest.raises(TypeError, match="can't be changed; use replace"):
        found.rlimits[CORE] = (1, 1)


def test_a_cgroup_pickles_as_a_path_and_not_as_a_descriptor() -> None:
    setup = ChildSetup(cgroup="/sys/fs/cgroup")
    assert pickle.loads(pickle.dumps(setup)) == setup
    with pytest.raises(TypeError, match=r"can't pickle a ChildSetup with file descriptors in cgroup$"):
        pickle.dumps(ChildSetup(cgroup=0, stdin=DEVNULL))


# -- no child is made of what is refused, however late it shows


@pytest.mark.parametrize(
    ("field", "value"), [("user", "none-such"), ("group", "none-such"), ("extra_groups", [0, "none-such"])]
)
def test_a_name_that_does_not_exist_is_refused_before_there_is_a_child(
    field: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("setsid._spawn._sid_spawn", None)  # a call would raise TypeError
    monkeypatch.setattr("os.fork", None)
    setup = ChildSetup(**{field: value})
    calls: list[Callable[[], object]] = [lambda: setsid.spawn(["true"], setup), lambda: setsid.fork(setup), setup.apply]
    for call in calls:
        with pytest.raises(ValueError, match=f"^{field}: there is no (user|group) 'none-such'$"):
            call()


def test_a_closed_cgroup_is_refused_by_its_fields_name_before_there_is_a_child() -> None:
    fresh(
        """
from setsid import _spawn
closed = os.dup(0)
os.close(closed)
setup = setsid.ChildSetup(cgroup=closed)
_spawn._sid_spawn = None
for call in lambda: setsid.spawn(["true"], setup), lambda: setsid.fork(setup), setup.apply:
    with nothing_left():
        try:
            call()
        except setsid.SystemCallError as error:
            assert (error.errno, error.stage) == (errno.EBADF, None)
            assert error.hint == f"cgroup: file descriptor {closed} is not open"
        else:
            raise AssertionError("not refused")
"""
    )


# -- a plan is looked at anew each time


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to change supplementary groups")
@pytest.mark.parametrize("fields", [{"extra_groups": [7]}, {"user": 5, "group": 5, "extra_groups": [7]}], ids=str)
def test_groups_that_the_parent_has_changed_meanwhile_are_set_all_the_same(fields: dict[str, Any]) -> None:
    fresh(
        f"""
os.setgroups([7])
setup = setsid.ChildSetup(**{fields!r})
apply = setup.apply
for ours in [7], [8], [7]:
    os.setgroups(ours)
    with setsid.spawn(["cat"], setup) as process:
        found = status(process.pid)["Groups"]
        process.kill()
    assert found == "7", (ours, found)
os.setgroups([8])
apply()
assert os.getgroups() == [7]
"""
    )
