"""The checks that learners run on their answers: a wrong answer gets a hint, a right one a short word.

Each check raises :class:`NotYet` with a message that helps, or prints what was right.
"""

from __future__ import annotations


class NotYet(AssertionError):
    """The answer is not right yet; the message says what to look at again.

    In a notebook it shows as one line instead of a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def _require(right: bool, hint: str) -> None:
    if not right:
        raise NotYet(hint)
