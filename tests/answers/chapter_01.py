"""Answers to the exercises of chapter 01."""

from __future__ import annotations

import numpy as np

from heartai_utils.page import PX_PER_SECOND
from heartai_utils.simulation import DOWER, LEADS

PAIRS = [("aVL", "I"), ("II", "aVF"), ("aVF", "III"), *zip(LEADS[6:-1], LEADS[7:], strict=True)]


def qrs_name(capital=0.5, q=True, qs=True, prime="'", small=True):
    def name(deflections):
        letters, rs = [], 0
        for mv in deflections:
            rs += mv > 0
            letter = "R" if mv > 0 else "S" if rs or not q else "Q"
            letter = letter.lower() if small and abs(mv) < capital else letter
            letters.append(letter + prime * (rs - 1))
        return "QS" if qs and rs == 0 else "".join(letters)

    return name


def q_criterion(pairs=PAIRS, least_ms=30, least_mv=0.1, special=True, strict=False, number=2):
    def meets(q_mv, q_ms):
        def q(lead):
            broad = q_ms[lead] > least_ms if strict else q_ms[lead] >= least_ms
            early = special and lead in ("V2", "V3") and q_ms[lead] >= 20
            return (broad and q_mv[lead] >= least_mv) or early

        return sum(map(q, LEADS)) >= number if pairs is None else any(q(a) and q(b) for a, b in pairs)

    return meets


WRONG = {
    "check_qrs_name": [
        (qrs_name(small=False), "qRs, not 'QRS'"),
        (qrs_name(q=False), "before the first R"),
        (qrs_name(qs=False), "QS, not 'Q'"),
        (qrs_name(prime=""), "prime"),
        (qrs_name(capital=0.51), "exactly 0.5"),
        (lambda deflections: ["R"], "upward"),
        (lambda deflections: "R", "qRs"),
    ],
    "check_rate_from_columns": [
        (141 / PX_PER_SECOND, "minute"),
        (PX_PER_SECOND / 141, "second"),
        (300 / (141 / 39.73), "grid"),
        (1500 / 141, "7.874"),
        (300 / 141, "large squares"),
        (70, "minute"),
        ((83.8, 84), "one number"),
        ("83.8", "one number"),
    ],
    "check_st_arrow": [
        (lambda st: np.linalg.lstsq(DOWER, st, rcond=None), "first"),
        (lambda st: DOWER.T @ st, "undo"),
        (lambda st: st, "three parts"),
        (lambda st: -np.linalg.pinv(DOWER) @ st, "sign"),
        (lambda st: np.linalg.solve(DOWER[[0, 1, 7]], st[[0, 1, 7]]), "all twelve"),
        (lambda st: np.zeros(3), "gives"),
        (lambda st: np.linalg.solve(DOWER, st), "stops with LinAlgError.*in the line “.*solve"),
    ],
    "check_q_criterion": [
        (q_criterion(pairs=None, number=1), "one lead alone"),
        (q_criterion(pairs=None), "not contiguous"),
        (q_criterion(least_ms=20), "25 ms"),
        (q_criterion(least_mv=0), "0.06 mV"),
        (q_criterion(strict=True), "at least"),
        (q_criterion(special=False), "20 ms"),
        (q_criterion(pairs=PAIRS[3:]), "aVL"),
        (lambda q_mv, q_ms: False, "V3 and V4"),
        (lambda q_mv, q_ms: True, "without any Q"),
    ],
}
ALSO_RIGHT = {
    "check_qrs_name": [qrs_name(), qrs_name(prime="′")],
    "check_rate_from_columns": [83.8, np.float32(83.77)],
    "check_st_arrow": [lambda st: np.linalg.pinv(DOWER) @ st],
    # one that says nothing instead of no
    "check_q_criterion": [q_criterion(), lambda q_mv, q_ms: True if q_criterion()(q_mv, q_ms) else None],
}
