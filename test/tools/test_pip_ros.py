"""Real DDS: what one node publishes arrives at another, tf2_msgs of our own making included."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here: neither sourced nor installed from PyPI')

import rclpy
from geometry_msgs.msg import TransformStamped
from rclpy.executors import SingleThreadedExecutor
from std_msgs.msg import String
from tf2_msgs.msg import TFMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rclpy.node import Node

DISCOVERY_TIMEOUT_S = 20.0


@pytest.fixture
def two_nodes(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Node, Node]]:
    """A talker and a listener, each in a context, and so a DDS participant, of its own."""
    # A domain per test process: parallel tests and a robot on the desk must not hear each other.
    monkeypatch.setenv('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    contexts = [rclpy.Context(), rclpy.Context()]
    for context in contexts:
        rclpy.init(context=context)
    talker = rclpy.create_node('talker', context=contexts[0])
    listener = rclpy.create_node('listener', context=contexts[1])
    yield talker, listener
    for node in (talker, listener):
        node.destroy_node()
    for context in contexts:
        rclpy.shutdown(context=context)


def carry(nodes: tuple[Node, Node], topic: str, message: Any) -> Any:
    """Publish `message` until the listener has it; None if it never arrives."""
    talker, listener = nodes
    received: list[Any] = []
    listener.create_subscription(type(message), topic, received.append, 10)
    publisher = talker.create_publisher(type(message), topic, 10)
    executor = SingleThreadedExecutor(context=listener.context)
    executor.add_node(listener)
    deadline = time.monotonic() + DISCOVERY_TIMEOUT_S
    while not received and time.monotonic() < deadline:
        publisher.publish(message)
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    return received[0] if received else None


def test_a_string_arrives(two_nodes: tuple[Node, Node]) -> None:
    assert carry(two_nodes, 'chatter', String(data='11 % inliers')) == String(data='11 % inliers')


def test_a_transform_arrives(two_nodes: tuple[Node, Node]) -> None:
    transform = TransformStamped()
    transform.header.frame_id = 'map'
    transform.header.stamp.sec = 1_700_000_000
    transform.header.stamp.nanosec = 123_456_789
    transform.child_frame_id = 'odom'
    transform.transform.translation.x = 1.25
    transform.transform.rotation.z = 1.0
    transform.transform.rotation.w = 0.0

    arrived = carry(two_nodes, 'tf', TFMessage(transforms=[transform]))

    assert arrived == TFMessage(transforms=[transform])
