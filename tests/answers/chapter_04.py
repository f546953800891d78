"""Answers to the exercises of chapter 04."""

from __future__ import annotations

import numpy as np

from answers import with_fault

RIGHT = {"drop": (11, 16), "pad": (12, 16), "pixels": 256}


def unpatchify(patches, rows, columns, side=8):
    tiles = patches.reshape(len(patches), rows, columns, side, side).transpose(0, 1, 3, 2, 4)
    return tiles.reshape(len(patches), rows * side, columns * side)


def beyond_form(patches, form_patches, count, first, power=2, floor=0.0, form=True, start=True, ordered=True):
    beyond = np.maximum(patches - form_patches * form, floor)
    amount = (beyond**power).sum(axis=-1)[:, first:]
    best = np.argsort(-amount, axis=1, kind="stable")[:, :count]
    return (np.sort(best, axis=1) if ordered else best) + first * start


def by_amount(amount):
    def keep(patches, form_patches, count, first):
        summed = amount(patches, form_patches).sum(axis=-1)[:, first:]
        return np.sort(np.argsort(-summed, axis=1, kind="stable")[:, :count], axis=1) + first

    return keep


WRONG = {
    "check_patch_counts": [
        ({"drop": (11, 16)}, "the entries"),
        (176, "the entries"),
        (RIGHT | {"drop": 176}, "pair"),
        (RIGHT | {"drop": (16, 11)}, "rows first"),
        (RIGHT | {"drop": (11.375, 16)}, "whole"),
        (RIGHT | {"drop": (12, 16)}, "left over"),
        (RIGHT | {"pad": (11, 16)}, "'pad'"),
        (RIGHT | {"pixels": 16}, "16 rows of 16"),
        (RIGHT | {"pixels": 64}, "times columns"),
        (RIGHT | {"pixels": (16, 16)}, "one number"),
    ],
    "check_unpatchify": [
        (lambda p, rows, columns: p, "shape is"),
        (lambda p, rows, columns: p.reshape(len(p), rows * 8, columns * 8), "reshape alone"),
        (lambda p, rows, columns: unpatchify(p, columns, rows), "shape is"),
        (lambda p, rows, columns: unpatchify(p[..., ::-1], rows, columns), "misplaced"),
        (lambda p, rows, columns: unpatchify(p, 22, 32), "22 × 32 patches alone"),
        (lambda p, rows, columns: p.reshape(rows, columns, 8, 8).transpose(0, 2, 1, 3), "the batch stays in front"),
    ],
    "check_beyond_form": [
        (with_fault(beyond_form, form=False), "take the form off"),
        (with_fault(beyond_form, floor=-np.inf), "set negative differences to 0"),
        (with_fault(beyond_form, power=1), "square"),
        (with_fault(beyond_form, start=False), "before first=5"),
        (with_fault(beyond_form, ordered=False), "wrong order"),
        (by_amount(lambda page, form: np.maximum(form - page, 0) ** 2), "the sign is wrong"),
        (by_amount(lambda page, form: page**2 - form**2), "difference of squares"),
        (by_amount(lambda page, form: np.maximum(page**2 - form**2, 0)), "difference of squares"),
        (lambda patches, form, count, first: np.arange(count), "shape"),
    ],
}
ALSO_RIGHT = {
    "check_patch_counts": [RIGHT, RIGHT | {"drop": [11, 16]}],
    "check_unpatchify": [unpatchify],
    "check_beyond_form": [beyond_form],
}
