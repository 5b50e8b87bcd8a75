"""DASGIL's encoder as a graph tells what torch tells."""

import numpy as np
import pytest
import torch

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.errors import ExportError, VlocError
from vloc_models.export.parity import place_probe
from vloc_models.export.to_onnx import place_graph, round_to_half
from vloc_models.networks.dasgil import DasgilConfig, DasgilEncoder


@pytest.fixture(scope='module')
def encoder() -> DasgilEncoder:
    """Small, with statistics of some pictures."""
    torch.manual_seed(0)
    encoder = DasgilEncoder(DasgilConfig(width=4).widths)
    encoder(torch.rand(4, 3, 256, 256))
    round_to_half(encoder)
    return encoder.eval()


def test_the_graph_is_that_of_the_network(encoder: DasgilEncoder) -> None:
    engine = OnnxEngine(place_graph(encoder), 'places')
    probe = place_probe(encoder, np.random.default_rng(0))
    assert check_probe(engine, probe, 'places') < 1e-3
    image = np.random.default_rng(1).integers(0, 256, (1, 256, 256, 3), np.uint8)
    told = engine({'image': image})
    with torch.no_grad():
        maps = encoder(torch.from_numpy(image).permute(0, 3, 1, 2) / 255)
    assert told['layer5'].shape == (1, 32, 8, 8)
    np.testing.assert_allclose(told['layer5'], maps[4], atol=1e-4)
    np.testing.assert_allclose(told['layer6'], maps[5], atol=1e-4)


def test_another_network_fails_the_probe(encoder: DasgilEncoder) -> None:
    torch.manual_seed(1)
    other = DasgilEncoder(encoder.widths).eval()
    round_to_half(other)
    engine = OnnxEngine(place_graph(encoder), 'places')
    with pytest.raises(VlocError):
        check_probe(engine, place_probe(other, np.random.default_rng(0)), 'places')


def test_what_is_not_rounded_is_refused(encoder: DasgilEncoder) -> None:
    with pytest.raises(ExportError, match='not rounded'):
        place_graph(DasgilEncoder(encoder.widths).eval())
