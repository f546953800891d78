"""One heart: its beat, what a clean beat shows in each lead, and what infarction and conduction make of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from heartai_utils import _fitted
from heartai_utils._dipole import DERIVE, DOWER_ROWS, LEADS, Waves, dipole, turn

TERRITORY_LEADS: dict[str, tuple[tuple[str, ...], ...]] = {
    "anterior": (("V1", "V2", "V3", "V4"),),
    "inferior": (("II", "aVF", "III"),),
    "lateral": (("aVL", "I"), ("V5", "V6")),
    "inferolateral": (("II", "aVF", "III"), ("V5", "V6")),
}
"""The leads that look at a territory, in runs of contiguous leads."""

# A beat as it is fitted and kept, in seconds from the R peak: T as at an RR of one second, P as at PR = 147 ms.
ONSET, J, T_PEAK, T_END = -0.048, 0.045, 0.232, 0.325
PR = 0.147


@dataclass(frozen=True)
class Heart:
    """A beat in its parts, and its intervals in seconds.

    Attributes:
        p, qrs, t: seconds from the R peak; P as at ``PR``, T as at ``J`` and an RR of one second.
        pr: from the onset of P to that of QRS.
        onset, j: of QRS, from the R peak.
        jt: from J to the end of T at an RR of one second.
    """

    p: Waves | None
    qrs: Waves
    t: Waves
    pr: float
    onset: float
    j: float
    jt: float

    def beat(self, rr: float) -> Waves:
        """The waves of one beat after an interval of ``rr`` seconds: QRS as it is, P at its PR, T within its QT."""
        stretch = (self.qt(rr) - (self.j - self.onset)) / (T_END - J)
        parts = [Waves(self.j + (self.t.centre - J) * stretch, self.t.width * stretch, self.t.vector)]
        if self.p is not None:
            shift = (self.onset - ONSET) - (min(self.pr, 0.75 * rr) - PR)
            parts.append(self.p._replace(centre=self.p.centre + shift))
        return self.qrs.and_(*parts)

    def qt(self, rr: float) -> float:
        """QRS, and a T that shortens with the root of RR (Bazett 1920), but never below 80 ms."""
        return (self.j - self.onset) + max(self.jt * math.sqrt(rr), 0.08)


# --- Hearts as they are drawn ---------------------------------------------------------------------------------------

_WAVES = len(_fitted.CENTRE)
_LAST_P, _LAST_QRS = 6, 19


def draw_heart(group: str, rng: np.random.Generator) -> tuple[Heart, np.ndarray]:
    """A heart and the body it is in, drawn from the people of one group.

    Returns:
        The heart and its (12, 3) matrix.
    """
    mean, spread = _fitted.MEAN[group], _fitted.SPREAD[group]
    scores = spread * rng.standard_normal(len(spread)).clip(-2.5, 2.5)
    drawn = mean + scores @ _fitted.LOADINGS
    vector = drawn[: 3 * _WAVES].reshape(3, _WAVES).T
    body, (size, width, jt, p_peak) = drawn[3 * _WAVES : -4].reshape(8, 3), drawn[-4:]
    waves = Waves(_fitted.CENTRE, _fitted.WIDTH, vector)
    p, qrs, t = (
        Waves(*(array[part] for array in waves))
        for part in (slice(0, _LAST_P), slice(_LAST_P, _LAST_QRS), slice(_LAST_QRS, None))
    )
    stretch = float(np.clip(math.exp(width), 0.8, 1.18))
    heart = Heart(
        p=p,
        qrs=qrs.scaled(math.exp(np.clip(size, -0.7, 0.7)), stretch),
        t=t,
        pr=float(np.clip(p_peak + 0.05, 0.122, 0.198)),
        onset=ONSET * stretch,
        j=J * stretch,
        jt=(T_END - J) * math.exp(jt),
    )
    return heart, DERIVE @ (DOWER_ROWS + body)


# --- What one clean beat shows --------------------------------------------------------------------------------------


class Seen(NamedTuple):
    """One clean beat, (12,) per lead against the PR level, in mV and ms; and its R peak in seconds."""

    st_mv: np.ndarray
    j_mv: np.ndarray
    q_mv: np.ndarray
    q_ms: np.ndarray
    r_peak: float


def look(heart: Heart, matrix: np.ndarray, rr: float) -> Seen:
    """Read ST level, Q and R peak off one clean beat between its like, ms by ms from the onset of QRS."""
    j = round(1e3 * (heart.j - heart.onset))
    # Zero is the PR level 15 ms before the onset: the early vector of a scar has begun when QRS does.
    at, beat = heart.onset + 1e-3 * np.arange(-15, j + 61), heart.beat(rr)
    leads = matrix @ sum(dipole(at + shift, beat) for shift in (-rr, 0.0, rr))  # fast beats run into each other
    leads = leads[:, 15:] - leads[:, :1]
    qrs = leads[:, : j + 1]
    # Q lasts from where the lead leaves the PR level downwards to where it comes back above it: to J, if it is a QS.
    below, above = qrs < -0.02, qrs > 0.02
    start = np.where(below.any(1), below.argmax(1), j)
    end = np.where(above.any(1), above.argmax(1), j)
    is_q = start < end
    depth = np.where(np.arange(j + 1) < end[:, None], -qrs, 0).max(1)
    # From 8 ms on, for a pacing spike at the onset is no R peak, and nor is the ST segment.
    length = (dipole(at[23 : 15 + j + 1], heart.qrs) ** 2).sum(0)
    peak = heart.onset + 1e-3 * (8 + length.argmax())
    return Seen(leads[:, j + 60], leads[:, j], np.where(is_q, depth, 0), np.where(is_q, end - start, 0), float(peak))


def _in_two_contiguous(held: np.ndarray, territory: str) -> bool:
    """Whether two neighbours hold a criterion, (12,) of truth, in each run of a territory's leads."""
    seen = dict(zip(LEADS, held, strict=True))
    runs = TERRITORY_LEADS[territory]
    return all(any(seen[a] and seen[b] for a, b in zip(run, run[1:], strict=False)) for run in runs)


_IN_V2_V3 = np.isin(LEADS, ("V2", "V3"))
ST_ELEVATION_MV = np.where(_IN_V2_V3, 0.2, 0.1)
"""(12,) where ST elevation begins, for men of 40 and over (Fourth Universal Definition, Thygesen et al. 2018)."""


_BREATH = 1.12
"""Hearts exceed their criterion by this, for breathing takes some of it away again in the recording."""


def st_elevated(seen: Seen, territory: str) -> bool:
    return _in_two_contiguous(np.minimum(seen.st_mv, seen.j_mv) >= _BREATH * ST_ELEVATION_MV, territory)


def q_waves(seen: Seen, territory: str) -> bool:
    """Q of 30 ms and 0.1 mV, or in V2 and V3 any Q of 20 ms (Fourth Universal Definition, prior infarction)."""
    broad = (seen.q_ms >= 30) & (seen.q_mv >= _BREATH * 0.1)
    return _in_two_contiguous(broad | (_IN_V2_V3 & (seen.q_ms >= 20)), territory)


# --- Infarctions: vectors towards a territory and away from a scar --------------------------------------------------

_TOWARDS = {  # where each territory lies, so where its ST vector points
    "anterior": (0.45, 0.05, -0.9),
    "inferior": (-0.1, 0.9, 0.3),
    "lateral": (0.95, -0.3, 0.0),
    "inferolateral": (0.6, 0.75, 0.2),
}
_T_WAVE = Waves.rows((T_PEAK, 0.048, 1, 1, 1))


def _plateau() -> Waves:
    """1 mV from J to the T peak: Gaussians so close that their sum does not ripple."""
    step, width = 0.025, 0.02
    centre = np.arange(J - 0.012, T_PEAK - 0.015, step)
    height = step / (width * math.sqrt(2 * math.pi))
    return Waves(centre, np.full(len(centre), width), np.full((len(centre), 3), height))


_ST_PLATEAU = _plateau()


def _towards(territory: str, rng: np.random.Generator) -> np.ndarray:
    direction = _TOWARDS[territory] + rng.normal(0, 0.08, 3)
    return direction / np.linalg.norm(direction)


def _with_lost_r(heart: Heart, towards: np.ndarray, loss: float, q: float) -> Heart:
    """Dead muscle gives no voltage: QRS towards it loses a share, and its early part points away, by ``q`` mV."""
    lost = loss * (heart.qrs.vector @ towards).clip(min=0)
    kept = heart.qrs._replace(vector=heart.qrs.vector - lost[:, None] * towards)
    stretch = heart.onset / ONSET
    centre, width = (-0.014, 0.017) if towards[2] < -0.5 else (-0.022, 0.0115)  # the front wall takes part for longer
    away = Waves.rows((centre * stretch, width * stretch, *(-q * towards)))
    return replace(heart, qrs=kept.and_(away))


def with_st_elevation(
    healthy: Heart, territory: str, matrix: np.ndarray, rr: float, rng: np.random.Generator
) -> Heart | None:
    """A vector towards the territory from J to T, large enough for the criterion; T taller, some R already lost.

    Returns:
        The heart, or None if in this body no vector in the direction drawn meets the criterion.
    """
    towards = _towards(territory, rng)
    heart = _with_lost_r(healthy, towards, rng.uniform(0, 0.4), rng.choice([0.0, rng.uniform(0.05, 0.4)]))
    heart = replace(heart, t=heart.t.scaled(rng.uniform(0.6, 1.0)))
    taller = rng.uniform(0.5, 1.3)

    def elevated(height: float) -> Heart:
        st, t = _ST_PLATEAU.scaled(height * towards), _T_WAVE.scaled(taller * height * towards)
        return replace(heart, t=heart.t.and_(st, t))

    heights = np.arange(0.0, 1.5, 0.02)
    enough = next((height for height in heights if st_elevated(look(elevated(height), matrix, rr), territory)), None)
    if enough is None:
        return None
    return elevated(enough + rng.gamma(1.5, 0.14 if territory == "anterior" else 0.07))


def with_scar(
    drawn: Heart, kind: str, territory: str, matrix: np.ndarray, rr: float, rng: np.random.Generator
) -> Heart | None:
    """Less R in the scar's leads, T turned over, and of the kind "Q waves" a Q that meets its criterion.

    Returns:
        The heart, or None if in this body no Q in the direction drawn meets the criterion.
    """
    towards = _towards(territory, rng)
    if kind == "no Q waves":
        return _with_lost_r(drawn, towards, rng.uniform(0.0, 0.4), 0.0)
    heart = drawn
    if territory != "anterior":  # hearts drawn with an anterior scar have lost their R and their T already
        left = towards + np.array([0.4, 0.0, 0.0])  # T turns over further to the left than Q reaches
        heart = replace(drawn, t=drawn.t.and_(_T_WAVE.scaled(-rng.uniform(0.0, 0.25) * left)))
    loss, deeper = rng.uniform(0.2, 0.7), rng.uniform(0.0, 0.2)

    def scarred(q: float) -> Heart:
        return _with_lost_r(heart, towards, loss, q)

    depths = np.arange(0.0, 2.0, 0.05)
    enough = next((q for q in depths if q_waves(look(scarred(q), matrix, rr), territory)), None)
    return None if enough is None else scarred(enough + deeper)


# --- Conduction and shape: the kinds of Abnormal heartbeat that change the beat itself ------------------------------


_SLOW_T = Waves.rows((0.15, 0.06, 0.5, 0.5, 0.5), (0.222, 0.045, 1, 1, 1))  # rises from J on, as after slow conduction


def _slow(heart: Heart, rows: list, t: np.ndarray | tuple, seconds: float, gain: float) -> Heart:
    """A heart whose QRS is made of slow waves and lasts some seconds, and whose T points as given, against it."""
    qrs = Waves.rows(*rows)
    onset, j = float((qrs.centre - 2.5 * qrs.width).min()), float((qrs.centre + 2.5 * qrs.width).max())
    stretch = seconds / (j - onset)
    t = _SLOW_T.scaled(gain * np.array(t))
    return replace(heart, qrs=qrs.scaled(gain, stretch), t=t, onset=onset * stretch, j=j * stretch, jt=heart.jt + 0.02)


_LEFT_BUNDLE = [(-0.046, 0.014, 0.4, 0.12, 0.22), (-0.014, 0.017, 1.1, 0.3, 0.62), (0.026, 0.019, 1.0, 0.02, 0.85)]
_PACED = [(-0.050, 0.014, 0.25, -0.2, 0.15), (-0.012, 0.018, 0.65, -0.6, 0.5), (0.028, 0.020, 0.45, -0.6, 0.6)]


def reshaped(heart: Heart, kind: str, rng: np.random.Generator) -> Heart:
    """The usual beat of a kind of Abnormal heartbeat."""
    gain = rng.uniform(0.75, 1.25)
    if kind in ("atrial fibrillation", "flutter 2:1"):
        return replace(heart, p=None)
    if kind == "SVT":  # P hides in QRS; ST falls a little, as it does in fast hearts
        st = _ST_PLATEAU.scaled(rng.uniform(0.02, 0.1) * np.array([-0.6, -0.7, 0.1]))
        return replace(heart, p=None, t=heart.t.and_(st))
    if kind == "first-degree block":
        return replace(heart, pr=rng.uniform(0.215, 0.3))
    if kind == "LBBB":
        return _slow(heart, _LEFT_BUNDLE, (-0.22, 0.02, -0.34), rng.uniform(0.128, 0.16), gain)
    if kind == "paced":
        heart = _slow(heart, _PACED, (-0.2, 0.25, -0.25), rng.uniform(0.145, 0.175), gain)
        return replace(heart, qrs=heart.qrs.and_(Waves.rows((heart.onset, 0.0015, 0.5, 1.2, 0.3))))
    if kind == "RBBB":  # the right ventricle comes last: to the right and forwards
        late = rng.uniform(0.052, 0.062)
        end = Waves.rows((late, 0.014, *(gain * np.array([-0.45, 0.0, -0.42]))))
        t = _T_WAVE.scaled(gain * np.array([0.04, 0.0, 0.2]))
        return replace(heart, qrs=heart.qrs.and_(end), t=heart.t.and_(t), j=late + 0.032)
    if kind == "LVH with strain":
        st = _ST_PLATEAU.scaled(gain * np.array([-0.1, -0.06, -0.04]))
        t = _T_WAVE.scaled(gain * np.array([-0.3, -0.1, -0.1]))
        qrs = heart.qrs.scaled(rng.uniform(1.25, 1.65))
        return replace(heart, qrs=qrs, t=heart.t.scaled(0.6).and_(st, t))
    if kind == "axis deviation":
        x, y, _ = heart.qrs.width @ heart.qrs.vector
        wanted = rng.choice([rng.uniform(-80, -45), rng.uniform(105, 130)])  # degrees in the frontal plane
        angle = math.radians(wanted) - math.atan2(y, x)
        return replace(heart, qrs=heart.qrs._replace(vector=heart.qrs.vector @ turn(np.array([0, 0, angle])).T))
    return heart


def ventricular(heart: Heart, rng: np.random.Generator) -> Heart:
    """A premature ventricular beat: slow, wide, from anywhere, T against it, no P of its own."""
    side = rng.choice([-1.0, 1.0])
    main = np.array([side * rng.uniform(0.5, 1.0), rng.uniform(-0.9, 1.1), side * rng.uniform(0.4, 0.9)])
    first, second, third = np.outer([0.4, 1.1, 0.7], main) + rng.normal(0, 0.2, (3, 3))
    rows = [(-0.045, 0.018, *first), (-0.008, 0.021, *second), (0.04, 0.022, *third)]
    return replace(_slow(heart, rows, -0.45 * main, rng.uniform(0.15, 0.2), rng.uniform(0.9, 1.3)), p=None)
