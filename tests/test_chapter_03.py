"""Chapter 03: its checks take right answers and no wrong ones, and its own two-filter method is what it says."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest

from heartai_utils import downsampling as ds
from heartai_utils import exercises, page
from heartai_utils.exercises import NotYet
from heartai_utils.simulation import simulate_recording

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "03_shrinking_a_page.ipynb"


@pytest.fixture(scope="module")
def chapter():
    """The names that the chapter's import cell and its cell of the two filters define."""
    names = {"profile": "quick"}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.cell_type == "code" and ("import numpy" in cell.source or "def two_filters" in cell.source):
            names["sheet"] = np.full((page.HEIGHT, page.WIDTH), 255, np.uint8)
            exec(cell.source, names)
    return names


def test_two_filters_lose_no_column_and_read_better_than_area(chapter):
    recordings = [simulate_recording(condition, condition) for condition in range(4)]
    errors = {"area": [], "two filters": []}
    for recording in recordings:
        sheet = ds.to_grey(page.draw_page(recording))
        for method, shrink, paper in (
            ("area", ds.shrink, ds.paper_thumbnail("area")),
            ("two filters", chapter["two_filters"], chapter["empty_paper"]),
        ):
            errors[method].append(ds.trace_errors(shrink(sheet), recording, paper=paper))
    errors = {method: np.concatenate(found) for method, found in errors.items()}
    assert not np.isnan(errors["two filters"]).any()
    assert np.sqrt(np.mean(errors["two filters"] ** 2)) < np.sqrt(np.mean(errors["area"] ** 2))


def test_two_filters_keep_grey_levels(chapter):
    flat = np.full((400, 600), 77, np.uint8)
    assert np.array_equal(chapter["two_filters"](flat, (60, 40)), np.full((40, 60), 77))


# --- exercises ------------------------------------------------------------------------------------------------------


def test_unanswered_is_no_error(capsys):
    exercises.check_thumbnail_width(None)
    exercises.check_block_means(lambda image, factor: None)
    exercises.check_centres(lambda ink, mv: None)
    assert capsys.readouterr().out.count("Not answered yet") == 3


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
