"""Which of the seen cells become the map's landmarks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from vloc_models.errors import VlocError
from vloc_models.mapping.sightings import Sightings
from vloc_models.solvers.landmarks import Landmarks, unit, whole_picture

Array = NDArray[np.float64]
_UNCONFIRMED = 0.1  # as likely to be chosen
_TO_CLUSTER = 20_000  # descriptors that the words are made of


@dataclass(frozen=True)
class LandmarkConfig:
    """How many cells are kept to be matched, and how much of each."""

    per_picture: int = 120  # 0: none
    most: int = 100_000  # of all pictures together
    numbers: int = 32  # of a descriptor, a byte each
    words: int = 32  # typical descriptors, for finding pictures of the place

    def __post_init__(self) -> None:
        if self.per_picture < 0 or min(self.most, self.numbers, self.words) < 1:
            raise VlocError(
                f'landmarks: {self.per_picture} a picture, at most {self.most}, '
                f'{self.numbers} numbers each, {self.words} words',
                'give more; 0 a picture for none',
            )


def choose_landmarks(
    sightings: Sightings, T_map_cam: Array, config: LandmarkConfig, seed: int
) -> Landmarks | None:
    """Some of the cells with a measured point; None if there are none, as without depth.

    Args:
        sightings: of all pictures.
        T_map_cam: [K, 4, 4] of all pictures.
        config: how many.
        seed: of the choice, in which sure cells are likelier, and confirmed ones much.
    """
    rng = np.random.default_rng([6, seed])
    measured = sightings.measured
    pictures = sightings.pictures
    counts = np.bincount(sightings.picture[measured])[pictures]
    if config.per_picture == 0 or not len(pictures):
        return None
    each = min(config.per_picture, max(1, config.most // len(pictures)))
    chance = np.where(measured, sightings.sure.astype(np.float64) + 1e-3, 0)
    chance[~sightings.confirmed] *= _UNCONFIRMED
    rows = np.concatenate(
        [
            _drawn(np.flatnonzero((sightings.picture == p) & measured), chance, min(each, n), rng)
            for p, n in zip(pictures.tolist(), counts.tolist(), strict=True)
        ]
    )
    features = sightings.features[rows].astype(np.float32)
    axes = main_axes(features, config.numbers)
    words = typical(unit(features @ axes), config.words, seed)
    places = np.stack([whole(sightings, p, axes, words) for p in pictures.tolist()])
    return Landmarks(
        sightings.points[rows],
        _bytes(unit(features @ axes)),
        axes,
        np.searchsorted(pictures, sightings.picture[rows]).astype(np.int32),
        T_map_cam[pictures].astype(np.float32),
        words,
        _bytes(places),
    )


def _drawn(
    among: NDArray[np.int64], chance: Array, count: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    p = chance[among]
    return np.sort(rng.choice(among, count, replace=False, p=p / p.sum()))


def main_axes(features: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """The axes [C, D] that features [N, C] are longest along, the longest first."""
    _, axes = np.linalg.eigh(features.T @ features)  # variances rise
    return np.ascontiguousarray(axes[:, : -count - 1 : -1])


def typical(short: NDArray[np.float32], count: int, seed: int) -> NDArray[np.float32]:
    """Typical ones [W, D] of descriptors [N, D], fewer where there are not so many."""
    some = short[np.random.default_rng([8, seed]).permutation(len(short))[:_TO_CLUSTER]]
    words, _ = kmeans2(some, some[:count], minit='matrix')
    return words.astype(np.float32)


def whole(
    sightings: Sightings,
    picture: int,
    axes: NDArray[np.float32],
    words: NDArray[np.float32],
) -> NDArray[np.float32]:
    """What one of the pictures looks like [W D], as ``whole_picture`` tells it."""
    rows = sightings.picture == picture
    features = sightings.features[rows].astype(np.float32)
    return whole_picture(unit(features @ axes), sightings.sure[rows], words)


def _bytes(rows: NDArray[np.float32]) -> NDArray[np.int8]:
    return np.round(rows * (127 / max(np.abs(rows).max(), 1e-6))).astype(np.int8)
