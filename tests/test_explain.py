"""Explanations: against counting by hand, on odd grids, and held to what a random model would show."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from heartai_utils import downsampling, explain, page, training, vit
from heartai_utils.evaluation import selective_accuracy, wilson_interval
from heartai_utils.simulation import LEADS, Recording, simulate_recording
from heartai_utils.verdict import PageReader

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import what_fools_it

ODD = vit.ViTConfig(height=19, width_px=27, patch_size=4, header_rows=1, tokens=7, width=8, heads=2, depth=3)
CONFIGS = {
    "kept": ODD,
    "kept, padded": replace(ODD, leftover="pad"),
    "all": replace(ODD, tokens=None),
    "all, padded": replace(ODD, tokens=None, leftover="pad"),
    "stem, tall patches": vit.ViTConfig(
        height=32, width_px=48, patch_size=(16, 8), stem=(4,), header_rows=0, width=8, heads=2, depth=3
    ),
}
SIZE = (200, 150)


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def odd(request) -> vit.VisionTransformer:
    return vit.build_vit(request.param, seed=3)


def noise_for(config: vit.ViTConfig) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, config.height, config.width_px), dtype=np.uint8)


@pytest.fixture
def noise(odd) -> np.ndarray:
    return noise_for(odd.config)


@pytest.fixture(scope="module")
def reader() -> PageReader:
    return PageReader()


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [simulate_recording(label % 4, seed=50 + label) for label in range(8)]


@pytest.fixture(scope="module")
def drawn(recordings) -> list[np.ndarray]:
    return [page.draw_page(recording, seed=7 + number) for number, recording in enumerate(recordings)]


@pytest.fixture(scope="module")
def thumbnails(reader, drawn) -> np.ndarray:
    return np.stack([downsampling.shrink(each, colour=False, **reader.thumbnail) for each in drawn])


# --- attention ------------------------------------------------------------------------------------------------


def test_rollout_by_hand():
    first = np.array([[[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]]])  # two heads; mean [[.5, .5], [.5, .5]]
    second = np.array([[[[0.0, 1.0], [0.0, 1.0]]]])
    # (A + I) / 2: [[.75, .25], [.25, .75]], then [[.5, .5], [0, 1]] from the left
    assert explain.rollout([first, second])[0] == pytest.approx(np.array([[0.5, 0.5], [0.25, 0.75]]))


def test_rollout_of_tokens_that_keep_to_themselves():
    eye = np.broadcast_to(np.eye(5), (2, 3, 5, 5))
    assert explain.rollout([eye] * 4) == pytest.approx(np.broadcast_to(np.eye(5), (2, 5, 5)))


def test_maps_lie_on_the_grid_and_add_up_to_one(odd, noise):
    maps = explain.rollout_maps(odd, noise, batch_size=2)
    assert maps.shape == (5, *odd.config.grid)
    assert np.nansum(maps, axis=(1, 2)) == pytest.approx(1, abs=1e-5)
    assert (np.isfinite(maps).sum(axis=(1, 2)) == odd.config.sequence_length).all()
    if odd.config.tokens:
        assert np.isnan(maps[:, 0]).all(), "no token of the header"


def test_maps_do_not_depend_on_the_batch():
    odd, noise = vit.build_vit(ODD, seed=3), noise_for(ODD)
    np.testing.assert_allclose(
        explain.rollout_maps(odd, noise, batch_size=1), explain.rollout_maps(odd, noise, batch_size=5), atol=1e-6
    )


def test_tokens_stand_where_their_ink_is():
    """The two patches with ink are kept, and stand in their rows and columns."""
    model = vit.build_vit(replace(ODD, tokens=2), seed=0)
    images = np.full((1, 19, 27), 255, np.uint8)
    images[0, 9, 22] = images[0, 15, 3] = 0
    maps = explain.rollout_maps(model, images)
    assert np.argwhere(np.isfinite(maps[0])).tolist() == [[2, 5], [3, 0]]


def test_even_attention_reaches_as_far_as_even_attention(odd, noise):
    for block in odd.blocks:
        projection = block.attention.query_key_value
        projection.set_weights([np.zeros_like(weight) for weight in projection.get_weights()])
    form = explain.Form(size=SIZE)
    found = explain.attention_distances(odd, noise, form, batch_size=2)
    assert found[["block", "head"]].to_numpy().tolist() == [[b, h] for b in (1, 2, 3) for h in (1, 2)]
    np.testing.assert_allclose(found["mm"], found["even_mm"], rtol=1e-4)


def test_distance_of_two_tokens():
    """Two patches side by side; even attention spends half on the other: half of 4 px."""
    model = vit.build_vit(vit.ViTConfig(height=4, width_px=8, patch_size=4, header_rows=0, width=8, heads=2, depth=1))
    model.blocks[0].attention.query_key_value.set_weights([np.zeros((8, 24)), np.zeros(24)])
    form = explain.Form(size=SIZE)
    found = explain.attention_distances(model, np.zeros((3, 4, 8), np.uint8), form)
    assert found["px"].tolist() == pytest.approx([2, 2])
    assert found["mm"].tolist() == pytest.approx([2 * 2213 / 200 * 25.4 / 200] * 2)


def test_ink_maps_stand_on_the_models_grid(odd, noise):
    ink = explain.ink_maps(noise, odd.config)
    assert ink.shape == (5, *odd.config.grid)
    patches = np.asarray(odd.patches(noise))
    np.testing.assert_allclose(ink.reshape(5, -1), (patches**2).sum(axis=-1), rtol=1e-4, atol=1e-4)


# --- the form ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("crop", [None, "grid", "traces"])
@pytest.mark.parametrize("size", [downsampling.SIZE, (333, 210)])
def test_the_places_tile_the_traces(crop, size):
    form = explain.Form("area", crop, size)
    times = sum(form.lead(place).astype(int) for place in downsampling.PLACES)
    assert times.max() == 1
    np.testing.assert_array_equal(times == 1, form.traces)


@pytest.mark.parametrize("crop", [None, "grid", "traces"])
def test_columns_have_the_time_that_was_drawn(crop):
    form = explain.Form("area", crop, (500, 300))
    for lead in ("I", "V6", "strip"):
        window = downsampling.thumbnail_window(lead, form.size, crop)
        middles = (window.seconds[:-1] + window.seconds[1:]) / 2
        assert form.seconds[window.columns] == pytest.approx(middles, abs=1e-6)
    across = np.diff(form.seconds) * 25  # the paper runs 25 mm a second
    assert across == pytest.approx(form.mm_per_px[1], rel=1e-6)
    assert form.mm_per_px[0] == pytest.approx(downsampling.pixel_mv(form.size, crop) * 10, rel=1e-6)


def test_the_form_of_a_model_has_the_size_that_the_record_says():
    form = explain.Form.of(vit.build_vit(ODD), {"method": "area", "crop": "grid"})
    assert (form.size, form.crop) == ((27, 19), "grid")
    recorded = explain.Form.of(vit.build_vit(ODD), {"method": "area", "crop": None, "size": [27, 19]})
    assert recorded.size == (27, 19) and recorded.lead("I").shape == (19, 27)


def test_an_unknown_lead_is_named():
    with pytest.raises(ValueError, match="V7"):
        explain.Form(size=SIZE).lead("V7")


@pytest.mark.parametrize("crop", [None, "grid"])
def test_erasing_a_lead_takes_it_and_no_other(crop, drawn):
    form = explain.Form(crop=crop)
    small = downsampling.shrink(drawn[0], crop=crop, colour=False)
    erased = form.erase(small[None], form.lead("aVL"))[0]
    for lead in LEADS:
        before, after = (
            downsampling.trace_from_thumbnail(image, lead, crop=crop, paper=form.paper) for image in (small, erased)
        )
        if lead == "aVL":
            assert np.isfinite(before).mean() > 0.95 and np.isnan(after).all()
        else:
            np.testing.assert_allclose(before, after, atol=1e-9)


def test_a_rectangle_is_nearly_the_lead(recordings):
    """Against pages on which the lead was never drawn; tall beats of other rows reach into the rectangle."""
    form, details = explain.Form(), page.PageDetails()
    left = taken = ink = 0
    for recording in recordings[:4]:
        whole = downsampling.shrink(page.draw_page(recording, details=details), colour=False).astype(int)
        signals = recording.signals.copy()
        signals[LEADS.index("V3")] = 1000  # off the page
        never = page.draw_page(replace(recording, signals=signals), details=details)
        never = downsampling.shrink(never, colour=False).astype(int)
        differs = never - form.erase(whole[None], form.lead("V3"))[0]
        left, taken = left + differs.clip(0).sum(), taken + (-differs).clip(0).sum()
        ink += (never - whole).clip(0).sum()
    assert left < 0.12 * ink and taken < 0.15 * ink


def test_swapped_margins_leave_the_traces(thumbnails):
    form = explain.Form()
    swapped = form.with_margins_of(thumbnails, thumbnails[::-1])
    np.testing.assert_array_equal(swapped[:, form.traces], thumbnails[:, form.traces])
    np.testing.assert_array_equal(swapped[:, :30], thumbnails[::-1, :30])
    np.testing.assert_array_equal(swapped[:, -5:], thumbnails[::-1, -5:])


def test_pages_cropped_to_the_grid_have_no_margins_to_swap(drawn):
    form = explain.Form(crop="grid")
    pages = np.stack([downsampling.shrink(each, crop="grid", colour=False) for each in drawn[:2]])
    np.testing.assert_array_equal(form.with_margins_of(pages, pages[::-1]), pages)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_masks_of_patches_are_those_that_the_model_cuts(config):
    form = explain.Form("area", size=config.image_size)
    model = vit.build_vit(config)
    image = np.full((1, config.height, config.width_px), 128, np.uint8)
    rng = np.random.default_rng(1)
    for row, column in rng.integers(0, config.grid, (6, 2)):
        chosen = np.zeros((1, *config.grid), bool)
        chosen[0, row, column] = True
        changed = np.where(form.patches(chosen, config), 0, image)
        assert changed.shape == image.shape
        before, after = (np.asarray(model.patches(each))[0] for each in (image, changed))
        assert np.flatnonzero((before != after).any(axis=1)).tolist() == [row * config.grid[1] + column]


# --- waves ------------------------------------------------------------------------------------------------------


def test_waves_are_where_the_heart_drew_them():
    recording = simulate_recording("Normal", seed=3, heart_rate=60)
    facts = recording.facts
    peak = facts["r_peaks_s"][3]
    moments = peak + np.array([facts["onset_ms"] - 50, 0, facts["j_ms"] + 40, facts["j_ms"] + 150, 700]) / 1000
    assert explain.waves_at(recording, moments).tolist() == ["P", "QRS", "ST", "T", ""]


def test_waves_take_the_time_that_the_intervals_say():
    recording = simulate_recording("Normal", seed=4, heart_rate=60)
    facts = recording.facts
    seconds = np.arange(facts["r_peaks_s"][1] - 0.4, facts["r_peaks_s"][2] - 0.4, 0.0005)
    waves = explain.waves_at(recording, seconds)
    for wave, milliseconds in (("P", facts["pr_ms"]), ("QRS", facts["qrs_ms"]), ("ST", explain.ST_MS)):
        assert (waves == wave).sum() / 2 == pytest.approx(milliseconds, abs=1)


def test_what_has_no_p_wave_shows_none():
    fibrillating = simulate_recording("Abnormal heartbeat", seed=1, kind="atrial fibrillation")
    waves = explain.waves_at(fibrillating, np.arange(0, 10, 0.01))
    assert "P" not in waves and "QRS" in waves


def test_ventricular_beats_are_left_out():
    recording = simulate_recording("Abnormal heartbeat", seed=2, kind="bigeminy")
    ventricular = np.array(recording.facts["beat_kinds"]) == "V"
    at_peaks = explain.waves_at(recording, np.array(recording.facts["r_peaks_s"]))
    assert ventricular.any() and not ventricular.all()
    np.testing.assert_array_equal(at_peaks == "QRS", ~ventricular)


# --- occlusion and sanity -----------------------------------------------------------------------------------------


def test_occlusion_is_prediction_without_the_place():
    odd, noise = vit.build_vit(ODD, seed=3), noise_for(ODD)
    form = explain.Form.of(odd, {"method": "area", "crop": None})
    found = explain.occlusion(odd, noise, form, ["V1", "strip"])
    assert found.shape == (2, 5, 4)
    by_hand = training.predict(odd, np.where(form.lead("strip"), form.paper, noise))
    np.testing.assert_allclose(found[1], by_hand, atol=1e-6)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=30), st.integers(0, 99))
def test_partners_have_another_condition(labels, seed):
    labels = np.array(labels)
    if len(set(labels)) == 1:
        with pytest.raises(ValueError, match="one condition"):
            explain.partners(labels, seed)
    else:
        chosen = explain.partners(labels, seed)
        assert (labels[chosen] != labels).all()
        np.testing.assert_array_equal(chosen, explain.partners(labels, seed))


def test_randomised_from_the_top():
    odd, noise = vit.build_vit(ODD, seed=3), noise_for(ODD)
    before = [weight.copy() for weight in odd.get_weights()]
    layers = [layer.name for layer in explain.layers_with_weights(odd)]
    assert layers == ["embedding", "block_1", "block_2", "block_3", "norm", "head"]
    kept_all = explain.randomised(odd, 9, kept=len(layers))
    np.testing.assert_allclose(kept_all(noise), odd(noise), atol=1e-6)
    for kept in (0, 3):
        other = explain.randomised(odd, 9, kept)
        same = [
            all(np.array_equal(a, b) for a, b in zip(x.get_weights(), y.get_weights(), strict=True))
            for x, y in zip(explain.layers_with_weights(odd), explain.layers_with_weights(other), strict=True)
        ]
        assert same == [number < kept or name == "norm" for number, name in enumerate(layers)]
    for was, is_ in zip(before, odd.get_weights(), strict=True):
        np.testing.assert_array_equal(was, is_)


MAPS = st.lists(st.floats(-100, 100), min_size=6, max_size=6)


@given(MAPS, MAPS)
def test_rank_correlation_is_spearmans(first, second):
    found = explain.rank_correlation(np.reshape(first, (1, 2, 3)), np.reshape(second, (1, 2, 3)))[0]
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-9)


def test_places_without_token_do_not_count():
    first, second = np.array([[1.0, 2.0, np.nan, 3.0, 9.0]]), np.array([[10.0, 20.0, 5.0, 30.0, np.nan]])
    assert explain.rank_correlation(first, second) == pytest.approx([1.0])
    with pytest.raises(ValueError, match="same grid"):
        explain.rank_correlation(first, second[:, :4])


def test_the_trained_models_map_is_not_that_of_random_weights(reader, thumbnails):
    maps = explain.rollout_maps(reader.model, thumbnails)
    for seed in (1, 2):
        random = explain.rollout_maps(explain.randomised(reader.model, seed), thumbnails)
        assert np.nanmean(explain.rank_correlation(maps, random)) < 0.5


def test_the_verdict_is_not_in_the_rollout(reader, thumbnails):
    """A random head turns the verdicts over and leaves every map as it was."""
    layers = explain.layers_with_weights(reader.model)
    headless = explain.randomised(reader.model, 1, kept=len(layers) - 1)
    np.testing.assert_array_equal(
        explain.rollout_maps(reader.model, thumbnails), explain.rollout_maps(headless, thumbnails)
    )
    assert np.abs(training.predict(reader.model, thumbnails) - training.predict(headless, thumbnails)).max() > 0.2


def test_without_traces_all_pages_get_one_answer(reader, thumbnails):
    form = explain.Form.of(reader.model, reader.thumbnail)
    found = training.predict(reader.model, form.erase(thumbnails, form.traces))
    assert np.ptp(found, axis=0).max() < 0.05
    assert np.ptp(training.predict(reader.model, thumbnails), axis=0).max() > 0.5


# --- selective prediction -----------------------------------------------------------------------------------------


def test_selective_accuracy_by_hand():
    labels = [0, 1, 2, 3, 0]
    probabilities = np.full((5, 4), 0.05)
    verdicts, sure = [0, 1, 0, 3, 2], [0.85, 0.55, 0.65, 0.95, 0.75]
    probabilities[range(5), verdicts] = sure
    found = selective_accuracy(labels, probabilities, [1.0, 0.4, 0.8])
    assert found["pages"].tolist() == [5, 2, 4] and found["right"].tolist() == [3, 2, 2]
    assert found["accuracy"].tolist() == [0.6, 1.0, 0.5]
    assert found["threshold"].tolist() == [0.55, 0.85, 0.65]
    assert found.loc[2, ["low", "high"]].tolist() == pytest.approx(wilson_interval(2, 4))


def test_who_knows_when_it_is_wrong_gains_by_silence():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(4, 0.5), 4000)
    labels = np.array([rng.choice(4, p=p) for p in probabilities])
    accuracy = selective_accuracy(labels, probabilities)["accuracy"]
    assert accuracy.is_monotonic_increasing and accuracy.iloc[-1] > accuracy.iloc[0] + 0.1


@pytest.mark.parametrize(
    ("probabilities", "coverages", "message"),
    [([0, 1], [0.8], "verdicts alone"), (np.eye(4)[:2], [0.0], "above 0"), (np.eye(4)[:2], [0.5, 1.2], "up to 1")],
)
def test_what_cannot_be_selected_from(probabilities, coverages, message):
    with pytest.raises(ValueError, match=message):
        selective_accuracy([0, 1], probabilities, coverages)


# --- the benchmark ------------------------------------------------------------------------------------------------


def test_the_error_of_a_calibrated_model_is_what_is_simulated():
    rng = np.random.default_rng(1)
    few, many = (what_fools_it.ece_if_calibrated(rng.dirichlet(np.ones(4), pages), 50) for pages in (60, 3000))
    assert many < 0.02 < 0.06 < few


def test_temperatures_come_from_the_other_folds():
    """A fold whose labels are exchanged changes every temperature but its own."""
    rng = np.random.default_rng(2)

    def told(exchanged: bool) -> list[float]:
        folds = []
        for number in range(5):
            probabilities = np.random.default_rng(number).dirichlet(np.full(4, 0.3), 40)
            labels = np.array([np.random.default_rng([number, i]).choice(4, p=p) for i, p in enumerate(probabilities)])
            if exchanged and number == 2:
                labels = rng.permutation(labels)
            folds.append({"labels": labels, "probabilities": {"as_printed": probabilities}})
        return what_fools_it.calibration_of(folds)["temperatures"]

    same = np.isclose(told(False), told(True))
    assert same.tolist() == [False, False, True, False, False]
