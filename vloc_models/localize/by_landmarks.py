"""A pose by the map's landmarks.

The map's pictures that look most like what is seen are found first, and cells are matched with
the landmarks of these. That gives a guess of the pose; matched again, now each with the landmarks
that would be seen near it from there, many more cells find theirs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.localize.cells import Cells
from vloc_models.records import Fix, Verdict
from vloc_models.solvers.landmarks import Matcher
from vloc_models.solvers.pnp import Observation

Array = NDArray[np.float64]
_ALIKE = 10  # pictures that are matched with, for each camera
_TRIED = 3  # pictures whose own pose is taken for a guess, for each camera
_AROUND_POSE, _AROUND_GUESS = 0.075, 0.3  # of a picture's width: how far off landmarks may be


@dataclass(frozen=True, eq=False)
class Answer:
    """A fix with what it was solved from."""

    fix: Fix
    observations: tuple[Observation, ...]  # one a view, in the pixels of its working size

    @property
    def accepted(self) -> bool:
        """Whether the fix is."""
        return self.fix.verdict is Verdict.ACCEPTED

    @property
    def T_map_base(self) -> Array | None:
        """The fix's pose, however weak."""
        return None if self.fix.estimate is None else self.fix.estimate.T_map_base

    def better(self, other: 'Answer') -> 'Answer':
        """The one of two answers to the same pictures that has more support; this one if alike."""
        return max(self, other, key=_support)


Solve = Callable[[Sequence[Observation], Array | None], Answer]  # with a prior


@dataclass(frozen=True, eq=False)
class Search:
    """The ways to find the pose of one moment's pictures, the quickest first."""

    cells: Sequence[Cells]  # one a camera
    matcher: Matcher
    solve: Solve

    def around(self, guess: Array) -> Answer:
        """From a pose T_map_base [4, 4] that may be wrong by much."""
        return self.improved(self._near(guess, _AROUND_GUESS))

    def improved(self, answer: Answer) -> Answer:
        """From an answer that is about right."""
        if answer.T_map_base is None:
            return answer
        return answer.better(self._near(answer.T_map_base, _AROUND_POSE))

    def anywhere(self) -> Iterator[Answer]:
        """From nothing."""
        asked = [self.matcher.short(c.spots.features) for c in self.cells]
        alike = [self.matcher.likely_pictures(short, _ALIKE) for short in asked]
        seen = [
            c.seen(*self.matcher.match(short, pictures))
            for c, short, pictures in zip(self.cells, asked, alike, strict=True)
        ]
        yield self.improved(self.solve(seen, None))
        for c, pictures in zip(self.cells, alike, strict=True):
            for number in pictures[:_TRIED].tolist():
                yield self.around(self.matcher.T_map_cam(number) @ se3.inverse(c.T_base_cam))

    def _near(self, T_map_base: Array, reach: float) -> Answer:
        return self.solve([self._seen_near(c, T_map_base, reach) for c in self.cells], T_map_base)

    def _seen_near(self, cells: Cells, T_map_base: Array, reach: float) -> Observation:
        asked = self.matcher.short(cells.spots.features)
        T_map_cam = T_map_base @ cells.T_base_cam
        reach_px = reach * cells.camera.width
        return cells.seen(
            *self.matcher.match_near(asked, cells.spots.pixels, cells.camera, T_map_cam, reach_px)
        )


def _support(answer: Answer) -> tuple[bool, int]:
    estimate = answer.fix.estimate
    return answer.accepted, 0 if estimate is None else estimate.inliers
