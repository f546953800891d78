"""How long shrinking takes: one page by each method, and a whole folder, against a plain loop of OpenCV."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm.std import tqdm

from heartai_utils import downsampling as ds

THREADS = 2


def plain(path: str) -> np.ndarray:
    """What one writes without thinking: decoded in colour, then area."""
    return cv2.resize(cv2.imread(path), ds.SIZE, interpolation=cv2.INTER_AREA)


def seconds(work: Callable, *given, **options) -> np.ndarray:
    """(2,) elapsed, and of the processor, all threads together: the second is not longer on a machine that is busy."""
    begin = time.perf_counter(), time.process_time()
    work(*given, **options)
    return np.subtract((time.perf_counter(), time.process_time()), begin)


def times(paths: Sequence[str], methods: Sequence[str], rounds: int) -> dict:
    """From a file to a grey thumbnail by each method, and the plain loop in the same rounds; one thread.

    Call it in a process of its own, before TensorFlow has done anything.

    Returns:
        "plain" and by "methods": "ms" and "processor_ms", medians over rounds and pages, and "ratio", the median of
        the plain loop's time over the method's, page by page and round by round.
    """
    cv2.setNumThreads(1)
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}  # read when it is first imported
    names = ["plain", *methods]
    taken: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for turn in tqdm(range(rounds + 1), "timing", leave=False, unit="round"):
        for path in paths:
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                took = seconds(plain, path) if name == "plain" else seconds(ds.shrink, path, name)
                if turn:  # the first round warms up
                    taken[name].append(took)
    loop = np.array(taken["plain"])[:, 0]
    table = {}
    for name, each in taken.items():
        elapsed, processor = np.array(each).T
        table[name] = {"ms": 1000 * float(np.median(elapsed)), "processor_ms": 1000 * float(np.median(processor))}
        table[name]["ratio"] = float(np.median(loop / elapsed))
    return {"plain": table.pop("plain"), "methods": table, "pages": len(paths), "rounds": rounds}


def loading(paths: Sequence[str], md5s: Sequence[str], method: str, rounds: int) -> dict:
    """A folder to thumbnails by `load_thumbnails` with two threads, against the plain loop over the same files.

    `load_thumbnails` makes copies once, the plain loop every time: the ratio over distinct files alone is told, too.
    The plain loop has OpenCV's own threads, as it has by default. Files are read once before, so that none comes from
    the disk.

    Returns:
        Median "seconds" of each, elapsed and of the processor, and the ratios of those elapsed: "ingest_ratio" of all
        files from nothing; "ingest_ratio_distinct" of one file of each content; "cached_ratio" the second time with
        the checksums known; "cached_hashed_ratio" the second time with every file's checksum taken anew.
    """
    first = [position for position, md5 in enumerate(md5s) if md5 not in md5s[:position]]
    for path, md5 in zip(paths, md5s, strict=True):
        if hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest() != md5:
            raise SystemExit(f"{path} has changed since the catalogue was read")
    taken: dict[str, list[np.ndarray]] = {}

    def note(name: str, took: np.ndarray) -> None:
        taken.setdefault(name, []).append(took)

    options = {"method": method, "progress": False, "threads": THREADS}
    for _ in tqdm(range(rounds), "loading", leave=False, unit="round"):
        loop = np.array([seconds(plain, path) for path in paths])
        note("plain", loop.sum(axis=0))
        note("plain_distinct", loop[first].sum(axis=0))
        with tempfile.TemporaryDirectory() as cache:
            note("ingest", seconds(ds.load_thumbnails, paths, cache_dir=cache, **options))
            note("cached", seconds(ds.load_thumbnails, paths, md5s=md5s, cache_dir=cache, **options))
            note("cached_hashed", seconds(ds.load_thumbnails, paths, cache_dir=cache, **options))
        with tempfile.TemporaryDirectory() as cache:
            distinct = [paths[position] for position in first]
            note("ingest_distinct", seconds(ds.load_thumbnails, distinct, cache_dir=cache, **options))
    spent = {name: np.median(each, axis=0).tolist() for name, each in taken.items()}
    elapsed = {name: each[0] for name, each in spent.items()}
    return {
        "files": len(paths),
        "distinct": len(first),
        "method": method,
        "threads": THREADS,
        "rounds": rounds,
        "seconds": {name: {"elapsed": each[0], "processor": each[1]} for name, each in spent.items()},
        "ingest_ratio": elapsed["plain"] / elapsed["ingest"],
        "ingest_ratio_distinct": elapsed["plain_distinct"] / elapsed["ingest_distinct"],
        "cached_ratio": elapsed["plain"] / elapsed["cached"],
        "cached_hashed_ratio": elapsed["plain"] / elapsed["cached_hashed"],
    }
