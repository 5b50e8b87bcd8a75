"""Pooling of maps, by hand."""

import pytest
import torch
from torch.nn import functional as F

from vloc_models.networks.pooling import NetVlad, rmac


def test_one_square_is_the_largest_of_each_channel() -> None:
    features = torch.rand(2, 5, 6, 6)
    assert torch.allclose(rmac(features, 1), F.normalize(features.amax((2, 3)), dim=1))


def test_squares_as_by_hand() -> None:
    """At level 2 of 6x6 cells, four squares of 4x4 in the corners."""
    x = torch.rand(1, 3, 6, 6)
    regions = [x] + [x[..., a : a + 4, b : b + 4] for a in (0, 2) for b in (0, 2)]
    total = sum(F.normalize(r.amax((2, 3)), dim=1) for r in regions)
    assert isinstance(total, torch.Tensor)
    assert torch.allclose(rmac(x, 2), F.normalize(total, dim=1), atol=1e-6)


@pytest.mark.parametrize('size', [(8, 8), (8, 32), (30, 8), (1, 4), (2, 1)])
def test_any_size_gives_a_unit_vector(size: tuple[int, int]) -> None:
    found = rmac(torch.rand(2, 7, *size) + 0.1)
    assert found.shape == (2, 7)
    assert torch.allclose(found.norm(dim=1), torch.ones(2), atol=1e-5)


def test_a_longer_side_is_covered_to_its_end() -> None:
    features = torch.zeros(1, 2, 4, 16)
    features[:, 0] = 1
    features[0, 1, 2, 15] = 5
    assert rmac(features, 1)[0, 1] > 0


def test_vlad_as_by_hand() -> None:
    """With a sharp assignment each feature counts for its centre alone."""
    centres = F.normalize(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=1)
    x = torch.tensor([[1.0, 0.2], [0.9, -0.3], [0.1, 1.0]])
    features = x.T.reshape(1, 2, 3, 1)
    unit = F.normalize(x, dim=1)
    sums = torch.stack([(unit[:2] - centres[0]).sum(0), unit[2] - centres[1]])
    expected = F.normalize(F.normalize(sums, dim=1).flatten(), dim=0)
    assert torch.allclose(NetVlad(centres, 200.0)(features)[0], expected, atol=1e-4)


def test_vlad_does_not_mind_order_or_length() -> None:
    torch.manual_seed(0)
    vlad = NetVlad(F.normalize(torch.randn(4, 6), dim=1))
    features = torch.randn(1, 6, 4, 5)
    found = vlad(features)
    assert found.shape == (1, 24)
    mixed = features.flatten(2)[..., torch.randperm(20)].reshape(1, 6, 5, 4)
    assert torch.allclose(found, vlad(7 * mixed), atol=1e-5)
