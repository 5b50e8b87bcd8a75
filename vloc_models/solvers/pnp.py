"""The pose of a robot from map points seen by one or several cameras: PoseLib, and a covariance.

PoseLib (LO-RANSAC, then non-linear refinement) finds the pose, and least squares weighted by the
points' confidence settle it; how sure it is follows from the inliers' Jacobians. Neighbouring
cells of a network err together, so that this covariance is too small by a factor which calibration
on held-out frames has to find.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import poselib
from numpy.typing import NDArray

from vloc_models.checks import check_se3, check_shape
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import PoseEstimate, SceneCoordinates

Array = NDArray[np.float64]
_FEWEST = 6  # correspondences below which a pose is chance
_COVERAGE_CELLS = (4, 3)  # columns and rows each image is divided into
_SAY = 30  # points from which a camera has a say; with fewer it looks where nothing was mapped
_STEPS = 10  # of the last refinement, at most; it most often stops after three
_SETTLED = 1e-4  # metres and radians of a step
_WORST_CONDITION = 1e12  # of the scaled normal equations; beyond it a direction is not seen


@dataclass(frozen=True)
class PnpConfig:
    """How a pose is searched for."""

    inlier_px: float = 10.0  # a point reprojected further off does not count
    best_share: float = 0.5  # of that: those nearer settle the pose in the end
    min_iterations: int = 50
    max_iterations: int = 4000
    near_iterations: int = 400  # with a prior, near which most points were looked for
    success_probability: float = 0.99
    search_points: int = 600  # of all cameras, the most confident for RANSAC; all refine
    trusted_share: float = 0.3  # of the points that agree with a prior, which is then only refined
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Observation:
    """What one camera of the robot saw."""

    coordinates: SceneCoordinates
    camera: Camera
    T_base_cam: Array  # [4, 4]


@dataclass(frozen=True, eq=False)
class _Sighting:
    """The usable part of an observation, in undistorted pixels around the principal point."""

    pixels: Array  # [N, 2]
    points: Array  # [N, 3] map
    focal: Array  # [2]
    T_cam_base: Array
    cell: NDArray[np.int64]  # [N] of the coverage grid
    confidence: NDArray[np.float32]  # [N]


def solve_pnp(
    observations: Sequence[Observation], config: PnpConfig, prior: Array | None = None
) -> PoseEstimate | None:
    """Find T_map_base.

    Args:
        observations: one a camera; points without confidence are left out, and
            NaN points and pixels.
        config: thresholds and effort.
        prior: T_map_base [4, 4] to try first, e.g. predicted by odometry.

    Returns:
        The pose, its 6x6 covariance (not yet inflated) and what supports it; None without one.
    """
    if prior is not None:
        check_se3(prior, 'prior')
    cameras = [_usable(o) for o in observations]
    sightings = [s for s in cameras if len(s.pixels)]
    total = sum(len(s.pixels) for s in sightings)
    if total < _FEWEST:
        return None
    start = None if prior is None else se3.inverse(prior)
    T_base_map = None if start is None else _from_prior(sightings, start, config)
    if T_base_map is None:
        T_base_map = _ransac(sightings, config, start)
    if T_base_map is None:
        return None
    T_base_map = settled(sightings, T_base_map, config.best_share * config.inlier_px)
    inliers = [_inliers(s, T_base_map, config.inlier_px) for s in sightings]
    kept = [_only(s, keep) for s, keep in zip(sightings, inliers, strict=True)]
    count = sum(len(s.pixels) for s in kept)
    if count < _FEWEST:
        return None
    T_map_base = se3.inverse(T_base_map)
    residuals = np.concatenate([_project(s, T_base_map)[0] - s.pixels for s in kept])
    covariance = _covariance(*_weighted(kept, T_map_base))
    if covariance is None:
        return None
    cells = max(len(np.unique(s.cell)) for s in kept)
    by_camera = (_inliers(s, T_base_map, config.inlier_px) for s in cameras)
    return PoseEstimate(
        T_map_base,
        covariance,
        inliers=count,
        inlier_ratio=count / total,
        coverage=cells / (_COVERAGE_CELLS[0] * _COVERAGE_CELLS[1]),
        reprojection_px=float(np.median(np.linalg.norm(residuals, axis=1))),
        by_camera=tuple(float(x.mean()) if len(x) >= _SAY else None for x in by_camera),
    )


def jacobian(s: _Sighting, T_map_base: Array) -> Array:
    """Derivatives [2 N, 6] of the pixels by the pose, perturbed as ROS tells a covariance.

    The position moves along the map's axes and the robot turns about them where it stands:
    p' = p + dp and R' = Exp(dphi) R, so that d(X_base) = R^T (-dp + [X - p]_x dphi).
    """
    R, p = T_map_base[:3, :3], T_map_base[:3, 3]
    in_cam = se3.apply(s.T_cam_base, se3.apply(se3.inverse(T_map_base), s.points))
    x, y, z = in_cam.T
    zero = np.zeros_like(z)
    by_point = np.stack(
        [np.stack([1 / z, zero, -x / z**2], 1), np.stack([zero, 1 / z, -y / z**2], 1)], 1
    )  # [N, 2, 3]
    by_place = (by_point * s.focal[:, None]) @ (s.T_cam_base[:3, :3] @ R.T)  # [N, 2, 3]
    by_turn = np.cross(by_place, (s.points - p)[:, None])  # m^T [a]_x = (m x a)^T
    return np.concatenate([-by_place, by_turn], 2, dtype=np.float64).reshape(-1, 6)


def _usable(o: Observation) -> _Sighting:
    check_shape(o.coordinates.points, 'N 3', 'points', N=len(o.coordinates.pixels))
    rays = o.camera.unproject(o.coordinates.pixels)[:, :2]
    good = np.isfinite(rays).all(1) & np.isfinite(o.coordinates.points).all(1)
    good &= o.coordinates.confidence > 0
    focal = np.array([o.camera.fx, o.camera.fy])
    share = o.coordinates.pixels[good] / [o.camera.width, o.camera.height]
    column, row = np.clip(
        (share * _COVERAGE_CELLS).astype(int), 0, np.array(_COVERAGE_CELLS) - 1
    ).T
    cell = row * _COVERAGE_CELLS[0] + column
    points = o.coordinates.points[good]
    confidence = o.coordinates.confidence[good]
    return _Sighting(
        rays[good] * focal, points, focal, se3.inverse(o.T_base_cam), cell, confidence
    )


def _only(s: _Sighting, keep: NDArray[np.bool_] | NDArray[np.int64]) -> _Sighting:
    return _Sighting(
        s.pixels[keep], s.points[keep], s.focal, s.T_cam_base, s.cell[keep], s.confidence[keep]
    )


def _from_prior(sightings: list[_Sighting], start: Array, config: PnpConfig) -> Array | None:
    """T_base_map refined from a prior, which many points must agree with; they do so better then.

    It takes a tenth of RANSAC's time.
    """
    found: Array | None = start
    for within_px in (2 * config.inlier_px, config.inlier_px):
        agreeing = sum(_inliers(s, found, within_px).sum() for s in sightings)
        if agreeing < config.trusted_share * sum(len(s.pixels) for s in sightings):
            return None
        found = _refined(sightings, found, within_px)
        if found is None:
            return None
    return found


def _ransac(sightings: list[_Sighting], config: PnpConfig, start: Array | None) -> Array | None:
    """T_base_map by LO-RANSAC over some of the points, refined with all that agree."""
    some, most = _some(sightings, config), config.max_iterations
    options = {
        'max_reproj_error': config.inlier_px,
        'min_iterations': config.min_iterations,
        'max_iterations': most if start is None else min(most, config.near_iterations),
        'success_prob': config.success_probability,
        'seed': config.seed,
    }
    if len(some) == 1:
        s = some[0]
        first = None if start is None else _to_poselib(s.T_cam_base @ start)
        pose, info = poselib.estimate_absolute_pose(
            s.pixels, s.points, _pinhole(s), options, {}, first
        )
        found = se3.inverse(s.T_cam_base) @ _from_poselib(pose)
    else:
        first = None if start is None else _to_poselib(start)
        pixels, points, cameras, pinholes = _of_rig(some)
        pose, info = poselib.estimate_generalized_absolute_pose(
            pixels, points, cameras, pinholes, options, {}, first
        )
        found = _from_poselib(pose)
    if info['num_inliers'] < _FEWEST or not np.isfinite(found).all():
        return None
    return found if some is sightings else _refined(sightings, found, config.inlier_px)


def _some(sightings: list[_Sighting], config: PnpConfig) -> list[_Sighting]:
    """The most confident points, as many as RANSAC looks at; of each camera the same share."""
    share = config.search_points / sum(len(s.pixels) for s in sightings)
    if share >= 1:
        return sightings
    counts = [max(_FEWEST, round(share * len(s.pixels))) for s in sightings]
    return [
        _only(s, np.argsort(-s.confidence, kind='stable')[:count])
        for s, count in zip(sightings, counts, strict=True)
    ]


def _refined(sightings: list[_Sighting], T_base_map: Array, within_px: float) -> Array | None:
    """The pose that fits best to all points within so many pixels."""
    near = [_only(s, _inliers(s, T_base_map, within_px)) for s in sightings]
    near = [s for s in near if len(s.pixels)]
    if sum(len(s.pixels) for s in near) < _FEWEST:
        return None
    robust = {'loss_type': 'TRUNCATED', 'loss_scale': within_px}
    if len(near) == 1:
        s = near[0]
        first = _to_poselib(s.T_cam_base @ T_base_map)
        pose, _ = poselib.refine_absolute_pose(s.pixels, s.points, first, _pinhole(s), robust)
        found = se3.inverse(s.T_cam_base) @ _from_poselib(pose)
    else:
        pixels, points, cameras, pinholes = _of_rig(near)
        first = _to_poselib(T_base_map)
        pose, _ = poselib.refine_generalized_absolute_pose(
            pixels, points, first, cameras, pinholes, robust
        )
        found = _from_poselib(pose)
    return found if np.isfinite(found).all() else None


def _of_rig(sightings: list[_Sighting]) -> tuple[list[Any], ...]:
    """What PoseLib wants of several cameras; its poses are [R t] from the rig to the camera."""
    return (
        [s.pixels for s in sightings],
        [s.points for s in sightings],
        [_to_poselib(s.T_cam_base) for s in sightings],
        [_pinhole(s) for s in sightings],
    )


def _pinhole(s: _Sighting) -> dict[str, Any]:
    return {'model': 'PINHOLE', 'width': 1, 'height': 1, 'params': [*s.focal.tolist(), 0.0, 0.0]}


def _to_poselib(T: Array) -> Any:
    pose = poselib.CameraPose()
    pose.R, pose.t = T[:3, :3], T[:3, 3]
    return pose


def _from_poselib(pose: Any) -> Array:
    return se3.transform(pose.R, pose.t)


def _project(s: _Sighting, T_base_map: Array) -> tuple[Array, Array]:
    """Pixels [N, 2] of the points, and their depth [N]."""
    in_cam = se3.apply(s.T_cam_base @ T_base_map, s.points)
    z = in_cam[:, 2]
    return in_cam[:, :2] / np.where(z > 0, z, np.nan)[:, None] * s.focal, z


def _inliers(s: _Sighting, T_base_map: Array, within_px: float) -> NDArray[np.bool_]:
    pixels, z = _project(s, T_base_map)
    return (z > 0) & (np.linalg.norm(pixels - s.pixels, axis=1) < within_px)


def settled(sightings: list[_Sighting], T_base_map: Array, within_px: float) -> Array:
    """The pose of the least weighted squares (Gauss-Newton) of all points within so many pixels.

    Which these are is looked up at every step. The pose that is given, where too few are.
    """
    for _ in range(_STEPS):
        near = [_only(s, _inliers(s, T_base_map, within_px)) for s in sightings]
        if sum(len(s.pixels) for s in near) < _FEWEST:
            break
        T_map_base = se3.inverse(T_base_map)
        J, residuals = _weighted(near, T_map_base)
        step = -np.linalg.lstsq(J.T @ J, J.T @ residuals, rcond=None)[0]
        T_map_base[:3, 3] += step[:3]
        T_map_base[:3, :3] = se3.exp([0, 0, 0, *step[3:]])[:3, :3] @ T_map_base[:3, :3]
        T_base_map = se3.inverse(T_map_base)
        if np.abs(step).max() < _SETTLED:
            break
    return T_base_map


def _weighted(sightings: list[_Sighting], T_map_base: Array) -> tuple[Array, Array]:
    """Jacobian [2 N, 6] and residuals [2 N] of all cameras, each times the root of its weight."""
    T_base_map = se3.inverse(T_map_base)
    root = np.sqrt(np.repeat(np.concatenate([s.confidence for s in sightings]), 2))
    J = np.concatenate([jacobian(s, T_map_base) for s in sightings])
    residuals = np.concatenate([_project(s, T_base_map)[0] - s.pixels for s in sightings])
    return J * root[:, None], residuals.ravel() * root


def _covariance(J: Array, residuals: Array) -> Array | None:
    """s^2 (J^T J)^-1 [6, 6] with s^2 the residuals' variance; None if a direction is not seen."""
    freedom = max(residuals.size - 6, 1)
    variance = max(float((residuals**2).sum()) / freedom, 1e-12)
    scale = np.sqrt((J**2).sum(0))
    if not (scale > 0).all():
        return None
    normal = (J / scale).T @ (J / scale)
    if np.linalg.cond(normal) > _WORST_CONDITION:
        return None
    inverse = np.linalg.inv(normal) / np.outer(scale, scale)
    return variance * (inverse + inverse.T) / 2
