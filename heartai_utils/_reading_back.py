"""Reading a thumbnail back: where it shows which lead, and what its ink says in millivolts."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from heartai_utils import page
from heartai_utils._shrinking import JPEG_METHODS, OWN, SIZE, _box, _check, _check_image, shrink
from heartai_utils.simulation import LEADS, Recording

PLACES = (*LEADS, "strip")
"""Where a page shows a trace: the twelve leads, each in its window, and the rhythm strip."""

INK_FLOOR = 24
"""Less ink than this (of 255) is paper, not trace. *Measured*: with the empty page taken off, the paper of published
pages keeps about 7, while the faintest column of a level trace has 37 or more under each method that loses none.
"""

BAND_MV = 1.7
"""How far a lead's band of rows reaches up and down from its baseline; the next baseline is 3.8 mV away."""

PEN_PX = 3
"""How thick a level trace is printed."""

NAME_PX, SEPARATOR_PX = 56, 4
"""How far a lead's printed name reaches into its window from the left, and the separator from the right, at most."""


def pixel_ms(size: tuple[int, int] = SIZE, crop: str | None = None) -> float:
    """Milliseconds that one thumbnail pixel spans from left to right: 43.9 at 256 × 182 of the whole page."""
    _check(None, size, crop)
    x0, _, x1, _ = _box(crop)
    return 1000 * (x1 - x0) / size[0] / page.PX_PER_SECOND


def pixel_mv(size: tuple[int, int] = SIZE, crop: str | None = None) -> float:
    """Millivolts that one thumbnail pixel spans from top to bottom: 0.110 at 256 × 182 of the whole page."""
    _check(None, size, crop)
    _, y0, _, y1 = _box(crop)
    return (y1 - y0) / size[1] / page.PX_PER_MV


@dataclass(frozen=True, eq=False)
class LeadWindow:
    """Where a thumbnail shows one lead and nothing else, as far as the form of the page can tell.

    Attributes:
        rows, columns: slices into the thumbnail.
        mv: (rows,) the millivolts at the middle of each row.
        seconds: (columns + 1,) the time of each column's edges, from the recording's beginning.
    """

    rows: slice
    columns: slice
    mv: np.ndarray
    seconds: np.ndarray


def thumbnail_window(lead: str, size: tuple[int, int] = SIZE, crop: str | None = None, *, shift: int = 0) -> LeadWindow:
    """Find the rows and columns in which a thumbnail shows one lead.

    The rows reach ``BAND_MV`` up and down from the lead's baseline. Columns with a separator or with the lead's
    name are left out: their ink is no trace.

    Args:
        lead: one of the twelve, or "strip" for the rhythm strip.
        size, crop: as the thumbnail was made.
        shift: px by which the page was moved right and down before it was shrunk, as `shifted` does.

    Raises:
        ValueError: for an unknown lead, size or crop, or a size too small to show the lead.
    """
    _check(None, size, crop)
    row, left, right = _place(lead)
    x, y = _edges(size, crop, shift)
    columns = slice(*np.searchsorted(x, [left, right]) - (0, 1))
    rows = slice(*np.searchsorted(y, page.mv_to_y([BAND_MV, -BAND_MV], row)) - (0, 1))
    if columns.start >= columns.stop or rows.start >= rows.stop:
        raise ValueError(f"thumbnails of {size[0]} × {size[1]} are too small to show lead {lead}")
    return LeadWindow(
        rows,
        columns,
        page.y_to_mv((y[:-1] + y[1:])[rows] / 2, row),
        page.x_to_seconds(x[columns.start : columns.stop + 1]),
    )


def shifted(image: np.ndarray, shift: int) -> np.ndarray:
    """An image moved right and down by whole pixels; white comes in, what leaves is lost."""
    moved = np.full_like(image, 255)
    moved[shift:, shift:] = image[: image.shape[0] - shift, : image.shape[1] - shift]
    return moved


@cache
def blank_page() -> np.ndarray:
    """A page without any trace, compressed as the published files are: (1572, 2213) grey uint8, read only."""
    off_the_page = Recording(np.full((len(LEADS), 5000), 1000, np.float32), 500.0)
    data = page.encode_page(page.draw_page(off_the_page))
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    grey.setflags(write=False)
    return grey


def paper_thumbnail(
    method: str = OWN, size: tuple[int, int] = SIZE, crop: str | None = None, *, shift: int = 0
) -> np.ndarray:
    """The thumbnail of `blank_page`: what all pages share.

    Args:
        method, size, crop: as for `shrink`.
        shift: px by which the page is moved right and down before.

    Returns:
        (size[1], size[0]) grey, uint8.
    """
    return shrink_grey(shifted(blank_page(), shift), method, size, crop)


def shrink_grey(image: np.ndarray, method: str, size: tuple[int, int] = SIZE, crop: str | None = None) -> np.ndarray:
    """`shrink` a grey page by any method: for those of JPEG files, it is first made one.

    Args:
        image: (1572, 2213) grey, uint8.
        method, size, crop: as for `shrink`.
    """
    if method not in JPEG_METHODS:
        return shrink(image, method, size, crop=crop)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "page.jpg"
        path.write_bytes(page.encode_page(cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)))
        return shrink(path, method, size, crop=crop)


def trace_from_thumbnail(
    image: np.ndarray, lead: str, *, crop: str | None = None, paper: np.ndarray | None = None, shift: int = 0
) -> np.ndarray:
    """Read a lead back from a thumbnail: in each column the centre of mass of the ink, in millivolts.

    Ink counts as trace where it is ``INK_FLOOR`` darker than the paper, whatever it is: another lead's tall beat
    in this lead's rows is taken for trace, and without ``paper`` so are the grid's dots, which nearest and linear
    keep at full darkness.

    Args:
        image: (height, width) grey thumbnail, uint8.
        lead: one of the twelve, or "strip".
        crop: as the thumbnail was made.
        paper: (height, width) uint8, `paper_thumbnail` with the image's method, size, crop and shift; None is white.
        shift: as for `thumbnail_window`.

    Returns:
        (columns,) float64 mV for the columns of `thumbnail_window`; NaN where no trace is left.

    Raises:
        ValueError: for an unknown lead or crop, an image of another type or shape, or paper of another shape.
    """
    window, ink = _ink(image, lead, crop, paper, shift)
    total = ink.sum(axis=0)
    return np.divide(window.mv @ ink, total, out=np.full(total.shape, np.nan), where=total > 0)


def tops_from_thumbnail(
    image: np.ndarray, lead: str, *, crop: str | None = None, paper: np.ndarray | None = None, shift: int = 0
) -> np.ndarray:
    """Read off in each column how high the trace reaches: as far as its ink does, less half a pen.

    Where a stroke is steep, a pixel that it fills in part has that part of the ink of the pixel below, so that its
    end is known to a fraction of a pixel.

    Args:
        image, lead, crop, paper, shift: as for `trace_from_thumbnail`.

    Returns:
        (columns,) float64 mV as of `trace_from_thumbnail`; NaN where no trace is left.

    Raises:
        ValueError: as `trace_from_thumbnail`.
    """
    window, ink = _ink(image, lead, crop, paper, shift)
    inked, columns = ink > 0, np.arange(ink.shape[1])
    first = inked.argmax(axis=0)
    below = ink[np.minimum(first + 1, len(ink) - 1), columns]
    filled = np.minimum(ink[first, columns] / np.maximum(below, 1), 1)
    tops = window.mv[first] + (filled - 0.5) * pixel_mv(image.shape[::-1], crop) - PEN_PX / 2 / page.PX_PER_MV
    return np.where(inked.any(axis=0), tops, np.nan)


def _ink(
    image: np.ndarray, lead: str, crop: str | None, paper: np.ndarray | None, shift: int
) -> tuple[LeadWindow, np.ndarray]:
    """A lead's window, and (rows, columns) of the ink in it that is trace."""
    _check_image(image)
    if image.ndim != 2:
        raise ValueError("a trace is read from a grey thumbnail: use to_grey first")
    if paper is not None and paper.shape != image.shape:
        raise ValueError(f"the paper's shape is {paper.shape}, the thumbnail's {image.shape}: make both the same way")
    window = thumbnail_window(lead, image.shape[::-1], crop, shift=shift)
    white = 255.0 if paper is None else paper[window.rows, window.columns].astype(np.float64)
    ink = white - image[window.rows, window.columns]
    ink[ink < INK_FLOOR] = 0
    return window, ink


def _edges(size: tuple[int, int], crop: str | None, shift: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y on the page of the edges of a thumbnail's columns and rows; a page's pixel has its middle at a whole."""
    x0, y0, x1, y1 = _box(crop)
    return (
        x0 - shift - 0.5 + (x1 - x0) / size[0] * np.arange(size[0] + 1),
        y0 - shift - 0.5 + (y1 - y0) / size[1] * np.arange(size[1] + 1),
    )


def _place(lead: str) -> tuple[int, int, float]:
    """Row of a lead or of the strip on the page, and between which x there is nothing but its trace."""
    if lead == "strip":
        return page.STRIP_ROW, page.TRACE_X + NAME_PX, float(page.seconds_to_x(page.STRIP_SECONDS))
    row, left, end, *_ = page.lead_window(lead)
    return row, left + NAME_PX, float(end - SEPARATOR_PX)
