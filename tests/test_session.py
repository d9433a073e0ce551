"""Session and sessions(): who is there, in which groups, on which terminal."""

from __future__ import annotations

import copy
import os
import pickle
from collections.abc import Callable

import pytest

from looking import in_namespace, scenario
from setsid import Session

# -- sessions()


def test_sessions_are_exactly_those_that_exist(need: Callable[..., str]) -> None:
    # In a pid namespace, where nobody else comes and goes.
    in_namespace(
        need,
        """
def walk():
    return sorted({os.getsid(int(name)) for name in os.listdir("/proc") if name.isdigit()} - {0})

def listed():
    assert all(type(session) is Session for session in sessions())
    return [session.sid for session in sessions()]

assert os.getsid(0) == 0 and listed() == walk() == []
first, second = leader(), leader()
stays = Actor()  # without a leader
ends = actor(lambda: (os.setsid(), stays.fork()))
stays.up()
ends.end()
assert reap(ends.pid) == 0
member = actor(lambda: os.setpgid(0, 0))  # of no session that is seen here
assert listed() == walk() == [first.pid, second.pid, ends.pid]
first.end()
assert status(first.pid)["State"].startswith("Z")
assert listed() == walk() == [first.pid, second.pid, ends.pid]
reap(first.pid)
assert listed() == walk() == [second.pid, ends.pid]
""",
    )


def test_sessions_are_sorted_though_their_processes_are_not(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        """
made = [leader(at).pid for at in (300, 200, 250)]
assert made == [300, 200, 250]
inner = Actor()
high = actor(lambda: (os.setsid(), inner.fork(at=50)), at=400)
assert inner.up().pid == 50 and os.getsid(50) == 400  # met first, and sorted last
assert [session.sid for session in sessions()] == [200, 250, 300, 400]
assert pids(Session(400).processes()) == [50, 400]
""",
    )


def test_more_processes_than_there_is_room_for_at_first(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        """
sid = leader()
sid.ask('''
if True:
    for number in range(1500):
        if os.fork() == 0:
            if number % 100 == 99:
                os.setsid()
            select.select([lifeline[0]], [], [])
            os._exit(0)
''')
members = [sid.pid, *children_of(sid.pid)]
assert len(members) == 1501
until(lambda: sum(os.getsid(pid) == pid for pid in members) == 16)
assert [session.sid for session in sessions()] == [pid for pid in members if os.getsid(pid) == pid]
assert pids(Session(sid.pid).processes()) == [pid for pid in members if os.getsid(pid) == sid.pid]
""",
    )


def test_the_session_that_we_are_in_is_listed() -> None:
    scenario("""
assert os.getsid(0) == os.getpid()
assert Session(os.getpid()) in sessions()
assert pids(Session(os.getpid()).processes()) == [os.getpid()]
""")


# -- the object


def test_sessions_are_equal_by_their_numbers() -> None:
    assert Session(7) == Session(7)
    assert Session(7) != Session(8)
    assert Session(7) != 7
    assert hash(Session(7)) == hash(Session(7))
    assert len({Session(7), Session(7), Session(8)}) == 2
    assert repr(Session(7)) == "Session(7)"
    assert eval(repr(Session(7))) == Session(7)


def test_a_sessions_number_does_not_change() -> None:
    session = Session(7)
    with pytest.raises(AttributeError):
        session.sid = 8  # type: ignore[misc]
    with pytest.raises(AttributeError):
        session.other = 8  # type: ignore[attr-defined]
    assert session.sid == 7


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1, True])
def test_any_number_of_a_process_may_be_a_sessions(number: int) -> None:
    assert Session(number).sid == number
    assert type(Session(number).sid) is int


@pytest.mark.parametrize("number", [-1, -(2**31), 2**31, 2**64, -(2**100)])
def test_a_number_that_no_process_has_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match=f"^{number} is no number of a session$"):
        Session(number)


@pytest.mark.parametrize("number", ["7", b"7", 7.0, None, [7]])
def test_what_is_no_number_is_refused(number: object) -> None:
    with pytest.raises(TypeError, match=f"^sid must be an int, not {type(number).__name__}$"):
        Session(number)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy]
    + [lambda session, n=n: pickle.loads(pickle.dumps(session, n)) for n in range(pickle.HIGHEST_PROTOCOL + 1)],
)
def test_sessions_are_copied_and_pickled(again: Callable[[Session], Session]) -> None:
    session = again(Session(7))
    assert session == Session(7)
    assert session.sid == 7
    assert type(session) is Session


def test_a_session_of_nobody_is_empty() -> None:
    scenario("""
gone = leader()
gone.end()
reap(gone.pid)
member = actor(lambda: os.setpgid(0, 0))
for number in gone.pid, member.pid, 2**31 - 1:
    session = Session(number)
    assert (session.processes(), session.groups(), session.orphaned_groups()) == ([], {}, set())
    assert (session.leader, session.ctty, session.foreground_pgid) == (None, None, None)
    assert session not in sessions()
""")


# -- the number 0


def test_session_0_is_what_has_a_session_elsewhere(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        """
zero = Session(0)
assert pids(zero.processes()) == [1]
(one,) = zero.processes()
assert (one.ppid, one.pgid, one.sid, one.is_kernel_thread) == (0, 0, 0, False)
assert (zero.leader, zero.ctty, zero.foreground_pgid) == (None, None, None)
plain, group, other = actor(), actor(own_group), leader()
assert pids(zero.processes()) == [1, plain.pid, group.pid]
assert {pgid: pids(found) for pgid, found in zero.groups().items()} == {0: [1, plain.pid], group.pid: [group.pid]}
assert zero not in sessions()
for call in zero.send_signal, lambda number, **kind: zero.end(signal=number, **kind):
    for include_self in False, True:
        with raises(ValueError):
            call(signal.SIGKILL, include_self=include_self)
assert pids(zero.processes()) == [1, plain.pid, group.pid]
""",
    )


def test_session_0_is_no_session_that_could_be_a_strangers(need: Callable[..., str]) -> None:
    # They come and go, and have nothing to do with each other.
    in_namespace(
        need,
        """
later = Actor()
first = actor()
os.setsid()
zero = Session(0)
assert pids(zero.processes()) == [first.pid]
next_tick()
first.ask("later.fork()")
later.up()
first.end()
reap(first.pid)
assert pids(zero.processes()) == [later.pid]
assert pids(zero.groups()[0]) == [later.pid]
""",
    )


def test_kernel_threads_are_in_session_0() -> None:
    if not os.path.exists("/proc/2") or Session(os.getsid(2)).sid != 0:
        pytest.skip("no kernel threads are seen here: a pid namespace of its own")
    threads = {process.pid: process for process in Session(0).processes() if process.is_kernel_thread}
    kthreadd = threads[2]
    assert (kthreadd.comm, kthreadd.ppid, kthreadd.pgid, kthreadd.sid) == ("kthreadd", 0, 0, 0)
    assert (kthreadd.args, kthreadd.tty, kthreadd.foreground_pgid, kthreadd.uid) == ((), None, None, 0)
    assert {process.ppid for process in threads.values()} == {0, 2}
    assert os.getpid() not in threads


# -- who is there


def test_processes_are_all_those_in_the_session_whatever_their_groups_and_parents() -> None:
    scenario("""
same, other, orphan, between, apart = [Actor() for _ in range(5)]
def family():
    os.setsid()
    same.fork()
    other.fork(own_group)
    between.fork(orphan.fork)
    apart.fork(os.setsid)
sid = actor(family)
for each in same, other, orphan, between, apart:
    each.up()
between.end()
sid.ask("os.wait()")
session = Session(sid.pid)
assert pids(session.processes()) == sorted([sid.pid, same.pid, other.pid, orphan.pid])
assert {pgid: pids(found) for pgid, found in session.groups().items()} == {
    sid.pid: sorted([sid.pid, same.pid, orphan.pid]), other.pid: [other.pid]}
assert [process for found in session.groups().values() for process in found if process.pgid != process.pid] == [
    process for process in session.processes() if process.pid in (same.pid, orphan.pid)]
assert pids(Session(apart.pid).processes()) == [apart.pid]
for process in session.processes():
    assert (process.sid, process.pgid) == (os.getsid(process.pid), os.getpgid(process.pid))
    assert {"sid": process.sid, "pgid": process.pgid, "ppid": process.ppid}.items() <= session_of(process.pid).items()
""")


def test_processes_of_a_pid_namespace_below_are_there_by_their_numbers_here() -> None:
    if os.geteuid() != 0:
        pytest.skip("a pid namespace needs root")
    scenario("""
inner = Actor()
def family():
    os.setsid()
    assert libc.unshare(0x20000000) == 0, ctypes.get_errno()  # CLONE_NEWPID
    inner.fork()
sid = actor(family)
assert inner.up().pid == 1  # by its own account
(pid,) = children_of(sid.pid)
assert pids(Session(sid.pid).processes()) == sorted([sid.pid, pid])
assert (info(pid).ppid, info(pid).sid, info(pid).pgid) == (sid.pid, sid.pid, sid.pid)
""")


def test_threads_are_no_processes() -> None:
    scenario("""
busy = leader()
busy.ask("start_threads(4)")
assert len(os.listdir(f"/proc/{busy.pid}/task")) == 5
assert pids(Session(busy.pid).processes()) == [busy.pid]
thread = next(int(task) for task in os.listdir(f"/proc/{busy.pid}/task") if int(task) != busy.pid)
assert Session(thread).processes() == []
""")


def test_the_leader_is_there_until_it_is_reaped() -> None:
    scenario("""
member = Actor()
sid = actor(lambda: (os.setsid(), member.fork()))
member.up()
session = Session(sid.pid)
assert (session.leader.pid, session.leader.ppid) == (sid.pid, os.getpid())
sid.end()
assert (session.leader.pid, session.leader.state, session.leader.args) == (sid.pid, "Z", ())
assert pids(session.processes()) == sorted([sid.pid, member.pid])
reap(sid.pid)
assert session.leader is None
assert pids(session.processes()) == [member.pid]
assert Session(sid.pid) in sessions()
""")


# -- its terminal

# For a helper: a session with a terminal, and jobs in it.
TERMINAL = """
import fcntl, termios

manager, terminal = os.openpty()
PATH = os.ttyname(terminal)

def lead():
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

def foreground(pgid):
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(terminal, pgid)
"""


def test_a_session_without_a_terminal_has_none() -> None:
    scenario("""
sid = leader()
session = Session(sid.pid)
assert (session.ctty, session.foreground_pgid, session.leader.tty) == (None, None, None)
""")


def test_a_sessions_terminal_and_who_is_in_its_foreground() -> None:
    scenario(
        TERMINAL
        + """
job = Actor()
sid = actor(lambda: (lead(), job.fork(own_group)))
job.up()
session = Session(sid.pid)
def seen():
    assert {process.tty for process in session.processes()} == {session.ctty}
    assert {process.foreground_pgid for process in session.processes()} == {session.foreground_pgid}
    return session.ctty, session.foreground_pgid
assert seen() == (PATH, sid.pid)
for pgid in job.pid, sid.pid, job.pid:
    sid.ask(f"foreground({pgid})")
    assert seen() == (PATH, pgid) == (PATH, session_of(sid.pid)["tpgid"])
assert Session(os.getpid()).ctty is None
# The foreground group ends: the terminal still has its number.
job.end()
sid.ask("os.wait()")
assert seen() == (PATH, job.pid if session_of(sid.pid)["tpgid"] else 0)
"""
    )


def test_the_terminal_is_free_once_the_leader_has_ended() -> None:
    scenario(
        TERMINAL
        + """
job = Actor()
sid = actor(lambda: (lead(), job.fork(lambda: (own_group(), signal.signal(signal.SIGHUP, signal.SIG_IGN)))))
job.up()
session = Session(sid.pid)
assert session.ctty == PATH
sid.end()
for _ in range(2):
    assert (session.ctty, session.foreground_pgid) == (None, None)
    assert job.pid in pids(session.processes())
    assert {process.tty for process in session.processes()} == {None}
    if session.leader:
        reap(sid.pid)
"""
    )


def test_a_terminal_that_is_given_up_is_none() -> None:
    scenario(
        TERMINAL
        + """
job = Actor()
sid = actor(lambda: (lead(), job.fork(own_group)))
job.up()
session = Session(sid.pid)
# A member other than the leader gives it up for itself alone.
job.ask("fcntl.ioctl(terminal, termios.TIOCNOTTY, 0)")
assert {process.pid: process.tty for process in session.processes()} == {sid.pid: PATH, job.pid: None}
assert {process.pid: process.foreground_pgid for process in session.processes()} == {sid.pid: sid.pid, job.pid: None}
assert (session.ctty, session.foreground_pgid) == (PATH, sid.pid)
sid.ask("signal.signal(signal.SIGHUP, signal.SIG_IGN); fcntl.ioctl(terminal, termios.TIOCNOTTY, 0)")
assert (session.ctty, session.foreground_pgid) == (None, None)
"""
    )


def test_a_terminal_whose_other_side_is_closed_is_none() -> None:
    scenario(
        TERMINAL
        + """
sid = actor(lambda: (signal.signal(signal.SIGHUP, signal.SIG_IGN), os.close(manager), lead()))
session = Session(sid.pid)
assert session.ctty == PATH
os.close(manager)
assert (session.ctty, session.foreground_pgid) == (None, None) if not session_of(sid.pid)["tty"] else True
"""
    )


# -- orphaned process groups

# For a helper: what the kernel holds of a group. A member of an orphaned one is not stopped by SIGTSTP.
ORPHANED = """
def is_orphaned(member):
    member.tell(f"os.kill(os.getpid(), signal.SIGTSTP); os.write({member.say}, b'on\\\\n')")
    until(lambda: select.select([member._said], [], [], 0)[0] or status(member.pid)["State"].startswith("T"))
    stopped = status(member.pid)["State"].startswith("T")
    if stopped:
        os.kill(member.pid, signal.SIGCONT)
    assert member.hear() == b"on\\n"
    return not stopped

def agrees(number, /, **members):
    "Session's word on the groups of `members` and the kernel's."
    named = {name for name, member in members.items() if os.getpgid(member.pid) in Session(number).orphaned_groups()}
    assert named == {name for name, member in members.items() if is_orphaned(member)}
    return named

def subreaper():
    assert libc.prctl(36, 1, 0, 0, 0) == 0
"""


@pytest.mark.parametrize(
    ("family", "orphaned"),
    [
        pytest.param("sid = actor(os.setsid)", "sid", id="leader"),
        pytest.param("sid = actor(lambda: (os.setsid(), a.fork())); a.up()", "sid a", id="leader-and-child"),
        pytest.param("sid = actor(lambda: (os.setsid(), a.fork(own_group))); a.up()", "sid", id="job"),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(lambda: (own_group(), b.fork())))); a.up(); b.up()",
            "sid",
            id="job-of-two",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(lambda: b.fork(own_group)))); a.up(); b.up()",
            "sid a",
            id="job-of-the-leaders-child",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(lambda: b.fork(own_group)))); a.up(); b.up()\n"
            "a.end(); sid.ask('os.wait()'); del a",
            "sid b",
            id="its-parent-has-ended",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(lambda: b.fork(own_group)))); a.up(); b.up()\na.end(); del a",
            "sid b",
            id="its-parent-is-a-zombie",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(own_group))); a.up(); number = sid.pid; sid.end(); del sid",
            "a",
            id="the-leader-is-a-zombie",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(own_group))); a.up()\n"
            "number = sid.pid; sid.end(); reap(sid.pid); del sid",
            "a",
            id="the-leader-is-reaped",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), subreaper(), a.fork(lambda: b.fork(own_group)))); a.up(); b.up()\n"
            "a.end(); sid.ask(f'os.waitpid({a.pid}, 0)'); del a",
            "sid",
            id="adopted-within-the-session",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), subreaper(), a.fork(b.fork))); a.up(); b.up()\n"
            "a.end(); sid.ask(f'os.waitpid({a.pid}, 0)'); del a",
            "sid b",
            id="adopted-within-the-group",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(lambda: (own_group(), b.fork(lambda: c.fork())))))\n"
            "a.up(); b.up(); c.up(); b.end(); a.ask('os.wait()'); del b",
            "sid",
            id="one-member-is-adopted-outside-another-not",
        ),
        pytest.param(
            "sid = actor(lambda: (os.setsid(), a.fork(lambda: (own_group(), b.fork())))); a.up(); b.up()\n"
            "a.end(); del a",
            "sid b",
            id="the-member-with-the-parent-is-a-zombie",
        ),
    ],
)
def test_orphaned_groups_are_those_that_the_kernel_holds_for_orphaned(family: str, orphaned: str) -> None:
    scenario(
        ORPHANED
        + f"""
number = None
a, b, c = [Actor() for _ in range(3)]
{family}
members = {{name: globals()[name] for name in ("sid", "a", "b", "c") if hasattr(globals().get(name), "pid")}}
assert agrees(number or sid.pid, **members) == {set(orphaned.split())!r}
"""
    )


def test_process_1_of_a_namespace_is_a_parent_as_any_other(need: Callable[..., str]) -> None:
    # The shell of a container: Ctrl-Z stops its jobs. Only the first process of all is no parent in that sense.
    in_namespace(
        need,
        ORPHANED
        + """
os.setsid()
job, same = actor(own_group), actor()
assert os.getsid(job.pid) == 1
assert agrees(1, job=job, same=same) == {"same"}
""",
    )


def test_stopped_processes_of_a_group_that_becomes_orphaned_are_hung_up() -> None:
    scenario(
        ORPHANED
        + """
a, b = Actor(), Actor()
subreaper()
sid = actor(lambda: (os.setsid(), a.fork(lambda: b.fork(own_group))))
a.up(), b.up()
session = Session(sid.pid)
assert b.pid not in session.orphaned_groups()
os.kill(b.pid, signal.SIGSTOP)
until(lambda: info(b.pid).state == "T")
a.end()
until(lambda: info(b.pid).state == "Z")
assert reap(b.pid) == -signal.SIGHUP
"""
    )


# -- what there is to look with


def test_a_look_leaves_nothing_behind() -> None:
    scenario("""
sid = leader()
with nothing_left():
    for _ in range(50):
        session = Session(sid.pid)
        session.processes(), session.groups(), session.leader, session.ctty, session.foreground_pgid
        session.orphaned_groups(), sessions(), Session(0).processes(), Session(2**31 - 1).processes()
""")


@pytest.mark.parametrize("free", [0, 1, 2, 3])
def test_without_files_to_look_with_that_is_said(free: int) -> None:
    scenario(
        """
import resource
sid = leader()
sid.ask("start_threads(1)")
expected = pids(Session(sid.pid).processes())
with raises(ValueError):
    Session(-1)
Session(0).processes()
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
free = int(sys.argv[1])
taken = take_files(free)
refused = []
session = Session(sid.pid)
for look in session.processes, session.groups, lambda: session.leader, lambda: session.ctty, sessions:
    for _ in range(100):  # more than there are files: one that leaked would be missed
        try:
            found = look()
        except setsid.SystemCallError as error:
            assert (error.errno, error.filename, error.call) == (errno.EMFILE, "/proc", "opendir"), error
            refused.append(look)
        else:
            if look == session.processes:
                assert pids(found) == expected
            elif look == sessions:
                assert session in found
assert len(refused) == (500 if free == 0 else 400 if free == 1 else 0), len(refused)
for _ in range(free):
    taken.append(os.dup(0))
with raises(OSError, errno=errno.EMFILE):
    os.dup(0)
""",
        free,
    )


@pytest.mark.parametrize("look", ["sessions()", "Session(1).processes()", "Session(1).leader", "Session(0).groups()"])
@pytest.mark.parametrize("proc", ["elsewhere", "none", "empty"])
def test_without_a_proc_of_ours_that_is_said(need: Callable[..., str], proc: str, look: str) -> None:
    hide = {
        "elsewhere": "pass",
        "none": "os.mkdir(sys.argv[1]); os.chroot(sys.argv[1]); os.chdir('/')",
        "empty": "assert libc.mount(b'none', b'/proc', b'tmpfs', 0, None) == 0",
    }
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        in_namespace(
            need,
            f"""
from setsid import _hints  # before its file is out of reach
assert os.getpid() == 1
{hide[proc]}
with raises(FileNotFoundError, "no /proc of this process's own pid namespace is mounted there",
            errno=errno.ENOENT, filename="/proc", call="opendir"):
    {look}
""",
            f"{directory}/root",
            proc=False,
        )


def test_who_comes_and_goes_during_a_look_does_no_harm() -> None:
    scenario("""
import mmap
counts = mmap.mmap(-1, 64)
forkers = [Actor() for _ in range(4)]
def breed(number):
    made = 0
    while not select.select([lifeline[0]], [], [], 0)[0]:
        children = [os.fork() for _ in range(3)]
        if 0 in children:
            os._exit(0)
        for _ in children:
            os.wait()
        made += 3
        counts[8 * number : 8 * number + 8] = made.to_bytes(8, "little")
    os._exit(0)
def family():
    os.setsid()
    for forker in forkers:
        forker.fork()
sid = actor(family)
for number, forker in enumerate(forkers):
    forker.up()
    forker.tell(f"breed({number})")
stays = {sid.pid, *(forker.pid for forker in forkers)}
session = Session(sid.pid)
looks = met = 0
with nothing_left():
    while looks < 50 or sum(int.from_bytes(counts[i : i + 8], "little") for i in range(0, 32, 8)) < 600:
        found = session.processes()
        numbers = pids(found)
        assert numbers == sorted(set(numbers))
        assert stays <= set(numbers)
        assert all(process.sid == process.pgid == sid.pid and process.state in "RSDZX" for process in found), found
        assert all(process.start_time > 0 for process in found)
        assert session in sessions()
        assert session.leader.pid == sid.pid
        looks += 1
        met += len(numbers) - 5
assert met > 0
""")


def test_many_threads_look_while_sessions_come_and_go() -> None:
    scenario("""
stays = leader()
session = Session(stays.pid)
errors, done = [], threading.Event()
looks = [0] * 6
def look(number):
    try:
        while not done.is_set():
            assert pids(session.processes()) == [stays.pid]
            assert session in sessions()
            for other in sessions()[:30]:  # another test may have made thousands
                try:
                    other.processes()
                except ProcessLookupError:  # a stranger by now
                    pass
            looks[number] += 1
    except BaseException as error:
        errors.append(error)
with nothing_left():
    threads = [threading.Thread(target=look, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    made = 0
    while made < 40 or (min(looks) < 3 and not errors):
        with setsid.spawn(["true"]) as process:
            process.wait()
        made += 1
    done.set()
    for thread in threads:
        thread.join()
assert errors == []
""")


def test_a_forked_process_may_look_too() -> None:
    scenario("""
sid = leader()
session = Session(sid.pid)
session.processes()
child = os.fork()
if child == 0:
    os._exit(0 if pids(session.processes()) == [sid.pid] and session in sessions() else 1)
assert reap(child) == 0
""")
