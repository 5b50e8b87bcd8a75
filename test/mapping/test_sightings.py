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
from vloc_models.mapping.encoder import ChosenEncoder
from vloc_models.mapping.sightings import Sightings, look
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
