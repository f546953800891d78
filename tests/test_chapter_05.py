"""Chapter 05: its own definitions against Keras and the package, and what its exercises rest on."""

from __future__ import annotations

import numpy as np
import pytest
import solution_code
from chapter_code import definitions
from scipy.special import erf

from heartai_utils import exercises, vit
from heartai_utils._keras import keras

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture(scope="module")
def chapter():
    """The functions and the class that the chapter defines, taken from its cells."""
    return definitions("05_attention_and_the_transformer_block", np=np, erf=erf)


def some_tokens(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_softmax_of_any_size_sums_to_one(chapter):
    scores = np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]])
    shares = chapter["softmax"](scores)
    np.testing.assert_allclose(shares.sum(axis=-1), 1)
    np.testing.assert_allclose(shares, keras.ops.softmax(scores, axis=-1), atol=1e-6)


def test_attention_of_one_query_is_a_weighted_mean(chapter):
    query, key, value = some_tokens(3, 5, 4)
    gathered, shares = chapter["attention"](query, key, value)
    scores = np.array([query[2] @ k for k in key]) / 2
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(shares[2], expected, rtol=1e-5)
    np.testing.assert_allclose(gathered[2], sum(w * v for w, v in zip(expected, value, strict=True)), rtol=1e-4)


def test_heads_split_and_join(chapter):
    tokens = some_tokens(2, 7, 12)
    by_head = chapter["split_heads"](tokens, 3)
    assert by_head.shape == (2, 3, 7, 4)
    np.testing.assert_array_equal(by_head[1, 2], tokens[1, :, 8:])
    np.testing.assert_array_equal(chapter["join_heads"](by_head), tokens)


@pytest.mark.parametrize(("width", "heads"), [(16, 2), (64, 4)])
def test_multi_head_attention_equals_keras_and_the_package(chapter, width, heads):
    ours = chapter["MultiHeadAttention"](width, heads, np.random.default_rng(width))
    tokens, split = some_tokens(2, 9, width), (heads, width // heads)
    output, shares = ours(tokens)
    inputs = ((ours.W_Q, ours.b_Q), (ours.W_K, ours.b_K), (ours.W_V, ours.b_V))

    theirs = keras.layers.MultiHeadAttention(heads, width // heads)
    theirs.build(tokens.shape, tokens.shape)
    parts = [part for kernel, bias in inputs for part in (kernel.reshape(width, *split), bias.reshape(split))]
    theirs.set_weights([*parts, ours.W_O.reshape(*split, width), ours.b_O])
    expected, expected_shares = theirs(tokens, tokens, return_attention_scores=True)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_allclose(shares, expected_shares, atol=1e-6)

    package = vit.SelfAttention(heads)
    package.build(tokens.shape)
    kernels, biases = zip(*inputs, strict=True)
    package.query_key_value.set_weights([np.concatenate(kernels, axis=1), np.concatenate(biases)])
    package.output_projection.set_weights([ours.W_O, ours.b_O])
    gathered, package_shares = package(tokens)
    np.testing.assert_allclose(output, gathered, atol=1e-5)
    np.testing.assert_allclose(shares, package_shares, atol=1e-6)


def test_the_approximation_of_gelu_is_off_by_what_the_chapter_says(chapter):
    x = np.linspace(-4, 4, 801)
    off = np.abs(to_numpy(keras.activations.gelu(x, approximate=True)) - chapter["gelu"](x)).max()
    assert 0.0004 < off < 0.0005


def test_layer_norm_and_gelu_are_those_of_keras(chapter):
    tokens = 3 + 2 * some_tokens(2, 5, 16)
    gamma, beta = some_tokens(2, 16, seed=1)
    layer = keras.layers.LayerNormalization(epsilon=1e-6)
    layer.build(tokens.shape)
    layer.set_weights([gamma, beta])
    np.testing.assert_allclose(chapter["layer_norm"](tokens, gamma, beta), layer(tokens), atol=1e-5)
    np.testing.assert_allclose(chapter["gelu"](tokens), keras.activations.gelu(tokens), atol=1e-5)


def test_the_block_and_the_model_equal_the_package(chapter):
    model = vit.build_vit("testing", seed=1)
    for weight in model.weights:  # gains of 1 and biases of 0 would hide what is left out
        if weight.path.rsplit("/", 1)[-1] in ("gamma", "beta", "bias"):
            weight.assign(to_numpy(weight) + 0.3 * some_tokens(*weight.shape, seed=len(weight.path)))
    images = np.random.default_rng(0).integers(0, 256, (2, 182, 256), dtype=np.uint8)
    logits, values = model(images, return_intermediates=True)
    tokens = to_numpy(values["tokens"])
    for number, block in enumerate(model.blocks, start=1):
        tokens, shares = chapter["transformer_block"](tokens, chapter["parameters_of"](block), heads=2)
        np.testing.assert_allclose(tokens, values[f"block_{number}"], atol=1e-4)
        np.testing.assert_allclose(shares, values[f"attention_{number}"], atol=1e-5)
    pooled = chapter["layer_norm"](tokens, *model.norm.get_weights()).mean(axis=1)
    np.testing.assert_allclose(pooled @ model.head.get_weights()[0] + model.head.get_weights()[1], logits, atol=1e-4)


def test_alikeness(chapter):
    tokens = some_tokens(1, 6, 8)
    unit = tokens[0] / np.linalg.norm(tokens[0], axis=1, keepdims=True)
    assert chapter["alikeness"](tokens) == pytest.approx((unit @ unit.T).mean(), rel=1e-4)
    assert chapter["alikeness"](np.ones((1, 6, 8))) == pytest.approx(1)


def configuration(width, **changes):
    return vit.ViTConfig(width=width, heads=2, depth=3, mlp_ratio=3.0, patch_size=16, **changes)


@pytest.mark.parametrize("width", [32, 48])
def test_parameters_by_formula(chapter, width):
    config = configuration(width)
    parts = chapter["count_by_formula"](D=width, H=3 * width, P=11 * 16, p=256, blocks=3)
    total = sum(count * times for count, times in parts.values())
    assert total == vit.count_parameters(config) == vit.build_vit(config).count_params()


@pytest.mark.parametrize("tokens", [50, 100])
def test_operations_of_the_whole_model(chapter, tokens):
    config = configuration(48, header_rows=0, tokens=tokens)
    counts = chapter["model_operations"](tokens, D=48, H=144, heads=2, blocks=3, p=256)
    assert sum(counts.values()) == vit.count_operations(config)


def test_operations_in_closed_form(chapter):
    for tokens in (192, 704):
        count = chapter["block_operations"](tokens)
        assert count["four projections"] == 8 * tokens * 64**2
        assert count["scores and gathering"] == 4 * tokens**2 * 64
        assert count["MLP"] == 4 * tokens * 64 * 128


# --- exercises ---


def parameters_of_keras(key_dim, use_bias=True):
    layer = keras.layers.MultiHeadAttention(12, key_dim, use_bias=use_bias)
    layer.build((None, 5, 96), (None, 5, 96))
    return layer.count_params()


def test_more_heads_have_the_parameters_that_keras_counts():
    assert solution_code.solution("check_attention_parameters") == parameters_of_keras(8)
    assert parameters_of_keras(8, use_bias=False) == 36_864


@pytest.mark.parametrize("key_dim", [16, 64, 96])
def test_attention_parameters_of_another_head_size(key_dim):
    with pytest.raises(exercises.NotYet, match=f"key_dim = {key_dim}.*96 / 12"):
        exercises.check_attention_parameters(parameters_of_keras(key_dim))


def test_masked_attention_is_attention_among_those_that_are_left(chapter):
    query, key, value = some_tokens(3, 2, 5, 4)
    keep = np.array([True, False, True, True, False])
    gathered, shares = solution_code.solution("check_masked_attention")(query, key, value, keep)
    among, theirs = chapter["attention"](query, key[:, keep], value[:, keep])
    np.testing.assert_allclose(gathered, among, atol=1e-6)
    np.testing.assert_allclose(shares[..., keep], theirs, atol=1e-6)


def test_the_tokens_that_fit_are_the_most_that_do():
    most = solution_code.solution("check_tokens_for_memory")
    assert most**2 * 4 * 4 * 32 <= 100e6 < (most + 1) ** 2 * 4 * 4 * 32
