"""The calls, ChildSetup, and what is made with it. Checked, as all modules here, by test_typing.py; never run."""

from __future__ import annotations

import resource
import signal
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import MappingProxyType

from typing_extensions import assert_type

import setsid

assert_type(setsid.setsid(), int)
assert_type(setsid.getsid(), int)
assert_type(setsid.setpgid(0, 0), None)

with open("/dev/null") as file:
    assert_type(setsid.tcgetpgrp(file), int)
    setup = setsid.ChildSetup(stdin=file, stdout=setsid.DEVNULL, stderr=setsid.STDOUT, pass_fds={7: file, 8: 1})

assert_type(setup, setsid.ChildSetup)
assert_type(setup.replace(umask=0o22), setsid.ChildSetup)
assert_type(setsid.ChildSetup.on_terminal(3, cwd=Path("/")), setsid.ChildSetup)
assert_type(setsid.ChildSetup.supported, frozenset[str])
setsid.ChildSetup(process_group=setsid.NEW_SESSION, signal_mask=setsid.INHERIT)
setsid.ChildSetup(process_group=0, default_signals={signal.SIGPIPE}, ignore_signals=[signal.SIGHUP])

limits = {resource.RLIMIT_CORE: (0, resource.RLIM_INFINITY)}
setsid.ChildSetup(chroot="/", user="nobody", group=0, extra_groups=["daemon", 3], rlimits=limits, nice=-5)
setsid.ChildSetup(chroot=Path("/"), user=0, extra_groups=(), rlimits=MappingProxyType(limits), cpu_affinity=range(2))
setsid.ChildSetup(cgroup=Path("/sys/fs/cgroup"), parent_death_signal=signal.SIGKILL, no_new_privileges=True)
setsid.ChildSetup(cgroup=3, oom_score_adj=1000, cpu_affinity={0}, chroot=b"/")
assert_type(setup.user, str | int | None)
assert_type(setup.extra_groups, tuple[str | int, ...] | None)
assert_type(setup.cpu_affinity, frozenset[int] | None)
assert_type(setup.chroot, str | bytes | None)
assert_type(setup.replace(user=None, rlimits={}).no_new_privileges, bool | None)

assert_type(setsid.fork(), setsid.Process | None)
assert_type(setsid.fork(setup, nice=5, no_new_privileges=True), setsid.Process | None)
assert_type(setup.apply(), None)
assert_type(setup.apply(parent_pid=1), None)
ProcessPoolExecutor(initializer=setup.apply)

error = setsid.SystemCallError(1, "setsid", hint="because")
assert_type(error.stage, setsid.Stage | None)
assert_type(error.hint, str | None)
assert isinstance(error, OSError)
