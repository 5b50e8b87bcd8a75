from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.mapping.landmarks import LandmarkConfig, choose_landmarks
from vloc_models.solvers.landmarks import Landmarks, Matcher
from vloc_models.training.ace import Buffer

N, PICTURES, C = 3000, 10, 32


@pytest.fixture
def buffer() -> Buffer:
    """Features that differ along 12 of their 32 axes only; every third point is not measured."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 12)) @ rng.normal(size=(12, C))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    points = rng.uniform(-5, 5, (N, 3)).astype(np.float32)
    points[::3] = np.nan
    number = (np.arange(N) % PICTURES).astype(np.int32)
    return Buffer(features.astype(np.float16), np.zeros((N, 2), np.float32), points, number)


POSES = np.stack([se3.exp([k, 0, 0, 0, 0, 0.1 * k]) for k in range(PICTURES)])


def chosen(buffer: Buffer, seed: int = 0, **config: Any) -> Landmarks:
    found = choose_landmarks(buffer, POSES, LandmarkConfig(**config), seed)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ('config', 'count'),
    [
        ({'per_picture': 50}, 50 * PICTURES),
        ({'per_picture': 50, 'most': 70}, 70),
        ({'per_picture': 5000}, N * 2 // 3),
    ],
)
def test_so_many_of_the_measured_points(
    buffer: Buffer, config: dict[str, int], count: int
) -> None:
    marks = chosen(buffer, **config)
    assert marks.points.shape == (count, 3)
    known = {tuple(p) for p in buffer.points[np.isfinite(buffer.points).all(1)].tolist()}
    assert {tuple(p) for p in marks.points.tolist()} <= known
    assert len({tuple(p) for p in marks.points.tolist()}) == count


def test_they_are_found_by_their_features(buffer: Buffer) -> None:
    marks = chosen(buffer, per_picture=5000, numbers=12)
    assert marks.descriptors.shape[1] == 12
    measured = np.isfinite(buffer.points).all(1)
    matches = Matcher(marks).match(buffer.features[measured].astype(np.float32))
    np.testing.assert_array_equal(matches.points, buffer.points[measured])
    assert matches.cosine.min() > 0.999


def test_they_know_their_pictures(buffer: Buffer) -> None:
    some = replace(buffer, picture=buffer.picture // 2 * 2)  # no odd ones
    marks = chosen(some, per_picture=20)
    rows = {tuple(p): n for p, n in zip(buffer.points.tolist(), some.picture, strict=True)}
    expected = POSES[[rows[tuple(p)] for p in marks.points.tolist()]]
    np.testing.assert_allclose(marks.T_map_cam[marks.picture], expected, atol=1e-6)
    assert len(marks.T_map_cam) == PICTURES / 2


def test_a_file_holds_them(buffer: Buffer) -> None:
    arrays = chosen(buffer, per_picture=20).arrays()
    assert Landmarks.of_arrays(arrays, 'here').points.shape == (200, 3)


def test_no_more_numbers_than_a_feature_has(buffer: Buffer) -> None:
    assert chosen(buffer, numbers=64).axes.shape == (C, C)


def test_the_same_seed_chooses_the_same(buffer: Buffer) -> None:
    one, same, other = (chosen(buffer, seed, per_picture=20) for seed in (0, 0, 1))
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, same.arrays()[name])
    assert not np.array_equal(one.points, other.points)


def test_none_without_depth_or_on_request(buffer: Buffer) -> None:
    blind = replace(buffer, points=buffer.points * np.float32(np.nan))
    assert choose_landmarks(blind, POSES, LandmarkConfig(), 0) is None
    assert choose_landmarks(buffer, POSES, LandmarkConfig(per_picture=0), 0) is None


@pytest.mark.parametrize('config', [{'per_picture': -1}, {'most': 0}, {'numbers': 0}])
def test_settings_that_make_no_sense(config: dict[str, int]) -> None:
    with pytest.raises(VlocError, match='landmarks: '):
        LandmarkConfig(**config)
