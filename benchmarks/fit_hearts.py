"""Fit the table of hearts in ``heartai_utils/_fitted.py`` to real pages.

    python benchmarks/fit_hearts.py PAGES --out heartai_utils/_fitted.py

PAGES is a folder in the published layout (default: the environment variable HEARTAI_REAL_PAGES). In five steps:

1. The traces of each page are read back to mV, its beats found and aligned, and QRS, P and T timed on their average.
2. Each lead is fitted (ridge regression, outliers weighed down) by Gaussians at set places between P and T, added up
   over all beats and sent through the print filter: what is fitted is the heart before the filter.
3. A page's twelve sets of coefficients are split into a dipole and a body, a matrix near Dower's, in turns.
4. Dipole, body, size and times of all pages are summed up: a robust mean for each group, and the loadings of the
   directions in which they vary together, with each group's spread along them (principal components).
5. Means are corrected until hearts drawn from the table have the groups' mean leads: a product of two drawn
   quantities has not the product of their means.

No signal and no single page is kept, only these numbers. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import textwrap
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks
from tqdm.std import tqdm

from heartai_utils._dipole import DERIVE, DOWER, DOWER_ROWS, LEADS
from heartai_utils._heart import ONSET, T_PEAK, J
from heartai_utils.conditions import ABNORMAL_HEARTBEAT, HISTORY_OF_MI, MYOCARDIAL_INFARCTION, NORMAL
from heartai_utils.dataset import read_catalogue, write_whole
from heartai_utils.page import PX_PER_SECOND, STRIP_COLUMNS, WINDOW_COLUMNS, Traces, lead_window, load_page, read_traces
from heartai_utils.simulation import print_filter

FACTORS = 30
P_PEAK = -0.145
CENTRES = {"P": P_PEAK + np.arange(-2, 4) * 0.025, "QRS": np.arange(-6, 7) * 0.009, "T": 0.062 + np.arange(11) * 0.034}
WIDTHS = {"P": 0.019, "QRS": 0.0065, "T": 0.025}
RIDGE = {"P": (0.25, 0.5), "QRS": (0.07, 0.05), "T": (0.1, 0.6)}  # on height, and on its second difference
WEIGHTS = {"P": 5.0, "QRS": 1.0, "T": 2.5}  # low and long waves show on a page as high and short ones do
GROUPS = {
    NORMAL.name: "healthy",
    ABNORMAL_HEARTBEAT.name: "abnormal",
    HISTORY_OF_MI.name: "history",
    MYOCARDIAL_INFARCTION.name: "infarction",
}
NAMES = ("healthy", "abnormal", "history", "anterior scar", "infarction")

COUNTS = [len(CENTRES[wave]) for wave in CENTRES]
P, QRS, T = np.split(np.arange(sum(COUNTS)), np.cumsum(COUNTS)[:-1])
CENTRE = np.concatenate(list(CENTRES.values()))
WIDTH = np.repeat(list(WIDTHS.values()), COUNTS)
GRID = np.arange(-0.21, 0.45, 0.004)  # seconds from the R peak, on which waves are compared
SHAPES = np.exp(-0.5 * ((GRID - CENTRE[:, None]) / WIDTH[:, None]) ** 2)
WAVES = len(CENTRE)


class Timing(NamedTuple):
    """Of a page's average beat, seconds from where its beats are aligned; RR is the median."""

    rr: float
    onset: float
    j: float
    t_peak: float
    p_peak: float


# --- Beats of a page ------------------------------------------------------------------------------------------------


def beat_times(traces: Traces) -> np.ndarray:
    """(beats,) in seconds: where the slopes of all rows are steep, aligned by the rhythm strip."""
    strip = traces.strip.astype(float)
    activity = np.zeros(STRIP_COLUMNS)
    for start in range(0, STRIP_COLUMNS, WINDOW_COLUMNS):
        leads = [n for n, lead in enumerate(LEADS) if lead_window(lead)[3] == 2.5 * (start // WINDOW_COLUMNS)]
        slope = np.gradient(gaussian_filter1d(traces.signals[leads], 1.2, axis=1), axis=1)
        slope[:, :4] = slope[:, -4:] = 0
        steep = np.linalg.norm(slope, axis=0)
        activity[start : start + WINDOW_COLUMNS] = steep / (np.quantile(steep, 0.985) + 1e-6)
    slope = np.abs(np.gradient(gaussian_filter1d(strip, 1.2)))
    activity = gaussian_filter1d(activity + slope / (np.quantile(slope, 0.985) + 1e-6), 4)
    least = 0.35 * np.quantile(activity, 0.985)
    at = find_peaks(activity, height=least, distance=int(0.25 * PX_PER_SECOND))[0].astype(float)

    slope, around = np.gradient(gaussian_filter1d(strip, 1.0)), np.arange(-14, 15)
    columns, lags = np.arange(STRIP_COLUMNS), np.arange(-5, 5.01, 0.25)
    for _ in range(3):
        whole = at[(at > 16) & (at < STRIP_COLUMNS - 17)]
        usual = np.median([np.interp(x + around, columns, slope) for x in whole], axis=0)
        likeness = np.array([[np.interp(x + lag + around, columns, slope) @ usual for lag in lags] for x in at])
        best = lags[likeness.argmax(axis=1)]
        best[np.abs(best) > 4.8] = 0  # alike nowhere near
        at = at + best - np.median(best)
    return at / PX_PER_SECOND


def average_beat(traces: Traces, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Seconds around a beat, and the (12, samples) medians of the beats in each lead's window."""
    steps = np.arange(-int(0.4 * PX_PER_SECOND), int(0.7 * PX_PER_SECOND))
    beats = []
    for lead, signal in zip(LEADS, traces.signals, strict=True):
        at = (times - lead_window(lead)[3])[:, None] * PX_PER_SECOND + steps
        seen = np.interp(at, np.arange(WINDOW_COLUMNS), signal)
        seen[(at < 2) | (at > WINDOW_COLUMNS - 3)] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # where no beat reaches
            beats.append(np.nanmedian(seen, axis=0))
    return steps / PX_PER_SECOND, np.array(beats)


def timing(seconds: np.ndarray, beat: np.ndarray, rr: float) -> Timing:
    """Where QRS begins and ends and where T and P are highest, by the dipole that explains the leads best."""
    beat = gaussian_filter1d(beat, 0.8, axis=1)
    slope = np.linalg.norm(np.gradient(beat, axis=1), axis=0)
    near = np.flatnonzero(np.abs(seconds) < 0.08)
    middle = near[slope[near].argmax()]
    steep = (slope > 0.13 * slope[middle]) & (np.abs(seconds) < 0.13)

    def edge(step: int) -> float:
        last = at = middle
        while 0 <= at < len(seconds) and abs(at - last) <= 3:
            last = at if steep[at] else last
            at += step
        return seconds[last] + 0.004 * step

    onset, j = edge(-1), edge(1)
    vector = np.linalg.pinv(DOWER) @ beat

    def peak(from_s: float, to_s: float, level_from: float, level_to: float) -> float:
        level = vector[:, (seconds > level_from) & (seconds < level_to)].mean(axis=1, keepdims=True)
        length = gaussian_filter1d(np.linalg.norm(vector - level, axis=0), 3)
        inside = np.flatnonzero((seconds > from_s) & (seconds < to_s))
        return seconds[inside[length[inside].argmax()]] if len(inside) > 4 else np.nan

    t_peak = peak(j + 0.07, min(0.46 * np.sqrt(rr), 0.62 * rr), onset - 0.03, onset - 0.005)
    p_peak = peak(max(-0.24, -0.6 * rr), onset - 0.03, onset - 0.02, onset)
    return Timing(rr, onset, j, t_peak, p_peak)


# --- Gaussians through the print filter -----------------------------------------------------------------------------


def design(times: np.ndarray, timed: Timing) -> np.ndarray:
    """(waves, columns) what each Gaussian, in every beat of the page, prints on a strip of 10 s."""
    stretch = (timed.j - timed.onset) / (J - ONSET)
    middle = (timed.onset + timed.j) / 2 - stretch * (ONSET + J) / 2
    slower = (timed.t_peak - timed.j) / (T_PEAK - J)
    p_peak = timed.p_peak if np.isfinite(timed.p_peak) else middle + P_PEAK
    centre = np.r_[p_peak + CENTRE[P] - P_PEAK, middle + stretch * CENTRE[QRS], timed.j + slower * (CENTRE[T] - J)]
    width = np.r_[WIDTH[P], stretch * WIDTH[QRS], slower * WIDTH[T]]
    beyond = np.arange(1, 3) * timed.rr  # beats before and after the page reach into it
    margin = int(2 * PX_PER_SECOND)
    time = (np.arange(STRIP_COLUMNS + 2 * margin) - margin) / PX_PER_SECOND
    printed = np.zeros((WAVES, len(time)))
    for at in np.r_[times[0] - beyond[::-1], times, times[-1] + beyond]:
        part = slice(*np.searchsorted(time, [at - 0.5, at + 0.9]))
        printed[:, part] += np.exp(-0.5 * ((time[part] - at - centre[:, None]) / width[:, None]) ** 2)
    return print_filter(printed, PX_PER_SECOND)[:, margin : margin + STRIP_COLUMNS]


def penalty() -> np.ndarray:
    """(rows, waves): rows of the ridge."""
    rows = []
    for part, (height, bend) in zip((P, QRS, T), RIDGE.values(), strict=True):
        rows.append(height * np.eye(WAVES)[part])
        rows.append(bend * np.diff(np.eye(WAVES)[part], n=2, axis=0))
    return np.vstack(rows)


def fit_leads(traces: Traces, times: np.ndarray, timed: Timing) -> tuple[np.ndarray, float]:
    """(12, waves) heights in mV, and the root mean square of what they leave, in mV."""
    printed, x = design(times, timed), np.linspace(-1, 1, WINDOW_COLUMNS)
    trend = np.stack([np.ones_like(x), x, x * x - 1 / 3])
    ridge = np.pad(penalty(), ((0, 0), (0, len(trend))))
    heights, left = [], []
    for lead, signal, unread in zip(LEADS, traces.signals.astype(float), traces.unread, strict=True):
        start = round(lead_window(lead)[3] / 2.5) * WINDOW_COLUMNS
        columns = np.vstack([printed[:, start : start + WINDOW_COLUMNS], trend])
        read = ~unread
        read[:3] = read[-3:] = False
        weight = read.astype(float)
        for _ in range(3):
            solved = np.linalg.solve((columns * weight) @ columns.T + ridge.T @ ridge, (columns * weight) @ signal)
            rest = np.abs(signal - solved @ columns)
            usual = max(0.012, 1.5 * float(np.median(rest[read])))
            weight = read / np.maximum(1, rest / (2.5 * usual))
        heights.append(solved[:WAVES])
        left.append(rest[read] ** 2)
    return np.array(heights), float(np.sqrt(np.concatenate(left).mean()))


# --- Dipole and body ------------------------------------------------------------------------------------------------


def split(heights: np.ndarray, nearness: float = 0.05, rounds: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """One page's (12, waves) as the (3, waves) of a dipole and the (8, 3) of a body near Dower's."""
    leads, measured = heights @ SHAPES, np.linalg.pinv(DERIVE) @ heights @ SHAPES
    body = DOWER_ROWS
    for _ in range(rounds):
        vector = np.linalg.pinv(DERIVE @ body) @ leads
        gram = vector @ vector.T
        near = nearness * np.trace(gram) * np.eye(3)
        body = DOWER_ROWS + np.linalg.solve(gram + near, vector @ (measured - DOWER_ROWS @ vector).T).T
    return np.linalg.pinv(DERIVE @ body) @ heights, body - DOWER_ROWS


def unpack(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dipoles (n, 3, waves) with QRS by its size, bodies (n, 8, 3) and sizes (n,) of rows of the table."""
    dipoles, size = rows[:, : 3 * WAVES].reshape(-1, 3, WAVES).copy(), rows[:, -4]
    dipoles[:, :, QRS] *= np.exp(size)[:, None, None]
    return dipoles, DOWER_ROWS + rows[:, 3 * WAVES : -4].reshape(-1, 8, 3), size


def as_seen(rows: np.ndarray) -> np.ndarray:
    """Rows of the table in coordinates in which all counts as much as it shows on a page."""
    dipoles, bodies = rows[:, : 3 * WAVES].reshape(-1, 3, WAVES), rows[:, 3 * WAVES : -4].reshape(-1, 8, 3)
    gram = SHAPES @ SHAPES.T
    weight = np.repeat(list(WEIGHTS.values()), COUNTS) * np.sqrt(np.diag(gram))
    axes = np.linalg.cholesky(DOWER.T @ DOWER).T @ (dipoles * weight)
    mean = dipoles.mean(axis=0)
    limbs = np.array([2, 2, 1, 1, 1, 1, 1, 1])[:, None]  # four more leads follow from I and II
    bodies = 2.1 * (bodies * limbs) @ np.linalg.cholesky(mean @ gram @ mean.T)
    return np.hstack([axes.reshape(len(rows), -1), bodies.reshape(len(rows), -1), rows[:, -4:] * [3, 6, 4, 50]])


# --- The table ------------------------------------------------------------------------------------------------------


def robust_mean(rows: np.ndarray, seen: np.ndarray) -> np.ndarray:
    far = np.linalg.norm(seen - np.median(seen, axis=0), axis=1)
    return np.average(rows, axis=0, weights=np.minimum(1, np.quantile(far, 0.7) / far))


def summed_up(rows: np.ndarray, groups: np.ndarray) -> tuple[dict, dict, np.ndarray]:
    """Means and spreads by group, and the (factors, numbers) loadings they share."""
    seen, means = as_seen(rows), {}
    apart, seen_apart = rows.copy(), seen.copy()
    for name in NAMES:
        own = groups == name
        means[name] = robust_mean(rows[own], seen[own])
        apart[own] -= means[name]
        seen_apart[own] -= robust_mean(seen[own], seen[own])
    many = groups != "infarction"  # too few to say how they vary
    far = np.linalg.norm(seen_apart, axis=1)
    nearer = np.minimum(1, np.quantile(far[many], 0.93) / far)[:, None]
    apart, seen_apart = apart * nearer, seen_apart * nearer
    directions = np.linalg.svd(seen_apart[many], full_matrices=False)[2][:FACTORS]
    scores = seen_apart @ directions.T
    usual = scores[many].std(axis=0)
    loadings = np.linalg.lstsq(scores[many], apart[many], rcond=None)[0] * usual[:, None]
    spreads = {name: scores[groups == name].std(axis=0) / usual for name in NAMES}
    return means, spreads, loadings


def corrected(mean: np.ndarray, spread: np.ndarray, loadings: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The mean from which drawn hearts have the (8, waves) mean leads of their group, as near as may be."""
    rng, mean = np.random.default_rng(0), mean.copy()
    for _ in range(8):
        scores = spread * rng.standard_normal((3000, len(spread))).clip(-2.5, 2.5)
        dipoles, bodies, _ = unpack(mean + scores @ loadings)
        gap = target - np.einsum("nij,njk->ik", bodies, dipoles) / len(scores)
        body, vector = bodies.mean(axis=0), dipoles.mean(axis=0) @ SHAPES
        step = np.linalg.pinv(DERIVE @ body) @ (DERIVE @ gap)
        rest = (gap - body @ step) @ SHAPES
        step[:, QRS] *= 0.9 * np.exp(-mean[-4])
        gram = vector @ vector.T
        gram += 0.4 * np.trace(gram) * np.eye(3)  # bodies stay near Dower's
        mean[: 3 * WAVES] += 0.8 * step.ravel()
        mean[3 * WAVES : -4] += 0.8 * np.linalg.solve(gram, vector @ rest.T).T.ravel()
    return mean


def has_anterior_scar(heights: np.ndarray) -> bool:
    """No R to speak of in V2 and V3, and a deep beginning."""
    leads = (heights @ SHAPES)[[LEADS.index("V2"), LEADS.index("V3")]]
    leads = leads - leads[:, (GRID > -0.075) & (GRID < -0.055)].mean(axis=1, keepdims=True)
    early, qrs = leads[:, (GRID > -0.05) & (GRID < -0.005)], leads[:, np.abs(GRID) < 0.05]
    return bool((early.min(axis=1) < -0.15).all() and (qrs.max(axis=1) < 0.35).all())


def table(means: dict, spreads: dict, loadings: np.ndarray) -> str:
    """The source of ``_fitted.py``."""

    def text(numbers: np.ndarray, indent: int) -> str:
        return textwrap.fill(" ".join(f"{number:g}" for number in numbers), 118, initial_indent=" " * indent,
                             subsequent_indent=" " * indent)  # fmt: skip

    def row(numbers: np.ndarray, indent: int, digits: int = 0) -> str:
        return f'_row("""\n{text(np.round(1000 * numbers, digits), indent + 4)}\n{" " * indent}""")'

    by_name = [f'    "{name}": {row(means[name], 4)},' for name in NAMES]
    spread = [f'    "{name}": {row(spreads[name].round(2), 4)},' for name in NAMES]
    factors = [f"    {row(factor, 4)}," for factor in loadings]
    return "\n".join(
        [
            '"""Hearts as they vary on the published pages: a table made by ``benchmarks/fit_hearts.py``, not by hand.',
            "",
            "A heart is ``MEAN[group] + scores @ LOADINGS``; its scores are independent, normal, of the deviations",
            "``SPREAD[group]``. Its numbers are the heights in mV of the waves at ``CENTRE`` along x, then y, then z;",
            "what the body adds to the Dower matrix, row by row; the logarithms of the size of QRS, its duration and",
            "that of JT, against the beat kept; and the seconds from the peak of P to the onset of QRS.",
            '"""',
            "",
            "from __future__ import annotations",
            "",
            "import numpy as np",
            "",
            "",
            "def _row(thousandths: str) -> np.ndarray:",
            "    return np.array(thousandths.split(), dtype=float) / 1000",
            "",
            "",
            f"CENTRE = {row(CENTRE, 0)}",
            f"WIDTH = {row(WIDTH, 0, 1)}",
            "MEAN = {", *by_name, "}",
            "SPREAD = {", *spread, "}",
            "# fmt: off",
            "LOADINGS = np.array([", *factors, "])",
            "# fmt: on",
            "",
        ]
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", type=Path, nargs="?", default=os.environ.get("HEARTAI_REAL_PAGES"))
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    if chosen.pages is None:
        parser.error("name the folder of real pages, or set HEARTAI_REAL_PAGES to it")
    catalogue, _ = read_catalogue(chosen.pages)
    rows, groups, leads, left_out = [], [], [], 0
    for page in tqdm(list(catalogue.drop_duplicates("copy_group").itertuples()), desc="pages", leave=False):
        traces = read_traces(load_page(page.path))
        times = beat_times(traces)
        rr = float(np.median(np.diff(times)))
        timed = timing(*average_beat(traces, times), rr)
        if not np.isfinite(timed.t_peak):
            left_out += 1
            continue
        heights, rest = fit_leads(traces, times, timed)
        if rest > 0.14:  # beats of several kinds, or not found
            left_out += 1
            continue
        dipole, body = split(heights)
        size = np.log(np.linalg.norm(dipole[:, QRS] @ SHAPES[QRS]))
        width = np.log((timed.j - timed.onset) / (J - ONSET))
        jt = np.log((timed.t_peak - timed.j) / (T_PEAK - J)) - 0.5 * np.log(rr)
        to_qrs = timed.onset - timed.p_peak if np.isfinite(timed.p_peak) else 0.1
        rows.append(np.r_[dipole.ravel(), body.ravel(), size, width, jt, to_qrs])
        group = GROUPS[page.condition]
        groups.append("anterior scar" if group == "history" and has_anterior_scar(heights) else group)
        leads.append(np.linalg.pinv(DERIVE) @ heights)
    rows, groups, leads = np.array(rows), np.array(groups), np.array(leads)
    rows[:, -4] -= np.median(rows[:, -4])
    rows[:, : 3 * WAVES].reshape(-1, 3, WAVES)[:, :, QRS] *= np.exp(-rows[:, -4])[:, None, None]

    means, spreads, loadings = summed_up(rows, groups)
    for name in NAMES:
        own = leads[groups == name]
        size = np.linalg.norm(own @ SHAPES, axis=(1, 2))
        target = np.average(own, axis=0, weights=np.minimum(1, np.quantile(size, 0.85) / size))
        means[name] = corrected(means[name], spreads[name], loadings, target)
        means[name][-4] += 0.06  # what aligning beats by columns of 5 ms takes off their peaks
    # ST and T of an infarction are its mechanism's; of so few pages, the rest goes halfway to the healthy.
    t_waves = np.r_[np.tile(np.isin(np.arange(WAVES), T), 3), np.zeros(28, bool)]
    middle = (means["infarction"] + means["healthy"]) / 2
    means["infarction"] = np.where(t_waves, means["healthy"], middle)
    spreads["infarction"] = np.minimum(spreads["infarction"], 1.2)
    write_whole(chosen.out, table(means, spreads, 0.95 * loadings).encode())
    counted = {name: int((groups == name).sum()) for name in NAMES}
    print(json.dumps({"pages": len(rows), "left_out": left_out, **counted, "factors": FACTORS}))


if __name__ == "__main__":
    main()
