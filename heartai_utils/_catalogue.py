"""Where data lie, what the published dataset is, and a folder of pages read as a catalogue.

All of it is public as `heartai_utils.dataset`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import time
import warnings
from pathlib import Path
from threading import get_ident

import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError

from heartai_utils.conditions import CONDITIONS, NAMES, Condition
from heartai_utils.page import HEIGHT, WIDTH

# Of the published dataset, by its manifest: distinct pages, and under how many names each is there.
PUBLISHED_PAGES = dict(zip(NAMES, (142, 30, 233, 86), strict=True))
PUBLISHED_COPIES = dict(zip(NAMES, (2, 8, 1, 2), strict=True))
PUBLISHED_IDS = 311  # printed on these pages

UNFINISHED = re.compile(r"\..+\.\d+-\d+\.part")  # what `write_whole` calls a file while it writes
LEFTOVER_SECONDS = 3600  # an unfinished file so old is nobody's: the process that wrote it was killed
SETTINGS, MANIFEST, TRUTH = "set.json", "manifest.csv", "truth"  # beside the pages of a simulated set
_COLUMNS = ["path", "file", "condition", "label", "md5", "bytes"]
_COLUMNS += ["copy_group", "id_group", "source", "printed_hr_bpm"]
_EXTENSIONS = (".jpg", ".jpeg", ".png")
_LARGEST_FILE = 32_000_000  # bytes; a page as uncompressed RGB has 10.4 million
_EXIF_ORIENTATION = 0x0112
_PNG_BIT_DEPTH = 24  # the byte of a PNG file that tells its bits per colour
# In the compressed pixels of a JPEG, 0xFF is followed by 0 or a restart marker (ITU-T T.81, B.1.1.2).
_STRAY_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8\xda-\xfe]")


class DatasetError(ValueError):
    """A folder that is no dataset, a file that is no page, or a set that cannot be made as asked."""


# --- Where things lie ---------------------------------------------------------------------------------------


def data_home() -> Path:
    """The folder for what is downloaded, simulated or computed, whatever the working directory.

    The environment variable HEARTAI_DATA if set; else `data/` of the checkout that the package runs from;
    else `heartai` in the user's cache folder. It need not exist yet.

    Raises:
        DatasetError: if HEARTAI_DATA is no absolute path.
    """
    if chosen := os.environ.get("HEARTAI_DATA"):
        folder = Path(chosen).expanduser()
        if not folder.is_absolute():
            raise DatasetError(f"HEARTAI_DATA={chosen}: give an absolute path, the same for every program")
        return folder
    checkout = _checkout_data()
    return checkout or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heartai"


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: under a temporary name in its folder, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}-{get_ident()}.part")
    try:
        unfinished.write_bytes(data)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder and those below; what is being written stays."""
    for path in folder.glob("**/.*.part"):
        try:
            if UNFINISHED.fullmatch(path.name) and time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                path.unlink()
        except FileNotFoundError:  # its writer has just finished, or another process tidies up as well
            pass


def _checkout_data() -> Path | None:
    project = Path(__file__).resolve().parents[1]
    in_checkout = (project / "pyproject.toml").is_file() and (project / "data").is_dir()
    return project / "data" if in_checkout else None


# --- What is published --------------------------------------------------------------------------------------


def read_manifest() -> pd.DataFrame:
    """Read what is known of the 928 published files, in the order of the conditions and of the file numbers.

    Returns:
        Columns file ("folder/name"), condition, bytes, md5, sha256, copy_of (the first of the byte-identical
        files, "" for that one itself), printed_id_group, printed_hr_bpm, rhythm_lead, lead_off ("yes", "no"),
        sex, date_format, jpeg_batch.

    Raises:
        DatasetError: if `published_manifest.csv` is neither in the checkout's `data/` nor in `data_home()`.
    """
    folders = [folder for folder in (_checkout_data(), data_home()) if folder]
    for folder in folders:
        if (folder / "published_manifest.csv").is_file():
            return pd.read_csv(folder / "published_manifest.csv", keep_default_na=False)
    places = " or ".join(map(str, folders))
    raise DatasetError(f"published_manifest.csv is not in {places}: copy it there from the project's data/")


def manifest_catalogue() -> pd.DataFrame:
    """The catalogue of the 928 published files from the manifest alone, with empty paths: it needs no page."""
    table = read_manifest().rename(columns={"printed_id_group": "id_group"})
    return _catalogue(table.assign(path="", source="published"))


def read_catalogue(folder: Path | str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read a folder in the published layout.

    A file is judged by its outside: its type, 2213 × 1572 in 8 bits, upright, a proper end, and its checksum
    where the manifest knows it. Pixels are decoded by `page.load_page` only.

    Args:
        folder: holds at least one of the four published folders.

    Returns:
        The catalogue, conditions in order and files by number, with the columns path, file ("folder/name"),
        condition, label, md5, bytes, copy_group (the same for byte-identical files), id_group (the same for
        one printed ID by the manifest; a page unknown to it is on its own), source ("published", "simulated"
        or "unknown") and printed_hr_bpm (NaN if unknown). And what was skipped, with the columns file, reason.

    Raises:
        DatasetError: if there is no such folder, none of the four folders in it, or no page in these.
    """
    folder = Path(folder)
    folders = _condition_folders(folder)
    if not folders:
        nested = [name for name in _listing(folder) if _holds_condition_folders(folder / name)]
        hint = f"; they are in {folder / nested[0]}: give that" if nested else ""
        raise DatasetError(f"{folder} has no folder such as {CONDITIONS[0].folder!r}{hint}")

    own, rejected = own_manifest(folder)
    manifest = read_manifest() if own.empty else own
    known = {row.md5: row for row in manifest.drop_duplicates("md5").itertuples()}
    named = dict(zip(manifest["file"], zip(manifest["md5"], manifest["bytes"], strict=True), strict=True))
    expected = {name for name, _ in folders}
    if (folder / SETTINGS).is_file():
        expected |= {SETTINGS, MANIFEST, TRUTH}
    beside = [_text(name) for name in _listing(folder) if name not in expected]
    rejected += [(name, "is not in one of the four folders") for name in beside]
    pages = []
    for name, condition in folders:
        try:
            files = [f"{name}/{file}" for file in _listing(folder / name)]
        except DatasetError as error:
            rejected.append((name, str(error)))
            continue
        for file in files:
            try:
                data = _read_page(folder / file)
                md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
                published_md5, size = named.get(file, (md5, None))
                # A stranger may bear a published name; in its very length it is a damaged copy.
                if published_md5 != md5 and (len(own) or (md5 not in known and size == len(data))):
                    raise DatasetError("was altered: its checksum is not the one in the manifest")
            except OSError as error:
                rejected.append((_text(file), f"cannot be read: {error.strerror}"))
            except DatasetError as error:
                rejected.append((_text(file), str(error)))
            else:
                row = known.get(md5)
                page = {"path": str(folder / file), "file": file, "condition": condition.name, "md5": md5}
                page |= {"bytes": len(data), "id_group": row.printed_id_group if row else md5}
                page |= {"source": ("simulated" if len(own) else "published") if row else "unknown"}
                pages.append(page | {"printed_hr_bpm": row.printed_hr_bpm if row else np.nan})
    if not pages:
        first = f", such as {rejected[0][0]}, which {rejected[0][1]}" if rejected else ""
        raise DatasetError(f"{folder} has no page: {len(rejected)} file(s) were skipped{first}")
    return _catalogue(pd.DataFrame(pages)), pd.DataFrame(rejected, columns=["file", "reason"])


def _catalogue(pages: pd.DataFrame) -> pd.DataFrame:
    """Put pages in order and add the columns that follow from the others."""
    pages = pages.assign(
        label=pages["condition"].map(NAMES.index).astype("int64"),
        copy_group=pages["md5"],
        printed_hr_bpm=pages["printed_hr_bpm"].astype("float64"),
    )
    keys = [(label, natural_order(file)) for label, file in zip(pages["label"], pages["file"], strict=True)]
    return pages.iloc[sorted(range(len(keys)), key=keys.__getitem__)][_COLUMNS].reset_index(drop=True)


def natural_order(name: str) -> tuple[list, str]:
    """A key that sorts Normal(2) before Normal(10)."""
    parts = re.split("([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _text(name: str) -> str:
    """A file's name with bytes that are no text replaced, fit to print."""
    return os.fsencode(name).decode("utf-8", "replace")


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), key=natural_order)
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read as a folder: {error.strerror}") from error


def _condition_folders(folder: Path) -> list[tuple[str, Condition]]:
    """The names of the published folders in a folder, conditions in order."""
    conditions = {condition.folder.casefold(): condition for condition in CONDITIONS}
    found = [(name, conditions[name.casefold()]) for name in _listing(folder) if name.casefold() in conditions]
    found = [(name, condition) for name, condition in found if os.path.isdir(folder / name)]
    return sorted(found, key=lambda pair: pair[1].label)


def _holds_condition_folders(folder: Path) -> bool:
    try:
        return os.path.isdir(folder) and bool(_condition_folders(folder))
    except DatasetError:  # a folder that must not be read
        return False


def read_settings(folder: Path) -> dict | None:
    """What a simulated set was asked for; None if the folder holds no such set."""
    path = folder / SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not {"version", "seed", "shares", "copies", "pages"} <= set(settings):
            raise ValueError("settings are missing")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): choose another folder") from error
    return settings


def own_manifest(folder: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The manifest of a simulated set, empty if the folder is none, and what is wrong with it."""
    table = pd.DataFrame(columns=["file", "md5", "bytes", "condition", "printed_id_group", "printed_hr_bpm"])
    if not (folder / SETTINGS).is_file():
        return table, []
    try:
        pages = read_settings(folder)["pages"]
        table = pd.read_csv(folder / MANIFEST, keep_default_na=False)[list(table)]
    except (OSError, ValueError, KeyError) as error:
        return table, [(MANIFEST, f"cannot be read ({error}): run the simulation again to complete the set")]
    found = table["md5"].nunique()
    fault = f"lists {found} of {pages} pages: run the simulation again to complete the set"
    return table, [(MANIFEST, fault)] if found < pages else []


def _read_page(path: Path) -> bytes:
    """Read a file that by its outside is a page.

    Raises:
        DatasetError: with the reason why it is none.
        OSError: if it cannot be read.
    """
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):
        raise DatasetError("is a folder" if stat.S_ISDIR(state.st_mode) else "is no regular file")
    if path.name.startswith("."):
        raise DatasetError("is a hidden file")
    if path.suffix.lower() not in _EXTENSIONS:
        raise DatasetError(f"is none of {', '.join(_EXTENSIONS)}")
    if _text(path.name) != path.name:
        raise DatasetError("has a name that is not text")
    if not 0 < state.st_size <= _LARGEST_FILE:
        raise DatasetError(f"has {state.st_size:,} bytes" if state.st_size else "is empty")
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, of large pictures and odd EXIF data: judged below
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
                kind, size, mode = image.format, image.size, image.mode
                has_exif = kind == "JPEG" or "exif" in image.info  # else Pillow decodes a PNG to look for it
                turned = has_exif and image.getexif().get(_EXIF_ORIENTATION, 1) != 1
                image.verify()  # of a PNG, the checksum of every chunk
    except UnidentifiedImageError:
        raise DatasetError("is neither a JPEG nor a PNG picture") from None
    except Exception as error:  # a damaged header fails in many ways
        raise DatasetError(f"is damaged: {error}") from None
    bits = data[_PNG_BIT_DEPTH] if kind == "PNG" else 8
    if size != (WIDTH, HEIGHT):
        raise DatasetError(f"is {size[0]}×{size[1]}; a page is {WIDTH}×{HEIGHT}")
    if mode not in ("RGB", "L") or bits != 8:
        raise DatasetError(f"has {mode} colours in {bits} bits; a page is RGB or grey in 8 bits")
    if turned:
        raise DatasetError("is turned by its EXIF orientation: save it upright")
    if kind == "JPEG":
        end = len(data.rstrip(b"\0")) - 2
        if data[end : end + 2] != b"\xff\xd9":
            raise DatasetError("is truncated: the end of the JPEG is missing")
        if _STRAY_MARKER.search(data, data.rfind(b"\xff\xda") + 2, end):
            raise DatasetError("is damaged: a stray marker among the JPEG's pixels")
    return data
