"""How good are the verdicts, and how sure is that: metrics, intervals, comparisons."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats
from sklearn.metrics import confusion_matrix, f1_score

from heartai_utils.conditions import CONDITIONS, NAMES


@dataclass(frozen=True)
class Metrics:
    """What a set of verdicts is worth, beside what always answering the commonest condition is worth.

    Attributes:
        pages, correct: counts.
        accuracy: correct / pages, and ``accuracy_interval`` its 95 % Wilson interval for these many pages.
        balanced_accuracy: mean recall over the conditions that occur; 0.25 is chance.
        macro_f1: mean F1 over the four conditions; one never predicted counts as 0.
        recall: by condition name; None where the condition does not occur.
        confusion: 4 × 4 counts, truth in rows, verdict in columns.
        majority_accuracy, majority_macro_f1: the same for always answering the condition that is commonest in the
            labels given as ``training_labels``.
    """

    pages: int
    correct: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    balanced_accuracy: float
    macro_f1: float
    recall: dict[str, float | None]
    confusion: list[list[int]]
    majority_accuracy: float
    majority_macro_f1: float

    def to_dict(self) -> dict:
        """All fields as plain numbers, for JSON."""
        return asdict(self)


def softmax(logits) -> np.ndarray:
    """Probabilities (pages, classes) from logits of the same shape; each row sums to 1."""
    shifted = np.asarray(logits, dtype=np.float64)
    shifted = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def evaluate(labels, probabilities, training_labels=None) -> Metrics:
    """Metrics of one model on one set of pages.

    Args:
        labels: (pages,) integers 0 to 3, the truth.
        probabilities: (pages, 4) probabilities or logits (the largest is the verdict), or (pages,) verdicts.
        training_labels: (any,) integers from which the majority class is taken; ``labels`` where not given.

    Raises:
        ValueError: shapes that do not fit, no pages, or labels outside 0 to 3.
    """
    labels = np.asarray(labels, dtype=int)
    scores = np.asarray(probabilities)
    if scores.ndim == 2 and scores.shape[1] != len(CONDITIONS):
        raise ValueError(f"probabilities {scores.shape}: one column a condition is needed, {len(CONDITIONS)} in all")
    if not np.isfinite(scores).all():
        raise ValueError("a probability is not a finite number: the model has diverged; lower its learning rate")
    verdicts = scores.argmax(axis=1) if scores.ndim == 2 else scores
    if labels.ndim != 1 or verdicts.shape != labels.shape or labels.size == 0:
        raise ValueError(
            f"labels {labels.shape} and verdicts {scores.shape} do not fit: one row a page, at least one page"
        )
    classes = range(len(CONDITIONS))
    if not (np.isin(labels, classes).all() and np.isin(verdicts, classes).all()):
        raise ValueError(f"labels and verdicts must be 0 to {len(CONDITIONS) - 1}")

    confusion = confusion_matrix(labels, verdicts, labels=classes)
    occurring = confusion.sum(axis=1)
    recall = np.divide(confusion.diagonal(), occurring, out=np.full(len(classes), np.nan), where=occurring > 0)
    correct = int(confusion.trace())
    interval = stats.binomtest(correct, labels.size).proportion_ci(method="wilson")
    majority = np.bincount(labels if training_labels is None else training_labels).argmax()
    always = np.full_like(labels, majority)
    return Metrics(
        pages=labels.size,
        correct=correct,
        accuracy=correct / labels.size,
        accuracy_interval=(float(interval.low), float(interval.high)),
        balanced_accuracy=float(np.nanmean(recall)),
        macro_f1=_macro_f1(labels, verdicts),
        recall={name: None if np.isnan(r) else float(r) for name, r in zip(NAMES, recall, strict=True)},
        confusion=confusion.tolist(),
        majority_accuracy=float((labels == majority).mean()),
        majority_macro_f1=_macro_f1(labels, always),
    )


def _macro_f1(labels, verdicts) -> float:
    return float(f1_score(labels, verdicts, labels=range(len(CONDITIONS)), average="macro", zero_division=0))


@dataclass(frozen=True)
class Interval:
    """A mean of ``runs`` values, their standard deviation, and the confidence interval of the mean."""

    mean: float
    low: float
    high: float
    sd: float
    runs: int

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] ({self.runs} runs)"


def mean_interval(values, confidence: float = 0.95) -> Interval:
    """Student's t interval of a mean, for few runs that vary independently.

    Raises:
        ValueError: fewer than two values: a spread cannot be told from one run.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"an interval needs a list of at least two runs, got an array of shape {values.shape}")
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, values.size - 1)) * sd / values.size**0.5
    return Interval(mean, mean - half, mean + half, sd, values.size)


def paired_interval(first, second, confidence: float = 0.95) -> Interval:
    """Interval of ``second - first`` over runs that share seed and split, pair by pair.

    Pairing takes out what the seed and the split do to both alike, and leaves what the change itself does.

    Raises:
        ValueError: different numbers of runs, or fewer than two.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"pairs need equally many runs, got {first.size} and {second.size}")
    return mean_interval(second - first, confidence)
