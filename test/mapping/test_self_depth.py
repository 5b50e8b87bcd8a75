"""Depth learned from the gallery's wall, 3 m away; the network is told about that beforehand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.mapping import self_depth as module
from vloc_models.mapping.consistency import CheckConfig, DepthPicture
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.mapping.self_depth import (
    SelfDepth,
    SelfDepthConfig,
    Teacher,
    depth_chosen,
    learn_depth,
    with_self_depth,
)
from vloc_models.mapping.work import Work
from vloc_models.networks.fsre import Fsre, FsreConfig
from vloc_models.training.fsre import FsreTraining
from vloc_models.training.hints import HintConfig
from vloc_models.training.loop import LoopConfig

NETWORK = FsreConfig(widths=(16, 16, 8, 8, 8), classes=3, first_depth_m=3.0)
TINY = SelfDepthConfig(
    short_side_px=64,
    training=FsreTraining(
        network=NETWORK,
        hints=HintConfig(depths=12),
        batch=2,
        loop=LoopConfig(3, max_lr=1e-4),
    ),
)
COUNT = 20  # pictures
HELD_OUT = np.zeros(COUNT, bool)
HELD_OUT[8:12] = True


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    return read_keyframes(type(gallery)(COUNT), 100, 120, colour=True)


@pytest.fixture(scope='module')
def teacher(toy_encoder: ChosenEncoder) -> Teacher:
    return Teacher(toy_encoder, TINY)


@pytest.fixture(scope='module')
def taught(
    keyframes: list[Keyframe], teacher: Teacher, tmp_path_factory: pytest.TempPathFactory
) -> list[Keyframe]:
    with Work(tmp_path_factory.mktemp('taught') / 'site', 'same') as work:
        return with_self_depth(keyframes, ~HELD_OUT, teacher, work)


def test_what_pictures_agree_on_is_told(taught: list[Keyframe], keyframes: list[Keyframe]) -> None:
    for found, given in zip(taught, keyframes, strict=True):
        assert found.learned
        assert found.image is found.labels is None
        assert found.depth is not None
        assert given.depth is not None
        known = np.isfinite(found.depth)
        off = np.abs(found.depth[known] / given.depth[known] - 1)
        assert off.max(initial=0) < 0.5
        assert np.median(off) < 0.2
    share = [np.isfinite(k.depth).mean() for k in taught if k.depth is not None]
    assert np.mean(share) > 0.3
    assert share[0] < 1  # what lies at the end of the wall is seen by few


def test_held_out_pictures_teach_nothing(
    taught: list[Keyframe], keyframes: list[Keyframe], teacher: Teacher, tmp_path: Path
) -> None:
    """Were they other pictures from elsewhere, the others' depth would be just the same."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (120, 160, 3), np.uint8)
    other = [
        replace(k, image=noise, grey=noise[..., 0], T_map_cam=k.T_map_cam + np.eye(4, k=3))
        if held
        else k
        for k, held in zip(keyframes, HELD_OUT, strict=True)
    ]
    with Work(tmp_path / 'site', 'same') as work:
        found = with_self_depth(other, ~HELD_OUT, teacher, work)
    for a, b, held in zip(found, taught, HELD_OUT, strict=True):
        assert a.depth is not None
        assert b.depth is not None
        if not held:
            np.testing.assert_array_equal(a.depth, b.depth)
    assert not np.array_equal(found[9].depth, taught[9].depth, equal_nan=True)  # type: ignore


def test_what_was_found_is_kept(
    keyframes: list[Keyframe], teacher: Teacher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned, steps, first = np.ones(COUNT, bool), [], []
    told = replace(teacher, report=lambda step, done, total: steps.append(step))

    def killed() -> None:
        with Work(tmp_path / 'site', 'same') as work:
            first.extend(with_self_depth(keyframes, learned, told, work))
            assert (work.folder / 'depth.pt').exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        killed()
    counts = {step: steps.count(step) for step in steps}
    of_pictures = ('telling depth', 'checking depth')
    assert counts == {
        'comparing pictures': learned.sum(),
        'learning depth': 3,
        **dict.fromkeys(of_pictures, COUNT),
    }
    monkeypatch.setattr(module, 'learn_depth', None)  # not called
    with Work(tmp_path / 'site', 'same') as work:
        again = with_self_depth(keyframes, learned, told, work)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.depth, b.depth)  # type: ignore[arg-type]


def test_depth_that_came_with_the_recording_is_kept(
    taught: list[Keyframe], teacher: Teacher, tmp_path: Path
) -> None:
    with Work(tmp_path / 'site', 'same') as work:
        assert with_self_depth(taught, ~HELD_OUT, teacher, work) is taught


def test_moving_things_and_borders_are_left_out(keyframes: list[Keyframe]) -> None:
    check = CheckConfig(near=0.3, far=0.3, agreeing=1)
    config = replace(TINY, moving_classes=(7,), border_px=2, check=check)
    camera = keyframes[0].camera
    labels = np.zeros((120, 160), np.uint8)
    labels[:, 80:] = 4
    labels[60:, 120:] = 7

    def valid(exact: bool) -> np.ndarray:
        network = SelfDepth(Fsre(NETWORK), config, (96, 64), exact)
        pinhole = network.rectified(camera).pinhole
        pictures = [
            DepthPicture(np.full((64, 96), 3.0), pinhole, k.T_map_cam) for k in keyframes[::2]
        ]
        middle = pictures[5]
        return network.checked(middle, pictures, camera, labels).valid

    found, all_of_them = valid(True), valid(False)
    assert all_of_them[10:54, 10:86].mean() > 0.9
    np.testing.assert_array_equal(found[5:30, 5:44], all_of_them[5:30, 5:44])
    assert not found[:, 46:50].any()  # the border is at column 48
    assert not found[35:, 75:].any()
    assert found[10:25, 52:86].any()


def test_which_depth(taught: list[Keyframe], keyframes: list[Keyframe]) -> None:
    mixed = [taught[0], keyframes[1], replace(keyframes[2], depth=None)]
    for kind, known, learned in (
        ('auto', [True, True, False], [True, False, False]),
        ('sensor', [False, True, False], [False] * 3),
        ('self', [True, False, False], [True, False, False]),
        ('none', [False] * 3, [False] * 3),
    ):
        found = depth_chosen(mixed, kind)  # type: ignore[arg-type]
        assert [k.depth is not None for k in found] == known, kind
        assert [k.learned for k in found] == learned, kind
    with pytest.raises(BagError, match='no depth of a sensor'):
        depth_chosen(taught, 'sensor')


def test_a_camera_that_only_turns_or_stands(keyframes: list[Keyframe], teacher: Teacher) -> None:
    still = [replace(k, T_map_cam=keyframes[0].T_map_cam) for k in keyframes]
    with pytest.raises(VlocError, match='show the same from two places'):
        learn_depth(still, teacher)
    with pytest.raises(VlocError, match='1 pictures'):
        learn_depth(keyframes[:1], teacher)


def test_without_classes(keyframes: list[Keyframe], teacher: Teacher) -> None:
    network = replace(NETWORK, classes=0, attention=False)
    training = replace(TINY.training, network=network)
    found = learn_depth(keyframes, replace(teacher, config=replace(TINY, training=training)))
    assert not found.exact


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(VlocError, match='until 2'):
        SelfDepthConfig(until=2)
    with pytest.raises(VlocError, match='-1 px'):
        SelfDepthConfig(border_px=-1)
