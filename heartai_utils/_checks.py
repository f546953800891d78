"""What all checks of exercises share: how a wrong answer is turned down."""

from __future__ import annotations


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
