"""webterm.py without a browser: whom it lets in, what goes to and fro, and that no process is left."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("aiohttp")

import aiohttp

import setsid
from screens import SECONDS, await_end
from support import TESTS

# Not its main(), which wants xterm.js installed.
SERVE = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
import webterm
asyncio.run(webterm.serve(sys.argv[2:], 0))
"""
EXAMPLES = TESTS.parent / "examples"
MOST_UNDRAWN = 1 << 18  # as it says


class Server(NamedTuple):
    """A webterm under way, and a client."""

    client: aiohttp.ClientSession
    origin: str
    token: str
    process: asyncio.subprocess.Process

    @asynccontextmanager
    async def tab(self, token: str | None = None, **headers: str) -> AsyncIterator[Tab]:
        """A socket, as the page opens it."""
        url = f"{self.origin}/terminal?token={token or self.token}"
        headers = {"Origin": self.origin, **headers}
        async with self.client.ws_connect(url, headers=headers, autoping=False, max_msg_size=0) as socket:
            yield Tab(socket)

    async def refusal(self, token: str | None = None, **headers: str) -> int:
        """The status of a connection that must be refused."""
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with self.tab(token, **headers):
                pass
        return caught.value.status

    async def end(self) -> None:
        """Wait until it has ended, as it should, without a word."""
        output, errors = await self.process.communicate()
        assert (self.process.returncode, output, errors.decode()) == (0, b"", "")


class Tab:
    """What the page's script does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.socket = socket
        self.shown = b""
        self.drawn = 0
        self._seen = 0

    async def type(self, keys: str | bytes) -> None:
        await self.socket.send_bytes(keys.encode() if isinstance(keys, str) else keys)

    async def tell(self, **message: int) -> None:
        await self.socket.send_str(json.dumps(message))

    async def receive(self, *, draw: bool = True) -> bool:
        """The next message; False if it is not of output."""
        message = await self.socket.receive()
        if message.type is not aiohttp.WSMsgType.BINARY:
            return False
        self.shown += message.data
        if draw:
            await self.draw()
        return True

    async def draw(self) -> None:
        """Tell that all of it is on the screen."""
        await self.tell(drawn=len(self.shown) - self.drawn)
        self.drawn = len(self.shown)

    async def expect(self, pattern: bytes) -> re.Match[bytes]:
        while not (found := re.compile(pattern).search(self.shown, self._seen)):
            assert await self.receive(), f"{pattern!r} is not in {self.shown[self._seen :]!r}"
        self._seen = found.end()
        return found


@asynccontextmanager
async def serving(*argv: str) -> AsyncIterator[Server]:
    command = [sys.executable, "-W", "error", "-c", SERVE, str(EXAMPLES), *argv]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        assert process.stdout
        line = (await process.stdout.readline()).decode()
        found = re.fullmatch(r"webterm: open (http://127\.0\.0\.1:\d+)/#(\S+)\n", line)
        assert found, line + (await process.communicate())[1].decode()
        async with aiohttp.ClientSession() as client:
            yield Server(client, found[1], found[2], process)
    finally:
        if process.returncode is None:
            process.terminate()  # it ends the session that a failed test leaves
        await process.communicate()


def run(scenario: Callable[[Server], Awaitable[None]], *argv: str) -> None:
    """Run a scenario with a server of its own, and see the server end well."""

    async def main() -> None:
        async with serving(*argv) as server:
            await scenario(server)
            await server.end()

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def pidfds_of_session(sid: int) -> list[int]:
    return [os.pidfd_open(process.pid) for process in setsid.Session(sid).processes()]


# -- who is let in


def test_only_the_token_opens_and_only_once() -> None:
    async def scenario(server: Server) -> None:
        for wrong in "wrong", server.token[:-1], server.token + "x", "%FF%00", "ä":
            assert await server.refusal(wrong) == 403
        async with server.client.ws_connect(f"{server.origin}/terminal", headers={"Origin": server.origin}) as _:
            pass

    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        run(scenario, "cat")

    async def right_after_wrong(server: Server) -> None:
        assert await server.refusal("wrong") == 403
        async with server.tab() as tab:
            assert await server.refusal() == 403
            await tab.type("still here\n")
            await tab.expect(rb"still here\r\nstill here\r\n")

    run(right_after_wrong, "cat")


def test_other_sites_are_refused_and_do_not_use_the_token_up() -> None:
    async def scenario(server: Server) -> None:
        port = server.origin.rpartition(":")[2]
        for origin in (
            *("http://example.com", f"http://localhost:{port}", f"https://127.0.0.1:{port}", "null", ""),
            *("http://127.0.0.1", "http://127.0.0.1:1", f"{server.origin}/", f"{server.origin}.example.com"),
        ):
            assert await server.refusal(Origin=origin) == 403
        url = f"{server.origin}/terminal?token={server.token}"
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            async with server.client.ws_connect(url):  # says no origin
                pass
        async with server.tab():
            pass

    run(scenario, "cat")


def test_other_names_are_refused() -> None:
    async def scenario(server: Server) -> None:
        port = server.origin.rpartition(":")[2]
        for host in "example.com", f"example.com:{port}", f"localhost:{port}", "127.0.0.1", f"127.0.0.1:{port}0":
            for path in "", "/webterm.js", "/terminal", "/nothing":
                async with server.client.get(f"{server.origin}{path}", headers={"Host": host}) as response:
                    assert response.status == 403
        assert await server.refusal(Host=f"example.com:{port}", Origin=f"http://example.com:{port}") == 403
        async with server.tab():
            pass

    run(scenario, "cat")


def test_the_page_needs_no_other_site_and_may_use_none() -> None:
    async def scenario(server: Server) -> None:
        for path, kind in ("", "text/html"), ("/webterm.js", "javascript"), ("/webterm.css", "text/css"):
            async with server.client.get(f"{server.origin}{path}") as response:
                assert (response.status, kind in response.content_type) == (200, True)
                assert response.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
                assert response.headers["Referrer-Policy"] == "no-referrer"
                text = await response.text()
                assert server.token not in text
                assert re.findall(r"https?://|[\"'(]//", text) == []
        async with server.tab():
            pass

    run(scenario, "cat")


def test_it_listens_on_the_loopback_interface_alone() -> None:
    async def scenario(server: Server) -> None:
        port = int(server.origin.rpartition(":")[2])
        tables = [Path(f"/proc/{server.process.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        rows = [line.split() for line in "".join(tables).splitlines()]
        local = [row[1] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"]  # TCP_LISTEN
        assert local == [f"0100007F:{port:04X}"]
        async with server.tab():
            pass

    run(scenario, "cat")


# -- to and fro


def test_keys_output_and_size_pass() -> None:
    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            await tab.expect(rb"> ")
            for rows, columns in (40, 100), (10, 33):
                await tab.tell(rows=rows, columns=columns)
                await tab.type("stty size; echo $TERM; tty\n")
                await tab.expect(rf"{rows} {columns}\r\nxterm-256color\r\n/dev/\S+\r\n> ".encode())

    run(scenario, "env", "PS1=> ", "ENV=", "sh")


def test_bytes_pass_as_they_are() -> None:
    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            await tab.expect(rb"ready")
            for part in b"\xe2", b"\x82\xac", bytes(range(256)), b"q":
                await tab.type(part)
            await tab.expect(re.escape("€".encode() + bytes(range(256))))
            assert not await tab.receive()  # it has ended

    run(scenario, "sh", "-c", "stty raw -echo; printf ready; exec head -c 260")


def test_a_program_waits_for_the_browser_to_draw() -> None:
    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            for number in range(200):  # nothing is drawn, so it stops, however often we look
                await tab.socket.ping(b"%d" % number)
                while await tab.receive(draw=False):
                    pass
            stopped = len(tab.shown)
            assert stopped <= MOST_UNDRAWN + 65536
            while len(tab.shown) < 4 * MOST_UNDRAWN:
                await tab.draw()
                await tab.receive(draw=False)
            await tab.draw()
            await tab.type("\x03")
            while await tab.receive():
                pass
            assert tab.socket.close_code == aiohttp.WSCloseCode.OK

    run(scenario, "yes")


def test_much_that_is_typed_is_no_deadlock() -> None:
    size = 600_000

    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            await tab.expect(rb"ready")
            for _ in range(6):
                await tab.type(b"x" * (size // 6))
            while len(tab.shown) < len("ready") + size:
                assert await tab.receive()
            assert tab.shown == b"ready" + b"x" * size

    run(scenario, "sh", "-c", "stty raw -echo; printf ready; exec cat")


def test_more_than_can_be_kept_ends_it() -> None:
    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            await tab.expect(rb"ready")
            for _ in range(9):
                await tab.type(b"x" * (1 << 19))
            assert not await tab.receive()
            assert tab.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG

    run(scenario, "sh", "-c", "stty raw -echo; printf ready; sleep 1000")


# -- the end

# A job in the background, one that is stopped, and one that heeds no SIGHUP, each in a group of its own.
BASH = "bash --norc -i"
JOBS = "sleep 1001 & sleep 1002 & kill -STOP $!; (trap '' HUP; exec sleep 1003) & cat | sed -u s/marker/answer/"


@pytest.mark.parametrize(
    ("how", "shell"),
    [("close", "sh -i"), ("close", BASH), ("drop", BASH), ("stop the server", BASH)],
)
def test_no_process_is_left_when_the_tab_is_closed(how: str, shell: str) -> None:
    pidfds: list[int] = []

    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            await tab.type("unset HISTFILE; echo sid $$.\n")
            sid = int((await tab.expect(rb"sid (\d+)\."))[1])
            await tab.type(JOBS + "\nmarker\n")
            await tab.expect(rb"answer\r\n")
            pidfds.extend(pidfds_of_session(sid))
            if how == "drop":
                assert tab.socket._response.connection is not None
                tab.socket._response.connection.transport.abort()  # type: ignore[union-attr]
            elif how == "stop the server":
                server.process.terminate()
                assert not await tab.receive()
                assert tab.socket.close_code == aiohttp.WSCloseCode.GOING_AWAY
        await server.end()

    run(scenario, *shell.split())
    assert len(pidfds) >= 6
    for pidfd in pidfds:
        await_end(pidfd)


@pytest.mark.parametrize(
    ("script", "reason"), [("exit 3", "exit status 3"), ("kill -TERM $$", "ended by SIGTERM"), (":", "exit status 0")]
)
def test_the_programs_end_ends_it_and_is_told(script: str, reason: str) -> None:
    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            while (message := await tab.socket.receive()).type is aiohttp.WSMsgType.BINARY:
                tab.shown += message.data
            assert (message.type, message.extra) == (aiohttp.WSMsgType.CLOSE, reason)
            assert tab.shown == b"last words\r\n"

    run(scenario, "sh", "-c", f"echo last words; {script}")


def test_a_program_that_is_missing_is_told() -> None:
    async def scenario(server: Server) -> None:
        async with server.tab() as tab:
            message = await tab.socket.receive()
            assert str(message.extra).startswith("[Errno 2] No such file or directory: '/nonexistent/program'")

    run(scenario, "/nonexistent/program")


def test_what_has_escaped_is_named() -> None:
    async def main() -> None:
        async with serving(sys.executable, "-c", ESCAPE) as server:
            async with server.tab() as tab:
                pid = int((await tab.expect(rb"escaped (\d+)\."))[1])
                pidfd = os.pidfd_open(pid)
            _, errors = await server.process.communicate()
            assert errors.decode() == f"webterm: process {pid} goes on in a session of its own\n"
            os.kill(pid, 9)
            await_end(pidfd)

    asyncio.run(asyncio.wait_for(main(), SECONDS))


ESCAPE = """
import setsid
child = setsid.spawn(["sleep", "1000"])
print(f"escaped {child.pid}.", flush=True)
child.wait()
"""
