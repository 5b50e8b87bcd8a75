"""Textures that repeat: walls, floors, wood, cloth. Training and test worlds share none of them.

Every function takes a generator and returns sRGB floats [S, S, 3] in 0..1 that tile.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Rng = np.random.Generator
Image = NDArray[np.floating]
SIZE = 512


def noise(rng: Rng, beta: float, size: int = SIZE) -> Image:
    """Tiling noise [S, S] with a 1/f^beta spectrum, zero mean, unit variance."""
    f = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    f[0, 0] = 1
    spectrum = np.fft.rfft2(rng.standard_normal((size, size))) / f ** (beta / 2)
    spectrum[0, 0] = 0
    x = np.fft.irfft2(spectrum, (size, size))
    return (x / x.std()).astype(np.float32)


def colour(rng: Rng, low: float = 0.35, high: float = 0.9, spread: float = 0.12) -> Image:
    """A random, not too loud colour [3]."""
    return (rng.uniform(low, high) + rng.uniform(-spread, spread, 3)).astype(np.float32)


def shaded(base: Image, *layers: Image) -> Image:
    """``base`` [3] or [S, S, 3] with grey layers [S, S] added."""
    return np.clip(base + np.add.reduce(np.broadcast_arrays(*layers))[..., None], 0, 1).astype(
        np.float32
    )


def flat(rng: Rng) -> Image:
    """Plain paint: what low-texture worlds are made of."""
    return shaded(colour(rng, 0.6, 0.9, 0.05), 0.004 * noise(rng, 2.5))


# ----------------------------------------------------------------- training worlds


def plaster(rng: Rng) -> Image:
    """Rough paint."""
    return shaded(colour(rng, 0.6, 0.9), 0.02 * noise(rng, 1.2), 0.03 * noise(rng, 2.5))


def stripes(rng: Rng) -> Image:
    """Striped wallpaper."""
    x = np.arange(SIZE) / SIZE * 2 * np.pi * rng.integers(3, 9)
    wave = 0.07 * np.sign(np.sin(x) + rng.uniform(-0.5, 0.5)) + 0 * x[:, None]
    return shaded(colour(rng, 0.5, 0.85), wave.astype(np.float32), 0.015 * noise(rng, 1))


def planks(rng: Rng) -> Image:
    """Parallel boards with grain."""
    count = int(rng.integers(4, 9))
    row = np.arange(SIZE) * count // SIZE
    grain = ndimage.gaussian_filter1d(noise(rng, 0.8), 24, axis=1, mode='wrap')
    tone = rng.normal(0, 0.06, count).astype(np.float32)[row][:, None]
    gap = -0.25 * (np.diff(row, append=-1) != 0).astype(np.float32)[:, None]
    brown = np.array([0.58, 0.42, 0.28], np.float32) * rng.uniform(0.7, 1.3)
    return shaded(brown, tone + 0 * grain, 0.12 * grain / grain.std() * 0.5, gap + 0 * grain)


def carpet(rng: Rng) -> Image:
    """Speckled carpet."""
    return shaded(colour(rng, 0.3, 0.6), 0.07 * noise(rng, 0.3), 0.03 * noise(rng, 2))


def checker(rng: Rng) -> Image:
    """Two-tone square tiles with joints."""
    n = int(rng.choice([4, 6, 8]))
    i = np.arange(SIZE) * n // SIZE
    odd = (i[:, None] + i) % 2
    joint = np.arange(SIZE) * n % SIZE < 3 * n
    tones = np.stack([colour(rng, 0.5, 0.9), colour(rng, 0.25, 0.7)])[odd]
    lines = -0.15 * (joint[:, None] | joint).astype(np.float32)
    return shaded(tones, lines, 0.02 * noise(rng, 1.5))


def marble(rng: Rng) -> Image:
    """Veined stone."""
    veins = -np.abs(noise(rng, 3) + 0.2 * noise(rng, 2))
    return shaded(colour(rng, 0.6, 0.9, 0.05), 0.12 * np.exp(4 * veins) * rng.choice([-2, 1]))


def knit(rng: Rng) -> Image:
    """Coarse cloth with ribs."""
    x = np.arange(SIZE) / SIZE * 2 * np.pi
    ribs = np.sin(48 * x)[None] * np.sin(24 * x)[:, None]
    return shaded(colour(rng, 0.2, 0.7, 0.2), 0.05 * ribs.astype(np.float32), 0.04 * noise(rng, 1))


# ----------------------------------------------------------------- test worlds


def bricks(rng: Rng) -> Image:
    """A brick bond, often painted over."""
    rows, cols = 12, 4
    v, u = np.mgrid[:SIZE, :SIZE]
    r = v * rows // SIZE
    shifted = (u + (r % 2) * SIZE // (2 * cols)) % SIZE
    c = shifted * cols // SIZE
    tone = rng.normal(0, 0.06, (rows, cols)).astype(np.float32)[r, c]
    joint = (v * rows % SIZE < 3 * rows) | (shifted * cols % SIZE < 3 * cols)
    return shaded(
        colour(rng, 0.5, 0.8), tone, -0.12 * joint.astype(np.float32), 0.03 * noise(rng, 1.3)
    )


def concrete(rng: Rng) -> Image:
    """Grey, blotched, with pores."""
    pores = -0.25 * (noise(rng, 0.5) > 2.6).astype(np.float32)
    return shaded(colour(rng, 0.5, 0.75, 0.02), 0.05 * noise(rng, 2.2), pores)


def herringbone(rng: Rng) -> Image:
    """Parquet laid in blocks of alternating direction."""
    n, strips = 4, 5
    v, u = np.mgrid[:SIZE, :SIZE]
    bi, bj = v * n // SIZE, u * n // SIZE
    across = (bi + bj) % 2 == 0
    along = np.where(across, v, u) * n * strips // SIZE
    tone = rng.normal(0, 0.07, (n, n, n * strips)).astype(np.float32)[bi, bj, along]
    grain = noise(rng, 1)
    streak = np.where(
        across,
        ndimage.uniform_filter1d(grain, 31, axis=1, mode='wrap'),
        ndimage.uniform_filter1d(grain, 31, axis=0, mode='wrap'),
    )
    edge = -0.15 * (np.where(across, v, u) * n * strips % SIZE < 2 * n * strips)
    oak = np.array([0.62, 0.47, 0.31], np.float32) * rng.uniform(0.6, 1.2)
    return shaded(oak, tone, 0.15 * streak, edge.astype(np.float32))


def weave(rng: Rng) -> Image:
    """Plain-weave cloth."""
    x = np.arange(SIZE) / SIZE * 2 * np.pi * 40
    threads = np.maximum(
        np.sin(x)[:, None] * np.cos(x / 2), np.cos(x)[None] * np.sin(x / 2)[:, None]
    )
    return shaded(
        colour(rng, 0.2, 0.7, 0.2), 0.06 * threads.astype(np.float32), 0.05 * noise(rng, 1.4)
    )


def terrazzo(rng: Rng) -> Image:
    """Stone chips in cement."""
    chips = noise(rng, 2)
    out = shaded(colour(rng, 0.55, 0.85, 0.05), 0.02 * noise(rng, 1))
    for _ in range(4):
        out[(chips > 1.1) & (noise(rng, 2.2) > 0.4)] = colour(rng, 0.2, 0.8, 0.2)
        chips = np.roll(chips, rng.integers(50, 200, 2), (0, 1))
    return out


def damask(rng: Rng) -> Image:
    """Wallpaper with one mirrored motif, repeated."""
    n = int(rng.choice([4, 8]))
    raw = rng.standard_normal((SIZE // n, SIZE // n))
    part = np.asarray(ndimage.gaussian_filter(raw, 4))
    part = part + part[:, ::-1]
    motif = np.tile((part > 0.02).astype(np.float32), (n, n))
    return shaded(colour(rng, 0.5, 0.85), 0.06 * motif, 0.012 * noise(rng, 1.2))


def veneer(rng: Rng) -> Image:
    """Furniture wood with long wavy grain."""
    v = np.arange(SIZE)[:, None] / SIZE * 2 * np.pi
    warp = noise(rng, 3.5)
    rings = np.sin(int(rng.integers(6, 16)) * v + 1.5 * warp)
    wood = np.array([0.66, 0.5, 0.36], np.float32) * rng.uniform(0.6, 1.3)
    return shaded(wood, 0.05 * rings.astype(np.float32), 0.04 * noise(rng, 0.9))


Role = str  # 'wall', 'floor', 'ceiling', 'wood' or 'cloth'
TILES: dict[str, dict[Role, tuple[Callable[[Rng], Image], ...]]] = {
    'train': {
        'wall': (plaster, stripes),
        'floor': (planks, carpet, checker),
        'ceiling': (plaster,),
        'wood': (planks, marble),
        'cloth': (knit, carpet),
    },
    'test': {
        'wall': (concrete, bricks, damask),
        'floor': (herringbone, terrazzo, weave),
        'ceiling': (concrete,),
        'wood': (veneer,),
        'cloth': (weave,),
    },
}
