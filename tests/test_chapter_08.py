"""Chapter 08: what it does by hand is what it says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import solution_code
from chapter_code import definitions
from scipy import stats

from heartai_utils.evaluation import selective_accuracy


def test_rank_correlation_by_hand_is_spearmans():
    defined = definitions("08_what_did_it_learn", np=np, pd=pd)
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, (2, 6, 9)).astype(float)  # with ties
    first[2, 3], second[4, 4] = np.nan, np.nan
    known = np.isfinite(first) & np.isfinite(second)
    by_scipy = stats.spearmanr(first[known], second[known]).statistic
    assert defined["rank_correlation"](first, second) == pytest.approx(by_scipy)


def test_largest_coverage_agrees_with_the_table():
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.full(4, 0.5), 50)
    labels = np.array([rng.choice(4, p=p) for p in probabilities])
    right = probabilities.argmax(axis=1) == labels
    table = selective_accuracy(labels, probabilities, np.arange(1, 51) / 50)
    enough = table[table["accuracy"] >= 0.8]["coverage"].max()
    largest_coverage = solution_code.solution("check_largest_coverage")
    assert largest_coverage(probabilities.max(axis=1), right, 0.8) == pytest.approx(enough)
