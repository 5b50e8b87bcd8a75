from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from vloc_models.errors import VlocError
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.solvers import landmarks
from vloc_models.solvers.landmarks import Landmarks, Matcher, Matches, whole_picture

Array = NDArray[np.float64]

rng = np.random.default_rng(0)
M, C, D, W = 500, 16, 8, 5  # landmarks; numbers of a feature and of a descriptor; words
H, WIDE = 60, 80  # cells of a picture
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


def some_cells(count: int) -> NDArray[np.int64]:
    numbers = np.random.default_rng(5).permutation(H * WIDE)[:count]
    return np.stack([numbers // WIDE, numbers % WIDE], 1)


def check_found(matches: Matches, expected: dict[tuple[int, int], tuple[int, float]]) -> None:
    """As told: of each cell the landmark and the cosine."""
    count = len(expected)
    assert [x.shape for x in matches] == [(count, 2), (count, 3), (count,), (count, D)]
    assert [x.dtype.name for x in matches] == ['int64', 'float64', 'float32', 'float32']
    assert set(map(tuple, matches.cells.tolist())) == set(expected)
    for (row, column), point, cosine, wanted in zip(*matches, strict=True):
        number, alike = expected[row, column]
        np.testing.assert_array_equal(point, POINTS[number])
        np.testing.assert_allclose(wanted, descriptor(number), atol=1e-6)
        assert cosine == pytest.approx(alike, abs=1e-5)


@pytest.mark.parametrize('count', [1, 60, 300])
@pytest.mark.parametrize('pictures', [[4], [7, 2, 3], list(range(10))])
def test_match_as_the_slow_twin(matcher: Matcher, count: int, pictures: list[int]) -> None:
    """The most similar landmark of the pictures, only if each is the other's best."""
    asked, cells = matcher.short(some_features(count)), some_cells(count)
    among = np.array([m for m in range(M) if PICTURE[m] in pictures])
    alike, mutual = cosines(asked, among), {}
    for n, (row, column) in enumerate(cells.tolist()):
        best = int(np.argmax(alike[n]))
        if np.argmax(alike[:, best]) == n:
            mutual[row, column] = int(among[best]), alike[n, best]
    assert len(mutual) == 1 if count == 1 else 5 < len(mutual) < count
    check_found(matcher.match(asked, cells, np.array(pictures)), mutual)


def test_what_was_seen_is_found_however_strong_it_is(matcher: Matcher) -> None:
    matches = matcher.match(matcher.short(FEATURES * 7), some_cells(M), np.arange(10))
    np.testing.assert_array_equal(matches.cells, some_cells(M))
    np.testing.assert_array_equal(matches.points, POINTS)
    assert matches.cosine.min() > 0.99


def test_of_two_cells_that_look_the_same_one_is_matched(matcher: Matcher) -> None:
    asked = matcher.short(FEATURES[[OF[2][0], OF[2][0], OF[2][7]]])
    matches = matcher.match(asked, np.array([[5, 6], [7, 8], [9, 10]]), np.array([2]))
    assert matches.cells.tolist() == [[5, 6], [9, 10]]


def test_a_feature_of_zeros_is_alike_to_none(matcher: Matcher) -> None:
    matches = matcher.match(np.zeros((1, D), np.float32), some_cells(1), np.arange(10))
    assert matches.cosine.tolist() == [0]


@pytest.mark.parametrize('pictures', [[], [4]])
def test_among_no_landmarks_nothing_is_found(pictures: list[int]) -> None:
    """Of the fourth picture there are none."""
    matcher = Matcher(replace(MARKS, picture=np.where(PICTURE == 4, 5, PICTURE)))
    asked, cells = matcher.short(some_features(3)), some_cells(3)
    check_found(matcher.match(asked, cells, np.array(pictures, int)), {})
    assert len(matcher.match(asked, cells, np.array([5])).cells)


@pytest.mark.parametrize('shape', [(5, C), (4, D), (6, D), (D,), (5, 1, D)])
def test_misshapen_questions_are_refused(matcher: Matcher, shape: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match='asked has shape'):
        matcher.match(np.zeros(shape, np.float32), some_cells(5), np.arange(10))


# --- near ---


CAMERA = Camera(640, 480, 500.0, 510.0, 300.0, 250.0)
T_map_cam = se3.exp([0.5, 1, -7, 0.3, 0.2, 0.1])
EDGE = 16


def pixel_of(point: Array, T: Array) -> tuple[float, float] | None:
    """Where the camera sees a landmark; None behind it and at the edge of the picture."""
    x, y, z = np.linalg.inv(T) @ [*point.tolist(), 1] @ np.eye(4, 3)
    if z <= 0:
        return None
    u, v = 500 * x / z + 300, 510 * y / z + 250
    return (u, v) if EDGE < u < 640 - EDGE and EDGE < v < 480 - EDGE else None


def nearest_pictures(T: Array, count: int) -> list[int]:
    """By metres, and metres for each radian between two ways of looking."""
    away = []
    for T_map_picture in POSES:
        between = Rotation.from_matrix(T_map_picture[:3, :3].T @ T[:3, :3]).magnitude()
        distance = np.linalg.norm(T_map_picture[:3, 3] - T[:3, 3])
        away.append(distance + landmarks._METRES_A_RADIAN * between)
    return sorted(range(10), key=lambda k: away[k])[:count]


def some_grid(seed: int = 2) -> NDArray[np.float32]:
    grid = np.random.default_rng(seed).normal(size=(H, WIDE, D)).astype(np.float32)
    return grid / np.linalg.norm(grid, axis=2, keepdims=True)


def asked_at(*cells: tuple[int, int, Array]) -> NDArray[np.float32]:
    """A grid of which all other cells are like nothing."""
    grid = np.zeros((H, WIDE, D), np.float32)
    for row, column, short in cells:
        grid[row, column] = short
    return grid


@pytest.mark.parametrize('pictures', [3, 10])
@pytest.mark.parametrize('reach', [7.0, 20.0, 38.4, 144.0, 700.0])
def test_near_as_the_slow_twin(
    matcher: Matcher, reach: float, pictures: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One landmark after the other looks at all the cells within reach."""
    monkeypatch.setattr(landmarks, '_NEAR_PICTURES', pictures)
    grid, near = some_grid(), nearest_pictures(T_map_cam, pictures)
    found, unlike, outdone, squares = {}, 0, 0, []
    for m in range(M):
        pixel = pixel_of(POINTS[m].astype(float), T_map_cam)
        if PICTURE[m] not in near or pixel is None:
            continue
        u, v = pixel
        squares.append((u // landmarks._SQUARE_PX, v // landmarks._SQUARE_PX))
        rows = [i for i in range(H) if abs(8 * i + 3.5 - v) <= reach]
        columns = [j for j in range(WIDE) if abs(8 * j + 3.5 - u) <= reach]
        alike = grid.astype(float) @ descriptor(m)
        cosine, cell = max((alike[i, j], (i, j)) for i in rows for j in columns)
        if cosine <= 0.5:
            unlike += 1
        elif cell in found and found[cell][1] > cosine:
            outdone += 1
        else:
            outdone += cell in found
            found[cell] = m, cosine
    assert 1 < len(set(squares)) < len(squares)
    assert len(found) > 5
    assert unlike or reach > 20
    assert outdone or reach < 100 or pictures < 10
    check_found(matcher.match_near(grid, CAMERA, T_map_cam, reach), found)


@pytest.mark.parametrize('reach', [20.0, 144.0])
def test_near_where_they_are_seen(matcher: Matcher, reach: float) -> None:
    """However many landmarks are about, and however many squares the picture has."""
    places = [pixel_of(point.astype(float), T_map_cam) for point in POINTS]
    cells = {(int(at[1] / 8), int(at[0] / 8)): m for m, at in enumerate(places) if at}
    assert len(cells) > 50
    grid = asked_at(*((*cell, descriptor(m)) for cell, m in cells.items()))
    expected = {cell: (m, 1.0) for cell, m in cells.items()}
    check_found(matcher.match_near(grid, CAMERA, T_map_cam, reach), expected)


def test_nothing_near_a_camera_that_looks_away(matcher: Matcher) -> None:
    away = T_map_cam @ se3.exp([0, 0, -500, 0, np.pi, 0])
    check_found(matcher.match_near(some_grid(), CAMERA, away, 50.0), {})
    check_found(matcher.match_near(asked_at(), CAMERA, T_map_cam, 50.0), {})


@pytest.mark.parametrize('shape', [(H, WIDE, D + 1), (H, WIDE, C), (H * WIDE, D), (D,), ()])
def test_a_grid_of_another_encoder_is_refused(matcher: Matcher, shape: tuple[int, ...]) -> None:
    with pytest.raises(VlocError, match='grid has shape'):
        matcher.match_near(np.zeros(shape, np.float32), CAMERA, T_map_cam, 50.0)


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


def test_in_another_frame_the_same_is_found_there(matcher: Matcher) -> None:
    """Far from the origin, where float32 would be 3 cm coarse."""
    T_frame_map = se3.from_xyz_rpy([4e5, -5e5, 100.0], [0.3, -1.2, 2.0])
    T_twin = np.stack([se3.exp([3, 1, 0, 0, 0, 2]), se3.exp([-4, 2, 0, 0, 0, 1])])
    twins = {'twin_picture': np.array([3, 8], np.int32), 'T_twin': T_twin.astype(np.float32)}
    marks = replace(MARKS, **twins)
    moved = Matcher(marks, T_frame_map)
    for picture in range(10):
        there = T_frame_map @ matcher.T_map_cam(picture)
        np.testing.assert_allclose(moved.T_map_cam(picture), there, atol=1e-9)
    was = matcher.match_near(some_grid(), CAMERA, T_map_cam, 50.0)
    is_ = moved.match_near(some_grid(), CAMERA, T_frame_map @ T_map_cam, 50.0)
    assert len(was.cells) > 5
    np.testing.assert_array_equal(is_.cells, was.cells)
    np.testing.assert_allclose(is_.points, se3.apply(T_frame_map, was.points), atol=1e-8)
    there = T_frame_map @ T_map_cam
    led = T_frame_map @ Matcher(marks).twins(T_map_cam) @ T_map_cam
    assert len(led) == 2
    # their own float32 is what is coarse so far out
    np.testing.assert_allclose(moved.twins(there) @ there, led, atol=0.2)
