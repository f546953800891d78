"""A `page_report.PageReport` to look at: one piece of HTML, in the reading room and as a file of its own.

Everything is in it: pictures as data, traces as SVG, the looks as one style sheet. It asks no other machine for
anything, runs no script, says in words what each picture shows, and fits a phone.
"""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from PIL import Image

from heartai_utils import page
from heartai_utils._room_looks import REMINDER, STYLE, WARNING
from heartai_utils.beat_features import AFTER, BEFORE
from heartai_utils.conditions import CONDITIONS
from heartai_utils.page_report import PIECES, PageReport, piece
from heartai_utils.simulation import LEADS, Recording

FULL_COLOUR = math.log(20)
"""Covering a piece changes the odds of the verdict twentyfold, or more: its colour is full."""

_FOR, _AGAINST = np.array([213, 94, 0]), np.array([0, 114, 178])  # of Okabe and Ito, as in `plots`
_LEAST_SEEN = 0.1  # natural logarithm: smaller changes of the odds are left white
_STANDS_OUT = 0.5  # the same: from here on a piece is named
_EDGES = (page.GRID_BOX[1], *((a + b) // 2 for a, b in zip(page.BASELINES, page.BASELINES[1:], strict=False)),
          page.GRID_BOX[3])  # fmt: skip


def fragment(report: PageReport, level: int = 2) -> str:
    """The report as a piece of HTML.

    Args:
        report: of one page.
        level: of its heading; parts stand one below.
    """
    parts = (_where(report, level + 1), _traces(report, level + 1), _alike(report, level + 1))
    heading = f"<h{level}>{_text(report.name)}</h{level}>"
    # for where nothing can stay on top, as in JupyterLab
    reminded = "".join(f'{part}<p class="warning">{REMINDER}</p>' for part in parts)
    return f'<article class="heart-ai">{heading}{_verdict(report)}{reminded}</article>'


def document(report: PageReport) -> str:
    """The report as a file of its own, to be kept or printed."""
    title = f"{_text(report.name)}: {_text(report.verdict.condition)}"
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>"
        f'<body><main class="heart-ai"><p class="warning">{WARNING}</p>{fragment(report, 1)}'
        f"<p>{_text(report.about)} Written by Heart AI, a course on reading pictures of ECGs.</p>"
        f'<p class="warning">{WARNING}</p></main></body></html>'
    )


def download_link(report: PageReport) -> str:
    """A link that saves `document` from the page itself, without asking any machine."""
    data = base64.b64encode(document(report).encode()).decode()
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in report.name)
    return (
        f'<p class="heart-ai"><a class="download" download="{name}-report.html" href="data:text/html;base64,{data}">'
        f"Download this report ({_text(report.name)}, HTML)</a></p>"
    )


def _text(words: object) -> str:
    return html.escape(str(words))


# --- parts --------------------------------------------------------------------------------------------------------


def _verdict(report: PageReport) -> str:
    verdict, sureness = report.verdict, report.sureness
    rows = "".join(
        f'<tr><th scope="row">{_text(each.name)}</th><td>{verdict.probabilities[each.name]:.3f}</td>'
        f'<td class="bar" aria-hidden="true"><span style="width:{100 * verdict.probabilities[each.name]:.1f}%;'
        f'background:{each.colour}"></span></td></tr>'
        for each in CONDITIONS
    )
    return (
        f'<p class="said">{_text(verdict.condition)}, {sureness.probability:.2f}: {_text(sureness.words)}</p>'
        f"<p>{_text(sureness)} {_text(report.caution)}</p>"
        '<table><thead><tr><th scope="col">Condition</th><th scope="col">Probability</th>'
        f'<th aria-hidden="true"></th></tr></thead><tbody>{rows}</tbody></table>'
        f'<p class="warning">{WARNING}</p>'
    )


def _where(report: PageReport, level: int) -> str:
    needed, condition = report.needed, report.verdict.condition
    strongest = [f"{lead} {start:.1f} to {end:.1f} s" for lead, start, end in _strongest(report)]
    little = f"No piece stands out: covering any of them changes the odds less than {math.exp(_STANDS_OUT):.1f}-fold."
    shown = f"Most coloured: {', '.join(strongest)}." if strongest else little
    rows = "".join(
        f'<tr><th scope="row">{"rhythm strip" if place == "strip" else place}</th><td>{without:.3f}</td></tr>'
        for place, without in needed.most[:4]
    )
    return (
        f"<h{level}>What the verdict rests on</h{level}>"
        f"<p>{_text(needed.sentence(condition))}</p>"
        f"<figure>{_picture(overlay(report), f'The page under coloured pieces of 0.6 seconds. {shown}')}"
        f"<figcaption>{shown} Each piece was covered with blank paper and the model asked again. Orange: without it "
        f"the odds of {_text(condition)} are lower; blue: higher; full colour: twentyfold or more. That is what this "
        "model needed, not what the heart has; two pieces that tell the same hide each other.</figcaption></figure>"
        f'<table><thead><tr><th scope="col">Covered</th><th scope="col">{_text(condition)} then</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _strongest(report: PageReport) -> Iterator[tuple[str, float, float]]:
    odds = report.needed.odds
    for place in np.argsort(-np.abs(odds), axis=None)[:3]:
        row, number = divmod(int(place), PIECES)
        if abs(odds[row, number]) >= _STANDS_OUT:
            lead, start, end = piece(row, number)
            yield "rhythm strip" if lead == "strip" else f"lead {lead}", start, end


def _traces(report: PageReport, level: int) -> str:
    traces, beats, found = report.traces, report.beats, report.measured
    leads = []
    for number, lead in enumerate(LEADS):
        start, end = page.lead_window(lead)[3:]
        leads.append((lead, traces.signals[number], traces.unread[number], start, end))
    in_rows = [leads[LEADS.index(lead)] for row in page.ROW_LEADS for lead in row]
    drawings = "".join(_trace(*each) for each in in_rows)
    name = f"rhythm strip ({traces.rhythm_lead})" if traces.rhythm_lead else "rhythm strip"
    strip = _trace(name, traces.strip, traces.strip_unread, 0.0, page.STRIP_SECONDS)
    measured = [("heart rate", found["heart_rate"], "{:.0f} bpm"), ("QRS", found["qrs_ms"], "{:.0f} ms"),
                ("axis", found["axis"], "{:.0f}°")]  # fmt: skip
    told = ", ".join(f"{what} {form.format(value)}" for what, value, form in measured if np.isfinite(value))
    return (
        f"<h{level}>The traces, read back</h{level}>"
        f"<p>{100 * report.read_share:.1f} % of the columns could be read; what could not is dashed. "
        f"{len(beats.peaks)} beats{': ' + told if told else ''}. Measured from the ink, not read from the print.</p>"
        f'<div class="leads">{drawings}</div>{strip}'
    )


def _alike(report: PageReport, level: int) -> str:
    heading = f"<h{level}>The simulated heart most like it</h{level}>"
    near = report.alike
    if near is None:
        return f"{heading}<p>Too little could be measured on this page to compare it.</p>"
    recording = near.recording
    facts = recording.facts
    kind = f"{facts['kind']}, {facts['territory']}" if facts["territory"] else facts["kind"]
    told = f"{recording.condition}: {kind}, {facts['heart_rate_bpm']:.0f} bpm"
    apart = ", ".join(f"{name} {far:.2f}" for name, far in near.apart.items() if np.isfinite(far))
    picture = page.draw_page(recording, seed=near.seed)
    return (
        f"{heading}<p><strong>{_text(told)}</strong>; {near.distance:.2f} standard deviations away ({apart}).</p>"
        f"<p>{_text(usual_distance(report.hearts_record))} Alike in these measurements is not a diagnosis.</p>"
        f'<div class="sides"><figure>{_picture(_half(picture), f"A simulated page: {told}.")}'
        f"<figcaption>Its page, simulated (seed {near.seed}).</figcaption></figure>"
        f"<figure>{_beats(report, recording)}<figcaption>Averaged beats: this page black, the simulated heart orange "
        "and dashed.</figcaption></figure></div>"
    )


def usual_distance(record: dict) -> str:
    """What the comparison is worth, from the record of the bank of hearts."""
    told = []
    for name, what in (("real", "real pages"), ("simulated", "other simulated hearts")):
        if name in record:
            asked = record[name]
            low, middle, high = asked["distance_10_50_90"]
            told.append(
                f"of {asked['asked']} {what} {asked['same_condition']} had the condition of the heart most like them, "
                f"which was {middle:.2f} away ({low:.2f} to {high:.2f} for eight in ten)"
            )
    return f"Measured: {'; '.join(told)}." if told else "What this comparison is worth was not measured."


# --- pictures -----------------------------------------------------------------------------------------------------


def overlay(report: PageReport) -> np.ndarray:
    """(786, 1107, 3) uint8 RGB: the page at half size under the colours of what its verdict needed."""
    half = _half(report.image).astype(np.float32)
    x = page.seconds_to_x(np.linspace(0, page.STRIP_SECONDS, PIECES + 1))
    columns, rows = np.round(x / 2).astype(int), np.round(np.array(_EDGES) / 2).astype(int)
    for row, odds in enumerate(report.needed.odds):
        for number, change in enumerate(odds):
            if abs(change) >= _LEAST_SEEN:
                part = half[rows[row] : rows[row + 1], columns[number] : columns[number + 1]]
                strength = 0.65 * min(abs(change) / FULL_COLOUR, 1)
                tint = 1 - strength * (1 - (_FOR if change > 0 else _AGAINST) / 255)
                part *= tint.astype(np.float32)
    return half.astype(np.uint8)


def _half(image: np.ndarray) -> np.ndarray:
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return cv2.resize(image, ((image.shape[1] + 1) // 2, (image.shape[0] + 1) // 2), interpolation=cv2.INTER_AREA)


def _picture(image: np.ndarray, alt: str) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=80)
    data = base64.b64encode(file.getvalue()).decode()
    size = f'width="{image.shape[1]}" height="{image.shape[0]}"'
    return f'<img {size} alt="{_text(alt)}" src="data:image/jpeg;base64,{data}">'


def _trace(name: str, signal: np.ndarray, unread: np.ndarray, start: float, end: float) -> str:
    """One lead on ECG paper, 25 mm a second and 10 mm a millivolt; one unit of the drawing is a millimetre."""
    low, high = min(-0.5, math.floor(2 * signal.min()) / 2), max(1.0, math.ceil(2 * signal.max()) / 2)
    width, height = 25 * (end - start), 10 * (high - low)
    x = 25 * np.arange(len(signal)) / page.PX_PER_SECOND
    y = 10 * (high - signal)
    alt = f"{name}, {start:g} to {end:g} s, from {signal.min():.2f} to {signal.max():.2f} mV"
    lines = [_polyline(x[part], y[part], dashed) for part, dashed in _stretches(unread)]
    return (
        f'<svg viewBox="0 0 {width:.1f} {height:.1f}" width="{8 * width:.0f}" height="{8 * height:.0f}" role="img" '
        f'aria-label="{_text(alt)}">{_paper(width, height)}{"".join(lines)}'
        f'<text x="1" y="4.2" font-size="4" font-weight="bold" fill="#1a1a1a">{_text(name)}</text></svg>'
    )


def _stretches(unread: np.ndarray) -> Iterator[tuple[slice, bool]]:
    """Columns that could be read, or could not, one after the other; each reaches to where the next begins."""
    turns = np.flatnonzero(np.diff(unread.astype(np.int8))) + 1
    for first, last in zip([0, *turns], [*turns, len(unread)], strict=True):
        yield slice(first, min(last + 1, len(unread))), bool(unread[first])


def _polyline(x: np.ndarray, y: np.ndarray, dashed: bool, colour: str = "#0b0b0b") -> str:
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    dashes = ' stroke-dasharray="1 .7"' if dashed else ""
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width=".45"{dashes}/>'


def _paper(width: float, height: float) -> str:
    across = "".join(f"M{x} 0V{height:.1f}" for x in range(0, int(width) + 1, 5))
    down = "".join(f"M0 {y}H{width:.1f}" for y in range(0, int(height) + 1, 5))
    return f'<path d="{across}{down}" stroke="#f4b6bc" stroke-width=".25" fill="none"/>'


def _beats(report: PageReport, other: Recording) -> str:
    """The averaged beats of page and simulated heart over each other, placed as on the page."""
    from heartai_utils.alike import traces_of
    from heartai_utils.beat_features import find_beats

    ours, theirs = report.beats.averaged, find_beats(traces_of(other)).averaged
    wide, high = 25 * (BEFORE + AFTER) / page.PX_PER_SECOND + 3, 30.0
    x = 25 * np.arange(BEFORE + AFTER) / page.PX_PER_SECOND
    drawn = []
    for row, leads in enumerate(page.ROW_LEADS):
        for column, lead in enumerate(leads):
            left, foot = column * wide, row * high + 0.6 * high
            drawn.append(f'<text x="{left:.1f}" y="{row * high + 4:.1f}" font-size="4" fill="#1a1a1a">{lead}</text>')
            for beats, colour, dashed in ((ours, "#0b0b0b", False), (theirs, "#b34e00", True)):
                beat = beats[LEADS.index(lead)]
                known = np.isfinite(beat)
                if known.any():
                    drawn.append(_polyline(left + x[known], foot - 10 * beat[known].clip(-1.2, 1.8), dashed, colour))
    alt = "Averaged beats of the twelve leads, this page's and the simulated heart's over each other"
    width, height = 4 * wide, 3 * high
    return (
        f'<svg viewBox="0 0 {width:.1f} {height:.1f}" width="{6 * width:.0f}" height="{6 * height:.0f}" role="img" '
        f'aria-label="{alt}">{_paper(width, height)}{"".join(drawn)}</svg>'
    )


def refusal(reasons: Sequence[str]) -> str:
    """What was not read, and why, announced to those who listen."""
    listed = "".join(f"<li>{_text(reason)}</li>" for reason in reasons)
    return f'<div class="heart-ai" role="alert"><p><strong>Not read:</strong></p><ul>{listed}</ul></div>'
