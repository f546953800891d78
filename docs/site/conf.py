"""Sphinx's configuration of the reading edition; `docs/make_site.py` stages its pages and calls Sphinx with it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]
sys.path[:0] = [str(PROJECT), str(HERE)]  # the package from the clone; the project's own extension

from offline import mathjax_script  # noqa: E402

import heartai_utils  # noqa: E402

project = "Heart AI"
author = "The Heart AI authors"
release = version = heartai_utils.__version__
language = "en"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "offline"]
exclude_patterns = ["README.md"]  # included by other pages, no page itself
root_doc = "index"
nitpicky = True

# Chapters: shown as they are stored, nothing is run and no script is fetched.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
myst_enable_extensions = ["amsmath", "attrs_block", "deflist", "dollarmath"]
myst_heading_anchors = 4

# Reference: the docstrings' single backticks are names or code, types that other packages document are no links.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
add_module_names = False
toc_object_entries_show_parents = "hide"
napoleon_numpy_docstring = False
napoleon_custom_sections = [(name, "params_style") for name in ("Attributes", "Call", "Args of the call")]
python_use_unqualified_type_names = True
nitpick_ignore_regex = [("py:obj", r"(?s:.*)"), (r"py:.*", r"(?!heartai_utils\b).*")]

html_context = {"default_mode": "auto"}
html_theme = "pydata_sphinx_theme"
html_title = "Heart AI"
html_static_path = ["_static", mathjax_script()]
html_css_files = ["heartai.css"]
html_js_files = [("heartai.js", {"defer": "defer"})]
templates_path = ["_templates"]
html_domain_indices = False  # the contents list the modules
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # it fetches pages, which browsers refuse for pages from disk; see excerpts.js
html_permalinks_icon = "#"
mathjax3_config = {"options": {"enableMenu": False}}  # the menu would load what is not there
mathjax_path = Path(mathjax_script()).name
html_sidebars = {"**": ["contents.html"]}
html_theme_options = {
    "logo": {"text": "Heart AI"},
    "search_bar_text": "Search",
    "navbar_center": [],
    "navbar_end": ["theme-switcher"],
    "secondary_sidebar_items": ["page-toc", "this-notebook"],
    "article_header_start": [],
    "footer_start": ["licence"],
    "footer_end": [],
    "primary_sidebar_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
