from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import SceneCoordinates
from vloc_models.solvers.pnp import (
    Observation,
    PnpConfig,
    _project,
    _refined,
    _usable,
    jacobian,
    settled,
    solve_pnp,
)

Array = NDArray[np.float64]
PINHOLE = Camera(640, 480, 500.0, 510.0, 319.5, 239.5)
BENT = Camera(640, 480, 500.0, 510.0, 325.0, 233.0, 'plumb_bob', (-0.25, 0.06, 0.001, 0, 0))
OPTICAL = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.1, 0.05, 0.8])
TURN = se3.exp([0.1, 0, 0, 0, 1.0, 0])
T_MAP_BASE = se3.exp([3.0, -2.0, 0.1, 0.02, -0.03, 1.2])


def seen(
    rng: np.random.Generator,
    count: int,
    noise_px: float = 0.0,
    outliers: float = 0.0,
    camera: Camera = PINHOLE,
    T_base_cam: Array = OPTICAL,
) -> Observation:
    """Random points 1 to 5 m away, some of them wrong, seen from T_MAP_BASE."""
    pixels = rng.uniform([20, 20], [620, 460], (count, 2))
    points = se3.apply(
        T_MAP_BASE @ T_base_cam, camera.unproject(pixels) * rng.uniform(1, 5, (count, 1))
    )
    wrong = rng.random(count) < outliers
    points[wrong] = rng.uniform(-6, 6, (int(wrong.sum()), 3))
    noisy = pixels + rng.normal(0, noise_px, pixels.shape) if noise_px else pixels
    return Observation(
        SceneCoordinates(noisy, points, np.ones(count, np.float32)), camera, T_base_cam
    )


def weighted(o: Observation, confidence: Any) -> Observation:
    new = replace(o.coordinates, confidence=np.asarray(confidence, np.float32))
    return replace(o, coordinates=new)


def error(T: Array) -> tuple[float, float]:
    away = float(np.linalg.norm(T[:3, 3] - T_MAP_BASE[:3, 3]))
    return away, float(np.degrees(se3.angle_rad(T_MAP_BASE[:3, :3].T @ T[:3, :3])))


def test_thirty_percent_inliers_of_4800_are_enough() -> None:
    found = solve_pnp([seen(np.random.default_rng(0), 4800, 2.0, 0.7)], PnpConfig())
    assert found is not None
    away, turned = error(found.T_map_base)
    assert away < 0.01
    assert turned < 0.1
    assert found.inlier_ratio == pytest.approx(0.3, abs=0.03)
    assert found.coverage == 1
    assert found.reprojection_px == pytest.approx(2 * 1.18, abs=0.3)  # the median of a 2-D normal


@pytest.mark.parametrize('camera', [PINHOLE, BENT])
def test_exact_correspondences_give_the_exact_pose(camera: Camera) -> None:
    found = solve_pnp([seen(np.random.default_rng(1), 100, camera=camera)], PnpConfig())
    assert found is not None
    assert max(error(found.T_map_base)) < 1e-6
    assert found.inliers == 100


def test_a_rig_is_solved_as_one() -> None:
    """Two cameras with too little each; one looks back."""
    rng = np.random.default_rng(2)
    back = se3.exp([0, 0, 0, 0, 0, np.pi]) @ OPTICAL
    views = [seen(rng, 40, 1.0), seen(rng, 40, 1.0, camera=BENT, T_base_cam=back)]
    together = solve_pnp(views, PnpConfig())
    alone = solve_pnp(views[:1], PnpConfig())
    assert together is not None
    assert alone is not None
    assert error(together.T_map_base)[0] < 0.02
    assert np.trace(together.covariance) < np.trace(alone.covariance) / 2


@pytest.mark.parametrize('cameras', [1, 2])
def test_a_search_among_some_points_is_as_good_as_among_all(cameras: int) -> None:
    rng = np.random.default_rng(6)
    turned = OPTICAL @ TURN
    rig = [seen(rng, 1200, 1.0, 0.5, T_base_cam=T) for T in (OPTICAL, turned)[:cameras]]
    some, every = solve_pnp(rig, PnpConfig()), solve_pnp(rig, PnpConfig(search_points=10**6))
    assert some is not None
    assert every is not None
    assert np.abs(some.T_map_base - every.T_map_base).max() < 1e-3
    assert some.inliers == pytest.approx(every.inliers, rel=0.01)


@pytest.mark.parametrize('cameras', [1, 2])
def test_confident_points_weigh_more_as_in_scipy(cameras: int) -> None:
    rng = np.random.default_rng(7)
    rig = [seen(rng, 200, 2.0, T_base_cam=T) for T in (OPTICAL, OPTICAL @ TURN)[:cameras]]
    rig = [weighted(o, rng.uniform(0.1, 1, 200)) for o in rig]
    sightings = [_usable(o) for o in rig]

    def residuals(twist: Array) -> Array:
        T = se3.inverse(T_MAP_BASE @ se3.exp(twist))
        off = [(_project(s, T)[0] - s.pixels) * s.confidence[:, None] ** 0.5 for s in sightings]
        return np.concatenate(off).ravel()

    expected = T_MAP_BASE @ se3.exp(least_squares(residuals, np.zeros(6), xtol=1e-12).x)
    off_by = T_MAP_BASE @ se3.exp([0.01, -0.01, 0.01, 0.001, 0, -0.001])
    found = se3.inverse(settled(sightings, se3.inverse(off_by), 50))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    even = [_usable(weighted(o, np.ones(200))) for o in rig]
    without = se3.inverse(settled(even, se3.inverse(off_by), 50))
    assert 1e-4 < np.abs(without - expected).max() < 1e-2


def test_evenly_weighted_it_settles_where_poselib_does() -> None:
    s = _usable(seen(np.random.default_rng(8), 300, 1.0))
    start = se3.inverse(T_MAP_BASE @ se3.exp([0.01, 0, 0.01, 0.001, 0, 0]))
    theirs = _refined([s], start, 30)
    assert theirs is not None
    np.testing.assert_allclose(settled([s], start, 30), theirs, atol=1e-5)


def test_points_of_no_confidence_are_left_out() -> None:
    o = seen(np.random.default_rng(9), 300, outliers=0.5)
    T_cam_map = se3.inverse(T_MAP_BASE @ OPTICAL)
    right = np.abs(
        PINHOLE.project(se3.apply(T_cam_map, o.coordinates.points)) - o.coordinates.pixels
    )
    found = solve_pnp([weighted(o, (right < 1).all(1))], PnpConfig())
    assert found is not None
    assert found.inlier_ratio == 1
    assert max(error(found.T_map_base)) < 1e-6


def test_the_surest_points_are_searched() -> None:
    """Where only these few of many are right, chance would not find them."""
    o = seen(np.random.default_rng(10), 6000, 1.0)
    sure = np.arange(6000) % 20 == 0
    wrong = np.random.default_rng(0).uniform(-6, 6, (6000, 3))
    points = np.where(sure[:, None], o.coordinates.points, wrong)
    spoiled = replace(o, coordinates=replace(o.coordinates, points=points))
    few = PnpConfig(search_points=300, max_iterations=60)
    found = solve_pnp([weighted(spoiled, np.where(sure, 1, 0.5))], few)
    assert found is not None
    assert error(found.T_map_base)[0] < 0.05


def test_the_jacobian_equals_differences() -> None:
    s = _usable(seen(np.random.default_rng(3), 20, camera=BENT))
    analytic = jacobian(s, T_MAP_BASE)
    h = 1e-6
    for k in range(6):
        step = np.zeros(6)
        step[k] = h
        ends = []
        for sign in (1, -1):
            T = T_MAP_BASE.copy()
            T[:3, 3] += sign * step[:3]
            T[:3, :3] = se3.exp([0, 0, 0, *(sign * step[3:])])[:3, :3] @ T[:3, :3]
            ends.append(_project(s, se3.inverse(T))[0].ravel())
        np.testing.assert_allclose(analytic[:, k], (ends[0] - ends[1]) / (2 * h), atol=1e-4)


def test_the_covariance_is_what_repetition_shows() -> None:
    """Monte Carlo: independent noise, so no inflation is due; NEES has 6 degrees of freedom."""
    config = PnpConfig(min_iterations=20, max_iterations=50)
    errors, predicted, nees = [], [], []
    for k in range(300):
        rng = np.random.default_rng(4)  # the same points
        clean = seen(rng, 150)
        shaken = np.random.default_rng(1000 + k).normal(0, 1.5, (150, 2))
        c = clean.coordinates
        noisy = SceneCoordinates(c.pixels + shaken, c.points, c.confidence)
        found = solve_pnp([Observation(noisy, PINHOLE, OPTICAL)], config)
        assert found is not None
        turn = found.T_map_base[:3, :3] @ T_MAP_BASE[:3, :3].T
        e = np.r_[
            found.T_map_base[:3, 3] - T_MAP_BASE[:3, 3], se3.log(se3.transform(turn, [0] * 3))[3:]
        ]
        errors.append(e)
        predicted.append(found.covariance)
        nees.append(e @ np.linalg.solve(found.covariance, e))
    assert np.mean(nees) == pytest.approx(6, abs=0.8)
    ratio = np.std(errors, axis=0) / np.sqrt(np.diag(np.mean(predicted, 0)))
    np.testing.assert_allclose(ratio, 1, atol=0.15)


def test_a_prior_is_tried_first() -> None:
    hard = seen(np.random.default_rng(4), 3000, 2.0, 0.985)
    little = PnpConfig(min_iterations=1, max_iterations=1)
    assert (blind := solve_pnp([hard], little)) is None or error(blind.T_map_base)[0] > 0.1
    found = solve_pnp([hard], little, T_MAP_BASE @ se3.exp([0.02, 0, 0, 0, 0, 0.005]))
    assert found is not None
    assert error(found.T_map_base)[0] < 0.05
    with pytest.raises(VlocError, match='prior'):
        solve_pnp([hard], little, np.zeros((4, 4)))


def test_the_same_input_gives_the_same_pose() -> None:
    a, b = (
        solve_pnp([seen(np.random.default_rng(6), 500, 2.0, 0.6)], PnpConfig()) for _ in range(2)
    )
    assert a is not None
    assert b is not None
    np.testing.assert_array_equal(a.T_map_base, b.T_map_base)


def test_no_pose_is_an_answer() -> None:
    rng = np.random.default_rng(7)
    few = seen(rng, 5)
    nothing = seen(rng, 300, outliers=1.0)
    lost = SceneCoordinates(
        few.coordinates.pixels, few.coordinates.points * np.nan, np.ones(5, np.float32)
    )
    point = np.tile(T_MAP_BASE[:3, 3] + [0.5, 2, 1], (50, 1))
    same = SceneCoordinates(np.full((50, 2), 300.0), point, np.ones(50, np.float32))
    for o in (few, Observation(lost, PINHOLE, OPTICAL), Observation(same, PINHOLE, OPTICAL)):
        assert solve_pnp([o], PnpConfig()) is None
    assert solve_pnp([], PnpConfig()) is None
    guess = solve_pnp([nothing], PnpConfig())
    assert guess is None or guess.inlier_ratio < 0.1


def test_nan_points_are_left_out() -> None:
    o = seen(np.random.default_rng(8), 200)
    o.coordinates.points[::3] = np.nan
    found = solve_pnp([o], PnpConfig())
    assert found is not None
    assert found.inliers == 133
    assert max(error(found.T_map_base)) < 1e-6


def test_each_camera_of_a_rig_is_told() -> None:
    """Also one that is wrong altogether, one with hardly any point, and one with none."""
    rng = np.random.default_rng(12)
    turned = OPTICAL @ TURN
    rig = [
        seen(rng, 300),
        seen(rng, 200, outliers=1.0, T_base_cam=turned),
        seen(rng, 29, T_base_cam=turned),
        weighted(seen(rng, 50, T_base_cam=turned), np.zeros(50)),
    ]
    found = solve_pnp(rig, PnpConfig())
    assert found is not None
    assert max(error(found.T_map_base)) < 1e-3
    first, second, *others = found.by_camera
    assert first == 1
    assert second is not None
    assert second < 0.1
    assert others == [None, None]
    assert found.inlier_ratio == pytest.approx(329 / 529, abs=0.02)


def test_what_the_best_camera_of_a_rig_covers_counts() -> None:
    rng = np.random.default_rng(13)
    o = seen(rng, 400)
    corner = (o.coordinates.pixels < [150, 150]).all(1)
    rig = [seen(rng, 200), replace(weighted(o, corner), T_base_cam=OPTICAL)]
    for some in (rig, rig[::-1], rig[:1]):
        found = solve_pnp(some, PnpConfig())
        assert found is not None
        assert found.coverage == 1
