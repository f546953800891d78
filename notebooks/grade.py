"""Grade submitted chapters: run each learner's answers, and say of every check whether it was passed.

    python notebooks/grade.py submissions/*.ipynb
    python notebooks/grade.py submissions/ --out chapter-03.csv --keep graded/

This runs what others have written: do it in a container, a virtual machine or an account that holds nothing of worth.

Of a submission only the section Exercises is taken, and the seed it was run with. Before it run the cells of the
chapter as it lies beside this script, and after each answer the chapter's own check, so that a changed check or a lost
import earlier on decides nothing. Each row of the table is one check:

    right           passed
    not yet         turned down; the message is the hint that the learner got
    not answered    the cell is as it was handed out
    missing         the submission has lost the check, or the check said nothing
    out of time     the answer ran longer than --cell-seconds, or the whole submission than --minutes
    error           anything else: an exception in the answer, a file that is no chapter

A submission that cannot be graded gets a row that says why, and the next one follows (exit code 2 at the end). The
table is written after each; interrupted, the same command goes on where it was, and grades again only what has changed.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import nbformat
import pandas as pd
from derive_exercises import FormError, section
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbclient.util import run_sync
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from tqdm.std import tqdm

from heartai_utils import course
from heartai_utils.dataset import write_whole

COLUMNS = ["submission", "chapter", "seed", "exercise", "verdict", "message", "md5"]
SETUP_SECONDS = 900  # of one of the chapter's own cells
RIGHT, NOT_YET, NOT_ANSWERED, MISSING, LATE, ERROR = (
    "right", "not yet", "not answered", "missing", "out of time", "error"
)  # fmt: skip


class SubmissionError(ValueError):
    """A submission that cannot be graded; the message says why."""


def read(path: Path) -> NotebookNode:
    """A notebook of any version.

    Raises:
        SubmissionError: no file, or no notebook.
    """
    try:
        return nbformat.read(path, as_version=4)
    except OSError as error:
        raise SubmissionError(f"cannot be read: {error.strerror}") from error
    except Exception as error:  # nbformat, json and jsonschema each have their own
        raise SubmissionError(f"is no notebook: {type(error).__name__}") from error


def chapter_of(submission: NotebookNode) -> Path:
    """The chapter beside this script that a submission answers, by the number in its title.

    Raises:
        SubmissionError: it is no chapter of the course.
    """
    opening = next((cell.source for cell in submission.cells if cell.cell_type == "markdown"), "")
    number = re.match(r"#\s*(\d\d)\b", opening)
    if not number:
        raise SubmissionError("is no chapter of the course: its title has no number")
    try:
        return course.chapters([number[1]])[0]
    except course.CourseError as error:
        raise SubmissionError(str(error)) from error


def seed_of(submission: NotebookNode) -> int | None:
    """The seed that the learner's chapter was run with: of the cell that papermill injected, or of the first one."""
    found = None
    for cell in submission.cells:
        if {"parameters", "injected-parameters"} & set(cell.metadata.get("tags", [])):
            for _, statement in statements(cell.source):
                targets = [*getattr(statement, "targets", []), getattr(statement, "target", None)]
                value = getattr(statement, "value", None)
                named = any(isinstance(target, ast.Name) and target.id == "seed" for target in targets)
                if named and isinstance(value, ast.Constant) and type(value.value) is int:
                    found = value.value
    return found


def statements(source: str) -> list[tuple[str, ast.stmt]]:
    """Each top-level statement of a cell with its text, IPython's magics translated; none where it cannot be parsed."""
    code = TransformerManager().transform_cell(source)
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return []
    found = []
    for each in body:
        decorators = [f"@{ast.get_source_segment(code, one)}\n" for one in getattr(each, "decorator_list", [])]
        found.append(("".join(decorators) + ast.get_source_segment(code, each), each))
    return found


def check_called(statement: ast.stmt) -> str | None:
    """The name of the check that a statement calls, such as "check_centres"."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    function = call.func if isinstance(call, ast.Call) else None
    name = getattr(function, "attr", getattr(function, "id", ""))
    return name if name.startswith("check_") else None


def code(notebook: NotebookNode) -> tuple[list[str], list[str]]:
    """The sources of the code cells before the section Exercises, and of those in it.

    Raises:
        SubmissionError: there is no such section.
    """
    try:
        where = section(notebook)
    except FormError as error:
        raise SubmissionError(f"has {error}") from error
    return tuple(
        [cell.source for cell in cells if cell.cell_type == "code"]
        for cells in (notebook.cells[: where.start], notebook.cells[where])
    )


def own_checks(exercises: list[str]) -> dict[str, str]:
    """The checks of a chapter in order: name and call."""
    every = [(check_called(each), text) for source in exercises for text, each in statements(source)]
    return {name: text for name, text in every if name}


def answers(exercises: list[str], checks: dict[str, str]) -> Iterator[tuple[str, str | None]]:
    """What is to run: each cell of the learner's without its calls of checks, then the chapter's own calls of these.

    Yields:
        Source, and the name of the check if it is one.
    """
    for source in exercises:
        found = statements(source)
        if not found:  # a cell that Python cannot read fails when it runs, and its checks with it
            called = [name for name in re.findall(r"check_\w+", source) if name in checks]
            yield source, None
        else:
            called = [name for _, each in found if (name := check_called(each)) in checks]
            yield "\n".join(text for text, each in found if check_called(each) not in checks), None
        for name in called:
            yield checks[name], name


def grade(path: Path, minutes: float, cell_seconds: float, keep: Path | None = None) -> list[dict]:
    """Run one submission.

    Args:
        path: the submitted notebook.
        minutes: for all of it.
        cell_seconds: for one cell of the learner's, or one check.
        keep: a folder for the notebook as it was executed, named as the submission is.

    Returns:
        For each check of the chapter ``chapter``, ``seed``, ``exercise``, ``verdict`` and ``message``.

    Raises:
        SubmissionError: it is no chapter, or the chapter itself does not run here.
    """
    submission = read(path)
    chapter = chapter_of(submission)
    setup, exercises = code(read(chapter))
    checks, seed = own_checks(exercises), seed_of(submission)
    notebook = new_notebook(cells=[new_code_cell(source) for source in setup])
    if seed is not None:
        notebook.cells.insert(1, new_code_cell(f"seed = {seed}"))  # after the parameters
    own = len(notebook.cells)
    names: list[str | None] = []
    for source, name in answers(code(submission)[1], checks):
        notebook.cells.append(new_code_cell(source))
        names.append(name)
    done = _run(notebook, own, names, time.monotonic() + 60 * minutes, cell_seconds)
    if keep:
        nbformat.write(notebook, keep / path.name)
    rows = {name: done.get(name, (MISSING, "its call is not in the submission")) for name in checks}
    return [
        {"chapter": chapter.stem, "seed": seed, "exercise": name, "verdict": verdict, "message": message}
        for name, (verdict, message) in rows.items()
    ]


def _run(notebook: NotebookNode, own: int, names: list, deadline: float, cell_seconds: float) -> dict[str, tuple]:
    """Execute the chapter's ``own`` cells, then the learner's; the verdict and message by name of the check."""
    verdicts: dict[str, tuple[str, str]] = {}
    fault = None  # of the answer that the next check looks at
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": folder}},
            extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
        with client.setup_kernel():
            for i, (cell, name) in enumerate(zip(notebook.cells, [None] * own + names, strict=True)):
                left = deadline - time.monotonic()
                client.timeout = max(1, int(min(left, SETUP_SECONDS if i < own else cell_seconds)))
                try:
                    found = _execute(client, cell, i) if left > 0 else (LATE, "of the whole submission")
                except DeadKernelError:
                    return verdicts | {lost: (ERROR, "the kernel ended") for lost in names[max(i - own, 0) :] if lost}
                if i < own and found[0] in (ERROR, LATE):
                    opening = cell.source.split("\n", 1)[0]
                    raise SubmissionError(
                        f"cannot be graded: the chapter's own cell “{opening}” fails here: {found[1]}"
                    )
                if name:
                    verdicts[name] = found if found[0] == RIGHT else fault or found
                    fault = None
                elif i >= own and found[0] in (ERROR, LATE):
                    fault = found
    return verdicts


def _execute(client: NotebookClient, cell: NotebookNode, index: int) -> tuple[str, str]:
    """Run one cell: the verdict and message of its check. A cell without one is an error only if it fails."""
    try:
        client.execute_cell(cell, index)
    except CellTimeoutError:
        run_sync(client.km.interrupt_kernel)()
        with suppress(RuntimeError):  # it does not answer: then what follows is late, too
            run_sync(client.kc.wait_for_ready)(timeout=client.timeout)
        return LATE, f"after {client.timeout} s"
    for output in cell.outputs:
        if output.output_type == "error":
            return (NOT_YET, output.evalue) if output.ename == "NotYet" else (ERROR, f"{output.ename}: {output.evalue}")
    said = "".join(output.text for output in cell.outputs if output.get("name") == "stdout")
    if "Not answered yet" in said:
        return NOT_ANSWERED, ""
    return (RIGHT, "") if re.search(r"^Right\b", said, re.MULTILINE) else (MISSING, "the check said nothing")


def submissions(places: list[Path]) -> list[Path]:
    """The notebooks named, and those in the folders named, in order; without Jupyter's checkpoints."""
    found: list[Path] = []
    for place in places:
        inside = sorted(place.rglob("*.ipynb")) if place.is_dir() else [place]
        found += [path for path in inside if ".ipynb_checkpoints" not in path.parts]
    return list(dict.fromkeys(found))


def _graded_before(out: Path) -> pd.DataFrame:
    if not out.exists():
        return pd.DataFrame(columns=COLUMNS)
    table = pd.read_csv(out, dtype={"seed": "Int64"}, keep_default_na=False, na_values={"seed": [""]})
    if list(table.columns) != COLUMNS:
        raise ValueError(f"{out} is another table: choose another name with --out")
    return table


def main(arguments: list[str] | None = None) -> int:
    """Grade what the command line names; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("submissions", nargs="+", type=Path, help="notebooks, or folders that hold some")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"), help="the table (default: grades.csv)")
    parser.add_argument("--keep", type=Path, help="a folder for the notebooks as they were executed")
    parser.add_argument("--minutes", type=float, default=10, help="for one submission (default: 10)")
    parser.add_argument("--cell-seconds", type=float, default=60, help="for one cell of a learner's (default: 60)")
    chosen = parser.parse_args(arguments)
    try:
        table = _graded_before(chosen.out)
    except ValueError as error:
        print(f"grade.py: {error}", file=sys.stderr)
        return 2
    paths, failed = submissions(chosen.submissions), 0
    if not paths:
        print("grade.py: no notebook there", file=sys.stderr)
        return 2
    for path in (bar := tqdm(paths, unit="submission")):
        bar.set_description(path.name)
        digest = hashlib.md5(path.read_bytes()).hexdigest() if path.is_file() else ""
        before = table[(table["submission"] == str(path)) & (table["md5"] == digest) & (table["exercise"] != "")]
        if before.empty:
            keep = None if chosen.keep is None else chosen.keep / path.parent.name
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
            try:
                rows = grade(path, chosen.minutes, chosen.cell_seconds, keep)
            except SubmissionError as error:
                rows = [{"chapter": "", "seed": None, "exercise": "", "verdict": ERROR, "message": str(error)}]
                failed += 1
            new = pd.DataFrame([{**row, "submission": str(path), "md5": digest} for row in rows], columns=COLUMNS)
            table = pd.concat([table[table["submission"] != str(path)], new.astype({"seed": "Int64"})])
            write_whole(chosen.out, table.to_csv(index=False).encode())
        rows = table[table["submission"] == str(path)]
        told = rows["message"].iloc[0] if (rows["exercise"] == "").any() else ", ".join(rows["verdict"])
        bar.write(f"{(rows['verdict'] == RIGHT).sum()} of {len(rows)}  {path}: {told}")
    print(f"{chosen.out} holds {len(table)} rows, one a check")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
