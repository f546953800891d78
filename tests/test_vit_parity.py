"""The Vision Transformer against itself: another backend, other number types, gradients by finite differences."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from heartai_utils import training, vit
from heartai_utils._keras import keras

to_numpy = keras.ops.convert_to_numpy
TINY = vit.ViTConfig(height=32, width_px=32, header_rows=0, tokens=10, width=8, heads=2, depth=2)
PAGE = vit.ViTConfig(tokens=48, width=32, heads=2, depth=2)

needs_tensorflow = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="taken with TensorFlow's tape")


@contextmanager
def policy(name: str):
    """Models built inside compute in this number type."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def images_of(config, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, config.height, config.width_px), dtype=np.uint8)


def lively(config, seed=0):
    """A model without the zeros and ones of its biases and gains, which would hide what is left out."""
    model, rng = vit.build_vit(config, seed), np.random.default_rng(seed)
    for weight in model.trainable_weights:
        weight.assign(to_numpy(weight) + 0.2 * rng.normal(size=weight.shape))
    return model


# --- another backend ---

IN_JAX = """
import sys
import numpy as np
from heartai_utils import vit
from heartai_utils._keras import keras

assert keras.backend.backend() == "jax"
folder = sys.argv[1]
images = np.load(f"{folder}/images.npy")
model = vit.load_vit(f"{folder}/model.keras")
logits, values = model(images, return_intermediates=True)
model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
loss = model.train_on_batch(images, np.arange(len(images)) % 4)
np.savez(f"{folder}/from_jax.npz", logits=logits, loss=loss, **values)
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX, an optional extra, is not installed: pip install jax")
@pytest.mark.skipif(keras.backend.backend() == "jax", reason="this is JAX")
@pytest.mark.slow
def test_jax_computes_the_same_from_the_same_file(tmp_path):
    config = replace(PAGE, patch_dropout=0.5)
    model, images = lively(config, seed=4), images_of(config, 3)
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", images)
    variables = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", IN_JAX, tmp_path], env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    logits, values = model(images, return_intermediates=True)
    with np.load(tmp_path / "from_jax.npz") as from_jax:
        assert set(from_jax.files) == {*values, "logits", "loss"}
        np.testing.assert_array_equal(from_jax["positions"], values["positions"])
        np.testing.assert_allclose(from_jax["logits"], logits, atol=1e-4)
        for name, value in values.items():
            np.testing.assert_allclose(from_jax[name], value, atol=1e-4, err_msg=name)
        assert np.isfinite(from_jax["loss"])  # it also trains, patch dropout included


# --- gradients ---


@needs_tensorflow
@pytest.mark.parametrize("tokens", [10, None])
def test_gradients_are_those_of_finite_differences(tokens):
    """Along a random direction for each weight, so that an error in any of its entries shows."""
    import tensorflow as tf

    with policy("float64"):
        model = lively(replace(TINY, tokens=tokens), seed=2)
    images, labels, rng = images_of(TINY, 4), np.arange(4), np.random.default_rng(0)
    losses = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")

    @tf.function
    def loss():
        return losses(labels, model(images))

    with tf.GradientTape() as tape:
        value = loss()
    assert value.dtype == tf.float64
    gradients, step = tape.gradient(value, model.trainable_variables), 1e-5
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        start, direction = to_numpy(weight), rng.normal(size=weight.shape)
        around = []
        for sign in (1, -1):
            weight.assign(start + sign * step * direction)
            around.append(float(loss()))
        weight.assign(start)
        expected = (around[0] - around[1]) / (2 * step)
        found = float(np.sum(to_numpy(gradient) * direction))
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9), weight.path


# --- number types ---


@pytest.mark.parametrize(("name", "tolerance"), [("mixed_bfloat16", 0.02), ("mixed_float16", 0.003)])
def test_mixed_precision_is_near_single_precision(name, tolerance):
    single = lively(PAGE, seed=1)
    with policy(name):
        mixed = vit.build_vit(PAGE)
    mixed.set_weights(single.get_weights())
    assert mixed.blocks[0].compute_dtype == name.removeprefix("mixed_")
    images = images_of(PAGE, 6)
    (logits, values), (near, near_values) = (m(images, return_intermediates=True) for m in (single, mixed))
    np.testing.assert_array_equal(near_values["positions"], values["positions"])  # ink is weighed in single precision
    exact, rounded = keras.ops.softmax(logits), keras.ops.softmax(keras.ops.cast(near, "float32"))
    difference = np.abs(to_numpy(exact) - to_numpy(rounded)).max()
    assert 0 < difference < tolerance


# --- repeatable ---


@pytest.mark.slow
def test_training_with_patch_dropout_repeats_to_the_byte():
    """From the same variables, those of its draws included, come the same weights."""
    config = training.TrainingConfig(replace(PAGE, depth=1, tokens=None, patch_dropout=0.5), epochs=1, batch_size=8)
    images, labels = images_of(PAGE, 24), np.arange(24) % 4
    model = training.train(config, training.Data(images, labels, images[:4], labels[:4]), progress=False).model
    state = [*model.variables, *model.optimizer.variables]
    start = [to_numpy(variable) for variable in state]
    after = []
    for _ in range(2):
        for variable, value in zip(state, start, strict=True):
            variable.assign(value)
        before = model.get_weights()[0]
        model.fit(images, labels, batch_size=8, shuffle=False, verbose=0)
        after.append(model.get_weights())
    assert not np.array_equal(after[0][0], before)
    assert all(np.array_equal(a, b) for a, b in zip(*after, strict=True))
