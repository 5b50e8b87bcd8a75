"""Points come to where other pictures see them; what nobody sees is scaled; nothing is made up."""

import operator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from vloc_models.frames.keyframes import Keyframe
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.mapping import refine as module
from vloc_models.mapping.refine import refine
from vloc_models.mapping.sightings import Picture, Sightings, by_picture

Array = NDArray[np.float64]
CAMERA = Camera(480, 360, 400.0, 390.0, 239.5, 179.5)
BENT = replace(CAMERA, model='plumb_bob', distortion=(0.12, -0.2, 2e-3, -1e-3, 0.05))
FISHEYE = replace(CAMERA, model='fisheye', distortion=(-0.03, 0.01, 0.0, 0.0))
LOOK = se3.transform([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], [0, 0, 0])  # along x of the map
MODEL = operator.attrgetter('model')
N = 250
GREY = np.zeros((360, 480), np.uint8)
SENSED = np.ones((360, 480), np.float16)  # only that there is depth matters


def taken(count: int, camera: Camera = CAMERA, apart: float = 0.25) -> list[Keyframe]:
    """Pictures that look along x, from places beside each other, each turned a little."""
    poses = [
        se3.exp([0.1 * (i % 2), apart * i, 0.1 * (i % 3), 0, 0, -0.05 * (i - count / 2)]) @ LOOK
        for i in range(count)
    ]
    return [Keyframe(i, GREY, camera, T, SENSED) for i, T in enumerate(poses)]


def surface(count: int = N) -> Array:
    return np.random.default_rng(1).uniform((3, -1.5, -1.2), (6, 3, 1.5), (count, 3))


def seen(keyframes: list[Keyframe], points: Array, own: int = 0) -> tuple[Sightings, NDArray]:
    """Points where the pictures show them, exactly, and which they are; -1: only seen once.

    Args:
        keyframes: the pictures.
        points: each with features of its own.
        own: cells of each picture that nothing in others looks like.
    """
    rng = np.random.default_rng(2)
    features = rng.normal(size=(len(points), 64))
    columns = []
    for number, k in enumerate(keyframes):
        pixels = k.camera.project(se3.apply(k.T_cam_map, points))
        ids = np.flatnonzero(((pixels > 0) & (pixels < [479, 359])).all(1))
        lone = rng.uniform((0, 0), (479, 359), (own, 2))
        there = se3.apply(k.T_map_cam, 4 * k.camera.unproject(lone))
        columns.append(
            (
                np.r_[features[ids], rng.normal(size=(own, 64))].astype(np.float16),
                np.r_[pixels[ids], lone].astype(np.float32),
                np.r_[points[ids], there].astype(np.float32),
                rng.uniform(size=len(ids) + own).astype(np.float32),
                np.full(len(ids) + own, number, np.int32),
                np.zeros(len(ids) + own, bool),
                np.r_[ids, np.full(own, -1)],
            )
        )
    *fields, ids = (np.concatenate(c) for c in zip(*columns, strict=True))
    return Sightings(*fields), ids


def centres(sightings: Sightings, keyframes: list[Keyframe]) -> Array:
    return np.array([keyframes[p].T_map_cam[:3, 3] for p in sightings.picture]).reshape(-1, 3)


def measured(
    sightings: Sightings, keyframes: list[Keyframe], scale: float, noise: float = 0.0
) -> Sightings:
    """With points as by a sensor that errs."""
    rng = np.random.default_rng(3)
    c = centres(sightings, keyframes)
    factor = scale * (1 + noise * rng.normal(size=(len(c), 1)))
    return replace(sightings, points=(c + (sightings.points - c) * factor).astype(np.float32))


def moved(pixels: NDArray[np.float32], px: float) -> NDArray[np.float32]:
    return (pixels + np.random.default_rng(4).normal(0, px, pixels.shape)).astype(np.float32)


def off(a: Sightings, b: Sightings) -> Array:
    """How far points are apart, m."""
    return np.linalg.norm(a.points - b.points, axis=1)


@pytest.mark.parametrize('camera', [CAMERA, BENT, FISHEYE], ids=MODEL)
@pytest.mark.parametrize('scale', [1.02, 0.98])
def test_an_error_of_scale_is_found_and_corrected(camera: Camera, scale: float) -> None:
    keyframes = taken(10, camera, apart=0.35)
    truth, _ = seen(keyframes, surface())
    wrong = measured(truth, keyframes, scale, noise=0.01)
    found = refine(wrong, keyframes)
    assert found.depth_scale * scale == pytest.approx(1, abs=3e-3)
    assert found.sightings.confirmed.mean() > 0.9
    assert np.median(off(found.sightings, truth)) < 0.15 * np.median(off(wrong, truth))
    assert (np.linalg.norm(found.sightings.points - truth.points, axis=1) < 0.1).mean() > 0.95


def test_cells_that_are_off_by_a_pixel_do_it_nearly_as_well() -> None:
    keyframes = taken(10)
    truth, _ = seen(keyframes, surface())
    wrong = replace(measured(truth, keyframes, 1.02, 0.01), pixels=moved(truth.pixels, 1.0))
    found = refine(wrong, keyframes)
    assert found.depth_scale * 1.02 == pytest.approx(1, abs=3e-3)
    assert np.median(off(found.sightings, truth)) < 0.35 * np.median(off(wrong, truth))


def test_right_points_stay() -> None:
    keyframes = taken(10)
    truth, _ = seen(keyframes, surface(), own=20)
    found = refine(truth, keyframes)
    assert found.depth_scale == pytest.approx(1, abs=1e-5)
    assert off(found.sightings, truth).max() < 1e-3
    for name in ('features', 'pixels', 'sure', 'picture'):  # only points are moved
        assert getattr(found.sightings, name) is getattr(truth, name)


def best_depth(
    k: Keyframe, pixel: Array, depth: float, others: list[tuple[Keyframe, Array]]
) -> float:
    """By search, of what the pictures' Huber errors and the measurement cost together."""

    def cost(d: float) -> float:
        point = se3.apply(k.T_map_cam, k.camera.unproject(pixel) * d)
        total = ((d - depth) / (0.03 * depth) * 3) ** 2 / 2
        for other, at in others:
            miss = np.linalg.norm(other.camera.project(se3.apply(other.T_cam_map, point)) - at)
            total += miss**2 / 2 if miss < 6 else 6 * (miss - 3)
        return total

    exact = {'xatol': 1e-7}
    bounds = 0.7 * depth, 1.4 * depth
    best: Any = minimize_scalar(cost, bounds=bounds, method='bounded', options=exact)
    return float(best.x)


def test_depths_are_the_best_of_all() -> None:
    """Cell by cell, in pictures that all are partners; matches are those of the same point."""
    keyframes = [replace(k, depth=None) for k in taken(5)]  # no sensor, no scale
    truth, ids = seen(keyframes, surface(40))
    wrong = measured(replace(truth, pixels=moved(truth.pixels, 1.5)), keyframes, 1.02, 0.01)
    points = wrong.points.copy()
    for row, (number, at) in enumerate(zip(wrong.picture, wrong.pixels, strict=True)):
        k = keyframes[number]  # as a sensor does: at the pixel where the cell is thought to be
        depth = se3.apply(k.T_cam_map, points[row].astype(float))[2]
        points[row] = se3.apply(k.T_map_cam, k.camera.unproject(at) * depth)
    wrong = replace(wrong, points=points)
    found = refine(wrong, keyframes).sightings
    compared = 0
    for row in np.flatnonzero(found.confirmed)[::3]:
        k, point = keyframes[wrong.picture[row]], wrong.points[row].astype(float)
        others = []
        for r in np.flatnonzero((ids == ids[row]) & (wrong.picture != wrong.picture[row])):
            other = keyframes[wrong.picture[r]]
            expected = other.camera.project(se3.apply(other.T_cam_map, point))
            if np.abs(expected - wrong.pixels[r]).max() < 20:
                others.append((other, wrong.pixels[r].astype(float)))
        depth = se3.apply(k.T_cam_map, point)[2]
        best = best_depth(k, wrong.pixels[row].astype(float), depth, others)
        refined = se3.apply(k.T_cam_map, found.points[row].astype(float))[2]
        assert refined == pytest.approx(best, rel=5e-4)
        compared += abs(refined / depth - 1) > 2e-3
    assert compared > 30


def test_what_no_other_picture_sees_is_scaled_by_the_median() -> None:
    keyframes = taken(10)
    truth, ids = seen(keyframes, surface(), own=25)
    wrong = measured(truth, keyframes, 1.02, 0.01)
    found = refine(wrong, keyframes)
    c, confirmed = centres(wrong, keyframes), found.sightings.confirmed
    assert not confirmed[ids < 0].any()
    ratio = np.linalg.norm(found.sightings.points - c, axis=1)
    ratio /= np.linalg.norm(wrong.points - c, axis=1)
    assert np.median(ratio[confirmed]) == pytest.approx(found.depth_scale, abs=1e-6)
    assert np.std(ratio[confirmed]) > 5e-3
    np.testing.assert_allclose(ratio[~confirmed], found.depth_scale, atol=1e-6)
    along = np.cross(found.sightings.points - c, wrong.points - c)  # all stay on their rays
    assert np.abs(along).max() < 1e-4


def test_few_cells_do_not_tell_the_scale() -> None:
    keyframes = taken(4, apart=0.6)
    truth, ids = seen(keyframes, surface(22), own=5)
    wrong = measured(truth, keyframes, 1.03)
    found = refine(wrong, keyframes)
    assert 20 < found.sightings.confirmed.sum() < 100
    assert found.depth_scale == 1
    gain = off(found.sightings, truth) / off(wrong, truth)
    assert np.median(gain[found.sightings.confirmed]) < 0.5
    assert off(found.sightings, wrong)[ids < 0].max() < 1e-6


@pytest.mark.parametrize('blind', [0, 1])
def test_unknown_points_stay_unknown_and_their_cells_help_others(blind: int) -> None:
    """Of three pictures in sight of each other, one without depth."""
    keyframes = taken(3, apart=0.8)
    truth, _ = seen(keyframes, surface())
    wrong = measured(truth, keyframes, 1.02)
    points = wrong.points.copy()
    nan = wrong.picture == blind
    points[nan] = np.nan
    points[::7] = np.nan
    found = refine(replace(wrong, points=points), keyframes).sightings
    known = np.isfinite(points).all(1)
    np.testing.assert_array_equal(np.isfinite(found.points).all(1), known)
    assert not found.confirmed[~known].any()
    assert found.confirmed[known].mean() > 0.5
    gain = off(found, truth) / off(wrong, truth)
    assert np.median(gain[found.confirmed]) < 0.5


def swapped(sightings: Sightings, picture: int, within_px: float = 15.0) -> Sightings:
    """Cells of a picture with what their neighbours look like."""
    features = sightings.features.copy()
    left = np.flatnonzero(sightings.picture == picture).tolist()
    while len(left) > 1:
        a = left.pop()
        away = np.linalg.norm(sightings.pixels[left] - sightings.pixels[a], axis=1)
        if away.min() < within_px:
            b = left.pop(int(away.argmin()))
            features[[a, b]] = features[[b, a]]
    changed = (features != sightings.features).any(1)[sightings.picture == picture]
    assert changed.mean() > 0.5
    return replace(sightings, features=features)


def test_wrong_matches_do_not_drag_points_off() -> None:
    keyframes = taken(10)
    truth, _ = seen(keyframes, surface())
    found = refine(swapped(truth, 4), keyframes)
    others = truth.picture != 4
    move = off(found.sightings, truth)[others]
    assert (move > 1e-3).mean() > 0.3  # they were matched wrongly indeed
    assert np.median(move) < 0.01
    assert move.max() < 0.07
    assert found.sightings.confirmed[others].mean() > 0.99
    assert found.sightings.confirmed[~others].mean() < 0.75
    assert found.depth_scale == pytest.approx(1, abs=1e-3)


def test_huber_holds_what_squares_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    keyframes = taken(10)
    truth, _ = seen(keyframes, surface())
    wrong, others = swapped(truth, 4), truth.picture != 4
    held = off(refine(wrong, keyframes).sightings, truth)[others]
    monkeypatch.setattr(module, '_HUBER_PX', 1e9)
    assert held.mean() < 0.8 * off(refine(wrong, keyframes).sightings, truth)[others].mean()


BACK = se3.exp([0, 0, 0, 0, 0, np.pi])
ALONE = {
    'one picture': [LOOK],
    'two: a third has to agree': [LOOK, se3.exp([0, 0.5, 0, 0, 0, 0]) @ LOOK],
    'from the same place': [LOOK] * 5,
    'from too far': [se3.exp([0, 4.0 * i, 0, 0, 0, 0]) @ LOOK for i in range(5)],
    'looking back': [LOOK, se3.exp([0.5, 0, 0, 0, 0, 0]) @ BACK @ LOOK, BACK @ LOOK],
}


@pytest.mark.parametrize('poses', ALONE.values(), ids=ALONE)
def test_without_partners_points_stay(poses: list[Array]) -> None:
    keyframes = [Keyframe(i, GREY, CAMERA, T) for i, T in enumerate(poses)]
    points = surface(1000)
    truth, _ = seen(keyframes, np.r_[points, points * [-1, 1, 1], points + np.array([0, 6, 0])])
    wrong = measured(truth, keyframes, 1.02)
    found = refine(wrong, keyframes)
    assert found.depth_scale == 1
    assert not found.sightings.confirmed.any()
    np.testing.assert_allclose(found.sightings.points, wrong.points, atol=1e-6)


def test_no_sightings_at_all() -> None:
    truth, _ = seen(taken(3), surface())
    found = refine(truth.of(np.zeros(3, bool)), taken(3))
    assert (len(found.sightings.points), found.depth_scale) == (0, 1)


def test_only_the_surest_are_looked_for() -> None:
    keyframes = taken(5)
    truth, _ = seen(keyframes, surface(1500))
    wrong = measured(truth, keyframes, 1.02, 0.01)
    found = refine(wrong, keyframes)
    c, scale = centres(wrong, keyframes), found.depth_scale
    scaled = np.linalg.norm(found.sightings.points - (c + (wrong.points - c) * scale), axis=1)
    for picture in range(5):
        rows = np.flatnonzero(wrong.picture == picture)
        assert len(rows) > module._CELLS + 50
        rows = rows[np.argsort(-wrong.sure[rows])]
        assert found.sightings.confirmed[rows[: module._CELLS]].mean() > 0.5
        assert not found.sightings.confirmed[rows[module._CELLS :]].any()
        assert scaled[rows[module._CELLS :]].max() < 1e-5


def test_pictures_without_sightings_do_not_help() -> None:
    """Those that the self-test asks for."""
    keyframes = taken(10)
    truth, _ = seen(keyframes, surface(100))
    wrong = measured(truth, keyframes, 1.02, 0.01)
    learned = np.arange(10) % 4 != 1

    def points(number: int) -> NDArray[np.float32]:
        """With one picture elsewhere, or all where they are."""
        step = se3.exp([0.3, 0.1, 0, 0, 0.1, 0])
        T = [step @ k.T_map_cam if i == number else k.T_map_cam for i, k in enumerate(keyframes)]
        other = [replace(k, T_map_cam=t) for k, t in zip(keyframes, T, strict=True)]
        found = refine(wrong.of(learned), other).sightings
        return found.points[found.picture != 0]

    for left_out in (1, 5, 9):
        np.testing.assert_array_equal(points(left_out), points(-1))
    assert np.abs(points(0) - points(-1)).max() > 1e-3
    both = refine(wrong, keyframes).sightings.of(learned)
    assert np.abs(both.points - refine(wrong.of(learned), keyframes).sightings.points).max() > 1e-3


@pytest.mark.parametrize('camera', [CAMERA, BENT], ids=MODEL)
def test_slopes_are_derivatives(camera: Camera) -> None:
    """Of where the point of a cell is seen, as its depth grows; by differences and the camera."""
    keyframes = taken(3, camera)
    truth, _ = seen(keyframes, surface())
    here, _, other = by_picture(truth, keyframes)
    assert isinstance(here, Picture)
    count, rng = len(here.rows), np.random.default_rng(5)
    depth, pixels = rng.uniform(2, 6, count), rng.uniform(-200, 200, (count, 2))
    found = module._Found(other, pixels, np.ones(count, bool))
    T_other_cam = other.keyframe.T_cam_map @ here.keyframe.T_map_cam
    missed, slope = module._missed(found, T_other_cam, here.rays, depth)

    def at(depth: Array) -> Array:
        own = camera.unproject(truth.pixels[here.rows].astype(float)) * depth[:, None]
        there = se3.apply(other.keyframe.T_cam_map, se3.apply(here.keyframe.T_map_cam, own))
        pinhole = camera.undistorted()
        return pinhole.project(there) - [pinhole.cx, pinhole.cy]

    np.testing.assert_allclose(missed, pixels - at(depth), atol=1e-6)
    h = 1e-5
    np.testing.assert_allclose(slope, (at(depth + h) - at(depth - h)) / (2 * h), atol=1e-4)
    assert np.abs(slope).max() > 5


def test_points_that_no_sensor_told_are_no_part_of_its_scale() -> None:
    keyframes = [replace(k, depth=k.depth if i % 2 else None) for i, k in enumerate(taken(10))]
    truth, ids = seen(keyframes, surface(), own=25)
    sensed = truth.picture % 2 == 1
    wrong = measured(truth, keyframes, 1.03)
    wrong = replace(wrong, points=np.where(sensed[:, None], wrong.points, truth.points))
    found = refine(wrong, keyframes)
    assert found.depth_scale * 1.03 == pytest.approx(1, abs=4e-3)
    lone = ids < 0
    assert off(found.sightings, wrong)[lone & ~sensed].max() < 1e-6
    assert np.median(off(found.sightings, truth)[lone & sensed]) < 0.02
