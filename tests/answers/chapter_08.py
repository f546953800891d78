"""Answers to the exercises of chapter 08."""

from __future__ import annotations

import numpy as np


def far(centres):
    return np.hypot(*np.moveaxis(centres[:, None] - centres, -1, 0))


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


WRONG = {
    "check_attention_distance": [
        (lambda w, c: (w * far(c)).mean(axis=(1, 2)), "sum over it"),
        (lambda w, c: (w * far(c)).sum(axis=(1, 2)), "their mean"),
        (lambda w, c: (w * far(c) ** 2).sum(axis=2).mean(axis=1), "root"),
        (lambda w, c: (w * np.abs(c[:, None] - c).sum(axis=-1)).sum(axis=2).mean(axis=1), "straight line"),
        (lambda w, c: np.full(len(w), far(c).mean()), "even attention"),
        (lambda w, c: (w * far(c)).sum(axis=2).mean(), "one distance a head"),
        (lambda w, c: (w * far(c)).sum(axis=1).mean(axis=1) + 1, "instead of"),
    ],
    "check_largest_coverage": [
        (lambda c, r, t: len(r) * largest_coverage(c, r, t), "not their number"),
        (lambda c, r, t: largest_coverage(-np.arange(len(r)), r, t), "sort by confidence"),
        (lambda c, r, t: largest_coverage(-c, r, t), "confidence"),
        (lambda c, r, t: largest_coverage(c, r, t + 1e-6), "exactly"),
        (first_that_fails, "look on after a mistake"),
        (lambda c, r, t: largest_coverage(c, r, t) or 0.2, "0.0"),
        (lambda c, r, t: c, "one share"),
    ],
    "check_blank_form": [
        (0.4746, "three numbers"),
        ((1.0, 0.25, 0.161), "all 295"),
        ((0.25, 0.25, 0.161), "140 of 295"),
        ((0.4746, 1.0, 0.161), "all four"),
        ((0.4746, 0.4746, 0.161), "1, 0, 0 and 0"),
        ((0.4746, 0.25, 0.6437), "the other three"),
        ((0.4746, 0.25, 0.1186), "not the precision"),
        ((0.4746, 0.25, 0.25), "a quarter of the F1"),
    ],
}
ALSO_RIGHT = {
    "check_attention_distance": [lambda w, c: np.einsum("hij,ij->h", w, far(c)) / len(c)],
    "check_largest_coverage": [largest_coverage],
    "check_blank_form": [(0.475, 0.25, 0.161), [140 / 295, 1 / 4, 0.1609]],
}
