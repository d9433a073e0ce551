"""Popen with a plan: what is said twice, what each field does, how it fails; and the errors of preexec_fn."""

from __future__ import annotations

import inspect
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import setsid
from scenarios import ASLEEP, RAISES
from support import fresh, nothing_left
from test_cgroup import group

__all__ = ["group"]  # the fixture

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing users and roots needs root")

POPEN = """
import subprocess
from setsid import ChildSetup, INHERIT, NEW_SESSION, Popen, Stage

def run(argv, setup, **arguments):
    # What it writes and its returncode.
    with Popen(argv, setup=setup, **arguments) as process:
        output = process.communicate()[0]
    return output, process.returncode

def text(argv, setup, **arguments):
    output, status = run(argv, setup, stdout=subprocess.PIPE, text=True, **arguments)
    assert status == 0
    return output

def facts(setup, **arguments):
    # /proc/self/status of a child.
    lines = text(["cat", "/proc/self/status"], setup, **arguments).splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}

def signals(setup, field, **arguments):
    bits = int(facts(setup, **arguments)[field], 16)
    return {number for number in signal.valid_signals() if bits >> (number - 1) & 1}

def place(setup, **arguments):
    # session_of a child that waits on its stdin.
    with Popen(["cat"], setup=setup, stdin=subprocess.PIPE, **arguments) as process:
        return process.pid, session_of(process.pid)
"""


def check(source: str, *args: object, way: str | None = None, **options: Any) -> None:
    fresh(RAISES + POPEN + source, *args, way=way, **options)


# -- what is said twice

popen: Any = setsid.Popen  # for arguments that no type checker lets through
PARAMETERS = inspect.signature(subprocess.Popen).parameters
TWICE: list[tuple[str, Any, str, Any]] = [
    *((name, value, name, setsid.DEVNULL) for name in ("stdin", "stdout", "stderr") for value in (-1, -3, 0)),
    ("stderr", subprocess.STDOUT, "stderr", subprocess.STDOUT),
    ("close_fds", True, "close_fds", True),
    ("close_fds", False, "close_fds", False),
    *(("cwd", value, "cwd", field) for value in ("/", b"/", Path("/")) for field in ("/", 0)),
    ("restore_signals", True, "default_signals", ()),
    ("restore_signals", False, "default_signals", {13}),
    *(("start_new_session", True, "process_group", value) for value in (setsid.NEW_SESSION, setsid.INHERIT, 0)),
    *(("process_group", value, "process_group", 0) for value in (0, 1)),
    ("pass_fds", (0,), "pass_fds", (1,)),
    ("pass_fds", [0], "pass_fds", {5: 1}),
    ("pass_fds", (0,), "pass_fds", ()),
    *(("user", value, "user", 0) for value in (0, "root")),
    *(("group", value, "group", 0) for value in (0, "root")),
    *(("extra_groups", value, "extra_groups", field) for value in ((), [0]) for field in ((), (0,))),
    *(("umask", value, "umask", 0) for value in (0, 0o22)),
]
NEUTRAL: list[tuple[str, Any, str, Any]] = [
    *((name, None, name, setsid.DEVNULL) for name in ("stdin", "stdout", "stderr")),
    ("cwd", None, "cwd", "/"),
    ("start_new_session", False, "process_group", setsid.INHERIT),
    ("process_group", None, "process_group", 0),
    ("process_group", -1, "process_group", 0),
    ("pass_fds", (), "pass_fds", {7: 0}),
    ("pass_fds", [], "pass_fds", {7: 0}),
    *((name, None, name, 0) for name in ("user", "group")),
    ("extra_groups", None, "extra_groups", tuple(os.getgroups())),
    ("umask", -1, "umask", 0o22),
    ("preexec_fn", None, "umask", 0o22),
]


def given(name: str, value: Any, *, by_position: bool) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments behind `args` that say this and else the defaults."""
    if not by_position:
        return (), {name: value}
    names = list(PARAMETERS)
    before = names[names.index("args") + 1 : names.index(name)]
    return (*(PARAMETERS[other].default for other in before), value), {}


def each(cases: list[tuple[str, Any, str, Any]]) -> pytest.MarkDecorator:
    """Each case whose argument this version of Python has: by keyword, and by position if it may stand there."""
    rows = []
    for case in cases:
        if parameter := PARAMETERS.get(case[0]):
            name = f"{case[0]}={case[1]!r}-{case[3]!r}"
            rows.append(pytest.param(*case, False, id=f"{name}-keyword"))
            if parameter.kind is not parameter.KEYWORD_ONLY:
                rows.append(pytest.param(*case, True, id=f"{name}-position"))
    return pytest.mark.parametrize(("argument", "value", "field", "said", "by_position"), rows)


@each(TWICE)
def test_an_argument_that_says_what_a_field_says_is_refused_by_both_names(
    argument: str, value: Any, field: str, said: Any, by_position: bool
) -> None:
    positional, keywords = given(argument, value, by_position=by_position)
    setup = setsid.ChildSetup(**{field: said})
    with nothing_left(), pytest.raises(ValueError, match=rf"^the argument {argument} and the field {field} of setup "):
        popen(["true"], *positional, setup=setup, **keywords)


def test_every_argument_that_a_plan_can_say_is_in_the_table() -> None:
    tried = {argument for argument, *_ in TWICE}
    same = set(PARAMETERS) & set(setsid.ChildSetup.__slots__)
    assert tried & set(PARAMETERS) == same | {"restore_signals", "start_new_session"}


@each(NEUTRAL)
def test_an_argument_that_says_nothing_is_no_conflict(
    argument: str, value: Any, field: str, said: Any, by_position: bool
) -> None:
    positional, keywords = given(argument, value, by_position=by_position)
    setup = setsid.ChildSetup(**{field: said})
    with nothing_left(), popen(["true"], *positional, setup=setup, **keywords) as process:
        assert process.wait() == 0


def test_an_argument_that_is_not_given_is_no_conflict_with_any_field() -> None:
    setup = setsid.ChildSetup(close_fds=True, default_signals=(), process_group=0, umask=0o22, stdin=setsid.DEVNULL)
    with nothing_left(), popen(["true"], setup=setup) as process:
        assert process.wait() == 0


@pytest.mark.parametrize("by_position", [False, True], ids=["keyword", "position"])
def test_preexec_fn_and_a_plan_are_refused(by_position: bool) -> None:
    positional, keywords = given("preexec_fn", os.setsid, by_position=by_position)
    with nothing_left(), pytest.raises(ValueError, match=r"^preexec_fn and setup can't go together"):
        popen(["true"], *positional, setup=setsid.ChildSetup(), **keywords)


@pytest.mark.parametrize("setup", [{"cwd": "/"}, "setup", 0, False, setsid.ChildSetup])
def test_a_setup_that_is_no_child_setup_is_refused(setup: Any) -> None:
    message = f"^setup must be a ChildSetup, not {type(setup).__name__}$"
    with nothing_left(), pytest.raises(TypeError, match=message):
        popen(["true"], setup=setup)


def test_two_arguments_that_can_not_go_together_are_refused() -> None:
    with nothing_left(), pytest.raises(ValueError, match=r"^start_new_session and process_group can't go together"):
        popen(["true"], setup=setsid.ChildSetup(), start_new_session=True, process_group=0)


def test_too_many_and_repeated_arguments_are_the_standard_type_error() -> None:
    setup = setsid.ChildSetup()
    with nothing_left(), pytest.raises(TypeError, match="multiple values"):
        popen(["true"], -1, bufsize=-1, setup=setup)
    with nothing_left(), pytest.raises(TypeError, match="positional"):
        popen(["true"], *[None] * 40, setup=setup)


# -- what not said means


def test_what_is_not_said_is_as_the_standard_library_has_it(way: str) -> None:
    check(
        """
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
signal.signal(signal.SIGUSR2, lambda *_: None)
os.umask(0o27)
extra = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(extra, True)
with nothing_left():
    results = []
    for keywords in {}, {"setup": ChildSetup()}:
        Class = Popen if keywords else subprocess.Popen
        with Class(["cat", "/proc/self/status"], stdout=subprocess.PIPE, text=True, **keywords) as process:
            lines = process.communicate()[0].splitlines()
        with Class(["ls", "/proc/self/fd"], stdout=subprocess.PIPE, text=True, **keywords) as process:
            fds = process.communicate()[0].split()
        with Class(["cat"], stdin=subprocess.PIPE, **keywords) as process:
            where = session_of(process.pid)
        wanted = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "NoNewPrivs", "CapEff", "Cpus_allowed")
        results.append(([line for line in lines if line.split(":")[0] in wanted], fds, where))
    assert results[0] == results[1]
    status, fds, where = results[1]
    assert fds == ["0", "1", "2", "3"]  # the last one is the listing's own
    assert where["sid"] == os.getsid(0) and where["pgid"] == os.getpgrp() and where["ppid"] == os.getpid()
    assert signals(ChildSetup(), "SigBlk") == {signal.SIGUSR1, signal.SIGTERM}
    assert signal.SIGPIPE in signal_set("SigIgn") and signal.SIGPIPE not in signals(ChildSetup(), "SigIgn")
""",
        way=way,
    )


def test_the_mask_is_the_calling_threads_also_where_another_thread_makes_the_child(way: str) -> None:
    check(
        """
import threading
results = []
def start():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    results.append(signals(ChildSetup(parent_death_signal=signal.SIGKILL), "SigBlk"))
thread = threading.Thread(target=start)
thread.start()
thread.join()
assert results == [{signal.SIGUSR1}]
assert signals(ChildSetup(parent_death_signal=signal.SIGKILL), "SigBlk") == set()
""",
        way=way,
    )


# -- what each field does


def test_the_session_the_group_and_the_terminal_are_the_plans(way: str) -> None:
    check(
        """
manager, terminal = os.openpty()
with nothing_left():
    pid, where = place(ChildSetup(process_group=NEW_SESSION))
    assert (where["sid"], where["pgid"], where["tty"]) == (pid, pid, 0)
    pid, where = place(ChildSetup(process_group=0))
    assert (where["sid"], where["pgid"]) == (os.getsid(0), pid)
    pid, where = place(ChildSetup(process_group=INHERIT))
    assert (where["sid"], where["pgid"]) == (os.getsid(0), os.getpgrp())
    on_terminal = ChildSetup(process_group=NEW_SESSION, ctty=terminal, foreground_tty=terminal)
    pid, where = place(on_terminal)
    assert (where["sid"], where["tty"], where["tpgid"]) == (pid, os.fstat(terminal).st_rdev, pid)
    with Popen(["cat"], setup=ChildSetup.on_terminal(terminal)) as process:
        assert session_of(process.pid)["tty"] == os.fstat(terminal).st_rdev
        assert os.readlink(f"/proc/{process.pid}/fd/0") == os.ttyname(terminal)
        os.write(manager, b"\\x03")
        assert process.wait() == -signal.SIGINT
    # The argument is as good as the field: only then can there be a controlling terminal.
    pid, where = place(ChildSetup(ctty=terminal), start_new_session=True)
    assert (where["sid"], where["tty"]) == (pid, os.fstat(terminal).st_rdev)
    with raises(ValueError, "ctty needs process_group=NEW_SESSION"):
        Popen(["true"], setup=ChildSetup(ctty=terminal), stdin=subprocess.PIPE)
""",
        way=way,
    )


def test_directory_umask_limits_and_places_are_the_plans(way: str) -> None:
    check(
        """
import resource
cpu = min(os.sched_getaffinity(0))
with nothing_left():
    assert text(["pwd"], ChildSetup(cwd="/usr")) == "/usr\\n"
    directory = os.open("/usr", os.O_RDONLY)
    assert text(["pwd"], ChildSetup(cwd=directory)) == "/usr\\n"
    os.close(directory)
    assert facts(ChildSetup(umask=0o77))["Umask"] == "0077"
    assert text(["sh", "-c", "ulimit -n"], ChildSetup(rlimits={resource.RLIMIT_NOFILE: (17, 18)})) == "17\\n"
    assert text(["nice"], ChildSetup(nice=3)) == f"{os.nice(0) + 3}\\n"
    assert facts(ChildSetup(cpu_affinity={cpu}))["Cpus_allowed_list"] == str(cpu)
    assert text(["cat", "/proc/self/oom_score_adj"], ChildSetup(oom_score_adj=777)) == "777\\n"
    assert facts(ChildSetup(no_new_privileges=True))["NoNewPrivs"] == "1"
""",
        way=way,
    )


def test_the_signals_are_the_plans(way: str) -> None:
    check(
        """
USR1, HUP, PIPE = signal.SIGUSR1, signal.SIGHUP, signal.SIGPIPE
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
with nothing_left():
    assert signals(ChildSetup(signal_mask={USR1}), "SigBlk") == {USR1}
    assert signals(ChildSetup(signal_mask=()), "SigBlk") == set()
    assert signals(ChildSetup(signal_mask=INHERIT), "SigBlk") == {signal.SIGTERM}
    assert PIPE in signals(ChildSetup(default_signals=()), "SigIgn")
    assert PIPE in signals(ChildSetup(), "SigIgn", restore_signals=False)
    assert PIPE not in signals(ChildSetup(), "SigIgn", restore_signals=True)
    assert HUP in signals(ChildSetup(ignore_signals={HUP}), "SigIgn")
    signal.signal(HUP, signal.SIG_IGN)
    assert HUP in signals(ChildSetup(), "SigIgn")
    assert HUP not in signals(ChildSetup(default_signals={HUP}), "SigIgn")
""",
        way=way,
    )


def test_the_parent_death_signal_is_the_plans(way: str) -> None:
    check(
        """
import select
ready, hold = os.pipe()
parent = os.fork()
if parent == 0:
    with Popen(["cat"], setup=ChildSetup(parent_death_signal=signal.SIGUSR1), stdin=subprocess.PIPE) as process:
        os.write(hold, b"%d\\n" % process.pid)
        signal.pause()
    os._exit(1)
pidfd = os.pidfd_open(int(os.read(ready, 20)))
os.kill(parent, signal.SIGKILL)
os.waitpid(parent, 0)
assert select.select([pidfd], [], [], 30)[0] == [pidfd]
""",
        way=way,
    )


@needs_root
def test_the_field_user_takes_the_groups_and_the_argument_user_the_uid_alone(way: str) -> None:
    check(
        """
import pwd
who = pwd.getpwnam("nobody")
with nothing_left():
    ids = facts(ChildSetup(user="nobody"))
    assert ids["Uid"].split() == [str(who.pw_uid)] * 4
    assert ids["Gid"].split() == [str(who.pw_gid)] * 4
    assert sorted(map(int, ids["Groups"].split())) == sorted(os.getgrouplist("nobody", who.pw_gid))
    ours = facts(ChildSetup())
    for user in "nobody", who.pw_uid:
        ids = facts(ChildSetup(), user=user)
        assert ids["Uid"].split() == [str(who.pw_uid)] * 4
        assert (ids["Gid"], ids["Groups"]) == (ours["Gid"], ours["Groups"])
    ids = facts(ChildSetup(umask=0), user=65000, group=65001, extra_groups=[65002, 65003])
    assert (ids["Uid"].split(), ids["Gid"].split()) == (["65000"] * 4, ["65001"] * 4)
    assert ids["Groups"].split() == ["65002", "65003"]
    ids = facts(ChildSetup(user=65000, extra_groups=[65002]), group=65001)
    assert [ids[name].split() for name in ("Uid", "Gid", "Groups")] == [["65000"] * 4, ["65001"] * 4, ["65002"]]
    ids = facts(ChildSetup(group=65001), user=65000)
    assert [ids[name].split()[0] for name in ("Uid", "Gid")] == ["65000", "65001"]
""",
        way=way,
    )


@needs_root
def test_the_root_is_the_plans(way: str, tmp_path: Path) -> None:
    check(
        """
root = sys.argv[1]
try:
    Popen(["/bin/sh"], setup=ChildSetup(chroot=root))
except FileNotFoundError as error:
    assert (error.stage, error.call, error.filename) == (Stage.EXEC, "execve", "/bin/sh")
    assert f"the root {root}" in error.hint
else:
    raise AssertionError("a shell in an empty root")
assert run(["true"], ChildSetup(chroot="/", cwd="/usr")) == (None, 0)
""",
        tmp_path,
        way=way,
    )


def test_the_control_group_is_the_plans(way: str, group: Path) -> None:
    check(
        """
where = text(["cat", "/proc/self/cgroup"], ChildSetup(cgroup=sys.argv[1]))
assert where.rstrip().endswith("/" + os.path.basename(sys.argv[1]))
""",
        group,
        way=way,
    )


def test_the_files_are_the_plans(way: str, tmp_path: Path) -> None:
    check(
        """
with nothing_left(), open(sys.argv[1], "w+") as file, open("/etc/passwd") as passwd:
    run(["sh", "-c", "head -c 4; echo error >&2"], ChildSetup(stdin=passwd, stdout=file, stderr=subprocess.STDOUT))
    file.seek(0)
    passwd.seek(0)
    assert file.read() == passwd.read(4) + "error\\n"
    assert text(["cat"], ChildSetup(stdin=setsid.DEVNULL)) == ""
    with Popen(["cat"], setup=ChildSetup(stdout=file), stdin=subprocess.PIPE) as process:
        assert (process.stdout, process.stderr) == (None, None)
        assert os.path.samefile(f"/proc/{process.pid}/fd/1", file.fileno())
    number = passwd.fileno()
    assert set(text(["ls", "/proc/self/fd"], ChildSetup(pass_fds={9: number, 8: passwd})).split()) == set("012389")
    assert str(number) in text(["ls", "/proc/self/fd"], ChildSetup(pass_fds=[passwd])).split()
    swapped = ChildSetup(pass_fds={number: file, file.fileno(): number})
    assert text(["readlink", f"/proc/self/fd/{number}"], swapped) == sys.argv[1] + "\\n"
    os.set_inheritable(number, True)
    assert str(number) in text(["ls", "/proc/self/fd"], ChildSetup(close_fds=False)).split()
    assert str(number) in text(["ls", "/proc/self/fd"], ChildSetup(), close_fds=False).split()
    assert str(number) not in text(["ls", "/proc/self/fd"], ChildSetup()).split()
""",
        tmp_path / "file",
        way=way,
    )


# -- arguments and a plan


def test_pipes_text_and_shell_are_the_standard_classes(way: str) -> None:
    check(
        """
setup = ChildSetup(process_group=NEW_SESSION, umask=0o77)
PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT
with nothing_left():
    with Popen("read line; echo $line; echo e >&2", shell=True, setup=setup,
               stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        assert os.getsid(process.pid) == process.pid
        assert process.communicate("word\\n") == ("word\\n", "e\\n")
    with Popen("echo $0; echo e >&2", shell=True, setup=setup, stdout=PIPE, stderr=STDOUT,
               executable="/bin/sh", encoding="utf-8", bufsize=1) as process:
        assert process.communicate() == ("/bin/sh\\ne\\n", None)
    assert run(["env"], setup, stdout=PIPE, env={"A": "1"}) == (b"A=1\\n", 0)
    assert run(["echo", "x"], ChildSetup(stderr=STDOUT), stdout=PIPE) == (b"x\\n", 0)
    assert run(["sh", "-c", "echo x >&2"], ChildSetup(stderr=STDOUT), stdout=PIPE) == (b"x\\n", 0)
""",
        way=way,
    )


def test_stderr_goes_where_the_field_stdout_goes(way: str, tmp_path: Path) -> None:
    check(
        """
script = ["sh", "-c", "echo out; echo err >&2"]
with nothing_left():
    with open(sys.argv[1], "w") as file:
        assert run(script, ChildSetup(stdout=file), stderr=subprocess.STDOUT) == (None, 0)
    with open(sys.argv[1]) as file:
        assert file.read() == "out\\nerr\\n"
    setup = ChildSetup(stdout=setsid.DEVNULL)
    with Popen(script, setup=setup, stderr=subprocess.STDOUT) as process:
        assert (process.stdout, process.stderr, process.wait()) == (None, None, 0)
    assert setup == ChildSetup(stdout=setsid.DEVNULL)
    with Popen(script, setup=setup, stderr=subprocess.PIPE) as process:
        assert process.communicate() == (None, b"err\\n")
""",
        tmp_path / "file",
        way=way,
    )


def test_the_argument_pass_fds_is_the_standard_one(way: str) -> None:
    check(
        """
with nothing_left():
    reader, writer = os.pipe()
    for fds in (writer,), [writer, 0, 1, 2], {writer, 2}, (0, 1, 2):
        kept = text(["ls", "/proc/self/fd"], ChildSetup(), pass_fds=fds).split()
        assert (str(writer) in kept) == (writer in fds)
    # It keeps a standard stream that is close-on-exec.
    os.set_inheritable(2, False)
    for keywords in {}, {"setup": ChildSetup()}:
        Class = Popen if keywords else subprocess.Popen
        with Class(["test", "-e", "/proc/self/fd/2"], pass_fds=(2,), **keywords) as process:
            assert process.wait() == 0, keywords
    os.set_inheritable(2, True)
    with raises(OSError, errno=errno.EBADF):
        Popen(["true"], setup=ChildSetup(), pass_fds=(1000,))
    with raises(ValueError):
        Popen(["true"], setup=ChildSetup(), pass_fds=(-1,))
    os.close(reader)
    os.close(writer)
""",
        way=way,
    )


def test_closed_standard_streams_of_the_parent_are_no_obstacle(way: str) -> None:
    check(
        """
saved = [os.dup(fd) for fd in range(3)]
pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
for closed in [0], [1], [2], [0, 1], [1, 2], [0, 2], [0, 1, 2]:
    for fd in closed:
        os.close(fd)
    try:
        with Popen(["sh", "-c", "cat; echo e >&2"], setup=ChildSetup(umask=0), **pipes) as process:
            result = process.communicate(b"in")
    finally:
        for fd in range(3):
            os.dup2(saved[fd], fd)
    assert (result, process.returncode) == ((b"in", b"e\\n"), 0), closed
""",
        way=way,
    )


@pytest.mark.parametrize("as_root", [pytest.param(True, marks=needs_root), False], ids=["ids", "no ids"])
def test_one_plan_used_by_many_threads_with_different_arguments_is_never_mixed(as_root: bool) -> None:
    check(
        """
import threading
setup = ChildSetup(umask=0o27)
plain = {"uid": "0", "gid": "0", "pwd": os.getcwd(), "own": False} if sys.argv[1] == "True" else {
    "uid": str(os.getuid()), "gid": str(os.getgid()), "pwd": os.getcwd(), "own": False}
cases = [({}, {}), ({"cwd": "/usr"}, {"pwd": "/usr"}), ({"start_new_session": True}, {"own": True}), ({}, {})]
if sys.argv[1] == "True":
    cases += [({"user": 65001}, {"uid": "65001"}), ({"group": 65002}, {"gid": "65002"}),
              ({"user": 65003, "group": 65004, "cwd": "/"}, {"uid": "65003", "gid": "65004", "pwd": "/"}), ({}, {})]
script = "pwd; grep -E '^(Umask|Uid|Gid)' /proc/self/status; cut -d' ' -f6 /proc/self/stat; echo $$"
wrong, done = [], []

def start(first):
    for turn in range(12):
        arguments, changes = cases[(first + turn) % len(cases)]
        with Popen(["sh", "-c", script], stdout=-1, stderr=-1, text=True, setup=setup, **arguments) as process:
            output, errors = process.communicate()
        lines = output.split("\\n")
        got = {"pwd": lines[0], "own": lines[4] == lines[5], "uid": lines[2].split()[1], "gid": lines[3].split()[1]}
        if got != {**plain, **changes} or lines[1].split()[1] != "0027" or errors:
            wrong.append((arguments, got, errors))
        done.append(first)

threads = [threading.Thread(target=start, args=(first,)) for first in range(8)]
with nothing_left():
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert wrong == [] and len(done) == 96, wrong
assert setup == ChildSetup(umask=0o27)
""",
        as_root,
    )


# -- failures


def test_a_failure_is_of_the_standard_class_and_tells_step_call_and_file(way: str, tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("x")
    (tmp_path / "broken").write_text("#!/nonexistent/interpreter\n")
    (tmp_path / "broken").chmod(0o755)
    (tmp_path / "binary").write_bytes(b"\x00garbage")
    (tmp_path / "binary").chmod(0o755)
    check(
        """
directory = sys.argv[1]
plain, broken, binary = (os.path.join(directory, name) for name in ("plain", "broken", "binary"))
CASES = [
    (["/nonexistent"], {}, Stage.EXEC, "execve", "/nonexistent"),
    (["nonexistent-program"], {}, Stage.EXEC, "execve", "nonexistent-program"),
    ([b"/nonexistent"], {}, Stage.EXEC, "execve", b"/nonexistent"),
    ([plain], {}, Stage.EXEC, "execve", plain),
    ([plain + "/x"], {}, Stage.EXEC, "execve", plain + "/x"),
    ([directory], {}, Stage.EXEC, "execve", directory),
    ([broken], {}, Stage.EXEC, "execve", broken),
    ([binary], {}, Stage.EXEC, "execve", binary),
    (["plain"], {"env": {"PATH": directory}}, Stage.EXEC, "execve", "plain"),
    (["sh"], {"executable": "/nonexistent"}, Stage.EXEC, "execve", "/nonexistent"),
    (["true"], {"cwd": "/nonexistent"}, Stage.CWD, "chdir", "/nonexistent"),
    (["true"], {"cwd": plain}, Stage.CWD, "chdir", plain),
    (["/nonexistent"], {"cwd": "/nonexistent/x"}, Stage.CWD, "chdir", "/nonexistent/x"),
]
if "process_group" in subprocess.Popen.__init__.__code__.co_varnames:
    CASES.append((["true"], {"process_group": 1}, Stage.PROCESS_GROUP, "setpgid", None))
for argv, arguments, stage, call, filename in CASES:
    try:
        subprocess.Popen(argv, **arguments)
    except OSError as error:
        standard = error
    for streams in {}, dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE):
        with nothing_left():
            try:
                Popen(argv, setup=ChildSetup(umask=0o22), **arguments, **streams)
            except setsid.SystemCallError as error:
                assert (error.stage, error.call, error.filename) == (stage, call, filename), error
                assert (error.errno, error.strerror) == (standard.errno, os.strerror(standard.errno))
                assert isinstance(error, type(standard)), (argv, type(error), type(standard))
            else:
                raise AssertionError(argv)
""",
        tmp_path,
        way=way,
    )


def test_a_field_that_fails_is_told_by_its_step(way: str) -> None:
    check(
        """
import resource
cases = [(dict(cwd="/nonexistent"), Stage.CWD, errno.ENOENT)]
cases.append((dict(cpu_affinity={65000}), Stage.CPU_AFFINITY, errno.EINVAL))
with open("/proc/sys/fs/nr_open") as file:
    above = int(file.read()) + 1
cases.append((dict(rlimits={resource.RLIMIT_NOFILE: (above, above)}), Stage.RLIMITS, errno.EPERM))
cases.append((dict(process_group=1), Stage.PROCESS_GROUP, errno.EPERM))
for fields, stage, number in cases:
    with nothing_left(), raises(setsid.SystemCallError, stage=stage, errno=number):
        Popen(["true"], setup=ChildSetup(**fields), stdout=subprocess.PIPE)
""",
        way=way,
    )


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ('["true", "a\\0"]', "ValueError"),
        ('["tr\\0ue"]', "ValueError"),
        ('["true"], cwd="\\0"', "ValueError"),
        ('["true"], env={"A": "\\0"}', "ValueError"),
        ('["true"], env={"A=": "1"}', "ValueError"),
        ('["true", 5]', "TypeError"),
        ("[]", "IndexError"),
        ('__import__("pathlib").Path("true"), shell=True', "TypeError"),
        ('["true"], umask=None', "TypeError"),
        ('["true"], user=2**40', "OverflowError"),
        ('["true"], user="no-such-user"', "KeyError"),
    ],
)
def test_what_can_not_be_started_is_refused_as_by_the_standard_class(arguments: str, error: str) -> None:
    check(
        f"""
for Class, keywords in (subprocess.Popen, {{}}), (Popen, {{"setup": ChildSetup()}}):
    with nothing_left():
        try:
            # Before Python 3.11 the standard class looks a user up when it has made the pipes, and leaves them open.
            Class({arguments}, **({{}} if {error} is KeyError else {{"stdout": subprocess.PIPE}}), **keywords)
        except {error} as raised:
            assert type(raised) is {error}
        else:
            raise AssertionError(Class)
"""
    )


def test_the_audit_event_is_the_standard_one(way: str) -> None:
    check(
        """
events = []
def hook(name, args):
    if "Popen" in name or name.startswith("setsid"):
        events.append((name, args))
sys.addaudithook(hook)
calls = [
    (["true", "x"], dict(env={"A": "1"}, cwd="/")),
    ("exit 0", dict(shell=True)),
    (["true"], dict(executable="/bin/sh")),
    (b"true", {}),
]
for args, arguments in calls:
    told = []
    for Class, keywords in (subprocess.Popen, {}), (Popen, {"setup": ChildSetup()}):
        events.clear()
        with Class(args, **arguments, **keywords):
            told.append(list(events))
    assert told[0] == told[1] and [name for name, _ in told[1]] == ["subprocess.Popen"], told
events.clear()
with Popen(["true"], setup=ChildSetup(cwd="/usr")):
    ((_, (_, _, cwd, _)),) = events
assert cwd == "/usr"  # where the program runs, whoever has said it
""",
        way=way,
    )


def test_a_hook_that_forbids_it_leaves_nothing() -> None:
    check("""
def forbid(name, args):
    if name == "subprocess.Popen":
        raise PermissionError("no")
sys.addaudithook(forbid)
with nothing_left(), raises(PermissionError, "no"):
    Popen(["true"], setup=ChildSetup(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
""")


@pytest.mark.parametrize("program", ["sleep", "/nonexistent"])
def test_a_signal_handler_that_raises_while_the_child_is_made_leaves_no_process(way: str, program: str) -> None:
    check(
        """
import threading
from hold import Hold
hold, pids = Hold(), []

class Interrupt(Exception):
    pass

def handler(number, frame):
    raise Interrupt

def interrupt():
    pids.append(hold.wait())
    os.kill(os.getpid(), signal.SIGUSR1)
    hold.let_go()

signal.signal(signal.SIGUSR1, handler)
for _ in range(3):
    with nothing_left():
        thread = threading.Thread(target=interrupt)
        thread.start()
        with raises((Interrupt, FileNotFoundError)):
            Popen([sys.argv[1], "60"], setup=ChildSetup(umask=0o77), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            thread.join()
        except Interrupt:
            thread.join()
        assert children() == [] and not os.path.exists(f"/proc/{pids[-1]}")
assert len(set(pids)) == 3
""",
        program,
        way=way,
    )


def test_a_handler_that_raises_while_preexec_fn_runs_leaves_a_child_that_is_reaped_later() -> None:
    """As with the standard class: nobody gets the Popen, but its end is noted when others are started."""
    check(
        ASLEEP
        + """
import gc, warnings
warnings.simplefilter("ignore")
class Interrupt(Exception):
    pass
def handler(number, frame):
    raise Interrupt
signal.signal(signal.SIGUSR1, handler)
main, tid = threading.main_thread().ident, threading.get_native_id()
for Class in subprocess.Popen, Popen:
    told, tell = os.pipe()
    release, hold = os.pipe()
    def wait_there():
        os.write(tell, b"%d" % os.getpid())
        os.close(hold)
        os.read(release, 1)
    def interrupt():
        pids.append(int(os.read(told, 20)))
        until_asleep(tid)  # or the signal may come just before it reads
        signal.pthread_kill(main, signal.SIGUSR1)
    pids = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        Class(["true"], preexec_fn=wait_there)
    except Interrupt:
        pass
    else:
        raise AssertionError
    thread.join()
    gc.collect()
    os.close(hold)
    os.waitid(os.P_PID, pids[0], os.WEXITED | os.WNOWAIT)
    with Class(["true"]):
        pass
    assert children() == [], Class
"""
    )


# -- preexec_fn

PREEXEC = """
def failing(error):
    def function():
        raise error
    return function

def raised(error, Class=None):
    try:
        (Class or Popen)(["true"], preexec_fn=failing(error), stdout=subprocess.PIPE)
    except BaseException as told:
        return told
    raise AssertionError("nothing was raised")
"""


def preexec(source: str) -> None:
    check(PREEXEC + source)


def test_an_os_error_of_preexec_fn_is_told_with_its_number_and_of_its_class() -> None:
    preexec("""
import copy, pickle
with nothing_left():
    for number, kind in (errno.EPERM, PermissionError), (errno.ENOENT, FileNotFoundError), (errno.EINVAL, OSError):
        error = raised(OSError(number, "of mine"))
        assert isinstance(error, (setsid.SystemCallError)) and isinstance(error, subprocess.SubprocessError)
        assert isinstance(error, kind)
        assert (error.errno, error.strerror, error.call) == (number, os.strerror(number), "preexec_fn")
        assert "of mine" in error.hint and "of mine" in str(error)
        for other in pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error):
            assert type(other) is type(error) and str(other) == str(error)
            assert (other.errno, other.call, other.hint) == (error.errno, error.call, error.hint)
        del error, other
    error = raised(setsid.SystemCallError(errno.EPERM, "setsid", hint="a reason"))
    assert (error.errno, error.call) == (errno.EPERM, "setsid") and "a reason" in str(error)
    assert isinstance(error, PermissionError)
    del error
    with raises(PermissionError, call="preexec_fn", errno=errno.EPERM):
        Popen(["true"], preexec_fn=os.setsid, start_new_session=True)
""")


@pytest.mark.parametrize(
    "error",
    [
        'ValueError("of mine")',
        'OSError("of mine")',
        'OSError(0, "of mine")',
        'OSError("of", "mine: of mine")',
        'OSError(10**30, "of mine")',
        'OSError(True, "of mine")',
        'SystemExit("of mine")',
        'KeyboardInterrupt("of mine")',
        'GeneratorExit("of mine")',
        'ValueError("of mine" + "x" * 100_000)',
        'ValueError("of mine" + "\\xe9" * 10_000)',
        'ValueError("of mine \\udcff \\0 \\0")',
        'OSError(2**31, "of mine")',
    ],
)
def test_any_other_exception_of_preexec_fn_is_the_standard_one_and_its_cause_tells_more(error: str) -> None:
    preexec(f"""
with nothing_left():
    standard, error = raised({error}, subprocess.Popen), raised({error})
    assert isinstance(standard, subprocess.SubprocessError)
    assert isinstance(error, subprocess.SubprocessError), repr(error)
    told = str(error.__cause__) + str(error)
    assert "of mine" in told and len(told) < 20_000, told
    if not isinstance(error, setsid.SystemCallError):
        assert (type(error), str(error)) == (type(standard), str(standard))
    del standard, error
""")


def test_an_exception_that_can_not_be_shown_is_the_standard_error() -> None:
    preexec("""
class Mute(Exception):
    def __str__(self):
        raise KeyError
with nothing_left():
    error = raised(Mute())
    assert (type(error), str(error)) == (subprocess.SubprocessError, "Exception occurred in preexec_fn.")
    del error
""")


def test_an_error_of_preexec_fn_is_told_with_the_standard_streams_closed() -> None:
    preexec("""
saved = [os.dup(fd) for fd in range(3)]
for fd in range(3):
    os.close(fd)
try:
    errors = [raised(OSError(errno.EPERM, "x")), raised(ValueError("y"))]
finally:
    for fd in range(3):
        os.dup2(saved[fd], fd)
assert isinstance(errors[0], PermissionError) and "y" in str(errors[1].__cause__)
""")


def test_a_preexec_fn_that_succeeds_leaves_nothing_and_runs_in_the_child() -> None:
    preexec("""
import gc
def maps():
    with open("/proc/self/maps") as file:
        return sum("/dev/zero" in line for line in file)
def start():
    with Popen(["cat"], preexec_fn=os.setsid, stdin=subprocess.PIPE) as process:
        assert os.getsid(process.pid) == process.pid and process.session == setsid.Session(process.pid)
    return process
start()
gc.collect()
gc.disable()
with nothing_left():
    before = maps()
    kept = [start() for _ in range(5)]
    assert maps() == before
""")


def test_a_program_that_is_missing_is_told_as_ever_with_a_preexec_fn() -> None:
    preexec("""
with nothing_left(), raises(FileNotFoundError, filename="/nonexistent", errno=errno.ENOENT):
    Popen(["/nonexistent"], preexec_fn=lambda: None)
""")
