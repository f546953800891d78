"""Does keeping only the tokens with ink cost score? `course` (192 tokens) against `reference` (all 704), same folds.

    python benchmarks/course_and_reference.py DATA --runs FOLDER --out data/measured/course_and_reference.json

DATA is a folder in the published layout. Both presets share folds, seeds and settings; copies and printed IDs stay on
one side of a fold. Runs are kept under --runs: interrupted, the same command goes on. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from record import commit, ends, machine
from tqdm.std import tqdm

from heartai_utils import _runs, splits, training, vit
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.evaluation import SCORES, mean_interval, paired_interval

FOLDS = 5
OVERLAP = 1 / (FOLDS - 1)  # validation pages over training pages
PRESETS = ("reference", "course")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "course-and-reference")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    catalogue, rejected = read_catalogue(chosen.data)
    folds = splits.folds(catalogue, k=FOLDS, repeats=chosen.repeats, seed=chosen.seed)
    found: dict[str, list[training.Run]] = {preset: [] for preset in PRESETS}
    with tqdm(total=len(folds) * len(PRESETS), desc="runs", leave=False) as bar:
        for number, split in enumerate(folds):
            data = training.load_data(catalogue, split, cache_dir=chosen.runs / "thumbnails", progress=False)
            for preset in PRESETS:
                found[preset].append(fold_run(preset, data, number, chosen))
                bar.update()

    record = {
        "command": (
            f"python benchmarks/course_and_reference.py DATA --repeats {chosen.repeats} --seed {chosen.seed} "
            f"--epochs {chosen.epochs} --learning-rate {chosen.learning_rate} --weight-decay {chosen.weight_decay} "
            "--out FILE"
        ),
        "data": {
            "files": len(catalogue),
            "distinct": catalogue["copy_group"].nunique(),
            "rejected": len(rejected),
            "split": f"{FOLDS} grouped folds, {chosen.repeats} times",
        },
        "commit": commit(),
        "machine": machine(found[PRESETS[-1]][-1].folder),
        "scores": {score: compare(found, score) for score in SCORES},
    }
    write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


def fold_run(preset: str, data: training.Data, number: int, chosen: argparse.Namespace) -> training.Run:
    """The run of a preset on a fold, trained or found."""
    config = training.TrainingConfig(
        vit.preset(preset),
        epochs=chosen.epochs,
        learning_rate=chosen.learning_rate,
        weight_decay=chosen.weight_decay,
        seed=chosen.seed + number,
    )
    folder = chosen.runs / "runs" / _runs.name_of(training.identity(config, data))
    return training.train(config, data, folder, progress=False)


def compare(found: dict[str, list[training.Run]], score: str) -> dict:
    """A score of each preset on each fold, the means, and that of `course` less that of `reference`."""
    values = {preset: [getattr(run.metrics, score) for run in runs] for preset, runs in found.items()}
    means = {preset: ends(mean_interval(each, overlap=OVERLAP)) for preset, each in values.items()}
    less = ends(paired_interval(values["reference"], values["course"], overlap=OVERLAP))
    return {"folds": values, "means": means, "course_less_reference": less}


if __name__ == "__main__":
    main()
