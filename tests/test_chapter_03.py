"""Chapter 03: its checks take right answers and no wrong ones, and the method that it builds is the course's own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest

from heartai_utils import _reading_back, exercises, page
from heartai_utils import downsampling as ds
from heartai_utils.exercises import NotYet
from heartai_utils.simulation import simulate_recording

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "03_shrinking_a_page.ipynb"


DEFINED = (
    "import numpy", "INK_OF_GREY =", "def distances", "def triangle", "def two_filters", "def evened", "def even_ink",
)  # fmt: skip


@pytest.fixture(scope="module")
def chapter():
    """The names that the chapter's imports and the cells about its own method define."""
    names = {"profile": "quick", "sheet": ds.blank_page()}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.cell_type == "code" and any(words in cell.source for words in DEFINED):
            exec(cell.source, names)
    return names


@pytest.fixture(scope="module")
def pages():
    recordings = [simulate_recording(condition, condition) for condition in range(4)]
    return [(ds.to_grey(page.draw_page(heart)), ds.Truth.of_recording(heart)) for heart in recordings]


def figures(method, pages):
    paper = method(ds.blank_page(), ds.SIZE)
    return ds.summarise_errors([ds.page_errors(method(image, ds.SIZE), truth, paper=paper) for image, truth in pages])


def test_each_filter_averages(chapter):
    for window in (chapter["triangle"], chapter["hamming"]):
        weights = window(page.HEIGHT, ds.SIZE[1]).toarray()
        assert weights.shape == (ds.SIZE[1], page.HEIGHT)
        assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
        assert (weights >= 0).all()


def test_two_filters_lose_no_column_and_read_better_than_area(chapter, pages):
    ours, area = figures(chapter["two_filters"], pages), figures(ds.METHODS["area"], pages)
    assert ours["lost_columns"] == 0
    assert ours["rmse_mv"] < area["rmse_mv"]


@pytest.mark.parametrize("size", [ds.SIZE, (128, 91), (500, 301)])
def test_what_the_chapter_builds_is_the_courses_own_method(chapter, pages, size):
    for image, _ in pages:
        built = chapter["even_ink"](image, size, gain=2.0)
        assert np.array_equal(built, ds.METHODS[ds.OWN](image, size))


def test_its_root_halves_the_error_and_the_full_quotient_loses_r(chapter, pages):
    by_power = {
        power: figures(lambda image, size, power=power: chapter["even_ink"](image, size, power), pages)
        for power in (0, 0.5, 1)
    }
    assert by_power[0.5]["bridged_rmse_mv"] < 0.6 * by_power[0]["bridged_rmse_mv"]
    assert by_power[0.5]["lost_columns"] == 0 < by_power[1]["lost_columns"]
    assert by_power[1]["r_attenuation"] > 0.5 > 0.1 > by_power[0.5]["r_attenuation"]


def test_a_lower_threshold_reads_what_a_gain_reads(chapter, pages, monkeypatch):
    def even_ink(gain):
        return figures(lambda image, size: chapter["even_ink"](image, size, gain=gain), pages)

    doubled, plain = even_ink(2.0), even_ink(1.0)
    monkeypatch.setattr(_reading_back, "INK_FLOOR", ds.INK_FLOOR / 2)
    lower = even_ink(1.0)
    assert lower["bridged_rmse_mv"] == pytest.approx(doubled["bridged_rmse_mv"], abs=0.001)
    assert lower["r_attenuation"] == pytest.approx(doubled["r_attenuation"], abs=0.005)
    assert plain["r_attenuation"] > doubled["r_attenuation"] + 0.01


# --- exercises ------------------------------------------------------------------------------------------------------


def test_unanswered_is_no_error(capsys):
    exercises.check_thumbnail_width(None)
    exercises.check_block_means(lambda image, factor: None)
    exercises.check_centres(lambda ink, mv: None)
    exercises.check_ink(lambda image, black, white: None)
    assert capsys.readouterr().out.count("Not answered yet") == 4


def test_width_right(capsys):
    exercises.check_thumbnail_width(563)
    assert ds.pixel_ms((563, 400)) <= 20 < ds.pixel_ms((562, 400))
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, hint",
    [
        (500, "rhythm strip"),
        (562, "round up"),
        (562.1, "whole"),
        (117, "fewer"),
        (568, "multiple"),
        (600, "18.7"),
        (0, "whole"),
    ],
)
def test_width_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_thumbnail_width(answer)


def block_means(image, factor):
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: rows * factor, : columns * factor]
    return whole.reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def test_block_means_right(capsys):
    exercises.check_block_means(block_means)
    assert "Right" in capsys.readouterr().out


def means_by(reshaped, axes):
    def function(image, factor):
        rows, columns = image.shape[0] // factor, image.shape[1] // factor
        return image[: rows * factor, : columns * factor].reshape(reshaped(rows, columns, factor)).mean(axis=axes)

    return function


def overflowing(image, factor):
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return whole.sum(axis=(1, 3), dtype=np.uint8) / factor**2


@pytest.mark.parametrize(
    "answer, hint",
    [
        (lambda image, factor: image[::factor, ::factor], "single pixels"),
        (means_by(lambda r, c, f: (r, c, f, f), (2, 3)), "in that order"),
        (means_by(lambda r, c, f: (r, f, c, f), (0, 2)), "shape"),
        (overflowing, "overflows"),
        (lambda image, factor: np.round(block_means(image, factor)), "floats"),
        (lambda image, factor: 255 - block_means(image, factor), "not the means"),
        (lambda image, factor: block_means(image[-(image.shape[0] // factor) * factor :], factor), "cut the last"),
    ],
)
def test_block_means_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_block_means(answer)


def centres(ink, mv):
    total = ink.sum(axis=0)
    return np.divide(mv @ ink, total, out=np.full(total.shape, np.nan), where=total > 0)


def test_centres_right(capsys):
    exercises.check_centres(centres)
    assert "Right" in capsys.readouterr().out


@pytest.mark.parametrize(
    "answer, hint",
    [
        (lambda ink, mv: mv[ink.argmax(axis=0)], "darkest row"),
        (lambda ink, mv: centres((ink > 0).astype(float), mv), "weigh"),
        (lambda ink, mv: mv @ ink, "divide by the ink"),
        (lambda ink, mv: mv @ ink / ink.sum(), "own ink"),
        (lambda ink, mv: np.nan_to_num(centres(ink, mv)), "NaN"),
        (lambda ink, mv: mv @ ink / ink.sum(axis=0), "warning"),
        (lambda ink, mv: ink.mean(axis=1)[:3], "shape"),
        (lambda ink, mv: np.full(4, np.nan), "gives no number"),
    ],
)
def test_centres_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_centres(answer)


def ink(image, black, white):
    return 255 * np.clip((white - image.astype(float)) / (white - black), 0, 1)


def test_ink_right(capsys):
    exercises.check_ink(ink)
    exercises.check_ink(lambda image, black, white: np.interp(image, [black, white], [255, 0]))
    assert capsys.readouterr().out.count("Right") == 2


@pytest.mark.parametrize(
    "answer, hint",
    [
        (lambda image, black, white: 255 * np.clip((np.uint8(white) - image) / (white - black), 0, 1), "negative"),
        (lambda image, black, white: 255 * (white - image.astype(float)) / (white - black), "clip"),
        (lambda image, black, white: ink(image, black, white) / 255, "0 to 1"),
        (lambda image, black, white: 255 - ink(image, black, white), "wrong way round"),
        (lambda image, black, white: 255.0 - image, "darkness"),
        (lambda image, black, white: np.where(image < white, 255.0, 0), "threshold"),
        (lambda image, black, white: np.where(image <= black, 255.0, 0), "threshold"),
        (lambda image, black, white: np.round(ink(image, black, white)), "rounded"),
        (lambda image, black, white: ink(image, 40, 140), "black 0 and white 255"),
        (lambda image, black, white: ink(image, black, white).ravel(), "shape"),
        (lambda image, black, white: np.sqrt(ink(image, black, white)), "for"),
    ],
)
def test_ink_wrong(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_ink(answer)
