"""Checks of the exercises of chapter 01."""

from __future__ import annotations

import numpy as np

from heartai_utils._checks import array, learners, number, require, shown, truth
from heartai_utils.page import PX_PER_SECOND
from heartai_utils.simulation import DOWER, LEADS


def check_qrs_name(function) -> None:
    """``function(deflections_mv)`` is to name a QRS by its deflections in the order of time."""
    function = learners(function)
    if function([-0.15, 0.9, -0.3]) is None:
        print("Not answered yet: go through the deflections and count the Rs; downward is Q while there is none.")
        return
    for heights, name, hint in (
        ([0.9], "R", "a single upward deflection"),
        ([-0.15, 0.9, -0.3], "qRs", "downward before the first R is Q, after it S; small letters below 0.5 mV"),
        ([0.2, -1.4], "rS", "no Q here: the downward deflection comes after R"),
        ([-1.1], "QS", "all of it is downward: QS, not Q"),
        ([-0.6, 0.3], "Qr", "each letter by its own size"),
        ([0.5, -0.5], "RS", "exactly 0.5 mV is a capital already"),
        ([0.3, -0.6, 0.8], "rSR'", "the second R has a prime"),
        ([-0.1, 0.9, -0.2, 0.3], "qRsr'", "the second R has a prime, small or not"),
        ([0.6, -0.7, 0.4, -0.2], "RSr's'", "the S after a second R has a prime, too"),
    ):
        given = function(list(heights))
        given = given.replace("′", "'") if isinstance(given, str) else given
        require(isinstance(given, str) and given == name, f"{heights} mV is {name}, not {shown(given)}: {hint}")
    print("Right: three letters, a size and a prime, and a picture becomes a word.")


def check_rate_from_columns(answer) -> None:
    """Beats per minute of two R peaks in columns 431 and 572 of a page."""
    if answer is None:
        print("Not answered yet: how many seconds are 141 px? The traces run at page.PX_PER_SECOND.")
        return
    answer = number(answer, "one number is wanted, in beats per minute")
    pixels = 572 - 431
    for wrong, hint in (
        (pixels / PX_PER_SECOND, "that is the RR interval in seconds; how many fit into a minute?"),
        (PX_PER_SECOND / pixels, "that is beats per second; a minute has 60"),
        (300 / (pixels / (5 * 7.946)), "that is by the dotted grid, which is 0.9 % wider than the scale of the traces"),
        (1500 / pixels, "that takes a pixel for a small square; a millimetre has 7.874 px"),
        (300 / pixels, "300 is divided by large squares, not by pixels; a large square has 39.37 px"),
    ):
        require(abs(answer - wrong) > 0.004 * wrong, hint)
    right = 60 * PX_PER_SECOND / pixels
    require(
        abs(answer - right) <= 0.3,
        f"{answer:.1f} bpm: 141 px are {pixels / PX_PER_SECOND:.3f} s; divide a minute by it",
    )
    print(f"Right: {right:.1f} bpm, or 300 divided by {pixels / PX_PER_SECOND / 0.2:.2f} large squares.")


def check_st_arrow(function) -> None:
    """``function(st_mv)`` is to find the (3,) dipole in mV that explains (12,) ST levels best."""
    function = learners(function)
    rng = np.random.default_rng(0)
    arrow = np.array([-0.05, 0.28, 0.04])
    clean, noisy = DOWER @ arrow, DOWER @ arrow + rng.normal(0, 0.05, 12)
    given = function(clean.copy())
    if given is None:
        print("Not answered yet: DOWER @ arrow = st_mv has twelve equations for three unknowns.")
        return
    require(not isinstance(given, tuple), "np.linalg.lstsq returns four things; the solution is the first")
    given = array(given, (3,), "an arrow has three parts, (3,)")
    require(
        not np.allclose(given, DOWER.T @ clean),
        "DOWER.T projects back, but does not undo: its columns are not at right angles",
    )
    require(not np.allclose(given, -arrow), "the sign: up in a lead means towards it")
    require(
        bool(np.allclose(given, arrow, atol=1e-6)),
        f"for the arrow {arrow.tolist()} seen by twelve leads it gives {np.round(given, 3).tolist()}",
    )
    best = np.linalg.lstsq(DOWER, noisy, rcond=None)[0]
    fitted = array(function(noisy.copy()), (3,), "an arrow has three parts, (3,)")
    require(
        bool(np.allclose(fitted, best, atol=1e-6)),
        "right without noise, but with noise another arrow fits better: use all twelve leads, not three of them",
    )
    print("Right: an infarction's arrow points to its wall; twelve noisy leads give it better than any three.")


def check_q_criterion(function) -> None:
    """``function(q_mv, q_ms)`` is to say whether Q meets the criterion of prior infarction in contiguous leads."""

    function = learners(function)

    def met(**leads):
        given = {lead: leads.get(lead, (0.0, 0.0)) for lead in LEADS}
        return function({lead: q[0] for lead, q in given.items()}, {lead: q[1] for lead, q in given.items()})

    deep = (0.3, 40.0)
    if met(V3=deep, V4=deep) is None:
        print("Not answered yet: first decide for each lead, then look for two neighbours in CONTIGUOUS.")
        return
    for wanted, leads, hint in (
        (False, {}, "without any Q it is not met"),
        (True, {"V3": deep, "V4": deep}, "V3 and V4, 0.3 mV and 40 ms each: met"),
        (True, {"aVL": deep, "I": deep}, "aVL and I are contiguous: met"),
        (False, {"V4": deep}, "one lead alone is not enough"),
        (False, {"V4": deep, "III": deep}, "two leads that are not contiguous are not enough"),
        (False, {"V5": (0.3, 25.0), "V6": (0.3, 25.0)}, "25 ms in V5 and V6 are too short, deep as they may be"),
        (False, {"II": (0.06, 40.0), "aVF": (0.06, 40.0)}, "0.06 mV in II and aVF are too shallow, however broad"),
        (True, {"II": (0.1, 30.0), "aVF": (0.1, 30.0)}, "exactly 0.1 mV and 30 ms are enough: at least means >="),
        (True, {"V2": (0.06, 22.0), "V3": (0.06, 22.0)}, "in V2 and V3, 20 ms are enough, whatever the depth"),
        (False, {"V2": (0.06, 15.0), "V3": (0.06, 15.0)}, "15 ms are too short in V2 and V3, too"),
        (True, {"V3": (0.06, 22.0), "V4": deep}, "each lead by its own limit: V3 by 20 ms, V4 by 30 ms and 0.1 mV"),
    ):  # fmt: skip
        require(truth(met(**leads), "True or False is wanted") == wanted, hint)
    print("Right: width and depth make it a sign, and a neighbour that agrees.")
