"""Fork bombs are ended, however they fork. They burn in a pid namespace, and where they can't have more than so many
processes: in a pids cgroup, or as a user with a limit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scenarios import hidden, under_init
from support import TESTS

# For a helper: bombs, and what is left of them.
BOMB = """
import resource
from pathlib import Path

program, cgroup, how = sys.argv[1:4]
NOBODY = 65534

def bomb(kinds, count=0, *, room):
    "It burns."
    reader, writer = os.pipe()
    changes = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    if cgroup:
        changes.clear()
        Path(cgroup, "pids.max").write_text(str(room))
    else:
        changes["rlimits"] = {resource.RLIMIT_NPROC: (room, room)}
    process = setsid.spawn([program, kinds, str(count), cgroup], stdout=writer, **changes)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.close(reader)
    return process

def end(process, grace):
    "The report; of a bomb of hoppers that nobody leads a Session can't always tell that it is the same."
    if how == "Process":
        report = process.end(grace)
    while how == "Session":
        try:
            report = setsid.Session(process.pid).end(grace)
        except ProcessLookupError:
            continue
        break
    process.wait()
    process.close()
    return report

def living():
    "Who of the bomb lives. Where it has no room for more, nobody gets away from the look."
    if cgroup:
        Path(cgroup, "pids.max").write_text("0")
        return {int(line) for line in Path(cgroup, "cgroup.procs").read_text().split()}
    return {pid for _ in range(20) for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if lives(pid)}

def lives(pid):
    try:
        facts = status(pid)
        return facts["State"][0] not in "ZX" and facts["Uid"].split()[0] == str(NOBODY if not cgroup else 0)
    except (FileNotFoundError, ProcessLookupError):
        return False

def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return status(pid)["State"][0] != "Z"

def check(report, process):
    assert living() == set()
    assert (report.survived, report.escaped) == ((), ())
    assert not any(map(is_there, report.ended))
"""


@pytest.fixture(scope="module")
def bomb() -> Iterator[Path]:
    """The program, where nobody may run it too."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    program = directory / "bomb"
    subprocess.run(["cc", str(TESTS / "native" / "bomb.c"), "-o", str(program)], check=True)
    yield program
    shutil.rmtree(directory)


def pids_controller() -> Path | None:
    """Where one may make cgroups that limit how many processes they hold."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup" and "pids" in options.split(","):
            return Path(place)
        subtree = Path(place, "cgroup.subtree_control")
        if kind == "cgroup2" and subtree.exists() and "pids" in subtree.read_text().split():
            return Path(place)
    return None


@pytest.fixture
def cgroup() -> Iterator[str]:
    """A cgroup with room for 400 processes; "" where there are none of that kind."""
    controller = pids_controller()
    if controller is None or os.geteuid() != 0:
        yield ""
        return
    path = controller / f"setsid-test-{os.getpid()}"
    path.mkdir()
    (path / "pids.max").write_text("400")
    yield str(path)
    deadline = time.monotonic() + 30
    while True:
        try:
            path.rmdir()
        except OSError:  # the last ones are still ending
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            break


hows = pytest.mark.parametrize("how", ["Process", "Session"])


@hidden
@hows
@pytest.mark.parametrize("kinds", ["", "gd", "de"])
def test_a_bomb_is_ended(
    need: Callable[..., str], bomb: Path, cgroup: str, how: str, kinds: str, hide_pidfd: bool
) -> None:
    under_init(
        need,
        BOMB
        + """
with nothing_left():
    kinds = sys.argv[4]
    process = bomb(kinds, room=400)
    before = {int(pid) for pid in Path(cgroup, "cgroup.procs").read_text().split()} if cgroup else set()
    report = end(process, 0.1)
    check(report, process)
    assert before - {process.pid} <= set(report.ended)
    assert "e" in kinds or process.pid in report.ended
    # One that gets no processor in all of the grace has both signals pending then, and the kernel takes the lower one.
    assert process.returncode in ([0] if "e" in kinds else [-9] if "d" in kinds else [-15, -9]), process.returncode
""",
        bomb,
        cgroup,
        how,
        kinds,
        hide_pidfd=hide_pidfd,
    )


@hows
@pytest.mark.parametrize("kinds", ["d", "gd"])
def test_a_bomb_of_a_thousand_is_ended(need: Callable[..., str], bomb: Path, cgroup: str, how: str, kinds: str) -> None:
    under_init(
        need,
        BOMB
        + """
process = bomb(sys.argv[4], room=1000)
report = end(process, 0)
check(report, process)
assert len(report.ended) >= 1000 - (not cgroup)
""",
        bomb,
        cgroup,
        how,
        kinds,
    )


@hidden
@hows
@pytest.mark.parametrize("kinds", ["h", "hd", "hgde"])
def test_hoppers_are_ended(
    need: Callable[..., str], bomb: Path, cgroup: str, how: str, kinds: str, hide_pidfd: bool
) -> None:
    under_init(
        need,
        BOMB
        + """
with nothing_left():
    kinds = sys.argv[4]
    process = bomb(kinds, 50, room=400)
    report = end(process, 0.05)
    check(report, process)
    assert len(report.ended) > 1
    assert "e" in kinds or process.pid in report.ended
""",
        bomb,
        cgroup,
        how,
        kinds,
        hide_pidfd=hide_pidfd,
    )


@hidden
@hows
@pytest.mark.parametrize("kinds", ["hde", "hgde"])
def test_one_hopper_does_not_pass_for_none(
    need: Callable[..., str], bomb: Path, cgroup: str, how: str, kinds: str, hide_pidfd: bool
) -> None:
    # A look meets it or does not: its pid is older than the list, or its child's is younger.
    under_init(
        need,
        BOMB
        + """
for grace in [0.02] * 20:
    process = bomb(sys.argv[4], 1, room=400)
    report = end(process, grace)
    check(report, process)
    assert report.ended
""",
        bomb,
        cgroup,
        how,
        kinds,
        hide_pidfd=hide_pidfd,
    )


@hows
@pytest.mark.parametrize("kinds", ["hde", "hgde"])
def test_no_look_misses_the_only_hopper(
    need: Callable[..., str], bomb: Path, cgroup: str, how: str, kinds: str
) -> None:
    # `end` takes it that nobody is left when a look finds nobody.
    under_init(
        need,
        BOMB
        + """
from setsid._processes import look
process = bomb(sys.argv[4], 1, room=400)
if how == "Session":  # else the leader stays a zombie
    process.wait()
missed = [number for number in range(5000) if not any(row.lives for row in look(lib.SID_SCOPE_SESSION, process.pid))]
assert missed == [], f"{len(missed)} of 5000"
process.kill()
process.wait()
process.close()
""",
        bomb,
        cgroup,
        how,
        kinds,
    )


@pytest.mark.parametrize("kinds", ["gd", "d"])
def test_a_bomb_that_a_users_limit_holds_is_ended(need: Callable[..., str], bomb: Path, kinds: str) -> None:
    under_init(
        need,
        BOMB
        + """
process = bomb(sys.argv[4], room=300)
report = end(process, 0.1)
check(report, process)
assert len(report.ended) > 100
""",
        bomb,
        "",
        "Process",
        kinds,
    )


def test_others_outlive_the_end_of_a_bomb(need: Callable[..., str], bomb: Path, cgroup: str) -> None:
    under_init(
        need,
        BOMB
        + """
reader, writer = os.pipe()
others = [setsid.spawn(["cat"], stdin=reader, stdout=setsid.DEVNULL, process_group=group)
          for group in (setsid.NEW_SESSION, 0, setsid.INHERIT)]
os.close(reader)
process = bomb("gd", room=400)
check(end(process, 0), process)
assert [other.poll() for other in others] == [None] * 3
os.close(writer)
assert [other.wait() for other in others] == [0] * 3
""",
        bomb,
        cgroup,
        "Session",
    )
