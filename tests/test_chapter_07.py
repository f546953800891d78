"""Chapter 07: what its checks accept and reject, and its own definitions."""

from __future__ import annotations

import math

import chapter_code
import numpy as np
import pytest
from scipy import stats

from heartai_utils import evaluation, exercises
from heartai_utils._keras import keras
from heartai_utils.exercises import NotYet

PILOT = np.array([0.031, -0.010, 0.042, 0.005])


@pytest.fixture(scope="module")
def definitions():
    """The functions that the chapter writes in the open, with the names they use."""
    return chapter_code.definitions("07_the_weight_decay_ablation", np=np, math=math, stats=stats, keras=keras)


@pytest.mark.parametrize(("decay", "steps"), [(0.1, 50), (2.0, 30), (0.0, 5)])
def test_decay_alone_shrinks_as_predicted(definitions, decay, steps):
    assert definitions["shrinkage"](decay or None, steps) == pytest.approx(1 - (1 - 1e-3 * decay) ** steps, abs=2e-6)


def test_the_decay_of_the_claim_is_at_the_rounding_of_float32(definitions):
    lost = definitions["shrinkage"](1e-4, 100)
    assert 0.5e-5 < lost < 2e-5
    assert 1e-7 < 2 * np.finfo(np.float32).eps


@pytest.mark.parametrize("sd", [0.0, 0.01, 0.03, 0.07])
def test_runs_needed_is_the_smallest_number(definitions, sd):
    def half(n):
        return stats.t.ppf(0.975, n - 1) * sd / math.sqrt(n)

    n = definitions["runs_needed"](sd, 0.02)
    assert half(n) <= 0.02
    assert n == 2 or half(n - 1) > 0.02


def test_shrinkage(capsys):
    exercises.check_shrinkage(None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    for answer in (1 - (1 - 2.5e-5) ** 1000, 0.025):
        exercises.check_shrinkage(answer)
        assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((1 - 2.5e-5) ** 1000, "what is left"),
        (2.469, "per cent"),
        (1 - (1 - 2.5e-5) ** 960, "last, smaller batch"),
        (1 - (1 - 2.5e-5) ** 25, "one epoch"),
        (1.0, "not the decay alone"),
        (1 - (1 - 0.0005) ** 1000, "not the learning rate alone"),
        (0.05, "nearly the product"),
        ((0.0247, 1000), "one share"),
    ],
)
def test_shrinkage_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_shrinkage(answer)


def by_hand(first, second, ddof=1, sign=1, root=True, quantile=0.975, freedom=1, t=None):
    d = sign * (second - first)
    t = t or stats.t.ppf(quantile, len(d) - freedom)
    half = t * d.std(ddof=ddof) / (math.sqrt(len(d)) if root else 1)
    return d.mean() - half, d.mean() + half


def unpaired(first, second):
    interval = evaluation.paired_interval(first, second)
    half = (interval.high - interval.mean) * np.sqrt(first.var(ddof=1) + second.var(ddof=1)) / interval.sd
    return interval.mean - half, interval.mean + half


def test_paired_interval(capsys):
    exercises.check_paired_interval(lambda first, second: None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_paired_interval(by_hand)
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda a, b: by_hand(a, b, sign=-1), "sign"),
        (lambda a, b: by_hand(a, b, ddof=0), "ddof=1"),
        (lambda a, b: by_hand(a, b, t=1.96), "infinitely many"),
        (lambda a, b: by_hand(a, b, quantile=0.95), "either end"),
        (lambda a, b: by_hand(a, b, freedom=0), "degrees of freedom"),
        (lambda a, b: by_hand(a, b, root=False), "divide by"),
        (unpaired, "SD of the differences"),
        (lambda a, b: (b - a).mean(), "two numbers"),
        (lambda a, b: (0.0, 1.0), "instead of"),
    ],
)
def test_paired_interval_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_paired_interval(answer)


def test_runs_needed(definitions, capsys):
    exercises.check_runs_needed(None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_runs_needed(definitions["runs_needed"](PILOT.std(ddof=1), 0.01))
    assert capsys.readouterr().out.startswith("Right")


def pairs(sd, factor):
    return math.ceil((factor * sd / 0.01) ** 2)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (pairs(PILOT.std(ddof=1), 1.96), "1.96"),
        (pairs(PILOT.std(ddof=1), stats.t.ppf(0.975, 3)), "at n − 1"),
        (4, "smallest n"),
        (12.5, "whole number"),
    ],
)
def test_runs_needed_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_runs_needed(answer)


def test_runs_needed_rejects_the_biased_sd(definitions):
    with pytest.raises(NotYet, match="ddof=1"):
        exercises.check_runs_needed(definitions["runs_needed"](PILOT.std(), 0.01))
