"""The checks that learners run on their answers: a wrong answer gets a hint, a right one a short word.

Each check raises :class:`NotYet` with a message that helps, or prints what was right.
"""

from __future__ import annotations

import warnings

import numpy as np
from scipy import stats

from heartai_utils import dataset, splits
from heartai_utils.evaluation import paired_interval
from heartai_utils.page import PX_PER_SECOND, WIDTH
from heartai_utils.simulation import DOWER, LEADS


class NotYet(AssertionError):
    """The answer is not right yet; the message says what to look at again.

    In a notebook it shows as one line instead of a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def _require(right: bool, hint: str) -> None:
    if not right:
        raise NotYet(hint)


# --- Chapter 01 ----------------------------------------------------------------------------------------------------


def check_qrs_name(function) -> None:
    """``function(deflections_mv)`` is to name a QRS by its deflections in the order of time."""
    if function([-0.15, 0.9, -0.3]) is None:
        print("Not answered yet: go through the deflections and count the Rs; downward is Q while there is none.")
        return
    for heights, name, hint in (
        ([0.9], "R", "a single upward deflection"),
        ([-0.15, 0.9, -0.3], "qRs", "downward before the first R is Q, after it S; small letters below 0.5 mV"),
        ([0.2, -1.4], "rS", "no Q here: the downward deflection comes after R"),
        ([-1.1], "QS", "all of it is downward: QS, not Q"),
        ([-0.6, 0.3], "Qr", "each letter by its own size"),
        ([0.5, -0.5], "RS", "exactly 0.5 mV is a capital already"),
        ([0.3, -0.6, 0.8], "rSR'", "the second R has a prime"),
        ([-0.1, 0.9, -0.2, 0.3], "qRsr'", "the second R has a prime, small or not"),
        ([0.6, -0.7, 0.4, -0.2], "RSr's'", "the S after a second R has a prime, too"),
    ):
        given = function(list(heights))
        given = given.replace("′", "'") if isinstance(given, str) else given
        _require(given == name, f"{heights} mV is {name}, not {given!r}: {hint}")
    print("Right: three letters, a size and a prime, and a picture becomes a word.")


def check_rate_from_columns(answer) -> None:
    """Beats per minute of two R peaks in columns 431 and 572 of a page."""
    if answer is None:
        print("Not answered yet: how many seconds are 141 px? The traces run at page.PX_PER_SECOND.")
        return
    _require(np.ndim(answer) == 0 and not isinstance(answer, str), "one number is wanted, in beats per minute")
    pixels = 572 - 431
    for wrong, hint in (
        (pixels / PX_PER_SECOND, "that is the RR interval in seconds; how many fit into a minute?"),
        (PX_PER_SECOND / pixels, "that is beats per second; a minute has 60"),
        (300 / (pixels / (5 * 7.946)), "that is by the dotted grid, which is 0.9 % wider than the scale of the traces"),
        (1500 / pixels, "that takes a pixel for a small square; a millimetre has 7.874 px"),
        (300 / pixels, "300 is divided by large squares, not by pixels; a large square has 39.37 px"),
    ):
        _require(abs(answer - wrong) > 0.004 * wrong, hint)
    right = 60 * PX_PER_SECOND / pixels
    _require(
        abs(answer - right) <= 0.3,
        f"{answer:.1f} bpm: 141 px are {pixels / PX_PER_SECOND:.3f} s; divide a minute by it",
    )
    print(f"Right: {right:.1f} bpm, or 300 divided by {pixels / PX_PER_SECOND / 0.2:.2f} large squares.")


def check_st_arrow(function) -> None:
    """``function(st_mv)`` is to find the (3,) dipole in mV that explains (12,) ST levels best."""
    rng = np.random.default_rng(0)
    arrow = np.array([-0.05, 0.28, 0.04])
    clean, noisy = DOWER @ arrow, DOWER @ arrow + rng.normal(0, 0.05, 12)
    given = function(clean.copy())
    if given is None:
        print("Not answered yet: DOWER @ arrow = st_mv has twelve equations for three unknowns.")
        return
    _require(not isinstance(given, tuple), "np.linalg.lstsq returns four things; the solution is the first")
    _require(np.shape(given) == (3,), f"the shape is {np.shape(given)}; the arrow has three parts, (3,)")
    _require(
        not np.allclose(given, DOWER.T @ clean),
        "DOWER.T projects back, but does not undo: its columns are not at right angles",
    )
    _require(not np.allclose(given, -arrow), "the sign: up in a lead means towards it")
    _require(
        bool(np.allclose(given, arrow, atol=1e-6)),
        f"for the arrow {arrow.tolist()} seen by twelve leads it gives {np.round(given, 3).tolist()}",
    )
    best = np.linalg.lstsq(DOWER, noisy, rcond=None)[0]
    _require(
        bool(np.allclose(function(noisy.copy()), best, atol=1e-6)),
        "right without noise, but with noise another arrow fits better: use all twelve leads, not three of them",
    )
    print("Right: an infarction's arrow points to its wall; twelve noisy leads give it better than any three.")


def check_q_criterion(function) -> None:
    """``function(q_mv, q_ms)`` is to say whether Q meets the criterion of prior infarction in contiguous leads."""

    def met(**leads):
        given = {lead: leads.get(lead, (0.0, 0.0)) for lead in LEADS}
        return function({lead: q[0] for lead, q in given.items()}, {lead: q[1] for lead, q in given.items()})

    deep = (0.3, 40.0)
    if met(V3=deep, V4=deep) is None:
        print("Not answered yet: first decide for each lead, then look for two neighbours in CONTIGUOUS.")
        return
    for wanted, leads, hint in (
        (False, {}, "without any Q it is not met"),
        (True, {"V3": deep, "V4": deep}, "V3 and V4, 0.3 mV and 40 ms each: met"),
        (True, {"aVL": deep, "I": deep}, "aVL and I are contiguous: met"),
        (False, {"V4": deep}, "one lead alone is not enough"),
        (False, {"V4": deep, "III": deep}, "two leads that are not contiguous are not enough"),
        (False, {"V5": (0.3, 25.0), "V6": (0.3, 25.0)}, "25 ms in V5 and V6 are too short, deep as they may be"),
        (False, {"II": (0.06, 40.0), "aVF": (0.06, 40.0)}, "0.06 mV in II and aVF are too shallow, however broad"),
        (True, {"II": (0.1, 30.0), "aVF": (0.1, 30.0)}, "exactly 0.1 mV and 30 ms are enough: at least means >="),
        (True, {"V2": (0.06, 22.0), "V3": (0.06, 22.0)}, "in V2 and V3, 20 ms are enough, whatever the depth"),
        (False, {"V2": (0.06, 15.0), "V3": (0.06, 15.0)}, "15 ms are too short in V2 and V3, too"),
        (True, {"V3": (0.06, 22.0), "V4": deep}, "each lead by its own limit: V3 by 20 ms, V4 by 30 ms and 0.1 mV"),
    ):  # fmt: skip
        _require(bool(met(**leads)) == wanted, hint)
    print("Right: width and depth make it a sign, and a neighbour that agrees.")


# --- Chapter 02 ---


def check_other_names(function) -> None:
    """``function("PMI(100).jpg")`` is to list the other published names of the same page."""
    given = function("PMI(100).jpg")
    if given is None:
        print("Not answered yet: which multiple of 142, 86 or 30 lies between the names of one page?")
        return
    _require(isinstance(given, list | tuple | set), f"return a list of names, not {type(given).__name__}")
    manifest = dataset.read_manifest()
    names = manifest["file"].str.rpartition("/")[2]
    for file in ("PMI(100).jpg", "Normal(1).jpg", "Normal(284).jpg", "HB(7).jpg", "MI(1).jpg", "MI(125).jpg"):
        same = names[manifest["md5"] == manifest["md5"][names == file].item()]
        wanted, given = set(same) - {file}, set(function(file))
        _require(file not in given, f"{file}: only its *other* names; it is among yours")
        absent = sorted(given - set(names))
        _require(not absent, f"{file}: {absent[:1]} is not published; numbers begin at 1, and one MI file is absent")
        missing, wrong = sorted(wanted - given), sorted(given - wanted)
        _require(not wrong, f"{file}: {wrong[:1]} has another checksum")
        _require(not missing, f"{file}: {len(missing)} of its {len(wanted)} other names are missing")
    print("Right: 2 × 142, 8 × 30 without one, 1 × 233, 2 × 86 files.")


def check_twin_share(function) -> None:
    """``function(pages, copies, held)``: expected share of held-out files that have a twin in training."""
    pages, copies = list(dataset.PUBLISHED_PAGES.values()), list(dataset.PUBLISHED_COPIES.values())
    given = function(pages, copies, 0.2)
    if given is None:
        print("Not answered yet: with k copies a file lacks a twin in training if all k − 1 others are held out too.")
        return
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
        _require(not np.isclose(given, wrong, atol=1e-4), hint)
    _require(bool(np.isclose(given, right, atol=1e-3)), f"{float(given):.3f} for the published dataset, 20 % held out")
    for pages, copies, held in (([10, 10], [1, 1], 0.3), ([100], [2], 0.3), ([5, 50, 20], [3, 1, 4], 0.5)):
        right = np.average(1 - held ** np.subtract(copies, 1.0), weights=np.multiply(pages, copies))
        given = function(pages, copies, held)
        hint = f"{float(given):.3f} for pages={pages}, copies={copies}, held={held}: use the function's arguments"
        _require(bool(np.isclose(given, right, atol=1e-3)), hint)
    print("Right: 65.1 % for the published dataset, and nothing for a set without copies.")


def check_look_up_with_rate(answer) -> None:
    """Mean accuracy of the look-up that falls back on the heart rate, over 50 splits as published."""
    if answer is None:
        print("Not answered yet: replace the default of seen.get by a verdict from that file's printed_hr_bpm.")
        return
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
    _require(np.ndim(answer) == 0, f"one number is wanted, the mean over the 50 splits, not shape {np.shape(answer)}")
    _require(not 1 < answer <= 100, "give a share such as 0.9, not per cent")
    _require(not np.isclose(answer, constant, atol=5e-4), 'that is still "always Abnormal heartbeat" as the default')
    hint = "that is one split; take the mean over seeds 0 to 49"
    _require(not np.isclose(combined, answer, atol=1e-6).any(), hint)
    hint = f"{answer:.4f}: above 90 bpm label 2, else 0, and only for files whose checksum was not seen"
    _require(bool(np.isclose(answer, right, atol=5e-4)), hint)
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
    pair = isinstance(answer, tuple | list) and len(answer) == 2
    _require(pair, f'a pair is wanted, such as ("mark", "Normal"), not {answer!r}')
    name, condition = answer
    _require(name in dataset.SHORTCUTS, f"{name!r} is none of {', '.join(dataset.SHORTCUTS)}")
    _require(condition in dataset.NAMES, f"{condition!r} is none of {', '.join(dataset.NAMES)}")
    [(right, theirs)] = hidden_shortcut(seed).items()
    _require(name != "quality", "the quality is planted in the open; something that is printed is wanted")
    _require(name == right, f"{name!r} gives no condition away here; which place on the map is the brightest?")
    hint = f"the right place, but {condition} is printed there as two other conditions are: which one stands alone?"
    _require(condition == theirs, hint)
    print(f"Right: for {theirs}, {dataset.SHORTCUTS[name].sentence}.")


# --- Chapter 03 ----------------------------------------------------------------------------------------------------


def check_thumbnail_width(answer) -> None:
    """The smallest width in pixels at which one thumbnail pixel covers at most 20 ms of the page."""
    if answer is None:
        print("Not answered yet: how many milliseconds is the whole page wide, and how many pixels of 20 ms are that?")
        return
    _require(np.ndim(answer) == 0 and answer > 0 and answer == int(answer), "a whole number of pixels is wanted")
    exact = WIDTH / PX_PER_SECOND / 0.020
    for wrong, hint in (
        (500, "10 s are the rhythm strip; the page is wider than its traces: 2213 px"),
        (int(exact), f"at {int(exact)} px, one pixel still covers a little more than 20 ms: round up"),
        (117, "that is fewer pixels than 256, so each covers more time, not less"),
        (568, "no need for a multiple of 8 here: the smallest whole number"),
    ):
        _require(answer != wrong, hint)
    right = int(np.ceil(exact))
    covers = 1000 * WIDTH / PX_PER_SECOND / answer
    _require(answer == right, f"at {answer} px, one pixel covers {covers:.2f} ms; find the smallest with 20 at most")
    print(f"Right: {right} px, more than twice the course's 256, and nearly five times as many patches.")


def check_block_means(function) -> None:
    """``function(image, factor)`` is to average blocks of factor × factor pixels, leaving incomplete blocks out."""
    image = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    given = function(image.copy(), 8)
    if given is None:
        print("Not answered yet: reshape to (rows, factor, columns, factor), then average over two of the axes.")
        return
    wanted = image.reshape(3, 8, 5, 8).mean(axis=(1, 3))
    _require(np.shape(given) == (3, 5), f"24 × 40 by 8 gives shape {np.shape(given)}; it must be (3, 5)")
    _require(not np.allclose(given, image[::8, ::8]), "these are single pixels, as nearest takes; the mean is wanted")
    _require(
        not np.allclose(given, image.reshape(3, 8, 5, 8).sum(axis=(1, 3), dtype=np.uint8) / 64),
        "uint8 overflows at 256: sum in a wider type, or use mean",
    )
    _require(
        not np.allclose(given, image.reshape(3, 5, 8, 8).mean(axis=(2, 3))),
        "the axes are (row of blocks, within, column of blocks, within): reshape in that order",
    )
    _require(
        np.allclose(given, wanted) or not np.allclose(given, wanted, atol=1),
        "nearly: floats are wanted, not rounded grey levels",
    )
    _require(bool(np.allclose(given, wanted)), "not the means of the blocks")
    ragged = function(image.copy(), 7)
    _require(np.shape(ragged) == (3, 5), f"24 × 40 by 7 gives shape {np.shape(ragged)}: 3 and 5 whole blocks fit")
    _require(
        bool(np.allclose(ragged, image[:21, :35].reshape(3, 7, 5, 7).mean(axis=(1, 3)))),
        "factor 7: cut the last 3 rows and 5 columns off before you reshape",
    )
    print("Right: every pixel of a block counts once, and none twice.")


def check_centres(function) -> None:
    """``function(ink, mv)`` is to find each column's centre of mass in mV, NaN where there is no ink."""
    ink = np.array([[0.0, 0, 90, 10], [30, 0, 0, 20], [10, 0, 30, 10], [0, 0, 0, 60]])
    mv = np.array([0.3, 0.2, 0.1, 0.0])
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        given = function(ink.copy(), mv.copy())
    if given is None:
        print("Not answered yet: sum of mV times ink over the rows, divided by the sum of ink.")
        return
    _require(np.shape(given) == (4,), f"the shape is {np.shape(given)}; one number a column is wanted, (4,)")
    given = np.asarray(given, dtype=float)
    full = [0, 2, 3]
    _require(bool(np.isfinite(given[full]).all()), "a column with ink gives no number")
    wanted = (mv @ ink)[full] / ink.sum(axis=0)[full]
    _require(not np.allclose(given[full], mv[ink.argmax(axis=0)][full]), "that is the darkest row, not the centre")
    _require(
        not np.allclose(given[full], [mv[ink[:, column] > 0].mean() for column in full]),
        "each row with ink counts alike: weigh by the ink",
    )
    _require(not np.allclose(given[full], (mv @ ink)[full]), "divide by the ink of the column")
    _require(not np.allclose(given[full], (mv @ ink)[full] / ink.sum()), "divide by each column's own ink, not by all")
    _require(bool(np.allclose(given[full], wanted)), f"{given[full].round(3).tolist()} for {wanted.round(3).tolist()}")
    _require(bool(np.isnan(given[1])), "a column without ink has no centre: NaN, or a lost column passes for 0 mV")
    _require(not raised, "right numbers, but 0 / 0 raised a warning: np.divide(…, where=total > 0) avoids it")
    print("Right: now a lost column cannot pass for a level one.")


def check_ink(function) -> None:
    """``function(image, black, white)`` is to give the ink of grey levels: 255 to 0 by a slope from black to white."""
    image = np.array([[0, 30, 40, 60], [90, 139, 140, 255]], np.uint8)
    given = function(image.copy(), 40, 140)
    if given is None:
        print("Not answered yet: (white - grey) / (white - black), kept between 0 and 1, times 255.")
        return
    _require(np.shape(given) == (2, 4), f"the shape is {np.shape(given)}; each pixel has its ink, (2, 4)")
    given = np.asarray(given, dtype=float)
    slope = (140 - image.astype(float)) / 100
    wanted = 255 * np.clip(slope, 0, 1)
    wrapped = 255 * np.clip((np.uint8(140) - image) / 100, 0, 1)
    for wrong, hint in (
        (wrapped, "paler than white gives a lot of ink: uint8 has no negative numbers, 140 - 200 is 196; use floats"),
        (255 * slope, "ink is never below 0 nor above 255: clip"),
        (np.clip(slope, 0, 1), "that runs from 0 to 1; ink runs from 0 to 255"),
        (255 - wanted, "the wrong way round: black is full ink, white none"),
        (255 - image.astype(float), "that is the darkness of every grey: paler than `white` there is to be none"),
        (255 * (image < 140), "a threshold: between the two levels the ink falls in a straight line"),
        (255 * (image <= 40), "a threshold: between the two levels the ink falls in a straight line"),
    ):
        _require(not np.allclose(given, wrong), hint)
    _require(
        np.allclose(given, wanted) or not np.allclose(given, wanted, atol=1), "nearly: floats are wanted, not rounded"
    )
    _require(bool(np.allclose(given, wanted)), f"{given.round(1).tolist()} for {wanted.round(1).tolist()}")
    other = function(image.copy(), 0, 255)
    _require(bool(np.allclose(other, 255.0 - image)), "with black 0 and white 255 the ink is 255 less the grey")
    print("Right: paper and pale dots weigh nothing now, and no empty page is needed to tell them.")


# --- Chapter 04 ---


def check_patch_counts(answer) -> None:
    """Patches of 16 × 16 on a thumbnail of 182 × 256: {"drop": (rows, columns), "pad": …, "pixels": number}."""
    if answer is None:
        print("Not answered yet: divide 182 and 256 by 16; what becomes of the remainder?")
        return
    wanted = {"drop": (11, 16), "pad": (12, 16), "pixels": 256}
    _require(
        isinstance(answer, dict) and set(answer) == set(wanted),
        'give a dictionary with the entries "drop", "pad" and "pixels"',
    )
    for entry in ("drop", "pad"):
        _require(np.shape(answer[entry]) == (2,), f"{entry!r} is a pair: rows, columns")
        given = tuple(answer[entry])
        _require(given != wanted[entry][::-1], f"{entry!r}: rows first, then columns, as NumPy has it")
        _require(given != (11.375, 16), f"{entry!r}: 182 / 16 = 11.375, but patches are whole")
        _require(given == wanted[entry], f"{entry!r}: 182 = 11 · 16 + 6 and 256 = 16 · 16; which rows are left over?")
    _require(answer["pixels"] != 16, "pixels: a patch has 16 rows of 16")
    _require(answer["pixels"] == wanted["pixels"], "pixels: rows of a patch times columns of a patch")
    print("Right: 11 × 16 = 176 patches or 12 × 16 = 192, of 256 pixels; the leftover is the same six rows.")


def check_unpatchify(function) -> None:
    """``function(patches, rows, columns)`` is to put (batch, patches, 64) back to (batch, 8 · rows, 8 · columns)."""
    image = np.arange(2 * 24 * 40, dtype=np.float32).reshape(2, 24, 40)
    patches = image.reshape(2, 3, 8, 5, 8).transpose(0, 1, 3, 2, 4).reshape(2, 15, 64)
    try:
        made = function(patches.copy(), 3, 5)
    except ValueError as error:
        try:
            function(np.zeros((2, 704, 64), np.float32), 22, 32)
        except ValueError:
            hint = "the batch stays in front: reshape to (batch, rows, columns, side, side), and transpose five axes"
        else:
            hint = "it works for 22 × 32 patches alone: use the rows and columns that are handed in"
        raise NotYet(f"2 pages of 3 × 5 patches end in “{error}”; {hint}") from None
    if made is None:
        print("Not answered yet: reshape to five axes, transpose, reshape to three")
        return
    _require(np.shape(made) == image.shape, f"the shape is {np.shape(made)}; for 3 × 5 patches it must be (2, 24, 40)")
    _require(
        not np.array_equal(made, patches.reshape(image.shape)),
        "reshape alone gives the shape, not the picture: the axes within a patch must go back between",
    )
    _require(np.array_equal(made, image), "the shape is right, pixels are misplaced: print the axes after each step")
    print("Right: cutting a page and putting it back loses nothing.")


def check_beyond_form(function, patches: np.ndarray, form_patches: np.ndarray, trace_ink: np.ndarray) -> None:
    """``function(patches, form_patches, count, first)`` is to keep the patches with most ink beyond the form.

    What that gains is told by pages: their patches (pages, 704, 64) and those of the form (704, 64), as ink, and how
    much of it is trace, (pages, 704).
    """
    rng = np.random.default_rng(0)
    form, count, first = rng.uniform(0, 0.6, (30, 16)).astype(np.float32), 8, 5
    # some patches are paler than the form, some a little darker all over, some much darker in few pixels
    made_up = (form + rng.uniform(-0.3, 0.12, (3, 30, 16))).astype(np.float32)
    made_up[:, 10:16, :4] += 0.4
    kept = function(made_up.copy(), form.copy(), count, first)
    if kept is None:
        print("Not answered yet: difference, np.maximum(…, 0), square, sum, then as in keep_inkiest")
        return
    kept = np.asarray(kept)
    _require(kept.shape == (3, count), f"the shape is {kept.shape}; for 3 pages and count=8 it must be (3, 8)")

    def best(amount):
        return np.sort(np.argsort(-amount[:, first:], axis=1, kind="stable")[:, :count], axis=1) + first

    beyond = made_up - form
    wanted = best((np.maximum(beyond, 0) ** 2).sum(axis=-1))
    _require(kept.min() >= first, f"position {kept.min()} lies before first={first}: add what you cut off in front")
    _require(
        not np.array_equal(kept, best((made_up**2).sum(axis=-1))),
        "these are the inkiest patches of the page itself: take the form off first",
    )
    _require(
        not np.array_equal(kept, best((np.maximum(-beyond, 0) ** 2).sum(axis=-1))),
        "these are the patches paler than the form: the sign is wrong, page minus form is ink beyond it",
    )
    _require(
        not any(
            np.array_equal(kept, best(amount.sum(axis=-1)))
            for amount in (made_up**2 - form**2, np.maximum(made_up**2 - form**2, 0))
        ),
        "the difference of squares is not the square of the difference: take the form off first, then square",
    )
    _require(
        not np.array_equal(kept, best((beyond**2).sum(axis=-1))),
        "paler than the form became ink when squared: set negative differences to 0 before",
    )
    _require(
        not np.array_equal(kept, best(np.maximum(beyond, 0).sum(axis=-1))),
        "square the differences before you sum them",
    )
    _require(
        not np.array_equal(np.sort(kept, axis=1), wanted) or np.array_equal(kept, wanted),
        "the right patches in the wrong order: positions ascend, as on the page",
    )
    _require(np.array_equal(kept, wanted), "not the patches with most squared ink beyond the form")
    header, tokens = 128, 192  # as in the course's model
    before, after = (
        np.take_along_axis(trace_ink, positions, axis=1)
        for positions in (
            np.sort(np.argsort(-(patches[:, header:] ** 2).sum(axis=-1), axis=1, kind="stable")[:, :tokens]) + header,
            np.asarray(function(patches.copy(), form_patches.copy(), tokens, header)),
        )
    )
    shares = [held.sum(axis=1) / trace_ink.sum(axis=1) for held in (before, after)]
    means, worst = ([f"{pick(share):.1%}" for share in shares] for pick in (np.mean, np.min))
    blank = [f"{(held == 0).sum(axis=1).mean():.0f}" for held in (before, after)]
    print(
        f"Right: on these {len(patches)} pages 192 tokens hold {means[1]} of the trace instead of {means[0]},"
        f" on the worst page {worst[1]} instead of {worst[0]}; {blank[1]} instead of {blank[0]} hold none."
    )


# --- Chapter 05 ---


def check_attention_parameters(answer) -> None:
    """Parameters of multi-head attention at width 96 with 12 heads of size 8."""
    if answer is None:
        print("Not answered yet: four projections, each with a bias; what is the size of a head?")
        return
    _require(np.ndim(answer) == 0 and not isinstance(answer, str), f"a whole number is wanted, not {answer!r}")

    def count(inner: int) -> int:
        return 3 * (96 * inner + inner) + inner * 96 + 96

    right = count(96)
    hints = {
        count(12 * 16): "that is key_dim = 16, as in the chapter: 12 heads of 16 make 192; a head's size is 96 / 12",
        count(12 * 96): "that is key_dim = 96: 12 heads of 96 make 1152; a head's size is 96 / 12",
        count(12 * 64): "that is key_dim = 64: 12 heads of 64 make 768; a head's size is 96 / 12",
        4 * 96 * 96: "each of the four projections has a bias, too",
        3 * (96 * 96 + 96): "after the heads are joined there is a fourth projection, the output's",
        3 * 96 * 96: "two things are missing: the biases, and the output projection after the heads are joined",
        12 * right: "the heads share the width: they split it, they do not multiply it",
        4 * (96 * 8 + 8): "that is one head; twelve of them stand side by side",
        4 * (64 * 64 + 64): "that is the chapter's width of 64; here it is 96",
    }
    _require(answer not in hints, hints.get(answer, ""))
    _require(answer == right, "count 96 → 96 with a bias for queries, keys, values and output")
    print(f"Right: {right}, as with any other number of heads. It costs no parameter.")


def check_masked_attention(function) -> None:
    """``function(query, key, value, keep)``: attention in which tokens with ``keep`` False get the share 0."""
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(3, 2, 5, 4))
    keep = np.array([True, False, True, True, False])
    with np.errstate(invalid="ignore"):  # a row of −∞ only; the hint below says more than NumPy's warning
        made = function(query.copy(), key.copy(), value.copy(), keep.copy())
    if made is None:
        print("Not answered yet: which score has the share 0 after the softmax?")
        return
    _require(isinstance(made, tuple) and len(made) == 2, "hand back two things: gathered, shares")
    gathered, shares = (np.asarray(part) for part in made)
    _require(
        shares.shape != (2, 5, 3),
        "shares are (2, 5, 3): without the other keys, what is gathered is right, but the table lacks their columns; "
        "leave those keys in and make their shares 0",
    )
    _require(shares.shape == (2, 5, 5), f"shares are {shares.shape}; for 2 heads of 5 tokens they must be (2, 5, 5)")
    rows = shares[:, ~keep]  # where rows were masked: not a number from −∞ only, a fifth each from −10⁹, or set to 0
    _require(
        not (np.isnan(rows).all() or np.allclose(rows, 1 / 5) or np.allclose(rows, 0, atol=1e-9)),
        "a row is who asks, a column who is asked: columns must be 0, not rows",
    )
    _require(np.isfinite(shares).all(), "some shares are not numbers: ∞ − ∞, or 0 · ∞?")
    _require(
        np.allclose(shares[..., ~keep], 0, atol=1e-9),
        "tokens left out still have a share: a score of 0 is a share above 0; only −∞ gives none",
    )
    _require(
        np.allclose(shares.sum(axis=-1), 1),
        "rows do not sum to 1: set the scores before the softmax, or divide each row by its new sum after it",
    )
    scores = np.where(keep, query @ np.swapaxes(key, -1, -2) / 2, -np.inf)
    wanted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    wanted /= wanted.sum(axis=-1, keepdims=True)
    _require(np.allclose(shares, wanted), "the shares among those that are left are off: is √d there?")
    _require(
        np.shape(gathered) == value.shape and np.allclose(gathered, wanted @ value),
        "the shares are right; gathered must be shares @ value",
    )
    print(
        "Right: as if the tokens left out were not there. Scores of −∞ before the softmax, or shares of 0 after it and "
        "each row divided by its new sum: the two are the same."
    )


def check_tokens_for_memory(answer) -> None:
    """The largest N for which 32 · 4 · N² scores of 4 bytes take at most 100 · 10⁶ bytes."""
    if answer is None:
        print("Not answered yet: N² · 4 bytes · 4 heads · 32 pages")
        return
    _require(np.ndim(answer) == 0 and not isinstance(answer, str), f"a whole number is wanted, not {answer!r}")
    most = int((100e6 / (4 * 4 * 32)) ** 0.5)  # 441
    hints = {
        int((100e6 / (4 * 32)) ** 0.5): "a number has 4 bytes, and there are 4 heads: one of the two is missing",
        int((100e6 / (4 * 4)) ** 0.5): "that is for one page; a batch has 32",
        int((100 * 2**20 / (4 * 4 * 32)) ** 0.5): "1 MB is 10⁶ bytes here, not 2²⁰",
        int(100e6 / (4 * 4 * 32)): "that is N²: take the root",
        most + 1: "that needs a little more than 100 MB: round down",
    }
    _require(answer not in hints, hints.get(answer, ""))
    _require(answer % 1 == 0, "tokens are whole: round down")
    _require(answer == most, "solve N² · 4 · 4 · 32 = 100 000 000 for N, and round down")
    print("Right: 441 tokens. The 704 of a whole page do not fit.")


# --- Chapter 06 ---


def check_cross_entropy(answer) -> None:
    """``answer(logits, labels)``: mean cross-entropy of (pages, classes) logits and (pages,) labels, in nats."""
    logits = np.array([[2.0, 0.0, 1.0, -1.0], [0.5, 0.5, 0.5, 0.5], [-3.0, 4.0, 0.0, 1.0]])
    labels = np.array([3, 0, 1])
    given = answer(logits, labels)
    if given is None:
        print("Not answered yet: subtract each row's largest logit before the exponential; average over pages.")
        return
    _require(np.ndim(given) == 0, f"one number for all pages is wanted, not shape {np.shape(given)}")
    given, right = float(given), -_log_softmax(logits)[range(3), labels].mean()
    probabilities = np.exp(_log_softmax(logits))
    twice = -_log_softmax(probabilities)[range(3), labels].mean()
    for wrong, hint in (
        (3 * right, "that is the sum over the pages; average them, or the loss grows with the batch"),
        (-right, "the sign: −ln of a probability is positive"),
        (right / np.log(2), "that is in bits; the natural logarithm is wanted"),
        (right / np.log(10), "that is the decimal logarithm; the natural one is wanted"),
        (twice, "softmax is applied twice"),
        (-probabilities[range(3), labels].mean(), "take the logarithm of each probability before the mean"),
    ):
        _require(not np.isclose(given, wrong), hint)
    _require(bool(np.isclose(given, right)), f"{given:.4f}: pick from each row the probability of its own label")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        large = float(answer(np.array([[1000.0, 0.0, 0.0, 0.0]]), np.array([1])))
    hint = "exp(1000) overflows and exp(−1000) is 0: shift the logits, and write ln p as logit − ln Σ exp"
    _require(bool(np.isclose(large, 1000.0)), f"a logit of 1000 gives {large}, not 1000; {hint}")
    print(f"Right: {given:.4f}, and a logit of 1000 does not break it.")


def check_adamw_step(answer) -> None:
    """``answer(weight, gradient, m, v, step, learning_rate, weight_decay)`` -> new weight, m, v."""
    gradients, rate, decay = (0.5, -0.2, 0.1), 0.01, 0.1
    state = answer(1.0, gradients[0], 0.0, 0.0, 1, rate, decay)
    if state is None or state[0] is None:
        print("Not answered yet: m and v first, then their corrected values, then the decay and Adam's step.")
        return
    _require(len(state) == 3, "return three things: the new weight, m and v")
    given, right = [], _adamw_path(gradients, rate, decay)
    weight, m, v = 1.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        weight, m, v = (float(value) for value in answer(weight, gradient, m, v, step, rate, decay))
        given.append((weight, m, v))
    for i, name in ((1, "m"), (2, "v")):
        hint = f"hand back the running mean of {'g' if name == 'm' else 'g²'} itself, uncorrected, with no weight in it"
        _require(bool(np.isclose(given[0][i], right[0][i])), f"the first step's {name} is {given[0][i]:.6f}: {hint}")
    first = given[0][0]
    step_alone = right[0][0] - (1 - rate * decay)  # Adam's own first step, about −learning_rate
    for wrong, hint in (
        (1 + step_alone, "nothing decays: multiply the weight by 1 − learning_rate · weight_decay"),
        (1 - decay + step_alone, "the decay is not multiplied by the learning rate"),
        ((1 + step_alone) * (1 - rate * decay), "decay the weight before Adam's step, as Keras does, not after it"),
        ((1 - rate * decay) - rate * 0.1 / 0.001**0.5, "correct m and v for having started at 0"),
    ):
        _require(not np.isclose(first, wrong, rtol=0, atol=3e-7), f"the first step: {hint}")
    _require(bool(np.isclose(first, right[0][0])), f"the first step gives {first:.6f} instead of {right[0][0]:.6f}")
    hint = "only the first step is right: the corrections are 1 − β₁ and 1 − β₂ with each β to the power of the step"
    _require(np.allclose(given, right), hint)
    print("Right: " + ", ".join(f"{row[0]:.5f}" for row in given) + " after three steps.")


def check_steps_and_shrinkage(answer) -> None:
    """(steps, factor) of 35 epochs with 393 pages, batches of 32, learning rate 0.001, weight decay 0.05."""
    if answer is None:
        print("Not answered yet: how many batches are 393 pages, if the last one may be smaller?")
        return
    _require(np.shape(answer) == (2,), "give two numbers: (steps, factor)")
    steps, factor = answer
    _require(steps != 35 * 12, "the last, smaller batch is a step too: 393 = 12 · 32 + 9")
    _require(steps not in (13, 12.28125), "that is one epoch; there are 35")
    _require(steps == 455, f"{steps} steps: round 393 / 32 up, then times 35 epochs")
    _require(not np.isclose(factor, 0.95**455), "each step takes learning_rate · weight_decay, not weight_decay")
    _require(not np.isclose(factor, 1 - 0.00005**455), "(1 − x) to the power of the steps, not 1 − x to that power")
    _require(not 0.02 < factor < 0.03, "that is what is lost; the factor that remains is wanted")
    _require(abs(factor - 0.99995**455) < 5e-4, f"{factor:.4f}: each of the 455 steps multiplies by 1 − 0.00005")
    print("Right: 455 steps leave 97.75 % of a kernel that no gradient touches.")


def check_early_stopping(answer) -> None:
    """``answer(losses, patience)`` -> (epochs run, epoch kept), both counted from 1."""
    given = answer([1.4, 1.2, 1.1, 1.3], 5)
    if given is None:
        print("Not answered yet: keep the lowest loss so far and the epoch it was in; stop when that is too long ago.")
        return
    _require(np.shape(given) == (2,), "give two numbers: (epochs run, epoch kept)")
    losses = [1.4, 1.2, 1.1, 1.3, 1.25, 1.27, 1.0, 1.2]
    for monitored, patience, right, hint in (
        ([1.4, 1.2, 1.1, 1.3], 5, (4, 3), "patience does not run out: all 4 epochs are run, the third has the lowest"),
        ([1.0, 2.0, 1.9, 1.8], 2, (3, 1), "compare with the lowest loss so far, not with the epoch before"),
        (losses, 3, (6, 3), "after epoch 6 the lowest loss is 3 epochs old: epoch 7 is never run, however low"),
        (losses, 4, (8, 7), "the loss of epoch 7 comes in time, and the count begins again"),
        ([1.1, 1.3, 1.2, 1.1], 3, (4, 1), "an equal loss is not a lower one; the count goes on, and the first is kept"),
        ([1.0, 1.1, 0.9], 1, (2, 1), "patience 1 stops after the first epoch that is not lower"),
    ):
        run, kept = answer(list(monitored), patience)
        _require((run, kept) == right, f"{monitored} with patience {patience} gives {run}, {kept}, not {right}: {hint}")
    print("Right: a run stops a patience after the epoch that is kept.")


def _log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def _adamw_path(gradients, rate: float, decay: float) -> list[tuple[float, float, float]]:
    """Weight, m, v after each step from 1, 0, 0: Adam (arXiv:1412.6980), decay decoupled (arXiv:1711.05101)."""
    weight, m, v, path = 1.0, 0.0, 0.0, []
    for step, gradient in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        corrected = m / (1 - 0.9**step), v / (1 - 0.999**step)
        weight = weight * (1 - rate * decay) - rate * corrected[0] / (corrected[1] ** 0.5 + 1e-7)
        path.append((weight, m, v))
    return path


# --- Chapter 07 ---


def check_shrinkage(answer) -> None:
    """Share lost by a kernel: 393 pages, batches of 16, 40 epochs, learning rate 0.0005, decay 0.05, no gradient."""
    if answer is None:
        print("Not answered yet: how many steps are 40 epochs? Then multiply learning rate, decay and steps.")
        return
    _require(np.ndim(answer) == 0, f"one share is wanted, not shape {np.shape(answer)}")
    product, steps = 0.0005 * 0.05, 25 * 40
    right = 1 - (1 - product) ** steps
    for wrong, hint in (
        (1 - right, "that is what is left; the share lost is wanted"),
        (100 * right, "give a share, not per cent"),
        (1 - (1 - product) ** (24 * 40), "393 / 16 = 24.6: the last, smaller batch of each epoch is a step too"),
        (1 - (1 - product) ** 25, "that is one epoch; there are 40"),
        (1 - (1 - product) ** 40, "that is one step an epoch; there are 25"),
        (1 - (1 - 0.05) ** steps, "each step takes learning rate · decay, not the decay alone"),
        (1 - (1 - 0.0005) ** steps, "each step takes learning rate · decay, not the learning rate alone"),
    ):
        _require(not np.isclose(answer, wrong, rtol=2e-3), hint)
    hint = f"{answer:.5f}: 1 − (1 − learning rate · decay)^steps, nearly the product of the three"
    _require(bool(np.isclose(answer, right, rtol=0.015)), hint)
    print(f"Right: {right:.4f}; the plain product gives {product * steps:.4f}.")


def check_paired_interval(function) -> None:
    """``function(first, second)`` -> (low, high), the 95 % t interval of the mean of second − first."""
    rng = np.random.default_rng(7)
    for runs in (3, 5, 12):
        first = rng.uniform(0.5, 0.9, runs)
        second = first + rng.normal(0.02, 0.01, runs)
        given = function(first.copy(), second.copy())
        if given is None:
            print("Not answered yet: differences first, then their mean, SD with ddof=1, t and √n.")
            return
        _require(np.shape(given) == (2,), f"return two numbers, low and high, not shape {np.shape(given)}")
        given, right = np.array(given, dtype=float), paired_interval(first, second)
        mean, half = right.mean, right.high - right.mean
        biased = half * np.sqrt((runs - 1) / runs)
        normal = half * 1.96 / stats.t.ppf(0.975, runs - 1)
        one_sided = half * stats.t.ppf(0.95, runs - 1) / stats.t.ppf(0.975, runs - 1)
        freedom = half * stats.t.ppf(0.975, runs) / stats.t.ppf(0.975, runs - 1)
        unpaired = half * np.sqrt(first.var(ddof=1) + second.var(ddof=1)) / right.sd
        for centre, width, hint in (
            (-mean, half, "the sign: second minus first"),
            (mean, biased, "np.std divides by n unless told ddof=1"),
            (mean, normal, "1.96 is for infinitely many runs; use stats.t.ppf(0.975, n − 1)"),
            (mean, one_sided, "2.5 % are cut off at either end: 0.975, not 0.95"),
            (mean, freedom, "n runs leave n − 1 degrees of freedom"),
            (mean, half * np.sqrt(runs), "that is the spread of single differences; divide by √n for their mean"),
            (mean, unpaired, "take the SD of the differences, not of the two arms"),
        ):
            _require(not np.allclose(given, [centre - width, centre + width], rtol=1e-3, atol=0), hint)
        wanted = f"[{right.low:.4f}, {right.high:.4f}]"
        hint = f"for {runs} pairs [{given[0]:.4f}, {given[1]:.4f}] instead of {wanted}"
        _require(np.allclose(given, [right.low, right.high], atol=1e-6), hint)
    print("Right: the same as evaluation.paired_interval for 3, 5 and 12 pairs.")


def check_runs_needed(answer) -> None:
    """Pairs for ± 0.01 when a pilot gave the differences 0.031, −0.010, 0.042, 0.005."""
    if answer is None:
        print("Not answered yet: the SD of the four differences (ddof=1), then runs_needed with it.")
        return
    pilot = np.array([0.031, -0.010, 0.042, 0.005])

    def needed(sd, factor=None):
        pairs = 2
        while (factor or stats.t.ppf(0.975, pairs - 1)) * sd / np.sqrt(pairs) > 0.01:
            pairs += 1
        return pairs

    right = needed(pilot.std(ddof=1))
    _require(np.ndim(answer) == 0 and float(answer) == int(answer), "a whole number of pairs is wanted")
    for wrong, hint in (
        (needed(pilot.std(ddof=1), 1.96), "1.96 instead of t: with so few runs t is larger"),
        (needed(pilot.std()), "np.std divides by n unless told ddof=1"),
        (needed(pilot.std(ddof=1), stats.t.ppf(0.975, 3)), "t shrinks as pairs are added: take it at n − 1, not at 3"),
        (right - 1, "the half width must be at most 0.01, and with one pair fewer than needed it is not"),
    ):
        _require(answer != wrong, hint)
    hint = f"{answer} pairs: look for the smallest n with t · SD / √n ≤ 0.01"
    _require(answer == right, hint)
    print(f"Right: {right} pairs, where the SD of the pilot is {pilot.std(ddof=1):.4f}.")


def check_corrected_half_width(answer) -> None:
    """Half width for five random splits with a quarter held out, when the paired differences have an SD of 0.02."""
    if answer is None:
        print("Not answered yet: t at n − 1, the SD, and a root of 1/n plus validation pages over training pages.")
        return
    _require(np.ndim(answer) == 0 and not isinstance(answer, str), "one number is wanted, the half width")
    n, sd, ratio = 5, 0.02, 0.25 / 0.75
    t = stats.t.ppf(0.975, n - 1)
    right = t * sd * np.sqrt(1 / n + ratio)
    for wrong, hint in (
        (t * sd * np.sqrt(1 / n), "that is for independent runs; add validation over training pages under the root"),
        (t * sd * np.sqrt(1 / n + 0.25), "0.25 is the share held out; validation over training is 0.25 / 0.75"),
        (t * sd * np.sqrt(1 / n + 3), "validation over training, not the other way round"),
        (t * sd * (np.sqrt(1 / n) + ratio), "the ratio is added under the root, to 1/n"),
        (1.96 * sd * np.sqrt(1 / n + ratio), "1.96 is for infinitely many runs; use stats.t.ppf(0.975, n − 1)"),
        (stats.t.ppf(0.975, n) * sd * np.sqrt(1 / n + ratio), "n splits leave n − 1 degrees of freedom"),
        (stats.t.ppf(0.95, n - 1) * sd * np.sqrt(1 / n + ratio), "2.5 % are cut off at either end: 0.975, not 0.95"),
        (sd * np.sqrt(1 / n + ratio), "that is the standard error; times t"),
        (2 * right, "that is the whole width; half of it is wanted"),
    ):
        _require(not np.isclose(answer, wrong, rtol=2e-3), hint)
    hint = f"{answer:.4f}: t · SD · √(1/n + validation/training)"
    _require(bool(np.isclose(answer, right, rtol=0.01)), hint)
    print(f"Right: ± {right:.4f}; without the correction it would be {t * sd / np.sqrt(n):.4f}.")


# --- Chapter 08 ---


def check_attention_distance(function) -> None:
    """``function(weights, centres)`` -> (heads,) mean distance in mm, weighted by attention."""
    rng = np.random.default_rng(8)
    weights = rng.dirichlet(np.full(6, 0.4), (3, 6))
    centres = rng.uniform(0, [200, 280], (6, 2))
    given = function(weights.copy(), centres.copy())
    if given is None:
        print("Not answered yet: first the distances between all pairs of tokens, (tokens, tokens), then weigh them.")
        return
    _require(np.shape(given) == (3,), f"one distance a head is wanted, (3,), not shape {np.shape(given)}")
    apart = centres[:, None] - centres
    far = np.hypot(*np.moveaxis(apart, -1, 0))
    right = (weights * far).sum(axis=2).mean(axis=1)
    for wrong, hint in (
        (
            (weights * far).mean(axis=(1, 2)),
            "a row of attention adds up to 1: sum over it, and take the mean over rows",
        ),
        ((weights * far).sum(axis=(1, 2)), "that adds up all tokens; their mean is wanted"),
        ((weights * far**2).sum(axis=2).mean(axis=1), "that is the squared distance: take the root before weighing"),
        ((weights * np.abs(apart).sum(axis=-1)).sum(axis=2).mean(axis=1), "along the straight line: √(Δy² + Δx²)"),
        (np.full(3, far.mean()), "that is even attention; weigh with each head's own"),
    ):
        _require(not np.allclose(given, wrong, rtol=1e-4), hint)
    hint = f"{np.round(given, 1).tolist()} mm instead of {right.round(1).tolist()} for three heads and six tokens"
    _require(bool(np.allclose(given, right, rtol=1e-4)), hint)
    print("Right: and with even attention it is the mean distance of all pairs, which to compare with.")


def check_largest_coverage(function) -> None:
    """``function(confidence, right, target)`` -> the largest share of pages that may be answered."""
    sure = [0.9, 0.6, 0.8, 0.5, 0.7]
    if function(np.array(sure), np.array([True] * 5), 0.9) is None:
        print("Not answered yet: sort by confidence, then the share right among the first 1, 2, 3 … pages.")
        return
    for right, target, wanted, hint in (
        ([1, 1, 1, 1, 1], 0.9, 1.0, "all are right: everything may be answered"),
        ([1, 0, 1, 0, 1], 0.9, 0.6, "the surest come first: sort by confidence before you count"),
        ([1, 0, 1, 0, 1], 0.75, 0.8, "three of the surest four are right, and exactly 0.75 is enough"),
        ([1, 1, 0, 1, 1], 0.8, 1.0, "the second surest is wrong, but four of five are right: look on after a mistake"),
        ([0, 1, 1, 1, 1], 0.9, 0.0, "the surest page is wrong, and no share of the pages reaches 0.9: that is 0.0"),
    ):
        given = function(np.array(sure), np.array(right, dtype=bool), target)
        told = f"right {right} at confidences {sure}, target {target}"
        _require(np.ndim(given) == 0, f"one share is wanted, not shape {np.shape(given)}")
        _require(given is not None and given <= 1, f"{told}: give a share of the pages, not their number")
        _require(bool(np.isclose(given, wanted)), f"{told}: {given:.2f} instead of {wanted:.2f}: {hint}")
    print("Right. On few pages that coverage is chosen by luck, too: test it on others.")


def check_blank_form(answer) -> None:
    """Accuracy, balanced accuracy and macro-F1 of always answering Abnormal heartbeat, 140 of 295 pages."""
    if answer is None:
        print(
            "Not answered yet: recall is 1 for one condition and 0 for three; its precision is its share of the pages."
        )
        return
    _require(np.shape(answer) == (3,), "give three numbers: (accuracy, balanced accuracy, macro-F1)")
    share = 140 / 295
    f1 = 2 * share / (1 + share)
    right = np.array([share, 0.25, f1 / 4])
    given = np.array(answer, dtype=float)
    _require(not np.isclose(given[0], 1), "accuracy: 140 of all 295 pages are right")
    _require(abs(given[0] - right[0]) < 2e-3, f"accuracy {given[0]:.3f}: the share of right answers, 140 of 295")
    _require(not np.isclose(given[1], 1), "balanced accuracy is the mean recall of all four conditions: 1, 0, 0 and 0")
    _require(
        abs(given[1] - right[1]) < 2e-3, f"balanced accuracy {given[1]:.3f}: the mean of the recalls 1, 0, 0 and 0"
    )
    _require(abs(given[2] - f1) > 2e-3, "that is the F1 of Abnormal heartbeat; the other three count as 0 in the mean")
    _require(abs(given[2] - share / 4) > 2e-3, "F1 is 2 · precision · recall / (precision + recall), not the precision")
    _require(
        abs(given[2] - right[2]) < 2e-3, f"macro-F1 {given[2]:.3f}: a quarter of the F1 of the one condition answered"
    )
    print(f"Right: {right[0]:.3f}, {right[1]:.3f}, {right[2]:.3f}. Accuracy alone looks like half a success.")


# --- Chapter 09 ---


def check_fresh_or_kept(answer) -> None:
    """Seconds for pages that are fresh in each of 8 epochs of 4000, and for pages that are drawn once and kept."""
    if answer is None:
        print("Not answered yet: how often is a page drawn, and how often is a kept one read, in 8 epochs of 4000?")
        return
    _require(np.shape(answer) == (2,), "give two numbers: (seconds with fresh pages, seconds with kept ones)")
    fresh, kept = (float(each) for each in answer)
    draw, read, pages, epochs = 0.08, 0.001, 4000, 8
    _require(not np.isclose(fresh, draw * pages), "fresh pages are drawn anew in each of the 8 epochs")
    _require(
        bool(np.isclose(fresh, draw * pages * epochs, rtol=1e-3)),
        f"fresh: {fresh:g} s; each of 8 × 4000 pages is drawn, 0.08 s each, and nothing is read",
    )
    _require(not np.isclose(kept, draw * pages), "kept pages are read as well, once in each epoch")
    _require(not np.isclose(kept, (draw + read) * pages), "kept pages are read in each of the 8 epochs")
    _require(not np.isclose(kept, (draw + read) * pages * epochs), "kept pages are drawn once, not in every epoch")
    _require(
        bool(np.isclose(kept, pages * (draw + read * epochs), rtol=1e-3)),
        f"kept: {kept:g} s; 4000 pages are drawn once, and 8 × 4000 times one is read",
    )
    print(f"Right: {fresh:.0f} s and {kept:.0f} s. The longer the training, the more a kept page pays.")


def check_has_met(function) -> None:
    """``function(used, held_out, copy_of)`` -> the sorted names of the steps that have met a held-out page."""
    copy_of = {"a": 1, "b": 2, "c": 3, "d": 1, "e": 5, "f": 6}
    used = {"pretraining": set(), "fine-tuning": {"b", "c"}}
    if function(dict(used), {"a"}, dict(copy_of)) is None:
        print("Not answered yet: a step has met a page if the groups of its pages and of the held-out ones share one.")
        return
    for steps, held_out, wanted, hint in (
        (used, {"a"}, [], "none of its copies was used"),
        (used, {"a", "c"}, ["fine-tuning"], "c was trained on"),
        ({"tuning": {"d", "e"}}, {"a"}, ["tuning"], "d is a copy of a: compare groups, not pages"),
        (
            {"simulator": {"a", "b", "c", "e", "f"}, "early stopping": {"f"}, "training": {"b"}},
            {"f"},
            ["early stopping", "simulator"],
            "whatever a step does with a page counts, and the names are to be sorted",
        ),
    ):
        given = function({name: set(each) for name, each in steps.items()}, set(held_out), dict(copy_of))
        _require(isinstance(given, list | tuple), f"return a list of names, not {type(given).__name__}")
        listed = {name: sorted(each) for name, each in steps.items()}
        told = f"used {listed}, held out {sorted(held_out)}"
        _require(list(given) == wanted, f"{told}: {list(given)} instead of {wanted}: {hint}")
    print("Right. The simulator of this course has met the real pages; so say so wherever it is judged on them.")


def check_worth_in_pages(function) -> None:
    """``function(pages, scores, score)`` -> where a curve first reaches a score, along straight lines."""
    pages, rising = [30, 60, 120, 240], [0.4, 0.5, 0.6, 0.7]
    if function(list(pages), list(rising), 0.65) is None:
        print("Not answered yet: find the first segment whose end reaches the score, then go along it in proportion.")
        return
    for scores, score, wanted, hint in (
        (rising, 0.65, 180.0, "halfway from 0.6 to 0.7 is halfway from 120 to 240 pages"),
        (rising, 0.5, 60.0, "exactly 0.5 is reached at 60 pages"),
        (rising, 0.7, 240.0, "the last point reaches it exactly"),
        (rising, 0.71, float("inf"), "the curve never reaches it; do not go beyond the last point"),
        (rising, 0.3, 30.0, "the smallest number measured reaches it already; fewer were not measured"),
        ([0.4, 0.6, 0.5, 0.7], 0.55, 52.5, "the curve falls again: the first time counts"),
        ([0.4, 0.4, 0.4, 0.6], 0.5, 180.0, "the curve is level first: look for the segment that reaches the score"),
    ):
        given = function(list(pages), list(scores), score)
        _require(np.ndim(given) == 0 and given is not None, "one number of pages is wanted")
        told = f"pages {pages}, scores {scores}, score {score}"
        _require(bool(np.isclose(given, wanted, rtol=1e-6)), f"{told}: {given:.1f} instead of {wanted:.1f}: {hint}")
    print("Right. Both curves have intervals, so this number has one, too, and a wide one.")
