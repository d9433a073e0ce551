"""Jobs, as a shell has them: pipelines in a process group of their own, in the foreground or not. Provisional."""

from __future__ import annotations

import errno
import os
import signal as signals
import time

from ._calls import as_fd, as_int
from ._enums import ProcessState
from ._errors import SystemCallError
from ._native import lib
from ._setup import FIELDS, ChildSetup
from ._spawn import spawn
from .tty import foreground_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Any, TypeAlias

    from typing_extensions import Self

    from ._ending import EndReport
    from ._process import Process
    from ._types import Environment, FileLike, SetupFields, StrOrBytesPath

    AnyCommand: TypeAlias = "Command | Sequence[StrOrBytesPath]"

__all__ = ["Command", "Job", "ProcessState"]


class Command:
    """A program of a job.

    Attributes:
        argv: the program and its arguments.
        setup: a ChildSetup, or None: what is said there holds before what the job says; its streams before the pipes.
        env: its environment, or None for the job's.
        executable: the program, if it is not argv[0].
    """

    __slots__ = ("argv", "env", "executable", "setup")

    def __init__(
        self,
        argv: Sequence[StrOrBytesPath],
        *,
        setup: ChildSetup | None = None,
        env: Environment | None = None,
        executable: StrOrBytesPath | None = None,
    ) -> None:
        self.argv = argv
        self.setup = setup
        self.env = env
        self.executable = executable

    def __repr__(self) -> str:
        return f"Command({self.argv!r})"


class Job:
    """A pipeline of programs, which run in a new process group of the caller's session.

    Each one's output is the next one's input, by pipes that no other child has. The terminal is not the job's until
    `foreground()` gives it.

    As a context manager: leaving normally waits for all, leaving by an exception ends them; both reap them.

    Attributes:
        processes: a Process for each command.
        commands: the commands.
    """

    def __init__(
        self,
        commands: Iterable[AnyCommand],
        *,
        tty: FileLike | None = None,
        stdin: FileLike | None = None,
        stdout: FileLike | None = None,
        stderr: FileLike | None = None,
        env: Environment | None = None,
        setup: ChildSetup | None = None,
    ) -> None:
        """Start the programs.

            commands: each a list of the program and its arguments, or a Command.
            tty: the caller's controlling terminal (file descriptor, file or Pty), for `foreground`.
            stdin, stdout: of the first and of the last one; stderr: of all. The caller's if None.
            env: their environment; os.environ if None.
            setup: a ChildSetup for all; no session, group or terminal.

        Raises what `setsid.spawn` raises when a program can't be started, with the number of the command in the hint;
        the others are ended and reaped then.
        """
        self.commands = [command if isinstance(command, Command) else Command(command) for command in commands]
        if not self.commands:
            raise ValueError("commands is empty: a job has at least one program")
        self._tty = None if tty is None else as_fd(tty, "tty")
        self.processes: list[Process] = []
        self._stopped: set[int] = set()  # the pids of those that are
        plans = [_plan(setup, command.setup) for command in self.commands]
        try:
            self._start(plans, env, {"stdin": stdin, "stdout": stdout, "stderr": stderr})
        except BaseException:
            self._abandon()
            raise

    # -- starting

    def _start(self, plans: list[ChildSetup], env: Environment | None, streams: SetupFields) -> None:
        """Each one in turn, with the pipe to the next."""
        pipe: list[int] = []  # what this process has open of the pipes
        try:
            for index, plan in enumerate(plans):
                fields: SetupFields = {**streams}
                if pipe:
                    fields["stdin"] = pipe[0]
                if index < len(plans) - 1:
                    pipe += os.pipe()
                    fields["stdout"] = pipe[-1]
                self._spawn(index, _with_defaults(plan, fields), env)
                kept = pipe[-2] if index < len(plans) - 1 else None
                for fd in [fd for fd in pipe if fd != kept]:
                    os.close(fd)
                    pipe.remove(fd)
        finally:
            for fd in pipe:
                os.close(fd)

    def _spawn(self, index: int, plan: ChildSetup, env: Environment | None) -> None:
        """The first one makes the group. None is reaped before all are in it, so that its number stays taken."""
        command = self.commands[index]
        group = self.pgid if self.processes else 0
        env = env if command.env is None else command.env
        try:
            process = spawn(command.argv, plan, executable=command.executable, env=env, process_group=group)
        except SystemCallError as error:
            if len(self.commands) > 1:
                where = f"command {index + 1} of {len(self.commands)}, {_shown(command)}"
                error.hint = f"{where}: {error.hint}" if error.hint else where
            raise
        self.processes.append(process)

    def _abandon(self) -> None:
        """Leave nothing of a job that could not be started."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
            process.close()

    # -- what it is, and how it does

    @property
    def pgid(self) -> int:
        """The number of the job's process group."""
        return self.processes[0].pid

    @property
    def state(self) -> ProcessState:
        """RUNNING as long as one program runs; STOPPED when those that have not ended are stopped; DONE."""
        for process in self.processes:
            self._look_at(process)
        return self._state()

    @property
    def returncodes(self) -> list[int | None]:
        """How each program has ended, as in subprocess; None for one that has not."""
        for process in self.processes:
            self._look_at(process)
        return [process.returncode for process in self.processes]

    @property
    def returncode(self) -> int | None:
        """That of the last program that has failed, as with a shell's pipefail, else 0; None until all have ended."""
        codes = self.returncodes
        if None in codes:
            return None
        return next((code for code in reversed(codes) if code), 0)

    def _state(self) -> ProcessState:
        left = [process for process in self.processes if process.returncode is None]
        if not left:
            return ProcessState.DONE
        return ProcessState.STOPPED if all(process.pid in self._stopped for process in left) else ProcessState.RUNNING

    def _look_at(self, process: Process) -> None:
        """Take what has become of it since the last look."""
        while process.returncode is None:
            try:
                change = process.wait_change(0)
            except TimeoutError:
                return
            if change is ProcessState.STOPPED:
                self._stopped.add(process.pid)
            else:
                self._stopped.discard(process.pid)
        process.poll()

    # -- running it

    def foreground(self) -> ProcessState:
        """Give the job the terminal, have it go on if it was stopped, and wait until it is STOPPED or DONE.

        The terminal then goes back to who had it, with the modes that it had. ValueError for a job without `tty`;
        SystemCallError as of `setsid.tty.foreground_group`.
        """
        if self._tty is None:
            raise ValueError("the job has no tty")
        if self.state is ProcessState.DONE:
            return ProcessState.DONE
        with foreground_group(self._tty, self.pgid):
            self.resume()
            return self._wait_change()

    def background(self) -> None:
        """Have the job go on without the terminal."""
        self.resume()

    def stop(self) -> None:
        """Stop it: SIGSTOP."""
        self.send_signal(signals.SIGSTOP)

    def resume(self) -> None:
        """Have it go on: SIGCONT."""
        self._stopped.clear()
        self.send_signal(signals.SIGCONT)

    def send_signal(self, signal: int) -> None:
        """Send a signal to the job's process group. Does nothing once all its programs have been reaped.

        SystemCallError: EPERM, EINVAL. kill(2)
        """
        signal = as_int(signal, "signal")
        for process in self.processes:
            # An unreaped member keeps the group's number taken.
            if process.returncode is None and lib.sid_getpgid(process.pid) == self.pgid:
                process.signal_group(signal)
                return

    def _wait_change(self) -> ProcessState:
        """Sleep until the job has stopped or ended."""
        by_pid = {process.pid: process for process in self.processes}
        while (state := self.state) is ProcessState.RUNNING:
            pid = lib.sid_wait_group(self.pgid)
            if pid in by_pid:
                self._look_at(by_pid[pid])
            elif pid != -errno.EINTR:  # those that are left have left the group
                left = next(process for process in self.processes if process.returncode is None)
                left.wait_change()
        return state

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all programs have ended, and return `returncode`. A stopped job does not end.

        `timeout` is in seconds; TimeoutError when it is over.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        for process in self.processes:
            process.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
        return self.returncode or 0

    def end(self, grace: float = 5.0, *, signal: int = signals.SIGTERM) -> EndReport:
        """End all processes of the job's group, as `Process.end` does, and reap the programs."""
        from ._ending import drive, ending_group

        signal = as_int(signal, "signal")
        report = drive(lambda grace, signal: ending_group(self.pgid, self._is_unreaped, grace, signal), grace, signal)
        for process in self.processes:
            process.poll()
        return report

    def _is_unreaped(self) -> bool:
        return any(lib.sid_is_ours(process._child) for process in self.processes)

    # -- the handles

    def close(self) -> None:
        """Let go of the programs, as `Process.close` does."""
        for process in self.processes:
            process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                try:
                    self.wait()
                except BaseException:  # that is leaving by an exception too
                    self.end()
                    raise
            else:
                self.end()
        finally:
            self.close()

    def __repr__(self) -> str:
        return f"<Job pgid={self.pgid} {' | '.join(map(_shown, self.commands))}>"


def _shown(command: Command) -> str:
    return repr(os.fsdecode(command.argv[0])) if command.argv else "''"


def _plan(setup: ChildSetup | None, own: ChildSetup | None) -> ChildSetup:
    """What `own` says, and `setup` where that says nothing."""
    said: dict[str, Any] = {}
    for plan in (setup, own):
        if plan is not None:
            said |= {name: value for name in FIELDS if (value := getattr(plan, name)) is not None}
    for name in ("process_group", "ctty", "steal_ctty", "release_ctty", "foreground_tty"):
        if name in said:
            raise ValueError(f"{name} can't be said for a job's program: the job itself sees to groups and terminal")
    return ChildSetup(**said)


def _with_defaults(plan: ChildSetup, fields: SetupFields) -> ChildSetup:
    return plan.replace(**{name: value for name, value in fields.items() if getattr(plan, name) is None})  # type: ignore[arg-type]
