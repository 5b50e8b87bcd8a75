"""The place of a match, finer than a cell: the mean of the cells around, weighted by likeness.

It is exact where likeness is the logarithm of the bilinear weight. Of a likeness that falls in
proportion to the distance (a tent) it makes some of the way only: it misses by 1.9 px (RMS) and
2.4 px at most, the centre of the nearest cell by 3.3 px and 5.7 px.
"""

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.solvers import subcell
from vloc_models.solvers.subcell import finer

Array = NDArray[np.float64]
Floats = NDArray[np.float32]
D = 6
T = subcell._TEMPERATURE
WANTED = np.array([1, 0], np.float32)  # for grids by ``alike``
AROUND = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
H, W = 5, 7
BORDER = [(0, 0), (0, W - 1), (H - 1, 0), (H - 1, W - 1), (0, 3), (H - 1, 3), (2, 0), (2, W - 1)]


def some(*shape: int, seed: int = 0) -> Floats:
    rows = np.random.default_rng(seed).normal(size=shape)
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


def alike(likeness: Array) -> Floats:
    """A grid [h, w, 2] of cells so much like what is wanted."""
    return np.stack([likeness, np.sqrt(1 - likeness**2)], 2).astype(np.float32)


def centre(i: float, j: float) -> tuple[float, float]:
    return 8 * (j + 0.5) - 0.5, 8 * (i + 0.5) - 0.5


def one(likeness: Array, cell: tuple[int, int]) -> Array:
    return finer(alike(likeness), np.array([cell]), WANTED[None])[0]


def weights(place: Array) -> Array:
    """Bilinear weights [H, W] of the cells around a pixel."""
    grid = np.zeros((H, W))
    for i in range(H):
        for j in range(W):
            right, down = np.abs(centre(i, j) - place) / 8
            grid[i, j] = max(0, 1 - right) * max(0, 1 - down)
    return grid


def missed(likeness_of: str, count: int = 400) -> tuple[Array, Array]:
    """How far off (px) the places are that are found, and the centres of their cells."""
    rng, found, centres = np.random.default_rng(1), [], []
    for _ in range(count):
        place = centre(2, 3) + rng.uniform(-4, 4, 2)
        w = weights(place)
        log = np.log(np.maximum(w, np.exp(-15)))
        likeness = {
            'log': 0.9 + T * log,
            'steeper log': 0.9 + T / 2 * log,
            'tent': 0.35 + 0.6 * w,
            'flat tent': 0.65 + 0.3 * w,
        }[likeness_of]
        found.append(np.linalg.norm(one(likeness, (2, 3)) - place))
        centres.append(np.linalg.norm(centre(2, 3) - place))
    return np.array(found), np.array(centres)


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).mean()))


def slow_twin(grid: Floats, cell: tuple[int, int], wanted: Floats) -> Array:
    """To the most similar cell around, then the mean of the cells around that."""
    h, w, _ = grid.shape

    def around(cell: tuple[int, int]) -> list[tuple[int, int]]:
        cells = [(cell[0] + i, cell[1] + j) for i, j in AROUND]
        return [(i, j) for i, j in cells if 0 <= i < h and 0 <= j < w]

    def likeness(cell: tuple[int, int]) -> float:
        return float(grid[cell].astype(float) @ wanted)

    near = around(max(around(cell), key=likeness))
    weight = [np.exp(likeness(c) / T) for c in near]
    summed = sum(np.array(centre(*c)) * k for c, k in zip(near, weight, strict=True))
    return np.asarray(summed) / sum(weight)


@pytest.mark.parametrize(('h', 'w'), [(1, 1), (1, 5), (4, 1), (2, 2), (3, 3), (6, 8)])
@pytest.mark.parametrize('seed', range(5))
def test_as_the_slow_twin(h: int, w: int, seed: int) -> None:
    """Also at the border and in the corners."""
    grid = some(h, w, D, seed=seed)
    cells = [(i, j) for i in range(h) for j in range(w)] * 2
    wanted = some(len(cells), D, seed=100 + seed)
    found = finer(grid, np.array(cells), wanted)
    assert found.dtype == np.float64
    assert found.shape == (2 * h * w, 2)
    expected = [slow_twin(grid, c, k) for c, k in zip(cells, wanted, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_exact_where_likeness_is_the_logarithm_of_the_weight() -> None:
    found, centres = missed('log')
    assert found.max() < 1e-2
    assert rms(centres) > 3


@pytest.mark.parametrize(
    ('likeness', 'mean', 'most'),
    [('steeper log', 1.3, 1.75), ('tent', 1.95, 2.4), ('flat tent', 2.35, 3.9)],
)
def test_what_it_misses_where_likeness_is_not(likeness: str, mean: float, most: float) -> None:
    """As measured; the cells' centres miss more."""
    found, centres = missed(likeness)
    assert 0.85 * mean < rms(found) < mean
    assert found.max() < most
    assert rms(centres) > 3.1
    assert centres.max() > 5


@pytest.mark.parametrize('cell', [(2, 3), *BORDER])
def test_a_lonely_cell_is_where_it_is(cell: tuple[int, int]) -> None:
    likeness = np.full((H, W), -0.95)
    likeness[cell] = 0.95
    np.testing.assert_allclose(one(likeness, cell), centre(*cell), atol=1e-3)


@pytest.mark.parametrize('step', [s for s in AROUND if s != (0, 0)])
@pytest.mark.parametrize('cell', [(2, 3), (1, 1), (H - 2, W - 2)])
def test_a_neighbour_more_alike_is_moved_to(cell: tuple[int, int], step: tuple[int, int]) -> None:
    """What is found is as if asked from there; also at the border."""
    likeness = np.random.default_rng(0).uniform(0.3, 0.6, (H, W))
    top = cell[0] + step[0], cell[1] + step[1]
    likeness[cell], likeness[top] = 0.7, 0.8
    found = one(likeness, cell)
    np.testing.assert_array_equal(found, one(likeness, top))
    assert np.abs(found - centre(*top)).max() < 4 < np.abs(found - centre(*cell)).max()


@pytest.mark.parametrize('step', [s for s in AROUND if s != (0, 0)])
@pytest.mark.parametrize('cell', [(2, 3), *BORDER])
def test_ties_stay_at_the_cell(cell: tuple[int, int], step: tuple[int, int]) -> None:
    """One beside it is as much alike; what is beyond that has no part then."""
    (i, j), (down, right) = cell, step
    likeness = np.full((H, W), -0.95)
    likeness[cell] = 0.5
    if not (0 <= i + down < H and 0 <= j + right < W):
        np.testing.assert_allclose(one(likeness, cell), centre(i, j), atol=1e-3)
        return
    likeness[i + down, j + right] = 0.5
    if 0 <= i + 2 * down < H and 0 <= j + 2 * right < W:
        likeness[i + 2 * down, j + 2 * right] = 0.5
    found = one(likeness, cell)
    np.testing.assert_allclose(found, centre(i + down / 2, j + right / 2), atol=1e-3)


@pytest.mark.parametrize('cell', [(2, 3), (1, 1)])
def test_where_all_is_alike_the_middle_of_the_cell(cell: tuple[int, int]) -> None:
    np.testing.assert_allclose(one(np.full((H, W), 0.5), cell), centre(*cell), atol=1e-9)


def test_no_further_than_one_cell() -> None:
    """A cell that is more alike still, but two away, takes part and is not moved to."""
    likeness = np.full((H, W), 0.1)
    likeness[2, 2:5] = 0.5, 0.6, 0.9
    found = one(likeness, (2, 2))
    expected = slow_twin(alike(likeness), (2, 2), WANTED)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert centre(2, 3)[0] + 7 < found[0] < centre(2, 4)[0]


@pytest.mark.parametrize(
    ('cell', 'inward'),
    [((0, 0), (1, 1)), ((0, W - 1), (1, -1)), ((H - 1, 0), (-1, 1)), ((H - 1, W - 1), (-1, -1))],
)
def test_beyond_a_corner_nothing_counts(cell: tuple[int, int], inward: tuple[int, int]) -> None:
    """One cell and three less alike; those at the opposite borders are not beside them."""
    likeness = np.full((H, W), 0.95)
    for i in range(3):
        for j in range(3):
            likeness[cell[0] + i * inward[0], cell[1] + j * inward[1]] = 0.5
    likeness[cell] = 0.5 + T
    part = 2 * np.exp(-1) / (1 + 3 * np.exp(-1))  # of a cell
    expected = centre(cell[0] + part * inward[0], cell[1] + part * inward[1])
    np.testing.assert_allclose(one(likeness, cell), expected, atol=1e-3)


@pytest.mark.parametrize('cell', BORDER)
def test_within_the_outer_cells_centres(cell: tuple[int, int]) -> None:
    for seed in range(20):
        found = one(np.random.default_rng(seed).uniform(-0.9, 0.9, (H, W)), cell)
        assert (found >= 3.5).all()
        assert (found <= centre(H - 1, W - 1)).all()


def test_no_points() -> None:
    found = finer(some(4, 5, D), np.zeros((0, 2), int), np.zeros((0, D), np.float32))
    assert found.shape == (0, 2)
    assert found.dtype == np.float64


def test_nothing_given_is_changed() -> None:
    grid, cells, wanted = some(4, 5, D), np.array([[0, 0], [2, 3]]), some(2, D)
    before = [x.copy() for x in (grid, cells, wanted)]
    finer(grid, cells, wanted)
    for x, was in zip((grid, cells, wanted), before, strict=True):
        np.testing.assert_array_equal(x, was)


@pytest.mark.parametrize(
    ('grid', 'cells', 'wanted', 'says'),
    [
        ((4, D), (2, 2), (2, D), 'grid has shape'),
        ((1, 4, 5, D), (2, 2), (2, D), 'grid has shape'),
        ((4, 5, D), (2,), (2, D), 'cells has shape'),
        ((4, 5, D), (2, 3), (2, D), 'cells has shape'),
        ((4, 5, D), (2, 1), (2, D), 'cells has shape'),
        ((4, 5, D), (1, 2, 2), (2, D), 'cells has shape'),
        ((4, 5, D), (0,), (0, D), 'cells has shape'),
        ((4, 5, D), (2, 2), (2, D + 1), 'wanted has shape'),
        ((4, 5, D), (2, 2), (3, D), 'wanted has shape'),
        ((4, 5, D), (2, 2), (1, D), 'wanted has shape'),
        ((4, 5, D), (2, 2), (D,), 'wanted has shape'),
    ],
)
def test_misshapen_questions_are_refused(
    grid: tuple[int, ...], cells: tuple[int, ...], wanted: tuple[int, ...], says: str
) -> None:
    with pytest.raises(VlocError, match=f'^{says}'):
        finer(some(*grid), np.zeros(cells, int), some(*wanted))
