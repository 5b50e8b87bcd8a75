"""The map's index of places: which of its pictures look most like one that is asked.

A picture is a few hundred numbers: how its cells differ from a few typical ones (VLAD, Jegou et
al., CVPR 2010), on the axes along which the map's pictures differ most, each axis scaled so that
all count alike (Jegou and Chum, ECCV 2012). The map's numbers are kept; a query's are compared
with all of them, which is exact and takes milliseconds for as many pictures as a building has.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_se3, check_shape
from vloc_models.errors import MapError, VlocError
from vloc_models.solvers.landmarks import unit, whole_picture

_log = logging.getLogger(__name__)
Array = NDArray[np.float64]
MOST_NUMBERS = 512  # of a picture
_MANY = 100_000  # pictures
_NOT_UNIT = 5e-3  # half precision's errors are a tenth of it
_STAY = np.eye(4)
_DAMAGED = 'copy the map again, or build it again with "vloc map"'


@dataclass(frozen=True, eq=False)
class Places:
    """What the map's pictures look like in few numbers, and where they were taken."""

    axes: NDArray[np.float32]  # [C, d] features @ axes is a cell's descriptor
    words: NDArray[np.float32]  # [W, d] typical descriptors
    mean: NDArray[np.float32]  # [W d] of the pictures
    whiten: NDArray[np.int8]  # [W d, D] times scale: what a picture differs by, as its numbers
    scale: NDArray[np.float32]  # [D]
    descriptors: NDArray[np.float16]  # [K, D] unit; 0: like nothing
    T_map_cam: NDArray[np.float32]  # [K, 4, 4]
    submap: NDArray[np.int32]  # [K] number of the sub-map that each belongs to

    @staticmethod
    def of_arrays(arrays: dict[str, NDArray[Any]], where: str) -> 'Places':
        """From a map's file.

        Raises:
            MapError: if there are no pictures, arrays are missing, do not fit, or hold NaN or
                what is no pose.
        """
        wanted = {
            'axes': np.float32,
            'words': np.float32,
            'mean': np.float32,
            'whiten': np.int8,
            'scale': np.float32,
            'descriptors': np.float16,
            'T_map_cam': np.float32,
            'submap': np.int32,
        }
        if {name: x.dtype for name, x in arrays.items()} != wanted:
            raise MapError(f'{where}: does not hold an index of places', _DAMAGED)
        if arrays['descriptors'].shape[:1] == (0,):
            fix = 'build it again with "vloc map", of a recording with poses'
            raise MapError(f'{where}: its index holds no pictures', fix)
        found = Places(**arrays)
        if not found._fits():
            raise MapError(f'{where}: its index is not whole', _DAMAGED)
        try:
            for T in found.T_map_cam[~_rigid(found.T_map_cam)]:  # one by one it takes a while
                check_se3(T, 'a picture')
        except VlocError as e:
            raise MapError(f'{where}: its index is not whole: {e}', _DAMAGED) from e
        return found

    def _fits(self) -> bool:
        pictures, numbers = (*self.descriptors.shape, 0, 0)[:2]
        wholes = self.words.size
        shapes = (
            self.axes.ndim == self.words.ndim == self.descriptors.ndim == 2
            and self.words.shape[1] == self.axes.shape[1]
            and self.mean.shape == (wholes,)
            and self.whiten.shape == (wholes, numbers)
            and self.scale.shape == (numbers,)
            and 1 <= numbers <= MOST_NUMBERS
            and self.T_map_cam.shape == (pictures, 4, 4)
            and self.submap.shape == (pictures,)
            and all(x.size for x in vars(self).values())
        )
        if not shapes or not all(np.isfinite(x).all() for x in vars(self).values()):
            return False
        length = np.linalg.norm(self.descriptors.astype(np.float32), axis=1)
        unit_or_nothing = (np.abs(length - 1) < _NOT_UNIT) | (length == 0)
        return bool(unit_or_nothing.all() and self.submap.min() >= 0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``of_arrays`` reads."""
        return dict(vars(self))

    @staticmethod
    def joined(parts: Sequence['Places']) -> 'Places':
        """Those of several sub-maps, numbered in their order; all on the same axes."""
        first = parts[0]
        for other in parts:
            assert np.array_equal(other.whiten, first.whiten)  # axes, words and scale with it
        return replace(
            first,
            descriptors=np.concatenate([p.descriptors for p in parts]),
            T_map_cam=np.concatenate([p.T_map_cam for p in parts]),
            submap=np.repeat(
                np.arange(len(parts), dtype=np.int32), [len(p.submap) for p in parts]
            ),
        )


def _rigid(T: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of [K, 4, 4] are rigid beyond doubt."""
    R = T[:, :3, :3]
    off = np.abs(R @ R.swapaxes(1, 2) - np.eye(3)).max((1, 2))
    return (off < 5e-6) & (np.linalg.det(R) > 0) & (T[:, 3] == [0, 0, 0, 1]).all(1)


class Nearest(NamedTuple):
    """The map's pictures that look most like one, the most similar first."""

    numbers: NDArray[np.int64]  # [N] in the index
    likeness: NDArray[np.float32]  # [N] cosine


class PlaceIndex:
    """Places, ready to be searched."""

    def __init__(self, places: Places, T_frame_map: Array = _STAY) -> None:
        """Prepare them; ``T_frame_map`` carries them into the frame of the answers."""
        if len(places.descriptors) > _MANY:
            _log.warning(
                f'{len(places.descriptors)} places: each is compared, which takes a while; '
                f'a map of fewer pictures (--max-images) is found in faster'
            )
        self.T_map_cam: Array = T_frame_map @ places.T_map_cam.astype(np.float64)  # [K, 4, 4]
        self.submap = places.submap  # [K]
        self._places, self._whiten = places, places.whiten * places.scale  # [W d, D] float32
        faiss.omp_set_num_threads(1)  # they would spin on, and slow the encoder down
        self._index = faiss.IndexFlatIP(places.descriptors.shape[1])
        self._index.add(unit(places.descriptors.astype(np.float32)))  # pyright: ignore

    def __len__(self) -> int:
        return len(self.submap)

    def describe(
        self, features: NDArray[np.float32], sure: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """The numbers of a picture [D], unit.

        Args:
            features: [N, C] of its cells.
            sure: [N] how likely it is that each is found again.
        """
        places = self._places
        check_shape(features, 'N C', 'features', C=len(places.axes))
        check_shape(sure, 'N', 'sure', N=len(features))
        whole = whole_picture(unit(features @ places.axes), sure, places.words)
        return numbers_of(whole, places.mean, self._whiten)

    def nearest(self, asked: NDArray[np.float32], most: int) -> Nearest:
        """The pictures that look most like one, of all.

        Args:
            asked: [D] its numbers.
            most: at most so many.
        """
        check_shape(asked, 'D', 'asked', D=self._index.d)
        assert most >= 1
        most = min(most, len(self))
        likeness, numbers = self._index.search(asked[None].astype(np.float32), most)  # pyright: ignore
        return Nearest(numbers[0], likeness[0])


def numbers_of(
    wholes: NDArray[np.float32], mean: NDArray[np.float32], axes: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The numbers [..., D] of pictures [..., W d] as ``whole_picture`` describes them."""
    return unit(np.matmul(wholes - mean, axes, dtype=np.float32))
