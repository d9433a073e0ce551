"""Jobs, as a shell has them: pipelines in a process group of their own, in the foreground or not. Provisional."""

from __future__ import annotations

import errno
import os
import signal as signals
import time
import weakref

from ._calls import as_fd, as_int
from ._enums import CHANGES, ProcessState
from ._errors import SystemCallError, error
from ._fields import DEVNULL
from ._native import ffi, lib
from ._process import FOREVER, Process, WaitedFor, _nanoseconds, _until
from ._setup import FIELDS, ChildSetup
from ._spawn import check, start
from .tty import foreground_group

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType
    from typing import Any, TypeAlias

    from ._ending import EndReport
    from ._types import Environment, FileLike, SetupFields, StrOrBytesPath

    AnyCommand: TypeAlias = "Command | Sequence[StrOrBytesPath]"

__all__ = ["Command", "Job", "ProcessState"]

RUNNING, STOPPED, DONE = ProcessState.RUNNING, ProcessState.STOPPED, ProcessState.DONE

# What a shell ignores or catches for itself and its programs must not ignore, or Ctrl-C and Ctrl-Z would not meet them.
# The last two are Python's, as with `spawn`.
_DEFAULTS = frozenset(
    (
        *(signals.SIGINT, signals.SIGQUIT, signals.SIGTSTP, signals.SIGTTIN, signals.SIGTTOU, signals.SIGCHLD),
        *(signals.SIGPIPE, signals.SIGXFSZ),
    )
)
_NOTHING = ChildSetup()
_STREAMS = ("stdin", "stdout", "stderr")
_JOBS_OWN = ("process_group", "ctty", "steal_ctty", "release_ctty", "foreground_tty")


class Command:
    """A program of a job. TypeError and ValueError for an `argv` that is none.

    Attributes:
        argv: the program and its arguments.
        setup: a ChildSetup (`setup=ChildSetup(cwd=...)`), or None: what is said there holds before what the job says;
            its streams before the pipes.
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
        check(argv, _NOTHING, executable, env)
        _check_setup(setup)
        self.argv = argv
        self.setup = setup
        self.env = env
        self.executable = executable

    def __repr__(self) -> str:
        return f"Command({self.argv!r})"


class Job(WaitedFor):
    """A pipeline of programs, which run in a new process group of the caller's session.

    Each one's output is the next one's input, by pipes of which this process keeps no end, nor has any other child one.
    They begin in the background: the terminal is not theirs before `foreground()` gives it, to all of them. One that
    reads its terminal all the same is stopped (SIGTTIN), and then `wait()`, which leaving the `with` block calls, waits
    for ever: call `foreground()` for what uses the terminal, `wait(timeout)` or `end()` for what may be stopped, and
    say `stdin=DEVNULL` for the rest. Signals that a shell ignores for itself (SIGINT, SIGQUIT, SIGTSTP, SIGTTIN,
    SIGTTOU, SIGCHLD) have their default action in the programs, unless the plan says otherwise.

    Threads may share one. As a context manager: leaving normally waits for all, leaving by an exception ends them; both
    reap them. The programs of one that is dropped unwaited give a ResourceWarning each.

    Attributes:
        commands: the commands.
        processes: a Process for each command. None of them is reaped before all have been started.
    """

    __slots__ = ("__weakref__", "_leader", "_loan", "_modes", "_tty", "commands", "processes")

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
            tty: the caller's controlling terminal (file descriptor, file or Pty), for `foreground`. SystemCallError if
                it is none, before anything is started. None for a job that has no use for one.
            stdin, stdout: of the first and of the last one; stderr: of all (STDOUT: into the pipe too). The caller's if
                None.
            env: their environment; os.environ if None.
            setup: a ChildSetup for all (`setup=ChildSetup(cwd=...)`); no session, group, terminal or standard stream.

        Raises TypeError and ValueError for what can't be carried out, before anything is started; what `setsid.spawn`
        raises when a program can't be, with the number of the command in the hint. Those that have been started, and
        what they have started in the job's group, are sent SIGKILL then and reaped; so they are by an exception of a
        signal handler.
        """
        self.commands = _commands(commands)
        self.processes: list[Process] = []
        self._leader: Process | None = None
        self._modes: Any = None  # the terminal's, when the job was stopped in the foreground
        self._loan: Any = None  # of the last one who had it in the foreground
        if tty is not None:
            _check_tty(as_fd(tty, "tty"))
        self._tty = tty
        plans = _plans(self.commands, setup, env, {"stdin": stdin, "stdout": stdout, "stderr": stderr})
        try:
            self._start(plans, env)
        except BaseException:
            try:
                self._abandon()
            except BaseException:  # of a signal handler
                self._abandon()
                raise
            raise

    # -- starting

    def _start(self, plans: list[_Plan], env: Environment | None) -> None:
        """Each one in turn, with the pipe to the next."""
        pipes = [_Pipe() for _ in plans[1:]]
        try:
            for index, plan in enumerate(plans):
                if index < len(pipes):
                    pipes[index].open()
                self._start_one(index, plan, pipes, env)
                if index:
                    pipes[index - 1].close()
        finally:
            for pipe in pipes:
                pipe.close()

    def _start_one(self, index: int, plan: _Plan, pipes: list[_Pipe], env: Environment | None) -> None:
        changes: SetupFields = {}
        if plan.reads_pipe:
            changes["stdin"] = pipes[index - 1].reader
        if plan.writes_pipe:
            changes["stdout"] = pipes[index].writer
        try:
            self._spawn(self.commands[index], plan.setup.replace(**changes), env)
        except SystemCallError as failure:
            if pipes:
                _add_hint(failure, _where(index, self.commands))
            raise

    def _spawn(self, command: Command, setup: ChildSetup, env: Environment | None) -> None:
        """Into the group, or, for the first one, as its leader. None is reaped before all are in it, so that its number
        stays taken. All the same it may get lost, where SIGCHLD is ignored or another thread waits for any child: then
        nobody is left in it, and this one leads another.
        """
        env = env if command.env is None else command.env
        while True:
            # Held before it is made: an exception that comes right after loses nobody.
            process = Process(ffi.new("struct sid_child *"), command.argv)
            joins = self._is_taken()
            self.processes.append(process)
            if not joins:
                self._leader = process
            try:
                start(process, setup.replace(process_group=self.pgid if joins else 0), command.executable, env)
                return
            except SystemCallError as failure:
                is_lost = joins and failure.stage is not None and failure.stage.value == "process_group"
                if process._child.kept or not is_lost or self._is_taken():
                    raise
                self.processes.remove(process)

    def _is_taken(self) -> bool:
        """Whether the group's number is the job's: an unreaped member keeps it, be it a zombie, or one that the leader
        has started and left there.
        """
        if self._leader is None or not (pgid := self._leader.pid):
            return False
        if any(lib.sid_childs_group(process._child) == pgid for process in self.processes):
            return True
        return bool(lib.sid_childs_group_lives(self._leader._child))

    def _abandon(self) -> None:
        """Leave nothing of a job that could not be started."""
        from ._ending import end_job_at_once

        made = [process for process in self.processes if process._child.kept]
        if made:
            end_job_at_once(self.pgid, made, self._is_taken)
        for process in self.processes:
            process.close()

    # -- what it is, and how it does

    @property
    def pgid(self) -> int:
        """The number of the job's process group: the first program's pid (another one's, if that had ended and was
        reaped by somebody else before the next one was started).
        """
        return self._leader.pid if self._leader else 0

    @property
    def state(self) -> ProcessState:
        """RUNNING as long as one program runs; STOPPED when those that have not ended are stopped; DONE.

        ValueError after close(), as of all that follows, unless the programs have been reaped.
        """
        self._check_unless_reaped()
        states = {state for state, _ in map(_state_of, self.processes)}
        return next(state for state in (RUNNING, STOPPED, DONE) if state in states)

    @property
    def returncodes(self) -> list[int | None]:
        """How each program has ended, as in subprocess; None for one that has not.

        Raises ChildProcessError when somebody else has reaped one, and its status is not to be had.
        """
        self._check_unless_reaped()
        return [process.poll() for process in self.processes]

    @property
    def returncode(self) -> int | None:
        """That of the last program that has failed, as with a shell's pipefail, else 0; None until all have ended. One
        whose reader has ended before it fails by SIGPIPE: -13.

        Raises as `returncodes` does.
        """
        codes = self.returncodes
        if None in codes:
            return None
        return next((code for code in reversed(codes) if code), 0)

    # -- running it

    def foreground(self) -> ProcessState:
        """Give the job the terminal, have it go on if it was stopped, and wait until it is STOPPED or DONE.

        The terminal then goes back to who had it, with the modes that it had, also when a signal handler raises. A job
        that was stopped in the foreground gets back the modes that it had then. One whose programs have met the
        terminal too early, and so were stopped by SIGTTIN or SIGTTOU, goes on once all that have not ended are. Ctrl-C
        and Ctrl-Z are the job's alone meanwhile: no KeyboardInterrupt comes here.

        ValueError for a job without `tty`; SystemCallError as of `setsid.tty.foreground_group`.
        """
        if self._tty is None:
            raise ValueError("the job has no tty: say Job(..., tty=...)")
        if self.state is DONE:
            return DONE
        if not self._is_taken():
            return self._wait_while_running()  # for those that have left the group: there is nobody else any more
        tty = as_fd(self._tty, "tty")
        others, loan = self._loan, foreground_group(tty, self.pgid)
        self._loan = loan._loan
        state: ProcessState | None = None
        try:
            with loan:
                state = RUNNING
                self._share(loan._loan, others)
                state = self._run_in_foreground(tty)
        except SystemCallError as failure:
            if state or failure.errno not in (errno.EPERM, errno.ESRCH) or self._is_taken():
                raise
            state = self._wait_while_running()
        finally:
            lib.sid_drop_loan(loan._loan)  # a handler's exception may have come before its own end
        return state

    def _share(self, loan: Any, others: Any) -> None:
        """Another thread may have lent it already: both give back what that one has found."""
        if loan.previous != self.pgid:
            return
        loan.previous = os.getpgrp()
        if others is not None and others.fd >= 0:
            loan.previous, loan.modes = others.previous, others.modes

    def _run_in_foreground(self, tty: int) -> ProcessState:
        modes, self._modes = self._modes, None
        if modes is not None:
            lib.sid_set_modes(tty, modes)
        self.resume()
        state = self._wait_while_running()
        # A program may look whether it has the terminal just before it gets it, and stop itself after the SIGCONT.
        for _ in self.processes:
            if state is not STOPPED or not self._has_met_the_terminal():
                break
            self.resume()
            state = self._wait_while_running()
        if state is STOPPED:
            modes = ffi.new("struct sid_modes *")
            if lib.sid_get_modes(tty, modes) == 0 and lib.sid_tcgetpgrp(tty) == self.pgid:
                self._modes = modes  # the job's, if no other thread has taken the terminal back
        return state

    def _wait_while_running(self) -> ProcessState:
        """Sleep until the job has stopped or ended: as long as one of its programs runs it has not."""
        signal = ffi.new("int *")
        while True:
            states = [_state_of(process)[0] for process in self.processes]
            if RUNNING not in states:  # somebody may have sent SIGCONT since: what was seen counts
                return STOPPED if STOPPED in states else DONE
            running = self.processes[states.index(RUNNING)]
            lib.sid_state(running._child, 1, signal)  # interrupted, Python runs its handlers

    def _has_met_the_terminal(self) -> bool:
        """Whether those that are stopped are so since they were in the background."""
        states = map(_state_of, self.processes)
        return {signal for state, signal in states if state is STOPPED} <= {signals.SIGTTIN, signals.SIGTTOU}

    def background(self) -> None:
        """Have the job go on without the terminal. Raises as `send_signal` does."""
        self.resume()

    def stop(self) -> None:
        """Stop it: SIGSTOP. `state` tells when it has. Raises as `send_signal` does."""
        self.send_signal(signals.SIGSTOP)

    def resume(self) -> None:
        """Have it go on where it is: SIGCONT. Raises as `send_signal` does."""
        self.send_signal(signals.SIGCONT)

    def send_signal(self, signal: int) -> None:
        """Send a signal to the job's process group: to its programs, and to what they have started in it. Does nothing
        once all programs have been reaped, or have left the group.

        Raises ValueError when that is the caller's own group by now; SystemCallError: EPERM, EINVAL. kill(2)
        """
        signal = as_int(signal, "signal")
        self._check_unless_reaped()
        # An unreaped member keeps the group's number taken.
        if any(process._signal_if_in(self.pgid, signal) for process in self.processes):
            return
        process = self.processes[0]
        if process._child.owner != os.getpid():
            raise SystemCallError(errno.ESRCH, "kill", hint=process._why_not_ours())

    def wait(self, timeout: float | None = None) -> int:
        """Wait until all programs have ended, and return `returncode`. A stopped job does not end.

        `timeout` is in seconds. Raises TimeoutError when it is over; ChildProcessError, once all have ended, when
        somebody else has reaped one and its status is not to be had.
        """
        self._check_unless_reaped()
        deadline = None if timeout is None else time.monotonic() + _nanoseconds(timeout) / 1e9
        failure: Exception | None = None
        for process in self.processes:
            result = _ended(process, deadline)
            if result == -errno.ETIMEDOUT:
                raise TimeoutError(f"job {self.pgid} did not end within {timeout} seconds")
            if result < 0 and failure is None:
                failure = process._wait_error(result)
        if failure:
            raise failure
        return self.returncode or 0

    def end(self, grace: float = 5.0, *, signal: int = signals.SIGTERM) -> EndReport:
        """End all processes of the job's group, and its programs that have left it, as `Process.end` does; reap them.

        `grace` is in seconds. Raises ValueError for an unknown signal.
        """
        from ._ending import drive, ending_job

        signal = as_int(signal, "signal")
        self._check_open()
        processes, is_taken = self.processes, self._is_taken
        return drive(lambda *how: ending_job(self.pgid, processes, is_taken, *how), grace, signal)

    # -- the handles

    def close(self) -> None:
        """Let go of the programs, as `Process.close` does."""
        for process in self.processes:
            process.close()

    def _check_open(self) -> None:
        if any(process._child.closed for process in self.processes):
            raise ValueError("the job is closed")

    def _check_unless_reaped(self) -> None:
        if any(process._child.closed and not process._child.reaped for process in self.processes):
            raise ValueError("the job is closed")

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Job can't be pickled: its programs are children of this process")

    def __repr__(self) -> str:
        return f"<Job pgid={self.pgid} {' | '.join(map(_shown, self.commands))}>"


# -- its programs


def _state_of(process: Process) -> tuple[ProcessState, int]:
    """What it does now, and the signal by which it is stopped, or 0. It is reaped if it has ended."""
    child = process._child
    signal = ffi.new("int *")
    while (result := lib.sid_state(child, 0, signal)) == -errno.EINTR:
        pass
    if result == -errno.ECHILD and child.owner == os.getpid():
        return DONE, 0  # somebody else has reaped it
    if result < 0:
        raise process._wait_error(result)
    state = CHANGES[result]
    if state is RUNNING:  # or somebody has taken the news that it was stopped
        row = ffi.new("struct sid_process *")
        if lib.sid_process(child.pid, row, ffi.NULL) == 1 and row.state == ord("T"):
            state = STOPPED
    elif state is DONE:
        lib.sid_reap(child)
    return state, signal[0]


def _ended(process: Process, deadline: float | None) -> int:
    """Sleep until it has ended, and reap it; 0 or -errno. No exception of a handler is taken for one of these."""
    child = process._child
    if deadline is not None:
        return _until(deadline - time.monotonic(), lambda left: lib.sid_wait(child, left, 1))
    while (result := lib.sid_wait(child, FOREVER, 1)) == -errno.EINTR:
        pass
    return result


# -- its terminal


def _check_tty(tty: int) -> None:
    """Raise now what `foreground` would."""
    result = lib.sid_tcgetpgrp(tty)
    if result < 0:
        raise error(result, "tcgetpgrp", tty)
    if lib.sid_tcgetsid(tty) != lib.sid_getsid(0):  # the manager side of any terminal tells its group
        raise error(-errno.ENOTTY, "tcgetpgrp", tty)


# -- its pipes

_pipes: weakref.WeakSet[_Pipe] = weakref.WeakSet()


class _Pipe:
    """A pipe between two programs, for the time in which this process has it open."""

    __slots__ = ("__weakref__", "_ends")

    def __init__(self) -> None:
        # Their count comes first. Closed when it is dropped: an exception may have come in between.
        self._ends = ffi.gc(ffi.new("int[3]", [2, -1, -1]), lib.sid_close_counted)
        _pipes.add(self)

    def open(self) -> None:
        result = lib.sid_pipe(self._ends + 1)
        if result < 0:
            raise error(result, "pipe2")

    @property
    def reader(self) -> int:
        return self._ends[1]  # type: ignore[no-any-return]

    @property
    def writer(self) -> int:
        return self._ends[2]  # type: ignore[no-any-return]

    def close(self) -> None:
        lib.sid_close_counted(self._ends)


def _close_copies() -> None:
    """In a process that another thread has forked meanwhile: it would keep a reader from seeing the end."""
    for pipe in list(_pipes):
        pipe.close()


os.register_at_fork(after_in_child=_close_copies)


# -- its plans, checked in full before anything is started


class _Plan:
    """What is said of a program, and whether the pipes are what it reads and writes."""

    __slots__ = ("reads_pipe", "setup", "writes_pipe")

    def __init__(self, setup: ChildSetup, *, reads_pipe: bool, writes_pipe: bool) -> None:
        self.setup = setup
        self.reads_pipe = reads_pipe and setup.stdin is None
        self.writes_pipe = writes_pipe and setup.stdout is None


def _commands(commands: Iterable[AnyCommand]) -> tuple[Command, ...]:
    if isinstance(commands, (str, bytes, Command)) or not hasattr(commands, "__iter__"):
        raise TypeError(f"commands must be an iterable of commands, not {type(commands).__name__}")
    found: list[Command] = []
    for index, command in enumerate(commands := [*commands]):
        if not isinstance(command, Command):
            with _Naming(f"command {index + 1} of {len(commands)}"):
                command = Command(command)
        found.append(command)
    if not found:
        raise ValueError("commands is empty: a job has at least one program")
    return tuple(found)


def _plans(
    commands: Sequence[Command], setup: ChildSetup | None, env: Environment | None, streams: dict[str, Any]
) -> list[_Plan]:
    with _Naming("setup"):
        _check_setup(setup)
        for name in _STREAMS:
            if getattr(setup, name, None) is not None:
                raise ValueError(f"{name} can't be said there: say Job(..., {name}=...), or a Command's own")
    for name, stream in streams.items():
        ChildSetup(**{name: stream})  # for its checks
    plans = []
    for index, command in enumerate(commands):
        is_first, is_last = index == 0, index == len(commands) - 1
        mine = {
            "stdin": streams["stdin"] if is_first else None,
            "stdout": streams["stdout"] if is_last else None,
            "stderr": streams["stderr"],
        }
        with _Naming(_where(index, commands)):
            plan = _Plan(_combined(mine, setup, command.setup), reads_pipe=not is_first, writes_pipe=not is_last)
            with_pipes: SetupFields = {"process_group": 0}
            if plan.reads_pipe:
                with_pipes["stdin"] = DEVNULL
            if plan.writes_pipe:
                with_pipes["stdout"] = DEVNULL
            env_of_it = env if command.env is None else command.env
            check(command.argv, plan.setup.replace(**with_pipes), command.executable, env_of_it)
        plans.append(plan)
    return plans


def _combined(fields: dict[str, Any], setup: ChildSetup | None, own: ChildSetup | None) -> ChildSetup:
    """What `own` says, else `setup`, else `fields`."""
    said = dict(fields)
    for plan in (setup, own):
        if plan is not None:
            said |= {name: value for name in FIELDS if (value := getattr(plan, name)) is not None}
    if said.get("default_signals") is None:
        said["default_signals"] = _DEFAULTS - said.get("ignore_signals", frozenset())
    return ChildSetup(**said)


def _check_setup(setup: ChildSetup | None) -> None:
    if setup is None:
        return
    if not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    for name in _JOBS_OWN:
        if getattr(setup, name) is not None and getattr(setup, name) is not False:
            raise ValueError(f"{name} can't be said for a job's program: the job itself sees to groups and terminal")


class _Naming:
    """Has the errors of a block tell what they are about."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(value, SystemCallError):
            _add_hint(value, self._name)
        for base in (TypeError, ValueError):  # a UnicodeEncodeError can't be made of a text
            if isinstance(value, base):
                raise base(f"{self._name}: {value}") from value


def _add_hint(failure: SystemCallError, where: str) -> None:
    failure.hint = f"{where}: {failure.hint}" if failure.hint else where


def _where(index: int, commands: Sequence[Command]) -> str:
    return f"command {index + 1} of {len(commands)}, {_shown(commands[index])}"


def _shown(command: Command) -> str:
    return repr(os.fsdecode(command.argv[0])) if command.argv else "''"
