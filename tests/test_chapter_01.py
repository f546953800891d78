"""Chapter 01: its checks take right answers and no wrong ones; its definitions hold for more than one heart."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest

from heartai_utils import exercises, simulation
from heartai_utils.exercises import NotYet
from heartai_utils.page import PX_PER_SECOND
from heartai_utils.simulation import DOWER, LEADS, simulate_recording

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "01_what_an_ecg_shows.ipynb"
WANTED = ("import numpy", "limit = ", "def level", "def pr_level", "def bell")


@pytest.fixture(scope="module")
def chapter():
    """The names that the chapter's own cells define, from those cells alone."""
    names = {}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.cell_type == "code" and any(wanted in cell.source for wanted in WANTED):
            names.setdefault("profile", "quick")
            exec(cell.source, names)
    return names


def clean(condition, seed, **options):
    return simulate_recording(condition, seed, noise=False, print_filter=None, **options)


def test_bells_add_up_to_the_normal_dipole(chapter):
    phase = np.linspace(-3, 3, 50)
    waves = simulation.NORMAL_DIPOLE
    parts = [v[:, None] * chapter["bell"](phase, c, 1, w) for c, w, v in zip(*waves, strict=True)]
    assert np.allclose(np.sum(parts, axis=0), simulation.dipole(phase))


@pytest.mark.parametrize("territory", ["anterior", "inferior", "lateral", "inferolateral"])
def test_elevation_is_found_in_the_leads_of_its_territory(chapter, territory):
    own = {f"{a}–{b}" for run in simulation.TERRITORY_LEADS[territory] for a, b in zip(run, run[1:], strict=False)}
    recordings = [clean("Myocardial infarction", seed, territory=territory, heart_rate=70) for seed in range(12)]
    found = [own & set(chapter["elevated_pairs"](chapter["st_level"](recording))) for recording in recordings]
    assert sum(map(bool, found)) >= 10  # breathing takes some just below the limit at which they were drawn


def test_normal_hearts_seldom_meet_the_criterion_at_j(chapter):
    levels = [chapter["st_level"](clean("Normal", seed)) for seed in range(40)]
    assert sum(bool(chapter["elevated_pairs"](level)) for level in levels) <= 6


def test_one_high_lead_is_not_enough(chapter):
    level = np.zeros(12)
    level[LEADS.index("V5")] = 0.5
    assert chapter["elevated_pairs"](level) == []
    level[LEADS.index("III")] = 0.5
    assert chapter["elevated_pairs"](level) == []
    level[LEADS.index("V6")] = 0.1
    assert chapter["elevated_pairs"](level) == ["V5–V6"]


# --- exercises ------------------------------------------------------------------------------------------------------


def test_unanswered_is_no_error(capsys):
    exercises.check_rate_from_columns(None)
    exercises.check_st_arrow(lambda st_mv: None)
    exercises.check_q_criterion(lambda q_mv, q_ms: None)
    assert capsys.readouterr().out.count("Not answered yet") == 3


def test_rate_right(capsys):
    exercises.check_rate_from_columns(60 * PX_PER_SECOND / 141)
    exercises.check_rate_from_columns(83.8)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, hint",
    [
        (141 / PX_PER_SECOND, "minute"),
        (PX_PER_SECOND / 141, "second"),
        (300 / (141 / 39.73), "grid"),
        (1500 / 141, "7.874"),
        (300 / 141, "large squares"),
        (70, "minute"),
        ((83.8, 84), "one number"),
    ],
)
def test_rate_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_rate_from_columns(answer)


@pytest.mark.parametrize(
    "solve", [lambda st: np.linalg.lstsq(DOWER, st, rcond=None)[0], lambda st: np.linalg.pinv(DOWER) @ st]
)
def test_arrow_right(solve, capsys):
    exercises.check_st_arrow(solve)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "solve, hint",
    [
        (lambda st: np.linalg.lstsq(DOWER, st, rcond=None), "first"),
        (lambda st: DOWER.T @ st, "undo"),
        (lambda st: st, "three parts"),
        (lambda st: -np.linalg.pinv(DOWER) @ st, "sign"),
        (lambda st: np.linalg.solve(DOWER[[0, 1, 7]], st[[0, 1, 7]]), "all twelve"),
        (lambda st: np.zeros(3), "gives"),
    ],
)
def test_arrow_wrong(solve, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_st_arrow(solve)


PAIRS = [("aVL", "I"), ("II", "aVF"), ("aVF", "III"), *zip(LEADS[6:-1], LEADS[7:], strict=True)]


def q_criterion(pairs=PAIRS, least_ms=30, least_mv=0.1, special=True, strict=False, number=2):
    def meets(q_mv, q_ms):
        def q(lead):
            broad = q_ms[lead] > least_ms if strict else q_ms[lead] >= least_ms
            early = special and lead in ("V2", "V3") and q_ms[lead] >= 20
            return (broad and q_mv[lead] >= least_mv) or early

        return sum(map(q, LEADS)) >= number if pairs is None else any(q(a) and q(b) for a, b in pairs)

    return meets


def test_q_criterion_right(capsys):
    exercises.check_q_criterion(q_criterion())
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, hint",
    [
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
)
def test_q_criterion_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_q_criterion(answer)
