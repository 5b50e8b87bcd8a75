import re
from dataclasses import replace

import numpy as np
import pytest

from vloc_models.localize.verdict import VerdictConfig
from vloc_models.records import PoseEstimate, Verdict

CONFIG = VerdictConfig(60, 0.15, 0.4, 0.05, chance_inlier_ratio=0.04)
GOOD = PoseEstimate(np.eye(4), np.diag([1e-4] * 3 + [1e-6] * 3), 200, 0.5, 0.75, 2.0)


def test_a_good_pose_is_accepted_with_its_reason() -> None:
    verdict, reason = CONFIG.judge(GOOD, 400)
    assert verdict is Verdict.ACCEPTED
    assert reason == '50% inliers in 75% of the image'


def test_no_pose_tells_how_many_points_there_were() -> None:
    verdict, reason = CONFIG.judge(None, 1200)
    assert verdict is Verdict.NONE
    assert '1200 map points' in reason


def sigma(metres: float) -> np.ndarray:
    """Known well along two directions, badly along a slanted one."""
    along = np.array([0.6, 0, 0.8])
    position = 1e-8 * np.eye(3) + metres**2 * np.outer(along, along)
    return np.block([[position, np.zeros((3, 3))], [np.zeros((3, 3)), np.eye(3)]])


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'inliers': 59}, '59 inliers, 60 needed'),
        ({'inlier_ratio': 0.11}, '11% inliers, 15% needed'),
        ({'coverage': 0.25}, 'inliers in 25% of the image, 40% needed'),
        ({'covariance': sigma(0.07)}, 'position known to 7.0 cm, 5 needed'),
        ({'reprojection_px': 4.6}, 'inliers 4.6 px off, at most 4.5 wanted'),
    ],
)
def test_each_criterion_alone_makes_it_weak(change: dict, words: str) -> None:
    verdict, reason = CONFIG.judge(replace(GOOD, **change), 400)
    assert verdict is Verdict.WEAK
    assert reason == words


@pytest.mark.parametrize(
    'change',
    [
        {'inliers': 60},
        {'inlier_ratio': 0.15},
        {'coverage': 0.4},
        {'covariance': sigma(0.049)},
        {'reprojection_px': 4.5},
    ],
)
def test_what_just_suffices_is_accepted(change: dict) -> None:
    assert CONFIG.judge(replace(GOOD, **change), 400)[0] is Verdict.ACCEPTED


def test_all_reasons_are_told() -> None:
    bad = replace(
        GOOD,
        inliers=37,
        inlier_ratio=0.05,
        coverage=0.1,
        covariance=sigma(3.0),
        reprojection_px=9.0,
    )
    verdict, reason = CONFIG.judge(bad, 400)
    assert verdict is Verdict.WEAK
    assert reason.count(';') == 4
    assert reason.count('needed') == 4


def test_how_sure_the_heading_is_does_not_count_as_position() -> None:
    turned = GOOD.covariance + np.diag([0, 0, 0, 9, 9, 9])
    assert CONFIG.judge(replace(GOOD, covariance=turned), 400)[0] is Verdict.ACCEPTED


@pytest.mark.parametrize(
    ('config', 'ratio', 'verdict'),
    [
        (VerdictConfig(), 0.5, Verdict.ACCEPTED),
        (VerdictConfig(), 0.49, Verdict.WEAK),
        (VerdictConfig(), 0.25, Verdict.WEAK),
        (VerdictConfig(), 0.24, Verdict.NONE),
        (VerdictConfig.of_head(), 0.15, Verdict.ACCEPTED),
        (VerdictConfig.of_head(), 0.14, Verdict.WEAK),
        (VerdictConfig.of_head(), 0.03, Verdict.NONE),
    ],
)
def test_landmarks_and_heads_are_judged_by_what_each_reaches(
    config: VerdictConfig, ratio: float, verdict: Verdict
) -> None:
    assert config.judge(replace(GOOD, inlier_ratio=ratio), 400)[0] is verdict


def test_the_defaults_judge() -> None:
    assert VerdictConfig().judge(GOOD, 400)[0] is Verdict.ACCEPTED
    assert VerdictConfig().judge(replace(GOOD, inliers=36), 400)[0] is Verdict.WEAK
    for metres, verdict in ((0.099, Verdict.ACCEPTED), (0.101, Verdict.WEAK)):
        assert VerdictConfig().judge(replace(GOOD, covariance=sigma(metres)), 400)[0] is verdict


@pytest.mark.parametrize(
    ('change', 'words'),
    [({'inlier_ratio': 0.02}, '2% inliers'), ({'inliers': 29}, '29 inliers')],
)
def test_chance_is_no_pose(change: dict, words: str) -> None:
    verdict, reason = CONFIG.judge(replace(GOOD, **change), 400)
    assert verdict is Verdict.NONE
    assert reason == f'{words} are no more than chance'


@pytest.mark.parametrize(
    ('pooled', 'by_camera', 'verdict', 'words'),
    [
        (0.4, (0.1, 0.8, 0.7), Verdict.ACCEPTED, '70% inliers .*; 1 of 3 cameras disagrees'),
        (0.4, (None, 0.1, 0.8, 0.7), Verdict.ACCEPTED, '70% .*; 1 of 3 cameras disagrees'),
        (0.45, (0.1, 0.8), Verdict.WEAK, '45% inliers, 50% needed'),
        (0.7, (0.1, 0.8), Verdict.ACCEPTED, '70% inliers .*; 1 of 2 cameras disagrees'),
        (0.6, (0.1, 0.2, 0.9), Verdict.WEAK, '2 of 3 cameras disagree'),
        (0.6, (0.1, 0.2, 0.9, 0.9), Verdict.ACCEPTED, '60% .*; 2 of 4 cameras disagree'),
        (0.6, (0.3, 0.4, 0.9), Verdict.ACCEPTED, '60% inliers in 75% of the image'),
        (0.6, (None, 0.6), Verdict.ACCEPTED, '60% inliers in 75% of the image'),
        (0.2, (0.1, 0.24, 0.9), Verdict.NONE, '24% inliers are no more than chance'),
    ],
)
def test_what_most_cameras_of_a_rig_agree_on_counts(
    pooled: float, by_camera: tuple, verdict: Verdict, words: str
) -> None:
    found = replace(GOOD, inlier_ratio=pooled, by_camera=by_camera)
    told, reason = VerdictConfig().judge(found, 400)
    assert told is verdict
    assert re.fullmatch(words, reason)
