from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.solvers import landmarks
from vloc_models.solvers.landmarks import Landmarks, Matcher

rng = np.random.default_rng(0)
M, C, D = 500, 16, 8  # landmarks; numbers of a feature and of a descriptor
AXES = np.linalg.qr(rng.normal(size=(C, D)))[0].astype(np.float32)
FEATURES = rng.normal(size=(M, C)).astype(np.float32)
SHORT = FEATURES @ AXES / np.linalg.norm(FEATURES @ AXES, axis=1, keepdims=True)
WHOLE = np.round(SHORT * 127 / np.abs(SHORT).max()).astype(np.int8)
PICTURE = np.arange(M, dtype=np.int32) // 50
POSES = np.stack([se3.exp([k, 0, 0, 0, 0, 0.1 * k]) for k in range(10)])
POINTS = rng.uniform(-5, 5, (M, 3)).astype(np.float32)
MARKS = Landmarks(POINTS, WHOLE, AXES, PICTURE, POSES.astype(np.float32))


def slow_twin(features: NDArray[np.float32], among: Any) -> tuple[Any, Any]:
    """One feature after the other, one landmark after the other: numbers and cosines."""
    best, cosines = [], []
    for feature in features:
        short = feature.astype(float) @ MARKS.axes
        likeness = [
            float(short @ d / np.linalg.norm(short) / np.linalg.norm(d))
            for d in MARKS.descriptors[among].astype(float)
        ]
        best.append(among[int(np.argmax(likeness))])
        cosines.append(max(likeness))
    return np.array(best), np.array(cosines)


@pytest.mark.parametrize('count', [1, 300, 301])
def test_as_the_slow_twin(count: int) -> None:
    asked = np.random.default_rng(count).normal(size=(count, C)).astype(np.float32)
    matches = Matcher(MARKS).match(asked)
    best, cosine = slow_twin(asked, np.arange(M))
    np.testing.assert_array_equal(matches.points, POINTS[best])
    np.testing.assert_array_equal(matches.picture, PICTURE[best])
    np.testing.assert_allclose(matches.cosine, cosine, atol=1e-5)


def test_as_the_slow_twin_in_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Matcher(MARKS).match(FEATURES)
    monkeypatch.setattr(landmarks, '_CELLS_AT_ONCE', 64)
    monkeypatch.setattr(landmarks, '_AT_ONCE', 33)
    parts = Matcher(MARKS).match(FEATURES)
    np.testing.assert_array_equal(parts.points, whole.points)
    np.testing.assert_allclose(parts.cosine, whole.cosine, atol=1e-6)


def test_what_was_seen_is_found_however_strong_it_is() -> None:
    matches = Matcher(MARKS).match(FEATURES * 7)
    np.testing.assert_array_equal(matches.points, POINTS)
    assert matches.cosine.min() > 0.99


def test_a_feature_of_zeros_is_alike_to_none() -> None:
    matches = Matcher(MARKS).match(np.zeros((1, C), np.float32))
    assert np.isfinite(matches.points).all()
    assert matches.cosine.tolist() == [0]


def test_features_of_another_encoder_are_refused() -> None:
    with pytest.raises(VlocError, match='features has shape'):
        Matcher(MARKS).match(np.zeros((5, C + 1), np.float32))


CAMERA = Camera(640, 480, 500.0, 510.0, 300.0, 250.0)
T_map_cam = se3.exp([0.5, 1, -7, 0.3, 0.2, 0.1])


def seen_at() -> NDArray[np.float64]:
    """Where the camera sees each landmark; NaN behind it."""
    in_cam = se3.apply(se3.inverse(T_map_cam), POINTS.astype(float))
    return np.where(in_cam[:, 2:] > 0, CAMERA.project(in_cam), np.nan)


@pytest.mark.parametrize('reach', [20.0, 48.0, 100.0, 320.0])
def test_near_as_the_slow_twin(reach: float) -> None:
    """The squares hold all within the reach and none beyond three times as far."""
    asked = np.random.default_rng(1).normal(size=(60, C)).astype(np.float32)
    pixels = np.random.default_rng(2).uniform((0, 0), (640, 480), (60, 2))
    matches = Matcher(MARKS).match_near(asked, pixels, CAMERA, T_map_cam, reach)
    places, corner = seen_at(), np.floor(pixels / (2 * reach))
    found = 0
    for k, feature in enumerate(asked):
        low, high = (2 * corner[k] - 1) * reach, (2 * corner[k] + 3) * reach
        among = ((places > low) & (places < high)).all(1)
        among &= (places > -reach).all(1) & (places < np.array([640, 480]) + reach).all(1)
        away = np.abs(places - pixels[k]).max(1)
        assert among[(away < reach)].all()
        assert not among[away > 3 * reach].any()
        if among.any():
            (best,), (cosine,) = slow_twin(feature[None], np.flatnonzero(among))
            np.testing.assert_array_equal(matches.points[k], POINTS[best])
            assert matches.picture[k] == PICTURE[best]
            np.testing.assert_allclose(matches.cosine[k], cosine, atol=1e-5)
            found += 1
        else:
            assert np.isnan(matches.points[k]).all()
            assert matches.cosine[k] == 0
    assert found > 5


def test_near_where_they_are_seen() -> None:
    places = seen_at()
    inside = ((places > 0) & (places < [640, 480])).all(1)
    assert inside.sum() > 50
    matches = Matcher(MARKS).match_near(FEATURES[inside], places[inside], CAMERA, T_map_cam, 30.0)
    np.testing.assert_array_equal(matches.points, POINTS[inside])


def test_nothing_near_a_camera_that_looks_away() -> None:
    pixels = np.full((M, 2), 200.0)
    away = T_map_cam @ se3.exp([0, 0, -500, 0, np.pi, 0])
    matches = Matcher(MARKS).match_near(FEATURES, pixels, CAMERA, away, 50.0)
    assert np.isnan(matches.points).all()


def test_pictures_by_their_matches() -> None:
    of_3_and_7 = np.r_[FEATURES[150:200], FEATURES[350:370]]
    matches = Matcher(MARKS).match(of_3_and_7)
    likely = Matcher(MARKS).likely_pictures(matches, 5)
    np.testing.assert_allclose(likely, POSES[[3, 7]], atol=1e-6)
    assert len(Matcher(MARKS).likely_pictures(matches, 1)) == 1


def test_there_and_back() -> None:
    back = Landmarks.of_arrays(MARKS.arrays(), 'site/landmarks.npz')
    for name, values in MARKS.arrays().items():
        np.testing.assert_array_equal(back.arrays()[name], values)


@pytest.mark.parametrize(
    ('change', 'says'),
    [
        ({'points': MARKS.points.astype(np.float64)}, 'does not hold landmarks'),
        ({'more': MARKS.points}, 'does not hold landmarks'),
        ({'points': MARKS.points[1:]}, 'not whole'),
        ({'points': MARKS.points[:, :2]}, 'not whole'),
        ({'points': MARKS.points * np.float32(np.nan)}, 'not whole'),
        ({'axes': AXES * np.float32(np.inf)}, 'not whole'),
        ({'axes': AXES[:, 1:]}, 'not whole'),
        ({'axes': AXES[:0]}, 'not whole'),
        ({'axes': AXES[0]}, 'not whole'),
        ({'descriptors': WHOLE[:0], 'points': POINTS[:0], 'picture': PICTURE[:0]}, 'not whole'),
        ({'descriptors': WHOLE[0]}, 'not whole'),
        ({'picture': PICTURE[1:]}, 'not whole'),
        ({'picture': PICTURE - 1}, 'not whole'),
        ({'picture': PICTURE + 1}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam[:, :3]}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam * np.float32(np.nan)}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam * np.float32(1.1)}, 'not whole: a picture has'),
        ({'T_map_cam': MARKS.T_map_cam[:, [1, 0, 2, 3]]}, 'not whole: a picture mirrors'),
    ],
)
def test_damaged_files(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MapError, match=f'site/landmarks.npz: .*{says}'):
        Landmarks.of_arrays(MARKS.arrays() | change, 'site/landmarks.npz')


def test_an_empty_file() -> None:
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays({}, 'site/landmarks.npz')
