"""How soon the pose is there: from the jpeg to the pose's message, beside the classical localizer.

    python bench/latency.py MAP_BAG QUERY_BAG --map MAP --peer sift_localizer.py --json out.json

Every query, as the jpeg of the bag, goes to both in turn, in one process, on as many threads as
each likes; ours ends with the bytes of a PoseWithCovarianceStamped. Then the node is started as a
process of its own and shown the recording at 5 Hz: the time from its start to its first pose, its
memory with ROS and all libraries, and its share of a core.

Where they are not named, ``$VLOC_DATA`` holds the bags and ``$VLOC_PEER`` is the peer.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import node as live  # names the ROS domain: before rclpy
import numpy as np
import rclpy
import tyro
from compare import (
    MAP_BAG,
    PEER,
    QUERY_BAG,
    Ours,
    Recorded,
    ask_both,
    camera_of,
    load_peer,
    named,
    named_map,
    rival_of,
    run,
)
from figures import Figures, save
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from rich.console import Console
from rich.table import Table

from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.localize.encoder import Precision
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.records import Fix
from vloc_ros.messages import header, pose_with_covariance

RATE_HZ, PATIENCE_S = 5.0, 60.0
SHOWN = (
    ('median_ms', 'jpeg to pose, median', '{:.1f} ms'),
    ('p99_ms', '99 %', '{:.1f} ms'),
    ('sift_median_ms', 'SIFT, median', '{:.1f} ms'),
    ('sift_p99_ms', '99 %', '{:.1f} ms'),
    ('times_faster', 'faster', '{:.1f} times'),
    ('recall_5cm_5deg', 'within 5 cm, 5 deg', '{:.1%}'),
    ('median_cm', 'median error', '{:.2f} cm'),
    ('false_accepts', 'wrong accepts', '{:.0f}'),
    ('first_pose_s', 'node: start to first pose', '{:.2f} s'),
    ('rss_mb', 'node: memory', '{:.0f} MB'),
    ('cpu_percent', f'node: of one core, at {RATE_HZ:g} Hz', '{:.0f} %'),
)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    map_bag: tyro.conf.Positional[Path | None] = None
    """The recording that the peer builds its map from, and ours was made from."""
    query_bag: tyro.conf.Positional[Path | None] = None
    """The recording that is located, with true poses."""
    map: Path | None = None
    """Our map, as "vloc map" made it."""
    peer: Path | None = None
    """The peer's script, sift_localizer.py."""
    json: Path | None = None
    """Where the figures go."""
    every: int = 1
    """Ask every n-th query."""
    threads: int = 0
    """Of OpenCV and of ONNX Runtime; 0: as many as each likes."""
    precision: Precision = 'float32'
    """Of our encoder, here and in the node."""
    seconds: float = 20.0
    """For which the node is watched."""


class Published(Ours):
    """Ours, up to the bytes that go on the wire."""

    def __call__(self, jpeg: Any) -> Fix:
        """What our localizer says to one picture."""
        fix = super().__call__(jpeg)
        if fix.estimate is not None:
            serialize_message(pose_with_covariance(header(fix.stamp_ns, 'map'), fix.estimate))
        return fix


def main(options: Options) -> None:
    """Measure and print."""
    script = named(options.peer, PEER)
    map_bag, query_bag = named(options.map_bag, MAP_BAG), named(options.query_bag, QUERY_BAG)
    folder = named_map(options.map, options.json)
    if options.every < 1 or options.threads < 0 or options.seconds <= 0:
        raise VlocError('--every, --threads or --seconds makes no sense', 'give more')
    if options.threads:
        cv2.setNumThreads(options.threads)
    peer = load_peer(script)
    localizer = Localizer.load(
        folder, LocalizerConfig(threads=options.threads, precision=options.precision)
    )
    ours = Published(localizer, *camera_of(query_bag, peer.COLOR))
    rival, _ = rival_of(peer, Recorded.of(peer, map_bag))
    queries = Recorded.of(peer, query_bag).every(options.every)
    of_ours, of_peer = ask_both(ours, rival, queries).figures(ours)
    live_options = live.Options(query_bag, folder, options.precision)
    told = beside(of_ours, of_peer) | of_node(live_options, options.seconds)
    save(told, options.json)
    Console().print(table(told))


def beside(ours: Figures, peer: Figures) -> Figures:
    """The figures of both under their names here."""
    told = {
        'median_ms': ours['ms_per_query_median'],
        'p99_ms': ours['ms_per_query_p99'],
        'sift_median_ms': peer['ms_per_query_median'],
        'sift_p99_ms': peer['ms_per_query_p99'],
        'sift_recall_5cm_5deg': peer['recall_5cm_5deg'],
    }
    assert told['median_ms']
    assert told['sift_median_ms']
    told['times_faster'] = told['sift_median_ms'] / told['median_ms']
    return told | {k: ours[k] for k in ('recall_5cm_5deg', 'median_cm', 'false_accepts')}


def of_node(options: live.Options, seconds: float) -> Figures:
    """What the node needs: seconds to its first pose, memory, share of a core."""
    with _listening() as (node, wire):
        with BagReader(options.bag, BagOptions(poses='none', odom='none')) as reader:
            feeder = live.Feeder(node, reader)
        began = time.time()
        process = live.start(options, feeder)
        try:
            first_s = _first_pose_s(feeder, wire, began)
            row = live.measure(feeder, wire, process.pid, RATE_HZ, seconds)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    return {'first_pose_s': first_s, 'rss_mb': row.memory_mb, 'cpu_percent': row.cpu_percent}


@contextmanager
def _listening() -> Iterator[tuple[Node, live.Wire]]:
    """A node that hears what the localizer says."""
    rclpy.init()
    node, wire, executor = Node('bench'), live.Wire(), SingleThreadedExecutor()
    node.create_subscription(PoseWithCovarianceStamped, f'{live.NODE}/pose_raw', wire.pose, 100)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    try:
        yield node, wire
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.shutdown()


def _first_pose_s(feeder: live.Feeder, wire: live.Wire, began: float) -> float:
    while not wire.latency:
        if time.time() - began > PATIENCE_S:
            fix = 'see its words above; is the map of this place?'
            raise VlocError('the node tells no pose', fix)
        feeder.run(RATE_HZ, 1 / RATE_HZ, drain_s=0.0)
    sent_ns, ms = next(iter(wire.latency.items()))
    return sent_ns / 1e9 + ms / 1e3 - began


def table(told: Figures) -> Table:
    """A row a figure."""
    shown = Table(box=None, pad_edge=False, show_header=False)
    for key, name, form in SHOWN:
        value = told.get(key)
        shown.add_row(name, '-' if value is None or np.isnan(value) else form.format(value))
    return shown


if __name__ == '__main__':
    sys.exit(run(lambda: main(tyro.cli(Options, description=__doc__))))
