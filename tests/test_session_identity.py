"""A number that belongs to somebody else by now: a Session takes no stranger for its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from looking import in_namespace, scenario

# For a helper in a pid namespace: what a Session does that its number is no longer.
STRANGER = """
import copy, pickle

HINT = "another session's"
DOUBT = "can't be told from a later one of that number: none of its processes was there before"
TELL = {
    "processes": lambda session: session.processes(),
    "groups": lambda session: session.groups(),
    "leader": lambda session: session.leader,
    "ctty": lambda session: session.ctty,
    "foreground_pgid": lambda session: session.foreground_pgid,
    "orphaned_groups": lambda session: session.orphaned_groups(),
    "send_signal": lambda session: session.send_signal(signal.SIGKILL),
    "end": lambda session: session.end(0),
}

def refuses(session, reason=HINT):
    for look in TELL.values():
        with raises(ProcessLookupError, reason, errno=errno.ESRCH, call="getsid"):
            look(session)
        with raises(setsid.SystemCallError, f"session {session.sid} as it was known"):
            look(session)

def passes(pid):
    "Ends a child, so that its number is free."
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    next_tick()

def lives(each):
    each.ask("pass")
    return True
"""


def test_a_session_whose_number_another_has_is_refused_and_the_innocent_lives(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        STRANGER
        + """
old = leader(300)
fresh, looked = Session(300), Session(300)
for session in (looked,):
    session.processes()
others = [copy.copy(looked), copy.deepcopy(looked), *(pickle.loads(pickle.dumps(looked, n)) for n in range(6))]
passes(old.pid)
member = Actor()
stranger = actor(lambda: (os.setsid(), member.fork()), at=300)
member.up()
assert stranger.pid == 300
for session in fresh, looked, *others:
    refuses(session)
    refuses(session)  # nor does a look make it known
assert lives(stranger) and lives(member)
assert pids(Session(300).processes()) == sorted([300, member.pid])
""",
    )


def test_a_session_that_was_pickled_before_refuses_a_stranger_after(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        STRANGER
        + """
old = leader(300)
saved = [pickle.dumps(Session(300), number) for number in range(pickle.HIGHEST_PROTOCOL + 1)]
for each in saved:
    assert pids(pickle.loads(each).processes()) == [300]
passes(old.pid)
stranger = leader(300)
for each in saved:
    refuses(pickle.loads(each))
assert lives(stranger)
""",
    )


def test_a_pickled_session_is_read_in_another_process(need: Callable[..., str]) -> None:
    scenario("""
import pickle, subprocess
sid = leader()
READ = "import pickle, sys; print([p.pid for p in pickle.load(sys.stdin.buffer).processes()])"
for _ in range(3):
    session = Session(sid.pid)
    read = subprocess.run([sys.executable, "-c", READ], input=pickle.dumps(session), capture_output=True, check=True)
    assert read.stdout.decode() == f"[{sid.pid}]\\n"
""")


def test_a_session_that_was_pickled_before_a_reboot_refuses_all() -> None:
    scenario("""
import pickle
sid = leader()
session = Session(sid.pid)
real = time.time
time.time = lambda: real() - 3600  # what the clock has told in another life
setsid._processes._boot = 0.0
saved = pickle.dumps(session)
time.time = real
again = pickle.loads(saved)
with raises(ProcessLookupError, "as it was known"):
    again.processes()
assert pids(session.processes()) == [sid.pid]
""")


def test_a_stranger_whose_leader_has_ended_is_refused_too(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        STRANGER
        + """
old = leader(300)
session = Session(300)
session.processes()
passes(old.pid)
member = Actor()
stranger = actor(lambda: (os.setsid(), member.fork()), at=300)
member.up()
stranger.end()
refuses(session)  # a zombie
reap(300)
refuses(session, DOUBT)
assert lives(member)
assert pids(Session(300).processes()) == [member.pid]
""",
    )


def test_a_number_that_a_mere_process_has_is_an_empty_session(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        STRANGER
        + """
old = leader(300)
session = Session(300)
session.processes()
passes(old.pid)
innocent = actor(own_group, at=300)
assert (session.processes(), session.groups(), session.leader) == ([], {}, None)
with raises(ProcessLookupError, "no process of session 300 lives", errno=errno.ESRCH):
    session.send_signal(signal.SIGKILL)
assert session.end(0) == setsid.EndReport((), ())
assert lives(innocent)
# And when that makes a session after all, it is another.
passes(300)
stranger = leader(300)
refuses(session)
assert lives(stranger)
""",
    )


def test_a_process_that_was_there_before_and_leads_a_session_since_is_not_told_from_it() -> None:
    # The number was nobody's then, or its own: nobody is mistaken.
    scenario("""
later = actor()
session = Session(later.pid)
assert session.processes() == []
next_tick()
later.ask("os.setsid()")
assert pids(session.processes()) == [later.pid]
""")


def test_a_session_outlives_its_leader() -> None:
    scenario("""
member = Actor()
sid = actor(lambda: (os.setsid(), member.fork()))
member.up()
session = Session(sid.pid)
next_tick()
sid.end()
reap(sid.pid)
assert pids(session.processes()) == [member.pid]
""")


CHAIN = """
links = [Actor() for _ in range(6)]
libc.prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER

def pass_on(number):
    "The one member that there is makes the next one, and ends."
    next_tick()
    links[number].ask(f"links[{number + 1}].fork()")
    links[number + 1].up()

links[0].fork(os.setsid)
sid = links[0].up().pid
session, blind = Session(sid), Session(sid)
"""


def test_a_session_that_is_looked_at_outlives_all_that_were_in_it_at_first() -> None:
    scenario(
        CHAIN
        + """
for number in range(5):
    pass_on(number)
    assert pids(session.processes()) == sorted([links[number].pid, links[number + 1].pid])
    links[number].end()
    reap(links[number].pid)
    assert pids(session.processes()) == [links[number + 1].pid]
assert session.leader is None
session.send_signal(signal.SIGTERM)
assert reap(links[5].pid) == -signal.SIGTERM
assert session.processes() == []
"""
    )


@pytest.mark.parametrize("look", ["leader", "ctty", "groups()", "orphaned_groups()", "processes()", "send_signal(0)"])
def test_any_look_makes_those_known_that_are_there(look: str) -> None:
    scenario(
        CHAIN
        + f"""
pass_on(0)
next_tick()
session.{look}
links[0].end()
reap(links[0].pid)
assert pids(session.processes()) == [links[1].pid]
with raises(ProcessLookupError, "can't be told from a later one of that number"):
    blind.processes()
"""
    )


def test_a_session_that_was_not_looked_at_refuses_in_doubt() -> None:
    scenario(
        CHAIN
        + """
pass_on(0)
links[0].end()
reap(links[0].pid)
for look in (blind.processes, blind.groups, lambda: blind.leader, lambda: blind.send_signal(signal.SIGKILL),
             lambda: blind.end(0)):
    with raises(ProcessLookupError, "can't be told from a later one of that number", errno=errno.ESRCH):
        look()
links[1].ask("pass")
assert pids(Session(sid).processes()) == [links[1].pid]
"""
    )


def test_looks_of_several_threads_make_known_what_the_last_has_seen() -> None:
    # A look that was begun earlier and ends later takes nothing back.
    scenario(
        CHAIN
        + """
import setsid._session
pass_on(0)
real, inside, go_on = setsid._session.look_fully, threading.Event(), threading.Event()
def late(*args):
    found = real(*args)
    if threading.current_thread() is slow:
        inside.set()
        assert go_on.wait(60)
    return found
setsid._session.look_fully = late
early = []
slow = threading.Thread(target=lambda: early.append(session.processes()))
slow.start()
assert inside.wait(60)
pass_on(1)
assert len(session.processes()) == 3
go_on.set()
slow.join()
assert len(early[0]) == 2
for number in range(2):
    links[number].end()
    reap(links[number].pid)
assert pids(session.processes()) == [links[2].pid]
"""
    )


def test_the_session_of_a_reaped_child_takes_no_stranger(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        STRANGER
        + """
with setsid.spawn(["true"]) as process:  # and how to make one has been tried
    process.wait()
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write("299")
with setsid.spawn(["sleep", "1000"]) as process:
    assert process.pid == 300
    before = process.session
    assert pids(before.processes()) == [300]
    process.kill()
    process.wait()
    after = process.session
    assert before == after == Session(300)
    assert before.processes() == after.processes() == []
    next_tick()
    stranger = leader(300)
    refuses(before)
    refuses(after)
    refuses(process.session)
    assert lives(stranger)
""",
    )


def test_the_session_of_a_child_is_that_of_the_zombie_too() -> None:
    scenario("""
with setsid.spawn(["true"]) as process:
    process.wait(reap=False)
    assert [(each.pid, each.state) for each in process.session.processes()] == [(process.pid, "Z")]
assert process.session.processes() == []
""")
