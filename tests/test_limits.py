"""Resource limits, nice, processors, the out-of-memory score: their effect, seen from outside, and how they fail."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import strace
from support import WAYS, fresh

# For a helper whose first argument is a maker: spawn in one of its ways, fork(), or apply() in a forked child.
MAKING = """
import ctypes, fcntl, pickle, resource
from contextlib import contextmanager
from setsid import Stage

maker = sys.argv[1]

def high_pipe():  # out of the way of the numbers that a plan gives to files
    low = os.pipe()
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200) for fd in low]
    for fd in low:
        os.close(fd)
    return high

def apply(setup):
    before = open_fds(), status()["SigBlk"]
    try:
        setup.apply()
    except setsid.SystemCallError as error:
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the listing
        assert (open_fds(), status()["SigBlk"]) == before
        return error

def apply_in_a_child(setup):
    reader, writer = high_pipe()
    if setup.close_fds:
        setup = setup.replace(pass_fds=[writer])
    pid = os.fork()
    if pid == 0:
        try:
            result = apply(setup)
        except BaseException as error:
            result = error
        os.write(writer, pickle.dumps(result))
        os.close(writer)
        while not result:
            signal.pause()
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        error = pickle.load(file)
    if error:
        os.waitpid(pid, 0)
        raise error
    return pid

def text(path):
    with open(path) as file:
        return file.read()

def started(setup):
    process = setsid.fork(setup) if maker == "fork()" else setsid.spawn(["sleep", "60"], setup)
    while process is None:
        signal.pause()
    return process

@contextmanager
def made(**changes):  # the pid of a child that has carried out the plan, and stays until the block is over
    setup = setsid.ChildSetup(**changes)
    process = None if maker == "apply()" else started(setup)
    pid = process.pid if process else apply_in_a_child(setup)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        process.wait() if process else os.waitpid(pid, 0)
        process and process.close()

def facts(pid):  # all that a plan's limits are about, read from outside
    rows = text(f"/proc/{pid}/limits").splitlines()[1:]
    found = {row[4:25].strip(): (row[26:46].strip(), row[47:67].strip()) for row in rows}
    found["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
    found["cpus"] = os.sched_getaffinity(pid)
    found["oom_score_adj"] = int(text(f"/proc/{pid}/oom_score_adj"))
    return {**found, "cgroup": text(f"/proc/{pid}/cgroup")}

def skip_unless(condition, reason):
    if not condition:
        print(reason)
        sys.exit()

def may(right):  # capabilities(7)
    return int(status()["CapEff"], 16) >> right & 1

CAP_SETUID, CAP_SYS_NICE = 7, 23
ours = facts(os.getpid())

def expect_effect(effect, **changes):  # and no other, nor any on this process
    with nothing_left(), made(**changes) as pid:
        assert facts(pid) == {**ours, **effect}
        assert facts(os.getpid()) == ours
    assert facts(os.getpid()) == ours

def expect_failure(builtin, number, stage, call, filename=None, **changes):
    before = facts(os.getpid())
    with nothing_left():
        try:
            with made(**changes):
                raise AssertionError("nothing failed")
        except setsid.SystemCallError as error:
            found = error
    assert (found.errno, found.stage, found.call, found.filename) == (number, stage, call, filename), repr(found)
    assert isinstance(found, builtin)
    assert type(found).__name__ == ("SystemCallError" if builtin is OSError else builtin.__name__)
    assert facts(os.getpid()) == before

def become_nobody():
    if os.geteuid() == 0:
        # What is loaded late only is loaded while it can still be read.
        expect_failure(OSError, errno.EINVAL, Stage.RLIMITS, "setrlimit", rlimits={1000: (0, 0)})
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: or /proc/self stays root's
"""
everywhere = pytest.mark.parametrize("maker", [*WAYS, "fork()", "apply()"])


def run(source: str, maker: str, *args: object) -> None:
    """Run the helper. If it prints something, that is why it can't be tested here."""
    reason = fresh(MAKING + source, maker, *args, way=maker if maker in WAYS else None).stdout
    if reason:
        pytest.skip(reason)


EFFECTS = {
    "limits of some resources": """
rlimits = {resource.RLIMIT_NOFILE: (50, 60), resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_FSIZE: (2**33 + 1, 2**40)}
effect = {"open files": ("50", "60"), "core file size": ("0", "0"), "file size": (str(2**33 + 1), str(2**40))}
expect_effect(effect, rlimits=rlimits)
""",
    "no limit": """
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
skip_unless(hard == resource.RLIM_INFINITY, "the hard limit of a file's size is set")
resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, resource.RLIM_INFINITY))
ours = facts(os.getpid())
for infinity in -1, 2**64 - 1:
    expect_effect({"file size": ("unlimited", "unlimited")}, rlimits={resource.RLIMIT_FSIZE: (infinity, infinity)})
    expect_effect({"file size": ("0", "unlimited")}, rlimits={resource.RLIMIT_FSIZE: (0, infinity)})
""",
    "more nice, up to the end of its range": """
os.setpriority(os.PRIO_PROCESS, 0, ours["nice"] + 2)
ours = facts(os.getpid())
expect_effect({"nice": min(ours["nice"] + 3, 19)}, nice=3)
for increment in 39, 40:
    expect_effect({"nice": 19}, nice=increment)
""",
    "less nice, down to the end of its range": """
skip_unless(may(CAP_SYS_NICE), "takes CAP_SYS_NICE")
os.setpriority(os.PRIO_PROCESS, 0, -1)  # which getpriority must not be taken to have failed with
ours = facts(os.getpid())
expect_effect({"nice": -6}, nice=-5)
expect_effect({"nice": 1}, nice=2)
expect_effect({"nice": -20}, nice=-40)
""",
    "CPUs that are there, and others": """
skip_unless(len(ours["cpus"]) > 1, "needs two CPUs")
last = max(ours["cpus"])
none = {number for number in (64, 127, 128, 4095, 65535) if number >= os.sysconf("SC_NPROCESSORS_CONF")}
expect_effect({"cpus": {last}}, cpu_affinity={last})
expect_effect({"cpus": {last}}, cpu_affinity={last, *none})
expect_effect({"cpus": ours["cpus"]}, cpu_affinity={*ours["cpus"], *none})
""",
    "a higher oom_score_adj": """
for score in {(ours["oom_score_adj"] + 1000) // 2, 999, 1000}:
    expect_effect({"oom_score_adj": score}, oom_score_adj=score)
""",
    "a limit of three files, and room to set the oom_score_adj": """
assert {0, 1, 2} <= open_fds().keys()
os.set_inheritable(0, False)  # it leaves a number to the program's loader, but only from the exec on
effect = {"open files": ("3", "3"), "oom_score_adj": 1000}
expect_effect(effect, rlimits={resource.RLIMIT_NOFILE: (3, 3)}, oom_score_adj=1000)
""",
    "what takes root's rights, with another user": """
skip_unless(may(CAP_SYS_NICE) and may(CAP_SETUID), "takes CAP_SYS_NICE and CAP_SETUID")
effect = {"nice": max(ours["nice"] - 5, -20), "oom_score_adj": 1000, "core file size": ("0", "0")}
changes = dict(nice=-5, oom_score_adj=1000, rlimits={resource.RLIMIT_CORE: (0, 0)})
expect_effect(effect, user=65534, **changes)
""",
}


@everywhere
@pytest.mark.parametrize("scenario", EFFECTS)
def test_limits_are_the_childs_and_nobody_elses(scenario: str, maker: str) -> None:
    run(EFFECTS[scenario], maker)


def test_an_oom_score_adj_is_written_as_it_was_said(need: Callable[..., str]) -> None:
    strace.require(need)
    run(
        """
from strace import *

for score in -1000, -999, -17, -1, 0, 7, 10, 1000:
    with tracing("-e", "trace=write") as trace:
        try:  # to lower it takes a right
            with made(oom_score_adj=score):
                pass
        except PermissionError:
            assert score < ours["oom_score_adj"]
    del trace.lines[os.getpid()]
    (written,) = [line for lines in trace.lines.values() for line in lines if line.startswith("write(")]
    assert f', "{score}", {len(str(score))})' in written
""",
        "clone3",
    )


def test_the_kernel_is_told_of_every_cpu(need: Callable[..., str]) -> None:
    """Also of those that this machine lacks, so that they count where they are there."""
    strace.require(need)
    run(
        """
from strace import *

cpus = sorted({min(ours["cpus"]), 63, 64, 130, 2047})
with tracing("-e", "trace=sched_setaffinity") as trace, made(cpu_affinity=cpus) as pid:
    pass
told = trace.of(pid)[0]  # strace leaves out the last number
assert told.startswith(f"sched_setaffinity(0, 256, [{' '.join(map(str, cpus[:-1]))} "), told
""",
        "clone3",
    )


FAILURES = {
    "a resource that does not exist": """
expect_failure(OSError, errno.EINVAL, Stage.RLIMITS, "setrlimit", rlimits={1000: (0, 0)})
# The file of the out-of-memory score is open when the second one fails.
limits = {resource.RLIMIT_CORE: (0, 0), 1000: (0, 0)}
expect_failure(OSError, errno.EINVAL, Stage.RLIMITS, "setrlimit", rlimits=limits, oom_score_adj=1000)
""",
    "CPUs that do not exist": """
for cpus in {65535}, {4096, 65535}:
    expect_failure(OSError, errno.EINVAL, Stage.CPU_AFFINITY, "sched_setaffinity", cpu_affinity=cpus)
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
changes = dict(rlimits={resource.RLIMIT_NOFILE: (3, hard)}, nice=1, oom_score_adj=1000)
expect_failure(OSError, errno.EINVAL, Stage.CPU_AFFINITY, "sched_setaffinity", cpu_affinity={65535}, **changes)
""",
    "what takes a right that one lacks": """
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_NICE, (0, 0))
become_nobody()
for limit in (0, 1), (1, 1), (0, resource.RLIM_INFINITY):
    expect_failure(PermissionError, errno.EPERM, Stage.RLIMITS, "setrlimit", rlimits={resource.RLIMIT_CORE: limit})
for increment in -5, -40:
    expect_failure(PermissionError, errno.EACCES, Stage.NICE, "setpriority", nice=increment)
file = "/proc/self/oom_score_adj"
expect_failure(PermissionError, errno.EACCES, Stage.OOM_SCORE_ADJ, "write", file, oom_score_adj=-1000)
limit = {resource.RLIMIT_NOFILE: (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])}
expect_failure(PermissionError, errno.EACCES, Stage.OOM_SCORE_ADJ, "write", file, oom_score_adj=-1000, rlimits=limit)
""",
    "an oom_score_adj that may not be opened": """
skip_unless(may(CAP_SETUID), "takes CAP_SETUID")
become_nobody()
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is root's now
facts = lambda pid: None
file = "/proc/self/oom_score_adj"
for limits in {}, {resource.RLIMIT_NOFILE: (30, 30)}:
    expect_failure(
        PermissionError, errno.EACCES, Stage.OOM_SCORE_ADJ, "open", file, oom_score_adj=1000, rlimits=limits
    )
""",
}


@everywhere
@pytest.mark.parametrize("scenario", FAILURES)
def test_a_failure_is_named_and_leaves_nothing_behind(scenario: str, maker: str) -> None:
    run(FAILURES[scenario], maker)
