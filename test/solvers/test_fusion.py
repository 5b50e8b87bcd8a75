"""The filter against the batch solution of GTSAM, against sampling, and against a drawing."""

import numpy as np
import pytest
from scipy.stats import chi2

from vloc_models.geometry import se3
from vloc_models.records import Array
from vloc_models.solvers.fusion import (
    Belief,
    FusionConfig,
    Motion,
    agrees,
    difference,
    mahalanobis2,
    moved,
    news,
    updated,
)

CONFIG = FusionConfig()
SIGMA = np.array([0.02, 0.01, 0.03, 0.002, 0.004, 0.003])
SURE = np.diag(SIGMA**2)


def off(T: Array, error: Array) -> Array:
    """A pose with an error as a covariance tells it."""
    out = T.copy()
    out[:3, 3] += error[:3]
    out[:3, :3] = se3.exp([0, 0, 0, *error[3:]])[:3, :3] @ T[:3, :3]
    return out


def some_pose(rng: np.random.Generator) -> Array:
    return se3.exp([*rng.uniform(-20, 20, 3), *rng.uniform(-1.5, 1.5, 3)])


def stroll(rng: np.random.Generator) -> Motion:
    step = np.array([rng.uniform(0.1, 0.5), 0.05, 0, 0, 0, rng.uniform(-0.4, 0.4)])
    way, turn = np.linalg.norm(step[:3]), abs(step[5])
    return Motion(se3.exp(step), float(way), float(turn), 0.5)


def test_the_filter_is_the_batch_solution() -> None:
    gtsam = pytest.importorskip('gtsam', reason='GTSAM has no wheels for this Python')
    rng = np.random.default_rng(0)

    def noise(T: Array, covariance: Array):  # noqa: ANN202 - GTSAM has no types
        turned = np.kron(np.eye(2), T[:3, :3].T)[[3, 4, 5, 0, 1, 2]]  # its order, in the body
        return gtsam.noiseModel.Gaussian.Covariance(turned @ covariance @ turned.T)

    def pose(T: Array):  # noqa: ANN202
        return gtsam.Pose3(T)

    true = some_pose(rng)
    fix = off(true, SIGMA * rng.standard_normal(6))
    belief, nothing = Belief(0, fix, SURE), np.zeros((6, 6))
    graph, values = gtsam.NonlinearFactorGraph(), gtsam.Values()
    graph.add(gtsam.PriorFactorPose3(0, pose(fix), noise(fix, SURE)))
    values.insert(0, pose(fix))
    for n in range(1, 40):
        motion = stroll(rng)
        odd = moved(Belief(0, true, nothing), motion, n, CONFIG)
        true = off(odd.T_map_base, np.linalg.cholesky(odd.covariance) @ rng.standard_normal(6))
        step = moved(Belief(0, belief.T_map_base, nothing), motion, n, CONFIG)
        graph.add(
            gtsam.BetweenFactorPose3(
                n - 1, n, pose(motion.T_from_to), noise(step.T_map_base, step.covariance)
            )
        )
        belief = moved(belief, motion, n, CONFIG)
        values.insert(n, pose(belief.T_map_base))
        if n % 3 == 0:
            fix, share = off(true, SIGMA * rng.standard_normal(6)), news(motion, CONFIG)
            belief = updated(belief, fix, SURE, share)
            graph.add(gtsam.PriorFactorPose3(n, pose(fix), noise(fix, SURE / share)))
    result = gtsam.LevenbergMarquardtOptimizer(graph, values).optimize()
    T = result.atPose3(39).matrix()
    turn = np.kron(np.eye(2), T[:3, :3])[:, [3, 4, 5, 0, 1, 2]]
    covariance = turn @ gtsam.Marginals(graph, result).marginalCovariance(39) @ turn.T
    sigma = np.sqrt(np.diag(covariance))
    np.testing.assert_array_less(np.abs(difference(T, belief.T_map_base)) / sigma, 0.05)
    np.testing.assert_allclose(np.sqrt(np.diag(belief.covariance)) / sigma, 1, atol=0.03)
    np.testing.assert_allclose(
        belief.covariance / np.outer(sigma, sigma), covariance / np.outer(sigma, sigma), atol=0.05
    )
    assert mahalanobis2(belief, true, nothing) < chi2.ppf(0.999, 6)


def test_a_motion_carries_the_error_as_sampling_does() -> None:
    rng = np.random.default_rng(1)
    T, motion = some_pose(rng), Motion(se3.exp([3, 1, 0.5, 0.1, -0.2, 0.8]))
    still = FusionConfig(drift=0, drift_rad_m=0, drift_rad_rad=0, tilt_rad=0, rest_m_s=0)
    there = moved(Belief(0, T, SURE), motion, 5, still)
    assert there.stamp_ns == 5
    errors = np.stack(
        [
            difference(there.T_map_base, off(T, SIGMA * rng.standard_normal(6)) @ motion.T_from_to)
            for _ in range(4000)
        ]
    )
    sigma = np.sqrt(np.diag(there.covariance))
    sampled = (errors.T @ errors) / len(errors) / np.outer(sigma, sigma)
    np.testing.assert_allclose(sampled, there.covariance / np.outer(sigma, sigma), atol=0.06)


def test_odometry_that_errs_in_heading_errs_sideways_half_as_much() -> None:
    """It turned a little with every metre: at the end by all of it, on the way by half."""
    only = FusionConfig(drift=0, drift_rad_m=0.02, drift_rad_rad=0, tilt_rad=0, rest_m_s=0)
    there = moved(
        Belief(0, np.eye(4), np.zeros((6, 6))), Motion(se3.exp([10, 0, 0, 0, 0, 0]), 10), 1, only
    )
    sigma = np.sqrt(np.diag(there.covariance))
    assert sigma[5] == pytest.approx(0.2, rel=0.05)
    np.testing.assert_allclose(sigma[:3], [0, sigma[5] * 5, sigma[4] * 5], atol=1e-9)
    assert there.covariance[1, 5] > 0  # to the left, where it is turned to the left


def test_what_is_not_seen_is_less_and_less_sure() -> None:
    here = Belief(0, np.eye(4), SURE)
    for grown in (
        Motion(np.eye(4), way_m=5),
        Motion(np.eye(4), turn_rad=9),
        Motion(np.eye(4), seconds=60),
        Motion(np.eye(4), blind_s=1),
    ):
        there = moved(here, grown, 1, CONFIG)
        assert np.linalg.eigvalsh(there.covariance - SURE)[0] > -1e-12
        assert there.sigma_m > here.sigma_m or there.sigma_rad > here.sigma_rad
    same = moved(here, Motion(np.eye(4)), 1, CONFIG)
    np.testing.assert_allclose(same.covariance, SURE, atol=1e-15)
    assert (same.sigma_m, same.sigma_rad) == pytest.approx((0.03, 0.004))


def test_two_fixes_are_averaged_by_how_sure_they_are() -> None:
    there = off(np.eye(4), np.array([0.3, 0, 0, 0, 0, 0.03]))
    alike = updated(Belief(0, np.eye(4), SURE), there, SURE)
    np.testing.assert_allclose(difference(np.eye(4), alike.T_map_base), [0.15, 0, 0, 0, 0, 0.015])
    np.testing.assert_allclose(alike.covariance, SURE / 2)
    hardly = updated(Belief(0, np.eye(4), SURE), there, SURE, share=0.25)
    np.testing.assert_allclose(difference(np.eye(4), hardly.T_map_base)[0], 0.3 / 5)
    np.testing.assert_allclose(hardly.covariance, SURE * 4 / 5)


def test_a_fix_is_news_as_far_as_the_robot_has_moved() -> None:
    assert news(Motion(np.eye(4)), CONFIG) == pytest.approx(1e-3)
    little, more = (news(Motion(np.eye(4), way_m=w), CONFIG) for w in (0.05, 0.5))
    assert little == pytest.approx(0.1, abs=0.01)
    assert more == pytest.approx(1 - np.exp(-1))
    assert news(Motion(np.eye(4), way_m=50, turn_rad=3), CONFIG) == pytest.approx(1)


def test_standing_still_makes_nobody_sure() -> None:
    belief, rng = Belief(0, np.eye(4), SURE), np.random.default_rng(0)
    for _ in range(50):
        still = Motion(np.eye(4), seconds=0.1)
        fix = off(np.eye(4), SIGMA * rng.standard_normal(6))
        belief = updated(moved(belief, still, 0, CONFIG), fix, SURE, news(still, CONFIG))
    assert belief.sigma_m > 0.7 * 0.03


def test_the_gate_lets_through_what_chance_allows() -> None:
    rng = np.random.default_rng(2)
    believed = Belief(0, some_pose(rng), 3 * SURE)
    errors = 2 * SIGMA * rng.standard_normal((4000, 6))  # of belief and fix together
    loose = FusionConfig(gate=0.9)
    passed = [agrees(believed, off(believed.T_map_base, e), SURE, loose) for e in errors]
    assert np.mean(passed) == pytest.approx(0.9, abs=0.02)
    far = off(believed.T_map_base, np.array([0, 0, 0.5, 0, 0, 0]))
    assert not agrees(believed, far, SURE, CONFIG)


def test_difference_is_what_off_adds() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        T, error = some_pose(rng), rng.uniform(-1, 1, 6)
        np.testing.assert_allclose(difference(T, off(T, error)), error, atol=1e-12)
