"""Files and folders of pages, as the command line is given them, and the verdicts on all that is in them.

    >>> files = find_pages(["ward 3", "one more.pdf"])
    >>> for page in read_files(PageReader("best"), files):
    ...     print(page.name, page.outcome)

`uploads` opens the PDF files; the pictures are opened by the reader, many at a time.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from heartai_utils.page import PageError
from heartai_utils.uploads import is_pdf, open_pages
from heartai_utils.verdict import PageReader, Verdict

SUFFIXES = (".jpg", ".jpeg", ".png", ".pdf")
"""The endings of what is taken from a folder, in small letters or capitals."""


@dataclass(frozen=True)
class ReadPage:
    """What became of one page.

    Attributes:
        name: the file's path as given; for a PDF with the page's number: "ward 3/monday.pdf, page 2".
        outcome: the verdict, or why there is none.
        files: how many of the files are done with this page, itself included.
    """

    name: str
    outcome: Verdict | ValueError | OSError
    files: int


def find_pages(paths: Iterable[str | os.PathLike[str]]) -> list[Path]:
    """The files among the paths, as they are, and in place of each folder the pages in it and in all folders below.

    A folder's pages are the files with one of the `SUFFIXES`, in the order of their paths. Hidden files and folders
    are left out, and links to folders are not followed.

    Raises:
        PageError: there is no such file in a folder.
        OSError: a folder cannot be looked into.
    """
    found = []
    for path in map(Path, paths):
        if path.is_dir():
            inside = sorted(_inside(path))
            if not inside:
                raise PageError(f"{path} holds no file that ends in {', '.join(SUFFIXES)}, nor does a folder in it")
            found += inside
        else:
            found.append(path)
    return found


def _inside(folder: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(where, name)


def _refuse(error: OSError) -> None:
    raise error


def read_files(reader: PageReader, files: Sequence[Path]) -> Iterator[ReadPage]:
    """The verdict on each page of each file, in their order; a page or file that cannot be read stops no other."""
    waiting: deque[tuple[str, PageError | None, int]] = deque()

    def pages() -> Iterator[Path | np.ndarray]:
        for number, file in enumerate(files, 1):
            for name, page in _opened(file):
                if isinstance(page, PageError):
                    waiting.append((name, page, number))
                else:
                    waiting.append((name, None, number))
                    yield page

    for verdict in reader.read_all(pages()):
        yield from _refused(waiting)
        name, _, number = waiting.popleft()
        yield ReadPage(name, verdict, number)
    yield from _refused(waiting)


def _refused(waiting: deque) -> Iterator[ReadPage]:
    """Those at the head of the queue that no verdict will come for."""
    while waiting and waiting[0][1] is not None:
        yield ReadPage(*waiting.popleft())


def _opened(file: Path) -> Iterator[tuple[str, Path | np.ndarray | PageError]]:
    """Name and page: a picture's path, which the reader opens in a thread; the pages of a PDF; or why there is none."""
    if not is_pdf(file):
        yield str(file), file
        return
    try:
        yield from ((page.name, page.image) for page in open_pages(str(file), file.read_bytes(), max_bytes=None))
    except PageError as error:
        yield str(file), error
    except OSError as error:
        yield str(file), PageError(f"{file} cannot be read: {error.strerror}")
