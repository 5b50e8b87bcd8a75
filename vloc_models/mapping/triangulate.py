"""Map points of cells by matching pictures with each other, where there is no depth sensor.

A cell of one picture is matched in several others that were taken some way beside it, near the
line on which it must lie there; its point is the one nearest to all rays.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.keyframes import Keyframe
from vloc_models.mapping.sightings import Picture, Sightings, by_picture, partners

Array = NDArray[np.float64]
_PARTNERS = 8  # pictures that each is matched with
_ALIKE = 0.6  # cosine from which cells may be the same
_LINE_PX = 3.0  # how far off its line a match may be
_MISS_PX = 3.0  # how far from a match the point may be seen
_LEAST_DET = 1e-9  # parallel rays meet nowhere
_MIN_PARALLAX = np.radians(1.0)
_SPAN = 0.02, 0.35  # distance between the two cameras, as a share of the scene's size,
_ROOM_M = 10.0  # but no more than of a large room's


def triangulate(sightings: Sightings, keyframes: Sequence[Keyframe]) -> Sightings:
    """The sightings with points for cells of pictures without depth, where they can be found."""
    pictures = by_picture(sightings, keyframes)
    points, span_m = sightings.points.copy(), _span_m(pictures)
    for picture in pictures:
        if not np.isfinite(points[picture.rows]).any():  # it has no depth
            beside = partners(pictures, picture, span_m, _PARTNERS)
            points[picture.rows] = _points(picture, beside)
    return replace(sightings, points=points)


def _directions(picture: Picture) -> Array:
    """Unit rays [N, 3] in the map."""
    rays = picture.rays @ picture.keyframe.T_map_cam[:3, :3].T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)


def _centre(picture: Picture) -> Array:
    return picture.keyframe.T_map_cam[:3, 3]


def _span_m(pictures: Sequence[Picture]) -> tuple[float, float]:
    """How far beside a picture its partners are."""
    size = min(np.linalg.norm(np.ptp([_centre(p) for p in pictures], axis=0)), _ROOM_M)
    least, most = _SPAN
    return float(least * size), float(most * size)


def _points(picture: Picture, partners: Sequence[Picture]) -> NDArray[np.float32]:
    """Map points [N, 3] of a picture's cells; NaN where they cannot be found."""
    found = [_matched(picture, partner) for partner in partners]
    count = len(picture.rows)
    used = np.stack(found, 1) if found else np.zeros((count, 0), int)  # [N, P] cells, -1 none
    for _ in range(2):  # again without those that do not agree
        points = _nearest(picture, partners, used)
        for n, partner in enumerate(partners):
            seen = partner.project(points)
            off = np.linalg.norm(seen - partner.pixels[used[:, n]], axis=1)
            used[:, n] = np.where(off < _MISS_PX, used[:, n], -1)
    points = _nearest(picture, partners, used)
    own = np.linalg.norm(picture.project(points) - picture.pixels, axis=1)
    good = (own < _MISS_PX) & ((used >= 0).sum(1) >= 2)
    good &= _parallax(picture, partners, used) > _MIN_PARALLAX
    return np.where(good[:, None], points, np.nan).astype(np.float32)


def _matched(a: Picture, b: Picture) -> NDArray[np.int64]:
    """For each cell of a the cell of b that is its match, -1 for none."""
    likeness = a.features @ b.features.T
    likeness[_off_line_px(a, b) > _LINE_PX] = -1
    best = likeness.argmax(1)
    mutual = likeness.argmax(0)[best] == np.arange(len(best))
    return np.where(mutual & (likeness.max(1) > _ALIKE), best, -1)


def _off_line_px(a: Picture, b: Picture) -> NDArray[np.float32]:
    """How far each cell of b is from the plane of each ray of a, [N, M], px in b."""
    baseline = _centre(b) - _centre(a)
    normal = np.cross(_directions(a), baseline)
    normal *= b.focal[0] / np.maximum(np.linalg.norm(normal, axis=1)[:, None], 1e-9)
    return np.abs(normal.astype(np.float32) @ _directions(b).T.astype(np.float32))


def _nearest(picture: Picture, partners: Sequence[Picture], used: NDArray[np.int64]) -> Array:
    """The points nearest to the rays of each cell and its matches; NaN without any match."""
    A, b = _planes(_directions(picture), _centre(picture))
    for n, partner in enumerate(partners):
        other, right = _planes(_directions(partner)[used[:, n]], _centre(partner))
        there = (used[:, n] >= 0)[:, None]
        A, b = A + other * there[..., None], b + right * there
    good = (used >= 0).any(1) & (np.linalg.det(A) > _LEAST_DET)
    A = np.where(good[:, None, None], A, np.eye(3))
    return np.where(good[:, None], np.linalg.solve(A, b[..., None])[..., 0], np.nan)


def _planes(directions: Array, centre: Array) -> tuple[Array, Array]:
    """A [N, 3, 3] and b [N, 3] of |A x - b| being the distance of x from each ray."""
    A = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    return A, A @ centre


def _parallax(picture: Picture, partners: Sequence[Picture], used: NDArray[np.int64]) -> Array:
    """The largest angle between a cell's ray and those of its matches, [N] rad."""
    largest = np.zeros(len(picture.rows))
    for n, partner in enumerate(partners):
        cosine = (_directions(picture) * _directions(partner)[used[:, n]]).sum(1)
        angle = np.arccos(np.clip(cosine, -1, 1))
        largest = np.maximum(largest, np.where(used[:, n] >= 0, angle, 0))
    return largest
