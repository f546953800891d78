"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from browser import chromium
from hypothesis import settings

# At home each run tries other examples; where a run decides about a change, it tries the same ones every time.
settings.register_profile("home", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "home")

# Started in the background by a script, this process ignores Ctrl-C, and so would all programs that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT = Path(__file__).resolve().parents[1]
COSTLY = {"browser", "cluster", "scheduler", "undisturbed"}  # fixtures that start programs or train


def pytest_collection_modifyitems(items):
    for item in items:
        if COSTLY & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def real_pages() -> Path:
    """The folder that holds real pages in the four published folders; skips where there is none."""
    beside = PROJECT.parent / "shared" / "real-ecg-pages" / "originals"
    folder = Path(os.environ.get("HEARTAI_REAL_PAGES", beside))
    if not folder.is_dir():
        pytest.skip("no real pages: set HEARTAI_REAL_PAGES to a folder in the published layout")
    return folder


@pytest.fixture(scope="module")
def browser():
    """Chromium as a Playwright ``Browser``, one a module; skips where there is none (see browser.py)."""
    with chromium() as opened:
        yield opened
