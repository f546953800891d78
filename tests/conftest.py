"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_pages() -> Path:
    """The folder that holds real pages in the four published folders; skips where there is none."""
    beside = PROJECT.parent / "shared" / "real-ecg-pages" / "originals"
    folder = Path(os.environ.get("HEARTAI_REAL_PAGES", beside))
    if not folder.is_dir():
        pytest.skip("no real pages: set HEARTAI_REAL_PAGES to a folder in the published layout")
    return folder
