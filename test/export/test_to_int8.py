"""The encoder in 8 bits tells nearly what it tells in float32."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.engines.onnx_engine import OnnxEngine
from vloc_models.engines.probe import CASES, check_probe, make_probe
from vloc_models.errors import ExportError
from vloc_models.export.to_int8 import int8_graph
from vloc_models.localize.encoder import shipped_graph


@pytest.fixture(scope='module')
def pictures(gallery: Any) -> NDArray[np.uint8]:
    step = max(1, len(gallery.drawn) // CASES)
    return np.stack([frame.views[0].image[:96, :128] for frame in gallery.drawn[::step][:CASES]])


def test_it_tells_nearly_the_same_in_less_space(pictures: NDArray[np.uint8]) -> None:
    whole = OnnxEngine(shipped_graph(), 'float32')
    graph = int8_graph(shipped_graph(), pictures)
    assert len(graph) < 0.6 * len(shipped_graph())  # of two bytes a weight
    small = OnnxEngine(graph, 'int8')
    assert (small.inputs, small.outputs) == (whole.inputs, whole.outputs)
    probe = make_probe(whole, {'image': pictures})
    assert check_probe(small, probe, 'int8', tolerance=1.0) > 1e-3
    found, wanted = (e({'image': pictures[:1]})['features'][0] for e in (small, whole))
    assert (found * wanted).sum(0).mean() > 0.98  # unit vectors


def test_without_pictures_there_is_nothing_to_calibrate_with() -> None:
    with pytest.raises(ExportError, match='no pictures'):
        int8_graph(shipped_graph(), [])
