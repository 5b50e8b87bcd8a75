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
