"""A recording through the live node and through ``vloc locate``: are the poses the same?

    python bench/replay.py RECORDING --map MAP --json replay.json

The node and the bag player are processes of their own, on real topics; every image is solved. The
poses on ~/pose_raw are compared with what the localizer says of the same frames without ROS.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

os.environ.setdefault('ROS_DOMAIN_ID', '45')
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')

import numpy as np
import rclpy
import tyro
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.replay import replay
from vloc_models.records import Array, Trajectory
from vloc_ros.messages import stamp_ns

PATIENCE_S = 20.0  # with nothing new


@dataclass(frozen=True)
class Options:
    """What is compared."""

    bag: tyro.conf.Positional[Path]
    """A recording."""
    map_folder: Annotated[Path, tyro.conf.arg(name='map')]
    """A map of its place."""
    rate: float = 0.5
    """Play this much faster than recorded."""
    json_file: Annotated[Path | None, tyro.conf.arg(name='json')] = None
    """Write the figures to this file."""


def alone(options: Options) -> tuple[Trajectory, str, str]:
    """The poses without ROS, and the topics of the images and of camera_info."""
    with BagReader(options.bag, BagOptions(poses='none', odom='none')) as reader:
        view = reader.views[0]
        done = replay(Localizer.load(options.map_folder), reader)
        return done.estimates(), view.image, view.info


def live(options: Options, image: str, info: str, count: int) -> dict[int, Array]:
    """The poses on ~/pose_raw, by stamp."""
    transport = 'compressed' if image.endswith('/compressed') else 'raw'
    node = ['-p', f'map:={options.map_folder}', '-p', f'image_transport:={transport}']
    node += ['-p', 'use_sim_time:=true', '-p', 'image_reliability:=reliable']
    node += ['-p', 'use_prior:=false']  # each image on its own, as without ROS
    node += ['-r', f'image:={image}', '-r', f'camera_info:={info}']
    player = ['-p', f'bag:={options.bag}', '-p', f'rate:={options.rate}', '-p', 'wait_s:=60.0']
    player += ['-p', 'without_transforms:=map->odom']
    found: dict[int, Array] = {}

    def heard(msg: PoseWithCovarianceStamped) -> None:
        p, q = msg.pose.pose.position, msg.pose.pose.orientation
        T = se3.from_quat_xyzw([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
        found[stamp_ns(msg.header.stamp)] = T

    rclpy.init()
    listener, executor = Node('bench'), SingleThreadedExecutor()
    listener.create_subscription(PoseWithCovarianceStamped, 'vloc_localizer/pose_raw', heard, 1000)
    executor.add_node(listener)
    processes = [start('localizer_node', node), start('bag_player_node', player)]
    last_s, before = time.monotonic(), 0
    try:
        while len(found) < count and time.monotonic() - last_s < PATIENCE_S:
            executor.spin_once(timeout_sec=0.1)
            if len(found) > before or processes[1].poll() is None:
                last_s, before = time.monotonic(), len(found)
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            process.wait(20)
        listener.destroy_node()
        rclpy.shutdown()
    return found


def start(module: str, words: list[str]) -> 'subprocess.Popen[bytes]':
    """A node of ours."""
    return subprocess.Popen([sys.executable, '-m', f'vloc_ros.{module}', '--ros-args', *words])


def main(options: Options) -> int:
    """Compare, print, write; the exit code is 0 where all poses are there and the same."""
    expected, image, info = alone(options)
    if not len(expected):
        raise VlocError(f'{options.bag}: nothing was solved without ROS', 'is it of this place?')
    found = live(options, image, info, len(expected))
    pairs = [
        np.abs(found[stamp] - T).max()
        for stamp, T in zip(expected.stamps_ns.tolist(), expected.T_map_body, strict=True)
        if stamp in found
    ]
    worst = float(max(pairs, default=np.nan))
    told = {'poses': len(expected), 'live': len(found), 'both': len(pairs), 'largest': worst}
    words = f'vloc locate {len(expected)} poses, the node {len(found)}, {len(pairs)} of both'
    print(f'{words}; largest difference of a matrix element {worst:.1e}')
    if options.json_file:
        options.json_file.write_text(json.dumps(told, indent=1) + '\n')
    return 0 if len(pairs) == len(expected) == len(found) and worst < 1e-9 else 1


if __name__ == '__main__':
    sys.exit(main(tyro.cli(Options, description=__doc__)))
