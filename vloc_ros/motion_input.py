"""Transforms and odometry from topics, for the place of the cameras and for the tracker."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from tf2_msgs.msg import TFMessage

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.transforms import TransformTree
from vloc_models.geometry import se3
from vloc_models.localize.tracker import Tracker
from vloc_models.records import Array
from vloc_ros.health import Health
from vloc_ros.messages import stamp_ns
from vloc_ros.parameters import LocalizerParameters
from vloc_ros.qos import told_when_incompatible

_KEEP_NS = 10 * 10**9  # as tf2
_GAP_NS = 5 * 10**8
_AHEAD_NS = 5 * 10**9  # of our clock, and no transform is believed
_BACK_NS = _OFF_NS = 10**9


@dataclass(frozen=True)
class MotionHooks:
    """What a MotionInput needs of the rest of the node."""

    transforms: Callable[[], None]  # is called when transforms have come
    restart: Callable[[str], None]  # is called with a reason where the stamps start anew
    odometry: Callable[[int], None]  # is called with the stamp of each sample


class MotionInput:
    """Subscribed from its making until ``close``; called on the executor's thread alone."""

    def __init__(
        self,
        node: Node,
        parameters: LocalizerParameters,
        health: Health,
        tracker: Tracker,
        hooks: MotionHooks,
    ) -> None:
        """Subscribe.

        Args:
            node: to subscribe by.
            parameters: at the start.
            health: learns about odometry, as part "odometry".
            tracker: odometry goes there.
            hooks: the rest of the node.
        """
        self._node, self._health, self._tracker = node, health, tracker
        self.parameters, self._hooks = parameters, hooks
        self.tree = TransformTree(_KEEP_NS)
        self._uses_odometry = bool(parameters.odom_frame)
        self._last_s, self._count = monotonic(), 0
        self._told_ns: int | None = None  # the newest odometry that came from TF
        self._edges_ns: dict[tuple[str, str], int] = {}  # the newest stamp of those we need
        self.own_heard = 0  # transforms that only we should publish
        self.body = parameters.base_frame  # '' until the first image names the camera's frame
        self._told_faults = self._told_unplaced = 0
        fast = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
        latched = QoSProfile(
            depth=100,
            reliability=QoSReliabilityPolicy.RELIABLE,
            durability=QoSDurabilityPolicy.TRANSIENT_LOCAL,
        )
        wanted: list[tuple[Any, str, Any, QoSProfile]] = [
            (TFMessage, '/tf', self._on_tf, fast),
            (TFMessage, '/tf_static', self._on_static, latched),
        ]
        if self._uses_odometry and parameters.odom_source == 'topic':
            sensor = QoSProfile(depth=50, reliability=QoSReliabilityPolicy.BEST_EFFORT)
            wanted.append((Odometry, 'odom', self._on_odometry, sensor))
        self._subscriptions = [
            node.create_subscription(
                kind,
                topic,
                callback,
                qos,
                event_callbacks=told_when_incompatible(health, 'odometry', topic, 'its publisher'),
            )
            for kind, topic, callback, qos in wanted
        ]

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)

    def restart(self) -> None:
        """Stamps start anew; what never moves still holds."""
        self.tree = self.tree.without_motion()
        self._told_ns = None
        self._edges_ns.clear()

    def check(self) -> None:
        """Tell health how odometry is; call it about once a second."""
        p, faults = self.parameters, self.tree.faults
        if len(faults) > self._told_faults:
            self._health.fault('odometry', faults[-1])
        self._told_faults = len(faults)
        if not self._uses_odometry:
            self._health.set('odometry', 'ok', 'not used')
            return
        silent_s = monotonic() - self._last_s
        values = {'samples': self._count, 'silent_s': f'{silent_s:.1f}'}
        if silent_s > p.odom_timeout_s:
            words = f'no odometry from {self._source()}: {self._silence()}'
            self._health.set('odometry', 'error', words, **values)
        elif words := self._unused():
            self._health.set('odometry', 'error', words, **values)
        elif self._count:
            self._health.set('odometry', 'ok', f'from {self._source()}', **values)

    def _unused(self) -> str:
        """Why odometry is of no use though it comes, or ''."""
        newest, now = self._tracker.newest_odometry_ns, self._node.get_clock().now().nanoseconds
        if newest is not None and now and abs(now - newest) > _OFF_NS:
            words = (
                f"{self._source()} is dated {(newest - now) / 1e9:+.1f} s from this node's clock"
            )
            return f'{words}; let its publisher use the time of ROS'
        waits, unplaced = self._tracker.waiting_since_ns, self._tracker.unplaced
        if unplaced > self._told_unplaced or (waits is not None and now - waits > _OFF_NS):
            self._told_unplaced = unplaced
            words = f'{self._source()} has nothing at the stamps of accepted poses'
            return f'{words}; publish it more often, or raise max_gap_s'
        return ''

    def _source(self) -> str:
        p = self.parameters
        if p.odom_source == 'topic':
            return self._node.resolve_topic_name('odom')
        return f'TF {p.odom_frame} -> {self.body}'

    def _silence(self) -> str:
        """Why nothing comes, and what to do."""
        p = self.parameters
        if p.odom_source == 'topic':
            topic = self._node.resolve_topic_name('odom')
            if not self._node.get_publishers_info_by_topic(topic):
                return 'nobody publishes it; start it, remap odom, or set odom_source to tf'
            return 'it is published, but nothing comes; is it a nav_msgs/Odometry?'
        advice = 'start odometry, set odom_frame and base_frame, or odom_frame to ""'
        try:
            newest = self.tree.newest_ns(p.odom_frame, self.body)
            if newest is None:
                return 'it is static, which is no odometry; set odom_frame to ""'
            self.tree.lookup(p.odom_frame, self.body, newest, _GAP_NS)
        except BagError as e:
            return f'{e.what}; {advice}'
        faults = [fault for fault in self.tree.faults if self.body in fault]
        return faults[-1] if faults else 'is its publisher still running?'

    def _on_odometry(self, msg: Odometry) -> None:
        parent = msg.header.frame_id.lstrip('/')
        if parent and parent != self.parameters.odom_frame:
            self._health.fault(
                'odometry',
                f'{self._source()} is told in {parent!r}, not {self.parameters.odom_frame!r}; '
                'set odom_frame',
            )
            return
        p, q, stamp = msg.pose.pose.position, msg.pose.pose.orientation, stamp_ns(msg.header.stamp)
        t, quat = (p.x, p.y, p.z), (q.x, q.y, q.z, q.w)
        child = msg.child_frame_id.lstrip('/')
        if not child or child == self.body:
            self._add(stamp, t, quat)
            return
        try:  # odometry of another part of the robot, such as base_footprint
            T_child_base = self.tree.lookup(child, self.body, stamp, _GAP_NS)
            self._add_matrix(stamp, se3.from_quat_xyzw(t, quat) @ T_child_base)
        except VlocError as e:
            words = f'{self._source()} is of {child!r}, not {self.body!r}: {e.what}'
            self._health.fault('odometry', f'{words}; set base_frame, or odom_source to tf')

    def _on_static(self, msg: TFMessage) -> None:
        self.tree.add_message(msg, static=True)
        self._hooks.transforms()

    def _on_tf(self, msg: TFMessage) -> None:
        p = self.parameters
        own = p.map_frame, p.odom_frame or self.body
        others = [t for t in msg.transforms if (t.header.frame_id, t.child_frame_id) != own]
        self.own_heard += len(msg.transforms) - len(others)
        kept = [t for t in others if self._timely(t)]
        if kept:
            self.tree.add_message(TFMessage(transforms=kept))
        if kept and self._uses_odometry and p.odom_source == 'tf':
            self._odometry_of_tree()
        self._hooks.transforms()

    def _timely(self, transform: TransformStamped) -> bool:
        """False for what is dated ahead of our clock; starts anew where stamps go back."""
        edge = transform.header.frame_id.lstrip('/'), transform.child_frame_id.lstrip('/')
        stamp, now = stamp_ns(transform.header.stamp), self._node.get_clock().now().nanoseconds
        if now and stamp - now > _AHEAD_NS:
            ahead_s = (stamp - now) / 1e9
            words = f'TF {edge[0]} -> {edge[1]} is dated {ahead_s:.0f} s ahead of our clock'
            self._health.fault('odometry', f'{words}; it is left out')
            return False
        if edge[0] == self.parameters.odom_frame or edge[1] == self.body:
            newest = self._edges_ns.get(edge, stamp)
            if stamp < newest - _BACK_NS:
                back_s = (newest - stamp) / 1e9
                self._hooks.restart(
                    f'the stamps of TF {edge[0]} -> {edge[1]} went back by {back_s:.1f} s'
                )
                newest = stamp
            self._edges_ns[edge] = max(newest, stamp)
        return True

    def _odometry_of_tree(self) -> None:
        odom = self.parameters.odom_frame
        try:
            newest = self.tree.newest_ns(odom, self.body)
            if newest is None or newest == self._told_ns:
                return
            T_odom_base = self.tree.lookup(odom, self.body, newest, _GAP_NS)
        except BagError:
            return  # told by check
        self._told_ns = newest
        self._add_matrix(newest, T_odom_base)

    def _add_matrix(self, stamp: int, T_odom_base: Array) -> None:
        self._add(stamp, T_odom_base[:3, 3].tolist(), se3.to_quat_xyzw(T_odom_base).tolist())

    def _add(self, stamp: int, t: Sequence[float], quat: Sequence[float]) -> None:
        if stamp <= 0:
            self._health.fault(
                'odometry', f'{self._source()} has no stamp; let its driver stamp it'
            )
            return
        if fault := self._tracker.add_odometry(stamp, t, quat):
            self._health.fault('odometry', f'{self._source()}: {fault}')
            return
        self._count += 1
        self._last_s = monotonic()
        self._hooks.odometry(stamp)
