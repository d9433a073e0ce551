"""A terminal in the browser: a program on a Pty, shown by xterm.js, for the one who has the address.

Run: make webterm                       (installs aiohttp and xterm.js first)
or:  python webterm.py [--port N] [PROGRAM ...]

It listens on the loopback interface only, and ends with its one terminal: whoever connects can do all that you can.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from aiohttp import WSCloseCode, WSMsgType, web

from setsid.tty import Pty

HERE = Path(__file__).parent / "web"
FILES = {
    "/": "index.html",
    "/webterm.css": "webterm.css",
    "/webterm.js": "webterm.js",
    "/xterm.css": "node_modules/@xterm/xterm/css/xterm.css",
    "/xterm.mjs": "node_modules/@xterm/xterm/lib/xterm.mjs",
    "/addon-fit.mjs": "node_modules/@xterm/addon-fit/lib/addon-fit.mjs",
}
HEADERS = {
    # xterm.js makes style elements. Nothing comes from elsewhere, and nobody else's page may frame this one.
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
MOST_UNDRAWN = 1 << 18  # bytes of output on their way to the screen, before the program has to wait
MOST_UNREAD = 1 << 22  # bytes of typing that the program has not read


class Screen:
    """A program's terminal on one side, a browser's socket on the other."""

    def __init__(self, pty: Pty, socket: web.WebSocketResponse) -> None:
        self._pty, self._socket, self._loop = pty, socket, asyncio.get_running_loop()
        os.set_blocking(pty.manager, False)
        self._undrawn = 0
        self._is_drawn = asyncio.Event()
        self._typed = bytearray()
        self._is_typed = asyncio.Event()

    async def run(self) -> None:
        """Until the browser's tab is closed, or nobody has the terminal open any more."""
        tasks = [asyncio.create_task(part) for part in (self._show(), self._listen(), self._type())]
        try:
            done, _ = await asyncio.wait(tasks[:2], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            with suppress(ConnectionError):  # the tab was closed
                task.result()

    async def _show(self) -> None:
        """Output to the browser, no faster than that draws it."""
        while True:
            while self._undrawn > MOST_UNDRAWN:
                self._is_drawn.clear()
                await self._is_drawn.wait()
            await self._ready(self._loop.add_reader, self._loop.remove_reader)
            try:
                shown = os.read(self._pty.manager, 65536)
            except BlockingIOError:
                continue
            except OSError:  # EIO
                return
            self._undrawn += len(shown)
            await self._socket.send_bytes(shown)

    async def _listen(self) -> None:
        """What the browser says."""
        async for message in self._socket:
            if message.type is WSMsgType.BINARY:
                self._typed += message.data
                self._is_typed.set()
                if len(self._typed) > MOST_UNREAD:
                    await self._socket.close(code=WSCloseCode.MESSAGE_TOO_BIG, message=b"too much typed, none read")
            elif message.type is WSMsgType.TEXT:
                match json.loads(message.data):
                    case {"drawn": int(count)}:
                        self._undrawn -= count
                        self._is_drawn.set()
                    case {"rows": int(rows), "columns": int(columns)}:
                        self._pty.resize(rows, columns)

    async def _type(self) -> None:
        """Keys to the program, as it takes them. Not in `_listen`, which must go on to hear what is drawn: a program
        that can't write will not read either.
        """
        while True:
            await self._is_typed.wait()
            await self._ready(self._loop.add_writer, self._loop.remove_writer)
            try:
                del self._typed[: os.write(self._pty.manager, self._typed)]
            except BlockingIOError:
                continue
            except OSError:  # EIO: `_show` sees it too
                return
            if not self._typed:
                self._is_typed.clear()

    async def _ready(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        is_ready = asyncio.Event()
        add(self._pty.manager, is_ready.set)
        try:
            await is_ready.wait()
        finally:
            remove(self._pty.manager)


class Server:
    """Gives one terminal to the first who knows the token."""

    def __init__(self, argv: list[str]) -> None:
        self._argv = argv
        self._token = secrets.token_urlsafe(32)
        self._host = ""
        self._socket: web.WebSocketResponse | None = None
        self.is_over = asyncio.Event()

    def app(self) -> web.Application:
        """What aiohttp serves."""
        app = web.Application(middlewares=[self._guard])
        for path, name in FILES.items():
            app.router.add_get(path, partial(self._file, HERE / name))
        app.router.add_get("/terminal", self._terminal)
        app.on_shutdown.append(self._hang_up)
        return app

    def address(self, port: int) -> str:
        """What to open in the browser. What is after the # is sent to no server, and so is in no log."""
        self._host = f"127.0.0.1:{port}"
        return f"http://{self._host}/#{self._token}"

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Refuse other names: those of a stranger, whose DNS makes them lead here (rebinding)."""
        if request.headers.get("Host") != self._host:
            raise web.HTTPForbidden(text="there is no such host here\n")
        return await handler(request)

    async def _file(self, path: Path, _: web.Request) -> web.StreamResponse:
        return web.FileResponse(path, headers=HEADERS)

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        # Any page in any tab may open a socket to here, but the browser tells whose page it is.
        if request.headers.get("Origin") != f"http://{self._host}":
            raise web.HTTPForbidden(text="not for pages of other sites\n")
        given = request.query.get("token", "").encode(errors="replace")
        if self._socket or not secrets.compare_digest(given, self._token.encode()):
            raise web.HTTPForbidden(text="a wrong token, or one that was used already\n")
        self._socket = web.WebSocketResponse(heartbeat=30)
        try:
            await self._socket.prepare(request)
            reason = await self._run(self._socket)
            await self._socket.close(message=reason.encode()[:123])  # what fits in the frame
        finally:
            self.is_over.set()
        return self._socket

    async def _run(self, socket: web.WebSocketResponse) -> str:
        """Run the program for the browser; how it has ended. No process of its session is left."""
        pty = Pty()
        try:
            process = pty.spawn(self._argv, env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
        except OSError as error:
            return str(error)
        async with process:
            with pty:
                await Screen(pty, socket).run()
                # As if the line had hung up: an interactive shell heeds that, but not SIGTERM.
                report = await process.end_async(grace=2, signal=signal.SIGHUP)
        for pid in report.escaped:
            print(f"webterm: process {pid} goes on in a session of its own", file=sys.stderr)
        status = process.returncode or 0
        return f"exit status {status}" if status >= 0 else f"ended by {signal.Signals(-status).name}"

    async def _hang_up(self, _: web.Application) -> None:
        if self._socket:
            await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server was stopped")


async def serve(argv: list[str], port: int) -> None:
    """Serve one terminal, on the loopback interface."""
    server = Server(argv)
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        asyncio.get_running_loop().add_signal_handler(number, server.is_over.set)
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=10)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print(f"webterm: open {server.address(runner.addresses[0][1])}", flush=True)
        await server.is_over.wait()
    finally:
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="A terminal in the browser.")
    parser.add_argument("--port", type=int, default=0, help="default: one that is free")
    parser.add_argument("program", nargs=argparse.REMAINDER, help="with its arguments; default: $SHELL")
    options = parser.parse_args()
    if not all((HERE / name).exists() for name in FILES.values()):
        sys.exit("webterm: xterm.js is missing; `make webterm` installs it (or: npm install --prefix examples/web)")
    try:
        asyncio.run(serve(options.program or [os.environ.get("SHELL") or "/bin/sh"], options.port))
    except OSError as error:
        sys.exit(f"webterm: {error}")


if __name__ == "__main__":
    main()
