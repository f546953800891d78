"""Pages that arrive as bytes: what is a page is opened to the pixel, all else is refused with the reason."""

from __future__ import annotations

import builtins
import io
import os
import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pypdfium2
import pytest
from PIL import Image, ImageFile
from test_mutated_files import (
    block_zeroed,
    cut_out,
    flipped_bit,
    flipped_bits,
    flipped_header,
    noise,
    truncated,
)  # fmt: skip

from heartai_utils.page import DPI, HEIGHT, WIDTH, PageError, draw_page, encode_page, load_page, read_traces
from heartai_utils.simulation import simulate_recording
from heartai_utils.uploads import MAX_BYTES, MAX_PDF_PAGES, OpenedPage, open_pages

FILES = int(os.environ.get("HEARTAI_MUTATED_FILES", 150)) // 3  # a third of each kind
POINTS = (WIDTH * 72 / DPI, HEIGHT * 72 / DPI)  # of a page in a PDF
A4 = (841.89, 595.28)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    return draw_page(simulate_recording("Myocardial infarction", seed=4), seed=4)


@pytest.fixture(scope="module")
def jpeg(drawn) -> bytes:
    return encode_page(drawn)


@pytest.fixture(scope="module")
def page(jpeg) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(jpeg)))


@pytest.fixture(scope="module")
def png(page) -> bytes:
    return saved(Image.fromarray(page), "PNG")


def saved(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


class Pdf:
    """A PDF in the making, page by page."""

    def __init__(self):
        self.document = pypdfium2.PdfDocument.new()

    def add(self, *pictures, size=POINTS, rotation=0) -> Pdf:
        """A page of ``size`` points with pictures: (JPEG bytes or an array, left, bottom, width, height) each."""
        page = self.document.new_page(*size)
        for content, left, bottom, width, height in pictures:
            picture = pypdfium2.PdfImage.new(self.document)
            if isinstance(content, bytes):
                picture.load_jpeg(io.BytesIO(content), inline=True)
            else:
                picture.set_bitmap(pypdfium2.PdfBitmap.from_pil(Image.fromarray(content)))
            picture.set_matrix(pypdfium2.PdfMatrix().scale(width, height).translate(left, bottom))
            page.insert_obj(picture)
        page.gen_content()
        page.set_rotation(rotation)
        return self

    def filled(self, content, size=POINTS, **options) -> Pdf:
        """A page that one picture fills."""
        return self.add((content, 0, 0, *size), size=size, **options)

    def __bytes__(self) -> bytes:
        file = io.BytesIO()
        self.document.save(file)
        return file.getvalue()


@pytest.fixture(scope="module")
def pdf(jpeg) -> bytes:
    return bytes(Pdf().filled(jpeg))


def refusal(name: str, data: bytes, **options) -> str:
    with pytest.raises(PageError) as error:
        open_pages(name, data, **options)
    message = str(error.value)
    assert message.startswith(name) and "\n" not in message and "BytesIO" not in message
    return message


def only(opened: list[OpenedPage]) -> OpenedPage:
    assert len(opened) == 1
    return opened[0]


def test_a_picture_is_opened_as_from_disk(jpeg, png, page, tmp_path):
    (tmp_path / "page.jpg").write_bytes(jpeg)
    assert (load_page(tmp_path / "page.jpg") == page).all()
    for name, data in (("a.jpg", jpeg), ("a.png", png), ("a PNG.jpg", png), ("no ending", jpeg), ("a.pdf", jpeg)):
        opened = only(open_pages(name, data))
        assert opened.name == name and (opened.image == page).all()
        assert opened.image.shape == (HEIGHT, WIDTH, 3) and opened.image.dtype == np.uint8


def test_a_real_page_is_opened_as_from_disk(real_pages):
    path = next(real_pages.glob("*/*.jpg"))
    data, expected = path.read_bytes(), load_page(path)
    assert (only(open_pages(path.name, data)).image == expected).all()
    assert (only(open_pages("scan.pdf", bytes(Pdf().filled(data)))).image == expected).all()


def test_pictures_of_other_kinds_become_rgb(page):
    tags = Image.Exif()
    tags[0x0112] = 6  # to be turned by 90° to the right
    turned = saved(Image.fromarray(np.rot90(page)), "PNG", exif=tags.tobytes())
    assert (only(open_pages("turned.png", turned)).image == page).all()
    grey = Image.fromarray(page).convert("L")
    assert (only(open_pages("grey.png", saved(grey, "PNG"))).image == np.array(grey)[..., None]).all()


@pytest.mark.parametrize("size", [POINTS, (WIDTH, HEIGHT), A4])
def test_a_page_in_a_pdf_is_taken_without_loss(jpeg, page, size):
    for content in (jpeg, page):  # as JPEG, and as packed pixels
        opened = only(open_pages("ward.pdf", bytes(Pdf().filled(content, size))))
        assert opened.name == "ward.pdf, page 1" and (opened.image == page).all()


@pytest.mark.parametrize(
    ("size", "tolerance"), [(POINTS, 0.001), ((797, 566), 0.001), ((796.7, 565.9), 0.1), ((796.5, 566), 0.5)]
)
def test_a_page_of_lines_and_areas_is_drawn(drawn, size, tolerance):
    """As the machine's own software writes them, its box as it is or rounded to (half) points; 797 are 2213.9 px."""
    for foot in dict.fromkeys((size[1], POINTS[1])):  # what is printed starts at the top of the box, or at its foot
        opened = only(open_pages("ward.pdf", by_hand(size, areas(drawn, foot))))
        assert np.abs(opened.image.astype(int) - drawn).mean() < tolerance
        apart = read_traces(opened.image).signals - read_traces(drawn).signals
        assert np.sqrt(np.nanmean(apart**2)) < 0.005  # mV


@cache
def runs(drawn: bytes) -> bytes:
    """A PDF's drawing commands for the runs of pixels of one colour, in pixels."""
    image, commands = np.frombuffer(drawn, np.uint8).reshape(HEIGHT, WIDTH, 3), []
    packed = image.astype(np.int32) @ [1 << 16, 1 << 8, 1]
    for colour in np.unique(packed)[:-1].tolist():  # the last is white
        edges = np.diff(np.pad(packed == colour, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        y, left = np.nonzero(edges == 1)
        width = np.nonzero(edges == -1)[1] - left
        commands.append(b"%f %f %f rg" % tuple(level / 255 for level in colour.to_bytes(3, "big")))
        commands += [b"%d %d %d 1 re" % run for run in zip(left.tolist(), y.tolist(), width.tolist(), strict=True)]
        commands.append(b"f")
    return b"\n".join(commands)


def areas(image: np.ndarray, foot: float) -> bytes:
    """A PDF's content that draws an image whose upper edge is so many points above the page's origin."""
    return b"%f 0 0 %f 0 %f cm " % (72 / DPI, -72 / DPI, foot) + runs(image.tobytes())


def by_hand(size: tuple[float, float], content: bytes, resources: bytes = b"", more: bytes = b"") -> bytes:
    """A PDF of one page."""
    return b"\n".join([
        b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count 1/Kids[3 0 R]>>endobj",
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 %f %f]" % size,
        b"/Contents 4 0 R/Resources<<%b>>>>endobj" % resources,
        b"4 0 obj<</Length %d>>stream\n%b\nendstream endobj" % (len(content), content), more,
        b"trailer<</Root 1 0 R>>\n",
    ])  # fmt: skip


def test_a_pdf_gives_those_of_its_pages_that_are_the_report(jpeg, page):
    blank = np.full((100, 100, 3), 255, np.uint8)
    pages = Pdf().filled(blank, A4).filled(jpeg).filled(blank).filled(jpeg, A4)
    opened = open_pages("night shift.pdf", bytes(pages))
    assert [each.name for each in opened] == ["night shift.pdf, page 2", "night shift.pdf, page 4"]
    assert all((each.image == page).all() for each in opened)


def test_a_pdf_without_a_page_is_refused_with_the_reason():
    blank = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    message = refusal("letter.pdf", bytes(Pdf().filled(blank, A4)))
    assert "2339×1654 at 200 dpi, not 2213×1572" in message and "give the printed report" in message
    assert "double rule" in refusal("blank.pdf", bytes(Pdf().filled(blank)))
    assert "among its 2" in refusal("two.pdf", bytes(Pdf().filled(blank).filled(blank, A4)))
    assert "no PDF that can be opened" in refusal("none.pdf", bytes(Pdf()))


def test_a_pdf_that_lies_on_its_side_is_no_page_unless_it_says_so(drawn):
    height, width = POINTS  # of the box, before it is turned to the right
    turned = b"0 1 -1 0 %f 0 cm " % width + areas(drawn, POINTS[1])
    upright = by_hand((width, height), turned)
    assert "1572×2213 at 200 dpi" in refusal("side.pdf", upright)
    said = upright.replace(b"/MediaBox", b"/Rotate 90/MediaBox")
    assert np.abs(only(open_pages("side.pdf", said)).image.astype(int) - drawn).mean() < 0.001


def test_a_protected_pdf_is_refused(pdf):
    secret = b"<" + b"41" * 32 + b">"
    protection = b"/ID[%b%b]/Encrypt<</Filter/Standard/V 1/R 2/P -4/O%b/U%b>>" % (secret, secret, secret, secret)
    protected = re.sub(rb"trailer\s*<<", lambda found: found[0] + protection, pdf)
    assert protected != pdf
    assert "protected by a password; save it without" in refusal("secret.pdf", protected)


def test_a_pdf_of_too_many_pages_is_refused_before_any_is_opened(monkeypatch):
    pages = Pdf()
    for _ in range(MAX_PDF_PAGES + 1):
        pages.add(size=A4)
    monkeypatch.setattr(pypdfium2.PdfDocument, "get_page", None)
    message = refusal("year.pdf", bytes(pages))
    assert f"has {MAX_PDF_PAGES + 1} pages" in message and "split it" in message


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda jpeg: b"", "is empty"),
        (lambda jpeg: b"These are the chapters of my thesis.", "neither JPEG, PNG nor PDF"),
        (lambda jpeg: b"GIF89a" + jpeg, "neither JPEG, PNG nor PDF"),
        (lambda jpeg: jpeg[:200_000], "cut off"),
        (lambda jpeg: jpeg[:20], "cut off"),
        (lambda jpeg: b"\x89PNG\r\n\x1a\n" + bytes(99), "broken"),
        (lambda jpeg: b"%PDF-1.7\n" + jpeg, "broken or cut off"),
        (lambda jpeg: jpeg + bytes(MAX_BYTES), "too large: 20."),
        (lambda jpeg: saved(Image.open(io.BytesIO(jpeg)).reduce(2), "JPEG"), "1107×786"),
        (lambda jpeg: saved(Image.open(io.BytesIO(jpeg)).rotate(180), "PNG"), "does not look like a page"),
        (lambda jpeg: saved(Image.new("RGB", (WIDTH, HEIGHT), "white"), "PNG"), "double rule"),
    ],
)
def test_what_is_no_page_is_refused(make, words, jpeg):
    assert words in refusal("page.jpg", make(jpeg))


def test_the_limit_can_be_lifted(jpeg, page):
    padded = jpeg + bytes(MAX_BYTES)
    assert (only(open_pages("page.jpg", padded, max_bytes=None)).image == page).all()
    assert "0.7 MB, more than 0.1" in refusal("page.jpg", jpeg, max_bytes=100_000)


def test_pictures_of_other_sizes_are_not_decoded(png, monkeypatch):
    """12000 × 12000 is what Pillow itself would still decode: to 432 MB."""
    monkeypatch.setattr(ImageFile.ImageFile, "load", None)
    assert "is 12000×12000" in refusal("bomb.png", declared(png, 12_000))
    assert "far too large" in refusal("bomb.png", declared(png, 30_000))


def declared(png: bytes, side: int) -> bytes:
    """The PNG with another size in its header: signature, length, IHDR, width, height, five bytes, checksum."""
    header = png[12:16] + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]


def test_huge_pictures_in_a_pdf_are_not_decoded(monkeypatch):
    content = b"%f 0 0 %f 0 0 cm /I Do" % POINTS
    image = b"5 0 obj<</Type/XObject/Subtype/Image/Width 30000/Height 30000/BitsPerComponent 8/ColorSpace/DeviceRGB"
    image += b"/Length 10>>stream\n0123456789\nendstream endobj"
    monkeypatch.setattr("heartai_utils.uploads._drawn", None)
    bomb = by_hand(POINTS, content, b"/XObject<</I 5 0 R>>", image)
    assert "far too large" in refusal("bomb.pdf", bomb)


def test_names_are_printable(jpeg, page):
    assert only(open_pages("a\x1b[31m\u202egpj.pdf\n.jpg", jpeg)).name == "a?[31m?gpj.pdf?.jpg"


@pytest.mark.parametrize("kind", ["jpeg", "png", "pdf"])
def test_mutated_files_are_pages_or_refused_by_name(kind, request):
    data, rng = request.getfixturevalue(kind), np.random.default_rng(7)
    changes = [truncated, flipped_bit, flipped_bits, flipped_header, block_zeroed, cut_out, noise]
    refused = 0
    for number in range(FILES):
        changed = changes[number % len(changes)](data, rng)
        try:
            opened = open_pages("a file", changed)
        except PageError as error:
            assert re.match(r"a file (is|has|holds|does not look) ?\S", str(error)) and "object at" not in str(error)
            refused += 1
        else:
            assert all(page.image.shape == (HEIGHT, WIDTH, 3) for page in opened)
    assert refused > FILES / 4  # one bit of a JPEG or of packed pixels may well leave a page


def test_many_are_opened_at_a_time(jpeg, pdf, page):
    with ThreadPoolExecutor(4) as pool:
        for opened in pool.map(open_pages, ["a"] * 8, [jpeg, pdf] * 4):
            assert (only(opened).image == page).all()


def test_nothing_is_written(jpeg, png, pdf, monkeypatch):
    def reading(file, mode="r", *options, **named):
        assert not set(mode) & set("wax+"), file
        return opening(file, mode, *options, **named)

    opening = builtins.open
    for owner in (builtins, io):
        monkeypatch.setattr(owner, "open", reading)
    assert all(open_pages("a", data) for data in (jpeg, png, pdf))
