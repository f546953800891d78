"""Checks of the exercises of chapter 09."""

from __future__ import annotations

import numpy as np

from heartai_utils._checks import array, learners, number, require, shown


def check_fresh_or_kept(answer) -> None:
    """Seconds for pages that are fresh in each of 8 epochs of 4000, and for pages that are drawn once and kept."""
    if answer is None:
        print("Not answered yet: how often is a page drawn, and how often is a kept one read, in 8 epochs of 4000?")
        return
    fresh, kept = array(answer, (2,), "give two numbers: (seconds with fresh pages, seconds with kept ones)")
    draw, read, pages, epochs = 0.08, 0.001, 4000, 8
    require(not np.isclose(fresh, draw * pages), "fresh pages are drawn anew in each of the 8 epochs")
    require(
        bool(np.isclose(fresh, draw * pages * epochs, rtol=1e-3)),
        f"fresh: {fresh:g} s; each of 8 × 4000 pages is drawn, 0.08 s each, and nothing is read",
    )
    require(not np.isclose(kept, draw * pages), "kept pages are read as well, once in each epoch")
    require(not np.isclose(kept, (draw + read) * pages), "kept pages are read in each of the 8 epochs")
    require(not np.isclose(kept, (draw + read) * pages * epochs), "kept pages are drawn once, not in every epoch")
    require(
        bool(np.isclose(kept, pages * (draw + read * epochs), rtol=1e-3)),
        f"kept: {kept:g} s; 4000 pages are drawn once, and 8 × 4000 times one is read",
    )
    print(f"Right: {fresh:.0f} s and {kept:.0f} s. The longer the training, the more a kept page pays.")


def check_has_met(function) -> None:
    """``function(used, held_out, copy_of)`` -> the sorted names of the steps that have met a held-out page."""
    function = learners(function)
    copy_of = {"a": 1, "b": 2, "c": 3, "d": 1, "e": 5, "f": 6}
    used = {"pretraining": set(), "fine-tuning": {"b", "c"}}
    if function(dict(used), {"a"}, dict(copy_of)) is None:
        print("Not answered yet: a step has met a page if the groups of its pages and of the held-out ones share one.")
        return
    for steps, held_out, wanted, hint in (
        (used, {"a"}, [], "none of its copies was used"),
        (used, {"a", "c"}, ["fine-tuning"], "c was trained on"),
        ({"tuning": {"d", "e"}}, {"a"}, ["tuning"], "d is a copy of a: compare groups, not pages"),
        (
            {"simulator": {"a", "b", "c", "e", "f"}, "early stopping": {"f"}, "training": {"b"}},
            {"f"},
            ["early stopping", "simulator"],
            "whatever a step does with a page counts, and the names are to be sorted",
        ),
    ):
        given = function({name: set(each) for name, each in steps.items()}, set(held_out), dict(copy_of))
        names_alone = isinstance(given, list | tuple) and all(isinstance(name, str) for name in given)
        require(names_alone, f"a list of names is wanted, not {shown(given)}")
        listed = {name: sorted(each) for name, each in steps.items()}
        told = f"used {listed}, held out {sorted(held_out)}"
        require(list(given) == wanted, f"{told}: {list(given)} instead of {wanted}: {hint}")
    print("Right. The simulator of this course has met the real pages; so say so wherever it is judged on them.")


def check_worth_in_pages(function) -> None:
    """``function(pages, scores, score)`` -> where a curve first reaches a score, along straight lines."""
    function = learners(function)
    pages, rising = [30, 60, 120, 240], [0.4, 0.5, 0.6, 0.7]
    if function(list(pages), list(rising), 0.65) is None:
        print("Not answered yet: find the first segment whose end reaches the score, then go along it in proportion.")
        return
    for scores, score, wanted, hint in (
        (rising, 0.65, 180.0, "halfway from 0.6 to 0.7 is halfway from 120 to 240 pages"),
        (rising, 0.5, 60.0, "exactly 0.5 is reached at 60 pages"),
        (rising, 0.7, 240.0, "the last point reaches it exactly"),
        (rising, 0.71, float("inf"), "the curve never reaches it; do not go beyond the last point"),
        (rising, 0.3, 30.0, "the smallest number measured reaches it already; fewer were not measured"),
        ([0.4, 0.6, 0.5, 0.7], 0.55, 52.5, "the curve falls again: the first time counts"),
        ([0.4, 0.4, 0.4, 0.6], 0.5, 180.0, "the curve is level first: look for the segment that reaches the score"),
    ):
        given = function(list(pages), list(scores), score)
        given = number(given, "one number of pages is wanted", finite=False)
        told = f"pages {pages}, scores {scores}, score {score}"
        require(bool(np.isclose(given, wanted, rtol=1e-6)), f"{told}: {given:.1f} instead of {wanted:.1f}: {hint}")
    print("Right. Both curves have intervals, so this number has one, too, and a wide one.")
