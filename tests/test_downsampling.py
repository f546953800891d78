"""Shrinking: each method, the cache of thumbnails, and fidelity in millivolts."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heartai_utils import downsampling, page
from heartai_utils.downsampling import (
    METHODS,
    SIZE,
    fidelity,
    load_thumbnails,
    pixel_ms,
    pixel_mv,
    shrink,
    thumbnail,
    thumbnail_window,
    to_grey,
    trace_errors,
    trace_from_thumbnail,
)
from heartai_utils.simulation import LEADS, Recording, simulate_recording

WIDENING = ("area", "pillow-box", "pillow-bilinear", "pillow-hamming", "pillow-bicubic", "pillow-lanczos")


@pytest.fixture(scope="module")
def recordings() -> list[Recording]:
    return [simulate_recording("Normal", seed=1), simulate_recording("Myocardial infarction", seed=2)]


@pytest.fixture(scope="module")
def pages(tmp_path_factory, recordings):
    """Four different pages on disk."""
    folder = tmp_path_factory.mktemp("pages")
    paths = []
    for number in range(4):
        image = page.draw_page(recordings[number % 2])
        image[10:20, 10 : 60 + 10 * number] = 0
        paths.append(folder / f"{number}.png")
        cv2.imwrite(str(paths[-1]), image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return paths


@pytest.fixture
def decoded(monkeypatch) -> list[str]:
    """The names of the files that were decoded, as they come."""
    names = []
    load = page.load_page

    def counting(path, *args, **kwargs):
        names.append(os.path.basename(path))
        return load(path, *args, **kwargs)

    monkeypatch.setattr(page, "load_page", counting)
    return names


# --- methods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_every_method_gives_the_size_asked_for(method, channels):
    image = np.random.default_rng(0).integers(0, 256, (90, 140, *channels), dtype=np.uint8)
    kept = image.copy()
    small = shrink(image, method, (20, 13))
    assert small.shape == (13, 20, *channels) and small.dtype == np.uint8
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(
        shrink(image[:, ::-1], method, (20, 13)), shrink(image[:, ::-1].copy(), method, (20, 13))
    )


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_even_paper(method):
    assert (shrink(np.full((1572, 2213), 245, np.uint8), method) == 245).all()


def test_the_size_is_width_then_height():
    assert SIZE == (256, 182)
    assert shrink(np.zeros((1572, 2213), np.uint8)).shape == (182, 256)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_area_by_a_whole_factor_is_the_mean_of_the_block(across, down, seed):
    image = np.random.default_rng(seed).integers(0, 256, (7 * down, 9 * across), dtype=np.uint8)
    means = image.reshape(7, down, 9, across).mean(axis=(1, 3))
    assert np.abs(shrink(image, "area", (9, 7)) - means).max() <= 0.5 + 1e-9
    assert np.abs(shrink(image, "pillow-box", (9, 7)) - means).max() <= 1.01


@given(st.integers(0, 1571), st.sampled_from(WIDENING))
@settings(max_examples=60, deadline=None)
def test_a_thin_line_survives_a_filter_that_widens(y, method):
    image = np.full((1572, 32), 255, np.uint8)
    image[y] = 0
    ink = 255.0 - shrink(image, method, (4, 182))[:, 0]
    assert ink.max() >= 0.4 * 255 * 182 / 1572  # on the border of two rows each has half of it
    assert abs(int(np.argmax(ink)) - (y + 0.5) * 182 / 1572 + 0.5) <= 1


@pytest.mark.parametrize(("method", "most"), [("nearest", 0.12), ("linear", 0.24), ("pillow-nearest", 0.12)])
def test_a_thin_line_mostly_vanishes_without_widening(method, most):
    survived = []
    for y in range(1572):
        image = np.full((1572, 8), 255, np.uint8)
        image[y] = 0
        survived.append((shrink(image, method, (1, 182)) < 255).any())
    assert np.mean(survived) <= most


@pytest.mark.parametrize(
    ("image", "method", "size", "says"),
    [
        (
            np.zeros((50, 50), np.uint8),
            "bilinear",
            (5, 5),
            "nearest, linear, cubic, area, lanczos, pillow-nearest",
        ),
        (np.zeros((50, 50), np.float32), "area", (5, 5), "float32"),
        ([[0, 1], [1, 0]], "area", (1, 1), "list"),
        (np.zeros((50, 50, 4), np.uint8), "area", (5, 5), r"\(50, 50, 4\)"),
        (np.zeros(50, np.uint8), "area", (5, 5), r"\(50,\)"),
        (np.zeros((0, 50), np.uint8), "area", (5, 5), r"\(0, 50\)"),
        (np.zeros((50, 60), np.uint8), "area", (55, 55), "60 × 50 to 55 × 55"),
        (np.zeros((50, 50), np.uint8), "area", (5, 0), "positive"),
        (np.zeros((50, 50), np.uint8), "area", (5.0, 5), "whole numbers"),
        (np.zeros((50, 50), np.uint8), "area", 5, "whole numbers"),
    ],
)
def test_bad_input_to_shrink_is_named(image, method, size, says):
    with pytest.raises(ValueError, match=says):
        shrink(image, method, size)


def test_grey_weighs_the_colours_as_jpeg_does():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [90, 90, 90], [255, 255, 255]]], np.uint8)
    np.testing.assert_array_equal(to_grey(colours), [[76, 150, 29, 90, 255]])
    grey = np.zeros((2, 3), np.uint8)
    assert to_grey(grey) is grey
    with pytest.raises(ValueError, match="uint8"):
        to_grey(colours / 255)


def test_thumbnail_is_the_page_in_grey_shrunk(pages):
    grey = to_grey(page.load_page(pages[0]))
    np.testing.assert_array_equal(thumbnail(pages[0]), shrink(grey))
    x0, y0, x1, y1 = page.GRID_BOX
    np.testing.assert_array_equal(
        thumbnail(pages[0], "linear", (128, 91), "grid"), shrink(grey[y0:y1, x0:x1], "linear", (128, 91))
    )
    with pytest.raises(ValueError, match="'frame' must be None"):
        thumbnail(pages[0], crop="frame")


# --- many pages ---------------------------------------------------------------------------------------------


def test_images_come_in_the_order_of_the_paths(pages, tmp_path):
    order = [pages[2], pages[0], pages[3], pages[1], pages[0]]
    first = load_thumbnails(order, cache_dir=tmp_path, progress=False, threads=2)
    assert first.images.shape == (5, 182, 256) and first.images.dtype == np.uint8 and len(first) == 5
    assert first.kept.tolist() == [0, 1, 2, 3, 4] and first.rejected.empty
    for path, image in zip(order, first.images, strict=True):
        np.testing.assert_array_equal(image, thumbnail(path))


def test_the_second_call_decodes_nothing(pages, tmp_path, decoded):
    first = load_thumbnails(pages, cache_dir=tmp_path, progress=False, threads=2)
    assert sorted(decoded) == [path.name for path in pages]
    second = load_thumbnails(pages, cache_dir=tmp_path, progress=False, threads=2)
    assert len(decoded) == 4
    np.testing.assert_array_equal(first.images, second.images)


def test_method_size_and_crop_have_their_own_entries(pages, tmp_path, decoded):
    one = pages[:1]
    for kwargs in ({}, {"method": "linear"}, {"size": (128, 91)}, {"crop": "grid"}):
        made = load_thumbnails(one, cache_dir=tmp_path, progress=False, **kwargs)
        np.testing.assert_array_equal(made.images[0], thumbnail(one[0], **kwargs))
    assert len(decoded) == 8  # each once by load_thumbnails, once for the comparison


def test_entries_belong_to_the_content(pages, tmp_path, decoded):
    path = tmp_path / "a.png"
    path.write_bytes(pages[0].read_bytes())
    first = load_thumbnails([path, pages[0]], cache_dir=tmp_path / "cache", progress=False)
    assert len(decoded) == 1  # a copy is made once
    renamed = path.rename(tmp_path / "b.png")
    again = load_thumbnails([renamed], cache_dir=tmp_path / "cache", progress=False)
    assert len(decoded) == 1
    np.testing.assert_array_equal(again.images[0], first.images[0])
    renamed.write_bytes(pages[1].read_bytes())
    changed = load_thumbnails([renamed], cache_dir=tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(changed.images[0], thumbnail(pages[1]))


def test_checksums_handed_in_spare_opening_known_pages(pages, tmp_path):
    md5s = [downsampling._md5(path) for path in pages]
    first = load_thumbnails(pages, cache_dir=tmp_path, md5s=md5s, progress=False)
    elsewhere = [tmp_path / "gone" / path.name for path in pages]
    column = pd.Series(md5s, index=[3, 2, 1, 0])  # as a filtered catalogue has it: order counts, not the labels
    second = load_thumbnails(elsewhere, cache_dir=tmp_path, md5s=column, progress=False)
    np.testing.assert_array_equal(first.images, second.images)
    with pytest.raises(ValueError, match="3 md5s for 4 paths"):
        load_thumbnails(pages, cache_dir=tmp_path, md5s=md5s[:3], progress=False)


def test_a_wrong_checksum_poisons_no_entry(pages, tmp_path):
    right = downsampling._md5(pages[0])
    stale = load_thumbnails(pages[1:2], cache_dir=tmp_path, md5s=[right], progress=False)
    assert len(stale) == 0 and "changed" in stale.rejected.reason[0]
    fresh = load_thumbnails(pages[:1], cache_dir=tmp_path, md5s=[right], progress=False)
    np.testing.assert_array_equal(fresh.images[0], thumbnail(pages[0]))


def _entries(folder) -> list:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign", "short"])
def test_a_damaged_entry_is_made_again(pages, tmp_path, damage, decoded):
    first = load_thumbnails(pages, cache_dir=tmp_path, progress=False)
    entry = _entries(tmp_path)[1]
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    entry.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-40],
            "flipped": bytes(flipped),
            "foreign": b"Not a thumbnail at all",
            "short": downsampling.zlib.compress(b"too few pixels"),
        }[damage]
    )
    second = load_thumbnails(pages, cache_dir=tmp_path, progress=False)
    np.testing.assert_array_equal(first.images, second.images)
    assert len(decoded) == 5 and entry.read_bytes() == whole


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_goes_unseen(data):
    image = shrink(np.random.default_rng(1).integers(150, 256, (364, 512), dtype=np.uint8))
    whole = bytearray(downsampling._packed(image))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    found = downsampling._unpacked(bytes(whole), SIZE)
    assert found is None or np.array_equal(found, image)


def test_pages_that_cannot_be_read_are_listed(pages, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("a text renamed")
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((480, 640), np.uint8))
    cut = tmp_path / "cut.png"
    cut.write_bytes(pages[0].read_bytes()[:2000])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    paths = [text, pages[1], small, tmp_path / "absent.jpg", cut, tmp_path, pages[0], empty, text]
    found = load_thumbnails(paths, cache_dir=tmp_path / "cache", progress=False, threads=2)
    assert found.kept.tolist() == [1, 6]
    np.testing.assert_array_equal(found.images, [thumbnail(pages[1]), thumbnail(pages[0])])
    assert found.rejected.position.tolist() == [0, 2, 3, 4, 5, 7, 8]
    assert found.rejected.path.tolist() == [str(paths[i]) for i in found.rejected.position]
    assert (found.rejected.reason.str.len() > 5).all()
    assert len(_entries(tmp_path / "cache")) == 2


def test_nothing_readable_and_nothing_asked_for(tmp_path):
    for paths in ([], [tmp_path / "absent.jpg"]):
        found = load_thumbnails(paths, cache_dir=tmp_path, progress=False)
        assert found.images.shape == (0, 182, 256) and found.kept.shape == (0,) and len(found.rejected) == len(paths)
        assert list(found.rejected.columns) == ["position", "path", "reason"]


@pytest.mark.parametrize("stop_at", ["decoding", "writing", "renaming"])
def test_stopped_in_the_middle_it_goes_on(pages, tmp_path, monkeypatch, decoded, stop_at):
    target, name = {
        "decoding": (page, "load_page"), "writing": (downsampling, "_packed"), "renaming": (os, "replace"),
    }[stop_at]  # fmt: skip
    calls = []
    work = getattr(target, name)

    def third_time_stop(*args, **kwargs):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return work(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(target, name, third_time_stop)
        with pytest.raises(KeyboardInterrupt):
            load_thumbnails(pages, cache_dir=tmp_path, progress=False, threads=1)
    kept = len(_entries(tmp_path))
    assert 2 <= kept < 4
    before = len(decoded)
    found = load_thumbnails(pages, cache_dir=tmp_path, progress=False, threads=1)
    assert len(decoded) - before == 4 - kept
    np.testing.assert_array_equal(found.images, [thumbnail(path) for path in pages])


def test_a_cache_that_cannot_be_written_is_no_page_that_cannot_be_read(pages, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError):
        load_thumbnails(pages, cache_dir=tmp_path / "cache", progress=False)


def test_two_processes_share_a_cache(pages, tmp_path):
    script = tmp_path / "load.py"
    script.write_text(
        textwrap.dedent("""
            import hashlib, sys
            from heartai_utils.downsampling import load_thumbnails
            found = load_thumbnails(sys.argv[2:], cache_dir=sys.argv[1], progress=False, threads=2)
            print(len(found), hashlib.md5(found.images.tobytes()).hexdigest())
        """)
    )
    command = [sys.executable, str(script), str(tmp_path / "cache"), *map(str, pages)]
    root = os.path.dirname(os.path.dirname(downsampling.__file__))
    environment = {**os.environ, "PYTHONPATH": root}
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert answers[0] == answers[1] and answers[0].startswith("4 ")
    assert len(_entries(tmp_path / "cache")) == 4
    found = load_thumbnails(pages, cache_dir=tmp_path / "cache", progress=False)
    np.testing.assert_array_equal(found.images, [thumbnail(path) for path in pages])


def test_the_bar_shows_only_what_has_to_be_made(pages, tmp_path, capsys):
    load_thumbnails(pages[:3], cache_dir=tmp_path, threads=1)
    out, err = capsys.readouterr()
    assert out == "" and "/3" in err
    load_thumbnails(pages, cache_dir=tmp_path, threads=1)
    assert "/1" in capsys.readouterr().err
    load_thumbnails(pages, cache_dir=tmp_path, threads=1)
    assert capsys.readouterr() == ("", "")


# --- fidelity -----------------------------------------------------------------------------------------------


def test_what_a_pixel_is():
    assert pixel_ms() == pytest.approx(44, abs=0.2) and pixel_mv() == pytest.approx(0.11, abs=0.002)
    assert pixel_ms((512, 364)) == pytest.approx(pixel_ms() / 2) and pixel_mv((512, 364)) == pytest.approx(
        pixel_mv() / 2
    )
    assert pixel_ms(crop="grid") < pixel_ms() and pixel_mv(crop="grid") < pixel_mv()


@pytest.mark.parametrize("crop", [None, "grid"])
@pytest.mark.parametrize("size", [SIZE, (512, 364), (2000, 1200)])
def test_windows_lie_within_their_lead(crop, size):
    for lead in (*LEADS, "strip"):
        window = thumbnail_window(lead, size, crop)
        assert len(window.mv) == window.rows.stop - window.rows.start
        assert len(window.seconds) == window.columns.stop - window.columns.start + 1
        begin = 0 if lead == "strip" else 2.5 * (LEADS.index(lead) // 3)
        end = 10 if lead == "strip" else begin + 2.5
        assert begin < window.seconds[0] and window.seconds[-1] <= end
        assert window.seconds[-1] - window.seconds[0] > (9 if lead == "strip" else 1.9)
        assert np.allclose(np.diff(window.seconds) * 1000, pixel_ms(size, crop))
        assert np.allclose(np.diff(window.mv), -pixel_mv(size, crop)) and np.abs(window.mv).max() <= 1.7


@pytest.mark.parametrize("crop", [None, "grid"])
@pytest.mark.parametrize("level", [-0.6, 0.0, 0.25, 1.0])
def test_a_level_line_is_read_back(level, crop):
    recording = Recording(np.full((12, 5000), level, np.float32), 500.0)
    grey = to_grey(page.draw_page(recording))
    if crop:
        x0, y0, x1, y1 = page.GRID_BOX
        grey = grey[y0:y1, x0:x1]
    for lead in (*LEADS, "strip"):
        trace = trace_from_thumbnail(shrink(grey), lead, crop=crop)
        assert np.abs(np.median(trace) - level) < pixel_mv(crop=crop) / 2, lead
        assert not np.isnan(trace).any()
    assert np.abs(np.median(trace_errors(shrink(grey), recording, crop=crop))) < 0.03


def test_no_ink_is_no_trace():
    white = np.full((182, 256), 255, np.uint8)
    assert np.isnan(trace_from_thumbnail(white, "V2")).all()
    with pytest.raises(ValueError, match="V7"):
        trace_from_thumbnail(white, "V7")
    with pytest.raises(ValueError, match="to_grey"):
        trace_from_thumbnail(np.dstack([white] * 3), "V2")


def test_columns_with_a_neighbours_trace_are_not_compared():
    signals = np.zeros((12, 5000), np.float32)
    alone = trace_errors(np.full((182, 256), 255, np.uint8), Recording(signals, 500.0))
    signals[LEADS.index("aVL"), 1250:2500] = 3.0  # up into aVR's row for the whole of its window
    crossed = trace_errors(np.full((182, 256), 255, np.uint8), Recording(signals, 500.0))
    lost = sum(len(trace_from_thumbnail(np.zeros((182, 256), np.uint8), lead)) for lead in ("aVR", "aVL"))
    assert len(alone) - len(crossed) == lost


def test_fidelity_tells_good_methods_from_bad(recordings):
    table = fidelity(recordings)
    assert list(table.index) == list(METHODS)
    assert list(table.columns) == ["rmse_mv", "lost_columns", "bridged_rmse_mv", "columns", "ms"]
    assert (table["columns"] == table["columns"].iloc[0]).all() and table["columns"].iloc[0] > 1000
    assert (table.loc[list(WIDENING), "lost_columns"] <= 0.001).all()
    assert (table.loc[list(WIDENING), "rmse_mv"] < 0.07).all()
    assert (table.loc[["nearest", "linear", "cubic", "lanczos", "pillow-nearest"], "lost_columns"] > 0.1).all()
    assert table.rmse_mv["area"] < table.rmse_mv["nearest"] / 2
    assert (table.loc[["nearest", "linear", "cubic", "lanczos"], "bridged_rmse_mv"] > table.rmse_mv["area"]).all()
    assert (table.ms > 0).all()
    again = fidelity(recordings, ["area"])
    assert again.rmse_mv["area"] == table.rmse_mv["area"]


def test_bad_input_to_fidelity(recordings):
    with pytest.raises(ValueError, match="at least one"):
        fidelity([])
    with pytest.raises(ValueError, match="no method"):
        fidelity(recordings, ["area", "best"])
    with pytest.raises(ValueError, match="lasts 4 s"):
        trace_errors(np.zeros((182, 256), np.uint8), Recording(np.zeros((12, 2000), np.float32), 500.0))
    with pytest.raises(ValueError, match="too small"):
        fidelity(recordings, ["area"], size=(8, 8))
    with pytest.raises(ValueError, match="paper"):
        trace_from_thumbnail(np.zeros((182, 256), np.uint8), "I", paper=np.zeros((91, 128), np.uint8))


def test_real_pages(real_pages, tmp_path):
    paths = sorted(real_pages.glob("*/*.jpg"))[::60]
    found = load_thumbnails(paths, cache_dir=tmp_path, progress=False, threads=2)
    assert len(found) == len(paths) and found.rejected.empty
    for image in found.images:
        for lead in ("II", "strip"):
            trace = trace_from_thumbnail(image, lead)
            assert np.isnan(trace).mean() < 0.05 and np.nanstd(trace) > 0.01
