"""Graphs of the light networks say what torch says, of any grid, and probes know their weights."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import check_probe
from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import ExportError, MapError
from vloc_models.export.parity import head_probe
from vloc_models.export.to_onnx import (
    LiteHead,
    SparseHead,
    as_exported,
    head_graph,
    round_to_half,
)
from vloc_models.networks.ace import Whitening
from vloc_models.networks.hscnet_lite import HscnetLite, HscnetLiteConfig

LITE = HscnetLiteConfig(16, (5, 4), 24, (16, 12), (24,), (8,), image_code=6)
SPARSE = replace(LITE, images=7)
GRIDS = (5, 7), (1, 300), (13, 4), (1, 1)


def network(size: HscnetLiteConfig, seed: int = 0) -> HscnetLite:
    torch.manual_seed(seed)
    whitening = Whitening(torch.randn(16), torch.randn(16, 16) / 4)
    net = HscnetLite(size, torch.randn(20, 3) * 5 + 1234.5678, whitening).eval()
    round_to_half(net)
    return net


@cache
def graph_of(size: HscnetLiteConfig) -> bytes:
    return head_graph(network(size))


@pytest.fixture(params=[LITE, SPARSE], ids=['lite', 'sparse'])
def exported(request: pytest.FixtureRequest) -> tuple[HscnetLite, bytes]:
    return network(request.param), graph_of(request.param)


def asked(net: HscnetLite, h: int, w: int, picture: int = 3) -> dict[str, NDArray[Any]]:
    features = np.random.default_rng(h * w).normal(size=(1, 16, h, w)).astype(np.float32)
    inputs: dict[str, NDArray[Any]] = {'features': features}
    return inputs | ({'picture': np.array([picture])} if net.config.images else {})


def test_a_graph_on_any_grid(exported: tuple[HscnetLite, bytes]) -> None:
    net, raw = exported
    wanted = as_exported(net)
    assert type(wanted.module) is (SparseHead if net.config.images else LiteHead)
    engine = OnnxEngine(raw, 'head.onnx')
    assert engine.inputs == tuple(wanted.inputs)
    assert engine.outputs == wanted.outputs == ('points', 'sure')
    reference = TorchEngine(wanted.module, engine.inputs, engine.outputs)
    for h, w in GRIDS:
        given = asked(net, h, w)
        found, right = engine(given), reference(given)
        assert found['points'].shape == (1, 3, h, w)
        assert found['sure'].shape == (1, 1, h, w)
        np.testing.assert_allclose(found['points'], right['points'], rtol=0, atol=1e-3)
        np.testing.assert_allclose(found['sure'], right['sure'], rtol=0, atol=1e-5)
        if h * w > 1:
            assert right['points'].std(axis=(2, 3)).max() > 1  # of several leaves


def test_cells_in_a_row_or_in_a_grid_are_the_same(exported: tuple[HscnetLite, bytes]) -> None:
    """The localizer asks for cells in a row."""
    net, raw = exported
    engine, given = OnnxEngine(raw, 'head.onnx'), asked(net, 5, 7)
    row = given | {'features': given['features'].reshape(1, 16, 1, 35)}
    for name, found in engine(given).items():
        np.testing.assert_allclose(engine(row)[name].reshape(found.shape), found, atol=1e-3)


def test_each_picture_is_another_answer() -> None:
    net = network(SPARSE)
    engine = OnnxEngine(graph_of(SPARSE), 'head.onnx')
    told = [engine(asked(net, 2, 3, n)) for n in range(7)]
    for n, found in enumerate(told):
        with torch.no_grad():
            x = torch.from_numpy(asked(net, 2, 3)['features'])
            output = net(x, image=torch.full((1, 2, 3), n))
        np.testing.assert_allclose(found['points'], net.points(output), rtol=0, atol=1e-3)
        np.testing.assert_allclose(found['sure'], net.sure(output), rtol=0, atol=1e-5)
        assert all(np.abs(found['sure'] - other['sure']).max() > 1e-3 for other in told[:n])
    with pytest.raises(MapError, match='ONNX Runtime failed'):
        engine(asked(net, 2, 3, 7))  # no such picture


def test_axes_are_open_and_centres_exact(exported: tuple[HscnetLite, bytes]) -> None:
    net, raw = exported
    graph = onnx.load_from_string(raw).graph
    borders = [x.type.tensor_type.shape.dim for x in (*graph.input, *graph.output)]
    axes = [[d.dim_param or d.dim_value for d in dims] for dims in borders]
    picture = [[1]] if net.config.images else []
    assert axes == [[1, 16, 'h', 'w'], *picture, [1, 3, 'h', 'w'], [1, 1, 'h', 'w']]
    weights = [onnx.numpy_helper.to_array(x) for x in graph.initializer]
    centre = net.centre.numpy()
    assert any(x.dtype == np.float32 and np.array_equal(x, centre) for x in weights)


def test_weights_must_be_rounded_first() -> None:
    with pytest.raises(ExportError, match='round_to_half'):
        head_graph(HscnetLite(LITE, torch.zeros(20, 3)))


def probe(net: HscnetLite) -> dict[str, NDArray[Any]]:
    return head_probe(net, np.random.default_rng(0))


def test_a_probe_finds_other_weights(exported: tuple[HscnetLite, bytes]) -> None:
    """Of each level, of the regressor, other centres, and the codes of other pictures."""
    net, raw = exported
    engine = OnnxEngine(raw, 'head.onnx')
    assert check_probe(engine, probe(net), 'probe.npz') < 1e-4
    layers = ['enter.0', 'trunk.1.0.0', 'levels.0.out', 'levels.1.out', 'regressor.out']
    layers += ['levels.1.generator.0.0', 'regressor.films.0.gamma.0']
    names = [f'{layer}.weight' for layer in layers] + ['centre', 'mean', 'whiten']
    for name in names + (['image_code.weight'] if net.config.images else []):
        other = network(net.config)
        with torch.no_grad():
            weight = other.state_dict()[name]
            weight.copy_(weight.roll(1, 0))
        with pytest.raises(MapError, match='differs by'):
            check_probe(engine, probe(other), 'probe.npz')


@pytest.mark.parametrize('size', [LITE, SPARSE], ids=['lite', 'sparse'])
def test_a_probe_has_clear_classes_and_is_always_the_same(size: HscnetLiteConfig) -> None:
    net = network(size)
    found, again = probe(net), probe(net)
    assert found.keys() == again.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, again[name])
    assert found['output_points'].shape == (4, 3, 3, 4)
    assert found['output_sure'].shape == (4, 1, 3, 4)
    features = found['input_features']
    assert features.shape == (4, 16, 3, 4)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, rtol=1e-5)
    picture = found.get('input_picture')
    assert (picture is not None) is bool(size.images)
    if picture is not None:
        assert picture.dtype == np.int64
        assert ((picture >= 0) & (picture < size.images)).all()

    def lead(x: torch.Tensor, number: NDArray[np.int64]) -> float:
        image = torch.from_numpy(number)[:, None, None].expand(-1, 3, 4) if size.images else None
        with torch.no_grad():
            best = [y.topk(2, 1).values for y in net(x, image=image).logits]
        return min(float((y[:, 0] - y[:, 1]).min()) for y in best)

    clear = lead(torch.from_numpy(features), np.zeros(4, int) if picture is None else picture)
    rng = np.random.default_rng(1)
    usual = rng.normal(size=(32, 16, 3, 4))
    usual = torch.from_numpy(usual / np.linalg.norm(usual, axis=1, keepdims=True)).float()
    assert clear > 1e-3
    assert clear > 2 * lead(usual, rng.integers(0, max(1, size.images), 32))


def test_other_kinds_of_it() -> None:
    """Classes alone, not conditioned, three levels: in one graph."""
    size = replace(LITE, branching=(2, 5, 2), regressor=(), conditioned=False)
    net = network(size)
    engine = OnnxEngine(head_graph(net), 'head.onnx')
    assert check_probe(engine, probe(net), 'probe.npz') < 1e-4
    points = engine(asked(net, 5, 7))['points'][0].reshape(3, -1).T
    away = np.linalg.norm(points[:, None] - net.centre.numpy(), axis=2).min(1)
    assert away.max() < 1e-3
