"""Train on real pages, seed by seed, and write what it scored to a record that others can check.

    python benchmarks/real_pages.py DATA --preset reference --seeds 0 --out data/measured/reference.json

DATA is a folder in the published layout. Each seed has its own split, initial weights and order of pages, and its own
run folder under --runs: interrupted, the same command goes on. Ends with one line of JSON, the same as in --out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from record import commit, machine

from heartai_utils import splits, training, vit
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.evaluation import SCORES, mean_interval


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--preset", default="reference", choices=vit.PRESETS)
    parser.add_argument("--split", default="grouped", choices=splits.HOWS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "real")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    catalogue, rejected = read_catalogue(chosen.data)
    runs = []
    for seed in chosen.seeds:
        config = training.TrainingConfig(
            vit.preset(chosen.preset),
            epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            weight_decay=chosen.weight_decay,
            seed=seed,
        )
        split = splits.split(catalogue, chosen.split, seed=seed)
        name = f"{chosen.preset}-{chosen.split}-{chosen.epochs}-lr{chosen.learning_rate}-wd{chosen.weight_decay}-{seed}"
        run = training.train(config, training.load_data(catalogue, split), chosen.runs / name)
        environment = json.loads((run.folder / "environment.json").read_text())
        runs.append({"seed": seed, **run.metrics.to_dict(), "seconds_per_epoch": environment["seconds_per_epoch"]})
    record = {
        "command": (
            f"python benchmarks/real_pages.py DATA --preset {chosen.preset} --split {chosen.split} "
            f"--seeds {' '.join(map(str, chosen.seeds))} --epochs {chosen.epochs} "
            f"--learning-rate {chosen.learning_rate} --weight-decay {chosen.weight_decay} --out FILE"
        ),
        "data": {
            "files": len(catalogue),
            "distinct": catalogue["copy_group"].nunique(),
            "by_condition": catalogue.drop_duplicates("copy_group")["condition"].value_counts(sort=False).to_dict(),
            "rejected": len(rejected),
        },
        "commit": commit(),
        "machine": machine(run.folder),
        "runs": runs,
    }
    if len(runs) > 1:
        record["means"] = {score: str(mean_interval([run[score] for run in runs])) for score in SCORES}
    write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


if __name__ == "__main__":
    main()
