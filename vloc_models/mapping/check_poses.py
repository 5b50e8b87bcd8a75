"""Do poses and pictures belong together? Told before minutes of training, not after.

Cells of two near pictures are matched by their features, and every match is triangulated with the
poses as they are, and as they would be without the usual mistakes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.solvers.landmarks import unit
from vloc_models.solvers.spots import Spots

Array = NDArray[np.float64]
Encode = Callable[[NDArray[np.uint8], int], Spots]  # every n-th cell
_PAIRS = 24
_AHEAD = 15  # pictures; the partner of a pair is one of so many
_MAX_TURN = np.radians(20)
_MAX_ERROR_PX = 8.0
_FAR_M = 300.0  # what is matched in a picture is nearer, unless the unit is wrong
_EVERY = 2  # cells


@dataclass(frozen=True, eq=False)
class _Match:
    """Cells of two pictures that show the same, as rays [N, 3] with z = 1."""

    a: Keyframe
    b: Keyframe
    rays_a: Array
    rays_b: Array


def check_poses(keyframes: Sequence[Keyframe], encode: Encode) -> None:
    """Raise if the pictures fit inverted poses, or ones in millimetres, and not those given.

    Raises:
        BagError: that names the mistake and how many points lie behind the cameras.
    """
    pairs = _pairs(keyframes)
    if len(pairs) < 3:
        return
    matches = [_matched(a, b, encode) for a, b in pairs]
    given = np.concatenate([_triangulated(m, lambda T: T) for m in matches])
    turned = np.concatenate([_triangulated(m, se3.inverse) for m in matches])
    if len(given) < 50:
        return
    right, inverted = float(np.isfinite(given).mean()), float(np.isfinite(turned).mean())
    if right < 0.5 and inverted > right + 0.15:
        raise BagError(
            f'poses look inverted: {1 - right:.0%} of the points lie behind the cameras or off '
            f'their pixels, {1 - inverted:.0%} if the poses were turned round',
            'give T_map_base (where the robot is in the map), not its inverse',
        )
    distance = float(np.nanmedian(given)) if right else 0.0
    if distance > _FAR_M:
        raise BagError(
            f'poses look as if in millimetres: what the pictures show would be {distance:.0f} m '
            'away',
            'give positions in metres',
        )


def _pairs(keyframes: Sequence[Keyframe]) -> list[tuple[Keyframe, Keyframe]]:
    """Pictures of about the same view from places some way apart."""
    step = max(1, len(keyframes) // _PAIRS)
    pairs = []
    for i in range(0, len(keyframes) - 1, step):
        here = keyframes[i].T_map_cam
        later = [
            (float(np.linalg.norm(k.T_map_cam[:3, 3] - here[:3, 3])), k)
            for k in keyframes[i + 1 : i + 1 + _AHEAD]
            if se3.angle_rad(here[:3, :3].T @ k.T_map_cam[:3, :3]) < _MAX_TURN
        ]
        if later and max(d for d, _ in later) > 0.05:
            pairs.append((keyframes[i], max(later, key=lambda found: found[0])[1]))
    return pairs


def _matched(a: Keyframe, b: Keyframe, encode: Encode) -> _Match:
    """Mutual nearest neighbours of some cells."""
    (fa, pa), (fb, pb) = (_cells(k, encode) for k in (a, b))
    likeness = fa @ fb.T
    best = likeness.argmax(1)
    mutual = likeness.argmax(0)[best] == np.arange(len(fa))
    return _Match(a, b, a.camera.unproject(pa[mutual]), b.camera.unproject(pb[best[mutual]]))


def _cells(k: Keyframe, encode: Encode) -> tuple[NDArray[np.float32], Array]:
    spots = encode(k.grey, _EVERY)
    return unit(spots.features), spots.pixels


def _triangulated(m: _Match, read: Callable[[Array], Array]) -> Array:
    """The depth [N] of the matches in a; NaN where behind a camera or off its pixel.

    Least squares of ``z_b ray_b = z_a R ray_a + t`` in both depths.
    """
    T_b_a = se3.inverse(read(m.b.T_map_cam)) @ read(m.a.T_map_cam)
    p, q, t = m.rays_a @ T_b_a[:3, :3].T, m.rays_b, T_b_a[:3, 3]
    pp, qq, pq = (p * p).sum(1), (q * q).sum(1), (p * q).sum(1)
    with np.errstate(divide='ignore', invalid='ignore'):
        det = pp * qq - pq**2
        z_a = (pq * (q @ t) - qq * (p @ t)) / det
        z_b = (pp * (q @ t) - pq * (p @ t)) / det
        there = z_a[:, None] * p + t
        error = np.linalg.norm(there[:, :2] / there[:, 2:] - q[:, :2], axis=1) * m.b.camera.fx
        good = (z_a > 0) & (z_b > 0) & (there[:, 2] > 0) & (error < _MAX_ERROR_PX)
    return np.where(good, z_a, np.nan)
