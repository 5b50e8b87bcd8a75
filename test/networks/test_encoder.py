"""Size and shape of our encoder; sampling and the loss against slow twins."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from vloc_models.errors import VlocError
from vloc_models.networks.encoder import ContrastConfig, LiteEncoder, contrastive_loss, sample

LOSS = ContrastConfig()


@pytest.fixture(scope='module')
def encoder() -> LiteEncoder:
    torch.manual_seed(0)
    return LiteEncoder()


def units(*shape: int, seed: int = 0) -> Tensor:
    """Random unit vectors along the last axis."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return x / x.norm(dim=-1, keepdim=True)


def grid_of(h: int, w: int, seed: int = 0) -> Tensor:
    """Random unit features [1, 128, h, w]."""
    return units(1, h, w, 128, seed=seed).permute(0, 3, 1, 2)


def test_size_and_cost(encoder: LiteEncoder) -> None:
    assert sum(p.numel() for p in encoder.parameters()) == 1_000_752
    with FlopCounterMode(display=False) as counter, torch.device('meta'):
        LiteEncoder()(torch.zeros(1, 1, 480, 640))
    assert 5e9 < counter.get_total_flops() <= 6.5e9


@pytest.mark.parametrize(('height', 'width'), [(48, 64), (121, 97), (8, 8), (1, 1), (33, 250)])
def test_unit_vectors_for_each_eighth(encoder: LiteEncoder, height: int, width: int) -> None:
    with torch.no_grad():
        features = encoder(torch.randn(2, 1, height, width))
    assert features.shape == (2, 128, math.ceil(height / 8), math.ceil(width / 8))
    torch.testing.assert_close(features.norm(dim=1), torch.ones_like(features[:, 0]))


def test_context_sees_far_and_every_weight_learns(encoder: LiteEncoder) -> None:
    picture = torch.rand(1, 1, 480, 640, requires_grad=True)
    encoder(picture)[0, :, 30, 40].sum().backward()
    assert picture.grad is not None
    columns = torch.nonzero(picture.grad[0, 0].abs().sum(0))
    assert int(columns.max() - columns.min()) > 250
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_colour_pictures_are_refused(encoder: LiteEncoder) -> None:
    with pytest.raises(VlocError, match='grey'):
        encoder(torch.zeros(1, 3, 48, 64))


def test_sampling_at_cell_centres_gives_the_cells() -> None:
    features = grid_of(4, 6)
    v, u = torch.meshgrid(torch.arange(4), torch.arange(6), indexing='ij')
    centres = 8 * (torch.stack([u, v], -1).reshape(1, -1, 2) + 0.5) - 0.5
    torch.testing.assert_close(sample(features, centres), features.flatten(2).transpose(1, 2))


def slow_sample(features: np.ndarray, u: float, v: float) -> np.ndarray:
    """One unit feature of [C, h, w], by the four cells around it."""
    x, y = (u + 0.5) / 8 - 0.5, (v + 0.5) / 8 - 0.5
    found = np.zeros(features.shape[0])
    for j in (math.floor(y), math.floor(y) + 1):
        for i in (math.floor(x), math.floor(x) + 1):
            row = min(max(j, 0), features.shape[1] - 1)
            column = min(max(i, 0), features.shape[2] - 1)
            found += (1 - abs(x - i)) * (1 - abs(y - j)) * features[:, row, column]
    return found / np.linalg.norm(found)


def test_sampling_between_cells_against_the_slow_twin() -> None:
    features = torch.cat([grid_of(6, 8, seed=1), grid_of(6, 8, seed=2)]).double()
    spread = torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0)).double()
    pixels = spread * torch.tensor([63.0, 47.0]).double()
    found = sample(features, pixels).numpy()
    for b in range(2):
        for n, (u, v) in enumerate(pixels[b].tolist()):
            np.testing.assert_allclose(
                found[b, n], slow_sample(features[b].numpy(), u, v), atol=1e-9
            )


def far_apart(pictures: int, points: int) -> Tensor:
    """Pixels [B, N, 2] that are 20 px apart."""
    return (torch.arange(points) * 20.0)[None, :, None].expand(pictures, -1, 2)


def test_perfect_features_cost_nothing() -> None:
    a = torch.eye(12).reshape(2, 6, 12)
    assert contrastive_loss(a, a, far_apart(2, 6), LOSS).item() < 1e-6


def test_features_that_tell_nothing_cost_log_of_the_candidates() -> None:
    a = units(1, 1, 16).expand(2, 6, 16)
    loss = contrastive_loss(a, a, far_apart(2, 6), LOSS)
    assert loss.item() == pytest.approx(math.log(12), rel=1e-5)
    crowded = torch.zeros(2, 6, 2)  # all of a picture in one place: only the other's are wrong
    loss = contrastive_loss(a, a, crowded, LOSS)
    assert loss.item() == pytest.approx(math.log(1 + 6), rel=1e-5)


def test_wrong_features_cost_their_margin() -> None:
    a = torch.eye(2).reshape(1, 2, 2)
    loss = contrastive_loss(a, a.flip(1), far_apart(1, 2), LOSS)
    assert loss.item() == pytest.approx(1 / 0.05, rel=1e-5)


def slow_loss(a: np.ndarray, b: np.ndarray, pixels_b: np.ndarray) -> float:
    """The loss of [B, N, C] by loops over all pairs of points."""
    B, N = a.shape[:2]
    points = [(i, n) for i in range(B) for n in range(N)]
    total = 0.0
    for p in points:
        for x, y in ((a, b), (b, a)):
            others = []
            for q in points:
                near = np.linalg.norm(pixels_b[p] - pixels_b[q]) < 8
                if p == q or p[0] != q[0] or not near:
                    others.append(math.exp(x[p] @ y[q] / 0.05))
            total -= x[p] @ y[p] / 0.05 - math.log(sum(others))
    return total / (2 * len(points))


def test_near_points_are_no_negatives_against_the_slow_twin() -> None:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.uniform(0, 25, (3, 10, 2)))
    pixels[:, 1] = pixels[:, 0]  # the same point, drawn twice
    a, b = units(3, 10, 8, seed=1).double(), units(3, 10, 8, seed=2).double()
    assert (torch.cdist(pixels, pixels) < 8).sum() > 60
    loss = contrastive_loss(a, b, pixels, LOSS)
    assert loss.item() == pytest.approx(slow_loss(a.numpy(), b.numpy(), pixels.numpy()), rel=1e-6)


def test_gradient_flows_to_both_sides() -> None:
    a, b = units(2, 6, 16, seed=1).requires_grad_(), units(2, 6, 16, seed=2).requires_grad_()
    contrastive_loss(a, b, torch.rand(2, 6, 2) * 30, LOSS).backward()
    for x in (a, b):
        assert x.grad is not None
        assert x.grad.isfinite().all()
        assert (x.grad.abs().sum(-1) > 0).all()


def test_misshapen_pixels_are_refused() -> None:
    a = units(2, 6, 16)
    with pytest.raises(VlocError, match='pixels_b'):
        contrastive_loss(a, a, torch.zeros(2, 5, 2), LOSS)
    with pytest.raises(VlocError, match='pixels'):
        sample(grid_of(4, 6), torch.zeros(2, 5, 2))
