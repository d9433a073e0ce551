"""concurrent.futures.ProcessPoolExecutor: each worker in a session of its own, and dead when the main process dies.

Run: python executor.py [fork|forkserver]
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

import setsid

# Leave close_fds and default_signals alone: a worker needs the pipes that it was born with (without them the pool is
# broken at once), and Python needs SIGPIPE to be ignored, or a pipe that nobody reads kills.
SETUP = setsid.ChildSetup(process_group=setsid.NEW_SESSION, parent_death_signal=signal.SIGKILL)


def follow_main() -> None:
    """End with the main process. A worker keeps the fork server alive, so waiting for that to end won't do."""
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    os.kill(os.getpid(), signal.SIGKILL)


def start_in_fork_server() -> None:
    SETUP.apply()  # no parent_pid: the parent is the fork server, not the main process
    threading.Thread(target=follow_main, daemon=True).start()


# The death signal comes when the *thread* that forked the worker ends. With "fork" that is the one that submits, so
# submit from the main thread only: Python 3.12 forks all workers at the first task, older ones at any. It also warns
# of a fork where there are threads. With "forkserver" it does not matter who submits.
INITIALIZERS: dict[str, Callable[[], None]] = {"fork": SETUP.apply, "forkserver": start_in_fork_server}


def make_executor(method: str) -> ProcessPoolExecutor:
    context = multiprocessing.get_context(method)
    return ProcessPoolExecutor(2, mp_context=context, initializer=INITIALIZERS[method])


def work(_: int) -> str:
    return f"pid {os.getpid()}, session {os.getsid(0)}"


if __name__ == "__main__":
    with make_executor(sys.argv[1] if len(sys.argv) > 1 else "forkserver") as executor:
        print(*sorted(set(executor.map(work, range(1000), chunksize=10))), sep="\n")
