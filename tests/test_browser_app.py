"""The reading room in a browser: as a page of its own (heartai app), and in JupyterLab.

All tests of a place share one server, one browser and one open room, which loads its model once; each begins with no
report. They skip where no Chromium is found (browser.py says how it is looked for).
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from browser import PATIENCE, free_port, serving, violations
from PIL import Image

from heartai_utils.conditions import NAMES
from heartai_utils.page import draw_page, encode_page
from heartai_utils.page_server import CHAPTER
from heartai_utils.simulation import simulate_recording
from heartai_utils.uploads import MAX_BYTES
from heartai_utils.verdict import PageReader

BIN = Path(sys.executable).parent
WARNING = "Not a medical device"
CHOOSE, DRAW, CLEAR = "Choose pages to read", "Draw a page and read it", "Clear all reports"


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """Pages, and what is none."""
    folder = tmp_path_factory.mktemp("files")
    drawn = draw_page(simulate_recording("Myocardial infarction", seed=4), seed=4)
    (folder / "ward 3.jpg").write_bytes(encode_page(drawn))
    page = Image.open(folder / "ward 3.jpg")
    other = Image.fromarray(draw_page(simulate_recording("Normal", seed=5), seed=5))
    page.save(folder / "both.pdf", save_all=True, append_images=[Image.new("RGB", (99, 99)), other])
    (folder / "thesis.jpg").write_text("These are the chapters of my thesis.")
    page.reduce(2).save(folder / "half.png")
    Image.fromarray(np.rot90(drawn, 2)).save(folder / "upside down.png")
    (folder / "<b>cut.jpg").write_bytes((folder / "ward 3.jpg").read_bytes()[:200_000])
    (folder / "film.jpg").write_bytes(bytes(MAX_BYTES + 5_000_000))
    return folder


def opened(browser, address: str, **options):
    """A page of a browser that has no other page's memory, and keeps the addresses of all that it asks for."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("websocket", lambda socket: page.asked.append(socket.url))
    page.on("filechooser", lambda chooser: None)  # from now on, not from the moment that one is waited for
    page.goto(address)
    return page


@pytest.fixture(scope="module")
def app(browser):
    """The page that heartai app serves."""
    command = [BIN / "heartai", "app", "--no-browser", "--port", free_port()]
    with serving(command, r"http://\S+") as found:
        page = opened(browser, found[0], viewport={"width": 1280, "height": 800})
        in_sight(page)  # before anything is loaded
        yield page
        page.context.close()


@pytest.fixture
def room(app):
    """The same page without reports, as wide as a desk's."""
    app.set_viewport_size({"width": 1280, "height": 800})
    begun(app)
    yield app
    in_sight(app)


def begun(page) -> None:
    page.get_by_role("button", name=CHOOSE).wait_for()
    if page.locator("article").count():
        page.get_by_role("button", name=CLEAR).click()
    page.wait_for_function("!document.querySelector('article')")


def choose(page, *paths: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=CHOOSE).click()
    chooser.value.set_files([str(path) for path in paths])


def told(page, words: str) -> str:
    """What the room says, once it says that."""
    place = page.locator(".heart-ai-status")
    place.get_by_text(words).first.wait_for()
    return place.inner_text()


def probabilities(article) -> dict[str, float]:
    """From a report's first table."""
    rows = article.locator("table").first.locator("tbody tr")
    return {row.locator("th").inner_text(): float(row.locator("td").first.inner_text()) for row in rows.all()}


def in_sight(page) -> None:
    """The warning is where the reader looks, and nothing covers it."""
    seen = page.evaluate(
        """words => [...document.querySelectorAll("p")].filter(p => p.textContent.includes(words)).some(p => {
            const box = p.getBoundingClientRect(), x = box.left + 20, y = box.top + box.height / 2;
            return x > 0 && y > 0 && y < innerHeight && p.contains(document.elementFromPoint(x, y));
        })""",
        WARNING,
    )
    assert seen, "the warning is not in sight"


def fits(page, width: int) -> None:
    """Nothing is wider than the window."""
    assert page.evaluate("innerWidth") == width
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        """width => [...document.body.querySelectorAll("*")].filter(element => {
            const box = element.getBoundingClientRect();
            return box.width && box.right > width + 1 && element.checkVisibility() && element.id !== "past";
        }).map(element => element.outerHTML.slice(0, 150))""",
        width,
    )
    assert not beyond, beyond


def reachable(page, locator) -> None:
    """Scrolled to, a control can be touched: neither the warning nor anything else lies over it."""
    locator.scroll_into_view_if_needed()
    assert locator.evaluate(
        """element => {
            const box = element.getBoundingClientRect();
            return element.contains(document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2));
        }"""
    ), locator


def is_whole(report: str, condition: str) -> None:
    """The report asks nobody for anything, and says what must be said."""
    assert not re.search(r"""\b(src|href|srcset|action)\s*=\s*(?!["']?(data:|#))""", report)
    assert not re.search(r"url\(|@import|<script|<link|<iframe", report)
    assert condition in report and report.count(WARNING) >= 2


# --- the page of its own ------------------------------------------------------------------------------------------


def test_a_page_is_read(room, files):
    choose(room, files / "ward 3.jpg")
    told(room, "Read: ward 3.jpg")
    (article,) = room.locator("article").all()
    expected = PageReader("best").read(files / "ward 3.jpg")
    assert probabilities(article) == pytest.approx(expected.probabilities, abs=0.002)
    assert article.get_by_role("heading", name=expected.condition).or_(article.locator(".said")).first.is_visible()
    assert f"ward 3.jpg: {expected.condition}" in told(room, "Read:")
    assert all(article.locator("img, svg[role=img]").evaluate_all("all => all.map(e => e.alt || e.ariaLabel)"))
    assert article.locator("img").evaluate_all("all => all.every(e => e.complete && e.naturalWidth > 0)")


def test_a_real_page_is_read(room, real_pages):
    path = next(real_pages.glob("*/*.jpg"))
    choose(room, path)
    told(room, f"Read: {path.name}")
    found = probabilities(room.locator("article"))
    assert tuple(found) == NAMES and sum(found.values()) == pytest.approx(1, abs=0.003)


def test_several_are_read_at_once_and_what_is_no_page_is_refused_with_the_reason(room, files):
    wrong = {
        "thesis.jpg": "neither JPEG, PNG nor PDF", "half.png": "1107×786", "<b>cut.jpg": "cut off",
        "upside down.png": "does not look like a page",
    }  # fmt: skip
    choose(room, *(files / name for name in wrong), files / "both.pdf")
    words = told(room, "Read: both.pdf, page 1")
    assert "both.pdf, page 3" in words and room.locator("article").count() == 2
    reasons = room.get_by_role("alert").get_by_role("listitem").all_inner_texts()
    assert len(reasons) == len(wrong)
    for reason, (name, what) in zip(reasons, wrong.items(), strict=True):
        assert reason.startswith(name) and what in reason


def test_a_file_too_large_is_refused_before_it_is_sent(room, files):
    choose(room, files / "film.jpg")
    words = told(room, "film.jpg")
    assert "25.0 MB" in words and "20 MB" in words and room.locator("article").count() == 0
    choose(room, files / "ward 3.jpg")  # and the room goes on
    told(room, "Read: ward 3.jpg")


def test_the_report_is_a_file_that_needs_nobody(room, files, browser, tmp_path):
    choose(room, files / "ward 3.jpg")
    told(room, "Read: ward 3.jpg")
    with room.expect_download() as download:
        room.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename.endswith(".html")
    path = tmp_path / "report.html"
    download.value.save_as(path)
    condition = max(found := probabilities(room.locator("article")), key=found.get)
    is_whole(path.read_text(), condition)
    report = opened(browser, path.as_uri(), viewport={"width": 360, "height": 640})
    assert {url.partition(":")[0] for url in report.asked} <= {"file", "data"}
    assert probabilities(report.locator("article")) == found
    in_sight(report)
    fits(report, 360)
    assert violations(report) == []
    report.context.close()


def test_a_simulated_page_is_read_with_the_keyboard_alone(room):
    to(room, "Condition")
    room.keyboard.press("ArrowDown")
    room.keyboard.press("ArrowDown")
    to(room, "Seed")
    room.keyboard.press("ArrowUp")
    to(room, DRAW)
    room.keyboard.press("Space")
    told(room, "Read: Simulated page: Abnormal heartbeat, seed 2")
    to(room, "Download")
    with room.expect_download() as download:
        room.keyboard.press("Enter")
    is_whole(Path(download.value.path()).read_text(), "Abnormal heartbeat")
    to(room, CLEAR, "Shift+Tab")
    room.keyboard.press("Enter")
    told(room, "gone")


def test_a_page_is_chosen_with_the_keyboard_alone(room, files):
    to(room, CHOOSE)
    with room.expect_file_chooser() as chooser:
        room.keyboard.press("Enter")
    chooser.value.set_files(files / "half.png")
    assert "1107×786" in told(room, "half.png")


def to(page, name: str, key: str = "Tab") -> None:
    """Press a key until the control of that name has the focus, which is seen; from the top where it starts anew."""
    for _ in range(60):
        page.keyboard.press(key)
        name_now, outline = page.evaluate(
            """() => {
                const now = document.activeElement, label = now.labels?.[0]?.textContent;
                return [now.tagName === "BODY" ? "" : label || now.innerText, getComputedStyle(now).outlineStyle];
            }"""
        )
        if name in name_now:
            assert outline != "none", f"the focus on {name} is not seen"
            in_sight(page)
            return
    raise AssertionError(f"{name} cannot be reached with {key}")


def test_a_phone_shows_all_of_it(room, files):
    room.set_viewport_size({"width": 360, "height": 640})
    fits(room, 360)
    choose(room, files / "ward 3.jpg", files / "half.png")
    told(room, "Read: ward 3.jpg")
    fits(room, 360)
    for name in (CHOOSE, DRAW, "Print the record", CLEAR):
        reachable(room, room.get_by_role("button", name=name))
    reachable(room, room.get_by_label("Condition"))
    reachable(room, room.get_by_label("Seed"))
    for part in room.locator("article :is(h2, h3, h4, img, svg, table)").all():
        part.scroll_into_view_if_needed()
        in_sight(room)
    reachable(room, room.get_by_role("link", name="Download"))


def test_axe_finds_nothing_to_mend(room, files):
    assert violations(room) == []
    choose(room, files / "ward 3.jpg", files / "thesis.jpg")
    told(room, "Read: ward 3.jpg")
    assert violations(room) == []
    room.set_viewport_size({"width": 360, "height": 640})
    assert violations(room) == []


def test_no_other_host_is_asked(app):
    """By what all tests before this one have asked for."""
    begun(app)
    own = re.match(r"http://([^/]+)", app.url)[1]
    asked = {re.match(r"(?:https?|wss?)://([^/]+)", url) for url in app.asked if not re.match("data:|blob:", url)}
    assert {host[1] for host in asked} == {own}


# --- in JupyterLab ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lab(browser, tmp_path_factory):
    """The chapter in JupyterLab, every cell run."""
    home = tmp_path_factory.mktemp("lab")
    shutil.copy(CHAPTER, home)
    asks_nobody = home / ".settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    asks_nobody.parent.mkdir(parents=True)
    asks_nobody.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    settings = {f"JUPYTER{name}_DIR": str(home / ".settings") for name in ("_CONFIG", "LAB_SETTINGS", "LAB_WORKSPACES")}
    command = [
        BIN / "jupyter", "lab", "--no-browser", "--allow-root", f"--port={free_port()}", "--port-retries=0",
        f"--ServerApp.root_dir={home}", "--IdentityProvider.token=", "--LabApp.extension_manager=readonly",
    ]  # fmt: skip
    with serving(command, r"http://localhost:\d+/", env={**os.environ, **settings}) as found:
        page = opened(browser, f"{found[0]}lab/tree/{CHAPTER.name}", viewport={"width": 1280, "height": 800})
        page.locator(".jp-Notebook").wait_for()
        page.get_by_text(re.compile(r"Python 3.*\| Idle")).wait_for()  # before that, it would ask which kernel to take
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        page.get_by_role("button", name=CHOOSE).wait_for()
        yield page
        page.context.close()


def test_in_jupyterlab_pages_are_read_and_others_refused(lab, files):
    choose(lab, files / "ward 3.jpg", files / "half.png")
    words = told(lab, "Read: ward 3.jpg")
    assert "1107×786" in words
    article = lab.locator("article")
    expected = PageReader("best").read(files / "ward 3.jpg")
    assert probabilities(article) == pytest.approx(expected.probabilities, abs=0.002)
    article.scroll_into_view_if_needed()
    in_sight(lab)
    with lab.expect_download() as download:
        article.page.get_by_role("link", name="Download").click()
    is_whole(Path(download.value.path()).read_text(), expected.condition)


def test_in_jupyterlab_axe_finds_nothing_to_mend_in_the_room(lab):
    assert violations(lab, ".heart-ai-room") == []
