"""Chapter 06: its exercises tell right from wrong, and its own definitions do what its text says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import solution_code
from chapter_code import definitions

from heartai_utils import downsampling, page, training, vit
from heartai_utils._keras import keras
from heartai_utils.simulation import LEADS, simulate_recording

TINY = training.TrainingConfig(
    vit.ViTConfig(height=32, width_px=32, header_rows=0, tokens=8, width=8, heads=2, depth=1), epochs=3, batch_size=8
)


@pytest.fixture(scope="module")
def defined() -> dict:
    """The functions that the chapter defines, executed from the notebook."""
    beat_s = np.arange(-60, 440, 4) / 1000
    return definitions("06_training_the_vit", np=np, keras=keras, page=page, LEADS=LEADS, BEAT_S=beat_s)


@pytest.fixture(scope="module")
def data() -> training.Data:
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (28, 32, 32), dtype=np.uint8), np.arange(28) % 4
    return training.Data(images[:20], labels[:20], images[20:], labels[20:])


# --- the chapter's definitions -------------------------------------------------------------------------------


def test_adam_path_is_keras_adam(defined):
    optimizer, weight = keras.optimizers.Adam(0.001, weight_decay=0.1), keras.Variable(1.0)
    for step in range(1, 31):
        optimizer.apply([keras.ops.convert_to_tensor(0.1 * (-1) ** step, "float32")], [weight])
    assert float(weight) == pytest.approx(defined["adam_path"](0.1, decay=0.1, steps=30)[-1], abs=1e-5)


def test_decoupled_decay_shrinks_alike_and_l2_does_not(defined):
    cases = [(kind, size) for kind in ("l2", "decay") for size in (10, 0.1)]
    ends = {(kind, size): defined["adam_path"](size, **{kind: 0.1})[-1] for kind, size in cases}
    assert ends["decay", 10] == pytest.approx(0.9999**3000, abs=0.005)
    assert ends["decay", 0.1] == pytest.approx(ends["decay", 10], abs=1e-3)
    assert ends["l2", 10] > 0.95 and ends["l2", 0.1] < 0.2


def test_an_epoch_by_hand_is_an_epoch_of_training(defined, data):
    """Also with a last batch that is smaller."""
    run = training.train(TINY, data, progress=False)
    model = vit.build_vit(TINY.model, 0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(training.make_optimizer(model, TINY), loss, jit_compile=False)
    by_hand = [defined["one_epoch"](model, data, TINY, epoch) for epoch in range(3)]
    assert by_hand == pytest.approx(run.history["loss"].tolist(), abs=1e-4)
    for mine, theirs in zip(model.get_weights(), run.model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-3)


def test_going_on_after_a_run_is_the_longer_run(data):
    """As the chapter says where it compares 35 epochs with 40."""
    shorter = training.train(replace(TINY, epochs=2), data, progress=False)
    order = np.random.default_rng([0, 2]).permutation(20)
    shorter.model.fit(data.train_images[order], data.train_labels[order], batch_size=8, shuffle=False, verbose=0)
    longer = training.train(TINY, data, progress=False)
    for mine, theirs in zip(shorter.model.get_weights(), longer.model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_wilson(defined):
    assert defined["wilson"](48, 48) == pytest.approx((0.926, 1.0), abs=5e-4)
    assert defined["wilson"](34, 48) == pytest.approx((0.568, 0.818), abs=5e-4)


def test_zero_gradients_show_what_decays(defined):
    model = vit.build_vit("testing")
    left = np.array(defined["shrunk_by_a_step"](model, keras.optimizers.Adam(0.1, weight_decay=0.5)))
    starts_at_0 = [variable.name in ("bias", "beta") for variable in model.trainable_variables]
    np.testing.assert_array_equal(np.isnan(left), starts_at_0)
    assert left[~np.isnan(left)] == pytest.approx(0.95)


@pytest.mark.parametrize("warmup", [0, 2])
def test_cosine_rate_is_that_of_training(defined, warmup):
    config = replace(TINY, epochs=5, learning_rate=0.3, schedule="cosine", warmup_epochs=warmup)
    rate = training.learning_rate(config, steps_per_epoch=4)
    by_hand = [defined["cosine_rate"](step, 20, 0.3, 4 * warmup) for step in range(20)]
    assert by_hand == pytest.approx([float(rate(step)) for step in range(20)], abs=1e-6)
    assert max(by_hand) == pytest.approx(0.3) and by_hand[-1] < 0.02


def test_overlay_tells_old_from_new(defined):
    before, after = np.full((2, 4), 255, np.uint8), np.full((2, 4), 255, np.uint8)
    before[:, 1], after[:, 2], before[:, 3], after[:, 3] = 0, 0, 0, 0
    paper, old, new, both = defined["overlay"](before, after)[0].astype(int)
    assert (paper == 255).all() and both.sum() < min(old.sum(), new.sum())
    assert old[0] > old[2] and new[2] > new[0], "orange and blue"


def heart(condition, **kind):
    recording = simulate_recording(condition, 4, noise=False, print_filter=None, **kind)
    return recording, downsampling.Truth.of_recording(recording)


def test_signs_are_those_that_were_simulated(defined):
    recording, truth = heart("Myocardial infarction", territory="inferior")
    signs, st = defined["signs"](truth), recording.facts["st_mv"]
    assert signs["rate (bpm)"] == pytest.approx(recording.facts["heart_rate_bpm"], rel=0.05)
    assert signs["QRS (ms)"] == pytest.approx(recording.facts["qrs_ms"], abs=0.2)
    assert max(st, key=st.get) in ("II", "III", "aVF")
    assert signs["ST level elsewhere (mV)"] == pytest.approx(max(st.values()), abs=0.06)


def test_signs_tell_the_conditions_apart(defined):
    normal = defined["signs"](heart("Normal", kind="sinus rhythm")[1])
    uneven = defined["signs"](heart("Abnormal heartbeat", kind="atrial fibrillation")[1])
    old = defined["signs"](heart("History of MI", territory="anterior")[1])
    assert uneven["RR changes by (%)"] > 2 * normal["RR changes by (%)"]
    assert old["lowest early QRS (mV)"] < normal["lowest early QRS (mV)"]
    assert old["lowest T (mV)"] < min(0, normal["lowest T (mV)"])


# --- the exercises -------------------------------------------------------------------------------------------


def test_a_step_of_adamw_is_that_of_keras():
    optimizer, variable = keras.optimizers.Adam(0.01, weight_decay=0.1), keras.Variable(1.0)
    adamw_step = solution_code.solution("check_adamw_step")
    weight, m, v = 1.0, 0.0, 0.0
    for step, gradient in enumerate((0.5, -0.2, 0.1), start=1):
        weight, m, v = adamw_step(weight, gradient, m, v, step, 0.01, 0.1)
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        assert float(variable) == pytest.approx(weight, abs=1e-5)


def test_early_stopping_is_that_of_training(data):
    """The exercise's rule applied to what the monitored pages said."""
    monitored = replace(data, monitor_images=data.train_images[:8], monitor_labels=data.train_labels[:8])
    config = replace(TINY, epochs=12, patience=1, learning_rate=0.05)
    run = training.train(config, monitored, progress=False)
    assert 1 < len(run.history) < 12, "the test needs a run that stops early"
    losses = run.history["monitor_loss"].tolist()
    stop_early = solution_code.solution("check_early_stopping")
    assert stop_early([*losses, 0.0], 1) == (len(losses), run.best_epoch)
