"""What a camera makes of the light: motion blur, auto exposure, vignette, noise, bytes."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
Light = NDArray[np.float32]


@dataclass(frozen=True)
class SensorSpec:
    """A camera's imperfections; the defaults are a cheap webcam's."""

    exposure_s: float = 0.016  # motion blur lasts this long
    auto_exposure: float = 0.75  # 0: fixed gain, 1: every image is equally bright
    target: float = 0.16  # mean linear brightness aimed at
    drift: float = 0.12  # slow random change of the gain, relative
    shot_noise: float = 0.011  # standard deviation at full white and gain 1, linear
    read_noise: float = 0.003  # at black and gain 1
    vignette: float = 0.25  # light lost in the corners
    lens_blur_px: float = 0.55  # standard deviation


_FLOW_STRIDE = 4  # pixels between the places where the flow is worked out


def motion_blur(
    light: Light,  # [H, W, 3]
    points_cam: NDArray[np.float32],  # [H, W, 3] what each pixel sees, camera frame
    camera: Camera,
    twist: Array,  # [6] of the camera in its own frame, metres and radians a second
    exposure_s: float,
) -> Light:
    """The mean of the picture along each pixel's path during the exposure."""
    part = slice(None, None, _FLOW_STRIDE)
    moved = se3.apply(se3.exp(-twist * exposure_s), points_cam[part, part].astype(np.float64))
    flow = np.nan_to_num(camera.project(moved) - camera.pixel_grid()[part, part])
    taps = int(np.clip(np.ceil(np.percentile(np.abs(flow), 99)), 1, 7))
    if taps == 1:
        return light
    flow = cv2.resize(flow.astype(np.float32), (camera.width, camera.height))
    grid = _grid(camera.width, camera.height)
    total = np.zeros_like(light)
    for k in range(taps):
        at = grid - flow * np.float32((k + 0.5) / taps - 0.5)
        total += cv2.remap(
            light, at[..., 0], at[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    total /= taps
    return total


@lru_cache(maxsize=4)
def _grid(width: int, height: int) -> NDArray[np.float32]:
    u, v = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([u, v], -1)


def expose(
    light: Light, spec: SensorSpec, time_s: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Linear light [H, W, 3] to an sRGB image, with this moment's gain and noise."""
    if spec.lens_blur_px > 0:
        light = np.asarray(cv2.GaussianBlur(light, (5, 5), spec.lens_blur_px), np.float32)
    mean = max(float(np.minimum(light, 4 * light.mean()).mean()), 1e-4)
    wobble = 1 + spec.drift * np.sin(0.7 * time_s + 2 * np.sin(0.13 * time_s))
    gain = np.float32((spec.target / mean) ** spec.auto_exposure * wobble)
    signal = light * (gain * _vignette(light.shape[0], light.shape[1], spec.vignette))
    # less light, more gain: the same electrons fluctuate more (shot noise goes with its root)
    shot, read = spec.shot_noise**2 * float(gain), (spec.read_noise * float(gain)) ** 2
    sigma = np.sqrt(np.float32(shot) * signal + np.float32(read))
    signal += sigma * _noise(rng, light.shape[0], light.shape[1])
    return _to_srgb(signal)


_SPARE = 97  # how far the noise can be shifted


def _noise(rng: np.random.Generator, height: int, width: int) -> Light:
    """Unit noise [H, W, 3]: a random part of a fixed field, mirrored at random."""
    (y, x), signs = rng.integers(_SPARE, size=2), rng.choice([-1, 1], size=2)
    return _noise_field(height, width)[y : y + height, x : x + width][:: signs[0], :: signs[1]]


@lru_cache(maxsize=4)
def _noise_field(height: int, width: int) -> Light:
    shape = (height + _SPARE, width + _SPARE, 3)
    return np.random.default_rng(14).standard_normal(shape, np.float32)


@lru_cache(maxsize=4)
def _vignette(height: int, width: int, loss: float) -> NDArray[np.float32]:
    v, u = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return (1 - loss * ((u**2 + v**2) / 2) ** 1.5).astype(np.float32)[..., None]


_STEPS = 4096
_X = np.arange(_STEPS) / (_STEPS - 1)
_SRGB = np.where(_X <= 0.0031308, 12.92 * _X, 1.055 * _X ** (1 / 2.4) - 0.055)
_BYTES = (_SRGB * 255 + 0.5).astype(np.uint8)


def _to_srgb(linear: Light) -> NDArray[np.uint8]:
    return np.take(_BYTES, (np.clip(linear, 0, 1) * np.float32(_STEPS - 1)).astype(np.int16))
