"""Chapter 08: its exercises tell right from wrong, and what it does by hand is what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from chapter_code import definitions
from scipy import stats

from heartai_utils import exercises
from heartai_utils.evaluation import selective_accuracy
from heartai_utils.exercises import NotYet


def test_rank_correlation_by_hand_is_spearmans():
    defined = definitions("08_what_did_it_learn", np=np, pd=pd)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (2, 6, 9)).astype(float)  # with ties
    first[2, 3], second[4, 4] = np.nan, np.nan
    known = np.isfinite(first) & np.isfinite(second)
    by_scipy = stats.spearmanr(first[known], second[known]).statistic
    assert defined["rank_correlation"](first, second) == pytest.approx(by_scipy)


# --- exercise 1 -------------------------------------------------------------------------------------------------


def far(centres):
    return np.hypot(*np.moveaxis(centres[:, None] - centres, -1, 0))


def test_attention_distance_right(capsys):
    exercises.check_attention_distance(lambda w, c: (w * far(c)).sum(axis=-1).mean(axis=-1))
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda w, c: (w * far(c)).mean(axis=(1, 2)), "sum over it"),
        (lambda w, c: (w * far(c)).sum(axis=(1, 2)), "their mean"),
        (lambda w, c: (w * far(c) ** 2).sum(axis=2).mean(axis=1), "root"),
        (lambda w, c: (w * np.abs(c[:, None] - c).sum(axis=-1)).sum(axis=2).mean(axis=1), "straight line"),
        (lambda w, c: np.full(len(w), far(c).mean()), "even attention"),
        (lambda w, c: (w * far(c)).sum(axis=2).mean(), "one distance a head"),
        (lambda w, c: (w * far(c)).sum(axis=1).mean(axis=1) + 1, "instead of"),
    ],
)
def test_attention_distance_wrong(wrong, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_attention_distance(wrong)


# --- exercise 2 -------------------------------------------------------------------------------------------------


def largest_coverage(confidence, right, target):
    order = np.argsort(-confidence)
    shares = np.cumsum(right[order]) / np.arange(1, len(right) + 1)
    enough = np.flatnonzero(shares >= target)
    return (enough[-1] + 1) / len(right) if len(enough) else 0.0


def first_that_fails(confidence, right, target):
    """Stops at the first mistake too many."""
    order = np.argsort(-confidence)
    kept = 0
    for count in range(1, len(right) + 1):
        if right[order][:count].mean() < target:
            break
        kept = count
    return kept / len(right)


def test_largest_coverage_right(capsys):
    exercises.check_largest_coverage(largest_coverage)
    assert capsys.readouterr().out.startswith("Right")


def test_largest_coverage_agrees_with_the_table():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(4, 0.5), 50)
    labels = np.array([rng.choice(4, p=p) for p in probabilities])
    right = probabilities.argmax(axis=1) == labels
    table = selective_accuracy(labels, probabilities, np.arange(1, 51) / 50)
    enough = table[table["accuracy"] >= 0.8]["coverage"].max()
    assert largest_coverage(probabilities.max(axis=1), right, 0.8) == pytest.approx(enough)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda c, r, t: len(r) * largest_coverage(c, r, t), "not their number"),
        (lambda c, r, t: largest_coverage(-np.arange(len(r)), r, t), "sort by confidence"),
        (lambda c, r, t: largest_coverage(-c, r, t), "confidence"),
        (lambda c, r, t: largest_coverage(c, r, t + 1e-6), "exactly"),
        (first_that_fails, "look on after a mistake"),
        (lambda c, r, t: largest_coverage(c, r, t) or 0.2, "0.0"),
        (lambda c, r, t: c, "one share"),
    ],
)
def test_largest_coverage_wrong(wrong, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_largest_coverage(wrong)


# --- exercise 3 -------------------------------------------------------------------------------------------------


def test_blank_form_right(capsys):
    exercises.check_blank_form((140 / 295, 1 / 4, 0.161))
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (0.4746, "three numbers"),
        ((1.0, 0.25, 0.161), "all 295"),
        ((0.25, 0.25, 0.161), "140 of 295"),
        ((0.4746, 1.0, 0.161), "all four"),
        ((0.4746, 0.4746, 0.161), "1, 0, 0 and 0"),
        ((0.4746, 0.25, 0.6437), "the other three"),
        ((0.4746, 0.25, 0.1186), "not the precision"),
        ((0.4746, 0.25, 0.25), "a quarter of the F1"),
    ],
)
def test_blank_form_wrong(wrong, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_blank_form(wrong)


@pytest.mark.parametrize(
    "unanswered",
    [
        lambda: exercises.check_attention_distance(lambda weights, centres: None),
        lambda: exercises.check_largest_coverage(lambda confidence, right, target: None),
        lambda: exercises.check_blank_form(None),
    ],
)
def test_unanswered_is_no_error(unanswered, capsys):
    unanswered()
    assert capsys.readouterr().out.startswith("Not answered yet")
