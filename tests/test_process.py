"""Process: what the handle knows, its signals, its file descriptor, and letting go of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scenarios import RAISES, hidden, recycled
from support import ON_PYPY, fresh

# -- what it knows


def test_the_handle_knows_its_pid_and_arguments() -> None:
    fresh("""
with nothing_left():
    argv = ["sleep", "60"]
    process = setsid.spawn(argv)
    assert children() == [process.pid]
    assert process.args is argv
    assert repr(process) == f"<Process pid={process.pid} returncode=None args={argv!r}>"
    process.kill()
    process.wait()
    assert repr(process) == f"<Process pid={process.pid} returncode=-9 args={argv!r}>"
    process.close()
""")


def test_it_does_not_pickle_and_says_so() -> None:
    fresh(
        RAISES
        + """
import copy, pickle
with setsid.spawn(["true"]) as process:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with raises(TypeError, "a Process can't be pickled: it is a child of this process"):
            pickle.dumps(process, protocol)
    with raises(TypeError, "can't be pickled"):
        copy.copy(process)
"""
    )


def test_an_environment_that_is_no_mapping_is_named() -> None:
    fresh(
        RAISES
        + """
for env in ["A=b"], "A=b", 5:
    with nothing_left(), raises(TypeError, f"env must be a mapping, not {type(env).__name__}"):
        setsid.spawn(["true"], env=env)
"""
    )


def test_the_returncode_is_the_exit_status_or_minus_the_signal(way: str) -> None:
    fresh(
        """
with nothing_left():
    for command, expected in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -KILL $$", -9),
                              ("kill -TERM $$", -15), (f"kill -{signal.SIGRTMAX} $$", -signal.SIGRTMAX)]:
        with setsid.spawn(["sh", "-c", command]) as process:
            assert process.wait() == expected
            assert process.returncode == expected
""",
        way=way,
    )


def test_the_returncode_is_none_until_somebody_has_waited() -> None:
    fresh("""
import select
with setsid.spawn(["true"]) as process:
    select.select([process.fileno()], [], [])
    assert process.returncode is None
    assert process.poll() == 0
    assert process.returncode == 0
""")


def test_rusage_is_what_the_kernel_adds_to_our_childrens(way: str) -> None:
    fresh(
        """
import resource
command = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"
process = setsid.spawn(["sh", "-c", command])
assert process.rusage is None
process.wait(reap=False)
assert process.rusage is None
process.wait()
assert process.rusage.ru_utime > 0
assert [round(x, 6) for x in process.rusage] == [round(x, 6) for x in resource.getrusage(resource.RUSAGE_CHILDREN)]
process.close()
""",
        way=way,
    )


def test_rusage_is_none_for_a_child_that_somebody_else_has_reaped() -> None:
    fresh("""
process = setsid.spawn(["true"])
process.reaped(os.waitpid(process.pid, 0)[1])
assert (process.returncode, process.rusage) == (0, None)
""")


def test_core_dumped_is_what_waitpid_says(tmp_path: Path) -> None:
    result = fresh(
        """
import resource
os.chdir(sys.argv[1])
hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
pid = os.fork()
if pid == 0:
    os.execvp("sh", ["sh", "-c", "kill -QUIT $$"])
dumps = os.WCOREDUMP(os.waitpid(pid, 0)[1])
for number, expected in [(signal.SIGQUIT, dumps), (signal.SIGTERM, False)]:
    with setsid.spawn(["sh", "-c", f"kill -{number} $$"]) as process:
        assert not process.core_dumped
        assert process.wait() == -number
        assert process.core_dumped is expected
print("dumps" if dumps else "SKIP")
""",
        tmp_path,
    )
    if "SKIP" in result.stdout:
        pytest.skip("this system writes no core dumps (ulimit -c, kernel.core_pattern)")
    assert result.stdout == "dumps\n"


# -- its file descriptor


def test_the_file_descriptor_polls_readable_once_the_process_has_ended(way: str) -> None:
    fresh(
        """
import select
reader, writer = os.pipe()
with setsid.spawn(["cat"], stdin=reader) as process:
    os.close(reader)
    poll = select.poll()
    poll.register(process.fileno(), select.POLLIN)
    assert poll.poll(0) == []
    os.close(writer)
    assert [(fd, events & select.POLLIN) for fd, events in poll.poll()] == [(process.fileno(), select.POLLIN)]
    process.wait(reap=False)
    assert poll.poll(0)[0][1] & select.POLLIN
    process.wait()
    assert poll.poll(0)[0][1] & select.POLLIN
""",
        way=way,
    )


def test_the_file_descriptor_is_not_inherited_by_programs(way: str) -> None:
    fresh(
        """
with setsid.spawn(["sleep", "60"]) as process:
    assert os.get_inheritable(process.fileno()) is False
    process.kill()
""",
        way=way,
    )


def test_without_pidfds_fileno_says_so(way: str) -> None:
    fresh(
        RAISES
        + """
with setsid.spawn(["true"]) as process:
    with raises(NotImplementedError, "no pidfds"):
        process.fileno()
""",
        way=way,
        hide_pidfd=True,
    )


# -- signals


@hidden
def test_signals_reach_the_process(hide_pidfd: bool) -> None:
    fresh(
        """
with nothing_left():
    for send, expected in [(lambda p: p.send_signal(signal.SIGUSR1), -signal.SIGUSR1), (lambda p: p.kill(), -9),
                           (lambda p: p.terminate(), -15), (lambda p: p.send_signal(1), -1)]:
        with setsid.spawn(["sleep", "60"]) as process:
            process.send_signal(0)
            send(process)
            assert process.wait() == expected
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_signal_that_is_none_is_refused(hide_pidfd: bool) -> None:
    fresh(
        RAISES
        + """
with setsid.spawn(["sleep", "60"]) as process:
    for number in -1, 65, 1000:
        with raises(setsid.SystemCallError, errno=errno.EINVAL, call=sys.argv[1]):
            process.send_signal(number)
    for value in "TERM", 15.0, None:
        with raises(TypeError):
            process.send_signal(value)
    process.kill()
""",
        "kill" if hide_pidfd else "pidfd_send_signal",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_a_signal_to_another_users_process_is_a_permission_error(hide_pidfd: bool) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give up being the child's user")
    fresh(
        RAISES
        + """
reader, writer = os.pipe()
with setsid.spawn(["cat"], stdin=reader) as process:
    os.setresuid(65534, 65534, 65534)
    with raises(PermissionError, errno=errno.EPERM, call=sys.argv[1]):
        process.kill()
    os.close(writer)
    assert process.wait() == 0
""",
        "kill" if hide_pidfd else "pidfd_send_signal",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_signals_to_an_ended_process_do_nothing(hide_pidfd: bool) -> None:
    fresh(
        """
process = setsid.spawn(["true"])
process.wait(reap=False)
for reaped in False, True:
    for send in process.terminate, process.kill, lambda: process.send_signal(signal.SIGUSR1):
        send()
    assert process.wait() == 0
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_no_signal_reaches_the_next_owner_of_a_reaped_processs_number(
    need: Callable[..., str], hide_pidfd: bool
) -> None:
    recycled(
        need,
        """
process = setsid.spawn(["true"])
process.wait()
stranger = Stranger(process.pid)
for send in process.terminate, process.kill, lambda: process.send_signal(signal.SIGUSR1):
    send()
assert stranger.exit_status() == 0
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_no_signal_reaches_the_next_owner_of_a_number_reaped_elsewhere(
    need: Callable[..., str], hide_pidfd: bool
) -> None:
    recycled(
        need,
        """
process = setsid.spawn(["true"])
status = os.waitpid(process.pid, 0)[1]
stranger = Stranger(process.pid)
process.kill()
process.reaped(status)
assert stranger.exit_status() == 0
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
def test_no_signal_of_a_forked_process_reaches_the_next_owner_of_a_number(
    need: Callable[..., str], hide_pidfd: bool
) -> None:
    recycled(
        need,
        """
process = setsid.spawn(["sleep", "60"])
reader, writer = os.pipe()
copy = os.fork()
if copy == 0:
    os.read(reader, 1)
    try:
        process.kill()
    except ChildProcessError:
        pass
    os._exit(0)
process.kill()
process.wait()
stranger = Stranger(process.pid)
os.write(writer, b"x")
assert os.waitpid(copy, 0) == (copy, 0)
assert stranger.exit_status() == 0
""",
        hide_pidfd=hide_pidfd,
    )


# -- letting go of it


@hidden
def test_a_closed_handle_is_of_no_use(hide_pidfd: bool) -> None:
    fresh(
        RAISES
        + """
process = setsid.spawn(["sleep", "60"], stdout=setsid.DEVNULL, stderr=setsid.DEVNULL)
process.close()
process.close()
for use in [process.poll, process.wait, lambda: process.wait(0), lambda: process.wait(reap=False),
            process.wait_change, lambda: process.wait_change(0), process.fileno, process.kill, process.terminate,
            lambda: process.send_signal(0), lambda: process.signal_group(0), process.end]:
    with raises(ValueError, f"the handle of process {process.pid} is closed"):
        use()
assert (process.returncode, process.args) == (None, ["sleep", "60"])
with raises(ValueError, f"the handle of process {process.pid} is closed"):
    process.__enter__()
assert os.waitpid(process.pid, os.WNOHANG) == (0, 0)
os.kill(process.pid, 9)
os.waitpid(process.pid, 0)
""",
        hide_pidfd=hide_pidfd,
    )


def test_what_is_known_of_the_end_stays_known_after_closing() -> None:
    fresh(
        RAISES
        + """
process = setsid.spawn(["sh", "-c", "exit 3"])
process.wait()
process.close()
assert (process.returncode, process.poll(), process.wait(), process.wait(0)) == (3, 3, 3, 3)
process.kill()
with raises(ValueError, "is closed"):
    process.fileno()
"""
    )


def test_closing_a_reaped_process_gives_its_descriptor_back(way: str) -> None:
    fresh(
        """
with nothing_left():
    process = setsid.spawn(["true"])
    fd = process.fileno()
    assert fd in open_fds()
    process.wait()
    process.close()
    assert fd not in open_fds()
""",
        way=way,
    )


@hidden
def test_a_process_dropped_unwaited_warns_and_the_next_spawn_reaps_it(hide_pidfd: bool) -> None:
    fresh(
        """
import gc, warnings
with nothing_left():
    reader, writer = os.pipe()
    process = setsid.spawn(["cat"], stdin=reader)
    pid = process.pid
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del process
        gc.collect()
    told = f"process {pid} was never waited for: 'cat'"
    assert [(w.category, str(w.message)) for w in caught] == [(ResourceWarning, told)]
    os.close(reader)
    setsid.spawn(["true"]).__exit__(None, None, None)
    assert children() == [pid]
    os.close(writer)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    setsid.spawn(["true"]).__exit__(None, None, None)
    assert children() == []
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_closed_process_is_reaped_by_a_spawn_after_its_end() -> None:
    fresh("""
with nothing_left():
    process = setsid.spawn(["true"])
    process.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    setsid.spawn(["true"]).__exit__(None, None, None)
    assert children() == []
""")


def test_a_process_waited_for_and_one_that_never_was_are_dropped_without_a_warning() -> None:
    fresh("""
import gc, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    process = setsid.spawn(["true"])
    process.wait()
    del process
    try:
        setsid.spawn(["/nowhere/at/all"])
    except FileNotFoundError:
        pass
    gc.collect()
    assert caught == []
""")


@pytest.mark.skipif(ON_PYPY, reason="PyPy finalizes nothing when it exits")
def test_a_process_still_held_when_python_exits_gives_a_warning_too() -> None:
    result = fresh("process = setsid.spawn(['true'])\nprocess.wait(reap=False)\nprint(process.pid)", check=False)
    pid = result.stdout.strip()
    assert result.stderr.splitlines()[-1] == f"ResourceWarning: process {pid} was never waited for: 'true'"


@hidden
def test_a_forked_process_can_not_wait_for_its_parents_children(hide_pidfd: bool) -> None:
    fresh(
        RAISES
        + """
import gc, warnings
process = setsid.spawn(["sleep", "60"])
copy = os.fork()
if copy == 0:
    reason = f"process {process.pid} is a child of process {os.getppid()}, not of this one"
    for use in (process.poll, process.wait, lambda: process.wait(0.01), lambda: process.wait(reap=False),
                process.wait_change, lambda: process.wait_change(0.01)):
        with raises(ChildProcessError, reason, errno=errno.ECHILD, call="waitid"):
            use()
    assert process.returncode is None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del process, use
        gc.collect()
    os._exit(1 if caught else 0)
assert os.waitpid(copy, 0) == (copy, 0)
process.kill()
assert process.wait() == -9
""",
        hide_pidfd=hide_pidfd,
    )


def test_a_forked_process_leaves_its_parents_dropped_children_alone() -> None:
    fresh("""
process = setsid.spawn(["true"])
process.close()
copy = os.fork()
if copy == 0:
    with setsid.spawn(["true"]) as own:
        assert own.wait() == 0
    os._exit(0)
assert os.waitpid(copy, 0) == (copy, 0)
assert os.waitpid(process.pid, 0) == (process.pid, 0)
""")


# -- as a context manager


@hidden
def test_leaving_the_context_normally_waits(hide_pidfd: bool) -> None:
    fresh(
        """
with nothing_left():
    with setsid.spawn(["sh", "-c", "exec sleep 0.05"]) as process:
        assert process.returncode is None
    assert process.returncode == 0
""",
        hide_pidfd=hide_pidfd,
    )


@hidden
@pytest.mark.parametrize("kind", ["KeyError", "KeyboardInterrupt", "GeneratorExit"])
def test_leaving_the_context_by_an_exception_ends_the_process(hide_pidfd: bool, kind: str) -> None:
    fresh(
        """
with nothing_left():
    error = __builtins__.__dict__[sys.argv[1]]("mine")
    try:
        with setsid.spawn(["sleep", "60"]) as process:
            raise error
    except BaseException as caught:
        assert caught is error
    assert process.returncode == -signal.SIGTERM
""",
        kind,
        hide_pidfd=hide_pidfd,
    )


@pytest.mark.parametrize("look", ["process.wait(reap=False)", "process.wait_change()"])
def test_leaving_the_context_by_an_exception_reaps_a_process_known_to_have_ended(look: str) -> None:
    fresh(f"""
with nothing_left():
    try:
        with setsid.spawn(["true"]) as process:
            {look}
            raise KeyError
    except KeyError:
        pass
    assert children() == []
""")
