"""Running chapters: what a browser gets, and when a chapter runs again."""

from __future__ import annotations

import nbformat
import pytest

from heartai_utils import course

FAST = """# 91 · A chapter
The loss is $-\\log p$, and `$HOME` is no formula. It cost $5 and $6.

$$\\frac{a}{b}$$
"""


@pytest.fixture
def one_chapter(tmp_path, monkeypatch):
    """A course of one chapter that takes a second, fails if told to, and counts its runs."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    parameters = nbformat.v4.new_code_cell('profile: str = "quick"\nfail: bool = False')
    parameters.metadata["tags"] = ["parameters"]
    count = f"with open({str(tmp_path / 'runs.txt')!r}, 'a') as runs:\n    runs.write('x')\nassert not fail, 'as told'"
    notebook.cells = [nbformat.v4.new_markdown_cell(FAST), parameters, nbformat.v4.new_code_cell(count)]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "91_a_chapter.ipynb")
    monkeypatch.setattr(course, "NOTEBOOKS", tmp_path / "notebooks")
    return tmp_path


def run(place, **options):
    return list(course.run(place / "out", options.pop("parameters", {}), progress=False, **options))


def test_a_chapter_runs_once_until_something_changes(one_chapter):
    runs = one_chapter / "runs.txt"
    assert run(one_chapter)[0].finished and runs.read_text() == "x"
    assert run(one_chapter)[0].finished and runs.read_text() == "x"
    run(one_chapter, parameters={"profile": "full"})
    assert runs.read_text() == "xx"
    run(one_chapter, parameters={"profile": "full"}, again=True)
    assert runs.read_text() == "xxx"


def test_a_failing_chapter_is_told_and_run_again(one_chapter):
    (result,) = run(one_chapter, parameters={"fail": True})
    assert not result.finished and "AssertionError: as told" in result.error
    assert "stopped: AssertionError" in (one_chapter / "out" / "index.html").read_text()
    run(one_chapter, parameters={"fail": True})
    assert (one_chapter / "runs.txt").read_text() == "xx"


def test_what_no_chapter_declares_is_refused_before_anything_runs(one_chapter):
    with pytest.raises(course.CourseError, match="no parameter fial: it declares profile, fail"):
        run(one_chapter, parameters={"fial": True})
    with pytest.raises(course.CourseError, match="no chapter 05: there are 91"):
        run(one_chapter, only=["5"])
    with pytest.raises(course.CourseError, match="choose another folder"):
        list(course.run(one_chapter / "notebooks", {}, progress=False))
    assert not (one_chapter / "out").exists() and not (one_chapter / "runs.txt").exists()


def test_the_page_shows_formulas_without_a_network(one_chapter):
    run(one_chapter)
    page = (one_chapter / "out" / "91_a_chapter.html").read_text()
    assert page.count("<math") == 2 and "<mfrac>" in page
    assert "$HOME" in page and "$5 and $6" in page
    assert 'src="http' not in page and "<link" not in page.split("</head>")[0].replace("icon", "")


def test_the_sources_stay_as_they_are(one_chapter):
    path = one_chapter / "notebooks" / "91_a_chapter.ipynb"
    before = path.read_bytes()
    run(one_chapter)
    assert path.read_bytes() == before


def test_other_pages_under_the_same_name_run_again(one_chapter):
    assert not run(one_chapter, pages="a b")[0].kept
    assert run(one_chapter, pages="a b")[0].kept
    assert not run(one_chapter, pages="a c")[0].kept


def test_each_choice_of_parameters_has_its_own_folder():
    assert course.folder_name({"profile": "quick"}) == "quick"
    names = {course.folder_name({"profile": "quick", "seed": seed}) for seed in (0, 1)}
    assert len(names) == 2 and all(name.startswith("quick-") for name in names)
