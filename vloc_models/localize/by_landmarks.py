"""A pose by the map's landmarks: where the head's answer is unsure.

Few of a picture's cells find their landmark among all of a place, more among those that would be
seen near the cell from about where the camera is. So a guess of the pose is improved by matching
again around it. Guesses are the head's pose, the prior, a pose from matches with all landmarks,
and at last the pictures that many of these matches come from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.records import Fix, SceneCoordinates, Verdict
from vloc_models.solvers.landmarks import Matcher, Matches
from vloc_models.solvers.pnp import Observation

Array = NDArray[np.float64]
_PICTURES = 5  # that are tried, for each camera
_AROUND_POSE, _AROUND_GUESS = 0.075, 0.5  # of a picture's width: how far off landmarks may be


@dataclass(frozen=True, eq=False)
class Cells:
    """Some cells of what one camera saw, encoded."""

    features: NDArray[np.float32]  # [1, C, h, w]
    pixels: Array  # [h w, 2] their centres
    camera: Camera
    T_base_cam: Array  # [4, 4]

    def rows(self) -> NDArray[np.float32]:
        """The features [h w, C]."""
        return self.features.reshape(self.features.shape[1], -1).T

    def seen(self, points: Array, confidence: NDArray[np.float32]) -> Observation:
        """The cells with their map points [h w, 3]."""
        found = SceneCoordinates(self.pixels, points, confidence)
        return Observation(found, self.camera, self.T_base_cam)


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


def search(
    cells: Sequence[Cells], matcher: Matcher, solve: Solve, first: Answer, prior: Array | None
) -> Answer:
    """The best answer the landmarks give.

    Args:
        cells: one a camera.
        matcher: the map's landmarks.
        solve: observations, one a camera, and a prior to an answer.
        first: what is known without them.
        prior: T_map_base [4, 4] that is likely.
    """
    best = first
    for answer in _attempts(cells, matcher, solve, first, prior):
        best = best.better(answer)
        if answer.accepted:
            break
    return best


def _attempts(
    cells: Sequence[Cells], matcher: Matcher, solve: Solve, first: Answer, prior: Array | None
) -> Iterator[Answer]:
    """Answers of the landmarks alone, the quickest first."""

    def near(T_map_base: Array, reach: float) -> Answer:
        return solve([_near(c, matcher, T_map_base, reach) for c in cells], T_map_base)

    def improved(answer: Answer) -> Answer:
        if answer.T_map_base is None:
            return answer
        return answer.better(near(answer.T_map_base, _AROUND_POSE))

    if first.accepted and first.T_map_base is not None:
        yield near(first.T_map_base, _AROUND_POSE)
    for guess in (first.T_map_base, prior):
        if guess is not None:
            yield improved(near(guess, _AROUND_GUESS))
    matches = [matcher.match(c.rows()) for c in cells]
    pairs = list(zip(cells, matches, strict=True))
    yield improved(solve([_observed(c, found) for c, found in pairs], None))
    for c, found in pairs:
        for T_map_cam in matcher.likely_pictures(found, _PICTURES):
            guess = T_map_cam @ se3.inverse(c.T_base_cam)
            yield improved(near(guess, _AROUND_GUESS))


def _near(cells: Cells, matcher: Matcher, T_map_base: Array, reach: float) -> Observation:
    camera, T_map_cam = cells.camera, T_map_base @ cells.T_base_cam
    reach_px = reach * camera.width
    return _observed(
        cells, matcher.match_near(cells.rows(), cells.pixels, camera, T_map_cam, reach_px)
    )


def _observed(cells: Cells, matches: Matches) -> Observation:
    return cells.seen(matches.points, matches.cosine)


def _support(answer: Answer) -> tuple[bool, int]:
    estimate = answer.fix.estimate
    return answer.accepted, 0 if estimate is None else estimate.inliers
