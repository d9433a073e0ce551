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
    from collections.abc import Iterable
    from typing import Any

    from ._setup import ChildSetup

_OF_A_THREAD = ("nice", "cpu_affinity", "no_new_privileges", "parent_death_signal")
# After these the package's own files may be out of reach.
_HIDING = ("chroot", "user", "group", "extra_groups", "rlimits")
_sid_apply = lib.sid_apply
_set_handler = _signal.signal
_DEFAULT, _IGNORE = _signal.SIG_DFL, _signal.SIG_IGN


class Apply:
    """What `ChildSetup.apply` is, which tells all about it. Made ready where that is looked up."""

    # In a fresh child every page that is written, and be it a reference count, is copied first: so few objects.
    __slots__ = ("_defaults", "_ignored", "_ready", "_setup")

    def __init__(self, setup: ChildSetup) -> None:
        self._setup = setup
        self._defaults = tuple(setup.default_signals or ())
        self._ignored = tuple(setup.ignore_signals or ())
        self._ready: tuple[Any, Any, Any, Plan] | None = None
        try:
            plan = self._marshal()
        except Exception:  # whatever fileno() raises, too: the call says so, or finds it mended
            return
        if plan.is_static:
            self._ready = plan.struct, plan.scratch, plan.report, plan

    def _marshal(self) -> Plan:
        if self._setup.steal_ctty:
            raise ValueError("steal_ctty can't be undone if a later step fails; see acquire_ctty(fd, steal=True)")
        if any(getattr(self._setup, name) is not None for name in _HIDING):
            prepare()
        return Plan(self._setup, APPLY)

    def __call__(self, *, parent_pid: int | None = None) -> None:
        """Carry the plan out in this process."""
        parent = 0 if parent_pid is None else _pid(parent_pid)
        if self._ready is not None:
            struct, scratch, report, plan = self._ready
        else:
            plan = self._marshal()
            struct, scratch, report = plan.struct, plan.scratch, plan.report
        result = _sid_apply(struct, scratch, parent, report)
        if result:
            raise _error(result, self._setup, plan)
        try:  # as tell_python() does
            for number in self._defaults:
                _set_handler(number, _DEFAULT)
            for number in self._ignored:
                _set_handler(number, _IGNORE)
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


def tell_python(defaults: Iterable[int], ignored: Iterable[int]) -> None:
    """Have Python's table of handlers say what the dispositions are; C has set them already.

    Possible in the main thread only. In another the table stays, and with it what signal.getsignal() says.
    """
    try:
        for number in defaults:
            _set_handler(number, _DEFAULT)
        for number in ignored:
            _set_handler(number, _IGNORE)
    except ValueError:
        return
