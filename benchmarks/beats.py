"""Measure a heart on the traces read off a page: rate, QRS width, and R, Q, S, ST60 and T of each lead.

The same simple measurement is made on real and on simulated pages, so that their distributions can be compared; it is
no diagnostic tool. Single pages can be measured wrong, in the same way on both sides.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from heartai_utils.page import PX_PER_SECOND, ROW_LEADS, STRIP_COLUMNS, TRACE_X, Traces, lead_window
from heartai_utils.simulation import LEADS

_BEFORE, _AFTER = 60, 100  # columns of an averaged beat before and after its QRS: 0.3 and 0.5 s


def _columns(seconds: float) -> int:
    return round(seconds * PX_PER_SECOND)


def qrs_columns(traces: Traces) -> np.ndarray:
    """The columns of the QRS complexes in the ten seconds, by the slope of the strip and of the three leads above."""
    strip = _slope(traces.strip[None])
    energy = (strip / np.quantile(strip, 0.995)).clip(0, 1)
    for window in zip(*ROW_LEADS, strict=True):
        _, start, end, _, _ = lead_window(window[0])
        slope = _slope(traces.signals[[LEADS.index(lead) for lead in window]])[: STRIP_COLUMNS + TRACE_X - start]
        energy[start - TRACE_X : end - TRACE_X] += slope / max(slope.max(), 0.02)
    return find_peaks(energy, height=0.7, distance=_columns(0.26), prominence=0.4)[0]


def _slope(signals: np.ndarray) -> np.ndarray:
    """(columns,) the steepness of some leads together, over 60 ms."""
    return uniform_filter1d(np.abs(np.gradient(signals, axis=1)).sum(axis=0), _columns(0.06))


def average_beats(traces: Traces, peaks: np.ndarray) -> np.ndarray:
    """(12, columns) the median beat of each lead in its own window, QRS at ``_BEFORE``; NaN where there is none."""
    beats = np.full((len(LEADS), _BEFORE + _AFTER), np.nan)
    for index, lead in enumerate(LEADS):
        start, end = (x - TRACE_X for x in lead_window(lead)[1:3])
        signal = np.where(traces.unread[index], np.nan, traces.signals[index])
        signal = np.pad(signal, (_BEFORE, _AFTER), constant_values=np.nan)
        inside = peaks[(peaks >= start) & (peaks < end)] - start
        if len(inside):
            cut = signal[inside[:, None] + np.arange(_BEFORE + _AFTER)]
            known = ~np.isnan(cut).all(axis=0)
            beats[index, known] = np.nanmedian(cut[:, known], axis=0)
    return beats


def measure(traces: Traces) -> dict[str, float]:
    """Heart rate in bpm, QRS width in ms, and of each lead in mV: its median level; R, Q, S, ST60, T against PR.

    Returns:
        ``{"heart_rate": …, "qrs_ms": …, "level I": …, …, "T V6": …}``, NaN where something could not be measured.
    """
    peaks = qrs_columns(traces)
    features = {"heart_rate": np.nan, "qrs_ms": np.nan}
    features |= {f"level {lead}": float(np.median(traces.signals[index])) for index, lead in enumerate(LEADS)}
    features |= {f"{wave} {lead}": np.nan for wave in ("R", "Q", "S", "ST60", "T") for lead in LEADS}
    if len(peaks) < 2:
        return features
    between = np.diff(peaks)
    features["heart_rate"] = 60 * PX_PER_SECOND / between.mean()
    beats = average_beats(traces, peaks)
    slope = np.abs(np.gradient(beats, axis=1))
    slope = np.sqrt(np.nanmean(slope**2, axis=0, where=~np.isnan(slope)))
    slope = uniform_filter1d(np.nan_to_num(slope), 3)
    around = slice(_BEFORE - _columns(0.1), _BEFORE + _columns(0.12))
    steep = slope[around] > 0.18 * slope[around].max()
    middle = _columns(0.1)
    quiet_before = np.flatnonzero(~steep[:middle])
    quiet_after = np.flatnonzero(~steep[middle:])
    onset = around.start + (quiet_before[-1] + 1 if len(quiet_before) else 0)
    end = around.start + middle + (quiet_after[0] if len(quiet_after) else _columns(0.12))
    features["qrs_ms"] = 1000 * (end - onset) / PX_PER_SECOND
    reach = min(_AFTER, int(0.65 * np.median(between)))  # T is over before the next P
    for lead, beat in zip(LEADS, beats, strict=True):
        level = beat[max(onset - _columns(0.04), 0) : onset - 1]
        qrs = beat[onset : end + 1]
        if np.isnan(level).all() or np.isnan(qrs).all():
            continue
        beat = beat - np.nanmedian(level)
        qrs = beat[onset : end + 1]
        top = int(np.nanargmax(qrs))
        features[f"R {lead}"] = max(float(qrs[top]), 0.0)
        features[f"Q {lead}"] = min(float(np.nanmin(qrs[: top + 1])), 0.0)
        features[f"S {lead}"] = min(float(np.nanmin(qrs[top:])), 0.0)
        st = min(end + _columns(0.06), _BEFORE + reach - 1)
        features[f"ST60 {lead}"] = float(beat[st])
        wave = beat[end + _columns(0.08) : _BEFORE + reach]
        if not np.isnan(wave).all() and len(wave):
            features[f"T {lead}"] = float(wave[np.nanargmax(np.abs(wave))])
    return features
