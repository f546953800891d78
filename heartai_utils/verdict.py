"""From one page on disk to its verdict: the four probabilities of a trained model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from heartai_utils import downsampling, training
from heartai_utils._runs import damage_told
from heartai_utils.conditions import NAMES
from heartai_utils.vit import load_vit

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights" / "course.keras"


@dataclass(frozen=True)
class Verdict:
    """Probabilities by condition name (they sum to 1) and the likeliest condition."""

    probabilities: dict[str, float]

    @property
    def condition(self) -> str:
        return max(self.probabilities, key=self.probabilities.get)

    def to_dict(self) -> dict:
        """Verdict and probabilities as plain values, for JSON."""
        return {"verdict": self.condition, "probabilities": self.probabilities}


class PageReader:
    """A trained model and the way its thumbnails are made.

    Args:
        model: a run folder of ``heartai train``, or a ``.keras`` file with its record beside it (the same name,
            ``.json``); without it the weights that come with the course.

    Attributes:
        about: one sentence on what the model was trained on.

    Raises:
        training.RunError: there is no such model.
    """

    def __init__(self, model: str | Path | None = None):
        path = Path(model) if model is not None else WEIGHTS
        if path.is_dir():
            run = training.load_run(path)
            self.model, self.thumbnail = run.model, run.thumbnail
            self.about = f"Model: the run in {path}."
        else:
            record = path.with_suffix(".json")
            if path.suffix != ".keras" or not path.is_file() or not record.is_file():
                raise training.RunError(f"{path} is no model: name a folder that `heartai train` wrote")
            with damage_told(f"{path} or its record is damaged: restore both, or name another model"):
                self.model, kept = load_vit(path), json.loads(record.read_text())
                self.thumbnail, self.about = kept["thumbnail"], kept["about"]

    def read(self, page: str | Path) -> Verdict:
        """The verdict on one page.

        Raises:
            heartai_utils.page.PageError: the file is no page that can be read; the message says why.
        """
        return self._judge([downsampling.shrink(page, **self.thumbnail)])[0]

    def read_all(self, pages: Iterable[str | Path], batch_size: int = 32) -> Iterator[Verdict | ValueError | OSError]:
        """The verdict on each of many pages, in their order; for one that cannot be read, what `read` would raise.

        Pages are opened and shrunk by as many threads as there are processors, and judged ``batch_size`` at a time.
        """
        pages = iter(pages)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while batch := list(islice(pages, batch_size)):
                found = list(pool.map(self._shrink, batch))
                images = [image for image in found if isinstance(image, np.ndarray)]
                verdicts = iter(self._judge(images))
                yield from (next(verdicts) if isinstance(image, np.ndarray) else image for image in found)

    def _shrink(self, page: str | Path) -> np.ndarray | ValueError | OSError:
        try:
            return downsampling.shrink(page, **self.thumbnail)
        except (ValueError, OSError) as error:
            return error

    def _judge(self, images: list[np.ndarray]) -> list[Verdict]:
        if not images:
            return []
        probabilities = training.predict(self.model, np.stack(images))
        return [
            Verdict({name: round(float(p), 4) for name, p in zip(NAMES, each, strict=True)}) for each in probabilities
        ]
