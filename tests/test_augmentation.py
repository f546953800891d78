"""Augmented pages show the same heart: their traces are read back, and compared with what was asked for."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from heartai_utils import downsampling, page
from heartai_utils.augmentation import Augmentation, Augmenter
from heartai_utils.conditions import NAMES
from heartai_utils.simulation import LEADS, Recording, simulate_recording

NOTHING = Augmentation(0, 0, 0, 0, 0)
PAPER = downsampling.paper_thumbnail()


def grey_page(recording: Recording, quality: str | None = "high", strip: str = "II") -> np.ndarray:
    drawn = page.draw_page(recording, details=page.PageDetails(rhythm_lead=strip))
    if quality:
        drawn = cv2.imdecode(np.frombuffer(page.encode_page(drawn, quality), np.uint8), cv2.IMREAD_COLOR_RGB)
    return downsampling.to_grey(drawn)


def thumbnail(
    recording: Recording,
    quality: str | None = "high",
    strip: str = "II",
    method: str = downsampling.OWN,
    size: tuple[int, int] = downsampling.SIZE,
    crop: str | None = None,
) -> np.ndarray:
    return downsampling.shrink(grey_page(recording, quality, strip), method, size, crop=crop)


@pytest.fixture(scope="module")
def recordings():
    return [simulate_recording(NAMES[seed % 4], seed=seed) for seed in range(6)]


@pytest.fixture(scope="module")
def pages(recordings):
    return [thumbnail(recording, quality) for recording, quality in zip(recordings, ["high", "low"] * 3, strict=True)]


@pytest.fixture(scope="module")
def unchanged(recordings):
    """The whole pages, which each method makes its own thumbnails of."""
    return [grey_page(recording) for recording in recordings]


@pytest.fixture(scope="module")
def augmenter():
    return Augmenter(Augmentation())


def humps(seconds: np.ndarray, at: np.ndarray, mv: float) -> np.ndarray:
    """Waves of 60 ms (standard deviation) and this height, at these times."""
    return (mv * np.exp(-(((seconds[:, None] - at) / 0.06) ** 2) / 2)).sum(axis=1)


def made_of_humps(at: np.ndarray, mv: float = 1.0, rate: float = 500.0) -> Recording:
    wave = humps(np.arange(5000) / rate, at, mv)
    return Recording(np.tile(wave, (12, 1)).astype(np.float32), rate)


AT = np.arange(0.5, 10, 0.9)


def traces(image: np.ndarray, method: str = downsampling.OWN) -> dict[str, np.ndarray]:
    paper = PAPER if method == downsampling.OWN else downsampling.paper_thumbnail(method)
    return {lead: downsampling.trace_from_thumbnail(image, lead, paper=paper) for lead in (*LEADS, "strip")}


# --- what is asked for is what is read back ------------------------------------------------------------------


@pytest.mark.parametrize(("gain", "method"), [(0.9, "even-ink"), (1.1, "even-ink"), (1.3, "even-ink"), (1.1, "area")])
def test_a_gain_makes_every_trace_so_much_taller(gain, method):
    """By regression over all columns of a lead; a tenth of a gain of 1.1 is a tenth of a pixel at 1 mV."""
    image = thumbnail(made_of_humps(AT), method=method)
    changed = traces(Augmenter(Augmentation(), method).change(image, gain=gain), method)
    before = traces(image, method)
    slopes = [np.polyfit(before[lead], changed[lead], 1)[0] for lead in before]
    assert np.median(slopes) == pytest.approx(gain, abs=0.1 * abs(gain - 1))
    assert slopes == pytest.approx([gain] * 13, abs=0.2 * abs(gain - 1))


@pytest.mark.parametrize("shift_ms", [100.0, -100.0, 30.0, 43.9])
def test_a_shift_moves_peaks_by_so_many_milliseconds(shift_ms, augmenter):
    """The centre of each wave, from the trace read back; a pixel is 44 ms wide."""
    image = thumbnail(made_of_humps(AT))
    changed, before = traces(augmenter.change(image, shift_ms=shift_ms)), traces(image)
    moved = []
    for lead in before:
        window = downsampling.thumbnail_window(lead)
        seconds = (window.seconds[:-1] + window.seconds[1:]) / 2
        for peak in AT[(AT > seconds[0] + 0.4) & (AT < seconds[-1] - 0.4)]:
            near = np.abs(seconds - peak) < 0.4
            centres = [np.average(seconds[near], weights=t[lead][near].clip(0.05) - 0.05) for t in (before, changed)]
            moved.append(1000 * (centres[1] - centres[0]))
    assert len(moved) >= 25
    assert np.mean(moved) == pytest.approx(shift_ms, abs=3)
    assert np.max(np.abs(np.array(moved) - shift_ms)) < 22  # half a pixel


def test_wander_lifts_each_row_by_so_many_millivolts(augmenter):
    image = thumbnail(made_of_humps(AT))
    wander = np.array([0.3, -0.2, 0.1, 0.0])[:, None] * np.cos(augmenter.seconds / 2)
    changed, before = traces(augmenter.change(image, wander_mv=wander)), traces(image)
    for lead in before:
        row = page.STRIP_ROW if lead == "strip" else page.lead_window(lead)[0]
        columns = downsampling.thumbnail_window(lead).columns
        asked = wander[row, columns.start - augmenter.box[1].start : columns.stop - augmenter.box[1].start]
        np.testing.assert_allclose(changed[lead] - before[lead], asked, atol=0.03)  # a pixel is 0.11 mV


@pytest.mark.parametrize("lost", ["V1", "V6", "aVL"])
def test_a_lost_lead_is_a_flat_line_and_the_others_are_as_they_were(lost, augmenter):
    image = thumbnail(made_of_humps(AT))
    changed = augmenter.change(image, lost=lost)
    after, before = (downsampling.trace_from_thumbnail(shown, lost, paper=PAPER) for shown in (changed, image))
    assert np.abs(after).max() < 0.05 < 0.8 < before.max()
    for lead in set(downsampling.PLACES) - {lost}:
        window = downsampling.thumbnail_window(lead)
        np.testing.assert_array_equal(changed[window.rows, window.columns], image[window.rows, window.columns])


def test_a_lead_that_there_is_not(augmenter):
    with pytest.raises(ValueError, match="no lead 'V9'"):
        augmenter.change(PAPER, lost="V9")


# --- what is not asked for stays -----------------------------------------------------------------------------


def test_without_a_change_a_page_stays_as_it_is(augmenter, pages):
    for image in pages:
        np.testing.assert_array_equal(augmenter.change(image), image)
        np.testing.assert_array_equal(Augmenter(NOTHING)(image, np.random.default_rng(0)), image)


def test_print_outside_the_traces_stays(augmenter, pages):
    for number, image in enumerate(pages):
        changed = augmenter(image, np.random.default_rng(number))
        outside = np.ones(image.shape, bool)
        outside[augmenter.box] = False
        np.testing.assert_array_equal(changed[outside], image[outside])
        assert (changed != image).any()
    rows, columns = augmenter.box
    assert rows.start * page.HEIGHT / 182 > page.FRAME[1] and rows.stop * page.HEIGHT / 182 < page.FRAME[3] + 1
    assert columns.start * page.WIDTH / 256 > 132  # right of the calibration pulse


@pytest.mark.parametrize("strip", ["II", "III"])
def test_names_and_separators_stay(strip, augmenter):
    """On a page whose traces run far below the names, the names do not move with them."""
    low = Recording(np.full((12, 5000), -0.8, np.float32), 500.0)
    image = thumbnail(low, quality=None, strip=strip)
    changed = augmenter.change(image, shift_ms=100, gain=1.3)
    away = thumbnail(Recording(np.full((12, 5000), 1000, np.float32), 500.0), quality=None, strip=strip)
    for baseline in page.BASELINES:
        name = slice(*(int(y * 182 / page.HEIGHT) for y in (baseline - 30, baseline + 5)))
        np.testing.assert_array_equal(changed[name, augmenter.box[1]], away[name, augmenter.box[1]])


# --- against pages drawn of the changed recording ------------------------------------------------------------


@pytest.mark.parametrize(("shift_ms", "gain", "share"), [(50, 1.0, 0.3), (-100, 0.9, 0.4), (0, 1.1, 0.65)])
def test_a_changed_page_looks_like_the_page_of_the_changed_heart(shift_ms, gain, share, recordings, unchanged):
    """It is nearer to it, by root mean square, than the page before by this factor; its ink as much, and as sharp."""
    augmenters = {method: Augmenter(Augmentation(), method) for method in ("even-ink", "area")}
    papers = {method: downsampling.paper_thumbnail(method) for method in augmenters}
    found = {method: [] for method in augmenters}
    for recording, whole in zip(recordings, unchanged, strict=True):
        moved = np.roll(recording.signals, round(shift_ms * recording.rate / 1000), axis=1) * np.float32(gain)
        wanted = grey_page(replace(recording, signals=moved))
        for method, augmenter in augmenters.items():
            image, truth = (downsampling.shrink(drawn, method) for drawn in (whole, wanted))
            inks = papers[method] - np.stack([augmenter.change(image, shift_ms, gain), image, truth]).astype(float)
            changed, image, truth = (ink[augmenter.box] for ink in inks)
            distances = [np.square(other - truth).mean() ** 0.5 for other in (changed, image)]
            found[method].append([*distances, changed.sum() / truth.sum(), changed.std() / truth.std()])
    for values in found.values():
        after, before, ink, contrast = np.mean(values, axis=0)
        assert after < share * before
        assert ink == pytest.approx(1, abs=0.07)
        assert contrast == pytest.approx(1, abs=0.05)


def test_a_tall_beat_moves_with_the_row_it_belongs_to(augmenter):
    """V2's beats of 2.6 mV reach far into the row of V1, which is level: their tips rise, they are not pushed down.

    Resampled, a sharp tip has up to half its ink a row higher: the highest row is right to one.
    """
    wave = made_of_humps(AT[AT > 5], mv=2.6)
    signals = np.zeros_like(wave.signals)
    signals[LEADS.index("V2")] = wave.lead("V2")
    image, truth = (thumbnail(replace(wave, signals=signals * np.float32(gain))) for gain in (1.0, 1.15))
    changed = augmenter.change(image, gain=1.15)
    columns = downsampling.thumbnail_window("V2").columns
    below_v1 = slice(round(page.BASELINES[0] * 182 / page.HEIGHT) + 3, None)
    before, after, wanted = (
        np.argmax((PAPER.astype(int) - shown)[below_v1, columns] > 60, axis=0).min()
        for shown in (image, changed, truth)
    )
    assert [before - after, before - wanted] == pytest.approx([0.15 * 2.6 / downsampling.pixel_mv()] * 2, abs=1)


# --- randomness ----------------------------------------------------------------------------------------------


def test_a_page_depends_on_seed_epoch_and_number_alone(augmenter, pages):
    images = np.stack(pages)
    numbers = np.array([5, 0, 3, 1, 2, 4])
    all_at_once = augmenter.change_all(images[numbers], numbers, seed=1, epoch=2)
    for image, number in zip(all_at_once, numbers, strict=True):
        alone = augmenter.change_all(images[[number]], [number], seed=1, epoch=2)[0]
        np.testing.assert_array_equal(alone, image)
    for seed, epoch in ((0, 2), (1, 3)):
        assert (augmenter.change_all(images[numbers], numbers, seed, epoch) != all_at_once).any(axis=(1, 2)).all()
    same_image = augmenter.change_all(np.stack([pages[0]] * 2), [0, 1], 0, 0)
    assert (same_image[0] != same_image[1]).any()


@pytest.mark.parametrize("crop", [None, "grid", "traces"])
@pytest.mark.parametrize("size", [(256, 182), (128, 91), (32, 32)])
def test_other_sizes_and_the_grid_alone(size, crop, recordings):
    image = thumbnail(recordings[0], size=size, crop=crop)
    other = Augmenter(Augmentation(), crop=crop, size=size)
    changed = other(image, np.random.default_rng(0))
    assert changed.shape == image.shape and changed.dtype == np.uint8 and (changed != image).any()
    np.testing.assert_array_equal(other.change(image), image)


@pytest.mark.parametrize("method", ["area", "pillow-lanczos", "pillow-bilinear"])
def test_other_methods(method):
    """Their traces are as much taller, read back with their own paper."""
    image = thumbnail(made_of_humps(AT), method=method)
    changed = Augmenter(Augmentation(), method).change(image, gain=1.3)
    paper = downsampling.paper_thumbnail(method)
    for lead in ("I", "V5", "strip"):
        before, after = (downsampling.trace_from_thumbnail(i, lead, paper=paper) for i in (image, changed))
        found = np.isfinite(before) & np.isfinite(after)
        assert found.mean() > 0.9 and np.polyfit(before[found], after[found], 1)[0] == pytest.approx(1.3, abs=0.08)


def test_pages_shrunk_by_their_decoder_have_the_print_of_area(pages):
    changed = Augmenter(Augmentation(), "jpeg-half").change(pages[0], gain=1.1)
    np.testing.assert_array_equal(changed, Augmenter(Augmentation(), "area").change(pages[0], gain=1.1))


@pytest.mark.parametrize("image", [np.zeros((182, 256)), np.full((182, 256), 255), np.arange(182 * 256) % 251])
def test_any_image_can_be_changed(image, augmenter):
    image = image.reshape(182, 256).astype(np.uint8)
    assert augmenter(image, np.random.default_rng(0)).shape == image.shape


@pytest.mark.parametrize("settings", [{"gain": 0.6}, {"shift_ms": -1}, {"lead_loss": 1.1}, {"wander_mv": float("nan")}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))}=.*: use 0"):
        Augmentation(**settings)
