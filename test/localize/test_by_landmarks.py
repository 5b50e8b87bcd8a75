"""Of cells whose landmarks have twins elsewhere, the search finds those that explain the view."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from twins import (
    CAMERA,
    INNER,
    MOUNTS,
    Array,
    C,
    Search,
    Solver,
    T_map_base,
    best_anywhere,
    check,
    first_anywhere,
    inliers,
    scene,
    scene_points,
    told,
    unlike,
)

from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer
from vloc_models.localize.cells import Cells
from vloc_models.localize.localizer import LocalizerConfig
from vloc_models.records import Fix, PoseEstimate, Verdict
from vloc_models.solvers.landmarks import Landmarks, Matcher, whole_picture


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
    check(Search.of(cells, matcher, Solver()).around(guess), INNER * len(mounts))
    assert matcher.whole == 0


@pytest.mark.parametrize('mounts', [MOUNTS[:1], MOUNTS])
def test_pictures_are_tried_one_by_one_the_best_first(mounts: Sequence[Array]) -> None:
    cells, matcher = scene(1.0, mounts)
    best, *others = Search.of(cells, matcher, Solver()).one_by_one()
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
    check(Search.of(cells, matcher, solver).improved(weak), INNER)


@pytest.mark.parametrize(('ratio', 'clear'), [(0.62, False), (0.67, True)])
def test_an_answer_is_clear_where_places_of_a_like_pattern_do_not_reach(
    ratio: float, clear: bool
) -> None:
    estimate = PoseEstimate(np.eye(4), np.eye(6), 100, ratio, 1.0, 1.0)
    at_least = LocalizerConfig().clear_ratio
    assert Answer(Fix(0, Verdict.ACCEPTED, '', estimate), (), estimate).clear(at_least) is clear
    assert not Answer(Fix(0, Verdict.WEAK, '', estimate), (), estimate).clear(at_least)


def test_around_a_guess_any_cell_will_do() -> None:
    """Also those that are not among the surest."""
    cells, matcher = scene(0.0)
    spots = replace(cells[0].spots, cells=cells[0].spots.cells[:20], sure=np.ones(20, np.float32))
    answer = Search.of([replace(cells[0], spots=spots)], matcher, Solver()).around(T_map_base)
    check(answer, INNER)
    (seen,) = answer.observations
    edge = np.minimum(seen.coordinates.pixels, (639, 479) - seen.coordinates.pixels)
    assert 11 < edge.min() < 24


@pytest.mark.parametrize('guess', [se3.exp([50, 0, 0, 0, 0, 1]), np.eye(4)])
def test_a_wrong_guess_is_not_accepted(guess: Array) -> None:
    cells, matcher = scene(0.5)
    assert not Search.of(cells, matcher, Solver()).around(guess).accepted


def test_another_place_is_not_accepted() -> None:
    _, matcher = scene(0.5)
    elsewhere = [Cells(unlike(np.random.default_rng(1), 300), CAMERA, MOUNTS[0])]
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
    points = scene_points(cells[0], matcher) + np.random.default_rng(0).normal(0, 0.02, (300, 3))
    first = solver([told(cells[0], points)], None)
    assert first.accepted
    assert inliers(first) > INNER  # with those at the edge, that are not looked for again
    check(Search.of(cells, matcher, solver).improved(first), INNER)
    assert (matcher.whole, matcher.near) == (0, 1)


def test_no_pose_cannot_be_improved() -> None:
    cells, matcher = scene(0.0)
    none = Answer(Fix(0, Verdict.NONE, 'nothing'), (), None)
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
    assert inliers(best) >= INNER
    assert rival is not None
    pixels = cells[0].spots.pixels[: round(share * 300)]
    inner = ((pixels > 16) & (pixels < [640 - 16, 480 - 16])).all(1).sum()
    assert 0.98 * inner <= inliers(rival) <= len(pixels)
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
