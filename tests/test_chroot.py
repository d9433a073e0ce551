"""chroot: the child's root, seen from outside; nothing beyond it can be reached; and how it fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import setsid
from support import fresh
from test_credentials import START, STARTS

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
started = pytest.mark.parametrize("start", STARTS)

# Without libraries, of which a new root has none. It says what each file holds and where it is, and waits for the end
# of its input.
PROBE = r"""
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char text[4096];

    for (int i = 1; i < argc; i++) {
        int fd = open(argv[i], O_RDONLY);
        ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        text[size < 0 ? 0 : size] = 0;
        if (size < 0)
            printf("%s: errno %d\n", argv[i], errno);
        else
            printf("%s: %s\n", argv[i], text);
    }
    printf("in %s\n", getcwd(text, sizeof text) ? text : "nowhere");
    fflush(stdout);
    while (read(0, text, sizeof text) > 0)
        ;
    return 0;
}
"""


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The static program."""
    directory = tmp_path_factory.mktemp("probe")
    source, program = directory / "probe.c", directory / "probe"
    source.write_text(PROBE)
    for compiler in filter(shutil.which, ("cc", "musl-gcc")):
        command = [compiler, "-static", "-O1", "-o", str(program), str(source)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return program
    pytest.skip("no compiler here makes a static program")


@pytest.fixture
def root(tmp_path: Path, probe: Path) -> Path:
    """A root with a program in it, and links that lead out of it for who is outside. Next to it, a secret."""
    root = tmp_path / "root"
    for directory in "bin", "sub/deep", "etc":
        (root / directory).mkdir(parents=True)
    shutil.copy(probe, root / "bin" / "probe")
    (root / "etc" / "passwd").write_text("inside")
    (root / "plain").write_text("")
    (root / "out").symlink_to("/".join([".."] * 40))
    (root / "to_secret").symlink_to("../secret")
    (root / "to_parent").symlink_to(tmp_path)
    (tmp_path / "secret").write_text("secret")
    tmp_path.chmod(0o755)
    return root


ROOT = """
root = sys.argv[2]
_sleeper = ["/bin/probe"]

def places(**changes):
    # The root and the working directory of a child, as the kernel has them.
    with nothing_left(), child(chroot=root, stdout=setsid.DEVNULL, **changes) as pid:
        return os.readlink(f"/proc/{pid}/root"), os.readlink(f"/proc/{pid}/cwd")
"""


def check(source: str, start: str, root: Path) -> None:
    fresh(START + ROOT + source, start, root)


@needs_root
@started
def test_the_child_has_another_root_and_is_in_it(start: str, root: Path) -> None:
    check(
        """
before = os.readlink("/proc/self/root"), os.getcwd()
assert places() == (root, root)
assert places(cwd="/") == (root, root)
assert places(cwd="/sub/deep") == places(cwd="sub/deep") == (root, root + "/sub/deep")
assert places(cwd="sub/../sub/deep/..") == (root, root + "/sub")

os.chdir(os.path.dirname(root))
outside, root = root, "root"  # a relative one counts from the caller's directory
assert places() == (outside, outside)
root = os.fsencode(outside)
assert places() == (outside, outside)
os.chdir(before[1])
assert (os.readlink("/proc/self/root"), os.getcwd()) == before
""",
        start,
        root,
    )


@needs_root
@started
def test_no_relative_directory_and_no_link_leads_out(start: str, root: Path) -> None:
    check(
        """
assert places(cwd="../../..") == places(cwd="/../..") == places(cwd="sub/../../../..") == (root, root)
assert places(cwd="out") == places(cwd="out/../..") == (root, root)
assert places(cwd="out/etc") == (root, root + "/etc")
os.chdir(os.path.join(root, "sub"))  # the parent being inside changes nothing
assert places(cwd="..") == places() == (root, root)
os.chdir("/usr/bin")
assert places(cwd=".") == places() == (root, root)
""",
        start,
        root,
    )


@needs_root
def test_the_program_finds_nothing_outside(way: str, root: Path) -> None:
    fresh(
        """
root = sys.argv[1]
parent = os.path.dirname(root)
os.chdir(root)
unreachable = ["../secret", "../../../secret", "/to_secret", "to_parent/secret", parent + "/secret", "out/usr/bin/env"]
inside = ["../../../etc/passwd", "/etc/passwd", "out/etc/passwd", "/out/../out/etc/passwd"]
for cwd, where in (None, "/"), ("../../..", "/"), ("sub/deep", "/sub/deep"), ("out", "/"):
    # Nor by a directory that the parent has open.
    os.set_inheritable(os.open(parent, os.O_RDONLY), True)
    files = [f"/proc/self/fd/{fd}/secret" for fd in range(3, 20)]
    lines = spawn_text(
        ["probe", *unreachable, *inside, *files],
        executable="/bin/probe", stdin=setsid.DEVNULL, chroot=root, cwd=cwd,
    ).splitlines()
    deep = where != "/"
    expected = [f"{name}: errno {errno.ENOENT}" for name in unreachable]
    for name in inside:
        expected.append(f"{name}: errno {errno.ENOENT}" if deep and name.startswith("out/") else f"{name}: inside")
    expected += [f"{name}: errno {errno.ENOENT}" for name in files]
    assert lines == [*expected, f"in {where}"], lines
""",
        root,
        way=way,
    )


@needs_root
def test_the_program_is_looked_for_in_the_new_root(way: str, root: Path) -> None:
    check(
        """
def runs(argv, **options):
    with nothing_left():
        process = setsid.spawn(argv, chroot=root, stdin=setsid.DEVNULL, stdout=setsid.DEVNULL, **options)
        assert process.wait() == 0
        process.close()

def lacks(argv, **options):
    with nothing_left():
        try:
            setsid.spawn(argv, chroot=root, **options)
        except FileNotFoundError as error:
            return told(error)
        raise AssertionError("it was there")

path = {"PATH": "/sbin:/bin"}
runs(["/bin/probe"])
runs(["probe"], env=path)
runs(["bin/probe"])
runs(["./probe"], cwd="bin")
runs(["../../bin/probe"], cwd="sub")
nothing = lambda name: ("exec", "execve", "ENOENT", name, f"it is looked for in the root {root}")
assert lacks(["sh"], env=path) == nothing("sh")  # which is outside
assert lacks(["/bin/sh"]) == nothing("/bin/sh")
assert lacks(["probe"], env={"PATH": root + "/bin"}) == nothing("probe")
assert lacks([root + "/bin/probe"]) == nothing(root + "/bin/probe")
assert lacks(["probe"], env={"PATH": "/usr/bin"}) == nothing("probe")
""",
        way,
        root,
    )


@needs_root
@started
def test_a_user_without_the_right_to_it_can_be_put_into_a_root(start: str, root: Path) -> None:
    check(
        """
with nothing_left(), child(chroot=root, user=65534, cwd="sub", stdout=setsid.DEVNULL) as pid:
    assert os.readlink(f"/proc/{pid}/root") == root
    assert os.readlink(f"/proc/{pid}/cwd") == root + "/sub"
    assert status(pid)["Uid"].split() == ["65534"] * 4
""",
        start,
        root,
    )


@needs_root
@started
def test_a_place_that_is_no_directory_is_named(start: str, root: Path) -> None:
    check(
        """
def fails(chroot, **changes):
    return told(failure(chroot=chroot, **changes))

missing, plain = root + "/missing", root + "/plain"
where = f"it is looked for in the root {root}"
assert fails(missing) == ("chroot", "chroot", "ENOENT", missing, None)
assert fails(plain) == ("chroot", "chroot", "ENOTDIR", plain, None)
assert fails("") == ("chroot", "chroot", "ENOENT", "", None)
assert fails(os.fsencode(missing)) == ("chroot", "chroot", "ENOENT", os.fsencode(missing), None)
# The child's directory is one of the new root, whatever there is outside under that name.
os.mkdir(root + "/../elsewhere")
outside = os.path.realpath(root + "/../elsewhere")
for cwd in outside, "/usr/bin", "to_parent", "sub/missing":
    assert fails(root, cwd=cwd) == ("cwd", "chdir", "ENOENT", cwd, where)
assert fails(root, cwd="plain") == ("cwd", "chdir", "ENOTDIR", "plain", where)
""",
        start,
        root,
    )


@needs_root
@started
def test_the_first_error_of_a_process_is_told_from_within_the_new_root(start: str, root: Path) -> None:
    """Nothing can be imported there any more."""
    check(
        """
where = f"it is looked for in the root {root}"
assert told(failure(chroot=root, cwd="missing")) == ("cwd", "chdir", "ENOENT", "missing", where)
""",
        start,
        root,
    )


@needs_root
@started
def test_nobody_may_not_change_its_root(start: str, root: Path) -> None:
    check(
        """
os.makedirs(root + "/closed/root")
os.chmod(root + "/closed", 0o700)
become_nobody()
assert told(failure(chroot="/usr")) == ("chroot", "chroot", "EPERM", "/usr", "the caller lacks CAP_SYS_CHROOT")
# What is refused here is the way to the directory.
closed = root + "/closed/root"
assert told(failure(chroot=closed)) == ("chroot", "chroot", "EACCES", closed, None)
assert os.readlink("/proc/self/root") == "/"
""",
        start,
        root,
    )


@pytest.mark.parametrize("chroot", ["/", b"/", Path("/")])
def test_a_directory_s_descriptor_does_not_go_with_a_root(chroot: str | bytes | Path) -> None:
    with pytest.raises(ValueError, match="cwd must be a path with chroot: a directory's file descriptor"):
        setsid.ChildSetup(chroot=chroot, cwd=0)
    with pytest.raises(ValueError, match="cwd must be a path with chroot"):
        setsid.ChildSetup(cwd=0).replace(chroot=chroot)


def test_a_root_is_a_path() -> None:
    with pytest.raises(TypeError, match="chroot must be a path, not int"):
        setsid.ChildSetup(chroot=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="chroot: embedded null byte"):
        setsid.ChildSetup(chroot="/\0")
