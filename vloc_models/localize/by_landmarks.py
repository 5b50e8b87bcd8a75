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
from vloc_models.maps import SubMap
from vloc_models.records import Fix, PoseEstimate, SceneCoordinates, Verdict
from vloc_models.solvers.landmarks import Matcher, Matches, elsewhere
from vloc_models.solvers.pnp import Observation
from vloc_models.solvers.subcell import finer

Array = NDArray[np.float64]
_ALIKE = 10  # pictures that are matched with, for each camera
_WIDELY = 30  # pictures among which another place is looked for
_IMPROVED = 5  # of the guesses from single pictures
_TWINS = 4  # places that look like the one found
_DOUBTFUL = 0.2  # share of outliers, from which more places are looked at
_HOPELESS = 0.03  # of the support that counts: matched again it may get thirty times as much
_AROUND_POSE, _AROUND_GUESS = 0.06, 0.3  # of a picture's width: how far off landmarks may be


@dataclass(frozen=True, eq=False)
class Answer:
    """A fix with what it was solved from."""

    fix: Fix
    observations: tuple[Observation, ...]  # one a view, in the pixels of its working size
    estimate: PoseEstimate | None  # what was solved; the fix does not tell one that is too weak
    submap: SubMap | None = None  # the part of the map that it is of
    looked_in: int = 1  # parts of the map, for all there is to know

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

    def at(self, place: Array | None) -> bool:
        """Whether it names a place T_map_base."""
        T = self.T_map_base
        return T is not None and place is not None and not elsewhere(T, place)

    def elsewhere(self, other: 'Answer') -> bool:
        """Whether it names another place than another answer."""
        a, b = self.T_map_base, other.T_map_base
        return a is not None and b is not None and elsewhere(a, b)

    @property
    def support(self) -> float:
        """How well it explains what is seen: inliers times their share."""
        return 0.0 if self.estimate is None else self.estimate.inliers * self.estimate.inlier_ratio

    @property
    def outlier_share(self) -> float:
        """Of what was matched."""
        return 1.0 if self.estimate is None else 1 - self.estimate.inlier_ratio

    @property
    def cameras(self) -> int:
        """How many it comes from."""
        return sum(len(o.coordinates.pixels) > 0 for o in self.observations)

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

    asked: Sequence[Asked]  # one a camera that sees
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
        """From an answer that is about right; one of some cameras alone must suit the others."""
        if answer.T_map_base is None:
            return answer
        near = self._near(answer.T_map_base, _AROUND_POSE)  # fewer, as the edge is left out
        more = near.cameras > answer.cameras
        return near if near.accepted or more else answer.better(near)

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

    def pictures(self) -> list[Array]:
        """T_map_base, were each camera where the picture was taken that its cells vote for."""
        found = []
        for asked in self.asked:
            spots = asked.cells.spots
            for picture in self.matcher.voted_pictures(asked.short, spots.sure, 1):
                T_map_cam = self.matcher.T_map_cam(picture)
                found.append(T_map_cam @ se3.inverse(asked.cells.T_base_cam))
        return found

    def rivals(self, best: Answer, least: float) -> Iterator[Answer]:
        """The answers of other places that may look like the one found.

        Args:
            best: what was found.
            least: support below which an answer is not worth to be improved.
        """
        assert best.T_map_base is not None
        cameras = [best.T_map_base @ a.cells.T_base_cam for a in self.asked]
        guesses = [self._near(T @ best.T_map_base, _AROUND_GUESS) for T in self._twins(cameras)]
        guesses.append(self._elsewhere([a.alike for a in self.asked], cameras))
        if best.outlier_share > _DOUBTFUL:
            voted = self.matcher.voted_pictures
            seen = [voted(a.short, a.cells.spots.sure, 2 * _WIDELY) for a in self.asked]
            guesses.append(self._elsewhere(seen, cameras))
        yield from self._worth(guesses, best, least)

    def rival(self, best: Answer, least: float) -> Iterator[Answer]:
        """The answer here that may look like one of another part of the map."""
        yield from self._worth([self._among([a.alike[:_ALIKE] for a in self.asked])], best, least)

    def _worth(self, guesses: Sequence[Answer], best: Answer, least: float) -> Iterator[Answer]:
        """Those of other places than the best one that may be as good, improved."""
        for guess in guesses:
            if guess.support >= _HOPELESS * least and guess.elsewhere(best):
                yield self.improved(guess)

    def _twins(self, cameras: Sequence[Array]) -> list[Array]:
        """What carries a pose to the places of which the map knows that they look like it."""
        found = [T for T_map_cam in cameras for T in self.matcher.twins(T_map_cam)[:_TWINS]]
        return found[:_TWINS]

    def _elsewhere(
        self, pictures: Sequence[NDArray[np.int64]], cameras: Sequence[Array]
    ) -> Answer:
        """From those pictures that were taken far from the cameras' poses."""
        far = []
        for some, T_map_cam in zip(pictures, cameras, strict=True):
            far.append(some[self.matcher.taken_elsewhere(some, T_map_cam)][:_ALIKE])
        return self._among(far)

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
