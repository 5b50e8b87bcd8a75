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
_WIDELY = 30  # pictures among which another place is looked for
_TRIED = 3  # pictures whose own pose is taken for a guess, for each camera
_FAR_M, _FAR_RAD = 1.5, np.radians(60)  # from here on it is another place
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

    @property
    def inliers(self) -> int:
        """How many points support it."""
        return 0 if self.fix.estimate is None else self.fix.estimate.inliers

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
        alike = [self._pictures(self.matcher.alike_pictures, c) for c in self.cells]
        yield self._among(alike)
        yield self._among([self._pictures(self.matcher.voted_pictures, c) for c in self.cells])
        for c, pictures in zip(self.cells, alike, strict=True):
            for number in pictures[:_TRIED].tolist():
                yield self.around(self.matcher.T_map_cam(number) @ se3.inverse(c.T_base_cam))

    def rival(self, best: Answer) -> Answer | None:
        """The answer of another place that looks alike; None if no such picture is in the map."""
        assert best.T_map_base is not None
        alike = [self._elsewhere(c, best.T_map_base) for c in self.cells]
        if not any(map(len, alike)):
            return None
        found = self._among(alike)
        other = found.T_map_base
        return found if other is not None and _far(other, best.T_map_base) else None

    def _elsewhere(self, c: Cells, T_map_base: Array) -> NDArray[np.int64]:
        """Of the pictures that look alike those that were taken far from a pose."""
        pictures = self._pictures(self.matcher.alike_pictures, c, _WIDELY)
        there = T_map_base @ c.T_base_cam
        far = [_far(self.matcher.T_map_cam(n), there) for n in pictures.tolist()]
        return pictures[np.array(far, bool)][:_ALIKE]

    def _pictures(
        self, find: Callable[..., NDArray[np.int64]], c: Cells, most: int = _ALIKE
    ) -> NDArray[np.int64]:
        return find(self.matcher.short(c.spots.features), c.spots.sure, most)

    def _among(self, pictures: Sequence[NDArray[np.int64]]) -> Answer:
        """From the landmarks of some pictures, for each camera."""
        seen = [
            c.seen(*self.matcher.match(self.matcher.short(c.spots.features), numbers))
            for c, numbers in zip(self.cells, pictures, strict=True)
        ]
        return self.improved(self.solve(seen, None))

    def _near(self, T_map_base: Array, reach: float) -> Answer:
        return self.solve([self._seen_near(c, T_map_base, reach) for c in self.cells], T_map_base)

    def _seen_near(self, cells: Cells, T_map_base: Array, reach: float) -> Observation:
        asked = self.matcher.short(cells.spots.features)
        T_map_cam = T_map_base @ cells.T_base_cam
        reach_px = reach * cells.camera.width
        return cells.seen(
            *self.matcher.match_near(asked, cells.spots.pixels, cells.camera, T_map_cam, reach_px)
        )


def _far(a: Array, b: Array) -> bool:
    turned = float(se3.angle_rad(a[:3, :3].T @ b[:3, :3]))
    return bool(np.linalg.norm(a[:3, 3] - b[:3, 3]) > _FAR_M) or turned > _FAR_RAD


def _support(answer: Answer) -> tuple[bool, int]:
    return answer.accepted, answer.inliers
