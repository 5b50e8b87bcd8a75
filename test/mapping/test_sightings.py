"""What pictures show: their surest cells, where these are, and which map points."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from vloc_models.engines.torch_engine import TorchEngine
from vloc_models.export.to_onnx import ImageEncoder, encoder_outputs
from vloc_models.frames.keyframes import Keyframe, read_keyframes
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.mapping.sightings import Sightings, by_picture, look
from vloc_models.networks.encoder import LiteEncoder


@pytest.fixture(scope='module')
def encoder(toy_encoder: ChosenEncoder) -> ChosenEncoder:
    """With spots, of weights drawn at random; not exported."""
    torch.manual_seed(0)
    net = LiteEncoder(norm=False).eval()
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)  # cells differ, as if trained
    engine: Any = TorchEngine(ImageEncoder(net), ('image',), encoder_outputs(net))
    return replace(toy_encoder, engine=engine)


@pytest.fixture(scope='module')
def keyframes(gallery: Any) -> list[Keyframe]:
    return read_keyframes(gallery, 4, 120)


def cut_to(keyframe: Keyframe, height: int, width: int) -> Keyframe:
    """Cut to a size, its depth 2 m."""
    camera = keyframe.camera.cropped(0, 0, width, height)
    depth = np.full((height, width), 2, np.float16)
    return replace(keyframe, grey=keyframe.grey[:height, :width], camera=camera, depth=depth)


def check(sightings: Sightings, keyframes: list[Keyframe], encoder: ChosenEncoder) -> None:
    """Picture by picture, cell by cell."""
    n = 0
    for number, keyframe in enumerate(keyframes):
        spots = encoder(keyframe.grey, 2)
        height, width = keyframe.grey.shape
        for feature, (u, v), sure in zip(spots.features, spots.pixels, spots.sure, strict=True):
            assert sightings.picture[n] == number
            np.testing.assert_array_equal(sightings.features[n], feature.astype(np.float16))
            np.testing.assert_allclose(sightings.pixels[n], (u, v), atol=1e-4)
            assert sightings.sure[n] == sure
            column, row = round(u), round(v)
            inside = 0 <= column < width and 0 <= row < height
            if keyframe.depth is None or not inside:
                assert np.isnan(sightings.points[n]).all()
            else:
                x, y, z = se3.apply(keyframe.T_cam_map, sightings.points[n].astype(float))
                assert z == pytest.approx(float(keyframe.depth[row, column]), abs=1e-4)
                seen = keyframe.camera.project(np.array([x, y, z]))
                np.testing.assert_allclose(seen, (u, v), atol=2e-2)
            n += 1
    assert n == len(sightings.picture)


def test_cells_of_all_pictures_with_their_points(
    keyframes: list[Keyframe], encoder: ChosenEncoder
) -> None:
    told: list[tuple[int, int]] = []
    sightings = look(keyframes, encoder, lambda *x: told.append(x))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert sightings.features.dtype == np.float16
    assert sightings.pixels.dtype == sightings.points.dtype == sightings.sure.dtype == np.float32
    assert sightings.picture.dtype == np.int32
    assert sightings.confirmed.dtype == bool
    assert not sightings.confirmed.any()  # nobody has compared them yet
    assert np.bincount(sightings.picture).tolist() == [80] * 4  # of 15 x 20 cells, every second
    assert np.ptp(sightings.sure) > 0.3
    assert np.abs(sightings.points[:, 1] - 3).max() < 0.05  # on the wall
    check(sightings, keyframes, encoder)


def test_an_encoder_without_spots_will_do(
    keyframes: list[Keyframe], toy_encoder: ChosenEncoder
) -> None:
    sightings = look(keyframes, toy_encoder)
    assert (sightings.sure == 1).all()
    assert ((sightings.pixels - 3.5) % 8 == 0).all()
    check(sightings, keyframes, toy_encoder)


def test_without_depth_points_are_unknown(
    keyframes: list[Keyframe], encoder: ChosenEncoder
) -> None:
    some = [replace(keyframes[0], depth=None), keyframes[1]]
    sightings = look(some, encoder)
    assert np.isnan(sightings.points[sightings.picture == 0]).all()
    assert np.isfinite(sightings.points[sightings.picture == 1]).all()
    check(sightings, some, encoder)


@pytest.mark.parametrize(('height', 'width'), [(90, 122), (113, 156)])
def test_sizes_that_are_no_multiple_of_8(
    keyframes: list[Keyframe], encoder: ChosenEncoder, height: int, width: int
) -> None:
    """The last cells stand for places outside the picture; nothing was measured there."""
    cut = [cut_to(keyframes[0], height, width)]
    sightings = look(cut, encoder)
    assert (sightings.pixels.max(0) > [width - 8, height - 8]).all()
    assert 0 < np.isnan(sightings.points).any(1).mean() < 0.2
    check(sightings, cut, encoder)


def drawn(numbers: list[int], camera: Camera) -> Sightings:
    """Cells at random, in pictures of these numbers."""
    rng, count = np.random.default_rng(6), len(numbers)
    return Sightings(
        rng.normal(0, 3, (count, 16)).astype(np.float16),
        rng.uniform((0, 0), (camera.width - 1, camera.height - 1), (count, 2)).astype(np.float32),
        rng.normal(size=(count, 3)).astype(np.float32),
        rng.uniform(size=count).astype(np.float32),
        np.array(numbers, np.int32),
        rng.uniform(size=count) < 0.5,
    )


def test_those_of_some_pictures() -> None:
    sightings = drawn([0, 0, 1, 2, 2, 2, 4], CAMERAS[0])
    some = sightings.of(np.array([True, False, True, True, False]))
    for name, column in vars(sightings).items():
        np.testing.assert_array_equal(getattr(some, name), column[[0, 1, 3, 4, 5]])
    assert some.picture.tolist() == [0, 0, 2, 2, 2]
    assert len(sightings.of(np.zeros(5, bool)).sure) == 0


CAMERAS = (
    Camera(320, 240, 250.0, 260.0, 150.0, 125.0),
    Camera(320, 240, 250, 260, 150, 125, 'plumb_bob', (0.1, -0.2, 2e-3, -1e-3, 0.05)),
    Camera(320, 240, 250, 260, 150, 125, 'fisheye', (-0.03, 0.01, 0, 0)),
)


@pytest.mark.parametrize('camera', CAMERAS, ids=lambda c: c.model)
def test_pictures_with_their_cells(camera: Camera) -> None:
    """Also where sightings are not in order, and there are none of some pictures."""
    rng = np.random.default_rng(7)
    poses = [se3.exp(rng.normal(0, 0.5, 6)) for _ in range(5)]
    grey = np.zeros((240, 320), np.uint8)
    keyframes = [Keyframe(i, grey, camera, T) for i, T in enumerate(poses)]
    for numbers in ([1] * 30 + [3] * 50, rng.choice([0, 2, 4], 70).tolist()):
        sightings = drawn(numbers, camera)
        pictures = by_picture(sightings, keyframes)
        assert [p.keyframe.stamp_ns for p in pictures] == sorted(set(numbers))
        for p in pictures:
            number = p.keyframe.stamp_ns
            assert p.rows.tolist() == [r for r, n in enumerate(numbers) if n == number]
            for row, feature, pixel, ray in zip(p.rows, p.features, p.pixels, p.rays, strict=True):
                whole = sightings.features[row].astype(float)
                np.testing.assert_allclose(feature, whole / np.linalg.norm(whole), atol=1e-6)
                seen = sightings.pixels[row].astype(float)
                np.testing.assert_allclose(camera.project(ray), seen, atol=1e-6)
                assert ray[2] == 1
                pinhole = camera.undistorted().project(ray)
                np.testing.assert_allclose(pixel, pinhole - [camera.cx, camera.cy], atol=1e-9)
    assert by_picture(drawn([], camera), keyframes) == []


@pytest.mark.parametrize('camera', CAMERAS, ids=lambda c: c.model)
def test_points_are_projected_as_without_distortion(camera: Camera) -> None:
    """As the camera does; and a cell's point falls onto the cell."""
    T = se3.exp([0.3, -0.2, 0.5, 0.4, 1.0, -0.7])
    keyframe = Keyframe(0, np.zeros((240, 320), np.uint8), camera, T)
    (picture,) = by_picture(drawn([0] * 40, camera), [keyframe])
    depth = np.linspace(0.3, 20, 40)[:, None]
    on_rays = se3.apply(T, picture.rays * depth)
    np.testing.assert_allclose(picture.project(on_rays), picture.pixels, atol=1e-7)
    points = np.random.default_rng(8).normal(0, 4, (200, 3))
    in_cam = se3.apply(se3.inverse(T), points)
    expected = camera.undistorted().project(in_cam) - [camera.cx, camera.cy]
    behind = np.isnan(expected).any(1)
    assert 20 < behind.sum() < 180
    np.testing.assert_allclose(picture.project(points), expected, atol=1e-7)
    assert np.isnan(picture.project(np.full((1, 3), np.nan))).all()
