"""Graphs that are right, wrong, damaged, or that reach for files."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.errors import MapError

WEIGHTS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def graph(op: str = 'MatMul', weights: TensorProto | None = None, kind: int = 1) -> bytes:
    """x [N, 3] to y [N, 4]."""
    weights = weights or numpy_helper.from_array(WEIGHTS, 'w')
    x = helper.make_tensor_value_info('x', kind, ['N', 3])
    y = helper.make_tensor_value_info('y', kind, ['N', 4])
    body = helper.make_graph([helper.make_node(op, ['x', 'w'], ['y'])], 'g', [x], [y], [weights])
    opset = [helper.make_opsetid('', 18)]
    return helper.make_model(body, ir_version=8, opset_imports=opset).SerializeToString()


def elsewhere(location: str) -> TensorProto:
    """Weights that lie in another file."""
    tensor = TensorProto(
        name='w', data_type=1, dims=WEIGHTS.shape, data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key='location', value=location)
    return tensor


def ones(n: int = 2) -> dict[str, np.ndarray]:
    return {'x': np.ones((n, 3), np.float32)}


@pytest.mark.parametrize('threads', [0, 1, 2])
def test_arrays_in_arrays_out(threads: int) -> None:
    engine = OnnxEngine(graph(), 'g.onnx', threads)
    assert (engine.inputs, engine.outputs) == (('x',), ('y',))
    for n in (1, 5):
        y = engine(ones(n))['y']
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, ones(n)['x'] @ WEIGHTS, atol=1e-6)


@pytest.mark.parametrize(
    'raw',
    [b'', b'no graph', bytes(100), graph()[:-40], graph('NoSuchOperator'), b'\0\0\0\0ORTM' * 20],
)
def test_what_is_no_graph_is_one_line(raw: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MapError, match=r'^site/head\.onnx: .*load.*; copy the map again') as e:
        OnnxEngine(raw, 'site/head.onnx')
    assert str(e.value).isprintable()
    assert len(str(e.value)) < 400
    assert capfd.readouterr() == ('', '')


def test_a_graph_of_the_future_is_refused() -> None:
    model = onnx.load_from_string(graph())
    model.opset_import[0].version = 999
    with pytest.raises(MapError, match='cannot load'):
        OnnxEngine(model.SerializeToString(), 'g')


@pytest.mark.parametrize('name', [b'\n\x01x', b'\n\x01y', b'\x12\x01N'])
def test_names_that_are_no_text(name: bytes) -> None:
    with pytest.raises(MapError, match='g: '):
        OnnxEngine(graph().replace(name, name[:2] + b'\x9e'), 'g')


def test_no_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime by itself reads ``inside``, and older versions the others."""
    (tmp_path / 'here').mkdir()
    for file in (tmp_path / 'here' / 'inside', tmp_path / 'outside'):
        file.write_bytes(WEIGHTS.tobytes())
    monkeypatch.chdir(tmp_path / 'here')
    for place in ('inside', '../outside', str(tmp_path / 'outside'), '*/_ORT_MEM_ADDR_/*'):
        with pytest.raises(MapError, match='in another file; no vloc writes'):
            OnnxEngine(graph(weights=elsewhere(place)), 'g')


def test_only_plain_tensors() -> None:
    doubles = numpy_helper.from_array(WEIGHTS.astype(np.float64), 'w')
    with pytest.raises(MapError, match=r'tensor\(double\)'):
        OnnxEngine(graph(weights=doubles, kind=TensorProto.DOUBLE), 'g')


@pytest.mark.parametrize(
    ('change', 'what'),
    [
        (lambda x: {}, r"wants \['x'\], was given \[\]"),
        (lambda x: {'z': x}, r"was given \['z'\]"),
        (lambda x: {'x': x, 'z': x}, r"was given \['x', 'z'\]"),
        (lambda x: {'x': x[0]}, r'float32 \[3\]'),
        (lambda x: {'x': x[:, :2]}, r"float32 \[2, 2\], the graph wants .* \['N', 3\]"),
        (lambda x: {'x': x[:0]}, r'\[0, 3\]'),
        (lambda x: {'x': x.astype(np.float64)}, 'float64'),
        (lambda x: {'x': x.astype('>f4')}, '>f4'),
    ],
)
def test_wrong_arrays(change: Callable[[np.ndarray], dict[str, np.ndarray]], what: str) -> None:
    with pytest.raises(MapError, match=what):
        OnnxEngine(graph(), 'g')(change(ones()['x']))


def test_arrays_need_not_be_contiguous() -> None:
    x = np.arange(24, dtype=np.float32).reshape(4, 6)[::2, ::2]
    np.testing.assert_allclose(OnnxEngine(graph(), 'g')({'x': x})['y'], x @ WEIGHTS, atol=1e-5)


def test_a_graph_that_fails_while_it_runs() -> None:
    x = helper.make_tensor_value_info('x', 1, ['N', 'M'])
    y = helper.make_tensor_value_info('y', 1, None)
    weights = numpy_helper.from_array(WEIGHTS, 'w')
    node = helper.make_node('MatMul', ['x', 'w'], ['y'])
    body = helper.make_graph([node], 'g', [x], [y], [weights])
    model = helper.make_model(body, ir_version=8, opset_imports=[helper.make_opsetid('', 18)])
    with pytest.raises(MapError, match='failed'):
        OnnxEngine(model.SerializeToString(), 'g')({'x': np.ones((2, 5), np.float32)})


@settings(max_examples=100)
@given(st.data())
def test_a_damaged_graph_works_or_is_a_map_error(damaged: Any, data: st.DataObject) -> None:
    raw = data.draw(damaged(graph()))
    with suppress(MapError):
        OnnxEngine(raw, 'g', threads=1)(ones())
