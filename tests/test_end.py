"""Process.end and signal_group: what the child leads is ended, and never what holds the caller."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios import ASLEEP, RAISES, hidden, recycled
from support import fresh

# For a helper: a child with members of its session, each described by letters: g leads a group of its own, d is deaf
# to SIGTERM, s is stopped, r stays root. All end by themselves when the helper does: they read from a pipe of its.
FAMILY = """
import resource, select

SOURCE = '''
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler only notes it, and read may begin just then
def live(kind, ready):
    if "g" in kind: os.setpgid(0, 0)
    if "d" in kind: signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(ready, b"x")
    if "s" in kind: os.kill(os.getpid(), signal.SIGSTOP)
    os.read(0, 1)
    os._exit(0)
pids = []
for kind in sys.argv[2:]:
    reader, writer = os.pipe()
    pids.append(os.fork())
    if not pids[-1]:
        live(kind, writer)
    os.read(reader, 1)
    if "s" in kind: os.waitpid(pids[-1], os.WUNTRACED)
leader = sys.argv[1]
if "u" in leader: os.setresuid(65534, 65534, 65534)
if "d" in leader: signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(1, " ".join(map(str, pids)).encode() + b"\\\\n")
if "e" in leader: os._exit(5)
if "s" in leader: os.kill(os.getpid(), signal.SIGSTOP)
os.read(0, 1)
'''
_lifeline = os.pipe()

def family(leader, *members, **changes):
    reader, writer = os.pipe()
    argv = [sys.executable, "-ISc", SOURCE, leader, *members]
    process = setsid.spawn(argv, stdin=_lifeline[0], stdout=writer, **changes)
    os.close(writer)
    with open(reader) as file:
        pids = [int(pid) for pid in file.readline().split()]
    if "e" in leader:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    if "s" in leader:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert [lives(pid) for pid in pids] == [True] * len(pids)
    return process, pids

def lives(pid):
    try:
        return status(pid)["State"][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

"""

# For a helper: returns once the main thread of `pid` has ended and another one lives.
BEHEADED = """
def until_beheaded(pid):
    deadline = time.monotonic() + 30
    while True:
        facts = status(pid)
        if facts["State"].startswith("Z") and facts["Threads"] == "2":
            return
        assert time.monotonic() < deadline, facts
"""


def scenario(source: str, *, hide_pidfd: bool = False, timeout: float = 120) -> None:
    """Run `source` with `family` and `lives`."""
    fresh(RAISES + FAMILY + source, hide_pidfd=hide_pidfd, timeout=timeout)


# -- what is ended


@hidden
def test_the_session_that_the_child_leads_is_ended_whatever_groups_it_has(hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    process, pids = family("", "", "g", "g", "")
    report = process.end()
    assert (report.ended, report.survived) == (tuple(sorted([process.pid, *pids])), ())
    assert [lives(pid) for pid in pids] == [False] * 4
    assert (process.returncode, children()) == (-signal.SIGTERM, [])
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_those_that_ignore_the_signal_are_killed_after_the_grace(hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    for leader, members, expected in [("d", ["d", "gd", ""], -9), ("", ["gd"], -15), ("d", [""], -9)]:
        process, pids = family(leader, *members)
        report = process.end(grace=0.2)
        assert (report.ended, report.survived) == (tuple(sorted([process.pid, *pids])), ())
        assert [lives(pid) for pid in pids] == [False] * len(pids)
        assert process.returncode == expected
        process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("grace", ["0", "0.0"])
def test_no_grace_still_ends_everything(hide_pidfd: bool, grace: str) -> None:
    scenario(
        f"""
process, pids = family("d", "gd")
assert process.end({grace}).survived == ()
assert [lives(pid) for pid in pids] == [False]
assert process.returncode == -9
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_the_first_signal_is_of_the_callers_choice(hide_pidfd: bool) -> None:
    scenario(
        """
process, pids = family("d", "d")
assert process.end(60, signal=signal.SIGINT).ended == tuple(sorted([process.pid, *pids]))
assert process.returncode == -signal.SIGINT
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_stopped_processes_are_continued_and_so_end_by_the_first_signal(hide_pidfd: bool) -> None:
    scenario(
        """
process, pids = family("s", "s", "gs")
report = process.end(1000)
assert (report.ended, report.survived) == (tuple(sorted([process.pid, *pids])), ())
assert process.returncode == -signal.SIGTERM
""",
        hide_pidfd=hide_pidfd,
        timeout=30,  # long before the grace is over: SIGKILL had no part in it
    )


@hidden
def test_the_session_of_a_leader_that_has_ended_is_ended(hide_pidfd: bool) -> None:
    scenario(
        """
for look in lambda: None, lambda: process.wait(reap=False), lambda: process.wait_change():
    with nothing_left():
        process, pids = family("e", "", "g")
        look()
        report = process.end()
        assert (report.ended, report.survived) == (tuple(sorted(pids)), ())
        assert [lives(pid) for pid in pids] == [False, False]
        assert (process.returncode, children()) == (5, [])
        process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_the_group_that_the_child_leads_is_ended_and_no_other(hide_pidfd: bool) -> None:
    scenario(
        """
with nothing_left():
    process, (same, other) = family("", "", "g", process_group=0)
    report = process.end()
    assert (report.ended, report.survived) == (tuple(sorted([process.pid, same])), ())
    assert [lives(same), lives(other)] == [False, True]
    assert process.returncode == -signal.SIGTERM
    os.kill(other, 9)
    process.close()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("leader", ["", "d", "s"])
def test_a_child_that_leads_nothing_is_ended_alone(hide_pidfd: bool, leader: str) -> None:
    # The helper leads its session and its group: all that end() may not touch hangs on it.
    scenario(
        f"""
got = []
for number in signal.SIGTERM, signal.SIGCONT, signal.SIGHUP, signal.SIGINT:
    signal.signal(number, lambda number, frame: got.append(number))
assert os.getpid() == os.getsid(0) == os.getpgrp()
sibling, cousins = family("", "", "g", process_group=setsid.INHERIT)
process, pids = family({leader!r}, "", "g", process_group=setsid.INHERIT)
assert (os.getsid(process.pid), os.getpgid(process.pid)) == (os.getsid(0), os.getpgrp())
assert process.session is None
report = process.end(0.2)
assert (report.ended, report.survived) == ((process.pid,), ())
assert process.returncode == (-9 if {leader!r} == "d" else -15)
assert [lives(pid) for pid in (sibling.pid, *cousins, *pids)] == [True] * 5
assert got == []
for pid in cousins + pids:
    os.kill(pid, 9)
sibling.kill()
sibling.wait()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_child_that_joined_a_strangers_group_is_ended_alone(hide_pidfd: bool) -> None:
    scenario(
        """
anchor, _ = family("", process_group=0)
process, (same,) = family("", "", process_group=anchor.pid)
report = process.end()
assert (report.ended, report.survived) == ((process.pid,), ())
assert [lives(anchor.pid), lives(same)] == [True, True]
assert anchor.end().ended == tuple(sorted([anchor.pid, same]))
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_caller_in_the_childs_group_ends_the_child_alone(hide_pidfd: bool) -> None:
    # A session leader can't change its group, so the caller is a forked process.
    scenario(
        """
caller = os.fork()
if caller == 0:
    process, (same,) = family("", "", process_group=0)
    os.setpgid(0, process.pid)
    with raises(ValueError, "own process group"):
        process.signal_group(signal.SIGTERM)
    report = process.end()
    assert (report.ended, report.survived) == ((process.pid,), ())
    assert lives(same)
    os.kill(same, 9)
    os._exit(0)
assert os.waitpid(caller, 0) == (caller, 0)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_deaf_members_are_killed_though_another_thread_waits_for_the_leader_that_ends_first(hide_pidfd: bool) -> None:
    scenario(
        ASLEEP
        + """
with nothing_left():
    process, pids = family("", "d", "gd")
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(process.wait()))
    thread.start()
    until_asleep(thread.native_id)
    report = process.end(0.2)
    assert (report.ended, report.survived) == (tuple(sorted([process.pid, *pids])), ())
    assert [lives(pid) for pid in pids] == [False, False]
    thread.join()
    assert (statuses, process.returncode) == ([-signal.SIGTERM], -signal.SIGTERM)
    process.close()
""",
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@hidden
@pytest.mark.parametrize("wait", ["wait()", "wait(60)", "poll()"])
def test_no_other_thread_frees_the_leaders_number_while_end_is_at_work(hide_pidfd: bool, wait: str) -> None:
    # The member is deaf and the grace is long, so the leader has ended and `end` is not over until the thread says so.
    scenario(
        ASLEEP
        + f"""
with nothing_left():
    process, (deaf,) = family("", "d")
    seen = []
    def look():
        if {wait!r} == "poll()":
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seen.append((process.{wait}, children()))
        os.kill(deaf, signal.SIGKILL)
    thread = threading.Thread(target=look)
    thread.start()
    until_asleep(thread.native_id)
    assert process.end(1000).ended == tuple(sorted([process.pid, deaf]))
    thread.join()
    assert seen == [(-signal.SIGTERM, [process.pid])]  # a zombie by then
    process.close()
""",
        hide_pidfd=hide_pidfd,
        timeout=60,
    )


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose main thread has ended while another lives: it looks like a zombie."""
    program = tmp_path_factory.mktemp("headless") / "headless"
    source = Path(__file__).resolve().parent / "native" / "headless.c"
    subprocess.run(["cc", "-pthread", str(source), "-o", str(program)], check=True)
    return program


@hidden
@pytest.mark.parametrize("group", ["setsid.NEW_SESSION", "0", "setsid.INHERIT"])
def test_a_leader_whose_main_thread_alone_has_ended_is_ended(headless: Path, hide_pidfd: bool, group: str) -> None:
    scenario(
        BEHEADED
        + f"""
with nothing_left():
    process = setsid.spawn([{str(headless)!r}], stdin=(ends := os.pipe())[0], process_group={group})
    until_beheaded(process.pid)
    report = process.end(1000)
    assert (report.ended, report.survived) == ((process.pid,), ())
    assert process.returncode == -signal.SIGTERM
    process.close()
    for fd in ends:
        os.close(fd)
""",
        hide_pidfd=hide_pidfd,
        timeout=30,  # long before the grace is over: SIGKILL had no part in it
    )


@hidden
def test_a_member_whose_main_thread_alone_has_ended_is_ended(headless: Path, hide_pidfd: bool) -> None:
    scenario(
        BEHEADED
        + f"""
reader, writer = os.pipe()
script = '"$0" <&3 & echo $!; read line'
process = setsid.spawn(["sh", "-c", script, {str(headless)!r}], stdin=_lifeline[0], stdout=writer,
                       pass_fds={{3: _lifeline[0]}})
os.close(writer)
with open(reader) as file:
    member = int(file.readline())
    until_beheaded(member)
    report = process.end(1000)
    assert (report.ended, report.survived) == (tuple(sorted([process.pid, member])), ())
    assert file.read() == ""  # nobody has a copy of its stdout any more
assert process.returncode == -signal.SIGTERM
""",
        hide_pidfd=hide_pidfd,
        timeout=30,
    )


@hidden
def test_ending_a_reaped_process_does_nothing(hide_pidfd: bool) -> None:
    scenario(
        """
process, pids = family("e")
assert process.wait() == 5
report = process.end()
assert (report.ended, report.survived) == ((), ())
assert process.returncode == 5
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_ending_twice_reports_nothing_more(hide_pidfd: bool) -> None:
    scenario(
        """
process, pids = family("", "")
assert len(process.end().ended) == 2
assert process.end() == setsid.EndReport((), ())
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_session_larger_than_the_number_of_files_we_may_open_is_ended(hide_pidfd: bool) -> None:
    scenario(
        """
process, pids = family("", *[""] * 30)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
report = process.end(30)
assert (report.ended, report.survived) == (tuple(sorted([process.pid, *pids])), ())
assert process.returncode == -signal.SIGTERM
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_processes_that_we_may_not_signal_are_reported_as_survivors(hide_pidfd: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can start a process that its own user may not signal")
    scenario(
        """
import setsid._ending
setsid._ending._PATIENCE = 0.2
process, pids = family("u", "", "g")
os.setresuid(65534, 65534, 65534)
report = process.end(0.2)
assert (report.ended, report.survived) == ((process.pid,), tuple(sorted(pids)))
assert [lives(pid) for pid in pids] == [True, True]
assert process.returncode == -signal.SIGTERM
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_grace_that_is_no_length_of_time_is_refused() -> None:
    scenario("""
process, pids = family("")
for grace in float("nan"), -1, -0.5:
    with raises(ValueError, "grace must be a number of seconds"):
        process.end(grace)
with raises(TypeError):
    process.end("1")
assert process.poll() is None
process.end()
""")


@pytest.mark.parametrize("number", ["-1", "65", "'TERM'"])
def test_a_signal_that_is_none_is_refused_by_end(number: str) -> None:
    scenario(f"""
process, pids = family("", "")
with raises((ValueError, TypeError, OSError)):
    process.end(signal={number})
assert process.poll() is None
process.end()
""")


def test_the_session_is_the_one_that_the_child_leads() -> None:
    scenario("""
process, _ = family("")
assert process.session == setsid.Session(process.pid)
assert process.session.sid == os.getsid(process.pid)
process.end()
group, _ = family("", process_group=0)
assert group.session is None
group.end()
""")


# -- signal_group


@hidden
def test_a_signal_to_the_group_reaches_all_its_members_and_no_others(hide_pidfd: bool) -> None:
    scenario(
        """
process, (same, other) = family("", "", "g")
pidfd = os.pidfd_open(same)
process.signal_group(0)
process.signal_group(signal.SIGUSR1)
assert process.wait() == -signal.SIGUSR1
select.select([pidfd], [], [])
assert lives(other)
os.kill(other, 9)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_signal_to_the_callers_own_group_is_refused(hide_pidfd: bool) -> None:
    scenario(
        """
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
process, _ = family("", process_group=setsid.INHERIT)
for number in 0, signal.SIGUSR1, signal.SIGKILL:
    with raises(ValueError, f"process {process.pid} is in the caller's own process group, {os.getpgrp()}"):
        process.signal_group(number)
assert (process.poll(), got) == (None, [])
process.end()
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_zombies_group_can_still_be_signalled_and_a_reaped_ones_can_not(hide_pidfd: bool) -> None:
    scenario(
        """
process, (same,) = family("e", "")
process.wait(reap=False)
process.signal_group(0)
process.wait()
with raises(ProcessLookupError, f"process {process.pid} has been reaped", errno=errno.ESRCH, call="kill"):
    process.signal_group(signal.SIGTERM)
assert lives(same)
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_signal_that_is_none_is_refused_for_a_group_too(hide_pidfd: bool) -> None:
    scenario(
        """
process, _ = family("")
with raises(setsid.SystemCallError, errno=errno.EINVAL, call="kill"):
    process.signal_group(65)
with raises(TypeError):
    process.signal_group("TERM")
assert process.poll() is None
process.end()
""",
        hide_pidfd=hide_pidfd,
    )


# -- numbers that belong to others by now


@hidden
@pytest.mark.parametrize("known", ["process.wait(reap=False)", "process.wait_change()", "None"])
@pytest.mark.parametrize("use", ["process.end(0)", "process.signal_group(signal.SIGKILL)"])
def test_what_a_number_leads_that_was_reaped_elsewhere_is_left_alone(
    need: Callable[..., str], hide_pidfd: bool, known: str, use: str
) -> None:
    recycled(
        need,
        f"""
process = setsid.spawn(["true"])
{known}
status = os.waitpid(process.pid, 0)[1]
stranger = Stranger(process.pid, leader=True)
try:
    {use}
except (ChildProcessError, ProcessLookupError):
    pass
process.reaped(status)
assert stranger.exit_status() == 0
""",
        hide_pidfd=hide_pidfd,
    )


# -- end and others at once

DEAF = """
def deaf(**changes):
    reader, writer = os.pipe()
    script = "trap '' TERM; echo; while :; do sleep 0.01; done"
    process = setsid.spawn(["sh", "-c", script], stdout=writer, **changes)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    return process
"""


@pytest.mark.parametrize("changes", ["{}", "dict(process_group=setsid.INHERIT)"], ids=["session", "alone"])
def test_a_handle_that_is_closed_meanwhile_does_not_keep_end_from_killing(changes: str) -> None:
    fresh(
        DEAF
        + f"""
import setsid._ending
process = deaf(**{changes})
ended = setsid._ending.Members.end
def closing(self, *args):
    process.close()
    return ended(self, *args)
setsid._ending.Members.end = closing
report = process.end(0.1)
assert process.pid in report.ended and report.survived == ()
assert process.returncode == -9 and children() == []
"""
    )


def test_a_spawn_does_not_forget_a_closed_child_that_an_end_still_needs() -> None:
    fresh(
        DEAF
        + """
import setsid._ending
process = setsid.spawn(["sh", "-c", "trap '' TERM; sleep 60 & exec sleep 60"], process_group=setsid.NEW_SESSION)
killed = setsid._ending.Members._kill_and_wait
def closing(self, *args):
    process.kill()
    process.wait(reap=False)
    process.close()
    with setsid.spawn(["true"]):
        pass
    assert process.pid in children()  # a zombie, so that nobody gets its number
    return killed(self, *args)
setsid._ending.Members._kill_and_wait = closing
assert process.end(0.1).survived == ()
with setsid.spawn(["true"]):
    pass
assert children() == []
"""
    )


@pytest.mark.parametrize(
    "call", ["sid_is_ours", "sid_stay_for", "sid_watch_child", "sid_signal_member", "sid_watch_member"]
)
def test_an_end_that_is_interrupted_ends_all_at_once(call: str) -> None:
    fresh(
        f"""
import setsid._ending
class Lib:
    interrupted = False
    def __getattr__(self, name):
        return getattr(lib, name)
    def {call}(self, *args):
        result = lib.{call}(*args)
        if not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt
        return result
setsid._ending.lib = setsid._processes.lib = Lib()
with nothing_left():
    reader, writer = os.pipe()
    process = setsid.spawn(["sh", "-c", "trap '' TERM; sleep 60 & echo; sleep 60"], stdout=writer)
    os.close(writer)
    assert os.read(reader, 1) == b"\\n"
    try:
        process.end()
    except KeyboardInterrupt:
        assert process.returncode == -9 and children() == []
    else:
        raise AssertionError
    assert os.read(reader, 1) == b""  # the grandchild has ended too
    os.close(reader)
    process.close()
"""
    )


def test_a_member_that_comes_back_costs_no_file_descriptor() -> None:
    fresh(
        """
import setsid._ending
with nothing_left():
    process = setsid.spawn(["sleep", "60"])
    members = setsid._ending._ChildsMembers(process._child)
    assert len(members._watch([process.pid])) == 1
    assert members._watch([]) == set()
    assert len(members._watch([process.pid])) == 1
    del members
    process.end()
    process.close()
"""
    )


@pytest.mark.parametrize("free", [0, 1, 2])
def test_without_files_to_look_with_at_least_the_child_is_ended(free: int) -> None:
    result = fresh(
        """
import resource
process = setsid.spawn(["sleep", "60"])
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
import setsid._ending
take_files(int(sys.argv[1]))
try:
    report = process.end(30)
    print("told", report.survived == ())
except OSError as error:
    print("raised", error.errno == errno.EMFILE)
assert process.returncode == -signal.SIGTERM and children() == []
""",
        free,
    )
    assert result.stdout.split()[1] == "True"


def test_a_proc_of_another_pid_namespace_is_not_believed(need: Callable[..., str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("a pid namespace needs root")
    fresh(
        """
process = setsid.spawn(["sleep", "60"])
try:
    process.end(30)
except FileNotFoundError as error:
    assert error.filename == "/proc"
else:
    raise AssertionError("end believed a strange /proc")
assert process.returncode == -signal.SIGTERM
""",
        wrapper=(need("unshare"), "--pid", "--fork", "--kill-child"),
    )


def test_a_forked_process_is_told_whose_child_it_is() -> None:
    fresh(
        """
process = setsid.spawn(["sleep", "60"])
if os.fork() == 0:
    try:
        process.signal_group(0)
    except ProcessLookupError as error:
        told = error.hint == f"process {process.pid} is a child of process {os.getppid()}, not of this one"
        os._exit(0 if told else 1)
    os._exit(2)
assert os.wait()[1] == 0
process.end()
"""
    )
