"""The transform between two frames from poses of one body that are told in both.

A localizer that knows the floor plan only, such as AMCL, tells x, y and yaw: its z is always the
same, its roll and pitch always zero. Against such poses x, y and yaw are found, and the map keeps
its own idea of what is level; heights agree in the median, as the floor of such a frame is at a
known height. A map that lies askew, as one made from pictures alone, is put upright: the robot is.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import SolveError
from vloc_models.geometry import se3

Array = NDArray[np.float64]
_FEWEST = 10  # poses
_METRES_A_RADIAN = 1.0  # that count as much
_STEPS = 20
_STRAYED, _NOISE_M = 3.0, 0.05  # further off than this many medians, and than this: an outlier
_FLAT_M, _FLAT_RAD = 0.02, np.radians(0.5)  # poses that vary less know the floor plan only
_ASKEW_RAD = np.radians(5)  # a map is level that errs less
_MOST_APART_M, _MOST_APART_RAD = 0.3, np.radians(10)  # in the median, of poses that agree
_LEAST_USED = 0.6  # share of the poses
_LEAST_EXTENT_M = 1.0  # over which poses must be spread for the turn to be known


@dataclass(frozen=True, eq=False)
class Alignment:
    """What carries a map into a frame, and how well the poses agree then."""

    T_frame_map: Array  # [4, 4]
    flat: bool  # from x, y and yaw alone
    used: NDArray[np.bool_]  # [N] poses that are no outliers
    apart_m: Array  # [N]
    apart_rad: Array  # [N]

    @property
    def words(self) -> str:
        """How well the poses that were used agree."""
        metres = np.median(self.apart_m[self.used])
        degrees = np.degrees(np.median(self.apart_rad[self.used]))
        count = f'{self.used.sum()} of {len(self.used)} pictures'
        flat = ' in x, y and yaw' if self.flat else ''
        return f'{count}, median {metres * 100:.0f} cm, {degrees:.1f} deg apart{flat}'


def align(T_frame_body: Array, T_map_body: Array) -> Alignment:
    """The transform of the least squares of all poses but outliers.

    Args:
        T_frame_body: [N, 4, 4] poses in the frame that is wanted.
        T_map_body: [N, 4, 4] poses of the same moments in the map.

    Raises:
        SolveError: if they are too few, at one place, or do not agree.
    """
    count = check_shape(T_frame_body, 'N 4 4', 'T_frame_body')['N']
    check_shape(T_map_body, 'N 4 4', 'T_map_body', N=count)
    if count < _FEWEST:
        raise SolveError(f'{count} pictures have both poses, {_FEWEST} are needed', _FIX_FEW)
    flat = _is_flat(T_frame_body) and _askew_rad(T_map_body) < _ASKEW_RAD
    if flat:
        heights = T_frame_body[:, 2, 3] - T_map_body[:, 2, 3]
        found = _robust(_flattened(T_frame_body), _flattened(T_map_body), flat)
        found.T_frame_map[2, 3] = np.median(heights[found.used])
    else:
        found = _robust(T_frame_body, T_map_body, flat)
    _check_agreement(found)
    _check_extent(T_map_body[found.used, :3, 3])
    return found


_FIX_FEW = (
    'record a longer drive through the mapped place; where poses come seldom, as those of '
    'amcl_pose, allow longer gaps between them (--max-gap-s)'
)
_FIX_APART = (
    'check with "vloc info" where its poses come from, and whether their clock is that of the '
    'pictures; or the map may be of another place, or bent'
)


def _robust(T_frame_body: Array, T_map_body: Array, flat: bool) -> Alignment:
    """Least squares of the poses that lie near, beginning from what most of them say."""
    T = _most_say(T_frame_body, T_map_body)
    used = np.zeros(len(T_map_body), bool)
    for _ in range(_STEPS):
        apart_m, apart_rad = _apart(T_frame_body, T @ T_map_body)
        off = apart_m + _METRES_A_RADIAN * apart_rad
        before, used = used, off <= max(_STRAYED * np.median(off), _NOISE_M)
        if (used == before).all():
            break
        T = _least_squares(T_frame_body[used], T_map_body[used])
    return Alignment(T, flat, used, *_apart(T_frame_body, T @ T_map_body))


def _most_say(T_frame_body: Array, T_map_body: Array) -> Array:
    """From medians, which outliers do not move far as long as they are the fewer."""
    each = T_frame_body[:, :3, :3] @ np.swapaxes(T_map_body[:, :3, :3], -1, -2)
    R = min(each, key=lambda one: se3.angle_rad(one.T @ each).sum())
    t = np.median(T_frame_body[:, :3, 3] - T_map_body[:, :3, 3] @ R.T, axis=0)
    return se3.transform(R, t)


def _least_squares(T_frame_body: Array, T_map_body: Array) -> Array:
    """Kabsch's solution with a term for the orientations, each as good as a point aside.

    For small angles |R_a - R_b|^2 (Frobenius) is twice the angle squared.
    """
    wanted, given = T_frame_body[:, :3, 3], T_map_body[:, :3, 3]
    at, here = wanted.mean(0), given.mean(0)
    turns = np.einsum('nij,nkj->ik', T_frame_body[:, :3, :3], T_map_body[:, :3, :3])
    U, _, Vt = np.linalg.svd((wanted - at).T @ (given - here) + _METRES_A_RADIAN**2 * turns / 2)
    R = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    return se3.transform(R, at - R @ here)


def _apart(a: Array, b: Array) -> tuple[Array, Array]:
    """Metres and radians between poses [N, 4, 4]."""
    turned = se3.angle_rad(np.swapaxes(a[:, :3, :3], -1, -2) @ b[:, :3, :3])
    return np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1), turned


def _is_flat(T: Array) -> bool:
    """Whether poses [N, 4, 4] tell x, y and yaw alone."""
    upright = np.arccos(np.clip(T[:, 2, 2], -1, 1)).max() < _FLAT_RAD
    return bool(upright and np.ptp(T[:, 2, 3]) < _FLAT_M)


def _askew_rad(T_map_body: Array) -> float:
    """How far the bodies' mean up is from the map's."""
    up = T_map_body[:, :3, 2].sum(0)
    return float(np.arctan2(np.linalg.norm(up[:2]), up[2]))


def _flattened(T: Array) -> Array:
    return np.stack([se3.planar(one) for one in T])


def _check_agreement(found: Alignment) -> None:
    apart_m = np.median(found.apart_m[found.used])
    apart_rad = np.median(found.apart_rad[found.used])
    near = apart_m < _MOST_APART_M and apart_rad < _MOST_APART_RAD
    if not near or found.used.mean() < _LEAST_USED:
        raise SolveError(f'the poses do not agree: {found.words}', _FIX_APART)


def _check_extent(places: Array) -> None:
    extent = float(np.linalg.norm(np.ptp(places, axis=0)))
    if extent < _LEAST_EXTENT_M:
        what = f'all pictures are of one place, within {extent:.2f} m'
        raise SolveError(what, f'record a drive of some metres, {_LEAST_EXTENT_M:g} m at least')
