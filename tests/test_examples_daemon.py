"""daemon.py: what its commands tell is so, whatever was left over is taken over, and it leaves nothing behind."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("pyte", reason="pyte, by which the screens are read, is not installed")

from screens import SECONDS, await_end
from support import TESTS, example

EXAMPLES = TESTS.parent / "examples"
DAEMON = [sys.executable, "-X", "dev", "-W", "error", *example(EXAMPLES / "daemon.py")]
# Not that of the test's own manager.
ENVIRON = {name: value for name, value in os.environ.items() if name not in ("NOTIFY_SOCKET", "XDG_RUNTIME_DIR")}


class Service:
    """The example with files of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pidfile, self.socket, self.greeting = directory / "pid", directory / "socket", directory / "greeting"
        self.greeting.write_text("hello\n")

    def argv(self, command: str, **options: Path) -> list[str]:
        files = {"pidfile": self.pidfile, "socket": self.socket, "greeting": self.greeting, **options}
        return [*DAEMON, command, *(f"--{name}={file}" for name, file in files.items())]

    def __call__(self, command: str, **options: Path) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a command."""
        result = subprocess.run(
            self.argv(command, **options), env=ENVIRON, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        return result.returncode, result.stdout, result.stderr

    def start(self) -> int:
        """The pid of the daemon, which runs."""
        status, told, errors = self("start")
        assert (status, errors) == (0, "")
        return int(re.fullmatch(r"running as pid (\d+)\n", told)[1])  # type: ignore[index]

    @contextmanager
    def foreground(self, command: str, **environ: str) -> Iterator[subprocess.Popen[str]]:
        """A command that stays; it is killed at the end if it is there still."""
        pipe = subprocess.PIPE
        argv, env = self.argv(command), {**ENVIRON, **environ}
        with subprocess.Popen(argv, env=env, stdout=pipe, stderr=pipe, text=True) as process:
            try:
                yield process
            finally:
                process.kill()

    def left(self) -> list[int]:
        """All processes of it, by their arguments, which those that it forks have too."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._is_of(entry)]

    def _is_of(self, entry: Path) -> bool:
        try:
            return os.fsencode(self.directory) in (entry / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return False

    def ask(self, *said: bytes) -> bytes:
        """Say something to the daemon; all that it says."""
        with self.client() as client:
            for part in said:
                client.sendall(part)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as told:
                return told.read()

    @contextmanager
    def client(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(SECONDS)
            client.connect(str(self.socket))
            yield client

    def await_greeting(self, expected: bytes) -> None:
        said, deadline = b"", time.monotonic() + SECONDS
        while said != expected:
            assert time.monotonic() < deadline, said
            try:
                said = self.ask()
            except (FileNotFoundError, ConnectionRefusedError):  # it does not listen yet
                pass

    def kill(self, pid: int) -> None:
        pidfd = os.pidfd_open(pid)
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        await_end(pidfd)

    def files(self) -> list[str]:
        return sorted(os.listdir(self.directory))


@pytest.fixture
def service() -> Iterator[Service]:
    with tempfile.TemporaryDirectory() as directory:  # a short path: that of a socket has 107 bytes
        service = Service(Path(directory))
        try:
            yield service
        finally:
            left = service.left()
            for pid in left:
                os.kill(pid, signal.SIGKILL)
        assert left == []
        assert not {"pid", "socket"} & {*service.files()}


def test_it_starts_serves_reloads_and_stops(service: Service) -> None:
    assert service("status") == (3, "not running\n", "")
    pid = service.start()
    assert service("status") == (0, f"running as pid {pid}\n", "")
    assert service.left() == [pid]
    assert service.pidfile.read_text() == f"{pid}\n"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"

    much = os.urandom(1 << 16)
    assert service.ask(b"one\n", b"two", much) == b"hello\none\ntwo" + much
    service.greeting.write_text("good morning\n")
    assert service.ask() == b"hello\n"
    os.kill(pid, signal.SIGHUP)
    service.await_greeting(b"good morning\n")

    assert service("stop") == (0, f"process {pid} has ended\n", "")
    assert service.left() == []
    assert service.files() == ["greeting"]
    assert service("status") == (3, "not running\n", "")
    assert service("stop") == (0, "not running\n", "")


@pytest.mark.parametrize("command", ["start", "run"])
def test_a_second_one_is_refused(command: str, service: Service) -> None:
    pid = service.start()
    assert service(command) == (1, "", f"daemon.py: already running as pid {pid}\n")
    assert service.ask(b"still there") == b"hello\nstill there"
    service("stop")


def test_of_many_that_start_at_once_one_runs(service: Service) -> None:
    pipe, argv = subprocess.PIPE, service.argv("start")
    starting = [subprocess.Popen(argv, env=ENVIRON, stdout=pipe, stderr=pipe, text=True) for _ in range(5)]
    told = [(*process.communicate(timeout=SECONDS), process.returncode) for process in starting]
    (pid,) = service.left()
    refused = ("", f"daemon.py: already running as pid {pid}\n", 1)
    assert sorted(told) == [refused] * 4 + [(f"running as pid {pid}\n", "", 0)]
    assert service.ask() == b"hello\n"
    service("stop")


@pytest.mark.parametrize("command", ["start", "run"])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nowhere/socket", "[Errno 2] No such file or directory"),
        ("greeting", f"[Errno 98] {os.strerror(errno.EADDRINUSE)}"),
        ("x" * 108, "AF_UNIX path too long"),
    ],
)
def test_whoever_starts_it_is_told_that_it_can_not_listen(
    name: str, reason: str, command: str, service: Service
) -> None:
    path = service.directory / name
    assert service(command, socket=path) == (1, "", f"daemon.py: can't listen on {path}: {reason}\n")
    assert service.left() == []
    assert service.files() == ["greeting"]
    assert service.greeting.read_text() == "hello\n"  # no socket, so not for it to remove


@pytest.mark.parametrize("option", ["pidfile", "greeting"])
def test_whoever_starts_it_is_told_of_a_file_that_is_not_there(option: str, service: Service) -> None:
    path = service.directory / "nowhere" / "file"
    status, told, errors = service("start", **{option: path})
    assert (status, told) == (1, "")
    assert re.fullmatch(rf"daemon\.py: \[Errno 2\] No such file or directory: '{re.escape(str(path))}'.*\n", errors)
    assert service.files() == ["greeting"]


def test_what_a_killed_one_has_left_is_taken_over(service: Service) -> None:
    first = service.start()
    service.kill(first)
    assert service.files() == ["greeting", "pid", "socket"]
    assert service.pidfile.read_text() == f"{first}\n"
    assert service("status") == (3, "not running\n", "")

    second = service.start()
    assert service.pidfile.read_text() == f"{second}\n"
    assert service.ask(b"again") == b"hello\nagain"
    service("stop")


def test_a_number_that_is_another_programs_by_now_is_left_alone(service: Service) -> None:
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            service.pidfile.write_text(f"{stranger.pid}\n")
            assert service("status") == (3, "not running\n", "")
            assert service("stop") == (0, "not running\n", "")
            service.start()
            service("stop")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_clients_see_the_end(service: Service) -> None:
    service.start()
    with service.client() as client:
        assert client.recv(100) == b"hello\n"
        service("stop")
        assert client.recv(100) == b""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_is_the_process_that_was_started(number: signal.Signals, service: Service) -> None:
    with service.foreground("run") as process:
        service.await_greeting(b"hello\n")  # so its handlers are there
        assert service("status") == (0, f"running as pid {process.pid}\n", "")
        process.send_signal(number)
        assert process.communicate(timeout=SECONDS) == (f"running as pid {process.pid}\n", "")
        assert process.returncode == 0
    assert service.files() == ["greeting"]


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_a_service_manager_is_told_how_it_does(kind: str, service: Service) -> None:
    name = str(service.directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name if kind == "path" else f"\0{name}")
        manager.settimeout(SECONDS)
        address = name if kind == "path" else f"@{name}"

        def told() -> dict[str, str]:
            return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))

        with service.foreground("start", NOTIFY_SOCKET=address) as process:
            assert told() == {"READY": "1", "STATUS": f"running as pid {process.pid}"}
            assert service.left() == [process.pid]
            assert service.ask(b"x") == b"hello\nx"

            service.greeting.write_text("good morning\n")
            before = time.monotonic_ns() // 1000
            process.send_signal(signal.SIGHUP)
            reloading = told()
            assert before <= int(reloading.pop("MONOTONIC_USEC")) <= time.monotonic_ns() // 1000
            assert reloading == {"RELOADING": "1"}
            assert told() == {"READY": "1", "STATUS": "has read its greeting anew"}
            assert service.ask() == b"good morning\n"

            service.greeting.unlink()
            process.send_signal(signal.SIGHUP)
            assert told()["RELOADING"] == "1"
            kept = f"keeps its greeting: [Errno 2] No such file or directory: '{service.greeting}'"
            assert told() == {"READY": "1", "STATUS": kept}
            assert service.ask() == b"good morning\n"

            # Of `process`, which is not reaped yet, the end is seen all the same.
            assert service("stop") == (0, f"process {process.pid} has ended\n", "")
            assert told() == {"STOPPING": "1"}
            assert process.communicate(timeout=SECONDS) == (f"running as pid {process.pid}\n", "")
            assert process.returncode == 0


def test_its_unit_is_one(need: Callable[[str], str], tmp_path: Path) -> None:
    text = (EXAMPLES / "echo.service").read_text()
    unit = tmp_path / "echo.service"
    unit.write_text(text.replace("/opt/echo/bin/python", sys.executable))
    result = subprocess.run(
        [need("systemd-analyze"), "verify", "--recursive-errors=no", "--man=no", unit],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (result.returncode, "echo.service" in result.stderr) == (0, False), result.stderr
