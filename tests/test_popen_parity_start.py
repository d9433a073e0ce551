"""How Popen starts: preexec_fn, the auditing event, and a system that gives no child; the same for all makers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import fresh
from test_popen_parity import MAKER, MAKERS, each_name, needs_root

# -- preexec_fn


PREEXEC = """
import errno
def failing():
    raise {error}
try:
    make(["true"], preexec_fn=failing)
except {kind} as error:
    print(type(error).__mro__[-1].__name__, isinstance(error, subprocess.SubprocessError), error)
assert children() == []
"""


@pytest.mark.parametrize("name", ["standard", "ours"])
def test_a_preexec_fn_runs(name: str, tmp_path: Path) -> None:
    assert output_of(name, tmp_path) == f"{tmp_path}\n"


def output_of(name: str, path: Path) -> str:
    source = "make(['pwd'], preexec_fn=lambda: os.chdir(sys.argv[2])).wait()"
    return fresh(MAKER + source, name, path).stdout


@pytest.mark.parametrize("name", ["standard", "ours"])
def test_an_exception_of_a_preexec_fn_is_a_subprocesserror(name: str) -> None:
    source = PREEXEC.format(error="ZeroDivisionError('x')", kind="subprocess.SubprocessError")
    assert fresh(MAKER + source, name).stdout == "object True Exception occurred in preexec_fn.\n"


@pytest.mark.parametrize("name", ["standard", "ours"])
def test_an_oserror_of_a_preexec_fn_is_told_of_by_ours(name: str) -> None:
    # Still a SubprocessError, but ours says which error it was: the standard class hides it.
    source = PREEXEC.format(error="PermissionError(1, 'x')", kind="subprocess.SubprocessError")
    expected = {
        "standard": "Exception occurred in preexec_fn.",
        "ours": "[Errno 1] Operation not permitted (preexec_fn): preexec_fn raised PermissionError: [Errno 1] x",
    }
    assert fresh(MAKER + source, name).stdout == f"object True {expected[name]}\n"
    caught = PREEXEC.format(error="PermissionError(1, 'x')", kind="PermissionError")
    assert fresh(MAKER + caught, name, check=False).returncode == (0 if name == "ours" else 1)


def test_a_preexec_fn_and_a_plan_are_refused_together() -> None:
    with pytest.raises(ValueError, match=r"^preexec_fn and setup can't go together"):
        MAKERS["plan"](["true"], preexec_fn=int)


# -- the auditing event


AUDIT = """
from pathlib import Path
seen = []
refused = []
def hook(event, arguments):
    if event == "subprocess.Popen":
        seen.append(repr(arguments))
        if refused:
            raise PermissionError("refused")
sys.addaudithook(hook)
for args, keywords in (
    (["true", "a"], {}),
    ("true", {}),
    (b"true", {"env": {"PATH": "/bin:/usr/bin"}}),
    ("exit 0", {"shell": True, "cwd": "/"}),
    (["zero"], {"executable": "/bin/true", "cwd": Path("/")}),
    ([Path("true")], {"stdout": subprocess.PIPE}),
    (iter(["true"]), {"cwd": b"/", "env": {b"PATH": b"/bin:/usr/bin", "A": "B"}}),
    ("exit 0", {"shell": True, "executable": "/bin/sh", "start_new_session": True}),
):
    with make(args, **keywords) as process:
        pass
    assert process.returncode == 0
for args, kind in (["/no/such"], FileNotFoundError), (["tr\\0ue"], ValueError), (["true", 5], TypeError):
    try:
        make(args)
    except kind:
        continue
    raise AssertionError(args)
refused.append(True)
with nothing_left():
    try:
        make(["true"], stdin=subprocess.PIPE)
    except PermissionError as error:
        assert str(error) == "refused", error
print(json.dumps(seen))
"""


def test_the_auditing_event_is_the_same() -> None:
    events = {name: json.loads(fresh(MAKER + AUDIT, name).stdout) for name in MAKERS}
    assert len(events["standard"]) == 12
    assert events["standard"][0] == "('true', ['true', 'a'], None, None)"
    assert (events["ours"], events["plan"]) == (events["standard"], events["standard"])


# -- a system that gives no child


NO_CHILD = """
import resource
signal.alarm(60)
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
with nothing_left():
    try:
        make(["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except BlockingIOError as error:
        print(error.errno == errno.EAGAIN, error.filename)
"""


@each_name
@needs_root
def test_no_more_processes_is_a_blockingioerror(name: str) -> None:
    assert fresh(MAKER + NO_CHILD, name).stdout == "True None\n"


NO_FILES = """
import resource
held = []
limit = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, limit[1]))
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    make(["true"], stdin=subprocess.PIPE)
except OSError as error:
    number, filename = error.errno, error.filename
for fd in held:
    os.close(fd)
print(number == errno.EMFILE, filename, children())
"""


@each_name
def test_no_more_files_is_an_oserror(name: str) -> None:
    assert fresh(MAKER + NO_FILES, name).stdout == "True None []\n"
