"""Chapter 09: its definitions, and the parts of `benchmarks/pretraining.py` that figures rest on."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import chapter_code
import numpy as np
import pytest

from heartai_utils import evaluation, plots
from heartai_utils.training import Data

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import pretraining

CHAPTER = "09_from_simulated_to_real"


@pytest.fixture
def definitions():
    return chapter_code.definitions(CHAPTER, np=np, replace=replace, seed=0, evaluation=evaluation)


def pages(train: int, validation: int = 8) -> Data:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (train + validation, 4, 6), dtype=np.uint8)
    labels = np.arange(train + validation) % 4
    return Data(images[:train], labels[:train], images[train:], labels[train:])


# --- Pages in shares ----------------------------------------------------------------------------------------------

LABELS = np.repeat([0, 1, 2, 3], [68, 14, 112, 42])  # a training side of the real pages


@pytest.mark.parametrize("count", [8, 15, 30, 60, 120, 235])
def test_fewer_pages_keep_the_shares(count):
    taken = np.bincount(LABELS[pretraining.in_shares(LABELS, count, 3)], minlength=4)
    assert taken.sum() == count
    assert (np.abs(taken - count * np.bincount(LABELS) / len(LABELS)) <= 1).all()


def test_fewer_pages_are_among_more_and_another_seed_takes_others():
    some = {count: set(pretraining.in_shares(LABELS, count, 3)) for count in (15, 60, 236)}
    assert some[15] < some[60] < some[236] == set(range(236))
    assert some[60] != set(pretraining.in_shares(LABELS, 60, 4))
    with pytest.raises(ValueError, match="ask for fewer"):
        pretraining.in_shares(LABELS, 237, 3)


def test_the_chapter_takes_the_same_pages_as_the_benchmark(definitions):
    for count in (8, 60):
        np.testing.assert_array_equal(
            definitions["in_shares"](LABELS, count, 3), pretraining.in_shares(LABELS, count, 3)
        )


# --- The benchmark ------------------------------------------------------------------------------------------------


def test_few_pages_are_trained_on_for_as_many_steps():
    for count in (5, 64):
        data = pretraining.repeated(pages(count), steps=8, epochs=4)
        assert len(data.train_labels) == 8 * pretraining.BATCH // 4
        assert len(np.unique(data.train_images.reshape(len(data.train_images), -1), axis=0)) == count
    with pytest.raises(ValueError, match="room for 64"):
        pretraining.repeated(pages(65), steps=8, epochs=4)


def test_half_is_the_mean_of_four_pixels():
    images = np.array([[[0, 2, 255, 255], [1, 3, 255, 253]]], np.uint8)
    assert pretraining.half(images).tolist() == [[[2, 254]]]


def test_the_untuned_model_is_judged_on_each_folds_own_pages():
    folds = [SimpleNamespace(train=np.array([2, 3, 4]), validation=np.array([0, 1]))]
    folds.append(SimpleNamespace(train=np.array([0, 1, 4]), validation=np.array([2, 3])))
    labels = np.array([0, 1, 2, 3, 0])
    sides = [SimpleNamespace(validation_labels=labels[fold.validation]) for fold in folds]
    everywhere = np.concatenate([folds[0].train, folds[0].validation])
    probabilities = np.eye(4)[labels][everywhere]
    probabilities[everywhere == 3] = [1, 0, 0, 0]  # page 3 alone is judged wrong
    found = pretraining.judged_as_it_is(SimpleNamespace(probabilities=probabilities), sides, folds)
    assert [metrics.correct for metrics in found] == [2, 1]


def test_differences_are_paired_fold_by_fold():
    def arm(values):
        return [SimpleNamespace(accuracy=v, balanced_accuracy=v, macro_f1=v / 2) for v in values]

    luck = np.array([0.6, 0.9, 0.5, 0.7])
    less = pretraining.compare(arm(luck), arm(luck + 0.1))
    assert less["accuracy"]["low"] == pytest.approx(0.1) == less["accuracy"]["high"]
    assert less["macro_f1"]["mean"] == pytest.approx(0.05)
    told = pretraining.over_folds(30, arm(luck))
    assert told["pages"] == 30 and told["accuracy"]["folds"] == luck.tolist()
    plain = evaluation.mean_interval(luck)
    assert told["accuracy"]["high"] - told["accuracy"]["mean"] > 1.3 * (plain.high - plain.mean)  # folds overlap


# --- The chapter --------------------------------------------------------------------------------------------------


def test_curves_are_drawn_with_their_intervals(definitions):
    found = [{"pages": n, "macro_f1": {"mean": m, "low": m - 0.1, "high": m + 0.05}} for n, m in ((30, 0.5), (60, 0.7))]
    figure, axis = plots.new_figure()
    assert definitions["curve"](axis, found, "macro_f1", "an arm") == pytest.approx(0.15)
    (line, _, (bars,)) = axis.containers[0]
    assert line.get_xydata().tolist() == [[30, 0.5], [60, 0.7]]
    assert np.allclose([bar[:, 1] for bar in bars.get_segments()], [[0.4, 0.55], [0.6, 0.75]])
