"""Page to thumbnail: the ways to shrink it, what each does to the trace in millivolts, and a cache on disk.

A page of 2213 × 1572 becomes a thumbnail of 256 × 182: one pixel then stands for about 44 ms and 0.11 mV
(`pixel_ms`, `pixel_mv`). Which method shrinks it decides whether a thin trace survives (`fidelity`)::

    >>> shrink(draw_page(simulate_recording("Normal", seed=1)), "even-ink").shape
    (182, 256, 3)
    >>> load_thumbnails(catalogue["path"], md5s=catalogue["md5"], cache_dir="thumbnails").images.shape
    (240, 182, 256)

**Order of width and height.** ``SIZE`` and every argument ``size`` are ``(width, height)``, as OpenCV and Pillow
write it. The arrays that come out are ``(height, width)``, as NumPy writes it: ``SIZE`` is (256, 182), a thumbnail's
shape is (182, 256).

**Ink.** Grey images have light as their value: 255 is white paper, 0 is black. *Ink* is the darkness, ``255 - grey``.
"""

from __future__ import annotations

from heartai_utils._fidelity import (
    Errors,
    Truth,
    change_under_shifts,
    fidelity,
    page_errors,
    summarise_errors,
    trace_errors,
)
from heartai_utils._reading_back import (
    BAND_MV,
    INK_FLOOR,
    PLACES,
    LeadWindow,
    blank_page,
    paper_thumbnail,
    pixel_ms,
    pixel_mv,
    shifted,
    thumbnail_window,
    tops_from_thumbnail,
    trace_from_thumbnail,
)
from heartai_utils._shrinking import CROPS, JPEG_METHODS, METHODS, OWN, SIZE, shrink, to_grey
from heartai_utils._thumbnails import Thumbnails, load_thumbnails, to_dataset

__all__ = [
    "BAND_MV", "CROPS", "INK_FLOOR", "JPEG_METHODS", "METHODS", "OWN", "PLACES", "SIZE", "Errors", "LeadWindow",
    "Thumbnails", "Truth", "blank_page", "change_under_shifts", "fidelity", "load_thumbnails", "page_errors",
    "paper_thumbnail", "pixel_ms", "pixel_mv", "shifted", "shrink", "summarise_errors", "thumbnail_window",
    "to_dataset", "to_grey", "tops_from_thumbnail", "trace_errors", "trace_from_thumbnail",
]  # fmt: skip
