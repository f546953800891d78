"""The reading room: what happens when its widgets are used, and how it is served."""

from __future__ import annotations

import base64
import re
import socket
import sys
import urllib.request
from concurrent.futures import Future
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import nbformat
import numpy as np
import pytest
import wfdb
from browser import serving

from heartai_utils import page, page_html, page_report, page_server, reading_room, uploads
from heartai_utils.conditions import NAMES
from heartai_utils.simulation import LEADS, RecordingError, print_filter, simulate_recording

PAGE = page.encode_page(page.draw_page(simulate_recording("Normal", 3), seed=3))


@pytest.fixture(scope="module")
def reader():
    return page_report.Reader()


@pytest.fixture
def room(reader):
    room = reading_room.Room(lambda: reader)
    room.reader.result(60)
    yield room
    room.box.close()


def give(room, **files: bytes) -> None:
    """What the browser does when files have been chosen."""
    room.upload.value = tuple(
        {"name": name.replace("_", "."), "type": "", "size": len(data), "content": memoryview(data),
         "last_modified": datetime(2020, 1, 1)}
        for name, data in files.items()
    )  # fmt: skip


def words(room) -> str:
    return re.sub(r"<[^>]+>", " ", room.status.value)


def reports(room) -> list[str]:
    return [re.search(r"<h\d>(.*?)</h\d>", each.value)[1] for each in room.reports.children]


def test_a_page_is_read(room, reader):
    give(room, page_jpg=PAGE)
    (shown,) = room.reports.children
    (opened,) = uploads.open_pages("page.jpg", PAGE)
    expected = reader.report("page.jpg", opened.image)
    assert page_html.fragment(expected, 3) in shown.value
    assert f"Read: page.jpg: {expected.verdict.condition}." in words(room) and "Not read" not in words(room)
    assert room.clear.layout.display == ""


def test_the_download_is_the_report(room, reader):
    give(room, page_jpg=PAGE)
    data = re.search(r'href="data:text/html;base64,([^"]+)"', room.reports.children[0].value)[1]
    (opened,) = uploads.open_pages("page.jpg", PAGE)
    assert base64.b64decode(data).decode() == page_html.document(reader.report("page.jpg", opened.image))


def test_uploads_are_not_kept(room, tmp_path, monkeypatch):
    """Neither in the widget, nor on disk, nor in the room."""
    before = set(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    give(room, page_jpg=PAGE)
    assert room.upload.value == () and set(tmp_path.rglob("*")) == before
    kept = [value for value in vars(room).values() if isinstance(value, bytes | np.ndarray | page_report.PageReport)]
    assert not kept


def test_several_at_once_and_the_bad_ones_named(room):
    give(room, one_jpg=PAGE, letter_jpg=b"Dear doctor,", empty_png=b"", two_jpg=PAGE)
    assert reports(room) == ["two.jpg", "one.jpg"]  # the newest first
    assert "letter.jpg is neither JPEG, PNG nor PDF" in words(room) and "empty.png is empty" in words(room)
    assert 'role="alert"' in room.status.value and "Read: one.jpg" in words(room)


def test_what_is_too_large_is_refused_with_the_reason(room):
    give(room, large_jpg=bytes(uploads.MAX_BYTES + 1))
    assert "large.jpg is too large: 20.0 MB" in words(room) and not room.reports.children


def test_names_are_never_markup(room):
    room._do(lambda: [("<img src=x>", PAGE_IMAGE)])
    give(room, **{"<script>x_jpg": b"text"})
    assert "<script>" not in room.status.value and "&lt;script&gt;" in room.status.value
    assert "<img src=x>" not in room.reports.children[0].value


(PAGE_IMAGE,) = (opened.image for opened in uploads.open_pages("page.jpg", PAGE))


def test_simulated_pages(room):
    room.condition.value, room.seed.value = "History of MI", 7
    room.draw.click()
    assert reports(room) == ["Simulated page: History of MI, seed 7"]
    assert "This page is simulated" in room.reports.children[0].value
    assert room.condition.options == NAMES


def test_recordings_are_printed_and_read(room, tmp_path):
    recording = simulate_recording("Normal", 4)
    wfdb.wrsamp(
        "heart", fs=recording.rate, units=["mV"] * 12, sig_name=[*LEADS], p_signal=recording.signals.T.astype(float),
        fmt=["16"] * 12, write_dir=str(tmp_path),
    )  # fmt: skip
    room.path.value = str(tmp_path / "heart.hea")
    room.print.click()
    assert reports(room) == ["Record heart, printed"]
    assert "This recording was made elsewhere" in room.reports.children[0].value


def test_recordings_of_other_machines_pass_this_ones_filter():
    heart = simulate_recording("Normal", 4, print_filter=None)
    drifted = replace(heart, signals=heart.signals + np.float32(1.5))  # electrodes have a level of their own
    printed = reading_room.as_printed(drifted)
    assert printed.signals.dtype == np.float32 and printed.rate == heart.rate
    assert np.abs(np.median(printed.signals, axis=1)).max() < 0.1
    assert np.allclose(printed.signals, print_filter(drifted.signals, heart.rate), atol=1e-5)
    with pytest.raises(RecordingError, match="lasts 7.0 s: a page shows 10 s"):
        reading_room.as_printed(simulate_recording("Normal", 4, seconds=7))


@pytest.mark.parametrize(
    ("path", "reason"), [("", "no record is named"), ("nowhere/heart.hea", "nowhere/heart.hea does not exist")]
)
def test_recordings_that_are_not_there(room, path, reason):
    room.path.value = path
    room.print.click()
    assert reason in words(room) and not room.reports.children


def test_reports_are_cleared_and_only_so_many_kept(room, monkeypatch):
    monkeypatch.setattr(reading_room, "MOST", 2)
    for seed in (1, 2, 3):
        room.seed.value = seed
        room.draw.click()
    assert [name[-1] for name in reports(room)] == ["3", "2"]
    room.clear.click()
    assert room.reports.children == () and room.clear.layout.display == "none"


def test_an_unforeseen_error_is_said_and_the_room_stays_open(room, monkeypatch):
    monkeypatch.setattr(page_html, "fragment", lambda *_: 1 / 0)
    room.draw.click()
    assert "something went wrong (ZeroDivisionError" in words(room)
    monkeypatch.undo()
    room.draw.click()
    assert len(room.reports.children) == 1


def test_a_model_that_cannot_be_loaded_is_told():
    def broken():
        raise OSError("best.keras is damaged")

    room = reading_room.Room(broken)
    assert isinstance(room.reader, Future) and isinstance(room.reader.exception(60), OSError)
    for _ in range(100):
        if "damaged" in words(room):
            break
        page_server.threading.Event().wait(0.05)
    assert 'role="alert"' in room.status.value and "best.keras is damaged" in words(room)
    room.draw.click()
    assert "best.keras is damaged" in words(room) and not room.reports.children
    room.box.close()


def test_every_control_is_labelled(room):
    for control in (room.upload, room.draw, room.print, room.clear, room.condition, room.seed, room.path):
        assert control.description
    assert "Not a medical device" in room.box.children[0].value


def test_without_a_reader_it_is_a_sentence(monkeypatch, capsys):
    monkeypatch.delenv("SERVER_SOFTWARE", raising=False)
    monkeypatch.setattr(reading_room, "Room", lambda **_: pytest.fail("a widget leaves its state in the notebook"))
    reading_room.show()
    assert capsys.readouterr().out == f"{reading_room.NOBODY}\n"


def test_under_voila_it_opens_with_headings_of_a_page(monkeypatch):
    made, shown = [], []
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5.8")
    monkeypatch.setattr(reading_room, "display", shown.append)

    class Quick(reading_room.Room):
        def __init__(self, level):
            made.append(level)
            self.box = "the room"

    monkeypatch.setattr(reading_room, "Room", Quick)
    reading_room.show()
    assert made == [2] and shown == ["the room"]


# --- Served -------------------------------------------------------------------------------------------------------


def test_only_the_cells_tagged_app_are_served():
    chapter = nbformat.read(page_server.CHAPTER, as_version=4)
    kept = page_server.app_part(chapter)
    assert [cell.cell_type for cell in kept.cells] == ["code"] and "reading_room.show()" in kept.cells[0].source
    with pytest.raises(ValueError, match="no cell of the notebook is tagged 'app'"):
        page_server.app_part(nbformat.v4.new_notebook())


def test_a_port_that_is_taken_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(page_server.PortTaken, match=r"port \d+ .*choose another with --port"):
            page_server.serve(port=other.getsockname()[1], browser=False)


def test_the_page_is_served_and_names_no_other_machine():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [Path(sys.executable).with_name("heartai"), "app", "--no-browser", "--port", str(port)]
    with serving(command, r"open at (http://\S+)") as found:
        with urllib.request.urlopen(found[1], timeout=120) as answer:
            text = answer.read().decode()
        foreign = urllib.request.Request(found[1], headers={"Host": "elsewhere.example"})
        with pytest.raises(urllib.error.HTTPError):  # a name that somebody else has given to this machine's address
            urllib.request.urlopen(foreign, timeout=120)
    assert '<html lang="en">' in text and "<title>Heart AI: read a page</title>" in text
    assert "Not a medical device" in text and "Heart AI: read a page</h1>" in text
    asked = re.findall(r"""(?:src|href|import|url)\s*[=(]?\s*["'](https?:)?//""", text)
    assert not asked
    assert "widget-view+json" in text  # the room was opened
