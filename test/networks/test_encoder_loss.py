"""What our encoder is taught, against slow twins."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vloc_models.errors import VlocError
from vloc_models.networks import encoder as module
from vloc_models.networks.encoder import ContrastConfig, Seen, Truth, encoder_loss, spot_loss

LOSS = ContrastConfig()
Array = NDArray[np.float64]


# --- cells ---


def units(*shape: int, seed: int = 0) -> Tensor:
    """Random unit vectors along the last axis."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    return x / x.norm(dim=-1, keepdim=True)


def seen(B: int, h: int, w: int, channels: int = 16, seed: int = 0) -> Seen:
    """Random cells."""
    spots = torch.randn(B, 4, h, w, generator=torch.Generator().manual_seed(seed)).double()
    spots[:, :2] = spots[:, :2].clamp(-3.9, 3.9)
    return Seen(units(B, h, w, channels, seed=seed).permute(0, 3, 1, 2).contiguous(), spots)


def slow_centres(h: int, w: int) -> Array:
    return np.array(
        [[8 * (i + 0.5) - 0.5, 8 * (j + 0.5) - 0.5] for j in range(h) for i in range(w)]
    )


def slow_cell(pixel: Array, h: int, w: int) -> int:
    """The cell with the nearest centre: also of a pixel outside."""
    return int(np.argmin(np.abs(slow_centres(h, w) - pixel).sum(1)))


def test_centres_are_where_the_design_says() -> None:
    np.testing.assert_array_equal(seen(1, 5, 7).centres(), slow_centres(5, 7))


def test_the_cell_of_a_pixel_as_the_slow_twin() -> None:
    pixels = np.random.default_rng(0).uniform([-30, -40], [90, 80], (2, 300, 2))
    pixels[0, :2] = [[-0.5, 7.4], [7.5, 7.5]]  # a cell begins at its border
    found = seen(2, 5, 7).cell_of(torch.from_numpy(pixels)).numpy()
    assert (pixels < -0.5).any()
    assert (pixels > [55.5, 39.5]).any()
    expected = [[slow_cell(p, 5, 7) for p in picture] for picture in pixels[:, 2:]]
    np.testing.assert_array_equal(found[:, 2:], expected)
    assert found[0, :2].tolist() == [0, 8]
    cells = seen(2, 5, 7)
    assert cells.cell_of(cells.centres()[None].expand(2, -1, -1))[1].tolist() == list(range(35))


def test_what_is_in_cells_as_the_slow_twin() -> None:
    x = seen(2, 5, 7)
    cells = torch.tensor([[0, 34, 9, 9], [6, 7, 33, 1]])
    features, spots = x.at(cells)
    for b in range(2):
        for n in range(4):
            row, column = divmod(int(cells[b, n]), 7)
            assert torch.equal(features[b, n], x.features[b, :, row, column])
            assert torch.equal(spots[b, n], x.spots[b, :, row, column])


# --- the contrast ---


def slow_contrast(
    asked: Array, same: Array, grid: Array, cells: NDArray[np.int64], config: ContrastConfig
) -> tuple[float, Array]:
    """The loss and who was found, point by point: grid [B, C, h, w], the others [B, N, ...]."""
    B, N = cells.shape
    h, w = grid.shape[2:]
    centres, total, found = slow_centres(h, w), 0.0, np.zeros((B, N))
    for b in range(B):
        for n in range(N):
            right = cells[b, n]
            good = asked[b, n] @ grid[b, :, right // w, right % w] / config.temperature
            rivals = [same[other, m] for other in range(B) if other != b for m in range(N)]
            rivals += [
                grid[b, :, k // w, k % w]
                for k in range(h * w)
                if k != right and math.dist(centres[k], centres[right]) >= config.same_px
            ]
            wrong = [asked[b, n] @ rival / config.temperature for rival in rivals]
            total += math.log(math.exp(good) + sum(map(math.exp, wrong))) - good
            found[b, n] = good > max(wrong)
    return total / (B * N), found


@pytest.mark.parametrize('same_px', [0.0, 12.0, 30.0])
def test_the_contrast_as_the_slow_twin(same_px: float) -> None:
    config = replace(LOSS, same_px=same_px, temperature=0.2)
    other = seen(3, 4, 6, seed=1)
    cells = torch.randint(0, 24, (3, 10), generator=torch.Generator().manual_seed(2))
    cells[:, 1] = cells[:, 0]  # the same point, drawn twice
    same, _ = other.at(cells)
    asked = nn.functional.normalize(same + 2.5 * units(3, 10, 16, seed=3), dim=2)
    loss, found = module._contrast(asked, same, other, cells, config)
    a, s, grid, right = (x.numpy() for x in (asked, same, other.features, cells))
    expected, known = slow_contrast(a, s, grid, right, config)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    np.testing.assert_array_equal(found, known)
    assert 5 < known.sum() < 30


def one_hot(B: int, h: int, w: int) -> Tensor:
    """Features that differ in all cells of all pictures."""
    return torch.eye(B * h * w).reshape(B, h, w, -1).permute(0, 3, 1, 2)


def test_features_that_tell_all_apart_cost_nothing() -> None:
    cells = torch.tensor([[0, 5, 17], [3, 3, 23]])
    other = Seen(one_hot(2, 4, 6), torch.zeros(2, 4, 4, 6))
    asked, _ = other.at(cells)
    loss, found = module._contrast(asked, asked, other, cells, LOSS)
    assert loss.item() < 1e-6
    assert found.tolist() == [[1, 1, 1]] * 2
    loss, found = module._contrast(asked.flip(0), asked, other, cells, LOSS)
    assert loss.item() == pytest.approx(1 / LOSS.temperature, rel=0.1)
    assert found.tolist() == [[0, 0, 0]] * 2


def test_features_that_tell_nothing_cost_log_of_the_candidates() -> None:
    """In a corner 3 cells of 24 are too near to count (8 px and 11.3 px), inside 8 are."""
    flat = Seen(torch.ones(2, 1, 4, 6), torch.zeros(2, 4, 4, 6))
    for cell, near in ((0, 3), (8, 8)):
        cells = torch.full((2, 5), cell)
        asked, _ = flat.at(cells)
        loss, _ = module._contrast(asked, asked, flat, cells, LOSS)
        assert loss.item() == pytest.approx(math.log(24 - near + 5), rel=1e-6)


# --- spots ---


def laplace(missed: Array, log_sigma: Array) -> float:
    return float(np.mean([m / math.exp(s) + s for m, s in zip(missed, log_sigma, strict=True)]))


def test_the_loss_of_spots_is_least_where_the_miss_is_expected() -> None:
    missed = torch.tensor([0.1, 2.0, 5.0]).double()
    log_sigma = missed.log().requires_grad_()
    loss = spot_loss(missed, log_sigma)
    assert loss.item() == pytest.approx(laplace(missed.numpy(), log_sigma.detach().numpy()))
    (slope,) = torch.autograd.grad(loss, log_sigma)
    torch.testing.assert_close(slope, torch.zeros(3).double())
    assert spot_loss(missed, log_sigma + 0.1) > loss
    assert spot_loss(missed, log_sigma - 0.1) > loss


def missed_px(a: Seen, b: Seen, truth: Truth) -> float:
    """The mean distance by which spots are missed: what they cost where sigma is 1."""
    for x in (a, b):
        assert not x.spots[:, 2].any()
    with_, without = (
        encoder_loss(a, b, truth, replace(LOSS, spot_weight=weight)).item() for weight in (1, 0)
    )
    return with_ - without


Pixel = tuple[float, float]
SPOT, OFF = (0.75, -1.5), (0.3, -0.4)  # OFF is 0.5 px


def pair_of(
    jacobian: list[list[float]], shift: Pixel, off: Pixel = (0, 0)
) -> tuple[Seen, Seen, Truth]:
    """Two pictures of 12x12 cells whose spots agree, but for ``off``, at 9 of their cells."""
    J, grid, rows = np.array(jacobian), 12, np.arange(4, 7)
    first = np.array([[8 * i + 3.5, 8 * j + 3.5] for j in rows for i in rows])
    second = (first - 43.5) @ J.T + 43.5 + shift
    a, b = (seen(1, grid, grid, seed=seed) for seed in (1, 2))
    for x in (a, b):
        x.spots[:, 2] = 0
    a.spots[0, 0], a.spots[0, 1] = SPOT
    spots = second + J @ SPOT
    for u, v in spots:
        cell = slow_cell(np.array([u, v]), grid, grid)
        row, column = divmod(cell, grid)
        aim = np.array([u, v]) - slow_centres(grid, grid)[cell] + off
        b.spots[0, :2, row, column] = torch.from_numpy(aim)
    assert len({slow_cell(s, grid, grid) for s in spots}) == 9
    known = (first, second, np.tile(J, (9, 1, 1)))
    return a, b, Truth(*(torch.from_numpy(x)[None] for x in known))


EYE = [[1.0, 0.0], [0.0, 1.0]]
MOVES = [
    (EYE, (0, 0)),
    (EYE, (2.25, -1.25)),  # less than a cell, and 4 of 9 spots end up in another
    (EYE, (-9.0, 17.5)),
    ([[1.5, 0.0], [0.0, 1.5]], (1, 2)),
    ([[1.2, 0.5], [-0.7, 1.1]], (0, -3)),
]


@pytest.mark.parametrize(('jacobian', 'shift'), MOVES)
def test_spots_that_agree_are_not_missed(jacobian: list[list[float]], shift: Pixel) -> None:
    assert missed_px(*pair_of(jacobian, shift)) == pytest.approx(0, abs=1e-5)
    assert missed_px(*pair_of(jacobian, shift, OFF)) == pytest.approx(0.5, abs=1e-5)


@pytest.mark.parametrize('jacobian', [[[2.0, 0.0], [0.0, 2.0]], [[0.0, -1.0], [1.0, 0.0]]])
def test_a_spot_moves_as_the_jacobian_says(jacobian: list[list[float]]) -> None:
    """With another jacobian it would be meant to move otherwise, and be missed by so much."""
    a, b, truth = pair_of(jacobian, (0, 0))
    assert missed_px(a, b, truth) == pytest.approx(0, abs=1e-5)
    for wrong in (np.eye(2), np.array(jacobian).T * 1.2):
        off = np.linalg.norm((np.array(jacobian) - wrong) @ SPOT)
        told = replace(truth, jacobian=torch.from_numpy(wrong).expand(1, 9, 2, 2))
        assert missed_px(a, b, told) == pytest.approx(off, abs=1e-5)


def test_confidence_is_taught_by_what_is_found() -> None:
    """Of the points of one picture one is found and one is not."""
    features = one_hot(1, 4, 6)
    a, b = (Seen(features.clone(), torch.zeros(1, 4, 4, 6)) for _ in range(2))
    a.features[0, :, 3, 5] = features[0, :, 0, 0]  # looks like another cell
    b.features[0, :, 3, 5] = features[0, :, 0, 2]
    pixels = torch.tensor([[[27.5, 3.5], [43.5, 27.5]]])
    truth = Truth(pixels, pixels, torch.eye(2).expand(1, 2, 2, 2))

    def cost(found: float, other: float) -> float:
        for x in (a, b):
            x.spots[0, 3, 0, 3], x.spots[0, 3, 3, 5] = found, other
        with_, without = (
            encoder_loss(a, b, truth, replace(LOSS, sure_weight=weight)) for weight in (1, 0)
        )
        return (with_ - without).item()

    assert cost(20, -20) == pytest.approx(0, abs=1e-4)
    assert cost(-20, 20) == pytest.approx(20, abs=1e-4)
    assert cost(20, 20) == pytest.approx(10, abs=1e-4)
    assert cost(0, 0) == pytest.approx(math.log(2), abs=1e-4)


# --- all of it ---


def test_the_loss_as_the_slow_twin() -> None:
    rng, grid = np.random.default_rng(0), (8, 10)
    a, b = (seen(2, *grid, seed=seed) for seed in (1, 2))
    config = ContrastConfig(temperature=0.3, spot_weight=0.7, sure_weight=0.4)
    here = rng.integers(0, 80, (2, 6))
    first = slow_centres(*grid)[here]
    second = first[:, ::-1] + rng.uniform(-6, 6, (2, 6, 2))
    jacobian = np.eye(2) + rng.uniform(-0.5, 0.5, (2, 6, 2, 2))
    truth = Truth(*(torch.from_numpy(x.copy()) for x in (first, second, jacobian)))
    there, costs = np.zeros((2, 6), int), []
    for p in np.ndindex(2, 6):
        spot_a = a.spots[p[0], :, here[p] // 10, here[p] % 10].numpy()
        aim = second[p] + jacobian[p] @ spot_a[:2]
        there[p] = slow_cell(aim, *grid)
        spot_b = b.spots[p[0], :, there[p] // 10, there[p] % 10].numpy()
        missed = np.linalg.norm(slow_centres(*grid)[there[p]] + spot_b[:2] - aim)
        log_sigma = (spot_a[2] + spot_b[2]) / 2
        costs.append((missed / math.exp(log_sigma) + log_sigma, spot_a[3], spot_b[3]))
        alike = a.features[p[0], :, here[p] // 10, here[p] % 10] + 1.6 * units(16, seed=p[1])
        b.features[p[0], :, there[p] // 10, there[p] % 10] = alike / alike.norm()
    spot, sure_a, sure_b = np.array(costs).T
    cells = (torch.from_numpy(x) for x in (here, there))
    (fa, _), (fb, _) = (x.at(c) for x, c in zip((a, b), cells, strict=True))
    fa, fb, grid_a, grid_b = (x.numpy() for x in (fa, fb, a.features, b.features))
    forth, found_b = slow_contrast(fa, fb, grid_b, there, config)
    back, found_a = slow_contrast(fb, fa, grid_a, here, config)
    assert 0 < found_a.sum() != found_b.sum() < 12
    told, true = np.r_[sure_a, sure_b], np.r_[found_b.ravel(), found_a.ravel()]
    right = 1 / (1 + np.exp(-told))
    sure = -np.mean(np.log(np.where(true == 1, right, 1 - right)))
    expected = (forth + back) / 2 + 0.7 * spot.mean() + 0.4 * sure
    found = encoder_loss(a, b, truth, config)
    assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(('jacobian', 'shift'), MOVES[:2])
def test_gradients_flow_to_both_pictures(jacobian: list[list[float]], shift: Pixel) -> None:
    """Also where a spot is not missed at all."""
    a, b, truth = pair_of(jacobian, shift)
    a, b = (Seen(x.features.requires_grad_(), x.spots.requires_grad_()) for x in (a, b))
    encoder_loss(a, b, truth, LOSS).backward()
    for x in (a, b):
        assert x.features.grad is not None
        assert x.spots.grad is not None
        assert x.features.grad.isfinite().all()
        assert x.spots.grad.isfinite().all()
        assert (x.features.grad.abs().sum(1) > 0).all()  # every cell is right or wrong for some
        assert (x.spots.grad[0, 2:].abs().sum((1, 2)) > 0).all()
    assert a.spots.grad is not None
    asked = a.spots.grad[0].abs().sum(0).nonzero().tolist()
    assert asked == [[row, column] for row in range(4, 7) for column in range(4, 7)]


def test_a_missed_spot_is_drawn_from_both_sides() -> None:
    jacobian, shift = MOVES[3]
    a, b, truth = pair_of(jacobian, shift, OFF)
    a, b = (Seen(x.features, x.spots.requires_grad_()) for x in (a, b))
    encoder_loss(a, b, truth, LOSS).backward()
    assert a.spots.grad is not None
    assert b.spots.grad is not None
    pull = torch.tensor([0.6, -0.8]).double() / 9  # away from OFF, for each of 9 points
    torch.testing.assert_close(b.spots.grad[0, :2].sum((1, 2)), 9 * pull)
    torch.testing.assert_close(a.spots.grad[0, :2, 5, 5], -1.5 * pull)


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('first', (2, 6)),
        ('first', (3, 6, 2)),
        ('second', (2, 5, 2)),
        ('second', (2, 6, 3)),
        ('jacobian', (2, 6, 2)),
        ('jacobian', (2, 5, 2, 2)),
    ],
)
def test_misshapen_truth_is_refused(name: str, shape: tuple[int, ...]) -> None:
    x = seen(2, 4, 6)
    truth = Truth(torch.zeros(2, 6, 2), torch.zeros(2, 6, 2), torch.zeros(2, 6, 2, 2))
    with pytest.raises(VlocError, match=f'^{name} has shape'):
        encoder_loss(x, x, replace(truth, **{name: torch.zeros(shape)}), LOSS)
