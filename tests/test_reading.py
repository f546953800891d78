"""Reading a page back: what is recognised as one, and the way from its ink to millivolts."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from heartai_utils import page as p
from heartai_utils.simulation import KINDS, LEADS, Recording, simulate_recording

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from other_images import COUNT, other_image
from other_images import KINDS as OTHER_KINDS
from reading import crossings, ink_of

RATE = 500


def flat(mv: float = 0.0) -> Recording:
    return Recording(np.full((12, 10 * RATE), mv, np.float32), RATE)


def decoded(page: np.ndarray, quality: str) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(p.encode_page(page, quality))))


@pytest.fixture(scope="module")
def real_sample(real_pages: Path) -> list[Path]:
    files = sorted(real_pages.glob("*/*.jpg"))
    return files[:: max(len(files) // 20, 1)]


# --- Recognition --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_drawn_pages_are_accepted(seed):
    page = p.draw_page(simulate_recording(seed, seed), seed=seed)
    for image in (page, decoded(page, "high"), decoded(page, "low"), page.mean(axis=2).astype(np.uint8)):
        assert p.looks_like_a_page(image) == (True, "")


@pytest.mark.parametrize("condition, rate", [("Normal", 20), ("Abnormal heartbeat", 213), ("Normal", 300)])
def test_unusual_hearts_are_accepted(condition, rate):
    """Slow, fast and twice as tall as usual."""
    recording = simulate_recording(condition, 3, heart_rate=rate)
    for scale in (0.0, 1.0, 2.0):
        page = p.draw_page(Recording(recording.signals * np.float32(scale), recording.rate), seed=1)
        assert p.looks_like_a_page(decoded(page, "low")) == (True, ""), scale


def test_real_pages_are_accepted(real_sample):
    for path in real_sample:
        assert p.load_page(path).shape == (1572, 2213, 3)


@pytest.mark.parametrize("number", range(0, COUNT, 27))  # each another kind
def test_other_images_are_refused_with_a_reason(number):
    kind, image = other_image(number)
    assert image.shape == (1572, 2213, 3) and image.dtype == np.uint8
    fine, reason = p.looks_like_a_page(image)
    assert not fine and reason, kind


def test_other_images_follow_from_their_number():
    number = list(OTHER_KINDS).index("a page moved")
    assert (other_image(number)[1] == other_image(number)[1]).all()
    assert other_image(number)[0] == other_image(number + len(OTHER_KINDS))[0]
    assert (other_image(number)[1] != other_image(number + len(OTHER_KINDS))[1]).any()


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("this layout with its leads in another order", "is not printed"),
        ("this layout at another speed or gain", "is not printed"),
        ("this layout with pulses of another height", "pulse"),
        ("this layout on wider dots", "grid"),
        ("a page with a row erased", ""),
        ("two pages, one over the other", ""),
        ("a page mirrored inside its frame", ""),
    ],
)
def test_the_reason_names_what_is_wrong(kind, says):
    fine, reason = p.looks_like_a_page(other_image(list(OTHER_KINDS).index(kind))[1])
    assert not fine and says in reason, reason


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (np.zeros((480, 640, 3), np.uint8), "640×480"),
        (np.zeros((1572, 2213, 3), np.float32), "float32"),
        (np.zeros((1572, 2213, 4), np.uint8), "(1572, 2213, 4)"),
        (np.zeros(5, np.uint8), "(5,)"),
    ],
)
def test_other_arrays_are_refused(image, says):
    fine, reason = p.looks_like_a_page(image)
    assert not fine and says in reason


# --- Reading back -------------------------------------------------------------------------------------------------


def by_row(traces: p.Traces) -> tuple[np.ndarray, np.ndarray]:
    """mV and unread, (4, 1969), as the rows of the page show them; unread where no window is."""
    signals, unread = np.zeros((4, p.STRIP_COLUMNS + 1)), np.ones((4, p.STRIP_COLUMNS + 1), bool)
    signals[p.STRIP_ROW, :-1], unread[p.STRIP_ROW, :-1] = traces.strip, traces.strip_unread
    for lead, signal, lost in zip(LEADS, traces.signals, traces.unread, strict=True):
        row, start, end, _, _ = p.lead_window(lead)
        window = slice(start - p.TRACE_X, end - p.TRACE_X)
        signals[row, window], unread[row, window] = signal, lost
    return signals, unread


def rmse(difference: np.ndarray) -> float:
    return float(np.sqrt(np.mean(difference**2)))


def read_back(recording: Recording, details: p.PageDetails, quality: str):
    """Errors in mV and unread columns by row, the columns where rows cross, and what was read."""
    traces = p.read_traces(decoded(p.draw_page(recording, details=details), quality))
    mv, first, last = ink_of(recording, details)
    signals, unread = by_row(traces)
    return signals - mv, unread, crossings(first, last), traces


@pytest.mark.parametrize("quality", ["high", "low"])
@pytest.mark.parametrize("seed", range(4))
def test_traces_are_read_back(seed, quality):
    details = p.PageDetails.random(np.random.default_rng(seed))
    error, unread, met, traces = read_back(simulate_recording(seed % 4, 100 + seed), details, quality)
    assert traces.signals.shape == traces.unread.shape == (12, 492) and traces.signals.dtype == np.float32
    assert traces.strip.shape == traces.strip_unread.shape == (1968,)
    assert traces.rhythm_lead == details.rhythm_lead
    assert rmse(error[~unread & ~met]) < 0.02 and rmse(error[~unread]) < 0.03
    assert unread.mean() < 0.06


@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])  # an example is a page: no shrinking
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from([(condition, kind) for condition, kinds in KINDS.items() for kind in kinds]),
    scale=st.floats(0.2, 1.8),
    quality=st.sampled_from(["high", "low"]),
)
def test_what_is_not_marked_unread_is_right(seed, kind, scale, quality):
    recording = simulate_recording(kind[0], seed, kind=kind[1])
    recording = Recording(recording.signals * np.float32(scale), recording.rate)
    error, unread, met, _ = read_back(recording, p.PageDetails(), quality)
    assert rmse(error[~unread & ~met]) < 0.03
    assert (np.abs(error[~unread]) > 0.3).mean() < 0.002 and unread.mean() < 0.15


def spike(signals: np.ndarray, lead: str, at: float, mv: float, width: float = 0.03) -> None:
    """Add a triangle of `mv` at `at` seconds to one lead."""
    seconds = np.arange(signals.shape[1]) / RATE
    signals[LEADS.index(lead)] += mv * (1 - np.abs(seconds - at) / width).clip(0).astype(np.float32)


def at(lead: str, seconds: float) -> int:
    """The index of a moment in the lead's window."""
    return round(float(p.seconds_to_x(seconds))) - p.lead_window(lead)[1]


def test_a_wave_that_crosses_the_row_below_keeps_its_tip():
    recording = flat()
    spike(recording.signals, "aVR", 3.7, -4.5, 0.15)  # row 2 is 3.8 mV below
    error, unread, met, traces = read_back(recording, p.PageDetails(), "high")
    avr, avl = traces.signals[LEADS.index("aVR")], traces.signals[LEADS.index("aVL")]
    assert avr.min() == pytest.approx(-4.5, abs=0.1)
    assert not traces.unread[LEADS.index("aVR"), at("aVR", 3.7)]
    assert np.abs(avl).max() < 0.1, "the row below does not follow the wave"
    below = traces.unread[LEADS.index("aVL")]
    assert below[at("aVL", 3.7) - 6 : at("aVL", 3.7) + 7].any(), "where it is crossed it cannot be read"
    assert below.mean() < 0.08
    assert rmse(error[~unread & ~met]) < 0.05


def test_complexes_that_run_into_each_other_are_unread_or_right():
    recording = flat()
    for lead in ("II", "V2", "V5"):
        for place in np.arange(0.3, 10, 0.11):
            spike(recording.signals, lead, place, 2.2, 0.02)
            spike(recording.signals, lead, place + 0.03, 2.0, 0.02)  # the strokes between them run together
    error, unread, _, _ = read_back(recording, p.PageDetails(), "low")
    assert unread.sum() > 50
    assert np.abs(error[~unread]).max() < 0.35


def test_a_trace_that_leaves_the_paper_is_unread_there():
    recording = flat()
    spike(recording.signals, "V1", 6.2, 5.0, 0.1)  # above the double rule
    spike(recording.signals, "II", 8.2, -3.0, 0.1)  # the strip, into the footer
    _, _, _, traces = read_back(recording, p.PageDetails(), "high")
    v1, strip = traces.unread[LEADS.index("V1")], traces.strip_unread
    assert v1[at("V1", 6.2) - 3 : at("V1", 6.2) + 4].all() and v1.mean() < 0.12
    foot = round(float(p.seconds_to_x(8.2))) - p.TRACE_X
    assert strip[foot - 3 : foot + 4].all() and strip.mean() < 0.05


def test_lead_names_and_separators_are_unread_where_they_cover_the_trace():
    traces = p.read_traces(p.draw_page(flat(0.2), details=p.PageDetails()))  # through the names
    for lead in ("aVR", "V3", "V6"):
        unread = traces.unread[LEADS.index(lead)]
        assert unread[5:25].mean() > 0.5 and not unread[60:480].any(), lead
    clear = p.read_traces(p.draw_page(flat(-1.0), details=p.PageDetails()))
    assert clear.unread[:, 4:488].sum() == 0 and clear.unread[3:, 0].all()


def test_a_constant_is_read_as_its_millivolts():
    for mv in (-1.0, 0.5):
        traces = p.read_traces(p.draw_page(flat(mv), details=p.PageDetails()))
        assert traces.signals[~traces.unread] == pytest.approx(mv, abs=0.5 / p.PX_PER_MV)
        assert traces.signals == pytest.approx(mv, abs=0.02)  # interpolated where unread


def test_a_page_without_ink_is_all_unread():
    traces = p.read_traces(np.full((1572, 2213), 255, np.uint8))
    assert traces.unread.all() and traces.strip_unread.all() and np.isfinite(traces.signals).all()
    with pytest.raises(ValueError, match="640×480"):
        p.read_traces(np.zeros((480, 640, 3), np.uint8))


def test_real_traces_agree_with_themselves(real_sample):
    """The strip repeats the window of its lead, and III = II − I (Einthoven)."""
    strips, einthoven, lost = [], [], []
    for path in real_sample[::2]:
        traces = p.read_traces(p.load_page(path))
        assert traces.rhythm_lead in ("II", "III")
        lead = LEADS.index(traces.rhythm_lead)
        read = ~(traces.unread[lead] | traces.strip_unread[: p.WINDOW_COLUMNS])
        strips.append(rmse((traces.signals[lead] - traces.strip[: p.WINDOW_COLUMNS])[read]))
        one, two, three = traces.signals[:3]
        einthoven.append(rmse((one + three - two)[~traces.unread[:3].any(axis=0)]))
        lost.append(traces.unread.mean())
    assert np.median(strips) < 0.01 and max(strips) < 0.03
    assert np.median(einthoven) < 0.03 and max(lost) < 0.1
