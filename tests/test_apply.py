"""ChildSetup.apply: a plan carried out in a process that is there already."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import strace
from scenarios import RAISES
from support import fresh

PRELUDE = """
import resource, threading
from facts import changed, everything, forked
from setsid import INHERIT, NEW_SESSION, ChildSetup, Stage

def in_child(act):  # which may change what it likes
    return forked(act, sys.argv[1] + "/told")
"""
# What each field changes, by the names of facts.everything.
CHANGES = {
    "nothing": ("", set[str]()),
    "INHERIT": ("process_group=INHERIT", set[str]()),
    "a new session": ("process_group=NEW_SESSION", {"pgid", "sid"}),
    "a group": ("process_group=0", {"pgid"}),
    "a terminal": ("process_group=NEW_SESSION, ctty=terminal", {"pgid", "sid", "tty"}),
    "release_ctty": ("release_ctty=True", set[str]()),
    "streams": ("stdin=setsid.DEVNULL, stdout=terminal, stderr=setsid.STDOUT", {"fds"}),
    "pass_fds": ("pass_fds={50: 60, 60: 50}", {"fds"}),
    "close_fds": ("close_fds=True", {"fds"}),
    "cwd": ("cwd='/usr'", {"cwd"}),
    "cwd by descriptor": ("cwd=directory", {"cwd"}),
    "umask": ("umask=0o137", {"Umask"}),
    "rlimits": ("rlimits={resource.RLIMIT_NOFILE: (100, 200)}", {"limits"}),
    "nice": ("nice=3", {"nice"}),
    "cpu_affinity": ("cpu_affinity={min(os.sched_getaffinity(0))}", {"Cpus_allowed"}),
    "oom_score_adj": ("oom_score_adj=777", {"oom_score_adj"}),
    "no_new_privileges": ("no_new_privileges=True", {"NoNewPrivs"}),
    "parent_death_signal": ("parent_death_signal=signal.SIGTERM", {"parent_death_signal"}),
    "signal_mask": ("signal_mask={signal.SIGUSR2}", {"SigBlk"}),
    "default_signals": ("default_signals={signal.SIGTERM}", {"SigCgt", "handlers"}),
    "ignore_signals": ("ignore_signals={signal.SIGUSR2}", {"SigIgn", "handlers"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_only_what_is_said_is_changed(name: str, tmp_path: Path) -> None:
    said, names = CHANGES[name]
    if name == "cpu_affinity":
        said, names = f"{said} if len(os.sched_getaffinity(0)) > 1 else None", names | {"-"}
    fresh(
        PRELUDE
        + f"""
manager, terminal = os.openpty()
directory = os.open("/usr", os.O_RDONLY)
for number in (50, 60):
    os.dup2(terminal if number == 60 else 0, number, inheritable=False)
signal.signal(signal.SIGTERM, print)
signal.signal(signal.SIGTSTP, print)
signal.pthread_sigmask(signal.SIG_SETMASK, {{signal.SIGUSR1}})

def apply():
    before = everything()
    ChildSetup({said}).apply()
    return sorted(changed(before, everything()))

expected = {sorted(names)!r}
if "-" in expected:  # with one processor there is nothing to change
    expected = ["Cpus_allowed"] if len(os.sched_getaffinity(0)) > 1 else []
assert in_child(apply) == expected
""",
        tmp_path,
    )


def test_pythons_handlers_stay_and_run_and_stop_signals_are_left_alone(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
caught = []
numbers = [signal.SIGTERM, signal.SIGTSTP, signal.SIGCONT, signal.SIGUSR1]
for number in numbers:
    signal.signal(number, lambda number, frame: caught.append(number))
ChildSetup(umask=0o77).apply()
for number in numbers:
    signal.raise_signal(number)
assert caught == numbers
ours = signal_set("SigCgt")
for number in numbers:
    signal.signal(number, signal.SIG_DFL)
ChildSetup(process_group=INHERIT).apply()
assert signal_set("SigCgt") == ours - set(numbers)
""",
        tmp_path,
    )


def test_python_knows_the_dispositions_that_were_said(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
signal.signal(signal.SIGTERM, print)
ChildSetup(default_signals={signal.SIGTERM, signal.SIGPIPE}, ignore_signals={signal.SIGHUP}).apply()
found = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGHUP)]
assert found == [signal.SIG_DFL, signal.SIG_DFL, signal.SIG_IGN], found
""",
        tmp_path,
    )


def test_a_leader_gets_a_terminal_and_its_foreground(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
manager, terminal = os.openpty()

def apply():
    ChildSetup.on_terminal(terminal, foreground_tty=terminal, close_fds=True).apply()
    return os.getpid(), setsid.tcgetsid(0), os.tcgetpgrp(1), sorted(open_fds())

pid, *found = in_child(apply)
assert found == [pid, pid, [0, 1, 2]]
""",
        tmp_path,
    )


def test_taking_the_foreground_from_the_background_stops_nobody(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)
child = os.fork()
if child == 0:
    ChildSetup(process_group=0, foreground_tty=terminal).apply()
    os._exit(0 if os.tcgetpgrp(terminal) == os.getpid() else 1)
_, ended = os.waitpid(child, os.WUNTRACED)
assert os.WIFEXITED(ended) and os.WEXITSTATUS(ended) == 0, ended
""",
        tmp_path,
    )


FILES = """
import fcntl

def kinds():
    return {fd: "/dev/null" if name == "/dev/null" else "file" for fd, name in open_fds().items()}

for number in (100, 150, 151):
    os.dup2(0, number)
"""
CLOSED = {
    "streams": ("stdin=setsid.DEVNULL, stderr=100", {0: "/dev/null", 2: "/dev/null"}),
    "a swap with a stream": ("pass_fds={1: 150, 150: 151, 151: 150}", {1: "/dev/null"}),
    "a directory": ("cwd='/', oom_score_adj=300", {}),
}


@pytest.mark.parametrize("name", CLOSED)
def test_standard_streams_that_are_closed_get_what_was_said_and_nothing_else(name: str, tmp_path: Path) -> None:
    said, expected = CLOSED[name]
    fresh(
        PRELUDE
        + FILES
        + f"""
def apply():
    for fd in (0, 1, 2):
        os.close(fd)
    before = kinds()
    ChildSetup({said}).apply()
    return before, kinds()

before, after = in_child(apply)
assert after == before | {expected!r}
""",
        tmp_path,
    )


@pytest.fixture
def traced(need: Callable[..., str]) -> None:
    strace.require(need)


WITHOUT_CLOSE_RANGE = {
    "no close_range": ("close_range:error=ENOSYS",),
    "no close_range and no /proc": ("close_range:error=ENOSYS", "?open,openat:error=ENOENT"),
    "no close_range and an unreadable /proc": ("close_range:error=ENOSYS", "getdents64:error=EIO"),
}


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("lacking", WITHOUT_CLOSE_RANGE)
def test_all_others_are_closed_by_other_means_where_close_range_fails(lacking: str, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + FILES
        + """
from strace import *
# A bounded loop tries every number below the limit, and each is a line of the trace.
resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
apply = ChildSetup(close_fds=True, pass_fds=[151]).apply
found, link = os.dup(1), os.readlink

def closed(numbers):
    return [fd for fd in numbers if not is_open(fd)]

def is_open(fd):
    try:
        return fcntl.fcntl(fd, fcntl.F_GETFD) >= 0
    except OSError:
        return False

with tracing(*(option for fault in sys.argv[2:] for option in ("-e", f"inject={fault}"))) as trace:
    child = os.fork()
    if child == 0:
        apply()
        os._exit([fd for fd in range(400) if is_open(fd)] != [0, 1, 2, 151])
    ended = os.waitpid(child, 0)[1]
assert ended == 0, trace.of(child)[-20:]
assert any("close_range(" in line and "INJECTED" in line for line in trace.of(child))
""",
        tmp_path,
        *WITHOUT_CLOSE_RANGE[lacking],
    )


@pytest.mark.usefixtures("traced")
def test_it_is_the_expected_system_calls_and_no_other(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
from strace import *
setup = ChildSetup(
    process_group=0, stdin=setsid.DEVNULL, close_fds=True, umask=0o77, cwd="/", nice=1, signal_mask={signal.SIGUSR1},
    rlimits={resource.RLIMIT_CORE: (0, 0)}, ignore_signals=(), parent_death_signal=signal.SIGTERM,
)
apply = setup.apply
with tracing() as trace:
    child = os.fork()
    if child == 0:
        os.sched_yield()
        apply()
        os.sched_yield()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
names = [line.partition("(")[0] for line in trace.of(child)]
first, last = [at for at, name in enumerate(names) if name == "sched_yield"]
alias = {"open": "openat", "dup3": "dup2", "setrlimit": "prlimit64"}
assert [alias.get(name, name) for name in names[first + 1 : last]] == [
    "gettid", "getpid", "rt_sigprocmask", "setpgid", "openat", "dup2", "close", "close_range",
    "prlimit64", "getpriority", "setpriority", "umask", "chdir", "prctl", "getppid", "rt_sigprocmask", "rt_sigprocmask",
], names[first + 1 : last]
""",
        tmp_path,
    )


def test_it_goes_to_another_interpreter_in_a_pickle(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + RAISES
        + """
import multiprocessing, pickle
setup = ChildSetup(process_group=NEW_SESSION, umask=0o137)
with multiprocessing.get_context("spawn").Pool(1, initializer=setup.apply) as pool:
    session, worker = pool.apply(os.getsid, (0,)), pool.apply(os.getpid)
    assert session == worker != os.getpid()
    assert pool.apply(os.umask, (0,)) == 0o137
again = pickle.loads(pickle.dumps(setup.apply))
with raises(TypeError, "can't pickle a ChildSetup with file descriptors in stdin"):
    pickle.dumps(ChildSetup(stdin=0).apply)
again = again._setup == setup
assert again
""",
        tmp_path,
    )


@pytest.mark.usefixtures("traced")
def test_a_terminal_that_it_can_not_let_go_of_leaves_no_file(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
from strace import *
manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)

def apply():
    before = everything()
    try:
        ChildSetup(release_ctty=True).apply()
    except OSError as error:
        assert (error.errno, error.call, error.stage) == (errno.EIO, "ioctl(TIOCNOTTY)", Stage.CTTY)
        return sorted(changed(before, everything()))

with tracing("-P", "/dev/tty", "-e", "inject=ioctl:error=EIO"):
    assert in_child(apply) == []
""",
        tmp_path,
    )
