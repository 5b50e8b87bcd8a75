"""Poses that do not belong to their pictures are found out, whatever the encoder."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import BagError
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.geometry import se3
from vloc_models.mapping import check_poses as module
from vloc_models.mapping.check_poses import Encode, check_poses
from vloc_models.records import Array
from vloc_models.solvers.spots import Spots, choose

WALL_M = 3.0  # y of the gallery's wall


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    """Some way apart, where the robot does not turn much."""
    return read_keyframes(gallery, 100, 120)[::4]


class Knowing:
    """An encoder that knows points of the wall when it sees them, but for a share of them.

    A cell shows that of its points that is the easiest to know.
    """

    def __init__(self, keyframes: list[Keyframe], wrong: float = 0.0) -> None:
        self.rng, self.wrong = np.random.default_rng(0), wrong
        self.seen = {k.grey.tobytes(): k for k in keyframes}
        x, z = self.rng.uniform((-4, -1), (4, 3), (3000, 2)).T
        self.points = np.stack([x, np.full(3000, WALL_M), z], 1)
        self.features = self.rng.normal(size=(3000, 32)).astype(np.float32)

    def __call__(self, grey: NDArray[np.uint8], every: int) -> Spots:
        assert every == 2  # as many as are asked for later
        k = self.seen[grey.tobytes()]
        pixels = k.camera.project(se3.apply(k.T_cam_map, self.points))
        h, w = grey.shape[0] // 8, grey.shape[1] // 8
        column, row = np.floor((pixels + 0.5) / 8).astype(int).T
        features = self.features.copy()
        mistaken = self.rng.random(3000) < self.wrong
        features[mistaken] = self.rng.permutation(features[mistaken])
        grid, sure = np.zeros((1, 32, h, w), np.float32), np.full((1, 1, h, w), -8, np.float32)
        for n in np.flatnonzero((row >= 0) & (row < h) & (column >= 0) & (column < w)):
            grid[0, :, row[n], column[n]] = features[n]
            sure[0, 0, row[n], column[n]] = n / 3000
        return choose({'features': grid, 'sure': sure}, every)


@pytest.fixture(params=[0.0, 0.4])
def encode(request: pytest.FixtureRequest, keyframes: list[Keyframe]) -> Encode:
    return Knowing(keyframes, request.param)


@pytest.fixture(autouse=True)
def few_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, '_AHEAD', 3)


def changed(keyframes: list[Keyframe], change: Callable[[Array], Array]) -> list[Keyframe]:
    return [replace(k, T_map_cam=change(k.T_map_cam)) for k in keyframes]


def scaled(T: Array) -> Array:
    return se3.transform(T[:3, :3], T[:3, 3] * 1000)


def test_poses_as_they_are_pass(keyframes: list[Keyframe], encode: Encode) -> None:
    check_poses(keyframes, encode)


def test_another_map_frame_passes(keyframes: list[Keyframe], encode: Encode) -> None:
    T_other_map = se3.exp([50, -20, 3, 0.3, -0.2, 2])
    check_poses(changed(keyframes, lambda T: T_other_map @ T), encode)


def test_inverted_poses_are_named(keyframes: list[Keyframe], encode: Encode) -> None:
    with pytest.raises(BagError, match=r'inverted: \d+% .*behind the cameras.*T_map_base'):
        check_poses(changed(keyframes, se3.inverse), encode)


def test_millimetres_are_named(keyframes: list[Keyframe], encode: Encode) -> None:
    with pytest.raises(BagError, match=r'millimetres.*in metres'):
        check_poses(changed(keyframes, scaled), encode)


@pytest.mark.parametrize('count', [0, 1, 2, 3])
def test_too_few_pictures_to_tell_pass(
    keyframes: list[Keyframe], encode: Encode, count: int
) -> None:
    check_poses(changed(keyframes[:count], se3.inverse), encode)


def test_a_robot_that_stands_still_passes(keyframes: list[Keyframe], encode: Encode) -> None:
    T = keyframes[0].T_map_cam
    check_poses(changed(keyframes, lambda _: T), encode)


@pytest.mark.parametrize('change', [lambda T: T, se3.inverse, scaled])
def test_an_encoder_that_sees_nothing_blames_no_poses(
    keyframes: list[Keyframe], change: Callable[[Array], Array]
) -> None:
    def blind(grey: NDArray[np.uint8], every: int) -> Spots:
        h, w = grey.shape[0] // 8, grey.shape[1] // 8
        return choose({'features': np.zeros((1, 4, h, w), np.float32)}, every)

    check_poses(changed(keyframes, change), blind)


def test_the_cells_of_an_exported_encoder_will_do(
    keyframes: list[Keyframe], toy_encoder: Any
) -> None:
    """It knows too little to blame poses that are right."""
    check_poses(keyframes, toy_encoder)
