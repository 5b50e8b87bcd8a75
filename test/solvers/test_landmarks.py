from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vloc_models.errors import MapError, VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.solvers import landmarks
from vloc_models.solvers.landmarks import Landmarks, Matcher, whole_picture

Array = NDArray[np.float64]

rng = np.random.default_rng(0)
M, C, D, W = 500, 16, 8, 5  # landmarks; numbers of a feature and of a descriptor; words
AXES = np.linalg.qr(rng.normal(size=(C, D)))[0].astype(np.float32)
FEATURES = rng.normal(size=(M, C)).astype(np.float32)
SHORT = FEATURES @ AXES / np.linalg.norm(FEATURES @ AXES, axis=1, keepdims=True)
SURE = rng.uniform(0.2, 1, M).astype(np.float32)
WORDS = rng.normal(0, 0.4, (W, D)).astype(np.float32)
PICTURE = rng.permutation(np.arange(M, dtype=np.int32) // 50)
POSES = np.stack([se3.exp([0.3 * k, 0, 0, 0, 0, 0.3 * (7 * k % 10)]) for k in range(10)])
POINTS = rng.uniform(-5, 5, (M, 3)).astype(np.float32)


def in_bytes(rows: NDArray[np.floating]) -> NDArray[np.int8]:
    return np.round(rows * 127 / np.abs(rows).max()).astype(np.int8)


def slow_whole(
    asked: NDArray[np.float32], sure: NDArray[np.float32], words: NDArray[np.float32]
) -> Array:
    """VLAD, one cell after the other: each adds how it differs from the nearest word."""
    summed = np.zeros(words.shape)
    for cell, weight in zip(asked.astype(float), sure.tolist(), strict=True):
        nearest = min(range(len(words)), key=lambda w: np.linalg.norm(cell - words[w]))
        summed[nearest] += weight**3 * (cell - words[nearest])
    for row in summed:
        row /= np.linalg.norm(row) or 1
    return summed.ravel() / (np.linalg.norm(summed) or 1)


OF = [np.flatnonzero(k == PICTURE) for k in range(10)]  # numbers of the pictures' landmarks
PLACES = [slow_whole(SHORT[of], SURE[of], WORDS) for of in OF]
MARKS = Landmarks(
    POINTS,
    in_bytes(SHORT),
    AXES,
    PICTURE,
    POSES.astype(np.float32),
    WORDS,
    in_bytes(np.array(PLACES)),
)


@pytest.fixture(scope='module')
def matcher() -> Matcher:
    return Matcher(MARKS)


def some_features(count: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, C)).astype(np.float32)


def descriptor(number: int) -> Array:
    """What is wanted of a landmark: its bytes, of length one."""
    row = MARKS.descriptors[number].astype(float)
    return row / np.linalg.norm(row)


def cosines(asked: NDArray[np.float32], among: Any) -> Array:
    """How alike each of the descriptors asked for and each of some landmarks are."""
    found = np.zeros((len(asked), len(among)))
    for n, one in enumerate(asked.astype(float)):
        for k, other in enumerate(MARKS.descriptors[among].astype(float)):
            lengths = np.linalg.norm(one) * np.linalg.norm(other)
            found[n, k] = one @ other / lengths if lengths else 0
    return found


# --- descriptors ---


def test_descriptors_are_features_on_the_axes(matcher: Matcher) -> None:
    features = some_features(20)
    found = matcher.short(features)
    for feature, short in zip(features.astype(float), found, strict=True):
        on_axes = np.array([feature @ axis for axis in AXES.T.astype(float)])
        np.testing.assert_allclose(short, on_axes / np.linalg.norm(on_axes), atol=1e-6)
    np.testing.assert_allclose(matcher.short(7 * features), found, atol=1e-6)
    assert not matcher.short(np.zeros((1, C), np.float32)).any()


@pytest.mark.parametrize('shape', [(6, 8), (1, 1), (2, 3, 4), (0,), (0, 3), ()])
def test_descriptors_of_a_grid_are_those_of_its_cells(
    matcher: Matcher, shape: tuple[int, ...]
) -> None:
    features = np.random.default_rng(4).normal(size=(*shape, C)).astype(np.float32)
    found = matcher.short(features)
    assert found.shape == (*shape, D)
    assert found.dtype == np.float32
    for index in np.ndindex(shape):
        (alone,) = matcher.short(features[index][None])
        np.testing.assert_allclose(found[index], alone, atol=1e-6)
        assert np.linalg.norm(found[index]) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('shape', [(5, C + 1), (4, 5, C - 1), (C, 5), (C + 1,), ()])
def test_features_of_another_encoder_are_refused(matcher: Matcher, shape: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match='features has shape'):
        matcher.short(np.zeros(shape, np.float32))


def test_landmarks_and_poses_are_those_given(matcher: Matcher) -> None:
    assert matcher.points.dtype == np.float32
    assert sorted(matcher.points.tolist()) == sorted(POINTS.tolist())  # in any order
    for k in range(10):
        np.testing.assert_allclose(matcher.T_map_cam(k), POSES[k], atol=1e-6)


# --- among pictures ---


@pytest.mark.parametrize('count', [1, 60, 300])
@pytest.mark.parametrize('pictures', [[4], [7, 2, 3], list(range(10))])
def test_match_as_the_slow_twin(matcher: Matcher, count: int, pictures: list[int]) -> None:
    """The most similar landmark of the pictures; a point only if each is the other's best."""
    asked = matcher.short(some_features(count))
    matches = matcher.match(asked, np.array(pictures))
    among = np.array([m for m in range(M) if PICTURE[m] in pictures])
    alike, mutual = cosines(asked, among), 0
    assert matches.wanted.shape == (count, D)
    assert matches.wanted.dtype == np.float32
    for n in range(count):
        best = int(np.argmax(alike[n]))
        assert matches.cosine[n] == pytest.approx(alike[n, best], abs=1e-5)
        np.testing.assert_allclose(matches.wanted[n], descriptor(among[best]), atol=1e-6)
        if np.argmax(alike[:, best]) == n:
            np.testing.assert_array_equal(matches.points[n], POINTS[among[best]])
            mutual += 1
        else:
            assert np.isnan(matches.points[n]).all()
    assert mutual == 1 if count == 1 else 5 < mutual < count


def test_what_was_seen_is_found_however_strong_it_is(matcher: Matcher) -> None:
    matches = matcher.match(matcher.short(FEATURES * 7), np.arange(10))
    np.testing.assert_array_equal(matches.points, POINTS)
    assert matches.cosine.min() > 0.99


def test_of_two_cells_that_look_the_same_one_is_matched(matcher: Matcher) -> None:
    asked = matcher.short(FEATURES[[OF[2][0], OF[2][0], OF[2][7]]])
    found = np.isfinite(matcher.match(asked, np.array([2])).points).all(1)
    assert found.tolist() == [True, False, True]


def test_a_feature_of_zeros_is_alike_to_none(matcher: Matcher) -> None:
    matches = matcher.match(np.zeros((1, D), np.float32), np.arange(10))
    assert matches.cosine.tolist() == [0]


@pytest.mark.parametrize('pictures', [[], [4]])
def test_among_no_landmarks_nothing_is_found(pictures: list[int]) -> None:
    """Of the fourth picture there are none."""
    matcher = Matcher(replace(MARKS, picture=np.where(PICTURE == 4, 5, PICTURE)))
    matches = matcher.match(matcher.short(some_features(3)), np.array(pictures, int))
    assert matches.points.shape == (3, 3)
    assert np.isnan(matches.points).all()
    assert matches.cosine.tolist() == [0, 0, 0]
    assert matches.wanted.shape == (3, D)
    assert np.isfinite(matcher.match(matcher.short(FEATURES), np.array([5])).points).any()


# --- near ---


CAMERA = Camera(640, 480, 500.0, 510.0, 300.0, 250.0)
T_map_cam = se3.exp([0.5, 1, -7, 0.3, 0.2, 0.1])


def seen_at() -> Array:
    """Where the camera sees each landmark; NaN behind it."""
    in_cam = se3.apply(se3.inverse(T_map_cam), POINTS.astype(float))
    return np.where(in_cam[:, 2:] > 0, CAMERA.project(in_cam), np.nan)


def nearest_pictures(T: Array, count: int) -> list[int]:
    """By metres, and metres for each radian between two ways of looking."""
    away = []
    for T_map_picture in POSES:
        between = Rotation.from_matrix(T_map_picture[:3, :3].T @ T[:3, :3]).magnitude()
        distance = np.linalg.norm(T_map_picture[:3, 3] - T[:3, 3])
        away.append(distance + landmarks._METRES_A_RADIAN * between)
    return sorted(range(10), key=lambda k: away[k])[:count]


@pytest.mark.parametrize('pictures', [3, 10])
@pytest.mark.parametrize('reach', [20.0, 48.5, 100.0, 320.0])
def test_near_as_the_slow_twin(
    matcher: Matcher, reach: float, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The squares hold all within the reach and none beyond three times as far."""
    monkeypatch.setattr(landmarks, '_NEAR_PICTURES', pictures)
    asked = matcher.short(some_features(60))
    pixels = np.random.default_rng(2).uniform((-4, -4), (644, 484), (60, 2))
    matches = matcher.match_near(asked, pixels, CAMERA, T_map_cam, reach)
    places, corner = seen_at(), np.floor(pixels / (2 * reach))
    around = (places > -reach).all(1) & (places < np.array([640, 480]) + reach).all(1)
    around &= np.isin(PICTURE, nearest_pictures(T_map_cam, pictures))
    found = 0
    for k in range(60):
        low, high = (2 * corner[k] - 1) * reach, (2 * corner[k] + 3) * reach
        among = ((places > low) & (places < high)).all(1) & around
        away = np.abs(places - pixels[k]).max(1)
        assert among[around & (away < reach)].all()
        assert not among[away > 3 * reach].any()
        if among.any():
            numbers = np.flatnonzero(among)
            (alike,) = cosines(asked[k : k + 1], numbers)
            best = numbers[np.argmax(alike)]
            np.testing.assert_array_equal(matches.points[k], POINTS[best])
            np.testing.assert_allclose(matches.wanted[k], descriptor(best), atol=1e-6)
            assert matches.cosine[k] == pytest.approx(alike.max(), abs=1e-5)
            found += 1
        else:
            assert np.isnan(matches.points[k]).all()
            assert matches.cosine[k] == 0
    assert found > 5


def test_near_where_they_are_seen(matcher: Matcher) -> None:
    places = seen_at()
    inside = ((places > 0) & (places < [640, 480])).all(1)
    assert inside.sum() > 50
    asked = matcher.short(FEATURES[inside])
    matches = matcher.match_near(asked, places[inside], CAMERA, T_map_cam, 30.0)
    np.testing.assert_array_equal(matches.points, POINTS[inside])


def test_nothing_near_a_camera_that_looks_away(matcher: Matcher) -> None:
    pixels = np.full((M, 2), 200.0)
    away = T_map_cam @ se3.exp([0, 0, -500, 0, np.pi, 0])
    matches = matcher.match_near(matcher.short(FEATURES), pixels, CAMERA, away, 50.0)
    assert np.isnan(matches.points).all()
    assert not matches.cosine.any()
    assert matches.wanted.shape == (M, D)


@pytest.mark.parametrize(
    ('asked', 'pixels', 'says'),
    [((5, C), (5, 2), 'asked has shape'), ((5, D), (4, 2), 'pixels has shape')],
)
def test_misshapen_questions_are_refused(
    matcher: Matcher, asked: tuple[int, int], pixels: tuple[int, int], says: str
) -> None:
    with pytest.raises(VlocError, match=says):
        matcher.match_near(np.zeros(asked, np.float32), np.zeros(pixels), CAMERA, T_map_cam, 50.0)


# --- pictures ---


@pytest.mark.parametrize('count', [1, 3, 200])
def test_a_whole_picture_as_the_slow_twin(count: int) -> None:
    sure = np.random.default_rng(3).uniform(0, 1, count).astype(np.float32)
    asked = SHORT[:count]
    found = whole_picture(asked, sure, WORDS)
    np.testing.assert_allclose(found, slow_whole(asked, sure, WORDS), atol=1e-5)
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)
    if count == 200:
        assert not np.allclose(found, slow_whole(asked, np.ones_like(sure), WORDS), atol=1e-2)


def test_a_picture_of_nothing_is_all_zeros() -> None:
    assert not whole_picture(np.zeros((0, D), np.float32), np.zeros(0, np.float32), WORDS).any()
    assert not whole_picture(SHORT, np.zeros(M, np.float32), WORDS).any()


def test_alike_pictures_as_the_slow_twin(matcher: Matcher) -> None:
    """By the cosine between what a picture looks like and what the map's pictures do."""
    asked, sure = matcher.short(some_features(80, seed=6)), SURE[:80]
    whole = slow_whole(asked, sure, WORDS)
    alike = [float(whole @ p / np.linalg.norm(p)) for p in MARKS.places.astype(float)]
    expected = sorted(range(10), key=lambda k: -alike[k])
    for most in (1, 4, 10, 99):
        assert matcher.alike_pictures(asked, sure, most).tolist() == expected[:most]


def test_a_picture_of_the_map_is_most_alike_to_itself(matcher: Matcher) -> None:
    for k, of in enumerate(OF):
        found = matcher.alike_pictures(matcher.short(FEATURES[of]), SURE[of], 3)
        assert len(found) == 3
        assert found[0] == k
        assert len(set(found.tolist())) == 3


def test_votes_as_the_slow_twin(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of the surest cells votes for the picture of the landmark it is most alike to."""
    monkeypatch.setattr(landmarks, '_VOTERS', 40)
    asked = matcher.short(some_features(90, seed=7))
    sure = np.random.default_rng(8).uniform(0, 1, 90).astype(np.float32)
    alike, votes = cosines(asked, np.arange(M)), np.zeros(10)
    for n in sorted(range(90), key=lambda n: -sure[n])[:40]:
        best = int(np.argmax(alike[n]))
        votes[PICTURE[best]] += sure[n] * max(alike[n, best] - 0.5, 0)
    assert len(set(votes.round(6).tolist())) == 10
    expected = sorted(range(10), key=lambda k: -votes[k])
    for most in (1, 4, 10, 99):
        assert matcher.voted_pictures(asked, sure, most).tolist() == expected[:most]


def test_votes_find_a_picture_of_which_little_is_seen(matcher: Matcher) -> None:
    """Most of it shows what is nowhere in the map, and of that no cell is sure."""
    features = np.r_[some_features(150), FEATURES[OF[7][:20]]]
    sure = np.r_[np.full(150, 0.1), np.full(20, 0.9)].astype(np.float32)
    assert matcher.voted_pictures(matcher.short(features), sure, 2)[0] == 7


def test_unlike_cells_do_not_vote() -> None:
    """One that is alike outvotes forty that are like nothing in the map."""
    one, other = int(OF[8][0]), some_features(1) @ AXES
    other /= np.linalg.norm(other)
    rows = np.union1d(np.flatnonzero((SHORT @ other[0]) < 0.4), [one])
    few = {name: getattr(MARKS, name)[rows] for name in ('points', 'descriptors', 'picture')}
    matcher = Matcher(replace(MARKS, **few))
    assert len(matcher.points) > 200
    asked = np.r_[SHORT[[one]], other.repeat(40, 0)]
    assert matcher.voted_pictures(asked, np.ones(41, np.float32), 1).tolist() == [8]


def test_in_several_blocks_as_in_one(matcher: Matcher, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, sure = matcher.short(some_features(90)), SURE[:90]
    whole = matcher.voted_pictures(asked, sure, 10)
    monkeypatch.setattr(landmarks, '_AT_ONCE', 33)
    np.testing.assert_array_equal(matcher.voted_pictures(asked, sure, 10), whole)


# --- files ---


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
        (
            {'descriptors': MARKS.descriptors[:0], 'points': POINTS[:0], 'picture': PICTURE[:0]},
            'not whole',
        ),
        ({'descriptors': MARKS.descriptors[0]}, 'not whole'),
        ({'picture': PICTURE[1:]}, 'not whole'),
        ({'picture': PICTURE - 1}, 'not whole'),
        ({'picture': PICTURE + 1}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam[:, :3]}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam * np.float32(np.nan)}, 'not whole'),
        ({'T_map_cam': MARKS.T_map_cam[:9], 'places': MARKS.places[:9]}, 'not whole'),
        ({'words': WORDS[:, 1:]}, 'not whole'),
        ({'words': WORDS[1:]}, 'not whole'),
        ({'words': WORDS[0]}, 'not whole'),
        ({'words': WORDS[:0], 'places': MARKS.places[:, :0]}, 'not whole'),
        ({'words': WORDS * np.float32(np.nan)}, 'not whole'),
        ({'words': WORDS.astype(np.float64)}, 'does not hold landmarks'),
        ({'places': MARKS.places[1:]}, 'not whole'),
        ({'places': MARKS.places[:, 1:]}, 'not whole'),
        ({'places': MARKS.places[0]}, 'not whole'),
        ({'places': MARKS.places.astype(np.float32)}, 'does not hold landmarks'),
        ({'T_map_cam': MARKS.T_map_cam * np.float32(1.1)}, 'not whole: a picture has'),
        ({'T_map_cam': MARKS.T_map_cam[:, [1, 0, 2, 3]]}, 'not whole: a picture mirrors'),
    ],
)
def test_damaged_files(change: dict[str, Any], says: str) -> None:
    with pytest.raises(MapError, match=f'site/landmarks.npz: .*{says}'):
        Landmarks.of_arrays(MARKS.arrays() | change, 'site/landmarks.npz')


@pytest.mark.parametrize('name', ['words', 'places', 'T_map_cam'])
def test_files_of_which_a_part_is_missing(name: str) -> None:
    """As those of older versions."""
    arrays = {k: x for k, x in MARKS.arrays().items() if k != name}
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays(arrays, 'site/landmarks.npz')


def test_an_empty_file() -> None:
    with pytest.raises(MapError, match='does not hold landmarks'):
        Landmarks.of_arrays({}, 'site/landmarks.npz')
