"""Pictures as other cameras, in other light, would have taken them; for training."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue


@dataclass(frozen=True)
class Photometric:
    """How strongly pictures are changed; every range is drawn from anew for each picture."""

    gamma: float = 2.0  # exponent up to this or down to its inverse
    contrast: float = 0.4  # stronger or weaker by up to this share
    brightness: float = 40.0  # grey levels
    shading: float = 0.4  # lighter on one side than on the other by this
    blur_px: float = 1.5  # sigma
    motion_px: float = 7.0  # length of a motion blur
    noise: float = 10.0  # sigma in grey levels
    jpeg: tuple[int, int] = (30, 95)  # quality
    share: float = 0.4  # of the pictures that get each of blur, motion, noise and jpeg
    patches: float = 0.0  # strength of light and dark patches, as of lamps: exponent of e
    shrink: float = 1.0  # resolution is lost by up to this factor, in the same share


def photometric(image: Grey, config: Photometric, rng: np.random.Generator) -> Grey:
    """``image`` [H, W] in other light, through another lens, on another sensor."""
    x = image.astype(np.float32) / 255
    x = x ** np.float32(config.gamma ** rng.uniform(-1, 1))
    x *= _shading(image.shape, config.shading, rng)
    if config.patches:
        x *= _patches(image.shape, config.patches, rng)
    x = (x - x.mean()) * np.float32(1 + rng.uniform(-1, 1) * config.contrast) + x.mean()
    x = x * 255 + np.float32(rng.uniform(-1, 1) * config.brightness)
    blur, motion, noise, jpeg = rng.random(4) < config.share
    if config.shrink > 1 and rng.random() < config.share:
        x = _coarser(x, rng.uniform(1, config.shrink))
    if blur:
        x = cv2.GaussianBlur(x, (0, 0), 0.3 + rng.uniform(0, config.blur_px))
    if motion:
        x = cv2.filter2D(x, -1, _motion(rng.uniform(2, config.motion_px), rng.uniform(0, np.pi)))
    if noise:
        x = x + rng.standard_normal(x.shape, np.float32) * rng.uniform(0, config.noise)
    out = np.clip(x, 0, 255).astype(np.uint8)
    if jpeg:
        quality = int(rng.integers(*config.jpeg))
        out = cv2.imdecode(cv2.imencode('.jpg', out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)
    return np.asarray(out, np.uint8)


def _shading(
    shape: tuple[int, ...], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """A plane of factors around 1 that rises in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    v, u = np.mgrid[-0.5 : 0.5 : shape[0] * 1j, -0.5 : 0.5 : shape[1] * 1j]
    slope = rng.uniform(0, strength)
    return (1 + slope * (np.cos(angle) * u + np.sin(angle) * v)).astype(np.float32)


def _patches(
    shape: tuple[int, ...], strength: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Smooth factors around 1 that vary a few times across the picture."""
    rows, columns = rng.integers(2, 6, 2)
    few = rng.normal(0, rng.uniform(0, strength), (rows, columns)).astype(np.float32)
    smooth = cv2.resize(few, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.exp(smooth), np.float32)


def _coarser(x: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    h, w = x.shape
    size = max(1, round(w / factor)), max(1, round(h / factor))
    small = cv2.resize(x, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def cover(image: Grey, most: float, rng: np.random.Generator) -> tuple[Grey, NDArray[np.bool_]]:
    """``image`` [H, W] behind a few flat or noisy blocks, and which pixels they hide.

    Args:
        image: left as it is.
        most: of the picture that a block hides, as a share of each side.
        rng: where the blocks are and what they look like.
    """
    shown, hidden = image.copy(), np.zeros(image.shape, bool)
    h, w = image.shape
    for _ in range(int(rng.integers(1, 4))):
        tall, wide = (rng.uniform(0.1, most, 2) * [h, w]).astype(int)
        top, left = int(rng.integers(-tall // 2, h - tall // 2)), int(rng.integers(-wide // 2, w))
        block = np.s_[max(0, top) : max(0, top + tall), max(0, left) : max(0, left + wide)]
        noise = rng.normal(rng.uniform(0, 255), rng.uniform(0, 60), (8, 8)).clip(0, 255)
        side = max(1, wide), max(1, tall)
        texture = cv2.resize(noise.astype(np.uint8), side, interpolation=cv2.INTER_NEAREST)
        part = shown[block]
        shown[block] = texture[: part.shape[0], : part.shape[1]]
        hidden[block] = True
    return shown, hidden


def _motion(length_px: float, angle: float) -> NDArray[np.float32]:
    """The kernel of a straight motion."""
    half = int(np.ceil(length_px / 2))
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    t = np.linspace(-length_px / 2, length_px / 2, 8 * half)
    u, v = (np.round(t * f).astype(int) + half for f in (np.cos(angle), np.sin(angle)))
    np.add.at(kernel, (v, u), 1)
    return kernel / kernel.sum()


def warp(
    image: NDArray[np.uint8], H_image_view: Array, width: int, height: int, smooth: bool = True
) -> Grey:
    """The picture [height, width] whose pixel p shows ``image`` at ``H_image_view @ p``.

    Outside the picture its edge is mirrored. Labels must not be smooth, but the nearest ones.
    """
    flags = (cv2.INTER_LINEAR if smooth else cv2.INTER_NEAREST) | cv2.WARP_INVERSE_MAP
    out = cv2.warpPerspective(
        image, H_image_view, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(out, np.uint8)


def turned_on_the_spot(
    image: NDArray[np.uint8], K: Array, T_cam_turned: Array, smooth: bool = True
) -> NDArray[np.uint8]:
    """What a pinhole camera sees after it was turned: exact, whatever the depth.

    Args:
        image: [H, W] or [H, W, C], before.
        K: [3, 3] its matrix.
        T_cam_turned: [4, 4] a rotation; ``T_map_cam @ T_cam_turned`` is where it is after.
        smooth: as of ``warp``.
    """
    H = K @ T_cam_turned[:3, :3] @ np.linalg.inv(K)
    return warp(image, H, image.shape[1], image.shape[0], smooth)


@dataclass(frozen=True)
class Affine:
    """How far pictures are moved, turned, zoomed and sheared; HSCNet's (section 4.1)."""

    shift: float = 0.2  # of the picture's size, each way
    turn_deg: float = 30.0
    zoom: tuple[float, float] = (0.7, 1.5)
    shear_deg: float = 10.0
    brightness: int = 20  # grey levels, up or down


def affine(width: int, height: int, config: Affine, rng: np.random.Generator) -> Array:
    """A random map [3, 3] from the moved picture's pixels to the picture's."""
    turn, shear = np.radians(rng.uniform(-1, 1, 2) * [config.turn_deg, config.shear_deg])
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    A = R @ np.array([[1, np.tan(shear)], [0, 1]]) / rng.uniform(*config.zoom)
    middle = (np.array([width, height]) - 1) / 2
    shift = rng.uniform(-1, 1, 2) * config.shift * [width, height]
    H = np.eye(3)
    H[:2, :2], H[:2, 2] = A, middle - A @ (middle + shift)
    return H


def moved_on_noise(
    image: NDArray[np.uint8], H_image_view: Array, config: Affine, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """``image`` [H, W, 3] moved, lighter or darker; what lies outside of it is noise."""
    size = image.shape[1], image.shape[0]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    lit = image.astype(np.int16) + rng.integers(-config.brightness, config.brightness + 1)
    moved = cv2.warpPerspective(lit.clip(0, 255).astype(np.uint8), H_image_view, size, flags=flags)
    inside = cv2.warpPerspective(
        np.ones(image.shape[:2], np.uint8), H_image_view, size, flags=cv2.WARP_INVERSE_MAP
    )
    noise = rng.integers(0, 256, image.shape, np.uint8)
    return np.where(inside[..., None] > 0, moved, noise).astype(np.uint8)


def apply_homography(H: Array, pixels: Array) -> Array:
    """``pixels`` [N, 2] through ``H`` [3, 3]."""
    p = pixels @ H[:, :2].T + H[:, 2]
    return p[:, :2] / p[:, 2:]


def to_grey(image: NDArray[np.uint8]) -> Grey:
    """RGB [H, W, 3] as grey [H, W] (ITU-R BT.601, as the engines' graphs have it)."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)


@dataclass(frozen=True)
class Colour:
    """How strongly colours are changed: every factor from 1 - x to 1 + x."""

    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.1  # of the full circle


def colour_jitter(
    image: NDArray[np.uint8], config: Colour, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """``image`` [H, W, 3] RGB in other colours."""
    change = rng.uniform(-1, 1, 4)
    x = image.astype(np.float32) * np.float32(1 + config.brightness * change[0])
    grey = x @ _GREY
    x = grey.mean() + (x - grey.mean()) * np.float32(1 + config.contrast * change[1])
    grey = (x @ _GREY)[..., None]
    x = grey + (x - grey) * np.float32(1 + config.saturation * change[2])
    hsv = cv2.cvtColor(np.clip(x / 255, 0, 1), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0] + 360 * config.hue * change[3]) % 360
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255 + 0.5, np.uint8)
