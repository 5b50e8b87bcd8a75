"""What FSRE-Depth learns from (Jung et al., ICCV 2021, section 3): each loss a function.

Photometric, smoothness and classes as in Monodepth2 (arXiv 1806.01260); the triplet loss makes
the depth decoder's features change where the class does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vloc_models.checks import check_shape
from vloc_models.geometry import tensors

IGNORED = 255  # no class
_C1, _C2 = 0.01**2, 0.03**2  # of SSIM
_TIE = 1e-5  # a picture that stays as it is must not count as explained by depth
_NEAREST_M = 1e-3  # of what is projected


@dataclass(frozen=True)
class FsreLoss:
    """How much each loss counts; scale s counts 1 / 2^s."""

    ssim: float = 0.85  # of the photometric error, the rest is L1
    auto_mask: bool = True  # leave out pixels that look the same without any motion
    smooth: float = 1e-3
    hints: float = 1.0  # not of the paper: what pictures with known poses tell of depth
    classes: float = 0.3
    triplet: float = 0.1
    patch: int = 5  # side of the triplet loss's neighbourhood, pixels of the features
    margin: float = 0.3  # by which another class should be further off


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Other pictures of what a batch shows, N for each of its pictures."""

    images: Tensor  # [B, N, C, H, W] of 0..1
    K: Tensor  # [B, N, 3, 3]
    T_neighbour_cam: Tensor  # [B, N, 4, 4]


def reprojected(depth: Tensor, K: Tensor, near: Neighbours) -> Tensor:
    """The batch's pictures [B, N, C, H, W] as its depth and the neighbours tell them.

    Args:
        depth: [B, 1, H, W] of the batch.
        K: [B, 3, 3] of the batch.
        near: beyond their borders they go on as there.
    """
    sizes = check_shape(depth, 'B 1 H W', 'depth')
    check_shape(K, 'B 3 3', 'K', B=sizes['B'])
    sizes = check_shape(near.images, 'B N C H W', 'neighbours', **sizes)
    H, W = sizes['H'], sizes['W']
    v, u = torch.meshgrid(
        torch.arange(H, device=depth.device), torch.arange(W, device=depth.device), indexing='ij'
    )
    pixels = torch.stack([u, v], -1).reshape(1, -1, 2).to(depth)
    points = tensors.unproject(K, pixels) * depth.flatten(2).transpose(1, 2)  # [B, H W, 3]
    moved = tensors.apply(near.T_neighbour_cam, points[:, None])
    seen = tensors.project(near.K, moved, _NEAREST_M)  # [B, N, H W, 2]
    grid = (2 * seen + 1) / seen.new_tensor([W, H]) - 1
    warped = F.grid_sample(
        near.images.flatten(0, 1),
        grid.flatten(0, 1).unflatten(1, (H, W)),
        padding_mode='border',
        align_corners=False,
    )
    return warped.unflatten(0, near.images.shape[:2])


def photometric_error(a: Tensor, b: Tensor, ssim: float = 0.85) -> Tensor:
    """How different two pictures [B, C, H, W] look at each pixel, [B, 1, H, W]."""
    l1 = (a - b).abs().mean(1, keepdim=True)
    return ssim * ssim_loss(a, b).mean(1, keepdim=True) + (1 - ssim) * l1


def ssim_loss(a: Tensor, b: Tensor) -> Tensor:
    """(1 - SSIM) / 2 over 3x3 pixels, [B, C, H, W] of 0..1."""
    check_shape(a, 'B C H W', 'a', **check_shape(b, 'B C H W', 'b'))
    a, b = F.pad(a, (1, 1, 1, 1), 'reflect'), F.pad(b, (1, 1, 1, 1), 'reflect')
    mean_a, mean_b = _mean3(a), _mean3(b)
    both, squares = mean_a * mean_b, mean_a**2 + mean_b**2
    variances = _mean3(a * a + b * b) - squares
    covariance = _mean3(a * b) - both
    above = (2 * both + _C1) * (2 * covariance + _C2)
    below = (squares + _C1) * (variances + _C2)
    return ((1 - above / below) / 2).clamp(0, 1)


def _mean3(x: Tensor) -> Tensor:
    """Over 3x3 pixels; the border goes. Three times as fast as torch's pooling on a CPU."""
    rows = x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]
    return (rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]) / 9


def still_error(image: Tensor, near: Neighbours, config: FsreLoss) -> Tensor | None:
    """The least error [B, 1, H, W] without any motion; None where that is not asked for."""
    if not config.auto_mask:
        return None
    return _least(image, near.images, config.ssim) + _TIE


def reprojection_loss(
    image: Tensor, warped: Tensor, still: Tensor | None, config: FsreLoss
) -> Tensor:
    """The mean photometric error, of the neighbour that fits best at each pixel.

    What no neighbour shows better than the picture would without motion is left as it is
    (``still``): it moves with the camera, or has no texture.

    Args:
        image: [B, 3, H, W].
        warped: [B, N, 3, H, W], of ``reprojected``.
        still: [B, 1, H, W], of ``still_error``.
        config: the weights.
    """
    least = _least(image, warped, config.ssim)
    return (least if still is None else torch.minimum(least, still)).mean()


def _least(image: Tensor, others: Tensor, ssim: float) -> Tensor:
    """The error [B, 1, H, W] of the one of the ``others`` [B, N, 3, H, W] that fits best."""
    check_shape(others, 'B N 3 H W', 'others', **check_shape(image, 'B 3 H W', 'image'))
    same = image[:, None].expand_as(others).flatten(0, 1)
    error = photometric_error(others.flatten(0, 1), same, ssim)
    return error.unflatten(0, others.shape[:2]).amin(1)


def smoothness_loss(inverse_depth: Tensor, image: Tensor) -> Tensor:
    """First differences of inverse depth [B, 1, H, W] over its mean, less where colours change."""
    sizes = check_shape(inverse_depth, 'B 1 H W', 'inverse depth')
    check_shape(image, 'B 3 H W', 'image', **sizes)
    x = inverse_depth / (inverse_depth.mean((2, 3), keepdim=True) + 1e-7)
    across, down = (
        x.diff(dim=axis).abs() * (-image.diff(dim=axis).abs().mean(1, keepdim=True)).exp()
        for axis in (3, 2)
    )
    return across.mean() + down.mean()


def hint_loss(inverse_depth: Tensor, hints: Tensor) -> Tensor:
    """How far off inverse depth [B, 1, H, W] is of hints [B, H, W], mean |log| where they are."""
    sizes = check_shape(inverse_depth, 'B 1 H W', 'inverse depth')
    check_shape(hints, 'B H W', 'hints', B=sizes['B'], H=sizes['H'], W=sizes['W'])
    known = hints.isfinite()
    off = (inverse_depth[:, 0][known] * hints[known]).log().abs()
    return off.sum() / known.sum().clamp(min=1)


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of logits [B, C, H, W] against labels [B, H, W]; 0 where all are 255."""
    sizes = check_shape(logits, 'B C H W', 'logits')
    check_shape(labels, 'B H W', 'labels', B=sizes['B'], H=sizes['H'], W=sizes['W'])
    total = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction='sum')
    return total / (labels != IGNORED).sum().clamp(min=1)


def triplet_loss(features: Tensor, labels: Tensor, config: FsreLoss) -> Tensor:
    """The semantics-guided triplet loss (SGT, section 3.2) of one level.

    At the border of two classes a pixel's feature must be nearer to its own class's around it, on
    average, than to the others', by ``config.margin``. Not as published: pixels beyond the border
    or of no class are neither own nor other; a level without class borders costs nothing.

    Args:
        features: [B, C, h, w], any length.
        labels: [B, h, w], of their size.
        config: ``patch`` and ``margin``.
    """
    sizes = check_shape(features, 'B C h w', 'features')
    check_shape(labels, 'B h w', 'labels', B=sizes['B'], h=sizes['h'], w=sizes['w'])
    unit = F.normalize(features, dim=1, eps=1e-6)
    own, other, own_count, other_count = (torch.zeros_like(unit[:, 0]) for _ in range(4))
    own_count = own_count + 1  # itself, at no distance
    for rows, columns in _half_of(config.patch):
        here, there = _shifted(rows, columns)
        x, y = labels[here], labels[there]
        known = (x != IGNORED) & (y != IGNORED)
        same, differ = (x == y) & known, (x != y) & known
        cosine = (unit[:, :, here[1], here[2]] * unit[:, :, there[1], there[2]]).sum(1)
        distance = (2 - 2 * cosine).clamp(min=1e-9).sqrt()
        for side in (here, there):  # it is the same distance seen from either
            own = _added(own, side, distance * same)
            other = _added(other, side, distance * differ)
            own_count = _added(own_count, side, same.to(distance))
            other_count = _added(other_count, side, differ.to(distance))
    least = config.patch - 1
    anchors = (own_count >= least) & (other_count >= least) & (labels != IGNORED)
    apart = own / own_count - other / other_count.clamp(min=1)
    loss = (apart + config.margin).clamp(min=0) * anchors
    return loss.sum() / anchors.sum().clamp(min=1)


def _half_of(patch: int) -> list[tuple[int, int]]:
    """The offsets (rows, columns) to half of a patch's pixels; the others are their opposites."""
    reach = patch // 2
    steps = range(-reach, reach + 1)
    return [(r, c) for r in range(reach + 1) for c in steps if r > 0 or c > 0]


def _shifted(rows: int, columns: int) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Of maps [B, h, w], all pixels that have one at this offset, and those."""
    every = slice(None)
    left, right = slice(None, -abs(columns) or None), slice(abs(columns), None)
    sides = (left, right) if columns > 0 else (right, left)
    return (every, slice(None, -rows or None), sides[0]), (every, slice(rows, None), sides[1])


def _added(total: Tensor, where: tuple[slice, ...], x: Tensor) -> Tensor:
    """``total`` with x added in one part."""
    total = total.clone()
    total[where] += x
    return total


def resized_labels(labels: Tensor, height: int, width: int) -> Tensor:
    """Labels [B, H, W] at another size, each the nearest."""
    check_shape(labels, 'B H W', 'labels')
    smaller = F.interpolate(labels[:, None].float(), (height, width), mode='nearest-exact')
    return smaller[:, 0].to(labels.dtype)
