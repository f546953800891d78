"""Checks of the exercises of chapter 06."""

from __future__ import annotations

import numpy as np

from heartai_utils._checks import array, learners, number, require


def check_cross_entropy(answer) -> None:
    """``answer(logits, labels)``: mean cross-entropy of (pages, classes) logits and (pages,) labels, in nats."""
    answer = learners(answer)
    logits = np.array([[2.0, 0.0, 1.0, -1.0], [0.5, 0.5, 0.5, 0.5], [-3.0, 4.0, 0.0, 1.0]])
    labels = np.array([3, 0, 1])
    given = answer(logits, labels)
    if given is None:
        print("Not answered yet: subtract each row's largest logit before the exponential; average over pages.")
        return
    given, right = number(given, "one number for all pages is wanted"), -log_softmax(logits)[range(3), labels].mean()
    probabilities = np.exp(log_softmax(logits))
    twice = -log_softmax(probabilities)[range(3), labels].mean()
    for wrong, hint in (
        (3 * right, "that is the sum over the pages; average them, or the loss grows with the batch"),
        (-right, "the sign: −ln of a probability is positive"),
        (right / np.log(2), "that is in bits; the natural logarithm is wanted"),
        (right / np.log(10), "that is the decimal logarithm; the natural one is wanted"),
        (twice, "softmax is applied twice"),
        (-probabilities[range(3), labels].mean(), "take the logarithm of each probability before the mean"),
    ):
        require(not np.isclose(given, wrong), hint)
    require(bool(np.isclose(given, right)), f"{given:.4f}: pick from each row the probability of its own label")
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        large = answer(np.array([[1000.0, 0.0, 0.0, 0.0]]), np.array([1]))
    hint = "exp(1000) overflows and exp(−1000) is 0: shift the logits, and write ln p as logit − ln Σ exp"
    large = array(large, (), "one number for all pages is wanted")
    require(bool(np.isclose(large, 1000.0)), f"a logit of 1000 gives {large}, not 1000; {hint}")
    print(f"Right: {given:.4f}, and a logit of 1000 does not break it.")


def check_adamw_step(answer) -> None:
    """``answer(weight, gradient, m, v, step, learning_rate, weight_decay)`` -> new weight, m, v."""
    answer = learners(answer)
    gradients, rate, decay = (0.5, -0.2, 0.1), 0.01, 0.1
    state = answer(1.0, gradients[0], 0.0, 0.0, 1, rate, decay)
    if state is None or (isinstance(state, tuple | list) and state and state[0] is None):
        print("Not answered yet: m and v first, then their corrected values, then the decay and Adam's step.")
        return
    given, right = [], adamw_path(gradients, rate, decay)
    weight, m, v = 1.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        state = answer(weight, gradient, m, v, step, rate, decay)
        weight, m, v = array(state, (3,), "three things are wanted: the new weight, m and v").tolist()
        given.append((weight, m, v))
    for i, name in ((1, "m"), (2, "v")):
        hint = f"hand back the running mean of {'g' if name == 'm' else 'g²'} itself, uncorrected, with no weight in it"
        require(bool(np.isclose(given[0][i], right[0][i])), f"the first step's {name} is {given[0][i]:.6f}: {hint}")
    first = given[0][0]
    step_alone = right[0][0] - (1 - rate * decay)  # Adam's own first step, about −learning_rate
    for wrong, hint in (
        (1 + step_alone, "nothing decays: multiply the weight by 1 − learning_rate · weight_decay"),
        (1 - decay + step_alone, "the decay is not multiplied by the learning rate"),
        ((1 + step_alone) * (1 - rate * decay), "decay the weight before Adam's step, as Keras does, not after it"),
        ((1 - rate * decay) - rate * 0.1 / 0.001**0.5, "correct m and v for having started at 0"),
    ):
        require(not np.isclose(first, wrong, rtol=0, atol=3e-7), f"the first step: {hint}")
    require(bool(np.isclose(first, right[0][0])), f"the first step gives {first:.6f} instead of {right[0][0]:.6f}")
    hint = "only the first step is right: the corrections are 1 − β₁ and 1 − β₂ with each β to the power of the step"
    require(np.allclose(given, right), hint)
    print("Right: " + ", ".join(f"{row[0]:.5f}" for row in given) + " after three steps.")


def check_steps_and_shrinkage(answer) -> None:
    """(steps, factor) of 35 epochs with 393 pages, batches of 32, learning rate 0.001, weight decay 0.05."""
    if answer is None:
        print("Not answered yet: how many batches are 393 pages, if the last one may be smaller?")
        return
    steps, factor = array(answer, (2,), "give two numbers: (steps, factor)")
    require(steps != 35 * 12, "the last, smaller batch is a step too: 393 = 12 · 32 + 9")
    require(steps not in (13, 12.28125), "that is one epoch; there are 35")
    require(steps == 455, f"{steps:g} steps: round 393 / 32 up, then times 35 epochs")
    require(not np.isclose(factor, 0.95**455), "each step takes learning_rate · weight_decay, not weight_decay")
    require(not np.isclose(factor, 1 - 0.00005**455), "(1 − x) to the power of the steps, not 1 − x to that power")
    require(not 0.02 < factor < 0.03, "that is what is lost; the factor that remains is wanted")
    require(abs(factor - 0.99995**455) < 5e-4, f"{factor:.4f}: each of the 455 steps multiplies by 1 − 0.00005")
    print("Right: 455 steps leave 97.75 % of a kernel that no gradient touches.")


def check_early_stopping(answer) -> None:
    """``answer(losses, patience)`` -> (epochs run, epoch kept), both counted from 1."""
    answer = learners(answer)
    given = answer([1.4, 1.2, 1.1, 1.3], 5)
    if given is None:
        print("Not answered yet: keep the lowest loss so far and the epoch it was in; stop when that is too long ago.")
        return
    losses = [1.4, 1.2, 1.1, 1.3, 1.25, 1.27, 1.0, 1.2]
    for monitored, patience, right, hint in (
        ([1.4, 1.2, 1.1, 1.3], 5, (4, 3), "patience does not run out: all 4 epochs are run, the third has the lowest"),
        ([1.0, 2.0, 1.9, 1.8], 2, (3, 1), "compare with the lowest loss so far, not with the epoch before"),
        (losses, 3, (6, 3), "after epoch 6 the lowest loss is 3 epochs old: epoch 7 is never run, however low"),
        (losses, 4, (8, 7), "the loss of epoch 7 comes in time, and the count begins again"),
        ([1.1, 1.3, 1.2, 1.1], 3, (4, 1), "an equal loss is not a lower one; the count goes on, and the first is kept"),
        ([1.0, 1.1, 0.9], 1, (2, 1), "patience 1 stops after the first epoch that is not lower"),
    ):
        given = answer(list(monitored), patience)
        run, kept = array(given, (2,), "two numbers are wanted: (epochs run, epoch kept)").tolist()
        require(
            (run, kept) == right, f"{monitored} with patience {patience} gives {run:g}, {kept:g}, not {right}: {hint}"
        )
    print("Right: a run stops a patience after the epoch that is kept.")


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def adamw_path(gradients, rate: float, decay: float) -> list[tuple[float, float, float]]:
    """Weight, m, v after each step from 1, 0, 0: Adam (arXiv:1412.6980), decay decoupled (arXiv:1711.05101)."""
    weight, m, v, path = 1.0, 0.0, 0.0, []
    for step, gradient in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        corrected = m / (1 - 0.9**step), v / (1 - 0.999**step)
        weight = weight * (1 - rate * decay) - rate * corrected[0] / (corrected[1] ** 0.5 + 1e-7)
        path.append((weight, m, v))
    return path
