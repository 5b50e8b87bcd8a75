"""Probes of torch's answers: small, repeatable, and only the right weights pass."""

import numpy as np
import pytest
import torch
from torch import nn

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import MapError
from vloc_models.export.parity import encoder_probe, head_probe
from vloc_models.export.to_onnx import encoder_graph, head_graph, round_to_half
from vloc_models.networks.ace import Head, HeadConfig
from vloc_models.networks.encoder import LiteEncoder


def head(seed: int) -> Head:
    torch.manual_seed(seed)
    net = Head(HeadConfig(16, 24), torch.tensor([100.0, -20, 3]))
    round_to_half(net)
    return net


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_head_and_its_probe() -> None:
    engine = OnnxEngine(head_graph(head(0)), 'head.onnx')
    assert check_probe(engine, head_probe(head(0), rng()), 'probe.npz') < 1e-4
    with pytest.raises(MapError, match=r'probe\.npz: points differs by'):
        check_probe(engine, head_probe(head(1), rng()), 'probe.npz')


def lite() -> LiteEncoder:
    torch.manual_seed(0)
    net = LiteEncoder().eval().fused()
    round_to_half(net)
    return net


def test_our_encoder_and_its_probe() -> None:
    """Weights of either output that are not those of the graph are found out."""
    engine = OnnxEngine(encoder_graph(lite()), 'encoder.onnx')
    assert check_probe(engine, encoder_probe(lite(), rng()), 'probe.npz') < 1e-3
    for layer, output in (('out', 'features'), ('sure', 'sure')):
        other = lite()
        with torch.no_grad():
            weight = other.get_parameter(f'{layer}.weight')
            weight.copy_(weight.flip(1))
        with pytest.raises(MapError, match=f'{output} differs by'):
            check_probe(engine, encoder_probe(other, rng()), 'probe.npz')


def test_unrounded_weights_are_found_out() -> None:
    net = nn.Sequential(nn.Conv2d(1, 64, 8, 8), nn.BatchNorm2d(64), nn.Tanh())
    probe = encoder_probe(net, rng())
    round_to_half(net)
    engine = OnnxEngine(encoder_graph(net), 'encoder.onnx')
    assert check_probe(engine, encoder_probe(net, rng()), 'probe.npz') < 1e-4
    with pytest.raises(MapError, match='differs'):
        check_probe(engine, probe, 'probe.npz', 1e-5)


def test_probes_are_small_and_always_the_same() -> None:
    torch.manual_seed(0)
    encoder, wide = LiteEncoder(norm=False), Head(HeadConfig(), torch.zeros(3))
    first, second = (npz.pack(encoder_probe(encoder, rng())) for _ in range(2))
    assert first == second
    assert len(first) < 100_000
    probe = head_probe(wide, rng())
    assert probe['input_features'].shape == (4, 512, 3, 4)
    assert probe['output_points'].shape == (4, 3, 3, 4)
    assert len(npz.pack(probe)) < 100_000
    found = npz.unpack(first, 'probe.npz')
    assert found['input_image'].shape == (4, 40, 48, 3)
    assert found['output_features'].shape == (4, 128, 5, 6)
    assert found['output_sure'].shape == (4, 1, 5, 6)
    assert found['input_image'].dtype == np.uint8
