"""What more pages, augmentation and the other tools of training do to the small model of the quick chapters.

    python benchmarks/training_tools.py --out data/measured/training_tools.json

Trains `testing` on 192 simulated pages, plainly and with each tool, and on 768; judges all on 240 other pages. Needs no
real pages. Runs are kept under --runs: interrupted, the same command goes on. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
from record import commit
from tqdm.std import tqdm

from heartai_utils import _runs, downsampling, training, vit
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, simulate_set, write_whole

PAGES, JUDGED, SETS = 768, 240, (5, 1)  # pages to train on and to judge by, and the seeds they are simulated from
FEW = 192  # of them in all runs but "more pages"
SCHEDULE = {"schedule": "cosine", "warmup_epochs": 3}
TOOLS = {
    "plain": {},
    "more pages": {},
    "augmentation": {"augmentation": training.Augmentation()},
    "warm-up and cosine": SCHEDULE,
    "label smoothing": {"label_smoothing": 0.1},
    "EMA": {"ema_momentum": 0.98},
    "all of these": {
        "augmentation": training.Augmentation(), **SCHEDULE, "label_smoothing": 0.1, "ema_momentum": 0.98,
    },
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "training-tools")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()

    sets = [
        simulate_set(chosen.runs / f"pages-{seed}", pages, seed, progress=True)
        for pages, seed in zip((PAGES, JUDGED), SETS, strict=True)
    ]
    (images, labels), (judged, answers) = (thumbnails(catalogue, chosen.runs) for catalogue in sets)
    few = np.sort(np.concatenate([np.flatnonzero(labels == label)[: FEW // len(NAMES)] for label in range(len(NAMES))]))
    base = training.TrainingConfig(vit.preset("testing"), chosen.epochs)
    found: dict[str, list[dict]] = {name: [] for name in TOOLS}
    for seed, (name, settings) in tqdm([(s, tool) for s in range(chosen.seeds) for tool in TOOLS.items()], leave=False):
        rows = slice(None) if name == "more pages" else few
        kind = {"method": downsampling.OWN, "crop": None}
        data = training.Data(images[rows], labels[rows], judged, answers, thumbnail=kind)
        config = replace(base, seed=seed, **settings)
        folder = chosen.runs / "runs" / _runs.name_of(training.identity(config, data))
        run = training.train(config, data, folder, progress=False)
        last = run.history.iloc[-1]
        found[name].append(
            {
                "seed": seed,
                "right": run.metrics.correct,
                "train_accuracy": round(float(last["accuracy"]), 4),
                "val_loss": round(float(last["val_loss"]), 4),
            }
        )
    record = {
        "command": f"python benchmarks/training_tools.py --seeds {chosen.seeds} --epochs {chosen.epochs} --out FILE",
        "commit": commit(),
        "machine": platform.platform(),
        "preset": "testing",
        "epochs": chosen.epochs,
        "pages": {"few": FEW, "more": PAGES, "judged": JUDGED, "seeds": SETS},
        "runs": found,
    }
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


def thumbnails(catalogue, runs: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images (pages, 182, 256) and labels (pages,) of a set."""
    made = downsampling.load_thumbnails(
        catalogue["path"].tolist(), md5s=catalogue["md5"].tolist(), cache_dir=runs / "thumbnails"
    )
    return made.images, catalogue["label"].to_numpy()


if __name__ == "__main__":
    main()
