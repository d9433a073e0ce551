"""apply: a plan carried out in a process that exists already, as a fork server has made it."""

from __future__ import annotations

# The built-in half of `signal`, which takes long to import.
import _signal  # type: ignore[import-not-found]
import errno

from ._calls import as_int
from ._errors import SystemCallError, prepare
from ._failure import failure
from ._fields import INT_MAX
from ._marshal import APPLY, Plan, check_files
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._setup import ChildSetup

_OF_A_THREAD = ("nice", "cpu_affinity", "no_new_privileges", "parent_death_signal")
# After these the package's own files may be out of reach.
_HIDING = ("chroot", "user", "group", "extra_groups", "rlimits")
_sid_apply = lib.sid_apply
_set_handler = _signal.signal


class Apply:
    """What `ChildSetup.apply` is, which tells all about it. Made ready where that is looked up."""

    __slots__ = ("_handlers", "_plan", "_setup")

    def __init__(self, setup: ChildSetup) -> None:
        self._setup = setup
        self._handlers = handlers_of(setup)
        self._plan: Plan | None = None
        try:
            plan = self._marshal()
        except Exception:  # whatever fileno() raises, too: the call says so, or finds it mended
            return
        if plan.is_static:
            self._plan = plan

    def _marshal(self) -> Plan:
        if self._setup.steal_ctty:
            raise ValueError("steal_ctty can't be undone if a later step fails; see acquire_ctty(fd, steal=True)")
        if any(getattr(self._setup, name) is not None for name in _HIDING):
            prepare()
        return Plan(self._setup, APPLY)

    def __call__(self, *, parent_pid: int | None = None) -> None:
        """Carry the plan out in this process."""
        parent = 0 if parent_pid is None else _pid(parent_pid)
        plan = self._plan or self._marshal()
        result = _sid_apply(plan.struct, plan.scratch, parent, plan.report)
        if result:
            raise _error(result, self._setup, plan)
        try:  # as tell_python() does; a call more has its price, in copied pages
            for number, handler in self._handlers:
                _set_handler(number, handler)
        except ValueError:
            return

    def __reduce__(self) -> tuple[object, ...]:
        return getattr, (self._setup, "apply")

    def __repr__(self) -> str:
        return f"<apply of {self._setup!r}>"


def _pid(parent_pid: int) -> int:
    if isinstance(parent_pid, bool):
        raise TypeError("parent_pid must be an int, not bool")
    pid = as_int(parent_pid, "parent_pid")
    if not 0 < pid <= INT_MAX:
        raise ValueError(f"parent_pid must be between 1 and {INT_MAX}, not {pid}")
    return pid


def _error(result: int, setup: ChildSetup, plan: Plan) -> Exception:
    if result == lib.SID_APPLY_OTHER_THREAD:
        said = ", ".join(name for name in _OF_A_THREAD if getattr(setup, name))
        return ValueError(f"{said} would hold for this thread alone; call apply() in the main thread")
    if result == lib.SID_APPLY_BAD_FILE:
        check_files(plan)  # which raises, unless another thread has mended it; the report is not of this call
        return SystemCallError(errno.EBADF, "fcntl")
    return failure(plan.report, setup, plan)


def handlers_of(setup: ChildSetup) -> tuple[tuple[int, Any], ...]:
    """The signals whose dispositions the plan says, each with what Python calls it."""
    defaults, ignored = setup.default_signals or (), setup.ignore_signals or ()
    return (*((number, _signal.SIG_DFL) for number in defaults), *((number, _signal.SIG_IGN) for number in ignored))


def tell_python(handlers: tuple[tuple[int, Any], ...]) -> None:
    """Have Python's table of handlers say what the dispositions are; C has set them already.

    Possible in the main thread only. In another the table stays, and with it what signal.getsignal() says.
    """
    try:
        for number, handler in handlers:
            _set_handler(number, handler)
    except ValueError:
        return
