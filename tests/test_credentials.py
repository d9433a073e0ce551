"""user, group, extra_groups, no_new_privileges: what they do, seen from outside, and how they fail."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import setsid
import strace
from support import WAYS, fresh

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing users and groups needs root")
# All that carries a plan out: spawn in each way, fork, and apply in a process that os.fork has made.
STARTS = (*WAYS, "setsid.fork", "apply")
started = pytest.mark.parametrize("start", STARTS)

# For a helper whose first argument is one of STARTS.
START = """
import pickle
from contextlib import contextmanager, suppress

_sleeper = ["cat"]

@contextmanager
def child(**changes):
    # The pid of a child that has carried out a plan, and waits to be looked at.
    reader, writer = os.pipe()
    try:
        pid, wait = _START.get(sys.argv[1], _spawn)(changes, reader)
        try:
            yield pid
        finally:
            os.close(writer)
            writer = -1
            assert wait() == 0
    finally:
        for fd in {reader, writer} - {-1}:
            os.close(fd)

def _spawn(changes, reader):
    process = setsid.spawn(_sleeper, stdin=reader, **changes)
    return process.pid, lambda: (process.wait(), process.close())[0]

def _fork(changes, reader):
    process = setsid.fork(stdin=reader, close_fds=True, **changes)
    if process is None:
        _await_the_end(0)
    return process.pid, lambda: (process.wait(), process.close())[0]

def _apply(changes, reader):
    result, report = os.pipe()
    apply = setsid.ChildSetup(stdin=reader, pass_fds=[report], close_fds=True, **changes).apply
    pid = os.fork()
    if pid == 0:
        error, mask = None, status()["SigBlk"]
        try:
            apply()
        except BaseException as raised:
            error = raised if is_mask(mask) else AssertionError("the signal mask has changed")
        os.write(report, pickle.dumps(error))
        os.close(report)
        _await_the_end(0 if error is None else 1)
    os.close(report)
    with open(result, "rb") as file:
        error = pickle.load(file)
    wait = lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if error is not None:
        wait()
        raise error
    return pid, wait

def is_mask(mask):
    with suppress(FileNotFoundError):  # in another root there is no /proc
        return status()["SigBlk"] == mask
    return True

def _await_the_end(status):
    try:
        while status == 0 and os.read(0, 1):
            pass
    finally:
        os._exit(status)

_START = {"setsid.fork": _fork, "apply": _apply}
force(sys.argv[1] if sys.argv[1] in WAYS else None)

def failure(**changes):
    with nothing_left():
        try:
            with child(**changes):
                raise AssertionError("nothing failed")
        except setsid.SystemCallError as error:
            return error

def told(error):
    return error.stage and error.stage.value, error.call, errno.errorcode[error.errno], error.filename, error.hint

def become_nobody():
    setsid.spawn(["true"]).wait()  # imports what telling of an error needs, where nobody may not read it
    import grp, pwd  # so is this
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
"""
# The helper has groups of root's that a child with another user must lose.
IDS = """
import ctypes, grp, pwd, resource

PR_GET_DUMPABLE = 3
os.setgroups([0, 4003])

def unused(numbers):
    return next(number for number in range(50000, 60000) if number not in numbers)

stranger = unused({entry.pw_uid for entry in pwd.getpwall()})
no_group = unused({entry.gr_gid for entry in grp.getgrall()})
# The one with the most groups: on a bare system no user has a second one.
users = [entry for entry in pwd.getpwall() if entry.pw_uid != 0]
user = max(users, key=lambda entry: (len(os.getgrouplist(entry.pw_name, entry.pw_gid)), entry.pw_uid))
groups = sorted(set(os.getgrouplist(user.pw_name, user.pw_gid)))

def ids(**changes):
    # (user, group, supplementary groups) as the kernel has them; all four kinds of each must be the same.
    with nothing_left(), child(**changes) as pid:
        facts = status(pid)
    users, ours = set(facts["Uid"].split()), set(facts["Gid"].split())
    assert len(users) == len(ours) == 1, facts
    return int(users.pop()), int(ours.pop()), sorted(map(int, facts["Groups"].split()))

def dumpable():
    return ctypes.CDLL(None).prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)
"""


def check(source: str, start: str, *args: object, timeout: float = 60) -> str:
    return fresh(START + IDS + source, start, *args, timeout=timeout).stdout


@needs_root
@started
def test_a_user_brings_its_own_group_and_supplementary_groups(start: str) -> None:
    check(
        """
expected = user.pw_uid, user.pw_gid, groups
assert (ids(user=user.pw_name), ids(user=user.pw_uid)) == (expected, expected)
assert ids(user=user.pw_name, group=no_group) == (
    user.pw_uid, no_group, sorted(set(os.getgrouplist(user.pw_name, no_group)))
)

real, os.getgrouplist = os.getgrouplist, lambda name, group: {user.pw_name: [group, 4001, 4002]}[name]
assert ids(user=user.pw_uid) == (user.pw_uid, user.pw_gid, sorted([user.pw_gid, 4001, 4002]))
assert ids(user=user.pw_name, group=no_group) == (user.pw_uid, no_group, [4001, 4002, no_group])
""",
        start,
    )


@needs_root
@started
def test_a_number_without_an_entry_leaves_the_group_and_loses_the_supplementary_ones(start: str) -> None:
    check(
        """
assert ids(user=stranger) == (stranger, os.getgid(), [])
assert ids(user=stranger, group=no_group) == (stranger, no_group, [])
assert ids(user=2**32 - 2, group=2**32 - 2, extra_groups=[2**32 - 2]) == (2**32 - 2, 2**32 - 2, [2**32 - 2])
""",
        start,
    )


@needs_root
@started
def test_group_and_extra_groups_change_nothing_but_themselves(start: str) -> None:
    check(
        """
other = grp.getgrgid(user.pw_gid).gr_name
assert ids() == (0, 0, [0, 4003])
assert ids(group=other) == ids(group=user.pw_gid) == (0, user.pw_gid, [0, 4003])
assert ids(extra_groups=[no_group, other]) == (0, 0, sorted([no_group, user.pw_gid]))
assert ids(extra_groups=()) == (0, 0, [])
assert ids(extra_groups=[4003, 0]) == (0, 0, [0, 4003])
assert ids(user=user.pw_name, extra_groups=()) == (user.pw_uid, user.pw_gid, [])
assert ids(user=user.pw_name, group=no_group, extra_groups=[4001]) == (user.pw_uid, no_group, [4001])
""",
        start,
    )


@needs_root
@started
def test_no_new_privileges_is_set_only_where_it_is_said(start: str) -> None:
    check(
        """
def facts(**changes):
    with nothing_left(), child(**changes) as pid:
        return status(pid)["NoNewPrivs"], status(pid)["Uid"].split()[0]

assert (facts(), facts(no_new_privileges=False)) == (("0", "0"), ("0", "0"))
assert facts(no_new_privileges=True) == ("1", "0")
assert facts(no_new_privileges=True, user=stranger) == ("1", str(stranger))
assert status()["NoNewPrivs"] == "0"
""",
        start,
    )


@needs_root
def test_a_plan_that_is_used_again_goes_by_what_the_databases_and_the_caller_have_now(way: str) -> None:
    check(
        """
def now(setup):
    with nothing_left():
        process = setsid.spawn(["sleep", "60"], setup)  # the very same plan each time
        facts = status(process.pid)
        process.kill()
        process.wait()
        process.close()
    return facts["Uid"].split()[0], facts["Gid"].split()[0], facts["Groups"].split()

setup = setsid.ChildSetup(user=user.pw_name)
assert now(setup)[:2] == (str(user.pw_uid), str(user.pw_gid))
changed = pwd.struct_passwd((user.pw_name, "x", stranger, no_group, "", "/", "/bin/sh"))
real, pwd.getpwnam = pwd.getpwnam, lambda name: changed
assert now(setup)[:2] == (str(stranger), str(no_group))
pwd.getpwnam = real

# The list that the caller has need not be set; but it must be, once the caller has another.
setup = setsid.ChildSetup(extra_groups=[4001])
os.setgroups([4001])
assert now(setup)[2] == ["4001"]
os.setgroups([0, 4003])
assert now(setup)[2] == ["4001"]
""",
        way,
    )


@needs_root
def test_groups_are_set_by_a_ready_made_apply_though_its_maker_had_them_already() -> None:
    check(
        """
os.setgroups([])
apply = setsid.ChildSetup(extra_groups=()).apply
os.setgroups([0, 4003])
apply()
assert os.getgroups() == []
""",
        "apply",
    )


@needs_root
@started
def test_without_the_right_the_step_that_was_refused_is_named(start: str) -> None:
    check(
        """
become_nobody()
assert told(failure(user=0, group=65534, extra_groups=())) == (
    "user", "setresuid", "EPERM", None, "the caller lacks CAP_SETUID"
)
assert told(failure(group=0)) == ("group", "setresgid", "EPERM", None, "the caller lacks CAP_SETGID")
for changes in {"extra_groups": [0]}, {"user": 0}, {"user": "root"}:
    assert told(failure(**changes)) == (
        "extra_groups", "setgroups", "EPERM", None, "the caller lacks CAP_SETGID"
    )
assert isinstance(failure(user=0), PermissionError)

# What one has already may be asked for by anybody.
assert ids(user=65534, group=65534, extra_groups=()) == (65534, 65534, [])
assert ids(extra_groups=()) == ids(group=65534) == (65534, 65534, [])
""",
        start,
    )


@needs_root
def test_an_unprivileged_user_may_ask_for_itself_with_its_own_groups(way: str) -> None:
    check(
        """
setsid.spawn(["true"]).wait()
os.setgroups(groups)
os.setresgid(*[user.pw_gid] * 3)
os.setresuid(*[user.pw_uid] * 3)
assert ids(user=user.pw_name) == ids(extra_groups=[*groups, *groups]) == (user.pw_uid, user.pw_gid, groups)
""",
        way,
    )


@needs_root
@started
def test_more_groups_than_the_kernel_takes_fail_at_their_stage(start: str) -> None:
    check(
        """
too_many = int(open("/proc/sys/kernel/ngroups_max").read()) + 1
assert told(failure(extra_groups=range(too_many))) == ("extra_groups", "setgroups", "EINVAL", None, None)
""",
        start,
    )


@needs_root
def test_a_user_that_the_namespace_does_not_know_is_named_as_such(need: Callable[..., str], way: str) -> None:
    result = fresh(
        START
        + """
error = failure(user=5, group=0, extra_groups=os.getgroups())
hint = "the caller's user namespace has no uid 5"
assert told(error) == ("user", "setresuid", "EINVAL", None, hint), error
print("done")
""",
        way,
        wrapper=(need("unshare"), "--user", "--map-root-user"),
        check=False,
    )
    if result.stderr.startswith("unshare:"):
        pytest.skip(f"no user namespace here: {result.stderr}")
    assert (result.stdout, result.stderr) == ("done\n", "")


@needs_root
def test_a_user_with_too_many_processes_can_not_execute(way: str) -> None:
    check(
        """
hint = "the user that it runs as has more processes than its RLIMIT_NPROC allows"
with child(user=stranger):  # the kernel counts those that were there before
    error = failure(user=stranger, rlimits={resource.RLIMIT_NPROC: (0, 0)})
    assert told(error) == ("exec", "execve", "EAGAIN", "cat", hint)
    assert isinstance(error, BlockingIOError)
    assert ids(user=stranger, rlimits={resource.RLIMIT_NPROC: (1, 1)})[0] == stranger
""",
        way,
    )


@started
def test_an_unknown_name_is_an_error_before_there_is_a_child(start: str, need: Callable[..., str]) -> None:
    strace.require(need)
    fresh(
        START
        + """
from strace import *

def refused(**changes):
    with nothing_left():
        try:
            if sys.argv[1] == "apply":
                setsid.ChildSetup(**changes).apply()
            elif sys.argv[1] == "setsid.fork":
                setsid.fork(**changes)
            else:
                setsid.spawn(["true"], **changes)
        except ValueError as error:
            return str(error)

setsid.spawn(["true"]).wait()  # with the probe that it may take
with tracing("-e", "trace=clone,clone3,fork,vfork") as trace:
    assert refused(user="no such user") == "user: there is no user 'no such user'"
    assert refused(group="no such group") == "group: there is no group 'no such group'"
    assert refused(extra_groups=[0, "no such group"]) == "extra_groups: there is no group 'no such group'"
made = [line for lines in trace.lines.values() for line in lines if "clone" in line or "fork" in line]
assert made == []
""",
        start,
    )


@pytest.mark.parametrize("number", [-1, 2**32 - 1, 2**64])
def test_a_number_that_the_kernel_has_no_user_for_is_refused_by_the_plan(number: int) -> None:
    for changes in {"user": number}, {"group": number}, {"extra_groups": [0, number]}:
        with pytest.raises(ValueError, match=f"must be between 0 and {2**32 - 2}, not {number}"):
            setsid.ChildSetup(**changes)


# -- what the child must not do to its parent


@needs_root
def test_a_child_that_changes_ids_never_shares_its_parent_s_memory(need: Callable[..., str], way: str) -> None:
    strace.require(need)
    check(
        """
from strace import *

def flags(**changes):
    with tracing("-e", "trace=clone,clone3,fork,vfork") as trace, nothing_left():
        ids(**changes)
    made, = [line for line in trace.of(os.getpid()) if line.startswith(("clone", "fork", "vfork"))]
    return "CLONE_VM" in made, "CLONE_VFORK" in made

shares = sys.argv[1] in ("clone3", "clone")
assert flags() == (shares, shares)
for changes in {"user": stranger}, {"group": no_group}, {"extra_groups": ()}, {"user": stranger, "cwd": "/"}:
    assert flags(**changes) == (False, False)
""",
        way,
    )


@needs_root
def test_the_parent_stays_as_it_was(way: str) -> None:
    check(
        """
assert dumpable() == 1, "it must be so before"
os.umask(0o27)
os.chdir("/usr")
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
same = "Umask", "SigBlk", "Uid", "Gid", "Groups", "NoNewPrivs", "CapEff"
before = {name: status()[name] for name in same}
assert ids(user=user.pw_name, umask=0o77, cwd="/", no_new_privileges=True)[0] == user.pw_uid
error = failure(user=stranger, umask=0o77, chroot="/usr", cwd="/nowhere")
assert error.stage is setsid.Stage.CWD
assert ({name: status()[name] for name in same}, os.getcwd(), dumpable()) == (before, "/usr", 1)
assert os.readlink("/proc/self/root") == "/"
""",
        way,
    )


UNSHARED = pytest.mark.parametrize("start", ["page", "fork", "setsid.fork"])
# A child that meets a signal in the middle of becoming another user.
MET = """
from strace import *

reader, writer = os.pipe()  # until whose end the child waits
plan = setsid.ChildSetup(user=stranger, stdin=reader, close_fds=True, parent_death_signal=signal.SIGKILL)

def meet(name, see):
    with tracing("-e", "trace=setresuid", "-e", f"inject=setresuid:signal={name}"):
        if sys.argv[1] == "setsid.fork":
            process = setsid.fork(plan) or _await_the_end(0)
        else:
            process = setsid.spawn(["cat"], plan)
        try:
            return process, see(process)  # before strace leaves: a SIGSTOP that meets that, it takes for its own
        except BaseException:
            process.end(0)
            raise
"""


@needs_root
@UNSHARED
def test_the_new_user_can_not_stop_the_child_before_it_has_executed(start: str, need: Callable[..., str]) -> None:
    strace.require(need)
    check(
        MET
        + """
with nothing_left():
    process, change = meet("SIGSTOP", lambda process: process.wait_change(30))
    with process:
        facts = status(process.pid)
        name = status()["Name"] if sys.argv[1] == "setsid.fork" else "cat"
        seen = change.value, facts["State"][0], facts["Name"], facts["Uid"].split()[0]
        assert seen == ("stopped", "T", name, str(stranger)), seen
        process.send_signal(signal.SIGCONT)
        assert process.wait_change(30).value == "running"
        os.dup2(reader, writer)  # closes the only one that writes
        assert process.wait(30) == 0
""",
        start,
    )


@needs_root
@UNSHARED
def test_the_new_user_may_kill_the_child_before_it_has_executed(start: str, need: Callable[..., str]) -> None:
    strace.require(need)
    check(
        MET
        + """
with nothing_left():
    try:
        process, returncode = meet("SIGKILL", lambda process: process.wait(30))
        assert returncode == -signal.SIGKILL
        process.close()
    except setsid.SystemCallError as error:
        assert sys.argv[1] == "setsid.fork"
        assert (error.stage, error.call, error.errno) == (None, "fork", errno.ECHILD)
        assert error.hint.endswith("has ended by signal 9 before its set-up was done")
    else:
        assert sys.argv[1] != "setsid.fork"
""",
        start,
    )


@needs_root
def test_where_robust_futexes_are_refused_a_pipe_reports(need: Callable[..., str]) -> None:
    strace.require(need)
    check(
        """
from strace import *

with nothing_left():
    with tracing("-e", "trace=set_robust_list,pipe2", "-e", "inject=set_robust_list:error=ENOSYS") as trace:
        assert ids(user=user.pw_name) == (user.pw_uid, user.pw_gid, groups)
        error = failure(user=stranger, cwd="/nowhere")
        assert told(error) == ("cwd", "chdir", "ENOENT", "/nowhere", None)
# A child for each of the two; that of a program which ran asks as well, since libc does.
refused = [lines for lines in trace.lines.values() if "(INJECTED)" in lines[0] and "exited with 127" in lines[-1]]
assert len(refused) == 2, trace.lines
""",
        "page",
    )


# -- threads


@needs_root
def test_apply_changes_all_threads_of_the_process() -> None:
    check(
        """
import threading

release = threading.Event()
threading.Thread(target=release.wait).start()
# One more, of the package's own, which makes the children with a parent-death signal.
made = []
make = lambda: made.append(setsid.spawn(["true"], parent_death_signal=signal.SIGKILL))
maker = threading.Thread(target=make)
maker.start()
maker.join()
made[0].wait()
made[0].close()

setsid.ChildSetup(user=stranger, group=no_group, extra_groups=[4001]).apply()
tasks = [status(f"self/task/{task}") for task in os.listdir("/proc/self/task")]
assert len(tasks) >= 3
uids, gids = " ".join([str(stranger)] * 4), " ".join([str(no_group)] * 4)
assert [(" ".join(task["Uid"].split()), " ".join(task["Gid"].split()), task["Groups"]) for task in tasks] == [
    (uids, gids, "4001")
] * len(tasks)
release.set()
""",
        "apply",
    )


@needs_root
def test_two_threads_that_apply_at_once_do_not_lock_each_other_up() -> None:
    """Libc has every thread take part in a change of ids, by a signal that the other one must not keep blocked."""
    check(
        """
import threading

def work(group):
    apply = setsid.ChildSetup(user=0, group=0, extra_groups=[group]).apply
    for _ in range(1000):
        apply()

threads = [threading.Thread(target=work, args=(group,), daemon=True) for group in (4001, 4002)]
for thread in threads:
    thread.start()
deadline = time.monotonic() + 20
for thread in threads:
    thread.join(max(0, deadline - time.monotonic()))
if any(thread.is_alive() for thread in threads):
    print("locked up")
    sys.stdout.flush()
    os._exit(1)
assert os.getgroups() in ([4001], [4002])
""",
        "apply",
    )


@needs_root
def test_a_fork_and_a_change_of_ids_in_another_thread_do_not_lock_each_other_up() -> None:
    """Python's own change holds the GIL, which the forking thread waits for with its signals blocked."""
    check(
        """
import threading, warnings

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork in a process with threads

def change():
    while not over:
        os.setgroups([4001])

over = False
threading.Thread(target=change, daemon=True).start()
for _ in range(50):
    process = setsid.fork()
    if process is None:
        os._exit(0)
    assert process.wait() == 0
    process.close()
over = True
""",
        "setsid.fork",
        timeout=20,
    )


HINT = """
import shutil, struct, tempfile

def hint(program):
    try:
        setsid.spawn([program], user=12345, group=12345)
    except PermissionError as error:
        return error.hint
"""


@needs_root
@pytest.mark.parametrize("has_xattrs", [True, False])
def test_a_directory_that_keeps_the_new_user_out_is_named(way: str, has_xattrs: bool) -> None:
    """The case that everybody meets: a program, or a link to one, below /root."""
    check(
        HINT
        + f"""
if not {has_xattrs} and hasattr(os, "listxattr"):
    del os.listxattr
"""
        + """
with tempfile.TemporaryDirectory() as base:
    closed, link = f"{base}/closed", f"{base}/link"
    os.mkdir(closed)
    shutil.copy(shutil.which("true"), f"{closed}/tool")
    os.symlink(f"{closed}/tool", link)
    os.chmod(base, 0o755)
    os.chmod(closed, 0o700)
    expected = f"{closed} is closed to user 12345 by its mode"
    assert (hint(f"{closed}/tool"), hint(link)) == (expected, expected)
    os.chmod(closed, 0o701)
    assert setsid.spawn([link], user=12345, group=12345).wait() == 0
    os.chown(closed, 0, 12345)  # the group's bits hold for the group, not those of others
    assert hint(link) == expected
    assert setsid.spawn([link], user=12345, group=54321).wait() == 0
    os.chown(closed, 0, 0)
    os.chmod(closed, 0o710)  # now there might be an ACL
    assert hint(link) == (expected if hasattr(os, "listxattr") else None)
    os.mkdir(inner := f"{closed}/inner", 0o755)
    shutil.copy(shutil.which("true"), f"{inner}/tool")
    os.chmod(f"{inner}/tool", 0o700)
    os.chdir(inner)  # nothing above it is searched for a relative path
    assert hint("./tool") is None
    os.chmod(f"{inner}/tool", 0o755)
    assert setsid.spawn(["./tool"], user=12345, group=12345).wait() == 0
    os.chdir("/")
""",
        way,
    )


@needs_root
@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no os.setxattr here, by which to make an ACL")
def test_a_directory_with_an_acl_is_not_said_to_keep_anybody_out(way: str) -> None:
    said = check(
        HINT
        + """
def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

USER_OBJ, USER, GROUP_OBJ, MASK, OTHER = 1, 2, 4, 16, 32
nobody = 2**32 - 1
with tempfile.TemporaryDirectory() as base:
    os.chmod(base, 0o755)
    closed = f"{base}/closed"
    os.mkdir(closed)
    shutil.copy(shutil.which("true"), f"{closed}/tool")
    entries = (USER_OBJ, 7, nobody), (USER, 1, 12345), (GROUP_OBJ, 0, nobody), (MASK, 1, nobody), (OTHER, 0, nobody)
    try:
        os.setxattr(closed, "system.posix_acl_access", acl(*entries))
    except OSError as error:
        assert error.errno == errno.ENOTSUP
        print("no ACLs")
        sys.exit()
    assert os.stat(closed).st_mode & 0o777 == 0o710
    assert setsid.spawn([f"{closed}/tool"], user=12345, group=12345).wait() == 0
    os.chmod(f"{closed}/tool", 0o700)
    assert hint(f"{closed}/tool") is None
    os.chmod(f"{closed}/tool", 0o755)
    os.chmod(closed, 0o700)  # the mask
    assert hint(f"{closed}/tool") == f"{closed} is closed to user 12345 by its mode"
""",
        way,
    )
    if said:
        pytest.skip("the file system of the temporary directory has no ACLs")
