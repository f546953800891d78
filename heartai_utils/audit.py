"""What a folder of pages holds besides hearts: copies, shared IDs, alike beats, and scores of blind programs.

`audit` opens every distinct page once and keeps what it measured; `audit_manifest` needs no page at all. Before
believing a model's score, compare it with the scores here: whoever reads hearts must beat who does not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heartai_utils import _layout, _no_heart, _page_facts, _reading
from heartai_utils import splits as split_module
from heartai_utils._no_heart import BASELINES, Score, score_programs
from heartai_utils._page_facts import FACTS, averaged_beats, beat_correlation, dhash, measure_all, qrs_columns
from heartai_utils.conditions import NAMES
from heartai_utils.dataset import DatasetError, data_home, manifest_catalogue, read_catalogue, write_whole

__all__ = [
    "BASELINES", "Audit", "Score", "audit", "audit_manifest", "averaged_beats", "beat_correlation", "copy_rule",
    "dhash", "qrs_columns", "report",
]  # fmt: skip

# One hash alone finds no near copy here: saved once more as JPEG, a page moves by 7 to 33 of 256 bits; two others
# are 14 apart. Its averaged beats stay (correlation 0.995 and more), while pages with one ID reach 0.99. So a near
# copy must be near in both. (Measured on the published pages.)
NEAR_BITS, NEAR_CORRELATION = 40, 0.995
_CLOSEST = 20  # pairs told
_SHUFFLES = 1000  # of the conditions over the pages, for what chance does


@dataclass(frozen=True)
class Audit:
    """What was found in a folder, or in the manifest; counts and rounded numbers only, ready for JSON.

    Attributes:
        files, distinct: pages by name, and by content.
        by_condition: files and distinct pages of each.
        copies: byte-identical files: how many by folder, and the rule of their names.
        near_copies: distances of perceptual hashes between distinct pages; None without pages.
        id_groups: pages that share a printed ID, and how often these agree on the condition.
        alike_beats: correlations of averaged beats between pages; None without pages.
        heart_rate: how many are printed or read off the trace, and how well the two agree.
        rejected: file and reason of everything that is no page.
        baselines: programs that read no heart, by name.
        notes: what could not be done, and why.
        seed: of the splits.
    """

    files: int
    distinct: int
    by_condition: dict[str, dict[str, int]]
    copies: dict[str, Any]
    near_copies: dict[str, Any] | None
    id_groups: dict[str, Any]
    alike_beats: dict[str, Any] | None
    heart_rate: dict[str, Any]
    rejected: list[dict[str, str]]
    baselines: dict[str, Score]
    notes: list[str]
    seed: int

    def to_json(self) -> str:
        """All of it as one JSON object, the same text for the same findings."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)


def audit(folder: Path | str, *, seed: int = 0, splits: int = 200, progress: bool = True, cache: bool = True) -> Audit:
    """Examine a folder in the published layout.

    Each distinct page is decoded once, in several processes if there are many, and what was measured on it is kept
    in the data home: interrupted, the same call goes on, and a second call reads checksums only.

    Args:
        folder: as for `dataset.read_catalogue`.
        seed: of the random splits and folds.
        splits: how many random splits, and at least as many folds.
        progress: show a bar on stderr.
        cache: whether to keep and use what was measured before.

    Raises:
        DatasetError: if there is no such folder or no page in it.
        ValueError: for fewer than two splits.
    """
    _check_splits(splits)
    catalogue, rejected = read_catalogue(folder)
    kept = data_home() / "audit" / _version() if cache else None
    columns = ["file", "md5", "condition", "id_group", "printed_hr_bpm"]
    asked = [seed, splits, catalogue[columns].to_csv(index=False), rejected.to_csv(index=False)]
    result = kept / f"{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]}.json" if kept else None
    if result and (before := _read_audit(result)):
        return before

    facts = measure_all(catalogue.drop_duplicates("md5"), kept, progress)
    faults = catalogue["md5"].map({md5: str(page["fault"]) for md5, page in facts.items()})
    faulty = pd.DataFrame({"file": catalogue["file"], "reason": faults})[faults != ""]
    rejected = pd.concat([rejected, faulty], ignore_index=True)
    catalogue = catalogue[(faults == "").to_numpy()].reset_index(drop=True)
    if catalogue.empty:
        raise DatasetError(f"{folder} has no page: {faulty['file'].iloc[0]} {faulty['reason'].iloc[0]}")
    found = _findings(catalogue, rejected, facts, seed, splits)
    if result:
        write_whole(result, found.to_json().encode())
    return found


def audit_manifest(*, seed: int = 0, splits: int = 200) -> Audit:
    """Examine the 928 published files by their manifest alone: what needs no page."""
    _check_splits(splits)
    return _findings(manifest_catalogue(), pd.DataFrame(columns=["file", "reason"]), None, seed, splits)


@lru_cache
def _version() -> str:
    """A checksum of the code that measures and scores: what other code found is not taken for this code's."""
    modules = (_layout, _reading, _page_facts, _no_heart, split_module)
    sources = [Path(file).read_bytes() for file in (__file__, *(module.__file__ for module in modules))]
    return hashlib.sha256(b"".join(sources)).hexdigest()[:8]


def _read_audit(path: Path) -> Audit | None:
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        baselines = {name: Score(**score) for name, score in before["baselines"].items()}
        return Audit(**before | {"baselines": baselines})
    except (OSError, ValueError, TypeError, KeyError):  # none, or damaged: examined again
        return None


def _check_splits(splits: int) -> None:
    if splits < 2:
        raise ValueError(f"splits={splits}: a spread needs at least two, 200 are usual")


def _findings(catalogue: pd.DataFrame, rejected: pd.DataFrame, facts: dict | None, seed: int, splits: int) -> Audit:
    pages = catalogue.drop_duplicates("md5").reset_index(drop=True)
    rates = {"printed": int(pages["printed_hr_bpm"].notna().sum()), "read_off_the_trace": 0}
    near = alike = None
    if facts is not None:
        stacked = {name: np.stack([facts[md5][name] for md5 in pages["md5"]]) for name in FACTS}
        correlation = beat_correlation(stacked["beats"])
        near = _near_copies(pages, stacked, correlation)
        alike = _alike_beats(pages, correlation)
        rates = _compare_rates(pages["printed_hr_bpm"].to_numpy(), stacked["heart_rate"])
        read = catalogue["md5"].map({md5: float(page["heart_rate"]) for md5, page in facts.items()})
        catalogue = catalogue.assign(printed_hr_bpm=catalogue["printed_hr_bpm"].fillna(read))
    baselines, notes = score_programs(catalogue, facts, seed, splits)
    count = catalogue.groupby("condition")["md5"].agg(["size", "nunique"]).reindex(NAMES, fill_value=0)
    return Audit(
        files=len(catalogue),
        distinct=len(pages),
        by_condition={
            name: {"files": int(files), "distinct": int(distinct)}
            for name, (files, distinct) in zip(NAMES, count.to_numpy(), strict=True)
        },
        copies=_copies(catalogue),
        near_copies=near,
        id_groups=_id_groups(pages, seed),
        alike_beats=alike,
        heart_rate=rates,
        rejected=rejected[["file", "reason"]].to_dict("records"),
        baselines=baselines,
        notes=notes,
        seed=seed,
    )


# --- Names and IDs ------------------------------------------------------------------------------------------------


def _copies(catalogue: pd.DataFrame) -> dict[str, Any]:
    folders = {}
    for folder, files in catalogue.groupby(catalogue["file"].str.rpartition("/")[0]):
        named = files["file"].str.extract(r"/(?P<stem>[^/()]*)\((?P<number>\d{1,9})\)\.\w+$")
        distinct = files["md5"].nunique()
        folders[folder] = {"files": len(files), "distinct": distinct, "copies": len(files) - distinct}
        folders[folder] |= copy_rule(named["stem"], named["number"], files["md5"])
    contents = catalogue.drop_duplicates(["md5", "condition"])["md5"]
    return {
        "files": int(catalogue["md5"].duplicated().sum()),
        "by_folder": folders,
        "under_several_conditions": int(contents[contents.duplicated()].nunique()),
    }


def copy_rule(stems: pd.Series, numbers: pd.Series, contents: pd.Series) -> dict[str, Any]:
    """Find how copies are named: by which step the numbers of one content follow each other.

    Args:
        stems, numbers: parts of names such as Normal(12): "Normal" and 12; missing for other names.
        contents: a checksum for each name.

    Returns:
        "rule": such as "MI(n) = MI(n + 30k)", "" where there is none; "holds_for": of so many pairs of names that are
        a step apart, so many are copies; "absent": names between the first and the last copy that are not there.
    """
    none = {"rule": "", "holds_for": [0, 0], "absent": []}
    named = pd.DataFrame({"stem": stems, "number": pd.to_numeric(numbers), "content": contents}).dropna()
    if named.empty:
        return none
    stem = named["stem"].mode()[0]
    named = named[named["stem"] == stem].drop_duplicates("number").astype({"number": int}).sort_values("number")
    between = named.groupby("content")["number"].diff().dropna()
    if between.empty:
        return none
    step = int(between.mode()[0])
    content = dict(zip(named["number"], named["content"], strict=True))
    pairs = [content[n] == content[n + step] for n in content if n + step in content]
    if np.mean(pairs) < 0.9:  # chance copies, no rule
        return none
    spans = named.groupby("content")["number"].agg(["min", "max"])
    times = int(((spans["max"] - spans["min"]) // step).max())
    first = spans.loc[spans["max"] > spans["min"], "min"]
    absent = [f"{stem}({n + step * k})" for n in first for k in range(times + 1) if n + step * k not in content]
    rule = f"{stem}(n) = {stem}(n + {step}{'k' if times > 1 else ''})"
    return {"rule": rule, "holds_for": [int(sum(pairs)), len(pairs)], "absent": absent}


def _id_groups(pages: pd.DataFrame, seed: int) -> dict[str, Any]:
    """Which distinct pages share an ID; and whether that tells the condition, as it would if an ID were a person."""
    sizes = pages.groupby("id_group")["label"].agg(["size", "nunique"])
    shared, mixed = sizes[sizes["size"] > 1], sizes[sizes["nunique"] > 1]
    label, group = pages["label"].to_numpy(), pages["id_group"].to_numpy()
    first, second = np.nonzero(np.triu(group[:, None] == group, 1))
    found = {
        "groups": len(sizes),
        "shared": len(shared),
        "pages_in_shared": int(shared["size"].sum()),
        "under_several_conditions": len(mixed),
        "pages_under_several_conditions": int(mixed["size"].sum()),
        "pairs": len(first),
        "pairs_of_one_condition": None,
        "by_chance": None,
        "by_chance_sd": None,
    }
    if len(first):
        rng = np.random.default_rng(seed)
        shuffled = (rng.permutation(label) for _ in range(_SHUFFLES))
        chance = np.array([np.mean(other[first] == other[second]) for other in shuffled])
        found["pairs_of_one_condition"] = round(float(np.mean(label[first] == label[second])), 3)
        found |= {"by_chance": round(float(chance.mean()), 3), "by_chance_sd": round(float(chance.std(ddof=1)), 3)}
    return found


# --- Hashes and beats ---------------------------------------------------------------------------------------------


def _near_copies(pages: pd.DataFrame, stacked: dict[str, np.ndarray], correlation: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = {"limit_bits": NEAR_BITS, "limit_correlation": NEAR_CORRELATION}
    row, column = np.triu_indices(len(pages), 1)
    for bits in (64, 256):
        signs = np.unpackbits(stacked[f"hash_{bits}"], axis=1) * 2.0 - 1
        distance = ((bits - signs @ signs.T) / 2).astype(int)[row, column]
        smallest = int(distance.min(initial=bits))
        found[f"dhash_{bits}"] = {
            "smallest": smallest if len(row) else None,
            "pairs_at_smallest": int((distance == smallest).sum()),
            "closest": _told(pages, row, column, distance, np.argsort(distance, kind="stable")[:5]),
        }
    near = np.flatnonzero((distance <= NEAR_BITS) & (correlation[row, column] >= NEAR_CORRELATION))
    return found | {"pairs": _told(pages, row, column, distance, near)}


def _told(pages: pd.DataFrame, row: np.ndarray, column: np.ndarray, value: np.ndarray, which: np.ndarray) -> list:
    file = pages["file"].to_numpy()
    return [[file[row[i]], file[column[i]], value[i].item()] for i in which]


def _alike_beats(pages: pd.DataFrame, correlation: np.ndarray) -> dict[str, Any]:
    row, column = np.triu_indices(len(pages), 1)
    value = correlation[row, column].round(3)
    group = pages["id_group"].to_numpy()
    same = group[row] == group[column]
    closest = np.flatnonzero(~same)
    closest = closest[np.argsort(-value[closest], kind="stable")[:_CLOSEST]]
    label = pages["label"].to_numpy()
    return {
        "median_of_one_id": round(float(np.median(value[same])), 3) if same.any() else None,
        "median_of_two_ids": round(float(np.median(value[~same])), 3) if (~same).any() else None,
        "closest_of_two_ids": _told(pages, row, column, value, closest),
        "of_these_one_condition": int((label[row] == label[column])[closest].sum()),
    }


def _compare_rates(printed: np.ndarray, read: np.ndarray) -> dict[str, Any]:
    known = ~np.isnan(printed)
    off = np.abs(printed - read)[known & ~np.isnan(read)]
    return {
        "printed": int(known.sum()),
        "read_off_the_trace": int((~known & ~np.isnan(read)).sum()),
        "median_difference_bpm": round(float(np.median(off)), 1) if len(off) else None,
        "within_5_bpm": round(float((off <= 5).mean()), 3) if len(off) else None,
    }


# --- In words -----------------------------------------------------------------------------------------------------


def report(audit: Audit) -> str:
    """The findings as plain text, to be printed."""
    lines = [f"{audit.files} files, {audit.distinct} distinct pages", ""]
    lines += [f"  {'':22} files  distinct"]
    lines += [f"  {name:22} {count['files']:5}  {count['distinct']:8}" for name, count in audit.by_condition.items()]
    lines += ["", f"Copies: {audit.copies['files']} files are byte-identical to an earlier one"]
    for folder, found in audit.copies["by_folder"].items():
        if found["rule"]:
            held, of = found["holds_for"]
            absent = f"; absent: {', '.join(found['absent'][:5])}" if found["absent"] else ""
            lines.append(f"  {found['rule']}, true of {held} of {of} pairs of names{absent}  [{folder}]")
    lines.append(f"  contents under several conditions: {audit.copies['under_several_conditions']}")
    if audit.near_copies and audit.distinct > 1:
        near = audit.near_copies
        blind, sees = near["dhash_64"], near["dhash_256"]
        lines += ["", f"Near copies: {len(near['pairs'])}"]
        lines += [f"  {_name(first)} ~ {_name(second)}" for first, second, _ in near["pairs"]]
        lines += [
            f"  two distinct pages differ by at least {sees['smallest']} of 256 bits, but by {blind['smallest']} of 64",
            f"  ({blind['pairs_at_smallest']} pairs): so few bits see the printed form, not the heart",
            f"  near is at most {near['limit_bits']} of 256 bits and a correlation of {near['limit_correlation']} "
            "or more between averaged beats",
        ]
    ids = audit.id_groups
    lines += ["", f"Printed IDs: {ids['groups']}, {ids['shared']} of them on several pages"]
    lines.append(
        f"  {ids['under_several_conditions']} IDs stand under more than one condition "
        f"({ids['pages_under_several_conditions']} pages)"
    )
    if ids["pairs"]:
        lines += [
            f"  of {ids['pairs']} pairs of pages with one ID, {ids['pairs_of_one_condition']:.0%} have one condition; "
            f"by chance {ids['by_chance']:.0%} ± {ids['by_chance_sd']:.0%} would,",
            "  and nearly all if an ID were a patient",
        ]
    if (alike := audit.alike_beats) and alike["closest_of_two_ids"]:
        lines += ["", "Averaged beats most alike under different IDs (correlation; one heart is suspected, not known)"]
        closest = alike["closest_of_two_ids"][:8]
        lines += [f"  {value:.3f}  {_name(first)} ~ {_name(second)}" for first, second, value in closest]
    rate = audit.heart_rate
    lines += ["", f"Heart rate: printed on {rate['printed']} pages, read off the trace on {rate['read_off_the_trace']}"]
    if rate.get("within_5_bpm") is not None:
        lines.append(f"  where both are known, {rate['within_5_bpm']:.0%} agree within 5 bpm")
    if audit.baselines:
        lines += ["", "Programs that read no heart       accuracy ± SD   balanced  macro-F1  splits"]
    for name, score in audit.baselines.items():
        lines.append(
            f"  {name:32} {score.mean:.3f} ± {score.sd:.3f}  {score.balanced_accuracy:8.3f}  {score.macro_f1:8.3f}  "
            f"{score.splits} {score.how}"
        )
    lines += [f"    {name}: {BASELINES[name]}" for name in audit.baselines]
    lines += ["", f"Rejected: {len(audit.rejected)}"]
    lines += [f"  {row['file']} {row['reason']}" for row in audit.rejected]
    lines += [f"Note: {note}" for note in audit.notes]
    return "\n".join("".join(c if c.isprintable() else "\ufffd" for c in line) for line in lines)


def _name(file: str) -> str:
    return file.rpartition("/")[2]
