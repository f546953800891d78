"""Does attention earn its place? The course's Vision Transformer against three rivals of equal size and training time.

    python benchmarks/architectures.py --data REAL --jobs 2 --out data/measured/architectures.json

vit    the preset "course" of `heartai_utils.vit`
mixer  the same, with attention replaced by a dense mixing of the tokens by learned matrices
mlp    a multilayer perceptron on the thumbnail, its ink averaged over 2 × 8 pixels
cnn    a small convolutional network with batch normalisation and global average pooling

REAL is a folder in the published layout; without it only simulated pages are used. What is equal for all four:

* Parameters, within 10 %.
* Training time: --seconds of one core for each fit. Seconds per step are measured beforehand, side by side in one
  process, and become a fixed number of steps per model. Given as --steps, they repeat the very same fits elsewhere.
* Pages, folds and their order; thumbnails without header and footer, so that no rival reads the printed heart rate.
* Adam with weight decay on kernels (`training.make_optimizer`), batches of 32, the learning rate up over the first
  tenth of the steps, then down to 0 by a cosine. The rate at the top is each model's own: the one of
  --learning-rates that does best on an inner split of the training side of the first fold, whose test pages have no
  say in it.

Scores are those of repeated grouped folds of distinct pages, rivals are compared with the Vision Transformer fold by
fold. Each fit is one process with one thread, --jobs of them at a time, which changes no result. A fit is kept whole
under --runs: interrupted, the same command goes on (fits begun are finished first). Ends with one line of JSON: each
model's macro-F1 and its difference from the Vision Transformer's with a 95 % interval; --out writes all there is.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from record import commit
from tqdm.std import tqdm

from heartai_utils import downsampling, splits, training, vit
from heartai_utils._keras import keras
from heartai_utils._workers import start_worker
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import course_pages, data_home, read_catalogue, write_whole
from heartai_utils.evaluation import SCORES, evaluate, mean_interval, paired_bootstrap, paired_interval

layers, ops = keras.layers, keras.ops

CONFIG = vit.preset("course")
BATCH = 32
ONE_THREAD = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


# --- The rivals ---------------------------------------------------------------------------------------------------


class TokenMixing(layers.Layer):
    """Mixes tokens by learned matrices: all tokens into ``hidden`` mixtures, and these back into every token.

    It is the token-mixing MLP of Tolstikhin et al. 2021, "MLP-Mixer" (arXiv:2105.01601), with one change. There each
    place in the sequence has its row of the matrices. Here the tokens are the inkiest patches of a page, so that one
    place in the sequence is another place on every page, and its row would belong to nothing in particular. The rows
    belong to the places *on the page* instead: each token brings along those of the patch that it comes from. That is
    the mixing of all patches of the page, with those left out as zeros.

    Args of the call:
        tokens: (batch, tokens, width).
        positions: (batch, tokens) integer places on the page, 0 to ``places`` - 1.
    """

    def __init__(self, places: int, hidden: int, **kwargs):
        super().__init__(**kwargs)
        self.places, self.hidden = places, hidden

    def build(self, tokens_shape, positions_shape):
        # as many inputs as a sum has terms: tokens that come in, mixtures that go out
        for name, terms in (("gather", tokens_shape[1]), ("spread", self.hidden)):
            start = keras.initializers.RandomNormal(stddev=terms**-0.5)
            setattr(self, name, self.add_weight(shape=(self.places, self.hidden), initializer=start, name="kernel"))
        self.bias = self.add_weight(shape=(self.hidden, 1), initializer="zeros", name="bias")

    def call(self, tokens, positions):
        mixtures = ops.matmul(ops.transpose(self._rows(self.gather, positions), (0, 2, 1)), tokens)
        return ops.matmul(self._rows(self.spread, positions), ops.gelu(mixtures + self.bias))

    def _rows(self, matrix, positions):
        """(batch, tokens, hidden): the rows of the tokens' places, out of a matrix for each page."""
        matrix = ops.broadcast_to(matrix[None], (ops.shape(positions)[0], self.places, self.hidden))
        return vit.rows_at(matrix, positions)


class Mixer(keras.Model):
    """The Vision Transformer with `TokenMixing` for attention: the same patches, tokens, MLPs and mean.

    (In the finding of keras-io issue 901 a dense layer over the features of each token stood in for attention, and the
    head, which saw all tokens side by side, did the mixing. Under a mean of tokens nothing would mix them at all.)
    """

    def __init__(self, hidden: int = 14, config: vit.ViTConfig = CONFIG, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        rows, columns = config.grid
        self.first = config.header_rows * columns  # no patch before this one is kept
        self.patches = vit.Patches(config.patch_size, config.leftover)
        self.places_seed = keras.random.SeedGenerator()
        self.embedding = vit.TokenEmbedding(rows * columns, config.width)
        self.dropout = layers.Dropout(config.dropout)
        self.mixing_norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(config.depth)]
        self.mixings = [TokenMixing(rows * columns - self.first, hidden) for _ in range(config.depth)]
        self.mlps = [
            keras.Sequential([
                layers.LayerNormalization(epsilon=1e-6),
                layers.Dense(int(config.width * config.mlp_ratio), activation="gelu"),
                layers.Dense(config.width),
            ])
            for _ in range(config.depth)
        ]  # fmt: skip
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.head = layers.Dense(config.classes)

    def call(self, images, training=None):
        c, patches = self.config, self.patches(images)
        positions = vit.inkiest(patches, c.tokens, self.first)
        if training and c.patch_dropout:
            left = vit.some_places(ops.shape(patches)[0], c.tokens, c.training_tokens, self.places_seed)
            positions = ops.take_along_axis(positions, left, axis=1)
        tokens = self.embedding(vit.rows_at(patches, positions), positions)
        tokens = self.dropout(tokens, training=training)
        for norm, mixing, mlp in zip(self.mixing_norms, self.mixings, self.mlps, strict=True):
            tokens = tokens + self.dropout(mixing(norm(tokens), positions - self.first), training=training)
            tokens = tokens + self.dropout(mlp(tokens), training=training)
        return self.head(ops.mean(self.norm(tokens), axis=1))


def _page_and_ink():
    """The input, and from it (144, 256, 1) ink: the rows from which the Vision Transformer takes its tokens."""
    page = keras.Input((CONFIG.height, CONFIG.width_px), dtype="uint8")
    ink = layers.Reshape((CONFIG.height, CONFIG.width_px, 1))(layers.Rescaling(-1 / 255, 1.0)(page))
    header, footer = CONFIG.header_rows * CONFIG.patch_size, CONFIG.height % CONFIG.patch_size
    return page, layers.Cropping2D(((header, footer), (0, 0)))(ink)


def build_mlp(widths: tuple[int, ...] = (74, 74)) -> keras.Model:
    """The ink of 72 × 32 cells, each standardised, then dense layers with batch normalisation and dropout.

    Cells of 2 × 8 pixels keep the height of the trace, to which the ST level belongs, and give up some of its timing:
    on simulated pages of another seed they did clearly better (46 of 60 right) than 4 × 4 (37), 4 × 2 or 8 × 4.
    """
    page, x = _page_and_ink()
    x = layers.Flatten()(layers.AveragePooling2D((2, 8))(x))
    x = layers.Dropout(0.2)(layers.BatchNormalization(momentum=0.9, center=False, scale=False)(x))
    for width in widths:
        x = layers.Dense(width, use_bias=False)(x)
        x = layers.Activation("gelu")(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Dropout(0.5)(x)
    return keras.Model(page, layers.Dense(CONFIG.classes)(x))


CNN_LAYERS = ((16, 5, 2), (32, 3, 2), (32, 3, 1), (64, 3, 2), (64, 3, 1), (192, 3, 2))
"""(channels, size, stride) of each convolution."""


def build_cnn() -> keras.Model:
    """Convolutions, each with batch normalisation; their mean over the page; dropout and one dense layer."""
    page, x = _page_and_ink()
    for channels, size, stride in CNN_LAYERS:
        x = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(page, layers.Dense(CONFIG.classes)(x))


MODELS: dict[str, Callable[[int], keras.Model]] = {
    "vit": lambda seed: vit.build_vit(CONFIG, seed),
    "mixer": lambda seed: Mixer(),  # it and the next two take their seeds from those set in `build`
    "mlp": lambda seed: build_mlp(),
    "cnn": lambda seed: build_cnn(),
}


def build(name: str, seed: int = 0) -> keras.Model:
    """A model with its initial weights."""
    keras.utils.set_random_seed(seed)
    model = MODELS[name](seed)
    model(np.zeros((1, CONFIG.height, CONFIG.width_px), np.uint8))
    return model


def parameters(model: keras.Model) -> int:
    """Trainable parameters."""
    return sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)


# --- In a worker: steps timed, one fit ----------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Pages:
    """Pages with their thumbnails (pages, 182, 256) uint8, in the order of the catalogue's rows."""

    name: str
    catalogue: pd.DataFrame
    images: np.ndarray
    rejected: int

    def of(self, split: splits.Split) -> training.Data:
        labels = self.catalogue["label"].to_numpy()
        sides = {"train": split.train, "validation": split.validation}
        arrays = {f"{side}_images": self.images[rows] for side, rows in sides.items()}
        return training.Data(**arrays, **{f"{side}_labels": labels[rows] for side, rows in sides.items()})


@dataclass(frozen=True, eq=False)
class Fit:
    """One model to be trained on one side of a split of some pages, and to be asked about the other side."""

    pages: str
    model: str
    split: splits.Split
    place: str  # "inner", or "repeat 0 fold 0"
    learning_rate: float
    weight_decay: float
    steps: int
    seed: int

    def settings(self) -> dict:
        kept = ("pages", "model", "place", "learning_rate", "weight_decay", "steps", "seed")
        return {name: getattr(self, name) for name in kept}


_pages: dict[str, Pages] = {}  # what a worker was given when it began


def _begin(pages: list[Pages]) -> None:
    start_worker()
    training.make_deterministic()
    _pages.update({one.name: one for one in pages})


def measure_steps(rounds: int = 7) -> dict[str, float]:
    """Seconds per step of each model, the median of rounds in which all take their turn.

    The processor's time, which on one thread is what a clock would show were the core nobody else's.
    """
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (BATCH, CONFIG.height, CONFIG.width_px), np.uint8)
    labels = rng.integers(0, CONFIG.classes, BATCH)
    models = {name: build(name) for name in MODELS}
    for model in models.values():
        prepare(model, steps=1000, learning_rate=1e-3, weight_decay=0.05)
    seconds = {name: [] for name in MODELS}
    for number in range(rounds + 1):
        for name, model in models.items():
            steps = 20 if name == "mlp" else 2
            began = time.process_time()
            for _ in range(steps):
                float(model.train_on_batch(images, labels))
            if number:  # the first round builds the graphs
                seconds[name].append((time.process_time() - began) / steps)
    return {name: round(float(np.median(measured)), 5) for name, measured in seconds.items()}


def run_fit(fit: Fit, file: Path) -> None:
    """Train, ask about the validation pages, and write the answers down whole."""
    data = _pages[fit.pages].of(fit.split)
    keras.backend.clear_session()
    model = build(fit.model, fit.seed)
    prepare(model, fit.steps, fit.learning_rate, fit.weight_decay)
    loss, seconds = train(model, data, fit.steps, fit.seed)
    probabilities = np.round(training.predict(model, data.validation_images), 6)
    result = {**fit.settings(), "loss": loss, "seconds": round(seconds, 2), "probabilities": probabilities.tolist()}
    write_whole(file, json.dumps(result).encode())


def prepare(model: keras.Model, steps: int, learning_rate: float, weight_decay: float) -> None:
    """Give a model its optimizer, whose rate rises over the first tenth of the steps and then falls along a cosine."""
    settings = training.TrainingConfig(
        CONFIG, epochs=steps, learning_rate=learning_rate, weight_decay=weight_decay,
        schedule="cosine", warmup_epochs=steps // 10,
    )  # fmt: skip
    optimizer = training.make_optimizer(model, settings, steps_per_epoch=1)  # so that its epochs are our steps
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)


def train(model: keras.Model, data: training.Data, steps: int, seed: int) -> tuple[float, float]:
    """Take so many steps, through the pages in a new order each epoch.

    Returns:
        mean loss over the last tenth of the steps, and the processor's seconds from the second step on: the first one
        builds the graph.
    """
    pages = len(data.train_labels)
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(pages) for _ in range(-(-steps * BATCH // pages))])
    for step in range(steps):
        if step == min(1, steps - 1):
            began = time.process_time()
        if step == steps - max(steps // 10, 1):
            model.reset_metrics()  # what a step hands back is the mean since
        batch = order[step * BATCH : (step + 1) * BATCH]
        loss = float(model.train_on_batch(data.train_images[batch], data.train_labels[batch]))
    return loss, time.process_time() - began


# --- All fits, kept and resumed -----------------------------------------------------------------------------------


def code() -> str:
    """A checksum of the code that decides a fit: results of other code are not taken for its own."""
    optimizer = (training.make_optimizer, training.learning_rate, training.decayed_variables)
    rivals = (TokenMixing, Mixer, _page_and_ink, build_mlp, build_cnn)
    parts = (vit, *optimizer, *rivals, build, prepare, train)
    return _digest([CNN_LAYERS, *map(inspect.getsource, parts)])


def _digest(settings) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


class Runner:
    """Does fits in worker processes of one thread each, and hands back those that were done before."""

    def __init__(self, pages: list[Pages], folder: Path, jobs: int) -> None:
        os.environ.update(dict.fromkeys(ONE_THREAD, "1"))  # read by the workers as they begin
        self.pages, self.folder = {one.name: one for one in pages}, folder
        self.same = {"code": code(), "keras": keras.__version__, "batch": BATCH}
        self.pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (pages,))
        folder.mkdir(parents=True, exist_ok=True)

    def seconds_per_step(self) -> dict[str, float]:
        """`measure_steps`, once: the steps that follow from it must be the same when the benchmark goes on."""
        file = self.folder / f"seconds-per-step-{_digest(self.same)}.json"
        if not file.exists():
            write_whole(file, json.dumps(self.pool.submit(measure_steps).result()).encode())
        return json.loads(file.read_text())

    def results(self, fits: list[Fit], what: str) -> list[dict]:
        """What `run_fit` wrote for each fit, and ``metrics`` on its validation pages (None if it diverged)."""
        data = [self.pages[fit.pages].of(fit.split) for fit in fits]
        files = [self._file(fit, its) for fit, its in zip(fits, data, strict=True)]
        missing = [(fit, file) for fit, file in zip(fits, files, strict=True) if not file.exists()]
        jobs = [self.pool.submit(run_fit, *task) for task in missing]
        done = len(fits) - len(jobs)
        for job in tqdm(as_completed(jobs), what, len(fits), initial=done, leave=False, unit="fit"):
            job.result()
        results = []
        for file, its in zip(files, data, strict=True):
            result = json.loads(file.read_text())
            answers = result["probabilities"] = np.array(result["probabilities"])
            finite = np.isfinite(answers).all()
            result["metrics"] = evaluate(its.validation_labels, answers) if finite else None
            results.append(result)
        return results

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)

    def _file(self, fit: Fit, data: training.Data) -> Path:
        digest = _digest({**fit.settings(), **self.same, "data": data.fingerprint})
        return self.folder / f"{fit.pages}-{fit.model}-{fit.place.replace(' ', '')}-{digest}.json"


# --- The comparison -----------------------------------------------------------------------------------------------


def load_pages(name: str, catalogue: pd.DataFrame, method: str, rejected: int = 0) -> Pages:
    """Thumbnails of all pages of a catalogue; those that cannot be read are named and left out."""
    made = downsampling.load_thumbnails(
        catalogue["path"].tolist(), md5s=catalogue["md5"].tolist(), method=method, cache_dir=data_home() / "thumbnails"
    )
    for page in made.rejected.itertuples():
        tqdm.write(f"skipped {page.path}: {page.reason}", file=sys.stderr)
    catalogue = catalogue.iloc[made.kept].reset_index(drop=True)
    return Pages(name, catalogue, made.images, rejected + len(made.rejected))


def inner_fits(pages: Pages, first: splits.Split, chosen: argparse.Namespace, steps: dict[str, int]) -> list[Fit]:
    """Each model at each learning rate, on an inner split of the training side of the first fold."""
    inner = splits.split(pages.catalogue.iloc[first.train], "grouped", validation=0.2, seed=chosen.seed)
    inner = replace(inner, train=first.train[inner.train], validation=first.train[inner.validation])
    return [
        Fit(pages.name, name, inner, "inner", rate, chosen.weight_decay, steps[name], chosen.seed * 1000)
        for name in MODELS
        for rate in sorted(chosen.learning_rates)
    ]


def best_rates(results: list[dict]) -> dict[tuple[str, str], dict]:
    """By pages and model: the macro-F1 at each rate of the inner split, and the rate where it is highest.

    Raises:
        ValueError: a model diverged at every rate.
    """
    rates = {}
    for result in results:
        there = rates.setdefault((result["pages"], result["model"]), {"inner_macro_f1": {}})
        if result["metrics"]:
            there["inner_macro_f1"][result["learning_rate"]] = round(result["metrics"].macro_f1, 4)
    for (pages, model), there in rates.items():
        if not there["inner_macro_f1"]:
            raise ValueError(f"{model} diverged on {pages} pages at every rate: give lower --learning-rates")
        there["learning_rate"] = max(there["inner_macro_f1"], key=there["inner_macro_f1"].get)  # of equals the lowest
    return rates


def fold_fits(pages: Pages, folds: list[splits.Split], rates: dict, chosen, steps: dict[str, int]) -> list[Fit]:
    return [
        Fit(
            pages.name, name, fold, f"repeat {fold.repeat} fold {fold.fold}",
            rates[pages.name, name]["learning_rate"], chosen.weight_decay, steps[name],
            chosen.seed * 1000 + 1 + number,
        )
        for number, fold in enumerate(folds)
        for name in MODELS
    ]  # fmt: skip


def compare(pages: Pages, folds: list[splits.Split], results: list[dict], rates: dict) -> tuple[dict, pd.DataFrame]:
    """What the folds say about the models, for the record; and the mean probabilities of every page over the repeats.

    Raises:
        ValueError: a model diverged in a fold.
    """
    used = np.unique(np.concatenate([fold.validation for fold in folds]))
    rows = pages.catalogue.iloc[used]
    labels = rows["label"].to_numpy()
    overlap = float(np.mean([len(fold.validation) / len(fold.train) for fold in folds]))
    models, pooled, tables = {}, {}, []
    for name in MODELS:
        own = [result for result in results if (result["pages"], result["model"]) == (pages.name, name)]
        total = np.zeros((len(pages.catalogue), len(NAMES)))
        for fold, result in zip(folds, own, strict=True):
            if result["metrics"] is None:
                raise ValueError(f"{name} diverged at {result['learning_rate']}: leave it out of --learning-rates")
            total[fold.validation] += result["probabilities"]
        pooled[name] = total[used] / total[used].sum(axis=1, keepdims=True)
        tables.append(rows[["file", "condition"]].assign(model=name, **dict(zip(NAMES, pooled[name].T, strict=True))))
        scores = {score: [getattr(result["metrics"], score) for result in own] for score in SCORES}
        models[name] = {
            **rates[pages.name, name],
            "epochs": round(own[0]["steps"] * BATCH / float(np.mean([len(fold.train) for fold in folds])), 1),
            "folds": scores,
            "means": {score: asdict(mean_interval(values, overlap=overlap)) for score, values in scores.items()},
            "last_training_loss": [round(result["loss"], 4) for result in own],
            "seconds_per_fit": round(float(np.median([result["seconds"] for result in own])), 2),
            "pooled": evaluate(labels, pooled[name]).to_dict(),
            "pooled_verdicts": "".join(map(str, pooled[name].argmax(axis=1))),
        }
    rivals = {}
    for name in list(MODELS)[1:]:
        pairs = {score: (models["vit"]["folds"][score], models[name]["folds"][score]) for score in SCORES}
        over_pages = paired_bootstrap(labels, pooled["vit"], pooled[name], groups=rows["id_group"])
        rivals[name] = {
            "over_folds": {score: asdict(paired_interval(*pair, overlap=overlap)) for score, pair in pairs.items()},
            "pooled_over_ids": {score: asdict(interval) for score, interval in over_pages.items()},
        }
    record = {
        "pages": {
            "files": len(pages.catalogue), "distinct": len(used), "rejected": pages.rejected,
            "by_condition": rows["condition"].value_counts(sort=False).to_dict(),
        },
        "truth": "".join(map(str, labels)),
        "models": models,
        "rivals_minus_vit": rivals,
    }  # fmt: skip
    return record, pd.concat(tables)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="real pages, a folder in the published layout")
    parser.add_argument("--pages", type=int, help="simulated pages; as many as in the quick chapters unless given")
    parser.add_argument("--method", default=downsampling.OWN, choices=downsampling.METHODS)
    parser.add_argument("--seconds", type=float, default=25, help="of training on one core, for each fit")
    parser.add_argument("--steps", type=int, nargs=len(MODELS), metavar=tuple(name.upper() for name in MODELS),
                        help="steps of each model instead of --seconds, from a record to be repeated")  # fmt: skip
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3])
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="fits at a time, one thread each")
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "architectures")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(argv)


def main() -> None:
    chosen = arguments()
    simulated = course_pages("quick", seed=chosen.seed, pages=chosen.pages)
    pages = [load_pages("simulated", simulated, chosen.method)]
    if chosen.data:
        catalogue, rejected = read_catalogue(chosen.data)
        pages.append(load_pages("real", catalogue, chosen.method, len(rejected)))
    else:
        print("No real pages: give a folder in the published layout as --data.")
    folds = {
        one.name: splits.folds(one.catalogue, k=chosen.folds, repeats=chosen.repeats, seed=chosen.seed) for one in pages
    }

    runner = Runner(pages, chosen.runs, chosen.jobs)
    try:
        if chosen.steps:
            measured, steps = None, dict(zip(MODELS, chosen.steps, strict=True))
        else:
            measured = runner.seconds_per_step()
            steps = {name: max(round(chosen.seconds / seconds), 1) for name, seconds in measured.items()}
        inner = [fit for one in pages for fit in inner_fits(one, folds[one.name][0], chosen, steps)]
        rates = best_rates(runner.results(inner, "learning rates"))
        fits = [fit for one in pages for fit in fold_fits(one, folds[one.name], rates, chosen, steps)]
        results = runner.results(fits, "folds")
    except KeyboardInterrupt:
        sys.exit("interrupted: fits begun are finished and kept; the same command goes on")
    finally:
        runner.close()

    found = {}
    for one in pages:
        found[one.name], table = compare(one, folds[one.name], results, rates)
        write_whole(chosen.runs / f"pages-{one.name}.csv", table.to_csv(index=False).encode())
        report(one.name, found[one.name])
    record = {
        "command": command(chosen, steps),
        "seed": chosen.seed,
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
        "seconds_per_fit": None if chosen.steps else chosen.seconds,
        "seconds_per_step": measured,
        "steps": steps,
        "parameters": {name: parameters(build(name)) for name in MODELS},
        **found,
    }
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps({name: headline(its) for name, its in found.items()}))


def command(chosen: argparse.Namespace, steps: dict[str, int]) -> str:
    """What repeats the fits, step for step, on any machine."""
    words = ["python benchmarks/architectures.py"]
    words += ["--data REAL"] if chosen.data else []
    words += [f"--pages {chosen.pages}"] if chosen.pages else []
    words += [f"--method {chosen.method} --steps {' '.join(map(str, steps.values()))}"]
    words += [f"--learning-rates {' '.join(map(str, chosen.learning_rates))} --weight-decay {chosen.weight_decay}"]
    words += [f"--folds {chosen.folds} --repeats {chosen.repeats} --seed {chosen.seed} --out FILE"]
    return " ".join(words)


def report(name: str, found: dict) -> None:
    """Print a table of all scores."""
    print(f"\n{name}: {found['pages']['distinct']} distinct pages, mean over folds [95 % interval]")
    for model, its in found["models"].items():
        told = "   ".join(f"{score} {_told(interval)}" for score, interval in its["means"].items())
        print(f"  {model:12} {told}   (rate {its['learning_rate']:g}, {its['epochs']:g} epochs)")
    for rival, its in found["rivals_minus_vit"].items():
        told = "   ".join(f"{score} {_told(interval)}" for score, interval in its["over_folds"].items())
        print(f"  {rival + ' - vit':12} {told}")


def headline(found: dict) -> dict:
    """The macro-F1 of each model, and of each rival minus the Vision Transformer's: mean, low, high."""
    means = {model: round(its["means"]["macro_f1"]["mean"], 4) for model, its in found["models"].items()}
    intervals = {rival: its["over_folds"]["macro_f1"] for rival, its in found["rivals_minus_vit"].items()}
    differences = {
        rival: [round(interval[end], 4) for end in ("mean", "low", "high")] for rival, interval in intervals.items()
    }
    return {"macro_f1": means, "minus_vit": differences}


def _told(interval: dict) -> str:
    return f"{interval['mean']:6.3f} [{interval['low']:6.3f}, {interval['high']:6.3f}]"


if __name__ == "__main__":
    main()
