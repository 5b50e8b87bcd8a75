import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vloc_models.networks.fsre_losses import (
    FsreLoss,
    Neighbours,
    class_loss,
    photometric_error,
    reprojected,
    reprojection_loss,
    resized_labels,
    smoothness_loss,
    ssim_loss,
    still_error,
    triplet_loss,
)

LOSS = FsreLoss()
H, W = 24, 32
K = torch.tensor([[30.0, 0, 15.5], [0, 30, 11.5], [0, 0, 1]])


def waves(shift: float = 0.0) -> Tensor:
    """A smooth picture [1, 3, H, W] of a world moved to the left by some pixels."""
    v, u = torch.meshgrid(torch.arange(H), torch.arange(W), indexing='ij')
    phases = [0.3 * (u + shift) + 0.2 * v, 0.5 * (u + shift), 0.4 * (u + shift) - 0.3 * v]
    return 0.5 + 0.4 * torch.stack([p.sin() for p in phases])[None]


def moved(right_m: float, images: Tensor) -> Neighbours:
    """One neighbour whose camera stands to the right."""
    T = torch.eye(4)[None, None].clone()
    T[..., 0, 3] = -right_m
    return Neighbours(images[:, None], K[None, None], T)


def depth_of(metres: float) -> Tensor:
    return torch.full((1, 1, H, W), metres)


def test_the_same_picture_has_no_error() -> None:
    assert photometric_error(waves(), waves()).abs().max() < 1e-5


def test_ssim_as_by_hand() -> None:
    """Of one 3x3 patch in the middle."""
    a, b = torch.rand(1, 1, 5, 5), torch.rand(1, 1, 5, 5)
    x, y = a[0, 0, 1:4, 1:4].double(), b[0, 0, 1:4, 1:4].double()
    cov = ((x - x.mean()) * (y - y.mean())).mean()
    ssim = (2 * x.mean() * y.mean() + 1e-4) * (2 * cov + 9e-4)
    ssim /= (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (
        x.var(correction=0) + y.var(correction=0) + 9e-4
    )
    assert ssim_loss(a, b)[0, 0, 2, 2].item() == pytest.approx((1 - ssim.item()) / 2, abs=1e-4)


def test_photometric_error_weighs_ssim_and_l1() -> None:
    black, white = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    ssim = (1e-4 / 1.0001) * 1
    expected = 0.85 * (1 - ssim) / 2 + 0.15
    assert photometric_error(black, white).mean().item() == pytest.approx(expected, rel=1e-4)


def test_a_picture_is_found_again_at_its_depth() -> None:
    """f b / z = 30 * 0.2 / 2 = 3 pixels."""
    warped = reprojected(depth_of(2.0), K[None], moved(0.2, waves(3)))[:, 0]
    inside = (..., slice(4, W))
    assert torch.allclose(warped[inside], waves()[inside], atol=1e-4)
    assert photometric_error(warped, waves())[..., 4:].max() < 1e-3
    other = reprojected(depth_of(1.0), K[None], moved(0.2, waves(3)))[:, 0]
    assert photometric_error(other, waves()).mean() > 0.05


def test_the_error_pulls_depth_to_the_truth() -> None:
    for metres, sign in ((2.2, 1), (1.8, -1)):
        depth = depth_of(metres).requires_grad_()
        warped = reprojected(depth, K[None], moved(0.2, waves(3)))
        reprojection_loss(waves(), warped, None, LOSS).backward()
        assert depth.grad is not None
        assert depth.grad.sum() * sign > 0


def test_what_is_behind_a_neighbour_is_finite() -> None:
    near = moved(0.0, waves())
    near.T_neighbour_cam[..., 2, 3] = -5.0
    depth = depth_of(2.0).requires_grad_()
    loss = reprojection_loss(waves(), reprojected(depth, K[None], near), None, LOSS)
    loss.backward()
    assert loss.isfinite()
    assert depth.grad is not None
    assert depth.grad.isfinite().all()


def test_each_pixel_takes_the_neighbour_that_fits() -> None:
    """One neighbour is right on the left, the other on the right."""
    picture, noise = waves(), torch.rand(1, 3, H, W)
    left = torch.arange(W) < W // 2
    warped = torch.stack([torch.where(side, picture, noise) for side in (left, ~left)], 1)
    both = reprojection_loss(picture, warped, None, LOSS)
    one = reprojection_loss(picture, warped[:, :1], None, LOSS)
    assert both < 0.03
    assert one > 0.15


def test_what_looks_the_same_without_motion_does_not_count() -> None:
    """Auto-mask: the gradient of a picture that stays is none."""
    near = moved(0.2, waves())
    for config, pulls in ((LOSS, False), (FsreLoss(auto_mask=False), True)):
        depth = depth_of(2.0).requires_grad_()
        still = still_error(waves(), near, config)
        loss = reprojection_loss(waves(), reprojected(depth, K[None], near), still, config)
        loss.backward()
        assert depth.grad is not None
        assert bool((depth.grad.abs().sum() > 1e-3).item()) == pulls


def test_smoothness_is_by_hand() -> None:
    x = torch.ones(1, 1, 4, 6)
    x[..., 3:] = 3.0  # mean 2: one step of 1 in five differences
    grey = torch.full((1, 3, 4, 6), 0.5)
    assert smoothness_loss(x, grey).item() == pytest.approx(0.2, rel=1e-4)
    assert smoothness_loss(5 * x, grey).item() == pytest.approx(0.2, rel=1e-4)
    grey[..., 3:] = 1.5
    assert smoothness_loss(x, grey).item() == pytest.approx(0.2 * math.exp(-1), rel=1e-4)


def test_classes_ignore_what_has_none() -> None:
    logits = torch.randn(2, 5, 4, 6, requires_grad=True)
    labels = torch.randint(0, 5, (2, 4, 6), dtype=torch.uint8)
    labels[0] = 255
    expected = F.cross_entropy(logits[1:], labels[1:].long())
    assert class_loss(logits, labels).item() == pytest.approx(expected.item(), rel=1e-5)
    loss = class_loss(logits, torch.full_like(labels, 255))
    loss.backward()
    assert loss == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def edge(h: int = 12, w: int = 14) -> Tensor:
    """Two classes, a vertical border in the middle."""
    labels = torch.zeros(1, h, w, dtype=torch.uint8)
    labels[..., w // 2 :] = 1
    return labels


@pytest.mark.parametrize('label', [0, 3, 255])
def test_one_class_has_no_anchors(label: int) -> None:
    features = torch.randn(1, 8, 12, 14, requires_grad=True)
    loss = triplet_loss(features, torch.full((1, 12, 14), label), LOSS)
    loss.backward()
    assert loss == 0
    assert features.grad is not None
    assert (features.grad == 0).all()


def test_anchors_are_within_two_pixels_of_an_edge() -> None:
    """What is further off, and not near an anchor, has no gradient."""
    features = torch.randn(1, 8, 12, 14, requires_grad=True)
    triplet_loss(features, edge(), LOSS).backward()
    assert features.grad is not None
    columns = features.grad.abs().sum((0, 1, 2)).nonzero()[:, 0].tolist()
    assert columns == [3, 4, 5, 6, 7, 8, 9, 10]  # two beyond the anchors 5 to 8: their patches


def test_equal_features_cost_the_margin() -> None:
    loss = triplet_loss(torch.ones(1, 8, 12, 14), edge(), LOSS)
    assert loss.item() == pytest.approx(0.3, abs=1e-3)


def test_classes_apart_cost_nothing() -> None:
    features = F.one_hot(edge().long(), 2).permute(0, 3, 1, 2).float()
    assert triplet_loss(features, edge(), LOSS) == 0
    swapped = features.clone()
    swapped[..., ::2] = features[..., ::2].flip(1)  # every second column as the other class
    assert triplet_loss(swapped, edge(), LOSS) > 0.01


def test_length_of_features_does_not_matter() -> None:
    features = torch.randn(1, 8, 12, 14)
    scale = torch.rand(1, 1, 12, 14) + 0.5
    a, b = triplet_loss(features, edge(), LOSS), triplet_loss(7 * scale * features, edge(), LOSS)
    assert a.item() == pytest.approx(b.item(), rel=1e-4)


def test_triplets_as_by_hand() -> None:
    """Pixel by pixel, over the whole patch, with some pixels of no class."""
    torch.manual_seed(1)
    features, labels = torch.randn(1, 4, 9, 10), torch.randint(0, 2, (1, 9, 10))
    labels[0, :3, :4] = 255
    unit = F.normalize(features, dim=1)[0]
    costs = []
    for r in range(9):
        for c in range(10):
            own, other = [], []
            for i in range(max(0, r - 2), min(9, r + 3)):
                for j in range(max(0, c - 2), min(10, c + 3)):
                    d = (2 - 2 * unit[:, r, c] @ unit[:, i, j]).clamp(min=1e-9).sqrt()
                    if labels[0, i, j] != 255:
                        (own if labels[0, i, j] == labels[0, r, c] else other).append(d)
            if labels[0, r, c] != 255 and min(len(own), len(other)) >= 4:
                apart = torch.stack(own).mean() - torch.stack(other).mean()
                costs.append((apart + 0.3).clamp(min=0))
    expected = torch.stack(costs).mean().item()
    assert 10 < len(costs) < 90
    assert triplet_loss(features, labels, LOSS).item() == pytest.approx(expected, abs=1e-4)


def test_labels_are_resized_to_the_nearest() -> None:
    labels = torch.tensor([[[0, 0, 7, 7], [0, 0, 7, 7]]], dtype=torch.uint8)
    assert resized_labels(labels, 1, 2).tolist() == [[[0, 7]]]
    assert resized_labels(labels, 1, 2).dtype == torch.uint8
