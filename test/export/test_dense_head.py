"""Graphs that find map points in an image say what torch says, of any size, and so do probes."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from vloc_models import npz
from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import ExportError, MapError
from vloc_models.export.parity import head_probe
from vloc_models.export.to_onnx import (
    DenseHead,
    head_graph,
    round_to_half,
)
from vloc_models.networks.hscnet import Hscnet, HscnetConfig, Widths

WIDTHS = Widths(8, 8, (8,), (8,), (8,), (8,), (4, 4, 8, 8, 8, 8, 8, 16))
CONFIG = HscnetConfig(branching=(5, 4), regressor=(16,), widths=WIDTHS)


def network(seed: int = 0, config: HscnetConfig = CONFIG) -> Hscnet:
    torch.manual_seed(seed)
    net = Hscnet(config, torch.randn(config.leaves, 3) * 5 + 100).eval()
    round_to_half(net)
    return net


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture(scope='module')
def exported() -> bytes:
    return head_graph(network())


def agree(net: Hscnet, graph: bytes, sizes: tuple[tuple[int, int], ...]) -> None:
    engine = OnnxEngine(graph, 'head.onnx')
    reference = TorchEngine(DenseHead(net), ('image',), ('points', 'sure'))
    assert engine.inputs == ('image',)
    assert engine.outputs == ('points', 'sure')
    for H, W in sizes:
        image = {'image': rng().integers(0, 256, (1, H, W, 3), np.uint8)}
        found, wanted = engine(image), reference(image)
        assert found['points'].shape == (1, 3, -(-H // 8), -(-W // 8))
        assert found['sure'].shape == (1, 1, -(-H // 8), -(-W // 8))
        np.testing.assert_allclose(found['points'], wanted['points'], rtol=0, atol=1e-4)
        np.testing.assert_allclose(found['sure'], wanted['sure'], rtol=0, atol=1e-5)
        if H * W > 4000:  # several leaves, or their choice would not be tested
            assert net.config.leaves == 1 or wanted['points'].std() > 1


def test_a_graph_at_any_size(exported: bytes) -> None:
    sizes = (72, 104), (48, 64), (97, 161), (45, 61), (8, 8), (1, 1), (120, 9)
    agree(network(), exported, sizes)


def test_a_graph_without_classes() -> None:
    net = network(config=replace(CONFIG, classified=False))
    graph = head_graph(net)
    agree(net, graph, ((72, 104), (45, 61)))
    probe = head_probe(net, rng())
    assert (probe['output_sure'] == 1).all()
    assert check_probe(OnnxEngine(graph, 'head.onnx'), probe, 'probe.npz') < 1e-4


def test_it_takes_colours_of_bytes(exported: bytes) -> None:
    """0 and 255 are -1 and 1, red comes first."""
    image = np.zeros((1, 16, 16, 3), np.uint8)
    image[..., 0] = 255
    net, shown = network(), -torch.ones(1, 3, 16, 16)
    shown[:, 0] = 1
    with torch.no_grad():
        wanted = net.points(net(shown)).numpy()
    found = OnnxEngine(exported, 'head.onnx')({'image': image})
    np.testing.assert_allclose(found['points'], wanted, rtol=0, atol=1e-4)


def test_axes_are_open_and_centres_exact(exported: bytes) -> None:
    graph = onnx.load_from_string(exported).graph
    (image,) = graph.input
    borders = [x.type.tensor_type.shape.dim for x in (image, *graph.output)]
    axes = [[d.dim_param or d.dim_value for d in dims] for dims in borders]
    assert axes == [[1, 'H', 'W', 3], [1, 3, 'h', 'w'], [1, 1, 'h', 'w']]
    weights = [onnx.numpy_helper.to_array(x) for x in graph.initializer]
    centre = network().centre.numpy()
    assert any(x.dtype == np.float32 and np.array_equal(x, centre) for x in weights)


def test_weights_must_be_rounded_first() -> None:
    with pytest.raises(ExportError, match='round_to_half'):
        head_graph(Hscnet(CONFIG, torch.zeros(20, 3)))


def test_a_probe_finds_other_weights(exported: bytes) -> None:
    """Of any level, of the regressor, and other centres."""
    engine = OnnxEngine(exported, 'head.onnx')
    probe = head_probe(network(), rng())
    assert check_probe(engine, probe, 'probe.npz') < 1e-4
    layers = 'trunk.0.0', 'coarse.out', 'fine.out', 'regressor.out', 'regressor.generator.0.0'
    for name in (*(f'{layer}.weight' for layer in layers), 'centre'):
        other = network()
        with torch.no_grad():
            weight = other.state_dict()[name]
            weight.copy_(weight.roll(1, 0))
        with pytest.raises(MapError, match='differs by'):
            check_probe(engine, head_probe(other, rng()), 'probe.npz')


def test_a_probe_is_small_always_the_same_and_has_clear_classes() -> None:
    """Its pictures are those in which no cell's choice is close."""
    net = network()
    probe = head_probe(net, rng())
    raw = npz.pack(probe)
    assert raw == npz.pack(head_probe(net, rng()))
    assert len(raw) < 100_000
    assert probe['input_image'].shape == (4, 40, 48, 3)
    assert probe['output_points'].shape == (4, 3, 5, 6)
    assert probe['output_sure'].shape == (4, 1, 5, 6)

    def lead(images: np.ndarray) -> float:
        shown = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.no_grad():
            best = [x.topk(2, 1).values for x in net(shown).logits]
        return min(float((x[:, 0] - x[:, 1]).min()) for x in best)

    noise = rng().integers(0, 256, (4, 40, 48, 3), np.uint8)
    assert lead(probe['input_image']) > 1e-3
    assert lead(probe['input_image']) > 2 * lead(noise)


def test_one_class_of_a_level_is_no_fault() -> None:
    net = network(config=replace(CONFIG, branching=(1, 4)))
    assert np.isfinite(head_probe(net, rng())['output_points']).all()
