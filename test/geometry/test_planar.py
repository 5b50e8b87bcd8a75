import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vloc_models.checks import check_se3
from vloc_models.geometry import se3

YAWS = [0, 1e-9, 0.3, -0.3, np.pi / 2, -np.pi / 2, 3, np.pi, -np.pi]


def body(x: float, y: float, z: float, yaw: float, pitch: float, roll: float) -> np.ndarray:
    return se3.transform(Rotation.from_euler('ZYX', [yaw, pitch, roll]).as_matrix(), [x, y, z])


@pytest.mark.parametrize('yaw', YAWS)
def test_a_body_on_the_floor_stays_as_it_is(yaw: float) -> None:
    T = body(1.5, -2, 0, yaw, 0, 0)
    np.testing.assert_allclose(se3.planar(T), T, atol=1e-15)


@given(
    yaw=st.floats(-3.1, 3.1),
    pitch=st.floats(-1.5, 1.5),
    roll=st.floats(-3.1, 3.1),
    at=st.tuples(*[st.floats(-1e4, 1e4)] * 3),
)
def test_only_x_y_and_yaw_are_left(
    yaw: float, pitch: float, roll: float, at: tuple[float, float, float]
) -> None:
    flat = se3.planar(body(*at, yaw, pitch, roll))
    np.testing.assert_allclose(flat, body(at[0], at[1], 0, yaw, 0, 0), atol=1e-9)
    np.testing.assert_allclose(se3.planar(flat), flat, atol=1e-12)
    check_se3(flat)


def test_a_body_that_looks_straight_up_still_gets_a_pose() -> None:
    up = se3.transform([[0, 0, -1], [0, 1, 0], [1, 0, 0]], [1, 2, 3])
    flat = se3.planar(up)
    check_se3(flat)
    np.testing.assert_array_equal(flat[:3, 3], [1, 2, 0])
    np.testing.assert_array_equal(flat[2], [0, 0, 1, 0])


def test_the_pose_that_is_given_is_not_changed() -> None:
    T = body(1, 2, 3, 0.4, 0.5, 0.6)
    before = T.copy()
    se3.planar(T)[:] = 7
    np.testing.assert_array_equal(T, before)
