"""A session on a terminal, with a group of each kind, for lssid and killsid to find. Helpers import it."""

from __future__ import annotations

import fcntl
import json
import os
import struct
import subprocess
import sys
import sysconfig
import termios
import time
from types import TracebackType

import setsid
from helper import LACKING, status

_SCRIPTS = sysconfig.get_path("scripts")

# What the session's leader does. Each of its children is a group of its own but for the second of the pipeline's; all
# end by themselves when the test does, since they read from a pipe of its.
_SOURCE = """
import json, os, signal, sys

def child(group, work=lambda: None):
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, group)
        if group == 0 and work is foreground:
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(2, os.getpid())
        elif work is not foreground:
            work()
        os.write(say, b"x")
        if work is stop:
            os.kill(os.getpid(), signal.SIGSTOP)
        os.read(0, 1)
        os._exit(0)
    os.close(say)
    os.read(ready, 1)
    os.close(ready)
    return pid

def foreground():
    pass

def stop():
    pass

def orphan():  # in a group of its own, whose parent is gone
    os.setpgid(0, 0)
    ready, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.write(told, b"%d" % os.getpid())
        os.write(say, b"x")
        os.read(0, 1)
        os._exit(0)
    os.read(ready, 1)
    os._exit(0)

tell, told = os.pipe()
pids = {"leader": os.getpid()}
pids["first"] = child(0, foreground)
pids["second"] = child(pids["first"], foreground)
pids["stopped"] = child(0, stop)
os.waitpid(pids["stopped"], os.WUNTRACED)
between = os.fork()
if between == 0:
    orphan()
os.waitpid(between, 0)
pids["orphan"] = int(os.read(tell, 20))
pids["zombie"] = os.fork()
if pids["zombie"] == 0:
    os._exit(0)
os.waitid(os.P_PID, pids["zombie"], os.WEXITED | os.WNOWAIT)
print(json.dumps(pids), flush=True)
os.read(0, 1)
"""


class Scene:
    """A session on a terminal, until the `with` block ends.

    Attributes:
        pids: by what they are: leader, first and second of the foreground's group, stopped, orphan, zombie.
        tty: the terminal's path.
    """

    def __init__(self) -> None:
        self._manager, terminal = os.openpty()
        self.tty = os.ttyname(terminal)
        self._lifeline, writer = os.pipe(), os.pipe()
        plan = setsid.ChildSetup(ctty=terminal, stdin=self._lifeline[0], stdout=writer[1], stderr=terminal)
        self._process = setsid.spawn([sys.executable, "-ISc", LACKING + _SOURCE], plan)
        os.close(writer[1])
        os.close(terminal)
        with open(writer[0]) as file:
            self.pids: dict[str, int] = json.loads(file.readline())
        self.sid = self._process.pid
        self._await_rest()

    def _await_rest(self) -> None:
        """Until each is stopped, a zombie, or asleep in its read: they tell a moment before."""
        deadline = time.monotonic() + 30
        for name, pid in self.pids.items():
            while status(pid)["State"][0] != {"stopped": "T", "zombie": "Z"}.get(name, "S"):
                assert time.monotonic() < deadline, f"{name}: {status(pid)['State']}"
                time.sleep(0.001)

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.end(0)
        for fd in (*self._lifeline, self._manager):
            os.close(fd)


def command(
    name: str, *arguments: object, env: dict[str, str] | None = None, **more: object
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with its output in pipes."""
    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [os.path.join(_SCRIPTS, name), *map(str, arguments)],
        **{"capture_output": True, "encoding": "utf-8", "errors": "surrogateescape", "timeout": 60, **more},
        env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        check=False,
    )


def on_terminal(columns: int, name: str, *arguments: object, **env: str) -> str:
    """What a command writes to a terminal of so many columns, which is nobody's."""
    manager, terminal = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    variables = {"LC_ALL": "C.UTF-8", "TERM": "xterm", **env}
    process = setsid.spawn(
        [os.path.join(_SCRIPTS, name), *map(str, arguments)],
        stdout=terminal,
        env={**{k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}, **variables},
    )
    os.close(terminal)
    text = b""
    try:
        while part := os.read(manager, 65536):
            text += part
    except OSError:  # EIO: nobody has it open any more
        pass
    os.close(manager)
    assert process.wait() == 0, text
    process.close()
    return text.decode().replace("\r\n", "\n")
