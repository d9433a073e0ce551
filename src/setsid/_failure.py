"""A report that C has filled -> the exception that tells of it."""

from __future__ import annotations

import os

from ._errors import child_error
from ._native import lib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._errors import SystemCallError
    from ._marshal import Plan
    from ._native import _Report
    from ._setup import ChildSetup


def failure(report: _Report, setup: ChildSetup, plan: Plan, *program: Any) -> SystemCallError:
    """The exception for a plan that was not carried out.

    `program` is what was to be executed, if anything: its name, the arguments as one block, the environment.
    """
    facts = (setup, plan.verb.is_own_process, plan.struct, *(program or (b"", b"", {})))
    return child_error(report, facts, _filename(report, setup, program))


def _filename(report: _Report, setup: ChildSetup, program: tuple[Any, ...]) -> Any:
    """The file that the failed call was about, as its user has named it."""
    if report.call == lib.SID_CALL_EXECVE:
        return os.fsdecode(program[0])
    if report.call == lib.SID_CALL_CHROOT:
        return setup.chroot
    if report.call == lib.SID_CALL_CHDIR:
        return setup.cwd if report.stage == lib.SID_STAGE_CWD else setup.chroot
    if report.stage == lib.SID_STAGE_CGROUP:
        return None if isinstance(setup.cgroup, int) else setup.cgroup
    return "/proc/self/oom_score_adj" if report.stage == lib.SID_STAGE_OOM_SCORE_ADJ else None
