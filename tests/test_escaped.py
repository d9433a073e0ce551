"""EndReport.escaped: the descendants that `end` could not reach; and EndReport itself."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest

import setsid
from scenarios import hidden, recycled
from support import fresh

# For a helper: a child with children of its own, each described by a word. They end with the helper at the latest: they
# read from a pipe of its.
RELATIVES = """
SOURCE = '''
import os, signal, sys

def say(*_):
    os.write(ready, b"%d " % os.getpid())

def leave(*_):
    os.setsid() if kind == "leaves" else os.setpgid(0, 0)
    say()

def bear(*_):  # and stay deaf
    if not os.fork():
        os.setsid()
        say()

def live():
    if kind in ("session", "parent"):
        os.setsid()
    if kind == "parent" and not os.fork():
        say()
        pause()
    if kind == "orphan":
        if os.fork():
            os._exit(0)
        os.setsid()
    if kind == "group":
        os.setpgid(0, 0)
    if kind in ("leaves", "changes"):
        signal.signal(signal.SIGTERM, leave)
    if kind == "bears":
        signal.signal(signal.SIGTERM, bear)
    say()
    pause()

def pause():
    os.read(0, 1)
    os._exit(0)

ready = int(sys.argv[1])
for kind in sys.argv[2:]:
    pid = os.fork()
    if not pid:
        live()
    if kind == "orphan":
        os.waitpid(pid, 0)
kind = "leader"
say()
pause()
'''
_lifeline = os.pipe()
STREAMS = {"stdin": _lifeline[0], "stdout": setsid.DEVNULL, "stderr": setsid.DEVNULL}

def relatives(*kinds, **changes):
    "The child, and the pids of all others."
    global heard
    heard, say = os.pipe()
    argv = [sys.executable, "-ISc", SOURCE, str(say), *kinds]
    process = setsid.spawn(argv, pass_fds=[say], **STREAMS, **changes)
    os.close(say)
    others = set(hear(1 + sum(2 if kind == "parent" else 1 for kind in kinds))) - {process.pid}
    return process, others

def hear(count):
    "The numbers that they say."
    text = b""
    while text.count(b" ") < count:
        read = os.read(heard, 100)
        assert read, f"they have ended: {text}"
        text += read
    return list(map(int, text.split()))

def lives(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    assert os.read(heard, 1) == b"", "somebody lives on"
    os.close(heard)

def ended(*pids):
    return tuple(sorted(pids))
"""


def scenario(source: str, *, hide_pidfd: bool = False) -> None:
    """Run `source` with `relatives`."""
    fresh(RELATIVES + source, hide_pidfd=hide_pidfd, timeout=60)


@hidden
def test_a_descendant_in_a_session_of_its_own_is_named_and_lives(hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    process, (other,) = relatives("session")
    assert process.end(1000) == setsid.EndReport((process.pid,), (), (other,))
    assert lives(other)
    kill([other])
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_the_children_of_one_that_escaped_are_named_too(hide_pidfd: bool) -> None:
    scenario(
        """
process, others = relatives("parent", "session")
assert len(others) == 3
assert process.end(1000) == setsid.EndReport((process.pid,), (), ended(*others))
kill(others)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_members_are_ended_and_not_named(hide_pidfd: bool) -> None:
    scenario(
        """
process, others = relatives("member", "group")
assert process.end(1000) == setsid.EndReport(ended(process.pid, *others), (), ())
kill([])
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_one_whose_parent_has_ended_before_is_not_named(hide_pidfd: bool) -> None:
    scenario(
        """
process, (other,) = relatives("orphan")
assert process.end(1000) == setsid.EndReport((process.pid,), (), ())
assert lives(other)
kill([other])
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_of_a_child_that_leads_a_group_all_in_other_groups_are_named(hide_pidfd: bool) -> None:
    scenario(
        """
process, others = relatives("member", "group", "session", process_group=0)
report = process.end(1000)
outside = {pid for pid in others if lives(pid)}
assert len(outside) == 2
assert report == setsid.EndReport(ended(process.pid, *(others - outside)), (), ended(*outside))
kill(outside)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_of_a_child_that_leads_nothing_all_descendants_are_named(hide_pidfd: bool) -> None:
    scenario(
        """
process, others = relatives("member", "group", "parent", process_group=setsid.INHERIT)
assert process.end(1000) == setsid.EndReport((process.pid,), (), ended(*others))
assert len(others) == 4
kill(others)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize(
    ("kind", "changes"), [("leaves", ""), ("leaves", ", process_group=0"), ("changes", ", process_group=0")]
)
def test_one_that_leaves_upon_the_signal_has_escaped_and_not_ended(hide_pidfd: bool, kind: str, changes: str) -> None:
    scenario(
        f"""
process, (other,) = relatives({kind!r}{changes})
report = process.end(1000)
assert hear(1) == [other] and lives(other)
assert report == setsid.EndReport((process.pid,), (), (other,))
kill([other])
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_one_that_is_born_during_the_grace_and_escapes_is_named(hide_pidfd: bool) -> None:
    scenario(
        """
process, (parent,) = relatives("bears")
report = process.end(1)
(born,) = hear(1)
assert lives(born)
assert (report.survived, report.escaped) == ((), (born,))
assert {process.pid, parent} <= set(report.ended)
kill([born])
""",
        hide_pidfd=hide_pidfd,
    )


def test_one_that_has_ended_meanwhile_is_not_named() -> None:
    scenario("""
import setsid._ending
process, (other,) = relatives("session")
report_of = setsid._ending.Members.report
def late(self, *args):
    kill([other])
    while lives(other):  # its files are closed a moment before
        os.sched_yield()
    return report_of(self, *args)
setsid._ending.Members.report = late
assert process.end(1000) == setsid.EndReport((process.pid,), (), ())
""")


def test_a_stranger_who_has_the_number_of_one_that_escaped_is_not_named(need: Callable[..., str]) -> None:
    recycled(
        need,
        RELATIVES
        + """
import setsid._ending
process, (other,) = relatives("session")
report_of = setsid._ending.Members.report
def late(self, *args):
    global stranger
    with open(f"/proc/{other}/stat") as file:
        start = int(file.read().rpartition(")")[2].split()[19])
    while time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") < start + 2:
        os.sched_yield()  # within one tick the two can't be told apart
    kill([other])
    os.waitpid(other, 0)  # as the init that adopts it
    stranger = Stranger(other, leader=True)
    return report_of(self, *args)
setsid._ending.Members.report = late
report = process.end(1000)
assert lives(other)
assert report == setsid.EndReport((process.pid,), (), ())
assert stranger.exit_status() == 0
""",
        hide_pidfd=False,
    )


def test_a_child_that_has_ended_by_itself_has_no_descendants_any_more() -> None:
    scenario("""
process, (other,) = relatives("session")
process.kill()
process.wait(reap=False)
assert process.end(1000) == setsid.EndReport((), (), ())
kill([other])
""")


def test_several_hundred_that_escaped_are_all_named() -> None:
    scenario("""
reader, heard_of = os.pipe()
script = "i=0; while [ $i -lt 520 ]; do sleep 60 & i=$((i + 1)); echo $!; done; echo; wait"
process = setsid.spawn(["sh", "-c", script], process_group=setsid.INHERIT, **{**STREAMS, "stdout": heard_of})
os.close(heard_of)
with open(reader) as file:
    others = [int(line) for line in iter(file.readline, "\\n")]
    report = process.end(1000)
    for pid in others:
        os.kill(pid, signal.SIGKILL)
    assert file.read() == ""
assert len(others) == 520
assert report == setsid.EndReport((process.pid,), (), ended(*others))
""")


def test_popen_tells_of_them_too() -> None:
    scenario("""
for keywords in {"start_new_session": True}, {"setup": setsid.ChildSetup(process_group=setsid.NEW_SESSION)}:
    heard, say = os.pipe()
    argv = [sys.executable, "-ISc", SOURCE, str(say), "session", "member"]
    process = setsid.Popen(argv, pass_fds=[say], **STREAMS, **keywords)
    os.close(say)
    others = set(hear(3)) - {process.pid}
    report = process.end(1000)
    (other,) = (pid for pid in others if lives(pid))
    assert report == setsid.EndReport(ended(process.pid, *(others - {other})), (), (other,))
    assert process.returncode == -signal.SIGTERM
    kill([other])
""")


# -- EndReport


def test_reports_are_equal_if_they_tell_the_same() -> None:
    assert setsid.EndReport((1,), (2,), (3,)) == setsid.EndReport((1,), (2,), (3,))
    assert setsid.EndReport((1,), (2,)) == setsid.EndReport((1,), (2,), ())
    for other in [((2,), (2,), (3,)), ((1,), (3,), (3,)), ((1,), (2,), (2,))]:
        assert setsid.EndReport((1,), (2,), (3,)) != setsid.EndReport(*other)
    assert setsid.EndReport((), ()) != ((), (), ())
    with pytest.raises(TypeError, match="unhashable"):
        hash(setsid.EndReport((), ()))


def test_a_report_says_what_it_holds() -> None:
    report = setsid.EndReport((1, 2), (3,), (4,))
    assert (report.ended, report.survived, report.escaped) == ((1, 2), (3,), (4,))
    assert repr(report) == "EndReport(ended=(1, 2), survived=(3,), escaped=(4,))"
    assert eval(repr(report), {"EndReport": setsid.EndReport}) == report


def test_a_report_can_be_copied_and_pickled() -> None:
    report = setsid.EndReport((1, 2), (3,), (4,))
    copies = [copy.copy(report), copy.deepcopy(report), *(pickle.loads(pickle.dumps(report, n)) for n in range(6))]
    assert copies == [report] * 8
    assert {type(twin) for twin in copies} == {setsid.EndReport}
