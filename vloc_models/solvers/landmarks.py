"""Map points by matching: the most similar of the cells that were seen while the map was made.

A landmark is a cell with its measured map point and a short descriptor: the encoder's feature on
the axes that matter most, a byte a number. No training stands behind them.

Which of the map's pictures show the place is found first, by comparing whole pictures: each is
described by how its cells differ from a few typical ones (VLAD, Jegou et al., CVPR 2010), sure
cells counting most. Where that fails, as with half of the picture covered, the surest cells vote.
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
_VOTERS = 200  # cells
_NEAR_PICTURES = 15  # whose landmarks are looked for around a guess
_METRES_A_RADIAN = 1.0  # that count as much when pictures are near
_ALIKE = 0.5  # cosine from which a cell votes for the picture of its landmark
_SURE_POWER = 3  # measured: covered pictures are found twice as often as with 0, others as often
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
        order = np.argsort(landmarks.picture, kind='stable')
        count = np.bincount(landmarks.picture, minlength=len(landmarks.T_map_cam))
        self._start = np.concatenate([[0], np.cumsum(count)])  # of each picture's landmarks
        self._picture = landmarks.picture[order]
        self._points = landmarks.points[order].astype(np.float64)
        self._unit = unit(landmarks.descriptors[order].astype(np.float32))
        self._axes = landmarks.axes
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

    def alike_pictures(
        self, asked: NDArray[np.float32], sure: NDArray[np.float32], most: int
    ) -> NDArray[np.int64]:
        """Numbers of the pictures that look most like one as a whole.

        Args:
            asked: [N, D] descriptors of its cells.
            sure: [N] how likely it is that each is found again.
            most: at most so many.
        """
        alike = self._places @ whole_picture(asked, sure, self._words)
        return np.argsort(-alike, kind='stable')[:most]

    @_one_thread
    def voted_pictures(
        self, asked: NDArray[np.float32], sure: NDArray[np.float32], most: int
    ) -> NDArray[np.int64]:
        """Numbers of the pictures that the surest cells look most like, one by one; as above."""
        voters = np.argsort(-sure, kind='stable')[:_VOTERS]
        best, cosine = _nearest(asked[voters], self._unit)
        weight = np.maximum(cosine - _ALIKE, 0) * sure[voters]
        votes = np.bincount(self._picture[best], weight, len(self._T_map_cam))
        return np.argsort(-votes, kind='stable')[:most]

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
        among = self._of(pictures)
        if not len(among):
            return Matches(np.full((len(asked), 3), np.nan), np.zeros(len(asked), np.float32))
        likeness = asked @ self._unit[among].T
        best = likeness.argmax(1)
        mutual = likeness.argmax(0)[best] == np.arange(len(asked))
        points = np.where(mutual[:, None], self._points[among[best]], np.nan)
        return Matches(points, likeness[np.arange(len(asked)), best])

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

        Only the pictures that were taken nearest to the guess are looked at.

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
        among = self._of(self._near_pictures(T_map_cam))
        u, v, number = self._projected(among, camera, T_map_cam, reach_px)
        bins = _Bins.of(u, v, reach_px)
        best = np.full(len(asked), -1)
        cosine = np.zeros(len(asked), np.float32)
        column, row = np.floor(pixels / (2 * reach_px)).astype(int).T
        for x, y in {*zip(column.tolist(), row.tolist(), strict=True)}:
            cells = np.flatnonzero((column == x) & (row == y))
            near = number[bins.around(2 * x - 1, 2 * y - 1)]
            if len(near):
                likeness = asked[cells] @ self._unit[near].T
                nearest = likeness.argmax(1)
                cosine[cells] = likeness[np.arange(len(cells)), nearest]
                best[cells] = near[nearest]
        points = np.where((best >= 0)[:, None], self._points[best], np.nan)
        return Matches(points, cosine)

    def _of(self, pictures: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the landmarks of some pictures."""
        starts = self._start.tolist()
        ranges = [np.arange(starts[p], starts[p + 1]) for p in pictures.tolist()]
        return np.concatenate(ranges) if ranges else np.zeros(0, int)

    def _near_pictures(self, T_map_cam: Array) -> NDArray[np.int64]:
        away = np.linalg.norm(self._T_map_cam[:, :3, 3] - T_map_cam[:3, 3], axis=1)
        turned = se3.angle_rad(T_map_cam[:3, :3].T @ self._T_map_cam[:, :3, :3])
        return np.argsort(away + _METRES_A_RADIAN * turned, kind='stable')[:_NEAR_PICTURES]

    def _projected(
        self, among: NDArray[np.int64], camera: Camera, T_map_cam: Array, beyond_px: float
    ) -> tuple[Array, Array, NDArray[np.int64]]:
        """Pixels of those landmarks that lie in and so far around a picture, and their numbers."""
        x, y, z = se3.apply(se3.inverse(T_map_cam), self._points[among]).T
        depth = np.maximum(z, 1e-3)
        u, v = x / depth * camera.fx + camera.cx, y / depth * camera.fy + camera.cy
        inside = (u > -beyond_px) & (u < camera.width + beyond_px)
        inside &= (v > -beyond_px) & (v < camera.height + beyond_px) & (z > 0)
        return u[inside], v[inside], among[inside]


@dataclass(frozen=True, eq=False)
class _Bins:
    """Points of a plane, sorted into squares."""

    order: NDArray[np.int64]  # [N] of the points, row by row
    start: NDArray[np.int64]  # [rows columns + 1] where each square's points begin there
    columns: int
    rows: int

    @staticmethod
    def of(u: Array, v: Array, side: float) -> '_Bins':
        """Points from ``-side`` on each way."""
        column, row = (np.floor(x / side).astype(int) + 1 for x in (u, v))
        columns, rows = (int(x.max(initial=0)) + 1 for x in (column, row))
        square = row * columns + column
        count = np.bincount(square, minlength=rows * columns)
        start = np.concatenate([[0], np.cumsum(count)])
        return _Bins(np.argsort(square, kind='stable'), start, columns, rows)

    def around(self, column: int, row: int) -> NDArray[np.int64]:
        """The points of the four by four squares from this one on; it may lie outside."""
        left, right = max(0, column + 1), min(self.columns, column + 5)
        parts = [
            self.order[self.start[y * self.columns + left] : self.start[y * self.columns + right]]
            for y in range(max(0, row + 1), min(self.rows, row + 5))
            if left < right
        ]
        return np.concatenate(parts) if parts else np.zeros(0, int)


def whole_picture(
    asked: NDArray[np.float32], sure: NDArray[np.float32], words: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a picture with descriptors [N, D] looks like, [W D]: VLAD, each word's part as long."""
    word = np.argmax(asked @ words.T - (words**2).sum(1) / 2, 1)
    summed = np.zeros_like(words)
    np.add.at(summed, word, (asked - words[word]) * sure[:, None] ** _SURE_POWER)
    return unit(unit(summed).reshape(1, -1))[0]


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
