"""Make the bank of simulated hearts that pages are compared with, and count what the comparison is worth.

    python benchmarks/hearts.py --data DATA

Simulates and measures --hearts hearts, as many of each condition, and writes data/weights/hearts.npz with its record.
Then asks of --others more, with seeds of their own, and of the distinct real pages in DATA (a folder in the published
layout; without it the record's count stays as it is): has the most alike heart the condition that it should have, and
how far is it? Two minutes on two cores; ends with the record as one line of JSON.

The hearts of the simulator are drawn from a distribution fitted to these real pages (`benchmarks/fit_hearts.py`).
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
from record import commit
from tqdm.std import tqdm

from heartai_utils import alike
from heartai_utils.beat_features import find_beats, measure
from heartai_utils.conditions import CONDITIONS
from heartai_utils.dataset import read_catalogue, write_whole
from heartai_utils.page import load_page, read_traces
from heartai_utils.simulation import simulate_recording

FIRST, OTHERS = 1_000_000, 2_000_000  # seeds of the bank, and of the hearts that it is asked about; nobody types these


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hearts", type=int, default=1600)
    parser.add_argument("--others", type=int, default=400)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=alike.HEARTS)
    return parser.parse_args()


def measured(count: int, first: int) -> tuple[np.ndarray, np.ndarray, list[dict[str, float]]]:
    """Labels, seeds and measurements of simulated hearts, as many of each condition, in turn."""
    labels, seeds = np.arange(count) % len(CONDITIONS), first + np.arange(count)
    found = []
    for label, seed in zip(labels, tqdm(seeds, desc="hearts", leave=False), strict=True):
        recording = simulate_recording(CONDITIONS[label], int(seed))
        found.append(measure(find_beats(alike.traces_of(recording))))
    return labels.astype(np.int16), seeds.astype(np.int32), found


def asked(hearts: alike.Hearts, labels: np.ndarray, found: list[dict[str, float]]) -> dict:
    """How often the most alike heart has the right condition, and how far it is."""
    nearest = [hearts.nearest(each) for each in found]
    right = sum(near is not None and near.label == label for near, label in zip(nearest, labels, strict=True))
    far = np.quantile([near.distance for near in nearest if near], (0.1, 0.5, 0.9))
    return {"asked": len(found), "same_condition": int(right), "distance_10_50_90": [round(float(f), 3) for f in far]}


def main() -> None:
    chosen = arguments()
    labels, seeds, found = measured(chosen.hearts, FIRST)
    values = np.array([[each[name] for name in alike.NAMES] for each in found], np.float32)
    kept = chosen.out.with_suffix(".json")
    before = json.loads(kept.read_text()) if kept.exists() else {}
    record = {
        "command": f"python benchmarks/hearts.py --hearts {chosen.hearts} --others {chosen.others} --data DATA",
        "commit": commit(),
        "hearts": chosen.hearts,
        "first_seed": FIRST,
        "measurements": list(alike.NAMES),
    }
    file = io.BytesIO()
    np.savez_compressed(file, **alike.packed(alike.Hearts(labels, seeds, values, record)))
    write_whole(chosen.out, file.getvalue())
    write_whole(kept, (json.dumps(record) + "\n").encode())
    hearts = alike.load_hearts(chosen.out)
    other_labels, _, others = measured(chosen.others, OTHERS)
    record["simulated"] = asked(hearts, other_labels, others)
    if chosen.data:
        pages = read_catalogue(chosen.data)[0].drop_duplicates("copy_group")
        paths = tqdm(pages["path"], desc="pages", leave=False)
        real = [measure(find_beats(read_traces(load_page(path, grey=True)))) for path in paths]
        record["real"] = asked(hearts, pages["label"].to_numpy(), real)
    elif "real" in before:
        record["real"] = before["real"]
    write_whole(kept, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


if __name__ == "__main__":
    main()
