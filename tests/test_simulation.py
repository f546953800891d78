"""Simulated hearts: the leads agree, the facts are true, the kinds are what their names say."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import find_peaks

from heartai_utils.conditions import ABNORMAL_HEARTBEAT, CONDITIONS, HISTORY_OF_MI, MYOCARDIAL_INFARCTION
from heartai_utils.simulation import (
    DOWER,
    KINDS,
    LEADS,
    NORMAL_DIPOLE,
    ST_ELEVATION_MV,
    TERRITORIES,
    TERRITORY_LEADS,
    Recording,
    RecordingError,
    dipole,
    print_filter,
    project,
    simulate_recording,
)

EVERY_KIND = [(condition, kind) for condition in CONDITIONS for kind in KINDS[condition.name]]
ABNORMAL_KINDS = tuple(KINDS[ABNORMAL_HEARTBEAT.name])


def clean(condition, seed, **choices):
    return simulate_recording(condition, seed, noise=False, print_filter=None, **choices)


def worst_disagreement(recording: Recording) -> float:
    lead = {name: recording.lead(name).astype(float) for name in LEADS}
    identities = (
        lead["I"] + lead["III"] - lead["II"],
        lead["aVR"] + lead["aVL"] + lead["aVF"],
        lead["aVL"] - (lead["I"] - lead["III"]) / 2,
    )
    return max(np.abs(identity).max() for identity in identities)


def vector_magnitude(recording: Recording) -> np.ndarray:
    """The length of the dipole that explains the twelve leads best."""
    return np.linalg.norm(np.linalg.pinv(DOWER) @ recording.signals, axis=0)


def in_two_contiguous(held: dict[str, bool], territory: str) -> bool:
    return all(
        any(held[a] and held[b] for a, b in zip(run[:-1], run[1:], strict=True)) for run in TERRITORY_LEADS[territory]
    )


# --- The recording ---


@pytest.mark.parametrize(("condition", "kind"), EVERY_KIND, ids=str)
@pytest.mark.parametrize("mode", ["causal", "zero-phase", None])
def test_every_kind_gives_twelve_agreeing_leads(condition, kind, mode):
    recording = simulate_recording(condition, 3, kind=kind, print_filter=mode)
    assert recording.signals.shape == (12, 5000) and recording.signals.dtype == np.float32
    assert np.isfinite(recording.signals).all() and 0.3 < np.abs(recording.signals).max() < 6
    assert recording.condition == condition and recording.facts["kind"] == kind
    assert worst_disagreement(recording) <= 1e-6
    assert json.loads(json.dumps(recording.facts)) == recording.facts


@given(seed=st.integers(0, 2**32), condition=st.sampled_from(CONDITIONS), heart_rate=st.none() | st.floats(20, 300))
@settings(max_examples=40, deadline=None)
def test_any_seed_and_heart_rate(seed, condition, heart_rate):
    recording = simulate_recording(condition, seed, heart_rate=heart_rate)
    assert np.isfinite(recording.signals).all()
    assert worst_disagreement(recording) <= 1e-6
    assert len(recording.facts["r_peaks_s"]) == len(recording.facts["beat_kinds"]) >= 2
    assert all(0 <= at < 10 for at in recording.facts["r_peaks_s"])
    assert np.all(np.diff(recording.facts["r_peaks_s"]) > 0)


@pytest.mark.parametrize("condition", CONDITIONS, ids=str)
def test_same_seed_same_bytes_other_seed_other_heart(condition):
    first, again, other = (simulate_recording(condition, seed) for seed in (7, 7, 8))
    assert first.signals.tobytes() == again.signals.tobytes() and first.facts == again.facts
    assert np.abs(first.signals - other.signals).max() > 0.1
    from_generator = simulate_recording(condition, np.random.default_rng(7))
    assert from_generator.signals.tobytes() == first.signals.tobytes()
    assert from_generator.facts["seed"] is None


def test_global_random_state_is_neither_read_nor_set():
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tobytes()  # noqa: NPY002
    first = simulate_recording("Normal", 5)
    assert np.random.get_state()[1].tobytes() == before  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    assert simulate_recording("Normal", 5).signals.tobytes() == first.signals.tobytes()


def test_neighbouring_seeds_are_independent():
    hearts = [clean("Normal", seed) for seed in range(40)]
    amplitudes = np.array([heart.lead("V5").max() for heart in hearts])
    rates = np.array([heart.facts["heart_rate_bpm"] for heart in hearts])
    assert abs(np.corrcoef(amplitudes[:-1], amplitudes[1:])[0, 1]) < 0.4
    assert abs(np.corrcoef(amplitudes, rates)[0, 1]) < 0.4


def test_noise_and_filter_leave_the_heart_as_it_is():
    clean_one, printed = clean("MI", 11), simulate_recording("MI", 11)
    same = ("kind", "territory", "r_peaks_s", "st_mv", "q_mv", "heart_rate_bpm")
    assert all(clean_one.facts[key] == printed.facts[key] for key in same)
    assert np.corrcoef(clean_one.lead("V4"), printed.lead("V4"))[0, 1] > 0.9


def test_beats_meet_without_a_jump():
    # Between neighbours at 4 kHz the slope of a smooth trace hardly changes; a beat cut short would show as a step.
    for kind in ("sinus tachycardia", "SVT", "PVC", "bigeminy", "atrial fibrillation"):
        for seed in range(4):
            signals = clean("Abnormal heartbeat", seed, kind=kind, rate=4000).signals.astype(float)
            assert np.abs(np.diff(signals, n=2, axis=1)).max() < 0.012


def test_beats_run_over_both_ends():
    ends = np.array([clean("Normal", seed, seconds=3).signals[:, [0, -1]] for seed in range(60)])
    assert (np.abs(ends).max((0, 1)) > 0.2).all()  # some pages begin and some end within a beat


def test_rate_and_length_are_free():
    short, fast = simulate_recording("Normal", 2, seconds=4, rate=250), simulate_recording("Normal", 2, rate=1000)
    assert short.signals.shape == (12, 1000) and short.rate == 250
    assert fast.signals.shape == (12, 10_000)


def test_lead_by_name():
    recording = simulate_recording("Normal", 0)
    assert np.array_equal(recording.lead("avf"), recording.signals[LEADS.index("aVF")])
    with pytest.raises(RecordingError, match="V7.*aVR"):
        recording.lead("V7")
    with pytest.raises(RecordingError, match="12, samples"):
        Recording(np.zeros((3, 10)), 500)


# --- The clean pieces ---


def test_normal_dipole_and_its_projection():
    phase = np.linspace(-np.pi, np.pi, 400)
    vector = dipole(phase)
    assert vector.shape == (3, 400)
    assert abs(phase[np.linalg.norm(vector, axis=0).argmax()]) < 0.1  # R stands at phase 0
    leads = dict(zip(LEADS, project(vector), strict=True))
    assert leads["II"].max() > 0.5 and leads["aVR"].min() < -0.5 and leads["V1"].min() < -0.4
    np.testing.assert_allclose(leads["I"] + leads["III"], leads["II"], atol=1e-12)
    assert len(NORMAL_DIPOLE.centre) == 27


def test_inferior_st_vector_mirrors_itself_in_avl():
    seen = dict(zip(LEADS, project(np.array([[0.05], [0.28], [0.0]]))[:, 0], strict=True))
    assert seen["II"] == pytest.approx(0.31, abs=0.005)
    assert seen["III"] == pytest.approx(0.34, abs=0.005)
    assert seen["aVL"] == pytest.approx(-0.19, abs=0.005)


def test_print_filter_takes_st_down_as_measured():
    time = np.arange(0, 10, 1 / 500)
    since_r = (time - 0.4) % 0.8
    from_r = np.minimum(since_r, 0.8 - since_r)
    signal = 0.2 * ((since_r > 0.045) & (since_r < 0.3)) + np.exp(-0.5 * (from_r / 0.012) ** 2)
    signal -= 0.3 * np.exp(-0.5 * ((since_r - 0.03) / 0.01) ** 2)
    at = [int((beat + 0.105) * 500) for beat in np.arange(3.6, 8, 0.8)]
    level = [int((beat - 0.06) * 500) for beat in np.arange(3.6, 8, 0.8)]
    for mode, expected in ((None, 0.2), ("causal", 0.117), ("zero-phase", 0.185)):
        filtered = print_filter(signal, 500, mode)
        assert (filtered[at] - filtered[level]).mean() == pytest.approx(expected, abs=0.012)
    assert np.abs(print_filter(np.full((12, 2000), 3.0), 500, "causal")).max() < 1e-9  # no ringing at the edge


# --- Infarctions ---


@pytest.mark.parametrize("territory", TERRITORIES[MYOCARDIAL_INFARCTION.name])
def test_st_elevation_meets_the_universal_definition(territory):
    for seed in range(25):
        recording = clean("Myocardial infarction", seed, territory=territory)
        st_mv = recording.facts["st_mv"]
        held = {lead: st_mv[lead] >= limit for lead, limit in zip(LEADS, ST_ELEVATION_MV, strict=True)}
        assert in_two_contiguous(held, territory), (seed, st_mv)


def test_st_facts_are_what_the_signal_shows():
    for seed in range(10):
        recording = clean("Myocardial infarction", seed, rate=1000, heart_rate=55)
        facts = recording.facts
        at = np.array(facts["r_peaks_s"][1:-1]) * 1e3
        for lead in ("II", "V3", "V5"):
            level = recording.lead(lead)[np.round(at + facts["onset_ms"] - 15).astype(int)]
            st = recording.lead(lead)[np.round(at + facts["j_ms"] + 60).astype(int)]
            assert np.median(st - level) == pytest.approx(facts["st_mv"][lead], abs=0.03)


def test_criteria_hold_in_fast_hearts_that_breathe():
    # Read off the drawn recording, beat by beat, at rates at which T runs into the next P.
    for seed in range(16):
        recording = clean("MI", seed, heart_rate=120 + 4 * seed, rate=1000)
        facts = recording.facts
        at = 1e3 * np.array(facts["r_peaks_s"][1:-1])
        level, j, st = (
            recording.signals[:, np.round(at + moment).astype(int)]
            for moment in (facts["onset_ms"] - 15, facts["j_ms"], facts["j_ms"] + 60)
        )
        elevation = np.median(np.minimum(j, st) - level, axis=1)
        held = dict(zip(LEADS, elevation >= ST_ELEVATION_MV, strict=True))
        assert in_two_contiguous(held, facts["territory"]), (seed, elevation)


def test_j_points_are_told():
    facts = clean("MI", 3, territory="anterior").facts
    assert set(facts["j_mv"]) == set(LEADS)
    assert facts["j_mv"]["V3"] >= 0.2 and facts["st_mv"]["V3"] >= 0.2


def test_inferior_infarction_depresses_avl():
    levels = [clean("MI", seed, territory="inferior").facts["st_mv"] for seed in range(30)]
    assert np.mean([level["aVL"] < 0 for level in levels]) > 0.8
    assert np.median([level["III"] for level in levels]) > 0.15


@pytest.mark.parametrize("territory", TERRITORIES[HISTORY_OF_MI.name])
def test_q_waves_meet_the_universal_definition(territory):
    for seed in range(25):
        facts = clean("History of MI", seed, territory=territory).facts
        assert facts["kind"] == "Q waves"
        held = {
            lead: (facts["q_ms"][lead] >= 30 and facts["q_mv"][lead] >= 0.1)
            or (lead in ("V2", "V3") and facts["q_ms"][lead] >= 20)
            for lead in LEADS
        }
        assert in_two_contiguous(held, territory), (seed, facts["q_ms"], facts["q_mv"])


def test_normal_hearts_hardly_ever_meet_the_definitions_in_the_limb_leads():
    both = []
    for seed in range(40):
        facts = clean("Normal", seed).facts
        wide = [
            facts["q_ms"][lead] >= 30 and facts["q_mv"][lead] >= 0.1 for lead in ("II", "V2", "V3", "V4", "V5", "V6")
        ]
        assert not any(wide)
        elevated = {lead: facts["st_mv"][lead] >= 0.1 for lead in LEADS}
        both.append((elevated["III"] and elevated["aVF"]) or (elevated["aVL"] and elevated["I"]))
    assert np.mean(both) < 0.1  # as on the published pages, where lead II stands above 0.1 mV in 4 %


# --- Rhythm and kinds ---


def beats(kind: str, seeds=range(12), **choices):
    return [clean("Abnormal heartbeat", seed, kind=kind, **choices).facts for seed in seeds]


def rr_spread(facts) -> float:
    intervals = np.diff(facts["r_peaks_s"])
    return float(intervals.std() / intervals.mean())


def test_normal_rates_stay_between_50_and_90():
    rates = [clean("Normal", seed).facts["heart_rate_bpm"] for seed in range(60)]
    assert 49 <= min(rates) and max(rates) <= 91
    assert 66 < np.median(rates) < 78


@pytest.mark.parametrize("heart_rate", [20, 45, 70, 110, 170, 300])
def test_every_condition_takes_every_heart_rate(heart_rate):
    for condition in CONDITIONS:
        facts = simulate_recording(condition, 1, heart_rate=heart_rate).facts
        assert facts["heart_rate_bpm"] == pytest.approx(heart_rate, rel=0.06)


def test_rate_matched_sets_do_not_tell_the_condition_by_rate():
    rates = {
        condition.name: [
            simulate_recording(condition, seed, heart_rate=60 + 2 * seed).facts["heart_rate_bpm"] for seed in range(25)
        ]
        for condition in CONDITIONS
    }
    medians = [np.median(values) for values in rates.values()]
    assert max(medians) - min(medians) < 3


def test_atrial_fibrillation_is_irregular_and_without_p():
    fibrillation, sinus = beats("atrial fibrillation"), beats("sinus tachycardia")
    assert min(map(rr_spread, fibrillation)) > 0.1 > max(map(rr_spread, sinus))
    assert all(facts["pr_ms"] is None for facts in fibrillation)


@pytest.mark.parametrize("kind", ["SVT", "flutter 2:1"])
def test_fast_regular_rhythms(kind):
    for facts in beats(kind):
        assert rr_spread(facts) < 0.02 and facts["pr_ms"] is None
        assert facts["heart_rate_bpm"] > (149 if kind == "SVT" else 119)


def test_premature_beats():
    for facts in beats("PVC"):
        assert 1 <= facts["beat_kinds"].count("V") <= 3
    for facts in beats("bigeminy"):
        kinds = facts["beat_kinds"]
        assert all((a == "V") != (b == "V") for a, b in zip(kinds[:-1], kinds[1:], strict=True))
    for facts in beats("PAC"):
        early = facts["beat_kinds"].index("A")
        intervals = np.diff(facts["r_peaks_s"])
        if early:
            assert intervals[early - 1] < 0.9 * np.median(intervals)


def qrs_width(recording: Recording, at: float) -> float:
    """Milliseconds for which the dipole stays above a third of its peak, around one R peak."""
    magnitude = vector_magnitude(recording)
    middle = int(at * recording.rate)
    window = magnitude[max(0, middle - 100) : middle + 100]
    return 1e3 * float((window > window.max() / 3).sum()) / recording.rate


def test_ventricular_beats_are_wide():
    for seed in range(10):
        recording = clean("Abnormal heartbeat", seed, kind="bigeminy")
        widths = {"N": [], "V": []}
        for at, kind in list(zip(recording.facts["r_peaks_s"], recording.facts["beat_kinds"], strict=True))[1:-1]:
            widths[kind].append(qrs_width(recording, at))
        assert np.median(widths["V"]) > 1.5 * np.median(widths["N"])


def test_conduction_kinds_keep_their_definitions():
    assert all(facts["pr_ms"] > 200 for facts in beats("first-degree block"))
    assert all(facts["pr_ms"] <= 200 for facts in beats("sinus tachycardia"))
    for kind in ("LBBB", "RBBB", "paced"):
        assert all(facts["qrs_ms"] >= 120 for facts in beats(kind)), kind
    assert all(facts["qrs_ms"] <= 112 for facts in beats("sinus tachycardia"))
    assert all(facts["heart_rate_bpm"] < 60.5 for facts in beats("bradycardia"))
    assert set(beats("paced")[0]["beat_kinds"]) == {"P"}


def test_bundle_branch_blocks_in_v1_and_strain_in_v5():
    for seed in range(12):
        left, right = (clean("AHB", seed, kind=kind).lead("V1") for kind in ("LBBB", "RBBB"))
        assert -left.min() > left.max()
        assert right.max() > 0.2
    voltage = {
        kind: np.median([np.ptp(clean("AHB", seed, kind=kind).lead("V5")) for seed in range(12)])
        for kind in ("LVH with strain", "first-degree block")
    }
    assert voltage["LVH with strain"] > 1.3 * voltage["first-degree block"]
    assert np.median([facts["st_mv"]["V5"] for facts in beats("LVH with strain")]) < 0


def test_axis_deviation_turns_the_frontal_plane():
    def axis(recording):
        at = [int(500 * second) for second in recording.facts["r_peaks_s"][1:-1]]
        windows = [np.s_[middle - 25 : middle + 25] for middle in at]
        i, avf = (
            np.mean([recording.lead(lead)[w].max() + recording.lead(lead)[w].min() for w in windows])
            for lead in ("I", "aVF")
        )
        return np.degrees(np.arctan2(avf, i))

    axes = [axis(clean("AHB", seed, kind="axis deviation")) for seed in range(20)]
    assert np.mean([value < -25 or value > 85 for value in axes]) > 0.8


def test_r_peaks_are_where_the_dipole_is_longest():
    found = told = extra = 0
    for condition, kind in EVERY_KIND:
        for seed in range(4):
            recording = simulate_recording(condition, seed, kind=kind, noise=False, print_filter="zero-phase")
            peaks = np.array([at for at in recording.facts["r_peaks_s"] if 0.06 < at < 9.94])
            magnitude = vector_magnitude(recording)
            typical = np.median([magnitude[int(500 * at)] for at in peaks])
            beat = 60 / recording.facts["heart_rate_bpm"]
            detected, _ = find_peaks(magnitude, height=0.4 * typical, distance=max(1, int(500 * 0.38 * beat)))
            distance = np.abs(peaks[:, None] - detected[None, :] / 500).min(1)
            found, told = found + (distance <= 0.04).sum(), told + len(peaks)
            extra += max(0, len(detected) - len(peaks) - 2)
    assert found / told >= 0.99
    assert extra / told < 0.05


def beat_amplitudes(recording: Recording) -> dict[str, float]:
    """R, S and T of the median beat against the PR level, as read off a printed page."""
    at = [int(500 * second) for second in recording.facts["r_peaks_s"] if 0.3 < second < 9.3]
    beat = np.median([recording.signals[:, middle - 100 : middle + 200] for middle in at], axis=0)
    beat -= beat[:, 68:75].mean(1, keepdims=True)
    names = {}
    for lead, samples in zip(LEADS, beat, strict=True):
        r = 78 + samples[78:122].argmax()
        names[lead, "R"] = samples[r]
        names[lead, "S"] = min(0.0, samples[r:130].min())
        names[lead, "T"] = samples[140:].max()
    return names


def test_normal_amplitudes_have_the_medians_of_the_published_pages():
    # data: medians of the distinct pages of Normal, read back to mV.
    published = {
        ("I", "R"): 0.61, ("II", "R"): 0.60, ("V2", "R"): 0.57, ("V4", "R"): 1.08, ("V5", "R"): 1.03, ("V6", "R"): 0.75,
        ("V1", "S"): -0.55, ("V2", "S"): -0.79, ("V3", "S"): -0.57, ("V4", "S"): -0.31,
        ("I", "T"): 0.19, ("II", "T"): 0.22, ("V2", "T"): 0.49, ("V4", "T"): 0.39, ("V5", "T"): 0.29,
    }  # fmt: skip
    hearts = [beat_amplitudes(simulate_recording("Normal", seed)) for seed in range(80)]
    for name, expected in published.items():
        assert np.median([heart[name] for heart in hearts]) == pytest.approx(expected, abs=0.17), name


def test_frontal_axes_vary_as_on_the_published_pages():
    hearts = [beat_amplitudes(simulate_recording("Normal", seed)) for seed in range(100)]
    in_iii = np.array([heart["III", "R"] for heart in hearts])
    assert np.quantile(in_iii, 0.1) < 0.1 and 0.3 < np.quantile(in_iii, 0.9) < 0.75  # data: 0.05 and 0.49 mV


def test_noise_falls_with_the_frequency():
    rng_pairs = [
        (simulate_recording("Normal", seed), simulate_recording("Normal", seed, noise=False)) for seed in range(30)
    ]
    rest = np.array([noisy.lead("I") - still.lead("I") for noisy, still in rng_pairs if not noisy.facts["lead_off"]])
    power = np.median(np.abs(np.fft.rfft(rest, axis=1)) ** 2, axis=0)
    bands = [power[int(10 * low) : int(10 * high)].mean() for low, high in ((0.5, 1), (2, 4), (8, 16), (25, 40))]
    assert bands == sorted(bands, reverse=True)
    assert 0.005 < np.median(rest.std(axis=1)) < 0.05  # data: 0.01 to 0.04 mV


def test_rates_have_the_quantiles_of_the_published_pages():
    published = {"Normal": (61, 72, 82), "MI": (53, 74.5, 106), "AHB": (86, 105, 138), "PMI": (60, 76.5, 96.5)}
    for condition, expected in published.items():
        rates = [clean(condition, seed, seconds=4, rate=100).facts["heart_rate_bpm"] for seed in range(200)]
        np.testing.assert_allclose(np.quantile(rates, (0.1, 0.5, 0.9)), expected, rtol=0.12)


def test_shares_sum_to_one_and_are_drawn():
    for shares in (*KINDS.values(), *TERRITORIES.values()):
        assert sum(shares.values()) == pytest.approx(1)
    drawn = [simulate_recording("AHB", seed, noise=False, print_filter=None).facts["kind"] for seed in range(150)]
    assert 0.5 < drawn.count("sinus tachycardia") / 150 < 0.77
    assert len(set(drawn)) >= 7


def test_an_electrode_falls_off_now_and_then():
    off = [simulate_recording("Normal", seed) for seed in range(150)]
    flat = [recording for recording in off if recording.facts["lead_off"]]
    assert 3 <= len(flat) <= 22
    for recording in flat[:5]:
        where = recording.facts["lead_off"]
        middle = int(250 * (where["from_s"] + where["to_s"]))
        assert np.ptp(recording.lead(where["lead"])[middle - 50 : middle + 50]) < 0.1


# --- What is refused ---


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"condition": "Healthy"}, "four conditions"),
        ({"condition": "AHB", "kind": "asystole"}, "asystole.*atrial fibrillation"),
        ({"condition": "MI", "territory": "septal"}, "septal.*anterior.*inferior"),
        ({"condition": "Normal", "territory": "anterior"}, "none"),
        ({"condition": "Normal", "heart_rate": 19}, "20 to 300"),
        ({"condition": "Normal", "heart_rate": 301}, "20 to 300"),
        ({"condition": "Normal", "heart_rate": float("nan")}, "20 to 300"),
        ({"condition": "AHB", "kind": "bradycardia", "heart_rate": 90}, "20 to 59"),
        ({"condition": "Normal", "print_filter": "none"}, "causal, zero-phase"),
        ({"condition": "Normal", "rate": 40}, "100"),
        ({"condition": "Normal", "seconds": 0}, "1 or more"),
    ],
)
def test_refusals_say_what_would_do(choices, message):
    with pytest.raises(ValueError, match=message):
        simulate_recording(seed=0, **choices)


# --- WFDB records ---


def written(folder: Path, signals: np.ndarray, names: list[str], unit: str, rate: int = 250) -> Path:
    import wfdb

    wfdb.wrsamp(
        "record", fs=rate, units=[unit] * len(names), sig_name=names, p_signal=signals.T.astype(float),
        fmt=["16"] * len(names), write_dir=str(folder),
    )  # fmt: skip
    return folder / "record"


@pytest.mark.parametrize(("unit", "scale"), [("mV", 1), ("uV", 1000)])
@pytest.mark.parametrize("suffix", ["", ".hea", ".dat"])
def test_wfdb_leads_by_name_whatever_order_case_and_unit(tmp_path, unit, scale, suffix):
    original = simulate_recording("Normal", 4, rate=250)
    order = [11, 3, 0, 7, 1, 2, 10, 4, 5, 9, 6, 8]
    names = [LEADS[index].upper() for index in order] + ["vx"]
    signals = np.vstack([original.signals[order], original.signals[:1]]) * scale
    path = written(tmp_path, signals, names, unit)
    recording = Recording.from_wfdb(str(path) + suffix)
    assert recording.rate == 250 and recording.signals.dtype == np.float32 and recording.condition is None
    np.testing.assert_allclose(recording.signals, original.signals, atol=2e-3)


def test_wfdb_refusals(tmp_path):
    signals = simulate_recording("Normal", 4, rate=250).signals
    with pytest.raises(RecordingError, match="no lead V5, V6"):
        Recording.from_wfdb(written(tmp_path, signals[:10], list(LEADS[:10]), "mV"))
    with pytest.raises(RecordingError, match="mmHg"):
        Recording.from_wfdb(written(tmp_path, signals, list(LEADS), "mmHg"))
    with pytest.raises(RecordingError, match="does not exist"):
        Recording.from_wfdb(tmp_path / "nothing")
    (tmp_path / "broken.hea").write_text("not a header")
    with pytest.raises(RecordingError, match="broken cannot be read"):
        Recording.from_wfdb(tmp_path / "broken")


def test_wfdb_fills_missing_samples(tmp_path):
    signals = simulate_recording("Normal", 4, rate=250).signals.copy()
    signals[3, 100:110] = np.nan
    recording = Recording.from_wfdb(written(tmp_path, signals, list(LEADS), "mV"))
    assert recording.facts["missing_samples"] == 10
    assert np.isfinite(recording.signals).all()


def test_wfdb_real_records():
    beside = Path(__file__).resolve().parents[2] / "shared" / "real-ecg-signals"
    folder = Path(os.environ.get("HEARTAI_REAL_SIGNALS", beside))
    headers = sorted(folder.glob("*.hea"))
    if not headers:
        pytest.skip("no real signals: set HEARTAI_REAL_SIGNALS to a folder of WFDB records")
    for header in headers:
        recording = Recording.from_wfdb(header)
        assert recording.signals.shape[0] == 12 and recording.rate in (100, 1000)
        assert 0.2 < np.ptp(recording.lead("II")) < 6
        assert worst_disagreement(recording) < 0.05  # digitised lead by lead
