"""Chapter 01: its checks take right answers and no wrong ones; its definitions hold for more than one heart."""

from __future__ import annotations

import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy.signal import find_peaks

from heartai_utils import exercises, plots, simulation
from heartai_utils.exercises import NotYet
from heartai_utils.page import PX_PER_SECOND
from heartai_utils.simulation import DOWER, LEADS, simulate_recording

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "01_what_an_ecg_shows.ipynb"
WANTED = (
    "import numpy", "def bell", "heart = np.zeros", "def arrow", "lead_II = ", "leads = simulation",
    "def electrical_axis", "def level", "rate, J, ONSET", "limit = ", "centre, width, vector = ", "def turned",
    "def st_arrow_of", "def my_heart", "def readings", "def in_words", "def draw",
)  # fmt: skip


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


# --- the heart to play with -----------------------------------------------------------------------------------------


def seen(chapter, **moved):
    """ST at J, depth and width of Q by lead, of a heart of the chapter with something moved."""
    return [dict(zip(LEADS, values, strict=True)) for values in chapter["readings"](chapter["my_heart"](**moved))]


@pytest.mark.parametrize(
    "wall, up, down",
    [
        ("anterior", ("V2", "V3", "V4"), ("aVR",)),
        ("inferior", ("II", "III", "aVF"), ("I", "aVL")),
        ("lateral", ("I", "aVL", "V5", "V6"), ("III", "aVF")),
        ("posterior", (), ("V1", "V2", "V3")),
    ],
)
def test_an_arrow_raises_its_own_leads_and_lowers_those_opposite(chapter, wall, up, down):
    (before, *_), (after, *_) = seen(chapter), seen(chapter, wall=wall, st_mv=0.3)
    assert all(after[lead] - before[lead] > 0.1 for lead in up)
    assert all(after[lead] - before[lead] < -0.05 for lead in down)
    assert bool(chapter["elevated_pairs"](np.array(list(after.values())))) == (wall != "posterior")
    (reversed_st, *_) = seen(chapter, wall=wall, st_mv=-0.3)
    assert all(reversed_st[lead] < before[lead] for lead in up)


def test_nothing_moved_is_a_healthy_heart(chapter):
    st, q_mv, q_ms = seen(chapter)
    assert chapter["elevated_pairs"](np.array(list(st.values()))) == []
    assert all(q_ms[lead] < 30 for lead in LEADS if lead != "aVR") and q_mv["V6"] > 0


def test_an_early_arrow_away_from_the_front_takes_the_r_waves(chapter):
    st, q_mv, q_ms = seen(chapter, wall="anterior", q_mv=1.0, q_ms=40)
    assert all(q_mv[lead] > 0.1 and q_ms[lead] >= 30 for lead in ("V1", "V2", "V3"))
    assert all(seen(chapter)[2][lead] < 30 for lead in ("V1", "V2", "V3"))


def test_axis_and_rate_turn_up_in_the_leads_and_in_words(chapter):
    def one_and_aVF(axis):
        strip = chapter["on_strip"](chapter["my_heart"](axis=axis), 60)
        return [np.sign(lead[np.abs(lead).argmax()]) for lead in (strip[0], strip[5])]

    assert one_and_aVF(-60) == [1, -1] and one_and_aVF(60) == [1, 1] and one_and_aVF(120) == [-1, 1]
    for axis, verdict in ((-60, "to the left"), (45, "normal"), (120, "to the right")):
        assert verdict in chapter["in_words"](chapter["my_heart"](axis=axis), 70).splitlines()[0]
    assert "2.0 large squares" in chapter["in_words"](chapter["my_heart"](150), 150)
    peaks = [
        len(find_peaks(chapter["on_strip"](chapter["my_heart"](bpm), bpm, seconds=6)[10], height=1.0)[0])
        for bpm in (60, 120)
    ]
    assert peaks == [6, 12]


def test_what_the_sliders_draw(chapter):
    figure, words = chapter["draw"](wall="lateral", ST_mV=0.3)
    assert len(figure.axes) == 3 and len(figure.axes[0].lines) == 12
    anterior, inferior, lateral = words.splitlines()[1:]
    assert "criterion met" in lateral and "criterion not met" in inferior
    assert f"III {seen(chapter, axis=15, wall='lateral', st_mv=0.3)[0]['III']:+.2f}" in inferior


def test_the_sliders_are_followed_without_waiting(chapter):
    def seconds(heart_rate):
        start = time.process_time()
        plots.png(chapter["draw"](heart_rate=heart_rate)[0])
        return time.process_time() - start

    assert min(map(seconds, (60, 90, 120))) < 0.4  # 0.13 on the machine where this was written


# --- exercises ------------------------------------------------------------------------------------------------------


def test_unanswered_is_no_error(capsys):
    exercises.check_qrs_name(lambda deflections: None)
    exercises.check_rate_from_columns(None)
    exercises.check_st_arrow(lambda st_mv: None)
    exercises.check_q_criterion(lambda q_mv, q_ms: None)
    assert capsys.readouterr().out.count("Not answered yet") == 4


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


@pytest.mark.parametrize("prime", ["'", "′"])
def test_qrs_name_right(prime, capsys):
    exercises.check_qrs_name(qrs_name(prime=prime))
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, hint",
    [
        (qrs_name(small=False), "qRs, not 'QRS'"),
        (qrs_name(q=False), "before the first R"),
        (qrs_name(qs=False), "QS, not 'Q'"),
        (qrs_name(prime=""), "prime"),
        (qrs_name(capital=0.51), "exactly 0.5"),
        (lambda deflections: ["R"], "upward"),
        (lambda deflections: "R", "qRs"),
    ],
)
def test_qrs_name_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_qrs_name(answer)


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
        ("83.8", "one number"),
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


def test_a_q_criterion_that_says_nothing_instead_of_no_is_right_too(capsys):
    right = q_criterion()
    exercises.check_q_criterion(lambda q_mv, q_ms: True if right(q_mv, q_ms) else None)
    assert "Right" in capsys.readouterr().out


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
