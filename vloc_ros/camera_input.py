"""Images and camera_info from topics: each image, once all that it needs is known."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from vloc_models.errors import BagError
from vloc_models.frames.live import LiveCamera
from vloc_models.frames.transforms import TransformTree
from vloc_models.geometry.camera import Camera
from vloc_models.records import Array, View
from vloc_ros.health import Health
from vloc_ros.messages import stamp_ns
from vloc_ros.parameters import LocalizerParameters
from vloc_ros.qos import told_when_incompatible

_WAITING = {'best_effort': 10, 'reliable': 100}  # images, for what comes a little later
_BACK_NS = 10**9  # stamps that go back further are another run
_TYPES = {'raw': Image, 'compressed': CompressedImage}
_LATE_NS = 5 * 10**9


@dataclass(frozen=True, eq=False)
class Picture:
    """An image with all that is needed to solve it."""

    message: Any
    stamp_ns: int
    number: int  # in the order of arrival
    place: tuple[Camera, Array]  # the camera and T_base_cam
    camera: LiveCamera
    part: str  # of the node: "camera", or which of a rig

    @property
    def frame_id(self) -> str:
        """The camera's frame."""
        return self.message.header.frame_id.lstrip('/')

    @property
    def topic(self) -> str:
        """Where it came from."""
        return self.camera.topic

    def view(self) -> View:
        """Decode it.

        Raises:
            BagError: if it is damaged, of an unknown encoding, or not of the camera's size.
        """
        return self.camera.view(self.message, self.place)


@dataclass(frozen=True)
class CameraHooks:
    """What a CameraInput needs of the rest of the node."""

    tree: Callable[[], TransformTree]  # the transforms by now
    take: Callable[[Picture], None]  # is called with each image that is ready
    restart: Callable[[str], None]  # is called with a reason where the stamps start anew
    number: Callable[[], int]  # numbers the images of all cameras, as they come
    wants: Callable[[int], bool]  # whether an image of that stamp is to be handed on


class CameraInput:
    """Subscribed from its making until ``close``; called on the executor's thread alone."""

    def __init__(
        self,
        node: Node,
        parameters: LocalizerParameters,
        health: Health,
        hooks: CameraHooks,
        part: str = 'camera',
    ) -> None:
        """Subscribe.

        Args:
            node: to subscribe by.
            parameters: at the start.
            health: learns about the camera.
            hooks: the rest of the node.
            part: its name in diagnostics; topics of one of a rig are below it.

        Raises:
            BagError: if the calibration file cannot be used.
        """
        self._node, self._health, self._hooks = node, health, hooks
        self._parameters, self.part = parameters, part
        below = '' if part == 'camera' else f'{part}/'
        self._image, info = f'{below}image', f'{below}camera_info'
        transport, reliable = parameters.image_transport, parameters.image_reliability
        self.topic = image_topic(node, transport, self._image)
        info_topic = node.resolve_topic_name(info)
        self.camera = LiveCamera(
            self.topic, info_topic, parameters.base_frame, parameters.camera_file
        )
        best = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        every = QoSProfile(depth=100, reliability=QoSReliabilityPolicy.RELIABLE)
        qos = every if reliable == 'reliable' else best
        self._subscriptions = [
            node.create_subscription(
                kind,
                topic,
                callback,
                qos,
                event_callbacks=told_when_incompatible(health, part, topic, 'image_reliability'),
            )
            for kind, topic, callback in (
                (CameraInfo, info, self._on_info),
                (_TYPES[transport], self.topic, self._on_image),
            )
        ]
        self.received = self.left_out = 0
        self._last_s = monotonic()
        self._last_ns: int | None = None
        self._waiting: deque[tuple[Any, int, int]] = deque()
        self._why = ''  # images wait
        self._checked = (0, monotonic())

    def close(self) -> None:
        """Unsubscribe."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._waiting.clear()

    def restart(self) -> None:
        """Stamps start anew."""
        self._waiting.clear()
        self._last_ns = None
        self.camera.restart()

    def flush(self) -> None:
        """Hand on the images whose camera and place are known by now."""
        if not self._waiting:
            return
        tree = self._hooks.tree()
        kept = deque[tuple[Any, int, int]]()
        for message, stamp, number in self._waiting:
            try:
                place = self.camera.place(tree, message.header.frame_id, stamp)
            except BagError as e:
                self._why = f'{e.what}; {e.fix}'
                kept.append((message, stamp, number))
                continue
            self._why = ''
            self._hooks.take(Picture(message, stamp, number, place, self.camera, self.part))
        self._waiting = kept
        while len(kept) > _WAITING[self._parameters.image_reliability]:
            kept.popleft()
            self.left_out += 1

    def check(self, timeout_s: float) -> None:
        """Tell health how the camera is; call it about once a second.

        Args:
            timeout_s: with no image for so long, something is wrong.
        """
        now_s = monotonic()
        count, since_s = self._checked
        rate = (self.received - count) / max(now_s - since_s, 1e-9)
        self._checked = self.received, now_s
        silent_s = now_s - self._last_s
        values = {
            'received': self.received,
            'left_out': self.left_out,
            'rate_hz': f'{rate:.1f}',
            'silent_s': f'{silent_s:.1f}',
        }
        if self._waiting and self._why:
            self._health.set(self.part, 'error', self._why, **values)
        elif silent_s > timeout_s:
            words = f'no image on {self.topic}: {self._silence()}'
            self._health.set(self.part, 'error', words, **values)
        else:
            self._health.set(self.part, 'ok', f'images come on {self.topic}', **values)

    def _silence(self) -> str:
        """Why nothing comes, and what to do."""
        known = self._node.get_publishers_info_by_topic(self.topic)
        wanted = 'sensor_msgs/msg/' + _TYPES[self._parameters.image_transport].__name__
        if not known:
            return f'nobody publishes it; start the camera driver, or remap {self._image}'
        if all(info.topic_type != wanted for info in known):
            other = 'raw' if self._parameters.image_transport == 'compressed' else 'compressed'
            return (
                f'it carries {known[0].topic_type}, not {wanted}; set image_transport to {other}, '
                f'or remap {self._image}'
            )
        return (
            'it is published, but nothing comes; does the driver run, and do the reliabilities '
            'fit (image_reliability)?'
        )

    def _on_info(self, msg: CameraInfo) -> None:
        try:
            self.camera.add_info(msg)
            self.flush()
        except BagError as e:
            self._health.fault(self.part, f'{e.what}; {e.fix}')

    def _on_image(self, msg: Any) -> None:
        number = self._hooks.number()
        self.received += 1
        self._last_s = monotonic()
        stamp = stamp_ns(msg.header.stamp)
        now = self._node.get_clock().now().nanoseconds
        if stamp == 0:
            fault = f'{self.topic}: images have no stamp, the time they came is taken'
            self._health.fault(self.part, f'{fault}; let the driver stamp them')
            stamp = now
        if self._last_ns is not None and stamp < self._last_ns - _BACK_NS:
            self._hooks.restart(
                f'the stamps of images went back by {(self._last_ns - stamp) / 1e9:.1f} s'
            )
        elif self._last_ns is not None and stamp <= self._last_ns:
            self.left_out += 1
            self._health.fault(
                self.part, f'{self.topic}: an image that is no newer than the last is left out'
            )
            return
        elif abs(now - stamp) > _LATE_NS and now:
            self._health.fault(
                'clock',
                f"images are dated {(stamp - now) / 1e9:+.0f} s from this node's clock; set "
                'use_sim_time where a bag is played, else synchronise the clocks',
            )
            if stamp > now:  # it would end whatever comes in time
                self.left_out += 1
                return
        self._last_ns = stamp
        if not self._hooks.wants(stamp):
            self.left_out += 1
            return
        self._waiting.append((msg, stamp, number))
        self.flush()


def image_topic(node: Node, transport: str, name: str = 'image') -> str:
    """The full name of the topic of images; compressed ones have a name of their own below it."""
    topic = node.resolve_topic_name(name)
    if transport == 'compressed' and not topic.endswith('/compressed'):
        topic += '/compressed'
    return topic
