"""Checks of the exercises of chapter 08."""

from __future__ import annotations

import numpy as np

from heartai_utils._checks import array, learners, number, require


def check_attention_distance(function) -> None:
    """``function(weights, centres)`` -> (heads,) mean distance in mm, weighted by attention."""
    function = learners(function)
    rng = np.random.default_rng(8)
    weights = rng.dirichlet(np.full(6, 0.4), (3, 6))
    centres = rng.uniform(0, [200, 280], (6, 2))
    given = function(weights.copy(), centres.copy())
    if given is None:
        print("Not answered yet: first the distances between all pairs of tokens, (tokens, tokens), then weigh them.")
        return
    given = array(given, (3,), "one distance a head is wanted, for three heads (3,)")
    apart = centres[:, None] - centres
    far = np.hypot(*np.moveaxis(apart, -1, 0))
    right = (weights * far).sum(axis=2).mean(axis=1)
    for wrong, hint in (
        (
            (weights * far).mean(axis=(1, 2)),
            "a row of attention adds up to 1: sum over it, and take the mean over rows",
        ),
        ((weights * far).sum(axis=(1, 2)), "that adds up all tokens; their mean is wanted"),
        ((weights * far**2).sum(axis=2).mean(axis=1), "that is the squared distance: take the root before weighing"),
        ((weights * np.abs(apart).sum(axis=-1)).sum(axis=2).mean(axis=1), "along the straight line: √(Δy² + Δx²)"),
        (np.full(3, far.mean()), "that is even attention; weigh with each head's own"),
    ):
        require(not np.allclose(given, wrong, rtol=1e-4), hint)
    hint = f"{np.round(given, 1).tolist()} mm instead of {right.round(1).tolist()} for three heads and six tokens"
    require(bool(np.allclose(given, right, rtol=1e-4)), hint)
    print("Right: and with even attention it is the mean distance of all pairs, which to compare with.")


def check_largest_coverage(function) -> None:
    """``function(confidence, right, target)`` -> the largest share of pages that may be answered."""
    function = learners(function)
    sure = [0.9, 0.6, 0.8, 0.5, 0.7]
    if function(np.array(sure), np.array([True] * 5), 0.9) is None:
        print("Not answered yet: sort by confidence, then the share right among the first 1, 2, 3 … pages.")
        return
    for right, target, wanted, hint in (
        ([1, 1, 1, 1, 1], 0.9, 1.0, "all are right: everything may be answered"),
        ([1, 0, 1, 0, 1], 0.9, 0.6, "the surest come first: sort by confidence before you count"),
        ([1, 0, 1, 0, 1], 0.75, 0.8, "three of the surest four are right, and exactly 0.75 is enough"),
        ([1, 1, 0, 1, 1], 0.8, 1.0, "the second surest is wrong, but four of five are right: look on after a mistake"),
        ([0, 1, 1, 1, 1], 0.9, 0.0, "the surest page is wrong, and no share of the pages reaches 0.9: that is 0.0"),
    ):
        given = function(np.array(sure), np.array(right, dtype=bool), target)
        told = f"right {right} at confidences {sure}, target {target}"
        given = number(given, f"{told}: one share is wanted")
        require(given <= 1, f"{told}: give a share of the pages, not their number")
        require(bool(np.isclose(given, wanted)), f"{told}: {given:.2f} instead of {wanted:.2f}: {hint}")
    print("Right. On few pages that coverage is chosen by luck, too: test it on others.")


def check_blank_form(answer) -> None:
    """Accuracy, balanced accuracy and macro-F1 of always answering Abnormal heartbeat, 140 of 295 pages."""
    if answer is None:
        print(
            "Not answered yet: recall is 1 for one condition and 0 for three; its precision is its share of the pages."
        )
        return
    given = array(answer, (3,), "give three numbers: (accuracy, balanced accuracy, macro-F1)")
    share = 140 / 295
    f1 = 2 * share / (1 + share)
    right = np.array([share, 0.25, f1 / 4])
    require(not np.isclose(given[0], 1), "accuracy: 140 of all 295 pages are right")
    require(abs(given[0] - right[0]) < 2e-3, f"accuracy {given[0]:.3f}: the share of right answers, 140 of 295")
    require(not np.isclose(given[1], 1), "balanced accuracy is the mean recall of all four conditions: 1, 0, 0 and 0")
    require(abs(given[1] - right[1]) < 2e-3, f"balanced accuracy {given[1]:.3f}: the mean of the recalls 1, 0, 0 and 0")
    require(abs(given[2] - f1) > 2e-3, "that is the F1 of Abnormal heartbeat; the other three count as 0 in the mean")
    require(abs(given[2] - share / 4) > 2e-3, "F1 is 2 · precision · recall / (precision + recall), not the precision")
    require(
        abs(given[2] - right[2]) < 2e-3, f"macro-F1 {given[2]:.3f}: a quarter of the F1 of the one condition answered"
    )
    print(f"Right: {right[0]:.3f}, {right[1]:.3f}, {right[2]:.3f}. Accuracy alone looks like half a success.")
