"""A piece of furniture, and the parts that several kinds have.

A piece stands on the floor around its origin, x to the right, its back towards +y.
"""

from dataclasses import dataclass

import numpy as np

from vloc_models.frames.synthetic.labels import Label
from vloc_models.frames.synthetic.materials import Painter
from vloc_models.frames.synthetic.surfaces import (
    Rect,
    box,
    placed,
    rect,
    standing,
)
from vloc_models.geometry import se3

Top = tuple[float, float, float, float, float]  # x0, y0, x1, y1, height: where clutter may stand


@dataclass(frozen=True)
class Piece:
    """One piece of furniture in its own frame."""

    rects: list[Rect]
    width_m: float  # along x
    depth_m: float  # along y
    height_m: float
    tops: tuple[Top, ...] = ()
    at_wall: bool = True


def legs(w: float, d: float, h: float, p: Painter, label: Label, thick: float) -> list[Rect]:
    """Four square legs under the corners of a top ``w`` by ``d`` at height ``h``."""
    metal = p.plain()
    at = [(sx * (w / 2 - thick), sy * (d / 2 - thick), 0) for sx in (-1, 1) for sy in (-1, 1)]
    return [f for c in at for f in box(c, (thick, thick, h), metal, label)]


def foliage(
    p: Painter, centre: tuple[float, float, float], count: int, reach: float
) -> list[Rect]:
    """``count`` leaves about ``reach`` metres long, growing every way from ``centre``."""
    leaf, out = p.leaf(), []
    for _ in range(count):
        tilt = se3.exp([0, 0, 0, *p.rng.normal(0, 0.9, 3)])
        length = reach * p.rng.uniform(0.5, 1.1)
        one = rect(
            [-0.12 * length, 0, 0], [0.24 * length, 0, 0], [0, 0, length], leaf, Label.PLANT
        )
        offset = np.asarray(centre) + p.rng.normal(0, 0.06 * reach, 3)
        out += placed([one], standing(*offset) @ tilt)
    return out
