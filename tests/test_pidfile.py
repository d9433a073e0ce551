"""PidFile: the lock tells who runs, and nobody can lay a trap."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios import RAISES
from setsid import SystemCallError
from setsid.daemon import PidFile
from support import ON_PYPY, fresh


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "it.pid"


@pytest.fixture
def root() -> None:
    if os.geteuid() != 0:
        pytest.skip("files of another user need root")


# What a second process does with sys.argv[1].
OTHER = RAISES + "from setsid.daemon import PidFile\nfile = PidFile(sys.argv[1])\n"


def test_it_holds_one_pid_and_a_newline_and_goes_with_its_owner(path: Path) -> None:
    file = PidFile(path)
    assert file.owner() is None
    assert not path.exists()
    with file:
        assert path.read_bytes() == b"%d\n" % os.getpid()
        assert file.owner() == PidFile(os.fsencode(path)).owner() == os.getpid()
        assert not os.get_inheritable(file.fileno())
        assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()
        file.write(4321)
        assert path.read_bytes() == b"4321\n"
        assert file.owner() == 4321
    assert not path.exists()
    assert file.owner() is None


def _umask() -> int:
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith("Umask")]
    return int(line.split()[1], 8)


def test_a_second_one_is_refused_and_told_who_runs(path: Path) -> None:
    with PidFile(path) as file:
        first = path.stat()
        with pytest.raises(BlockingIOError, match=f"already running as pid {os.getpid()}$") as caught:
            PidFile(path).acquire()
        assert isinstance(caught.value, SystemCallError)
        assert (caught.value.call, caught.value.filename) == ("fcntl(F_OFD_SETLK)", str(path))
        fresh(
            OTHER
            + """
assert file.owner() == int(sys.argv[2])
with nothing_left():
    with raises(BlockingIOError, f"already running as pid {sys.argv[2]}", hint=f"already running as pid {sys.argv[2]}"):
        file.acquire()
    file.release()
""",
            path,
            os.getpid(),
        )
        assert os.path.samestat(first, path.stat())
        assert file.owner() == os.getpid()
        with pytest.raises(RuntimeError, match="acquired already"):
            file.acquire()


@pytest.mark.parametrize("content", ["", "1\n", "99999999", " 12 \n"])
def test_a_file_that_was_left_over_is_taken_over(path: Path, content: str) -> None:
    """Whoever has the pid now: 1 is alive."""
    path.write_text(content)
    before = path.stat()
    file = PidFile(path)
    assert file.owner() is None
    with file:
        assert os.path.samestat(path.stat(), before)
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


@pytest.mark.parametrize("content", ["root:x:0:0\n", "12 34\n", "-5\n", "\0" * 10, "1" * 60 + "x" * 10])
def test_a_file_with_something_else_in_it_is_left_alone(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(FileExistsError, match="holds something else than a pid"):
        PidFile(path).acquire()
    assert path.read_text() == content
    assert PidFile(path).owner() is None


def test_links_are_refused(path: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("7\n")
    path.symlink_to(victim)
    for call in PidFile(path).acquire, PidFile(path).owner:
        with pytest.raises(OSError, match="it is a symbolic link") as caught:
            call()
        assert caught.value.errno == errno.ELOOP
    path.unlink()
    path.symlink_to(tmp_path / "nothing")
    with pytest.raises(OSError, match="it is a symbolic link"):
        PidFile(path).acquire()
    assert not (tmp_path / "nothing").exists()
    path.unlink()
    path.hardlink_to(victim)
    with pytest.raises(PermissionError, match="it has another name too"):
        PidFile(path).acquire()
    assert victim.read_text() == "7\n"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: os.mknod(path, 0o140600)])
def test_what_is_no_regular_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    make(path)
    with pytest.raises(OSError, match="open"):
        PidFile(path).acquire()
    assert path.exists()
    assert not path.is_file()


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize(("mode", "refused"), [(0o1777, True), (0o775, True), (0o755, False)])
def test_a_foreign_file_is_refused_where_others_may_write(path: Path, mode: int, refused: bool) -> None:
    path.write_text("1\n")
    os.chown(path, 65534, 65534)
    path.parent.chmod(mode)
    if refused:
        # In a sticky directory the kernel may refuse it first (fs.protected_regular).
        with pytest.raises(PermissionError, match=re.escape(f"'{path}' (open)")):
            PidFile(path).acquire()
        assert path.read_text() == "1\n"
    else:
        with PidFile(path) as file:
            assert file.owner() == os.getpid()


@pytest.mark.parametrize("path", ["", "a\0b", b"a\0b"])
def test_what_is_no_path_is_refused(path: str | bytes) -> None:
    with pytest.raises(ValueError, match="is no path of a file"):
        PidFile(path)


def test_other_bad_input(path: Path) -> None:
    with pytest.raises(TypeError):
        PidFile(3)  # type: ignore[arg-type]
    file = PidFile(path)
    for call in file.fileno, file.write:
        with pytest.raises(ValueError, match="is not acquired"):
            call()
    with pytest.raises(FileNotFoundError, match="open"):
        PidFile(path / "there").acquire()
    with file:
        for pid in 0, -1, 1 << 31:
            with pytest.raises(OverflowError):
                file.write(pid)
        with pytest.raises(TypeError):
            file.write("1")  # type: ignore[arg-type]
        assert file.owner() == os.getpid()
    file.release()


def test_its_path_is_that_of_the_time_when_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = PidFile("it.pid")
    monkeypatch.chdir("/")
    assert repr(file) == f"<PidFile '{tmp_path}/it.pid'>"
    with file:
        assert (tmp_path / "it.pid").exists()
        assert repr(file) == f"<PidFile '{tmp_path}/it.pid' acquired>"


def test_the_end_of_the_owner_ends_the_lock_whatever_it_leaves_behind(path: Path) -> None:
    """A killed owner leaves the file, a worker that it has forked, and a program that it has executed."""
    fresh(
        OTHER
        + """
import subprocess
reader, writer = os.pipe()
hold, release = os.pipe()
owner = os.fork()
if owner == 0:
    file.acquire()
    os.set_inheritable(hold, True)
    os.close(release)
    worker = os.fork()
    if worker == 0:
        assert file._fd < 0 and repr(file).endswith(".pid'>")
        file.release()  # does nothing: the file is not this process's
        os.write(writer, b"%d " % os.getpid())
        os.read(hold, 1)
        os._exit(0)
    program = subprocess.Popen(["/bin/cat"], stdin=hold)
    os.write(writer, b"%d " % program.pid)
    signal.pause()
os.close(hold)
said = b""
while said.count(b" ") < 2:
    said += os.read(reader, 100)
assert file.owner() == owner
os.kill(owner, signal.SIGKILL)
os.waitpid(owner, 0)
for pid in map(int, said.split()):
    os.kill(pid, 0)
assert file.owner() is None and os.path.exists(sys.argv[1])
with file:
    assert file.owner() == os.getpid()
os.close(release)
""",
        path,
    )


def test_what_is_released_between_the_look_and_the_lock_is_not_taken_for_the_file(path: Path) -> None:
    """The first one removes the file after the second has opened it, and a third makes a new one."""
    fresh(
        OTHER
        + """
from setsid import _pidfile
first, third = PidFile(sys.argv[1]), PidFile(sys.argv[1])
first.acquire()
lock, turns = _pidfile.lib.sid_lock, []
class Lib:
    def __getattr__(self, name):
        return getattr(real, name)
    def sid_lock(self, fd, byte):
        turns.append(byte)
        if len(turns) == 1:
            first.release()
            third.acquire()
            assert os.fstat(fd).st_nlink == 0
        return real.sid_lock(fd, byte)
real, _pidfile.lib = _pidfile.lib, Lib()
with nothing_left():
    with raises(BlockingIOError, f"already running as pid {os.getpid()}"):
        file.acquire()
assert third.owner() == os.getpid()
third.release()
""",
        path,
    )


def test_a_file_without_its_pid_yet_is_waited_for(path: Path) -> None:
    """The number that is in it is the one of before."""
    fresh(
        OTHER
        + """
import threading
from setsid._native import lib
with open(sys.argv[1], "w") as before:
    before.write("1\\n")
fd = os.open(sys.argv[1], os.O_RDWR)
assert lib.sid_lock(fd, 0) == 0
looked = threading.Event()
def write():
    looked.wait()
    os.ftruncate(fd, 0)
    os.pwrite(fd, b"77\\n", 0)
    assert lib.sid_lock(fd, 1) == 0
writer = threading.Thread(target=write)
writer.start()
is_locked = file._is_locked
def noticed(fd, byte):
    if byte == 1:
        looked.set()
    return is_locked(fd, byte)
PidFile._is_locked = lambda self, fd, byte: noticed(fd, byte)
assert file.owner() == 77
writer.join()
os.ftruncate(fd, 0)
with raises(BlockingIOError, "has written no pid"):
    file.owner()
os.close(fd)
assert file.owner() is None
""",
        path,
    )


def test_a_number_that_is_another_files_by_now_is_left_alone(path: Path, tmp_path: Path) -> None:
    fresh(
        OTHER
        + """
file.acquire()
fd = file.fileno()
os.close(fd)
victim = open(sys.argv[2], "w+")
victim.write("precious"), victim.flush()
os.dup2(victim.fileno(), fd)
with raises(ValueError, "somebody else has closed file descriptor"):
    file.write()
pid = os.fork()
if pid == 0:
    os.fstat(fd)
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
file.release()
assert os.fstat(fd) and victim.seek(0) == 0 and victim.read() == "precious"
""",
        path,
        tmp_path / "victim",
    )


@pytest.mark.usefixtures("root")
def test_what_may_not_be_removed_any_more_is_left_empty(path: Path) -> None:
    fresh(
        OTHER
        + """
os.chmod(os.path.dirname(sys.argv[1]), 0o755)
file.acquire()
seen = os.open(sys.argv[1], os.O_RDONLY)
os.setresuid(65534, 65534, 65534)
file.release()
assert (os.fstat(seen).st_size, os.fstat(seen).st_nlink) == (0, 1)
assert PidFile._owner_of(file, seen) is None
""",
        path,
    )


def test_a_full_disk_is_an_error_and_nothing_is_left(path: Path) -> None:
    fresh(
        OTHER
        + """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
with nothing_left():
    with raises(OSError, "(pwrite)", errno=errno.EFBIG):
        file.acquire()
assert not os.path.exists(sys.argv[1])
""",
        path,
    )


def test_of_many_at_once_one_gets_it(path: Path) -> None:
    """Again and again, while each owner removes it as another one looks."""
    fresh(
        OTHER
        + """
reader, writer = os.pipe()
def compete():
    for turn in range(100):
        try:
            with PidFile(sys.argv[1]) as mine:
                assert mine.owner() == os.getpid()
                inside = os.open(sys.argv[1] + ".inside", os.O_CREAT | os.O_EXCL)  # or two are
                os.unlink(sys.argv[1] + ".inside")
                os.close(inside)
                os.write(writer, b".")
        except BlockingIOError as error:
            assert "already running as pid" in error.hint, error
pids = []
for _ in range(8):
    pid = os.fork()
    if pid == 0:
        try:
            compete()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\\n".encode())
            os._exit(1)
    pids.append(pid)
os.close(writer)
won = 0
while part := os.read(reader, 1000):
    won += len(part)
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 8
assert won >= 8 and not os.path.exists(sys.argv[1])
""",
        path,
    )


@pytest.mark.skipif(ON_PYPY, reason="os.open of PyPy calls fcntl too, which is made to fail here")
def test_systems_without_locks_of_open_files_use_flock(path: Path, need: Callable[..., str]) -> None:
    path.touch()
    inject = (need("strace"), "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", "inject=fcntl:error=EINVAL")
    fresh(
        OTHER
        + """
other = PidFile(sys.argv[1])
assert file.owner() is None
with file:
    assert other.owner() == os.getpid()
    with raises(BlockingIOError, f"already running as pid {os.getpid()}"):
        other.acquire()
    assert file.owner() == os.getpid()
    # Locks of the kind that there is not do not show here: it was flock that has told.
    assert os.waitpid(os.spawnlp(os.P_NOWAIT, "flock", "flock", "-n", sys.argv[1], "true"), 0)[1] == 1 << 8
assert file.owner() is None
with other:
    pass
""",
        path,
        wrapper=inject,
    )


def test_a_short_write_of_the_pid_is_an_error(path: Path) -> None:
    fresh(
        OTHER
        + """
import resource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
with nothing_left():
    with raises(OSError, "(pwrite)", errno=errno.ENOSPC if os.getpid() > 9 else errno.EFBIG):
        file.acquire()
assert not os.path.exists(sys.argv[1])
""",
        path,
    )


def test_a_readers_lock_makes_no_owner(path: Path) -> None:
    """Who may only read the file can't pass for one; and is told of."""
    fresh(
        OTHER
        + """
import fcntl, struct
from setsid import _pidfile
_pidfile._PATIENCE = 0.1
with open(sys.argv[1], "w") as before:
    before.write("1\\n")
reader = open(sys.argv[1])
fcntl.fcntl(reader, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))
assert file.owner() is None
with raises(BlockingIOError, "somebody has locked it who is not its owner"):
    file.acquire()
reader.close()
with file:
    assert file.owner() == os.getpid()
""",
        path,
    )


def test_a_process_that_another_thread_forks_meanwhile_has_no_copy(path: Path) -> None:
    fresh(
        OTHER
        + """
import threading, warnings
warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
done = threading.Event()
def take():
    while not done.is_set():
        file.acquire()
        file.release()
thread = threading.Thread(target=take)
thread.start()
statuses = set()
for _ in range(300):
    pid = os.fork()
    if pid == 0:
        os._exit(any(sys.argv[1] in path for path in open_fds().values()))
    statuses.add(os.waitpid(pid, 0)[1])
done.set()
thread.join()
assert statuses == {0}
""",
        path,
    )
