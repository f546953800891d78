"""Answers to the exercises of chapter 02."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from answers import Later
from heartai_utils import dataset, splits

STEPS = {"Normal": (142, 284), "PMI": (86, 172), "MI": (30, 240), "HB": (233, 233)}


def other_names(file, absent=("MI(215).jpg",), first=1):
    stem, number = file[:-5].split("(")
    step, files = STEPS[stem]
    same = [f"{stem}({n}).jpg" for n in range(first, files + 1) if (n - int(number)) % step == 0]
    return [name for name in same if name != file and name not in absent]


def twin_share(pages, copies, held):
    files = [page * copy for page, copy in zip(pages, copies, strict=True)]
    return np.average([1 - held ** (copy - 1) for copy in copies], weights=files)


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


WRONG = {
    "check_other_names": [
        (lambda file: other_names(file, absent=()), r"MI\(215\)"),
        (lambda file: [*other_names(file), file], "only its"),
        (lambda file: [name for name in other_names(file) if name > file], "other names are missing"),
        (lambda file: [*other_names(file), "PMI(0).jpg"], r"PMI\(0\).* not published"),
        (lambda file: other_names(file)[:1], "missing"),
        (lambda file: ["PMI(13).jpg"], "another checksum"),
        (lambda file: 14, "list of names"),
    ],
    "check_twin_share": [
        (lambda p, c, h: twin_share(p, np.add(c, 1), h), "itself is held out|for the published"),
        (lambda p, c, h: np.average([1 - h**k for k in c], weights=np.multiply(p, c)), "itself is held out"),
        (lambda p, c, h: np.average([1 - h ** (k - 1) for k in c], weights=p), "by its files"),
        (lambda p, c, h: 1 - twin_share(p, c, h), "without a twin"),
        (lambda p, c, h: twin_share(p, c, 1 - h), "held-out share"),
        (lambda p, c, h: 0.651, "arguments"),
        (lambda p, c, h: twin_share(p, c, 0.2), "arguments"),
        (lambda p, c, h: [1 - h ** (k - 1) for k in c], "one share"),
    ],
    "check_look_up_with_rate": [
        (Later(lambda: 100 * look_up_with_rate()), "per cent"),
        (Later(lambda: look_up_with_rate(default=2)), "still"),
        (Later(lambda: look_up_with_rate(seeds=1)), "one split"),
        (Later(lambda: look_up_with_rate(limit=60)), "above 90 bpm"),
        (np.array([0.9, 0.9]), "one number"),
    ],
    "check_hidden_shortcut": [  # seed 0 plants ("sex", "Normal")
        (("sex", "History of MI"), "the right place"),
        (("date", "Normal"), "no condition away"),
        (("quality", "History of MI"), "in the open"),
        (("footer", "Normal"), "none of date"),
        (("sex", "MI"), "none of Normal"),
        ("sex", "a pair"),
    ],
}
ALSO_RIGHT = {
    "check_other_names": [other_names, lambda file: set(other_names(file))],
    "check_twin_share": [twin_share],
    "check_look_up_with_rate": [Later(look_up_with_rate)],
    "check_hidden_shortcut": [["sex", "Normal"]],
}
