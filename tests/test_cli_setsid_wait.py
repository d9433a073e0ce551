"""pysetsid --wait: whose end it waits for, and what becomes of signals meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from commands import make_programs
from support import fresh

# A program that tells of each signal that it gets, and ends with 6 at SIGUSR2.
LISTENER = """
import os, signal
everything = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, everything)
os.write(9, b"ready\\n")
while (number := signal.sigwait(everything)) != signal.SIGUSR2:
    os.write(9, b"%d\\n" % number)
os._exit(6)
"""
# pysetsid that waits before it forks, or in its child before that executes the program.
HELD = """
import os, sys
import setsid.cli.setsid as cli
def held(call):
    def hold(*args):
        os.write(9, b"held\\n")
        os.read(8, 1)
        return call(*args)
    return hold
if sys.argv[1] == "fork":
    cli.fork = held(cli.fork)
else:
    os.execv = held(os.execv)
sys.exit(cli.main(sys.argv[2:]))
"""
SETTING = f"""
from commands import *

LISTENER = {LISTENER!r}
HELD = {HELD!r}
STOPS = {{signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}}
NOT_DEADLY = {{signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}}
PASSED_ON = signal.valid_signals() - STOPS - {{signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}}
"""


def test_each_signal_ends_the_program_as_it_would_if_sent_there(tmp_path: Path) -> None:
    make_programs(tmp_path)
    fresh(
        SETTING
        + """
commands = {}
for number in sorted(PASSED_ON - NOT_DEADLY):
    command = Running([PYSETSID, "-fw", sys.argv[1]])
    pid = int(command.result.line())
    command.echo()
    os.kill(command.pid, number)
    commands[number] = command.ended()
    assert not os.path.exists(f"/proc/{pid}")
    assert command.err.rest() == "", number
    for pipe in command.gate.writer, command.result.reader, command.out.reader, command.err.reader:
        os.close(pipe)
assert commands == {number: 128 + number for number in commands} and len(commands) > 20
""",
        tmp_path / "probe",
    )


@pytest.mark.parametrize("where", ["fork", "exec"])
def test_a_signal_that_comes_before_the_program_is_there_is_not_lost(where: str, tmp_path: Path) -> None:
    make_programs(tmp_path)
    fresh(
        SETTING
        + """
for name in "SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGALRM", "SIGPIPE", "SIGXFSZ", "SIGRTMAX":
    number = getattr(signal, name)
    command = Running([sys.executable, "-c", HELD, sys.argv[1], "-fw", sys.argv[2]])
    assert command.result.line() == "held\\n"
    os.kill(command.pid, number)
    os.write(command.gate.writer, b"x")
    assert (command.ended(), command.err.rest()) == (128 + number, ""), name
""",
        where,
        tmp_path / "probe",
    )


def test_signals_reach_the_program_one_after_the_other() -> None:
    fresh(
        SETTING
        + """
command = Running([PYSETSID, "-fw", sys.executable, "-c", LISTENER])
assert command.result.line() == "ready\\n"
for number in sorted(PASSED_ON - {signal.SIGUSR2}) * 2:
    os.kill(command.pid, number)
    assert command.result.line() == f"{number}\\n"
os.kill(command.pid, signal.SIGUSR2)
assert (command.ended(), command.err.rest()) == (6, "")
"""
    )


def test_what_it_ignores_it_does_not_pass_on() -> None:
    fresh(
        SETTING
        + """
IGNORED = [signal.SIGHUP, signal.SIGTERM, *([] if ON_PYPY else [signal.SIGINT])]  # which PyPy gives a handler
def prepare():
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)

command = Running([PYSETSID, "-fw", sys.executable, "-c", LISTENER], prepare=prepare)
assert command.result.line() == "ready\\n"
for number in *IGNORED, signal.SIGUSR1:
    os.kill(command.pid, number)
assert command.result.line() == f"{signal.SIGUSR1:d}\\n"
os.kill(command.pid, signal.SIGUSR2)
assert command.ended() == 6
"""
    )


def test_stop_signals_stop_it_and_not_the_program() -> None:
    fresh(
        SETTING
        + """
for number in *STOPS, signal.SIGSTOP:
    # In a group of its own, whose parent is in the session: in an orphaned one nobody is stopped by them.
    command = Running([PYSETSID, "-w", sys.executable, "-c", LISTENER], leads=True)
    assert command.result.line() == "ready\\n"
    os.kill(command.pid, number)
    pid, status = os.waitpid(command.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status) and os.WSTOPSIG(status) == number
    os.kill(command.pid, signal.SIGUSR1)  # waits
    os.kill(command.pid, signal.SIGCONT)
    told = {command.result.line(), command.result.line()}
    assert told == {f"{signal.SIGUSR1:d}\\n", f"{signal.SIGCONT:d}\\n"}, told
    os.kill(command.pid, signal.SIGUSR2)
    assert command.ended() == 6
"""
    )


def test_a_stop_signal_does_not_stop_the_program(tmp_path: Path) -> None:
    """Its group is orphaned; which is why there is no use in passing it on."""
    make_programs(tmp_path)
    fresh(
        SETTING
        + """
command = Running([PYSETSID, "-w", sys.argv[1]], leads=True)
pid = int(command.result.line())
command.echo()
for number in STOPS:
    os.kill(pid, number)
command.echo()
command.open_gate()
assert command.ended() == 0
""",
        tmp_path / "probe",
    )


def test_another_child_of_its_process_is_not_the_program(tmp_path: Path) -> None:
    make_programs(tmp_path)
    fresh(
        SETTING
        + """
import select

kept, release, told = Pipe(), Pipe(), Pipe()

def prepare():
    pid = os.fork()
    if pid == 0:
        os.close(release.writer)
        os.read(release.reader, 1)
        os._exit(7)
    os.write(told.writer, b"%d\\n" % pid)

# setsid(1) fails then.
command = Running([SETSID, "-fw", sys.argv[1]], prepare=prepare)
told.line()
command.result.line()
command.echo()
os.write(release.writer, b"x")
assert command.ended() == 1
command.open_gate()
command = Running([PYSETSID, "-fw", sys.argv[1]], prepare=prepare)
other = int(told.line())
program = int(command.result.line())
command.echo()
pidfd = os.pidfd_open(other)
os.close(release.writer)
assert select.select([pidfd], [], [], 60)[0]
assert session_of(other)["ppid"] == command.pid  # a zombie of pysetsid's
command.echo()
assert session_of(program)["ppid"] == command.pid
command.open_gate()
assert (command.ended(), command.err.rest()) == (0, "")
""",
        tmp_path / "probe",
    )


def test_the_status_is_known_even_where_children_are_ignored(tmp_path: Path) -> None:
    """With SIGCHLD ignored the kernel drops the status, and setsid(1) fails. The program ignores it all the same."""
    make_programs(tmp_path)
    fresh(
        SETTING
        + """
ignoring = lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN)
assert Running([SETSID, "-fw", sys.argv[1] + "/exit3"], prepare=ignoring).ended() == 1
assert Running([PYSETSID, "-fw", sys.argv[1] + "/exit3"], prepare=ignoring).ended() == 3
assert Running([PYSETSID, "-f", sys.argv[1] + "/missing"], prepare=ignoring).ended() == 127
command = Running([PYSETSID, "-fw", "/bin/grep", "SigIgn", "/proc/self/status"], prepare=ignoring)
assert command.ended() == 0
assert int(command.out.rest().split()[1], 16) >> (signal.SIGCHLD - 1) & 1
""",
        tmp_path,
    )


def test_a_child_that_could_not_be_made(tmp_path: Path) -> None:
    fresh(
        SETTING
        + """
MAIN = '''
import os, resource, sys
import setsid.cli.setsid as cli, setsid._hints, setsid._enums, setsid._child_hints
if os.geteuid() == 0:  # whom the limit does not hold
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
sys.exit(cli.main(["-fw", "/bin/true"]))
'''
command = Running([sys.executable, "-c", MAIN])
said = command.ended(), command.err.rest()
assert said == (1, "pysetsid: fork: Resource temporarily unavailable\\n"), said
"""
    )


def test_without_wait_a_signal_ends_it_alone(tmp_path: Path) -> None:
    make_programs(tmp_path)
    fresh(
        SETTING
        + """
for number in signal.SIGTERM, signal.SIGINT:
    command = Running([sys.executable, "-c", HELD, "exec", "-f", sys.argv[1]])
    assert command.result.line() == "held\\n"
    os.kill(command.pid, number)
    assert command.ended() == -number
    os.write(command.gate.writer, b"x")
    assert int(command.result.line())
    command.echo()
    command.open_gate()
    assert command.err.rest() == ""
""",
        tmp_path / "probe",
    )
