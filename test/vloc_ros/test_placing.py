"""A pose by hand: in which frame it is told, and what its covariance is worth."""

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from geometry_msgs.msg import PoseWithCovarianceStamped

from vloc_models.errors import VlocError
from vloc_models.frames.transforms import TransformTree
from vloc_models.geometry import se3
from vloc_models.records import Array
from vloc_ros import messages
from vloc_ros.placing import Known, placed

S = 10**9
T_map_odom = se3.exp([4, 5, 0, 0, 0, 2.0])
T_map_site = se3.exp([1, 2, 0, 0, 0, np.pi / 2])
T_said = se3.exp([3, 0, 0, 0, 0, 0.5])
GOOD = np.diag([0.2, 0.1, 0.01, 0.02, 0.02, 0.05])


def said(frame: str, covariance: Array = GOOD, T: Array = T_said) -> PoseWithCovarianceStamped:
    msg = PoseWithCovarianceStamped(header=messages.header(7 * S, frame))
    msg.pose.pose = messages.pose(T)
    msg.pose.covariance = covariance.ravel()
    return msg


def known(T: Array | None = T_map_odom) -> Known:
    tree = TransformTree(10 * S)
    tree.add_message(
        messages.transform(messages.header(0, 'map'), 'site', T_map_site), static=True
    )
    bumper = se3.exp([0.3, 0, 0, 0, 0, 0])
    tree.add_message(messages.transform(messages.header(0, 'odom'), 'dock', bumper), static=True)
    return Known('map', 'odom', tree, T)


@pytest.mark.parametrize(
    ('frame', 'T_map_frame'),
    [
        ('map', np.eye(4)),
        ('/map', np.eye(4)),
        ('', np.eye(4)),
        ('odom', T_map_odom),
        ('site', T_map_site),
        ('dock', T_map_odom @ se3.exp([0.3, 0, 0, 0, 0, 0])),
    ],
)
def test_any_frame_is_carried_into_the_map(frame: str, T_map_frame: Array) -> None:
    found, fault = placed(said(frame), known(), 9 * S)
    assert (found.stamp_ns, fault) == (7 * S, '')
    np.testing.assert_allclose(found.T_map_base, T_map_frame @ T_said, atol=1e-12)
    turned = np.kron(np.eye(2), T_map_frame[:3, :3])
    np.testing.assert_allclose(found.covariance, turned @ GOOD @ turned.T, atol=1e-12)


@pytest.mark.parametrize('frame', ['odom', 'dock', 'moon'])
def test_a_frame_that_leads_nowhere_is_named(frame: str) -> None:
    with pytest.raises(VlocError, match=frame) as told:
        placed(said(frame), known(None), 9 * S)
    assert "give it in 'map'" in told.value.fix
    with pytest.raises(VlocError, match='moon'):
        placed(said('moon'), known(), 9 * S)


def test_without_a_stamp_it_is_of_now() -> None:
    msg = said('map')
    msg.header = messages.header(0, 'map')
    assert placed(msg, known(), 9 * S)[0].stamp_ns == 9 * S


@pytest.mark.parametrize(
    ('covariance', 'words'),
    [
        (np.zeros((6, 6)), 'all zeros'),
        (np.full((6, 6), np.nan), 'no covariance'),
        (np.diag([1, 1, 1, 1, 1, np.inf]), 'no covariance'),
        (np.array(GOOD + np.eye(6, k=1)), 'no covariance'),
        (np.array(GOOD + 0.9 * (np.eye(6, k=1) + np.eye(6, k=-1))), 'no covariance'),
    ],
)
def test_a_covariance_that_is_none_is_told_and_replaced(covariance: Array, words: str) -> None:
    found, fault = placed(said('map', covariance), known(), 9 * S)
    assert words in fault
    assert np.linalg.eigvalsh(found.covariance)[0] > 0.01


def test_what_rviz_leaves_out_is_filled_in() -> None:
    """It tells x, y and yaw."""
    found, fault = placed(said('map', np.diag([0.25, 0.25, 0, 0, 0, 0.07])), known(), 9 * S)
    assert fault == ''
    np.testing.assert_allclose(np.diag(found.covariance)[[0, 1, 5]], [0.25, 0.25, 0.07])
    assert (np.diag(found.covariance) > 0.01).all()


def test_a_pose_that_is_none_is_refused() -> None:
    msg = said('map')
    msg.pose.pose.orientation.w = 5.0
    with pytest.raises(VlocError, match='not of unit length'):
        placed(msg, known(), 9 * S)
    msg.pose.pose.position.x = float('nan')
    with pytest.raises(VlocError, match='NaN'):
        placed(msg, known(), 9 * S)
