"""pysetsid: run a program in a new session, as setsid(1) does."""

from __future__ import annotations

# The built-in half of `signal`, which takes long to import.
import _signal  # type: ignore[import-not-found]
import errno
import os
import sys

from .. import NEW_SESSION, ChildSetup, SystemCallError, acquire_ctty, fork
from .._calls import ACCESS_MODE, is_ignored
from ._command import UsageError, as_programs_in_c, complain, parse, show, show_version, usage_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from .._process import Process

COMMAND = "pysetsid"
OPTIONS = {"ctty": "c", "fork": "f", "wait": "w", "steal": "", "help": "h", "version": "V"}
HELP = """
Usage:
 pysetsid [options] <program> [argument ...]

Execute a program as the leader of a new session.

Options:
 -c, --ctty     make standard input the session's controlling terminal
     --steal    like --ctty, and take the terminal from the session that has it
 -f, --fork     fork, even where the program could be executed in place
 -w, --wait     where it forks, wait for the program and exit as it does
 -h, --help     show this text
 -V, --version  show the version

What setsid(1) does otherwise:
 - its --ctty takes a terminal from another session without being asked to
 - with --wait, it exits with n if signal n ends the program, here with 128+n;
   it fails if another child of its process ends first; signals end it alone,
   where pysetsid passes them on to the program
 - without --wait it exits with 0 before it knows, where pysetsid exits with
   126 or 127 if the program can't be executed, with 1 if another step fails

For more see pysetsid(1).
"""

FAILED = 1
NOT_EXECUTABLE = 126
NOT_FOUND = 127
_STEPS = {"setsid": "setsid failed", "ioctl(TIOCSCTTY)": "failed to set the controlling terminal"}
# Why execvp(3) looks on in PATH. EACCES is remembered, too.
_ELSEWHERE = (errno.EACCES, errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT)
_STOPS = {_signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU}


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says: `arguments`, or that of this process.

    Returns the exit status. Does not return where the program is executed in place of this one.
    """
    as_programs_in_c()
    try:
        said, argv = parse(sys.argv[1:] if arguments is None else arguments, OPTIONS)
        options = {name for name, _ in said}
        if "help" in options:
            return show(COMMAND, HELP)
        if "version" in options:
            return show_version(COMMAND)
        if not argv:
            raise UsageError("no command specified")
    except UsageError as error:
        return usage_error(COMMAND, error, FAILED)
    try:
        return _run(argv, options)
    except _FailedError as failure:
        complain(COMMAND, failure.message)
        return failure.status


class _FailedError(Exception):
    """The program does not run. What to say, and what to exit with."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message


def _run(argv: list[str], options: set[str]) -> int:
    steals = "steal" in options
    try:
        if steals or "ctty" in options:
            _check_terminal()
            setup = ChildSetup(process_group=NEW_SESSION, ctty=0, steal_ctty=steals)
        else:
            setup = ChildSetup(process_group=NEW_SESSION)
        _restore_locale()
        if "fork" in options or os.getpgrp() == os.getpid():
            return _in_child(argv, setup, waits="wait" in options)
        if steals:  # which apply() refuses, since it could not be undone
            setup.replace(ctty=None, steal_ctty=None).apply()
            acquire_ctty(0, steal=True)
        else:
            setup.apply()
    except SystemCallError as error:
        raise _FailedError(FAILED, _step(error, steals)) from None
    return _execute(argv)


def _check_terminal() -> None:
    """Standard input, before another file gets its number if it is closed."""
    import fcntl

    try:
        access = fcntl.fcntl(0, fcntl.F_GETFL) & ACCESS_MODE
    except OSError:
        raise SystemCallError(errno.EBADF, "ioctl(TIOCSCTTY)", hint="standard input is closed") from None
    if not os.isatty(0):
        raise SystemCallError(errno.ENOTTY, "ioctl(TIOCSCTTY)", hint="standard input is not a terminal")
    if access == os.O_WRONLY:
        raise SystemCallError(errno.EPERM, "ioctl(TIOCSCTTY)", hint="standard input is open for writing only")


def _restore_locale() -> None:
    """Undo the one change that Python makes to its environment: LC_CTYPE, in the C locale (PEP 538)."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return
    try:
        with open("/proc/self/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return
    was = next((variable for variable in variables if variable.startswith(b"LC_CTYPE=")), None)
    if was is None:
        del os.environ["LC_CTYPE"]
    else:
        os.environb[b"LC_CTYPE"] = was.partition(b"=")[2]


def _step(error: SystemCallError, steals: bool) -> str:
    """What to say of a step that failed before the program's turn."""
    text = f"{_STEPS.get(error.call, error.call)}: {error.strerror}"
    if error.hint:
        text += f": {error.hint}"
    if error.call == "ioctl(TIOCSCTTY)" and error.errno == errno.EPERM and "of session" in (error.hint or ""):
        text += "; to take it from there needs CAP_SYS_ADMIN" if steals else "; --steal takes it from there"
    return text


# -- executing


def _execute(argv: list[str]) -> NoReturn:
    """Execute the program in this process, as execvp(3) does. Raises _FailedError."""
    number, index = errno.ENOENT, 0
    for place, path in enumerate(_candidates(argv[0])):
        tried = _execute_file(path, argv)
        if number != errno.EACCES or tried not in _ELSEWHERE:
            number, index = tried, place
        if tried not in _ELSEWHERE:
            break
    hint = _hint(number, index, argv)
    text = f"failed to execute {argv[0]}: {os.strerror(number)}" + (f": {hint}" if hint else "")
    raise _FailedError(NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE, text)


def _candidates(program: str) -> list[str]:
    if not program:
        return []
    if "/" in program:
        return [program]
    path = os.environ.get("PATH", os.defpath)
    return [os.path.join(directory, program) for directory in path.split(":")]


def _execute_file(path: str, argv: list[str]) -> int:
    """Execute `path`, or sh if it is a script that does not name its interpreter. Returns the errno."""
    # Not execve: its environment would be os.environ, which lacks what is no NAME=VALUE.
    try:
        os.execv(path, argv)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            return error.errno or errno.EIO
    try:
        os.execv("/bin/sh", ["/bin/sh", path, *argv[1:]])
    except OSError as error:
        return error.errno or errno.EIO


def _hint(number: int, index: int, argv: list[str]) -> str | None:
    """Why the program at place `index` of PATH could not be executed. A courtesy, as all hints are."""
    try:
        from .._child_hints import child_hint
        from .._marshal import APPLY, Plan

        setup = ChildSetup()
        program, arguments = os.fsencode(argv[0]), b"\0".join(map(os.fsencode, argv))
        facts = (setup, True, Plan(setup, APPLY).struct, program, arguments, dict(os.environb))
        return child_hint(number, "execve", index, *facts)
    except Exception:
        return None


# -- in a child


def _in_child(argv: list[str], setup: ChildSetup, *, waits: bool) -> int:
    """Execute the program in a child. Returns the exit status, once the program is executed or has ended.

    By `fork` and not by `spawn`, since a script without an interpreter's name takes two execs in one process: a second
    child would find the terminal hung up, which the first one has led and left.
    """
    passed_on = _passed_on() if waits else set()
    # Those that come from here on wait until there is a child to pass them on to.
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, passed_on)
    ignores_children = is_ignored(_signal.SIGCHLD)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # else the kernel drops the child's status
    reader, writer = os.pipe()  # the exec closes the child's end
    process = fork(setup)
    if process is None:
        _child(argv, writer, mask, ignores_children)
    os.close(writer)
    with open(reader, "rb") as pipe:
        told = pipe.read()
    if told:
        status, _, message = told.partition(b" ")
        process.wait()
        process.close()
        raise _FailedError(int(status), os.fsdecode(message))
    if waits:
        return _wait(process, passed_on)
    process.close()
    return 0


def _child(argv: list[str], writer: int, mask: set[int], ignores_children: bool) -> NoReturn:
    try:
        if ignores_children:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        _execute(argv)
    except _FailedError as failure:
        # Not to standard error: if that is closed, its number may be the pipe's.
        os.write(writer, b"%d %s" % (failure.status, os.fsencode(failure.message)))
    finally:
        os._exit(FAILED)


def _passed_on() -> set[int]:
    """The signals to pass on, and SIGCHLD.

    Not those that are ignored: the program ignores them too. Stop signals stop this process, as they stop any: the
    program's group has no parent in its session, so it would not be stopped by them.
    """
    numbers = _signal.valid_signals() - _STOPS - {_signal.SIGKILL, _signal.SIGSTOP}
    return {number for number in numbers if not is_ignored(number)} | {_signal.SIGCHLD}


def _wait(process: Process, passed_on: set[int]) -> int:
    """Wait for the program, pass signals on to it, and return its exit status as a shell gives it."""
    while (status := process.poll()) is None:
        number = _signal.sigwait(passed_on)
        if number == _signal.SIGCHLD:
            continue
        try:
            process.send_signal(number)
        except SystemCallError as error:  # it has become another user's
            complain(COMMAND, f"could not pass signal {number} on to process {process.pid}: {error.strerror}")
    process.close()
    return status if status >= 0 else 128 - status
