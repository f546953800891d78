"""Answers to the exercises of chapter 10."""

from __future__ import annotations

from itertools import combinations


def right_share(prevalence, recall, false_alarms):
    return prevalence * recall / (prevalence * recall + (1 - prevalence) * false_alarms)


def needed_pair(ask, leads):
    return min(((set(pair), ask(set(pair))) for pair in combinations(leads, 2)), key=lambda each: each[1])


def added_up(ask, leads):
    """Takes the two leads whose loss costs most when each is covered alone."""
    alone = sorted(leads, key=lambda lead: ask({lead}))
    return set(alone[:2]), ask(set(alone[:2]))


def highest(ask, leads):
    return max(((set(pair), ask(set(pair))) for pair in combinations(leads, 2)), key=lambda each: each[1])


def neighbours(ask, leads):
    pairs = [{one, other} for one, other in zip(leads, leads[1:], strict=False)]
    return min(((pair, ask(pair)) for pair in pairs), key=lambda each: each[1])


WRONG = {
    "check_none_wrong": [
        (3 / 598, "two shares"),
        ((0, 0), "none was wrong"),
        ((1 / 598, 3 / 598), "3 / n: one error"),
        ((0.5, 1.5), "not percentages"),
        ((3 / 598, 3 / 598), "no three pages"),
        ((3 / 598, 1 / 598), "a third of the verdicts"),
        ((3 / 598, 0.02), "second number"),
        ((0.05, 0.15), "first number"),
    ],
    "check_right_share": [
        (lambda prevalence, recall, false_alarms: recall, "false alarms come from those without an infarction alone"),
        (lambda p, r, f: p * r / (p * r + f), "450 alarms are right"),
        (lambda p, r, f: r / (r + f), "from those without an infarction alone"),
        (lambda p, r, f: p * r, "450 alarms are right"),
        (lambda p, r, f: 100 * right_share(p, r, f), "instead of"),
        (lambda p, r, f: right_share(max(p, 0.05), r, f), "9 alarms are right"),
        (lambda p, r, f: 1 - right_share(p, r, f), "450 alarms are right"),
        (lambda p, r, f: right_share(p, r), "stops with TypeError"),
        (lambda p, r, f: (p * r, (1 - p) * f), "one share"),
    ],
    "check_needed_pair": [
        (added_up, "hide each other"),
        (highest, "instead of"),
        (neighbours, "hide each other"),
        (lambda ask, leads: needed_pair(ask, leads[:-1]), "hide each other|last pair"),
        (lambda ask, leads: needed_pair(ask, leads)[0], "the two leads and the probability"),
        (lambda ask, leads: (needed_pair(ask, leads)[0], 0.95), "0.95 instead of"),
        (lambda ask, leads: (set(leads[:2]), ask(leads[0])), "wants a set of leads"),
    ],
}
ALSO_RIGHT = {
    "check_none_wrong": [[0.005017, 0.01505]],
    "check_right_share": [right_share],
    "check_needed_pair": [
        needed_pair,
        lambda ask, leads: (tuple(needed_pair(ask, leads)[0]), needed_pair(ask, leads)[1]),
    ],
}
