"""The four conditions that the course tells apart: their labels, names, published folders and colours."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """One of the four conditions.

    Attributes:
        label: the class index, 0 to 3, used as target by the loss.
        name: as written in tables and figures.
        short: one to three letters, for crowded axes.
        folder: the folder of the published dataset (doi:10.17632/gwbz3fsgp8.2).
        stem: how that folder's files begin: ``stem(n).jpg``.
        colour: from the palette of Okabe and Ito (2008), told apart by the colour-blind.
    """

    label: int
    name: str
    short: str
    folder: str
    stem: str
    colour: str

    def __str__(self) -> str:
        return self.name


NORMAL = Condition(0, "Normal", "N", "Normal Person ECG Images (284x12=3408)", "Normal", "#009E73")
MYOCARDIAL_INFARCTION = Condition(
    1, "Myocardial infarction", "MI",
    "ECG Images of Myocardial Infarction Patients (240x12=2880)", "MI", "#D55E00",
)  # fmt: skip
ABNORMAL_HEARTBEAT = Condition(
    2, "Abnormal heartbeat", "AHB",
    "ECG Images of Patient that have abnormal heartbeat (233x12=2796)", "HB", "#0072B2",
)  # fmt: skip
HISTORY_OF_MI = Condition(
    3, "History of MI", "PMI",
    "ECG Images of Patient that have History of MI (172x12=2064)", "PMI", "#CC79A7",
)  # fmt: skip

CONDITIONS = (NORMAL, MYOCARDIAL_INFARCTION, ABNORMAL_HEARTBEAT, HISTORY_OF_MI)
NAMES = tuple(condition.name for condition in CONDITIONS)


def condition_of(key: Condition | str | int) -> Condition:
    """Find a condition by itself, its label, name, short name, file stem or published folder.

    Names are compared without regard to case.

    Raises:
        ValueError: if nothing matches; the message lists what would.
    """
    for condition in CONDITIONS:
        if isinstance(key, str):
            names = (condition.name, condition.short, condition.stem, condition.folder)
            if key.casefold() in (name.casefold() for name in names):
                return condition
        elif key == condition or (not isinstance(key, bool) and key == condition.label):
            return condition
    raise ValueError(f"{key!r} is none of the four conditions: use one of {', '.join(NAMES)} or a label 0 to 3")
