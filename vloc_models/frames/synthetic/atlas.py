"""All textures of a world in one picture, with their mipmaps, and the light on every surface."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.synthetic.looks import Look
from vloc_models.frames.synthetic.materials import Texture
from vloc_models.frames.synthetic.surfaces import SurfaceTable

_WIDTH = 8192
_MAX_SIDE = 32000  # cv2.remap addresses pixels with 16 bits
_MIN_MIP = 4
Array = NDArray[np.float64]


def pack(
    widths: NDArray[np.integer], heights: NDArray[np.integer]
) -> tuple[NDArray, NDArray, int]:
    """Left and top of rectangles put on shelves ``_WIDTH`` wide, and the total height."""
    left, top = np.zeros(len(widths), int), np.zeros(len(widths), int)
    x = y = shelf = 0
    for i in np.argsort(-np.asarray(heights), kind='stable'):
        if x + widths[i] > _WIDTH:
            x, y, shelf = 0, y + shelf, 0
        left[i], top[i] = x, y
        x, shelf = x + int(widths[i]), max(shelf, int(heights[i]))
    if y + shelf > _MAX_SIDE:
        raise VlocError('world: too many textures for one atlas', 'choose fewer rooms')
    return left, top, y + shelf


@dataclass(frozen=True, eq=False)
class TextureAtlas:
    """Mipmapped textures; every tile has a border of one texel, wrapped or repeated."""

    image: NDArray[np.uint8]  # [h, w, 3] sRGB
    left: NDArray[np.float32]  # [textures, levels]
    top: NDArray[np.float32]
    width: NDArray[np.float32]
    height: NDArray[np.float32]
    levels: NDArray[np.float32]  # [textures] index of the coarsest mip
    tiled: NDArray[np.bool_]  # [textures]
    mean_albedo: Array  # [textures, 3] linear

    @staticmethod
    def build(textures: tuple[Texture, ...], look: Look) -> 'TextureAtlas':
        """Recolour as the look says, shrink by halves, and pack."""
        pyramids = [_pyramid(t, look) for t in textures]
        levels = max(len(p) for p in pyramids)
        flat = [(i, k, im) for i, p in enumerate(pyramids) for k, im in enumerate(p)]
        sizes = np.array([im.shape[:2] for *_, im in flat])
        left, top, height = pack(sizes[:, 1] + 2, sizes[:, 0] + 2)
        image = np.zeros((height, _WIDTH, 3), np.uint8)
        table = np.zeros((4, len(textures), levels), np.float32)
        for (i, k, im), x, y in zip(flat, left, top, strict=True):
            border = cv2.BORDER_WRAP if textures[i].tiled else cv2.BORDER_REPLICATE
            h, w = im.shape[:2]
            image[y : y + h + 2, x : x + w + 2] = cv2.copyMakeBorder(im, 1, 1, 1, 1, border)
            table[:, i, k] = x + 1, y + 1, w, h
        mean = np.stack([to_linear(p[-1]).mean((0, 1)) for p in pyramids]).astype(np.float64)
        last = np.array([len(p) - 1 for p in pyramids], np.float32)
        tiled = np.array([t.tiled for t in textures])
        return TextureAtlas(image, table[0], table[1], table[2], table[3], last, tiled, mean)

    def sample(
        self,
        texture: NDArray[np.integer],  # [H, W]
        u: NDArray[np.float32],  # [H, W] in periods or stretched 0..1
        v: NDArray[np.float32],
        level: NDArray[np.float32],  # [H, W] log2 of texels a pixel
    ) -> NDArray[np.float32]:
        """Trilinear lookup: linear albedo [H, W, 3]."""
        last = np.take(self.levels, texture)
        level = np.clip(level, 0, last)
        fine = level.astype(np.intp)
        coarse = np.minimum(fine + 1, last.astype(np.intp))
        a, b = self._bilinear(texture, u, v, fine), self._bilinear(texture, u, v, coarse)
        b -= a
        b *= (level - fine.astype(np.float32))[..., None]
        return a + b

    def _bilinear(
        self,
        texture: NDArray[np.integer],
        u: NDArray[np.float32],
        v: NDArray[np.float32],
        level: NDArray[np.integer],
    ) -> NDArray[np.float32]:
        at = texture * self.left.shape[1] + level
        w, h = np.take(self.width, at), np.take(self.height, at)
        tiled = np.take(self.tiled, texture)
        x = np.where(tiled, u - np.floor(u), np.clip(u, 0, 1)) * w + np.take(self.left, at)
        y = np.where(tiled, v - np.floor(v), np.clip(v, 0, 1)) * h + np.take(self.top, at)
        return to_linear(cv2.remap(self.image, x - 0.5, y - 0.5, cv2.INTER_LINEAR))


def _pyramid(texture: Texture, look: Look) -> list[NDArray[np.uint8]]:
    image = texture.image
    gain = look.palette.get(texture.kind)
    if gain is not None:
        image = np.clip(image * np.array(gain), 0, 255).astype(np.uint8)
    levels = [image]
    while min(levels[-1].shape[:2]) >= 2 * _MIN_MIP:
        h, w = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (w // 2, h // 2), interpolation=cv2.INTER_AREA)
        levels.append(half.astype(np.uint8))
    return levels


_SRGB = np.arange(256) / 255
_LINEAR = np.where(_SRGB <= 0.04045, _SRGB / 12.92, ((_SRGB + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def to_linear(image: cv2.typing.MatLike) -> NDArray[np.float32]:
    """SRGB bytes to linear 0..1."""
    return np.take(_LINEAR, np.asarray(image, np.uint8))


@dataclass(frozen=True, eq=False)
class LightGrid:
    """A small grid of light samples on every rectangle, all in one float picture."""

    left: NDArray[np.float32]  # [M]
    top: NDArray[np.float32]
    nx: NDArray[np.float32]  # samples along a
    ny: NDArray[np.float32]  # and along b
    height: int

    @staticmethod
    def over(surfaces: SurfaceTable, spacing_m: float) -> 'LightGrid':
        """One sample every ``spacing_m``, 2 to 96 a side."""
        n = np.clip(np.ceil(surfaces.sizes_m / spacing_m), 2, 96).astype(int)
        left, top, height = pack(n[:, 0], n[:, 1])
        nx, ny = n.astype(np.float32).T
        return LightGrid(left.astype(np.float32), top.astype(np.float32), nx, ny, height)

    def samples(self) -> tuple[NDArray[np.int32], Array, NDArray[np.intp], NDArray[np.intp]]:
        """For every sample: its rectangle [S], (s, t) on it [S, 2], and row and column [S]."""
        nx, ny = self.nx.astype(int), self.ny.astype(int)
        owner = np.repeat(np.arange(len(nx)), nx * ny).astype(np.int32)
        first = np.concatenate([[0], np.cumsum(nx * ny)[:-1]])
        k = np.arange(len(owner)) - first[owner]
        i, j = k % nx[owner], k // nx[owner]
        st = np.stack([(i + 0.5) / nx[owner], (j + 0.5) / ny[owner]], 1)
        return owner, st, self.top.astype(int)[owner] + j, self.left.astype(int)[owner] + i

    def sample(
        self,
        light: NDArray[np.float32],  # [h, w, 3] the picture
        owner: NDArray[np.integer],  # [H, W]
        s: NDArray[np.float32],  # [H, W]
        t: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Bilinear lookup [H, W, 3]."""
        nx, ny = np.take(self.nx, owner), np.take(self.ny, owner)
        x = np.clip(s * nx - 0.5, 0, nx - 1) + np.take(self.left, owner)
        y = np.clip(t * ny - 0.5, 0, ny - 1) + np.take(self.top, owner)
        return cv2.remap(light, x, y, cv2.INTER_LINEAR).astype(np.float32, copy=False)
