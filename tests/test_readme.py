"""The README's Python blocks run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support import fresh

README = Path(__file__).resolve().parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)

# What the README's reader has: a directory, a log file, and programs of these names.
SETTING = """
import tempfile
made = tempfile.TemporaryDirectory()
directory = made.name
os.chdir(directory)
for name, script in ("make", "exit 0"), ("tests", "exit 3"), ("server", "exec sleep 60"):
    with open(name, "w") as file:
        file.write(f"#!/bin/sh\\n{script}\\n")
    os.chmod(name, 0o755)
os.environ["PATH"] = f"{directory}:{os.environ['PATH']}"
log = open("log", "w")
import asyncio, concurrent.futures, multiprocessing, socket, subprocess, traceback
work, jobs = os.getsid, [0] * 20
listener, asking = socket.socketpair()
serve = lambda listener: listener.recv(1)
"""

# What a shell on a terminal says, and its end.
SHELL_ON_TERMINAL = """
os.write(manager, b"tty; ps -o sid= -p $$; exit\\n")
said = b""
try:
    while part := os.read(manager, 1000):
        said += part
except OSError as error:
    assert error.errno == errno.EIO
assert b"/dev/pts/" in said and b"%d" % shell.pid in said and shell.wait() == 0, said
os.close(manager)
"""

# A terminal that is the reader's own.
TERMINAL = """
import fcntl, termios
stdin, (manager, terminal) = sys.stdin, os.openpty()
fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
sys.stdin = open(terminal)
"""

# What some blocks' readers have besides.
FIRST = {
    "setsid.sessions()": "led = setsid.spawn(['server']); sid = led.pid\n",
    "setsid.jobs": TERMINAL,
}

# A word of each block, and what must hold when it has run.
HOLDS = {
    "preexec_fn=os.setsid": "assert process.returncode == 0",
    'Popen(["make"], setup': "assert process.returncode == 0 and isinstance(process, setsid.Popen)",
    "os.killpg": "assert (output, process.returncode) == (b'', 3); process.stdout.close()",
    "setsid.run": "assert output == b''",
    "acquire_terminal": SHELL_ON_TERMINAL,
    '"sh"], setup=': SHELL_ON_TERMINAL,
    "aio.run": "assert (listing.split(), status) == (['log', 'make', 'server', 'tests'], 0)",
    "-j8": "assert process.returncode == 0",
    "Stage.CWD": """
def refused(**changes):
    try:
        setsid.spawn(["./build.sh"], **changes)
    except FileNotFoundError as error:
        return error.stage  # a SystemCallError too
assert (refused(), refused(cwd="nowhere")) == (setsid.Stage.EXEC, setsid.Stage.CWD)
""",
    "setsid.tty.Pty": "assert b'/dev/pts/' in said and status == 0; shell.close()",
    "spawn_detached": "assert not daemon._child.kept",
    "setsid.jobs": """
assert job.returncodes == [0, 0, 0] and len(job.processes) == 3
assert setsid.tcgetpgrp(terminal) == os.getpgrp()
signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.stdin.close(); os.close(manager); sys.stdin = stdin
""",
    "listing =": """
assert listing.split() == ['log', 'make', 'server', 'tests'] and process.wait() == 0
process.close()
""",
    "ProcessPoolExecutor": "assert results[0] != os.getsid(0) and len(results) == 20",
    "setsid.fork": "assert process.returncode == -signal.SIGTERM; process.close()",
    "setsid.sessions()": "assert report.ended == (sid,) and led.wait() == -signal.SIGTERM; led.close()",
    "exec tests": """
assert status == 3
assert {process.state for process in setsid.Session(job.pid).processes()} <= {"Z"}
""",
}


# This one becomes a daemon, so it is a program by itself.
(DAEMON,) = [block for block in BLOCKS if "daemonize(" in block]
BLOCKS.remove(DAEMON)

SERVE = """
def serve(listener):
    with listener, listener.accept()[0] as client:
        client.sendall(client.recv(100))
"""

# Starts it twice, and is served once, at which it ends.
RUN_DAEMON = r"""
import ctypes, re, socket, subprocess
from setsid.daemon import PidFile
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER: the daemon comes to us
directory, source = sys.argv[1:]
os.chdir(directory)
with open("daemon.py", "w") as file:
    file.write(source)
def start():
    argv = [sys.executable, "-X", "dev", "-W", "error", "daemon.py"]
    result = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return result.returncode, result.stdout, result.stderr
with nothing_left():
    try:
        status, told, errors = start()
        assert (status, errors) == (0, ""), errors
        pid, port = map(int, re.fullmatch(r"process (\d+) listens on port (\d+)\n", told).groups())
        assert PidFile("echo.pid").owner() == pid
        assert start() == (1, "", f"daemon.py: already running as pid {pid}\n")
        with socket.create_connection(("localhost", port), timeout=60) as client:
            client.sendall(b"echo")
            assert client.recv(100) == b"echo"
        assert os.waitpid(pid, 0) == (pid, 0)
        assert os.listdir() == ["daemon.py"]
    finally:
        for left in children():
            os.kill(left, signal.SIGKILL)
            os.waitpid(left, 0)
"""


@pytest.mark.parametrize("block", BLOCKS, ids=[block.split("\n", 1)[0][:40] for block in BLOCKS])
def test_a_block_of_the_readme_does_what_it_says(block: str) -> None:
    (holds,) = [check for word, check in HOLDS.items() if word in block]
    first = "".join(source for word, source in FIRST.items() if word in block)
    fresh(
        SETTING
        + "with nothing_left():\n"
        + "".join(f"    {line}\n" for line in (first + block + holds).splitlines())
        + "log.close(); listener.close(); asking.close()"
    )


def test_the_daemon_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    fresh(RUN_DAEMON, tmp_path, SERVE + DAEMON)
