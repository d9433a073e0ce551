"""run: subprocess.run in a session of its own, of which a timeout leaves nothing."""

from __future__ import annotations

import codecs
import locale
import subprocess
import time
from contextlib import suppress

from ._calls import as_int
from ._ending import check as check_end
from ._ending import check_seconds, end_at_once, end_process
from ._errors import SystemCallError
from ._fields import INHERIT, NEW_SESSION
from ._pipes import Pipes, as_bytes
from ._popen import Popen
from ._setup import ChildSetup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, overload

    from typing_extensions import Buffer, Unpack

    from ._ending import EndReport
    from ._types import (
        BytesRun,
        Command,
        EitherRun,
        EncodingRun,
        ErrorsRun,
        NewlinesRun,
        SetupFields,
        TextRun,
    )

SIGTERM = 15
SIGKILL = 9
GRACE = 5.0


class TimeoutExpired(subprocess.TimeoutExpired, TimeoutError):
    """The time of a `run` was over before the program's end. Both a subprocess.TimeoutExpired and a TimeoutError.

    Attributes, besides `cmd`, `timeout` (seconds), `output`, `stdout` and `stderr` (bytes that were read, or None) of
    subprocess.TimeoutExpired:
        report: the EndReport of what was ended.
    """

    def __init__(
        self,
        cmd: Any,
        timeout: float,
        output: bytes | None = None,
        stderr: bytes | None = None,
        report: EndReport | None = None,
    ) -> None:
        super().__init__(cmd, timeout, output=output, stderr=stderr)
        self.args = (cmd, timeout)
        self.report = report

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.cmd, self.timeout, self.output, self.stderr, self.report)


TimeoutExpired.__module__ = "setsid"


if TYPE_CHECKING:

    @overload
    def run(
        args: Command, *, input: str | None = None, **rest: Unpack[TextRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    def run(
        args: Command, *, input: str | None = None, **rest: Unpack[EncodingRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    def run(
        args: Command, *, input: str | None = None, **rest: Unpack[ErrorsRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    def run(
        args: Command, *, input: str | None = None, **rest: Unpack[NewlinesRun]
    ) -> subprocess.CompletedProcess[str]: ...
    @overload
    def run(
        args: Command, *, input: Buffer | None = None, **rest: Unpack[BytesRun]
    ) -> subprocess.CompletedProcess[bytes]: ...
    @overload
    def run(
        args: Command, *, input: str | Buffer | None = None, **rest: Unpack[EitherRun]
    ) -> subprocess.CompletedProcess[Any]: ...


def run(
    *popenargs: Any,
    input: Any = None,
    capture_output: bool = False,
    timeout: float | None = None,
    check: bool = False,
    grace: float = GRACE,
    end_signal: int = SIGTERM,
    start_new_session: bool = True,
    setup: ChildSetup | None = None,
    **keywords: Any,
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` does, in a session of its own.

    A timeout, a Ctrl-C or any other exception ends all of that session, which sees `end_signal` first and SIGKILL after
    `grace` seconds (at once while the program is being started, and for a second exception); processes that hold the
    pipes, in whatever process group, too. Where the system can do that, the
    program gets SIGKILL when this process dies. What it leaves in the background after a normal end goes on, and is
    waited for only as long as it holds a pipe.

        timeout, grace: seconds. The call returns within their sum, and some milliseconds.
        end_signal: the signal number that asks the session to end.
        start_new_session: False leaves the program in this session, where it can ask for a password on the terminal and
            gets its Ctrl-C. Then it alone can be ended.
        setup: a ChildSetup. Not said means a new session, no signal blocked, and SIGKILL as `parent_death_signal`.

    The other arguments, and the CompletedProcess that is returned, are those of `subprocess.run`; no `preexec_fn`.
    Raises TimeoutExpired, with the output read so far (bytes, in text mode too) and a `report` of what was ended;
    CalledProcessError if `check`; SystemCallError as `spawn` does; for bad arguments what `subprocess.run` raises.
    Nothing of the session is left then but what the report says to have survived SIGKILL, for which `run` waits 5
    seconds more; what has left the session before lives on, and `report.escaped` names it as long as its parent lived.
    """
    check_times(timeout, grace, end_signal)
    deadline = None if timeout is None else time.monotonic() + timeout
    setup = plan_of_run(setup, start_new_session, keywords)
    add_pipes(keywords, input, capture_output)
    data = as_bytes(input, *codec_of(keywords))
    # Not made by a call of the class, so that an exception in the very moment of its return finds it here.
    process = Popen.__new__(Popen)
    wait_for_all = None
    failure = report = None
    try:
        try:
            process.__init__(*popenargs, setup=setup, **keywords)  # type: ignore[misc]
            pipes = Pipes(process)
            wait_for_all = pipes.wait_for_all
            pipes.feed(data)
            is_over = pipes.exchange(deadline) and _wait(process, deadline)
        except BaseException:
            if process._setsid_process is not None:
                with suppress(SystemCallError):  # of a /proc that can't be read: a Ctrl-C must arrive as one
                    end_process(process._setsid_process, grace, end_signal, wait_for_all)
            raise
        if not is_over:
            try:
                report = end_process(process._handle, grace, end_signal, wait_for_all)
            except SystemCallError as error:
                failure = error
            pipes.drain()
    except BaseException:  # it may have come as the ending began
        if process._setsid_process is not None:
            end_at_once(process._setsid_process)
        raise
    finally:
        _close(process)
    if not is_over:
        out, err = pipes.data("stdout"), pipes.data("stderr")
        raise TimeoutExpired(process.args, timeout or 0, out, err, report) from failure
    result = subprocess.CompletedProcess(process.args, process.returncode, pipes.text("stdout"), pipes.text("stderr"))
    if check:
        result.check_returncode()
    return result


def _close(process: Popen) -> None:
    """Learn the returncode, and close the pipes."""
    if process._setsid_process is not None:
        process.poll()
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(process, name, None)
        if stream is not None:
            stream.close()


def check_times(timeout: float | None, grace: float, end_signal: int) -> None:
    """Raise TypeError and ValueError for what is no time or no signal."""
    check_end(grace, as_int(end_signal, "end_signal"))
    if timeout is not None:
        check_seconds("timeout", timeout)


def _wait(process: Popen, deadline: float | None) -> bool:
    """Wait for the program itself; False if the time is over."""
    left = None if deadline is None else max(deadline - time.monotonic(), 0)
    return process._handle.awaited(left) is not None


def codec_of(keywords: dict[str, Any]) -> tuple[str, str] | tuple[()]:
    """Encoding and errors, if these arguments ask for text."""
    text, newlines = keywords.get("text"), keywords.get("universal_newlines")
    if text is not None and newlines is not None and bool(text) != bool(newlines):
        raise subprocess.SubprocessError(
            "Cannot disambiguate when both text and universal_newlines are supplied but different. "
            "Pass one or the other."
        )
    encoding, errors = keywords.get("encoding"), keywords.get("errors")
    if not (text or newlines or encoding or errors):
        return ()
    codec = encoding or locale.getpreferredencoding(False), errors or "strict"
    codecs.lookup(codec[0])
    codecs.lookup_error(codec[1])
    return codec


def plan_of_run(setup: ChildSetup | None, start_new_session: bool, keywords: dict[str, Any]) -> ChildSetup:
    """What "not said" means to `run`."""
    if setup is None:
        if keywords.get("process_group") in (None, -1) and keywords.get("preexec_fn") is None:
            return _PLANS[bool(start_new_session)]
        setup = _EMPTY
    elif not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    if keywords.get("preexec_fn") is not None:
        raise ValueError("run takes no preexec_fn: say it in setup, or call setsid.subprocess.run")
    changes: SetupFields = {}
    if setup.process_group is None:
        if keywords.get("process_group") in (None, -1):
            changes["process_group"] = NEW_SESSION if start_new_session else INHERIT
    elif not start_new_session:
        raise ValueError("the argument start_new_session and the field process_group of setup both say it")
    if setup.parent_death_signal is None and "parent_death_signal" in ChildSetup.supported:
        changes["parent_death_signal"] = SIGKILL
    if setup.signal_mask is None:
        changes["signal_mask"] = ()
    return setup.replace(**changes) if changes else setup


def add_pipes(keywords: dict[str, Any], text: Any, capture_output: bool) -> None:
    """Set the streams that `input` and `capture_output` stand for."""
    if text is not None:
        if keywords.get("stdin") is not None:
            raise ValueError("stdin and input arguments may not both be used.")
        keywords["stdin"] = subprocess.PIPE
    if capture_output:
        if keywords.get("stdout") is not None or keywords.get("stderr") is not None:
            raise ValueError("stdout and stderr arguments may not be used with capture_output.")
        keywords["stdout"] = keywords["stderr"] = subprocess.PIPE


_EMPTY = ChildSetup()
_PLANS = {answer: plan_of_run(_EMPTY, answer, {}) for answer in (False, True)}
