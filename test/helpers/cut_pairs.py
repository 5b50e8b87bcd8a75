"""Small pairs, what must hold for each, and what their homographies do to pixels."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.augment import Photometric
from vloc_models.frames.pairs import Pair, PairConfig
from vloc_models.frames.scenes import Scene
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]
NO_LIGHT = Photometric(gamma=1, contrast=0, brightness=0, shading=0, share=0)
SMALL = PairConfig(96, 72, points=24, covered=0, light=NO_LIGHT)
HARD = replace(PairConfig.hard(), width=96, height=72, points=24)
CAMERA = Camera(160, 120, 130, 128, 81.0, 58.0)
WALL_M, POSTER_M = 4.0, 2.0
MOTIONS = [(0.3, 0.05, 0.1, 0.02, 0.1, 0.05), (-0.5, 0, 0, 0, -0.15, 0), (0, 0.2, 0.8, 0, 0, 0.3)]


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def noise(height: int, width: int, seed: int = 0) -> Grey:
    return rng(seed).integers(0, 256, (height, width), np.uint8)


def at(image: Grey, pixels: Array) -> Array:
    """Grey values [N] between pixels."""
    u, v = pixels.T
    i, j = np.floor(u).astype(int), np.floor(v).astype(int)
    x, y = u - i, v - j
    g = image.astype(float)
    above = (1 - x) * g[j, i] + x * g[j, i + 1]
    below = (1 - x) * g[j + 1, i] + x * g[j + 1, i + 1]
    return (1 - y) * above + y * below


def check_sane(pair: Pair | None, config: PairConfig) -> Pair:
    assert pair is not None
    for image, pixels in ((pair.first, pair.pixels_first), (pair.second, pair.pixels_second)):
        assert image.shape == (config.height, config.width)
        assert image.dtype == np.uint8
        assert pixels.shape == (config.points, 2)
        assert (pixels > 0).all()
        assert (pixels < [config.width - 1, config.height - 1]).all()
    assert ((pair.pixels_first - 3.5) % 8 == 0).all()
    for hidden in (pair.hidden_first, pair.hidden_second):
        assert hidden.dtype == bool
        assert config.covered or not hidden.any()
        if config.height % 8 == config.width % 8 == 0:
            assert hidden.shape == (config.height // 8, config.width // 8)
    return pair


def same(a: Pair, b: Pair) -> bool:
    return all(np.array_equal(x, vars(b)[name]) for name, x in vars(a).items())


def through(H: Any, pixels: Array) -> Array:
    return np.asarray(cv2.perspectiveTransform(pixels[:, None], np.asarray(H))[:, 0], np.float64)


def grid() -> Array:
    """The centres of the cells of 96 x 72 pixels [108, 2]."""
    v, u = np.mgrid[:72:8, :96:8]
    return np.stack([u, v], -1).reshape(-1, 2) + 3.5


def smooth(move: Callable[[Array], Array], pixels: Array) -> NDArray[np.bool_]:
    """[N]: whether ``move`` neither stretches nor squeezes much within 3 px."""
    found = np.zeros(len(pixels), bool)
    for n, p in enumerate(pixels):
        here, right, down = move(p + np.array([[0, 0], [3, 0], [0, 3]]))
        by_u, by_v = (right - here) / 3, (down - here) / 3
        area = abs(by_u[0] * by_v[1] - by_u[1] * by_v[0])  # NaN if one of them is not seen
        found[n] = area > 1 / 16 and max(*np.abs(by_u), *np.abs(by_v)) < 4
    return found


def affine(pair: Pair) -> Array:
    """[2, 2]: how the second points go with the first ones, by least squares."""
    sides = (x - x.mean(0) for x in (pair.pixels_first, pair.pixels_second))
    return np.linalg.lstsq(*sides, rcond=None)[0].T


def scene(*twists: tuple[float, ...]) -> Scene:
    """Views of a wall with a poster standing before it, from camera poses exp(twist)."""
    greys, depths, poses = [], [], []
    for twist in ((0.1, -0.05), *twists):
        T_map_cam = se3.exp(np.resize([*twist, 0, 0, 0, 0, 0, 0], 6))
        depth, points, poster = traced(T_map_cam, CAMERA.pixel_grid().reshape(-1, 2))
        level = np.where(poster, 230 - 20 * points[:, 0], 100 + 30 * points[:, 0])
        greys.append(level.clip(0, 255).astype(np.uint8).reshape(120, 160))
        depths.append(depth.astype(np.float16).reshape(120, 160))
        poses.append(T_map_cam)
    count = len(poses)
    shared = np.ones((count, count), np.float32)
    return Scene(np.stack(greys), np.stack(depths), [CAMERA] * count, np.stack(poses), shared)


def traced(T_map_cam: Array, pixels: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Depth [N], map points [N, 3] and whether they are the poster's, of the exact place."""
    rays_cam = np.column_stack([(pixels - [81.0, 58.0]) / [130, 128], np.ones(len(pixels))])
    rays = rays_cam @ T_map_cam[:3, :3].T
    depths = [(z - T_map_cam[2, 3]) / rays[:, 2] for z in (POSTER_M, WALL_M)]
    near, far = (T_map_cam[:3, 3] + d[:, None] * rays for d in depths)
    poster = (np.abs(near[:, :2]) < [0.4, 0.5]).all(1)
    depth, points = np.where(poster, *depths), np.where(poster[:, None], near, far)
    return np.where(depth > 0, depth, np.nan), points, poster
