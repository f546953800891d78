"""Fidelity: where a thumbnail shows which lead, what is read back, and every measure of what shrinking does to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from heartai_utils import page
from heartai_utils.downsampling import (
    JPEG_METHODS,
    METHODS,
    OWN,
    PLACES,
    SIZE,
    Truth,
    blank_page,
    change_under_shifts,
    fidelity,
    page_errors,
    paper_thumbnail,
    pixel_ms,
    pixel_mv,
    shifted,
    shrink,
    summarise_errors,
    thumbnail_window,
    to_grey,
    tops_from_thumbnail,
    trace_errors,
    trace_from_thumbnail,
)
from heartai_utils.simulation import LEADS, Recording, simulate_recording

QUICK = [method for method in METHODS if not method.startswith("tf-")]
WIDENING = ["area", "pillow-box", "pillow-bilinear", "pillow-hamming", "pillow-bicubic", "pillow-lanczos", OWN]
SAMPLING = ["nearest", "linear", "cubic", "lanczos", "pillow-nearest"]
RATE = 500.0
PEAKS = np.arange(0.45, 9.9, 0.7)
WHITE = np.full(SIZE[::-1], 255, np.uint8)


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [simulate_recording("Normal", seed=1), simulate_recording("Myocardial infarction", seed=2)]


@pytest.fixture(scope="module")
def files(tmp_path_factory, recordings):
    """The recordings as JPEG files."""
    folder = tmp_path_factory.mktemp("pages")
    for number, recording in enumerate(recordings):
        (folder / f"{number}.jpg").write_bytes(page.encode_page(page.draw_page(recording)))
    return sorted(folder.glob("*.jpg"))


def heart(r: float = 1.0, st: float = 0.0, q_ms: float = 0.0, level: float = 0.0) -> Recording:
    """Beats alike in all leads: a triangle of R from 40 ms before to 40 ms after the peak, Q before it, ST after it."""
    seconds = np.arange(round(10 * RATE)) / RATE
    after = seconds[:, None] - PEAKS
    wave = r * np.clip(1 - np.abs(after) / 0.04, 0, None)
    wave -= 0.3 * ((after < -0.04) & (after >= -0.04 - q_ms / 1000))
    wave += st * ((after > 0.04) & (after < 0.2))
    facts = {"r_peaks_s": PEAKS.tolist(), "beat_kinds": ["N"] * len(PEAKS), "onset_ms": -40 - q_ms, "j_ms": 40}
    return Recording(np.tile((level + wave.sum(axis=1)).astype(np.float32), (12, 1)), RATE, None, facts)


def errors_of(drawn: Recording, truth: Recording, method: str = OWN) -> dict[str, float]:
    """The figures of a page that shows another heart than the truth."""
    image = shrink(to_grey(page.draw_page(drawn)), method)
    return summarise_errors([page_errors(image, Truth.of_recording(truth), paper=paper_thumbnail(method))])


# --- reading back -------------------------------------------------------------------------------------------


def test_what_a_pixel_is():
    assert pixel_ms() == pytest.approx(44, abs=0.2) and pixel_mv() == pytest.approx(0.11, abs=0.002)
    assert pixel_ms((512, 364)) == pytest.approx(pixel_ms() / 2)
    assert pixel_mv((512, 364)) == pytest.approx(pixel_mv() / 2)
    assert pixel_ms(crop="grid") < pixel_ms() and pixel_mv(crop="grid") < pixel_mv()


@pytest.mark.parametrize("crop", [None, "grid"])
@pytest.mark.parametrize("size", [SIZE, (512, 364), (2000, 1200)])
def test_windows_lie_within_their_lead(crop, size):
    for lead in PLACES:
        for shift in (0, 5):
            window = thumbnail_window(lead, size, crop, shift=shift)
            assert len(window.mv) == window.rows.stop - window.rows.start
            assert len(window.seconds) == window.columns.stop - window.columns.start + 1
            begin = 0 if lead == "strip" else 2.5 * (LEADS.index(lead) // 3)
            end = 10 if lead == "strip" else begin + 2.5
            assert begin < window.seconds[0] and window.seconds[-1] <= end
            assert window.seconds[-1] - window.seconds[0] > (9 if lead == "strip" else 1.9)
            assert np.allclose(np.diff(window.seconds) * 1000, pixel_ms(size, crop))
            assert np.allclose(np.diff(window.mv), -pixel_mv(size, crop)) and np.abs(window.mv).max() <= 1.7


@pytest.mark.parametrize(("crop", "shift"), [(None, 0), ("grid", 0), (None, 5)])
@pytest.mark.parametrize("level", [-0.6, 0.0, 0.25, 1.0])
def test_a_level_line_is_read_back(level, crop, shift):
    recording = Recording(np.full((12, 5000), level, np.float32), RATE)
    image = shrink(shifted(to_grey(page.draw_page(recording)), shift), crop=crop)
    paper = paper_thumbnail(crop=crop, shift=shift)
    for lead in PLACES:
        trace = trace_from_thumbnail(image, lead, crop=crop, paper=paper, shift=shift)
        assert np.abs(np.median(trace) - level) < pixel_mv(crop=crop) / 2, lead
        assert not np.isnan(trace).any()
    if not shift:
        assert np.abs(np.median(trace_errors(image, recording, crop=crop, paper=paper))) < 0.03


def test_a_plateau_is_as_high_as_its_top():
    ones = np.zeros((12, 5000), np.float32)
    ones[:, (np.arange(5000) // 100) % 2 == 1] = 0.8  # steps, so that most columns beside them hold a stroke
    image = shrink(to_grey(page.draw_page(Recording(ones, RATE))))
    tops = tops_from_thumbnail(image, "strip", paper=paper_thumbnail())
    assert np.quantile(tops, 0.8) == pytest.approx(0.8, abs=pixel_mv())
    assert np.nanmax(trace_from_thumbnail(image, "strip", paper=paper_thumbnail())) < 0.9
    assert np.isnan(tops_from_thumbnail(WHITE, "strip")).all()


def test_no_ink_is_no_trace():
    assert np.isnan(trace_from_thumbnail(WHITE, "V2")).all()
    with pytest.raises(ValueError, match="V7"):
        trace_from_thumbnail(WHITE, "V7")
    with pytest.raises(ValueError, match="to_grey"):
        trace_from_thumbnail(np.dstack([WHITE] * 3), "V2")
    with pytest.raises(ValueError, match="paper"):
        trace_from_thumbnail(WHITE, "I", paper=np.zeros((91, 128), np.uint8))


@pytest.mark.parametrize("method", ["area", "linear", *JPEG_METHODS])
def test_the_empty_page_leaves_no_trace_of_itself(method):
    paper = paper_thumbnail(method)
    assert not blank_page().flags.writeable and paper.min() < 240  # the print is on it
    assert np.isnan(trace_from_thumbnail(paper, "V2", paper=paper)).all()


# --- the truth ----------------------------------------------------------------------------------------------


def test_the_truth_of_a_page_is_that_of_its_recording(recordings, files):
    for recording, path in zip(recordings, files, strict=True):
        told, read = Truth.of_recording(recording), Truth.of_page(page.load_page(path, grey=True))
        for place in range(len(PLACES)):
            window = thumbnail_window(PLACES[place])
            error = told.means(place, window.seconds) - read.means(place, window.seconds)
            assert np.sqrt(np.mean(error**2)) < 0.02, PLACES[place]
        for told_s, read_s in ((told.onsets_s, read.onsets_s), (told.ends_s, read.ends_s)):
            inside = told_s[(told_s > 0.2) & (told_s < 9.7)]
            nearest = np.abs(read_s[:, None] - inside).min(axis=0)
            assert np.quantile(nearest, 0.8) < 0.025


def test_what_cannot_be_read_is_not_compared(recordings):
    truth = Truth.of_recording(recordings[0])
    hidden = truth.known.copy()
    hidden[LEADS.index("V2")] = False
    image = shrink(to_grey(page.draw_page(recordings[0])))
    all_columns = page_errors(image, truth).trace
    fewer = page_errors(image, replace(truth, known=hidden)).trace
    assert len(all_columns) - len(fewer) == len(trace_from_thumbnail(image, "V2"))


def test_ventricular_beats_are_left_out():
    recording = simulate_recording("Abnormal heartbeat", seed=3, kind="bigeminy")
    kinds = recording.facts["beat_kinds"]
    assert "V" in kinds and len(Truth.of_recording(recording).onsets_s) == len(kinds) - kinds.count("V")


def test_columns_with_a_neighbours_trace_are_not_compared():
    signals = np.zeros((12, 5000), np.float32)
    alone = trace_errors(WHITE, Recording(signals, RATE))
    signals[LEADS.index("aVL"), 1250:2500] = 3.0  # up into aVR's row for the whole of its window
    crossed = trace_errors(WHITE, Recording(signals, RATE))
    lost = sum(len(trace_from_thumbnail(WHITE, lead)) for lead in ("aVR", "aVL"))
    assert len(alone) - len(crossed) == lost


# --- measures -----------------------------------------------------------------------------------------------


def test_a_trace_that_lies_higher_is_an_error_of_just_that():
    told = errors_of(heart(level=0.2), heart())
    assert told["rmse_mv"] == pytest.approx(0.2, abs=0.02) and told["lost_columns"] == 0
    assert told["st_error_mv"] < 0.03  # for the PR level lies as much higher
    assert errors_of(heart(), heart())["rmse_mv"] < 0.03


@pytest.mark.parametrize("st", [-0.2, 0.1, 0.3])
def test_an_st_level_that_is_not_there(st):
    told = errors_of(heart(st=st), heart())
    assert told["st_median_mv"] == pytest.approx(abs(st), abs=0.04)
    assert told["st_error_mv"] == pytest.approx(abs(st), abs=0.04)
    assert errors_of(heart(st=st), heart(st=st))["st_error_mv"] < abs(st) / 2
    assert told["beats"] > 40


@pytest.mark.parametrize("kept", [0.9, 0.7, 0.4])
def test_an_r_wave_cut_short(kept):
    before = errors_of(heart(), heart())["r_attenuation"]
    assert 0 < before < 0.15
    assert errors_of(heart(r=kept), heart())["r_attenuation"] == pytest.approx(1 - kept, abs=0.1)
    assert np.isnan(errors_of(heart(r=0.4), heart(r=0.4))["r_attenuation"])  # none is tall enough to count


def test_a_q_wave_too_wide_or_gone():
    assert errors_of(heart(), heart(q_ms=60))["q_error_ms"] == pytest.approx(60, abs=5)
    narrow = replace(Truth.of_recording(heart(q_ms=150)), signals=Truth.of_recording(heart(q_ms=50)).signals)
    image = shrink(to_grey(page.draw_page(heart(q_ms=150))), OWN)
    wide = page_errors(image, narrow, paper=paper_thumbnail(OWN)).q
    assert len(wide) > 40 and np.median(wide) == pytest.approx(100, abs=25)
    assert errors_of(heart(q_ms=90), heart(q_ms=90))["q_error_ms"] < pixel_ms()
    assert np.isnan(errors_of(heart(q_ms=60), heart())["q_error_ms"])  # no Q to be wide


def test_an_empty_thumbnail_has_lost_all():
    told = summarise_errors([page_errors(WHITE, Truth.of_recording(heart(q_ms=60)))])
    assert told["lost_columns"] == 1 and told["r_attenuation"] == 1
    assert told["q_error_ms"] == pytest.approx(60, abs=5)
    assert np.isnan([told["rmse_mv"], told["bridged_rmse_mv"], told["st_error_mv"]]).all()


def test_bridges_are_straight(recordings):
    image = shrink(to_grey(page.draw_page(recordings[0])), "linear")
    paper = paper_thumbnail("linear")
    plain = trace_errors(image, recordings[0], paper=paper)
    bridged = trace_errors(image, recordings[0], paper=paper, bridge=True)
    lost = np.isnan(plain)
    assert 0.1 < lost.mean() < 0.6 and not np.isnan(bridged).any()
    np.testing.assert_array_equal(plain[~lost], bridged[~lost])


def test_shifts_change_what_is_sampled_more_than_what_is_averaged(recordings, files):
    grey, truth = page.load_page(files[0], grey=True), Truth.of_recording(recordings[0])

    def change(method: str, shifts: int) -> float:
        paper = [paper_thumbnail(method, shift=shift) for shift in range(shifts)]
        return np.sqrt(np.mean(change_under_shifts(grey, truth, paper, method) ** 2))

    assert change("area", 1) == 0
    assert change("nearest", 5) > 1.5 * change("area", 5) > 0
    assert change(OWN, 5) < change("area", 5)
    assert change("jpeg-quarter", 3) > 0


def test_a_shift_is_taken_into_account(recordings, files):
    grey, truth = page.load_page(files[0], grey=True), Truth.of_recording(recordings[0])
    image, paper = shrink(shifted(grey, 8), OWN), paper_thumbnail(OWN, shift=8)
    right = summarise_errors([page_errors(image, truth, paper=paper, shift=8)])["rmse_mv"]
    wrong = summarise_errors([page_errors(image, truth, paper=paper)])["rmse_mv"]
    assert right < 0.03 < 0.08 < wrong


# --- the table ----------------------------------------------------------------------------------------------


def test_fidelity_tells_good_methods_from_bad(recordings):
    table = fidelity(recordings, [*QUICK, *JPEG_METHODS], progress=False)
    assert list(table.index) == [*QUICK, *JPEG_METHODS]
    assert (table[["columns", "beats"]].nunique() == 1).all() and table["columns"].iloc[0] > 1000
    assert (table.loc[[*WIDENING, *JPEG_METHODS], "lost_columns"] <= 0.001).all()
    assert (table.loc[WIDENING, "rmse_mv"] < 0.07).all()
    assert (table.loc[SAMPLING, "lost_columns"] > 0.1).all()
    assert table.rmse_mv["area"] < table.rmse_mv["nearest"] / 2
    assert (table.loc[["nearest", "linear", "cubic", "lanczos"], "bridged_rmse_mv"] > table.rmse_mv["area"]).all()
    assert (table.loc[SAMPLING, "st_error_mv"] > table.st_error_mv["area"]).all()
    assert (table.ms > 0).all() and not table.isna().any(axis=None)


def test_the_own_method_reads_better_than_area(recordings):
    table = fidelity(recordings, [OWN, "area"], progress=False)
    assert table.rmse_mv[OWN] <= 0.035 and table.lost_columns[OWN] == 0
    measures = ["rmse_mv", "st_error_mv"]
    assert (table.loc[OWN, measures] < table.loc["area", measures]).all()


def test_files_are_measured_by_themselves_as_their_recordings(recordings, files):
    by_truth = fidelity(recordings, ["area", "jpeg-quarter"], progress=False)
    by_page = fidelity(files, ["area", "jpeg-quarter"], progress=False)
    for measure in ("rmse_mv", "st_error_mv", "r_attenuation"):
        np.testing.assert_allclose(by_page[measure], by_truth[measure], rtol=0.25)
    assert by_page["columns"].iloc[0] > 0.97 * by_truth["columns"].iloc[0]


def test_bad_input_to_fidelity(recordings, tmp_path):
    with pytest.raises(ValueError, match="at least one"):
        fidelity([])
    with pytest.raises(ValueError, match="no method"):
        fidelity(recordings, ["area", "best"])
    with pytest.raises(ValueError, match="lasts 4 s"):
        trace_errors(np.zeros((182, 256), np.uint8), Recording(np.zeros((12, 2000), np.float32), RATE))
    with pytest.raises(ValueError, match="too small"):
        fidelity(recordings, ["area"], size=(8, 8), progress=False)
    with pytest.raises(page.PageError, match="not there"):
        fidelity([tmp_path / "absent.jpg"], ["area"], progress=False)


def test_real_pages(real_pages):
    paths = sorted(real_pages.glob("*/*.jpg"))[::150]
    table = fidelity(paths, ["area", OWN, "linear"], progress=False)
    assert table.lost_columns[OWN] == 0 and table.rmse_mv[OWN] < 0.035
    assert table.rmse_mv[OWN] < table.rmse_mv["area"] and table.lost_columns["linear"] > 0.1
    assert table["columns"].iloc[0] > 700 * len(paths)
