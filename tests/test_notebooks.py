"""What every chapter promises in its form, and that its stored outputs are worth comparing."""

from __future__ import annotations

import ast
import re
import statistics
from pathlib import Path

import nbformat
import pytest

CHAPTERS = sorted((Path(__file__).resolve().parents[1] / "notebooks").glob("[0-9][0-9]_*.ipynb"))
EXPECTED = [
    "01_what_an_ecg_shows",
    "02_the_dataset_and_its_traps",
    "03_shrinking_a_page",
    "04_from_pixels_to_tokens",
    "05_attention_and_the_transformer_block",
    "06_training_the_vit",
    "07_the_weight_decay_ablation",
    "08_what_did_it_learn",
    "09_from_simulated_to_real",
    "10_read_a_page",
]


@pytest.fixture(params=CHAPTERS, ids=lambda path: path.stem)
def chapter(request):
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def lines(cell):
    """Lines of code: neither blank nor comment."""
    return sum(1 for line in cell.source.splitlines() if line.strip() and not line.strip().startswith("#"))


def test_the_chapters_are_there():
    assert [path.stem for path in CHAPTERS] == EXPECTED


def test_executed_from_top_to_bottom(chapter):
    counts = [cell.execution_count for cell in code_cells(chapter)]
    assert counts == list(range(1, len(counts) + 1))


def test_no_traces_of_the_run_that_stored_it(chapter):
    assert "widgets" not in chapter.metadata
    for cell in code_cells(chapter):
        assert "execution" not in cell.metadata
        assert not any(output.get("name") == "stderr" or output.output_type == "error" for output in cell.outputs)


def test_parameters_are_annotated_literals(chapter):
    tagged = [cell for cell in code_cells(chapter) if "parameters" in cell.metadata.get("tags", [])]
    assert tagged == code_cells(chapter)[:1]
    statements = ast.parse(tagged[0].source).body
    assert all(isinstance(s, ast.AnnAssign) and isinstance(s.value, ast.Constant) for s in statements)
    values = {s.target.id: s.value.value for s in statements}
    assert {"profile": "quick", "data_dir": "", "seed": 0}.items() <= values.items()


def test_opens_with_what_the_reader_wants_to_know(chapter):
    opening = "\n".join(cell.source for cell in chapter.cells[:3] if cell.cell_type == "markdown")
    assert opening.startswith("# ")
    for promise in ("question", "able to", "minute", "needs"):
        assert promise in opening.lower(), promise


def test_ends_with_findings_exercises_and_reading(chapter):
    headings = [
        line.lstrip("#").strip().lower()
        for cell in chapter.cells
        if cell.cell_type == "markdown"
        for line in cell.source.splitlines()
        if line.startswith("## ")
    ]
    tail = " | ".join(headings[-4:])
    for part in ("found", "exercise", "read on"):
        assert part in tail, headings
    checks = [cell for cell in code_cells(chapter) if re.search(r"\bcheck_\w+\(", cell.source)]
    assert 2 <= len(checks) <= 4


def test_small_steps(chapter):
    lengths = sorted(lines(cell) for cell in code_cells(chapter))
    assert 3 <= statistics.median(lengths) <= 8, lengths
    assert lengths[int(0.9 * len(lengths))] <= 20, lengths


def test_more_prose_than_code(chapter):
    words = {"markdown": 0, "code": 0}
    for cell in chapter.cells:
        words[cell.cell_type] += len(cell.source.split())
    share = words["markdown"] / sum(words.values())
    assert 0.5 <= share <= 0.75, f"{share:.2f} of the words are prose"


def test_every_figure_is_described(chapter):
    for cell in code_cells(chapter):
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                alt = output.metadata.get("image/png", {}).get("alt", "")
                assert len(alt.split()) >= 4, cell.source


def test_every_figure_has_a_number_or_an_assertion_beside_it(chapter):
    """In its own cell: nothing compares pictures, so what they show must be said in a way that can be compared."""
    for cell in code_cells(chapter):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            printed = any(output.output_type == "stream" for output in cell.outputs)
            assert printed or "assert" in cell.source, cell.source


def is_compared(cell):
    """Whether nbval compares something in this cell's outputs besides a figure and its description."""
    if {"nbval-ignore-output", "nbval-skip"} & set(cell.metadata.get("tags", [])):
        return False
    for output in cell.outputs:
        if output.output_type == "stream" and output.text.strip():
            return True
        data = output.get("data", {})
        if not {"image/png", "application/vnd.jupyter.widget-view+json"} & set(data) and data.get("text/plain"):
            return True
    return False


def test_stored_outputs_are_really_compared(chapter):
    bearing = [cell for cell in code_cells(chapter) if cell.outputs]
    assert len(bearing) >= 8
    share = sum(is_compared(cell) for cell in bearing) / len(bearing)
    assert share >= 0.8, f"nbval compares {share:.0%} of the cells with outputs"


def test_nothing_comes_from_the_network(chapter):
    for cell in chapter.cells:
        assert not re.search(r"!\[[^\]]*\]\(https?:|<img[^>]+https?:|<script", cell.source), cell.source
