"""A robot that drives past the gallery's wall, on real topics, and the node under test."""

import os
import subprocess
import sys
import threading
import time
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
rclpy = pytest.importorskip('rclpy', reason='no ROS 2 here')

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import PoseWithCovarianceStamped
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_srvs.srv import Empty, SetBool, Trigger
from tf2_msgs.msg import TFMessage

from vloc_models.geometry import se3
from vloc_models.metrics import pictures
from vloc_models.records import Array, View
from vloc_ros import messages
from vloc_ros.localizer_node import LocalizerNode

T_map_odom = se3.transform(se3.exp([0, 0, 0, 0, 0, 0.7])[:3, :3], [2.0, -1.0, 0.0])
FRAME = 'camera_optical'
_TIMEOUT_S = 20.0
_DOMAIN = 10 + os.getpid() % 80  # of this test worker alone
_LATCHED = QoSProfile(depth=10, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
_HEARD = {
    'pose': PoseWithCovarianceStamped,
    'pose_raw': PoseWithCovarianceStamped,
    'status': DiagnosticArray,
}


class Robot:
    """Publishes what a robot does, and hears what the localizer says."""

    def __init__(self, gallery: Any, reliability: QoSReliabilityPolicy) -> None:
        self.gallery = gallery
        self.context = Context()
        rclpy.init(context=self.context, domain_id=_DOMAIN)
        self.node = Node('robot', context=self.context)
        self._mine, self._closing = SingleThreadedExecutor(context=self.context), False
        self._mine.add_node(self.node)
        self._threads: list[threading.Thread] = []
        self._nodes: list[Any] = []
        self._processes: list[subprocess.Popen[str]] = []
        make, fast = self.node.create_publisher, QoSProfile(depth=10, reliability=reliability)
        self.image = make(Image, 'image', fast)
        self.compressed = make(CompressedImage, 'image/compressed', fast)
        self.info = make(CameraInfo, 'camera_info', fast)
        self.odom = make(Odometry, 'odom', 50)
        self.tf = make(TFMessage, '/tf', 100)
        self.tf_static = make(TFMessage, '/tf_static', _LATCHED)
        self.clock = make(Clock, '/clock', 10)
        self.calibration: dict[str, Any] | None = None
        self.heard: dict[str, list[Any]] = defaultdict(list)
        self._hear(TFMessage, '/tf', 100)
        self._hear(DiagnosticArray, '/diagnostics', 100)
        self.listen('vloc_localizer')

    def _hear(self, kind: Any, topic: str, qos: Any, name: str = '') -> None:
        self.node.create_subscription(kind, topic, self.heard[name or topic].append, qos)

    def listen(self, node: str, prefix: str = '') -> None:
        """Hear the topics of one localizer."""
        for name, kind in _HEARD.items():
            self._hear(kind, f'{node}/{name}', 100, prefix + name)

    def hear_latched_points(self) -> None:
        self._hear(PointCloud2, 'vloc_localizer/map_points', _LATCHED, 'map_points')

    def hear_overlay(self) -> None:
        self._hear(CompressedImage, 'vloc_localizer/overlay', 1, 'overlay')

    def localizer(self, site: Path | str, start: bool = True, **parameters: Any) -> LocalizerNode:
        """The node under test, spinning on a thread of its own."""
        given = {
            'map': str(site),
            'image_reliability': 'reliable',  # on a busy machine others may be lost
            'odom_timeout_s': 0.5,
            'image_timeout_s': 0.5,
            **parameters,
        }
        kwargs = {
            'namespace': given.pop('namespace', ''),
            'cli_args': ['--ros-args', *given.pop('arguments', [])],
        }
        context = Context()  # its own participant, as a process of its own has
        rclpy.init(context=context, domain_id=_DOMAIN)
        node = LocalizerNode(
            context=context,
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
            **kwargs,
        )
        self.spin(node)
        if start:
            node.start()
        return node

    def run(self, module: str, *words: str) -> 'subprocess.Popen[str]':
        """A node as a process of its own; killed at the end, if need be."""
        process = subprocess.Popen(
            [sys.executable, '-m', f'vloc_ros.{module}', '--ros-args', *words],
            env={**os.environ, 'ROS_DOMAIN_ID': str(_DOMAIN)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def spin(self, node: Any) -> None:
        """Spin a node of ours, from now to the end of the test."""
        executor = SingleThreadedExecutor(context=node.context)
        executor.add_node(node)
        thread = threading.Thread(target=self._spin, args=[executor], daemon=True)
        thread.start()
        self._threads.append(thread)
        self._nodes.append(node)

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        while not self._closing:
            executor.spin_once(timeout_sec=0.1)

    def until(self, done: Callable[[], Any], what: str, seconds: float = _TIMEOUT_S) -> Any:
        """Wait for something; returns what ``done`` returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._mine.spin_once(timeout_sec=0.02)
            if found := done():
                return found
        raise AssertionError(f'not within {seconds} s: {what}; {self.last_words()}')

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._mine.spin_once(timeout_sec=0.02)

    def last_words(self) -> list[str]:
        return [
            f'{s.name}: {s.message}' for m in self.heard['/diagnostics'][-1:] for s in m.status
        ]

    def call(self, kind: Any, name: str, request: Any = None, seconds: float = 20.0) -> Any:
        """Call a service and wait for its answer."""
        future = self.ask(kind, name, request)
        return self.until(lambda: future.done() and future.result(), name, seconds)

    def ask(self, kind: Any, name: str, request: Any = None) -> Any:
        """Call a service; the future of its answer."""
        for _ in range(4):  # on a busy machine DDS may miss the first
            client = self.node.create_client(kind, name)
            for _ in range(50):
                if client.service_is_ready():
                    return client.call_async(request or kind.Request())
                self.wait(0.1)
        raise AssertionError(f'{name} is not served; {self.last_words()}')

    def relocalize(self) -> Any:
        return self.ask(Trigger, 'vloc_localizer/relocalize')

    def enable(self, on: bool) -> Any:
        return self.call(SetBool, 'vloc_localizer/set_enabled', SetBool.Request(data=on))

    def start_anew(self) -> Any:
        return self.call(Empty, 'reinitialize_global_localization')

    # ------------------------------------------------------------------------ what it does

    def connected(self, compressed: bool = False) -> None:
        """Wait until the localizer hears us and we hear it."""
        out = self.compressed if compressed else self.image
        wanted = (out, self.info, self.tf, self.tf_static)
        self.until(lambda: all(p.get_subscription_count() for p in wanted), 'subscriptions')
        names = [f'vloc_localizer/{name}' for name in _HEARD]
        self.until(lambda: all(map(self.node.count_publishers, names)), 'publishers')
        self.wait(0.25)  # they have to know of us, too

    def place_camera(self) -> None:
        T = self.gallery.cameras[0].T_base_cam
        self.tf_static.publish(messages.transform(messages.header(0, 'base_link'), FRAME, T))

    def calibrate(self, stamp_ns: int | None = None, **changes: Any) -> None:
        self.info.publish(
            self.camera_info(self.now() if stamp_ns is None else stamp_ns, **changes)
        )

    def camera_info(self, stamp_ns: int, **changes: Any) -> CameraInfo:
        camera = self.gallery.cameras[0].camera
        head = messages.header(stamp_ns, FRAME)
        told = {'width': camera.width, 'height': camera.height, 'k': camera.K.ravel(), **changes}
        return CameraInfo(header=head, distortion_model='plumb_bob', d=[0.0] * 5, **told)

    def now(self) -> int:
        return self.node.get_clock().now().nanoseconds

    def move(self, k: int, stamp_ns: int) -> None:
        """Odometry on /tf and /odom: where the robot is in picture ``k``."""
        T_odom_base = self.T_odom_base(k)
        head = messages.header(stamp_ns, 'odom')
        self.tf.publish(messages.transform(head, 'base_link', T_odom_base))
        odometry = Odometry(header=head, child_frame_id='base_link')
        odometry.pose.pose = messages.pose(T_odom_base)
        self.odom.publish(odometry)

    def T_odom_base(self, k: int) -> Array:
        return se3.inverse(T_map_odom) @ self.gallery.drawn[k].T_map_base

    def picture(self, k: int, stamp_ns: int) -> Image:
        image = self.view(k).image
        height, width = image.shape[:2]
        return Image(
            header=messages.header(stamp_ns, FRAME),
            height=height,
            width=width,
            encoding='rgb8',
            step=3 * width,
            data=array('B', image.tobytes()),
        )

    def view(self, k: int) -> View:
        return self.gallery.drawn[k].views[0]

    def jpeg(self, k: int, stamp_ns: int) -> CompressedImage:
        data = pictures.jpeg(self.view(k).image, 10_000)
        return messages.jpeg_image(messages.header(stamp_ns, FRAME), data)

    def show(self, k: int = 5, stamp_ns: int | None = None, around: bool = True) -> int:
        """Take picture ``k``, with odometry before and after it; returns its stamp."""
        stamp_ns = self.now() if stamp_ns is None else stamp_ns
        if around:
            self.move(k, stamp_ns - 10_000_000)
        if self.calibration is not None:
            self.info.publish(self.camera_info(stamp_ns, **self.calibration))
        self.image.publish(self.picture(k, stamp_ns))
        if around:
            self.move(k, stamp_ns + 10_000_000)
        return stamp_ns

    def shown(self, k: int = 5, name: str = 'pose', **options: Any) -> Any:
        """Take picture ``k`` and wait for what is said of it."""
        stamp_ns = self.show(k, **options)
        return self.said(stamp_ns, name)

    def said(self, stamp_ns: int, name: str = 'pose') -> Any:
        """Wait for the message about a stamp."""
        head = messages.header(stamp_ns, '').stamp

        def found() -> Any:
            return next((m for m in self.heard[name] if m.header.stamp == head), None)

        return self.until(found, f'{name} of {stamp_ns}')

    def ready(self, compressed: bool = False) -> None:
        """All that a first picture needs."""
        self.connected(compressed)
        self.place_camera()
        self.calibrate(0)

    # ------------------------------------------------------------------------ what it heard

    def diagnosed(self, part: str, words: str) -> DiagnosticStatus:
        """Wait until diagnostics say something of a part."""

        def found() -> DiagnosticStatus | None:
            told = [s for m in self.heard['/diagnostics'] for s in m.status]
            return next(
                (s for s in told if s.name.endswith(f': {part}') and words in s.message), None
            )

        return self.until(found, f'diagnostics of {part} with {words!r}')

    def transforms(self, child: str = 'odom') -> list[Any]:
        """All map -> child that were published."""
        told = [t for m in self.heard['/tf'] for t in m.transforms]
        return [t for t in told if t.child_frame_id == child and t.header.frame_id == 'map']

    def close(self) -> None:
        self._closing = True
        for process in self._processes:
            process.kill()
            process.communicate()
        for thread in self._threads:
            thread.join(10.0)
        for node in [*self._nodes, self.node]:
            node.destroy_node()
            node.context.try_shutdown()


def values(status: Any) -> dict[str, str]:
    """The figures of a DiagnosticArray with one status."""
    return {pair.key: pair.value for pair in status.status[0].values}


def matrix(pose: Any) -> Array:
    """A Pose or a Transform as [4, 4]."""
    p = pose.position if hasattr(pose, 'position') else pose.translation
    q = pose.orientation if hasattr(pose, 'orientation') else pose.rotation
    return se3.from_quat_xyzw([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])


def apart_m(a: Array, b: Array) -> float:
    return float(np.linalg.norm(a[:3, 3] - b[:3, 3]))


def driving(gallery: Any, camera: QoSReliabilityPolicy) -> Iterator[Robot]:
    made = Robot(type(gallery)(11), camera)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def robot(gallery: Any) -> Iterator[Robot]:
    yield from driving(gallery, QoSReliabilityPolicy.RELIABLE)


@pytest.fixture
def careless_robot(gallery: Any) -> Iterator[Robot]:
    """Its camera driver is best effort, as most are."""
    yield from driving(gallery, QoSReliabilityPolicy.BEST_EFFORT)


@pytest.fixture(scope='session')
def ros() -> Any:
    """The helpers above (pytest imports test files one by one)."""
    from types import SimpleNamespace

    return SimpleNamespace(values=values, matrix=matrix, apart_m=apart_m, T_map_odom=T_map_odom)
