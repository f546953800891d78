"""Metrics, intervals and comparisons: against scikit-learn, by hand, and by simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from heartai_utils.conditions import NAMES
from heartai_utils.evaluation import Interval, evaluate, mean_interval, paired_interval, softmax

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
