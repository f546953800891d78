"""The printed page: drawing a recording on it, compressing it, opening it from disk and reading it back.

A page is (1572, 2213, 3) uint8 RGB: header, frame, dotted grid, three rows of four leads in consecutive windows of
2.5 s, a rhythm strip of 10 s, and a footer. Its measures are constants and conversions of this module, too::

    >>> page = draw_page(simulate_recording("Normal", seed=1), seed=1)
    >>> traces = read_traces(page)
    >>> traces.signals.shape, PX_PER_MV, lead_window("V2")
    ((12, 492), 78.74015748031496, (1, 1137, 1629, 5.0, 7.5))
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from heartai_utils._layout import (
    BASELINES,
    DPI,
    FOOTER_TYPE,
    FRAME,
    GRID_BOX,
    HEADER_TYPE,
    HEIGHT,
    LABELS,
    NAME_BASELINES,
    NAME_PENS,
    PX_PER_MV,
    PX_PER_SECOND,
    ROW_LEADS,
    RULES,
    SEPARATOR_ROWS,
    SEPARATORS,
    STRIP_COLUMNS,
    STRIP_ROW,
    STRIP_SECONDS,
    TRACE_X,
    WIDTH,
    WINDOW_COLUMNS,
    WINDOW_SECONDS,
    grid_dots,
    lead_window,
    mv_to_y,
    seconds_to_x,
    x_to_seconds,
    y_to_mv,
)
from heartai_utils._reading import Traces, looks_like_a_page, read_traces
from heartai_utils._type import print_text, text_width
from heartai_utils.simulation import LEADS, Recording

__all__ = [
    "BASELINES", "DPI", "FRAME", "GRID_BOX", "HEIGHT", "PX_PER_MV", "PX_PER_SECOND", "ROW_LEADS", "STRIP_COLUMNS",
    "STRIP_ROW", "STRIP_SECONDS", "TRACE_X", "WIDTH", "WINDOW_COLUMNS", "WINDOW_SECONDS", "PageDetails", "PageError",
    "Traces", "draw_page", "encode_page", "lead_window", "load_page", "looks_like_a_page", "mv_to_y", "read_traces",
    "seconds_to_x", "x_to_seconds", "y_to_mv",
]  # fmt: skip

_WANTED = f"a page is a {WIDTH}×{HEIGHT} JPEG or PNG of the printed report with its four rows of traces"


class PageError(ValueError):
    """A file that is no page of this kind; the message names it, says what it is and what a page must be."""


@dataclass(frozen=True)
class PageDetails:
    """What a page prints beside the traces.

    Attributes:
        printed_id: the number after "ID :".
        sex: "Male" or "Female".
        rhythm_lead: the lead of the rhythm strip, "II" or "III".
        date: of the recording.
        date_format: "Y-m-d" or "d-m-Y".
        heart_rate: in bpm, after the heart; None takes ``facts["heart_rate_bpm"]`` of the recording, if it has one.
        lead_off: whether "Lead Off" is printed; None prints it if the recording has ``facts["lead_off"]``.
        quality: the JPEG quality of the batch the page belongs to (see `encode_page`).
        mark: whether a pen has left a dot in the lower right corner, which no published page has.
    """

    printed_id: str = "100000"
    sex: str = "Male"
    rhythm_lead: str = "II"
    date: datetime = datetime(2020, 1, 1)
    date_format: str = "Y-m-d"
    heart_rate: float | None = None
    lead_off: bool | None = None
    quality: str = "high"
    mark: bool = False

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: use one of {', '.join(choices)}")

    @classmethod
    def random(cls, rng: np.random.Generator) -> PageDetails:
        """Draw details as often as on the 491 distinct published pages, whatever the condition of the recording.

        447 are of men, 350 have lead II as rhythm strip, 52 are of the batch of November 2019 with its own date
        format and JPEG quality; the others are of August and October 2020, one to four. The days, and the thousands
        in which the printed IDs lie, are those read off 295 of the pages.
        """
        old = rng.random() < 52 / 491
        month, days, thousands = _SESSIONS["2019-11" if old else "2020-08" if rng.random() < 0.2 else "2020-10"]
        day = rng.choice(list(days), p=np.divide(list(days.values()), sum(days.values())))
        return cls(
            printed_id=str(1000 * thousands[0] + int(rng.integers(*thousands[1:]))),
            sex="Male" if rng.random() < 447 / 491 else "Female",
            rhythm_lead="II" if rng.random() < 350 / 491 else "III",
            date=month + timedelta(days=int(day) - 1, seconds=int(rng.integers(86_400))),
            date_format="d-m-Y" if old else "Y-m-d",
            quality="low" if old else "high",
        )


_SESSIONS = {  # month; days with the pages seen of each; thousands of the printed IDs and the last three digits' range
    "2019-11": (datetime(2019, 11, 1), {26: 3, 27: 27}, (161, 500, 650)),
    "2020-08": (datetime(2020, 8, 1), {3: 14, 4: 13, 6: 25}, (168, 490, 700)),
    "2020-10": (datetime(2020, 10, 1), {15: 32, 16: 39, 17: 28, 19: 41, 20: 47, 21: 22}, (177, 0, 555)),
}
_CHOICES = {
    "sex": ("Male", "Female"),
    "rhythm_lead": ("II", "III"),
    "date_format": ("Y-m-d", "d-m-Y"),
    "quality": ("high", "low"),
}

# --- Drawing ------------------------------------------------------------------------------------------------------

# Before compression. With the tables below, these colours give the published pages' frame and dots to a grey level.
_INK, _DOTS, _FRAME = (0, 0, 0), (255, 20, 5), (255, 161, 161)
_FRAME_TOP = np.array([[(255, level, level)] for level in (157, 165, 161, 161)])  # its four rows
_PEN = (3.1, 2.95)  # px wide and high: with it thumbnails are as dark, and strokes as thick, as of real pages
_PEN_BLUE = (25, 45, 140)  # of a reader's pen


def draw_page(
    recording: Recording, *, details: PageDetails | None = None, seed: int | np.random.Generator | None = None
) -> np.ndarray:
    """Print a recording as the machine does, before JPEG compression.

    Args:
        recording: twelve leads; its first 10 s are shown.
        details: what to print beside the traces.
        seed: draws the details where none are given; without either, `PageDetails()` is printed.

    Returns:
        (1572, 2213, 3) uint8 RGB.
    """
    if details is None:
        details = PageDetails() if seed is None else PageDetails.random(np.random.default_rng(seed))
    page = _template().copy()
    for lead in LEADS:
        row, _, _, start, end = lead_window(lead)
        _draw_trace(page, recording, lead, row, start, end)
    _draw_trace(page, recording, details.rhythm_lead, STRIP_ROW, 0.0, STRIP_SECONDS)
    _print_details(page, details, recording.facts)
    return page


def _draw_trace(page: np.ndarray, recording: Recording, lead: str, row: int, start: float, end: float) -> None:
    """Draw from `start` to `end` seconds with a pen of `_PEN` px, in place.

    A trace has one height at any moment, so a column's ink is one run: from half a pen above the highest to half a pen
    below the lowest point that the trace reaches while the pen is over the column.
    """
    samples = np.arange(round(start * recording.rate), min(round(end * recording.rate) + 1, recording.signals.shape[1]))
    if not samples.size:
        return
    x = seconds_to_x(samples / recording.rate)
    y = mv_to_y(recording.lead(lead)[samples], row)
    wide, high = _PEN
    columns = np.arange(math.ceil(x[0] - wide / 2), math.floor(x[-1] + wide / 2) + 1)
    fine = np.union1d(x, np.concatenate([columns - wide / 2, columns + wide / 2]).clip(x[0], x[-1]))
    way = np.interp(fine, x, y)
    first, last = np.searchsorted(fine, columns - wide / 2), np.searchsorted(fine, columns + wide / 2, side="right") - 1
    bounds = np.stack([first, np.minimum(last, len(fine) - 1) + 1], axis=1).ravel()
    way = np.append(way, way[-1])  # reduceat wants each end to be an index
    top = np.ceil(np.minimum.reduceat(way, bounds)[::2] - high / 2).astype(int).clip(0, HEIGHT)
    bottom = np.floor(np.maximum.reduceat(way, bounds)[::2] + high / 2).astype(int).clip(-1, HEIGHT - 1)
    lengths = (bottom - top + 1).clip(0)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    page[np.repeat(top, lengths) + within, np.repeat(columns, lengths)] = _INK


@cache
def _template() -> np.ndarray:
    """What all pages share."""
    page = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for text, pen, baseline, size in LABELS:
        print_text(page, text, pen, baseline, size)
    for y, (start, end) in RULES.items():
        page[y, start:end] = _INK
    page[grid_dots()] = _DOTS
    left, top, right, bottom = FRAME
    page[top : top + 4, left:right] = _FRAME_TOP
    page[bottom - 3 : bottom, left:right] = _FRAME
    page[top:bottom, left : left + 3] = page[top:bottom, right - 4 : right] = _FRAME
    for x, width in SEPARATORS:
        page[slice(*SEPARATOR_ROWS), x : x + width] = _INK
        page[SEPARATOR_ROWS[1] - 1, [x, x + 3]] = 255
    for row, foot in enumerate(BASELINES):
        _draw_pulse(page, foot, thick=row == 2)
    page.setflags(write=False)
    return page


def _draw_pulse(page: np.ndarray, foot: int, thick: bool) -> None:
    """The calibration pulse: two feet (thicker in the third row), two flanks, and a roof 1 mV above them."""
    roof = foot - 79
    page[foot - 1 : foot + 2, 96:107] = page[foot - 1 : foot + 2, 121:132] = page[foot, 95] = _INK
    if thick:
        page[foot - 2, 97:104] = page[foot - 2, 123:130] = _INK
    page[roof - 1 : foot + 2, 104:107] = page[roof - 1 : foot + 1, 120:124] = _INK
    page[roof - 1 : roof + 2, 104:124] = _INK


def _print_details(page: np.ndarray, details: PageDetails, facts: dict) -> None:
    """Print the texts that differ from page to page: each follows the one before it, as on the machine."""
    baseline, size = 93, HEADER_TYPE
    for text, pen in (("ID", 70.5), (":", 112.5), (details.printed_id, 132.79)):
        print_text(page, text, pen, baseline, size)
    pen = 132.79 + text_width(details.printed_id, size)
    print_text(page, "Years", pen + 111.08, baseline, size)
    print_text(page, details.sex, pen + 236.04, baseline, size)
    pen += text_width(details.sex, size)
    for text, gap in _AFTER_SEX:
        print_text(page, text, pen + gap, baseline, size)
    baseline = 126
    if details.sex == "Male":
        print_text(page, "Department:", pen + 1254.65, 93, size)
        second_line = (("Exam.Room:", 70.9), ("Medication:", 279.16))
    else:  # the first line is full
        second_line = (("Department:", 70.8), ("Exam.Room:", 274.13), ("Medication:", 482.27))
    for text, pen in second_line:
        print_text(page, text, pen, baseline, size)

    print_text(page, details.rhythm_lead, NAME_PENS[details.rhythm_lead], NAME_BASELINES[STRIP_ROW], size)

    heart_rate = facts.get("heart_rate_bpm") if details.heart_rate is None else details.heart_rate
    lead_off = bool(facts.get("lead_off")) if details.lead_off is None else details.lead_off
    baseline, size, pen = 1553, FOOTER_TYPE, 447.55
    if lead_off:
        print_text(page, "Lead", 447.3, baseline, size)
        print_text(page, "Off", 507.4, baseline, size)
        pen += 109.08
    print_text(page, "4*2.5s+1r", pen, baseline, size)
    print_text(page, "♥", pen + 102.95, baseline, size)
    rate = "" if heart_rate is None else str(round(heart_rate))
    print_text(page, rate, pen + 118.84, baseline, size)
    pen += 118.84 + text_width(rate, size) + (_BLANK if len(rate) < 3 else 0)
    for text, gap in _AFTER_RATE:
        print_text(page, text, pen + gap, baseline, size)
    date = details.date
    year, month, day = f"{date.year:04}", f"{date.month:02}", f"{date.day:02}"
    parts = "–".join((year, month, day) if details.date_format == "Y-m-d" else (day, month, year))
    hour = f"{(date.hour + 11) % 12 + 1:02}:{date.minute:02}:{date.second:02}"
    pen = 1792.12
    for text, gap in ((parts, 22.2), (hour, 11.2), ("AM" if date.hour < 12 else "PM", 0.0)):
        print_text(page, text, pen, baseline, size)
        pen += text_width(text, size) + gap
    if details.mark:
        cv2.circle(page, (2194, 1545), 11, _PEN_BLUE, cv2.FILLED)


_BLANK = 11.11  # px that stand for the third digit of a heart rate below 100
_AFTER_SEX = (  # text and px from the end of the sex to it
    ("cm", 347.12), ("kg", 494.87), ("/", 637.48), ("mmHg", 688.0), ("Race:Unknown", 825.58), ("Room", 1064.12),
    ("No.:", 1149.93),
)  # fmt: skip
_AFTER_RATE = (("SE–3", 11.6), ("V1.0", 68.965), ("SEMIP", 122.55), ("V1.7", 196.165))  # px from the end of the rate


# --- Files --------------------------------------------------------------------------------------------------------

# The quantisation tables (luma, chroma), row by row, of the two batches of published files.
_TABLES = {
    "high": (
        (12, 8, 27, 34, 32, 36, 41, 46, 8, 10, 17, 27, 43, 37, 42, 47, 27, 23, 28, 40, 47, 43, 52, 59, 36, 36, 40, 49,
         43, 53, 59, 59, 42, 32, 37, 57, 53, 59, 59, 59, 36, 37, 43, 53, 59, 59, 59, 59, 41, 42, 52, *[59] * 5, 46, 47,
         *[59] * 6),
        (13, 11, 16, 27, 50, 59, 59, 59, 11, 14, 20, 40, 52, 59, 59, 59, 16, 27, 33, 50, 59, 59, 64, 64, 36, 40, 50, 59,
         59, 64, 64, 64, 50, 50, 59, 59, 64, 64, 64, 64, 59, 59, 59, *[64] * 5, 59, 59, *[64] * 6, 59, 59, *[64] * 6),
    ),
    "low": (
        (27, 26, 65, *[83] * 5, 26, 31, 54, 83, 110, 83, 83, 83, 86, 72, 71, *[83] * 5, 110, 83, 83, 95, *[83] * 36),
        (29, 34, 38, *[83] * 5, 34, 32, 65, *[83] * 5, 38, 65, *[83] * 46),
    ),
}  # fmt: skip


def encode_page(image: np.ndarray, quality: str = "high") -> bytes:
    """Compress a page as the published files are: JPEG 4:2:0, which gives the dots of the grid their pinkish haze.

    Args:
        image: (height, width, 3) uint8 RGB.
        quality: "high" (about 0.7 MB a page) or "low" (about 0.3 MB), the two batches of the dataset.

    Raises:
        ValueError: if there is no such quality.
    """
    if quality not in _TABLES:
        raise ValueError(f"quality is {quality!r}: use one of {', '.join(_TABLES)}")
    file = io.BytesIO()
    options = {"qtables": _TABLES[quality], "subsampling": "4:2:0", "dpi": (DPI, DPI)}
    Image.fromarray(image).save(file, "JPEG", **options)
    return file.getvalue()


def load_page(path: str | PathLike[str], check: bool = True, *, grey: bool = False, reduced: int = 1) -> np.ndarray:
    """Open a page from disk.

    The size is read before anything is decoded. Grey, 16-bit, CMYK, palette and transparent pictures become RGB, and
    a turn noted in EXIF is carried out.

    Args:
        path: of a JPEG or PNG file.
        check: whether to ask `looks_like_a_page`, too.
        grey: luminance alone: as a JPEG holds it (its colours are not even decoded), or by the same weights.
        reduced: 2, 4 or 8 has a JPEG's decoder hand out that part of the page; a look at it cannot be asked for then.

    Returns:
        (1572, 2213, 3) uint8 RGB, or (1572, 2213) grey; reduced, the sides divided by it and rounded up.

    Raises:
        PageError: if the file is missing, not a whole JPEG or PNG, of another size, does not look like a page, or is
            no JPEG that can be decoded reduced.
    """
    path = Path(path)
    if not path.is_file():
        raise PageError(f"{path} is {'a folder' if path.is_dir() else 'not there'}; {_WANTED}")
    if path.stat().st_size == 0:
        raise PageError(f"{path} is empty; {_WANTED}")
    try:
        page = _decode(path, grey, reduced)
    except PageError:
        raise
    except Image.DecompressionBombError:
        raise PageError(f"{path} is far too large to be decoded; {_WANTED}") from None
    except UnidentifiedImageError:
        raise PageError(f"{path} is neither JPEG nor PNG; {_WANTED}") from None
    except Exception as error:  # a broken file can make its decoder raise almost anything
        raise PageError(f"{path} is broken or cut off ({error}); {_WANTED}") from error
    fine, reason = looks_like_a_page(page) if check else (True, "")
    if not fine:
        raise PageError(f"{path} does not look like a page: {reason}; {_WANTED}")
    return page


def _decode(path: Path, grey: bool, reduced: int) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decoded before the size is known
        image = Image.open(path, formats=("JPEG", "PNG"))
    with image:
        if sorted(image.size) != sorted((WIDTH, HEIGHT)):  # before EXIF is asked for, which decodes the whole of a PNG
            raise PageError(f"{path} is {image.size[0]}×{image.size[1]}; {_WANTED}")
        lies = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        size = image.size[::-1] if lies else image.size
        if size != (WIDTH, HEIGHT):
            raise PageError(f"{path} is {size[0]}×{size[1]}; {_WANTED}")
        if reduced > 1 and image.format != "JPEG":
            raise PageError(f"{path} is no JPEG, and only those can be decoded to a part of their size")
        if image.format == "JPEG" and image.mode in ("RGB", "L") and (grey or reduced > 1):
            image.draft("L" if grey else "RGB", (image.width // reduced, image.height // reduced))
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey
            image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return np.array(image.convert("L" if grey else "RGB"))
