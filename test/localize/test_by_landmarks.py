"""Of cells whose landmarks have twins elsewhere, the search finds those that explain the view.

The map has pictures of several places. A landmark of the right place is a noisy copy of what is
seen; its twin, in another place, is an exact one. All cells of a picture are unlike each other, so
that a landmark is in the middle of its cell, but where a test says that it is not.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize.by_landmarks import Answer, Asked, Search, Solve
from vloc_models.localize.cells import Cells
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.records import Fix, PoseEstimate, Verdict
from vloc_models.solvers.landmarks import Landmarks, Matcher, Matches, whole_picture
from vloc_models.solvers.pnp import Observation, PnpConfig, solve_pnp
from vloc_models.solvers.spots import Spots, centres
from vloc_models.solvers.subcell import finer

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
    return next(search_of(cells, matcher, solver).anywhere())


def best_anywhere(cells: list[Cells], matcher: Matcher, solver: Solver) -> Answer:
    search = search_of(cells, matcher, solver)
    return reduce(Answer.better, [*search.anywhere(), *search.one_by_one()])


def search_of(cells: list[Cells], matcher: Matcher, solver: Solve) -> Search:
    return Search.of(cells, matcher, solver, solver)


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


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS[1:], MOUNTS])
def test_without_a_guess(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(0.0, mounts)
    check(first_anywhere(cells, matcher, Solver()), INNER * len(mounts))
    assert matcher.whole == len(mounts)


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
def test_what_is_in_view_improves_a_pose(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(0.8, mounts)
    solver = Solver()
    check(first_anywhere(cells, matcher, solver), INNER * len(mounts))
    first, second = (answer.fix.estimate for answer in solver.answers)
    assert first is not None
    assert second is not None
    assert first.inliers < second.inliers


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
@pytest.mark.parametrize('twins', [0.0, 0.8, 1.0])
def test_around_a_guess_pictures_are_not_searched(mounts: Sequence[Array], twins: float) -> None:
    cells, matcher = scene(twins, mounts)
    guess = T_map_base @ se3.exp([0.3, -0.2, 0.1, 0, 0.05, 0.1])
    check(search_of(cells, matcher, Solver()).around(guess), INNER * len(mounts))
    assert matcher.whole == 0


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
def test_pictures_are_tried_one_by_one_the_best_first(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(1.0, mounts)
    best, *others = search_of(cells, matcher, Solver()).one_by_one()
    check(best, INNER * len(mounts))
    assert len(others) == 4  # of 10 pictures
    assert not any(answer.elsewhere(best) for answer in others if answer.accepted)


def test_a_guess_too_weak_to_be_told_is_improved() -> None:
    cells, matcher = scene(0.0)
    solver = Solver()
    points = scene_points(cells[0], matcher)
    points[60:] = np.random.default_rng(0).uniform(-9, 9, points[60:].shape)
    some = solver([told(cells[0], points)], None)
    weak = replace(some, fix=Fix(0, Verdict.NONE, 'not told'))
    check(search_of(cells, matcher, solver).improved(weak), INNER)


@pytest.mark.parametrize(('ratio', 'clear'), [(0.62, False), (0.67, True)])
def test_an_answer_is_clear_where_places_of_a_like_pattern_do_not_reach(
    ratio: float, clear: bool
) -> None:
    estimate = PoseEstimate(np.eye(4), np.eye(6), 100, ratio, 1.0, 1.0)
    assert Answer(Fix(0, Verdict.ACCEPTED, '', estimate), (), estimate).clear is clear
    assert not Answer(Fix(0, Verdict.WEAK, '', estimate), (), estimate).clear


def test_around_a_guess_any_cell_will_do() -> None:
    """Also those that are not among the surest."""
    cells, matcher = scene(0.0)
    spots = replace(cells[0].spots, cells=cells[0].spots.cells[:20], sure=np.ones(20, np.float32))
    answer = search_of([replace(cells[0], spots=spots)], matcher, Solver()).around(T_map_base)
    check(answer, INNER)
    (seen,) = answer.observations
    edge = np.minimum(seen.coordinates.pixels, (639, 479) - seen.coordinates.pixels)
    assert 11 < edge.min() < 24


@pytest.mark.parametrize('guess', [se3.exp([50, 0, 0, 0, 0, 1]), np.eye(4)])
def test_a_wrong_guess_is_not_accepted(guess: Array) -> None:
    cells, matcher = scene(0.5)
    assert not search_of(cells, matcher, Solver()).around(guess).accepted


def test_another_place_is_not_accepted() -> None:
    _, matcher = scene(0.5)
    elsewhere = [Cells(unlike(np.random.default_rng(1), 300), CAMERA, MOUNTS[0])]
    search = search_of(elsewhere, matcher, Solver())
    assert not search.around(T_map_base).accepted
    assert not best_anywhere(elsewhere, matcher, Solver()).accepted


def test_nothing_in_view_of_a_guess() -> None:
    cells, matcher = scene(0.0)
    answer = search_of(cells, matcher, Solver()).around(T_map_base @ se3.exp([500, 0, 0, 0, 0, 0]))
    assert answer.fix.verdict is Verdict.NONE


@pytest.mark.parametrize('twins', [0.0, 0.8])
def test_a_pose_that_is_about_right_is_improved_where_it_is(twins: float) -> None:
    cells, matcher = scene(twins)
    solver = Solver()
    points = scene_points(cells[0], matcher) + np.random.default_rng(0).normal(0, 0.02, (300, 3))
    first = solver([told(cells[0], points)], None)
    assert first.accepted
    assert inliers(first) > INNER  # with those at the edge, that are not looked for again
    check(search_of(cells, matcher, solver).improved(first), INNER)
    assert (matcher.whole, matcher.near) == (0, 1)


def test_no_pose_cannot_be_improved() -> None:
    cells, matcher = scene(0.0)
    none = Answer(Fix(0, Verdict.NONE, 'nothing'), (), None)
    assert search_of(cells, matcher, Solver()).improved(none) is none


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
    search = search_of(cells, matcher, Solver())
    best = search.around(T_map_base)
    rival = search.rival(best)
    assert inliers(best) >= INNER
    assert rival is not None
    pixels = cells[0].spots.pixels[: round(share * 300)]
    inner = ((pixels > 16) & (pixels < [640 - 16, 480 - 16])).all(1).sum()
    assert 0.98 * inner <= inliers(rival) <= len(pixels)
    assert rival.T_map_base is not None
    assert np.linalg.norm(rival.T_map_base[:3, 3] - T_map_base[:3, 3]) > 20


def test_a_place_like_no_other_has_no_rival() -> None:
    cells, matcher = scene(0.0)
    search = search_of(cells, matcher, Solver())
    assert search.rival(search.around(T_map_base)) is None


def test_the_better_answer_has_more_support() -> None:
    cells, matcher = scene(0.8)
    solver = Solver()
    best = first_anywhere(cells, matcher, solver)
    weak = solver.answers[0]
    assert best.better(weak) is weak.better(best) is best
    assert best.better(best) is best


# --- finer than the cells ---


def between_cells(seed: int) -> tuple[list[Cells], Matcher, Array]:
    """A scene whose landmarks lie off the centres of their cells, and where they are.

    Around each, likeness is a tent: it falls in proportion to the bilinear weight of the cells.
    """
    rng, D = np.random.default_rng(seed), 64
    spots = unlike(rng, 0, D)
    rows, columns = np.mgrid[1 : ROWS - 1 : 3, 1 : COLUMNS - 1 : 3]
    cells = np.stack([rows.ravel(), columns.ravel()], 1)
    places = centres(cells) + rng.uniform(-4, 4, (len(cells), 2))
    wanted = unit(rng.normal(size=(len(cells), D)))
    for (row, column), place, feature in zip(cells.tolist(), places, wanted, strict=True):
        for i in range(row - 1, row + 2):
            for j in range(column - 1, column + 2):
                away = np.abs(place - (8 * j + 3.5, 8 * i + 3.5)) / 8
                alike = 0.35 + 0.6 * np.prod(np.maximum(0, 1 - away))
                other = spots.grid[i, j] - (spots.grid[i, j] @ feature) * feature
                other /= np.linalg.norm(other)
                spots.grid[i, j] = alike * feature + np.sqrt(1 - alike**2) * other
    sure = np.ones(len(cells), np.float32)
    seen = Cells(Spots(spots.grid, cells, sure), CAMERA, MOUNTS[0])
    T_map_cam = T_map_base @ MOUNTS[0]
    in_cam = CAMERA.unproject(places) * rng.uniform(2, 5, (len(cells), 1))
    words = wanted[:16].astype(np.float32)
    place = whole_picture(wanted.astype(np.float32), sure, words)
    marks = Landmarks(
        se3.apply(T_map_cam, in_cam).astype(np.float32),
        np.round(wanted * 127).astype(np.int8),
        np.eye(D, dtype=np.float32),
        np.zeros(len(cells), np.int32),
        T_map_cam[None].astype(np.float32),
        words,
        np.round(place[None] * 127).astype(np.int8),
    )
    return [seen], Matcher(marks), places


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).sum(1).mean()))


def missed(answer: Answer) -> tuple[float, float]:
    """Metres and radians."""
    T = answer.T_map_base
    assert answer.accepted
    assert T is not None
    turned = se3.angle_rad(T[:3, :3].T @ T_map_base[:3, :3])
    return float(np.linalg.norm((T - T_map_base)[:3, 3])), float(turned)


def test_places_between_cells_are_found_and_the_pose_is_nearer() -> None:
    """Than with the cells' centres; as much as the soft arg-max of a tent can do."""
    by_place, by_centre = [], []
    for seed in range(8):
        cells, matcher, places = between_cells(seed)
        answer = first_anywhere(cells, matcher, Solver())
        inner = ((places > 16) & (places < [640 - 16, 480 - 16])).all(1).sum()
        assert inner > 400
        assert inliers(answer) > 0.98 * inner
        (seen,) = answer.observations
        points = scene_points(cells[0], matcher)
        number = {tuple(point): n for n, point in enumerate(points.tolist())}
        near = [number[tuple(point)] for point in seen.coordinates.points.tolist()]
        assert len(set(near)) == len(near)
        assert rms(seen.coordinates.pixels - places[near]) < 2.0
        assert rms((cells[0].spots.pixels - places)[near]) > 3.1
        by_place.append(missed(answer))
        by_centre.append(missed(Solver()([told(cells[0], points)], T_map_base)))
    metres, radians = np.mean(by_place, 0) / np.mean(by_centre, 0)
    assert metres < 0.75
    assert radians < 0.75


def test_what_is_seen_is_what_was_matched_finer_than_its_cell() -> None:
    cells, matcher, _ = between_cells(0)
    asked, count = Asked.of(cells[0], matcher), len(cells[0].spots.cells)
    np.testing.assert_array_equal(asked.grid, matcher.short(cells[0].spots.grid))
    np.testing.assert_allclose(asked.short, matcher.short(cells[0].spots.features), atol=1e-6)
    whole = matcher.match(asked.short[::2], cells[0].spots.cells[::2], np.array([0]))
    near = matcher.match_near(asked.grid, CAMERA, T_map_base @ MOUNTS[0], 38.4)
    assert 0.3 * count < len(whole.cells) < 0.6 * count < len(near.cells)
    for matches in (whole, near):
        seen = asked.seen(matches)
        for cell, wanted, found in zip(
            matches.cells, matches.wanted, seen.coordinates.pixels, strict=True
        ):
            (pixel,) = finer(asked.grid, cell[None], wanted[None])
            np.testing.assert_allclose(found, pixel, atol=1e-4)
        np.testing.assert_array_equal(seen.coordinates.points, matches.points)
        np.testing.assert_array_equal(seen.coordinates.confidence, matches.cosine)
        np.testing.assert_array_equal(seen.T_base_cam, MOUNTS[0])
        assert seen.camera == CAMERA
    np.testing.assert_array_equal(cells[0].spots.pixels, centres(cells[0].spots.cells))


def test_nothing_matched_is_nothing_seen() -> None:
    cells, matcher, _ = between_cells(0)
    asked = Asked.of(cells[0], matcher)
    seen = asked.seen(matcher.match(asked.short, cells[0].spots.cells, np.zeros(0, int)))
    told = seen.coordinates
    assert [x.shape for x in (told.pixels, told.points, told.confidence)] == [(0, 2), (0, 3), (0,)]
    assert Solver()([seen], None).fix.verdict is Verdict.NONE
