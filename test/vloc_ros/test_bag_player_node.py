"""A recording onto topics, and through the node: the same poses as without ROS."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from rclpy.context import Context
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage

from vloc_models.frames.source import open_source
from vloc_models.frames.write_bag import WriteOptions, write_bag
from vloc_models.localize.localizer import Localizer
from vloc_models.localize.replay import replay
from vloc_ros.messages import stamp_ns

# DDS on a machine that is busy with other tests may find a topic or service late, or never
pytestmark = pytest.mark.flaky(reruns=2, only_rerun=['not within', 'is not served'])

IMAGE = '/camera/color/image_raw'
REMAPPED = ['-r', f'image:={IMAGE}', '-r', 'camera_info:=/camera/color/camera_info']


@pytest.fixture(scope='session')
def bag(gallery: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2.2 s at 5 Hz, with map -> odom as a mapping run has it."""
    path = tmp_path_factory.mktemp('played') / 'bag'
    write_bag(path, type(gallery)(11).frames(), WriteOptions(map_tf=True))
    return path


def play(robot: Any, bag: Path | str, *words: str) -> 'subprocess.Popen[str]':
    return robot.run('bag_player_node', '-p', f'bag:={bag}', *words)


def ended(process: 'subprocess.Popen[str]') -> str:
    out, errors = process.communicate(timeout=60)
    assert 'Traceback' not in errors + out
    return f'{process.returncode} {errors}'


def hear(robot: Any) -> None:
    robot.node.create_subscription(Clock, '/clock', robot.heard['clock'].append, 1000)
    robot.node.create_subscription(
        CompressedImage, f'{IMAGE}/compressed', robot.heard['image'].append, 100
    )


def test_the_node_gives_the_poses_of_vloc_locate(
    robot: Any, ros: Any, bag: Path, tiny_site: Path
) -> None:
    with open_source(bag) as source:
        alone = replay(Localizer.load(tiny_site), source).estimates()
    robot.localizer(
        tiny_site,
        use_sim_time=True,
        image_transport='compressed',
        image_reliability='reliable',
        use_prior=False,  # each image on its own, as there
        arguments=REMAPPED,
    )
    robot.until(lambda: robot.node.count_publishers('vloc_localizer/pose_raw'), 'pose_raw')
    robot.wait(1.0)  # it has to know of us, too, or the first pose is not for us
    player = play(robot, bag, '-p', 'without_transforms:=map->odom')
    robot.until(lambda: len(robot.heard['pose_raw']) == len(alone), 'all poses', 60)
    assert ended(player).startswith('0')
    told = {stamp_ns(m.header.stamp): ros.matrix(m.pose.pose) for m in robot.heard['pose_raw']}
    assert sorted(told) == alone.stamps_ns.tolist()
    for stamp, T in zip(alone.stamps_ns.tolist(), alone.T_map_body, strict=True):
        np.testing.assert_allclose(told[stamp], T, atol=1e-9)


def test_the_clock_leads_and_the_messages_follow(robot: Any, bag: Path) -> None:
    hear(robot)
    player = play(robot, bag, '-p', 'rate:=4.0')
    robot.until(lambda: len(robot.heard['image']) == 11, 'all images', 60)
    assert ended(player).startswith('0')
    clock = [stamp_ns(m.clock) for m in robot.heard['clock']]
    assert clock == sorted(set(clock))
    assert np.diff(clock).max() < 2e8
    stamps = [stamp_ns(m.header.stamp) for m in robot.heard['image']]
    assert stamps == sorted(stamps)
    assert clock[0] == stamps[0] == 10**18
    transforms = [t for m in robot.heard['/tf'] for t in m.transforms]
    assert {t.child_frame_id for t in transforms} == {'odom', 'base_link'}


def test_a_loop_a_part_and_a_choice_of_topics(robot: Any, bag: Path) -> None:
    hear(robot)
    words = ['-p', 'loop:=true', '-p', 'start_s:=0.5', '-p', 'duration_s:=1.0', '-p', 'rate:=5.0']
    player = play(robot, bag, *words, '-p', f'topics:=["{IMAGE}/compressed"]')
    robot.until(lambda: len(robot.heard['image']) >= 12, 'several rounds', 60)
    player.send_signal(2)
    assert ended(player).startswith('0')
    stamps = [stamp_ns(m.header.stamp) - 10**18 for m in robot.heard['image']]
    assert set(stamps) == {600_000_000, 800_000_000, 10**9, 1_200_000_000, 1_400_000_000}
    assert stamps[5] == stamps[0]
    assert not robot.heard['/tf']


def test_unwanted_transforms_are_left_out(robot: Any, bag: Path) -> None:
    hear(robot)
    player = play(robot, bag, '-p', 'rate:=4.0', '-p', 'without_transforms:=map->odom')
    robot.until(lambda: len(robot.heard['image']) == 11, 'all images', 60)
    assert ended(player).startswith('0')
    children = {t.child_frame_id for m in robot.heard['/tf'] for t in m.transforms}
    assert children == {'base_link'}


def test_a_damaged_transform_is_left_out(robot: Any, tmp_path: Path) -> None:
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.LATEST)
    with Writer(tmp_path / 'bad', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        topic = writer.add_connection('/tf', 'tf2_msgs/msg/TFMessage', typestore=store)
        writer.write(topic, 10**18, b'\0\1\0\0\xff\xff\xff\x7f')
        writer.write(topic, 10**18 + 1, b'\0\1\0\0\0\0\0\0')
    words = ['-p', 'wait_s:=0.0', '-p', 'without_transforms:=map->odom']
    said = ended(play(robot, tmp_path / 'bad', *words))
    assert said.startswith('0')
    assert 'a damaged message' in said
    assert 'the end: 1 messages' in said


def test_it_does_not_wait_for_ever(robot: Any, bag: Path) -> None:
    assert 'nobody listens' in ended(play(robot, bag, '-p', 'rate:=50.0', '-p', 'wait_s:=0.2'))


@pytest.mark.parametrize(
    ('words', 'told'),
    [
        (['bag:=/nowhere'], 'no such bag'),
        (['bag:=""'], 'parameter bag is empty'),
        (['topics:=/x'], 'no topic /x'),
        (['without_transforms:=odom'], 'write parent->child'),
        (['start_s:=100.0', '-p', 'wait_s:=0.0'], 'nothing to play'),
        (['rate:=0.0'], 'from 0.01 to 100'),
    ],
)
def test_what_cannot_be_played_is_one_line(
    robot: Any, bag: Path, words: list[str], told: str
) -> None:
    said = ended(play(robot, bag, '-p', *words))
    assert said.startswith('2')
    assert told in said


def test_a_bag_that_is_cut_off(robot: Any, bag: Path, tmp_path: Path) -> None:
    file = next(bag.glob('*.mcap'))
    cut = tmp_path / 'cut.mcap'
    cut.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    said = ended(play(robot, cut))
    assert said.startswith('2')
    assert 'mcap recover' in said


def test_nothing_is_kept_of_a_context(robot: Any) -> None:
    """A node whose making fails can be tried again in the same process."""
    import rclpy

    from vloc_models.errors import BagError
    from vloc_ros.bag_player_node import BagPlayerNode

    context = Context()
    rclpy.init(context=context, domain_id=robot.node.context.get_domain_id())
    for _ in range(2):
        with pytest.raises(BagError, match='parameter bag is empty'):
            BagPlayerNode(context=context)
    context.try_shutdown()
