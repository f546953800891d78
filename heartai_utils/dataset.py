"""Pages on disk as a catalogue: one row a page, with its condition, checksum and the groups it belongs to.

A folder in the published layout holds the four long-named folders of `conditions` with files `stem(n).jpg`:
the dataset of Khan and Hussain (2021, doi:10.17632/gwbz3fsgp8.2), a part of it, or a set that `simulate_set`
writes in the same way, with the truth beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import stat
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from threading import get_ident

import cv2
import numpy as np
import pandas as pd
from PIL import Image, UnidentifiedImageError
from tqdm.std import tqdm

from heartai_utils import _layout, page, simulation
from heartai_utils.conditions import CONDITIONS, NAMES, Condition, condition_of
from heartai_utils.page import HEIGHT, WIDTH, PageDetails, draw_page, encode_page
from heartai_utils.simulation import Recording, simulate_recording

# Of the published dataset, by its manifest: distinct pages, and under how many names each is there.
PUBLISHED_PAGES = dict(zip(NAMES, (142, 30, 233, 86), strict=True))
PUBLISHED_COPIES = dict(zip(NAMES, (2, 8, 1, 2), strict=True))
PUBLISHED_IDS = 311  # printed on these pages

COURSE_PAGES = {"quick": 240, "full": 960}  # simulated pages by profile of the course

_COLUMNS = ["path", "file", "condition", "label", "md5", "bytes"]
_COLUMNS += ["copy_group", "id_group", "source", "printed_hr_bpm"]
_EXTENSIONS = (".jpg", ".jpeg", ".png")
_LARGEST_FILE = 32_000_000  # bytes; a page as uncompressed RGB has 10.4 million
_EXIF_ORIENTATION = 0x0112
_PNG_BIT_DEPTH = 24  # the byte of a PNG file that tells its bits per colour
# In the compressed pixels of a JPEG, 0xFF is followed by 0 or a restart marker (ITU-T T.81, B.1.1.2).
_STRAY_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8\xda-\xfe]")
_SETTINGS, _MANIFEST, _TRUTH = "set.json", "manifest.csv", "truth"


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

    own, rejected = _own_manifest(folder)
    manifest = read_manifest() if own.empty else own
    known = {row.md5: row for row in manifest.drop_duplicates("md5").itertuples()}
    named = dict(zip(manifest["file"], zip(manifest["md5"], manifest["bytes"], strict=True), strict=True))
    expected = {name for name, _ in folders}
    if (folder / _SETTINGS).is_file():
        expected |= {_SETTINGS, _MANIFEST, _TRUTH}
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
    keys = [(label, _natural(file)) for label, file in zip(pages["label"], pages["file"], strict=True)]
    return pages.iloc[sorted(range(len(keys)), key=keys.__getitem__)][_COLUMNS].reset_index(drop=True)


def _natural(name: str) -> tuple[list, str]:
    """A key that sorts Normal(2) before Normal(10)."""
    parts = re.split("([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _text(name: str) -> str:
    """A file's name with bytes that are no text replaced, fit to print."""
    return os.fsencode(name).decode("utf-8", "replace")


def _listing(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), key=_natural)
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


def _own_manifest(folder: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """The manifest of a simulated set, empty if the folder is none, and what is wrong with it."""
    table = pd.DataFrame(columns=["file", "md5", "bytes", "condition", "printed_id_group", "printed_hr_bpm"])
    if not (folder / _SETTINGS).is_file():
        return table, []
    try:
        pages = _settings(folder)["pages"]
        table = pd.read_csv(folder / _MANIFEST, keep_default_na=False)[list(table)]
    except (OSError, ValueError, KeyError) as error:
        return table, [(_MANIFEST, f"cannot be read ({error}): run the simulation again to complete the set")]
    found = table["md5"].nunique()
    fault = f"lists {found} of {pages} pages: run the simulation again to complete the set"
    return table, [(_MANIFEST, fault)] if found < pages else []


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


# --- Simulated sets -----------------------------------------------------------------------------------------


def simulate_set(
    dest: Path | str,
    pages: int,
    seed: int = 0,
    *,
    shares: Mapping[str, float] | str = "balanced",
    progress: bool = True,
    workers: int | None = None,
) -> pd.DataFrame:
    """Simulate pages into the published layout, with the truth beside them.

    Page i follows from (seed, i) alone: neither the number of workers nor an interruption changes a byte, and
    asking for more pages later keeps those that are there. Only missing or damaged pages are made. Beside the
    four folders lie `manifest.csv` (a row a page), `truth/stem(n).npz` (see `read_truth`) and `set.json` (what
    was asked for). Pages share printed IDs about as often as the published ones, whatever their condition.

    Args:
        dest: a new or empty folder, or one that this function began with the same seed and shares.
        pages: how many pages in all.
        seed: 0 or more.
        shares: of the conditions by name, in any unit; "balanced"; or "published", as among the 491 distinct
            pages. Counts follow them to the page (Sainte-Laguë's method: exact, and never fewer of a
            condition in a larger set).
        progress: show a bar on stderr.
        workers: processes; by default one a core, as far as there is work.

    Returns:
        The catalogue, as `read_catalogue` gives it.

    Raises:
        DatasetError: if the folder holds anything else, or a set made with another seed, other shares,
            another version of this package or more pages.
    """
    if pages < 1 or seed < 0:
        raise DatasetError(f"pages={pages}, seed={seed}: ask for at least one page, and a seed of 0 or more")
    dest, pages, seed, shares = Path(dest), int(pages), int(seed), _shares(shares)
    _claim(dest, {"version": _drawing_version(), "seed": seed, "shares": shares, "copies": False, "pages": pages})
    plans = _plans(pages, seed, shares)
    rows = {plan.index: row for plan in plans if (row := _made_before(dest, plan))}
    missing = [plan for plan in plans if plan.index not in rows]
    if workers is None:  # a process starts in the time that drawing some fifty pages takes
        workers = min(os.cpu_count() or 1, len(missing) // 50)
    try:
        with closing(_make_pages(dest, missing, workers)) as made:
            for row in tqdm(made, "simulating", len(missing), unit="page", leave=False, disable=not progress):
                rows[row["index"]] = row
    finally:
        _write_manifest(dest, [rows[index] for index in sorted(rows)])
    return read_catalogue(dest)[0]


def course_pages(
    profile: str = "quick", data_dir: str | Path = "", seed: int = 0, progress: bool = True
) -> pd.DataFrame:
    """The pages that a chapter works on: a reader's own, or simulated ones made once and kept.

    Args:
        profile: "quick" or "full": how many pages are simulated, balanced over the conditions (`COURSE_PAGES`).
        data_dir: a folder of pages in the published layout; empty for simulated pages. What it holds besides
            pages is named on stderr.
        seed: of the simulated set.
        progress: show a bar on stderr.

    Returns:
        The catalogue, as `read_catalogue` gives it.

    Raises:
        DatasetError: for an unknown profile, or a folder without pages.
    """
    if profile not in COURSE_PAGES:
        raise DatasetError(f"profile {profile!r}: use one of {', '.join(COURSE_PAGES)}")
    if data_dir:
        catalogue, rejected = read_catalogue(data_dir)
        for file, reason in rejected[["file", "reason"]].itertuples(index=False):
            tqdm.write(f"skipped {file}: {reason}", file=sys.stderr)
        return catalogue
    folder = data_home() / "simulated" / f"{profile}-seed{seed}-{_drawing_version()}"
    return simulate_set(folder, COURSE_PAGES[profile], seed, progress=progress)


@lru_cache
def _drawing_version() -> str:
    """A checksum of the code that draws: pages made by other code must not be mixed with new ones."""
    sources = (Path(module.__file__).read_bytes() for module in (simulation, _layout, page))
    return hashlib.sha256(b"".join(sources)).hexdigest()[:8]


def publish_with_copies(source: Path | str, dest: Path | str) -> pd.DataFrame:
    """Repeat the pages of a simulated set under other names, as the published dataset repeats its own.

    Of k Normal pages, Normal(n) is there again as Normal(n + k); PMI(n) likewise; MI(n) eight times; HB(n)
    once. Files are hard links where the file system allows them.

    Args:
        source: a complete set by `simulate_set`.
        dest: a new or empty folder, or one that this function made from the same set.

    Returns:
        The catalogue of dest.

    Raises:
        DatasetError: if source is no such set, or dest holds anything else.
    """
    source, dest = Path(source), Path(dest)
    settings, faults = _settings(source), _own_manifest(source)[1]
    if not settings or settings["copies"] or faults:
        raise DatasetError(f"{source} is no complete set of distinct pages: make one with simulate_set")
    _claim(dest, settings | {"copies": True})
    table = pd.read_csv(source / _MANIFEST, keep_default_na=False)
    total = Counter(table["condition"])
    rows = []
    for row in table.to_dict("records"):
        condition = condition_of(row["condition"])
        for copy in range(PUBLISHED_COPIES[condition.name]):
            number = int(row["file"].rpartition("(")[2].partition(")")[0]) + copy * total[condition.name]
            file = _file(condition, number)
            _link(source / row["file"], dest / file)
            _link(_truth_path(source / row["file"]), _truth_path(dest / file))
            rows.append(row | {"file": file, "copy_of": row["file"] if copy else ""})
    _write_manifest(dest, rows)
    return read_catalogue(dest)[0]


def read_truth(page: Path | str) -> Recording:
    """Read the recording that a simulated page was drawn from, to the nearest microvolt, with its facts.

    Raises:
        DatasetError: if there is no readable truth beside the page.
    """
    path = _truth_path(Path(page))
    try:
        with np.load(path, allow_pickle=False) as truth:
            signals = (truth["microvolt"] / 1000).astype(np.float32)
            condition = condition_of(str(truth["condition"]))
            return Recording(signals, float(truth["rate"]), condition, json.loads(str(truth["facts"])))
    except Exception as error:  # a damaged archive fails in many ways
        raise DatasetError(f"no truth beside {page}: is it a simulated page? ({error})") from error


@dataclass(frozen=True)
class _Plan:
    """One page to simulate; everything about it follows from these."""

    seed: int
    index: int
    condition: Condition
    number: int
    printed_id: int


def _shares(shares: Mapping[str, float] | str) -> dict[str, float]:
    """Shares of the four conditions by name, adding up to 1."""
    known = {"balanced": dict.fromkeys(NAMES, 1), "published": PUBLISHED_PAGES}
    try:
        given = known[shares] if isinstance(shares, str) else shares
        given = {condition_of(key).name: float(share) for key, share in given.items()}
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetError(
            f'shares={shares!r}: use "balanced", "published" or a number by condition ({error})'
        ) from None
    total = sum(given.values())
    if not (min(given.values(), default=0) >= 0 and 0 < total < np.inf):
        raise DatasetError(f"shares={shares!r}: give numbers of 0 or more, one of them above 0")
    return {name: given.get(name, 0.0) / total for name in NAMES}


def _plans(pages: int, seed: int, shares: dict[str, float]) -> list[_Plan]:
    """What to draw; the plans of a smaller set are the first of these."""
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    counts, plans = Counter(), []
    for index in range(pages):
        # Sainte-Laguë: the condition whose share is largest for the pages it has.
        name = max(NAMES, key=lambda name: shares[name] / (2 * counts[name] + 1))
        counts[name] += 1
        repeated, earlier, printed_id = rng.random(), rng.random(), int(rng.integers(100_000, 1_000_000))
        if index and repeated < 1 - PUBLISHED_IDS / sum(PUBLISHED_PAGES.values()):
            printed_id = plans[int(earlier * index)].printed_id
        plans.append(_Plan(seed, index, condition_of(name), counts[name], printed_id))
    return plans


def _make_pages(dest: Path, plans: list[_Plan], workers: int) -> Iterator[dict]:
    """Make pages here or in several processes; gives the manifest row of each when it is done."""
    if workers <= 1 or len(plans) <= 1:
        yield from (_make_page(dest, plan) for plan in plans)
        return
    # Not forked: the caller may have threads (TensorFlow's), which do not survive that.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker)
    try:
        for done in as_completed([pool.submit(_make_page, dest, plan) for plan in plans]):
            yield done.result()
    except BrokenProcessPool as error:
        advice = "call this under `if __name__ == '__main__':` or with workers=1"
        raise DatasetError(f"the worker processes ended early: {advice}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted; pages begun are finished
    cv2.setNumThreads(1)


def _make_page(dest: Path, plan: _Plan) -> dict:
    """Simulate, draw and write one page with its truth; gives its manifest row."""
    rng = np.random.default_rng(np.random.SeedSequence(plan.seed, spawn_key=(plan.index,)))
    seed = int(rng.integers(2**48))
    recording = simulate_recording(plan.condition, seed)
    facts = recording.facts
    details = replace(PageDetails.random(rng), printed_id=str(plan.printed_id))
    data = encode_page(draw_page(recording, details=details), details.quality)
    file = _file(plan.condition, plan.number)
    row = {
        "file": file,
        "condition": plan.condition.name,
        "bytes": len(data),
        "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(data).hexdigest(),
        "copy_of": "",
        "printed_id_group": f"ID{plan.printed_id}",
        "printed_hr_bpm": round(facts["heart_rate_bpm"]),
        "rhythm_lead": details.rhythm_lead,
        "lead_off": "yes" if facts["lead_off"] else "no",
        "sex": details.sex,
        "date_format": details.date_format,
        "jpeg_batch": details.quality,
        "kind": facts["kind"],
        "territory": facts["territory"] or "",
        "index": plan.index,
        "seed": seed,
    }
    truth = io.BytesIO()
    microvolt = np.rint(recording.signals * 1000).astype(np.int16)
    texts = {"condition": plan.condition.name, "facts": json.dumps(facts), "row": json.dumps(row)}
    np.savez(truth, microvolt=microvolt, rate=recording.rate, **texts)
    # The page last: where there is a page, there is its truth.
    write_whole(_truth_path(dest / file), truth.getvalue())
    write_whole(dest / file, data)
    return row


def _made_before(dest: Path, plan: _Plan) -> dict | None:
    """The manifest row of a page that is there and whole, else None."""
    page = dest / _file(plan.condition, plan.number)
    try:
        with np.load(_truth_path(page), allow_pickle=False) as truth:
            row = json.loads(str(truth["row"]))
        whole = row["md5"] == hashlib.md5(page.read_bytes(), usedforsecurity=False).hexdigest()
    except Exception:  # missing, or an archive damaged in one of many ways: made again
        return None
    return row if whole else None


def _settings(folder: Path) -> dict | None:
    """What a simulated set was asked for; None if the folder holds no such set."""
    path = folder / _SETTINGS
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not {"version", "seed", "shares", "copies", "pages"} <= set(settings):
            raise ValueError("settings are missing")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as error:
        raise DatasetError(f"{path} cannot be read ({error}): choose another folder") from error
    return settings


def _claim(dest: Path, settings: dict) -> None:
    """Begin a set in a folder, or go on with it; refuses if anything else is there."""
    before = _settings(dest)
    if before is None:
        if dest.exists() and (not dest.is_dir() or any(dest.iterdir())):
            raise DatasetError(f"{dest} is there and holds no simulated set: choose a new or empty folder")
    else:
        extends = before["pages"] <= settings["pages"] and not settings["copies"]
        other = [key for key in settings if before[key] != settings[key] and not (key == "pages" and extends)]
        if other:
            told = ", ".join(f"{key} {before[key]} instead of {settings[key]}" for key in other)
            raise DatasetError(f"{dest} holds a set with {told}: choose another folder, or delete this one")
    if before != settings:
        write_whole(dest / _SETTINGS, json.dumps(settings, indent=1).encode())


def _write_manifest(dest: Path, rows: Iterable[dict]) -> None:
    rows = sorted(rows, key=lambda row: (condition_of(row["condition"]).label, _natural(row["file"])))
    if rows:
        write_whole(dest / _MANIFEST, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())


def _file(condition: Condition, number: int) -> str:
    return f"{condition.folder}/{condition.stem}({number}).jpg"


def _truth_path(page: Path) -> Path:
    return page.parents[1] / _TRUTH / f"{page.stem}.npz"


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, by a hard link or else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        pass
    except OSError:
        write_whole(target, source.read_bytes())
