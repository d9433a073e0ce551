"""A program that changes its user or group ids, which libc does in all threads at once, while others make children."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

import strace
from family import HELPER, run
from support import fresh


def test_a_helper_stands_in_nobodys_way_who_changes_the_processs_ids() -> None:
    """The C library has each thread change its own, by a signal, and waits for all of them."""
    fresh(
        HELPER
        + """
assert in_thread(succeed)
os.setresuid(*os.getresuid())
os.setresgid(*os.getresgid())
assert len(helpers()) == 1
assert in_thread(succeed)
"""
    )


def test_the_ids_can_be_changed_while_the_helper_is_being_made(need: Callable[..., str]) -> None:
    """pthread_create takes a lock that libc holds while it waits for every thread to take its signal."""
    strace.require(need)
    fresh(
        HELPER
        + """
from strace import *
tasks, changed = queue.Queue(), []

def changes():
    task = tasks.get()
    until(lambda: signal.SIGUSR1 in signal_set("SigBlk", f"self/task/{task}"))
    assert helpers() == []
    os.setresuid(*os.getresuid())
    changed.append(True)

def spawns():
    setsid.spawn(["true"]).wait()  # it has all the memory that it needs
    assert go.acquire()
    tasks.put(threading.get_native_id())
    results.put(succeed())

go, results = threading.Semaphore(0), queue.Queue()
threads = [threading.Thread(target=function) for function in (changes, spawns)]
for thread in threads:
    thread.start()
# Where pthread_create readies the new thread's stack.
call = "madvise" if glibc_version() >= "glibc 2.42" else "mprotect"
with tracing("-e", f"trace={call}", "-e", f"inject={call}:delay_enter=400000:when=1..3"):
    go.release()
    assert results.get()
for thread in threads:
    thread.join()
assert changed == [True]
""",
        way="clone",
    )


def test_the_ids_can_be_changed_in_the_middle_of_a_fork() -> None:
    """os.setresuid keeps the interpreter's lock while libc waits for every thread to take its signal."""
    fresh(
        HELPER
        + """
go, done = threading.Event(), threading.Event()

def changes():
    go.wait()
    os.setresuid(*os.getresuid())
    done.set()

def in_the_middle():
    go.set()
    done.wait()

changer = threading.Thread(target=changes)
changer.start()
os.register_at_fork(before=in_the_middle)
process = setsid.fork()
if process is None:
    os._exit(0)
assert process.wait() == 0
changer.join()
"""
    )


def test_the_ids_can_be_changed_in_the_middle_of_an_apply_that_changes_them_too() -> None:
    """The two calls of libc would wait for each other: one for a lock, the other for the first one's thread."""
    if os.geteuid() != 0:
        pytest.skip("setting groups needs root")
    run(
        HELPER
        + """
from hold import Hold

hold, done, main = Hold(), os.pipe(), os.getpid()
releaser = os.fork()
if releaser == 0:
    end_with_the_parent()
    def is_called_or_done():
        calls = int(status(f"{main}/task/{main}")["SigPnd"], 16) >> 32 & 1
        return calls or select.select([done[0]], [], [], 0)[0]
    try:
        assert hold.wait() == main
        until(is_called_or_done)
        hold.let_go()
        os._exit(0)
    finally:
        os._exit(1)
hold.close()

def changes():
    until(lambda: signal.SIGUSR1 in signal_set("SigBlk", f"self/task/{main}"))
    os.setresuid(*os.getresuid())
    os.write(done[1], b"x")

changer = threading.Thread(target=changes)
changer.start()
setsid.ChildSetup(umask=0o77, user=os.getuid(), group=os.getgid(), extra_groups=os.getgroups()).apply()
changer.join()
assert os.waitpid(releaser, 0) == (releaser, 0)
"""
    )
