"""The published dataset on this machine: fetched, or taken from a zip or folder that is there already, and verified.

The zip's own checksum is published nowhere: a file counts if it has the size and SHA-256 that the manifest gives. It
is looked for by its name alone, unique in the dataset, at any depth of a folder or zip and in zips inside the zip;
nothing is ever written under a name that an archive chose. Until all is verified it lies in the hidden `.NAME.part`
beside its destination NAME; a new destination appears whole, by a rename. After a kill the same call goes on.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import shutil
import stat
import sys
import time
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pooch
import requests
import urllib3
from tqdm.std import tqdm

from heartai_utils import __version__
from heartai_utils._catalogue import read_settings
from heartai_utils.dataset import data_home, read_manifest, write_whole

PUBLISHED_ZIP_URL = "https://data.mendeley.com/public-api/zip/gwbz3fsgp8/download/2"
ABOUT = """ECG Images dataset of Cardiac Patients, A. H. Khan and M. Hussain, Mendeley Data, version 2, 2021
doi:10.17632/gwbz3fsgp8.2, licence CC BY 4.0"""

_TIMEOUT = 60.0  # seconds without a byte from the server
_ATTEMPTS, _PAUSE = 5, 1.0  # in a row that gain nothing; seconds, doubled after each of them
_CHUNK = 8192  # bytes; what is lost at most when a connection breaks
_MOST_FILES = 100_000  # in a zip or folder; the published one has 928
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # HTTP status codes that may be better in a moment (RFC 9110, 6585)
_size = partial(tqdm.format_sizeof, suffix="B")
_BY_HAND = "fetch the zip with a browser (https://doi.org/10.17632/gwbz3fsgp8.2) and give it as the source (--from)"


class DownloadError(ValueError):
    """The published set cannot be fetched, read or put in its place; the message says what to do."""


class _Broken(Exception):
    """One attempt failed in a way that another may not."""


@dataclass(frozen=True)
class Inventory:
    """A folder compared with the manifest."""

    folder: Path
    added: int  # pages that this call brought
    right: int  # those that have the manifest's size and checksum
    missing: tuple[str, ...]  # published files ("folder/name") that are not there
    altered: tuple[str, ...]  # those with other bytes, or unreadable; by `download`, also a source's, left out
    surplus: tuple[str, ...]  # what is there besides; by `download`, what the zip or source held besides, left out

    @property
    def complete(self) -> bool:
        return not self.missing and not self.altered

    def __str__(self) -> str:
        total = self.right + len(self.missing) + len(self.altered)
        others = {"missing": self.missing, "altered": self.altered, "besides": self.surplus}
        told = [f"{len(names)} {what}: {_some(names)}" for what, names in others.items() if names]
        return "; ".join([f"{self.right} of {total} published files in {self.folder}", *told])


def download(
    dest: Path | str | None = None,
    *,
    source: Path | str | None = None,
    url: str = PUBLISHED_ZIP_URL,
    manifest: pd.DataFrame | None = None,
    progress: bool = True,
) -> Inventory:
    """Bring the published pages into a folder and verify each; at once if they are there already.

    Args:
        dest: a new or empty folder, or one with some of the published files, which is completed; by default
            `published` in `data_home()`. What else it holds is left alone.
        source: a zip or folder that holds published files, at any depth: nothing is fetched. It may lack some:
            what is right in it is taken, the rest named. Of a zip that is fetched, no file may be missing.
        url: of the zip.
        manifest: columns file ("folder/name", names unique), bytes and sha256; by default the published one's.
        progress: show bars on stderr.

    Returns:
        What dest holds now; incomplete only if the source is.

    Raises:
        DownloadError: if the server cannot be reached or sends anything else, the disk is full, dest holds
            altered files or other things only, or the source has no published file.
        DatasetError: if there is no manifest.
    """
    pages = _pages(manifest)
    dest = Path(dest if dest is not None else data_home() / "published").expanduser().resolve()
    work = dest.with_name(f".{dest.name}.part")
    try:
        there = _claim(dest, pages)
        if there.missing:
            there = _complete(there, pages, work, source, url, progress)
        shutil.rmtree(work if there.complete else work / "unpacking", ignore_errors=True)
        return there
    except OSError as error:
        cures = {errno.ENOSPC: "free some space", errno.EDQUOT: "free some space", errno.ENOENT: "look at its name"}
        cure = cures.get(error.errno, "look at its permissions")
        raise DownloadError(f"{error.filename or work}: {error.strerror or error}: {cure} and call again") from error
    finally:
        with suppress(OSError):
            work.rmdir()  # nothing begun, nothing left


def verify(folder: Path | str, manifest: pd.DataFrame | None = None) -> Inventory:
    """Compare a folder in the published layout with the manifest; nothing is changed."""
    return _compare(Path(folder), _pages(manifest))


_Entry = tuple[str, int, Callable[[], BinaryIO]]  # a file of a zip or folder, not yet read: name, bytes, opener


def _pages(manifest: pd.DataFrame | None) -> dict[str, tuple]:
    """The manifest's rows, with their bytes and sha256, by file."""
    return {row.file: row for row in (read_manifest() if manifest is None else manifest).itertuples()}


def _compare(folder: Path, pages: dict[str, tuple]) -> Inventory:
    there = [file for file in pages if os.path.lexists(folder / file)]
    altered = tuple(file for file in there if not _is_right(folder / file, pages[file]))
    missing = tuple(file for file in pages if not os.path.lexists(folder / file))
    surplus = tuple(name for name, *_ in _folder_entries(folder) if name not in pages)
    return Inventory(folder, 0, len(there) - len(altered), missing, altered, surplus)


def _claim(dest: Path, pages: dict[str, tuple]) -> Inventory:
    """Compare the destination with the manifest; refuses one that holds anything else."""
    if read_settings(dest):  # whose pages have the names of published ones
        raise DownloadError(f"{dest} holds simulated pages: choose a new or empty folder")
    other = dest.exists() and (not dest.is_dir() or any(_folder_entries(dest)))
    if other and not any(os.path.lexists(dest / file) for file in pages):
        raise DownloadError(f"{dest} holds something else: choose a new or empty folder")
    found = _compare(dest, pages)
    if found.altered:
        raise DownloadError(f"{found}. Move the altered ones away and call again: they are fetched anew")
    return found


def _is_right(path: Path, page: tuple) -> bool:
    return _read(_file_entry(path, ""), page) is not None


def _read(entry: _Entry, page: tuple) -> bytes | None:
    """The bytes of a file if they are the page's, else None; never reads more than a byte too many."""
    _, size, opened = entry
    try:
        with opened() if size == page.bytes else io.BytesIO() as file:
            data = file.read(page.bytes + 1)
    except Exception:  # damaged, encrypted, unreadable: archives fail in many ways
        return None
    return data if hashlib.sha256(data).hexdigest() == page.sha256 else None


def _file_entry(path: Path, name: str) -> _Entry:
    size = os.path.getsize(path) if os.path.isfile(path) else -1  # reading a pipe would never end
    return name, size, partial(open, path, "rb")


def _folder_entries(folder: Path) -> Iterator[_Entry]:
    for root, _, files in os.walk(folder):
        for path in (Path(root) / file for file in sorted(files)):
            yield _file_entry(path, path.relative_to(folder).as_posix())


def _zip_entries(path: Path, shown: str, limit: int, unpacked: Path, inside: str = "") -> Iterator[_Entry]:
    """The files of a zip and of the zips in it, after refusing what no honest zip of pages holds."""
    with _undamaged(shown):
        archive = zipfile.ZipFile(path)
    with archive:
        for member in archive.infolist():
            parts = member.filename.replace("\\", "/").split("/")
            if ".." in parts or not parts[0] or re.match("[A-Za-z]:", parts[0]):
                raise DownloadError(f"{shown} holds {_some([member.filename])}, outside its own folder: do not use it")
            if stat.S_ISLNK(member.external_attr >> 16):
                raise DownloadError(f"{shown} holds a link, {_some([member.filename])}: do not use it")
        members = [member for member in archive.infolist() if not member.is_dir()]
        size = sum(member.file_size for member in members)  # zipfile never gives more than a member declares
        if size > limit or len(members) > _MOST_FILES:
            told = f"{len(members):,} files of {_size(size)}, far more than the pages"
            raise DownloadError(f"{shown} holds {told}: unpack the pages and give their folder as the source")
        for member in members:
            name = inside + member.filename
            if name.lower().endswith(".zip") and not inside:
                inner, told = unpacked.with_name("inner.zip"), f"{_some([name])} in {shown}"
                inner.parent.mkdir(parents=True, exist_ok=True)
                with _undamaged(told), archive.open(member) as packed, inner.open("wb") as file:
                    shutil.copyfileobj(packed, file)
                yield from _zip_entries(inner, told, limit, unpacked, f"{name[:-4]}/")
            else:
                yield name, member.file_size, partial(archive.open, member)


@contextmanager
def _undamaged(shown: str) -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # a damaged archive fails in many ways
        raise DownloadError(f"{shown} is no zip, or a damaged one ({error}): {_BY_HAND}") from error


# --- Completing a set ---------------------------------------------------------------------------------------
def _complete(
    there: Inventory, pages: dict[str, tuple], work: Path, source: Path | str | None, url: str, progress: bool
) -> Inventory:
    """Bring what a destination is missing; what is refused leaves nothing behind."""
    dest, unpacked, shown = there.folder, work / "unpacking" / "pages", str(source or f"what {url} sent")
    room = sum(pages[file].bytes for file in there.missing if not _is_right(unpacked / file, pages[file]))
    limit = 2 * sum(page.bytes for page in pages.values()) + 1_000_000  # of a zip, packed and unpacked
    _need_room(dest, room)
    origin = _fetch(url, work, room, limit, progress) if source is None else Path(source).expanduser().resolve()
    try:
        # A folder is listed before anything is written: the destination may lie in it.
        entries = list(_folder_entries(origin)) if origin.is_dir() else _zip_entries(origin, shown, limit, unpacked)
        altered, surplus = _take(entries, pages, there.missing, unpacked, progress)
        arrived = [file for file in there.missing if _is_right(unpacked / file, pages[file])]
        missing = tuple(file for file in there.missing if file not in arrived and file not in altered)
        found = Inventory(dest, len(arrived), there.right + len(arrived), missing, altered, surplus)
        if source is None and not found.complete:
            told = f"{shown} is not the published set, and was deleted: {replace(found, folder=Path('it'))}"
            raise DownloadError(f"{told}. Call again to fetch it anew; if that does not help, {_BY_HAND}")
        if not found.right:
            told = f"{shown} holds no published file as the manifest knows it: {found}"
            raise DownloadError(f"{told}. Give the published zip, or the folder it was unpacked into")
    except DownloadError:
        shutil.rmtree(work if source is None else unpacked.parent, ignore_errors=True)
        raise
    if not dest.exists():
        os.rename(unpacked, dest)
        return found
    for file in arrived:
        (dest / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(unpacked / file, dest / file)
    return found


def _take(
    entries: Iterable[_Entry], pages: dict[str, tuple], wanted: tuple[str, ...], unpacked: Path, progress: bool
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Write those wanted files that are right into the folder `unpacked`; gives what was altered, what is besides.

    Of files whose names differ only in their folder, case or Unicode form, the first that is right counts.
    """
    by_name = {_key(file): file for file in pages}
    left = {file for file in wanted if not _is_right(unpacked / file, pages[file])}
    taken, wrong, surplus = set(), [], []
    with tqdm(desc="unpacking", total=len(left), unit="file", leave=False, disable=not progress) as bar:
        for entry in entries:
            file = by_name.get(_key(entry[0]))
            if file is None or file in taken:
                surplus.append(entry[0])
            elif file in left and (data := _read(entry, pages[file])) is None:
                wrong.append((file, entry[0]))
            elif file in left:
                spare, target = unpacked.with_name("page"), unpacked / file
                target.parent.mkdir(parents=True, exist_ok=True)
                spare.write_bytes(data)
                os.replace(spare, target)
                left.remove(file)
                taken.add(file)
                bar.update()
    altered = dict.fromkeys(file for file, _ in wrong if file in left)
    return tuple(altered), (*surplus, *(name for file, name in wrong if file not in left))


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2]).casefold()


def _need_room(folder: Path, needed: int) -> None:
    place = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise DownloadError(f"{_size(needed)} are needed, {_size(free)} are free at {place}: free some or go elsewhere")


def _some(names: tuple[str, ...] | list[str]) -> str:
    """The first names, fit to print, and how many more there are."""
    shown = ["".join(c if c.isprintable() else "\ufffd" for c in name[:200]) for name in names[:3]]
    return ", ".join(shown) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


# --- Fetching -----------------------------------------------------------------------------------------------
def _fetch(url: str, work: Path, room: int, limit: int, progress: bool) -> Path:
    """Fetch the zip with pooch into the folder `work`, or go on with one begun there."""
    work.mkdir(parents=True, exist_ok=True)
    log = pooch.get_logger()
    disabled, log.disabled = log.disabled, True  # it would advise to note a checksum that nobody published
    try:
        downloader = partial(_resume, room=room, limit=limit, progress=progress)
        return Path(pooch.retrieve(url, known_hash=None, fname="published.zip", path=work, downloader=downloader))
    finally:
        log.disabled = disabled


def _resume(url: str, output_file: str, _: object, *, room: int, limit: int, progress: bool) -> None:
    """A downloader for pooch that goes on with what is there.

    pooch's own deletes what came when the connection breaks, and begins anew. This one keeps it, beside a note of
    what the server said of the whole, and asks for the rest (RFC 9110, 14.2): a server that has another file by
    now, or knows no ranges, sends the whole.
    """
    begun = Path(output_file).with_name("published.part")
    failures, furthest = 0, _length(begun)
    while True:
        try:
            _attempt(url, begun, room, limit, progress)
            break
        except _Broken as reason:
            have = _length(begun)
            failures, furthest = 0 if have > furthest else failures + 1, max(have, furthest)
            if failures == _ATTEMPTS:
                told = f"{url}: {reason}, {failures} times in a row. Look at the network and call again"
                told += f": it goes on after {_size(have)}" if have else ""
                raise DownloadError(f"{told}. Or {_BY_HAND}") from reason
            pause = _PAUSE * 2**failures
            if progress:
                tqdm.write(f"{reason}: tried again in {pause:g} s", file=sys.stderr)
            time.sleep(pause)
    os.replace(begun, output_file)


def _attempt(url: str, begun: Path, room: int, limit: int, progress: bool) -> None:
    """Ask once for what is lacking and write what comes; raises _Broken if that is not all."""
    note = begun.with_suffix(".json")
    whole, have = {}, _length(begun)
    with suppress(OSError, ValueError):
        whole = json.loads(note.read_text(encoding="utf-8"))
    if whole.get("url") != url or have > (whole["bytes"] or limit):
        have = 0
    elif have == whole["bytes"]:
        return
    headers = {"Accept-Encoding": "identity", "User-Agent": f"heartai-utils/{__version__}"}
    headers |= {"Range": f"bytes={have}-"} if have else {}
    headers |= {"If-Range": whole["version"]} if have and whole["version"] else {}
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            status = f"the server answers {answer.status_code} {answer.reason}"
            if answer.status_code == 200:
                begun.unlink(missing_ok=True)
                have, length = 0, answer.headers.get("Content-Length", "")
                whole = {"url": url, "version": _version(answer), "bytes": int(length) if length.isdigit() else None}
                write_whole(note, json.dumps(whole).encode())
            elif answer.status_code in (206, 416) and not _goes_on(answer, have, whole):
                begun.unlink(missing_ok=True)
                raise _Broken(f"{status} with another part than asked for")
            elif answer.status_code in _PASSING:
                raise _Broken(status)
            elif answer.status_code != 206:
                raise DownloadError(f"{url}: {status}: {_BY_HAND}")
            size = whole["bytes"]
            _need_room(begun.parent, room + (size or have) - have)
            bar = tqdm(None, "fetching", size, False, initial=have, unit="B", unit_scale=True, disable=not progress)
            with begun.open("ab") as file, bar:
                for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                    have += file.write(chunk)
                    bar.update(len(chunk))
                    if max(have, size or 0) > limit:
                        file.truncate(0)
                        raise DownloadError(f"{url} sends more than the pages can be: {_BY_HAND}")
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        if isinstance(error, ValueError):
            raise DownloadError(f"{url!r} is no address: {error}") from error
        slow = isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError)
        raise _Broken(f"no answer within {_TIMEOUT:g} s" if slow else "no connection, or it broke") from error
    if whole["bytes"] not in (None, have):
        raise _Broken("the connection broke")


def _length(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _version(answer: requests.Response) -> str:
    """What tells this file from a later one: a strong ETag, else the date (RFC 9110, 13.1.5); "" if neither."""
    tag = answer.headers.get("ETag", "W/")
    return answer.headers.get("Last-Modified", "") if tag.startswith("W/") else tag


def _goes_on(answer: requests.Response, have: int, whole: dict) -> bool:
    """Whether a partial answer is the rest of what is there."""
    rest = re.fullmatch(rf"bytes {have}-\d+/({whole.get('bytes')}|\*)", answer.headers.get("Content-Range", ""))
    return bool(rest and have and _version(answer) in ("", whole["version"]))
