"""How much faster do two single-threaded workers do a grid of runs than one? Ends with one line of JSON.

    python benchmarks/ablation_speed.py

Both do the same small grid on simulated pages, in turns, several rounds, each in a new folder, from warm thumbnails:
`ablation.run` from call to table, starting the workers included, so more runs bring the ratio nearer to two. It means
nothing on a machine that is busy with anything else, or has a single core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from record import commit

from heartai_utils import ablation, dataset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--preset", default="testing")
    parser.add_argument("--pages", type=int, default=240)
    parser.add_argument("--runs", type=int, default=8, help="in the grid")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="one round of two short runs: does it work?")
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.rounds, chosen.pages, chosen.runs, chosen.epochs = 1, 32, 2, 1
    trials = ablation.grid(chosen.runs, preset=[chosen.preset], epochs=[chosen.epochs])
    seconds: dict[int, list[float]] = {1: [], 2: []}
    with TemporaryDirectory() as place:
        catalogue = dataset.simulate_set(Path(place) / "set", chosen.pages)
        for number in range(chosen.rounds):
            for workers in sorted(seconds, reverse=number % 2 == 1):
                begin = time.perf_counter()
                runs = ablation.run(
                    trials, catalogue, Path(place) / f"{number}-{workers}", cache_dir=place, workers=workers
                )
                seconds[workers].append(time.perf_counter() - begin)
                assert runs["error"].isna().all()
    ratios = [one / two for one, two in zip(*seconds.values(), strict=True)]
    record = {
        "two_over_one": round(statistics.median(ratios), 2),
        "rounds": [round(ratio, 2) for ratio in ratios],
        "seconds": {workers: [round(each, 1) for each in taken] for workers, taken in seconds.items()},
        "grid": {name: getattr(chosen, name) for name in ("preset", "pages", "runs", "epochs")},
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "commit": commit(),
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
