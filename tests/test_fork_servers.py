"""Fork servers, started for real: workers lead sessions of their own and don't outlive the process that they serve."""

from __future__ import annotations

import os
import pwd
import re
import textwrap
from pathlib import Path

import pytest

from support import TESTS, fresh

EXAMPLES = TESTS.parent / "examples" / "fork_servers"
METHODS = ["fork", "forkserver"]
POOLS = [(kind, method) for kind in ("pool", "executor") for method in METHODS]
pools = pytest.mark.parametrize(("kind", "method"), POOLS)

# What a worker does when it is busy: it says which process it is, and lives as long as it is listened to.
TASKS = """
import os, random, socket, wsgi

random.seed(b"")  # imports what gunicorn needs later, when the user may not read Python's library any more

def pid(_):
    return os.getpid()

def knock(*_):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.connect("\\0" + os.environ["DOOR"])
        door.send(b"%d" % os.getpid())
        while door.recv(1):
            door.send(b"!")

def app(environ, start_response):
    if environ["PATH_INFO"] == "/knock":
        knock()
    return wsgi.app(environ, start_response)
"""

# The main process of a pool: 1,000 tasks, then two that make both workers busy.
POOL = """
import importlib, signal, sys, tasks

if __name__ == "__main__":
    kind, method, changed = sys.argv[1:]
    example = importlib.import_module(kind)
    if changed == "plan alone":
        example.INITIALIZERS[method] = example.SETUP.apply
    elif changed == "no signal":
        example.INITIALIZERS[method] = example.SETUP.replace(parent_death_signal=None).apply
    pool = getattr(example, "make_" + kind)(method)
    results = list(pool.map(tasks.pid, range(1000), chunksize=10))
    print(len(results), *sorted(set(results)), flush=True)
    for _ in range(2):
        getattr(pool, "apply_async" if kind == "pool" else "submit")(tasks.knock)
    signal.pause()
"""

CELERY = """
import subprocess, sys, tasks
from celery_app import app

knock = app.task(tasks.knock, name="knock")

@app.task(time_limit=1)
def child_knocks():
    subprocess.run([sys.executable, "-c", "import tasks; tasks.knock()"])
"""

# Is the parent that orphans get (prctl(2)), so that no process is overlooked.
HARNESS = """
import ctypes, select, socket, warnings
from contextlib import closing

PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0

def too_late(*_):
    raise TimeoutError("the servers hang")

signal.signal(signal.SIGALRM, too_late)
signal.alarm(30)
EXAMPLES = sys.argv[1]
os.chdir(sys.argv[2])
os.environ |= {"PYTHONPATH": f"{EXAMPLES}:.", "DOOR": f"setsid-{os.getpid()}", "CELERY_FOLDER": f"{os.getcwd()}/queue"}
os.environ |= {"HOME": os.getcwd(), "XDG_RUNTIME_DIR": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
door.bind("\\0" + os.environ["DOOR"])
door.listen()

class Main:
    "The process that the workers serve."
    def __init__(self, *argv, ignore="nothing", **fields):
        reader, writer = os.pipe()
        argv = [sys.executable, "-W", "error", "-W", f"ignore:{ignore}", *argv]
        self.process = setsid.spawn(argv, stdout=writer, **fields)
        self.pid = self.process.pid
        os.close(writer)
        self.output = open(reader)

    def says(self):
        return self.output.readline().rstrip()

    def end(self, number):
        self.process.send_signal(number)
        with self.process:
            return self.process.wait(20)

class Worker:
    "Who has knocked."
    def __init__(self):
        self.connection = door.accept()[0]
        self.pid = int(self.connection.recv(32))
        self.pidfd = os.pidfd_open(self.pid)

    def leads_session(self):
        return os.getsid(self.pid) == self.pid

    def works_on(self):
        try:
            self.connection.send(b"?")
            return self.connection.recv(1) == b"!"
        except OSError:
            return False

    def has_ended(self):
        return bool(select.select([self.pidfd], [], [], 10)[0])

def survivors():
    "What is still there of all that was started, once it has had the time to end."
    left = []
    while pids := [pid for pid in children() if pid not in left]:
        for pid in pids:
            with closing(open(os.pidfd_open(pid), "rb")) as pidfd:
                if select.select([pidfd], [], [], 10)[0]:
                    os.waitpid(pid, 0)
                else:
                    left.append(pid)
    return left

def clean():
    while pids := children():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return {int(child) for child in file.read().split()}
"""


def play(folder: Path, body: str, *args: object) -> None:
    """Run a scenario. Whatever it starts is gone afterwards."""
    for name, text in ("tasks.py", TASKS), ("main.py", POOL), ("celery_tasks.py", CELERY):
        (folder / name).write_text(text)
    fresh(f"{HARNESS}\ntry:\n{textwrap.indent(body, '    ')}\nfinally:\n    clean()\n", EXAMPLES, folder, *args)


START_POOL = """
main = Main("main.py", *sys.argv[3:])
count, *pids = map(int, main.says().split())
workers = [Worker(), Worker()]
"""


def test_every_fork_server_is_listed_once() -> None:
    listed = re.findall(r"`fork_servers/(\S+\.py)", (EXAMPLES.parent / "README.md").read_text())
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))


@pools
def test_the_example_shows_workers_in_sessions_of_their_own(kind: str, method: str, tmp_path: Path) -> None:
    source = """
main = Main(f"{EXAMPLES}/{sys.argv[3]}.py", sys.argv[4])
lines = main.output.read().splitlines()
assert main.process.wait() == 0
assert lines
for line in lines:
    pid = line.split()[1].rstrip(",")
    assert line == f"pid {pid}, session {pid}"
assert survivors() == []
"""
    play(tmp_path, source, kind, method)


@pools
def test_a_pool_is_healthy_after_a_thousand_tasks(kind: str, method: str, tmp_path: Path) -> None:
    source = """
assert count == 1000
assert set(pids) <= {worker.pid for worker in workers}
assert [(worker.leads_session(), worker.works_on()) for worker in workers] == [(True, True)] * 2
"""
    play(tmp_path, START_POOL + source, kind, method, "as it is")


KILL = """
assert main.end(signal.SIGKILL) == -signal.SIGKILL
"""
ALL_ENDED = """
assert [worker.has_ended() for worker in workers] == [True, True]
assert survivors() == []
"""
ALL_WORK_ON = """
assert [worker.works_on() for worker in workers] == [True, True]
"""


@pools
def test_busy_workers_end_when_the_main_process_is_killed(kind: str, method: str, tmp_path: Path) -> None:
    play(tmp_path, START_POOL + KILL + ALL_ENDED, kind, method, "as it is")


@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_busy_workers_live_on_without_the_signal(kind: str, tmp_path: Path) -> None:
    play(tmp_path, START_POOL + KILL + ALL_WORK_ON, kind, "fork", "no signal")


@pytest.mark.parametrize("kind", ["pool", "executor"])
def test_the_signal_alone_tells_of_the_fork_server_not_of_main(kind: str, tmp_path: Path) -> None:
    source = """
servers = {session_of(worker.pid)["ppid"] for worker in workers}
assert len(servers) == 1
assert main.pid not in servers
"""
    end_server = "os.kill(servers.pop(), signal.SIGKILL)\n"
    play(tmp_path, START_POOL + source + KILL + ALL_WORK_ON + end_server + ALL_ENDED, kind, "forkserver", "plan alone")


START_GUNICORN = """
def start(hooks, *options):
    with open("conf.py", "w") as file:
        file.write(f"from gunicorn_conf import {hooks}\\n")
        file.write("def when_ready(server): print('ready', flush=True)\\n")
    main = Main(
        *("-m", "gunicorn", "--config", "conf.py", "--workers", "2", "--bind", "unix:socket", "--log-level", "error"),
        *("--preload", *options, "tasks:app"),  # imports before the user may not read the program any more
    )
    assert main.says() == "ready"
    return main

def ask(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect("socket")
    client.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
    return client

def answer(client):
    with client, client.makefile() as file:
        return file.read()

def busy_workers():
    clients.extend([ask("/knock"), ask("/knock")])
    return [Worker(), Worker()]

clients = []
BOTH = "post_fork, post_worker_init"
"""


def test_gunicorn_serves_from_workers_in_sessions_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    source = """
main = start(BOTH)
workers = busy_workers()
assert [worker.leads_session() for worker in workers] == [True, True]
for worker in workers:
    worker.connection.close()
for client in clients:
    assert answer(client).startswith("HTTP/1.0 200 OK")
pid = answer(ask("/")).rpartition(" ")[2].strip()
assert int(pid) in {worker.pid for worker in workers}
assert main.end(signal.SIGTERM) == 0
assert survivors() == []
"""
    play(tmp_path, START_GUNICORN + source)


def test_a_killed_gunicorn_master_leaves_busy_workers_only_without_the_hook(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    source = f"""
main = start("post_fork")
workers = busy_workers()
{KILL}{ALL_ENDED}
main = start("SETUP")
workers = busy_workers()
assert [worker.leads_session() for worker in workers] == [False, False]
{KILL}{ALL_WORK_ON}
"""
    play(tmp_path, START_GUNICORN + source)


def test_after_a_change_of_user_the_signal_must_be_said_again(tmp_path: Path) -> None:
    pytest.importorskip("gunicorn")
    if os.geteuid() != 0:
        pytest.skip("changing the user needs root")
    source = f"""
options = "--user", "nobody", "--group", sys.argv[3]
main = start(BOTH, *options)
workers = busy_workers()
assert {{status(worker.pid)["Uid"] for worker in workers}} == {{"\\t".join([sys.argv[4]] * 4)}}
assert [worker.leads_session() for worker in workers] == [True, True]
{KILL}{ALL_ENDED}
main = start("post_fork", *options)
workers = busy_workers()
assert [worker.leads_session() for worker in workers] == [True, True]
{KILL}{ALL_WORK_ON}
"""
    nobody = pwd.getpwnam("nobody")
    play(tmp_path, START_GUNICORN + source, nobody.pw_gid, nobody.pw_uid)


START_CELERY = """
sys.path[:0] = [EXAMPLES, "."]
warnings.simplefilter("ignore")  # celery's, in this process, which only sends
import celery_app, celery_tasks

main = Main(
    *("-m", "celery", "--quiet", "--app", "celery_tasks", "worker", "--concurrency", "2", "--loglevel", "ERROR"),
    ignore="You're running the worker with superuser privileges",
)
"""


def test_celery_runs_tasks_in_workers_that_lead_sessions(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    source = """
pid = celery_app.where.delay().get(timeout=20).split()[1].rstrip(",")
celery_tasks.knock.delay(), celery_tasks.knock.delay()
workers = [Worker(), Worker()]
assert int(pid) in {worker.pid for worker in workers}
assert [worker.leads_session() for worker in workers] == [True, True]
for worker in workers:
    worker.connection.close()
assert main.end(signal.SIGTERM) == 0
assert survivors() == []
"""
    play(tmp_path, START_CELERY + source)


def test_a_killed_celery_leaves_no_worker(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    source = """
celery_tasks.knock.delay(), celery_tasks.knock.delay()
workers = [Worker(), Worker()]
"""
    play(tmp_path, START_CELERY + source + KILL + ALL_ENDED)


def test_a_celery_task_that_is_ended_for_its_time_takes_its_processes_along(tmp_path: Path) -> None:
    pytest.importorskip("celery")
    source = """
celery_tasks.child_knocks.delay()
child = Worker()
leader = os.getsid(child.pid)
assert leader not in (child.pid, main.pid)
assert session_of(child.pid)["ppid"] == leader
assert child.has_ended()
"""
    play(tmp_path, START_CELERY + source)


START_PREFORK = """
main = Main(f"{EXAMPLES}/prefork.py", "0")
port = int(main.says().removeprefix("port "))

def ask():
    "The worker that answers, and its session."
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile() as file:
        pid, sid = file.read().removeprefix("pid ").split(", session ")
    return int(pid), int(sid)

def two_workers():
    deadline = time.monotonic() + 10
    while len(pids := children_of(main.pid)) < 2:
        assert time.monotonic() < deadline
    return pids

pid, sid = ask()
pids = two_workers()
"""


def test_a_preforking_server_answers_from_sessions_of_their_own(tmp_path: Path) -> None:
    source = """
assert pid == sid
assert pid in pids
assert ask()[0] in pids
assert main.end(signal.SIGTERM) == 0
assert children() == []  # it has waited for them: not even an orphan
"""
    play(tmp_path, START_PREFORK + source)


def test_a_preforking_server_replaces_workers_that_die(tmp_path: Path) -> None:
    source = """
os.kill(pid, signal.SIGKILL)
assert main.says() == f"worker {pid} ended: -9"
gone = {pid, *two_workers()}
pidfds = [os.pidfd_open(pid) for pid in gone - {pid}]
for pidfd in pidfds:
    signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    assert select.select([pidfd], [], [], 10)[0]
pid, sid = ask()
assert pid == sid
assert pid not in gone
"""
    play(tmp_path, START_PREFORK + source)


def test_a_killed_preforking_server_leaves_no_worker(tmp_path: Path) -> None:
    source = f"""
assert len(pids) == 2
{KILL}
assert survivors() == []
"""
    play(tmp_path, START_PREFORK + source)
