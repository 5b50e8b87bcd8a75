"""Map points moved along their rays to where the other pictures see them.

A depth sensor errs with itself: by a percent or two everywhere, and by its place beside the colour
camera. Poses and pictures agree better. So each cell is looked for in other pictures, near where
its measured point would be seen there; its depth is what fits to all that is found and to the
measurement (Gauss-Newton with Huber's weights, one unknown a cell).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.mapping.sightings import Picture, Sightings, by_picture, partners

Array = NDArray[np.float64]
_NUMBERS = 32  # of a feature
_CELLS = 300  # of a picture, the surest; more than become landmarks
_PARTNERS = 6  # pictures in which each is looked for
_BASELINE = 0.04, 0.5  # of theirs, in depths of the picture
_REACH_PX = 20.0  # how far off cells are looked for, each way
_ALIKE = 0.6  # cosine from which cells may be the same
_DEPTH_ERROR = 0.03  # of a measurement, relative
_CELL_ERROR_PX = 3.0  # of a match
_HUBER_PX = 6.0  # matches further off than this are doubted
_STEPS = 4
_TO_SCALE = 40  # pictures that tell the sensor's scale at first
_ENOUGH = 100  # cells that tell the sensor's scale


@dataclass(frozen=True, eq=False)
class Refined:
    """Sightings with better points, and what was found about the depth."""

    sightings: Sightings
    depth_scale: float  # by which depth must be multiplied to agree with pictures and poses


@dataclass(frozen=True, eq=False)
class _Found:
    """Where cells of one picture are in another one."""

    picture: Picture  # the other
    pixels: Array  # [N, 2] as there
    good: NDArray[np.bool_]  # [N]


def refine(sightings: Sightings, keyframes: Sequence[Keyframe]) -> Refined:
    """Points of cells as other pictures see them, confirmed; what the sensor told is scaled.

    Args:
        sightings: with points where they are known.
        keyframes: all, as the sightings number them; only those with sightings are looked at.
    """
    pictures = by_picture(_short(sightings), keyframes)
    centre = np.stack([k.T_map_cam[:3, 3] for k in keyframes])[sightings.picture]
    sensed = np.array([k.depth is not None for k in keyframes])[sightings.picture]
    points = sightings.points.astype(np.float64)

    def measure(some: Sequence[Picture]) -> tuple[Array, float]:
        """Refined by present depth of all cells, NaN where unseen; its median for the sensor."""
        ratio = np.full(len(points), np.nan)
        for picture in some:
            cells = _surest(sightings, picture.rows)
            rows = picture.rows[cells]
            ratio[rows] = _ratios(picture, pictures, cells, points[rows])
        told = ratio[sensed & np.isfinite(ratio)]
        return ratio, float(np.median(told)) if len(told) >= _ENOUGH else 1.0

    _, first = measure(pictures[:: max(1, len(pictures) // _TO_SCALE)])
    points = _moved(points, centre, np.where(sensed, first, 1.0))
    ratio, second = measure(pictures)
    seen = np.isfinite(ratio)
    points = _moved(points, centre, np.where(seen, ratio, np.where(sensed, second, 1.0)))
    refined = replace(sightings, points=points.astype(np.float32), confirmed=seen)
    return Refined(refined, first * second)


def _short(sightings: Sightings) -> Sightings:
    """With features on the axes that matter most: near a guess these tell as much."""
    features = sightings.features.astype(np.float32)
    _, axes = np.linalg.eigh(features.T @ features)  # variances rise
    return replace(sightings, features=features @ axes[:, -_NUMBERS:])


def _moved(points: Array, centre: Array, factor: Array) -> Array:
    """Points [N, 3] at so many times the distance [N] from the cameras that saw them."""
    return centre + (points - centre) * factor[:, None]


def _ratios(
    picture: Picture, pictures: Sequence[Picture], cells: NDArray[np.int64], points: Array
) -> Array:
    """Refined by present depth of a picture's cells [N]; NaN where others do not see them."""
    if not len(cells):
        return np.zeros(0)
    depth = se3.apply(picture.keyframe.T_cam_map, points)[:, 2]
    least, most = np.median(depth) * np.array(_BASELINE)
    beside = partners(pictures, picture, (least, most), _PARTNERS)
    found = [_look_for(picture.features[cells], points, other) for other in beside]
    return _depths(picture, cells, depth, found) / depth


def _surest(sightings: Sightings, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of the rows with a point are most likely to be found again."""
    known = np.flatnonzero(np.isfinite(sightings.points[rows]).all(1))
    return known[np.argsort(-sightings.sure[rows[known]], kind='stable')[:_CELLS]]


def _look_for(features: NDArray[np.float32], points: Array, other: Picture) -> _Found:
    """The cell of another picture that looks most like each, and likes it best, near its point.

    Args:
        features: [N, C] what is looked for.
        points: [N, 3] map.
        other: the picture.
    """
    (u, v), (us, vs) = (x.astype(np.float32).T for x in (other.project(points), other.pixels))
    likeness = features @ other.features.T
    off = np.maximum(np.abs(us - u[:, None]), np.abs(vs - v[:, None]))
    np.copyto(likeness, -1, where=~(off < _REACH_PX))  # also where it is NaN
    best = likeness.argmax(1)
    good = likeness.argmax(0)[best] == np.arange(len(features))
    good &= likeness.max(1) > _ALIKE
    return _Found(other, other.pixels[best], good)


def _depths(
    picture: Picture, cells: NDArray[np.int64], measured: Array, found: Sequence[_Found]
) -> Array:
    """Depths [N] that fit to what was found; NaN where fewer than two others see the cell.

    Args:
        picture: the cells' picture.
        cells: [N] which of its.
        measured: [N] their depth.
        found: where they are in others.
    """
    T_map_cam = picture.keyframe.T_map_cam
    rays = picture.rays[cells]
    trust = (_CELL_ERROR_PX / (_DEPTH_ERROR * measured)) ** 2
    depth, seen = measured.copy(), np.zeros(len(measured), int)
    for _ in range(_STEPS):
        normal, right = trust.copy(), trust * (measured - depth)
        seen[:] = 0
        for other in found:
            T_other_cam = other.picture.keyframe.T_cam_map @ T_map_cam
            missed, slope = _missed(other, T_other_cam, rays, depth)
            missed[~other.good] = 0  # may be NaN
            distance = np.linalg.norm(missed, axis=1)
            weight = other.good * np.minimum(1, _HUBER_PX / np.maximum(distance, 1e-9))
            normal += weight * (slope**2).sum(1)
            right += weight * (slope * missed).sum(1)
            seen += other.good & (distance < _HUBER_PX)
        depth = np.clip(depth + right / normal, 0.5 * measured, 2 * measured)
    return np.where(seen >= 2, depth, np.nan)


def _missed(found: _Found, T_other_cam: Array, rays: Array, depth: Array) -> tuple[Array, Array]:
    """By how much (px) points at some depth miss where they were found, and how they move."""
    turned = rays @ T_other_cam[:3, :3].T
    x = turned * depth[:, None] + T_other_cam[:3, 3]
    z = np.maximum(x[:, 2:], 1e-3)
    at = x[:, :2] / z
    slope = (turned[:, :2] - at * turned[:, 2:]) / z * found.picture.focal
    return found.pixels - at * found.picture.focal, slope
