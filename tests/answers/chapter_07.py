"""Answers to the exercises of chapter 07."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from answers import with_fault
from heartai_utils import evaluation

PILOT = np.array([0.031, -0.010, 0.042, 0.005])


def by_hand(first, second, ddof=1, sign=1, root=True, quantile=0.975, freedom=1, t=None):
    d = sign * (second - first)
    t = t or stats.t.ppf(quantile, len(d) - freedom)
    half = t * d.std(ddof=ddof) / (math.sqrt(len(d)) if root else 1)
    return d.mean() - half, d.mean() + half


def unpaired(first, second):
    interval = evaluation.paired_interval(first, second)
    half = (interval.high - interval.mean) * np.sqrt(first.var(ddof=1) + second.var(ddof=1)) / interval.sd
    return interval.mean - half, interval.mean + half


def pairs(sd, factor=None):
    """Pairs for ± 0.01: by t at n − 1, or by one factor for every n."""
    n = 2
    while (factor or stats.t.ppf(0.975, n - 1)) * sd / math.sqrt(n) > 0.01:
        n += 1
    return n


def half_width(within=1 / 5 + 1 / 3, t=None):
    return (t or stats.t.ppf(0.975, 4)) * 0.02 * math.sqrt(within)


WRONG = {
    "check_shrinkage": [
        ((1 - 2.5e-5) ** 1000, "what is left"),
        (2.469, "per cent"),
        (1 - (1 - 2.5e-5) ** 960, "last, smaller batch"),
        (1 - (1 - 2.5e-5) ** 25, "one epoch"),
        (1 - (1 - 2.5e-5) ** 40, "one step an epoch"),
        (1.0, "not the decay alone"),
        (1 - (1 - 0.0005) ** 1000, "not the learning rate alone"),
        (0.05, "nearly the product"),
        ((0.0247, 1000), "one share"),
    ],
    "check_paired_interval": [
        (with_fault(by_hand, sign=-1), "sign"),
        (with_fault(by_hand, ddof=0), "ddof=1"),
        (with_fault(by_hand, t=1.96), "infinitely many"),
        (with_fault(by_hand, quantile=0.95), "either end"),
        (with_fault(by_hand, freedom=0), "degrees of freedom"),
        (with_fault(by_hand, root=False), "divide by"),
        (unpaired, "SD of the differences"),
        (lambda a, b: (b - a).mean(), "two numbers"),
        (lambda a, b: (0.0, 1.0), "instead of"),
    ],
    "check_runs_needed": [
        (pairs(PILOT.std(ddof=1), 1.96), "1.96"),
        (pairs(PILOT.std(ddof=1), stats.t.ppf(0.975, 3)), "at n − 1"),
        (pairs(PILOT.std()), "ddof=1"),
        (pairs(PILOT.std(ddof=1)) - 1, "one pair fewer"),
        (4, "smallest n"),
        (12.5, "whole number"),
    ],
    "check_corrected_half_width": [
        (half_width(within=1 / 5), "independent runs"),
        (half_width(within=1 / 5 + 1 / 4), "share held out"),
        (half_width(within=1 / 5 + 3), "other way round"),
        (half_width(t=1.96), "infinitely many"),
        (half_width(t=stats.t.ppf(0.975, 5)), "degrees of freedom"),
        (half_width(t=1), "standard error"),
        (2 * half_width(), "half of it"),
        (0.05, "validation/training"),
        ((0.0, 0.04), "one number"),
    ],
}
ALSO_RIGHT = {
    "check_shrinkage": [0.025],
    "check_paired_interval": [by_hand, lambda a, b: np.array(by_hand(a, b))],
    "check_runs_needed": [pairs(PILOT.std(ddof=1))],
    "check_corrected_half_width": [half_width()],
}
