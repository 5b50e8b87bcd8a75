"""The live node: from the stamp of an image to its pose on the wire, at several frame rates.

    python bench/node.py RECORDING --map MAP --json node.json

The node is a process of its own; pictures of a recording are published with the time of now, and
each answer is taken off the wire again. The peer is ``vloc locate`` on the same pictures in the
same run: what the node takes beyond it is messages, threads and publishing. ``--soak-s 300``
watches the node's memory for five minutes.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated

os.environ.setdefault('ROS_DOMAIN_ID', '43')
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

import numpy as np
import rclpy
import tyro
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSDurabilityPolicy, QoSProfile, QoSReliabilityPolicy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.localize.encoder import Precision
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.replay import replay
from vloc_ros.messages import header, stamp_ns, transform

NODE = 'vloc_localizer'
SETTLE_S = 3.0  # before what is measured
ODOM_HZ = 50
DRAIN_S = 1.0


@dataclass(frozen=True)
class Options:
    """What is measured."""

    bag: tyro.conf.Positional[Path]
    """A recording whose pictures are published."""
    map_folder: Annotated[Path, tyro.conf.arg(name='map')]
    """A map of its place."""
    precision: Precision = 'float32'
    """Of the encoder, in the node and in the peer."""
    rates: tuple[float, ...] = (5.0, 15.0, 30.0)
    """Pictures a second."""
    seconds: float = 20.0
    """Measured at each rate."""
    soak_s: float = 0.0
    """Then go on at the last rate for this long, and watch the memory."""
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None
    """Write the figures to this file."""


@dataclass(frozen=True)
class Row:
    """One frame rate."""

    rate_hz: float
    sent: int
    answered: int
    skipped: int  # the rest, on purpose: a newer picture was there
    latency_ms: tuple[float, float, float]  # median, 90 %, 99 %: stamp to pose on the wire
    published_ms: float  # median, of it: until the node published it
    solve_ms: float  # median, of it: decoding and finding the pose
    cpu_percent: float  # of one core
    memory_mb: float


@dataclass
class Wire:
    """What came back: by the stamp of the picture, in ms."""

    latency: dict[int, float] = field(default_factory=dict)
    solve: dict[int, float] = field(default_factory=dict)
    published: dict[int, float] = field(default_factory=dict)  # until the node published it

    def pose(self, msg: PoseWithCovarianceStamped) -> None:
        """Take ~/pose_raw."""
        stamp = stamp_ns(msg.header.stamp)
        self.latency[stamp] = (time.time_ns() - stamp) / 1e6

    def status(self, msg: DiagnosticArray) -> None:
        """Take ~/status."""
        values = {pair.key: pair.value for one in msg.status for pair in one.values}
        if 'solve_ms' in values:
            stamp = stamp_ns(msg.header.stamp)
            self.solve[stamp] = float(values['solve_ms'])
            self.published[stamp] = float(values['latency_ms'])


class Feeder:
    """Publishes the pictures of a recording with the time of now, and a robot that stands."""

    def __init__(self, node: Node, reader: BagReader) -> None:
        """Read the pictures, as bytes."""
        self.view = reader.views[0]
        recording = reader.recording
        kind = reader.index.images[self.view.image].msgtype
        self.pictures = [
            bytearray(recording.cdr(m.raw, kind)) for m in recording.messages({self.view.image})
        ]
        info = next(iter(recording.messages({self.view.info})))
        self.info = bytearray(info.raw)
        sensor = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        image = CompressedImage if kind.endswith('CompressedImage') else Image
        self.images = node.create_publisher(image, self.view.image, sensor)
        self.infos = node.create_publisher(CameraInfo, self.view.info, sensor)
        self.tf = node.create_publisher(TFMessage, '/tf', 100)
        static = node.create_publisher(TFMessage, '/tf_static', latched)
        mount = reader.cameras[0].T_base_cam
        static.publish(transform(header(0, 'base_link'), self.view.frame_id, mount))

    def run(self, rate_hz: float, seconds: float, drain_s: float = DRAIN_S) -> list[int]:
        """Publish for a while; returns the stamps."""
        stop = threading.Event()
        mover = threading.Thread(target=self._move, args=[stop])
        mover.start()
        stamps = []
        began = time.monotonic()
        for k in range(round(rate_hz * seconds)):
            time.sleep(max(0.0, began + k / rate_hz - time.monotonic()))
            stamps.append(time.time_ns())
            self.infos.publish(bytes(stamped(self.info, stamps[-1])))
            picture = self.pictures[k % len(self.pictures)]
            self.images.publish(bytes(stamped(picture, stamps[-1])))
        time.sleep(drain_s)
        stop.set()
        mover.join()
        return stamps

    def _move(self, stop: threading.Event) -> None:
        while not stop.wait(1 / ODOM_HZ):
            self.tf.publish(transform(header(time.time_ns(), 'odom'), 'base_link', np.eye(4)))


def stamped(cdr: bytearray, stamp: int) -> bytearray:
    """A message that begins with a header, with another stamp: bytes 4 to 12."""
    cdr[4:12] = b''.join(x.to_bytes(4, 'little') for x in divmod(stamp, 10**9))
    return cdr


@dataclass(frozen=True)
class Usage:
    """What a process has used so far."""

    cpu_s: float
    memory_mb: float

    @staticmethod
    def of(pid: int) -> 'Usage':
        """From /proc."""
        words = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
        ticks = int(words[11]) + int(words[12])
        pages = int(Path(f'/proc/{pid}/statm').read_text().split()[1])
        return Usage(ticks / os.sysconf('SC_CLK_TCK'), pages * os.sysconf('SC_PAGESIZE') / 1e6)


def measure(feeder: Feeder, wire: Wire, pid: int, rate_hz: float, seconds: float) -> Row:
    """One frame rate."""
    feeder.run(rate_hz, SETTLE_S)
    before, began = Usage.of(pid), time.monotonic()
    stamps = feeder.run(rate_hz, seconds)
    after, took = Usage.of(pid), time.monotonic() - began
    found = [wire.latency[s] for s in stamps if s in wire.latency]
    solved = [wire.solve[s] for s in stamps if s in wire.solve]
    return Row(
        rate_hz,
        len(stamps),
        len(solved),
        len(stamps) - len(solved),
        percentiles(found),
        percentiles([wire.published[s] for s in stamps if s in wire.published])[0],
        percentiles(solved)[0],
        100 * (after.cpu_s - before.cpu_s) / took,
        after.memory_mb,
    )


def percentiles(ms: list[float] | NDArray[np.float64]) -> tuple[float, float, float]:
    """Median, 90 % and 99 %; NaN of nothing."""
    if not len(ms):
        return np.nan, np.nan, np.nan
    return tuple(float(x) for x in np.percentile(ms, [50, 90, 99]))  # type: ignore[return-value]


def soak(feeder: Feeder, pid: int, rate_hz: float, seconds: float) -> list[float]:
    """The memory of the node (MB), every ten seconds."""
    told = []
    for _ in range(max(1, round(seconds / 10))):
        feeder.run(rate_hz, 10.0 - DRAIN_S)
        told.append(Usage.of(pid).memory_mb)
    return told


def alone(options: Options) -> tuple[float, float, float]:
    """The peer: the same pictures in a row, without ROS."""
    localizer = Localizer.load(options.map_folder, LocalizerConfig(precision=options.precision))
    with BagReader(options.bag, BagOptions(poses='none', odom='none')) as reader:
        return percentiles(replay(localizer, reader).latency_ms)


def start(options: Options, feeder: Feeder) -> 'subprocess.Popen[bytes]':
    """The node, as a process."""
    transport = 'compressed' if feeder.view.image.endswith('/compressed') else 'raw'
    words = ['-p', f'map:={options.map_folder}', '-p', f'image_transport:={transport}']
    words += ['-p', f'precision:={options.precision}']
    words += ['-r', f'image:={feeder.view.image}', '-r', f'camera_info:={feeder.view.info}']
    command = [sys.executable, '-m', 'vloc_ros.localizer_node', '--ros-args', *words]
    process = subprocess.Popen(command)
    end = time.monotonic() + 60
    while not feeder.images.get_subscription_count():
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise VlocError('the node does not start', 'see its words above')
        time.sleep(0.1)
    return process


def main(options: Options) -> int:
    """Measure, print, write."""
    console = Console(soft_wrap=True, width=140)
    peer = alone(options)
    rclpy.init()
    node, wire = Node('bench'), Wire()
    with BagReader(options.bag, BagOptions(poses='none', odom='none')) as reader:
        feeder = Feeder(node, reader)
    node.create_subscription(PoseWithCovarianceStamped, f'{NODE}/pose_raw', wire.pose, 100)
    node.create_subscription(DiagnosticArray, f'{NODE}/status', wire.status, 100)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    threading.Thread(target=executor.spin, daemon=True).start()
    process = start(options, feeder)
    try:
        rows = [measure(feeder, wire, process.pid, r, options.seconds) for r in options.rates]
        memory = soak(feeder, process.pid, options.rates[-1], options.soak_s)
    finally:
        process.send_signal(signal.SIGINT)
        code = process.wait(20)
    show(console, rows, peer)
    if options.soak_s:
        words = f'memory over {options.soak_s:.0f} s: {min(memory):.1f} to {max(memory):.1f} MB'
        console.print(f'{words}, first {memory[0]:.1f}, last {memory[-1]:.1f}')
    console.print(f'exit code after Ctrl-C: {code}')
    if options.json_file:
        told = {'locate_ms': peer, 'rates': [asdict(r) for r in rows], 'memory_mb': memory}
        options.json_file.write_text(json.dumps(told, indent=1) + '\n')
    os._exit(0)  # the executor's thread is in the middle of something


def show(console: Console, rows: list[Row], peer: tuple[float, float, float]) -> None:
    """The table."""
    table = Table(box=None, pad_edge=False)
    for name in ('', 'sent', 'answered', 'skipped', 'stamp to pose: 50, 90, 99 %', 'published',
                 'solved in', 'beyond', 'CPU', 'memory'):  # fmt: skip
        table.add_column(name, justify='right')
    table.add_row('locate alone', '', '', '', '{:.0f}, {:.0f}, {:.0f} ms'.format(*peer))
    for row in rows:
        table.add_row(
            f'{row.rate_hz:g} Hz',
            *map(str, (row.sent, row.answered, row.skipped)),
            '{:.0f}, {:.0f}, {:.0f} ms'.format(*row.latency_ms),
            f'{row.published_ms:.0f} ms',
            f'{row.solve_ms:.0f} ms',
            f'{row.latency_ms[0] - row.solve_ms:.1f} ms',
            f'{row.cpu_percent:.0f} %',
            f'{row.memory_mb:.0f} MB',
        )
    console.print(table)


if __name__ == '__main__':
    sys.exit(main(tyro.cli(Options, description=__doc__)))
