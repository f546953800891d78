"""Where what is printed stands on the median simulated page, against the median real one."""

from __future__ import annotations

import cv2
import numpy as np
import pandas as pd
from pages import Page, Workers, real_pages, simulated_pages

from heartai_utils import page as p
from heartai_utils._layout import (
    MAJOR_COLUMNS,
    MAJOR_ROWS,
    NAME_BASELINES,
    NAME_COLUMNS,
    NAME_HEIGHT,
    SEPARATOR_ROWS,
    SEPARATORS,
)

ELEMENTS = {  # what is compared: left, top, right, bottom of a window round it, and along which axes it may move
    "frame, left": (60, 300, 78, 1500, "x"),
    "frame, right": (2166, 300, 2186, 1500, "x"),
    "frame, top": (100, 276, 2100, 294, "y"),
    "frame, bottom": (100, 1508, 2100, 1526, "y"),
    "double rule": (100, 128, 2100, 154, "y"),
    "double rule, left end": (60, 130, 90, 152, "x"),
    "double rule, right end": (2130, 130, 2170, 152, "x"),
    "ECG REPORT": (985, 22, 1285, 70, "xy"),
    "ID :": (60, 66, 120, 104, "xy"),
    "Exam.Room: Medication:": (60, 102, 424, 132, "xy"),
    "Diagnosis Information:": (60, 147, 356, 180, "xy"),
    "Technician :": (1547, 180, 1715, 212, "xy"),
    "Ref-Phys. :": (1547, 213, 1715, 246, "xy"),
    "Report Confirmed by:": (1547, 246, 1845, 280, "xy"),
    "0.67~25Hz": (60, 1530, 177, 1562, "xy"),
    "AC50": (178, 1530, 243, 1562, "xy"),
    "25mm/s": (244, 1530, 330, 1562, "xy"),
    "10mm/mV": (331, 1530, 441, 1562, "xy"),
    "4*2.5s+1r": (442, 1530, 545, 1562, "xy"),
    "♥": (546, 1530, 566, 1562, "xy"),
    "date": (1786, 1530, 1840, 1562, "xy"),
}
for _row, _leads in enumerate(p.ROW_LEADS):
    for _lead in _leads:
        _first, _last = NAME_COLUMNS[_lead]
        _bottom = NAME_BASELINES[_row]
        ELEMENTS[f"name {_lead}"] = (_first - 4, _bottom - NAME_HEIGHT - 6, _last + 6, _bottom + 6, "xy")
for _row, _foot in enumerate(p.BASELINES):
    ELEMENTS[f"pulse {_row + 1}"] = (90, _foot - 90, 140, _foot + 12, "xy")
    ELEMENTS[f"baseline {_row + 1}"] = (94, _foot - 8, 103, _foot + 8, "y")
for _x, _width in SEPARATORS:
    ELEMENTS[f"separator {_x}"] = (_x - 8, SEPARATOR_ROWS[0] + 10, _x + _width + 8, SEPARATOR_ROWS[1] - 10, "x")
    ELEMENTS[f"separator {_x}, top"] = (_x, SEPARATOR_ROWS[0] - 10, _x + _width, SEPARATOR_ROWS[0] + 10, "y")
    ELEMENTS[f"separator {_x}, bottom"] = (_x, SEPARATOR_ROWS[1] - 10, _x + _width, SEPARATOR_ROWS[1] + 10, "y")
for _x in MAJOR_COLUMNS:
    ELEMENTS[f"grid line x {_x}"] = (_x - 3, 1440, _x + 4, 1512, "x")
for _y in MAJOR_ROWS[:-1]:
    ELEMENTS[f"grid line y {_y}"] = (73, _y - 3, 94, _y + 4, "y")

FOLLOWING = ("Years", "Male", "cm", "kg", "/", "mmHg", "Race:Unknown", "Room", "No.:", "Department:")


def crops(page: Page) -> tuple[list[np.ndarray], dict[str, int]]:
    """The windows of all elements with 6 px round them, and where words begin that move with the ID and the rate."""
    grey = np.pad(page.grey(), 6, constant_values=255)
    windows = [grey[top : bottom + 12, left : right + 12] for left, top, right, bottom, _ in ELEMENTS.values()]
    places = {}
    header = _words(grey[6 + 72 : 6 + 100, 6:] < 110)
    if len(header) == 3 + len(FOLLOWING) and header[4][1] - header[4][0] < 65:  # "Male"
        places = {name: word[0] - header[2][1] for name, word in zip(FOLLOWING, header[3:], strict=True)}
    footer = _words(grey[6 + 1534 : 6 + 1558, 6 : 6 + 1700] < 110)
    if len(footer) >= 5:
        names = ("SE-3", "V1.0", "SEMIP", "V1.7")
        places |= {name: word[0] - footer[-4][0] for name, word in zip(names, footer[-4:], strict=True)}
        places["SE-3"] = footer[-4][0] - footer[-5][1]
    return windows, places


def _words(ink: np.ndarray, gap: int = 9) -> list[tuple[int, int]]:
    """First and last column of each word: columns of ink with less than a gap between them."""
    columns = np.flatnonzero(ink.any(axis=0))
    breaks = np.flatnonzero(np.diff(columns) > gap)
    return (
        list(zip(columns[np.r_[0, breaks + 1]].tolist(), columns[np.r_[breaks, -1]].tolist(), strict=True))
        if len(columns)
        else []
    )


def offset(real: np.ndarray, ours: np.ndarray, axes: str) -> tuple[float, float]:
    """By how many px, to a fraction, our median window must move to lie best on the real one: (dx, dy)."""
    real, ours = 255 - real.astype(np.float32), 255 - ours.astype(np.float32)
    inner = ours[6:-6, 6:-6]
    if axes == "x":
        real, inner = real[6:-6].mean(axis=0, keepdims=True), inner.mean(axis=0, keepdims=True)
    elif axes == "y":
        real, inner = real[:, 6:-6].mean(axis=1, keepdims=True), inner.mean(axis=1, keepdims=True)
    match = -cv2.matchTemplate(real, inner, cv2.TM_SQDIFF)
    y, x = np.unravel_index(match.argmax(), match.shape)
    return (
        _vertex(match[y], x) - 6 if "x" in axes else 0.0,
        _vertex(match[:, x], y) - 6 if "y" in axes else 0.0,
    )


def _vertex(values: np.ndarray, at: int) -> float:
    """Where the parabola through the highest value and its neighbours is highest."""
    if not 0 < at < len(values) - 1:
        return float(at)
    before, here, after = values[at - 1 : at + 2]
    return at + 0.5 * (before - after) / (before - 2 * here + after)


def geometry_part(real: pd.DataFrame, seed: int, workers: Workers) -> dict:
    """The offset of every printed element between the median real and the median simulated page."""
    chosen = real.iloc[::3]
    sides = []
    for pages in (real_pages(chosen), simulated_pages(chosen["condition"], seed)):
        made = workers.map("geometry", crops, pages)
        windows = [np.median(stack, axis=0) for stack in zip(*(windows for windows, _ in made), strict=True)]
        sides.append((windows, pd.DataFrame([places for _, places in made]).median()))
    offsets = {}
    for (name, (*_, axes)), one, other in zip(ELEMENTS.items(), sides[0][0], sides[1][0], strict=True):
        offsets[name] = [round(shift, 2) for shift in offset(one, other, axes)]
    for name in sides[0][1].index:
        offsets[f"{name} (moving)"] = [round(float(sides[0][1][name] - sides[1][1].get(name, np.nan)), 2), 0.0]
    largest = {name: max(map(abs, shift)) for name, shift in offsets.items()}
    print(
        f"\nGeometry: offsets of {len(offsets)} elements, {len(chosen)} real against {len(chosen)} simulated pages, px"
    )
    for name in sorted(largest, key=largest.get, reverse=True)[:12]:
        print(f"  {name:26} dx {offsets[name][0]:+.2f}  dy {offsets[name][1]:+.2f}")
    return {"geometry_px": max(largest.values()), "details": offsets}
