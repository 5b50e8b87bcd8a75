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
from vloc_models.networks.encoder import ContrastConfig, Seen, Truth, encoder_loss

LOSS = ContrastConfig()
Array = NDArray[np.float64]


# --- cells ---


def units(*shape: int, seed: int = 0) -> Tensor:
    """Random unit vectors along the last axis."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    return x / x.norm(dim=-1, keepdim=True)


def seen(B: int, h: int, w: int, channels: int = 16, seed: int = 0) -> Seen:
    """Random cells."""
    sure = torch.randn(B, 1, h, w, generator=torch.Generator().manual_seed(seed)).double()
    return Seen(units(B, h, w, channels, seed=seed).permute(0, 3, 1, 2).contiguous(), sure)


def anywhere(B: int, N: int, h: int, w: int, beyond_px: float = 0, seed: int = 0) -> Tensor:
    """Pixels [B, N, 2] of a picture of h x w cells, and around it."""
    rng = np.random.default_rng(seed)
    low, high = -0.5 - beyond_px, np.array([8 * w, 8 * h]) - 0.5 + beyond_px
    return torch.from_numpy(rng.uniform(low, high, (B, N, 2)))


def slow_centres(h: int, w: int) -> Array:
    return np.array(
        [[8 * (i + 0.5) - 0.5, 8 * (j + 0.5) - 0.5] for j in range(h) for i in range(w)]
    )


def slow_shares(pixel: Array, h: int, w: int) -> Array:
    """How much of each cell [h w] is at a pixel; the picture goes on with its border's cells."""
    shares, (u, v) = np.zeros((h, w)), pixel.tolist()
    for row in range(-7, h + 7):
        for column in range(-7, w + 7):
            across, along = abs(u - 8 * column - 3.5) / 8, abs(v - 8 * row - 3.5) / 8
            at = min(max(row, 0), h - 1), min(max(column, 0), w - 1)
            shares[at] += max(0, 1 - across) * max(0, 1 - along)
    return shares.ravel()


def slow_at(x: Seen, b: int, pixel: Array) -> tuple[Array, float]:
    """The feature at a pixel of a picture, and the nearest cell's sure."""
    h, w = x.features.shape[2:]
    feature = x.features[b].flatten(1).numpy() @ slow_shares(pixel, h, w)
    nearest = int(np.argmin(np.linalg.norm(slow_centres(h, w) - pixel, axis=1)))
    return feature / np.linalg.norm(feature), x.sure[b, 0, nearest // w, nearest % w].item()


def test_the_cells_around_a_pixel_as_the_slow_twin() -> None:
    pixels = anywhere(2, 60, 5, 7, beyond_px=40)
    pixels[0, :3] = torch.tensor([[3.5, 3.5], [19.5, 11.5], [51.5, 35.5]])  # centres
    cells, weights = seen(2, 5, 7).around(pixels)
    assert cells.shape == weights.shape == (2, 60, 4)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 60).double())
    shares = torch.zeros(2, 60, 35).double().scatter_add(2, cells, weights)
    for p in np.ndindex(2, 60):
        np.testing.assert_allclose(shares[p], slow_shares(pixels[p].numpy(), 5, 7), atol=1e-12)
    assert [shares[0, n].argmax() for n in range(3)] == [0, 9, 34]
    assert shares[0, :3].amax(1).tolist() == [1, 1, 1]


def test_the_mean_of_the_cells_around_a_pixel_is_the_pixel() -> None:
    """Beyond the outermost centres it is the nearest place between these."""
    pixels = anywhere(2, 200, 5, 7, beyond_px=20)
    cells, weights = seen(2, 5, 7).around(pixels)
    mean = (torch.from_numpy(slow_centres(5, 7))[cells] * weights[..., None]).sum(2)
    least, most = torch.tensor([[3.5, 3.5], [51.5, 35.5]]).double()
    torch.testing.assert_close(mean, pixels.clamp(least, most))
    inside = ((pixels > least) & (pixels < most)).all(2)
    assert 50 < inside.sum() < 350


def test_what_is_at_a_pixel_as_the_slow_twin() -> None:
    x, pixels = seen(2, 5, 7), anywhere(2, 50, 5, 7, beyond_px=5)
    features, sure = x.at(pixels)
    assert features.shape == (2, 50, 16)
    assert sure.shape == (2, 50)
    for b, n in np.ndindex(2, 50):
        feature, wanted = slow_at(x, b, pixels[b, n].numpy())
        np.testing.assert_allclose(features[b, n], feature, atol=1e-12)
        assert sure[b, n] == wanted
    features, sure = x.at(torch.from_numpy(slow_centres(5, 7)).expand(2, -1, -1))
    torch.testing.assert_close(features, x.features.flatten(2).transpose(1, 2))
    assert torch.equal(sure, x.sure.flatten(1))


# --- the contrast ---


def slow_contrast(
    asked: Array, same: Array, grid: Array, pixels: Array, config: ContrastConfig
) -> tuple[float, Array]:
    """The loss and who was found, point by point: grid [B, C, h, w], the others [B, N, ...]."""
    B, N = pixels.shape[:2]
    h, w = grid.shape[2:]
    total, found = 0.0, np.zeros((B, N))
    drawn = range(0, N, max(1, N // config.beyond))
    for b in range(B):
        for n in range(N):
            shares = slow_shares(pixels[b, n], h, w)
            alike = [asked[b, n] @ grid[b, :, k // w, k % w] for k in range(h * w)]
            rivals = [asked[b, n] @ same[o, m] for o in range(B) if o != b for m in drawn]
            among = sum(math.exp(x / config.temperature) for x in alike + rivals)
            for k, share in enumerate(shares):
                chance = math.exp(alike[k] / config.temperature) / among
                total -= share * math.log(chance)
            best = max(alike + rivals)
            found[b, n] = any(alike[k] == best for k in np.flatnonzero(shares))
    return total / (B * N), found


@pytest.mark.parametrize(('B', 'beyond'), [(3, 64), (3, 4), (3, 1), (1, 64)])
def test_the_contrast_as_the_slow_twin(B: int, beyond: int) -> None:
    config = replace(LOSS, beyond=beyond, temperature=0.2)
    other, pixels = seen(B, 4, 6, seed=1), anywhere(B, 10, 4, 6, beyond_px=3)
    pixels[:, 1] = pixels[:, 0]  # the same point, drawn twice
    same, _ = other.at(pixels)
    asked = nn.functional.normalize(same + 1.5 * units(B, 10, 16, seed=3), dim=2)
    loss, found = module._contrast(asked, same, other, pixels, config)
    a, s, grid, right = (x.numpy() for x in (asked, same, other.features, pixels))
    expected, known = slow_contrast(a, s, grid, right, config)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    np.testing.assert_array_equal(found, known)
    assert 0.2 < known.mean() < 0.9


def one_hot(B: int, h: int, w: int) -> Tensor:
    """Features that differ in all cells of all pictures."""
    return torch.eye(B * h * w).reshape(B, h, w, -1).permute(0, 3, 1, 2)


def centres_of(cells: list[list[int]], h: int, w: int) -> Tensor:
    """The pixels [B, N, 2] amid ``cells`` [B, N]."""
    return torch.from_numpy(slow_centres(h, w)[cells]).float()


def test_features_that_tell_all_apart_cost_nothing_amid_cells() -> None:
    pixels = centres_of([[0, 5, 17], [3, 3, 23]], 4, 6)
    other = Seen(one_hot(2, 4, 6), torch.zeros(2, 1, 4, 6))
    asked, _ = other.at(pixels)
    loss, found = module._contrast(asked, asked, other, pixels, LOSS)
    assert loss.item() < 1e-6
    assert found.tolist() == [[1, 1, 1]] * 2
    loss, found = module._contrast(asked.flip(0), asked, other, pixels, LOSS)
    assert loss.item() == pytest.approx(1 / LOSS.temperature, rel=0.1)
    assert found.tolist() == [[0, 0, 0]] * 2


@pytest.mark.parametrize(('beyond', 'others'), [(64, 6), (3, 3), (2, 2), (1, 1)])
def test_features_that_tell_nothing_cost_log_of_the_candidates(beyond: int, others: int) -> None:
    """All 24 cells of the other picture, and some points of the other pair."""
    flat = Seen(torch.ones(2, 1, 4, 6), torch.zeros(2, 1, 4, 6))
    pixels = anywhere(2, 6, 4, 6)
    asked, _ = flat.at(pixels)
    loss, found = module._contrast(
        asked.float(), asked.float(), flat, pixels.float(), replace(LOSS, beyond=beyond)
    )
    assert loss.item() == pytest.approx(math.log(24 + others), rel=1e-6)
    assert not found.any()  # as well as others is not found


@pytest.mark.parametrize('part', [(0.5, 0), (0.25, 0), (0, 0.9), (0.5, 0.5), (0.3, 0.8)])
def test_a_point_between_cells_is_learned_when_each_is_as_likely_as_it_is_near(
    part: tuple[float, float],
) -> None:
    """The loss is then the entropy of the shares, and nothing is less."""
    right, down = part
    pixel = torch.tensor([[[11.5 + 8 * right, 11.5 + 8 * down]]], dtype=torch.float64)
    shares = {7: (1 - right) * (1 - down), 8: right * (1 - down)}
    shares |= {13: (1 - right) * down, 14: right * down}
    other = Seen(one_hot(1, 4, 6).double(), torch.zeros(1, 1, 4, 6))
    best = torch.zeros(1, 1, 24).double()
    for cell, share in shares.items():
        best[0, 0, cell] = 1 + LOSS.temperature * math.log(share) if share else 0

    def cost(asked: Tensor) -> Tensor:
        return module._contrast(asked, asked, other, pixel, LOSS)[0]

    entropy = -sum(share * math.log(share) for share in shares.values() if share)
    assert cost(best).item() == pytest.approx(entropy, abs=1e-6)
    (slope,) = torch.autograd.grad(cost(best.requires_grad_()), best)
    assert slope.abs().max() < 1e-5
    for k in range(24):
        for step in (-0.02, 0.02):
            aside = best.detach().clone()
            aside[0, 0, k] += step
            assert cost(aside).item() > entropy - 1e-9
            assert (cost(aside).item() > entropy + 1e-3) == (shares.get(k, 0) > 0)


# --- confidence ---


def test_confidence_is_taught_by_what_is_found_and_what_is_covered() -> None:
    """Of the points of one picture one is found and one is not; other cells teach nothing."""
    features = one_hot(1, 4, 6)
    a, b = (Seen(features.clone(), torch.full((1, 1, 4, 6), 50.0)) for _ in range(2))
    a.features[0, :, 3, 5] = features[0, :, 0, 0]  # looks like another cell
    b.features[0, :, 3, 5] = features[0, :, 0, 2]
    pixels = centres_of([[3, 23]], 4, 6)
    hidden = torch.zeros(2, 1, 4, 6, dtype=torch.bool)

    def cost(found: float, other: float, covered: float) -> float:
        for x, h in zip((a, b), hidden, strict=True):
            x.sure[0, 0, 0, 3], x.sure[0, 0, 3, 5] = found, other
            x.sure[:, 0][h] = covered
        with_, without = (
            encoder_loss(a, b, Truth(pixels, pixels, *hidden), replace(LOSS, sure_weight=weight))
            for weight in (1, 0)
        )
        return (with_ - without).item()

    assert cost(20, -20, 20) == pytest.approx(0, abs=1e-4)
    assert cost(-20, 20, 20) == pytest.approx(20, abs=1e-4)
    assert cost(20, 20, 20) == pytest.approx(10, abs=1e-4)
    assert cost(0, 0, 20) == pytest.approx(math.log(2), abs=1e-4)
    hidden[0, 0, 2, 1] = hidden[1, 0, 1, 1] = hidden[1, 0, 2, 2] = True  # 3, and 4 points
    assert cost(20, -20, -20) == pytest.approx(0, abs=1e-4)
    assert cost(-20, 20, -20) == pytest.approx(20 * 4 / 7, abs=1e-4)
    assert cost(20, -20, 20) == pytest.approx(20 * 3 / 7, abs=1e-4)
    assert cost(0, 0, 0) == pytest.approx(math.log(2), abs=1e-4)


# --- all of it ---


def pair_of(B: int, seed: int = 0) -> tuple[Seen, Seen, Truth]:
    """Pictures of 6x8 cells, some covered, and 6 points of which about half are alike."""
    grid = (6, 8)
    a, b = (seen(B, *grid, seed=seed + i) for i in (1, 2))
    first, second = (anywhere(B, 6, *grid, seed=seed + i) for i in (3, 4))
    noise = units(B, 6, 48, 16, seed=5)
    for p in np.ndindex(B, 6):
        feature, _ = slow_at(a, p[0], first[p].numpy())
        for cell in np.flatnonzero(slow_shares(second[p].numpy(), *grid)):
            alike = torch.from_numpy(feature) + 0.7 * noise[p][cell]
            b.features[p[0], :, cell // 8, cell % 8] = alike / alike.norm()
    hidden = torch.rand(2, B, *grid, generator=torch.Generator().manual_seed(seed)) < 0.2
    return a, b, Truth(first, second, *hidden)


def test_the_loss_as_the_slow_twin() -> None:
    config = ContrastConfig(temperature=0.3, beyond=3, sure_weight=0.4)
    a, b, truth = pair_of(2)
    features = [np.zeros((2, 6, 16)), np.zeros((2, 6, 16))]
    told = [np.zeros((2, 6)), np.zeros((2, 6))]
    for side, (x, pixels) in enumerate(((a, truth.first), (b, truth.second))):
        for p in np.ndindex(2, 6):
            features[side][p], told[side][p] = slow_at(x, p[0], pixels[p].numpy())
    (fa, fb), grid_a, grid_b = features, a.features.numpy(), b.features.numpy()
    forth, found_b = slow_contrast(fa, fb, grid_b, truth.second.numpy(), config)
    back, found_a = slow_contrast(fb, fa, grid_a, truth.first.numpy(), config)
    assert 0 < found_a.sum() != found_b.sum() < 12
    costs = []
    for logits, found in zip(told, (found_b, found_a), strict=True):
        for p in np.ndindex(2, 6):
            right = 1 / (1 + math.exp(-logits[p]))
            costs.append(-math.log(right if found[p] else 1 - right))
    for x, hidden in ((a, truth.hidden_first), (b, truth.hidden_second)):
        for n, row, column in np.argwhere(hidden.numpy()):
            costs.append(math.log(1 + math.exp(x.sure[n, 0, row, column].item())))
    assert len(costs) > 30
    expected = (forth + back) / 2 + 0.4 * np.mean(costs)
    assert encoder_loss(a, b, truth, config).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('B', [1, 2])
def test_gradients_flow_to_both_pictures(B: int) -> None:
    """Also where there is no other pair, and no point is another's rival."""
    a, b, truth = pair_of(B)
    a, b = (Seen(x.features.requires_grad_(), x.sure.requires_grad_()) for x in (a, b))
    encoder_loss(a, b, truth, replace(LOSS, temperature=0.3)).backward()
    sides = (a, truth.first, truth.hidden_first), (b, truth.second, truth.hidden_second)
    for x, pixels, hidden in sides:
        assert x.features.grad is not None
        assert x.sure.grad is not None
        assert x.features.grad.isfinite().all()
        assert x.sure.grad.isfinite().all()
        assert (x.features.grad.abs().sum(1) > 0).all()  # every cell is right or wrong for some
        taught = hidden.clone()
        for p in np.ndindex(B, 6):
            column, row = (int((c + 0.5) // 8) for c in pixels[p])
            taught[p[0], row, column] = True
        assert torch.equal(x.sure.grad[:, 0] != 0, taught)
        assert (x.sure.grad[:, 0][hidden] > 0).sum() > 0.8 * hidden.sum()  # less sure


def test_descent_finds_features_that_tell_apart() -> None:
    """Both pictures are of the same cells; what is then most alike is the same point."""
    torch.manual_seed(0)
    free = [torch.randn(2, 16, 4, 6, requires_grad=True) for _ in range(2)]
    sure = [torch.zeros(2, 1, 4, 6, requires_grad=True) for _ in range(2)]
    descent = torch.optim.Adam([*free, *sure], 0.1)
    pixels, hidden = centres_of([list(range(24))] * 2, 4, 6), torch.zeros(2, 4, 6).bool()
    for _ in range(60):
        a, b = (Seen(nn.functional.normalize(f), s) for f, s in zip(free, sure, strict=True))
        loss = encoder_loss(a, b, Truth(pixels, pixels, hidden, hidden), LOSS)
        descent.zero_grad()
        loss.backward()
        descent.step()
    (x, y), eye = (nn.functional.normalize(f).flatten(2) for f in free), torch.arange(24)
    assert torch.equal(torch.einsum('bck,bcl->bkl', x, y).argmax(2), eye.expand(2, -1))
    assert min(s.min().item() for s in sure) > 1


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('first', (2, 6)),
        ('first', (3, 6, 2)),
        ('second', (2, 5, 2)),
        ('second', (2, 6, 3)),
    ],
)
def test_misshapen_truth_is_refused(name: str, shape: tuple[int, ...]) -> None:
    x, hidden = seen(2, 4, 6), torch.zeros(2, 4, 6).bool()
    truth = Truth(torch.zeros(2, 6, 2), torch.zeros(2, 6, 2), hidden, hidden)
    encoder_loss(x, x, truth, LOSS)
    with pytest.raises(VlocError, match=f'^{name} has shape'):
        encoder_loss(x, x, replace(truth, **{name: torch.zeros(shape)}), LOSS)


@pytest.mark.parametrize('name', ['hidden_first', 'hidden_second'])
@pytest.mark.parametrize('shape', [(4, 6), (3, 4, 6), (2, 5, 6), (2, 4, 5), (2, 1, 4, 6)])
def test_misshapen_covers_are_refused(name: str, shape: tuple[int, ...]) -> None:
    x, hidden = seen(2, 4, 6), torch.zeros(2, 4, 6).bool()
    truth = Truth(torch.zeros(2, 6, 2), torch.zeros(2, 6, 2), hidden, hidden)
    with pytest.raises((VlocError, IndexError)):
        encoder_loss(x, x, replace(truth, **{name: torch.ones(shape).bool()}), LOSS)
