"""The script that grades submitted chapters: on a small chapter made up for it, and on chapter 03."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from heartai_utils import course

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
CHECKS = """
from types import SimpleNamespace
from heartai_utils.exercises import NotYet

def _check(answer, right):
    if answer is None:
        print("Not answered yet: think.")
    elif answer != right:
        raise NotYet(f"{answer} is not it")
    else:
        print("Right: well done.")

exercises = SimpleNamespace(
    check_sum=lambda answer: _check(answer, 5),
    check_twice=lambda function: _check(function(21), 42),
    check_seed=lambda answer: _check(answer, seed),
)
"""


@pytest.fixture
def grading(monkeypatch):
    monkeypatch.syspath_prepend(NOTEBOOKS)
    return importlib.import_module("grade")


def chapter(first="answer = None", second="def twice(number):\n    return None", third="answer = None", setup=CHECKS):
    """A small chapter with its three answers, each with its check in a cell of its own but the last."""
    parameters = new_code_cell('profile: str = "quick"\ndata_dir: str = ""\nseed: int = 0')
    parameters.metadata["tags"] = ["parameters"]
    return new_notebook(
        cells=[
            new_markdown_cell("# 03 · A small chapter"),
            parameters,
            new_code_cell(setup),
            new_markdown_cell("## Exercises"),
            new_code_cell(first),
            new_code_cell("exercises.check_sum(answer)"),
            new_code_cell(second),
            new_code_cell("exercises.check_twice(twice)"),
            new_code_cell(f"{third}\nexercises.check_seed(answer)"),
            new_markdown_cell("## Read on"),
            new_code_cell("raise RuntimeError('not part of the exercises')"),
        ]
    )


RIGHT = ("answer = 5", "def twice(number):\n    return 2 * number", "answer = seed")


@pytest.fixture
def course_of_one(tmp_path, monkeypatch):
    """A course of that one chapter, and the folder for submissions."""
    (tmp_path / "course").mkdir()
    (tmp_path / "submitted").mkdir()
    nbformat.write(chapter(), tmp_path / "course" / "03_a_small_chapter.ipynb")
    monkeypatch.setattr(course, "NOTEBOOKS", tmp_path / "course")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "submitted"


def hand_in(folder: Path, name: str, notebook) -> Path:
    nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder / f"{name}.ipynb"


def verdicts(rows) -> list[str]:
    assert [row["exercise"] for row in rows] == ["check_sum", "check_twice", "check_seed"]
    return [row["verdict"] for row in rows]


def test_right_and_as_handed_out(grading, course_of_one):
    rows = grading.grade(hand_in(course_of_one, "all", chapter(*RIGHT)), 5, 30)
    assert verdicts(rows) == ["right"] * 3 and rows[0]["chapter"] == "03_a_small_chapter"
    assert verdicts(grading.grade(hand_in(course_of_one, "none", chapter()), 5, 30)) == ["not answered"] * 3


@pytest.mark.slow
def test_each_answer_has_its_own_verdict(grading, course_of_one):
    path = hand_in(course_of_one, "mixed", chapter("answer = 4", "def twice(number)\n    return 2", "answer = unknown"))
    rows = grading.grade(path, 5, 30)
    assert verdicts(rows) == ["not yet", "error", "error"]
    assert rows[0]["message"] == "4 is not it"
    assert rows[1]["message"].startswith("SyntaxError") and rows[2]["message"].startswith("NameError")


@pytest.mark.slow
def test_an_endless_answer_takes_its_time_alone(grading, course_of_one):
    endless = "def twice(number):\n    while True:\n        pass"
    rows = grading.grade(hand_in(course_of_one, "endless", chapter(RIGHT[0], endless, RIGHT[2])), 5, 2)
    assert verdicts(rows) == ["right", "out of time", "right"]
    stubborn = "while True:\n    try:\n        import time; time.sleep(60)\n    except KeyboardInterrupt:\n        pass"
    rows = grading.grade(hand_in(course_of_one, "stubborn", chapter(RIGHT[0], stubborn, RIGHT[2])), 0.3, 2)
    assert verdicts(rows)[0] == "right" and "right" not in verdicts(rows)[1:]


@pytest.mark.slow
def test_an_answer_that_ends_the_kernel(grading, course_of_one):
    rows = grading.grade(hand_in(course_of_one, "exit", chapter(RIGHT[0], "import os; os._exit(1)")), 5, 30)
    assert verdicts(rows) == ["right", "error", "error"] and "kernel" in rows[1]["message"]


@pytest.mark.slow
def test_only_the_chapter_decides_what_is_right(grading, course_of_one):
    softer = chapter("answer = 4", setup=CHECKS.replace("answer != right", "False"))
    softer.cells[5].source = "print('Right: trust me.')"
    softer.cells[7].source = "exercises.check_twice(lambda number: 42)"
    rows = grading.grade(hand_in(course_of_one, "softer", softer), 5, 30)
    assert verdicts(rows) == ["missing", "not answered", "not answered"]


@pytest.mark.slow
def test_answers_may_take_more_cells_and_magics(grading, course_of_one):
    several = chapter(*RIGHT)
    several.cells.insert(5, new_code_cell("%time answer = helper(2, 3)"))
    several.cells[4].source = "import functools\n\n@functools.lru_cache\ndef helper(a, b):\n    return a + b"
    several.cells[6].source += "; exercises.check_sum(answer)  # twice"
    assert verdicts(grading.grade(hand_in(course_of_one, "several", several), 5, 30)) == ["right"] * 3


@pytest.mark.slow
def test_a_learner_with_a_seed_of_their_own(grading, course_of_one):
    own = chapter(*RIGHT[:2], "answer = 7")
    injected = new_code_cell("# Parameters\nseed = 7\n")
    injected.metadata["tags"] = ["injected-parameters"]
    own.cells.insert(2, injected)
    rows = grading.grade(hand_in(course_of_one, "seed", own), 5, 30)
    assert verdicts(rows) == ["right"] * 3 and {row["seed"] for row in rows} == {7}


def test_bad_submissions_are_named_and_the_others_graded(grading, course_of_one, capsys):
    (course_of_one / "1_text.ipynb").write_text("my thesis")
    hand_in(course_of_one, "2_other", new_notebook(cells=[new_markdown_cell("# My thesis")]))
    hand_in(course_of_one, "3_none_such", new_notebook(cells=[new_markdown_cell("# 77 · A chapter")]))
    hand_in(course_of_one, "4_cut", new_notebook(cells=[new_markdown_cell("# 03 · A small chapter")]))
    hand_in(course_of_one, "5_right", chapter(*RIGHT))
    assert grading.main(["submitted", "nowhere.ipynb", "--keep", "graded"]) == 2
    table = pd.read_csv("grades.csv", keep_default_na=False)
    reasons = table[table["exercise"] == ""].set_index("submission")["message"]
    for name, word in (
        ("submitted/1_text.ipynb", "no notebook"),
        ("submitted/2_other.ipynb", "no chapter of the course"),
        ("submitted/3_none_such.ipynb", "no chapter 77"),
        ("submitted/4_cut.ipynb", "## Exercises"),
        ("nowhere.ipynb", "No such file"),
    ):
        assert word in reasons[str(Path(name))], name
    assert (table["verdict"] == "right").sum() == 3 and len(table) == 8
    assert "grades.csv holds 8 rows" in capsys.readouterr().out
    kept = nbformat.read("graded/submitted/5_right.ipynb", as_version=4)
    assert any("Right" in str(cell.outputs) for cell in kept.cells)


def test_only_what_has_changed_is_graded_again(grading, course_of_one, monkeypatch):
    first, second = (hand_in(course_of_one, name, chapter(*RIGHT)) for name in "ab")
    graded = []

    def counted(path, *_):
        graded.append(path.name)
        return [{"chapter": "03", "seed": None, "exercise": "check_sum", "verdict": "right", "message": ""}]

    monkeypatch.setattr(grading, "grade", counted)
    assert grading.main([str(course_of_one)]) == 0 and graded == ["a.ipynb", "b.ipynb"]
    before = Path("grades.csv").read_bytes()
    assert grading.main([str(course_of_one)]) == 0 and len(graded) == 2
    assert Path("grades.csv").read_bytes() == before
    nbformat.write(chapter(), second)
    assert grading.main([str(first), str(second)]) == 0 and graded[2:] == ["b.ipynb"]


def test_another_table_is_left_alone(grading, course_of_one, capsys):
    Path("grades.csv").write_text("name,mark\nme,1\n")
    assert grading.main(["submitted"]) == 2 and "--out" in capsys.readouterr().err
    assert Path("grades.csv").read_text() == "name,mark\nme,1\n"
    assert grading.main(["submitted", "--out", "new.csv"]) == 2 and "no notebook" in capsys.readouterr().err


@pytest.mark.slow
def test_a_chapter_that_does_not_run_here_is_no_ones_fault(grading, course_of_one):
    nbformat.write(chapter(setup="import heartless"), course.NOTEBOOKS / "03_a_small_chapter.ipynb")
    with pytest.raises(grading.SubmissionError, match="own cell “import heartless” fails here: ModuleNotFoundError"):
        grading.grade(hand_in(course_of_one, "good", chapter(*RIGHT)), 5, 30)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb")), ids=lambda path: path.stem[:2])
def test_the_checks_of_every_chapter_are_found(grading, path):
    notebook = grading.read(path)
    before, exercises = grading.code(notebook)
    checks = grading.own_checks(exercises)
    assert len(before) > 5 and 2 <= len(checks) <= 4
    assert [name for _, name in grading.answers(exercises, checks) if name] == list(checks)


@pytest.mark.slow
def test_chapter_03_as_the_lecturer_grades_it(tmp_path):
    """One answer wrong, two taken from the solutions, one as handed out; by the command."""
    submission = nbformat.read(NOTEBOOKS / "03_shrinking_a_page.ipynb", as_version=4)
    solutions = nbformat.read(NOTEBOOKS / "solutions" / "03_shrinking_a_page.ipynb", as_version=4)
    solved = {cell.id: cell for cell in solutions.cells if "exercise" in cell.metadata.get("tags", [])}
    places = [i for i, cell in enumerate(submission.cells) if cell.id in solved]
    submission.cells[places[0]].source = "answer = 77"
    for place in places[1:3]:
        submission.cells[place] = solved[submission.cells[place].id]
    path = hand_in(tmp_path, "03_mine", submission)
    command = [sys.executable, NOTEBOOKS / "grade.py", path, "--out", tmp_path / "grades.csv"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(tmp_path / "grades.csv", keep_default_na=False).set_index("exercise")["verdict"]
    assert table.to_dict() == {
        "check_thumbnail_width": "not yet", "check_block_means": "right",
        "check_centres": "right", "check_ink": "not answered",
    }  # fmt: skip
