"""fork: os.fork with a plan carried out in C before the child's Python goes on."""

from __future__ import annotations

import os
import sys

from ._apply import tell_python
from ._errors import SystemCallError
from ._failure import failure
from ._marshal import FORK, marshal
from ._native import ffi, lib
from ._process import Process, dropped, reap_dropped
from ._setup import with_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Unpack

    from ._marshal import Plan
    from ._native import _Child
    from ._setup import ChildSetup
    from ._types import SetupFields

_in_child = lib.sid_fork_child
_in_parent = lib.sid_fork_parent


def fork(setup: ChildSetup | None = None, **changes: Unpack[SetupFields]) -> Process | None:
    """Fork this process, as os.fork does, and carry out a plan in the child before it goes on.

        setup: the plan; `ChildSetup()` if None. `changes` are fields of ChildSetup that replace those of `setup`.

    Not said means: a new session, and all else as it is; no file is closed, no signal reset, no mask changed. Hooks of
    os.register_at_fork run as with os.fork, in the child before the plan, with all signals blocked (as they stay in a
    thread that one starts). A `parent_death_signal` comes when the calling *thread* ends.

    Returns None in the child, and its Process in the parent once the plan is carried out. Raises TypeError and
    ValueError for what can't be; SystemCallError, with `stage`, for the step that failed in the child, or ECHILD when a
    signal has ended the child before; the child is gone then, and has never come back to the caller. Raises the
    auditing events `setsid.fork` and `os.fork`. fork(2)
    """
    setup = with_changes(setup, changes)
    sys.audit("setsid.fork")
    plan = marshal(setup, FORK)
    if dropped:
        reap_dropped()
    child = ffi.new("struct sid_child *")
    process = Process(child, ())
    state = ffi.new("struct sid_fork *", {"ends": (-1, -1)})
    defaults, ignored = setup.default_signals or (), setup.ignore_signals or ()
    # All that is needed later is at hand before: every page that one of the two processes writes, and be it a reference
    # count, is copied.
    struct, scratch, owner, in_child, in_parent = plan.struct, plan.scratch, os.getpid(), _in_child, _in_parent
    pid = -1
    try:
        # All signals are blocked from here to the call that follows the fork, but a handler may be due already, or be
        # caused by a signal that another thread has got.
        if lib.sid_fork_prepare(struct, state, child) == 0:
            pid = 0
            pid = os.fork()
            if pid == 0:
                in_child(struct, scratch, state)
                if defaults or ignored:
                    tell_python(defaults, ignored)
                return None
            if in_parent(struct, state, pid, child) == 0:
                return process
    except BaseException as error:
        # Another OSError is of a handler or a hook, and there may be a child.
        is_of_fork = isinstance(error, OSError) and error.errno and _is_raised_here(error)
        _abandon(state, owner, -1 if is_of_fork else pid)
        if is_of_fork:
            raise SystemCallError(error.errno, "fork") from None  # type: ignore[attr-defined]
        raise
    raise _error(setup, plan, child)


def _abandon(state: Any, owner: int, pid: int) -> None:
    """Something has come in between."""
    if state.ends[1] < 0:  # the child's set-up is over
        return
    if os.getpid() != owner:
        os._exit(127)
    lib.sid_fork_abandon(state, pid)


def _is_raised_here(error: BaseException) -> bool:
    return error.__traceback__ is not None and error.__traceback__.tb_next is None


def _error(setup: ChildSetup, plan: Plan, child: _Child) -> Exception:
    if child.report.call != lib.SID_CALL_FORK:
        return failure(child.report, setup, plan)
    how = ""
    if child.ended:
        how = f" with status {child.returncode}" if child.returncode >= 0 else f" by signal {-child.returncode}"
    hint = f"process {child.pid} has ended{how} before its set-up was done"
    return SystemCallError(child.report.error, "fork", hint=hint)
