"""Camera rigs for synthetic drives."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

RigName = Literal['mono', 'stereo', 'quad', 'webcam', 'fisheye']
RIG_NAMES: tuple[RigName, ...] = get_args(RigName)
_T_BODY_OPTICAL = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 0])  # REP 103


@dataclass(frozen=True, eq=False)
class Mount:
    """A camera and where it sits on the robot."""

    camera: Camera
    T_base_cam: NDArray[np.float64]


def mounted(
    camera: Camera, x: float, y: float, z: float, yaw_deg: float = 0, up_deg: float = 0
) -> Mount:
    """A camera at (x, y, z) of base_link, looking to ``yaw_deg`` (left) and ``up_deg``."""
    turn = se3.exp([0, 0, 0, 0, 0, np.radians(yaw_deg)])
    tilt = se3.exp([0, 0, 0, 0, -np.radians(up_deg), 0])
    return Mount(camera, se3.transform(np.eye(3), [x, y, z]) @ turn @ tilt @ _T_BODY_OPTICAL)


_PINHOLE = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
_WEBCAM = Camera(
    640, 480, 512.3, 511.1, 322.7, 236.9, 'plumb_bob', (-0.28, 0.09, 0.0006, -0.0004, -0.012)
)
_FISHEYE = Camera(640, 480, 285.0, 285.0, 321.0, 238.0, 'fisheye', (-0.012, 0.003, -0.002, 0.0003))

RIGS: dict[RigName, tuple[Mount, ...]] = {
    'mono': (mounted(_PINHOLE, 0.15, 0, 1.0, up_deg=4),),
    'stereo': tuple(mounted(_PINHOLE, 0.15, y, 1.0, up_deg=4) for y in (0.1, -0.1)),
    'quad': tuple(
        mounted(_PINHOLE, 0.15 * np.cos(a), 0.15 * np.sin(a), 1.0, float(np.degrees(a)), 4)
        for a in np.arange(4) * np.pi / 2
    ),
    'webcam': (mounted(_WEBCAM, 0.15, 0, 1.0, up_deg=4),),
    'fisheye': (mounted(_FISHEYE, 0.15, 0, 1.0, up_deg=4),),
}
