"""Fetching the published set from servers that misbehave, taking it from zips and folders, killed at any moment."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import random
import shutil
import subprocess
import sys
import threading
import time
import warnings
import zipfile
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
import pytest

from heartai_utils import dataset
from heartai_utils import download as module
from heartai_utils.conditions import CONDITIONS
from heartai_utils.download import DownloadError, download, verify

PAGES = {
    f"{condition.folder}/{condition.stem}({n}).jpg": np.random.default_rng([condition.label, n]).bytes(900 + 150 * n)
    for condition in CONDITIONS
    for n in (1, 2, 3)
}
FIRST, SECOND = list(PAGES)[:2]
MANIFEST = pd.DataFrame(
    [(file, len(data), hashlib.sha256(data).hexdigest()) for file, data in PAGES.items()],
    columns=["file", "bytes", "sha256"],
)


def zipped(files, top="", method=zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of {name or ZipInfo: bytes} or pairs of these."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # a name twice
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name if isinstance(name, zipfile.ZipInfo) else top + name, data)
    return buffer.getvalue()


ZIP = zipped(PAGES, top="ECG Images dataset of Cardiac Patients/")


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def spread(folder: Path, files=PAGES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


class Server:
    """An HTTP server that sends a file as told; `requests` counts what it was asked."""

    def __init__(self):
        self.body, self.tag, self.modified = ZIP, '"one"', None
        self.ranges = True  # True, "ignored", "refused" (416), "shifted" (another part), "other tag"
        self.cuts = iter(())  # bytes after which each answer breaks off
        self.statuses = iter(())  # instead of 200, in turn
        self.status, self.length, self.redirect = None, True, False
        self.pause = self.stall = 0  # seconds before each piece of 1,000 bytes, before the first answer
        self.requests = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.requests.append(dict(self.headers))
                try:
                    server.answer(self)
                except OSError:
                    pass  # the other side is gone

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/download/2"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler):
        if self.redirect and handler.path != "/elsewhere.zip":
            handler.send_response(302)
            handler.send_header("Location", "/elsewhere.zip")
            return handler.end_headers()
        if self.stall:
            stall, self.stall = self.stall, 0
            time.sleep(stall)
        status = self.status or next(self.statuses, 200)
        start, total, tag = 0, len(self.body), self.tag
        asked = handler.headers.get("Range")
        same = handler.headers.get("If-Range") in (None, self.tag, self.modified)
        if status == 200 and asked and self.ranges != "ignored" and same:
            start, status = int(asked.removeprefix("bytes=").removesuffix("-")), 206
            start -= self.ranges == "shifted"
            tag = '"two"' if self.ranges == "other tag" else tag
            if self.ranges == "refused":
                status = 416
        body = self.body[start:] if status in (200, 206) else b"no"
        handler.send_response(status)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        if self.length == "chunked":
            handler.protocol_version = "HTTP/1.1"
            handler.send_header("Transfer-Encoding", "chunked")
            pieces = [body[at : at + 700] for at in range(0, len(body), 700)] + [b""]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        elif self.length:
            handler.send_header("Content-Length", str(len(body)))
        for name, value in {"ETag": tag, "Last-Modified": self.modified}.items():
            if value:
                handler.send_header(name, value)
        handler.end_headers()
        body = body[: next(self.cuts, len(body))]
        for at in range(0, len(body), 1000):
            if self.pause:
                time.sleep(self.pause)
            handler.wfile.write(body[at : at + 1000])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0005)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def fetch(server, dest, **options):
    return download(dest, url=server.url, manifest=MANIFEST, progress=False, **options)


def take(source, dest, **options):
    return download(dest, source=source, manifest=MANIFEST, progress=False, **options)


def is_whole(dest: Path) -> bool:
    """The pages are there, nothing else is, and nothing was left beside them."""
    assert [path.name for path in dest.parent.iterdir()] == [dest.name]
    assert tree(dest) == PAGES
    return True


def is_absent(dest: Path, kept=False) -> bool:
    """No destination; beside it at most what the next call goes on from."""
    assert [path.name for path in dest.parent.iterdir()] == ([f".{dest.name}.part"] if kept else [])
    return True


# --- Fetching


def test_a_set_is_fetched_verified_and_found_there_the_second_time(server, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(pooch.get_logger(), "handlers", [caplog.handler])
    assert pooch.get_logger().isEnabledFor(20)  # which a logger remembers
    dest = tmp_path / "new" / "pages"
    first = fetch(server, dest)
    assert is_whole(dest) and first.complete and first.added == first.right == len(PAGES)
    assert (first.missing, first.altered, first.surplus) == ((), (), ())
    second = fetch(server, str(dest))
    assert len(server.requests) == 1 and second.added == 0 and second.right == len(PAGES) and second.complete
    assert str(second) == f"12 of 12 published files in {dest}"
    assert server.requests[0]["Accept-Encoding"] == "identity" and not caplog.records
    pooch.get_logger().info("pooch is silent only during the call")
    assert len(caplog.records) == 1


@pytest.mark.parametrize("ranges", [True, "ignored", "refused", "shifted", "other tag"])
def test_a_connection_that_breaks_once_anywhere(server, tmp_path, ranges):
    server.ranges = ranges
    points = sorted({0, 1, 2, len(ZIP) - 2, len(ZIP) - 1, *range(7, len(ZIP), len(ZIP) // 12)})
    for point in points:
        server.cuts, server.requests[:] = iter([point]), []
        assert fetch(server, tmp_path / f"at {point}" / "pages").complete
        assert is_whole(tmp_path / f"at {point}" / "pages")
        ranges_asked = [headers.get("Range") for headers in server.requests]
        assert ranges_asked[:2] == [None, f"bytes={point}-" if point else None]
        assert len(ranges_asked) == (2 if ranges in (True, "ignored") or not point else 3)


@pytest.mark.parametrize("step", [len(ZIP) // 60, 1000, 8192, 8193])
@pytest.mark.slow
def test_a_connection_that_breaks_every_so_many_bytes(server, tmp_path, step):
    server.cuts = iter(lambda: step, None)
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages") and len(server.requests) == -(-len(ZIP) // step)


def test_without_ranges_a_connection_that_always_breaks_is_told_and_what_came_is_kept(server, tmp_path):
    server.cuts, server.ranges = iter(lambda: 5000, None), "ignored"
    with pytest.raises(DownloadError, match="5 times in a row.*call again: it goes on after"):
        fetch(server, tmp_path / "pages")
    assert is_absent(tmp_path / "pages", kept=True) and len(server.requests) == 6
    server.cuts, server.ranges = iter(()), True
    fetch(server, tmp_path / "pages")
    assert server.requests[-1]["Range"] == "bytes=5000-" and is_whole(tmp_path / "pages")


@pytest.mark.parametrize(
    "tag, modified",
    [('"one"', None), (None, "Fri, 19 Mar 2021 10:00:00 GMT"), ('W/"o"', "Fri, 19 Mar 2021 10:00:00 GMT")],
)
def test_a_file_that_changes_between_two_parts_is_fetched_anew(server, tmp_path, tag, modified):
    other = zipped(PAGES, top="another folder/")
    server.tag, server.modified, server.cuts = tag, modified, iter([9000])
    server.body, real = other, server.answer

    def answer(handler):
        real(handler)
        server.body = ZIP
        server.tag, server.modified = tag and tag.replace("o", "O"), modified and modified.replace("10", "11")

    server.answer = answer
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages")
    assert server.requests[1]["If-Range"] == (modified or tag) and len(server.requests) == 2


def test_a_changed_file_that_tells_itself_by_nothing_is_caught_by_the_checksums(server, tmp_path):
    server.tag, server.cuts = None, iter([9000])
    server.body, real = bytes(9000) + ZIP[9000:], server.answer

    def answer(handler):
        real(handler)
        server.body = ZIP

    server.answer = answer
    with pytest.raises(DownloadError, match="fetch it anew"):
        fetch(server, tmp_path / "pages")
    assert is_absent(tmp_path / "pages")
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages")


def test_an_answer_of_unknown_length(server, tmp_path):
    server.length = False
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages")
    server.cuts = iter([6000])
    with pytest.raises(DownloadError, match="no zip, or a damaged one"):
        fetch(server, tmp_path / "cut" / "pages")
    assert is_absent(tmp_path / "cut" / "pages")


def test_an_answer_in_chunks(server, tmp_path):
    server.length, server.cuts = "chunked", iter([6000])
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages") and len(server.requests) == 3


def test_interrupted_it_goes_on(server, tmp_path, monkeypatch):
    """With the zip fetched but not in its place; with some of its files unpacked."""

    def interrupted(source, target, real=os.replace):
        if Path(target).name.startswith(name):
            raise KeyboardInterrupt
        real(source, target)

    for name in ("tmp", "PMI(2)"):
        with monkeypatch.context() as patch:
            patch.setattr(module.os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                fetch(server, tmp_path / name / "pages")
        assert is_absent(tmp_path / name / "pages", kept=True)
        server.requests.clear()
        fetch(server, tmp_path / name / "pages")
        assert is_whole(tmp_path / name / "pages") and not server.requests


def test_what_was_begun_from_elsewhere_is_begun_anew(server, tmp_path):
    server.cuts, server.ranges, server.tag = iter(lambda: 5000, None), "ignored", None
    server.body = bytes(len(ZIP))
    with pytest.raises(DownloadError, match="times in a row"):
        fetch(server, tmp_path / "pages")
    server.cuts, server.ranges, server.body, server.url = iter(()), True, ZIP, server.url + "?again"
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages") and "Range" not in server.requests[-1]


def test_a_source_that_is_refused_leaves_what_was_fetched(server, tmp_path):
    server.cuts, server.ranges = iter(lambda: 5000, None), "ignored"
    with pytest.raises(DownloadError, match="times in a row"):
        fetch(server, tmp_path / "pages")
    with pytest.raises(DownloadError, match="No such file"):
        take(tmp_path / "typo.zip", tmp_path / "pages")
    (tmp_path / "bad.zip").write_bytes(ZIP[:-40])
    with pytest.raises(DownloadError, match="bad.zip is no zip, or a damaged one"):
        take(tmp_path / "bad.zip", tmp_path / "pages")
    part = spread(tmp_path / "part", {FIRST: PAGES[FIRST]})
    assert take(part, tmp_path / "pages").added == 1
    server.cuts, server.ranges = iter(()), True
    assert fetch(server, tmp_path / "pages").added == 11 and tree(tmp_path / "pages") == PAGES
    assert server.requests[-1]["Range"] == "bytes=5000-" and not list(tmp_path.glob(".*"))


def test_a_redirection_is_followed(server, tmp_path):
    server.redirect, server.cuts = True, iter([4321])
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages") and server.requests[-1]["Range"] == "bytes=4321-"


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_may_pass_is_tried_again_and_told_if_it_stays(server, tmp_path, status):
    server.statuses = iter([status] * 4)
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages") and len(server.requests) == 5
    server.status, server.requests[:] = status, []
    with pytest.raises(DownloadError, match=f"answers {status}.*5 times in a row"):
        fetch(server, tmp_path / "not" / "pages")
    assert len(server.requests) == 5 and is_absent(tmp_path / "not" / "pages")


@pytest.mark.parametrize("status", [403, 404, 410, 204])
def test_what_stays_is_told_at_once(server, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError, match=f"answers {status}.*browser.*source"):
        fetch(server, tmp_path / "pages")
    assert len(server.requests) == 1 and is_absent(tmp_path / "pages")


def test_pauses_grow(server, tmp_path, monkeypatch):
    pauses = []
    monkeypatch.setattr(module, "_PAUSE", 1.0)
    monkeypatch.setattr(module.time, "sleep", pauses.append)
    server.status = 500
    with pytest.raises(DownloadError):
        fetch(server, tmp_path / "pages")
    assert pauses == [2, 4, 8, 16]


def test_a_slow_server_and_one_that_falls_silent(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.15)
    server.pause = 0.01  # longer in all than the time limit, never at a time
    fetch(server, tmp_path / "slow")
    server.pause, server.stall = 0, 0.4
    server.requests.clear()
    fetch(server, tmp_path / "silent")
    assert tree(tmp_path / "silent") == PAGES and len(server.requests) == 2
    server.pause = 0.4
    with pytest.raises(DownloadError, match="no answer within 0.15 s"):
        fetch(server, tmp_path / "never")


def test_no_network_and_no_address(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "_PAUSE", 0)
    with pytest.raises(DownloadError, match="no connection.*Look at the network"):
        download(tmp_path / "pages", url="http://127.0.0.1:9/x", manifest=MANIFEST, progress=True)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4 and "tried again in" in told[0]
    with pytest.raises(DownloadError) as refused:
        download(tmp_path / "pages", url="http://127.0.0.1:9/x", manifest=MANIFEST, progress=False)
    assert "goes on" not in str(refused.value) and not capsys.readouterr().err
    for url in ("data.mendeley.com/x", "ftp://x/y", "http://"):
        with pytest.raises(DownloadError, match="is no address"):
            download(tmp_path / "pages", url=url, manifest=MANIFEST, progress=False)
    assert is_absent(tmp_path / "pages")


@pytest.mark.parametrize("body", [b"<!DOCTYPE html>", b"", ZIP[:-30], ZIP[: len(ZIP) // 2], bytes(len(ZIP))])
def test_what_is_no_zip_is_told_and_not_kept(server, tmp_path, body):
    server.body = body
    with pytest.raises(DownloadError, match="no zip, or a damaged one"):
        fetch(server, tmp_path / "pages")
    assert is_absent(tmp_path / "pages")


def test_wrong_bytes_of_the_right_length_are_named_and_fetched_anew(server, tmp_path):
    at = ZIP.index(FIRST.encode()) + len(FIRST) + 100
    server.body = ZIP[:at] + bytes([ZIP[at] ^ 1]) + ZIP[at + 1 :]
    with pytest.raises(DownloadError, match=r"1 altered: Normal Person.*/Normal\(1\).jpg\. Call again"):
        fetch(server, tmp_path / "pages")
    assert is_absent(tmp_path / "pages")
    server.body = ZIP
    assert fetch(server, tmp_path / "pages").added == len(PAGES) and is_whole(tmp_path / "pages")


def test_a_zip_that_lacks_files_is_an_error_that_names_them(server, tmp_path):
    server.body = zipped({**{file: PAGES[file] for file in PAGES if file != SECOND}, "read me.txt": b"hello"})
    with pytest.raises(DownloadError, match=r"in it; 1 missing: .*Normal\(2\).jpg; 1 besides: read me.txt"):
        fetch(server, tmp_path / "pages")
    assert is_absent(tmp_path / "pages")


@pytest.mark.parametrize("length", [True, False])
def test_a_file_larger_than_the_pages_can_be_is_not_fetched_to_its_end(server, tmp_path, length):
    server.body, server.length = bytes(4_000_000), length
    server.cuts = iter([100_000] if length else [])  # declared: refused before this matters
    with pytest.raises(DownloadError, match="sends more than the pages can be"):
        fetch(server, tmp_path / "pages")
    assert len(server.requests) == 1
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 1000


# --- Archives


@pytest.mark.parametrize(
    "name", ["../climbed", "a/../../climbed", "/climbed", "..\\climbed", "C:\\climbed", "c:climbed", "a/..", "../"]
)
def test_a_zip_that_climbs_out_of_its_folder_is_refused(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "bad.zip").write_bytes(zipped({**PAGES, name: b"x"}))
    with pytest.raises(DownloadError, match="outside its own folder"):
        take(tmp_path / "bad.zip", tmp_path / "in" / "pages")
    assert is_absent(tmp_path / "in" / "pages") and not list(tmp_path.rglob("*climbed*"))


def test_a_zip_with_a_link_is_refused(tmp_path):
    link = zipfile.ZipInfo(FIRST)
    link.create_system, link.external_attr = 3, 0o120777 << 16
    (tmp_path / "bad.zip").write_bytes(zipped([(link, b"/etc/passwd"), *PAGES.items()]))
    with pytest.raises(DownloadError, match=r"holds a link, .*Normal\(1\).jpg"):
        take(tmp_path / "bad.zip", tmp_path / "pages")


def test_zip_bombs_are_not_unpacked(tmp_path, monkeypatch):
    zeros = bytes(30_000_000)
    bomb = tmp_path / "bomb.zip"
    bomb.write_bytes(zipped({**PAGES, "zeros": zeros}))  # declared
    with pytest.raises(DownloadError, match="30.0MB, far more than the pages"):
        take(bomb, tmp_path / "pages")
    data = bytearray(zipped({**PAGES, FIRST: zeros}))  # declares the page's own size in both headers
    for at in (data.index(b"PK\3\4") + 22, data.index(b"PK\1\2") + 24):
        assert data[at : at + 4] == len(zeros).to_bytes(4, "little")
        data[at : at + 4] = len(PAGES[FIRST]).to_bytes(4, "little")
    bomb.write_bytes(data)
    found = take(bomb, tmp_path / "pages")
    assert found.altered == (FIRST,) and tree(tmp_path / "pages") == {k: v for k, v in PAGES.items() if k != FIRST}
    bomb.write_bytes(zipped({"inner.zip": zipped({"zeros": zeros})}))
    with pytest.raises(DownloadError, match="inner.zip in .*30.0MB, far more"):
        take(bomb, tmp_path / "nested")
    monkeypatch.setattr(module, "_MOST_FILES", 12)
    bomb.write_bytes(zipped({**PAGES, "one more": b""}))
    with pytest.raises(DownloadError, match="holds 13 files"):
        take(bomb, tmp_path / "many")


def test_names_that_differ_by_case_or_unicode_do_not_overwrite_each_other(tmp_path):
    pages = {"É/é(1).jpg": b"right", **PAGES}
    manifest = [(file, len(data), hashlib.sha256(data).hexdigest()) for file, data in pages.items()]
    manifest = pd.DataFrame(manifest, columns=list(MANIFEST))
    wrong = bytes(len(PAGES[FIRST]))
    files = [(FIRST.upper(), wrong), (SECOND.upper(), PAGES[SECOND])]
    files += [(name, data) for name, data in PAGES.items() if name != SECOND]
    files += [(FIRST.upper(), PAGES[FIRST]), (FIRST, wrong)]
    files += [("E\u0301/e\u0301(1).jpg", b"right"), ("É/É(1).jpg", b"wrong")]
    (tmp_path / "two.zip").write_bytes(zipped(files))
    found = download(tmp_path / "pages", source=tmp_path / "two.zip", manifest=manifest, progress=False)
    assert found.complete and found.added == 13 and tree(tmp_path / "pages") == pages
    assert Counter(found.surplus) == Counter([FIRST.upper()] * 2 + [FIRST, "É/É(1).jpg"])


@pytest.mark.parametrize("deep", [True, False])
def test_zips_inside_the_zip(server, tmp_path, deep):
    """With the published folder inside each, or only in its name."""
    parts = {}
    for condition in CONDITIONS:
        files = {file: data for file, data in PAGES.items() if file.startswith(condition.folder)}
        files = {file if deep else file.rpartition("/")[2]: data for file, data in files.items()}
        parts[f"{condition.folder}.zip"] = zipped(files | {"notes.txt": b"hello"})
    server.body = zipped(parts, top="dataset/", method=zipfile.ZIP_STORED)
    surplus = fetch(server, tmp_path / "pages").surplus
    assert surplus == tuple(f"dataset/{condition.folder}/notes.txt" for condition in CONDITIONS)
    assert is_whole(tmp_path / "pages")


def test_names_are_fit_to_print(tmp_path):
    (tmp_path / "odd.zip").write_bytes(zipped({**PAGES, "a\x1b[31m\n" + "x" * 500: b""}))
    told = str(take(tmp_path / "odd.zip", tmp_path / "pages"))
    assert told.isprintable() and len(told) < 500 and "1 besides: a\ufffd[31m\ufffdxxx" in told


def test_damaged_zips_never_yield_a_wrong_page(tmp_path):
    rng = random.Random(3)
    for i in range(150):
        data = bytearray(ZIP)
        for _ in range(rng.choice((1, 1, 4, 40))):
            data[rng.randrange(len(data) - 1500 if i % 2 else 0, len(data))] = rng.randrange(256)  # half at the end
        (tmp_path / "bad.zip").write_bytes(data[: rng.choice((len(data), len(data), rng.randrange(len(data))))])
        dest = tmp_path / str(i)
        try:
            found = take(tmp_path / "bad.zip", dest)
        except DownloadError:
            assert not dest.exists()
        else:
            assert tree(dest).items() <= PAGES.items() and len(tree(dest)) == found.right == found.added
            assert {*found.missing, *found.altered} == PAGES.keys() - tree(dest).keys()
        assert not list(tmp_path.glob(".*"))


# --- Sources and destinations


def test_a_folder_is_taken_and_what_it_lacks_is_named(tmp_path):
    third = list(PAGES)[2]
    files = {**PAGES, SECOND: PAGES[SECOND] + b"!", "notes.txt": b"mine"}
    source = spread(tmp_path / "a" / "b", {name: data for name, data in files.items() if name != FIRST})
    (source / third).unlink()
    (source / third).symlink_to(spread(tmp_path / "elsewhere", {"page": PAGES[third]}) / "page")
    found = take(tmp_path / "a", tmp_path / "in" / "pages")
    assert not found.complete and (found.right, found.added) == (10, 10)
    assert (found.missing, found.altered, found.surplus) == ((FIRST,), (SECOND,), ("b/notes.txt",))
    assert str(found).startswith("10 of 12 published files in ") and "1 altered: Normal" in str(found)
    assert tree(tmp_path / "in" / "pages") == {k: v for k, v in PAGES.items() if k not in (FIRST, SECOND)}
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["pages"]
    again = take(tmp_path / "a", tmp_path / "in" / "pages")
    assert again.added == 0 and (again.missing, again.altered) == ((FIRST,), (SECOND,))
    (tmp_path / "a" / "z").mkdir()
    assert take(tmp_path / "a", tmp_path / "a" / "z" / "new").surplus == ("b/notes.txt",)  # it lies in its source


def test_a_part_is_completed_and_other_things_are_left_alone(server, tmp_path):
    dest = spread(tmp_path / "pages", {FIRST: PAGES[FIRST], "notes.txt": b"mine"})
    before = os.stat(dest / FIRST)
    found = fetch(server, dest)
    assert found.complete and found.added == 11 and found.right == 12
    assert tree(dest) == {**PAGES, "notes.txt": b"mine"} and os.stat(dest / FIRST) == before
    assert verify(dest, MANIFEST).surplus == ("notes.txt",) and not list(tmp_path.glob(".*"))


def test_a_destination_with_other_things_is_refused_before_anything_is_fetched(server, tmp_path):
    other, altered = spread(tmp_path / "other", {"thesis.txt": b"mine"}), spread(tmp_path / "altered")
    (altered / FIRST).write_bytes(b"retouched")
    (tmp_path / "file").write_bytes(b"mine")
    dataset.simulate_set(tmp_path / "simulated", 1, progress=False)
    before = tree(tmp_path)
    with pytest.raises(DownloadError, match="holds something else"):
        fetch(server, other)
    with pytest.raises(DownloadError, match=r"1 altered: .*Normal\(1\).jpg. Move the altered ones away"):
        fetch(server, altered)
    with pytest.raises(DownloadError, match="holds something else"):
        fetch(server, tmp_path / "file")
    with pytest.raises(DownloadError, match="holds simulated pages: choose a new"):
        fetch(server, tmp_path / "simulated")
    assert tree(tmp_path) == before and not server.requests


def test_an_empty_folder_will_do_and_a_pipe_is_no_page(server, tmp_path):
    (tmp_path / "pages").mkdir()
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages")
    if hasattr(os, "mkfifo"):
        (tmp_path / "pages" / FIRST).unlink()
        os.mkfifo(tmp_path / "pages" / FIRST)
        assert verify(tmp_path / "pages", MANIFEST).altered == (FIRST,)


@pytest.mark.parametrize("make", ["absent", "empty", "strange", "text", "encrypted"])
def test_a_source_without_pages_is_told(tmp_path, make):
    source, dest = tmp_path / "source", tmp_path / "in" / "pages"
    dest.parent.mkdir()
    if make == "empty":
        source.mkdir()
    elif make == "strange":
        spread(source, {file: bytes(len(data)) for file, data in PAGES.items()})
    elif make == "text":
        source.write_text("no zip")
    elif make == "encrypted":
        data = bytearray(ZIP)
        for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            at = -1
            while (at := data.find(mark, at + 1)) >= 0:
                data[at + offset] |= 1
        source.write_bytes(data)
    words = {"absent": "source: No such file or directory", "text": "is no zip", "empty": "12 missing"}
    with pytest.raises(DownloadError, match=words.get(make, "12 altered")):
        take(source, dest)
    assert is_absent(dest)
    assert verify(dest, MANIFEST).missing == tuple(PAGES)


def test_the_disk_is_full(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=len(ZIP) + 5000)  # room for the zip, not for the pages beside it
    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(DownloadError, match="are needed, .* are free at .*: free some or go elsewhere"):
            fetch(server, tmp_path / "pages")
        usage, asked = usage._replace(free=5000), len(server.requests)
        for source in (spread(tmp_path / "source"), None):
            with pytest.raises(DownloadError, match="14.4kB are needed, 5.00kB are free"):
                fetch(server, tmp_path / "pages", source=source)
        assert len(server.requests) == asked
    shutil.rmtree(tmp_path / "source")
    shutil.rmtree(tmp_path / ".pages.part")
    assert is_absent(tmp_path / "pages")
    written = []

    def fails_in_the_middle(path, data, real=Path.write_bytes):
        written.append(path)
        if len(written) == 6:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", fails_in_the_middle)
        with pytest.raises(DownloadError, match="No space left on device: free some space and call again"):
            fetch(server, tmp_path / "pages")
    assert is_absent(tmp_path / "pages", kept=True)
    asked = len(server.requests)
    fetch(server, tmp_path / "pages")
    assert is_whole(tmp_path / "pages") and len(server.requests) == asked  # the zip was there


def test_a_destination_that_cannot_be_written_to(server, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="file/.pages.part: Not a directory: look at its permissions"):
        fetch(server, tmp_path / "file" / "pages")
    assert not server.requests


# --- Killed


KILLED = """
import os, random, signal, sys
import pandas as pd
from heartai_utils import download as module

url, manifest, folder = sys.argv[1:]
module._PAUSE, manifest, rng = 0.0005, pd.read_csv(manifest), random.Random(0)
lines = 0

def run(dest, moment):
    child = os.fork()
    if child == 0:
        def trace(frame, event, _):
            global lines
            if frame.f_code.co_filename not in (module.__file__, module.shutil.__file__):
                return None
            lines += event == "line"
            if lines == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        sys.settrace(trace)
        module.download(f"{folder}/{dest}/pages", url=url, manifest=manifest, progress=False)
        sys.settrace(None)
        print(lines, flush=True)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

reader, writer = os.pipe()
shown = os.dup(1)
os.dup2(writer, 1)
assert run("counted", -1) == 0
total = int(os.read(reader, 100))
os.dup2(shown, 1)
for i in range(36):
    print("exit", run(i % 12, rng.randint(1, total)), flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.slow
def test_killed_at_any_moment_the_same_call_finishes(server, tmp_path):
    """One run counts the lines executed; twelve others are killed after a random number of them, three times each."""
    server.cuts = iter(lambda: 6000, None)
    MANIFEST.to_csv(tmp_path / "manifest.csv", index=False)
    command = [sys.executable, "-c", KILLED, server.url, tmp_path / "manifest.csv", tmp_path / "sets"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    assert is_whole(tmp_path / "sets" / "counted" / "pages")
    assert result.stdout.count("exit -9") >= 18
    unfinished = 0
    for i in range(12):
        dest = tmp_path / "sets" / str(i) / "pages"
        unfinished += not dest.exists()
        assert not dest.exists() or tree(dest) == PAGES  # never a part of it
        fetch(server, dest)
        assert is_whole(dest)
    assert unfinished


# --- The real ones


def test_the_real_pages_are_known_and_what_is_not_there_is_named(real_pages, tmp_path):
    manifest = dataset.read_manifest()
    first = manifest["copy_of"].where(manifest["copy_of"] != "", manifest["file"])
    for file, original in zip(manifest["file"], first, strict=True):  # laid out as published, copies included
        if (real_pages / original).is_file():
            (tmp_path / "laid out" / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "laid out" / file).symlink_to(real_pages / original)
    there = {name for name in manifest["file"] if os.path.lexists(tmp_path / "laid out" / name)}
    found = verify(tmp_path / "laid out")
    assert found.right == len(there) > 0 and not found.altered and not found.surplus
    assert found.missing == tuple(name for name in manifest["file"] if name not in there)

    infarctions = tmp_path / "laid out" / CONDITIONS[1].folder
    found = download(tmp_path / "pages", source=infarctions, progress=False)
    catalogue, rejected = dataset.read_catalogue(tmp_path / "pages")
    assert found.right == len(list(infarctions.iterdir())) == len(catalogue) and rejected.empty
    assert not found.complete and len(found.missing) == 928 - found.right
    assert (catalogue["source"] == "published").all()
