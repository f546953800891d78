"""Wrong answers to every exercise, a module for each chapter, with what the hint of the check must say of them.

``WRONG`` has, for each check, pairs of an answer and a regular expression; ``ALSO_RIGHT`` other answers that are as
right as the solution. An answer that takes long to work out is a :class:`Later`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Later:
    """An answer that is worked out when it is needed."""

    make: Callable


def with_fault(function: Callable, **fault) -> Callable:
    """The function with keyword arguments that make its answer wrong."""
    return lambda *arguments: function(*arguments, **fault)
