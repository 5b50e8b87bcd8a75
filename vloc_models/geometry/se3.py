"""Rigid transforms: 4x4 float64 matrices named ``T_target_source`` (``p_target = T @ p_source``).

Twists and covariances have the order (x, y, z, rot_x, rot_y, rot_z), as ROS wants it.
Formulas follow Barfoot, "State Estimation for Robotics" (2017), section 7.1.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError

Array = NDArray[np.float64]


def transform(R: ArrayLike, t: ArrayLike) -> Array:
    """The transform with rotation ``R`` [3, 3] and translation ``t`` [3], metres."""
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def from_quat_xyzw(t: ArrayLike, quat_xyzw: ArrayLike) -> Array:
    """The transform with translation ``t`` [3] and a unit quaternion [4], as ROS and TUM write it.

    Raises:
        VlocError: if a number is not finite or the quaternion is not of unit length (1e-2; ROS
            messages carry rounded numbers, which are normalised here).
    """
    t, q = np.asarray(t, np.float64), np.asarray(quat_xyzw, np.float64)
    if not (np.isfinite(t).all() and np.isfinite(q).all()):
        raise VlocError(f'pose t={t.tolist()} q={q.tolist()} holds NaN or infinity', _FIX_POSE)
    if abs(np.linalg.norm(q) - 1) > 1e-2:
        raise VlocError(f'quaternion {q.tolist()} (x y z w) is not of unit length', _FIX_POSE)
    return transform(Rotation.from_quat(q).as_matrix(), t)


_FIX_POSE = 'repair or leave out the pose source that wrote it'


def to_quat_xyzw(T: Array) -> Array:
    """The unit quaternion [4] (x, y, z, w) of ``T`` [4, 4], with w >= 0; also [N, 4] of N."""
    q = Rotation.from_matrix(T[..., :3, :3]).as_quat()
    return np.where(q[..., 3:] < 0, -q, q)


def from_xyz_rpy(xyz: ArrayLike, rpy: ArrayLike) -> Array:
    """The transform with roll, pitch and yaw [3] about the fixed axes, as in URDF and tf2."""
    return transform(Rotation.from_euler('xyz', np.asarray(rpy, np.float64)).as_matrix(), xyz)


def to_rpy(T: Array) -> Array:
    """Roll, pitch and yaw [3] of ``T`` [4, 4] about the fixed axes."""
    return Rotation.from_matrix(T[:3, :3]).as_euler('xyz')


def inverse(T: Array) -> Array:
    """``T_source_target`` of ``T_target_source``; any leading axes [..., 4, 4]."""
    check_shape(T, '... 4 4', 'T')
    Rt = np.swapaxes(T[..., :3, :3], -1, -2)
    out = np.zeros_like(T, dtype=np.float64)
    out[..., :3, :3], out[..., 3, 3] = Rt, 1
    out[..., :3, 3] = -(Rt @ T[..., :3, 3:])[..., 0]
    return out


def apply(T: Array, points: Array) -> Array:
    """``points`` [..., 3] of the source frame, in the target frame; one transform [4, 4]."""
    return points @ T[:3, :3].T + T[:3, 3]


def hat(v: ArrayLike) -> Array:
    """The cross-product matrix [3, 3] of ``v`` [3]: ``hat(v) @ w == cross(v, w)``."""
    x, y, z = np.asarray(v, np.float64)
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])


def exp(xi: ArrayLike) -> Array:
    """The transform of a twist [6] (metres and radians); equals the matrix exponential."""
    xi = np.asarray(xi, np.float64)
    check_shape(xi, '6', 'xi')
    V = _left_jacobian(xi[3:])
    return transform(Rotation.from_rotvec(xi[3:]).as_matrix(), V @ xi[:3])


def log(T: Array) -> Array:
    """The twist [6] of a transform [4, 4], angle in [0, pi]; the inverse of ``exp``."""
    phi = Rotation.from_matrix(T[:3, :3]).as_rotvec()
    rho = np.linalg.solve(_left_jacobian(phi), T[:3, 3])
    return np.concatenate([rho, phi], dtype=np.float64)


def _left_jacobian(phi: Array) -> Array:
    """The left Jacobian of SO(3) (Barfoot eq. 7.37), by its series below 1e-4 rad."""
    angle = float(np.linalg.norm(phi))
    W = hat(phi)
    if angle < 1e-4:  # the next terms are below 1e-17
        a, b = 0.5 - angle**2 / 24, 1 / 6 - angle**2 / 120
    else:
        a, b = (1 - np.cos(angle)) / angle**2, (angle - np.sin(angle)) / angle**3
    return np.eye(3) + a * W + b * W @ W


def adjoint(T: Array) -> Array:
    """The adjoint [6, 6]: ``exp(adjoint(T) @ xi) == T @ exp(xi) @ inverse(T)``.

    It carries a twist, or with ``Ad @ cov @ Ad.T`` its covariance, from the source frame of
    ``T`` to the target frame (Barfoot eq. 7.45, in our order).
    """
    out = np.zeros((6, 6))
    out[:3, :3] = out[3:, 3:] = T[:3, :3]
    out[:3, 3:] = hat(T[:3, 3]) @ T[:3, :3]
    return out


def angle_rad(R: Array) -> Array:
    """The rotation angle of ``R`` [..., 3, 3], in [0, pi], accurate at both ends."""
    skew = np.stack(
        [R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]], -1
    )
    return np.arctan2(np.linalg.norm(skew, axis=-1), np.trace(R, axis1=-2, axis2=-1) - 1)


def interpolate(T0: Array, T1: Array, fraction: float) -> Array:
    """Between two transforms as tf2 does it: linear in translation, slerp in rotation."""
    Rs = Rotation.from_matrix(np.stack([T0[:3, :3], T1[:3, :3]]))
    t = (1 - fraction) * T0[:3, 3] + fraction * T1[:3, 3]
    return transform(Slerp([0, 1], Rs)(fraction).as_matrix(), t)


def planar(T: Array) -> Array:
    """The pose [4, 4] of a body on the floor: x, y and yaw of ``T``, nothing else."""
    turn = exp(np.array([0, 0, 0, 0, 0, np.arctan2(T[1, 0], T[0, 0])]))
    turn[:2, 3] = T[:2, 3]
    return turn
