"""What all checks of exercises share: how an answer is taken, and how a wrong one is turned down.

Whatever a learner hands in, a check answers with a hint. So answers are taken by :func:`learners`, :func:`number`,
:func:`array` and :func:`truth`, which turn down what is of another kind.
"""

from __future__ import annotations

import reprlib
import traceback
from collections.abc import Callable

import numpy as np


class NotYet(AssertionError):
    """The answer is not right yet; the message says what to look at again.

    In a notebook it shows as one line instead of a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def require(right: bool, hint: str) -> None:
    """Raises :class:`NotYet` with the hint unless the answer is right in this respect."""
    if not right:
        raise NotYet(hint)


def learners(function) -> Callable:
    """The learner's function; where it stops with an error, the hint tells which and in which line.

    Raises:
        NotYet: if it is no function, and when the function is called and stops.
    """
    require(callable(function), f"hand in the function itself, by its name without brackets, not {shown(function)}")

    def call(*arguments):
        try:
            return function(*arguments)
        except Exception as error:
            raise NotYet(f"your function stops with {type(error).__name__}: {error}{_line(function, error)}") from error

    return call


def number(answer, wanted: str, finite: bool = True) -> float:
    """The answer as a float; ``wanted`` says what is asked for if it is no single number."""
    value = array(answer, (), wanted)
    require(bool(np.isfinite(value)) or (not finite and not np.isnan(value)), f"{wanted}, not {shown(answer)}")
    return float(value)


def array(answer, shape: tuple[int, ...] | None, wanted: str) -> np.ndarray:
    """The answer as an array of numbers; ``wanted`` says what is asked for if it is none, or of another shape."""
    try:
        values = np.asarray(answer)
        values = values.astype(float) if values.dtype.kind == "O" else values  # fractions, or tensors in a list
    except (TypeError, ValueError):
        raise NotYet(f"{wanted}, not {shown(answer)}") from None
    require(values.dtype.kind in "iuf" and (shape is None or values.shape == shape), f"{wanted}, not {shown(answer)}")
    return values


def truth(answer, wanted: str) -> bool:
    """The answer as True or False; nothing counts as False."""
    try:
        return bool(answer)
    except ValueError:  # an array of many
        raise NotYet(f"{wanted}, not {shown(answer)}") from None


def shown(answer) -> str:
    """An answer in a few words: arrays by their shape, all else as Python writes it, shortened."""
    if isinstance(answer, np.ndarray) and answer.ndim:
        return f"an array of shape {answer.shape} and type {answer.dtype}"
    if isinstance(answer, tuple | list):
        answer = type(answer)(part.item() if isinstance(part, np.generic) else part for part in answer)
    return " ".join(reprlib.repr(answer).split())


def _line(function, error: Exception) -> str:
    """The learner's own line in which the error arose, if it arose in one."""
    file = getattr(getattr(function, "__code__", None), "co_filename", None)
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return f", in the line “{lines[-1]}”" if lines and lines[-1] else ""
