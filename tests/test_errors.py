"""SystemCallError: a built-in class by its errno, whole in text, in pickles and in copies; and its tables against C."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import re
import traceback
from collections.abc import Callable

import pytest

import setsid
from setsid._enums import STAGES
from setsid._errors import CALLS
from setsid._native import lib
from support import TESTS, fresh

BUILTIN = {
    errno.EPERM: PermissionError,
    errno.EACCES: PermissionError,
    errno.ENOENT: FileNotFoundError,
    errno.ESRCH: ProcessLookupError,
    errno.ECHILD: ChildProcessError,
    errno.EAGAIN: BlockingIOError,
    errno.EINTR: InterruptedError,
    errno.ENOTDIR: NotADirectoryError,
    errno.ETIMEDOUT: TimeoutError,
}
PLAIN = [errno.EBADF, errno.ENOTTY, errno.E2BIG, errno.ELOOP]


def pickled(error: BaseException) -> BaseException:
    """The error as another process would get it."""
    copied: BaseException = pickle.loads(pickle.dumps(error))
    return copied


COPIES = [copy.copy, copy.deepcopy, pickled]


def whole() -> setsid.SystemCallError:
    return setsid.SystemCallError(
        errno.EACCES, "execve", stage=setsid.Stage.EXEC, hint="/bin/tool is not executable", filename="/bin/tool"
    )


def facts(error: BaseException) -> tuple[object, ...]:
    names = ("errno", "strerror", "filename", "filename2", "call", "stage", "hint", "args", "__dict__")
    return (type(error), str(error), *(getattr(error, name) for name in names))


def raised(error: BaseException) -> BaseException:
    """The error after a round through `raise`, with the traceback that it gets there."""
    try:
        raise error
    except BaseException as caught:
        return caught


# -- its class


@pytest.mark.parametrize("number", BUILTIN, ids=errno.errorcode.get)
def test_it_is_the_builtin_class_of_its_errno_too(number: int) -> None:
    error = setsid.SystemCallError(number, "setsid")
    assert isinstance(error, setsid.SystemCallError)
    assert isinstance(error, BUILTIN[number])
    assert error.errno == number


@pytest.mark.parametrize("number", PLAIN, ids=errno.errorcode.get)
def test_it_is_itself_where_the_errno_has_no_class(number: int) -> None:
    assert type(setsid.SystemCallError(number, "setsid")) is setsid.SystemCallError


def test_two_errors_of_one_errno_have_one_class() -> None:
    assert type(setsid.SystemCallError(errno.EPERM, "setsid")) is type(setsid.SystemCallError(errno.EACCES, "open"))


@pytest.mark.parametrize(
    ("number", "name"),
    [(errno.EPERM, "PermissionError"), (errno.ESRCH, "ProcessLookupError"), (errno.ENOTTY, "setsid.SystemCallError")],
)
def test_a_traceback_shows_the_name_of_its_class(number: int, name: str) -> None:
    error = raised(setsid.SystemCallError(number, "tcsetpgrp"))
    assert traceback.format_exception(error)[-1] == f"{name}: {error}\n"


def test_an_uncaught_one_shows_the_name_of_its_class() -> None:
    result = fresh("setsid.setsid()", check=False)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(f"PermissionError: [Errno 1] {os.strerror(1)} (setsid): process ")


# -- what it says


def test_attributes_not_given_are_none() -> None:
    error = setsid.SystemCallError(errno.EPERM, "setsid")
    assert (error.call, error.stage, error.hint, error.filename) == ("setsid", None, None, None)


@pytest.mark.parametrize("number", [*BUILTIN, *PLAIN], ids=errno.errorcode.get)
def test_strerror_is_what_os_says(number: int) -> None:
    assert setsid.SystemCallError(number, "setsid").strerror == os.strerror(number)


def test_its_text_holds_all_of_it() -> None:
    assert str(whole()) == (
        f"[Errno {errno.EACCES}] {os.strerror(errno.EACCES)}: '/bin/tool' (execve, stage exec): "
        "/bin/tool is not executable"
    )


def test_its_text_leaves_out_what_there_is_not() -> None:
    assert str(setsid.SystemCallError(errno.EPERM, "setsid")) == f"[Errno 1] {os.strerror(errno.EPERM)} (setsid)"


@pytest.mark.parametrize("filename", ["/bin/tool", b"/bin/\xff", 7])
def test_a_filename_is_kept_as_it_is(filename: str | bytes | int) -> None:
    error = setsid.SystemCallError(errno.EAGAIN, "open", filename=filename)
    assert error.filename == filename
    assert repr(filename) in str(error)


# -- copies


@pytest.mark.parametrize("again", COPIES)
@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOTTY], ids=errno.errorcode.get)
def test_a_copy_is_the_same_in_all_attributes(again: Callable[[BaseException], BaseException], number: int) -> None:
    error = setsid.SystemCallError(number, "dup2", stage=setsid.Stage.FDS, hint="why", filename=b"name")
    error.__dict__["__notes__"] = ["a note"]  # as add_note() of 3.11 does
    error.extra = {"of": "the user's"}  # type: ignore[attr-defined]
    assert facts(again(error)) == facts(error)


@pytest.mark.parametrize("again", COPIES)
def test_a_copy_of_a_caught_one_is_the_same(again: Callable[[BaseException], BaseException]) -> None:
    error = raised(whole())
    assert facts(again(error)) == facts(error)


def test_a_pickle_is_read_by_another_process() -> None:
    text = fresh(
        "import pickle\n"
        "error = pickle.loads(bytes.fromhex(sys.argv[1]))\n"
        "print(type(error).__mro__[2].__name__, error)",
        pickle.dumps(whole()).hex(),
    ).stdout
    assert text == f"PermissionError {whole()}\n"


# -- subclasses


class Mine(setsid.SystemCallError):
    """A program's own error."""

    def explain(self) -> str:
        return f"mine: {self.call}"


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTTY], ids=errno.errorcode.get)
def test_a_subclass_keeps_its_class_and_gets_the_builtin_one(number: int) -> None:
    error = Mine(number, "setsid", hint="why")
    assert isinstance(error, Mine)
    assert isinstance(error, BUILTIN.get(number, OSError))
    assert (error.explain(), error.errno, error.hint) == ("mine: setsid", number, "why")


@pytest.mark.parametrize("again", COPIES)
@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTTY], ids=errno.errorcode.get)
def test_a_copy_of_a_subclass_is_one_too(again: Callable[[BaseException], BaseException], number: int) -> None:
    error = Mine(number, "setsid")
    copied = again(error)
    assert isinstance(copied, Mine)
    assert facts(copied) == facts(error)


# -- the tables that stand in Python and in C


def enum_names(prefix: str) -> list[str]:
    """The names of a C enum behind their prefix, by value; they count from 0 without a gap."""
    names = sorted((name for name in dir(lib) if name.startswith(prefix)), key=lambda name: int(getattr(lib, name)))
    assert [getattr(lib, name) for name in names] == list(range(len(names)))
    return [name.removeprefix(prefix) for name in names]


def test_the_names_of_the_calls_are_those_of_the_c_enum() -> None:
    special = {"NONE": "", "PIPE": "pipe2"}
    special |= {name: f"ioctl({name})" for name in enum_names("SID_CALL_") if name.startswith("TIOC")}
    special |= {"NO_NEW_PRIVS": "prctl(PR_SET_NO_NEW_PRIVS)", "PDEATHSIG": "prctl(PR_SET_PDEATHSIG)"}
    assert list(CALLS) == [special.get(name, name.lower()) for name in enum_names("SID_CALL_")]


def test_the_stages_are_those_of_the_c_enum() -> None:
    assert [stage.name if stage else "NONE" for stage in STAGES] == enum_names("SID_STAGE_")


def test_the_stages_stand_in_the_order_in_which_the_child_runs_them() -> None:
    source = (TESTS.parent / "csrc" / "child" / "run.c").read_text()
    table = re.search(r"steps\[\] = \{\n(.*?)\n\};", source, re.DOTALL)
    assert table is not None
    rows = re.findall(r"\{SID_STAGE_(\w+), sidch_(\w+)\}", table[1])
    assert len(rows) == table[1].count("{")
    assert [(stage.name, stage.value) for stage in setsid.Stage] == rows
