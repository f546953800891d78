"""What a chapter defines in the open, taken from its notebook, so that tests run the very code that learners read."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"


def definitions(chapter: str, **names) -> dict:
    """The functions and classes of a chapter, and ``names``, which they need; nothing else of it is executed."""
    for cell in nbformat.read(NOTEBOOKS / f"{chapter}.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            tree = ast.parse(cell.source)
            tree.body = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
            exec(compile(tree, cell.id, "exec"), names)
    return names
