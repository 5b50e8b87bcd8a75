"""What is left of an answer that chance may have found: a guess that two ways agree on."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.localize.by_landmarks import Answer, Search
from vloc_models.localize.fallback import FallbackConfig, fallen_back
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.records import Array, Fix, PoseEstimate, Verdict, View

T = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])
CONFIG = FallbackConfig()


def estimate(T_map_base: Array = T, inliers: int = 60, ratio: float = 0.3) -> PoseEstimate:
    return PoseEstimate(T_map_base, np.eye(6), inliers, ratio, 0.5, 2.0)


def answer(verdict: Verdict, found: PoseEstimate | None) -> Answer:
    told = None if verdict in (Verdict.NONE, Verdict.AMBIGUOUS) else found
    return Answer(Fix(7, verdict, 'as it was', told), (), found)


def moved(metres: float, radians: float = 0.0) -> Array:
    return T @ se3.exp([metres, 0, 0, 0, radians, 0])


WEAK, NONE = answer(Verdict.WEAK, estimate()), answer(Verdict.NONE, estimate(ratio=0.1))


@pytest.mark.parametrize(
    'kept',
    [
        answer(Verdict.ACCEPTED, estimate()),
        answer(Verdict.AMBIGUOUS, estimate()),
        answer(Verdict.WEAK, estimate(inliers=120)),  # chance does not find so many,
        answer(Verdict.WEAK, estimate(inliers=40, ratio=0.5)),  # nor such a share of them
        answer(Verdict.NONE, None),
    ],
)
def test_what_is_sure_or_nothing_stays(kept: Answer) -> None:
    assert fallen_back(kept, estimate(), [T], CONFIG) is kept


@pytest.mark.parametrize('found', [WEAK, NONE])
def test_the_prior_and_a_weak_pose_agree(found: Answer) -> None:
    coarse = PoseEstimate(moved(0.4, 0.3), 0.04 * np.eye(6), 0, 0.0, 0.0, np.nan)
    fix = fallen_back(found, coarse, [T], CONFIG).fix
    assert fix.verdict is Verdict.COARSE
    assert fix.guess is coarse
    assert fix.estimate is None
    assert fix.stamp_ns == 7
    assert fix.reason == (
        f'the pose prior, and 60 inliers, {"30" if found is WEAK else "10"}%, that say so too'
    )


@pytest.mark.parametrize('other', [moved(0.6), moved(0.1, 0.4)])
def test_a_picture_and_a_weak_pose_agree(other: Array) -> None:
    coarse, picture = estimate(other), moved(1.2, 0.7)
    fix = fallen_back(WEAK, coarse, [moved(5.0), picture], CONFIG).fix
    assert fix.verdict is Verdict.PLACE_ONLY
    assert fix.guess is not None
    np.testing.assert_array_equal(fix.guess.T_map_base, picture)
    np.testing.assert_allclose(np.sqrt(np.diag(fix.guess.covariance)), [1, 1, 1, 0.5, 0.5, 0.5])
    assert fix.guess.inliers == 0
    assert fix.estimate is None


def test_no_place_where_there_is_not_even_a_weak_pose() -> None:
    assert fallen_back(NONE, None, [T], CONFIG) is NONE


@pytest.mark.parametrize('pictures', [[], [moved(1.6)]])
def test_alone_it_may_be_chance(pictures: list[Array]) -> None:
    fix = fallen_back(WEAK, estimate(moved(3.0)), pictures, CONFIG).fix
    assert fix.verdict is Verdict.NONE
    assert fix.guess is None
    assert fix.estimate is None
    assert fix.reason == '60 inliers, 30%, may be chance'


# ----------------------------------------------------------------------- of a real map


class Prior:
    """Says where it is told to."""

    def __init__(self, *told: PoseEstimate | None) -> None:
        self.told_next, self.asked = list(told), 0

    def told(self, view: View) -> PoseEstimate | None:
        self.asked += 1
        return self.told_next[(self.asked - 1) % len(self.told_next)]


@pytest.fixture(scope='module')
def whole(tiny_site: Path) -> Localizer:
    return Localizer.load(tiny_site)


def with_prior(localizer: Localizer, *told: PoseEstimate | None) -> Localizer:
    prior: Any = Prior(*told)
    return replace(localizer, pose_prior=prior)


def test_an_accepted_pose_needs_no_prior(whole: Localizer, gallery: Any) -> None:
    localizer = with_prior(whole, estimate())
    fix = localizer.locate(gallery.drawn[5].views)
    assert fix.verdict is Verdict.ACCEPTED
    assert fix.guess is None
    assert localizer.pose_prior is not None
    assert localizer.pose_prior.asked == 0  # pyright: ignore


def test_refined_from_the_prior(
    whole: Localizer, gallery: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing is found from nothing, the prior's pose is where it is looked for."""
    monkeypatch.setattr(Search, 'anywhere', lambda self: iter([self._among([np.zeros(0, int)])]))
    monkeypatch.setattr(Search, 'one_by_one', lambda self: iter(()))
    lost = replace(whole, config=replace(whole.config, use='landmarks'))
    lost = replace(
        lost,
        parts=replace(
            lost.parts, usable=tuple(replace(part, head=None) for part in lost.parts.usable)
        ),
    )
    drawn = gallery.drawn[5]
    assert lost.locate(drawn.views).verdict is Verdict.NONE
    off = drawn.T_map_base @ se3.exp([0.1, 0.05, 0, 0, 0, 0.03])
    fix = with_prior(lost, estimate(off)).locate(drawn.views)
    assert fix.verdict is Verdict.ACCEPTED
    assert fix.estimate is not None
    np.testing.assert_allclose(fix.estimate.T_map_base[:3, 3], drawn.T_map_base[:3, 3], atol=0.03)
    nothing = with_prior(lost, estimate(off @ se3.exp([9, 0, 0, 0, 0, 2]))).locate(drawn.views)
    assert nothing.verdict is Verdict.NONE


def test_of_several_cameras_the_surest_prior(whole: Localizer, gallery: Any) -> None:
    view = gallery.drawn[5].views[0]
    sure = PoseEstimate(T, 0.1 * np.eye(6), 0, 0.0, 0.0, np.nan)
    for told in ((sure, estimate()), (None, sure), (estimate(), sure)):
        assert with_prior(whole, *told)._coarse([view, view]) is sure
    assert with_prior(whole, None)._coarse([view]) is None
    assert whole._coarse([view]) is None


@pytest.mark.parametrize('kind', ['noise', 'black', 'wall'])
def test_a_prior_alone_is_not_believed(whole: Localizer, gallery: Any, kind: str) -> None:
    """It would say the same in front of anything."""
    drawn = gallery.drawn[5]
    view, rng = drawn.views[0], np.random.default_rng(0)
    shape = view.image.shape
    image = {
        'noise': rng.integers(0, 256, shape),
        'black': np.zeros(shape),
        'wall': np.full(shape, 150) + rng.integers(0, 9, shape),
    }[kind].astype(np.uint8)
    fix = with_prior(whole, estimate(drawn.T_map_base)).locate([replace(view, image=image)])
    assert fix.verdict is Verdict.NONE
    assert fix.guess is None


def test_without_landmarks_nothing_changes(tiny_site: Path, gallery: Any) -> None:
    """What a head's weak poses are worth was not measured."""
    alone = Localizer.load(tiny_site, LocalizerConfig(use='head'))
    view = gallery.drawn[5].views[0]
    fixes = [
        each.locate([replace(view, image=255 - view.image)])
        for each in (alone, with_prior(alone, estimate(gallery.drawn[5].T_map_base)))
    ]
    assert fixes[0].verdict is fixes[1].verdict
    assert fixes[0].reason == fixes[1].reason
