"""A large place is cut into parts of the size of a few rooms, each with a head of its own.

The cameras of a recording are halved, and halved again, where they lie nearest together (2-means),
until every part is small (Poker, arXiv 2305.14059, section 4.3). Pictures near a border belong to
both sides, so that what is seen across it is known to either.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from vloc_models.errors import VlocError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
_FEWEST = 20  # pictures in a part


@dataclass(frozen=True)
class SplitConfig:
    """How large a part of a map may be."""

    max_m: float = 15.0
    """Its longer side, level; a larger place becomes several sub-maps."""
    max_height_m: float = 2.0
    """And upright: floors are parts of their own."""
    overlap: float = 0.2
    """Share of a part's pictures that are its neighbours' too."""

    def __post_init__(self) -> None:
        if min(self.max_m, self.max_height_m) <= 0 or not 0 <= self.overlap <= 1:
            raise VlocError(
                f'sub-maps of {self.max_m:g} m, {self.max_height_m:g} m high, '
                f'{self.overlap:.0%} in common',
                'give positive metres, and a share of at most 1',
            )


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a place."""

    own: Ints  # numbers of its cameras
    members: Ints  # these, and those of its neighbours that lie near the border; both rise
    floor: str  # 0 is the lowest; '' where there is one only


def split(centres: Array, config: SplitConfig, seed: int = 0) -> list[Part]:
    """The parts of a place, the lowest first; one alone if it is small.

    Args:
        centres: [N, 3] of the cameras, map, z up.
        config: how large a part may be.
        seed: of 2-means.
    """
    scale = np.array([1, 1, config.max_m / config.max_height_m])  # small is a cube then
    leaves = list(_halved(centres * scale, np.arange(len(centres)), config.max_m, seed))
    heights = [float(centres[own, 2].mean()) for own in leaves]
    floors = _floors(heights, config.max_height_m)
    middles = np.stack([centres[own].mean(0) * scale for own in leaves])
    parts = [
        Part(own, _with_neighbours(centres * scale, own, middles, number, config.overlap), floor)
        for number, (own, floor) in enumerate(zip(leaves, floors, strict=True))
    ]
    order = np.lexsort([[p.own[0] for p in parts], [int(p.floor or 0) for p in parts]])
    return [parts[n] for n in order]


def _halved(centres: Array, some: Ints, size_m: float, seed: int) -> Iterator[Ints]:
    """Those cameras, in as many parts as they need."""
    extent = np.ptp(centres[some], axis=0)
    if extent.max() <= size_m or len(some) < 2 * _FEWEST:
        yield some
        return
    with threadpool_limits(1):  # its threads do not always add up alike
        side = KMeans(2, n_init='auto', random_state=seed).fit_predict(centres[some])
    halves = [some[side == n] for n in (0, 1)]
    if min(map(len, halves)) < _FEWEST:
        yield some
        return
    for half in halves:
        yield from _halved(centres, half, size_m, seed)


def _with_neighbours(
    centres: Array, own: Ints, middles: Array, number: int, overlap: float
) -> Ints:
    """A part's cameras with those of others that are hardly nearer to the middle of their own."""
    away = np.linalg.norm(centres[:, None] - middles, axis=-1)
    others = np.setdiff1d(np.arange(len(centres)), own)
    beyond = away[others, number] - away[others].min(1)
    count = round(overlap * len(own))
    near = others[np.argsort(beyond, kind='stable')[:count]]
    return np.sort(np.concatenate([own, near]))


def _floors(heights: list[float], apart_m: float) -> list[str]:
    """The number of the floor that each part is on, by where heights have a gap."""
    order = np.argsort(heights, kind='stable')
    steps = np.diff(np.array(heights)[order]) > apart_m
    number = np.zeros(len(heights), int)
    number[order] = np.concatenate([[0], np.cumsum(steps)])
    return [str(n) if steps.any() else '' for n in number]
