"""Run the chapters in order by papermill, and leave a folder that a browser opens."""

from __future__ import annotations

import hashlib
import html
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import nbformat
import papermill
from latex2mathml.converter import convert as to_mathml
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from tqdm.std import tqdm

from heartai_utils.dataset import write_whole

PACKAGE = Path(__file__).resolve().parent
NOTEBOOKS = PACKAGE.parent / "notebooks"


class CourseError(ValueError):
    """The course cannot be run as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Result:
    """How one chapter went: its title, whether it ran to its end, seconds, the error's last line if it did not, and
    whether this is an earlier run's result, kept."""

    chapter: str
    title: str
    finished: bool
    seconds: float
    error: str = ""
    kept: bool = False


def chapters(only: list[str] | None = None) -> list[Path]:
    """The chapters' notebooks in order, or those with the numbers named.

    Raises:
        CourseError: no chapters beside the package, or a number that no chapter has.
    """
    found = {path.name[:2]: path for path in sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))}
    if not found:
        raise CourseError(f"no chapters in {NOTEBOOKS}: install the package from a clone with `pip install -e .`")
    numbers = [number.zfill(2) for number in only] if only else list(found)
    for number in numbers:
        if number not in found:
            raise CourseError(f"no chapter {number}: there are {', '.join(found)}")
    return [found[number] for number in numbers]


def folder_name(parameters: dict) -> str:
    """A folder for the results: the profile, and a checksum of what else was chosen, so that nothing is mixed."""
    others = {name: value for name, value in parameters.items() if name != "profile"}
    digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:6]
    return f"{parameters['profile']}-{digest}" if others else parameters["profile"]


def run(
    out: Path,
    parameters: dict,
    only: list[str] | None = None,
    again: bool = False,
    progress: bool = True,
    pages: str = "",
) -> Iterator[Result]:
    """Execute chapters into ``out``, one result at a time; a failing chapter does not stop the next.

    A chapter that already ran there from the same sources with the same parameters is not run again, so that an
    interrupted course goes on where it was.

    Args:
        out: folder for executed notebooks, their HTML and ``index.html``; not among the sources.
        parameters: values for the cell tagged ``parameters``.
        only: numbers of chapters, such as ["03"].
        again: run also what has run.
        progress: show a bar on standard error.
        pages: whatever changes when the reader's own pages do, such as their checksums; chapters then run again.

    Raises:
        CourseError: unknown chapter or parameter, or ``out`` among the sources.
    """
    paths = chapters(only)
    out = out.resolve()
    if out in (NOTEBOOKS, PACKAGE, PACKAGE.parent):
        raise CourseError(f"{out} holds the sources: choose another folder for the results")
    for path in paths:
        declared = papermill.inspect_notebook(str(path))
        unknown = sorted(set(parameters) - set(declared))
        if unknown:
            raise CourseError(f"{path.stem} has no parameter {', '.join(unknown)}: it declares {', '.join(declared)}")
    out.mkdir(parents=True, exist_ok=True)
    records = {path.stem: _record(out, path.stem) for path in chapters()}
    results = {chapter: Result(**record["result"]) for chapter, record in records.items() if "result" in record}
    for path in (bar := tqdm(paths, unit="chapter", leave=False, disable=not progress)):
        bar.set_description(path.stem)
        before = results.get(path.stem)
        fingerprint = _fingerprint(path, {**parameters, "pages": pages})
        if again or not (before and before.finished and records[path.stem]["fingerprint"] == fingerprint):
            results[path.stem] = _execute(path, out, parameters, fingerprint)
            write_index(out, results)
            yield results[path.stem]
        else:
            yield replace(before, kept=True)


def _execute(path: Path, out: Path, parameters: dict, fingerprint: str) -> Result:
    notebook = nbformat.read(path, as_version=4)
    title = re.match(r"#\s*(.*)", notebook.cells[0].source).group(1)
    target, unfinished = out / path.name, out / f"{path.stem}.part.ipynb"
    started, error = time.monotonic(), ""
    try:
        papermill.execute_notebook(
            str(path), str(unfinished), parameters, kernel_name="python3", progress_bar=False, cwd=str(out),
            autosave_cell_every=0, extra_arguments=["--log-level=ERROR"],
        )  # fmt: skip
    except PapermillExecutionError as failure:
        error = f"{failure.ename}: {failure.evalue}"
    seconds = time.monotonic() - started
    unfinished.replace(target)
    result = Result(path.stem, title, not error, round(seconds, 1), error)
    record = {"fingerprint": fingerprint, "parameters": parameters, "result": result.__dict__}
    write_whole(out / f"{path.stem}.html", as_html(target).encode())
    write_whole(out / f"{path.stem}.json", json.dumps(record, indent=1).encode())
    return result


def _fingerprint(path: Path, parameters: dict) -> str:
    """Changes with the chapter's cells, the package's code and the parameters, not with stored outputs."""
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    for cell in nbformat.read(path, as_version=4).cells:
        digest.update(f"{cell.cell_type}\0{cell.source}\0".encode())
    for module in sorted(PACKAGE.glob("*.py")):
        digest.update(module.read_bytes())
    return digest.hexdigest()


def _record(out: Path, chapter: str) -> dict:
    """What was written when the chapter ran; empty if it never did, or if its notebook is gone."""
    if not (out / f"{chapter}.ipynb").exists():
        return {}
    try:
        return json.loads((out / f"{chapter}.json").read_text())
    except (OSError, ValueError):
        return {}


def as_html(path: Path) -> str:
    """An executed notebook as one HTML page that needs no network: formulas become MathML, pictures are inside."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = _with_mathml(cell.source)
        else:
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    exporter = HTMLExporter()
    exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
    page, _ = exporter.from_notebook_node(notebook)
    # nbconvert's scripts fetch MathJax and the like from elsewhere; with MathML nothing here needs one
    page = re.sub(r"<script\b.*?</script>", "", page, flags=re.DOTALL)
    # links between chapters lead to the pages beside this one
    return re.sub(r'href="((?:\./)?\d\d_\w+)\.ipynb"', r'href="\1.html"', page)


def _with_mathml(markdown: str) -> str:
    """Replace $…$ and $$…$$ outside code by MathML, which browsers show by themselves."""
    pieces = re.split(r"(```.*?```|`[^`\n]*`)", markdown, flags=re.DOTALL)
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"\$\$(.+?)\$\$", lambda m: to_mathml(m[1].strip(), "block"), pieces[i], flags=re.DOTALL)
        pieces[i] = re.sub(r"(?<![\\$\w])\$([^$\n]+?)\$(?!\w)", lambda m: to_mathml(m[1]), pieces[i])
    return "".join(pieces)


def write_index(out: Path, results: dict[str, Result]) -> None:
    """``index.html``: one row a chapter, with links to the executed notebook and its page."""
    rows = []
    for chapter, result in sorted(results.items()):
        state = "ran to its end" if result.finished else f"stopped: {html.escape(result.error)}"
        rows.append(
            f'<tr><td><a href="{chapter}.html">{html.escape(result.title)}</a></td>'
            f'<td><a href="{chapter}.ipynb">notebook</a></td><td>{result.seconds:.0f} s</td><td>{state}</td></tr>'
        )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Heart AI: the course, executed</title>
<meta name="viewport" content="width=device-width">
<style>body {{ font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
td, th {{ padding: .3rem .8rem; border-bottom: 1px solid #ccc; text-align: left }}</style></head>
<body><h1>Heart AI: the course, executed</h1>
<p>For teaching. Not a medical device.</p>
<table><tr><th>chapter</th><th>file</th><th>time</th><th>result</th></tr>
{chr(10).join(rows)}
</table></body></html>
"""
    write_whole(out / "index.html", page.encode())
