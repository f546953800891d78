"""The same heart, recorded a little differently: pages changed in ways in which real recordings differ.

Flips, rotations and the like make ECGs that no heart can produce, and cost accuracy on these pages (Anwar & Zakir
2021: 0.818 to 0.764). Here the trace is moved and the print stays: a later start, another gain, a wandering baseline,
a chest electrode that is off, another JPEG compression.

It works on thumbnails. The trace is what is darker than the empty page; it is taken off, divided among the four rows
it was drawn in, resampled between pixels (cubic) and put back. Reading a page, changing its signals and drawing it
anew would be exact to the sample, but takes a hundred times as long, and gives real pages the looks of drawn ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from heartai_utils import downsampling, page
from heartai_utils._shrinking import _box
from heartai_utils.simulation import LEADS, Recording

CHEST_LEADS = ("V1", "V2", "V3", "V4", "V5", "V6")
BREATHS_HZ = (0.15, 0.4)  # 9 to 24 breaths a minute: most of a baseline's wander comes from them
_AWAY_MV = 1000.0  # no ink of it falls on the page
_ROWS = len(page.BASELINES)
_AT_BASELINE_MV = 0.5
_LEVEL_PX = 2  # rows that a level trace inks, at any size: most often it lies across an edge between two
_ONE_TRACE = 0.75  # of a piece of ink at baselines; if less of it is at one of them, it is two traces that touch


@dataclass(frozen=True)
class Augmentation:
    """How far pages are changed while training; 0 leaves a thing as it is.

    Attributes:
        shift_ms: the recording starts up to this much earlier or later, uniform, in all leads alike.
        gain: amplitudes are multiplied by 1 − gain to 1 + gain, uniform, in all leads alike.
        wander_mv: the baseline swings with the breath, by up to this much, in each lead by its own amplitude.
        lead_loss: the probability that one of the chest leads is a flat line. (A limb electrode that is off would
            change several leads.)
        jpeg_grey: standard deviation of the noise among the traces, in grey levels, at most. *Measured*: the two
            JPEG qualities of the published files leave 1.0 and 2.0 in thumbnails by even-ink, 1.4 and 3.1 in those
            by area; a thumbnail compressed itself would get blocks of 8 × 8 that no thumbnail of a compressed page
            has.
    """

    shift_ms: float = 100.0
    gain: float = 0.1
    wander_mv: float = 0.1
    lead_loss: float = 0.1
    jpeg_grey: float = 2.0

    def __post_init__(self) -> None:
        for name, most in (("shift_ms", 500), ("gain", 0.5), ("wander_mv", 1), ("lead_loss", 1), ("jpeg_grey", 20)):
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name}={getattr(self, name)}: use 0 (off) to {most}")


class Augmenter:
    """Changes thumbnails of one kind, each in about a millisecond.

    Args:
        settings: how far.
        method, crop, size: as the thumbnails were made, see `downsampling.shrink`.

    Attributes:
        box: the rows and columns (slices) of a thumbnail that hold traces; all else stays as it is.
        seconds: (columns,) the time of each of these columns from the start of the first.

    Raises:
        ValueError: for an unknown method, size or crop.
    """

    def __init__(
        self,
        settings: Augmentation,
        method: str = downsampling.OWN,
        crop: str | None = None,
        size: tuple[int, int] = downsampling.SIZE,
    ):
        self.settings = settings
        self.pixel_ms, self.pixel_mv = downsampling.pixel_ms(size, crop), downsampling.pixel_mv(size, crop)
        x0, y0, x1, y1 = _box(crop)
        across, down = size[0] / (x1 - x0), size[1] / (y1 - y0)
        starts = page.seconds_to_x(page.WINDOW_SECONDS * np.arange(5))
        columns = np.round((starts - x0) * across).astype(int)
        rows = np.round((np.array(page.GRID_BOX[1::2]) - y0) * down).astype(int).clip(0, size[1])
        self.box = slice(*rows), slice(columns[0], columns[-1])

        empty, flat = (_level_page(mv, "II", method, size, crop) for mv in (_AWAY_MV, 0.0))
        # the strip's printed name may be II or III: both are print
        print_ = np.minimum(empty, _level_page(_AWAY_MV, "III", method, size, crop))
        self._print = print_[self.box].astype(np.int16)
        self._flat = (empty.astype(np.int16) - flat).clip(0)[self.box]

        self._baselines = (np.array(page.BASELINES) - y0 + 0.5) * down - 0.5 - rows[0]
        away = np.abs(np.arange(rows[1] - rows[0])[:, None] - self._baselines)
        self._nearest = away.argmin(axis=1).astype(np.uint8)[:, None]
        self._at_baseline = np.where(away.min(axis=1) < _AT_BASELINE_MV / self.pixel_mv, self._nearest[:, 0], _ROWS)
        self._columns = np.arange(columns[-1] - columns[0])
        self._window = np.searchsorted(columns - columns[0], self._columns, side="right") - 1
        ends = (columns - columns[0])[self._window], (columns - columns[0])[self._window + 1] - 1
        strip = np.zeros_like(self._columns), np.full_like(self._columns, self._columns[-1])
        self._window_ends = [strip if row == page.STRIP_ROW else ends for row in range(_ROWS)]
        self.seconds = self._columns * self.pixel_ms / 1000

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Change one page at random.

        Args:
            image: (height, width) grey thumbnail, uint8.
            rng: decides everything.

        Returns:
            An image of the same shape and type.
        """
        most = self.settings
        shift, gain = rng.uniform(-most.shift_ms, most.shift_ms), rng.uniform(1 - most.gain, 1 + most.gain)
        amplitude = rng.uniform(-most.wander_mv, most.wander_mv, (_ROWS, 4))[:, self._window]
        amplitude[page.STRIP_ROW] = amplitude[page.STRIP_ROW, 0]  # one lead for all of its 10 s
        breath = np.sin(2 * np.pi * (rng.uniform(*BREATHS_HZ) * self.seconds + rng.uniform()))
        lost = rng.choice(CHEST_LEADS) if rng.uniform() < most.lead_loss else None
        changed = self.change(image, shift, gain, amplitude * breath, lost)
        if most.jpeg_grey:
            traces = changed[self.box]
            half_width = np.float32(3**0.5 * rng.uniform(0, most.jpeg_grey))  # uniform, as errors of rounding are
            noise = (2 * rng.random(traces.shape, np.float32) - 1) * half_width
            changed[self.box] = (traces + noise).round().clip(0, 255)
        return changed

    def change(
        self,
        image: np.ndarray,
        shift_ms: float = 0.0,
        gain: float = 1.0,
        wander_mv: np.ndarray | None = None,
        lost: str | None = None,
    ) -> np.ndarray:
        """Move the traces of one page.

        Where a shift moves the end of a lead's window inwards, its last column is repeated: what the heart did
        outside the window is not on the page.

        Args:
            image: (height, width) grey thumbnail, uint8.
            shift_ms: by how much everything happens later.
            gain: by how much everything is taller; the trace stays as thick.
            wander_mv: (4, columns) by how much each row of traces is higher, in the columns of ``seconds``.
            lost: a lead that becomes a flat line.

        Returns:
            An image of the same shape and type.

        Raises:
            ValueError: there is no such lead.
        """
        ink, row_of = self._traces(image[self.box])
        kept, moved = ink, np.zeros(ink.shape, np.int16)
        if lost is not None:
            row, _, _, start, _ = page.lead_window(lost)
            window = self._window == round(start / page.WINDOW_SECONDS)
            kept = np.where((row_of == row) & window, 0, ink)
            moved += np.where((self._nearest == row) & window, self._flat, 0)
        for row, base in enumerate(self._baselines):
            layer = np.where(row_of == row, kept, 0).astype(np.uint8)
            inked = np.flatnonzero(layer.any(axis=1))
            if not inked.size:
                continue
            rise = np.zeros(len(self._columns)) if wander_mv is None else wander_mv[row] / self.pixel_mv
            first, last = min(inked[0], base), max(inked[-1], base)
            spare = (last - first) * abs(gain - 1) + 2  # the cubic reaches two pixels further
            top, bottom = first - spare - rise.max(), last + spare + 2 - rise.min()
            top, bottom = (int(y) for y in np.clip([top, bottom], 0, len(layer)))
            x = np.clip(self._columns - shift_ms / self.pixel_ms, *self._window_ends[row])
            centre, stretch = (np.interp(x, self._columns, of) for of in _centre_and_stretch(layer, base, gain))
            to = base + (centre - base) * gain - rise
            y = np.arange(top, bottom, dtype=np.float32)[:, None] / np.float32(stretch)
            y += np.float32(centre - to / stretch)
            x = np.tile(np.float32(x), (len(y), 1))
            moved[top:bottom] += cv2.remap(layer, x, y, cv2.INTER_CUBIC)
        changed = image.copy()
        changed[self.box] = (image[self.box] + ink - moved).clip(0, 255)
        return changed

    def change_all(self, images: np.ndarray, pages: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """Change the pages of an epoch; what becomes of a page depends on seed, epoch and its number alone.

        Args:
            images: (n, height, width) uint8.
            pages: (n,) the number of each image's page.
            seed, epoch: of the run.

        Returns:
            (n, height, width) uint8.
        """
        # NumPy takes [a, b] and [a, b, 0] for the same seed, and the order of the pages is drawn from [seed, epoch]
        seeds = ([seed, epoch, int(number) + 1] for number in pages)
        return np.stack(
            [self(image, np.random.default_rng(entropy)) for image, entropy in zip(images, seeds, strict=True)]
        )

    def _traces(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The ink of all traces over the paper, (height, width) int16, and the row that each pixel's belongs to.

        A trace is in one piece, so a tall beat belongs to the row it is joined to, not to the one it reaches into.
        Where traces of two rows touch, they are parted midway between their baselines.
        """
        darker = self._print - image
        paper = darker < downsampling.INK_FLOOR
        haze = round(float(darker[paper].mean())) if paper.any() else 0  # how much darker or paler JPEG makes the dots
        count, piece = cv2.connectedComponents((~paper).astype(np.uint8), ltype=cv2.CV_16U)
        place = piece.astype(np.int32) * (_ROWS + 1) + self._at_baseline[:, None]
        pixels = np.bincount(place.ravel(), minlength=count * (_ROWS + 1)).reshape(count, _ROWS + 1)[:, :_ROWS]
        is_one = pixels.max(axis=1) >= _ONE_TRACE * pixels.sum(axis=1).clip(1)
        row_of_piece = np.where(is_one, pixels.argmax(axis=1), _ROWS).astype(np.uint8)

        piece = cv2.dilate(piece, np.ones((3, 3), np.uint8))  # the faint edge belongs to the trace
        row_of = row_of_piece[piece]
        row_of = np.where(row_of == _ROWS, self._nearest, row_of)
        return np.where(piece > 0, (darker - haze).clip(0), 0).astype(np.int16), row_of


def _centre_and_stretch(layer: np.ndarray, base: float, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """In each column of one row's traces: the centre of the ink, and how much taller a gain makes it.

    A level trace is as thick as the pen at any gain, it only moves; of a steep stroke, all but this thickness grows.
    *Measured* with even-ink: stretched whole, a page had a quarter too much ink at a gain of 1.3.
    """
    ink = layer.astype(np.float32)
    total = ink.sum(axis=0)
    moment = np.arange(len(ink), dtype=np.float32) @ ink
    centre = np.divide(moment, total, out=np.full_like(total, base), where=total > 0)
    tall = np.maximum((layer >= downsampling.INK_FLOOR).sum(axis=0), _LEVEL_PX)
    return centre, gain + (1 - gain) * _LEVEL_PX / tall


def _level_page(mv: float, strip: str, method: str, size: tuple[int, int], crop: str | None) -> np.ndarray:
    """The thumbnail of a page whose traces are level at this amplitude."""
    recording = Recording(np.full((len(LEADS), 5000), mv, np.float32), 500.0)
    drawn = page.draw_page(recording, details=page.PageDetails(rhythm_lead=strip))
    method = "area" if method in downsampling.JPEG_METHODS else method  # they need a file, and end with area
    return downsampling.shrink(drawn, method, size, crop=crop, colour=False)
