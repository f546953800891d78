"""Write the Exercises section of each chapter from its solutions, so that the two cannot drift.

    python notebooks/derive_exercises.py            write what differs
    python notebooks/derive_exercises.py --check    write nothing; show what differs, exit 1 if something does

A solutions notebook, `solutions/NN_name.ipynb`, has three tagged cells for each exercise, with the same ids as in the
chapter:

    exercise-statement   what is asked; the same text in both
    exercise             the solution. A line `# solution, instead of: LINE` stands between what is given and what the
                         learner is to find; the chapter gets LINE in place of all that follows
    exercise-check       the call of the check; the same in both

What else is in a solutions notebook (set-up, discussion) stays there, and what else is in a chapter stays as it is. A
cell whose source changes loses its outputs: `python notebooks/refresh.py` runs the chapter again.
"""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from heartai_utils import dataset

FOLDER = Path(__file__).resolve().parent
KINDS = ("exercise-statement", "exercise", "exercise-check")
HEADING = "## Exercises"
SOLUTION = re.compile(r"^([ \t]*)# solution, instead of: (.+)\n(?s:.*)", re.MULTILINE)


class FormError(ValueError):
    """A notebook does not have the form that this script needs; the message says what is missing where."""


def solutions_of(chapter: Path) -> Path:
    return chapter.parent / "solutions" / chapter.name


def for_the_learner(solution: str) -> str:
    """The source of a solution cell with what the learner is to write in place of the solution."""
    found = SOLUTION.search(solution)
    if not found:
        raise FormError(f"no line “# solution, instead of: …” in\n{solution}")
    return f"{solution[: found.start()]}{found[1]}{found[2]}"


def exercises(solutions: NotebookNode) -> list[tuple[NotebookNode, NotebookNode, NotebookNode]]:
    """Statement, solution and check of each exercise, in the order of a solutions notebook."""
    tagged = [(kind, cell) for cell in solutions.cells for kind in KINDS if kind in cell.metadata.get("tags", [])]
    kinds = [kind for kind, _ in tagged]
    if kinds != list(KINDS) * (len(kinds) // 3):
        raise FormError(f"the tagged cells must be {', '.join(KINDS)}, again and again, but are {', '.join(kinds)}")
    cells = iter(cell for _, cell in tagged)
    return list(zip(cells, cells, cells, strict=True))


def section(chapter: NotebookNode) -> slice:
    """Where the Exercises section lies among the chapter's cells, up to the next heading of its level."""
    opens = [i for i, cell in enumerate(chapter.cells) if HEADING in cell.source.splitlines()]
    if len(opens) != 1:
        raise FormError(f"{len(opens)} cells with the heading “{HEADING}”; one is needed")
    closes = [i for i, cell in enumerate(chapter.cells) if i > opens[0] and cell.source.startswith("## ")]
    return slice(opens[0], closes[0] if closes else len(chapter.cells))


def same(one: NotebookNode, other: NotebookNode) -> bool:
    return (one.cell_type, one.source) == (other.cell_type, other.source)


def derived(chapter: NotebookNode, solutions: NotebookNode) -> NotebookNode:
    """The chapter with the exercises of the solutions; cells that agree already keep their outputs."""
    where = section(chapter)
    # the findings may end in the cell in which the exercises begin
    before = re.split(f"^{HEADING}$", chapter.cells[where.start].source, flags=re.MULTILINE)[0]
    sources = {}
    for number, (statement, solution, check) in enumerate(exercises(solutions)):
        opening = f"{before}{HEADING}\n\n" if number == 0 else ""
        sources[statement.id] = nbformat.v4.new_markdown_cell(opening + statement.source, id=statement.id)
        sources[solution.id] = nbformat.v4.new_code_cell(for_the_learner(solution.source), id=solution.id)
        sources[check.id] = nbformat.v4.new_code_cell(check.source, id=check.id)
    present = {cell.id: cell for cell in chapter.cells[where]}
    agreeing = {id: cell for id, cell in present.items() if id in sources and same(cell, sources[id])}
    cells = [*chapter.cells[: where.start], *(sources | agreeing).values(), *chapter.cells[where.stop :]]
    return NotebookNode({**chapter, "cells": cells})


def difference(chapter: NotebookNode, wanted: NotebookNode, name: str) -> list[str]:
    """The lines in which the Exercises sections differ, as a unified diff; empty if they agree."""

    def lines(notebook):
        for cell in notebook.cells[section(notebook)]:
            yield from (f"[{cell.id}, {cell.cell_type}]", *cell.source.splitlines(), "")

    return list(
        difflib.unified_diff(list(lines(chapter)), list(lines(wanted)), name, f"solutions/{name}", n=2, lineterm="")
    )


def derive(chapter: Path, check: bool = False) -> list[str]:
    """The lines in which a chapter differed from its solutions; unless `check`, it is then written."""
    try:
        stored = nbformat.read(chapter, as_version=4)
        wanted = derived(stored, nbformat.read(solutions_of(chapter), as_version=4))
    except FileNotFoundError as error:
        raise FormError(f"{chapter.name}: {Path(error.filename).relative_to(chapter.parent)} is missing") from None
    except FormError as error:
        raise FormError(f"{chapter.name}: {error}") from None
    lines = difference(stored, wanted, chapter.name)
    if lines and not check:
        dataset.write_whole(chapter, f"{nbformat.writes(wanted)}\n".encode())
    return lines


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, show what differs; exit 1 if any does")
    check = parser.parse_args(arguments).check
    failed = False
    for chapter in sorted(folder.glob("[0-9][0-9]_*.ipynb")):
        try:
            lines = derive(chapter, check)
        except FormError as error:
            print(error, file=sys.stderr)
            failed = True
            continue
        failed |= check and bool(lines)
        if check:
            print(*lines, sep="\n", end="\n" if lines else "")
        else:
            print(f"{chapter.name}: {'written' if lines else 'as it was'}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
