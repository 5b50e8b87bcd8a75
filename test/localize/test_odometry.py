"""Odometry: how far it went, and when it starts anew (see also test_tracker.py)."""

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.localize.odometry import Odometry, OdometryConfig

S = 10**9
START = 1_700_000_000 * S


def driven(moves: list[list[float]], every_s: float = 0.1) -> Odometry:
    """A sample after each twist, from the origin on."""
    odometry, T = Odometry(OdometryConfig()), np.eye(4)
    for i, move in enumerate([[0.0] * 6, *moves]):
        T = T @ se3.exp(move)
        quat = se3.to_quat_xyzw(T).tolist()
        stamp = START + round(i * every_s * S)
        assert odometry.add(stamp, T[:3, 3].tolist(), quat) == ''
    return odometry


def test_the_way_there_and_back_counts_twice() -> None:
    odometry = driven([[0.1, 0, 0, 0, 0, 0]] * 10 + [[-0.1, 0, 0, 0, 0, 0]] * 10)
    motion = odometry.motion(START, START + 2 * S)
    assert motion is not None
    np.testing.assert_allclose(motion.T_from_to, np.eye(4), atol=1e-12)
    assert motion.way_m == pytest.approx(2)
    assert (motion.turn_rad, motion.seconds, motion.blind_s) == (0, 2, 0)


def test_turning_on_the_spot_is_no_way() -> None:
    motion = driven([[0, 0, 0, 0, 0, 0.3]] * 20).motion(START, START + 2 * S)
    assert motion is not None
    assert motion.way_m == pytest.approx(0)
    assert motion.turn_rad == pytest.approx(6)


def test_between_two_samples_a_part_counts_in_either_direction() -> None:
    odometry = driven([[0.1, 0, 0, 0, 0, 0]] * 10)
    for a, b in ((0.25, 0.75), (0.75, 0.25)):
        motion = odometry.motion(START + round(a * S), START + round(b * S))
        assert motion is not None
        assert motion.way_m == pytest.approx(0.5)
        np.testing.assert_allclose(motion.T_from_to[0, 3], 10 * (b - a) * 0.1)
        assert motion.seconds == pytest.approx(0.5)


def test_a_robot_that_trembles_goes_nowhere() -> None:
    rng = np.random.default_rng(0)
    odometry = Odometry(OdometryConfig())
    for i in range(2000):
        odometry.add(START + i * S // 200, rng.normal(0, 0.002, 3).tolist(), (0, 0, 0, 1))
    motion = odometry.motion(START, START + 9 * S)
    assert motion is not None
    assert motion.way_m < 0.1


def test_a_gap_is_blind_time_and_no_poses_are_known_in_it() -> None:
    odometry = driven([[0.1, 0, 0, 0, 0, 0]] * 4, every_s=0.8)
    motion = odometry.motion(START, START + round(3.2 * S))
    assert motion is not None
    assert (motion.blind_s, motion.way_m) == (pytest.approx(3.2), pytest.approx(0.4))
    assert odometry.motion(START, START + S) is None
    assert odometry.motion(START, START + 4 * S) is None


def test_a_late_sample_mends_the_way_but_is_not_counted() -> None:
    odometry = driven([[0.1, 0, 0, 0, 0, 0]] * 10)
    assert odometry.add(START + S // 4, (0.25, 0.05, 0), (0, 0, 0, 1)) == ''
    T = odometry.at(START + S // 4)
    assert T is not None
    np.testing.assert_allclose(T[:3, 3], [0.25, 0.05, 0])
    motion = odometry.motion(START, START + S)
    assert motion is not None
    assert motion.way_m == pytest.approx(1)
    assert odometry.newest_ns == START + S


def test_the_twist_is_in_the_robots_frame() -> None:
    odometry = driven([[0, 0, 0, 0, 0, 1.0]] + [[0.05, 0, 0, 0, 0, 0.02]] * 5)
    np.testing.assert_allclose(odometry.twist(START + S // 2), [0.5, 0, 0, 0, 0, 0.2], atol=1e-9)
    assert not odometry.twist(START).any()


def test_what_is_old_is_dropped() -> None:
    odometry = Odometry(OdometryConfig(max_speed_mps=1e9))
    for i in range(3000):
        odometry.add(START + i * S, (0.1 * i, 0, 0), (0, 0, 0, 1))
    assert len(odometry._gone) < 1500
    motion = odometry.motion(START + 2900 * S, START + 2999 * S)
    assert motion is not None
    assert motion.way_m == pytest.approx(9.9)
    assert odometry.motion(START, START + 2999 * S) is None
