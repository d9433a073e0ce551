"""Popen's arguments that say what the child is like: the same for the standard class, ours, and an empty plan."""

from __future__ import annotations

import fcntl
import inspect
import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import setsid
from support import fresh
from test_popen_parity import FILES, MAKER, MAKERS, Maker, each_maker, each_name, needs_root, output, script

# -- files


@each_maker
@pytest.mark.parametrize(
    ("keywords", "is_there"),
    [({}, False), ({"close_fds": True}, False), ({"close_fds": False}, True), ({"close_fds": 0}, True)],
    ids=str,
)
@pytest.mark.parametrize("program", [sys.executable, os.path.relpath(sys.executable)])
def test_close_fds_closes_what_could_be_inherited(
    make: Maker, keywords: dict[str, Any], is_there: bool, program: str, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        assert make([program, "-ISc", FILES, tmp_path / "fds"], **keywords).wait() == 0
    finally:
        os.close(reader)
        os.close(writer)
    fds = json.loads((tmp_path / "fds").read_text())
    assert (str(reader) in fds, str(writer) in fds) == (is_there, False)


@each_maker
@pytest.mark.parametrize("kind", [tuple, list, set, lambda fds: (fd for fd in fds), dict.fromkeys])
def test_pass_fds_are_all_that_stays(make: Maker, kind: Any, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        assert make([sys.executable, "-ISc", FILES, tmp_path / "fds"], pass_fds=kind([1, writer])).wait() == 0
        pipe = os.readlink(f"/proc/self/fd/{writer}")
    finally:
        os.close(reader)
        os.close(writer)
    fds = json.loads((tmp_path / "fds").read_text())
    assert (sorted(map(int, fds)), fds[str(writer)]) == ([0, 1, 2, writer], pipe)


@each_maker
def test_pass_fds_changes_nothing_in_this_process(make: Maker) -> None:
    reader, writer = os.pipe()
    try:
        assert make(["true"], pass_fds=[writer]).wait() == 0
        assert os.get_inheritable(writer) is False
    finally:
        os.close(reader)
        os.close(writer)


@each_maker
def test_pass_fds_overrides_close_fds_with_a_warning(make: Maker, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        with pytest.warns(RuntimeWarning, match="^pass_fds overriding close_fds.$"):
            process = make([sys.executable, "-ISc", FILES, tmp_path / "fds"], pass_fds=[writer], close_fds=False)
        assert process.wait() == 0
    finally:
        os.close(reader)
        os.close(writer)
    assert sorted(map(int, json.loads((tmp_path / "fds").read_text()))) == [0, 1, 2, writer]


# -- the directory, the environment and the way to the program


@each_maker
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
def test_cwd_is_the_directory(make: Maker, kind: Any, tmp_path: Path) -> None:
    assert output(make, ["pwd"], cwd=kind(tmp_path)) == bytes(tmp_path) + b"\n"


@each_maker
def test_a_program_with_a_slash_is_looked_for_in_cwd(make: Maker, tmp_path: Path) -> None:
    script(tmp_path / "program", "#!/bin/sh\nprintf here\n")
    assert output(make, ["./program"], cwd=tmp_path) == b"here"


def environment(make: Maker, **keywords: Any) -> list[bytes]:
    """What a child gets, in order."""
    return list(output(make, ["cat", "/proc/self/environ"], **keywords).split(b"\0")[:-1])


@each_maker
@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, []),
        ({"A": "1", b"B": b"\xff", "C": "\udcff"}, [b"A=1", b"B=\xff", b"C=\xff"]),
        ({Path("A"): Path("/x y")}, [b"A=/x y"]),
        ({"B": "", "A": "a=b"}, [b"B=", b"A=a=b"]),
    ],
)
def test_env_is_the_whole_environment(make: Maker, env: Any, expected: list[bytes]) -> None:
    assert environment(make, env=env) == expected


@each_maker
def test_without_env_it_is_that_of_this_process(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSID_PARITY", "a\nb \udcff")
    assert b"SETSID_PARITY=a\nb \xff" in environment(make)
    assert sorted(environment(make)) == sorted(name + b"=" + value for name, value in os.environb.items())


@each_maker
def test_env_may_have_a_name_as_str_and_as_bytes(make: Maker) -> None:
    found = environment(make, env={"A": "1", b"A": b"2"})
    assert found[-1:] == [b"A=2"]
    assert found[:-1] == ([] if make is MAKERS["plan"] else [b"A=1"])  # a plan's environment has each name once


@each_name
def test_what_putenv_alone_has_set_is_not_of_a_plan(name: str) -> None:
    # A plan has os.environ: C's own environment can't be read safely while another thread changes it.
    source = "os.putenv('SETSID_PARITY', '1'); make(['sh', '-c', 'printf %s \"$SETSID_PARITY\"']).wait()"
    assert fresh(MAKER + source, name).stdout == ("" if name == "plan" else "1")


@each_maker
@pytest.mark.parametrize(
    "path",
    [
        "{here}/good",
        b"{here}/good",
        "good",
        "/nowhere:{here}/file:{here}/good",  # ENOENT and ENOTDIR go on
        "{here}/denied:{here}/good",  # EACCES too
        "{here}/directory:{here}/good",
    ],
)
def test_the_program_is_looked_for_in_the_path_of_env(make: Maker, path: Any, tmp_path: Path) -> None:
    script(tmp_path / "good" / "program", "#!/bin/sh\nprintf found\n")
    script(tmp_path / "denied" / "program", "#!/bin/sh\n", 0o644)
    (tmp_path / "directory" / "program").mkdir(parents=True)
    (tmp_path / "file").touch()
    here = bytes(tmp_path) if isinstance(path, bytes) else str(tmp_path)
    path = path.replace(b"{here}" if isinstance(path, bytes) else "{here}", here)
    assert output(make, ["program"], env={"PATH": path}, cwd=tmp_path) == b"found"


@each_maker
@pytest.mark.parametrize("path", ["", "/nowhere:", "/nowhere::/nowhere", ":"])
def test_an_empty_part_of_the_path_is_the_directory_of_the_child(make: Maker, path: str, tmp_path: Path) -> None:
    script(tmp_path / "program", "#!/bin/sh\nprintf found\n")
    assert output(make, ["program"], env={"PATH": path}, cwd=tmp_path) == b"found"


@each_maker
def test_a_program_is_found_without_a_path_too(make: Maker) -> None:
    assert output(make, ["printf", "found"], env={"A": "1"}) == b"found"


@each_maker
@pytest.mark.parametrize("first", ["no format", "loop", "long"])
def test_the_path_is_searched_past_a_place_that_fails_otherwise(make: Maker, first: str, tmp_path: Path) -> None:
    script(tmp_path / "bad" / "program", "\x01\x02")
    script(tmp_path / "good" / "program", "#!/bin/sh\nprintf found\n")
    (tmp_path / "loop").symlink_to("loop")
    place = {"no format": tmp_path / "bad", "loop": tmp_path / "loop", "long": "/" + "x" * 300}[first]
    keywords: dict[str, Any] = {"env": {"PATH": f"{place}:{tmp_path / 'good'}"}}
    if make is not MAKERS["plan"]:
        assert output(make, ["program"], **keywords) == b"found"
        return
    # As execvp(3), and spawn, have it: only what says "not here" goes on.
    with pytest.raises(setsid.SystemCallError) as raised:
        make(["program"], **keywords)
    assert raised.value.filename == "program"


# -- signals, session, group


SIGNALS = """
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.signal(signal.SIGUSR2, lambda *_: None)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGWINCH})
process = make(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True, **json.loads(sys.argv[2]))
fields = dict(line.split(":\\t", 1) for line in process.communicate()[0].splitlines())
def numbers(field):
    return {signal.Signals(n).name for n in range(1, 32) if int(fields[field], 16) >> (n - 1) & 1}
assert numbers("SigBlk") == {"SIGHUP", "SIGWINCH"}, fields
assert numbers("SigCgt") == set(), fields
print(*sorted(numbers("SigIgn")))
"""


@each_name
@pytest.mark.parametrize(
    ("keywords", "ignored"),
    [
        ({}, "SIGUSR1"),
        ({"restore_signals": True}, "SIGUSR1"),
        ({"restore_signals": False}, "SIGPIPE SIGUSR1 SIGXFSZ"),
        ({"restore_signals": 0}, "SIGPIPE SIGUSR1 SIGXFSZ"),
    ],
    ids=str,
)
def test_restore_signals_is_about_what_python_ignores(name: str, keywords: dict[str, Any], ignored: str) -> None:
    assert fresh(MAKER + SIGNALS, name, json.dumps(keywords)).stdout == ignored + "\n"


GROUPS = """
with make(["sleep", "60"], **json.loads(sys.argv[2])) as process:
    facts = session_of(process.pid)
    names = {process.pid: "child", os.getpid(): "parent"}
    print(names[facts["sid"]], names[facts["pgid"]])
    process.kill()
"""
SESSIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "parent parent"),
    ({"start_new_session": False}, "parent parent"),
    ({"start_new_session": True}, "child child"),
    ({"start_new_session": 5}, "child child"),
]
if sys.version_info >= (3, 11):
    SESSIONS += [
        ({"process_group": 0}, "parent child"),
        ({"process_group": None}, "parent parent"),
        ({"process_group": -1}, "parent parent"),
        ({"process_group": -1, "start_new_session": True}, "child child"),
    ]


@each_name
@pytest.mark.parametrize(("keywords", "expected"), SESSIONS, ids=str)
def test_the_session_and_the_group_are_as_said(name: str, keywords: dict[str, Any], expected: str) -> None:
    assert fresh(MAKER + GROUPS, name, json.dumps(keywords)).stdout == expected + "\n"


if sys.version_info >= (3, 11):

    @each_name
    def test_process_group_n_joins_a_group(name: str) -> None:
        fresh(
            MAKER
            + """
with make(["cat"], stdin=subprocess.PIPE, process_group=0) as leader:
    with make(["cat"], stdin=subprocess.PIPE, process_group=leader.pid) as member:
        assert session_of(member.pid)["pgid"] == leader.pid
""",
            name,
        )


# -- ids, umask


IDS = ["sh", "-c", "grep -E '^(Uid|Gid|Groups):' /proc/self/status"]
NOBODY = 65534


@each_maker
@needs_root
@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"user": NOBODY}, {"Uid": [NOBODY] * 4}),  # and neither the group nor the groups
        ({"user": pwd.getpwuid(NOBODY).pw_name}, {"Uid": [NOBODY] * 4}),
        ({"group": 7}, {"Gid": [7] * 4}),
        ({"extra_groups": [8, 7]}, {"Groups": [7, 8]}),
        ({"extra_groups": (group for group in (7, 8))}, {"Groups": [7, 8]}),
        ({"extra_groups": []}, {"Groups": []}),
        (
            {"user": NOBODY, "group": 7, "extra_groups": [9]},
            {"Uid": [NOBODY] * 4, "Gid": [7] * 4, "Groups": [9]},
        ),
    ],
    ids=["number", "name", "group", "groups", "generator", "no groups", "all"],
)
def test_ids_change_as_said_and_no_others(make: Maker, keywords: dict[str, Any], expected: dict[str, Any]) -> None:
    keywords = {**keywords}
    if hasattr(keywords.get("extra_groups"), "send"):  # each maker its own
        keywords["extra_groups"] = (group for group in (7, 8))
    own = {"Uid": [os.getuid()] * 4, "Gid": [os.getgid()] * 4, "Groups": sorted(os.getgroups())}
    fields = (line.split(":") for line in output(make, IDS, text=True, **keywords).splitlines())
    assert {name: list(map(int, ids.split())) for name, ids in fields} == {**own, **expected}


@each_maker
@pytest.mark.parametrize("umask", [0, 0o27, 0o777])
def test_umask_is_as_said(make: Maker, umask: int) -> None:
    assert int(output(make, ["sh", "-c", "umask"], umask=umask), 8) == umask


@each_maker
def test_umask_minus_1_is_that_of_this_process(make: Maker) -> None:
    expected = subprocess.check_output(["sh", "-c", "umask"])
    assert output(make, ["sh", "-c", "umask"], umask=-1) == expected


# -- pipes, text


@each_maker
@pytest.mark.parametrize(("pipesize", "expected"), [(8192, 8192), (-1, None), (None, None)])
def test_pipesize_is_that_of_every_pipe(make: Maker, pipesize: int | None, expected: int | None) -> None:
    reader, writer = os.pipe()
    usual = fcntl.fcntl(reader, 1032)  # F_GETPIPE_SZ
    os.close(reader)
    os.close(writer)
    with make(["cat"], stdin=PIPE, stdout=PIPE, stderr=PIPE, pipesize=pipesize) as process:
        pipes: tuple[Any, ...] = process.stdin, process.stdout, process.stderr
        assert [fcntl.fcntl(pipe.fileno(), 1032) for pipe in pipes] == [expected or usual] * 3


@each_maker
@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, b"a\r\nb\r\xc3\xa4"),
        ({"text": False}, b"a\r\nb\r\xc3\xa4"),
        ({"text": True, "encoding": "utf-8"}, "a\nb\nä"),
        ({"universal_newlines": True, "encoding": "utf-8"}, "a\nb\nä"),
        ({"encoding": "latin-1"}, "a\nb\nÃ¤"),
        ({"encoding": "ascii", "errors": "replace"}, "a\nb\n��"),
        ({"encoding": "ascii", "errors": "backslashreplace"}, "a\nb\n\\xc3\\xa4"),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["communicate", "read"])
def test_text_is_decoded_as_said(make: Maker, keywords: dict[str, Any], expected: Any, how: str) -> None:
    with make(["printf", "a\\r\\nb\\r\\303\\244"], stdout=PIPE, **keywords) as process:
        stdout: Any = process.stdout
        assert (process.communicate()[0] if how == "communicate" else stdout.read()) == expected


@each_maker
def test_text_is_encoded_as_said(make: Maker) -> None:
    with make(["od", "-An", "-tx1"], stdin=PIPE, stdout=PIPE, encoding="utf-16-le", errors="ignore") as process:
        stdin: Any = process.stdin
        assert (stdin.encoding, stdin.errors) == ("utf-16-le", "ignore")
    with make(["od", "-An", "-tx1"], stdin=PIPE, stdout=PIPE, encoding="latin-1") as process:
        assert process.communicate("ä\n")[0] == " e4 0a\n"


# -- how arguments are given


@each_maker
def test_every_argument_can_be_positional(make: Maker, tmp_path: Path) -> None:
    arguments = inspect.signature(subprocess.Popen).parameters.values()
    positional = [argument for argument in arguments if argument.kind is argument.POSITIONAL_OR_KEYWORD]
    said = {"stdout": PIPE, "shell": True, "cwd": tmp_path, "env": {"A": "1"}, "start_new_session": True}
    values = [said.get(argument.name, argument.default) for argument in positional[1:]]
    with make('pwd; echo "$A"; cut -d" " -f6 /proc/$$/stat; echo $$', *values) as process:
        lines = process.communicate()[0].decode().splitlines()
    assert lines == [str(tmp_path), "1", str(process.pid), str(process.pid)]


@each_maker
def test_every_argument_can_go_by_name(make: Maker) -> None:
    arguments = inspect.signature(subprocess.Popen).parameters
    keywords = {name: argument.default for name, argument in arguments.items() if name != "args"}
    with make(args=["printf", "x"], **{**keywords, "stdout": PIPE}) as process:
        assert process.communicate() == (b"x", None)


def test_the_signature_is_that_of_the_standard_class() -> None:
    assert inspect.signature(setsid.Popen) == inspect.signature(subprocess.Popen)
