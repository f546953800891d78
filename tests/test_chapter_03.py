"""Chapter 03: its checks take right answers and no wrong ones, and the method that it builds is the course's own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import numpy as np
import pytest
import solution_code

from heartai_utils import _reading_back, page
from heartai_utils import downsampling as ds
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


def test_the_width_of_the_first_exercise_covers_20_ms():
    width = solution_code.solution("check_thumbnail_width")
    assert ds.pixel_ms((width, 400)) <= 20 < ds.pixel_ms((width - 1, 400))
