"""The surest cell of each block, among all cells."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.solvers.spots import Spots, centres, choose

C = 5
SIZES = [(6, 8), (7, 9), (1, 1), (2, 1), (1, 5), (45, 60)]
Floats = NDArray[np.float32]


def told(h: int, w: int, seed: int = 0) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(1, C, h, w)).astype(np.float32)
    return {'features': features, 'sure': rng.uniform(-4, 4, (1, 1, h, w)).astype(np.float32)}


def slow_twin(
    told: dict[str, Floats], every: int
) -> list[tuple[tuple[int, int], Floats, tuple[float, float], float]]:
    """Place, feature, pixel and confidence of each block's surest cell, block by block."""
    features, sure = told['features'][0], told['sure'][0, 0]
    h, w = sure.shape
    found = []
    for top in range(0, h, every):
        for left in range(0, w, every):
            block = [
                (i, j)
                for i in range(top, min(top + every, h))
                for j in range(left, min(left + every, w))
            ]
            i, j = max(block, key=lambda cell: sure[cell])
            pixel = 8 * (j + 0.5) - 0.5, 8 * (i + 0.5) - 0.5
            sigmoid = 1 / (1 + np.exp(-float(sure[i, j])))
            found.append(((i, j), features[:, i, j], pixel, sigmoid))
    return found


def check(found: Spots, features: Floats) -> None:
    """The types, and that all cells are there."""
    assert found.grid.dtype == found.features.dtype == found.sure.dtype == np.float32
    assert found.pixels.dtype == np.float64
    assert found.cells.dtype == np.int64
    assert found.grid.flags.c_contiguous
    assert found.features.flags.c_contiguous
    assert found.pixels.shape == found.cells.shape == (len(found.sure), 2)
    _, _, h, w = features.shape
    assert found.grid.shape == (h, w, C)
    for i in range(h):
        for j in range(w):
            np.testing.assert_array_equal(found.grid[i, j], features[0, :, i, j])


@pytest.mark.parametrize(('h', 'w'), SIZES)
@pytest.mark.parametrize('every', [1, 2, 3])
def test_as_the_slow_twin(h: int, w: int, every: int) -> None:
    grids = told(h, w)
    found, expected = choose(grids, every), slow_twin(grids, every)
    check(found, grids['features'])
    assert len(found.sure) == len(expected) == -(-h // every) * -(-w // every)
    for n, (cell, feature, pixel, sure) in enumerate(expected):
        assert tuple(found.cells[n]) == cell
        np.testing.assert_array_equal(found.features[n], feature)
        assert tuple(found.pixels[n]) == pixel
        assert found.sure[n] == pytest.approx(sure, abs=1e-6)


def test_every_cell_row_by_row() -> None:
    grids = told(7, 9)
    found = choose(grids, 1)
    np.testing.assert_array_equal(found.features, grids['features'].reshape(C, -1).T)
    assert found.cells.tolist() == [[i, j] for i in range(7) for j in range(9)]


def test_centres_are_the_middle_of_the_pixels_of_cells() -> None:
    """Whose numbers are those of the pixels' own centres: the first cell has 0 to 7."""
    cells = [(0, 0), (3, 0), (0, 59), (44, 7)]
    found = centres(np.array(cells))
    assert found.dtype == np.float64
    for (i, j), pixel in zip(cells, found.tolist(), strict=True):
        rows, columns = range(8 * i, 8 * i + 8), range(8 * j, 8 * j + 8)
        assert pixel == [sum(columns) / 8, sum(rows) / 8]
    assert centres(np.zeros((0, 2), int)).shape == (0, 2)


def test_other_cells_of_the_same_grid() -> None:
    """Features and pixels are those of the cells, in their order, one twice."""
    whole = choose(told(4, 6), 1)
    some = replace(whole, cells=np.array([[3, 5], [0, 1], [3, 5]]))
    np.testing.assert_array_equal(some.features, whole.features[[23, 1, 23]])
    assert some.pixels.tolist() == [[43.5, 27.5], [11.5, 3.5], [43.5, 27.5]]
    assert len(whole.features) == len(whole.pixels) == 24


def test_unsure_cells_at_the_edge_are_still_taken() -> None:
    """What pads the last blocks is never chosen, however unsure the cells are."""
    grids = told(5, 5)
    grids['sure'][:] = -80
    found = choose(grids, 4)
    assert (found.cells // 4).tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert (found.cells < 5).all()
    assert (found.sure < 1e-30).all()


@pytest.mark.parametrize(
    ('every', 'rows', 'columns'),
    [
        (1, [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 6]),
        (2, [1, 3], [1, 3, 5]),
        (3, [1, 4], [1, 4]),
        (4, [2], [2, 6]),
    ],
)
def test_not_told_how_sure_cells_in_the_middle_are_taken(
    every: int, rows: list[int], columns: list[int]
) -> None:
    features = told(5, 7)['features']
    found = choose({'features': features}, every)
    check(found, features)
    cells = [(i, j) for i in rows for j in columns]
    assert [tuple(cell) for cell in found.cells.tolist()] == cells
    expected = np.array([features[0, :, i, j] for i, j in cells])
    np.testing.assert_array_equal(found.features, expected)
    assert found.pixels.tolist() == [[8 * j + 3.5, 8 * i + 3.5] for i, j in cells]
    assert (found.sure == 1).all()


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('features', (C, 4, 6)),
        ('features', (2, C, 4, 6)),
        ('sure', (1, 4, 4, 6)),
        ('sure', (1, 1, 4, 5)),
        ('sure', (1, 1, 6, 4)),
        ('sure', (1, 4, 6)),
    ],
)
def test_misshapen_answers_are_refused(name: str, shape: tuple[int, ...]) -> None:
    grids = told(4, 6) | {name: np.zeros(shape, np.float32)}
    with pytest.raises(VlocError, match=f'^{name} has shape'):
        choose(grids, 2)
