"""ChildSetup: what it keeps, what it refuses and when, and that it can't be changed."""

from __future__ import annotations

import copy
import pickle
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from setsid import DEVNULL, INHERIT, NEW_SESSION, STDOUT, ChildSetup
from support import fresh

# A value of each field that is neither None nor what spawn takes for "not said".
SOME: dict[str, Any] = {
    "process_group": NEW_SESSION,
    "ctty": 0,
    "steal_ctty": False,
    "release_ctty": False,
    "foreground_tty": 0,
    "stdin": 0,
    "stdout": 0,
    "stderr": 0,
    "pass_fds": (),
    "close_fds": False,
    "cwd": "",
    "chroot": "",
    "umask": 0,
    "user": 0,
    "group": 0,
    "extra_groups": (),
    "rlimits": {},
    "nice": 0,
    "cpu_affinity": frozenset({0}),
    "oom_score_adj": 0,
    "cgroup": "",
    "signal_mask": frozenset(),
    "default_signals": frozenset(),
    "ignore_signals": frozenset(),
    "parent_death_signal": signal.SIGHUP,
    "no_new_privileges": False,
}
FIELDS = list(SOME)
PLAIN: dict[str, Any] = {  # all that can go together and holds no file descriptor
    "process_group": NEW_SESSION,
    "steal_ctty": False,
    "release_ctty": False,
    "stdin": DEVNULL,
    "stdout": DEVNULL,
    "stderr": STDOUT,
    "pass_fds": {},
    "close_fds": False,
    "cwd": b"/",
    "chroot": "/",
    "umask": 0o27,
    "user": "nobody",
    "group": 1,
    "extra_groups": ("daemon", 2),
    "rlimits": {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_CPU: (1, resource.RLIM_INFINITY)},
    "nice": 5,
    "cpu_affinity": {0, 1},
    "oom_score_adj": -1000,
    "cgroup": "/sys/fs/cgroup",
    "signal_mask": INHERIT,
    "default_signals": {signal.SIGPIPE},
    "ignore_signals": {signal.SIGHUP, signal.SIGINT},
    "parent_death_signal": signal.SIGKILL,
    "no_new_privileges": True,
}


class HasFileno:
    """A file, as far as a plan is concerned."""

    def fileno(self) -> int:
        return 7


FILE = HasFileno()


# -- what is kept


def name(value: object) -> str:
    """Of a parameter: the same in every run, though it be an object's that shows its address."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))[:60]


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_not_said_is_none(field: str) -> None:
    assert getattr(ChildSetup(), field) is None
    assert getattr(ChildSetup(**{field: None}), field) is None


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_not_said_differs_from_every_value(field: str) -> None:
    said = ChildSetup(**{field: SOME[field]})
    assert getattr(said, field) == SOME[field]
    assert getattr(said, field) is not None
    assert said != ChildSetup()
    assert said.replace(**{field: None}) == ChildSetup()


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("process_group", NEW_SESSION, NEW_SESSION),
        ("process_group", INHERIT, INHERIT),
        ("process_group", 0, 0),
        ("process_group", 2**31 - 1, 2**31 - 1),
        ("ctty", 2**31 - 1, 2**31 - 1),
        ("ctty", FILE, FILE),
        ("foreground_tty", FILE, FILE),
        ("stdin", DEVNULL, -3),
        ("stdout", DEVNULL, -3),
        ("stderr", DEVNULL, -3),
        ("stderr", STDOUT, -2),
        ("stdin", FILE, FILE),
        ("pass_fds", [5, FILE, 4], (5, FILE, 4)),
        ("pass_fds", iter([5, 4]), (5, 4)),
        ("pass_fds", {5}, (5,)),
        ("pass_fds", {2**31 - 1: 0, 3: FILE}, {3: FILE, 2**31 - 1: 0}),
        ("close_fds", True, True),
        ("cwd", "/tmp", "/tmp"),
        ("cwd", b"/\xff", b"/\xff"),
        ("cwd", Path("/tmp"), "/tmp"),
        ("cwd", 0, 0),
        ("umask", 0o777, 0o777),
        ("signal_mask", INHERIT, INHERIT),
        ("signal_mask", signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}, None),
        ("signal_mask", (n for n in (15, signal.SIGTERM)), frozenset({15})),
        ("default_signals", [signal.SIGRTMAX], frozenset({64})),
        ("ignore_signals", {signal.SIGHUP}, frozenset({1})),
    ],
)
def test_a_valid_value_is_kept_in_one_form(field: str, value: Any, kept: Any) -> None:
    expected = kept if kept is not None else frozenset(map(int, value))
    found = getattr(ChildSetup(**{field: value}), field)
    assert found == expected
    assert type(found) is type(expected) or isinstance(expected, dict)


def test_signals_are_kept_as_plain_numbers() -> None:
    setup = ChildSetup(ignore_signals={signal.SIGHUP})
    assert repr(setup.ignore_signals) == "frozenset({1})"


def test_a_mapping_is_copied_and_sorted_by_the_childs_numbers() -> None:
    fds = {9: 3, 4: 3}
    setup = ChildSetup(pass_fds=fds)
    fds[5] = 3
    assert isinstance(setup.pass_fds, dict)
    assert list(setup.pass_fds.items()) == [(4, 3), (9, 3)]


def test_on_terminal_is_a_new_session_with_all_streams_on_it() -> None:
    expected = ChildSetup(process_group=NEW_SESSION, ctty=5, stdin=5, stdout=5, stderr=5)
    assert ChildSetup.on_terminal(5) == expected
    assert ChildSetup.on_terminal(5, stderr=6, umask=0) == expected.replace(stderr=6, umask=0)


# -- what is refused

RT_HIDDEN = 32  # libc's own
BOTH = "can't go together"
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    # Choices that exclude each other.
    ({"process_group": NEW_SESSION, "foreground_tty": 0}, ValueError, "foreground_tty with NEW_SESSION but no ctty"),
    ({"process_group": 0, "ctty": 0}, ValueError, "ctty needs process_group=NEW_SESSION, not 0"),
    ({"process_group": 7, "ctty": 0}, ValueError, "ctty needs process_group=NEW_SESSION, not 7"),
    ({"process_group": INHERIT, "ctty": 0}, ValueError, "ctty needs process_group=NEW_SESSION, not setsid.INHERIT"),
    ({"steal_ctty": True}, ValueError, "steal_ctty without ctty"),
    ({"process_group": NEW_SESSION, "release_ctty": True}, ValueError, "release_ctty with NEW_SESSION"),
    ({"ctty": 0, "release_ctty": True}, ValueError, f"ctty and release_ctty {BOTH}"),
    ({"process_group": 0, "release_ctty": True, "foreground_tty": 0}, ValueError, f"foreground_tty {BOTH}"),
    ({"default_signals": {1, 2, 15}, "ignore_signals": {15, 1}}, ValueError, "both name SIGHUP, SIGTERM"),
    ({"pass_fds": {0: 5}, "stdin": DEVNULL}, ValueError, "pass_fds and stdin both say what the child's 0 is"),
    ({"pass_fds": {1: 5}, "stdout": 6}, ValueError, "pass_fds and stdout both say what the child's 1 is"),
    ({"pass_fds": {2: 5}, "stderr": STDOUT}, ValueError, "pass_fds and stderr both say what the child's 2 is"),
    ({"pass_fds": [1], "stdout": 6}, ValueError, "pass_fds and stdout both say what the child's 1 is"),
    # Groups and files.
    ({"process_group": -1}, ValueError, "process_group must be between 0 and 2147483647, not -1"),
    ({"process_group": 2**31}, ValueError, "process_group must be between"),
    ({"process_group": True}, TypeError, "process_group must be NEW_SESSION, INHERIT or a number, not bool"),
    ({"process_group": "0"}, TypeError, "process_group must be .*, not str"),
    *(
        case
        for name in ("ctty", "foreground_tty", "stdin", "stdout", "stderr")
        for case in (
            ({name: -4}, ValueError, f"{name} must be between 0 and 2147483647, not -4"),
            ({name: 2**31}, ValueError, f"{name} must be between 0 and 2147483647, not 2147483648"),
            ({name: True}, TypeError, f"{name} must be a file descriptor or have .*, not bool"),
            ({name: "/dev/tty"}, TypeError, f"{name} must be a file descriptor or have .*, not str"),
            ({name: 1.0}, TypeError, f"{name} must be a file descriptor or have .*, not float"),
        )
    ),
    *(({name: -1}, ValueError, f"{name}: PIPE .* Popen") for name in ("stdin", "stdout", "stderr")),
    ({"stdin": STDOUT}, ValueError, "stdin: STDOUT is for stderr only"),
    ({"stdout": STDOUT}, ValueError, "stdout: STDOUT is for stderr only"),
    ({"ctty": DEVNULL}, ValueError, "ctty must be between"),
    ({"foreground_tty": STDOUT}, ValueError, "foreground_tty must be between"),
    ({"pass_fds": 3}, TypeError, "pass_fds must be an iterable .*, not int"),
    ({"pass_fds": "34"}, TypeError, "pass_fds must be an iterable .*, not str"),
    ({"pass_fds": b"34"}, TypeError, "pass_fds must be an iterable .*, not bytes"),
    ({"pass_fds": [-1]}, ValueError, "pass_fds: each must be between"),
    ({"pass_fds": [DEVNULL]}, ValueError, "pass_fds: each must be between"),
    ({"pass_fds": [False]}, TypeError, "pass_fds: each must be a file descriptor"),
    ({"pass_fds": {4: None}}, TypeError, r"pass_fds\[4\] must be a file descriptor"),
    ({"pass_fds": {4: -1}}, ValueError, r"pass_fds\[4\] must be between"),
    ({"pass_fds": {-1: 4}}, ValueError, "pass_fds: the child's number must be between"),
    ({"pass_fds": {2**31: 4}}, ValueError, "pass_fds: the child's number must be between"),
    ({"pass_fds": {True: 4}}, TypeError, "pass_fds: the child's number must be an int, not bool"),
    ({"pass_fds": {"4": 4}}, TypeError, "pass_fds: the child's number must be an int, not str"),
    *(
        ({name: value}, TypeError, f"{name} must be a bool, not {type(value).__name__}")
        for name in ("steal_ctty", "release_ctty", "close_fds")
        for value in (0, 1, "yes")
    ),
    # Directory and mode.
    ({"cwd": "/a\0b"}, ValueError, "cwd: embedded null byte"),
    ({"cwd": b"/a\0b"}, ValueError, "cwd: embedded null byte"),
    ({"cwd": Path("/a\0b")}, ValueError, "cwd: embedded null byte"),
    ({"cwd": -1}, ValueError, "cwd must be between"),
    ({"cwd": 2**31}, ValueError, "cwd must be between"),
    ({"cwd": True}, TypeError, "cwd must be a path or a directory's file descriptor, not bool"),
    ({"cwd": 1.5}, TypeError, "cwd must be a path or a directory's file descriptor, not float"),
    ({"umask": -1}, ValueError, "umask must be between 0 and 0o777, not -0o1"),
    ({"umask": 0o1000}, ValueError, "umask must be between 0 and 0o777, not 0o1000"),
    ({"umask": False}, TypeError, "umask must be an int, not bool"),
    ({"umask": "022"}, TypeError, "umask must be an int, not str"),
    # Signals.
    *(
        ({name: value}, error, f"{name}{message}")
        for name in ("signal_mask", "default_signals", "ignore_signals")
        for value, error, message in (
            ([0], ValueError, ": there is no signal 0"),
            ([-1], ValueError, ": there is no signal -1"),
            ([65], ValueError, ": there is no signal 65"),
            ([2**64], ValueError, ": there is no signal"),
            ([RT_HIDDEN], ValueError, ": there is no signal 32"),
            ([signal.SIGKILL], ValueError, ": SIGKILL can't be"),
            ([1, signal.SIGSTOP], ValueError, ": SIGSTOP can't be"),
            ([True], TypeError, ": a signal is an int, not bool"),
            (["SIGHUP"], TypeError, ": a signal is an int, not str"),
            (signal.SIGHUP, TypeError, " must be an iterable of signal numbers, not Signals"),
            ("HUP", TypeError, " must be an iterable of signal numbers, not str"),
        )
    ),
    ({"default_signals": INHERIT}, TypeError, "default_signals must be an iterable of signal numbers, not Inherit"),
    ({"ignore_signals": INHERIT}, TypeError, "ignore_signals must be an iterable of signal numbers, not Inherit"),
    ({"signal_mask": NEW_SESSION}, TypeError, "signal_mask must be an iterable of signal numbers, not NewSession"),
    ({"process_groups": 0}, TypeError, "process_groups"),
]


@pytest.mark.parametrize(("fields", "error", "message"), REFUSED, ids=name)
def test_what_cannot_be_carried_out_is_refused(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        ChildSetup(**fields)


def test_a_plan_takes_no_positional_arguments() -> None:
    with pytest.raises(TypeError, match="positional"):
        ChildSetup(NEW_SESSION)  # type: ignore[call-arg]


def test_replace_refuses_what_the_constructor_refuses() -> None:
    setup = ChildSetup(process_group=NEW_SESSION, ctty=0)
    with pytest.raises(ValueError, match="ctty needs process_group=NEW_SESSION"):
        setup.replace(process_group=INHERIT)
    with pytest.raises(TypeError, match="colour"):
        setup.replace(colour=3)  # type: ignore[call-arg]


# The files of a plan are looked at when a child is made. No child was: the C function was never called. `spawns`
# counts its calls, and a spawn that is in order shows that it does.
NO_CHILD = """
from setsid import _spawn
spawns, events = [], []
really = _spawn._sid_spawn
_spawn._sid_spawn = lambda *args: (spawns.append(args), really(*args))[1]
sys.addaudithook(lambda name, args: events.append(name) if name == "setsid.spawn" else None)

def refused(kind, *words, **fields):
    spawns.clear()
    with nothing_left():
        try:
            setsid.spawn(["true"], **fields).kill()
        except kind as error:
            assert all(word in str(error) for word in words), error
            assert spawns == []
            return error
        raise AssertionError(f"not refused: {fields}")

def accepted(**fields):
    spawns.clear()
    with setsid.spawn(["true"], **fields) as process:
        assert process.wait() == 0
    assert len(spawns) == 1

manager, terminal = os.openpty()
accepted(ctty=terminal)
assert events == ["setsid.spawn"]
events.clear()
"""


def test_a_plan_that_contradicts_itself_is_refused_before_spawn_begins() -> None:
    fresh(
        NO_CHILD
        + """
refused(ValueError, "foreground_tty with NEW_SESSION", process_group=setsid.NEW_SESSION, foreground_tty=terminal)
refused(ValueError, "SIGKILL", ignore_signals={signal.SIGKILL})
refused(TypeError, "umask", umask=True)
refused(ValueError, "null byte", cwd="a\\0b")
assert events == []
"""
    )


def test_what_the_verb_decides_is_checked_before_the_fork_too() -> None:
    fresh(
        NO_CHILD
        + """
refused(ValueError, "foreground_tty with NEW_SESSION but no ctty", foreground_tty=terminal)
refused(ValueError, "release_ctty with NEW_SESSION", release_ctty=True)
accepted(process_group=setsid.INHERIT, release_ctty=True)
"""
    )


def test_a_ctty_that_is_closed_or_write_only_or_no_terminal_is_refused_before_the_fork() -> None:
    fresh(
        NO_CHILD
        + """
name = os.ttyname(terminal)
write_only = os.open(name, os.O_WRONLY | os.O_NOCTTY)
read_only = os.open(name, os.O_RDONLY | os.O_NOCTTY)
pipe, _ = os.pipe()
closed = os.dup(0)
os.close(closed)

error = refused(setsid.SystemCallError, f"ctty: file descriptor {closed} is not open", ctty=closed)
assert (error.errno, error.stage) == (errno.EBADF, None)
error = refused(setsid.SystemCallError, f"ctty: file descriptor {pipe} is not a terminal", ctty=pipe)
assert (error.errno, error.stage) == (errno.ENOTTY, None)
refused(ValueError, f"ctty: file descriptor {write_only} is open for writing only", ctty=write_only)
accepted(ctty=read_only)

inherit = dict(process_group=setsid.INHERIT)
error = refused(setsid.SystemCallError, f"foreground_tty: file descriptor {pipe}", foreground_tty=pipe, **inherit)
assert (error.errno, error.stage) == (errno.ENOTTY, None)
error = refused(setsid.SystemCallError, f"foreground_tty: file descriptor {closed}", foreground_tty=closed, **inherit)
assert (error.errno, error.stage) == (errno.EBADF, None)
"""
    )


def test_a_closed_file_is_refused_before_the_fork_by_the_name_of_its_field() -> None:
    fresh(
        NO_CHILD
        + """
closed = os.dup(0)
os.close(closed)
for name, value in [
    ("stdin", closed), ("stdout", closed), ("stderr", closed), ("cwd", closed),
    ("pass_fds", [closed]), ("pass_fds", {3: closed}),
]:
    error = refused(OSError, f"{name}", f"file descriptor {closed} is not open", **{name: value})
    assert (error.errno, error.stage) == (errno.EBADF, None)

file = open("/dev/null")
file.close()
refused(ValueError, "closed file", stdin=file)

class Wrong:
    def fileno(self):
        return "3"

refused(TypeError, "stdin: fileno() returned str, not int", stdin=Wrong())
"""
    )


def test_stderr_that_follows_a_closed_stdout_is_refused_before_the_fork() -> None:
    fresh(
        NO_CHILD
        + """
os.close(1)
error = refused(setsid.SystemCallError, "file descriptor 1 is not open", stderr=setsid.STDOUT)
assert (error.errno, error.stage) == (errno.EBADF, None)
accepted(stdout=setsid.DEVNULL, stderr=setsid.STDOUT)
os.dup2(2, 1)
"""
    )


def test_a_passed_file_that_has_a_streams_number_is_refused_if_that_stream_is_said() -> None:
    fresh(
        NO_CHILD
        + """
import io
file = io.FileIO(1, "w", closefd=False)
for said in {"stdout": setsid.DEVNULL}, {"stdout": 2}:
    refused(ValueError, "pass_fds and stdout both say what the child's 1 is", pass_fds=[file], **said)
accepted(pass_fds=[file], stdin=setsid.DEVNULL)
"""
    )


def test_files_are_looked_at_anew_at_each_spawn() -> None:
    fresh(
        NO_CHILD
        + """
spare, _ = os.pipe()
setup = setsid.ChildSetup(stdin=spare)
accepted(setup=setup)
os.close(spare)
assert refused(setsid.SystemCallError, "stdin", setup=setup).errno == errno.EBADF
"""
    )


# -- a plan is a value


@pytest.mark.parametrize("name", [*FIELDS, "marshalled", "unheard_of"])
def test_nothing_in_a_plan_can_be_set_or_deleted(name: str) -> None:
    setup = ChildSetup(cwd="/")
    with pytest.raises(AttributeError, match=f"can't set {name}: .* use replace"):
        setattr(setup, name, None)
    with pytest.raises(AttributeError, match=f"can't delete {name}: .* use replace"):
        delattr(setup, name)
    assert setup == ChildSetup(cwd="/")


@pytest.mark.parametrize(
    "change",
    [
        lambda fds: fds.__setitem__(3, 5),
        lambda fds: fds.__delitem__(3),
        lambda fds: fds.__ior__({3: 5}),
        lambda fds: fds.update({3: 5}),
        lambda fds: fds.setdefault(4, 5),
        lambda fds: fds.pop(3),
        lambda fds: fds.popitem(),
        lambda fds: fds.clear(),
    ],
)
def test_the_mapping_in_a_plan_cannot_be_changed(change: Callable[[Any], object]) -> None:
    setup = ChildSetup(pass_fds={3: 4})
    with pytest.raises(TypeError, match="can't be changed; use replace"):
        change(setup.pass_fds)
    assert setup.pass_fds == {3: 4}


def test_replace_changes_a_copy_only() -> None:
    setup = ChildSetup(umask=0o22, cwd="/")
    assert setup.replace(umask=0o77) == ChildSetup(umask=0o77, cwd="/")
    assert setup == ChildSetup(umask=0o22, cwd="/")


def test_the_copy_modules_replace_works() -> None:
    setup = ChildSetup(umask=0o22, cwd="/")
    expected = ChildSetup(umask=0o77, cwd="/")
    assert setup.__replace__(umask=0o77) == expected
    if sys.version_info >= (3, 13):
        assert copy.replace(setup, umask=0o77) == expected


def test_a_subclass_keeps_its_type() -> None:
    class Plan(ChildSetup):
        pass

    assert type(Plan(umask=0).replace(umask=1)) is Plan
    assert type(Plan.on_terminal(0)) is Plan
    assert repr(Plan(umask=0)).startswith("Plan(")


def test_plans_that_say_the_same_are_equal_and_hash_alike() -> None:
    one = ChildSetup(ignore_signals=[1, 2], pass_fds={3: 4, 5: 6}, cwd=Path("/tmp"))
    other = ChildSetup(ignore_signals={2, 1}, pass_fds={5: 6, 3: 4}, cwd="/tmp", umask=None)
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other, ChildSetup()}) == 2


@pytest.mark.parametrize("other", [ChildSetup(umask=1), ChildSetup(), {"umask": 0}, 0, None])
def test_plans_that_say_something_else_differ(other: object) -> None:
    assert ChildSetup(umask=0) != other


def test_a_repr_evaluates_to_the_same_plan() -> None:
    import setsid

    for setup in (
        ChildSetup(),
        ChildSetup(**PLAIN),
        ChildSetup(process_group=INHERIT, pass_fds={3: 4}, stdin=5),
        ChildSetup.on_terminal(3, pass_fds=[7]),
    ):
        assert eval(repr(setup), {"setsid": setsid, "ChildSetup": ChildSetup}) == setup


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_plan_without_file_descriptors_pickles(protocol: int) -> None:
    setup = ChildSetup(**PLAIN)
    found = pickle.loads(pickle.dumps(setup, protocol))
    assert found == setup
    assert found.process_group is NEW_SESSION
    assert found.signal_mask is INHERIT
    with pytest.raises(TypeError):
        found.pass_fds[3] = 4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ctty", 0),
        ("foreground_tty", 3),
        ("stdin", FILE),
        ("stdout", 1),
        ("stderr", 2),
        ("pass_fds", [4]),
        ("pass_fds", {4: FILE}),
        ("cwd", 0),
    ],
)
def test_a_plan_with_file_descriptors_does_not_pickle(field: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"can't pickle a ChildSetup with file descriptors in {field}$"):
        pickle.dumps(ChildSetup(**{field: value}))  # type: ignore[arg-type]


def test_copies_of_a_plan_are_the_plan_even_with_files() -> None:
    with socket.socket() as file:
        setup = ChildSetup(stdin=file, pass_fds={3: file}, process_group=NEW_SESSION)
        assert copy.copy(setup) is setup
        assert copy.deepcopy(setup) is setup
    assert copy.deepcopy([NEW_SESSION, INHERIT]) == [NEW_SESSION, INHERIT]


def test_a_plan_that_was_carried_out_still_pickles_and_equals_a_new_one() -> None:
    fresh(
        """
import pickle
setup = setsid.ChildSetup(stdin=setsid.DEVNULL, cwd="/", pass_fds={})
with setsid.spawn(["true"], setup) as process:
    assert process.wait() == 0
assert setup == setsid.ChildSetup(stdin=setsid.DEVNULL, cwd="/", pass_fds={}) == pickle.loads(pickle.dumps(setup))
"""
    )


def test_threads_can_share_a_plan(way: str) -> None:
    fresh(
        """
import threading
reader, writer = os.pipe()
setup = setsid.ChildSetup(stdout=writer, pass_fds={9: writer}, umask=0o27)
start = threading.Barrier(8)
statuses = []

def work(number):
    start.wait()
    for _ in range(5):
        with setsid.spawn(["sh", "-c", "echo $0 $(umask) >&9", str(number)], setup) as process:
            statuses.append(process.wait())

with nothing_left():
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert statuses == [0] * 40
os.close(writer)
with open(reader) as file:
    assert sorted(file) == sorted(f"{number} 0027\\n" for number in range(8) for _ in range(5))
""",
        way=way,
    )


# -- systems


@pytest.mark.skipif(sys.platform != "linux", reason="tells what Linux supports")
def test_linux_supports_every_field() -> None:
    assert ChildSetup.supported == frozenset(FIELDS)


def test_a_field_that_the_system_lacks_is_refused_when_the_plan_is_made() -> None:
    class Elsewhere(ChildSetup):
        supported = ChildSetup.supported - {"steal_ctty", "umask"}  # type: ignore[misc]

    with pytest.raises(NotImplementedError, match=r"^steal_ctty: "):
        Elsewhere(ctty=0, steal_ctty=True)
    with pytest.raises(NotImplementedError, match=r"^umask: "):
        Elsewhere(umask=0)
    assert Elsewhere(ctty=0, steal_ctty=False).steal_ctty is False
