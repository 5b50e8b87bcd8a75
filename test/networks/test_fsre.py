import math

import pytest
import torch
from torch import nn

from vloc_models.errors import VlocError
from vloc_models.networks.fsre import (
    Attention,
    EncoderName,
    Fsre,
    FsreConfig,
    PoseNetwork,
    make_encoder,
)

SMALL = FsreConfig(widths=(16, 16, 8, 8, 8), classes=5)


def count(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_the_published_network_has_the_published_sizes() -> None:
    net = Fsre(FsreConfig.published())
    assert count(net.encoder) == 11_176_512
    assert count(net.depth, net.heads) == pytest.approx(3.15e6, abs=5e3)
    assert count(net.classes, net.class_head) == pytest.approx(3.15e6, abs=5e3)
    assert count(net.depth_attention, net.class_attention) == pytest.approx(7.77e6, abs=5e3)
    assert count(net) == pytest.approx(25.2e6, abs=5e4)


def test_the_published_pose_network_has_the_published_sizes() -> None:
    net = PoseNetwork(make_encoder('resnet18'))
    assert count(net.encoder) == pytest.approx(11.19e6, abs=5e3)
    assert count(net.head) == pytest.approx(1.31e6, abs=5e3)


@pytest.mark.parametrize('encoder', ['light', 'resnet18', 'resnet50'])
def test_what_is_told(encoder: EncoderName) -> None:
    config = FsreConfig(encoder, (16, 16, 8, 8, 8), 5)
    out = Fsre(config)(torch.rand(2, 3, 64, 96))
    shapes = [(2, 1, 64 >> s, 96 >> s) for s in range(4)]
    assert [tuple(x.shape) for x in out.inverse_depths] == shapes
    assert out.logits is not None
    assert out.logits.shape == (2, 5, 64, 96)
    assert [tuple(x.shape) for x in out.features] == [
        (2, 8, 32, 48),
        (2, 8, 16, 24),
        (2, 16, 8, 12),
    ]
    assert torch.equal(out.depth, 1 / out.inverse_depths[0])


def test_at_first_everything_is_at_the_first_depth() -> None:
    depth = Fsre(FsreConfig(first_depth_m=3.0))(torch.rand(2, 3, 64, 64)).depth
    assert depth.mean().item() == pytest.approx(3.0, rel=0.2)
    assert depth.std() < 0.3


@pytest.mark.parametrize('push', [-1e3, 1e3])
def test_depth_stays_in_its_range(push: float) -> None:
    net = Fsre(SMALL)
    with torch.no_grad():
        for head in net.heads:
            head.get_parameter('1.bias').fill_(push)
    depth = net(torch.rand(1, 3, 64, 64)).depth
    assert torch.allclose(depth, torch.tensor(10.0 if push < 0 else 0.3))


def test_without_classes_there_is_only_depth() -> None:
    net = Fsre(FsreConfig(widths=SMALL.widths, classes=0, attention=False))
    assert net(torch.rand(1, 3, 64, 64)).logits is None
    assert not any('class' in name for name, _ in net.named_parameters())


@pytest.mark.parametrize('attention', [False, True])
def test_the_decoders_hear_of_each_other_only_by_attention(attention: bool) -> None:
    net = Fsre(FsreConfig(widths=SMALL.widths, classes=5, attention=attention)).eval()
    net(torch.rand(1, 3, 64, 64)).depth.sum().backward()
    heard = [p.grad is not None for p in net.classes.parameters()]
    assert any(heard) == attention


def test_attention_shares_out_between_heads() -> None:
    attention = Attention(6, 4)
    target, reference = 5 * torch.randn(2, 6, 4, 5), 5 * torch.randn(2, 6, 4, 5)
    weights = attention.weights(target, reference)
    assert weights.shape == (2, 4, 4, 5)
    assert torch.allclose(weights.sum(1), torch.ones(2, 4, 5))
    assert weights.std(1).max() > 0.05  # not all alike
    assert attention(target, reference).shape == target.shape


def test_with_one_head_there_is_nothing_to_choose() -> None:
    """The reference only weighs what the target holds."""
    attention, target = Attention(6, 1).eval(), torch.randn(1, 6, 4, 5)
    a, b = (attention(target, torch.randn(1, 6, 4, 5)) for _ in range(2))
    assert torch.allclose(a, b)
    several = Attention(6, 4).eval()
    a, b = (several(target, torch.randn(1, 6, 4, 5)) for _ in range(2))
    assert not torch.allclose(a, b)


def test_attention_looks_at_one_place_only() -> None:
    """The weights are over heads, not over space."""
    attention = Attention(6, 4)
    target, reference = torch.randn(1, 6, 4, 5), torch.randn(1, 6, 4, 5)
    before = attention.weights(target, reference)
    reference[..., 2, 3] += 1
    changed = (attention.weights(target, reference) - before).abs().amax((0, 1)) > 1e-7
    assert changed.nonzero().tolist() == [[2, 3]]


def test_the_light_encoder_does_not_see_colours() -> None:
    net = make_encoder('light')
    grey = torch.rand(1, 1, 64, 64).expand(1, 3, 64, 64)
    tint = torch.tensor([0.114 / 0.299, 0, -1.0])[:, None, None] * 0.05
    for a, b in zip(net(grey), net(grey + tint), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize('encoder', ['light', 'resnet18'])
def test_the_pose_network_starts_as_the_encoder_of_one_picture(encoder: EncoderName) -> None:
    one = make_encoder(encoder).eval()
    twin = make_encoder(encoder)
    twin.load_state_dict(one.state_dict())
    net = PoseNetwork(twin).eval()
    x = torch.rand(1, 3, 64, 64)
    both = net.encoder(torch.cat([x, x], 1))
    for a, b in zip(one(x), both, strict=True):
        assert torch.allclose(a, b, atol=1e-4)


def test_motion_is_rigid_and_small_at_first() -> None:
    T = PoseNetwork(make_encoder('light'))(torch.rand(3, 3, 64, 64), torch.rand(3, 3, 64, 64))
    assert T.shape == (3, 4, 4)
    R = T[:, :3, :3]
    assert torch.allclose(R @ R.mT, torch.eye(3).expand(3, 3, 3), atol=1e-6)
    assert torch.equal(T[:, 3], torch.tensor([0.0, 0, 0, 1]).expand(3, 4))
    assert T[:, :3, 3].abs().max() < 0.1


@pytest.mark.parametrize('size', [(60, 64), (64, 80), (32, 64)])
def test_other_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(VlocError, match='multiples of 32'):
        Fsre(SMALL)(torch.rand(1, 3, *size))


@pytest.mark.parametrize(
    'wrong',
    [
        {'min_depth_m': 0.0},
        {'max_depth_m': 1.0},
        {'first_depth_m': math.nan},
        {'classes': -1},
        {'classes': 256},
        {'heads': 0},
        {'widths': (16, 16, 8, 8, 0)},
        {'classes': 0},
    ],
)
def test_a_senseless_network_is_refused(wrong: dict) -> None:
    with pytest.raises(VlocError, match='depth: '):
        FsreConfig(**wrong)
