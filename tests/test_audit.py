"""What the audit finds: in the manifest alone, and in a simulated folder where all that it looks for is planted."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from heartai_utils import _no_heart, _page_facts, audit, dataset, evaluation, splits
from heartai_utils.conditions import CONDITIONS, NAMES
from heartai_utils.page import HEIGHT, PX_PER_SECOND, WIDTH, PageDetails, draw_page, read_traces
from heartai_utils.simulation import simulate_recording

KEYS = ["files", "distinct", "by_condition", "copies", "near_copies", "id_groups", "rejected", "baselines"]
MEASURED = Path(__file__).parents[1] / "data" / "measured" / "audit.json"


# --- The manifest alone


@pytest.fixture(scope="module")
def published() -> audit.Audit:
    return audit.audit_manifest()


def test_the_manifest_holds_928_files_of_491_pages(published):
    assert (published.files, published.distinct) == (928, 491)
    counts = {name: (count["files"], count["distinct"]) for name, count in published.by_condition.items()}
    assert counts == dict(zip(NAMES, [(284, 142), (239, 30), (233, 233), (172, 86)], strict=True))
    assert published.near_copies is None and published.alike_beats is None and published.rejected == []


def test_the_rules_of_the_copies_are_found_and_the_absent_file_named(published):
    rules = {folder: found["rule"] for folder, found in published.copies["by_folder"].items()}
    normal, mi, abnormal, history = (rules[condition.folder] for condition in CONDITIONS)
    assert normal == "Normal(n) = Normal(n + 142)" and history == "PMI(n) = PMI(n + 86)"
    assert mi == "MI(n) = MI(n + 30k)" and abnormal == ""
    assert [found["absent"] for found in published.copies["by_folder"].values() if found["absent"]] == [["MI(215)"]]
    assert published.copies["files"] == 928 - 491 and published.copies["under_several_conditions"] == 0


def test_programs_that_read_no_heart_score_on_the_manifest(published):
    scores = published.baselines
    assert all(score.splits >= 200 for score in scores.values())
    look_up = scores["checksum_look_up"]
    assert look_up.mean == pytest.approx(0.901, abs=0.005) and look_up.sd == pytest.approx(0.030, abs=0.005)
    # By hand: a Normal or History page has its twin in training 4 times in 5, an MI page nearly always, and
    # Abnormal heartbeat is the answer to what was never seen.
    expected = ((284 + 172) * 0.8 + 239 * (1 - 0.2**7) + 233) / 928
    assert look_up.mean == pytest.approx(expected, abs=0.01)
    majority = scores["majority_class_grouped"]
    assert scores["checksum_look_up_grouped"] == majority
    assert majority.mean == pytest.approx(233 / 491, abs=0.002) and majority.balanced_accuracy == 0.25
    assert 0.65 < scores["heart_rate"].mean < 0.75 and scores["heart_rate"].macro_f1 < 0.5
    assert not {"page_without_trace", "header_and_footer"} & set(scores)


def test_a_printed_id_is_no_patient_key(published):
    ids = published.id_groups
    assert (ids["groups"], ids["under_several_conditions"], ids["pages_under_several_conditions"]) == (311, 62, 220)
    assert ids["pairs_of_one_condition"] == pytest.approx(0.38, abs=0.01)
    shares = np.array([142, 30, 233, 86]) / 491
    assert ids["by_chance"] == pytest.approx((shares**2).sum(), abs=0.01)


def test_the_same_seed_gives_the_same_text_and_another_seed_other_splits(published):
    assert audit.audit_manifest().to_json() == published.to_json()
    other = audit.audit_manifest(seed=1, splits=20)
    assert other.baselines["checksum_look_up"].mean != published.baselines["checksum_look_up"].mean
    assert other.baselines["checksum_look_up"].splits == other.baselines["heart_rate"].splits == 20
    with pytest.raises(ValueError, match="at least two"):
        audit.audit_manifest(splits=1)


def test_json_has_the_keys_and_no_nan(published):
    read = json.loads(published.to_json(), parse_constant=lambda text: pytest.fail(text))
    assert set(KEYS) <= set(read)
    for score in read["baselines"].values():
        assert {"mean", "sd", "splits"} <= set(score) and 0 <= score["mean"] <= 1


def test_the_measured_record_is_what_the_code_finds_in_the_manifest(published):
    record = json.loads(MEASURED.read_text(encoding="utf-8"))
    assert record["manifest"] == json.loads(published.to_json())
    pages = record["pages"]
    assert set(KEYS) <= set(pages) and pages["files"] > pages["distinct"] and pages["rejected"] == []
    assert pages["baselines"]["page_without_trace"]["splits"] >= 200


# --- Rules of copies


@given(st.integers(2, 60), st.integers(1, 7), st.data())
def test_a_planted_rule_is_found(step, times, data):
    gone = data.draw(st.one_of(st.none(), st.integers(step + 1, step * (times + 1))))
    numbers = pd.Series([n for n in range(1, step * (times + 1) + 1) if n != gone])
    found = audit.copy_rule(pd.Series(["X"] * len(numbers)), numbers, numbers % step)
    assert found["rule"] == f"X(n) = X(n + {step}{'k' if times > 1 else ''})"
    assert (
        found["holds_for"]
        == [
            step * times - (0 if gone is None else 1 + (gone <= step * times)),
        ]
        * 2
    )
    # Where a page has one copy only, without it the page is one that has none.
    assert found["absent"] == ([f"X({gone})"] if gone and times > 1 else [])


def test_copies_without_a_rule_get_none():
    numbers = pd.Series(range(1, 41))
    contents = numbers.where(~numbers.isin([9, 33]), 5)  # three names of one page among forty
    assert audit.copy_rule(pd.Series(["X"] * 40), numbers, contents)["rule"] == ""
    assert audit.copy_rule(pd.Series(["X"] * 40), numbers, numbers)["rule"] == ""
    assert audit.copy_rule(pd.Series([None] * 3), pd.Series([None] * 3), pd.Series(list("abc")))["rule"] == ""


# --- A folder


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """32 simulated pages with copies and a date that gives Normal away; a page saved again; two files that are none."""
    home = tmp_path_factory.mktemp("planted")
    dataset.simulate_set(home / "once", 32, seed=3, progress=False, workers=1, shortcuts={"date": "Normal"})
    dataset.publish_with_copies(home / "once", home / "set")
    folder = home / "set" / CONDITIONS[1].folder
    again = io.BytesIO()
    Image.open(home / "set" / CONDITIONS[2].folder / "HB(4).jpg").save(again, "JPEG", quality=75)
    (folder / "seen before.jpg").write_bytes(again.getvalue())
    Image.new("RGB", (WIDTH, HEIGHT), "white").save(folder / "white.jpg")
    (folder / "notes.txt").write_text("no page")
    return home / "set"


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def home(kept, monkeypatch) -> Path:
    """A data home of these tests' own."""
    monkeypatch.setenv("HEARTAI_DATA", str(kept))
    return kept


@pytest.fixture
def found(planted, home) -> audit.Audit:
    return audit.audit(planted, progress=False)


def test_a_folder_is_counted_with_its_copies(found):
    assert (found.files, found.distinct) == (8 * 2 + 8 * 8 + 8 + 8 * 2 + 1, 33)
    assert found.by_condition["Normal"] == {"files": 16, "distinct": 8}
    assert found.copies["by_folder"][CONDITIONS[1].folder]["rule"] == "MI(n) = MI(n + 8k)"
    assert found.copies["by_folder"][CONDITIONS[1].folder]["copies"] == 56


def test_what_is_no_page_is_named(found):
    reasons = {Path(row["file"]).name: row["reason"] for row in found.rejected}
    assert set(reasons) == {"white.jpg", "notes.txt"}
    assert "does not look like a page" in reasons["white.jpg"] and "none of .jpg" in reasons["notes.txt"]


def test_only_the_page_saved_again_is_a_near_copy(found):
    (first, second, bits), *others = found.near_copies["pairs"]
    assert {Path(first).name, Path(second).name} == {"HB(4).jpg", "seen before.jpg"} and not others
    assert found.near_copies["dhash_64"]["smallest"] <= 6 < bits
    closest = {Path(file).name for file in found.alike_beats["closest_of_two_ids"][0][:2]}
    assert closest == {"HB(4).jpg", "seen before.jpg"}


def test_heart_rates_come_from_the_print_or_else_from_the_trace(found):
    assert found.heart_rate["printed"] == 32 and found.heart_rate["read_off_the_trace"] == 1
    assert found.heart_rate["within_5_bpm"] > 0.9


def test_a_planted_shortcut_is_seen_outside_the_trace(found):
    scores = found.baselines
    nothing = scores["majority_class_grouped"]
    for name in ("page_without_trace", "header_and_footer"):
        assert scores[name].balanced_accuracy > nothing.balanced_accuracy + 0.1, name
    assert scores["checksum_look_up"].mean > 0.75 and scores["checksum_look_up_grouped"] == nothing
    assert set(scores) == set(audit.BASELINES)


def test_the_report_says_it_all(found):
    text = audit.report(found)
    for part in (
        "105 files, 33 distinct",
        "MI(n) = MI(n + 8k)",
        "seen before.jpg ~ HB(4).jpg",
        "white.jpg does not look",
    ):
        assert part in text
    assert all(re.search(rf"^  {name} +0\.\d+ ± 0\.\d+", text, re.MULTILINE) for name in found.baselines)
    assert not re.search(r"\bnan\b|None", text)


def test_a_second_audit_opens_no_page_and_finds_the_same(found, planted, monkeypatch):
    monkeypatch.setattr(_page_facts, "measure", lambda path, check: pytest.fail(f"{path} was opened again"))
    assert audit.audit(planted, progress=False).to_json() == found.to_json()
    other = audit.audit(planted, seed=1, splits=10, progress=False)  # other splits of the facts that are known
    assert other.near_copies == found.near_copies and other.baselines != found.baselines


def test_damaged_and_missing_facts_are_measured_again(found, planted, home, monkeypatch):
    facts = sorted(home.rglob("*.npz"))
    assert len(facts) == 34
    kept = facts[2].read_bytes()
    facts[0].write_bytes(b"")
    facts[1].unlink()
    facts[2].write_bytes(kept[: len(kept) // 2])
    for at in range(200, len(kept), 500):
        kept = kept[:at] + b"damaged" + kept[at + 7 :]
    facts[3].write_bytes(kept)
    for result in home.rglob("*.json"):
        result.write_text('{"files": 1')
    opened, measure = [], _page_facts.measure
    monkeypatch.setattr(_page_facts, "measure", lambda path, check: opened.append(path) or measure(path, check))
    assert audit.audit(planted, progress=False).to_json() == found.to_json()
    assert len(opened) == 4 and not list(home.rglob("*.part"))


def test_facts_of_other_code_are_not_used(found, planted, home, monkeypatch):
    monkeypatch.setattr(audit, "_version", lambda: "other")
    measured = []
    monkeypatch.setattr(audit, "measure_all", lambda pages, kept, progress: measured.append(kept) or pytest.skip())
    with pytest.raises(pytest.skip.Exception):
        audit.audit(planted, progress=False)
    assert measured == [home / "audit" / "other"]


def test_an_interrupted_audit_goes_on(planted, tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path))
    pages = dataset.read_catalogue(planted)[0].drop_duplicates("md5").head(4)
    opened, measure = [], _page_facts.measure

    def broken(path, check):
        if len(opened) == 2:
            raise KeyboardInterrupt
        opened.append(path)
        return measure(path, check)

    monkeypatch.setattr(_page_facts, "measure", broken)
    with pytest.raises(KeyboardInterrupt):
        _page_facts.measure_all(pages, tmp_path / "kept", False)
    monkeypatch.setattr(_page_facts, "measure", lambda path, check: opened.append(path) or measure(path, check))
    assert set(_page_facts.measure_all(pages, tmp_path / "kept", False)) == set(pages["md5"])
    assert sorted(opened) == sorted(pages["path"])  # each once


def test_without_cache_nothing_is_written(planted, tmp_path, monkeypatch):
    monkeypatch.setenv("HEARTAI_DATA", str(tmp_path / "home"))
    few = tmp_path / "few" / CONDITIONS[0].folder
    few.mkdir(parents=True)
    for number in (1, 2):
        shutil.copy(planted / CONDITIONS[0].folder / f"Normal({number}).jpg", few)
    found = audit.audit(few.parent, progress=False, cache=False)
    assert not (tmp_path / "home").exists()
    assert found.distinct == 2 and found.baselines == {} and "2 group(s)" in found.notes[0]
    assert found.id_groups["pairs"] == 0 and found.id_groups["by_chance"] is None
    json.loads(found.to_json(), parse_constant=lambda text: pytest.fail(text))
    told = audit.report(found)
    assert "Note: no program" in told and "Programs that read no heart" not in told
    (few / "Normal(2).jpg").write_bytes(b"no page")
    (few / "Normal(2).jpg").rename(few / "Normal\n(2).jpg")
    told = audit.report(audit.audit(few.parent, progress=False, cache=False))
    assert "1 files, 1 distinct pages" in told and "None" not in told and "Normal\ufffd(2).jpg" in told


def test_a_folder_without_any_page_is_an_error(tmp_path, home):
    (tmp_path / CONDITIONS[0].folder).mkdir()
    Image.new("L", (WIDTH, HEIGHT), 255).save(tmp_path / CONDITIONS[0].folder / "Normal(1).png")
    with pytest.raises(dataset.DatasetError, match="has no page: .*does not look like a page"):
        audit.audit(tmp_path, progress=False)
    with pytest.raises(dataset.DatasetError, match="cannot be read as a folder"):
        audit.audit(tmp_path / "nowhere", progress=False)


def test_real_pages_are_read(real_pages, home, tmp_path):
    """A page of each condition, under the names of its copies, too."""
    manifest = dataset.read_manifest().groupby("md5")["file"].apply(list)
    some = dataset.read_catalogue(real_pages)[0].groupby("condition").head(1)
    for md5, path in zip(some["md5"], some["path"], strict=True):
        for name in manifest[md5]:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / name)
    found = audit.audit(tmp_path, splits=10, progress=False)
    assert found.rejected == [] and found.distinct == 4 and found.near_copies["pairs"] == []
    assert {name: count["files"] for name, count in found.by_condition.items()} == {
        "Normal": 2, "Myocardial infarction": 8, "Abnormal heartbeat": 1, "History of MI": 2,
    }  # fmt: skip
    assert found.copies["by_folder"][CONDITIONS[1].folder]["rule"] == "MI(n) = MI(n + 30k)"
    assert found.heart_rate["printed"] == 4 and found.heart_rate["within_5_bpm"] >= 0.75


# --- What is measured on a page


@pytest.fixture(scope="module")
def hearts(tmp_path_factory) -> list[dict[str, np.ndarray]]:
    """Facts of three pages: two hearts on the same form, and the second with another printed rate."""
    folder = tmp_path_factory.mktemp("hearts")
    details = replace(PageDetails.random(np.random.default_rng(1)), heart_rate=74, lead_off=False)
    normal, fast = simulate_recording("Normal", seed=1), simulate_recording("Abnormal heartbeat", seed=5)
    drawn = [(normal, details), (fast, details), (fast, replace(details, heart_rate=158))]
    for i, (recording, on_form) in enumerate(drawn):
        Image.fromarray(draw_page(recording, details=on_form)).save(folder / f"{i}.png", compress_level=1)
    return [_page_facts.measure(folder / f"{i}.png") for i in range(3)]


def test_nothing_of_the_heart_is_left_on_the_erased_page(hearts):
    first, second, other_rate = hearts
    assert np.array_equal(first["erased"], second["erased"])
    assert not np.array_equal(second["erased"], other_rate["erased"])  # the printed rate is
    assert np.array_equal(second["margins"], other_rate["margins"])
    assert first["erased"].min() < 200 and first["margins"].min() < 100  # and there is print left
    assert not np.array_equal(first["beats"], second["beats"])


def test_hashes_of_one_page_are_the_same_and_of_another_different(hearts):
    first, second, again = hearts
    assert np.unpackbits(second["hash_256"] ^ again["hash_256"]).sum() <= 8
    assert np.unpackbits(first["hash_256"] ^ second["hash_256"]).sum() > 14
    assert first["hash_64"].shape == (8,) and first["hash_256"].shape == (32,)


def test_the_hash_follows_its_definition():
    steps = np.repeat(np.arange(9, dtype=np.uint8) * 20, 10)[None].repeat(80, 0)
    assert np.array_equal(audit.dhash(steps, 64), np.full(8, 255)) and not audit.dhash(steps[:, ::-1], 64).any()


@pytest.mark.parametrize("condition", NAMES)
def test_qrs_complexes_are_where_the_simulation_put_them(condition):
    near = total = 0
    for seed in range(2):
        recording = simulate_recording(condition, seed=seed)
        peaks = audit.qrs_columns(read_traces(draw_page(recording, seed=seed))) / PX_PER_SECOND
        truth = np.array(recording.facts["r_peaks_s"])
        truth = truth[(truth > 0.1) & (truth < 9.9)]
        near += sum(np.abs(peaks - at).min() < 0.08 for at in truth)
        total += len(truth)
    assert near / total > 0.9


def test_averaged_beats_are_alike_for_one_heart_only():
    beats = []
    for seed, lead_seed in ((7, 1), (7, 2), (8, 1)):  # the same recording on two forms, and another one
        traces = read_traces(draw_page(simulate_recording("Normal", seed=seed), seed=lead_seed))
        beats.append(audit.averaged_beats(traces, audit.qrs_columns(traces)))
    correlation = audit.beat_correlation(np.stack(beats))
    assert correlation[0, 1] > 0.98 > 0.95 > correlation[0, 2]
    assert np.allclose(np.diag(correlation), 1) and np.allclose(correlation, correlation.T)


# --- Programs


def test_scores_are_those_of_evaluation():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    said = np.where(rng.random(60) < 0.6, labels, rng.integers(0, 4, 60))
    drawn = [(order[12:], order[:12]) for order in (rng.permutation(60) for _ in range(7))]
    score = _no_heart._score(lambda train, held: said[held], labels, drawn, "as_published")
    metrics = [evaluation.evaluate(labels[held], said[held]) for _, held in drawn]
    assert score.mean == pytest.approx(np.mean([m.accuracy for m in metrics]), abs=1e-4)
    assert score.sd == pytest.approx(np.std([m.accuracy for m in metrics], ddof=1), abs=1e-4)
    assert score.balanced_accuracy == pytest.approx(np.mean([m.balanced_accuracy for m in metrics]), abs=1e-4)
    assert score.macro_f1 == pytest.approx(np.mean([m.macro_f1 for m in metrics]), abs=1e-4)


def test_programs_find_what_is_there_and_nothing_where_nothing_is():
    rng = np.random.default_rng(0)
    labels, content = rng.integers(0, 4, 200), np.arange(200)
    sides = splits.folds(
        pd.DataFrame(
            {"condition": [NAMES[i] for i in labels], "label": labels, "copy_group": content, "id_group": content}
        ),
        k=5,
    )
    drawn = [(side.train, side.validation) for side in sides]

    def mean(program):
        return _no_heart._score(program, labels, drawn, "grouped").mean

    telling, silent = labels * 10.0 + rng.random(200), rng.random(200)
    assert mean(_no_heart._binned(labels, telling)) > 0.8 and mean(_no_heart._binned(labels, silent)) < 0.4
    pictures = rng.integers(0, 255, (200, 6, 8), np.uint8)
    assert mean(_no_heart._linear(labels, content, pictures)) < 0.4
    pictures[np.arange(200), 2, labels] = 255
    pictures[:, 2, 4:] = 0
    assert mean(_no_heart._linear(labels, content, pictures)) > 0.6
    assert mean(_no_heart._look_up(labels, content // 2)) < 0.6 < mean(_no_heart._look_up(labels, labels))
