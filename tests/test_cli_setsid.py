"""pysetsid against setsid(1): the same but for the differences that are listed here."""

from __future__ import annotations

import ast
import itertools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from commands import SETSID, make_programs, of_this_libc
from support import fresh

ROOT = os.geteuid() == 0

# -- every combination, and the differences

FAILING = {
    "missing": 127,
    "missing_in_path": 127,
    "no_interpreter": 127,
    "nameless": 127,
    "not_executable": 126,
    "not_executable_in_path": 126,
    "directory": 126,
    "below_a_file": 126,
}
KINDS = (*FAILING, "bare", "bare_in_path", "empty", "killed", "exit0", "exit3", "exit255", "probe")
TERMINALS = ("none", "nobody's", "session's")
OPTIONS = ("", "-c", "-f", "-w", "-cf", "-cw", "-fw", "-cfw")


class Case(NamedTuple):
    """A command line and who executes it."""

    options: str
    kind: str
    terminal: str
    leads: bool

    @property
    def forks(self) -> bool:
        return "f" in self.options or self.leads

    @property
    def steals(self) -> bool:
        return "c" in self.options and self.terminal == "session's"

    @property
    def gets_no_terminal(self) -> bool:
        return "c" in self.options and (self.terminal == "none" or self.steals)


class Difference(NamedTuple):
    """One that is meant: in which cases, what pysetsid does instead, and why."""

    reason: str
    applies: Callable[[Case], bool]
    ours: Callable[[Case], Mapping[str, object]]


DIFFERENCES = (
    Difference(
        "-c does not take a terminal from another session unless told to by --steal",
        lambda case: case.steals and ROOT,
        lambda case: {
            "status": 1,
            "said": "",
            "facts": None,
            "keeps its terminal": True,
            "stderr": "setsid: failed to set the controlling terminal: Operation not permitted\n",
        },
    ),
    Difference(
        "a step that fails in the child is known to the parent, so it does not exit with 0",
        lambda case: case.gets_no_terminal and case.forks and "w" not in case.options and not (case.steals and ROOT),
        lambda case: {"status": 1},
    ),
    Difference(
        "a program that can't be executed in the child is known to the parent, so it does not exit with 0",
        lambda case: not case.gets_no_terminal and case.forks and "w" not in case.options and case.kind in FAILING,
        lambda case: {"status": FAILING[case.kind]},
    ),
    Difference(
        "under -w a program killed by signal n gives 128+n, as in a shell, and no message",
        lambda case: not case.gets_no_terminal and case.forks and "w" in case.options and case.kind == "killed",
        lambda case: {"status": 128 + 9, "stderr": ""},
    ),
)


def command_line(case: Case, directory: Path) -> list[str]:
    """What follows the command's name. The options end at the program."""
    kind = case.kind.removesuffix("_in_path")
    program = {"nameless": "", "below_a_file": f"{directory}/exit0/program"}.get(kind, f"{directory}/{kind}")
    return [*case.options.split(), kind if kind != case.kind else program, "-w", "--", "a b", "\udcff"]


def expected(case: Case, theirs: Mapping[str, object]) -> dict[str, object]:
    """What pysetsid does if setsid(1) does `theirs`. Fails if a difference is none any more."""
    changes: dict[str, object] = {}
    for difference in DIFFERENCES:
        if difference.applies(case):
            ours = difference.ours(case)
            assert any(theirs[key] != ours[key] for key in ours), f"none any more: {difference.reason}: {case}"
            changes |= ours
    return {**theirs, **changes}


def says(said: str, wanted: str) -> bool:
    """Whether a message is the one that is wanted, or that with a reason behind it."""
    return said == wanted or (wanted != "" and said.startswith(wanted.rstrip("\n") + ": "))


def same(text: object) -> str:
    """A message without what differs in any two runs."""
    return re.sub(r"child \d+", "child N", str(text))


@pytest.mark.parametrize("terminal", TERMINALS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_does_what_setsid_1_does(kind: str, terminal: str, tmp_path: Path, need: Callable[..., str]) -> None:
    need(SETSID)
    make_programs(tmp_path)
    cases = [Case(options, kind, terminal, leads) for options, leads in itertools.product(OPTIONS, (False, True))]
    runs = [(command_line(case, tmp_path), terminal, case.leads, "w" in case.options) for case in cases]
    told = fresh(
        """
import ast
from commands import *

for words, terminal, leads, waits in ast.literal_eval(sys.argv[1]):
    for command in SETSID, PYSETSID:
        print(repr(outcome([command, *words], terminal=terminal, leads=leads, waits=waits)))
""",
        ascii(runs),
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    ).stdout
    seen = [ast.literal_eval(line) for line in told.splitlines()]
    assert len(seen) == 2 * len(cases)
    for case, theirs, ours in zip(cases, seen[::2], seen[1::2], strict=True):
        want = expected(case, theirs)
        # The reason comes behind what setsid(1) says.
        said, wanted = same(ours.pop("stderr")), same(want.pop("stderr")).replace("setsid: ", "pysetsid: ")
        wanted = of_this_libc(wanted)
        assert ours == want, case
        assert says(said, wanted), case


def test_steal_is_what_ctty_is_in_setsid_1(tmp_path: Path, need: Callable[..., str]) -> None:
    need(SETSID)
    make_programs(tmp_path)
    fresh(
        """
import itertools
from commands import *

for terminal, leads, program in itertools.product(("nobody's", "session's"), (False, True), ("probe", "bare", "exit3")):
    seen = [
        outcome([*command, "-w", sys.argv[1] + "/" + program], terminal=terminal, leads=leads, waits=True)
        for command in ([SETSID, "-c"], [PYSETSID, "--steal"], [PYSETSID, "--st", "-c"])
    ]
    if os.geteuid() == 0 or terminal == "nobody's":
        assert seen[0] == seen[1] == seen[2], seen
        assert not seen[1]["keeps its terminal"] and seen[1]["facts"] is None or seen[1]["facts"]["has a terminal"]
""",
        tmp_path,
    )


# -- messages


def run(*argv: str | bytes, prepare: str = "", **more: object) -> tuple[int, str, str]:
    """What a command exits with and writes to its two streams. `prepare` is Python, carried out before the exec."""
    told = fresh(
        f"""
import ast
from commands import *

def prepare():
    {prepare or "pass"}

command = Running(ast.literal_eval(sys.argv[1]), prepare=prepare)
command.open_gate()
print(repr((command.ended(), command.out.rest(), command.err.rest())))
""",
        repr(argv),
        **more,  # type: ignore[arg-type]
    ).stdout
    status, out, err = ast.literal_eval(told)
    return status, out, err


WORDS: list[tuple[str, ...]] = [
    *(
        (),
        ("--",),
        ("-c",),
        ("-cfw",),
        ("-x", "a"),
        ("-cx", "a"),
        ("-xh",),
        ("-c-", "a"),
        ("-W", "a"),
        ("-:",),
        ("-?",),
    ),
    *(("--foo", "a"), ("--foo=1",), ("--=",), ("--ctty=3", "a"), ("--w=", "a"), ("--he=x",), ("---",), ("--wait --",)),
    *(("-f", "-x"), ("-é",), ("-\udcff",), ("--\udcff",), ("--\udcff=é",), ("-",), ("--", "-c"), ("", "-h")),
]


def test_a_usage_error_is_told_as_setsid_1_tells_it(need: Callable[..., str]) -> None:
    need(SETSID)
    told = fresh(
        """
import ast
from commands import *

for words in ast.literal_eval(sys.argv[1]):
    for program in SETSID, PYSETSID:
        command = Running([program, *words])
        print(repr((command.ended(), command.out.rest(), command.err.rest())))
""",
        ascii(WORDS),
    ).stdout
    seen = [ast.literal_eval(line) for line in told.splitlines()]
    for words, (status, out, err), ours in zip(WORDS, seen[::2], seen[1::2], strict=True):
        # The path that getopt says goes to the name alone; --steal is an option more; the reason comes behind.
        wanted = re.sub(r"(/usr/bin/)?\bsetsid\b", "pysetsid", err)
        wanted = wanted.replace("'--version' '--help'", "'--steal' '--help' '--version'")
        assert ours[:2] == (status, out), words
        assert says(ours[2], wanted), words
        assert status in (1, 127)


@pytest.mark.parametrize("words", [("--help",), ("-h",), ("-cfh", "-x"), ("--he", "program"), ("-hV",)])
def test_help_says_all_options_and_that_it_differs(words: tuple[str, ...]) -> None:
    status, out, err = run(*command(*words))
    assert (status, err) == (0, "")
    assert set(re.findall(r"--[a-z]+", out)) == {"--ctty", "--steal", "--fork", "--wait", "--help", "--version"}
    assert "setsid(1) does otherwise" in out
    assert max(map(len, out.splitlines())) <= 80


def test_version_is_the_packages() -> None:
    from importlib.metadata import version

    assert run(*command("-V")) == run(*command("--v", "-x")) == (0, f"pysetsid from setsid {version('setsid')}\n", "")


def command(*words: str) -> list[str]:
    from commands import PYSETSID

    return [PYSETSID, *words]


def test_what_can_not_be_written() -> None:
    full = "fd = os.open('/dev/full', os.O_WRONLY); os.dup2(fd, 1); os.dup2(fd, 2)"
    unread = "r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.dup2(w, 2)"
    told = fresh(
        f"""
from commands import *

def full(): {full}
def full_out(): {full.rpartition(";")[0]}
def unread(): {unread}
for prepare, words in (
    *((full_out, ["-h"]), (full_out, ["-V"]), (full, ["-h"]), (full, ["-x"]), (full, ["/nowhere"])),
    *((unread, ["-h"]), (unread, ["-x"]), (unread, ["/nowhere"])),
):
    for program in SETSID, PYSETSID:
        command = Running([program, *words], prepare=prepare)
        print(repr((command.ended(), command.out.rest(), command.err.rest())))
"""
    ).stdout
    seen = [ast.literal_eval(line) for line in told.splitlines()]
    theirs, ours = seen[::2], seen[1::2]
    # setsid(1) forgets why it has failed when it can't say so.
    assert (theirs[4][0], ours[4][0]) == (1, 127)
    theirs[4] = ours[4]
    assert [(status, out, err.replace("setsid:", "pysetsid:")) for status, out, err in theirs] == ours
    assert (0, "", "pysetsid: write error: No space left on device\n") not in ours
    assert ours[0] == (1, "", "pysetsid: write error: No space left on device\n")


def test_closed_streams() -> None:
    told = fresh(
        """
import itertools
from commands import *

TELL = "import os; os.write(9, repr([fd for fd in range(100) if os.path.exists(f'/proc/self/fd/{fd}')]).encode())"
PROGRAM = ["-fw", sys.executable, "-c", TELL]
for closed in itertools.chain.from_iterable(itertools.combinations(range(3), count) for count in (1, 2, 3)):
    def prepare():
        for fd in closed:
            os.close(fd)
    for words in ["-h"], ["-V"], ["-x"], ["/nowhere"], ["-fw", "/nowhere"], ["-c", "true"], ["-cfw", "true"], PROGRAM:
        seen = []
        for program in SETSID, PYSETSID:
            command = Running([program, *words], prepare=prepare)
            command.open_gate()
            seen.append([command.ended(), command.result.rest(), command.err.rest().replace(SETSID, "setsid")])
        print(repr((closed, words, *seen)))
"""
    ).stdout
    differences = 0
    for line in told.splitlines():
        closed, words, theirs, ours = ast.literal_eval(line)
        if 2 in closed and words[-1] == "/nowhere":  # as in the test before
            assert (theirs.pop(0), ours.pop(0)) == (1, 127)
            differences += 1
        if words[0] != "-V":
            said, wanted = ours.pop(), of_this_libc(theirs.pop().replace("setsid", "pysetsid"))
            assert says(said, wanted), line
        assert ours == theirs, line
        assert "Traceback" not in line
    assert differences == 8


def test_the_real_reasons(tmp_path: Path) -> None:
    make_programs(tmp_path)
    for name, reason in {
        "not_executable": f"{tmp_path}/not_executable is not executable",
        "directory": f"{tmp_path}/directory is a directory",
        "no_interpreter": f"{tmp_path}/no_interpreter exists, but its interpreter /nowhere/sh does not",
    }.items():
        for options in [], ["-f"]:
            status, _, err = run(*command(*options, f"{tmp_path}/{name}"))
            assert (status, err.endswith(f": {reason}\n")) == (FAILING[name], True), err
    assert run(*command("no-such-program"))[2].endswith(": there is none in PATH\n")
    for options in ["-c"], ["-cf"]:
        assert run(*command(*options, "true"))[2].endswith(": standard input is not a terminal\n")
        assert run(*command(*options, "true"), prepare="os.close(0)")[2].endswith(": standard input is closed\n")


def test_whose_terminal_it_is(tmp_path: Path) -> None:
    fresh(
        """
from commands import *

for options in ["-c"], ["-cf"], ["-cw"]:
    for leads in False, True:
        told = Pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            command = Running([PYSETSID, *options, "/bin/true"], terminal="session's", leads=leads)
            name = os.ttyname(command.terminal)
            said = command.ended(), command.err.rest()
            text = f"{name} is the controlling terminal of session {os.getpid()}; --steal takes it from there"
            wanted = f"pysetsid: failed to set the controlling terminal: Operation not permitted: {text}\\n"
            assert said == (1, wanted), said
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""
    )


def test_who_may_not_steal() -> None:
    if not ROOT:
        pytest.skip("a user without CAP_SYS_ADMIN needs root to become one")
    # The user may not be able to read the package, so it is loaded before.
    fresh(
        """
from commands import *

MAIN = '''
import os, sys, fcntl, setsid._child_hints, setsid._enums
from setsid.cli.setsid import main
os.setuid(65534)
sys.exit(main(sys.argv[1:]))
'''
os.setsid() if os.getsid(0) != os.getpid() else None
command = Running([sys.executable, "-c", MAIN, "--steal", "/bin/true"], terminal="session's")
said = [(command.ended(), command.err.rest())]
terminal = command.terminal
command = Running([sys.executable, "-c", MAIN, "-f", "--steal", "/bin/true"], prepare=lambda: os.dup2(terminal, 0))
said += [(command.ended(), command.err.rest())]
for status, text in said:
    assert status == 1 and text.endswith("; to take it from there needs CAP_SYS_ADMIN\\n"), said
"""
    )


# -- what goes through unchanged


def test_arguments_and_environment_go_through_unchanged(need: Callable[..., str]) -> None:
    need(SETSID)
    fresh(
        """
import ctypes
from commands import *

WORDS = [b"/bin/cat", b"/proc/self/cmdline", b"/proc/self/environ", b"\\xff\\xc3 \\xe9", b"\\xc3\\xa9", b"", b"-u"]
PLACE = b"PATH=" + os.path.dirname(sys.executable).encode()
for environment in (
    *([], [b"LC_ALL=C"], [b"LANG=C"], [b"LC_CTYPE=C"], [b"LC_CTYPE=POSIX", b"LANG=C.UTF-8"], [b"LC_ALL=C.UTF-8"]),
    *([b"LC_CTYPE=C.UTF-8"], [b"LC_ALL=C", b"PYTHONCOERCECLOCALE=0", b"PYTHONUTF8=0"]),
    *([] if ON_PYPY else [[b"LC_ALL=nowhere"]]),  # with which PyPy does not start
    [b"NOTHING", b"A=1", b"A=2", b"\\xff=\\xfe", b"=", b"E="],
):
    seen = []
    for program in SETSID.encode(), PYSETSID.encode():
        def prepare():
            argv = [program, b"-f", b"-w", *WORDS]
            envp = [PLACE, *environment]
            array = lambda strings: (ctypes.c_char_p * (len(strings) + 1))(*strings, None)
            ctypes.CDLL(None).execve(program, array(argv), array(envp))
        command = Running([PYSETSID], prepare=prepare)
        command.open_gate()
        seen.append((command.ended(), command.out.rest(), command.err.rest()))
    assert seen[0] == seen[1], (environment, seen)
    assert seen[0][1].startswith("/bin/cat\\0/proc/self/cmdline\\0") and chr(0xDCFF) in seen[0][1], seen
"""
    )


def test_a_programs_name_may_be_any_bytes(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/\xff\n"
    assert run(os.fsencode(command()[0]), name) == (
        127,
        "",
        f"pysetsid: failed to execute {os.fsdecode(name)}: No such file or directory\n",
    )
    Path(os.fsdecode(name)).write_text("#!/bin/sh\nexit 9\n")
    Path(os.fsdecode(name)).chmod(0o755)
    for options in [], [b"-fw"]:
        assert run(os.fsencode(command()[0]), *options, name) == (9, "", "")


def test_path_is_gone_through_as_execvp_does(tmp_path: Path, need: Callable[..., str]) -> None:
    need(SETSID)
    make_programs(tmp_path)
    (tmp_path / "second").mkdir()
    for name, mode in {"not_executable": 0o644, "only_second": 0o755, "exit3": 0o644, "bare": 0o755}.items():
        (tmp_path / "second" / name).write_text("exit 8\n")
        (tmp_path / "second" / name).chmod(mode)
    (tmp_path / "file").write_text("")
    fresh(
        """
from commands import *

first, second, file = sys.argv[1], sys.argv[1] + "/second", sys.argv[1] + "/file"
for path in f"{second}:{first}", f"{first}:{second}", f"{file}:{second}", f":{second}", f"{first}:", "", None:
    for name in "not_executable", "only_second", "exit3", "bare", "nothing", "true", "directory", "x" * 300:
        seen = []
        for program in SETSID, PYSETSID:
            def prepare():
                os.chdir(first)
                os.environ.pop("PATH")
                if path is not None:
                    os.environ["PATH"] = path
            command = Running([program, name], prepare=prepare)
            seen.append((command.ended(), command.result.rest(), command.err.rest().strip()))
        (status, said, why), ours = seen
        assert ours[:2] == (status, said), (path, name, seen)
        assert ours[2].startswith(of_this_libc(why.replace("setsid:", "pysetsid:"))), (path, name, seen)
""",
        tmp_path,
    )


def test_signals_that_python_ignores_are_at_their_default() -> None:
    """Whether they were ignored is not to be known; on PyPy that is true of SIGINT too. setsid(1) leaves them so."""
    fresh(
        """
from commands import *

LOOK = ["/bin/grep", "SigIgn", "/proc/self/status"]
for options in [], ["-fw"]:
    seen = []
    for program in SETSID, PYSETSID:
        def prepare():
            for number in signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD:
                signal.signal(number, signal.SIG_IGN)
        command = Running([program, *options, *LOOK], prepare=prepare)
        command.ended()
        bits = int(command.out.rest().split()[1], 16)
        seen.append({n for n in signal.valid_signals() if bits >> (n - 1) & 1})
    assert seen[0] == {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT, signal.SIGCHLD}, seen
    assert seen[1] == {signal.SIGHUP, signal.SIGCHLD} | (set() if ON_PYPY else {signal.SIGINT}), seen
"""
    )


def test_python_m_setsid_is_the_same_command(tmp_path: Path) -> None:
    make_programs(tmp_path)
    fresh(
        """
from commands import *

exit3 = sys.argv[1]
for words in ["-h"], ["-V"], ["-x"], [], ["/nowhere"], ["-f", "/nowhere"], ["-fw", exit3], ["-f", exit3], ["--", exit3]:
    seen = []
    for program in [PYSETSID], [sys.executable, "-m", "setsid"]:
        command = Running([*program, *words])
        seen.append((command.ended(), command.result.rest(), command.out.rest(), command.err.rest()))
    assert seen[0] == seen[1] and "Traceback" not in seen[0][3], seen
""",
        tmp_path / "exit3",
    )


def test_main_imports_little() -> None:
    loaded = fresh(
        """
import subprocess
print(subprocess.run([sys.executable, "-I", "-c", "import sys, os; before = set(sys.modules); "
    "from setsid.cli import setsid; print({n for n in set(sys.modules) - before if not n.startswith('setsid')})"],
    capture_output=True, text=True, check=True).stdout)
"""
    ).stdout
    of_cffi = {"_cffi_backend", "cpyext"}  # the other one is PyPy's
    assert ast.literal_eval(loaded) <= {"__future__", "errno", "time", "_signal"} | of_cffi
