"""From traces to beats and waves: against what the simulated heart did, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartai_utils import page as p
from heartai_utils.alike import traces_of
from heartai_utils.beat_features import AFTER, BEFORE, TERRITORIES, WAVES, find_beats, measure
from heartai_utils.dataset import read_catalogue
from heartai_utils.simulation import LEADS, Recording, simulate_recording

HEARTS = [(condition, seed) for seed in range(5) for condition in range(4)]


@pytest.fixture(scope="module")
def hearts() -> list[tuple]:
    """Recordings with their beats and measurements."""
    found = []
    for condition, seed in HEARTS:
        recording = simulate_recording(condition, 100 + seed)
        beats = find_beats(traces_of(recording))
        found.append((recording.facts, beats, measure(beats)))
    return found


def test_the_heart_rate_is_that_of_the_heart(hearts):
    off = [abs(found["heart_rate"] / facts["heart_rate_bpm"] - 1) for facts, _, found in hearts]
    assert np.median(off) < 0.01 and sum(each < 0.05 for each in off) >= 0.9 * len(off)


def test_r_peaks_are_where_the_heart_had_them(hearts):
    """In a wide or turned QRS the leads together may be furthest from the line elsewhere, in each beat alike."""
    for facts, beats, _ in hearts:
        true = np.array(facts["r_peaks_s"])
        true = true[(true > 0.2) & (true < 9.8)]
        away = beats.peaks[:, None] / p.PX_PER_SECOND - true
        nearest = away[np.abs(away).argmin(axis=0), np.arange(len(true))]
        assert abs(np.median(nearest)) < 0.05
        assert np.mean(np.abs(nearest - np.median(nearest)) < 0.03) > 0.75


def test_qrs_begins_and_ends_where_it_does(hearts):
    width = [found["qrs_ms"] - facts["qrs_ms"] for facts, _, found in hearts]
    assert abs(np.median(width)) < 15 and np.quantile(np.abs(width), 0.8) < 40


def test_st_levels_are_those_of_the_heart(hearts):
    regular = [(facts, found) for facts, _, found in hearts if set(facts["beat_kinds"]) == {"N"}]
    pairs = np.array([(facts["st_mv"][lead], found[f"ST60 {lead}"]) for facts, found in regular for lead in LEADS])
    assert np.median(np.abs(pairs[:, 0] - pairs[:, 1])) < 0.05 and np.corrcoef(pairs.T)[0, 1] > 0.85


def test_q_waves_are_seen_where_the_heart_has_them(hearts):
    deep, none = [], []
    for facts, _, found in hearts:
        for lead in ("I", "II", "aVF", "V3", "V4", "V5", "V6"):  # aVR is all Q, in V1 and V2 a small r may be lost
            if facts["q_mv"][lead] >= 0.3 and facts["q_ms"][lead] >= 30:
                deep.append(found[f"Q {lead}"])
            elif facts["q_mv"][lead] < 0.02:
                none.append(found[f"Q {lead}"])
    assert len(deep) > 5 and np.mean(np.array(deep) < -0.1) > 0.85
    assert np.median(none) > -0.05


def test_every_wave_has_a_name_in_every_lead_and_territory(hearts):
    found = hearts[0][2]
    assert {f"{wave} {lead}" for wave in WAVES for lead in LEADS} <= set(found)
    assert found["ST60 inferior"] == pytest.approx(
        np.mean([found[f"ST60 {lead}"] for lead in TERRITORIES["inferior"]]), abs=1e-6
    )
    assert all(list(other) == list(found) for _, _, other in hearts), "another order would be another column"


def test_beats_lie_on_one_another_at_the_r_peak(hearts):
    for _, beats, _ in hearts:
        assert beats.averaged.shape == (12, BEFORE + AFTER) and beats.averaged.dtype == np.float32
        assert 0 < beats.onset < BEFORE < beats.end < BEFORE + AFTER
        assert (np.diff(beats.peaks) > 0).all() and beats.usual.any()


def test_a_taller_trace_has_taller_waves():
    traces = traces_of(simulate_recording("Myocardial infarction", 7))
    one, other = (
        measure(find_beats(replace(traces, signals=k * traces.signals, strip=k * traces.strip))) for k in (1, 2)
    )
    assert other["heart_rate"] == one["heart_rate"]
    for name in one:
        if name.split()[0] in ("R", "ST60", "T", "J", "start", "area"):
            assert other[name] == pytest.approx(2 * one[name], abs=0.02), name


def test_a_trace_off_the_line_has_the_same_waves():
    traces = traces_of(simulate_recording("History of MI", 8))
    moved = replace(traces, signals=traces.signals + np.float32(0.5), strip=traces.strip - np.float32(0.5))
    one, other = measure(find_beats(traces)), measure(find_beats(moved))
    assert one == pytest.approx(other, abs=1e-3, nan_ok=True)


def test_extra_beats_are_told_from_the_usual_ones():
    recording = next(
        found
        for seed in range(200)
        if (found := simulate_recording("Abnormal heartbeat", seed)).facts["beat_kinds"].count("V") in (1, 2)
    )
    beats = find_beats(traces_of(recording))
    kinds = np.array(recording.facts["beat_kinds"])
    true = np.array(recording.facts["r_peaks_s"])
    nearest = np.abs(beats.peaks[:, None] / p.PX_PER_SECOND - true).argmin(axis=1)
    assert (kinds[nearest[~beats.usual]] == "V").any() and (kinds[nearest[beats.usual]] == "N").all()


def test_a_beat_whose_tip_was_not_read_is_not_missed():
    """The strip's tip meets the row above, and the leads above are not read there at all."""
    traces = traces_of(simulate_recording("Normal", 3, heart_rate=70))
    whole = find_beats(traces)
    peak = next(each for each in whole.peaks[3:] if 30 < each % p.WINDOW_COLUMNS < p.WINDOW_COLUMNS - 30)
    signals, strip = traces.signals.copy(), traces.strip.copy()
    window, place = peak // p.WINDOW_COLUMNS, peak % p.WINDOW_COLUMNS
    for lead, row in zip(LEADS, signals, strict=True):
        if int(p.lead_window(lead)[3] // p.WINDOW_SECONDS) == window:
            row[place - 15 : place + 15] = row[place - 16]
    low = strip[peak - 16]
    strip[peak - 15 : peak + 15] = low + 0.35 * (strip[peak - 15 : peak + 15] - low)
    found = find_beats(replace(traces, signals=signals, strip=strip))
    assert len(found.peaks) == len(whole.peaks)
    assert np.abs(found.peaks - whole.peaks).max() < 10


def test_a_flat_page_has_no_beats_and_no_numbers():
    beats = find_beats(traces_of(Recording(np.zeros((12, 5000), np.float32), 500)))
    found = measure(beats)
    assert len(beats.peaks) == 0 and np.isnan(list(found.values())).all() and np.isnan(beats.heart_rate)


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_columns_not_read_never_break_it(seed, share):
    rng = np.random.default_rng(seed)
    traces = traces_of(simulate_recording(int(rng.integers(4)), int(rng.integers(50))))
    traces = replace(
        traces, unread=rng.random(traces.unread.shape) < share, strip_unread=rng.random(traces.strip.shape) < share
    )
    found = measure(find_beats(traces))
    assert not np.isinf(list(found.values())).any()
    assert 20 < found["heart_rate"] < 300


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3))
def test_noise_never_breaks_it(seed, size):
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, size, (12, 5000)).astype(np.float32)
    found = measure(find_beats(traces_of(Recording(noise, 500))))
    assert not np.isinf(list(found.values())).any()


def test_what_is_printed_beside_the_trace_changes_nothing():
    recording = simulate_recording("Abnormal heartbeat", 4)
    other = p.PageDetails("168590", "Female", heart_rate=44, lead_off=True, date_format="d-m-Y")
    one, two = (
        measure(find_beats(p.read_traces(p.draw_page(recording, details=details)))) for details in (None, other)
    )
    assert one == pytest.approx(two, abs=0, nan_ok=True)


def test_real_hearts_beat_as_often_as_printed(real_pages):
    catalogue, _ = read_catalogue(real_pages)
    pages = catalogue.drop_duplicates("copy_group").iloc[::36]
    off = [
        abs(find_beats(p.read_traces(p.load_page(row.path, grey=True))).heart_rate - row.printed_hr_bpm)
        for row in pages.itertuples()
    ]
    assert np.median(off) < 2 and np.mean(np.array(off) < 5) > 0.8, off
