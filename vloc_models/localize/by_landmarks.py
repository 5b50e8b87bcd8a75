"""A pose by the map's landmarks.

The map's pictures that look most like what is seen are found first, and cells are matched with
the landmarks of these. That gives a guess of the pose; matched again, now each with the landmarks
that would be seen near it from there, many more cells find theirs. Pictures of other places draw
matches away from the right one, so that each picture is then tried alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.localize.cells import Cells
from vloc_models.records import Fix, PoseEstimate, SceneCoordinates, Verdict
from vloc_models.solvers.landmarks import Matcher, Matches
from vloc_models.solvers.pnp import Observation
from vloc_models.solvers.subcell import finer

Array = NDArray[np.float64]
_ALIKE = 10  # pictures that are matched with, for each camera
_WIDELY = 30  # pictures among which another place is looked for
_IMPROVED = 5  # of the guesses from single pictures
_FAR_M, _FAR_RAD = 1.5, np.radians(60)  # from here on it is another place
_AROUND_POSE, _AROUND_GUESS = 0.06, 0.3  # of a picture's width: how far off landmarks may be


@dataclass(frozen=True, eq=False)
class Answer:
    """A fix with what it was solved from."""

    fix: Fix
    observations: tuple[Observation, ...]  # one a view, in the pixels of its working size
    estimate: PoseEstimate | None  # what was solved; the fix does not tell one that is too weak

    @property
    def accepted(self) -> bool:
        """Whether the fix is."""
        return self.fix.verdict is Verdict.ACCEPTED

    def clear(self, inlier_ratio: float) -> bool:
        """Whether so many agree that no other place needs to be tried."""
        found = self.estimate
        return self.accepted and found is not None and found.inlier_ratio > inlier_ratio

    @property
    def T_map_base(self) -> Array | None:
        """The pose, however weak."""
        return None if self.estimate is None else self.estimate.T_map_base

    def elsewhere(self, other: 'Answer') -> bool:
        """Whether it names another place than another answer."""
        a, b = self.T_map_base, other.T_map_base
        return a is not None and b is not None and _far(a, b)

    @property
    def support(self) -> float:
        """How well it explains what is seen: inliers times their share."""
        return 0.0 if self.estimate is None else self.estimate.inliers * self.estimate.inlier_ratio

    @property
    def outlier_share(self) -> float:
        """Of what was matched."""
        return 1.0 if self.estimate is None else 1 - self.estimate.inlier_ratio

    def better(self, other: 'Answer') -> 'Answer':
        """The one of two answers to the same pictures that has more support; this one if alike."""
        return max(self, other, key=lambda answer: (answer.accepted, answer.support))


Solve = Callable[[Sequence[Observation], Array | None], Answer]  # with a prior


@dataclass(frozen=True, eq=False)
class Asked:
    """What one camera saw, as the map's landmarks are described."""

    cells: Cells
    grid: NDArray[np.float32]  # [h, w, D] descriptors of all its cells
    short: NDArray[np.float32]  # [N, D] those of its surest
    alike: NDArray[np.int64]  # pictures that look most like it

    @staticmethod
    def of(cells: Cells, matcher: Matcher) -> 'Asked':
        """Prepare what every way of searching needs."""
        spots = cells.spots
        grid = matcher.short(spots.grid)
        short = grid[spots.cells[:, 0], spots.cells[:, 1]]
        return Asked(cells, grid, short, matcher.alike_pictures(short, spots.sure, _WIDELY))

    def seen(self, matches: Matches) -> Observation:
        """The landmarks, where each is in the picture, finer than the cells."""
        pixels = finer(self.grid, matches.cells, matches.wanted)
        coordinates = SceneCoordinates(pixels, matches.points, matches.confidence)
        return Observation(coordinates, self.cells.camera, self.cells.T_base_cam)


@dataclass(frozen=True, eq=False)
class Search:
    """The ways to find the pose of one moment's pictures, the quickest first."""

    asked: Sequence[Asked]  # one a camera
    matcher: Matcher
    solve: Solve

    @staticmethod
    def of(cells: Sequence[Cells], matcher: Matcher, solve: Solve) -> 'Search':
        """For what each camera saw."""
        return Search([Asked.of(c, matcher) for c in cells], matcher, solve)

    def around(self, guess: Array) -> Answer:
        """From a pose T_map_base [4, 4] that may be wrong by much."""
        return self.improved(self._near(guess, _AROUND_GUESS))

    def improved(self, answer: Answer) -> Answer:
        """From an answer that is about right."""
        if answer.T_map_base is None:
            return answer
        near = self._near(answer.T_map_base, _AROUND_POSE)  # fewer, as the edge is left out
        return near if near.accepted else answer.better(near)

    def anywhere(self) -> Iterator[Answer]:
        """From nothing, by all pictures that look alike."""
        yield self.improved(self._among([a.alike[:_ALIKE] for a in self.asked]))
        voted = self.matcher.voted_pictures
        found = [voted(a.short, a.cells.spots.sure, _ALIKE) for a in self.asked]
        yield self.improved(self._among(found))

    def one_by_one(self) -> Iterator[Answer]:
        """From nothing, by single pictures; those that explain most are improved."""
        nothing = np.zeros(0, int)
        guesses = [
            self._among([a.alike[n : n + 1] if a is asked else nothing for a in self.asked])
            for asked in self.asked
            for n in range(min(_ALIKE, len(asked.alike)))
        ]
        for guess in sorted(guesses, key=lambda guess: -guess.support)[:_IMPROVED]:
            yield self.improved(guess)

    def rival(self, best: Answer) -> Answer | None:
        """The answer of another place that looks alike; None if no such picture is in the map."""
        assert best.T_map_base is not None
        elsewhere = [
            self._elsewhere(a.alike, best.T_map_base @ a.cells.T_base_cam) for a in self.asked
        ]
        if not any(map(len, elsewhere)):
            return None
        found = self.improved(self._among(elsewhere))
        return found if found.elsewhere(best) else None

    def _elsewhere(self, pictures: NDArray[np.int64], T_map_cam: Array) -> NDArray[np.int64]:
        """Those that were taken far from a camera's pose."""
        far = [_far(self.matcher.T_map_cam(n), T_map_cam) for n in pictures.tolist()]
        return pictures[np.array(far, bool)][:_ALIKE]

    def _among(self, pictures: Sequence[NDArray[np.int64]]) -> Answer:
        """From the landmarks of some pictures, for each camera."""
        seen = [
            a.seen(self.matcher.match(a.short, a.cells.spots.cells, p))
            for a, p in zip(self.asked, pictures, strict=True)
        ]
        return self.solve(seen, None)

    def _near(self, T_map_base: Array, reach: float) -> Answer:
        seen = []
        for a in self.asked:
            camera, T_map_cam = a.cells.camera, T_map_base @ a.cells.T_base_cam
            reach_px = reach * camera.width
            seen.append(a.seen(self.matcher.match_near(a.grid, camera, T_map_cam, reach_px)))
        return self.solve(seen, T_map_base)


def _far(a: Array, b: Array) -> bool:
    turned = float(se3.angle_rad(a[:3, :3].T @ b[:3, :3]))
    return bool(np.linalg.norm(a[:3, 3] - b[:3, 3]) > _FAR_M) or turned > _FAR_RAD
