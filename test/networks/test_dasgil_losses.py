"""DASGIL's losses, by hand."""

import pytest
import torch
from torch import Tensor

from vloc_models.networks.dasgil_losses import (
    DasgilLoss,
    deception_loss,
    depth_loss,
    discriminator_loss,
    ratio_triplet_loss,
)

CONFIG = DasgilLoss()


def maps(value: float) -> tuple[Tensor, ...]:
    return tuple(torch.full((2, 3, 4, 4), float(value)) for _ in range(8))


def test_equal_maps_cost_25_a_layer() -> None:
    same = maps(1.0)
    assert ratio_triplet_loss(same, same, same, CONFIG).item() == pytest.approx(4 * 25)


def test_nothing_is_paid_for_what_is_far_enough() -> None:
    """d_other = 1 + d_same: 0.5^2 + 1 = 1.25."""
    far = maps(1.25**0.5)
    assert ratio_triplet_loss(maps(0), maps(0.5), far, CONFIG).item() == pytest.approx(0, abs=1e-4)
    assert ratio_triplet_loss(maps(0), maps(0.5), maps(3), CONFIG).item() == 0


def test_triplets_as_by_hand() -> None:
    """25 (1 - 0.25 / (1 + 0.04)) a layer."""
    loss = ratio_triplet_loss(maps(0), maps(0.2), maps(0.5), CONFIG)
    assert loss.item() == pytest.approx(4 * 25 * (1 - 0.25 / 1.04))


def test_only_some_layers_count() -> None:
    other = list(maps(0))
    for layer in (1, 2, 7, 8):
        other[layer - 1] = torch.full((2, 3, 4, 4), 9.0)
    loss = ratio_triplet_loss(maps(0), maps(0), tuple(other), CONFIG)
    assert loss.item() == pytest.approx(100)


def test_a_triplet_counts_by_itself() -> None:
    """One pair of a batch that is far enough does not make up for another that is not."""
    other = tuple(
        torch.stack([torch.zeros(3, 4, 4), torch.full((3, 4, 4), 9.0)]) for _ in range(8)
    )
    assert ratio_triplet_loss(maps(0), maps(0), other, CONFIG).item() == pytest.approx(50)


def test_depth_is_compared_in_metres_at_each_scale() -> None:
    true = torch.full((1, 8, 8), 3.0)
    true[:, :, 4:] = torch.nan
    told = [torch.full((1, 1, n, n), 3.0 + off) for n, off in ((4, 1.0), (8, 2.0))]
    assert depth_loss(told, true).item() == pytest.approx(1.5)


def test_where_no_depth_is_known_nothing_is_paid() -> None:
    assert depth_loss([torch.ones(1, 1, 4, 4)], torch.full((1, 8, 8), torch.nan)).item() == 0


def test_small_scales_take_the_nearest_depth() -> None:
    """A mean over an edge would be of no surface."""
    true = torch.tensor([[1.0, 1.0, 1.0, 9.0]]).expand(4, 4)[None]
    told = torch.tensor([[1.0, 9.0], [1.0, 9.0]])[None, None]
    assert depth_loss([told], true).item() == 0


def test_adversaries_as_by_hand() -> None:
    real, synthetic = torch.tensor([[0.8], [1.0]]), torch.tensor([[0.5], [0.1]])
    assert discriminator_loss(real, synthetic).item() == pytest.approx(0.5 * (0.02 + 0.13))
    assert deception_loss(synthetic).item() == pytest.approx(0.5 * (0.25 + 0.81) / 2)
