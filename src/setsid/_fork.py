"""fork: os.fork with a plan carried out in C before the child's Python goes on."""

from __future__ import annotations

import os
import sys

from ._apply import handlers_of, tell_python
from ._errors import SystemCallError
from ._failure import failure
from ._marshal import FORK, Plan, marshal
from ._native import ffi, lib
from ._process import Process, dropped, reap_dropped
from ._setup import ChildSetup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Unpack

    from ._types import SetupFields

_DEFAULT = ChildSetup()


def fork(setup: ChildSetup | None = None, **changes: Unpack[SetupFields]) -> Process | None:
    """Fork this process, as os.fork does, and carry out a plan in the child before it goes on.

        setup: the plan; `ChildSetup()` if None. `changes` are fields of ChildSetup that replace those of `setup`.

    Not said means: a new session, and all else as it is; no file is closed, no signal reset, no mask changed. Hooks of
    os.register_at_fork run as with os.fork, in the child before the plan. A `parent_death_signal` comes when the
    calling *thread* ends.

    Returns None in the child, and its Process in the parent once the plan is carried out. Raises TypeError and
    ValueError for what can't be; SystemCallError, with `stage`, for the step that failed in the child, or ECHILD when a
    signal has ended the child before; the child is gone then, and has never come back to the caller. Raises the
    auditing events `setsid.fork` and `os.fork`. fork(2)
    """
    if setup is None:
        setup = ChildSetup(**changes) if changes else _DEFAULT
    elif not isinstance(setup, ChildSetup):
        raise TypeError(f"setup must be a ChildSetup, not {type(setup).__name__}")
    elif changes:
        setup = setup.replace(**changes)
    sys.audit("setsid.fork")
    plan = marshal(setup, FORK)
    if dropped:
        reap_dropped()
    child = ffi.new("struct sid_child *")
    process = Process(child, ())
    return process if _fork(setup, plan, child) else None


def _fork(setup: ChildSetup, plan: Plan, child: Any) -> int:
    """The child's pid; 0 in the child."""
    state = ffi.new("struct sid_fork *", {"ends": (-1, -1)})
    owner, pid = os.getpid(), -1
    try:
        # All signals are blocked from here to the call that follows the fork, but a handler may be due already, or be
        # caused by a signal that another thread has got.
        if lib.sid_fork_prepare(plan.struct, state, child) == 0:
            pid = 0
            pid = os.fork()
            if pid == 0:
                lib.sid_fork_child(plan.struct, plan.scratch, state)
            else:
                lib.sid_fork_parent(plan.struct, state, pid, child)
    except BaseException as error:
        if state.ends[1] >= 0:  # neither of the two has been called
            if os.getpid() != owner:
                os._exit(127)
            lib.sid_fork_abandon(state, -1 if isinstance(error, OSError) else pid)
        if isinstance(error, OSError):
            raise SystemCallError(error.errno or 0, "fork") from None
        raise
    if child.report.error:
        raise _error(setup, plan, child)
    if pid == 0:
        tell_python(handlers_of(setup))
    return pid


def _error(setup: ChildSetup, plan: Plan, child: Any) -> Exception:
    if child.report.call != lib.SID_CALL_FORK:
        return failure(child.report, setup, plan)
    status = child.returncode
    how = f"with status {status}" if status >= 0 else f"by signal {-status}"
    hint = f"process {child.pid} has ended {how} before its set-up was done"
    return SystemCallError(child.report.error, "fork", hint=hint)
