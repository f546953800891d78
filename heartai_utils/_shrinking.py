"""The ways to shrink a page to a thumbnail, by name; the course's own among them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from scipy import sparse

from heartai_utils import page

SIZE = (256, 182)

CROPS = {
    "grid": page.GRID_BOX,
    # four rows of four windows of 492 × 300 px each: cut evenly, every piece is of one lead alone
    "traces": (page.TRACE_X - 1, 311, page.TRACE_X - 1 + page.STRIP_COLUMNS, 311 + 4 * 300),
}
"""Parts of a page that can be shrunk by themselves: left, top, right, bottom, right and bottom exclusive."""
"""(width, height) of a thumbnail: NOT the order of an array's shape, which is (182, 256)."""

Method = Callable[[np.ndarray, tuple[int, int]], np.ndarray]


def _opencv(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    return cv2.resize(image, size, interpolation=interpolation)


def _pillow(image: np.ndarray, size: tuple[int, int], resample: Image.Resampling) -> np.ndarray:
    return np.array(Image.fromarray(image).resize(size, resample))


def _tensorflow(image: np.ndarray, size: tuple[int, int], method: str, antialias: bool = False) -> np.ndarray:
    importlib.import_module("heartai_utils._keras")  # here and so: it takes seconds, and silences TensorFlow's log
    import tensorflow as tf

    pixels = image if image.ndim == 3 else image[..., None]
    small = tf.image.resize(pixels, size[::-1], method, antialias=antialias).numpy()
    return np.clip(np.rint(small), 0, 255).astype(np.uint8).reshape(*size[::-1], *image.shape[2:])


# --- the course's own -------------------------------------------------------------------------------------------

_BLACK, _WHITE = 40, 140  # grey levels: a trace is darker than the one, paper and frame are paler than the other
_PEN = 3.1  # px: how thick a level trace is printed (measured on published pages, see `page`)
_REACH = 17  # px up and down within which a column's ink is weighed: 0.22 mV
_GAIN = 2.0  # a level trace fills a third of a pixel's height, and the tip of an R wave, evened, far less


def _even_ink(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink so that a column's ink tells where the trace was, not how steep it was.

    The mean over the 8.6 columns of a page that become one lets a steep stroke speak as often as it is tall: 4 ms of
    an R wave hold fifty times the ink of 4 ms of ST segment, and hide it. So, after what is paler than a trace has been
    taken off (paper and frame, and half of the grid's dots), each column's ink is divided by the square root of how
    much thicker than a level trace it is nearby. The root is a compromise: with the full quotient steep strokes fade
    until they are lost.

    Voltages are averaged by a triangle two pixels wide: where a thin line lies between two rows, it divides its ink
    between them in proportion, and so its place is kept; a box would put it into one. Times are averaged by Pillow's
    Hamming window, narrower than the triangle, wider than a box.
    """
    height, width, *channels = image.shape
    ink = cv2.LUT(image, _ink_of_grey()).reshape(height, -1)
    rows = (_filter(height, size[1], "triangle") @ ink).reshape(size[1], width, *channels)
    most = rows.max(axis=2) if channels else rows
    pixels = size[1] / height
    reach = max(1, round(_REACH * pixels))
    nearby = cv2.boxFilter(most, -1, (1, 2 * reach + 1), normalize=False, borderType=cv2.BORDER_CONSTANT)
    thicker = np.maximum(nearby / (255 * _PEN * pixels), 1)
    rows /= np.sqrt(thicker).reshape(*thicker.shape, *(1 for _ in channels))
    across = np.moveaxis(rows, 1, 0).reshape(width, -1)
    small = np.moveaxis((_filter(width, size[0], "hamming") @ across).reshape(size[0], size[1], *channels), 0, 1)
    return (255 - np.rint(np.clip(_GAIN * small, 0, 255))).astype(np.uint8)


def _ink_of_grey() -> np.ndarray:
    """(256,) float32: 255 for each grey level of a trace, 0 for paper, a slope between."""
    return (255 * np.clip((_WHITE - np.arange(256)) / (_WHITE - _BLACK), 0, 1)).astype(np.float32)


@lru_cache
def _filter(pixels: int, small: int, kind: str) -> sparse.csr_matrix:
    """(small, pixels) weights that average ``pixels`` to ``small``, each row's sum 1; the window is as Pillow's."""
    distance = np.abs((np.arange(pixels) + 0.5) * small / pixels - 0.5 - np.arange(small)[:, None])
    weights = np.clip(1 - distance, 0, None)
    if kind == "hamming":
        weights = np.where(distance < 1, np.sinc(distance) * (0.54 + 0.46 * np.cos(np.pi * distance)), 0)
    return sparse.csr_matrix((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))


METHODS: dict[str, Method] = {
    "nearest": partial(_opencv, interpolation=cv2.INTER_NEAREST),
    "nearest-exact": partial(_opencv, interpolation=cv2.INTER_NEAREST_EXACT),
    "linear": partial(_opencv, interpolation=cv2.INTER_LINEAR),
    "linear-exact": partial(_opencv, interpolation=cv2.INTER_LINEAR_EXACT),
    "cubic": partial(_opencv, interpolation=cv2.INTER_CUBIC),
    "area": partial(_opencv, interpolation=cv2.INTER_AREA),
    "lanczos": partial(_opencv, interpolation=cv2.INTER_LANCZOS4),
    "pillow-nearest": partial(_pillow, resample=Image.Resampling.NEAREST),
    "pillow-box": partial(_pillow, resample=Image.Resampling.BOX),
    "pillow-bilinear": partial(_pillow, resample=Image.Resampling.BILINEAR),
    "pillow-hamming": partial(_pillow, resample=Image.Resampling.HAMMING),
    "pillow-bicubic": partial(_pillow, resample=Image.Resampling.BICUBIC),
    "pillow-lanczos": partial(_pillow, resample=Image.Resampling.LANCZOS),
    "tf-nearest": partial(_tensorflow, method="nearest"),
    "tf-area": partial(_tensorflow, method="area"),
    **{
        f"tf-{name}{'-antialias' if antialias else ''}": partial(_tensorflow, method=name, antialias=antialias)
        for name in ("bilinear", "bicubic", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
        for antialias in (False, True)
    },
    "even-ink": _even_ink,
}
"""Every method that shrinks an array, by name: ``METHODS[name](image, (width, height))``.

Those without a prefix are OpenCV's, but for the last. Its linear, cubic and lanczos look at 2 × 2, 4 × 4 and 8 × 8
pixels around each sampled point however far apart the points are, and so does ``tf.image.resize`` unless it is told to
antialias; Pillow widens its filter by the factor, so that every pixel of the page counts (Parmar, Zhang & Zhu 2022,
arXiv:2104.11222). OpenCV's area is the mean of what a pixel covers; Pillow's box nearly so. OpenCV's nearest takes the
top left pixel, not the middle one: it also shifts by half a pixel.

``even-ink`` is the course's own, for line drawings such as these pages: what is paler than a trace is gone from it.
"""

JPEG_METHODS: dict[str, int] = {"jpeg-half": 2, "jpeg-quarter": 4, "jpeg-eighth": 8}
"""Methods for JPEG files alone: the decoder hands out a half, a quarter or an eighth of the page, area does the rest.

The decoder takes fewer frequencies of each block of 8 × 8 pixels back to pixels (libjpeg's scaled inverse DCT).
"""

OWN = "even-ink"
"""The method that the course found by measurement."""


def shrink(
    image: np.ndarray | str | Path,
    method: str = OWN,
    size: tuple[int, int] = SIZE,
    *,
    crop: str | None = None,
    colour: bool | None = None,
) -> np.ndarray:
    """Shrink a page, or any image, by one of ``METHODS`` or, from a JPEG file, of ``JPEG_METHODS``.

    Args:
        image: (height, width) grey or (height, width, 3) RGB, uint8; or the path of a page.
        method: the method's name.
        size: (width, height) of the result, at most the image's own.
        crop: None for the whole image, or one of ``CROPS``: "grid" for the inside of a page's printed frame, "traces"
            for the four rows of traces without calibration pulses and margins.
        colour: whether to keep colour; unless told, an array keeps what it has and a file becomes grey.

    Returns:
        (size[1], size[0]) or (size[1], size[0], 3), uint8.

    Raises:
        ValueError: for an unknown method, another type or shape of image, or a size that does not shrink it;
            ``page.PageError``, which is one, for a file that is no page.
        OSError: if the file cannot be read.
    """
    _check(method, size, crop)
    reduced = JPEG_METHODS.get(method, 1)
    if isinstance(image, (str, Path)):
        image = page.load_page(image, check=reduced == 1, grey=not colour, reduced=reduced)
    elif reduced > 1:
        raise ValueError(f"{method!r} happens while a JPEG is decoded: hand in the file's path, not an array")
    _check_image(image)
    if colour is False:
        image = to_grey(image)
    elif colour and image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if crop is not None:
        whole = (-(-page.HEIGHT // reduced), -(-page.WIDTH // reduced))
        if image.shape[:2] != whole:
            raise ValueError(
                f"only a page of {page.WIDTH} × {page.HEIGHT} has a grid to crop to, not {image.shape[:2]}"
            )
        x0, y0, x1, y1 = (round(edge / reduced) for edge in _box(crop))
        image = image[y0:y1, x0:x1]
    if size[0] > image.shape[1] or size[1] > image.shape[0]:
        raise ValueError(f"cannot shrink {image.shape[1]} × {image.shape[0]} to {size[0]} × {size[1]} (width × height)")
    return METHODS["area" if reduced > 1 else method](np.ascontiguousarray(image), tuple(size))


def to_grey(image: np.ndarray) -> np.ndarray:
    """Turn an RGB image into grey, 0.299 R + 0.587 G + 0.114 B; a grey one is handed back as it is.

    These weights (ITU-R BT.601) are the ones by which JPEG makes its luminance channel (ITU-T T.871), the only
    one that the published pages store at full resolution: colour is kept at half of it (4:2:0).

    Args:
        image: (height, width, 3) RGB or (height, width) grey, uint8.

    Returns:
        (height, width), uint8; 255 is white.

    Raises:
        ValueError: for an image of another type or shape.
    """
    _check_image(image)
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _box(crop: str | None) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the part of the page that is shrunk, right and bottom exclusive."""
    return (0, 0, page.WIDTH, page.HEIGHT) if crop is None else CROPS[crop]


def _check(method: str | None, size: tuple[int, int], crop: str | None = None) -> None:
    known = (*METHODS, *JPEG_METHODS)
    if method is not None and method not in known:
        raise ValueError(f"{method!r} is no method of shrinking: use one of {', '.join(known)}")
    whole = isinstance(size, (tuple, list)) and all(isinstance(side, (int, np.integer)) for side in size)
    if not whole or len(size) != 2 or min(size) < 1:
        raise ValueError(f"size {size!r} must be two positive whole numbers, width and height")
    if crop is not None and crop not in CROPS:
        raise ValueError(f"crop {crop!r} must be None, the whole page, or one of {', '.join(CROPS)}")


def _check_image(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"an image is a NumPy array of uint8, not {kind}")
    if image.ndim not in (2, 3) or image.shape[2:] not in ((), (3,)) or image.size == 0:
        raise ValueError(f"an image has the shape (height, width) or (height, width, 3), not {image.shape}")
