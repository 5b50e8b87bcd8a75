"""A place whose landmarks have twins elsewhere, and what its cameras see of it.


The map has pictures of several places. A landmark of the right place is a noisy copy of what is
seen; its twin, in another place, is an exact one. All cells of a picture are unlike each other, so
that a landmark is in the middle of its cell, but where a test says that it is not.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.by_landmarks import Answer, Search
from vloc_models.localize.cells import Cells
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.records import Fix, Verdict
from vloc_models.solvers.landmarks import Landmarks, Matcher, Matches, whole_picture
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp
from vloc_models.solvers.spots import Spots

Array = NDArray[np.float64]
C = 24
ROWS, COLUMNS = 60, 80  # cells of a picture
CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
MOUNTS = (
    se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.2, 0, 0.5]),
    se3.transform([[-1, 0, 0], [0, 0, -1], [0, -1, 0]], [0, -0.1, 0.6]),
)
T_map_base = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])
INNER = 265  # at least, of 300 cells: those at the edge are not looked for near a guess
PLACES = 12  # of the map, besides the right one


class Counting(Matcher):
    """Counts how often pictures are searched, and how often what is near a guess."""

    whole = near = 0

    def match(self, *args: Any, **kwargs: Any) -> Matches:
        self.whole += 1
        return super().match(*args, **kwargs)

    def match_near(self, *args: Any, **kwargs: Any) -> Matches:
        self.near += 1
        return super().match_near(*args, **kwargs)


class Solver:
    """The product's solver and verdict; remembers its answers."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def __call__(self, seen: Sequence[Observation], prior: Array | None) -> Answer:
        estimate = solve_pnp(seen, PnpConfig(), prior)
        verdict, reason = VerdictConfig().judge(estimate, 0)
        fix = Fix(0, verdict, reason, None if verdict is Verdict.NONE else estimate)
        self.answers.append(Answer(fix, tuple(seen), estimate))
        return self.answers[-1]


def unlike(rng: np.random.Generator, count: int, C: int = C) -> Spots:
    """Some cells of a picture of which all are unlike each other."""
    grid = unit(rng.normal(size=(ROWS * COLUMNS, C))).reshape(ROWS, COLUMNS, C)
    numbers = rng.permutation(ROWS * COLUMNS)[:count]
    cells = np.stack([numbers // COLUMNS, numbers % COLUMNS], 1)
    return Spots(grid.astype(np.float32), cells, np.ones(count, np.float32))


def scene(
    twins: float, mounts: Sequence[Array] = MOUNTS[:1], count: int = 300
) -> tuple[list[Cells], Counting]:
    """Cells of each camera, and landmarks; that share of the cells has a twin elsewhere.

    The first picture of the map was taken near the query, the others elsewhere.
    """
    rng = np.random.default_rng(0)
    cells, points, descriptors, pictures = [], [], [], []
    for mount in mounts:
        spots = unlike(rng, count)
        features = spots.features
        in_cam = CAMERA.unproject(spots.pixels) * rng.uniform(2, 5, (count, 1))
        right = se3.apply(T_map_base @ mount, in_cam)
        noisy = unit(features + rng.normal(size=(count, C)) * 0.05)
        wrong = se3.apply(T_map_base @ mount, -in_cam[rng.permutation(count)])
        has_twin = np.arange(count) < twins * count
        cells.append(Cells(spots, CAMERA, mount))
        points += [right, wrong[has_twin]]
        descriptors += [noisy, features[has_twin]]
        pictures += [np.zeros(count, int), 1 + np.arange(has_twin.sum()) % PLACES]
    short = np.concatenate(descriptors).astype(np.float32)
    picture = np.concatenate(pictures).astype(np.int32)
    words = short[rng.permutation(len(short))[:16]]
    places = [
        whole_picture(short[picture == k], np.ones((picture == k).sum()), words)
        for k in range(PLACES + 1)
    ]
    marks = Landmarks(
        np.concatenate(points).astype(np.float32),
        np.round(short * 127).astype(np.int8),
        np.eye(C, dtype=np.float32),
        picture,
        np.stack(
            [T_map_base @ mounts[0] @ se3.exp([0.2, 0.1, 0, 0, 0.05, 0])]
            + [se3.exp([20 + k, 30, 0, 0, 0, k]) for k in range(PLACES)]
        ).astype(np.float32),
        words,
        np.round(np.stack(places) * 127).astype(np.int8),
    )
    return cells, Counting(marks)


def first_anywhere(cells: list[Cells], matcher: Matcher, solver: Solver) -> Answer:
    return next(Search.of(cells, matcher, solver).anywhere())


def best_anywhere(cells: list[Cells], matcher: Matcher, solver: Solver) -> Answer:
    search = Search.of(cells, matcher, solver)
    return reduce(Answer.better, [*search.anywhere(), *search.one_by_one()])


def inliers(answer: Answer) -> int:
    return 0 if answer.estimate is None else answer.estimate.inliers


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scene_points(cells: Cells, matcher: Matcher) -> Array:
    """The right map points of the cells of a scene of one camera: those of its first picture."""
    return matcher.points[: len(cells.spots.cells)].astype(float)


def told(cells: Cells, points: Array) -> Observation:
    return cells.seen(points, np.ones(len(points), np.float32))


def check(answer: Answer, inliers: int) -> None:
    assert answer.accepted
    assert answer.T_map_base is not None
    np.testing.assert_allclose(answer.T_map_base, T_map_base, atol=1e-3)
    assert answer.fix.estimate is not None
    assert answer.fix.estimate.inliers >= inliers
