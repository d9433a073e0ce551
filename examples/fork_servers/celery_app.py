"""celery: each prefork worker in a session of its own.

Run, in this folder: celery --app celery_app worker --concurrency 2
and in another shell: python celery_app.py
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import celery  # type: ignore[import, unused-ignore]
from celery.signals import worker_process_init  # type: ignore[import, unused-ignore]

import setsid

# Messages are files here: those of the memory:// transport don't leave their process.
FOLDER = Path(os.environ.get("CELERY_FOLDER", Path(tempfile.gettempdir(), "celery_app")))
FOLDER.mkdir(exist_ok=True)
app = celery.Celery("celery_app", broker="filesystem://", backend=FOLDER.as_uri())
app.conf.broker_transport_options = {
    "data_folder_in": str(FOLDER),
    "data_folder_out": str(FOLDER),
    "control_folder": str(FOLDER),
}

# celery asks for a parent-death signal itself. What it lacks is the session: with it, a worker that is ended for its
# time limit takes along what its task has started, and Ctrl-C on the terminal reaches the main process alone.
# Leave default_signals and close_fds alone: a worker needs the handlers and pipes that it was born with.
SETUP = setsid.ChildSetup(process_group=setsid.NEW_SESSION)


@worker_process_init.connect  # type: ignore[untyped-decorator]
def start_worker(**_: Any) -> None:
    SETUP.apply()


@app.task(name="where")  # type: ignore[untyped-decorator]
def where() -> str:
    return f"pid {os.getpid()}, session {os.getsid(0)}"


if __name__ == "__main__":
    print(where.delay().get(timeout=10))
