"""A line of the table: a case, its figure, and the goal if there is one."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A line of the table."""

    case: str
    figure: float
    unit: str
    goal: str = ""
    is_met: bool | None = None


def at_most(case: str, figure: float, goal: float, unit: str = "x") -> Row:
    """A figure that is good when small."""
    return Row(case, figure, unit, f"<= {goal:g}", figure <= goal)


def at_least(case: str, figure: float, goal: float, unit: str = "x") -> Row:
    """A figure that is good when large."""
    return Row(case, figure, unit, f">= {goal:g}", figure >= goal)
