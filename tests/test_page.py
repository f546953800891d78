"""The printed page: geometry, calibration, files, recognition, and the way back to millivolts."""

from __future__ import annotations

import io
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from heartai_utils import page as p
from heartai_utils.simulation import LEADS, Recording, simulate_recording

RATE = 500


def flat(mv: float = 0.0, **facts) -> Recording:
    return Recording(np.full((12, 10 * RATE), mv, np.float32), RATE, None, facts)


def runs(mask: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    edges = np.diff(np.r_[0, mask.astype(int), 0])
    return list(zip(np.flatnonzero(edges == 1).tolist(), (np.flatnonzero(edges == -1) - 1).tolist(), strict=True))


def words(page: np.ndarray, rows: slice, columns: slice, gap: int = 16) -> list[tuple[int, int]]:
    """First and last column of each word of ink."""
    joined = []
    for first, last in runs((page[rows, columns, 1] < 128).any(axis=0)):
        if joined and first - joined[-1][1] <= gap:
            first = joined.pop()[0]
        joined.append((first, last))
    return [(first + columns.start, last + columns.start) for first, last in joined]


def decoded(page: np.ndarray, quality: str = "high") -> np.ndarray:
    return np.array(Image.open(io.BytesIO(p.encode_page(page, quality))))


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """A page of a normal heart, read-only, as every test gets the same one."""
    page = p.draw_page(simulate_recording("Normal", 1), seed=1)
    page.setflags(write=False)
    return page


@pytest.fixture(scope="module")
def real_sample(real_pages: Path) -> list[Path]:
    files = sorted(real_pages.glob("*/*.jpg"))
    return files[:: max(len(files) // 20, 1)]


# --- Geometry: numbers measured on the published pages, compared with the ink of a drawn page ---------------------


def test_size_and_background(drawn):
    assert drawn.shape == (1572, 2213, 3) and drawn.dtype == np.uint8
    assert (drawn[:25] == 255).all() and (drawn[:, :60] == 255).all() and (drawn[1560:] == 255).all()


def test_frame_and_rules(drawn):
    tinted = (drawn[..., 0] == 255) & (np.abs(drawn[..., 1].astype(int) - 160) < 10)
    assert runs(tinted[:, 90]) == [(283, 286), (1515, 1517)]
    assert runs(tinted[600]) == [(68, 70), (2173, 2176)]
    assert runs((drawn[130:150, 1000] == 0).all(axis=1)) == [(6, 9), (12, 15)]
    assert runs((drawn[137] == 0).all(axis=1)) == [(68, 2153)]
    assert runs((drawn[145] == 0).all(axis=1)) == [(69, 2153)], "the ends of a rule are round"


def test_grid_is_the_measured_lattice():
    page = p.draw_page(flat(), details=p.PageDetails())
    dots = (page == (255, 20, 5)).all(axis=2)
    columns = np.flatnonzero(dots[296])  # between two horizontal lines: the vertical 5 mm lines only
    assert columns[[0, 1, 2, 3, 4, -2, -1]].tolist() == [105, 145, 185, 225, 264, 2131, 2171] and len(columns) == 53
    rows = np.flatnonzero(dots[:, 2167])  # likewise, the horizontal ones
    assert rows[[0, 1, 2, 3, 4, -2, -1]].tolist() == [324, 363, 403, 443, 483, 1436, 1476] and len(rows) == 30
    row = np.flatnonzero(dots[300, 660:702]) + 660
    assert row.tolist() == [662, 677, 685, 693, 701]  # the first 1 mm column after a line is missing
    left, top, right, bottom = p.GRID_BOX
    inside = page[top:bottom, left:right]
    assert not ((inside[..., 1] > 100) & (inside[..., 1] < 250)).any(), "the crop touches the frame"


@pytest.mark.parametrize(("row", "roof", "foot"), [(0, 383, 464), (1, 683, 764), (2, 986, 1067), (3, 1286, 1367)])
def test_calibration_pulses(drawn, row, roof, foot):
    black = (drawn == 0).all(axis=2)
    assert runs(black[roof - 20 : foot + 20, 105]) == [(20, 20 + foot - roof)]
    assert runs(black[roof + 1, 80:140]) == [(24, 43)]
    assert runs(black[foot - 1, 80:140]) == [(15, 26), (40, 51)]
    assert (foot - 1) - (roof + 1) == round(p.PX_PER_MV) == 79
    assert p.BASELINES[row] == foot - 1


def test_separators(drawn):
    black = (drawn == 0).all(axis=2)
    assert runs(black[600, 600:1700]) == [(43, 45), (535, 537), (1026, 1029)]
    assert runs(black[380:1130, 644]) == [(40, 729)]


def test_lead_names_stand_where_they_do_on_real_pages():
    page = p.draw_page(flat(-1.0), details=p.PageDetails(rhythm_lead="III"))
    black = (page == 0).all(axis=2)
    boxes = {"I": (437, 455, 154, 160), "II": (738, 756, 154, 169), "V5": (738, 756, 1630, 1658),
             "V2": (738, 756, 1138, 1168), "V3": (1040, 1058, 1138, 1166), "III": (1340, 1358, 154, 177)}  # fmt: skip
    for lead, (top, bottom, left, right) in boxes.items():
        ink = black[top - 15 : bottom + 16, left:][:, : right - left + 30]
        rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
        found = rows[0] + top - 15, rows[-1] + top - 15, columns[0] + left, columns[-1] + left
        assert np.abs(np.subtract(found, (top, bottom, left, right))).max() <= 1, (lead, found)


def test_words_stand_where_they_do_on_real_pages():
    details = p.PageDetails(printed_id="168605", heart_rate=57, date=datetime(2020, 10, 15, 19, 47, 57))
    page = p.draw_page(flat(), details=details)

    def assert_words(rows, columns, gap, expected, tolerance=1):
        found = words(page, rows, columns, gap)
        assert np.abs(np.subtract(found, expected)).max() <= tolerance, found

    assert_words(slice(28, 64), slice(900, 1400), 30, [(995, 1275)])
    assert_words(slice(149, 178), slice(60, 700), 30, [(70, 346)])
    assert_words(slice(183, 206), slice(1500, 2000), 30, [(1557, 1705)])
    assert_words(slice(216, 244), slice(1500, 2000), 30, [(1557, 1699)])
    assert_words(slice(249, 279), slice(1500, 2000), 30, [(1557, 1831)])
    assert_words(slice(105, 127), slice(60, 1000), 16, [(70, 219), (279, 414)])
    line = [(70, 114), (132, 208), (324, 389), (449, 504), (620, 653), (767, 793), (910, 916), (960, 1037),
            (1098, 1278), (1337, 1467), (1527, 1670)]  # fmt: skip
    assert_words(slice(72, 100), slice(60, 2200), 16, line, tolerance=1)  # these follow the width of the printed ID
    foot = [(69, 169), (186, 236), (251, 323), (338, 435), (447, 538), (550, 586), (610, 655), (667, 706), (721, 782),
            (794, 834)]  # fmt: skip
    assert_words(slice(1535, 1556), slice(50, 1300), 9, foot, tolerance=1)
    assert_words(slice(1535, 1556), slice(1700, 2213), 9, [(1793, 1905), (1930, 2006), (2018, 2048)], tolerance=1)


def test_fixed_ink_is_that_of_the_real_pages_to_the_pixel(real_sample, drawn):
    """Where half of the real pages have ink, a drawn one has, and nowhere else."""
    pages = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in real_sample]
    ink = np.mean([page < 128 for page in pages], axis=0) > 0.5
    fixed = {
        "title": np.s_[25:70, 980:1300], "diagnosis": np.s_[148:178, 60:400], "technician": np.s_[182:282, 1540:1900],
        "rules": np.s_[130:147, 60:2160], "settings": np.s_[1535:1560, 60:440], "pulse": np.s_[1280:1370, 93:135],
    }  # fmt: skip
    for name, region in fixed.items():
        differing = int((ink[region] != (drawn[region][..., 1] < 128)).sum())
        assert differing <= 8, f"{name}: {differing} pixels differ"  # dots of the grid lie at the threshold


def test_conversions_are_inverse():
    for row in range(4):
        assert p.y_to_mv(p.mv_to_y(0.7, row), row) == pytest.approx(0.7)
    assert p.x_to_seconds(p.seconds_to_x(3.3)) == pytest.approx(3.3)
    assert p.seconds_to_x(1.0) - p.seconds_to_x(0.0) == pytest.approx(196.85, abs=0.01)


def test_lead_windows_are_consecutive():
    assert p.lead_window("I") == (0, 152, 644, 0.0, 2.5)
    assert p.lead_window("aVL")[0] == 1 and p.lead_window("V6")[3:] == (7.5, 10.0)
    for leads in p.ROW_LEADS:
        for lead in leads:
            _, start, end, begins, ends = p.lead_window(lead)
            assert begins <= p.x_to_seconds(start) and p.x_to_seconds(end - 1) <= ends
    with pytest.raises(ValueError, match="V7"):
        p.lead_window("V7")


# --- The trace ----------------------------------------------------------------------------------------------------


def trace_y(page: np.ndarray, x: int, top: int, bottom: int) -> float:
    return float(np.mean(np.flatnonzero((page[top:bottom, x] == 0).all(axis=1)) + top))


def test_one_millivolt_is_79_pixels():
    low, high = (p.draw_page(flat(mv), details=p.PageDetails()) for mv in (0.0, 1.0))
    for top, foot in ((320, 463), (620, 763), (920, 1066), (1220, 1366)):
        assert trace_y(low, 400, foot - 20, foot + 20) == foot
        assert foot - trace_y(high, 400, top, foot - 20) == 79


def test_pen_is_three_pixels_wide():
    page = p.draw_page(flat(0.1), details=p.PageDetails())
    assert runs((page[400:470, 900] == 0).all(axis=1)) == [(54, 56)]


def test_a_page_shows_each_lead_in_its_window():
    signals = np.zeros((12, 10 * RATE), np.float32)
    step = signals.copy()
    step[LEADS.index("V2"), int(6.0 * RATE) :] = 0.5  # V2 is shown from 5 to 7.5 s
    difference = p.draw_page(Recording(step, RATE), seed=0) != p.draw_page(Recording(signals, RATE), seed=0)
    y, x, _ = np.nonzero(difference)
    assert abs(x.min() - p.seconds_to_x(6.0)) <= 3 and x.max() < p.seconds_to_x(7.5) + 3
    assert y.min() >= 763 - 0.5 * 79 - 3 and y.max() <= 763 + 3


def test_tall_and_short_recordings_are_drawn():
    tall = p.draw_page(flat(30.0), details=p.PageDetails())
    assert tall.shape == (1572, 2213, 3)
    short = Recording(np.zeros((12, 3 * RATE), np.float32), RATE)
    page = p.draw_page(short, details=p.PageDetails())
    assert (page[463, 160:640] == 0).all() and not (page[463, 1200:1600] == 0).all(axis=-1).any()


# --- Details ------------------------------------------------------------------------------------------------------


def test_same_seed_same_bytes():
    recording = simulate_recording("History of MI", 4)
    first, second, other = (p.encode_page(p.draw_page(recording, seed=seed)) for seed in (7, 7, 8))
    assert first == second != other


def test_drawing_leaves_the_shared_part_alone():
    before = p.draw_page(flat(), details=p.PageDetails()).copy()
    p.draw_page(simulate_recording("Normal", 2), seed=3)[:] = 0
    assert (p.draw_page(flat(), details=p.PageDetails()) == before).all()


@pytest.mark.parametrize("condition", range(1, 4))
def test_details_do_not_depend_on_the_condition(condition):
    """Outside the traces, two hearts with the same rate get the same page."""
    pages = []
    for heart in (0, condition):
        recording = simulate_recording(heart, 5)
        empty = Recording(np.zeros_like(recording.signals), recording.rate, recording.condition, recording.facts)
        recording.facts.update(heart_rate_bpm=80, lead_off=None)
        pages.append(p.draw_page(empty, seed=11))
    assert (pages[0] == pages[1]).all()


def test_random_details_have_the_published_shares():
    rng = np.random.default_rng(0)
    details = [p.PageDetails.random(rng) for _ in range(2000)]
    assert np.mean([d.sex == "Male" for d in details]) == pytest.approx(447 / 491, abs=0.03)
    assert np.mean([d.rhythm_lead == "II" for d in details]) == pytest.approx(350 / 491, abs=0.03)
    assert {d.quality for d in details if d.date_format == "d-m-Y"} == {"low"}
    assert {d.date.year for d in details if d.date_format == "Y-m-d"} == {2020}


def test_each_detail_changes_its_own_place():
    plain = p.draw_page(flat(), details=p.PageDetails())
    places = {
        "printed_id": ("177038", (70, 100)), "sex": ("Female", (70, 135)), "rhythm_lead": ("III", (1338, 1360)),
        "date": (datetime(2020, 8, 5, 23, 2, 38), (1536, 1556)), "date_format": ("d-m-Y", (1536, 1556)),
        "heart_rate": (77, (1536, 1556)), "lead_off": (True, (1536, 1556)),
    }  # fmt: skip
    for name, (value, (top, bottom)) in places.items():
        page = p.draw_page(flat(), details=p.PageDetails(**{name: value}))
        y = np.nonzero((page != plain).any(axis=(1, 2)))[0]
        assert len(y) and y.min() >= top and y.max() < bottom, name


def test_heart_rate_and_lead_off_come_from_the_facts():
    def shown(**facts):
        return p.draw_page(flat(**facts), details=p.PageDetails())

    asked = p.draw_page(flat(), details=p.PageDetails(heart_rate=77, lead_off=True))
    assert (shown(heart_rate_bpm=77.4, lead_off={"lead": "V1"}) == asked).all()
    assert (shown() != asked).any()


@pytest.mark.parametrize("wrong", [{"sex": "male"}, {"rhythm_lead": "V1"}, {"date_format": "iso"}, {"quality": "max"}])
def test_unknown_details_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        p.PageDetails(**wrong)


# --- Files --------------------------------------------------------------------------------------------------------


def test_jpeg_of_both_batches(drawn):
    high, low = (p.encode_page(drawn, quality) for quality in ("high", "low"))
    assert 0.60e6 < len(high) < 0.78e6 and 0.27e6 < len(low) < 0.36e6
    image = Image.open(io.BytesIO(low))
    assert image.size == (2213, 1572) and image.info["dpi"] == (200, 200)
    assert image.quantization[0][:4] == [27, 26, 65, 83] and image.layer[0][1:3] == (2, 2)
    with pytest.raises(ValueError, match="medium"):
        p.encode_page(drawn, "medium")


def test_dots_become_grey_with_a_pink_haze(drawn):
    page = decoded(drawn)[290:360, 700:1100].reshape(-1, 3)
    assert page.mean(axis=0) == pytest.approx([248.6, 246.1, 245.6], abs=0.5)  # median published page
    dots = page[page[:, 1] < 100]
    assert dots.mean(axis=0) == pytest.approx([91.5, 82.0, 82.0], abs=3)


def save(folder: Path, name: str, image: Image.Image, **options) -> Path:
    image.save(folder / name, **options)
    return folder / name


def test_load_page_gives_the_pixels_back(tmp_path, drawn):
    path = save(tmp_path, "page.png", Image.fromarray(drawn))
    assert (p.load_page(path) == drawn).all() and (p.load_page(str(path)) == drawn).all()
    (tmp_path / "page.jpg").write_bytes(p.encode_page(drawn))
    assert (p.load_page(tmp_path / "page.jpg") == decoded(drawn)).all()


def test_load_page_converts_other_kinds(tmp_path, drawn):
    image = Image.fromarray(drawn)
    grey = np.asarray(image.convert("L"))
    kinds = {
        "grey.jpg": image.convert("L"),
        "grey.png": image.convert("L"),
        "16-bit.png": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette.png": image.quantize(64),
        "transparent.png": image.convert("RGBA"),
        "cmyk.jpg": image.convert("CMYK"),
    }
    for name, kind in kinds.items():
        page = p.load_page(save(tmp_path, name, kind))
        assert page.shape == (1572, 2213, 3) and page.dtype == np.uint8, name
        assert np.abs(page.astype(int).mean() - grey.mean()) < 3, name


def test_load_page_turns_as_exif_says(tmp_path, drawn):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    path = save(tmp_path, "turned.png", Image.fromarray(np.rot90(drawn).copy()), exif=exif)
    assert (p.load_page(path) == drawn).all()


def bad_files(folder: Path, page: np.ndarray):
    """Name, how the file is made, and what the message must say besides the name."""
    data = p.encode_page(page)
    png = io.BytesIO()
    Image.fromarray(page).save(png, "PNG", compress_level=1)
    small = Image.fromarray(page).resize((640, 480))

    def write(content):
        return lambda path: path.write_bytes(content)

    yield "missing.jpg", lambda path: None, "not there"
    yield "folder.jpg", lambda path: path.mkdir(), "folder"
    yield "empty.jpg", write(b""), "empty"
    yield "text.jpg", write(b"an electrocardiogram" * 50), "neither JPEG nor PNG"
    yield "zeros.jpg", write(bytes(100_000)), "neither JPEG nor PNG"
    yield "half.jpg", write(data[: len(data) // 2]), "broken"
    yield "almost.jpg", write(data[:-2000]), "broken"
    yield "start.jpg", write(data[:200]), ""
    yield "half.png", write(png.getvalue()[: len(png.getvalue()) // 2]), "broken"
    yield "small.jpg", lambda path: small.save(path), "640×480"
    yield "small.gif", lambda path: small.save(path), "neither JPEG nor PNG"
    yield "turned.jpg", lambda path: Image.fromarray(np.rot90(page).copy()).save(path), "1572×2213"
    yield "huge.png", lambda path: Image.new("1", (20_000, 20_000)).save(path), "large"
    yield "blank.png", lambda path: Image.new("RGB", (2213, 1572), "white").save(path), "does not look like a page"


def test_load_page_refuses_bad_files(tmp_path, drawn, capfd):
    for name, make, says in bad_files(tmp_path, drawn):
        path = tmp_path / name
        make(path)
        with pytest.raises(p.PageError) as caught:
            p.load_page(path)
        message = str(caught.value)
        assert name in message and says in message and "2213×1572" in message, message
        assert "\n" not in message
    assert capfd.readouterr() == ("", ""), "a decoder wrote to the terminal"


def test_load_page_without_check_takes_any_picture_of_the_size(tmp_path):
    path = save(tmp_path, "blank.png", Image.new("RGB", (2213, 1572), "white"))
    assert (p.load_page(path, check=False) == 255).all()


@settings(max_examples=25, deadline=None)
@given(cut=st.floats(0, 1), flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=5))
def test_damaged_files_raise_page_errors_only(tmp_path_factory, drawn, cut, flips):
    data = bytearray(p.encode_page(drawn, "low"))
    for where, value in flips:
        data[int(where * 700)] = value  # in the header
    path = tmp_path_factory.mktemp("damaged") / "page.jpg"
    path.write_bytes(data[: int(cut * len(data))])
    try:
        page = p.load_page(path)
    except p.PageError as error:
        assert "page.jpg" in str(error)
    else:
        assert page.shape == (1572, 2213, 3)


# --- The real pages ---------------------------------------------------------------------------------------------------


def test_real_pages_print_the_same_in_the_same_place(real_sample):
    """What all pages share lies under the drawn one to the pixel: frame, rules, separators, pulses, grid."""
    shared = decoded(p.draw_page(flat(), details=p.PageDetails()))[..., 1].astype(int)
    places = [
        (slice(132, 150), slice(60, 2160)),
        (slice(280, 380), slice(60, 150)),
        (slice(380, 470), slice(90, 140)),
        (slice(1510, 1522), slice(60, 2185)),
        (slice(1400, 1500), slice(2165, 2185)),
    ]
    pages = np.stack([p.load_page(path)[..., 1] for path in real_sample])
    for place in places:
        median = np.median(pages[(slice(None), *place)], axis=0)
        assert np.abs(median - shared[place]).mean() < 4, place
