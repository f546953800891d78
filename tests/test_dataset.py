"""Reading folders of pages, whatever lies in them."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zlib
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from heartai_utils import _catalogue, _sets, dataset
from heartai_utils.conditions import CONDITIONS, NAMES
from heartai_utils.dataset import DatasetError
from heartai_utils.page import HEIGHT, WIDTH


@cache
def picture(size=(WIDTH, HEIGHT), mode="RGB", kind="JPEG", shade=255, **options) -> bytes:
    """An empty sheet as a file."""
    buffer = io.BytesIO()
    Image.new(mode, size, shade if mode in ("L", "P", "I;16") else (shade,) * len(mode)).save(buffer, kind, **options)
    return buffer.getvalue()


def put(folder: Path, condition, name: str, data: bytes) -> Path:
    path = folder / condition.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def reasons(rejected: pd.DataFrame) -> dict[str, str]:
    return {Path(file).name: reason for file, reason in zip(rejected["file"], rejected["reason"], strict=True)}


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags.tobytes()


@pytest.fixture(scope="module")
def simulated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("simulated") / "set"
    dataset.simulate_set(folder, 10, seed=5, progress=False, workers=1)
    return folder


@pytest.fixture(scope="module")
def a_page(simulated) -> bytes:
    return Path(dataset.read_catalogue(simulated)[0]["path"][0]).read_bytes()


# --- What is published


def test_the_manifest_counts_what_the_descriptor_and_the_checksums_say():
    manifest = dataset.read_manifest()
    assert len(manifest) == 928 and manifest["md5"].nunique() == 491 == manifest["sha256"].nunique()
    assert manifest["printed_id_group"].nunique() == dataset.PUBLISHED_IDS == 311
    distinct = manifest[manifest["copy_of"] == ""]
    assert distinct.groupby("condition").size().to_dict() == dataset.PUBLISHED_PAGES
    assert manifest.groupby("md5")["condition"].nunique().max() == 1
    assert not {"record_month", "path"} & set(manifest)


def test_copies_in_the_manifest_follow_the_names():
    manifest = dataset.read_manifest()
    number = manifest["file"].str.extract(r"\((\d+)\)")[0].astype(int)
    first = manifest["copy_of"].where(manifest["copy_of"] != "", manifest["file"]).str.extract(r"\((\d+)\)")[0]
    step = manifest["condition"].map(dataset.PUBLISHED_PAGES)
    assert ((number - first.astype(int)) % step == 0).all()
    pages_of = manifest.groupby("condition").size()
    assert pages_of["Myocardial infarction"] == 8 * 30 - 1  # MI(215) is absent


def test_the_catalogue_of_the_manifest_is_in_order_and_complete():
    catalogue = dataset.manifest_catalogue()
    assert catalogue["copy_group"].nunique() == 491 and catalogue["id_group"].nunique() == 311
    assert list(catalogue["label"]) == sorted(catalogue["label"])
    assert [Path(file).name for file in catalogue["file"][:12]] == [f"Normal({n}).jpg" for n in range(1, 13)]
    assert set(catalogue["source"]) == {"published"}
    rates = catalogue.groupby("label")["printed_hr_bpm"]
    assert (rates.min()[0], rates.max()[0], rates.min()[2], rates.max()[2]) == (48, 90, 60, 213)


def test_data_home_is_the_variable_or_beside_the_package(monkeypatch, tmp_path):
    monkeypatch.delenv("HEARTAI_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    assert dataset.data_home() == Path(dataset.__file__).resolve().parents[1] / "data"
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path / "elsewhere"))
    assert dataset.data_home() == tmp_path / "elsewhere"
    monkeypatch.setenv("HEARTAI_DATA", "relative")
    with pytest.raises(DatasetError, match="absolute"):
        dataset.data_home()


def test_outside_a_checkout_the_cache_is_used_and_a_missing_manifest_is_told(monkeypatch, tmp_path):
    monkeypatch.delenv("HEARTAI_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(_catalogue, "__file__", str(tmp_path / "site-packages" / "heartai_utils" / "_catalogue.py"))
    assert dataset.data_home() == tmp_path / "heartai"
    with pytest.raises(DatasetError, match="published_manifest.csv is not in"):
        dataset.read_manifest()


# --- Reading folders


def test_a_folder_is_read_in_order_with_groups(tmp_path, a_page):
    first, second = picture(shade=254), picture(shade=253, kind="PNG")
    put(tmp_path, CONDITIONS[2], "HB(10).jpg", first)
    put(tmp_path, CONDITIONS[2], "HB(2).JPEG", a_page)
    put(tmp_path, CONDITIONS[0], "Normal(7).PNG", second)
    put(tmp_path, CONDITIONS[2], "HB(11).jpg", first)
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    assert [Path(f).name for f in catalogue["file"]] == ["Normal(7).PNG", "HB(2).JPEG", "HB(10).jpg", "HB(11).jpg"]
    assert list(catalogue["label"]) == [0, 2, 2, 2] and list(catalogue["condition"]) == [NAMES[i] for i in (0, 2, 2, 2)]
    assert catalogue["copy_group"].nunique() == 3 and catalogue["copy_group"][2] == catalogue["copy_group"][3]
    assert catalogue["id_group"].nunique() == 3  # pages unknown to the manifest stay on their own, copies together
    assert set(catalogue["source"]) == {"unknown"} and catalogue["printed_hr_bpm"].isna().all()
    assert all(Path(path).is_file() for path in catalogue["path"]) and rejected.empty
    assert catalogue["bytes"].tolist() == [Path(path).stat().st_size for path in catalogue["path"]]


def test_folders_without_pages_say_what_is_expected(tmp_path):
    with pytest.raises(DatasetError, match="cannot be read as a folder"):
        dataset.read_catalogue(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="Normal Person ECG Images"):
        dataset.read_catalogue(tmp_path)
    inner = tmp_path / "gwbz3fsgp8-2"
    put(inner, CONDITIONS[1], "MI(1).jpg", b"")
    with pytest.raises(DatasetError, match="gwbz3fsgp8-2: give that"):
        dataset.read_catalogue(tmp_path)
    with pytest.raises(DatasetError, match=r"no page: 1 file\(s\) were skipped, such as .*MI\(1\).jpg, which is empty"):
        dataset.read_catalogue(inner)


def declared(width: int, height: int) -> bytes:
    """A PNG whose header, checksum and all, declares a size that its pixels do not have."""
    data = bytearray(picture((8, 8), kind="PNG"))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def sixteen_bit_colours() -> bytes:
    """A page as PNG with 16 bits per colour, which Pillow cannot write."""
    header = WIDTH.to_bytes(4, "big") + HEIGHT.to_bytes(4, "big") + bytes([16, 2, 0, 0, 0])
    pixels = zlib.compress((b"\0" + b"\xff" * (6 * WIDTH)) * HEIGHT)
    chunks = b""
    for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
        chunks += len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return b"\x89PNG\r\n\x1a\n" + chunks


BAD_FILES = {
    "empty.jpg": (b"", "is empty"),
    "text.jpg": (b"Diagnosis: see over\n" * 50, "neither a JPEG nor a PNG"),
    "gif.jpg": (picture((WIDTH, HEIGHT), kind="GIF", mode="P"), "neither a JPEG nor a PNG"),
    "notes.txt": (b"notes", "is none of .jpg"),
    ".DS_Store": (b"\0\0\0\1Bud1", "is a hidden file"),
    ".Normal(3).jpg.77.part": (b"", "is a hidden file"),
    "Thumbs.db": (b"\xd0\xcf", "is none of .jpg"),
    "one.jpg": (picture((1, 1)), "is 1×1; a page is 2213×1572"),
    "upright.jpg": (picture((HEIGHT, WIDTH)), "is 1572×2213"),
    "huge.png": (declared(30_000, 30_000), "is"),
    "large.png": (declared(12_000, 12_000), "is 12000×12000"),
    "cmyk.jpg": (picture(mode="CMYK"), "has CMYK colours"),
    "grey16.png": (picture(mode="I;16", kind="PNG"), "in 16 bits|I;16"),
    "rgb16.png": (sixteen_bit_colours(), "in 16 bits"),
    "palette.png": (picture(mode="P", kind="PNG"), "has P colours"),
    "turned.jpg": (picture(exif=exif(6)), "turned by its EXIF"),
    "turned.png": (picture(kind="PNG", exif=exif(3)), "turned by its EXIF"),
    "half.jpg": (picture()[:-9000], "is truncated"),
    "no_end.jpg": (picture()[:-2], "is truncated"),
    "half.png": (picture(kind="PNG")[:-40], "is damaged"),
    "flipped.png": (picture(kind="PNG").replace(b"IDAT\x78", b"IDAT\x79"), "is damaged"),
    "marker.jpg": (picture()[:-2000] + b"\xff\x77" + picture()[-1998:], "stray marker"),
    "header.jpg": (picture()[:20], "neither a JPEG nor a PNG|is damaged"),
    "heavy.png": (b"\x89PNG\r\n\x1a\n" + bytes(33_000_000), "has 33,000,008 bytes"),
}


def test_bad_files_are_named_with_their_reason_and_the_good_one_is_kept(tmp_path):
    put(tmp_path, CONDITIONS[0], "good.jpg", picture())
    put(tmp_path, CONDITIONS[0], "grey.png", picture(mode="L", kind="PNG"))
    for name, (data, _) in BAD_FILES.items():
        put(tmp_path, CONDITIONS[0], name, data)
    (tmp_path / "readme.txt").write_text("hello")
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    assert [Path(file).name for file in catalogue["file"]] == ["good.jpg", "grey.png"]
    told = reasons(rejected)
    assert told.pop("readme.txt") == "is not in one of the four folders"
    assert set(told) == set(BAD_FILES)
    for name, (_, expected) in BAD_FILES.items():
        assert any(part in told[name] for part in expected.split("|")), (name, told[name])


@pytest.mark.skipif(os.name == "nt", reason="links and pipes need rights on Windows")
def test_folders_links_and_pipes_named_like_pages_do_no_harm(tmp_path):
    good = put(tmp_path, CONDITIONS[3], "PMI(1).jpg", picture())
    folder = good.parent
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "a.jpg").symlink_to(folder / "b.jpg")
    (folder / "b.jpg").symlink_to(folder / "a.jpg")
    (folder / "up.jpg").symlink_to(folder)
    (folder / "linked.jpg").symlink_to(good)
    os.mkfifo(folder / "pipe.jpg")
    os.symlink(tmp_path, tmp_path / "round")
    try:
        (folder / os.fsdecode(b"\xff\xfe.jpg")).write_bytes(picture())
    except OSError:  # not every file system takes such a name
        expected = {}
    else:
        expected = {"\ufffd\ufffd.jpg": "has a name that is not text"}
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    assert [Path(file).name for file in catalogue["file"]] == ["linked.jpg", "PMI(1).jpg"]
    assert catalogue["copy_group"][0] == catalogue["copy_group"][1]
    expected |= {"folder.jpg": "is a folder", "up.jpg": "is a folder", "pipe.jpg": "is no regular file"}
    expected |= {"round": "is not in one of the four folders"}
    told = reasons(rejected)
    assert {name: told[name] for name in expected} == expected
    assert {name for name in told if told[name].startswith("cannot be read: ")} == {"dangling.jpg", "a.jpg", "b.jpg"}


def test_a_file_that_cannot_be_opened_is_reported(tmp_path, monkeypatch):
    put(tmp_path, CONDITIONS[0], "Normal(1).jpg", picture())
    put(tmp_path, CONDITIONS[0], "Normal(2).jpg", picture())
    read = Path.read_bytes

    def refuse(path):
        if path.name == "Normal(2).jpg":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    assert len(catalogue) == 1 and reasons(rejected) == {"Normal(2).jpg": "cannot be read: Permission denied"}


def test_a_folder_that_cannot_be_opened_is_reported(tmp_path, monkeypatch):
    for condition in CONDITIONS[:2]:
        put(tmp_path, condition, "one.jpg", picture())
    list_folder = os.listdir

    def refuse(path):
        if Path(path).name in (CONDITIONS[1].folder, "locked"):
            raise PermissionError(13, "Permission denied")
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", refuse)
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    assert len(catalogue) == 1 and rejected["file"].tolist() == [CONDITIONS[1].folder]
    assert "Permission denied" in rejected["reason"][0]
    (tmp_path / "other" / "locked").mkdir(parents=True)
    with pytest.raises(DatasetError, match="has no folder such as"):
        dataset.read_catalogue(tmp_path / "other")


mutations = st.lists(
    st.tuples(
        st.sampled_from(["cut", "flip", "insert", "drop", "zero"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)
    ),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(steps=mutations, kind=st.sampled_from(["JPEG", "PNG"]))
def test_mutated_files_never_crash_and_are_kept_or_named(steps, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mutated")
    data = picture(kind=kind)
    put(folder, CONDITIONS[1], "MI(1).jpg", data)
    for step, place, noise in steps:
        at = int(place * len(data))
        if step == "cut":
            data = data[:at]
        elif step == "insert":
            data = data[:at] + noise + data[at:]
        elif step == "drop":
            data = data[:at] + data[at + len(noise) :]
        else:
            wide = zip(data[at : at + len(noise)], noise, strict=False)
            data = data[:at] + bytes(0 if step == "zero" else a ^ b for a, b in wide) + data[at + len(noise) :]
    put(folder, CONDITIONS[1], f"MI(2).{kind.lower()}", data)
    catalogue, rejected = dataset.read_catalogue(folder)
    assert len(catalogue) + len(rejected) == 2 and catalogue["file"][0].endswith("MI(1).jpg")
    assert rejected["reason"].str.len().gt(5).all()
    shutil.rmtree(folder)


def test_a_published_name_with_other_bytes_of_the_same_length_was_altered(tmp_path, a_page):
    row = dataset.read_manifest().iloc[0]
    stranger = a_page if len(a_page) != row.bytes else picture()
    altered = picture()[:2]
    while lacking := int(row.bytes) - len(altered) - len(picture()) + 2:  # filled up with comments
        length = min(lacking, 60_000)
        altered += b"\xff\xfe" + (length - 2).to_bytes(2, "big") + bytes(length - 4)
    altered += picture()[2:]
    put(tmp_path, CONDITIONS[0], Path(row.file).name, altered)
    put(tmp_path, CONDITIONS[0], "Normal(2).jpg", stranger)
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    assert catalogue["file"].tolist() == [f"{CONDITIONS[0].folder}/Normal(2).jpg"]
    assert reasons(rejected)["Normal(1).jpg"].startswith("was altered")


def test_importing_stays_light():
    code = "import sys, heartai_utils.dataset; print('tensorflow' in sys.modules or 'keras' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- Real pages


def test_real_pages_are_all_read_and_known(real_pages):
    catalogue, rejected = dataset.read_catalogue(real_pages)
    assert rejected.empty and set(catalogue["source"]) == {"published"}
    assert catalogue["copy_group"].is_unique and catalogue["printed_hr_bpm"].notna().all()
    known = dataset.manifest_catalogue().set_index("file").loc[catalogue["file"]]
    for column in ("md5", "condition", "bytes", "id_group", "printed_hr_bpm"):
        assert (known[column].to_numpy() == catalogue[column].to_numpy()).all(), column
    if len(catalogue) == 295:
        assert catalogue.groupby("condition").size().to_dict() == dict(zip(NAMES, (85, 18, 140, 52), strict=True))


def test_real_pages_laid_out_as_published(real_pages, tmp_path):
    """Every file of the manifest whose page is here, under its published name."""
    manifest = dataset.read_manifest()
    first = manifest["copy_of"].where(manifest["copy_of"] != "", manifest["file"])
    for file, source in zip(manifest["file"], first, strict=True):
        if (real_pages / source).is_file():
            _sets._link(real_pages / source, tmp_path / file)
    catalogue, rejected = dataset.read_catalogue(tmp_path)
    pages = dataset.read_catalogue(real_pages)[0]
    assert rejected.empty and catalogue["copy_group"].nunique() == len(pages)
    if len(pages) == 295:
        assert len(catalogue) == 557
        assert catalogue.groupby("condition").size().to_dict() == dict(zip(NAMES, (170, 143, 140, 104), strict=True))
