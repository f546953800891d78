"""Chapter 04: its own definitions against the package, and what its exercises say."""

from __future__ import annotations

import numpy as np
import pytest
import solution_code
from chapter_code import definitions

from heartai_utils import downsampling, exercises, vit
from heartai_utils._keras import keras


@pytest.fixture(scope="module")
def chapter():
    """The functions that the chapter defines, taken from its cells, with the few names they need."""
    return definitions("04_from_pixels_to_tokens", np=np, side=8, rows=22, columns=32)


def pages(count=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 182, 256), dtype=np.uint8)


def test_patchify_is_that_of_the_package(chapter):
    images = pages()
    ours = chapter["patchify"](1 - images.astype(np.float32) / 255)
    np.testing.assert_allclose(ours, vit.Patches(8)(images), atol=1e-6)


def test_keep_inkiest_is_that_of_the_package(chapter):
    patches = np.random.default_rng(1).uniform(0, 1, (3, 704, 64)).astype(np.float32)
    for count, first in ((128, 128), (192, 0), (576, 128)):
        ours = chapter["keep_inkiest"](patches, count, first)
        np.testing.assert_array_equal(ours, vit.inkiest(patches, count, first=first))


def test_the_embedding_by_hand_is_the_models(chapter):
    model = vit.build_vit("testing", seed=2)
    images = pages()
    patches = chapter["patchify"](1 - images.astype(np.float32) / 255)
    positions = chapter["keep_inkiest"](patches, 128, 128)
    kernel, bias = model.embedding.project.get_weights()
    table = keras.ops.convert_to_numpy(model.embedding.position)
    tokens = np.take_along_axis(patches, positions[..., None], axis=1) @ kernel + bias + table[positions]
    _, values = model(images, return_intermediates=True)
    np.testing.assert_allclose(values["tokens"], tokens, atol=1e-5)


def test_share_held_rises_to_one(chapter):
    rng = np.random.default_rng(0)
    ranked, held = rng.uniform(size=(2, 4, 30))
    shares = chapter["share_held"](ranked, held)
    assert (np.diff(shares, axis=1) >= 0).all()
    np.testing.assert_allclose(shares[:, -1], 1)
    np.testing.assert_allclose(shares[0, 0], held[0, ranked[0].argmax()] / held[0].sum())
    assert (chapter["share_held"](held, held) >= shares - 1e-12).all()  # ranked by itself is best


def test_sin_cos_positions_depend_on_the_distance_only(chapter):
    table = chapter["sin_cos_positions"](22, 32, 64).reshape(22, 32, 64)
    assert len(np.unique(table.reshape(704, 64).round(6), axis=0)) == 704
    np.testing.assert_allclose((table**2).sum(axis=-1), 32)
    np.testing.assert_allclose(table[3, 4] @ table[5, 9], table[11, 20] @ table[13, 25])
    np.testing.assert_allclose(table[0, 1, [0, 16, 32, 48]], [np.sin(1), np.cos(1), 0, 1])


def test_similarity_map_is_one_at_its_place_and_less_elsewhere(chapter):
    table = chapter["sin_cos_positions"](22, 32, 64)
    similarity = chapter["similarity_map"](table, 7, 20)
    assert similarity.shape == (22, 32) and similarity[7, 20] == pytest.approx(1)
    assert np.unravel_index(similarity.argmax(), similarity.shape) == (7, 20)


def test_with_gaps_keeps_every_pixel(chapter):
    tiles = np.random.default_rng(0).uniform(0.1, 1, (3, 5, 8, 8))
    picture = chapter["with_gaps"](tiles, gap=2)
    assert picture.shape == (30, 50)
    np.testing.assert_allclose(255 * (1 - tiles[1, 2]), picture[10:18, 20:28])
    assert np.isnan(picture[8:10]).all() and np.isnan(picture).sum() == picture.size - tiles.size


def test_tinted_colours_the_paper_of_a_patch_and_keeps_its_ink(chapter):
    page = pages(1)[0]
    colours = np.random.default_rng(0).uniform(size=(704, 3))
    picture = chapter["tinted"](page, colours)
    assert picture.shape == (176, 256, 3)
    np.testing.assert_allclose(picture[8 * 3 + 5, 8 * 7 + 2], colours[3 * 32 + 7] * page[29, 58] / 255)


def test_reach_is_from_the_highest_to_the_lowest_row_with_trace(chapter):
    window = downsampling.thumbnail_window("V2")
    inked = np.zeros((182, 256), bool)
    inked[0, 0] = True  # outside the window
    assert chapter["reach"](inked, window) == 0
    inked[window.rows.start + 4, window.columns.start] = inked[window.rows.start + 9, window.columns.stop - 1] = True
    assert chapter["reach"](inked, window) == pytest.approx(5 * downsampling.pixel_mv())


# --- exercises ---


def test_cutting_a_page_and_putting_it_back(chapter):
    ink = np.random.default_rng(0).uniform(size=(2, 176, 256))
    unpatchify = solution_code.solution("check_unpatchify")
    np.testing.assert_array_equal(unpatchify(chapter["patchify"](ink), 22, 32), ink)


def test_the_gain_of_tokens_beyond_the_form_is_told(capsys):
    """On pages of one inky patch of trace, 200 of dark print, and nothing else."""
    form = np.zeros((704, 64), np.float32)
    form[200:400] = 0.5
    patches = np.repeat(form[None], 3, axis=0)
    patches[:, 600] = 0.3
    trace_ink = np.zeros((3, 704))
    trace_ink[:, 600] = 1
    exercises.check_beyond_form(solution_code.solution("check_beyond_form"), patches, form, trace_ink)
    said = capsys.readouterr().out
    assert "on these 3 pages 192 tokens hold 100.0% of the trace instead of 0.0%" in said
    assert "191 instead of 192 hold none" in said
