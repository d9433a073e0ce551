"""multiprocessing.Pool: each worker in a session of its own, and dead when the main process dies.

Run: python pool.py [fork|forkserver]
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import os
import signal
import sys
import threading
from collections.abc import Callable

import setsid

# Leave close_fds and default_signals alone: a worker needs the pipes that it was born with, and Python needs SIGPIPE
# to be ignored, or a pipe that nobody reads kills.
SETUP = setsid.ChildSetup(process_group=setsid.NEW_SESSION, parent_death_signal=signal.SIGKILL)


def follow_main() -> None:
    """End with the main process. A busy worker keeps the fork server alive, so waiting for that to end won't do."""
    main = multiprocessing.parent_process()
    assert main is not None
    main.join()
    os.kill(os.getpid(), signal.SIGKILL)


def start_in_fork_server() -> None:
    SETUP.apply()  # no parent_pid: the parent is the fork server, not the main process
    threading.Thread(target=follow_main, daemon=True).start()


# The death signal comes when the *thread* that forked the worker ends. With "fork" that is the one that makes the pool,
# so make it in the main thread. Never with maxtasksperchild: a replacement is forked by a thread of the pool, dies with
# that, and may then hold the lock of a queue for which terminate() waits. And Python 3.12 warns of a fork with threads.
# "forkserver" has none of these troubles.
INITIALIZERS: dict[str, Callable[[], None]] = {"fork": SETUP.apply, "forkserver": start_in_fork_server}


def make_pool(method: str) -> multiprocessing.pool.Pool:
    return multiprocessing.get_context(method).Pool(2, initializer=INITIALIZERS[method])


def work(_: int) -> str:
    return f"pid {os.getpid()}, session {os.getsid(0)}"


if __name__ == "__main__":
    with make_pool(sys.argv[1] if len(sys.argv) > 1 else "forkserver") as pool:
        print(*sorted(set(pool.map(work, range(1000), chunksize=10))), sep="\n")
        pool.close()
        pool.join()
