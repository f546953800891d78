"""Answers to the exercises of chapter 05."""

from __future__ import annotations

import numpy as np

from answers import with_fault


def masked(query, key, value, keep, scale=True, fill=-np.inf, axis="columns", late=False, again=False):
    scores = query @ np.swapaxes(key, -1, -2) / (np.sqrt(query.shape[-1]) if scale else 1)
    mask = keep if axis == "columns" else keep[:, None]
    if not late:
        scores = np.where(mask, scores, fill)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares = shares / shares.sum(axis=-1, keepdims=True)
    if late:
        shares = shares * mask
    if again:
        shares = shares / shares.sum(axis=-1, keepdims=True)
    return shares @ value, shares


def without_the_keys(query, key, value, keep):
    return masked(query, key[:, keep], value[:, keep], keep[keep])


WRONG = {
    "check_attention_parameters": [
        (36_864, "bias"),
        (27_936, "fourth"),
        (27_648, "two things"),
        (446_976, "split"),
        (3_104, "one head"),
        (16_640, "width of 64"),
        (7, "count"),
        ("37248", "whole number"),
        ([37_248], "whole number"),
    ],
    "check_masked_attention": [
        (with_fault(masked, fill=0.0), "a score of 0"),
        (with_fault(masked, late=True), "before the softmax, or divide"),
        (with_fault(masked, axis="rows"), "columns must be 0"),
        (with_fault(masked, axis="rows", fill=-1e9), "columns must be 0"),
        (with_fault(masked, axis="rows", late=True), "columns must be 0"),
        (with_fault(masked, scale=False), "√d"),
        (lambda query, key, value, keep: value, "two things"),
        (lambda q, k, v, keep: (v, masked(q, k, v, keep)[1]), "shares @ value"),
        (without_the_keys, "leave those keys in"),
        (lambda q, k, v, keep: (v, np.where(keep, 1.0, np.nan) * np.ones((2, 5, 5))), "not numbers"),
        (lambda q, k, v, keep: ("gathered", masked(q, k, v, keep)[1]), "arrays of numbers"),
    ],
    "check_tokens_for_memory": [
        (883, "4 heads"),
        (883.9, "whole"),
        (2500, "one page"),
        (452, "10⁶"),
        (195_312, "root"),
        (442, "round down"),
        (441.9, "whole"),
        (float("nan"), "whole"),
        ("441", "whole number is wanted"),
        (100, "solve"),
    ],
}
ALSO_RIGHT = {
    "check_attention_parameters": [37_248.0],
    "check_masked_attention": [masked, with_fault(masked, fill=-1e9), with_fault(masked, late=True, again=True)],
    "check_tokens_for_memory": [np.int64(441)],
}
