"""Answers to the exercises of chapter 06."""

from __future__ import annotations

import numpy as np

from answers import with_fault


def log_softmax(logits):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def picked(logits, labels):
    return log_softmax(logits)[np.arange(len(labels)), labels]


def naive(logits, labels):
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def adamw(weight, gradient, m, v, step, learning_rate, weight_decay, *, fault=""):
    """A right step, or one with a fault that learners make."""
    if fault == "l2":
        gradient += weight_decay * weight
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    power = 1 if fault == "power" else step
    m_hat, v_hat = m / (1 - 0.9**power), v / (1 - 0.999**power)
    if fault == "uncorrected":
        m_hat, v_hat = m, v
    move = learning_rate * m_hat / (np.sqrt(v_hat) + 1e-7)
    shrink = 1 - learning_rate * weight_decay
    if fault in ("l2", "none"):
        shrink = 1
    if fault == "rate":
        shrink = 1 - weight_decay
    weight = (weight - move) * shrink if fault == "after" else weight * shrink - move
    if fault == "momentum":
        weight = weight - 0.5 * move
    return (weight, m_hat, v_hat) if fault == "hands back" else (weight, m, v)


def stop_early(losses, patience):
    for run in range(1, len(losses) + 1):
        kept = int(np.argmin(losses[:run])) + 1
        if run - kept >= patience:
            break
    return run, kept


def against_the_epoch_before(losses, patience):
    bad = 0
    for run in range(1, len(losses) + 1):
        bad = bad + 1 if run > 1 and losses[run - 1] >= losses[run - 2] else 0
        if bad >= patience:
            break
    return run, int(np.argmin(losses[:run])) + 1


def ties_are_lower(losses, patience):
    for run in range(1, len(losses) + 1):
        kept = run - int(np.argmin(losses[:run][::-1]))
        if run - kept >= patience:
            break
    return run, kept


WRONG = {
    "check_cross_entropy": [
        (lambda z, y: -picked(z, y), "one number for all pages"),
        (lambda z, y: -picked(z, y).sum(), "sum over the pages"),
        (lambda z, y: picked(z, y).mean(), "sign"),
        (lambda z, y: -picked(z, y).mean() / np.log(2), "bits"),
        (lambda z, y: -picked(z, y).mean() / np.log(10), "decimal"),
        (lambda z, y: -picked(np.exp(log_softmax(z)), y).mean(), "twice"),
        (lambda z, y: -np.exp(picked(z, y)).mean(), "logarithm of each"),
        (lambda z, y: -log_softmax(z).mean(), "its own label"),
        (naive, "overflows"),
    ],
    "check_adamw_step": [
        (with_fault(adamw, fault="l2"), "no weight in it"),
        (with_fault(adamw, fault="hands back"), "uncorrected"),
        (with_fault(adamw, fault="none"), "nothing decays"),
        (with_fault(adamw, fault="rate"), "not multiplied by the learning rate"),
        (with_fault(adamw, fault="after"), "before Adam's step"),
        (with_fault(adamw, fault="uncorrected"), "having started at 0"),
        (with_fault(adamw, fault="power"), "power of the step"),
        (with_fault(adamw, fault="momentum"), "the first step gives"),
        (lambda *values: adamw(*values)[:2], "three things"),
    ],
    "check_steps_and_shrinkage": [
        (455, "two numbers"),
        ((420, 0.9775), "last, smaller batch"),
        ((13, 0.9775), "one epoch"),
        ((429.84, 0.9775), "round"),
        ((455, 0.95**455), "learning_rate · weight_decay"),
        ((455, 1 - 5e-5**455), "to the power of the steps"),
        ((455, 0.0225), "that remains"),
        ((455, 0.9), "each of the 455 steps"),
    ],
    "check_early_stopping": [
        (lambda z, p: stop_early(z, p)[0], "two numbers"),
        (lambda z, p: stop_early(z, 99), "compare with the lowest"),
        (lambda z, p: (len(z), int(np.argmin(z)) + 1), "compare with the lowest"),
        (lambda z, p: stop_early(z, p)[::-1], "patience does not run out"),
        (lambda z, p: tuple(n - 1 for n in stop_early(z, p)), "patience does not run out"),
        (lambda z, p: (stop_early(z, p)[0], int(np.argmin(z)) + 1), "epoch 7 is never run"),
        (lambda z, p: stop_early(z, p + 1), "compare with the lowest"),
        (against_the_epoch_before, "compare with the lowest"),
        (ties_are_lower, "an equal loss"),
        (lambda z, p: stop_early(z, max(p, 2)), "patience 1"),
    ],
}
ALSO_RIGHT = {
    "check_cross_entropy": [lambda logits, labels: -picked(logits, labels).mean()],
    "check_adamw_step": [adamw, lambda *values: list(adamw(*values))],
    "check_steps_and_shrinkage": [(455, 0.9775), [455, (1 - 5e-5) ** 455], np.array([455, 0.978])],
    "check_early_stopping": [stop_early],
}
