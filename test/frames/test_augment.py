import cv2
import numpy as np
import pytest

from vloc_models.frames.augment import (
    Photometric,
    apply_homography,
    photometric,
    to_grey,
    warp,
)

NOTHING = Photometric(gamma=1, contrast=0, brightness=0, shading=0, share=0)
GREY = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_identity_changes_nothing() -> None:
    np.testing.assert_array_equal(warp(GREY, np.eye(3), 64, 48), GREY)


def test_a_shift_by_whole_pixels_is_exact_and_mirrors_outside() -> None:
    H = np.array([[1.0, 0, 5], [0, 1, -3], [0, 0, 1]])  # the view's pixel p shows p + (5, -3)
    out = warp(GREY, H, 64, 48)
    np.testing.assert_array_equal(out[3:, :-5], GREY[:-3, 5:])
    np.testing.assert_array_equal(out[2], out[4])


def test_warp_and_apply_homography_agree() -> None:
    """A dot is seen in the view where the inverse homography puts it."""
    H = np.array([[0.8, 0.1, 9], [-0.1, 0.7, 12], [3e-4, -2e-4, 1]])
    dot = np.array([[31.0, 24.0]])
    source = np.zeros((48, 64), np.uint8)
    source[22:27, 29:34] = cv2.getGaussianKernel(5, 1) @ cv2.getGaussianKernel(5, 1).T * 1500
    seen = warp(source, H, 64, 48).astype(float)
    v, u = np.mgrid[:48, :64]
    middle = np.array([(seen * u).sum(), (seen * v).sum()]) / seen.sum()
    expected = apply_homography(np.linalg.inv(H), dot)[0]
    np.testing.assert_allclose(middle, expected, atol=0.1)


def test_apply_homography_is_that_of_opencv() -> None:
    H = np.array([[0.8, 0.1, 9], [-0.1, 0.7, 12], [3e-4, -2e-4, 1]])
    pixels = rng().uniform(-10, 80, (50, 2))
    expected = cv2.perspectiveTransform(pixels[:, None], H)[:, 0]
    np.testing.assert_allclose(apply_homography(H, pixels), expected, atol=1e-9)


def test_photometric_keeps_shape_and_repeats_with_the_seed() -> None:
    outs = []
    for seed in range(25):
        out = photometric(GREY, Photometric(), rng(seed))
        assert out.shape == GREY.shape
        assert out.dtype == np.uint8
        np.testing.assert_array_equal(out, photometric(GREY, Photometric(), rng(seed)))
        outs.append(out)
    assert len({out.tobytes() for out in outs}) == 25


def test_without_strength_nothing_changes_but_rounding() -> None:
    out = photometric(GREY, NOTHING, rng())
    assert np.abs(out.astype(int) - GREY).max() <= 1


@pytest.mark.parametrize('value', [0, 255])
def test_extreme_pictures_stay_pictures(value: int) -> None:
    flat = np.full((31, 45), value, np.uint8)
    for seed in range(10):
        out = photometric(flat, Photometric(share=1), rng(seed))
        assert out.shape == flat.shape


def test_brightness_and_gamma_reach_their_ends() -> None:
    flat = np.full((8, 8), 128, np.uint8)
    bright = Photometric(gamma=1, contrast=0, brightness=40, shading=0, share=0)
    seen = [int(photometric(flat, bright, rng(s))[0, 0]) for s in range(200)]
    assert 87 <= min(seen) < 92
    assert 164 < max(seen) <= 168
    gamma = Photometric(gamma=2, contrast=0, brightness=0, shading=0, share=0)
    seen = [int(photometric(flat, gamma, rng(s))[0, 0]) for s in range(200)]
    assert 63 <= min(seen) < 67  # 255 x 0.502^2
    assert 177 < max(seen) <= 181  # 255 x 0.502^0.5


def test_grey_is_that_of_opencv() -> None:
    image = rng().integers(0, 256, (20, 30, 3), np.uint8)
    grey = to_grey(image)
    np.testing.assert_array_equal(grey, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    expected = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - expected).max() <= 0.51
