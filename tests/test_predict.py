"""heartai predict: many pages, folders and PDF files at a time, whatever lies among them."""

from __future__ import annotations

import json
import os
import re
import signal
import struct
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import typer.testing
from PIL import Image

from heartai_utils import cli, page_files
from heartai_utils.conditions import NAMES
from heartai_utils.page import PageError, draw_page, encode_page
from heartai_utils.page_files import find_pages, read_files
from heartai_utils.simulation import simulate_recording
from heartai_utils.uploads import is_pdf
from heartai_utils.verdict import PageReader, Verdict

HEARTAI = Path(sys.executable).with_name("heartai")


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return draw_page(simulate_recording("Abnormal heartbeat", seed=2), seed=2)


@pytest.fixture
def ward(drawn, tmp_path) -> Path:
    """A folder as one finds them: three pages, one of them in a PDF of three, and what is none."""
    folder = tmp_path / "ward"
    (folder / "night [red]" / "deeper").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    jpeg = encode_page(drawn)
    (folder / "1.JPG").write_bytes(jpeg)
    (folder / "night [red]" / "deeper" / "3.jpeg").write_bytes(jpeg)
    blank = Image.new("RGB", (99, 99), "white")
    Image.open(folder / "1.JPG").save(folder / "2.pdf", save_all=True, append_images=[blank, Image.fromarray(drawn)])
    (folder / "4 broken.jpg").write_bytes(jpeg[:200_000])
    (folder / "5 broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    (folder / "notes.txt").write_text("mine")
    (folder / "._1.jpg").write_bytes(b"what macOS leaves")
    (folder / ".hidden" / "6.jpg").write_bytes(jpeg)
    return folder


def predict(*arguments: str | Path, code: int = 0) -> tuple[str, str]:
    """Standard output and standard error of the command, which does not know that it is not alone."""
    arguments = ["predict", *map(str, arguments), "--model", "course"]
    result = typer.testing.CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout, result.stderr


def test_a_folder_is_read_with_all_below_it(ward):
    names = [str(path.relative_to(ward)) for path in find_pages([ward])]
    assert names == ["1.JPG", "2.pdf", "4 broken.jpg", "5 broken.pdf", "night [red]/deeper/3.jpeg"]
    (ward / "again").symlink_to(ward, target_is_directory=True)
    assert len(find_pages([ward])) == 5
    given = [ward / "notes.txt", ward / "night [red]", ward / "nowhere.jpg"]
    assert find_pages(given) == [given[0], ward / "night [red]" / "deeper" / "3.jpeg", given[2]]


def test_a_folder_without_pages_is_told(ward):
    with pytest.raises(PageError, match=r"hidden holds no file that ends in \.jpg"):
        (ward / ".hidden" / "6.jpg").unlink()
        find_pages([ward / "1.JPG", ward / ".hidden"])


def test_a_pdf_is_known_by_its_ending_or_its_content(ward):
    assert is_pdf(ward / "2.pdf") and is_pdf(ward / "5 broken.pdf") and not is_pdf(ward / "1.JPG")
    (ward / "2.pdf").rename(ward / "2")
    assert is_pdf(ward / "2") and not is_pdf(ward / "2.pdf") and not is_pdf(ward)


class FakeReader:
    """Reads only what is there, three at a time, as `PageReader.read_all` does."""

    def __init__(self):
        self.seen = []

    def read_all(self, pages):
        pages = iter(pages)
        while batch := list(islice(pages, 3)):
            self.seen += batch
            for page in batch:
                broken = isinstance(page, Path) and "broken" in page.name
                yield PageError(f"{page} is broken") if broken else Verdict({"Normal": 1.0})


def test_outcomes_come_in_order_with_the_files_done(ward):
    reader, files = FakeReader(), find_pages([ward, ward / "5 broken.pdf", ward / "2.pdf", ward / "5 broken.pdf"])
    found = list(read_files(reader, files))
    got = [(Path(page.name).name, type(page.outcome).__name__, page.files) for page in found]
    pdf = [("2.pdf, page 1", "Verdict"), ("2.pdf, page 3", "Verdict")]
    assert got == [
        ("1.JPG", "Verdict", 1), *((*each, 2) for each in pdf), ("4 broken.jpg", "PageError", 3),
        ("5 broken.pdf", "PageError", 4), ("3.jpeg", "Verdict", 5), ("5 broken.pdf", "PageError", 6),
        *((*each, 7) for each in pdf), ("5 broken.pdf", "PageError", 8),
    ]  # fmt: skip
    assert len(reader.seen) == 7  # the broken PDF is no page


def test_what_is_refused_alone_needs_no_reader(ward):
    (found,) = read_files(FakeReader(), [ward / "5 broken.pdf"])
    assert "cut off" in str(found.outcome)


def test_each_page_has_its_verdict_and_the_last_line_counts(ward):
    told, complaints = predict(ward, code=2)
    lines = told.splitlines()
    assert len(lines) == 4 * 5 + 2
    (condition,) = {line.rpartition(": ")[2] for line in lines[:20:5]}
    assert [line.rpartition(": ")[0] for line in lines[:20:5]] == [
        f"{ward}/1.JPG", f"{ward}/2.pdf, page 1", f"{ward}/2.pdf, page 3", f"{ward}/night [red]/deeper/3.jpeg"
    ]  # fmt: skip
    assert lines[-2] == f"4 pages read: 4 {condition}; 2 refused" and "not a medical device" in lines[-1]
    first, second = complaints.splitlines()
    assert "4 broken.jpg is broken or cut off" in first and "5 broken.pdf is broken or cut off" in second


def test_json_is_one_object_a_page_as_read_alone(ward):
    told, complaints = predict(ward, "--json", code=2)
    found = [json.loads(line) for line in told.splitlines()]
    assert [Path(page["page"]).name for page in found] == ["1.JPG", "2.pdf, page 1", "2.pdf, page 3", "3.jpeg"]
    alone = PageReader("course").read(ward / "1.JPG")
    for page in (found[0], found[3]):
        assert page["verdict"] == alone.condition and page["probabilities"] == pytest.approx(alone.probabilities, 1e-3)
        assert tuple(page["probabilities"]) == NAMES
    assert len(complaints.splitlines()) == 2


def test_one_page_is_told_without_a_summary(ward):
    told, complaints = predict(ward / "night [red]")
    assert len(told.splitlines()) == 6 and "read:" not in told and complaints == ""


def test_names_that_cannot_be_written_are_told_all_the_same(ward):
    odd = os.fsdecode(os.fsencode(ward / "odd") + b"\xff\x1b[31m.jpg")
    os.link(ward / "1.JPG", odd)
    told, _ = predict(odd)
    assert f"{ward}/odd??[31m.jpg: " in told
    told, _ = predict(odd, "--json")
    assert json.loads(told)["page"] == odd


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no terminal to look at")
def test_a_terminal_sees_a_bar_and_json_never_does(ward):
    fcntl, termios = pytest.importorskip("fcntl"), pytest.importorskip("termios")
    theirs, ours = os.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))  # without a width there is no bar
    command = [HEARTAI, "predict", ward, "--model", "course", "--json"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=ours, stdin=subprocess.DEVNULL, timeout=600)
    os.close(ours)
    shown = b""
    try:
        while part := os.read(theirs, 65536):
            shown += part
    except OSError:  # how Linux says that nobody is at the other end
        pass
    os.close(theirs)
    assert result.returncode == 2 and b"reading:" in shown and b"0/5" in shown, shown
    assert len([json.loads(line) for line in result.stdout.splitlines()]) == 4
    assert b"\r" not in result.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_ctrl_c_ends_at_once_and_tells_how_far_it_came(ward):
    many = ward / "many"
    many.mkdir()
    for number in range(2000):
        os.link(ward / "1.JPG", many / f"{number}.jpg")
    command = [HEARTAI, "predict", many, "--model", "course", "--json"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **streams) as process:
        try:
            told = process.stdout.readline()
            process.send_signal(signal.SIGINT)
            told += process.stdout.read()
            complaints = process.stderr.read()
        finally:
            process.kill()
    assert process.returncode == 130
    (line,) = complaints.splitlines()
    pages = int(re.fullmatch(r"heartai: interrupted after (\d+) pages of 2000 files; the rest was not read", line)[1])
    whole = [json.loads(line) for line in told.splitlines()]
    assert 0 < len(whole) < 2000 and pages in (len(whole), len(whole) - 1)  # Ctrl-C may come between print and count


def test_pages_of_a_large_pdf_have_no_limit_of_size(ward, monkeypatch):
    asked = {}
    monkeypatch.setattr(page_files, "open_pages", lambda name, data, **options: asked.update(options) or [])
    assert list(read_files(FakeReader(), [ward / "2.pdf"])) == [] and asked == {"max_bytes": None}
