"""The dipole of a beat, and how twelve leads see it.

A beat is a vector in space (x to the left, y down, z to the back) whose three parts are sums of Gaussians in time
(McSharry et al. 2003, IEEE TBME 50:289; Sameni et al. 2007, EURASIP JASP 43407). The Dower matrix shows it to the
twelve leads (Dower 1980).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

INDEPENDENT = np.array([0, 1, 6, 7, 8, 9, 10, 11])  # I, II, V1–V6: the eight leads that are measured
DERIVE = np.zeros((12, 8))  # the other four follow from I and II (Einthoven 1912, Goldberger 1942)
DERIVE[INDEPENDENT, np.arange(8)] = 1
DERIVE[2:6, :2] = [[-1, 1], [-0.5, -0.5], [1, -0.5], [-0.5, 1]]  # III, aVR, aVL, aVF

# fmt: off
DOWER_ROWS = np.array([
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
DOWER = DERIVE @ DOWER_ROWS
"""(12, 3): what each lead of ``LEADS`` sees of x, y and z; the Dower matrix with the derived limb leads."""


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

    @classmethod
    def rows(cls, *rows: tuple[float, float, float, float, float]) -> Waves:
        """Waves from rows of centre, width, x, y, z."""
        table = np.array(rows, dtype=float).reshape(-1, 5)
        return cls(table[:, 0], table[:, 1], table[:, 2:])

    def scaled(self, gain: float | np.ndarray, stretch: float = 1.0) -> Waves:
        """The same waves, higher by a gain and longer by a stretch about 0."""
        return Waves(self.centre * stretch, self.width * stretch, self.vector * gain)

    def and_(self, *others: Waves) -> Waves:
        """These waves and others together."""
        return Waves(*(np.concatenate(arrays) for arrays in zip(self, *others, strict=True)))


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


def turn(angles: np.ndarray) -> np.ndarray:
    """The (3, 3) rotation by angles about x, y and z."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


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
# fmt: on
