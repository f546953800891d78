"""Many pages as thumbnails: the cache, whatever happens to it, and batches for TensorFlow.

Processes that fill a cache are killed 5 times; HEARTAI_KILLS=20 kills as many.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from distributed import KilledWorker, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from heartai_utils import _catalogue, _cluster, page
from heartai_utils import _thumbnails as module
from heartai_utils.downsampling import METHODS, SIZE, load_thumbnails, shrink, to_dataset
from heartai_utils.simulation import simulate_recording

KILLS = int(os.environ.get("HEARTAI_KILLS", 5))


def draw_pages(count: int) -> list[bytes]:
    drawn = page.draw_page(simulate_recording("Normal", seed=1))
    pages = []
    for number in range(count):
        drawn[10:20, 10 : 60 + 10 * number] = 0
        pages.append(page.encode_page(drawn))
    return pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> list[Path]:
    """Four different pages on disk."""
    folder = tmp_path_factory.mktemp("pages")
    paths = [folder / f"{number}.jpg" for number in range(4)]
    for path, data in zip(paths, draw_pages(4), strict=True):
        path.write_bytes(data)
    return paths


@pytest.fixture(scope="module")
def shrunk(pages) -> np.ndarray:
    """Their thumbnails without a cache."""
    return np.array([shrink(path) for path in pages])


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


def load(paths, cache_dir, **options):
    return load_thumbnails(paths, cache_dir=cache_dir, progress=False, **options)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# --- which image belongs to which page ------------------------------------------------------------------------------


def test_images_come_in_the_order_of_the_paths(pages, shrunk, tmp_path):
    order = [2, 0, 3, 1, 0]
    first = load([pages[number] for number in order], tmp_path, threads=2)
    assert first.images.shape == (5, 182, 256) and first.images.dtype == np.uint8 and len(first) == 5
    assert first.kept.tolist() == [0, 1, 2, 3, 4] and first.rejected.empty
    np.testing.assert_array_equal(first.images, shrunk[order])


def test_the_second_call_decodes_nothing(pages, shrunk, tmp_path, decoded):
    load(pages, tmp_path, threads=2)
    assert sorted(decoded) == [path.name for path in pages]
    second = load(pages, tmp_path, threads=2)
    assert len(decoded) == 4
    np.testing.assert_array_equal(second.images, shrunk)


def test_method_size_and_crop_have_their_own_entries(pages, tmp_path, decoded):
    for options in ({}, {"method": "linear"}, {"method": "jpeg-half"}, {"size": (128, 91)}, {"crop": "grid"}):
        for _ in range(2):
            made = load(pages[:1], tmp_path, **options)
            np.testing.assert_array_equal(made.images[0], shrink(pages[0], **options))
    assert len(decoded) == 5 * 3  # each once by load_thumbnails, twice for the comparison


def test_entries_belong_to_the_content(pages, shrunk, tmp_path, decoded):
    path = tmp_path / "a.jpg"
    path.write_bytes(pages[0].read_bytes())
    first = load([path, pages[0]], tmp_path / "cache")
    assert len(decoded) == 1  # a copy is made once
    np.testing.assert_array_equal(first.images, shrunk[[0, 0]])
    renamed = path.rename(tmp_path / "b.jpg")
    np.testing.assert_array_equal(load([renamed], tmp_path / "cache").images[0], shrunk[0])
    assert len(decoded) == 1
    times = renamed.stat()
    data = pages[1].read_bytes()
    renamed.write_bytes(data.ljust(times.st_size, b"\0")[: max(times.st_size, len(data))])
    os.utime(renamed, ns=(times.st_atime_ns, times.st_mtime_ns))  # as if nothing had happened
    np.testing.assert_array_equal(load([renamed], tmp_path / "cache").images[0], shrunk[1])


def test_checksums_handed_in_spare_opening_known_pages(pages, shrunk, tmp_path):
    md5s = [module._md5(path) for path in pages]
    load(pages, tmp_path, md5s=md5s)
    elsewhere = [tmp_path / "gone" / path.name for path in pages]
    column = pd.Series(md5s, index=[3, 2, 1, 0])  # as a filtered catalogue has it: order counts, not the labels
    np.testing.assert_array_equal(load(elsewhere, tmp_path, md5s=column).images, shrunk)
    with pytest.raises(ValueError, match="3 md5s for 4 paths"):
        load(pages, tmp_path, md5s=md5s[:3])


def test_a_copy_stands_in_for_one_that_is_gone(pages, shrunk, tmp_path):
    md5 = module._md5(pages[0])
    found = load([tmp_path / "gone.jpg", pages[0]], tmp_path / "cache", md5s=[md5, md5])
    assert found.kept.tolist() == [0, 1] and found.rejected.empty
    np.testing.assert_array_equal(found.images, shrunk[[0, 0]])


def test_a_wrong_checksum_poisons_no_entry(pages, shrunk, tmp_path):
    right = module._md5(pages[0])
    stale = load(pages[1:2], tmp_path, md5s=[right])
    assert len(stale) == 0 and "changed" in stale.rejected.reason[0]
    np.testing.assert_array_equal(load(pages[:1], tmp_path, md5s=[right]).images[0], shrunk[0])


@pytest.mark.parametrize("moment", ["before it is decoded", "after it was decoded", "there and back"])
def test_a_page_that_changes_while_it_is_read_poisons_no_entry(pages, shrunk, tmp_path, monkeypatch, moment):
    first, second = (path.read_bytes() for path in pages[:2])
    path = tmp_path / "page.jpg"
    path.write_bytes(second if moment == "there and back" else first)
    decode = page.load_page

    def changing(*args, **kwargs):
        if moment == "before it is decoded":
            path.write_bytes(second)
        image = decode(*args, **kwargs)
        path.write_bytes(first if moment == "there and back" else second)
        return image

    with monkeypatch.context() as patched:
        patched.setattr(page, "load_page", changing)
        found = load([path], tmp_path / "cache", md5s=[module._md5(pages[0])])
    assert len(found) == 0 and "content has changed" in found.rejected.reason[0]
    assert not entries(tmp_path / "cache")
    path.write_bytes(second)
    np.testing.assert_array_equal(load([path, pages[0]], tmp_path / "cache").images, shrunk[[1, 0]])


def test_pages_that_cannot_be_read_are_listed(pages, shrunk, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("a text renamed")
    small = tmp_path / "small.png"
    cv2.imwrite(str(small), np.zeros((480, 640), np.uint8))
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(pages[0].read_bytes()[:20_000])
    empty = tmp_path / "empty.jpg"
    empty.touch()
    paths = [text, pages[1], small, tmp_path / "absent.jpg", cut, tmp_path, pages[0], empty, text]
    for _ in range(2):  # what is rejected is rejected again
        found = load(paths, tmp_path / "cache", threads=2)
        assert found.kept.tolist() == [1, 6]
        np.testing.assert_array_equal(found.images, shrunk[[1, 0]])
        assert found.rejected.position.tolist() == [0, 2, 3, 4, 5, 7, 8]
        assert found.rejected.path.tolist() == [str(paths[i]) for i in found.rejected.position]
        for position, reason in zip(found.rejected.position, found.rejected.reason, strict=True):
            assert str(paths[position]) in reason
    assert len(entries(tmp_path / "cache")) == 2


def test_nothing_readable_and_nothing_asked_for(tmp_path):
    for paths in ([], [tmp_path / "absent.jpg"]):
        found = load(paths, tmp_path)
        assert found.images.shape == (0, 182, 256) and found.kept.shape == (0,) and len(found.rejected) == len(paths)
        assert list(found.rejected.columns) == ["position", "path", "reason"]


@pytest.mark.parametrize(
    ("options", "says"),
    [({"method": "best"}, "no method"), ({"size": (0, 9)}, "positive"), ({"size": (2214, 9)}, "cannot shrink"),
     ({"crop": "frame"}, "'frame' must be None")],
)  # fmt: skip
def test_what_no_page_can_give_is_an_error_at_once(pages, tmp_path, decoded, options, says):
    with pytest.raises(ValueError, match=says):
        load(pages, tmp_path / "cache", **options)
    assert not decoded and not (tmp_path / "cache").exists()


def test_the_bar_shows_only_what_has_to_be_made(pages, tmp_path, capsys):
    load_thumbnails(pages[:3], cache_dir=tmp_path, threads=1)
    out, err = capsys.readouterr()
    assert out == "" and "/3" in err
    load_thumbnails(pages, cache_dir=tmp_path, threads=1)
    assert "/1" in capsys.readouterr().err
    load_thumbnails(pages, cache_dir=tmp_path, threads=1)
    assert capsys.readouterr() == ("", "")


# --- entries that must not be used ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["empty", "cut", "longer", "flipped", "foreign", "another page's"])
def test_a_damaged_entry_is_made_again(pages, shrunk, tmp_path, damage, decoded):
    load(pages, tmp_path)
    entry, other = entries(tmp_path)[1:3]
    whole = entry.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    entry.write_bytes(
        {
            "empty": b"",
            "cut": whole[:-40],
            "longer": whole + whole[-4:],
            "flipped": bytes(flipped),
            "foreign": b"Not a thumbnail at all",
            "another page's": other.read_bytes()[:30_000] + whole[30_000:],
        }[damage]
    )
    np.testing.assert_array_equal(load(pages, tmp_path).images, shrunk)
    assert len(decoded) == 5 and entry.read_bytes() == whole


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_no_damage_goes_unseen(data):
    image = np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0]), dtype=np.uint8)
    recipe = data.draw(st.integers(0, 2**32 - 1))
    whole = bytearray(module._packed(image, recipe))
    np.testing.assert_array_equal(module._unpacked(bytes(whole), SIZE, recipe), image)
    assert module._unpacked(bytes(whole), SIZE, recipe ^ 1 << data.draw(st.integers(0, 31))) is None
    start = data.draw(st.integers(0, len(whole) - 4))
    for position in range(start, start + data.draw(st.integers(1, 4))):
        whole[position] ^= data.draw(st.integers(1, 255))
    assert module._unpacked(bytes(whole), SIZE, recipe) is None


def test_a_method_that_has_changed_is_not_served_from_the_cache(pages, tmp_path, monkeypatch, decoded):
    def darkest(image, size):
        return METHODS["area"](np.minimum(image, np.roll(image, 1, axis=0)), size)

    monkeypatch.setitem(METHODS, "mine", METHODS["area"])  # as a learner does in a notebook
    first = load(pages, tmp_path, method="mine")
    monkeypatch.setitem(METHODS, "mine", darkest)
    second = load(pages, tmp_path, method="mine")
    assert len(decoded) == 8 and (first.images > second.images).any()
    np.testing.assert_array_equal(second.images[3], shrink(pages[3], "mine"))
    assert len(entries(tmp_path)) == 4  # the old ones were replaced
    load(pages, tmp_path, method="mine")
    assert len(decoded) == 9  # the comparison's


@pytest.mark.parametrize("method", ["area", "jpeg-half"])
def test_another_decoder_makes_its_own_thumbnails(pages, tmp_path, monkeypatch, decoded, method):
    load(pages[:2], tmp_path, method=method)
    monkeypatch.setattr(module, "_DECODER", module._DECODER.replace(b"Pillow ", b"Pillow 99."))
    load(pages[:2], tmp_path, method=method)
    load(pages[:2], tmp_path, method=method)
    assert len(decoded) == 4


@pytest.mark.parametrize("method", [method for method in METHODS if not method.startswith("tf-")])
def test_the_recipe_is_the_same_each_time_and_no_other_methods(method):
    recipe = module._recipe(method, SIZE, None)
    assert recipe == module._recipe(method, SIZE, None)
    assert recipe not in {module._recipe(method, SIZE, "grid"), module._recipe(method, (128, 91), None)}


# --- a cache that cannot be used ------------------------------------------------------------------------------------


def test_a_file_where_the_cache_should_be(pages, tmp_path, decoded):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(OSError, match="where thumbnails are kept.*another cache_dir.*cache"):
        load(pages, tmp_path / "cache")
    assert not decoded  # told before work is done in vain


def failing(number: int):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_is_told_and_what_was_made_is_kept(pages, shrunk, tmp_path, monkeypatch, decoded):
    write = Path.write_bytes
    with monkeypatch.context() as patched:
        room = [None, None]

        def filling(self, data):
            if room:
                room.pop()
                return write(self, data)
            write(self, data[:999])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr(Path, "write_bytes", filling)
        with pytest.raises(OSError, match="No space left.*another cache_dir") as told:
            load(pages, tmp_path, threads=1)
        assert told.value.errno == errno.ENOSPC
    assert len(entries(tmp_path)) == 2  # and nothing unfinished
    before = len(decoded)
    np.testing.assert_array_equal(load(pages, tmp_path).images, shrunk)
    assert len(decoded) == before + 2


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_a_cache_that_may_only_be_read_serves_what_it_has(pages, shrunk, tmp_path, monkeypatch, number):
    load(pages[:3], tmp_path)
    for name in ("write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, failing(number))
    np.testing.assert_array_equal(load(pages[:3], tmp_path).images, shrunk[:3])
    with pytest.raises(OSError, match="another cache_dir") as told:
        load(pages, tmp_path)
    assert told.value.errno == number and str(tmp_path) in str(told.value)


def test_a_cache_that_may_not_be_read_is_no_page_that_cannot_be_read(pages, tmp_path, monkeypatch):
    md5s = [module._md5(path) for path in pages]
    load(pages, tmp_path, md5s=md5s)
    monkeypatch.setattr(Path, "read_bytes", failing(errno.EACCES))
    with pytest.raises(PermissionError, match="another cache_dir"):
        load(pages, tmp_path, md5s=md5s)


# --- stopped, killed, twice at once ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_at", ["decoding", "writing", "renaming"])
def test_stopped_in_the_middle_it_goes_on(pages, shrunk, tmp_path, monkeypatch, decoded, stop_at):
    target, name = {
        "decoding": (page, "load_page"), "writing": (module, "_packed"), "renaming": (os, "replace"),
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
            load(pages, tmp_path, threads=1)
    kept = len(entries(tmp_path))
    assert 2 <= kept < 4
    before = len(decoded)
    np.testing.assert_array_equal(load(pages, tmp_path, threads=1).images, shrunk)
    assert len(decoded) - before == 4 - kept


def test_what_killed_writers_left_is_removed_and_what_others_write_is_not(pages, tmp_path):
    load(pages[:1], tmp_path)
    folder = entries(tmp_path)[0].parent
    old, new, foreign = folder / ".a.grey.77-78.part", folder / ".b.grey.77-79.part", folder / ".mine.part"
    for path in (old, new, foreign):
        path.write_bytes(b"unfinished")
    long_ago = time.time() - 2 * _catalogue.LEFTOVER_SECONDS
    for path in (old, foreign):
        os.utime(path, (long_ago, long_ago))
    load(pages, tmp_path)
    assert not old.exists() and new.exists() and foreign.exists()


# The first run counts the lines that loading executes. Then two runs at a time are killed, one after the other, after a
# random number of lines, and of two runs at once, one at a random moment. A run ends with 0 if its images are right.
KILLED = """
import os, random, signal, sys, threading, time
from pathlib import Path
import numpy as np
from heartai_utils import _catalogue, _thumbnails as module
caches, kills, paths = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[4:]
expected, rng, lines = np.load(sys.argv[3]), random.Random(5), 0

def start(name, moment=-1):
    child = os.fork()
    if child == 0:
        def trace(frame, event, argument):
            global lines
            if frame.f_code.co_filename not in (module.__file__, _catalogue.__file__):
                return None
            lines += event == "line"
            if 0 <= moment <= lines:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace
        threading.settrace(trace)
        sys.settrace(trace)
        found = module.load_thumbnails(paths, method="jpeg-eighth", cache_dir=caches / name, progress=False, threads=2)
        sys.settrace(None)
        (caches / "lines").write_text(str(lines))
        os._exit(0 if np.array_equal(found.images, expected) else 1)
    return child

def end(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

began = time.monotonic()
assert end(start("counted")) == 0
lasts, total = time.monotonic() - began, int((caches / "lines").read_text())
for kill in range(kills):
    print("one", end(start(str(kill // 2), rng.randrange(total))))
for kill in range(0, kills, 2):
    both = [start(f"both{kill}") for _ in range(2)]
    time.sleep(rng.random() * lasts)
    os.kill(both[0], signal.SIGKILL)
    print("both", *map(end, both))
print("neither", *map(end, [start("neither") for _ in range(2)]))
print("TensorFlow", "tensorflow" in sys.modules)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
@pytest.mark.slow
def test_killed_at_any_moment_the_cache_is_never_wrong(tmp_path):
    paths, expected = [], []
    for number, data in enumerate(draw_pages(5)):
        (tmp_path / f"{number}.jpg").write_bytes(data)
        image = shrink(tmp_path / f"{number}.jpg", "jpeg-eighth")
        for copy in range(6):  # what follows a JPEG's end is not decoded, but is content
            paths.append(tmp_path / f"{number}-{copy}.jpg")
            paths[-1].write_bytes(data + bytes([copy]))
            expected.append(image)
    expected = np.array(expected)
    caches = tmp_path / "caches"
    caches.mkdir()
    np.save(tmp_path / "expected.npy", expected)
    command = [sys.executable, "-c", KILLED, caches, KILLS, tmp_path / "expected.npy", *paths]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run([*map(str, command)], capture_output=True, text=True, env=environment)
    assert result.returncode == 0, result.stderr
    ends = result.stdout.splitlines()
    assert set(ends[:KILLS]) <= {"one -9", "one 0"} and ends.count("one -9") >= KILLS / 2
    assert set(ends[KILLS:-2]) <= {"both -9 0", "both 0 0"} and "both -9 0" in ends
    assert ends[-2:] == ["neither 0 0", "TensorFlow False"]

    long_ago = time.time() - 2 * _catalogue.LEFTOVER_SECONDS
    half_filled = 0
    for cache in (path for path in caches.iterdir() if path.is_dir()):
        kept = list(cache.rglob("*.grey"))
        half_filled += 0 < len(kept) < len(paths)
        for path in cache.rglob("*.part"):
            os.utime(path, (long_ago, long_ago))
        if len(kept) == len(paths):
            kept[0].unlink()
        np.testing.assert_array_equal(load(paths, cache, method="jpeg-eighth").images, expected)
        assert len(list(cache.rglob("*.grey"))) == len(paths) and not list(cache.rglob("*.part"))
    assert half_filled


# --- made by the workers of a scheduler -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scheduler():
    """The address of a scheduler with one worker, a thread of this process."""
    options = {"processes": False, "protocol": "tcp", "host": "127.0.0.1", "dashboard_address": None}
    with LocalCluster(n_workers=1, threads_per_worker=1, **options) as cluster:
        yield cluster.scheduler_address


@pytest.mark.parametrize("known", [False, True])
def test_a_scheduler_changes_nothing(pages, tmp_path, scheduler, decoded, known):
    cut, copy, small = (tmp_path / name for name in ("cut.jpg", "copy of cut.jpg", "small.png"))
    for path in (cut, copy):
        path.write_bytes(pages[0].read_bytes()[:20_000])
    cv2.imwrite(str(small), np.zeros((480, 640), np.uint8))
    stale, absent = pages[3], tmp_path / "absent.jpg"
    paths = [pages[2], cut, pages[0], small, absent, copy, stale, pages[2]]
    md5s = [module._md5(path) if path not in (stale, absent) else "0" * 32 for path in paths] if known else None
    options = {"md5s": md5s, "crop": "grid", "method": "linear"}
    here = load(paths, tmp_path / "here", threads=2, **options)
    there = load(paths, tmp_path / "there", scheduler=scheduler, **options)
    np.testing.assert_array_equal(there.images, here.images)
    assert there.kept.tolist() == here.kept.tolist() == ([0, 2, 7] if known else [0, 2, 6, 7])
    pd.testing.assert_frame_equal(there.rejected, here.rejected)
    assert there.made == here.made == len(there)
    kept = {path.name: path.read_bytes() for path in entries(tmp_path / "here")}
    assert {path.name: path.read_bytes() for path in entries(tmp_path / "there")} == kept
    before = len(decoded)
    again = load(pages[:1], tmp_path / "there", scheduler="tcp://127.0.0.1:9", **options | {"md5s": None})
    assert len(again) == 1 and again.made == 0 and len(decoded) == before  # nobody is asked for what is there


def test_interrupted_while_others_shrink_it_goes_on(pages, shrunk, tmp_path, scheduler, monkeypatch, decoded):
    pack, packed = module._packed, []

    def interrupted(image, recipe):
        if len(packed) == 2:
            raise KeyboardInterrupt
        packed.append(recipe)
        return pack(image, recipe)

    with monkeypatch.context() as patched:
        patched.setattr(module, "_packed", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(pages, tmp_path, scheduler=scheduler)
    assert len(entries(tmp_path)) == 2
    found = load(pages, tmp_path, scheduler=scheduler)
    assert found.made == 2
    np.testing.assert_array_equal(found.images, shrunk)


@pytest.mark.slow
def test_workers_that_would_shrink_otherwise_make_nothing(pages, tmp_path, scheduler, monkeypatch):
    monkeypatch.setattr(module, "_own_recipe", lambda *recipe: None)
    with pytest.raises(_cluster.ClusterError, match="shrinks pages by 'area' otherwise: install the same"):
        load(pages, tmp_path, method="area", scheduler=scheduler)
    assert not entries(tmp_path)


@pytest.mark.slow
def test_a_page_that_ends_every_worker_is_listed_and_the_others_go_on(pages, shrunk, tmp_path, scheduler, monkeypatch):
    completed = _cluster.completed

    def deadly(connection, work, contents):
        for sent, made in completed(connection, work, contents):
            killed = sent[1] == str(pages[1])
            yield sent, KilledWorker("shrink", "tcp://10.0.0.6:1234", 3) if killed else made

    monkeypatch.setattr(_cluster, "completed", deadly)
    found = load(pages, tmp_path, scheduler=scheduler)
    assert found.rejected.position.tolist() == [1] and found.rejected.reason[0].startswith(
        f"{pages[1]}: several workers"
    )
    np.testing.assert_array_equal(found.images, shrunk[[0, 2, 3]])


def test_a_scheduler_that_cannot_be_used_is_told(pages, tmp_path, monkeypatch):
    monkeypatch.setattr(_cluster, "_PATIENCE", 0.5)
    with pytest.raises(_cluster.ClusterError, match="no scheduler answers at tcp://127.0.0.1:9"):
        load(pages, tmp_path, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(_cluster.ClusterError, match="none with a scheduler"):
        load(pages, tmp_path, scheduler="tcp://127.0.0.1:9", threads=2)
    assert not entries(tmp_path)


# --- batches for TensorFlow -----------------------------------------------------------------------------------------

NUMBERED = np.arange(50, dtype=np.uint8)[:, None, None] + np.zeros((50, 3, 4), np.uint8)


def epoch(dataset) -> tuple[list[int], np.ndarray, np.ndarray]:
    batches = [(images.numpy(), labels.numpy()) for images, labels in dataset]
    images, labels = (np.concatenate(part) for part in zip(*batches, strict=True))
    return [len(images) for images, _ in batches], images, labels


def test_batches_keep_the_order_and_the_types():
    labels = np.arange(50) * 2
    dataset = to_dataset(NUMBERED, labels, batch_size=16)
    assert len(dataset) == 4
    for _ in range(2):
        sizes, images, found = epoch(dataset)
        assert sizes == [16, 16, 16, 2] and images.dtype == np.uint8 and found.dtype == labels.dtype
        np.testing.assert_array_equal(images, NUMBERED)
        np.testing.assert_array_equal(found, labels)


def test_a_seed_shuffles_each_epoch_anew_and_alike_in_each_dataset():
    one_hot = np.eye(50, dtype=np.float32)
    tried = []
    for seed, of_tensorflow in ((7, 1), (7, 2), (8, 2)):
        dataset = to_dataset(NUMBERED, one_hot, batch_size=16, seed=seed)
        import tensorflow as tf

        tf.random.set_seed(of_tensorflow)
        epochs = [epoch(dataset) for _ in range(2)]
        for _, images, labels in epochs:
            np.testing.assert_array_equal(images[:, 0, 0], labels.argmax(axis=1))  # each with its own label
            assert sorted(images[:, 0, 0]) == list(range(50))
        tried.append([images[:, 0, 0].tolist() for _, images, _ in epochs])
    assert tried[0] == tried[1] != tried[2]
    assert tried[0][0] != tried[0][1]


def test_bad_input_to_a_dataset_is_named():
    with pytest.raises(ValueError, match="49 labels for 50 images.*kept"):
        to_dataset(NUMBERED, np.arange(49))
    with pytest.raises(ValueError, match="batch_size 0"):
        to_dataset(NUMBERED, np.arange(50), batch_size=0)


def test_a_dataset_trains_a_model():
    from heartai_utils._keras import keras

    model = keras.Sequential([keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    dataset = to_dataset(NUMBERED, np.zeros(50), seed=1)
    history = model.fit(dataset, epochs=3, verbose=0, shuffle=False).history["loss"]
    assert len(history) == 3 and np.isfinite(history).all()


# --- the real ones --------------------------------------------------------------------------------------------------


def test_real_pages(real_pages, tmp_path):
    paths = sorted(real_pages.glob("*/*.jpg"))[::60]
    for _ in range(2):
        found = load(paths, tmp_path, method="even-ink", crop="grid", threads=2)
        assert len(found) == len(paths) and found.rejected.empty
        np.testing.assert_array_equal(found.images[-1], shrink(paths[-1], "even-ink", crop="grid"))
