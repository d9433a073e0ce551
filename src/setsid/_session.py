"""Sessions."""

from __future__ import annotations


class Session:
    """The session with the id `sid`."""

    __slots__ = ("sid",)

    def __init__(self, sid: int) -> None:
        self.sid = sid.__index__()

    def __repr__(self) -> str:
        return f"Session({self.sid})"

    def __eq__(self, other: object) -> bool:
        return self.sid == other.sid if isinstance(other, Session) else NotImplemented

    def __hash__(self) -> int:
        return hash((Session, self.sid))
