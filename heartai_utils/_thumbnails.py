"""Many pages as thumbnails: decoded by threads or a cluster, each once in its life; and as batches for TensorFlow."""

from __future__ import annotations

import hashlib
import importlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import PIL
from PIL import features
from tqdm.std import tqdm

from heartai_utils import page
from heartai_utils._catalogue import remove_leftovers, write_whole
from heartai_utils._shrinking import JPEG_METHODS, OWN, SIZE, shrink

if TYPE_CHECKING:
    import tensorflow as tf

_CHECKSUM_BYTES = 4


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """What `load_thumbnails` made of n paths.

    Attributes:
        images: (kept, height, width) uint8, in the order of the paths.
        kept: (kept,) int, the position of each image's path among the n: ``catalogue.iloc[thumbnails.kept]`` are
            the images' rows.
        rejected: one row for each page that could not be read: position, path, reason.
        made: how many of the images were made; the others were in the cache.
    """

    images: np.ndarray
    kept: np.ndarray
    rejected: pd.DataFrame
    made: int = 0

    def __len__(self) -> int:
        return len(self.images)


def load_thumbnails(
    paths: Iterable[str | Path],
    *,
    method: str = OWN,
    size: tuple[int, int] = SIZE,
    crop: str | None = None,
    cache_dir: str | Path,
    md5s: Iterable[str] | None = None,
    progress: bool = True,
    threads: int | None = None,
    scheduler: str | None = None,
) -> Thumbnails:
    """Read many pages as thumbnails, each page once in its life.

    What is made is kept under ``cache_dir``, known by the content of the page's file (its MD5), method, size and
    crop: a renamed file is found again, a changed one is not mistaken. An entry is written whole or not at all, so
    the call may be interrupted or killed at any moment, then goes on where it stopped, and may run twice at once. An
    entry is made again if it is damaged, or if the method has changed since. A page that cannot be read is listed in
    ``rejected``.

    Args:
        paths: the pages.
        method, size, crop: as for `shrink`.
        cache_dir: a folder; made where missing, safe to delete.
        md5s: the MD5 of each file as the catalogue has it, so that known pages need not be opened at all: an image
            is of the content that has this MD5, whatever lies at the path now. Without them every file is read and
            hashed; its size and time of change would be quicker, but stay the same when a file is unpacked or copied
            over another with its times kept.
        progress: show a bar on stderr while thumbnails are made.
        threads: pages at a time; the processor's count unless told otherwise. None with a scheduler.
        scheduler: the address of a dask scheduler, ``tcp://10.0.0.5:8786``, whose workers decode and shrink then, for
            large sets. They are sent the content of the files (0.3 to 0.7 MB a page) and send thumbnails back; this
            process alone reads pages and writes the cache, so that the machines need not share a folder. They need
            the same version of this package and of the libraries that decode and shrink. Handing pages out costs a
            fifth of making a thumbnail: it pays where this machine has fewer than five cores, and others have more.

    Returns:
        The images, which positions they belong to, and what was rejected.

    Raises:
        ClusterError: which is a ValueError: no usable worker at the scheduler, or it is lost.
        ValueError: for an unknown method, size or crop, or another number of md5s than of paths.
        OSError: if the cache cannot be read or written. Thumbnails made until then are kept, as after a ClusterError.
    """
    recipe = _recipe(method, size, crop)
    paths = [Path(path) for path in paths]
    if md5s is not None:
        md5s = [str(md5) for md5 in md5s]
        if len(md5s) != len(paths):
            raise ValueError(f"{len(md5s)} md5s for {len(paths)} paths: hand in one for each, in the same order")
    folder = Path(cache_dir) / f"{method}-{size[0]}x{size[1]}-{crop or 'page'}"
    with _told_of(folder):
        folder.mkdir(parents=True, exist_ok=True)
    images = np.empty((len(paths), size[1], size[0]), np.uint8)
    reasons: dict[int, str] = {}
    copies: dict[str, list[int]] = {}  # positions by content: one look-up, and one decoding, does for all of them

    def keep(md5: str, image: np.ndarray) -> None:
        images[copies[md5]] = image
        with _told_of(folder):
            write_whole(_entry(folder, md5), _packed(image, recipe))

    def make(md5: str) -> dict[int, str]:
        failed = {}
        for position in copies[md5]:
            try:
                image = _shrink_known(paths[position], md5, method, size, crop)
            except (ValueError, OSError) as error:
                failed[position] = _reason(error)
            else:
                keep(md5, image)
                return {}
        return failed

    pool = ThreadPoolExecutor(threads or os.cpu_count())
    try:
        hashes = [pool.submit(_md5, path) for path in paths] if md5s is None else []
        for position in range(len(paths)):
            try:
                md5 = hashes[position].result() if md5s is None else md5s[position]
            except OSError as error:
                reasons[position] = _reason(error)
            else:
                copies.setdefault(md5, []).append(position)
        missing = []
        with _told_of(folder):
            for md5, positions in copies.items():  # 0.05 ms each: threads would only get in each other's way
                image = _read_entry(_entry(folder, md5), size, recipe)
                if image is None:
                    missing.append(md5)
                else:
                    images[positions] = image
            if missing:
                remove_leftovers(folder)
        if scheduler is None:
            making = (job.result() for job in as_completed([pool.submit(make, md5) for md5 in missing]))
        else:
            pages = {md5: {position: paths[position] for position in copies[md5]} for md5 in missing}
            work = partial(_shrink_alike, method=method, size=tuple(size), crop=crop, recipe=recipe)
            making = _make_elsewhere(pages, work, keep, scheduler, threads)
        hidden = not (progress and missing)
        with closing(making):
            for failed in tqdm(making, "thumbnails", len(missing), leave=False, unit="page", disable=hidden):
                reasons |= failed
    finally:
        pool.shutdown(cancel_futures=True)

    kept = np.array([position for position in range(len(paths)) if position not in reasons], dtype=np.intp)
    made = sum(position not in reasons for md5 in missing for position in copies[md5])
    rejected = [(position, str(paths[position]), reasons[position]) for position in sorted(reasons)]
    return Thumbnails(
        images[kept] if reasons else images,
        kept,
        pd.DataFrame(rejected, columns=["position", "path", "reason"]),
        made,
    )


def to_dataset(
    images: np.ndarray, labels: np.ndarray, *, batch_size: int = 32, seed: int | None = None
) -> tf.data.Dataset:
    """Thumbnails and their labels as a ``tf.data.Dataset`` of batches, the next one prepared while one is used.

    Each pass over it is an epoch. NumPy draws the order: ``Dataset.shuffle`` would mix TensorFlow's global seed in.
    ``model.fit(dataset, shuffle=False)`` spares Keras the warning that it cannot shuffle a dataset.

    Args:
        images: (n, height, width[, channels]), as `load_thumbnails` hands them out.
        labels: (n,) or (n, classes), of the same pages: ``catalogue["label"].to_numpy()[thumbnails.kept]``.
        batch_size: images in a batch; the last one may have fewer.
        seed: shuffles, anew each epoch: another dataset of the same seed has the same epochs. None keeps the order.

    Returns:
        Batches (images, labels), their types as they are.

    Raises:
        ValueError: for another number of labels than of images, or a batch_size below 1.
    """
    images, labels = np.asarray(images), np.asarray(labels)
    if len(labels) != len(images):
        raise ValueError(f"{len(labels)} labels for {len(images)} images: hand in those of the pages that were kept")
    if batch_size < 1:
        raise ValueError(f"batch_size {batch_size} must be at least 1")
    importlib.import_module("heartai_utils._keras")  # here and so: it takes seconds, and silences TensorFlow's log
    import tensorflow as tf

    rng = np.random.default_rng(seed)

    def epoch() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        order = np.arange(len(images)) if seed is None else rng.permutation(len(images))
        for start in range(0, len(images), batch_size):
            chosen = order[start : start + batch_size]
            yield images[chosen], labels[chosen]

    signature = tuple(tf.TensorSpec((None, *array.shape[1:]), array.dtype) for array in (images, labels))
    batches = tf.data.Dataset.from_generator(epoch, output_signature=signature)
    return batches.apply(tf.data.experimental.assert_cardinality(-(-len(images) // batch_size))).prefetch(2)


# --- What a thumbnail depends on ----------------------------------------------------------------------------------

# How a file becomes a grey page: the decoder, and the modules that drive it and judge the page, as they were imported.
_DECODER = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}".encode()
for _module in ("page.py", "_reading.py"):
    _DECODER += Path(page.__file__).with_name(_module).read_bytes()


def _recipe(method: str, size: tuple[int, int], crop: str | None) -> int:
    """A number that changes with what the method makes of a page, whoever changed it: a learner, we, or a library.

    It is the CRC-32 of a test pattern as the method shrinks it, begun with that of how pages are decoded. In the
    pattern, x times y, stripes of all widths and directions occur.
    """
    pattern = np.multiply.outer(*(np.arange(side).astype(np.uint8) for side in (page.HEIGHT, page.WIDTH)))
    shrunk = shrink(pattern, "area" if method in JPEG_METHODS else method, size, crop=crop)
    return zlib.crc32(shrunk.tobytes(), zlib.crc32(_DECODER))


def _shrink_known(path: Path, md5: str, method: str, size: tuple[int, int], crop: str | None) -> np.ndarray:
    """The thumbnail of a file with this MD5, looked at before and after, lest it be changed while it is decoded."""
    _check_content(path, md5)
    image = shrink(path, method, size, crop=crop)
    _check_content(path, md5)
    return image


def _check_content(path: Path, md5: str) -> bytes:
    data = path.read_bytes()
    found = _md5_of(data)
    if found != md5:
        raise ValueError(f"{path}: content has changed (MD5 {found}, not {md5}): make the catalogue again")
    return data


def _md5(path: Path) -> str:
    return _md5_of(path.read_bytes())


def _md5_of(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


# --- Made by other machines ---------------------------------------------------------------------------------------


def _make_elsewhere(
    pages: dict[str, dict[int, Path]],
    work: Callable[[tuple[str, str, bytes]], np.ndarray],
    keep: Callable[[str, np.ndarray], None],
    scheduler: str,
    workers: int | None,
) -> Iterator[dict[int, str]]:
    """Have thumbnails made by the workers of a scheduler; gives, for each content, what failed and why.

    Args:
        pages: where each content lies, by its MD5: position and path of each copy.
        work: makes the thumbnail of (MD5, path, content of the file).
        keep: is called with MD5 and thumbnail.
        scheduler, workers: as for `_cluster.client`.
    """
    from distributed import KilledWorker  # here: it takes half a second

    from heartai_utils._cluster import ClusterError, client, completed

    failed: dict[str, dict[int, str]] = {md5: {} for md5 in pages}

    def contents() -> Iterator[tuple[str, str, bytes]]:
        for md5, copies in pages.items():
            for position, path in copies.items():
                try:
                    data = _check_content(path, md5)
                except (ValueError, OSError) as error:
                    failed[md5][position] = _reason(error)
                else:
                    yield md5, str(path), data
                    break

    if not pages:
        return
    with client(scheduler, workers) as connection:
        for (md5, sent, _), made in completed(connection, work, contents()):
            unsent = failed.pop(md5)
            if isinstance(made, np.ndarray):
                keep(md5, made)
                yield {}
                continue
            if isinstance(made, KilledWorker):
                made = ValueError(f"{sent}: several workers were lost that had it; their logs may say why")
            if isinstance(made, ClusterError) or not isinstance(made, ValueError):
                raise made
            yield {at: str(made).replace(sent, str(path)) for at, path in pages[md5].items()} | unsent
    yield from failed.values()


def _shrink_alike(
    page: tuple[str, str, bytes], method: str, size: tuple[int, int], crop: str | None, recipe: int
) -> np.ndarray:
    """The thumbnail of a page for another process, if that would make the same one.

    Raises:
        ClusterError: if it may not.
        ValueError: for what is no page, by the name it has there.
    """
    from heartai_utils._cluster import ClusterError

    if _own_recipe(method, size, crop) != recipe:
        raise ClusterError(
            f"a worker shrinks pages by {method!r} otherwise: install the same versions of heartai_utils, Pillow and "
            "OpenCV on both machines and start the worker again; methods of your own need this machine (no scheduler)"
        )
    _, name, data = page
    with TemporaryDirectory() as folder:
        path = Path(folder) / "page"
        path.write_bytes(data)
        try:
            return shrink(path, method, size, crop=crop)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), name)) from None


@lru_cache
def _own_recipe(method: str, size: tuple[int, int], crop: str | None) -> int | None:
    """That of a worker, whose methods stay the same; None where it does not know the method."""
    try:
        return _recipe(method, size, crop)
    except (ValueError, ImportError):
        return None


# --- Entries of the cache -----------------------------------------------------------------------------------------


def _entry(folder: Path, md5: str) -> Path:
    return folder / f"{md5}.grey"


def _read_entry(entry: Path, size: tuple[int, int], recipe: int) -> np.ndarray | None:
    """The thumbnail kept there, or None where there is none, or a damaged one, or one made by another recipe."""
    try:
        return _unpacked(entry.read_bytes(), size, recipe)
    except FileNotFoundError:
        return None


def _packed(image: np.ndarray, recipe: int) -> bytes:
    """Pixels and checksum. Deflated they are a third to a half as large, and take five times as long to read."""
    pixels = image.tobytes()
    return pixels + zlib.crc32(pixels, recipe).to_bytes(_CHECKSUM_BYTES, "little")


def _unpacked(data: bytes, size: tuple[int, int], recipe: int) -> np.ndarray | None:
    pixels, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(pixels) != size[0] * size[1] or zlib.crc32(pixels, recipe).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
        return None
    return np.frombuffer(pixels, np.uint8).reshape(size[1], size[0])


@contextmanager
def _told_of(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        hint = f"{error.strerror or error}, where thumbnails are kept: make it usable, or choose another cache_dir"
        raise OSError(error.errno, hint, str(folder)) from error


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
