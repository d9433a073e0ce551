"""sd_notify(3): telling a service manager how a daemon does."""

from __future__ import annotations

import errno
import os
import re
import socket
import time

from ._calls import is_still
from ._errors import SystemCallError

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


class Notifier:
    """A connection to the manager that NOTIFY_SOCKET names; to nobody where there is none.

    It is made before a change of root or user, which may put the socket out of reach.

    Attributes:
        fd: its file descriptor, or -1.
    """

    __slots__ = ("_opened", "fd")

    def __init__(self) -> None:
        """Raises SystemCallError when the socket that is named can't be connected to."""
        self.fd = -1
        address = os.environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):  # others than Unix sockets are for virtual machines
            return
        path = b"\0" + os.fsencode(address[1:]) if address[0] == "@" else os.fsencode(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
            try:
                made.connect(path)
            except OSError as reason:
                hint = "NOTIFY_SOCKET names it; unset it to start without a manager" if reason.errno else str(reason)
                raise SystemCallError(reason.errno or errno.EINVAL, "connect", filename=address, hint=hint) from None
            self._opened = os.fstat(made.fileno())
            self.fd = made.detach()

    def send(self, fields: dict[str, object]) -> bool:
        """Whether there is somebody, who then has been told."""
        message = as_message(fields)
        if self.fd < 0 or not is_still(self.fd, self._opened):
            return False
        try:
            os.write(self.fd, message.encode("utf-8", "backslashreplace"))
        except OSError as reason:
            raise SystemCallError(reason.errno or errno.EIO, "write", hint="to the socket of NOTIFY_SOCKET") from None
        return True

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0 and is_still(fd, self._opened):
            os.close(fd)


def as_message(fields: dict[str, object]) -> str:
    """TypeError and ValueError for what can't be said."""
    said = {name.upper(): value for name, value in fields.items()}
    for name, value in [*said.items()]:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a field")
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise TypeError(f"{name} must be str or int, not {type(value).__name__}")
        if name == "STATUS":  # it may be the text of an error
            said[name] = str(value).replace("\n", " ")
        elif "\n" in str(value):
            raise ValueError(f"{name}: a field is one line")
    if "RELOADING" in said and "MONOTONIC_USEC" not in said:  # which units of Type=notify-reload ask for
        said["MONOTONIC_USEC"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return "\n".join(f"{name}={value}" for name, value in said.items())
