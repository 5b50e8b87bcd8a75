"""Of cells whose landmarks have twins elsewhere, the search finds those that explain the view.

The map has pictures of several places. A landmark of the right place is a noisy copy of what is
seen; its twin, in another place, is an exact one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
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
CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
MOUNTS = (
    se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.2, 0, 0.5]),
    se3.transform([[-1, 0, 0], [0, 0, -1], [0, -1, 0]], [0, -0.1, 0.6]),
)
T_map_base = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])


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
        self.answers.append(Answer(fix, tuple(seen)))
        return self.answers[-1]


def scene(
    twins: float, mounts: Sequence[Array] = MOUNTS[:1], count: int = 300
) -> tuple[list[Cells], Counting]:
    """Cells of each camera, and landmarks; that share of the cells has a twin elsewhere.

    The first picture of the map was taken near the query, the others elsewhere.
    """
    rng = np.random.default_rng(0)
    cells, points, descriptors, pictures = [], [], [], []
    for mount in mounts:
        pixels = rng.uniform((5, 5), (634, 474), (count, 2))
        in_cam = CAMERA.unproject(pixels) * rng.uniform(2, 5, (count, 1))
        right = se3.apply(T_map_base @ mount, in_cam)
        features = unit(rng.normal(size=(count, C)))
        noisy = unit(features + rng.normal(size=(count, C)) * 0.05)
        wrong = se3.apply(T_map_base @ mount, -in_cam[rng.permutation(count)])
        has_twin = np.arange(count) < twins * count
        spots = Spots(features.astype(np.float32), pixels, np.ones(count, np.float32))
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
    answers = Search.of(cells, matcher, solver).anywhere()
    return max(
        answers, key=lambda a: (a.accepted, a.fix.estimate.inliers if a.fix.estimate else 0)
    )


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scene_points(cells: Cells, matcher: Matcher) -> Array:
    """The right map points of the cells of a scene of one camera."""
    camera, T_map_cam = cells.camera, T_map_base @ cells.T_base_cam
    short = matcher.short(cells.spots.features)
    return matcher.match_near(short, cells.spots.pixels, camera, T_map_cam, 20.0).points


def told(cells: Cells, points: Array) -> Observation:
    return cells.seen(points, np.ones(len(points), np.float32))


def check(answer: Answer, inliers: int) -> None:
    assert answer.accepted
    assert answer.T_map_base is not None
    np.testing.assert_allclose(answer.T_map_base, T_map_base, atol=1e-3)
    assert answer.fix.estimate is not None
    assert answer.fix.estimate.inliers >= inliers


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS[1:], MOUNTS])
def test_without_a_guess(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(0.0, mounts)
    check(first_anywhere(cells, matcher, Solver()), 295 * len(mounts))
    assert matcher.whole == len(mounts)


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
def test_what_is_in_view_improves_a_pose(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(0.8, mounts)
    solver = Solver()
    check(first_anywhere(cells, matcher, solver), 280 * len(mounts))
    first, second = (answer.fix.estimate for answer in solver.answers)
    assert first is not None
    assert second is not None
    assert first.inliers < second.inliers


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
@pytest.mark.parametrize('twins', [0.0, 0.8, 1.0])
def test_around_a_guess_pictures_are_not_searched(mounts: Sequence[Array], twins: float) -> None:
    cells, matcher = scene(twins, mounts)
    guess = T_map_base @ se3.exp([0.3, -0.2, 0.1, 0, 0.05, 0.1])
    check(Search.of(cells, matcher, Solver()).around(guess), 280 * len(mounts))
    assert matcher.whole == 0


def test_the_likely_pictures_own_poses_are_tried() -> None:
    cells, matcher = scene(1.0)
    solver = Solver()

    def no_pose_at_first(seen: Sequence[Observation], prior: Array | None) -> Answer:
        if prior is None:
            return Answer(Fix(0, Verdict.NONE, 'not asked'), ())
        return solver(seen, prior)

    check(
        max(Search.of(cells, matcher, no_pose_at_first).anywhere(), key=lambda a: a.accepted), 280
    )


@pytest.mark.parametrize('guess', [se3.exp([50, 0, 0, 0, 0, 1]), np.eye(4)])
def test_a_wrong_guess_is_not_accepted(guess: Array) -> None:
    cells, matcher = scene(0.5)
    assert not Search.of(cells, matcher, Solver()).around(guess).accepted


def test_another_place_is_not_accepted() -> None:
    cells, matcher = scene(0.5)
    features = unit(np.random.default_rng(1).normal(size=(300, C))).astype(np.float32)
    spots = Spots(features, cells[0].spots.pixels, np.ones(300, np.float32))
    elsewhere = [Cells(spots, CAMERA, MOUNTS[0])]
    search = Search.of(elsewhere, matcher, Solver())
    assert not search.around(T_map_base).accepted
    assert not best_anywhere(elsewhere, matcher, Solver()).accepted


def test_nothing_in_view_of_a_guess() -> None:
    cells, matcher = scene(0.0)
    answer = Search.of(cells, matcher, Solver()).around(T_map_base @ se3.exp([500, 0, 0, 0, 0, 0]))
    assert answer.fix.verdict is Verdict.NONE


@pytest.mark.parametrize('twins', [0.0, 0.8])
def test_a_pose_that_is_about_right_is_improved_where_it_is(twins: float) -> None:
    cells, matcher = scene(twins)
    solver = Solver()
    noise = np.random.default_rng(0).normal(size=(300, 3)) * 0.02
    first = solver([told(cells[0], scene_points(cells[0], matcher) + noise)], None)
    assert first.accepted
    matcher.near = 0
    check(Search.of(cells, matcher, solver).improved(first), 280)
    assert (matcher.whole, matcher.near) == (0, 1)


def test_no_pose_cannot_be_improved() -> None:
    cells, matcher = scene(0.0)
    none = Answer(Fix(0, Verdict.NONE, 'nothing'), ())
    assert Search.of(cells, matcher, Solver()).improved(none) is none


def two_places(share: float) -> tuple[list[Cells], Matcher]:
    """A place, and 30 m away that share of it once more."""
    cells, matcher = scene(0.0)
    points, short = scene_points(cells[0], matcher), matcher.short(cells[0].spots.features)
    copied = np.arange(len(points)) < share * len(points)
    away = se3.exp([30, 0, 0, 0, 0, 1.0])
    picture = np.repeat([0, 1], [len(points), copied.sum()]).astype(np.int32)
    descriptors = np.concatenate([short, short[copied]])
    words = short[:16]
    places = [
        whole_picture(rows, np.ones(len(rows), np.float32), words)
        for rows in (short, short[copied])
    ]
    marks = Landmarks(
        np.concatenate([points, se3.apply(away, points[copied])]).astype(np.float32),
        np.round(descriptors * 127).astype(np.int8),
        np.eye(C, dtype=np.float32),
        picture,
        np.stack([T @ T_map_base @ MOUNTS[0] for T in (np.eye(4), away)]).astype(np.float32),
        words.astype(np.float32),
        np.round(np.stack(places) * 127).astype(np.int8),
    )
    return cells, Matcher(marks)


@pytest.mark.parametrize('share', [0.3, 0.8, 1.0])
def test_another_place_that_looks_alike_is_told(share: float) -> None:
    cells, matcher = two_places(share)
    search = Search.of(cells, matcher, Solver())
    best = search.around(T_map_base)
    rival = search.rival(best)
    assert best.inliers > 295
    assert rival is not None
    assert rival.inliers == pytest.approx(share * 300, rel=0.05)
    assert rival.T_map_base is not None
    assert np.linalg.norm(rival.T_map_base[:3, 3] - T_map_base[:3, 3]) > 20


def test_a_place_like_no_other_has_no_rival() -> None:
    cells, matcher = scene(0.0)
    search = Search.of(cells, matcher, Solver())
    assert search.rival(search.around(T_map_base)) is None


def test_the_better_answer_has_more_support() -> None:
    cells, matcher = scene(0.8)
    solver = Solver()
    best = first_anywhere(cells, matcher, solver)
    weak = solver.answers[0]
    assert best.better(weak) is weak.better(best) is best
    assert best.better(best) is best
