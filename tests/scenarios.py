"""Pieces of the helpers' source that several test files share, and what is needed to run them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from support import fresh

# For any helper: fails unless the block raises `kind` with `text` in its message.
RAISES = """
from contextlib import contextmanager

@contextmanager
def raises(kind, text="", **attributes):
    try:
        yield
    except kind as error:
        assert text in str(error), error
        assert {name: getattr(error, name) for name in attributes} == attributes
    else:
        raise AssertionError(f"no {kind}")
"""

# For a helper: returns once the thread `tid` of ours sleeps in a system call other than futex, which is the GIL's.
ASLEEP = """
import platform, threading

FUTEX = {"x86_64": "202", "aarch64": "98"}.get(platform.machine(), "none")

def until_asleep(tid):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with open(f"/proc/self/task/{tid}/syscall") as file:
            call = file.read().split()[0]
        sleeps = status(f"self/task/{tid}")["State"].startswith("S")  # and not only waits for a processor
        if call not in ("running", "-1", FUTEX) and sleeps:
            return
    raise AssertionError("the thread never slept")
"""

# For a helper: raises in the functions and modules `those` at the n-th point of those at which CPython runs signal
# handlers: at the start of a function, after a call, at a loop's jump back. An older CPython does so before what stores
# the result.
AT_ANY_POINT = """
import dis, gc

def collect():  # where what nobody holds any more is not gone at once
    if ON_PYPY:
        gc.collect()

class Interrupt(Exception):
    pass

def at(number, function, *those, then=None):
    # Whether the function was interrupted. `then` is called while the exception is handled.
    left = number
    traced = {getattr(one, "__file__", None) or one.__code__ for one in those}
    points = {}

    def checks(code):
        if code not in points:
            found = set()
            was_call = False
            for instruction in dis.get_instructions(code):
                if was_call or instruction.opname in ("JUMP_BACKWARD", "JUMP_ABSOLUTE"):
                    found.add(instruction.offset)
                was_call = instruction.opname.startswith("CALL")
            points[code] = found
        return points[code]

    def trace(frame, event, argument):
        nonlocal left
        code = frame.f_code
        # Of an exception in a generator expression that is dropped, nobody sees anything.
        if not {code, code.co_filename} & traced or code.co_name == "<genexpr>":
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "call" or event == "opcode" and frame.f_lasti in checks(code):
            left -= 1
            if left == 0:
                sys.settrace(None)
                raise Interrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except Interrupt:
        if then:
            then()
        return True
    finally:
        sys.settrace(None)
    return False
"""

# For a helper: whether the kernel tells how a process ended that somebody has reaped (PIDFD_GET_INFO, Linux 6.15).
TELLS = """
import fcntl, struct

def kernel_tells():
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    pidfd = os.pidfd_open(pid)
    os.waitpid(pid, 0)
    try:
        info = fcntl.ioctl(pidfd, 0xC040FF0B, struct.pack("=QQ11Ii", 8, *[0] * 13))
    except OSError:
        return False
    finally:
        os.close(pidfd)
    fields = struct.unpack("=QQ11Ii", info)
    return bool(fields[0] & 8) and fields[-1] == 7 << 8
"""

# For a helper in a pid namespace of its own: a stranger, who is no child of ours, gets a number of our choice.
RECYCLE = """
import select

class Stranger:
    def __init__(self, pid, *, leader=False):
        ready, self._ready = os.pipe()
        release, self._release = os.pipe()
        self._between = os.fork()
        if self._between == 0:
            os.close(self._release)
            try:
                with open("/proc/sys/kernel/ns_last_pid", "w") as file:
                    file.write(str(pid - 1))
            except OSError:
                os._exit(77)
            if os.fork() == 0:
                member = 0
                if leader:
                    os.setsid()
                    member = os.fork()
                if not member:
                    os.write(self._ready, b"%d" % (os.getsid(0) if leader else os.getpid()))
                    os.read(release, 1)
                    os._exit(0)
                os._exit(os.waitstatus_to_exitcode(os.wait()[1]) & 127)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]) & 127)
        os.close(self._ready)
        os.close(release)
        got = os.read(ready, 16)
        if not got:
            assert os.waitpid(self._between, 0)[1] == 77 << 8
            print("SKIP: may not write /proc/sys/kernel/ns_last_pid")
            sys.exit(0)
        assert int(got) == pid

    def exit_status(self):
        # Its exit status: 0 for one that nobody signalled, else the signal.
        os.close(self._release)
        return os.waitstatus_to_exitcode(os.waitpid(self._between, 0)[1])
"""

hidden = pytest.mark.parametrize("hide_pidfd", [False, True], ids=["pidfd", "number"])


# For a helper that is process 1 of a pid namespace: what follows runs in a child and in a session of its own, while
# process 1 reaps all orphans, as an init does.
UNDER_INIT = """
done, say_done = os.pipe()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
if os.fork():
    os.close(say_done)
    os._exit(0 if os.read(done, 1) else 1)
os.close(done)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
os.setsid()
"""


def in_namespace(
    need: Callable[..., str], source: str, *args: object, hide_pidfd: bool = False, env: dict[str, str] | None = None
) -> None:
    """Run `source` as process 1 of a pid namespace, all of which ends with it. It prints nothing."""
    if os.geteuid() != 0:
        pytest.skip("a pid namespace needs root")
    wrapper = (need("unshare"), "--pid", "--fork", "--kill-child", "--mount-proc")
    result = fresh(source, *args, wrapper=wrapper, hide_pidfd=hide_pidfd, env=env, check=False)
    if "unshare failed" in result.stderr or result.stdout.startswith("SKIP"):
        pytest.skip(f"no pid namespace here: {result.stderr or result.stdout}")
    told = result.returncode, result.stdout, result.stderr
    assert told == (0, "", ""), "exit status {}\n{}\n{}".format(*told)


def under_init(need: Callable[..., str], source: str, *args: object, hide_pidfd: bool = False) -> None:
    """Run `source` in a pid namespace, but not as process 1."""
    end = "\nos.write(say_done, b'x')\n"
    in_namespace(need, UNDER_INIT + source + end, *args, hide_pidfd=hide_pidfd)


def recycled(need: Callable[..., str], source: str, *, hide_pidfd: bool, env: dict[str, str] | None = None) -> None:
    """Run `source` with Stranger in a pid namespace of its own."""
    in_namespace(need, RECYCLE + source, hide_pidfd=hide_pidfd, env=env)
