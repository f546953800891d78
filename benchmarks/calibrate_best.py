"""Fit the temperature of the model `best`, and count how often verdicts of each sureness were right.

    python benchmarks/calibrate_best.py

Reads the held-out verdicts on real pages that `benchmarks/levers.py` recorded (data/measured/levers.json), and writes
what follows from them into the model's record, data/weights/best.json. Run it after `levers.py --weights`. Takes a
second, needs no page, and ends with one line of JSON.

The record keeps each verdict at its fold's temperature, which other folds gave. That is undone, up to four digits, and
one temperature is fitted to all of them: the weights in data/weights were trained on every fold, so no fold's own will
do. How often verdicts were right is counted at the folds' temperatures, no label of a fold being in its own.

**What this does not tell.** It is measured on 295 pages of one hospital's machine, by models that saw four fifths of
them. Pages of other machines, simulated ones, and the 295 themselves, all of which the stored weights were trained on,
are another matter.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from heartai_utils.dataset import write_whole
from heartai_utils.evaluation import calibration, fit_temperature, softmax, wilson_interval
from heartai_utils.verdict import NAMED

LEVERS = Path(__file__).parents[1] / "data" / "measured" / "levers.json"
BANDS = (0.0, 0.5, 0.7, 0.9, 0.97, 1.0)  # of the verdict's probability, chosen before anything was counted
SMALLEST = 5e-5  # what four digits round to nothing


def calibrated(levers: dict) -> dict:
    """What the record of `levers.py` says about sureness.

    Returns:
        temperature; ece, of each repeat with it; bands, each with low and high (exclusive, but for the last), verdicts,
        right, and the interval of the share right (95 %, Wilson, the repeats' verdicts on one page counted as one).
    """
    detail = levers["best_in_detail"]
    verdicts = detail["verdicts_tempered"]
    tempered = np.array([each["probabilities"] for each in verdicts])
    labels = np.array([each["label"] for each in verdicts])
    repeat = np.array([each["repeat"] for each in verdicts])
    per_fold = len(verdicts) // len(detail["temperature"])
    if per_fold * len(detail["temperature"]) != len(verdicts):
        raise ValueError("the folds of the record are not of one size: it does not tell which verdict is of which")
    own = np.repeat(detail["temperature"], per_fold)
    logits = np.log(tempered.clip(SMALLEST)) * own[:, None]
    temperature = round(fit_temperature(labels, logits), 3)
    probabilities = softmax(logits / temperature)
    repeats = int(repeat.max()) + 1
    ece = [calibration(labels[repeat == r], probabilities[repeat == r]).ece for r in range(repeats)]
    sure, right = tempered.max(axis=1), tempered.argmax(axis=1) == labels
    bands = []
    for low, high in zip(BANDS[:-1], BANDS[1:], strict=True):
        inside = (sure >= low) & ((sure < high) | (high == 1))
        count, hits = int(inside.sum()), int(right[inside].sum())
        interval = wilson_interval(round(hits / repeats), max(1, round(count / repeats)))
        bands.append({"low": low, "high": high, "verdicts": count, "right": hits, "interval": interval})
    return {
        "temperature": temperature,
        "pages": len({each["file"] for each in verdicts}),
        "repeats": repeats,
        "ece": [round(value, 4) for value in ece],
        "bands": bands,
        "source": "data/measured/levers.json, held-out verdicts of grouped folds",
        "command": "python benchmarks/calibrate_best.py",
    }


def main() -> None:
    path = NAMED["best"].with_suffix(".json")
    record = json.loads(path.read_text())
    record["calibration"] = calibrated(json.loads(LEVERS.read_text()))
    write_whole(path, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record["calibration"]))


if __name__ == "__main__":
    main()
