"""Five hundred images of a page's size that are no such pages: what `looks_like_a_page` must refuse.

Photographs made by drawing and filtering, other layouts of an ECG, noise, screens of text, and simulated pages that
were turned, cut, covered or altered until their traces could no longer be read as they stand::

    >>> kind, image = other_image(7)
    >>> kind, image.shape
    ('a photograph of a page, in bad light', (1572, 2213, 3))

Image ``number`` follows from its number alone.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from heartai_utils import page as p
from heartai_utils._layout import FRAME, NAME_BASELINES, NAME_COLUMNS, NAME_HEIGHT, SEPARATORS, grid_dots
from heartai_utils.simulation import LEADS, Recording, simulate_recording

COUNT = 500
SIZE = (p.WIDTH, p.HEIGHT)
LEFT, TOP, RIGHT, BOTTOM = FRAME
WHITE = (255, 255, 255)

Maker = Callable[[np.random.Generator], np.ndarray]
KINDS: dict[str, Maker] = {}


def other_image(number: int) -> tuple[str, np.ndarray]:
    """The kind and the pixels, (1572, 2213, 3) uint8 RGB, of one of the images."""
    kind = list(KINDS)[number % len(KINDS)]
    image = KINDS[kind](np.random.default_rng([number, COUNT]))
    return kind, np.ascontiguousarray(image)


def _kind(name: str) -> Callable[[Maker], Maker]:
    def keep(maker: Maker) -> Maker:
        KINDS[name] = maker
        return maker

    return keep


# --- Tools --------------------------------------------------------------------------------------------------------


def _recording(rng: np.random.Generator) -> Recording:
    return simulate_recording(int(rng.integers(4)), rng)


def _page(rng: np.random.Generator, compressed: float = 0.5) -> np.ndarray:
    """A simulated page, half of them as decoded from JPEG."""
    details = p.PageDetails.random(rng)
    image = p.draw_page(_recording(rng), details=details)
    if rng.random() < compressed:
        image = cv2.imdecode(np.frombuffer(p.encode_page(image, details.quality), np.uint8), cv2.IMREAD_COLOR)[
            ..., ::-1
        ]
    return image.copy()


def _fit(image: np.ndarray) -> np.ndarray:
    return cv2.resize(np.ascontiguousarray(image), SIZE, interpolation=cv2.INTER_AREA)


def _blank(colour: tuple[int, int, int] = WHITE) -> np.ndarray:
    return np.full((p.HEIGHT, p.WIDTH, 3), colour, np.uint8)


def _warp(image: np.ndarray, matrix: np.ndarray, background: tuple[int, int, int] = WHITE) -> np.ndarray:
    """Turn, shear or scale by a 2×3 matrix."""
    return cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_LINEAR, borderValue=background)


def _clouds(rng: np.random.Generator, channels: int = 3, finest: int = 6) -> np.ndarray:
    """Noise of all scales, (1572, 2213, channels) float32 from 0 to 1."""
    total = np.zeros((p.HEIGHT, p.WIDTH, channels), np.float32)
    for octave in range(finest):
        small = rng.random((3 * 2**octave, 4 * 2**octave, channels), np.float32)
        total += cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC).reshape(total.shape) / 1.8**octave
    return (total - total.min()) / np.ptp(total)


def _words(rng: np.random.Generator, length: int) -> str:
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz0123456789"))
    return " ".join("".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(length))


def _write(image: np.ndarray, text: str, x: int, y: int, colour=(0, 0, 0), scale: float = 0.9, width: int = 2) -> None:
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_COMPLEX, scale, colour, width, cv2.LINE_AA)


def _lined(image: np.ndarray, step: float, colour: tuple[int, int, int], box: tuple[int, int, int, int]) -> None:
    """Millimetre paper with unbroken lines in a box."""
    left, top, right, bottom = box
    for number, x in enumerate(np.arange(left, right, step)):
        cv2.line(image, (round(x), top), (round(x), bottom), colour, 2 if number % 5 == 0 else 1)
    for number, y in enumerate(np.arange(top, bottom, step)):
        cv2.line(image, (left, round(y)), (right, round(y)), colour, 2 if number % 5 == 0 else 1)


def _traces(image: np.ndarray, recording: Recording, rows: int, columns: int, box, names=LEADS, pen: int = 2) -> None:
    """Leads in rows and columns of a box, each named, in consecutive windows."""
    left, top, right, bottom = box
    height, width = (bottom - top) / rows, (right - left) / columns
    for number, name in enumerate(names[: rows * columns]):
        column, row = divmod(number, rows)
        samples = np.array_split(recording.lead(name), columns)[column]
        x = np.linspace(left + column * width + 10, left + (column + 1) * width - 10, len(samples))
        y = top + (row + 0.6) * height - samples * min(79.0, 0.4 * height)
        cv2.polylines(image, [np.stack([x, y], axis=1).astype(np.int32)], False, (0, 0, 0), pen)
        _write(image, name, int(left + column * width) + 12, int(top + (row + 0.25) * height))


# --- Photographs --------------------------------------------------------------------------------------------------


@_kind("a photograph of clouds")
def _(rng):
    return np.uint8(255 * _clouds(rng, finest=8))


@_kind("a photograph of a landscape")
def _(rng):
    image = np.linspace(rng.integers(120, 255, 3), rng.integers(150, 255, 3), p.HEIGHT)[:, None].repeat(p.WIDTH, axis=1)
    for layer in range(5):
        ridge = _clouds(rng, 1, 4)[0, :, 0] * 400 + 500 + 180 * layer
        image[np.arange(p.HEIGHT)[:, None] > ridge] = rng.integers(0, 200, 3)
    return np.uint8(cv2.GaussianBlur(image.astype(np.float32), (0, 0), 2) * (0.8 + 0.2 * _clouds(rng, 1, 9)))


@_kind("a photograph of things on a table")
def _(rng):
    image = _blank(tuple(int(v) for v in rng.integers(100, 250, 3)))
    for _ in range(40):
        centre, axes = rng.integers(0, SIZE), rng.integers(20, 300, 2)
        colour = tuple(int(v) for v in rng.integers(0, 255, 3))
        cv2.ellipse(
            image, tuple(map(int, centre)), tuple(map(int, axes)), float(rng.uniform(0, 360)), 0, 360, colour, -1
        )
    noisy = cv2.GaussianBlur(image, (0, 0), 3).astype(np.float32) + rng.normal(0, 8, image.shape)
    return np.uint8(noisy.clip(0, 255))


@_kind("a photograph in black and white")
def _(rng):
    grey = _clouds(rng, 1, 9)[..., 0]
    return np.uint8(255 * (grey > np.median(grey)))[..., None].repeat(3, axis=2)


@_kind("a photograph of a page, askew")
def _(rng):
    corners = np.float32([[0, 0], [p.WIDTH, 0], [p.WIDTH, p.HEIGHT], [0, p.HEIGHT]])
    moved = np.float32(corners * 0.8 + np.array(SIZE) * 0.1 + rng.uniform(-120, 120, (4, 2)))
    table = tuple(int(v) for v in rng.integers(40, 200, 3))
    matrix = cv2.getPerspectiveTransform(corners, moved)
    return cv2.warpPerspective(_page(rng), matrix, SIZE, flags=cv2.INTER_AREA, borderValue=table)


@_kind("a photograph of a page, nearly straight")
def _(rng):
    corners = np.float32([[0, 0], [p.WIDTH, 0], [p.WIDTH, p.HEIGHT], [0, p.HEIGHT]])
    moved = np.float32(corners + rng.uniform(8, 30, (4, 2)) * rng.choice([-1, 1], (4, 2)))
    return cv2.warpPerspective(_page(rng), cv2.getPerspectiveTransform(corners, moved), SIZE, borderValue=WHITE)


@_kind("a photograph of a page, curled")
def _(rng):
    y, x = np.mgrid[: p.HEIGHT, : p.WIDTH].astype(np.float32)
    bow = rng.uniform(6, 25) * np.sin(np.pi * x / p.WIDTH * rng.uniform(1, 3))
    return cv2.remap(_page(rng), x, (y + bow).astype(np.float32), cv2.INTER_LINEAR, borderValue=WHITE)


@_kind("a photograph of a page, in bad light")
def _(rng):
    light = 0.35 + 0.55 * _clouds(rng, 1, 2)
    return np.uint8(_page(rng) * light * np.array([1.0, 0.95, 0.85]))


# --- Other layouts ------------------------------------------------------------------------------------------------


def _report(rng: np.random.Generator) -> np.ndarray:
    """Blank paper with a header of its own and lined paper of its own."""
    image = _blank()
    step = rng.uniform(6, 11)
    _lined(image, step, tuple(int(v) for v in rng.integers((220, 150, 150), (256, 205, 205))), (60, 280, 2160, 1520))
    for line in range(4):
        _write(image, _words(rng, 4), 70, 60 + 50 * line)
        _write(image, _words(rng, 3), 1300, 60 + 50 * line)
    return image


BODY = (70, 290, 2150, 1510)


@_kind("another layout: 3×4 and a strip")
def _(rng):
    image, recording = _report(rng), _recording(rng)
    _traces(image, recording, 3, 4, (70, 290, 2150, 1210))
    _traces(image, recording, 1, 1, (70, 1210, 2150, 1510), ("II",))
    return image


@_kind("another layout: 3×4 and three strips")
def _(rng):
    image, recording = _report(rng), _recording(rng)
    _traces(image, recording, 3, 4, (70, 290, 2150, 910))
    _traces(image, recording, 3, 1, (70, 910, 2150, 1510), ("V1", "II", "V5"))
    return image


@_kind("another layout: 6×2")
def _(rng):
    image = _report(rng)
    _traces(image, _recording(rng), 6, 2, BODY, pen=int(rng.integers(1, 4)))
    return image


@_kind("another layout: 12×1")
def _(rng):
    image = _report(rng)
    _traces(image, _recording(rng), 12, 1, BODY, pen=int(rng.integers(1, 4)))
    return image


def _emptied(rng: np.random.Generator) -> np.ndarray:
    """A page with its print, frame and grid, and nothing else inside."""
    empty = Recording(np.zeros((12, 5000), np.float32), 500.0)
    page = p.draw_page(empty, details=p.PageDetails.random(rng))
    dots = np.zeros(page.shape[:2], bool)
    dots[grid_dots()] = True
    page[287:1514, 90:2170][~dots[287:1514, 90:2170]] = WHITE
    return page


@_kind("this header and frame, 6×2 leads")
def _(rng):
    image = _emptied(rng)
    _traces(image, _recording(rng), 6, 2, BODY, pen=3)
    return image


@_kind("this header and frame, 12×1 leads")
def _(rng):
    image = _emptied(rng)
    _traces(image, _recording(rng), 12, 1, BODY, pen=3)
    return image


@_kind("this page without its traces")
def _(rng):
    return _emptied(rng)


@_kind("this layout on lined paper")
def _(rng):
    page = _page(rng, compressed=0)
    page[(page == (255, 20, 5)).all(axis=2)] = WHITE
    lined = page.copy()
    _lined(lined, 7.946, (250, 190, 190), (72, 287, 2171, 1514))
    return np.minimum(page, lined)


@_kind("this layout on wider dots")
def _(rng):
    page = _page(rng, compressed=0)
    page[(page == (255, 20, 5)).all(axis=2)] = WHITE
    step = int(rng.choice([5, 6, 7, 9, 10]))
    dots = page[290:1510:step, 75:2170:step]
    dots[(dots == 255).all(axis=2)] = (255, 20, 5)
    return page


@_kind("this layout under another header")
def _(rng):
    page = _page(rng)
    page[20:132] = WHITE
    for line in range(2):
        _write(page, _words(rng, 8), 70, 60 + 50 * line)
    return page


@_kind("this layout with its leads in another order")
def _(rng):
    page = _page(rng)
    names = [(lead, NAME_BASELINES[row]) for row, leads in enumerate(p.ROW_LEADS) for lead in leads]
    boxes = [
        (slice(y - NAME_HEIGHT - 1, y + 1), slice(NAME_COLUMNS[lead][0] - 1, NAME_COLUMNS[lead][0] + 54))
        for lead, y in names
    ]
    patches = [page[box].copy() for box in boxes]
    order = np.roll(np.arange(len(names)), int(rng.integers(1, 12)))
    for box, index in zip(boxes, order, strict=True):
        page[box] = patches[index]
    return page


@_kind("this layout with two leads exchanged")
def _(rng):
    page = _page(rng)
    row = int(rng.integers(3))
    one, other = rng.choice(4, 2, replace=False)
    if 0 in (one, other):
        one, other = 1, 2 + int(rng.integers(2))
    starts = [p.lead_window(lead)[1] + 1 for lead in p.ROW_LEADS[row]]
    band = slice(p.BASELINES[row] - 150, p.BASELINES[row] + 140)
    here, there = (slice(starts[index] + 2, starts[index] + 480) for index in (one, other))
    page[band, here], page[band, there] = page[band, there].copy(), page[band, here].copy()
    return page


@_kind("this layout with its rows in another order")
def _(rng):
    page = _page(rng)
    bands = [page[foot - 140 : foot + 150, 75:2170].copy() for foot in p.BASELINES]
    for foot, index in zip(p.BASELINES, np.roll(np.arange(4), int(rng.integers(1, 4))), strict=True):
        page[foot - 140 : foot + 150, 75:2170] = bands[index]
    return page


@_kind("this layout at another speed or gain")
def _(rng):
    page = _page(rng)
    page[1532:1560, 245:442] = WHITE
    _write(
        page,
        str(rng.choice(["50mm/s 10mm/mV", "12.5mm/s 10mm/mV", "25mm/s 5mm/mV", "25mm/s 20mm/mV"])),
        250,
        1553,
        scale=0.6,
        width=1,
    )
    return page


@_kind("this layout without calibration pulses")
def _(rng):
    page = _page(rng)
    rows = [int(rng.integers(4))] if rng.random() < 0.5 else range(4)
    for row in rows:
        foot = p.BASELINES[row]
        page[foot - 85 : foot + 5, 90:140] = page[foot - 85 : foot - 5, 90:140].max()
    return page


@_kind("this layout with pulses of another height")
def _(rng):
    page = _page(rng, compressed=0)
    roof = int(rng.choice([39, 60, 100, 120]))
    for foot in p.BASELINES:
        page[foot - 85 : foot - 2, 100:128] = WHITE
        cv2.polylines(
            page, [np.array([[105, foot], [105, foot - roof], [122, foot - roof], [122, foot]])], False, (0, 0, 0), 3
        )
    return page


@_kind("this layout without lines between the leads")
def _(rng):
    page = _page(rng)
    for x, width in SEPARATORS:
        page[300:1112, x - 1 : x + width + 1] = WHITE
    return page


@_kind("this layout with a pen of another width")
def _(rng):
    page = _page(rng, compressed=0)
    ink = page[300:1510, 140:2165]
    black = (ink == 0).all(axis=2).astype(np.uint8)
    ink[cv2.dilate(black, np.ones((int(rng.choice([15, 21, 27])),) * 2, np.uint8)) > 0] = 0
    return page


@_kind("a chart of prices")
def _(rng):
    image = _blank()
    cv2.rectangle(image, (LEFT, TOP), (RIGHT, BOTTOM), (160, 160, 160), 3)
    for y in range(TOP, BOTTOM, 120):
        cv2.line(image, (LEFT, y), (RIGHT, y), (225, 225, 225), 1)
        _write(image, str(int(rng.integers(100, 999))), 5, y, scale=0.6)
    for _ in range(4):
        y = rng.uniform(400, 1400) + np.cumsum(rng.normal(0, 6, 2000))
        colour = tuple(int(v) for v in rng.integers(0, 200, 3))
        cv2.polylines(image, [np.stack([np.arange(100, 2100), y], axis=1).astype(np.int32)], False, colour, 3)
    return image


# --- Noise and patterns -------------------------------------------------------------------------------------------


@_kind("noise, coloured")
def _(rng):
    return rng.integers(0, 256, (p.HEIGHT, p.WIDTH, 3), np.uint8)


@_kind("noise, grey")
def _(rng):
    grey = rng.normal(rng.uniform(60, 240), rng.uniform(5, 60), (p.HEIGHT, p.WIDTH, 1))
    return np.uint8(grey.clip(0, 255)).repeat(3, axis=2)


@_kind("noise, black on white")
def _(rng):
    return np.uint8(255 * (rng.random((p.HEIGHT, p.WIDTH, 1)) > rng.uniform(0.002, 0.5))).repeat(3, axis=2)


@_kind("one colour")
def _(rng):
    return _blank(
        tuple(int(v) for v in (rng.integers(0, 256, 3) if rng.random() < 0.7 else np.repeat(rng.choice([0, 255]), 3)))
    )


@_kind("stripes or squares")
def _(rng):
    y, x = np.mgrid[: p.HEIGHT, : p.WIDTH]
    period = int(rng.integers(2, 80))
    pattern = (x // period + (y // period if rng.random() < 0.5 else 0)) % 2
    return np.uint8(255 * pattern)[..., None].repeat(3, axis=2)


# --- Screens of text ----------------------------------------------------------------------------------------------


@_kind("a letter")
def _(rng):
    image = _blank()
    for y in range(100, 1480, int(rng.integers(34, 60))):
        _write(image, _words(rng, int(rng.integers(4, 14))), 150, y)
    return image


@_kind("a terminal")
def _(rng):
    image = _blank((20, 24, 30))
    for y in range(40, 1560, 32):
        _write(
            image,
            "$ " + _words(rng, int(rng.integers(1, 16))),
            20,
            y,
            tuple(int(v) for v in rng.integers(120, 255, 3)),
            0.7,
            1,
        )
    return image


@_kind("a table")
def _(rng):
    image = _blank()
    for y in range(140, 1500, 45):
        cv2.line(image, (68, y), (2155, y), (0, 0, 0), 2)
        for x in range(80, 2100, 260):
            _write(image, f"{rng.normal(0, 100):.2f}", x, y - 10, scale=0.8)
    for x in range(68, 2160, 260):
        cv2.line(image, (x, 140), (x, 1490), (0, 0, 0), 2)
    return image


@_kind("a window with a page in it")
def _(rng):
    image = _blank((240, 240, 245))
    image[:60] = rng.integers(40, 200, 3)
    _write(image, _words(rng, 6), 30, 42, WHITE)
    height = int(rng.integers(900, 1480))
    width = round(height * p.WIDTH / p.HEIGHT)
    small = cv2.resize(_page(rng), (width, height), interpolation=cv2.INTER_AREA)
    image[70 : 70 + height, 60 : 60 + width] = small
    return image


@_kind("this header, and text in place of the traces")
def _(rng):
    image = _emptied(rng)
    for y in range(330, 1500, int(rng.integers(36, 60))):
        _write(image, _words(rng, 12), 150, y, scale=0.8)
    return image


# --- Pages turned, moved and cut ----------------------------------------------------------------------------------


@_kind("a page turned to the left")
def _(rng):
    return _fit(np.rot90(_page(rng)))


@_kind("a page turned to the right")
def _(rng):
    return _fit(np.rot90(_page(rng), -1))


@_kind("a page upside down")
def _(rng):
    return _page(rng)[::-1, ::-1]


@_kind("a page mirrored")
def _(rng):
    return _page(rng)[:, ::-1] if rng.random() < 0.5 else _page(rng)[::-1]


@_kind("a page mirrored inside its frame")
def _(rng):
    page = _page(rng)
    inside = page[TOP + 4 : BOTTOM - 3, LEFT + 4 : RIGHT - 5]
    inside[:] = (inside[:, ::-1] if rng.random() < 0.5 else inside[::-1]).copy()
    return page


@_kind("a page tilted")
def _(rng):
    angle = float(rng.uniform(0.4, 6) * rng.choice([-1, 1]))
    return _warp(_page(rng), cv2.getRotationMatrix2D((p.WIDTH / 2, p.HEIGHT / 2), angle, 1.0))


@_kind("a page sheared")
def _(rng):
    return _warp(_page(rng), np.float64([[1, rng.uniform(0.01, 0.1) * rng.choice([-1, 1]), 0], [0, 1, 0]]))


@_kind("a page moved")
def _(rng):
    dx, dy = rng.integers(4, 60, 2) * rng.choice([-1, 1], 2)
    if rng.random() < 0.4:
        dx = 0
    return _warp(_page(rng), np.float64([[1, 0, dx], [0, 1, dy]]))


@_kind("a page made smaller or larger")
def _(rng):
    scale = float(rng.choice([rng.uniform(0.7, 0.99), rng.uniform(1.01, 1.3)]))
    return _warp(_page(rng), cv2.getRotationMatrix2D((p.WIDTH / 2, p.HEIGHT / 2), 0, scale))


@_kind("a third cut off on the left")
def _(rng):
    return _fit(_page(rng)[:, p.WIDTH // 3 :])


@_kind("a third cut off on the right")
def _(rng):
    return _fit(_page(rng)[:, : 2 * p.WIDTH // 3])


@_kind("a third cut off above")
def _(rng):
    return _fit(_page(rng)[p.HEIGHT // 3 :])


@_kind("a third cut off below")
def _(rng):
    return _fit(_page(rng)[: 2 * p.HEIGHT // 3])


@_kind("a third blanked")
def _(rng):
    page = _page(rng)
    third = p.WIDTH // 3
    start = int(rng.integers(0, 3)) * third
    page[TOP + 4 : BOTTOM - 3, max(start, 150) : min(start + third, 2165)] = WHITE
    return page


@_kind("the inside of the frame alone")
def _(rng):
    return _fit(_page(rng)[TOP:BOTTOM, LEFT:RIGHT])


@_kind("two pages side by side")
def _(rng):
    return _fit(np.hstack([_page(rng), _page(rng)]))


@_kind("two pages, one above the other")
def _(rng):
    return _fit(np.vstack([_page(rng), _page(rng)]))


@_kind("two pages, one over the other")
def _(rng):
    one, other = _page(rng), _page(rng)
    return np.minimum(one, other) if rng.random() < 0.5 else np.uint8((one.astype(np.uint16) + other) // 2)


@_kind("two halves of pages, one moved")
def _(rng):
    one, other = _page(rng), _page(rng)
    half = int(rng.integers(700, 1500))
    one[:, half:] = np.roll(other, int(rng.integers(8, 30)) * int(rng.choice([-1, 1])), axis=0)[:, half:]
    return one


# --- Pages altered ------------------------------------------------------------------------------------------------


@_kind("a page in negative")
def _(rng):
    return 255 - _page(rng)


@_kind("a page out of focus")
def _(rng):
    return cv2.GaussianBlur(_page(rng), (0, 0), float(rng.uniform(2.5, 12)))


@_kind("a page enlarged from a thumbnail")
def _(rng):
    width = int(rng.integers(200, 1000))
    small = cv2.resize(_page(rng), (width, round(width * p.HEIGHT / p.WIDTH)), interpolation=cv2.INTER_AREA)
    return cv2.resize(
        small, SIZE, interpolation=int(rng.choice([cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC]))
    )


@_kind("a page in noise")
def _(rng):
    page = _page(rng)
    return np.uint8((page + rng.normal(0, rng.uniform(50, 120), page.shape)).clip(0, 255))


@_kind("a page washed out")
def _(rng):
    floor = rng.uniform(0.55, 0.9)
    return np.uint8(255 * floor + (1 - floor) * _page(rng))


@_kind("a page with a lead erased")
def _(rng):
    page = _page(rng)
    row, start, end, *_ = p.lead_window(str(rng.choice(LEADS)))
    foot = p.BASELINES[row]
    page[foot - 160 : foot + 160, start + 2 : end - 4] = WHITE
    return page


@_kind("a page with a row erased")
def _(rng):
    page = _page(rng)
    foot = p.BASELINES[int(rng.integers(4))]
    page[foot - 165 : foot + 165, p.TRACE_X : 2165] = WHITE
    return page


@_kind("a page partly covered")
def _(rng):
    page = _page(rng)
    x, y = int(rng.integers(150, 1100)), int(rng.integers(300, 700))
    colour = tuple(int(v) for v in rng.integers(0, 256, 3))
    cv2.rectangle(page, (x, y), (x + int(rng.integers(500, 1000)), y + int(rng.integers(500, 800))), colour, -1)
    return page


@_kind("a page scribbled over")
def _(rng):
    page = _page(rng)
    for _ in range(int(rng.integers(12, 25))):
        points = np.stack([rng.uniform(160, 2100, 12), rng.uniform(300, 1500, 12)], axis=1)
        cv2.polylines(page, [points.astype(np.int32)], False, tuple(int(v) for v in rng.integers(0, 60, 3)), 4)
    return page


@_kind("a page without its header or footer")
def _(rng):
    page = _page(rng)
    page[:TOP] = WHITE if rng.random() < 0.5 else page[:TOP]
    page[BOTTOM + 3 :] = WHITE
    return page


@_kind("a page without its frame")
def _(rng):
    page = _page(rng)
    page[TOP - 2 : TOP + 6, :] = page[BOTTOM - 6 : BOTTOM + 2, :] = WHITE
    if rng.random() < 0.5:
        page[TOP:BOTTOM, LEFT - 2 : LEFT + 6] = page[TOP:BOTTOM, RIGHT - 7 : RIGHT + 2] = WHITE
    return page


@_kind("a page without its dots")
def _(rng):
    page = _page(rng, compressed=0)
    page[(page == (255, 20, 5)).all(axis=2)] = WHITE
    return page
