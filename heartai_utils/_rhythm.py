"""When the heart beats: rates, rhythms and premature beats, and what the atria do without P waves."""

from __future__ import annotations

import math

import numpy as np

RATES: dict[str, tuple[float, float, float, float]] = {  # median, spread of its logarithm, slowest, fastest (bpm)
    "sinus rhythm": (72, 0.12, 50, 90),
    "ST elevation": (73, 0.27, 50, 126),
    "Q waves": (76, 0.19, 44, 121),
    "no Q waves": (76, 0.19, 44, 121),
    "sinus tachycardia": (106, 0.13, 91, 180),
    "atrial fibrillation": (104, 0.22, 60, 200),
    "flutter 2:1": (145, 0.08, 120, 180),
    "SVT": (182, 0.08, 150, 300),
    "PVC": (92, 0.15, 55, 130),
    "bigeminy": (88, 0.12, 55, 110),
    "PAC": (90, 0.13, 50, 130),
    "LBBB": (92, 0.15, 50, 130),
    "RBBB": (95, 0.15, 50, 140),
    "LVH with strain": (88, 0.12, 50, 130),
    "axis deviation": (86, 0.12, 50, 120),
    "paced": (72, 0.08, 50, 110),
    "bradycardia": (50, 0.12, 20, 59),
    "first-degree block": (84, 0.12, 40, 110),
}


def clipped(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return float(np.clip(rng.normal(mean, sd), low, high))


def fits(kind: str, heart_rate: float) -> bool:
    return RATES[kind][2] <= heart_rate <= RATES[kind][3]


def beats(
    kind: str, rate_bpm: float, seconds: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The beats from a second before the recording to a second after.

    Returns:
        times in seconds, kinds ("N", "V", "A" or "P") and the interval before each beat, in seconds.
    """
    rr = 60 / rate_bpm
    margin = 1.0 + 2 * rr
    count = int((seconds + 2 * margin) / (0.8 * rr)) + 4
    beat_kinds = np.full(count, "P" if kind == "paced" else "N")
    intervals = np.ones(count)
    variation = np.exp(clipped(rng, math.log(0.018), 0.55, math.log(0.005), math.log(0.05)))
    if kind == "atrial fibrillation":
        shape = 1 / rng.uniform(0.18, 0.28) ** 2
        intervals = rng.gamma(shape, 1 / shape, count).clip(0.5, 1.8)
    elif kind in ("SVT", "flutter 2:1", "paced"):
        intervals += rng.normal(0, 0.004, count)
    else:  # breathing speeds the heart up and slows it down
        breath = 2 * np.pi * rng.uniform(0.2, 0.33) * rr * np.arange(count) + rng.uniform(0, 2 * np.pi)
        slower = min(1.0, 80 / rate_bpm)  # fast hearts vary less
        intervals += slower * variation * (1.2 * np.sin(breath) + 0.5 * rng.normal(0, 1, count).clip(-2.5, 2.5))
    first, inside = int(margin / rr) + 1, max(2, int(seconds / rr))  # the first beat shown, and how many are
    if kind in ("PVC", "PAC", "bigeminy"):
        premature = np.arange(int(rng.integers(2)), count, 2)
        if kind != "bigeminy":
            shown = first + 1 + 2 * np.arange(max(1, (inside - 1) // 2))
            premature = np.sort(rng.choice(shown, size=min(len(shown), int(rng.integers(1, 4))), replace=False))
        early = 1 - (rng.uniform(0.62, 0.78) if kind == "PAC" else rng.uniform(0.56, 0.72))
        beat_kinds[premature] = "A" if kind == "PAC" else "V"
        intervals[premature] -= early
        # The pause after a ventricular beat makes up for its earliness, that after an atrial one does not.
        intervals[premature[premature + 1 < count] + 1] += early * (0.3 if kind == "PAC" else 1.0)
    times = np.cumsum(intervals) - intervals[0]
    times = (times - times[first] + rng.uniform(0, 1) * intervals[first]) * rr
    for _ in range(3):  # so that the mean rate inside the recording is the one asked for
        shown = times[(times >= 0) & (times < seconds)]
        if len(shown) > 2:
            factor = rr * (len(shown) - 1) / (shown[-1] - shown[0])
            times, intervals = times * factor, intervals * factor
    kept = (times > -1.0 - rr) & (times < seconds + 1.0 + rr)
    return times[kept], beat_kinds[kept], rr * intervals[kept]


def atrial_waves(kind: str, time: np.ndarray, r_times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the atria add without P waves, (3, samples): f waves of 4–9 Hz, or the saw teeth of flutter at 2:1."""
    if kind == "flutter 2:1":
        phase = 2 * np.pi * np.interp(time, r_times, 2.0 * np.arange(len(r_times))) + rng.uniform(0, 2 * np.pi)
        tooth = sum(np.sin(harmonic * phase) / harmonic**1.3 for harmonic in (1, 2, 3))
        return rng.uniform(0.05, 0.11) * np.array([[0.1], [-1.0], [-0.5]]) * tooth
    height = rng.uniform(0.02, 0.08)
    drift = 1.2 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * time + rng.uniform(0, 6))
    main = 2 * np.pi * rng.uniform(5.0, 7.5) * time + drift
    phases = rng.uniform(0, 2 * np.pi, 3)
    wave = np.sin(main + phases[0]) + 0.45 * np.sin(1.31 * main + phases[1]) + 0.3 * np.sin(2 * main + phases[2])
    swell = 1 + 0.35 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time + phases[1])
    return height * np.array([[-0.25], [0.35], [-0.9]]) * wave * swell
