"""The surest of an encoder's cells, among all cells of its picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape

Array = NDArray[np.float64]
STRIDE = 8  # pixels between the centres of two cells


@dataclass(frozen=True, eq=False)
class Spots:
    """Some cells of a picture: where they are, and what each looks like."""

    grid: NDArray[np.float32]  # [h, w, C] the features of all cells
    cells: NDArray[np.int64]  # [N, 2] row and column of these
    sure: NDArray[np.float32]  # [N] how likely it is that each is found again; 0..1

    @cached_property
    def features(self) -> NDArray[np.float32]:
        """[N, C]."""
        return self.grid[self.cells[:, 0], self.cells[:, 1]]

    @cached_property
    def pixels(self) -> Array:
        """[N, 2], the cells' centres."""
        return centres(self.cells)


def centres(cells: NDArray[np.int64]) -> Array:
    """Pixels [N, 2] of the middle of cells [N, 2], row and column."""
    return cells[:, ::-1].astype(np.float64) * STRIDE + (STRIDE - 1) / 2


def choose(told: Mapping[str, NDArray[np.float32]], every: int) -> Spots:
    """The surest cell of each ``every`` by ``every`` cells.

    Args:
        told: ``features`` [1, C, h, w], and ``sure`` [1, 1, h, w] (networks/encoder.py), without
            which those in the middle are taken.
        every: 1 takes all.
    """
    features = told['features']
    sizes = check_shape(features, '1 C h w', 'features')
    h, w = sizes['h'], sizes['w']
    grid = np.ascontiguousarray(features[0].transpose(1, 2, 0))
    logit = told.get('sure')
    if logit is None:
        rows, columns = np.mgrid[every // 2 : h : every, every // 2 : w : every]
        cells = np.stack([rows.ravel(), columns.ravel()], 1)
        return Spots(grid, cells, np.ones(len(cells), np.float32))
    check_shape(logit, '1 1 h w', 'sure', h=h, w=w)
    cells = _surest(logit[0, 0], every)
    return Spots(grid, cells, 1 / (1 + np.exp(-logit[0, 0, cells[:, 0], cells[:, 1]])))


def _surest(sure: NDArray[np.float32], every: int) -> NDArray[np.int64]:
    """Row and column [N, 2] of the largest value of each block of a grid [h, w]."""
    h, w = sure.shape
    blocks = np.full((-(-h // every) * every, -(-w // every) * every), -np.inf, np.float32)
    blocks[:h, :w] = sure
    rows, columns = blocks.shape[0] // every, blocks.shape[1] // every
    blocks = blocks.reshape(rows, every, columns, every).transpose(0, 2, 1, 3)
    inside = blocks.reshape(rows, columns, -1).argmax(2)
    top, left = np.mgrid[:rows, :columns] * every
    row, column = (top + inside // every).ravel(), (left + inside % every).ravel()
    return np.stack([row, column], 1)
