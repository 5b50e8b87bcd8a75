"""What the pictures of a recording show: their surest cells, with measured map points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.solvers.landmarks import unit

Array = NDArray[np.float64]
_EVERY = 2  # as in LocalizerConfig: the same cells will be asked for
_MAX_TURN = np.radians(35)  # between pictures of about the same view


@dataclass(frozen=True, eq=False)
class Sightings:
    """Cells of all pictures, picture by picture."""

    features: NDArray[np.float16]  # [N, C]
    pixels: NDArray[np.float32]  # [N, 2] of the working size
    points: NDArray[np.float32]  # [N, 3] map, metres; NaN where not known
    sure: NDArray[np.float32]  # [N] how likely it is that each is found again; 0..1
    picture: NDArray[np.int32]  # [N]
    confirmed: NDArray[np.bool_]  # [N] whether other pictures see the point where it is

    @property
    def measured(self) -> NDArray[np.bool_]:
        """[N] whose point is known."""
        return np.asarray(np.isfinite(self.points).all(1))

    @property
    def pictures(self) -> NDArray[np.int64]:
        """The numbers of those pictures that have such, in the order a map counts them."""
        return np.unique(self.picture[self.measured]).astype(np.int64)

    def of(self, pictures: NDArray[np.bool_]) -> 'Sightings':
        """Those in some pictures, [K] of all; their numbers stay."""
        rows = pictures[self.picture]
        return Sightings(*(column[rows] for column in vars(self).values()))


@dataclass(frozen=True, eq=False)
class Picture:
    """The cells of one picture, ready to be compared with those of others."""

    keyframe: Keyframe
    rows: NDArray[np.int64]  # [M] in the sightings
    features: NDArray[np.float32]  # [M, C] unit
    pixels: Array  # [M, 2] as without distortion, from the principal point

    @property
    def focal(self) -> Array:
        """[2] px."""
        return np.array([self.keyframe.camera.fx, self.keyframe.camera.fy])

    @property
    def rays(self) -> Array:
        """[M, 3] in the camera, at a depth of one."""
        return np.c_[self.pixels / self.focal, np.ones(len(self.pixels))]

    def project(self, points: Array) -> Array:
        """Where map points [N, 3] are seen, in ``pixels``; NaN behind the camera."""
        x, y, z = se3.apply(self.keyframe.T_cam_map, points).T
        z = np.where(z > 0, z, np.nan)
        return np.stack([x / z, y / z], 1) * self.focal


def by_picture(sightings: Sightings, keyframes: Sequence[Keyframe]) -> list[Picture]:
    """The pictures that there are sightings of."""
    order = np.argsort(sightings.picture, kind='stable')
    ends = np.searchsorted(sightings.picture[order], np.arange(1, len(keyframes)))
    features = unit(sightings.features.astype(np.float32))
    pictures = []
    for keyframe, rows in zip(keyframes, np.split(order, ends), strict=True):
        camera = keyframe.camera
        rays = camera.unproject(sightings.pixels[rows].astype(np.float64))
        pixels = rays[:, :2] * [camera.fx, camera.fy]
        if len(rows):
            pictures.append(Picture(keyframe, rows, features[rows], pixels))
    return pictures


def partners(
    pictures: Sequence[Picture], of: Picture, span_m: tuple[float, float], count: int
) -> list[Picture]:
    """Pictures of about the same view from places some way beside, near ones and far ones.

    Args:
        pictures: to choose from.
        of: whose partners.
        span_m: how far beside it they may be, from and to.
        count: of them, at most.
    """
    T = np.stack([p.keyframe.T_map_cam for p in pictures])
    here = of.keyframe.T_map_cam
    away = np.linalg.norm(T[:, :3, 3] - here[:3, 3], axis=1)
    turned = se3.angle_rad(here[:3, :3].T @ T[:, :3, :3])
    least, most = span_m
    fit = np.flatnonzero((away > least) & (away < most) & (turned < _MAX_TURN))
    order = fit[np.argsort(away[fit])]
    some = order[np.linspace(0, len(order) - 1, min(count, len(order))).astype(int)]
    return [pictures[n] for n in some.tolist()]


def look(
    keyframes: Sequence[Keyframe],
    encoder: ChosenEncoder,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Sightings:
    """Encode every picture as it is."""
    parts = []
    for number, keyframe in enumerate(keyframes):
        spots = encoder(keyframe.grey, _EVERY)
        points = keyframe.points(spots.pixels).astype(np.float32)
        where = np.full(len(points), number, np.int32)
        pixels = spots.pixels.astype(np.float32)
        none = np.zeros(len(points), bool)
        parts.append((spots.features.astype(np.float16), pixels, points, spots.sure, where, none))
        report(number + 1, len(keyframes))
    return Sightings(*(np.concatenate(column) for column in zip(*parts, strict=True)))
