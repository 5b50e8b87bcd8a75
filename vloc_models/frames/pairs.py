"""Two pictures of one thing with exact correspondences: what an encoder is taught with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vloc_models.errors import VlocError
from vloc_models.frames.augment import Photometric, apply_homography, cover, photometric, warp
from vloc_models.frames.scenes import Scene
from vloc_models.geometry import se3

Array = NDArray[np.float64]
Grey = NDArray[np.uint8]
_STRIDE = 8  # correspondences start at the centres of such cells
_TRIES = 8
_NEAR_PX = 3.0  # over which the correspondence must be smooth
_STRETCH = 4.0  # by which it may stretch at most
_DETAIL_PX = 17
_DEPTH_AGREES = 0.03  # relative; a point further off was hidden in the other view


@dataclass(frozen=True)
class PairConfig:
    """How pairs are cut from pictures."""

    width: int = 256
    height: int = 192
    points: int = 256  # correspondences a pair
    photo_zoom: tuple[float, float] = (0.8, 2.0)  # scale at which photos are shown
    zoom: tuple[float, float] = (0.7, 1.5)  # scale at which rendered views are shown
    relative_zoom: float = 1.4  # between the two pictures, up to
    turn_deg: float = 15.0  # in the picture's plane, up to
    tilt: float = 0.2  # how far corners are moved, of the picture's size
    shared: float = 0.6  # of a rendered view, that its partner must show
    covered: float = 0.25  # share of the pictures behind blocks
    cover: float = 0.6  # the largest block, of each side
    light: Photometric = field(
        default_factory=lambda: Photometric(1.6, 0.2, 20, 0.2, 1.0, 4, 6, (50, 95), 0.25)
    )

    @staticmethod
    def hard() -> 'PairConfig':
        """Far views in other light, blurred, noisy and covered."""
        return PairConfig(
            relative_zoom=2.0,
            turn_deg=30,
            tilt=0.3,
            shared=0.25,
            covered=0.5,
            light=Photometric(
                2.5, 0.4, 30, 0.4, 2.5, 12, 18, (12, 95), 0.3, patches=0.35, shrink=2.2
            ),
        )


@dataclass(frozen=True, eq=False)
class Pair:
    """Two pictures and where the same points are in both."""

    first: Grey  # [H, W]
    second: Grey  # [H, W]
    pixels_first: Array  # [N, 2] centres of 8x8 cells
    pixels_second: Array  # [N, 2] anywhere
    hidden_first: NDArray[np.bool_]  # [h, w] cells whose middle is covered
    hidden_second: NDArray[np.bool_]  # [h, w]


Carry = Callable[[Array], Array]  # from pixels [N, 2] of one picture to another's; NaN: not seen


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
    fits = min(w / config.width, h / config.height)
    size = np.array([config.width, config.height])
    for _ in range(_TRIES):
        step = min(1 / _between(config.photo_zoom, rng), 1.1 * fits)  # photo px a view px
        other = step * config.relative_zoom ** rng.uniform(-1, 1)
        at = np.array([w, h]) / 2
        at = at + rng.uniform(-0.5, 0.5, 2) * np.maximum(0, [w, h] - step * size)
        shift = rng.uniform(-0.25, 0.25, 2) * step * size
        first = _view(at, step, 0.3 * config.turn_deg, 0.5 * config.tilt, config, rng)
        second = _view(at + shift, other, config.turn_deg, config.tilt, config, rng)

        def carry(pixels: Array, first: Array = first, second: Array = second) -> Array:
            there = apply_homography(first, pixels)
            inside = _all((there >= 0) & (there <= [w - 1, h - 1]))
            there = apply_homography(_inverse(second), there)
            return np.where(inside[:, None], there, np.nan)

        views = [warp(photo, H, config.width, config.height) for H in (first, second)]
        pair = _pair(views, carry, config, rng)
        if pair is not None:
            return pair
    return None


def scene_pair(scene: Scene, config: PairConfig, rng: np.random.Generator) -> Pair | None:
    """Two views of a scene, cut to the same part; None if they share too little.

    A point corresponds if the second view's depth there agrees with where it must be.
    """
    a = int(rng.integers(len(scene.grey)))
    b = int(rng.choice(np.flatnonzero(scene.shared[a] >= config.shared)))
    T_b_a = se3.inverse(scene.T_map_cam[b]) @ scene.T_map_cam[a]
    camera_a, camera_b = scene.cameras[a], scene.cameras[b]
    size = np.array([camera_a.width, camera_a.height])

    def across(pixels: Array) -> Array:
        z = _look_up(scene.depth[a], pixels)
        in_b = se3.apply(T_b_a, camera_a.unproject(pixels) * z[:, None])
        there = camera_b.project(in_b)
        seen = _look_up(scene.depth[b], there)
        with np.errstate(invalid='ignore'):
            same = np.abs(seen - in_b[:, 2]) < _DEPTH_AGREES * in_b[:, 2]
        return np.where(same[:, None], there, np.nan)

    for _ in range(_TRIES):
        step = 1 / _between(config.zoom, rng)
        room = np.maximum(0, size - step * np.array([config.width, config.height]))
        at = size / 2 + rng.uniform(-0.5, 0.5, 2) * room
        first = _view(at, step, 0.3 * config.turn_deg, 0.05, config, rng)
        there = across(apply_homography(first, _cells(config)))
        same = np.isfinite(there[:, 0])
        if same.sum() < config.points // 6:
            continue
        middle = np.median(there[same], axis=0)
        other = step * config.relative_zoom ** rng.uniform(-0.5, 0.5)
        second = _view(middle, other, 0.5 * config.turn_deg, 0.05, config, rng)

        def carry(pixels: Array, first: Array = first, second: Array = second) -> Array:
            return apply_homography(_inverse(second), across(apply_homography(first, pixels)))

        sources = (scene.grey[a], first), (scene.grey[b], second)
        views = [warp(image, H, config.width, config.height) for image, H in sources]
        pair = _pair(views, carry, config, rng)
        if pair is not None:
            return pair
    return None


def _pair(
    views: list[Grey], carry: Carry, config: PairConfig, rng: np.random.Generator
) -> Pair | None:
    """The two views in other light, with some of the points that both show."""
    shown, hidden = zip(*(_lit(view, config, rng) for view in views), strict=True)
    cells = _cells(config)
    there = carry(cells)
    aside = [carry(cells + step) for step in ([_NEAR_PX, 0], [0, _NEAR_PX])]
    jacobian = np.stack([(x - there) / _NEAR_PX for x in aside], 2)
    with np.errstate(invalid='ignore'):
        stretch = np.abs(np.linalg.det(np.nan_to_num(jacobian)))
        good = _all((there > 0) & (there < [config.width - 1, config.height - 1]))
        good &= np.isfinite(jacobian).all((1, 2)) & (np.abs(jacobian) < _STRETCH).all((1, 2))
    good &= (stretch > _STRETCH**-2) & ~_look_up(hidden[0], cells)
    index = np.flatnonzero(good)
    index = index[~_look_up(hidden[1], there[index])]
    if len(index) < config.points // 6:
        return None
    detail = _look_up(_detail(views[0]), cells[index])
    index = rng.choice(index, config.points, p=detail / detail.sum())
    middle = slice(_STRIDE // 2, None, _STRIDE)
    covered = [h[middle, middle] for h in hidden]
    return Pair(shown[0], shown[1], cells[index], there[index], *covered)


def _detail(view: Grey) -> NDArray[np.float32]:
    """How much there is to see around each pixel: the standard deviation, and a little more.

    Points are drawn in this proportion. On blank walls there is little to learn.
    """
    x = view.astype(np.float32)
    mean, square = (cv2.blur(y, (_DETAIL_PX, _DETAIL_PX)) for y in (x, x * x))
    return np.sqrt(np.maximum(square - mean * mean, 0)) + np.float32(2)


def _lit(
    view: Grey, config: PairConfig, rng: np.random.Generator
) -> tuple[Grey, NDArray[np.bool_]]:
    """A view in other light, and what of it is hidden."""
    hidden = np.zeros(view.shape, bool)
    if rng.random() < config.covered:
        view, hidden = cover(view, config.cover, rng)
    return photometric(view, config.light, rng), hidden


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


def _between(bounds: tuple[float, float], rng: np.random.Generator) -> float:
    low, high = np.log(bounds)
    return float(np.exp(rng.uniform(low, high)))


def _inverse(H: Array) -> Array:
    return np.asarray(np.linalg.inv(H), np.float64)


def _all(good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where both coordinates are good, [N] of [N, 2]."""
    return good[:, 0] & good[:, 1]


def _look_up(image: NDArray, pixels: Array) -> NDArray:
    """The nearest pixel; NaN, or True, outside."""
    h, w = image.shape
    with np.errstate(invalid='ignore'):
        inside = _all((pixels > -0.5) & (pixels < [w - 0.5, h - 0.5]))
    u, v = np.where(inside[:, None], pixels, 0).round().astype(int).T
    found = image[v, u]
    return found | ~inside if found.dtype == bool else np.where(inside, found, np.nan)
