"""Reading a page back: whether an image is one, and from its ink to millivolts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from heartai_utils._layout import (
    BASELINES,
    FRAME,
    HEIGHT,
    MAJOR_COLUMNS,
    NAME_BASELINES,
    NAME_COLUMNS,
    NAME_HEIGHT,
    ROW_LEADS,
    RULE_COLUMNS,
    RULE_HEIGHT,
    RULE_ROWS,
    SEPARATOR_ROWS,
    SEPARATORS,
    STRIP_COLUMNS,
    STRIP_ROW,
    TRACE_X,
    WIDTH,
    WINDOW_COLUMNS,
    grid_dots,
    lead_window,
    y_to_mv,
)
from heartai_utils.simulation import LEADS

_DARK, _PALE = 110, 235  # grey levels: ink and dots below the one, paper above the other, the frame between
_REACH = (260, 250)  # px above and below the baseline in which a row's trace is looked for
_PEN = 1  # px of the pen on either side of its middle
_FAR = 0.02  # cost per px and column away from the baseline, against 1 per px of a jump
_STEEP = 10  # px of ink in one column; without both its neighbours it cannot be read
_COLUMNS = 4 * WINDOW_COLUMNS + 1


def looks_like_a_page(image: np.ndarray) -> tuple[bool, str]:
    """Whether an image is such a page, by what every page prints in the same place.

    Args:
        image: (height, width) or (height, width, 3), uint8.

    Returns:
        True and an empty text, or False and the first thing that is not as on a page.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)):
        return False, f"an array {image.shape} of {image.dtype} is no grey or RGB image of uint8"
    if image.shape[:2] != (HEIGHT, WIDTH):
        return False, f"it is {image.shape[1]}×{image.shape[0]}, not {WIDTH}×{HEIGHT}"
    grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    dark, pale = grey < _DARK, grey > _PALE
    left, top, right, bottom = FRAME

    margins = (pale[:25], pale[bottom + 40 :], pale[:, : left - 5], pale[:, right + 5 :])
    if min(part.mean() for part in margins) < 0.95:
        return False, "the margins are not white"
    inner = slice(RULE_COLUMNS[0] + 5, RULE_COLUMNS[1] - 5)
    rules = min(dark[y : y + RULE_HEIGHT, inner].mean() for y in RULE_ROWS)
    if rules < 0.95 or dark[RULE_ROWS[0] + RULE_HEIGHT, inner].mean() > 0.05:
        return False, "the double rule below the header is missing"
    tinted = ~dark & ~pale
    across = tinted[[top + 1, bottom - 2], left:right]
    down = tinted[top:bottom, [left + 1, right - 3]]
    if min(*across.mean(axis=1), *down.mean(axis=0)) < 0.8:
        return False, "the frame is missing"
    for row, foot in enumerate(BASELINES):
        pulse = dark[foot - 78 : foot, 104:124]
        drawn = min(pulse[:, :3].mean(), pulse[:, -4:].mean(), dark[foot, 97:106].mean())
        if drawn < 0.9 or pulse[4:, 5:-6].mean() > 0.2:
            return False, f"the calibration pulse of row {row + 1} is missing"
    if min(dark[slice(*SEPARATOR_ROWS), x + 1].mean() for x, _ in SEPARATORS) < 0.95:
        return False, "the lines between the columns of leads are missing"
    inside = grey[top + 8 : bottom - 8]
    if inside[:, MAJOR_COLUMNS + 2].mean() - inside[:, MAJOR_COLUMNS].mean() < 15:
        return False, "the dotted grid is missing"
    for row, y in enumerate(BASELINES):
        band = dark[y - 150 : y + 150, TRACE_X : TRACE_X + STRIP_COLUMNS]
        if (band.sum(axis=0) >= 3).mean() < 0.9:
            return False, f"row {row + 1} has no whole trace"
    return True, ""


@dataclass(frozen=True, eq=False)
class Traces:
    """What a page shows, one sample a pixel column, that is at `PX_PER_SECOND`.

    Attributes:
        signals: (12, 492) float32 in mV: each lead in its own window of 2.5 s (see `lead_window`).
        unread: (12, 492) bool: columns that could not be read; their signal is interpolated.
        strip: (1968,) float32 in mV: the rhythm strip of 10 s.
        strip_unread: (1968,) bool.
        rhythm_lead: the strip's lead, by its likeness to the window of II or III; None if it is like neither.
    """

    signals: np.ndarray
    unread: np.ndarray
    strip: np.ndarray
    strip_unread: np.ndarray
    rhythm_lead: str | None


def read_traces(page: np.ndarray) -> Traces:
    """Read the traces of a page.

    In each row the ink is followed column by column: of all ways through the dark runs of the columns, the one with
    the smallest jumps is taken (Viterbi). Dots of the grid are taken out first. Columns are marked unread where a
    separator or a lead's name covers the trace, and where the ink breaks off.

    Args:
        page: (1572, 2213) or (1572, 2213, 3) uint8, a page that `looks_like_a_page` accepts.

    Raises:
        ValueError: for another size.
    """
    if page.shape[:2] != (HEIGHT, WIDTH):
        raise ValueError(f"the image is {page.shape[1]}×{page.shape[0]}; a page is {WIDTH}×{HEIGHT}")
    grey = page if page.ndim == 2 else cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)
    ink = grey < _DARK
    y, x = grid_dots()
    above, below = ink[y - 1, x], ink[y + 1, x]
    ink[y, x] = (above & below) | ((above | below) & ink[y, x - 1] & ink[y, x + 1])

    rows = [_follow(ink, row) for row in range(STRIP_ROW + 1)]
    signals, unread = [], []
    for lead in LEADS:
        row, start, end, _, _ = lead_window(lead)
        window = slice(start - TRACE_X, end - TRACE_X)
        signals.append(rows[row][0][window])
        unread.append(rows[row][1][window])
    strip, strip_unread = (part[:STRIP_COLUMNS] for part in rows[STRIP_ROW])
    signals = np.array(signals)
    return Traces(signals, np.array(unread), strip, strip_unread, _rhythm_lead(signals, strip))


def _rhythm_lead(signals: np.ndarray, strip: np.ndarray) -> str | None:
    misses = {lead: np.median(np.abs(signals[LEADS.index(lead)] - strip[:WINDOW_COLUMNS])) for lead in ("II", "III")}
    lead = min(misses, key=misses.get)
    return lead if misses[lead] < 0.05 else None


def _follow(ink: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Follow one row's trace; returns it in mV and the columns that were not read."""
    top = max(BASELINES[row] - _REACH[0], 0)
    band = ink[top : BASELINES[row] + _REACH[1], TRACE_X : TRACE_X + _COLUMNS].copy()
    fresh = np.zeros(_COLUMNS, bool)  # where another lead begins, anywhere
    if row < STRIP_ROW:
        for x, width in SEPARATORS:
            start, end = x - TRACE_X - _PEN, x - TRACE_X + width + _PEN
            band[:, start:end] = False
            fresh[end] = True
    first, last = _best_runs(band, BASELINES[row] - top, fresh)
    first, last = first + top, last + top
    for lead in ROW_LEADS[row] if row < STRIP_ROW else ("II", "III"):
        start, end = (x - TRACE_X for x in NAME_COLUMNS[lead])
        name = slice(start - 1, end + 2)
        bottom = NAME_BASELINES[row]
        merged = (first[name] < bottom) & (last[name] >= bottom - NAME_HEIGHT)
        first[name][merged] = last[name][merged] = np.nan

    lonely = np.isnan(_neighbours(first, np.maximum)) & (last - first > _STEEP)
    first[lonely] = last[lonely] = np.nan

    # The pen's middle passed between these two: the ink less what the pen adds above, below, left and right.
    low, high = _neighbours(first, np.fmax) + _PEN, _neighbours(last, np.fmin) - _PEN
    y = (low + high) / 2
    around = np.stack([np.r_[y[0], y[:-1]], np.r_[y[1:], y[-1]]])
    rise = np.fmin(*around) - low
    fall = high - np.fmax(*around)
    y = np.where((rise > 1) & (rise > fall), low, np.where((fall > 1) & (fall > rise), high, y))

    unread = np.isnan(y)
    columns = np.arange(_COLUMNS)
    y = np.interp(columns, columns[~unread], y[~unread]) if not unread.all() else np.full(_COLUMNS, BASELINES[row])
    return y_to_mv(y, row).astype(np.float32), unread


def _neighbours(values: np.ndarray, worst: np.ufunc) -> np.ndarray:
    """The larger or smaller of each value and the two beside it, leaving NaN where it is."""
    padded = np.pad(values, 1, constant_values=np.nan)
    filtered = worst(worst(padded[:-2], padded[2:]), values)
    return np.where(np.isnan(values), np.nan, filtered)


def _best_runs(band: np.ndarray, baseline: int, fresh: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The run of ink in each column that belongs to the trace: its first and last row, NaN where there is none.

    A way costs the gaps in px between the runs of neighbouring columns, and a little for being far from the baseline.
    """
    edges = np.diff(np.pad(band.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    column, first = np.nonzero(edges == 1)
    last = np.nonzero(edges == -1)[1] - 1
    away = _FAR * np.abs(np.clip(baseline, first, last) - baseline)
    begins = np.searchsorted(column, np.arange(_COLUMNS + 1))

    cost, before, came_from = np.zeros(1), slice(0, 0), np.zeros(len(first), int)
    visited = []
    for x in np.flatnonzero(np.diff(begins)):
        here = slice(begins[x], begins[x + 1])
        if not visited:
            cost = away[here]
        else:
            gap = np.maximum(first[here, None] - last[None, before], first[None, before] - last[here, None]) - 1
            total = cost + (0 if fresh[x] else 1) * np.maximum(gap, 0)
            best = total.argmin(axis=1)
            came_from[here] = best + before.start
            cost = total[np.arange(len(best)), best] + away[here]
        before = here
        visited.append(x)
    tops, bottoms = np.full((2, _COLUMNS), np.nan)
    if visited:
        run = before.start + int(cost.argmin())
        for x in reversed(visited):
            tops[x], bottoms[x] = first[run], last[run]
            run = came_from[run]
    return tops, bottoms
