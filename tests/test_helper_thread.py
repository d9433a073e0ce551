"""The thread that makes children with a parent-death signal for all others: found, forked away, crowded, refused."""

from __future__ import annotations

import pytest

from family import HELPER, run
from support import fresh


def test_a_threads_child_is_the_helpers_and_outlives_the_thread(way: str) -> None:
    fresh(
        HELPER
        + """
first, second = in_thread(Cat), in_thread(Cat)
helper, = helpers()
assert sorted(children_of(helper)) == sorted([first.process.pid, second.process.pid])
assert session_of(first.process.pid)["ppid"] == os.getpid()
for cat in first, second:
    assert cat.echoes()
    assert cat.process.poll() is None
    cat.end()
""",
        way=way,
    )


def test_without_the_helper_the_signal_comes_at_the_threads_end() -> None:
    """Which is what the helper is there for: the same through prctl in a child that the thread itself has made."""
    fresh(
        HELPER
        + """
def forks():
    ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        end_with_the_parent()
        os.write(ready[1], b"x")
        while True:
            signal.pause()
    os.read(ready[0], 1)
    return pid

assert os.waitpid(in_thread(forks), 0)[1] == signal.SIGKILL
assert helpers() == []
"""
    )


def test_the_main_thread_makes_its_children_itself(way: str) -> None:
    fresh(
        HELPER
        + """
cat = Cat()
assert helpers() == []
assert children_of(os.getpid()) == [cat.process.pid]
assert cat.echoes()
cat.end()
in_thread(lambda: setsid.spawn(["true"]).wait())  # and without the signal nobody needs a helper
assert helpers() == []
""",
        way=way,
    )


def test_the_helper_blocks_all_signals_but_libcs_own_and_its_children_have_the_callers(way: str) -> None:
    fresh(
        HELPER
        + """
assert in_thread(succeed)
helper, = helpers()
assert signal_set("SigBlk", f"self/task/{helper}") == signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
assert int(status(f"self/task/{helper}")["SigBlk"], 16) >> 32 & 1 == 0  # with which glibc calls all threads

def mask(**changes):
    text = spawn_text(["grep", "SigBlk", "/proc/self/status"], **PDEATH, **changes)
    return {number for number in signal.valid_signals() if int(text.split()[1], 16) >> number - 1 & 1}

def blocks():
    signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGUSR1, signal.SIGHUP])
    return mask(), mask(signal_mask=setsid.INHERIT), signal.pthread_sigmask(signal.SIG_BLOCK, [])

assert in_thread(blocks) == (set(), *[{signal.SIGUSR1, signal.SIGHUP}] * 2)
""",
        way=way,
    )


def test_a_failure_on_the_helper_is_told_in_the_thread_that_asked(way: str) -> None:
    fresh(
        HELPER
        + """
def fails(program, stage, **changes):
    try:
        setsid.spawn([program], **PDEATH, **changes)
    except FileNotFoundError as error:
        return (error.stage, error.filename) == (stage, program if stage is setsid.Stage.EXEC else changes["cwd"])

assert in_thread(succeed)
with nothing_left():
    assert in_thread(lambda: fails("/nonexistent", setsid.Stage.EXEC))
    assert in_thread(lambda: fails("true", setsid.Stage.CWD, cwd="/nowhere"))
    assert in_thread(succeed)
""",
        way=way,
    )


def test_eight_threads_make_two_hundred_children_and_lose_none(way: str) -> None:
    fresh(
        HELPER
        + """
failures = []

def spawns(first):
    mine = {signal.SIGUSR1, signal.SIGRTMIN + first}
    signal.pthread_sigmask(signal.SIG_SETMASK, mine)
    before = status(f"self/task/{threading.get_native_id()}")["SigBlk"]
    for number in range(first, 200, 8):
        try:
            process = setsid.spawn(["sh", "-c", f"exit {number}"], **PDEATH)
            if process.wait() != number:
                failures.append((number, process.returncode))
            process.close()
        except BaseException as error:
            failures.append((number, error))
    if status(f"self/task/{threading.get_native_id()}")["SigBlk"] != before:
        failures.append((first, "mask"))

assert in_thread(succeed)
before = helpers()
with nothing_left():
    threads = [threading.Thread(target=spawns, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
assert failures == []
assert helpers() == before
""",
        way=way,
    )


@pytest.mark.parametrize("fork", ["os.fork", "setsid.fork"])
def test_a_forked_process_makes_a_helper_of_its_own(way: str, fork: str) -> None:
    fresh(
        HELPER
        + """
assert in_thread(succeed)
forked = setsid.fork() if sys.argv[1] == "setsid.fork" else os.fork()
if not forked:
    end_with_the_parent()
    status = 1
    try:
        assert helpers() == []
        assert in_thread(succeed) and in_thread(succeed)
        assert len(helpers()) == 1
        status = 0
    finally:
        os._exit(status)
ended = forked.wait() if isinstance(forked, setsid.Process) else os.waitpid(forked, 0)[1]
assert ended == 0
assert in_thread(succeed)
assert len(helpers()) == 1
""",
        fork,
        way=way,
    )


@pytest.mark.parametrize("fork", ["os.fork", "setsid.fork"])
def test_a_fork_in_the_middle_of_the_helpers_work_hangs_nobody(way: str, fork: str) -> None:
    """The child that the helper has made is held at its umask meanwhile."""
    run(
        HELPER
        + """
from hold import Hold

hold, held, go = Hold(), os.pipe(), os.pipe()
if not os.fork():
    end_with_the_parent()
    while True:
        os.write(held[1], b"%d" % hold.wait(30))
        os.read(go[0], 1)
        hold.let_go()
hold.close()
with nothing_left():
    tasks, results = queue.Queue(), queue.Queue()
    def spawns():
        for changes in iter(tasks.get, None):
            results.put(succeed(**changes))
    spawner = threading.Thread(target=spawns)
    spawner.start()
    for number in range(50):
        tasks.put({"umask": 0o77})
        assert int(os.read(held[0], 16)) in children()
        forked = setsid.fork() if sys.argv[1] == "setsid.fork" else os.fork()
        if not forked:
            end_with_the_parent()
            os._exit(0 if number % 10 or in_thread(succeed) else 1)
        ended = forked.wait() if isinstance(forked, setsid.Process) else os.waitpid(forked, 0)[1]
        assert ended == 0
        assert results.empty()
        os.write(go[1], b"x")
        assert results.get()
    tasks.put(None)
    spawner.join()
""",
        fork,
        way=way,
    )


def test_no_more_threads_is_an_error_that_leaves_nothing_and_is_not_remembered(way: str) -> None:
    fresh(
        HELPER
        + """
if os.geteuid() == 0:  # whom the limit does not hold
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
    assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0  # PR_SET_DUMPABLE: else /proc/self/fd is root's
soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
tasks, results = queue.Queue(), queue.Queue()

def spawns():
    while tasks.get():
        try:
            results.put(setsid.spawn(["true"], **PDEATH).wait())
        except setsid.SystemCallError as error:
            results.put((error.errno, error.call, error.stage))

thread = threading.Thread(target=spawns)
thread.start()
with nothing_left():
    resource.setrlimit(resource.RLIMIT_NPROC, (0, hard))
    for _ in range(3):
        tasks.put(True)
        assert results.get() == (errno.EAGAIN, "pthread_create", None)
    assert helpers() == []
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    tasks.put(True)
    assert results.get() == 0
    assert len(helpers()) == 1
tasks.put(False)
thread.join()
""",
        way=way,
    )


@pytest.mark.parametrize("helper", ["before", "after"])
def test_a_thread_whose_children_belong_to_another_pid_namespace_is_refused(helper: str, way: str) -> None:
    """Else the child would be in the old one, without a word. As after unshare no thread can be made either."""
    run(
        HELPER
        + """
import ctypes
CLONE_NEWPID = 0x20000000
libc = ctypes.CDLL(None, use_errno=True)

def refused():
    if libc.unshare(CLONE_NEWPID) < 0:
        return os.strerror(ctypes.get_errno())
    try:
        setsid.spawn(["true"], **PDEATH)
    except OSError as error:
        assert (error.errno, error.call, error.stage) == (errno.EINVAL, "pthread_create", None), error
        assert error.hint.startswith("this thread's next children belong to another pid namespace"), error.hint
        return None
    raise AssertionError("it was made")

if sys.argv[1] == "before":
    assert in_thread(succeed)
with nothing_left():
    if reason := in_thread(refused):
        print("SKIP:", reason)
        sys.exit()
assert in_thread(succeed)  # a thread that has stayed
""",
        helper,
        way=way,
    )
