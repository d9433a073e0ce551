"""ChildSetup: what a child does between fork and exec, checked in full before there is a child."""

from __future__ import annotations

import sys

from ._fields import CHECKS, DEVNULL, NEW_SESSION, STDOUT, Inherit, NewSession

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Final

    from typing_extensions import Self, Unpack

    from ._apply import Apply
    from ._types import FileLike, SetupFields, StrOrBytesPath

FIELDS = tuple(CHECKS)
_FD_FIELDS = ("ctty", "foreground_tty", "stdin", "stdout", "stderr")
_STREAMS = ("stdin", "stdout", "stderr")
_NOT_ON_FREEBSD = {"steal_ctty", "cpu_affinity", "oom_score_adj", "cgroup"}
_NOT_THERE = {
    "linux": set[str](),
    "freebsd": _NOT_ON_FREEBSD,
    "darwin": {*_NOT_ON_FREEBSD, "parent_death_signal", "no_new_privileges"},
}
_set = object.__setattr__


class ChildSetup:
    """A plan of what a child process does between fork and exec. Immutable; may be used again, from any thread.

    Every field may be left out, and None means the same: "not said", so that the function that makes the child
    decides. What that means for `spawn` is given behind each.

        process_group: NEW_SESSION (the default): lead a new session; 0: lead a new process group; n: join group n;
            INHERIT: stay in the parent's. setsid(2), setpgid(2)
        ctty: a terminal (file descriptor or file) that becomes the new session's controlling terminal; only with
            NEW_SESSION. None by default. ioctl_tty(2), TIOCSCTTY
        steal_ctty: True: take `ctty` from the session that has it (Linux, needs CAP_SYS_ADMIN).
        release_ctty: True: let go of the controlling terminal without a new session. ioctl_tty(2), TIOCNOTTY; on
            FreeBSD in `apply` by a session's leader alone
        foreground_tty: a terminal (file descriptor or file) whose foreground group the child's group becomes before
            it executes the program. With NEW_SESSION only together with `ctty`. tcsetpgrp(3)
        stdin, stdout, stderr: file descriptor, file or DEVNULL; STDOUT for stderr. The parent's by default.
        pass_fds: further file descriptors (or files) that the child keeps: an iterable, or a mapping of the child's
            numbers to the parent's, which may be any permutation.
        close_fds: close every other file descriptor from 3 up. True by default.
        cwd: the working directory: a path, or the file descriptor of a directory (not with chroot). The parent's by
            default, or with chroot its root.
        chroot: a directory that becomes the child's root, and its working directory. The program and `cwd` are looked
            for in there. chroot(2), needs CAP_SYS_CHROOT
        umask: 0 to 0o777. The parent's by default.
        user: a user's name or number. The child takes it as its real, effective and saved user id, and, unless said
            otherwise, the user's own group and supplementary groups: both from the password database, looked up in the
            parent each time a child is made. A number that the database doesn't have leaves the group, and drops all
            supplementary ones. The environment stays: HOME and USER are the parent's. setresuid(2), needs CAP_SETUID
        group: a group's name or number, for the real, effective and saved group id. setresgid(2), needs CAP_SETGID
        extra_groups: an iterable of names and numbers: the supplementary groups. setgroups(2), needs CAP_SETGID
        rlimits: a mapping of resource.RLIMIT_* to (soft, hard). setrlimit(2)
        nice: what to add to the nice value, -40 to 40. setpriority(2)
        cpu_affinity: an iterable of the numbers of the CPUs that it may run on; those that are not there are left out.
            sched_setaffinity(2), Linux
        oom_score_adj: -1000 (never) to 1000 (first): how likely the out-of-memory killer is to choose it. Linux
        cgroup: a directory of the cgroup v2 file system, as a path or a file descriptor; it must be there. The child is
            born in it where the kernel can do that (Linux 5.7), and joins it else. cgroups(7), Linux
        signal_mask: the signals that the program starts with blocked, or INHERIT. Empty by default.
        default_signals: signals set to their default action. Those that Python ignores (SIGPIPE, SIGXFSZ) by default.
            Signals that the parent catches are reset in any case, as exec itself does.
        ignore_signals: signals to ignore ({SIGHUP} is nohup(1)). None by default; ignored ones stay so.
        parent_death_signal: a signal that the child gets when the parent process ends (for `fork` and `apply`: the
            thread that made the child). PR_SET_PDEATHSIG(2const), procctl(2); Linux, FreeBSD
        no_new_privileges: True: no program that it executes gives it more rights than it has. Linux, FreeBSD

    The child takes the steps in the order of `Stage`. Raises TypeError and ValueError for what can't be carried out,
    NotImplementedError for a field that this system doesn't have (see `supported`).
    Files and descriptors must stay open until the child is made. A plan pickles unless it holds any.
    """

    __slots__ = (*FIELDS, "marshalled")

    marshalled: Any  # _marshal's, which keeps its work here
    process_group: NewSession | Inherit | int | None
    ctty: FileLike | None
    steal_ctty: bool | None
    release_ctty: bool | None
    foreground_tty: FileLike | None
    stdin: FileLike | None
    stdout: FileLike | None
    stderr: FileLike | None
    pass_fds: tuple[FileLike, ...] | Mapping[int, FileLike] | None
    close_fds: bool | None
    cwd: str | bytes | int | None
    chroot: str | bytes | None
    umask: int | None
    user: str | int | None
    group: str | int | None
    extra_groups: tuple[str | int, ...] | None
    rlimits: Mapping[int, tuple[int, int]] | None
    nice: int | None
    cpu_affinity: frozenset[int] | None
    oom_score_adj: int | None
    cgroup: str | bytes | int | None
    signal_mask: frozenset[int] | Inherit | None
    default_signals: frozenset[int] | None
    ignore_signals: frozenset[int] | None
    parent_death_signal: int | None
    no_new_privileges: bool | None

    supported: Final[frozenset[str]] = frozenset(FIELDS) - _NOT_THERE[sys.platform.rstrip("0123456789")]
    """The names of the fields that this system can carry out."""

    def __init__(
        self,
        *,
        process_group: NewSession | Inherit | int | None = None,
        ctty: FileLike | None = None,
        steal_ctty: bool | None = None,
        release_ctty: bool | None = None,
        foreground_tty: FileLike | None = None,
        stdin: FileLike | None = None,
        stdout: FileLike | None = None,
        stderr: FileLike | None = None,
        pass_fds: Iterable[FileLike] | Mapping[int, FileLike] | None = None,
        close_fds: bool | None = None,
        cwd: StrOrBytesPath | int | None = None,
        chroot: StrOrBytesPath | None = None,
        umask: int | None = None,
        user: str | int | None = None,
        group: str | int | None = None,
        extra_groups: Iterable[str | int] | None = None,
        rlimits: Mapping[int, tuple[int, int]] | None = None,
        nice: int | None = None,
        cpu_affinity: Iterable[int] | None = None,
        oom_score_adj: int | None = None,
        cgroup: StrOrBytesPath | int | None = None,
        signal_mask: Iterable[int] | Inherit | None = None,
        default_signals: Iterable[int] | None = None,
        ignore_signals: Iterable[int] | None = None,
        parent_death_signal: int | None = None,
        no_new_privileges: bool | None = None,
    ) -> None:
        given = locals()
        for name in FIELDS:
            _set_field(self, name, given[name])
        _set(self, "marshalled", None)
        _check_conflicts(self)

    @classmethod
    def on_terminal(cls, tty: FileLike, /, **fields: Unpack[SetupFields]) -> Self:
        """A plan for a program on a terminal of its own: a new session with `tty` (a terminal's file descriptor or
        file) as its controlling terminal and its three standard streams. `fields` say the rest, or otherwise.
        TypeError and ValueError for a `tty` that is none.
        """
        CHECKS["ctty"]("tty", tty)
        return cls(**{"process_group": NEW_SESSION, "ctty": tty, "stdin": tty, "stdout": tty, "stderr": tty, **fields})  # type: ignore[arg-type]

    def replace(self, **changes: Unpack[SetupFields]) -> Self:
        """The same plan with some fields changed; None makes a field "not said" again."""
        cls = type(self)
        if cls.__init__ is not ChildSetup.__init__ or not changes.keys() <= CHECKS.keys():  # which it refuses
            return cls(**{**_said(self), **changes})
        plan = cls.__new__(cls)  # what is said already has been checked
        for name in FIELDS:
            if name in changes:
                _set_field(plan, name, changes[name])  # type: ignore[literal-required]
            else:
                _set(plan, name, getattr(self, name))
        _set(plan, "marshalled", None)
        _check_conflicts(plan)
        return plan

    __replace__ = replace

    @property
    def apply(self) -> Apply:
        """`apply(*, parent_pid=None)`: carry the plan out in this process, which goes on in its program, as a child of
        a fork server does.

        Only what is said is changed. Files are closed at once, not at an exec, and Python's signal handlers stay but
        for `default_signals` and `ignore_signals`. What belongs to a thread (`nice`, `cpu_affinity`,
        `no_new_privileges`, `parent_death_signal`, `signal_mask`) is changed for the calling one and those that it
        starts; so call it in the main thread, before there are others. Looked up in the parent
        (`initializer=setup.apply`) it is made ready there, and the call in the child is a single one to C.

            parent_pid: the process that is meant to be the parent, for `parent_death_signal`: if another is the parent
                by now, that one has ended, and the signal is sent at once. Not said: it is not asked.

        Raises ValueError for `steal_ctty`, which could not be undone, and for what belongs to a thread when called in
        another than the main one (but for `signal_mask`); SystemCallError, with `stage`, when a step fails. The steps
        before it stay done then, so the process had better end.
        """
        from ._apply import Apply

        return Apply(self)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"can't set {name}: a ChildSetup can't be changed; use replace()")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"can't delete {name}: a ChildSetup can't be changed; use replace()")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in _said(self).items())})"

    def __eq__(self, other: object) -> bool:
        return _said(self) == _said(other) if isinstance(other, ChildSetup) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(_said(self).items()))

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[object, ...]:
        held = [name for name in _FD_FIELDS if getattr(self, name) not in (None, DEVNULL, STDOUT)]
        held += ["pass_fds"] if self.pass_fds else []
        held += [name for name in ("cwd", "cgroup") if isinstance(getattr(self, name), int)]
        if held:
            raise TypeError(f"can't pickle a ChildSetup with file descriptors in {', '.join(held)}")
        return _rebuild, (type(self), _said(self))


def _set_field(setup: ChildSetup, name: str, value: Any) -> None:
    if value is not None:
        value = CHECKS[name](name, value)
        if value is not False and name not in setup.supported:
            raise NotImplementedError(f"{name}: {sys.platform} has no such thing")
    _set(setup, name, value)


def with_changes(setup: ChildSetup | None, changes: SetupFields) -> ChildSetup:
    """The plan that a function is given: `setup`, or an empty one, with `changes`. TypeError for what is no plan."""
    if not changes.keys() <= CHECKS.keys():
        (name, *_) = changes.keys() - CHECKS.keys()
        raise TypeError(f"unexpected keyword argument {name!r}: neither an argument nor a field of ChildSetup")
    if setup is None:
        return ChildSetup(**changes) if changes else _EMPTY
    if not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    return setup.replace(**changes) if changes else setup


def _rebuild(cls: type[ChildSetup], fields: dict[str, Any]) -> ChildSetup:
    return cls(**fields)


def _said(setup: ChildSetup) -> dict[str, Any]:
    return {name: value for name in FIELDS if (value := getattr(setup, name)) is not None}


def _check_conflicts(setup: ChildSetup) -> None:
    if setup.process_group is not None:
        check_session(setup, setup.process_group)
    if setup.steal_ctty and setup.ctty is None:
        raise ValueError("steal_ctty without ctty: there is no terminal to take")
    if setup.release_ctty and setup.ctty is not None:
        raise ValueError("ctty and release_ctty can't go together")
    if setup.release_ctty and setup.foreground_tty is not None:
        raise ValueError(
            "release_ctty and foreground_tty can't go together: only a controlling terminal has a foreground"
        )
    if setup.chroot is not None and isinstance(setup.cwd, int):
        raise ValueError("cwd must be a path with chroot: a directory's file descriptor would lead out of it")
    both = (setup.default_signals or frozenset()) & (setup.ignore_signals or frozenset())
    if both:
        import signal

        names = ", ".join(signal.Signals(number).name for number in sorted(both))
        raise ValueError(f"default_signals and ignore_signals both name {names}")
    for number, stream in enumerate(_STREAMS):
        if number in (setup.pass_fds or ()) and getattr(setup, stream) is not None:
            raise ValueError(f"pass_fds and {stream} both say what the child's {number} is")


def check_session(setup: ChildSetup, group: NewSession | Inherit | int) -> None:
    """Whether the terminal's fields go with `process_group` as it was said, or as the function decided."""
    if group is NEW_SESSION:
        if setup.foreground_tty is not None and setup.ctty is None:
            raise ValueError(
                "foreground_tty with NEW_SESSION but no ctty: a new session has no terminal; "
                "say ctty, or another process_group"
            )
        if setup.release_ctty:
            raise ValueError("release_ctty with NEW_SESSION: a new session has no terminal; say another process_group")
    elif setup.ctty is not None:
        raise ValueError(f"ctty needs process_group=NEW_SESSION, not {group!r}: only a session leader can acquire one")


_EMPTY = ChildSetup()
