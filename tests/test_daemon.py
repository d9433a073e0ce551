"""daemonize: what the user sees of the start, and what the daemon is like."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from daemons import KEEPER
from support import fresh


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("another user or root directory needs root")


# -- what it is like

# How it is started: what must not come through, and from where.
STARTERS = {
    "plain": "",
    "group leader": "os.setpgid(0, 0)\n",
    "session leader": "os.setsid()\n",
    "in the foreground of a terminal": """
import fcntl, termios
os.setsid()
manager, terminal = os.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
for number in 0, 1, 2:
    os.dup2(terminal, number)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
""",
    "without streams": "for number in 0, 1, 2: os.close(number)\n",
    "with other settings": """
os.umask(0o077)
os.chdir(sys.argv[1])
for number in signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGRTMIN:
    signal.signal(number, signal.SIG_IGN)
signal.signal(signal.SIGTERM, print)
signal.pthread_sigmask(signal.SIG_SETMASK, signal.valid_signals())
for number in 3, 4, 5, 200:
    os.dup2(os.open("/dev/zero", os.O_RDONLY), number)
""",
}


@pytest.mark.parametrize("starter", STARTERS)
def test_it_is_what_a_daemon_has_to_be(starter: str) -> None:
    fresh(
        KEEPER
        + """
pid = started(sys.argv[1] + "d = daemonize(pidfile=sys.argv[1] + '/it.pid')\\n" + STAYS, base, options=())
settled()
number = session_of(pid)
assert (number["ppid"], number["tty"], number["tpgid"]) == (os.getpid(), 0, -1)
assert number["sid"] == number["pgid"] not in (pid, os.getsid(0))
assert not os.path.exists(f"/proc/{number['sid']}")
fds = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
lock = [fd for fd in fds if fds[fd] == base + "/it.pid"]
assert fds == {0: "/dev/null", 1: "/dev/null", 2: "/dev/null", lock[0]: base + "/it.pid"} and lock[0] > 2
assert os.readlink(f"/proc/{pid}/cwd") == "/"
assert (status(pid)["Umask"], status(pid)["Threads"]) == ("0022", "1")
assert (status(pid)["Groups"], status(pid)["Uid"]) == (status()["Groups"], status()["Uid"])
assert signal_set("SigBlk", pid) == signal_set("ShdPnd", pid) == set()
assert signal_set("SigIgn", pid) == {signal.SIGPIPE, signal.SIGXFSZ}
assert signal_set("SigCgt", pid) == {signal.SIGINT}
assert open(base + "/it.pid").read() == f"{pid}\\n" and PidFile(base + "/it.pid").owner() == pid
os.chmod(base + "/it.pid", 0o600)
assert stop(pid, signal.SIGTERM) == -signal.SIGTERM
""".replace('sys.argv[1] + "d', f'{STARTERS[starter]!r} + "d').replace(
            "STAYS",
            '"assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\\n'
            "assert signal.getsignal(signal.SIGTERM) is signal.getsignal(signal.SIGHUP) is signal.SIG_DFL\\n"
            'd.ready()\\nsettle()\\nsignal.pause()\\n"',
        )
    )


def test_faulthandler_is_left_in_place() -> None:
    fresh(
        KEEPER
        + """
pid = started(STAY, options=("-X", "faulthandler"))
faults = {signal.SIGSEGV, signal.SIGFPE, signal.SIGABRT, signal.SIGBUS, signal.SIGILL}
assert signal_set("SigCgt", pid) == faults | {signal.SIGINT}
stop(pid)
"""
    )


def test_what_is_said_holds() -> None:
    fresh(
        KEEPER
        + """
log = base + "/log"
pid = started('''
import resource
log = open(sys.argv[1] + "/log", "w")
kept = os.open("/dev/zero", os.O_RDONLY)
plan = setsid.ChildSetup(
    cwd=sys.argv[1], umask=0o027, stdout=log, stderr=setsid.STDOUT, pass_fds={9: kept, 3: 0}, nice=3,
    rlimits={resource.RLIMIT_NOFILE: (100, 200)}, signal_mask={signal.SIGUSR2}, ignore_signals={signal.SIGHUP},
    cpu_affinity=[min(os.sched_getaffinity(0))], oom_score_adj=700, no_new_privileges=True)
d = daemonize(plan, pidfile=sys.argv[1] + "/it.pid")
assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
os.write(1, b"out "), os.write(2, b"err")
d.ready()
settle()
signal.pause()
''', base, options=())
settled()
fds = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
(lock,) = [fd for fd in fds if fds[fd] == base + "/it.pid"]
assert fds.pop(lock) and fds == {0: "/dev/null", 1: log, 2: log, 3: "/dev/null", 9: "/dev/zero"}, fds
assert os.readlink(f"/proc/{pid}/cwd") == base and open(log).read() == "out err"
found, nice = status(pid), min(os.nice(0) + 3, 19)
assert (found["Umask"], found["NoNewPrivs"], os.getpriority(os.PRIO_PROCESS, pid)) == ("0027", "1", nice)
assert open(f"/proc/{pid}/oom_score_adj").read() == "700\\n" and len(os.sched_getaffinity(pid)) == 1
assert [line.split()[3:5] for line in open(f"/proc/{pid}/limits") if "open files" in line] == [["100", "200"]]
assert signal_set("SigBlk", pid) == {signal.SIGUSR2}
assert signal_set("SigIgn", pid) == {signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ}
stop(pid)
"""
    )


def test_files_may_stay_open_and_signals_as_they_are() -> None:
    fresh(
        KEEPER
        + """
pid = started('''
os.dup2(os.open("/dev/zero", os.O_RDONLY), 50)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
d = daemonize(setsid.ChildSetup(close_fds=False, default_signals=(), signal_mask=setsid.INHERIT))
d.ready()
settle()
signal.pause()
''', options=())
settled()
fds = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
zeros = [fd for fd in fds if fds[fd] == "/dev/zero"]
assert 50 in zeros and len(zeros) == 2 and len(fds) == 5, fds  # and none of those by which it was started
assert signal_set("SigIgn", pid) == {signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ}
stop(pid)
"""
    )


@pytest.mark.usefixtures("root")
def test_another_user_in_another_root() -> None:
    """The pidfile is out of reach there, and left empty."""
    fresh(
        KEEPER
        + """
os.chmod(base, 0o755)
pid = started('''
import io, encodings.idna
with daemonize(setsid.ChildSetup(chroot=sys.argv[1], user=65534, group=65534), pidfile=sys.argv[1] + "/it.pid") as d:
    assert sorted(os.listdir("/")) == ["it.pid", "settled"]
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(3))
    d.ready()
    signal.pause()
''', base)
assert status(pid)["Uid"].split() == status(pid)["Gid"].split() == ["65534"] * 4
assert status(pid)["Groups"] in ("", "65534")
assert os.readlink(f"/proc/{pid}/root") == base and PidFile(base + "/it.pid").owner() == pid
assert stop(pid) == 3
assert os.stat(base + "/it.pid").st_size == 0 and PidFile(base + "/it.pid").owner() is None
"""
    )


# -- what its user sees


def test_its_user_sees_the_message_and_0() -> None:
    fresh(
        KEEPER
        + """
source = STAY.replace("d.ready()", "d.ready(sys.argv[1]), d.ready('once more'), d.ready()")
code, out, err, (pid,) = start(source, "listening on 42 \\u00e4")
assert (code, out, err) == (0, "listening on 42 \\u00e4\\n", "")
stop(pid)
for how in "1>&-", "1>/dev/full", "| true":
    script = f'"$@" {how}'
    done = subprocess.run(["/bin/sh", "-c", script, "sh", sys.executable, "-c", BEGIN + source, "hello"], stderr=-1)
    assert (done.returncode, done.stderr) == (0, b""), done
    (pid,) = living()
    stop(pid)
"""
    )


def test_what_is_in_the_buffers_is_written_once() -> None:
    fresh(
        KEEPER
        + """
code, out, err, (pid,) = start("print('before', end='')\\n" + STAY.replace("d.ready()", "print('after'); d.ready()"))
assert (code, out, err) == (0, "before", "")
stop(pid)
"""
    )


# How it fails, the exit status and the message.
FAILURES = {
    "an exception": ("raise LookupError('no such port')", 1, "LookupError: no such port"),
    "an exception of two lines": ("raise LookupError('no such' + chr(10) + 'port')", 1, "LookupError: no such\nport"),
    "fail": ("d.fail('no such port', 7)", 7, "no such port"),
    "fail without a status": ("d.fail('x' * 10000)", 1, "x" * 3000),
    "os._exit": ("os._exit(3)", 3, "ended with status 3 before it was ready"),
    "os._exit(0)": ("os._exit(0)", 1, "ended with status 0 before it was ready (it has not called ready())"),
    "its end": ("sys.exit()", 1, "ended with status 0 before it was ready (it has not called ready())"),
    "sys.exit": ("sys.exit(4)", 4, "ended with status 4 before it was ready"),
    "sys.exit with a text": ("sys.exit('no such port')", 1, "no such port"),
    "SIGKILL": ("os.kill(os.getpid(), signal.SIGKILL)", 1, "killed by SIGKILL before it was ready"),
    "a real-time signal": ("os.kill(os.getpid(), 50)", 1, "killed by signal 50 before it was ready"),
    "SIGSEGV": ("os.kill(os.getpid(), signal.SIGSEGV)", 1, "killed by SIGSEGV before it was ready"),
    "a hang": ("signal.pause()", 1, "not ready within 0.5 seconds"),
    "a hang after fail": (
        "try: d.fail('no such port', 9)\n    finally: signal.pause()",
        9,
        "no such port",
    ),
}
# A child in a group of its own, and one that is deaf to SIGTERM.
FAMILY = """
    for number in range(2):
        if os.fork() == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN if number else signal.SIG_DFL)
            signal.pause()
"""


@pytest.mark.parametrize("family", [False, True], ids=["alone", "with children"])
@pytest.mark.parametrize("how", FAILURES)
def test_its_user_hears_why_it_has_not_become_ready(how: str, family: bool) -> None:
    """And nothing is left: no process, no pidfile."""
    failure, code, message = FAILURES[how]
    source = "with daemonize(pidfile=sys.argv[1], ready_timeout=TIMEOUT) as d:\n" + (FAMILY if family else "")
    source = source.replace("TIMEOUT", "0.5" if how == "a hang" else "60") + f"    {failure}\n"
    fresh(
        KEEPER
        + f"""
source = "import setsid._starting as starting; starting._GRACE = 0.2\\n" + {source!r}
code, out, err, left = start(source, base + "/it.pid", options=("-W", "error"))
assert (code, out, err, left) == ({code}, "", "daemon: " + {message!r} + "\\n", []), (code, out, err, left)
assert not os.path.exists(base + "/it.pid")
"""
    )


def test_an_exception_outside_of_a_with_block_is_told_too() -> None:
    fresh(
        KEEPER
        + """
source = '''
def hook(kind, value, traceback):
    with open(sys.argv[1] + "/hook", "a") as file:
        file.write(kind.__name__)
sys.excepthook = hook
d = daemonize()
if sys.argv[2] == "late":
    d.ready()
    assert sys.excepthook is hook
raise LookupError("no such port")
'''
assert start(source, base, "early") == (1, "", "daemon: LookupError: no such port\\n", [])
assert start(source, base, "late")[:3] == (0, "", "")
all_end()
assert open(base + "/hook").read() == "LookupErrorLookupError"
"""
    )


def test_an_exception_in_the_block_is_logged() -> None:
    fresh(
        KEEPER
        + """
source = '''
with daemonize(pidfile=sys.argv[1] + "/it.pid") as d:
    import logging
    logging.basicConfig(filename=sys.argv[1] + "/log")
    if sys.argv[2] == "ready":
        d.ready()
    raise (SystemExit if sys.argv[2] == "exit" else LookupError)("no such port")
'''
for when, code in ("early", 1), ("ready", 0), ("exit", 1):
    assert start(source, base, when)[0] == code
    all_end()
log = open(base + "/log").read()
assert log.count("CRITICAL:setsid.daemon:the daemon ends by an exception\\nTraceback") == 2, log
assert log.count("LookupError: no such port\\n") == 2 and not os.path.exists(base + "/it.pid")
"""
    )


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("chroot='/no/such'", "[Errno 2] No such file or directory: '/no/such' (chroot, stage chroot)"),
        ("cwd='/no/such'", "[Errno 2] No such file or directory: '/no/such' (chdir, stage cwd)"),
        ("user=12345, group=12345", "[Errno 1] Operation not permitted (setresgid, stage group)"),
        ("nice=-5", "[Errno 13] Permission denied (setpriority, stage nice)"),
    ],
)
def test_a_step_that_fails_is_told(fields: str, message: str) -> None:
    """As nobody."""
    fresh(
        KEEPER
        + """
fields, message = sys.argv[1:]
os.chmod(base, 0o777)
source = f'''
os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
daemonize(setsid.ChildSetup({fields}), pidfile=sys.argv[1] + "/it.pid")
os.write(2, b"it goes on")
'''
code, out, err, left = start(source, base)
assert (code, out, left) == (1, "", []) and err.startswith(f"daemon: {message}"), err
assert os.listdir(base) == ["settled"]
""",
        fields,
        message,
    )


def test_a_second_one_is_told_who_runs() -> None:
    fresh(
        KEEPER
        + """
script = base + "/server.py"
with open(script, "w") as file:
    file.write(BEGIN + "d = daemonize(pidfile=sys.argv[1])\\nd.ready()\\nsignal.pause()\\n")
argv = [sys.executable, script, base + "/it.pid"]
assert subprocess.run(argv).returncode == 0
(pid,) = living()
second = subprocess.run(argv, capture_output=True, text=True)
assert (second.returncode, second.stderr) == (1, f"server.py: already running as pid {pid}\\n")
assert living() == [pid] and PidFile(base + "/it.pid").owner() == pid
stop(pid)
"""
    )


def test_of_a_hundred_starts_at_once_one_wins() -> None:
    fresh(
        KEEPER
        + """
source = "d = daemonize(pidfile=sys.argv[1])\\nd.ready('up')\\nsignal.pause()\\n"
starts = [begin(source, base + "/it.pid", options=("-S",)) for _ in range(100)]
ends = [(process.communicate(timeout=110), process.returncode) for process in starts]
(pid,) = living()
won = [end for end in ends if end == (("up\\n", ""), 0)]
lost = [end for end in ends if end == (("", f"daemon: already running as pid {pid}\\n"), 1)]
assert (len(won), len(lost)) == (1, 99), ends
assert PidFile(base + "/it.pid").owner() == pid
stop(pid)
""".replace('options=("-S",)', 'options=("-I",)')
    )


def test_a_full_stderr_does_not_hold_the_starter() -> None:
    fresh(
        KEEPER
        + """
import fcntl
reader, writer = os.pipe()
fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK)
try:
    while True:
        os.write(writer, bytes(4096))
except BlockingIOError:
    fcntl.fcntl(writer, fcntl.F_SETFL, 0)
code, out, err, left = start("daemonize().fail('x', 5)", stderr=writer)
assert (code, left) == (5, [])
os.close(reader)
assert start("daemonize().fail('x', 5)", stderr=writer)[0] == 5
assert start("os.close(2)\\ndaemonize().fail('x', 5)")[0] == 5
"""
    )


# -- ends in between


@pytest.mark.parametrize("number", ["SIGKILL", "SIGTERM", "SIGINT", "SIGHUP"])
def test_the_end_of_the_starter_ends_all(number: str) -> None:
    fresh(
        KEEPER
        + """
reader, writer = os.pipe()
source = '''
with daemonize(setsid.ChildSetup(pass_fds=[int(sys.argv[2])]), pidfile=sys.argv[1]) as d:
    if os.fork() == 0:
        os.setpgid(0, 0)
    os.write(int(sys.argv[2]), b".")
    signal.pause()
'''
process = begin(source, base + "/it.pid", writer, pass_fds=[writer])
os.close(writer)
while len(children()) < 1 or os.read(reader, 1) != b".":
    pass
assert os.read(reader, 1) == b"."
process.send_signal(getattr(signal, sys.argv[1]))
out, err = process.communicate(timeout=60)
assert process.returncode == -getattr(signal, sys.argv[1])
assert os.read(reader, 1) == b""  # nobody is left who has it
all_end()
assert PidFile(base + "/it.pid").owner() is None
assert ("KeyboardInterrupt" in err) == (sys.argv[1] == "SIGINT") == (not os.path.exists(base + "/it.pid")), err
""",
        number,
    )


@pytest.mark.parametrize("when", ["waiting", "forking"])
def test_an_exception_of_a_handler_comes_back_to_the_caller(when: str) -> None:
    """There is no daemon then."""
    fresh(
        KEEPER
        + """
source = '''
def handler(number, frame):
    signal.signal(number, signal.SIG_IGN)
    raise LookupError
signal.signal(signal.SIGUSR1, handler)
starter = os.getpid()
if sys.argv[2] == "forking":  # the daemon is so fast that its signal comes before its starter knows that it has forked
    import setsid._starting
    fork = setsid._starting.fork
    def late(*args, **changes):
        process = fork(*args, **changes)
        if process is not None:
            os.kill(starter, signal.SIGUSR1)
        return process
    setsid._starting.fork = late
try:
    with daemonize(pidfile=sys.argv[1]) as d:
        os.kill(starter, signal.SIGUSR1)
        signal.pause()
except LookupError:
    assert os.getpid() == starter and not os.path.exists(sys.argv[1])
    assert len(os.listdir("/proc/self/fd")) == 4
    print("ended")
'''
assert start(source, base + "/it.pid", sys.argv[1]) == (0, "ended\\n", "", [])
""",
        when,
    )


def test_a_middle_that_is_killed_is_told_and_nothing_is_left() -> None:
    fresh(
        KEEPER
        + """
source = '''
with daemonize(pidfile=sys.argv[1]) as d:
    os.kill(os.getppid(), signal.SIGKILL)
    signal.pause()
'''
code, out, err, left = start(source, base + "/it.pid")
assert (code, out, left) == (1, "", []) and "which watched over the start, has been killed" in err, (code, err, left)
assert not os.path.exists(base + "/it.pid")
"""
    )


def test_what_it_forks_speaks_not_for_it() -> None:
    fresh(
        KEEPER
        + """
source = '''
with daemonize(pidfile=sys.argv[1]) as d:
    pid = os.fork()
    if pid == 0:
        for call in d.ready, d.notify, lambda: d.fail("x"):
            try:
                call()
            except RuntimeError as error:
                assert f"process {os.getpid()} is not the daemon, which is process {d.pid}" == str(error)
            else:
                os._exit(1)
        assert len(os.listdir("/proc/self/fd")) == 4
        raise LookupError
    assert os.waitpid(pid, 0)[1] == 1 << 8 and os.path.exists(sys.argv[1])
    d.ready("up")
    signal.pause()
'''
code, out, err, (pid,) = start(source, base + "/it.pid")
assert (code, out, err) == (0, "up\\n", "")
assert PidFile(base + "/it.pid").owner() == pid
stop(pid)
"""
    )


def test_a_daemon_that_ends_right_after_it_was_ready_was_ready() -> None:
    fresh(
        KEEPER
        + """
for _ in range(20):
    assert start("daemonize().ready('up')\\nos._exit(3)")[:3] == (0, "up\\n", "")
    all_end()
"""
    )


# -- not detached


def test_as_process_1_it_stays_in_the_foreground(need: Callable[..., str]) -> None:
    fresh(
        """
import subprocess
from setsid.daemon import daemonize
assert os.getpid() == 1
os.umask(0o077)
before = open_fds(), os.getcwd(), signal_set("SigIgn"), signal_set("SigCgt"), signal_set("SigBlk"), children()
d = daemonize(setsid.ChildSetup(umask=0o027), pidfile="/tmp/setsid-test-of-process-1.pid")
with open("/tmp/setsid-test-of-process-1.pid") as file:
    assert file.read() == "1\\n" and d.pid == 1 and not d.is_detached
d.pidfile.release()
after = open_fds(), os.getcwd(), signal_set("SigIgn"), signal_set("SigCgt"), signal_set("SigBlk"), children()
assert after == before and os.umask(0) == 0o027
d.ready("not shown"), d.ready()
try:
    daemonize(detach=True)
except ValueError as error:
    assert "process 1 can't detach a daemon" in str(error)
else:
    raise AssertionError
print("shown")
try:
    d.fail("no such port", 3)
except SystemExit as error:
    assert error.code == 3
""",
        wrapper=(need("unshare"), "--pid", "--fork", "--mount-proc", "--mount"),
    )


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_service_manager_is_notified(kind: str) -> None:
    fresh(
        KEEPER
        + """
import socket
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
address = base + "/notify" if sys.argv[1] == "path" else f"@setsid-test-{os.getpid()}"
manager.bind(address.replace("@", "\\0"))
manager.settimeout(60)
env = {**os.environ, "NOTIFY_SOCKET": address}
source = '''
starter, settings = os.getpid(), (os.getcwd(), os.umask(0o077))
os.umask(0o077)
with daemonize(detach=eval(sys.argv[1]), setup=setsid.ChildSetup(**eval(sys.argv[2]))) as d:
    if d.is_detached:
        assert os.getpid() != starter
    else:
        assert (os.getpid(), os.umask(0o077)) == (starter, 0o077) and os.getcwd() in (settings[0], "/")
    assert d.notify(status="starting", EXTEND_TIMEOUT_USEC=5)
    d.ready("serves\\\\nall"), d.ready()
    d.notify(reloading=1)
    assert d.notify(STATUS="two\\\\nlines")
    for bad in {"a b": 1}, {"x": "two\\\\nlines"}, {"": ""}, {"1": ""}:
        try:
            d.notify(**bad)
        except ValueError:
            continue
        raise AssertionError(bad)
    d.notify(stopping=1)
    d.fail("no more", 3)
'''
def heard():
    return sorted(manager.recv(4096).decode().split("\\n"))
for detach in "None", "False", "True":
    for setup in "{}", "dict(chroot='/usr')" if os.geteuid() == 0 else "{}":
        process = begin(source, detach, setup, env=env)
        assert heard() == ["EXTEND_TIMEOUT_USEC=5", "STATUS=starting"]
        ready = heard()
        if detach == "True":
            (pid,) = [line for line in ready if line.startswith("MAINPID=")]
            ready.remove(pid)
            assert pid != f"MAINPID={process.pid}"
        assert ready == ["READY=1", "STATUS=serves all"]
        reloading = heard()
        assert reloading[0].startswith("MONOTONIC_USEC=") and reloading[1:] == ["RELOADING=1"]
        assert heard() == ["STATUS=two lines"]
        assert heard() == ["STOPPING=1"] and heard() == ["STATUS=no more"]
        out, err = process.communicate(timeout=60)
        if detach == "True":
            assert (process.returncode, out, err) == (0, "serves\\nall\\n", "")
        else:
            assert (process.returncode, out, err) == (3, "serves\\nall\\n", "daemon: no more\\n")
        all_end()
assert sorted(os.listdir(base)) == ["notify", "settled"][sys.argv[1] != "path":]
manager.close()
""",
        kind,
    )


def test_a_manager_that_is_not_there_is_an_error() -> None:
    fresh(
        KEEPER
        + """
for address, text in (base + "/nobody", "No such file or directory"), ("/" + "x" * 200, "AF_UNIX path too long"):
    env = {**os.environ, "NOTIFY_SOCKET": address}
    code, out, err, left = start(STAY, env=env)
    assert code == 1 and text in err and "(connect)" in err and left == [], err
for address in "vsock:2:1", "":  # what nobody here can speak to
    env = {**os.environ, "NOTIFY_SOCKET": address}
    assert start("d = daemonize()\\nassert d.notify(STATUS=1) is False", env=env) == (0, "", "", [])
"""
    )


def test_a_file_that_has_got_the_notifiers_number_is_left_alone() -> None:
    fresh(
        KEEPER
        + """
import socket
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(base + "/notify")
source = '''
d = daemonize(detach=False)
os.closerange(3, 100)
while (fd := os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)) < 20:
    pass
assert d.notify(STATUS="lost") is False
d.ready()
with d:
    pass
assert os.fstat(3) and os.stat(sys.argv[1]).st_size == 0
'''
env = {**os.environ, "NOTIFY_SOCKET": base + "/notify"}
assert start(source, base + "/data", env=env) == (0, "", "", [])
manager.close()
"""
    )


def test_sockets_of_socket_activation_are_kept() -> None:
    fresh(
        KEEPER
        + """
source = '''
for number in 3, 4, 5:
    os.dup2(os.open("/dev/zero", os.O_RDONLY), number)
os.environ["LISTEN_PID"] = str(os.getpid() + int(sys.argv[1]))
os.environ["LISTEN_FDS"] = sys.argv[2]
d = daemonize(pidfile=sys.argv[3])
assert (os.environ["LISTEN_PID"] == str(os.getpid())) == (sys.argv[1:3] == ["0", "2"])
d.ready()
settle()
signal.pause()
'''
for other, count, kept in ("0", "2", [3, 4]), ("1", "2", []), ("0", "many", []):
    pid = started(source, other, count, base + "/it.pid")
    settled()
    fds = {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}
    assert [fd for fd in fds if fds[fd] == "/dev/zero"] == kept and len(fds) == 4 + len(kept), fds
    stop(pid)
"""
    )


# -- what is refused before there is another process


def test_other_threads_are_named() -> None:
    fresh(
        """
import asyncio, faulthandler, threading
from setsid.daemon import daemonize
goes = threading.Event()
threads = [threading.Thread(target=goes.wait, name=name) for name in ("pool-1", "pool-2")]
def refused(*words):
    with nothing_left():
        try:
            daemonize(pidfile="/tmp/setsid-test-no.pid")
        except RuntimeError as error:
            assert all(word in str(error) for word in words), error
        else:
            raise AssertionError("it was not refused")
    assert not os.path.exists("/tmp/setsid-test-no.pid")
for thread in threads:
    thread.start()
refused("'pool-1'", "'pool-2'")
goes.set()
for thread in threads:
    thread.join()
inner = threading.Thread(target=refused, args=("'MainThread'",))
inner.start()
inner.join()
faulthandler.dump_traceback_later(1000)
refused("(not Python's)")
faulthandler.cancel_dump_traceback_later()
async def main():
    refused("running event loop")
asyncio.run(main())
"""
    )


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ("{}", "TypeError", "setup must be a ChildSetup, not dict"),
        ("setsid.ChildSetup(process_group=0)", "ValueError", "process_group can't be said"),
        ("setsid.ChildSetup(process_group=setsid.INHERIT)", "ValueError", "process_group can't be said"),
        ("setsid.ChildSetup(parent_death_signal=9)", "ValueError", "parent_death_signal can't be said"),
        ("setsid.ChildSetup(release_ctty=True)", "ValueError", "release_ctty can't be said"),
        ("setsid.ChildSetup(foreground_tty=0)", "ValueError", "foreground_tty can't be said"),
        ("setsid.ChildSetup(pass_fds=[99])", "OSError", "file descriptor 99 is not open"),
        ("setsid.ChildSetup(pass_fds=[0])", "ValueError", "pass_fds and stdin both say"),
        ("setsid.ChildSetup(user='nobody-of-that-name')", "ValueError", "nobody-of-that-name"),
        ("ready_timeout=-1", "ValueError", "ready_timeout must be 0 or more"),
        ("ready_timeout='1'", "TypeError", ""),
        ("ready_timeout=float('nan')", "ValueError", "ready_timeout must be 0 or more"),
        ("pidfile=''", "ValueError", "is no path"),
        ("pidfile=3", "TypeError", ""),
        ("pidfile='/no/such/it.pid'", "FileNotFoundError", "(open)"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_changed(arguments: str, kind: str, text: str) -> None:
    fresh(
        f"""
from setsid.daemon import daemonize
for detach in True, False:
    if detach is False and "pass_fds=[0]" in {arguments!r}:
        continue
    before = os.getcwd(), os.umask(0o22), signal_set("SigCgt"), os.getpid()
    with nothing_left():
        try:
            daemonize({arguments}, detach=detach)
        except {kind} as error:
            assert {text!r} in str(error), error
        else:
            raise AssertionError("it was not refused")
    assert (os.getcwd(), os.umask(0o22), signal_set("SigCgt"), os.getpid()) == before
"""
    )


def test_no_room_for_its_files_is_an_error_and_nothing_is_left() -> None:
    fresh(
        KEEPER
        + """
source = '''
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), 1000))
daemonize(pidfile=sys.argv[2]).ready()
signal.pause()
'''
codes = []
for room in range(3, 20):
    code, out, err, left = start(source, room, base + "/it.pid")
    codes.append(code)
    if code:
        assert os.strerror(errno.EMFILE) in err and left == [], (room, err)
        assert not os.path.exists(base + "/it.pid")
    else:
        assert err == "" and PidFile(base + "/it.pid").owner() == left[0]
        stop(left[0])
assert codes == sorted(codes, reverse=True) and codes.count(1) > 5 and codes.count(0) > 2, codes
"""
    )


# -- what an adversary has found


def test_a_process_that_was_forked_may_become_one() -> None:
    """A thread's number there is still that of the parent's, as Python tells it."""
    fresh(
        KEEPER
        + """
for fork in "os.fork()", "setsid.fork()":
    source = f"pid = {fork}\\nif pid:\\n    os._exit(0)\\n" + STAY
    code, out, err, left = start(source)
    while len(left) != 1 or session_of(left[0])["sid"] == left[0]:
        assert code == 0 and err == "" and left, (code, err)
        left = living()
    stop(left[0])
source = "d = daemonize()\\nd.ready()\\n" * 2  # a daemon of a daemon
source += "with open(sys.argv[1], 'w') as fifo:\\n  fifo.write(str(os.getpid()))\\nsignal.pause()\\n"
assert start(source, base + "/settled")[0] == 0
with open(base + "/settled") as fifo:
    last = int(fifo.read())
while living() != [last]:  # the first one was its starter
    pass
stop(last)
"""
    )


def test_threads_that_have_been_joined_are_no_other_threads() -> None:
    """The kernel's half of one outlives join()."""
    fresh(
        """
import threading
from setsid._starting import check_alone
for _ in range(1000):
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    check_alone()
"""
    )


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_streams_that_were_replaced(stream: str) -> None:
    fresh(
        KEEPER
        + """
source = '''
import io
stream = sys.argv[1]
print("before", file=getattr(sys, stream))
if sys.argv[2] == "wrapped":
    setattr(sys, stream, io.TextIOWrapper(getattr(sys, stream).detach(), line_buffering=True))
else:
    setattr(sys, stream, io.StringIO())
d = daemonize()
if stream == "stderr":
    d.fail("no such port", 7)
d.ready("up")
'''
for how in "wrapped", "away":
    expected = (0, "before\\nup\\n", "") if sys.argv[1] == "stdout" else (7, "", "before\\ndaemon: no such port\\n")
    assert start(source, sys.argv[1], how, options=())[:3] == expected
    all_end()
""",
        stream,
    )


def test_not_detached_its_own_files_are_kept_too() -> None:
    fresh(
        KEEPER
        + """
import socket
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(base + "/notify")
manager.settimeout(60)
env = {**os.environ, "NOTIFY_SOCKET": base + "/notify"}
source = '''
for number in 3, 4:
    os.dup2(os.open("/dev/zero", os.O_RDONLY), number)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
with daemonize(setsid.ChildSetup(**eval(sys.argv[1])), pidfile=sys.argv[2]) as d:
    files = [os.open("/dev/null", os.O_RDWR) for _ in range(10)]
    assert d.pidfile.owner() == os.getpid() and not os.get_inheritable(d.pidfile.fileno())
    assert os.readlink("/proc/self/fd/3") == "/dev/zero" or "{3" in sys.argv[1]
    d.ready()
'''
for fields in "dict(close_fds=True)", "dict(pass_fds={3: 1})", "dict(pass_fds={4: 1, 5: 1, 6: 1}, close_fds=True)":
    assert start(source, fields, base + "/it.pid", env=env) == (0, "", "", []), fields
    assert manager.recv(100) == b"READY=1"
    assert not os.path.exists(base + "/it.pid")
manager.close()
"""
    )


@pytest.mark.parametrize("tells", ["told", "untold"])
def test_sigchld_may_be_ignored(tells: str) -> None:
    """As it may come from whoever has started the program. Without a pidfd nobody tells a reaped one's status."""
    fresh(
        KEEPER
        + """
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if sys.argv[1] == "untold":
    BEGIN += "from setsid._native import lib\\nlib.sid_force(lib.SID_WAY_PROBE, True)\\n"
for source, expected in (
    ("d.ready('up'); signal.pause()", (0, "up\\n", "")),
    ("d.fail('no such port', 7)", (7, "", "daemon: no such port\\n")),
    ("os._exit(3)", (3, "", "daemon: ended with status 3 before it was ready\\n")),
):
    argv = [sys.executable, "-c", BEGIN + "d = daemonize(setsid.ChildSetup(cwd='/'))\\n" + source]
    done = subprocess.Popen(argv, stdout=-1, stderr=-1, text=True, preexec_fn=lambda: signal.signal(17, signal.SIG_IGN))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out, err) == expected, (done.returncode, out, err)
    for pid in living():
        os.kill(pid, signal.SIGKILL)
    all_end()
""",
        tells,
    )


def test_handlers_of_the_caller_run_in_nobody_else() -> None:
    fresh(
        KEEPER
        + """
source = '''
caller = os.getpid()
def handler(number, frame):
    os.write(2, b"in the caller" if os.getpid() == caller else b"in somebody else")
signal.signal(signal.SIGCHLD, handler)
daemonize(setsid.ChildSetup(cwd="/no/such"))
'''
for _ in range(5):
    code, out, err, left = start(source)
    assert (code, out, left) == (1, "", []) and "in somebody else" not in err and "stage cwd" in err, err
"""
    )


def test_what_python_ignores_is_ignored_whatever_the_caller_has_done() -> None:
    fresh(
        KEEPER
        + """
source = "signal.signal(signal.SIGPIPE, signal.SIG_DFL), signal.signal(signal.SIGXFSZ, print)\\n" + STAY
pid = started(source, options=())
assert signal_set("SigIgn", pid) == {signal.SIGPIPE, signal.SIGXFSZ}
stop(pid)
source = "d = daemonize(setsid.ChildSetup(default_signals={signal.SIGINT}))\\nd.ready()\\nsignal.pause()"
pid = started(source, options=())
assert stop(pid, signal.SIGINT) == -signal.SIGINT  # as it was said
"""
    )


def test_numbers_that_are_other_files_by_now_are_left_alone() -> None:
    """What else the interpreter writes to, too."""
    fresh(
        KEEPER
        + """
source = '''
import faulthandler
reader, writer = os.pipe()
os.set_blocking(writer, False)
signal.set_wakeup_fd(writer)
trace = open(sys.argv[1] + "/trace", "w")
faulthandler.enable(trace)
d = daemonize(ready_timeout=5)
os.closerange(3, 100)
files = [open(f"{sys.argv[1]}/{number}", "w") for number in range(10)]
signal.signal(signal.SIGUSR1, lambda number, frame: None)
os.kill(os.getpid(), signal.SIGUSR1)
try:
    d.ready("hello")
finally:
    for file in files:
        os.fstat(file.fileno())
    os.kill(os.getpid(), signal.SIGSEGV)
'''
code, out, err, left = start(source, base, options=())
assert code == 1 and "killed by SIGSEGV" in err, err
assert [os.stat(f"{base}/{number}").st_size for number in range(10)] == [0] * 10
"""
    )


def test_who_has_left_the_session_is_told_and_keeps_its_pidfile() -> None:
    fresh(
        KEEPER
        + """
source = "daemonize(pidfile=sys.argv[1], ready_timeout=0.5)\\nos.setsid()\\nsignal.pause()"
code, out, err, (pid,) = start(source, base + "/it.pid")
assert (code, err) == (1, f"daemon: not ready within 0.5 seconds (still there: {pid})\\n"), err
assert PidFile(base + "/it.pid").owner() == pid
stop(pid)
"""
    )


def test_odd_messages() -> None:
    fresh(
        KEEPER
        + """
source = '''
with daemonize() as d:
    error = ValueError("no such port")
    if hasattr(error, "add_note"):
        error.add_note("see the manual")
    for bad in error, 42, b"":
        for call in d.ready, d.fail:
            try:
                call(bad)
            except TypeError as reason:
                assert "message must be str" in str(reason)
            else:
                raise AssertionError
    exec(sys.argv[1])
'''
for last, code, message in (
    ("raise error", 1, "ValueError: no such port"),
    ("sys.exit(error)", 1, "no such port"),
    ("d.fail(chr(0xd800), 3)", 3, "\\\\ud800"),
):
    assert start(source, last) == (code, "", f"daemon: {message}\\n", []), last
"""
    )
