"""Pictures that show no mapped place: blank walls, noise, black, photos of other buildings."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.synthetic.sensor import SensorSpec, expose
from vloc_models.geometry.camera import Camera
from vloc_models.records import View

CAMERA = Camera(640, 480, 500.0, 500.0, 319.5, 239.5)
_PHOTO_FOCAL = 0.8  # of a photo's width: what phones have; photos tell none


def blank_walls(count: int) -> Iterator[View]:
    """A wall of one colour, unevenly lit, as a webcam sees it."""
    rng, y, x = np.random.default_rng(31), *np.mgrid[-1:1:480j, -1:1:640j]
    for i in range(count):
        slope, colour = rng.uniform(-0.5, 0.5, 2), rng.uniform(0.1, 0.9, 3)
        spot = 0.5 * np.exp(-((x - rng.normal()) ** 2) - (y - rng.normal()) ** 2)
        light = np.maximum(1 + slope[0] * x + slope[1] * y + spot, 0.05)[..., None] * colour
        image = expose(light.astype(np.float32), SensorSpec(), float(i), rng)
        yield View(image, CAMERA, np.eye(4))


def noise_and_black(count: int) -> Iterator[View]:
    """In turn: noise of each pixel, noise of some size, black with the sensor's noise, white."""
    rng = np.random.default_rng(32)
    for i in range(count):
        yield View(_noise(i, rng), CAMERA, np.eye(4))


def _noise(i: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    shape = (CAMERA.height, CAMERA.width)
    if i % 4 == 0:
        return rng.integers(0, 256, (*shape, 3), np.uint8)
    if i % 4 == 1:
        field = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 1 + i % 20)
        grey = np.clip(128 + 60 * field / field.std(), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, 2)
    if i % 4 == 2:
        return expose(np.full((*shape, 3), 1e-5, np.float32), SensorSpec(), float(i), rng)
    return np.full((*shape, 3), 255 - i % 8, np.uint8)


def photos(folder: Path, count: int) -> Iterator[View]:
    """Photos of a folder, evenly chosen."""
    files = sorted(folder.glob('*.jpg'))
    for file in files[:: max(1, len(files) // count)][:count]:
        image = np.asarray(cv2.imread(str(file), cv2.IMREAD_COLOR_RGB), np.uint8)
        height, width = image.shape[:2]
        focal = _PHOTO_FOCAL * width
        camera = Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
        yield View(image, camera, np.eye(4))
