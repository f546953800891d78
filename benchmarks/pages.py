"""Real and simulated pages for the benchmarks, opened or drawn by two processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import cv2
import numpy as np
import pandas as pd
from tqdm.std import tqdm

from heartai_utils import page as p
from heartai_utils.simulation import Recording, simulate_recording


@dataclass(frozen=True)
class Page:
    """A page that a worker opens, if it has a path, or draws from its number and the seed."""

    condition: str
    path: str | None = None
    number: int = 0
    seed: int = 0

    def grey(self, quality: str | None = None) -> np.ndarray:
        """(1572, 2213) uint8 as decoded from JPEG; a simulated one of the quality its details say, or another."""
        if self.path is not None:
            return cv2.imread(self.path, cv2.IMREAD_GRAYSCALE)
        recording, details = self.drawn()
        data = p.encode_page(p.draw_page(recording, details=details), quality or details.quality)
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)

    def drawn(self) -> tuple[Recording, p.PageDetails]:
        """The recording and the details of a simulated page."""
        rng = np.random.default_rng([self.seed, self.number])
        details = p.PageDetails.random(rng)
        return simulate_recording(self.condition, rng), details


class Workers:
    """Two processes at most; the results come in the order of the tasks."""

    def __init__(self) -> None:
        cores = min(os.cpu_count() or 1, 2)
        self._pool = ProcessPoolExecutor(cores, mp_context=get_context("spawn"))

    def map(self, what: str, function: Callable, tasks: Iterable) -> list:
        tasks = list(tasks)
        return list(tqdm(self._pool.map(function, tasks, chunksize=4), what, len(tasks), leave=False))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def real_pages(real: pd.DataFrame) -> list[Page]:
    return [Page(row.condition, row.path, number) for number, row in enumerate(real.itertuples())]


def simulated_pages(conditions: Iterable[str], seed: int) -> list[Page]:
    return [Page(condition, number=number, seed=seed) for number, condition in enumerate(conditions)]
