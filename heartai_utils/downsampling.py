"""Page to thumbnail: the ways to shrink it, what each does to the trace in millivolts, and a cache on disk.

A page of 2213 × 1572 becomes a thumbnail of 256 × 182: one pixel then stands for about 44 ms and 0.11 mV
(`pixel_ms`, `pixel_mv`). Which method shrinks it decides whether a thin trace survives (`fidelity`).

**Order of width and height.** ``SIZE`` and every argument ``size`` are ``(width, height)``, as OpenCV and Pillow
write it. The arrays that come out are ``(height, width)``, as NumPy writes it: ``SIZE`` is (256, 182), a thumbnail's
shape is (182, 256).

**Ink.** Grey images have light as their value: 255 is white paper, 0 is black. *Ink* is the darkness, ``255 - grey``.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.std import tqdm

from heartai_utils import page
from heartai_utils.dataset import write_whole
from heartai_utils.simulation import LEADS, Recording

SIZE = (256, 182)
"""(width, height) of a thumbnail: NOT the order of an array's shape, which is (182, 256)."""

INK_FLOOR = 24
"""Less ink than this (of 255) is paper, not trace. *Measured*: with the empty page taken off, the paper of published
pages keeps about 7, while the faintest column of a level trace has 37 or more under each method that loses none.
"""

BAND_MV = 1.7
"""How far a lead's band of rows reaches up and down from its baseline; the next baseline is 3.8 mV away."""

NAME_PX, SEPARATOR_PX = 56, 4
"""How far a lead's printed name reaches into its window from the left, and the separator from the right, at most."""

CACHE_VERSION = 1
"""Counted up whenever a method, the grey weights or the crop change: old thumbnails are not taken for new ones."""


def _opencv(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    return cv2.resize(image, size, interpolation=interpolation)


def _pillow(image: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    return np.array(Image.fromarray(image).resize(size, resample))


METHODS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    "nearest": partial(_opencv, interpolation=cv2.INTER_NEAREST),
    "linear": partial(_opencv, interpolation=cv2.INTER_LINEAR),
    "cubic": partial(_opencv, interpolation=cv2.INTER_CUBIC),
    "area": partial(_opencv, interpolation=cv2.INTER_AREA),
    "lanczos": partial(_opencv, interpolation=cv2.INTER_LANCZOS4),
    "pillow-nearest": partial(_pillow, resample=Image.Resampling.NEAREST),
    "pillow-box": partial(_pillow, resample=Image.Resampling.BOX),
    "pillow-bilinear": partial(_pillow, resample=Image.Resampling.BILINEAR),
    "pillow-hamming": partial(_pillow, resample=Image.Resampling.HAMMING),
    "pillow-bicubic": partial(_pillow, resample=Image.Resampling.BICUBIC),
    "pillow-lanczos": partial(_pillow, resample=Image.Resampling.LANCZOS),
}
"""Every method by name: ``METHODS[name](image, (width, height))``.

Those without a prefix are OpenCV's. Its linear, cubic and lanczos look at 2 × 2, 4 × 4 and 8 × 8 pixels around each
sampled point however far apart the points are; Pillow widens its filter by the factor, so that every pixel of the
page counts (Parmar, Zhang & Zhu 2022, arXiv:2104.11222). OpenCV's area is the mean of what a pixel covers; Pillow's
box nearly so. OpenCV's nearest takes the top left pixel, not the middle one: it also shifts by half a pixel.
"""


def shrink(image: np.ndarray, method: str = "area", size: tuple[int, int] = SIZE) -> np.ndarray:
    """Shrink an image by one of ``METHODS``.

    Args:
        image: (height, width) grey or (height, width, 3) colour, uint8.
        method: a name in ``METHODS``.
        size: (width, height) of the result, at most the image's own.

    Returns:
        (size[1], size[0]) or (size[1], size[0], 3), uint8.

    Raises:
        ValueError: for an unknown method, another type or shape of image, or a size that does not shrink it.
    """
    _check(method, size)
    _check_image(image)
    if size[0] > image.shape[1] or size[1] > image.shape[0]:
        raise ValueError(f"cannot shrink {image.shape[1]} × {image.shape[0]} to {size[0]} × {size[1]} (width × height)")
    return METHODS[method](np.ascontiguousarray(image), tuple(size))


def to_grey(image: np.ndarray) -> np.ndarray:
    """Turn an RGB image into grey, 0.299 R + 0.587 G + 0.114 B; a grey one is handed back as it is.

    These weights (ITU-R BT.601) are the ones by which JPEG makes its luminance channel (ITU-T T.871), the only
    one that the published pages store at full resolution: colour is kept at half of it (4:2:0).

    Args:
        image: (height, width, 3) RGB or (height, width) grey, uint8.

    Returns:
        (height, width), uint8; 255 is white.

    Raises:
        ValueError: for an image of another type or shape.
    """
    _check_image(image)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def thumbnail(
    path: str | Path, method: str = "area", size: tuple[int, int] = SIZE, crop: str | None = None
) -> np.ndarray:
    """Read a page from disk and shrink it in grey.

    Args:
        path: a page, JPEG or PNG.
        method: a name in ``METHODS``.
        size: (width, height).
        crop: None for the whole page, "grid" for the inside of the printed frame.

    Returns:
        (size[1], size[0]), uint8; (182, 256) unless told otherwise.

    Raises:
        ValueError: for an unknown method, size or crop; ``page.PageError``, which is one, for no page.
        OSError: if the file cannot be read.
    """
    _check(method, size, crop)
    x0, y0, x1, y1 = _box(crop)
    return shrink(to_grey(page.load_page(path)[y0:y1, x0:x1]), method, size)


# --- many pages ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """What `load_thumbnails` made of n paths.

    Attributes:
        images: (kept, height, width) uint8, in the order of the paths.
        kept: (kept,) int, the position of each image's path among the n: ``catalogue.iloc[thumbnails.kept]`` are
            the images' rows.
        rejected: one row for each page that could not be read: position, path, reason.
    """

    images: np.ndarray
    kept: np.ndarray
    rejected: pd.DataFrame

    def __len__(self) -> int:
        return len(self.images)


def load_thumbnails(
    paths: Iterable[str | Path],
    *,
    method: str = "area",
    size: tuple[int, int] = SIZE,
    crop: str | None = None,
    cache_dir: str | Path,
    md5s: Iterable[str] | None = None,
    progress: bool = True,
    threads: int | None = None,
) -> Thumbnails:
    """Read many pages as thumbnails, each page once in its life.

    What is made is kept under ``cache_dir``, known by the content of the page's file (its MD5), method, size and
    crop: a renamed file is found again, a changed one is not mistaken. An entry is written whole or not at all, so
    the call may be interrupted at any moment, then goes on where it stopped, and may run twice at once. A damaged
    entry (its Adler-32 checksum tells) is made again. A page that cannot be read is listed in ``rejected``.

    Args:
        paths: the pages.
        method, size, crop: as for `thumbnail`.
        cache_dir: a folder; made where missing, safe to delete.
        md5s: the MD5 of each file as the catalogue has it, so that known pages need not be opened at all. It is
            checked before a new thumbnail is kept under it.
        progress: show a bar on stderr while thumbnails are made.
        threads: pages at a time; the processor's count unless told otherwise.

    Returns:
        The images, which positions they belong to, and what was rejected.

    Raises:
        ValueError: for an unknown method, size or crop, or another number of md5s than of paths.
        OSError: if the cache cannot be read or written.
    """
    _check(method, size, crop)
    paths = [Path(path) for path in paths]
    md5s = None if md5s is None else [str(md5) for md5 in md5s]
    if md5s is not None and len(md5s) != len(paths):
        raise ValueError(f"{len(md5s)} md5s for {len(paths)} paths: hand in one for each, in the same order")
    folder = Path(cache_dir) / f"{method}-{size[0]}x{size[1]}-{crop or 'page'}-v{CACHE_VERSION}"
    images = np.empty((len(paths), size[1], size[0]), np.uint8)
    reasons: dict[int, str] = {}
    missing: dict[str, list[int]] = {}  # copies share one entry, so they are made once

    def look_up(position: int) -> str | OSError | None:
        try:
            md5 = _md5(paths[position]) if md5s is None else md5s[position]
        except OSError as error:
            return error
        image = _read_entry(_entry(folder, md5), size)
        if image is None:
            return md5
        images[position] = image
        return None

    def make(md5: str) -> dict[int, str]:
        failed = {}
        for position in missing[md5]:
            path = paths[position]
            try:
                found = _md5(path)
                if found != md5:
                    raise ValueError(f"{path}: content has changed (MD5 {found}, not {md5}): make the catalogue again")
                image = thumbnail(path, method, size, crop)
            except (ValueError, OSError) as error:
                failed[position] = _reason(error)
            else:
                write_whole(_entry(folder, md5), _packed(image))
                images[missing[md5]] = image
                return {}
        return failed

    pool = ThreadPoolExecutor(threads or os.cpu_count())
    try:
        for position, answer in enumerate(pool.map(look_up, range(len(paths)))):
            if isinstance(answer, OSError):
                reasons[position] = _reason(answer)
            elif answer is not None:
                missing.setdefault(answer, []).append(position)
        jobs = [pool.submit(make, md5) for md5 in missing]
        hidden = not (progress and jobs)
        for job in tqdm(as_completed(jobs), "thumbnails", len(jobs), leave=False, unit="page", disable=hidden):
            reasons |= job.result()
    finally:
        pool.shutdown(cancel_futures=True)

    kept = np.array([position for position in range(len(paths)) if position not in reasons], dtype=np.intp)
    rejected = [(position, str(paths[position]), reasons[position]) for position in sorted(reasons)]
    return Thumbnails(
        images[kept] if reasons else images,
        kept,
        pd.DataFrame(rejected, columns=["position", "path", "reason"]),
    )


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _entry(folder: Path, md5: str) -> Path:
    return folder / md5[:2] / f"{md5}.grey"


def _read_entry(entry: Path, size: tuple[int, int]) -> np.ndarray | None:
    """The thumbnail kept there, or None where there is none or it is damaged."""
    try:
        return _unpacked(entry.read_bytes(), size)
    except FileNotFoundError:
        return None


def _packed(image: np.ndarray) -> bytes:
    """Deflated pixels: read as fast as a plain array (0.2 ms; PNG 0.5), half its size, and with a checksum."""
    return zlib.compress(image.tobytes(), 1)


def _unpacked(data: bytes, size: tuple[int, int]) -> np.ndarray | None:
    try:
        return np.frombuffer(zlib.decompress(data), np.uint8).reshape(size[1], size[0])
    except (zlib.error, ValueError):
        return None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


# --- fidelity in millivolts ---------------------------------------------------------------------------------


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


def thumbnail_window(lead: str, size: tuple[int, int] = SIZE, crop: str | None = None) -> LeadWindow:
    """Find the rows and columns in which a thumbnail shows one lead.

    The rows reach ``BAND_MV`` up and down from the lead's baseline. Columns with a separator or with the lead's
    name are left out: their ink is no trace.

    Args:
        lead: one of the twelve, or "strip" for the rhythm strip.
        size, crop: as the thumbnail was made.

    Raises:
        ValueError: for an unknown lead, size or crop, or a size too small to show the lead.
    """
    _check(None, size, crop)
    x0, y0, x1, y1 = _box(crop)
    row, left, right = _place(lead)
    x = x0 - 0.5 + (x1 - x0) / size[0] * np.arange(size[0] + 1)  # edges of the thumbnail's columns on the page, where
    y = y0 - 0.5 + (y1 - y0) / size[1] * np.arange(size[1] + 1)  # a pixel's own middle is a whole number
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


def paper_thumbnail(method: str = "area", size: tuple[int, int] = SIZE, crop: str | None = None) -> np.ndarray:
    """The thumbnail of a page without any trace: the print that all pages share.

    Args:
        method, size, crop: as for `thumbnail`.

    Returns:
        (size[1], size[0]) grey, uint8.
    """
    _check(method, size, crop)
    off_the_page = Recording(np.full((len(LEADS), 5000), 1000, np.float32), 500.0)
    return shrink(_grey_page(off_the_page, crop), method, size)


def trace_from_thumbnail(
    image: np.ndarray, lead: str, *, crop: str | None = None, paper: np.ndarray | None = None
) -> np.ndarray:
    """Read a lead back from a thumbnail: in each column the centre of mass of the ink, in millivolts.

    Ink counts as trace where it is ``INK_FLOOR`` darker than the paper, whatever it is: another lead's tall beat
    in this lead's rows is taken for trace, and without ``paper`` so are the grid's dots, which nearest and linear
    keep at full darkness.

    Args:
        image: (height, width) grey thumbnail, uint8.
        lead: one of the twelve, or "strip".
        crop: as the thumbnail was made.
        paper: (height, width) uint8, `paper_thumbnail` with the image's method, size and crop; None is white.

    Returns:
        (columns,) float64 mV for the columns of `thumbnail_window`; NaN where no trace is left.

    Raises:
        ValueError: for an unknown lead or crop, an image of another type or shape, or paper of another shape.
    """
    _check_image(image)
    if image.ndim != 2:
        raise ValueError("a trace is read from a grey thumbnail: use to_grey first")
    if paper is not None and paper.shape != image.shape:
        raise ValueError(f"the paper's shape is {paper.shape}, the thumbnail's {image.shape}: make both the same way")
    window = thumbnail_window(lead, image.shape[::-1], crop)
    white = 255.0 if paper is None else paper[window.rows, window.columns].astype(np.float64)
    ink = white - image[window.rows, window.columns]
    ink[ink < INK_FLOOR] = 0
    total = ink.sum(axis=0)
    return np.divide(window.mv @ ink, total, out=np.full(total.shape, np.nan), where=total > 0)


def trace_errors(
    image: np.ndarray,
    recording: Recording,
    *,
    crop: str | None = None,
    paper: np.ndarray | None = None,
    strip: str = "II",
    bridge: bool = False,
) -> np.ndarray:
    """What a thumbnail says, minus what the heart did, column by column, for all leads and the rhythm strip.

    The truth of a column is the mean of the recording over the column's time. Only those columns are compared in
    which the band of rows holds this trace and no other: where a tall beat leaves its band or enters a
    neighbour's, the column is left out in both.

    Args:
        image: (height, width) grey thumbnail of the page drawn from ``recording``, uint8.
        recording: the truth.
        crop, paper: as for `trace_from_thumbnail`.
        strip: the lead that the rhythm strip shows.
        bridge: draw a straight line across columns without a trace, as a reader would, instead of NaN.

    Returns:
        (compared columns,) float64 mV; NaN where no trace is left.

    Raises:
        ValueError: as `trace_from_thumbnail`, and for a recording shorter than the page.
    """
    size = image.shape[::-1]
    if (seconds := recording.signals.shape[1] / recording.rate) < page.STRIP_SECONDS:
        raise ValueError(f"the recording lasts {seconds:g} s: a page shows {page.STRIP_SECONDS:g} s")
    places = (*LEADS, "strip")
    top = np.full((4, size[0]), np.inf)  # of each row's trace, in page pixels
    bottom = -top
    errors = {}
    for lead in places:
        row, window = _place(lead)[0], thumbnail_window(lead, size, crop)
        signal = recording.signals[LEADS.index(strip if lead == "strip" else lead)].astype(np.float64)
        area = np.append(0, np.cumsum(signal)) / recording.rate
        area_at_edges = np.interp(window.seconds, np.arange(len(area)) / recording.rate, area)
        trace = trace_from_thumbnail(image, lead, crop=crop, paper=paper)
        if bridge and (left := np.flatnonzero(~np.isnan(trace))).size:
            trace = np.interp(np.arange(trace.size), left, trace[left])
        errors[lead] = trace - np.diff(area_at_edges) / np.diff(window.seconds)
        samples = (window.seconds * recording.rate).astype(int)
        shown = signal[: samples[-1] + 1]
        top[row, window.columns] = page.mv_to_y(np.maximum.reduceat(shown, samples[:-1]), row)
        bottom[row, window.columns] = page.mv_to_y(np.minimum.reduceat(shown, samples[:-1]), row)

    compared = []
    for lead in places:
        row, columns = _place(lead)[0], thumbnail_window(lead, size, crop).columns
        others = np.arange(4) != row
        ceiling, floor = page.mv_to_y([BAND_MV, -BAND_MV], row)
        within = (top[row] >= ceiling) & (bottom[row] <= floor)
        alone = ((bottom[others] < ceiling) | (top[others] > floor)).all(axis=0)
        compared.append(errors[lead][(within & alone)[columns]])
    return np.concatenate(compared)


def fidelity(
    recordings: Sequence[Recording],
    methods: Iterable[str] = tuple(METHODS),
    *,
    size: tuple[int, int] = SIZE,
    crop: str | None = None,
) -> pd.DataFrame:
    """Draw recordings as pages, shrink them by each method and compare the traces read back with the truth.

    Args:
        recordings: the truth, one page each.
        methods: names in ``METHODS``.
        size: (width, height) of the thumbnails.
        crop: as for `thumbnail`.

    Returns:
        One row per method, errors as by `trace_errors` with the empty page taken off:

        - ``rmse_mv``: root mean square over the columns where a trace is left. Compare it only between methods
          that lose none: *measured*, linear loses 4 in 10 columns in which the trace is level, as an ST segment is,
          and none in which it runs through 0.3 mV or more.
        - ``lost_columns``: the share of compared columns in which no trace is left.
        - ``bridged_rmse_mv``: over all columns, with straight lines across the lost ones.
        - ``columns``: how many were compared.
        - ``ms``: median time of `shrink` on a grey page; it differs from run to run.

    Raises:
        ValueError: for no recordings, an unknown method, size or crop.
    """
    methods = list(methods)
    for method in methods:
        _check(method, size, crop)
    if not recordings:
        raise ValueError("no recordings to compare with: hand in at least one")
    paper = {method: paper_thumbnail(method, size, crop) for method in methods}
    found = {method: ([], [], []) for method in methods}
    for recording in recordings:
        grey = _grey_page(recording, crop)
        for method, (errors, bridged, seconds) in found.items():
            begin = time.perf_counter()
            image = shrink(grey, method, size)
            seconds.append(time.perf_counter() - begin)
            errors.append(trace_errors(image, recording, crop=crop, paper=paper[method]))
            bridged.append(trace_errors(image, recording, crop=crop, paper=paper[method], bridge=True))
    table = {}
    for method, (errors, bridged, seconds) in found.items():
        error = np.concatenate(errors)
        table[method] = {
            "rmse_mv": np.sqrt(np.nanmean(error**2)),
            "lost_columns": np.isnan(error).mean(),
            "bridged_rmse_mv": np.sqrt(np.nanmean(np.concatenate(bridged) ** 2)),
            "columns": len(error),
            "ms": 1000 * np.median(seconds),
        }
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method").astype({"columns": int})


def _grey_page(recording: Recording, crop: str | None) -> np.ndarray:
    x0, y0, x1, y1 = _box(crop)
    return to_grey(page.draw_page(recording)[y0:y1, x0:x1])


def _place(lead: str) -> tuple[int, int, float]:
    """Row of a lead or of the strip on the page, and between which x there is nothing but its trace."""
    if lead == "strip":
        return page.STRIP_ROW, page.TRACE_X + NAME_PX, float(page.seconds_to_x(page.STRIP_SECONDS))
    row, left, end, *_ = page.lead_window(lead)
    return row, left + NAME_PX, float(end - SEPARATOR_PX)


def _box(crop: str | None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of the page that is shrunk, right and bottom exclusive."""
    return (0, 0, page.WIDTH, page.HEIGHT) if crop is None else page.GRID_BOX


def _check(method: str | None, size: tuple[int, int], crop: str | None = None) -> None:
    if method is not None and method not in METHODS:
        raise ValueError(f"{method!r} is no method of shrinking: use one of {', '.join(METHODS)}")
    whole = isinstance(size, (tuple, list)) and all(isinstance(side, (int, np.integer)) for side in size)
    if not whole or len(size) != 2 or min(size) < 1:
        raise ValueError(f"size {size!r} must be two positive whole numbers, width and height")
    if crop not in (None, "grid"):
        raise ValueError(f"crop {crop!r} must be None, the whole page, or 'grid', the inside of its frame")


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image is a NumPy array of uint8, not {kind}")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.size == 0:
        raise ValueError(f"an image has the shape (height, width) or (height, width, 3), not {image.shape}")
