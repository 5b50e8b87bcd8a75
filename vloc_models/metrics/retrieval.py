"""How often the right place is among those found first (DASGIL, section V-A)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import VlocError
from vloc_models.geometry import se3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SamePlace:
    """How near a picture must be taken to show the same place."""

    metres: float = 2.0  # 25 in the paper, of streets
    degrees: float = 45.0  # 180: wherever it looks

    def __post_init__(self) -> None:
        if self.metres <= 0 or not 0 < self.degrees <= 180:
            raise VlocError(
                f'the same place within {self.metres:g} m, {self.degrees:g} deg',
                'give positive numbers, at most 180 degrees',
            )


@dataclass(frozen=True)
class Score:
    """How often queries were given the right place, of those whose place the map has seen."""

    queries: int
    unseen: int  # more queries, which nothing in the map is right for
    recall_at: dict[int, float]
    recall_within: dict[float, float]

    def as_json(self) -> dict[str, float]:
        """By name."""
        told: dict[str, float] = {'queries': self.queries, 'unseen': self.unseen}
        told |= {f'recall_at_{n}': x for n, x in self.recall_at.items()}
        return told | {f'recall_within_{d:g}m': x for d, x in self.recall_within.items()}


def score(
    asked: Array,
    mapped: Array,
    first: NDArray[np.int64],
    same: SamePlace,
    metres: tuple[float, ...] = (1.0, 2.0, 4.0),
) -> Score | None:
    """Judge what was found; None if the map has seen the place of no query.

    Args:
        asked: [Q, 4, 4] where queries were taken.
        mapped: [K, 4, 4] where the map's pictures were taken.
        first: [Q, N] numbers of what was found for each, best first.
        same: what counts as the same place.
        metres: the D of Recall@D.
    """
    sizes = check_shape(first, 'Q N', 'first', Q=len(asked))
    seen = np.array([are_same(T[None], mapped[None], same).any() for T in asked], bool)
    if not seen.any():
        return None
    found, asked = mapped[first[seen]], asked[seen]
    counts = tuple(n for n in (1, 5, 10) if n <= sizes['N'])
    at = recall_at(are_same(asked, found, same), counts)
    within = recall_within(asked, found, metres)
    return Score(int(seen.sum()), int((~seen).sum()), at, within)


def are_same(asked: Array, found: Array, same: SamePlace) -> NDArray[np.bool_]:
    """Whether pictures show the same place [Q, N].

    Args:
        asked: [Q, 4, 4] where queries were taken.
        found: [Q, N, 4, 4] where what was found for each was taken, best first.
        same: what counts.
    """
    sizes = check_shape(found, 'Q N 4 4', 'found')
    check_shape(asked, 'Q 4 4', 'asked', Q=sizes['Q'])
    away = np.linalg.norm(found[..., :3, 3] - asked[:, None, :3, 3], axis=-1)
    turned = se3.angle_rad(np.swapaxes(asked[:, None, :3, :3], -1, -2) @ found[..., :3, :3])
    return (away <= same.metres) & (np.rad2deg(turned) <= same.degrees)


def recall_at(right: NDArray[np.bool_], counts: tuple[int, ...] = (1, 5, 10)) -> dict[int, float]:
    """Recall@N: the share of the queries with a right one among the first N.

    Args:
        right: [Q, N] of ``are_same``; queries whose place nobody has seen should be left out.
        counts: the N.

    Raises:
        VlocError: if there are no queries, or fewer were found than are counted.
    """
    sizes = check_shape(right, 'Q N', 'right')
    if not sizes['Q'] or not 1 <= min(counts) <= max(counts) <= sizes['N']:
        raise VlocError(
            f'recall: {sizes["Q"]} queries, {sizes["N"]} found for each, asked at {counts}',
            'ask for fewer, of one query or more',
        )
    first = right.cumsum(1) > 0
    return {count: float(first[:, count - 1].mean()) for count in counts}


def recall_within(asked: Array, found: Array, metres: tuple[float, ...]) -> dict[float, float]:
    """Recall@D: the share of the queries whose first find was taken within D metres.

    Args:
        asked: [Q, 4, 4].
        found: [Q, N, 4, 4], best first.
        metres: the D; the paper has 15 to 50.
    """
    return {
        d: recall_at(are_same(asked, found[:, :1], SamePlace(d, 180.0)), (1,))[1] for d in metres
    }
