"""Does weight decay turn 76 % into 86 %? The grid of chapter 07 on real pages.

    python benchmarks/weight_decay.py DATA --out data/measured/weight_decay.json

DATA is a folder in the published layout. Every seed draws its own hold-out, once over files as published, once over
distinct pages and once with groups kept together, and trains all decays on each. The learning rate is constant, so a
run of 40 epochs is the run of 35 epochs for its first 35: both are read off one run. Runs are kept under --folder by
`ablation`: interrupted, the same command goes on, and with --so-far writes what there is. Ends with one line of JSON.

Besides the effects the record holds how often the same procedure finds an effect where there is none: the results of
the decays of each seed are exchanged at random, 200 times, and each time the interval for the effect is made anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from record import commit

from heartai_utils import ablation, splits, training, vit
from heartai_utils.dataset import data_home, read_catalogue, write_whole

DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.3)
EPOCHS = (35, 40)
REFERENCE_DECAYS = (0.0, 0.3)
EXCHANGES = 200


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument(
        "--seeds", type=int, nargs="+", default=[5], help="one number, or one for each of --splits in their order"
    )
    parser.add_argument(
        "--reference-seeds", type=int, default=1, help="of the check with `reference`, grouped; 0: none"
    )
    parser.add_argument("--decays", type=float, nargs="+", default=DECAYS)
    parser.add_argument("--splits", nargs="+", choices=splits.HOWS, default=splits.HOWS)
    parser.add_argument("--preset", choices=vit.PRESETS, default="course")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--folder", type=Path, default=data_home() / "runs" / "weight-decay")
    parser.add_argument("--workers", type=int, help="processes of one thread each; by default one a core")
    parser.add_argument("--scheduler", help="address of a dask scheduler, instead of workers on this machine")
    parser.add_argument("--so-far", action="store_true", help="train nothing: the record of what is finished")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    if len(chosen.seeds) == 1:
        chosen.seeds *= len(chosen.splits)
    if len(chosen.seeds) != len(chosen.splits):
        parser.error(f"--seeds gives {len(chosen.seeds)} numbers for {len(chosen.splits)} splits: give one, or as many")
    return chosen


def main() -> None:
    chosen = arguments()
    catalogue, _ = read_catalogue(chosen.data)
    config = training.TrainingConfig(vit.preset(chosen.preset), max(EPOCHS), learning_rate=chosen.learning_rate)
    base = ablation.Trial(config)
    trials = [
        trial
        for how, seeds in zip(chosen.splits, chosen.seeds, strict=True)
        for trial in ablation.grid(seeds, base, split=[how], weight_decay=chosen.decays)
    ]
    check = []
    if chosen.reference_seeds:
        check = ablation.grid(chosen.reference_seeds, base, preset=["reference"], weight_decay=REFERENCE_DECAYS)
    if chosen.so_far:
        found = ablation.table(chosen.folder)
    else:
        found = ablation.run(
            [*trials, *check], catalogue, chosen.folder, scheduler=chosen.scheduler, workers=chosen.workers
        )
    found = found.dropna(subset=["accuracy"], ignore_index=True)
    print(f"{len(found)} of {len(trials) + len(check)} runs are finished", file=sys.stderr)
    found = found.drop(columns="pages").merge(readings(found, chosen.folder), on="run")
    runs, checked = found[found["preset"] == chosen.preset], found[found["preset"] != chosen.preset]

    environment = json.loads((chosen.folder / "runs" / found["run"][0] / "environment.json").read_text())
    record = {
        "command": command(chosen),
        "data": {
            "files": len(catalogue),
            "distinct": catalogue["copy_group"].nunique(),
            "by_condition": catalogue.drop_duplicates("copy_group")["condition"].value_counts(sort=False).to_dict(),
        },
        "commit": commit(),
        "machine": (
            f"{environment['platform']}, {environment['cores']} cores, {environment['backend']}, "
            f"Keras {environment['keras']}"
        ),
        "preset": chosen.preset,
        "learning_rate": chosen.learning_rate,
        "batch_size": config.batch_size,
        "validation": base.validation,
        "splits": [how for how in splits.HOWS if how in set(runs["split"])],
        "decays": sorted(runs["weight_decay"].unique().tolist()),
        "epochs": list(EPOCHS),
        "seeds": sorted(runs["seed"].unique().tolist()),
        "majority": runs.groupby("split")["majority_accuracy"].mean().to_dict(),
        "runs": rows(runs),
        "effects": effects(runs),
        "holds_zero_when_exchanged": {
            score: {split: coverage(part, score) for split, part in runs.groupby("split")}
            for score in ("accuracy", "macro_f1")
        },
        "reference_check": {"preset": "reference", "runs": rows(checked)} if len(checked) else None,
    }
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


def command(chosen: argparse.Namespace) -> str:
    words = [f"python benchmarks/weight_decay.py DATA --seeds {' '.join(map(str, chosen.seeds))}"]
    words += [f"--reference-seeds {chosen.reference_seeds} --decays {' '.join(f'{d:g}' for d in chosen.decays)}"]
    words += [f"--splits {' '.join(chosen.splits)} --preset {chosen.preset} --learning-rate {chosen.learning_rate:g}"]
    words += ["--so-far"] if chosen.so_far else []
    return " ".join([*words, "--out FILE"])


def readings(found: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """What the table of an ablation does not tell: scores after the first of EPOCHS, norms before training."""
    before: dict[tuple, float] = {}
    read = []
    for row in found.itertuples():
        place = folder / "runs" / row.run
        history = pd.read_csv(place / "history.csv", float_precision="round_trip").set_index("epoch")
        early = history.loc[min(EPOCHS)]
        start = (row.preset, row.seed)
        if start not in before:
            before[start] = training.kernel_norm(vit.build_vit(row.preset, row.seed))
        read.append(
            {
                "run": row.run,
                "accuracy_35": early["val_accuracy"],
                "loss_35": early["val_loss"],
                "train_accuracy_35": early["accuracy"],
                "loss": row.val_loss,
                "pages": int(row.pages),
                "kernel_norm_start": before[start],
            }
        )
    return pd.DataFrame(read)


def rows(runs: pd.DataFrame) -> list[dict]:
    names = [
        "split", "weight_decay", "seed", "epochs", "steps", "accuracy_35", "accuracy", "loss_35", "loss",
        "train_accuracy_35", "train_accuracy", "macro_f1", "balanced_accuracy", "pages", "kernel_norm_start",
        "kernel_norm",
    ]  # fmt: skip
    return json.loads(runs[names].to_json(orient="records", double_precision=6))


def effects(runs: pd.DataFrame) -> dict[str, dict]:
    """By split and decay: what the decay changes against none, the mean of the pairs and its 95 % interval."""
    told: dict[str, dict] = {}
    for score in ("accuracy", "accuracy_35", "macro_f1", "loss"):
        for split, part in runs.groupby("split"):
            for row in ablation.effects(part, "weight_decay", 0.0, score).itertuples():
                found = told.setdefault(split, {}).setdefault(f"{row.weight_decay:g}", {"pairs": row.pairs})
                interval = {"mean": row.mean, "low": row.low, "high": row.high}
                found[score] = {end: None if np.isnan(value) else value for end, value in interval.items()}
    return told


def coverage(runs: pd.DataFrame, score: str) -> float | None:
    """The share of intervals that hold zero when decays are exchanged at random within each seed."""
    if runs["seed"].nunique() < 2:
        return None
    rng = np.random.default_rng(0)
    held = []
    for _ in range(EXCHANGES):
        exchanged = runs.assign(weight_decay=runs.groupby("seed")["weight_decay"].transform(rng.permutation))
        found = ablation.effects(exchanged, "weight_decay", 0.0, score)
        held.append((found["low"] <= 0) & (0 <= found["high"]))
    return float(np.mean(held))


if __name__ == "__main__":
    main()
