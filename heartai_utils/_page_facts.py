"""What the audit measures on a page: perceptual hashes, heart rate, averaged beats, and the page without its trace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from tqdm.std import tqdm

from heartai_utils._workers import start_worker
from heartai_utils.dataset import write_whole
from heartai_utils.page import (
    PX_PER_SECOND,
    ROW_LEADS,
    WINDOW_COLUMNS,
    Traces,
    looks_like_a_page,
    read_traces,
)
from heartai_utils.simulation import LEADS

FACTS = ("fault", "hash_64", "hash_256", "heart_rate", "beats", "erased", "margins")  # see `measure`
BEFORE, AFTER = 50, 90  # columns of an averaged beat before and after its QRS: 0.25 and 0.46 s

_SHIFT = round(0.04 * PX_PER_SECOND)  # columns by which the beats of two pages may be moved against each other
_WINDOWS = [[LEADS.index(row[window]) for row in ROW_LEADS] for window in range(len(ROW_LEADS[0]))]  # leads of each

# On a page at a quarter of its size, rows and columns: what the heart drew, where the printed heart rate stands or
# moves what follows it, and the rows of header and footer.
_QUARTER = 4
_TRACE = slice(69, 383), slice(34, 543)
_HEART_RATE = slice(383, 392), slice(136, 275)
_HEADER, _FOOTER = slice(6, 69), slice(383, 392)
_THUMBNAIL = (256, 182)  # width, height


def measure_all(pages: pd.DataFrame, kept: Path | None, progress: bool) -> dict[str, dict[str, np.ndarray]]:
    """Measure pages, in several processes where many are not yet known.

    Args:
        pages: rows of a catalogue, one for each checksum.
        kept: the folder where facts are kept, one file a page; None to keep nothing.
        progress: show a bar on stderr.

    Returns:
        By checksum what `measure` gives.
    """
    facts = {md5: before for md5 in pages["md5"] if kept and (before := _read_facts(kept / f"{md5}.npz"))}
    missing = pages[~pages["md5"].isin(list(facts))]
    # That a page is one is known of those that a manifest lists.
    tasks = [(row.md5, row.path, row.source == "unknown", kept) for row in missing.itertuples()]
    # A process starts in the time that some thirty pages take.
    workers = min(os.cpu_count() or 1, len(tasks) // 30)
    with closing(_measure_each(tasks, workers)) as measured:
        for md5, page in tqdm(measured, "measuring", len(tasks), unit="page", leave=False, disable=not progress):
            facts[md5] = page
    return facts


def _measure_each(tasks: list[tuple], workers: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    done = set()
    if workers > 1:
        # Not forked: the caller may have threads (TensorFlow's), which do not survive that.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker)
        try:
            for future in as_completed([pool.submit(_measure_and_keep, *task) for task in tasks]):
                md5, page = future.result()
                done.add(md5)
                yield md5, page
        except BrokenProcessPool:  # a script without `if __name__ == "__main__":` has no processes; goes on alone
            pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    yield from (_measure_and_keep(*task) for task in tasks if task[0] not in done)


def _measure_and_keep(md5: str, path: str, check: bool, kept: Path | None) -> tuple[str, dict[str, np.ndarray]]:
    page = measure(path, check)
    if kept:
        data = BytesIO()
        np.savez_compressed(data, **page)
        write_whole(kept / f"{md5}.npz", data.getvalue())
    return md5, page


def _read_facts(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in FACTS}
    except Exception:  # none, or an archive damaged in one of many ways: measured again
        return None


def measure(path: Path | str, check: bool = True) -> dict[str, np.ndarray]:
    """Measure a page.

    Args:
        path: of a JPEG or PNG file.
        check: whether to ask `looks_like_a_page`.

    Returns:
        "fault": text, empty for a page; with any other, all that follows is NaN. "hash_64", "hash_256": see `dhash`.
        "heart_rate": in bpm by the trace, NaN if it shows fewer than two beats. "beats": see `averaged_beats`.
        "erased": (182, 256) uint8, all that the heart drew painted white. "margins": header and footer at a quarter of
        their size, without the printed heart rate.
    """
    nothing = dict.fromkeys(FACTS, np.array(np.nan))
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as image:
            image.draft("L", image.size)  # of a JPEG decodes the brightness only
            grey = np.asarray(image.convert("L"))
    except Exception as error:  # a broken file can make its decoder raise almost anything
        return nothing | {"fault": np.array(f"cannot be decoded: {error}")}
    fine, reason = looks_like_a_page(grey) if check else (True, "")
    if not fine:
        return nothing | {"fault": np.array(f"does not look like a page: {reason}")}
    traces = read_traces(grey)
    peaks = qrs_columns(traces)
    height, width = (size // _QUARTER for size in grey.shape)
    quarter = cv2.resize(grey[: height * _QUARTER, : width * _QUARTER], (width, height), interpolation=cv2.INTER_AREA)
    hashes = {f"hash_{bits}": dhash(quarter, bits) for bits in (64, 256)}
    quarter[_TRACE] = 255
    erased = cv2.resize(quarter, _THUMBNAIL, interpolation=cv2.INTER_AREA)
    quarter[_HEART_RATE] = 255
    return hashes | {
        "fault": np.array(""),
        "heart_rate": np.array(60 * PX_PER_SECOND / np.median(np.diff(peaks)) if len(peaks) > 1 else np.nan),
        "beats": averaged_beats(traces, peaks),
        "erased": erased,
        "margins": np.concatenate([quarter[_HEADER], quarter[_FOOTER]]),
    }


def dhash(grey: np.ndarray, bits: int) -> np.ndarray:
    """Perceptual hash: shrink to s × (s + 1) cells, and ask of each whether its right neighbour is lighter.

    Krawetz 2013, "Kind of Like That" (hackerfactor.com), there with 64 bits.

    Args:
        grey: (height, width) uint8.
        bits: s × s, such as 64 or 256.

    Returns:
        (bits / 8,) uint8.
    """
    side = int(bits**0.5)
    cells = cv2.resize(grey, (side + 1, side), interpolation=cv2.INTER_AREA)
    return np.packbits(cells[:, 1:] > cells[:, :-1])


def qrs_columns(traces: Traces) -> np.ndarray:
    """The columns of the QRS complexes in the ten seconds: where strip and leads are steep together."""
    from scipy.signal import find_peaks  # half a second to import, and not needed where all is measured

    steep = _steepness(traces.strip[None])
    for window, leads in enumerate(_WINDOWS):
        part = slice(window * WINDOW_COLUMNS, (window + 1) * WINDOW_COLUMNS)
        steep[part] += _steepness(traces.signals[leads])
    return find_peaks(steep, height=0.7, prominence=0.4, distance=round(0.26 * PX_PER_SECOND))[0]


def _steepness(signals: np.ndarray) -> np.ndarray:
    """(columns,) how steep some leads are together, smoothed over a QRS; 1 is what half a percent exceeds."""
    slope = np.abs(np.gradient(signals, axis=1)).sum(axis=0)
    window = np.hanning(round(0.09 * PX_PER_SECOND))
    slope = np.convolve(slope, window / window.sum(), "same")
    return slope / max(np.quantile(slope, 0.995), 0.02)


def averaged_beats(traces: Traces, peaks: np.ndarray) -> np.ndarray:
    """The median beat of each lead in its own window, less its median over time.

    Args:
        traces: as `page.read_traces` gives them.
        peaks: as `qrs_columns` gives them.

    Returns:
        (12, BEFORE + AFTER) float32 in mV, the QRS at column BEFORE; NaN where nothing could be read.
    """
    signals = np.where(traces.unread, np.nan, traces.signals)
    signals = np.pad(signals, ((0, 0), (BEFORE, AFTER)), constant_values=np.nan)
    beats = np.full((len(LEADS), BEFORE + AFTER), np.nan, np.float32)
    for index, window in ((index, window) for window, leads in enumerate(_WINDOWS) for index in leads):
        start = window * WINDOW_COLUMNS
        inside = peaks[(peaks >= start) & (peaks < start + WINDOW_COLUMNS)] - start
        if len(inside):
            cut = signals[index][inside[:, None] + np.arange(BEFORE + AFTER)]
            known = ~np.isnan(cut).all(axis=0)
            beats[index, known] = np.nanmedian(cut[:, known], axis=0)
            beats[index] -= np.nanmedian(beats[index]) if known.any() else 0
    return beats


def beat_correlation(beats: np.ndarray) -> np.ndarray:
    """Correlation between the averaged beats of pages, over all leads.

    The leads of a window may move together by up to 40 ms: which of its waves is steepest hangs on the rhythm strip.

    Args:
        beats: (pages, 12, columns) in mV, as `averaged_beats` gives them; NaN counts as 0.

    Returns:
        (pages, pages) float64, symmetric.
    """
    beats = np.nan_to_num(beats.astype(float))
    beats -= beats.mean(axis=2, keepdims=True)
    beats /= np.maximum(np.sqrt((beats**2).sum(axis=(1, 2), keepdims=True)), 1e-9)
    columns = beats.shape[2]
    total = np.zeros((len(beats), len(beats)))
    for leads in _WINDOWS:
        part = beats[:, leads]
        shifts = [
            np.einsum("ilc,jlc->ij", part[:, :, shift:], part[:, :, : columns - shift], optimize=True)
            for shift in range(_SHIFT + 1)
        ]
        total += np.max([*shifts, *(shift.T for shift in shifts)], axis=0)
    return total
