"""Chapter 02: its own definitions, and what it plants."""

from __future__ import annotations

import chapter_code
import numpy as np
import pandas as pd
import pytest
import solution_code
from hypothesis import given
from hypothesis import strategies as st

from heartai_utils import audit, dataset, downsampling, evaluation, exercises, splits


@pytest.fixture(scope="module")
def published():
    return dataset.manifest_catalogue()


@pytest.fixture(scope="module")
def chapter():
    """The functions that the chapter writes in the open."""
    names = {"np": np, "pd": pd, "downsampling": downsampling, "evaluation": evaluation, "splits": splits}
    return chapter_code.definitions("02_the_dataset_and_its_traps", NAMES=dataset.NAMES, seed=0, **names)


def test_random_split_uses_each_file_once(chapter):
    train, held = chapter["random_split"](928, 0.2, np.random.default_rng(3))
    assert len(held) == 186
    assert sorted([*train, *held]) == list(range(928))


def test_look_up_knows_what_it_saw_and_nothing_else(chapter, published):
    md5, labels = published["md5"].to_numpy(), published["label"].to_numpy()
    rows = np.arange(928)
    assert (chapter["look_up"](md5, labels, rows, rows) == labels).all()
    unseen = chapter["look_up"](md5, labels, rows[labels != 0], rows[labels == 0])
    assert set(unseen) == {2}  # most contents, not most files, are of Abnormal heartbeat
    # eight files of one MI page against two different Normal ones
    few = np.concatenate([rows[md5 == md5[labels == 1][0]], rows[labels == 0][:2]])
    assert set(chapter["look_up"](md5, labels, few, rows[labels == 3])) == {0}


def test_look_up_scores_what_the_audit_finds(chapter, published):
    scores = chapter["scores_of_look_up"](published, 0.2)
    found = audit.audit_manifest(seed=0).baselines["checksum_look_up"]
    assert scores.mean() == pytest.approx(found.mean, abs=1e-4)
    assert scores.std(ddof=1) == pytest.approx(found.sd, abs=1e-4)
    assert abs(scores.mean() - 0.901) < 0.005


def test_steps_and_copies_are_those_of_the_names(chapter, published):
    steps = chapter["steps"](published)
    assert {name: sorted(found) for name, found in steps.items()} == {
        "Normal": [0, 142], "Myocardial infarction": [*range(0, 240, 30)],
        "Abnormal heartbeat": [0], "History of MI": [0, 86],
    }  # fmt: skip
    counted = chapter["copies_by_condition"](published)
    assert counted["distinct"].to_dict() == dataset.PUBLISHED_PAGES
    assert counted.loc["Myocardial infarction", 8] == 29


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 16]))
def test_dhash_is_that_of_the_audit(chapter, seed, side):
    grey = np.random.default_rng(seed).integers(0, 256, (91, 128), dtype=np.uint8)
    assert (np.packbits(chapter["dhash"](grey, side)) == audit.dhash(grey, side * side)).all()


def test_what_lies_between_conditions(chapter):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 50)
    images = np.full((200, 2, 3), 255, np.uint8)
    images[:, 0, 0] = 60 * labels  # the condition decides
    images[:, 0, 1] = rng.integers(0, 256, 200)  # varies, whatever the condition
    images[:, 1, 0] = 250 + labels  # decided, but by hardly anything
    share = chapter["between_conditions"](images, labels)
    assert share[0, 0] == pytest.approx(1)
    assert 0 < share[0, 1] < 0.1
    assert share[1].tolist() == [0, 0, 0] and share[0, 2] == 0


def test_heart_rate_rule_is_worth_what_the_card_says(chapter, published):
    assert chapter["heart_rate_rule"](np.array([85.0, 86.0, np.nan]), 85).tolist() == [0, 2, 0]
    accuracy, macro_f1 = chapter["score_rate"](published)
    assert 0.66 < accuracy < 0.74 and 0.36 < macro_f1 < 0.43
    constant = chapter["score_rate"](published.assign(printed_hr_bpm=70.0))
    assert constant[0] == pytest.approx(233 / 491, abs=0.01)  # the majority class


def test_twin_share_is_what_random_splits_give(chapter, published):
    rng, md5 = np.random.default_rng(0), published["md5"].to_numpy()
    drawn = []
    for _ in range(100):
        train, held = chapter["random_split"](928, 0.2, rng)
        drawn.append(np.isin(md5[held], md5[train]).mean())
    twin_share = solution_code.solution("check_twin_share")
    expected = twin_share(list(dataset.PUBLISHED_PAGES.values()), list(dataset.PUBLISHED_COPIES.values()), 0.2)
    assert np.mean(drawn) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_hidden_shortcut(seed, capsys):
    [answer] = exercises.hidden_shortcut(seed).items()
    assert exercises.hidden_shortcut(seed) == dict([answer])
    exercises.check_hidden_shortcut(None, seed)
    assert capsys.readouterr().out.startswith("Not answered yet")
    exercises.check_hidden_shortcut(answer, seed)
    assert capsys.readouterr().out.startswith("Right")


def test_every_hidden_shortcut_can_be_planted_and_found(chapter, tmp_path):
    """What the chapter plants is the brightest place outside the grid on the map it draws."""
    assert {tuple(exercises.hidden_shortcut(seed)) for seed in range(40)} == {(n,) for n in exercises.HIDDEN_SHORTCUTS}
    wishes = {"quality": "History of MI", "date": "Normal"}
    pages = dataset.simulate_set(tmp_path / "set", 16, 5, shortcuts=wishes, progress=False, workers=1)
    images = np.stack([downsampling.shrink(path, "area") for path in pages["path"]])
    share = chapter["between_conditions"](images, pages["label"].to_numpy())
    share[32:178, 15:252] = 0
    row, column = np.unravel_index(share.argmax(), share.shape)
    assert row >= 177 and column > 200 and share.max() > 0.7  # the date, at the lower right
