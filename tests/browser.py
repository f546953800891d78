"""What browser tests share: Chromium under Playwright, servers that are always ended, axe.

Tests take the fixture ``browser`` (a Playwright ``Browser``, one a module), which skips where no Chromium is found::

    def test_the_page_opens(browser):
        page = browser.new_page()

Playwright keeps an event loop in the thread while its browser is open, so the fixture lives no longer than a module.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 240  # seconds: machines that test are busy
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
AXE = {"runOnly": {"type": "tag", "values": WCAG}, "resultTypes": ["violations"], "preload": False}


def find_chromium() -> str | None:
    """The program HEARTAI_CHROMIUM names, or a Chromium on the PATH, or the one that Playwright has installed."""
    named = os.environ.get("HEARTAI_CHROMIUM")
    if named:
        return shutil.which(named)
    on_path = next(filter(None, map(shutil.which, NAMES)), None)
    if on_path:
        return on_path
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return shutil.which(playwright.chromium.executable_path)


@contextmanager
def chromium() -> Iterator:
    """A Playwright ``Browser``, closed at the end; skips the test where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install -e '.[test]'")
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium: install one, or set HEARTAI_CHROMIUM to the program")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        try:
            yield browser
        finally:
            browser.close()


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return asked.getsockname()[1]


@contextmanager
def serving(command: Sequence[str | Path], ready: str, **options) -> Iterator[re.Match]:
    """Run a server until the end of the ``with`` block.

    Args:
        command: the program and its arguments.
        ready: a pattern; the first line of its output that holds it says that the server is ready.
        options: of `subprocess.Popen`.

    Yields:
        What the pattern matched, such as the address.

    Raises:
        AssertionError: the server ended before it was ready; with what it wrote.
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    server = subprocess.Popen([*map(str, command)], text=True, start_new_session=True, **streams, **options)
    hurry = threading.Timer(PATIENCE, server.kill)
    hurry.start()
    try:
        written = []
        for line in server.stdout:
            written.append(line)
            found = re.search(ready, line)
            if found:
                break
        else:
            raise AssertionError(f"{command[0]} was not ready within {PATIENCE} s:\n{''.join(written)}")
        hurry.cancel()
        threading.Thread(target=server.stdout.read, daemon=True).start()  # a full pipe would stop the server
        yield found
    finally:
        hurry.cancel()
        _end(server)


def _end(server: subprocess.Popen) -> None:
    """Ask a server to end, which ends its kernels, too; whatever has not ended then is killed."""
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def violations(page, context: str | None = None) -> list[str]:
    """What axe finds wrong in a Playwright ``Page`` by the rules WCAG 2.1 A and AA, one text an element.

    Args:
        page: the page.
        context: a CSS selector; only what is inside is looked at.
    """
    from axe_playwright_python.sync_playwright import Axe

    results = Axe().run(page, context=context, options=AXE)
    return [
        f"{rule['id']}: {rule['help']}: {node['html'][:200]} ({', '.join(node['target'])})"
        for rule in results.response["violations"]
        for node in rule["nodes"]
    ]
