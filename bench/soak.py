"""Twenty minutes with a live node while everything around it goes wrong.

    python bench/soak.py RECORDING --map MAP --json soak.json

The recording's pictures go to the node at 15 Hz, forth and back, with odometry at 50 Hz; the node
is a process of its own. All the time some pictures are lost, repeated, cut short, of no known
encoding, or late. In every minute the pictures are black for some seconds, odometry is silent for
some, and once the map is read again and once a hand places the robot wrongly. Told are: whether
the node lives, its memory, whether ~/pose was ever wrong, how the state was in quiet times and in
each kind of trouble, and how long it took to be localized again.
"""

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault('ROS_DOMAIN_ID', '44')
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

import numpy as np
import rclpy
import tyro
from compare import run
from diagnostic_msgs.msg import DiagnosticArray
from figures import save
from geometry_msgs.msg import PoseWithCovarianceStamped
from node import NODE, Usage
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import CameraInfo, CompressedImage
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from vloc_models.commands.progress import progress_bar
from vloc_models.errors import BagError, VlocError
from vloc_models.frames.source import open_source
from vloc_models.geometry import se3
from vloc_models.metrics.pictures import jpeg
from vloc_models.records import Array, Frame
from vloc_ros import messages

RATE_HZ, ODOM_HZ = 15.0, 50.0
_MINUTE_S = 60.0
_TROUBLES = {  # seconds of each minute
    'quiet': (5.0, 20.0),
    'black': (20.0, 25.0),
    'quiet after black': (27.0, 35.0),
    'odometry silent': (35.0, 40.0),
    'quiet after silence': (43.0, 60.0),
}
_RELOAD_S, _PLACED_S = 10.0, 50.0  # of each minute
_FATES = {'lost': 0.03, 'repeated': 0.03, 'cut': 0.02, 'strange': 0.01, 'late': 0.02}  # shares
_LATE_S = 0.4
_WRONG_M = 0.3
_SETTLE_S = 5.0


@dataclass(frozen=True)
class Options:
    """What is soaked."""

    bag: tyro.conf.Positional[Path]
    """A recording with true poses and odometry."""
    map_folder: Annotated[Path, tyro.conf.arg(name='map')]
    """A map of its place."""
    minutes: float = 20.0
    """How long."""
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None
    """Where the figures go."""


@dataclass
class Heard:
    """What the node said."""

    poses: dict[int, Array] = field(default_factory=dict)  # by the stamp of the picture
    states: list[tuple[float, str]] = field(default_factory=list)  # when, and which
    complaints: Counter[str] = field(default_factory=Counter)

    def pose(self, msg: PoseWithCovarianceStamped) -> None:
        """Take ~/pose."""
        p, q = msg.pose.pose.position, msg.pose.pose.orientation
        T = se3.from_quat_xyzw([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
        self.poses[messages.stamp_ns(msg.header.stamp)] = T

    def status(self, msg: DiagnosticArray) -> None:
        """Take ~/status."""
        for pair in (pair for one in msg.status for pair in one.values):
            if pair.key == 'state':
                self.states.append((time.monotonic(), pair.value))

    def diagnostics(self, msg: DiagnosticArray) -> None:
        """Take /diagnostics."""
        for one in msg.status:
            if one.level != messages.LEVELS['ok']:
                self.complaints[one.name.rpartition(': ')[2]] += 1


class World:
    """Moves the robot along the recording and back, and takes pictures, some of them spoilt."""

    def __init__(self, node: Node, frames: list[Frame]) -> None:
        """``frames`` have true poses and odometry."""
        there = list(range(len(frames)))
        self._course = itertools.cycle(there + there[-2:0:-1])
        self._frames, self._rng = frames, np.random.default_rng(41)
        self.truth: dict[int, Array] = {}  # T_map_base by the stamp of each picture
        self.spoilt: Counter[str] = Counter()
        self.began_s = time.monotonic()
        sensor = QoSProfile(depth=5, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        make = node.create_publisher
        self.images = make(CompressedImage, 'image/compressed', sensor)
        self._infos = make(CameraInfo, 'camera_info', sensor)
        self._tf = make(TFMessage, '/tf', 100)
        self._initial = make(PoseWithCovarianceStamped, 'initialpose', 10)
        self._static = make(TFMessage, '/tf_static', latched)
        view = frames[0].views[0]
        mount = messages.transform(messages.header(0, 'base_link'), 'camera', view.T_base_cam)
        self._static.publish(mount)
        self._jpegs = [jpeg(frame.views[0].image, 10_000) for frame in frames]
        self._black = jpeg(np.zeros_like(view.image), 10_000)
        c = view.camera
        self._info: dict[str, Any] = {
            'width': c.width,
            'height': c.height,
            'k': c.K.ravel(),
            'd': list(c.distortion) or [0.0] * 5,
            'distortion_model': c.model if c.distortion else 'plumb_bob',
        }
        self._late: list[tuple[float, CompressedImage]] = []

    def phase(self, now_s: float | None = None) -> float:
        """Seconds into the minute."""
        return ((now_s or time.monotonic()) - self.began_s) % _MINUTE_S

    def drive(self, seconds: float) -> Iterator[int]:
        """At 15 Hz; yields the second it is at."""
        here = next(self._course)
        for step in itertools.count():
            if time.monotonic() - self.began_s > seconds:
                return
            there = next(self._course)
            self._leg(self._frames[here], self._frames[there], self.began_s + step / RATE_HZ)
            self._picture(there)
            here = there
            yield int(time.monotonic() - self.began_s)

    def _leg(self, a: Frame, b: Frame, start_s: float) -> None:
        """Odometry between two pictures."""
        assert a.T_odom_base is not None
        assert b.T_odom_base is not None
        samples = round(ODOM_HZ / RATE_HZ)
        for k in range(1, samples + 1):
            time.sleep(max(0.0, start_s + k / samples / RATE_HZ - time.monotonic()))
            if not _within(self.phase(), 'odometry silent'):
                T = se3.interpolate(a.T_odom_base, b.T_odom_base, k / samples)
                head = messages.header(time.time_ns(), 'odom')
                self._tf.publish(messages.transform(head, 'base_link', T))

    def _picture(self, index: int) -> None:
        stamp, frame, rng = time.time_ns(), self._frames[index], self._rng
        assert frame.T_map_base is not None
        self.truth[stamp] = frame.T_map_base
        head = messages.header(stamp, 'camera')
        self._infos.publish(CameraInfo(header=head, **self._info))
        data = self._black if _within(self.phase(), 'black') else self._jpegs[index]
        message = messages.jpeg_image(head, data)
        fate = self._fate()
        self.spoilt[fate] += 1
        if fate == 'cut':
            message = messages.jpeg_image(head, data[: len(data) // 3])
        elif fate == 'strange':
            message.format = 'bayer; smell compressed'
            message.data = rng.integers(0, 256, 5000, np.uint8).tobytes()
        elif fate == 'late':
            self._late.append((time.monotonic() + _LATE_S, message))
        if fate not in ('lost', 'late'):
            self.images.publish(message)
        if fate == 'repeated':
            self.images.publish(message)
        for due_s, late in list(self._late):
            if time.monotonic() > due_s:
                self.images.publish(late)
                self._late.remove((due_s, late))

    def _fate(self) -> str:
        names = [*_FATES, 'as it is']
        return str(self._rng.choice(names, p=[*_FATES.values(), 1 - sum(_FATES.values())]))

    def place_wrongly(self) -> None:
        """A hand that says the robot is five metres away."""
        msg = PoseWithCovarianceStamped(header=messages.header(time.time_ns(), 'map'))
        msg.pose.pose.position.x, msg.pose.pose.orientation.w = 5.0, 1.0
        self._initial.publish(msg)


def _within(phase: float, name: str) -> bool:
    start, end = _TROUBLES[name]
    return start <= phase < end


def start(options: Options, world: World) -> 'subprocess.Popen[bytes]':
    """The node, as a process that hears our pictures."""
    words = ['-p', f'map:={options.map_folder}', '-p', 'image_transport:=compressed']
    command = [sys.executable, '-m', 'vloc_ros.localizer_node', '--ros-args', *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not world.images.get_subscription_count():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise VlocError('the node does not start', 'run it by hand to see why')
        time.sleep(0.1)
    return process


def read(bag: Path) -> list[Frame]:
    """The frames of a recording that have all that is needed."""
    with open_source([bag]) as source:
        frames = [f for f in source.frames() if f.T_map_base is not None]
    frames = [f for f in frames if f.T_odom_base is not None]
    if len(frames) < 20:
        raise BagError(
            f'{bag}: {len(frames)} pictures with pose and odometry', 'name a longer one'
        )
    return frames


def soak(options: Options) -> None:
    """Soak, print, write."""
    frames = read(options.bag)
    rclpy.init()
    node, heard, memory = Node('bench'), Heard(), list[float]()
    world = World(node, frames)
    node.create_subscription(PoseWithCovarianceStamped, f'{NODE}/pose', heard.pose, 100)
    node.create_subscription(DiagnosticArray, f'{NODE}/status', heard.status, 100)
    node.create_subscription(DiagnosticArray, '/diagnostics', heard.diagnostics, 100)
    reload_map = node.create_client(Trigger, f'{NODE}/reload_map')
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    process = start(options, world)
    world.began_s, done = time.monotonic(), set[int]()
    with progress_bar(Console(stderr=True)) as progress:
        task = progress.add_task('soaking', total=round(options.minutes * 60), note='')
        for second in world.drive(options.minutes * 60):
            if second in done:
                continue
            done.add(second)
            memory.append(Usage.of(process.pid).memory_mb)
            if second % _MINUTE_S == _RELOAD_S:
                reload_map.call_async(Trigger.Request())
            if second % _MINUTE_S == _PLACED_S:
                world.place_wrongly()
            progress.update(task, completed=second)
            if process.poll() is not None:
                break
    alive = process.poll() is None
    process.send_signal(signal.SIGINT)
    told = figures(world, heard, memory) | {'alive': alive, 'exit_code': process.wait(20)}
    Console(width=140).print(table(told))
    save(told, options.json_file)
    sys.stdout.flush()
    os._exit(0 if alive else 1)  # the executor's thread is in the middle of something


def figures(world: World, heard: Heard, memory: list[float]) -> dict[str, Any]:
    """All that was asked for."""
    off = [
        float(np.linalg.norm((heard.poses[s] - T)[:3, 3]))
        for s, T in world.truth.items()
        if s in heard.poses
    ]
    settled = memory[len(memory) // 4 :]
    minutes = np.arange(len(settled)) / 60
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for when, state in heard.states:
        phase = world.phase(when)
        inside = [name for name in _TROUBLES if _within(phase, name)]
        if when - world.began_s > _SETTLE_S:
            states[inside[0] if inside else 'in between'][state] += 1
    return {
        'pictures': dict(world.spoilt),
        'poses': len(off),
        'wrong_poses': int(sum(x > _WRONG_M for x in off)),
        'median_cm': float(np.median(off)) * 100 if off else None,
        'memory_mb': [memory[0], settled[0], memory[-1], max(memory)],
        'memory_growth_mb_a_minute': float(np.polyfit(minutes, settled, 1)[0]),
        'states': {name: dict(count) for name, count in states.items()},
        'back_s': _back(world, heard),
        'complaints': dict(heard.complaints),
    }


def _back(world: World, heard: Heard) -> dict[str, float]:
    """The longest time from the end of a trouble until it was localized again."""
    found: dict[str, float] = {}
    for name, end in (('black', 25.0), ('odometry silent', 40.0), ('map read again', _RELOAD_S),
                      ('placed wrongly', _PLACED_S)):  # fmt: skip
        minutes = int((heard.states[-1][0] - world.began_s) // _MINUTE_S) if heard.states else 0
        for minute in range(minutes):
            over = world.began_s + minute * _MINUTE_S + end + (0.5 if end in (10.0, 50.0) else 0)
            back = [t - over for t, state in heard.states if t >= over and state == 'localized']
            found[name] = max(found.get(name, 0.0), back[0] if back else np.inf)
    return {name: x if np.isfinite(x) else -1.0 for name, x in found.items()}


def table(told: dict[str, Any]) -> Table:
    """A line a figure."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    for name, value in told.items():
        shown.add_row(name.replace('_', ' '), str(value))
    return shown


if __name__ == '__main__':
    sys.exit(run(lambda: soak(tyro.cli(Options, description=__doc__))))
