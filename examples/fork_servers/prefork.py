"""A pre-forking TCP server: workers in sessions of their own, one that dies is replaced, SIGTERM ends all.

Run: python prefork.py [PORT]
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import setsid

STOP = {signal.SIGINT, signal.SIGTERM}
# fork() keeps the handlers that main() sets, and they would keep a worker from ending by these signals.
# The death signal is of the thread that forks: do it in the main one.
SETUP = setsid.ChildSetup(parent_death_signal=signal.SIGKILL, default_signals=STOP)


def work(listener: socket.socket) -> NoReturn:
    try:
        while True:
            connection, _ = listener.accept()
            with connection, suppress(ConnectionError):
                connection.sendall(f"pid {os.getpid()}, session {os.getsid(0)}\n".encode())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)  # never back into main(), which is the parent's


def serve(listener: socket.socket, wakeup: int, count: int) -> None:
    """Keep `count` workers running until something is written to the pipe that `wakeup` reads."""
    workers: dict[int, setsid.Process] = {}
    waiting = select.poll()
    waiting.register(wakeup, select.POLLIN)
    while True:
        while len(workers) < count:
            try:
                process = setsid.fork(SETUP)
            except ChildProcessError:  # somebody has killed it before its set-up was done
                continue
            if process is None:
                work(listener)
            workers[process.fileno()] = process
            waiting.register(process, select.POLLIN)
        for fd, _ in waiting.poll():
            if fd == wakeup:
                for process in workers.values():
                    process.terminate()  # all at once, so that the graces run side by side
                for process in workers.values():
                    process.end()  # with all that is in its session
                return
            waiting.unregister(fd)
            with workers.pop(fd) as ended:
                print(f"worker {ended.pid} ended: {ended.wait()}", flush=True)


def main(port: int) -> None:
    wakeup, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)  # a signal just before poll() would be missed without it
    for number in STOP:
        signal.signal(number, lambda *_: None)
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"port {listener.getsockname()[1]}", flush=True)
        serve(listener, wakeup, count=2)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
