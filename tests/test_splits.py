"""Splits: what must stay together stays together, and every condition gets its share."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from heartai_utils import dataset, splits
from heartai_utils.conditions import NAMES


@st.composite
def catalogues(draw, min_pages=4, max_pages=40):
    """Catalogues with copies under one condition, and printed IDs across conditions."""
    distinct = draw(st.integers(min_pages, max_pages))
    label = np.array(draw(st.lists(st.integers(0, 3), min_size=distinct, max_size=distinct)))
    ids = np.array(draw(st.lists(st.integers(0, distinct), min_size=distinct, max_size=distinct)))
    times = np.array(draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=distinct, max_size=distinct)))
    page = np.repeat(np.arange(distinct), times)
    page = page[np.argsort(draw(st.lists(st.floats(0, 1), min_size=len(page), max_size=len(page))))]
    return catalogue_of(label[page], [f"md5-{n}" for n in page], [f"ID{n}" for n in ids[page]])


def catalogue_of(label, md5, ids) -> pd.DataFrame:
    files = [f"folder/page({n}).jpg" for n in range(len(label))]
    columns = {"file": files, "condition": [NAMES[n] for n in label], "label": np.asarray(label, np.int64)}
    table = pd.DataFrame(columns | {"md5": md5, "copy_group": md5, "id_group": ids})
    return table.set_index(np.arange(len(table))[::-1] * 7)  # positions, not index labels, are what counts


def try_split(function, *args, **options):
    """The result, or None where the catalogue is too small: that error is tested by itself."""
    try:
        return function(*args, **options)
    except ValueError as error:
        assert "use more pages" in str(error)
        assume(False)


def groups(catalogue: pd.DataFrame, rows: np.ndarray, column: str) -> set[str]:
    return set(catalogue[column].to_numpy()[rows])


def check(split: splits.Split, catalogue: pd.DataFrame) -> None:
    both = np.concatenate([split.train, split.validation])
    for side in (split.train, split.validation):
        assert side.dtype == np.int64 and len(side) and (np.diff(side) > 0).all()
    assert len(np.unique(both)) == len(both) and both.min() >= 0 and both.max() < len(catalogue)
    if split.how == "as_published":
        assert len(both) == len(catalogue)
    else:
        assert len(both) == catalogue["copy_group"].nunique()
        assert groups(catalogue, both, "copy_group") == set(catalogue["copy_group"])
        assert splits.shared_copies(split, catalogue) == 0
    if split.how == "grouped":
        for column in ("copy_group", "id_group"):
            parted = groups(catalogue, split.train, column) & groups(catalogue, split.validation, column)
            assert not parted, column


@settings(max_examples=150, deadline=None)
@given(catalogues(), st.sampled_from(splits.HOWS), st.integers(0, 2**32), st.floats(0.1, 0.6))
def test_a_hold_out_parts_nothing_that_belongs_together(catalogue, how, seed, share):
    before = catalogue.copy(deep=True)
    split = try_split(splits.split, catalogue, how, validation=share, seed=seed)
    check(split, catalogue)
    again = splits.split(catalogue, how, validation=share, seed=seed)
    assert np.array_equal(split.train, again.train) and np.array_equal(split.validation, again.validation)
    pd.testing.assert_frame_equal(catalogue, before)
    assert (split.how, split.seed) == (how, seed)


@settings(max_examples=100, deadline=None)
@given(catalogues(), st.sampled_from(splits.HOWS), st.integers(2, 5), st.integers(1, 3), st.integers(0, 99))
def test_each_page_is_validated_once_in_each_repeat(catalogue, how, k, repeats, seed):
    before = catalogue.copy(deep=True)
    made = try_split(splits.folds, catalogue, how, k=k, repeats=repeats, seed=seed)
    assert [(s.repeat, s.fold) for s in made] == list(itertools.product(range(repeats), range(k)))
    for split in made:
        check(split, catalogue)
    used = np.union1d(made[0].train, made[0].validation)
    for repeat in range(repeats):
        validated = np.concatenate([s.validation for s in made if s.repeat == repeat])
        assert np.array_equal(np.sort(validated), used)
    pd.testing.assert_frame_equal(catalogue, before)


@settings(max_examples=100, deadline=None)
@given(catalogues(min_pages=10), st.sampled_from(["as_published", "distinct"]), st.floats(0.2, 0.5), st.integers(0, 9))
def test_pages_without_groups_are_shared_out_to_the_page(catalogue, how, share, seed):
    split = try_split(splits.split, catalogue, how, validation=share, seed=seed)
    counts = splits.describe(split, catalogue)
    away = np.abs(counts["validation"] - share * counts.sum(axis=1))
    assert (away[list(NAMES)] < 1).all() and away["All"] <= 2
    made = try_split(splits.folds, catalogue, how, k=4, seed=seed)
    folds = np.array([splits.describe(s, catalogue)["validation"] for s in made])
    assert (np.ptp(folds, axis=0) <= 1).all()


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(0, 2)] * 4).filter(any), min_size=4, max_size=9),
    st.sampled_from([(0.8, 0.2), (0.5, 0.5), (1 / 3, 1 / 3, 1 / 3)]),
    st.integers(0, 9),
)
def test_groups_are_shared_out_to_a_page_of_the_best_possible(counts, shares, seed):
    counts, shares = np.array(counts[: 9 if len(shares) == 2 else 7]), np.array(shares)
    part = splits._assign(counts, shares, np.random.default_rng(seed))
    parts = np.array(list(itertools.product(range(len(shares)), repeat=len(counts))) + [tuple(part)])
    pages = np.stack([(parts == p) @ counts for p in range(len(shares))], axis=1)
    worst = np.abs(pages - shares[:, None] * counts.sum(axis=0)).max(axis=(1, 2))
    assert worst[-1] <= worst.min() + 1 + 1e-9


def best_worst(counts: np.ndarray, shares: np.ndarray) -> float:
    """The least possible largest excess of a condition in a part, by mixed-integer programming (HiGHS)."""
    units, parts, conditions = len(counts), len(shares), counts.shape[1]
    once = np.kron(np.eye(units), np.ones(parts))  # variables: unit u in part p, and the largest excess
    pages = np.stack([np.kron(counts[:, c], np.eye(parts)[p]) for p in range(parts) for c in range(conditions)])
    quota = np.outer(shares, counts.sum(axis=0)).ravel()
    column = np.ones((len(quota), 1))
    limits = [
        LinearConstraint(np.hstack([once, np.zeros((units, 1))]), 1, 1),
        LinearConstraint(np.hstack([pages, -column]), -np.inf, quota),
        LinearConstraint(np.hstack([pages, column]), quota, np.inf),
    ]
    whole = np.append(np.ones(units * parts), 0)
    upper = np.append(np.ones(units * parts), np.inf)
    found = milp(1 - whole, integrality=whole, bounds=Bounds(0, upper), constraints=limits)
    assert found.success, found.message
    return found.fun


@pytest.mark.parametrize("seed", [*range(8), 78, 501, 1272])
def test_large_groups_are_shared_out_to_a_page_of_the_best_possible(seed):
    """Groups of up to a dozen pages, mostly of one condition: harder than anything published."""
    rng = np.random.default_rng(seed)
    parts, groups = 2 + seed % 3, int(rng.integers(8, 17))
    counts = rng.poisson(rng.gamma(0.7, rng.uniform(2, 5), (groups, 1)) * rng.dirichlet([0.4] * 4, groups))
    counts, shares = counts[counts.sum(axis=1) > 0], np.full(parts, 1 / parts)
    part = splits._assign(counts, shares, rng)
    pages = np.stack([counts[part == p].sum(axis=0) for p in range(parts)])
    worst = np.abs(pages - np.outer(shares, counts.sum(axis=0))).max()
    assert worst <= best_worst(counts, shares) + 1 + 1e-6


def test_chains_of_groups_stay_together():
    """Page 0 shares an ID with 1, whose copy 2 bears the ID of 3: all on one side, though 0 and 3 share nothing."""
    label = [0] * 4 + [1] * 4
    catalogue = catalogue_of(label, list("abbcdefg"), ["i", "i", "j", "j", "k", "l", "m", "n"])
    for seed in range(20):
        split = splits.grouped(catalogue, validation=0.3, seed=seed)
        chain = [row in split.validation for row in (0, 1, 3)]
        assert all(chain) or not any(chain)
        assert 2 not in np.concatenate([split.train, split.validation])  # a copy of page 1


def test_every_page_is_as_likely_as_another_to_be_held_out():
    catalogue = catalogue_of([0] * 60 + [2] * 20, [f"{n}" for n in range(80)], [f"{n}" for n in range(80)])
    held = np.zeros(80)
    for seed in range(400):
        held[splits.grouped(catalogue, validation=0.25, seed=seed).validation] += 1
    assert held.sum() == 400 * 20 and np.abs(held - 100).max() < 5 * np.sqrt(400 * 0.25 * 0.75)


# --- The published dataset


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    return dataset.manifest_catalogue()


@pytest.fixture(scope="module")
def hundreds(published) -> list[splits.Split]:
    return [splits.as_published(published, seed=seed) for seed in range(300)]


def test_two_in_three_validation_files_have_a_twin_in_training(published, hundreds):
    assert np.mean([splits.shared_copies(s, published) for s in hundreds]) == pytest.approx(0.65, abs=0.01)


def test_looking_the_checksum_up_scores_nine_in_ten(published, hundreds):
    md5, label = published["md5"].to_numpy(), published["label"].to_numpy()

    def score(split: splits.Split) -> float:
        known = dict(zip(md5[split.train], label[split.train], strict=True))
        return np.mean([known.get(md5[row], 2) == label[row] for row in split.validation])

    scores = [score(split) for split in hundreds]
    assert np.mean(scores) == pytest.approx(0.901, abs=0.01) and np.std(scores) == pytest.approx(0.03, abs=0.01)
    assert score(splits.distinct(published)) == pytest.approx(233 / 491, abs=0.01)  # nothing left to look up


def test_grouped_folds_of_the_published_pages_have_their_shares_to_the_page(published):
    made = splits.folds(published, "grouped", k=5, repeats=3, seed=7)
    for split in made:
        check(split, published)
        counts = splits.describe(split, published)
        assert list(counts.index) == [*NAMES, "All"] and counts.sum(axis=1).tolist() == [142, 30, 233, 86, 491]
        assert (np.abs(counts["validation"] - np.array([28.4, 6, 46.6, 17.2, 98.2])) <= 1).all()
    assert not np.array_equal(made[0].validation, made[5].validation)  # the repeats differ


def test_the_three_ways_by_name_and_by_function(published):
    for how in splits.HOWS:
        by_name, by_function = splits.split(published, how, seed=3), getattr(splits, how)(published, seed=3)
        assert np.array_equal(by_name.validation, by_function.validation) and by_name.how == by_function.how == how
    assert len(splits.as_published(published).validation) == 186 and len(splits.distinct(published).validation) == 98


# --- Files of splits


@settings(max_examples=50, deadline=None)
@given(catalogue=catalogues(), how=st.sampled_from(splits.HOWS), random=st.randoms(use_true_random=False))
def test_saved_splits_load_on_the_same_pages_in_any_order(catalogue, how, random, tmp_path_factory):
    made = try_split(splits.folds, catalogue, how, k=2, seed=1)
    path = tmp_path_factory.getbasetemp() / "folds.json"
    splits.save_splits(path, made, catalogue)
    order = random.sample(range(len(catalogue)), len(catalogue))
    shuffled = catalogue.iloc[order]
    for old, new in zip(made, splits.load_splits(path, shuffled), strict=True):
        assert (old.how, old.seed, old.repeat, old.fold) == (new.how, new.seed, new.repeat, new.fold)
        check(new, shuffled)
        for side in ("train", "validation"):
            files = [set(c["file"].iloc[getattr(s, side)]) for c, s in ((catalogue, old), (shuffled, new))]
            md5 = [sorted(c["md5"].iloc[getattr(s, side)]) for c, s in ((catalogue, old), (shuffled, new))]
            assert files[0] == files[1] and md5[0] == md5[1]


def test_distinct_pages_are_found_under_any_name_but_copies_only_under_their_own(published, tmp_path):
    originals = published[~published["md5"].duplicated()].reset_index(drop=True)
    renamed = originals.assign(file=[f"mine/{n}.jpg" for n in range(len(originals))])
    splits.save_splits(tmp_path / "grouped.json", [splits.grouped(published)], published)
    (loaded,) = splits.load_splits(tmp_path / "grouped.json", renamed)
    check(loaded, renamed)
    splits.save_splits(tmp_path / "files.json", [splits.as_published(published)], published)
    with pytest.raises(ValueError, match="928 pages, 437 of them not in this catalogue"):
        splits.load_splits(tmp_path / "files.json", originals)
    with pytest.raises(ValueError, match="491 pages, 1 of them not in this catalogue: Normal Person"):
        splits.load_splits(tmp_path / "grouped.json", originals.iloc[1:])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "\xff", '{"pages": [], "splits": []}', '{"pages": [["a", "b"]], "splits": [{"how": 1}]}']
)
def test_other_files_are_no_splits(tmp_path, text, published):
    (tmp_path / "other.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match="is not a file of splits"):
        splits.load_splits(tmp_path / "other.json", published)


def test_page_numbers_outside_the_list_are_refused(tmp_path, published):
    path = tmp_path / "folds.json"
    splits.save_splits(path, [splits.grouped(published)], published)
    record = json.loads(path.read_text())
    record["splits"][0]["train"][0] = 491
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="a page number outside"):
        splits.load_splits(path, published)


# --- What cannot be split


@pytest.mark.parametrize("how", splits.HOWS)
def test_too_few_pages_are_refused(how):
    nothing = catalogue_of([], [], [])
    alone = catalogue_of([1], ["a"], ["i"])
    for catalogue in (nothing, alone):
        with pytest.raises(ValueError, match="do not make 2 parts"):
            splits.split(catalogue, how)
    three = catalogue_of([0, 0, 0], list("abc"), list("ijk"))
    with pytest.raises(ValueError, match="leave none for a part of 10%"):
        splits.split(three, how, validation=0.1)
    with pytest.raises(ValueError, match=r"3 group\(s\) of pages do not make 5 parts"):
        splits.folds(three, how, k=5)


def test_one_printed_id_on_all_pages_cannot_be_parted():
    catalogue = catalogue_of([0, 1, 2, 3], list("abcd"), ["i"] * 4)
    with pytest.raises(ValueError, match=r"1 group\(s\) of pages do not make 2 parts"):
        splits.grouped(catalogue)
    assert len(splits.distinct(catalogue, validation=0.5).validation) == 2


@pytest.mark.parametrize("share", [0, 1, -0.1, 2, float("nan")])
def test_shares_outside_the_range_are_refused(published, share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        splits.split(published, validation=share)


def test_unknown_ways_numbers_and_catalogues_are_refused(published):
    with pytest.raises(ValueError, match="'by_patient': use one of as_published, distinct, grouped"):
        splits.split(published, "by_patient")
    with pytest.raises(ValueError, match="at least two folds"):
        splits.folds(published, k=1)
    with pytest.raises(ValueError, match="at least two folds and one repeat"):
        splits.folds(published, repeats=0)
    with pytest.raises(ValueError, match="lacks values for id_group"):
        splits.split(published.drop(columns="id_group"))
    with pytest.raises(ValueError, match="lacks values for copy_group"):
        splits.split(published.assign(copy_group=[None, *published["copy_group"][1:]]))
