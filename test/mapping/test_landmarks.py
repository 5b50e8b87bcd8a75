import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.mapping.landmarks import LandmarkConfig, choose_landmarks
from vloc_models.mapping.sightings import Sightings
from vloc_models.solvers.landmarks import Landmarks, Matcher, unit, whole_picture

N, PICTURES, C = 3000, 10, 32


@pytest.fixture
def sightings() -> Sightings:
    """Features that differ along 12 of their 32 axes only; every third point is not measured."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(N, 12)) @ rng.normal(size=(12, C))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    points = rng.uniform(-5, 5, (N, 3)).astype(np.float32)
    points[::3] = np.nan
    return Sightings(
        features.astype(np.float16),
        rng.uniform(0, 300, (N, 2)).astype(np.float32),
        points,
        rng.uniform(0, 1, N).astype(np.float32),
        (np.arange(N) % PICTURES).astype(np.int32),
        np.zeros(N, bool),
    )


POSES = np.stack([se3.exp([k, 0, 0, 0, 0, 0.1 * k]) for k in range(PICTURES)])


def chosen(sightings: Sightings, seed: int = 0, **config: Any) -> Landmarks:
    found = choose_landmarks(sightings, POSES, LandmarkConfig(**config), seed)
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
    sightings: Sightings, config: dict[str, int], count: int
) -> None:
    marks = chosen(sightings, **config)
    assert marks.points.shape == (count, 3)
    known = {tuple(p) for p in sightings.points[np.isfinite(sightings.points).all(1)].tolist()}
    assert {tuple(p) for p in marks.points.tolist()} <= known
    assert len({tuple(p) for p in marks.points.tolist()}) == count


def test_each_picture_gives_as_many_as_it_can(sightings: Sightings) -> None:
    some = replace(sightings, picture=np.where(np.arange(N) < 30, 0, 1).astype(np.int32))
    marks = chosen(some, per_picture=50)
    assert np.bincount(marks.picture).tolist() == [20, 50]


def test_sure_cells_are_chosen_more_often_and_others_too(sightings: Sightings) -> None:
    """Of each picture's 200 measured cells 100 are sure, the others by a twentieth."""
    sure = np.where(np.arange(N) % 4 < 2, 1, 0.05).astype(np.float32)
    marks = chosen(replace(sightings, sure=sure), per_picture=50)
    known = dict(zip(map(tuple, sightings.points.tolist()), sure.tolist(), strict=True))
    share = np.mean([known[tuple(p)] == 1 for p in marks.points.tolist()])
    assert 0.85 < share < 0.98  # 20 to 1 at first, less as sure cells are used up


def test_confirmed_cells_are_chosen_more_often_and_others_too(sightings: Sightings) -> None:
    """Half of each picture's 200 measured cells are, and they are ten times as likely."""
    confirmed = np.arange(N) % 4 < 2
    some = replace(sightings, sure=np.full(N, 0.5, np.float32), confirmed=confirmed)
    marks = chosen(some, per_picture=50)
    known = dict(zip(map(tuple, sightings.points.tolist()), confirmed.tolist(), strict=True))
    share = np.mean([known[tuple(p)] for p in marks.points.tolist()])
    assert 0.8 < share < 0.95  # 10 to 1 at first, less as confirmed cells are used up


def test_cells_of_which_none_is_sure_are_chosen_alike(sightings: Sightings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        marks = chosen(replace(sightings, sure=np.zeros(N, np.float32)), per_picture=50)
    assert len(marks.points) == 50 * PICTURES
    assert not marks.places.any()  # pictures look like nothing


def test_they_are_found_by_their_features(sightings: Sightings) -> None:
    marks = chosen(sightings, per_picture=5000, numbers=12)
    assert marks.descriptors.shape[1] == 12
    assert np.abs(marks.descriptors.astype(int)).max() == 127
    measured = np.isfinite(sightings.points).all(1)
    matcher = Matcher(marks)
    asked = matcher.short(sightings.features[measured].astype(np.float32))
    cells = np.stack([np.arange(len(asked)), np.zeros(len(asked), int)], 1)
    matches = matcher.match(asked, cells, np.arange(PICTURES))
    np.testing.assert_array_equal(matches.cells, cells)
    np.testing.assert_array_equal(matches.points, sightings.points[measured])
    assert matches.cosine.min() > 0.999


def test_axes_are_those_along_which_features_differ_most(sightings: Sightings) -> None:
    marks = chosen(sightings, per_picture=5000, numbers=12)
    np.testing.assert_allclose(marks.axes.T @ marks.axes, np.eye(12), atol=1e-5)
    features = sightings.features.astype(np.float32)
    np.testing.assert_allclose(features @ marks.axes @ marks.axes.T, features, atol=2e-3)
    strength = np.linalg.norm(features @ marks.axes, axis=0)
    assert (np.diff(strength) < 0.05 * strength[0]).all()  # the strongest first


def test_words_are_typical(sightings: Sightings) -> None:
    """Cells around nine centres, of which the words are then the means."""
    rng = np.random.default_rng(1)
    centres = np.linalg.qr(rng.normal(size=(C, 9)))[0].T
    kind = rng.integers(0, 9, N)
    features = centres[kind] + rng.normal(0, 0.02, (N, C))
    some = replace(sightings, features=features.astype(np.float16))
    marks = chosen(some, per_picture=5000, numbers=9, words=40)
    assert marks.words.shape == (40, 9)
    short = unit(features.astype(np.float32) @ marks.axes)
    means = np.stack([short[kind == k].mean(0) for k in range(9)])
    away = np.linalg.norm(marks.words[:, None] - means, axis=2)
    assert away.min(0).max() < 0.06  # one for each centre
    assert away.min(1).max() < 0.06  # and none elsewhere


def test_no_more_words_than_landmarks(sightings: Sightings) -> None:
    marks = chosen(sightings, per_picture=2)
    assert marks.words.shape == (2 * PICTURES, 32)
    assert marks.places.shape == (PICTURES, marks.words.size)


def test_places_are_what_whole_pictures_look_like(sightings: Sightings) -> None:
    """Of all their cells, measured or not."""
    marks = chosen(sightings, per_picture=40)
    matcher = Matcher(marks)
    for k in range(PICTURES):
        rows = sightings.picture == k
        asked = matcher.short(sightings.features[rows].astype(np.float32))
        whole = whole_picture(asked, sightings.sure[rows], marks.words)
        place = unit(marks.places[k : k + 1].astype(np.float32))[0]
        assert whole @ place > 0.999
        assert matcher.alike_pictures(asked, sightings.sure[rows], 1).tolist() == [k]


def test_they_know_their_pictures(sightings: Sightings) -> None:
    some = replace(sightings, picture=sightings.picture // 2 * 2)  # no odd ones
    marks = chosen(some, per_picture=20)
    rows = {tuple(p): n for p, n in zip(sightings.points.tolist(), some.picture, strict=True)}
    expected = POSES[[rows[tuple(p)] for p in marks.points.tolist()]]
    np.testing.assert_allclose(marks.T_map_cam[marks.picture], expected, atol=1e-6)
    assert len(marks.T_map_cam) == len(marks.places) == PICTURES / 2


def test_a_file_holds_them(sightings: Sightings) -> None:
    arrays = chosen(sightings, per_picture=20).arrays()
    assert Landmarks.of_arrays(arrays, 'here').points.shape == (200, 3)


def test_no_more_numbers_than_a_feature_has(sightings: Sightings) -> None:
    assert chosen(sightings, numbers=64).axes.shape == (C, C)


def test_the_same_seed_chooses_the_same(sightings: Sightings) -> None:
    one, same, other = (chosen(sightings, seed, per_picture=20) for seed in (0, 0, 1))
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, same.arrays()[name])
    assert not np.array_equal(one.points, other.points)


def test_none_without_depth_or_on_request(sightings: Sightings) -> None:
    blind = replace(sightings, points=sightings.points * np.float32(np.nan))
    assert choose_landmarks(blind, POSES, LandmarkConfig(), 0) is None
    assert choose_landmarks(sightings, POSES, LandmarkConfig(per_picture=0), 0) is None


@pytest.mark.parametrize(
    'config', [{'per_picture': -1}, {'most': 0}, {'numbers': 0}, {'words': 0}]
)
def test_settings_that_make_no_sense(config: dict[str, int]) -> None:
    with pytest.raises(VlocError, match='landmarks: '):
        LandmarkConfig(**config)
