"""Of cells whose landmarks have twins elsewhere, the search finds those that explain the view."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

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
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.parts import Parts
from vloc_models.mapping.twins import with_twins
from vloc_models.records import Fix, PoseEstimate, Verdict, View
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


# to the left and turned: neither place is in view of the other
AWAY = T_map_base @ se3.exp([0, 30, 0, 0, 0, 0.5]) @ se3.inverse(T_map_base)


def two_places(share: float, alike: int = 0) -> tuple[list[Cells], Landmarks]:
    """A place, and 30 m from it that share of it once more.

    So many further pictures look more like the place than that; each has a point like nothing.
    """
    cells, matcher = scene(0.0)
    points, short = scene_points(cells[0], matcher), matcher.short(cells[0].spots.features)
    copied = np.arange(len(points)) < share * len(points)
    times = [len(points), *[1] * alike, copied.sum()]
    picture = np.repeat(np.arange(alike + 2, dtype=np.int32), times)
    descriptors = np.concatenate([short, np.zeros((alike, C)), short[copied]])
    words = short[:16]
    places = [
        whole_picture(rows, np.ones(len(rows), np.float32), words)
        for rows in [short] * (alike + 1) + [short[copied]]
    ]
    taken = [np.eye(4), *[se3.exp([0, 0, 1, 0, 0, 0])] * alike, AWAY]
    marks = Landmarks(
        np.concatenate(
            [points, points[:alike], se3.apply(AWAY, points[copied])], dtype=np.float32
        ),
        np.round(descriptors * 127).astype(np.int8),
        np.eye(C, dtype=np.float32),
        picture,
        np.stack([T @ T_map_base @ MOUNTS[0] for T in taken]).astype(np.float32),
        words.astype(np.float32),
        np.round(np.stack(places) * 127).astype(np.int8),
    )
    return cells, marks


def rivals(search: Search, best: Answer) -> list[Answer]:
    """As the localizer asks for them."""
    return list(search.rivals(best, LocalizerConfig().rival_support * best.support))


def where(answer: Answer | PoseEstimate) -> str:
    """Of the two places, by the pose."""
    assert answer.T_map_base is not None
    off = [np.abs(T @ T_map_base - answer.T_map_base).max() for T in (np.eye(4), AWAY)]
    assert min(off) < 1e-3
    return ('here', 'away')[int(np.argmin(off))]


@pytest.mark.parametrize('share', [0.3, 0.8, 1.0])
def test_another_place_that_looks_alike_is_told(share: float) -> None:
    cells, marks = two_places(share)
    search = Search.of(cells, Matcher(marks), Solver())
    best = search.around(T_map_base)
    (rival,) = rivals(search, best)
    assert inliers(best) >= INNER
    pixels = cells[0].spots.pixels[: round(share * 300)]
    inner = ((pixels > 16) & (pixels < [640 - 16, 480 - 16])).all(1).sum()
    assert 0.98 * inner <= inliers(rival) <= len(pixels)
    assert where(rival) == 'away'
    assert not list(search.rivals(best, 1e5))  # it explains too little, whatever is tried


def test_a_place_like_no_other_has_no_rival() -> None:
    cells, matcher = scene(0.0)
    search = Search.of(cells, matcher, Solver())
    assert not rivals(search, search.around(T_map_base))


@pytest.mark.parametrize('share', [0.3, 0.8, 1.0])
def test_a_place_that_the_map_knows_to_look_alike_needs_no_picture(share: float) -> None:
    """Of thirty pictures that look more like what is seen, none was taken there."""
    cells, marks = two_places(share, alike=30)
    best = Search.of(cells, Matcher(marks), Solver()).around(T_map_base)
    assert not rivals(Search.of(cells, Matcher(marks), Solver()), best)
    assert best.estimate is not None
    known = Matcher(with_twins(marks, CAMERA))
    for T, others in ((np.eye(4), 'away'), (AWAY, 'here')):
        search = Search.of(cells, known, Solver())
        at = replace(best, estimate=replace(best.estimate, T_map_base=T @ T_map_base))
        assert {where(rival) for rival in rivals(search, at)} == {others}


@pytest.mark.parametrize(('ratio', 'found'), [(0.81, []), (0.79, ['away'])])
def test_of_a_doubtful_answer_more_pictures_are_looked_at(ratio: float, found: list[str]) -> None:
    cells, marks = two_places(0.8, alike=30)
    search = Search.of(cells, Matcher(marks), Solver())
    best = search.around(T_map_base)
    assert best.estimate is not None
    doubtful = replace(best, estimate=replace(best.estimate, inlier_ratio=ratio))
    assert [where(rival) for rival in rivals(search, doubtful)] == found


class Seeing:
    """An encoder that always sees the same cells."""

    inputs, outputs = ('image',), ('features',)

    def __init__(self, cells: Cells) -> None:
        self.features = cells.spots.grid.transpose(2, 0, 1)[None]

    def __call__(self, arrays: Any) -> Any:
        return {'features': self.features}


VIEW = View(np.zeros((480, 640, 3), np.uint8), CAMERA, MOUNTS[0])


@pytest.fixture
def copied(sites: Any) -> Callable[[bool], Localizer]:
    """Of a place with a copy that retrieval does not find; whether its map knows of it."""

    def localizer(known: bool) -> Localizer:
        cells, marks = two_places(0.8, alike=30)
        matcher = Matcher(with_twins(marks, CAMERA) if known else marks)
        parts = Parts.one(landmarks=matcher)
        return Localizer(sites.SMALL, Seeing(cells[0]), parts, LocalizerConfig(every=1))

    return localizer


def test_an_answer_in_one_of_two_copies_is_ambiguous(
    copied: Callable[[bool], Localizer],
) -> None:
    """Also where no picture leads to the other one, if the map knows of it."""
    assert copied(False).locate([VIEW]).verdict is Verdict.ACCEPTED
    fix = copied(True).locate([VIEW], stamp_ns=3)
    assert (fix.verdict, fix.stamp_ns) == (Verdict.AMBIGUOUS, 3)
    assert fix.estimate is None
    assert sorted(where(candidate) for candidate in fix.candidates) == ['away', 'here']
    assert fix.reason == 'two places explain it: 100% and 100% inliers'


@pytest.mark.parametrize(('T', 'place'), [(np.eye(4), 'here'), (AWAY, 'away')])
def test_of_two_copies_the_one_at_the_prior_is_told(
    copied: Callable[[bool], Localizer], T: Array, place: str
) -> None:
    fix = copied(True).locate([VIEW], prior=T @ T_map_base @ se3.exp([0.3, 0.2, 0, 0, 0, 0.1]))
    assert fix.verdict is Verdict.ACCEPTED
    assert fix.estimate is not None
    assert where(fix.estimate) == place


def test_a_prior_elsewhere_does_not_choose_between_copies(
    copied: Callable[[bool], Localizer],
) -> None:
    fix = copied(True).locate([VIEW], prior=se3.exp([-90, 0, 0, 0, 0, 0]))
    assert fix.verdict is Verdict.AMBIGUOUS


def having(answer: Answer, ratio: float, share: float = 1.0, T: Array = AWAY) -> Answer:
    """At one of the places, with a ratio of inliers that are a share of another answer's."""
    assert answer.estimate is not None
    count = int(share * answer.estimate.inliers)
    told = replace(answer.estimate, T_map_base=T @ T_map_base, inliers=count, inlier_ratio=ratio)
    return replace(answer, estimate=told, fix=replace(answer.fix, estimate=told))


@pytest.mark.parametrize('tried', [False, True])
@pytest.mark.parametrize(
    ('here', 'ratio', 'share', 'verdict'),
    [
        (0.8, 0.5, 1.1, Verdict.ACCEPTED),  # far more outliers, though more inliers
        (0.8, 0.61, 0.9, Verdict.AMBIGUOUS),  # not twice as many
        (0.8, 0.85, 0.9, Verdict.AMBIGUOUS),
        (0.8, 0.85, 0.2, Verdict.AMBIGUOUS),
        (0.8, 0.85, 0.15, Verdict.ACCEPTED),  # hardly anything is explained
        (0.98, 0.94, 0.9, Verdict.AMBIGUOUS),  # more than twice as many, but hardly any
        (0.98, 0.92, 0.9, Verdict.ACCEPTED),
    ],
)
def test_two_places_that_explain_it_alike_are_both_told(
    copied: Any,
    monkeypatch: Any,
    tried: bool,
    here: float,
    ratio: float,
    share: float,
    verdict: Any,
) -> None:
    """Whether the other one was looked for, or met on the way."""
    localizer = copied(False)
    best = having(localizer.explain([VIEW]), here, T=np.eye(4))
    other = having(best, ratio, share)
    ways = [best, other] if tried else [best]
    monkeypatch.setattr(Search, 'anywhere', lambda _: iter(ways))
    monkeypatch.setattr(Search, 'one_by_one', lambda _: iter(()))
    monkeypatch.setattr(Search, 'rivals', lambda *_: iter(() if tried else (other,)))
    fix = replace(localizer, config=replace(localizer.config, clear_ratio=1)).locate([VIEW])
    assert fix.verdict is verdict
    if verdict is Verdict.ACCEPTED:
        assert fix.estimate is best.estimate
        return
    assert fix.estimate is None
    few, many = sorted([here, ratio])
    assert [candidate.inlier_ratio for candidate in fix.candidates] == [many, few]
    assert fix.reason == f'two places explain it: {many:.0%} and {few:.0%} inliers'


def test_the_place_with_the_fewest_outliers_is_told(
    copied: Callable[[bool], Localizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if another one, that was seen more often, has more inliers."""
    localizer = copied(False)
    best = having(localizer.explain([VIEW]), 0.6, T=np.eye(4))
    monkeypatch.setattr(Search, 'anywhere', lambda _: iter([best]))
    monkeypatch.setattr(Search, 'one_by_one', lambda _: iter(()))
    monkeypatch.setattr(Search, 'rivals', lambda *_: iter([having(best, 0.95, 0.6)]))
    fix = localizer.locate([VIEW])
    assert fix.verdict is Verdict.ACCEPTED
    assert fix.estimate is not None
    assert where(fix.estimate) == 'away'


def test_the_better_answer_has_more_support() -> None:
    cells, matcher = scene(0.8)
    solver = Solver()
    best = first_anywhere(cells, matcher, solver)
    weak = solver.answers[0]
    assert best.better(weak) is weak.better(best) is best
    assert best.better(best) is best
