"""What a type checker knows of the public names. Checked by mypy in `make lint`, not run."""

from __future__ import annotations

import signal
from pathlib import Path

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

process = setsid.spawn(["true", Path("/"), b"x"], setup, env={"PATH": "/bin"}, cwd="/", umask=0)
assert_type(process, setsid.Process)
assert_type(process.returncode, int | None)
assert_type(process.wait(1.5), int)
assert_type(process.wait_change(), setsid.ProcessState)
assert_type(process.session, setsid.Session | None)
assert_type(process.end(), setsid.EndReport)
with setsid.spawn(["true"]) as entered:
    assert_type(entered, setsid.Process)

error = setsid.SystemCallError(1, "setsid", hint="because")
assert_type(error.stage, setsid.Stage | None)
assert_type(error.hint, str | None)
assert isinstance(error, OSError)

setsid.spawn(["true"], umask="022")  # type: ignore[arg-type]
setsid.spawn(["true"], no_such_field=1)  # type: ignore[call-arg]
setsid.ChildSetup(process_group="new")  # type: ignore[arg-type]
