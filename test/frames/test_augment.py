from dataclasses import replace

import cv2
import numpy as np
import pytest

from vloc_models.frames.augment import (
    Affine,
    Colour,
    Photometric,
    affine,
    apply_homography,
    colour_jitter,
    cover,
    moved_on_noise,
    photometric,
    to_grey,
    turned_on_the_spot,
    warp,
)
from vloc_models.geometry import se3

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


def test_patches_are_smooth_light_and_dark() -> None:
    """As factors: a picture twice as bright changes twice as much."""
    config, factors = replace(NOTHING, patches=0.4), []
    for seed in range(20):
        dim, bright = (
            photometric(np.full((48, 64), level, np.uint8), config, rng(seed)).astype(float)
            for level in (50, 100)
        )
        clear = bright < 255
        assert clear.mean() > 0.5
        assert np.abs(bright - 2 * dim)[clear].max() <= 2.01
        factor = bright / 100
        assert np.abs(np.diff(factor, axis=0)).max() < 0.25
        assert np.abs(np.diff(factor, axis=1)).max() < 0.25
        factors.append(factor)
    assert np.median(factors) == pytest.approx(1, abs=0.1)
    assert np.mean([np.ptp(f) > 0.2 for f in factors]) > 0.7
    assert min(f.min() for f in factors) < 0.7
    assert max(f.max() for f in factors) > 1.4


def sharpness(config: Photometric) -> float:
    """How much there is of the finest detail, on average."""
    pictures = [photometric(GREY, config, rng(seed)) for seed in range(40)]
    return float(np.mean([cv2.Laplacian(p, cv2.CV_64F).std() for p in pictures]))


def test_shrinking_loses_detail_in_its_share_of_the_pictures() -> None:
    np.testing.assert_array_equal(
        photometric(GREY, replace(NOTHING, shrink=4.0), rng()), photometric(GREY, NOTHING, rng())
    )
    always = replace(NOTHING, share=1.0, blur_px=0.0, motion_px=2.0, noise=0.0, jpeg=(95, 96))
    kept, some, more = (sharpness(replace(always, shrink=s)) for s in (1.0, 2.0, 4.0))
    assert more < 0.9 * some < 0.8 * kept


@pytest.mark.parametrize('size', [(1, 1), (2, 50), (31, 45)])
def test_small_pictures_keep_their_size(size: tuple[int, int]) -> None:
    config = replace(Photometric(), share=1.0, patches=0.4, shrink=9.0)
    for seed in range(5):
        picture = rng(seed).integers(0, 256, size, np.uint8)
        assert photometric(picture, config, rng(seed)).shape == size


def test_a_cover_hides_exactly_what_it_says() -> None:
    """Black and white behind the same blocks are the same where hidden, and differ elsewhere."""
    for seed in range(50):
        black, white = (np.full((48, 64), level, np.uint8) for level in (0, 255))
        (over_black, hidden), (over_white, again) = (
            cover(picture, 0.6, rng(seed)) for picture in (black, white)
        )
        np.testing.assert_array_equal(hidden, again)
        np.testing.assert_array_equal(hidden, over_black == over_white)
        assert not black.any()  # the pictures given are as they were
        assert (white == 255).all()
        assert (over_black[~hidden] == 0).all()
        assert hidden.any()


def test_a_cover_is_of_a_few_blocks_within_their_share() -> None:
    """One to three; their sides are a tenth to ``most`` of the picture's."""
    alone, seen = 0, np.zeros((100, 200), bool)
    for seed in range(300):
        hidden = cover(np.zeros((100, 200), np.uint8), 0.3, rng(seed))[1]
        count, _, boxes, _ = cv2.connectedComponentsWithStats(hidden.astype(np.uint8))
        assert 1 <= count - 1 <= 3
        assert hidden.sum() <= 3 * 30 * 60
        for left, top, wide, tall, area in boxes[1:].tolist():
            if wide * tall == area:  # else several overlap
                alone += 1
                inside = left > 0 and top > 0 and left + wide < 200 and top + tall < 100
                assert not inside or (wide >= 20 and tall >= 10)
                assert wide <= 60 or count < 4
        seen |= hidden
    assert alone > 200
    assert seen.all()  # anywhere
    assert 0.03 < hidden_share(0.3) < hidden_share(0.6) / 1.5 < 0.3


def hidden_share(most: float) -> float:
    picture = np.zeros((60, 80), np.uint8)
    return float(np.mean([cover(picture, most, rng(seed))[1].mean() for seed in range(200)]))


def test_grey_is_that_of_opencv() -> None:
    image = rng().integers(0, 256, (20, 30, 3), np.uint8)
    grey = to_grey(image)
    np.testing.assert_array_equal(grey, cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    expected = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - expected).max() <= 0.51


def test_colours_change_and_shapes_stay() -> None:
    image = rng().integers(0, 256, (40, 50, 3)).astype(np.uint8)
    before = image.copy()
    found = colour_jitter(image, Colour(), rng(1))
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    assert (image == before).all()
    assert 3 < np.abs(found.astype(int) - image).mean() < 60
    assert np.corrcoef(found.mean(2).ravel(), image.mean(2).ravel())[0, 1] > 0.9


def test_no_change_of_colours_is_none() -> None:
    image = rng().integers(0, 256, (40, 50, 3)).astype(np.uint8)
    found = colour_jitter(image, Colour(0, 0, 0, 0), rng(1))
    assert np.abs(found.astype(int) - image).max() <= 1


def test_grey_stays_grey_in_other_colours() -> None:
    grey = np.repeat(rng().integers(0, 256, (40, 50, 1)), 3, 2)
    found = colour_jitter(grey.astype(np.uint8), Colour(), rng(2))
    assert np.ptp(found.astype(int), axis=2).max() <= 1


SIZE = 96, 72


def test_affine_maps_stay_within_what_was_asked() -> None:
    """Taken apart again: the middle's shift, the turn, the zoom and the shear."""
    config, generator = Affine(0.2, 30, (0.7, 1.5), 10), rng()
    found = list[list[float]]()
    for _ in range(300):
        H = affine(*SIZE, config, generator)
        np.testing.assert_array_equal(H[2], [0, 0, 1])
        middle = (np.array(SIZE) - 1) / 2
        back = np.asarray(np.linalg.inv(H), np.float64)
        shown = apply_homography(back, middle[None])[0]  # where the middle is now
        turn = np.arctan2(H[1, 0], H[0, 0])
        zoom = 1 / np.hypot(H[0, 0], H[1, 0])
        straight = [[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]] @ H[:2, :2] * zoom
        np.testing.assert_allclose(straight[:, 0], [1, 0], atol=1e-9)
        assert straight[1, 1] == pytest.approx(1)
        shear = np.degrees(np.arctan(straight[0, 1]))
        found.append([*(shown - middle) / SIZE, np.degrees(turn), zoom, shear])
    low, high = np.min(found, 0), np.max(found, 0)
    np.testing.assert_array_less([-0.2, -0.2, -30, 0.7, -10], low + 1e-9)
    np.testing.assert_array_less(high - 1e-9, [0.2, 0.2, 30, 1.5, 10])
    np.testing.assert_array_less([0.35, 0.35, 55, 0.7, 18], high - low)  # and all of it


def test_nothing_asked_for_moves_nothing() -> None:
    still = Affine(0, 0, (1, 1), 0, 0)
    H = affine(*SIZE, still, rng())
    np.testing.assert_allclose(H, np.eye(3), atol=1e-12)
    image = np.random.default_rng(1).integers(0, 256, (72, 96, 3), np.uint8)
    moved = moved_on_noise(image, H, still, np.random.default_rng(0))
    np.testing.assert_array_equal(moved, image)


def test_what_lies_outside_is_noise() -> None:
    """Of all values, another one each time; the picture itself is where it should be."""
    image = np.full((72, 96, 3), 100, np.uint8)
    H = np.array([[1, 0, 30.0], [0, 1, 0], [0, 0, 1]])  # 30 columns come from beyond the right
    still = Affine(brightness=0)
    one, other = (moved_on_noise(image, H, still, np.random.default_rng(k)) for k in (0, 1))
    assert (one[:, :65] == 100).all()
    noise = one[:, 67:]
    assert (noise == other[:, 67:]).mean() < 0.02
    assert noise.min() < 5
    assert noise.max() > 250
    assert 60 < noise.std() < 90


@pytest.mark.parametrize(('grey', 'most'), [(0, 20), (128, 20), (255, 20), (250, 3)])
def test_brightness_does_not_wrap_around(grey: int, most: int) -> None:
    image, seen = np.full((8, 8, 3), grey, np.uint8), set[int]()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        lit = moved_on_noise(image, np.eye(3), Affine(brightness=most), rng)
        assert lit.dtype == np.uint8
        assert len(np.unique(lit)) == 1  # the whole picture alike
        seen.add(int(lit[0, 0, 0]))
    assert min(seen) == max(0, grey - most)
    assert max(seen) == min(255, grey + most)


def test_labels_turn_without_being_mixed() -> None:
    labels = np.zeros((32, 48), np.uint8)
    labels[10:20, 12:30] = 9
    K = np.array([[40.0, 0, 23.5], [0, 40, 15.5], [0, 0, 1]])
    turn = se3.exp([0, 0, 0, 0.02, 0.1, 0.03])
    found = turned_on_the_spot(labels, K, turn, smooth=False)
    assert set(np.unique(found)) == {0, 9}
    smooth = turned_on_the_spot(labels, K, turn)
    assert len(np.unique(smooth)) > 2
    assert ((smooth > 4) == (found > 4)).mean() > 0.97
    # turned to the right by 0.1 rad, what was there is 40 px * 0.1 further left
    moved = np.nonzero(found)[1].mean() - np.nonzero(labels)[1].mean()
    assert -5 < moved < -3
