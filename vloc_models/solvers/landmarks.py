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
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
_CELLS_AT_ONCE, _LANDMARKS_AT_ONCE = 300, 2048  # a block of likenesses that stays in the cache
_ALIKE = 0.5  # cosine from which a match counts for the picture it comes from
_DAMAGED = 'copy the map again, or build it again with "vloc map"'


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Points of a place with what they look like, and the pictures they were seen in."""

    points: NDArray[np.float32]  # [M, 3] map, metres
    descriptors: NDArray[np.int8]  # [M, D] of a length of about 127 times a common factor
    axes: NDArray[np.float32]  # [C, D] features @ axes is a descriptor
    picture: NDArray[np.int32]  # [M]
    T_map_cam: NDArray[np.float32]  # [K, 4, 4] of the pictures

    @staticmethod
    def of_arrays(arrays: dict[str, NDArray[Any]], where: str) -> 'Landmarks':
        """From a map's file.

        Raises:
            MapError: if arrays are missing, do not fit, or hold NaN.
        """
        wanted = {
            'points': np.float32,
            'descriptors': np.int8,
            'axes': np.float32,
            'picture': np.int32,
            'T_map_cam': np.float32,
        }
        if {name: x.dtype for name, x in arrays.items()} != wanted:
            raise MapError(f'{where}: does not hold landmarks', _DAMAGED)
        found = Landmarks(**arrays)
        count, numbers = (*found.descriptors.shape, 0, 0)[:2]
        fits = (
            found.points.shape == (count, 3)
            and found.picture.shape == (count,)
            and found.axes.ndim == found.descriptors.ndim == 2
            and found.axes.shape[1] == numbers
            and found.T_map_cam.shape[1:] == (4, 4)
            and all(x.size for x in arrays.values())
            and found.picture.min() >= 0
            and found.picture.max() < len(found.T_map_cam)
            and all(np.isfinite(x).all() for x in arrays.values())
        )
        if not fits:
            raise MapError(f'{where}: its landmarks are not whole', _DAMAGED)
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``of_arrays`` reads."""
        return dict(vars(self))


@dataclass(frozen=True, eq=False)
class Matches:
    """The most similar landmark of each feature."""

    points: Array  # [N, 3] map
    cosine: NDArray[np.float32]  # [N]
    picture: NDArray[np.int32]  # [N]


class Matcher:
    """Landmarks, ready to be searched."""

    def __init__(self, landmarks: Landmarks) -> None:
        self._points = landmarks.points.astype(np.float64)
        self._axes = landmarks.axes
        self._unit = _unit(landmarks.descriptors.astype(np.float32))
        self._picture = landmarks.picture
        self._T_map_cam = landmarks.T_map_cam.astype(np.float64)

    def match(
        self, features: NDArray[np.float32], among: NDArray[np.int64] | None = None
    ) -> Matches:
        """Find the most similar landmark of each feature [N, C]; of those numbered, if given."""
        check_shape(features, 'N C', 'features', C=len(self._axes))
        asked = _unit(features @ self._axes)
        unit = self._unit if among is None else self._unit[among]
        best = np.zeros(len(asked), np.int64)
        cosine = np.full(len(asked), -np.inf, np.float32)
        for first in range(0, len(asked), _CELLS_AT_ONCE):
            cells = slice(first, first + _CELLS_AT_ONCE)
            for start in range(0, len(unit), _LANDMARKS_AT_ONCE):
                likeness = asked[cells] @ unit[start : start + _LANDMARKS_AT_ONCE].T
                nearest = likeness.argmax(1)
                value = likeness[np.arange(len(nearest)), nearest]
                better = value > cosine[cells]
                cosine[cells][better] = value[better]
                best[cells][better] = nearest[better] + start
        best = best if among is None else among[best]
        return Matches(self._points[best], cosine, self._picture[best])

    def in_view(self, camera: Camera, T_map_cam: Array, margin: float) -> NDArray[np.int64]:
        """The landmarks before a camera, as far outside its picture as that share of its size.

        Lens distortion and what stands in between are not looked at.
        """
        x, y, z = se3.apply(se3.inverse(T_map_cam), self._points).T
        before = np.maximum(z, 1e-3)
        u = (x / before * camera.fx + camera.cx) / camera.width
        v = (y / before * camera.fy + camera.cy) / camera.height
        inside = (np.abs(u - 0.5) < 0.5 + margin) & (np.abs(v - 0.5) < 0.5 + margin)
        return np.flatnonzero((z > 0) & inside)

    def likely_pictures(self, matches: Matches, most: int) -> list[Array]:
        """T_map_cam of the pictures that most matches come from, the likeliest first."""
        weight = np.maximum(matches.cosine - _ALIKE, 0)
        votes = np.bincount(matches.picture, weight, len(self._T_map_cam))
        order = np.argsort(-votes, kind='stable')[:most]
        return [self._T_map_cam[number] for number in order if votes[number] > 0]


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
