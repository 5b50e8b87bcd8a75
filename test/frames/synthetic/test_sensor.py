import numpy as np
import pytest

from vloc_models.frames.synthetic.sensor import SensorSpec, expose, motion_blur
from vloc_models.geometry.camera import Camera

CAMERA = Camera(160, 120, 130, 130, 79.5, 59.5)
QUIET = SensorSpec(shot_noise=0, read_noise=0, vignette=0, lens_blur_px=0, drift=0)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_auto_exposure_evens_out_bright_and_dark() -> None:
    scene = np.random.default_rng(1).uniform(0.5, 1, (120, 160, 3)).astype(np.float32)
    full = SensorSpec(**{**vars(QUIET), 'auto_exposure': 1.0})
    bright, dark = expose(scene * 9, full, 0, rng()), expose(scene * 0.1, full, 0, rng())
    assert np.abs(bright.astype(int) - dark).max() <= 1
    fixed = SensorSpec(**{**vars(QUIET), 'auto_exposure': 0.0})
    assert expose(scene * 0.1, fixed, 0, rng()).mean() < expose(scene, fixed, 0, rng()).mean() / 2


def test_noise_grows_with_light_and_repeats_with_the_seed() -> None:
    grey = np.full((120, 160, 3), 0.16, np.float32)
    spec = SensorSpec(vignette=0, lens_blur_px=0, drift=0)
    image = expose(grey, spec, 0, rng())
    np.testing.assert_array_equal(image, expose(grey, spec, 0, rng()))
    assert 0.5 < image.std() < 6
    dark = SensorSpec(vignette=0, lens_blur_px=0, drift=0, shot_noise=0)
    assert expose(grey, dark, 0, rng()).std() < image.std()


def test_motion_blur_smears_along_the_motion_only() -> None:
    light = np.zeros((120, 160, 3), np.float32)
    light[:, 80:] = 1  # an upright edge
    points = CAMERA.unproject(CAMERA.pixel_grid()).astype(np.float32) * 2
    turning = np.array([0, 0, 0, 0, 1.0, 0])  # yaw: 1 rad/s for 0.05 s is 6.5 px
    blurred = motion_blur(light, points, CAMERA, turning, 0.05)
    soft = ((blurred > 0.05) & (blurred < 0.95))[60, :, 0].sum()
    assert soft == pytest.approx(6.5, abs=2)
    nodding = np.array([0, 0, 0, 1.0, 0, 0])
    along = motion_blur(light, points, CAMERA, nodding, 0.05)
    assert ((along > 0.05) & (along < 0.95))[60, :, 0].sum() <= 2
    np.testing.assert_array_equal(motion_blur(light, points, CAMERA, np.zeros(6), 0.05), light)


def test_dark_pictures_are_noisier() -> None:
    grey = np.full((120, 160, 3), 0.16, np.float32)
    spec = SensorSpec(vignette=0, lens_blur_px=0, drift=0, auto_exposure=1.0)
    light, dark = (expose(x, spec, 0, rng()) for x in (grey, grey * 0.1))
    assert dark.mean() == pytest.approx(light.mean(), abs=2)
    assert dark.std() > 2 * light.std()
