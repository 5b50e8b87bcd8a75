"""How bench/trust.py counts, with answers made up."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vloc_models.geometry import se3
from vloc_models.records import Array, Fix, PoseEstimate, Trajectory, Verdict

SIGMA = np.array([0.01, 0.02, 0.03, 0.001, 0.002, 0.003])


def answers(
    count: int, times: float, seed: int = 0, verdict: Verdict = Verdict.ACCEPTED
) -> tuple[list[Fix], list[Array]]:
    """Fixes that err so many times as much as they say."""
    rng, fixes, truths = np.random.default_rng(seed), [], []
    for i in range(count):
        truth = se3.exp([*rng.uniform(-3, 3, 3), *rng.uniform(-1, 1, 3)])
        error, T = times * SIGMA * rng.standard_normal(6), truth.copy()
        T[:3, 3] += error[:3]
        T[:3, :3] = se3.exp([0, 0, 0, *error[3:]])[:3, :3] @ T[:3, :3]
        estimate = PoseEstimate(T, np.diag(SIGMA**2), 100, 0.9, 1.0, 1.0)
        fixes.append(Fix(i, verdict, '', estimate))
        truths.append(truth)
    return fixes, truths


@pytest.mark.parametrize('times', [0.5, 1.0, 2.0])
def test_covariances_that_are_wrong_by_a_factor_show_it(trust: Any, times: float) -> None:
    told = trust.Told(*answers(4000, times)).figures()
    for part in ('translation', 'rotation'):
        assert told[f'nees_{part}'] == pytest.approx(3 * times**2, rel=0.05)
        assert told[f'sharp_{part}'] == pytest.approx(1.17 / times, rel=0.05)
    if times == 1:
        assert told['inside_translation'] == pytest.approx(0.95, abs=0.01)
    assert (told['accepted'], told['false_accepts']) == (1, 0)


def test_the_truths_own_error_is_added(trust: Any) -> None:
    own = np.diag([3 * s**2 for s in SIGMA])
    told = trust.Told(*answers(4000, 2.0), own).figures()
    assert told['nees_translation'] == pytest.approx(3, rel=0.05)


def test_false_accepts_are_counted_and_no_part_of_the_covariances(trust: Any) -> None:
    fixes, truths = answers(98, 1.0)
    truths[7] = truths[7] @ se3.exp([0.7, 0, 0, 0, 0, 0])
    truths[8] = truths[8] @ se3.exp([0, 0, 0, 0, 0, 0.3])
    weak, others = answers(2, 1.0, 1, Verdict.WEAK)
    judged = [replace(f, verdict=Verdict.WEAK) if i == 7 else f for i, f in enumerate(fixes)]
    told = trust.Told([*judged, *weak], [*truths, *others], alone=[*fixes, *weak]).figures()
    assert (told['queries'], told['false_accepts'], told['false_accepts_alone']) == (100, 1, 2)
    assert told['false_accept_percent'] == pytest.approx(1)
    assert (told['accepted'], told['accepted_alone']) == pytest.approx((0.97, 0.98))
    assert told['nees_translation'] < 5


def test_of_pictures_of_nowhere_every_accepted_one_is_false(trust: Any) -> None:
    fixes, _ = answers(10, 1.0)
    weak, _ = answers(30, 1.0, 1, Verdict.WEAK)
    nowhere = trust.Told([*fixes, *weak], [])
    told = nowhere.figures()
    assert (told['false_accepts'], told['false_accept_percent']) == (10, 25)
    assert 'nees_translation' not in told
    places = {'ordinary': trust.Told(*answers(50, 1.0)), 'photos': nowhere}
    headline = trust._headline(places)
    assert headline['false_accept_percent'] == 25
    assert (headline['positive_recall'], headline['queries']) == (1, 90)
    assert headline['nees_rotation'] == pytest.approx(3, rel=0.3)


def test_the_noise_of_a_truth_is_what_is_off_a_smooth_way(trust: Any) -> None:
    rng = np.random.default_rng(0)
    stamps = np.arange(800) * 10**8
    poses = []
    for i in range(800):
        T = se3.exp([0.02 * i, 0, 0, 0, 0, 0]) @ se3.exp([0, 0, 0, 0, 0, 0.01 * i])
        off = np.array([0.004] * 3 + [0.002] * 3) * rng.standard_normal(6)
        poses.append(T @ se3.exp(off))
    sigma = np.sqrt(np.diag(trust._truth_covariance(Trajectory.of(stamps, poses))))
    np.testing.assert_allclose(sigma, [0.004] * 3 + [0.002] * 3, rtol=0.1)


def test_pictures_of_nothing_differ_and_are_pictures(negatives: Any) -> None:
    for views in (negatives.blank_walls(4), negatives.noise_and_black(8)):
        images = [view.image for view in views]
        assert len({image.tobytes() for image in images}) == len(images)
        assert all(image.shape == (480, 640, 3) for image in images)
