"""Whether an installed setsid works here: prints the native library's name and the interpreter, and exits with 0."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import struct
import sys
import sysconfig
import tempfile

import setsid
from setsid import _native
from setsid.daemon import PidFile


def check_gil() -> None:
    """A free-threaded Python goes on without its lock."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled()  # type: ignore[attr-defined]


def check_calls() -> None:
    """The calls, and the errors of one."""
    assert setsid.getsid() == os.getsid(0)
    try:
        setsid.tcgetsid(0xFFFF)
    except setsid.SystemCallError as error:
        assert (error.errno, error.call) == (errno.EBADF, "tcgetsid"), error
    else:
        raise AssertionError("tcgetsid of no file")


def check_spawn() -> None:
    """A program that is executed, in a session of its own, and one that can't be."""
    with setsid.spawn(["true"]) as process:
        assert process.wait(timeout=60) == 0
    reader, writer = os.pipe()
    with setsid.spawn(["cat"], stdin=reader) as process:
        assert os.getsid(process.pid) == process.pid != os.getsid(0)
        os.close(writer)
        assert process.wait(timeout=60) == 0
    os.close(reader)
    try:
        setsid.spawn(["/nonexistent/program"])
    except setsid.SystemCallError as error:
        assert (error.errno, error.stage) == (errno.ENOENT, setsid.Stage.EXEC), error
        assert isinstance(error, FileNotFoundError)
    else:
        raise AssertionError("a program that is not there was executed")


def check_detached() -> None:
    """A program that is nobody's child here."""
    reader, writer = os.pipe()
    with setsid.spawn_detached(["echo", "detached"], stdout=writer) as process:
        os.close(writer)
        with open(reader) as said:
            assert said.read() == "detached\n"
        process.wait(timeout=60)
        assert not process.is_alive()


def check_subprocess() -> None:
    """Popen and run."""
    with setsid.Popen(["true"], setup=setsid.ChildSetup(process_group=setsid.NEW_SESSION)) as process:
        assert process.wait(timeout=60) == 0
    assert setsid.run(["echo", "run"], capture_output=True, text=True, timeout=60).stdout == "run\n"


def check_pidfile() -> None:
    """A pidfile is locked by the kind of lock that the kernel has: on Linux by one of its first byte (F_OFD_GETLK)."""
    with tempfile.TemporaryDirectory() as directory, PidFile(os.path.join(directory, "it.pid")) as pidfile:
        assert pidfile.owner() == os.getpid()
        if sys.platform == "linux":
            form = "@hhqqi4x"
            with open(pidfile.path, "rb") as other:
                wanted = struct.pack(form, fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0)
                kind, _, start, _, pid = struct.unpack(form, fcntl.fcntl(other, 36, wanted))
            assert (kind, start, pid) == (fcntl.F_WRLCK, 0, -1), (kind, start, pid)


def main() -> None:
    """All of it."""
    for check in check_gil, check_calls, check_spawn, check_detached, check_subprocess, check_pidfile:
        check()
    print(os.path.basename(_native.__file__ or ""), platform.python_implementation(), sys.version.split()[0])


if __name__ == "__main__":
    main()
