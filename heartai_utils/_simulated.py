"""One page of a simulated set, before it is a file: what is decided for it, the drawing, and the planted shortcuts.

Nothing outside the trace follows from the condition, but for what the machine itself reads off the trace (heart rate,
lead off) and for the shortcuts that are asked for.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from heartai_utils.conditions import NAMES, Condition, condition_of
from heartai_utils.page import PageDetails, draw_page, encode_page
from heartai_utils.simulation import simulate_recording

RATE_MATCHED_BPM = (50.0, 90.0)
"""The heart rates of a rate-matched set, uniform: those of a normal heart, which all four conditions have."""
_SAME_ID = 1 - 311 / 491  # the share of pages with an earlier page's printed ID: 311 are on the 491 distinct pages


# --- Planted shortcuts ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shortcut:
    """Something outside the trace that gives one condition away.

    Attributes:
        sentence: what tells the pages of that condition from the others.
        plant: makes a page's details follow the shortcut, given whether the page is of that condition.
    """

    sentence: str
    plant: Callable[[PageDetails, bool], PageDetails]


def _either(field: str, theirs, others) -> Callable[[PageDetails, bool], PageDetails]:
    return lambda details, given_away: replace(details, **{field: theirs if given_away else others})


def _printed_id(details: PageDetails, given_away: bool) -> PageDetails:
    """900,000 and above for the condition, below it for the others; pages that share an ID mostly still do."""
    number = int(details.printed_id)
    return replace(details, printed_id=str(900_000 + number % 100_000 if given_away else 100_000 + number % 800_000))


SHORTCUTS: dict[str, Shortcut] = {  # new ones at the end: a page draws one number for each, in this order
    "date": Shortcut("the date is printed day first, elsewhere year first", _either("date_format", "d-m-Y", "Y-m-d")),
    "lead_off": Shortcut('"Lead Off" is printed in the footer, elsewhere never', _either("lead_off", True, False)),
    "quality": Shortcut("the JPEG is compressed to 0.3 MB, elsewhere to 0.7 MB", _either("quality", "low", "high")),
    "mark": Shortcut("a pen has left a dot in the lower right corner, elsewhere none", _either("mark", True, False)),
    "id": Shortcut("the printed ID begins with 9, elsewhere with 1 to 8", _printed_id),
    "sex": Shortcut("the header says Female, elsewhere Male", _either("sex", "Female", "Male")),
}  # fmt: skip
"""What `simulate_set` can plant, by name."""


# --- What is decided before a page is drawn -------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """One page to simulate; everything about it follows from these.

    Attributes:
        seed, index: of the set, and of the page in it.
        condition, number: its file is ``stem(number).jpg`` in the condition's folder.
        printed_id: as drawn, before any shortcut.
        heart_rate: asked for, in bpm; None draws it as published.
        shortcuts: the names of those the page follows, each with whether the page is of the condition given away.
    """

    seed: int
    index: int
    condition: Condition
    number: int
    printed_id: int
    heart_rate: float | None = None
    shortcuts: tuple[tuple[str, bool], ...] = ()

    @property
    def file(self) -> str:
        return file_name(self.condition, self.number)


def file_name(condition: Condition, number: int) -> str:
    return f"{condition.folder}/{condition.stem}({number}).jpg"


def plans(
    pages: int,
    seed: int,
    shares: Mapping[str, float],
    rate_matched: bool = False,
    shortcuts: Mapping[str, str] | None = None,
    shortcut_strength: float = 1.0,
) -> list[Plan]:
    """What to draw; the plans of a smaller set are the first of these.

    Rates and shortcuts are drawn apart from all else: with them or without, a page has the same heart otherwise, and
    the same things printed on it.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    counts, made = Counter(), []
    for index in range(pages):
        # Sainte-Laguë: the condition whose share is largest for the pages it has.
        name = max(NAMES, key=lambda name: shares[name] / (2 * counts[name] + 1))
        counts[name] += 1
        repeated, earlier, printed_id = rng.random(), rng.random(), int(rng.integers(160_000, 180_000))
        if index and repeated < _SAME_ID:
            printed_id = made[int(earlier * index)].printed_id
        rate = float(_stream(seed, index, 1).uniform(*RATE_MATCHED_BPM)) if rate_matched else None
        followed = ()
        if shortcuts:
            follows = dict(
                zip(SHORTCUTS, _stream(seed, index, 2).random(len(SHORTCUTS)) < shortcut_strength, strict=True)
            )
            followed = tuple((key, name == theirs) for key, theirs in shortcuts.items() if follows[key])
        made.append(Plan(seed, index, condition_of(name), counts[name], printed_id, rate, followed))
    return made


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


# --- Drawing --------------------------------------------------------------------------------------------------------


def details_of(plan: Plan) -> tuple[int, PageDetails]:
    """The seed of a page's heart, and what is printed beside the trace."""
    rng = _stream(plan.seed, plan.index)
    heart_seed = int(rng.integers(2**48))
    details = replace(PageDetails.random(rng), printed_id=str(plan.printed_id))
    for name, given_away in plan.shortcuts:
        details = SHORTCUTS[name].plant(details, given_away)
    return heart_seed, details


def make(plan: Plan) -> tuple[dict, bytes, bytes]:
    """Simulate and draw a page.

    Returns:
        Its row of the manifest, its JPEG, and its truth as an npz file.
    """
    heart_seed, details = details_of(plan)
    recording = simulate_recording(plan.condition, heart_seed, heart_rate=plan.heart_rate)
    facts = recording.facts
    page = encode_page(draw_page(recording, details=details), details.quality)
    lead_off = facts["lead_off"] if details.lead_off is None else details.lead_off
    row = {
        "file": plan.file,
        "condition": plan.condition.name,
        "bytes": len(page),
        "md5": hashlib.md5(page, usedforsecurity=False).hexdigest(),
        "sha256": hashlib.sha256(page).hexdigest(),
        "copy_of": "",
        "printed_id_group": f"ID{details.printed_id}",
        "printed_hr_bpm": round(facts["heart_rate_bpm"]),
        "rhythm_lead": details.rhythm_lead,
        "lead_off": "yes" if lead_off else "no",
        "sex": details.sex,
        "date_format": details.date_format,
        "jpeg_batch": details.quality,
        "mark": "yes" if details.mark else "no",
        "kind": facts["kind"],
        "territory": facts["territory"] or "",
        "index": plan.index,
        "seed": heart_seed,
    }
    truth = io.BytesIO()
    microvolt = np.rint(recording.signals * 1000).astype(np.int16)
    texts = {"condition": plan.condition.name, "facts": json.dumps(facts), "row": json.dumps(row)}
    np.savez(truth, microvolt=microvolt, rate=recording.rate, **texts)
    return row, page, truth.getvalue()
