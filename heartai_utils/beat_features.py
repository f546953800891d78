"""From the traces read off a page to what a cardiologist measures: beats, their average, and the waves of each lead.

Nothing but the traces is looked at: no printed number, no pixel beside the ink::

    >>> beats = find_beats(read_traces(load_page("page.jpg")))
    >>> beats.averaged.shape, beats.heart_rate
    ((12, 160), 74.2)
    >>> measure(beats)["ST60 V2"]
    0.112

It is no diagnostic tool. Single pages can be measured wrong, in the same way on real and on simulated ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from heartai_utils.audit import qrs_columns
from heartai_utils.page import PX_PER_SECOND, STRIP_COLUMNS, TRACE_X, WINDOW_COLUMNS, Traces, lead_window
from heartai_utils.simulation import LEADS

BEFORE, AFTER = 60, 100
"""Columns of an averaged beat before its R peak and from it on: 0.30 and 0.51 s."""

TERRITORIES = {
    "inferior": ("II", "III", "aVF"),
    "septal": ("V1", "V2"),
    "anterior": ("V3", "V4"),
    "lateral": ("I", "aVL", "V5", "V6"),
}
"""Leads that look at one wall of the heart (Fourth Universal Definition of Myocardial Infarction, 2018)."""

WAVES = ("P", "Q", "Q_ms", "start", "R", "S", "R/S", "area", "J", "ST60", "T")
"""What is measured in each lead, see `measure`."""


def _columns(seconds: float) -> int:
    return round(seconds * PX_PER_SECOND)


_QRS = _columns(0.12)  # columns around an R peak by which beats are compared
_MOVED = _columns(0.04)  # by so many may the steepest place be off the R peak
_LIKE = 0.7  # correlation with the usual beat's strip, from which a beat is one of the usual ones
_SAME, _LOW = 0.75, 0.25  # correlation and share of its height from which a beat is seen where a tip was not read
_STEEP = 0.12  # of the steepest slope of a beat: QRS is what is steeper (within 10 ms in nine simulated hearts of ten)
_R_MV = 0.05  # half a small square: a lower R is none, and what is below the line is a QS


@dataclass(frozen=True, eq=False)
class Beats:
    """The beats of a page.

    Attributes:
        peaks: (beats,) int, columns of the R peaks in the ten seconds, ascending.
        usual: (beats,) bool, whether a beat looks like most others; ventricular extra beats do not.
        averaged: (12, BEFORE + AFTER) float32 in mV: the median of the usual beats in each lead's own window, the R
            peak at column BEFORE, against the level before QRS; NaN where nothing could be read.
        strip: (BEFORE + AFTER,) the same of the rhythm strip.
        each: (beats, BEFORE + AFTER) the strip's single beats.
        onset, end: columns of the averaged beat in which QRS begins and ends; 0 and 0 where there is no beat.
    """

    peaks: np.ndarray
    usual: np.ndarray
    averaged: np.ndarray
    strip: np.ndarray
    each: np.ndarray
    onset: int
    end: int

    @property
    def heart_rate(self) -> float:
        """In bpm, by the median distance of beats; NaN with fewer than two."""
        return float(60 * PX_PER_SECOND / np.median(np.diff(self.peaks))) if len(self.peaks) > 1 else np.nan


def find_beats(traces: Traces) -> Beats:
    """Find the beats of a page and average them.

    `audit.qrs_columns` finds where the leads are steep. By the rhythm strip, the one trace that shows every beat, the
    beats are then laid on one another, and those are added that look the same and were missed. All are moved so that
    the leads together are furthest from the line at column BEFORE.
    """
    peaks = qrs_columns(traces)
    peaks, usual = _aligned(traces.strip, np.sort(np.append(peaks, _missed(traces.strip, peaks))))
    averaged = _averaged(traces, peaks, usual)
    if len(peaks):
        peaks = (peaks + _furthest(averaged)).clip(0, STRIP_COLUMNS - 1)
        averaged = _averaged(traces, peaks, usual)
    each = _cut(np.where(traces.strip_unread, np.nan, traces.strip), peaks)
    strip = _median(each[usual] if usual.any() else each)
    onset, end = _qrs_ends(averaged)
    level = slice(max(onset - _columns(0.04), 0), max(onset - 1, 1))
    averaged = averaged - _median(averaged[:, level].T)[:, None]
    return Beats(peaks, usual, averaged.astype(np.float32), strip - _median(strip[level, None]), each, onset, end)


def _missed(strip: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """The columns in which the strip shows a beat such as the usual one, well away from the peaks found.

    Where the tip of a beat cannot be read, because it meets the row above, its slopes are not steep.
    """
    if len(peaks) < 3:
        return np.zeros(0, int)
    from scipy.signal import find_peaks  # half a second to import

    around = sliding_window_view(np.pad(strip, _QRS, mode="edge"), 2 * _QRS + 1)
    around = around - around.mean(axis=1, keepdims=True)
    beat = np.median(around[_aligned(strip, peaks)[0]], axis=0)
    size = max(np.linalg.norm(beat), 1e-6)
    height = around @ beat / size**2
    likeness = height * size / np.linalg.norm(around, axis=1).clip(1e-6)
    apart = 0.6 * np.median(np.diff(peaks))  # T is nearer, the next beat is not
    found = find_peaks(likeness, height=_SAME, distance=max(apart, 1))[0]
    found = found[height[found] > _LOW]
    return found[(np.abs(found[:, None] - peaks) > apart).all(axis=1)]


def _aligned(strip: np.ndarray, peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Peaks moved so that the strip's beats lie on one another, and which of them are like the median beat."""
    if not len(peaks):
        return peaks, np.zeros(0, bool)
    padded = np.pad(strip, _QRS + _MOVED, mode="edge")
    around, moves = np.arange(2 * _QRS + 1), np.arange(2 * _MOVED + 1)
    candidates = padded[peaks[:, None, None] + moves[:, None] + around]  # (beats, moves, columns)
    candidates = candidates - candidates.mean(axis=2, keepdims=True)
    norms = np.sqrt((candidates**2).sum(axis=2)).clip(1e-6)
    best = np.full(len(peaks), _MOVED)
    for _ in range(3):
        usual = np.median(candidates[np.arange(len(peaks)), best], axis=0)
        likeness = candidates @ usual / norms / max(np.linalg.norm(usual), 1e-6)
        best = (candidates @ usual).argmax(axis=1)
    return (peaks + best - _MOVED).clip(0, STRIP_COLUMNS - 1), likeness.max(axis=1) > _LIKE


def _cut(signals: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """(..., beats, BEFORE + AFTER) the beats of signals (..., columns); NaN beyond their ends."""
    width = [(0, 0)] * (signals.ndim - 1) + [(BEFORE, AFTER)]
    return np.pad(signals, width, constant_values=np.nan)[..., peaks[:, None] + np.arange(BEFORE + AFTER)]


def _averaged(traces: Traces, peaks: np.ndarray, usual: np.ndarray) -> np.ndarray:
    signals = np.where(traces.unread, np.nan, traces.signals)
    beats = np.full((len(LEADS), BEFORE + AFTER), np.nan)
    for index, lead in enumerate(LEADS):
        place = peaks - (lead_window(lead)[1] - TRACE_X)
        inside = (place >= 0) & (place < WINDOW_COLUMNS)
        chosen = inside & usual if (inside & usual).any() else inside
        beats[index] = _median(_cut(signals[index], place[chosen]))
    return beats


def _median(values: np.ndarray) -> np.ndarray:
    """The median over the first axis of what is no NaN; NaN where all is."""
    known = ~np.isnan(values).all(axis=0)
    found = np.full(values.shape[1:], np.nan)
    found[known] = np.nanmedian(values[:, known], axis=0)
    return found


def _furthest(averaged: np.ndarray) -> int:
    """How far from column BEFORE the leads together are furthest from their levels."""
    away = averaged - _median(averaged.T)[:, None]
    away = np.sqrt(np.nansum(away**2, axis=0))
    return int(away[BEFORE - _MOVED : BEFORE + _MOVED + 1].argmax()) - _MOVED


def _qrs_ends(averaged: np.ndarray) -> tuple[int, int]:
    """The columns in which QRS begins and ends: the leads together are steep from one to the other."""
    if np.isnan(averaged).all():
        return 0, 0
    slope = np.nan_to_num(np.gradient(averaged, axis=1))
    slope = np.convolve(np.sqrt((slope**2).mean(axis=0)), np.ones(3) / 3, "same")
    first, last = BEFORE - _columns(0.1), BEFORE + _columns(0.12)
    calm = slope < _STEEP * slope[first:last].max()
    before = np.flatnonzero(calm[first : BEFORE - 2])
    after = np.flatnonzero(calm[BEFORE + 2 : last])
    return first + before[-1] + 1 if len(before) else first, BEFORE + 2 + after[0] if len(after) else last


def measure(beats: Beats) -> dict[str, float]:
    """Rhythm, QRS, and the waves of each lead and territory.

    Returns:
        By name, NaN where something could not be measured:

        * ``heart_rate`` in bpm; ``rr_spread`` (SD) and ``rr_range`` of the distances between beats, as shares of their
          mean; ``unusual`` share of the beats;
        * ``qrs_ms``, ``axis`` of QRS in the frontal plane in degrees, ``p_mv`` (height of P in the strip) and
          ``p_steady`` (how much alike the strip's single beats are where P is: 1 for the same in each, 0 for none);
        * by wave and lead, such as ``Q V3``, in mV against the level before QRS: ``P`` largest deflection before QRS;
          ``Q`` deepest before the first R, and its width ``Q_ms``; ``start`` mean of the first 40 ms of QRS; ``R``
          highest; ``S`` deepest after Q (a QS is both); ``R/S`` as ``R / (R + |S|)``; ``area`` mean of QRS; ``J`` level
          at its end and ``ST60`` 60 ms later; ``T`` largest deflection after it;
        * by wave and territory, such as ``Q inferior``, the mean of its leads, but for the width and R/S.
    """
    found = _rhythm(beats) | {f"{wave} {lead}": np.nan for wave in WAVES for lead in LEADS}
    for lead, beat in zip(LEADS, beats.averaged, strict=True):
        for wave, value in _waves(beat, beats).items():
            found[f"{wave} {lead}"] = float(value)
    for territory, leads in TERRITORIES.items():
        for wave in WAVES:
            if wave not in ("Q_ms", "R/S"):
                values = [found[f"{wave} {lead}"] for lead in leads]
                found[f"{wave} {territory}"] = float(np.nanmean(values)) if not np.isnan(values).all() else np.nan
    found["axis"] = float(np.degrees(np.arctan2(found["area aVF"], found["area I"])))
    return found


def _rhythm(beats: Beats) -> dict[str, float]:
    found = dict.fromkeys(
        ("heart_rate", "rr_spread", "rr_range", "unusual", "qrs_ms", "axis", "p_mv", "p_steady"), np.nan
    )
    if len(beats.peaks) < 2:
        return found
    between = np.diff(beats.peaks)
    found["heart_rate"] = beats.heart_rate
    found["rr_spread"] = float(between.std() / between.mean())
    found["rr_range"] = float(np.ptp(between) / between.mean())
    found["unusual"] = float(1 - beats.usual.mean())
    found["qrs_ms"] = 1000 * (beats.end - beats.onset) / PX_PER_SECOND
    p_wave = _p_wave(beats)
    found["p_mv"] = float(_largest(beats.strip[p_wave]))
    single = beats.each[beats.usual, p_wave]
    single = single[~np.isnan(single).any(axis=1)]
    if len(single) > 2:
        single = single - single.mean(axis=1, keepdims=True)
        # The mean's variance over that of single beats: 1 / n for noise, taken off, and 1 for the same wave in each.
        share = single.mean(axis=0).var() / max(single.var(), 1e-9)
        found["p_steady"] = float((share - 1 / len(single)) / (1 - 1 / len(single)))
    return found


def _p_wave(beats: Beats) -> slice:
    """The columns in which P is looked for: up to 0.2 s before QRS, and not where the beat before may still be."""
    reach = min(_columns(0.2), int(0.45 * np.median(np.diff(beats.peaks)))) if len(beats.peaks) > 1 else _columns(0.2)
    return slice(max(beats.onset - reach, 0), max(beats.onset - _columns(0.02), 1))


def _waves(beat: np.ndarray, beats: Beats) -> dict[str, float]:
    """The waves of one lead's averaged beat; nothing where its QRS was not read."""
    onset, end = beats.onset, beats.end
    qrs = beat[onset : end + 1]
    if end <= onset or np.isnan(qrs).all():
        return {}
    height = max(float(np.nanmax(qrs)), 0.0)
    rises = np.flatnonzero(qrs > _R_MV)
    before, after = (qrs[: rises[0]], qrs[rises[0] :]) if len(rises) else (qrs, qrs)
    q, s = (float(np.nanmin(part, initial=0.0)) for part in (before, after))
    found = {
        "P": _largest(beat[_p_wave(beats)]),
        "Q": q,
        "Q_ms": 1000 * np.sum(before < -_R_MV) / PX_PER_SECOND,
        "start": np.nanmean(qrs[:8]) if not np.isnan(qrs[:8]).all() else np.nan,  # 40 ms
        "R": height,
        "S": s,
        "R/S": height / max(height - s, _R_MV),
        "area": np.nanmean(qrs),
        "J": beat[end],
    }
    # T is over before the next P
    last = BEFORE + min(AFTER, int(0.65 * np.median(np.diff(beats.peaks)))) if len(beats.peaks) > 1 else BEFORE + AFTER
    found["ST60"] = beat[min(end + _columns(0.06), last - 1)]
    found["T"] = _largest(beat[end + _columns(0.08) : last])
    return found


def _largest(values: np.ndarray) -> float:
    """The value furthest from 0, NaN without any."""
    return values[np.nanargmax(np.abs(values))] if len(values) and not np.isnan(values).all() else np.nan
