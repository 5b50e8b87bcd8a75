"""A pose by the map's landmarks: where the head's answer is unsure.

Few of a picture's cells find their landmark among all of a place, more among those that a camera
could see from about where it is. So a guess of the pose is improved by matching again with what is
in view of it. Guesses are the head's pose, the prior, a pose from matches with all landmarks, and
at last the pictures that many of these matches come from.
"""

from collections.abc import Callable, Sequence
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
_AROUND_POSE, _AROUND_GUESS = 0.15, 0.5  # in view: so much more than the picture, by its size


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
    cells: Sequence[Cells], matcher: Matcher, solve: Solve, guesses: Sequence[Array]
) -> Answer:
    """The best answer the landmarks give.

    Args:
        cells: one a camera.
        matcher: the map's landmarks.
        solve: observations, one a camera, and a prior to an answer.
        guesses: T_map_base [4, 4] to try first.
    """

    def among_those_in_view(T_map_base: Array, margin: float) -> Answer:
        seen = []
        for c in cells:
            near = matcher.in_view(c.camera, T_map_base @ c.T_base_cam, margin)
            if len(near):
                seen.append(_observed(c, matcher.match(c.rows(), near)))
            else:
                seen.append(c.seen(np.full((len(c.pixels), 3), np.nan), _zeros(c)))
        return solve(seen, T_map_base)

    def improved(answer: Answer) -> Answer:
        if answer.T_map_base is None:
            return answer
        return answer.better(among_those_in_view(answer.T_map_base, _AROUND_POSE))

    tried = []
    for guess in guesses:
        tried.append(among_those_in_view(guess, _AROUND_GUESS))
        if tried[-1].accepted:
            return improved(tried[-1])
    matches = [matcher.match(c.rows()) for c in cells]
    pairs = zip(cells, matches, strict=True)
    tried.append(improved(solve([_observed(c, m) for c, m in pairs], None)))
    if not tried[-1].accepted:
        for c, found in zip(cells, matches, strict=True):
            for T_map_cam in matcher.likely_pictures(found, _PICTURES):
                guess = T_map_cam @ se3.inverse(c.T_base_cam)
                tried.append(improved(among_those_in_view(guess, _AROUND_GUESS)))
    return max(tried, key=_support)


def _observed(cells: Cells, matches: Matches) -> Observation:
    return cells.seen(matches.points, matches.cosine)


def _zeros(cells: Cells) -> NDArray[np.float32]:
    return np.zeros(len(cells.pixels), np.float32)


def _support(answer: Answer) -> tuple[bool, int]:
    estimate = answer.fix.estimate
    return answer.accepted, 0 if estimate is None else estimate.inliers
