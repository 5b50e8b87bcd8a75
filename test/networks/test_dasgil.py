"""DASGIL's networks have the published sizes and tell what they should."""

from typing import Any

import pytest
import torch
from torch import nn

from vloc_models.errors import VlocError
from vloc_models.networks.dasgil import Dasgil, DasgilConfig, flat
from vloc_models.networks.dasgil_discriminators import (
    DISCRIMINATORS,
    CascadeDiscriminator,
    FlattenDiscriminator,
)

CONFIG = DasgilConfig()
SIZE = 256, 1024  # the published one


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


@pytest.fixture(scope='module')
def network() -> Dasgil:
    torch.manual_seed(0)
    return Dasgil(CONFIG).eval()


def test_parameters_are_as_published(network: Dasgil) -> None:
    assert count(network.encoder) == 306_520
    assert count(network.depth, network.depth_heads) == pytest.approx(0.55e6, abs=5e3)
    assert count(network.classes, network.class_head) == pytest.approx(0.61e6, abs=5e3)
    assert count(network) == pytest.approx(1.47e6, abs=1e4)


def test_maps_are_as_published(network: Dasgil) -> None:
    with torch.no_grad():
        maps = network.encoder(torch.rand(1, 3, *SIZE))
    shapes = [(8, 128, 512), (16, 64, 256), (32, 32, 128), (64, 16, 64), (64, 8, 32)]
    shapes += [(64, 4, 16), (64, 2, 8), (64, 1, 4)]
    assert [tuple(m.shape[1:]) for m in maps] == shapes
    assert flat(maps).shape == (1, 1_004_800)
    assert maps[4].numel() == 16_384
    assert maps[5].numel() == 4_096


def test_what_is_told(network: Dasgil) -> None:
    with torch.no_grad():
        told = network(torch.rand(2, 3, 256, 512))
    scales = [(32, 64), (64, 128), (128, 256), (256, 512)]
    assert [tuple(d.shape) for d in told.depths] == [(2, 1, *s) for s in scales]
    assert told.logits.shape == (2, 15, 256, 512)


def test_tasks_can_be_left_out() -> None:
    none = Dasgil(DasgilConfig(depth=False, classes=0)).eval()
    assert count(none) == 306_520
    told = none(torch.rand(1, 3, 256, 256))
    assert told.depths == ()
    assert told.logits is None


@pytest.mark.parametrize(('layer', 'field'), [(1, 4), (2, 10), (3, 22), (4, 46), (5, 94)])
def test_a_value_sees_as_far_as_published(network: Dasgil, layer: int, field: int) -> None:
    """By the gradient of one value in the middle."""
    image = torch.rand(1, 3, 256, 256, requires_grad=True)
    maps = network.encoder(image, layer)
    middle = maps[-1].shape[2] // 2
    maps[-1][0, :, middle, middle].sum().backward()
    assert image.grad is not None
    seen = image.grad[0].abs().sum(0) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == field


def test_only_the_layers_asked_for_are_computed(network: Dasgil) -> None:
    image = torch.rand(1, 3, 256, 256)
    with torch.no_grad():
        few, all_ = network.encoder(image, 5), network.encoder(image)
    assert len(few) == 5
    assert all(torch.equal(a, b) for a, b in zip(few, all_, strict=False))
    network.encoder(torch.rand(1, 3, 96, 64), 5)
    with pytest.raises(VlocError, match='multiple of 256'):
        network.encoder(torch.rand(1, 3, 96, 64))


def test_the_flat_discriminator_is_as_published() -> None:
    with torch.device('meta'):
        told = FlattenDiscriminator(CONFIG.widths, SIZE)
    assert count(told) == pytest.approx(66.3e6, abs=1e5)
    assert told.norm.num_features == 1_004_800


def test_the_cascade_is_as_published() -> None:
    told = CascadeDiscriminator(CONFIG.widths, SIZE)
    assert count(told) == pytest.approx(5.6e6, abs=5e4)
    assert told.mix.in_channels == 384
    assert told.score.in_features == 384 * 4


@pytest.mark.parametrize('name', DISCRIMINATORS)
def test_a_discriminator_looks_at_every_map(name: str) -> None:
    """Each map gets a gradient."""
    torch.manual_seed(0)
    network = DISCRIMINATORS[name](CONFIG.widths, (256, 256))
    maps = tuple(
        torch.randn(2, w, 256 >> i, 256 >> i, requires_grad=True)
        for i, w in enumerate(CONFIG.widths, 1)
    )
    told = network(maps)
    assert told.shape == (2, 1)
    told.square().sum().backward()
    assert all(m.grad is not None and m.grad.abs().sum() > 0 for m in maps)


@pytest.mark.parametrize('wrong', [{'width': 0}, {'classes': -1}, {'classes': 300}])
def test_senseless_sizes_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(VlocError, match='positive width'):
        DasgilConfig(**wrong)
