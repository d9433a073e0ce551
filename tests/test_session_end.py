"""Session.end and send_signal, and Process.end where both must do the same: who ends, who must not, what is told."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios import RAISES, hidden, in_namespace, recycled
from support import TESTS, fresh

# For a helper: a session of processes that say what happens to them, each described by letters. g leads a group of its
# own; d is deaf to SIGTERM; w waits for a line at SIGTERM, then says "over" and ends by exit; h says each SIGTERM and
# SIGUSR1, and ends by the first; u says each SIGUSR1; s is stopped; o its parent has ended; l is in a session of its
# own; z is a zombie; r stays root. For the leader also: e ends, n becomes nobody. All end with the helper.
PEOPLE = """
import ctypes, resource, select, threading
from pathlib import Path

SOURCE = '''
import os, select, signal, sys

def say(what):
    os.write(1, f"{what} {os.getpid()}\\\\n".encode())

def ends(*_):
    say("TERM")
    os._exit(7)

def waits(*_):
    say("TERM")
    os.read(3, 1)
    say("over")
    os._exit(7)

def live(kind, place):
    if "g" in kind: os.setpgid(0, 0)
    if "l" in kind: os.setsid()
    if "d" in kind: signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "h" in kind: signal.signal(signal.SIGTERM, ends)
    if "w" in kind: signal.signal(signal.SIGTERM, waits)
    if "u" in kind: signal.signal(signal.SIGUSR1, lambda *_: say("USR1"))
    caught = os.pipe()
    if set(kind) & set("hwu"):  # a handler in Python is only noted at first, and a read may begin just then
        os.set_blocking(caught[1], False)
        signal.set_wakeup_fd(caught[1])
    say(place)
    if "s" in kind: os.kill(os.getpid(), signal.SIGSTOP)
    while "z" not in kind and 0 not in select.select([0, caught[0]], [], [])[0]:
        os.read(caught[0], 1)
    os._exit(0)

leader, *kinds = sys.argv[1:]
for place, kind in enumerate(kinds):
    pid = os.fork()
    if pid == 0:
        between = os.getpid()
        if "o" in kind and os.fork(): os._exit(0)
        while "o" in kind and os.getppid() == between: os.sched_yield()  # a stopped group that is orphaned is hung up
        live(kind, place)
    if "o" in kind: os.waitpid(pid, 0)
if "n" in leader: os.setresuid(65534, 65534, 65534)
if "e" in leader: os._exit(5)
live(leader, "leader")
'''
_lifeline = os.pipe()
_go = os.pipe()

class People:
    "`process` leads `others`, in the order of their descriptions."
    def __init__(self, leader="", *kinds, **changes):
        self._heard, say = os.pipe()
        argv = [sys.executable, "-ISc", SOURCE, leader, *kinds]
        self.process = setsid.spawn(argv, stdin=_lifeline[0], stdout=say, pass_fds={3: _go[0]}, **changes)
        os.close(say)
        self._text = b""
        self.sid = self.process.pid
        told = [self.hear() for _ in range(len(kinds) + ("e" not in leader))]
        self.others = [pid for _, pid in sorted((int(what), pid) for what, pid in told if what.isdigit())]
        assert len(self.others) == len(kinds), told
        self.all = sorted({self.sid, *self.others})
        stopped, zombies = (sum(letter in kind for kind in (leader, *kinds)) for letter in "sz")
        until(lambda: [state(pid) for pid in self.all].count("T") == stopped)
        until(lambda: [state(pid) for pid in self.others].count("Z") == zombies)
        if "e" in leader:
            self.process.wait(reap=False)

    def hear(self):
        "(what, pid) that somebody says next; None when all have ended."
        while b"\\n" not in self._text:
            got = os.read(self._heard, 65536)
            if not got:
                return None
            self._text += got
        line, _, self._text = self._text.partition(b"\\n")
        what, pid = line.decode().split()
        return what, int(pid)

    def hear_all(self):
        "All that they say until the last of them has ended."
        said = list(iter(self.hear, None))
        os.close(self._heard)
        return sorted(said)

    def end(self, grace, **options):
        "How the test wants it ended."
        if HOW == "Process":
            return self.process.end(grace, **options)
        return setsid.Session(self.sid).end(grace, **options)

    def bury(self):
        "The leader's returncode, and nothing is left of it."
        code = self.process.wait()
        self.process.close()
        return code

def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        os.sched_yield()

def state(pid):
    try:
        return status(pid)["State"][0]
    except (FileNotFoundError, ProcessLookupError):
        return None

def lives(pid):
    return state(pid) not in (None, "Z", "X")

def ids(*pids):
    return tuple(sorted(pids))

def check(report, ended, survived=(), escaped=()):
    "It tells that, and /proc tells the same."
    told = setsid.EndReport(ids(*ended), ids(*survived), ids(*escaped))
    assert report == told, f"{report} is not {told}"
    assert not any(map(lives, report.ended))
    assert all(map(lives, report.survived + report.escaped))

class Lib:
    "The C calls, with some replaced."
    def __init__(self, **calls):
        import setsid._ending, setsid._process, setsid._processes, setsid._session
        self.__dict__.update(calls)
        for module in setsid._ending, setsid._processes, setsid._session, setsid._process:
            module.lib = self

    def __getattr__(self, name):
        return getattr(lib, name)
"""

hows = pytest.mark.parametrize("how", ["Process", "Session"])


def scenario(source: str, *, how: str = "Session", hide_pidfd: bool = False, timeout: float = 120) -> None:
    """Run `source` with People, whose `end` is that of `how`."""
    result = fresh(f"HOW = {how!r}\n" + RAISES + PEOPLE + source, hide_pidfd=hide_pidfd, timeout=timeout)
    if result.stdout.startswith("SKIP"):
        pytest.skip(result.stdout)


def as_root(why: str) -> None:
    if os.geteuid() != 0:
        pytest.skip(f"{why} needs root")


def compiled(directory: Path, name: str, *options: str) -> Path:
    program = directory / name
    subprocess.run(["cc", *options, str(TESTS / "native" / f"{name}.c"), "-o", str(program)], check=True)
    return program


# -- who ends


@hidden
@hows
def test_all_groups_of_the_session_end_and_orphans_too(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    people = People("", "", "g", "o", "og", "z")
    zombies = [pid for pid in people.others if not lives(pid)]
    report = people.end(1000)
    check(report, set(people.all) - set(zombies))
    assert people.hear_all() == []
    assert people.bury() == -signal.SIGTERM
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,  # long before the grace is over: SIGKILL had no part in it
    )


@hidden
@hows
def test_stopped_jobs_see_the_first_signal(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
for leader in "", "h", "hs":
    people = People(leader, "gsh", "sh", "gosh", "gsh")
    check(people.end(1000), people.all)
    said = people.others if leader == "" else people.all
    assert people.hear_all() == [("TERM", pid) for pid in sorted(said)]
    assert people.bury() == (7 if leader else -signal.SIGTERM)
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hidden
@hows
def test_stopped_jobs_are_not_hung_up_by_their_leaders_end_before_they_see_the_signal(
    how: str, hide_pidfd: bool
) -> None:
    # The end of the leader orphans their groups: the kernel sends those that are stopped then SIGHUP and SIGCONT.
    scenario(
        """
for _ in range(3):
    people = People("", *["gsh"] * 60)
    check(people.end(1000), people.all)
    assert people.hear_all() == [("TERM", pid) for pid in sorted(people.others)]
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hidden
@hows
def test_who_ignores_the_signal_is_killed_after_the_grace_and_nobody_before(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
people = People("w", "d", "gd", "gw", "h")
begun = time.monotonic()
report = people.end(0.5)
assert time.monotonic() - begun >= 0.5
check(report, people.all)
said = people.hear_all()
assert len(said) == 3 and {what for what, _ in said} == {"TERM"}
assert people.bury() == -signal.SIGKILL
""",
        how=how,
        hide_pidfd=hide_pidfd,
    )


@hidden
@hows
def test_who_needs_time_to_end_has_it(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
people = People("w", "gw", "gd", "w")
reports = []
thread = threading.Thread(target=lambda: reports.append(people.end(1000)))
thread.start()
heard = dict(reversed(people.hear()) for _ in range(3))
assert {*heard.values()} == {"TERM"}
os.write(_go[1], b"xx")
assert {people.hear()[0] for _ in range(2)} == {"over"}
os.write(_go[1], b"x")
assert people.hear()[0] == "over"
(deaf,) = {*people.all} - {*heard}
os.kill(deaf, signal.SIGKILL)
thread.join()
check(reports[0], people.all)
assert people.hear_all() == [] and people.bury() == 7
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hidden
@hows
def test_the_session_of_a_zombie_leader_ends(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    people = People("e", "", "gd", "oh")
    check(people.end(0.2), people.others)
    assert len(people.hear_all()) == 1
    assert people.bury() == 5
""",
        how=how,
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_the_session_of_a_reaped_leader_ends(hide_pidfd: bool) -> None:
    scenario(
        """
people = People("e", "", "gd", "oh")
assert people.bury() == 5
session = setsid.Session(people.sid)
assert session.leader is None
check(session.end(0.2), people.others)
assert len(people.hear_all()) == 1
check(session.end(0.2), [])
with raises(setsid.SystemCallError, f"no process of session {people.sid} lives", errno=errno.ESRCH):
    session.send_signal(signal.SIGTERM)
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_child_in_a_pid_namespace_ends_with_all_that_is_in_it() -> None:
    as_root("a pid namespace")
    scenario("""
INSIDE = '''
import ctypes, os, sys
assert ctypes.CDLL(None).unshare(0x20000000) == 0
if not os.fork():
    for leaves in False, True:
        if not os.fork():
            if leaves: os.setsid()
            os.write(1, b"x")
            os.read(0, 1)
    os.write(1, b"x")
os.read(0, 1)
'''
def children_of(pid):
    born = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in born] + [pid for child in born for pid in children_of(int(child))]

for HOW in "Process", "Session":
    reader, writer = os.pipe()
    process = setsid.spawn([sys.executable, "-ISc", INSIDE], stdin=_lifeline[0], stdout=writer)
    os.close(writer)
    heard = b""
    while len(heard) < 3:
        heard += os.read(reader, 3)
    inside = children_of(process.pid)
    assert len(inside) == 3
    report = (process if HOW == "Process" else setsid.Session(process.pid)).end(0.2)
    assert (report.survived, report.escaped) == ((), ())
    assert not any(map(lives, [process.pid, *inside]))
    assert set(report.ended) >= {process.pid, *inside[:2]}, (report, inside)
    assert os.read(reader, 1) == b""
    process.wait()
""")


@hows
def test_a_member_that_a_debugger_holds_is_killed(how: str) -> None:
    scenario(
        """
PTRACE_ATTACH = 16
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
people = People("", "h", "gh")
held = people.others[1]
if libc.ptrace(PTRACE_ATTACH, held, None, None) != 0:
    print("SKIP: may not trace")
    sys.exit()
until(lambda: state(held) == "t")
check(people.end(0.2), people.all)
assert state(held) == "Z"  # until its tracer looks
assert people.hear_all() == [("TERM", people.others[0])]
assert os.waitpid(held, 0x40000000)[0] == held
""",
        how=how,
    )


@pytest.mark.parametrize("deaf", [0, 1])
@hows
def test_a_parent_that_waits_for_its_vforked_child_is_ended(tmp_path: Path, how: str, deaf: int) -> None:
    program = compiled(tmp_path, "vforked")
    scenario(
        f"""
reader, writer = os.pipe()
script = f"{program} {deaf} & echo; exec cat"
process = setsid.spawn(["sh", "-c", script], stdin=_lifeline[0], stdout=writer)
os.close(writer)
with open(reader) as file:
    parent, child = next(list(map(int, line.split())) for line in file if line.strip())
    until(lambda: (state(parent), state(child)) == ("D", "T"))
    report = (process if HOW == "Process" else setsid.Session(process.pid)).end({0.2 if deaf else 1000})
    check(report, [process.pid, parent, child])
    assert file.read().strip() == ""
process.wait()
""",
        how=how,
        timeout=60,
    )


# -- who does not end, and is told of


@hidden
@hows
def test_who_may_not_be_signalled_survives(how: str, hide_pidfd: bool) -> None:
    as_root("a process that its own user may not signal")
    scenario(
        """
import setsid._ending, setsid._hints, setsid._session
setsid._ending._PATIENCE = 1000  # nobody waits for them for ever
people = People("n", "", "gh")
setsid.EndReport, setsid.Session  # nobody may read what they come from
os.setresuid(65534, 65534, 65534)
check(people.end(0.2), [people.sid], people.others)
assert people.bury() == -signal.SIGTERM
with raises(PermissionError, errno=errno.EPERM):
    setsid.Session(people.sid).send_signal(signal.SIGUSR1)
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hows
def test_who_is_stuck_in_the_kernel_survives(how: str) -> None:
    as_root("a freezer cgroup")
    freezer = Path("/sys/fs/cgroup/freezer")
    if not (freezer / "cgroup.procs").exists():
        pytest.skip("without the cgroup v1 freezer nothing makes a process that SIGKILL does not end")
    cgroup = freezer / f"setsid-test-{os.getpid()}"
    cgroup.mkdir()
    try:
        scenario(
            f"""
import setsid._ending
setsid._ending._PATIENCE = 0.3
cgroup = Path({str(cgroup)!r})
people = People("", "", "gh")
stuck = people.others[0]
(cgroup / "cgroup.procs").write_text(str(stuck))
(cgroup / "freezer.state").write_text("FROZEN")
try:
    until(lambda: (cgroup / "freezer.state").read_text() == "FROZEN\\n")
    check(people.end(0.1), {{*people.all}} - {{stuck}}, [stuck])
finally:
    (cgroup / "freezer.state").write_text("THAWED")
assert people.hear_all() == [("TERM", people.others[1])]
until(lambda: not lives(stuck))
""",
            how=how,
        )
    finally:
        (cgroup / "freezer.state").write_text("THAWED")
        cgroup.rmdir()


@hidden
@hows
def test_who_has_left_the_session_is_named_and_lives(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
people = People("", "lh", "h", "l", "ol")
report = people.end(1000)
left = [pid for pid in people.others if lives(pid)]
assert len(left) == 3
assert {session_of(pid)["sid"] for pid in left} == set(left)
orphan = [pid for pid in left if pid not in report.escaped]
assert len(orphan) == 1  # its parent had ended before
check(report, set(people.all) - set(left), (), set(left) - set(orphan))
for pid in left:
    os.kill(pid, signal.SIGKILL)
assert len(people.hear_all()) == 1
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


# -- many


@pytest.mark.parametrize(
    ("how", "files", "kind"),
    [("Session", 64, ""), ("Session", 1024, "d"), ("Process", 64, "d")],
)
def test_a_thousand_are_ended_with_few_files_of_which_others_have_theirs(how: str, files: int, kind: str) -> None:
    scenario(
        f"""
with nothing_left():
    people = People("", *[{kind!r}] * 999)
    assert len(people.all) == 1000
    resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    over, counts = threading.Event(), []
    def others():
        try:
            while not over.is_set():
                opened = []
                try:
                    while len(opened) < 20:
                        opened.append(os.open("/dev/null", os.O_RDONLY))
                finally:
                    counts.append(len(opened))
                    for fd in opened:
                        os.close(fd)
        except OSError:
            pass  # the counts tell
    thread = threading.Thread(target=others)
    thread.start()
    report = people.end({0.5 if kind else 1000})
    over.set()
    thread.join()
    assert set(counts) == {{20}}, counts
    check(report, people.all)
    assert people.bury() == -signal.SIGTERM
    assert people.hear_all() == []
""",
        how=how,
        timeout=100,
    )


# -- what is refused


@pytest.mark.parametrize("use", ["end(0)", "end()", "send_signal(9)", "send_signal(0)"])
def test_the_callers_own_session_is_refused(use: str) -> None:
    scenario(
        f"""
got = []
for number in signal.SIGTERM, signal.SIGCONT:
    signal.signal(number, lambda number, frame: got.append(number))
people = People("u", process_group=setsid.INHERIT)
session = setsid.Session(os.getsid(0))
with raises(ValueError, f"session {{os.getsid(0)}} is the caller's own"):
    session.{use}
assert got == [] and lives(people.sid)
people.process.end()
"""
    )


@hidden
def test_the_callers_own_session_is_ended_if_that_is_meant_and_the_caller_last(hide_pidfd: bool) -> None:
    scenario(
        """
seen = []
signal.signal(signal.SIGTERM, lambda *_: seen.append(list(map(lives, others))))
people = People("", "gh", "d", process_group=setsid.INHERIT)
others = people.others + [people.sid]
assert os.getsid(people.sid) == os.getsid(0)
report = setsid.Session(os.getsid(0)).end(0.2, include_self=True)
check(report, others, [os.getpid()])
assert seen == [[False] * 3]
assert len(people.hear_all()) == 1
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("number", [9, 15])
def test_a_caller_that_lets_it_ends_by_the_signal_too(hide_pidfd: bool, number: int) -> None:
    scenario(
        f"""
reader, writer = os.pipe()
caller = setsid.fork(process_group=setsid.NEW_SESSION)
if caller is None:
    people = People("", "gh", "d", process_group=setsid.INHERIT)
    os.write(writer, b" ".join(b"%d" % pid for pid in people.all))
    setsid.Session(os.getsid(0)).end(0.2, signal={number}, include_self=True)
    os._exit(1)
os.close(writer)
assert caller.wait() == -{number}
pids = list(map(int, os.read(reader, 100).split()))
assert len(pids) == 3 and not any(map(lives, pids))
""",
        hide_pidfd=hide_pidfd,
    )


def test_session_0_and_that_of_process_1_are_refused(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        RAISES
        + """
def uses(number):
    for session in [setsid.Session(number)] * 3:
        for grace in 0, 5:
            yield lambda: session.end(grace)
        yield lambda: session.send_signal(9)
        yield lambda: session.send_signal(0)

assert os.getpid() == 1 and os.getsid(0) == 0
for use in uses(0):
    with raises(ValueError):
        use()
os.setsid()
reader, writer = os.pipe()
caller = setsid.fork(process_group=setsid.NEW_SESSION)
if caller is None:
    for use in uses(0):
        with raises(ValueError, "0 is no session"):
            use()
    for use in uses(1):
        with raises(ValueError, "session 1 holds process 1"):
            use()
    os._exit(0)
assert caller.wait() == 0
for use in uses(1):
    with raises(ValueError, "session 1 is the caller's own"):
        use()
for use in setsid.Session(1).end, setsid.Session(1).send_signal:
    with raises(ValueError, "session 1 holds process 1"):
        use(9, include_self=True)
""",
    )


def test_signals_and_graces_that_are_none_are_refused() -> None:
    scenario("""
people = People("", "")
for HOW in "Process", "Session":
    for number in 0, -1, 65, 1000:
        with raises(ValueError, f"there is no signal {number}"):
            people.end(1, signal=number)
    for grace in float("nan"), -1, -0.5:
        with raises(ValueError, "grace must be a number of seconds"):
            people.end(grace)
    with raises(TypeError, "grace must be a number of seconds"):
        people.end("1")
    with raises(TypeError):
        people.end(1, signal="TERM")
assert all(map(lives, people.all))
check(people.end(1000), people.all)
""")


# -- numbers that are others' by now


# For a helper in a pid namespace: two processes that start in one tick of the clock can't be told apart.
TICK = """
def tick():
    end = time.clock_gettime(time.CLOCK_BOOTTIME) + 2 / os.sysconf("SC_CLK_TCK")
    while time.clock_gettime(time.CLOCK_BOOTTIME) < end:
        os.sched_yield()

def bury(pids):
    "As the init that adopts them."
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
"""


def test_a_session_whose_number_was_taken_over_is_refused(need: Callable[..., str]) -> None:
    recycled(
        need,
        RAISES
        + TICK
        + PEOPLE
        + """
people = People("e", "")
session = setsid.Session(people.sid)
people.process.wait()
bury(people.others)
assert session.end(0) == setsid.EndReport((), ())
tick()
stranger = Stranger(people.sid, leader=True)
for use in (session.end, 0), (session.end, 5), (session.send_signal, 9), (session.send_signal, 0):
    with raises(setsid.SystemCallError, "its number is another session's", errno=errno.ESRCH):
        use[0](use[1])
assert people.process.end(0) == setsid.EndReport((), ())
assert stranger.exit_status() == 0
""",
        hide_pidfd=False,
    )


@hidden
@pytest.mark.parametrize("last", ["True", "False"], ids=["leader", "no leader"])
@pytest.mark.parametrize("phase", ["_signal_and_wait", "_kill_and_wait"])
def test_a_number_that_is_taken_over_while_its_session_ends_is_left_alone(
    need: Callable[..., str], hide_pidfd: bool, last: str, phase: str
) -> None:
    # The last look was long ago: no test can have all numbers used up in a moment.
    recycled(
        need,
        RAISES
        + TICK
        + PEOPLE
        + f"""
import setsid._ending
people = People("e", "d", "gd")
people.process.wait()
kill, strangers = setsid._ending.Members._kill_and_wait, []
def taken_over(*args):
    if not strangers:
        bury(people.others)
        tick()
        strangers.append(Stranger(people.sid, leader=True))
        if not {last}:
            os.kill(people.sid, signal.SIGKILL)
            until(lambda: state(people.sid) in (None, "Z"))
            members = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                       if lives(pid) and os.getsid(pid) == people.sid]
            until(lambda: state(people.sid) is None)
            assert len(members) == 1
            strangers.append(members[0])
        setsid._ending._TURN_OF_PIDS = 0
if {phase!r} == "_signal_and_wait":
    setsid._ending.wait_for_all = taken_over
else:
    setsid._ending.Members._kill_and_wait = lambda *args: taken_over() or kill(*args)
session = setsid.Session(people.sid)
report = session.end(0.2)
assert strangers
assert report.survived == () and report.escaped == (), report
if {last}:
    assert strangers[0].exit_status() == 0
else:
    assert lives(strangers[1])
""",
        hide_pidfd=hide_pidfd,
    )


# What C does with a member, and when: in the middle of its first or second getsid, before or after the kernel is asked.
# By number, what comes after the last question can't be seen.
MOMENTS = [
    ("end(1000)", 0, 0, False),
    ("end(1000)", 0, 1, False),
    ("end(1000)", 0, 0, True),
    ("send_signal(9)", 0, 0, False),
    ("send_signal(9)", 0, 1, False),
    ("send_signal(9)", 0, 0, True),
    ("end(0, signal=9)", 0, 0, False),
    ("end(0, signal=9)", 0, 1, False),
    ("end(0, signal=9)", 1, 0, False),
    ("end(0, signal=9)", 1, 1, False),
    ("end(0, signal=9)", 0, 0, True),
    ("end(0, signal=9)", 0, 1, True),
    ("end(0, signal=9)", 1, 0, True),
]


@pytest.mark.parametrize(("use", "turn", "after", "hide_pidfd"), MOMENTS)
def test_a_stranger_with_a_members_number_is_not_hit(
    need: Callable[..., str], tmp_path: Path, hide_pidfd: bool, use: str, turn: int, after: int
) -> None:
    # The member ends at that moment, and a stranger gets its number.
    as_root("a pid namespace")
    library = compiled(tmp_path, "between", "-shared", "-fPIC")
    recycled(
        need,
        RAISES
        + TICK
        + PEOPLE
        + f"""
between = ctypes.CDLL({str(library)!r})
people = People("e", "", "o", "g")
people.process.wait(reap=False)
victim = people.others[1]
asked, strangers = 0, []
@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_int)
def called(pid, after):
    global asked
    if pid != victim or not armed or strangers:
        return
    if (asked, after) == ({turn}, {after}):
        os.kill(victim, signal.SIGKILL)
        os.waitpid(victim, 0)
        strangers.append(Stranger(victim, leader=True))
    asked += after
armed = False
between.between_call(called)
class Armed(Lib):
    def sid_kill_members(self, *args):
        global armed
        armed = True
        return lib.sid_kill_members(*args)
    def sid_signal_member(self, scope, number, pid, *args):
        global armed
        armed = pid == victim
        return lib.sid_signal_member(scope, number, pid, *args)
Armed()
session = setsid.Session(people.sid)
session.{use}
assert strangers, asked
assert lives(victim)
assert strangers[0].exit_status() == 0
people.bury()
""",
        hide_pidfd=hide_pidfd,
        env={**os.environ, "LD_PRELOAD": str(library)},
    )


# -- send_signal


@hidden
def test_a_signal_reaches_each_member_once(hide_pidfd: bool) -> None:
    scenario(
        """
people = People("u", "u", "gu", "ou", "z", "lu")
members = [pid for pid in people.all if os.getsid(pid) == people.sid and lives(pid)]
assert len(members) == 4
session = setsid.Session(people.sid)
session.send_signal(signal.SIGUSR1)
assert sorted(people.hear() for _ in members) == [("USR1", pid) for pid in members]
session.send_signal(0)
check(session.end(1000), members, (), [pid for pid in people.all if lives(pid) and pid not in members])
for pid in people.others:
    if lives(pid):
        os.kill(pid, signal.SIGKILL)
assert people.hear_all() == []
with raises(setsid.SystemCallError, f"no process of session {people.sid} lives", errno=errno.ESRCH, call="kill"):
    session.send_signal(0)  # the leader is a zombie
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_member_whom_the_first_look_has_missed_gets_the_signal_too(hide_pidfd: bool) -> None:
    scenario(
        """
import setsid._session
people = People("u", "u", "u")
look, missed = setsid._session.look, []
def misses(*args):
    rows = look(*args)
    if not missed:
        missed.append(rows.pop())
    return rows
setsid._session.look = misses
setsid.Session(people.sid).send_signal(signal.SIGUSR1)
assert sorted(people.hear() for _ in people.all) == [("USR1", pid) for pid in people.all]
people.process.end()
assert people.hear_all() == []
""",
        hide_pidfd=hide_pidfd,
    )


def test_who_is_born_meanwhile_is_not_waited_for() -> None:
    # Were they signalled too, that would go on for as long as somebody forks.
    scenario(
        """
people = People("u", "u")
born = []
def bears(*args):
    if len(born) < 200:
        tick_end = time.clock_gettime(time.CLOCK_BOOTTIME) + 0.03
        while time.clock_gettime(time.CLOCK_BOOTTIME) < tick_end:
            os.sched_yield()
        born.append(os.fork())
        if born[-1] == 0:
            os.setpgid(0, 0)
            os.read(_lifeline[0], 1)
            os._exit(0)
    return lib.sid_signal_member(*args)
Lib(sid_signal_member=bears)
signal.signal(signal.SIGUSR1, lambda *_: None)
people = People("u", "u", process_group=setsid.INHERIT)
setsid.Session(os.getsid(0)).send_signal(signal.SIGUSR1, include_self=True)
assert len(born) == 3
assert sorted(people.hear() for _ in people.all) == [("USR1", pid) for pid in people.all]
for pid in born:
    os.kill(pid, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
""",
        timeout=30,
    )


def test_a_signal_that_is_none_is_an_error() -> None:
    scenario("""
people = People("", "")
for number in -1, 65, 1000:
    with raises(setsid.SystemCallError, errno=errno.EINVAL, call="pidfd_send_signal") as error:
        setsid.Session(people.sid).send_signal(number)
with raises(TypeError):
    setsid.Session(people.sid).send_signal("TERM")
assert all(map(lives, people.all))
people.process.end()
""")


@hidden
def test_those_that_may_be_signalled_are_though_others_may_not(hide_pidfd: bool) -> None:
    as_root("a process that its own user may not signal")
    scenario(
        """
import setsid._session, setsid._hints
people = People("nu", "u", "gu")
setsid.Session  # nobody may read what it comes from
os.setresuid(65534, 65534, 65534)
session = setsid.Session(people.sid)
session.send_signal(signal.SIGUSR1)
assert people.hear() == ("USR1", people.sid)
people.process.kill()
people.process.wait(reap=False)
with raises(PermissionError, errno=errno.EPERM):
    session.send_signal(signal.SIGUSR1)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_signal_to_the_callers_own_session_reaches_the_caller_last(hide_pidfd: bool) -> None:
    scenario(
        """
reader, writer = os.pipe()
caller = setsid.fork(process_group=setsid.NEW_SESSION)
if caller is None:
    people = People("", "", "g", process_group=setsid.INHERIT)
    os.write(writer, b" ".join(b"%d" % pid for pid in people.all))
    setsid.Session(os.getsid(0)).send_signal(signal.SIGTERM, include_self=True)
    os._exit(1)
os.close(writer)
assert caller.wait() == -signal.SIGTERM
pids = list(map(int, os.read(reader, 100).split()))
assert len(pids) == 3
until(lambda: not any(map(lives, pids)))
""",
        hide_pidfd=hide_pidfd,
    )


# -- interruptions, several at once, without /proc, in event loops


@hows
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_an_end_that_is_interrupted_at_any_call_ends_all_at_once(how: str, late: bool) -> None:
    scenario(
        f"""
class Interrupting(Lib):
    left = 0
    def __getattr__(self, name):
        call = getattr(lib, name)
        if not name.startswith("sid_"):
            return call
        def interrupted(*args):
            self.__dict__["left"] -= 1
            if self.left == 0 and not {late}:
                os.kill(os.getpid(), signal.SIGINT)
            result = call(*args)
            if self.left == 0 and {late}:
                os.kill(os.getpid(), signal.SIGINT)
            return result
        return interrupted
    sid_close_counted = lib.sid_close_counted  # by a destructor, in which no Python code runs
import functools, gc, setsid._ending
setsid._ending.partial = lambda _, child: functools.partial(lib.sid_stay_no_longer, child)  # likewise
interrupting = Interrupting()
signal.signal(signal.SIGINT, signal.default_int_handler)
for at in range(1, 200):
    with nothing_left():
        people = People("", "d", "g")
        interrupting.__dict__["left"] = 0
        session = setsid.Session(people.sid)
        interrupting.__dict__["left"] = at
        try:
            report = people.process.end(0.02) if HOW == "Process" else session.end(0.02)
        except KeyboardInterrupt:
            report = None
        if ON_PYPY:  # where what was interrupted gives the child back when its holder goes
            gc.collect()
        assert interrupting.left <= 0 or report is not None
        interrupting.__dict__["left"] = 0
        if HOW == "Process" and people.process.returncode is None and any(map(lives, people.all)):
            raise AssertionError(f"{{at}}: somebody lives")
        assert not any(map(lives, people.all)), at
        people.bury()
        assert people.hear_all() == []
    if report is not None:
        break
assert 10 < at < 199, at
""",
        how=how,
    )


@hidden
@hows
def test_several_threads_may_end_it_at_once_and_again(how: str, hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    people = People("", *["d", "gh"] * 20)
    reports = []
    session = setsid.Session(people.sid)
    ways = [people.process.end, session.end, session.end] if HOW == "Process" else [session.end] * 3
    threads = [threading.Thread(target=lambda end=end: reports.append(end(0.3))) for end in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(reports) == 3
    assert {pid for report in reports for pid in report.ended} == set(people.all)
    assert {(report.survived, report.escaped) for report in reports} == {((), ())}
    assert not any(map(lives, people.all))
    check(people.end(1000), [])
    said = people.hear_all()  # twice by one that gets a second signal as it ends
    assert set(said) == {("TERM", pid) for pid in people.others[1::2]}
    people.bury()
""",
        how=how,
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


def test_without_a_proc_a_session_can_not_be_ended_but_a_childs_group_can(need: Callable[..., str]) -> None:
    as_root("a pid namespace")
    fresh(
        RAISES
        + """
def member(group):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.setpgid(0, group)
        os.write(writer, b"x")
        os.read(stdin, 1)
        os._exit(0)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    return pid, reader

stdin, keep = os.pipe()
process = setsid.fork(process_group=setsid.NEW_SESSION)
if process is None:
    os.read(stdin, 1)
    os._exit(0)
session = setsid.Session(process.pid)
for use in session.end, session.send_signal:
    with raises(FileNotFoundError, errno=errno.ENOENT, filename="/proc"):
        use(9)
assert process.poll() is None
with raises(FileNotFoundError, errno=errno.ENOENT, filename="/proc"):
    process.end(1000)
assert process.returncode == -signal.SIGTERM

process = setsid.fork(process_group=0)
if process is None:
    os.read(stdin, 1)
    os._exit(0)
(same, same_ended), (other, other_ended) = member(process.pid), member(0)
with raises(FileNotFoundError, errno=errno.ENOENT, filename="/proc"):
    process.end(1000)
assert process.returncode == -signal.SIGTERM
assert os.waitstatus_to_exitcode(os.waitpid(same, 0)[1]) == -signal.SIGTERM
assert os.waitpid(other, os.WNOHANG) == (0, 0)
""",
        wrapper=(need("unshare"), "--pid", "--fork", "--kill-child"),
        timeout=60,
    )


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", ["", "d"])
def test_three_hundred_are_ended_in_an_event_loop_that_goes_on(loop: str, kind: str) -> None:
    pytest.importorskip(loop, reason=f"{loop} is not installed")
    scenario(
        f"""
import asyncio, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import {loop}
warnings.simplefilter("error")

async def beat(beats):
    while True:
        beats.append(1)
        await asyncio.sleep(0)

async def main():
    people, beats = People("", *[{kind!r}] * 299), []
    beating = asyncio.ensure_future(beat(beats))
    report = await people.process.end_async({0.3 if kind else 1000})
    beating.cancel()
    assert len(people.all) == 300 and beats
    check(report, people.all)
    assert people.bury() == -signal.SIGTERM
    assert people.hear_all() == []

{loop}.new_event_loop().close()  # what stays open ever after
with nothing_left():
    loop = {loop}.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
""",
        timeout=60,
    )


# -- what a reviewer has found


def test_a_signal_reaches_each_of_many_members() -> None:
    # Memory that is freed too early is overwritten at once.
    fresh(
        """
reader, writer = os.pipe()
script = "i=0; while [ $i -lt 500 ]; do sleep 60 & i=$((i + 1)); done; echo; exec sleep 60"
process = setsid.spawn(["sh", "-c", script], stdout=writer)
os.close(writer)
assert os.read(reader, 1) == b"\\n"
process.session.send_signal(signal.SIGKILL)
assert os.read(reader, 1) == b""  # all have ended
assert process.wait() == -signal.SIGKILL
process.close()
""",
        env={**os.environ, "MALLOC_PERTURB_": "85"},
    )


# A filter that refuses pidfd_open, as that of a container's runtime that does not know it.
REFUSED = """
import ctypes, platform, struct
number = 434
code = b"".join(struct.pack("=HBBI", *line) for line in (
    (0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | int(sys.argv[1])), (0x06, 0, 0, 0x7FFF0000)))
code = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("@HP", 4, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)

def refuse_pidfd_open():
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()

def deaf():
    reader, writer = os.pipe()
    script = "trap '' TERM; sleep 60 & echo; sleep 60"
    process = setsid.spawn(["sh", "-c", script], stdout=writer)
    os.close(writer)
    assert os.read(reader, 1) == b"\\n"
    return process, reader
"""


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOMEM, errno.ENOSYS], ids=errno.errorcode.get)
def test_where_pidfd_open_is_refused_all_are_ended_by_number(number: int) -> None:
    fresh(
        REFUSED
        + """
for ends in lambda process: process.session.end(0.1), lambda process: process.end(0.1):
    process, reader = deaf()
    if ends and not os.environ.get("REFUSED"):
        refuse_pidfd_open()
        os.environ["REFUSED"] = "1"
    report = ends(process)
    assert report.survived == () and process.pid in report.ended and len(report.ended) >= 2, report
    assert os.read(reader, 1) == b""  # nobody has the pipe any more
    assert process.wait() == -signal.SIGKILL
    process.close()
""",
        number,
    )
