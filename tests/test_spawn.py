"""spawn, on every way to make a child."""

from __future__ import annotations

from support import fresh


def test_a_program_runs_in_a_session_of_its_own(way: str) -> None:
    fresh(
        """
with nothing_left():
    reader, writer = os.pipe()
    process = setsid.spawn(["cat"], stdin=reader)
    os.close(reader)
    facts = session_of(process.pid)
    assert (facts["sid"], facts["pgid"], facts["tty"]) == (process.pid, process.pid, 0)
    assert facts["ppid"] == os.getpid()
    os.close(writer)
    assert process.wait() == 0
    process.close()
""",
        way=way,
    )


def test_a_terminal_becomes_the_controlling_terminal(way: str) -> None:
    fresh(
        """
manager, terminal = os.openpty()
with nothing_left():
    process = setsid.spawn(["cat"], setsid.ChildSetup.on_terminal(terminal))
    facts = session_of(process.pid)
    assert facts["tty"] == os.fstat(terminal).st_rdev
    assert facts["tpgid"] == process.pid == setsid.tcgetsid(manager)
    os.write(manager, b"\\x03")
    assert process.wait() == -signal.SIGINT
    process.close()
""",
        way=way,
    )
