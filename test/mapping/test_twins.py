"""Places that look alike lead to each other, a place like no other nowhere."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from twins import CAMERA

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.mapping.twins import with_twins
from vloc_models.records import Array
from vloc_models.solvers.landmarks import Landmarks, Matcher, unit, whole_picture

PICTURES, ALONE = 4, 3  # of each copy of the place, and of one like no other
EACH, D = 60, 24  # landmarks of a picture, and numbers of each
FAR = se3.exp([30, 5, 0, 0, 0, 1.0])
FARTHER = se3.exp([-40, 20, 3, 0, 0.05, -2.0])
TURNED = se3.transform(se3.exp([0, 0, 0, 0, 0, np.pi])[:3, :3], [1, 1, 0])  # in the same room
FIRST = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 0.5])  # the camera looks along x


def landmarks(copies: Sequence[Array], seed: int = 0) -> Landmarks:
    """A place, moved to each of its copies, and a place like no other; as a map measures them."""
    rng = np.random.default_rng(seed)
    way = [se3.exp([0, -0.4 * k, 0, 0, 0, 0.1 * k]) @ FIRST for k in range(PICTURES)]
    away = [se3.exp([0, 80, 0, 0, 0, 0.3 * k]) @ FIRST for k in range(ALONE)]
    pixels = rng.uniform((30, 30), (610, 450), (PICTURES + ALONE, EACH, 2))
    in_cam = CAMERA.unproject(pixels) * rng.uniform(2, 6, (PICTURES + ALONE, EACH, 1))
    looks = rng.normal(size=(PICTURES + ALONE, EACH, D))
    T_map_cam, points, short = [], [], []
    seen = [(T @ way[k], k) for T in copies for k in range(PICTURES)]
    for T, k in [*seen, *((T, PICTURES + k) for k, T in enumerate(away))]:
        T_map_cam.append(T)
        points.append(se3.apply(T, in_cam[k]) + rng.normal(0, 0.01, (EACH, 3)))
        short.append(unit(looks[k] + rng.normal(0, 0.2, (EACH, D))))
    words = np.concatenate(short)[rng.permutation(len(short) * EACH)[:16]].astype(np.float32)
    sure = np.ones(EACH, np.float32)
    places = [whole_picture(s.astype(np.float32), sure, words) for s in short]
    return Landmarks(
        np.concatenate(points).astype(np.float32),
        np.round(np.concatenate(short) * 127).astype(np.int8),
        np.eye(D, dtype=np.float32),
        np.repeat(np.arange(len(short), dtype=np.int32), EACH),
        np.stack(T_map_cam).astype(np.float32),
        words,
        np.round(np.stack(places) * 127).astype(np.int8),
    )


def off(T: Array, expected: Array) -> tuple[float, float]:
    """Metres and radians."""
    turned = float(se3.angle_rad(T[:3, :3].T @ expected[:3, :3]))
    return float(np.linalg.norm(T[:3, 3] - expected[:3, 3])), turned


def check(found: Landmarks, copies: Sequence[Array]) -> None:
    """Each picture of a copy leads to where it would have been taken in each other one."""
    for copy, T_map_copy in enumerate(copies):
        for k in range(PICTURES):
            picture = copy * PICTURES + k
            T_map_cam = found.T_map_cam[picture].astype(float)
            there = [T @ T_map_cam for T in found.T_twin[found.twin_picture == picture]]
            others = [T for n, T in enumerate(copies) if n != copy]
            expected = [T @ se3.inverse(T_map_copy) @ T_map_cam for T in others]
            assert len(there) == len(expected)
            for T in expected:
                away_m, away_rad = min(off(x, T) for x in there)
                assert away_m < 0.03 * len(others)  # the more, the fewer landmarks tell of each
                assert away_rad < 0.01 * len(others)
    assert (found.twin_picture < len(copies) * PICTURES).all()  # none of the place like no other


@pytest.mark.parametrize(
    'copies',
    [
        [np.eye(4), FAR],
        [np.eye(4), TURNED],
        [FARTHER, np.eye(4), FAR],
        [np.eye(4), FAR, FARTHER, se3.exp([0, -50, 0, 0, 0, 3]), se3.exp([0, -90, 0, 0, 0, 0])],
    ],
)
@pytest.mark.parametrize('seed', [0, 1])
def test_places_that_look_alike_lead_to_each_other(copies: list[Array], seed: int) -> None:
    check(with_twins(landmarks(copies, seed), CAMERA), copies)


@pytest.mark.parametrize('camera', [Camera(320, 240, 250.0, 250.0, 159.5, 119.5), CAMERA])
def test_any_camera_will_do(camera: Camera) -> None:
    copies = [np.eye(4), FAR]
    check(with_twins(landmarks(copies), camera), copies)


def test_at_most_four_are_told() -> None:
    copies = [se3.exp([40 * n, 0, 0, 0, 0, n]) for n in range(7)]
    found = with_twins(landmarks(copies), CAMERA)
    assert np.bincount(found.twin_picture).tolist() == [4] * PICTURES * 7


@pytest.mark.parametrize('seed', range(5))
def test_a_place_like_no_other_has_none(seed: int) -> None:
    found = with_twins(landmarks([np.eye(4)], seed), CAMERA)
    assert found.twin_picture.shape == (0,)
    assert found.T_twin.shape == (0, 4, 4)


def test_what_is_near_is_the_same_place() -> None:
    """However alike, as neighbouring pictures always are."""
    copies = [np.eye(4), se3.exp([0, 0, 0.1, 0, 0, 0.1])]
    assert not len(with_twins(landmarks(copies), CAMERA).twin_picture)


def test_it_is_the_same_each_time_and_nothing_else_changes() -> None:
    marks = landmarks([np.eye(4), FAR])
    told: list[tuple[int, int]] = []
    one = with_twins(marks, CAMERA, lambda *x: told.append(x)).arrays()
    count = 2 * PICTURES + ALONE
    assert told == [(done, count) for done in range(1, count + 1)]
    again = with_twins(replace(marks), CAMERA).arrays()
    for name, values in one.items():
        np.testing.assert_array_equal(values, again[name])
        if name not in ('twin_picture', 'T_twin'):
            np.testing.assert_array_equal(values, marks.arrays()[name])
    assert one['twin_picture'].dtype == np.int32
    assert one['T_twin'].dtype == np.float32


def test_they_are_found_anew_whatever_was_known() -> None:
    marks = with_twins(landmarks([np.eye(4), FAR]), CAMERA)
    again = with_twins(marks, CAMERA)
    np.testing.assert_array_equal(again.T_twin, marks.T_twin)


# --- what a localizer asks for ---


def known(*twins: tuple[int, Array]) -> Matcher:
    """That pictures have these twins, whatever they look like."""
    picture = np.array([p for p, _ in twins], np.int32)
    T_twin = np.array([T for _, T in twins], np.float32).reshape(-1, 4, 4)
    return Matcher(replace(landmarks([np.eye(4)]), twin_picture=picture, T_twin=T_twin))


def test_those_of_the_nearest_picture_come_first() -> None:
    matcher = known((0, FAR), (2, FARTHER), (1, TURNED))
    for near, expected in ((0, [FAR, TURNED, FARTHER]), (2, [FARTHER, TURNED, FAR])):
        found = matcher.twins(matcher.T_map_cam(near) @ se3.exp([0.05, 0, 0, 0, 0, 0]))
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ('step', 'count'),
    [([0.4, 0, 0, 0, 0, 0], 1), ([0.5, 0, 0, 0, 0, 0], 2), ([0, 0, 0, 0, 0.3, 0], 1),
     ([0, 0, 0, 0, 0.33, 0], 2)],
)  # fmt: skip
def test_one_that_leads_where_another_did_is_left_out(step: list[float], count: int) -> None:
    """As seen from where it leads to, however far the map's origin is."""
    T_map_cam = known().T_map_cam(0)
    almost = FAR @ T_map_cam @ se3.exp(step) @ se3.inverse(T_map_cam)
    found = known((0, FAR), (1, almost)).twins(T_map_cam)
    np.testing.assert_allclose(found, [FAR, almost][:count], atol=1e-5)


def test_a_map_that_knows_none_tells_none() -> None:
    assert known().twins(np.eye(4)).shape == (0, 4, 4)


def test_pictures_far_from_there_are_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('vloc_models.solvers.landmarks._NEAR_PICTURES', 2)
    matcher = known((0, FAR), (3, FARTHER))
    np.testing.assert_allclose(matcher.twins(matcher.T_map_cam(0)), [FAR], atol=1e-5)
