"""Real programs on a Pty do what they do on a real terminal. A screen is read as a person would read it."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest

import setsid
from screen import Screen
from support import TESTS, nothing_left

Need = Callable[..., str]
PROMPT = r"^\$\Z"
AT_PROMPT = r"Stopped(.*\n)+\$\Z"
CTRL_C, CTRL_D, CTRL_Z, CTRL_BACKSLASH = "\x03", "\x04", "\x1a", "\x1c"


@pytest.fixture
def bash(need: Need, tmp_path: Path) -> Callable[..., Screen]:
    """Bash -i on a screen, in a directory with `reader`: a cat that says when the terminal is its own.

    What is typed before that may meet the shell.
    """
    program = need("bash")
    reader = tmp_path / "reader"
    reader.write_text("#!/bin/sh\necho ready\nexec cat\n")
    reader.chmod(0o755)

    def start() -> Screen:
        screen = Screen([program, "--noprofile", "--norc", "-i"], cwd=str(tmp_path), PS1="$ ", HOME=str(tmp_path))
        screen.expect(PROMPT)
        return screen

    return start


def clear(screen: Screen) -> None:
    """What the next patterns find was not there before."""
    screen.type("clear\n")
    screen.expect(r"\A\$\Z")


def foreground(screen: Screen) -> int:
    """The group that what is typed goes to."""
    return setsid.tcgetpgrp(screen.pty.manager)


# -- bash


def test_bash_has_job_control(bash: Callable[..., Screen]) -> None:
    with nothing_left(), bash() as screen:
        assert screen.lines[0] == "$"  # no "no job control in this shell" above it, nor anything else
        screen.type("echo $-; tty; stty size\n")
        assert "m" in screen.expect(r"^(\w*i\w*)$")[1]
        screen.expect(f"^{screen.pty.name}$")
        screen.expect("^24 80$")
        assert setsid.tcgetsid(screen.pty.manager) == screen.process.pid == os.getsid(screen.process.pid)
        screen.type("exit 7\n")
        assert screen.expect_end() == 7


def test_ctrl_c_in_bash_meets_the_foreground_group_only(bash: Callable[..., Screen]) -> None:
    with nothing_left(), bash() as screen:
        screen.type("sleep 1000 &\n")
        screen.expect(r"^\[1\] \d+$")
        clear(screen)
        # A Ctrl-C that comes between two commands of its own dash notes until the second has ended: so one has to run.
        screen.type("sh -c 'sed -u s/^/heard:/; echo survived' | cat\n")
        screen.type("first\n")
        screen.expect("^heard:first$")
        group = foreground(screen)
        assert group != screen.process.pid
        screen.type(CTRL_C)
        screen.expect(r"^\^C\n\$\Z")
        assert foreground(screen) == screen.process.pid
        screen.type("echo status ${PIPESTATUS[0]}; jobs\n")
        screen.expect("^status 130$")
        screen.expect(r"^\[1\]\+  Running +sleep 1000 &$")
        assert "survived" not in screen.lines
        screen.type("kill %1; wait $!; echo waited $?\n")
        screen.expect(r"^waited 143\n(.*\n)*\$\Z")
        screen.type(CTRL_D)
        assert screen.expect_end() == 0


def test_ctrl_z_in_bash_stops_and_fg_continues(bash: Callable[..., Screen]) -> None:
    with nothing_left(), bash() as screen:
        for _ in range(3):
            clear(screen)
            screen.type("./reader\n")
            screen.expect("^ready$")
            screen.type("first\n")
            screen.expect("^first\nfirst$")
            screen.type(CTRL_Z)
            screen.expect(r"^\[1\]\+  Stopped +./reader\n\$\Z")
            assert foreground(screen) == screen.process.pid
            screen.type("fg\n")
            screen.expect(r"fg\n./reader\Z")
            screen.type("second\n")
            screen.expect("^second\nsecond$")
            assert foreground(screen) != screen.process.pid
            screen.type(CTRL_D)
            screen.expect(r"second\n\$\Z")
        screen.type("exit\n")
        screen.expect_end()


def test_ctrl_backslash_in_bash_quits(bash: Callable[..., Screen]) -> None:
    with nothing_left(), bash() as screen:
        screen.type("ulimit -c 0; ./reader\n")
        screen.expect("^ready$")
        screen.type(CTRL_BACKSLASH)
        screen.expect("Quit")
        screen.type("exit\n")
        screen.expect_end()


def test_bash_hears_of_a_new_size(bash: Callable[..., Screen]) -> None:
    with nothing_left(), bash() as screen:
        screen.type("trap 'echo resized to $(stty size)' WINCH\n")
        screen.expect(r"WINCH\n\$\Z")
        screen.resize(30, 100)
        screen.type("\n")  # a trap runs before the next prompt
        screen.expect("resized to 30 100$")
        screen.type("exit\n")
        screen.expect_end()


def test_closing_the_terminal_ends_bash_and_its_jobs(bash: Callable[..., Screen]) -> None:
    with nothing_left():
        screen = bash()
        with screen:
            screen.type("sleep 1000 & sleep 2000 | cat & ./reader\n")
            screen.expect("^ready$")
            screen.type(CTRL_Z)
            screen.expect(r"Stopped.*\n\$\Z")
            clear(screen)
            screen.type("./reader\n")
            screen.expect("^ready$")
            members = setsid.Session(screen.process.pid).processes()
            assert len({member.pgid for member in members}) == 5
            pidfds = [os.pidfd_open(member.pid) for member in members]
        # Leaving the block has closed the manager side.
        for pidfd in pidfds:
            assert select.select([pidfd], [], [], 30)[0]
            os.close(pidfd)
        assert screen.process.returncode == -signal.SIGHUP


# -- full-screen programs


def test_vi(need: Need, bash: Callable[..., Screen], tmp_path: Path) -> None:
    editor = need("vi")
    file = tmp_path / "text"
    file.write_text("".join(f"line {number}\n" for number in range(1, 101)))
    with nothing_left(), bash() as screen:
        screen.type(f"{editor} -u NONE -N -i NONE -n --cmd 'set showmode' {file}\n")
        screen.expect(r"\Aline 1\n(.*\n)+line 23$")
        screen.resize(40, 100)
        screen.expect(r"\Aline 1\n(.*\n)+line 39$")
        screen.resize(10, 60)
        screen.expect(r"\Aline 1\n(.*\n){7}line 9$")
        screen.type("ochanged")
        screen.expect("^line 1\nchanged\nline 2$")
        screen.expect("^-- INSERT --")
        screen.type("\x1b")
        screen.expect(r"\A(?!(.*\n)*-- INSERT)")
        screen.type(CTRL_Z)
        screen.expect(r"Stopped +.*vi")
        screen.expect(r"\$\Z")
        assert foreground(screen) == screen.process.pid
        screen.type("stty -a | grep -o ' icanon'; echo cooked\n")  # it has left the terminal as it was
        screen.expect("^ icanon\ncooked$")
        screen.type("fg\n")
        screen.expect(r"\Aline 1\nchanged\nline 2$")
        screen.type(":wq\r")
        screen.expect(r"\$\Z")
        assert file.read_text().startswith("line 1\nchanged\nline 2\n")
        screen.type("exit\n")
        screen.expect_end()


def test_less(need: Need, bash: Callable[..., Screen], tmp_path: Path) -> None:
    pager = need("less")
    file = tmp_path / "text"
    file.write_text("".join(f"line {number}\n" for number in range(1, 1001)))
    with nothing_left(), bash() as screen:
        screen.type(f"LESS= {pager} {file}\n")
        screen.expect(r"\Aline 1\n(.*\n){21}line 23$")
        screen.type(" ")
        screen.expect(r"\Aline 24\n(.*\n){21}line 46\n:")
        screen.resize(12, 80)
        screen.expect(r"\Aline 24\n(.*\n){9}line 34\n:")
        screen.resize(30, 80)
        screen.expect(r"\Aline 24\n(.*\n){27}line 52\n:")
        screen.until_asleep()
        screen.type(CTRL_Z)
        screen.expect(AT_PROMPT)
        screen.type("fg\n")
        screen.expect(r"\Aline 24\n(.*\n){27}line 52\n:")
        screen.type("G")
        screen.expect(r"^line 1000\n.*END")
        screen.type("q")
        screen.expect(r"\$\Z")
        screen.type("exit\n")
        screen.expect_end()


def test_top(need: Need, bash: Callable[..., Screen]) -> None:
    program = need("top")
    with nothing_left(), bash() as screen:
        screen.type(f"{program} -d 100 -p {screen.process.pid}\n")  # no new picture unless something happens
        screen.expect(r"^top - ")
        screen.expect(rf"^ *{screen.process.pid} .*bash$")
        screen.type(CTRL_Z)
        screen.expect(AT_PROMPT)
        clear(screen)
        screen.type("fg\n")
        screen.expect(rf"^ *{screen.process.pid} .*bash$")
        screen.resize(8, 60)
        screen.expect(r"\Atop - (.*\n){6}")
        screen.resize(24, 80)
        screen.expect(rf"^ *{screen.process.pid} .*bash$")
        screen.type(CTRL_C)
        screen.expect(r"\$\Z")
        assert foreground(screen) == screen.process.pid
        screen.type("q\n")  # it is bash that hears it
        screen.expect("q: command not found")
        screen.type("exit\n")
        screen.expect_end()


# -- python


def test_python(bash: Callable[..., Screen], tmp_path: Path) -> None:
    with nothing_left(), bash() as screen:
        screen.type(f"PYTHON_BASIC_REPL=1 HOME={tmp_path} {sys.executable} -q -E -s\n")
        screen.expect(r"^>>>>?\Z")  # PyPy's has one more
        screen.type("import os, sys; sys.stdin.isatty(), os.get_terminal_size()[:], os.getpgrp() == os.tcgetpgrp(0)\n")
        screen.expect(re.escape("(True, (80, 24), True)"))
        screen.type("input('? ')\n")
        screen.expect(r"^\?\Z")
        screen.type(CTRL_C)
        screen.expect(r"^KeyboardInterrupt\n>>>>?\Z")
        screen.type("x = 42\n")
        screen.expect(r"x = 42\n>>>>?\Z")  # Ctrl-Z throws away what nobody has read
        screen.type(CTRL_Z)
        screen.expect(AT_PROMPT)
        screen.type("fg\n")
        screen.type("print('x is', x)\n")
        screen.expect("^x is 42\n")
        screen.resize(30, 100)
        screen.type("os.get_terminal_size()[:]\n")
        screen.expect(r"^\(100, 30\)$")
        screen.type(CTRL_D)
        screen.expect(r"\$\Z")
        screen.type("exit\n")
        screen.expect_end()


# -- the program of docs/terminals.md


def test_the_program_of_the_docs_shows_a_shell_as_it_is(tmp_path: Path) -> None:
    page = (TESTS.parent / "docs" / "terminals.md").read_text()
    (program,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def show" in block)
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", program]
    with nothing_left(), Screen(command, cwd=str(tmp_path), PS1="$ ", ENV="") as screen:
        screen.expect(PROMPT)
        modes = termios.tcgetattr(screen.pty.manager)
        assert not modes[3] & termios.ISIG
        screen.type("stty size; tty\n")
        screen.expect(r"^24 80$")
        screen.expect(r"^/dev/pts/\d+$")
        assert screen.pty.name not in screen.text  # it has a terminal of its own
        screen.resize(30, 90)
        screen.type("trap 'stty size' WINCH; kill -WINCH $$\n")
        screen.expect(r"^(\$ )?30 90$")
        clear(screen)
        screen.type("cat\n")
        screen.type("heard\n")
        screen.expect(r"^heard\nheard$")
        screen.type(CTRL_C)
        screen.expect(r"\^C\n\$\Z")
        screen.type("exit 3\n")
        assert screen.expect_end() == 3
        assert termios.tcgetattr(screen.pty.manager)[3] & termios.ISIG
