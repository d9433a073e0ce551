"""A shell with job control: pipelines, `&`, jobs, fg, bg, cd, exit, `<` `>` `>>`, quotes, Ctrl-C and Ctrl-Z.

Run `python minishell.py`, or give it a script on stdin: no job control then, and who reads /dev/tty waits for ever.
It puts the terminal right after each program (so `stty` has no lasting effect) and hangs up jobs left at the end.
"""

from __future__ import annotations

import os
import re
import readline  # noqa: F401 - with which `input` reads
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext

import setsid
from setsid.jobs import Command, Job, ProcessState
from setsid.tty import foreground_group

RUNNING, STOPPED, DONE = ProcessState.RUNNING, ProcessState.STOPPED, ProcessState.DONE
TTY = sys.stdin if sys.stdin.isatty() else None
# An operator, or a word in which quotes may hide what would be one.
TOKEN = re.compile(r"""\s*(>>|[<>|&]|(?:\\.|'[^']*'|"(?:\\.|[^"\\])*"|[^\s<>|&'"\\])+)""")
FILES = {"<": os.O_RDONLY, ">": os.O_WRONLY | os.O_CREAT | os.O_TRUNC, ">>": os.O_WRONLY | os.O_CREAT | os.O_APPEND}


class Line(Job):
    """A job, and what the user knows of it."""

    text, told = "", RUNNING


jobs: dict[int, Line] = {}  # that are not done, by their numbers; the last one is the current one
status = 0  # of the last command


def run(line: str) -> None:
    tokens, end = [], 0
    while found := TOKEN.match(line, end):
        tokens.append(found[1])
        end = found.end()
    if rest := line[end:].strip():
        raise ValueError(f"syntax error near {rest!r}")
    if not tokens or has_run_builtin(*shlex.split(" ".join(tokens))):
        return
    is_in_background = tokens[-1] == "&" and bool(tokens.pop())
    sys.stdout.flush()
    with ExitStack() as files:
        job = Line(commands(tokens, files), tty=TTY)
    job.text = " ".join(tokens)
    jobs[number := max(jobs, default=0) + 1] = job
    print(f"[{number}] {job.pgid}") if is_in_background else wait(number)


def commands(tokens: list[str], files: ExitStack) -> Iterator[Command]:
    """The programs of a pipeline, with their files open."""
    words: list[str] = []
    streams: setsid.SetupFields = {}
    for token in (rest := iter([*tokens, "|"])):
        is_file, word = token in FILES, next(rest) if token in FILES else token
        if word == "|" and words and not is_file:
            yield Command(words, setup=setsid.ChildSetup(**streams))
            words, streams = [], {}
        elif word in ("|", "&", *FILES):
            raise ValueError(f"syntax error near {word!r}")
        elif is_file:
            fd = os.open("".join(shlex.split(word)), FILES[token], 0o666)
            files.callback(os.close, fd)
            streams["stdin" if token == "<" else "stdout"] = fd
        else:
            words += shlex.split(word)


def wait(number: int) -> None:
    """Have a job in the foreground until it is done or stopped; without job control, until it is done."""
    global jobs, status
    jobs = {other: jobs[other] for other in sorted(jobs, key=number.__eq__)}  # the last; a Ctrl-C meanwhile loses none
    job = jobs[number]
    if TTY and job.foreground() is STOPPED:
        status = 128 + signal.SIGTSTP
        print()
        return
    status = job.wait()
    del jobs[number]
    if status < 0:
        print("" if status in (-signal.SIGINT, -signal.SIGPIPE) else signal.strsignal(-status))
        status = 128 - status


def tell_jobs(every: bool) -> None:
    """Tell of the jobs that have stopped or ended meanwhile, or of every one."""
    for number, job in sorted(jobs.items()):
        before, job.told = job.told, job.state
        code = (job.returncode or 0) if job.told is DONE else 0
        if every or job.told not in (before, RUNNING):
            state = job.told.name.capitalize() if not code else f"Exit {code}" if code > 0 else signal.strsignal(-code)
            print(f"[{number}]{'+' if number == [*jobs][-1] else ' '} {state:<12} {job.text}")
        if job.told is DONE:
            del jobs[number]


def has_run_builtin(command: str, argument: str = "", *_: str) -> bool:
    if command == "exit":
        raise SystemExit(int(argument or status))
    if command == "cd":
        os.chdir(os.path.expanduser(argument or "~"))
    elif command == "jobs":
        tell_jobs(every=True)
    elif command in ("fg", "bg"):
        name = argument.removeprefix("%") or str([0, *jobs][-1])
        if not TTY or not name.isdigit() or (number := int(name)) not in jobs:
            raise ValueError(f"{command}: no such job" if TTY else f"{command}: no job control")
        print(jobs[number].text if command == "fg" else f"[{number}] {jobs[number].text} &")
        jobs[number].told = RUNNING
        wait(number) if command == "fg" else jobs[number].background()
    return command in ("cd", "jobs", "fg", "bg")


def read_and_run() -> None:
    global status
    try:
        tell_jobs(every=False)
        run(input("$ " if TTY else ""))
    except EOFError:
        raise SystemExit(status) from None
    except KeyboardInterrupt:
        print() if TTY else sys.exit(130)
    except (OSError, ValueError) as error:
        print(f"minishell: {error}", file=sys.stderr)
        status = 127 if isinstance(error, FileNotFoundError) else 1


if TTY:
    tries = iter(range(100))  # who has started it in the background may give it the terminal; if orphaned, nobody will
    while setsid.tcgetpgrp(0) != os.getpgrp():
        os.kill(0, signal.SIGTTIN) if next(tries) < 99 else sys.exit("minishell: nobody gives it the terminal")
    for ignored in signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU:
        signal.signal(ignored, signal.SIG_IGN)
    if os.getpgrp() != os.getpid():
        setsid.setpgid(0, 0)
with foreground_group(0, os.getpgrp()) if TTY else nullcontext():
    try:
        while True:
            read_and_run()
    finally:
        for left in jobs.values():
            left.end(signal=signal.SIGHUP)
