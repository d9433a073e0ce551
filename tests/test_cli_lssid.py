"""lssid: what it shows, of whom, and how."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import setsid
from sessions import Scene, command, on_terminal
from setsid.cli import _text
from setsid.cli._look import Seen
from setsid.cli.lssid import _table, main
from support import ON_PYPY, fresh, session_of, status

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user's processes need root")


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with Scene() as scene:
        yield scene


@contextmanager
def sleeping(*arguments: str | bytes, **changes: Any) -> Iterator[setsid.Process]:
    """A process that leads a session and waits, with these arguments of its own."""
    reader, writer = os.pipe()
    argv = ["/bin/sh", "-c", "read line", *arguments]
    process = setsid.spawn(argv, stdin=reader, **changes)
    os.close(reader)
    try:
        yield process
    finally:
        os.close(writer)
        process.wait()
        process.close()


def lssid(*arguments: object) -> str:
    """What it writes to a pipe."""
    result = command("lssid", *arguments)
    assert (result.returncode, result.stderr) == (0, "")
    return str(result.stdout)


def rows(text: str) -> list[list[str]]:
    """The cells of each line but the first, the command in one."""
    return [line.split(None, 6) for line in text.splitlines()[1:]]


def sids(*arguments: object) -> set[int]:
    return {int(row[0]) for row in rows(lssid(*arguments))}


def as_json(*arguments: object) -> list[dict[str, Any]]:
    found = json.loads(lssid("--json", *arguments))["sessions"]
    assert isinstance(found, list)
    return found


# -- what is shown


def test_a_line_is_complete_where_output_is_no_terminal(scene: Scene) -> None:
    pids, tty, user = scene.pids, scene.tty.removeprefix("/dev/"), _text.user_in_table(os.geteuid())
    found = {row[4]: row for row in rows(lssid(scene.sid))}
    assert found.keys() == {str(pid) for pid in pids.values()}
    assert {(row[0], row[1], row[2]) for row in found.values()} == {(str(scene.sid), tty, user)}
    groups = {"leader": "leader", "zombie": "leader", "second": "first"}
    assert {name: int(found[str(pid)][3]) for name, pid in pids.items()} == {
        name: pids[groups.get(name, name)] for name in pids
    }


def test_marks(scene: Scene) -> None:
    found = {int(row[4]): row[5] for row in rows(lssid(scene.sid))}
    marks = {"leader": "Ss", "zombie": "Z", "first": "S+", "second": "S+", "stopped": "T", "orphan": "So"}
    assert {name: found[pid] for name, pid in scene.pids.items()} == marks


def test_the_tree(scene: Scene) -> None:
    pids = scene.pids
    written = lssid("-w0", scene.sid).splitlines()
    groups = sorted(pids[name] for name in ("first", "stopped", "orphan"))
    names = {pid: name for name, pid in pids.items()}
    lines = [f"{scene.sid} {scene.tty[5:]} {_text.user_in_table(os.geteuid())} ┬ {scene.sid} ┬ {scene.sid} Ss"]
    lines.append(f"│ └ {pids['zombie']} Z")
    for pgid in groups:
        branch, below = ("└", "") if pgid == groups[-1] else ("├", "│ ")
        if names[pgid] == "first":
            lines += [f"{branch} {pgid} ┬ {pgid} S+", f"{below}└ {pids['second']} S+"]
        else:
            lines.append(f"{branch} {pgid} {pgid} " + ("T" if names[pgid] == "stopped" else "So"))
    assert written[0].split() == ["SID", "TTY", "USER", "PGID", "PID", "STAT", "COMMAND"]
    column = written[0].index("COMMAND")
    assert [" ".join(line[:column].split()) for line in written[1:]] == lines
    assert len(written[0]) == len(lssid(scene.sid).splitlines()[0]) + 4  # where no lines are there is no room for them
    # The lines of one kind stand below each other.
    first, second = (match.start() for match in re.finditer("┬", written[1]))
    assert {line[first] for line in written[1:]} <= set("┬├└│ ")
    assert {line[second] for line in written[1:]} <= set("┬└ ")
    name = Path(f"/proc/{pids['zombie']}/comm").read_text().strip()
    assert written[2][column:] == f"[{name}] <defunct>"


def test_a_session_of_one_process_is_one_line_without_lines() -> None:
    with sleeping() as one, sleeping() as other:
        text = lssid("-w", "0", one.pid, other.pid)
    assert len(text.splitlines()) == 3
    assert not set(text) & set("┬├└│")


def test_json_says_what_proc_does(scene: Scene) -> None:
    (session,) = as_json(scene.sid)
    assert {key: value for key, value in session.items() if key != "groups"} == {
        "sid": scene.sid,
        "has_leader": True,
        "uid": os.geteuid(),
        "user": _text.user(os.geteuid()),
        "tty": scene.tty,
        "foreground_pgid": scene.pids["first"],
    }
    groups = {group["pgid"]: group for group in session["groups"]}
    pids = scene.pids
    assert [pgid for pgid, group in groups.items() if group["is_foreground"]] == [pids["first"]]
    assert {pgid for pgid, group in groups.items() if group["is_orphaned"]} == {pids["leader"], pids["orphan"]}
    for pgid, group in groups.items():
        for process in group["processes"]:
            pid = process["pid"]
            facts = session_of(pid)
            assert (facts["sid"], facts["pgid"], facts["ppid"]) == (scene.sid, pgid, process["ppid"])
            assert process["state"] == status(pid)["State"][0]
            assert process["uid"] == int(status(pid)["Uid"].split()[1])
            assert (process["tty"] is None) == (facts["tty"] == 0)
            assert process["comm"] == Path(f"/proc/{pid}/comm").read_text().removesuffix("\n")
            cmdline = Path(f"/proc/{pid}/cmdline").read_bytes()
            assert process["args"] == [os.fsdecode(word) for word in cmdline.split(b"\0")[:-1]]
            assert 0 <= time.time() - process["start_time"] < 600
    shown = {process["pid"] for group in groups.values() for process in group["processes"]}
    assert shown == set(pids.values())


def test_a_session_that_has_lost_its_leader() -> None:
    source = "import os\nif os.fork():\n os._exit(0)\nos.setpgid(0, 0)\nos.write(1, b'%d' % os.getpid())\nos.read(0, 1)"
    stdin, stdout = os.pipe(), os.pipe()
    leader = setsid.spawn([sys.executable, "-ISc", source], stdin=stdin[0], stdout=stdout[1])
    leader.wait()
    pid = int(os.read(stdout[0], 20))
    try:
        (row,) = rows(lssid(leader.pid))
        (session,) = as_json(leader.pid)
    finally:
        leader.close()
        for fd in (*stdin, *stdout):
            os.close(fd)
    assert row[0] == str(leader.pid)
    assert row[3:6] == [str(pid), str(pid), "So"]
    assert (session["has_leader"], session["groups"][0]["is_orphaned"]) == (False, True)


def test_kernel_threads_are_left_out() -> None:
    if not os.path.exists("/proc/2") or status(2)["Name"] != "kthreadd":
        pytest.skip("no kernel threads here")
    kernels = {2, *(int(path.name) for path in Path("/proc").glob("[0-9]*") if parent(int(path.name)) == 2)}
    shown = {int(row[4]) for row in rows(lssid("--all"))}
    assert os.getpid() in shown
    assert shown & kernels == set()
    result = command("lssid", "--pid", "2")
    told = "lssid: process 2 is a kernel thread, which is in no session\n"
    assert (result.returncode, result.stdout, result.stderr) == (1, "", told)


def parent(pid: int) -> int:
    try:
        return session_of(pid)["ppid"]
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return 0


def test_groups_come_by_their_numbers_but_the_leaders_first() -> None:
    seen = Seen(9)
    for pid, pgid in (3, 9), (4, 4), (7, 8), (8, 8), (9, 9), (12, 12):
        seen.processes.append(setsid.ProcessInfo(pid, 1, pgid, 9, None, "S", "sh", ("sh",), 0.0, None, 0, False))
    groups = {pgid: [process.pid for process in processes] for pgid, processes in seen.groups().items()}
    assert [*groups.items()] == [(9, [9, 3]), (4, [4]), (8, [8, 7]), (12, [12])]


def test_0_is_no_session_and_so_has_no_foreground_and_no_orphans() -> None:
    seen = Seen(0)
    for pid, pgid in (7, 0), (8, 9):
        seen.processes.append(setsid.ProcessInfo(pid, 0, pgid, 0, "/dev/pts/4", "S", "sh", ("sh",), 0.0, 0, 0, False))
    assert [line.split()[-3:] for line in _table([seen], 0).splitlines()[1:]] == [["7", "S", "sh"], ["8", "S", "sh"]]


# -- who is shown


def test_nothing_asked_means_the_sessions_of_the_caller(scene: Scene) -> None:
    with sleeping() as other:
        assert {scene.sid, other.pid} <= sids()
        assert {scene.sid, other.pid} <= {session["sid"] for session in as_json()}
        assert {scene.sid, other.pid} <= sids("--user", os.geteuid())


@needs_root
def test_the_caller_is_the_effective_user_and_others_are_shown_if_asked_for() -> None:
    with sleeping() as own, sleeping(user=65534, group=65534, extra_groups=()) as other:
        assert other.pid not in sids()
        assert other.pid in sids("--all")
        assert other.pid in sids("-a")
        assert other.pid in sids("--user", "65534")
        assert own.pid in sids()
        assert own.pid not in sids("-u65534")
        name = _text.user(65534)
        if name:
            assert other.pid in sids("-u", name)
        (row,) = rows(lssid(other.pid))
        assert row[2] == _text.user_in_table(65534)
        nobody = setsid.ChildSetup(user=65534, group=65534, extra_groups=())
        reader, writer = os.pipe()
        script = f"{sys.executable} -m setsid.cli.lssid"
        viewer = setsid.spawn(["/bin/sh", "-c", script], nobody, stdout=writer)
        os.close(writer)
        with open(reader) as file:
            text = file.read()
        if viewer.wait() == 0:  # it may read Python
            shown = {int(row[0]) for row in rows(text)}
            assert shown >= {other.pid, viewer.pid}
            assert own.pid not in shown
        viewer.close()


def test_pid_means_the_session_that_it_is_in(scene: Scene) -> None:
    for name in "leader", "second", "orphan", "zombie":
        assert sids("--pid", scene.pids[name]) == {scene.sid}
    assert sids(f"-p{scene.pids['leader']}") == {scene.sid}


def test_tty_by_each_of_its_names(scene: Scene) -> None:
    assert sids("--tty", scene.tty) == sids(f"-t{scene.tty[5:]}") == {scene.sid}
    with sleeping() as other:
        without = sids("-t", "-")
        assert other.pid in without
        assert scene.sid not in without


def test_what_is_asked_for_is_added_up(scene: Scene) -> None:
    with sleeping() as one, sleeping() as other:
        asked = (one.pid, "--tty", scene.tty, "-p", other.pid, "-p", other.pid)
        assert sids(*asked) == {one.pid, other.pid, scene.sid}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["4194999"], "there is no session 4194999"),
        (["99999999999999999999"], "there is no session 99999999999999999999"),
        (["--pid", "4194999"], "there is no process 4194999"),
        (["--tty", "pts/99999"], "no session has the terminal pts/99999"),
        (["--tty", "\x1b[m\n"], r"no session has the terminal \x1b[m\n"),
        (["--user", "nobody-of-that-name"], "there is no user 'nobody-of-that-name'"),
        (["--user", "\x1b[2J"], r"there is no user '\x1b[2J'"),
        (["--user", "3999999999"], "no session has a process of user 3999999999"),
    ],
)
def test_who_is_not_there_is_said_and_the_others_are_shown(scene: Scene, arguments: list[str], message: str) -> None:
    result = command("lssid", *arguments)
    assert (result.returncode, result.stdout, result.stderr) == (1, "", f"lssid: {message}\n")
    result = command("lssid", "--json", *arguments)
    assert (result.returncode, json.loads(result.stdout), result.stderr) == (1, {"sessions": []}, f"lssid: {message}\n")
    result = command("lssid", *arguments, "--pid", scene.pids["second"])
    assert (result.returncode, result.stderr) == (1, f"lssid: {message}\n")
    assert {int(row[0]) for row in rows(result.stdout)} == {scene.sid}


def test_a_dead_process_and_its_session_are_not_there() -> None:
    with sleeping() as process:
        pass
    assert command("lssid", process.pid).returncode == command("lssid", "-p", process.pid).returncode == 1


def test_a_process_in_no_session_that_can_be_seen_is_in_0(need: Callable[..., str]) -> None:
    wrapper = [need("unshare"), "--pid", "--fork", "--mount-proc"]
    source = """
import subprocess
run = lambda *words: subprocess.run([sys.executable, "-m", "setsid.cli.lssid", *words], capture_output=True, text=True)
assert os.getpid() == 1 and os.getsid(0) == 0
assert run().stdout.splitlines()[1:] == []
for words in ["-a"], ["0"]:
    told = [line.split() for line in run(*words).stdout.splitlines()[1:]]
    assert ["0", "0", "1"] in [[row[0], row[3], row[4]] for row in told], told
    assert not {"+", "o"} & set("".join(row[5] for row in told)), told
assert run("--tty", "-").returncode == 1
result = run("--pid", "1")
assert (result.returncode, result.stdout) == (1, "")
assert result.stderr == "lssid: process 1 is in no session of this pid namespace\\n"
"""
    result = fresh(source, wrapper=tuple(wrapper), check=False)
    if "unshare failed" in result.stderr:
        pytest.skip(f"no pid namespace here: {result.stderr}")
    assert (result.returncode, result.stderr) == (0, "")


# -- the command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nothing"], "unrecognized option '--nothing'"),
        (["-x"], "invalid option -- 'x'"),
        (["one"], "sid: 'one' is not a number"),
        (["9" * 5000], f"sid: '{'9' * 5000}' is not a number"),
        (["\u0661"], "sid: '\u0661' is not a number"),
        (["--pid", "-1"], "pid: '-1' is not a number"),
        (["--width=wide"], "width: 'wide' is not a number"),
        (["--tty"], "option '--tty' requires an argument"),
    ],
)
def test_a_wrong_command_line(arguments: list[str], message: str) -> None:
    result = command("lssid", *arguments)
    told = f"lssid: {message}\nTry 'lssid --help' for more information.\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", told)


def test_main_returns_the_exit_status(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGPIPE)
    try:
        assert main(["--version"]) == 0
        assert main(["--pid", str(scene.pids["second"])]) == 0
        assert main(["4194999"]) == 1
        assert main(["-x"]) == 2
    finally:
        for number, handler in zip((signal.SIGINT, signal.SIGPIPE), before, strict=True):
            signal.signal(number, handler)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    assert capfd.readouterr().out.startswith("lssid from setsid ")


def test_the_module_is_the_command(scene: Scene) -> None:
    result = fresh("from setsid.cli.lssid import main; sys.exit(main(sys.argv[1:]))", scene.sid)
    assert rows(result.stdout) == rows(lssid(scene.sid))


def test_who_reads_no_further_is_no_failure() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = command("lssid", "--all", stdout=writer, stderr=-1, capture_output=False)
    os.close(writer)
    assert (result.returncode, result.stderr) == (-signal.SIGPIPE, "")


def test_a_full_disk_is_a_failure() -> None:
    with open("/dev/full", "w") as full:
        result = command("lssid", stdout=full, stderr=-1, capture_output=False)
    assert (result.returncode, result.stderr) == (1, "lssid: write error: No space left on device\n")


# -- a terminal's width and colours


def columns_of(line: str) -> int:
    return sum(map(_text.columns_of, line))


def test_lines_are_cut_to_the_terminals_width() -> None:
    with sleeping("ascii" * 100) as narrow, sleeping("日本" * 100) as wide, sleeping("e\u0301" * 300) as combining:
        for columns in 80, 81, 131:
            lines = on_terminal(columns, "lssid", narrow.pid, wide.pid, combining.pid, NO_COLOR="1").splitlines()
            taken = [columns_of(line) for line in lines[1:]]
            assert taken[0] == taken[2] == columns
            assert columns - 1 <= taken[1] <= columns
            assert lines[3].endswith("e\u0301")
            told = lssid("-w", columns, narrow.pid, wide.pid, combining.pid).splitlines()
            assert told == lines
        assert max(map(len, lssid("-w0", narrow.pid).splitlines())) > 500
        assert max(map(len, lssid(narrow.pid).splitlines())) > 500
        assert on_terminal(80, "lssid", "--width=0", narrow.pid).count("ascii") == 100
        assert {columns_of(line) for line in lssid("-w", 20, narrow.pid).splitlines()} == {20}
        assert columns_of(on_terminal(0, "lssid", narrow.pid, NO_COLOR="1").splitlines()[1]) == 80
        assert columns_of(on_terminal(0, "lssid", narrow.pid, NO_COLOR="1", COLUMNS="70").splitlines()[1]) == 70


def test_colours_are_for_terminals_whose_user_wants_them(scene: Scene) -> None:
    coloured = on_terminal(80, "lssid", scene.sid)
    assert "\x1b[" in coloured
    assert on_terminal(80, "lssid", scene.sid, NO_COLOR="") == coloured
    plain = on_terminal(80, "lssid", scene.sid, NO_COLOR="1")
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain
    assert on_terminal(80, "lssid", scene.sid, TERM="dumb") == plain == lssid("-w80", scene.sid)
    assert "\x1b" not in lssid(scene.sid)
    by_state = dict(re.findall(r"(\x1b\[3\dm)(\w[s+o]*)", coloured))
    assert by_state == {"\x1b[31m": "Z", "\x1b[32m": "S+", "\x1b[33m": "T"}


def test_a_locale_without_utf8_gets_ascii(scene: Scene) -> None:
    with sleeping("é日") as process:
        text = command("lssid", "-w0", scene.sid, process.pid, env={"LC_ALL": "C"}).stdout
    assert text.isascii()
    assert r"read line \xc3\xa9\xe6\x97\xa5" in text
    assert re.search(r" \+ +\d+ \+ ", text)
    assert re.search(r" ` ", text)


# -- command lines that mean harm

# What is in an argument, and how it is shown.
HARM: dict[str | bytes, str] = {
    "a\nb": r"a\nb",
    "\x1b[2J\x1b]0;title\x07": r"\x1b[2J\x1b]0;title\x07",
    "\x9b31m": r"\u009b31m",
    "\u202ereversed": r"\u202ereversed",
    "\x7f\r\t": r"\x7f\r\t",
    b"\xff\xfe": r"\xff\xfe",
    "\u200b\u2028": r"\u200b\u2028",
    "\\": "\\",
}


def test_no_command_line_drives_the_terminal() -> None:
    with sleeping(*HARM) as process:
        expected = "/bin/sh -c read line " + " ".join(HARM.values())
        assert rows(lssid(process.pid))[0][6] == expected
        assert rows(lssid("-w0", process.pid))[0][6] == expected
        text = on_terminal(400, "lssid", process.pid, NO_COLOR="1")
        assert text.splitlines()[1].endswith(expected)
        assert text.count("\n") == 2
        (session,) = as_json(process.pid)
    args = session["groups"][0]["processes"][0]["args"]
    assert [os.fsencode(word) for word in args[3:]] == [os.fsencode(word) for word in HARM]


def test_json_is_ascii_with_valid_escapes() -> None:
    with sleeping(b"\xff\xc3\xa9") as process:
        text = lssid("-J", process.pid)
    assert text.isascii()
    assert r"\udcff\u00e9" in text


def test_empty_arguments_and_names() -> None:
    with sleeping("", "x", "", "") as process:
        assert rows(lssid(process.pid))[0][6] == "/bin/sh -c read line  x"
    zombie = setsid.spawn(["true"])
    zombie.wait(reap=False)
    assert rows(lssid(zombie.pid))[0][5:] == ["Zs", "[true] <defunct>"]
    zombie.wait()
    zombie.close()


def test_a_process_that_has_erased_its_arguments_is_shown_by_its_name() -> None:
    info = setsid.ProcessInfo(7, 1, 7, 7, None, "S", "a\x1bb", (), 0.0, None, 0, False)
    assert _text.command(info, utf8=True) == r"[a\x1bb]"
    assert _text.command(info._replace(state="?", comm="", uid=None), utf8=True) == "?"
    assert _text.user_in_table(None) == "?"
    assert _text.user_in_table(3999999999) == "3999999999"


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abc", 2, "ab"),
        ("abc", 5, "abc"),
        ("日本語", 5, "日本"),
        ("日本語", 6, "日本語"),
        ("e\u0301e\u0301", 1, "e\u0301"),
        ("❤\ufe0fx", 2, "❤\ufe0f"),
        ("🎉x", 1, ""),
        ("ﾊﾝ", 1, "ﾊ"),
        ("é", 0, ""),
    ],
)
def test_cut(text: str, columns: int, expected: str) -> None:
    assert _text.cut(text, columns) == expected


def test_the_commands_load_nothing_that_takes_long() -> None:
    slow = {"argparse", "enum", "json", "pwd", "re", "shutil", "signal", "subprocess", "threading", "unicodedata"}
    source = "import sys; sys.path += sys.argv[1:]; import setsid.cli.lssid, setsid.cli.killsid; print(*sys.modules)"
    backend = find_spec("_cffi_backend")
    assert backend is not None
    places = {str(Path(file).parent) for file in (Path(setsid.__file__).parent, str(backend.origin))}
    argv = [sys.executable, "-I", "-S", "-c", source, *places]
    loaded = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    if ON_PYPY:  # it begins with some of them
        argv = [sys.executable, "-I", "-S", "-c", "import sys; print(*sys.modules)"]
        slow -= {*subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.split()}
    assert "setsid.cli.killsid" in loaded
    assert slow & set(loaded) == set()
