"""What the pictures of a recording show: their surest cells, with measured map points."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.keyframes import Keyframe
from vloc_models.mapping.encoder import ChosenEncoder

_EVERY = 2  # as in LocalizerConfig: the same cells will be asked for


@dataclass(frozen=True, eq=False)
class Sightings:
    """Cells of all pictures, picture by picture."""

    features: NDArray[np.float16]  # [N, C]
    pixels: NDArray[np.float32]  # [N, 2] of the working size
    points: NDArray[np.float32]  # [N, 3] map, metres; NaN where not known
    sure: NDArray[np.float32]  # [N] how likely it is that each is found again; 0..1
    picture: NDArray[np.int32]  # [N]


def look(
    keyframes: Sequence[Keyframe],
    encoder: ChosenEncoder,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Sightings:
    """Encode every picture as it is."""
    parts = []
    for number, keyframe in enumerate(keyframes):
        spots = encoder(keyframe.grey, _EVERY)
        points = keyframe.points(spots.pixels).astype(np.float32)
        where = np.full(len(points), number, np.int32)
        pixels = spots.pixels.astype(np.float32)
        parts.append((spots.features.astype(np.float16), pixels, points, spots.sure, where))
        report(number + 1, len(keyframes))
    return Sightings(*(np.concatenate(column) for column in zip(*parts, strict=True)))
