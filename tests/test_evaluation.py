"""Metrics, intervals and comparisons: against scikit-learn, by hand, and by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from heartai_utils.conditions import NAMES
from heartai_utils.evaluation import (
    SCORES,
    Interval,
    bootstrap_intervals,
    calibration,
    evaluate,
    fit_temperature,
    mean_interval,
    paired_bootstrap,
    paired_interval,
    recall_intervals,
    softmax,
    wilson_interval,
)

PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60)


@given(PAIRS)
def test_agrees_with_scikit_learn(pairs):
    labels, verdicts = np.array(pairs).T
    result = evaluate(labels, verdicts)
    assert result.pages == len(labels)
    assert result.correct == (labels == verdicts).sum()
    assert result.accuracy == pytest.approx(reference.accuracy_score(labels, verdicts))
    assert result.macro_f1 == pytest.approx(
        reference.f1_score(labels, verdicts, labels=range(4), average="macro", zero_division=0)
    )
    occurring = np.unique(labels)
    recalls = reference.recall_score(labels, verdicts, labels=occurring, average=None)
    assert result.balanced_accuracy == pytest.approx(recalls.mean())
    assert [result.recall[NAMES[label]] for label in occurring] == pytest.approx(list(recalls))
    assert np.array_equal(result.confusion, reference.confusion_matrix(labels, verdicts, labels=range(4)))


def test_by_hand():
    labels = [0, 0, 0, 0, 1, 1, 2, 3]
    verdicts = [0, 0, 0, 1, 1, 2, 2, 0]
    result = evaluate(labels, verdicts)
    assert result.confusion == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0], [1, 0, 0, 0]]
    assert result.recall == {NAMES[0]: 3 / 4, NAMES[1]: 1 / 2, NAMES[2]: 1.0, NAMES[3]: 0.0}
    assert result.balanced_accuracy == pytest.approx((3 / 4 + 1 / 2 + 1 + 0) / 4)
    # F1 is 2 · diagonal / (row + column)
    assert result.macro_f1 == pytest.approx((6 / 8 + 2 / 4 + 2 / 3 + 0) / 4)
    assert (result.correct, result.pages, result.accuracy) == (5, 8, 5 / 8)


def test_probabilities_logits_and_verdicts_are_the_same_to_it():
    logits = np.random.default_rng(0).normal(0, 3, (20, 4))
    labels = np.arange(20) % 4
    assert evaluate(labels, logits) == evaluate(labels, softmax(logits)) == evaluate(labels, logits.argmax(axis=1))


def test_a_condition_that_does_not_occur():
    result = evaluate([0, 0, 2], [0, 2, 2])
    assert result.recall["Myocardial infarction"] is None and result.recall["History of MI"] is None
    assert result.balanced_accuracy == pytest.approx((1 / 2 + 1) / 2)
    # macro-F1 is over all four, so that two folds without the same conditions stay comparable
    assert result.macro_f1 == pytest.approx((2 / 3 + 0 + 2 / 3 + 0) / 4)


def test_the_majority_of_the_training_labels():
    labels = [0, 0, 0, 2]
    assert evaluate(labels, labels).majority_accuracy == 3 / 4
    among_training = evaluate(labels, labels, training_labels=[2, 2, 0])
    assert among_training.majority_accuracy == 1 / 4
    assert among_training.majority_macro_f1 == pytest.approx((2 * 1 / (1 + 4)) / 4)


def test_the_majority_of_the_published_pages():
    """Counts of distinct pages: 142, 30, 233, 86."""
    result = evaluate(np.repeat(range(4), [142, 30, 233, 86]), np.full(491, 2))
    assert result.accuracy == result.majority_accuracy == pytest.approx(0.475, abs=5e-4)
    assert result.balanced_accuracy == 0.25
    assert result.macro_f1 == result.majority_macro_f1 == pytest.approx(0.161, abs=5e-4)


@pytest.mark.parametrize(("correct", "pages"), [(0, 5), (5, 5), (34, 48), (1, 1), (80, 98)])
def test_wilson_interval(correct, pages):
    """Wilson 1927, written out."""
    verdicts = np.zeros(pages, dtype=int)
    verdicts[correct:] = 1
    low, high = evaluate(np.zeros(pages, dtype=int), verdicts).accuracy_interval
    z, share = 1.959963984540054, correct / pages
    middle, half = share + z**2 / (2 * pages), z * np.sqrt(share * (1 - share) / pages + z**2 / (4 * pages**2))
    assert [low, high] == pytest.approx([(middle - half) / (1 + z**2 / pages), (middle + half) / (1 + z**2 / pages)])
    assert 0 <= low <= share <= high <= 1


def test_to_dict_is_json():
    kept = json.loads(json.dumps(evaluate([0, 1, 2, 3], [0, 1, 2, 2]).to_dict()))
    assert kept["correct"] == 3 and kept["confusion"][3] == [0, 0, 1, 0] and len(kept["accuracy_interval"]) == 2


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0], "one row a page"),
        ([], [], "at least one page"),
        ([0, 1], np.zeros((3, 4)), "one row a page"),
        ([0, 4], [0, 1], "0 to 3"),
        ([0, 1], [0, 7], "0 to 3"),
        ([-1, 1], [0, 1], "0 to 3"),
        ([0, 1], np.full((2, 4), np.nan), "diverged"),
        ([0, 1], [[0, 0, 0, np.inf], [1, 0, 0, 0]], "diverged"),
    ],
)
def test_what_cannot_be_evaluated(labels, scores, message):
    with pytest.raises(ValueError, match=message):
        evaluate(labels, scores)


def test_softmax():
    logits = np.array([[0.0, np.log(3), 0.0, 0.0], [1000.0, 0.0, -1000.0, 0.0]])
    probabilities = softmax(logits)
    assert probabilities[0] == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])
    assert probabilities[1] == pytest.approx([1, 0, 0, 0])
    assert softmax(logits + 5) == pytest.approx(probabilities)


def test_mean_interval_by_hand():
    """0.70, 0.74, 0.78: mean 0.74, SD 0.04, t(2) for 95 % is 4.3027, half width 4.3027 · 0.04 / √3."""
    interval = mean_interval([0.70, 0.74, 0.78])
    assert (interval.mean, interval.sd, interval.runs) == (pytest.approx(0.74), pytest.approx(0.04), 3)
    assert (interval.high - interval.low) / 2 == pytest.approx(4.30265 * 0.04 / 3**0.5, rel=1e-5)
    assert str(interval) == "0.740 [0.641, 0.839] (3 runs)"


@pytest.mark.parametrize("runs", [3, 5, 10])
def test_the_interval_covers_the_truth_as_often_as_it_says(runs):
    values = np.random.default_rng(runs).normal(0.8, 0.05, (1000, runs))
    intervals = [mean_interval(row) for row in values]
    covered = np.mean([interval.low <= 0.8 <= interval.high for interval in intervals])
    assert 0.93 <= covered <= 0.97  # three standard errors of 1000 trials are 0.02


def test_a_higher_confidence_is_a_wider_interval():
    narrow, wide = mean_interval([1, 2, 4], confidence=0.8), mean_interval([1, 2, 4], confidence=0.99)
    assert wide.low < narrow.low < narrow.mean == wide.mean < narrow.high < wide.high


def test_pairing_takes_out_what_the_seeds_do_to_both():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 0.10, 5)
    first, second = 0.7 + seeds, 0.72 + seeds + rng.normal(0, 0.002, 5)
    paired = paired_interval(first, second)
    assert isinstance(paired, Interval) and paired.runs == 5
    assert paired.mean == pytest.approx((second - first).mean())
    assert 0 < paired.low < 0.02 < paired.high < 0.04
    assert paired_interval(second, first).mean == pytest.approx(-paired.mean)
    # unpaired, the same difference drowns in the spread between seeds
    assert mean_interval(first).high > mean_interval(second).low


def test_paired_interval_covers_no_effect():
    rng = np.random.default_rng(1)
    seeds = rng.normal(0, 0.1, (1000, 5))
    arms = rng.normal(0, 0.03, (2, 1000, 5)) + seeds
    intervals = [paired_interval(first, second) for first, second in zip(*arms, strict=True)]
    assert 0.93 <= np.mean([interval.low <= 0 <= interval.high for interval in intervals]) <= 0.97


@pytest.mark.parametrize("values", [[0.7], [], [[0.1, 0.2]]])
def test_one_run_has_no_interval(values):
    with pytest.raises(ValueError, match="at least two runs"):
        mean_interval(values)


def test_pairs_need_equally_many_runs():
    with pytest.raises(ValueError, match="got 3 and 2"):
        paired_interval([1, 2, 3], [1, 2])


# --- intervals over folds ------------------------------------------------------------------------------------


def test_overlapping_training_sets_widen_an_interval_by_hand():
    """Five folds: variance (1/5 + 1/4) s², not 1/5 s²."""
    values = [0.70, 0.74, 0.78, 0.71, 0.80]
    plain, corrected = mean_interval(values), mean_interval(values, overlap=0.25)
    assert corrected.mean == plain.mean and corrected.sd == plain.sd
    assert (corrected.high - corrected.low) / (plain.high - plain.low) == pytest.approx((0.45 / 0.2) ** 0.5)
    assert paired_interval([0] * 5, values, overlap=0.25) == corrected
    with pytest.raises(ValueError, match="overlap=-0.1"):
        mean_interval(values, overlap=-0.1)


def fold_accuracies(x: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """(folds,) how often the nearer of two class means, learnt on the other folds, is the right one."""
    accuracies = []
    for held in range(fold.max() + 1):
        seen = fold != held
        means = [x[seen & (labels == label)].mean(axis=0) for label in (0, 1)]
        away = [np.linalg.norm(x[~seen] - mean, axis=1) for mean in means]
        accuracies.append(np.mean((away[1] < away[0]) == labels[~seen]))
    return np.array(accuracies)


def test_the_corrected_interval_holds_a_difference_of_nothing_as_often_as_it_says():
    """Two learners that see equally good views of the same pages, in 2 × 5 folds; the plain interval fails."""
    rng = np.random.default_rng(0)
    corrected, plain, trials = 0, 0, 200
    for _ in range(trials):
        labels = np.arange(60) % 2
        views = rng.normal(0.4 * (2 * labels - 1)[:, None, None], 1, (60, 2, 3))
        folds = [rng.permutation(np.arange(60) % 5) for _ in range(2)]
        first, second = (np.concatenate([fold_accuracies(views[:, v], labels, f) for f in folds]) for v in (0, 1))
        corrected += (
            abs((interval := paired_interval(first, second, overlap=0.25)).mean) <= interval.high - interval.mean
        )
        plain += abs(interval.mean) <= (interval.high - interval.mean) * (0.1 / 0.35) ** 0.5
    assert 0.90 <= corrected / trials <= 0.99
    assert plain / trials < 0.90


# --- intervals over pages ------------------------------------------------------------------------------------

SHARES = np.array([142, 30, 233, 86]) / 491  # of the published conditions


def drawn(rng: np.random.Generator, groups: int, accuracy: float, copies: int = 1):
    """Labels, and the verdicts of a model that is right this often whatever the condition; copies share both."""
    labels = rng.choice(4, groups, p=SHARES)
    verdicts = np.where(rng.random(groups) < accuracy, labels, (labels + rng.integers(1, 4, groups)) % 4)
    return np.repeat(labels, copies), np.repeat(verdicts, copies)


def true_scores(accuracy: float) -> dict[str, float]:
    confusion = SHARES[:, None] * ((1 - accuracy) / 3 + np.eye(4) * (accuracy - (1 - accuracy) / 3))
    f1 = 2 * np.diag(confusion) / (confusion.sum(axis=0) + confusion.sum(axis=1))
    return {"accuracy": accuracy, "balanced_accuracy": accuracy, "macro_f1": f1.mean()}


@given(PAIRS)
def test_the_bootstrap_scores_are_those_of_evaluate(pairs):
    labels, verdicts = np.array(pairs).T
    metrics, intervals = evaluate(labels, verdicts), bootstrap_intervals(labels, verdicts, resamples=20)
    for name in SCORES:
        assert intervals[name].mean == pytest.approx(getattr(metrics, name))
        assert 0 <= intervals[name].low <= intervals[name].high <= 1


@pytest.mark.parametrize("copies", [1, 3])
def test_bootstrap_intervals_hold_the_truth_as_often_as_they_say(copies):
    rng = np.random.default_rng(copies)
    truth, held = true_scores(0.76), dict.fromkeys(SCORES, 0)
    for trial in range(200):
        labels, verdicts = drawn(rng, 200, 0.76, copies)
        groups = np.repeat(np.arange(200), copies)
        for name, interval in bootstrap_intervals(labels, verdicts, groups=groups, resamples=300, seed=trial).items():
            held[name] += interval.low <= truth[name] <= interval.high
    for name in SCORES:
        assert 0.90 <= held[name] / 200 <= 0.99, name


def test_copies_add_pages_but_no_evidence():
    labels, verdicts = drawn(np.random.default_rng(0), 100, 0.8)
    once = bootstrap_intervals(labels, verdicts)["accuracy"]
    labels, verdicts, groups = (np.repeat(values, 4) for values in (labels, verdicts, np.arange(100)))
    assert bootstrap_intervals(labels, verdicts, groups=groups)["accuracy"].sd == pytest.approx(once.sd)
    assert bootstrap_intervals(labels, verdicts)["accuracy"].sd == pytest.approx(once.sd / 2, rel=0.1)
    assert str(once).endswith("(100 pages)")
    named = bootstrap_intervals(labels, verdicts, groups=[f"ID {g}" for g in groups])["accuracy"]
    assert (named.runs, named.unit) == (100, "groups")


def test_the_bootstrap_of_an_accuracy_by_hand():
    """Its standard error is √(p (1 − p) / n)."""
    labels = np.zeros(200, int)
    interval = bootstrap_intervals(labels, (np.arange(200) < 40).astype(int), resamples=4000)["accuracy"]
    assert interval.mean == 0.8
    assert interval.sd == pytest.approx((0.8 * 0.2 / 200) ** 0.5, rel=0.05)
    assert [interval.low, interval.high] == pytest.approx(
        [0.8 - 1.96 * interval.sd, 0.8 + 1.96 * interval.sd], abs=0.008
    )


def test_the_bootstrap_repeats_with_its_seed():
    labels, verdicts = drawn(np.random.default_rng(0), 50, 0.7)
    assert bootstrap_intervals(labels, verdicts) == bootstrap_intervals(labels, verdicts)
    assert bootstrap_intervals(labels, verdicts) != bootstrap_intervals(labels, verdicts, seed=1)
    narrow, wide = (bootstrap_intervals(labels, verdicts, confidence=c)["macro_f1"] for c in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    with pytest.raises(ValueError, match="one for each of the 50 pages"):
        bootstrap_intervals(labels, verdicts, groups=[1, 2])


def test_the_paired_bootstrap_holds_a_difference_of_nothing_and_is_narrower():
    rng = np.random.default_rng(0)
    held = dict.fromkeys(SCORES, 0)
    for trial in range(200):
        labels, common = drawn(rng, 150, 0.8, 2)
        groups = np.repeat(np.arange(150), 2)
        # both models err on most of the same pages, and each on some of its own
        first, second = (np.where(np.repeat(rng.random(150) < 0.9, 2), common, (labels + 1) % 4) for _ in range(2))
        intervals = paired_bootstrap(labels, first, second, groups=groups, resamples=300, seed=trial)
        for name, interval in intervals.items():
            held[name] += interval.low <= 0 <= interval.high
    for name in SCORES:
        assert 0.90 <= held[name] / 200 <= 0.99, name
    alone = [bootstrap_intervals(labels, verdicts, groups=groups)["accuracy"].sd for verdicts in (first, second)]
    assert intervals["accuracy"].sd < 0.8 * np.hypot(*alone)


def test_the_paired_bootstrap_is_second_minus_first():
    labels, first = drawn(np.random.default_rng(0), 200, 0.6)
    second = np.where(np.arange(200) % 4 == 0, labels, first)
    forth, back = paired_bootstrap(labels, first, second), paired_bootstrap(labels, second, first)
    for name in SCORES:
        gain = getattr(evaluate(labels, second), name) - getattr(evaluate(labels, first), name)
        assert forth[name].mean == pytest.approx(gain) == pytest.approx(-back[name].mean)
        assert 0 < forth[name].low < forth[name].high
    assert all(interval.low == interval.high == 0 for interval in paired_bootstrap(labels, first, first).values())


def test_recall_intervals():
    table = recall_intervals([0] * 10 + [2] * 4, [0] * 7 + [1] * 3 + [2] * 4)
    assert list(table.index) == list(NAMES)
    assert table["pages"].tolist() == [10, 0, 4, 0] and table["right"].tolist() == [7, 0, 4, 0]
    assert table.loc[NAMES[0], ["recall", "low", "high"]].tolist() == pytest.approx([0.7, *wilson_interval(7, 10)])
    assert table.loc[NAMES[2], "high"] == 1 and table.loc[NAMES[2], "low"] == pytest.approx(4 / (4 + 1.96**2), rel=1e-3)
    assert table.loc[NAMES[1], ["recall", "low", "high"]].isna().all()


def test_recall_intervals_hold_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(100):
        table = recall_intervals(*drawn(rng, 120, 0.8))
        held += [row.low <= 0.8 <= row.high for row in table.itertuples() if row.pages]
    assert 0.92 <= np.mean(held) <= 0.98


# --- calibration ---------------------------------------------------------------------------------------------


def test_calibration_by_hand():
    """Two pages of confidence 0.6, one right, and three of 0.9, all right: |1 − 1.2| and |3 − 2.7| pages."""
    rows = [[0.6, 0.4, 0, 0]] * 2 + [[0.05, 0.9, 0.05, 0]] * 3
    found = calibration([0, 1, 1, 1, 1], rows, bins=5)
    assert found.ece == pytest.approx((0.2 + 0.3) / 5)
    assert found.bins["pages"].tolist() == [0, 0, 2, 0, 3]
    assert found.bins["confidence"][2] == pytest.approx(0.6) and found.bins["accuracy"][2] == 0.5
    assert found.bins["accuracy"].isna().tolist() == [True, True, False, True, False]
    assert calibration([0, 1], np.eye(4)[[0, 1]]).ece == 0


def calibrated(rng: np.random.Generator, pages: int, spread: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from the probabilities they stand for."""
    logits = rng.normal(0, spread, (pages, 4))
    labels = (rng.random(pages)[:, None] > softmax(logits).cumsum(axis=1)).sum(axis=1).clip(max=3)
    return labels, logits


def test_a_calibrated_model_has_little_error_and_a_boastful_one_much():
    labels, logits = calibrated(np.random.default_rng(0), 20_000)
    assert calibration(labels, softmax(logits)).ece < 0.015
    assert calibration(labels, softmax(3 * logits)).ece > 0.08


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_put_in_is_found(temperature):
    labels, logits = calibrated(np.random.default_rng(1), 20_000)
    assert fit_temperature(labels, temperature * logits) == pytest.approx(temperature, rel=0.05)
    # a constant in each row changes nothing, so logarithms of probabilities are logits
    assert fit_temperature(labels, np.log(softmax(temperature * logits))) == pytest.approx(temperature, rel=0.05)


def test_a_fitted_temperature_mends_other_pages_and_changes_no_verdict():
    rng = np.random.default_rng(2)
    labels, logits = calibrated(rng, 500)
    temperature = fit_temperature(labels, 4 * logits)
    labels, logits = calibrated(rng, 5000)
    before, after = softmax(4 * logits), softmax(4 * logits / temperature)
    assert np.array_equal(before.argmax(axis=1), after.argmax(axis=1))
    assert calibration(labels, after).ece < calibration(labels, before).ece / 3


def test_the_temperature_is_the_best_there_is():
    labels, logits = calibrated(np.random.default_rng(3), 60)
    logits *= 2.5

    def loss(t):
        return -np.log(softmax(logits / t)[np.arange(60), labels]).mean()

    found = fit_temperature(labels, logits)
    assert all(loss(found) <= loss(t) + 1e-9 for t in np.geomspace(0.1, 10, 200))


def test_temperatures_at_the_ends():
    sure = 2.0 * np.eye(4)
    assert fit_temperature(range(4), sure) < 0.05  # the loss is 0 to rounding from there on
    assert fit_temperature([1, 2, 3, 0], sure) == pytest.approx(100, rel=0.01)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibration([0, 1], [[3.0, 0, 0, 0], [0, 1, 0, 0]]), "softmax first"),
        (lambda: calibration([0, 1], [0, 1]), "softmax first"),
        (lambda: calibration([0], np.eye(4)[[0]], bins=0), "bins=0"),
        (lambda: fit_temperature([0, 1], [0, 1]), "not to verdicts"),
        (lambda: fit_temperature([0], [[-np.inf, 0, 0, 0]]), "diverged"),
    ],
)
def test_what_cannot_be_calibrated(call, message):
    with pytest.raises(ValueError, match=message):
        call()
