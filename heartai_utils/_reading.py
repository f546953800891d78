"""Reading a page back: whether an image is one, and from its ink to millivolts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import cv2
import numpy as np

from heartai_utils._layout import (
    BASELINES,
    FRAME,
    HEIGHT,
    LABELS,
    MAJOR_COLUMNS,
    MAJOR_ROWS,
    NAME_BASELINES,
    NAME_COLUMNS,
    NAME_HEIGHT,
    NAME_PENS,
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
from heartai_utils._type import print_text, text_width
from heartai_utils.simulation import LEADS

_DARK, _PALE = 110, 235  # grey levels: ink and dots below the one, paper above the other, the frame between
_PRINT = [label for label in LABELS if label[0] in ("ECG", "REPORT", "25mm/s", "10mm/mV")]
_NUDGES = ((0, 0), (0, -1), (0, 1), (-1, 0), (1, 0))  # px by which a letter may be off: on a few real pages it is
_THICK = 10  # px of ink in nine columns of ten: a pen that wide, or no pen at all
_CROWDED = 5.0  # runs of ink in the mean column, where four traces leave four
_PAPER = (150, 1534)  # rows in which a trace is looked for: below the double rule, above the footer
_HEADER_TEXTS = ((70, 151, 347, 178), (1557, 185, 1832, 278))  # left, top, right, bottom of print within them
_REACH = 400  # px above and below its baseline in which a row's trace is looked for: 5 mV
_PEN = 1  # px of the pen on either side of its middle
_FAR = 0.12  # cost per column of being away from the baseline, times the root of the px, against 1 per px of a jump
_MISSING = 3.0  # cost of a column without ink
_MOST = 30  # runs of ink in a column that may still hold a trace: four rows, letters and specks
_PATIENCE = 6  # ways kept that have no ink in a column
_SHARED = 1.0  # cost of a column whose ink another row claims, too
_MEETING = 30  # columns within which two rows that meet twice may have changed places
_STEADY = 20  # px by which a trace may leave a straight line and still go straight on
_STEEP = 10  # px of ink in one column; without both its neighbours it cannot be read
_UNSURE = 32  # px within which the pen's middle may lie in a column that is still read: ± 0.2 mV
_COLUMNS = 4 * WINDOW_COLUMNS + 1


def looks_like_a_page(image: np.ndarray) -> tuple[bool, str]:
    """Whether an image is such a page, upright and in place, by what every page prints in the same place.

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
        drawn = min(pulse[:, :3].mean(), pulse[:, -4:].mean(), pulse[0].mean(), dark[foot, 97:106].mean())
        if drawn < 0.9 or pulse[4:, 5:-6].mean() > 0.2 or dark[foot - 90 : foot - 83, 104:124].mean() > 0.2:
            return False, f"the calibration pulse of row {row + 1} is missing"
    if min(dark[slice(*SEPARATOR_ROWS), x + 1].mean() for x, _ in SEPARATORS) < 0.95:
        return False, "the lines between the columns of leads are missing"
    y, x = _line_dots()
    if dark[y, x].mean() < 0.7 or pale[y - 2, x - 2].mean() < 0.8:
        return False, "the dotted grid is missing"
    for text, y, x in _letters():
        if not any(dark[y + down, x + aside].mean() > 0.8 for down, aside in _NUDGES):
            return False, f"{text} is not printed where it should be"
    for row, y in enumerate(BASELINES):
        ink = dark[y - 150 : y + 150, TRACE_X : TRACE_X + STRIP_COLUMNS].sum(axis=0)
        if ((ink >= 3) & (ink <= 100)).mean() < 0.9 or np.quantile(ink, 0.1) > _THICK:
            return False, f"row {row + 1} has no whole trace"
    between = dark[top + 8 : bottom - 8, MAJOR_COLUMNS[2:] - 2]  # where no dots are
    if np.diff(between.astype(np.int8), axis=0).clip(0).sum(axis=0).mean() > _CROWDED:
        return False, "there is more ink in the grid than that of four rows"
    return True, ""


@cache
def _line_dots() -> tuple[np.ndarray, np.ndarray]:
    """The y and x of the dots on the 5 mm lines."""
    y, x = grid_dots()
    on_line = np.isin(x, MAJOR_COLUMNS) | np.isin(y, MAJOR_ROWS)
    return y[on_line], x[on_line]


@cache
def _letters() -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Of each letter of the title, the scales and the lead names: the text, and the y and x of the letter's ink."""
    texts = [(lead, NAME_PENS[lead], NAME_BASELINES[lead_window(lead)[0]], 10) for lead in LEADS]
    texts += [*_PRINT, ("II", NAME_PENS["II"], NAME_BASELINES[STRIP_ROW], 10)]
    found = []
    for text, pen, baseline, points in texts:
        for place, letter in enumerate(text):
            paper = np.ones((40, WIDTH), np.uint8)
            print_text(paper, letter, pen + text_width(text[:place], points), 32, points)
            y, x = np.nonzero(paper == 0)
            found.append((text, y + baseline - 32, x))
    return found


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
    the smallest jumps is taken (Viterbi). Dots of the grid are taken out first. Where two rows would take the same
    ink and there is other ink beside it, the row gives way that finds its own with less effort.

    A column is marked unread where another row's trace, a separator, a lead's name or the header's print covers the
    trace, where the ink breaks off or leaves the paper between header and footer, and where the pen moved so far
    within one column that its middle is not known to 0.2 mV.

    Args:
        page: (1572, 2213) or (1572, 2213, 3) uint8, a page that `looks_like_a_page` accepts.

    Raises:
        ValueError: for another size.
    """
    if page.shape[:2] != (HEIGHT, WIDTH):
        raise ValueError(f"the image is {page.shape[1]}×{page.shape[0]}; a page is {WIDTH}×{HEIGHT}")
    grey = page if page.ndim == 2 else cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)
    runs = _Runs.of(_trace_ink(grey))
    ways = _ways(runs)
    lost = _crossed(runs, ways)
    rows = [_to_mv(runs, way, lost[row], row) for row, way in enumerate(ways)]
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


def _trace_ink(grey: np.ndarray) -> np.ndarray:
    """The ink in the columns of the traces, without dots, separators and what is printed above and below."""
    ink = grey < _DARK
    y, x = grid_dots()
    above, below = ink[y - 1, x], ink[y + 1, x]
    ink[y, x] = (above & below) | ((above | below) & ink[y, x - 1] & ink[y, x + 1])
    ink[: _PAPER[0]] = ink[_PAPER[1] :] = False
    for left, top, right, bottom in _HEADER_TEXTS:
        ink[top:bottom, left:right] = False
    for x, width in SEPARATORS:
        ink[slice(*SEPARATOR_ROWS), x - _PEN : x + width + _PEN] = False
    return ink[:, TRACE_X : TRACE_X + _COLUMNS]


@dataclass(frozen=True)
class _Runs:
    """The dark runs of all columns: their column, first and last row, and where each column's runs begin."""

    column: np.ndarray
    first: np.ndarray
    last: np.ndarray
    begins: np.ndarray

    @classmethod
    def of(cls, ink: np.ndarray) -> _Runs:
        edges = np.diff(np.pad(ink.T, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        column, first = np.nonzero(edges == 1)
        last = np.nonzero(edges == -1)[1] - 1
        return cls(column, first, last, np.searchsorted(column, np.arange(ink.shape[1] + 1)))


def _ways(runs: _Runs) -> list[np.ndarray]:
    """The run of each row (4) in each column, -1 where it has none.

    Rows are followed one by one. While two of them claim the same runs, the one that finds the cheapest way round is
    moved: a tip that crosses the row below belongs to the row that would else have nothing there.
    """
    free = np.zeros(len(runs.first))
    ways, costs = map(list, zip(*(_best_way(runs, row, free) for row in range(STRIP_ROW + 1)), strict=True))
    while True:
        claims = np.array([np.bincount(way[way >= 0], minlength=len(free)) for way in ways])
        most, moved = 1.0, None
        for row, way in enumerate(ways):
            shared = _SHARED * (claims.sum(axis=0) - claims[row])
            paid = shared[way[way >= 0]].sum()
            if paid > most:
                other, cost = _best_way(runs, row, shared)
                if costs[row] + paid - cost > most:
                    most = costs[row] + paid - cost
                    moved = row, other, cost - shared[other[other >= 0]].sum()
        if moved is None:
            return ways
        row, ways[row], costs[row] = moved[0], moved[1], moved[2]


def _best_way(runs: _Runs, row: int, charge: np.ndarray) -> tuple[np.ndarray, float]:
    """The cheapest way of one row from the left to the right, and its cost.

    A way costs the gaps in px between the runs of neighbouring columns, `_MISSING` for each column without a run, a
    little for being far from the baseline, and the runs' own `charge`.
    """
    baseline = BASELINES[row]
    away = np.abs(np.clip(baseline, runs.first, runs.last) - baseline)
    own = (_FAR * np.sqrt(away) + charge).tolist()
    within = ((away < _REACH) & (np.diff(runs.begins) <= _MOST)[runs.column]).tolist()
    first, last, begins = runs.first.tolist(), runs.last.tolist(), runs.begins.tolist()
    if row < STRIP_ROW:  # the pen runs on below a separator, and above it
        between = [(x - _PEN - TRACE_X, x + width + _PEN - TRACE_X) for x, width in SEPARATORS]
        for start, end in between:
            within[begins[start] : begins[end]] = [False] * (begins[end] - begins[start])
        fresh = {end for _, end in between}
    else:
        fresh = set()

    steps: list[tuple[int, int]] = [(-1, -1)]  # of each state: its run and the state before it
    live = [(0.0, 0, HEIGHT, 0)]  # the states of the column before, cheapest first: cost, run's ends, step
    for x in range(len(begins) - 1):
        if x in fresh:  # another lead begins, at any height
            live = [(live[0][0], 0, HEIGHT, live[0][3])]
        reached = []
        for run in range(begins[x], begins[x + 1]):
            if within[run]:
                top, bottom = first[run], last[run]
                least, before = np.inf, 0
                for cost, above, below, step in live:
                    if cost >= least:
                        break
                    cost += max(top - below, above - bottom, 1) - 1
                    if cost < least:
                        least, before = cost, step
                reached.append((least + own[run], top, bottom, len(steps)))
                steps.append((run, before))
        missing = [(cost + _MISSING, above, below, step) for cost, above, below, step in live[:_PATIENCE]]
        live = sorted(reached + missing)
    way = np.full(len(begins) - 1, -1)
    run, step = steps[live[0][3]]
    while step >= 0:
        way[runs.column[run]] = run
        run, step = steps[step]
    return way, live[0][0]


def _crossed(runs: _Runs, ways: list[np.ndarray]) -> np.ndarray:
    """(4, columns) bool: where it is not certain which ink belongs to which row.

    That is where two rows run through the same ink; between two such places if neither goes straight on there, as
    they may have changed places; and beside a part of a trace that no row has claimed.
    """
    middle = np.append((runs.first + runs.last) / 2, np.nan)
    lost = np.zeros((len(ways), _COLUMNS), bool)
    for one, other in combinations(range(len(ways)), 2):
        shared = np.flatnonzero((ways[one] == ways[other]) & (ways[one] >= 0))
        lost[[[one], [other]], shared] = True
        for meeting in np.split(shared, np.flatnonzero(np.diff(shared) > _MEETING) + 1):
            if len(meeting):
                start, end = max(meeting[0] - 1, 0), min(meeting[-1] + 1, _COLUMNS - 1)
                apart = np.setdiff1d(np.arange(start, end + 1), meeting)
                levels = middle[np.array([ways[one], ways[other]])[:, apart]]
                straight = [np.interp(apart, apart[[0, -1]], level[[0, -1]]) for level in levels]
                if not (np.abs(levels - straight).max(axis=1) < _STEADY).any():
                    lost[[[one], [other]], apart[1:-1]] = True
    tall = runs.last - runs.first > _STEEP
    tall[np.concatenate([way[way >= 0] for way in ways])] = False
    for run in np.flatnonzero(tall & (runs.column > 0) & (runs.column < _COLUMNS - 1)):
        x = runs.column[run]
        beside = np.array([way[[x - 1, x + 1]] for way in ways])
        touching = (beside >= 0) & (runs.first[beside] <= runs.last[run]) & (runs.last[beside] >= runs.first[run])
        lost[touching.any(axis=1), x - 1 : x + 2] = True
    left_over = np.bincount(runs.column[tall], minlength=_COLUMNS) > 0
    lost |= left_over & (lost.sum(axis=0) > 1)  # where rows meet and ink is left over, any may have the wrong one
    for gap in (2, 3):  # a column or two between such places are no more certain
        between = lost[:, :-gap] & lost[:, gap:]
        for step in range(1, gap):
            lost[:, step : step - gap] |= between
    return lost


def _to_mv(runs: _Runs, way: np.ndarray, lost: np.ndarray, row: int) -> tuple[np.ndarray, np.ndarray]:
    """One row's trace in mV, and the columns that were not read, among them those `lost` already."""
    first, last = (np.where(way < 0, np.nan, np.append(ends, 0)[way]) for ends in (runs.first, runs.last))
    lost = lost | (first == _PAPER[0]) | (last == _PAPER[1] - 1)
    for left, top, right, bottom in _HEADER_TEXTS:
        beside = slice(max(left - TRACE_X, 0), right - TRACE_X)
        lost[beside] |= (first[beside] == bottom) | (last[beside] == top - 1)
    for lead in ROW_LEADS[row] if row < STRIP_ROW else ("II", "III"):
        start, end = (x - TRACE_X for x in NAME_COLUMNS[lead])
        name = slice(start - 1, end + 2)
        bottom = NAME_BASELINES[row]
        lost[name] |= (first[name] < bottom) & (last[name] >= bottom - NAME_HEIGHT)
    first[lost] = last[lost] = np.nan
    lonely = np.isnan(_neighbours(first, np.maximum)) & (last - first > _STEEP)
    first[lonely] = last[lonely] = np.nan

    # The pen's middle passed between these two: the ink less what the pen adds above, below, left and right.
    low, high = _neighbours(first, np.fmax) + _PEN, _neighbours(last, np.fmin) - _PEN
    y = (low + high) / 2
    around = np.stack([np.r_[y[0], y[:-1]], np.r_[y[1:], y[-1]]])
    rise = np.fmin(*around) - low
    fall = high - np.fmax(*around)
    peak, trough = (rise > 1) & (rise > fall), (fall > 1) & (fall > rise)
    # At a tip the pen's upper or lower edge goes on into the columns beside it; both do between two tips.
    above = low - _PEN - _neighbours(first, np.fmin) < _PEN + 1
    below = _neighbours(last, np.fmax) - _PEN - high < _PEN + 1
    tip = (peak & above & ~below) | (trough & below & ~above)
    y = np.where(peak, low, np.where(trough, high, y))
    y[(high - low > _UNSURE) & ~tip] = np.nan

    unread = np.isnan(y)
    columns = np.arange(_COLUMNS)
    y = np.interp(columns, columns[~unread], y[~unread]) if not unread.all() else np.full(_COLUMNS, BASELINES[row])
    return y_to_mv(y, row).astype(np.float32), unread


def _neighbours(values: np.ndarray, worst: np.ufunc) -> np.ndarray:
    """The larger or smaller of each value and the two beside it, leaving NaN where it is."""
    padded = np.pad(values, 1, constant_values=np.nan)
    filtered = worst(worst(padded[:-2], padded[2:]), values)
    return np.where(np.isnan(values), np.nan, filtered)
