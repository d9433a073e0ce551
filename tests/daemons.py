"""For helpers that start daemons: a keeper, to whom all that the daemons leave behind comes as children."""

from __future__ import annotations

from scenarios import RAISES

KEEPER = (
    RAISES
    + """
import atexit, ctypes, shutil, subprocess, tempfile
from setsid.daemon import PidFile

assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # PR_SET_CHILD_SUBREAPER
base = tempfile.mkdtemp()
here = os.getpid()

def tidy():
    if os.getpid() == here:
        for pid in children():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        shutil.rmtree(base)
atexit.register(tidy)

def living():
    # What is left, once the dead are buried.
    found = children()
    for pid in found:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
    return children()

BEGIN = "import os, signal, sys, time, setsid\\nfrom setsid.daemon import *\\n"

def begin(source, *args, options=("-X", "dev", "-W", "error"), **how):
    # A program that becomes a daemon.
    argv = [sys.executable, *options, "-c", BEGIN + source, *map(str, args)]
    return subprocess.Popen(argv, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **how})

def start(source, *args, **how):
    # The same, and what its user sees of it: exit status, stdout, stderr, and who is left.
    with begin(source, *args, **how) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err, living()

def started(source, *args, **how):
    # The pid of a daemon that is ready.
    code, out, err, left = start(source, *args, **how)
    assert (code, err, len(left)) == (0, "", 1), (code, out, err, left)
    return left[0]

def stop(pid, number=signal.SIGTERM):
    os.kill(pid, number)
    ended, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)

def all_end():
    # Sleeps until nobody is left.
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return

# Once the daemon has said settle(), it has done all that it does in ready().
os.mkfifo(base + "/settled")
BEGIN += f"def settle():\\n open({base + '/settled'!r}, 'w').close()\\n"

def settled():
    with open(base + "/settled") as fifo:
        fifo.read()

STAY = "d = daemonize()\\nd.ready()\\nsignal.pause()\\n"
"""
)
