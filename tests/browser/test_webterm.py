"""webterm.py in a Chromium: type, see the output, resize, close the tab, and no process is left."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import setsid
from support import TESTS

SECONDS = 30  # a deadline, which only a failure meets
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
WEBTERM = str(TESTS.parent / "examples" / "webterm.py")


class Shell(NamedTuple):
    """A shell in a tab."""

    page: Page
    url: str
    server: subprocess.Popen[str]
    asked_for: list[str]  # what the page has asked for

    def type(self, line: str) -> None:
        self.page.keyboard.type(line)
        self.page.keyboard.press("Enter")

    def expect(self, pattern: str) -> re.Match[str]:
        """Wait for what is on the screen."""
        rows = self.page.locator(".xterm-rows")
        lines = re.compile(pattern, re.MULTILINE)
        expect(rows).to_contain_text(lines, timeout=SECONDS * 1000, use_inner_text=True)
        found = lines.search(rows.inner_text())
        assert found
        return found


@pytest.fixture(scope="module")
def browser(need: Callable[..., str]) -> Iterator[Browser]:
    """The system's, with a new profile, which playwright removes."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def shell(browser: Browser, tmp_path: Path) -> Iterator[Shell]:
    prompt = r"\[\e]0;a shell\a\e[1;32m\]web\[\e[0m\]$ "
    environment = {**os.environ, "HOME": str(tmp_path), "PS1": prompt, "HISTFILE": ""}
    command = [sys.executable, "-W", "error", WEBTERM, "bash", "--norc", "-i"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment) as server:
        try:
            assert server.stdout
            found = re.fullmatch(r"webterm: open (\S+)\n", server.stdout.readline())
            assert found
            context = browser.new_context(viewport={"width": 900, "height": 520})
            page = context.new_page()
            asked_for: list[str] = []
            page.on("request", lambda request: asked_for.append(request.url))
            page.on("websocket", lambda socket: asked_for.append(socket.url))
            page.goto(found[1])
            shell = Shell(page, found[1], server, asked_for)
            shell.expect(r"web\$ ")
            yield shell
            context.close()
        finally:
            server.terminate()  # it ends the session that a failed test leaves


def look(page: Page, name: str) -> None:
    """Leave a picture where WEBTERM_PICTURES says, for who wants to see it."""
    if directory := os.environ.get("WEBTERM_PICTURES"):
        page.screenshot(path=f"{directory}/{name}.png")


def members(shell: Shell) -> list[int]:
    """Pidfds of all processes of the shell's session."""
    shell.type("echo sid $$.")
    sid = int(shell.expect(r"sid (\d+)\.")[1])
    return [os.pidfd_open(process.pid) for process in setsid.Session(sid).processes()]


def await_end_of_all(shell: Shell, pidfds: list[int]) -> None:
    for pidfd in pidfds:
        assert select.select([pidfd], [], [], SECONDS)[0], "a process is left"
        os.close(pidfd)
    assert shell.server.wait(SECONDS) == 0
    assert shell.server.stderr
    assert shell.server.stderr.read() == ""


def close_tab(shell: Shell) -> None:
    shell.page.close()


def leave_page(shell: Shell) -> None:
    shell.page.goto("about:blank")


@pytest.mark.parametrize("leave", [close_tab, leave_page])
def test_type_see_resize_and_close(shell: Shell, leave: Callable[[Shell], None]) -> None:
    page = shell.page
    expect(page.locator("#state")).to_have_text("connected")
    expect(page).to_have_title("a shell")
    shell.type("echo $((6 * 7)) 'ßäü €' 日本")
    shell.expect(r"42 ßäü € 日本")

    size = page.locator("#size")
    for width, height in (1200, 800), (500, 300), (900, 520):
        before = size.inner_text()
        page.set_viewport_size({"width": width, "height": height})
        expect(size).not_to_have_text(before)
        shell.type(f"clear; echo in {width}: $(stty size).")
        rows, columns = shell.expect(rf"^in {width}: (\d+) (\d+)\.").groups()
        expect(size).to_have_text(re.compile(f"^{columns} . {rows}$"))

    shell.type("clear; ls -l --color=always /; sleep 1001 &")
    shell.type("(trap '' HUP; exec sleep 1002) &")
    shell.type("sh -c 'echo begun; exec cat' | cat")
    shell.expect("^begun$")  # before that, Ctrl-Z would meet the shell, and lose what that has not read yet
    page.keyboard.press("Control+Z")
    shell.expect(r"\[3\]\+\s+Stopped\s+sh -c")
    pidfds = members(shell)
    look(page, f"shell-{leave.__name__}")
    assert len(pidfds) == 5
    leave(shell)
    await_end_of_all(shell, pidfds)
    origin = shell.url.partition("/#")[0]
    assert {url for url in shell.asked_for if not url.startswith((f"{origin}/", "data:", "about:"))} == {
        url for url in shell.asked_for if url.startswith(origin.replace("http", "ws") + "/terminal?token=")
    }
    assert f"{origin}/xterm.mjs" in shell.asked_for


def test_much_output_can_be_interrupted(shell: Shell) -> None:
    shell.type("yes 'much output'")
    shell.expect("^much output$")
    shell.page.keyboard.press("Control+C")
    shell.expect(r"\^C")
    shell.type("echo still $((1 + 1))")
    shell.expect("still 2")


def test_the_address_is_good_for_one_connection(shell: Shell) -> None:
    assert "#" not in shell.page.url
    other = shell.page.context.new_page()
    other.goto(shell.url)
    expect(other.locator("#state")).to_have_text("refused: an address is good for one connection")
    look(other, "refused")
    shell.type("echo still $((1 + 1))")
    shell.expect("still 2")


def test_another_sites_page_can_not_connect(shell: Shell, browser: Browser) -> None:
    # A page of no site: its origin is "null". Of the browser's own check nothing stops it from trying.
    page = browser.new_page()
    url = shell.url.replace("http", "ws").replace("/#", "/terminal?token=")
    source = "url => new Promise(done => { const s = new WebSocket(url); s.onopen = () => done('open');"
    assert page.evaluate(source + " s.onclose = () => done('refused') })", url) == "refused"
    page.close()


def test_the_programs_end_is_told(shell: Shell) -> None:
    pidfds = members(shell)
    shell.type("exit 3")
    expect(shell.page.locator("#state")).to_have_text("exit status 3")
    look(shell.page, "ended")
    await_end_of_all(shell, pidfds)
