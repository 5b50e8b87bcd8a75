"""Size and shape of our encoder, and that it is the same without normalisation."""

import math

import pytest
import torch
from torch import Tensor, nn

from vloc_models.errors import VlocError
from vloc_models.networks.encoder import LiteEncoder

SIZES = [(48, 64), (121, 97), (8, 8), (1, 1), (33, 250)]


@pytest.fixture(scope='module')
def encoder() -> LiteEncoder:
    """Not trained, but its normalisation has seen pictures."""
    torch.manual_seed(0)
    encoder = LiteEncoder()
    for name, parameter in encoder.named_parameters():
        if name.endswith('.1.weight') or name.endswith('.1.bias'):  # of the normalisation
            nn.init.uniform_(parameter, 0.2, 1.5)
    with torch.no_grad():
        for _ in range(30):
            encoder(torch.randn(2, 1, 64, 96) + torch.randn(2, 1, 1, 1))
    return encoder.eval()


def test_size_and_cost() -> None:
    fused = LiteEncoder(norm=False)
    assert sum(p.numel() for p in fused.parameters()) == 1_451_297
    assert not list(fused.buffers())
    flops = []

    def count(conv: nn.Module, _: object, out: Tensor) -> None:
        assert isinstance(conv, nn.Conv2d)
        flops.append(2 * out.numel() * conv.weight[0].numel())

    for layer in fused.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.no_grad():
        fused(torch.zeros(1, 1, 480, 640))
    assert len(flops) == 16
    assert sum(flops) == 4_349_952_000 <= 6.5e9


@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_unit_vectors_and_how_sure_for_each_eighth(
    encoder: LiteEncoder, height: int, width: int
) -> None:
    with torch.no_grad():
        features, sure = encoder(torch.randn(2, 1, height, width))
    h, w = math.ceil(height / 8), math.ceil(width / 8)
    assert features.shape == (2, 128, h, w)
    assert sure.shape == (2, 1, h, w)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(2, h, w))
    assert sure.std() > 0


@pytest.mark.parametrize('logit', [0.3, -100.0, 100.0])
def test_how_sure_is_a_logit_without_bounds(logit: float) -> None:
    torch.manual_seed(0)
    net = LiteEncoder(norm=False)
    with torch.no_grad():
        net.get_parameter('sure.weight').zero_()
        net.get_parameter('sure.bias').fill_(logit)
        _, sure = net(torch.randn(1, 1, 16, 24))
    torch.testing.assert_close(sure, torch.full((1, 1, 2, 3), logit))


@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_fused_says_the_same_in_evaluation_mode(
    encoder: LiteEncoder, height: int, width: int
) -> None:
    before = {name: x.clone() for name, x in encoder.state_dict().items()}
    fused, picture = encoder.fused(), torch.randn(2, 1, height, width)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in fused.modules())
    assert not fused.training
    with torch.no_grad():
        for found, wanted in zip(fused(picture), encoder(picture), strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
        for parameter in fused.parameters():
            parameter.zero_()
    for name, x in encoder.state_dict().items():  # nothing is shared
        assert torch.equal(x, before[name])


def test_an_encoder_in_training_is_not_fused() -> None:
    with pytest.raises(AssertionError, match='eval'):
        LiteEncoder().train().fused()


def test_context_sees_far_and_every_weight_learns() -> None:
    torch.manual_seed(0)
    encoder = LiteEncoder()
    picture = torch.rand(1, 1, 480, 640, requires_grad=True)
    encoder(torch.randn(2, 1, 96, 96))  # or its normalisation divides by 1
    features, _ = encoder.eval()(picture)
    features[0, :, 30, 40].sum().backward()
    assert picture.grad is not None
    rows, columns = torch.nonzero(picture.grad[0, 0], as_tuple=True)
    assert int(columns.max() - columns.min()) > 300
    assert int(rows.max() - rows.min()) > 300
    encoder.zero_grad()
    features, sure = encoder.train()(torch.randn(2, 1, 64, 96))
    (features[:, :9].sum() + sure.sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_colour_pictures_are_refused(encoder: LiteEncoder) -> None:
    with pytest.raises(VlocError, match='grey'):
        encoder(torch.zeros(1, 3, 48, 64))
