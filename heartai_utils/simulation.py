"""Simulated hearts: twelve leads in mV from a turning dipole, with the truth about every beat.

A beat is a *dipole*, a vector in space (x to the left, y down, z to the back) whose three parts are sums of
Gaussians over the beat's phase (McSharry et al. 2003, IEEE TBME 50:289; Sameni et al. 2007, EURASIP JASP 43407). The
Dower matrix shows it to the twelve leads (Dower 1980). What changes from one heart
to another (rhythm, infarction, conduction, body) changes the dipole; that the leads agree with each other, and that an
infarction mirrors itself in the leads opposite, then comes by itself. See Clifford, Nemati & Sameni 2010 (Physiol
Meas 31:595) for hearts that are not well.

    >>> recording = simulate_recording("Myocardial infarction", seed=1, territory="inferior")
    >>> recording.signals.shape, recording.facts["territory"]
    ((12, 5000), 'inferior')
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import signal

from heartai_utils.conditions import (
    ABNORMAL_HEARTBEAT,
    HISTORY_OF_MI,
    MYOCARDIAL_INFARCTION,
    NORMAL,
    Condition,
    condition_of,
)

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

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

TERRITORY_LEADS: dict[str, tuple[tuple[str, ...], ...]] = {
    "anterior": (("V1", "V2", "V3", "V4"),),
    "inferior": (("II", "aVF", "III"),),
    "lateral": (("aVL", "I"), ("V5", "V6")),
    "inferolateral": (("II", "aVF", "III"), ("V5", "V6")),
}
"""The leads that look at a territory, in runs of contiguous leads."""


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
            of the usual beat, before noise and print filter and against the PR level, ``st_mv`` (60 ms after J),
            ``q_mv`` and ``q_ms``; ``lead_off`` (None, or the lead and the seconds at which it was off) and
            ``print_filter``.
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


# --- The dipole of a beat, and how twelve leads see it ------------------------------------------------------------


class Waves(NamedTuple):
    """Gaussians in time that add up to a dipole: ``vector · exp(−(phase − centre)² / 2 width²)``.

    Attributes:
        centre: (n,) where each is highest; 0 is the R peak.
        width: (n,) its standard deviation, in the unit of ``centre``.
        vector: (n, 3) its height in mV along x, y and z.
    """

    centre: np.ndarray
    width: np.ndarray
    vector: np.ndarray


def dipole(phase: np.ndarray, waves: Waves | None = None) -> np.ndarray:
    """The dipole of one beat.

    Args:
        phase: (samples,) from the R peak, in the unit of the waves: radians for ``NORMAL_DIPOLE``, in which the beat
            goes once round from −π to π.
        waves: the Gaussians to add up, ``NORMAL_DIPOLE`` if None.

    Returns:
        (3, samples) in mV: x to the left, y down, z to the back.
    """
    waves = NORMAL_DIPOLE if waves is None else waves
    distance = (np.asarray(phase)[None, :] - waves.centre[:, None]) / waves.width[:, None]
    return waves.vector.T @ np.exp(-0.5 * distance**2)


def project(dipole: np.ndarray, matrix: np.ndarray | None = None) -> np.ndarray:
    """Show a dipole to the twelve leads: (3, samples) → (12, samples) in mV, by ``DOWER`` or another (12, 3)."""
    return (DOWER if matrix is None else matrix) @ dipole


def _waves(*rows: tuple[float, float, float, float, float]) -> Waves:
    """Waves from rows of centre, width, x, y, z."""
    table = np.array(rows, dtype=float).reshape(-1, 5)
    return Waves(table[:, 0], table[:, 1], table[:, 2:])


def _together(*parts: Waves) -> Waves:
    return Waves(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _by_axis(*axes: np.ndarray) -> Waves:
    """Waves from one table each for x, y and z, with rows of angle, height and width."""
    vectors = [np.outer(table[1], unit) for table, unit in zip(axes, np.eye(3), strict=True)]
    return Waves(
        np.concatenate([table[0] for table in axes]),
        np.concatenate([table[2] for table in axes]),
        np.concatenate(vectors),
    )


# fmt: off
NORMAL_DIPOLE = _by_axis(
    np.array([
        [-1.09, -.83, -.19, -.07, 0, .06, .22, 1.2, 1.42, 1.68],
        [.03, .08, -.13, .85, 1.11, .75, .06, .1, .17, .39],
        [.0906, .1057, .0453, .0378, .0332, .0302, .0378, .6040, .3020, .1812],
    ]),
    np.array([
        [-1.1, -.9, -.76, -.11, -.01, .065, .8, 1.58],
        [.035, .015, -.019, .32, .51, -.32, .04, .08],
        [.07, .07, .04, .055, .037, .0604, .45, .3],
    ]),
    np.array([
        [-1.1, -.93, -.7, -.4, -.15, .095, 1.05, 1.25, 1.55],
        [-.03, -.14, -.035, .045, -.4, .46, -.12, -.2, -.35],
        [.03, .12, .04, .4, .045, .05, .8, .4, .2],
    ]),
)
"""The dipole of a normal heart over the phase of its beat, in radians (Sameni et al. 2007)."""

# The same waves with heights, angles and widths fitted (least squares, drawn towards those above) so that R, S, Q,
# ST60 and T of the leads, seen through the print filter, have the medians read off the published pages of Normal.
_PRINTED_DIPOLE = _by_axis(
    np.array([
        [-1.09, -.83, -.183, -.08, .003, .08, .212, 1.2, 1.42, 1.74],
        [.03, .08, .282, .605, 1.075, .438, -.159, .095, .03, .2],
        [.091, .106, .047, .039, .033, .032, .039, .597, .302, .175],
    ]),
    np.array([
        [-1.1, -.9, -.76, -.121, -.021, .073, .8, 1.58],
        [.035, .015, -.019, .284, .174, .221, .015, .095],
        [.07, .07, .04, .058, .038, .063, .45, .297],
    ]),
    np.array([
        [-1.1, -.93, -.7, -.147, .124, 1.1, 1.52],
        [-.012, -.056, -.014, -.465, .712, -.21, -.17],
        [.03, .12, .04, .048, .057, .55, .197],
    ]),
)
# fmt: on

_INDEPENDENT = np.array([0, 1, 6, 7, 8, 9, 10, 11])  # I, II, V1–V6: the eight leads that are measured
_DERIVE = np.zeros((12, 8))  # the other four follow from I and II (Einthoven 1912, Goldberger 1942)
_DERIVE[_INDEPENDENT, np.arange(8)] = 1
_DERIVE[2:6, :2] = [[-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]]  # III, aVR, aVL, aVF

# fmt: off
_DOWER_ROWS = np.array([
    [.632, -.235, .059],    # I
    [.235, 1.066, -.132],   # II
    [-.515, .157, -.917],   # V1
    [.044, .164, -1.387],
    [.882, .098, -1.277],
    [1.213, .127, -.601],
    [1.125, .127, -.086],
    [.831, .076, .230],     # V6
])
# fmt: on
DOWER = _DERIVE @ _DOWER_ROWS
"""(12, 3): what each lead of ``LEADS`` sees of x, y and z; the Dower matrix with the derived limb leads."""


# --- The print filter ---------------------------------------------------------------------------------------------

PRINT_FILTERS = ("causal", "zero-phase")
PRINT_BAND_HZ = (0.67, 25.0)


def print_filter(signals: np.ndarray, rate: float, mode: str | None = "zero-phase") -> np.ndarray:
    """Filter as the printer does: a first-order Butterworth band-pass of 0.67 to 25 Hz, as the page's footer says.

    Run forwards only ("causal"), it turns an ST elevation of 0.20 mV into about 0.12 and lets the trace sink below its
    level after every T; run forwards and backwards ("zero-phase") it makes about 0.18 of it and leaves the segment from
    T to P as flat as it is on the published pages.

    Args:
        signals: (..., samples).
        rate: samples per second; above 50.
        mode: "causal", "zero-phase", or None for no filter.

    Returns:
        Filtered signals of the same shape, float64.

    Raises:
        ValueError: if there is no such mode.
    """
    signals = np.asarray(signals, dtype=np.float64)
    if mode is None:
        return signals
    if mode not in PRINT_FILTERS:
        raise ValueError(f"no print filter {mode!r}: use one of {', '.join(PRINT_FILTERS)} or None")
    sections = signal.butter(1, PRINT_BAND_HZ, "bandpass", fs=rate, output="sos")
    if mode == "zero-phase":
        return signal.sosfiltfilt(sections, signals)
    # Begin as if the first sample had always been there, else the filter rings at the left edge of the page.
    start = signal.sosfilt_zi(sections).reshape(len(sections), *[1] * (signals.ndim - 1), 2) * signals[None, ..., :1]
    return signal.sosfilt(sections, signals, zi=start)[0]


# --- One heart ----------------------------------------------------------------------------------------------------

_SECONDS_PER_RADIAN = 1 / (2 * np.pi)  # the normal dipole is read as a beat of one second
_ONSET, _J, _T_PEAK, _T_END = -0.048, 0.045, 0.232, 0.325  # of that beat, seconds from the R peak
_PR = 0.157


def _normal_part(low: float, high: float) -> Waves:
    chosen = (_PRINTED_DIPOLE.centre > low) & (_PRINTED_DIPOLE.centre <= high)
    centre, width, vector = (array[chosen] for array in _PRINTED_DIPOLE)
    return Waves(centre * _SECONDS_PER_RADIAN, width * _SECONDS_PER_RADIAN, vector)


_P, _QRS, _T = _normal_part(-np.pi, -0.35), _normal_part(-0.35, 0.35), _normal_part(0.35, np.pi)


@dataclass(frozen=True)
class _Heart:
    """A beat in its parts, seconds from the R peak; P as at PR = 157 ms, T as at an RR of one second."""

    p: Waves | None
    qrs: Waves
    t: Waves
    pr: float
    onset: float
    j: float
    qtc: float

    def beat(self, rr: float) -> Waves:
        """The waves of one beat after an interval of ``rr`` seconds: QRS as it is, P at its PR, T within its QT."""
        stretch = (self.qt(rr) - (self.j - self.onset)) / (_T_END - _J)
        centre = self.j + (self.t.centre - _J) * stretch
        parts = [self.qrs, Waves(centre, self.t.width * stretch, self.t.vector)]
        if self.p is not None:
            shift = (self.onset - _ONSET) - (min(self.pr, 0.75 * rr) - _PR)
            parts.append(self.p._replace(centre=self.p.centre + shift))
        return _together(*parts)

    def qt(self, rr: float) -> float:
        """Bazett's QT, and never shorter than QRS and a fast T."""
        return max(self.qtc * math.sqrt(rr), (self.j - self.onset) + 0.08)


def _scaled(waves: Waves, gain: float | np.ndarray, stretch: float = 1.0) -> Waves:
    return Waves(waves.centre * stretch, waves.width * stretch, waves.vector * gain)


def _turn(angles: np.ndarray) -> np.ndarray:
    """The (3, 3) rotation by angles about x, y and z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def _clipped(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    return float(np.clip(rng.normal(mean, sd), low, high))


def _normal_heart(rng: np.random.Generator) -> _Heart:
    """A healthy heart, like no other in its amplitudes and intervals."""
    stretch = _clipped(rng, 1.03, 0.08, 0.82, 1.18)
    # Each axis has its gain, and one for late against early QRS: R and S vary apart, and no notches arise.
    late = np.exp(rng.normal(0, 0.2, 3) * (_QRS.centre[:, None] / 0.02))
    first = _waves((-0.031, 0.0065, *rng.normal([-0.22, -0.1, -0.12], [0.1, 0.09, 0.05])))  # the septum: q or none
    last = _waves((0.031, 0.009, *rng.normal([0.0, -0.03, 0.1], [0.12, 0.14, 0.12])))  # the base: S or none
    qrs = np.exp(_clipped(rng, 0.0, 0.2, -0.5, 0.5) + rng.normal([0.06, -0.05, 0.04], 0.22).clip(-0.5, 0.5))
    t = np.exp(_clipped(rng, 0.0, 0.25, -0.6, 0.4) + rng.normal([-0.05, -0.05, 0.0], 0.2).clip(-0.4, 0.4))
    return _Heart(
        p=_scaled(_P, rng.uniform(0.7, 1.3) * np.exp(rng.normal(0, 0.2, 3))),
        qrs=_scaled(_together(first, _QRS._replace(vector=_QRS.vector * late), last), qrs, stretch),
        t=_scaled(_T, t),
        pr=_clipped(rng, 0.158, 0.018, 0.122, 0.198),
        onset=_ONSET * stretch,
        j=_J * stretch,
        qtc=_clipped(rng, 0.405, 0.018, 0.36, 0.448),
    )


# --- What one clean beat shows -------------------------------------------------------------------------------------


class _Seen(NamedTuple):
    """One clean beat, (12,) per lead against the PR level, in mV and ms; and its R peak in seconds."""

    st_mv: np.ndarray
    j_mv: np.ndarray
    q_mv: np.ndarray
    q_ms: np.ndarray
    r_peak: float


def _look(heart: _Heart, matrix: np.ndarray, rr: float) -> _Seen:
    """Read ST level, Q and R peak off one clean beat, millisecond by millisecond from the onset of QRS."""
    j = round(1e3 * (heart.j - heart.onset))
    # Zero is the PR level 15 ms before the onset: the early vector of a scar has begun when QRS does.
    vector = dipole(heart.onset + 1e-3 * np.arange(-15, j + 61), heart.beat(rr))
    leads = matrix @ vector
    leads = leads[:, 15:] - leads[:, :1]
    vector = vector[:, 15:]
    qrs = leads[:, : j + 1]
    # Q lasts from where the lead leaves the PR level downwards to where it comes back above it: to J, if it is a QS.
    below, above = qrs < -0.02, qrs > 0.02
    start = np.where(below.any(1), below.argmax(1), j)
    end = np.where(above.any(1), above.argmax(1), j)
    is_q = start < end
    depth = np.where(np.arange(j + 1) < end[:, None], -qrs, 0).max(1)
    length = (vector[:, 8 : j + 1] ** 2).sum(0)  # from 8 ms on: a pacing spike at the onset is no R peak
    peak = heart.onset + 1e-3 * (8 + length.argmax())
    return _Seen(leads[:, j + 60], leads[:, j], np.where(is_q, depth, 0), np.where(is_q, end - start, 0), float(peak))


def _in_two_contiguous(held: np.ndarray, territory: str) -> bool:
    """Whether two neighbours hold a criterion, (12,) of truth, in each run of a territory's leads."""
    seen = dict(zip(LEADS, held, strict=True))
    runs = TERRITORY_LEADS[territory]
    return all(any(seen[a] and seen[b] for a, b in zip(run, run[1:], strict=False)) for run in runs)


_IN_V2_V3 = np.isin(LEADS, ("V2", "V3"))
ST_ELEVATION_MV = np.where(_IN_V2_V3, 0.2, 0.1)
"""(12,) where ST elevation begins, for men of 40 and over (Fourth Universal Definition, Thygesen et al. 2018)."""


def _st_elevated(seen: _Seen, territory: str) -> bool:
    return _in_two_contiguous(np.minimum(seen.st_mv, seen.j_mv) >= ST_ELEVATION_MV, territory)


def _q_waves(seen: _Seen, territory: str) -> bool:
    """Q of 30 ms and 0.1 mV, or in V2 and V3 any Q of 20 ms (Fourth Universal Definition, prior infarction)."""
    broad = (seen.q_ms >= 30) & (seen.q_mv >= 0.1)
    return _in_two_contiguous(broad | (_IN_V2_V3 & (seen.q_ms >= 20)), territory)


# --- Infarctions: vectors towards a territory and away from a scar --------------------------------------------------

_TOWARDS = {  # where each territory lies, so where its ST vector points
    "anterior": (0.45, 0.05, -0.9),
    "inferior": (-0.05, 0.9, 0.3),
    "lateral": (0.95, -0.3, 0.0),
    "inferolateral": (0.6, 0.75, 0.2),
}
_T_WAVE = _waves((_T_PEAK, 0.048, 1, 1, 1))


def _plateau() -> Waves:
    """1 mV from J to the T peak: Gaussians so close that their sum does not ripple."""
    step, width = 0.025, 0.02
    centre = np.arange(_J - 0.012, _T_PEAK - 0.015, step)
    height = step / (width * math.sqrt(2 * math.pi))
    return Waves(centre, np.full(len(centre), width), np.full((len(centre), 3), height))


_ST_PLATEAU = _plateau()


def _towards(territory: str, rng: np.random.Generator) -> np.ndarray:
    direction = _TOWARDS[territory] + rng.normal(0, 0.08, 3)
    return direction / np.linalg.norm(direction)


def _with_lost_r(heart: _Heart, towards: np.ndarray, loss: float, q: float) -> _Heart:
    """Dead muscle gives no voltage: QRS towards it loses a share, and its early part points away, by ``q`` mV."""
    lost = loss * (heart.qrs.vector @ towards).clip(min=0)
    kept = heart.qrs._replace(vector=heart.qrs.vector - lost[:, None] * towards)
    stretch = heart.onset / _ONSET
    centre, width = (-0.014, 0.017) if towards[2] < -0.5 else (-0.022, 0.0115)  # the front wall takes part for longer
    away = _waves((centre * stretch, width * stretch, *(-q * towards)))
    return replace(heart, qrs=_together(kept, away))


def _with_st_elevation(
    healthy: _Heart, territory: str, matrix: np.ndarray, rr: float, rng: np.random.Generator
) -> _Heart:
    """A vector towards the territory from J to T, large enough for the criterion; T taller, some R already lost."""
    towards = _towards(territory, rng)
    heart = _with_lost_r(healthy, towards, rng.uniform(0, 0.4), rng.choice([0.0, rng.uniform(0.05, 0.4)]))
    heart = replace(heart, t=_scaled(heart.t, rng.uniform(0.6, 1.0)))
    taller = rng.uniform(0.5, 1.3)

    def elevated(height: float) -> _Heart:
        st, t = _scaled(_ST_PLATEAU, height * towards), _scaled(_T_WAVE, taller * height * towards)
        return replace(heart, t=_together(heart.t, st, t))

    heights = np.arange(0.06, 3.0, 0.02)
    enough = next((height for height in heights if _st_elevated(_look(elevated(height), matrix, rr), territory)), None)
    if enough is None:  # not in this direction and body: draw another direction
        return _with_st_elevation(healthy, territory, matrix, rr, rng)
    return elevated(enough + rng.gamma(1.5, 0.14 if territory == "anterior" else 0.07))


def _with_scar(
    healthy: _Heart, kind: str, territory: str, matrix: np.ndarray, rr: float, rng: np.random.Generator
) -> _Heart:
    """Less R, T flat or turned over in the scar's leads, and of the kind "Q waves" a Q that meets its criterion."""
    towards = _towards(territory, rng)
    loss = rng.uniform(0.3, 0.7) if kind == "no Q waves" else rng.uniform(0.5, 0.9)
    deeper = rng.uniform(0.1, 1.0 if territory == "anterior" else 0.2)
    left = towards + np.array([0.4, 0.0, 0.0])  # T turns over further to the left than Q reaches
    inverted = _scaled(_T_WAVE, -rng.uniform(0.05, 0.5) * left)
    # As read off the pages, whatever the territory: QRS lower, and little of it pointing to the front.
    front = np.where(healthy.qrs.vector < 0, [1.0, 1.0, rng.uniform(0.2, 0.9)], 1.0)
    qrs = _scaled(healthy.qrs, rng.uniform(0.7, 1.0) * front)
    heart = replace(healthy, qrs=qrs, t=_together(_scaled(healthy.t, rng.uniform(0.3, 0.8)), inverted))
    if kind == "no Q waves":
        return _with_lost_r(heart, towards, loss, 0.0)
    heights = np.arange(0.05, 4.0, 0.05)
    enough = next(
        (q for q in heights if _q_waves(_look(_with_lost_r(heart, towards, loss, q), matrix, rr), territory)), None
    )
    if enough is None:
        return _with_scar(healthy, kind, territory, matrix, rr, rng)
    return _with_lost_r(heart, towards, loss, enough + deeper)


# --- Conduction and shape: the kinds of Abnormal heartbeat that change the beat itself --------------------------------


_SLOW_T = _waves((0.15, 0.06, 0.5, 0.5, 0.5), (0.222, 0.045, 1, 1, 1))  # rises from J on, as after slow conduction


def _slow(heart: _Heart, rows: list, t: np.ndarray | tuple, seconds: float, gain: float) -> _Heart:
    """A heart whose QRS is made of slow waves and lasts some seconds, and whose T points as given, against it."""
    qrs = _waves(*rows)
    onset, j = float((qrs.centre - 2.5 * qrs.width).min()), float((qrs.centre + 2.5 * qrs.width).max())
    stretch = seconds / (j - onset)
    t = _scaled(_SLOW_T, gain * np.array(t))
    return replace(
        heart, qrs=_scaled(qrs, gain, stretch), t=t, onset=onset * stretch, j=j * stretch, qtc=heart.qtc + 0.04
    )


_LEFT_BUNDLE = [(-0.046, 0.014, 0.4, 0.12, 0.22), (-0.014, 0.017, 1.1, 0.3, 0.62), (0.026, 0.019, 1.0, 0.02, 0.85)]
_PACED = [(-0.050, 0.014, 0.25, -0.2, 0.15), (-0.012, 0.018, 0.65, -0.6, 0.5), (0.028, 0.020, 0.45, -0.6, 0.6)]


def _reshaped(heart: _Heart, kind: str, rng: np.random.Generator) -> _Heart:
    """The usual beat of a kind of Abnormal heartbeat."""
    # As read off the pages: T lower and S deeper than in Normal, whatever the kind.
    later = np.where(heart.qrs.centre[:, None] > 0, rng.uniform(1.0, 1.7), 1.0) ** [0.3, 0.3, 1.0]
    heart = replace(heart, qrs=_scaled(heart.qrs, later), t=_scaled(heart.t, rng.uniform(0.4, 1.0)))
    gain = rng.uniform(0.75, 1.25)
    if kind in ("atrial fibrillation", "flutter 2:1"):
        return replace(heart, p=None)
    if kind == "SVT":  # P hides in QRS; ST falls a little, as it does in fast hearts
        st = _scaled(_ST_PLATEAU, rng.uniform(0.02, 0.1) * np.array([-0.6, -0.7, 0.1]))
        return replace(heart, p=None, t=_together(heart.t, st))
    if kind == "first-degree block":
        return replace(heart, pr=rng.uniform(0.215, 0.3))
    if kind == "LBBB":
        return _slow(heart, _LEFT_BUNDLE, (-0.22, 0.02, -0.34), rng.uniform(0.128, 0.16), gain)
    if kind == "paced":
        heart = _slow(heart, _PACED, (-0.2, 0.25, -0.25), rng.uniform(0.145, 0.175), gain)
        return replace(heart, qrs=_together(heart.qrs, _waves((heart.onset, 0.0015, 0.5, 1.2, 0.3))))
    if kind == "RBBB":  # the right ventricle comes last: to the right and forwards
        late = rng.uniform(0.052, 0.062)
        end = _waves((late, 0.014, *(gain * np.array([-0.45, 0.0, -0.42]))))
        t = _scaled(_T_WAVE, gain * np.array([0.04, 0.0, 0.2]))
        return replace(heart, qrs=_together(heart.qrs, end), t=_together(heart.t, t), j=late + 0.032)
    if kind == "LVH with strain":
        st = _scaled(_ST_PLATEAU, gain * np.array([-0.1, -0.06, -0.04]))
        t = _scaled(_T_WAVE, gain * np.array([-0.3, -0.1, -0.1]))
        qrs = _scaled(heart.qrs, rng.uniform(1.4, 1.9))
        return replace(heart, qrs=qrs, t=_together(_scaled(heart.t, 0.6), st, t))
    if kind == "axis deviation":
        angle = math.radians(rng.choice([rng.uniform(-100, -70), rng.uniform(70, 95)]))
        return replace(heart, qrs=heart.qrs._replace(vector=heart.qrs.vector @ _turn(np.array([0, 0, angle])).T))
    return heart


def _ventricular(heart: _Heart, rng: np.random.Generator) -> _Heart:
    """A premature ventricular beat: slow, wide, from anywhere, T against it, no P of its own."""
    side = rng.choice([-1.0, 1.0])
    main = np.array([side * rng.uniform(0.5, 1.0), rng.uniform(-0.9, 1.1), side * rng.uniform(0.4, 0.9)])
    first, second, third = np.outer([0.4, 1.1, 0.7], main) + rng.normal(0, 0.2, (3, 3))
    rows = [(-0.045, 0.018, *first), (-0.008, 0.021, *second), (0.04, 0.022, *third)]
    return replace(_slow(heart, rows, -0.45 * main, rng.uniform(0.14, 0.19), rng.uniform(0.9, 1.3)), p=None)


# --- Rhythm -------------------------------------------------------------------------------------------------------

_RATES: dict[str, tuple[float, float, float, float]] = {  # median, spread of its logarithm, slowest, fastest (bpm)
    "sinus rhythm": (72, 0.12, 50, 90),
    "ST elevation": (73, 0.27, 50, 126),
    "Q waves": (76, 0.19, 44, 121),
    "no Q waves": (76, 0.19, 44, 121),
    "sinus tachycardia": (106, 0.13, 91, 180),
    "atrial fibrillation": (104, 0.22, 60, 200),
    "flutter 2:1": (145, 0.08, 120, 180),
    "SVT": (182, 0.08, 150, 300),
    "PVC": (92, 0.15, 55, 130),
    "bigeminy": (88, 0.12, 55, 110),
    "PAC": (90, 0.13, 50, 130),
    "LBBB": (92, 0.15, 50, 130),
    "RBBB": (95, 0.15, 50, 140),
    "LVH with strain": (88, 0.12, 50, 130),
    "axis deviation": (86, 0.12, 50, 120),
    "paced": (72, 0.08, 50, 110),
    "bradycardia": (50, 0.12, 20, 59),
    "first-degree block": (84, 0.12, 40, 110),
}


def _beats(
    kind: str, rate_bpm: float, seconds: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The beats from a second before the recording to a second after.

    Returns:
        times in seconds, kinds ("N", "V", "A" or "P") and the interval before each beat, in seconds.
    """
    rr = 60 / rate_bpm
    margin = 1.0 + 2 * rr
    count = int((seconds + 2 * margin) / (0.8 * rr)) + 4
    beat_kinds = np.full(count, "P" if kind == "paced" else "N")
    intervals = np.ones(count)
    variation = np.exp(_clipped(rng, math.log(0.018), 0.55, math.log(0.005), math.log(0.05)))
    if kind == "atrial fibrillation":
        shape = 1 / rng.uniform(0.18, 0.28) ** 2
        intervals = rng.gamma(shape, 1 / shape, count).clip(0.5, 1.8)
    elif kind in ("SVT", "flutter 2:1", "paced"):
        intervals += rng.normal(0, 0.004, count)
    else:  # breathing speeds the heart up and slows it down
        breath = 2 * np.pi * rng.uniform(0.2, 0.33) * rr * np.arange(count) + rng.uniform(0, 2 * np.pi)
        slower = min(1.0, 80 / rate_bpm)  # fast hearts vary less
        intervals += slower * variation * (1.2 * np.sin(breath) + 0.5 * rng.normal(0, 1, count).clip(-2.5, 2.5))
    first, inside = int(margin / rr) + 1, max(2, int(seconds / rr))  # the first beat shown, and how many are
    if kind in ("PVC", "PAC", "bigeminy"):
        premature = np.arange(int(rng.integers(2)), count, 2)
        if kind != "bigeminy":
            shown = first + 1 + 2 * np.arange(max(1, (inside - 1) // 2))
            premature = np.sort(rng.choice(shown, size=min(len(shown), int(rng.integers(1, 4))), replace=False))
        early = 1 - (rng.uniform(0.62, 0.78) if kind == "PAC" else rng.uniform(0.56, 0.72))
        beat_kinds[premature] = "A" if kind == "PAC" else "V"
        intervals[premature] -= early
        # The pause after a ventricular beat makes up for its earliness, that after an atrial one does not.
        intervals[premature[premature + 1 < count] + 1] += early * (0.3 if kind == "PAC" else 1.0)
    times = np.cumsum(intervals) - intervals[0]
    times = (times - times[first] + rng.uniform(0, 1) * intervals[first]) * rr
    for _ in range(3):  # so that the mean rate inside the recording is the one asked for
        shown = times[(times >= 0) & (times < seconds)]
        if len(shown) > 2:
            factor = rr * (len(shown) - 1) / (shown[-1] - shown[0])
            times, intervals = times * factor, intervals * factor
    kept = (times > -1.0 - rr) & (times < seconds + 1.0 + rr)
    return times[kept], beat_kinds[kept], rr * intervals[kept]


def _atrial_waves(kind: str, time: np.ndarray, r_times: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What the atria add without P waves, (3, samples): f waves of 4–9 Hz, or the saw teeth of flutter at 2:1."""
    if kind == "flutter 2:1":
        phase = 2 * np.pi * np.interp(time, r_times, 2.0 * np.arange(len(r_times))) + rng.uniform(0, 2 * np.pi)
        tooth = sum(np.sin(harmonic * phase) / harmonic**1.3 for harmonic in (1, 2, 3))
        return rng.uniform(0.05, 0.11) * np.array([[0.1], [-1.0], [-0.5]]) * tooth
    height = rng.uniform(0.02, 0.08)
    drift = 1.2 * np.sin(2 * np.pi * rng.uniform(0.2, 0.6) * time + rng.uniform(0, 6))
    main = 2 * np.pi * rng.uniform(5.0, 7.5) * time + drift
    phases = rng.uniform(0, 2 * np.pi, 3)
    wave = np.sin(main + phases[0]) + 0.45 * np.sin(1.31 * main + phases[1]) + 0.3 * np.sin(2 * main + phases[2])
    swell = 1 + 0.35 * np.sin(2 * np.pi * rng.uniform(0.3, 0.8) * time + phases[1])
    return height * np.array([[-0.25], [0.35], [-0.9]]) * wave * swell


# --- The body and the recorder --------------------------------------------------------------------------------------


def _body(rng: np.random.Generator) -> np.ndarray:
    """(12, 3): the Dower matrix of one body, its rows varied by 10 %, the heart in it turned by up to 20°."""
    rows = _DOWER_ROWS * rng.normal(1, 0.1, _DOWER_ROWS.shape).clip(0.75, 1.25)
    rows[2] *= 0.8  # V1 is lower on the published pages than the matrix has it
    turn = _turn(np.radians(rng.normal(0, 10, 3).clip(-20, 20)))
    return _DERIVE @ rows @ turn


# What nine electrodes (right arm, left arm, left leg, six on the chest) make of the eight independent leads.
_ELECTRODES = np.zeros((8, 9))
_ELECTRODES[:2, :3] = [[-1, 1, 0], [-1, 0, 1]]
_ELECTRODES[2:, :3] = -1 / 3
_ELECTRODES[2:, 3:] = np.eye(6)


def _noise(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(8, samples) of wander, muscle and mains in the independent leads, picked up by nine electrodes."""
    frequency = np.exp(rng.uniform(math.log(0.05), math.log(0.5), (4, 1)))
    angle = 2 * np.pi * frequency * time
    mains = np.sin(2 * np.pi * 50 * time + rng.uniform(0, 2 * np.pi))
    waves = np.vstack([np.sin(angle), np.cos(angle), mains])
    wander = np.exp(rng.normal(math.log(0.03), 0.7)) / 2
    picked_up = np.hstack([rng.normal(0, wander, (9, 8)), rng.uniform(0, 0.004, (9, 1))])
    muscle = _ELECTRODES * np.exp(rng.normal(math.log(0.008), 0.5, 9))
    shiver = rng.standard_normal((9, len(time)), dtype=np.float32)
    return (_ELECTRODES @ picked_up) @ waves + muscle.astype(np.float32) @ shiver


def _breathing(vector: np.ndarray, time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Breathing turns the heart by a few degrees and moves it nearer to and further from the chest."""
    breath = np.sin(2 * np.pi * rng.uniform(0.18, 0.35) * time + rng.uniform(0, 2 * np.pi))
    turn, gain = rng.uniform(0.01, 0.06) * breath, 1 + rng.uniform(0.01, 0.05) * breath
    x, y, z = vector
    return np.stack([x - turn * y, y + turn * x, z]) * gain


# --- A whole recording ----------------------------------------------------------------------------------------------


def _drawn(shares: dict[str, float], rng: np.random.Generator) -> str:
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum()))


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
            fitting = {name: share for name, share in kinds.items() if _fits(name, heart_rate)}
        kind = _drawn(fitting, rng) if condition != HISTORY_OF_MI or territory is None else "Q waves"
    elif heart_rate is not None and condition == ABNORMAL_HEARTBEAT and not _fits(kind, heart_rate):
        slowest, fastest = _RATES[kind][2:]
        raise ValueError(f"{kind} at {heart_rate} bpm: choose a heart rate from {slowest} to {fastest}")
    if territory is None and territories:
        territory = _drawn(territories, rng)

    median, spread, slowest, fastest = _RATES[kind]
    drawn_rate = math.exp(_clipped(rng, math.log(median), spread, math.log(slowest), math.log(fastest)))
    beat_rate = drawn_rate if heart_rate is None else float(heart_rate)
    usual_rr = max(0.4, 60 / beat_rate)  # in which the criteria hold: above 150 bpm P and T run into each other
    matrix = _body(rng)
    heart = _normal_heart(rng)
    if condition == MYOCARDIAL_INFARCTION:
        heart = _with_st_elevation(heart, territory, matrix, usual_rr, rng)
    elif condition == HISTORY_OF_MI:
        heart = _with_scar(heart, kind, territory, matrix, usual_rr, rng)
    elif condition == ABNORMAL_HEARTBEAT:
        heart = _reshaped(heart, kind, rng)
    hearts = {"N": heart, "P": heart}
    if kind in ("PVC", "bigeminy"):
        hearts["V"] = _ventricular(heart, rng)
    if kind == "PAC":  # from another place in the atria: another P, after a shorter PR
        hearts["A"] = replace(heart, p=_scaled(heart.p, np.array([0.6, -0.7, 0.8])), pr=0.9 * heart.pr)

    # A second more on either side: beats run over both ends, and the filter has settled when the page begins.
    margin = round(rate)
    samples = round(rate * seconds)
    time = (np.arange(samples + 2 * margin) - margin) / rate
    times, beat_kinds, intervals = _beats(kind, beat_rate, seconds, rng)
    vector = np.zeros((3, len(time)))
    for at, beat_kind, interval in zip(times, beat_kinds, intervals, strict=True):
        waves = hearts[beat_kind].beat(interval)
        reach = 4.5 * waves.width
        first, last = np.searchsorted(time, at + np.array([(waves.centre - reach).min(), (waves.centre + reach).max()]))
        vector[:, first:last] += dipole(time[first:last] - at, waves)
    if kind in ("atrial fibrillation", "flutter 2:1"):
        vector += _atrial_waves(kind, time, times, rng)
    leads = matrix[_INDEPENDENT] @ _breathing(vector, time, rng)
    lead_off = None
    if noise:
        leads += _noise(time, rng)
        lead_off = _electrode_off(leads, time, seconds, rng)
    leads = _filtered(leads, rate, print_filter)[:, margin : margin + samples]
    signals = (_DERIVE @ leads).astype(np.float32)

    facts = _facts(hearts, matrix, times, beat_kinds, beat_rate, seconds)
    facts = {
        "kind": kind, "territory": territory, **facts, "lead_off": lead_off, "print_filter": print_filter,
        "seed": int(seed) if isinstance(seed, int | np.integer) else None,
    }  # fmt: skip
    return Recording(signals, float(rate), condition, facts)


_filtered = print_filter  # simulate_recording has an argument of that name


def _fits(kind: str, heart_rate: float) -> bool:
    return _RATES[kind][2] <= heart_rate <= _RATES[kind][3]


def _electrode_off(
    leads: np.ndarray, time: np.ndarray, seconds: float, rng: np.random.Generator
) -> dict[str, object] | None:
    """On 7 % of recordings a chest electrode is off for a while: its lead, (8, samples) in place, is flat."""
    off, lead = rng.uniform() < 0.07, int(rng.integers(6))
    length = min(rng.uniform(1, 4), 0.5 * seconds)
    begin = rng.uniform(0, seconds - length)
    if not off:
        return None
    leads[2 + lead, (time >= begin) & (time < begin + length)] = 0.0
    return {"lead": LEADS[6 + lead], "from_s": round(begin, 3), "to_s": round(begin + length, 3)}


def _facts(
    hearts: dict[str, _Heart], matrix: np.ndarray, times: np.ndarray, beat_kinds: np.ndarray,
    beat_rate: float, seconds: float,
) -> dict[str, object]:  # fmt: skip
    """What is known about the beats, ready for JSON."""
    usual, rr = hearts["N"], 60 / beat_rate
    seen = {name: _look(heart, matrix, rr) for name, heart in hearts.items()}
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
        "st_mv": by_lead(seen["N"].st_mv, 4),
        "q_mv": by_lead(seen["N"].q_mv, 4),
        "q_ms": by_lead(seen["N"].q_ms, 1),
    }
