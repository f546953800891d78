"""Simulated hearts: twelve leads in mV from a turning dipole, with the truth about every beat.

A beat is a *dipole*, a vector in space, shown to twelve leads by a matrix; what changes from one heart to another
(rhythm, infarction, conduction, body) changes the dipole, its times or the matrix. That the leads agree with each
other, and that an infarction mirrors itself in the leads opposite, then comes by itself. See Clifford, Nemati & Sameni
2010 (Physiol Meas 31:595) for hearts that are not well. Hearts and bodies are drawn as they vary together on the
published pages: means and loadings fitted to their beats, kept as numbers.

How a recording comes about: ``_rhythm`` says when the heart beats, ``_heart`` how (from the table in ``_fitted``),
``_dipole`` adds the beats up and projects them, ``_recorder`` adds breathing, noise and the print filter.

    >>> recording = simulate_recording("Myocardial infarction", seed=1, territory="inferior")
    >>> recording.signals.shape, recording.facts["territory"]
    ((12, 5000), 'inferior')
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

import numpy as np

from heartai_utils import _recorder
from heartai_utils._dipole import DERIVE, DOWER, INDEPENDENT, LEADS, NORMAL_DIPOLE, Waves, dipole, project
from heartai_utils._heart import (
    ST_ELEVATION_MV,
    TERRITORY_LEADS,
    Heart,
    draw_heart,
    look,
    reshaped,
    ventricular,
    with_scar,
    with_st_elevation,
)
from heartai_utils._recorder import PRINT_BAND_HZ, PRINT_FILTERS, print_filter
from heartai_utils._rhythm import RATES, atrial_waves, beats, clipped, fits
from heartai_utils.conditions import (
    ABNORMAL_HEARTBEAT,
    HISTORY_OF_MI,
    MYOCARDIAL_INFARCTION,
    NORMAL,
    Condition,
    condition_of,
)

__all__ = [
    "DOWER", "HEART_RATES", "KINDS", "LEADS", "NORMAL_DIPOLE", "PRINT_BAND_HZ", "PRINT_FILTERS", "ST_ELEVATION_MV",
    "TERRITORIES", "TERRITORY_LEADS", "Recording", "RecordingError", "Waves", "dipole", "print_filter", "project",
    "simulate_recording",
]  # fmt: skip

HEART_RATES = (20.0, 300.0)
"""The slowest and the fastest heart that can be asked for, in beats per minute."""

KINDS: dict[str, dict[str, float]] = {
    NORMAL.name: {"sinus rhythm": 1.0},
    MYOCARDIAL_INFARCTION.name: {"ST elevation": 1.0},
    ABNORMAL_HEARTBEAT.name: {
        "sinus tachycardia": 0.64,
        "atrial fibrillation": 0.07,
        "flutter 2:1": 0.025,
        "SVT": 0.025,
        "PVC": 0.015,
        "bigeminy": 0.01,
        "PAC": 0.015,
        "LBBB": 0.03,
        "RBBB": 0.06,
        "LVH with strain": 0.06,
        "axis deviation": 0.025,
        "paced": 0.005,
        "bradycardia": 0.005,
        "first-degree block": 0.015,
    },
    HISTORY_OF_MI.name: {"Q waves": 0.59, "no Q waves": 0.41},
}
"""The kinds of each condition, with the share in which they are drawn: read off the 491 distinct published pages."""

TERRITORIES: dict[str, dict[str, float]] = {
    MYOCARDIAL_INFARCTION.name: {"anterior": 0.38, "inferior": 0.35, "inferolateral": 0.21, "lateral": 0.06},
    HISTORY_OF_MI.name: {"anterior": 0.67, "inferior": 0.14, "lateral": 0.12, "inferolateral": 0.07},
}
"""The territories of the two infarction conditions, with the share in which they are drawn."""


class RecordingError(ValueError):
    """A recording that does not have what is asked of it; the message says which part is missing."""


@dataclass(frozen=True, eq=False)
class Recording:
    """Twelve leads of one heart.

    Attributes:
        signals: (12, samples) float32 in mV, in the order of ``LEADS``.
        rate: samples per second.
        condition: one of the four, or None where it is not known.
        facts: what is known about the heart, ready for JSON. Of a simulated one: ``kind``, ``territory``, ``seed``,
            ``heart_rate_bpm``, ``r_peaks_s``, ``beat_kinds`` (N sinus or conducted, V ventricular, A atrial premature,
            P paced), ``pr_ms``, ``qrs_ms``, ``qt_ms``, ``onset_ms`` and ``j_ms`` (of QRS, from the R peak); per lead
            of the usual beat, before noise and print filter and against the PR level, ``j_mv`` (the J point),
            ``st_mv`` (60 ms after it), ``q_mv`` and ``q_ms``; ``lead_off`` (None, or the lead and the seconds at which
            it was off) and ``print_filter``.
    """

    signals: np.ndarray
    rate: float
    condition: Condition | None = None
    facts: dict = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.signals.ndim != 2 or len(self.signals) != len(LEADS):
            raise RecordingError(f"signals have the shape {self.signals.shape}; a recording has (12, samples)")
        if not self.rate > 0:
            raise RecordingError(f"a rate of {self.rate} Hz; a recording has a positive one")

    def lead(self, name: str) -> np.ndarray:
        """The (samples,) signal of one lead in mV, by its name in any case.

        Raises:
            RecordingError: if there is no such lead.
        """
        names = [lead.casefold() for lead in LEADS]
        if name.casefold() not in names:
            raise RecordingError(f"no lead {name!r}: the leads are {', '.join(LEADS)}")
        return self.signals[names.index(name.casefold())]

    @classmethod
    def from_wfdb(cls, path: str | PathLike[str]) -> Recording:
        """Read a twelve-lead record in PhysioNet's WFDB format, of any rate, in V, mV or uV.

        Leads are found by name, whatever their order and case; other channels are left out; samples the record marks
        as missing are filled in linearly and counted in ``facts["missing_samples"]``.

        Args:
            path: of the header or the signals, with or without ``.hea`` or ``.dat``.

        Raises:
            RecordingError: if the record cannot be read, leads are missing or empty, or a unit is not a voltage.
        """
        import wfdb  # slow to import, and only needed here

        path = Path(path)
        stem = path.with_suffix("") if path.suffix in (".hea", ".dat") else path
        if not stem.with_name(stem.name + ".hea").is_file():
            raise RecordingError(f"{stem}.hea does not exist: give the path of a WFDB record")
        try:
            record = wfdb.rdrecord(str(stem))
        except Exception as error:  # wfdb raises whatever its parser trips over
            raise RecordingError(f"{stem.name} cannot be read as a WFDB record: {error}") from error
        channels = {name.strip().casefold(): channel for channel, name in enumerate(record.sig_name or ())}
        missing = [lead for lead in LEADS if lead.casefold() not in channels]
        if missing:
            raise RecordingError(
                f"{stem.name} has no lead {', '.join(missing)}; its channels are {', '.join(record.sig_name or ())}"
            )
        columns = [channels[lead.casefold()] for lead in LEADS]
        scales = {"v": 1e3, "mv": 1.0, "uv": 1e-3, "µv": 1e-3}
        units = [record.units[column] for column in columns]
        strange = sorted({unit for unit in units if unit.casefold() not in scales})
        if strange:
            raise RecordingError(f"{stem.name} is in {', '.join(strange)}; leads are in V, mV or uV")
        signals = record.p_signal[:, columns].T * np.array([[scales[unit.casefold()]] for unit in units])
        gaps = ~np.isfinite(signals)
        for lead, values, gap in zip(LEADS, signals, gaps, strict=True):
            if gap.all():
                raise RecordingError(f"{stem.name} holds no sample of lead {lead}")
            values[gap] = np.interp(np.flatnonzero(gap), np.flatnonzero(~gap), values[~gap])
        facts = {"source": stem.name, "missing_samples": int(gaps.sum())}
        return cls(signals.astype(np.float32), float(record.fs), None, facts)


# --- A whole recording ----------------------------------------------------------------------------------------------


def _drawn(shares: dict[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


def _group(condition: Condition, kind: str, territory: str | None) -> str:
    """The people, in the table of fitted hearts, that a heart is drawn from."""
    if condition == HISTORY_OF_MI and kind == "Q waves" and territory == "anterior":
        return "anterior scar"
    return {NORMAL: "healthy", MYOCARDIAL_INFARCTION: "infarction", HISTORY_OF_MI: "history"}.get(condition, "abnormal")


def _chosen(what: str, name: str | None, choices: dict[str, float], condition: Condition) -> None:
    if name is not None and name not in choices:
        listed = ", ".join(choices) or "none"
        raise ValueError(f"{condition} has no {what} {name!r}: choose from {listed}")


def simulate_recording(
    condition: Condition | str | int,
    seed: int | np.random.Generator,
    *,
    kind: str | None = None,
    territory: str | None = None,
    heart_rate: float | None = None,
    rate: float = 500.0,
    seconds: float = 10.0,
    print_filter: str | None = "zero-phase",
    noise: bool = True,
) -> Recording:
    """Simulate one recording of one heart.

    The same seed gives the same bytes. It also gives the same heart whatever ``noise`` and ``print_filter``, so a clean
    recording is the truth behind a printed one.

    Args:
        condition: whatever ``conditions.condition_of`` takes.
        seed: an integer, or a generator to draw on.
        kind: one of ``KINDS[condition.name]``; drawn by its shares if None. History of MI with a territory named but
            no kind has Q waves, so that the territory can be seen.
        territory: one of ``TERRITORIES[condition.name]``; drawn by its shares if None.
        heart_rate: beats per minute, 20 to 300; drawn as in the published pages if None. Give each condition the same
            rates, and the heart rate tells nothing about the condition; Abnormal heartbeat then draws a kind that
            occurs at that rate.
        rate: samples per second, 100 or more.
        seconds: length of the recording.
        print_filter: "causal", "zero-phase" or None, see ``print_filter``.
        noise: whether wander, muscle noise, mains and (on 7 % of recordings) an electrode that is off are added.

    Returns:
        A recording with its ``facts``. I + III = II and aVR + aVL + aVF = 0 hold within 1e-6 mV.

    Raises:
        ValueError: for an unknown condition, kind, territory or filter, with the choices, a heart rate outside 20 to
            300 or outside what the kind named allows, or a rate or length that is too small.
    """
    condition = condition_of(condition)
    kinds, territories = KINDS[condition.name], TERRITORIES.get(condition.name, {})
    _chosen("kind", kind, kinds, condition)
    _chosen("territory", territory, territories, condition)
    if print_filter is not None and print_filter not in PRINT_FILTERS:
        raise ValueError(f"no print filter {print_filter!r}: use one of {', '.join(PRINT_FILTERS)} or None")
    if heart_rate is not None and not HEART_RATES[0] <= heart_rate <= HEART_RATES[1]:
        raise ValueError(f"a heart rate of {heart_rate} bpm: choose one from 20 to 300")
    if not rate >= 100:
        raise ValueError(f"a rate of {rate} Hz: the print filter and QRS need 100 or more")
    if not seconds >= 1:
        raise ValueError(f"a length of {seconds} s: choose 1 or more")
    rng = np.random.default_rng(seed)

    if kind is None:
        fitting = kinds
        if heart_rate is not None and condition == ABNORMAL_HEARTBEAT:
            fitting = {name: share for name, share in kinds.items() if fits(name, heart_rate)}
        kind = _drawn(fitting, rng) if condition != HISTORY_OF_MI or territory is None else "Q waves"
    elif heart_rate is not None and condition == ABNORMAL_HEARTBEAT and not fits(kind, heart_rate):
        slowest, fastest = RATES[kind][2:]
        raise ValueError(f"{kind} at {heart_rate} bpm: choose a heart rate from {slowest} to {fastest}")
    if territory is None and territories:
        territory = _drawn(territories, rng)

    median, spread, slowest, fastest = RATES[kind]
    drawn_rate = math.exp(clipped(rng, math.log(median), spread, math.log(slowest), math.log(fastest)))
    beat_rate = drawn_rate if heart_rate is None else float(heart_rate)
    usual_rr = max(0.32, 60 / beat_rate)  # in which the criteria hold: above 190 bpm QRS and T run into each other
    heart = None
    while heart is None:  # some bodies hide their infarction
        heart, matrix = draw_heart(_group(condition, kind, territory), rng)
        if condition == MYOCARDIAL_INFARCTION:
            heart = with_st_elevation(heart, territory, matrix, usual_rr, rng)
        elif condition == HISTORY_OF_MI:
            heart = with_scar(heart, kind, territory, matrix, usual_rr, rng)
        elif condition == ABNORMAL_HEARTBEAT:
            heart = reshaped(heart, kind, rng)
    hearts = {"N": heart, "P": heart}
    if kind in ("PVC", "bigeminy"):
        hearts["V"] = ventricular(heart, rng)
    if kind == "PAC":  # from another place in the atria: another P, after a shorter PR
        hearts["A"] = replace(heart, p=heart.p.scaled(np.array([0.6, -0.7, 0.8])), pr=0.9 * heart.pr)

    # A second more on either side: beats run over both ends, and the filter has settled when the page begins.
    margin = round(rate)
    samples = round(rate * seconds)
    time = (np.arange(samples + 2 * margin) - margin) / rate
    times, beat_kinds, intervals = beats(kind, beat_rate, seconds, rng)
    vector = np.zeros((3, len(time)))
    for at, beat_kind, interval in zip(times, beat_kinds, intervals, strict=True):
        waves = hearts[beat_kind].beat(interval)
        reach = 4.5 * waves.width
        first, last = np.searchsorted(time, at + np.array([(waves.centre - reach).min(), (waves.centre + reach).max()]))
        vector[:, first:last] += dipole(time[first:last] - at, waves)
    if kind in ("atrial fibrillation", "flutter 2:1"):
        vector += atrial_waves(kind, time, times, rng)
    leads = matrix[INDEPENDENT] @ _recorder.breathing(vector, time, rng)
    lead_off = None
    if noise:
        leads += _recorder.noise(time, rng)
        lead_off = _recorder.electrode_off(leads, time, seconds, rng)
    leads = _recorder.print_filter(leads, rate, print_filter)[:, margin : margin + samples]
    signals = (DERIVE @ leads).astype(np.float32)

    facts = _facts(hearts, matrix, times, beat_kinds, beat_rate, seconds)
    facts = {
        "kind": kind, "territory": territory, **facts, "lead_off": lead_off, "print_filter": print_filter,
        "seed": int(seed) if isinstance(seed, int | np.integer) else None,
    }  # fmt: skip
    return Recording(signals, float(rate), condition, facts)


def _facts(
    hearts: dict[str, Heart], matrix: np.ndarray, times: np.ndarray, beat_kinds: np.ndarray,
    beat_rate: float, seconds: float,
) -> dict[str, object]:  # fmt: skip
    """What is known about the beats, ready for JSON."""
    usual, rr = hearts["N"], 60 / beat_rate
    seen = {name: look(heart, matrix, rr) for name, heart in hearts.items()}
    r_peaks = times + np.array([seen[name].r_peak for name in beat_kinds])
    inside = (r_peaks >= 0) & (r_peaks < seconds)
    shown = r_peaks[inside]
    heart_rate = 60 * (len(shown) - 1) / (shown[-1] - shown[0]) if len(shown) > 2 else beat_rate

    def by_lead(values: np.ndarray, digits: int) -> dict[str, float]:
        return {lead: round(float(value), digits) for lead, value in zip(LEADS, values, strict=True)}

    return {
        "heart_rate_bpm": round(float(heart_rate), 2),
        "r_peaks_s": [round(float(at), 4) for at in shown],
        "beat_kinds": [str(name) for name in beat_kinds[inside]],
        "pr_ms": None if usual.p is None else round(1e3 * min(usual.pr, 0.75 * rr), 1),
        "onset_ms": round(1e3 * (usual.onset - seen["N"].r_peak), 1),
        "j_ms": round(1e3 * (usual.j - seen["N"].r_peak), 1),
        "qrs_ms": round(1e3 * (usual.j - usual.onset), 1),
        "qt_ms": round(1e3 * usual.qt(rr), 1),
        "j_mv": by_lead(seen["N"].j_mv, 4),
        "st_mv": by_lead(seen["N"].st_mv, 4),
        "q_mv": by_lead(seen["N"].q_mv, 4),
        "q_ms": by_lead(seen["N"].q_ms, 1),
    }
