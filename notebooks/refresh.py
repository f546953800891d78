"""Execute chapters and solutions in place, so that their stored outputs are those of a fresh run (`make refresh`).

    python notebooks/refresh.py                 all
    python notebooks/refresh.py 03 05           two chapters and their solutions
    python notebooks/refresh.py solutions       all solutions

Before that, the exercises of these chapters are derived from their solutions. Run twice, it gives the same bytes: no
times are recorded, standard error and widget state are not kept. A notebook that fails keeps its old outputs.
"""

from __future__ import annotations

import sys
from pathlib import Path

import derive_exercises
import nbformat
from nbclient import NotebookClient
from tqdm.std import tqdm

from heartai_utils import dataset

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


def chosen(names: list[str]) -> list[Path]:
    """Chapters, then solutions, whose file name or path below this folder begins with one of the names; all if none."""
    paths = [*sorted(FOLDER.glob("[0-9][0-9]_*.ipynb")), *sorted(FOLDER.glob("solutions/[0-9][0-9]_*.ipynb"))]
    return [
        path
        for path in paths
        if not names or path.name.startswith(tuple(names)) or str(path.relative_to(FOLDER)).startswith(tuple(names))
    ]


def main(names: list[str]) -> int:
    paths = chosen(names)
    if not paths:
        print(f"no chapter and no solutions {', '.join(names)} in {FOLDER}", file=sys.stderr)
        return 2
    for path in paths:
        if path.parent == FOLDER and derive_exercises.solutions_of(path).exists():
            derive_exercises.derive(path)
    for path in (bar := tqdm(paths, unit="notebook")):
        bar.set_description(str(path.relative_to(FOLDER).with_suffix("")))
        notebook = executed(nbformat.read(path, as_version=4), path.parent)
        dataset.write_whole(path, f"{nbformat.writes(notebook)}\n".encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
