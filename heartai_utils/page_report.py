"""All that the course says about one page, as data: verdict, how sure, what it rests on, traces, the most alike heart.

    >>> reader = Reader()
    >>> report = reader.report("ward 3.pdf, page 1", image)
    >>> report.verdict.condition, report.sureness.words
    ('Abnormal heartbeat', 'very sure')
    >>> report.needed.lead("V1")
    0.871

`page_html` makes a page to look at of it, `reading_room` the widgets around it. No pixel is drawn here.

**How sure.** The words go with bands of the verdict's probability, and each band with a count: of the verdicts on real
pages that were held out of training, so many of so many with such a probability were right (`benchmarks/
calibrate_best.py`, in the model's record).

**What it rests on.** Pieces of the page are covered with blank paper, one at a time, and the model is asked again
(occlusion, see `explain`). What changes the verdict was needed for it by this model; that says nothing about whether
the model is right, and two pieces that tell the same hide each other.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from heartai_utils import explain, page, training
from heartai_utils.alike import AlikeHeart, load_hearts
from heartai_utils.beat_features import Beats, find_beats, measure
from heartai_utils.conditions import CONDITIONS, NAMES
from heartai_utils.dataset import read_manifest
from heartai_utils.downsampling import PLACES
from heartai_utils.page import Traces, read_traces
from heartai_utils.simulation import Recording
from heartai_utils.trace_models import scaled
from heartai_utils.verdict import WEIGHTS, PageReader, Verdict

LEVERS = WEIGHTS.parents[1] / "measured" / "levers.json"

PIECES = 16
"""Pieces of a row that are covered one at a time: four a lead, 0.625 s each."""

WORDS = ("does not know", "unsure", "rather sure", "sure", "very sure")
"""For the bands of probability in the record of the model, from the lowest."""


@dataclass(frozen=True)
class Sureness:
    """How sure a verdict is, in words that stand for a count.

    Attributes:
        probability: of the verdict.
        words: one of ``WORDS``, or "not calibrated" for a model whose record counts nothing.
        low, high: the band of probability that the words stand for.
        verdicts, right: of the held-out verdicts in this band, how many there were and how many were right.
        interval: 95 %, of the share right.
        pages: real pages that were judged for that, ``repeats`` times each.
    """

    probability: float
    words: str
    low: float = 0.0
    high: float = 1.0
    verdicts: int = 0
    right: int = 0
    interval: tuple[float, float] = (0.0, 1.0)
    pages: int = 0
    repeats: int = 0

    def __str__(self) -> str:
        if not self.verdicts:
            return "This model's probabilities were not calibrated: do not take them at their word."
        band = f"{self.low:g} or more" if self.high == 1 else f"{self.low:g} to {self.high:g}"
        low, high = (f"{100 * end:.0f}" for end in self.interval)
        return (
            f"Of {self.verdicts} verdicts with a probability of {band}, {self.right} were right "
            f"(95 %: {low} to {high} %), on {self.pages} real pages held out of training, {self.repeats} times each."
        )


def sureness(probability: float, calibration: dict) -> Sureness:
    """The words and the count for a verdict's probability.

    Args:
        probability: of the verdict, calibrated.
        calibration: from the model's record (`PageReader.calibration`); may be empty.

    Raises:
        ValueError: no probability.
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"a probability is between 0 and 1, not {probability}")
    bands = calibration.get("bands", [])
    if not bands:
        return Sureness(probability, "not calibrated")
    number = max(i for i, band in enumerate(bands) if probability >= band["low"])
    band = bands[number]
    return Sureness(
        probability, WORDS[number], band["low"], band["high"], band["verdicts"], band["right"],
        tuple(band["interval"]), calibration["pages"], calibration["repeats"],
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Needed:
    """What the verdict rests on: its probability when a part of the page is covered with blank paper.

    Attributes:
        whole: the verdict's probability on the whole page.
        by_place: (13,) when a lead, or at last the rhythm strip, is covered, in the order of ``downsampling.PLACES``.
        by_piece: (4, PIECES) when a piece of a row is covered; see `piece`.
        blank: (4,) the probabilities on a form on which no heart was drawn.
    """

    whole: float
    by_place: np.ndarray
    by_piece: np.ndarray
    blank: np.ndarray

    def lead(self, place: str) -> float:
        """The verdict's probability without a lead, or without the "strip"."""
        return float(self.by_place[PLACES.index(place)])

    @property
    def odds(self) -> np.ndarray:
        """(4, PIECES) natural logarithm of the factor by which covering a piece lowers the odds of the verdict.

        Positive where the piece speaks for the verdict, negative where against it. Odds and not probabilities, which
        near 1 hardly move whatever is covered.
        """
        return _log_odds(self.whole) - _log_odds(self.by_piece)

    @property
    def most(self) -> list[tuple[str, float]]:
        """The leads in order of need, each with the verdict's probability without it; the strip is one of them."""
        order = np.argsort(self.by_place, kind="stable")
        return [(PLACES[place], float(self.by_place[place])) for place in order]

    def sentence(self, condition: str) -> str:
        """What covering leads does, in words and numbers."""
        place, least = self.most[0]
        named = "the rhythm strip" if place == "strip" else f"lead {place}"
        fallback = NAMES[int(self.blank.argmax())]
        if least < 0.5 * self.whole:
            told = f"Without {named} the probability of {condition} falls from {self.whole:.2f} to {least:.2f}."
        else:
            told = (
                f"No single lead decides: whichever is covered, the probability of {condition} stays at {least:.2f} "
                f"or more ({self.whole:.2f} on the whole page)."
            )
        return f"{told} On a blank form this model says {fallback} ({self.blank.max():.2f})."


def piece(row: int, number: int) -> tuple[str, float, float]:
    """Lead, start and end in seconds of a piece of a row (0 to 3); the rhythm strip is "strip"."""
    seconds = page.STRIP_SECONDS / PIECES
    start, end = number * seconds, (number + 1) * seconds
    lead = "strip" if row == page.STRIP_ROW else page.ROW_LEADS[row][int(start / page.WINDOW_SECONDS)]
    return lead, start, end


def _log_odds(probability: np.ndarray | float) -> np.ndarray:
    return np.log(np.clip(probability, 1e-4, 1 - 1e-4)) - np.log1p(-np.clip(probability, 1e-4, 1 - 1e-4))


@dataclass(frozen=True)
class Published:
    """That a page is one of the published ones, and what is known of it then.

    Attributes:
        file: its name there.
        condition: its label.
        trained_on: whether the weights that come along were trained on it.
        held_out: the verdicts of models that were not, as (condition, probability).
    """

    file: str
    condition: str
    trained_on: bool
    held_out: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        told = f"This is {self.file} of the published pages, labelled {self.condition}."
        if not self.trained_on:
            return f"{told} The model was not trained on it."
        others = ", ".join(f"{condition} ({probability:.2f})" for condition, probability in self.held_out)
        return f"{told} The model was trained on it and may know it by heart; models that were not said: {others}."


def published(data: bytes) -> Published | None:
    """Whether a file is one of the published pages, byte for byte (or a copy of it, which are many)."""
    return _published().get(hashlib.md5(data, usedforsecurity=False).hexdigest())


@cache
def _published() -> dict[str, Published]:
    held_out: dict[str, list[tuple[str, float]]] = {}
    if LEVERS.is_file():
        for each in json.loads(LEVERS.read_text()).get("best_in_detail", {}).get("verdicts_tempered", []):
            verdict = int(np.argmax(each["probabilities"]))
            held_out.setdefault(each["file"], []).append((NAMES[verdict], each["probabilities"][verdict]))
    manifest = read_manifest()
    by_content = dict(zip(manifest["file"], manifest["md5"], strict=True))
    judged = {by_content[file]: tuple(said) for file, said in held_out.items() if file in by_content}
    return {
        row.md5: Published(Path(row.file).name, row.condition, row.md5 in judged, judged.get(row.md5, ()))
        for row in manifest.drop_duplicates("md5").itertuples()
    }


@dataclass(frozen=True, eq=False)
class PageReport:
    """All about one page.

    Attributes:
        name: of the page, as its reader knows it.
        image: (1572, 2213, 3) uint8 RGB.
        about: one sentence on the model.
        verdict: its probabilities.
        sureness: in words and counts.
        needed: what the verdict rests on.
        traces: read back, in mV.
        beats: found in them.
        measured: what `beat_features.measure` finds.
        alike: the simulated heart most like it; None if too little could be measured.
        truth: the recording that the page was drawn from, where it was.
        published: if the file is one of the published pages.
        hearts_record: what is known of how well the most alike hearts fit.
    """

    name: str
    image: np.ndarray
    about: str
    verdict: Verdict
    sureness: Sureness
    needed: Needed
    traces: Traces
    beats: Beats
    measured: dict[str, float]
    alike: AlikeHeart | None
    truth: Recording | None = None
    published: Published | None = None
    hearts_record: dict = field(default_factory=dict)

    @property
    def caution(self) -> str:
        """What the count behind the words was not measured on, as far as this page is concerned."""
        if self.truth is not None and self.truth.condition is not None:
            return "This page is simulated; the count above is of real ones and does not speak for it."
        if self.truth is not None:
            return "This recording was made elsewhere and printed here; the count above does not speak for it."
        if self.published is not None:
            return str(self.published)
        return (
            "The count above is of pages of one hospital's machine, read by models like this one. Who prints this page "
            "now, and for whom, it does not know."
        )

    @property
    def read_share(self) -> float:
        """The share of the columns of all traces that could be read."""
        return float(1 - np.concatenate([self.traces.unread.ravel(), self.traces.strip_unread]).mean())

    def to_dict(self) -> dict:
        """The numbers as plain values, for JSON."""
        alike = self.alike and {
            "condition": CONDITIONS[self.alike.label].name,
            "distance": round(self.alike.distance, 3),
        }
        return {
            "page": self.name,
            **self.verdict.to_dict(),
            "sureness": self.sureness.words,
            "needed": {place: round(self.needed.lead(place), 4) for place in PLACES},
            "heart_rate": None if np.isnan(self.beats.heart_rate) else round(self.beats.heart_rate, 1),
            "read": round(self.read_share, 4),
            "alike": alike,
            "about": self.about,
        }


class Reader:
    """A model that sees pages, warmed up, and the bank of simulated hearts.

    Args:
        model: of `PageReader`, a Vision Transformer.
    """

    def __init__(self, model: str | Path = "best"):
        self.pages = PageReader(model)
        if not hasattr(self.pages, "thumbnail"):
            raise ValueError(f"{model} sees no picture, so nothing of it can be covered: name a Vision Transformer")
        self.hearts = load_hearts()
        self.form = explain.Form.of(self.pages.model, self.pages.thumbnail)

    @cached_property
    def _masks(self) -> np.ndarray:
        """(13 + 4 · PIECES, height, width) bool: the leads and the strip, then the pieces row by row."""
        pieces = [
            self.form.window(row, *piece(row, number)[1:])
            for row in range(page.STRIP_ROW + 1)
            for number in range(PIECES)
        ]
        return np.stack([*(self.form.lead(place) for place in PLACES), *pieces])

    @cached_property
    def blank(self) -> np.ndarray:
        """(4,) the probabilities on a form on which no heart was drawn."""
        return self._probabilities(self.form.paper[None])[0]

    def warm_up(self) -> None:
        """Do once what takes long the first time."""
        self.report("blank", np.full((page.HEIGHT, page.WIDTH), 255, np.uint8))
        _published()

    def report(
        self, name: str, image: np.ndarray, truth: Recording | None = None, published: Published | None = None
    ) -> PageReport:
        """Read a page.

        Args:
            name: for messages.
            image: (1572, 2213, 3) uint8 RGB, or grey, that `page.looks_like_a_page` accepts.
            truth: the recording that it was drawn from.
            published: if it is a published one.

        Raises:
            ValueError: for another size.
        """
        verdict = self.pages.read(image)
        sure = sureness(max(verdict.probabilities.values()), self.pages.calibration)
        traces = read_traces(image)
        beats = find_beats(traces)
        measured = measure(beats)
        return PageReport(
            name, image, self.pages.about, verdict, sure, self.needed(image), traces, beats, measured,
            self.hearts.nearest(measured), truth, published, self.hearts.record,
        )  # fmt: skip

    def needed(self, image: np.ndarray) -> Needed:
        """What the verdict on a page rests on."""
        thumbnail = self.pages.thumbnail_of(image)
        covered = self.form.erase(thumbnail, self._masks)
        probabilities = self._probabilities(np.concatenate([thumbnail[None], covered]))
        said = probabilities[:, probabilities[0].argmax()]
        places = len(PLACES)
        by_piece = said[1 + places :].reshape(-1, PIECES)
        return Needed(float(said[0]), said[1 : 1 + places], by_piece, self.blank)

    def _probabilities(self, thumbnails: np.ndarray) -> np.ndarray:
        return scaled(training.predict(self.pages.model, thumbnails, len(thumbnails)), self.pages.temperature)
