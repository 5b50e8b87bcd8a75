"""That points of pairs of rendered views are the same points in space."""

from dataclasses import replace
from functools import partial

import cv2
import numpy as np
import pytest
from cut_pairs import (
    CAMERA,
    HARD,
    MOTIONS,
    SMALL,
    Array,
    Grey,
    at,
    check_sane,
    grid,
    noise,
    rng,
    same,
    scene,
    smooth,
    through,
    traced,
)
from numpy.typing import NDArray

from vloc_models.frames.augment import Photometric
from vloc_models.frames.pairs import PairConfig, photo_pair, scene_pair
from vloc_models.frames.scenes import Scene
from vloc_models.geometry import se3


def views_of(place: Scene, cuts: list[tuple[Grey, Array]]) -> tuple[int, int, Array, Array]:
    """The numbers of the two views of the last pair, and their homographies."""
    (image_a, H_a), (image_b, H_b) = cuts[-2:]
    a, b = (
        next(n for n, grey in enumerate(place.grey) if np.shares_memory(grey, image))
        for image in (image_a, image_b)
    )
    return a, b, H_a, H_b


def carried(
    T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array, pixels: Array
) -> tuple[Array, NDArray[np.bool_]]:
    """Where the second cut shows what the first one shows at pixels, and if it is the poster."""
    _, points, poster = traced(T_map_a, through(H_a, pixels))
    in_b = CAMERA.project(se3.apply(se3.inverse(T_map_b), points))
    return through(np.linalg.inv(H_b), in_b), poster


def joined(T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array, pixels: Array) -> Array:
    """Where the second cut shows what the first one shows at pixels; NaN if that is hidden."""
    in_a = through(H_a, pixels)
    depth_a, _, _ = traced(T_map_a, in_a.round())  # the depth image's pixel
    rays = np.column_stack([(in_a - [81.0, 58.0]) / [130, 128], np.ones(len(in_a))])
    z = depth_a.astype(np.float16).astype(np.float64)
    points_b = se3.apply(se3.inverse(T_map_b) @ T_map_a, rays * z[:, None])
    in_b = points_b[:, :2] / points_b[:, 2:] * [130, 128] + [81.0, 58.0]
    depth_b, _, _ = traced(T_map_b, in_b.round())
    agrees = np.abs(depth_b - points_b[:, 2]) < 0.031 * depth_b
    return np.where(agrees[:, None], through(np.linalg.inv(H_b), in_b), np.nan)


@pytest.mark.parametrize('motion', MOTIONS)
def test_points_of_two_views_are_the_same_in_space(
    motion: tuple[float, ...], cuts: list[tuple[Grey, Array]]
) -> None:
    place, hidden, both = scene(motion), 0, set()
    for seed in range(16):
        pair = check_sane(scene_pair(place, SMALL, rng(seed)), SMALL)
        a, b, H_a, H_b = views_of(place, cuts)
        T_map_a, T_map_b = place.T_map_cam[[a, b]]
        expected = joined(T_map_a, T_map_b, H_a, H_b, pair.pixels_first)
        np.testing.assert_allclose(pair.pixels_second, expected, atol=1e-6)
        in_a, in_b = through(H_a, pair.pixels_first), through(H_b, pair.pixels_second)
        poster_a, poster_b = traced(T_map_a, in_a.round())[2], traced(T_map_b, in_b.round())[2]
        np.testing.assert_array_equal(poster_a, poster_b)  # nothing is joined to what hides it
        hidden += count_hidden(T_map_a, T_map_b, H_a, H_b)
        both.add((a, b))
    assert both == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert hidden > 10 or motion[0] == 0  # else nothing was put to the test


def count_hidden(T_map_a: Array, T_map_b: Array, H_a: Array, H_b: Array) -> int:
    """How many cells of the first view show wall that lies behind the poster in the second."""
    there, poster = carried(T_map_a, T_map_b, H_a, H_b, grid())
    inside = ((there > 0) & (there < [95, 71])).all(1)
    return int((traced(T_map_b, through(H_b, there))[2] & ~poster & inside).sum())


@pytest.mark.parametrize('motion', MOTIONS)
def test_points_at_the_edges_of_what_stands_before_others_are_left_out(
    motion: tuple[float, ...], cuts: list[tuple[Grey, Array]]
) -> None:
    """Where the poster ends within 3 px, or begins; elsewhere all points move alike."""
    place, left_out, gaps = scene(motion), 0, []
    for seed in range(10):
        pair = check_sane(scene_pair(place, SMALL, rng(seed)), SMALL)
        a, b, H_a, H_b = views_of(place, cuts)
        T_map_a, T_map_b = place.T_map_cam[[a, b]]
        seen = partial(joined, T_map_a, T_map_b, H_a, H_b)
        assert smooth(seen, pair.pixels_first).all()
        there = seen(grid())
        inside = ((there > 0) & (there < [95, 71])).all(1)
        left_out += (inside & ~smooth(seen, grid())).sum()
        on_poster = carried(T_map_a, T_map_b, H_a, H_b, pair.pixels_first)[1]
        for side in (on_poster, ~on_poster):  # each is flat, and its motion a homography
            here, moved = pair.pixels_first[side], pair.pixels_second[side]
            if len(np.unique(here, axis=0)) > 8:
                H, _ = cv2.findHomography(here, moved)
                gaps.extend(np.abs(through(H, here) - moved).max(1))
    assert left_out > 10 or motion[0] == 0
    assert len(gaps) > 100
    assert np.median(gaps) < 1e-4
    assert np.max(gaps) < 0.1


def test_a_view_with_itself(cuts: list[tuple[Grey, Array]]) -> None:
    for seed in range(5):
        pair = check_sane(scene_pair(scene(), SMALL, rng(seed)), SMALL)
        (_, H_a), (_, H_b) = cuts[-2:]
        gap = through(H_a, pair.pixels_first) - through(H_b, pair.pixels_second)
        assert np.abs(gap).max() < 1e-6


def test_pictures_of_two_views_agree() -> None:
    """The wall's grey value is its place: 30 levels a metre, 32 px a metre."""
    gaps = []
    for seed in range(8):
        pair = check_sane(scene_pair(scene(MOTIONS[0]), SMALL, rng(seed)), SMALL)
        gaps.append(at(pair.first, pair.pixels_first) - at(pair.second, pair.pixels_second))
    assert np.median(np.abs(gaps)) < 1.5


def test_only_views_that_share_enough_are_paired(cuts: list[tuple[Grey, Array]]) -> None:
    shared = np.array([[1, 0.6, 0.59], [0.7, 1, 0.2], [0.9, 0, 1]], np.float32)
    place = replace(scene((0.2,), (0.3,)), shared=shared)
    found = set()
    for seed in range(40):
        check_sane(scene_pair(place, replace(SMALL, shared=0.595), rng(seed)), SMALL)
        found.add(views_of(place, cuts)[:2])
    assert found == {(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 2)}


@pytest.mark.parametrize('config', [replace(SMALL, light=Photometric()), HARD])
def test_pairs_repeat_with_the_seed(config: PairConfig) -> None:
    photo, place = noise(100, 130), scene((0.2,))
    for cut in (partial(photo_pair, photo, config), partial(scene_pair, place, config)):
        first, again, other = (check_sane(cut(rng(seed)), config) for seed in (0, 0, 1))
        assert same(first, again)
        assert not same(first, other)


@pytest.mark.parametrize('motion', [(9.0,), (0, 0, 0, 0, 2.0)])
def test_views_that_share_nothing_are_no_pair(motion: tuple[float, ...]) -> None:
    """Whatever ``shared`` says."""
    place = replace(scene(motion), shared=1 - np.eye(2, dtype=np.float32))
    assert scene_pair(place, SMALL, rng(0)) is None


def test_views_without_depth_are_no_pair() -> None:
    place = scene()
    assert scene_pair(place, SMALL, rng(0)) is not None
    place.depth[:] = np.nan
    assert scene_pair(place, SMALL, rng(0)) is None
