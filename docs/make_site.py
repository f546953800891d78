"""Build the reading edition (`make site`): the chapters with their stored outputs and the package's reference as pages.

    python docs/make_site.py            into docs/_build/site
    python docs/make_site.py FOLDER     into FOLDER/site

Nothing is executed and nothing fetched. Sphinx reads one folder, so the pages are first laid out in FOLDER/source as
they lie in the repository, with what Sphinx has to be told besides, such as the figures' alternative texts. If nothing
has changed since, nothing is built.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from pathlib import Path

import nbformat

DOCS = Path(__file__).resolve().parent
PROJECT = DOCS.parent
CONFIG = DOCS / "site"
sys.path.insert(0, str(CONFIG))

import offline  # noqa: E402

WIDGET = "application/vnd.jupyter.widget-view+json"
LINK = re.compile(r"(?<!!)\[(?P<words>[^\]]+)\]\((?!https?:|mailto:|#)(?P<target>[^)\s]+)\)")


class SiteError(ValueError):
    """The pages cannot be laid out; the message says why and what to do."""


def pages() -> dict[Path, bytes]:
    """All that Sphinx reads, by its path: as in the repository, and the pages of `docs/site` at the top."""
    found: dict[Path, str | bytes] = {}
    for path in [*PROJECT.glob("notebooks/[0-9]*.ipynb"), *PROJECT.glob("notebooks/solutions/*.ipynb")]:
        found[path.relative_to(PROJECT)] = notebook_page(path)
    texts = [PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "data/README.md")]
    for path in [*texts, *DOCS.glob("*.md"), *PROJECT.glob("notebooks/**/*.md")]:
        found[path.relative_to(PROJECT)], files = text_page(path)
        found |= {file.relative_to(PROJECT): file.read_bytes() for file in files}
    if (solutions := Path("notebooks/solutions/README.md")) in found:
        found[solutions] += "\n```{toctree}\n:glob:\n:maxdepth: 1\n\n[0-9][0-9]_*\n```\n"
    found |= {path.relative_to(PROJECT): path.read_bytes() for path in DOCS.glob("*.png")}
    found |= reference_pages()
    for path in CONFIG.glob("*.md"):
        found[path.relative_to(CONFIG)] = without_missing(path.read_text(), found)
    return {path: page.encode() if isinstance(page, str) else page for path, page in found.items()}


def notebook_page(path: Path) -> str:
    """A notebook as MyST-NB wants it: each figure's alternative text among its cell's options, no widgets."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
            figures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
            alts = {figure.metadata.get("image/png", {}).get("alt", "") for figure in figures}
            if len(alts) > 1 or "" in alts:
                raise SiteError(f"{path.name}, cell {cell.id}: a cell shows one figure, by plots.show(figure, alt=…)")
            if alts:
                cell.metadata["mystnb"] = {"image": {"alt": alts.pop()}}
    return nbformat.writes(notebook)


def text_page(path: Path) -> tuple[str, set[Path]]:
    """A Markdown page whose links lead to pages or files of the site, and the files to which it links.

    A folder is its README, or, without one, no link. The project's README has become several pages.
    """
    files = set()

    def linked(found: re.Match) -> str:
        target, _, place = found["target"].partition("#")
        there = (path.parent / target).resolve()
        if there.is_dir() and (there / "README.md").is_file():
            there /= "README.md"
        if there.is_dir():
            return found["words"]
        if there == PROJECT / "README.md":
            there = PROJECT / page_of_readme(place)
        if there.suffix not in (".md", ".ipynb") and there.is_file():
            files.add(there)
        return f"[{found['words']}]({os.path.relpath(there, path.parent)}{'#' * bool(place)}{place})"

    return LINK.sub(linked, path.read_text()), files


def page_of_readme(place: str) -> str:
    """The page of the site that holds a section of the project's README, named as in a link to it."""
    readme = (PROJECT / "README.md").read_text()
    headings = {slug(found[1]): found.start() for found in re.finditer(r"^#+ (.*)$", readme, re.MULTILINE)}
    at = headings.get(place, 0)
    for page in CONFIG.glob("*.md"):
        for first, last in re.findall(r'start-after: "(.*)"\n(?::end-before: "(.*)"\n)?', page.read_text()):
            if readme.index(first) <= at < (readme.index(last) if last else len(readme)):
                return page.name
    raise SiteError(f"README.md: no page of docs/site includes the section “{place}”")


def slug(heading: str) -> str:
    """A heading as GitHub and MyST name it in links."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def without_missing(text: str, found: Collection[Path]) -> str:
    """A page whose tables of contents ask for no pages that are not there, such as solutions left out for a class."""

    def kept(line: re.Match) -> str:
        return line[0] if any(fnmatch(str(path.with_suffix("")), line[0].strip()) for path in found) else ""

    return re.sub(r"^[\w\[\]*-]+/\S+\n", kept, text, flags=re.MULTILINE)


def reference_pages() -> dict[Path, str]:
    """One page a public module, and the page that lists them in the order of the package."""
    modules = offline.public_modules()
    lines = ["The package", "===========", "", ".. automodule:: heartai_utils", "   :no-members:", "   :no-index:", ""]
    lines += [":ref:`All names <genindex>` of the package in the order of the alphabet.", ""]
    lines += [f":doc:`{module}`\n   {first_sentence(module)}\n" for module in modules]
    lines += [".. toctree::", "   :hidden:", "", *(f"   {module}" for module in modules)]
    found = {Path("reference/index.rst"): "\n".join([*lines, ""])}
    for module in modules:
        lines = [module, "=" * len(module), "", f".. automodule:: heartai_utils.{module}"]
        if "\n__all__ = " in (PROJECT / "heartai_utils" / f"{module}.py").read_text():
            lines.append("   :imported-members:")  # those of the list
        found[Path(f"reference/{module}.rst")] = "\n".join([*lines, ""])
    return found


def first_sentence(module: str) -> str:
    """Of a module's docstring."""
    docstring = ast.get_docstring(ast.parse((PROJECT / "heartai_utils" / f"{module}.py").read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split()).split(". ")[0].rstrip(".:") + "."


def lay_out(found: Mapping[Path, bytes], source: Path) -> bool:
    """Write the pages that have changed, so that Sphinx reads only those again; whether all others are still wanted."""
    for path, page in found.items():
        target = source / path
        if not target.is_file() or target.read_bytes() != page:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(page)
    gone = [path for path in source.rglob("*") if path.is_file() and path.relative_to(source) not in found]
    for path in gone:
        path.unlink()
    return not gone


def fingerprint(found: Mapping[Path, bytes]) -> str:
    """Changes with the pages, the configuration and the package."""
    files = [*CONFIG.rglob("*"), *(PROJECT / "heartai_utils").glob("*.py"), Path(__file__)]
    digest = hashlib.sha256()
    for path in sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts):
        digest.update(f"{path}\0".encode() + path.read_bytes())
    for path, page in sorted(found.items()):
        digest.update(f"{path}\0".encode() + page)
    return digest.hexdigest()


def build(out: Path) -> int:
    """Lay out and build into ``out / "site"``; 0 if all went well, also where nothing was to be done."""
    found = pages()
    site, doctrees, record = out / "site", out / "doctrees", out / "fingerprint"
    now = fingerprint(found)
    if not (site.is_dir() and record.is_file() and record.read_text() == now):
        from sphinx.cmd.build import build_main

        record.unlink(missing_ok=True)
        if not lay_out(found, out / "source"):
            shutil.rmtree(site, ignore_errors=True)  # it may hold pages of what is gone
            shutil.rmtree(doctrees, ignore_errors=True)
        options = ["-b", "html", "-c", CONFIG, "-d", doctrees, "-j", "auto", "--quiet", "-W", "--keep-going"]
        failed = build_main([*map(str, options), str(out / "source"), str(site)])
        if failed:
            shutil.rmtree(doctrees, ignore_errors=True)  # or the next call would take the faulty pages for done
            return failed
        record.write_text(now)
    return 0


def main(arguments: list[str]) -> int:
    out = Path(arguments[0]) if arguments else DOCS / "_build"
    try:
        failed = build(out)
    except SiteError as error:
        print(error, file=sys.stderr)
        return 2
    if not failed:
        print(f"Open {out / 'site' / 'index.html'}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
