"""Popen: the standard library's, with a plan for the child, and with waiting in the kernel."""

from __future__ import annotations

import os
import subprocess
import sys

from ._arguments import (
    OF_EXECUTE_CHILD,
    PARAMETERS,
    PIPES,
    by_name,
    combined,
    command,
    completed,
    environ,
    say_encoding,
)
from ._ending import end_at_once
from ._errors import SystemCallError
from ._marshal import POPEN, marshal
from ._preexec import telling
from ._process import Held, adopted, dropped, reap_dropped, started
from ._spawn import launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._ending import EndReport
    from ._session import Session
    from ._setup import ChildSetup

SIGTERM = 15
_Standard = subprocess.Popen


class Popen(_Standard):  # type: ignore[type-arg]
    """`subprocess.Popen`, which tells of all arguments and attributes, with one argument more.

        setup: a ChildSetup, to be carried out in the child. Not said means there what it does without one: the session,
            the group and the signal mask of this process, all fds closed but the standard streams. An argument that
            says the same as a field that is said is a ValueError; so is `preexec_fn`.

    Without `setup` the child is made by the standard library. With it, the environment that is not said is os.environ.

    Waiting sleeps in the kernel, with a timeout too, and signals go by pidfd. When a step of the plan fails, or the
    program can't be executed, the SystemCallError (an OSError of the class that the standard one raises) tells which.
    One that `preexec_fn` raises is told of too, by a SystemCallError that is a subprocess.SubprocessError.
    """

    _setsid_process: Held | None = None
    _setsid_plan: ChildSetup | None = None

    def __init__(self, args: Any, *positional: Any, setup: ChildSetup | None = None, **keywords: Any) -> None:
        if setup is not None or sys.flags.warn_default_encoding:
            named = by_name(PARAMETERS[1:], positional)
            if len(named) == len(positional) and named.keys().isdisjoint(keywords):  # else it is refused below
                keywords.update(named)
                positional = ()
        if setup is not None:
            self._setsid_plan = combined(setup, keywords)
        if sys.flags.warn_default_encoding:
            say_encoding(keywords)
        super().__init__(args, *positional, **keywords)

    # `inspect.signature` shows the standard parameters.
    __init__.__wrapped__ = _Standard.__init__  # type: ignore[attr-defined]

    # -- starting

    def _execute_child(self, *arguments: Any, **keywords: Any) -> None:
        given = {**by_name(OF_EXECUTE_CHILD, arguments), **keywords}
        if self._setsid_plan is not None:
            self._start(self._setsid_plan, given)
            return
        if dropped:
            reap_dropped()
        with telling(given):
            super()._execute_child(**given)  # type: ignore[misc]
        self._adopt()

    def _adopt(self) -> Held | None:
        """The handle of a child that the standard class has made, and maybe has left to an exception."""
        if self._setsid_process is None and self._child_created and self.returncode is None:
            self._setsid_process = adopted(self.pid)
        return self._setsid_process

    def _start(self, setup: ChildSetup, given: dict[str, Any]) -> None:
        """The standard class's `_execute_child`, with a plan."""
        args, executable = command(given["args"], given["executable"], given["shell"])
        cwd = setup.cwd if given["cwd"] is None else given["cwd"]
        sys.audit("subprocess.Popen", executable, args, cwd, given["env"])
        arguments = b"\0".join([os.fsencode(argument) for argument in args])
        program = os.fsencode(executable)
        if b"\0" in program or arguments.count(b"\0") >= len(args):
            raise ValueError("embedded null byte")
        if given["env"] is not None and b"/" not in program:
            os.get_exec_path(given["env"])  # for its checks
        environment = environ(given["env"])
        setup = completed(setup, given)
        plan = marshal(setup, POPEN)
        for name, number in (("user", given["uid"]), ("group", given["gid"])):
            if number is not None:  # that one alone, as the standard class has it
                setattr(plan.struct, f"sets_{name}", True)
                setattr(plan.struct, name, number)
        process = self._setsid_process = started()
        try:
            launch(process, setup, plan, program, arguments, len(args), environment)
            self.pid = process._child.pid
            self._close_pipe_fds(*(given[name] for name in PIPES))  # type: ignore[attr-defined]
            self._child_created = True
        except BaseException as error:
            self._setsid_process = None
            end_at_once(process)  # if there is a child
            if isinstance(error, SystemCallError) and error.call == "execve":
                error.filename = executable  # as it was given
            elif isinstance(error, SystemCallError) and error.filename == setup.cwd and given["cwd"] is not None:
                error.filename = given["cwd"]
            raise

    # -- waiting

    def _internal_poll(self, _deadstate: int | None = None, **_: object) -> int | None:
        if self.returncode is None and (process := self._adopt()) is not None:
            self.returncode = process.awaited(0, 0 if _deadstate is None else _deadstate)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        code: int | None = self.returncode
        if code is None:
            code = self._handle.awaited(timeout)
            if code is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = code
        return code

    # -- signals and end

    def send_signal(self, sig: int) -> None:
        """Send a signal to the process, by pidfd. Does nothing once it has ended. pidfd_send_signal(2)"""
        self.poll()
        if self.returncode is None:
            self._handle.send_signal(sig)

    def signal_group(self, signal: int) -> None:
        """Send a signal to every process of the child's process group; as `Process.signal_group`."""
        self._handle.signal_group(signal)

    @property
    def session(self) -> Session | None:
        """The session that the child leads, or None if it leads none."""
        return self._handle.session

    def end(self, grace: float = 5.0, *, signal: int = SIGTERM) -> EndReport:
        """End the session that the child leads, else the process group that it leads, else the child alone; as
        `Process.end`. What it leaves behind can be ended as long as nobody has waited for the child.
        """
        try:
            return self._handle.end(grace, signal=signal)
        finally:
            self._internal_poll()

    @property
    def _handle(self) -> Held:
        process = self._adopt()
        if process is None:
            raise ValueError("the process has not been started")
        return process
