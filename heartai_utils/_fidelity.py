"""What shrinking does to the trace, in millivolts: a thumbnail read back, against what the heart did.

The truth of a simulated page is its recording, that of a published one the full-size trace read back (`Truth`). What
a reader takes off the thumbnail, column by column and beat by beat, is compared with it (`page_errors`), over many
pages (`summarise_errors`, `fidelity`), and between shifts of one page (`change_under_shifts`).
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.std import tqdm

from heartai_utils import page
from heartai_utils._reading_back import (
    BAND_MV,
    PLACES,
    _place,
    paper_thumbnail,
    shifted,
    shrink_grey,
    thumbnail_window,
    tops_from_thumbnail,
    trace_from_thumbnail,
)
from heartai_utils._shrinking import JPEG_METHODS, METHODS, SIZE, _check, shrink
from heartai_utils.simulation import LEADS, Recording

ST_S = 0.060
"""After J: where the ST level is read."""

PR_S = 0.015
"""Before the onset of QRS: where the PR level is read, as for the facts of a `Recording`."""

R_MV = 0.5
"""From here on an R wave's height counts."""

Q_MV, Q_S, Q_DEPTH_MV = 0.05, 0.02, 0.1
"""A lead is in its Q wave while it is further below the PR level than the first, half a thumbnail pixel; waves of the
second in width and the third in depth count.
"""

SHORT_GAP = 4
"""px, 20 ms: a stroke too steep to be read on the full-size page is taken for straight over so many columns."""

_QRS_PX, _CALM = 24, 0.12  # px around its middle in which a QRS ends; the share of its steepness that is none
_STEPS = 64  # in which a QRS is looked at: 1 to 3 ms each


@dataclass(frozen=True, eq=False)
class Truth:
    """What the heart did on a page, to compare a thumbnail with.

    Attributes:
        signals: (13, samples) float64 in mV from the page's beginning: the leads, then the rhythm strip.
        known: (13, samples) bool: where that is certain.
        rate: samples per second.
        onsets_s, ends_s: (beats,) when QRS begins, and ends in the J point.
    """

    signals: np.ndarray
    known: np.ndarray
    rate: float
    onsets_s: np.ndarray
    ends_s: np.ndarray

    @classmethod
    def of_recording(cls, recording: Recording, strip: str = "II") -> Truth:
        """Take a simulated recording for the truth; ventricular beats, whose QRS is another, are left out.

        Args:
            recording: with ``facts`` as `simulate_recording` gives them; without, it has no beats.
            strip: the lead that the rhythm strip shows.

        Raises:
            ValueError: for a recording shorter than the page.
        """
        if (seconds := recording.signals.shape[1] / recording.rate) < page.STRIP_SECONDS:
            raise ValueError(f"the recording lasts {seconds:g} s: a page shows {page.STRIP_SECONDS:g} s")
        signals = np.vstack([recording.signals, recording.lead(strip)]).astype(np.float64)
        facts = {"r_peaks_s": [], "beat_kinds": [], "onset_ms": 0, "j_ms": 0} | recording.facts
        beats = zip(facts["r_peaks_s"], facts["beat_kinds"], strict=True)
        peaks = np.array([peak for peak, kind in beats if kind != "V"], float)
        known = np.ones(signals.shape, bool)
        return cls(signals, known, recording.rate, peaks + facts["onset_ms"] / 1000, peaks + facts["j_ms"] / 1000)

    @classmethod
    def of_page(cls, image: np.ndarray) -> Truth:
        """Take the trace of a full-size page, read back, for the truth.

        Columns that could not be read are not known, but for gaps of ``SHORT_GAP`` columns. Beats are where all
        leads are steep together.

        Args:
            image: as for `page.read_traces`.
        """
        from heartai_utils.audit import qrs_columns  # here, for shrinking alone needs no audit

        traces = page.read_traces(image)
        samples = page.STRIP_COLUMNS + 1
        signals, known = np.zeros((len(PLACES), samples)), np.zeros((len(PLACES), samples), bool)
        for place, (lead, signal, unread) in enumerate(zip(LEADS, traces.signals, traces.unread, strict=True)):
            _, start, end, _, _ = page.lead_window(lead)
            window = slice(start - page.TRACE_X, end - page.TRACE_X)
            signals[place, window], known[place, window] = signal, ~_long(unread)
        signals[-1, :-1], known[-1, :-1] = traces.strip, ~_long(traces.strip_unread)
        onsets, ends = _qrs_ends(signals, qrs_columns(traces))
        return cls(signals, known, page.PX_PER_SECOND, onsets / page.PX_PER_SECOND, ends / page.PX_PER_SECOND)

    def at(self, place: int, seconds: np.ndarray) -> np.ndarray:
        """The signal in mV at any moments."""
        return np.interp(seconds, np.arange(self.signals.shape[1]) / self.rate, self.signals[place])

    def means(self, place: int, edges: np.ndarray) -> np.ndarray:
        """(edges - 1,) the mean in mV between each moment and the next."""
        signal = self.signals[place]
        area = np.append(0, np.cumsum((signal[:-1] + signal[1:]) / 2)) / self.rate
        return np.diff(np.interp(edges, np.arange(len(area)) / self.rate, area)) / np.diff(edges)


def _long(unread: np.ndarray) -> np.ndarray:
    """The unread columns but for short gaps between read ones."""
    edges = np.flatnonzero(np.diff(np.pad(unread, 1).astype(np.int8)))
    kept = unread.copy()
    for start, end in edges.reshape(-1, 2):
        if end - start <= SHORT_GAP and start > 0 and end < len(unread):
            kept[start:end] = False
    return kept


def _qrs_ends(signals: np.ndarray, peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(beats,) columns in which QRS complexes begin and end: the leads shown are steep together within them.

    *Measured* on simulated pages: 5 to 95 % of the onsets are 17 ms too early to 11 ms too late, of the ends 18 ms
    too early to 7 ms too late.
    """
    slopes = np.abs(np.gradient(signals, axis=1))
    steep = slopes[-1].copy()
    for place, lead in enumerate(LEADS):
        _, start, end, _, _ = page.lead_window(lead)
        shown = slice(start - page.TRACE_X + 1, end - page.TRACE_X - 1)  # beside it there is no signal to compare with
        steep[shown] += slopes[place, shown]
    steep = np.convolve(steep, np.ones(3) / 3, "same")
    around = np.pad(steep, _QRS_PX)[peaks[:, None] + np.arange(2 * _QRS_PX + 1)]
    calm = around < _CALM * around.max(axis=1, keepdims=True)
    before = _QRS_PX - calm[:, _QRS_PX::-1].argmax(axis=1)
    after = _QRS_PX + calm[:, _QRS_PX:].argmax(axis=1)
    found = calm[:, : _QRS_PX + 1].any(axis=1) & calm[:, _QRS_PX:].any(axis=1)
    return (peaks - _QRS_PX + before)[found], (peaks - _QRS_PX + after)[found]


@dataclass(frozen=True, eq=False)
class Errors:
    """What one thumbnail says, minus what the heart did.

    Attributes:
        trace: (columns,) mV; NaN where no trace is left.
        bridged: the same with straight lines across lost columns, as a reader would draw them.
        st: (beats,) mV: the level 60 ms after J against the PR level.
        r: (beats,) the share by which an R wave of ``R_MV`` or more is too low.
        q: (beats,) ms by which a Q wave is too wide; minus its width where it cannot be seen.
    """

    trace: np.ndarray
    bridged: np.ndarray
    st: np.ndarray
    r: np.ndarray
    q: np.ndarray


def page_errors(
    image: np.ndarray, truth: Truth, *, crop: str | None = None, paper: np.ndarray | None = None, shift: int = 0
) -> Errors:
    """Read all leads and the rhythm strip off a thumbnail and compare them with the truth.

    The truth of a column is the signal's mean over the column's time. Only those columns are compared in which the
    truth is known and the band of rows holds this trace and no other: where a tall beat leaves its band or enters a
    neighbour's, the column is left out in both. A beat counts in a lead if all columns from PR to ST do.

    A pixel of 44 ms is half a QRS. Levels are read off straight lines between the columns' middles: ST 60 ms after J,
    PR a pixel before the onset (nearer, the pixel has seen the QRS). The height of an R wave is what a reader sees,
    the top of its ink (`tops_from_thumbnail`): the centre of mass of a column that holds the wave and what is beside
    it is half as high under any method. Q lasts while the lines are ``Q_MV`` below the PR level, until they are as
    much above it; one pixel cannot tell 20 ms from 40, and the error says so. The truth is read in the same way off
    the signal itself, PR 15 ms before the onset.

    Args:
        image: (height, width) grey thumbnail, uint8.
        truth: of the page it was made from.
        crop, paper, shift: as for `trace_from_thumbnail`.

    Raises:
        ValueError: as `trace_from_thumbnail`.
    """
    traces, bridged, beats = [], [], []
    for place, (window, means, compared) in enumerate(_expected(truth, image.shape[::-1], crop, shift)):
        made = {"crop": crop, "paper": paper, "shift": shift}
        trace = trace_from_thumbnail(image, PLACES[place], **made)
        whole, tops = _bridged(trace), tops_from_thumbnail(image, PLACES[place], **made)
        traces.append((trace - means)[compared])
        bridged.append((whole - means)[compared])
        beats.append(_beat_errors(truth, place, window.seconds, whole, tops, compared))
    return Errors(np.concatenate(traces), np.concatenate(bridged), *map(np.concatenate, zip(*beats, strict=True)))


@lru_cache(maxsize=16)
def _expected(truth: Truth, size: tuple[int, int], crop: str | None, shift: int) -> list[tuple]:
    """Of each place its window, the truth's mean in each of the columns, and which of them can be compared."""
    samples = truth.signals.shape[1]
    rows = np.empty((len(page.BASELINES), samples))
    rows[page.STRIP_ROW] = truth.signals[-1]
    for place, lead in enumerate(LEADS):
        row, _, _, start, end = page.lead_window(lead)
        shown = slice(round(start * truth.rate), samples if end == page.STRIP_SECONDS else round(end * truth.rate))
        rows[row, shown] = truth.signals[place, shown]
    found = []
    for place, name in enumerate(PLACES):
        row, window = _place(name)[0], thumbnail_window(name, size, crop, shift=shift)
        edges = window.seconds * truth.rate
        bounds = np.stack([np.floor(edges[:-1]), np.ceil(edges[1:])], axis=1).astype(int).ravel().clip(0, samples - 1)
        high, low = (reduce.reduceat(rows, bounds, axis=1)[:, ::2] for reduce in (np.maximum, np.minimum))
        top, bottom = (np.stack([page.mv_to_y(mv, r) for r, mv in enumerate(level)]) for level in (high, low))
        others = np.arange(len(rows)) != row
        ceiling, floor = page.mv_to_y([BAND_MV, -BAND_MV], row)
        within = (top[row] >= ceiling) & (bottom[row] <= floor)
        alone = ((bottom[others] < ceiling) | (top[others] > floor)).all(axis=0)
        certain = np.minimum.reduceat(truth.known[place], bounds)[::2]
        found.append((window, truth.means(place, window.seconds), within & alone & certain))
    return found


def _bridged(trace: np.ndarray) -> np.ndarray:
    left = np.flatnonzero(~np.isnan(trace))
    return np.interp(np.arange(trace.size), left, trace[left]) if left.size else trace


def _beat_errors(
    truth: Truth, place: int, edges: np.ndarray, trace: np.ndarray, tops: np.ndarray, compared: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Errors in ST level, height of R and width of Q: of those beats of a lead that its columns show whole."""
    pixel, middles = edges[1] - edges[0], (edges[:-1] + edges[1:]) / 2
    first = np.searchsorted(middles, truth.onsets_s - max(PR_S, pixel)) - 1
    last = np.searchsorted(middles, truth.ends_s + ST_S)
    left_out = np.append(0, np.cumsum(~compared))
    shown = np.flatnonzero((first >= 0) & (last < len(middles)))
    shown = shown[left_out[last[shown] + 1] == left_out[first[shown]]]
    onsets, ends = truth.onsets_s[shown, None], truth.ends_s[shown, None]

    def read(signal: Callable, before: float, margin: float) -> tuple[np.ndarray, ...]:
        """PR level, ST level against it, width of Q, height of R, depth of Q."""
        seconds = onsets - margin + (ends - onsets + 2 * margin) * np.linspace(0, 1, _STEPS)
        pr = signal(onsets - before)
        qrs = signal(seconds) - pr
        above = (qrs > Q_MV) & (seconds >= onsets)
        until = np.where(above.any(axis=1), above.argmax(axis=1), _STEPS)
        below = np.where(np.arange(_STEPS) < until[:, None], -qrs, 0)
        q = (below > Q_MV).sum(axis=1) * (seconds[:, 1] - seconds[:, 0])
        return pr[:, 0], (signal(ends + ST_S) - pr)[:, 0], q, qrs.max(axis=1), below.max(axis=1)

    _, st, q, r, depth = read(lambda seconds: truth.at(place, seconds), PR_S, 0)
    seen_pr, seen_st, seen_q, *_ = read(lambda seconds: np.interp(seconds, middles, trace), max(PR_S, pixel), pixel / 2)
    in_qrs = (edges[1:] > onsets) & (edges[:-1] < ends)
    seen_r = np.where(in_qrs & ~np.isnan(tops), tops - seen_pr[:, None], 0).max(axis=1)
    tall, wide = r >= R_MV, (q >= Q_S) & (depth >= Q_DEPTH_MV)
    return seen_st - st, 1 - seen_r[tall] / r[tall], 1000 * (seen_q - q)[wide]


def summarise_errors(errors: Sequence[Errors]) -> dict[str, float]:
    """Many pages' errors in figures; NaN where there is nothing to compare.

    Returns:
        Values by name.

        - ``rmse_mv``: root mean square over the columns where a trace is left. Compare it only between methods
          that lose none: *measured*, linear loses 4 in 10 columns in which the trace is level, as an ST segment is,
          and none in which it runs through 0.3 mV or more.
        - ``lost_columns``: the share of compared columns in which no trace is left.
        - ``bridged_rmse_mv``: over all columns, with straight lines across the lost ones.
        - ``st_error_mv``, ``st_median_mv``: of the ST level, root mean square and median of the size, over beats and
          leads.
        - ``r_attenuation``: the median share of its height that an R wave has lost.
        - ``q_error_ms``: of the width of Q, root mean square.
        - ``columns``, ``beats``: how many were compared.
    """
    trace, bridged, st, r, q = (
        np.concatenate([getattr(error, name) for error in errors]) for name in ("trace", "bridged", "st", "r", "q")
    )
    return {
        "rmse_mv": _rms(trace[~np.isnan(trace)]),
        "lost_columns": float(np.isnan(trace).mean()) if trace.size else np.nan,
        "bridged_rmse_mv": _rms(bridged),
        "st_error_mv": _rms(st),
        "st_median_mv": _median(np.abs(st)),
        "r_attenuation": _median(r),
        "q_error_ms": _rms(q),
        "columns": len(trace),
        "beats": len(st),
    }


def trace_errors(
    image: np.ndarray,
    recording: Recording,
    *,
    crop: str | None = None,
    paper: np.ndarray | None = None,
    strip: str = "II",
    bridge: bool = False,
) -> np.ndarray:
    """What a thumbnail says, minus what the heart did, column by column: `page_errors` of a recording.

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
    errors = page_errors(image, Truth.of_recording(recording, strip), crop=crop, paper=paper)
    return errors.bridged if bridge else errors.trace


def fidelity(
    pages: Sequence[Recording | str | Path],
    methods: Iterable[str] = (*METHODS, *JPEG_METHODS),
    *,
    size: tuple[int, int] = SIZE,
    crop: str | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Shrink pages by each method and compare what is read back with the truth.

    Args:
        pages: recordings, which are drawn and compressed as the published pages are and are themselves the truth, or
            paths of published pages, whose truth is their full-size trace.
        methods: names in ``METHODS`` and ``JPEG_METHODS``.
        size: (width, height) of the thumbnails.
        crop: as for `shrink`.
        progress: show a bar on stderr.

    Returns:
        One row per method with the figures of `summarise_errors`, the empty page taken off, and ``ms``: median time of
        `shrink` from a decoded grey page, for methods of JPEG files from the file; it differs from run to run.

    Raises:
        ValueError: for no pages, a recording shorter than one, an unknown method, size or crop, or a file that is no
            page.
    """
    methods = list(methods)
    for method in methods:
        _check(method, size, crop)
    if not pages:
        raise ValueError("no pages to compare: hand in at least one recording or path")
    paper = {method: paper_thumbnail(method, size, crop) for method in methods}
    errors, seconds = ({method: [] for method in methods} for _ in range(2))
    with tempfile.TemporaryDirectory() as folder:
        for source in tqdm(pages, "fidelity", leave=False, unit="page", disable=not progress):
            path, truth = source, None
            if isinstance(source, Recording):
                path, truth = Path(folder) / "page.jpg", Truth.of_recording(source)
                path.write_bytes(page.encode_page(page.draw_page(source)))
            grey = page.load_page(path, grey=True)
            truth = truth or Truth.of_page(grey)
            for method in methods:
                begin = time.perf_counter()
                image = shrink(path if method in JPEG_METHODS else grey, method, size, crop=crop)
                seconds[method].append(time.perf_counter() - begin)
                errors[method].append(page_errors(image, truth, crop=crop, paper=paper[method]))
    table = {method: summarise_errors(errors[method]) | {"ms": 1000 * np.median(seconds[method])} for method in methods}
    whole = {"columns": int, "beats": int}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("method").astype(whole)


def change_under_shifts(
    image: np.ndarray, truth: Truth, paper: Sequence[np.ndarray], method: str, *, crop: str | None = None
) -> np.ndarray:
    """How much the trace read back changes when the page lies a few pixels further right and down.

    A heart is the same wherever its page lies. The page is moved by 0, 1, 2 … px, of which 8.6 make a pixel of the
    thumbnail, shrunk and read back with the shift taken into account; what differs then is aliasing, and where
    within a pixel the trace happens to lie.

    Args:
        image: (1572, 2213) grey page, uint8.
        truth: of it. The truth of a column changes with the shift, too, and is taken off.
        paper: `paper_thumbnail` for each shift from 0 px on; their size is that of the thumbnails.
        method, crop: as for `shrink`; for methods of JPEG files, each shifted page is compressed anew.

    Returns:
        (moments,) float64 mV: the standard deviation over the shifts at the middle of each column compared.

    Raises:
        ValueError: as `shrink` and `trace_from_thumbnail`.
    """
    size = paper[0].shape[::-1]
    moments, read = {}, {name: [] for name in PLACES}
    for shift, blank in enumerate(paper):
        thumbnail = shrink_grey(shifted(image, shift), method, size, crop)
        for name, (window, means, compared) in zip(PLACES, _expected(truth, size, crop, shift), strict=True):
            trace = _bridged(trace_from_thumbnail(thumbnail, name, crop=crop, paper=blank, shift=shift))
            middles = (window.seconds[:-1] + window.seconds[1:]) / 2
            error = np.where(compared, trace - means, np.nan)
            read[name].append(np.interp(moments.setdefault(name, middles), middles, error, left=np.nan, right=np.nan))
    changes = np.concatenate([np.std(errors, axis=0) for errors in read.values()])
    return changes[~np.isnan(changes)]


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2))) if values.size else np.nan


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else np.nan
