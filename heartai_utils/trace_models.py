"""The sober comparator: models that never see the picture, but the traces read off it and what is measured on them.

`Boosting` on the measurements, a small one-dimensional `CNN` on leads and averaged beats, and `Both`, the mean of
their probabilities. All are used alike, and the same seed gives the same model::

    >>> pages = TracePages.read([read_traces(load_page(path)) for path in paths])
    >>> model = Both().fit(pages, labels, seed=0)
    >>> model.predict_proba(pages).shape
    (295, 4)

`load_comparator` gives the one that comes with the course, fitted to real pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.utils.class_weight import compute_sample_weight

from heartai_utils._keras import keras
from heartai_utils._runs import damage_told
from heartai_utils.beat_features import AFTER, BEFORE, find_beats, measure
from heartai_utils.conditions import NAMES
from heartai_utils.evaluation import softmax
from heartai_utils.page import WINDOW_COLUMNS, Traces
from heartai_utils.simulation import LEADS
from heartai_utils.training import make_deterministic

COMPARATOR = Path(__file__).resolve().parents[1] / "data" / "weights" / "comparator.json"
"""Its record; beside it the CNN (``.keras``) and the measurements that the boosting is fitted to (``.csv.gz``)."""

HALF = 2
"""Columns that are averaged to a sample of the CNN: 98 a second, where the print filter ends at 25 Hz."""

RHYTHM = {"heart_rate": (80.0, 40.0), "rr_spread": (0.03, 0.1), "rr_range": (0.1, 0.3), "p_steady": (0.75, 0.5)}
"""Measurements that the CNN is told, and what is taken from each and what it is then divided by."""


@dataclass(frozen=True, eq=False)
class TracePages:
    """What the models are given of some pages.

    Attributes:
        features: one row a page, the columns of `beat_features.measure`; NaN where something could not be measured.
        beats: (pages, (BEFORE + AFTER) / HALF, 12) float32 in mV, the averaged beats; 0 where nothing was read.
        leads: (pages, WINDOW_COLUMNS / HALF, 12) float32 in mV, each lead's own window, less its median.
    """

    features: pd.DataFrame
    beats: np.ndarray
    leads: np.ndarray

    @classmethod
    def read(cls, traces: Iterable[Traces]) -> TracePages:
        """Measure pages whose traces were read by `page.read_traces`."""
        features, beats, leads = [], [], []
        for page in traces:
            found = find_beats(page)
            features.append(measure(found))
            beats.append(_halved(np.nan_to_num(found.averaged)))
            leads.append(_halved(page.signals - np.median(page.signals, axis=1, keepdims=True)))
        return cls(pd.DataFrame(features), np.stack(beats), np.stack(leads))

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows) -> TracePages:
        """Some of the pages, by their positions."""
        return TracePages(self.features.iloc[rows], self.beats[rows], self.leads[rows])


def _halved(signals: np.ndarray) -> np.ndarray:
    """(columns / HALF, leads) of signals (leads, columns)."""
    return signals.reshape(len(signals), -1, HALF).mean(axis=2).T.astype(np.float32)


class Boosting:
    """Gradient boosting of small trees on the measurements, each condition counting alike (Friedman 2001).

    Each split looks at a tenth of the measurements, drawn anew: hundreds of them go with a few hundred pages, and many
    say nearly the same.
    """

    def fit(self, pages: TracePages, labels, seed: int = 0) -> Boosting:
        return self.fit_features(pages.features, labels, seed)

    def fit_features(self, features: pd.DataFrame, labels, seed: int = 0) -> Boosting:
        """The same from a table of measurements alone."""
        self.model = HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=150, max_leaf_nodes=8, min_samples_leaf=5, l2_regularization=1.0,
            max_features=0.1, class_weight="balanced", early_stopping=False, random_state=seed,
        )  # fmt: skip
        self.columns = list(features.columns)
        self.model.fit(features.to_numpy(np.float64), labels)
        return self

    def predict_proba(self, pages: TracePages) -> np.ndarray:
        """(pages, 4) probabilities; 0 for a condition it was not fitted to."""
        probabilities = np.zeros((len(pages), len(NAMES)))
        found = self.model.predict_proba(pages.features[self.columns].to_numpy(np.float64))
        probabilities[:, self.model.classes_] = found
        return probabilities


class CNN:
    """A small one-dimensional CNN of 26 thousand weights.

    A beat keeps its places until the last layer, as beats are aligned; over the raw leads, where a beat may stand
    anywhere, means and maxima are taken.
    """

    EPOCHS, BATCH = 60, 32

    def fit(self, pages: TracePages, labels, seed: int = 0) -> CNN:
        make_deterministic()
        labels = np.asarray(labels)
        rng = np.random.default_rng(seed)
        inputs, targets = _inputs(pages), np.eye(len(NAMES), dtype=np.float32)[labels]
        weights = compute_sample_weight("balanced", labels).astype(np.float32)
        batches = max(len(labels) // self.BATCH, 1)  # whole ones: Keras prepares itself anew for each size
        self.model = untrained(seed)
        self.model.compile(
            keras.optimizers.AdamW(
                keras.optimizers.schedules.CosineDecay(3e-3, self.EPOCHS * batches), weight_decay=0.01
            ),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05),
            jit_compile=False,
        )
        for _ in range(self.EPOCHS):
            order = rng.permutation(len(labels))[: batches * self.BATCH]
            for rows in np.split(order, batches):
                batch = _augmented([part[rows] for part in inputs], rng)
                self.model.train_on_batch(batch, targets[rows], sample_weight=weights[rows])
        return self

    def predict_proba(self, pages: TracePages) -> np.ndarray:
        """(pages, 4) probabilities."""
        return softmax(self.model.predict_on_batch(_inputs(pages)))


def _inputs(pages: TracePages) -> list[np.ndarray]:
    offset, scale = np.array(list(RHYTHM.values())).T
    rhythm = (pages.features[list(RHYTHM)].to_numpy(np.float64) - offset) / scale
    return [pages.beats, pages.leads, np.nan_to_num(rhythm).clip(-3, 3).astype(np.float32)]


def _augmented(inputs: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Another recording of the same hearts: gain, leads' gains, a lead lost, a beat a little off, another beginning."""
    beats, leads, rhythm = inputs
    count = len(beats)
    gain = rng.uniform(0.85, 1.15, (count, 1, 1)) * rng.uniform(0.9, 1.1, (count, 1, len(LEADS)))
    gain = (gain * (rng.random((count, 1, len(LEADS))) > 0.05)).astype(np.float32)
    row = np.arange(count)[:, None]
    off = np.arange(beats.shape[1]) + rng.integers(-2, 3, (count, 1))
    turned = (np.arange(leads.shape[1]) + rng.integers(leads.shape[1], size=(count, 1))) % leads.shape[1]
    return [
        beats[row, off.clip(0, beats.shape[1] - 1)] * gain,
        leads[row, turned] * gain,
        rhythm + rng.normal(0, 0.1, rhythm.shape).astype(np.float32),
    ]


def untrained(seed: int) -> keras.Model:
    """The network of `CNN` before training, from beats, leads and rhythm to (pages, 4) logits."""
    layers = keras.layers
    seeds = iter(range(100 * seed, 100 * seed + 100))

    def convolved(x, sizes: tuple[int, ...], pools: tuple[int, ...]):
        for size, pool in zip(sizes, pools, strict=True):
            drawn = keras.initializers.GlorotUniform(seed=next(seeds))
            x = layers.Conv1D(32, size, padding="same", use_bias=False, kernel_initializer=drawn)(x)
            x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
            x = layers.MaxPooling1D(pool)(x) if pool > 1 else x
        return x

    beats = keras.Input(((BEFORE + AFTER) // HALF, len(LEADS)), name="beats")
    leads = keras.Input((WINDOW_COLUMNS // HALF, len(LEADS)), name="leads")
    rhythm = keras.Input((len(RHYTHM),), name="rhythm")
    beat = layers.Flatten()(layers.AveragePooling1D(2)(convolved(beats, (7, 5, 3), (2, 2, 1))))
    lead = convolved(leads, (7, 5, 5), (2, 2, 2))
    together = [beat, layers.GlobalAveragePooling1D()(lead), layers.GlobalMaxPooling1D()(lead), rhythm]
    x = layers.Dropout(0.3, seed=next(seeds))(layers.Concatenate()(together))
    drawn = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.Model([beats, leads, rhythm], layers.Dense(len(NAMES), kernel_initializer=drawn)(x))


class Both:
    """The mean of `Boosting` and `CNN`."""

    def __init__(self):
        self.boosting, self.cnn = Boosting(), CNN()

    def fit(self, pages: TracePages, labels, seed: int = 0) -> Both:
        self.boosting.fit(pages, labels, seed)
        self.cnn.fit(pages, labels, seed)
        return self

    def predict_proba(self, pages: TracePages) -> np.ndarray:
        """(pages, 4) probabilities."""
        return (self.boosting.predict_proba(pages) + self.cnn.predict_proba(pages)) / 2


MODELS = {"boosting": Boosting, "cnn": CNN, "both": Both}


def scaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (pages, 4) as sure as a temperature makes them (see `evaluation.fit_temperature`)."""
    powers = np.maximum(probabilities, 1e-6) ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Comparator:
    """`Both` as it comes with the course, its probabilities scaled by a temperature.

    Attributes:
        record: how it was made and what it scores.
    """

    model: Both
    record: dict

    def predict_proba(self, pages: TracePages) -> np.ndarray:
        """(pages, 4) probabilities."""
        return scaled(self.model.predict_proba(pages), self.record["temperature"])


def load_comparator(path: str | Path = COMPARATOR) -> Comparator:
    """The comparator that comes with the course; its boosting is fitted anew to the stored measurements, in a second.

    Another version of scikit-learn grows somewhat other trees: with 1.7, the newest for Python 3.10, probabilities are
    up to 0.04 away from those of the record.

    Raises:
        RunError: a file is missing or damaged.
    """
    path = Path(path)
    with damage_told(f"{path} or a file beside it is missing or damaged: restore data/weights"):
        record = json.loads(path.read_text())
        if not 0 < record["temperature"] < np.inf:
            raise ValueError("a temperature is above 0")
        model = Both()
        model.cnn.model = untrained(record["seed"])  # its weights alone are read: an older Keras knows no newer layers
        model.cnn.model.load_weights(path.with_suffix(".keras"))
        model.boosting.fit_features(*read_features(path.with_suffix(".csv.gz")), record["seed"])
        return Comparator(model, record)


def read_features(path: str | Path) -> tuple[pd.DataFrame, np.ndarray]:
    """Stored measurements, one row a page named by its checksum, and the (pages,) labels."""
    table = pd.read_csv(path, index_col="md5")
    return table.drop(columns="label"), table["label"].to_numpy()
