"""Small questions about walking grids: how far is the next obstacle, what hangs together."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

CELL_M = 0.05
Grid = NDArray[np.bool_]  # [y cells, x cells], True where one may walk


def clearance_m(free: Grid) -> NDArray[np.float64]:
    """The distance from each cell to the next that is not free; outside nothing is."""
    distance = np.asarray(ndimage.distance_transform_edt(np.pad(free, 1)))
    return distance[1:-1, 1:-1] * CELL_M


def parts(free: Grid) -> NDArray[np.int32]:
    """The connected part of each cell, from 1; 0 where not free."""
    out = np.zeros(free.shape, np.int32)
    ndimage.label(free, output=out)
    return out
