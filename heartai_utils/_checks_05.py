"""Checks of the exercises of chapter 05."""

from __future__ import annotations

import numpy as np

from heartai_utils._checks import array, learners, number, require


def check_attention_parameters(answer) -> None:
    """Parameters of multi-head attention at width 96 with 12 heads of size 8."""
    if answer is None:
        print("Not answered yet: four projections, each with a bias; what is the size of a head?")
        return
    answer = number(answer, "a whole number is wanted")

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
    require(answer not in hints, hints.get(answer, ""))
    require(answer == right, "count 96 → 96 with a bias for queries, keys, values and output")
    print(f"Right: {right}, as with any other number of heads. It costs no parameter.")


def check_masked_attention(function) -> None:
    """``function(query, key, value, keep)``: attention in which tokens with ``keep`` False get the share 0."""
    function = learners(function)
    rng = np.random.default_rng(0)
    query, key, value = rng.normal(size=(3, 2, 5, 4))
    keep = np.array([True, False, True, True, False])
    with np.errstate(invalid="ignore"):  # a row of −∞ only; the hint below says more than NumPy's warning
        made = function(query.copy(), key.copy(), value.copy(), keep.copy())
    if made is None:
        print("Not answered yet: which score has the share 0 after the softmax?")
        return
    require(isinstance(made, tuple) and len(made) == 2, "hand back two things: gathered, shares")
    gathered, shares = (array(part, None, "gathered and shares are arrays of numbers") for part in made)
    require(
        shares.shape != (2, 5, 3),
        "shares are (2, 5, 3): without the other keys, what is gathered is right, but the table lacks their columns; "
        "leave those keys in and make their shares 0",
    )
    require(shares.shape == (2, 5, 5), f"shares are {shares.shape}; for 2 heads of 5 tokens they must be (2, 5, 5)")
    rows = shares[:, ~keep]  # where rows were masked: not a number from −∞ only, a fifth each from −10⁹, or set to 0
    require(
        not (np.isnan(rows).all() or np.allclose(rows, 1 / 5) or np.allclose(rows, 0, atol=1e-9)),
        "a row is who asks, a column who is asked: columns must be 0, not rows",
    )
    require(np.isfinite(shares).all(), "some shares are not numbers: ∞ − ∞, or 0 · ∞?")
    require(
        np.allclose(shares[..., ~keep], 0, atol=1e-9),
        "tokens left out still have a share: a score of 0 is a share above 0; only −∞ gives none",
    )
    require(
        np.allclose(shares.sum(axis=-1), 1),
        "rows do not sum to 1: set the scores before the softmax, or divide each row by its new sum after it",
    )
    scores = np.where(keep, query @ np.swapaxes(key, -1, -2) / 2, -np.inf)
    wanted = np.exp(scores - scores.max(axis=-1, keepdims=True))
    wanted /= wanted.sum(axis=-1, keepdims=True)
    require(np.allclose(shares, wanted), "the shares among those that are left are off: is √d there?")
    require(
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
    answer = number(answer, "a whole number is wanted")
    most = int((100e6 / (4 * 4 * 32)) ** 0.5)  # 441
    hints = {
        int((100e6 / (4 * 32)) ** 0.5): "a number has 4 bytes, and there are 4 heads: one of the two is missing",
        int((100e6 / (4 * 4)) ** 0.5): "that is for one page; a batch has 32",
        int((100 * 2**20 / (4 * 4 * 32)) ** 0.5): "1 MB is 10⁶ bytes here, not 2²⁰",
        int(100e6 / (4 * 4 * 32)): "that is N²: take the root",
        most + 1: "that needs a little more than 100 MB: round down",
    }
    require(answer not in hints, hints.get(answer, ""))
    require(answer % 1 == 0, "tokens are whole: round down")
    require(answer == most, "solve N² · 4 · 4 · 32 = 100 000 000 for N, and round down")
    print("Right: 441 tokens. The 704 of a whole page do not fit.")
