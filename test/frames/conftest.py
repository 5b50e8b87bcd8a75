"""Tiny bags for the tests of frames: a robot that drives along x and turns, seen by one camera."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag1 import Writer as Writer1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore
from scipy.spatial.transform import Rotation

from vloc_models.errors import BagError
from vloc_models.frames import pairs
from vloc_models.frames.bag import BagReader
from vloc_models.frames.options import BagOptions
from vloc_models.frames.survey import check_mapping, survey

S = 10**9
START = 1_700_000_000 * S
STEP = S // 10
SIZE = (32, 24)
OPTICAL = (0.5, -0.5, 0.5, -0.5)  # the negative of the usual one: the same rotation


@dataclass
class Msg:
    """One message of a bag to be written."""

    topic: str
    log_ns: int
    body: Any


@cache
def typestore(ros1: bool) -> Typestore:
    """The message types; rosbags' ROS 1 store lacks TF."""
    if not ros1:
        return get_typestore(Stores.ROS2_HUMBLE)
    store = get_typestore(Stores.ROS1_NOETIC)
    definition = 'geometry_msgs/TransformStamped[] transforms'
    store.register(get_types_from_msg(definition, 'tf2_msgs/msg/TFMessage'))
    return store


class Builder:
    """Makes messages of one typestore, ROS 2's or ROS 1's."""

    def __init__(self, ros1: bool = False) -> None:
        self.ros1 = ros1
        self.store = typestore(ros1)

    def make(self, kind: str, *fields: Any) -> Any:
        return self.store.types[kind](*fields)

    def header(self, stamp_ns: int, frame: str) -> Any:
        stamp = self.make('builtin_interfaces/msg/Time', *divmod(stamp_ns, S))
        sequence = (0,) if self.ros1 else ()
        return self.make('std_msgs/msg/Header', *sequence, stamp, frame)

    def quaternion(self, q: Iterable[float]) -> Any:
        return self.make('geometry_msgs/msg/Quaternion', *map(float, q))

    def edge(
        self,
        stamp_ns: int,
        parent: str,
        child: str,
        t: Iterable[float] = (0, 0, 0),
        q: Iterable[float] = (0, 0, 0, 1),
    ) -> Any:
        move = self.make('geometry_msgs/msg/Vector3', *map(float, t))
        body = self.make('geometry_msgs/msg/Transform', move, self.quaternion(q))
        header = self.header(stamp_ns, parent)
        return self.make('geometry_msgs/msg/TransformStamped', header, child, body)

    def tf(self, *edges: Any) -> Any:
        return self.make('tf2_msgs/msg/TFMessage', list(edges))

    def pose(self, t: Iterable[float], q: Iterable[float]) -> Any:
        point = self.make('geometry_msgs/msg/Point', *map(float, t))
        return self.make('geometry_msgs/msg/Pose', point, self.quaternion(q))

    def pose_stamped(
        self, stamp_ns: int, frame: str, t: Iterable[float], q: Iterable[float]
    ) -> Any:
        header = self.header(stamp_ns, frame)
        return self.make('geometry_msgs/msg/PoseStamped', header, self.pose(t, q))

    def pose_with_covariance(
        self, stamp_ns: int, frame: str, t: Iterable[float], q: Iterable[float]
    ) -> Any:
        body = self.make('geometry_msgs/msg/PoseWithCovariance', self.pose(t, q), np.zeros(36))
        header = self.header(stamp_ns, frame)
        return self.make('geometry_msgs/msg/PoseWithCovarianceStamped', header, body)

    def odometry(
        self, stamp_ns: int, frame: str, child: str, t: Iterable[float], q: Iterable[float]
    ) -> Any:
        zero = self.make('geometry_msgs/msg/Vector3', 0.0, 0.0, 0.0)
        twist = self.make('geometry_msgs/msg/Twist', zero, zero)
        twist = self.make('geometry_msgs/msg/TwistWithCovariance', twist, np.zeros(36))
        pose = self.make('geometry_msgs/msg/PoseWithCovariance', self.pose(t, q), np.zeros(36))
        header = self.header(stamp_ns, frame)
        return self.make('nav_msgs/msg/Odometry', header, child, pose, twist)

    def info(
        self,
        stamp_ns: int,
        frame: str = 'camera',
        size: tuple[int, int] = SIZE,
        f: float = 30.0,
        d: tuple[float, ...] = (),
        model: str = 'plumb_bob',
        binning: int = 0,
        roi: tuple[int, int, int, int] = (0, 0, 0, 0),
        p: Iterable[float] | None = None,
    ) -> Any:
        k = np.array([f, 0, 15.5, 0, f, 11.5, 0, 0, 1 if f else 0], np.float64)
        k = k if f else np.zeros(9)
        left, top, width, height = roi
        region = self.make('sensor_msgs/msg/RegionOfInterest', left, top, height, width, False)
        P = np.zeros(12) if p is None else np.array(list(p), np.float64)
        numbers = np.array(d, np.float64), k, np.eye(3).ravel(), P
        header, (w, h) = self.header(stamp_ns, frame), size
        kind = 'sensor_msgs/msg/CameraInfo'
        return self.make(kind, header, h, w, model, *numbers, binning, binning, region)

    def image(
        self,
        stamp_ns: int,
        pixels: NDArray[Any],
        encoding: str = 'rgb8',
        frame: str = 'camera',
    ) -> Any:
        height, width = pixels.shape[:2]
        data = np.frombuffer(np.ascontiguousarray(pixels).tobytes(), np.uint8)
        header = self.header(stamp_ns, frame)
        step = len(data) // height
        kind = 'sensor_msgs/msg/Image'
        return self.make(kind, header, height, width, encoding, 0, step, data)

    def compressed(self, stamp_ns: int, data: bytes, words: str, frame: str = 'camera') -> Any:
        body = np.frombuffer(data, np.uint8)
        header = self.header(stamp_ns, frame)
        return self.make('sensor_msgs/msg/CompressedImage', header, words, body)


def picture(i: int) -> NDArray[np.uint8]:
    """The picture of frame i, RGB."""
    rng = np.random.default_rng(i)
    small = rng.integers(0, 255, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(small, SIZE, interpolation=cv2.INTER_CUBIC), np.uint8)


def depth_mm(i: int) -> NDArray[np.uint16]:
    """The depth of frame i; one pixel is unknown."""
    depth = np.full((SIZE[1], SIZE[0]), 1000 + i, np.uint16)
    depth[3, 5] = 0
    return depth


def truth(i: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """T_map_base of frame i as (t, quat_xyzw)."""
    return np.array([0.1 * i, 1, 0]), Rotation.from_euler('z', 3 * i, degrees=True).as_quat()


def matrix(t: Iterable[float], q: Iterable[float]) -> NDArray[np.float64]:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = Rotation.from_quat(list(q)).as_matrix(), list(t)
    return T


def standard(n: int = 8, ros1: bool = False) -> list[Msg]:
    """A good bag: camera, depth, TF map->odom->base_link->camera, odometry and truth."""
    b = Builder(ros1)
    mount = b.edge(START, 'base_link', 'camera', (0.2, 0, 0.5), OPTICAL)
    out = [Msg('/tf_static', START, b.tf(mount))]
    for i in range(n):
        t, (p, q) = START + i * STEP, truth(i)
        out += [
            Msg('/tf', t, b.tf(b.edge(t, 'map', 'odom', (0, 1, 0)))),
            Msg('/tf', t, b.tf(b.edge(t, 'odom', 'base_link', p - [0, 1, 0], q))),
            Msg('/odom', t, b.odometry(t, 'odom', 'base_link', p - [0, 1, 0], q)),
            Msg('/ground_truth/pose', t, b.pose_stamped(t, 'map', p, q)),
            Msg('/cam/camera_info', t, b.info(t)),
            Msg('/cam/image_raw', t, b.image(t, picture(i))),
            Msg('/cam/depth/image', t, b.image(t, depth_mm(i), '16UC1')),
        ]
    return out


def check_standard(frames: Sequence[Any], n: int = 8) -> None:
    """The frames of ``kit.standard()``, to the last digit."""
    assert [f.stamp_ns for f in frames] == [START + i * STEP for i in range(n)]
    for i, frame in enumerate(frames):
        (view,) = frame.views
        assert (view.image == picture(i)).all()
        assert view.depth is not None
        expected = depth_mm(i) / 1000
        expected[expected == 0] = np.nan
        np.testing.assert_allclose(view.depth, expected, rtol=1e-6)
        np.testing.assert_allclose(frame.T_map_base, matrix(*truth(i)), atol=1e-12)
        t, q = truth(i)
        np.testing.assert_allclose(frame.T_odom_base, matrix(t - [0, 1, 0], q), atol=1e-12)
        T = [[0, 0, 1, 0.2], [-1, 0, 0, 0], [0, -1, 0, 0.5], [0, 0, 0, 1]]
        np.testing.assert_allclose(view.T_base_cam, T, atol=1e-12)
        assert (view.camera.fx, view.camera.cx, view.camera.model) == (30, 15.5, 'pinhole')


def without(messages: Iterable[Msg], *topics: str) -> list[Msg]:
    return [m for m in messages if m.topic not in topics]


def write(
    path: Path,
    messages: Iterable[Msg],
    storage: str = 'mcap',
    compression: str = '',
    version: int = 8,
) -> Path:
    """Write messages as a bag: storage mcap, sqlite3 or ros1; compression file, message, storage.

    Returns the bag: a folder, or a .bag file.
    """
    ros1 = storage == 'ros1'
    store = typestore(ros1)
    if ros1:
        path = path.with_suffix('.bag')
        writer: Any = Writer1(path)
        if compression:
            writer.set_compression(Writer1.CompressionFormat[compression.upper()])
    else:
        plugin = StoragePlugin.MCAP if storage == 'mcap' else StoragePlugin.SQLITE3
        writer = Writer(path, version=9 if version == 9 else 8, storage_plugin=plugin)
        if compression:
            writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
    with writer:
        connections = {}
        for m in messages:
            kind = m.body.__msgtype__
            if m.topic not in connections:
                connections[m.topic] = writer.add_connection(m.topic, kind, typestore=store)
            serialize = store.serialize_ros1 if ros1 else store.serialize_cdr
            writer.write(connections[m.topic], m.log_ns, bytes(serialize(m.body, kind)))
    return path


def refused(path: Path, words: str, options: BagOptions | None = None) -> BagError:
    """Reading and checking fails with one line; the survey tells the same, without failing."""

    def read() -> None:
        with BagReader(path, options) as reader:
            check_mapping(reader)
            for _ in reader.frames():
                pass

    with pytest.raises(BagError, match=words) as caught:
        read()
    assert '\n' not in str(caught.value)
    assert caught.value.fix
    return caught.value


def surveyed(path: Path, words: str) -> None:
    found = survey(path)
    assert any(words in p.what for p in found.problems), found.problems


class Kit:
    """The helpers above, for tests (pytest imports test files one by one)."""

    Builder = Builder
    Msg = Msg
    picture = staticmethod(picture)
    depth_mm = staticmethod(depth_mm)
    truth = staticmethod(truth)
    matrix = staticmethod(matrix)
    standard = staticmethod(standard)
    without = staticmethod(without)
    check_standard = staticmethod(check_standard)
    refused = staticmethod(refused)
    surveyed = staticmethod(surveyed)
    START = START
    STEP = STEP

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, messages: Iterable[Msg], name: str = 'bag', **how: Any) -> Path:
        return write(self.folder / name, messages, **how)

    def changed(self, topic: str, change: Callable[[int, Any], Any], n: int = 8) -> list[Msg]:
        """The good bag with the messages of a topic changed by ``change(i, body)``; None drops."""
        out, i = [], 0
        for m in standard(n):
            if m.topic != topic:
                out.append(m)
                continue
            body = change(i, m.body)
            i += 1
            if body is not None:
                out.append(replace(m, body=body))
        return out


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    return Kit(tmp_path)


@pytest.fixture
def real_bag() -> Callable[[str], Path]:
    """The path of a real bag by name; skips where VLOC_DATA does not hold it."""

    def find(name: str) -> Path:
        folder = os.environ.get('VLOC_DATA', '')
        if not folder or not (Path(folder) / name).is_dir():
            pytest.skip(f'set VLOC_DATA to the folder that holds the bag {name}')
        return Path(folder) / name

    return find


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """The pictures that pairs are cut from and by which homographies; the last two are used."""
    seen: list[tuple[NDArray[np.uint8], NDArray[np.float64]]] = []
    cut: Callable[..., NDArray[np.uint8]] = pairs.warp

    def spy(image: NDArray[np.uint8], H: NDArray[np.float64], *size: int) -> NDArray[np.uint8]:
        seen.append((image, H))
        return cut(image, H, *size)

    monkeypatch.setattr(pairs, 'warp', spy)
    return seen
