"""The index of places of a map: its pictures in few numbers, on axes of their own."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import BagError, VlocError
from vloc_models.mapping.landmarks import main_axes, typical, whole
from vloc_models.mapping.sightings import Sightings
from vloc_models.solvers.landmarks import unit
from vloc_models.solvers.retrieval import MOST_NUMBERS, Places, numbers_of

Array = NDArray[np.float64]
_TO_LOOK_AT = 100_000  # cells that the axes and words are made of
_NOTHING = 1e-6  # a difference, or a share of the largest variance, that is none


@dataclass(frozen=True)
class PlacesConfig:
    """How many numbers tell a place."""

    numbers: int = 256  # of a picture, two bytes each; fewer where there are fewer pictures
    words: int = 64  # typical cells; measured: 32 find fewer
    cell_numbers: int = 32  # of a cell's descriptor
    # of the axes' mean variance, added to each, as few pictures do not tell the whole truth
    shrinkage: float = 2.0  # measured: 0.1 errs more, 20 as little

    def __post_init__(self) -> None:
        if not 1 <= self.numbers <= MOST_NUMBERS or min(self.words, self.cell_numbers) < 1:
            raise VlocError(
                f'places: {self.numbers} numbers, {self.words} words, {self.cell_numbers} a cell',
                f'give 1 or more, and at most {MOST_NUMBERS} numbers',
            )
        if not 0 <= self.shrinkage < np.inf:
            raise VlocError(f'places: a shrinkage of {self.shrinkage}', 'give 0 or more')


def index_places(
    sightings: Sightings,
    T_map_cam: Array,
    config: PlacesConfig,
    seed: int,
    like: Places | None = None,
) -> Places:
    """Describe the pictures of a recording; all are of the sub-map 0.

    Args:
        sightings: of its pictures; whether their points are known does not matter.
        T_map_cam: [K, 4, 4] of all pictures; those without sightings are left out.
        config: how.
        seed: of the choice of cells that are typical.
        like: an index on whose axes they are described, so that both can be joined.

    Raises:
        BagError: if there are no cells.
    """
    count = check_shape(T_map_cam, 'K 4 4', 'T_map_cam')['K']
    pictures = np.unique(sightings.picture)
    if not len(pictures) or pictures[-1] >= count:
        raise BagError('pictures without cells cannot be indexed', 'give pictures that show some')
    axes, words = (like.axes, like.words) if like else _typical(sightings, config, seed)
    wholes = np.stack([whole(sightings, p, axes, words) for p in pictures.tolist()])
    if like:
        mean, whiten, scale = like.mean, like.whiten, like.scale
    else:
        mean, exact = whitening(wholes, config)
        whiten, scale = in_bytes(exact)
    return Places(
        axes,
        words,
        mean,
        whiten,
        scale,
        numbers_of(wholes, mean, whiten * scale).astype(np.float16),
        T_map_cam[pictures].astype(np.float32),
        np.zeros(len(pictures), np.int32),
    )


def _typical(
    sightings: Sightings, config: PlacesConfig, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The axes and words of some of the cells."""
    rng = np.random.default_rng([16, seed])
    some = rng.permutation(len(sightings.picture))[:_TO_LOOK_AT]
    features = sightings.features[some].astype(np.float32)
    axes = main_axes(features, config.cell_numbers)
    return axes, typical(unit(features @ axes), config.words, seed)


def whitening(
    wholes: NDArray[np.float32], config: PlacesConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean [N] and axes [N, D] that pictures [K, N] differ along most, of variance one.

    K pictures differ along K - 1 axes at most. Where they do not differ at all, as one alone,
    their axis is what they are.
    """
    differ = len(wholes) > 1 and np.abs(wholes - wholes[0]).max() > _NOTHING
    mean = wholes.mean(0) if differ else np.zeros_like(wholes[0])
    _, scale, axes = np.linalg.svd(wholes - mean, full_matrices=False)
    variance = scale.astype(np.float64) ** 2 / max(1, len(wholes) - 1)
    kept = np.flatnonzero(variance > _NOTHING * variance[0])[: config.numbers]
    variance = variance[kept]
    variance += config.shrinkage * variance.mean()
    return mean, (axes[kept].T / np.sqrt(variance)).astype(np.float32)


def in_bytes(axes: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Axes [N, D] in a quarter of their size, and what each [D] is to be multiplied by."""
    scale = np.maximum(np.abs(axes).max(0), 1e-12) / 127
    return np.round(axes / scale).astype(np.int8), scale.astype(np.float32)
