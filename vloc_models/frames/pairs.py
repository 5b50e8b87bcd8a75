"""Two pictures of one thing with exact correspondences: what an encoder is taught with."""

from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.augment import (
    Photometric,
    apply_homography,
    photometric,
    to_grey,
    warp,
)
from vloc_models.geometry import se3
from vloc_models.records import Frame

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]
_STRIDE = 8  # correspondences start at the centres of such cells
_TRIES = 8
_DEPTH_AGREES = 0.03  # relative; a point further off was hidden in the other view


@dataclass(frozen=True)
class PairConfig:
    """How pairs are cut from pictures."""

    width: int = 256
    height: int = 192
    points: int = 192  # correspondences a pair
    zoom: float = 1.5  # of photos: from a 1.5th of their scale to 1.5 times
    relative_zoom: float = 1.6  # between the two pictures, up to
    turn_deg: float = 30.0  # in the picture's plane, up to
    tilt: float = 0.25  # how far corners are moved, of the picture's size
    light: Photometric = field(default_factory=Photometric)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures and where the same points are in both."""

    first: Grey  # [H, W]
    second: Grey  # [H, W]
    pixels_first: Array  # [N, 2] centres of 8x8 cells
    pixels_second: Array  # [N, 2] anywhere


def read_photos(folder: Path) -> list[Grey]:
    """All jpeg and png pictures of a folder, grey.

    Raises:
        VlocError: if there is none.
    """
    files = sorted(p for p in folder.glob('*') if p.suffix.lower() in ('.jpg', '.jpeg', '.png'))
    read = (cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files)
    photos = [np.asarray(image, np.uint8) for image in read if image is not None]
    if not photos:
        raise VlocError(f'{folder}: no readable jpg or png picture', 'name a folder of photos')
    return photos


def photo_pair(photo: Grey, config: PairConfig, rng: np.random.Generator) -> Pair | None:
    """A photo seen through two homographies; None if they share too little."""
    h, w = photo.shape
    zoom = config.zoom ** rng.uniform(-1, 1)
    fits = min(w / config.width, h / config.height)
    for _ in range(_TRIES):
        step = min(1 / zoom, 1.1 * fits)  # photo pixels a view pixel
        other = step * config.relative_zoom ** rng.uniform(-1, 1)
        at = np.array([w, h]) / 2 + rng.uniform(-0.5, 0.5, 2) * np.maximum(
            0, [w - step * config.width, h - step * config.height]
        )
        shift = rng.uniform(-0.25, 0.25, 2) * step * np.array([config.width, config.height])
        first = _view(at, step, 0.3 * config.turn_deg, 0.5 * config.tilt, config, rng)
        second = _view(at + shift, other, config.turn_deg, config.tilt, config, rng)
        cells = _cells(config)
        in_photo = apply_homography(first, cells)
        there = apply_homography(_inverse(second), in_photo)
        inside = _all((in_photo >= 0) & (in_photo <= [w - 1, h - 1]))
        pair = _chosen(cells, there, inside, config, rng)
        if pair is not None:
            views = [warp(photo, H, config.width, config.height) for H in (first, second)]
            return _lit(views, pair, config, rng)
    return None


def frame_pair(a: Frame, b: Frame, config: PairConfig, rng: np.random.Generator) -> Pair | None:
    """Two views with depth and poses, cut to the same part; None if they share too little.

    A point corresponds if the second view's depth there agrees with where it must be.
    """
    va, vb = a.views[0], b.views[0]
    assert va.depth is not None
    assert vb.depth is not None
    assert a.T_map_base is not None
    assert b.T_map_base is not None
    T_b_a = se3.inverse(b.T_map_base @ vb.T_base_cam) @ a.T_map_base @ va.T_base_cam
    size = np.array([va.camera.width, va.camera.height])
    for _ in range(_TRIES):
        step = rng.uniform(0.8, 2.0)
        room = np.maximum(0, size - step * np.array([config.width, config.height]))
        at = size / 2 + rng.uniform(-0.5, 0.5, 2) * room
        first = _view(at, step, 0.3 * config.turn_deg, 0.05, config, rng)
        cells = _cells(config)
        here = apply_homography(first, cells)
        z = _look_up(va.depth, here)
        in_b = se3.apply(T_b_a, va.camera.unproject(here) * z[:, None])
        there = vb.camera.project(in_b)
        seen = _look_up(vb.depth, there)
        same = np.abs(seen - in_b[:, 2]) < _DEPTH_AGREES * in_b[:, 2]
        if same.sum() < 32:
            continue
        middle = np.median(there[same], axis=0)
        other = step * config.relative_zoom ** rng.uniform(-0.5, 0.5)
        second = _view(middle, other, 0.5 * config.turn_deg, 0.05, config, rng)
        with np.errstate(invalid='ignore'):
            there = apply_homography(_inverse(second), there)
            pair = _chosen(cells, there, same, config, rng)
        if pair is not None:
            sources = (to_grey(va.image), first), (to_grey(vb.image), second)
            views = [warp(image, H, config.width, config.height) for image, H in sources]
            return _lit(views, pair, config, rng)
    return None


def _cells(config: PairConfig) -> Array:
    """The centres of all cells [N, 2]."""
    v, u = np.mgrid[0 : config.height : _STRIDE, 0 : config.width : _STRIDE]
    return np.stack([u, v], -1).reshape(-1, 2) + (_STRIDE - 1) / 2


def _view(
    at: Array,
    step: float,
    turn_deg: float,
    tilt: float,
    config: PairConfig,
    rng: np.random.Generator,
) -> Array:
    """A homography from a view's pixels to a picture's, its middle at ``at``."""
    size = np.array([config.width, config.height], np.float64)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) - 0.5
    moved = corners + rng.uniform(-0.5, 0.5, (4, 2)) * tilt
    angle = np.radians(rng.uniform(-turn_deg, turn_deg))
    c, s = np.cos(angle), np.sin(angle)
    there = moved * size * step @ np.array([[c, s], [-s, c]]) + at
    here = (corners + 0.5) * size - 0.5
    H = cv2.getPerspectiveTransform(here.astype(np.float32), there.astype(np.float32))
    return np.asarray(H, np.float64)


def _inverse(H: Array) -> Array:
    return np.asarray(np.linalg.inv(H), np.float64)


def _all(good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where both coordinates are good, [N] of [N, 2]."""
    return good[:, 0] & good[:, 1]


def _look_up(depth: NDArray[np.float32], pixels: Array) -> Array:
    """Depth at the nearest pixel, NaN outside."""
    h, w = depth.shape
    with np.errstate(invalid='ignore'):
        inside = _all((pixels > -0.5) & (pixels < [w - 0.5, h - 0.5]))
    u, v = np.where(inside[:, None], pixels, 0).round().astype(int).T
    return np.where(inside, depth[v, u], np.nan)


def _chosen(
    cells: Array,
    there: Array,
    good: NDArray[np.bool_],
    config: PairConfig,
    rng: np.random.Generator,
) -> tuple[Array, Array] | None:
    """``points`` correspondences of those that are good and land in the second view."""
    inside = _all((there > 0) & (there < [config.width - 1, config.height - 1])) & good
    index = np.flatnonzero(inside)
    if len(index) < config.points // 3:
        return None
    index = rng.choice(index, config.points, replace=len(index) < config.points)
    return cells[index], there[index]


def _lit(
    views: list[Grey],
    pixels: tuple[Array, Array],
    config: PairConfig,
    rng: np.random.Generator,
) -> Pair:
    first, second = (photometric(view, config.light, rng) for view in views)
    return Pair(first, second, *pixels)
