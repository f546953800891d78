"""Chapter 06: its exercises tell right from wrong, and its own definitions do what its text says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chapter_code import definitions

from heartai_utils import _checks_06, downsampling, exercises, page, training, vit
from heartai_utils._keras import keras
from heartai_utils.exercises import NotYet
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


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def picked(logits, labels):
    return log_softmax(logits)[np.arange(len(labels)), labels]


def naive(logits, labels):
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def test_cross_entropy_right(capsys):
    exercises.check_cross_entropy(lambda logits, labels: -picked(logits, labels).mean())
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda z, y: -picked(z, y), "one number for all pages"),
        (lambda z, y: -picked(z, y).sum(), "sum over the pages"),
        (lambda z, y: picked(z, y).mean(), "sign"),
        (lambda z, y: -picked(z, y).mean() / np.log(2), "bits"),
        (lambda z, y: -picked(z, y).mean() / np.log(10), "decimal"),
        (lambda z, y: -picked(np.exp(log_softmax(z)), y).mean(), "twice"),
        (lambda z, y: -np.exp(picked(z, y)).mean(), "logarithm of each"),
        (lambda z, y: -log_softmax(z).mean(), "its own label"),
    ],
)
def test_cross_entropy_wrong(wrong, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_cross_entropy(wrong)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_cross_entropy_that_overflows():
    with pytest.raises(NotYet, match="overflows"):
        exercises.check_cross_entropy(naive)


def adamw(weight, gradient, m, v, step, learning_rate, weight_decay, *, fault=""):
    """A right step, or one with a fault that learners make."""
    if fault == "l2":
        gradient += weight_decay * weight
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    power = 1 if fault == "power" else step
    m_hat, v_hat = m / (1 - 0.9**power), v / (1 - 0.999**power)
    if fault == "uncorrected":
        m_hat, v_hat = m, v
    move = learning_rate * m_hat / (np.sqrt(v_hat) + 1e-7)
    shrink = 1 - learning_rate * weight_decay
    if fault in ("l2", "none"):
        shrink = 1
    if fault == "rate":
        shrink = 1 - weight_decay
    weight = (weight - move) * shrink if fault == "after" else weight * shrink - move
    if fault == "momentum":
        weight = weight - 0.5 * move
    return (weight, m_hat, v_hat) if fault == "hands back" else (weight, m, v)


def test_adamw_right(capsys):
    exercises.check_adamw_step(adamw)
    assert "Right" in capsys.readouterr().out


def test_adamw_right_is_what_keras_does():
    optimizer, variable = keras.optimizers.Adam(0.01, weight_decay=0.1), keras.Variable(1.0)
    expected = _checks_06.adamw_path((0.5, -0.2, 0.1), 0.01, 0.1)
    for gradient, (weight, _, _) in zip((0.5, -0.2, 0.1), expected, strict=True):
        optimizer.apply([keras.ops.convert_to_tensor(gradient, "float32")], [variable])
        assert float(variable) == pytest.approx(weight, abs=1e-5)


@pytest.mark.parametrize(
    ("fault", "hint"),
    [
        ("l2", "no weight in it"),
        ("hands back", "uncorrected"),
        ("none", "nothing decays"),
        ("rate", "not multiplied by the learning rate"),
        ("after", "before Adam's step"),
        ("uncorrected", "having started at 0"),
        ("power", "power of the step"),
        ("momentum", "the first step gives"),
    ],
)
def test_adamw_wrong(fault, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_adamw_step(lambda *values: adamw(*values, fault=fault))


def test_adamw_returns_three_things():
    with pytest.raises(NotYet, match="three things"):
        exercises.check_adamw_step(lambda *values: adamw(*values)[:2])


@pytest.mark.parametrize("answer", [(455, 0.9775), [455, (1 - 5e-5) ** 455], np.array([455, 0.978])])
def test_steps_and_shrinkage_right(answer, capsys):
    exercises.check_steps_and_shrinkage(answer)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (455, "two numbers"),
        ((420, 0.9775), "last, smaller batch"),
        ((13, 0.9775), "one epoch"),
        ((429.84, 0.9775), "round"),
        ((455, 0.95**455), "learning_rate · weight_decay"),
        ((455, 1 - 5e-5**455), "to the power of the steps"),
        ((455, 0.0225), "what remains|that remains"),
        ((455, 0.9), "each of the 455 steps"),
    ],
)
def test_steps_and_shrinkage_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_steps_and_shrinkage(answer)


def stop_early(losses, patience):
    for run in range(1, len(losses) + 1):
        kept = int(np.argmin(losses[:run])) + 1
        if run - kept >= patience:
            break
    return run, kept


def test_early_stopping_right(capsys):
    exercises.check_early_stopping(stop_early)
    assert "Right" in capsys.readouterr().out


def test_early_stopping_is_that_of_training(data):
    """The exercise's rule applied to what the monitored pages said."""
    monitored = replace(data, monitor_images=data.train_images[:8], monitor_labels=data.train_labels[:8])
    config = replace(TINY, epochs=12, patience=1, learning_rate=0.05)
    run = training.train(config, monitored, progress=False)
    assert 1 < len(run.history) < 12, "the test needs a run that stops early"
    losses = run.history["monitor_loss"].tolist()
    assert stop_early([*losses, 0.0], 1) == (len(losses), run.best_epoch)


def against_the_epoch_before(losses, patience):
    bad = 0
    for run in range(1, len(losses) + 1):
        bad = bad + 1 if run > 1 and losses[run - 1] >= losses[run - 2] else 0
        if bad >= patience:
            break
    return run, int(np.argmin(losses[:run])) + 1


def ties_are_lower(losses, patience):
    for run in range(1, len(losses) + 1):
        kept = run - int(np.argmin(losses[:run][::-1]))
        if run - kept >= patience:
            break
    return run, kept


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda z, p: stop_early(z, p)[0], "two numbers"),
        (lambda z, p: stop_early(z, 99), "compare with the lowest"),
        (lambda z, p: (len(z), int(np.argmin(z)) + 1), "compare with the lowest"),
        (lambda z, p: stop_early(z, p)[::-1], "patience does not run out"),
        (lambda z, p: tuple(n - 1 for n in stop_early(z, p)), "patience does not run out"),
        (lambda z, p: (stop_early(z, p)[0], int(np.argmin(z)) + 1), "epoch 7 is never run"),
        (lambda z, p: stop_early(z, p + 1), "compare with the lowest"),
        (against_the_epoch_before, "compare with the lowest"),
        (ties_are_lower, "an equal loss"),
        (lambda z, p: stop_early(z, max(p, 2)), "patience 1"),
    ],
)
def test_early_stopping_wrong(wrong, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_early_stopping(wrong)


def test_not_answered_yet(capsys):
    exercises.check_cross_entropy(lambda logits, labels: None)
    exercises.check_adamw_step(lambda *values: None)
    exercises.check_adamw_step(lambda *values: (None, None, None))
    exercises.check_steps_and_shrinkage(None)
    exercises.check_early_stopping(lambda losses, patience: None)
    assert capsys.readouterr().out.count("Not answered yet: ") == 5
