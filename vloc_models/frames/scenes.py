"""Rendered places to teach an encoder with: two drives through each, in other light, with depth.

A pair of views is any two of a place that show the same surfaces, from one drive or from both.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vloc_models.frames.augment import to_grey
from vloc_models.frames.synthetic import DriveSpec, SyntheticSource, SyntheticSpec, WorldSpec
from vloc_models.frames.synthetic.looks import LookName
from vloc_models.frames.synthetic.rigs import Mount, mounted
from vloc_models.geometry import se3
from vloc_models.geometry.camera import Camera

Array = NDArray[np.float64]
LOOKS: tuple[LookName, ...] = 'day', 'evening', 'night'  # never winter: it is left for tests
_SIZE = 480, 360
_GRID = 8, 6  # points of a view that are looked for in the others
_DEPTH_AGREES = 0.05  # relative


@dataclass(frozen=True)
class SceneConfig:
    """Which places are rendered: every third of low texture, every fourth with look-alikes."""

    worlds: int = 40
    drive_s: float = 60.0
    rate_hz: float = 2.0


@dataclass(frozen=True, eq=False)
class Scene:
    """The views of one place."""

    grey: NDArray[np.uint8]  # [M, H, W]
    depth: NDArray[np.float16]  # [M, H, W] metres, NaN where unknown
    cameras: Sequence[Camera]  # [M] without distortion
    T_map_cam: Array  # [M, 4, 4]
    shared: NDArray[np.float32]  # [M, M] share of a view's points that another shows


def drives(seed: int, config: SceneConfig, cache: Path | None = None) -> list[SyntheticSource]:
    """The two drives through the place ``seed``, each with a camera of its own."""
    rng = np.random.default_rng([17, seed])
    world = WorldSpec(
        seed,
        'train',
        texture='low' if seed % 3 == 2 else 'ordinary',
        lookalikes=int(seed % 4 == 1),
    )
    looks = rng.permutation(np.array(LOOKS))[:2]
    sources = []
    for kind, look in zip(('mapping', 'query'), looks.tolist(), strict=True):
        drive = DriveSpec(seed, kind, config.rate_hz, duration_s=config.drive_s)
        sources.append(SyntheticSource(SyntheticSpec(world, drive, look), cache, (_mount(rng),)))
    return sources


def _mount(rng: np.random.Generator) -> Mount:
    """A lens and a place on the robot, low or high, looking somewhat up or down."""
    width, height = _SIZE
    focal = rng.uniform(0.6, 1.05) * width
    camera = Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    return mounted(camera, 0.15, 0, rng.uniform(0.4, 1.6), up_deg=rng.uniform(-15, 15))


def read_scene(
    sources: Sequence[SyntheticSource], report: Callable[[int], None] = lambda done: None
) -> Scene:
    """All views of the drives; ``report`` is told how many are ready."""
    grey, depth, cameras, poses = [], [], [], []
    for frame in chain.from_iterable(source.frames() for source in sources):
        view = frame.views[0]
        assert view.depth is not None
        assert frame.T_map_base is not None
        grey.append(to_grey(view.image))
        depth.append(view.depth.astype(np.float16))
        cameras.append(view.camera)
        poses.append(frame.T_map_base @ view.T_base_cam)
        report(len(poses))
    T_map_cam = np.stack(poses)
    shared = _shared(depth, cameras, T_map_cam)
    return Scene(np.stack(grey), np.stack(depth), cameras, T_map_cam, shared)


def _shared(
    depth: Sequence[NDArray[np.float16]], cameras: Sequence[Camera], T_map_cam: Array
) -> NDArray[np.float32]:
    """For each view and each other the share of its points that the other shows; 1 for itself."""
    views = list(zip(depth, cameras, T_map_cam, strict=True))
    shared = np.eye(len(views), dtype=np.float32)
    for n, (z, camera, T) in enumerate(views):
        u, v = (
            np.linspace(0, size - 1, count + 2)[1:-1]
            for size, count in zip((camera.width, camera.height), _GRID, strict=True)
        )
        pixels = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2).round()
        along = z[pixels[:, 1].astype(int), pixels[:, 0].astype(int)].astype(np.float64)
        points = se3.apply(T, camera.unproject(pixels) * along[:, None])
        shared[n] = [_shown(points, *other) for other in views]
    np.fill_diagonal(shared, 1)
    return shared


def _shown(points: Array, depth: NDArray[np.float16], camera: Camera, T_map_cam: Array) -> float:
    """The share of ``points`` [N, 3] that a view shows."""
    in_cam = se3.apply(se3.inverse(T_map_cam), points)
    with np.errstate(invalid='ignore', divide='ignore'):
        pixels = camera.project(in_cam).round()
        inside = (in_cam[:, 2] > 0.1) & (pixels >= 0).all(1)
        inside &= (pixels < [camera.width, camera.height]).all(1)
        u, v = np.where(inside[:, None], pixels, 0).astype(int).T
        off = np.abs(depth[v, u] - in_cam[:, 2]) < _DEPTH_AGREES * in_cam[:, 2]
    return float((inside & off).mean())
