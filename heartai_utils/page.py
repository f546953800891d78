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
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from os import PathLike
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError

from heartai_utils._layout import (
    BASELINES,
    DPI,
    FRAME,
    GRID_BOX,
    HEIGHT,
    NAME_BASELINES,
    NAME_COLUMNS,
    PX_PER_MV,
    PX_PER_SECOND,
    ROW_LEADS,
    RULE_COLUMNS,
    RULE_HEIGHT,
    RULE_ROWS,
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
    """

    printed_id: str = "100000"
    sex: str = "Male"
    rhythm_lead: str = "II"
    date: datetime = datetime(2020, 1, 1)
    date_format: str = "Y-m-d"
    heart_rate: float | None = None
    lead_off: bool | None = None
    quality: str = "high"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} is {getattr(self, name)!r}: use one of {', '.join(choices)}")

    @classmethod
    def random(cls, rng: np.random.Generator) -> PageDetails:
        """Draw details as often as on the 491 distinct published pages, whatever the condition of the recording.

        447 are of men, 350 have lead II as rhythm strip, 52 are of the batch of November 2019 with its own date
        format and JPEG quality; the others are of August and October 2020, one to four.
        """
        old = rng.random() < 52 / 491
        month = datetime(2019, 11, 1) if old else datetime(2020, 8 if rng.random() < 0.2 else 10, 1)
        return cls(
            printed_id=str(rng.integers(150_000, 180_000)),
            sex="Male" if rng.random() < 447 / 491 else "Female",
            rhythm_lead="II" if rng.random() < 350 / 491 else "III",
            date=month + timedelta(seconds=int(rng.integers(30 * 86_400))),
            date_format="d-m-Y" if old else "Y-m-d",
            quality="low" if old else "high",
        )


_CHOICES = {
    "sex": ("Male", "Female"),
    "rhythm_lead": ("II", "III"),
    "date_format": ("Y-m-d", "d-m-Y"),
    "quality": ("high", "low"),
}

# --- Drawing ------------------------------------------------------------------------------------------------------

# Before compression. With the tables below, these colours give the published pages' frame and dots to a grey level.
_INK, _DOTS, _FRAME = (0, 0, 0), (255, 20, 5), (255, 160, 163)
_PEN = np.ones((3, 3), np.uint8)


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
    paper = np.ones((HEIGHT, WIDTH), np.uint8)
    for lead in LEADS:
        row, _, _, start, end = lead_window(lead)
        _draw_trace(paper, recording, lead, row, start, end)
    _draw_trace(paper, recording, details.rhythm_lead, STRIP_ROW, 0.0, STRIP_SECONDS)
    page = cv2.copyTo(_template(), cv2.erode(paper, _PEN))  # black where the pen went, as copyTo starts from zeros
    _print_details(page, details, recording.facts)
    return page


def _draw_trace(paper: np.ndarray, recording: Recording, lead: str, row: int, start: float, end: float) -> None:
    """Mark the way of the pen's middle from `start` to `end` seconds with zeros."""
    samples = np.arange(round(start * recording.rate), min(round(end * recording.rate) + 1, recording.signals.shape[1]))
    x = seconds_to_x(samples / recording.rate)
    y = mv_to_y(recording.lead(lead)[samples], row)
    if samples.size:
        cv2.polylines(paper, [np.rint(np.stack([x, y], axis=1)).astype(np.int32)], isClosed=False, color=0)


@cache
def _template() -> np.ndarray:
    """What all pages share."""
    page = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    for text, left, right, baseline, size in _LABELS:
        _print(page, text, left, baseline, size, right)
    for top in RULE_ROWS:
        page[top : top + RULE_HEIGHT, slice(*RULE_COLUMNS)] = _INK
    page[grid_dots()] = _DOTS
    left, top, right, bottom = FRAME
    page[top : top + 4, left:right] = page[bottom - 3 : bottom, left:right] = _FRAME
    page[top:bottom, left : left + 3] = page[top:bottom, right - 4 : right] = _FRAME
    for x, width in SEPARATORS:
        page[slice(*SEPARATOR_ROWS), x : x + width] = _INK
    for foot in BASELINES:
        _draw_pulse(page, foot)
    page.setflags(write=False)
    return page


def _draw_pulse(page: np.ndarray, foot: int) -> None:
    """The calibration pulse: two feet, two flanks, and a roof 1 mV above them."""
    roof = foot - 79
    page[foot - 1 : foot + 2, 96:107] = page[foot - 1 : foot + 2, 120:132] = _INK
    page[roof - 1 : foot + 2, 104:107] = page[roof - 1 : foot + 2, 120:124] = _INK
    page[roof - 1 : roof + 2, 104:124] = _INK


def _print_details(page: np.ndarray, details: PageDetails, facts: dict) -> None:
    """Print the texts that differ from page to page: each follows the one before it, as on the machine."""
    y, size = 93, _HEADER
    _print(page, "ID", 70, y, size, 96)
    _print(page, ":", 112, y, size)
    x = 116 + _print(page, details.printed_id, 132, y, size)
    _print(page, "Years", x, y, size, x + 65)
    _print(page, details.sex, x + 125, y, size, x + (180 if details.sex == "Male" else 206))
    x += 0 if details.sex == "Male" else 26
    for text, left, right in _AFTER_SEX:
        _print(page, text, x + left, y, size, x + right)
    y = 126
    if details.sex == "Male":
        _print(page, "Department:", x + 1203, 93, size, x + 1346)
        _print(page, "Exam.Room:", 70, y, size, 219)
        _print(page, "Medication:", 279, y, size, 414)
    else:  # the line is full
        _print(page, "Department:", 70, y, size, 214)
        _print(page, "Exam.Room:", 274, y, size, 422)
        _print(page, "Medication:", 482, y, size, 618)

    strip_name = NAME_COLUMNS[details.rhythm_lead]
    _print(page, details.rhythm_lead, strip_name[0], NAME_BASELINES[STRIP_ROW], size, strip_name[1])

    heart_rate = facts.get("heart_rate_bpm") if details.heart_rate is None else details.heart_rate
    lead_off = bool(facts.get("lead_off")) if details.lead_off is None else details.lead_off
    y, size, x = 1553, _FOOTER, 447
    if lead_off:
        _print(page, "Lead", 447, y, size, 491)
        _print(page, "Off", 507, y, size, 542)
        x = 556
    _print(page, "4*2.5s+1r", x, y, size, x + 91)
    _print(page, "♥", x + 104, 1552, _HEART)
    rate = "" if heart_rate is None else str(round(heart_rate))
    x = _print(page, rate, x + 120, y, size) + (24 if len(rate) < 3 else 15)
    for text, left, right in _AFTER_RATE:
        _print(page, text, x + left, y, size, x + right)
    date = details.date
    year, month, day = f"{date.year:04}", f"{date.month:02}", f"{date.day:02}"
    parts = (year, month, day) if details.date_format == "Y-m-d" else (day, month, year)
    hour = f"{(date.hour + 11) % 12 + 1:02}:{date.minute:02}:{date.second:02}"
    x = _print(page, "–".join(parts), 1793, y, size)
    x = _print(page, hour, x + 24, y, size)
    _print(page, "AM" if date.hour < 12 else "PM", x + 13, y, size, x + 43)


# --- Type: STIX, which comes with matplotlib, is drawn after Times ------------------------------------------------

_TITLE, _HEADER, _FOOTER, _HEART = 43.0, 27.5, 22.5, 20.0  # sizes at which the letters are as high as on real pages
_TRACKING = {_HEADER: -0.2, _FOOTER: 0.6, _HEART: 0.0}  # px added after the letters of a text without a given end
_NARROWER = {(_FOOTER, "1"): -2.5, (_FOOTER, ":"): -1.7, (_HEADER, "1"): -0.7}  # px more after some of them
_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_LABELS = (  # text, first and last column of its ink, baseline, size
    ("ECG", 995, 1080, 61, _TITLE),
    ("REPORT", 1108, 1275, 61, _TITLE),
    ("Diagnosis", 70, 181, 170, _HEADER),
    ("Information:", 199, 346, 170, _HEADER),
    ("Technician", 1557, 1686, 204, _HEADER),
    (":", 1703, 1705, 204, _HEADER),
    ("Ref–Phys.", 1557, 1678, 237, _HEADER),
    (":", 1697, 1699, 237, _HEADER),
    ("Report", 1557, 1636, 270, _HEADER),
    ("Confirmed", 1652, 1781, 270, _HEADER),
    ("by:", 1800, 1831, 270, _HEADER),
    ("0.67~25Hz", 69, 169, 1553, _FOOTER),
    ("AC50", 186, 236, 1553, _FOOTER),
    ("25mm/s", 251, 323, 1553, _FOOTER),
    ("10mm/mV", 338, 435, 1553, _FOOTER),
    *((lead, *NAME_COLUMNS[lead], NAME_BASELINES[lead_window(lead)[0]], _HEADER) for lead in LEADS),
)
_AFTER_SEX = (  # text, first and last column of its ink from the "Y" of "Years"
    ("cm", 296, 329), ("kg", 443, 469), ("/", 586, 592), ("mmHg", 636, 713), ("Race:Unknown", 774, 954),
    ("Room", 1013, 1082), ("No.:", 1098, 1143),
)  # fmt: skip
_AFTER_RATE = (("SE–3", 0, 45), ("V1.0", 57, 96), ("SEMIP", 111, 172), ("V1.7", 184, 224))


@cache
def _glyph(char: str, size: float) -> tuple[np.ndarray, int, int, float]:
    """A letter's ink as a mask, the mask's offset (x, y) from the pen, and the pen's advance, in px."""
    font = ImageFont.truetype(_FONTS / ("DejaVuSans.ttf" if char == "♥" else "STIXGeneral.ttf"), size)
    canvas = Image.new("L", (96, 96))
    draw = ImageDraw.Draw(canvas)
    draw.fontmode = "1"  # no anti-aliasing
    draw.text((24, 64), char, font=font, fill=255, anchor="ls")
    left, top, right, bottom = canvas.getbbox() or (24, 64, 24, 64)
    if char == "I" and size == _HEADER:  # whose serifs are a pixel shorter on the machine, which tells II from III
        left, right = left + 1, right - 1
    lift = int(bottom == 63)  # hinting leaves some letters a pixel above the line
    return np.asarray(canvas)[top:bottom, left:right] > 0, left - 24, top - 64 + lift, font.getlength(char)


def _print(page: np.ndarray, text: str, left: int, baseline: int, size: float, right: int | None = None) -> int:
    """Print a text whose ink begins in column `left`, spaced to end in column `right` if given.

    Returns:
        The last column of its ink.
    """
    glyphs = [_glyph(char, size) for char in text]
    if right is None:
        spacing = [_TRACKING[size] + _NARROWER.get((size, char), 0.0) for char in text]
    else:
        first, last = glyphs[0], glyphs[-1]
        natural = sum(advance for *_, advance in glyphs[:-1]) + last[1] + last[0].shape[1] - first[1]
        spacing = [(right + 1 - left - natural) / max(len(text) - 1, 1)] * len(text)
    end, pen = left, left - (glyphs[0][1] if glyphs else 0)
    for (mask, dx, dy, advance), space in zip(glyphs, spacing, strict=True):
        x, y = round(pen) + dx, baseline + dy
        page[y : y + mask.shape[0], x : x + mask.shape[1]][mask] = _INK
        end = x + mask.shape[1] - 1
        pen += advance + space
    return end


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


def load_page(path: str | PathLike[str], check: bool = True) -> np.ndarray:
    """Open a page from disk.

    The size is read before anything is decoded. Grey, 16-bit, CMYK, palette and transparent pictures become RGB, and
    a turn noted in EXIF is carried out.

    Args:
        path: of a JPEG or PNG file.
        check: whether to ask `looks_like_a_page`, too.

    Returns:
        (1572, 2213, 3) uint8 RGB.

    Raises:
        PageError: if the file is missing, not a whole JPEG or PNG, of another size, or does not look like a page.
    """
    path = Path(path)
    if not path.is_file():
        raise PageError(f"{path} is {'a folder' if path.is_dir() else 'not there'}; {_WANTED}")
    if path.stat().st_size == 0:
        raise PageError(f"{path} is empty; {_WANTED}")
    try:
        page = _decode(path)
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


def _decode(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # nothing is decoded before the size is known
        image = Image.open(path, formats=("JPEG", "PNG"))
    with image:
        lies = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        size = image.size[::-1] if lies else image.size
        if size != (WIDTH, HEIGHT):
            raise PageError(f"{path} is {size[0]}×{size[1]}; {_WANTED}")
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I"):  # 16-bit grey
            return cv2.cvtColor((np.asarray(image) // 257).astype(np.uint8), cv2.COLOR_GRAY2RGB)
        if image.has_transparency_data:
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        return np.array(image.convert("RGB"))
