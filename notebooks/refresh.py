"""Execute the chapters in place, so that their stored outputs are those of a fresh run (`make refresh`).

    python notebooks/refresh.py            all chapters
    python notebooks/refresh.py 03 05      some

Run twice, it gives the same bytes: no times are recorded, standard error and widget state are not kept. A chapter that
fails keeps its old outputs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from tqdm.std import tqdm

FOLDER = Path(__file__).resolve().parent


def executed(notebook: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """The notebook after running all its cells in a fresh kernel, without what differs from run to run."""
    NotebookClient(
        notebook, kernel_name="python3", timeout=900, record_timing=False, coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    ).execute()  # fmt: skip
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return notebook


def main(numbers: list[str]) -> int:
    chapters = sorted(path for path in FOLDER.glob("[0-9][0-9]_*.ipynb") if not numbers or path.name[:2] in numbers)
    if not chapters:
        print(f"no chapter {', '.join(numbers)} in {FOLDER}", file=sys.stderr)
        return 2
    for path in (bar := tqdm(chapters, unit="chapter")):
        bar.set_description(path.stem)
        notebook = executed(nbformat.read(path, as_version=4), FOLDER)
        unfinished = path.with_suffix(".part")
        nbformat.write(notebook, unfinished)
        os.replace(unfinished, path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
