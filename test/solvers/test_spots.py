"""The surest cell of each block, and the place that it stands for."""

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.solvers.spots import Spots, choose

C = 5
SIZES = [(6, 8), (7, 9), (1, 1), (2, 1), (1, 5), (45, 60)]
Floats = NDArray[np.float32]


def told(h: int, w: int, seed: int = 0) -> dict[str, Floats]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(1, C, h, w)).astype(np.float32)
    spots = rng.uniform(-4, 4, (1, 4, h, w)).astype(np.float32)
    return {'features': features, 'spots': spots}


def slow_twin(
    told: dict[str, Floats], every: int
) -> list[tuple[Floats, tuple[float, float], float]]:
    """Feature, pixel and confidence of each block's surest cell, block by block."""
    features, (right, down, _, sure) = told['features'][0], told['spots'][0]
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
            pixel = 8 * (j + 0.5) - 0.5 + right[i, j], 8 * (i + 0.5) - 0.5 + down[i, j]
            found.append((features[:, i, j], pixel, 1 / (1 + np.exp(-float(sure[i, j])))))
    return found


def check_types(found: Spots) -> None:
    assert found.features.dtype == found.sure.dtype == np.float32
    assert found.pixels.dtype == np.float64
    assert found.features.flags.c_contiguous
    assert found.pixels.shape == (len(found.sure), 2)


@pytest.mark.parametrize(('h', 'w'), SIZES)
@pytest.mark.parametrize('every', [1, 2, 3])
def test_as_the_slow_twin(h: int, w: int, every: int) -> None:
    grids = told(h, w)
    found, expected = choose(grids, every), slow_twin(grids, every)
    check_types(found)
    assert len(found.sure) == len(expected) == -(-h // every) * -(-w // every)
    for n, (feature, pixel, sure) in enumerate(expected):
        np.testing.assert_array_equal(found.features[n], feature)
        np.testing.assert_allclose(found.pixels[n], pixel, atol=1e-5)
        assert found.sure[n] == pytest.approx(sure, abs=1e-6)


def test_every_cell_row_by_row() -> None:
    grids = told(7, 9)
    found = choose(grids, 1)
    np.testing.assert_array_equal(found.features, grids['features'].reshape(C, -1).T)
    cells = np.round((found.pixels - 3.5) / 8 + 1e-9)
    assert cells.tolist() == [[j, i] for i in range(7) for j in range(9)]


def test_unsure_cells_at_the_edge_are_still_taken() -> None:
    """What pads the last blocks is never chosen, however unsure the cells are."""
    grids = told(5, 5)
    grids['spots'][0, 3] = -80
    found = choose(grids, 4)
    np.testing.assert_allclose(found.pixels.max(0), 35.5, atol=4)
    assert len(found.sure) == 4
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
def test_without_spots_cells_in_the_middle_stand_for_their_centres(
    every: int, rows: list[int], columns: list[int]
) -> None:
    features = told(5, 7)['features']
    found = choose({'features': features}, every)
    check_types(found)
    cells = [(i, j) for i in rows for j in columns]
    expected = np.array([features[0, :, i, j] for i, j in cells])
    np.testing.assert_array_equal(found.features, expected)
    assert found.pixels.tolist() == [[8 * j + 3.5, 8 * i + 3.5] for i, j in cells]
    assert (found.sure == 1).all()


@pytest.mark.parametrize(
    ('name', 'shape'),
    [
        ('features', (C, 4, 6)),
        ('features', (2, C, 4, 6)),
        ('spots', (1, 3, 4, 6)),
        ('spots', (1, 4, 4, 5)),
        ('spots', (4, 4, 6)),
    ],
)
def test_misshapen_answers_are_refused(name: str, shape: tuple[int, ...]) -> None:
    grids = told(4, 6) | {name: np.zeros(shape, np.float32)}
    with pytest.raises(VlocError, match=f'^{name} has shape'):
        choose(grids, 2)
