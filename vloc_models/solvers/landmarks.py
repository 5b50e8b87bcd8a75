"""Map points by matching: the most similar of the cells that were seen while the map was made.

A landmark is a cell with its measured map point and a short descriptor: the encoder's feature on
the axes that matter most, a byte a number. No training stands behind them, so that they answer
where a head has not learned the place well; they take more room and time than a head.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vloc_models.checks import check_se3, check_shape
from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
_CELLS_AT_ONCE, _AT_ONCE = 300, 2048  # a block of likenesses that stays in the cache
_ALIKE = 0.5  # cosine from which a match counts for the picture it comes from
# numpy's threads, once used, spin on: the next picture then took 25 ms longer
_one_thread = ThreadpoolController().wrap(limits=1, user_api='blas')
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
            MapError: if arrays are missing, do not fit, or hold NaN or what is no pose.
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
        try:
            for T in found.T_map_cam:
                check_se3(T, 'a picture')
        except VlocError as e:
            raise MapError(f'{where}: its landmarks are not whole: {e}', _DAMAGED) from e
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
        self._unit = unit(landmarks.descriptors.astype(np.float32))
        self._picture = landmarks.picture
        self._T_map_cam = landmarks.T_map_cam.astype(np.float64)

    @property
    def points(self) -> NDArray[np.float32]:
        """The landmarks [M, 3], in the map."""
        return self._points.astype(np.float32)

    @_one_thread
    def match(self, features: NDArray[np.float32]) -> Matches:
        """Find the most similar landmark of each feature [N, C]."""
        asked = self._short(features)
        blocks = range(0, len(asked), _CELLS_AT_ONCE)
        found = [_nearest(asked[n : n + _CELLS_AT_ONCE], self._unit) for n in blocks]
        best, cosine = (np.concatenate(columns) for columns in zip(*found, strict=True))
        return Matches(self._points[best], cosine, self._picture[best])

    @_one_thread
    def match_near(
        self,
        features: NDArray[np.float32],
        pixels: Array,
        camera: Camera,
        T_map_cam: Array,
        reach_px: float,
    ) -> Matches:
        """Find the most similar of those landmarks that would be seen near each feature.

        Args:
            features: [N, C].
            pixels: [N, 2] where they are.
            camera: its picture's size and intrinsics; distortion is not looked at, nor what
                stands between it and a landmark.
            T_map_cam: [4, 4] a guess of where it was.
            reach_px: at least as far each way; features are asked in squares twice as wide.

        Returns:
            Matches; points are NaN where there is no landmark.
        """
        asked = self._short(features)
        check_shape(pixels, 'N 2', 'pixels', N=len(asked))
        u, v, number = self._projected(camera, T_map_cam, reach_px)
        best = np.full(len(asked), -1)
        cosine = np.zeros(len(asked), np.float32)
        column, row = np.floor(pixels / (2 * reach_px)).T
        for x, y in {*zip(column.tolist(), row.tolist(), strict=True)}:
            cells = np.flatnonzero((column == x) & (row == y))
            beside = np.abs(u - (2 * x + 1) * reach_px) < 2 * reach_px
            near = number[beside & (np.abs(v - (2 * y + 1) * reach_px) < 2 * reach_px)]
            if len(near):
                nearest, cosine[cells] = _nearest(asked[cells], self._unit[near])
                best[cells] = near[nearest]
        points = np.where((best >= 0)[:, None], self._points[best], np.nan)
        return Matches(points, cosine, self._picture[best])

    def _short(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        check_shape(features, 'N C', 'features', C=len(self._axes))
        return unit(features @ self._axes)

    def _projected(
        self, camera: Camera, T_map_cam: Array, beyond_px: float
    ) -> tuple[Array, Array, NDArray[np.int64]]:
        """Pixels of the landmarks in and so far around a picture, and their numbers."""
        x, y, z = se3.apply(se3.inverse(T_map_cam), self._points).T
        depth = np.maximum(z, 1e-3)
        u, v = x / depth * camera.fx + camera.cx, y / depth * camera.fy + camera.cy
        inside = (u > -beyond_px) & (u < camera.width + beyond_px)
        inside &= (v > -beyond_px) & (v < camera.height + beyond_px) & (z > 0)
        number = np.flatnonzero(inside)
        return u[number], v[number], number

    def likely_pictures(self, matches: Matches, most: int) -> list[Array]:
        """T_map_cam of the pictures that most matches come from, the likeliest first."""
        weight = np.maximum(matches.cosine - _ALIKE, 0)
        votes = np.bincount(matches.picture, weight, len(self._T_map_cam))
        order = np.argsort(-votes, kind='stable')[:most]
        return [self._T_map_cam[number] for number in order if votes[number] > 0]


def _nearest(
    asked: NDArray[np.float32], among: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Of each row asked for the most similar row, and how similar it is."""
    best = np.zeros(len(asked), np.int64)
    cosine = np.full(len(asked), -np.inf, np.float32)
    every = np.arange(len(asked))
    for start in range(0, len(among), _AT_ONCE):
        likeness = asked @ among[start : start + _AT_ONCE].T
        nearest = likeness.argmax(1)
        value = likeness[every, nearest]
        better = value > cosine
        cosine[better] = value[better]
        best[better] = nearest[better] + start
    return best, cosine


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows [N, D] of length one; zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
