"""Where poses come from: TF, topics, odometry, TUM files."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.survey import survey

S = 10**9


def close(actual: Any, expected: Any, **tolerance: Any) -> None:
    np.testing.assert_allclose(actual, expected, **tolerance)


def poses_only(kit: Any, make: Callable[[Any, int, Any, Any], Any], topic: str) -> Path:
    """The good bag with TF and truth replaced by one topic of poses."""
    b = kit.Builder()
    messages = kit.without(kit.standard(), '/tf', '/odom', '/ground_truth/pose')
    for i in range(8):
        t = kit.START + i * kit.STEP
        messages.append(kit.Msg(topic, t, make(b, t, *kit.truth(i))))
    return kit.write(messages)


def test_pose_with_covariance_in_the_map(kit: Any) -> None:
    path = poses_only(kit, lambda b, t, p, q: b.pose_with_covariance(t, 'map', p, q), '/slam')
    reader = BagReader(path)
    assert reader.poses_source.startswith(
        '/slam (PoseWithCovarianceStamped, taken as the pose of base_link'
    )
    close(reader.trajectory().T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-12)
    assert reader.odometry_source is None
    assert next(reader.frames()).T_odom_base is None


def test_odometry_in_the_map(kit: Any) -> None:
    path = poses_only(kit, lambda b, t, p, q: b.odometry(t, 'map', 'base_link', p, q), '/lio')
    reader = BagReader(path)
    assert '/lio (Odometry' in reader.poses_source
    assert not any('bent' in note for note in reader.notes)


def test_plain_odometry_comes_last_and_is_told(kit: Any) -> None:
    path = poses_only(kit, lambda b, t, p, q: b.odometry(t, 'odom', 'base_link', p, q), '/odom')
    reader = BagReader(path)
    assert len(reader.trajectory()) == 8
    assert any('drifts: the map will be bent' in note for note in reader.notes)
    with pytest.raises(BagError, match='no poses'):
        BagReader(path, BagOptions(poses='truth')).trajectory()


def test_pose_of_the_camera_is_carried_to_the_base(kit: Any) -> None:
    T_base_cam = kit.matrix((0.2, 0, 0.5), (-0.5, 0.5, -0.5, 0.5))

    def make(b: Any, t: int, p: Any, q: Any) -> Any:
        T = kit.matrix(p, q) @ T_base_cam
        return b.pose_stamped(t, 'map', T[:3, 3], Rotation.from_matrix(T[:3, :3]).as_quat())

    reader = BagReader(poses_only(kit, make, '/camera_pose'))
    assert 'by its name the pose of camera' in reader.poses_source
    close(reader.trajectory().T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-9)
    path = poses_only_named(kit, make)
    reader = BagReader(path, BagOptions(pose_frame='camera'))
    close(reader.trajectory().T_map_body[3], kit.matrix(*kit.truth(3)), atol=1e-9)


def poses_only_named(kit: Any, make: Callable[[Any, int, Any, Any], Any]) -> Path:
    kit.folder = kit.folder / 'second'
    return poses_only(kit, make, '/pose')


def test_truth_before_tf_when_asked_and_both_agree(kit: Any) -> None:
    path = kit.write(kit.standard())
    tf, truth = (BagReader(path, BagOptions(poses=p)) for p in ('tf', 'truth'))
    assert truth.poses_source.startswith('/ground_truth/pose')
    close(tf.trajectory().T_map_body, truth.trajectory().T_map_body, atol=1e-12)
    named = BagReader(path, BagOptions(poses='/ground_truth/pose'))
    assert named.poses_source == truth.poses_source
    none = BagReader(path, BagOptions(poses='none', odom='none'))
    frame = next(none.frames())
    assert frame.T_map_base is None
    assert frame.T_odom_base is None
    assert len(none.trajectory()) == len(none.odometry()) == 0


def test_poses_are_interpolated_at_the_image_stamp(kit: Any) -> None:
    messages = kit.standard()
    for m in messages:
        if m.topic == '/cam/image_raw':
            m.body.header.stamp.nanosec += kit.STEP // 4
    reader = BagReader(kit.write(messages), BagOptions(sync_s=0.05))
    frames = list(reader.frames())
    close(frames[2].T_map_base, kit.matrix(*kit.truth(2.25)), atol=1e-9)
    assert frames[-1].T_map_base is None  # after the last transform
    assert frames[2].views[0].depth is not None
    assert '1 of 8 frames are without a pose' in reader.notes
    assert len(reader.trajectory()) == 7


def with_corrections(kit: Any, stamps: Sequence[int], n: int = 60) -> Path:
    """A bag with odom->base_link at 10 Hz and map->odom at some stamps alone."""
    b, out = kit.Builder(), kit.without(kit.standard(n), '/tf', '/odom', '/ground_truth/pose')
    for i in range(n):
        t, (p, q) = kit.START + i * kit.STEP, kit.truth(i)
        out.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'odom', 'base_link', p - [0, 1, 0], q))))
    for t in stamps:
        out.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'map', 'odom', (0, 1, 0)))))
    return kit.write(out)


@pytest.mark.parametrize(
    ('period_s', 'ahead_s', 'first'), [(0.02, 1.0, 10), (0.5, 0, 0), (1, 0, 0), (1, 0.57, 6)]
)
def test_slam_corrects_seldom_and_ahead(
    kit: Any, period_s: float, ahead_s: float, first: int
) -> None:
    start, end = kit.START + round(ahead_s * S), kit.START + 60 * kit.STEP + round(ahead_s * S)
    reader = BagReader(with_corrections(kit, range(start, end + 1, round(period_s * S))))
    poses = reader.trajectory()
    assert reader.poses_source == 'TF map->base_link'
    assert len(poses) == 60 - first
    close(poses.T_map_body, [kit.matrix(*kit.truth(i)) for i in range(first, 60)], atol=1e-9)


def test_a_correction_that_came_once_is_held_and_told(kit: Any) -> None:
    reader = BagReader(with_corrections(kit, [kit.START + 3 * kit.STEP]))
    assert len(reader.trajectory()) == 60
    assert reader.poses_source == 'TF map->base_link (map->odom came once and is held)'


def test_corrections_that_end_give_no_poses(kit: Any) -> None:
    stamps = [kit.START + s * S for s in (0, 1, 9)]  # 8 s without: SLAM hung, odometry went on
    poses = BagReader(with_corrections(kit, stamps, 95)).trajectory()
    assert ((poses.stamps_ns - kit.START) // kit.STEP).tolist() == [*range(11), 90]


def test_odometry_below_the_base_is_no_correction(kit: Any) -> None:
    b, out = kit.Builder(), kit.without(kit.standard(30), '/tf', '/odom', '/ground_truth/pose')
    for i in range(30):
        t, (p, q) = kit.START + i * kit.STEP, kit.truth(i)
        out.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'base_link', 'odom', -p))))
        if i % 10 == 0:
            out.append(kit.Msg('/tf', t, b.tf(b.edge(t, 'map', 'base_link', p, q))))
    assert len(BagReader(kit.write(out), BagOptions(poses='tf')).trajectory()) == 3


def test_images_of_another_clock_are_told(kit: Any) -> None:
    messages = kit.standard()
    for m in messages:
        if m.topic.startswith('/cam'):
            m.body.header.stamp.sec -= 1_600_000_000  # a driver that counts from its start
    with pytest.raises(BagError, match=r'before the first at .* s.*one clock'):
        BagReader(kit.write(messages)).trajectory()


def test_a_goal_is_not_where_the_robot_is(kit: Any) -> None:
    b, out = kit.Builder(), kit.without(kit.standard(), '/tf', '/ground_truth/pose')
    for i in range(8):
        t = kit.START + i * kit.STEP
        goal = b.pose_stamped(t, 'map', (5, 5, 0), (0, 0, 0, 1))
        out.append(kit.Msg('/goal_pose', t, goal))
    path = kit.write(out)
    assert BagReader(path).poses_source.startswith('/odom')
    assert BagReader(path, BagOptions(poses='/goal_pose')).poses_source.startswith('/goal_pose')


def test_tum_file(kit: Any) -> None:
    path = kit.write(kit.standard())
    lines = ['# a remark', '']
    for i in range(8):
        p, q = kit.truth(i)
        stamp = kit.START + i * kit.STEP
        row = ' '.join(repr(float(x)) for x in [*p, *q])
        lines.append(f'{stamp // S}.{stamp % S:09d} {row}  # {i}')
    tum = kit.folder / 'poses.txt'
    tum.write_text('\n'.join(lines))
    reader = BagReader(path, BagOptions(poses=str(tum)))
    kit.check_standard(list(reader.frames()))
    assert reader.poses_source == 'poses.txt (TUM, the pose of base_link)'


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('\n1 2 3', r'poses.txt:2: 3 numbers, not 8'),
        ('# nothing', r'no poses in it'),
    ],
)
def test_bad_tum_file(kit: Any, text: str, words: str) -> None:
    tum = kit.folder / 'poses.txt'
    tum.write_text(text)
    path = kit.write(kit.standard())
    options = BagOptions(poses=str(tum))
    with pytest.raises(VlocError, match=words):
        BagReader(path, options).trajectory()
    (problem,) = (p for p in survey(path, options).problems if p.fatal)
    assert re.search(words, problem.what)


def test_odometry_at_its_own_rate(kit: Any) -> None:
    b, messages = kit.Builder(), kit.without(kit.standard(), '/odom', '/tf')
    for i in range(80):
        t = kit.START + i * kit.STEP // 10
        messages.append(
            kit.Msg('/odom', t, b.odometry(t, 'odom', 'base_link', *kit.truth(i / 10)))
        )
    reader = BagReader(kit.write(messages))
    assert len(reader.odometry()) == 80
    close(reader.odometry().T_map_body[15], kit.matrix(*kit.truth(1.5)), atol=1e-12)
    tf = BagReader(kit.write(kit.without(kit.standard(), '/odom'), 'tf'))
    assert tf.odom_source == 'TF odom->base_link'
    assert len(tf.odometry()) == 8
