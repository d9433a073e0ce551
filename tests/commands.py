"""Commands run in sessions of their own, and what becomes of the programs that they start. Helpers import it."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import signal
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import setsid
from helper import session_of, status

PYSETSID = os.path.join(sysconfig.get_path("scripts"), "pysetsid")
SETSID = "/usr/bin/setsid"
# What a program has besides its standard streams: it waits for the end of one, and writes to the other; and one more.
GATE, RESULT, FURTHER = 8, 9, 77
_SAME = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "CapEff", "NoNewPrivs", "Cpus_allowed")
# How glibc, and setsid(1) with it, tells of an errno of which another libc tells otherwise.
_GLIBCS = {"Inappropriate ioctl for device": errno.ENOTTY, "File name too long": errno.ENAMETOOLONG}


def of_this_libc(message: str) -> str:
    """What setsid(1) says, with the reasons in the words of the libc that this Python has."""
    for reason, number in _GLIBCS.items():
        message = message.replace(reason, os.strerror(number))
    return message


PROGRAMS = {
    "probe": f"#!/bin/sh\necho $$ >&{RESULT}\nexec cat /dev/fd/{GATE}\n",
    "exit0": f"#!/bin/sh\necho ran >&{RESULT}\n",
    "exit3": f"#!/bin/sh\necho ran >&{RESULT}\nexit 3\n",
    "exit255": f"#!/bin/sh\necho ran >&{RESULT}\nexit 255\n",
    "killed": f"#!/bin/sh\necho ran >&{RESULT}\nkill -KILL $$\n",
    "bare": f'echo "$0" "$#" "$@" >&{RESULT}\nexit 4\n',  # no interpreter named
    "empty": "",
    "no_interpreter": "#!/nowhere/sh\n",
    "not_executable": "#!/bin/sh\n",
}


def make_programs(directory: Path) -> None:
    """Write the programs, and what is none."""
    for name, source in PROGRAMS.items():
        (directory / name).write_text(source)
        (directory / name).chmod(0o644 if name == "not_executable" else 0o755)
    (directory / "directory").mkdir()


class Pipe:
    """A pipe whose ends have high numbers, so that the ones for the program are free."""

    def __init__(self) -> None:
        ends = os.pipe()
        self.reader, self.writer = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 100) for end in ends)
        for end in ends:
            os.close(end)

    def line(self) -> str:
        """The next line, or what there is at the end."""
        text = b""
        while not text.endswith(b"\n") and (part := os.read(self.reader, 1)):
            text += part
        return text.decode(errors="surrogateescape")

    def rest(self) -> str:
        """All until nobody holds the other end any more."""
        with open(self.reader, "rb", closefd=False) as file:
            return file.read().decode(errors="surrogateescape")


class Running:
    """A command that is running, and what its programs write and wait for.

    The caller's session gets a terminal if it is to have one, so it had better be the caller's own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        terminal: str = "none",
        leads: bool = False,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        """`terminal`: whose the terminal is that is the standard input: "nobody's", the "session's", or "none" at all.
        `leads`: whether the command leads a process group. `prepare` is called right before it is executed.
        """
        self.manager = self.terminal = -1
        if terminal != "none":
            self.manager, self.terminal = os.openpty()
        if terminal == "session's":
            setsid.acquire_ctty(self.terminal)
        self.gate, self.result, self.out, self.err = Pipe(), Pipe(), Pipe(), Pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._become(argv, leads, prepare)
            finally:
                os._exit(99)
        if leads:
            try:
                os.setpgid(self.pid, self.pid)
            except PermissionError:  # it has been quicker
                pass
        for end in (self.gate.reader, self.result.writer, self.out.writer, self.err.writer):
            os.close(end)

    def _become(self, argv: Sequence[str], leads: bool, prepare: Callable[[], object] | None) -> NoReturn:
        if leads:
            os.setpgid(0, 0)
        stdin = self.terminal if self.terminal >= 0 else os.open("/dev/null", os.O_RDONLY)
        for fd, number in (
            *((stdin, 0), (self.out.writer, 1), (self.err.writer, 2)),
            *((self.gate.reader, GATE), (self.result.writer, RESULT), (self.err.writer, FURTHER)),
        ):
            os.dup2(fd, number)
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if prepare is not None:
            prepare()
        os.execv(argv[0], list(argv))

    def open_gate(self) -> None:
        """Let the probe end."""
        os.close(self.gate.writer)

    def echo(self) -> None:
        """Return once the probe is cat, which waits at the gate."""
        os.write(self.gate.writer, b"x")
        assert os.read(self.out.reader, 1) == b"x"

    def ended(self) -> int:
        """Its exit status, -n if signal n ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _unusual_signals() -> None:
    """For the program to inherit."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])


def _facts(pid: int, command: Running) -> dict[str, object]:
    """What a program has that is at rest."""
    ids = session_of(pid)
    parents = {os.getpid(): "the session's leader", command.pid: "the command"}
    facts: dict[str, object] = {name: value for name, value in status(pid).items() if name in _SAME}
    facts |= {
        "is the command": pid == command.pid,
        "parent": parents.get(ids["ppid"], "none"),
        "leads": (ids["sid"] == pid, ids["pgid"] == pid),
        "has a terminal": ids["tty"] != 0,
        "is in the foreground": ids["tpgid"] == pid,
        "cwd": os.readlink(f"/proc/{pid}/cwd"),
    }
    for name in ("cmdline", "environ", "limits", "oom_score_adj"):
        facts[name] = Path(f"/proc/{pid}/{name}").read_bytes()
    fds = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}").partition("[")[0] for fd in os.listdir(f"/proc/{pid}/fd")}
    facts["fds"] = {fd: "terminal" if name.startswith("/dev/pts/") else name for fd, name in fds.items()}
    return facts


def outcome(argv: Sequence[str], *, terminal: str, leads: bool, waits: bool) -> dict[str, object]:
    """What becomes of a command: its status, what its program did or what that has, and whether the session keeps its
    terminal. In a session of its own.
    """
    told = Pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(told.reader)
            os.setsid()
            signal.signal(signal.SIGHUP, lambda *_: None)  # the terminal may be hung up
            seen = _outcome(argv, terminal, leads, waits)
            with open(told.writer, "w") as file:
                file.write(repr(seen))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(0)
    os.close(told.writer)
    text = told.rest()
    os.close(told.reader)
    os.waitpid(pid, 0)
    seen = ast.literal_eval(text)
    assert isinstance(seen, dict)
    return seen


def _outcome(argv: Sequence[str], terminal: str, leads: bool, waits: bool) -> dict[str, object]:
    command = Running(argv, terminal=terminal, leads=leads, prepare=_unusual_signals)
    ended = None
    facts: object = None
    said = command.result.line().strip()
    if said.isdecimal():
        pid = int(said)
        command.echo()
        if pid != command.pid and not waits:  # so that it is nobody's child
            ended = command.ended()
        facts = _facts(pid, command)
        said = "probe"
    command.open_gate()
    return {
        "status": command.ended() if ended is None else ended,
        "said": said + command.result.rest(),
        "facts": facts,
        "stderr": command.err.rest(),
        "keeps its terminal": session_of(os.getpid())["tty"] != 0,
    }
