"""Chapter 01: its definitions hold for more than one heart."""

from __future__ import annotations

import time
from pathlib import Path

import nbformat
import numpy as np
import pytest
from scipy.signal import find_peaks

from heartai_utils import plots, simulation
from heartai_utils.simulation import LEADS, simulate_recording

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
