"""What the reading edition adds to Sphinx: public names for what private modules define, links between chapters."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import inspect
from sphinx.util.nodes import make_refnode

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "heartai_utils"
NO_PROSE = (nodes.literal, nodes.literal_block, nodes.math, nodes.raw, nodes.reference, nodes.title)


def mathjax_script() -> str:
    """MathJax in one file: as SVG it draws formulas without fonts, so nothing is fetched when one appears."""
    return str(distribution("sphinx-mathjax-offline").locate_file("sphinx-mathjax-offline/static/mathjax/tex-svg.js"))


def public_modules() -> list[str]:
    """The package's public modules in the order of its docstring; what that does not name stands before the last."""
    there = sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_"))
    listed = (PACKAGE / "__init__.py").read_text().split("::", 1)[1].split('"""')[0]
    named = [name for name in re.findall(r"\w+", listed) if name in there]
    return [*named[:-1], *(name for name in there if name not in named), *named[-1:]]


def public_names() -> dict[str, str]:
    """Where a thing is defined, as ``heartai_utils._sets.simulate_set``, and the public name that it has elsewhere."""
    names = {}
    for module in public_modules():
        public = importlib.import_module(f"heartai_utils.{module}")
        for name in getattr(public, "__all__", ()):
            thing = getattr(public, name)
            home = getattr(thing, "__module__", None) or ""
            if home.startswith("heartai_utils._"):
                names.setdefault(f"{home}.{getattr(thing, '__qualname__', name)}", f"{public.__name__}.{name}")
    return names


def signature_of_init(app, what, name, obj, options, signature, annotation) -> tuple[str, None] | None:
    """A class is called with what its __init__ takes, even if Keras's __new__ takes anything."""
    if what == "class" and signature == "(*args, **kwargs)":
        taken = inspect.signature(obj.__init__, bound_method=True)
        return inspect.stringify_signature(taken, show_return_annotation=False, unqualified_typehints=True), None
    return None


def skip_what_stands_elsewhere(app, what, name, obj, skip, options) -> bool | None:
    """What one public module defines and a second one offers, too, is documented with the first."""
    home = (getattr(obj, "__module__", None) or "").removeprefix("heartai_utils.")
    if what == "module" and home in public_modules() and not app.env.docname.endswith(f"/{home}"):
        return True
    return None


def resolve_private_name(app, env, node, contnode):
    """A reference to where a thing is defined leads to where it is documented; what is nowhere public is only named."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("heartai_utils._"):
        return None
    if target not in app.heartai_names:
        return contnode
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", app.heartai_names[target], node, contnode
    )


class ChapterLinks(SphinxPostTransform):
    """What is called "chapter 05" in the text becomes a link to that chapter."""

    default_priority = 300

    def run(self, **kwargs) -> None:
        chapters = {
            page.removeprefix("notebooks/")[:2]: page
            for page in self.env.found_docs
            if re.fullmatch(r"notebooks/\d\d_\w+", page)
        }
        chapters = {number: page for number, page in chapters.items() if page != self.env.docname}
        for text in list(self.document.findall(nodes.Text)):
            if not in_no_prose(text):
                pieces = list(self._pieces(text, chapters))
                if len(pieces) > 1:
                    text.parent.replace(text, pieces)

    def _pieces(self, text: str, chapters: dict[str, str]) -> Iterator[nodes.Node]:
        end = 0
        for first, last, number in mentions(text):
            if number in chapters:
                page = chapters[number]
                yield nodes.Text(text[end:first])
                yield make_refnode(
                    self.app.builder, self.env.docname, page, None, [nodes.Text(text[first:last])],
                    self.env.titles[page].astext(),
                )  # fmt: skip
                end = last
        yield nodes.Text(text[end:])


def mentions(text: str) -> Iterator[tuple[int, int, str]]:
    """First and last character of each mention of a chapter, and its number: all of "chapter 05", or a mere "06"."""
    for phrase in re.finditer(r"\b[Cc]hapters? \d\d\b(?:(?:, | and |, and | or | to )\d\d\b)*", text):
        numbers = list(re.finditer(r"\d\d", phrase[0]))
        if len(numbers) == 1:
            yield phrase.start(), phrase.end(), numbers[0][0]
        else:
            yield from ((phrase.start() + n.start(), phrase.start() + n.end(), n[0]) for n in numbers)


def in_no_prose(node: nodes.Node) -> bool:
    while node is not None:
        if isinstance(node, NO_PROSE):
            return True
        node = node.parent
    return False


def offer_named_toggles(app, pagename, templatename, context, doctree) -> None:
    """Templates can name the buttons in the contents that unfold a page's subpages: a screen reader sees no arrow."""

    def named_toggles(contents) -> str:
        soup = BeautifulSoup(str(contents), "html.parser")
        for item in soup.select("li.has-children"):
            link, toggle = item.find("a"), item.select_one("details > summary")
            if toggle is not None and not toggle.get_text(strip=True):
                toggle["aria-label"] = f"Pages of {link.get_text(strip=True)}"
        return str(soup)

    context["named_toggles"] = named_toggles


def finish(app, exception) -> None:
    """Beside the page of a notebook lies the notebook itself, as in the repository, and beside the search all text.

    The template that the theme leaves among its scripts is removed: it is no page.
    """
    if exception is None and app.builder.format == "html":
        static = Path(app.outdir) / "_static"
        (static / "webpack-macros.html").unlink(missing_ok=True)
        texts = {page: " ".join(app.env.get_doctree(page).astext().split()) for page in sorted(app.env.found_docs)}
        (static / "texts.js").write_text(f"const TEXTS = {json.dumps(texts, ensure_ascii=False)};\n", encoding="utf-8")
        for page in app.env.found_docs:
            source = PROJECT / f"{page}.ipynb"
            if source.exists():
                shutil.copyfile(source, Path(app.outdir) / f"{page}.ipynb")


def setup(app) -> dict:
    app.heartai_names = public_names()
    app.connect("autodoc-skip-member", skip_what_stands_elsewhere)
    app.connect("autodoc-process-signature", signature_of_init)
    app.connect("missing-reference", resolve_private_name)
    app.add_post_transform(ChapterLinks)
    app.connect("html-page-context", offer_named_toggles, priority=400)  # before the theme tries its templates
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
