"""Checks of the exercises of chapter 02."""

from __future__ import annotations

import numpy as np

from heartai_utils import dataset, splits
from heartai_utils._checks import learners, number, require, shown


def check_other_names(function) -> None:
    """``function("PMI(100).jpg")`` is to list the other published names of the same page."""
    function = learners(function)
    given = function("PMI(100).jpg")
    if given is None:
        print("Not answered yet: which multiple of 142, 86 or 30 lies between the names of one page?")
        return
    manifest = dataset.read_manifest()
    names = manifest["file"].str.rpartition("/")[2]
    for file in ("PMI(100).jpg", "Normal(1).jpg", "Normal(284).jpg", "HB(7).jpg", "MI(1).jpg", "MI(125).jpg"):
        same = names[manifest["md5"] == manifest["md5"][names == file].item()]
        wanted, given = set(same) - {file}, function(file)
        names_alone = isinstance(given, list | tuple | set) and all(isinstance(name, str) for name in given)
        require(names_alone, f"{file}: a list of names is wanted, not {shown(given)}")
        given = set(given)
        require(file not in given, f"{file}: only its *other* names; it is among yours")
        absent = sorted(given - set(names))
        require(not absent, f"{file}: {absent[:1]} is not published; numbers begin at 1, and one MI file is absent")
        missing, wrong = sorted(wanted - given), sorted(given - wanted)
        require(not wrong, f"{file}: {wrong[:1]} has another checksum")
        require(not missing, f"{file}: {len(missing)} of its {len(wanted)} other names are missing")
    print("Right: 2 × 142, 8 × 30 without one, 1 × 233, 2 × 86 files.")


def check_twin_share(function) -> None:
    """``function(pages, copies, held)``: expected share of held-out files that have a twin in training."""
    pages, copies = list(dataset.PUBLISHED_PAGES.values()), list(dataset.PUBLISHED_COPIES.values())
    function = learners(function)
    given = function(pages, copies, 0.2)
    if given is None:
        print("Not answered yet: with k copies a file lacks a twin in training if all k − 1 others are held out too.")
        return
    given = number(given, "one share between 0 and 1 is wanted")
    files = np.multiply(pages, copies)
    others = np.subtract(copies, 1)
    right = np.average(1 - 0.2**others, weights=files)
    for wrong, hint in (
        (np.average(1 - 0.2**others, weights=pages), "weigh each condition by its files, not by its distinct pages"),
        (np.average(1 - 0.2 ** (others + 1), weights=files), "the file itself is held out: k − 1 others matter, not k"),
        (np.average(1 - 0.8**others, weights=files), "0.2 is the held-out share: a twin is in training with 0.8"),
        (1 - right, "that is the share without a twin"),
        (np.average(0.8**others * (others > 0), weights=files), "one twin in training is enough; not all must be"),
    ):
        require(not np.isclose(given, wrong, atol=1e-4), hint)
    require(bool(np.isclose(given, right, atol=1e-3)), f"{given:.3f} for the published dataset, 20 % held out")
    for pages, copies, held in (([10, 10], [1, 1], 0.3), ([100], [2], 0.3), ([5, 50, 20], [3, 1, 4], 0.5)):
        right = np.average(1 - held ** np.subtract(copies, 1.0), weights=np.multiply(pages, copies))
        given = number(function(pages, copies, held), "one share between 0 and 1 is wanted")
        hint = f"{given:.3f} for pages={pages}, copies={copies}, held={held}: use the function's arguments"
        require(bool(np.isclose(given, right, atol=1e-3)), hint)
    print("Right: 65.1 % for the published dataset, and nothing for a set without copies.")


def check_look_up_with_rate(answer) -> None:
    """Mean accuracy of the look-up that falls back on the heart rate, over 50 splits as published."""
    if answer is None:
        print("Not answered yet: replace the default of seen.get by a verdict from that file's printed_hr_bpm.")
        return
    answer = number(answer, "one number is wanted, the mean over the 50 splits")
    require(not 1 < answer <= 100, "give a share such as 0.9, not per cent")
    catalogue = dataset.manifest_catalogue()
    md5, label = catalogue["md5"].to_numpy(), catalogue["label"].to_numpy()
    fast = catalogue["printed_hr_bpm"].to_numpy() > 90
    combined, constant = [], []
    for seed in range(50):
        split = splits.as_published(catalogue, seed=seed)
        train, held = split.train, split.validation
        found = np.isin(md5[held], md5[train])  # and then always right: no content has two conditions
        combined.append(np.mean(found | (np.where(fast[held], 2, 0) == label[held])))
        constant.append(np.mean(found | (label[held] == 2)))
    right, constant = np.mean(combined), np.mean(constant)
    require(not np.isclose(answer, constant, atol=5e-4), 'that is still "always Abnormal heartbeat" as the default')
    hint = "that is one split; take the mean over seeds 0 to 49"
    require(not np.isclose(combined, answer, atol=1e-6).any(), hint)
    hint = f"{answer:.4f}: above 90 bpm label 2, else 0, and only for files whose checksum was not seen"
    require(bool(np.isclose(answer, right, atol=5e-4)), hint)
    print(f"Right: {right:.1%} instead of {constant:.1%}; two shortcuts, and still no trace read.")


HIDDEN_SHORTCUTS = ("date", "lead_off", "sex")
"""Of these, chapter 02 plants one without telling which."""


def hidden_shortcut(seed: int) -> dict[str, str]:
    """A shortcut that chapter 02 plants beside "quality", for the learner to find: its name, and whom it gives away."""
    rng = np.random.default_rng([seed, 2])
    return {str(rng.choice(HIDDEN_SHORTCUTS)): str(rng.choice(dataset.NAMES[:3]))}


def check_hidden_shortcut(answer, seed: int) -> None:
    """What is planted by ``hidden_shortcut(seed)``: a pair of its name in ``dataset.SHORTCUTS`` and a condition."""
    if answer is None:
        print("Not answered yet: cut the brightest place of the map out of some pages of each condition, and read.")
        return
    pair = isinstance(answer, tuple | list) and len(answer) == 2 and all(isinstance(part, str) for part in answer)
    require(pair, f'a pair of two words is wanted, such as ("mark", "Normal"), not {shown(answer)}')
    name, condition = answer
    require(name in dataset.SHORTCUTS, f"{name!r} is none of {', '.join(dataset.SHORTCUTS)}")
    require(condition in dataset.NAMES, f"{condition!r} is none of {', '.join(dataset.NAMES)}")
    [(right, theirs)] = hidden_shortcut(seed).items()
    require(name != "quality", "the quality is planted in the open; something that is printed is wanted")
    require(name == right, f"{name!r} gives no condition away here; which place on the map is the brightest?")
    hint = f"the right place, but {condition} is printed there as two other conditions are: which one stands alone?"
    require(condition == theirs, hint)
    print(f"Right: for {theirs}, {dataset.SHORTCUTS[name].sentence}.")
