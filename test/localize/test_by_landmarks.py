"""Of cells whose landmarks have twins elsewhere, the search finds those that explain the view."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.by_landmarks import Answer, Cells, search
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.records import Fix, Verdict
from vloc_models.solvers.landmarks import Landmarks, Matcher, Matches
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp

Array = NDArray[np.float64]
C = 24
CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
MOUNTS = (
    se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.2, 0, 0.5]),
    se3.transform([[-1, 0, 0], [0, 0, -1], [0, -1, 0]], [0, -0.1, 0.6]),
)
T_map_base = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])


NOTHING = Answer(Fix(0, Verdict.NONE, 'not asked'), ())


class Counting(Matcher):
    """Counts how often all landmarks are searched, and how often those near a guess."""

    whole = near = 0

    def match(self, features: NDArray[np.float32]) -> Matches:
        self.whole += 1
        return super().match(features)

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
    """Cells of each camera, and landmarks; that share of the cells finds a twin behind it first.

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
        cells.append(Cells(features.T[None, :, None].astype(np.float32), pixels, CAMERA, mount))
        points += [right, wrong[has_twin]]
        descriptors += [noisy, features[has_twin]]
        pictures += [np.zeros(count, int), 1 + np.arange(has_twin.sum()) % 199]
    marks = Landmarks(
        np.concatenate(points).astype(np.float32),
        np.round(np.concatenate(descriptors) * 127).astype(np.int8),
        np.eye(C, dtype=np.float32),
        np.concatenate(pictures).astype(np.int32),
        np.stack(
            [T_map_base @ mounts[0] @ se3.exp([0.2, 0.1, 0, 0, 0.05, 0])]
            + [se3.exp([20 + k, 30, 0, 0, 0, k]) for k in range(199)]
        ).astype(np.float32),
    )
    return cells, Counting(marks)


def unit(rows: Array) -> Array:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def scene_points(cells: Cells, matcher: Matcher) -> Array:
    """The right map points of the cells of a scene of one camera."""
    camera, T_map_cam = cells.camera, T_map_base @ cells.T_base_cam
    return matcher.match_near(cells.rows(), cells.pixels, camera, T_map_cam, 20.0).points


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
    check(search(cells, matcher, Solver(), NOTHING, None), 295 * len(mounts))
    assert matcher.whole == len(mounts)


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
def test_what_is_in_view_improves_a_pose(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(0.8, mounts)
    solver = Solver()
    check(search(cells, matcher, solver, NOTHING, None), 280 * len(mounts))
    first = solver.answers[0].fix.estimate
    assert first is not None
    assert first.inliers < 65 * len(mounts)


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
@pytest.mark.parametrize('twins', [0.0, 0.8, 1.0])
def test_near_a_guess_not_all_landmarks_are_searched(
    mounts: Sequence[Array], twins: float
) -> None:
    cells, matcher = scene(twins, mounts)
    guess = T_map_base @ se3.exp([0.3, -0.2, 0.1, 0, 0.05, 0.1])
    check(search(cells, matcher, Solver(), NOTHING, guess), 280 * len(mounts))
    assert matcher.whole == 0


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
def test_pictures_most_matches_come_from_are_tried(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(0.985, mounts)
    solver = Solver()
    check(search(cells, matcher, solver, NOTHING, None), 280 * len(mounts))
    assert solver.answers[0].fix.verdict is Verdict.NONE  # matching with all of them fails


@pytest.mark.parametrize('guess', [se3.exp([50, 0, 0, 0, 0, 1]), np.eye(4)])
def test_a_wrong_guess_does_not_mislead(guess: Array) -> None:
    cells, matcher = scene(0.5)
    check(search(cells, matcher, Solver(), NOTHING, guess), 280)
    assert matcher.whole == 1


def test_another_place_is_not_accepted() -> None:
    cells, matcher = scene(0.5)
    rng = np.random.default_rng(1)
    features = unit(rng.normal(size=(300, C))).T[None, :, None].astype(np.float32)
    elsewhere = Cells(features, cells[0].pixels, CAMERA, MOUNTS[0])
    answer = search([elsewhere], matcher, Solver(), NOTHING, T_map_base)
    assert not answer.accepted


def test_nothing_in_view_of_a_guess() -> None:
    cells, matcher = scene(0.0)
    away = T_map_base @ se3.exp([500, 0, 0, 0, 0, 0])
    solver = Solver()
    check(search(cells, matcher, solver, NOTHING, away), 295)
    assert solver.answers[0].fix.verdict is Verdict.NONE


@pytest.mark.parametrize('twins', [0.0, 0.8])
def test_an_accepted_pose_is_improved_where_it_is(twins: float) -> None:
    cells, matcher = scene(twins)
    solver = Solver()
    noise = np.random.default_rng(0).normal(size=(300, 3)) * 0.02
    first = solver([told(cells[0], scene_points(cells[0], matcher) + noise)], None)
    assert first.accepted
    matcher.near = 0
    check(search(cells, matcher, solver, first, None), 280)
    assert (matcher.whole, matcher.near) == (0, 1)


def test_an_accepted_pose_that_landmarks_deny_is_asked_for_again() -> None:
    cells, matcher = scene(0.5)
    solver = Solver()
    away = se3.exp([-300, 1, 0, 0, 0, 0.8])
    wrong = solver([told(cells[0], se3.apply(away, scene_points(cells[0], matcher)))], None)
    assert wrong.accepted
    search(cells, matcher, solver, wrong, None)
    assert matcher.whole == 1


def test_the_better_answer_has_more_support() -> None:
    cells, matcher = scene(0.8)
    solver = Solver()
    best = search(cells, matcher, solver, NOTHING, None)
    weak = solver.answers[0]
    assert best.better(weak) is weak.better(best) is best
    assert best.better(best) is best
