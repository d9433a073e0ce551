"""spawn_detached and DetachedProcess, on every way to make a child."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from scenarios import ASLEEP
from support import ON_PYPY, fresh

# What the helpers share. The helper is the subreaper where it says so: then whatever is left is its child.
PRELUDE = """
import ctypes, select, threading
from contextlib import contextmanager

def become_subreaper():
    assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0

class Cat:
    "A program that runs until `stop`."
    def __init__(self, **changes):
        self.reader, self.writer = os.pipe()
        changes = {"stdout": setsid.DEVNULL, **changes}
        self.process = setsid.spawn_detached(["cat"], stdin=self.reader, **changes)
        os.close(self.reader)
        await_program(self.process.pid)
    def stop(self):
        os.close(self.writer)
        self.process.wait(60)
        self.process.close()

@contextmanager
def raises(kind, **attributes):
    try:
        yield
    except kind as error:
        found = {name: getattr(error, name) for name in attributes}
        assert found == attributes, (found, attributes)
    else:
        raise AssertionError(f"no {kind}")

def output(argv, **changes):
    reader, writer = os.pipe()
    with setsid.spawn_detached(argv, stdout=writer, **changes) as process:
        os.close(writer)
        with open(reader) as file:
            text = file.read()
        process.wait(60)
    return text

def program_of(pid):
    "By its name: the file that runs is the emulator where there is one."
    with open(f"/proc/{pid}/comm") as file:
        return file.read().rstrip()

def await_program(pid):
    "execve wakes the caller a moment before /proc shows the program, and closes files later still. It reads then."
    def reads():
        return program_of(pid) == "cat" and status(pid)["State"][0] in "ST"  # or is stopped
    deadline = time.monotonic() + 30
    while not reads() and time.monotonic() < deadline:
        pass
    assert reads()

def members(sid):
    "How many processes are in a session."
    return sum(sid_of(name) == sid for name in os.listdir("/proc") if name.isdigit())

def sid_of(name):
    try:
        return os.getsid(int(name))
    except ProcessLookupError:
        return 0

def watch(act):
    "A thread that calls `act` again and again until it returns true."
    def run():
        while not act():
            time.sleep(0.001)
    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread
"""


def detached(source: str, *args: object, **options: object) -> str:
    return fresh(PRELUDE + source, *args, **options).stdout  # type: ignore[arg-type]


def strace(need: Callable[..., str], *injections: str) -> tuple[str, ...]:
    """A wrapper for `fresh`, children and all."""
    options = [option for injection in injections for option in ("-e", f"inject={injection}")]
    calls = ",".join(injection.partition(":")[0] for injection in injections)
    return (need("strace"), "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}", *options)


def needs_root() -> None:
    if os.geteuid() != 0:
        pytest.skip("this needs root")


@pytest.fixture(params=[False, True], ids=["", "no pidfds"])
def hide_pidfd(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


# -- who it is


def test_it_is_in_a_session_that_it_does_not_lead_and_nobodys_child(way: str, hide_pidfd: bool) -> None:
    detached(
        """
with nothing_left():
    cat = Cat()
    process = cat.process
    facts = session_of(process.pid)
    assert program_of(process.pid) == "cat"
    assert facts["sid"] == facts["pgid"] != process.pid
    assert facts["sid"] not in (os.getsid(0), os.getpgrp())
    assert facts["ppid"] not in (os.getpid(), facts["sid"])
    assert (facts["tty"], facts["tpgid"]) == (0, -1)
    assert not os.path.exists(f"/proc/{facts['sid']}")
    assert (children(), process.args, process.is_alive()) == ([], ["cat"], True)
    cat.stop()
""",
        way=way,
        hide_pidfd=hide_pidfd,
    )


def test_its_parent_is_the_nearest_subreaper(way: str) -> None:
    detached(
        """
become_subreaper()
pid = os.fork()
if pid == 0:
    cat = Cat()
    assert session_of(cat.process.pid)["ppid"] == os.getppid()
    cat.stop()
    os._exit(0)
assert os.waitpid(pid, 0) == (pid, 0)
pid, status = os.wait()
assert status == 0
assert children() == []
""",
        way=way,
    )


def test_a_caller_that_is_the_subreaper_has_it_as_a_child(way: str) -> None:
    detached(
        """
become_subreaper()
cat = Cat()
pid = cat.process.pid
assert children() == [pid]
cat.stop()
assert os.waitpid(-1, 0) == (pid, 0)
""",
        way=way,
    )


def test_the_plan_is_carried_out(way: str) -> None:
    detached(
        """
with nothing_left():
    text = output(["sh", "-c", "umask; pwd; ulimit -n; echo $A"], cwd="/usr", umask=0o27, env={"A": "b"},
                  executable="/bin/sh", rlimits={7: (50, 60)})
    assert text.split() == ["0027", "/usr", "50", "b"], text
    plan = setsid.ChildSetup(umask=0o7)
    for _ in range(2):
        with setsid.spawn_detached(["true"], plan) as process:
            process.wait(60)
        with setsid.spawn(["true"], plan) as process:
            assert process.wait() == 0
""",
        way=way,
    )


def test_it_has_no_files_but_those_that_were_given_and_the_default_signals(way: str) -> None:
    detached(
        """
other = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(other, True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
with nothing_left():
    reads, writes = os.pipe()
    cat = Cat(stdout=writes)
    pid = cat.process.pid
    os.write(cat.writer, b"x")
    assert os.read(reads, 1) == b"x"  # it has started: no library is open any more
    assert sorted(map(int, os.listdir(f"/proc/{pid}/fd"))) == [0, 1, 2]
    assert signal_set("SigBlk", pid) == signal_set("SigCgt", pid) == signal_set("SigIgn", pid) == set()
    assert signal_set("SigPnd", pid) == set()
    cat.stop()
    os.close(reads), os.close(writes)
""",
        way=way,
    )


def test_with_the_three_standard_streams_closed(way: str) -> None:
    detached(
        """
kept = os.dup(2)
for fd in 0, 1, 2:
    os.close(fd)
try:
    with nothing_left():
        with setsid.spawn_detached(["sh", "-c", "test ! -e /proc/self/fd/1"]) as process:
            assert process.fileno() >= 0
            process.wait(60)
        with raises(FileNotFoundError, call="execve"):
            setsid.spawn_detached(["/nonexistent"])
        assert output(["echo", "x"]) == "x\\n"
finally:
    os.dup2(kept, 2)
""",
        way=way,
    )


def test_a_new_user_and_a_new_root(way: str) -> None:
    needs_root()
    detached(
        """
with nothing_left():
    assert output(["id", "-u"], user=65534, group=65534) == "65534\\n"
    cat = Cat(user=65534, group=65534)
    facts = session_of(cat.process.pid)
    assert facts["sid"] != cat.process.pid
    assert program_of(cat.process.pid) == "cat"
    cat.stop()
    with raises(FileNotFoundError, call="chroot", stage=setsid.Stage.CHROOT):
        setsid.spawn_detached(["true"], chroot="/nonexistent")
    with raises(FileNotFoundError, call="execve", stage=setsid.Stage.EXEC):
        setsid.spawn_detached(["/nonexistent"], user=65534)
    # It shares no memory with a child of other ids.
    assert ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1  # PR_GET_DUMPABLE
""",
        way=way,
    )


# -- what goes wrong


ERRORS = """
if sys.argv[1] == "subreaper":
    become_subreaper()
import tempfile
with tempfile.TemporaryDirectory() as directory:
    text = os.path.join(directory, "text")
    with open(text, "w") as file:
        file.write("true\\n")
    with nothing_left():
        with raises(PermissionError, call="execve", stage=setsid.Stage.EXEC, filename=text):
            setsid.spawn_detached([text])
        os.chmod(text, 0o755)
        with raises(OSError, call="execve", errno=errno.ENOEXEC, stage=setsid.Stage.EXEC):
            setsid.spawn_detached([text])
        for _ in range(20):
            with raises(FileNotFoundError, call="execve", stage=setsid.Stage.EXEC, filename="no-such-program"):
                setsid.spawn_detached(["no-such-program"])
        with raises(FileNotFoundError, call="chdir", stage=setsid.Stage.CWD, filename="/nonexistent"):
            setsid.spawn_detached(["true"], cwd="/nonexistent")
        with raises(OSError, call="dup2", stage=setsid.Stage.FDS):
            setsid.spawn_detached(["true"], pass_fds={1 << 29: 0})
        with raises(OSError, call="sched_setaffinity", stage=setsid.Stage.CPU_AFFINITY):
            setsid.spawn_detached(["true"], cpu_affinity=[4000])
        with raises(ValueError):
            setsid.spawn_detached(["true", "a\\0b"])
        with raises(ValueError):
            setsid.spawn_detached([])
"""


@pytest.mark.parametrize("caller", ["plain", "subreaper"])
def test_errors_arrive_and_nothing_is_left(caller: str, way: str, hide_pidfd: bool) -> None:
    detached(ERRORS, caller, way=way, hide_pidfd=hide_pidfd)


def test_an_unprivileged_caller_is_told_of_the_step_that_it_may_not_take(way: str) -> None:
    needs_root()
    detached(
        """
with raises(FileNotFoundError, stage=setsid.Stage.EXEC):
    setsid.spawn_detached(["/nonexistent"])  # loads what is loaded on first use
import gc
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
with nothing_left():
    with raises(PermissionError, call="chroot", stage=setsid.Stage.CHROOT):
        setsid.spawn_detached(["true"], chroot="/")
    with raises(PermissionError, stage=setsid.Stage.EXTRA_GROUPS):
        setsid.spawn_detached(["true"], user=0)
    with raises(PermissionError, stage=setsid.Stage.GROUP):
        setsid.spawn_detached(["true"], group=0)
""",
        way=way,
    )


@pytest.mark.parametrize(
    "field",
    [
        *("process_group=0", "process_group=setsid.NEW_SESSION", "process_group=setsid.INHERIT", "ctty=terminal"),
        *("ctty=terminal, steal_ctty=True", "foreground_tty=terminal", "parent_death_signal=9"),
        "process_group=0, release_ctty=True",
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_happens(field: str) -> None:
    detached(f"""
manager, terminal = os.openpty()
seen = []
sys.addaudithook(lambda event, _: seen.append(event) if event.startswith("setsid.") else None)
with nothing_left():
    name = {field!r}.split("=")[0].split()[-1]
    try:
        setsid.spawn_detached(["true"], {field})
        raise AssertionError("not refused")
    except ValueError as error:
        assert "is nothing for a detached program" in str(error), error
    try:
        setsid.spawn_detached(["true"], setsid.ChildSetup({field}))
        raise AssertionError("not refused")
    except ValueError:
        pass
    assert seen == []
    with setsid.spawn_detached(["true"], steal_ctty=False, release_ctty=False) as process:
        process.wait(60)
""")


def test_it_raises_spawns_auditing_event() -> None:
    detached("""
seen = []
sys.addaudithook(lambda event, args: seen.append(args) if event == "setsid.spawn" else None)
with setsid.spawn_detached(["x", "y"], executable="/bin/true", cwd="/", env={"A": "b"}) as process:
    process.wait(60)
assert seen == [("/bin/true", ["x", "y"], "/", {"A": "b"})]
""")


def test_without_a_file_left_it_fails_and_nothing_is_left(way: str) -> None:
    detached(
        """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
with raises(FileNotFoundError):
    setsid.spawn_detached(["/nonexistent"])  # loads what is loaded on first use
with nothing_left():
    for leave in range(8):
        taken = take_files(leave)
        try:
            process = setsid.spawn_detached(["true"])
        except setsid.SystemCallError as error:
            assert error.errno == errno.EMFILE, repr(error)
            process = None
        for fd in taken:
            os.close(fd)
        if process:
            process.wait(60)
            process.close()
    assert process
""",
        way=way,
    )


@pytest.mark.parametrize("thread", ["main", "another"])
def test_a_caller_whose_next_child_is_anothers_init_is_refused(thread: str, way: str) -> None:
    needs_root()
    output = detached(
        """
def act():
    if ctypes.CDLL(None).unshare(0x20000000) < 0:  # CLONE_NEWPID
        print("SKIP")
        return
    if True:
        with nothing_left():
            with raises(OSError, errno=errno.EINVAL):
                setsid.spawn_detached(["true"])
        with setsid.spawn(["true"]) as process:  # the new namespace has not been lost
            assert process.wait() == 0
    done.append(1)

done = []
with setsid.spawn_detached(["true"]) as process:
    process.wait(60)
if sys.argv[1] == "main":
    act()
else:
    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    with setsid.spawn_detached(["true"]) as process:  # that was the other thread's
        process.wait(60)
""",
        thread,
        way=way,
        check=True,
    )
    if "SKIP" in output:
        pytest.skip("no pid namespace here")


# -- nothing to reap


def test_no_sigchld_and_no_child_for_another_threads_wait(way: str, hide_pidfd: bool) -> None:
    detached(
        """
seen = []
signal.signal(signal.SIGCHLD, lambda *_: seen.append("SIGCHLD"))
go, stop = threading.Event(), threading.Event()
def reap():
    while not stop.is_set():
        try:
            seen.append(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError:
            pass
        go.set()
thread = threading.Thread(target=reap)
thread.start()
go.wait()
with nothing_left():
    for _ in range(50):
        with setsid.spawn_detached(["true"]) as process:
            process.wait(60)
        with raises(FileNotFoundError):
            setsid.spawn_detached(["/nonexistent"])
stop.set()
thread.join()
assert seen == []
""",
        way=way,
        hide_pidfd=hide_pidfd,
    )


def test_ignored_sigchld_stays_ignored(way: str, hide_pidfd: bool) -> None:
    detached(
        """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with nothing_left():
    cat = Cat()
    assert cat.process.is_alive()
    assert signal_set("SigIgn", cat.process.pid) == {signal.SIGCHLD}
    cat.stop()
    for _ in range(20):
        with setsid.spawn_detached(["true"]) as process:
            process.wait(60)
        with raises(FileNotFoundError, call="execve"):
            setsid.spawn_detached(["/nonexistent"])
assert signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN
""",
        way=way,
        hide_pidfd=hide_pidfd,
    )


def test_thousands_leave_no_zombie_and_no_file(way: str) -> None:
    detached(
        """
count = 5000 if sys.argv[1] == "clone3" else 500
setsid.spawn_detached(["true"]).wait(60)
with nothing_left():
    for _ in range(count):
        setsid.spawn_detached(["true"])  # dropped
""",
        way,
        way=way,
    )


def test_eight_threads_at_once(way: str) -> None:
    detached(
        """
failed = []
def work():
    try:
        for _ in range(25):
            with setsid.spawn_detached(["true"]) as process:
                assert not os.get_inheritable(process.fileno())
                process.wait(60)
            with raises(FileNotFoundError, stage=setsid.Stage.EXEC):
                setsid.spawn_detached(["/nonexistent"])
    except BaseException as error:
        failed.append(error)
with nothing_left():
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert failed == []
""",
        way=way,
    )


def test_a_fork_of_another_thread_that_holds_all_files_holds_nobody_up(way: str) -> None:
    """Its copy of the report's pipe, if it has one, stays open for as long as it lives."""
    detached(
        """
libc = ctypes.CDLL(None)
copies = []
stop = threading.Event()
def fork():
    while not stop.is_set() and len(copies) < 300:
        pid = libc.syscall(57 if os.uname().machine == "x86_64" else 220, 17, 0, 0, 0, 0)  # no hook closes anything
        if pid == 0:
            libc.pause()
            libc._exit(0)
        copies.append(pid)
thread = threading.Thread(target=fork)
thread.start()
for _ in range(30):
    with setsid.spawn_detached(["true"]) as process:
        process.wait(60)
stop.set()
thread.join()
for pid in copies:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
""",
        way=way,
    )


# -- somebody interferes


def test_a_middle_child_that_is_killed_before_it_has_made_the_process_is_told(
    way: str, need: Callable[..., str]
) -> None:
    detached(
        """
with nothing_left():
    with raises(ChildProcessError, stage=None, hint="a signal has ended the child that starts the program"):
        setsid.spawn_detached(["true"])
""",
        way=way,
        wrapper=strace(need, "setsid:signal=KILL"),
    )


def test_a_middle_child_that_is_killed_later_leaves_the_process_and_the_callers_stack_alone(
    way: str, need: Callable[..., str]
) -> None:
    """The process is held up before its exec, and the call must not return before that: it is on a stack of ours."""
    if ON_PYPY and way == "fork":
        pytest.skip("below strace, a thread of PyPy's stands still for seconds meanwhile: it comes too late to kill")
    detached(
        f"is_forked = {way == 'fork'}"
        """
import platform
killed = []
def has_told(middle):  # a forked one does by itself, and then exits
    if not is_forked:
        return members(middle) > 1
    with open(f"/proc/{middle}/syscall") as file:
        return file.read().split()[0] == {"x86_64": "231", "aarch64": "94"}[platform.machine()]
def kill():
    for middle in children():
        try:
            if os.getsid(middle) == middle and has_told(middle):
                os.kill(middle, signal.SIGKILL)
                killed.append(middle)
                return True
        except ProcessLookupError:
            pass
reader, writer = os.pipe()
with nothing_left():
    thread = watch(kill)
    process = setsid.spawn_detached(["cat"], stdin=reader, stdout=setsid.DEVNULL)
    await_program(process.pid)
    thread.join()
    assert os.getsid(process.pid) == killed[0]
    assert process.is_alive() and process.fileno() >= 0
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    process.close()
""",
        way=way,
        wrapper=strace(need, "execve:delay_enter=1000000", "exit_group:delay_enter=1000000"),
    )


@pytest.mark.parametrize("reaper", ["init", "the caller", "nobody"])
@pytest.mark.parametrize(
    ("forced", "user"), [("clone3", None), ("clone3", 65534), ("clone", None), ("page", None), ("fork", None)]
)
def test_a_session_that_is_killed_before_anyone_could_tell_of_it(
    forced: str, user: int | None, reaper: str, need: Callable[..., str]
) -> None:
    """Neither the middle child nor the process has run since that was made. Only the kernel tells the caller of it;
    clone can't in shared memory, and a file of the caller's may stay open.
    """
    if user is not None:
        needs_root()
    detached(
        """
from contextlib import suppress
way, user, reaper = map(eval, sys.argv[1:])
if reaper != "init":
    become_subreaper()
if reaper == "nobody" and (caller := os.fork()):
    os._exit(os.waitpid(caller, 0)[1] >> 8)
killed = []
def kill():
    for middle in children():
        if middle == sid_of(middle) and members(middle) > 1:
            os.killpg(middle, signal.SIGKILL)
            killed.append(middle)
            return True
was_open = open_fds()
try:
    thread = watch(kill)
    with setsid.spawn_detached(["true"], user=user) as process:
        assert way in ("clone3", "page")
        process.wait(60)
    with suppress(ChildProcessError):
        os.waitpid(process.pid, 0)
except setsid.SystemCallError as error:
    assert error.errno == errno.ECHILD and way in ("clone", "fork"), error
thread.join()
assert killed and not children(), (killed, [(pid, open(f"/proc/{pid}/stat").read()) for pid in children()])
assert len(open_fds()) - len(was_open) <= (way == "clone")
""",
        repr(forced),
        repr(user),
        repr(reaper),
        way=None if forced == "clone3" else forced,  # so that the page's way uses clone3 too
        timeout=20,
        wrapper=strace(need, "getpid:delay_enter=400000:when=1", "clone,clone3,fork,vfork:delay_exit=600000"),
    )


@pytest.mark.parametrize("way", ["page", "fork"])
def test_a_stopped_middle_child_goes_on(way: str, need: Callable[..., str]) -> None:
    detached(
        """
def stop():
    for middle in children():
        os.kill(middle, signal.SIGSTOP)
        return True
with nothing_left():
    thread = watch(stop)
    with setsid.spawn_detached(["true"]) as process:
        process.wait(60)
    thread.join()
""",
        way=way,
        wrapper=strace(need, "setsid:delay_enter=500000"),
    )


@pytest.mark.parametrize("way", ["page", "fork"])
def test_a_process_that_is_stopped_before_its_exec_is_stopped_once_it_runs_the_program(way: str) -> None:
    """It has a thousand files to move, so that there is time to meet it; strace would hide that it is stopped."""
    detached(
        """
def stop():
    while not is_over:
        for middle in children():
            for pid in range(middle + 1, middle + 20):  # most likely the next one
                if sid_of(pid) == middle:
                    os.kill(pid, signal.SIGSTOP)
                    return True
    return True
files = {number: 0 for number in range(100, 1100)}
with nothing_left():
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        is_over = False
        thread = watch(stop)
        cat = Cat(pass_fds=files)
        is_over = True
        thread.join()
        was_early = cat.process._child.report.stops & 1 << signal.SIGSTOP
        while was_early and status(cat.process.pid)["State"][0] != "T":
            time.sleep(0.001)
        cat.process.send_signal(signal.SIGKILL)
        cat.stop()
        if was_early:
            break
    assert was_early, "it was never met before its exec"
""",
        way=way,
    )


def test_an_exception_of_a_signal_handler_leaves_nothing(way: str) -> None:
    """Whenever it comes: either the process is there, or nothing is."""
    detached(
        """
class Interrupted(Exception):
    pass
def interrupt(*_):
    raise Interrupted
if ON_PYPY:  # where compiled, a handler runs late: once the frames are left that the signal came in, and others entered
    __import__("pypyjit").set_param("off")
signal.signal(signal.SIGALRM, interrupt)
become_subreaper()
setsid.spawn_detached(["true"]).wait(60)
while True:
    try:
        os.waitpid(-1, 0)
    except ChildProcessError:
        break
interrupted = 0
with nothing_left():
    for number in range(300):
        process = None
        try:
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + number * 1e-6)
                process = setsid.spawn_detached(["sleep", "60"])
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                time.sleep(0)  # CPython 3.12 may overlook a signal until the GIL is taken next
        except Interrupted as error:
            interrupted += 1
            # PyPy and CPython 3.10 run handlers between the call's return and what stores its result, too.
            if error.__traceback__.tb_next.tb_frame.f_code is interrupt.__code__:
                for pid in children():
                    os.kill(pid, signal.SIGKILL)
        if process:
            process.end()
            process.close()
        while children():  # of the subreaper
            pid, ended = os.waitpid(-1, 0)
            assert os.WIFSIGNALED(ended)
assert interrupted
""",
        way=way,
    )


# -- the handle


def test_wait_and_the_end_as_its_pidfd_tells(way: str) -> None:
    detached(
        """
with nothing_left():
    cat = Cat()
    process = cat.process
    poll = select.poll()
    poll.register(process, select.POLLIN)
    assert poll.poll(0) == []
    with raises(TimeoutError):
        process.wait(0.01)
    with raises(TimeoutError):
        process.wait(timeout=0)
    thread = threading.Thread(target=process.wait)
    thread.start()
    os.close(cat.writer)
    assert poll.poll(60000) == [(process.fileno(), select.POLLIN)]
    thread.join()
    assert process.wait() is None
    assert process.is_alive() is False
    process.send_signal(signal.SIGKILL)
    assert process.end() == setsid.EndReport((), ())
    assert repr(process) == f"<DetachedProcess pid={process.pid} ended args=['cat']>"
    process.close()
""",
        way=way,
    )


def test_a_handler_runs_while_it_waits() -> None:
    detached("""
class Interrupted(Exception):
    pass
def interrupt(*_):
    seen.append(1)
    if len(seen) == 3:
        raise Interrupted
seen = []
signal.signal(signal.SIGALRM, interrupt)
with nothing_left():
    cat = Cat()
    for timeout in None, 60:
        seen.clear()
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        with raises(Interrupted):
            cat.process.wait(timeout)
        signal.setitimer(signal.ITIMER_REAL, 0)
    cat.stop()
""")


def test_without_pidfds_it_is_known_by_its_start(way: str) -> None:
    detached(
        """
with nothing_left():
    cat = Cat()
    process = cat.process
    assert process.is_alive()
    for call in process.fileno, lambda: process.send_signal(signal.SIGTERM):
        try:
            call()
            raise AssertionError("without a pidfd")
        except NotImplementedError as error:
            assert "pidfds" in str(error)
    with raises(TimeoutError):
        process.wait(0.05)
    os.close(cat.writer)
    process.wait(60)
    assert not process.is_alive()
    process.send_signal(signal.SIGTERM)
    process.close()
    with setsid.spawn_detached(["sleep", "60"]) as process:
        assert process.end().ended == (process.pid,)
""",
        way=way,
        hide_pidfd=True,
    )


def test_signals_go_to_it_and_to_nobody_once_it_has_ended(way: str) -> None:
    detached(
        """
with nothing_left():
    with setsid.spawn_detached(["sleep", "60"]) as process:
        with raises(OSError, errno=errno.EINVAL, call="pidfd_send_signal"):
            process.send_signal(4000)
        process.send_signal(0)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        for number in 0, signal.SIGKILL:
            process.send_signal(number)
""",
        way=way,
    )


def test_a_closed_handle_leaves_the_process_alone_and_says_so() -> None:
    detached("""
import gc, pickle, weakref
with nothing_left():
    cat = Cat()
    process = cat.process
    with setsid.spawn_detached(["true"]) as other:
        pass
    with process as entered:
        assert entered is process
        fd = process.fileno()
    assert program_of(process.pid) == "cat"
    for call in (process.fileno, process.is_alive, process.wait, process.end, process.__enter__,
                 lambda: process.send_signal(0)):
        try:
            call()
            raise AssertionError(f"{call} of a closed handle")
        except ValueError as error:
            assert str(error) == f"the handle of process {process.pid} is closed"
    assert repr(process) == f"<DetachedProcess pid={process.pid} closed args=['cat']>"
    process.close()
    pidfd = os.pidfd_open(process.pid)
    os.close(cat.writer)
    assert select.select([pidfd], [], [], 60)[0]
    os.close(pidfd)
    try:
        pickle.dumps(process)
        raise AssertionError("it was pickled")
    except TypeError:
        pass
    gone = weakref.ref(process)
    del process, entered, cat, call
    gc.collect()
    assert gone() is None
""")


@pytest.mark.parametrize("hide_pidfd", [False, True], ids=["", "no pidfds"], indirect=True)
def test_a_handle_whose_file_somebody_has_closed_does_not_tell_that_the_process_has_ended(hide_pidfd: bool) -> None:
    detached(
        """
with nothing_left():
    cat = Cat()
    os.closerange(cat.process._child.pidfd, cat.process._child.pidfd + 1) if cat.process._child.pidfd >= 0 else None
    os.set_inheritable(cat.writer, True)
    if sys.argv[1] == "True":
        assert cat.process.is_alive()  # known by its start
    else:
        for ask in (
            cat.process.is_alive, cat.process.fileno, lambda: cat.process.wait(1), cat.process.end,
            lambda: cat.process.send_signal(signal.SIGKILL), cat.process.__enter__,
        ):
            with raises(ValueError):
                ask()
        assert "closed" in repr(cat.process)
        process = setsid.spawn(["cat"], stdin=setsid.DEVNULL, stdout=setsid.DEVNULL)
        os.close(process.fileno())
        with raises(ValueError):
            process.fileno()
        assert process.wait(60) == 0  # by its number, which is its own
        process.close()
    os.close(cat.writer)
    cat.process.close()
""",
        str(hide_pidfd),
        hide_pidfd=hide_pidfd,
    )


def test_a_forked_copy_may_use_its_own() -> None:
    detached("""
with nothing_left():
    cat = Cat()
    pid = os.fork()
    if pid == 0:
        assert cat.process.is_alive()
        cat.process.send_signal(signal.SIGKILL)
        cat.process.wait(60)
        cat.process.close()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    cat.process.wait(60)
    cat.stop()
""")


def test_a_handle_that_is_closed_stays_for_who_waits_on_it_in_a_forked_copy_too() -> None:
    detached(
        ASLEEP
        + """
import functools, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork among threads
def waiting():
    tids = []
    def wait():
        tids.append(threading.get_native_id())
        cat.process.wait(60)
    thread = threading.Thread(target=wait)
    thread.start()
    while not tids:
        time.sleep(0.001)
    until_asleep(tids[0])
    return thread
def close_under_a_wait(number):
    thread = waiting()
    cat.process.close()
    os.fstat(number)
    os.kill(cat.process.pid, signal.SIGKILL)
    thread.join()
    with raises(OSError, errno=errno.EBADF):
        os.fstat(number)
def in_a_copy_of_one_that_waits(act):
    "The copy has nothing of the thread that waits but its count."
    thread = waiting()
    pid = os.fork()
    if pid == 0:
        act()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    thread.join()
    cat.process.close()
for depth in 0, 1, 2:
    with nothing_left():
        cat = Cat()
        act = functools.partial(close_under_a_wait, cat.process.fileno())
        for _ in range(depth):
            act = functools.partial(in_a_copy_of_one_that_waits, act)
        act()
        os.close(cat.writer)
"""
    )


# -- ending

TREE = """
def tree(script, lines):
    "Starts sh with `script`, which writes `lines` numbers: those of its processes."
    reader, writer = os.pipe()
    process = setsid.spawn_detached(["sh", "-c", script], stdout=writer)
    os.close(writer)
    pids = []
    file = open(reader)
    for _ in range(lines):
        pids.append(int(file.readline()))
    return process, pids, file

def has_ended(pid):
    try:
        return status(pid)["State"][0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
"""


def test_end_ends_all_of_its_session_the_deaf_ones_too(way: str, hide_pidfd: bool) -> None:
    detached(
        TREE
        + """
with nothing_left():
    process, pids, file = tree("trap '' TERM; sleep 60 & echo $!; sleep 60 & echo $!; echo $$; wait", 3)
    assert pids[2] == process.pid
    report = process.end(0.05)
    assert report == setsid.EndReport(tuple(sorted(pids)), ())
    assert all(map(has_ended, pids))
    assert not process.is_alive()
    process.close()
    assert file.read() == ""
    file.close()
""",
        way=way,
        hide_pidfd=hide_pidfd,
    )


def test_end_ends_a_process_that_has_left_its_session_and_what_it_has_left_behind(way: str) -> None:
    detached(
        TREE
        + """
LEAVES = (sys.executable, "-c", '''if True:
    import os, signal, sys
    left = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "60")
    os.setsid()
    if sys.argv[1] == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print(left, flush=True)
    signal.pause()
''')
for kind, grace in ("plain", 60), ("deaf", 0.05):
    with nothing_left():
        reader, writer = os.pipe()
        process = setsid.spawn_detached([*LEAVES, kind], stdout=writer)
        os.close(writer)
        file = open(reader)
        left = int(file.readline())
        assert os.getsid(process.pid) == process.pid != os.getsid(left)
        report = process.end(grace)
        assert report == setsid.EndReport(tuple(sorted((left, process.pid))), ()), report
        assert has_ended(left) and not process.is_alive()
        process.close()
        file.close()
""",
        way=way,
    )


def test_end_ends_what_a_process_that_is_gone_has_left(way: str) -> None:
    """Started after spawn_detached has returned: that its first group lives is the only proof (Linux 6.9)."""
    detached(
        TREE
        + """
with nothing_left():
    process, (left,), file = tree("sleep 0.1; sleep 60 & echo $!", 1)
    process.wait(60)
    time.sleep(1.1)  # no session's number could come round sooner
    try:
        report = process.end()
    except ProcessLookupError:
        assert tuple(map(int, os.uname().release.split(".")[:2])) < (6, 9)
        os.kill(left, signal.SIGKILL)
    else:
        assert report.ended == (left,), report
    assert file.read() == ""
    assert has_ended(left)
    process.close()
    file.close()
""",
        way=way,
    )


def test_end_leaves_a_stranger_with_the_sessions_number_alone(need: Callable[..., str]) -> None:
    """In a pid namespace of its own, where nobody else takes numbers; its init reaps."""
    needs_root()
    wrapper = need("unshare"), "--pid", "--fork", "--mount-proc", "/bin/sh", "-c", '"$@"; exit $?', "sh"
    source = """
def next_pid(number):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(number - 1))

try:
    open("/proc/sys/kernel/ns_last_pid", "w").close()
except OSError as error:
    print(error)
    sys.exit(0)
with nothing_left():
    for _ in range(50):
        with setsid.spawn_detached(["true"]) as process:
            process.wait(60)
            sid = process._child.session
            while os.path.exists(f"/proc/{process.pid}"):
                time.sleep(0.001)
            time.sleep(0.02)  # a start is known to 10 ms
            next_pid(sid)
            with setsid.spawn(["sleep", "60"]) as stranger:
                if stranger.pid == sid:
                    assert process.end() == setsid.EndReport((), ())
                    assert stranger.poll() is None
                    stranger.end()
                    break
                stranger.end()
    else:
        raise AssertionError("the number never came up")
"""
    if said := detached(source, wrapper=wrapper):
        pytest.skip(f"the next pid can't be chosen here: {said}")


def test_end_checks_its_arguments() -> None:
    detached("""
with nothing_left():
    cat = Cat()
    for arguments in ({"grace": -1}, {"signal": 4000}, {"grace": float("nan")}):
        try:
            cat.process.end(**arguments)
            raise AssertionError(arguments)
        except ValueError:
            pass
    assert cat.process.is_alive()
    cat.stop()
""")
