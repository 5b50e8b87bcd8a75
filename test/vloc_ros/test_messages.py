from array import array
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 here')

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import deserialize_message, serialize_message
from scipy.spatial.transform import Rotation

from vloc_models.geometry import se3
from vloc_models.records import Array, PoseEstimate
from vloc_ros import messages

HEAD = messages.header(1_700_000_000_123_456_789, 'map')


def through_ros(message: Any) -> Any:
    """What comes out of serialising: it fails for a message that is not well formed."""
    return deserialize_message(serialize_message(message), type(message))


def some(seed: int) -> Array:
    rng = np.random.default_rng(seed)
    turn = Rotation.from_quat(rng.normal(size=4)).as_matrix()
    return se3.transform(turn, rng.uniform(-100, 100, 3))


def estimate(T_map_base: Array, covariance: Array) -> PoseEstimate:
    return PoseEstimate(T_map_base, covariance, 100, 0.5, 0.75, 2.0)


def matrix(t: Any, q: Any) -> Array:
    out = np.eye(4)
    out[:3, :3] = Rotation.from_quat([q.x, q.y, q.z, q.w]).as_matrix()
    out[:3, 3] = t.x, t.y, t.z
    return out


@given(nanoseconds=st.integers(0, 2**31 * 10**9 - 1))
def test_stamps_come_back_to_the_nanosecond(nanoseconds: int) -> None:
    head = messages.header(nanoseconds, 'map')
    assert messages.stamp_ns(head.stamp) == nanoseconds
    assert head.frame_id == 'map'


@pytest.mark.parametrize('nanoseconds', [-1, -(10**9), -(10**18)])
def test_stamps_before_1970_become_zero(nanoseconds: int) -> None:
    assert messages.header(nanoseconds, '').stamp == Time()


@pytest.mark.parametrize('seed', range(20))
def test_poses_and_transforms_come_back(seed: int) -> None:
    T = some(seed)
    pose = through_ros(messages.pose(T))
    np.testing.assert_allclose(matrix(pose.position, pose.orientation), T, atol=1e-9)
    (one,) = through_ros(messages.transform(HEAD, 'odom', T)).transforms
    found = matrix(one.transform.translation, one.transform.rotation)
    np.testing.assert_allclose(found, T, atol=1e-9)
    assert (one.header, one.child_frame_id) == (HEAD, 'odom')


def test_a_quarter_turn_to_the_left_is_one_in_ros() -> None:
    q = messages.pose(se3.exp([0, 0, 0, 0, 0, np.pi / 2])).orientation
    np.testing.assert_allclose([q.x, q.y, q.z, q.w], [0, 0, np.sqrt(0.5), np.sqrt(0.5)])


def test_the_covariance_keeps_its_order() -> None:
    covariance = np.arange(36, dtype=np.float64).reshape(6, 6)
    told = through_ros(messages.pose_with_covariance(HEAD, estimate(some(0), covariance)))
    assert told.header == HEAD
    assert list(told.pose.covariance) == list(range(36))  # row by row: x, y, z, rot_x, ...
    found = matrix(told.pose.pose.position, told.pose.pose.orientation)
    np.testing.assert_allclose(found, some(0), atol=1e-9)


@pytest.mark.parametrize('seed', range(10))
def test_an_initial_pose_is_one_that_amcl_takes(seed: int) -> None:
    rng, T = np.random.default_rng(seed), some(seed)
    half = rng.normal(size=(6, 6))
    covariance = half @ half.T
    told = through_ros(messages.initial_pose(HEAD, estimate(T, covariance)))
    assert told.header == HEAD
    p, q = told.pose.pose.position, told.pose.pose.orientation
    assert (p.x, p.y, p.z) == (T[0, 3], T[1, 3], 0)
    assert (q.x, q.y) == (0, 0)
    assert np.hypot(q.z, q.w) == pytest.approx(1)
    yaw = np.arctan2(T[1, 0], T[0, 0])
    assert np.exp(1j * yaw) == pytest.approx(np.exp(2j * np.arctan2(q.z, q.w)))
    table = np.array(told.pose.covariance).reshape(6, 6)
    kept = np.diag(covariance)[[0, 1, 5]]
    assert (kept > 0.05**2).all()  # else the floor holds
    np.testing.assert_array_equal(table, np.diag([kept[0], kept[1], 0, 0, 0, kept[2]]))


def test_an_initial_pose_is_never_told_too_sure() -> None:
    sure = np.diag([1e-8, 0.01, 9, 9, 9, -1e-12])
    told = messages.initial_pose(HEAD, estimate(some(3), sure))
    table = np.array(told.pose.covariance).reshape(6, 6)
    np.testing.assert_allclose(np.diag(table), [0.05**2, 0.01, 0, 0, 0, 0.03**2])
    assert np.count_nonzero(table) == 3


def test_candidates_are_told_in_their_order() -> None:
    told = through_ros(messages.pose_array(HEAD, [estimate(some(k), np.eye(6)) for k in range(3)]))
    assert told.header == HEAD
    for k, pose in enumerate(told.poses):
        np.testing.assert_allclose(matrix(pose.position, pose.orientation), some(k), atol=1e-9)
    assert len(told.poses) == 3


@pytest.mark.parametrize('count', [0, 1, 5])
def test_a_point_cloud_holds_its_points_bit_by_bit(count: int) -> None:
    points = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    cloud = messages.point_cloud(HEAD, points)
    assert isinstance(cloud.data, array)
    assert cloud.data.typecode == 'B'
    cloud = through_ros(cloud)
    assert bytes(cloud.data) == points.astype('<f4').tobytes()
    assert (cloud.header, cloud.width, cloud.height) == (HEAD, count, 1)
    assert (cloud.point_step, cloud.row_step) == (12, len(cloud.data))
    assert not cloud.is_bigendian
    fields = [(f.name, f.offset, f.datatype, f.count) for f in cloud.fields]
    assert fields == [('x', 0, 7, 1), ('y', 4, 7, 1), ('z', 8, 7, 1)]


def test_points_in_any_layout_of_memory_are_told_alike() -> None:
    points = np.arange(30, dtype=np.float64).reshape(10, 3)
    strange = np.asfortranarray(points)[::2]
    data = messages.point_cloud(HEAD, strange.astype(np.float32, order='F')).data
    np.testing.assert_array_equal(np.frombuffer(data, '<f4').reshape(-1, 3), points[::2])


def test_a_jpeg_is_told_as_it_is() -> None:
    told = messages.jpeg_image(HEAD, bytes(range(256)))
    assert isinstance(told.data, array)
    assert told.data.typecode == 'B'
    told = through_ros(told)
    assert (told.header, told.format) == (HEAD, 'jpeg')
    assert bytes(told.data) == bytes(range(256))


@pytest.mark.parametrize(
    ('level', 'number'),
    [
        ('ok', DiagnosticStatus.OK),
        ('warn', DiagnosticStatus.WARN),
        ('error', DiagnosticStatus.ERROR),
    ],
)
def test_diagnostics_tell_level_words_and_figures(level: str, number: Any) -> None:
    one = messages.status('vloc: camera', level, 'no image', {'received': 3, 'rate_hz': ''})
    told = through_ros(messages.diagnostics(HEAD, [one, one]))
    assert told.header == HEAD
    assert len(told.status) == 2
    status = told.status[0]
    assert (status.name, status.message, status.level) == ('vloc: camera', 'no image', number)
    assert [(pair.key, pair.value) for pair in status.values] == [
        ('received', '3'),
        ('rate_hz', ''),
    ]
