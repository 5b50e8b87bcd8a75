"""Between two poses, number by number: a tree of transforms is asked too often for matrices."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def matrix(row: Sequence[float]) -> Array:
    """The transform of (t, unit quat_xyzw), 7 numbers."""
    a, b, c, x, y, z, w = row
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), a],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), b],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), c],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def lerp(a: Sequence[float], b: Sequence[float], fraction: float) -> list[float]:
    """Between two points, on the line."""
    return [(1 - fraction) * p + fraction * q for p, q in zip(a, b, strict=True)]


def slerp(a: Sequence[float], b: Sequence[float], fraction: float) -> list[float]:
    """Between unit quaternions, the short way round."""
    if sum(p * q for p, q in zip(a, b, strict=True)) < 0:
        b = [-q for q in b]
    minus = math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b, strict=True)))
    plus = math.sqrt(sum((p + q) ** 2 for p, q in zip(a, b, strict=True)))
    angle = 2 * math.atan2(minus, plus)  # accurate at both ends, unlike acos of the product
    if angle < 1e-9:
        return list(a)
    u, v = math.sin((1 - fraction) * angle), math.sin(fraction * angle)
    scale = math.sin(angle)
    return [(u * p + v * q) / scale for p, q in zip(a, b, strict=True)]
