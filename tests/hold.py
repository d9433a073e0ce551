"""A process held in the middle of its set-up: its umask(2) waits until it is let go. Helpers import it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import struct

_CALLS = {"x86_64": (95, 317), "aarch64": (166, 277)}  # umask, seccomp
_PR_SET_NO_NEW_PRIVS = 38
_SET_MODE_FILTER, _TSYNC, _NEW_LISTENER, _TSYNC_ESRCH = 1, 1, 8, 16
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_RECEIVE, _SEND, _CONTINUE = 0xC0502100, 0xC0182101, 1
_NOTIFICATION_SIZE = 80

_libc = ctypes.CDLL(None, use_errno=True)


def _filter(umask: int, seccomp: int) -> int:
    """The listener of a new filter in all threads of this process, or -1 with errno set."""
    lines = ((_LOAD, 0, 0, 0), (_IF_EQUAL, 0, 1, umask), (_RETURN, 0, 0, _NOTIFY), (_RETURN, 0, 0, _ALLOW))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in lines))
    program = struct.pack("@HP", len(lines), ctypes.addressof(code))
    flags = _TSYNC | _NEW_LISTENER | _TSYNC_ESRCH
    return int(_libc.syscall(ctypes.c_long(seccomp), _SET_MODE_FILTER, flags, program))


class Hold:
    """From here on this process, and each that it makes, waits in umask(2) until it is let go.

    Each copy of this process can let them go. When the last one has ended the call fails with ENOSYS: so `close` it in
    those that make whoever is to be held, or he keeps a copy himself, and waits for ever if all others die. Where the
    system refuses a Hold, it says so and ends the process. seccomp(2), seccomp_unotify(2)
    """

    def __init__(self) -> None:
        calls = _CALLS.get(os.uname().machine)
        self._listener = -1
        if calls:
            self._listener = _filter(*calls)
            if self._listener < 0 and ctypes.get_errno() == errno.EACCES:  # who lacks CAP_SYS_ADMIN must promise this
                _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
                self._listener = _filter(*calls)
        if self._listener < 0:
            reason = os.strerror(ctypes.get_errno()) if calls else f"unknown on {os.uname().machine}"
            print(f"SKIP: no seccomp user notification here: {reason}")
            raise SystemExit(0)
        self._id = 0

    def close(self) -> None:
        """Leave it to the other copies of this process."""
        os.close(self._listener)

    def wait(self, timeout: float = 10) -> int:
        """The next one to be held, by its number in the caller's pid namespace, once it is."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        while poll.poll(timeout * 1000):
            try:
                told = fcntl.ioctl(self._listener, _RECEIVE, bytes(_NOTIFICATION_SIZE))
            except FileNotFoundError:  # a signal has come meanwhile
                continue
            self._id, pid = struct.unpack_from("=QI", told)
            return int(pid)
        raise TimeoutError("nobody is held")

    def let_go(self) -> None:
        """Have the one that `wait` has told of make its call."""
        while True:
            try:
                fcntl.ioctl(self._listener, _SEND, struct.pack("=QqiI", self._id, 0, 0, _CONTINUE))
                return
            except FileNotFoundError:  # a signal's handler has run meanwhile, and the call begins anew
                self.wait()
