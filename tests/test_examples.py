"""The demo and the tour: what they claim is so, in whatever state they are started, and they leave no process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import TESTS, example, fresh

EXAMPLES = TESTS.parent / "examples"
TOUR = sorted(path.name for path in (EXAMPLES / "tour").glob("*.py"))
# What a program leads where it is started: a shell starts a group leader, a script one that leads nothing.
PLACES = {"session": "setsid.NEW_SESSION", "group": "0", "nothing": "setsid.INHERIT"}

# Runs a program as its child, and is the parent that orphans get (prctl(2)): none is overlooked.
RUN = """
import ctypes, fcntl, json, select, struct, termios
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

def read(fd):
    output = b""
    try:
        while chunk := os.read(fd, 65536):
            output += chunk
    except OSError as error:
        assert error.errno == errno.EIO  # a terminal that everybody has closed
    return output.decode()

on_terminal, process_group, argv = json.loads(sys.argv[1]), PROCESS_GROUP, sys.argv[2:]
stderr = os.memfd_create("stderr")
if on_terminal:
    reader, writer = os.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    setup = setsid.ChildSetup.on_terminal(writer, stderr=stderr)
else:
    reader, writer = os.pipe()
    setup = setsid.ChildSetup(stdout=writer, stderr=stderr, process_group=process_group)
process = setsid.spawn(argv, setup)
ids = {"pid": process.pid, "pgid": os.getpgid(process.pid), "sid": os.getsid(process.pid)}
os.close(writer)
stdout = read(reader)
returncode = process.wait()
left = []
for pid in children():
    # A signal that an example has sent may still be at work. What has been told nothing runs on for long.
    if select.select([os.pidfd_open(pid)], [], [], 2)[0]:
        os.waitpid(pid, 0)
    else:
        left.append(status(pid)["Name"])
        os.kill(pid, signal.SIGKILL)
errors = os.pread(stderr, 1 << 20, 0).decode()
print(json.dumps({**ids, "stdout": stdout, "stderr": errors, "returncode": returncode, "left": left}))
"""


def run(
    name: str,
    *args: object,
    leads: str = "session",
    on_terminal: bool = False,
    env: dict[str, str] | None = None,
    wrapper: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Run an example, with warnings as errors; its ids and output. Fails unless all went well and nothing is left."""
    argv = [*wrapper, sys.executable, "-X", "dev", "-W", "error", *example(EXAMPLES / name), *args]
    source = RUN.replace("PROCESS_GROUP", PLACES[leads])
    helper = fresh(
        source, json.dumps(on_terminal), *argv, env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})}
    )
    result: dict[str, Any] = json.loads(helper.stdout)
    assert (result["returncode"], result["stderr"], result["left"]) == (0, "", [])
    result["stdout"] = result["stdout"].replace("\r\n", "\n")
    return result


def numbers(pattern: str, text: str) -> tuple[int, ...]:
    """The numbers that a line of the output tells, where the pattern has N."""
    found = re.findall("^" + re.sub(r"\bN\b", "([0-9]+)", pattern) + "$", text, re.MULTILINE)
    assert len(found) == 1, f"{pattern!r} is there {len(found)} times:\n{text}"
    return tuple(map(int, found[0] if isinstance(found[0], tuple) else (found[0],)))


leads = pytest.mark.parametrize("leads", PLACES)


@pytest.mark.parametrize("on_terminal", [True, False])
def test_a_new_session_has_the_ids_of_its_leader_and_no_terminal(on_terminal: bool) -> None:
    result = run("tour/01_new_session.py", on_terminal=on_terminal)
    ids = "pid N, group N, session N, controlling terminal: "
    before = numbers(f"before setsid: {ids}{'yes' if on_terminal else 'no'}", result["stdout"])
    pid = before[0]
    assert before == (pid, result["pgid"], result["sid"])
    assert numbers(f"after  setsid: {ids}no", result["stdout"]) == (pid, pid, pid)
    assert pid != result["sid"]


@leads
def test_a_group_leader_has_two_ways_to_a_new_session(leads: str) -> None:
    result = run("tour/02_group_leader.py", leads=leads)
    text, own = result["stdout"], result["pid"]
    assert numbers("group leader: pid N, group N", text) == (own, own)
    kind = "session" if leads == "session" else "process group"
    refused = re.escape("setsid: [Errno 1] Operation not permitted (setsid): ")
    assert numbers(f"{refused}process N already leads {kind} N.*", text) == (own, own)
    for way in "forked", "spawned":
        pid, sid = numbers(f"{way}: pid N, session N", text)
        assert pid == sid != own


@leads
def test_groups_are_led_and_joined(leads: str) -> None:
    text = run("tour/03_groups.py", leads=leads)["stdout"]
    for way in "forked", "spawned":
        leader, group = numbers(f"{way} leader: pid N, group N", text)
        assert leader == group
        member, group = numbers(f"{way} member: pid N, group N", text)
        assert (leader == group, member == group) == (True, False)
    assert "one session: True\n" in text


@leads
def test_setpgid_refuses_with_three_errors(leads: str) -> None:
    result = run("tour/04_setpgid_errors.py", leads=leads)
    errors = re.findall(r"^(.+?): \[Errno ([0-9]+)\] .+ \(setpgid\): .+$", result["stdout"], re.MULTILINE)
    assert [(what, int(number)) for what, number in errors] == [
        ("a process that is no child", 3),
        ("a process that is gone", 3),
        ("a child that has executed a program", 13),
        ("a child in another session", 1),
        ("a group of another session", 1),
        ("a group that is gone", 1),
        ("a session leader", 1),
    ]
    assert result["stdout"].count("\n") == len(errors)
    ids = numbers("a process that is no child: .*process N is no child of process N: its parent is N", result["stdout"])
    assert ids[0] == result["pid"]
    session, sid = numbers("a group of another session: .*process group N is in session N, not .*", result["stdout"])[
        :2
    ]
    assert session == sid != result["sid"]


@leads
def test_a_session_leader_stays_in_its_group(leads: str) -> None:
    result = run("tour/05_leader_setpgid.py", leads=leads)
    first, refused, child, last = result["stdout"].splitlines()
    pid = numbers("leader: pid N, group N, session N", first)[0]
    assert pid != result["pid"]
    assert first == last == f"leader: pid {pid}, group {pid}, session {pid}"
    assert refused.startswith("setpgid: [Errno 1] Operation not permitted (setpgid)")
    member, group, sid = numbers("its child: pid N, group N, session N", child)
    assert (member == group != pid, sid) == (True, pid)


@leads
def test_exec_changes_no_id(leads: str) -> None:
    result = run("tour/06_exec_keeps_session.py", leads=leads)
    first = numbers("first program: pid N, group N, session N", result["stdout"])
    assert first == (first[0],) * 3
    assert first[0] != result["pid"]
    assert numbers("second program: pid N, group N, session N", result["stdout"]) == first


@leads
def test_a_signal_ends_a_group_and_nobody_else(leads: str) -> None:
    text = run("tour/07_signal_group.py", leads=leads)["stdout"]
    ids = {who: numbers(f"{who}: pid N, group N", text) for who in ("leader", "grandchild", "member", "outsider")}
    leader, outsider = ids["leader"][0], ids["outsider"][0]
    assert [group for _, group in ids.values()] == [leader, leader, leader, outsider]
    assert len({pid for pid, _ in ids.values()}) == 4
    assert text.splitlines()[4:] == [
        "leader ended by SIGTERM",
        "member ended by SIGTERM",
        "grandchild has ended",
        "outsider still runs",
    ]


def test_sessions_are_compared_and_missing_processes_named() -> None:
    missing = 1 << 22  # Linux gives no pid as high as this: proc_sys_kernel(5), pid_max
    pids = [os.getpid(), os.getppid(), missing]
    text = run("tour/08_compare_sessions.py", *pids)["stdout"]
    sessions: dict[int, int] = {}
    for sid, members in re.findall(r"^session ([0-9]+): ([0-9 ]+)$", text, re.MULTILINE):
        sessions |= dict.fromkeys(map(int, members.split()), int(sid))
    expected = {pid: os.getsid(pid) for pid in pids[:2] if pid}
    assert {pid: sessions.get(pid, 0) for pid in expected} == expected
    assert f"\nmissing: {missing}: [Errno 3] No such process" in f"\n{text}"
    assert "forbidden" not in text


@pytest.fixture
def leader() -> Iterator[int]:
    """A session leader's pid. The runner's own session may belong to another pid namespace, which shows it as 0."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process.pid


def test_processes_of_one_session_share_a_line(leader: int) -> None:
    result = run("tour/08_compare_sessions.py", leader, leader)
    assert result["stdout"] == f"session {leader}: {leader} {leader}\n"


def test_a_session_of_another_pid_namespace_has_no_number(need: Any) -> None:
    wrapper = (need("strace"), "-o", "/dev/null", "-e", "inject=getsid:retval=0")
    result = run("tour/08_compare_sessions.py", os.getpid(), wrapper=wrapper)
    assert result["stdout"] == f"a session of another pid namespace: {os.getpid()}\n"


def test_a_forbidden_process_is_told_from_a_missing_one(need: Any, leader: int) -> None:
    # Few systems forbid the question, so strace makes the second answer a refusal.
    wrapper = (need("strace"), "-o", "/dev/null", "-e", "inject=getsid:error=EPERM:when=2")
    result = run("tour/08_compare_sessions.py", leader, leader, 1 << 22, wrapper=wrapper)
    assert [line.partition(" [")[0] for line in result["stdout"].splitlines()] == [
        f"forbidden: {leader}:",
        f"missing: {1 << 22}:",
        f"session {leader}: {leader}",
    ]


@leads
def test_a_session_of_its_own_outlives_the_terminal(leads: str) -> None:
    text = run("tour/09_outlive_terminal.py", leads=leads)["stdout"]
    (leader,) = numbers("session leader: pid N, ended by SIGHUP", text)
    names = ["the terminal's session", "the same, SIGHUP ignored", "a session of its own"]
    ids = [numbers(f"{name}: pid N, session N", text) for name in names]
    assert [sid for _, sid in ids] == [leader, leader, ids[2][0]]
    assert len({leader, *(pid for pid, _ in ids)}) == 4
    assert text.splitlines()[4:] == [
        "the terminal's session: has ended",
        "the same, SIGHUP ignored: still runs",
        "a session of its own: still runs",
    ]


def check_demo(text: str) -> None:
    """What the demo shows agrees with what it says that it shows."""
    (shell,) = numbers("An interactive sh, process N. Its controlling terminal is /dev/.*:", text)
    rows = re.findall(r"^ +([0-9]+) +([0-9]+) +([0-9]+) +(\S+) +([0-9]+) +(\S+)$", text, re.MULTILINE)
    pids = {comm: int(pid) for pid, _, _, _, _, comm in rows}
    assert sorted(pids) == ["ps", "sh", "sleep"]
    assert pids["sh"] == shell
    assert [int(pgid) for _, pgid, *_ in rows] == [int(pid) for pid, *_ in rows]
    assert {(int(sid), int(tpgid)) for _, _, sid, _, tpgid, _ in rows} == {(shell, pids["ps"])}
    assert re.search(rf"\[1\] ?\+ +{pids['sleep']} Running +sleep 30", text)
    assert re.search(r"\[1\] ?\+ +Terminated +sleep 30", text)
    check_picture(text, pids)
    assert numbers(" +Now the terminal itself says: session N, foreground group N.", text) == (shell, shell)
    unwrapped = " ".join(text.split())
    error = r"PermissionError: \[Errno 1\] Operation not permitted"
    assert re.search(rf"{error} \(setsid\): process ([0-9]+) already leads process group \1;", unwrapped)
    taken = rf"{error} \(ioctl\(TIOCSCTTY\), stage ctty\): /dev/\S+ is the controlling terminal of session"
    assert re.search(rf"{taken} {shell}$", unwrapped)


def check_picture(text: str, pids: dict[str, int]) -> None:
    """The picture has every process in its group, each leader is named, and the keyboard is at the right one."""
    bare = re.sub(r"[┌┐└┘─│◄<|+-]+", " ", text.partition("drawn from what it said:")[2])
    words = [" ".join(line.split()) for line in bare.splitlines()]
    first = next(number for number, line in enumerate(words) if line.startswith(f"session {pids['sh']}, terminal "))
    assert [line for line in words[first + 1 : first + 10] if line] == [
        f"group {pids['sh']}, background",
        f"sh {pids['sh']} leads session and group",
        f"group {pids['sleep']}, background",
        f"sleep {pids['sleep']} leads group",
        f"group {pids['ps']}, foreground keyboard, Ctrl C",
        f"ps {pids['ps']} leads group",
    ]


@pytest.mark.parametrize("shell", ["sh", "bash", "dash"])
def test_the_demo_shows_the_shell_in_its_session(shell: str, tmp_path: Path, need: Any) -> None:
    need("ps")
    (tmp_path / "sh").symlink_to(need(shell))
    home = tmp_path / "home"
    home.mkdir()
    text = run("demo.py", env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(home)})["stdout"]
    check_demo(text)
    assert max(map(len, text.splitlines())) <= 80
    assert os.listdir(home) == []  # no history of commands that nobody typed


def test_the_demo_fits_a_terminal_of_80_columns(need: Any) -> None:
    need("ps")
    text = run("demo.py", on_terminal=True)["stdout"]
    check_demo(text)
    assert max(map(len, text.splitlines())) <= 80
    assert "┌─ session " in text


def test_the_demo_draws_in_ascii_where_it_must(need: Any) -> None:
    need("ps")
    text = run("demo.py", env={"PYTHONIOENCODING": "ascii"})["stdout"]
    check_demo(text)
    assert text.isascii()
    assert "+- session " in text


def test_the_demo_names_ps_where_it_is_missing(tmp_path: Path) -> None:
    result = fresh(
        "import subprocess\n"
        "result = subprocess.run([sys.executable, *sys.argv[1:]], capture_output=True, text=True)\n"
        "print(result.returncode, result.stdout + result.stderr, end='')\n",
        EXAMPLES / "demo.py",
        env={**os.environ, "PATH": str(tmp_path)},
    )
    assert result.stdout == "1 demo: ps is missing; install it (Debian: procps)\n"


def test_every_example_is_listed_once() -> None:
    listed = re.findall(r"^\| `(\S+\.py)", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert listed == TOUR
