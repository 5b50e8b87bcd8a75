"""Poses that do not belong to their pictures are found out with the encoder that ships."""

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
from vloc_models.mapping.check_poses import check_poses
from vloc_models.mapping.encoder import EncoderChoice, choose_encoder
from vloc_models.records import Array

Encode = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    """Some way apart, where the robot does not turn much."""
    return read_keyframes(gallery, 100)[::4]


@pytest.fixture(scope='module')
def encode(keyframes: list[Keyframe]) -> Encode:
    """The encoder that ships, each picture once."""
    encoder, known = choose_encoder(EncoderChoice(), 1), {}

    def features(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        key = grey.tobytes()
        if key not in known:
            known[key] = encoder(grey)
        return known[key]

    return features


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


def test_an_encoder_that_sees_nothing_blames_no_poses(keyframes: list[Keyframe]) -> None:
    def blind(grey: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.zeros((4, grey.shape[0] // 8, grey.shape[1] // 8), np.float32)

    check_poses(keyframes, blind)
