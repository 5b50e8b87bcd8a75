"""The pose is exact where the networks are, and honest where they are not."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.working import working_view
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.localize import by_head
from vloc_models.localize.fallback import FallbackConfig
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.parts import Parts
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.records import Array, Fix, Verdict, View
from vloc_models.solvers.landmarks import Matcher, Matches
from vloc_models.solvers.pnp import solve_pnp

Arrays = Mapping[str, NDArray[Any]]
VERDICT = VerdictConfig(60, 0.15, 0.4, 0.05, chance_inlier_ratio=0.04)
LENS = (-0.2, 0.05, 1e-3, -5e-4, 0.0)
T_map_base = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])
MOUNTS = (
    se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0.2, 0, 0.5]),
    se3.transform([[-1, 0, 0], [0, 0, -1], [0, -1, 0]], [0, -0.1, 0.6]),
)


def camera(width: int = 640, height: int = 480) -> Camera:
    centre = width / 2.1, height / 1.9
    return Camera(width, height, width * 0.8, width * 0.82, *centre, 'plumb_bob', LENS)


def view(number: int, size: tuple[int, int] = (640, 480)) -> View:
    """A picture whose grey is the number of its mount."""
    image = np.full((*size[::-1], 3), number, np.uint8)
    return View(image, camera(*size), MOUNTS[number])


class Encoder:
    """Features that tell the pixel at the cell's centre, and the mount."""

    inputs, outputs = ('image',), ('features',)

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        (image,) = arrays['image']
        assert image.dtype == np.uint8
        assert min(image.shape[:2]) == 480
        h, w = -(-image.shape[0] // 8), -(-image.shape[1] // 8)
        v, u = np.mgrid[:h, :w] * 8 + 3.5
        number = np.full((h, w), float(image[0, 0, 0]))
        return {'features': np.stack([u, v, number])[None]}


class Head:
    """Exact points of a scene of hills in the map, seen from T_map_base; ``spoil`` alters them."""

    inputs, outputs = ('features',), ('points',)

    def __init__(
        self,
        size: tuple[int, int] = (640, 480),
        spoil: Callable[[Array], Array] = lambda points: points,
    ) -> None:
        self.size, self.spoil = size, spoil

    def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        u, v, number = arrays['features'][0]
        seen = working_view(view(0, self.size), 480).camera
        z = 3 + np.sin(u / 40) + np.cos(v / 30)
        in_cam = seen.unproject(np.stack([u, v], -1)) * z[..., None]
        T_map_cam = T_map_base @ MOUNTS[int(number[0, 0])]
        points = se3.apply(T_map_cam, in_cam).reshape(-1, 3)
        return {'points': self.spoil(points).T.reshape(1, 3, *u.shape)}


def with_marks(localizer: Localizer, marks: Any, head: bool = True) -> Localizer:
    """The same with landmarks, and with its head or without."""
    (part,) = localizer.parts.usable
    return replace(localizer, parts=Parts.one(part.head if head else None, marks))


@pytest.fixture
def make(sites: Any) -> Callable[..., Localizer]:
    def localizer(head: Head | None = None, **config: Any) -> Localizer:
        how = LocalizerConfig(**{'every': 2, 'verdict': VERDICT, **config})
        asked = by_head.Head(head or Head(), np.eye(4))
        return Localizer(sites.SMALL, Encoder(), Parts.one(asked), how)

    return localizer


def check_exact(fix: Fix) -> None:
    assert fix.estimate is not None
    np.testing.assert_allclose(fix.estimate.T_map_base, T_map_base, atol=1e-6)
    assert fix.verdict is Verdict.ACCEPTED
    assert '100% inliers' in fix.reason
    assert fix.estimate.inlier_ratio == 1
    assert fix.estimate.reprojection_px < 1e-4


def test_exact_points_give_the_exact_pose(make: Callable[..., Localizer]) -> None:
    fix = make().locate([view(0)], stamp_ns=123)
    check_exact(fix)
    assert fix.stamp_ns == 123
    assert fix.estimate is not None
    assert fix.estimate.inliers == 30 * 40


@pytest.mark.parametrize('size', [(1280, 720), (320, 240), (480, 640), (1000, 750), (641, 480)])
def test_pictures_of_any_size(make: Callable[..., Localizer], size: tuple[int, int]) -> None:
    check_exact(make(Head(size)).locate([view(0, size)]))


@pytest.mark.parametrize(('every', 'cells'), [(1, 60 * 80), (2, 30 * 40), (3, 20 * 27), (5, 192)])
def test_some_cells_will_do(make: Callable[..., Localizer], every: int, cells: int) -> None:
    localizer = make(every=every)
    check_exact(localizer.locate([view(0)]))
    observation = localizer.explain([view(0)]).observations[0]
    assert len(observation.coordinates.pixels) == cells
    steps = np.diff(np.unique(observation.coordinates.pixels[:, 0]))
    assert (steps == 8 * every).all()


def test_a_rig_is_solved_together(make: Callable[..., Localizer]) -> None:
    localizer = make()
    fix = localizer.locate([view(0), view(1)])
    check_exact(fix)
    assert fix.estimate is not None
    assert fix.estimate.inliers == 2 * 30 * 40
    check_exact(localizer.locate([view(1)]))


def test_a_prior_is_taken_and_does_not_mislead(make: Callable[..., Localizer]) -> None:
    localizer = make()
    check_exact(localizer.locate([view(0)], prior=T_map_base))
    check_exact(localizer.locate([view(0)], prior=T_map_base @ se3.exp([5, 0, 0, 0, 0, 2])))
    check_exact(localizer.locate([view(0), view(1)], prior=T_map_base))


@pytest.mark.parametrize('prior', [np.eye(3), np.zeros((4, 4)), np.full((4, 4), np.nan)])
def test_a_prior_that_is_no_pose_is_refused(make: Callable[..., Localizer], prior: Array) -> None:
    with pytest.raises(VlocError, match='prior'):
        make().locate([view(0)], prior=prior)


def test_no_view_is_refused(make: Callable[..., Localizer]) -> None:
    with pytest.raises(VlocError, match='no view'):
        make().locate([])


def all_nan(points: Array) -> Array:
    return points * np.nan


def all_infinite(points: Array) -> Array:
    return points + np.inf


def five(points: Array) -> Array:
    return np.where(np.arange(len(points))[:, None] < 5, points, np.nan)


@pytest.mark.parametrize('spoil', [all_nan, all_infinite, five])
def test_no_points_are_no_pose(make: Callable[..., Localizer], spoil: Any) -> None:
    fix = make(Head(spoil=spoil)).locate([view(0)])
    assert fix.verdict is Verdict.NONE
    assert fix.estimate is None
    assert 'no pose' in fix.reason


def some_nan(points: Array) -> Array:
    return np.where(np.arange(len(points))[:, None] % 3 == 0, np.nan, points)


def test_a_few_points_that_are_no_numbers_are_left_out(make: Callable[..., Localizer]) -> None:
    fix = make(Head(spoil=some_nan)).locate([view(0)])
    check_exact(fix)
    assert fix.estimate is not None
    assert fix.estimate.inliers == 800


def test_one_blind_camera_of_a_rig_does_not_hinder(make: Callable[..., Localizer]) -> None:
    def blind(points: Array) -> Array:
        behind = se3.apply(se3.inverse(T_map_base), points)[:, 0] < 1
        return np.where(behind[:, None], np.nan, points)

    fix = make(Head(spoil=blind)).locate([view(0), view(1)])
    assert fix.estimate is not None
    np.testing.assert_allclose(fix.estimate.T_map_base, T_map_base, atol=1e-6)


def at_random(points: Array) -> Array:
    return np.random.default_rng(0).uniform(-5, 5, points.shape)


def in_one_place(points: Array) -> Array:
    return 0 * points + np.array([1.0, 2, 3])


def far_away(points: Array) -> Array:
    return points * 1e30


@pytest.mark.parametrize('spoil', [at_random, in_one_place, far_away, np.zeros_like])
def test_wrong_points_are_not_accepted(make: Callable[..., Localizer], spoil: Any) -> None:
    fix = make(Head(spoil=spoil)).locate([view(0)])
    assert fix.verdict in (Verdict.NONE, Verdict.WEAK)
    assert re.search(r'needed|no pose explains the 1200|than chance', fix.reason)


def test_a_few_right_points_are_weak(make: Callable[..., Localizer]) -> None:
    def mostly_wrong(points: Array) -> Array:
        right = np.arange(len(points))[:, None] % 40 < 4
        return np.where(right, points, at_random(points))

    fix = make(Head(spoil=mostly_wrong)).locate([view(0)])
    assert fix.verdict is Verdict.WEAK
    assert 'inliers, 15% needed' in fix.reason


def test_a_head_alone_is_judged_as_a_head(make: Callable[..., Localizer]) -> None:
    def a_quarter(points: Array) -> Array:
        return np.where(np.arange(len(points))[:, None] % 4, at_random(points), points)

    head = Head(spoil=a_quarter)
    alone = make(head, verdict=VerdictConfig(), head_verdict=VerdictConfig.of_head())
    assert alone.locate([view(0)]).verdict is Verdict.ACCEPTED
    marks = with_marks(alone, Marks(head), head=False)
    assert marks.locate([view(0)]).verdict is Verdict.WEAK


class Marks(Matcher):
    """Landmarks that answer as a head does, as if all were in view.

    What is wanted is less like a cell, the further it is from the one that asks.
    """

    def __init__(self, head: Head) -> None:
        self.head, self.whole, self.near = head, 0, 0

    def short(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        away = (features[..., :2] ** 2).sum(-1, keepdims=True)
        return np.concatenate([features, away], -1)

    def alike_pictures(self, *args: Any, **kwargs: Any) -> NDArray[np.int64]:
        return np.arange(1)  # one, taken there, shows all

    voted_pictures = alike_pictures

    @property
    def _T_map_cam(self) -> Array:
        return (T_map_base @ MOUNTS[0])[None]

    def twins(self, T_map_cam: Array) -> Array:
        return np.zeros((0, 4, 4))

    def match(
        self, asked: NDArray[np.float32], cells: NDArray[np.int64], pictures: NDArray[np.int64]
    ) -> Matches:
        self.whole += len(pictures)
        found = self._all(asked, cells)
        if len(pictures):
            return found
        return Matches(found.cells[:0], found.points[:0], found.cosine[:0], found.wanted[:0])

    def match_near(self, grid: NDArray[np.float32], *args: Any, **kwargs: Any) -> Matches:
        """As many as are asked for otherwise: one of two by two cells."""
        self.near += 1
        h, w, _ = grid.shape
        rows, columns = np.mgrid[1:h:2, 1:w:2]
        cells = np.stack([rows.ravel(), columns.ravel()], 1)
        return self._all(grid[cells[:, 0], cells[:, 1]], cells)

    def _all(self, asked: NDArray[np.float32], cells: NDArray[np.int64]) -> Matches:
        features, one = asked[:, :3], np.ones(len(asked), np.float32)
        points = self.head({'features': features.T[None, :, None]})['points'].reshape(3, -1).T
        return Matches(cells, points, one, np.c_[2 * features[:, :2], 0 * one, -one])


def right(parts: int) -> Callable[[Array], Array]:
    """So many fortieths of the points are right."""
    return lambda points: np.where(
        np.arange(len(points))[:, None] % 40 < parts, points, at_random(points)
    )


def test_landmarks_are_asked_first(make: Callable[..., Localizer]) -> None:
    both = with_marks(make(Head(spoil=at_random)), Marks(Head()))
    check_exact(both.locate([view(0)]))
    check_exact(both.locate([view(0), view(1)], prior=T_map_base))
    answer = both.explain([view(0)], stamp_ns=7)
    assert answer.fix.stamp_ns == 7
    (seen,) = answer.observations
    T_cam_map = se3.inverse(T_map_base @ MOUNTS[0])
    pixels = seen.camera.project(se3.apply(T_cam_map, seen.coordinates.points))
    np.testing.assert_allclose(pixels, seen.coordinates.pixels, atol=1e-4)


@pytest.mark.parametrize('known', [True, False])
def test_near_a_prior_no_picture_is_searched(make: Callable[..., Localizer], known: bool) -> None:
    marks = Marks(Head())
    localizer = with_marks(make(), marks, head=False)
    check_exact(localizer.locate([view(0)], prior=T_map_base if known else None))
    assert bool(marks.whole) is not known


def test_the_head_answers_where_landmarks_fail(make: Callable[..., Localizer]) -> None:
    marks = Marks(Head(spoil=right(3)))
    both = with_marks(make(), marks)
    check_exact(both.locate([view(0)]))
    assert marks.whole == 2  # by whole pictures, and by vote
    alone = with_marks(both, marks, head=False).locate([view(0)])
    assert alone.verdict is not Verdict.ACCEPTED


@pytest.mark.parametrize('scale', [1.0, 5.0, 36.0])
@pytest.mark.parametrize('by', ['head', 'landmarks'])
def test_the_covariance_is_the_solvers_times_what_the_map_needs(
    make: Callable[..., Localizer], scale: float, by: str
) -> None:
    head = Head(spoil=lambda points: points + np.random.default_rng(0).normal(0, 0.02, (1200, 3)))
    localizer = make(head, covariance_scale=scale)
    if by == 'landmarks':
        localizer = with_marks(localizer, Marks(head), head=False)
    answer = localizer.explain([view(0)], prior=T_map_base)
    solved = solve_pnp(answer.observations, localizer.config.pnp, T_map_base)
    assert solved is not None
    assert answer.estimate is not None
    assert answer.fix.estimate is answer.estimate
    np.testing.assert_allclose(answer.estimate.T_map_base, solved.T_map_base, atol=1e-4)
    less = (0.9 / solved.inlier_ratio) ** 2  # with fewer inliers than usual
    wanted = scale * less * solved.covariance
    np.testing.assert_allclose(answer.estimate.covariance, wanted, rtol=1e-3)


def test_a_pose_is_judged_by_the_covariance_that_is_told(make: Callable[..., Localizer]) -> None:
    sigma_m = 0.01  # as if exact points were known to that
    solved = make(covariance_scale=1.0).locate([view(0)]).estimate
    assert solved is not None
    known_m = float(np.linalg.eigvalsh(solved.covariance[:3, :3])[-1]) ** 0.5
    limit = replace(VERDICT, max_sigma_m=sigma_m)
    for share, verdict in ((0.99, Verdict.ACCEPTED), (1.01, Verdict.WEAK)):
        scale = (share * sigma_m / known_m) ** 2
        fix = make(covariance_scale=scale, head_verdict=limit).locate([view(0)])
        assert fix.verdict is verdict


def test_of_two_weak_answers_the_better_one(make: Callable[..., Localizer]) -> None:
    how = {'fallback': FallbackConfig(weak_support=0.0)}
    one = with_marks(make(Head(spoil=right(3)), **how), Marks(Head(spoil=right(5))))
    other = with_marks(make(Head(spoil=right(5)), **how), Marks(Head(spoil=right(3))))
    fixes = [x.locate([view(0)]) for x in (one, other)]
    assert [fix.verdict for fix in fixes] == [Verdict.WEAK] * 2
    assert fixes[0].reason == fixes[1].reason
    assert fixes[0].estimate is not None
    assert fixes[0].estimate.inliers >= 5 * 30


@pytest.mark.parametrize(
    'shape', [(1, 4, 1, 1200), (1, 3, 1200, 1), (3, 1, 1200), (2, 3, 1, 1200)]
)
def test_a_head_of_another_shape_is_refused(
    make: Callable[..., Localizer], shape: tuple[int, ...]
) -> None:
    class Odd(Head):
        def __call__(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
            return {'points': np.zeros(shape, np.float32)}

    with pytest.raises(VlocError, match='points has shape'):
        make(Odd()).locate([view(0)])


@pytest.mark.parametrize('use', ['both', 'head', 'landmarks'])
def test_a_real_map_answers(tiny_site: Path, gallery: Any, use: Any) -> None:
    localizer = Localizer.load(tiny_site, LocalizerConfig(use, threads=1))
    (part,) = localizer.parts.usable
    assert (part.head is None, part.landmarks is None) == (
        use == 'landmarks',
        use == 'head',
    )
    observation = localizer.explain(gallery.drawn[3].views).observations[0]
    assert min(observation.camera.width, observation.camera.height) == 360
    one, again = (localizer.locate(gallery.drawn[3].views) for _ in range(2))
    assert (one.verdict, one.reason) == (again.verdict, again.reason)


@pytest.mark.parametrize('grey', [0, 255])
def test_a_picture_of_one_colour_is_not_accepted(tiny_site: Path, gallery: Any, grey: int) -> None:
    given = gallery.drawn[0].views[0]
    blank = replace(given, image=np.full_like(given.image, grey))
    assert Localizer.load(tiny_site).locate([blank]).verdict in (Verdict.NONE, Verdict.WEAK)
