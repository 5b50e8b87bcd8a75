"""Cells of pictures taken along a line: what is near looks alike, a little."""

import numpy as np

from vloc_models.geometry import se3
from vloc_models.mapping.sightings import Sightings

C, CELLS = 16, 60


def poses(pictures: int) -> np.ndarray:
    """[K, 4, 4] half a metre apart."""
    return np.stack([se3.exp([0.5 * k, 0, 0, 0, 0, 0.05 * k]) for k in range(pictures)])


def sightings(pictures: int, seed: int = 0, noise: float = 0.2) -> Sightings:
    """Each picture shows cells of its own and the next ones' place; another seed, other noise."""
    things = np.random.default_rng(0).normal(size=(pictures + CELLS, 4, C))
    shown = np.stack([things[k : k + CELLS // 4].reshape(-1, C) for k in range(pictures)])
    shown = shown + np.random.default_rng([1, seed]).normal(0, noise, shown.shape)
    features = (shown / np.linalg.norm(shown, axis=-1, keepdims=True)).reshape(-1, C)
    count = len(features)
    return Sightings(
        features.astype(np.float16),
        np.zeros((count, 2), np.float32),
        np.full((count, 3), np.nan, np.float32),
        np.linspace(0.2, 0.9, count, dtype=np.float32),
        np.repeat(np.arange(pictures, dtype=np.int32), count // pictures),
        np.zeros(count, bool),
    )


def cells_of(seen: Sightings, picture: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and sure of one picture, as a query's."""
    rows = seen.picture == picture
    return seen.features[rows].astype(np.float32), seen.sure[rows]
