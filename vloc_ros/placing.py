"""A pose that somebody gives by hand, "2D Pose Estimate" in RViz: carried into the map."""

from dataclasses import dataclass

import numpy as np
from geometry_msgs.msg import PoseWithCovarianceStamped

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.transforms import TransformTree
from vloc_models.geometry import se3
from vloc_models.records import Array
from vloc_ros.messages import stamp_ns

_GAP_NS = 5 * 10**8
# standard deviations, where the message says nothing: it is clicked on a screen
_USUAL = np.array([0.5, 0.5, 0.3, 0.2, 0.2, 0.26])


@dataclass(frozen=True, eq=False)
class Placed:
    """Where somebody says the robot is."""

    stamp_ns: int
    T_map_base: Array  # [4, 4]
    covariance: Array  # [6, 6] in map


@dataclass(frozen=True, eq=False)
class Known:
    """What leads from a frame to the map."""

    map_frame: str
    odom_frame: str
    tree: TransformTree  # without what we publish
    T_map_odom: Array | None  # None: not known


def placed(msg: PoseWithCovarianceStamped, known: Known, now_ns: int) -> tuple[Placed, str]:
    """What the message means, and what was wrong with it in words, or ''.

    Raises:
        VlocError: if it is no pose, or nothing leads from its frame to the map.
    """
    p, q = msg.pose.pose.position, msg.pose.pose.orientation
    T_frame_base = se3.from_quat_xyzw([p.x, p.y, p.z], [q.x, q.y, q.z, q.w])
    stamp = stamp_ns(msg.header.stamp) or now_ns
    T_map_frame = _from(msg.header.frame_id.lstrip('/'), known, stamp)
    covariance, fault = _covariance(np.array(msg.pose.covariance).reshape(6, 6))
    turned = np.kron(np.eye(2), T_map_frame[:3, :3])
    T_map_base = T_map_frame @ T_frame_base
    return Placed(stamp, T_map_base, turned @ covariance @ turned.T), fault


def _from(frame: str, known: Known, stamp: int) -> Array:
    """T_map_frame."""
    if not frame or frame == known.map_frame:
        return np.eye(4)
    if known.T_map_odom is not None and frame == known.odom_frame:
        return known.T_map_odom
    try:
        return known.tree.lookup(known.map_frame, frame, stamp, _GAP_NS)
    except BagError as e:
        if known.T_map_odom is None:
            fix = f'give it in {known.map_frame!r}'
            raise VlocError(f'initialpose is told in {frame!r}: {e.what}', fix) from e
    return known.T_map_odom @ known.tree.lookup(known.odom_frame, frame, stamp, _GAP_NS)


def _covariance(said: Array) -> tuple[Array, str]:
    """One that can be used, and what was wrong with the one that was told."""
    if not np.isfinite(said).all() or not np.allclose(said, said.T, atol=1e-6):
        return np.diag(_USUAL**2), 'its covariance is no covariance; the usual one is taken'
    if not said.any():
        return np.diag(_USUAL**2), 'its covariance is all zeros; the usual one is taken'
    missing = np.diag(said) <= 0
    told = said.copy()
    told[missing, :] = told[:, missing] = 0
    told[missing, missing] = _USUAL[missing] ** 2
    if np.linalg.eigvalsh(told)[0] <= 0:
        return np.diag(_USUAL**2), 'its covariance is no covariance; the usual one is taken'
    return told, ''
