"""The surest of an encoder's cells, and the places in the picture that they stand for."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape

Array = NDArray[np.float64]
STRIDE = 8  # pixels between the centres of two cells


@dataclass(frozen=True, eq=False)
class Spots:
    """Some cells of a picture: what each looks like, and the place that it stands for."""

    features: NDArray[np.float32]  # [N, C]
    pixels: Array  # [N, 2]
    sure: NDArray[np.float32]  # [N] how likely it is that each is found again; 0..1


def choose(told: Mapping[str, NDArray[np.float32]], every: int) -> Spots:
    """The surest cell of each ``every`` by ``every`` cells.

    Args:
        told: ``features`` [1, C, h, w]; ``spots`` [1, 4, h, w] (networks/encoder.py), without
            which a cell stands for its centre, and those in the middle are taken.
        every: 1 takes all.
    """
    features = told['features']
    sizes = check_shape(features, '1 C h w', 'features')
    h, w = sizes['h'], sizes['w']
    spots = told.get('spots')
    if spots is None:
        rows, columns = np.mgrid[every // 2 : h : every, every // 2 : w : every]
        row, column = rows.ravel(), columns.ravel()
        offset, sure = np.zeros((len(row), 2)), np.ones(len(row), np.float32)
    else:
        check_shape(spots, '1 4 h w', 'spots', h=h, w=w)
        row, column = _surest(spots[0, 3], every)
        offset = spots[0, :2, row, column].astype(np.float64)
        sure = 1 / (1 + np.exp(-spots[0, 3, row, column]))
    centres = np.stack([column, row], 1) * STRIDE + (STRIDE - 1) / 2
    return Spots(np.ascontiguousarray(features[0, :, row, column]), centres + offset, sure)


def _surest(sure: NDArray[np.float32], every: int) -> tuple[NDArray, NDArray]:
    """Rows and columns of the largest value of each block of a grid [h, w]."""
    h, w = sure.shape
    blocks = np.full((-(-h // every) * every, -(-w // every) * every), -np.inf, np.float32)
    blocks[:h, :w] = sure
    rows, columns = blocks.shape[0] // every, blocks.shape[1] // every
    blocks = blocks.reshape(rows, every, columns, every).transpose(0, 2, 1, 3)
    inside = blocks.reshape(rows, columns, -1).argmax(2)
    top, left = np.mgrid[:rows, :columns] * every
    return (top + inside // every).ravel(), (left + inside % every).ravel()
