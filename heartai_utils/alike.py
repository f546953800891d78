"""Which simulated heart is most like the one on a page, in what can be measured on both.

A bank of simulated hearts comes with the course (data/weights/hearts.npz, made by `benchmarks/hearts.py`): of each its
condition, the seed that makes it again, and what `beat_features.measure` finds on it. A page's own measurements are
compared with all of them::

    >>> heart = load_hearts().nearest(measure(find_beats(read_traces(image))))
    >>> heart.recording.condition.name, heart.recording.facts["kind"], heart.distance
    ('Abnormal heartbeat', 'atrial fibrillation', 0.61)

Alike in these measurements is not a diagnosis: hearts of two conditions can measure alike, and the simulator knows few
of the ways in which a heart can be ill. The record (data/weights/hearts.json) counts how often the most alike heart
has the condition that a page is labelled with.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from heartai_utils.conditions import CONDITIONS
from heartai_utils.page import (
    STRIP_COLUMNS,
    TRACE_X,
    WINDOW_COLUMNS,
    Traces,
    lead_window,
    x_to_seconds,
)
from heartai_utils.simulation import LEADS, Recording, simulate_recording

HEARTS = Path(__file__).resolve().parents[1] / "data" / "weights" / "hearts.npz"

GROUPS: dict[str, tuple[str, ...]] = {
    "rhythm": ("heart_rate", "rr_spread", "unusual", "qrs_ms", "p_steady"),
    **{wave: tuple(f"{wave} {lead}" for lead in LEADS) for wave in ("Q", "R", "S", "ST60", "T")},
}
"""The measurements that are compared, as `beat_features.measure` names them. Each group counts alike."""

NAMES = tuple(name for names in GROUPS.values() for name in names)

_FARTHEST = 4.0  # standard deviations: farther apart in one measurement is not told from so far
_LEAST = 0.5  # share of the measurements that must be known
_STEPS = 1000  # of each measurement between its lowest and highest, in which it is stored


def traces_of(recording: Recording, rhythm_lead: str = "II") -> Traces:
    """What `page.read_traces` gives of a recording's page if it reads everything right, without drawing the page.

    Args:
        recording: of 10 s at least.
        rhythm_lead: the lead of the strip.
    """
    moments = np.arange(recording.signals.shape[1]) / recording.rate

    def seen(lead: str, first: int, columns: int) -> np.ndarray:
        return np.interp(x_to_seconds(first + np.arange(columns)), moments, recording.lead(lead)).astype(np.float32)

    signals = np.stack([seen(lead, lead_window(lead)[1], WINDOW_COLUMNS) for lead in LEADS])
    strip = seen(rhythm_lead, TRACE_X, STRIP_COLUMNS)
    return Traces(signals, np.zeros(signals.shape, bool), strip, np.zeros(strip.shape, bool), rhythm_lead)


@dataclass(frozen=True)
class AlikeHeart:
    """A simulated heart and how far it is from a page.

    Attributes:
        label: of its condition.
        seed: with which `simulate_recording` makes it again.
        distance: in standard deviations of the bank's hearts: the root of the mean square over groups, within a group
            over measurements.
        apart: the same of each group alone, NaN where nothing of it was measured.
    """

    label: int
    seed: int
    distance: float
    apart: dict[str, float]

    @cached_property
    def recording(self) -> Recording:
        """The heart itself, with its ``facts``."""
        return simulate_recording(CONDITIONS[self.label], self.seed)


@dataclass(frozen=True, eq=False)
class Hearts:
    """The bank.

    Attributes:
        labels: (hearts,) int, of their conditions.
        seeds: (hearts,) int.
        measured: (hearts, measurements) float32 in the order of ``NAMES``; NaN where something could not be measured.
        record: how it was made, and how often the most alike heart has a page's condition.
    """

    labels: np.ndarray
    seeds: np.ndarray
    measured: np.ndarray
    record: dict

    @cached_property
    def _spread(self) -> np.ndarray:
        return np.maximum(np.nanstd(self.measured, axis=0), 1e-6)

    def distances(self, measured: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
        """How far a page is from every heart, see `AlikeHeart`: (hearts,), and (hearts, groups)."""
        away = (self.measured - np.array([measured[name] for name in NAMES], np.float32)) / self._spread
        squares = np.square(away.clip(-_FARTHEST, _FARTHEST))
        ends = np.cumsum([len(names) for names in GROUPS.values()])
        by_group = np.stack([_mean(part) for part in np.split(squares, ends[:-1], axis=1)], axis=1)
        far = np.sqrt(_mean(by_group))
        far[np.isfinite(squares).mean(axis=1) < _LEAST] = np.nan
        return far, np.sqrt(by_group)

    def nearest(self, measured: dict[str, float]) -> AlikeHeart | None:
        """The heart most like a page's, by what `beat_features.measure` found; None if too little could be measured."""
        far, by_group = self.distances(measured)
        if np.isnan(far).all():
            return None
        best = int(np.nanargmin(far))
        apart = {name: float(each) for name, each in zip(GROUPS, by_group[best], strict=True)}
        return AlikeHeart(int(self.labels[best]), int(self.seeds[best]), float(far[best]), apart)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the second axis, of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    return np.where(known, values, 0).sum(axis=1) / np.where(known.any(axis=1), known.sum(axis=1), np.nan)


def load_hearts(path: str | Path = HEARTS) -> Hearts:
    """The bank that comes with the course.

    Raises:
        ValueError: it is missing or damaged, or holds other measurements than ``NAMES``.
    """
    path = Path(path)
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        with np.load(path) as stored:
            parts = {name: stored[name] for name in ("labels", "seeds", "low", "high", "steps")}
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} or its record is missing or damaged ({error}): restore data/weights") from error
    if record["measurements"] != list(NAMES):
        raise ValueError(f"{path} holds other measurements than this version compares: make it anew")
    steps = parts["steps"].astype(np.float32)
    measured = np.where(steps < 0, np.nan, parts["low"] + steps / _STEPS * (parts["high"] - parts["low"]))
    return Hearts(parts["labels"], parts["seeds"], measured.astype(np.float32), record)


def packed(hearts: Hearts) -> dict[str, np.ndarray]:
    """What `load_hearts` reads back: measurements as whole steps, so that the file stays small; -1 for NaN."""
    low, high = np.nanmin(hearts.measured, axis=0), np.nanmax(hearts.measured, axis=0)
    share = (hearts.measured - low) / np.maximum(high - low, 1e-9)
    steps = np.where(np.isnan(share), -1, np.rint(_STEPS * np.nan_to_num(share))).astype(np.int16)
    return {"labels": hearts.labels, "seeds": hearts.seeds, "low": low, "high": high, "steps": steps}
