"""The pose prior's graph says what torch says; what only served to learn is not in it."""

import numpy as np
import onnx
import pytest
import torch

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import ExportError, MapError
from vloc_models.export.parity import prior_probe
from vloc_models.export.to_onnx import PosePrior, prior_graph, round_to_half
from vloc_models.networks.color_apr import Aux, ColorApr, ColorAprConfig, PoseScale

SIZE = 32, 64
CENTRE = torch.tensor([100.1, -50.2, 2.3])


def network(aux: Aux = 'colour', seed: int = 0) -> ColorApr:
    torch.manual_seed(seed)
    config = ColorAprConfig(aux=aux, widths=(4, 4, 8, 8), fused=32, hidden=32)
    turn = torch.tensor([0.5, -0.5, 0.5, -0.5])
    net = ColorApr(config, PoseScale(CENTRE, torch.tensor([2.0, 3.0, 0.1]), turn))
    for _ in range(3):  # statistics of batches
        net.train()(torch.rand(4, 3, *SIZE))
    round_to_half(net.eval())
    return net


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope='module')
def exported() -> bytes:
    return prior_graph(network(), SIZE)


@pytest.mark.parametrize('aux', ['colour', 'none'])
def test_it_says_what_torch_says(aux: Aux, exported: bytes) -> None:
    net = network(aux)
    engine = OnnxEngine(exported if aux == 'colour' else prior_graph(net, SIZE), 'prior.onnx')
    reference = TorchEngine(PosePrior(net), ('image',), ('pose', 'sigma'))
    assert engine.inputs == ('image',)
    assert engine.outputs == ('pose', 'sigma')
    for _ in range(3):
        image = {'image': rng().integers(0, 256, (1, *SIZE, 3), np.uint8)}
        found, wanted = engine(image), reference(image)
        assert found['pose'].shape == (1, 7)
        assert found['sigma'].shape == (1, 2)
        np.testing.assert_allclose(found['pose'], wanted['pose'], rtol=0, atol=1e-4)
        np.testing.assert_allclose(found['sigma'], wanted['sigma'], rtol=1e-4)
        assert np.linalg.norm(found['pose'][0, 3:]) == pytest.approx(1, abs=1e-5)


def test_the_decoder_stays_behind_and_the_network_whole(exported: bytes) -> None:
    net = network()
    PosePrior(net)
    assert net(torch.rand(1, 3, *SIZE)).task is not None
    graph = onnx.load_from_string(exported).graph
    weights = [onnx.numpy_helper.to_array(x) for x in graph.initializer]
    floats = sum(x.size for x in weights if x.dtype.kind == 'f')
    kept = sum(p.numel() for p in PosePrior(net).parameters())
    assert kept < sum(p.numel() for p in net.parameters())
    assert abs(floats - kept) < 2000  # the statistics of batches come with it
    assert any(np.array_equal(x.ravel(), CENTRE.numpy()) for x in weights)


def test_only_pictures_of_its_size(exported: bytes) -> None:
    engine = OnnxEngine(exported, 'prior.onnx')
    with pytest.raises(MapError, match='image is'):
        engine({'image': np.zeros((1, 64, 64, 3), np.uint8)})


def test_weights_must_be_rounded_first() -> None:
    net = network()
    with torch.no_grad():
        net.position.weight.add_(1e-6)
    with pytest.raises(ExportError, match='round_to_half'):
        prior_graph(net, SIZE)


def test_a_probe_finds_other_weights(exported: bytes) -> None:
    engine, probe = OnnxEngine(exported, 'prior.onnx'), prior_probe(network(), SIZE, rng())
    assert npz.pack(probe) == npz.pack(prior_probe(network(), SIZE, rng()))
    assert probe['input_image'].shape == (4, *SIZE, 3)
    assert check_probe(engine, probe, 'probe.npz') < 5e-4
    for seed in (1, 2):
        with pytest.raises(MapError, match='differs by'):
            check_probe(engine, prior_probe(network(seed=seed), SIZE, rng()), 'probe.npz')
