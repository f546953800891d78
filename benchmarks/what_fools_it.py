"""What fools the model, what it needs and when it is sure: on real pages, by models that have not seen them.

    python benchmarks/what_fools_it.py DATA --presets course reference --out data/measured/what_fools_it.json

DATA is a folder in the published layout. Models are trained inside grouped folds (copies and printed IDs on one side);
each judges its own held-out pages as they are, with all traces erased, with header and footer of a page of another
condition, and with one lead after the other erased (`explain.Form`). Runs are kept under --runs, found again by name
and shared with `course_and_reference.py`: interrupted, the same command goes on. The models of the preset "best" are
those of `levers.py`, under --best-runs; data/measured/what_fools_best.json has them. The measuring itself takes a
minute or two a model. Ends with one line of JSON.

**Temperature.** That of a fold is fitted to the held-out verdicts of the other folds: to pages that none of these
models was trained on, and to no label of the fold itself.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import levers
import numpy as np
from course_and_reference import fold_run
from record import commit, ends, machine
from tqdm.std import tqdm

from heartai_utils import explain, splits, training, vit
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import data_home, read_catalogue, write_whole
from heartai_utils.downsampling import PLACES
from heartai_utils.evaluation import (
    SCORES,
    calibration,
    evaluate,
    fit_temperature,
    mean_interval,
    paired_interval,
    selective_accuracy,
    softmax,
)

FOLDS = 5
OVERLAP = 1 / (FOLDS - 1)  # validation pages over training pages
COVERAGES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
CHANGES = ("as_printed", "trace_erased", "margins_swapped")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--presets", nargs="+", choices=vit.PRESETS, default=["course"])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=35)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--runs", type=Path, default=data_home() / "runs" / "course-and-reference")
    parser.add_argument("--best-runs", type=Path, default=data_home() / "runs" / "levers", help="of levers.py")
    parser.add_argument("--simulated", type=int, default=levers.SIMULATED, help="pages that best was pretrained on")
    parser.add_argument("--cache", type=Path, help="of the thumbnails for best; by default under --best-runs")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    chosen.cache = chosen.cache or chosen.best_runs / "thumbnails"
    return chosen


def main() -> None:
    chosen = arguments()
    catalogue, rejected = read_catalogue(chosen.data)
    folds = splits.folds(catalogue, k=FOLDS, repeats=chosen.repeats, seed=chosen.seed)
    found: dict[str, list[dict]] = {preset: [] for preset in chosen.presets}
    if "best" in found:
        bench = levers.Bench(
            chosen.data, chosen.best_runs, chosen.cache, chosen.simulated, repeats=chosen.repeats, seed=chosen.seed
        )
    with tqdm(total=len(folds) * len(found), desc="models", leave=False) as bar:
        for number, split in enumerate(folds):
            for preset, measured in found.items():
                if preset == "best":
                    recipe = levers.LEVERS[levers.BEST][1]
                    data, run = bench.data_of(recipe, split, number), bench.runs_of(recipe, split, number)[0]
                else:
                    data = training.load_data(catalogue, split, cache_dir=chosen.runs / "thumbnails", progress=False)
                    run = fold_run(preset, data, number, chosen)
                measured.append(measure(run, data, chosen.seed + number))
                bar.update()

    record = {
        "command": (
            f"python benchmarks/what_fools_it.py DATA --presets {' '.join(found)} --repeats {chosen.repeats} "
            f"--seed {chosen.seed} --epochs {chosen.epochs} --learning-rate {chosen.learning_rate} "
            f"--weight-decay {chosen.weight_decay} --out FILE"
        ),
        "data": {
            "files": len(catalogue),
            "distinct": catalogue["copy_group"].nunique(),
            "rejected": len(rejected),
            "by_condition": catalogue.drop_duplicates("copy_group")["condition"].value_counts(sort=False).to_dict(),
            "split": f"{FOLDS} grouped folds, {chosen.repeats} times",
        },
        "commit": commit(),
        "machine": machine(run.folder),
        "models": {preset: summary(measured) for preset, measured in found.items()},
    }
    write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


def measure(run: training.Run, data: training.Data, seed: int) -> dict:
    """All that is asked of one model, on its own held-out pages."""
    images, labels, model = data.validation_images, data.validation_labels, run.model
    form = explain.Form.of(model, run.thumbnail)
    changed = {
        "as_printed": images,
        "trace_erased": form.erase(images, form.traces),
        "margins_swapped": form.with_margins_of(images, images[explain.partners(labels, seed)]),
    }
    maps = explain.rollout_maps(model, images)
    untrained = explain.randomised(model, seed + 1)
    occluded = explain.occlusion(model, images, form)
    return {
        "files": data.validation_files,
        "labels": labels,
        "majority": np.bincount(data.train_labels).argmax(),
        "probabilities": {change: training.predict(model, pages) for change, pages in changed.items()},
        "occluded": occluded,
        "map_correlation": {
            "random_weights": explain.rank_correlation(maps, explain.rollout_maps(untrained, images)),
            "amount_of_ink": explain.rank_correlation(maps, explain.ink_maps(images, model.config)),
        },
        "occlusion_correlation": explain.rank_correlation(
            drops(training.predict(model, images), occluded, labels),
            drops(training.predict(untrained, images), explain.occlusion(untrained, images, form), labels),
        ),
        "distances": explain.attention_distances(model, images, form),
    }


def drops(probabilities: np.ndarray, occluded: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(pages, places) by how much the probability of the true condition falls."""
    pages = np.arange(len(labels))
    return probabilities[pages, labels][:, None] - occluded[:, pages, labels].T


def summary(measured: list[dict]) -> dict:
    repeats = [measured[start : start + FOLDS] for start in range(0, len(measured), FOLDS)]
    predictions: dict[str, list] = {}
    for each in measured:
        for file, row in zip(each["files"], each["probabilities"]["as_printed"], strict=True):
            predictions.setdefault(file, []).append(row.round(4).tolist())
    return {
        "scores": {change: scores_of(measured, change) for change in CHANGES},
        "swapped_less_as_printed": less(measured, "margins_swapped"),
        "verdicts_with_trace_erased": dict(
            zip(NAMES, sum(counts(each["probabilities"]["trace_erased"]) for each in measured).tolist(), strict=True)
        ),
        "occlusion": occlusion_of(measured),
        "calibration": [calibration_of(repeat) for repeat in repeats],
        "map_correlation": {
            "with_random_weights": interval([each["map_correlation"]["random_weights"].mean() for each in measured]),
            "with_amount_of_ink": interval([each["map_correlation"]["amount_of_ink"].mean() for each in measured]),
            "of_occlusion_with_random_weights": interval(
                [np.nanmean(each["occlusion_correlation"]) for each in measured]
            ),
        },
        "attention_mm": distances_of(measured),
        "predictions": {file: predictions[file] for file in sorted(predictions)},
    }


def interval(values) -> dict[str, float]:
    return ends(mean_interval(values, overlap=OVERLAP))


def counts(probabilities: np.ndarray) -> np.ndarray:
    return np.bincount(probabilities.argmax(axis=1), minlength=len(NAMES))


def scores_of(measured: list[dict], change: str) -> dict:
    """By score its values on the folds and their interval, and recall by condition over all folds."""
    found = [evaluate(each["labels"], each["probabilities"][change], [each["majority"]]) for each in measured]
    told = {score: {"folds": [getattr(m, score) for m in found]} for score in SCORES}
    for score in told.values():
        score |= interval(score["folds"])
    confusion = np.sum([m.confusion for m in found], axis=0)
    told["recall"] = dict(zip(NAMES, (confusion.diagonal() / confusion.sum(axis=1)).tolist(), strict=True))
    told["majority_accuracy"] = float(np.mean([m.majority_accuracy for m in found]))
    return told


def less(measured: list[dict], change: str) -> dict:
    """What a change does to balanced accuracy, and how often it changes a verdict."""
    pairs = [[each["probabilities"][which] for which in ("as_printed", change)] for each in measured]
    scores = [
        [evaluate(each["labels"], p).balanced_accuracy for p in pair]
        for each, pair in zip(measured, pairs, strict=True)
    ]
    flipped = [before.argmax(axis=1) != after.argmax(axis=1) for before, after in pairs]
    return {
        "balanced_accuracy": ends(paired_interval(*np.transpose(scores), overlap=OVERLAP)),
        "verdicts_changed": int(np.sum([each.sum() for each in flipped])),
        "pages": int(np.sum([len(each) for each in flipped])),
        "largest_change_of_a_probability": float(max(np.abs(after - before).max() for before, after in pairs)),
    }


def occlusion_of(measured: list[dict]) -> dict:
    """By place: the drop of the true condition's probability, by condition, and verdicts changed."""
    by_fold = [drops(each["probabilities"]["as_printed"], each["occluded"], each["labels"]) for each in measured]
    told = {}
    for number, place in enumerate(PLACES):
        drop = {}
        for label, name in enumerate(NAMES):
            means = [
                fold[each["labels"] == label, number].mean()
                for fold, each in zip(by_fold, measured, strict=True)
                if (each["labels"] == label).any()
            ]
            drop[name] = interval(means)
        flipped = [
            each["occluded"][number].argmax(axis=1) != each["probabilities"]["as_printed"].argmax(axis=1)
            for each in measured
        ]
        told[place] = {"drop": drop, "verdicts_changed": interval([fold.mean() for fold in flipped])}
    return told


def calibration_of(repeat: list[dict]) -> dict:
    """Over all pages of one repeat of the folds: calibration before and after, and accuracy at coverages."""
    labels = np.concatenate([each["labels"] for each in repeat])
    fold = np.repeat(np.arange(len(repeat)), [len(each["labels"]) for each in repeat])
    before = np.concatenate([each["probabilities"]["as_printed"] for each in repeat])
    logits = np.log(np.maximum(before, 1e-12))
    temperatures = [fit_temperature(labels[fold != k], logits[fold != k]) for k in range(len(repeat))]
    after = softmax(logits / np.array(temperatures)[fold][:, None])
    return {
        "temperatures": temperatures,
        "ece_before": calibration(labels, before).ece,
        "ece_after": calibration(labels, after).ece,
        "ece_if_calibrated": ece_if_calibrated(after),
        "confidence": {"before": float(before.max(axis=1).mean()), "after": float(after.max(axis=1).mean())},
        "bins_after": json.loads(calibration(labels, after).bins.to_json(orient="records", double_precision=4)),
        "selective": json.loads(
            selective_accuracy(labels, after, COVERAGES).to_json(orient="records", double_precision=4)
        ),
        "accuracy_at_80": interval(
            [selective_accuracy(labels[fold == k], after[fold == k], [0.8])["accuracy"][0] for k in range(len(repeat))]
        ),
    }


def ece_if_calibrated(probabilities: np.ndarray, draws: int = 200) -> float:
    """The mean ECE that these very probabilities would have if they were true: on few pages it is not 0."""
    rng = np.random.default_rng(0)
    edges = probabilities.cumsum(axis=1)
    found = []
    for _ in range(draws):
        labels = (rng.random((len(edges), 1)) > edges[:, :-1]).sum(axis=1)
        found.append(calibration(labels, probabilities).ece)
    return float(np.mean(found))


def distances_of(measured: list[dict]) -> list[dict]:
    """How far each head looks, the mean over models."""
    tables = [each["distances"] for each in measured]
    mean = sum(table[["mm", "even_mm"]] for table in tables) / len(tables)
    return json.loads(tables[0][["block", "head"]].join(mean).to_json(orient="records", double_precision=2))


if __name__ == "__main__":
    main()
