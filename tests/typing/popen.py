"""What setsid's Popen, and the functions of setsid.subprocess, have more than the standard ones."""

from __future__ import annotations

import socket
import subprocess as standard
from typing import Any

from typing_extensions import assert_type

import setsid
from setsid import ChildSetup, EndReport, Session, aio, subprocess

PLAN = ChildSetup(process_group=setsid.NEW_SESSION)


def wants_text(process: standard.Popen[str]) -> str:
    """A function of somebody who knows the standard library alone."""
    return process.communicate()[0]


def wants_bytes(process: standard.Popen[bytes]) -> bytes:
    """Another one."""
    return process.communicate()[0]


def is_a_standard_one(flag: bool) -> None:
    """For functions that take one, and for results."""
    assert_type(wants_bytes(setsid.Popen("true")), bytes)
    assert_type(wants_text(setsid.Popen("true", text=True)), str)
    assert_type(wants_text(subprocess.Popen("true", encoding="utf-8", setup=PLAN)), str)
    wants_text(setsid.Popen("true", text=flag))
    done: standard.CompletedProcess[str] = subprocess.run("true", text=True)
    timeout: type[standard.TimeoutExpired] = subprocess.TimeoutExpired
    popen: type[standard.Popen[bytes]] = setsid.Popen[bytes]
    print(done, timeout, popen)


def is_in_both_places() -> None:
    """The top-level name, and the one in the module of which all is imported as usual."""
    assert_type(setsid.Popen("true"), subprocess.Popen[bytes])
    assert_type(setsid.subprocess.Popen("true", text=True), setsid.Popen[str])
    assert_type(subprocess.PIPE, int)
    assert_type(aio.run("true").close(), None)


def takes_a_setup(flag: bool, plan: ChildSetup | None) -> None:
    """With each overload."""
    assert_type(setsid.Popen("true", setup=PLAN), setsid.Popen[bytes])
    assert_type(setsid.Popen("true", setup=plan, text=True), setsid.Popen[str])
    assert_type(setsid.Popen("true", setup=PLAN, encoding="utf-8"), setsid.Popen[str])
    assert_type(setsid.Popen("true", setup=PLAN, errors="replace"), setsid.Popen[str])
    assert_type(setsid.Popen("true", setup=PLAN, universal_newlines=True), setsid.Popen[str])
    assert_type(setsid.Popen("true", setup=None, text=flag), setsid.Popen[Any])
    assert_type(subprocess.run("true", setup=PLAN, text=True), standard.CompletedProcess[str])
    assert_type(subprocess.run("true", setup=PLAN), standard.CompletedProcess[bytes])
    assert_type(subprocess.call("true", setup=PLAN), int)
    assert_type(subprocess.check_call("true", setup=PLAN), int)
    assert_type(subprocess.check_output("true", setup=PLAN), bytes)
    assert_type(subprocess.check_output("true", setup=PLAN, errors="replace"), str)


def ends(process: setsid.Popen[str]) -> None:
    """What it can do besides."""
    assert_type(process.session, Session | None)
    assert_type(process.signal_group(15), None)
    assert_type(process.end(), EndReport)
    assert_type(process.end(0.5, signal=9), EndReport)
    with process as entered:
        assert_type(entered, setsid.Popen[str])


def takes_whatever_has_a_file_descriptor(stream: socket.socket) -> None:
    """As the standard class does at run time, though not for a type checker; so too with check_call's `errors`."""
    assert_type(setsid.Popen("true", stdin=stream, stdout=stream), setsid.Popen[bytes])
    assert_type(subprocess.run("true", stderr=stream).stdout, bytes)
    assert_type(subprocess.check_call("true", errors="replace"), int)
