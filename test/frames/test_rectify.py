"""What the pinhole sees is what the lens saw, in the same directions and at the same depth."""

import numpy as np
import pytest

from vloc_models.errors import BagError, VlocError
from vloc_models.frames.rectify import Rectified, pinhole_for, size_for
from vloc_models.geometry.camera import Camera

PLAIN = Camera(640, 480, 525, 525, 319.5, 239.5)
CAMERAS = {
    'plain': PLAIN,
    'off centre': Camera(640, 480, 600, 590, 350, 215),
    'barrel': Camera(640, 480, 420, 420, 322, 238, 'plumb_bob', (-0.28, 0.07, 1e-3, -5e-4, 0)),
    'pincushion': Camera(640, 480, 600, 600, 315, 242, 'plumb_bob', (0.15, 0.02, 0, 0, 0)),
    'rational': Camera(
        640, 480, 500, 500, 320, 240, 'rational_polynomial', (1, 0.2, 0, 0, 0.01, 1.2, 0.3, 0)
    ),
    'fisheye': Camera(640, 480, 240, 240, 318, 243, 'fisheye', (-0.01, 0.003, 0, 0)),
    'portrait': Camera(480, 848, 610, 610, 240, 424),
}


def plane(camera: Camera) -> np.ndarray:
    """Depth [H, W] of a slanted wall: of each direction, whatever camera looks at it."""
    x, y, _ = np.moveaxis(camera.unproject(camera.pixel_grid()), -1, 0)
    return (2 / (1 + 0.2 * x - 0.1 * y)).astype(np.float32)


def directions(camera: Camera) -> np.ndarray:
    """A smooth picture [H, W, 3] whose colours tell where each pixel looks."""
    x, y, _ = np.moveaxis(camera.unproject(camera.pixel_grid()), -1, 0)
    waves = np.stack([np.sin(3 * x + 1), np.sin(3 * y), np.sin(2 * x - 2 * y)], -1)
    return np.nan_to_num(127 + 100 * waves, nan=0).astype(np.uint8)


def test_a_pinhole_of_the_same_shape_is_the_resized_camera() -> None:
    found, wanted = pinhole_for(PLAIN, size_for(PLAIN, 192)), PLAIN.resized(256, 192)
    assert (found.width, found.height, found.model) == (256, 192, 'pinhole')
    np.testing.assert_allclose(found.K, wanted.K, atol=1e-9)


@pytest.mark.parametrize('name', CAMERAS)
def test_the_pinhole_is_filled(name: str) -> None:
    camera = CAMERAS[name]
    pinhole = pinhole_for(camera, size_for(camera, 192))
    assert pinhole.width % 32 == pinhole.height % 32 == 0
    assert abs(min(pinhole.width, pinhole.height) - 192) < 32
    pixels = Rectified(camera, pinhole).pixels
    size = np.array([camera.width, camera.height])
    assert (pixels > -1).all()
    assert (pixels < size).all()
    share = np.ptp(pixels.reshape(-1, 2), axis=0) / size
    assert share.min() > 0.65  # and it sees most of the picture
    if name != 'fisheye':
        assert share.max() > 0.95


@pytest.mark.parametrize('name', CAMERAS)
def test_pictures_look_where_the_pinhole_looks(name: str) -> None:
    camera = CAMERAS[name]
    pinhole = pinhole_for(camera, size_for(camera, 192))
    found = Rectified(camera, pinhole).image(directions(camera))
    off = np.abs(found.astype(float) - directions(pinhole))
    assert np.median(off) < 1.5
    assert np.quantile(off, 0.99) < 5


@pytest.mark.parametrize('name', CAMERAS)
def test_depth_comes_back_to_the_pixels_it_belongs_to(name: str) -> None:
    camera = CAMERAS[name]
    pinhole = pinhole_for(camera, size_for(camera, 192))
    rectified = Rectified(camera, pinhole)
    found = rectified.depth_back(plane(pinhole))
    known = np.isfinite(found)
    assert known.mean() > 0.4
    np.testing.assert_allclose(found[known], plane(camera)[known], rtol=0.01)
    inner = found[4:-4, 4:-4] if name == 'plain' else found[200:280, 200:280]
    assert np.isfinite(inner).all()
    outside = ~rectified.mask_back(np.ones((pinhole.height, pinhole.width), bool))
    np.testing.assert_array_equal(outside, ~known)


def test_depth_is_not_mixed_across_an_edge_nor_out_of_nan() -> None:
    pinhole = pinhole_for(PLAIN, size_for(PLAIN, 96))
    depth = np.full((96, 128), 1, np.float32)
    depth[:, 64:] = 4
    depth[:20] = np.nan
    found = Rectified(PLAIN, pinhole).depth_back(depth)
    assert set(np.unique(found[np.isfinite(found)]).tolist()) == {1.0, 4.0}
    assert np.isnan(found[:98]).all()
    assert np.isfinite(found[103:]).all()


def test_labels_are_never_mixed_and_ignored_outside() -> None:
    camera = CAMERAS['barrel']
    labels = np.zeros((480, 640), np.uint8)
    labels[:, 320:] = 7
    wide = Camera(256, 192, 90, 90, 127.5, 95.5)  # sees more than the picture
    found = Rectified(camera, wide).labels(labels)
    assert set(np.unique(found).tolist()) == {0, 7, 255}
    assert found[96, 100] == 0
    assert found[96, 160] == 7
    assert found[0, 0] == 255


def test_fine_detail_is_averaged_not_skipped() -> None:
    """A chessboard of pixels is grey from afar."""
    board = np.where(np.indices((480, 640)).sum(0) % 2, 255, 0).astype(np.uint8)
    found = Rectified(PLAIN, pinhole_for(PLAIN, size_for(PLAIN, 96))).image(board)
    assert np.abs(found[2:-2, 2:-2].astype(int) - 127).max() < 20


def test_what_cannot_be() -> None:
    with pytest.raises(VlocError, match='8 px are too small'):
        size_for(PLAIN, 8)
    beside = Camera(640, 480, 500, 500, 2000, 240)  # the optical axis is not on the picture
    with pytest.raises(BagError, match='sees nothing'):
        pinhole_for(beside, size_for(beside, 96))
    with pytest.raises(VlocError, match='depth has shape'):
        Rectified(PLAIN, pinhole_for(PLAIN, size_for(PLAIN, 96))).depth_back(
            np.ones((10, 10), np.float32)
        )


def test_what_of_a_pinhole_a_narrower_camera_shows() -> None:
    pinhole = Camera(64, 32, 50.0, 50.0, 31.5, 15.5)
    assert Rectified(pinhole, pinhole).seen == 1
    assert Rectified(pinhole.resized(640, 320), pinhole).seen == 1
    half = Camera(64, 32, 100.0, 50.0, 31.5, 15.5)
    assert Rectified(half, pinhole).seen == pytest.approx(0.5, abs=0.02)
