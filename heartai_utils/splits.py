"""Which pages train and which validate: over files, over distinct pages, or with whole groups kept together.

The published works draw files at random, and many files are copies of one another. `grouped` keeps every copy
and every printed ID on one side. All three are stratified by condition, and a file written by `save_splits` lets
two people use the very same folds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from heartai_utils.conditions import NAMES
from heartai_utils.dataset import write_whole

HOWS = ("as_published", "distinct", "grouped")

# How much an uneven number of pages counts beside an uneven number of one condition: it only breaks ties.
_TOTAL_WEIGHT = 0.1
_ATTEMPTS = 20  # at dividing groups to within a page of every share; pages without groups need one


@dataclass(frozen=True, eq=False)
class Split:
    """Two sides of a catalogue.

    Attributes:
        train: (n,) int64, positions (not index labels) of the training pages in the catalogue, ascending.
        validation: (m,) int64, positions of the validation pages, ascending.
        how: "as_published", "distinct" or "grouped".
        seed: what it was drawn with.
        repeat, fold: its place among `folds`; 0 and 0 for a hold-out split.
    """

    train: np.ndarray
    validation: np.ndarray
    how: str
    seed: int
    repeat: int = 0
    fold: int = 0


def split(catalogue: pd.DataFrame, how: str = "grouped", *, validation: float = 0.2, seed: int = 0) -> Split:
    """Hold out a share of the pages, stratified by condition.

    Args:
        catalogue: as `dataset.read_catalogue` gives it; it is not changed.
        how: "as_published", "distinct" or "grouped", see the functions of these names.
        validation: share of the pages on the validation side, between 0 and 1.
        seed: the same seed gives the same split.

    Raises:
        ValueError: for an unknown `how`, a share outside 0 to 1, a catalogue without the needed columns, or
            too few pages to have some on both sides.
    """
    if not 0 < validation < 1:
        raise ValueError(f"validation={validation}: give a share between 0 and 1, such as 0.2")
    rows, sides = _divide(catalogue, how, np.array([1 - validation, validation]), np.random.default_rng(seed))
    return Split(rows[sides == 0], rows[sides == 1], how, seed)


def as_published(catalogue: pd.DataFrame, *, validation: float = 0.2, seed: int = 0) -> Split:
    """Draw files at random, as the published works do: copies of one page may fall on both sides."""
    return split(catalogue, "as_published", validation=validation, seed=seed)


def distinct(catalogue: pd.DataFrame, *, validation: float = 0.2, seed: int = 0) -> Split:
    """Draw pages at random, each once: of byte-identical files the first in the catalogue is used."""
    return split(catalogue, "distinct", validation=validation, seed=seed)


def grouped(catalogue: pd.DataFrame, *, validation: float = 0.2, seed: int = 0) -> Split:
    """Draw distinct pages so that no copy group and no printed ID is on both sides."""
    return split(catalogue, "grouped", validation=validation, seed=seed)


def folds(catalogue: pd.DataFrame, how: str = "grouped", *, k: int = 5, repeats: int = 1, seed: int = 0) -> list[Split]:
    """Repeated stratified k-fold: within a repeat each page used is in validation exactly once.

    Returns:
        k × repeats splits, the folds of the first repeat first.

    Raises:
        ValueError: as `split`, and if there are fewer groups than folds.
    """
    if k < 2 or repeats < 1:
        raise ValueError(f"k={k}, repeats={repeats}: at least two folds and one repeat are needed")
    splits = []
    for repeat in range(repeats):
        rows, sides = _divide(catalogue, how, np.full(k, 1 / k), np.random.default_rng([seed, repeat]))
        splits += [Split(rows[sides != f], rows[sides == f], how, seed, repeat, f) for f in range(k)]
    return splits


def describe(split: Split, catalogue: pd.DataFrame) -> pd.DataFrame:
    """Count the pages of each condition (rows, and "All") on each side (columns "train", "validation")."""
    condition = catalogue["condition"].to_numpy()
    counts = {
        side: [int(np.sum(condition[rows] == name)) for name in NAMES] + [len(rows)]
        for side, rows in (("train", split.train), ("validation", split.validation))
    }
    return pd.DataFrame(counts, index=pd.Index([*NAMES, "All"], name="condition"))


def shared_copies(split: Split, catalogue: pd.DataFrame) -> float:
    """The share of validation files that have a byte-identical twin among the training files."""
    group = catalogue["copy_group"].to_numpy()
    return float(np.isin(group[split.validation], group[split.train]).mean())


def save_splits(path: Path | str, splits: Sequence[Split], catalogue: pd.DataFrame) -> None:
    """Write splits to a JSON file that names pages by checksum, for `load_splits` on any copy of the data."""
    used = np.unique(np.concatenate([np.concatenate([s.train, s.validation]) for s in splits]))
    place = {int(row): i for i, row in enumerate(used)}
    pages = catalogue.iloc[used]
    record = {
        "pages": [list(page) for page in zip(pages["md5"], pages["file"], strict=True)],
        "splits": [
            {
                "how": s.how, "seed": s.seed, "repeat": s.repeat, "fold": s.fold,
                "train": [place[int(row)] for row in s.train],
                "validation": [place[int(row)] for row in s.validation],
            }
            for s in splits
        ],
    }  # fmt: skip
    write_whole(Path(path), json.dumps(record).encode())


def load_splits(path: Path | str, catalogue: pd.DataFrame) -> list[Split]:
    """Read splits that `save_splits` wrote, as positions into this catalogue.

    A page is found by its checksum. Where the saved splits use several files with one checksum, the name of the
    file must agree as well.

    Raises:
        ValueError: if the file is no such file, or pages in it are not in the catalogue.
        OSError: if it cannot be read.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        pages = [(str(md5), str(file)) for md5, file in record["pages"]]
        saved = [
            (np.array(s["train"], np.int64), np.array(s["validation"], np.int64),
             str(s["how"]), int(s["seed"]), int(s["repeat"]), int(s["fold"]))
            for s in record["splits"]
        ]  # fmt: skip
        places = np.concatenate([np.concatenate(s[:2]) for s in saved])
        if places.min() < 0 or places.max() >= len(pages):
            raise ValueError("a page number outside the list of pages")
    except (ValueError, TypeError, KeyError) as error:  # JSON and Unicode errors are ValueErrors
        raise ValueError(f"{path} is not a file of splits written by save_splits ({error})") from None

    by_name = {key: row for row, key in enumerate(zip(catalogue["md5"], catalogue["file"], strict=True))}
    by_md5 = {md5: row for row, md5 in reversed(list(enumerate(catalogue["md5"])))}
    files = Counter(md5 for md5, _ in pages)
    rows = [by_name.get(page, by_md5.get(page[0]) if files[page[0]] == 1 else None) for page in pages]
    missing = [file for (_, file), row in zip(pages, rows, strict=True) if row is None]
    if missing:
        named = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise ValueError(f"{path} uses {len(pages)} pages, {len(missing)} of them not in this catalogue: {named}")
    rows = np.array(rows, np.int64)
    return [Split(np.sort(rows[train]), np.sort(rows[held]), *rest) for train, held, *rest in saved]


def _divide(
    catalogue: pd.DataFrame, how: str, shares: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the pages used, ascending, and for each the part (an index of `shares`) it falls in."""
    rows, unit = _units(catalogue, how)
    labels = catalogue["label"].to_numpy()[rows]
    counts = np.zeros((unit.max(initial=-1) + 1, max(len(NAMES), labels.max(initial=0) + 1)), np.int64)
    np.add.at(counts, (unit, labels), 1)
    if len(counts) < len(shares):
        raise ValueError(
            f"{len(counts)} group(s) of pages do not make {len(shares)} parts: use more pages or fewer folds"
        )
    side = _assign(counts, shares, rng)
    for part, share in enumerate(shares):
        if not (side == part).any():
            raise ValueError(
                f"{len(rows)} pages in {len(counts)} groups leave none for a part of {share:.0%}: "
                "use more pages or a larger part"
            )
    return rows, side[unit]


def _units(catalogue: pd.DataFrame, how: str) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the pages used, ascending, and for each the number of the unit it must stay with."""
    if how not in HOWS:
        raise ValueError(f"how={how!r}: use one of {', '.join(HOWS)}")
    needed = ["condition", "label", "copy_group", "id_group"]
    lacking = [name for name in needed if name not in catalogue or catalogue[name].isna().any()]
    if lacking:
        raise ValueError(f"the catalogue lacks values for {', '.join(lacking)}: make it with dataset.read_catalogue")
    if how == "as_published":
        return np.arange(len(catalogue)), np.arange(len(catalogue))
    rows = np.flatnonzero(~catalogue["copy_group"].duplicated().to_numpy())
    if how == "distinct":
        return rows, np.arange(len(rows))
    # Pages are joined by a copy group or an ID group, and so by any chain of both: the connected components
    # of the graph whose nodes are the groups and whose edges are the pages.
    copy, copies = pd.factorize(catalogue["copy_group"])
    printed, ids = pd.factorize(catalogue["id_group"])
    nodes = len(copies) + len(ids)
    graph = coo_array((np.ones(len(copy)), (copy, len(copies) + printed)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][copy[rows]]
    return rows, np.unique(component, return_inverse=True)[1]


def _assign(counts: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Give each unit a part so that every part has its share of every condition, to within a page if it can be.

    Args:
        counts: (units, conditions) pages.
        shares: (parts,) adding up to 1.

    Returns:
        (units,) int64 part of each unit.
    """
    best, smallest = None, np.inf
    for attempt in range(_ATTEMPTS):
        order = rng.permutation(len(counts))
        if attempt == 0:  # large units first, which is usually enough; other orders lead elsewhere
            order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
        part, excess = _assign_once(counts, shares, order)
        if np.abs(excess).max() < smallest:
            best, smallest = part, np.abs(excess).max()
        if smallest <= 1:
            break
    return best


def _assign_once(counts: np.ndarray, shares: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parts that no move of one unit and no exchange of two brings nearer to their shares.

    Nearness is the sum of squared excesses. The units in the order given, each to the part that is left nearest, then
    the best move or exchange as long as one helps.

    Returns:
        (units,) part of each unit, and (parts, conditions) pages that each part has above its share.
    """
    weighed = np.column_stack([counts, _TOTAL_WEIGHT * counts.sum(axis=1)])
    excess = -np.outer(shares, weighed.sum(axis=0))
    part = np.empty(len(counts), np.int64)
    for unit in order:
        part[unit] = np.argmin(excess @ weighed[unit])
        excess[part[unit]] += weighed[unit]

    # Units alike are interchangeable, so kinds are compared, not units. Kind 0 is "nothing": exchanging with
    # it is a move.
    kinds, kind = np.unique(np.vstack([np.zeros_like(weighed[:1]), weighed]), axis=0, return_inverse=True)
    kind = kind.reshape(-1)[1:]
    change = kinds[:, None] - kinds  # (kind given, kind taken, column)
    length = (change**2).sum(axis=2)
    pairs = list(permutations(range(len(shares)), 2))
    while True:
        has = [np.isin(np.arange(len(kinds)), [0, *kind[part == p]]) for p in range(len(shares))]
        gains = [
            np.where(np.outer(has[a], has[b]), length + change @ (excess[b] - excess[a]), np.inf) for a, b in pairs
        ]
        chosen = int(np.argmin([gain.min() for gain in gains]))
        if gains[chosen].min() > -1e-9:
            return part, excess[:, :-1]
        a, b = pairs[chosen]
        given, taken = np.unravel_index(np.argmin(gains[chosen]), length.shape)
        leaving, coming = ((kind == k) & (part == p) for k, p in ((given, a), (taken, b)))
        for units, target in ((leaving, b), (coming, a)):
            part[[unit for unit in order if units[unit]][:1]] = target
        excess[a] -= change[given, taken]
        excess[b] += change[given, taken]
