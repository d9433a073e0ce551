"""killsid: end sessions, and tell what has become of whom."""

from __future__ import annotations

# The built-in half of `signal`, which takes long to import.
import _signal  # type: ignore[import-not-found]
import os
import sys

from .._session import Session
from . import _text
from ._command import UsageError, complain, parse, show, show_version, usage_error
from ._look import System, number, terminal_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from threading import Thread

    from .._ending import EndReport
    from .._processes import ProcessInfo

COMMAND = "killsid"
OPTIONS = {
    "signal=": "s",
    "grace=": "g",
    "tty=": "t",
    "dry-run": "n",
    "json": "J",
    "help": "h",
    "version": "V",
}
HELP = """
Usage:
 killsid [options] <sid>|<pid> ...
 killsid [options] --tty <name>

End all processes of a session, whatever their groups. A number that is no
session's is a process's, and means the session that it is in.

Options:
 -s, --signal <signal>  what is sent first, by name or number: TERM
 -g, --grace <seconds>  how long to wait before SIGKILL: 5
 -t, --tty <name>       the session on this terminal, as pts/4
 -n, --dry-run          only show what would be ended
 -J, --json             write JSON
 -h, --help             show this text
 -V, --version          show the version

Ctrl-C while it waits sends SIGKILL at once. It never ends its own session. If
it can't find one that is asked for, or must not end it, it does nothing at all.

Exit status: 0 if all are gone; 1 if some have survived, or nothing was done;
2 for a wrong command line; 130 after Ctrl-C.

For more see killsid(1).
"""

SURVIVED = 1
REFUSED = 1
MISUSED = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says: `arguments`, or that of this process. Returns the exit status."""
    try:
        said, operands = parse(sys.argv[1:] if arguments is None else arguments, OPTIONS, mixed=True)
        options = dict(said)
        if "help" in options:
            return show(COMMAND, HELP)
        if "version" in options:
            return show_version(COMMAND)
        signal, grace = _signal_number(options.get("signal", "TERM")), _seconds(options.get("grace", "5"))
        numbers = [_number(operand) for operand in operands]
        terminals = [_terminal(value) for name, value in said if name == "tty"]
        if not numbers and not terminals:
            raise UsageError("no session specified")
    except UsageError as error:
        return usage_error(COMMAND, error, MISUSED)
    try:
        targets = _find(numbers, terminals)
        interrupted = "dry-run" not in options and _end(targets, grace, signal)
        return _report(targets, signal, grace, options, interrupted=interrupted)
    except _RefusedError as refused:
        for message in refused.messages:
            complain(COMMAND, message)
        return REFUSED
    except OSError as error:
        complain(COMMAND, str(error))
        return REFUSED
    except KeyboardInterrupt:
        return INTERRUPTED


# -- the command line


def _number(text: str) -> int:
    value = number(text)
    if value is None:
        raise UsageError(f"'{text}' is not a number")
    return value


def _terminal(name: str) -> str:
    if name in ("", "-"):
        raise UsageError(f"tty: '{name}' is not a terminal")
    return terminal_path(name)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1e9:
        raise UsageError(f"grace: '{text}' is not a number of seconds")
    return value


def _signal_number(text: str) -> int:
    """A signal by its number, or by its name as in kill(1): TERM, SIGTERM, RTMIN+1."""
    value = number(text)
    name = text.upper().removeprefix("SIG")
    if value is None and name.isalnum():
        value = getattr(_signal, f"SIG{name}", None)
    elif (
        value is None
        and hasattr(_signal, "SIGRTMIN")
        and name.startswith(("RTMIN+", "RTMAX-"))
        and (step := number(name[6:]))
    ):
        value = _signal.SIGRTMIN + step if name[5] == "+" else _signal.SIGRTMAX - step
    if value is None or value not in _signal.valid_signals():
        raise UsageError(f"signal: there is no signal '{text}'")
    return value


def _signal_name(value: int) -> str:
    names = (name for name in vars(_signal) if name.startswith("SIG") and "_" not in name)
    found = sorted(name for name in names if getattr(_signal, name) == value and name not in ("SIGCLD", "SIGPOLL"))
    return found[0] if found else f"SIGRTMIN+{value - _signal.SIGRTMIN}"


# -- what is meant


class _RefusedError(Exception):
    """Nothing is done. Why, once for each session that is not to be ended."""

    def __init__(self, *messages: str) -> None:
        self.messages = messages


class _Target:
    """A session that is to be ended.

    Attributes:
        session: it.
        name: how it is spoken of.
        pid: the process by which it was named, or None.
        processes: who lived in it before.
        report: what has been done; None until then.
        failure: why it could not be.
    """

    def __init__(self, sid: int, name: str, pid: int | None) -> None:
        self.session = Session(sid)
        self.name = name
        self.pid = pid
        self.processes = [process for process in self.session.processes() if process.state not in _DEAD]
        self.report: EndReport | None = None
        self.failure: OSError | None = None

    def end(self, grace: float, signal: int) -> None:
        try:
            self.report = self.session.end(grace, signal=signal)
        except OSError as error:
            self.failure = error


_DEAD = "ZXx"


def _find(numbers: list[int], terminals: list[str]) -> list[_Target]:
    """Each session once. Raises _RefusedError, and then none of them is to be ended."""
    system = System()
    targets: dict[int, _Target] = {}
    messages: list[str] = []
    asked = [*(_by_number(system, value) for value in numbers), *(_by_terminal(system, path) for path in terminals)]
    for found in asked:
        try:
            for sid, name, process in found:
                if sid not in targets:
                    targets[sid] = _target(system, sid, name, process)
        except _RefusedError as refused:
            messages += refused.messages
    if messages:
        raise _RefusedError(*messages)
    return [*targets.values()]


def _by_number(system: System, value: int) -> Iterator[tuple[int, str, ProcessInfo | None]]:
    """The session of that number, or that of the process of that number."""
    if value in system.sessions:
        yield value, f"session {value}", None
        return
    process = system.process(value)
    if process is None:
        raise _RefusedError(f"there is no session or process {value}")
    if process.is_kernel_thread:
        raise _RefusedError(f"process {value} is a kernel thread, which is in no session")
    if process.sid == 0:
        raise _RefusedError(f"process {value} is in no session of this pid namespace")
    yield process.sid, f"session {process.sid} (of process {value})", process


def _by_terminal(system: System, path: str) -> Iterator[tuple[int, str, ProcessInfo | None]]:
    name = _text.escape(_text.terminal(path), utf8=_text.speaks_utf8())
    found = [*system.on_terminal(path)]
    if not found:
        raise _RefusedError(f"no session has the terminal {name}")
    for seen in found:
        yield seen.sid, f"session {seen.sid} (on {name})", None


def _target(system: System, sid: int, name: str, process: ProcessInfo | None) -> _Target:
    if sid == 0:
        raise _RefusedError(f"{name} is none, but what the kernel and other pid namespaces show by that number")
    if sid == os.getsid(0):
        raise _RefusedError(f"{name} is the one that {COMMAND} runs in")
    if any(member.pid == 1 for member in system.sessions[sid].processes):
        raise _RefusedError(f"{name} holds process 1, with which the system or the container ends")
    target = _Target(sid, name, process.pid if process else None)
    if process and not any(_lives(process, member) for member in target.processes if member.pid == process.pid):
        raise _RefusedError(f"process {process.pid} has ended, or left session {sid}")
    return target


# -- the end


def _end(targets: list[_Target], grace: float, signal: int) -> bool:
    """End them all at the same time, so that they share the grace. Returns whether Ctrl-C has cut it short."""
    from threading import Thread

    threads = [Thread(target=target.end, args=(grace, signal), daemon=True) for target in targets]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # from here on it does not take long
        for target, thread in zip(targets, threads, strict=True):
            _kill(target, thread)
        return True
    return False


def _kill(target: _Target, thread: Thread) -> None:
    """End a session at once. Its thread sees that, and knows more; but it would wait for those who can't be ended."""
    report = None
    try:
        report = target.session.end(0, signal=_signal.SIGKILL)
    except OSError:  # the thread has the same
        pass
    if thread.ident is not None and not (report and report.survived):
        thread.join()
    if target.report is None:
        target.report = report


# -- what has become of them


class _Outcome:
    """What has become of a session's processes.

    Attributes:
        ended: those that have ended, by their pids; None for one that was born meanwhile.
        survived: those that have not, and why.
        escaped: those that live on elsewhere.
    """

    def __init__(self, target: _Target, now: dict[int, ProcessInfo]) -> None:
        report = target.report
        before = {process.pid: process for process in target.processes}
        survived = {pid: now[pid] for pid in report.survived if pid in now} if report else {}
        escaped = {pid: now[pid] for pid in report.escaped if pid in now} if report else {}
        gone = {pid for pid, process in before.items() if not _lives(process, now.get(pid))}
        ended = (gone | {*report.ended}) - survived.keys() if report else set()
        self.ended = {pid: before.get(pid) for pid in sorted(ended)}
        self.survived = [(process, _reason(process)) for process in survived.values()]
        self.escaped = [*escaped.values()]


def _lives(process: ProcessInfo, now: ProcessInfo | None) -> bool:
    return now is not None and now.start_time == process.start_time and now.state not in _DEAD


def _reason(process: ProcessInfo) -> str:
    """Why a process lives on."""
    try:
        os.kill(process.pid, 0)
    except PermissionError:
        return "not permitted"
    except ProcessLookupError:
        pass
    return "uninterruptible" if process.state == "D" else "still there"


def _report(targets: list[_Target], signal: int, grace: float, options: dict[str, str], *, interrupted: bool) -> int:
    """Tell it all. Returns the exit status."""
    outcomes: list[_Outcome | None] = [None for _ in targets]
    if "dry-run" not in options:
        now = {process.pid: process for process in System().processes}
        outcomes = [_Outcome(target, now) for target in targets]
    for target in targets:
        if target.failure:
            complain(COMMAND, f"{target.name}: {target.failure}")
    if "json" in options:
        told = {"signal": _signal_name(signal), "grace": grace, "dry_run": "dry-run" in options}
        status = show(COMMAND, _json(told, interrupted, targets, outcomes))
    else:
        status = show(COMMAND, _told(targets, outcomes))
    if interrupted:
        return INTERRUPTED
    failed = any(target.failure for target in targets) or any(outcome and outcome.survived for outcome in outcomes)
    return SURVIVED if failed else status


def _told(targets: list[_Target], outcomes: Sequence[_Outcome | None]) -> str:
    """As text: a line for each session, and below it one for each process with what has become of it."""
    width, utf8 = _text.terminal_columns(), _text.speaks_utf8()
    text = ""
    for target, outcome in zip(targets, outcomes, strict=True):
        lines = [*_processes_told(target, outcome)]
        digits = max((len(str(process.pid)) for _, process, _ in lines), default=0)
        text += target.name + ("\n" if lines else ": no process lives\n")
        for verb, process, note in lines:
            begin, end = f"  {verb} {process.pid:>{digits}} ", f" ({note})" if note else ""
            command = _text.command(process, utf8=utf8)
            text += begin + (_text.cut(command, max(width - len(begin + end), 0)) if width else command) + end + "\n"
        if outcome and (more := sum(process is None for process in outcome.ended.values())):
            text += f"  ended    {more} more, which had begun meanwhile\n"
    return text


def _processes_told(target: _Target, outcome: _Outcome | None) -> Iterator[tuple[str, ProcessInfo, str]]:
    """(what has become of it, process, note) for each process that is known."""
    if outcome is None:
        for process in target.processes:
            yield "would end", process, ""
        return
    for ended in outcome.ended.values():
        if ended:
            yield "ended   ", ended, ""
    for process, reason in outcome.survived:
        whose = f": it is {_text.user_in_table(process.uid)}'s" if reason == "not permitted" else ""
        yield "survived", process, reason + whose
    for process in outcome.escaped:
        yield "escaped ", process, f"now in session {process.sid}"


def _json(
    told: dict[str, object], interrupted: bool, targets: list[_Target], outcomes: Sequence[_Outcome | None]
) -> str:
    import json

    told["interrupted"] = interrupted
    sessions = []
    for target, outcome in zip(targets, outcomes, strict=True):
        session: dict[str, object] = {"sid": target.session.sid, "pid": target.pid}
        session["processes"] = [_text.as_json(process) for process in target.processes]
        if outcome:
            session["ended"] = [*outcome.ended]
            session["survived"] = [{**_text.as_json(it), "reason": reason} for it, reason in outcome.survived]
            session["escaped"] = [{**_text.as_json(it), "sid": it.sid} for it in outcome.escaped]
        session["error"] = str(target.failure) if target.failure else None
        sessions.append(json.dumps(session))
    return json.dumps(told)[:-1] + ', "sessions": [\n' + ",\n".join(sessions) + "\n]}\n"


if __name__ == "__main__":
    sys.exit(main())
