"""Which of the seen cells become the map's landmarks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.solvers.landmarks import Landmarks, unit
from vloc_models.training.ace import Buffer

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LandmarkConfig:
    """How many cells are kept to be matched, and how much of each."""

    per_picture: int = 120  # 0: none
    most: int = 100_000  # of all pictures together
    numbers: int = 32  # of a descriptor, a byte each

    def __post_init__(self) -> None:
        if self.per_picture < 0 or self.most < 1 or self.numbers < 1:
            raise VlocError(
                f'landmarks: {self.per_picture} a picture, at most {self.most}, '
                f'{self.numbers} numbers each',
                'give more; 0 a picture for none',
            )


def choose_landmarks(
    buffer: Buffer, T_map_cam: Array, config: LandmarkConfig, seed: int
) -> Landmarks | None:
    """Some of the cells with a measured point; None if there are none, as without depth.

    Args:
        buffer: of the cells of all pictures.
        T_map_cam: [K, 4, 4] of all pictures.
        config: how many.
        seed: of the choice.

    At random: that shares them out as the pictures do. Measured on synthetic worlds, merging the
    sightings of a point, or choosing points seen often, found fewer poses.
    """
    measured = np.flatnonzero(np.isfinite(buffer.points).all(1))
    count = min(config.per_picture * len(np.unique(buffer.picture)), config.most, len(measured))
    if count == 0:
        return None
    rows = np.sort(np.random.default_rng([6, seed]).choice(measured, count, replace=False))
    features = buffer.features[rows].astype(np.float32)
    _, axes = np.linalg.eigh(features.T @ features)  # variances rise
    axes = np.ascontiguousarray(axes[:, : -config.numbers - 1 : -1])
    short = unit(features @ axes)
    whole = np.round(short * (127 / np.abs(short).max())).astype(np.int8)
    used, picture = np.unique(buffer.picture[rows], return_inverse=True)
    poses = T_map_cam[used].astype(np.float32)
    return Landmarks(buffer.points[rows], whole, axes, picture.astype(np.int32), poses)
