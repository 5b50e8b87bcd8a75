"""What the localizer publishes: poses, status, TF, overlay, map points."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseArray, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CompressedImage, PointCloud2
from tf2_msgs.msg import TFMessage

from vloc_models.records import Array, Fix, Verdict
from vloc_ros import messages
from vloc_ros.compat import PublisherEventCallbacks, wall_clock
from vloc_ros.fused import Fused
from vloc_ros.health import Health
from vloc_ros.parameters import LocalizerParameters


class Diagnostics:
    """/diagnostics, from the making of a node to its end."""

    def __init__(self, node: Node) -> None:
        """Create the publisher."""
        self._node = node
        self._wall = wall_clock()
        quiet = PublisherEventCallbacks(use_default_callbacks=False)
        make = node.create_publisher
        self._publisher = make(DiagnosticArray, '/diagnostics', 10, event_callbacks=quiet)

    def publish(self, health: Health) -> None:
        """How every part is."""
        told = [
            messages.status(f'{self._node.get_name()}: {part}', level, words, values)
            for part, level, words, values in health.parts()
        ]
        now_ns = self._node.get_clock().now().nanoseconds or self._wall.now().nanoseconds
        self._publisher.publish(messages.diagnostics(messages.header(now_ns, ''), told))


class Outputs:
    """The publishers of a node that is configured; ``close`` destroys them."""

    def __init__(self, node: Node, parameters: LocalizerParameters) -> None:
        """Create the publishers."""
        self._node, self.parameters = node, parameters
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        # the executor looks at every event of every publisher each time it wakes
        quiet = PublisherEventCallbacks(use_default_callbacks=False)
        make = partial(node.create_publisher, event_callbacks=quiet)
        self._pose = make(PoseWithCovarianceStamped, '~/pose', 10)
        self._raw = make(PoseWithCovarianceStamped, '~/pose_raw', 100)
        self._status = make(DiagnosticArray, '~/status', 100)
        self._odometry = make(Odometry, '~/odometry', 50)
        self._candidates = make(PoseArray, '~/candidates', 10)
        self._overlays = (
            make(CompressedImage, '~/overlay', 1),
            make(CompressedImage, '~/overlay/compressed', 1),  # by this name RViz can show it
        )
        self._points = make(PointCloud2, '~/map_points', latched)
        self._initial = make(PoseWithCovarianceStamped, 'initialpose', 10)
        self._tf = make(TFMessage, '/tf', 100)
        self._all = (
            self._pose,
            self._raw,
            self._odometry,
            self._status,
            self._candidates,
            *self._overlays,
            self._points,
            self._initial,
            self._tf,
        )

    def close(self) -> None:
        """Destroy the publishers."""
        for publisher in self._all:
            self._node.destroy_publisher(publisher)

    @property
    def overlay_wanted(self) -> bool:
        """Whether anybody looks at ~/overlay."""
        return any(out.get_subscription_count() for out in self._overlays)

    def raw(self, fix: Fix) -> None:
        """What was solved of one frame, good or not, at the stamp of its image."""
        if fix.estimate is not None:
            head = messages.header(fix.stamp_ns, self.parameters.map_frame)
            self._raw.publish(messages.pose_with_covariance(head, fix.estimate))

    def fix(self, fix: Fix) -> None:
        """The accepted pose of one frame, or the places that it may be of."""
        head = messages.header(fix.stamp_ns, self.parameters.map_frame)
        if fix.verdict is Verdict.ACCEPTED and fix.estimate is not None:
            self._pose.publish(messages.pose_with_covariance(head, fix.estimate))
        if fix.verdict is Verdict.AMBIGUOUS:
            self._candidates.publish(messages.pose_array(head, fix.candidates))

    @property
    def odometry_wanted(self) -> bool:
        """Whether anybody listens to ~/odometry."""
        return self._odometry.get_subscription_count() > 0

    def odometry(self, body: str, fused: Fused) -> None:
        """The fused pose."""
        head = messages.header(fused.stamp_ns, self.parameters.map_frame)
        self._odometry.publish(messages.odometry(head, body, fused))

    def initial_pose(self, fix: Fix) -> None:
        """An accepted pose, for AMCL."""
        assert fix.estimate is not None
        head = messages.header(fix.stamp_ns, self.parameters.map_frame)
        self._initial.publish(messages.initial_pose(head, fix.estimate))

    def status(self, stamp_ns: int, level: str, words: str, values: Mapping[str, object]) -> None:
        """One line on the last frame, or on why there is none."""
        name = f'{self._node.get_name()}: localization'
        head = messages.header(stamp_ns, self.parameters.map_frame)
        one = messages.status(name, level, words, values)
        self._status.publish(messages.diagnostics(head, [one]))

    def overlay(self, stamp_ns: int, frame_id: str, jpeg: bytes) -> None:
        """The picture with the map's points."""
        told = messages.jpeg_image(messages.header(stamp_ns, frame_id), jpeg)
        for out in self._overlays:
            if out.get_subscription_count():
                out.publish(told)

    def map_points(self, points: NDArray[np.float32]) -> None:
        """The map's landmarks [N, 3], for whoever asks now or later."""
        head = messages.header(self._node.get_clock().now().nanoseconds, self.parameters.map_frame)
        self._points.publish(messages.point_cloud(head, points))

    @property
    def initial_pose_wanted(self) -> bool:
        """Whether AMCL is there: what is said before is lost."""
        return self.parameters.publish_initialpose and self._initial.get_subscription_count() > 0

    def map_to(self, child: str, stamp_ns: int, T_map_child: Array) -> None:
        """The transform that joins the robot's tree to the map."""
        head = messages.header(stamp_ns, self.parameters.map_frame)
        self._tf.publish(messages.transform(head, child, T_map_child))
