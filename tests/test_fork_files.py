"""fork: which files the child has, and where it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import fresh
from test_fork import CHILD

FILES = """
from contextlib import contextmanager

os.chdir(sys.argv[1])
for number, name in {40: "a", 41: "b", 42: "c"}.items():
    fd = os.open(name, os.O_RDWR | os.O_CREAT)
    os.dup2(fd, number, inheritable=False)
    os.close(fd)

def named(fds):
    # The files below the test's directory, and /dev/null, by number, with close-on-exec.
    import fcntl
    start = sys.argv[1] + "/"
    return {fd: (name.removeprefix(start), bool(fcntl.fcntl(fd, fcntl.F_GETFD))) for fd, name in fds.items()}

look = lambda: named(open_fds())
ours = look()
"""
MOVES = {
    "none": ("", {}),
    "streams": (
        "stdin=40, stdout=41, stderr=setsid.STDOUT",
        {0: ("a", False), 1: ("b", False), 2: ("b", False)},
    ),
    "DEVNULL": (
        "stdin=setsid.DEVNULL, stdout=setsid.DEVNULL, stderr=42",
        {0: ("/dev/null", False), 1: ("/dev/null", False), 2: ("c", False)},
    ),
    "kept": ("pass_fds=[41]", {41: ("b", False)}),
    "a mapping": ("pass_fds={60: 40, 61: 40}", {60: ("a", False), 61: ("a", False)}),
    "a swap": ("pass_fds={40: 41, 41: 40}", {40: ("b", False), 41: ("a", False)}),
    "a cycle": ("pass_fds={40: 41, 41: 42, 42: 40}", {40: ("b", False), 41: ("c", False), 42: ("a", False)}),
    "a swap with a stream": ("stdin=40, pass_fds={40: 0}", {0: ("a", False), 40: ("/dev/null", False)}),
}


@pytest.mark.parametrize("closing", [False, True])
@pytest.mark.parametrize("moves", MOVES)
def test_the_child_has_the_files_that_were_said_and_none_of_the_set_ups_own(
    moves: str, closing: bool, tmp_path: Path
) -> None:
    changes, expected = MOVES[moves]
    fresh(
        CHILD
        + FILES
        + f"""
kept = {{fd: ours[fd] for fd in (0, 1, 2)}} if {closing} else ours
assert in_child(look, close_fds={closing}, {changes}) == kept | {expected}
assert look() == ours
""",
        tmp_path,
    )


def test_standard_streams_that_are_closed_get_what_was_said_and_nothing_else(tmp_path: Path) -> None:
    fresh(
        CHILD
        + FILES
        + """
streams = [os.dup2(fd, 100 + fd) for fd in (0, 1, 2)]
for fd in (0, 1, 2):
    os.close(fd)
ours = look()
found = {}
for name, changes in {
    "none": {},
    "cwd": {"cwd": "/"},
    "stdin": {"stdin": setsid.DEVNULL},
    "stderr": {"stderr": 40},
    "a swap": {"pass_fds": {1: 40, 40: 41, 41: 40}},
}.items():
    found[name] = in_child(look, **changes)
for fd in streams:
    os.dup2(fd, fd - 100)
assert found == {
    "none": ours,
    "cwd": ours,
    "stdin": ours | {0: ("/dev/null", False)},
    "stderr": ours | {2: ("a", False)},
    "a swap": ours | {1: ("a", False), 40: ("b", False), 41: ("a", False)},
}
""",
        tmp_path,
    )


def test_a_directory_is_gone_to_by_path_and_by_descriptor_which_is_kept_unless_others_are_closed(
    tmp_path: Path,
) -> None:
    fresh(
        CHILD
        + """
where = lambda: (os.getcwd(), sorted(open_fds()))
fd = os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)
file = os.open("/dev/null", os.O_RDONLY)
ours = sorted(open_fds())
streams = [0, 1, 2]
assert in_child(where, cwd="/usr") == ("/usr", ours)
assert in_child(where, cwd=fd) == ("/usr", ours)
assert in_child(where, cwd=fd, close_fds=True) == ("/usr", streams)
assert in_child(where, cwd=fd, pass_fds=[fd], close_fds=True) == ("/usr", [*streams, fd])
assert in_child(where, cwd=fd, pass_fds={fd: file}) == ("/usr", ours)
assert in_child(where, cwd=fd, pass_fds={fd: file, file: fd}, close_fds=True) == ("/usr", [*streams, fd, file])
os.dup2(fd, 0)
assert in_child(where, cwd=0, close_fds=True) == ("/usr", streams)
assert in_child(where, cwd=0, stdin=file) == ("/usr", ours)
assert os.getcwd() != "/usr"
""",
        tmp_path,
    )
