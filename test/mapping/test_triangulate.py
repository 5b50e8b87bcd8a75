"""Points seen from several places are found where they are; others are not made up."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.mapping.sightings import Sightings
from vloc_models.mapping.triangulate import triangulate

Array = NDArray[np.float64]
CAMERA = Camera(480, 360, 400.0, 400.0, 239.5, 179.5)
LOOK = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 0])  # along x of the map
N = 60


def taken_from(*places: tuple[float, float], camera: Camera = CAMERA) -> list[Keyframe]:
    """Pictures that look along x, from places (y, z)."""
    grey = np.zeros((360, 480), np.uint8)
    poses = [se3.transform(np.eye(3), [0, y, z]) @ LOOK for y, z in places]
    return [Keyframe(i, grey, camera, T) for i, T in enumerate(poses)]


def seen(
    keyframes: list[Keyframe], noise_px: float = 0.0, seed: int = 0
) -> tuple[Sightings, Array]:
    """All of N points in all pictures, and where the points are."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((3, -1, -0.8), (6, 1, 0.8), (N, 3))
    features = rng.normal(size=(N, 32))
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    pixels = [k.camera.project(se3.apply(k.T_cam_map, points)) for k in keyframes]
    count = len(keyframes)
    sightings = Sightings(
        np.tile(features, (count, 1)).astype(np.float16),
        (np.concatenate(pixels) + rng.normal(0, noise_px, (N * count, 2))).astype(np.float32),
        np.full((N * count, 3), np.nan, np.float32),
        np.ones(N * count, np.float32),
        np.repeat(np.arange(count, dtype=np.int32), N),
        np.zeros(N * count, bool),
    )
    return sightings, np.tile(points, (count, 1))


PLACES = [(0.1 * i, 0.05 * (i % 3)) for i in range(10)]


BENT = replace(CAMERA, model='plumb_bob', distortion=(0.12, -0.2, 2e-3, -1e-3, 0.05))


@pytest.mark.parametrize('camera', [CAMERA, BENT], ids=lambda c: c.model)
def test_points_are_where_they_are(camera: Camera) -> None:
    keyframes = taken_from(*PLACES, camera=camera)
    sightings, truth = seen(keyframes)
    found = triangulate(sightings, keyframes).points
    known = np.isfinite(found).all(1)
    assert known.mean() > 0.95
    np.testing.assert_allclose(found[known], truth[known], atol=5e-3)


def test_noise_of_a_pixel_moves_them_by_little() -> None:
    keyframes = taken_from(*PLACES)
    sightings, truth = seen(keyframes, noise_px=1.0)
    found = triangulate(sightings, keyframes).points
    known = np.isfinite(found).all(1)
    assert known.mean() > 0.5
    assert np.median(np.linalg.norm(found - truth, axis=1)[known]) < 0.12


def test_from_one_place_nothing_is_known() -> None:
    keyframes = taken_from(*[(1e-4 * i, 0) for i in range(6)])
    assert not np.isfinite(triangulate(seen(keyframes)[0], keyframes).points).any()


def test_what_looks_alike_but_is_not_on_the_line_is_no_match() -> None:
    keyframes = taken_from(*PLACES)
    sightings, _ = seen(keyframes)
    rng = np.random.default_rng(1)
    pixels = rng.uniform((0, 0), (479, 359), sightings.pixels.shape).astype(np.float32)
    found = triangulate(replace(sightings, pixels=pixels), keyframes).points
    assert np.isfinite(found).all(1).mean() < 0.02


def test_a_cell_that_was_matched_wrongly_once_is_still_found() -> None:
    """In one picture all cells look like others, on the line or not."""
    keyframes = taken_from(*PLACES)
    sightings, truth = seen(keyframes)
    features = sightings.features.copy()
    features[3 * N : 4 * N] = np.roll(features[3 * N : 4 * N], 1, axis=0)
    found = triangulate(replace(sightings, features=features), keyframes).points
    others = np.isfinite(found).all(1) & (sightings.picture != 3)
    assert others[sightings.picture != 3].mean() > 0.9
    np.testing.assert_allclose(found[others], truth[others], atol=5e-3)


@pytest.mark.parametrize('measured', [0, 5])
def test_pictures_with_depth_stay_as_they_are(measured: int) -> None:
    keyframes = taken_from(*PLACES)
    sightings, _ = seen(keyframes)
    points = sightings.points.copy()
    points[measured * N] = 7  # one cell of a picture
    found = triangulate(replace(sightings, points=points), keyframes).points
    rows = sightings.picture == measured
    np.testing.assert_array_equal(found[rows], points[rows])
    assert np.isfinite(found[~rows]).all(1).mean() > 0.9


def test_two_pictures_alone_are_too_few() -> None:
    """A third view has to agree."""
    keyframes = taken_from((0, 0), (0.3, 0))
    assert not np.isfinite(triangulate(seen(keyframes)[0], keyframes).points).any()


def test_a_place_far_away_does_not_part_the_pictures_of_one_room() -> None:
    """How far apart partners may be goes by the recording's size, but no more than a room's."""
    near = taken_from(*PLACES)
    alone = triangulate(seen(near)[0], near).points
    for y in (60.0, 1000.0):
        keyframes = taken_from(*PLACES, (y, 0))
        sightings, truth = seen(keyframes)
        found = triangulate(sightings, keyframes).points[: len(alone)]
        known = np.isfinite(found).all(1)
        assert known.mean() > 0.9
        np.testing.assert_allclose(found[known], truth[: len(alone)][known], atol=5e-3)


@pytest.mark.parametrize('unseen', [0, 4, 9])
def test_pictures_without_sightings_do_not_help(unseen: int) -> None:
    """Those that the self-test asks for; where they were taken does not matter either."""
    keyframes = taken_from(*PLACES)
    sightings = seen(keyframes)[0].of(np.arange(10) != unseen)
    found = triangulate(sightings, keyframes).points
    assert np.isfinite(found).all(1).mean() > 0.9
    places = [(40.0, -7.0) if i == unseen else at for i, at in enumerate(PLACES)]
    elsewhere = triangulate(sightings, taken_from(*places)).points
    np.testing.assert_array_equal(elsewhere, found)
    rest = [k for i, k in enumerate(keyframes) if i != unseen]
    renumbered = replace(sightings, picture=np.repeat(np.arange(9, dtype=np.int32), N))
    np.testing.assert_array_equal(triangulate(renumbered, rest).points, found)
