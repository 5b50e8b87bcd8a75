"""Map points by matching: the most similar of the cells that were seen while the map was made.

A landmark is a cell with its measured map point and a short descriptor: the encoder's feature on
the axes that matter most, a byte a number. No training stands behind them.

Which of the map's pictures show the place is found first, by comparing whole pictures: each is
described by how its cells differ from a few typical ones (VLAD, Jegou et al., CVPR 2010).
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vloc_models.checks import check_se3, check_shape
from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
_AT_ONCE = 2048  # of a block of likenesses that stays in the cache
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
    words: NDArray[np.float32]  # [W, D] typical descriptors
    places: NDArray[np.int8]  # [K, W D] what the whole pictures look like

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
            'words': np.float32,
            'places': np.int8,
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
            and found.words.ndim == 2
            and found.words.shape[1] == numbers
            and found.places.shape == (len(found.T_map_cam), found.words.size)
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


class Matches(NamedTuple):
    """The landmark that each cell is taken for."""

    points: Array  # [N, 3] map; NaN where there is none
    cosine: NDArray[np.float32]  # [N] how alike they are


class Matcher:
    """Landmarks, ready to be searched."""

    def __init__(self, landmarks: Landmarks) -> None:
        self._points = landmarks.points.astype(np.float64)
        self._axes = landmarks.axes
        self._unit = unit(landmarks.descriptors.astype(np.float32))
        self._picture = landmarks.picture
        self._T_map_cam = landmarks.T_map_cam.astype(np.float64)
        self._words = landmarks.words
        self._places = unit(landmarks.places.astype(np.float32))

    @property
    def points(self) -> NDArray[np.float32]:
        """The landmarks [M, 3], in the map."""
        return self._points.astype(np.float32)

    def short(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Descriptors [N, D] of features [N, C], to be asked with."""
        check_shape(features, 'N C', 'features', C=len(self._axes))
        return unit(features @ self._axes)

    def likely_pictures(self, asked: NDArray[np.float32], most: int) -> NDArray[np.int64]:
        """Numbers of the pictures that look most like one with the descriptors [N, D]."""
        alike = self._places @ whole_picture(asked, self._words)
        return np.argsort(-alike, kind='stable')[:most]

    def T_map_cam(self, picture: int) -> Array:
        """Where one of the map's pictures was taken."""
        return self._T_map_cam[picture]

    @_one_thread
    def match(self, asked: NDArray[np.float32], pictures: NDArray[np.int64]) -> Matches:
        """Find the most similar landmark of some pictures, where each is the other's best.

        Args:
            asked: [N, D] descriptors.
            pictures: numbers.
        """
        among = np.flatnonzero(np.isin(self._picture, pictures))
        if not len(among):
            return _none(len(asked))
        best, cosine = _nearest(asked, self._unit[among])
        back, _ = _nearest(self._unit[among], asked)
        mutual = back[best] == np.arange(len(asked))
        points = np.where(mutual[:, None], self._points[among[best]], np.nan)
        return Matches(points, cosine)

    @_one_thread
    def match_near(
        self,
        asked: NDArray[np.float32],
        pixels: Array,
        camera: Camera,
        T_map_cam: Array,
        reach_px: float,
    ) -> Matches:
        """Find the most similar of those landmarks that would be seen near each cell.

        Args:
            asked: [N, D] descriptors.
            pixels: [N, 2] where they are.
            camera: its picture's size and intrinsics; distortion is not looked at, nor what
                stands between it and a landmark.
            T_map_cam: [4, 4] a guess of where it was.
            reach_px: at least as far each way; features are asked in squares twice as wide.
        """
        check_shape(asked, 'N D', 'asked', D=self._axes.shape[1])
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
        return Matches(points, cosine)

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


def whole_picture(asked: NDArray[np.float32], words: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a picture with descriptors [N, D] looks like, [W D]: VLAD, each word's part as long."""
    word = np.argmax(asked @ words.T - (words**2).sum(1) / 2, 1)
    summed = np.zeros_like(words)
    np.add.at(summed, word, asked - words[word])
    return unit(unit(summed).reshape(1, -1))[0]


def _none(count: int) -> Matches:
    return Matches(np.full((count, 3), np.nan), np.zeros(count, np.float32))


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
