"""Frames of a folder of pictures: the 7-Scenes and the ACE layout, with poses T_map_cam.

7-Scenes: frame-000000.color.png, .depth.png, .pose.txt in one folder. ACE: rgb/, poses/,
calibration/ (a focal length or a 3x3 matrix), and optionally depth/; names in rising order. The
camera is the body. There are no stamps, so they are made up at 30 Hz.
"""

import logging
from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_se3
from vloc_models.errors import BagError, VlocError
from vloc_models.frames import compressed_depth
from vloc_models.frames.cameras import CameraMount, read_calibration
from vloc_models.frames.options import BagOptions
from vloc_models.geometry.camera import Camera
from vloc_models.records import Frame, Trajectory, View

log = logging.getLogger(__name__)
Array = NDArray[np.float64]
_PERIOD_NS = 10**9 / 30
_PICTURES = ('.png', '.jpg', '.jpeg')


@dataclass(frozen=True)
class _Item:
    """The files of one frame."""

    image: Path
    pose: Path
    calibration: Path | None
    depth: Path | None


def is_folder_layout(path: Path) -> bool:
    """Whether ``path`` is a folder that ``FolderReader`` reads."""
    return path.is_dir() and ((path / 'rgb').is_dir() or any(path.glob('frame-*.color.png')))


class FolderReader:
    """Frames of one folder; the same calls as BagReader."""

    odom_source = 'none'

    def __init__(self, path: Path, options: BagOptions | None = None) -> None:
        """A reader of ``path``; nothing is read before it is asked for."""
        self.path, self.options = Path(path), options or BagOptions()
        self.notes: list[str] = ['the folder has no stamps: 30 Hz is assumed']

    def __enter__(self) -> 'FolderReader':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def items(self) -> list[tuple[int, _Item]]:
        """(stamp, files) of the frames that will come."""
        items = self._ace() if (self.path / 'rgb').is_dir() else self._seven_scenes()
        if not items:
            raise BagError(
                f'{self.path}: no pictures',
                'give a folder with frame-*.color.png, or with rgb/, poses/ and calibration/',
            )
        log.info('%s: %d pictures, stamps made up at 30 Hz', self.path, len(items))
        start = round(self.options.start_s * 1e9)
        length = self.options.duration_s
        stop = start + round(length * 1e9) if length is not None else 1 << 63
        stamped = [(round(i * _PERIOD_NS), item) for i, item in enumerate(items)]
        kept = [x for x in stamped if start <= x[0] < stop][:: self.options.every]
        if not kept:
            raise BagError(f'{self.path}: no pictures between --start-s and its end', 'lower it')
        return kept

    @property
    def span_ns(self) -> tuple[int, int]:
        """The stamps of the first and the last frame."""
        return self.items[0][0], self.items[-1][0]

    def __len__(self) -> int:
        """The number of frames."""
        return len(self.items)

    @property
    def cameras(self) -> tuple[CameraMount, ...]:
        """The one camera (of the first frame, where they differ)."""
        return self._cameras

    @cached_property
    def _cameras(self) -> tuple[CameraMount, ...]:
        item = self.items[0][1]
        camera = self._camera(item, _read_image(item.image))
        depth = str(item.depth.parent) if item.depth else ''
        return (CameraMount(str(item.image.parent), camera, np.eye(4), 'camera', depth),)

    @property
    def poses_source(self) -> str:
        """Where the poses come from, in words."""
        return 'none' if self.options.poses == 'none' else 'the pose files, of the camera'

    def frames(self, only: Container[int] | None = None) -> Iterator[Frame]:
        """The frames in order, read one at a time; those of some stamps only, if given.

        Raises:
            BagError: for a file that is missing or cannot be read.
        """
        for stamp, item in self.items:
            if only is not None and stamp not in only:
                continue
            image = _read_image(item.image)
            depth = _read_depth(item.depth) if item.depth else None
            if depth is not None and depth.shape != image.shape[:2]:
                self._note(f'depth is {depth.shape[1]}x{depth.shape[0]}, unlike the picture')
                depth = None
            view = View(image, self._camera(item, image), np.eye(4), depth)
            yield Frame(stamp, (view,), None, self._pose(item))

    def trajectory(self) -> Trajectory:
        """The poses T_map_cam, where there is one; no picture is read."""
        found = [(s, T) for s, item in self.items if (T := self._pose(item)) is not None]
        return Trajectory.of([s for s, _ in found], [T for _, T in found])

    def odometry(self) -> Trajectory:
        """None is known: empty."""
        return Trajectory.of([], [])

    def _note(self, text: str) -> None:
        if text not in self.notes and len(self.notes) < 1000:
            self.notes.append(text)
            log.warning('%s: %s', self.path, text)

    def _seven_scenes(self) -> list[_Item]:
        items = []
        for image in sorted(self.path.glob('frame-*.color.png')):
            stem = image.name.removesuffix('.color.png')
            depth = self.path / f'{stem}.depth.png'
            pose = self.path / f'{stem}.pose.txt'
            items.append(_Item(image, pose, None, depth if depth.exists() else None))
        if items and items[0].depth:
            self._note('7-Scenes depth is not registered to colour: a few centimetres beside')
        return items

    def _ace(self) -> list[_Item]:
        """Pictures, poses and calibrations are matched by their order, as ACE does it."""
        images = _files(self.path / 'rgb', _PICTURES)
        poses = _files(self.path / 'poses', ('.txt',))
        calibrations = _files(self.path / 'calibration', ('.txt', '.yaml'))
        depths: list[Path | None] = list(_files(self.path / 'depth', ('.png',)))
        for name, files in (
            ('poses', poses),
            ('calibration', calibrations),
            ('depth', depths or images),
        ):
            if len(files) != len(images):
                raise BagError(
                    f'{self.path}: {len(images)} pictures in rgb/, but {len(files)} in {name}/',
                    'give each picture its file, of the same name',
                )
        for image, pose in zip(images, poses, strict=True):
            if _stem(image) != _stem(pose):
                raise BagError(
                    f'{self.path}: {image.name} stands beside {pose.name}',
                    'give picture and pose the same name',
                )
        depths = depths or [None] * len(images)
        rows = zip(images, poses, calibrations, depths, strict=True)
        return [_Item(*row) for row in rows]

    def _camera(self, item: _Item, image: NDArray[np.uint8]) -> Camera:
        height, width = image.shape[:2]
        if item.calibration is None:
            f = self.options.focal_px
            return Camera(width, height, f, f, width / 2, height / 2)
        return _read_camera(item.calibration, width, height)

    def _pose(self, item: _Item) -> Array | None:
        """``T_map_cam`` of the file; None, and a note, where it holds none."""
        if self.options.poses == 'none':
            return None
        T = _numbers(item.pose)
        if T.shape != (4, 4):
            raise BagError(f'{item.pose}: {T.shape} numbers', 'write a 4x4 matrix T_map_cam')
        try:
            T[:3, :3] = _nearest_rotation(T[:3, :3])
            check_se3(T, item.pose.name)
        except (VlocError, np.linalg.LinAlgError) as e:
            self._note(f'{item.pose.name} holds no pose: {e}')
            return None
        return T


def _nearest_rotation(R: Array) -> Array:
    """Text files carry rounded numbers; what is no rotation at all is left as it is."""
    if not np.isfinite(R).all() or not np.allclose(R @ R.T, np.eye(3), atol=1e-2):
        return R
    U, _, Vt = np.linalg.svd(R)
    return U @ Vt


def _stem(path: Path) -> str:
    """The name without its endings: seq-01-frame-000000 of ....color.png and ....pose.txt."""
    return path.name.split('.')[0]


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in suffixes)


def _read_image(path: Path) -> NDArray[np.uint8]:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise BagError(f'{path}: not a picture', 'copy it again, or leave it out')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _read_depth(path: Path) -> NDArray[np.float32]:
    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 2 or values.dtype != np.uint16:
        raise BagError(f'{path}: not a depth picture', 'write a 16 bit png of millimetres')
    return compressed_depth.metres(np.where(values == 65535, 0, values).astype(np.uint16))


def _numbers(path: Path) -> Array:
    try:
        return np.loadtxt(path, dtype=np.float64)
    except OSError as e:
        raise BagError(f'{path}: {e.strerror or e}', 'give each picture its file') from e
    except ValueError as e:
        raise BagError(f'{path}: not a matrix of numbers: {e}', 'copy it again') from e


def _read_camera(path: Path, width: int, height: int) -> Camera:
    if path.suffix == '.yaml':
        return read_calibration(path)
    K = _numbers(path)
    try:
        if K.size == 1:
            return Camera(width, height, float(K), float(K), width / 2, height / 2)
        if K.shape == (3, 3):
            fx, fy, cx, cy = (float(K[i]) for i in ((0, 0), (1, 1), (0, 2), (1, 2)))
            return Camera(width, height, fx, fy, cx, cy)
    except VlocError as e:
        raise BagError(f'{path}: {e.what}', e.fix) from e
    raise BagError(f'{path}: {K.shape} numbers', 'write a focal length or a 3x3 matrix, pixels')
