"""Where in a picture a landmark is, finer than the encoder's cells.

The encoder is taught that of the four cells around a point the nearer ones look the more like it
(networks/encoder.py), so that the mean place of the cells around a match, weighted by likeness, is
the point's: a soft arg-max (as in LoFTR, Sun et al., CVPR 2021, section 3.4).
"""

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.solvers.spots import STRIDE, centres

Array = NDArray[np.float64]
_TEMPERATURE = 0.1  # measured
_AROUND = np.array([(row, column) for row in (0, -1, 1) for column in (0, -1, 1)])


def finer(
    grid: NDArray[np.float32], cells: NDArray[np.int64], wanted: NDArray[np.float32]
) -> Array:
    """Pixels [N, 2] of what is wanted, each in a cell or beside it.

    Args:
        grid: [h, w, D] unit descriptors of all cells of a picture.
        cells: [N, 2] row and column.
        wanted: [N, D] unit descriptors.
    """
    D = check_shape(grid, 'h w D', 'grid')['D']
    N = check_shape(cells, 'N 2', 'cells')['N']
    check_shape(wanted, 'N D', 'wanted', N=N, D=D)
    likeness = _likeness(grid, cells, wanted)
    top = cells + _AROUND[likeness.argmax(1)]
    likeness = _likeness(grid, top, wanted)
    weight = np.exp((likeness - likeness.max(1, keepdims=True)) / _TEMPERATURE)
    step = weight @ _AROUND[:, ::-1] / weight.sum(1, keepdims=True)
    return centres(top) + STRIDE * step


def _likeness(
    grid: NDArray[np.float32], cells: NDArray[np.int64], wanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """[N, 9] of the cells around each; none beyond the picture."""
    h, w, _ = grid.shape
    rows, columns = np.moveaxis(cells[:, None] + _AROUND, 2, 0)
    inside = (rows >= 0) & (rows < h) & (columns >= 0) & (columns < w)
    near = grid[rows.clip(0, h - 1), columns.clip(0, w - 1)]  # [N, 9, D]
    return np.where(inside, np.einsum('nkd,nd->nk', near, wanted), -np.inf)
