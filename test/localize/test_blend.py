"""Corrections are passed on at a bounded speed of the robot, and large ones at once."""

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.localize.blend import Blend, BlendConfig
from vloc_models.solvers.fusion import difference

S = 10**9
CONFIG = BlendConfig(speed_mps=0.1, turn_rad_s=0.1, snap_m=0.5, snap_rad=0.35)
FAR = se3.exp([100.0, -50.0, 0, 0, 0, 1.0])  # T_odom_base: the origin of odometry is far away


def test_the_first_is_told_as_it_is() -> None:
    T = se3.exp([1, 2, 0, 0, 0, 3])
    told = Blend(CONFIG).follow(5, T, FAR)
    np.testing.assert_array_equal(told.T_map_odom, T)
    assert told.snapped_m == 0


@pytest.mark.parametrize('turn', [0.0, 0.2])
def test_a_small_correction_moves_the_robot_slowly_until_it_is_there(turn: float) -> None:
    blend, before = Blend(CONFIG), np.eye(4)
    blend.follow(0, before, FAR)
    wanted = (FAR @ se3.exp([0.2, 0, 0, 0, 0, turn])) @ se3.inverse(FAR)
    for i in range(1, 100):
        told = blend.follow(i * S // 30, wanted, FAR)
        step = difference(before @ FAR, told.T_map_odom @ FAR)
        assert np.linalg.norm(step[:3]) <= 0.1 / 30 + 1e-9
        assert np.linalg.norm(step[3:]) <= 0.1 / 30 + 1e-9
        assert told.snapped_m == 0
        before = told.T_map_odom
        if i == 30:
            assert not np.allclose(before, wanted, atol=0.01)
    np.testing.assert_array_equal(before, wanted)


@pytest.mark.parametrize(('off', 'moved'), [([0.6, 0, 0, 0, 0, 0], 0.6), ([0] * 5 + [0.4], 0)])
def test_a_large_correction_is_made_at_once_and_told(off: list[float], moved: float) -> None:
    blend = Blend(CONFIG)
    blend.follow(0, np.eye(4), FAR)
    wanted = (FAR @ se3.exp(off)) @ se3.inverse(FAR)
    told = blend.follow(S // 30, wanted, FAR)
    np.testing.assert_array_equal(told.T_map_odom, wanted)
    assert told.snapped_m == pytest.approx(moved, abs=1e-9)


def test_back_in_time_nothing_moves_and_after_a_reset_all_at_once() -> None:
    blend = Blend(CONFIG)
    blend.follow(S, np.eye(4), np.eye(4))
    wanted = se3.exp([0.3, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(blend.follow(0, wanted, np.eye(4)).T_map_odom, np.eye(4))
    blend.reset()
    np.testing.assert_array_equal(blend.follow(0, wanted, np.eye(4)).T_map_odom, wanted)


def test_asked_for_an_older_stamp_in_between_it_is_no_quicker() -> None:
    blend, wanted, moved = Blend(CONFIG), se3.exp([0.4, 0, 0, 0, 0, 0]), 0.0
    blend.follow(0, np.eye(4), np.eye(4))
    for i in range(1, 31):
        for late in (0, S // 10):
            told = blend.follow(i * S // 30 - late, wanted, np.eye(4))
            moved = told.T_map_odom[0, 3]
    assert moved == pytest.approx(0.1, rel=0.05)


def test_after_the_clock_was_set_back_it_goes_on() -> None:
    blend, wanted = Blend(CONFIG), se3.exp([0.4, 0, 0, 0, 0, 0])
    blend.follow(100 * S, np.eye(4), np.eye(4))
    blend.follow(S, wanted, np.eye(4))
    assert blend.follow(2 * S, wanted, np.eye(4)).T_map_odom[0, 3] == pytest.approx(0.1)
