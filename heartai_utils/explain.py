"""What a trained model looked at and what it needed: attention, occlusion, and pages changed so as to fool it.

Three questions, each with its own tool:

* **What reached the verdict?** `rollout_maps` follows attention from the last block back to the page, and
  `attention_distances` tells how far each head looks. Attention says where values were fetched, not what they said.
* **What was needed?** A `Form` takes parts of a page away, a lead or a wave, by showing the paper under it;
  `occlusion` tells what that does to the verdict.
* **Is the explanation one?** A map that looks the same with random weights explains nothing about what was learned
  (Adebayo et al. 2018, arXiv:1810.03292): `randomised`, `rank_correlation`.

Everything follows from ``model.config.grid``, the positions of the tokens and the way thumbnails were made::

    >>> reader = PageReader()
    >>> form = Form.of(reader.model, reader.thumbnail)
    >>> without_v1 = form.erase(images, form.lead("V1"))
    >>> rollout_maps(reader.model, images).shape
    (240, 22, 32)

**How parts are taken away.** On the thumbnail, by that of the blank form: dots, lead names and separators stay, ink
goes. A lead is a rectangle, from midway between two rows to midway between the next, so that the tip of a QRS of more
than 1.9 mV stays behind in its neighbour's. Against pages on which the lead was never drawn (4 leads of 32 simulated
hearts, `course` weights) 5 % of its ink stays, 8 % as much is taken from others, and the drops of a verdict's
probability agree: correlation 0.89, mean 0.22 either way. A page with a hole was never printed, and a model that keeps
the patches with most ink then keeps others instead: what a drop shows is the sum of these and of what the lead said
(Hooker et al. 2019, arXiv:1806.10758).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy import stats

from heartai_utils import downsampling, page, training
from heartai_utils._keras import keras
from heartai_utils._shrinking import _box
from heartai_utils.downsampling import PLACES
from heartai_utils.simulation import Recording
from heartai_utils.vit import VisionTransformer, ViTConfig, build_vit

MM_PER_PX = 25.4 / page.DPI  # of a full-size page

# --- attention --------------------------------------------------------------------------------------------------


def rollout(weights: Sequence[np.ndarray]) -> np.ndarray:
    """How much of each token of the first block's input is in each token of the last block's output.

    The residual connection keeps a token beside what attention adds to it, so each block passes on (A + I) / 2, where A
    is the mean over its heads, and blocks multiply (Abnar & Zuidema 2020, arXiv:2005.00928, equation 1). What the
    MLPs, the values and the sizes of what is added do is left out.

    Args:
        weights: by block, (pages, heads, tokens, tokens), rows adding up to 1.

    Returns:
        (pages, tokens, tokens): row i holds the shares of token i; they add up to 1.
    """
    passed = None
    for block in weights:
        mixed = (np.mean(block, axis=1) + np.eye(block.shape[-1], dtype=np.float32)) / 2
        passed = mixed if passed is None else mixed @ passed
    return passed


def rollout_maps(model: VisionTransformer, images: np.ndarray, batch_size: int = 8) -> np.ndarray:
    """Attention rollout over the page: of which patches the mean of the last tokens, which the head reads, is made.

    Args:
        model: any Vision Transformer of `vit`.
        images: (pages, height, width) uint8 thumbnails.
        batch_size: pages whose attention is held in memory at once.

    Returns:
        (pages, rows, columns) float32 over ``model.config.grid``; each page's numbers add up to 1, and patches that
        became no token are NaN.
    """
    maps = []
    for weights, positions in _attention(model, images, batch_size):
        maps.append(on_grid(rollout(weights).mean(axis=1), positions, model.config.grid))
    return np.concatenate(maps)


def on_grid(values: np.ndarray, positions: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Put numbers of tokens where on the page the tokens are from.

    Args:
        values: (pages, tokens).
        positions: (pages, tokens) places among all patches, in reading order.
        grid: rows and columns of patches.

    Returns:
        (pages, rows, columns) float32; NaN where there is no token.
    """
    laid = np.full((len(values), grid[0] * grid[1]), np.nan, np.float32)
    np.put_along_axis(laid, positions, values.astype(np.float32), axis=1)
    return laid.reshape(-1, *grid)


def attention_distances(model: VisionTransformer, images: np.ndarray, form: Form, batch_size: int = 8) -> pd.DataFrame:
    """How far each head looks: the mean distance between a token and those it attends to, weighted by attention.

    Dosovitskiy et al. 2020 (arXiv:2010.11929, figure 7). Distances are between the centres of patches.

    Args:
        model, images, batch_size: as for `rollout_maps`.
        form: how the thumbnails were made.

    Returns:
        A row for each block and head: block and head (from 1), px (of the thumbnail) and mm (of the printed page), the
        means over pages and tokens; and even_mm, the same if the head attended to all tokens alike.
    """
    centres, (mm_down, mm_across) = patch_centres(model.config), form.mm_per_px
    totals = np.zeros((model.config.depth, model.config.heads, 3))
    for weights, positions in _attention(model, images, batch_size):
        at = centres[positions]
        down, across = np.moveaxis(at[:, :, None] - at[:, None], -1, 0)  # each (pages, tokens, tokens)
        px, mm = np.hypot(down, across), np.hypot(down * mm_down, across * mm_across)
        for block, total in zip(weights, totals, strict=True):
            for number, far in enumerate((px, mm)):
                total[:, number] += (block * far[:, None]).sum(axis=-1).mean(axis=-1).sum(axis=0)
        totals[..., 2] += mm.mean(axis=(1, 2)).sum()
    table = pd.DataFrame(totals.reshape(-1, 3) / len(images), columns=["px", "mm", "even_mm"])
    block, head = np.indices(totals.shape[:2]).reshape(2, -1) + 1
    return pd.DataFrame({"block": block, "head": head}).join(table)


def patch_centres(config: ViTConfig) -> np.ndarray:
    """(patches, 2) y and x of the centres of all patches in px of the thumbnail, in reading order.

    With a stem, a token also knows a few pixels around its patch.
    """
    return (np.indices(config.grid).reshape(2, -1).T + 0.5) * config.patch_shape


def ink_maps(images: np.ndarray, config: ViTConfig) -> np.ndarray:
    """The ink of each patch, its darkness squared and added up: the map that knows nothing of any model.

    Args:
        images: (pages, height, width) uint8 thumbnails.
        config: whose grid it is laid on.

    Returns:
        (pages, rows, columns) float32; what fills no patch is left out.
    """
    ink = np.square(1 - images / np.float32(255))
    (rows, columns), (down, across) = config.grid, config.patch_shape
    short = np.maximum(np.array([rows * down, columns * across]) - ink.shape[1:], 0)
    ink = np.pad(ink, ((0, 0), (0, short[0]), (0, short[1])))[:, : rows * down, : columns * across]
    return ink.reshape(-1, rows, down, columns, across).sum(axis=(2, 4))


def _attention(
    model: VisionTransformer, images: np.ndarray, batch_size: int
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Batch by batch the attention weights by block, and the places (pages, tokens) of the tokens."""
    for start in range(0, len(images), batch_size):
        _, values = model(images[start : start + batch_size], return_intermediates=True)
        blocks = range(1, model.config.depth + 1)
        weights = [keras.ops.convert_to_numpy(values[f"attention_{number}"]) for number in blocks]
        if values["positions"] is None:
            pages, tokens = len(weights[0]), weights[0].shape[-1]
            yield weights, np.tile(np.arange(tokens), (pages, 1))
        else:
            yield weights, keras.ops.convert_to_numpy(values["positions"])


# --- occlusion and intervention -----------------------------------------------------------------------------------

WAVES = ("P", "QRS", "ST", "T")
ST_MS = 80.0
"""From the J point on, counted as ST; then comes T, up to the end of QT. Where T begins is a convention."""


@dataclass(frozen=True, eq=False)
class Form:
    """The printed form as thumbnails of one kind show it: where what stands, and the paper under it.

    Masks are (height, width) bool, or (pages, height, width) where each page has its own.

    Attributes:
        method, crop, size: how thumbnails are made, see `downsampling.shrink`; size is (width, height).
    """

    method: str = downsampling.OWN
    crop: str | None = None
    size: tuple[int, int] = downsampling.SIZE

    @classmethod
    def of(cls, model: VisionTransformer, thumbnail: dict) -> Form:
        """The form for a model and the record of how its thumbnails are made (`training.Run.thumbnail`)."""
        settings = {"size": model.config.image_size} | thumbnail
        return cls(**settings | {"size": tuple(settings["size"])})  # JSON knows lists alone

    @cached_property
    def paper(self) -> np.ndarray:
        """(height, width) uint8: the blank form as such a thumbnail."""
        return downsampling.paper_thumbnail(self.method, self.size, self.crop)

    @property
    def mm_per_px(self) -> tuple[float, float]:
        """Millimetres of the printed page that a pixel is high and wide."""
        x0, y0, x1, y1 = _box(self.crop)
        return MM_PER_PX * (y1 - y0) / self.size[1], MM_PER_PX * (x1 - x0) / self.size[0]

    @property
    def seconds(self) -> np.ndarray:
        """(width,) the time from the recording's beginning at the middle of each column; the same in all rows."""
        x0, _, x1, _ = _box(self.crop)
        return page.x_to_seconds(x0 - 0.5 + (x1 - x0) / self.size[0] * (np.arange(self.size[0]) + 0.5))

    def lead(self, place: str) -> np.ndarray:
        """Mask of a lead's window, or of the rhythm strip ("strip").

        Raises:
            ValueError: there is no such lead.
        """
        if place == "strip":
            return self.window(page.STRIP_ROW, 0.0, page.STRIP_SECONDS)
        row, _, _, start, end = page.lead_window(place)
        return self.window(row, start, end)

    def window(self, row: int, start: float, end: float) -> np.ndarray:
        """Mask of a row of traces, 0 to 3, between two moments in seconds."""
        return self._rectangle(*page.seconds_to_x([start, end]), *_row_edges()[row : row + 2])

    @property
    def traces(self) -> np.ndarray:
        """Mask of all that a heart drew, from the first moment to the last; calibration pulses are not of it."""
        return self._rectangle(*page.seconds_to_x([0, page.STRIP_SECONDS]), *_row_edges()[[0, -1]])

    def _rectangle(self, left: float, right: float, top: float, bottom: float) -> np.ndarray:
        x0, y0, x1, y1 = _box(self.crop)
        columns = np.round((np.array([left, right]) - x0) * self.size[0] / (x1 - x0)).clip(0, self.size[0])
        rows = np.round((np.array([top, bottom]) - y0) * self.size[1] / (y1 - y0)).clip(0, self.size[1])
        mask = np.zeros(self.size[::-1], bool)
        mask[slice(*rows.astype(int)), slice(*columns.astype(int))] = True
        return mask

    def patches(self, chosen: np.ndarray, config: ViTConfig) -> np.ndarray:
        """Masks (pages, height, width) of the patches chosen, (pages, rows, columns) bool on the model's grid."""
        down, across = config.patch_shape
        masks = chosen.repeat(down, axis=1).repeat(across, axis=2)[:, : self.size[1], : self.size[0]]
        short = np.array(self.size[::-1]) - masks.shape[1:]
        return np.pad(masks, ((0, 0), (0, short[0]), (0, short[1])))

    def erase(self, images: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The pages with paper where the mask is True: (pages, height, width) uint8."""
        return np.where(mask, self.paper, images)

    def with_margins_of(self, images: np.ndarray, others: np.ndarray) -> np.ndarray:
        """The traces of some pages with header and footer, all outside the printed frame's rows, of others."""
        x0, _, x1, _ = _box(self.crop)
        inside = self._rectangle(x0, x1, page.GRID_BOX[1], page.GRID_BOX[3])
        return np.where(inside, images, others)


def _row_edges() -> np.ndarray:
    """y of the upper edges of the four rows of traces and of the last one's lower edge."""
    baselines = np.array(page.BASELINES)
    return np.concatenate([[page.GRID_BOX[1]], (baselines[1:] + baselines[:-1]) / 2, [page.GRID_BOX[3]]])


def waves_at(recording: Recording, seconds: np.ndarray) -> np.ndarray:
    """Which wave the heart draws at each moment, of a simulated recording whose beats are known.

    P is taken from its onset to that of QRS, ST as the first ``ST_MS`` after the J point. Times are those of the
    usual beat; ventricular beats, which have others, are left out.

    Args:
        recording: with ``facts`` as `simulate_recording` gives them and `dataset.read_truth` reads them back.
        seconds: (n,) from the recording's beginning.

    Returns:
        (n,) texts: one of ``WAVES``, or "" where there is none.
    """
    facts = recording.facts
    found = np.full(np.shape(seconds), "", "<U3")
    peaks = [at for at, kind in zip(facts["r_peaks_s"], facts["beat_kinds"], strict=True) if kind != "V"]
    onset, j = facts["onset_ms"], facts["j_ms"]
    ends = {"T": (j + ST_MS, onset + facts["qt_ms"]), "ST": (j, j + ST_MS), "QRS": (onset, j)}
    if facts["pr_ms"] is not None:
        ends = {"P": (onset - facts["pr_ms"], onset)} | ends
    for wave in sorted(ends, key=WAVES.index, reverse=True):  # at fast rates P begins before T has ended, and counts
        for peak in peaks:
            start, end = peak + np.array(ends[wave]) / 1000
            found[(seconds >= start) & (seconds < end)] = wave
    return found


def occlusion(
    model: VisionTransformer, images: np.ndarray, form: Form, places: Sequence[str] = PLACES, batch_size: int = 32
) -> np.ndarray:
    """Probabilities (places, pages, 4) of pages on which one lead after the other is erased."""
    erased = (form.erase(images, form.lead(place)) for place in places)
    return np.stack([training.predict(model, pages, batch_size) for pages in erased])


def partners(labels: Sequence[int], seed: int) -> np.ndarray:
    """For each page the position of one of another condition, drawn at random.

    Raises:
        ValueError: all pages have one condition.
    """
    labels = np.asarray(labels)
    if len(np.unique(labels)) < 2:
        raise ValueError("all pages have one condition: there is none of another to change with")
    rng = np.random.default_rng(seed)
    return np.array([rng.choice(np.flatnonzero(labels != label)) for label in labels])


# --- sanity checks ------------------------------------------------------------------------------------------------


def randomised(model: VisionTransformer, seed: int, kept: int = 0) -> VisionTransformer:
    """A model of the same shape with random weights in all but its first layers.

    Randomising from the verdict's end downwards shows from where on an explanation listens to what was learned (the
    cascading test of Adebayo et al. 2018).

    Args:
        model: the trained model; it stays as it is.
        seed: of the random weights.
        kept: how many of the layers that have weights keep the trained ones, counted from the page's end; see
            `layers_with_weights`.
    """
    fresh = build_vit(model.config, seed)
    for old, new in list(zip(layers_with_weights(model), layers_with_weights(fresh), strict=True))[:kept]:
        new.set_weights(old.get_weights())
    return fresh


def layers_with_weights(model: VisionTransformer) -> list:
    """The layers that learn, from the page to the logits."""
    return [layer for layer in model.layers if layer.trainable_weights]


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of two maps of each page: 1 the same order, 0 unrelated.

    Args:
        first, second: (pages, …) of one shape; places that are NaN in either do not count.

    Returns:
        (pages,); NaN where a map is the same everywhere.

    Raises:
        ValueError: for two shapes.
    """
    first, second = (np.asarray(maps, float).reshape(len(maps), -1) for maps in (first, second))
    if first.shape != second.shape:
        raise ValueError(f"maps of {first.shape} and {second.shape}: compare maps of the same pages on the same grid")
    return np.array([_spearman(a, b) for a, b in zip(first, second, strict=True)])


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    ranks = [stats.rankdata(values[known]) for values in (first, second)]
    if any(np.ptp(each) == 0 for each in ranks):
        return np.nan
    return float(np.corrcoef(*ranks)[0, 1])
