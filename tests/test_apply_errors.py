"""ChildSetup.apply when it is refused or a step fails: the process goes on, as it was or as far as it got."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scenarios import RAISES
from support import fresh
from test_apply import PRELUDE

REFUSED = {
    "a file that is not open": 'OSError, "stdin: file descriptor 77 is not open", "stdin=77"',
    "a directory that is not open": 'OSError, "cwd: file descriptor 77 is not open", "cwd=77"',
    "a passed file that is not open": 'OSError, "file descriptor 77 is not open", "pass_fds=[77]"',
    "a terminal that is none": 'OSError, "ctty: file descriptor 0 is not a terminal", "ctty=0, process_group=NEW_SESSION"',  # noqa: E501
    "a foreground of none": 'OSError, "foreground_tty: file descriptor 0 is not a terminal", "foreground_tty=0"',
    "a terminal for writing only": 'ValueError, "writing only", "ctty=write_only, process_group=NEW_SESSION"',
    "a terminal in no new session": 'ValueError, "ctty needs process_group=NEW_SESSION", "ctty=terminal"',
    "stealing": 'ValueError, "steal_ctty", "process_group=NEW_SESSION, ctty=terminal, steal_ctty=True"',
    "a user that does not exist": 'ValueError, "no-such-user", "user=\'no-such-user\'"',
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_serve_is_refused_before_anything_is_done(name: str, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + RAISES
        + f"""
manager, terminal = os.openpty()
write_only = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY)

def apply(kind, text, said):
    before = everything()
    setup = eval("ChildSetup(**{{'process_group': 0, **dict(" + said + ")}}, umask=0o137)", globals())
    apply = setup.apply  # in the parent of a fork server nothing fails
    with raises(kind, text):
        apply()
    return changed(before, everything())

said = {REFUSED[name]}
assert in_child(lambda: apply(*said)) == {{}}
"""
        if "no new session" not in name
        else PRELUDE
        + RAISES
        + """
terminal = os.openpty()[1]
before = everything()
with raises(ValueError, "ctty needs process_group=NEW_SESSION"):
    ChildSetup(ctty=terminal, umask=0o137).apply()
assert changed(before, everything()) == {}
""",
        tmp_path,
    )


THREAD_BOUND = ["nice=1", "cpu_affinity={0}", "no_new_privileges=True", "parent_death_signal=15"]


@pytest.mark.parametrize("said", THREAD_BOUND)
def test_what_belongs_to_a_thread_is_refused_in_another_than_the_main_one(said: str, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + RAISES
        + f"""
before = None

def apply():
    global before
    before = everything()  # of this thread
    with raises(ValueError, {said.partition("=")[0]!r} + " would hold for this thread alone"):
        ChildSetup(umask=0o137, {said}).apply()
    done.append(changed(before, everything()))
    ChildSetup(umask=0o137).apply()

done = []
thread = threading.Thread(target=apply)
thread.start()
thread.join()
assert done == [{{}}], done
assert status()["Umask"] == "0137"
""",
        tmp_path,
    )


FAILURES = {
    "a session's leader": ("Stage.PROCESS_GROUP", "setsid", "EPERM", "process_group=NEW_SESSION", "set()"),
    "a group of nobody": ("Stage.PROCESS_GROUP", "setpgid", "EPERM", "process_group=2**22 + 1", "set()"),
    "a target above the limit": ("Stage.FDS", "dup2", "EBADF", "pass_fds={2**20 + 1: 0}", "set()"),
    "an unknown resource": ("Stage.RLIMITS", "setrlimit", "EINVAL", "rlimits={1000: (0, 0)}, umask=0", "set()"),
    "no processor": ("Stage.CPU_AFFINITY", "sched_setaffinity", "EINVAL", "cpu_affinity={65535}, umask=0", "set()"),
    "no root": ("Stage.CHROOT", "chroot", "ENOENT", "chroot='/nowhere', umask=0", "{'Umask'}"),
    "no directory": ("Stage.CWD", "chdir", "ENOENT", "cwd='/nowhere', umask=0", "{'Umask'}"),
    "no control group": ("Stage.CGROUP", "open", "ENOENT", "cgroup='/nowhere', umask=0", "set()"),
    "no directory, after a swap": ("Stage.CWD", "chdir", "ENOENT", "cwd='/nowhere', stdin=setsid.DEVNULL", "set()"),
    "no session, with a directory's number": (
        *("Stage.PROCESS_GROUP", "setsid", "EPERM"),
        *("process_group=NEW_SESSION, cwd=directory, close_fds=True", "set()"),
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_step_that_fails_is_named_and_the_process_goes_on_as_it_was_by_then(name: str, tmp_path: Path) -> None:
    stage, call, number, said, names = FAILURES[name]
    fresh(
        PRELUDE
        + f"""
directory = os.open("/usr", os.O_RDONLY)
caught = []
signal.signal(signal.SIGTERM, lambda number, frame: caught.append(number))
signal.pthread_sigmask(signal.SIG_SETMASK, {{signal.SIGUSR1}})
before = everything()
setup = ChildSetup(**{{"signal_mask": {{signal.SIGUSR2}}, "ignore_signals": {{signal.SIGHUP}}, **dict({said})}})
for apply in (setup.apply, setup.apply):
    try:
        apply()
    except setsid.SystemCallError as error:
        assert (error.stage, error.call, error.errno) == ({stage}, {call!r}, errno.{number}), repr(error)
    else:
        raise AssertionError("nothing failed")
    assert set(changed(before, everything())) == {names}, changed(before, everything())
signal.raise_signal(signal.SIGTERM)
assert caught == [signal.SIGTERM]
""",
        tmp_path,
    )


def test_a_failure_gives_the_foreground_back_and_leaves_the_streams_alone(tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + RAISES
        + """
manager, terminal = os.openpty()
setsid.acquire_ctty(terminal)
ours = os.getpgrp()

def apply():
    before = everything()
    fields = {"process_group": 0, "foreground_tty": terminal, "cwd": "/nowhere"}
    with raises(FileNotFoundError, stage=Stage.CWD):
        ChildSetup(**fields).apply()
    assert set(changed(before, everything())) == {"pgid"}, changed(before, everything())
    assert os.tcgetpgrp(terminal) == ours
    # The terminal's number given to another file, so that it must be opened anew to be given back.
    keep = os.dup(terminal)
    before = everything()
    with raises(FileNotFoundError, stage=Stage.CWD):
        ChildSetup(**fields | {"process_group": setsid.INHERIT}, pass_fds={terminal: 0}).apply()
    after = everything()
    assert os.tcgetpgrp(keep) == ours
    assert {fd: file for fd, file in after["fds"].items() if fd != terminal} == {
        fd: file for fd, file in before["fds"].items() if fd != terminal
    }
    return "done"

assert in_child(apply) == "done"
""",
        tmp_path,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_a_failure_behind_another_root_is_told_of_though_nothing_can_be_imported_there(tmp_path: Path) -> None:
    fresh(
        """
apply = setsid.ChildSetup(chroot=sys.argv[1], cwd="/nowhere").apply
child = os.fork()
if child == 0:
    try:
        apply()
    except BaseException as error:
        told = type(error).__name__, getattr(error, "call", None), str(getattr(error, "stage", None))
        os.write(1, repr(told).encode())
        os._exit(told != ("FileNotFoundError", "chdir", "Stage.CWD"))
    os._exit(2)
assert os.waitpid(child, 0)[1] == 0
""",
        tmp_path,
    )


@pytest.mark.parametrize("parent", ["0", "-1", "2**31", "'1'"])
def test_a_parent_that_is_no_pid_is_refused(parent: str, tmp_path: Path) -> None:
    fresh(
        PRELUDE
        + f"""
before = everything()
try:
    ChildSetup(umask=0o137).apply(parent_pid={parent})
except (TypeError, ValueError, OverflowError) as error:
    assert "parent_pid" in str(error), error
else:
    raise AssertionError("it was taken")
assert changed(before, everything()) == {{}}
""",
        tmp_path,
    )


def test_a_leader_is_told_why_it_can_not_lead_a_new_session() -> None:
    fresh("""
pid = os.getpid()
hints = {}
for group in setsid.NEW_SESSION, 0:
    try:
        setsid.ChildSetup(process_group=group).apply()
    except PermissionError as error:
        hints[group] = error.hint
assert hints == {
    setsid.NEW_SESSION: f"process {pid} already leads session {pid}",
    0: f"process {pid} leads session {pid}, and a session leader can't change its process group",
}
""")
