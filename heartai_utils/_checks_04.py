"""Checks of the exercises of chapter 04."""

from __future__ import annotations

import numpy as np

from heartai_utils._checks import NotYet, array, learners, number, require


def check_patch_counts(answer) -> None:
    """Patches of 16 × 16 on a thumbnail of 182 × 256: {"drop": (rows, columns), "pad": …, "pixels": number}."""
    if answer is None:
        print("Not answered yet: divide 182 and 256 by 16; what becomes of the remainder?")
        return
    wanted = {"drop": (11, 16), "pad": (12, 16), "pixels": 256}
    require(
        isinstance(answer, dict) and set(answer) == set(wanted),
        'give a dictionary with the entries "drop", "pad" and "pixels"',
    )
    for entry in ("drop", "pad"):
        given = tuple(array(answer[entry], (2,), f"{entry!r} is a pair: rows, columns").tolist())
        require(given != wanted[entry][::-1], f"{entry!r}: rows first, then columns, as NumPy has it")
        require(given != (11.375, 16), f"{entry!r}: 182 / 16 = 11.375, but patches are whole")
        require(given == wanted[entry], f"{entry!r}: 182 = 11 · 16 + 6 and 256 = 16 · 16; which rows are left over?")
    pixels = number(answer["pixels"], "pixels is one number")
    require(pixels != 16, "pixels: a patch has 16 rows of 16")
    require(pixels == wanted["pixels"], "pixels: rows of a patch times columns of a patch")
    print("Right: 11 × 16 = 176 patches or 12 × 16 = 192, of 256 pixels; the leftover is the same six rows.")


def check_unpatchify(function) -> None:
    """``function(patches, rows, columns)`` is to put (batch, patches, 64) back to (batch, 8 · rows, 8 · columns)."""
    function = learners(function)
    image = np.arange(2 * 24 * 40, dtype=np.float32).reshape(2, 24, 40)
    patches = image.reshape(2, 3, 8, 5, 8).transpose(0, 1, 3, 2, 4).reshape(2, 15, 64)
    try:
        made = function(patches.copy(), 3, 5)
    except NotYet as stopped:
        try:
            function(np.zeros((2, 704, 64), np.float32), 22, 32)
        except NotYet:
            hint = "the batch stays in front: reshape to (batch, rows, columns, side, side), and transpose five axes"
        else:
            hint = "it works for 22 × 32 patches alone: use the rows and columns that are handed in"
        raise NotYet(f"for 2 pages of 3 × 5 patches {stopped}; {hint}") from stopped
    if made is None:
        print("Not answered yet: reshape to five axes, transpose, reshape to three")
        return
    made = array(made, image.shape, "for 2 pages of 3 × 5 patches the shape is (2, 24, 40)")
    require(
        not np.array_equal(made, patches.reshape(image.shape)),
        "reshape alone gives the shape, not the picture: the axes within a patch must go back between",
    )
    require(np.array_equal(made, image), "the shape is right, pixels are misplaced: print the axes after each step")
    print("Right: cutting a page and putting it back loses nothing.")


def check_beyond_form(function, patches: np.ndarray, form_patches: np.ndarray, trace_ink: np.ndarray) -> None:
    """``function(patches, form_patches, count, first)`` is to keep the patches with most ink beyond the form.

    What that gains is told by pages: their patches (pages, 704, 64) and those of the form (704, 64), as ink, and how
    much of it is trace, (pages, 704).
    """
    function = learners(function)
    rng = np.random.default_rng(0)
    form, count, first = rng.uniform(0, 0.6, (30, 16)).astype(np.float32), 8, 5
    # some patches are paler than the form, some a little darker all over, some much darker in few pixels
    made_up = (form + rng.uniform(-0.3, 0.12, (3, 30, 16))).astype(np.float32)
    made_up[:, 10:16, :4] += 0.4
    kept = function(made_up.copy(), form.copy(), count, first)
    if kept is None:
        print("Not answered yet: difference, np.maximum(…, 0), square, sum, then as in keep_inkiest")
        return
    kept = array(kept, (3, count), "for 3 pages and count=8 the positions have the shape (3, 8)")

    def best(amount):
        return np.sort(np.argsort(-amount[:, first:], axis=1, kind="stable")[:, :count], axis=1) + first

    beyond = made_up - form
    wanted = best((np.maximum(beyond, 0) ** 2).sum(axis=-1))
    require(kept.min() >= first, f"position {kept.min()} lies before first={first}: add what you cut off in front")
    require(
        not np.array_equal(kept, best((made_up**2).sum(axis=-1))),
        "these are the inkiest patches of the page itself: take the form off first",
    )
    require(
        not np.array_equal(kept, best((np.maximum(-beyond, 0) ** 2).sum(axis=-1))),
        "these are the patches paler than the form: the sign is wrong, page minus form is ink beyond it",
    )
    require(
        not any(
            np.array_equal(kept, best(amount.sum(axis=-1)))
            for amount in (made_up**2 - form**2, np.maximum(made_up**2 - form**2, 0))
        ),
        "the difference of squares is not the square of the difference: take the form off first, then square",
    )
    require(
        not np.array_equal(kept, best((beyond**2).sum(axis=-1))),
        "paler than the form became ink when squared: set negative differences to 0 before",
    )
    require(
        not np.array_equal(kept, best(np.maximum(beyond, 0).sum(axis=-1))),
        "square the differences before you sum them",
    )
    require(
        not np.array_equal(np.sort(kept, axis=1), wanted) or np.array_equal(kept, wanted),
        "the right patches in the wrong order: positions ascend, as on the page",
    )
    require(np.array_equal(kept, wanted), "not the patches with most squared ink beyond the form")
    header, tokens = 128, 192  # as in the course's model
    inkiest = np.argsort(-(patches[:, header:] ** 2).sum(axis=-1), axis=1, kind="stable")[:, :tokens] + header
    chosen = function(patches.copy(), form_patches.copy(), tokens, header)
    chosen = array(chosen, inkiest.shape, f"for {len(patches)} pages and count={tokens} the shape is {inkiest.shape}")
    before, after = (np.take_along_axis(trace_ink, kept, axis=1) for kept in (inkiest, chosen.astype(int)))
    shares = [held.sum(axis=1) / trace_ink.sum(axis=1) for held in (before, after)]
    means, worst = ([f"{pick(share):.1%}" for share in shares] for pick in (np.mean, np.min))
    blank = [f"{(held == 0).sum(axis=1).mean():.0f}" for held in (before, after)]
    print(
        f"Right: on these {len(patches)} pages 192 tokens hold {means[1]} of the trace instead of {means[0]},"
        f" on the worst page {worst[1]} instead of {worst[0]}; {blank[1]} instead of {blank[0]} hold none."
    )
