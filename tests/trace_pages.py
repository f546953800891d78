"""Traces of simulated hearts as if read off a page, without drawing one: for tests that need many."""

from __future__ import annotations

import numpy as np

from heartai_utils import page as p
from heartai_utils.simulation import LEADS, Recording


def traces_of(recording: Recording) -> p.Traces:
    """What `read_traces` gives where it reads everything right."""
    moments = np.arange(recording.signals.shape[1]) / recording.rate

    def seen(lead: str, first: int, columns: int) -> np.ndarray:
        return np.interp(p.x_to_seconds(first + np.arange(columns)), moments, recording.lead(lead)).astype(np.float32)

    signals = np.stack([seen(lead, p.lead_window(lead)[1], p.WINDOW_COLUMNS) for lead in LEADS])
    strip = seen("II", p.TRACE_X, p.STRIP_COLUMNS)
    return p.Traces(signals, np.zeros(signals.shape, bool), strip, np.zeros(strip.shape, bool), "II")
