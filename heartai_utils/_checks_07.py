"""Checks of the exercises of chapter 07."""

from __future__ import annotations

import numpy as np
from scipy import stats

from heartai_utils._checks import array, learners, number, require
from heartai_utils.evaluation import paired_interval


def check_shrinkage(answer) -> None:
    """Share lost by a kernel: 393 pages, batches of 16, 40 epochs, learning rate 0.0005, decay 0.05, no gradient."""
    if answer is None:
        print("Not answered yet: how many steps are 40 epochs? Then multiply learning rate, decay and steps.")
        return
    answer = number(answer, "one share is wanted")
    product, steps = 0.0005 * 0.05, 25 * 40
    right = 1 - (1 - product) ** steps
    for wrong, hint in (
        (1 - right, "that is what is left; the share lost is wanted"),
        (100 * right, "give a share, not per cent"),
        (1 - (1 - product) ** (24 * 40), "393 / 16 = 24.6: the last, smaller batch of each epoch is a step too"),
        (1 - (1 - product) ** 25, "that is one epoch; there are 40"),
        (1 - (1 - product) ** 40, "that is one step an epoch; there are 25"),
        (1 - (1 - 0.05) ** steps, "each step takes learning rate · decay, not the decay alone"),
        (1 - (1 - 0.0005) ** steps, "each step takes learning rate · decay, not the learning rate alone"),
    ):
        require(not np.isclose(answer, wrong, rtol=2e-3), hint)
    hint = f"{answer:.5f}: 1 − (1 − learning rate · decay)^steps, nearly the product of the three"
    require(bool(np.isclose(answer, right, rtol=0.015)), hint)
    print(f"Right: {right:.4f}; the plain product gives {product * steps:.4f}.")


def check_paired_interval(function) -> None:
    """``function(first, second)`` -> (low, high), the 95 % t interval of the mean of second − first."""
    function = learners(function)
    rng = np.random.default_rng(7)
    for runs in (3, 5, 12):
        first = rng.uniform(0.5, 0.9, runs)
        second = first + rng.normal(0.02, 0.01, runs)
        given = function(first.copy(), second.copy())
        if given is None:
            print("Not answered yet: differences first, then their mean, SD with ddof=1, t and √n.")
            return
        given, right = array(given, (2,), "two numbers are wanted, low and high"), paired_interval(first, second)
        mean, half = right.mean, right.high - right.mean
        biased = half * np.sqrt((runs - 1) / runs)
        normal = half * 1.96 / stats.t.ppf(0.975, runs - 1)
        one_sided = half * stats.t.ppf(0.95, runs - 1) / stats.t.ppf(0.975, runs - 1)
        freedom = half * stats.t.ppf(0.975, runs) / stats.t.ppf(0.975, runs - 1)
        unpaired = half * np.sqrt(first.var(ddof=1) + second.var(ddof=1)) / right.sd
        for centre, width, hint in (
            (-mean, half, "the sign: second minus first"),
            (mean, biased, "np.std divides by n unless told ddof=1"),
            (mean, normal, "1.96 is for infinitely many runs; use stats.t.ppf(0.975, n − 1)"),
            (mean, one_sided, "2.5 % are cut off at either end: 0.975, not 0.95"),
            (mean, freedom, "n runs leave n − 1 degrees of freedom"),
            (mean, half * np.sqrt(runs), "that is the spread of single differences; divide by √n for their mean"),
            (mean, unpaired, "take the SD of the differences, not of the two arms"),
        ):
            require(not np.allclose(given, [centre - width, centre + width], rtol=1e-3, atol=0), hint)
        wanted = f"[{right.low:.4f}, {right.high:.4f}]"
        hint = f"for {runs} pairs [{given[0]:.4f}, {given[1]:.4f}] instead of {wanted}"
        require(np.allclose(given, [right.low, right.high], atol=1e-6), hint)
    print("Right: the same as evaluation.paired_interval for 3, 5 and 12 pairs.")


def check_runs_needed(answer) -> None:
    """Pairs for ± 0.01 when a pilot gave the differences 0.031, −0.010, 0.042, 0.005."""
    if answer is None:
        print("Not answered yet: the SD of the four differences (ddof=1), then runs_needed with it.")
        return
    pilot = np.array([0.031, -0.010, 0.042, 0.005])

    def needed(sd, factor=None):
        pairs = 2
        while (factor or stats.t.ppf(0.975, pairs - 1)) * sd / np.sqrt(pairs) > 0.01:
            pairs += 1
        return pairs

    right = needed(pilot.std(ddof=1))
    answer = number(answer, "a whole number of pairs is wanted")
    require(answer == int(answer), f"a whole number of pairs is wanted, not {answer:g}")
    for wrong, hint in (
        (needed(pilot.std(ddof=1), 1.96), "1.96 instead of t: with so few runs t is larger"),
        (needed(pilot.std()), "np.std divides by n unless told ddof=1"),
        (needed(pilot.std(ddof=1), stats.t.ppf(0.975, 3)), "t shrinks as pairs are added: take it at n − 1, not at 3"),
        (right - 1, "the half width must be at most 0.01, and with one pair fewer than needed it is not"),
    ):
        require(answer != wrong, hint)
    hint = f"{answer:.0f} pairs: look for the smallest n with t · SD / √n ≤ 0.01"
    require(answer == right, hint)
    print(f"Right: {right} pairs, where the SD of the pilot is {pilot.std(ddof=1):.4f}.")


def check_corrected_half_width(answer) -> None:
    """Half width for five random splits with a quarter held out, when the paired differences have an SD of 0.02."""
    if answer is None:
        print("Not answered yet: t at n − 1, the SD, and a root of 1/n plus validation pages over training pages.")
        return
    answer = number(answer, "one number is wanted, the half width")
    n, sd, ratio = 5, 0.02, 0.25 / 0.75
    t = stats.t.ppf(0.975, n - 1)
    right = t * sd * np.sqrt(1 / n + ratio)
    for wrong, hint in (
        (t * sd * np.sqrt(1 / n), "that is for independent runs; add validation over training pages under the root"),
        (t * sd * np.sqrt(1 / n + 0.25), "0.25 is the share held out; validation over training is 0.25 / 0.75"),
        (t * sd * np.sqrt(1 / n + 3), "validation over training, not the other way round"),
        (t * sd * (np.sqrt(1 / n) + ratio), "the ratio is added under the root, to 1/n"),
        (1.96 * sd * np.sqrt(1 / n + ratio), "1.96 is for infinitely many runs; use stats.t.ppf(0.975, n − 1)"),
        (stats.t.ppf(0.975, n) * sd * np.sqrt(1 / n + ratio), "n splits leave n − 1 degrees of freedom"),
        (stats.t.ppf(0.95, n - 1) * sd * np.sqrt(1 / n + ratio), "2.5 % are cut off at either end: 0.975, not 0.95"),
        (sd * np.sqrt(1 / n + ratio), "that is the standard error; times t"),
        (2 * right, "that is the whole width; half of it is wanted"),
    ):
        require(not np.isclose(answer, wrong, rtol=2e-3), hint)
    hint = f"{answer:.4f}: t · SD · √(1/n + validation/training)"
    require(bool(np.isclose(answer, right, rtol=0.01)), hint)
    print(f"Right: ± {right:.4f}; without the correction it would be {t * sd / np.sqrt(n):.4f}.")
