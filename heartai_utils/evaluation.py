"""How good are the verdicts, and how sure is that: metrics, intervals, comparisons, calibration.

Which interval? It depends on what could have been otherwise:

* other *pages* of the same kind, one model: `bootstrap_intervals`, and `paired_bootstrap` for two models that judged
  the same pages; `recall_intervals` condition by condition;
* other *seeds*: `mean_interval` and `paired_interval` over runs that vary independently;
* other *training pages*, from (repeated) cross-validation: the same two with ``overlap``, because the folds' training
  sets have most pages in common.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import optimize, special, stats
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
    labels, verdicts = _checked(labels, probabilities)
    classes = range(len(CONDITIONS))
    confusion = confusion_matrix(labels, verdicts, labels=classes)
    occurring = confusion.sum(axis=1)
    recall = np.divide(confusion.diagonal(), occurring, out=np.full(len(classes), np.nan), where=occurring > 0)
    correct = int(confusion.trace())
    majority = np.bincount(labels if training_labels is None else training_labels).argmax()
    always = np.full_like(labels, majority)
    return Metrics(
        pages=labels.size,
        correct=correct,
        accuracy=correct / labels.size,
        accuracy_interval=wilson_interval(correct, labels.size),
        balanced_accuracy=float(np.nanmean(recall)),
        macro_f1=_macro_f1(labels, verdicts),
        recall={name: None if np.isnan(r) else float(r) for name, r in zip(NAMES, recall, strict=True)},
        confusion=confusion.tolist(),
        majority_accuracy=float((labels == majority).mean()),
        majority_macro_f1=_macro_f1(labels, always),
    )


def _checked(labels, probabilities) -> tuple[np.ndarray, np.ndarray]:
    """Labels and verdicts as integers (pages,), or the error that says what is wrong with them."""
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
    return labels, verdicts.astype(int)


def _macro_f1(labels, verdicts) -> float:
    return float(f1_score(labels, verdicts, labels=range(len(CONDITIONS)), average="macro", zero_division=0))


@dataclass(frozen=True)
class Interval:
    """A value, the standard deviation, and the confidence interval of the value.

    Attributes:
        mean: the mean of ``runs`` values; for a bootstrap the score itself.
        low, high: the interval.
        sd: the standard deviation of the values; for a bootstrap of the resampled scores, which is the standard error.
        runs: how many values, or pages or groups of pages.
        unit: what is counted by ``runs``.
    """

    mean: float
    low: float
    high: float
    sd: float
    runs: int
    unit: str = "runs"

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}] ({self.runs} {self.unit})"


# --- over runs ------------------------------------------------------------------------------------------------


def mean_interval(values, confidence: float = 0.95, overlap: float = 0.0) -> Interval:
    """Student's t interval of a mean, for few runs.

    The values of folds are not independent: their training sets overlap, and the plain interval is far too narrow. The
    variance of the mean is then taken as (1 / runs + overlap) times that of the values, not 1 / runs (the corrected
    resampled t-test, Nadeau & Bengio 2003, doi:10.1023/A:1024068626366; for repeated cross-validation Bouckaert & Frank
    2004).

    Args:
        values: (runs,) scores.
        confidence: the share of such intervals that hold the true mean.
        overlap: validation pages over training pages of each run, 1 / (k − 1) for k folds however often repeated; 0
            for runs that vary independently, such as seeds.

    Raises:
        ValueError: fewer than two values: a spread cannot be told from one run; or a negative overlap.
    """
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"an interval needs a list of at least two runs, got an array of shape {values.shape}")
    if overlap < 0:
        raise ValueError(f"overlap={overlap}: it is validation pages over training pages, 0.25 for 5 folds")
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, values.size - 1)) * sd * (1 / values.size + overlap) ** 0.5
    return Interval(mean, mean - half, mean + half, sd, values.size)


def paired_interval(first, second, confidence: float = 0.95, overlap: float = 0.0) -> Interval:
    """Interval of ``second - first`` over runs that share seed and split, pair by pair.

    Pairing takes out what the seed and the split do to both alike, and leaves what the change itself does.

    Args:
        first, second: (runs,) scores of the two arms in the same order.
        confidence, overlap: as for `mean_interval`.

    Raises:
        ValueError: different numbers of runs, or fewer than two; or a negative overlap.
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape:
        raise ValueError(f"pairs need equally many runs, got {first.size} and {second.size}")
    return mean_interval(second - first, confidence, overlap)


# --- over pages -----------------------------------------------------------------------------------------------

SCORES = ("accuracy", "balanced_accuracy", "macro_f1")


def bootstrap_intervals(
    labels, probabilities, *, groups=None, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of one model's scores over pages like these, by the percentile bootstrap (Efron 1979).

    Whole groups are drawn, because pages of one group (copies, the same printed ID) are no independent evidence.

    *Measured* on pages with the published shares of the conditions and models of accuracy 0.6 to 0.95: at 491 pages 92
    to 96 % of the 95 % intervals hold the truth; at 98 pages (6 of myocardial infarction) still 92 to 95 % for accuracy
    and 91 to 95 % for macro-F1, but for balanced accuracy only 90 to 92 %, and 83 % where the model is nearly always
    right: six pages without a mistake say little about how many more there would be.

    Args:
        labels, probabilities: as for `evaluate`.
        groups: (pages,) the group of each page, of any hashable type; each page its own where not given.
        confidence: the share of such intervals that hold the truth.
        resamples: how many sets of groups are drawn.
        seed: of the draws.

    Returns:
        An interval by the names in ``SCORES``.

    Raises:
        ValueError: as `evaluate`, and for another number of groups than of pages.
    """
    unit = "pages" if groups is None else "groups"
    return _bootstrap([_confusions(labels, probabilities, groups)], unit, confidence, resamples, seed)


def paired_bootstrap(
    labels, first, second, *, groups=None, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of the differences ``second - first`` between two models that judged the same pages.

    Both are scored on the same draws, so that what makes pages hard for both cancels.

    Args:
        labels: (pages,) the truth.
        first, second: the models' probabilities, logits or verdicts, as for `evaluate`.
        groups, confidence, resamples, seed: as for `bootstrap_intervals`.

    Returns:
        An interval of the difference by the names in ``SCORES``.

    Raises:
        ValueError: as `bootstrap_intervals`.
    """
    models = [_confusions(labels, scores, groups) for scores in (first, second)]
    return _bootstrap(models, "pages" if groups is None else "groups", confidence, resamples, seed)


def _confusions(labels, probabilities, groups) -> np.ndarray:
    """(groups, 4, 4) the confusion counts of each group of pages."""
    labels, verdicts = _checked(labels, probabilities)
    groups = np.arange(labels.size) if groups is None else np.asarray(groups)
    if groups.shape != labels.shape:
        raise ValueError(f"groups {groups.shape}: one for each of the {labels.size} pages is needed")
    number, found = pd.factorize(groups, use_na_sentinel=False)
    confusions = np.zeros((len(found), len(CONDITIONS), len(CONDITIONS)))
    np.add.at(confusions, (number, labels, verdicts), 1)
    return confusions


def _bootstrap(
    models: list[np.ndarray], unit: str, confidence: float, resamples: int, seed: int
) -> dict[str, Interval]:
    """Intervals for the scores of one model, or for the second's minus the first's."""
    count = len(models[0])
    draws = np.random.default_rng(seed).integers(count, size=(resamples, count)) + count * np.arange(resamples)[:, None]
    times_drawn = np.bincount(draws.ravel(), minlength=resamples * count).reshape(resamples, count)

    def scores(times: np.ndarray) -> np.ndarray:
        each = [_scores(np.tensordot(times, confusions, 1)) for confusions in models]
        return each[-1] - each[0] if len(each) == 2 else each[0]

    observed, drawn = scores(np.ones((1, count)))[0], scores(times_drawn)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    rows = zip(SCORES, observed, low, high, drawn.std(axis=0), strict=True)
    return {name: Interval(*map(float, values), count, unit) for name, *values in rows}


def _scores(confusion: np.ndarray) -> np.ndarray:
    """(…, 3) the scores in ``SCORES`` of confusion counts (…, 4, 4), as `evaluate` defines them."""
    right, truth, said = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(axis=-1), confusion.sum(axis=-2)
    recall = np.divide(right, truth, out=np.zeros_like(right), where=truth > 0)
    f1 = np.divide(2 * right, truth + said, out=np.zeros_like(right), where=truth + said > 0)
    balanced = recall.sum(axis=-1) / (truth > 0).sum(axis=-1)
    return np.stack([right.sum(axis=-1) / truth.sum(axis=-1), balanced, f1.mean(axis=-1)], axis=-1)


def recall_intervals(labels, probabilities, confidence: float = 0.95) -> pd.DataFrame:
    """How many pages of each condition are recognised, with Wilson intervals (Wilson 1927).

    The intervals are for independent pages: hand in one of each group.

    Args:
        labels, probabilities: as for `evaluate`.
        confidence: the share of such intervals that hold the true recall.

    Returns:
        One row a condition: pages, right, recall, low, high; NaN where a condition does not occur.

    Raises:
        ValueError: as `evaluate`.
    """
    labels, verdicts = _checked(labels, probabilities)
    confusion = confusion_matrix(labels, verdicts, labels=range(len(CONDITIONS)))
    rows = []
    for right, pages in zip(confusion.diagonal().tolist(), confusion.sum(axis=1).tolist(), strict=True):
        if pages:
            rows.append((pages, right, right / pages, *wilson_interval(right, pages, confidence)))
        else:
            rows.append((0, 0, np.nan, np.nan, np.nan))
    index = pd.Index(NAMES, name="condition")
    return pd.DataFrame(rows, columns=["pages", "right", "recall", "low", "high"], index=index)


def wilson_interval(correct: int, pages: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953)."""
    interval = stats.binomtest(correct, pages).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


# --- knowing when not to answer -------------------------------------------------------------------------------


def selective_accuracy(
    labels, probabilities, coverages=(1.0, 0.9, 0.8, 0.7, 0.6, 0.5), confidence=0.95
) -> pd.DataFrame:
    """Accuracy on the surest pages, if a model may leave the others to somebody else.

    A page is as sure as the probability of its verdict is high (Geifman & El-Yaniv 2017, arXiv:1705.08500). Coverages
    read off the same pages share most of them: their intervals are no independent evidence.

    Args:
        labels: (pages,) integers 0 to 3.
        probabilities: (pages, 4). A temperature keeps all verdicts, but can change which of two pages is surer.
        coverages: shares of the pages that are answered, above 0 and up to 1.
        confidence: the share of Wilson intervals that hold the true accuracy, for independent pages.

    Returns:
        One row a coverage: coverage, pages, right, accuracy, low, high, and threshold, the least confidence answered.

    Raises:
        ValueError: as `evaluate`; for verdicts instead of probabilities, or a coverage that is no share.
    """
    labels, verdicts = _checked(labels, probabilities)
    if np.ndim(probabilities) != 2:
        raise ValueError("verdicts alone do not tell how sure they are: hand in probabilities")
    if not all(0 < coverage <= 1 for coverage in coverages):
        raise ValueError(f"coverages {tuple(coverages)}: shares above 0 and up to 1 are needed")
    sure = np.max(probabilities, axis=1)
    order = np.argsort(-sure, kind="stable")
    rows = []
    for coverage in coverages:
        kept = order[: max(1, round(coverage * labels.size))]
        right = int((verdicts[kept] == labels[kept]).sum())
        interval = wilson_interval(right, kept.size, confidence)
        rows.append((coverage, kept.size, right, right / kept.size, *interval, float(sure[kept[-1]])))
    return pd.DataFrame(rows, columns=["coverage", "pages", "right", "accuracy", "low", "high", "threshold"])


# --- calibration ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Calibration:
    """Whether a model is right as often as it is sure.

    Attributes:
        ece: the expected calibration error, the mean over pages of ``|accuracy − confidence|`` of their bins.
        bins: one row a bin of confidence (the probability of the verdict): low, high (inclusive), pages, confidence,
            accuracy; the last two are means, NaN in an empty bin.
    """

    ece: float
    bins: pd.DataFrame


def calibration(labels, probabilities, bins: int = 10) -> Calibration:
    """The calibration of verdicts in bins of equal width from 0 to 1 (Guo et al. 2017, arXiv:1706.04599).

    On few pages even a perfectly calibrated model has an ECE above 0, the more so the more bins there are.

    Args:
        labels: (pages,) integers 0 to 3.
        probabilities: (pages, 4), each row adding up to 1.
        bins: how many.

    Raises:
        ValueError: as `evaluate`; for rows that are no probabilities, or no bins.
    """
    labels, verdicts = _checked(labels, probabilities)
    probabilities = np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or probabilities.min() < 0 or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
        raise ValueError("calibration needs probabilities, rows that add up to 1: put logits through softmax first")
    if bins < 1:
        raise ValueError(f"bins={bins}: at least one is needed")
    confidence, right = probabilities.max(axis=1), verdicts == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)
    pages = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, values, minlength=bins) for values in (confidence, right)]
    means = [np.divide(total, pages, out=np.full(bins, np.nan), where=pages > 0) for total in sums]
    columns = {"low": edges[:-1], "high": edges[1:], "pages": pages, "confidence": means[0], "accuracy": means[1]}
    return Calibration(float(np.abs(sums[1] - sums[0]).sum() / labels.size), pd.DataFrame(columns))


def fit_temperature(labels, logits) -> float:
    """The temperature T by which logits are to be divided so that these labels are likeliest.

    ``softmax(logits / T)`` keeps every verdict and changes how sure it is (Guo et al. 2017, arXiv:1706.04599). Fit it
    on pages that neither trained the model nor score it. The logarithms of probabilities will do for logits.

    Args:
        labels: (pages,) integers 0 to 3.
        logits: (pages, 4).

    Returns:
        T between 0.01 and 100: above 1 the model was too sure. Where all verdicts are right, or they are no better
        than chance, it goes towards one of the ends.

    Raises:
        ValueError: as `evaluate`, and for verdicts instead of logits.
    """
    labels, _ = _checked(labels, logits)
    logits = np.asarray(logits, dtype=float)
    if logits.ndim != 2:
        raise ValueError(f"a temperature is fitted to logits (pages, {len(CONDITIONS)}), not to verdicts")

    def loss(log_temperature: float) -> float:
        scaled = logits * np.exp(-log_temperature)
        return float(np.mean(special.logsumexp(scaled, axis=1) - scaled[np.arange(labels.size), labels]))

    # in 1 / T the loss is convex, so it has one minimum in log T
    ends = -np.log(100), np.log(100)
    found = optimize.minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))
