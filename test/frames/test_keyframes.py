from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vloc_models.errors import BagError
from vloc_models.frames.augment import to_grey
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.frames.working import working_view
from vloc_models.geometry import se3, tensors
from vloc_models.geometry.camera import Camera
from vloc_models.records import Array, Frame


def parked(k: int, frame: Frame) -> Frame:
    """Standing for the first half of the recording, at the pose that the second starts from."""
    T = np.eye(4)
    T[0, 3] = 0.1 * max(0, k - 20)
    return replace(frame, T_map_base=T)


def unknown(k: int, frame: Frame) -> Frame:
    return replace(frame, T_map_base=None) if k % 3 else frame


def nowhere(k: int, frame: Frame) -> Frame:
    return replace(frame, T_map_base=None)


SHORT = 360  # px


def numbers(keyframes: list[Keyframe]) -> list[int]:
    return [(k.stamp_ns - 10**18) // 200_000_000 for k in keyframes]


def test_colours_where_they_are_asked_for(gallery: Any) -> None:
    plain, coloured = (read_keyframes(gallery, 3, SHORT, colour=c) for c in (False, True))
    assert all(k.image is None for k in plain)
    for keyframe, other in zip(coloured, plain, strict=True):
        assert keyframe.image is not None
        assert (to_grey(keyframe.image) == other.grey).all()


def test_all_where_there_are_few(gallery: Any) -> None:
    seen: list[tuple[int, int]] = []
    keyframes = read_keyframes(gallery, 44, SHORT, lambda *x: seen.append(x))
    assert numbers(keyframes) == list(range(44))
    assert seen == [(k, 44) for k in range(1, 45)]
    first, frame = keyframes[7], gallery.drawn[7]
    working = working_view(frame.views[0], SHORT)
    np.testing.assert_array_equal(first.grey, to_grey(working.image))
    assert first.camera == working.camera
    assert first.grey.shape == (360, 480)
    np.testing.assert_allclose(first.T_map_cam, frame.T_map_base @ frame.views[0].T_base_cam)
    np.testing.assert_allclose(first.T_cam_map @ first.T_map_cam, np.eye(4), atol=1e-12)
    assert first.depth is not None
    assert working.depth is not None
    assert first.depth.dtype == np.float16
    np.testing.assert_allclose(first.depth, working.depth, rtol=1e-3)


@pytest.mark.parametrize('limit', [1, 2, 9, 43])
def test_no_more_than_the_limit(gallery: Any, limit: int) -> None:
    found = numbers(read_keyframes(gallery, limit, SHORT))
    assert 0 < len(found) <= limit
    assert found[0] == 0
    assert limit == 1 or found[-1] == 43


def test_evenly_along_the_way_and_not_in_time(gallery: Any) -> None:
    found = numbers(read_keyframes(type(gallery)(42, change=parked), 8, SHORT))
    assert found[0] == 0
    assert found[-1] == 41
    assert sum(k <= 20 for k in found) <= 2
    assert max(np.diff(found)[1:]) <= 4


def test_turning_counts_as_a_way(gallery: Any) -> None:
    def turns(k: int, frame: Frame) -> Frame:
        return replace(frame, T_map_base=se3.exp([0, 0, 0, 0, 0, 0.1 * max(0, k - 20)]))

    found = numbers(read_keyframes(type(gallery)(42, change=turns), 8, SHORT))
    assert sum(k <= 20 for k in found) <= 2


def test_frames_without_a_pose_are_left_out(gallery: Any) -> None:
    assert numbers(read_keyframes(type(gallery)(12, change=unknown), 100, SHORT)) == [0, 3, 6, 9]
    assert numbers(read_keyframes(type(gallery)(12, change=unknown), 2, SHORT)) == [0, 9]


@pytest.mark.parametrize('short_side_px', [120, 300])
def test_pictures_have_the_size_asked_for(gallery: Any, short_side_px: int) -> None:
    (k,) = read_keyframes(gallery, 1, short_side_px)
    size = short_side_px * 4 // 3, short_side_px
    assert k.grey.shape == size[::-1]
    assert (k.camera.width, k.camera.height) == size
    assert k.depth is not None
    assert k.depth.shape == size[::-1]


def test_no_pose_at_all_is_an_error(gallery: Any) -> None:
    with pytest.raises(BagError, match=r'no picture has a pose.*vloc info'):
        read_keyframes(type(gallery)(3, change=nowhere), 100, SHORT)


def test_all_cameras_count(gallery: Any) -> None:
    mounts = gallery.cameras[0].T_base_cam, gallery.cameras[0].T_base_cam @ se3.exp([0.2] * 6)
    rig = type(gallery)(10, mounts)
    keyframes = read_keyframes(rig, 100, SHORT)
    assert numbers(keyframes) == sorted(2 * list(range(10)))
    for k, mount in zip(keyframes[4:6], mounts, strict=True):
        np.testing.assert_allclose(k.T_map_cam, rig.T_map_base(2) @ mount)
    assert len(read_keyframes(rig, 9, SHORT)) == 8
    assert len(read_keyframes(rig, 1, SHORT)) == 2  # a moment is not torn apart


def test_points_are_where_depth_says(gallery: Any) -> None:
    """By the torch twins of the geometry, and on the wall."""
    (k,) = read_keyframes(gallery, 1, SHORT)
    pixels = np.random.default_rng(0).uniform(0, [479, 359], (500, 2))
    points = k.points(pixels)
    assert np.abs(points[:, 1] - 3).max() < 0.02  # half-float depth of 3 m, between two pixels
    K = torch.from_numpy(k.camera.K)
    u, v = pixels.round().astype(int).T
    z = torch.from_numpy(k.depth)[v, u].double()
    rays = tensors.unproject(K[None], torch.from_numpy(pixels)[None])[0]
    expected = tensors.apply(torch.from_numpy(k.T_map_cam), rays * z[:, None])
    np.testing.assert_allclose(points, expected, atol=1e-9)
    seen = tensors.project(K, tensors.apply(torch.from_numpy(k.T_cam_map), expected))
    np.testing.assert_allclose(seen, pixels, atol=1e-6)


CORNERS = ((0.0, 0.0), (7.0, 5.0), (6.6, 4.6))


def points_of(depth: Array | None, pixels: Sequence[tuple[float, float]] = CORNERS) -> Array:
    camera = Camera(8, 6, 10, 10, 3.5, 2.5)
    half = None if depth is None else depth.astype(np.float16)
    keyframe = Keyframe(0, np.zeros((6, 8), np.uint8), camera, np.eye(4), half)
    return keyframe.points(np.array(pixels))


def test_unknown_depth_is_nan() -> None:
    assert np.isnan(points_of(None)).all()
    depth = np.full((6, 8), 2.0)
    depth[5, 7] = np.nan
    found = points_of(depth)
    np.testing.assert_allclose(found[0], [-0.7, -0.5, 2])
    assert np.isnan(found[1:]).all()


def test_outside_the_picture_is_unknown() -> None:
    """As for a spot in the last cell of a picture whose sides are no multiple of 8."""
    depth = np.full((6, 8), 2.0)
    inside = [(-0.4, -0.4), (7.4, 5.4), (0.0, 5.4)]
    outside = [(-0.6, 2.0), (7.6, 2.0), (3.0, -0.6), (3.0, 5.6), (-9.0, 99.0), (8.0, 6.0)]
    found = points_of(depth, inside + outside)
    expected = [[(u - 3.5) / 5, (v - 2.5) / 5, 2] for u, v in inside]
    np.testing.assert_allclose(found[:3], expected)
    assert np.isnan(found[3:]).all()


@pytest.mark.parametrize('factor', [0.97, 1.0, 1.03])
def test_depth_multiplied(gallery: Any, factor: float) -> None:
    (k,) = read_keyframes(gallery, 1, 120)
    assert k.depth is not None
    depth = k.depth.copy()
    depth[:4] = np.nan
    before, pixels = depth.copy(), np.array([[20.0, 60.0], [99.2, 30.7], [50.0, 2.0]])
    k = replace(k, depth=depth)
    scaled = k.scaled(factor)
    assert scaled.depth is not None
    assert scaled.depth.dtype == np.float16
    np.testing.assert_allclose(scaled.depth, before.astype(float) * factor, rtol=2**-10)
    np.testing.assert_array_equal(k.depth, before)
    others = [(x.stamp_ns, x.camera, id(x.grey), id(x.T_map_cam)) for x in (k, scaled)]
    assert others[0] == others[1]
    place = k.T_map_cam[:3, 3]
    farther = place + (k.points(pixels) - place) * factor
    np.testing.assert_allclose(scaled.points(pixels), farther, atol=4e-3)
    assert np.isnan(farther[2]).all()


def test_no_depth_multiplied() -> None:
    keyframe = Keyframe(0, np.zeros((6, 8), np.uint8), Camera(8, 6, 10, 10, 3.5, 2.5), np.eye(4))
    assert keyframe.scaled(1.1).depth is None
