"""What a type checker knows of the public names. Checked by mypy in `make lint`, not run."""

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

process = setsid.spawn(["true", Path("/"), b"x"], setup, env={"PATH": "/bin"}, cwd="/", umask=0)
assert_type(process, setsid.Process)
assert_type(process.returncode, int | None)
assert_type(process.wait(1.5), int)
assert_type(process.wait_change(), setsid.ProcessState)
assert_type(process.session, setsid.Session | None)
assert_type(process.end(), setsid.EndReport)
with setsid.spawn(["true"]) as entered:
    assert_type(entered, setsid.Process)
child = setsid.spawn(["true"], user="nobody", rlimits=limits, cgroup="/sys/fs/cgroup", parent_death_signal=9)
assert_type(child, setsid.Process)

assert_type(setsid.fork(), setsid.Process | None)
assert_type(setsid.fork(setup, nice=5, no_new_privileges=True), setsid.Process | None)
assert_type(setup.apply(), None)
assert_type(setup.apply(parent_pid=1), None)
ProcessPoolExecutor(initializer=setup.apply)

error = setsid.SystemCallError(1, "setsid", hint="because")
assert_type(error.stage, setsid.Stage | None)
assert_type(error.hint, str | None)
assert isinstance(error, OSError)

setsid.spawn(["true"], umask="022")  # type: ignore[arg-type]
setsid.spawn(["true"], no_such_field=1)  # type: ignore[call-arg]
setsid.ChildSetup(process_group="new")  # type: ignore[arg-type]
setsid.ChildSetup(rlimits={resource.RLIMIT_CORE: 0})  # type: ignore[dict-item]
setsid.ChildSetup(extra_groups=5)  # type: ignore[arg-type]
setsid.ChildSetup(cpu_affinity=["0"])  # type: ignore[list-item]
setsid.ChildSetup(chroot=3)  # type: ignore[arg-type]
setsid.ChildSetup(user=b"nobody")  # type: ignore[arg-type]
setsid.fork(["true"])  # type: ignore[arg-type]
setsid.fork(nice="5")  # type: ignore[arg-type]
setup.apply(1)  # type: ignore[call-arg]
setup.apply(parent_pid="1")  # type: ignore[arg-type]
setup.apply = None  # type: ignore[misc, assignment]
