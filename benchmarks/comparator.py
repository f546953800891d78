"""The sober comparator on real pages: boosting on measurements, a 1-D CNN on traces, and both; never the picture.

    python benchmarks/comparator.py DATA --repeats 3 --out data/measured/comparator.json
    python benchmarks/comparator.py DATA --weights data/measured/comparator.json

DATA is a folder in the published layout. Every model is fitted on the same grouped folds (copies and printed IDs stay
on one side); its temperature is fitted to three inner folds of each training side. Interrupted, the same command goes
on. The second command fits both models to all pages and writes data/weights/comparator.*, with what was measured by
the first. Either ends with one line of JSON.

How much was chosen by looking: measurements and settings were chosen by cross-validation within 197 of the 295 pages
(`CHOSEN_ON`; five settings of the boosting, a forest of random trees instead of it, nine settings of the CNN); the
other 98 were left alone until all stood. On all pages it was looked at whether the measurements are sound: fifteen
medians by condition, rates against the printed ones, and uneven rhythms. The folds that judge were looked at once,
when all was settled; the score on the 98 pages alone is in the record, too.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import time
from pathlib import Path

# set before Keras is imported: one thread keeps to one core, and sums in one order
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from record import commit, ends
from tqdm.std import tqdm

from heartai_utils import _layout, _reading, beat_features, splits, trace_models
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.evaluation import (
    SCORES,
    calibration,
    evaluate,
    fit_temperature,
    mean_interval,
    paired_interval,
    selective_accuracy,
)
from heartai_utils.page import Traces, draw_page, load_page, read_traces
from heartai_utils.simulation import simulate_recording
from heartai_utils.trace_models import COMPARATOR, Boosting, Both, TracePages

FOLDS, INNER = 5, 3
OVERLAP = 1 / (FOLDS - 1)  # validation pages over training pages
CHOSEN_ON = {"validation": 1 / 3, "seed": 99}  # the training side of this split chose, its validation side did not
COVERAGE = 0.8
SHUFFLES = 5
SIMULATED = 16  # pages on which the stored model's verdicts are noted
TRACE = ("signals", "unread", "strip", "strip_unread")
GROUPS = {  # of measurements, by the first word of their names
    "rhythm": ("heart_rate", "rr_spread", "rr_range", "unusual"),
    "P wave": ("p_mv", "p_steady", "P"),
    "QRS width and axis": ("qrs_ms", "axis"),
    "Q and beginning of QRS": ("Q", "Q_ms", "start"),
    "R, S and area of QRS": ("R", "S", "R/S", "area"),
    "ST level": ("J", "ST60"),
    "T wave": ("T",),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=data_home() / "comparator", help="Of traces and finished folds.")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=Path)
    wanted.add_argument("--weights", type=Path, metavar="RECORD", help="What --out wrote.")
    return parser.parse_args()


def main() -> None:
    chosen = arguments()
    catalogue, rejected = read_catalogue(chosen.data)
    distinct = catalogue.drop_duplicates("copy_group")
    pages, seconds = read_pages(distinct, chosen.cache / f"traces-{checksum(_layout, _reading)}")
    if chosen.weights:
        record = write_weights(pages, distinct, json.loads(chosen.weights.read_text()), chosen.seed)
        print(json.dumps(record))
        return
    folds = splits.folds(catalogue, k=FOLDS, repeats=chosen.repeats, seed=chosen.seed)
    code = checksum(_layout, _reading, beat_features, trace_models)
    done = chosen.cache / f"folds-{code}-{hashlib.sha256(' '.join(distinct['md5']).encode()).hexdigest()[:8]}"
    results = [
        judged(pages, catalogue, distinct, split, chosen.seed + number, done / f"{chosen.seed}-{number}.json")
        for number, split in enumerate(tqdm(folds, "folds", leave=False))
    ]
    record = {
        "command": f"python benchmarks/comparator.py DATA --repeats {chosen.repeats} --seed {chosen.seed} --out FILE",
        "data": {
            "files": len(catalogue), "distinct": len(distinct), "rejected": len(rejected),
            "split": f"{FOLDS} grouped folds, {chosen.repeats} times",
        },
        "commit": commit(),
        "machine": f"{platform.machine()}, 1 thread",
        "reading_a_page_s": seconds,
        **summary(catalogue, distinct, folds, results),
    }  # fmt: skip
    write_whole(chosen.out, lines(record))
    print(json.dumps({name: record[name] for name in record if name not in ("pages", "folds", "probabilities")}))


def lines(record: dict) -> bytes:
    """A record as JSON, one line an entry, for there are tables in it."""
    return ("{\n" + ",\n".join(f" {json.dumps(key)}: {json.dumps(record[key])}" for key in record) + "\n}\n").encode()


def checksum(*modules) -> str:
    """Of the code that makes what is kept: what other code made is not taken for it."""
    return hashlib.sha256(b"".join(Path(module.__file__).read_bytes() for module in modules)).hexdigest()[:8]


def read_pages(distinct: pd.DataFrame, kept: Path) -> tuple[TracePages, float]:
    """All pages measured, their traces read or from the cache; and how long a page took to read, processor time."""
    found, seconds = [], []
    for row in tqdm(distinct.itertuples(), "reading", len(distinct), leave=False):
        path = kept / f"{row.md5}.npz"
        if not path.exists():
            began, data = time.process_time(), io.BytesIO()
            traces = read_traces(load_page(row.path, grey=True))
            took = time.process_time() - began
            np.savez_compressed(data, seconds=took, **{name: getattr(traces, name) for name in TRACE})
            write_whole(path, data.getvalue())
        with np.load(path) as archive:
            found.append(Traces(*(archive[name] for name in TRACE), rhythm_lead=None))
            seconds.append(float(archive["seconds"]))
    return TracePages.read(found), round(float(np.median(seconds)), 3)


# --- On the folds -------------------------------------------------------------------------------------------------


def judged(
    pages: TracePages, catalogue: pd.DataFrame, distinct: pd.DataFrame, split: splits.Split, seed: int, path: Path
) -> dict:
    """One fold: probabilities of each model, its temperature, and what it loses without a group of measurements."""
    if path.exists():
        return json.loads(path.read_text())
    labels = distinct["label"].to_numpy()
    train, held = (distinct.index.get_indexer(catalogue.index[rows]) for rows in (split.train, split.validation))
    inner_labels, inner = [], {name: [] for name in trace_models.MODELS}
    for part in splits.folds(catalogue.iloc[split.train], k=INNER, seed=seed):
        model = Both().fit(pages.take(train[part.train]), labels[train[part.train]], seed)
        inner_labels.append(labels[train[part.validation]])
        for name, probabilities in each(model, pages.take(train[part.validation])).items():
            inner[name].append(probabilities)
    model = Both().fit(pages.take(train), labels[train], seed)
    result = {
        "rows": held.tolist(),
        "probabilities": {name: found.round(6).tolist() for name, found in each(model, pages.take(held)).items()},
        "temperatures": {
            name: fit_temperature(np.concatenate(inner_labels), np.log(np.concatenate(found).clip(1e-6)))
            for name, found in inner.items()
        },
        "importance": importance(model.boosting, pages.take(held), labels[held], seed),
    }
    write_whole(path, json.dumps(result).encode())
    return result


def each(model: Both, pages: TracePages) -> dict[str, np.ndarray]:
    boosting, cnn = model.boosting.predict_proba(pages), model.cnn.predict_proba(pages)
    return {"boosting": boosting, "cnn": cnn, "both": (boosting + cnn) / 2}


def importance(model: Boosting, pages: TracePages, labels: np.ndarray, seed: int) -> dict[str, float]:
    """By how much balanced accuracy falls when a group of measurements is taken from other pages."""
    rng = np.random.default_rng(seed)
    whole = evaluate(labels, model.predict_proba(pages)).balanced_accuracy
    found = {}
    for group, words in GROUPS.items():
        columns = [name for name in pages.features if name.split()[0] in words]
        scores = []
        for _ in range(SHUFFLES):
            features = pages.features.copy()
            features[columns] = features[columns].to_numpy()[rng.permutation(len(features))]
            other = TracePages(features, pages.beats, pages.leads)
            scores.append(evaluate(labels, model.predict_proba(other)).balanced_accuracy)
        found[group] = whole - float(np.mean(scores))
    return found


def summary(catalogue: pd.DataFrame, distinct: pd.DataFrame, folds: list[splits.Split], results: list[dict]) -> dict:
    """All that the folds say, and the probabilities of each page."""
    labels = distinct["label"].to_numpy()
    repeats = folds[-1].repeat + 1
    place = np.zeros((repeats, len(labels)), int)
    plain = {name: np.zeros((repeats, len(labels), len(NAMES))) for name in trace_models.MODELS}
    sure = {name: np.zeros_like(found) for name, found in plain.items()}
    for split, result in zip(folds, results, strict=True):
        place[split.repeat, result["rows"]] = split.fold
        for name, found in result["probabilities"].items():
            found = np.array(found)
            plain[name][split.repeat, result["rows"]] = found
            sure[name][split.repeat, result["rows"]] = trace_models.scaled(found, result["temperatures"][name])
    metrics = {
        name: [evaluate(labels[result["rows"]], result["probabilities"][name]) for result in results] for name in plain
    }
    by_score = {
        name: {score: [getattr(fold, score) for fold in found] for score in SCORES} for name, found in metrics.items()
    }
    other = splits.split(catalogue, "grouped", **CHOSEN_ON).validation
    other = distinct.index.get_indexer(catalogue.index[other])
    apart = {name: [evaluate(labels[other], repeat[other]) for repeat in found] for name, found in plain.items()}
    return {
        "scores": {
            name: {score: interval(values) | {"folds": values} for score, values in found.items()}
            for name, found in by_score.items()
        },
        "recall": {
            name: {condition: interval([fold.recall[condition] for fold in found]) for condition in NAMES}
            for name, found in metrics.items()
        },
        "both_less": {
            name: {
                score: ends(paired_interval(by_score[name][score], by_score["both"][score], overlap=OVERLAP))
                for score in SCORES
            }
            for name in ("boosting", "cnn")
        },
        "not_chosen_on": {
            "pages": len(other),
            **{
                name: {score: float(np.mean([getattr(repeat, score) for repeat in found])) for score in SCORES}
                for name, found in apart.items()
            },
        },
        "temperatures": {
            name: [round(result["temperatures"][name], 4) for result in results] for name in plain
        },
        "ece": {
            name: {
                told: [round(calibration(labels, repeat).ece, 4) for repeat in found[name]]
                for told, found in (("before", plain), ("after", sure))
            }
            for name in plain
        },
        "accuracy_at_coverage": {
            "coverage": COVERAGE,
            **{
                name: interval([covered(labels[r["rows"]], sure[name][s.repeat, r["rows"]])
                                for s, r in zip(folds, results, strict=True)])
                for name in plain
            },
        },
        "importance": {
            group: interval([result["importance"][group] for result in results]) for group in GROUPS
        },
        "pages": [[*page] for page in zip(distinct["file"], distinct["md5"], labels.tolist(), strict=True)],
        "folds": place.tolist(),
        "probabilities": {name: found.round(4).tolist() for name, found in plain.items()},
    }  # fmt: skip


def interval(values: list[float]) -> dict[str, float]:
    return ends(mean_interval(values, overlap=OVERLAP))


def covered(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Accuracy on the share of pages that the model is surest of."""
    return float(selective_accuracy(labels, probabilities, (COVERAGE,))["accuracy"].iloc[0])


# --- For use ------------------------------------------------------------------------------------------------------


def write_weights(pages: TracePages, distinct: pd.DataFrame, measured: dict, seed: int) -> dict:
    """Fit both models to all pages, and write what `load_comparator` reads."""
    labels = distinct["label"].to_numpy()
    table = pages.features.round(3).assign(label=labels).set_index(distinct["md5"].to_numpy())
    stored = pages.features.round(3)
    model = Both().fit(TracePages(stored, pages.beats, pages.leads), labels, seed)
    score = measured["scores"]["both"]
    right = score["accuracy"]["mean"]
    record = {
        "about": f"Model: gradient boosting and a 1-D CNN on the traces read off {len(labels)} real pages "
        f"({100 * right:.0f} % of held-out ones right, macro-F1 {score['macro_f1']['mean']:.2f}).",
        "command": "python benchmarks/comparator.py DATA --weights data/measured/comparator.json",
        "data": measured["data"],
        "commit": commit(),
        "seed": seed,
        "temperature": round(float(np.median(measured["temperatures"]["both"])), 4),
        "scores": {name: ends_of(score[name]) for name in SCORES},
    }
    COMPARATOR.parent.mkdir(parents=True, exist_ok=True)
    text = table.to_csv(index_label="md5", lineterminator="\n").encode()
    write_whole(COMPARATOR.with_suffix(".csv.gz"), gzip.compress(text, mtime=0))
    bare = trace_models.untrained(seed)  # without what training keeps beside each weight
    bare.set_weights(model.cnn.model.get_weights())
    unfinished = COMPARATOR.with_suffix(".part.keras")
    bare.save(unfinished)
    unfinished.replace(COMPARATOR.with_suffix(".keras"))
    write_whole(COMPARATOR, lines(record))
    said = trace_models.load_comparator().model.predict_proba(simulated())
    record["simulated"] = {"pages": SIMULATED, "probabilities": said.round(4).tolist()}
    write_whole(COMPARATOR, lines(record))
    return record


def ends_of(score: dict) -> dict[str, float]:
    return {name: round(score[name], 4) for name in ("mean", "low", "high")}


def simulated(count: int = SIMULATED) -> TracePages:
    """Pages of simulated hearts, the conditions in turn, drawn and read back."""
    return TracePages.read(
        read_traces(draw_page(simulate_recording(NAMES[number % len(NAMES)], number), seed=number))
        for number in range(count)
    )


if __name__ == "__main__":
    main()
