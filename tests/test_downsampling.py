"""Shrinking: each method, the course's own, and pages from files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartai_utils import page
from heartai_utils.downsampling import CROPS, JPEG_METHODS, METHODS, OWN, SIZE, shrink, to_grey
from heartai_utils.simulation import LEADS, simulate_recording

WIDENING = ("area", "pillow-box", "pillow-bilinear", "pillow-hamming", "pillow-bicubic", "pillow-lanczos")


@pytest.fixture(scope="module")
def drawn():
    return page.draw_page(simulate_recording("Myocardial infarction", seed=2))


@pytest.fixture(scope="module")
def files(tmp_path_factory, drawn):
    """One page as JPEG and as PNG."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "page.jpg").write_bytes(page.encode_page(drawn))
    cv2.imwrite(str(folder / "page.png"), drawn[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return folder / "page.jpg", folder / "page.png"


# --- methods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_method_gives_the_size_asked_for(method, channels):
    image = np.random.default_rng(0).integers(0, 256, (90, 140, *channels), dtype=np.uint8)
    kept = image.copy()
    small = shrink(image, method, (20, 13))
    assert small.shape == (13, 20, *channels) and small.dtype == np.uint8
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(
        shrink(image[:, ::-1], method, (20, 13)), shrink(image[:, ::-1].copy(), method, (20, 13))
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_even_paper(method):
    paper = 255 if method == OWN else 245  # the course's own keeps nothing that is paler than a trace
    assert (shrink(np.full((1572, 2213), 245, np.uint8), method) == paper).all()


def test_the_size_is_width_then_height():
    assert SIZE == (256, 182)
    assert shrink(np.zeros((1572, 2213), np.uint8)).shape == (182, 256)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_area_by_a_whole_factor_is_the_mean_of_the_block(across, down, seed):
    image = np.random.default_rng(seed).integers(0, 256, (7 * down, 9 * across), dtype=np.uint8)
    means = image.reshape(7, down, 9, across).mean(axis=(1, 3))
    assert np.abs(shrink(image, "area", (9, 7)) - means).max() <= 0.5 + 1e-9
    assert np.abs(shrink(image, "pillow-box", (9, 7)) - means).max() <= 1.01


@given(st.integers(0, 1571), st.sampled_from(WIDENING))
@settings(max_examples=60, deadline=None)
def test_a_thin_line_survives_a_filter_that_widens(y, method):
    image = np.full((1572, 32), 255, np.uint8)
    image[y] = 0
    ink = 255.0 - shrink(image, method, (4, 182))[:, 0]
    assert ink.max() >= 0.4 * 255 * 182 / 1572  # on the border of two rows each has half of it
    assert abs(int(np.argmax(ink)) - (y + 0.5) * 182 / 1572 + 0.5) <= 1


@pytest.mark.parametrize(("method", "most"), [("nearest", 0.12), ("linear", 0.24), ("pillow-nearest", 0.12)])
def test_a_thin_line_mostly_vanishes_without_widening(method, most):
    survived = []
    for y in range(1572):
        image = np.full((1572, 8), 255, np.uint8)
        image[y] = 0
        survived.append((shrink(image, method, (1, 182)) < 255).any())
    assert np.mean(survived) <= most


@pytest.mark.parametrize(
    ("image", "method", "size", "says"),
    [
        (
            np.zeros((50, 50), np.uint8),
            "bilinear",
            (5, 5),
            "nearest, nearest-exact, linear, linear-exact, cubic, area, lanczos, pillow-nearest",
        ),
        (np.zeros((50, 50), np.float32), "area", (5, 5), "float32"),
        ([[0, 1], [1, 0]], "area", (1, 1), "list"),
        (np.zeros((50, 50, 4), np.uint8), "area", (5, 5), r"\(50, 50, 4\)"),
        (np.zeros(50, np.uint8), "area", (5, 5), r"\(50,\)"),
        (np.zeros((0, 50), np.uint8), "area", (5, 5), r"\(0, 50\)"),
        (np.zeros((50, 60), np.uint8), "area", (55, 55), "60 × 50 to 55 × 55"),
        (np.zeros((50, 50), np.uint8), "area", (5, 0), "positive"),
        (np.zeros((50, 50), np.uint8), "area", (5.0, 5), "whole numbers"),
        (np.zeros((50, 50), np.uint8), "area", 5, "whole numbers"),
    ],
)
def test_bad_input_to_shrink_is_named(image, method, size, says):
    with pytest.raises(ValueError, match=says):
        shrink(image, method, size)


def test_grey_weighs_the_colours_as_jpeg_does():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(to_grey(colours), [[76, 150, 29, 90, 255]])
    grey = np.zeros((2, 3), np.uint8)
    assert to_grey(grey) is grey
    with pytest.raises(ValueError, match="uint8"):
        to_grey(colours / 255)


# --- the course's own ---------------------------------------------------------------------------------------


def ink(image):
    return 255.0 - image


def test_a_level_line_has_its_place_to_a_tenth_of_a_pixel():
    for y in np.linspace(700, 717, 35).round(1):
        image = np.full((1572, 2213), 255, np.uint8)
        image[int(y) : int(y) + 3] = 0
        small = ink(shrink(image, OWN))
        middle = (np.arange(182) @ small[:, 128]) / small[:, 128].sum()
        assert abs(middle - ((int(y) + 1.5) * 182 / 1572 - 0.5)) < 0.1
        assert small[:, 128].max() > 80  # and is well seen


def test_a_steep_stroke_does_not_outweigh_the_level_line_beside_it():
    image = np.full((1572, 2213), 255, np.uint8)
    image[800:803] = 0
    image[650:800, 1000:1003] = 0  # 1.9 mV tall
    column = int(1001 * 256 / 2213)

    def centre(method):
        small = ink(shrink(image, method))[:, column]
        return (np.arange(182) @ small) / small.sum()

    level = 801.5 * 182 / 1572 - 0.5
    assert level - centre("area") > 5  # rows: the stroke has most of the ink
    assert level - centre(OWN) < 0.9 * (level - centre("area"))
    assert ink(shrink(image, OWN))[76:92, column].min() > 24  # and still is there


def test_grid_and_pale_print_are_gone_and_the_trace_is_not(drawn):
    image = np.full((1572, 2213), 235, np.uint8)
    image[::8, ::8] = 150
    assert (shrink(image, OWN) == 255).all()
    image[700:703] = 0
    assert (ink(shrink(image, OWN)).max(axis=0) > 80).all()


def test_colour_is_shrunk_as_the_grey_page_is(drawn):
    np.testing.assert_allclose(shrink(drawn, OWN)[..., 1].astype(int), shrink(to_grey(drawn), OWN), atol=16)
    red = drawn.copy()
    red[..., 0] = 255
    assert (shrink(red, OWN)[..., 0] == 255).all() and (shrink(red, OWN)[..., 1] < 200).any()


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_is_shrunk_as_its_pixels_are(files):
    for file in files:
        grey = page.load_page(file, grey=True)
        assert grey.shape == (1572, 2213)
        np.testing.assert_array_equal(shrink(file), shrink(grey))
        np.testing.assert_array_equal(shrink(str(file), "linear", colour=True), shrink(page.load_page(file), "linear"))
        x0, y0, x1, y1 = page.GRID_BOX
        cropped = shrink(grey[y0:y1, x0:x1], "linear", (128, 91))
        np.testing.assert_array_equal(shrink(file, "linear", (128, 91), crop="grid"), cropped)
        np.testing.assert_array_equal(shrink(grey, "linear", (128, 91), crop="grid"), cropped)


def test_the_traces_alone_are_cut_into_windows_of_one_lead_each():
    left, top, right, bottom = CROPS["traces"]
    assert (right - left) % 4 == (bottom - top) % 4 == 0
    height, width = (bottom - top) // 4, (right - left) // 4
    for lead in LEADS:
        row, start, end, *_ = page.lead_window(lead)
        column = round((start - left) / width)
        assert left + column * width <= start and end <= left + (column + 1) * width + 3  # px: what a separator covers
        middle = top + (row + 0.5) * height
        assert abs(page.BASELINES[row] - middle) < 6  # px: a fourteenth of a millivolt


def test_the_luminance_of_a_jpeg_is_that_of_its_colours(files):
    for file in files:
        difference = page.load_page(file, grey=True).astype(int) - to_grey(page.load_page(file))
        assert np.abs(difference).mean() < 1 and np.abs(difference).max() <= 16


@pytest.mark.parametrize("method", JPEG_METHODS)
def test_reduced_decoding_is_much_like_area(files, method):
    jpeg, png = files
    whole, reduced = shrink(jpeg, "area").astype(int), shrink(jpeg, method)
    assert reduced.shape == whole.shape and 0.85 < np.corrcoef(whole.ravel(), reduced.ravel())[0, 1] < 1
    assert shrink(jpeg, method, (200, 150), crop="grid", colour=True).shape == (150, 200, 3)
    with pytest.raises(page.PageError, match="no JPEG"):
        shrink(png, method)
    with pytest.raises(ValueError, match="hand in the file's path"):
        shrink(np.zeros((1572, 2213), np.uint8), method)


def test_colour_is_as_asked(drawn):
    assert shrink(drawn, colour=False).shape == (182, 256)
    assert shrink(to_grey(drawn), colour=True).shape == (182, 256, 3)
    np.testing.assert_array_equal(shrink(drawn, colour=False), shrink(to_grey(drawn)))


def test_bad_crops_and_files_are_named(files, tmp_path):
    with pytest.raises(ValueError, match="'frame' must be None"):
        shrink(files[0], crop="frame")
    with pytest.raises(ValueError, match="only a page of 2213 × 1572"):
        shrink(np.zeros((500, 500), np.uint8), size=(50, 50), crop="grid")
    with pytest.raises(page.PageError, match="not there"):
        shrink(tmp_path / "none.jpg")
    (tmp_path / "cut.jpg").write_bytes(files[0].read_bytes()[:100_000])
    for method in ("area", *JPEG_METHODS):
        with pytest.raises(page.PageError, match="cut off"):
            shrink(tmp_path / "cut.jpg", method)
