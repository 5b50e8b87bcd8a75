"""The pose prior's network: shapes, sizes, what depends on what."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from vloc_models.errors import VlocError
from vloc_models.networks.color_apr import (
    ColorApr,
    ColorAprConfig,
    ColourNet,
    LightBackbone,
    PoseScale,
    attended,
)
from vloc_models.networks.encoder import LiteEncoder

LIGHT = ColorAprConfig()
TURN = torch.tensor([0.5, -0.5, 0.5, -0.5])
SCALE = PoseScale(torch.tensor([100.0, -50.0, 2.0]), torch.tensor([2.0, 3.0, 0.1]), TURN)


def network(config: ColorAprConfig = LIGHT) -> ColorApr:
    torch.manual_seed(0)
    return ColorApr(config, SCALE).eval()


def pictures(count: int = 2, H: int = 48, W: int = 64) -> torch.Tensor:
    return torch.rand(count, 3, H, W, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    ('aux', 'task'), [('colour', (2, 2, 24, 32)), ('classes', (2, 15, 24, 32)), ('none', None)]
)
def test_what_is_told(aux: Any, task: tuple[int, ...] | None) -> None:
    output = network(replace(LIGHT, aux=aux))(pictures())
    assert output.position.shape == output.log_quat.shape == (2, 3)
    assert output.log_sigma.shape == (2, 2)
    assert (None if output.task is None else tuple(output.task.shape)) == task
    if aux == 'colour' and output.task is not None:
        assert output.task.abs().max() <= 1


def test_sizes() -> None:
    light = sum(p.numel() for p in network().parameters())
    assert 1e6 < light < 2e6
    published = ColorAprConfig.published()
    with torch.device('meta'):
        net = ColourNet(published.widths, 0)
        found = net.encode(torch.zeros(1, 1, 64, 96))
        told = net.decode(found)
    assert [tuple(x.shape[1:]) for x in found] == [
        (32, 64, 96),
        (64, 32, 48),
        (128, 16, 24),
        (256, 8, 12),
        (256, 4, 6),
    ]
    assert told is not None
    assert told.shape == (1, 2, 64, 96)


def test_the_published_one_sees_at_stride_16() -> None:
    config = ColorAprConfig.published()
    net = network(config)
    seen = list[torch.Size]()
    net.fuse.register_forward_hook(lambda _, given, __: seen.append(given[0].shape))
    with torch.no_grad():
        net(pictures(1))
    assert seen == [(1, 2048 + 256, 3, 4)]


def test_rotations_are_relative_to_the_mean_one() -> None:
    net = network()
    wanted = Rotation.from_rotvec(np.random.default_rng(0).normal(size=(20, 3)))
    quats = torch.from_numpy(wanted.as_quat()).float()
    output = replace(net(pictures(20)), log_quat=net.log_of(quats))
    found = Rotation.from_quat(net.quat_xyzw(output).detach().numpy())
    assert (found * wanted.inv()).magnitude().max() < 1e-5
    assert torch.allclose(net.log_of(TURN[None]), torch.zeros(1, 3), atol=1e-6)


def test_positions_are_about_the_places() -> None:
    output = network()(pictures())
    assert ((output.position - SCALE.centre).abs() < 3 * SCALE.spread).all()


def test_poses_depend_on_colours_only_by_what_both_networks_see() -> None:
    """The decoder can be left out; the lightness that C-Net is shown cannot."""
    net, image = network(), pictures()
    before = net(image)
    hushed = network().without_decoder()
    after = hushed(image)
    assert after.task is None
    assert torch.equal(before.position, after.position)
    assert sum(p.numel() for p in hushed.parameters()) < sum(p.numel() for p in net.parameters())
    assert net.colour is not None
    with torch.no_grad():
        net.colour.downs.get_parameter('0.0.0.weight').add_(1)
    assert not torch.allclose(net(image).position, before.position)


def test_c_net_sees_no_colours() -> None:
    """Equally light colours are the same to it."""
    net = network()
    assert net.colour is not None
    shown = list[torch.Tensor]()
    encode = net.colour.encode
    net.colour.encode = lambda light: shown.append(light) or encode(light)  # type: ignore
    grey = torch.full((1, 3, 32, 32), 0.5)
    net(grey)
    assert shown[0].shape == (1, 1, 32, 32)
    np.testing.assert_allclose(shown[0], 53.39 / 50 - 1, atol=1e-3)


def test_attention_by_hand() -> None:
    fused = torch.tensor([[[[1.0, 0.0]], [[2.0, 4.0]]]])
    sigmoid = torch.sigmoid
    v = sigmoid(torch.tensor([1.0, 4.0]))
    mask = sigmoid(torch.tensor([(v[0] + 2 * v[1]) / 2, 4 * v[1] / 2]))
    torch.testing.assert_close(attended(fused), fused * (1 + mask))


def test_the_light_backbone_starts_as_the_encoder_of_grey_pictures() -> None:
    torch.manual_seed(0)
    encoder, backbone = LiteEncoder(norm=False), LightBackbone()
    backbone.start_from(encoder)
    grey = torch.rand(1, 1, 32, 48)
    wanted = encoder.context[:2](encoder.detail(grey))
    found = backbone.context[:2](backbone.detail(grey.expand(1, 3, 32, 48)))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
    assert backbone(pictures(1, 64, 96))[-1].shape == (1, 192, 4, 6)


def test_sigmas_learn_without_disturbing_poses() -> None:
    net = network()
    net(pictures()).log_sigma.sum().backward()
    moved = {name.split('.')[0] for name, p in net.named_parameters() if p.grad is not None}
    assert moved == {'log_sigma'}


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'widths': (8, 16, 32)}, 'four or five'),
        ({'fused': 0}, 'four or five'),
        ({'classes': 1}, 'classes'),
        ({'dropout': 1.0}, 'dropout'),
    ],
)
def test_a_senseless_size_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(VlocError, match=words):
        replace(LIGHT, **wrong)


def test_other_pictures_are_refused() -> None:
    with pytest.raises(VlocError, match='multiple of 16'):
        network()(pictures(1, 48, 60))
    with pytest.raises(VlocError, match='image has shape'):
        network()(torch.rand(1, 1, 48, 64))
