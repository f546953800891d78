"""Checks of the exercises of chapter 10."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from heartai_utils._checks import array, learners, number, require, shown


def check_none_wrong(answer) -> None:
    """Largest share of errors that 0 of 598 verdicts allow (95 %), taken for independent, and 0 of a third of them."""
    if answer is None:
        print("Not answered yet: by the rule of three, 0 errors in n independent cases allow a share of up to 3 / n.")
        return
    naive, honest = array(answer, (2,), "give two shares: (for 598 verdicts, for the pages behind them)")
    require(naive < 1 and honest < 1, "give shares of 1, not percentages or numbers of pages")
    require(not np.isclose(naive, 0), "that none was wrong does not show that none can be: by the rule of three, 3 / n")
    require(not np.isclose(naive, 1 / 598, rtol=1e-2), "3 / n: one error in 598 would often have been missed")
    require(bool(np.isclose(naive, 3 / 598, rtol=1e-2)), f"first number: {naive:.4f}; the rule of three with n = 598")
    require(not np.isclose(honest, naive), "three verdicts on one page are no three pages: n is a third of 598")
    require(not np.isclose(honest, 1 / 598, rtol=1e-2), "a third of the verdicts: the share becomes three times larger")
    require(bool(np.isclose(honest, 9 / 598, rtol=1e-2)), f"second number: {honest:.4f}; 3 / (598 / 3)")
    print(f"Right: {naive:.3f} and {honest:.3f}. So 598 of 598 is no proof that it is always right.")


def check_right_share(function) -> None:
    """``function(prevalence, recall, false_alarms)`` -> the share of alarms that are right."""
    function = learners(function)
    if function(0.5, 0.9, 0.1) is None:
        print("Not answered yet: of 1000 people, how many alarms are right, how many are false? Divide.")
        return
    for prevalence, recall, false_alarms, hint in (
        (0.5, 0.9, 0.1, "of 1000 people 450 alarms are right and 50 false"),
        (0.1, 1.0, 0.1, "false alarms come from those without an infarction alone: a tenth of 900, not of 1000"),
        (0.01, 0.9, 0.05, "of 1000 people 9 alarms are right; from 990 others come 49.5 false ones"),
        (0.3, 0.6, 0.0, "without false alarms every alarm is right, however many are missed"),
        (0.0, 0.9, 0.05, "where nobody has an infarction, no alarm is right"),
    ):
        right = prevalence * recall
        wanted = right / (right + (1 - prevalence) * false_alarms)
        told = f"prevalence {prevalence}, recall {recall}, false alarms {false_alarms}"
        given = number(function(prevalence, recall, false_alarms), f"{told}: one share is wanted")
        require(bool(np.isclose(given, wanted, atol=1e-4)), f"{told}: {given:.3f} instead of {wanted:.3f}: {hint}")
    print("Right. One and the same model: its alarms are worth what the ward it stands in makes of them.")


def check_needed_pair(function) -> None:
    """``function(ask, leads)`` -> the two leads without which the probability is lowest, and that probability."""
    function = learners(function)
    leads = ["I", "V1", "V2", "V3"]
    worlds = (
        ({"V2"}, {frozenset({"V1", "V3"}): 0.2}, "V1 and V3 hide each other: cover both at once, do not add up falls"),
        (set(), {frozenset({"I", "V2"}): 0.3, frozenset({"V1", "V2"}): 0.4}, "the lowest probability wins"),
        (set(), {frozenset({"V2", "V3"}): 0.6}, "the last pair counts, too"),
    )
    for number_, (weak, pairs, hint) in enumerate(worlds):

        def ask(covered, weak=weak, pairs=pairs):
            require(
                not isinstance(covered, str) and all(lead in leads for lead in covered),
                f"ask wants a set of leads such as {{'I', 'V1'}}, not {shown(covered)}",
            )
            return pairs.get(frozenset(covered), 0.95 - 0.2 * len(weak & set(covered)))

        given = function(ask, list(leads))
        if given is None and number_ == 0:
            print("Not answered yet: go through all pairs of leads, ask(…) without both, and keep the lowest.")
            return
        pair = isinstance(given, tuple | list) and len(given) == 2 and not isinstance(given[0], str)
        require(pair, f"give the two leads and the probability, such as ({{'I', 'V1'}}, 0.4), not {shown(given)}")
        wanted = min(combinations(leads, 2), key=lambda two: ask(set(two)))
        require(
            set(given[0]) == set(wanted),
            f"{sorted(given[0])} instead of {sorted(wanted)}: {hint}",
        )
        lowest = number(given[1], "the second part is the probability without both leads")
        require(bool(np.isclose(lowest, ask(set(wanted)))), f"{lowest:.2f} instead of {ask(set(wanted)):.2f}: {hint}")
    print("Right. With twelve leads that is 66 questions; with all sets of leads it would be 4096.")
