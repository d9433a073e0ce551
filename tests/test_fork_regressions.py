"""What once went wrong in a fork, a hint, an apply or a system out of the ordinary: each with all that it took."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import setsid
import test_cgroup
import test_fork_faults
from family import HELPER
from scenarios import hidden
from support import fresh

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user, or having another root, needs root")
group = test_cgroup.group
traced = test_fork_faults.traced
FAULT, PRELUDE = test_fork_faults.FAULT, test_fork_faults.PRELUDE

TOLD = """
def told(**changes):  # of a spawn that must fail
    try:
        setsid.spawn(["true"], **changes)
    except setsid.SystemCallError as error:
        return error.stage and error.stage.value, error.call, errno.errorcode[error.errno], error.hint
    raise AssertionError("nothing failed")

def become(user, group):
    told(cwd="/nowhere")  # loads what telling of an error needs, while it can be read
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
"""


@hidden
def test_a_signal_ends_a_parent_whose_childs_hook_hangs(hide_pidfd: bool) -> None:
    fresh(
        """
import select
said, say = os.pipe()
parent = os.fork()
if parent == 0:
    def hang():
        os.write(say, b"%d" % os.getpid())
        os.read(os.pipe()[0], 1)
    try:
        os.register_at_fork(after_in_child=hang)
        setsid.fork()
    finally:
        os._exit(99)
hanging = int(os.read(said, 16))
os.kill(parent, signal.SIGTERM)
ended = select.select([os.pidfd_open(parent)], [], [], 10)[0]
os.kill(hanging, signal.SIGKILL)  # nobody has reaped it: nobody else has its number
assert os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1]) == -signal.SIGTERM
assert ended, "the parent has ended only after its child"
""",
        hide_pidfd=hide_pidfd,
    )


@pytest.mark.usefixtures("traced")
def test_a_killed_child_in_its_parents_group_leaves_the_terminal_to_whom_it_was(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + FAULT
        + """
release, hold = os.pipe()
other = setsid.spawn(["cat"], stdin=release, process_group=0, foreground_tty=terminal)
inject("umask:signal=KILL:when=1")
error = attempt(process_group=INHERIT, foreground_tty=terminal, umask=0o77)
assert (error.call, error.errno) == ("fork", errno.ECHILD) and "by signal 9 " in error.hint, repr(error)
assert setsid.tcgetpgrp(terminal) == other.pid
other.kill()
other.wait()
""",
        tmp_path,
    )


@hidden
def test_a_child_that_can_report_nothing_and_hangs_is_ended(hide_pidfd: bool, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + """
release, hold = os.pipe()
def hang():
    os.dup2(release, 0)
    os.closerange(3, 256)
    os.read(0, 1)  # for ever: nobody writes, and the parent stays
os.register_at_fork(after_in_child=hang)
with nothing_left():
    error = attempt()
    assert (error.stage, error.call, error.errno) == (None, "fork", errno.ECHILD), repr(error)
    assert "by signal 9 " in error.hint, error.hint
assert os.listdir(sys.argv[1]) == []
""",
        tmp_path,
        hide_pidfd=hide_pidfd,
        timeout=20,
    )


@pytest.fixture
def public() -> Iterator[str]:
    """A directory that all users may enter, which pytest's own are not."""
    with TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        yield path


@needs_root
def test_a_working_directory_is_closed_to_the_caller_and_not_to_the_new_user(public: str) -> None:
    fresh(
        TOLD
        + """
outer = sys.argv[1] + "/outer"
inner = outer + "/inner"
os.makedirs(inner + "/directory")
os.chmod(inner, 0o700)
os.chmod(outer, 0o700)
os.chown(outer, 65534, 65534)
become(65534, 65534)
refused = ("cwd", "chdir", "EACCES", f"the caller may not search {inner}")
for changes in {}, {"user": 4242}, {"user": 65534}, {"user": 0}:
    assert told(cwd=inner + "/directory", **changes) == told(cwd=inner, **changes) == refused, changes
""",
        public,
    )


@needs_root
def test_a_relative_working_directory_is_not_refused_for_one_above_the_callers(public: str) -> None:
    fresh(
        TOLD
        + """
above = f"{sys.argv[1]}/above"
os.makedirs(above + "/here/closed")
os.chmod(above + "/here/closed", 0o700)
os.chmod(above, 0o700)
os.chdir(above + "/here")
become(65534, 65534)
*failure, hint = told(cwd="closed")
assert failure == ["cwd", "chdir", "EACCES"]
assert hint in (None, f"the caller may not search {above}/here/closed"), hint  # it need not search the others
""",
        public,
    )


@needs_root
@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("said", ["EIO, chroot='/'", "EACCES, chroot='/'", "EIO, chroot='/', cwd='/'"])
def test_a_new_root_that_can_not_be_entered_is_not_looked_for_in_itself(said: str) -> None:
    number, _, changes = said.partition(", ")
    fresh(
        TOLD
        + f"""
from strace import *
with tracing("-e", "trace=chdir", "-e", "inject=chdir:error={number}:when=1"):
    found = told({changes})
assert found == ("chroot", "chdir", "{number}", None), found
"""
    )


@pytest.mark.usefixtures("traced")
def test_a_control_group_that_refuses_a_process_is_not_said_to_be_none(group: Path) -> None:
    fresh(
        TOLD
        + """
from strace import *
with tracing("-e", "trace=write", "-e", "inject=write:error=EINVAL:when=1"):
    found = told(cgroup=sys.argv[1])
assert found == ("cgroup", "write", "EINVAL", None), found
""",
        group,
        way="clone",
    )


def test_a_file_mended_at_once_does_not_have_an_earlier_report_told_anew() -> None:
    fresh("""
from setsid import _apply
def fails():
    try:
        apply()
    except setsid.SystemCallError as error:
        return error.call, error.errno
def mend(plan):  # as another thread may, between the call and the question which file it was
    os.dup2(file, number)
    return check_files(plan)
check_files, _apply.check_files = _apply.check_files, mend
file = os.open("/dev/null", os.O_RDONLY)
number = os.dup(file)
apply = setsid.ChildSetup(cwd=number).apply
assert fails() == ("fchdir", errno.ENOTDIR)
os.close(number)
assert fails() == ("fcntl", errno.EBADF)
assert fails() == ("fchdir", errno.ENOTDIR)  # mended
""")


def test_looking_up_apply_raises_nothing_of_a_files() -> None:
    class File:
        def fileno(self) -> int:
            raise RuntimeError("detached")

    apply = setsid.ChildSetup(stdin=File()).apply
    with pytest.raises(RuntimeError, match=r"^detached$"):
        apply()


def preloaded(source: str, cc: str, directory: Path) -> dict[str, str]:
    """An environment with a library made of `source` in every program."""
    (directory / "library.c").write_text(source)
    library = str(directory / "library.so")
    subprocess.run([cc, "-shared", "-fPIC", "-o", library, directory / "library.c"], check=True)
    return {**os.environ, "LD_PRELOAD": library}


def test_much_thread_local_storage_keeps_no_helper_from_starting(need: Callable[..., str], tmp_path: Path) -> None:
    """In glibc it is taken from a thread's stack."""
    fresh(
        HELPER
        + """
assert in_thread(succeed)
assert len(helpers()) == 1
""",
        env=preloaded("__thread char large[400 * 1024];", need("cc"), tmp_path),
    )


def test_limits_of_a_tebibyte_arrive_whole_where_libcs_have_32_bits(need: Callable[..., str], tmp_path: Path) -> None:
    narrow = """
#include <stdint.h>
#include <sys/syscall.h>
long syscall(long, ...);
int setrlimit(int resource, const uint64_t *said)
{
    const uint64_t limits[] = {(uint32_t)said[0], (uint32_t)said[1]};
    return syscall(SYS_prlimit64, 0, resource, limits, 0);
}
int setrlimit64(int resource, const uint64_t *said) { return setrlimit(resource, said); }
"""
    fresh(
        """
import resource
for said in (2**40, 2**40 + 1), (2**40 + 5, 2**62):
    text = spawn_text(["grep", "resident set", "/proc/self/limits"], rlimits={resource.RLIMIT_RSS: said})
    assert tuple(map(int, text.split()[3:5])) == said, text
""",
        env=preloaded(narrow, need("cc"), tmp_path),
    )


@pytest.mark.usefixtures("traced")
def test_a_filter_that_refuses_pidfds_leaves_the_parent_death_signal() -> None:
    fresh("""
from strace import *
show = "import ctypes; n = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(n), 0, 0, 0); print(n.value)"
with tracing("-e", "trace=pidfd_open", "-e", "inject=pidfd_open:error=EPERM") as trace:
    text = spawn_text([sys.executable, "-c", show], parent_death_signal=signal.SIGUSR1)
    process = setsid.fork(parent_death_signal=signal.SIGUSR1)
    if process is None:
        os._exit(7)
    assert process.wait() == 7
refused = [line for line in trace.of(os.getpid()) if line.startswith("pidfd_open(") and "EPERM" in line]
assert (text, len(refused)) == (f"{int(signal.SIGUSR1)}\\n", 3)
""")


@needs_root
def test_a_user_whose_group_is_his_only_one_may_stay_who_he_is() -> None:
    """As in a container: a process has its own group as that alone, and no right to set any."""
    fresh(
        TOLD
        + """
import pwd
for name, _, number, group, *_ in pwd.getpwall():
    if number and os.getgrouplist(name, group) == [group]:
        break
become(number, group)
for changes in {"user": name}, {"user": number}, {"user": name, "group": group}:
    with setsid.spawn(["true"], **changes) as process:
        assert process.wait() == 0
# A list that is said is taken at its word.
assert told(user=name, extra_groups=[group])[:3] == ("extra_groups", "setgroups", "EPERM")
"""
    )
