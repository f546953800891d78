"""Every check takes the solution that learners read, and turns wrong answers down with a hint that helps."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import solution_code
from answers import Later

from heartai_utils import _checks, exercises
from heartai_utils.exercises import NotYet

CHECKS = {name: getattr(exercises, name) for name in exercises.__all__ if name.startswith("check_")}
CHAPTERS = [path.stem for path in sorted((Path(__file__).parent / "answers").glob("chapter_*.py"))]
ANSWERS = [import_module(f"answers.{chapter}") for chapter in CHAPTERS]
WRONG = {name: pairs for module in ANSWERS for name, pairs in module.WRONG.items()}
ALSO_RIGHT = {name: right for module in ANSWERS for name, right in module.ALSO_RIGHT.items()}


def numbered(table: dict) -> list:
    return [pytest.param(name, entry, id=f"{name}-{i}") for name in table for i, entry in enumerate(table[name], 1)]


def further_arguments(name: str) -> tuple:
    """What a check is given beside the answer; for that of the form three small pages do, all print but one patch."""
    if name == "check_hidden_shortcut":
        return (0,)
    if name == "check_beyond_form":
        form = np.zeros((704, 64), np.float32)
        form[200:400] = 0.5
        patches = np.repeat(form[None], 3, axis=0)
        patches[:, 600] = 0.3
        return patches, form, (np.arange(704) == 600) * np.ones((3, 1))
    return ()


def ask(name: str, answer) -> None:
    CHECKS[name](answer.make() if isinstance(answer, Later) else answer, *further_arguments(name))


# --- the table ----------------------------------------------------------------------------------------------------


def test_each_check_is_called_in_one_solutions_notebook():
    assert set(solution_code.notebooks()) == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_there_are_three_wrong_answers_that_differ_in_their_hints(name):
    assert len({hint for _, hint in WRONG.get(name, [])}) >= 3


def test_nothing_in_the_tables_is_left_untested():
    assert set(WRONG) | set(ALSO_RIGHT) <= set(CHECKS)


# --- right and wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS)
def test_takes_the_solution(name):
    assert solution_code.solved(name).said.startswith("Right")


@pytest.mark.parametrize(("name", "answer"), numbered(ALSO_RIGHT))
def test_takes_what_is_as_right(name, answer, capsys):
    ask(name, answer)
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("name", "pair"), numbered(WRONG))
def test_turns_down(name, pair, capsys):
    answer, hint = pair
    with pytest.raises(NotYet, match=hint) as turned_down:
        ask(name, answer)
    assert len(str(turned_down.value).split()) >= 4
    assert "Right" not in capsys.readouterr().out


# --- no answer, and none of the kind that is wanted -----------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS)
def test_says_how_to_begin_while_there_is_no_answer(name, capsys):
    ask(name, solution_code.placeholder(name))
    said = capsys.readouterr().out
    assert said.startswith("Not answered yet: ") and len(said.split()) >= 8


def stops(*arguments):
    return [][1]


NONSENSE = [
    "a word",
    10**9,
    float("nan"),
    True,
    [],
    {},
    object(),
    np.zeros((2, 3)),
    np.array(["a", "b"]),
    [[1], [1, 2]],
]


@pytest.mark.parametrize("name", CHECKS)
def test_copes_with_any_kind_of_answer(name):
    wrong = NONSENSE
    if callable(solution_code.placeholder(name)):
        wrong = [*NONSENSE, *(lambda *arguments, value=value: value for value in NONSENSE), stops, lambda: 0]
    for answer in wrong:
        with pytest.raises(NotYet) as turned_down:
            ask(name, answer)
        assert len(str(turned_down.value).split()) >= 4


@pytest.mark.parametrize("name", [name for name in CHECKS if callable(solution_code.placeholder(name))])
def test_names_the_line_in_which_a_function_stops(name):
    with pytest.raises(NotYet, match=re.escape("IndexError: list index out of range, in the line “return [][1]”")):
        ask(name, stops)


# --- how answers are taken --------------------------------------------------------------------------------------------


def test_a_result_in_place_of_the_function_is_named():
    with pytest.raises(NotYet, match="by its name without brackets, not 83.8"):
        _checks.learners(83.8)


def test_numbers_of_any_library_are_taken():
    for seven in (7, 7.0, np.float32(7), np.array(7)):
        assert _checks.number(seven, "a number") == 7
    assert _checks.number(np.inf, "a number", finite=False) == np.inf


@pytest.mark.parametrize("none", ["7", None, True, [7], np.nan, np.inf, 7j])
def test_what_is_no_number_is_shown(none):
    with pytest.raises(NotYet, match=re.escape(f"a number is wanted, not {none!r}")):
        _checks.number(none, "a number is wanted")


def test_answers_are_shown_in_a_line():
    assert _checks.shown(np.zeros((2, 3))) == "an array of shape (2, 3) and type float64"
    assert _checks.shown((np.float64(0.5), np.int64(2))) == "(0.5, 2)"
    assert "\n" not in _checks.shown("a\nb" * 100) and len(_checks.shown("a" * 1000)) < 50
