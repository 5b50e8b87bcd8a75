"""The live node's track: judged by odometry, placed by hand, told as odometry."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.parameter import Parameter

from vloc_models.geometry import se3
from vloc_models.records import Array
from vloc_ros import messages

ABOUT = np.diag([0.25, 0.25, 0.01, 0.01, 0.01, 0.07])


def place(robot: Any, T: Array, frame: str = 'map', covariance: Array = ABOUT) -> None:
    """Click "2D Pose Estimate"."""
    out = robot.node.create_publisher(PoseWithCovarianceStamped, 'initialpose', 10)
    robot.until(out.get_subscription_count, 'initialpose')
    msg = PoseWithCovarianceStamped(header=messages.header(robot.now(), frame))
    msg.pose.pose, msg.pose.covariance = messages.pose(T), covariance.ravel()
    out.publish(msg)


def localized(robot: Any, ros: Any, k: int = 5) -> None:
    """Two pictures agree."""
    robot.shown(k)
    stamp = robot.show(k)
    assert ros.values(robot.said(stamp, 'status'))['state'] == 'localized'


def test_a_pose_that_cannot_be_is_not_told(robot: Any, ros: Any, tiny_site: Path) -> None:
    robot.localizer(tiny_site)
    robot.ready()
    localized(robot, ros)
    stamp = robot.now()
    robot.move(5, stamp - 10**7)
    robot.image.publish(robot.picture(9, stamp))  # but odometry says that it has not moved
    robot.move(5, stamp + 10**7)
    status, raw = robot.said(stamp, 'status'), robot.said(stamp, 'pose_raw')
    told = ros.values(status)
    assert told['verdict'] == 'weak'
    assert 'from where odometry leads' in status.status[0].message
    truth = robot.gallery.drawn[9].T_map_base
    assert ros.apart_m(ros.matrix(raw.pose.pose), truth) < 0.05
    assert all(m.header.stamp != raw.header.stamp for m in robot.heard['pose'])
    tf = robot.transforms()[-1]
    assert ros.apart_m(ros.matrix(tf.transform), ros.T_map_odom) < 0.05


def test_a_pose_by_hand_is_told_until_pictures_know_better(
    robot: Any, ros: Any, tiny_site: Path
) -> None:
    robot.localizer(tiny_site)
    robot.ready()
    robot.move(5, robot.now())
    robot.wait(0.5)  # another topic may be faster: without odometry a click is worth nothing
    truth = robot.gallery.drawn[5].T_map_base
    T_site = se3.exp([0.2, 0, 0, 0, 0, 0.05]) @ truth
    place(robot, T_site)
    tf = robot.until(lambda: robot.transforms()[-1:], 'map -> odom')[0]
    assert ros.apart_m(ros.matrix(tf.transform) @ robot.T_odom_base(5), T_site) < 0.01
    status = robot.said(robot.show(5), 'status')
    assert ros.values(status)['verdict'] == 'accepted'
    localized(robot, ros)

    def right() -> bool:
        T = ros.matrix(robot.transforms()[-1].transform) @ robot.T_odom_base(5)
        return ros.apart_m(T, truth) < 0.05

    robot.until(right, 'blended to where pictures say')


@pytest.mark.parametrize(
    ('frame', 'covariance', 'words'),
    [
        ('moon', ABOUT, "initialpose is told in 'moon'"),
        ('map', np.zeros((6, 6)), 'all zeros'),
        ('map', np.full((6, 6), np.nan), 'no covariance'),
    ],
)
def test_what_is_wrong_with_a_pose_by_hand_is_named(
    robot: Any, tiny_site: Path, frame: str, covariance: Array, words: str
) -> None:
    robot.localizer(tiny_site)
    robot.ready()
    robot.move(5, robot.now())
    place(robot, robot.gallery.drawn[5].T_map_base, frame, covariance)
    robot.diagnosed('initialpose', words)


def test_the_fused_pose_comes_with_odometry(robot: Any, ros: Any, tiny_site: Path) -> None:
    heard: list[Odometry] = []
    topic = 'vloc_localizer/odometry'
    robot.node.create_subscription(Odometry, topic, heard.append, 50)
    robot.localizer(tiny_site)
    robot.ready()
    robot.until(lambda: robot.node.count_publishers(topic), topic)
    robot.wait(0.3)
    localized(robot, ros)
    heard.clear()
    stamps = [robot.now() + i * 10**8 for i in range(4)]
    for k, stamp in enumerate(stamps):
        robot.move(5 + k, stamp)
    robot.until(lambda: len(heard) >= 4, 'fused poses')
    for k, msg in enumerate(heard[:4]):
        assert (msg.header.frame_id, msg.child_frame_id) == ('map', 'base_link')
        assert messages.stamp_ns(msg.header.stamp) == stamps[k]
        truth = robot.gallery.drawn[5 + k].T_map_base
        assert ros.apart_m(ros.matrix(msg.pose.pose), truth) < 0.05
        covariance = np.array(msg.pose.covariance).reshape(6, 6)
        assert np.linalg.eigvalsh(covariance).min() > 0
    moved = se3.log(se3.inverse(robot.T_odom_base(7)) @ robot.T_odom_base(8)) / 0.1
    v = heard[3].twist.twist.linear
    np.testing.assert_allclose([v.x, v.y, v.z], moved[:3], atol=0.05)


def test_it_does_not_listen_to_itself(robot: Any, ros: Any, tiny_site: Path) -> None:
    node = robot.localizer(tiny_site)
    robot.ready()
    robot.until(lambda: robot.node.count_subscribers('initialpose'), 'initialpose')
    assert node.set_parameters([Parameter('publish_initialpose', value=True)])[0].successful
    robot.until(lambda: not robot.node.count_subscribers('initialpose'), 'deaf')
    localized(robot, ros)
    assert node.set_parameters([Parameter('publish_initialpose', value=False)])[0].successful
    robot.until(lambda: robot.node.count_subscribers('initialpose'), 'initialpose again')
