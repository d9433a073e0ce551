"""Job: starting a pipeline, how it does, ending it. Its terminal is in test_jobs_terminal.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from scenarios import ASLEEP, AT_ANY_POINT, RAISES, TELLS
from support import fresh

PRELUDE = """
import gc, select, threading, warnings
from contextlib import suppress
from setsid import DEVNULL, STDOUT, ChildSetup
from setsid.jobs import Command, Job, ProcessState
RUNNING, STOPPED, DONE = ProcessState.RUNNING, ProcessState.STOPPED, ProcessState.DONE
hooks = []  # called with the argv of each program that is about to be started
sys.addaudithook(lambda event, args: [hook(args[1]) for hook in hooks] if event == "setsid.spawn" else None)

class Pipe:
    def __init__(self):
        self.reader, self.writer = os.pipe()

    def text(self):
        # To the end: nobody has the writer any more. Fails where somebody keeps it.
        if self.writer >= 0:
            os.close(self.writer)
        text = b""
        while select.select([self.reader], [], [], 30)[0]:
            if not (chunk := os.read(self.reader, 65536)):
                os.close(self.reader)
                return text.decode()
            text += chunk
        raise AssertionError(f"the end never came, after {text}")

    def line(self, count=1):
        # That many lines, one each from whoever writes.
        text = b""
        while text.count(b"\\n") < count:
            assert select.select([self.reader], [], [], 30)[0], text
            text += os.read(self.reader, 65536)
        return text.decode()

def output_of(commands, **arguments):
    pipe = Pipe()
    with Job(commands, stdout=pipe.writer, **arguments) as job:
        return pipe.text()

def stopped(job):  # once all that have not ended are
    for process in job.processes:
        if process.returncode is None:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

def ended(pid):
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

SLEEP = ["sleep", "60"]
# Tells that it is there on its stderr, and sleeps.
THERE = [sys.executable, "-S", "-c", "import os, time; os.write(2, b'there\\\\n'); time.sleep(60)"]
# Has a child in its group that keeps its stderr open, and sleeps.
PARENT = ["sh", "-c", "sleep 60 & echo there >&2; exec sleep 60 2>&1"]
"""


def jobs(source: str, *args: object, way: str | None = None, hide_pidfd: bool = False) -> None:
    fresh(PRELUDE + RAISES + source, *args, way=way, hide_pidfd=hide_pidfd)


# -- starting


def test_a_job_is_one_new_group_of_the_callers_session(way: str) -> None:
    jobs(
        """
with nothing_left(), Job([SLEEP, SLEEP, SLEEP]) as job:
    assert job.pgid == job.processes[0].pid
    assert [session_of(process.pid)["pgid"] for process in job.processes] == [job.pgid] * 3
    assert {session_of(process.pid)["sid"] for process in job.processes} == {os.getsid(0)}
    assert [process.args for process in job.processes] == [command.argv for command in job.commands] == [SLEEP] * 3
    assert repr(job) == f"<Job pgid={job.pgid} 'sleep' | 'sleep' | 'sleep'>"
    job.send_signal(signal.SIGKILL)
""",
        way=way,
    )


@pytest.mark.parametrize("count", [1, 2, 50])
def test_what_the_first_reads_comes_out_of_the_last(count: int) -> None:
    jobs(
        """
count = int(sys.argv[1])
with nothing_left():
    source, pipe = Pipe(), Pipe()
    with Job([["cat"]] * count, stdin=source.reader, stdout=pipe.writer) as job:
        os.write(source.writer, b"text")
        for fd in source.reader, source.writer:
            os.close(fd)
        assert pipe.text() == "text"
        assert job.wait() == 0
        assert (job.returncodes, job.returncode, job.state) == ([0] * count, 0, DONE)
""",
        count,
    )


def test_nobody_else_holds_a_pipe(way: str) -> None:
    jobs(
        """
for close_fds in True, False:
    with nothing_left():
        there = Pipe()
        with Job([THERE] * 4, setup=ChildSetup(close_fds=close_fds), stderr=there.writer) as job:
            there.line(4)
            held = {}  # who has each pipe, by his place in the job, and under which number
            for place, process in enumerate(job.processes):
                for fd in os.listdir(f"/proc/{process.pid}/fd"):
                    held.setdefault(os.readlink(f"/proc/{process.pid}/fd/{fd}"), set()).add((place, int(fd)))
            pipes = [holders for file, holders in held.items() if file.startswith("pipe:")]
            for place in range(3):
                assert {(place, 1), (place + 1, 0)} in pipes, held
            job.send_signal(signal.SIGKILL)
        there.text()
""",
        way=way,
    )


def test_a_process_that_is_forked_meanwhile_holds_no_pipe(way: str) -> None:
    jobs(
        """
own = set(open_fds().values())
found = []

def fork(argv):
    pid = os.fork()
    if pid == 0:
        os._exit(bool({file for file in open_fds().values() if file.startswith("pipe:")} - own))
    found.append(os.waitpid(pid, 0)[1])
    found.append(len({file for file in open_fds().values() if file.startswith("pipe:")} - own))

hooks.append(fork)
with Job([["true"]] * 3):
    assert found == [0, 1, 0, 2, 0, 1], found  # there were pipes, here
""",
        way=way,
    )


def test_one_that_ends_at_once_does_not_keep_the_others_from_joining(way: str) -> None:
    jobs(
        """
pids = []

def wait(argv):  # until all that have been started are zombies
    for pid in children():
        ended(pid)
        pids.append(pid)

hooks.append(wait)
with nothing_left(), Job([["true"]] * 10) as job:
    assert len(pids) == 45 and pids[0] == job.pgid
    assert [os.getpgid(process.pid) for process in job.processes] == [job.pgid] * 10
""",
        way=way,
    )


@pytest.mark.parametrize("how", ["ignored", "waited"])
def test_one_that_somebody_else_has_reaped_does_not_either(way: str, how: str) -> None:
    jobs(
        """
if sys.argv[1] == "ignored":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)

def gone(argv):
    if sys.argv[1] == "ignored":
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)  # does not come back before all have gone
    elif children():
        os.waitpid(-1, 0)

hooks.append(gone)
pipe = Pipe()
with nothing_left():
    job = Job([["true"], ["true"], SLEEP], stderr=pipe.writer)
    assert job.pgid == job.processes[2].pid == os.getpgid(job.processes[2].pid)
    assert job.state is RUNNING
    job.send_signal(signal.SIGKILL)
    with suppress(ChildProcessError):  # where the kernel does not tell how they ended
        job.wait()
    assert job.state is DONE
    job.close()
""",
        how,
        way=way,
    )


def test_a_group_that_only_the_reaped_leaders_child_is_in_is_joined_all_the_same() -> None:
    jobs("""
from setsid._native import lib
pidfd = os.pidfd_open(os.getpid())
if not lib.sid_group_lives(pidfd):
    sys.exit(0)  # the kernel does not tell (before Linux 6.9)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
hold = Pipe()

import setsid.jobs
start = setsid.jobs.start

def start_and_wait(process, *arguments):
    start(process, *arguments)
    if process.args != SLEEP:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, 0)

setsid.jobs.start = start_and_wait
job = Job([["sh", "-c", "sleep 60 & exit"], SLEEP], stderr=hold.writer)
assert job.pgid == job.processes[0].pid == os.getpgid(job.processes[1].pid)
job.send_signal(signal.SIGKILL)
assert hold.text() == ""
""")


def test_its_streams_and_those_of_its_programs(tmp_path: Path) -> None:
    jobs(
        """
os.chdir(sys.argv[1])
both = ["sh", "-c", "echo out; echo err >&2"]
with open("in", "w+") as file, open("out", "w+") as out:
    file.write("from a file")
    file.seek(0)
    assert output_of([["cat"], ["tr", "a-z", "A-Z"]], stdin=file) == "FROM A FILE"
    # The last one's output and all errors; then errors into the pipe.
    assert output_of([both, ["cat"]], stderr=out) == "out\\n"
    assert open("out").read() == "err\\n"
    assert output_of([both, ["sort"]], stderr=STDOUT) == "err\\nout\\n"
    assert output_of([Command(both, setup=ChildSetup(stderr=STDOUT)), ["sort"]], stderr=out) == "err\\nout\\n"
    # One that writes to a file: the next one reads nothing.
    out.truncate(0), out.seek(0)
    assert output_of([Command(both, setup=ChildSetup(stdout=out)), ["wc", "-c"]], stderr=DEVNULL) == "0\\n"
    assert open("out").read() == "out\\n"
    assert output_of([["echo", "unread"], Command(["cat"], setup=ChildSetup(stdin=DEVNULL))]) == ""
""",
        tmp_path,
    )


def test_with_the_callers_streams_closed_the_pipes_serve_all_the_same(way: str) -> None:
    jobs(
        """
reader, writer = os.pipe()
errors = os.dup(2)
os.closerange(0, 3)
try:
    with Job([["echo", "text"], ["cat"], ["cat"]], stdout=writer) as job:
        os.close(writer)
        assert os.read(reader, 100) == b"text\\n"
        assert job.wait() == 0
    with Job([["sh", "-c", "ls /proc/self/fd >&9"], ["true"]], setup=ChildSetup(pass_fds={9: errors})) as job:
        pass
finally:
    os.dup2(errors, 0), os.dup2(errors, 1), os.dup2(errors, 2)
assert job.returncode == 0
""",
        way=way,
    )


def test_what_a_command_says_holds_before_what_the_job_says() -> None:
    jobs("""
words = ["sh", "-c", 'echo "$A" "$B" $(pwd) $(umask)']
os.environ["A"] = "ours"
assert output_of([words]).split() == ["ours", os.getcwd(), status()["Umask"]]
where = ChildSetup(cwd="/", umask=0o77)
assert output_of([words], env={**os.environ, "A": "a", "B": "b"}, setup=where) == "a b / 0077\\n"
own = Command(words, env={**os.environ, "A": "c"}, setup=ChildSetup(cwd="/usr"))
assert output_of([own], env={"A": "a", "B": "b"}, setup=where) == "c  /usr 0077\\n"
assert output_of([Command(["my name", "-c", 'echo "$0"'], executable="sh")]) == "my name\\n"
""")


def test_what_a_shell_ignores_the_programs_do_not(way: str) -> None:
    jobs(
        """
terminals = {signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
for number in [*terminals, signal.SIGCHLD, signal.SIGUSR1]:
    signal.signal(number, signal.SIG_IGN)
ignore, default = ChildSetup(ignore_signals={signal.SIGINT}), ChildSetup(default_signals=[signal.SIGUSR1])
job = Job([SLEEP, Command(SLEEP, setup=ignore), Command(SLEEP, setup=default)])
found = [signal_set("SigIgn", process.pid) for process in job.processes]
python = {signal.SIGPIPE, signal.SIGXFSZ}
assert found == [{signal.SIGUSR1}, {signal.SIGUSR1, signal.SIGINT}, {*terminals, signal.SIGCHLD, *python}], found
job.end(0)
job.close()
""",
        way=way,
    )


# Each with what its message tells.
BAD = {
    "Job('ls')": "TypeError: commands must be an iterable of commands, not str",
    "Job(Command(GOOD))": "TypeError: commands must be an iterable of commands, not Command",
    "Job(5)": "TypeError: commands must be an iterable of commands, not int",
    "Job([])": "ValueError: commands is empty",
    "Job(['ls', '-l'])": "TypeError: command 1 of 2: argv must be a sequence of strings, not str",
    "Job([GOOD, []])": "ValueError: command 2 of 2: argv is empty",
    "Job([GOOD, [5]])": "TypeError: command 2 of 2: argv[0] must be str, bytes or os.PathLike, not int",
    "Job([GOOD, ['a', 'b\\0']])": "ValueError: command 2 of 2: argv: embedded null byte",
    "Job(iter([GOOD, ['a', '\\ud800']]))": "ValueError: command 2 of 2: 'utf-8' codec can't encode",
    "Command('ls')": "TypeError: argv must be a sequence of strings, not str",
    "Command(GOOD, setup=5)": "TypeError: setup must be a ChildSetup, not int",
    "Command(GOOD, env=5)": "TypeError: env must be a mapping, not int",
    "Command(GOOD, executable='a\\0')": "ValueError: executable: embedded null byte",
    "Command(GOOD, setup=ChildSetup(process_group=0))": "ValueError: process_group can't be said for a job's program",
    "Job([GOOD, GOOD], setup=5)": "TypeError: setup: setup must be a ChildSetup, not int",
    "Job([GOOD, GOOD], env={'A=': 'b'})": "ValueError: command 1 of 2, 'true': env: b'A=' is no name",
    "Job([GOOD, GOOD], stdout=-1)": "ValueError: stdout: PIPE has no place in a plan",
    "Job([GOOD, GOOD], stdin=-2)": "ValueError: stdin: STDOUT is for stderr only",
    "Job([GOOD, GOOD], stderr='file')": "TypeError: stderr must be a file descriptor or have fileno(), not str; open",
    "Job([GOOD, GOOD], stdout=777)": "command 2 of 2, 'true': stdout: file descriptor 777 is not open",
    "Job([Command(GOOD, setup=ChildSetup(stdin=777)), GOOD])": "command 1 of 2, 'true': stdin: file descriptor 777 is",
    "Job([GOOD, GOOD], tty='file')": "tty must be a file descriptor or have fileno(), not str; open the file first",
    "Job([GOOD, GOOD], tty=0)": "file descriptor 0 is not a terminal",
    "Job([GOOD, GOOD], tty=777)": "file descriptor 777 is not open",
    "Job([GOOD], setup=ChildSetup(stdin=0))": "ValueError: setup: stdin can't be said there: say Job(..., stdin=...)",
    "Job([GOOD], setup=ChildSetup(ctty=0))": "ValueError: setup: ctty can't be said for a job's program",
    "Job([GOOD], setup=ChildSetup(foreground_tty=0))": "ValueError: setup: foreground_tty can't be said",
    "Job([GOOD], setup=ChildSetup(release_ctty=True))": "ValueError: setup: release_ctty can't be said",
    "Job([GOOD, Command(GOOD, setup=ChildSetup(pass_fds={0: 0}))])": "ValueError: command 2 of 2, 'true': pass_fds",
    "Job([GOOD, Command(GOOD, setup=ChildSetup(user='nobody at all'))])": "command 2 of 2, 'true': user: there",
}


def test_what_can_not_be_carried_out_is_refused_before_anything_is_started() -> None:
    jobs(f"""
GOOD = ["true"]
started = []
hooks.append(started.append)
with nothing_left():
    for source, expected in {BAD!r}.items():
        try:
            eval(source)
        except Exception as error:
            told = f"{{type(error).__name__}}: {{error}}"
            assert expected in told, (source, told)
        else:
            raise AssertionError(source)
assert started == []
""")


def test_one_that_can_not_be_started_is_named_and_nothing_of_the_others_is_left(way: str) -> None:
    jobs(
        """
def ready(argv):
    if argv != PARENT:
        there.line(2)

hooks.append(ready)
for command, kind, call, filename in [(["nosuch"], FileNotFoundError, "execve", "nosuch"),
                                      (["/"], PermissionError, "execve", "/"),
                                      (Command(["true"], setup=ChildSetup(cwd="/nosuch")), FileNotFoundError, "chdir",
                                       "/nosuch")]:
    with nothing_left():
        there = Pipe()
        argv = command.argv if isinstance(command, Command) else command
        with raises(kind, f"command 3 of 4, {argv[0]!r}", call=call, filename=filename):
            Job([PARENT, PARENT, command, PARENT], stderr=there.writer)
        assert there.text() == ""  # their children have ended too
hooks.clear()
with nothing_left(), raises(FileNotFoundError, "command 1 of 2, 'nosuch'"):
    Job([["nosuch"], ["true"]])
with nothing_left():
    try:
        Job([["nosuch"]])
    except FileNotFoundError as error:
        assert "command" not in str(error), error
""",
        way=way,
    )


def test_started_ones_that_have_left_the_group_are_ended_too() -> None:
    jobs("""
leave = [sys.executable, "-c", "import os, time; os.setsid(); os.write(2, b'there\\\\n'); time.sleep(60)"]
hooks.append(lambda argv: argv == ["nosuch"] and there.line())
with nothing_left():
    there = Pipe()
    with raises(FileNotFoundError):
        Job([SLEEP, leave, ["nosuch"]], stderr=there.writer)
    assert there.text() == ""
""")


def test_out_of_files_nothing_is_left() -> None:
    jobs("""
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
with suppress(OSError):
    Job([["nosuch"]])  # what telling of an error needs is imported
seen = set()
for limit in range(3, 40):
    with nothing_left():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        try:
            Job([SLEEP] * 4).end(0)
        except OSError as error:
            assert error.errno == errno.EMFILE, error
            seen.add(error.call)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
assert "pipe2" in seen, seen
""")


def test_interrupted_at_any_point_the_constructor_leaves_nothing() -> None:
    jobs(
        AT_ANY_POINT
        + """
there = Pipe()
made, lost = [], []
sys.unraisablehook = lost.append

def make():
    made.append(Job([PARENT, SLEEP], stderr=there.writer))

with nothing_left():
    number = 1
    while at(number, make, setsid.jobs):
        assert made == [] == children(), number
        number += 1
    assert number > 100, number
    assert lost == []
    job = made.pop()
    job.end(0)
    job.close()
    del job
there.text()
"""
    )


def test_interrupted_at_any_point_of_a_failure_it_leaves_nothing() -> None:
    jobs(
        AT_ANY_POINT
        + """
from setsid._ending import drive, end_job_at_once, ending_job
there = Pipe()

def fail():
    with suppress(FileNotFoundError):
        Job([PARENT, SLEEP, ["nosuch"]], stderr=there.writer)

with nothing_left():
    number = 1
    while at(number, fail, setsid.jobs, end_job_at_once, drive, ending_job):
        collect()
        for pid in children():
            assert status(pid)["State"][0] == "Z", number
        setsid.spawn(["true"]).wait()  # reaps those of which the exception came in between
        assert children() == [], number
        number += 1
    assert number > 200, number
there.text()
"""
    )


def test_a_dropped_one_gives_a_warning_for_each_program_as_a_process_does() -> None:
    jobs("""
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    job = Job([SLEEP, SLEEP, ["true"]])
    pids = [process.pid for process in job.processes]
    ended(pids[2])
    del job
    gc.collect()
assert {(warning.category, str(warning.message)) for warning in caught} == {
    (ResourceWarning, f"process {pid} was never waited for: {name!r}")
    for pid, name in zip(pids, ["sleep", "sleep", "true"])
}
for pid in pids[:2]:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
""")


# -- how it does


def test_its_state_is_that_of_those_that_have_not_ended(way: str) -> None:
    jobs(
        """
with nothing_left(), Job([SLEEP, SLEEP, ["true"]]) as job:
    ended(job.processes[2].pid)
    assert (job.state, job.returncodes, job.returncode) == (RUNNING, [None, None, 0], None)
    job.processes[0].send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, job.processes[0].pid, os.WSTOPPED | os.WNOWAIT)
    assert job.state is RUNNING
    job.stop()
    stopped(job)
    for _ in range(2):
        assert (job.state, job.returncode) == (STOPPED, None)
    job.resume()
    assert job.state is RUNNING
    job.stop()
    stopped(job)
    job.background()
    assert job.state is RUNNING
    job.stop()
    stopped(job)
    job.processes[0].kill()
    ended(job.processes[0].pid)
    assert (job.state, job.returncodes) == (STOPPED, [-9, None, 0])
    job.processes[1].kill()
    ended(job.processes[1].pid)
    assert (job.state, job.returncodes, job.returncode) == (DONE, [-9, -9, 0], -9)
    assert children() == []
""",
        way=way,
    )


def test_it_is_stopped_also_when_somebody_else_has_taken_that_news(way: str) -> None:
    jobs(
        """
with Job([SLEEP, SLEEP]) as job:
    job.stop()
    assert job.processes[0].wait_change() is STOPPED
    os.waitpid(job.processes[1].pid, os.WUNTRACED)
    assert job.state is STOPPED
    job.resume()
    assert job.state is RUNNING
    job.send_signal(signal.SIGKILL)
""",
        way=way,
    )


def test_the_returncode_is_the_last_one_that_is_not_0() -> None:
    jobs("""
def exiting(code):
    return ["sh", "-c", f"exit {code}" if code >= 0 else f"kill -{-code} $$"]

for codes, expected in [([0], 0), ([3], 3), ([0, 0], 0), ([1, 2, 0], 2), ([5, 0, 0], 5), ([0, -9, 0], -9),
                        ([-15, 4], 4)]:
    with Job(map(exiting, codes)) as job:
        assert job.wait() == expected
        assert (job.returncode, job.returncodes) == (expected, codes)
""")


def test_waiting_has_a_limit_and_a_stopped_job_does_not_end() -> None:
    jobs("""
with nothing_left(), Job([["true"], SLEEP]) as job:
    ended(job.pgid)
    for timeout in 0, 0.01, -1:
        with raises(TimeoutError, f"job {job.pgid} did not end within {timeout} seconds"):
            job.wait(timeout)
    job.stop()
    stopped(job)
    with raises(TimeoutError):
        job.wait(0.01)
    assert (job.returncode, job.returncodes) == (None, [0, None])
    with raises(ValueError, "timeout is not a number"):
        job.wait(float("nan"))
    with raises(TypeError, "timeout must be a number of seconds, not str"):
        job.wait("5")
    job.processes[1].kill()
    assert job.wait(60) == job.wait() == job.wait(0) == -9
""")


def test_the_error_of_a_signal_handler_is_raised_as_it_is_and_the_job_goes_on() -> None:
    jobs(
        ASLEEP
        + """
def interrupt(number, frame):
    raise failure

signal.signal(signal.SIGUSR1, interrupt)

def send(tid):
    until_asleep(tid)
    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

with Job([SLEEP, SLEEP]) as job:
    for failure in TimeoutError("mine"), ChildProcessError("mine"):
        for timeout in None, 60:
            sender = threading.Thread(target=send, args=[threading.get_native_id()])
            sender.start()
            try:
                job.wait(timeout)
            except OSError as error:
                assert error is failure
            else:
                raise AssertionError("no error")
            sender.join()
            assert job.state is RUNNING
    job.send_signal(signal.SIGKILL)
"""
    )


@pytest.mark.parametrize("how", ["ignored", "waited"])
def test_of_one_that_somebody_else_has_reaped_the_status_is_not_invented(how: str) -> None:
    jobs(
        """
if sys.argv[1] == "ignored":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with nothing_left():
    job = Job([SLEEP, SLEEP, SLEEP])
    first = job.processes[0].pid
    assert job.state is RUNNING
    os.kill(first, signal.SIGKILL)
    if sys.argv[1] == "ignored":
        while os.path.exists(f"/proc/{first}"):
            pass
    else:
        os.waitpid(first, 0)
    assert job.state is RUNNING
    job.send_signal(signal.SIGKILL)
    with raises(ChildProcessError, f"process {first} was reaped elsewhere"):
        job.wait()
    assert job.state is DONE
    with raises(ChildProcessError, f"process {first} was reaped elsewhere"):
        job.returncodes
    if sys.argv[1] == "waited":
        job.processes[0].reaped(9)
        assert (job.returncodes, job.wait()) == ([-9] * 3, -9)
    job.close()
""",
        how,
        hide_pidfd=True,
    )


def test_where_the_kernel_tells_the_status_is_known_all_the_same() -> None:
    jobs(
        TELLS
        + """
if kernel_tells():
    with Job([["sh", "-c", "exit 3"], ["true"]]) as job:
        os.waitpid(job.processes[0].pid, 0)
        assert job.wait() == 3
"""
    )


# -- signals


def test_a_signal_reaches_the_whole_group_and_nobody_else(way: str) -> None:
    jobs(
        """
with nothing_left():
    there = Pipe()
    bystander = setsid.spawn(SLEEP, process_group=0)
    with Job([PARENT, PARENT], stderr=there.writer) as job:
        there.line(2)
        job.send_signal(0)
        job.send_signal(signal.SIGTERM)
        assert there.text() == ""
        assert job.wait() == -15
        for send in job.resume, job.stop, job.background, lambda: job.send_signal(9):
            assert send() is None  # nobody is there
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    bystander.close()
with raises(TypeError):
    job.send_signal("SIGTERM")
with Job([SLEEP]) as job:
    with raises(OSError, errno=errno.EINVAL, call="kill"):
        job.send_signal(999)
    job.send_signal(9)
""",
        way=way,
    )


def test_the_zombie_of_one_that_was_looked_at_still_leads_to_its_group() -> None:
    jobs("""
there = Pipe()
job = Job([["sh", "-c", "sleep 60 & exit 3"]], stderr=there.writer)
assert job.processes[0].wait(reap=False) == 3
job.send_signal(signal.SIGKILL)
assert there.text() == ""
assert (job.wait(), job.state) == (3, DONE)
""")


def test_the_callers_own_group_is_spared() -> None:
    jobs("""
job = Job([SLEEP])
pid = os.fork()
if pid == 0:
    os._exit(0)
os.waitpid(pid, 0)
helper = setsid.fork(process_group=setsid.INHERIT)  # the helper itself leads its session, and can't join
if helper is None:
    os._exit(0)
helper.wait()
job.end(0)
reader, writer = os.pipe()
if setsid.fork(process_group=0) is None:
    job = Job([SLEEP])
    os.setpgid(0, job.pgid)
    try:
        job.send_signal(signal.SIGKILL)
    except ValueError as error:
        os.write(writer, str(error).encode())
    job.processes[0].kill()
    os._exit(0)
os.close(writer)
assert b"own process group" in os.read(reader, 1000)
warnings.simplefilter("ignore")
""")


LEAVER = """
def leaver(how):
    return [sys.executable, "-c", f"import os, time; {how}; os.write(2, b'there\\\\n'); time.sleep(60)"]
"""


@pytest.mark.parametrize("how", ["os.setsid()", "os.setpgid(0, 0)"])
def test_one_that_has_left_the_group_is_waited_for_and_ended_but_not_signalled(how: str) -> None:
    jobs(
        LEAVER
        + """
with nothing_left():
    there = Pipe()
    with Job([SLEEP, leaver(sys.argv[1])], stderr=there.writer) as job:
        there.line()
        job.send_signal(signal.SIGTERM)
        assert job.processes[0].wait() == -15
        assert job.state is RUNNING
        job.send_signal(signal.SIGTERM)  # there is nobody
        assert job.processes[1].poll() is None
        report = job.end()
        assert (report.survived, report.escaped) == ((), ()), report
        assert report.ended == (job.processes[1].pid,)
        assert (job.returncodes, job.state) == ([-15, -15], DONE)
        there.text()
""",
        how,
    )


# -- ending it


def test_end_ends_the_group_and_reaps_the_programs(way: str) -> None:
    jobs(
        """
stubborn = ["sh", "-c", "trap '' TERM; sleep 60 & echo there >&2; wait; sleep 60"]
for command, grace, expected in [(PARENT, 60, -15), (stubborn, 0.01, -9)]:
    with nothing_left():
        there = Pipe()
        job = Job([command, command, ["true"]], stderr=there.writer)
        there.line(2)
        ended(job.processes[2].pid)
        job.stop()
        report = job.end(grace)
        assert {process.pid for process in job.processes[:2]} <= set(report.ended)
        assert (len(report.ended), report.survived, report.escaped) in [(4, (), ()), (5, (), ())], report
        assert job.returncodes == [expected, expected, 0], job.returncodes
        assert there.text() == ""
        assert job.end(grace).ended == ()
        with raises(ValueError, "there is no signal 999"):
            job.end(signal=999)
        job.close()
""",
        way=way,
    )


def test_who_has_left_the_group_has_the_same_grace_as_the_others() -> None:
    jobs(
        LEAVER
        + """
stubborn = ["sh", "-c", "trap '' TERM; echo there >&2; sleep 60; sleep 60"]
polite = leaver("import signal; signal.signal(15, lambda *_: (time.sleep(0.2), os._exit(3))); os.setsid()")
with nothing_left():
    there = Pipe()
    with Job([stubborn, polite], stderr=there.writer) as job:
        there.line(2)
        pid = job.processes[1].pid
        report = job.end(1.5)
        assert job.returncodes == [-9, 3]
        assert pid in report.ended and (report.survived, report.escaped) == ((), ()), report
        there.text()
"""
    )


def test_an_end_that_is_interrupted_ends_all_at_once() -> None:
    jobs(
        ASLEEP
        + LEAVER
        + """
def interrupt(number, frame):
    raise InterruptedError("mine")

signal.signal(signal.SIGUSR1, interrupt)
stubborn = ["sh", "-c", "trap '' TERM; echo there >&2; sleep 60 & wait; sleep 60"]
left = leaver("import signal; signal.signal(15, signal.SIG_IGN); os.setsid()")
with nothing_left():
    there = Pipe()
    with Job([stubborn, left], stderr=there.writer) as job:
        there.line(2)

        def send(tid):
            until_asleep(tid)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)

        sender = threading.Thread(target=send, args=[threading.get_native_id()])
        sender.start()
        with raises(InterruptedError, "mine"):
            job.end(600)
        sender.join()
        assert job.returncodes == [-9, -9]
        assert there.text() == ""
"""
    )


def test_after_an_end_that_is_interrupted_at_any_point_all_are_reaped_by_a_wait() -> None:
    jobs(
        AT_ANY_POINT
        + """
from setsid._ending import drive, ending_job
with nothing_left():
    number = 1
    while True:
        with Job([SLEEP, SLEEP]) as job:
            interrupted = at(number, lambda: job.end(0, signal=9), drive, ending_job)
            job.send_signal(signal.SIGKILL)  # it may not have begun
            assert job.wait(30) == -9, number
            collect()
            assert [process._child.stays for process in job.processes] == [0, 0], number
        assert children() == []
        if not interrupted:
            break
        number += 1
assert number > 10, number
"""
    )


def test_of_a_caller_in_the_jobs_group_it_ends_the_programs_alone() -> None:
    jobs("""
there, told = Pipe(), Pipe()
caller = setsid.fork(process_group=0)
if caller is None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    job = Job([PARENT, SLEEP, THERE], stderr=there.writer)
    there.line(2)
    os.setpgid(0, job.pgid)
    report = job.end()
    assert report.ended == tuple(sorted(process.pid for process in job.processes)), report
    assert report.survived == (), report
    assert (job.returncodes, job.end().ended) == ([-15] * 3, ())
    os.write(told.writer, b"done\\n")
    os.killpg(0, signal.SIGKILL)
assert told.line() == "done\\n"
assert caller.wait() == -9
caller.close()
assert there.text() == ""
""")


def test_a_forked_copy_does_nothing_to_it() -> None:
    jobs("""
def end():
    report = job.end()
    assert (report.ended, report.survived, report.escaped) == ((), (), ()), report

def leave():
    with raises(ChildProcessError), job:
        pass

def leave_by_an_exception():
    with raises(KeyError), job:
        raise KeyError

with Job([SLEEP, SLEEP]) as job:
    for use in end, leave, leave_by_an_exception:
        pid = os.fork()
        if pid == 0:
            use()
            os._exit(7)
        assert os.waitpid(pid, 0)[1] == 7 << 8
        assert (job.state, job.returncodes) == (RUNNING, [None, None]), use
    job.send_signal(9)
""")


def test_a_file_that_has_got_the_number_of_the_leaders_pidfd_proves_nothing() -> None:
    jobs("""
from setsid._native import lib
leads = setsid.spawn(SLEEP, process_group=0)
if not lib.sid_group_lives(leads.fileno()):
    sys.exit(0)  # the kernel does not tell (before Linux 6.9)
job = Job([["true"]])
pidfd = job.processes[0].fileno()
assert job.wait() == 0
os.dup2(leads.fileno(), pidfd)  # as when somebody has closed all files
assert not job._is_taken()
os.close(pidfd)
leads.end(0)
""")


def test_as_a_context_manager_it_waits_or_ends() -> None:
    jobs("""
with nothing_left():
    with Job([["true"], ["sh", "-c", "exit 3"]]) as job:
        pass
    assert job.returncodes == [0, 3]
    there = Pipe()
    with raises(KeyError):
        with Job([PARENT, PARENT], stderr=there.writer) as job:
            there.line(2)
            raise KeyError
    assert job.returncodes == [-15, -15]
    assert there.text() == ""
    job.close()
    assert (job.state, job.returncode) == (DONE, -15)
    job = Job([SLEEP])
    pid = job.pgid
    job.close()
    for use in job.__enter__, job.end, job.wait, lambda: job.state, lambda: job.send_signal(9), lambda: job.returncode:
        with raises(ValueError, "the job is closed"):
            use()
    os.kill(pid, 9)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    setsid.spawn(["true"]).wait()
""")


def test_a_forked_copy_says_whose_children_they_are() -> None:
    jobs("""
import copy, pickle
with Job([SLEEP]) as job:
    pid = os.fork()
    if pid == 0:
        reason = f"process {job.pgid} is a child of process {os.getppid()}, not of this one"
        for use, kind in [(lambda: job.state, ChildProcessError), (job.resume, ProcessLookupError),
                          (job.wait, ChildProcessError), (lambda: job.returncodes, ChildProcessError)]:
            with raises(kind, reason):
                use()
        os._exit(7)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    assert job.state is RUNNING
    job.send_signal(9)
    with raises(TypeError, "a Job can't be pickled"):
        pickle.dumps(job)
""")
