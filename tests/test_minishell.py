"""examples/minishell.py: on a terminal of tmux, on a pty under 200 pipelines, and with a script on its stdin."""

from __future__ import annotations

import os
import random
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("readline", reason="this Python comes without readline, which the example uses")

import setsid
from setsid.tty import Pty
from support import ON_PYPY, TESTS, session_of, terminal_modes, waits_for_child

MINISHELL = TESTS.parent / "examples" / "minishell.py"
COMMAND = [sys.executable, "-X", "dev", "-W", "error", str(MINISHELL)]
PYPYS_READLINE = "PyPy's readline draws its line in another way"
DEADLINE = 30  # seconds for anything to be shown


# -- as a user sees it, in tmux


class Tmux:
    """A tmux server of its own, with one window."""

    def __init__(self, program: str, name: str, directory: Path) -> None:
        self._command = [program, "-L", name, "-f", "/dev/null"]
        self._env = {**os.environ, "TMUX_TMPDIR": str(directory), "TERM": "xterm", "PS1": "", "TMUX": ""}
        self.run("new-session", "-d", "-c", str(directory), "-x", "100", "-y", "50", *COMMAND)
        self.tty = self.run("display-message", "-p", "#{pane_tty}").strip()
        self.shell = int(self.run("display-message", "-p", "#{pane_pid}"))

    def run(self, *arguments: str) -> str:
        return subprocess.run(
            [*self._command, *arguments], env=self._env, capture_output=True, text=True, check=True, timeout=DEADLINE
        ).stdout

    def type(self, *keys: str) -> None:
        """Type keys by tmux's names (C-c), and a text of several characters as it is."""
        for key in keys:
            self.run("send-keys", *(["-l"] if len(key) > 1 and not re.fullmatch(r"C-.|Enter", key) else []), key)

    def enter(self, line: str) -> None:
        self.type(line, "Enter")

    def until(self, pattern: str) -> str:
        """The screen, once it ends with `pattern` (lines without their ends)."""
        deadline = time.monotonic() + DEADLINE
        while time.monotonic() < deadline:
            screen = "\n".join(line.rstrip() for line in self.run("capture-pane", "-p").rstrip().split("\n"))
            if re.search(pattern + r"\Z", screen, re.MULTILINE):
                return screen
        raise AssertionError(f"no {pattern!r} in\n{screen}")

    def in_foreground(self, line: str) -> None:
        """Enter a line, and wait until its job has the terminal and the shell waits for it."""
        self.enter(line)
        deadline = time.monotonic() + DEADLINE
        while not (session_of(self.shell)["tpgid"] != self.shell and waits_for_child(self.shell)):
            assert time.monotonic() < deadline, line

    def clear(self) -> None:
        """Have an empty screen but for the prompt, which shows that the shell has its terminal."""
        self.type("C-l")
        self.until(r"\A\$")


@pytest.fixture
def tmux(need: Callable[..., str], tmp_path: Path) -> Iterator[Tmux]:
    """The shell in tmux, at its first prompt."""
    if ON_PYPY:
        pytest.skip(PYPYS_READLINE)
    server = Tmux(need("tmux"), f"minishell-{os.getpid()}", tmp_path)
    try:
        server.until(r"\A\$")
        yield server
    finally:
        server.run("kill-server")


def modes(tty: str | int) -> list[object]:
    fd = tty if isinstance(tty, int) else os.open(tty, os.O_RDWR | os.O_NOCTTY)
    try:
        return terminal_modes(fd)
    finally:
        if fd != tty:
            os.close(fd)


def test_a_stopped_pipeline_goes_on_in_the_foreground_and_in_the_background(tmux: Tmux, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    tmux.in_foreground("cat | tr a-z A-Z | tee fifo")
    with open(fifo) as reader:
        tmux.type("C-z")
        tmux.until(r"\^Z\n\[1\]\+ Stopped +cat \| tr a-z A-Z \| tee fifo\n\$")
        tmux.in_foreground("fg")
        tmux.until(r"\$ fg\ncat \| tr a-z A-Z \| tee fifo")
        tmux.enter("once more")
        tmux.type("C-d")
        tmux.until(r"once more\nONCE MORE\n\$")
        assert reader.read() == "ONCE MORE\n"
    tmux.clear()
    tmux.in_foreground("cat fifo | tr a-z A-Z | sort -r")
    with open(fifo, "w") as writer:
        tmux.type("C-z")
        tmux.until(r"\[1\]\+ Stopped .*\n\$")
        tmux.enter("jobs")
        tmux.until(r"\$ jobs\n\[1\]\+ Stopped .*\n\$")
        tmux.enter("bg")
        tmux.until(r"\$ bg\n\[1\] cat fifo .* \| sort -r &\n\$")
        writer.write("a\nb\n")
    tmux.until(r"\$ B\nA")
    tmux.type("Enter")
    tmux.until(r"\n\[1\]\+ Done +cat fifo .*\n\$")


def test_ctrl_c_ends_the_pipeline_in_the_foreground_alone(tmux: Tmux) -> None:
    tmux.enter("sleep 600 | sleep 600 &")
    tmux.until(r"\[1\] [0-9]+\n\$")
    tmux.in_foreground("sleep 600 | sleep 600 | sleep 600")
    tmux.type("C-c")
    tmux.until(r"\^C\n\$")
    tmux.enter("jobs")
    tmux.until(r"\$ jobs\n\[1\]\+ Running +sleep 600 \| sleep 600\n\$")
    tmux.type("half a line")
    tmux.until(r"\$ half a line")
    tmux.type("C-c")
    tmux.until(r"\$ half a line(\^C)?\n\$")
    tmux.in_foreground("fg %1")
    tmux.until(r"\$ fg %1\nsleep 600 \| sleep 600")
    tmux.type("C-c")
    tmux.until(r"\^C\n\$")
    tmux.enter("jobs")
    tmux.until(r"\$ jobs\n\$")


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$"])
def test_a_terminal_left_raw_is_put_right(tmux: Tmux, end: str) -> None:
    before = modes(tmux.tty)
    tmux.enter(f"sh -c 'stty raw -echo; {end}'")
    tmux.until(r"'\n(Killed\n)?\$")
    tmux.clear()
    tmux.enter("echo it is still echoed | cat -A")
    tmux.until(r"\$ echo it is still echoed \| cat -A\nit is still echoed\$\n\$")
    assert modes(tmux.tty) == before  # those of readline: it waits for a line again


def test_a_program_that_is_stopped_raw_is_raw_again_and_the_shell_is_not(tmux: Tmux) -> None:
    tmux.enter("sh -c 'stty -echo; kill -STOP $$; read line; echo $line | tr a-z A-Z'")
    tmux.until(r"\n\[1\]\+ Stopped .*\n\$")
    tmux.enter("echo shown")
    tmux.until(r"\$ echo shown\nshown\n\$")
    tmux.in_foreground("fg")
    tmux.enter("hidden")
    screen = tmux.until(r"\nHIDDEN\n\$")
    assert "hidden" not in screen


# -- 200 pipelines of 5


class Terminal:
    """The shell on a pty, and what it has shown."""

    def __init__(self) -> None:
        self.pty = Pty(rows=24, columns=200)
        self.process = self.pty.spawn(COMMAND, env={**os.environ, "TERM": "dumb"})
        self.text = ""

    def until(self, pattern: str) -> str:
        """What was shown since the last time, once it ends with `pattern`."""
        deadline = time.monotonic() + DEADLINE
        while not re.search(pattern + r"\Z", self.text):
            left = deadline - time.monotonic()
            assert select.select([self.pty.manager], [], [], max(left, 0))[0], f"no {pattern!r} in {self.text!r}"
            self.text += os.read(self.pty.manager, 65536).decode()
        seen, self.text = self.text, ""
        return seen

    def type(self, text: str) -> None:
        os.write(self.pty.manager, text.encode())


PROGRAMS = ["cat", "sleep 600", "sh -c 'stty raw -echo </dev/tty; cat'", "sh -c 'sleep 600 & cat'", "tr a b"]


@pytest.mark.skipif(ON_PYPY, reason=PYPYS_READLINE)
def test_200_pipelines_with_random_signals_and_the_shell_gets_its_terminal_back_each_time() -> None:
    chance = random.Random(8)
    terminal = Terminal()
    terminal.until(r"\$ ")
    shell, manager = terminal.process.pid, terminal.pty.manager
    before = modes(manager)
    for number in range(200):
        line = " | ".join(chance.choice(PROGRAMS) for _ in range(5))
        terminal.type(line + "\r")
        # Once the job has the terminal.
        deadline = time.monotonic() + DEADLINE
        while (group := os.tcgetpgrp(manager)) == shell:
            assert time.monotonic() < deadline, line
        for _ in range(chance.randrange(3)):
            members = [process.pid for process in setsid.Session(shell).processes() if process.pgid == group]
            if members:
                send(chance.choice(members), chance.choice(["SIGSTOP", "SIGCONT", "SIGTERM", "SIGTSTP", "SIGUSR1"]))
        send(-group, chance.choice(["SIGKILL", "SIGINT", "SIGTERM", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGHUP"]))
        last = chance.choice(["SIGKILL", "SIGKILL", "SIGSTOP"])  # a SIGHUP to one that is stopped does nothing
        # One that is dying, after its program, may still take what is typed: read(2) takes what is there first.
        while os.tcgetpgrp(manager) != shell or are_running(shell, group):
            assert time.monotonic() < deadline, line
            send(-group, last)
            if last == "SIGSTOP":  # it can't stop who waits for a vfork(2) whose child is stopped already
                send(-group, "SIGCONT")
                os.sched_yield()
                send(-group, last)
        terminal.type(f"echo answer {number} | cat\r")
        terminal.until(rf"\nanswer {number}\r\n(\[.*\r\n)*\$ ")
        assert (os.tcgetpgrp(manager), modes(manager)) == (shell, before)
    held = {process.pid for process in setsid.Session(shell).processes() if process.ppid == shell}
    terminal.type("exit 7\r")
    assert terminal.process.wait(DEADLINE) == 7
    # Whose programs have ended it knows nothing of: what these had in the background, and the signals spared.
    left = {process.pid for process in setsid.Session(shell).processes() if process.state != "Z"}
    assert held & left == set() != held
    setsid.Session(shell).end(0)
    terminal.process.close()
    terminal.pty.close()


def are_running(sid: int, group: int) -> bool:
    return any(process.pgid == group and process.state not in "TZX" for process in setsid.Session(sid).processes())


def send(pid: int, name: str) -> None:
    try:
        os.kill(pid, signal.Signals[name])
    except ProcessLookupError:
        pass


def test_in_an_orphaned_group_in_the_background_it_says_so() -> None:
    orphan = """
import os, sys
reader, writer = os.pipe()
if os.fork() == 0:
    os.setpgid(0, 0)
    os.close(writer)
    os.read(reader, 1)  # until the parent has ended
    os.execv(sys.argv[1], sys.argv[1:])
os.setpgid(0, 0)
"""
    leader = "import signal, subprocess, sys; subprocess.run(sys.argv[1:]); signal.pause()"
    with Pty() as pty, pty.spawn([sys.executable, "-c", leader, sys.executable, "-c", orphan, *COMMAND]) as process:
        text = b""
        while b"\n" not in text:
            assert select.select([pty.manager], [], [], DEADLINE)[0]
            text += os.read(pty.manager, 65536)
        process.end(0)
        assert text == b"minishell: nobody gives it the terminal\r\n"


# -- without a terminal


def script(lines: str, directory: Path) -> tuple[int, str, str]:
    result = subprocess.run(
        COMMAND, input=lines, cwd=directory, capture_output=True, text=True, check=False, start_new_session=True
    )
    return result.returncode, result.stdout, result.stderr


def test_a_script_runs_pipelines_with_files_and_quotes(tmp_path: Path) -> None:
    lines = """
echo 'a | b' "c  > d" e\\ f '&' | tr a-z A-Z > file
cat < file | rev | rev >> file
cat file
cd /usr
pwd
sh -c 'exit 3' | cat
exit
"""
    assert script(lines, tmp_path) == (3, "A | B C  > D E F &\n" * 2 + "/usr\n", "")


def test_a_script_has_jobs_but_no_job_control_and_what_is_left_is_hung_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    lines = "sh -c 'echo $$ >fifo; kill -STOP $$' | sleep 600 &\ncat fifo\njobs\nfg\nbg\nexit 5\n"
    status, stdout, stderr = script(lines, tmp_path)
    pgid, told, running = stdout.splitlines()
    assert (status, pgid) == (5, f"[1] {told}")
    assert re.fullmatch(r"\[1\]\+ (Running|Stopped) +sh -c .*", running)
    assert stderr == "minishell: fg: no job control\nminishell: bg: no job control\n"
    assert not os.path.exists(f"/proc/{told}")


@pytest.mark.parametrize(
    ("line", "told", "status"),
    [
        ("nosuch | cat", "'nosuch' (execve, stage exec): command 1 of 2, 'nosuch': there is none in PATH", 127),
        ("cat < nosuch", "No such file or directory: 'nosuch'", 127),
        ("cd /nosuch", "No such file or directory: '/nosuch'", 127),
        ("true | | true", "syntax error near '|'", 1),
        ("| true", "syntax error near '|'", 1),
        ("true |", "syntax error near '|'", 1),
        ("true > | true", "syntax error near '|'", 1),
        ("true & true", "syntax error near '&'", 1),
        ("echo 'unclosed", 'syntax error near "\'unclosed"', 1),
    ],
)
def test_an_error_is_told_and_the_shell_goes_on(line: str, told: str, status: int, tmp_path: Path) -> None:
    returncode, stdout, stderr = script(f"{line}\nexit\n", tmp_path)
    assert (returncode, stdout) == (status, "")
    assert re.fullmatch(rf"minishell: .*{re.escape(told)}\n", stderr), stderr


def test_it_is_a_page_of_text() -> None:
    source = MINISHELL.read_text().splitlines()
    assert len(source) < 150
    imported = {line.split()[1].split(".")[0] for line in source if line.startswith(("import ", "from "))}
    assert imported - {"setsid"} <= sys.stdlib_module_names
