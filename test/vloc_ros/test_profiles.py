"""Who owns map -> odom, over real DDS: what is published in each profile, and what is not."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.parameter import Parameter

from vloc_models.errors import VlocError

# DDS on a machine that is busy with other tests may find a topic or service late, or never
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=['not within', 'is not served'])


@pytest.mark.parametrize(
    ('profile', 'owns', 'announces'),
    [('nav2', True, False), ('ekf', False, False), ('amcl', False, True)],
)
def test_each_publishes_its_own(
    robot: Any, tiny_site: Path, profile: str, owns: bool, announces: bool
) -> None:
    node = robot.localizer(tiny_site, profile=profile)
    robot.node.create_subscription(
        PoseWithCovarianceStamped, 'initialpose', robot.heard['initialpose'].append, 10
    )
    robot.ready()
    for k in (5, 6):
        robot.shown(k)  # ~/pose is there in all of them
    robot.wait(0.3)
    assert bool(robot.transforms()) == owns
    assert len(robot.heard['initialpose']) == announces
    assert node.get_parameter('publish_tf').value == owns  # as "ros2 param get" tells
    assert node.get_parameter('publish_initialpose').value == announces


@pytest.mark.parametrize('profile', ['ekf', 'amcl'])
def test_a_filters_transform_is_no_intruder(robot: Any, tiny_site: Path, profile: str) -> None:
    """AMCL or a filter publishes map -> odom, as it should."""
    from vloc_ros import messages

    robot.localizer(tiny_site, profile=profile)
    robot.ready()
    for _ in range(20):
        robot.tf.publish(
            messages.transform(messages.header(robot.now(), 'map'), 'odom', robot.T_odom_base(3))
        )
        robot.wait(0.05)
    robot.shown(5)
    robot.wait(1.2)
    assert 'another node publishes' not in ' '.join(robot.last_words())


def test_a_file_with_all_defaults_does_not_contradict(robot: Any, tiny_site: Path) -> None:
    file = Path(__file__).parents[2] / 'config' / 'relocalize.yaml'
    arguments = ['--params-file', str(file)]
    node = robot.localizer(tiny_site, start=False, profile='amcl', arguments=arguments)
    assert not node.parameters.publish_tf
    assert node.parameters.publish_initialpose


def test_contradictions_are_named(robot: Any, tiny_site: Path) -> None:
    words = 'publish_initialpose: the profile ekf sets it to false; leave it out, or start'
    with pytest.raises(VlocError, match=words):
        robot.localizer(tiny_site, start=False, profile='ekf', publish_initialpose=True)
    with pytest.raises(VlocError, match=r"profile: 'ukf'; give one of nav2, ekf, amcl"):
        robot.localizer(tiny_site, start=False, profile='ukf')


def test_a_running_node_keeps_to_its_profile(robot: Any, tiny_site: Path) -> None:
    node = robot.localizer(tiny_site, start=False, profile='ekf')
    given = [Parameter('publish_tf', value=True), Parameter('publish_tf', value=False)]
    refused, same = node.set_parameters(given)
    assert not refused.successful
    assert 'the profile ekf sets it to false' in refused.reason
    assert same.successful
    assert not node.parameters.publish_tf
    own = robot.localizer(tiny_site, start=False)
    (off,) = own.set_parameters([Parameter('publish_tf', value=False)])
    assert off.successful
    assert not own.parameters.publish_tf
