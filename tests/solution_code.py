"""The exercises with the solutions that learners read: where each check is called, and what becomes of its answer."""

from __future__ import annotations

import ast
import contextlib
import io
import sys
from dataclasses import dataclass
from functools import lru_cache

import nbformat
from chapter_code import NOTEBOOKS

sys.path.insert(0, str(NOTEBOOKS))

import derive_exercises

SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/[0-9][0-9]_*.ipynb"))


@dataclass(frozen=True)
class Solved:
    """What a solutions notebook hands to a check, the arguments after it, and what the check prints."""

    answer: object
    others: tuple
    said: str


def call(cell) -> ast.Call:
    """The call of a check in its cell, `exercises.check_…(answer, …)`."""
    return ast.parse(cell.source).body[-1].value


@lru_cache
def notebooks() -> dict:
    """For each check the solutions notebook in which it is called."""
    found = {}
    for path in SOLUTIONS:
        for _, _, check in derive_exercises.exercises(nbformat.read(path, as_version=4)):
            assert call(check).func.attr not in found, f"{check.source} stands in two notebooks"
            found[call(check).func.attr] = path
    return found


@lru_cache
def run(path) -> dict[str, Solved]:
    """All cells of a solutions notebook, run in this process; by the names of its checks."""
    names, solved = {}, {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        with contextlib.redirect_stdout(io.StringIO()) as said:
            exec(compile(cell.source, f"<{path.stem} {cell.id}>", "exec"), names)
        if "exercise-check" in cell.metadata.get("tags", []):
            answer, *others = (eval(ast.unparse(argument), names) for argument in call(cell).args)
            solved[call(cell).func.attr] = Solved(answer, tuple(others), said.getvalue())
    return solved


def solved(check: str) -> Solved:
    return run(notebooks()[check])[check]


def solution(check: str):
    """The right answer to an exercise, as its solution has it."""
    return solved(check).answer


def placeholder(check: str):
    """What stands for the answer as the chapter is handed out."""
    for _, solution, call_of_it in derive_exercises.exercises(nbformat.read(notebooks()[check], as_version=4)):
        if call(call_of_it).func.attr == check:
            names = {}
            exec(derive_exercises.for_the_learner(solution.source), names)
            return names[call(call_of_it).args[0].id]
    raise KeyError(check)
