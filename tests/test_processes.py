"""ProcessInfo: what is read of a process, against what /proc says in other words."""

from __future__ import annotations

import os
import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from family import run
from looking import DEVICE, LOOK, in_namespace, scenario
from setsid import ProcessInfo

# For a helper: what /proc says of a process, read in other ways.
FACTS = """
def raw(pid, name):
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()

def stat(pid):
    return raw(pid, "stat").rpartition(b") ")[2].split()

def check(pid):
    found, fields, facts = info(pid), stat(pid), status(pid)
    assert found.pid == pid
    assert (found.ppid, found.pgid, found.sid) == tuple(int(field) for field in fields[1:4])
    assert found.ppid == int(facts["PPid"])
    assert (found.pgid, found.sid) == (os.getpgid(pid), os.getsid(pid))
    assert found.uid == int(facts["Uid"].split()[1])
    assert os.fsencode(found.comm) == raw(pid, "comm")[:-1]
    assert [os.fsencode(word) for word in found.args] == raw(pid, "cmdline").split(b"\\0")[:-1]
    assert found.foreground_pgid == (None if fields[5] == b"-1" else int(fields[5]))
    assert (found.tty is None) == (fields[4] == b"0")
    assert found.is_kernel_thread is False
    return found
"""

# For a helper: a program that does nothing with its arguments, until its stdin ends.
IDLE = """
def idle(*argv, **changes):
    return setsid.spawn(list(argv), executable="/bin/sh", stdin=lifeline[0], **changes)

def until_begun(pid):
    "A program has no arguments for a moment: the kernel lets spawn return before they are where they can be read."
    until(lambda: raw(pid, "cmdline"))

def args(*argv, **changes):
    process = idle(*argv, **changes)
    until_begun(process.pid)
    try:
        return check(process.pid).args
    finally:
        process.kill()
        process.wait()
        process.close()
"""


# -- all of it


def test_everything_is_as_proc_says() -> None:
    scenario(
        FACTS
        + """
import fcntl, termios
manager, terminal = os.openpty()
other, apart, plain = [Actor() for _ in range(3)]
def family():
    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
    other.fork(own_group)
    apart.fork(os.setsid)
    plain.fork(lambda: fcntl.ioctl(terminal, termios.TIOCNOTTY, 0))
sid = actor(family)
for each in sid, other.up(), apart.up(), plain.up():
    assert check(each.pid).state in "RS"
found = check(sid.pid)
assert (found.tty, found.foreground_pgid) == (os.ttyname(terminal), sid.pid)
assert (check(other.pid).ppid, check(other.pid).pgid, check(other.pid).sid) == (sid.pid, other.pid, sid.pid)
assert check(os.getpid()).args[-1] == sys.argv[-1]
""",
        "last",
    )


def test_it_is_a_tuple_that_is_not_changed() -> None:
    scenario("""
import copy, pickle
found = info(os.getpid())
assert isinstance(found, tuple) and type(found) is ProcessInfo
assert ProcessInfo.__module__ == "setsid" and repr(found).startswith(f"ProcessInfo(pid={os.getpid()}, ppid=")
for name in "pid", "args", "other":
    with raises(AttributeError):
        setattr(found, name, 1)
for number in range(pickle.HIGHEST_PROTOCOL + 1):
    again = pickle.loads(pickle.dumps(found, number))
    assert again == found and type(again) is ProcessInfo and again._asdict() == found._asdict()
assert copy.deepcopy(found) == copy.copy(found) == found
assert {found: 1}[again] == 1 and type(found.args) is tuple
assert found._replace(pid=1).pid == 1 and found.pid == os.getpid()
""")


def test_its_fields_are_the_documented_ones() -> None:
    assert ProcessInfo._fields == (
        *("pid", "ppid", "pgid", "sid", "tty", "state", "comm", "args", "start_time"),
        *("foreground_pgid", "uid", "is_kernel_thread"),
    )
    info = ProcessInfo(1, 0, 0, 0, None, "S", "\udcff", (), 0.0, None, None, False)
    assert pickle.loads(pickle.dumps(info)) == info


# -- its name


def test_a_name_may_hold_anything() -> None:
    scenario(
        FACTS
        + r"""
names = [
    b"", b" ", b"a b", b" a ", b"(", b")", b"()", b"a)", b"(a", b"a) R 1 2 3 (b", b") S 1 1 1 1",
    b"))))))))))))))))"[:15],
    b"\n", b"a\nb", b"\n\n", b"\\", b"\\n", b"a\\nb", b"\\\\n", b"\\\n", b"\n\\n", b"\\\\\\\\\\\\\\\\\\\\\\\\\\\\\\",
    b"\n" * 15, b"\t\r\v\x1b\x07\x01", b"\x7f", b"\"'", b"\\040", b"\\x20", b"%s%n",
    b"\xff", b"\xff\xfe\x80", b"\xc3", "üöä€".encode(), b"\xff" * 15, b"a" * 14 + b")", b"123456789012345",
]
for name in names:
    assert libc.prctl(15, name, 0, 0, 0) == 0  # PR_SET_NAME
    assert raw("self", "comm") == name + b"\n"
    assert os.fsencode(check(os.getpid()).comm) == name
assert libc.prctl(15, b"1234567890123456", 0, 0, 0) == 0
assert check(os.getpid()).comm == "123456789012345"
"""
    )


def test_a_name_is_that_of_the_program_and_no_longer_than_15_bytes(tmp_path: Path) -> None:
    program = tmp_path / "a (long) name\nof a program"
    program.symlink_to("/bin/sh")
    scenario(
        FACTS
        + """
with setsid.spawn([sys.argv[1]], stdin=lifeline[0]) as process:
    until(lambda: raw(process.pid, "cmdline"))
    assert check(process.pid).comm == "a (long) name\\no"
    process.kill()
""",
        program,
    )


# -- its arguments


def test_arguments_may_hold_anything() -> None:
    scenario(
        FACTS
        + IDLE
        + r"""
run = ("sh", "-c", "read x")
for more in [
    (), ("",), ("", ""), ("", "a", ""), ("a", "", "", ""), ("\n", "a\nb", " ", "a b", "\t"), ("\\n", "\\0", "\\"),
    ("\udcff\udcfe", "ü", "\udcc3"), ("(", ")"), ("\x01\x1b[0m",), ("=",),
]:
    assert args(*run, *more) == (*run, *more)
assert args("", "-c", "read x", "") == ("", "-c", "read x", "")
assert args("\n", "-c", "read x")[0] == "\n"
"""
    )


@pytest.mark.parametrize("length", [4095, 4096, 4097, 5000, 100_000, 131_071])
def test_a_long_argument_is_told_in_full(length: int) -> None:
    scenario(
        FACTS
        + IDLE
        + """
long = "x" * int(sys.argv[1])
assert args("sh", "-c", "read x", long, "end") == ("sh", "-c", "read x", long, "end")
""",
        length,
    )


@pytest.mark.parametrize("size", [2**18 - 1, 2**18, 2**18 + 1, 2**18 + 2, 1_100_000])
def test_more_arguments_than_there_is_room_for_at_first(size: int) -> None:
    # The room is for all of a session's arguments together. Of each process 256 KiB are read: it may claim to have any.
    scenario(
        FACTS
        + IDLE
        + """
size = int(sys.argv[1])
words = ["sh", "-c", "read x", *["word"] * (size // 10)]
words.append("x" * (size - sum(len(word) + 1 for word in words) - 1))
while len(words[-1]) > 100_000:
    last = words.pop()
    words += [last[:90_000], last[90_001:]]
assert sum(len(word) + 1 for word in words) == size
expected = tuple("".join(word + "\\0" for word in words)[:2**18].removesuffix("\\0").split("\\0"))
assert (expected == tuple(words)) == (size <= 2**18 + 1)  # the NUL behind the last one is no loss
members = [idle(*words, process_group=setsid.INHERIT) for _ in range(3)]
for member in members:
    until_begun(member.pid)
found = {process.pid: process for process in Session(os.getsid(0)).processes()}
for member in members:
    assert found[member.pid].args == expected
    member.kill()
    member.wait()
assert found[os.getpid()].args[0] == sys.executable
""",
        size,
    )


def test_a_program_without_any_argument_has_an_empty_one() -> None:
    # Linux 5.18 and later give it one, so that it does not take its environment for arguments.
    scenario(
        FACTS
        + """
reader, writer = os.pipe2(os.O_CLOEXEC)
pid = os.fork()
if pid == 0:
    os.dup2(lifeline[0], 0)
    nothing = (ctypes.c_char_p * 1)(None)
    libc.execve(b"/bin/sh", nothing, nothing)
    os.write(writer, b"!")
    os._exit(1)
os.close(writer)
assert os.read(reader, 1) == b""
until(lambda: raw(pid, "cmdline"))
assert check(pid).args == ("",)
os.kill(pid, signal.SIGKILL)
reap(pid)
"""
    )


def test_arguments_that_a_program_has_erased_are_none() -> None:
    run(
        LOOK
        + FACTS
        + """
import struct
fields = [int(field) for field in stat("self")[1:49]]
libc.sbrk.restype = ctypes.c_void_p
brk, (start_code, end_code, stack), (start_data, end_data, start_brk, start, end, *environment) = (
    libc.sbrk(0), fields[22:25], fields[41:48])
places = [start_code, end_code, start_data, end_data, start_brk, brk, stack, start, start, *environment]
assert raw("self", "cmdline")
if libc.prctl(35, 14, struct.pack("=12QIi", *places, 0, 0, -1), 104, 0) < 0:  # PR_SET_MM, PR_SET_MM_MAP
    print("SKIP: PR_SET_MM_MAP:", os.strerror(ctypes.get_errno()))
    sys.exit(0)
assert raw("self", "cmdline") == b""
assert check(os.getpid()).args == ()
"""
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("b'title'.ljust(size, bytes(1))", "('title', *[''] * (size - 6))"),
        ("b'a b c' + bytes(1) + b'd'.ljust(size - 6, bytes(1))", "('a b c', 'd', *[''] * (size - 8))"),
        ("bytes(size)", "('',) * size"),
        ("b'x' * size", "(('x' * size + beyond)[:4096],)"),
        ("b'a' + bytes(1) + b'x' * (size - 2)", "None"),
    ],
    ids=["padded", "two", "zeros", "up-to-the-environment", "hidden-behind-a-zero"],
)
def test_arguments_that_a_program_has_written_over_are_what_it_wrote(written: str, expected: str) -> None:
    scenario(
        FACTS
        + f"""
start, end = (int(field) for field in stat("self")[45:47])
size = end - start
beyond = ctypes.string_at(end).decode()  # the first of the environment
text = {written}
assert len(text) == size
ctypes.memmove(start, text, size)
found = info(os.getpid()).args
assert [os.fsencode(word) for word in found] == raw("self", "cmdline").removesuffix(bytes(1)).split(bytes(1))
assert found == ({expected} or found)
"""
    )


def test_a_zombie_has_no_arguments() -> None:
    scenario(
        FACTS
        + """
sid = leader()
sid.end()
found = check(sid.pid)
assert (found.args, found.state, found.comm) == ((), "Z", info(os.getpid()).comm)
assert (found.ppid, found.pgid, found.sid, found.uid) == (os.getpid(), sid.pid, sid.pid, os.geteuid())
"""
    )


# -- its start


def test_a_start_is_by_the_clock() -> None:
    scenario(
        FACTS
        + """
info(os.getpid())
for _ in range(5):
    before = time.time()
    sid = leader()
    after = time.time()
    assert before - 0.02 <= info(sid.pid).start_time <= after + 0.01
    ticks = int(stat(sid.pid)[19])
    with open("/proc/stat") as file:
        boot = next(int(line.split()[1]) for line in file if line.startswith("btime"))
    assert abs(boot + ticks / os.sysconf("SC_CLK_TCK") - info(sid.pid).start_time) < 1.5
"""
    )


def test_a_start_is_the_same_at_each_look() -> None:
    scenario("""
sid = leader()
starts = {info(sid.pid).start_time for _ in range(500)}
assert len(starts) == 1
# Nor does a scheduler change it that lets others run while the clocks are read.
real, times = time.time, []
def late():
    told = real()
    if len(times) in (0, 2):
        begun = time.monotonic()
        while time.monotonic() < begun + 1.1:
            pass
    times.append(told)
    return told
time.time = late
assert {info(sid.pid).start_time for _ in range(3)} == starts
# But a clock that is set does.
time.time = lambda: real() + 1000
assert abs(info(sid.pid).start_time - starts.pop() - 1000) < 1
""")


def test_those_born_later_have_started_later() -> None:
    scenario("""
made = []
for _ in range(3):
    made.append(leader())
    next_tick()
starts = [info(each.pid).start_time for each in made]
assert starts == sorted(set(starts))
""")


# -- its state


def test_states_of_a_process_that_runs_sleeps_stops_and_ends() -> None:
    scenario("""
sid = leader()
until(lambda: info(sid.pid).state == "S")
os.kill(sid.pid, signal.SIGSTOP)
os.waitid(os.P_PID, sid.pid, os.WSTOPPED)
assert info(sid.pid).state == "T"
os.kill(sid.pid, signal.SIGCONT)
until(lambda: info(sid.pid).state == "S")
sid.tell("while lifeline[0] not in select.select([lifeline[0]], [], [], 0)[0]:\\n  sum(range(100000))")
until(lambda: info(sid.pid).state == "R")
os.kill(sid.pid, signal.SIGKILL)
os.waitid(os.P_PID, sid.pid, os.WEXITED | os.WNOWAIT)
assert info(sid.pid).state == "Z"
assert info(os.getpid()).state == "R"
""")


def test_the_state_of_a_process_that_is_being_debugged() -> None:
    scenario("""
traced = Actor()
traced.fork(lambda: (libc.ptrace(0, 0, None, None), os.setsid()))  # PTRACE_TRACEME
traced.up()
os.kill(traced.pid, signal.SIGUSR1)
os.waitid(os.P_PID, traced.pid, os.WSTOPPED)
assert info(traced.pid).state == "t"
os.kill(traced.pid, signal.SIGKILL)
""")


def test_the_state_of_a_process_that_sleeps_in_the_kernel() -> None:
    # A parent that waits for its child of vfork to execute a program.
    run(
        LOOK
        + """
from hold import Hold
hold = Hold()
parent = Actor()
def spawn():
    hold.close()
    os.setsid()
parent.fork(spawn)
parent.up()
parent.tell("setsid.spawn(['true'], umask=0).wait()")
child = hold.wait()
until(lambda: info(parent.pid).state == "D")
found = info(child)
assert (found.ppid, found.args) == (parent.pid, info(parent.pid).args)
hold.let_go()
until(lambda: info(parent.pid).state == "S")
""",
        way="clone",
    )


@pytest.fixture(scope="module")
def headless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program whose main thread has ended while another lives: it looks like a zombie."""
    program = tmp_path_factory.mktemp("headless") / "headless"
    source = Path(__file__).resolve().parent / "native" / "headless.c"
    subprocess.run(["cc", "-pthread", str(source), "-o", str(program)], check=True)
    return program


def test_a_process_whose_main_thread_alone_has_ended_is_no_zombie(headless: Path) -> None:
    scenario(
        FACTS
        + """
job = Actor()
sid = actor(os.setsid)
sid.ask(f'''
if os.fork() == 0:
    os.setpgid(0, 0)
    os.dup2(lifeline[0], 0)
    os.execv({sys.argv[1]!r}, ["headless", "a b", ""])
''')
(pid,) = children_of(sid.pid)
until(lambda: status(pid)["State"].startswith("Z") and status(pid)["Threads"] == "2")
(other,) = {int(task) for task in os.listdir(f"/proc/{pid}/task")} - {pid}
with nothing_left():
    until(lambda: info(pid).state == "S")
    found = info(pid)
assert (found.pid, found.ppid, found.pgid, found.sid) == (pid, sid.pid, pid, sid.pid)
assert (found.comm, found.args) == ("headless", ("headless", "a b", ""))
assert pids(Session(sid.pid).processes()) == sorted([sid.pid, pid])
assert Session(sid.pid).orphaned_groups() == {sid.pid}  # the kernel counts it as living too
os.kill(pid, signal.SIGSTOP)
until(lambda: info(pid).state == "T")
os.kill(pid, signal.SIGKILL)
until(lambda: status(pid)["Threads"] == "1")
assert (info(pid).state, info(pid).args) == ("Z", ())
assert Session(sid.pid).orphaned_groups() == {sid.pid, pid}
""",
        headless,
    )


# -- its user


def test_the_user_is_the_effective_one() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can have several users")
    scenario(
        FACTS
        + """
sid = leader()
assert check(sid.pid).uid == 0
sid.ask("os.setresuid(65531, 65532, 65533)")
assert check(sid.pid).uid == 65532
"""
    )


def test_the_user_of_a_process_that_nobody_may_look_into() -> None:
    scenario(
        FACTS
        + """
sid = leader()
if os.geteuid() == 0:
    sid.ask("os.setresuid(65534, 65534, 65534)")
uid = int(status(sid.pid)["Uid"].split()[1])
sid.ask("assert libc.prctl(4, 0, 0, 0, 0) == 0")  # PR_SET_DUMPABLE
assert os.stat(f"/proc/{sid.pid}/stat").st_uid == 0
assert check(sid.pid).uid == uid
"""
    )


def test_a_look_of_an_ordinary_user_tells_the_same_of_root(need: Callable[..., str]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    scenario(
        FACTS
        + """
sid = leader()
until(lambda: info(sid.pid).state == "S")
expected = info(sid.pid)
become_nobody()
assert info(sid.pid) == expected
assert expected.uid == 0
"""
    )


# -- names of terminals

NAMES = """
def names():
    return {(major, minor): terminal_path(device(major, minor)) for major, minor in [
        (0, 0), (4, 0), (4, 1), (4, 63), (4, 64), (4, 65), (4, 255), (5, 1),
        (136, 0), (136, 255), (136, 256), (136, 300), (136, 1048575), (137, 5), (143, 255), (144, 0),
        (188, 0), (204, 64), (4095, 0), (4095, 1048575)]}

PTS = {
    (0, 0): None, (136, 0): "/dev/pts/0", (136, 255): "/dev/pts/255", (136, 256): "/dev/pts/256",
    (136, 300): "/dev/pts/300", (136, 1048575): "/dev/pts/1048575", (137, 5): "/dev/pts/261",
    (143, 255): "/dev/pts/2047", (144, 0): None, (4095, 0): None, (4095, 1048575): None}
"""


def test_names_of_terminals_are_the_drivers_own(need: Callable[..., str]) -> None:
    # In a /sys of our own making.
    in_namespace(
        need,
        DEVICE
        + NAMES
        + """
assert libc.mount(b"none", b"/sys", b"tmpfs", 0, None) == 0
os.makedirs("/sys/dev/char")
drivers = {"4:0": "tty0", "4:1": "tty1", "4:64": "ttyS0", "5:1": "console", "188:0": "ttyUSB0", "204:64": "ttyAMA0",
           "4:65": "x" * 100, "4:255": "3270!tty1", "144:0": "plain", "136:0": "not-this"}
for number, name in drivers.items():
    os.symlink(name if name == "plain" else f"../../devices/some/where/{name}", f"/sys/dev/char/{number}")
assert names() == PTS | {
    (4, 0): "/dev/tty0", (4, 1): "/dev/tty1", (4, 63): "/dev/tty63", (4, 64): "/dev/ttyS0",
    (4, 65): "/dev/" + "x" * 100,
    (4, 255): "/dev/3270/tty1", (5, 1): "/dev/console", (144, 0): "/dev/plain", (188, 0): "/dev/ttyUSB0",
    (204, 64): "/dev/ttyAMA0"}
""",
    )


def test_names_of_terminals_where_there_is_no_sys(need: Callable[..., str]) -> None:
    in_namespace(
        need,
        DEVICE
        + NAMES
        + """
assert libc.mount(b"none", b"/sys", b"tmpfs", 0, None) == 0
assert names() == PTS | {
    (4, 0): "/dev/tty0", (4, 1): "/dev/tty1", (4, 63): "/dev/tty63", (4, 64): "/dev/ttyS0", (4, 65): "/dev/ttyS1",
    (4, 255): "/dev/ttyS191", (5, 1): "/dev/console", (188, 0): None, (204, 64): None}
""",
    )


def test_names_of_this_systems_terminals() -> None:
    scenario(
        DEVICE
        + """
import stat
compared = 0
for name in os.listdir("/sys/class/tty") if os.path.isdir("/sys/class/tty") else []:
    with open(f"/sys/class/tty/{name}/dev") as file:
        major, minor = map(int, file.read().split(":"))
    assert terminal_path(device(major, minor)) == f"/dev/{name}"
    compared += 1
manager, terminal = os.openpty()
number = os.fstat(terminal).st_rdev
assert terminal_path(device(os.major(number), os.minor(number))) == os.ttyname(terminal)
""",
    )


def test_a_terminal_without_a_name_is_none_but_is_in_the_foreground_of_a_group(need: Callable[..., str]) -> None:
    scenario("""
import fcntl, termios
for number in range(300):  # more than the 256 that once had a device number's second half
    pairs = globals().setdefault("pairs", [])
    pairs.append(os.openpty())
terminal = pairs[-1][1]
sid = actor(lambda: (os.setsid(), fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)))
assert int(os.ttyname(terminal).rpartition("/")[2]) >= 299
assert Session(sid.pid).ctty == info(sid.pid).tty == os.ttyname(terminal)
""")


# -- what the system hides


@pytest.mark.parametrize("hidepid", ["1", "2", "4"])
def test_who_is_hidden_is_found_all_the_same(need: Callable[..., str], hidepid: str) -> None:
    in_namespace(
        need,
        """
job, = [Actor()]
def family():
    os.setsid()
    job.fork(own_group)
sid = actor(family)
job.up()
sid.ask("start_threads(3)")
mine = setsid.spawn(["sh", "-c", "read x"], stdin=lifeline[0], user=65534, group=65534, extra_groups=[])
until(lambda: {process.state for process in Session(sid.pid).processes()} == {"S"})
before = Session(sid.pid).processes()
hide(sys.argv[1])
assert Session(sid.pid).processes() == before  # nothing is hidden from root

child = os.fork()
if child == 0:
    os.setsid()
    become_nobody()
    with raises((PermissionError, FileNotFoundError)):
        open(f"/proc/{sid.pid}/stat").close()
    with nothing_left():
        found = Session(sid.pid).processes()
        hidden = {"ppid": 0, "sid": sid.pid, "tty": None, "state": "?", "comm": "", "args": (), "start_time": 0.0,
                  "foreground_pgid": None, "is_kernel_thread": False}
        for process in found:
            assert process._asdict() | hidden == process._asdict()
            assert process.uid == (0 if sys.argv[1] == "1" else None)
        assert [(process.pid, process.pgid) for process in found] == [(sid.pid, sid.pid), (job.pid, job.pid)]
        assert {pgid: pids(found) for pgid, found in Session(sid.pid).groups().items()} == {
            sid.pid: [sid.pid], job.pid: [job.pid]}
        assert Session(sid.pid).leader == found[0]
        assert [session.sid for session in sessions()] == sorted([sid.pid, mine.pid, os.getpid()])
        own = info(os.getpid())
        assert (own.state, own.uid, own.args) == ("R", 65534, info(os.getpid()).args) and own.args and own.start_time
        assert pids(Session(0).processes()) == [1]
        (other,) = Session(mine.pid).processes()
        assert (other.pid, other.uid, other.ppid, other.comm) == (mine.pid, 65534, 1, "sh") and other.state in "RS"
    os._exit(0)
assert reap(child) == 0
mine.kill()
mine.wait()
""",
        hidepid,
    )


@pytest.mark.parametrize("hidepid", ["2", "4"])
def test_who_is_hidden_is_found_though_process_1_is_not_hidden(need: Callable[..., str], hidepid: str) -> None:
    # As in a container whose first process is an ordinary user's.
    in_namespace(
        need,
        """
sid = leader()
hide(sys.argv[1])
become_nobody()
assert libc.prctl(4, 1, 0, 0, 0) == 0  # PR_SET_DUMPABLE, as an exec would
assert os.geteuid() == os.stat("/proc/1").st_uid
assert pids(Session(sid.pid).processes()) == [sid.pid]
assert sessions() == [Session(sid.pid)]
""",
        hidepid,
    )


@pytest.mark.parametrize("free", [1, 2, 3])
def test_threads_of_the_hidden_are_no_processes_for_want_of_files(need: Callable[..., str], free: int) -> None:
    in_namespace(
        need,
        """
import resource
sid = leader()
sid.ask("start_threads(3)")
hide("2")
child = os.fork()
if child == 0:
    become_nobody()
    session = Session(sid.pid)
    session.processes()
    from setsid._processes import look_fully
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    take_files(int(sys.argv[1]))
    try:
        found = pids(session.processes())
    except OSError as error:
        assert error.errno == errno.EMFILE
        found = [sid.pid]
    assert found == [sid.pid], found
    try:
        assert pids(look_fully(lib.SID_SCOPE_SESSION, sid.pid)[0]) == [sid.pid]
    except OSError as error:
        assert (error.errno, sys.argv[1]) == (errno.EMFILE, "1")
    os._exit(0)
assert reap(child) == 0
""",
        free,
    )


def test_threads_of_the_hidden_are_no_processes_where_there_is_no_pidfd(need: Callable[..., str]) -> None:
    # As on Linux 5.2, and where a container's filter has no idea of pidfd_open.
    in_namespace(
        need,
        """
import struct
sid = leader()
sid.ask("start_threads(3)")
hide("2")
child = os.fork()
if child == 0:
    # Load the number; if it is pidfd_open's: ENOSYS, else: allow. bpf(2), seccomp(2)
    lines = (0x20, 0, 0, 0), (0x15, 0, 1, 434), (0x06, 0, 0, 0x00050000 | errno.ENOSYS), (0x06, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("@HP", len(lines), ctypes.addressof(code))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
        print("SKIP: no seccomp here:", os.strerror(ctypes.get_errno()))
        os._exit(0)
    become_nobody()
    with raises(OSError, errno=errno.ENOSYS):
        os.pidfd_open(os.getpid())
    assert pids(Session(sid.pid).processes()) == [sid.pid]
    os._exit(0)
assert reap(child) == 0
""",
    )
