import io

import numpy as np
import pytest
from PIL import Image

from vloc_models.errors import VlocError
from vloc_models.metrics import pictures


def test_points_are_drawn() -> None:
    grey = np.full((100, 160, 3), 128, np.uint8)
    pixels = np.array([[20.0, 20], [60, 20], [100, 20], [140, 20], [20, 80]])
    seen = np.array([[23.0, 20], [60, 26], [1e300, 20], [np.nan, np.nan], [np.inf, 80]])
    out = pictures.draw_points(grey, pixels, seen, np.array([True, False, False, False, False]))
    assert (grey == 128).all()  # the picture given stays as it is
    green, red = (40, 190, 90), (235, 60, 30)
    assert tuple(out[20, 23]) == green
    assert tuple(out[20, 20]) == (128, 128, 128)
    assert tuple(out[26, 60]) == red
    np.testing.assert_allclose(out[21, 60], red, atol=30)  # the line from its cell
    np.testing.assert_allclose(out[20, 108], red, atol=30)  # as long as fits
    assert tuple(out[20, 115]) == (128, 128, 128)
    assert tuple(out[20, 140]) == red  # nowhere: at its cell
    assert (out[85:] == 128).all()


def test_no_points_and_wrong_shapes() -> None:
    grey, none = np.full((10, 16, 3), 128, np.uint8), np.zeros((0, 2))
    assert (pictures.draw_points(grey, none, none, np.zeros(0, bool)) == grey).all()
    with pytest.raises(VlocError, match='reprojected'):
        pictures.draw_points(grey, np.zeros((2, 2)), none, np.zeros(2, bool))


def test_a_picture_becomes_a_small_jpeg() -> None:
    red = np.zeros((90, 200, 3), np.uint8)
    red[..., 0] = 200
    for width, size in ((100, (100, 45)), (1000, (200, 90))):
        with Image.open(io.BytesIO(pictures.jpeg(red, width))) as image:
            assert image.size == size
            r, g, b = np.asarray(image).mean((0, 1))
            assert r > 190
            assert max(g, b) < 10


def test_a_caption_leaves_the_rest_as_it_is() -> None:
    grey = np.full((120, 320, 3), 128, np.uint8)
    out = pictures.caption(grey, 'accepted: 40 % inliers', True)
    assert (grey == 128).all()
    assert (out[20:] == 128).all()
    assert out[:10].std() > 5
    assert (pictures.caption(grey[:2, :3], 'x', False).shape) == (2, 3, 3)
