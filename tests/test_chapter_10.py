"""Chapter 10: its definitions, and what it says of the measurements that the course keeps."""

from __future__ import annotations

import io
import json

import chapter_code
import nbformat
import numpy as np
import pytest
from PIL import Image

from heartai_utils import alike, page_report
from heartai_utils.verdict import NAMED

CHAPTER = "10_read_a_page"


@pytest.fixture(scope="module")
def chapter():
    return nbformat.read(chapter_code.NOTEBOOKS / f"{CHAPTER}.ipynb", as_version=4)


def printed(chapter, start: str) -> str:
    """What the cell that begins with a text has printed."""
    (cell,) = [cell for cell in chapter.cells if cell.cell_type == "code" and cell.source.startswith(start)]
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


def test_a_picture_comes_back_from_the_bytes_of_its_file():
    as_png = chapter_code.definitions(CHAPTER, io=io, Image=Image)["as_png"]
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert (np.array(Image.open(io.BytesIO(as_png(image)))) == image).all()


def test_the_table_of_words_is_the_record(chapter):
    bands = json.loads(NAMED["best"].with_suffix(".json").read_text())["calibration"]["bands"]
    lines = printed(chapter, "calibration = ").splitlines()[1:]
    assert len(lines) == len(bands) == len(page_report.WORDS)
    for line, band, words in zip(lines, bands, page_report.WORDS, strict=True):
        assert line.endswith(f"  {words}") and f"{band['right']} of {band['verdicts']:3d} right" in line
    assert f"Of {bands[-1]['verdicts']} held-out" in "".join(cell.source for cell in chapter.cells)  # exercise 1


def test_the_worth_of_the_most_alike_heart_is_the_record(chapter):
    record = json.loads(alike.HEARTS.with_suffix(".json").read_text())
    lines = printed(chapter, "for name, what in ").splitlines()
    for name, line in zip(("real", "simulated"), lines, strict=True):
        assert line.startswith(f"{record[name]['same_condition']} of {record[name]['asked']} ")
    assert record["real"]["asked"] == 295 and 0.25 < record["real"]["same_condition"] / 295 < 0.9
