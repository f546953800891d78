"""Programs that read no heart, and what they score: what a model must beat before it is believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from heartai_utils.conditions import CONDITIONS
from heartai_utils.splits import folds

K = 5  # folds
HELD_OUT = 0.2  # of the files, in a random split: the published works' 80 to 20

BASELINES = {
    "majority_class": "always answers the condition commonest in training; over files",
    "majority_class_grouped": "the same over distinct pages, where no copy and no printed ID is on both sides",
    "checksum_look_up": "remembers checksums; an unknown one has the condition of most contents in training",
    "checksum_look_up_grouped": "the same program where no copy and no printed ID is on both sides",
    "heart_rate": "the commonest condition in training among heart rates alike, in 12 steps",
    "file_size": "the same with the size of the file in bytes",
    "page_without_trace": "a linear classifier on shrunk pages with all that the heart drew painted white",
    "page_without_trace_as_published": "the same program where copies are on both sides",
    "header_and_footer": "the same, on header and footer alone without the printed heart rate",
}
_BINS = 12  # equal shares of the training pages, for a program that knows one number of a page
_COMPONENTS = 64  # of a set of pictures
_RIDGE = 0.1  # where a picture has unit variance

Sides = tuple[np.ndarray, np.ndarray]  # positions of the training and of the held-out files
Program = Callable[[np.ndarray, np.ndarray], np.ndarray]  # from these to labels for the held-out files


@dataclass(frozen=True)
class Score:
    """What a program scores over many splits.

    Attributes:
        mean, sd: of the accuracy over the splits.
        splits: how many.
        how: how they are drawn: "as_published" (80 to 20 of the files at random) or "grouped" (5 folds, repeated).
        balanced_accuracy, macro_f1: means over the splits.
    """

    mean: float
    sd: float
    splits: int
    how: str
    balanced_accuracy: float
    macro_f1: float


def score_programs(
    catalogue: pd.DataFrame, facts: dict | None, seed: int, splits: int
) -> tuple[dict[str, Score], list[str]]:
    """Score the programs of `BASELINES`, in that order.

    Args:
        catalogue: as `dataset.read_catalogue` gives it; a heart rate of NaN counts as 0.
        facts: by checksum what `_page_facts.measure` gives; without it, programs that need a page are left out.
        seed: of the splits.
        splits: how many random splits, and at least as many folds.

    Returns:
        The scores by name; or none, and a note why.
    """
    labels = catalogue["label"].to_numpy()
    content, contents = pd.factorize(catalogue["md5"])
    programs: dict[str, Program] = {
        "majority_class": lambda train, held: np.full(len(held), np.bincount(labels[train]).argmax()),
        "checksum_look_up": _look_up(labels, content),
        "heart_rate": _binned(labels, catalogue["printed_hr_bpm"].fillna(0).to_numpy()),
        "file_size": _binned(labels, catalogue["bytes"].to_numpy(float)),
    }
    programs |= {f"{name}_grouped": programs[name] for name in ("majority_class", "checksum_look_up")}
    if facts is not None:
        erased, margins = (
            _linear(labels, content, np.stack([facts[md5][name] for md5 in contents])) for name in ("erased", "margins")
        )
        programs |= {
            "page_without_trace": erased,
            "page_without_trace_as_published": erased,
            "header_and_footer": margins,
        }
    try:
        drawn = {
            "as_published": _random_splits(len(labels), splits, seed),
            "grouped": [
                (fold.train, fold.validation)
                for fold in folds(catalogue, "grouped", k=K, repeats=-(-splits // K), seed=seed)
            ],
        }
    except ValueError as error:
        return {}, [f"no program could be scored, {K} folds need more pages and printed IDs ({error})"]
    over_files = ("majority_class", "checksum_look_up", "page_without_trace_as_published")
    hows = {name: "as_published" if name in over_files else "grouped" for name in BASELINES if name in programs}
    return {name: _score(programs[name], labels, drawn[how], how) for name, how in hows.items()}, []


def _random_splits(files: int, splits: int, seed: int) -> list[Sides]:
    rng = np.random.default_rng(seed)
    held = round(HELD_OUT * files)
    orders = [rng.permutation(files) for _ in range(splits)]
    return [(order[held:], order[:held]) for order in orders]


def _score(program: Program, labels: np.ndarray, drawn: list[Sides], how: str) -> Score:
    """Accuracy, balanced accuracy and macro-F1 as `evaluation.evaluate` has them, over many splits at once."""
    classes = len(CONDITIONS)
    confusion = np.stack([
        np.bincount(classes * labels[held] + program(train, held), minlength=classes**2).reshape(classes, classes)
        for train, held in drawn
    ])  # fmt: skip
    right, truth, said = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(axis=2), confusion.sum(axis=1)
    accuracy = right.sum(axis=1) / truth.sum(axis=1)
    balanced = (right / np.maximum(truth, 1)).sum(axis=1) / (truth > 0).sum(axis=1)
    f1 = (2 * right / np.maximum(truth + said, 1)).mean(axis=1)
    mean, sd = round(float(accuracy.mean()), 4), round(float(accuracy.std(ddof=1)), 4)
    return Score(mean, sd, len(drawn), how, round(float(balanced.mean()), 4), round(float(f1.mean()), 4))


def _look_up(labels: np.ndarray, content: np.ndarray) -> Program:
    def program(train: np.ndarray, held: np.ndarray) -> np.ndarray:
        seen = np.full(content.max() + 1, -1)
        seen[content[train]] = labels[train]
        otherwise = np.bincount(seen[seen >= 0]).argmax()
        return np.where(seen[content[held]] >= 0, seen[content[held]], otherwise)

    return program


def _binned(labels: np.ndarray, number: np.ndarray) -> Program:
    def program(train: np.ndarray, held: np.ndarray) -> np.ndarray:
        edges = np.unique(np.quantile(number[train], np.arange(1, _BINS) / _BINS))
        counts = np.zeros((len(edges) + 1, len(CONDITIONS)))
        np.add.at(counts, (np.searchsorted(edges, number[train], "right"), labels[train]), 1)
        counts += counts.sum(axis=0) / (2 * counts.sum())  # a bin that stays empty, or a tie: the commonest of all
        return counts.argmax(axis=1)[np.searchsorted(edges, number[held], "right")]

    return program


def _linear(labels: np.ndarray, content: np.ndarray, pictures: np.ndarray) -> Program:
    """Ridge regression (Hoerl & Kennard 1970) of four conditions, 0 or 1, on principal components; the largest wins."""
    flat = pictures.reshape(len(pictures), -1).astype(np.float32)
    flat -= flat.mean(axis=0)  # of all pages, and so are the components: no condition is looked at
    kernel = (flat @ flat.T).astype(float)
    variance, component = np.linalg.eigh(kernel / max(np.trace(kernel) / len(kernel), 1e-9))
    features = (component * np.sqrt(np.maximum(variance, 0)))[:, -_COMPONENTS:]

    def program(train: np.ndarray, held: np.ndarray) -> np.ndarray:
        target = np.eye(len(CONDITIONS))[labels[train]]
        known, asked = features[content[train]], features[content[held]]
        penalty = _RIDGE * np.eye(known.shape[1])
        weights = np.linalg.solve(known.T @ known + penalty, known.T @ (target - target.mean(axis=0)))
        return (asked @ weights + target.mean(axis=0)).argmax(axis=1)

    return program
