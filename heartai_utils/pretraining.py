"""Simulated pages by the thousand, to begin with before the real ones: drawn, shrunk, and kept as thumbnails alone.

A set of `heartai simulate` takes half a megabyte a page, and drawing it again and again takes time. Pretraining needs
neither the pages nor their truth: here each is drawn and shrunk at once, and only what the model sees is kept, in files
of `SHARD` pages. Page i follows from (seed, i) alone and is the one that `dataset.simulate_set` draws.

Pretraining itself is `training.train` on `simulated_data`; fine-tuning the same on real pages, with the pretrained
model as ``initial``, and simulated pages mixed in by `with_simulated` so that rare conditions are not forgotten.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from tqdm.std import tqdm

from heartai_utils import _sets, _simulated, _thumbnails, downsampling
from heartai_utils._workers import start_worker
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, write_whole
from heartai_utils.training import Data, thumbnail_record

SHARD = 100
_JUDGED, _MOST_JUDGED = 0.1, 400


def simulated_thumbnails(
    pages: int,
    seed: int = 0,
    *,
    method: str = downsampling.OWN,
    size: tuple[int, int] = downsampling.SIZE,
    crop: str | None = None,
    cache_dir: str | Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails of simulated pages, as many of each condition, made or from the cache.

    Interrupted or killed, the same call goes on; asked for more pages later, it makes the further ones only.

    Args:
        pages: how many.
        seed: another seed, other hearts.
        method, size, crop: as for `downsampling.shrink`; JPEG methods are not among them.
        cache_dir: where they are kept; by default with the other data.
        workers: processes; by default one a core.
        progress: show a bar on standard error while pages are drawn.

    Returns:
        (pages, height, width) uint8 and (pages,) labels.

    Raises:
        ValueError: no pages asked for, or an unknown method, size or crop.
    """
    if pages < 1 or seed < 0:
        raise ValueError(f"pages={pages}, seed={seed}: ask for at least 1 page, and a seed of 0 or more")
    if method in downsampling.JPEG_METHODS:
        raise ValueError(f"{method!r} needs the pages' files, which are not kept: use another method")
    recipe = _recipe(method, size, crop)
    folder = Path(cache_dir or data_home() / "thumbnails") / f"simulated-{recipe}" / f"seed-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    shards = {first: folder / f"{first:07d}.npz" for first in range(0, pages, SHARD)}
    plans = plans_of(SHARD * len(shards), seed)
    found = {first: _read(path, size) for first, path in shards.items()}
    missing = [first for first, images in found.items() if images is None]
    draw = partial(_draw, method=method, size=size, crop=crop)
    with tqdm(total=SHARD * len(missing), disable=not (progress and missing), leave=False, unit="page") as bar:
        bar.set_description("simulating")
        wanted = [plan for first in missing for plan in plans[first : first + SHARD]]
        images = []
        for image in _all_drawn(draw, wanted, workers or os.cpu_count() or 1):
            images.append(image)
            bar.update()
            if len(images) == SHARD:
                first = missing[sum(found[each] is not None for each in missing)]
                found[first], images = np.stack(images), []
                _write(shards[first], found[first])
    labels = np.array([plan.condition.label for plan in plans[:pages]])
    return np.concatenate(list(found.values()))[:pages], labels


def simulated_data(
    pages: int,
    seed: int = 0,
    *,
    method: str = downsampling.OWN,
    size: tuple[int, int] = downsampling.SIZE,
    crop: str | None = None,
    **options,
) -> Data:
    """Simulated thumbnails to train on, and a tenth of them, at most 400, to judge by.

    Args:
        pages, seed, method, size, crop: as for `simulated_thumbnails`, and so are further options.

    Raises:
        ValueError: as `simulated_thumbnails`, or fewer than 40 pages.
    """
    if pages < 40:
        raise ValueError(f"{pages} simulated pages are too few to train and judge on: ask for at least 40")
    images, labels = simulated_thumbnails(pages, seed, method=method, size=size, crop=crop, **options)
    judged = min(round(_JUDGED * pages), _MOST_JUDGED)
    return Data(
        train_images=images[judged:],
        train_labels=labels[judged:],
        validation_images=images[:judged],
        validation_labels=labels[:judged],
        validation_files=tuple(plan.file for plan in plans_of(judged, seed)),
        thumbnail=thumbnail_record(method, crop, size),
    )


def with_simulated(data: Data, images: np.ndarray, labels: np.ndarray, copies: int = 1) -> Data:
    """Data whose training side has its own pages ``copies`` times, and simulated ones besides.

    Args:
        images, labels: as `simulated_thumbnails` gives them, made as those of ``data``.
        copies: how often each page of ``data`` stands among them; augmentation changes each copy differently.
    """
    return replace(
        data,
        train_images=np.concatenate([*[data.train_images] * copies, images]),
        train_labels=np.concatenate([*[data.train_labels] * copies, labels]),
    )


def plans_of(pages: int, seed: int) -> list[_simulated.Plan]:
    """What is drawn, in order: the pages of a balanced `dataset.simulate_set` of this seed."""
    return _simulated.plans(pages, seed, dict.fromkeys(NAMES, 1.0))


def _recipe(method: str, size: tuple[int, int], crop: str | None) -> str:
    """A checksum of all that a thumbnail depends on besides seed and number: how pages are drawn, and shrunk."""
    shrinking = _thumbnails._recipe(method, size, crop)
    told = f"{_sets._drawing_version()} {shrinking} {method} {size[0]} {size[1]} {crop}"
    return hashlib.sha256(told.encode()).hexdigest()[:12]


def _draw(plan: _simulated.Plan, method: str, size: tuple[int, int], crop: str | None) -> np.ndarray:
    """The thumbnail of a page that has been a JPEG file as all others have."""
    _, page, _ = _simulated.make(plan)
    grey = cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_GRAYSCALE)
    return downsampling.shrink(grey, method, size, crop=crop)


def _all_drawn(draw, plans: list[_simulated.Plan], workers: int) -> Iterator[np.ndarray]:
    """Thumbnails in the order of the plans, made here or by processes where that pays."""
    if workers == 1 or len(plans) < 2 * SHARD:
        yield from map(draw, plans)
        return
    # not forked: the caller may have threads (TensorFlow's), which do not survive that
    pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker)
    try:
        yield from pool.map(draw, plans, chunksize=4)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(path: Path, size: tuple[int, int]) -> np.ndarray | None:
    try:
        with np.load(path) as kept:
            images = kept["images"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return images if images.shape == (SHARD, size[1], size[0]) and images.dtype == np.uint8 else None


def _write(path: Path, images: np.ndarray) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, images=images)
    write_whole(path, file.getvalue())
