"""What makes the Vision Transformer better on real pages, one lever after the other, on the same folds.

    python benchmarks/levers.py DATA --runs FOLDER --out data/measured/levers.json

DATA is a folder in the published layout. `LEVERS` says what each recipe changes, and which one it is compared with;
`BEST` is the one that the weights in data/weights/best.keras were made by. Scores are of grouped folds of the distinct
pages (copies and printed IDs on one side), --repeats times for `BEST`, once for the others; differences are paired
fold by fold. All that are pretrained begin with the same model, taught once by simulated pages alone; it is also judged
as it is, on all real pages. Nothing comes from outside this project.

How the recipe was chosen: geometry, stem and number of tokens by how fast a model learns from simulated pages; learning
rate and epochs of fine-tuning at once and never changed, tried on one other draw of the folds (seed 9).

**What the folds do not tell.** The hearts of the simulator are drawn from a distribution fitted to these very pages
(`benchmarks/fit_hearts.py`), the held-out ones of each fold included. They went into it as one of 295 in five means
and 30 loadings, but other pages, which it has not seen at all, may be judged a little worse.

**Temperature.** That of a fold is fitted to the held-out verdicts of the other folds of its repeat, and to no label of
the fold itself.

Runs are kept under --runs: interrupted, the same command goes on. With --weights the pretrained model and one that is
trained by `BEST` on all pages are written there. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from record import commit, ends, machine
from tqdm.std import tqdm

from heartai_utils import _runs, downsampling, pretraining, splits, training, vit
from heartai_utils._keras import keras
from heartai_utils.augmentation import Augmentation, Augmenter
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.evaluation import (
    SCORES,
    Metrics,
    calibration,
    evaluate,
    fit_temperature,
    mean_interval,
    paired_interval,
    selective_accuracy,
    softmax,
)
from heartai_utils.training import TrainingConfig

COMPARATOR = Path(__file__).parents[1] / "data" / "measured" / "comparator.json"
FOLDS = 5
OVERLAP = 1 / (FOLDS - 1)  # validation pages over training pages
SHIFTS_MS = (-60.0, -20.0, 20.0, 60.0)
SIMULATED, SIMULATED_SEED = 10_000, 101
CHECKED, CHECK_SEED = 100, 7


@dataclass(frozen=True)
class Recipe:
    """How a fold's model comes about, and how it is asked.

    Attributes:
        training: on the real pages of the fold's training side.
        pretrained: begin with the model that simulated pages have taught.
        mixed_in: so many simulated pages among the real ones.
        members: models with seeds of their own, whose probabilities are averaged.
        shifts_ms: a page is also judged with its traces shifted by so much, and the probabilities are averaged.
        preset: of the model, which decides what of the page it sees.
    """

    training: TrainingConfig
    pretrained: bool = False
    mixed_in: int = 0
    members: int = 1
    shifts_ms: tuple[float, ...] = ()
    preset: str = "best"


COURSE = Recipe(TrainingConfig(vit.preset("course"), 35, learning_rate=5e-4, weight_decay=0.05), preset="course")
SCRATCH = Recipe(
    TrainingConfig(
        vit.preset("best"), 30, learning_rate=1e-3, weight_decay=0.05, schedule="cosine", warmup_epochs=3, clip_norm=1.0
    )
)
PRETRAINING = replace(SCRATCH.training, epochs=7, warmup_epochs=1, ema_momentum=0.99)
TUNED = replace(
    SCRATCH, training=replace(SCRATCH.training, epochs=8, learning_rate=3e-4, warmup_epochs=1), pretrained=True
)
MIXED = replace(TUNED, mixed_in=472, training=replace(TUNED.training, epochs=4))
BEST = "pretrained on simulated pages"
LEVERS: dict[str, tuple[str | None, Recipe]] = {
    "course": (None, COURSE),
    "traces alone, finer, with a stem": ("course", SCRATCH),
    "pretrained on simulated pages": ("traces alone, finer, with a stem", TUNED),
    "mixed with simulated pages": ("pretrained on simulated pages", MIXED),
    "augmented": (
        "pretrained on simulated pages",
        replace(TUNED, training=replace(TUNED.training, augmentation=Augmentation())),
    ),
    "conditions weighed alike": (
        "pretrained on simulated pages",
        replace(TUNED, training=replace(TUNED.training, class_weights=True)),
    ),
    "averaged weights": (
        "pretrained on simulated pages",
        replace(TUNED, training=replace(TUNED.training, ema_momentum=0.98)),
    ),
    "averaged over shifts": ("pretrained on simulated pages", replace(TUNED, shifts_ms=SHIFTS_MS)),
    "three models": ("pretrained on simulated pages", replace(TUNED, members=3)),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--levers", nargs="+", choices=LEVERS, default=list(LEVERS))
    parser.add_argument("--repeats", type=int, default=3, help="of the folds, for the best recipe")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--simulated", type=int, default=SIMULATED, help="pages to pretrain on")
    parser.add_argument("--cache", type=Path, help="of thumbnails; by default under --runs")
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "levers")
    parser.add_argument("--weights", type=Path, help="a folder for the weights of the pretrained and the best model")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    chosen.cache = chosen.cache or chosen.runs / "thumbnails"
    return chosen


class Bench:
    """What all recipes share: pages, folds, the pretrained model, and where runs are kept."""

    def __init__(self, folder: Path, runs: Path, cache: Path, simulated: int, repeats: int, seed: int):
        self.catalogue, self.rejected = read_catalogue(folder)
        self.labels = self.catalogue["label"].to_numpy()
        self.folds = splits.folds(self.catalogue, k=FOLDS, repeats=repeats, seed=seed)
        self.seed, self.cache, self.runs = seed, cache, runs
        seen = {"size": vit.preset("best").image_size, "crop": vit.CROPS["best"], "cache_dir": cache}
        data = pretraining.simulated_data(simulated, SIMULATED_SEED, **seen)
        self.simulated = data.train_images, data.train_labels
        self.pretraining = self.train(PRETRAINING, data, progress=True)

    def train(
        self, config: TrainingConfig, data: training.Data, initial: keras.Model | None = None, progress: bool = False
    ) -> training.Run:
        folder = self.runs / "runs" / _runs.name_of(training.identity(config, data, initial))
        return training.train(config, data, folder, progress=progress, initial=initial)

    def data_of(self, recipe: Recipe, split: splits.Split, seed: int) -> training.Data:
        data = training.load_data(
            self.catalogue, split, crop=vit.CROPS.get(recipe.preset), cache_dir=self.cache, progress=False,
            size=recipe.training.model.image_size,
        )  # fmt: skip
        if recipe.mixed_in:
            images, labels = self.simulated
            drawn = np.random.default_rng(seed).choice(len(labels), recipe.mixed_in, replace=False)
            data = pretraining.with_simulated(data, images[drawn], labels[drawn])
        return data

    def runs_of(self, recipe: Recipe, split: splits.Split, number: int) -> list[training.Run]:
        """The models of a fold, trained or found."""
        seed = self.seed + number
        data = self.data_of(recipe, split, seed)
        initial = self.pretraining.model if recipe.pretrained else None
        seeds = [seed + 1000 * member for member in range(recipe.members)]
        return [self.train(replace(recipe.training, seed=each), data, initial) for each in seeds]

    def judge(self, recipe: Recipe, split: splits.Split, number: int) -> np.ndarray:
        """Probabilities (pages, 4) of a fold's held-out pages."""
        runs = self.runs_of(recipe, split, number)
        found = [run.probabilities for run in runs]
        if recipe.shifts_ms:
            images = self.data_of(recipe, split, self.seed + number).validation_images
            found += [training.predict(run.model, pages) for run in runs for pages in shifted(images, recipe, runs[0])]
        return np.mean(found, axis=0)


def shifted(images: np.ndarray, recipe: Recipe, run: training.Run) -> list[np.ndarray]:
    """The same pages with their traces a little earlier or later."""
    augmenter = Augmenter(Augmentation(), **{"size": run.config.model.image_size} | run.thumbnail)
    return [np.stack([augmenter.change(image, shift_ms=each) for image in images]) for each in recipe.shifts_ms]


def main() -> None:
    chosen = arguments()
    bench = Bench(chosen.data, chosen.runs, chosen.cache, chosen.simulated, chosen.repeats, chosen.seed)
    repeats = {name: chosen.repeats if name == BEST else 1 for name in chosen.levers}
    found: dict[str, list[np.ndarray]] = {name: [] for name in chosen.levers}
    with tqdm(total=sum(FOLDS * times for times in repeats.values()), desc="folds", leave=False) as bar:
        for name in chosen.levers:
            for number, split in enumerate(bench.folds[: FOLDS * repeats[name]]):
                found[name].append(bench.judge(LEVERS[name][1], split, number))
                bar.update()
            told = [f"{score} {np.mean(values):.3f}" for score, values in scores(bench, found[name]).items()]
            tqdm.write(f"{name}: {', '.join(told)}", file=sys.stderr)
    if chosen.weights:
        write_weights(bench, chosen)
    record = {
        "command": command(chosen),
        "data": {
            "files": len(bench.catalogue),
            "distinct": bench.catalogue["copy_group"].nunique(),
            "rejected": len(bench.rejected),
            "split": f"{FOLDS} grouped folds, as many times as each lever tells",
        },
        "commit": commit(),
        "machine": machine(bench.pretraining.folder),
        "simulated_pages": chosen.simulated,
        "pretrained_alone": judged_untuned(bench),
        "best": BEST,
        "levers": {name: summary(bench, name, found) for name in found},
    }
    if BEST in found:
        record["best_in_detail"] = detail(bench, found[BEST])
        record["best_less_comparator"] = less_comparator(bench, found[BEST])
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps({name: its["means"] for name, its in record["levers"].items()}))


def command(chosen: argparse.Namespace) -> str:
    words = [f"python benchmarks/levers.py DATA --repeats {chosen.repeats} --seed {chosen.seed}"]
    words += [] if list(LEVERS) == chosen.levers else ["--levers", *(f"'{name}'" for name in chosen.levers)]
    return " ".join([*words, f"--simulated {chosen.simulated} --out FILE"])


def metrics(bench: Bench, found: list[np.ndarray]) -> list[Metrics]:
    folds = bench.folds[: len(found)]
    return [evaluate(bench.labels[split.validation], p) for split, p in zip(folds, found, strict=True)]


def scores(bench: Bench, found: list[np.ndarray]) -> dict[str, list[float]]:
    told = metrics(bench, found)
    return {score: [getattr(one, score) for one in told] for score in SCORES}


def summary(bench: Bench, name: str, found: dict[str, list[np.ndarray]]) -> dict:
    """Scores of a recipe by fold, their means with intervals, and what it gains on the one that it is compared with."""
    against, recipe = LEVERS[name]
    values = scores(bench, found[name])
    told = {
        "against": against,
        "repeats": len(found[name]) // FOLDS,
        "folds": values,
        "means": {score: ends(mean_interval(each, overlap=OVERLAP)) for score, each in values.items()},
        "settings": {
            "preset": recipe.preset, "pretrained": recipe.pretrained, "mixed_in": recipe.mixed_in,
            "members": recipe.members, "shifts_ms": recipe.shifts_ms, "training": recipe.training.to_record(),
        },
    }  # fmt: skip
    if against in found:
        pairs = min(len(found[name]), len(found[against]))
        before = scores(bench, found[against])
        told["gain"] = {
            score: ends(paired_interval(before[score][:pairs], values[score][:pairs], overlap=OVERLAP))
            for score in SCORES
        }
    return told


def detail(bench: Bench, found: list[np.ndarray]) -> dict:
    """Recall, calibration and selective accuracy of the best recipe, over all its repeats; and every verdict."""
    told = metrics(bench, found)
    recalls = {name: [one.recall[name] for one in told] for name in NAMES}
    tempered, temperatures = with_temperatures(bench, found)
    ece, ece_tempered, selective = [], [], []
    for start in range(0, len(found), FOLDS):
        folds = bench.folds[start : start + FOLDS]
        labels = np.concatenate([bench.labels[split.validation] for split in folds])
        ece.append(calibration(labels, np.concatenate(found[start : start + FOLDS])).ece)
        sure = np.concatenate(tempered[start : start + FOLDS])
        ece_tempered.append(calibration(labels, sure).ece)
        selective.append(selective_accuracy(labels, sure))
    verdicts = [
        {"file": bench.catalogue["file"][row], "repeat": number // FOLDS, "label": int(bench.labels[row]),
         "probabilities": [round(float(p), 4) for p in each]}
        for number, (split, probabilities) in enumerate(zip(bench.folds, tempered, strict=False))
        for row, each in zip(split.validation, probabilities, strict=True)
    ]  # fmt: skip
    return {
        "recall": {name: ends(mean_interval(each, overlap=OVERLAP)) for name, each in recalls.items()},
        "confusion": np.sum([one.confusion for one in told], axis=0).tolist(),
        "temperature": temperatures,
        "ece": ece,
        "ece_tempered": ece_tempered,
        "selective_tempered": json.loads(
            pd.concat(selective).groupby("coverage")["accuracy"].mean().reset_index().to_json(orient="records")
        ),
        "verdicts_tempered": verdicts,
    }


def less_comparator(bench: Bench, found: list[np.ndarray]) -> dict | None:
    """What the best recipe scores more than the traces read back do, on the very same folds; None if they differ."""
    kept = json.loads(COMPARATOR.read_text())
    place = {md5: number for number, md5 in enumerate(md5 for _, md5, _ in kept["pages"])}
    rows = [[place.get(md5) for md5 in bench.catalogue["md5"].iloc[split.validation]] for split in bench.folds]
    less = {score: [] for score in SCORES}
    for number, (split, pages, probabilities) in enumerate(zip(bench.folds, rows, found, strict=True)):
        repeat, fold = divmod(number, FOLDS)
        if None in pages or repeat >= len(kept["folds"]) or any(kept["folds"][repeat][page] != fold for page in pages):
            return None
        labels = bench.labels[split.validation]
        theirs = evaluate(labels, np.array(kept["probabilities"]["both"][repeat])[pages])
        for score, values in less.items():
            values.append((getattr(theirs, score), getattr(evaluate(labels, probabilities), score)))
    return {score: ends(paired_interval(*zip(*values, strict=True), overlap=OVERLAP)) for score, values in less.items()}


def with_temperatures(bench: Bench, found: list[np.ndarray]) -> tuple[list[np.ndarray], list[float]]:
    """The probabilities of each fold at the temperature that suits the other folds of its repeat."""
    tempered, temperatures = [], []
    for number, probabilities in enumerate(found):
        first = number - number % FOLDS
        others = [other for other in range(first, first + FOLDS) if other != number]
        labels = np.concatenate([bench.labels[bench.folds[other].validation] for other in others])
        temperature = fit_temperature(labels, np.log(np.concatenate([found[other] for other in others]).clip(1e-9)))
        temperatures.append(round(temperature, 3))
        tempered.append(softmax(np.log(probabilities.clip(1e-9)) / temperature))
    return tempered, temperatures


def judged_untuned(bench: Bench) -> dict:
    """The pretrained model on all distinct real pages, none of which it was trained on."""
    pages = bench.catalogue.drop_duplicates("copy_group")
    run = bench.pretraining
    images = downsampling.load_thumbnails(
        pages["path"], md5s=pages["md5"], cache_dir=bench.cache, progress=False, **run.thumbnail
    ).images
    real = evaluate(pages["label"].to_numpy(), training.predict(run.model, images)).to_dict()
    return {"real": real, "simulated": run.metrics.to_dict()}


def write_weights(bench: Bench, chosen: argparse.Namespace) -> None:
    """The pretrained model, and one trained by the best recipe on every distinct page, each with its record."""
    recipe = LEVERS[BEST][1]
    rows = np.flatnonzero(~bench.catalogue["copy_group"].duplicated().to_numpy())
    everything = replace(bench.folds[0], train=rows, validation=rows)  # what it is worth, the folds tell
    best = bench.runs_of(recipe, everything, 0)[0]
    told = {
        "pretrained": (bench.pretraining, f"{len(bench.simulated[1])} simulated pages alone"),
        "best": (best, f"{len(rows)} real pages, after {len(bench.simulated[1])} simulated ones"),
    }
    for name, (run, pages) in told.items():
        path = chosen.weights / f"{name}.keras"
        _runs.write_model(path, run.config.model, run.model.get_weights())
        compress(path)
        record = {
            "about": f"Model: a Vision Transformer trained on {pages}.",
            "thumbnail": run.thumbnail,
            "training": run.config.to_record(),
            "command": command(chosen).replace("--out FILE", "--weights data/weights --out FILE"),
            "commit": commit(),
            "scores": "data/measured/levers.json",
            "check": check(run),
        }
        write_whole(chosen.weights / f"{name}.json", (json.dumps(record, indent=1) + "\n").encode())


def check(run: training.Run) -> dict:
    """What the model makes of a few simulated pages that it was not trained on: whoever loads it can find the same."""
    images, labels = pretraining.simulated_thumbnails(CHECKED, CHECK_SEED, **run.thumbnail, progress=False)
    right = int((training.predict(run.model, images).argmax(axis=1) == labels).sum())
    return {"simulated_pages": CHECKED, "seed": CHECK_SEED, "right": right}


def compress(path: Path) -> None:
    """Keras stores its files as they are: an eighth of them is air, and each version stays in the repository."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as model, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as smaller:
        for part in model.infolist():
            smaller.writestr(part.filename, model.read(part))
    write_whole(path, file.getvalue())


if __name__ == "__main__":
    main()
