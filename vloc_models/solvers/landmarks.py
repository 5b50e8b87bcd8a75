"""Map points by matching: the most similar of the cells that were seen while the map was made.

A landmark is a cell with its measured map point and a short descriptor: the encoder's feature on
the axes that matter most, a byte a number. No training stands behind them.

Which of the map's pictures show the place is found first, by comparing whole pictures: each is
described by how its cells differ from a few typical ones (VLAD, Jegou et al., CVPR 2010), sure
cells counting most. Where that fails, as with half of the picture covered, the surest cells vote.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from vloc_models.checks import check_se3, check_shape
from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.solvers.spots import STRIDE

Array = NDArray[np.float64]
_STAY = np.eye(4)
_AT_ONCE = 2048  # of a block of likenesses that stays in the cache
_VOTERS = 200  # cells
_NEAR_PICTURES = 20  # whose landmarks are looked for around a guess
_FAR_M, _FAR_RAD = 1.5, np.radians(60)  # from here on it is another place
_APART = 0.3  # of that, twins differ by
_METRES_A_RADIAN = 1.0  # that count as much when pictures are near
_ALIKE = 0.5  # cosine from which a cell may be a landmark's
_EDGE_PX = 16.0  # two cells
_SQUARE_PX = 96.0  # in which landmarks are looked for together
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
    # pictures that could have been taken elsewhere, and what carries their pose there
    twin_picture: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))  # [V]
    T_twin: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4, 4), np.float32))

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
        twins = {'twin_picture': np.int32, 'T_twin': np.float32}  # older maps have none
        dtypes = {name: x.dtype for name, x in arrays.items()}
        if dtypes not in (wanted, wanted | twins):
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
            and all(arrays[name].size for name in wanted)
            and found.T_twin.shape == (*found.twin_picture.shape, 4, 4)
            and ((found.twin_picture >= 0) & (found.twin_picture < len(found.T_map_cam))).all()
            and found.picture.min() >= 0
            and found.picture.max() < len(found.T_map_cam)
            and all(np.isfinite(x).all() for x in arrays.values())
        )
        if not fits:
            raise MapError(f'{where}: its landmarks are not whole', _DAMAGED)
        try:
            for T in (*found.T_map_cam, *found.T_twin):
                check_se3(T, 'a picture')
        except VlocError as e:
            raise MapError(f'{where}: its landmarks are not whole: {e}', _DAMAGED) from e
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``of_arrays`` reads."""
        return dict(vars(self))


class Matches(NamedTuple):
    """Landmarks and the cells that look like them."""

    cells: NDArray[np.int64]  # [N, 2] row and column
    points: Array  # [N, 3] map
    cosine: NDArray[np.float32]  # [N] how alike they are
    wanted: NDArray[np.float32]  # [N, D] the landmarks' descriptors

    @property
    def confidence(self) -> NDArray[np.float32]:
        """[N] 0 to 1, how much each counts: the more alike, the nearer to its place (measured)."""
        return (np.maximum(self.cosine - _ALIKE, 0) / (1 - _ALIKE)).astype(np.float32)


class Matcher:
    """Landmarks, ready to be searched."""

    def __init__(self, landmarks: Landmarks, T_frame_map: Array = _STAY) -> None:
        """Prepare them; ``T_frame_map`` carries their places into the frame of the answers."""
        order = np.argsort(landmarks.picture, kind='stable')
        count = np.bincount(landmarks.picture, minlength=len(landmarks.T_map_cam))
        self._start = np.concatenate([[0], np.cumsum(count)])  # of each picture's landmarks
        self._picture = landmarks.picture[order]
        # in float64: far from the frame's origin float32 is too coarse
        self._points = se3.apply(T_frame_map, landmarks.points[order].astype(np.float64))
        self._unit = unit(landmarks.descriptors[order].astype(np.float32))
        self._axes = landmarks.axes
        self._T_map_cam = T_frame_map @ landmarks.T_map_cam.astype(np.float64)
        self._words = landmarks.words
        self._places = unit(landmarks.places.astype(np.float32))
        self._twin_picture = landmarks.twin_picture
        there = landmarks.T_twin.astype(np.float64)
        self._T_twin = T_frame_map @ there @ se3.inverse(T_frame_map)

    @property
    def points(self) -> NDArray[np.float32]:
        """The landmarks [M, 3], in the map."""
        return self._points.astype(np.float32)

    def short(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Descriptors [..., D] of features [..., C], to be asked with."""
        check_shape(features, '... C', 'features', C=len(self._axes))
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

    def pictures_like(self, picture: int, most: int) -> NDArray[np.int64]:
        """Numbers of the pictures that look most like one of the map's own, which comes first."""
        return np.argsort(-(self._places @ self._places[picture]), kind='stable')[:most]

    def taken_elsewhere(self, pictures: NDArray[np.int64], T_map_cam: Array) -> NDArray[np.bool_]:
        """Which of some pictures are of another place than a pose."""
        T = self._T_map_cam[pictures]
        away = np.linalg.norm(T[:, :3, 3] - T_map_cam[:3, 3], axis=1)
        turned = se3.angle_rad(T_map_cam[:3, :3].T @ T[:, :3, :3])
        return (away > _FAR_M) | (turned > _FAR_RAD)

    def seen_in(self, picture: int) -> tuple[Array, NDArray[np.float32]]:
        """The landmarks of one of the map's pictures: points [N, 3] in its camera, descriptors."""
        some = self._of(np.array([picture]))
        T_cam_map = se3.inverse(self._T_map_cam[picture])
        return se3.apply(T_cam_map, self._points[some]), self._unit[some]

    def twins(self, T_map_cam: Array) -> Array:
        """What carries a pose near there to each place of the map that may look like it [V, 4, 4].

        The nearest picture's come first; one that leads where another did is left out.
        """
        kept = list[Array]()
        for picture in self._near_pictures(T_map_cam).tolist():
            for T in self._T_twin[self._twin_picture == picture]:
                there = T @ T_map_cam
                if all(elsewhere(there, other @ T_map_cam, _APART) for other in kept):
                    kept.append(T)
        return np.array(kept, np.float64).reshape(-1, 4, 4)

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

    def T_map_cam(self, picture: int | np.int64) -> Array:
        """Where one of the map's pictures was taken."""
        return self._T_map_cam[picture]

    @_one_thread
    def match(
        self,
        asked: NDArray[np.float32],
        cells: NDArray[np.int64],
        pictures: NDArray[np.int64],
    ) -> Matches:
        """Find the cells and landmarks of some pictures that are each other's most similar.

        Args:
            asked: [N, D] descriptors of cells.
            cells: [N, 2] which.
            pictures: numbers.
        """
        check_shape(asked, 'N D', 'asked', N=len(cells), D=self._axes.shape[1])
        among = self._of(pictures)
        if not len(among):
            return self._matches(cells[:0], among, np.zeros(0, np.float32))
        likeness = asked @ self._unit[among].T
        best = likeness.argmax(1)
        mutual = np.flatnonzero(likeness.argmax(0)[best] == np.arange(len(asked)))
        cosine = likeness[mutual, best[mutual]]
        return self._matches(cells[mutual], among[best[mutual]], cosine)

    @_one_thread
    def match_near(
        self, grid: NDArray[np.float32], camera: Camera, T_map_cam: Array, reach_px: float
    ) -> Matches:
        """Find the cell most similar to each landmark, near where it would be seen.

        Only the pictures that were taken nearest to a guess are looked at, and of landmarks that
        find the same cell only the most similar one counts.

        Args:
            grid: [h, w, D] descriptors of all cells of a picture.
            camera: its size and intrinsics; distortion is not looked at, nor what stands between
                it and a landmark.
            T_map_cam: [4, 4] a guess of where it was.
            reach_px: how far off a cell's centre may be, each way.
        """
        check_shape(grid, 'h w D', 'grid', D=self._axes.shape[1])
        h, w, D = grid.shape
        among, u, v = self._in_view(self._near_pictures(T_map_cam), camera, T_map_cam)
        if not len(among):
            return self._matches(np.zeros((0, 2), int), among, np.zeros(0, np.float32))
        best = np.zeros(len(among), np.int64)
        cosine = np.zeros(len(among), np.float32)
        column, row = (np.arange(n) * STRIDE + (STRIDE - 1) / 2 for n in (w, h))
        for some in _neighbours(u, v):  # landmarks that can be found in the same part of the grid
            below, right = (
                slice(
                    np.searchsorted(centres, x.min() - reach_px),
                    np.searchsorted(centres, x.max() + reach_px, 'right'),
                )
                for centres, x in ((row, v[some]), (column, u[some]))
            )
            part = grid[below, right]
            if not part.size:
                continue
            likeness = self._unit[among[some]] @ part.reshape(-1, D).T
            along = np.abs(row[below] - v[some, None]) > reach_px
            across = np.abs(column[right] - u[some, None]) > reach_px
            likeness[(along[:, :, None] | across[:, None]).reshape(likeness.shape)] = -1
            top = likeness.argmax(1)
            down, aside = np.divmod(top, part.shape[1])
            best[some] = (down + below.start) * w + aside + right.start
            cosine[some] = likeness[np.arange(len(some)), top]
        order = np.argsort(-cosine, kind='stable')
        order = order[cosine[order] > _ALIKE]
        cell, first = np.unique(best[order], return_index=True)
        found = order[first]
        return self._matches(np.stack(np.divmod(cell, w), 1), among[found], cosine[found])

    def _matches(
        self,
        cells: NDArray[np.int64],
        landmarks: NDArray[np.int64],
        cosine: NDArray[np.float32],
    ) -> Matches:
        return Matches(cells, self._points[landmarks], cosine, self._unit[landmarks])

    def _of(self, pictures: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the landmarks of some pictures."""
        starts = self._start.tolist()
        ranges = [np.arange(starts[p], starts[p + 1]) for p in pictures.tolist()]
        return np.concatenate(ranges) if ranges else np.zeros(0, int)

    def _near_pictures(self, T_map_cam: Array) -> NDArray[np.int64]:
        away = np.linalg.norm(self._T_map_cam[:, :3, 3] - T_map_cam[:3, 3], axis=1)
        turned = se3.angle_rad(T_map_cam[:3, :3].T @ self._T_map_cam[:, :3, :3])
        return np.argsort(away + _METRES_A_RADIAN * turned, kind='stable')[:_NEAR_PICTURES]

    def _in_view(
        self, pictures: NDArray[np.int64], camera: Camera, T_map_cam: Array
    ) -> tuple[NDArray[np.int64], Array, Array]:
        """Those landmarks of some pictures that would be seen, and their pixels.

        At the edge only the inner half of what is around a landmark can be found. That would draw
        the pose (measured: 1.1 cm instead of 0.8), so the edge is left out.
        """
        among = self._of(pictures)
        x, y, z = se3.apply(se3.inverse(T_map_cam), self._points[among]).T
        depth = np.maximum(z, 1e-3)
        u, v = x / depth * camera.fx + camera.cx, y / depth * camera.fy + camera.cy
        inside = (u > _EDGE_PX) & (u < camera.width - _EDGE_PX) & (z > 0)
        inside &= (v > _EDGE_PX) & (v < camera.height - _EDGE_PX)
        return among[inside], u[inside], v[inside]


def elsewhere(T_map_a: Array, T_map_b: Array, share: float = 1.0) -> bool:
    """Whether two poses are of different places, or differ by a share of what that takes."""
    turned = float(se3.angle_rad(T_map_a[:3, :3].T @ T_map_b[:3, :3]))
    away = float(np.linalg.norm(T_map_a[:3, 3] - T_map_b[:3, 3]))
    return away > share * _FAR_M or turned > share * _FAR_RAD


def _neighbours(u: Array, v: Array) -> list[NDArray[np.int64]]:
    """Numbers of pixels, those in the same square together."""
    square = np.floor(v / _SQUARE_PX) * 2**16 + np.floor(u / _SQUARE_PX)
    order = np.argsort(square, kind='stable')
    return np.split(order, np.flatnonzero(np.diff(square[order])) + 1)


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
    """Rows [..., D] of length one; zeros stay zeros."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-6)
