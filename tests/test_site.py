"""The reading edition opens from disk without a network, leads nowhere wrong, and can be read by everyone.

It is built once, from the chapters as they are stored; the browser's part skips where no Chromium is found.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from browser import violations
from bs4 import BeautifulSoup

PROJECT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(PROJECT / "docs"))

import make_site  # noqa: E402
import offline  # noqa: E402

pytestmark = pytest.mark.slow

pytestmark = pytest.mark.slow  # the site is built, and opened in a browser page by page
MAKE = [sys.executable, str(PROJECT / "docs" / "make_site.py")]
CHAPTERS = sorted(path.stem for path in (PROJECT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
ONE_OF_EACH_KIND = ["index.html", "measured.html", "search.html", "reference/vit.html", f"notebooks/{CHAPTERS[4]}.html"]
LOADED = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reading")
    done = subprocess.run([*MAKE, str(out)], capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout == f"Open {out / 'site' / 'index.html'}\n"
    return out


@pytest.fixture(scope="module")
def site(built) -> Path:
    return built / "site"


@pytest.fixture(scope="module")
def pages(site) -> dict[str, BeautifulSoup]:
    return {str(path.relative_to(site)): parsed(path) for path in sorted(site.rglob("*.html"))}


def parsed(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(), "html.parser")


def links(page: BeautifulSoup) -> Iterator[str]:
    for element in page.find_all(True):
        for attribute in ("href", "src", "data", "action"):
            if attribute in element.attrs:
                yield element[attribute]


def broken_links(folder: Path, pages: dict[str, BeautifulSoup]) -> list[str]:
    """Links to files that are not there, to places that the page does not have, or to places on this machine."""
    places = {name: {element["id"] for element in page.find_all(id=True)} for name, page in pages.items()}
    broken = []
    for name, page in pages.items():
        for link in links(page):
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto", "data"):
                continue
            target = (folder / name).parent / unquote(parts.path) if parts.path else folder / name
            there = str(target.resolve().relative_to(folder.resolve())) if target.is_file() else None
            place = unquote(parts.fragment)
            if parts.scheme or link.startswith("/") or there is None:
                broken.append(f"{name}: {link}")
            elif place and there in places and place not in places[there]:
                broken.append(f"{name}: {link} has no such place")
    return broken


def test_no_link_is_broken(site, pages):
    assert len(pages) > len(CHAPTERS) + len(offline.public_modules())
    assert not broken_links(site, pages)


def test_broken_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<p id="here"><a href="#here"></a><a href="b.html#up"></a><img src="no.png"></p>')
    (tmp_path / "b.html").write_text('<a href="a.html#here"></a><a href="a.html#there"></a><a href="file:///etc"></a>')
    found = broken_links(tmp_path, {name: parsed(tmp_path / name) for name in ("a.html", "b.html")})
    assert found == [
        "a.html: b.html#up has no such place",
        "a.html: no.png",
        "b.html: a.html#there has no such place",
        "b.html: file:///etc",
    ]


def test_nothing_is_loaded_from_another_host(site, pages):
    for name, page in pages.items():
        for tag, attribute in LOADED.items():
            for element in page.find_all(tag):
                assert not urlsplit(element.get(attribute, "")).netloc, f"{name}: {element}"
        for style in [*page.find_all("style"), *page.find_all(style=True)]:
            assert "//" not in (style.string or "") + style.get("style", ""), f"{name}: {style}"
    for sheet in site.rglob("*.css"):
        for address in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)", sheet.read_text()):
            assert address.startswith("data:") or (sheet.parent / urlsplit(address).path).is_file(), (
                f"{sheet}: {address}"
            )


def test_every_image_has_an_alternative_text(pages):
    for name, page in pages.items():
        for image in page.find_all("img"):
            assert len(image.get("alt", "")) >= 20, f"{name}: {image}"


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_shows_its_figures_and_what_it_printed(chapter, site, pages):
    notebook = nbformat.read(PROJECT / "notebooks" / f"{chapter}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    article = pages[f"notebooks/{chapter}.html"].find("article")
    alts = [o.metadata["image/png"]["alt"] for o in outputs if "image/png" in o.get("data", {})]
    assert [image["alt"] for image in article.find_all("img")] == alts
    text = article.get_text()
    for output in outputs:
        if output.output_type == "stream":
            assert output.text.strip() in text
    own = site / "notebooks" / f"{chapter}.ipynb"
    assert own.read_bytes() == (PROJECT / "notebooks" / own.name).read_bytes()


def test_chapters_follow_each_other_and_are_linked_where_they_are_named(pages):
    for before, after in zip(CHAPTERS, CHAPTERS[1:], strict=False):
        assert pages[f"notebooks/{before}.html"].find("a", class_="right-next")["href"] == f"{after}.html"
        assert pages[f"notebooks/{after}.html"].find("a", class_="left-prev")["href"] == f"{before}.html"
    links_of_05 = pages[f"notebooks/{CHAPTERS[4]}.html"].find("article").find_all("a", string="Chapter 04")
    assert [link["href"] for link in links_of_05] == [f"{CHAPTERS[3]}.html"] * len(links_of_05) != []


def test_mentions_of_chapters():
    text = "Chapter 04 and chapters 06 and 07, not 08; chapter 9 is none, nor is subchapter 03."
    assert [(text[first:last], number) for first, last, number in offline.mentions(text)] == [
        ("Chapter 04", "04"),
        ("06", "06"),
        ("07", "07"),
    ]


@pytest.mark.parametrize("module", offline.public_modules())
def test_the_reference_has_every_documented_name(module, pages):
    public = importlib.import_module(f"heartai_utils.{module}")
    own = [name for name, thing in vars(public).items() if getattr(thing, "__module__", None) == public.__name__]
    names = [name for name in getattr(public, "__all__", own) if not name.startswith("_")]
    there = {element["id"] for page in pages.values() for element in page.select("dt[id]")}
    for name in names:
        thing = getattr(public, name)
        home = getattr(thing, "__module__", None) or ""
        if callable(thing) and thing.__doc__ and home.startswith("heartai_utils"):
            assert {f"heartai_utils.{module}.{name}", f"{home}.{name}"} & there, name


def test_a_figure_without_alternative_text_is_refused(tmp_path):
    figure = nbformat.v4.new_output("display_data", data={"image/png": "iVBORw0KGgo="})
    path = tmp_path / "11_bad.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=[figure], id="here")]), path)
    with pytest.raises(make_site.SiteError, match="11_bad.ipynb, cell here: .*alt="):
        make_site.notebook_page(path)


@pytest.mark.parametrize(
    "link, becomes",
    [
        ("[runs](runs)", "runs"),
        ("[the data](data/)", "[the data](data/README.md)"),
        ("[the licence](LICENSE)", "[the licence](LICENSE)"),
        ("![picture](LICENSE)", "![picture](LICENSE)"),
        ("[a site](https://example.org)", "[a site](https://example.org)"),
        ("[further down](#down)", "[further down](#down)"),
    ],
)
def test_links_of_a_page(link, becomes, tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "README.md").write_text("# Data")
    (tmp_path / "LICENSE").write_text("MIT")
    (tmp_path / "page.md").write_text(f"See {link}.")
    text, files = make_site.text_page(tmp_path / "page.md")
    assert text == f"See {becomes}."
    assert files == ({tmp_path / "LICENSE"} if link.startswith("[the licence]") else set())


@pytest.mark.parametrize(
    "place, page",
    [("", "index.md"), ("start", "index.md"), ("licence", "index.md"), ("the-command-line", "commands.md")]
    + [("what-shrinking-keeps-of-the-trace", "measured.md"), ("what-is-where", "commands.md")],
)
def test_the_readme_became_several_pages(place, page):
    assert make_site.page_of_readme(place) == page


def test_each_section_of_the_readme_is_on_a_page(pages):
    there = {heading.get_text().rstrip("#") for page in pages.values() for heading in page.select("h1, h2, h3")}
    sections = re.findall(r"^## (.*)$", (PROJECT / "README.md").read_text(), re.MULTILINE)
    assert len(sections) > 5
    assert not [section for section in sections if section not in there and section != "The command line"]


def test_contents_ask_for_nothing_that_is_missing():
    text = "notebooks/[0-9][0-9]_*\nnotebooks/solutions/README\ncommands\n"
    chapter = Path("notebooks/01_a.ipynb")
    assert make_site.without_missing(text, [chapter]) == "notebooks/[0-9][0-9]_*\ncommands\n"


def test_what_is_built_is_not_built_again(built):
    before = (built / "site" / "index.html").stat().st_mtime_ns
    subprocess.run([*MAKE, str(built)], check=True, capture_output=True, timeout=600)
    assert (built / "site" / "index.html").stat().st_mtime_ns == before


def window(browser, mode: str = "light", width: int = 1280):
    return browser.new_context(color_scheme=mode, viewport={"width": width, "height": 900})


@contextmanager
def opened(window, path: Path) -> Iterator:
    """A page with its formulas drawn; ``wrong`` are the requests to any host, and the errors, until then."""
    page, wrong = window.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url))
    page.on("requestfailed", lambda request: wrong.append(f"{request.url}: {request.failure}"))
    page.goto(path.as_uri())
    page.evaluate("() => window.MathJax?.startup?.promise.then(() => null)")
    page.wrong = list(wrong)  # axe asks for more than the page does
    yield page
    page.close()


# Chapters hold thousands of coloured words in a dozen colours: of each kind, one a page is looked at for its contrast.
ONE_OF_A_KIND = """() => {
    const seen = new Set();
    for (const word of document.querySelectorAll(".highlight pre span:not(:has(*))")) {
        const block = word.closest("pre").parentElement.parentElement;
        const kind = [word.className, block.className, block.parentElement.className].join();
        if (seen.has(kind)) word.replaceWith(word.textContent);
        seen.add(kind);
    }
    document.querySelectorAll("pre").forEach(pre => pre.normalize());
}"""


def barriers(page) -> list[str]:
    page.evaluate(ONE_OF_A_KIND)
    return violations(page)


def test_every_page_opens_from_disk_without_a_network_and_without_barriers(site, pages, browser):
    wrong = []
    with window(browser) as light:
        for name in pages:
            with opened(light, site / name) as page:
                wrong += [f"{name}: {problem}" for problem in page.wrong + barriers(page)]
    assert not wrong, "\n".join(wrong)


def test_a_page_of_each_kind_is_without_barriers_in_the_dark(site, browser):
    paper = "[...document.querySelectorAll('article img')].map(image => getComputedStyle(image).backgroundColor)"
    with window(browser, mode="dark") as dark:
        for name in ONE_OF_EACH_KIND:
            with opened(dark, site / name) as page:
                assert page.evaluate("document.documentElement.dataset.theme") == "dark"
                assert not page.wrong + barriers(page), name
                assert set(page.evaluate(paper)) <= {"rgb(255, 255, 255)"}


def test_formulas_are_drawn(site, pages, browser):
    name = f"notebooks/{CHAPTERS[4]}.html"
    written = pages[name].select("article .math")
    assert len(written) > 20
    with window(browser) as light, opened(light, site / name) as page:
        assert page.locator("article .math mjx-container > svg").count() == len(written)
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0


def test_a_search_finds_a_chapter_and_shows_where(site, browser):
    with window(browser) as light, opened(light, site / "index.html") as page:
        page.keyboard.press("Control+k")
        page.keyboard.type("softmax")
        page.keyboard.press("Enter")
        page.wait_for_url("**/search.html?q=softmax")
        results = page.locator("#search-results li")
        chapter = results.filter(has_text="05 · Attention").first
        chapter.locator(".context", has_text=re.compile("softmax", re.IGNORECASE)).wait_for()
        assert results.locator(".context").count() == results.count() > 5
        assert not page.wrong + barriers(page)
        chapter.locator("a").click()
        page.wait_for_url(f"**/{CHAPTERS[4]}.html**")


def test_no_page_is_wider_than_a_phone(site, pages, browser):
    wide = []
    with window(browser, width=390) as phone:
        for name in pages:
            with opened(phone, site / name) as page:
                width = page.evaluate("document.scrollingElement.scrollWidth")
                wide += [f"{name}: {width} px"] if width > 390 else []
    assert not wide
