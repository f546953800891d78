"""From one page to its verdict: the four probabilities of a trained model.

Some models come with the course and have names (`NAMED`); others are what `heartai train` wrote.

**Calibrated or not.** The probabilities of ``best`` and ``traces`` are scaled by a temperature that was fitted to
verdicts on real pages held out of training (`evaluation.fit_temperature`; their records tell which). For pages of
another kind, simulated ones included, nothing was fitted, nor for any other model.
"""

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
from heartai_utils.page import Traces, load_page, read_traces
from heartai_utils.trace_models import COMPARATOR, TracePages, load_comparator, scaled
from heartai_utils.vit import load_vit

WEIGHTS = Path(__file__).resolve().parents[1] / "data" / "weights" / "course.keras"

NAMED = {"course": WEIGHTS, "best": WEIGHTS.with_stem("best"), "traces": COMPARATOR}
"""Models that come with the course, by name.

``course``: the Vision Transformer of the chapters, trained on simulated pages; ``best``: the one that began with
simulated pages and went on with real ones; ``traces``: the comparator that reads the traces alone.
"""


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
    """A trained model and the way it sees a page: as a thumbnail, or as traces read back.

    Args:
        model: a name in `NAMED`, a run folder of ``heartai train``, or a ``.keras`` file with its record beside it (the
            same name, ``.json``). A folder that has one of the names is told apart as a Path, or as "./course".

    Attributes:
        about: one sentence on what the model was trained on.
        model: the Vision Transformer, or a `trace_models.Comparator`.
        thumbnail: how thumbnails are made for the Vision Transformer.
        calibration: of the Vision Transformer, what its record says of how sure it may be; empty where nothing does.
        temperature: by which its logits are divided; 1 where none was fitted.

    Raises:
        training.RunError: there is no such model.
    """

    def __init__(self, model: str | Path = "course"):
        path = NAMED[model] if isinstance(model, str) and model in NAMED else Path(model)
        self.calibration: dict = {}
        if path == COMPARATOR:
            self.model = load_comparator(path)
            self.about = self.model.record["about"]
            self._seen, self._probabilities = self._traces, self._by_traces
            return
        self._seen, self._probabilities = self.thumbnail_of, self._by_thumbnails
        if path.is_dir():
            run = training.load_run(path)
            self.model, self.thumbnail = run.model, run.thumbnail
            self.about = f"Model: the run in {path}."
        else:
            record = path.with_suffix(".json")
            if path.suffix != ".keras" or not path.is_file() or not record.is_file():
                raise training.RunError(
                    f"{path} is no model: name {', '.join(NAMED)}, or a folder that `heartai train` wrote"
                )
            with damage_told(f"{path} or its record is damaged: restore both, or name another model"):
                self.model, kept = load_vit(path), json.loads(record.read_text())
                self.thumbnail, self.about = kept["thumbnail"], kept["about"]
                self.calibration = kept.get("calibration", {})

    @property
    def temperature(self) -> float:
        return self.calibration.get("temperature", 1.0)

    def read(self, page: str | Path | np.ndarray) -> Verdict:
        """The verdict on one page.

        Args:
            page: the path of a JPEG or PNG; or a page opened already, (1572, 2213, 3) or (1572, 2213) uint8, of which
                only the size is looked at.

        Raises:
            heartai_utils.page.PageError: the file is no page that can be read; the message says why.
            ValueError: the array has another size.
        """
        return self._judge([self._seen(page)])[0]

    def read_all(
        self, pages: Iterable[str | Path | np.ndarray], batch_size: int = 32
    ) -> Iterator[Verdict | ValueError | OSError]:
        """The verdict on each of many pages, in their order; for one that cannot be read, what `read` would raise.

        Pages are opened and shrunk, or their traces read, by as many threads as there are processors, and judged
        ``batch_size`` at a time.
        """
        pages = iter(pages)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            while batch := list(islice(pages, batch_size)):
                found = list(pool.map(self._tried, batch))
                verdicts = iter(self._judge([page for page in found if not isinstance(page, Exception)]))
                yield from (page if isinstance(page, Exception) else next(verdicts) for page in found)

    def _tried(self, page: str | Path | np.ndarray) -> np.ndarray | Traces | ValueError | OSError:
        try:
            return self._seen(page)
        except (ValueError, OSError) as error:
            return error

    def thumbnail_of(self, page: str | Path | np.ndarray) -> np.ndarray:
        """(height, width) uint8: the page as the Vision Transformer sees it; errors as of `read`."""
        return downsampling.shrink(page, colour=False, **self.thumbnail)

    def _traces(self, page: str | Path | np.ndarray) -> Traces:
        return read_traces(page if isinstance(page, np.ndarray) else load_page(page, grey=True))

    def _by_thumbnails(self, images: list[np.ndarray]) -> np.ndarray:
        return scaled(training.predict(self.model, np.stack(images)), self.temperature)

    def _by_traces(self, traces: list[Traces]) -> np.ndarray:
        return self.model.predict_proba(TracePages.read(traces))

    def _judge(self, pages: list[np.ndarray] | list[Traces]) -> list[Verdict]:
        if not pages:
            return []
        return [
            Verdict({name: round(float(p), 4) for name, p in zip(NAMES, each, strict=True)})
            for each in self._probabilities(pages)
        ]
