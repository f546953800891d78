"""Answers to the exercises of chapter 09."""

from __future__ import annotations

import numpy as np


def has_met(used, held_out, copy_of):
    groups = {copy_of[page] for page in held_out}
    return sorted(name for name, its in used.items() if groups & {copy_of[page] for page in its})


def worth_in_pages(pages, scores, score):
    if scores[0] >= score:
        return pages[0]
    for i in range(1, len(pages)):
        if scores[i] >= score:
            share = (score - scores[i - 1]) / (scores[i] - scores[i - 1])
            return pages[i - 1] + share * (pages[i] - pages[i - 1])
    return float("inf")


def without_going_along(pages, scores, score):
    return next((n for n, s in zip(pages, scores, strict=True) if s >= score), 0)


WRONG = {
    "check_fresh_or_kept": [
        (2560, "two numbers"),
        ((320, 352), "anew"),
        ((2592, 352), "nothing is read"),
        ((2560, 320), "read as well"),
        ((2560, 324), "each of the 8"),
        ((2560, 2592), "drawn once"),
        ((2560, 32), "4000 pages are drawn once"),
    ],
    "check_has_met": [
        (lambda used, held, copy_of: sorted(n for n, its in used.items() if its & held), "compare groups"),
        (lambda used, held, copy_of: sorted(used), "none of its copies"),
        (lambda used, held, copy_of: has_met(used, held, copy_of)[::-1], "sorted"),
        (lambda used, held, copy_of: [n for n in has_met(used, held, copy_of) if n != "simulator"], "whatever a step"),
        (lambda used, held, copy_of: len(has_met(used, held, copy_of)), "a list of names"),
        (lambda used, held, copy_of: [], "c was trained on"),
    ],
    "check_worth_in_pages": [
        (lambda pages, scores, score: float(np.interp(score, scores, pages)), "never reaches"),
        (without_going_along, "halfway"),
        (lambda pages, scores, score: worth_in_pages(pages, sorted(scores), score), "first time"),
        (lambda pages, scores, score: worth_in_pages(pages, scores, score + 1e-3) - 1.2, "exactly 0.5|halfway"),
        (lambda pages, scores, score: worth_in_pages([0, *pages], [0, *scores], score), "already"),
        (lambda pages, scores, score: [worth_in_pages(pages, scores, score)], "one number"),
    ],
}
ALSO_RIGHT = {
    "check_fresh_or_kept": [[2560.0, 352.0]],
    "check_has_met": [has_met, lambda *arguments: tuple(has_met(*arguments))],
    "check_worth_in_pages": [worth_in_pages],
}
