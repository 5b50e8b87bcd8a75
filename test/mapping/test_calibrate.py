"""What held-out pictures tell: by how much covariances are too small, and what is accepted."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marks import MARKS

from vloc_models import npz
from vloc_models.errors import MapError
from vloc_models.geometry import se3
from vloc_models.localize.localizer import Localizer, LocalizerConfig
from vloc_models.localize.verdict import VerdictConfig
from vloc_models.mapping.calibrate import Asked, blocks_of, calibrate
from vloc_models.mapping.held_out import HeldOutConfig, held_out
from vloc_models.mapping.self_test import SelfTest
from vloc_models.maps import Calibration, ErrorAtInliers, MapInfo, MapWriter, SubMap, open_map
from vloc_models.records import Array, Fix, PoseEstimate, Verdict

CONFIG = LocalizerConfig()
SHIPPED = CONFIG.covariance_scale
SOME = np.diag([0.01] * 3 + [0.002] * 3) @ np.random.default_rng(0).normal(size=(6, 9))
COVARIANCE = SOME @ SOME.T / 9
T_map_cam = se3.exp([4, -3, 1, 0.1, -0.2, 2.5])
CHI2_MEDIAN = 5.348  # of six degrees of freedom


def answer(
    block: int, off: Sequence[float], ratio: float = 0.7, verdict: Verdict = Verdict.ACCEPTED
) -> Asked:
    """That errs so much [6]: along and about the map's axes."""
    T = T_map_cam.copy()
    T[:3, 3] += off[:3]
    T[:3, :3] = se3.exp([0, 0, 0, *off[3:]])[:3, :3] @ T[:3, :3]
    estimate = PoseEstimate(T, COVARIANCE, 200, ratio, 0.9, 1.0)
    return Asked(Fix(0, verdict, '', estimate), T_map_cam, block)


def unanswered(block: int) -> Asked:
    return Asked(Fix(0, Verdict.NONE, ''), T_map_cam, block)


def drawn(block: int, times: float, count: int, seed: int = 0) -> list[Asked]:
    """Answers of which the variances are so many times as large as they say."""
    off = np.random.default_rng([seed, block]).multivariate_normal(
        np.zeros(6), times * COVARIANCE, count
    )
    return [answer(block, x) for x in off.tolist()]


def scale(answers: Sequence[Asked], config: LocalizerConfig = CONFIG) -> float:
    """By which variances are multiplied, over what the answers were told with."""
    found = calibrate(answers, config, config.verdict)
    assert found is not None
    return found.covariance_scale / config.covariance_scale


# --- blocks ---


@pytest.mark.parametrize(
    ('asked', 'blocks'),
    [
        ([], []),
        ([0, 0, 0], []),
        ([1, 1, 1], [0, 0, 0]),
        ([0, 1, 1, 0, 1, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 2]),
        ([1, 0, 1], [0, 1]),
    ],
)
def test_neighbours_are_one_block(asked: list[int], blocks: list[int]) -> None:
    assert blocks_of(np.array(asked, bool)).tolist() == blocks


def test_blocks_are_those_that_are_held_out() -> None:
    _, asked = held_out(1000, HeldOutConfig())
    blocks = blocks_of(asked)
    assert np.bincount(blocks).tolist() == [40] * 4
    assert (np.diff(blocks) >= 0).all()


# --- how sure ---


@pytest.mark.parametrize('times', [0.2, 1.0, 4.0])
def test_variances_are_as_many_times_too_small_as_errors_say(times: float) -> None:
    """With enough blocks; that of even number only decide what is accepted."""
    answers = [a for block in range(201) for a in drawn(block, times if block % 2 else 9, 15)]
    expected = (2 + 100 * times) / (2 + 100)
    assert scale(answers) == pytest.approx(expected, rel=0.06)


@pytest.mark.parametrize('shipped', [1.0, 5.0])
def test_it_multiplies_what_the_answers_were_told_with(shipped: float) -> None:
    answers = [a for block in (1, 3) for a in drawn(block, 4.0, 301)]
    found = calibrate(answers, replace(CONFIG, covariance_scale=shipped), CONFIG.verdict)
    assert found is not None
    assert found.covariance_scale == pytest.approx(shipped * (2 + 2 * 4) / 4, rel=0.05)


@pytest.mark.parametrize('blocks', [0, 1, 2, 10])
def test_with_few_blocks_other_maps_count_as_much(blocks: int) -> None:
    """As two blocks that need what is shipped."""
    answers = [a for n in range(blocks) for a in drawn(2 * n + 1, 4.0, 101)]
    expected = (2 + blocks * 4) / (2 + blocks)
    assert scale([*answers, unanswered(0)]) == pytest.approx(expected, rel=0.08)


def test_a_block_counts_once_however_many_pictures_it_has() -> None:
    few, many = drawn(1, 0.5, 3), drawn(3, 6.0, 3)
    assert scale([*few, *many]) == pytest.approx(scale([*few, *many * 20]), rel=1e-12)
    alone = (3 * scale(few) - 2, 3 * scale(many) - 2)
    assert scale([*few, *many]) == pytest.approx((2 + sum(alone)) / 4, rel=1e-12)


def test_one_that_errs_beyond_all_scale_is_bounded() -> None:
    """As if ten times were needed."""
    assert scale(drawn(1, 90.0, 50)) == pytest.approx((2 + 10) / 3)


def test_the_middle_picture_of_a_block_counts() -> None:
    """Not the one that went wrong."""
    block, worst = drawn(1, 1.0, 9), answer(1, [0.4, 0, 0, 0, 0, 0])
    squared = sorted(
        float(off @ np.linalg.solve(COVARIANCE, off)) for off in map(off_of, [*block, worst])
    )
    middle = (squared[4] + squared[5]) / 2
    assert squared[-1] > 50 * middle
    assert scale([*block, worst]) == pytest.approx((2 + middle / CHI2_MEDIAN) / 3, rel=1e-4)


def off_of(a: Asked) -> Array:
    """The error, as ROS tells a covariance."""
    assert a.fix.estimate is not None
    T = a.fix.estimate.T_map_base
    turn = se3.log(se3.transform(T[:3, :3] @ T_map_cam[:3, :3].T, np.zeros(3)))[3:]
    return np.concatenate([T[:3, 3] - T_map_cam[:3, 3], turn])


@pytest.mark.parametrize(
    'others',
    [
        [],
        [unanswered(1)] * 9,
        [answer(1, [0.02] * 6, verdict=Verdict.WEAK)] * 9,
        [answer(1, [0.6, 0, 0, 0, 0, 0])] * 9,  # wrong: no matter of scale
        [answer(1, [0, 0, 0, 0, 0, 0.2])] * 9,
        drawn(1, 9.0, 2),  # too few to tell
        drawn(0, 9.0, 50),  # these decide
    ],
)
def test_what_tells_nothing_leaves_it_as_it_is_shipped(others: list[Asked]) -> None:
    assert scale([unanswered(0), *others]) == pytest.approx(1)


# --- what is accepted ---


def least(answers: Sequence[Asked], shipped: float = 0.5) -> float:
    config = replace(CONFIG, verdict=VerdictConfig(min_inlier_ratio=shipped))
    found = calibrate(answers, config, config.verdict)
    assert found is not None
    return found.min_inlier_ratio


FAR, TURNED, NEAR = [0.51, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.18], [0.49, 0, 0, 0, 0, 0.17]


@pytest.mark.parametrize('off', [FAR, TURNED])
@pytest.mark.parametrize(
    ('ratio', 'expected'), [(0.5, 0.53), (0.62, 0.65), (0.77, 0.8), (0.95, 0.8)]
)
def test_more_inliers_are_asked_for_than_a_wrong_answer_had(
    off: list[float], ratio: float, expected: float
) -> None:
    """But no more than most right ones have."""
    answers = [answer(0, [0] * 6, 0.9), answer(0, off, ratio), answer(2, off, 0.5)]
    assert least(answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    'harmless',
    [
        unanswered(0),
        answer(0, NEAR, 0.6),
        answer(0, FAR, 0.6, verdict=Verdict.WEAK),
        answer(0, FAR, 0.6, verdict=Verdict.AMBIGUOUS),
        answer(1, FAR, 0.6),  # of a block that tells how far off answers are
    ],
)
def test_other_answers_change_nothing(harmless: Asked) -> None:
    assert least([harmless]) == 0.5
    assert least([harmless], 0.6) == 0.6


# --- how far off ---


def test_errors_are_told_by_share_of_inliers() -> None:
    """Of all answers, also those that are not accepted."""
    told = [(0.3, 8), (0.49, 6), (0.5, 3), (0.64, 5), (0.55, 4), (0.95, 1), (0.2, 99)]
    answers = [
        answer(n, [0, cm / 100, 0, 0, 0, 0], ratio, verdict=Verdict.WEAK)
        for n, (ratio, cm) in enumerate(told)
    ]
    found = calibrate([*answers, unanswered(9)], CONFIG, CONFIG.verdict)
    assert found is not None
    assert (found.queries, found.blocks) == (8, 8)
    rows = [(e.inlier_ratio, e.queries, round(e.median_cm, 6)) for e in found.errors]
    assert rows == [(0.25, 2, 7.0), (0.5, 3, 4.0), (0.9, 1, 1.0)]


def test_none_asked_is_no_calibration() -> None:
    assert calibrate([], CONFIG, CONFIG.verdict) is None
    nothing = calibrate([unanswered(0)], CONFIG, CONFIG.verdict)
    assert nothing == Calibration(SHIPPED, 0.5, 1, 1)


# --- kept, and used ---

CALIBRATION = Calibration(
    7.25, 0.62, 120, 4, (ErrorAtInliers(0.5, 40, 1.5), ErrorAtInliers(0.65, 60, 0.1 + 0.2))
)


def test_a_self_test_comes_back_with_it() -> None:
    tests = SelfTest({'queries': 120, 'median_cm': None, 'x': 0.1 + 0.2}, CALIBRATION)
    assert SelfTest.of_json(json.loads(json.dumps(tests.as_json()))) == tests


def test_a_map_holds_it_and_its_localizer_uses_it(tmp_path: Path, toy_encoder: Any) -> None:
    record, name = toy_encoder.record, 'submaps/00/landmarks.npz'
    info = MapInfo(record, (), (SubMap('00', (0, 0, 0), landmarks=name),), calibration=CALIBRATION)
    with MapWriter(tmp_path / 'site') as writer:
        writer.add_bytes(record.file, toy_encoder.graph)
        writer.add_bytes(record.probe, toy_encoder.probe)
        writer.add_bytes(name, npz.pack(MARKS.arrays()))
        writer.finish(info)
    assert open_map(tmp_path / 'site').info.calibration == CALIBRATION
    used = Localizer.load(tmp_path / 'site').config
    assert (used.covariance_scale, used.verdict.min_inlier_ratio) == (7.25, 0.62)
    strict = replace(CONFIG, verdict=VerdictConfig(min_inlier_ratio=0.7))
    assert Localizer.load(tmp_path / 'site', strict).config.verdict.min_inlier_ratio == 0.7


@pytest.mark.parametrize('shipped', [0.15, 0.5, 0.62, 0.9])
def test_it_never_asks_for_fewer_inliers_than_the_settings(shipped: float) -> None:
    config = LocalizerConfig(every=3, verdict=VerdictConfig(50, shipped), threads=2)
    found = config.calibrated(CALIBRATION, head_alone=False)
    verdict = replace(config.verdict, min_inlier_ratio=max(shipped, 0.62))
    assert found == replace(config, verdict=verdict, covariance_scale=7.25)
    assert config.calibrated(None, head_alone=False) is config


@pytest.mark.parametrize(
    'bad',
    [
        {'covariance_scale': 0.0},
        {'covariance_scale': -1.0},
        {'covariance_scale': math.inf},
        {'covariance_scale': math.nan},
        {'min_inlier_ratio': 0.0},
        {'min_inlier_ratio': 1.5},
        {'min_inlier_ratio': math.nan},
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(bad: dict[str, float]) -> None:
    with pytest.raises(MapError, match='calibration: covariance times'):
        replace(CALIBRATION, **bad)
