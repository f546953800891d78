"""Is the interval for the effect of weight decay honest? Small models, on data where the decay does nothing.

    python benchmarks/interval_coverage.py --out data/measured/interval_coverage.json

Each trial draws 295 "pages" in the shares of the real ones: ten numbers each, whose means differ a little between
the conditions. As in `weight_decay.py` every seed draws its own hold-out, and two arms are trained on it: a perceptron
with one hidden layer, Adam, with and without a decoupled decay of 1e-4. In 840 steps such a decay shrinks a weight by
0.008 %. The arms differ in their initial weights and the order of their pages, which the decay has nothing to do with
(with the same ones, every difference would be zero). So the true effect is nothing, and a 95 % interval should hold
zero in 95 of 100 trials. All perceptrons are trained at once, as batches of matrix products. Ends with a line of JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
from record import commit
from tqdm.std import tqdm

from heartai_utils.dataset import write_whole
from heartai_utils.evaluation import evaluate, paired_interval, softmax

PAGES = (85, 18, 140, 52)  # of each condition, as of the 295 distinct pages that `weight_decay.py` was run on
HELD_OUT = 0.2
NUMBERS, HIDDEN, APART = 10, 16, 0.6  # a page's numbers, hidden units, standard deviation of the conditions' means
BATCH, STEPS, LEARNING_RATE, DECAY = 32, 840, 1e-3, 1e-4
SCORES = ("accuracy", "macro_f1")


def draw(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pages (295, 10) and labels (295,) of a trial."""
    labels = np.repeat(np.arange(len(PAGES)), PAGES)
    means = rng.normal(0, APART, (len(PAGES), NUMBERS))
    return (means[labels] + rng.normal(size=(len(labels), NUMBERS))).astype(np.float32), labels


def hold_out(labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Positions of training and validation pages, in the shares of the conditions."""
    held = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    validation = np.concatenate([pages[: round(HELD_OUT * len(pages))] for pages in held])
    return np.setdiff1d(np.arange(len(labels)), validation), validation


def train(images: np.ndarray, labels: np.ndarray, decays: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Perceptrons, all at once: each sees its own pages in its own order, and has its own decay.

    Args:
        images: (models, pages, numbers) float32.
        labels: (models, pages).
        decays: (models,).

    Returns:
        kernel (models, numbers, hidden), bias (models, 1, hidden), kernel (models, hidden, 4), bias (models, 1, 4).
    """
    models, pages, numbers = images.shape
    classes = len(PAGES)
    weights = [
        rng.normal(0, numbers**-0.5, (models, numbers, HIDDEN)),
        np.zeros((models, 1, HIDDEN)),
        rng.normal(0, HIDDEN**-0.5, (models, HIDDEN, classes)),
        np.zeros((models, 1, classes)),
    ]
    weights = [weight.astype(np.float32) for weight in weights]
    first, second = ([np.zeros_like(weight) for weight in weights] for _ in range(2))
    shrink = (1 - LEARNING_RATE * decays).astype(np.float32)[:, None, None]
    rows, truth = np.arange(models)[:, None], np.eye(classes, dtype=np.float32)
    per_epoch = -(-pages // BATCH)
    for step in tqdm(range(STEPS), "steps", leave=False):
        if step % per_epoch == 0:
            order = rng.random((models, pages)).argsort(axis=1)
        chosen = order[:, step % per_epoch * BATCH :][:, :BATCH]
        x, y = images[rows, chosen], truth[labels[rows, chosen]]
        hidden = np.maximum(x @ weights[0] + weights[1], 0)
        error = (softmax(hidden @ weights[2] + weights[3]) - y).astype(np.float32) / x.shape[1]
        back = (error @ weights[2].swapaxes(1, 2)) * (hidden > 0)
        gradients = [
            x.swapaxes(1, 2) @ back,
            back.sum(axis=1, keepdims=True),
            hidden.swapaxes(1, 2) @ error,
            error.sum(axis=1, keepdims=True),
        ]
        for i, gradient in enumerate(gradients):
            if i % 2 == 0:  # kernels
                weights[i] *= shrink
            first[i] += 0.1 * (gradient - first[i])
            second[i] += 0.001 * (gradient**2 - second[i])
            mean = first[i] / (1 - 0.9 ** (step + 1))
            weights[i] -= LEARNING_RATE * mean / (np.sqrt(second[i] / (1 - 0.999 ** (step + 1))) + 1e-7)
    return weights


def differences(trials: int, seeds: int, seed: int) -> dict[str, np.ndarray]:
    """For each score (trials, seeds): with decay less without."""
    rng = np.random.default_rng(seed)
    sides = []
    for _ in range(trials):
        images, labels = draw(rng)
        sides += [(images, labels, *hold_out(labels, rng)) for _ in range(seeds)]
    training = np.stack([images[train] for images, _, train, _ in sides for _ in range(2)])
    answers = np.stack([labels[train] for _, labels, train, _ in sides for _ in range(2)])
    kernel, bias, last_kernel, last_bias = train(training, answers, np.tile([0.0, DECAY], len(sides)), rng)
    held_out = np.stack([images[validation] for images, _, _, validation in sides for _ in range(2)])
    probabilities = softmax(np.maximum(held_out @ kernel + bias, 0) @ last_kernel + last_bias)
    metrics = [
        evaluate(labels[validation], each)
        for (_, labels, _, validation), pair in zip(sides, probabilities.reshape(len(sides), 2, -1, 4), strict=True)
        for each in pair
    ]
    values = {score: np.array([getattr(one, score) for one in metrics]).reshape(trials, seeds, 2) for score in SCORES}
    return {score: each[..., 1] - each[..., 0] for score, each in values.items()} | {
        "mean accuracy": values["accuracy"].mean()
    }


def coverage(found: np.ndarray, overlap: float) -> float:
    """The share of trials (rows) whose interval holds zero."""
    intervals = [paired_interval(np.zeros_like(row), row, overlap=overlap) for row in found]
    return float(np.mean([interval.low <= 0 <= interval.high for interval in intervals]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=5, help="hold-outs in a trial")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    found = differences(chosen.trials, chosen.seeds, chosen.seed)
    overlap = HELD_OUT / (1 - HELD_OUT)
    record = {
        "command": f"python benchmarks/interval_coverage.py --trials {chosen.trials} --seeds {chosen.seeds} "
        f"--seed {chosen.seed} --out FILE",
        "commit": commit(),
        "machine": platform.machine(),
        "trials": chosen.trials,
        "seeds": chosen.seeds,
        "mean_accuracy": round(float(found["mean accuracy"]), 3),
        "holds_zero": {
            score: {"as_reported": coverage(found[score], overlap), "without_overlap": coverage(found[score], 0.0)}
            for score in SCORES
        },
    }
    if chosen.out:
        write_whole(chosen.out, (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


if __name__ == "__main__":
    main()
