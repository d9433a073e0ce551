"""Types of the cffi module: what csrc/sid.cdef.h declares."""

from typing import Any, Final, Protocol

class _Report(Protocol):
    stage: int
    call: int
    error: int
    detail: int
    stops: int

class _Child(Protocol):
    pid: int
    pidfd: int
    owner: int
    leads_session: int
    closed: int
    kept: int
    ended: int
    reaped: int
    returncode: int
    dumped: int
    usage: Any
    stays: int
    report: _Report

class _Lib:
    SID_APPLY_BAD_FILE: Final[int]
    SID_APPLY_OTHER_THREAD: Final[int]
    SID_CALL_CHDIR: Final[int]
    SID_CALL_CHROOT: Final[int]
    SID_CALL_EXECVE: Final[int]
    SID_CALL_FORK: Final[int]
    SID_STAGE_CGROUP: Final[int]
    SID_STAGE_CWD: Final[int]
    SID_STAGE_OOM_SCORE_ADJ: Final[int]
    SID_PIDFD_NONE: Final[int]
    SID_GROUP_INHERIT: Final[int]
    SID_GROUP_NEW_SESSION: Final[int]
    SID_SCOPE_GROUP: Final[int]
    SID_SCOPE_SESSION: Final[int]
    SID_SOURCE_DEVNULL: Final[int]
    SID_WAY_PROBE: Final[int]
    SID_WAY_CLONE3: Final[int]
    SID_WAY_CLONE: Final[int]
    SID_WAY_PAGE: Final[int]
    SID_WAY_FORK: Final[int]

    @staticmethod
    def sid_setsid() -> int: ...
    @staticmethod
    def sid_getsid(pid: int, /) -> int: ...
    @staticmethod
    def sid_setpgid(pid: int, pgid: int, /) -> int: ...
    @staticmethod
    def sid_getpgid(pid: int, /) -> int: ...
    @staticmethod
    def sid_tcgetsid(fd: int, /) -> int: ...
    @staticmethod
    def sid_tcgetpgrp(fd: int, /) -> int: ...
    @staticmethod
    def sid_tcsetpgrp(fd: int, pgid: int, /) -> int: ...
    @staticmethod
    def sid_acquire_ctty(fd: int, steal: int, /) -> int: ...
    @staticmethod
    def sid_release_ctty(fd: int, /) -> int: ...
    @staticmethod
    def sid_fd_flags(fd: int, /) -> int: ...
    @staticmethod
    def sid_is_terminal(fd: int, /) -> int: ...
    @staticmethod
    def sid_python_ignored_signals() -> int: ...
    @staticmethod
    def sid_members(scope: int, number: int, members: Any, room: int, /) -> int: ...
    @staticmethod
    def sid_relations(relations: Any, room: int, /) -> int: ...
    @staticmethod
    def sid_group_lives(pidfd: int, /) -> int: ...
    @staticmethod
    def sid_relation(pid: int, relation: Any, /) -> int: ...
    @staticmethod
    def sid_open_member(scope: int, number: int, pid: int, /) -> int: ...
    @staticmethod
    def sid_signal_member(scope: int, number: int, pid: int, signal: int, /) -> int: ...
    @staticmethod
    def sid_signal_pidfd(pidfd: int, signal: int, /) -> int: ...
    @staticmethod
    def sid_point(at: Any, strings: bytes, size: int, count: int, /) -> int: ...
    @staticmethod
    def sid_spawn(
        plan: Any,
        executable: Any,
        argv: bytes,
        argv_size: int,
        argc: int,
        envp: Any,
        child: _Child,
        /,
    ) -> int: ...
    @staticmethod
    def sid_adopt(child: _Child, pid: int, /) -> int: ...
    @staticmethod
    def sid_check_files(plan: Any, /) -> int: ...
    @staticmethod
    def sid_apply(plan: Any, scratch: Any, parent_pid: int, report: _Report, /) -> int: ...
    @staticmethod
    def sid_fork_prepare(plan: Any, fork: Any, child: _Child, /) -> int: ...
    @staticmethod
    def sid_fork_child(plan: Any, scratch: Any, fork: Any, /) -> int: ...
    @staticmethod
    def sid_fork_parent(plan: Any, fork: Any, pid: int, child: _Child, /) -> int: ...
    @staticmethod
    def sid_fork_abandon(fork: Any, pid: int, /) -> int: ...
    @staticmethod
    def sid_force(way: int, hide_pidfd: int, /) -> int: ...
    @staticmethod
    def sid_way() -> int: ...
    @staticmethod
    def sid_wait(child: _Child, timeout: int, reap: int, /) -> int: ...
    @staticmethod
    def sid_reap(child: _Child, /) -> int: ...
    @staticmethod
    def sid_wait_change(child: _Child, timeout: int, /) -> int: ...
    @staticmethod
    def sid_signal_child(child: _Child, signal: int, /) -> int: ...
    @staticmethod
    def sid_signal_group(child: _Child, signal: int, /) -> int: ...
    @staticmethod
    def sid_ended(child: _Child, /) -> int: ...
    @staticmethod
    def sid_stay(child: _Child, more: int, /) -> int: ...
    @staticmethod
    def sid_is_ours(child: _Child, /) -> int: ...
    @staticmethod
    def sid_reaped_elsewhere(child: _Child, status: int, /) -> int: ...
    @staticmethod
    def sid_fileno(child: _Child, /) -> int: ...
    @staticmethod
    def sid_dup_pidfd(child: _Child, /) -> int: ...
    @staticmethod
    def sid_close(child: _Child, /) -> int: ...
    @staticmethod
    def sid_forget(child: _Child, /) -> int: ...

lib: _Lib
ffi: Any
