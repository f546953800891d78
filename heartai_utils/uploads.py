"""Pages that arrive as bytes, such as uploads: pictures, and PDF files with pages in them.

    >>> for opened in open_pages("ward 3.pdf", data):
    ...     print(opened.name, opened.image.shape)
    ward 3.pdf, page 1 (1572, 2213, 3)
    ward 3.pdf, page 4 (1572, 2213, 3)

Nothing is written to disk.
"""

from __future__ import annotations

import io
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pypdfium2
from PIL import Image
from pypdfium2 import raw as pdfium

from heartai_utils.page import DPI, HEIGHT, WIDTH, PageError, looks_like_a_page
from heartai_utils.page import _decode as decode_picture

MAX_BYTES = 20_000_000
"""The largest upload; a page is 0.3 to 0.7 MB as the machine's JPEG, and 1 MB as PNG."""
MAX_PDF_PAGES = 50
"""The most pages of a PDF: each takes 10 MB of memory when it is opened."""

_MAX_PDF_PIXELS = 100_000_000  # of all images on one page of a PDF, which rendering would decode
_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")  # how JPEG and PNG files begin
_PDF_HEAD = 1024  # bytes among which a PDF may begin
_POINTS_PER_INCH = 72
_DEPTH = 4  # of images in forms in forms on a page of a PDF
_WANTED = f"give the printed report's page as JPEG or PNG of {WIDTH}×{HEIGHT}, or as PDF"
_DRAWING = (  # without grey edges, as the machine prints: dots of the grid stay dots
    pdfium.FPDF_ANNOT
    | pdfium.FPDF_RENDER_NO_SMOOTHTEXT
    | pdfium.FPDF_RENDER_NO_SMOOTHIMAGE
    | pdfium.FPDF_RENDER_NO_SMOOTHPATH
)
_pdfium_lock = threading.Lock()  # PDFium works for one thread at a time


@dataclass(frozen=True)
class OpenedPage:
    """A page ready to be read.

    Attributes:
        name: the file's, and for a PDF the page's number, too: "ward 3.pdf, page 2".
        image: (1572, 2213, 3) uint8 RGB.
    """

    name: str
    image: np.ndarray


def open_pages(name: str, data: bytes, *, max_bytes: int | None = MAX_BYTES) -> list[OpenedPage]:
    """Open what a file holds; what it is, its content says, not its name.

    A JPEG or PNG is one page. A PDF gives each of its pages that is the report: one that holds it as a picture of
    2213×1572, which is taken as it is, or one that is as large at 200 dpi, within a pixel, which is drawn. Its other
    pages are left out.

    Args:
        name: the file's, for messages and for the names of its pages.
        data: the file's content.
        max_bytes: the largest that is opened; None opens any.

    Raises:
        PageError: the file is empty, too large, of another type, broken, cut off, protected by a password, of another
            size, or holds no page; the message names it, says which, and what to do.
    """
    name = printable(name)
    if not data:
        raise PageError(f"{name} is empty; {_WANTED}")
    if max_bytes is not None and len(data) > max_bytes:
        size = f"{len(data) / 1e6:.1f} MB, more than {max_bytes / 1e6:g}"
        raise PageError(f"{name} is too large: {size}; {_WANTED}, and a PDF of many pages in parts")
    if data.startswith(_PICTURES):
        return [OpenedPage(name, _open_picture(name, data))]
    if _begins_a_pdf(data):
        with _pdfium_lock:
            return _open_pdf(name, data)
    raise PageError(f"{name} is neither JPEG, PNG nor PDF, whatever its name says; {_WANTED}")


def is_pdf(path: Path) -> bool:
    """Whether a file on disk is a PDF, or at least says so by its ending; nothing is said about what is not there."""
    if not path.is_file():  # nor a pipe, which would have us wait
        return False
    if path.suffix.lower() == ".pdf":
        return True
    try:
        with path.open("rb") as file:
            return _begins_a_pdf(file.read(_PDF_HEAD))
    except OSError:
        return False


def printable(name: str) -> str:
    """A file's name without what moves the cursor, turns the writing around or cannot be encoded."""
    return "".join(character if character.isprintable() else "?" for character in name)


def _begins_a_pdf(data: bytes) -> bool:
    return b"%PDF-" in data[:_PDF_HEAD] and not data.startswith(_PICTURES)


class _Named(io.BytesIO):
    """A file in memory that messages can name."""

    def __init__(self, name: str, data: bytes):
        super().__init__(data)
        self._name = name

    def __str__(self) -> str:
        return self._name


def _open_picture(name: str, data: bytes) -> np.ndarray:
    """The checked page in a JPEG or PNG."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the header is read
            with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as picture:
                size = picture.size
        if sorted(size) != sorted((WIDTH, HEIGHT)):  # may lie on its side, to be turned; nothing else is decoded
            raise PageError(f"{name} is {size[0]}×{size[1]}; {_WANTED}")
        image = decode_picture(_Named(name, data), grey=False, reduced=1)
    except PageError:
        raise
    except Image.DecompressionBombError:
        raise PageError(f"{name} is far too large to be decoded; {_WANTED}") from None
    except Exception as error:  # a broken file can make its decoder raise almost anything
        raise PageError(f"{name} is broken or cut off ({_told(error)}): copy it anew from where it is whole") from error
    fine, reason = looks_like_a_page(image)
    if not fine:
        raise PageError(f"{name} does not look like a page: {reason}; {_WANTED}")
    return image


def _told(error: Exception) -> str:
    """What an error says, without the address of the file in memory."""
    return "not to be recognised" if "BytesIO" in str(error) else str(error) or type(error).__name__


def _open_pdf(name: str, data: bytes) -> list[OpenedPage]:
    try:
        document = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if error.err_code == pdfium.FPDF_ERR_PASSWORD:
            raise PageError(f"{name} is protected by a password; save it without one and give it again") from None
        raise PageError(f"{name} is broken or cut off (no PDF that can be opened): copy it anew") from error
    with document:
        if not len(document):
            raise PageError(f"{name} is a PDF without pages; {_WANTED}")
        if len(document) > MAX_PDF_PAGES:
            raise PageError(f"{name} has {len(document)} pages; split it into files of {MAX_PDF_PAGES} pages at most")
        opened, reasons = [], []
        for number in range(len(document)):
            try:
                image = _page_of(document, number)
                opened.append(OpenedPage(f"{name}, page {number + 1}", image))
            except PageError as error:
                reasons.append(str(error))
    if not opened:
        alone = len(reasons) == 1
        what = "holds no page of the report" if alone else f"holds no page of the report among its {len(reasons)}"
        raise PageError(f"{name} {what}: {'its page' if alone else 'the first'} {reasons[0]}; {_WANTED}")
    return opened


def _page_of(document: pypdfium2.PdfDocument, number: int) -> np.ndarray:
    """A PDF's page as pixels.

    Raises:
        PageError: it is no page of the report; the message says why, without a subject.
    """
    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        raise PageError("is broken") from None
    try:
        return _pixels_of(page)
    except PageError:
        raise
    except Exception as error:  # as with pictures
        raise PageError(f"is broken ({_told(error)})") from error
    finally:
        page.close()


def _pixels_of(page: pypdfium2.PdfPage) -> np.ndarray:
    pictures = list(page.get_objects([pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=_DEPTH))
    sizes = [picture.get_px_size() for picture in pictures]
    for picture, size in zip(pictures, sizes, strict=True):
        if size == (WIDTH, HEIGHT):
            image = _pixels_in(picture)
            if image.shape == (HEIGHT, WIDTH, 3) and looks_like_a_page(image)[0]:
                return image
    width, height = (side * DPI / _POINTS_PER_INCH for side in page.get_size())
    if max(abs(width - WIDTH), abs(height - HEIGHT)) > 1:
        raise PageError(f"is {width:.0f}×{height:.0f} at {DPI} dpi, not {WIDTH}×{HEIGHT}, nor holds such a picture")
    if sum(width * height for width, height in sizes) > _MAX_PDF_PIXELS:
        raise PageError("holds pictures far too large to be decoded")
    # Boxes are often rounded to whole points: what is on the page then starts at its upper or its lower left corner,
    # or is stretched to fill the box.
    rounded = round(width), round(height)
    for box in dict.fromkeys([(0, *rounded), (HEIGHT - rounded[1], *rounded), (0, WIDTH, HEIGHT)]):
        image = _drawn(page, *box)
        fine, reason = looks_like_a_page(image)
        if fine:
            return image
    raise PageError(f"does not look like a page: {reason}")


def _pixels_in(picture: pypdfium2.PdfImage) -> np.ndarray:
    """(height, width, 3) uint8: a JPEG decoded as if it had come as a file, other pictures as PDFium does it."""
    if picture.get_filters(skip_simple=True) == ["DCTDecode"]:
        return _rgb(Image.open(io.BytesIO(bytes(picture.get_data(decode_simple=True))), formats=("JPEG",)))
    return _rgb(picture.get_bitmap().to_pil())


def _rgb(image: Image.Image) -> np.ndarray:
    return np.array(image.convert("RGB"))


def _drawn(page: pypdfium2.PdfPage, top: int, width: int, height: int) -> np.ndarray:
    """(1572, 2213, 3) uint8 RGB, with the page drawn so many pixels wide and high from the left edge and from `top`.

    Not by `PdfPage.render`: it rounds sizes up, which gives a page of 2213.0001 px one too many.
    """
    bitmap = pypdfium2.PdfBitmap.new_native(WIDTH, HEIGHT, pdfium.FPDFBitmap_BGR)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, WIDTH, HEIGHT)
    pdfium.FPDF_RenderPageBitmap(bitmap, page, 0, top, width, height, 0, _DRAWING)
    return np.ascontiguousarray(bitmap.to_numpy()[..., ::-1])
