"""All about one page as data, and the HTML made of it."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from heartai_utils import alike, page, page_html, page_report
from heartai_utils.beat_features import find_beats, measure
from heartai_utils.conditions import NAMES
from heartai_utils.downsampling import PLACES
from heartai_utils.simulation import simulate_recording
from heartai_utils.verdict import NAMED, PageReader

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import calibrate_best


@pytest.fixture(scope="module")
def reader():
    return page_report.Reader()


@pytest.fixture(scope="module")
def truth():
    return simulate_recording("Myocardial infarction", 27)


@pytest.fixture(scope="module")
def image(truth):
    return page.draw_page(truth, seed=27)


@pytest.fixture(scope="module")
def report(reader, truth, image):
    return reader.report('a <b>page</b> & "more".jpg', image, truth)


# --- Verdict and sureness -----------------------------------------------------------------------------------------


def test_the_verdict_is_the_page_readers(report, reader, image, tmp_path):
    assert report.verdict == reader.pages.read(image)
    (tmp_path / "page.jpg").write_bytes(page.encode_page(image))
    from_file = reader.pages.read(tmp_path / "page.jpg")
    assert from_file.condition == report.verdict.condition == "Myocardial infarction"
    assert list(from_file.probabilities.values()) == pytest.approx(list(report.verdict.probabilities.values()), abs=0.1)


def test_probabilities_are_scaled_by_the_recorded_temperature(reader, image):
    model, thumbnail = reader.pages.model, reader.pages.thumbnail_of(image)
    logits = np.asarray(model(thumbnail[None]))[0].astype(float) / reader.pages.temperature
    expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert list(reader.pages.read(image).probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-3)
    assert reader.pages.temperature > 1.2  # it was too sure


def test_a_grey_page_is_read_like_a_coloured_one(reader, image):
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    assert reader.pages.read(grey) == reader.pages.read(image)
    assert page_html.fragment(reader.report("grey", grey)).count("<img ") == 2
    with pytest.raises(ValueError, match="2213"):
        reader.pages.read(image[:100])


def test_pages_that_are_opened_already_are_read_among_files(reader, image, tmp_path):
    missing = tmp_path / "missing.jpg"
    verdicts = list(reader.pages.read_all([image, missing, image[:9]]))
    assert verdicts[0] == reader.pages.read(image)
    assert "not there" in str(verdicts[1]) and isinstance(verdicts[2], ValueError)


def test_a_model_without_a_record_of_it_is_not_calibrated():
    reader = PageReader("course")
    assert reader.temperature == 1 and reader.calibration == {}
    sure = page_report.sureness(0.99, reader.calibration)
    assert sure.words == "not calibrated" and "do not take them at their word" in str(sure)


def test_the_record_is_what_the_held_out_verdicts_say():
    def rounded(text: str) -> dict:
        return json.loads(text, parse_float=lambda digits: round(float(digits), 6))

    recorded = rounded(NAMED["best"].with_suffix(".json").read_text())["calibration"]
    levers = json.loads(calibrate_best.LEVERS.read_text())
    assert rounded(json.dumps(calibrate_best.calibrated(levers))) == recorded


def test_bands_count_every_verdict_once_and_its_truth():
    verdicts = [(0.4, 1), (0.6, 0), (0.9, 1), (0.97, 1), (1.0, 1), (0.95, 0)]  # probability, and whether it is right
    rows = []
    for number, (sure, right) in enumerate(verdicts):
        rest = (1 - sure) / 3
        probabilities = [sure, rest, rest, rest]
        rows.append({"file": str(number), "repeat": 0, "label": 0 if right else 1, "probabilities": probabilities})
    levers = {"best_in_detail": {"verdicts_tempered": rows, "temperature": [1.0, 1.0]}}
    bands = calibrate_best.calibrated(levers)["bands"]
    assert [(band["verdicts"], band["right"]) for band in bands] == [(1, 1), (1, 0), (0, 0), (2, 1), (2, 2)]
    levers["best_in_detail"]["temperature"] = [1.0] * 4
    with pytest.raises(ValueError, match="not of one size"):
        calibrate_best.calibrated(levers)


def test_a_temperature_is_found_again_behind_the_folds_own():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 4)) * 2
    labels = [rng.choice(4, p=p) for p in page_report.scaled(np.exp(logits), 1.0)]
    own = np.repeat([1.2, 1.6], 1500)
    tempered = page_report.scaled(np.exp(2 * logits / own[:, None]), 1.0)  # the model says twice the logits
    rows = [
        {"file": str(n), "repeat": 0, "label": int(label), "probabilities": p.round(4).tolist()}
        for n, (label, p) in enumerate(zip(labels, tempered, strict=True))
    ]
    levers = {"best_in_detail": {"verdicts_tempered": rows, "temperature": [1.2, 1.6]}}
    assert calibrate_best.calibrated(levers)["temperature"] == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.3, "does not know"), (0.5, "unsure"), (0.8999, "rather sure"), (0.9, "sure"), (0.97, "very sure"),
     (1.0, "very sure")],
)  # fmt: skip
def test_words_stand_for_a_count(reader, probability, words):
    sure = page_report.sureness(probability, reader.pages.calibration)
    assert sure.words == words and 0 < sure.right <= sure.verdicts
    assert f"Of {sure.verdicts} verdicts" in str(sure) and f"{sure.right} were right" in str(sure)
    with pytest.raises(ValueError, match="between 0 and 1"):
        page_report.sureness(1.2, reader.pages.calibration)


# --- What it rests on ---------------------------------------------------------------------------------------------


def test_covering_is_what_it_says(report, reader, image):
    """Lead by lead as `explain.occlusion` has it, piece by piece by hand."""
    thumbnail, label = reader.pages.thumbnail_of(image)[None], NAMES.index("Myocardial infarction")
    expected = page_report.scaled(
        page_report.explain.occlusion(reader.pages.model, thumbnail, reader.form)[:, 0], reader.pages.temperature
    )
    assert report.needed.by_place == pytest.approx(expected[:, label], abs=1e-3)
    row, number = 1, 9
    lead, start, end = page_report.piece(row, number)
    assert (lead, start, end) == ("V2", 5.625, 6.25)
    covered = reader.form.erase(thumbnail, reader.form.window(row, start, end))
    alone = page_report.scaled(page_report.training.predict(reader.pages.model, covered), reader.pages.temperature)
    assert report.needed.by_piece[row, number] == pytest.approx(alone[0, label], abs=1e-3)


def test_pieces_tile_the_rows_of_leads(reader):
    pieces = reader._masks[len(PLACES) :]
    assert pieces.shape[0] == 4 * page_report.PIECES and (pieces.sum(axis=0) <= 1).all()
    for place in PLACES:
        names = [page_report.piece(row, number)[0] for row in range(4) for number in range(page_report.PIECES)]
        together = pieces[[name == place for name in names]].any(axis=0)
        assert (together == reader.form.lead(place)).mean() > 0.995
        assert names.count(place) == (page_report.PIECES if place == "strip" else page_report.PIECES // 4)


def needed(whole: float, by_place: dict[str, float]) -> page_report.Needed:
    places = np.array([by_place.get(place, whole) for place in PLACES])
    return page_report.Needed(whole, places, np.full((4, page_report.PIECES), whole), np.array([0.1, 0.7, 0.1, 0.1]))


def test_what_is_needed_is_said_in_words():
    one = needed(0.9, {"V2": 0.1, "III": 0.6})
    assert [place for place, _ in one.most[:2]] == ["V2", "III"] and one.lead("V2") == 0.1
    assert one.sentence("Normal").startswith("Without lead V2 the probability of Normal falls from 0.90 to 0.10.")
    assert "blank form this model says Myocardial infarction (0.70)" in one.sentence("Normal")
    assert "No single lead decides" in needed(0.9, {"V2": 0.6}).sentence("Normal")
    assert "Without the rhythm strip" in needed(0.9, {"strip": 0.2}).sentence("Normal")


def test_odds_are_of_the_verdict():
    pieces = np.full((4, page_report.PIECES), 0.9)
    pieces[2, 3], pieces[1, 1] = 0.5, 0.99
    odds = page_report.Needed(0.9, np.full(13, 0.9), pieces, np.full(4, 0.25)).odds
    assert np.exp(odds[2, 3]) == pytest.approx(9) and np.exp(-odds[1, 1]) == pytest.approx(11)
    assert np.count_nonzero(np.abs(odds) > 1e-9) == 2


def test_the_overlay_colours_what_was_needed_and_nothing_else(report, image):
    pieces = np.full((4, page_report.PIECES), report.needed.whole)
    blank = page_report.Needed(report.needed.whole, report.needed.by_place, pieces, report.needed.blank)
    plain = page_html.overlay(replace(report, needed=blank))
    pieces = pieces.copy()
    pieces[1, 9] = 0.01
    one = page_report.Needed(report.needed.whole, report.needed.by_place, pieces, report.needed.blank)
    changed = np.argwhere((page_html.overlay(replace(report, needed=one)) != plain).any(axis=-1))
    (top, left), (bottom, right) = 2 * changed.min(axis=0), 2 * changed.max(axis=0)
    x0, x1 = page.seconds_to_x([5.625, 6.25])
    assert abs(left - x0) <= 4 and abs(right - x1) <= 6
    assert top < page.BASELINES[1] < bottom and top > page.BASELINES[0] and bottom < page.BASELINES[2]


# --- The most alike heart -----------------------------------------------------------------------------------------


def test_a_heart_of_the_bank_is_most_like_itself(reader):
    hearts = reader.hearts
    for number in (0, 701, 1599):
        label, seed = int(hearts.labels[number]), int(hearts.seeds[number])
        recording = simulate_recording(label, seed)
        near = hearts.nearest(measure(find_beats(alike.traces_of(recording))))
        assert (near.label, near.seed) == (label, seed) and near.distance < 0.02
        assert (near.recording.signals == recording.signals).all()


def test_distances_by_hand():
    rng = np.random.default_rng(0)
    measured = rng.normal(size=(50, len(alike.NAMES))).astype(np.float32)
    measured[3, :5] = np.nan
    hearts = alike.Hearts(np.zeros(50, int), np.arange(50), measured, {})
    own = dict(zip(alike.NAMES, rng.normal(size=len(alike.NAMES)), strict=True))
    far, by_group = hearts.distances(own)
    away = (measured[7] - np.array([*own.values()])) / np.nanstd(measured, axis=0)
    first = np.sqrt(np.mean(np.square(away[:5].clip(-4, 4))))
    assert by_group[7, 0] == pytest.approx(first, rel=1e-4)
    assert far[7] == pytest.approx(np.sqrt(np.mean(np.square(by_group[7]))), rel=1e-4)
    assert np.isnan(by_group[3, 0]) and np.isfinite(far[3])


def test_where_nothing_is_measured_nothing_is_alike(reader):
    assert reader.hearts.nearest(dict.fromkeys(alike.NAMES, np.nan)) is None


def test_the_bank_is_read_back_as_it_was_packed(tmp_path, reader):
    path = tmp_path / "hearts.npz"
    np.savez_compressed(path, **alike.packed(reader.hearts))
    path.with_suffix(".json").write_text(json.dumps(reader.hearts.record))
    again = alike.load_hearts(path)
    assert np.array_equal(np.isnan(again.measured), np.isnan(reader.hearts.measured))
    assert np.allclose(again.measured, reader.hearts.measured, equal_nan=True, rtol=1e-3, atol=2e-3)
    record = reader.hearts.record | {"measurements": ["R I"]}
    path.with_suffix(".json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="other measurements"):
        alike.load_hearts(path)
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="missing or damaged"):
        alike.load_hearts(path)


# --- Where the page is from ---------------------------------------------------------------------------------------


def test_what_the_count_does_not_speak_for_is_said(report, reader, image):
    assert "simulated" in report.caution
    assert "one hospital's machine" in reader.report("x", image).caution
    known = page_report.Published("Normal(1).jpg", "Normal", True, (("Normal", 0.9), ("History of MI", 0.5)))
    told = reader.report("x", image, published=known).caution
    assert "may know it by heart" in told and "Normal (0.90), History of MI (0.50)" in told
    assert "was not trained on it" in str(page_report.Published("HB(9).jpg", "Abnormal heartbeat", False, ()))


def test_published_pages_are_known_by_their_content(real_pages, image):
    catalogue = page_report.read_manifest()
    on_disk = sorted(real_pages.rglob("*.jpg"))[:20]
    found = [page_report.published(path.read_bytes()) for path in on_disk]
    assert all(found) and all(each.condition in NAMES for each in found)
    assert any(each.trained_on and len(each.held_out) == 3 for each in found)
    assert page_report.published(page.encode_page(image)) is None
    trained = [each for each in page_report._published().values() if each.trained_on]
    assert len(trained) == 295 and len(page_report._published()) == catalogue["md5"].nunique()


def test_as_plain_values(report):
    told = json.loads(json.dumps(report.to_dict()))
    assert told["verdict"] == "Myocardial infarction" and set(told["needed"]) == set(PLACES)
    assert told["alike"]["distance"] == pytest.approx(report.alike.distance, abs=1e-3)


def test_a_page_without_traces_gets_a_report_all_the_same(reader):
    report = reader.report("blank", np.full((page.HEIGHT, page.WIDTH, 3), 255, np.uint8))
    assert report.alike is None and report.to_dict()["heart_rate"] is None
    assert "Too little could be measured" in page_html.fragment(report)


def test_only_a_model_that_sees_pictures_can_be_asked():
    with pytest.raises(ValueError, match="name a Vision Transformer"):
        page_report.Reader("traces")


# --- The HTML -----------------------------------------------------------------------------------------------------


class Elements(HTMLParser):
    """All elements with their attributes, in order; and whether every one was closed."""

    VOID = ("img", "meta", "path", "polyline", "br")

    def __init__(self, text: str):
        super().__init__()
        self.found, self.open, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def elements(report):
    return Elements(page_html.document(report))


def test_the_file_is_whole_and_asks_nobody(report, elements):
    text = page_html.document(report)
    assert not elements.open and len(text) < 1e6
    assert not any(tag in ("script", "link", "iframe") for tag, _ in elements.found)
    addresses = [each[key] for _, each in elements.found for key in ("src", "href") if key in each]
    assert addresses and all(address.startswith("data:") for address in addresses)
    assert not re.search(r"https?:|url\(|@import", text)


def test_every_picture_is_described(elements):
    pictures = [(tag, each) for tag, each in elements.found if tag in ("img", "svg")]
    assert len(pictures) == 16
    for tag, each in pictures:
        assert len(each["alt" if tag == "img" else "aria-label"].split()) >= 4 or each["role"] == "img"
        assert each["alt" if tag == "img" else "aria-label"].strip()


def test_headings_are_in_order(elements, report):
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h\d", tag)]
    assert levels == [1, 2, 2, 2]
    inner = Elements(page_html.fragment(report, 3))
    assert [tag for tag, _ in inner.found if re.fullmatch(r"h\d", tag)] == ["h3", "h4", "h4", "h4"]


def test_warnings_stand_at_both_ends_and_beside_the_verdict(report, elements):
    assert "".join(elements.words).count(page_html.WARNING) == 3
    assert page_html.WARNING in page_html.fragment(report)
    assert page_html.fragment(report).count(page_html.REMINDER) == 3  # after each part


def test_what_others_wrote_is_never_markup(report, elements):
    assert not any(tag == "b" for tag, _ in elements.found)
    assert any('a <b>page</b> & "more".jpg' in words for words in elements.words)
    link = Elements(page_html.download_link(report))
    (attributes,) = [each for tag, each in link.found if tag == "a"]
    assert re.fullmatch(r"[\w.-]+", attributes["download"])
    data = attributes["href"].removeprefix("data:text/html;base64,")
    assert base64.b64decode(data).decode() == page_html.document(report)
    assert "&lt;i&gt;" in page_html.refusal(["<i>x</i>"]) and 'role="alert"' in page_html.refusal(["x"])


def test_all_numbers_of_the_verdict_are_in_it(report, elements):
    text = " ".join(elements.words)
    for probability in report.verdict.probabilities.values():
        assert f"{probability:.3f}" in text
    assert str(report.sureness) in text and report.caution in text
    assert f"{report.alike.distance:.2f}" in text


def test_traces_are_drawn_true_to_scale():
    signal = np.zeros(492, np.float32)
    signal[200] = 1.0
    unread = np.zeros(492, bool)
    unread[300:310] = True
    drawing = Elements(page_html._trace("V1", signal, unread, 5.0, 7.5))
    (box,) = [each["viewbox"] for tag, each in drawing.found if tag == "svg"]
    assert [float(part) for part in box.split()] == [0, 0, 62.5, 15.0]  # 2.5 s, and −0.5 to 1 mV
    lines = [each for tag, each in drawing.found if tag == "polyline"]
    assert ["stroke-dasharray" in each for each in lines] == [False, True, False]
    points = [tuple(map(float, point.split(","))) for point in lines[0]["points"].split()]
    assert points[200] == pytest.approx((25 * 200 / page.PX_PER_SECOND, 0.0), abs=0.06) and points[0] == (0, 10)


def test_pieces_are_named_where_they_stand_out(report):
    assert "Most coloured: lead V2" in page_html.fragment(report)
    even = np.full((4, page_report.PIECES), report.needed.whole)
    level = replace(report, needed=replace(report.needed, by_piece=even))
    assert "No piece stands out" in page_html.fragment(level)
