"""Answers to the exercises of chapter 03."""

from __future__ import annotations

import numpy as np


def block_means(image, factor):
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: rows * factor, : columns * factor]
    return whole.reshape(rows, factor, columns, factor).mean(axis=(1, 3))


def means_by(reshaped, axes):
    def function(image, factor):
        rows, columns = image.shape[0] // factor, image.shape[1] // factor
        return image[: rows * factor, : columns * factor].reshape(reshaped(rows, columns, factor)).mean(axis=axes)

    return function


def overflowing(image, factor):
    rows, columns = image.shape[0] // factor, image.shape[1] // factor
    whole = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    return whole.sum(axis=(1, 3), dtype=np.uint8) / factor**2


def centres(ink, mv):
    total = ink.sum(axis=0)
    return np.divide(mv @ ink, total, out=np.full(total.shape, np.nan), where=total > 0)


def centres_unsaid(ink, mv):
    with np.errstate(invalid="ignore"):
        return mv @ ink / ink.sum(axis=0)


def ink(image, black, white):
    return 255 * np.clip((white - image.astype(float)) / (white - black), 0, 1)


WRONG = {
    "check_thumbnail_width": [
        (500, "rhythm strip"),
        (562, "round up"),
        (562.1, "whole"),
        (117, "fewer"),
        (568, "multiple"),
        (600, "18.7"),
        (0, "whole"),
    ],
    "check_block_means": [
        (lambda image, factor: image[::factor, ::factor], "single pixels"),
        (means_by(lambda r, c, f: (r, c, f, f), (2, 3)), "in that order"),
        (means_by(lambda r, c, f: (r, f, c, f), (0, 2)), "shape"),
        (overflowing, "overflows"),
        (lambda image, factor: np.round(block_means(image, factor)), "floats"),
        (lambda image, factor: 255 - block_means(image, factor), "not the means"),
        (lambda image, factor: block_means(image[-(image.shape[0] // factor) * factor :], factor), "cut the last"),
        (lambda image, factor: image.reshape(24 // factor, factor, 40 // factor, factor).mean((1, 3)), "in the line"),
    ],
    "check_centres": [
        (lambda ink, mv: mv[ink.argmax(axis=0)], "darkest row"),
        (lambda ink, mv: centres((ink > 0).astype(float), mv), "weigh"),
        (lambda ink, mv: mv @ ink, "divide by the ink"),
        (lambda ink, mv: mv @ ink / ink.sum(), "own ink"),
        (lambda ink, mv: np.nan_to_num(centres(ink, mv)), "NaN"),
        (lambda ink, mv: mv @ ink / ink.sum(axis=0), "warning"),
        (lambda ink, mv: ink.mean(axis=1)[:3], "shape"),
        (lambda ink, mv: np.full(4, np.nan), "gives no number"),
    ],
    "check_ink": [
        (lambda image, black, white: 255 * np.clip((np.uint8(white) - image) / (white - black), 0, 1), "negative"),
        (lambda image, black, white: 255 * (white - image.astype(float)) / (white - black), "clip"),
        (lambda image, black, white: ink(image, black, white) / 255, "0 to 1"),
        (lambda image, black, white: 255 - ink(image, black, white), "wrong way round"),
        (lambda image, black, white: 255.0 - image, "darkness"),
        (lambda image, black, white: np.where(image < white, 255.0, 0), "threshold"),
        (lambda image, black, white: np.where(image <= black, 255.0, 0), "threshold"),
        (lambda image, black, white: np.round(ink(image, black, white)), "rounded"),
        (lambda image, black, white: ink(image, 40, 140), "black 0 and white 255"),
        (lambda image, black, white: ink(image, black, white).ravel(), "shape"),
        (lambda image, black, white: np.sqrt(ink(image, black, white)), "for"),
    ],
}
ALSO_RIGHT = {
    "check_thumbnail_width": [563.0],
    "check_block_means": [block_means],
    "check_centres": [centres, centres_unsaid],
    "check_ink": [ink, lambda image, black, white: np.interp(image, [black, white], [255, 0])],
}
