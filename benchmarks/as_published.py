"""What the copies are worth to each model: files split at random, as published, against groups kept together.

    python benchmarks/as_published.py DATA --seeds 5 --out data/measured/as_published.json

DATA is a folder in the published layout, its copies included. Each seed draws two hold-outs of a fifth, one over the
files at random, one over distinct pages with copies and printed IDs on one side, and each model is fitted to both: the
look-up of checksums, the comparator that reads the traces, and `best`, which begins with data/weights/pretrained.keras
and goes on with the training side as `levers.TUNED` says. Models that the record of the weight-decay grid holds are
read from it, as it draws the same hold-outs. Intervals are Student's over seeds, corrected for the training pages that
the hold-outs share.

Runs are kept under --runs: interrupted, the same command goes on. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import comparator  # first: it has Keras keep to one thread
import numpy as np
import pandas as pd
from levers import TUNED
from record import commit, ends, machine
from tqdm.std import tqdm

from heartai_utils import _layout, _reading, _runs, splits, training, verdict, vit
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.evaluation import SCORES, evaluate, mean_interval
from heartai_utils.trace_models import Both

HOWS = ("as_published", "grouped")
VALIDATION = 0.2
OVERLAP = VALIDATION / (1 - VALIDATION)
DECAY = 0.05  # of the course's model, read from the grid
GRID = Path(__file__).parents[1] / "data" / "measured" / "weight_decay.json"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "as-published")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


class Models:
    """The models by name, each a function that fits a split's training side and judges its other one."""

    def __init__(self, catalogue: pd.DataFrame, runs: Path):
        self.catalogue, self.runs = catalogue, runs
        self.labels = catalogue["label"].to_numpy()
        self.content = pd.factorize(catalogue["copy_group"])[0]
        self.traces, _ = comparator.read_pages(
            catalogue.drop_duplicates("copy_group"), runs / f"traces-{comparator.checksum(_layout, _reading)}"
        )
        self.pretrained = vit.load_vit(verdict.WEIGHTS.with_stem("pretrained"))
        self.by_name: dict[str, Callable[[splits.Split], np.ndarray]] = {
            "checksum_look_up": self.look_up,
            "comparator": self.comparator,
            "best": self.best,
        }

    def look_up(self, split: splits.Split) -> np.ndarray:
        """The label of the same file in training, or else the commonest label of the distinct pages there."""
        known = dict(zip(self.content[split.train], self.labels[split.train], strict=True))
        commonest = np.bincount(list(known.values())).argmax()
        said = [known.get(content, commonest) for content in self.content[split.validation]]
        return np.eye(len(NAMES))[said]

    def comparator(self, split: splits.Split) -> np.ndarray:
        train, held = self.content[split.train], self.content[split.validation]
        model = Both().fit(self.traces.take(train), self.labels[split.train], split.seed)
        return model.predict_proba(self.traces.take(held))

    def best(self, split: splits.Split) -> np.ndarray:
        config = replace(TUNED.training, seed=split.seed)
        data = training.load_data(
            self.catalogue, split, crop=vit.CROPS["best"], cache_dir=self.runs / "thumbnails", progress=False,
            size=config.model.image_size,
        )  # fmt: skip
        folder = self.runs / "runs" / _runs.name_of(training.identity(config, data, self.pretrained))
        return training.train(config, data, folder, progress=False, initial=self.pretrained).probabilities


def main() -> None:
    chosen = arguments()
    catalogue, rejected = read_catalogue(chosen.data)
    models = Models(catalogue, chosen.runs)
    drawn = [
        splits.split(catalogue, how, validation=VALIDATION, seed=seed) for seed in range(chosen.seeds) for how in HOWS
    ]
    rows = []
    for split in tqdm(drawn, "hold-outs", leave=False):
        for name, judge in models.by_name.items():
            metrics = evaluate(models.labels[split.validation], judge(split))
            rows.append({"model": name, "split": split.how, "seed": split.seed, "pages": metrics.pages}
                        | {score: round(getattr(metrics, score), 4) for score in SCORES})  # fmt: skip
    found = pd.DataFrame([*rows, *of_the_grid(chosen.seeds)])
    record = {
        "command": f"python benchmarks/as_published.py DATA --seeds {chosen.seeds} --out FILE",
        "data": {
            "files": len(catalogue), "distinct": catalogue["copy_group"].nunique(), "rejected": len(rejected),
            "validation": VALIDATION,
            "twins_in_training": round(np.mean([splits.shared_copies(s, catalogue) for s in drawn[::2]]), 4),
        },
        "commit": commit(),
        "machine": machine(next((chosen.runs / "runs").iterdir())),
        "means": {
            model: {how: means(part) for how, part in its.groupby("split")}
            for model, its in found.groupby("model", sort=False)
        },
        "runs": found.to_dict("records"),
    }  # fmt: skip
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record["means"]))


def of_the_grid(seeds: int) -> list[dict]:
    """The course's model with and without decay on the hold-outs of the same seeds."""
    kept = json.loads(GRID.read_text())
    runs = pd.DataFrame(kept["runs"]).query("split in @HOWS and weight_decay in (0, @DECAY) and seed < @seeds")
    runs["model"] = [f"{kept['preset']}, decay {decay:g}" for decay in runs["weight_decay"]]
    return runs[["model", "split", "seed", "pages", *SCORES]].to_dict("records")


def means(part: pd.DataFrame) -> dict:
    """Each score's mean over seeds and its interval."""
    return {"seeds": len(part)} | {score: ends(mean_interval(part[score], overlap=OVERLAP)) for score in SCORES}


if __name__ == "__main__":
    main()
