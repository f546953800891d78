"""Where everything stands on the printed page.

All positions are pixels, x to the right and y down. They were measured on 295 distinct pages of the published dataset
(doi:10.17632/gwbz3fsgp8.2), as medians over pages; all but the texts that follow the printed ID and the heart rate
are the same on every page to the pixel. The pages are renders at 200 dpi, not scans: aligned to pixels, without skew
or anti-aliasing, then compressed as JPEG 4:2:0.
"""

from __future__ import annotations

import numpy as np

from heartai_utils.simulation import LEADS

WIDTH, HEIGHT = 2213, 1572
DPI = 200
PX_PER_SECOND = 25 * DPI / 25.4  # 25 mm/s: 196.85
PX_PER_MV = 10 * DPI / 25.4  # 10 mm/mV: 78.74

ROW_LEADS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
STRIP_ROW = len(ROW_LEADS)  # the rhythm strip stands below the three rows of leads
BASELINES = (463, 763, 1066, 1366)  # y of 0 mV by row: the feet of the calibration pulses
TRACE_X = 152  # column of the first sample of a row; the pen is 3 px wide
WINDOW_SECONDS = 2.5
WINDOW_COLUMNS = int(WINDOW_SECONDS * PX_PER_SECOND)  # 492
STRIP_SECONDS = 10.0
STRIP_COLUMNS = int(STRIP_SECONDS * PX_PER_SECOND)  # 1968

FRAME = (68, 283, 2177, 1518)  # outer edges: left, top, right, bottom (the last two exclusive)
GRID_BOX = (72, 287, 2171, 1514)  # inside the frame, whichever the page: left, top, right, bottom (exclusive)
MAJOR_COLUMNS = np.floor(105.96 + 39.7225 * np.arange(53)).astype(int)  # the 5 mm lines, each to the pixel; the grid
MAJOR_ROWS = np.floor(324.11 + 39.73 * np.arange(31)).astype(int)  # is 0.9 % coarser than the traces. Last: hidden
RULE_ROWS, RULE_HEIGHT, RULE_COLUMNS = (136, 142), 4, (68, 2155)  # the double rule under the header
RULES = {  # its rows, each with its first column and its end (exclusive): the ends are round
    136: (69, 2153), 137: (68, 2154), 138: (68, 2155), 139: (68, 2154),
    142: (68, 2154), 143: (68, 2155), 144: (68, 2155), 145: (69, 2154),
}  # fmt: skip
SEPARATORS = ((643, 3), (1135, 3), (1626, 4))  # between windows: left edge and width
SEPARATOR_ROWS = (420, 1110)  # end exclusive
NAME_BASELINES = (456, 757, 1059, 1359)  # of the lead names, by row
NAME_COLUMNS = {  # first and last column of a lead name's ink
    "I": (154, 160), "II": (154, 169), "III": (154, 177), "aVR": (646, 697), "aVL": (646, 694), "aVF": (646, 693),
    "V1": (1138, 1163), "V2": (1138, 1168), "V3": (1138, 1166), "V4": (1630, 1660), "V5": (1630, 1658),
    "V6": (1630, 1659),
}  # fmt: skip
NAME_HEIGHT = 19
NAME_PENS = {  # where the pen sets out to write them; a separator may cover a letter's first column
    "I": 154.5, "II": 154.5, "III": 154.5, "aVR": 645.95, "aVL": 645.95, "aVF": 645.95,
    "V1": 1137.4, "V2": 1137.4, "V3": 1137.4, "V4": 1629.4, "V5": 1629.4, "V6": 1629.4,
}  # fmt: skip


def grid_dots() -> tuple[np.ndarray, np.ndarray]:
    """The y and x of all dots of the grid: every 4 px back from each 5 mm line, or every 8 px for the 1 mm lines."""
    dots = np.zeros((9, 10), bool)  # by steps of 4 px back from the horizontal and from the vertical line
    dots[0] = dots[:, 0] = True
    dots[2::2, 0:8:2] = True
    dots[0, 8], dots[8, 8] = False, True
    back_y, back_x = np.nonzero(dots)
    y = (MAJOR_ROWS[:, None] - 4 * back_y)[:, None, :]
    x = (MAJOR_COLUMNS[:, None] - 4 * back_x)[None, :, :]
    y, x = (part.ravel() for part in np.broadcast_arrays(y, x))
    inside = (y < FRAME[3] - 4) & (x > FRAME[0] + 4)
    return y[inside], x[inside]


def seconds_to_x(seconds):
    """The column, not rounded, that shows a moment of the recording."""
    return TRACE_X + np.asarray(seconds) * PX_PER_SECOND


def x_to_seconds(x):
    """The moment of the recording that a column shows."""
    return (np.asarray(x) - TRACE_X) / PX_PER_SECOND


def mv_to_y(mv, row: int):
    """The height, not rounded, of an amplitude in a row: 0 to 2 the leads, 3 the rhythm strip."""
    return BASELINES[row] - np.asarray(mv) * PX_PER_MV


def y_to_mv(y, row: int):
    """The amplitude in mV at a height in a row."""
    return (BASELINES[row] - np.asarray(y)) / PX_PER_MV


def lead_window(lead: str) -> tuple[int, int, int, float, float]:
    """Where a lead's window stands and which part of the recording it shows.

    Returns:
        The row, the first column, the end column (exclusive), the second it starts and the second it ends.

    Raises:
        ValueError: if there is no such lead.
    """
    for row, leads in enumerate(ROW_LEADS):
        if lead in leads:
            start = leads.index(lead) * WINDOW_SECONDS
            x = int(np.ceil(seconds_to_x(start)))
            return row, x, x + WINDOW_COLUMNS, start, start + WINDOW_SECONDS
    raise ValueError(f"no lead {lead!r}: the leads are {', '.join(LEADS)}")


TITLE_TYPE, HEADER_TYPE, FOOTER_TYPE = 16, 10, 8  # points
LABELS = (  # what all pages print: text, pen, base line, size of the type
    ("ECG", 995.87, 61, TITLE_TYPE),
    ("REPORT", 1108.95, 61, TITLE_TYPE),
    ("Diagnosis", 70.93, 170, HEADER_TYPE),
    ("Information:", 199.64, 170, HEADER_TYPE),
    ("Technician", 1557.1, 204, HEADER_TYPE),
    (":", 1703.5, 204, HEADER_TYPE),
    ("Ref–Phys.", 1557.075, 237, HEADER_TYPE),
    (":", 1697.5, 237, HEADER_TYPE),
    ("Report", 1557.11, 270, HEADER_TYPE),
    ("Confirmed", 1652.95, 270, HEADER_TYPE),
    ("by:", 1800.5, 270, HEADER_TYPE),
    ("0.67~25Hz", 69.94, 1553, FOOTER_TYPE),
    ("AC50", 186.3, 1553, FOOTER_TYPE),
    ("25mm/s", 250.68, 1553, FOOTER_TYPE),
    ("10mm/mV", 337.53, 1553, FOOTER_TYPE),
    *((lead, NAME_PENS[lead], NAME_BASELINES[lead_window(lead)[0]], HEADER_TYPE) for lead in LEADS),
)
