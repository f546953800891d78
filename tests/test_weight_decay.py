"""The parts of `benchmarks/interval_coverage.py` and `benchmarks/weight_decay.py` that their figures rest on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import interval_coverage
import weight_decay


@pytest.fixture(scope="module")
def trained():
    """A perceptron without decay, one with a very large one, on the same pages; labels; both models' answers."""
    rng = np.random.default_rng(0)
    pages, labels = interval_coverage.draw(rng)
    pages, labels = np.stack([pages, pages]), np.stack([labels, labels])
    weights = interval_coverage.train(pages, labels, np.array([0.0, 3.0]), rng)
    kernel, bias, last_kernel, last_bias = weights
    answers = (np.maximum(pages @ kernel + bias, 0) @ last_kernel + last_bias).argmax(axis=2)
    return weights, labels, answers


def test_perceptrons_learn(trained):
    _, labels, answers = trained
    commonest = max(interval_coverage.PAGES) / sum(interval_coverage.PAGES)
    assert ((answers == labels).mean(axis=1) > commonest + 0.15).all()


def test_decay_makes_kernels_smaller_and_leaves_biases(trained):
    weights, _, _ = trained
    free, decayed = ([np.linalg.norm(weight[model]) for weight in weights] for model in (0, 1))
    assert decayed[0] < 0.8 * free[0] and decayed[2] < 0.8 * free[2]
    assert min(decayed[1], decayed[3]) > 0.05


def test_arms_differ_and_hold_outs_are_shared():
    found = interval_coverage.differences(trials=3, seeds=2, seed=0)
    assert found["accuracy"].shape == found["macro_f1"].shape == (3, 2)
    assert np.abs(found["accuracy"]).sum() > 0
    steps = 1 / 59  # pages held out
    assert np.allclose(found["accuracy"] / steps, np.round(found["accuracy"] / steps))


def test_hold_outs_keep_the_shares_and_use_each_page_once():
    _, labels = interval_coverage.draw(np.random.default_rng(1))
    train, validation = interval_coverage.hold_out(labels, np.random.default_rng(2))
    assert sorted([*train, *validation]) == list(range(295))
    assert np.bincount(labels[validation]).tolist() == [17, 4, 28, 10]


def test_coverage_by_hand():
    always, never = np.array([[0.1, -0.1, 0.0]]), np.array([[0.10, 0.11, 0.12]])
    assert interval_coverage.coverage(np.concatenate([always, never]), overlap=0.25) == 0.5


def table(effect: float, seeds: int = 5) -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows = [
        {"split": "grouped", "seed": s, "weight_decay": decay, "accuracy": luck + rng.normal(0, 0.02) + effect * decay}
        for s, luck in enumerate(rng.normal(0.7, 0.05, seeds))
        for decay in weight_decay.DECAYS
    ]
    return pd.DataFrame(rows)


def test_exchanged_decays_have_no_effect_whatever_they_had_before():
    """A real effect is lost with the labels, and the intervals still hold zero about as often as they say."""
    assert 0.9 <= weight_decay.coverage(table(1.0), "accuracy") <= 1


def test_a_real_effect_is_found_and_told_by_split_and_decay():
    runs = table(1.0).assign(macro_f1=0.5, loss=1.0, accuracy_35=0.5)
    told = weight_decay.effects(runs)["grouped"]
    assert list(told) == ["0.0001", "0.001", "0.01", "0.05", "0.1", "0.3"] and told["0.3"]["pairs"] == 5
    assert told["0.3"]["accuracy"]["low"] > 0.1 and told["0.0001"]["accuracy"]["low"] < 0
    assert told["0.3"]["macro_f1"] == {"mean": 0, "low": 0, "high": 0}


def test_one_seed_has_no_interval():
    assert weight_decay.coverage(table(0.0, seeds=1), "accuracy") is None
    runs = table(0.0, seeds=1).assign(macro_f1=0.5, loss=1.0, accuracy_35=0.5)
    assert weight_decay.effects(runs)["grouped"]["0.1"]["accuracy"]["low"] is None
