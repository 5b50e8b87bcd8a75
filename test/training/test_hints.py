"""Depth hints on the wall and the board, whose depth is known."""

from dataclasses import replace

import numpy as np
import pytest
from planes import DEPTH, FAR_M, NEAR_M, VIDEO, abs_rel

from vloc_models.errors import VlocError
from vloc_models.networks.fsre import FsreConfig
from vloc_models.training.fsre import FsreTraining, predict_depth, train_fsre
from vloc_models.training.hints import HintConfig, depth_hints
from vloc_models.training.loop import LoopConfig

RANGE_M = 0.5, 10.0
PLAIN = FsreConfig(widths=(32, 24, 16, 16, 8), classes=0, attention=False)


@pytest.fixture(scope='module')
def hints() -> np.ndarray:
    return depth_hints(VIDEO, HintConfig(), RANGE_M)


def test_hints_are_right_where_they_are(hints: np.ndarray) -> None:
    known = np.isfinite(hints)
    off = np.abs(hints[known] / DEPTH[known] - 1)
    assert known.mean() > 0.5
    assert np.median(off) < 0.03
    assert (off < 0.25).mean() > 0.9
    for depth in (NEAR_M, FAR_M):
        assert known[depth == DEPTH].mean() > 0.3


def test_depth_is_told_between_those_tried() -> None:
    """Of 12 depths none is within 3 % of the wall's."""
    config = HintConfig(depths=12)
    tried = 1 / np.linspace(1 / RANGE_M[1], 1 / RANGE_M[0], config.depths)
    assert np.abs(tried / NEAR_M - 1).min() > 0.03
    hints = depth_hints(VIDEO, config, RANGE_M)
    known = np.isfinite(hints) & (DEPTH == NEAR_M)
    assert np.median(np.abs(hints[known] / NEAR_M - 1)) < 0.03


def test_nothing_is_told_of_what_has_no_texture() -> None:
    blank = replace(VIDEO, images=np.full_like(VIDEO.images, 128))
    assert np.isnan(depth_hints(blank, HintConfig(), RANGE_M)).all()


def test_nothing_is_told_out_of_range() -> None:
    """The nearest of the depths tried fits best, and is still wrong."""
    hints = depth_hints(VIDEO, HintConfig(), (4.0, 10.0))
    assert np.isfinite(hints[DEPTH == NEAR_M]).mean() < 0.2


def test_a_picture_without_neighbours_has_none() -> None:
    assert VIDEO.T_map_cam is not None
    away = VIDEO.T_map_cam.copy()
    away[0, :3, 3] += 100
    hints = depth_hints(replace(VIDEO, T_map_cam=away), HintConfig(), RANGE_M)
    assert np.isnan(hints[0]).all()
    assert np.isfinite(hints[1:]).any((1, 2)).all()


def test_every_picture_is_reported() -> None:
    seen = []
    depth_hints(VIDEO, HintConfig(depths=3), RANGE_M, lambda done, of: seen.append((done, of)))
    M = len(VIDEO.images)
    assert seen == [(n, M) for n in range(1, M + 1)]


def test_with_hints_a_wrong_start_is_overcome(hints: np.ndarray) -> None:
    """From a first guess of 0.55 m the photometric loss alone goes another way."""
    network = replace(PLAIN, first_depth_m=0.55, min_depth_m=0.5)
    config = FsreTraining(network=network, batch=2, loop=LoopConfig(25, max_lr=1e-3))
    found = []
    for told in (None, hints):
        learned = train_fsre(replace(VIDEO, labels=None, hints=told), config)
        found.append(abs_rel(np.stack([predict_depth(learned, i) for i in VIDEO.images])))
    assert found[1] < found[0] / 2


@pytest.mark.parametrize(
    'wrong', [{'depths': 2}, {'window': 4}, {'window': 0}, {'least_gain': -0.1}]
)
def test_senseless_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(VlocError, match='give three depths or more'):
        replace(HintConfig(), **wrong)


def test_hints_of_another_size_are_refused(hints: np.ndarray) -> None:
    with pytest.raises(VlocError, match='video: hints'):
        train_fsre(replace(VIDEO, hints=hints[:, 1:]), FsreTraining())
