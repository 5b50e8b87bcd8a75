"""A map is made, a recording is played onto real ROS 2 topics, and the node finds the robot.

What it says is shown as it comes, compared with the truth, and put into a report.
"""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
import tyro
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseWithCovarianceStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from tf2_msgs.msg import TFMessage

from vloc_models.commands.evaluation_report import Result, figures, write_report
from vloc_models.errors import VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.replay import Replay
from vloc_models.maps import Map
from vloc_models.metrics import trajectory
from vloc_models.records import Array, Fix, PoseEstimate, Trajectory, Verdict
from vloc_ros.messages import stamp_ns

NODE = 'vloc_localizer'
ROWS = 12  # of the live table
SPLIT = 0.6  # of a single recording: the first part is mapped, the rest is played
console = Console(soft_wrap=True, highlight=False)


@dataclass(frozen=True)
class Demo:
    """A synthetic house by default; or your own recordings.

    With ``bag`` alone, its first part is mapped and the rest is played.
    """

    bag: Path | None = None
    """The recording to be played, with true poses."""
    map_bag: Path | None = None
    """The recording the map is made of, with poses."""
    out: Path = Path('.demo')
    """Where everything is kept; what is there already is not made again."""
    rate: float = 1.0
    """Play this much faster than recorded."""
    domain: int = 42
    """ROS_DOMAIN_ID; on this machine alone."""


@dataclass(frozen=True)
class Play:
    """A recording, and the part of it that is played."""

    bag: Path
    start_s: float = 0.0

    def open(self) -> BagReader:
        """With the truth."""
        options = BagOptions(poses='truth', odom='none', start_s=self.start_s)
        return BagReader(self.bag, options)


@dataclass
class Heard:
    """What the node has said so far."""

    truth: Trajectory  # T_map_base
    statuses: dict[int, dict[str, str]] = field(default_factory=dict)  # by stamp
    words: dict[int, str] = field(default_factory=dict)
    poses: dict[int, PoseEstimate] = field(default_factory=dict)
    last: deque[int] = field(default_factory=lambda: deque(maxlen=ROWS))
    transforms: int = 0
    skipped: str = '0'
    idle: str = ''

    def status(self, msg: DiagnosticArray) -> None:
        """Take ~/status."""
        one = msg.status[0]
        values = {pair.key: pair.value for pair in one.values}
        self.skipped = values.get('skipped', '0')
        if 'solve_ms' not in values:
            self.idle = one.message
            return
        stamp = stamp_ns(msg.header.stamp)
        self.statuses[stamp], self.words[stamp], self.idle = values, one.message, ''
        self.last.append(stamp)

    def pose(self, msg: PoseWithCovarianceStamped) -> None:
        """Take ~/pose_raw."""
        p, q = msg.pose.pose.position, msg.pose.pose.orientation
        T = se3.from_quat_xyzw([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
        covariance = np.array(msg.pose.covariance).reshape(6, 6)
        self.poses[stamp_ns(msg.header.stamp)] = PoseEstimate(T, covariance, 0, 0, 0, 0)

    def tf(self, msg: TFMessage) -> None:
        """Count map -> odom."""
        self.transforms += sum(t.child_frame_id == 'odom' for t in msg.transforms)

    def error(self, stamp: int) -> str:
        """How far off an answer is."""
        true, found = self.truth.at(stamp, 10**8), self.poses.get(stamp)
        if true is None or found is None:
            return ''
        off_m, off_deg = trajectory.pose_errors(true[None], found.T_map_base[None])
        return f'{off_m[0] * 100:.1f} cm, {off_deg[0]:.1f} deg'

    def fixes(self) -> Iterator[Fix]:
        """All answers, by their stamps."""
        for stamp, values in sorted(self.statuses.items()):
            found = self.poses.get(stamp)
            if found is not None:
                numbers = (
                    float(values[k]) for k in ('inlier_ratio', 'coverage', 'reprojection_px')
                )
                T, covariance = found.T_map_base, found.covariance
                found = PoseEstimate(T, covariance, int(values['inliers']), *numbers)
            yield Fix(stamp, Verdict(values['verdict']), self.words[stamp], found)


def main() -> int:
    """Run the demo; returns the exit code."""
    demo = tyro.cli(Demo, description=__doc__)
    os.environ.update(ROS_DOMAIN_ID=str(demo.domain), ROS_AUTOMATIC_DISCOVERY_RANGE='LOCALHOST')
    try:
        return run(demo)
    except VlocError as e:
        console.print(f'[bold red]demo:[/] {e.what}; [bold]{e.fix}[/]')
        return 2
    except subprocess.CalledProcessError as e:
        return e.returncode
    except KeyboardInterrupt:
        console.print('demo: interrupted; "make demo" goes on where it was')
        return 130


def run(demo: Demo) -> int:
    """Record, map, play, report."""
    began = time.monotonic()
    demo.out.mkdir(parents=True, exist_ok=True)
    site, play = prepare(demo)
    console.rule('[bold]3. The node on real topics')
    heard = Heard(play.open().trajectory())
    if not len(heard.truth):
        raise VlocError(f'{play.bag}: no true poses', 'give a recording with a ground truth')
    with processes(demo, site, play, demo.out / 'node.log') as (node, player):
        listen(heard, node, player)
    console.rule('[bold]4. How right it was')
    report(demo, site, play, heard)
    console.print(f'in all {(time.monotonic() - began) / 60:.1f} minutes')
    return 0 if heard.poses else 2


def prepare(demo: Demo) -> tuple[Path, Play]:
    """The map, and what to play."""
    console.rule('[bold]1. Recordings')
    site, cut, small = demo.out / 'site', (), ()
    if demo.bag is None:
        mapping, play = synthetic(demo.out)
        small = ('--training.loop.steps', '1500', '--buffer.cells', '600000')  # soon learned
    else:
        mapping, play = demo.map_bag or demo.bag, Play(demo.bag)
        site = demo.out / f'site_{mapping.resolve().name}'
        if demo.map_bag is None:
            length_s = SPLIT * BagReader(demo.bag).recording.duration_s
            cut, play = ('--duration-s', f'{length_s:.3f}'), Play(demo.bag, length_s)
        console.print(f'mapped: {mapping}; played: {play.bag} from {play.start_s:.0f} s on')
    console.rule('[bold]2. The map')
    if (site / 'map.yaml').exists():
        console.print(f'{site} is there already')
    else:
        vloc('map', str(mapping), '-o', str(site), *cut, *small)
    return site, play


def synthetic(out: Path) -> tuple[Path, Play]:
    """A mapping drive and another one through a small house that nobody has tuned on."""
    drives = {
        'mapping_drive': ('--drive.rate-hz', '4'),
        'query_drive': ('--drive.kind', 'query'),
    }
    for name, options in drives.items():
        if (out / name).exists():
            console.print(f'{out / name} is there already')
            continue
        house = ('--world.seed', '3', '--world.rooms', '1')
        vloc('synth', str(out / name), *house, *options)
    return out / 'mapping_drive', Play(out / 'query_drive')


def vloc(*words: str) -> None:
    """A command of ours, as a user would type it."""
    console.print(f'[dim]$ vloc {" ".join(words)}[/]')
    subprocess.run([sys.executable, '-m', 'vloc_models.commands.main', *words], check=True)


@contextmanager
def processes(demo: Demo, site: Path, play: Play, log: Path) -> Iterator[tuple[Any, Any]]:
    """The node and the player, as processes of their own; both end with us."""
    with play.open() as reader:
        view = reader.views[0]
    transport = 'compressed' if view.image.endswith('/compressed') else 'raw'
    node = [
        *('-p', f'map:={site}', '-p', 'use_sim_time:=true', '-p', f'image_transport:={transport}'),
        *('-r', f'image:={view.image}', '-r', f'camera_info:={view.info}'),
    ]
    player = [
        *('-p', f'bag:={play.bag}', '-p', f'rate:={demo.rate}', '-p', f'start_s:={play.start_s}'),
        *('-p', 'without_transforms:=map->odom', '-p', 'wait_s:=30.0'),
    ]
    started = []
    with log.open('w') as out:
        for module, words in (('localizer_node', node), ('bag_player_node', player)):
            command = [sys.executable, '-m', f'vloc_ros.{module}', '--ros-args', *words]
            console.print(f'[dim]$ {" ".join(["ros2 run vloc_ros", module, *command[3:]])}[/]')
            started.append(subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT))
        try:
            yield started[0], started[1]
        finally:
            for process in started:
                process.send_signal(2)  # SIGINT, as Ctrl-C
            end = time.monotonic() + 20
            while any(process.poll() is None for process in started) and time.monotonic() < end:
                time.sleep(0.1)
            for process in started:
                process.kill()  # does nothing to those that have ended


def listen(heard: Heard, node: Any, player: Any) -> None:
    """Show what the node says until the recording has ended."""
    rclpy.init()
    listener = Node('demo')
    for kind, topic, take in (
        (DiagnosticArray, f'{NODE}/status', heard.status),
        (PoseWithCovarianceStamped, f'{NODE}/pose_raw', heard.pose),
        (TFMessage, '/tf', heard.tf),
    ):
        listener.create_subscription(kind, topic, take, QoSProfile(depth=200))
    executor = SingleThreadedExecutor()
    executor.add_node(listener)
    until = None
    try:
        with Live(console=console, refresh_per_second=4, transient=False) as live:
            while until is None or time.monotonic() < until:
                executor.spin_once(timeout_sec=0.1)
                if console.is_terminal:
                    live.update(shown(heard))
                if node.poll() is not None:
                    raise VlocError('the node has ended', 'see node.log')
                if until is None and player.poll() is not None:
                    until = time.monotonic() + 2.0  # for the last frames
            live.update(shown(heard))
    finally:
        listener.destroy_node()
        rclpy.shutdown()


def shown(heard: Heard) -> Group:
    """The live table."""
    table = Table(box=None, pad_edge=False)
    for name in ('time', 'verdict', 'x, y (m)', 'error', 'inliers', 'took', 'why'):
        table.add_column(name, justify='left' if name in ('verdict', 'why') else 'right')
    for stamp in heard.last:
        values, found = heard.statuses[stamp], heard.poses.get(stamp)
        good = values['verdict'] == Verdict.ACCEPTED.value
        table.add_row(
            f'{stamp / 1e9 % 1000:.2f} s',
            Text(values['verdict'], 'green' if good else 'red'),
            place(found.T_map_base) if found else '',
            heard.error(stamp),
            values['inliers'],
            f'{float(values["solve_ms"]):.0f} ms',
            '' if good else heard.words[stamp],
        )
    accepted = sum(v['verdict'] == Verdict.ACCEPTED.value for v in heard.statuses.values())
    words = f'{len(heard.statuses)} frames solved, {accepted} accepted, {heard.skipped} skipped; '
    words += f'map -> odom published {heard.transforms} times'
    return Group(table, Text(words + (f'; {heard.idle}' if heard.idle else ''), 'bold'))


def place(T_map_base: Array) -> str:
    """Where, in words."""
    x, y = T_map_base[:2, 3]
    return f'{x:.2f}, {y:.2f}'


def report(demo: Demo, site: Path, play: Play, heard: Heard) -> None:
    """The figures of what was heard, and the report."""
    fixes = tuple(heard.fixes())
    stamps = np.array([fix.stamp_ns for fix in fixes], np.int64)
    ms = np.array([float(heard.statuses[s]['solve_ms']) for s in stamps.tolist()])
    known = [(s, T) for s in stamps.tolist() if (T := heard.truth.at(s, 10**8)) is not None]
    truth = Trajectory.of([s for s, _ in known], [T for _, T in known])
    done = Replay(stamps, fixes, ms, truth)
    localizer = Localizer.load(site)
    with play.open() as source:
        T_base_cam = source.cameras[0].T_base_cam
        seen, said = truth.moved(T_base_cam), done.estimates().moved(T_base_cam)
        folder = Map(site, localizer.info)
        made_s = localizer.info.provenance.self_test.get('map_seconds')
        result = Result(
            done, trajectory.score(seen, said), seen, said, folder.size_bytes(), made_s
        )
        table = Table(box=None, pad_edge=False, show_header=False)
        for row in figures(result):
            table.add_row(row[0], Text(row[1], 'bold'))
        console.print(table)
        page = demo.out / 'report.html'
        write_report(page, (play.bag, site), localizer, source, result, 6)
    console.print(f'report, with plots and the worst frames: [bold]{page.resolve()}[/]')
    console.print(f'what the node logged: {(demo.out / "node.log").resolve()}')


if __name__ == '__main__':
    sys.exit(main())
