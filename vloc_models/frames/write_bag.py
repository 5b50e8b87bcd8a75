"""Frames -> a rosbag2 with the topics of a real robot; streamed, and whole or not there at all."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from vloc_models import atomic
from vloc_models.errors import BagError
from vloc_models.frames import compressed_depth
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import Frame, Trajectory, View

Array = NDArray[np.float64]
_TYPES = get_typestore(Stores.ROS2_HUMBLE)  # the oldest we serve; newer ones read it
_FILES = ('.mcap', '.db3', '.zstd')
_COVARIANCE = np.diag([1e-4, 1e-4, 1e-4, 1e-5, 1e-5, 1e-5]).ravel()
_MODELS = {'pinhole': 'plumb_bob', 'fisheye': 'equidistant'}
# the optical frame (x right, y down, z forward) in a camera's body frame (x forward, y left)
_T_link_optical = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 0])


@dataclass(frozen=True)
class WriteOptions:
    """How a bag is written."""

    storage: Literal['mcap', 'sqlite3'] = 'mcap'
    """The kind of file."""
    jpeg_quality: int | None = 95
    """Quality of the pictures, 1 to 100; None writes them raw (rgb8), without loss."""
    map_tf: bool = True
    """Write map->odom, as SLAM does in a mapping run; off for a run to be localized."""
    truth: bool = True
    """Write /ground_truth/pose."""
    overwrite: bool = False
    """Replace a bag that is there (never anything else)."""
    map_frame: str = 'map'
    """The frame of the map."""
    odom_frame: str = 'odom'
    """The frame of the odometry."""
    base_frame: str = 'base_link'
    """The frame of the robot's body."""


def write_bag(
    path: Path,
    frames: Iterable[Frame],
    options: WriteOptions | None = None,
    odometry: Trajectory | None = None,
) -> int:
    """Write frames as a rosbag2 folder; one at a time, so any number.

    One camera has the topics of a RealSense: /camera/color/image_raw(/compressed) and
    /camera/color/camera_info, /camera/aligned_depth_to_color/image_raw/compressedDepth,
    /camera/labels/image_raw/compressed; a rig has /camera_{i}/color/... and so on. Depth with a
    mask was learned: /camera/self_depth/image_raw/compressedDepth and valid/compressed. Beside
    them /odom, /tf, /tf_static and /ground_truth/pose.

    Args:
        path: the folder to make.
        frames: in rising stamps, all with as many views as the first.
        options: what is written, and how.
        odometry: T_odom_base at its own rate; without it T_odom_base of the frames is written.

    Returns:
        The number of frames written.

    Raises:
        BagError: if the folder is there already, or cannot be written; if no frame came, or
            stamps do not rise.
    """
    options, path = options or WriteOptions(), Path(path).resolve()
    swap = atomic.FolderSwap(path, check_replaceable if options.overwrite else _check_new)
    try:
        with _write_errors(path):
            swap.begin()
        inner = swap.folder / path.name  # rosbags makes the folder, and names the files by it
        with _Bag(inner, path, options, odometry) as bag:
            for frame in frames:
                bag.add(frame)
            bag.finish()
        with _write_errors(path):
            for file in inner.iterdir():
                file.rename(swap.folder / file.name)
            inner.rmdir()
            swap.commit()
        return bag.count
    finally:
        swap.end()


def _check_new(path: Path) -> None:
    if path.exists():
        raise BagError(f'{path} exists already', 'choose another name, or allow to overwrite')


def check_replaceable(path: Path) -> None:
    """Check that nothing but a bag or an empty folder is replaced.

    Raises:
        BagError: if anything else is there.
    """
    files = list(path.iterdir()) if path.is_dir() else [path] if path.exists() else []
    strange = [f for f in files if f.name != 'metadata.yaml' and f.suffix not in _FILES]
    if strange or path.is_file():
        raise BagError(f'{path} is not only a bag: {strange[0].name}', 'choose another name')


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as e:
        reason = getattr(e, 'strerror', None) or e
        raise BagError(f'{path} cannot be written: {reason}', 'make room, or name another') from e


@dataclass
class _Bag:
    """A bag that is being written."""

    path: Path
    target: Path  # where it will be in the end
    options: WriteOptions
    odometry: Trajectory | None
    count: int = 0
    _last_ns: int = -1
    _views: int = 0
    _odometry_done: int = 0
    _by_odom: bool = False  # TF map->odom->base; a bag has this or map->base, never both
    _connections: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> '_Bag':
        mcap = self.options.storage == 'mcap'
        plugin = StoragePlugin.MCAP if mcap else StoragePlugin.SQLITE3
        self._writer = Writer(self.path, version=8, storage_plugin=plugin)
        with _write_errors(self.target):
            self._writer.open()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                with _write_errors(self.target):
                    self._writer.close()
        except BagError:
            self._writer.abort()
            raise
        if kind is not None:
            self._writer.abort()

    def add(self, frame: Frame) -> None:
        """Write one frame, and the odometry up to it."""
        if frame.stamp_ns <= self._last_ns:
            raise BagError(
                f'frame {self.count}: stamp {frame.stamp_ns} does not rise', 'sort the frames'
            )
        if self.count and len(frame.views) != self._views:
            raise BagError(
                f'frame {self.count} has {len(frame.views)} views, the first {self._views}',
                'give every frame all cameras',
            )
        if not self.count:
            self._views = len(frame.views)
            self._by_odom = bool(self.odometry) or frame.T_odom_base is not None
            self._write('/tf_static', frame.stamp_ns, self._static(frame))
        self._last_ns = frame.stamp_ns
        self.count += 1
        T_odom_base = self._odometry_until(frame)
        self._poses(frame, T_odom_base)
        for i, view in enumerate(frame.views):
            self._view(i, view, frame.stamp_ns)

    def finish(self) -> None:
        """Write what is left of the odometry."""
        if not self.count:
            raise BagError(f'{self.target.name}: no frames to write', 'give at least one')
        if self.odometry is not None:
            for i in range(self._odometry_done, len(self.odometry)):
                self._odom(int(self.odometry.stamps_ns[i]), self.odometry.T_map_body[i])

    def _odometry_until(self, frame: Frame) -> Array | None:
        """Write the odometry samples up to the frame; returns T_odom_base at its stamp."""
        if self.odometry is None:
            if frame.T_odom_base is not None:
                self._odom(frame.stamp_ns, frame.T_odom_base)
            return frame.T_odom_base
        stamps, i = self.odometry.stamps_ns, self._odometry_done
        while i < len(stamps) and stamps[i] <= frame.stamp_ns:
            self._odom(int(stamps[i]), self.odometry.T_map_body[i])
            i += 1
        self._odometry_done = i
        return self.odometry.at(frame.stamp_ns, 1 << 62)

    def _poses(self, frame: Frame, T_odom_base: Array | None) -> None:
        o, stamp, T_map_base = self.options, frame.stamp_ns, frame.T_map_base
        if T_map_base is None:
            return
        if o.truth:
            pose = _make(
                'geometry_msgs/msg/PoseStamped', _header(stamp, o.map_frame), _pose(T_map_base)
            )
            self._write('/ground_truth/pose', stamp, pose)
        if not o.map_tf:
            return
        if not self._by_odom:
            self._write('/tf', stamp, _tf([_edge(o.map_frame, o.base_frame, stamp, T_map_base)]))
        elif T_odom_base is not None:
            T_map_odom = T_map_base @ se3.inverse(T_odom_base)
            self._write('/tf', stamp, _tf([_edge(o.map_frame, o.odom_frame, stamp, T_map_odom)]))

    def _odom(self, stamp_ns: int, T_odom_base: Array) -> None:
        o = self.options
        zero = _make('geometry_msgs/msg/Vector3', 0.0, 0.0, 0.0)
        twist = _make(
            'geometry_msgs/msg/TwistWithCovariance',
            _make('geometry_msgs/msg/Twist', zero, zero),
            np.zeros(36),
        )
        pose = _make('geometry_msgs/msg/PoseWithCovariance', _pose(T_odom_base), _COVARIANCE)
        header = _header(stamp_ns, o.odom_frame)
        msg = _make('nav_msgs/msg/Odometry', header, o.base_frame, pose, twist)
        self._write('/odom', stamp_ns, msg)
        if self._by_odom or not o.map_tf:
            edge = _edge(o.odom_frame, o.base_frame, stamp_ns, T_odom_base)
            self._write('/tf', stamp_ns, _tf([edge]))

    def _static(self, frame: Frame) -> Any:
        edges = []
        for i, view in enumerate(frame.views):
            link, optical = self._frames(i)
            T_base_link = view.T_base_cam @ se3.inverse(_T_link_optical)
            edges.append(_edge(self.options.base_frame, link, frame.stamp_ns, T_base_link))
            edges.append(_edge(link, optical, frame.stamp_ns, _T_link_optical))
        return _tf(edges)

    def _frames(self, i: int) -> tuple[str, str]:
        name = 'camera' if self._views == 1 else f'camera_{i}'
        return f'{name}_link', f'{name}_color_optical_frame'

    def _view(self, i: int, view: View, stamp_ns: int) -> None:
        root = '/camera' if self._views == 1 else f'/camera_{i}'
        header = _header(stamp_ns, self._frames(i)[1])
        self._write(f'{root}/color/camera_info', stamp_ns, _info(header, view.camera))
        quality = self.options.jpeg_quality
        if quality is None:
            self._write(f'{root}/color/image_raw', stamp_ns, _raw_image(header, view.image))
        else:
            bgr = cv2.cvtColor(view.image, cv2.COLOR_RGB2BGR)
            data = _encoded('.jpg', bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
            image = _compressed(header, 'bgr8; jpeg compressed bgr8', data)
            self._write(f'{root}/color/image_raw/compressed', stamp_ns, image)
        if view.depth is not None:
            data = compressed_depth.encode(view.depth)
            depth = _compressed(header, compressed_depth.FORMAT, data)
            name = 'aligned_depth_to_color' if view.valid is None else 'self_depth'
            self._write(f'{root}/{name}/image_raw/compressedDepth', stamp_ns, depth)
        if view.valid is not None:
            valid = view.valid.astype(np.uint8) * 255
            self._write(f'{root}/self_depth/valid/compressed', stamp_ns, _mono8(header, valid))
        if view.labels is not None:
            labels = _mono8(header, view.labels)
            self._write(f'{root}/labels/image_raw/compressed', stamp_ns, labels)

    def _write(self, topic: str, stamp_ns: int, msg: Any) -> None:
        kind = msg.__msgtype__
        with _write_errors(self.target):
            if topic not in self._connections:
                connect = self._writer.add_connection
                self._connections[topic] = connect(topic, kind, typestore=_TYPES)
            data = _TYPES.serialize_cdr(msg, kind)
            self._writer.write(self._connections[topic], stamp_ns, data)


def _make(kind: str, *fields: Any) -> Any:
    return _TYPES.types[kind](*fields)


def _header(stamp_ns: int, frame: str) -> Any:
    stamp = _make('builtin_interfaces/msg/Time', *divmod(stamp_ns, 10**9))
    return _make('std_msgs/msg/Header', stamp, frame)


def _rotation(T: Array) -> Any:
    return _make('geometry_msgs/msg/Quaternion', *se3.to_quat_xyzw(T).tolist())


def _pose(T: Array) -> Any:
    point = _make('geometry_msgs/msg/Point', *T[:3, 3].tolist())
    return _make('geometry_msgs/msg/Pose', point, _rotation(T))


def _edge(parent: str, child: str, stamp_ns: int, T: Array) -> Any:
    move = _make('geometry_msgs/msg/Vector3', *T[:3, 3].tolist())
    transform = _make('geometry_msgs/msg/Transform', move, _rotation(T))
    header = _header(stamp_ns, parent)
    return _make('geometry_msgs/msg/TransformStamped', header, child, transform)


def _tf(edges: list[Any]) -> Any:
    return _make('tf2_msgs/msg/TFMessage', edges)


def _info(header: Any, camera: Camera) -> Any:
    K, zero = camera.K, np.zeros((3, 1))
    d = np.array(camera.distortion or [0.0] * 5, np.float64)
    model = _MODELS.get(camera.model, camera.model)
    roi = _make('sensor_msgs/msg/RegionOfInterest', 0, 0, 0, 0, False)
    P = np.hstack([K, zero]).ravel()
    size = camera.height, camera.width
    R = np.eye(3).ravel()
    kind = 'sensor_msgs/msg/CameraInfo'
    return _make(kind, header, *size, model, d, K.ravel(), R, P, 0, 0, roi)


def _raw_image(header: Any, image: NDArray[np.uint8]) -> Any:
    height, width = image.shape[:2]
    kind = 'sensor_msgs/msg/Image'
    return _make(kind, header, height, width, 'rgb8', 0, width * 3, image.ravel())


def _compressed(header: Any, words: str, data: NDArray[np.uint8]) -> Any:
    return _make('sensor_msgs/msg/CompressedImage', header, words, data)


def _mono8(header: Any, image: NDArray[np.uint8]) -> Any:
    data = _encoded('.png', image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    return _compressed(header, 'mono8; png compressed mono8', data)


def _encoded(suffix: str, image: Any, parameters: list[int]) -> NDArray[np.uint8]:
    return cv2.imencode(suffix, image, parameters)[1].ravel().astype(np.uint8, copy=False)
