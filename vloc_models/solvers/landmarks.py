"""Map points by matching: the most similar of the cells that were seen while the map was made.

A landmark is a cell with its measured map point and a short descriptor: the encoder's feature on
the axes that matter most, a byte a number. No training stands behind them, so that they answer
where a head has not learned the place well; they take more room and time than a head.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import MapError

_AT_ONCE = 128  # cells compared with all landmarks together: bounds the memory
_DAMAGED = 'copy the map again, or build it again with "vloc map"'


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of a place with what they look like."""

    points: NDArray[np.float32]  # [M, 3] map, metres
    descriptors: NDArray[np.int8]  # [M, D] of a length of about 127 times a common factor
    axes: NDArray[np.float32]  # [C, D] features @ axes is a descriptor

    @staticmethod
    def of_arrays(arrays: dict[str, NDArray[Any]], where: str) -> 'Landmarks':
        """From a map's file.

        Raises:
            MapError: if arrays are missing, do not fit, or hold NaN.
        """
        wanted = {'points': np.float32, 'descriptors': np.int8, 'axes': np.float32}
        if {name: x.dtype for name, x in arrays.items()} != wanted:
            raise MapError(f'{where}: does not hold landmarks', _DAMAGED)
        found = Landmarks(**arrays)
        fits = (
            all(x.ndim == 2 for x in arrays.values())
            and found.points.shape == (len(found.descriptors), 3)
            and found.axes.shape[1:] == found.descriptors.shape[1:]
            and found.axes.size > 0
            and len(found.points) > 0
        )
        if not fits or not (np.isfinite(found.points).all() and np.isfinite(found.axes).all()):
            raise MapError(f'{where}: its landmarks are not whole', _DAMAGED)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``of_arrays`` reads."""
        return dict(vars(self))


class Matcher:
    """Landmarks, ready to be searched."""

    def __init__(self, landmarks: Landmarks) -> None:
        self._points = landmarks.points.astype(np.float64)
        self._axes = landmarks.axes
        unit = landmarks.descriptors.astype(np.float32)
        self._unit = unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-6)

    def match(
        self, features: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """The most similar landmark's point [N, 3] for each feature [N, C], and the cosine [N]."""
        check_shape(features, 'N C', 'features', C=len(self._axes))
        short = features @ self._axes
        short /= np.maximum(np.linalg.norm(short, axis=1, keepdims=True), 1e-6)
        best = np.zeros(len(short), np.int64)
        cosine = np.zeros(len(short), np.float32)
        for start in range(0, len(short), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            similar = short[part] @ self._unit.T
            best[part] = similar.argmax(1)
            cosine[part] = similar[np.arange(len(similar)), best[part]]
        return self._points[best], cosine
