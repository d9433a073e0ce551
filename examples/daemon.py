"""A daemon: it greets who connects to its Unix socket, and sends back whatever it gets.

    python daemon.py start      in the background; tells whether it works
    python daemon.py run        the same in the foreground
    python daemon.py status     exit status 0: it runs; 3: it doesn't
    python daemon.py stop

SIGHUP makes it read its greeting anew, SIGTERM ends it. Under a service manager it stays in the foreground, and tells
that one how it does: see echo.service.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import signal
import socket
import sys
from pathlib import Path

from setsid.daemon import Daemon, PidFile, daemonize

DIRECTORY = os.environ.get("XDG_RUNTIME_DIR") or "/run"
PATIENCE = 10  # seconds that it may take to end


async def serve(listener: socket.socket, greeting: bytes, options: argparse.Namespace, daemon: Daemon) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(greeting)
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the client has gone
        finally:
            writer.close()

    def reload() -> None:
        nonlocal greeting
        daemon.notify(RELOADING=1)
        outcome = "has read its greeting anew"
        try:
            greeting = options.greeting.read_bytes()
        except OSError as error:
            outcome = f"keeps its greeting: {error}"
        daemon.notify(READY=1, STATUS=outcome)

    loop, end = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in signal.SIGTERM, signal.SIGINT:
        loop.add_signal_handler(number, end.set)
    server = await asyncio.start_unix_server(answer, sock=listener)
    daemon.ready(f"running as pid {daemon.pid}")  # now a signal does what it should
    await end.wait()
    daemon.notify(STOPPING=1)
    server.close()


def start(options: argparse.Namespace) -> int | str:
    greeting = options.greeting.read_bytes()  # what can fail now need not fail in the daemon
    with daemonize(pidfile=options.pidfile, detach=None if options.command == "start" else False) as daemon:
        with socket.socket(socket.AF_UNIX) as listener:
            try:
                if options.socket.is_socket():
                    options.socket.unlink()  # left over: whose it was had the pidfile, which is ours
                listener.bind(str(options.socket))
            except OSError as error:
                daemon.fail(f"can't listen on {options.socket}: {error}")
            try:
                asyncio.run(serve(listener, greeting, options, daemon))
            finally:
                options.socket.unlink(missing_ok=True)  # as long as the pidfile is ours
    return 0


def status(options: argparse.Namespace) -> int | str:
    pid = PidFile(options.pidfile).owner()
    print(f"running as pid {pid}" if pid else "not running")
    return 0 if pid else 3


def stop(options: argparse.Namespace) -> int | str:
    file = PidFile(options.pidfile)
    if not (pid := file.owner()):
        print("not running")
        return 0
    try:
        pidfd = os.pidfd_open(pid)
        if file.owner() == pid:  # so pidfd is the daemon's, not that of one who has got its number
            signal.pidfd_send_signal(pidfd, signal.SIGTERM)
            if not select.select([pidfd], [], [], PATIENCE)[0]:
                return f"process {pid} has not ended within {PATIENCE} seconds"
    except ProcessLookupError:
        pass  # it has ended by itself
    print(f"process {pid} has ended")
    return 0


def path(text: str) -> Path:
    return Path(text).absolute()  # a daemon works in another directory


def main() -> int | str:
    commands = {"start": start, "run": start, "status": status, "stop": stop}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=commands)
    parser.add_argument("--pidfile", type=path, default=f"{DIRECTORY}/echo.pid")
    parser.add_argument("--socket", type=path, default=f"{DIRECTORY}/echo.socket")
    parser.add_argument("--greeting", type=path, default=os.devnull, help="a file")
    options = parser.parse_args()
    try:
        return commands[options.command](options)
    except OSError as error:
        return f"{parser.prog}: {error}"


if __name__ == "__main__":
    sys.exit(main())
