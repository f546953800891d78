"""Chapter 02: what its checks accept and reject, and its own definitions."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import nbformat
import numpy as np
import pytest

from heartai_utils import dataset, exercises, splits
from heartai_utils.exercises import NotYet

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "02_the_dataset_and_its_traps.ipynb"
STEPS = {"Normal": (142, 284), "PMI": (86, 172), "MI": (30, 240), "HB": (233, 233)}


def other_names(file, absent=("MI(215).jpg",), first=1):
    stem, number = file[:-5].split("(")
    step, files = STEPS[stem]
    same = [f"{stem}({n}).jpg" for n in range(first, files + 1) if (n - int(number)) % step == 0]
    return [name for name in same if name != file and name not in absent]


def twin_share(pages, copies, held):
    files = [page * copy for page, copy in zip(pages, copies, strict=True)]
    return np.average([1 - held ** (copy - 1) for copy in copies], weights=files)


@pytest.fixture(scope="module")
def definitions():
    """The functions that the chapter writes in the open, with the names they use."""
    catalogue = dataset.manifest_catalogue()
    names = {"np": np, "md5": catalogue["md5"].to_numpy(), "condition": catalogue["condition"].to_numpy()}
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        for name in ("random_split", "look_up", "heart_rate_rule"):
            if cell.cell_type == "code" and f"def {name}(" in cell.source:
                source = cell.source[cell.source.index(f"def {name}(") :]
                body = source.split("\n\n\n")[0]
                exec(body, names | {"NAMES": dataset.NAMES}, names)
    return names


def test_random_split_uses_each_file_once(definitions):
    train, held = definitions["random_split"](928, 0.2, np.random.default_rng(3))
    assert len(held) == 186
    assert sorted([*train, *held]) == list(range(928))


def test_look_up_knows_what_it_saw_and_nothing_else(definitions):
    md5, condition = definitions["md5"], definitions["condition"]
    rows = np.arange(928)
    assert (definitions["look_up"](rows, rows) == condition).all()
    unseen = definitions["look_up"](rows[condition == "Abnormal heartbeat"], rows[condition == "Normal"])
    assert set(unseen) == {"Abnormal heartbeat"}
    split = splits.as_published(dataset.manifest_catalogue(), seed=0)
    right = definitions["look_up"](split.train, split.validation) == condition[split.validation]
    twin = np.isin(md5[split.validation], md5[split.train])
    assert right[twin].all() and 0.8 < right.mean() < 0.98


def test_other_names(capsys):
    exercises.check_other_names(lambda file: None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_other_names(other_names)
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda file: other_names(file, absent=()), r"MI\(215\)"),
        (lambda file: [*other_names(file), file], "only its"),
        (lambda file: other_names(file, first=0)[:1], "other names are missing|not published"),
        (lambda file: other_names(file)[:1], "missing"),
        (lambda file: ["PMI(13).jpg"], "another checksum"),
        (lambda file: 14, "list of names"),
    ],
)
def test_other_names_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_other_names(answer)


def test_twin_share(capsys):
    exercises.check_twin_share(lambda pages, copies, held: None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_twin_share(twin_share)
    assert capsys.readouterr().out.startswith("Right")


def test_twin_share_is_what_random_splits_give(definitions):
    rng, md5 = np.random.default_rng(0), definitions["md5"]
    drawn = []
    for _ in range(100):
        train, held = definitions["random_split"](928, 0.2, rng)
        drawn.append(np.isin(md5[held], md5[train]).mean())
    expected = twin_share(dataset.PUBLISHED_PAGES.values(), dataset.PUBLISHED_COPIES.values(), 0.2)
    assert np.mean(drawn) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda p, c, h: twin_share(p, np.add(c, 1), h), "itself is held out|for the published"),
        (lambda p, c, h: np.average([1 - h**k for k in c], weights=np.multiply(p, c)), "itself is held out"),
        (lambda p, c, h: np.average([1 - h ** (k - 1) for k in c], weights=p), "by its files"),
        (lambda p, c, h: 1 - twin_share(p, c, h), "without a twin"),
        (lambda p, c, h: twin_share(p, c, 1 - h), "held-out share"),
        (lambda p, c, h: 0.651, "arguments"),
        (lambda p, c, h: twin_share(p, c, 0.2), "arguments"),
    ],
)
def test_twin_share_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_twin_share(answer)


@lru_cache
def published_splits():
    catalogue = dataset.manifest_catalogue()
    return catalogue, [splits.as_published(catalogue, seed=seed) for seed in range(50)]


def look_up_with_rate(limit=90, seeds=50, default=None):
    catalogue, drawn = published_splits()
    scores = []
    for split in drawn[:seeds]:
        train, held = catalogue.iloc[split.train], catalogue.iloc[split.validation]
        seen = dict(zip(train["md5"], train["label"], strict=True))
        guess = (2 if default == 2 or bpm > limit else 0 for bpm in held["printed_hr_bpm"])
        said = [seen.get(md5, other) for md5, other in zip(held["md5"], guess, strict=True)]
        scores.append(np.mean(np.array(said) == held["label"]))
    return np.mean(scores)


def test_look_up_with_rate(capsys):
    exercises.check_look_up_with_rate(None)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_look_up_with_rate(look_up_with_rate())
    assert capsys.readouterr().out.startswith("Right")


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda: 100 * look_up_with_rate(), "per cent"),
        (lambda: look_up_with_rate(default=2), "still"),
        (lambda: look_up_with_rate(seeds=1), "one split"),
        (lambda: look_up_with_rate(limit=60), "above 90 bpm"),
        (lambda: np.array([0.9, 0.9]), "one number"),
    ],
)
def test_look_up_with_rate_rejects(answer, hint):
    with pytest.raises(NotYet, match=hint):
        exercises.check_look_up_with_rate(answer())
