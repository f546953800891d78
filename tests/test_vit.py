"""The Vision Transformer: its pieces against plain NumPy and Keras's own layers, its file format, its errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chapter_code import definitions
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version
from scipy.special import erf

from heartai_utils import vit
from heartai_utils._keras import keras

to_numpy = keras.ops.convert_to_numpy
SMALL = vit.ViTConfig(tokens=24, width=16, heads=2, depth=2)  # 182 × 256, four rows of header
STEMMED = vit.ViTConfig(48, 64, patch_size=(24, 8), header_rows=0, stem=(4, 6), width=8, heads=2, depth=1)


def pages(count=2, seed=0, height=182, width=256):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width), dtype=np.uint8)


@pytest.fixture(scope="module")
def model():
    return vit.build_vit(SMALL, seed=3)


def by_loop(image, side):
    """Patches of one grey image, cut by a double loop; what fills no patch is dropped."""
    ink = 1 - image.astype(np.float32) / 255
    starts = [(y, x) for y in range(0, len(ink) - side + 1, side) for x in range(0, ink.shape[1] - side + 1, side)]
    return np.stack([ink[y : y + side, x : x + side].ravel() for y, x in starts])


# --- patches ---


@settings(deadline=None, max_examples=15)
@given(height=st.integers(4, 30), width=st.integers(4, 30), side=st.sampled_from([2, 3, 4]))
def test_patches_are_those_of_a_loop(height, width, side):
    images = pages(2, seed=height, height=height, width=width)
    patches = to_numpy(vit.Patches(side)(images))
    np.testing.assert_allclose(patches, [by_loop(image, side) for image in images], atol=1e-6)


def test_leftover_rows_are_dropped_or_padded_with_paper():
    images = pages()
    dropped, padded = (to_numpy(vit.Patches(8, leftover)(images)) for leftover in ("drop", "pad"))
    assert dropped.shape == (2, 704, 64) and padded.shape == (2, 736, 64)
    np.testing.assert_array_equal(padded[:, :704], dropped)
    last_row = padded[:, 704:].reshape(2, 32, 8, 8)
    assert (last_row[:, :, 6:] == 0).all()  # paper
    np.testing.assert_allclose(last_row[0, 0, :6], 1 - images[0, 176:, :8] / 255, atol=1e-6)


@pytest.mark.parametrize(("leftover", "grid"), [("drop", (22, 32)), ("pad", (23, 32))])
def test_grid_and_sequence_length(leftover, grid):
    config = vit.ViTConfig(leftover=leftover)
    assert config.grid == grid and config.sequence_length == grid[0] * grid[1]
    assert replace(config, tokens=100).sequence_length == 100


def test_nothing_in_the_footer_reaches_the_model(model):
    images = pages()
    changed = images.copy()
    changed[:, 176:] = 255 - changed[:, 176:]
    np.testing.assert_array_equal(model(images), model(changed))


# --- the inkiest tokens ---


def test_inkiest_are_the_darkest_in_order_and_none_from_the_header():
    patches = np.random.default_rng(0).uniform(0, 1, (3, 40, 16)).astype(np.float32)
    patches[:, :10] = 1  # the header is the blackest
    positions = to_numpy(vit.inkiest(patches, 12, first=10))
    amount = (patches**2).sum(axis=-1)
    for page, kept in enumerate(positions):
        assert (np.diff(kept) > 0).all() and kept.min() >= 10
        left_out = np.setdiff1d(np.arange(10, 40), kept)
        assert amount[page, kept].min() > amount[page, left_out].max()


def test_a_black_stroke_outweighs_a_grey_haze():
    haze = np.full(64, 0.1, np.float32)
    stroke = np.zeros(64, np.float32)
    stroke[:4] = 0.9
    assert haze.sum() > stroke.sum()
    assert to_numpy(vit.inkiest(np.stack([haze, stroke])[None], 1)).tolist() == [[1]]


def test_tokens_come_from_the_inkiest_patches_with_the_places_of_the_page(model):
    _, values = model(pages(), return_intermediates=True)
    patches, positions = to_numpy(values["patches"]), to_numpy(values["positions"])
    assert positions.min() >= 4 * 32
    np.testing.assert_array_equal(positions, vit.inkiest(patches, 24, first=128))
    kernel, bias = model.embedding.project.get_weights()
    kept = np.take_along_axis(patches, positions[..., None], axis=1)
    expected = kept @ kernel + bias + to_numpy(model.embedding.position)[positions]
    np.testing.assert_allclose(values["tokens"], expected, atol=1e-5)


def test_rows_are_taken_page_by_page():
    rng = np.random.default_rng(0)
    values, positions = rng.normal(size=(3, 7, 4)).astype(np.float32), rng.integers(0, 7, (3, 5), dtype=np.int32)
    expected = np.take_along_axis(values, positions[..., None], axis=1)
    np.testing.assert_array_equal(vit.rows_at(values, positions), expected)


# --- patch dropout ---


def places(model, images, training=True):
    return to_numpy(model(images, training=training, return_intermediates=True)[1]["positions"])


def test_patch_dropout_leaves_a_fixed_number_of_the_inkiest():
    model = vit.build_vit(replace(SMALL, patch_dropout=0.3))
    assert model.config.training_tokens == 17 and model.config.sequence_length == 24
    images = pages(5)
    kept, inkiest = places(model, images), places(model, images, training=False)
    assert kept.shape == (5, 17) and (np.diff(kept, axis=1) > 0).all()
    assert all(set(some) < set(every) for some, every in zip(kept, inkiest, strict=True))
    _, values = model(keras.Input((182, 256)), training=True, return_intermediates=True)  # shapes stay static
    assert values["tokens"].shape == (None, 17, 16) and values["attention_2"].shape == (None, 2, 17, 17)


def test_patch_dropout_without_selection():
    config = vit.ViTConfig(height=38, width_px=48, header_rows=0, width=16, heads=2, depth=1, patch_dropout=0.5)
    kept = places(vit.build_vit(config), pages(30, height=38, width=48))
    assert kept.shape == (30, 12) and set(kept.ravel()) == set(range(24)) and (np.diff(kept, axis=1) > 0).all()


def test_patch_dropout_changes_nothing_in_inference(model):
    dropping = vit.build_vit(replace(SMALL, patch_dropout=0.5), seed=3)
    np.testing.assert_array_equal(dropping(pages()), model(pages()))
    assert dropping.count_params() == model.count_params()


def test_patch_dropout_draws_by_page_by_step_and_by_seed():
    config, images = replace(SMALL, patch_dropout=0.5), np.repeat(pages(1), 4, axis=0)
    model = vit.build_vit(config, seed=1)
    first, second = places(model, images), places(model, images)
    assert len({tuple(row) for row in [*first, *second]}) == 8
    again, other = vit.build_vit(config, seed=1), vit.build_vit(config, seed=2)
    np.testing.assert_array_equal(places(again, images), first)
    assert not np.array_equal(places(other, images), first)
    for variable, after_a_step in zip(other.variables, again.variables, strict=True):
        variable.assign(after_a_step)  # a run that goes on from a checkpoint draws what it would have drawn
    np.testing.assert_array_equal(places(other, images), second)


def test_patch_dropout_keeps_each_place_equally_often():
    drawn = to_numpy(vit.some_places(4000, 12, 9, seed=5))
    often = np.bincount(drawn.ravel(), minlength=12) / 4000
    np.testing.assert_allclose(often, 0.75, atol=5 * (0.75 * 0.25 / 4000) ** 0.5)


# --- attention ---


def with_weights_of_keras(width, heads, rng):
    """Keras's attention and ours with the same random weights and biases."""
    theirs, ours = keras.layers.MultiHeadAttention(heads, width // heads), vit.SelfAttention(heads)
    theirs.build((None, 9, width), (None, 9, width))
    ours.build((None, 9, width))
    kernels = rng.normal(0, width**-0.5, (4, width, width)).astype(np.float32)
    biases = rng.normal(0, 0.3, (4, width)).astype(np.float32)
    split = (heads, width // heads)
    inputs = [
        w for k, b in zip(kernels[:3], biases[:3], strict=True) for w in (k.reshape(width, *split), b.reshape(split))
    ]
    theirs.set_weights([*inputs, kernels[3].reshape(*split, width), biases[3]])
    ours.query_key_value.set_weights([np.concatenate(kernels[:3], axis=1), biases[:3].ravel()])
    ours.output_projection.set_weights([kernels[3], biases[3]])
    return theirs, ours


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (16, 4), (64, 4), (24, 3)])
def test_attention_equals_keras(width, heads):
    rng = np.random.default_rng(width + heads)
    theirs, ours = with_weights_of_keras(width, heads, rng)
    tokens = rng.normal(size=(2, 9, width)).astype(np.float32)
    expected, expected_weights = theirs(tokens, tokens, return_attention_scores=True)
    output, weights = ours(tokens)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_allclose(weights, expected_weights, atol=1e-6)
    assert ours.count_params() == theirs.count_params() == 4 * width * (width + 1)


def test_attention_rows_sum_to_one_even_for_huge_scores():
    layer = vit.SelfAttention(2)
    tokens = 1000 * np.random.default_rng(0).normal(size=(2, 7, 8)).astype(np.float32)
    weights = to_numpy(layer(tokens)[1])
    assert weights.shape == (2, 2, 7, 7) and (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)


def test_a_block_knows_no_order():
    rng = np.random.default_rng(0)
    tokens, order = rng.normal(size=(1, 9, 16)).astype(np.float32), rng.permutation(9)
    block = vit.Block(heads=2)
    np.testing.assert_allclose(to_numpy(block(tokens)[0])[:, order], block(tokens[:, order])[0], atol=1e-5)


# --- the model ---


def test_intermediates(model):
    logits, values = model(pages(3), return_intermediates=True)
    assert tuple(logits.shape) == (3, 4)
    assert {name: tuple(value.shape) for name, value in values.items()} == {
        "patches": (3, 704, 64), "positions": (3, 24), "tokens": (3, 24, 16), "pooled": (3, 16),
        "block_1": (3, 24, 16), "attention_1": (3, 2, 24, 24), "block_2": (3, 24, 16), "attention_2": (3, 2, 24, 24),
    }  # fmt: skip
    np.testing.assert_array_equal(logits, model(pages(3)))
    expected = to_numpy(model.norm(values["block_2"])).mean(axis=1)
    np.testing.assert_allclose(values["pooled"], expected, atol=1e-5)
    np.testing.assert_allclose(logits, model.head(expected), atol=1e-5)


def test_without_selection_all_patches_are_tokens():
    config = vit.ViTConfig(height=38, width_px=48, header_rows=0, width=16, heads=2, depth=1)
    logits, values = vit.build_vit(config)(pages(2, height=38, width=48), return_intermediates=True)
    assert values["positions"] is None
    assert tuple(values["tokens"].shape) == (2, 24, 16) and np.isfinite(logits).all()


@pytest.mark.parametrize(
    "config",
    [
        *vit.PRESETS.values(),
        SMALL,
        vit.ViTConfig(leftover="pad", depth=1),
        vit.ViTConfig(patch_size=16, header_rows=2, tokens=40, width=48, heads=3, mlp_ratio=1.5, depth=3, classes=2),
        STEMMED,
    ],
    ids=[*vit.PRESETS, "small", "pad", "odd", "stem"],
)
def test_parameters_by_formula(config):
    model = vit.build_vit(config)
    assert vit.count_parameters(config) == model.count_params()
    assert model.count_params() == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_heads_and_tokens_cost_no_parameters():
    assert len({vit.count_parameters(vit.ViTConfig(heads=h, tokens=t)) for h in (1, 4, 8) for t in (None, 50)}) == 1


CONVOLVED = {  # the shapes of the kernel, and of what the forward convolution makes
    "Conv2D": lambda op: (op.inputs[1].shape, op.outputs[0].shape),
    "Conv2DBackpropFilter": lambda op: (op.outputs[0].shape, op.inputs[2].shape),
    "Conv2DBackpropInput": lambda op: (op.inputs[1].shape, op.inputs[2].shape),
}


def operations_of(graph) -> int:
    """Floating-point operations of all matrix products in a TensorFlow graph, taken from their shapes."""
    count = 0
    for op in graph.get_operations():
        # a gradient that nobody asks for, that of the pixels, stands in the graph and is never computed
        if op.type.startswith("Conv2D") and op.outputs[0].consumers() + [out for out in graph.outputs if out.op is op]:
            kernel, made = CONVOLVED[op.type](op)
            count += 2 * kernel.num_elements() * made.num_elements() // made[-1]
        if "MatMul" in op.type:
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            count += 2 * op.outputs[0].shape.num_elements() * op.inputs[0].shape[-2 if transposed else -1]
    return count


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, tokens=None, patch_dropout=0.7, mlp_ratio=1.5), STEMMED])
def test_operations_by_formula(config):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("counted in TensorFlow's graph")
    if Version(keras.__version__) < Version("3.13"):
        pytest.skip("Keras 3.12, the newest for Python 3.10, builds other products into the graph")
    import tensorflow as tf

    model = vit.build_vit(config)
    one_page = tf.TensorSpec((1, config.height, config.width_px), tf.uint8)

    def gradients(images):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
        return tape.gradient(logits, model.trainable_variables)

    for function, training in ((lambda images: model(images, training=False), False), (gradients, True)):
        graph = tf.function(function).get_concrete_function(one_page).graph
        assert operations_of(graph) == vit.count_operations(config, training=training)


def test_operations_are_those_of_chapter_05():
    by_block = definitions("05_attention_and_the_transformer_block", np=np, erf=erf)["block_operations"]
    for config in (vit.preset("course"), vit.preset("reference")):
        one_more = replace(config, depth=config.depth + 1)
        difference = vit.count_operations(one_more) - vit.count_operations(config)
        assert difference == sum(by_block(config.sequence_length).values())


def weights_of(seed):
    return vit.build_vit(SMALL, seed=seed).get_weights()


def test_seed_decides_the_weights():
    first, again, other = weights_of(1), weights_of(1), weights_of(2)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    drawn = [(a, b) for a, b in zip(first, other, strict=True) if a.std() > 0]  # not the zeros of a bias
    assert len(drawn) == 1 + 1 + 2 * 4 + 1  # projection, positions, four matrices a block, head
    assert not any(np.array_equal(a, b) for a, b in drawn)


def test_no_two_layers_start_alike():
    drawn = [weight for weight in weights_of(0) if weight.std() > 0]
    for i, first in enumerate(drawn):
        for second in drawn[:i]:
            assert not (first.shape == second.shape and np.array_equal(first, second))


def test_drawing_weights_leaves_the_global_state_alone():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    vit.build_vit(SMALL, seed=1)
    assert np.random.random() == expected  # noqa: NPY002


def test_pixels_may_be_of_any_number_type(model):
    images = pages()
    for kind in (np.float32, np.float64, np.int64):
        np.testing.assert_allclose(model(images.astype(kind)), model(images), atol=1e-5)


def test_a_page_is_judged_alone(model):
    images = pages(4)
    together = to_numpy(model(images))
    np.testing.assert_allclose([to_numpy(model(image[None]))[0] for image in images], together, atol=1e-5)


def test_dropout_only_while_training(model):
    images = pages()
    np.testing.assert_array_equal(model(images), model(images, training=False))
    assert not np.array_equal(model(images), model(images, training=True))


def test_every_weight_has_a_gradient():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("taken with TensorFlow's tape")
    import tensorflow as tf

    model = vit.build_vit(replace(SMALL, dropout=0.0), seed=0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(pages(), training=True)[:, 1])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert all(np.isfinite(tf.convert_to_tensor(gradient)).all() for gradient in gradients)


def test_saved_and_loaded_in_safe_mode(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = vit.load_vit(tmp_path / "model.keras")
    assert loaded.config == model.config and loaded.seed == model.seed
    np.testing.assert_array_equal(loaded(pages()), model(pages()))


@pytest.mark.parametrize(
    "layer",
    [vit.Patches(4, leftover="pad"), vit.TokenEmbedding(9, 8, seed=3), vit.SelfAttention(2, seed=5),
     vit.Block(2, 1.5, dropout=0.2, seed=7, name="block")],
    ids=lambda layer: type(layer).__name__,
)  # fmt: skip
def test_layers_come_back_from_their_configuration(layer):
    config = keras.saving.serialize_keras_object(layer)
    again = keras.saving.deserialize_keras_object(config, safe_mode=True)
    assert type(again) is type(layer) and keras.saving.serialize_keras_object(again) == config
    given = set(vars(layer)) & {"patch_size", "leftover", "patches", "width", "heads", "mlp_ratio", "rate", "seed"}
    assert len(given) >= 2 and all(getattr(again, name) == getattr(layer, name) for name in given)


# --- a stem ---


def test_patches_need_not_be_square():
    images = pages(2, height=24, width=40)
    patches = to_numpy(vit.Patches((12, 8))(images))
    assert patches.shape == (2, 10, 96)
    np.testing.assert_allclose(patches[1, 6].reshape(12, 8), 1 - images[1, 12:, 8:16] / 255, atol=1e-6)


def test_a_stroke_looks_the_same_to_the_stem_wherever_it_is():
    stem = vit.ConvolutionalStem((4, 6), (16, 8), seed=2)
    images = np.full((2, 48, 64), 255, np.uint8)
    images[0, 18:22, 25:29] = images[1, 18:22, 41:45] = 0  # 16 pixels, two patches, further to the right
    features = to_numpy(stem(images)).reshape(2, 3, 8, -1)
    np.testing.assert_allclose(features[0, :, 2:5], features[1, :, 4:7], atol=1e-6)
    assert np.abs(features[0, 1, 3] - features[0, 1, 6]).max() > 0.1


def test_a_stemmed_model_comes_back_from_its_file_and_from_json(tmp_path):
    model = vit.build_vit(STEMMED, seed=1)
    logits, values = model(pages(2, height=48, width=64), return_intermediates=True)
    assert STEMMED.grid == (2, 8) and values["tokens"].shape == (2, 16, 8) and values["patches"].shape == (2, 16, 192)
    model.save(tmp_path / "stem.keras")
    again = vit.load_vit(tmp_path / "stem.keras")
    assert again.config == STEMMED and again.config.patch_size == (24, 8)
    np.testing.assert_array_equal(again(pages(2, height=48, width=64)), logits)


def test_tokens_by_ink_under_a_stem():
    config = replace(STEMMED, tokens=5)
    _, values = vit.build_vit(config)(pages(2, height=48, width=64), return_intermediates=True)
    assert values["tokens"].shape == (2, 5, 8)
    np.testing.assert_array_equal(values["positions"], vit.inkiest(values["patches"], 5))


def test_loading_what_is_not_there(tmp_path):
    with pytest.raises((FileNotFoundError, ValueError), match="nowhere"):
        vit.load_vit(tmp_path / "nowhere.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(Exception, match="text.keras|zip"):
        vit.load_vit(tmp_path / "text.keras")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"leftover": "same"}, "use 'drop' or 'pad'"),
        ({"width": 30, "heads": 4}, "width 30 is no multiple of 4 heads"),
        ({"height": 7}, "holds no patch of 8 × 8"),
        ({"height": 20, "patch_size": (24, 8)}, "holds no patch of 24 × 8"),
        ({"height": 180, "stem": (4, 8)}, "be multiples of 8, not 180 × 256"),
        ({"height": 184, "patch_size": (8, 4), "stem": (4, 8)}, "be multiples of 8, not 184 × 256 and 8 × 4"),
        ({"tokens": 0}, "use 1 to 576"),
        ({"patch_dropout": 1.0}, "patch_dropout=1.0: use 0"),
        ({"patch_dropout": -0.1}, "patch_dropout=-0.1: use 0"),
        ({"tokens": 577}, "use 1 to 576, or None for all 704"),
        ({"tokens": 577, "leftover": "pad", "header_rows": 5}, "use 1 to 576, or None for all 736"),
    ],
)
def test_bad_configurations(changes, message):
    with pytest.raises(ValueError, match=message):
        vit.ViTConfig(**changes)


def test_presets():
    assert vit.preset("course").sequence_length == 192 and vit.preset("reference").sequence_length == 704
    assert vit.preset("course", depth=1).depth == 1
    with pytest.raises(ValueError, match="testing, course, reference"):
        vit.preset("huge")
