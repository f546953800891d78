"""Between the heart and the paper: breathing, electrodes, noise and the print filter."""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from heartai_utils._dipole import LEADS

PRINT_FILTERS = ("causal", "zero-phase")
PRINT_BAND_HZ = (0.67, 25.0)


@cache
def _sections(rate: float) -> np.ndarray:
    from scipy import signal  # slow to import

    return signal.butter(1, PRINT_BAND_HZ, "bandpass", fs=rate, output="sos")


def print_filter(signals: np.ndarray, rate: float, mode: str | None = "zero-phase") -> np.ndarray:
    """Filter as the printer does: a first-order Butterworth band-pass of 0.67 to 25 Hz, as the page's footer says.

    Run forwards only ("causal"), it turns an ST elevation of 0.20 mV into about 0.12 and lets the trace sink below its
    level after every T; run forwards and backwards ("zero-phase") it makes about 0.18 of it and leaves the segment from
    T to P as flat as it is on the published pages.

    Args:
        signals: (..., samples).
        rate: samples per second; above 50.
        mode: "causal", "zero-phase", or None for no filter.

    Returns:
        Filtered signals of the same shape, float64.

    Raises:
        ValueError: if there is no such mode.
    """
    signals = np.asarray(signals, dtype=np.float64)
    if mode is None:
        return signals
    if mode not in PRINT_FILTERS:
        raise ValueError(f"no print filter {mode!r}: use one of {', '.join(PRINT_FILTERS)} or None")
    from scipy import signal  # slow to import

    sections = _sections(rate)
    if mode == "zero-phase":
        return signal.sosfiltfilt(sections, signals)
    # Begin as if the first sample had always been there, else the filter rings at the left edge of the page.
    start = signal.sosfilt_zi(sections).reshape(len(sections), *[1] * (signals.ndim - 1), 2) * signals[None, ..., :1]
    return signal.sosfilt(sections, signals, zi=start)[0]


# What nine electrodes (right arm, left arm, left leg, six on the chest) make of the eight independent leads.
_ELECTRODES = np.zeros((8, 9))
_ELECTRODES[:2, :3] = [[-1, 1, 0], [-1, 0, 1]]
_ELECTRODES[2:, :3] = -1 / 3
_ELECTRODES[2:, 3:] = np.eye(6)


# mV/√Hz of each electrode before the print filter: drift at 1 Hz, most at the chest, and muscle, most at the limbs
_DRIFT = 0.001 * np.array([[13, 13, 13, 15, 15, 16, 17, 18, 20]]).T
_MUSCLE = 0.001 * np.array([[1.5, 1.2, 1.3, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]).T
_NOISE_HZ = 80.0  # the print filter leaves nothing worth the time above


def noise(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(8, samples) of drift, muscle and mains in the independent leads, picked up by nine electrodes.

    Drift falls with the power 1.4 of the frequency and muscle is white. With these heights, and with the spread from
    page to page and from electrode to electrode, what the print filter leaves of them has the spectrum of what the
    beats of the published pages do not explain.
    """
    count, step = len(time), time[1] - time[0]
    hertz = np.arange(1, int(min(_NOISE_HZ, 0.45 / step) * count * step)) / (count * step)
    drift = _DRIFT * np.exp(rng.normal(0, 0.6) + rng.normal(0, 0.5, (9, 1)))
    muscle = _MUSCLE * np.exp(rng.normal(0, 0.4) + rng.normal(0, 0.25, (9, 1)))
    density = np.hypot(drift * hertz**-1.4, muscle)
    parts = rng.standard_normal((2, 9, len(hertz)))
    spectrum = np.zeros((9, count // 2 + 1), complex)
    spectrum[:, 1 : len(hertz) + 1] = density * (parts[0] + 1j * parts[1])
    picked_up = np.fft.irfft(spectrum * math.sqrt(count / step) / 2, count)
    mains = np.sin(2 * np.pi * 50 * time + rng.uniform(0, 2 * np.pi))
    return _ELECTRODES @ (picked_up + rng.uniform(0, 0.004, (9, 1)) * mains)


def breathing(vector: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Breathing turns the heart by a few degrees and moves it nearer to and further from the chest."""
    breath = np.sin(2 * np.pi * rng.uniform(0.18, 0.35) * time + rng.uniform(0, 2 * np.pi))
    turn, gain = rng.uniform(0.02, 0.08) * breath, 1 + rng.uniform(0.02, 0.07) * breath
    x, y, z = vector
    return np.stack([x - turn * y, y + turn * x, z]) * gain


def electrode_off(
    leads: np.ndarray, time: np.ndarray, seconds: float, rng: np.random.Generator
) -> dict[str, object] | None:
    """On 7 % of recordings a chest electrode is off for a while: its lead, (8, samples) in place, is flat."""
    off, lead = rng.uniform() < 0.07, int(rng.integers(6))
    length = min(rng.uniform(1, 4), 0.5 * seconds)
    begin = rng.uniform(0, seconds - length)
    if not off:
        return None
    leads[2 + lead, (time >= begin) & (time < begin + length)] = 0.0
    return {"lead": LEADS[6 + lead], "from_s": round(begin, 3), "to_s": round(begin + length, 3)}
