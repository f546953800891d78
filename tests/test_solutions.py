"""The solutions: what they promise in their form, and that the chapters' exercises are derived from them."""

from __future__ import annotations

import ast
import json
import re
import shutil
import sys

import nbformat
import pytest
import solution_code
from chapter_code import NOTEBOOKS
from solution_code import SOLUTIONS, derive_exercises

sys.path.insert(0, str(NOTEBOOKS))

import refresh

CHAPTERS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def printed(cell) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture(params=SOLUTIONS, ids=lambda path: path.stem)
def solutions(request):
    return read(request.param)


# --- form ---------------------------------------------------------------------------------------------------------


def test_each_chapter_has_its_solutions():
    assert [path.name for path in SOLUTIONS] == [path.name for path in CHAPTERS]


def test_two_to_four_exercises_each_with_a_discussion(solutions):
    exercises = derive_exercises.exercises(solutions)
    assert 2 <= len(exercises) <= 4
    for number, (statement, _, check) in enumerate(exercises, start=1):
        assert statement.source.startswith(f"**{number}")
        discussion = solutions.cells[solutions.cells.index(check) + 1]
        assert discussion.cell_type == "markdown" and len(discussion.source.split()) >= 40, check.source


def test_the_opening_leads_to_the_chapter(solutions):
    opening = solutions.cells[0].source
    assert opening.startswith("# Solutions to chapter ")
    (link,) = re.findall(r"\]\(\.\./([^)]+)\)", opening)
    assert NOTEBOOKS / link in CHAPTERS and link[:2] in opening.splitlines()[0]


def test_executed_from_top_to_bottom(solutions):
    counts = [cell.execution_count for cell in code_cells(solutions)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_traces_of_the_run_that_stored_it(solutions):
    assert "widgets" not in solutions.metadata
    for cell in code_cells(solutions):
        assert "execution" not in cell.metadata
        assert not any(output.get("name") == "stderr" or output.output_type == "error" for output in cell.outputs)


def test_every_figure_is_described(solutions):
    for cell in code_cells(solutions):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"].split()) >= 4, cell.source


def test_each_check_is_stored_as_passed(solutions):
    for _, _, check in derive_exercises.exercises(solutions):
        assert printed(check).startswith("Right"), check.source


# --- the chapters ---------------------------------------------------------------------------------------------------


def test_the_chapters_agree_with_the_solutions(capsys):
    assert derive_exercises.main(["--check"]) == 0, "".join(capsys.readouterr())
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("path", SOLUTIONS, ids=lambda path: path.stem)
def test_no_chapter_holds_an_answer(path):
    chapter = {cell.id: cell for cell in read(NOTEBOOKS / path.name).cells}
    for _, solution, check in derive_exercises.exercises(read(path)):
        last = ast.parse(chapter[solution.id].source).body[-1]
        body = [node for node in getattr(last, "body", [last]) if not isinstance(node, ast.Expr)]  # without a docstring
        assert len(body) == 1 and isinstance(body[0], ast.Return | ast.Assign)
        assert isinstance(body[0].value, ast.Constant) and body[0].value.value is None
        assert printed(chapter[check.id]).startswith("Not answered yet: ")


# --- deriving -------------------------------------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """A folder with one chapter and its solutions, and how to change a cell of the solutions."""
    name = SOLUTIONS[2].name
    (tmp_path / "solutions").mkdir()
    shutil.copy(NOTEBOOKS / name, tmp_path)
    shutil.copy(SOLUTIONS[2], tmp_path / "solutions")

    def change(edit):
        path = tmp_path / "solutions" / name
        notebook = read(path)
        edit(notebook)
        nbformat.write(notebook, path)
        return tmp_path / name

    return change


def check_in(chapter) -> int:
    return derive_exercises.main(["--check"], chapter.parent)


def derive_in(chapter) -> int:
    return derive_exercises.main([], chapter.parent)


def test_deriving_what_agrees_leaves_every_byte(copied):
    chapter = copied(lambda notebook: None)
    before = chapter.read_bytes()
    assert check_in(chapter) == derive_in(chapter) == 0
    assert chapter.read_bytes() == before == (NOTEBOOKS / chapter.name).read_bytes()


def test_another_solution_changes_nothing_in_the_chapter(copied):
    def rewrite(notebook):
        _, solution, _ = derive_exercises.exercises(notebook)[1]
        solution.source += "  # or otherwise"

    assert check_in(copied(rewrite)) == 0


def test_a_changed_statement_and_placeholder_are_shown_and_written(copied, capsys):
    def rewrite(notebook):
        statement, solution, _ = derive_exercises.exercises(notebook)[1]
        statement.source = statement.source.replace("takes an image", "is given a picture")
        solution.source = re.sub("(# solution, instead of: ).*", r"\1return None  # whatever you like", solution.source)

    chapter = copied(rewrite)
    old = read(chapter)
    assert check_in(chapter) == 1
    shown = capsys.readouterr().out
    assert (
        "+    return None  # whatever you like" in shown
        and "+**2. Area for any whole factor.** Write a function that is" in shown
    )
    assert read(chapter) == old, "--check writes nothing"

    assert derive_in(chapter) == 0 and check_in(chapter) == 0
    once = chapter.read_bytes()
    assert derive_in(chapter) == 0 and chapter.read_bytes() == once
    new = {cell.id: cell for cell in read(chapter).cells}
    assert list(new) == [cell.id for cell in old.cells]
    changed = [cell.id for cell in old.cells if json.dumps(cell) != json.dumps(new[cell.id])]
    statement, solution, _ = derive_exercises.exercises(read(SOLUTIONS[2]))[1]
    assert changed == [statement.id, solution.id]
    assert new[solution.id].source.endswith("\n    return None  # whatever you like")


def test_a_changed_check_loses_its_output_and_the_others_keep_theirs(copied):
    def rewrite(notebook):
        derive_exercises.exercises(notebook)[1][2].source = "exercises.check_block_means(block_means, 8)"

    chapter = copied(rewrite)
    derive_in(chapter)
    new = {cell.id: cell for cell in read(chapter).cells}
    outputs = [new[check.id].outputs for _, _, check in derive_exercises.exercises(read(SOLUTIONS[2]))]
    assert [bool(output) for output in outputs] == [True, False, True, True]


def test_exercises_are_added_moved_and_removed(copied):
    def rewrite(notebook):
        first, second, *_ = derive_exercises.exercises(notebook)
        new = [nbformat.from_dict({**cell, "id": f"new-{cell.id}"}) for cell in first]
        rest = [cell for cell in notebook.cells if cell not in second]
        notebook.cells = [*rest[:2], *new, *rest[2:]]

    chapter = copied(rewrite)
    before = read(chapter)
    derive_in(chapter)
    after = read(chapter)
    first, second, *others = derive_exercises.exercises(read(SOLUTIONS[2]))
    ids = [cell.id for cell in after.cells[derive_exercises.section(after)]]
    assert ids == [f"new-{cell.id}" for cell in first] + [cell.id for each in (first, *others) for cell in each]
    end = derive_exercises.section(before).stop
    assert after.cells[-len(before.cells[end:]) :] == before.cells[end:]
    assert not {cell.id for cell in second} & {cell.id for cell in after.cells}


def test_what_stands_above_the_heading_in_its_cell_stays(copied):
    chapter = copied(lambda notebook: None)
    notebook = read(chapter)
    opening = notebook.cells[derive_exercises.section(notebook).start]
    opening.source = f"- found at last\n\n{opening.source}"
    nbformat.write(notebook, chapter)
    assert check_in(chapter) == 0
    copied(lambda notebook: derive_exercises.exercises(notebook)[0][0].update(source="**1. Something else.**"))
    derive_in(chapter)
    sources = [cell.source for cell in read(chapter).cells]
    assert "- found at last\n\n## Exercises\n\n**1. Something else.**" in sources


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda cells: cells[1].update(source="answer = 1"), "no line “# solution, instead of: …” in\nanswer = 1"),
        (lambda cells: cells[2].metadata.update(tags=[]), "the tagged cells must be exercise-statement, exercise, "),
    ],
)
def test_solutions_of_another_form_are_named(copied, capsys, spoil, told):
    chapter = copied(lambda notebook: spoil(derive_exercises.exercises(notebook)[0]))
    before = chapter.read_bytes()
    assert check_in(chapter) == derive_in(chapter) == 1
    assert f"{chapter.name}: {told}" in capsys.readouterr().err
    assert chapter.read_bytes() == before


def test_a_chapter_without_solutions_or_section_is_named(copied, capsys):
    chapter = copied(lambda notebook: None)
    shutil.copy(chapter, chapter.with_name("99_unsolved.ipynb"))
    notebook = read(chapter)
    del notebook.cells[derive_exercises.section(notebook)]
    nbformat.write(notebook, chapter)
    assert check_in(chapter) == 1
    told = capsys.readouterr().err
    assert "99_unsolved.ipynb: solutions/99_unsolved.ipynb is missing" in told
    assert f"{chapter.name}: 0 cells with the heading “## Exercises”; one is needed" in told


@pytest.mark.parametrize(
    ("solution", "learner"),
    [
        ("# solution, instead of: answer = None  # a number\nanswer = 7", "answer = None  # a number"),
        ("def f(x):\n    # solution, instead of: return None\n    return x\n", "def f(x):\n    return None"),
        ("import math\n\n# solution, instead of: n = None\nn = 1\n\nn += 1", "import math\n\nn = None"),
    ],
)
def test_what_the_learner_gets(solution, learner):
    assert derive_exercises.for_the_learner(solution) == learner


# --- refreshing -----------------------------------------------------------------------------------------------------


def test_which_notebooks_are_refreshed():
    assert refresh.chosen([]) == [*CHAPTERS, *SOLUTIONS]
    assert refresh.chosen(["solutions"]) == SOLUTIONS
    assert [str(path.relative_to(NOTEBOOKS))[:12] for path in refresh.chosen(["03"])] == [
        "03_shrinking",
        "solutions/03",
    ]
    assert refresh.chosen(["solutions/03"]) == [SOLUTIONS[2]]
    assert refresh.chosen(["solution of"]) == []


def test_an_unknown_chapter_is_refused(capsys):
    assert refresh.main(["77"]) == 2
    assert "no chapter and no solutions 77" in capsys.readouterr().err


def test_placeholders_are_what_the_check_takes_for_no_answer():
    """Of each kind one: a value, and a function."""
    assert solution_code.placeholder("check_rate_from_columns") is None
    assert solution_code.placeholder("check_qrs_name")([0.9]) is None


def test_refreshing_derives_before_it_executes(copied, monkeypatch):
    def rewrite(notebook):
        derive_exercises.exercises(notebook)[0][2].source += "  # again"

    chapter = copied(rewrite)
    ran = {}
    monkeypatch.setattr(refresh, "FOLDER", chapter.parent)
    monkeypatch.setattr(refresh, "executed", lambda notebook, folder: ran.setdefault(folder, notebook))
    assert refresh.main(["03"]) == 0
    assert any(cell.source.endswith("  # again") for cell in ran[chapter.parent].cells)
    assert check_in(chapter) == 0
    assert [folder.name for folder in ran] == [chapter.parent.name, "solutions"]
