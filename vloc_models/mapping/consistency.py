"""Which of a network's depths other pictures confirm (the forward-backward check).

A pixel's point is looked up in another picture, and what that one holds for its depth is carried
back. Where both agree the depth is confirmed; where something nearer is in between, or the point
is out of view, the other picture has no say; where it looks through the point, it denies it. What
moves, and what the network only made up, is denied or finds too few that agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
_MAX_TURN = np.radians(35)  # between pictures that see about the same


@dataclass(frozen=True)
class CheckConfig:
    """When a depth counts as confirmed."""

    near: float = 0.05  # relative difference of depths that agree
    far: float = 0.10  # the same beyond far_m
    far_m: float = 10.0
    partners: int = 6  # pictures that are asked
    agreeing: int = 2  # of these that must agree, and more than deny it
    baseline: tuple[float, float] = (0.05, 0.5)  # of the partners, in depths of the picture

    def __post_init__(self) -> None:
        if not (0 < self.near <= self.far and 1 <= self.agreeing <= self.partners):
            raise VlocError(
                f'check of depth: within {self.near:g} and {self.far:g}, {self.agreeing} of '
                f'{self.partners} pictures must agree',
                'give positive shares, and no more than there are',
            )


@dataclass(frozen=True, eq=False)
class DepthPicture:
    """Depth of one picture, and where it was taken."""

    depth: NDArray[np.floating]  # [H, W] metres, NaN where unknown
    camera: Camera  # pinhole
    T_map_cam: Array  # [4, 4]

    def points(self) -> Array:
        """Map points [H, W, 3] of all pixels; NaN where unknown."""
        rays = self.camera.unproject(self.camera.pixel_grid())
        return se3.apply(self.T_map_cam, rays * self.depth[..., None].astype(np.float64))


def confirmed(
    picture: DepthPicture, others: Sequence[DepthPicture], config: CheckConfig
) -> NDArray[np.bool_]:
    """Which pixels [H, W] of a picture enough of its partners agree with."""
    agree = np.zeros(picture.depth.shape, int)
    deny = np.zeros_like(agree)
    for other in partners_of(picture, others, config):
        yes, no = _asked(picture, other, config)
        agree += yes
        deny += no
    return (agree >= config.agreeing) & (agree > deny)


def partners_of(
    picture: DepthPicture, others: Sequence[DepthPicture], config: CheckConfig
) -> list[DepthPicture]:
    """Pictures of about the same view from beside, near ones and far ones; not itself."""
    known = picture.depth[np.isfinite(picture.depth)]
    if not len(known) or not others:
        return []
    least, most = np.median(known) * np.array(config.baseline)
    T, here = np.stack([o.T_map_cam for o in others]), picture.T_map_cam
    away = np.linalg.norm(T[:, :3, 3] - here[:3, 3], axis=1)
    turned = se3.angle_rad(here[:3, :3].T @ T[:, :3, :3])
    fit = np.flatnonzero((away > least) & (away < most) & (turned < _MAX_TURN))
    order = fit[np.argsort(away[fit])]
    count = min(config.partners, len(order))
    return [others[n] for n in order[np.linspace(0, len(order) - 1, count).astype(int)].tolist()]


def _asked(
    picture: DepthPicture, other: DepthPicture, config: CheckConfig
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where [H, W] another picture agrees, and where it looks through what is told."""
    points = se3.apply(se3.inverse(other.T_map_cam), picture.points())
    expected = points[..., 2]
    uv = other.camera.project(points)
    size = np.array([other.camera.width, other.camera.height])
    with np.errstate(invalid='ignore'):
        inside: NDArray[np.bool_] = np.all((uv > -0.5) & (uv < size - 0.5), axis=-1)
        at = np.where(inside[..., None], uv, 0).round().astype(int)
        there = np.where(inside, other.depth[at[..., 1], at[..., 0]], np.nan).astype(np.float64)
        back = se3.apply(
            se3.inverse(picture.T_map_cam) @ other.T_map_cam,
            other.camera.unproject(np.where(inside[..., None], uv, 0)) * there[..., None],
        )[..., 2]
        depth = picture.depth.astype(np.float64)
        tolerance = np.where(depth > config.far_m, config.far, config.near)
        agree = (np.abs(back - depth) < tolerance * depth) & (
            np.abs(there - expected) < tolerance * expected
        )
        through = there > (1 + tolerance) * expected
    return agree, through & ~agree
