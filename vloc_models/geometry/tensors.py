"""Torch twins of the numpy geometry, for training; the numpy functions are the reference."""

import torch
from torch import Tensor

from vloc_models.checks import check_shape


def inverse(T: Tensor) -> Tensor:
    """``T_source_target`` of rigid ``T_target_source`` [..., 4, 4]."""
    check_shape(T, '... 4 4', 'T')
    Rt = T[..., :3, :3].transpose(-1, -2)
    top = torch.cat([Rt, -Rt @ T[..., :3, 3:]], -1)
    return torch.cat([top, T[..., 3:, :]], -2)


def apply(T: Tensor, points: Tensor) -> Tensor:
    """``points`` [..., N, 3] of the source frame, in the target frame of ``T`` [..., 4, 4]."""
    return points @ T[..., :3, :3].transpose(-1, -2) + T[..., None, :3, 3]


def project(K: Tensor, points: Tensor, min_depth: float = 0.1) -> Tensor:
    """Pixels [..., N, 2] of points [..., N, 3] through pinholes ``K`` [..., 3, 3].

    z is clamped to ``min_depth`` metres, so that points behind the camera keep a gradient
    (ACE, CVPR 2023); mask them by their z.
    """
    check_shape(K, '... 3 3', 'K')
    p = points @ K.transpose(-1, -2)
    return p[..., :2] / p[..., 2:].clamp(min=min_depth)


def unproject(K: Tensor, pixels: Tensor) -> Tensor:
    """Rays [..., N, 3] with z = 1 of pixels [..., N, 2] through pinholes ``K`` [..., 3, 3]."""
    check_shape(K, '... 3 3', 'K')
    ones = torch.ones_like(pixels[..., :1])
    return torch.cat([pixels, ones], -1) @ torch.linalg.inv(K).transpose(-1, -2)


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Transforms [..., 4, 4] of rotation vectors (axis times radians) and shifts [..., 3]."""
    check_shape(rotation, '... 3', 'rotation')
    x, y, z = rotation.unbind(-1)
    none = torch.zeros_like(x)
    cross = torch.stack([none, -z, y, z, none, -x, -y, x, none], -1).unflatten(-1, (3, 3))
    top = torch.cat([torch.linalg.matrix_exp(cross), translation[..., None]], -1)
    last = top.new_tensor([0, 0, 0, 1]).expand(*top.shape[:-2], 1, 4)
    return torch.cat([top, last], -2)


def quat_log(quat_xyzw: Tensor) -> Tensor:
    """Half the rotation vector [..., 3] of unit quaternions [..., 4]: at most pi / 2 long.

    ``log(u, v) = v / |v| arccos(u)`` of the one of q and -q that has u >= 0 (MapNet, CVPR 2018).
    """
    check_shape(quat_xyzw, '... 4', 'quat_xyzw')
    q = torch.where(quat_xyzw[..., 3:] < 0, -quat_xyzw, quat_xyzw)
    length = q[..., :3].norm(dim=-1, keepdim=True)
    angle = torch.atan2(length, q[..., 3:])  # the arccos, exact for small angles too
    return q[..., :3] * torch.where(length > 0, angle / length.clamp(min=1e-30), 1.0)


def quat_exp(half: Tensor) -> Tensor:
    """The unit quaternions [..., 4] (x, y, z, w) of which ``half`` [..., 3] is the logarithm."""
    check_shape(half, '... 3', 'half')
    angle = half.norm(dim=-1, keepdim=True).clamp(min=1e-6)  # there sin(x) / x is 1
    return torch.cat([angle.sin() / angle * half, angle.cos()], -1)


def quat_multiply(a: Tensor, b: Tensor) -> Tensor:
    """The quaternions [..., 4] of turning by ``b`` first, then by ``a``; all (x, y, z, w)."""
    check_shape(a, '... 4', 'a')
    check_shape(b, '... 4', 'b')
    u, v, s, t = a[..., 3:], b[..., 3:], a[..., :3], b[..., :3]
    imaginary = u * t + v * s + torch.linalg.cross(s, t)
    return torch.cat([imaginary, u * v - (s * t).sum(-1, keepdim=True)], -1)
