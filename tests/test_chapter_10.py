"""Chapter 10: its definitions, its exercises, and what it says of the measurements that the course keeps."""

from __future__ import annotations

import io
import json

import chapter_code
import nbformat
import numpy as np
import pytest
from PIL import Image

from heartai_utils import alike, exercises, page_report
from heartai_utils.exercises import NotYet
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


# --- Exercises ----------------------------------------------------------------------------------------------------


def test_none_wrong(capsys):
    exercises.check_none_wrong(None)
    exercises.check_none_wrong((3 / 598, 9 / 598))
    unanswered, right = capsys.readouterr().out.splitlines()
    assert unanswered.startswith("Not answered yet") and right.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (0.005, "two shares"),
        ((0.5, 1.5), "not percentages"),
        ((0, 0), "none can be"),
        ((1 / 598, 3 / 598), "would often have been missed"),
        ((3 / 598, 3 / 598), "no three pages"),
        ((3 / 598, 1 / 598), "three times larger"),
        ((0.05, 0.15), "first number"),
        ((3 / 598, 0.02), "second number"),
    ],
)
def test_none_wrong_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_none_wrong(answer)


def right_share(prevalence, recall, false_alarms):
    right, false = prevalence * recall, (1 - prevalence) * false_alarms
    return right / (right + false)


def test_right_share(capsys):
    exercises.check_right_share(lambda *_: None)
    exercises.check_right_share(right_share)
    unanswered, right = capsys.readouterr().out.splitlines()
    assert unanswered.startswith("Not answered yet") and right.startswith("Right")


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (lambda p, r, f: p * r / (p * r + f), "450 alarms are right"),
        (lambda p, r, f: r / (r + f), "from the healthy alone"),
        (lambda p, r, f: r, "from the healthy alone"),
        (lambda p, r, f: p * r, "450 alarms are right"),
        (lambda p, r, f: right_share(max(p, 0.05), r, f), "9 alarms are right"),
        (lambda p, r, f: 1 - right_share(p, r, f), "450 alarms are right"),
        (lambda p, r, f: (p * r, (1 - p) * f), "one share"),
        (lambda p, r, f: right_share(p, r), "stops with TypeError"),
    ],
)
def test_right_share_rejects(function, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_right_share(function)


def needed_pair(ask, leads):
    pairs = [{one, other} for number, one in enumerate(leads) for other in leads[number + 1 :]]
    best = min(pairs, key=ask)
    return best, ask(best)


def greedy(ask, leads):
    """The two that cost most one by one."""
    best = set(sorted(leads, key=lambda lead: ask({lead}))[:2])
    return best, ask(best)


def test_needed_pair(capsys):
    exercises.check_needed_pair(lambda *_: None)
    exercises.check_needed_pair(needed_pair)
    exercises.check_needed_pair(lambda ask, leads: (tuple(needed_pair(ask, leads)[0]), needed_pair(ask, leads)[1]))
    unanswered, *right = capsys.readouterr().out.splitlines()
    assert unanswered.startswith("Not answered yet") and all(line.startswith("Right") for line in right)


@pytest.mark.parametrize(
    ("function", "hint"),
    [
        (greedy, "hide each other"),
        (lambda ask, leads: needed_pair(ask, leads[:-1]), "hide each other|last pair"),
        (lambda ask, leads: needed_pair(lambda both: -ask(both), leads), "hide each other"),
        (lambda ask, leads: needed_pair(ask, leads)[0], "two leads and the probability"),
        (lambda ask, leads: (needed_pair(ask, leads)[0], 0.0), "0.00 instead of 0.20"),
        (lambda ask, leads: ({"I", "V1"}, ask("V1")), "a set of leads"),
    ],
)
def test_needed_pair_rejects(function, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_needed_pair(function)
