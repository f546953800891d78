"""Folders full of damaged files: nothing crashes, each is named with its reason, and the good ones are kept.

150 files by default; HEARTAI_MUTATED_FILES=2000 makes so many. Where the tests run as root, nothing is unreadable, so
no file is counted as such then.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from heartai_utils import audit, dataset
from heartai_utils.conditions import CONDITIONS
from heartai_utils.page import HEIGHT, WIDTH

pytestmark = pytest.mark.slow

FILES = int(os.environ.get("HEARTAI_MUTATED_FILES", 150))
FOLDER = CONDITIONS[0].folder


def saved(page: bytes, kind: str, mode: str = "RGB", size: tuple[int, int] | None = None, **options) -> bytes:
    image = Image.open(io.BytesIO(page))
    image = image.resize(size) if size else image
    file = io.BytesIO()
    image.convert(mode).save(file, kind, **options)
    return file.getvalue()


def declared(page: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its header (ITU-T T.81, B.2.2: SOF0, its length, precision, height, width)."""
    at = page.index(b"\xff\xc0") + 5
    return page[:at] + struct.pack(">HH", height, width) + page[at + 4 :]


def truncated(page, rng):
    return page[: int(rng.integers(1, len(page) - 1))]


def flipped_bit(page, rng):
    return bits_flipped(page, rng, 1)


def flipped_bits(page, rng):
    return bits_flipped(page, rng, int(rng.integers(2, 200)))


def flipped_header(page, rng):
    return bits_flipped(page[:700], rng, int(rng.integers(1, 20))) + page[700:]


def bits_flipped(page: bytes, rng, times: int) -> bytes:
    data = np.frombuffer(page, np.uint8).copy()
    bits = rng.choice(8 * len(data), times, replace=False)
    np.bitwise_xor.at(data, bits // 8, (1 << (bits % 8)).astype(np.uint8))
    return data.tobytes()


def block_zeroed(page, rng):
    start = int(rng.integers(0, len(page) - 2000))
    return page[:start] + bytes(2000) + page[start + 2000 :]


def cut_out(page, rng):
    start = int(rng.integers(0, len(page) - 2000))
    return page[:start] + page[start + int(rng.integers(1, 2000)) :]


def empty(page, rng):
    return b""


def noise(page, rng):
    return rng.bytes(int(rng.integers(1, 5000)))


def other_type(page, rng):
    return [b"%PDF-1.7\n" + page, b"GIF89a" + page[:400], b"PK\x03\x04" + page[:99], b"<html>ECG</html>"][
        rng.integers(4)
    ]


def cmyk(page, rng):
    return saved(page, "JPEG", "CMYK")


def sixteen_bit(page, rng):
    file = io.BytesIO()
    grey = np.asarray(Image.open(io.BytesIO(page)).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(file, "PNG", compress_level=1)
    return file.getvalue()


def exif_rotated(page, rng):
    tags = Image.Exif()
    tags[0x0112] = int(rng.integers(2, 9))
    return saved(page, "JPEG", exif=tags.tobytes())


def one_by_one(page, rng):
    return saved(page, ["JPEG", "PNG"][rng.integers(2)], size=(1, 1))


def huge_declared(page, rng):
    return declared(page, 30_000, 30_000)


def small_declared(page, rng):
    return declared(page, int(rng.integers(1, WIDTH)), int(rng.integers(1, HEIGHT)))


CHANGES = [
    truncated, flipped_bit, flipped_bits, flipped_header, block_zeroed, cut_out, empty, noise, other_type, cmyk,
    sixteen_bit, exif_rotated, one_by_one, huge_declared, small_declared,
]  # fmt: skip
SLOW = [cmyk, sixteen_bit, exif_rotated]  # encode a page anew


def a_folder(path: Path, rng, pages) -> None:
    path.mkdir()


def a_link_in_a_circle(path: Path, rng, pages) -> None:
    path.symlink_to(path.name)


def a_link_to_the_folder(path: Path, rng, pages) -> None:
    path.symlink_to(path.parent, target_is_directory=True)


def a_link_to_nowhere(path: Path, rng, pages) -> None:
    path.symlink_to("nowhere.jpg")


def a_pipe(path: Path, rng, pages) -> None:
    os.mkfifo(path)


def unreadable(path: Path, rng, pages) -> None:
    path.write_bytes(pages[0])
    path.chmod(0)


ODD = [a_folder, a_link_in_a_circle, a_link_to_the_folder, a_link_to_nowhere]
ODD += [a_pipe] if hasattr(os, "mkfifo") else []
ODD += [unreadable] if getattr(os, "geteuid", lambda: 0)() else []  # root reads everything


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """Six sound pages in the published layout, as a simulated set with its manifest."""
    folder = tmp_path_factory.mktemp("good") / "set"
    dataset.simulate_set(folder, 6, seed=11, progress=False, workers=1)
    return folder


def mutate(folder: Path, pages: list[bytes], files: int, seed: int) -> dict[str, str]:
    """Put damaged files into a folder, all kinds alike often but for the slow ones; gives the kind by name."""
    rng = np.random.default_rng(seed)
    kinds = [*CHANGES * 3, *ODD]
    kinds = [kind for kind in kinds if kind not in SLOW] + SLOW
    made, contents = {}, {hashlib.md5(page).digest() for page in pages}
    while len(made) < files:
        kind = kinds[len(made) % len(kinds)]
        path = folder / f"Normal({1000 + len(made)}){'.png' if kind is sixteen_bit else '.jpg'}"
        if kind in ODD:
            kind(path, rng, pages)
        else:
            data = kind(pages[int(rng.integers(len(pages)))], rng)
            assert hashlib.md5(data).digest() not in contents
            path.write_bytes(data)
        made[path.name] = kind.__name__
    return made


def sound(folder: Path) -> tuple[pd.DataFrame, list[bytes]]:
    catalogue = dataset.read_catalogue(folder)[0]
    return catalogue, [Path(path).read_bytes() for path in catalogue["path"]]


def test_files_that_the_manifest_names_are_all_rejected_by_name_and_reason(good, tmp_path, monkeypatch):
    """The strict case: whatever was changed in a file that the manifest lists, if only one bit, it is no page."""
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path / "home"))
    folder = tmp_path / "set"
    shutil.copytree(good, folder)
    catalogue, pages = sound(good)
    made = mutate(folder / FOLDER, pages, FILES, seed=1)
    manifest = pd.read_csv(folder / "manifest.csv", keep_default_na=False)
    listed = [manifest.iloc[[i % len(manifest)]].assign(file=f"{FOLDER}/{name}") for i, name in enumerate(made)]
    pd.concat([manifest, *listed]).to_csv(folder / "manifest.csv", index=False)

    found = audit.audit(folder, splits=2, progress=False)
    reasons = {Path(row["file"]).name: row["reason"] for row in found.rejected}
    assert set(reasons) == set(made)
    assert all(len(reason) >= len("is empty") for reason in reasons.values())
    assert found.files == len(catalogue) == found.distinct
    after = dataset.read_catalogue(folder)[0]
    assert list(after["md5"]) == list(catalogue["md5"])
    expected = {
        "flipped_bit": "altered|damaged|truncated|×|picture|colours", "truncated": "truncated|damaged|neither",
        "empty": "empty", "other_type": "neither|damaged", "cmyk": "CMYK", "sixteen_bit": "16|bits",
        "exif_rotated": "EXIF", "one_by_one": "1×1", "huge_declared": "30000|limit", "a_folder": "is a folder",
        "a_link_in_a_circle": "cannot be read", "a_link_to_the_folder": "is a folder",
        "a_link_to_nowhere": "cannot be read", "a_pipe": "no regular file", "unreadable": "cannot be read",
    }  # fmt: skip
    for name, kind in made.items():
        assert re.search(expected.get(kind, "."), reasons[name]), (kind, reasons[name])


def test_unknown_damaged_files_are_pages_or_named_and_never_both(good, tmp_path, monkeypatch):
    """No manifest knows these: what still decodes to such a page is one, everything else is named."""
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path / "home"))
    folder = tmp_path / "strangers"
    shutil.copytree(good, folder, ignore=lambda *_: {"set.json", "manifest.csv", "truth"})
    catalogue, pages = sound(good)
    made = mutate(folder / FOLDER, pages, FILES // 3, seed=2)

    found = audit.audit(folder, splits=2, progress=False)
    named = [Path(row["file"]).name for row in found.rejected]
    assert len(named) == len(set(named)) and set(named) <= set(made)
    assert found.files + len(named) == len(catalogue) + len(made)
    never = {"empty", "noise", "other_type", "cmyk", "sixteen_bit", "exif_rotated", "one_by_one", "huge_declared"}
    never |= {"small_declared", *(kind.__name__ for kind in ODD)}
    assert {name for name, kind in made.items() if kind in never} <= set(named)
    again = audit.audit(folder, splits=2, progress=False)  # what was found is kept, faults included
    assert again == found


def test_a_flipped_bit_in_a_published_file_is_always_an_alteration(real_pages, tmp_path):
    name = next(path for path in sorted((real_pages / FOLDER).iterdir()))
    page, rng = name.read_bytes(), np.random.default_rng(3)
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "whole.jpg").write_bytes(page)  # is what it is under any name
    for _ in range(25):
        (folder / name.name).write_bytes(flipped_bit(page, rng))
        catalogue, rejected = dataset.read_catalogue(tmp_path)
        assert list(catalogue["file"]) == [f"{FOLDER}/whole.jpg"] and catalogue["source"][0] == "published"
        assert list(rejected["file"]) == [f"{FOLDER}/{name.name}"]


def test_folders_that_are_links_or_files_are_named(good, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(good, folder, ignore=lambda *_: {"set.json", "manifest.csv", "truth"})
    shutil.rmtree(folder / CONDITIONS[1].folder)
    (folder / CONDITIONS[1].folder).symlink_to(CONDITIONS[1].folder)
    shutil.rmtree(folder / CONDITIONS[2].folder)
    (folder / CONDITIONS[2].folder).write_text("no folder")
    shutil.rmtree(folder / CONDITIONS[3].folder)
    (folder / CONDITIONS[3].folder).symlink_to(CONDITIONS[0].folder, target_is_directory=True)
    catalogue, rejected = dataset.read_catalogue(folder)
    assert {CONDITIONS[1].folder, CONDITIONS[2].folder} == set(rejected["file"])
    assert catalogue["condition"].value_counts().to_dict() == {"Normal": 2, "History of MI": 2}
    assert catalogue["md5"].nunique() == 2  # one content under two conditions
