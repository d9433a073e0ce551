"""Users and groups by name, looked up in the parent: a child between fork and exec can't ask a name service."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pwd import struct_passwd

    from ._setup import ChildSetup


def are_looked_up(setup: ChildSetup) -> bool:
    """Whether the numbers depend on what the databases say, or on the groups that this process has, at the time."""
    return setup.user is not None or setup.extra_groups is not None or isinstance(setup.group, str)


def look_up(setup: ChildSetup) -> tuple[int | None, int | None, list[int] | None]:
    """The numbers of user, group and supplementary groups to set; None for what is to stay as it is.

    Raises ValueError for a name that does not exist.
    """
    entry = None if setup.user is None else _user(setup.user)
    user = setup.user if entry is None else entry.pw_uid
    if setup.group is not None:
        group: int | None = _group("group", setup.group)
    else:
        group = None if entry is None else entry.pw_gid
    groups: list[int] | None = None
    if setup.extra_groups is not None:
        groups = [_group("extra_groups", name) for name in setup.extra_groups]
    elif entry is not None:
        groups = os.getgrouplist(entry.pw_name, entry.pw_gid if group is None else group)
    elif user is not None:
        groups = []
    if (
        groups is not None
        and not _are_unknown()
        and _are_held(groups, None if setup.extra_groups is not None else group)
    ):
        groups = None  # setting them needs a right even so
    if groups is not None and sys.platform != "linux":
        groups = _as_set_there(groups, os.getegid() if group is None else group)
    return user, group, groups  # type: ignore[return-value]  # a user without an entry is a number


def _are_unknown() -> bool:
    """MacOS tells a root process which groups its user's entry has, not which it holds."""
    return sys.platform == "darwin" and os.geteuid() == 0


def _as_set_there(groups: list[int], group: int) -> list[int]:
    """The first one is the effective group on macOS, and on FreeBSD before 15. MacOS takes 16, and of a process that
    has set them it looks up no others.
    """
    groups = list(dict.fromkeys([group, *groups]))
    return groups[: os.sysconf("SC_NGROUPS_MAX")] if sys.platform == "darwin" else groups


def _are_held(groups: list[int], group: int | None) -> bool:
    """Whether the process has these supplementary groups. The user's databases list his own group too; a process that
    has `group` as its own need not have it there (as in a container).
    """
    own = {group} & {os.getegid()}
    return {*groups} - own == {*os.getgroups()} - own


def _user(user: str | int) -> struct_passwd | None:
    import pwd

    try:
        return pwd.getpwnam(user) if isinstance(user, str) else pwd.getpwuid(user)
    except KeyError:
        if isinstance(user, int):
            return None
        raise ValueError(f"user: there is no user {user!r}") from None


def _group(field: str, group: str | int) -> int:
    if isinstance(group, int):
        return group
    import grp

    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ValueError(f"{field}: there is no group {group!r}") from None
