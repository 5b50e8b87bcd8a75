"""Weights as a file: nothing is lost but precision, and nothing odd is let in."""

from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vloc_models.errors import VlocError
from vloc_models.training.weights import load_weights, save_weights


class Net(nn.Module):
    """Two layers and a place in the map."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Conv2d(2, 3, 1), nn.Linear(3, 2)
        self.register_buffer('centre', torch.tensor([1234.56789, -0.1, 7.0]) + seed)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, b.state_dict()[name]) for name, x in a.state_dict().items())


def changed(**tensors: Tensor | None) -> bytes:
    """The file of a Net with some tensors replaced, added, or (None) left out."""
    found: dict[str, Tensor | None] = {**safetensors.torch.load(save_weights(Net())), **tensors}
    return safetensors.torch.save({k: v for k, v in found.items() if v is not None})


def test_a_round_trip_loses_only_precision() -> None:
    net, back = Net(), Net(seed=1)
    load_weights(back, save_weights(net), 'net')
    for name, x in net.state_dict().items():
        y = back.state_dict()[name]
        assert y.dtype == torch.float32
        assert torch.equal(y, x if name == 'centre' else x.half().float())
    again = Net(seed=2)
    load_weights(again, save_weights(back), 'net')
    assert same(again, back)


def test_weights_are_stored_in_half_but_the_centre_in_full() -> None:
    stored = safetensors.torch.load(save_weights(nn.ModuleDict({'head': Net()})))
    kinds = {name: x.dtype for name, x in stored.items()}
    assert kinds.pop('head.centre') == torch.float32
    assert set(kinds.values()) == {torch.float16}


def test_equal_weights_give_equal_bytes() -> None:
    net = Net()
    turned = Net()
    turned.second.weight.data = net.second.weight.data.T.contiguous().T  # other strides
    assert save_weights(net) == save_weights(Net()) == save_weights(turned)
    assert save_weights(Net(seed=1)) != save_weights(net)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), 7e4])
def test_what_does_not_fit_half_precision_is_not_written(value: float) -> None:
    net = Net()
    with torch.no_grad():
        net.second.bias[1] = value
    with pytest.raises(VlocError, match=r'second\.bias'):
        save_weights(net)


@pytest.mark.parametrize(
    ('tensors', 'what'),
    [
        ({'centre': None}, 'lacks centre'),
        ({'third': torch.zeros(1)}, 'also holds third'),
        ({'centre': torch.zeros(4)}, r'centre has shape \[4\], expected \[3\]'),
        ({'centre': torch.zeros(1)}, 'centre has shape'),  # would be spread over all three
        ({'centre': torch.tensor([0, float('nan'), 0])}, 'centre holds NaN'),
        ({'centre': torch.tensor([0, float('inf'), 0])}, 'centre holds NaN'),
        ({'centre': torch.zeros(3, dtype=torch.int64)}, 'int64'),
        ({'centre': torch.zeros(3, dtype=torch.float64)}, 'float64'),
    ],
)
def test_odd_files_are_refused(tensors: dict[str, Any], what: str) -> None:
    net = Net(seed=1)
    with pytest.raises(VlocError, match=f'encoder: {what}|encoder: .*{what}'):
        load_weights(net, changed(**tensors), 'encoder')
    assert same(net, Net(seed=1))


def test_names_of_strangers_are_cut_short() -> None:
    many = {'x' * 500 + str(i): torch.zeros(1) for i in range(50)}
    with pytest.raises(VlocError, match='and 47 more') as caught:
        load_weights(Net(), changed(**many), 'encoder')
    assert len(str(caught.value)) < 400


@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes_are_refused_or_are_weights(damaged: Any, data: st.DataObject) -> None:
    net = Net()
    raw = data.draw(damaged(save_weights(Net(seed=1))))
    try:
        load_weights(net, raw, 'encoder')
    except VlocError:
        assert same(net, Net())
    assert all(x.isfinite().all() for x in net.state_dict().values())


@pytest.mark.parametrize('raw', [b'', b'nonsense', b'\xff' * 64])
def test_other_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(VlocError, match='no safetensors file'):
        load_weights(Net(), raw, 'encoder')
