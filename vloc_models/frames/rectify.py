"""A picture as a pinhole camera of a small size would have seen it, and depth carried back.

The pinhole looks the same way from the same place, so depth (z) is the same number in both. It
sees the largest upright rectangle that the picture fills, and no more than a pinhole can show
without drawing its borders out.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.checks import check_shape
from vloc_models.errors import BagError, VlocError
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
_MULTIPLE = 32  # networks halve the picture five times
_WIDEST = np.tan(np.radians(55))  # further out a pinhole's pixels see next to nothing
_NARROWEST = 1e-2  # half a degree to each side is no picture
_SAME_SURFACE = 0.1  # depths that differ by less are interpolated between
_IGNORE = 255  # the label of pixels outside
_FINE = 0.6  # pictures that are made smaller than so are shrunk by areas first


def size_for(camera: Camera, short_side_px: int) -> tuple[int, int]:
    """Width and height of about the camera's shape, multiples of 32.

    Args:
        camera: of any model.
        short_side_px: about how many pixels the shorter side has.

    Raises:
        VlocError: if the size makes no sense.
    """
    if short_side_px < _MULTIPLE:
        raise VlocError(f'pictures of {short_side_px} px are too small', f'give {_MULTIPLE} px')
    scale = short_side_px / min(camera.width, camera.height)
    width, height = (
        max(1, round(side * scale / _MULTIPLE)) * _MULTIPLE
        for side in (camera.width, camera.height)
    )
    return width, height


def pinhole_for(camera: Camera, size: tuple[int, int]) -> Camera:
    """The pinhole camera that sees as much as sensible of what ``camera`` sees.

    Args:
        camera: of any model.
        size: width and height of its pictures; another shape has pixels that are not square.

    Raises:
        BagError: if the lens model tells no field of view around the optical axis.
    """
    along = np.linspace(0, 1, 65)
    u, v = along * camera.width - 0.5, along * camera.height - 0.5
    least, most = np.full_like(u, -0.5), np.ones_like(u)
    left = _nearest(camera, np.stack([least, v], 1), 0, -1)
    right = _nearest(camera, np.stack([most * camera.width - 0.5, v], 1), 0, 1)
    top = _nearest(camera, np.stack([u, least], 1), 1, -1)
    bottom = _nearest(camera, np.stack([u, most * camera.height - 0.5], 1), 1, 1)
    if min(left, right, top, bottom) < _NARROWEST:
        raise BagError(
            f'camera {camera.width}x{camera.height} ({camera.model}): its lens model sees nothing '
            'around the optical axis',
            'calibrate the camera and publish a valid camera_info, or give it with --camera',
        )
    width, height = size
    fx, fy = width / (left + right), height / (top + bottom)
    return Camera(width, height, fx, fy, fx * left - 0.5, fy * top - 0.5)


def _nearest(camera: Camera, border: Array, axis: int, sign: int) -> float:
    """How far out, at a depth of one, the picture reaches everywhere along a border [N, 2].

    Where no ray lands on the border, the lens sees further than its model, or than we do.
    """
    out = sign * camera.unproject(border)[:, axis]
    out = out[np.isfinite(out)]
    return float(min(out.min(initial=np.inf), _WIDEST))


@dataclass(frozen=True, eq=False)
class Rectified:
    """Carries pictures of one camera to its pinhole, and depth back."""

    camera: Camera
    pinhole: Camera

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture [H, W] or [H, W, C] as the pinhole sees it; nothing is left black."""
        self._check(image, self.camera, 'image')
        source, at = self._shrunk
        if source is not self.camera:
            size = source.width, source.height
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        u, v = at
        border = cv2.BORDER_REPLICATE
        return np.asarray(cv2.remap(image, u, v, cv2.INTER_LINEAR, borderMode=border), np.uint8)

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The classes [H, W] as the pinhole sees them, nearest; 255 outside."""
        self._check(labels, self.camera, 'labels')
        inside: NDArray[np.bool_] = _within(self.pixels, self.camera)
        u, v = np.moveaxis(self.pixels.round().astype(int), -1, 0) * inside
        return np.where(inside, labels[v, u], _IGNORE).astype(np.uint8)

    def depth_back(self, depth: NDArray[np.floating]) -> NDArray[np.float32]:
        """Depth [H, W] of the camera's pixels from the pinhole's [h, w]; NaN outside.

        Linear between pixels of one surface, the nearest pixel's across edges and beside NaN.
        """
        self._check(depth, self.pinhole, 'depth')
        uv, inside = self._back
        limit = np.array([self.pinhole.width - 1, self.pinhole.height - 1])
        at = np.clip(uv, 0, limit)
        low = np.minimum(at.astype(int), limit - 1)
        (a, b), (u, v) = np.moveaxis(at - low, -1, 0), np.moveaxis(low, -1, 0)
        four = np.stack([depth[v, u], depth[v, u + 1], depth[v + 1, u], depth[v + 1, u + 1]])
        weights = np.stack([(1 - a) * (1 - b), a * (1 - b), (1 - a) * b, a * b])
        nearest = np.take_along_axis(four, weights.argmax(0)[None], 0)[0]
        smooth = np.ptp(four, axis=0) < _SAME_SURFACE * np.abs(nearest)  # not beside NaN
        found = np.where(smooth, (four * weights).sum(0), nearest)
        return np.where(inside, found, np.nan).astype(np.float32)

    def mask_back(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask [H, W] of the camera's pixels from the pinhole's [h, w]; False outside."""
        self._check(mask, self.pinhole, 'mask')
        uv, inside = self._back
        limit = np.array([self.pinhole.width - 1, self.pinhole.height - 1])
        u, v = np.clip(uv.round().astype(int), 0, limit).transpose(2, 0, 1)
        return mask[v, u] & inside

    @cached_property
    def pixels(self) -> Array:
        """Where in the camera's picture the pinhole's pixels are, [h, w, 2]; NaN nowhere."""
        rays = self.pinhole.unproject(self.pinhole.pixel_grid())
        return np.nan_to_num(self.camera.project(rays), nan=-1e6)

    @cached_property
    def seen(self) -> float:
        """The share of the pinhole's pixels that the picture shows; others repeat its edge."""
        return float(_within(self.pixels, self.camera).mean())

    @cached_property
    def _shrunk(self) -> tuple[Camera, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """The camera at about the pinhole's resolution, and where its pixels are: u, v [h, w]."""
        scale = max(self.pinhole.fx / self.camera.fx, self.pinhole.fy / self.camera.fy)
        source = self.camera
        if scale < _FINE:
            source = source.resized(round(source.width * scale), round(source.height * scale))
        across = np.array([source.width / self.camera.width, source.height / self.camera.height])
        at = ((self.pixels + 0.5) * across - 0.5).astype(np.float32)
        return source, (np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1]))

    @cached_property
    def _back(self) -> tuple[Array, NDArray[np.bool_]]:
        """Where in the pinhole's picture the camera's pixels are [H, W, 2], and whether inside."""
        rays = self.camera.unproject(self.camera.pixel_grid())
        known = np.all(np.isfinite(rays), axis=-1)
        uv = self.pinhole.project(np.where(known[..., None], rays, [0, 0, 1.0]))
        return uv, known & _within(uv, self.pinhole)

    @staticmethod
    def _check(array: NDArray, camera: Camera, name: str) -> None:
        check_shape(array[..., 0] if array.ndim == 3 else array, 'H W', name, **_size(camera))


def _size(camera: Camera) -> dict[str, int]:
    return {'H': camera.height, 'W': camera.width}


def _within(pixels: Array, camera: Camera) -> NDArray[np.bool_]:
    """Whether pixels [..., 2] are on the picture, up to the outer edges of its pixels."""
    size = np.array([camera.width, camera.height])
    return np.all((pixels >= -0.5) & (pixels <= size - 0.5), axis=-1)
