"""What Popen refuses and how: the same exceptions from the standard class, ours, and ours with an empty plan."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE, STDOUT
from typing import Any

import pytest

import setsid
from support import nothing_left
from test_popen_parity import MAKERS, Maker, each_maker, needs_root, script

UNUSED = 999_999  # no such file descriptor


def refusal(make: Maker, *args: Any, **keywords: Any) -> BaseException:
    """The exception. Nothing is left of the attempt, pipes neither."""
    with nothing_left():
        try:
            process = make(*args, **keywords)
        except Exception as refused:
            error = refused.with_traceback(None)
        else:
            process.communicate()
            pytest.fail(f"not refused: {args} {keywords}")
    return error


def told(error: BaseException) -> tuple[Any, ...]:
    """What callers look at. Of an OSError its class among the built-in ones, since ours is a subclass."""
    if not isinstance(error, OSError):
        return type(error), str(error)
    builtin = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins" and not _is_ours(kind))
    return builtin, error.errno, error.strerror, error.filename, error.filename2


def _is_ours(kind: type) -> bool:
    return issubclass(kind, setsid.SystemCallError)


# -- a program or a directory that is not to be had: an OSError with errno and filename


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    script(tmp_path / "denied", "#!/bin/sh\n", 0o644)
    script(tmp_path / "no interpreter", "#!/no/such/interpreter\n")
    script(tmp_path / "no format", "\x01\x02")
    script(tmp_path / "empty", "")
    script(tmp_path / "good", "#!/bin/sh\n")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@each_maker
@pytest.mark.parametrize(
    ("program", "kind", "number"),
    [
        ("no such program", FileNotFoundError, "ENOENT"),
        ("/no/such/program", FileNotFoundError, "ENOENT"),
        ("./no such program", FileNotFoundError, "ENOENT"),
        (b"/no/such/program", FileNotFoundError, "ENOENT"),
        ("./denied", PermissionError, "EACCES"),
        ("./", PermissionError, "EACCES"),
        ("./no interpreter", FileNotFoundError, "ENOENT"),
        ("./no format", OSError, "ENOEXEC"),
        ("./empty", OSError, "ENOEXEC"),
        ("./good/program", NotADirectoryError, "ENOTDIR"),
        ("./loop", OSError, "ELOOP"),
        ("/" + "x" * 300, OSError, "ENAMETOOLONG"),
    ],
)
@pytest.mark.parametrize("how", ["args", "alone", "executable", "shell"])
def test_a_program_that_can_not_run_is_an_oserror_with_its_name(
    make: Maker, program: Any, kind: type, number: str, how: str, directory: Path
) -> None:
    args: Any = {"args": [program, "argument"], "alone": program}.get(how, "anything")
    keywords = {"executable": program, "shell": how == "shell"} if how in ("executable", "shell") else {}
    code = getattr(errno, number)
    error = refusal(make, args, cwd=directory, stdin=PIPE, stdout=PIPE, stderr=PIPE, **keywords)
    assert told(error) == (kind, code, os.strerror(code), program, None)
    assert str(error).startswith(f"[Errno {code}] {os.strerror(code)}: {program!r}")


@each_maker
def test_a_program_of_the_path_that_may_not_run_is_a_permissionerror(make: Maker, directory: Path) -> None:
    error = refusal(make, ["denied"], env={"PATH": f"{directory}:/nowhere"})
    assert told(error) == (PermissionError, 13, "Permission denied", "denied", None)


@each_maker
def test_a_path_like_program_is_named_in_the_error(make: Maker) -> None:
    error = refusal(make, [Path("/no/such")])  # a posix_spawn of the standard library makes it a str
    assert (type(error).__name__, os.fspath(error.filename)) == ("FileNotFoundError", "/no/such")  # type: ignore[attr-defined]


@each_maker
def test_a_program_that_can_not_run_is_the_same_with_all_files_left_open(make: Maker) -> None:
    error = refusal(make, ["/no/such"], close_fds=False)
    assert told(error) == (FileNotFoundError, 2, "No such file or directory", "/no/such", None)


@each_maker
def test_an_argument_list_too_long_is_an_oserror_with_the_programs_name(make: Maker) -> None:
    error = refusal(make, ["/bin/true", "x" * (1 << 20)])
    assert told(error) == (OSError, 7, "Argument list too long", "/bin/true", None)


@each_maker
@pytest.mark.parametrize("kind", [str, os.fsencode, Path])
@pytest.mark.parametrize(
    ("cwd", "expected"), [("no", (FileNotFoundError, 2)), ("good", (NotADirectoryError, 20)), ("loop", (OSError, 40))]
)
def test_a_cwd_that_can_not_be_entered_is_an_oserror_with_its_name(
    make: Maker, cwd: str, expected: tuple[Any, ...], kind: Any, directory: Path
) -> None:
    path = kind(directory / cwd)
    error = refusal(make, ["no such program either"], cwd=path)
    assert told(error) == (*expected, os.strerror(expected[1]), path, None)


@each_maker
def test_an_empty_cwd_is_one_that_is_not_there(make: Maker) -> None:
    assert told(refusal(make, ["true"], cwd="")) == (FileNotFoundError, 2, "No such file or directory", "", None)


@each_maker
@pytest.mark.parametrize("args", ["", [""]])
def test_an_empty_program_is_refused(make: Maker, args: Any) -> None:
    # The standard class tries the directories of PATH themselves; execve(2) says that an empty path is ENOENT.
    expected: tuple[Any, ...] = (PermissionError, 13, "Permission denied", "", None)
    if make is MAKERS["plan"]:
        expected = (FileNotFoundError, 2, "No such file or directory", "", None)
    assert told(refusal(make, args)) == expected


# -- arguments that make no sense


# Refused with the same class and the same message.
SAME: list[tuple[Any, dict[str, Any]]] = [
    ([], {}),
    (None, {}),
    (5, {}),
    ([1], {}),
    (["true", None], {}),
    (["true", 1.5], {}),
    (["true"], {"executable": 5}),
    (["tr\0ue"], {}),
    (["true"], {"executable": "a\0b"}),
    (["printf", "\ud800"], {}),
    (Path("true"), {"shell": True}),
    (["true"], {"bufsize": "x"}),
    (["true"], {"bufsize": 1.5}),
    (["true"], {"pipesize": "x"}),
    (["true"], {"text": True, "universal_newlines": False}),
    (["true"], {"text": False, "universal_newlines": True}),
    (["true"], {"startupinfo": 1}),
    (["true"], {"creationflags": 1}),
    (["true"], {"encoding": "no such", "stdout": PIPE}),
    (["true"], {"encoding": 5, "stdout": PIPE}),
    (["true"], {"stdin": "x"}),
    (["true"], {"stdin": 1.5}),
    (["true"], {"pass_fds": ["x"]}),
    (["true"], {"pass_fds": 5}),
    (["true"], {"pass_fds": None}),
    (["true"], {"pass_fds": [1j]}),
    (["/bin/true"], {"env": {"A=B": "1"}, "cwd": "/"}),
    (["/bin/true"], {"env": {b"=": b"1"}, "cwd": "/"}),
    (["/bin/true"], {"env": {"A": 1}, "cwd": "/"}),
    (["/bin/true"], {"env": {1: "A"}, "cwd": "/"}),
    (["/bin/true"], {"env": [("A", "B")], "cwd": "/"}),
    (["true"], {"env": {"PATH": "/bin", b"PATH": b"/bin"}}),
    (["true"], {"user": -1}),
    (["true"], {"user": 1.5}),
    (["true"], {"user": "no such user"}),
    (["true"], {"group": -1}),
    (["true"], {"group": 1.5}),
    (["true"], {"group": "no such group"}),
    (["true"], {"extra_groups": "no list"}),
    (["true"], {"extra_groups": 5}),
    (["true"], {"extra_groups": [-1]}),
    (["true"], {"extra_groups": [1.5]}),
    (["true"], {"extra_groups": ["no such group"]}),
    (["true"], {"no_such_argument": 1}),
    (["true"], {"args": ["true"]}),
]


@pytest.mark.parametrize("name", ["ours", "plan"])
@pytest.mark.parametrize(("args", "keywords"), SAME, ids=str)
def test_it_is_refused_in_the_same_words(name: str, args: Any, keywords: dict[str, Any]) -> None:
    expected = told(refusal(subprocess.Popen, args, **keywords))
    assert told(refusal(MAKERS[name], args, **keywords)) == expected


@each_maker
def test_a_file_without_a_descriptor_is_refused_in_the_same_words(make: Maker) -> None:
    with open(os.devnull) as closed:
        pass
    assert told(refusal(make, ["true"], stdin=closed)) == (ValueError, "I/O operation on closed file")
    error = refusal(make, ["true"], stdout=PIPE, stdin=io.StringIO())
    assert (type(error), str(error)) == (io.UnsupportedOperation, "fileno")


# Refused with the same class; a plan's words name the argument.
SAME_KIND: list[tuple[Any, dict[str, Any]]] = [
    (["true", "a\0b"], {}),
    (["true"], {"cwd": "a\0b"}),
    (["true"], {"cwd": 1.5}),
    (["/bin/true"], {"env": {"A": "a\0b"}}),
    (["/bin/true"], {"env": {"A\0": "ab"}}),
    (["true"], {"umask": "x"}),
    (["true"], {"umask": 1.5}),
    (["true"], {"umask": None}),
    (["true"], {"pass_fds": [-1]}),
    (["true"], {"pass_fds": [2**40]}),
    (["true"], {"user": 2**64}),
    (["true"], {"user": 2**32}),
    (["true"], {"group": 2**64}),
    (["true"], {"extra_groups": [2**64]}),
]
if sys.version_info >= (3, 11):
    SAME_KIND += [(["true"], {"process_group": "x"}), (["true"], {"process_group": 1.5})]


@pytest.mark.parametrize("name", ["ours", "plan"])
@pytest.mark.parametrize(("args", "keywords"), SAME_KIND, ids=str)
def test_it_is_refused_with_the_same_class(name: str, args: Any, keywords: dict[str, Any]) -> None:
    expected, actual = refusal(subprocess.Popen, args, **keywords), refusal(MAKERS[name], args, **keywords)
    assert type(actual) is type(expected)
    assert ("null byte" in str(actual)) == ("null byte" in str(expected))


@each_maker
@pytest.mark.parametrize(
    "keywords", [{"stdin": UNUSED}, {"stdout": UNUSED}, {"stderr": UNUSED}, {"pass_fds": [UNUSED]}], ids=str
)
def test_a_descriptor_that_is_not_open_is_an_oserror_without_a_filename(make: Maker, keywords: dict[str, Any]) -> None:
    error = refusal(make, ["true"], **{"stdin": PIPE, **keywords})
    assert told(error) == (OSError, 9, "Bad file descriptor", None, None)
    assert str(error).startswith("[Errno 9] Bad file descriptor")


# What the standard class takes for something else, and a plan refuses when it is made: (keywords, is it refused there).
STRICTER: list[tuple[dict[str, Any], bool]] = [
    ({"stdin": -5}, True),  # EBADF of the child
    ({"stdin": STDOUT}, True),  # the same, before Python 3.13
    ({"umask": -2}, False),  # ignored
    ({"umask": 0o7777}, False),  # as 0o777
]
if sys.version_info >= (3, 11):
    STRICTER += [
        ({"process_group": -2}, False),  # ignored
        ({"process_group": 0, "start_new_session": True}, True),  # EPERM of the child
    ]


@each_maker
@pytest.mark.parametrize(("keywords", "is_refused"), STRICTER, ids=str)
def test_what_makes_no_sense_is_a_valueerror_with_a_plan(
    make: Maker, keywords: dict[str, Any], is_refused: bool
) -> None:
    # A plan is checked in full before any child is made, and what would be ignored is more likely a mistake.
    if make is MAKERS["plan"]:
        assert isinstance(refusal(make, ["true"], **keywords), ValueError)
    elif is_refused:
        assert isinstance(refusal(make, ["true"], **keywords), (OSError, ValueError))
    else:
        assert make(["true"], **keywords).wait() == 0


@each_maker
def test_too_many_positional_arguments_are_refused(make: Maker) -> None:
    expected = told(refusal(subprocess.Popen, *[None] * 30))
    assert (expected[0], told(refusal(make, *[None] * 30))) == (TypeError, expected)


@each_maker
@pytest.mark.parametrize("args", [(), (["true"], -1)], ids=["none", "twice"])
def test_a_missing_argument_and_one_given_twice_are_refused(make: Maker, args: tuple[Any, ...]) -> None:
    keywords = {"bufsize": -1} if args else {}
    expected = told(refusal(subprocess.Popen, *args, **keywords))
    assert (expected[0], told(refusal(make, *args, **keywords))) == (TypeError, expected)


@each_maker
@needs_root
def test_a_program_that_another_user_may_not_reach_is_a_permissionerror(make: Maker, tmp_path: Path) -> None:
    program = str(script(tmp_path / "program", "#!/bin/sh\n"))
    tmp_path.chmod(0o700)
    error = refusal(make, [program], user=65534, group=65534, extra_groups=[])
    assert told(error) == (PermissionError, 13, "Permission denied", program, None)
