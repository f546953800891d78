"""The sober comparator: its models on simulated hearts, and the one that comes with the course against its record."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn
import typer.testing
from packaging.version import Version

from heartai_utils import cli, page
from heartai_utils._runs import RunError
from heartai_utils.alike import traces_of
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import read_catalogue
from heartai_utils.simulation import Recording, simulate_recording
from heartai_utils.trace_models import (
    CNN,
    COMPARATOR,
    Boosting,
    Both,
    TracePages,
    load_comparator,
    read_features,
    scaled,
    untrained,
)
from heartai_utils.verdict import NAMED, PageReader

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from comparator import simulated

MEASURED = COMPARATOR.parents[1] / "measured" / "comparator.json"


def hearts(seeds: range) -> tuple[TracePages, np.ndarray]:
    pages = TracePages.read(traces_of(simulate_recording(seed % 4, seed)) for seed in seeds)
    return pages, np.array([seed % 4 for seed in seeds])


@pytest.fixture(scope="module")
def training() -> tuple[TracePages, np.ndarray]:
    return hearts(range(96))


@pytest.fixture(scope="module")
def others() -> tuple[TracePages, np.ndarray]:
    return hearts(range(1000, 1032))


def short_cnn(training) -> CNN:
    """Trained for a third of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CNN, "EPOCHS", 20)
        return CNN().fit(*training, seed=1)


@pytest.fixture(scope="module")
def small_cnn(training) -> CNN:
    return short_cnn(training)


@pytest.fixture(scope="module")
def reader() -> PageReader:
    return PageReader("traces")


def is_probabilities(found: np.ndarray, pages: int) -> bool:
    return found.shape == (pages, 4) and (found >= 0).all() and np.allclose(found.sum(axis=1), 1)


# --- The models ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_boosting_recognises_hearts_it_has_not_seen(training, others):
    pages, labels = others
    found = Boosting().fit(*training, seed=1).predict_proba(pages)
    assert is_probabilities(found, len(labels))
    assert (found.argmax(axis=1) == labels).mean() > 0.6


@pytest.mark.slow
def test_the_cnn_recognises_hearts_it_has_not_seen(small_cnn, others):
    pages, labels = others
    found = small_cnn.predict_proba(pages)
    assert is_probabilities(found, len(labels))
    assert (found.argmax(axis=1) == labels).mean() > 0.5


@pytest.mark.slow
def test_one_seed_gives_one_model(training, others, small_cnn):
    assert (short_cnn(training).predict_proba(others[0]) == small_cnn.predict_proba(others[0])).all()
    one, same, other = (Boosting().fit(*training, seed=seed).predict_proba(others[0]) for seed in (3, 3, 4))
    assert (one == same).all() and (one != other).any()
    first, second = (untrained(seed).get_weights()[0] for seed in (3, 4))
    assert (first != second).any()


@pytest.mark.slow
def test_both_is_the_mean(training, others, small_cnn):
    model = Both()
    model.boosting.fit(*training, seed=1)
    model.cnn = small_cnn
    parts = [part.predict_proba(others[0]) for part in (model.boosting, model.cnn)]
    assert np.allclose(model.predict_proba(others[0]), np.mean(parts, axis=0))


@pytest.mark.slow
def test_a_condition_never_shown_is_never_said(training, others):
    pages, labels = training
    known = np.flatnonzero(labels != 1)
    found = Boosting().fit(pages.take(known), labels[known]).predict_proba(others[0])
    assert is_probabilities(found, len(others[1])) and (found[:, 1] == 0).all()


@pytest.mark.slow
def test_each_condition_counts_alike(training, others):
    """Of a rare condition more pages are recognised than its share of the pages would have."""
    pages, labels = training
    kept = np.concatenate([np.flatnonzero(labels == label)[: 4 if label == 1 else 24] for label in range(4)])
    found = Boosting().fit(pages.take(kept), labels[kept]).predict_proba(others[0])
    assert (found.argmax(axis=1) == 1).mean() > 4 / len(kept)


@pytest.mark.slow
def test_pages_without_beats_or_anything_read_are_judged_too(small_cnn, training):
    flat = traces_of(Recording(np.zeros((12, 5000), np.float32), 500))
    blind = replace(flat, unread=~flat.unread, strip_unread=~flat.strip_unread)
    pages = TracePages.read([flat, blind])
    assert is_probabilities(small_cnn.predict_proba(pages), 2)
    assert is_probabilities(Boosting().fit(*training).predict_proba(pages), 2)


@pytest.mark.slow
def test_columns_are_found_by_name(training, others):
    model = Boosting().fit(*training)
    pages = others[0]
    turned = TracePages(pages.features[pages.features.columns[::-1]], pages.beats, pages.leads)
    assert (model.predict_proba(pages) == model.predict_proba(turned)).all()


def test_a_temperature_changes_how_sure_a_model_is_and_no_verdict():
    found = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    assert np.allclose(scaled(found, 1), found, atol=1e-5)
    warm = scaled(found, 3)
    assert is_probabilities(warm, 50) and (warm.argmax(axis=1) == found.argmax(axis=1)).all()
    assert (warm.max(axis=1) < found.max(axis=1)).all()


# --- The one that comes with the course ---------------------------------------------------------------------------


def test_the_stored_files_are_small_and_hold_no_pickles():
    files = list(COMPARATOR.parent.glob("comparator.*"))
    assert {path.name for path in files} == {"comparator.json", "comparator.csv.gz", "comparator.keras"}
    assert sum(path.stat().st_size for path in files) < 1_000_000
    with zipfile.ZipFile(COMPARATOR.with_suffix(".keras")) as archive:
        assert not [name for name in archive.namelist() if "pkl" in name or "pickle" in name]


def test_the_stored_model_says_what_its_record_says(reader):
    recorded = np.array(reader.model.record["simulated"]["probabilities"])
    found = reader.model.model.predict_proba(simulated(6))
    older = Version(sklearn.__version__) < Version("1.8")  # which grows somewhat other trees
    assert np.abs(found - recorded[:6]).max() < (0.06 if older else 0.02)
    assert (found.argmax(axis=1) == recorded[:6].argmax(axis=1)).mean() > 0.8


def test_a_recorded_fold_is_reproduced_from_the_stored_measurements():
    """Other pages judge than those fitted to: the score in the record is not of pages known by heart."""
    measured = json.loads(MEASURED.read_text())
    features, labels = read_features(COMPARATOR.with_suffix(".csv.gz"))
    assert [md5 for _, md5, _ in measured["pages"]] == list(features.index)
    assert [label for *_, label in measured["pages"]] == list(labels)
    held = np.array(measured["folds"][0]) == 0
    pages = TracePages(features, np.empty((len(labels), 0)), np.empty((len(labels), 0)))
    found = Boosting().fit_features(features[~held], labels[~held], seed=0).predict_proba(pages.take(held))
    recorded = np.array(measured["probabilities"]["boosting"][0])[held]
    assert (found.argmax(axis=1) == recorded.argmax(axis=1)).mean() > 0.9
    accuracy = (found.argmax(axis=1) == labels[held]).mean()
    assert accuracy == pytest.approx(measured["scores"]["boosting"]["accuracy"]["folds"][0], abs=0.05)


def test_the_record_of_the_stored_model_is_what_was_measured(reader):
    measured = json.loads(MEASURED.read_text())["scores"]["both"]
    for score, interval in reader.model.record["scores"].items():
        assert interval["mean"] == pytest.approx(measured[score]["mean"], abs=1e-4)


@pytest.mark.parametrize("name, content", [("comparator.csv.gz", b"no table"), ("comparator.keras", b""),
                                           ("comparator.json", b"{}"), ("comparator.json", None)])  # fmt: skip
def test_damaged_files_are_told(name, content, tmp_path):
    for path in COMPARATOR.parent.glob("comparator.*"):
        shutil.copy(path, tmp_path)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(RunError, match="restore"):
        load_comparator(tmp_path / "comparator.json")


# --- heartai predict ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.jpg"
    path.write_bytes(page.encode_page(page.draw_page(simulate_recording("Abnormal heartbeat", 2), seed=2)))
    return path


def test_predict_offers_the_comparator(page_file, tmp_path):
    """In the same form as the Vision Transformer, and with the same patience (tests/test_cli.py)."""
    (tmp_path / "cut.jpg").write_bytes(page_file.read_bytes()[:50_000])
    arguments = ["predict", str(tmp_path / "cut.jpg"), str(page_file), "--json", "--model", "traces"]
    result = typer.testing.CliRunner().invoke(cli.app, arguments)
    assert result.exit_code == 2 and "cut.jpg" in result.stderr, result.output
    said = json.loads(result.stdout)
    assert list(said["probabilities"]) == list(NAMES) and "traces" in said["about"]
    assert sum(said["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_help_tells_the_names_of_the_models():
    told = typer.testing.CliRunner().invoke(cli.app, ["predict", "--help"], env={"COLUMNS": "300"}).output
    assert all(name in told for name in NAMED)


def test_many_pages_are_judged_as_single_ones(reader, page_file):
    one, missing, other = reader.read_all([page_file, "nowhere.jpg", page_file])
    assert isinstance(missing, page.PageError)
    assert one.probabilities == other.probabilities
    assert one.probabilities == pytest.approx(reader.read(page_file).probabilities, abs=1e-3)


def test_a_model_that_is_not_there_is_told_with_the_names_that_are(tmp_path):
    with pytest.raises(RunError, match="course, best, traces"):
        PageReader(tmp_path / "traces")  # a path is no name


def test_real_pages_are_judged(reader, real_pages):
    """It was fitted to these, so it knows them."""
    pages = read_catalogue(real_pages)[0].drop_duplicates("copy_group").iloc[::60]
    verdicts = reader.read_all(pages["path"])
    assert (
        np.mean([verdict.condition == row.condition for verdict, row in zip(verdicts, pages.itertuples(), strict=True)])
        > 0.8
    )
