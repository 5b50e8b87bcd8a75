"""Hierarchical labels of scene points: regions, regions of regions, and so on (HSCNet, 2.c).

k-means of all points gives the first level; k-means of each region's points the next one. A label
is a path down the tree, one number a level; leaves are numbered in that order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError

Array = NDArray[np.float64]
_MOST = 200_000  # points that are clustered; more tell nothing new


@dataclass(frozen=True, eq=False)
class LabelTree:
    """Where regions are. Level l has ``branching[l]`` labels in each region of the level above."""

    branching: tuple[int, ...]
    centres: tuple[Array, ...]  # of each level, [product of the branching so far, 3], metres

    @property
    def leaves(self) -> Array:
        """The centres of the last level, [product of the branching, 3]."""
        return self.centres[-1]

    def labels(self, points: Array) -> NDArray[np.int64]:
        """The path of each point [N, 3]: at each level the nearest of the centres, [N, L].

        Of points that are not finite it is -1.
        """
        check_shape(points, 'N 3', 'points')
        known = np.isfinite(points).all(1)
        path = np.full((len(points), len(self.branching)), -1)
        node = np.zeros(int(known.sum()), np.int64)
        for level, (count, centres) in enumerate(zip(self.branching, self.centres, strict=True)):
            chosen = _nearest(points[known], node, centres.reshape(-1, count, 3))
            path[known, level] = chosen
            node = node * count + chosen
        return path


def leaf_of(path: NDArray[np.int64], branching: Sequence[int]) -> NDArray[np.int64]:
    """The leaf's number [N] of paths [N, L]."""
    check_shape(path, 'N L', 'path', L=len(branching))
    leaf = np.ravel_multi_index(tuple(path.T), tuple(branching))
    return np.asarray(leaf, np.int64)


def grow(
    points: Array, branching: Sequence[int], seed: int, scenes: NDArray[np.int64] | None = None
) -> LabelTree:
    """Cluster points into a tree.

    Args:
        points: [N, 3] map, metres; those that are not finite are left out.
        branching: labels of each level; the first of each scene.
        seed: of k-means.
        scenes: [N] scene of each point, 0 and up: scenes are joined at the first level, so that
            7 scenes of 25 regions have 175; None: one scene.

    Raises:
        VlocError: if there are fewer points than regions.
    """
    check_shape(points, 'N 3', 'points')
    if not branching or min(branching) < 2:
        raise VlocError(f'labels: a tree of {list(branching)}', 'give 2 or more for each level')
    known = np.flatnonzero(np.isfinite(points).all(1))
    rng = np.random.default_rng([9, seed])
    some = rng.permutation(known)[:_MOST]
    points = points[some]
    count = 1 if scenes is None else int(scenes.max(initial=0)) + 1
    scene_of = np.zeros(len(points), np.int64) if scenes is None else scenes[some]
    sizes = (count * branching[0], *branching[1:])
    _check_enough(points, int(np.prod(sizes)))
    parts = [_clusters(points[scene_of == s], branching[0], rng) for s in range(count)]
    levels = [np.concatenate(parts)]
    for size in sizes[1:]:
        node = leaf_of(
            LabelTree(sizes[: len(levels)], tuple(levels)).labels(points), sizes[: len(levels)]
        )
        parts = [_parts(points[node == n], c, size, rng) for n, c in enumerate(levels[-1])]
        levels.append(np.concatenate(parts))
    return LabelTree(sizes, tuple(levels))


def scenes_of(centres: Array, count: int, seed: int) -> NDArray[np.int64]:
    """The scene [K] of cameras at ``centres`` [K, 3]: so many groups of neighbours."""
    check_shape(centres, 'K 3', 'centres')
    if count == 1:
        return np.zeros(len(centres), np.int64)
    middles = _clusters(centres, count, np.random.default_rng([11, seed]))
    return np.asarray(KDTree(middles).query(centres)[1], np.int64)


def _clusters(points: Array, count: int, rng: np.random.Generator) -> Array:
    """The centres [count, 3] of k-means; empty clusters are seeded anew by the library."""
    _check_enough(points, count)
    means = KMeans(count, n_init='auto', random_state=int(rng.integers(2**31)))
    with threadpool_limits(1):  # threads add up in any order: each run would end elsewhere
        return np.asarray(means.fit(points).cluster_centers_, np.float64)


def _parts(points: Array, centre: Array, count: int, rng: np.random.Generator) -> Array:
    """The parts of a region; of one with few points, such as behind a window, each is a part."""
    distinct = np.unique(points, axis=0)
    if len(distinct) >= count:
        return _clusters(points, count, rng)
    return np.concatenate([distinct, np.repeat(centre[None], count - len(distinct), 0)])


def _check_enough(points: Array, regions: int) -> None:
    distinct = len(np.unique(points, axis=0))
    if distinct < regions:
        raise VlocError(
            f'labels: {distinct} points for {regions} regions',
            'choose fewer regions (--hscnet.branching 8 8), or record depth or more pictures',
        )


def _nearest(points: Array, node: NDArray[np.int64], centres: Array) -> NDArray[np.int64]:
    """For each point [N, 3] the nearest of its node's centres, [nodes, K, 3]."""
    found = np.empty(len(points), np.int64)
    for number in np.unique(node).tolist():
        rows = np.flatnonzero(node == number)
        found[rows] = KDTree(centres[number]).query(points[rows])[1]
    return found
