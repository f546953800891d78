"""Simulated sets in the published layout: made in several processes, resumed, published with copies, read back.

All of it is public as `heartai_utils.dataset`; what is on a page is decided in `_simulated`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import PIL
import scipy
from tqdm.std import tqdm

from heartai_utils import _simulated
from heartai_utils._catalogue import (
    MANIFEST,
    PUBLISHED_COPIES,
    PUBLISHED_PAGES,
    SETTINGS,
    TRUTH,
    UNFINISHED,
    DatasetError,
    data_home,
    natural_order,
    own_manifest,
    read_catalogue,
    read_settings,
    remove_leftovers,
    write_whole,
)
from heartai_utils._simulated import SHORTCUTS, Plan, file_name, plans
from heartai_utils._workers import start_worker
from heartai_utils.conditions import MYOCARDIAL_INFARCTION, NAMES, condition_of
from heartai_utils.simulation import Recording

COURSE_PAGES = {"quick": 240, "full": 960}  # simulated pages by profile of the course


def simulate_set(
    dest: Path | str,
    pages: int,
    seed: int = 0,
    *,
    shares: Mapping[str, float] | str = "balanced",
    rate_matched: bool = False,
    shortcuts: Mapping[str, str] | Iterable[str] = (),
    shortcut_strength: float = 1.0,
    progress: bool = True,
    workers: int | None = None,
    scheduler: str | None = None,
) -> pd.DataFrame:
    """Simulate pages into the published layout, with the truth beside them.

    Page i follows from (seed, i) alone: neither the number or place of workers nor an interruption changes a byte,
    and asking for more pages later keeps those that are there. Only missing or damaged pages are made. Beside the
    four folders lie `manifest.csv` (a row a page), `truth/stem(n).npz` (see `read_truth`) and `set.json` (what
    was asked for). Pages share printed IDs about as often as the published ones, whatever their condition.

    Args:
        dest: a new or empty folder, or one that this function began with the same seed and shares.
        pages: how many pages in all.
        seed: 0 or more.
        shares: of the conditions by name, in any unit; "balanced"; or "published", as among the 491 distinct
            pages. Counts follow them to the page (Sainte-Laguë's method: exact, and never fewer of a
            condition in a larger set).
        rate_matched: draw the heart rate of every page from `RATE_MATCHED_BPM`, so that it tells nothing about the
            condition; Abnormal heartbeat is then of the kinds that occur at that rate.
        shortcuts: what is planted outside the trace to give a condition away: names of `SHORTCUTS` with the
            condition, ``{"date": "Myocardial infarction"}``, or names alone, which give Myocardial infarction away.
            The traces stay the same. Without shortcuts nothing but the heart rate and "Lead Off", both read off the
            trace, is printed differently from one condition to another.
        shortcut_strength: the share of pages, above 0 and up to 1, that follow a shortcut; the others are printed as
            if it were not there.
        progress: show a bar on stderr.
        workers: processes; by default one a core, as far as there is work. None with a scheduler, which has its own.
        scheduler: the address of a dask scheduler, ``tcp://10.0.0.5:8786``, whose workers draw then. They send pages
            and truths back (0.4 to 0.8 MB a page) and this process writes them: the machines need not share a folder,
            but must have the same version of this package and of the libraries that draw. Without it this machine's
            processes draw; they start sooner than a cluster.

    Returns:
        The catalogue, as `read_catalogue` gives it.

    Raises:
        ClusterError: which is a ValueError: no usable worker at the scheduler, or it is lost. The pages made until
            then are kept; the same call goes on.
        DatasetError: for wishes that cannot be met, and if the folder holds anything else, or a set made with other
            settings, another version of this package or more pages.
    """
    dest = Path(dest)
    settings = _settings(pages, seed, shares, rate_matched, shortcuts, shortcut_strength)
    _claim(dest, settings)
    wanted = plans(**{name: value for name, value in settings.items() if name not in ("version", "copies")})
    rows = {plan.index: row for plan in wanted if (row := _made_before(dest, plan))}
    missing = [plan for plan in wanted if plan.index not in rows]
    if scheduler is not None:
        making = _make_pages_elsewhere(dest, missing, scheduler, workers)
    else:
        if workers is None:  # a process starts in the time that drawing some fifty pages takes
            workers = min(os.cpu_count() or 1, len(missing) // 50)
        making = _make_pages(dest, missing, workers)
    try:
        with closing(making) as made:
            for row in tqdm(made, "simulating", len(missing), unit="page", leave=False, disable=not progress):
                rows[row["index"]] = row
    finally:
        _write_manifest(dest, [rows[index] for index in sorted(rows)])
    return read_catalogue(dest)[0]


def course_pages(
    profile: str = "quick",
    data_dir: str | Path = "",
    seed: int = 0,
    progress: bool = True,
    *,
    pages: int | None = None,
    copies: bool = False,
    **wishes,
) -> pd.DataFrame:
    """The pages that a chapter works on: a reader's own, or simulated ones made once and kept.

    Args:
        profile: "quick" or "full": how many pages are simulated (`COURSE_PAGES`).
        data_dir: a folder of pages in the published layout; empty for simulated pages. What it holds besides
            pages is named on stderr.
        seed: of the simulated set.
        progress: show a bar on stderr.
        pages: simulate so many, whatever the profile. The first of a larger set are the same.
        copies: repeat the simulated pages under other names, see `publish_with_copies`.
        wishes: for the simulated set: ``shares``, ``rate_matched``, ``shortcuts``, ``shortcut_strength`` as in
            `simulate_set`; by default the four conditions are balanced.

    Returns:
        The catalogue, as `read_catalogue` gives it.

    Raises:
        DatasetError: for an unknown profile, a folder without pages, or wishes that cannot be met.
    """
    if profile not in COURSE_PAGES:
        raise DatasetError(f"profile {profile!r}: use one of {', '.join(COURSE_PAGES)}")
    if data_dir:
        catalogue, rejected = read_catalogue(data_dir)
        for file, reason in rejected[["file", "reason"]].itertuples(index=False):
            tqdm.write(f"skipped {file}: {reason}", file=sys.stderr)
        return catalogue
    pages = COURSE_PAGES[profile] if pages is None else pages
    settings = json.dumps(_settings(pages, seed, **wishes)).encode()
    folder = data_home() / "simulated" / f"{pages}-seed{seed}-{hashlib.sha256(settings).hexdigest()[:8]}"
    catalogue = simulate_set(folder, pages, seed, progress=progress, **wishes)
    return publish_with_copies(folder, folder.with_name(f"{folder.name}-copies")) if copies else catalogue


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
    settings, faults = read_settings(source), own_manifest(source)[1]
    if not settings or settings["copies"] or faults:
        raise DatasetError(f"{source} is no complete set of distinct pages: make one with simulate_set")
    _claim(dest, settings | {"copies": True})
    table = pd.read_csv(source / MANIFEST, keep_default_na=False)
    total = Counter(table["condition"])
    rows = []
    for row in table.to_dict("records"):
        condition = condition_of(row["condition"])
        for copy in range(PUBLISHED_COPIES[condition.name]):
            number = int(row["file"].rpartition("(")[2].partition(")")[0]) + copy * total[condition.name]
            file = file_name(condition, number)
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


# --- What was asked for ---------------------------------------------------------------------------------------------


def _settings(
    pages: int,
    seed: int,
    shares: Mapping[str, float] | str = "balanced",
    rate_matched: bool = False,
    shortcuts: Mapping[str, str] | Iterable[str] = (),
    shortcut_strength: float = 1.0,
) -> dict:
    """What a set is made from, in a form that goes into its `set.json`.

    Raises:
        DatasetError: if the wishes cannot be met.
    """
    if pages < 1 or seed < 0:
        raise DatasetError(f"pages={pages}, seed={seed}: ask for at least one page, and a seed of 0 or more")
    if not 0 < shortcut_strength <= 1:
        raise DatasetError(f"shortcut_strength={shortcut_strength}: give a share above 0 and up to 1")
    return {
        "version": _drawing_version(),
        "seed": int(seed),
        "shares": _shares(shares),
        "rate_matched": bool(rate_matched),
        "shortcuts": _planted(shortcuts),
        "shortcut_strength": float(shortcut_strength),
        "copies": False,
        "pages": int(pages),
    }


def _shares(shares: Mapping[str, float] | str) -> dict[str, float]:
    """Shares of the four conditions by name, adding up to 1.

    Raises:
        DatasetError: if they are none.
    """
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


def _planted(shortcuts: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Names of shortcuts, each with the name of the condition it gives away, in the order of `SHORTCUTS`.

    Raises:
        DatasetError: for an unknown shortcut or condition.
    """
    if isinstance(shortcuts, str):
        shortcuts = [shortcuts]
    if not isinstance(shortcuts, Mapping):
        shortcuts = dict.fromkeys(shortcuts, MYOCARDIAL_INFARCTION)
    unknown = [name for name in shortcuts if name not in SHORTCUTS]
    if unknown:
        raise DatasetError(f"no shortcut {unknown[0]!r}: use some of {', '.join(SHORTCUTS)}")
    try:
        return {name: condition_of(shortcuts[name]).name for name in SHORTCUTS if name in shortcuts}
    except ValueError as error:
        raise DatasetError(f"shortcuts={shortcuts!r}: {error}") from None


@lru_cache
def _drawing_version() -> str:
    """A checksum of the code that draws pages, which must not be mixed with pages made by other code."""
    sources = _sources(Path(_simulated.__file__), {})
    return hashlib.sha256(b"".join(sources[path] for path in sorted(sources))).hexdigest()[:8]


def _sources(path: Path, found: dict[Path, bytes]) -> dict[Path, bytes]:
    """The contents of a file and of all files of this package that it imports, directly or not, added to `found`."""
    found[path] = path.read_bytes()
    imported = set()
    for node in ast.walk(ast.parse(found[path])):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            imported |= {module + alias.name for alias in node.names} | {module.rstrip(".")}
    for name in sorted(imported):
        package, _, module = name.partition(".")
        other = path.with_name(f"{module}.py")
        if package == __package__ and other.is_file() and other not in found:
            _sources(other, found)
    return found


def _claim(dest: Path, settings: dict) -> None:
    """Begin a set in a folder, or go on with it; refuses if anything else is there."""
    before = read_settings(dest)
    if before is None:
        others = [path for path in dest.iterdir() if not UNFINISHED.fullmatch(path.name)] if dest.is_dir() else [dest]
        if dest.exists() and others:
            raise DatasetError(f"{dest} is there and holds no simulated set: choose a new or empty folder")
    else:
        extends = before["pages"] <= settings["pages"] and not settings["copies"]
        other = [key for key in settings if before.get(key) != settings[key] and not (key == "pages" and extends)]
        if other:
            told = ", ".join(f"{key} {before.get(key)} instead of {settings[key]}" for key in other)
            raise DatasetError(f"{dest} holds a set with {told}: choose another folder, or delete this one")
    if before != settings:
        write_whole(dest / SETTINGS, json.dumps(settings, indent=1).encode())
    remove_leftovers(dest)


# --- Pages as files -------------------------------------------------------------------------------------------------


def _make_pages(dest: Path, plans: list[Plan], workers: int) -> Iterator[dict]:
    """Make pages here or in several processes; gives the manifest row of each when it is done."""
    if workers <= 1 or len(plans) <= 1:
        yield from (_make_page(dest, plan) for plan in plans)
        return
    # Not forked: the caller may have threads (TensorFlow's), which do not survive that.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), start_worker)
    try:
        for done in as_completed([pool.submit(_make_page, dest, plan) for plan in plans]):
            yield done.result()
    except BrokenProcessPool as error:
        advice = "call this under `if __name__ == '__main__':` or with workers=1"
        raise DatasetError(f"the worker processes ended early: {advice}") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _make_page(dest: Path, plan: Plan) -> dict:
    """Make one page and write it with its truth; gives its manifest row."""
    return _write_page(dest, plan, *_simulated.make(plan))


def _make_pages_elsewhere(dest: Path, plans: list[Plan], scheduler: str, workers: int | None) -> Iterator[dict]:
    """Have pages made by the workers of a scheduler and write them here; gives the manifest row of each."""
    from heartai_utils._cluster import ClusterError, client, completed  # here: dask takes half a second to import

    if not plans:
        return
    draw = partial(_make_alike, tools=_drawing_tools())
    with client(scheduler, workers) as connection:
        for plan, made in completed(connection, draw, plans):
            if isinstance(made, ClusterError):
                raise made
            if isinstance(made, Exception):
                raise DatasetError(f"the workers of {scheduler} could not draw {plan.file}: {made}") from made
            yield _write_page(dest, plan, *made)


def _make_alike(plan: Plan, tools: str) -> tuple[dict, bytes, bytes]:
    """Make a page for another process, if it would make the same one.

    Raises:
        ClusterError: if it may not.
    """
    if tools != _drawing_tools():
        from heartai_utils._cluster import ClusterError

        advice = "install the same on both machines, and start the worker again"
        raise ClusterError(f"a worker would draw other pages, by {_drawing_tools()} instead of {tools}: {advice}")
    return _simulated.make(plan)


def _drawing_tools() -> str:
    """The versions that the bytes of a page depend on."""
    libraries = (f"{library.__name__} {library.__version__}" for library in (np, scipy, cv2, PIL))
    return ", ".join((f"heartai_utils {_drawing_version()}", *libraries))


def _write_page(dest: Path, plan: Plan, row: dict, page: bytes, truth: bytes) -> dict:
    # The page last: where there is a page, there is its truth.
    write_whole(_truth_path(dest / plan.file), truth)
    write_whole(dest / plan.file, page)
    return row


def _made_before(dest: Path, plan: Plan) -> dict | None:
    """The manifest row of a page that is there and whole, else None."""
    page = dest / plan.file
    try:
        with np.load(_truth_path(page), allow_pickle=False) as truth:
            row = json.loads(str(truth["row"]))
        whole = row["md5"] == hashlib.md5(page.read_bytes(), usedforsecurity=False).hexdigest()
    except Exception:  # missing, or an archive damaged in one of many ways: made again
        return None
    return row if whole else None


def _write_manifest(dest: Path, rows: Iterable[dict]) -> None:
    rows = sorted(rows, key=lambda row: (condition_of(row["condition"]).label, natural_order(row["file"])))
    if rows:
        write_whole(dest / MANIFEST, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())


def _truth_path(page: Path) -> Path:
    return page.parents[1] / TRUTH / f"{page.stem}.npz"


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, by a hard link or else a copy."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        if not target.samefile(source) and target.read_bytes() != source.read_bytes():
            write_whole(target, source.read_bytes())
    except OSError:
        write_whole(target, source.read_bytes())
