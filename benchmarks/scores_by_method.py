"""Does a better thumbnail make a better score? One small model, trained on each method's thumbnails, on the same folds.

Part of `downsampling.py`. Fits are kept, each in its own folder: interrupted, the next call goes on.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from record import ends
from tqdm.std import tqdm

from heartai_utils import downsampling as ds
from heartai_utils import splits, training, vit
from heartai_utils.evaluation import mean_interval, paired_interval

METHODS = ("area", "pillow-hamming", "linear", "jpeg-quarter", ds.OWN)
FOLDS = 5
OVERLAP = 1 / (FOLDS - 1)  # validation pages over training pages
PRESET, LEARNING_RATE, WEIGHT_DECAY = "testing", 1e-3, 0.05


def scores(catalogue: pd.DataFrame, runs: Path, *, seed: int, repeats: int, epochs: int) -> dict:
    """Macro-F1 by method: of each fold, the mean with its interval, and less that of area, fold by fold.

    All methods share folds and seeds; the intervals allow for the training pages that folds share.

    Args:
        catalogue: as `read_catalogue` gives it; copies and shared IDs stay on one side of a fold.
        runs: where fits are kept.
    """
    divided = splits.folds(catalogue, k=FOLDS, repeats=repeats, seed=seed)
    found: dict[str, list[float]] = {method: [] for method in METHODS}
    with tqdm(total=len(METHODS) * len(divided), desc="fits", leave=False, unit="fit") as bar:
        for number, split in enumerate(divided):
            config = training.TrainingConfig(
                vit.preset(PRESET),
                epochs=epochs,
                learning_rate=LEARNING_RATE,
                weight_decay=WEIGHT_DECAY,
                seed=seed + number,
            )
            for method in METHODS:
                data = training.load_data(catalogue, split, method, cache_dir=runs / "thumbnails", progress=False)
                folder = runs / f"{method}-{number}-{epochs}-{seed}-{data.fingerprint}"
                run = training.train(config, data, folder, progress=False)
                found[method].append(run.metrics.macro_f1)
                bar.set_postfix_str(f"{method} {np.mean(found[method]):.3f}")
                bar.update()
    told = {}
    for method, each in found.items():
        told[method] = {"macro_f1": each, "mean": ends(mean_interval(each, overlap=OVERLAP))}
        if method != "area":
            told[method]["less_area"] = ends(paired_interval(found["area"], each, overlap=OVERLAP))
    for method, each in told.items():
        print(f"{method}: macro-F1 {each['mean']}, less area {each.get('less_area', '–')}", file=sys.stderr)
    settings = {"preset": PRESET, "learning_rate": LEARNING_RATE, "weight_decay": WEIGHT_DECAY, "epochs": epochs}
    return {**settings, "folds": FOLDS, "repeats": repeats, "seed": seed, "methods": told}
