"""Pty: what it opens and closes, what it never does by accident, and programs on it."""

from __future__ import annotations

import copy
import fcntl
import gc
import os
import pickle
import re
import subprocess
import sys
import tty
from collections.abc import Callable

import pytest

import setsid
from scenarios import AT_ANY_POINT, RAISES
from setsid.tty import Pty, WindowSize, foreground_group
from support import ON_PYPY, fresh, nothing_left, open_fds
from test_calls import HELPERS, needs_admin

START = (
    HELPERS
    + RAISES
    + """
import gc, select, struct, threading
from setsid import ChildSetup
from setsid.tty import Pty, WindowSize

def output(manager):
    said = b""
    try:
        while part := os.read(manager, 65536):
            said += part
    except OSError as error:
        assert error.errno == errno.EIO
    return said.decode()

def is_open(*fds):
    return set(fds) <= set(open_fds())
"""
)


def run(source: str, *args: object, way: str | None = None, wrapper: tuple[str, ...] = ()) -> None:
    fresh(START + source, *args, way=way, wrapper=wrapper)


# -- what it is


def test_what_is_typed_on_one_side_is_read_on_the_other() -> None:
    with nothing_left(), Pty() as pty:
        os.write(pty.manager, b"typed\n")
        assert os.read(pty.terminal, 100) == b"typed\n"
        os.write(pty.terminal, b"said\n")
        echo = b""
        while not echo.endswith(b"said\r\n"):
            echo += os.read(pty.manager, 100)
        assert echo == b"typed\r\nsaid\r\n"


def test_the_standard_modules_set_its_modes() -> None:
    with Pty() as pty:
        tty.setraw(pty.terminal)
        os.write(pty.manager, b"\x03\r")
        assert os.read(pty.terminal, 100) == b"\x03\r"


def test_its_name_is_the_terminals() -> None:
    with Pty() as pty:
        assert pty.name == os.ttyname(pty.terminal)
        assert pty.fileno() == pty.terminal


def test_its_repr_names_what_is_open() -> None:
    pty = Pty()
    name, manager, terminal = pty.name, pty.manager, pty.terminal
    assert repr(pty) == f"<Pty {name} manager={manager} terminal={terminal}>"
    pty.close_terminal()
    assert repr(pty) == f"<Pty {name} manager={manager}>"
    pty.close()
    assert repr(pty) == f"<Pty {name} closed>"


def test_both_sides_are_closed_by_an_exec_and_inherited_by_none() -> None:
    with Pty() as pty:
        assert [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in (pty.manager, pty.terminal)] == [fcntl.FD_CLOEXEC] * 2
        assert not os.get_inheritable(pty.manager)
        listed = subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True, text=True).stdout.split()
        assert {str(pty.manager), str(pty.terminal)}.isdisjoint(listed)


def test_it_becomes_nobodys_controlling_terminal() -> None:
    run("""
assert os.getsid(0) == os.getpid() and session_of(os.getpid())["tty"] == 0
with Pty() as pty:
    assert session_of(os.getpid())["tty"] == 0
    pty.close_terminal()
    with raises(FileNotFoundError):
        pty.spawn(["no such program"])  # opens the terminal anew
    pty.spawn(["true"]).wait()
    assert session_of(os.getpid())["tty"] == 0
    os.close(os.open(pty.name, os.O_RDWR))  # this is how it would
    assert session_of(os.getpid())["tty"] != 0
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
""")


# -- its size


def test_the_size_is_as_said_and_round_trips() -> None:
    with Pty() as pty:
        assert pty.size == (24, 80)
        for size in (50, 132), (0, 0), (65535, 65535), (1, 1):
            pty.resize(*size)
            assert os.get_terminal_size(pty.terminal) == size[::-1]
            assert pty.size == size
            pty.resize(*pty.size)
            assert pty.size == size
    with Pty(7, columns=9) as pty:
        assert pty.size == WindowSize(rows=7, columns=9)
        assert (pty.size.rows, pty.size.columns) == (7, 9)
        assert pickle.loads(pickle.dumps(pty.size)) == pty.size
        assert repr(pty.size) == "WindowSize(rows=7, columns=9)"


@pytest.mark.parametrize(
    ("rows", "columns", "kind", "text"),
    [
        (-1, 80, ValueError, "rows must be from 0 to 65535, not -1"),
        (24, 65536, ValueError, "columns must be from 0 to 65535, not 65536"),
        (24, 2**80, ValueError, "columns must be from 0 to 65535"),
        ("24", 80, TypeError, "rows must be an int, not str"),
        (24, None, TypeError, "columns must be an int, not NoneType"),
    ],
)
def test_what_is_no_size_is_refused(rows: int, columns: int, kind: type[Exception], text: str) -> None:
    with nothing_left():
        with pytest.raises(kind, match=text):
            Pty(rows, columns)
        with Pty() as pty:
            with pytest.raises(kind, match=text):
                pty.resize(rows, columns)
            assert pty.size == (24, 80)


def test_the_foreground_group_alone_hears_of_a_new_size() -> None:
    run("""
def blocked():
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])

def pending(pid):
    return signal.SIGWINCH in signal_set("ShdPnd", pid)

pty = Pty()
setsid.acquire_ctty(pty)
with sleeper(blocked) as foreground, sleeper(blocked) as background:
    setsid.tcsetpgrp(pty, foreground)
    fcntl.ioctl(pty.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 480, 800))
    with open(f"/proc/{foreground}/status"):
        assert pending(foreground)  # of the pixels
with sleeper(blocked) as foreground, sleeper(blocked) as background:
    setsid.tcsetpgrp(pty, foreground)
    pty.resize(*pty.size)
    assert not pending(foreground)
    assert fcntl.ioctl(pty.terminal, termios.TIOCGWINSZ, bytes(8)) == struct.pack("HHHH", 24, 80, 480, 800)
    pty.resize(25, 80)
    assert pending(foreground) and not pending(background)
    assert fcntl.ioctl(pty.terminal, termios.TIOCGWINSZ, bytes(8)) == struct.pack("HHHH", 25, 80, 0, 0)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
pty.close()
""")


# -- programs on it


def test_a_program_leads_a_session_on_it(way: str) -> None:
    run(
        """
with nothing_left(), Pty() as pty:
    device = os.stat(pty.name).st_rdev
    process = pty.spawn(["cat"])
    os.write(pty.manager, b"echo\\n")
    said = b""
    while said.count(b"echo") < 2:  # when it has opened and closed what it needs
        said += os.read(pty.manager, 100)
    expected = {"pgid": process.pid, "sid": process.pid, "tty": device, "tpgid": process.pid}
    found = session_of(process.pid)
    assert {name: found[name] for name in expected} == expected
    directory = f"/proc/{process.pid}/fd"
    files = {name: os.readlink(f"{directory}/{name}") for name in os.listdir(directory)}
    assert files == dict.fromkeys("012", pty.name)
    os.write(pty.manager, b"\\x04")  # the end of what is typed
    assert process.wait() == 0
    process.close()
""",
        way=way,
    )


def test_the_reader_sees_all_of_it_and_then_the_end(way: str) -> None:
    run(
        """
with nothing_left(), Pty(rows=40, columns=100) as pty:
    process = pty.spawn(["sh", "-c", "stty size; tty; seq 20000"])
    with raises(ValueError, f"the terminal side of {pty.name} is closed"):
        pty.terminal
    lines = output(pty.manager).split()
    assert lines == ["40", "100", pty.name, *map(str, range(1, 20001))]
    assert process.wait() == 0
    process.close()
""",
        way=way,
    )


def test_a_program_that_cant_be_started_leaves_it_as_it_was(way: str) -> None:
    run(
        """
with nothing_left(), Pty() as pty:
    fds = open_fds()
    for failing in [dict(argv=["no such program"]), dict(argv=["true"], cwd="/nowhere"), dict(argv=[]),
                    dict(argv=["true", "a\\0b"]), dict(argv=["true"], nonsense=1), dict(argv=["true"], setup=3)]:
        with raises((OSError, ValueError, TypeError)):
            pty.spawn(**failing)
        assert open_fds() == fds and children() == []
    pty.close_terminal()
    fds = open_fds()
    for failing in dict(argv=["no such program"]), dict(argv=["true"], cwd="/nowhere"), dict(argv=[]):
        with raises((OSError, ValueError)):
            pty.spawn(**failing)
        assert open_fds() == fds and children() == []
    with raises(ValueError):
        pty.terminal
    process = pty.spawn(["echo", "works"])
    assert output(pty.manager) == "works\\r\\n" and process.wait() == 0
    process.close()
""",
        way=way,
    )


def test_one_after_the_other_but_not_two_at_once() -> None:
    run("""
with Pty() as pty:
    for text in "first", "second":
        process = pty.spawn(["echo", text])
        assert output(pty.manager) == f"{text}\\r\\n" and process.wait() == 0
    process = pty.spawn(["cat"])
    fds = open_fds()
    with raises(PermissionError, f"{pty.name} is the controlling terminal of session {process.pid}",
                stage=setsid.Stage.CTTY):
        pty.spawn(["true"])
    assert open_fds() == fds and children() == [process.pid]
    os.write(pty.manager, b"\\x04")
    assert process.wait() == 0
""")


def test_what_is_said_of_a_program_holds() -> None:
    run("""
reader, writer = os.pipe()
with Pty() as pty:
    plan = ChildSetup(stdout=writer, stderr=setsid.STDOUT, cwd="/")
    script = "pwd; pwd >&2; tty; umask; echo $SAID"
    process = pty.spawn(["sh", "-c", script], plan, umask=0o27, env={"SAID": "yes", **os.environ})
    os.close(writer)
    with open(reader) as file:
        assert file.read().split() == ["/", "/", pty.name, "0027", "yes"]
    assert output(pty.manager) == "" and process.wait() == 0
    reader, writer = os.pipe()
    os.write(writer, b"passed")
    os.close(writer)
    process = pty.spawn(["cat"], pass_fds={0: reader})
    assert output(pty.manager) == "passed" and process.wait() == 0
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    process = pty.spawn(["cat"], pass_fds=[open(0, closefd=False)])
    assert output(pty.manager) == "" and process.wait() == 0
    process = pty.spawn(["sh", "-c", "echo $0"], executable="sh")
    assert output(pty.manager) == "sh\\r\\n" and process.wait() == 0
    with raises(ValueError, "ctty needs process_group=NEW_SESSION"):
        pty.spawn(["true"], process_group=setsid.INHERIT)
""")


def test_a_plan_takes_a_pty_where_it_takes_a_terminal() -> None:
    run("""
with nothing_left(), Pty() as pty:
    for terminal in pty, pty.terminal:
        plan = ChildSetup.on_terminal(terminal, cwd="/", stdin=setsid.DEVNULL)
        assert (plan.ctty, plan.stdin, plan.stdout, plan.cwd) == (terminal, setsid.DEVNULL, terminal, "/")
        assert plan.process_group is setsid.NEW_SESSION
        with setsid.spawn(["sh", "-c", "ps -o sid=,tty= -p $$; tty"], plan) as process:
            pass
        said = b""
        while said.count(b"\\n") < 2:
            said += os.read(pty.manager, 1000)
        assert said.split() == [b"%d" % process.pid, os.fsencode(pty.name[5:]), b"not", b"a", b"tty"]
    pty.close_terminal()
    with raises(ValueError, f"ctty: the terminal side of {pty.name} is closed"):
        setsid.spawn(["true"], ChildSetup.on_terminal(pty))
    with raises(TypeError, "tty must be a file descriptor or have fileno(), not str; open the file first"):
        ChildSetup.on_terminal("/dev/tty")
    with raises(TypeError, "tty must be a file descriptor or have fileno(), not NoneType"):
        ChildSetup.on_terminal(None)
""")


def test_closing_it_hangs_up_and_nothing_is_left() -> None:
    run("""
with nothing_left():
    with Pty() as pty:
        process = pty.spawn(["sh", "-c", "sleep 1000 & sleep 1000 & cat; exec sleep 1000"])
        session = setsid.Session(process.pid)
        os.write(pty.manager, b"started\\n")
        said = b""
        while said.count(b"started") < 2:  # the echo, and cat's
            said += os.read(pty.manager, 1000)
        pidfds = [os.pidfd_open(member.pid) for member in session.processes()]
        assert len(pidfds) == 4
    assert process.wait() == -signal.SIGHUP
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], 30)[0]
        os.close(pidfd)
    process.close()
""")


# -- closing


def test_it_is_closed_once_and_says_so() -> None:
    with nothing_left():
        pty = Pty()
        manager, terminal = pty.manager, pty.terminal
        with pty as same:
            assert same is pty
            pty.close_terminal()
            pty.close_terminal()
            assert terminal not in open_fds()
            assert manager in open_fds()
        pty.close()
        uses: list[Callable[[], object]] = [
            *(lambda: pty.manager, lambda: pty.size, lambda: pty.resize(1, 1), pty.detach),
            lambda: pty.spawn(["true"]),
        ]
        for use in uses:
            with pytest.raises(ValueError, match=f"^the manager side of {pty.name} is closed$"):
                use()
        for use in (lambda: pty.terminal, pty.fileno):
            with pytest.raises(ValueError, match=f"^the terminal side of {pty.name} is closed$"):
                use()


def test_it_is_closed_when_it_is_dropped() -> None:
    with nothing_left():
        pty = Pty()
        manager, terminal = pty.manager, pty.terminal
        del pty
        gc.collect()  # where it is not gone at once
        assert {manager, terminal}.isdisjoint(open_fds())


def test_it_is_closed_by_an_exception() -> None:
    with nothing_left(), pytest.raises(KeyboardInterrupt):
        with Pty():
            raise KeyboardInterrupt


# Each makes files with the numbers of `pty`, which somebody else has closed.
STRANGERS = {
    "files": "made = [os.open('/dev/null', os.O_RDWR) for _ in range(2)]",
    "pipe": "made = os.pipe()",
    "another Pty": "other = Pty(); made = other.manager, other.terminal",
    "openpty": "made = os.openpty()",
    "one of openpty": "made = os.openpty(); os.close(made[1]); os.open('/dev/null', os.O_RDONLY)",
    "another, swapped": "made = os.openpty(); os.dup2(made[0], 100); os.dup2(made[1], made[0]); os.dup2(100, made[1])",
}
WAYS_TO_CLOSE = ["pty.close()", "del pty", "pty.close_terminal()", "pty.__exit__(None, None, None)"]


@pytest.mark.parametrize("stranger", STRANGERS)
def test_it_closes_no_number_that_somebody_else_has_got(stranger: str) -> None:
    run(
        """
make, ways = sys.argv[1], sys.argv[2:]
for way in ways:
    for _ in range(1000):
        pty = Pty()
        name, numbers = pty.name, (pty.manager, pty.terminal)
        os.close(pty.manager)
        os.close(pty.terminal)
        exec(make)
        assert tuple(sorted(made)) == numbers
        if "openpty" not in make or name in map(os.readlink, [f"/proc/self/fd/{fd}" for fd in made]) or "null" in make:
            break  # else another process has got the terminal's number
        del pty
        for fd in made:
            os.close(fd)
    before = open_fds()
    exec(way)
    gc.collect()
    assert open_fds() == before, way
    if "other" in globals():
        assert (other.manager, other.terminal) == numbers
        other.close()
        assert not is_open(*numbers)
        del other
    else:
        for fd in made:
            os.close(fd)
""",
        STRANGERS[stranger],
        *WAYS_TO_CLOSE,
    )


def test_it_closes_no_terminal_that_somebody_else_has_opened_by_its_name() -> None:
    run("""
with nothing_left():
    pty = Pty()
    os.close(pty.terminal)
    terminal = os.open(pty.name, os.O_RDWR | os.O_NOCTTY)
    assert terminal == pty.terminal
    pty.close()
    assert is_open(terminal)
    os.close(terminal)
""")


def test_the_other_side_is_closed_when_one_is_somebody_elses() -> None:
    run("""
with nothing_left():
    pty = Pty()
    manager, terminal = pty.manager, pty.terminal
    os.close(terminal)
    reader, writer = os.pipe()
    assert terminal in (reader, writer)
    pty.close()
    assert is_open(reader, writer) and not is_open(manager)
    os.close(reader), os.close(writer)
""")


def test_what_is_not_its_own_any_more_can_do_nothing_wrong() -> None:
    run("""
pty = Pty()
manager = pty.manager
os.close(manager)
file = os.open("/dev/null", os.O_RDWR)
assert file == manager
with raises(OSError, f"file descriptor {file} is not a terminal", errno=errno.ENOTTY, call="ioctl(TIOCGWINSZ)"):
    pty.size
with raises(OSError, f"file descriptor {file} is not a terminal", errno=errno.ENOTTY, call="ioctl(TIOCSWINSZ)"):
    pty.resize(1, 1)
with raises(OSError, f"somebody else has closed file descriptor {file}, the manager side of {pty.name}",
            errno=errno.EBADF):
    pty.detach()
assert is_open(file)
os.close(file)
""")


@pytest.mark.skipif(ON_PYPY, reason="PyPy's profile functions are not told of C functions")
def test_one_that_is_closed_while_another_gets_its_numbers_leaves_them_alone() -> None:
    # As by another thread, or a garbage collector.
    run("""
def close(frame, event, argument):
    if event == "c_return" and argument.__name__ == "sid_open_pty":
        sys.setprofile(None)
        pty.close()

for _ in range(1000):
    pty = Pty()
    name, numbers = pty.name, (pty.manager, pty.terminal)
    for fd in numbers:
        os.close(fd)
    sys.setprofile(close)
    other = Pty()
    assert sys.getprofile() is None
    assert (other.manager, other.terminal) == numbers and is_open(*numbers)
    if other.name == name:
        break  # else another process has got the terminal's number
    other.close()
""")


def test_a_process_that_is_forked_while_others_are_opened_and_closed_can_do_so_too() -> None:
    run("""
import warnings
warnings.simplefilter("ignore")  # Python 3.12 and later: a fork with threads
over = threading.Event()
Pty().close()  # all that it imports is there

def work():
    while not over.is_set():
        Pty().close()

threads = [threading.Thread(target=work) for _ in range(2)]
for thread in threads:
    thread.start()
for _ in range(100):
    in_child(lambda: Pty().close())
over.set()
for thread in threads:
    thread.join()
""")


def test_no_copy_shares_it() -> None:
    with Pty() as pty:
        for one, name in (pty, "Pty"), (foreground_group(pty, 1), "foreground_group"):
            for make in copy.copy, copy.deepcopy, pickle.dumps:
                with pytest.raises(TypeError, match=f"a {name} can't be pickled or copied"):
                    make(one)


@pytest.mark.parametrize("use", ["pty.spawn(['sleep', '60'])", "pty.detach()", "pty.close()"])
def test_interrupted_at_any_point_it_loses_nothing(use: str) -> None:
    run(
        AT_ANY_POINT
        + """
with nothing_left():
    number = 1
    for is_open in True, False:
        while True:
            pty = Pty()
            if not is_open:
                pty.close_terminal()
            results = []
            interrupted = at(number, lambda: results.append(eval(sys.argv[1])), setsid.tty)
            pty.close()
            if not interrupted:
                break
            assert results == [] == children(), number
            number += 1
        for result in results:
            if isinstance(result, setsid.Process):
                result.end(0)
            elif result is not None:
                os.close(result)
        del pty, result, results
""",
        use,
    )


def test_detach_hands_the_manager_over() -> None:
    with nothing_left():
        pty = Pty()
        manager, terminal = pty.manager, pty.terminal
        assert pty.detach() == manager
        assert terminal not in open_fds()
        with pytest.raises(ValueError, match="the manager side"):
            pty.detach()
        pty.close()
        del pty
        assert manager in open_fds()
        os.close(manager)


def test_detach_with_a_program_on_it() -> None:
    run("""
with nothing_left():
    with Pty() as pty:
        process = pty.spawn(["echo", "still here"])
        manager = pty.detach()
    assert output(manager) == "still here\\r\\n" and process.wait() == 0
    os.close(manager)
    process.close()
""")


def test_what_the_interpreter_drops_at_its_end_is_dropped_quietly() -> None:
    source = """
import sys, threading
from setsid.tty import Pty, foreground_group
class Cycle: pass
cycle = Cycle(); cycle.itself, cycle.pty, cycle.group = cycle, Pty(), foreground_group(0, 1)
sys.modules["kept"] = Pty()
threading.main_thread().pty = Pty()
pty = Pty()
"""
    done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", source], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# -- what fails


def test_no_file_is_left_when_there_is_no_room_for_the_second() -> None:
    run("""
import resource
pty = Pty()
pty.close_terminal()
before = open_fds()
reader, writer = os.pipe()  # the highest numbers
os.close(writer)
for room, call in (0, "open"), (1, "ioctl(TIOCGPTPEER)"):
    limit = writer + room
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, 4096))
    with raises(OSError, f"this process may have {limit} open files (RLIMIT_NOFILE)", errno=errno.EMFILE, call=call):
        Pty()
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    assert open_fds().keys() == before.keys() | {reader}
resource.setrlimit(resource.RLIMIT_NOFILE, (writer, 4096))
with raises(OSError, "RLIMIT_NOFILE", errno=errno.EMFILE, call="ioctl(TIOCGPTPEER)"):
    pty.spawn(["true"])
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
assert open_fds().keys() == before.keys() | {reader}
""")


# In a mount namespace: an own /dev, in which the file system of /dev/ptmx is not mounted at /dev/pts.
OWN_DEV = """
def sh(script):
    assert os.system(script) == 0, script
sh("mount -t tmpfs none /mnt && mkdir /mnt/mine /mnt/pts && cp -a /dev/null /dev/tty /dev/urandom /mnt/")
sh("mount -t devpts -o newinstance,ptmxmode=666,max=3 none /mnt/mine && ln -s mine/ptmx /mnt/ptmx")
if sys.argv[1] == "another":
    sh("mount -t devpts -o newinstance,ptmxmode=666 none /mnt/pts")
sh("mount --move /mnt /dev")
"""


def in_mount_namespace(need: Callable[..., str], source: str, *args: object) -> None:
    wrapper = (need("unshare"), "--mount", "--propagation", "private")
    result = fresh(START + source, *args, wrapper=wrapper, check=False)
    if "unshare failed" in result.stderr:
        pytest.skip(f"no mount namespace here: {result.stderr}")
    assert (result.returncode, result.stderr) == (0, ""), result.stderr


@needs_admin
@pytest.mark.parametrize("mounted", ["nothing", "another"])
def test_it_works_without_its_file_system_at_dev_pts(need: Callable[..., str], mounted: str) -> None:
    in_mount_namespace(
        need,
        OWN_DEV
        + """
with nothing_left():
    with Pty(rows=30, columns=90) as pty:
        assert pty.size == (30, 90) and pty.name == "/dev/pts/0"
        assert not os.path.exists(pty.name)
        device = os.fstat(pty.terminal).st_rdev
        for _ in range(2):  # the second time the terminal is opened anew
            process = pty.spawn(["sh", "-c", "stty size; read line; echo $line"])
            assert session_of(process.pid)["tty"] == device
            os.write(pty.manager, b"typed\\n")
            assert sorted(output(pty.manager).split()) == ["30", "90", "typed", "typed"] and process.wait() == 0
            process.close()
    pty = Pty()
    setsid.acquire_ctty(pty)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with setsid.tty.foreground_group(pty, os.getpgrp()):
        tcgetpgrp = setsid.tcgetpgrp(pty)
    assert tcgetpgrp == os.getpgrp() == setsid.tcgetpgrp(pty)
    pty.close()
# The limit of this one file system.
ptys = [Pty(), Pty(), Pty()]
fds = open_fds()
with raises(OSError, errno=errno.ENOSPC, call="open", hint=None):
    Pty()
assert open_fds() == fds
""",
        mounted,
    )


@needs_admin
def test_it_is_closed_and_used_when_its_file_system_has_gone_meanwhile(need: Callable[..., str]) -> None:
    in_mount_namespace(
        need,
        """
before = open_fds()
pty, other = Pty(), Pty()
numbers = [pty.manager, pty.terminal, other.manager, other.terminal]
assert os.system("umount --lazy /dev/pts") == 0
while os.path.ismount("/dev/pts"):  # what lay below
    assert os.system("umount --lazy /dev/pts") == 0
process = pty.spawn(["echo", "said"])
assert output(pty.manager) == "said\\r\\n" and process.wait() == 0
process.close()
if not os.path.islink("/dev/ptmx"):
    gone = "nothing is mounted at /dev/pts"
    with raises(OSError, gone, errno=errno.ENODEV, call="ioctl(TIOCGPTPEER)"):
        pty.spawn(["true"])
    with raises(OSError, gone, errno=errno.ENODEV, call="open", filename="/dev/ptmx"):
        Pty()
pty.close()
other.close()
assert open_fds() == before
""",
    )


@needs_admin
def test_the_hint_when_there_are_no_more(need: Callable[..., str]) -> None:
    in_mount_namespace(
        need,
        OWN_DEV
        + """
ptys = [Pty(), Pty(), Pty()]
sh("mount -t tmpfs none /proc/sys/kernel/pty && cd /proc/sys/kernel/pty && echo 2 >nr; echo 4 >max; echo 2 >reserve")
with raises(OSError, "2 pseudo-terminals are in use, of 4 (/proc/sys/kernel/pty/max)", errno=errno.ENOSPC):
    Pty()
sh("rm /dev/ptmx && ln -s pts/ptmx /dev/ptmx")
with raises(FileNotFoundError, "nothing is mounted at /dev/pts", filename="/dev/ptmx"):
    Pty()
sh("rm /dev/ptmx")
with raises(FileNotFoundError, hint=None):
    Pty()
""",
        "nothing",
    )


# -- forks and threads


def test_a_forked_child_has_files_of_its_own() -> None:
    run("""
with nothing_left(), Pty() as pty:
    def child():
        with pty:
            os.write(pty.terminal, b"from the child\\n")
        assert not is_open(*numbers)
        with Pty() as own:
            process = own.spawn(["echo", "works"])
            assert output(own.manager) == "works\\r\\n" and process.wait() == 0
    numbers = pty.manager, pty.terminal
    in_child(child)
    assert is_open(*numbers) and pty.size == (24, 80)
    assert os.read(pty.manager, 100) == b"from the child\\r\\n"
    process = pty.spawn(["cat"])
    in_child(pty.close)  # hangs nobody up
    os.write(pty.manager, b"here\\n\\x04")
    assert output(pty.manager).split() == ["here", "here"] and process.wait() == 0
    process.close()
""")


def test_threads_have_each_their_own() -> None:
    run("""
failures = []

def work(number):
    try:
        for turn in range(15):
            with Pty(rows=number + 1) as pty:
                process = pty.spawn(["echo", f"{number} {turn}"])
                assert output(pty.manager) == f"{number} {turn}\\r\\n"
                assert process.wait() == 0 and pty.size.rows == number + 1
                process.close()
    except BaseException as error:
        failures.append(error)

with nothing_left():
    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
""")


def test_threads_that_close_it_at_once_close_it_once() -> None:
    run("""
start, done = threading.Barrier(3), threading.Barrier(3)
failures = []

def close():
    while True:
        start.wait()
        if pty is None:
            return
        pty.close()
        done.wait()

threads = [threading.Thread(target=close) for _ in range(2)]
with nothing_left():
    for turn in range(500):
        pty = Pty()
        if turn == 0:
            for thread in threads:
                thread.start()
        start.wait()
        files = [os.open("/dev/null", os.O_RDONLY) for _ in range(4)]  # may get the numbers at once
        done.wait()
        for file in files:
            os.close(file)  # EBADF if it was closed twice
    pty = None
    start.wait()
    for thread in threads:
        thread.join()
""")


def test_two_hundred_at_once() -> None:
    run("""
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
with nothing_left():
    ptys = [Pty() for _ in range(200)]
    assert len({pty.name for pty in ptys}) == 200
    processes = [pty.spawn(["cat"]) for pty in ptys]
    assert len({session_of(process.pid)["tty"] for process in processes}) == 200
    for number, pty in enumerate(ptys):
        os.write(pty.manager, b"%d\\n" % number)
    for number, pty in enumerate(ptys):
        said = b""
        while said.count(b"\\n") < 2:
            said += os.read(pty.manager, 100)
        assert said == b"%d\\r\\n" % number * 2, said
    for pty in ptys:
        pty.close()
    for process in processes:
        assert process.wait() in (-signal.SIGHUP, 1)  # the kernel wakes who reads, by EIO, before it sends the signal
        process.close()
""")


# -- the module


def test_importing_it_loads_nothing_slow() -> None:
    source = """
import sys
slow = "typing", "signal", "subprocess", "dataclasses", "inspect", "termios", "pty"
before = set(sys.modules)
import setsid.tty
print(*sorted((set(sys.modules) - before) & set(slow)))
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _with_path(source)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def _with_path(source: str) -> str:
    return f"import sys; sys.path[:0] = {[path for path in sys.path if re.search('site-packages', path)]!r}\n{source}"


def test_all_names_what_is_public() -> None:
    assert setsid.tty.__all__ == ["Pty", "WindowSize", "foreground_group"]
    assert setsid.tty.Pty.__module__ == "setsid.tty"
    assert tty.__name__ == "tty"  # the standard one is not hidden by ours
