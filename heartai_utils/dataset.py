"""Pages on disk as a catalogue: one row a page, with its condition, checksum and the groups it belongs to.

A folder in the published layout holds the four long-named folders of `conditions` with files `stem(n).jpg`:
the dataset of Khan and Hussain (2021, doi:10.17632/gwbz3fsgp8.2), a part of it, or a set that `simulate_set`
writes in the same way, with the truth beside it::

    >>> catalogue, rejected = read_catalogue("data/simulated/mine")
    >>> simulate_set("data/simulated/planted", 240, shortcuts={"mark": "Myocardial infarction"})
    >>> course_pages("quick", shares="published", copies=True)
"""

from __future__ import annotations

from heartai_utils._catalogue import (
    PUBLISHED_COPIES,
    PUBLISHED_IDS,
    PUBLISHED_PAGES,
    DatasetError,
    data_home,
    manifest_catalogue,
    read_catalogue,
    read_manifest,
    write_whole,
)
from heartai_utils._sets import COURSE_PAGES, course_pages, publish_with_copies, read_truth, simulate_set
from heartai_utils._simulated import RATE_MATCHED_BPM, SHORTCUTS, Shortcut
from heartai_utils.conditions import NAMES

__all__ = [
    "COURSE_PAGES", "NAMES", "PUBLISHED_COPIES", "PUBLISHED_IDS", "PUBLISHED_PAGES", "RATE_MATCHED_BPM", "SHORTCUTS",
    "DatasetError", "Shortcut", "course_pages", "data_home", "manifest_catalogue", "publish_with_copies",
    "read_catalogue", "read_manifest", "read_truth", "simulate_set", "write_whole",
]  # fmt: skip
