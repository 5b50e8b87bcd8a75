"""From CameraInfo messages and calibration files to cameras."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models import config
from vloc_models.errors import BagError, VlocError
from vloc_models.geometry.camera import Camera, camera_from_ros

_FIX_FILE = 'give the yaml that camera_calibration writes, or a camera_info message as yaml'


@dataclass(frozen=True, eq=False)
class CameraMount:
    """One camera of a source of frames."""

    name: str  # its image topic, or folder
    camera: Camera
    T_base_cam: NDArray[np.float64]  # [4, 4] (of a moving mount, at the first image)
    frame_id: str
    depth: str = ''  # its depth topic
    labels: str = ''


def camera_from_info(msg: Any, rectified: bool, where: str) -> Camera:
    """The camera of a sensor_msgs/CameraInfo (rosbags, rclpy, ROS 1): region and binning applied.

    Args:
        msg: the message.
        rectified: whether its images are rectified: then P holds, without distortion.
        where: the topic or file, for the error.

    Raises:
        BagError: for numbers that no camera can have.
    """
    k, d, p = (_get(msg, name) for name in 'kdp')
    model = msg.distortion_model
    if rectified:
        model, d = '', ()
        if len(p) == 12 and p[0]:
            k = [p[0], p[1], p[2], p[4], p[5], p[6], p[8], p[9], p[10]]
    try:
        if not any(k):
            raise VlocError('K is all zeros: the camera is not calibrated', _FIX_ZERO)
        camera = camera_from_ros((int(msg.width), int(msg.height)), model, list(k), list(d))
        roi = msg.roi
        if roi.width and roi.height:
            camera = camera.cropped(roi.x_offset, roi.y_offset, int(roi.width), int(roi.height))
        bins = max(int(msg.binning_x), 1), max(int(msg.binning_y), 1)
        if bins != (1, 1):
            camera = camera.resized(camera.width // bins[0], camera.height // bins[1])
    except VlocError as e:
        raise BagError(f'{where}: {e.what}', e.fix) from e
    return camera


_FIX_ZERO = 'calibrate it (ros2 run camera_calibration cameracalibrator), or give its file'


def _get(msg: Any, name: str) -> Sequence[float]:
    """A field that ROS 1 writes in capitals."""
    values = getattr(msg, name, None)
    return getattr(msg, name.upper(), ()) if values is None else values


def read_calibration(path: Path, rectified: bool = False) -> Camera:
    """The camera of a calibration file: of camera_calibration, or a CameraInfo as yaml.

    Raises:
        BagError: if the file is missing, no calibration, or its numbers are unusable.
    """
    try:
        data = config.parse(path.read_bytes(), str(path))
        if 'camera_matrix' in data:
            matrix = {
                'k': data['camera_matrix']['data'],
                'd': data['distortion_coefficients']['data'],
                'p': data.get('projection_matrix', {}).get('data', ()),
            }
            size = {'width': data['image_width'], 'height': data['image_height']}
            data = {**matrix, **size, 'distortion_model': data['distortion_model']}
        roi = {'x_offset': 0, 'y_offset': 0, 'width': 0, 'height': 0, **(data.get('roi') or {})}
        bare = {'p': (), 'd': (), 'distortion_model': '', 'binning_x': 0, 'binning_y': 0}
        msg = SimpleNamespace(**{**bare, **data, 'roi': SimpleNamespace(**roi)})
        return camera_from_info(msg, rectified, str(path))
    except OSError as e:
        raise BagError(f'{path}: {e.strerror}', _FIX_FILE) from e
    except (KeyError, TypeError, AttributeError, ValueError) as e:
        raise BagError(f'{path}: not a camera calibration: {e!r}', _FIX_FILE) from e


@dataclass(frozen=True)
class CameraTimeline:
    """The cameras that one image topic had, each from a stamp on."""

    stamps_ns: list[int]  # rising; the first camera holds before it too
    cameras: list[Camera]

    def at(self, stamp_ns: int) -> Camera:
        """The camera whose camera_info was the last before the image."""
        return self.cameras[max(bisect_right(self.stamps_ns, stamp_ns) - 1, 0)]
