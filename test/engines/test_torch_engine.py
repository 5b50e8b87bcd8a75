"""The reference: a module behind an engine's call."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.errors import MapError


class Two(nn.Module):
    """The sum, dropped out, and the difference."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(0.9)

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return self.dropout(self.gain * (a + b)), a - b


def test_names_in_order_and_evaluation_mode() -> None:
    module = Two()
    engine = TorchEngine(module, ('a', 'b'), ('sum', 'difference'))
    assert (engine.inputs, engine.outputs) == (('a', 'b'), ('sum', 'difference'))
    a = np.arange(3, dtype=np.float32)
    found = engine({'b': np.ones(3, np.float32), 'a': a})
    np.testing.assert_array_equal(found['sum'], a + 1)
    np.testing.assert_array_equal(found['difference'], a - 1)
    assert module.training


def test_it_is_a_copy() -> None:
    module = nn.Linear(3, 2)
    engine = TorchEngine(module, ('x',), ('y',))
    x = np.ones((1, 3), np.float32)
    before = engine({'x': x})['y']
    nn.init.zeros_(module.weight)
    np.testing.assert_array_equal(engine({'x': x})['y'], before)


def test_wrong_names() -> None:
    with pytest.raises(MapError, match=r"wants \['x'\], was given \['y'\]"):
        TorchEngine(nn.Identity(), ('x',), ('y',))({'y': np.ones(1)})
