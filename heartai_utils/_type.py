"""The machine's type: letters of one bit in three sizes, and how it sets them in a line.

One serif face, rendered at 200 dpi without grey. On the 265 pages of the larger batch of the published dataset
(doi:10.17632/gwbz3fsgp8.2) a letter is the same to the pixel wherever it stands, and 585 of 592 different words
follow one rule, the others but for a pixel: the pen moves on by a whole number of 22nds of the type's size, and a
letter's ink begins in the column the pen is in, or in the next one (its bearing).
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np

_PX_PER_UNIT = 0.12623  # for each point of the type's size, as measured; 22 units to the size would be 0.12626
_ADVANCES = {
    5: ".:i",
    6: "l",
    7: "/It",
    8: "r",
    9: "13s",
    10: "78z",
    11: "*569FSabcef",
    12: "02Phknopxy",
    13: "+4ELdg–",
    14: "~♥",
    15: "ACDRT",
    16: "GHOUVYw",
    17: "N",
    18: "m",
    19: "M",
}  # units: letters
_ADVANCE = {letter: units for units, letters in _ADVANCES.items() for letter in letters}

# By size in points, of each letter: itself, its bearing, the width of its ink, the ink's first row against the base
# line, and its rows from top to bottom, each a binary number in hexadecimal digits.
# fmt: off
_INK = {
    8: """
* 0 8 -15 8 8 eb 3e 1c 6b 49 8 8;
+ 0 12 -13 20 20 20 20 20 fff 20 20 20 20 20;
. 0 3 -2 3 7;
/ 1 5 -15 1 1 1 2 2 2 4 4 4 8 8 8 10 10 10;
0 0 10 -15 38 c4 86 186 182 183 383 383 383 183 183 186 186 c4 68;
1 1 4 -15 2 e 6 2 2 2 2 2 2 2 2 2 2 2 7;
2 1 9 -15 78 fc 10e 106 6 6 4 4 8 10 0 20 41 ff 1fe;
3 1 8 -15 38 7c 86 6 6 4 8 3e 6 3 3 3 2 84 f8;
4 0 10 -15 4 c c 14 24 44 44 84 104 104 3ff 4 4 4 4;
5 1 8 -15 1f 3e 20 40 60 f8 1c 6 3 3 3 2 2 84 f8;
6 0 10 -15 6 10 60 c0 c0 180 1fc 186 386 303 103 182 182 84 68;
7 1 9 -15 ff 1fe 102 6 4 4 c 8 8 18 10 10 10 20 20;
8 0 9 -15 3c c6 82 82 c2 e4 78 38 5c c6 87 183 83 c2 64;
9 0 10 -15 78 8c 186 106 306 303 183 187 ce 66 6 c 18 30 60;
: 0 3 -10 3 3 0 0 0 0 0 0 3 7;
A 0 14 -14 c0 c0 1e0 160 170 230 230 418 7f8 c1c 80c 80e 1006 380f;
C 0 13 -15 f9 387 601 601 c00 c00 c00 1c00 1c00 c00 c00 e00 601 302 1fc;
E 0 13 -15 1ffe 706 302 302 300 300 300 3f8 300 300 300 301 301 702 7fe;
H 0 15 -15 7f3f 1c0e 1c0c 1c0c 1c0c 1c0c 1c0c 1ffc 1c0c 1c0c 1c0c 1c0c 1c0c 1c0c 1c1e;
I 0 7 -15 7f 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c;
L 0 12 -15 fe0 380 180 180 180 180 180 180 180 180 180 180 180 381 3ff;
M 0 19 -15 7c00f 1c00c 1e01c 1601c 1602c 1302c 1304c 1184c 1188c 10c8c 10d0c 10f0c 1070c 1060c 1821e;
O 0 15 -15 3e0 c18 180c 180e 3006 3006 3007 7007 7007 3007 3006 3806 180c c18 770;
P 0 12 -15 fe0 39c 18e 186 187 186 186 18c 180 180 180 180 180 380 380;
S 0 10 -15 78 186 102 302 380 1c0 f0 78 3e f 3 3 103 102 1fc;
V 0 16 -15 fc1f 3806 1804 1808 1c08 c08 e10 610 620 320 320 1c0 1c0 180 80;
a 0 9 -10 7c c6 c6 6 36 46 86 186 ce f7;
d 0 10 -15 6 6 6 6 6 7e 86 186 106 106 306 186 186 1c6 ff;
e 0 9 -10 3c 46 87 ff 180 180 81 c0 f6 7c;
f 0 9 -15 1f 23 20 60 60 1fc 60 60 60 60 60 60 60 60 70;
m 1 15 -10 379e 39e7 30c3 30c3 30c3 30c3 30c3 30c3 30c3 71e7;
r 1 7 -10 37 3b 30 30 30 30 30 30 30 78;
s 0 7 -10 3e 22 60 30 3c e 7 43 61 72;
z 1 8 -10 ff 83 86 c 18 18 30 60 c0 ff;
~ 0 12 -7 7c1 72 80c;
– 0 10 -9 3ff 3ff;
♥ 0 14 -14 f1e 1fbf 1fbf 3fbf 1fff 1fff 1fff ffe 7fc 7f8 3f8 1f0 e0;
""",
    10: """
. 0 3 -3 6 7 6;
/ 0 7 -19 1 1 2 2 2 4 4 4 8 8 8 10 10 10 20 20 20 40 40;
0 0 12 -19 e0 318 20c 60c e0e e06 c06 c06 c07 c07 c07 c06 c06 c06 e0e 60c 60c 318 1f0;
1 0 7 -19 c 3c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 7f;
2 0 12 -19 1f0 3f8 63c 41c 80e e c c c 18 10 30 60 40 80 101 202 7fe ffe;
3 0 10 -19 78 1fc 10e 206 6 6 4 8 1c 7e f 7 3 3 3 3 6 304 3f8;
4 0 12 -19 c 1c 3c 3c 5c dc 9c 11c 21c 21c 41c 81c fff fff 1c 1c 1c 1c 1c;
5 0 10 -19 3f 7f 7e 80 80 1c0 1f0 3fc 1e e 7 3 3 3 3 2 6 38c 3f0;
6 0 11 -19 f 38 60 c0 180 380 300 738 7de 70e 607 607 603 603 603 703 306 184 d8;
7 0 11 -19 3ff 3ff 7ff 402 6 6 4 c c 8 18 18 10 30 30 20 60 60 40;
8 0 10 -19 78 186 302 303 303 302 386 1ec f0 78 fc 19e 307 307 303 303 303 182 cc;
9 0 11 -19 f0 10c 30e 606 607 603 603 603 603 707 38f 1f7 6 e c 18 30 60 1c0;
: 0 3 -13 6 7 6 0 0 0 0 0 0 0 6 7 6;
C 0 16 -19 3f0 e0e 1807 3003 7001 6001 e000 e000 e000 e000 e000 e000 e000 e000 7000 7001 3802 1c04 ff8;
D 0 18 -19 3fe00 fff0 e038 e01c e00e e00e e007 e007 e007 e007 e007 e007 e007 e00f e00e e01c e038 e070 3ffc0;
E 0 15 -19 7ffe 1c0e 1c02 1c02 1c02 1c00 1c00 1c00 1c08 1ff8 1c08 1c00 1c00 1c00 1c00 1c01 1c01 1c06 7ffe;
F 0 14 -19 3ffe e0e e02 e00 e01 e00 e00 e08 e08 ff8 e08 e00 e00 e00 e00 e00 e00 e00 3fc0;
H 0 19 -19 7f0ff 1c038 1c038 1c038 1c038 1c038 1c038 1c038 1c038 1fff8 1c038 1c038 1c038 1c038 1c038 1c038 1c038
  1c038 7f0ff;
I 0 7 -19 7f 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 1c 7f;
L 0 15 -19 7f80 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c00 1c01 1c01 1c06 7ffe;
M 0 23 -19 7c001f 1c001c 1e003c 1e003c 17007c 17005c 1380dc 13809c 11c19c 11c11c 10c11c 10e21c 10621c 10761c
  10741c 103c1c 10381c 18181c 7e107f;
N 0 20 -19 f807f 3801c 1c008 1e008 17008 17808 13c08 11c08 10e08 10708 10788 103c8 101c8 100e8 10078 10038 10038
  18018 7e008;
P 0 14 -19 3fc0 ff8 e1e e0e e0f e07 e07 e0e e0e e3c ef0 e00 e00 e00 e00 e00 e00 e00 3f80;
R 0 18 -19 3fc00 ffc0 e0e0 e070 e070 e070 e070 e0e0 e1e0 ff80 e700 e380 e380 e1c0 e0e0 e060 e070 e038 3f81f;
T 0 15 -19 7fff 7fff 41c1 1c1 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 1c0 ff0;
U 0 19 -19 7f83f 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c00c 1c008 c008 e018
  7030 3fe0;
V 0 19 -19 7f03f 3c00e 1c00c c008 e008 e018 7010 7010 3820 3820 1860 1c40 1c40 e80 e80 780 700 300 200;
Y 0 19 -19 7f03f 3e01c 1c018 e010 f030 7020 3860 3840 1c80 f80 f00 700 700 700 700 700 700 700 3fc0;
a 0 11 -13 1f0 318 61c 61c 20c 7c 18c 30c 60c 60c 61c 72d 3ce;
b 0 12 -19 e00 e00 600 600 600 600 678 6fc 71e 60e 606 607 607 607 606 606 604 60c 3f0;
c 0 10 -13 7c 8e 187 307 300 300 300 300 300 381 3c2 1fe fc;
d 0 13 -19 1c 5c 1c 1c 1c 1c 1dc 63c c1c 181c 181c 181c 181c 181c 181c 1c1c 1c1c f3d 7dc;
e 0 10 -13 78 8e 107 307 3ff 200 300 300 300 381 3c2 1fe fc;
f 0 11 -19 7e c7 82 180 180 180 7f0 180 180 180 180 180 180 180 180 180 180 180 7f0;
g 0 12 -13 1f0 31f 60c 60c 60c 60c 60c 318 1f0 200 600 7fc 7ff 403 401 c01 c02 ffc 3f0;
h 0 13 -19 e00 e00 600 600 600 600 678 6fc 70c 60c 60c 60c 60c 60c 60c 60c 60c 60c 1fbf;
i 0 6 -19 1c c 0 0 0 0 c 3c 1c c c c c c c c c c 3f;
k 0 13 -19 e00 e00 600 600 600 600 63f 618 610 620 640 780 7c0 6e0 670 630 638 61c 1fbf;
l 0 6 -19 1c 1c c c c c c c c c c c c c c c c c 3f;
m 0 21 -13 63870 1efcf8 f0d1c 60e0c 60e0c 60e0c 60e0c 60e0c 60e0c 60e0c 60e0c 60e0c 1fbfbf;
n 0 13 -13 638 1efc f0c 60c 60c 60c 60c 60c 60c 60c 60c 60c 1fbf;
o 0 12 -13 f0 318 60c c0e c06 c07 c07 c07 c06 e06 606 70c 3f8;
p 0 13 -13 278 1efc 71e 60e 607 607 607 607 606 606 606 70c 798 600 600 600 600 600 1f80;
r 0 9 -13 66 1ef 73 60 60 60 60 60 60 60 60 60 1f8;
s 0 8 -13 3a c6 82 82 c0 f0 7c 1e 7 3 83 83 e6;
t 0 7 -17 8 8 18 18 7f 18 18 18 18 18 18 18 18 18 18 19 1e;
w 0 19 -13 7cfcf 38702 38302 18304 18384 c388 c588 e4c8 68d0 68f0 7070 3060 2020;
x 0 13 -13 1f3e e18 710 320 3e0 1c0 c0 1e0 370 230 418 c1c 1e3f;
y 0 13 -13 1f0f e06 e06 604 70c 308 388 190 1d0 f0 e0 60 40 40 c0 80 d80 1f00 e00;
– 0 12 -11 fff fff;
""",
    16: """
C 0 26 -30 3e02 1ffc6 7807e 1e001e 3c000e 780006 780006 f00002 1f00002 1f00000 1e00000 3e00000 3e00000 3e00000
  3e00000 3e00000 3e00000 3e00000 3e00000 3e00000 3e00000 1f00000 1f00000 f00001 f80002 7c0006 3e000c 1f0018
  fe0f0 3ffc0 3c00;
E 0 25 -29 1fffff8 3e0078 1e0018 1e0008 1e000c 1e0004 1e0000 1e0000 1e0000 1e0020 1e0020 1e0060 1e00e0 1fffe0
  1fffe0 1e0060 1e0020 1e0020 1e0020 1e0000 1e0000 1e0000 1e0001 1e0002 1e0006 1e000e 1e001c 3ffffc 1fffff8;
G 0 29 -30 1f800 fff90 3c01f8 780078 f00038 1e00038 3c00018 7800008 7800008 f800000 f000000 1f000000 1f000000
  1f000000 1f0007ff 1f0000fc 1f000078 1f000078 1f000078 1f000078 f800078 f800078 f800078 7c00078 3e00078 3e00078
  1f00078 f80078 3e01f0 fffc0 fc00;
O 0 28 -30 1f800 fff00 3c03c0 7801e0 f000f0 1e00078 3e0003c 3c0003c 7c0003e 780001e 780001f f80001f f80001f
  f80001f f80001f f80001f f80001f f80001f f80001f f80001f 780001f 7c0001e 7c0001e 3c0003c 3e0003c 1e00078 f000f0
  7801e0 3e07c0 fff00 f000;
P 0 22 -29 3fffc0 7fff0 3c0fc 3c03e 3c03e 3c01f 3c01f 3c01f 3c01f 3c01f 3c01f 3c03e 3c03e 3c07c 3fbf8 3dfe0
  3c000 3c000 3c000 3c000 3c000 3c000 3c000 3c000 3c000 3c000 3c000 7e000 3ffc00;
R 0 29 -29 1ffff000 3fffc00 1e03f00 1e01f00 1e00f80 1e00f80 1e007c0 1e007c0 1e007c0 1e00f80 1e00f80 1e01f00
  1e03e00 1e0fc00 1fff000 1e3e000 1e1f000 1e0f000 1e0f800 1e07c00 1e03e00 1e01e00 1e01f00 1e00f80 1e00780
  1e003c0 1e003e0 3f001f8 1ffe00ff;
T 0 24 -29 ffffff ffffff e03c07 c03c03 803c01 803c01 803c01 3c00 3c00 3c00 3c00 3c00 3c00 3c00 3c00 3c00 3c00
  3c00 3c00 3c00 3c00 3c00 3c00 3c00 3c00 3c00 3c00 7e00 3ffc0;
""",
}
# fmt: on


class _Letter(NamedTuple):
    """A letter of one size: where its ink lies against the pen and the base line, and the ink, (height, width)."""

    bearing: int
    top: int
    ink: np.ndarray


@cache
def _letters(points: int) -> dict[str, _Letter]:
    letters = {}
    for entry in _INK[points].split(";")[:-1]:
        letter, bearing, width, top, *rows = entry.split()
        bits = np.array([[int(bit) for bit in f"{int(row, 16):0{width}b}"] for row in rows], dtype=bool)
        letters[letter] = _Letter(int(bearing), int(top), bits)
    return letters


def text_width(text: str, points: int) -> float:
    """How far a text moves the pen, in px."""
    return sum(_ADVANCE[letter] for letter in text) * points * _PX_PER_UNIT


def print_text(page: np.ndarray, text: str, pen: float, baseline: int, points: int) -> None:
    """Print a text in black, in place.

    Args:
        page: (height, width, 3) uint8 RGB.
        text: without spaces: the machine moves the pen between words by distances of its own.
        pen: the column at which the text starts, not rounded.
        baseline: the first row below letters that stand on the line.
        points: 8, 10 or 16.

    Raises:
        KeyError: for a letter that no page prints in this size.
    """
    letters = _letters(points)
    for place, letter in enumerate(text):
        bearing, top, ink = letters[letter]
        x, y = int(pen + text_width(text[:place], points)) + bearing, baseline + top
        page[y : y + ink.shape[0], x : x + ink.shape[1]][ink] = 0
