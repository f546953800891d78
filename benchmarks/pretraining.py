"""What simulated pages are worth on real ones: how the score grows with simulated pages, and with real ones.

    python benchmarks/pretraining.py DATA --runs FOLDER --out data/measured/pretraining.json

DATA is a folder in the published layout. Two questions, both of distinct real pages alone:

simulated   The model is trained on so many simulated pages and judged on all real pages, of which it saw none. Each
            number of pages is trained on for the same number of steps, few pages more often than many. Intervals are
            over the real pages (bootstrap, pages of one printed ID together).
real        Five grouped folds. From each fold's training side so many pages are taken, in the shares of the conditions,
            fewer among more, and the model trained on them begins with the one that saw most simulated pages
            ("pretrained") or with weights drawn from the seed ("scratch"); it is judged on the fold's held-out pages.
            0 pages is the pretrained model as it is. Intervals are over folds, differences are paired fold by fold.

A model from scratch is given the higher learning rate and the more steps that it needs. So that all of it takes half an
hour of one core, the model is a smaller one than the preset "best", on its thumbnails halved in height and width; what
the preset itself reaches is in data/measured/levers.json. The simulator's distribution of hearts was fitted to these
real pages (`benchmarks/fit_hearts.py`), held-out ones included: see the docstring of `benchmarks/levers.py`.

Runs are kept under --runs and simulated thumbnails under --cache: interrupted, the same command goes on, and asked for
more numbers of pages it trains those only. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from record import commit, ends, machine
from tqdm.std import tqdm

from heartai_utils import _runs, pretraining, splits, training, vit
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.evaluation import SCORES, bootstrap_intervals, evaluate, mean_interval, paired_interval
from heartai_utils.training import Augmentation, Data, Run, TrainingConfig

FOLDS = 5
OVERLAP = 1 / (FOLDS - 1)  # validation pages over training pages
BATCH = 32
MODEL = vit.preset("best", height=144, width_px=240, patch_size=(36, 8), stem=(16,), width=32, heads=2, depth=2)

BASE = TrainingConfig(
    MODEL, epochs=4, batch_size=BATCH, learning_rate=2e-3, weight_decay=0.05, schedule="cosine", warmup_epochs=1,
    clip_norm=1.0,
)  # fmt: skip
ARMS = {
    "pretrained": replace(BASE, learning_rate=5e-4, augmentation=Augmentation()),
    "scratch": replace(BASE, augmentation=Augmentation()),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--simulated", type=int, nargs="+", default=[256, 1024, 4096], help="numbers of pages")
    parser.add_argument("--real", type=int, nargs="+", default=[30, 120, 236], help="numbers of pages, besides 0")
    parser.add_argument("--simulated-steps", type=int, default=512)
    parser.add_argument("--pretrained-steps", type=int, default=64)
    parser.add_argument("--scratch-steps", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0, help="of folds, weights and order")
    parser.add_argument("--simulated-seed", type=int, default=101, help="of the simulated pages")
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "pretraining")
    parser.add_argument("--cache", type=Path, help="of simulated thumbnails; by default with the other data")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    catalogue, rejected = read_catalogue(chosen.data)
    folds = splits.folds(catalogue, k=FOLDS, seed=chosen.seed)
    seen = {"crop": vit.CROPS["best"], "size": vit.preset("best").image_size}
    cache = chosen.runs / "thumbnails"
    sides = [halved(training.load_data(catalogue, split, cache_dir=cache, progress=False, **seen)) for split in folds]
    most = max(chosen.simulated)
    images, simulated = pretraining.simulated_thumbnails(most, chosen.simulated_seed, cache_dir=chosen.cache, **seen)
    images = half(images)
    rows = np.concatenate([folds[0].train, folds[0].validation])
    groups = catalogue["id_group"].to_numpy()[rows]

    def run(config: TrainingConfig, data: Data, initial=None) -> Run:
        folder = chosen.runs / "runs" / _runs.name_of(training.identity(config, data, initial))
        return training.train(config, data, folder, progress=False, initial=initial)

    alone: dict[int, Run] = {}
    for pages in tqdm(sorted(chosen.simulated, reverse=True), desc="simulated", leave=False):
        data = all_real(sides[0], images[:pages], simulated[:pages])
        config = replace(BASE, seed=chosen.seed)
        alone[pages] = run(config, repeated(data, chosen.simulated_steps, config.epochs))

    labels = np.concatenate([sides[0].train_labels, sides[0].validation_labels])
    steps = {"pretrained": chosen.pretrained_steps, "scratch": chosen.scratch_steps}
    found: dict[str, dict[int, list]] = {"pretrained": {0: judged_as_it_is(alone[most], sides, folds)}, "scratch": {}}
    wanted = [(arm, pages) for pages in sorted(chosen.real, reverse=True) for arm in ARMS]
    for arm, pages in tqdm(wanted, desc="real", leave=False):
        found[arm][pages] = []
        for number, side in enumerate(sides):
            taken = in_shares(side.train_labels, pages, chosen.seed + number)
            data = replace(side, train_images=side.train_images[taken], train_labels=side.train_labels[taken])
            config = replace(ARMS[arm], seed=chosen.seed + number)
            initial = alone[most].model if arm == "pretrained" else None
            found[arm][pages].append(run(config, repeated(data, steps[arm], config.epochs), initial).metrics)

    record = {
        "command": (
            f"python benchmarks/pretraining.py DATA --simulated {' '.join(map(str, chosen.simulated))} "
            f"--real {' '.join(map(str, chosen.real))} --simulated-steps {chosen.simulated_steps} "
            f"--pretrained-steps {chosen.pretrained_steps} --scratch-steps {chosen.scratch_steps} "
            f"--seed {chosen.seed} --simulated-seed {chosen.simulated_seed} --out FILE"
        ),
        "data": {
            "files": len(catalogue),
            "distinct": len(rows),
            "rejected": len(rejected),
            "split": f"{FOLDS} grouped folds, once",
        },
        "commit": commit(),
        "machine": machine(alone[most].folder),
        "model": asdict(MODEL),
        "batch_size": BATCH,
        "steps": {"simulated": chosen.simulated_steps} | steps,
        "majority": evaluate(labels, labels).majority_accuracy,
        "simulated": [grown(pages, alone[pages], labels, groups) for pages in sorted(alone)],
        "real": {
            arm: [over_folds(pages, by_pages[pages]) for pages in sorted(by_pages)] for arm, by_pages in found.items()
        },
        "pretrained_less_scratch": [
            {"pages": pages} | compare(found["scratch"][pages], found["pretrained"][pages])
            for pages in sorted(chosen.real)
        ],
    }
    write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


def half(images: np.ndarray) -> np.ndarray:
    """Each 2 × 2 pixels as their mean."""
    pages, height, width = images.shape
    quarters = images.reshape(pages, height // 2, 2, width // 2, 2)
    return np.round(quarters.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)


def halved(data: Data) -> Data:
    """The same pages at half the height and width."""
    return replace(
        data,
        train_images=half(data.train_images),
        validation_images=half(data.validation_images),
        thumbnail=data.thumbnail | {"size": list(MODEL.image_size)},
    )


def all_real(side: Data, images: np.ndarray, labels: np.ndarray) -> Data:
    """Simulated pages to train on, and the real pages of both sides of a fold to judge by."""
    return replace(
        side,
        train_images=images,
        train_labels=labels,
        validation_images=np.concatenate([side.train_images, side.validation_images]),
        validation_labels=np.concatenate([side.train_labels, side.validation_labels]),
        validation_files=tuple(f"{i}" for i in range(len(side.train_labels) + len(side.validation_labels))),
    )


def repeated(data: Data, steps: int, epochs: int) -> Data:
    """The same training pages, as often as fills ``steps`` batches in all: a run then takes as long with few as with
    many, and is judged as often.

    Raises:
        ValueError: there are more pages than an epoch has room for, so that some would never be seen.
    """
    room = steps * BATCH // epochs
    if len(data.train_labels) > room:
        raise ValueError(f"{len(data.train_labels)} pages, and an epoch has room for {room}: ask for more steps")
    places = np.arange(room) % len(data.train_labels)
    return replace(data, train_images=data.train_images[places], train_labels=data.train_labels[places])


def in_shares(labels: np.ndarray, pages: int, seed: int) -> np.ndarray:
    """Positions of so many pages, ascending, each condition in its share; those of a smaller number are among them."""
    if pages > len(labels):
        raise ValueError(f"{pages} pages are asked for, and there are {len(labels)} to train on: ask for fewer")
    rng = np.random.default_rng(seed)
    place = np.empty(len(labels))  # 0 to 1, evenly over each condition
    for label in np.unique(labels):
        mine = rng.permutation(np.flatnonzero(labels == label))
        place[mine] = (np.arange(len(mine)) + 0.5) / len(mine)
    return np.sort(np.argsort(place, kind="stable")[:pages])


def judged_as_it_is(run: Run, sides: list[Data], folds: list[splits.Split]) -> list:
    """Metrics of a model that saw no real page, on the held-out pages of each fold."""
    verdicts = dict(zip(np.concatenate([folds[0].train, folds[0].validation]), run.probabilities, strict=True))
    return [
        evaluate(side.validation_labels, np.array([verdicts[row] for row in split.validation]))
        for side, split in zip(sides, folds, strict=True)
    ]


def grown(pages: int, run: Run, labels: np.ndarray, groups: np.ndarray) -> dict:
    """What the record says of a model that saw simulated pages alone."""
    intervals = bootstrap_intervals(labels, run.probabilities, groups=groups)
    return {"pages": pages, "recall": run.metrics.recall} | {score: ends(intervals[score]) for score in SCORES}


def over_folds(pages: int, found: list) -> dict:
    """Each score on each fold, their mean and its interval."""
    told = {"pages": pages}
    for score in SCORES:
        values = [getattr(metrics, score) for metrics in found]
        told[score] = {"folds": values} | ends(mean_interval(values, overlap=OVERLAP))
    return told


def compare(first: list, second: list) -> dict:
    """``second`` less ``first``, fold by fold."""
    pairs = {score: [[getattr(m, score) for m in arm] for arm in (first, second)] for score in SCORES}
    return {score: ends(paired_interval(*each, overlap=OVERLAP)) for score, each in pairs.items()}


if __name__ == "__main__":
    main()
