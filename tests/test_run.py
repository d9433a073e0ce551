"""setsid.run: what subprocess.run returns and raises, in a session of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import setsid
from scenarios import RAISES
from support import ON_PYPY, fresh

PIPE, STDOUT, DEVNULL = subprocess.PIPE, subprocess.STDOUT, subprocess.DEVNULL
Run = Callable[..., "subprocess.CompletedProcess[Any]"]
RUNS: dict[str, Run] = {"standard": subprocess.run, "ours": setsid.run}
BOTH = pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
MANY = b"0123456789" * 30_000  # more than a pipe holds

# What is run, how, and (returncode, stdout, stderr).
RESULTS: dict[str, tuple[Any, dict[str, Any], tuple[Any, ...]]] = {
    "status": (["sh", "-c", "exit 3"], {}, (3, None, None)),
    "killed": (["sh", "-c", "kill -9 $$"], {}, (-9, None, None)),
    "captured": (["sh", "-c", "echo out; echo err >&2"], {"capture_output": True}, (0, b"out\n", b"err\n")),
    "stdout": (["sh", "-c", "echo out; echo err >&2"], {"stdout": PIPE, "stderr": DEVNULL}, (0, b"out\n", None)),
    "stderr": (["sh", "-c", "echo out; echo err >&2"], {"stdout": DEVNULL, "stderr": PIPE}, (0, None, b"err\n")),
    "both": (["sh", "-c", "echo out; echo err >&2"], {"stdout": PIPE, "stderr": STDOUT}, (0, b"out\nerr\n", None)),
    "nothing written": (["true"], {"capture_output": True}, (0, b"", b"")),
    "closed": (["sh", "-c", "exec >&- 2>&-; exit 4"], {"capture_output": True}, (4, b"", b"")),
    "no stdin": (["cat"], {"stdin": DEVNULL, "stdout": PIPE}, (0, b"", None)),
    "unfed": (["cat"], {"stdin": PIPE, "stdout": PIPE}, (0, b"", None)),
    "input": (["cat"], {"input": b"a\r\nb", "capture_output": True}, (0, b"a\r\nb", b"")),
    "input alone": (["sh", "-c", 'read a; exit "$a"'], {"input": b"9\n"}, (9, None, None)),
    "empty input": (["cat"], {"input": b"", "stdout": PIPE}, (0, b"", None)),
    "bytearray": (["cat"], {"input": bytearray(b"ab"), "stdout": PIPE}, (0, b"ab", None)),
    "memoryview": (["cat"], {"input": memoryview(b"abc")[1:], "stdout": PIPE}, (0, b"bc", None)),
    "much of all": (["tee", "/dev/stderr"], {"input": MANY, "capture_output": True}, (0, MANY, MANY)),
    "unread input": (["true"], {"input": MANY, "stdout": PIPE}, (0, b"", None)),
    "unbuffered": (["cat"], {"input": b"ab", "stdout": PIPE, "bufsize": 0}, (0, b"ab", None)),
    "text": (["cat"], {"input": "ä\r\nb\rc\n", "stdout": PIPE, "text": True}, (0, "ä\nb\nc\n", None)),
    "newlines": (["printf", "a\\r\\nb"], {"stdout": PIPE, "universal_newlines": True}, (0, "a\nb", None)),
    "empty text": (["cat"], {"input": "", "capture_output": True, "text": True}, (0, "", "")),
    "empty text in binary mode": (["cat"], {"input": "", "stdout": PIPE}, (0, b"", None)),
    "encoding": (["printf", "\\351"], {"stdout": PIPE, "encoding": "latin-1"}, (0, "é", None)),
    "encoded input": (["wc", "-c"], {"input": "éé", "stdout": PIPE, "encoding": "latin-1"}, (0, "2\n", None)),
    "errors": (["printf", "\\377"], {"stdout": PIPE, "encoding": "utf-8", "errors": "replace"}, (0, "\ufffd", None)),
    "input errors": (["cat"], {"input": "aé", "stdout": PIPE, "encoding": "ascii", "errors": "ignore"}, (0, "a", None)),
    "env": (["/bin/sh", "-c", 'echo "$A"'], {"stdout": PIPE, "env": {"A": "b"}}, (0, b"b\n", None)),
    "cwd": (["pwd"], {"stdout": PIPE, "cwd": "/usr"}, (0, b"/usr\n", None)),
    "shell": ("echo $((1 + 1))", {"stdout": PIPE, "shell": True}, (0, b"2\n", None)),
    "shell list": (["echo $0 $1", "a", "b"], {"stdout": PIPE, "shell": True}, (0, b"a b\n", None)),
    "executable": (["x", "-c", "echo $0"], {"stdout": PIPE, "executable": "/bin/sh"}, (0, b"x\n", None)),
    "bytes": ([b"echo", b"\xff"], {"stdout": PIPE}, (0, b"\xff\n", None)),
    "string": ("true", {"stdout": PIPE}, (0, b"", None)),
    "path": (Path("/bin/true"), {}, (0, None, None)),
    "umask": (["sh", "-c", "umask"], {"stdout": PIPE, "umask": 0o27}, (0, b"0027\n", None)),
    "in time": (["echo", "a"], {"stdout": PIPE, "timeout": 60}, (0, b"a\n", None)),
    "checked": (["echo", "a"], {"stdout": PIPE, "check": True}, (0, b"a\n", None)),
}


@BOTH
@pytest.mark.parametrize("name", RESULTS)
def test_the_result_is_that_of_the_standard_run(run: Run, name: str) -> None:
    args, keywords, expected = RESULTS[name]
    result = run(args, **keywords)
    assert (result.returncode, result.stdout, result.stderr) == expected
    assert result.args == args
    assert type(result) is subprocess.CompletedProcess


@BOTH
def test_positional_arguments_are_those_of_popen(run: Run) -> None:
    result = run(["x", "-c", "echo $0; echo e >&2"], -1, "/bin/sh", DEVNULL, PIPE, STDOUT)
    assert (result.stdout, result.stderr) == (b"x\ne\n", None)


@BOTH
def test_passed_fds_arrive_and_others_do_not(run: Run) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)
    try:
        code = f"import os; os.write({writer}, b'x'); os.fstat({reader})"
        result = run([sys.executable, "-ISc", code], pass_fds=[writer], capture_output=True)
        assert (result.returncode, b"Bad file descriptor" in result.stderr) == (1, True)
        assert os.read(reader, 2) == b"x"
    finally:
        os.close(reader)
        os.close(writer)


# What is asked for, and the exact message of the exception.
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "stdin and input": ({"stdin": PIPE, "input": b""}, ValueError, "stdin and input arguments may not both be used."),
    **{
        f"{name} and capture_output": (
            {name: DEVNULL, "capture_output": True},
            ValueError,
            "stdout and stderr arguments may not be used with capture_output.",
        )
        for name in ("stdout", "stderr")
    },
    "text in binary mode": (
        {"input": "a", "capture_output": True},
        TypeError,
        "memoryview: " * (not ON_PYPY) + "a bytes-like object is required, not 'str'",
    ),
    "bytes in text mode": (
        {"input": b"a", "capture_output": True, "text": True},
        AttributeError,
        "'bytes' object has no attribute 'encode'",
    ),
    "unencodable": (
        {"input": "é", "stdout": PIPE, "encoding": "ascii"},
        UnicodeEncodeError,
        "'ascii' codec can't encode character '\\xe9' in position 0: ordinal not in range(128)",
    ),
    "undecodable": (
        {"args": ["printf", "a\\377"], "stdout": PIPE, "encoding": "utf-8"},
        UnicodeDecodeError,
        "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte",
    ),
    "encoding": ({"stdout": PIPE, "encoding": "none"}, LookupError, "unknown encoding: none"),
    "text or not": (
        {"text": True, "universal_newlines": False},
        subprocess.SubprocessError,
        "Cannot disambiguate when both text and universal_newlines are supplied but different. Pass one or the other.",
    ),
    "buffer": ({"bufsize": "a"}, TypeError, "bufsize must be an integer"),
}


@BOTH
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_so_with_the_standard_message(run: Run, name: str) -> None:
    keywords, kind, message = REFUSED[name]
    with pytest.raises(kind) as caught:
        run(**{"args": ["cat"], **keywords})
    assert (type(caught.value), str(caught.value)) == (kind, message)


@BOTH
@pytest.mark.parametrize("fds", [[-1], ["a"]])
def test_what_is_no_file_descriptor_can_not_be_passed(run: Run, fds: list[Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        run(["true"], pass_fds=fds)


@pytest.mark.parametrize(
    ("positional", "keywords"),
    [((), {}), ((["true"],), {"args": ["true"]}), ((["true"], -1), {"bufsize": 0}), ((["true"],), {"colour": 1})],
    ids=["no program", "two programs", "two sizes", "unknown"],
)
def test_calls_that_fit_no_parameters_are_type_errors_as_in_the_standard_run(
    positional: tuple[Any, ...], keywords: dict[str, Any]
) -> None:
    messages = []
    for run in RUNS.values():
        with pytest.raises(TypeError) as caught:
            run(*positional, **keywords)
        messages.append(str(caught.value).rpartition("__init__()")[2])
    assert messages[0] == messages[1] != ""


@pytest.mark.parametrize(
    ("args", "keywords"),
    [(["no-such-program"], {}), (["/etc/passwd"], {}), (["/etc/passwd/x"], {}), (["true"], {"cwd": "/no/such/place"})],
    ids=["not there", "not a program", "not a directory", "no cwd"],
)
def test_what_cannot_start_raises_what_the_standard_run_raises(args: list[str], keywords: dict[str, Any]) -> None:
    errors: list[OSError] = []
    for run in RUNS.values():
        with pytest.raises(OSError, match=r"Errno") as caught:
            run(args, capture_output=True, input=b"a", **keywords)
        errors.append(caught.value)
    standard, ours = errors
    assert isinstance(ours, type(standard))
    assert isinstance(ours, setsid.SystemCallError)
    assert (ours.errno, ours.strerror, ours.filename) == (standard.errno, standard.strerror, standard.filename)


@BOTH
@pytest.mark.parametrize(
    ("script", "status"), [("echo o; echo e >&2; exit 3", 3), ("echo o; echo e >&2; kill -15 $$", -15)]
)
def test_a_checked_failure_tells_all_of_it(run: Run, script: str, status: int) -> None:
    args = ["sh", "-c", script]
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run(args, check=True, capture_output=True, text=True)
    error = caught.value
    assert (error.returncode, error.cmd, error.output, error.stdout, error.stderr) == (
        status,
        args,
        "o\n",
        "o\n",
        "e\n",
    )
    assert str(error) == str(subprocess.CalledProcessError(status, args))


# -- what "not said" means

WHERE = """
def where(**keywords):
    "(leads its session, leads its group, is in our session, is in our group) of a program."
    text = setsid.run(["cat", "/proc/self/stat"], stdout=-1, **keywords).stdout
    pid = int(text.split()[0])
    group, session = map(int, text.rpartition(b")")[2].split()[2:4])
    return session == pid, group == pid, session == os.getsid(0), group == os.getpgrp()

NEW_SESSION, NEW_GROUP, OURS = (True, True, False, False), (False, True, True, False), (False, False, True, True)
"""


def test_the_program_leads_a_session_unless_something_else_is_said() -> None:
    fresh(
        WHERE
        + """
plan = setsid.ChildSetup
assert where() == where(start_new_session=True) == where(setup=plan(umask=0o22)) == NEW_SESSION
assert where(setup=plan(process_group=setsid.NEW_SESSION)) == NEW_SESSION
assert where(start_new_session=False) == where(setup=plan(process_group=setsid.INHERIT)) == OURS
assert where(start_new_session=False, setup=plan(umask=0o22)) == OURS
assert where(setup=plan(process_group=0)) == NEW_GROUP
"""
    )


@pytest.mark.skipif(sys.version_info < (3, 11), reason="the argument process_group came with Python 3.11")
def test_the_argument_process_group_is_respected() -> None:
    fresh(
        WHERE
        + """
assert where(process_group=0) == where(process_group=0, start_new_session=False) == NEW_GROUP
assert where(process_group=os.getpgrp()) == OURS
assert where(process_group=-1) == where(process_group=None) == NEW_SESSION
"""
    )


CONFLICTS = {
    "start_new_session=False, setup=plan(process_group=0)": "argument start_new_session and the field process_group",
    "start_new_session=False, setup=plan(process_group=setsid.INHERIT)": "the field process_group of setup both say it",
    "process_group=0, setup=plan(process_group=0)": "the argument process_group and the field process_group",
    "input=b'', setup=plan(stdin=0)": "the argument stdin and the field stdin of setup both say it",
    "capture_output=True, setup=plan(stdout=1)": "the argument stdout and the field stdout of setup both say it",
    "cwd='/', setup=plan(cwd='/')": "the argument cwd and the field cwd of setup both say it",
    "preexec_fn=print": "run takes no preexec_fn",
    "preexec_fn=print, setup=plan()": "run takes no preexec_fn",
    "grace=float('nan')": "grace must be a number of seconds, not nan",
    "grace=-1": "grace must be a number of seconds, not -1",
    "timeout=float('nan')": "timeout",
    "end_signal=0": "there is no signal 0",
    "end_signal=65": "there is no signal 65",
    "stdin=-1, input=b''": "stdin and input arguments may not both be used.",
}
MISTYPED = ("setup=3", "setup={}", "grace='1'", "grace=None", "timeout='1'", "end_signal='TERM'", "end_signal=15.0")

STARTS = """
starts = []
sys.addaudithook(lambda event, args: starts.append(args) if event in ("subprocess.Popen", "setsid.spawn") else None)
plan = setsid.ChildSetup
setsid.run(["true"])
assert len(starts) == 1
"""


@pytest.mark.parametrize("arguments", CONFLICTS)
def test_arguments_that_contradict_or_make_no_sense_are_refused_before_anything_starts(arguments: str) -> None:
    if arguments.startswith("process_group") and sys.version_info < (3, 11):
        pytest.skip("the argument process_group came with Python 3.11")
    fresh(
        STARTS
        + RAISES
        + f"""
with nothing_left():
    with raises(ValueError, {CONFLICTS[arguments]!r}):
        setsid.run(["true"], {arguments})
assert len(starts) == 1
"""
    )


def test_arguments_of_a_wrong_type_are_refused_before_anything_starts() -> None:
    for arguments in MISTYPED:
        kinds = "(TypeError, ValueError)" if arguments == "end_signal='TERM'" else "TypeError"
        fresh(
            STARTS
            + RAISES
            + f"""
with nothing_left():
    with raises({kinds}):
        setsid.run(["true"], {arguments})
assert len(starts) == 1, starts
"""
        )


def test_the_program_gets_sigkill_when_we_die_unless_something_else_is_said() -> None:
    fresh("""
SOURCE = "import ctypes; n = ctypes.c_int(-1); ctypes.CDLL(None).prctl(2, ctypes.byref(n), 0, 0, 0); print(n.value)"
def death_signal(**keywords):
    return int(setsid.run([sys.executable, "-ISc", SOURCE], stdout=-1, **keywords).stdout)
plan = setsid.ChildSetup
assert death_signal() == death_signal(start_new_session=False) == death_signal(setup=plan(nice=1)) == signal.SIGKILL
assert death_signal(setup=plan(parent_death_signal=signal.SIGTERM)) == signal.SIGTERM
assert death_signal(setup=plan(parent_death_signal=0)) == 0
""")


def test_no_signal_is_blocked_unless_something_else_is_said() -> None:
    fresh("""
def blocked(**keywords):
    text = setsid.run(["grep", "SigBlk", "/proc/self/status"], stdout=-1, **keywords).stdout
    return int(text.split()[1], 16)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
plan = setsid.ChildSetup
assert blocked() == blocked(start_new_session=False) == blocked(setup=plan(nice=1)) == 0
assert blocked(setup=plan(signal_mask=setsid.INHERIT)) == 1 << signal.SIGUSR1 - 1
assert blocked(setup=plan(signal_mask=[signal.SIGUSR2])) == 1 << signal.SIGUSR2 - 1
""")


# -- what is left in the background


def test_a_background_process_without_a_pipe_goes_on_and_is_not_waited_for() -> None:
    fresh("""
with nothing_left():
    result = setsid.run("sleep 60 > /dev/null 2>&1 & echo $!", shell=True, capture_output=True)
    pid = int(result.stdout)
    assert status(pid)["Name"] in ("sleep", "sh")
    os.kill(pid, signal.SIGKILL)
""")


@BOTH
def test_a_background_process_is_waited_for_as_long_as_it_holds_a_pipe(run: Run) -> None:
    result = run("(sleep 0.3; echo late) & echo early", shell=True, capture_output=True)
    assert (result.returncode, result.stdout) == (0, b"early\nlate\n")


# -- where it is called


def test_32_threads_run_programs_at_once_and_leave_nothing() -> None:
    fresh("""
from concurrent.futures import ThreadPoolExecutor
setsid.run(["true"])
def one(number):
    if number % 4 == 0:
        try:
            setsid.run(f"trap '' TERM; echo {number}; sleep 60 & sleep 60", shell=True, timeout=2, grace=0.1,
                       capture_output=True)
        except setsid.TimeoutExpired as error:
            return error.stdout, len(error.report.ended) > 1, error.report.survived, error.report.escaped
    if number % 4 == 1:
        return setsid.run(["cat"], input=b"%d" % number * 100_000, capture_output=True).stdout
    if number % 4 == 2:
        return setsid.run(["sh", "-c", f"exit {number}"]).returncode
    try:
        setsid.run([f"no-such-{number}"])
    except FileNotFoundError as error:
        return error.filename
def expected(number):
    return [
        (b"%d\\n" % number, True, (), ()), b"%d" % number * 100_000, number, f"no-such-{number}"
    ][number % 4]
with ThreadPoolExecutor(32) as pool:
    list(pool.map(one, range(2, 34, 4)))  # the thread that makes children for all threads is made here
    with nothing_left():
        assert list(pool.map(one, range(96))) == [expected(number) for number in range(96)]
""")


def test_a_process_with_more_than_1024_open_files_runs_programs() -> None:
    result = fresh("""
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
if hard != resource.RLIM_INFINITY and hard < 2000:
    print("SKIP")
    sys.exit(0)
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, hard))
taken = [os.dup(0) for _ in range(1100)]
with nothing_left():
    data = b"x" * 200_000
    assert setsid.run(["cat"], input=data, capture_output=True).stdout == data
    try:
        setsid.run(["sh", "-c", "echo a; sleep 60"], timeout=1, capture_output=True)
    except setsid.TimeoutExpired as error:
        assert (error.stdout, error.report.survived) == (b"a\\n", ())
    else:
        raise AssertionError
""")
    if result.stdout == "SKIP\n":
        pytest.skip("2,000 files may not be open here")


def test_a_forked_process_runs_programs() -> None:
    fresh("""
setsid.run(["true"])
pid = os.fork()
if pid == 0:
    try:
        with nothing_left():
            assert setsid.run(["cat"], input=b"a", capture_output=True).stdout == b"a"
            try:
                setsid.run("sleep 60 & sleep 60", shell=True, timeout=0.5, capture_output=True)
            except setsid.TimeoutExpired as error:
                os._exit(0 if not error.report.survived and len(error.report.ended) > 1 else 1)
    finally:
        os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
""")


@BOTH
def test_the_status_is_told_even_where_children_are_reaped_at_once_if_the_kernel_knows(run: Run) -> None:
    # The standard run says 0, since all that it can ask is waitpid.
    if signal.getsignal(signal.SIGCHLD) != signal.SIG_DFL:
        pytest.skip("something handles SIGCHLD here")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        result = run(["sh", "-c", "echo a; exit 7"], capture_output=True)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    assert result.stdout == b"a\n"
    assert result.returncode in ((0,) if run is subprocess.run else (0, 7))
