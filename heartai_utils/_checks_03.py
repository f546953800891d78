"""Checks of the exercises of chapter 03."""

from __future__ import annotations

import warnings

import numpy as np

from heartai_utils._checks import array, learners, number, require
from heartai_utils.page import PX_PER_SECOND, WIDTH


def check_thumbnail_width(answer) -> None:
    """The smallest width in pixels at which one thumbnail pixel covers at most 20 ms of the page."""
    if answer is None:
        print("Not answered yet: how many milliseconds is the whole page wide, and how many pixels of 20 ms are that?")
        return
    answer = number(answer, "a whole number of pixels is wanted")
    require(answer > 0 and answer == int(answer), f"a whole number of pixels is wanted, not {answer:g}")
    answer = int(answer)
    exact = WIDTH / PX_PER_SECOND / 0.020
    for wrong, hint in (
        (500, "10 s are the rhythm strip; the page is wider than its traces: 2213 px"),
        (int(exact), f"at {int(exact)} px, one pixel still covers a little more than 20 ms: round up"),
        (117, "that is fewer pixels than 256, so each covers more time, not less"),
        (568, "no need for a multiple of 8 here: the smallest whole number"),
    ):
        require(answer != wrong, hint)
    right = int(np.ceil(exact))
    covers = 1000 * WIDTH / PX_PER_SECOND / answer
    require(answer == right, f"at {answer} px, one pixel covers {covers:.2f} ms; find the smallest with 20 at most")
    print(f"Right: {right} px, more than twice the course's 256, and nearly five times as many patches.")


def check_block_means(function) -> None:
    """``function(image, factor)`` is to average blocks of factor × factor pixels, leaving incomplete blocks out."""
    function = learners(function)
    image = np.random.default_rng(0).integers(0, 256, (24, 40), dtype=np.uint8)
    given = function(image.copy(), 8)
    if given is None:
        print("Not answered yet: reshape to (rows, factor, columns, factor), then average over two of the axes.")
        return
    wanted = image.reshape(3, 8, 5, 8).mean(axis=(1, 3))
    given = array(given, (3, 5), "24 × 40 by 8 must give the shape (3, 5)")
    require(not np.allclose(given, image[::8, ::8]), "these are single pixels, as nearest takes; the mean is wanted")
    require(
        not np.allclose(given, image.reshape(3, 8, 5, 8).sum(axis=(1, 3), dtype=np.uint8) / 64),
        "uint8 overflows at 256: sum in a wider type, or use mean",
    )
    require(
        not np.allclose(given, image.reshape(3, 5, 8, 8).mean(axis=(2, 3))),
        "the axes are (row of blocks, within, column of blocks, within): reshape in that order",
    )
    require(
        np.allclose(given, wanted) or not np.allclose(given, wanted, atol=1),
        "nearly: floats are wanted, not rounded grey levels",
    )
    require(bool(np.allclose(given, wanted)), "not the means of the blocks")
    ragged = array(function(image.copy(), 7), (3, 5), "24 × 40 by 7 has 3 × 5 whole blocks, (3, 5)")
    require(
        bool(np.allclose(ragged, image[:21, :35].reshape(3, 7, 5, 7).mean(axis=(1, 3)))),
        "factor 7: cut the last 3 rows and 5 columns off before you reshape",
    )
    print("Right: every pixel of a block counts once, and none twice.")


def check_centres(function) -> None:
    """``function(ink, mv)`` is to find each column's centre of mass in mV, NaN where there is no ink."""
    function = learners(function)
    ink = np.array([[0.0, 0, 90, 10], [30, 0, 0, 20], [10, 0, 30, 10], [0, 0, 0, 60]])
    mv = np.array([0.3, 0.2, 0.1, 0.0])
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        given = function(ink.copy(), mv.copy())
    if given is None:
        print("Not answered yet: sum of mV times ink over the rows, divided by the sum of ink.")
        return
    given = array(given, (4,), "one number a column is wanted, the shape (4,)")
    full = [0, 2, 3]
    require(bool(np.isfinite(given[full]).all()), "a column with ink gives no number")
    wanted = (mv @ ink)[full] / ink.sum(axis=0)[full]
    require(not np.allclose(given[full], mv[ink.argmax(axis=0)][full]), "that is the darkest row, not the centre")
    require(
        not np.allclose(given[full], [mv[ink[:, column] > 0].mean() for column in full]),
        "each row with ink counts alike: weigh by the ink",
    )
    require(not np.allclose(given[full], (mv @ ink)[full]), "divide by the ink of the column")
    require(not np.allclose(given[full], (mv @ ink)[full] / ink.sum()), "divide by each column's own ink, not by all")
    require(bool(np.allclose(given[full], wanted)), f"{given[full].round(3).tolist()} for {wanted.round(3).tolist()}")
    require(bool(np.isnan(given[1])), "a column without ink has no centre: NaN, or a lost column passes for 0 mV")
    require(not raised, "right numbers, but 0 / 0 raised a warning: np.divide(…, where=total > 0) avoids it")
    print("Right: now a lost column cannot pass for a level one.")


def check_ink(function) -> None:
    """``function(image, black, white)`` is to give the ink of grey levels: 255 to 0 by a slope from black to white."""
    function = learners(function)
    image = np.array([[0, 30, 40, 60], [90, 139, 140, 255]], np.uint8)
    given = function(image.copy(), 40, 140)
    if given is None:
        print("Not answered yet: (white - grey) / (white - black), kept between 0 and 1, times 255.")
        return
    given = array(given, (2, 4), "each pixel has its ink, so the shape is that of the image, here (2, 4)")
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
        require(not np.allclose(given, wrong), hint)
    require(
        np.allclose(given, wanted) or not np.allclose(given, wanted, atol=1), "nearly: floats are wanted, not rounded"
    )
    require(bool(np.allclose(given, wanted)), f"{given.round(1).tolist()} for {wanted.round(1).tolist()}")
    other = array(function(image.copy(), 0, 255), (2, 4), "the shape is that of the image")
    require(bool(np.allclose(other, 255.0 - image)), "with black 0 and white 255 the ink is 255 less the grey")
    print("Right: paper and pale dots weigh nothing now, and no empty page is needed to tell them.")
