"""Layers by hand: sizes, conditioning, and that a cell knows of nothing but itself."""

import math

import pytest
import torch
from torch import Tensor, nn

from vloc_models.networks.blocks import (
    CellBranch,
    Film,
    Up,
    conv,
    dilated_down,
    init_xavier,
    one_hot,
)


def elu(x: float) -> float:
    return x if x > 0 else math.expm1(x)


def set_to(layer: nn.Module, weight: list[list[float]], bias: list[float]) -> None:
    assert isinstance(layer, nn.Conv2d)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight)[:, :, None, None])
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor(bias))


@pytest.mark.parametrize('size', [(8, 6), (7, 5), (1, 1), (1, 9)])
def test_sizes(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    half = tuple(math.ceil(n / 2) for n in size)
    assert conv(3, 4)(x).shape == (2, 4, *size)
    assert conv(3, 4, 1)(x).shape == (2, 4, *size)
    assert conv(3, 4, stride=2)(x).shape == (2, 4, *half)
    below = dilated_down(3, 5)(x)
    assert below.shape == (2, 5, *half)
    assert Up(5, 6)(below, x).shape == (2, 6, *size)


def test_activations() -> None:
    x = torch.randn(1, 2, 4, 4)
    assert -1 < conv(2, 8)(10 * x).min() < 0
    assert conv(2, 8, activation=nn.ReLU)(10 * x).min() == 0


def test_dilated_layers_see_far() -> None:
    """4 cells on each side by the first, twice as many by the second at half the size."""
    x = torch.randn(1, 2, 65, 65, requires_grad=True)
    dilated_down(2, 3)(x)[0, :, 16, 16].sum().backward()
    assert x.grad is not None
    rows, columns = torch.nonzero(x.grad[0].abs().sum(0), as_tuple=True)
    assert (rows.min(), rows.max()) == (32 - 6, 32 + 6)
    assert (columns.min(), columns.max()) == (32 - 6, 32 + 6)


def test_up_gives_four_cells_of_one() -> None:
    up, x = Up(2, 3), torch.randn(1, 2, 3, 4, requires_grad=True)
    up(x, torch.zeros(1, 1, 5, 8))[0, :, 4, 3].sum().backward()
    assert x.grad is not None
    assert torch.nonzero(x.grad[0].abs().sum(0)).tolist() == [[2, 1]]


def test_one_hot_and_labels_that_are_not_known() -> None:
    found = one_hot(torch.tensor([[[0, 2], [-1, 1]]]), 3)
    assert found.dtype == torch.float32
    assert found.tolist() == [[[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 0]]]]


@pytest.mark.parametrize('code', [(2.0, 0.3), (-0.7, 0.4), (0.0, 0.0)])
@pytest.mark.parametrize('x', [-0.6, 0.0, 1.5])
def test_film_by_hand(x: float, code: tuple[float, float]) -> None:
    """Gamma and beta are activated too."""
    film = Film(2, 1)
    set_to(film.gamma[0], [[1.0, 0.5]], [0.1])
    set_to(film.beta[0], [[-1.0, 2.0]], [-0.2])
    gamma = elu(code[0] + 0.5 * code[1] + 0.1)
    beta = elu(-code[0] + 2 * code[1] - 0.2)
    found = film(torch.full((1, 1, 1, 1), x), torch.tensor(code).reshape(1, 2, 1, 1))
    assert found.item() == pytest.approx(elu(gamma * x + beta), abs=1e-6)


def test_a_branch_by_hand() -> None:
    """Layer, its modulation by the code of the label, output that is not activated."""
    branch = CellBranch(1, (1,), 1, (2, 1))
    (layer,), (film,) = branch.layers, branch.films
    assert isinstance(layer, nn.Sequential)
    assert isinstance(film, Film)
    set_to(layer[0], [[2.0]], [-1.0])
    set_to(branch.get_submodule('generator.0.0'), [[3.0, -0.5]], [0.0])
    set_to(film.gamma[0], [[1.0]], [0.0])
    set_to(film.beta[0], [[0.5]], [0.0])
    set_to(branch.out, [[-2.0]], [0.5])
    x, known = torch.tensor([[[[0.2, 0.2]]]]), one_hot(torch.tensor([[[0, 1]]]), 2)
    wanted = []
    for code in (elu(3.0), elu(-0.5)):
        gamma, beta = elu(code), elu(0.5 * code)
        wanted.append(-2 * elu(gamma * elu(2 * 0.2 - 1) + beta) + 0.5)
    torch.testing.assert_close(branch(x, known)[0, 0, 0], torch.tensor(wanted))


def changed(first: Tensor, second: Tensor) -> list[list[int]]:
    return torch.nonzero((first != second).any(1)[0]).tolist()


def test_a_cell_is_conditioned_on_its_own_label_only() -> None:
    torch.manual_seed(0)
    branch, x = CellBranch(4, (8, 6), 3, (5, 7, 7)), torch.randn(1, 4, 3, 4)
    labels = torch.zeros(1, 3, 4, dtype=torch.long)
    other = labels.clone()
    other[0, 1, 2] = 3
    assert changed(branch(x, one_hot(labels, 5)), branch(x, one_hot(other, 5))) == [[1, 2]]
    moved = x.clone()
    moved[0, :, 2, 0] += 1
    known = one_hot(labels, 5)
    assert changed(branch(x, known), branch(moved, known)) == [[2, 0]]


def test_without_a_generator_nothing_is_conditioned() -> None:
    branch, x = CellBranch(4, (8, 6), 3), torch.randn(1, 4, 3, 4)
    assert not list(branch.films)
    assert torch.equal(branch(x), branch(x, torch.randn(1, 5, 3, 4)))
    assert sum(p.numel() for p in branch.parameters()) == 4 * 8 + 8 + 8 * 6 + 6 + 6 * 3 + 3


def test_xavier() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(conv(32, 64), Up(64, 16))
    init_xavier(net)
    for name, (fan_in, fan_out) in {'0.0': (32 * 9, 64 * 9), '1.conv': (64 * 4, 16 * 4)}.items():
        layer = net.get_submodule(name)
        bound = math.sqrt(6 / (fan_in + fan_out))
        weight = layer.get_parameter('weight')
        assert weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)  # uniform
        assert (layer.get_parameter('bias') == 0).all()
