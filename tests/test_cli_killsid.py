"""killsid: whom it ends, whom it does not, and what it tells. Each number that it is given is one of the helper's."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from sessions import command
from support import fresh
from test_end import BEHEADED, FAMILY

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's processes need root")

# For a helper: `killsid` runs it to its end, and `told` is each session's lines, without the commands.
KILLSID = (
    FAMILY
    + """
import json, subprocess, sysconfig

# Deaf, says when it is, and when it has been signalled.
DEAF = '''
import os, signal
signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'!'))
os.write(1, b'.')
while True:
    signal.pause()
'''
KILLSID = os.path.join(sysconfig.get_path("scripts"), "killsid")

def start(*arguments, **changes):
    return subprocess.Popen(
        [KILLSID, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **changes
    )

def killsid(*arguments, **changes):
    running = start(*arguments, **changes)
    out, err = running.communicate(timeout=60)
    return running.returncode, out, err

def told(text):
    sessions = {}
    for line in text.splitlines():
        if line.startswith("  "):
            verb, pid = line.replace("would end", "would").split()[:2]
            sessions[name].append((verb, int(pid)))
        else:
            name = line
            sessions[name] = []
    return {name: sorted(lines) for name, lines in sessions.items()}
"""
)


def test_all_of_a_session_end_and_are_named() -> None:
    fresh(
        KILLSID
        + """
process, pids = family("", "g", "gs", "")
code, out, err = killsid(process.pid)
assert (code, err) == (0, ""), err
assert told(out) == {f"session {process.pid}": sorted(("ended", pid) for pid in (process.pid, *pids))}
assert not any(map(lives, (process.pid, *pids)))
assert out.count(f" {sys.executable} -ISc ") == 4, out  # the commands were looked up before
assert process.wait() == -signal.SIGTERM
"""
    )


def test_a_process_means_the_session_that_it_is_in() -> None:
    fresh(
        KILLSID
        + """
process, pids = family("", "g")
other, _ = family("")
code, out, err = killsid(pids[0])
assert (code, err) == (0, ""), err
assert [*told(out)] == [f"session {process.pid} (of process {pids[0]})"]
assert not lives(process.pid) and lives(other.pid)
"""
    )


def test_a_terminal_means_its_session() -> None:
    fresh(
        KILLSID
        + """
for name in lambda path: path, lambda path: path.removeprefix("/dev/"):
    manager, terminal = os.openpty()
    path = os.ttyname(terminal)
    process, pids = family("", "g", ctty=terminal)
    code, out, err = killsid("--tty", name(path))
    assert (code, err) == (0, ""), err
    assert [*told(out)] == [f"session {process.pid} (on {path[5:]})"]
    assert not any(map(lives, (process.pid, *pids)))
"""
    )


def test_several_sessions_in_their_order_each_once() -> None:
    fresh(
        KILLSID
        + """
first, (member,) = family("", "g")
second, _ = family("")
third, _ = family("")
code, out, err = killsid(third.pid, first.pid, member, third.pid, second.pid)
assert (code, err) == (0, ""), err
assert [*told(out)] == [f"session {process.pid}" for process in (third, first, second)]
assert not any(lives(process.pid) for process in (first, second, third))
"""
    )


def test_the_grace_is_one_for_all_sessions() -> None:
    # Each deaf one says when it has been signalled; if they were ended one after the other, the second would say it
    # only once the first has been killed.
    fresh(
        KILLSID
        + """
reader, writer = os.pipe()
deaf = [setsid.spawn([sys.executable, "-ISc", DEAF], stdout=writer) for _ in range(3)]
assert b"".join(os.read(reader, 1) for _ in deaf) == b"..."
running = start("--grace", 60, *(process.pid for process in deaf))
assert b"".join(os.read(reader, 1) for _ in deaf) == b"!!!"
assert all(lives(process.pid) for process in deaf)
for process in deaf:
    process.kill()
out, err = running.communicate(timeout=30)
assert (running.returncode, err, len(told(out))) == (0, "", 3)
"""
    )


@pytest.mark.parametrize("name", ["HUP", "SIGHUP", "hup", "1"])
def test_the_first_signal(name: str) -> None:
    fresh(
        KILLSID
        + """
process, _ = family("d")
assert killsid("-s", sys.argv[1], process.pid)[0] == 0
assert process.wait() == -signal.SIGHUP
""",
        name,
    )


@pytest.mark.parametrize("name", ["RTMIN+2", "SIGRTMAX-3"])
def test_a_real_time_signal(name: str) -> None:
    fresh(
        KILLSID
        + """
process, _ = family("")
assert killsid("--signal=" + sys.argv[1], process.pid)[0] == 0
assert process.wait() == -{"RTMIN+2": signal.SIGRTMIN + 2, "SIGRTMAX-3": signal.SIGRTMAX - 3}[sys.argv[1]]
""",
        name,
    )


def test_the_deaf_are_killed_after_the_grace() -> None:
    fresh(
        KILLSID
        + """
process, pids = family("d", "dg")
code, out, err = killsid("-g", "0.05", process.pid)
assert (code, err) == (0, ""), err
assert told(out) == {f"session {process.pid}": sorted(("ended", pid) for pid in (process.pid, *pids))}
assert process.wait() == -signal.SIGKILL
"""
    )


def test_a_dry_run_only_shows() -> None:
    fresh(
        KILLSID
        + """
process, pids = family("", "g")
code, out, err = killsid("-n", pids[0])
assert (code, err) == (0, ""), err
name = f"session {process.pid} (of process {pids[0]})"
assert told(out) == {name: sorted(("would", pid) for pid in (process.pid, *pids))}
code, out, err = killsid("--dry-run", "--json", process.pid)
report = json.loads(out)
(session,) = report.pop("sessions")
assert report == {"signal": "SIGTERM", "grace": 5.0, "dry_run": True, "interrupted": False}
assert sorted(one["pid"] for one in session.pop("processes")) == sorted((process.pid, *pids))
assert session == {"sid": process.pid, "pid": None, "error": None}
assert all(map(lives, (process.pid, *pids)))
process.end(0)
"""
    )


def test_json() -> None:
    fresh(
        KILLSID
        + """
process, pids = family("", "g")
cmdline = open(f"/proc/{pids[0]}/cmdline", "rb").read()
code, out, err = killsid("-J", "-g", "2", "-sINT", pids[0])
assert (code, err) == (0, ""), err
report = json.loads(out)
(session,) = report.pop("sessions")
assert report == {"signal": "SIGINT", "grace": 2.0, "dry_run": False, "interrupted": False}
processes = {one["pid"]: one for one in session.pop("processes")}
everyone = sorted((process.pid, *pids))
assert sorted(processes) == everyone
assert session == {
    "sid": process.pid, "pid": pids[0], "ended": everyone, "survived": [], "escaped": [], "error": None
}
member = processes[pids[0]]
assert (member["ppid"], member["uid"], member["state"]) == (process.pid, os.geteuid(), "S")
assert [os.fsencode(word) for word in member["args"]] == cmdline.split(b"\\0")[:-1]
"""
    )


def test_who_has_escaped_is_named_and_goes_on() -> None:
    fresh(
        KILLSID
        + """
reader, writer = os.pipe()
source = '''
import os
if os.fork() == 0:
    os.setsid()
    os.write(1, b"%d " % os.getpid())
os.read(0, 1)
'''
process = setsid.spawn([sys.executable, "-ISc", source], stdin=_lifeline[0], stdout=writer)
escaped = int(os.read(reader, 20))
code, out, err = killsid(process.pid)
assert (code, err) == (0, ""), err
assert told(out) == {f"session {process.pid}": [("ended", process.pid), ("escaped", escaped)]}
assert f"(now in session {escaped})" in out and lives(escaped)
process.wait()
code, out, _ = killsid("--json", escaped)
assert code == 0 and not lives(escaped)
"""
    )


@needs_root
def test_a_survivor_that_is_another_users() -> None:
    # What killsid imports late is imported here: where Python is, nobody may not read.
    fresh(
        KILLSID
        + """
import pwd, threading, setsid._ending
from setsid.cli.killsid import main

def as_nobody(*words):
    reader, writer = os.pipe()
    viewer = setsid.fork(user=65534, group=65534, extra_groups=())
    if viewer is None:
        os.dup2(writer, 1)
        os._exit(main([str(word) for word in words]))
    os.close(writer)
    with open(reader) as file:
        out = file.read()
    code = viewer.wait()
    viewer.close()
    return code, out

process, (member,) = family("u", "g")  # the member stays root, the leader is nobody
code, out = as_nobody("-g", "0.01", "-J", process.pid)
assert code == 1
(session,) = json.loads(out)["sessions"]
assert session["ended"] == [process.pid], session
assert [(one["pid"], one["reason"], one["user"]) for one in session["survived"]] == [(member, "not permitted", "root")]
assert lives(member)
code, out = as_nobody("-g", "0.01", member)
assert code == 1
assert told(out) == {f"session {process.pid} (of process {member})": [("survived", member)]}
assert out.endswith(" (not permitted: it is root's)\\n"), out
assert lives(member)
os.kill(member, signal.SIGKILL)
"""
    )


def test_ctrl_c_kills_at_once() -> None:
    fresh(
        KILLSID
        + """
reader, writer = os.pipe()
deaf = [setsid.spawn([sys.executable, "-ISc", DEAF], stdout=writer) for _ in range(2)]
assert b"".join(os.read(reader, 1) for _ in deaf) == b".."
running = start("--grace", 3600, *(process.pid for process in deaf))
assert b"".join(os.read(reader, 1) for _ in deaf) == b"!!"
running.send_signal(signal.SIGINT)
out, err = running.communicate(timeout=30)
assert (running.returncode, err) == (130, ""), err
assert told(out) == {f"session {process.pid}": [("ended", process.pid)] for process in deaf}
assert [process.wait() for process in deaf] == [-signal.SIGKILL] * 2
"""
    )


# -- what is refused

REFUSED = (
    KILLSID
    + """
def refused(message, *words):
    innocent, pids = family("", "g")
    for arguments in words, (innocent.pid, *words), (*words, "-n", innocent.pid), ("--json", innocent.pid, *words):
        assert killsid(*arguments) == (1, "", f"killsid: {message}\\n"), killsid(*arguments)
    assert lives(innocent.pid) and all(map(lives, pids))
    assert status(innocent.pid)["ShdPnd"] == "0" * 16
    innocent.end(0)
"""
)


def test_its_own_session_is_refused_and_then_nobody_is_signalled() -> None:
    fresh(
        REFUSED
        + """
own = os.getsid(0)
assert own == os.getpid()
refused(f"session {own} is the one that killsid runs in", own)
child = os.fork()
if child == 0:
    signal.pause()
refused(f"session {own} (of process {child}) is the one that killsid runs in", child)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""
    )


def test_its_own_terminal_is_refused() -> None:
    fresh(
        REFUSED
        + """
manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)
name = os.ttyname(terminal).removeprefix("/dev/")
refused(f"session {os.getpid()} (on {name}) is the one that killsid runs in", "--tty", name)
"""
    )


def test_what_is_not_there_is_refused() -> None:
    fresh(
        REFUSED
        + """
ended = setsid.spawn(["true"])
ended.wait()
refused(f"there is no session or process {ended.pid}", ended.pid)
manager, terminal = os.openpty()
name = os.ttyname(terminal).removeprefix("/dev/")
refused(f"no session has the terminal {name}", "-t", name)
zombie, pids = family("", "g")
os.kill(pids[0], signal.SIGKILL)
fd = os.pidfd_open(pids[0])
select.select([fd], [], [])
refused(f"process {pids[0]} has ended, or left session {zombie.pid}", pids[0])
zombie.end(0)
"""
    )


def test_each_reason_is_told() -> None:
    fresh(
        KILLSID
        + """
ended = setsid.spawn(["true"])
ended.wait()
code, out, err = killsid(ended.pid, os.getpid())
assert (code, out) == (1, "")
own = os.getpid()
assert err.splitlines() == [
    f"killsid: there is no session or process {ended.pid}",
    f"killsid: session {own} is the one that killsid runs in",
]
"""
    )


def test_0_process_1_and_their_session_are_refused(need: Callable[..., str]) -> None:
    wrapper = (need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc")
    source = (
        KILLSID
        + """
assert os.getpid() == 1 and os.getsid(0) == 0
def refused(message, *words):
    assert killsid(*words, start_new_session=True) == (1, "", f"killsid: {message}\\n"), killsid(*words)
refused("session 0 is none, but what the kernel and other pid namespaces show by that number", 0)
refused("process 1 is in no session of this pid namespace", 1)
os.setsid()
refused("session 1 holds process 1, with which the system or the container ends", 1)
child, _ = family("", process_group=setsid.INHERIT)
name = f"session 1 (of process {child.pid})"
refused(f"{name} holds process 1, with which the system or the container ends", child.pid)
assert lives(child.pid)
child.send_signal(signal.SIGKILL)
child.wait()
"""
    )
    result = fresh(source, wrapper=wrapper, check=False)
    if "unshare failed" in result.stderr:
        pytest.skip(f"no pid namespace here: {result.stderr}")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no session specified"),
        (["one"], "'one' is not a number"),
        (["9" * 5000], f"'{'9' * 5000}' is not a number"),
        (["1.5"], "'1.5' is not a number"),
        (["--", "-5"], "'-5' is not a number"),
        (["--nothing"], "unrecognized option '--nothing'"),
        (["--signal=NOTHING"], "signal: there is no signal 'NOTHING'"),
        (["-s", "9" * 5000], f"signal: there is no signal '{'9' * 5000}'"),
        (["-s0"], "signal: there is no signal '0'"),
        (["-s", "99"], "signal: there is no signal '99'"),
        (["-s", "RTMIN+99"], "signal: there is no signal 'RTMIN+99'"),
        (["-s", "_DFL"], "signal: there is no signal '_DFL'"),
        (["-g", "soon"], "grace: 'soon' is not a number of seconds"),
        (["-g", "-1"], "grace: '-1' is not a number of seconds"),
        (["-g", "nan"], "grace: 'nan' is not a number of seconds"),
        (["-g", "inf"], "grace: 'inf' is not a number of seconds"),
        (["--tty", "-"], "tty: '-' is not a terminal"),
        (["--tty="], "tty: '' is not a terminal"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str) -> None:
    result = command("killsid", *arguments)
    told = f"killsid: {message}\nTry 'killsid --help' for more information.\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", told)


# -- who is dead already


def test_a_session_of_zombies_has_nobody_left() -> None:
    fresh(
        KILLSID
        + """
process, _ = family("e")
code, out, err = killsid(process.pid)
assert (code, out, err) == (0, f"session {process.pid}: no process lives\\n", "")
assert process.wait() == 5
"""
    )


def test_a_zombie_leaders_session_is_ended() -> None:
    fresh(
        KILLSID
        + """
process, pids = family("e", "g")
code, out, err = killsid(process.pid)
assert (code, err) == (0, ""), err
assert told(out) == {f"session {process.pid}": [("ended", pids[0])]}
assert not lives(pids[0])
"""
    )


def test_a_process_whose_main_thread_alone_has_ended_is_ended() -> None:
    fresh(
        KILLSID
        + BEHEADED
        + """
source = '''
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).pthread_exit(None)
'''
process = setsid.spawn([sys.executable, "-c", source])
until_beheaded(process.pid)
code, out, err = killsid(process.pid)
assert (code, err) == (0, ""), err
assert process.wait() == -signal.SIGTERM
"""
    )


def test_hostile_names_drive_no_terminal() -> None:
    fresh(
        KILLSID
        + """
process = setsid.spawn(["sh", "-c", "read line", "a\\nb\\x1b[2J"], stdin=_lifeline[0])
code, out, err = killsid(process.pid)
assert out == f"session {process.pid}\\n  ended    {process.pid} sh -c read line a\\\\nb\\\\x1b[2J\\n", out
assert process.wait() == -signal.SIGTERM
"""
    )
