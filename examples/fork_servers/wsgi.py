"""A tiny WSGI application for gunicorn_conf.py: it says who has served the request."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"pid {os.getpid()}, session {os.getsid(0)}\n".encode()]
