"""gunicorn: each worker in a session of its own, and dead when the master dies.

Run, in this folder: gunicorn --config gunicorn_conf.py --workers 2 wsgi:app
"""

from __future__ import annotations

import signal
from typing import Any

import setsid

SETUP = setsid.ChildSetup(process_group=setsid.NEW_SESSION, parent_death_signal=signal.SIGKILL)
SIGNAL_AGAIN = setsid.ChildSetup(parent_death_signal=signal.SIGKILL)


# gunicorn's own way is that a worker looks for its parent now and then, which one that is busy never does.
def post_fork(server: Any, worker: Any) -> None:
    SETUP.apply(parent_pid=server.pid)


# After post_fork gunicorn changes to its `user`, and that clears the signal. Without a `user` this changes nothing.
def post_worker_init(worker: Any) -> None:
    SIGNAL_AGAIN.apply(parent_pid=worker.ppid)
