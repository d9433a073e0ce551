"""docs/from-preexec_fn.md: each example's blocks run, and their children are alike but for what the page says."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support import TESTS, fresh

PAGE = (TESTS.parent / "docs" / "from-preexec_fn.md").read_text()
SECTIONS = {
    section.split("\n", 1)[0]: re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    for section in PAGE.split("\n## ")[1:]
}

# What the page's reader has. `server` echoes its standard input, and so tells that it runs.
SETTING = """
import ctypes, fcntl, json, multiprocessing, pwd, resource, select, subprocess, termios
from concurrent.futures import ProcessPoolExecutor

directory, jail, cgroup = sys.argv[1:4]
os.environ["PATH"] = f"{directory}:{os.environ['PATH']}"
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 1, 38, 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # no child is left to an init that may not reap
cpu = min(os.sched_getaffinity(0))
holder = os.open("/dev/null", os.O_RDONLY)  # of number 3, if nothing else is: a dup2 of 3 to 3 would do nothing
log = open(f"{directory}/log", "w")
answer = os.dup(1)
reader, stdout = os.pipe()
stdin, writer = os.pipe()
os.dup2(stdin, 0)
os.dup2(stdout, 1)
manager, tty = os.openpty()
other_manager, terminal = os.openpty()
setsid.acquire_ctty(tty)
if os.geteuid() == 0:
    os.setgroups([1, 2])  # as root may have

def terminal_of(facts):
    ours = session_of(os.getpid())["tty"]
    return "ours" if facts["tty"] == ours else "another" if facts["tty"] else None

def seen(pid):
    facts, process = status(pid), session_of(pid)
    ours = session_of(os.getpid())
    found = {name: facts[name] for name in ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt",
                                            "NoNewPrivs", "Cpus_allowed_list")}
    for name in "sid", "pgid":
        found[name] = "its own" if process[name] == pid else "ours" if process[name] == ours[name] else "another"
    found["terminal"] = terminal_of(process)
    found["is in the foreground"] = process["tpgid"] == process["pgid"]
    found["nice"] = os.getpriority(os.PRIO_PROCESS, pid)
    with open(f"/proc/{pid}/stat", "rb") as file:
        found["scheduler"] = int(file.read().rsplit(b")", 1)[1].split()[38])
    found["cwd"], found["root"] = os.readlink(f"/proc/{pid}/cwd"), os.readlink(f"/proc/{pid}/root")
    for name in "cgroup", "oom_score_adj":
        with open(f"/proc/{pid}/{name}") as file:
            found[name] = file.read()
    with open(f"/proc/{pid}/limits") as file:
        found["limits"] = file.read()
    files = {fd: os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
    found["files"] = {fd: name.partition(":")[0] for fd, name in files.items()}
    with open(f"/proc/{pid}/environ") as file:
        variables = dict(line.partition("=")[::2] for line in file.read().split("\\0") if line)
    found["LISTEN_PID"] = "its own" if variables.get("LISTEN_PID") == str(pid) else variables.get("LISTEN_PID")
    return found
"""

# The child's parent is a process of its own, which is then killed: what the child makes of that is a part of its state.
OBSERVE = """
def observe(block):
    results, results_end = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            names = dict(globals())
            exec(block, names)
            process = names["process"]
            os.write(writer, b"1")
            assert os.read(reader, 1) == b"1"
            os.write(results_end, json.dumps([process.pid, seen(process.pid)]).encode())
            os.close(results_end)
            signal.pause()
        finally:
            os._exit(1)
    os.close(results_end)
    with open(results) as file:
        pid, found = json.load(file)
    pidfd = os.pidfd_open(pid)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    os.write(writer, b"2")
    ready, _, _ = select.select([pidfd, reader], [], [], 60)  # a child that got a signal doesn't come to answer
    assert ready
    found["outlives its parent"] = pidfd not in ready
    if reader in ready:
        assert os.read(reader, 1) == b"2"
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(pidfd)
    return found

os.write(answer, json.dumps(observe(sys.argv[4])).encode())
log.close()
"""
PLAIN = 'process = subprocess.Popen(["server"])\n'
SESSION = {"sid", "pgid", "terminal", "is in the foreground"}


def example(*changes: str, differs: set[str] = SESSION, setting: str = "", root: bool = False) -> dict[str, Any]:
    """In what the children differ from a plain Popen's, and the new one from the old one's."""
    return {"changes": set(changes), "differs": differs, "setting": setting, "root": root}


# Each section with the facts that its first block changes. With a plan the child is in a new session, says the page.
EXAMPLES = {
    "os.setsid": example(*SESSION, differs=set()),
    "os.setpgrp": example("pgid", "is in the foreground", differs=set()),
    "os.tcsetpgrp": example("pgid", differs=set()),
    "ioctl(TIOCSCTTY)": example("sid", "pgid", "terminal", differs=set()),
    "prctl(PR_SET_PDEATHSIG)": example("outlives its parent"),
    "prctl(PR_SET_NO_NEW_PRIVS)": example("NoNewPrivs"),
    "resource.setrlimit": example("limits"),
    "os.nice": example("nice"),
    "os.sched_setaffinity": example("Cpus_allowed_list"),
    "oom_score_adj": example("oom_score_adj"),
    "cgroup.procs": example("cgroup"),
    "os.chdir and os.umask": example("cwd", "Umask"),
    "os.setuid, os.setgid, os.initgroups": example("Uid", "Gid", "Groups", root=True),
    "os.chroot": example("root", "cwd", root=True),
    "Ignoring SIGINT": example("SigIgn"),
    "Resetting signals": example(
        "SigIgn",
        "SigBlk",
        setting="signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n",
    ),
    "os.dup2": example("files"),
    "What has no field": example("LISTEN_PID"),
    "Arbitrary Python": example("scheduler"),
    "Fork servers and initializers": example(*SESSION, "nice", "Umask", differs=set()),
}
POOL = "Fork servers and initializers"
DEATH = "prctl(PR_SET_PDEATHSIG)"


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with the programs of the page, which any user may enter: pytest's own can't be."""
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        made.chmod(0o755)
        for program in "server", "run":
            (made / program).write_text("#!/bin/sh\nexec cat\n")
            (made / program).chmod(0o755)
        yield made


@pytest.fixture
def jail(directory: Path, need: Callable[..., str]) -> Path:
    """A root directory with /bin/server, and what that needs."""
    root = directory / "jail"
    for program in need("sh"), need("cat"):
        listing = subprocess.run([need("ldd"), program], capture_output=True, text=True, check=True).stdout
        for file in re.findall(r"(?:^|\s)(/\S+) \(0x", listing):
            (root / file[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, root / file[1:])
        (root / "bin").mkdir(exist_ok=True)
        shutil.copy(program, root / "bin" / Path(program).name)
    (root / "bin" / "server").write_text("#!/bin/sh\nexec /bin/cat\n")
    (root / "bin" / "server").chmod(0o755)
    return root


@pytest.fixture
def cgroup() -> Iterator[str]:
    """A new directory in the file system of cgroup v2."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for mount in mounts:
        path = Path(mount[4]) / f"setsid-test-{os.getpid()}"
        if "cgroup2" in mount[mount.index("-") :] and os.access(mount[4], os.W_OK):
            path.mkdir()
            yield str(path)
            path.rmdir()
            return
    pytest.skip("no cgroup v2 file system that may be written")


def test_every_section_has_its_test() -> None:
    assert list(SECTIONS) == list(EXAMPLES)
    assert sum(map(len, SECTIONS.values())) == PAGE.count("```python")


@pytest.mark.parametrize("section", [section for section in EXAMPLES if section != POOL])
def test_before_and_after_make_the_same_child(
    section: str, directory: Path, need: Callable[..., str], request: pytest.FixtureRequest
) -> None:
    blocks, expected = SECTIONS[section], EXAMPLES[section]
    if expected["root"] and os.geteuid() != 0:
        pytest.skip("needs root, to become another user or change the root directory")
    if section == "os.sched_setaffinity" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("needs two CPUs")
    if "chrt" in blocks[-1]:
        need("chrt")
        if not can_schedule():
            pytest.skip("this libc's sched_setscheduler(3) is none: ENOSYS")
    jail = request.getfixturevalue("jail") if "jail" in blocks[0] else ""
    cgroup = request.getfixturevalue("cgroup") if "cgroup" in blocks[0] else ""
    source = SETTING + expected["setting"] + OBSERVE
    states = [json.loads(fresh(source, directory, jail, cgroup, block).stdout) for block in (PLAIN, *blocks)]
    compare(states, expected)


def can_schedule() -> bool:
    """Not in musl, since POSIX has it speak of processes, and Linux's call is about threads."""
    try:
        os.sched_getscheduler(0)
    except OSError as error:
        return error.errno != errno.ENOSYS
    return True


def compare(states: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    """Of a plain child, one made in the old way, and one or more with a plan."""
    plain, before, *afters = states
    assert changed(plain, before) == expected["changes"]
    assert afters
    for after in afters:
        assert changed(before, after) == expected["differs"], (before, after)
        if expected["differs"]:
            assert (after["sid"], after["terminal"]) == ("its own", None)


def changed(one: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """The names of the facts in which they differ."""
    assert one.keys() == other.keys()
    return {name for name in one if one[name] != other[name]}


# Workers execute no program, and so are looked at as they are.
OBSERVE_WORKER = """
exec(sys.argv[4])
worker = pool.submit(os.getpid).result()
os.write(answer, json.dumps(seen(worker)).encode())
pool.shutdown()
log.close()
"""
PLAIN_POOL = 'pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))\n'


def test_before_and_after_make_the_same_worker(directory: Path) -> None:
    source = SETTING + OBSERVE_WORKER
    blocks = PLAIN_POOL, *SECTIONS[POOL]
    states = [json.loads(fresh(source, directory, "", "", block).stdout) for block in blocks]
    for state in states:
        del state["files"]  # the pool's own; how many there are depends on when one looks
    compare(states, EXAMPLES[POOL])


# A thread's own child, asked for an answer when the thread is gone.
OBSERVE_THREAD = """
import threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork among threads, rightly

def work(names):
    exec(sys.argv[4], names)

names = dict(globals())
thread = threading.Thread(target=work, args=(names,))
thread.start()
thread.join()
deadline = time.monotonic() + 60
while os.path.exists(f"/proc/self/task/{thread.native_id}") and time.monotonic() < deadline:
    os.sched_yield()
process = names["process"]
pidfd = os.pidfd_open(process.pid)
os.write(writer, b"1")
ready, _, _ = select.select([pidfd, reader], [], [], 60)
assert ready
os.write(answer, json.dumps(pidfd not in ready).encode())
process.kill()
process.wait()
os.close(pidfd)
log.close()
"""


def test_a_child_of_a_thread_that_ends_dies_in_the_old_way_and_lives_on_with_a_plan(directory: Path) -> None:
    source = SETTING + OBSERVE_THREAD
    before, after = [json.loads(fresh(source, directory, "", "", block).stdout) for block in SECTIONS[DEATH]]
    assert (before, after) == (False, True)


def test_what_the_old_way_hides_of_an_error_a_plan_tells() -> None:
    """The introduction's."""
    fresh(
        """
import subprocess
try:
    subprocess.Popen(["true"], preexec_fn=lambda: os.chdir("/nowhere"))
except subprocess.SubprocessError as error:
    assert str(error) == "Exception occurred in preexec_fn."
    assert not isinstance(error, OSError)
try:
    setsid.spawn(["true"], cwd="/nowhere")
except FileNotFoundError as error:
    assert (error.filename, error.call, error.stage) == ("/nowhere", "chdir", setsid.Stage.CWD)
else:
    raise AssertionError("not refused")
"""
    )
